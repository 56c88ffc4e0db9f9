//! The cart: a reducer over catalogue-mapped events (LANGUAGE.md S43 to S45, R17, R31, R32, R38, R41).
//!
//! Events within the reorder buffer, and those that are in order however long they lagged, are folded by (ts, application): the cart keeps a
//! *checkpoint*, which no such event can come before any more, and the *pending* events after it, and folds those again when one comes late.
//! Events beyond the buffer are appended where the sequence ends and stay there. Neither re-folding nor a late event moves `changed_at` back.
//!
//! Rules that the specification leaves open:
//! - A line without `product_id` and `sku` is one line of its own without a name.
//! - A quantity of 0 or less adds, sets and takes nothing. An add without price keeps the price that the line has.
//! - Lines of one name within a `set` are added up. A `set` that leaves names, quantities and prices as they are leaves `changed_at`.
//! - What is in the overflow line cannot be taken out by name, only by `set`, `clear` and `buy` without lines.
//! - Lines of one name within an event are folded when it is taken in. Of one event at most [`CART_LINES_MAX`] names are told apart; what
//!   an add or a set has beyond them goes into the overflow line.
//! - At most [`CART_PENDING_MAX`] events with [`CART_PENDING_LINES_MAX`] lines wait; beyond it the oldest join the checkpoint early.

mod content;
mod recut;

use content::{Content, Effect};

use super::features::codec::{Reader, ValueRef, put_i64, put_i128, put_instant, put_u64, read_value};
use crate::limits::{CART_LINES_MAX, CART_PENDING_LINES_MAX, CART_PENDING_MAX};
use crate::model::{CartAction, Currency, Money};
use crate::time::{Millis, Timestamp};

/// The same for every customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CartPlan {
    /// The workspace's currency: only lines in it have a value.
    pub home: Currency,
    /// The longest reorder buffer among the cart's event types.
    pub buffer_max: Millis,
}

/// One line as an event brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CartLine<'a> {
    /// [`line_key`] of product and variant.
    pub key: u64,
    /// `None` where the event has none: 1 in set, add and buy, all in remove.
    pub quantity: Option<i64>,
    pub price: Option<Money>,
    /// Encoded values of the properties that `has` asks for, in the plan's order; kept of adds and sets.
    pub values: &'a [u8],
}

/// One event of the cart.
#[derive(Clone, Copy, Debug)]
pub struct CartEvent<'a> {
    pub action: CartAction,
    pub ts: Timestamp,
    /// Empty for `clear`. A `buy` without lines empties the cart.
    pub lines: &'a [CartLine<'a>],
}

/// What became of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CartOutcome {
    /// Whether anything that conditions see may differ.
    pub changed: bool,
    /// The event came after the reorder buffer and was applied in arrival order.
    pub late: bool,
    /// Lines of this event that went into the overflow line.
    pub overflowed: u32,
    /// Events that joined the checkpoint while others could still have come before them.
    pub settled: u32,
}

/// A line of the present cart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub key: u64,
    /// Positive.
    pub quantity: i64,
    pub price: Option<Money>,
    values: Span,
}

/// A range of the cart's arena or of its pending lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PendingLine {
    key: u64,
    quantity: Option<i64>,
    price: Option<Money>,
    values: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pending {
    ts: Timestamp,
    /// Ascending: the event's `ts`, or for one beyond the buffer at least the place of the event after which it was appended.
    place: Timestamp,
    action: CartAction,
    /// Range of the cart's pending lines; no key twice, at most [`CART_LINES_MAX`].
    lines: Span,
    rest: Rest,
}

/// What an event adds or sets beyond the lines that are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rest {
    quantity: i64,
    /// Minor units of the workspace's currency.
    value: i128,
    /// Of the event as it came; not kept.
    lines: u32,
}

/// What most conditions ask; stands first in the encoding, so that it can be had without the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// **Units:** minor units of the workspace's currency; saturates at 64 bits.
    pub value: i64,
    pub quantity: i64,
    /// Lines, the overflow line counted as one.
    pub items: u32,
    /// `None` before the first change.
    pub changed_at: Option<Timestamp>,
}

/// A customer's cart; scratch that is decoded into.
#[derive(Clone, Debug, Default)]
pub struct Cart {
    summary: Summary,
    checkpoint: Content,
    pending: Vec<Pending>,
    /// Lines of the pending events, and of some that are pending no more.
    pending_lines: Vec<PendingLine>,
    /// The checkpoint with the pending events on top.
    current: Content,
    /// The cart before the event at hand.
    before: Content,
    /// Values of lines; what no line names any more goes when the cart is encoded.
    arena: Vec<u8>,
}

/// The name of a line, hashed: `product_id` or else `sku`, and `variant`.
pub fn line_key(product: Option<&str>, variant: Option<&str>) -> u64 {
    use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};
    let product = product.map_or(0, |p| xxh3_64(p.as_bytes()));
    match variant {
        None => product,
        Some(variant) => xxh3_64_with_seed(variant.as_bytes(), product | 1),
    }
}

impl Cart {
    pub fn clear(&mut self) {
        self.summary = Summary::default();
        self.checkpoint.clear();
        self.pending.clear();
        self.pending_lines.clear();
        self.current.clear();
        self.arena.clear();
    }

    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// The lines of the present cart, in the order in which they came; the overflow line is none of them.
    pub fn lines(&self) -> &[Line] {
        &self.current.lines
    }

    /// The i-th kept property of a line; missing where the last add or set had none.
    pub fn value(&self, line: &Line, i: usize) -> ValueRef<'_> {
        let mut reader = Reader::new(self.bytes(line.values));
        for _ in 0..i {
            read_value(&mut reader);
        }
        if reader.done() { ValueRef::Missing } else { read_value(&mut reader) }
    }

    /// Applies an event at `clock`. `in_order`: its `ts` is not before the greatest `ts` applied to the customer before it; `buffer`: the reorder
    /// buffer of its type.
    ///
    /// **Cost:** O(lines) for an event that comes last, else O(pending events x lines).
    pub fn apply(&mut self, plan: &CartPlan, event: &CartEvent<'_>, clock: Timestamp, in_order: bool, buffer: Millis) -> CartOutcome {
        let mut outcome = CartOutcome { settled: self.settle(plan, clock), ..CartOutcome::default() };
        let late = !in_order && clock - event.ts > buffer;
        let place = match self.pending.last() {
            Some(last) if late => last.place.max(event.ts),
            _ => event.ts,
        };
        let (lines, rest) = self.take_in(plan, event);
        let pending = Pending { ts: event.ts, place, action: event.action, lines, rest };
        let at = self.pending.partition_point(|p| p.place <= place);
        let before = self.summary;
        self.before.copy(&self.current);
        outcome.late = late;
        if at == self.pending.len() {
            let effect = self.current.apply(&pending, lines_of(&self.pending_lines, &pending), plan.home);
            outcome.overflowed = effect.overflowed;
            self.note(effect, event.ts);
            self.pending.push(pending);
        } else {
            self.pending.insert(at, pending);
            outcome.overflowed = self.refold(plan, Some(at));
        }
        outcome.overflowed += rest.lines;
        outcome.settled += self.settle(plan, clock);
        self.summarize(plan);
        outcome.changed = before != self.summary || !self.current.same(&self.before, &self.arena);
        outcome
    }

    /// Lets events join the checkpoint that none can come before any more, and the oldest where there are too many. Changes nothing that
    /// conditions see. Returns how many joined it early.
    pub fn settle(&mut self, plan: &CartPlan, clock: Timestamp) -> u32 {
        let closed = clock - plan.buffer_max;
        let old = self.pending.iter().take_while(|p| p.place < closed).count();
        let mut n = old.max(self.pending.len().saturating_sub(CART_PENDING_MAX));
        let mut lines: usize = self.pending[n..].iter().map(|p| p.lines.len as usize).sum();
        while lines > CART_PENDING_LINES_MAX {
            lines -= self.pending[n].lines.len as usize;
            n += 1;
        }
        self.checkpoint_first(plan, n);
        (n - old) as u32
    }

    fn checkpoint_first(&mut self, plan: &CartPlan, n: usize) {
        for pending in self.pending.drain(..n) {
            self.checkpoint.apply(&pending, lines_of(&self.pending_lines, &pending), plan.home);
        }
    }

    /// Folds all pending events onto the checkpoint. Returns how many lines of the event at `of` overflowed.
    fn refold(&mut self, plan: &CartPlan, of: Option<usize>) -> u32 {
        let mut overflowed = 0;
        self.current.copy(&self.checkpoint);
        for i in 0..self.pending.len() {
            let effect = self.current.apply(&self.pending[i], lines_of(&self.pending_lines, &self.pending[i]), plan.home);
            if of == Some(i) {
                overflowed = effect.overflowed;
            }
            self.note(effect, self.pending[i].ts);
        }
        overflowed
    }

    fn note(&mut self, effect: Effect, ts: Timestamp) {
        if effect.moved {
            self.summary.changed_at = Some(self.summary.changed_at.map_or(ts, |at| at.max(ts)));
        }
    }

    fn summarize(&mut self, plan: &CartPlan) {
        let (value, quantity) = self.current.totals(plan.home);
        self.summary = Summary { value, quantity, items: self.current.items(), changed_at: self.summary.changed_at };
    }

    fn bytes(&self, span: Span) -> &[u8] {
        self.arena.get(span.start as usize..(span.start + span.len) as usize).unwrap_or_default()
    }

    /// Keeps the lines of an event, those of one name folded: what they do together is what they do one after the other.
    fn take_in(&mut self, plan: &CartPlan, event: &CartEvent<'_>) -> (Span, Rest) {
        let start = self.pending_lines.len();
        let mut rest = Rest::default();
        for line in event.lines {
            let (quantity, values) = match event.action {
                CartAction::Add | CartAction::Set => match line.quantity.unwrap_or(1) {
                    ..=0 => continue,
                    quantity => (Some(quantity), line.values),
                },
                // A line that takes nothing stays: a purchase without lines is of everything.
                CartAction::Buy => (Some(line.quantity.unwrap_or(1).max(0)), Default::default()),
                CartAction::Remove | CartAction::Clear => (line.quantity.map(|q| q.max(0)), Default::default()),
            };
            if let Some(at) = self.pending_lines[start..].iter().position(|l| l.key == line.key) {
                let values = self.store(values);
                let present = &mut self.pending_lines[start + at];
                // Without a quantity a removal takes all that there is.
                present.quantity = present.quantity.zip(quantity).map(|(a, b)| a.saturating_add(b));
                present.price = line.price.or(present.price);
                present.values = values;
            } else if self.pending_lines.len() - start < CART_LINES_MAX {
                let values = self.store(values);
                self.pending_lines.push(PendingLine { key: line.key, quantity, price: line.price, values });
            } else if matches!(event.action, CartAction::Add | CartAction::Set) {
                let quantity = quantity.unwrap_or(1);
                rest.quantity = rest.quantity.saturating_add(quantity);
                rest.value = rest.value.saturating_add(content::worth(line.price, quantity, plan.home));
                rest.lines += 1;
            }
        }
        (Span { start: start as u32, len: (self.pending_lines.len() - start) as u32 }, rest)
    }

    fn store(&mut self, values: &[u8]) -> Span {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(values);
        Span { start, len: values.len() as u32 }
    }

    pub fn encode(&self, plan: &CartPlan, base: Timestamp, out: &mut Vec<u8>) {
        let empty = self.checkpoint.is_untouched() && self.pending.is_empty();
        if !self.summary.encode(empty, base, out) {
            return;
        }
        self.checkpoint.encode(plan.home, base, &self.arena, out);
        put_u64(out, self.pending.len() as u64);
        let mut last = base;
        for p in &self.pending {
            let pinned = p.place != p.ts;
            let rest = p.rest.quantity > 0;
            put_u64(out, u64::from(p.lines.len) << 5 | u64::from(rest) << 4 | u64::from(pinned) << 3 | action_code(p.action));
            put_instant(out, last, p.place);
            last = p.place;
            if pinned {
                put_instant(out, p.place, p.ts);
            }
            if rest {
                put_i64(out, p.rest.quantity);
                put_i128(out, p.rest.value);
            }
            for line in lines_of(&self.pending_lines, p) {
                out.push(u8::from(line.quantity.is_some()));
                if let Some(quantity) = line.quantity {
                    put_i64(out, quantity);
                }
                content::put_line(out, plan.home, line.key, line.price, self.bytes(line.values));
            }
        }
    }

    pub fn decode(&mut self, plan: &CartPlan, base: Timestamp, reader: &mut Reader<'_>) {
        self.clear();
        let (summary, more) = Summary::decode(base, reader);
        self.summary = summary;
        if !more {
            return;
        }
        self.checkpoint.decode(plan.home, base, reader, &mut self.arena);
        let mut last = base;
        for _ in 0..reader.count(2) {
            let head = reader.u64();
            let place = reader.instant(last);
            last = place;
            let ts = if head & 8 != 0 { reader.instant(place) } else { place };
            let rest = match head & 16 {
                0 => Rest::default(),
                _ => Rest { quantity: reader.i64(), value: reader.i128(), lines: 0 },
            };
            let start = self.pending_lines.len() as u32;
            for _ in 0..head >> 5 {
                if reader.failed() {
                    break;
                }
                let quantity = (reader.byte() == 1).then(|| reader.i64());
                let (key, price, values) = content::read_line(reader, plan.home, &mut self.arena);
                self.pending_lines.push(PendingLine { key, quantity, price, values });
            }
            let lines = Span { start, len: self.pending_lines.len() as u32 - start };
            self.pending.push(Pending { ts, place, action: action_of(head & 7), lines, rest });
        }
        self.refold(plan, None);
    }
}

impl Summary {
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// Reads what stands first of an encoded cart.
    pub fn peek(base: Timestamp, reader: &mut Reader<'_>) -> Summary {
        Summary::decode(base, reader).0
    }

    /// Returns whether the rest has to follow: not of a cart that nothing has ever happened to.
    fn encode(&self, nothing_else: bool, base: Timestamp, out: &mut Vec<u8>) -> bool {
        let more = !(nothing_else && self.changed_at.is_none());
        put_u64(out, u64::from(self.items) << 2 | u64::from(self.changed_at.is_some()) << 1 | u64::from(more));
        if self.items > 0 {
            put_i64(out, self.value);
            put_i64(out, self.quantity);
        }
        if let Some(at) = self.changed_at {
            put_instant(out, base, at);
        }
        more
    }

    fn decode(base: Timestamp, reader: &mut Reader<'_>) -> (Summary, bool) {
        let head = reader.u64();
        let mut summary = Summary { items: (head >> 2) as u32, ..Summary::default() };
        if summary.items > 0 {
            summary.value = reader.i64();
            summary.quantity = reader.i64();
        }
        if head & 2 != 0 {
            summary.changed_at = Some(reader.instant(base));
        }
        (summary, head & 1 != 0)
    }
}

/// The lines of a pending event.
fn lines_of<'a>(lines: &'a [PendingLine], event: &Pending) -> &'a [PendingLine] {
    lines.get(event.lines.start as usize..(event.lines.start + event.lines.len) as usize).unwrap_or_default()
}

/// Stored, so a number never gets another meaning.
fn action_code(action: CartAction) -> u64 {
    match action {
        CartAction::Set => 0,
        CartAction::Add => 1,
        CartAction::Remove => 2,
        CartAction::Clear => 3,
        CartAction::Buy => 4,
    }
}

fn action_of(code: u64) -> CartAction {
    match code {
        0 => CartAction::Set,
        1 => CartAction::Add,
        2 => CartAction::Remove,
        3 => CartAction::Clear,
        _ => CartAction::Buy,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::features::codec::put_value;
    use crate::model::Value;

    const MINUTE: i64 = 60_000;

    fn plan() -> CartPlan {
        CartPlan { home: Currency::EUR, buffer_max: Millis(10 * MINUTE) }
    }

    fn euro(minor: i64) -> Option<Money> {
        Some(Money { minor, currency: Currency::EUR })
    }

    fn line(product: &str, quantity: Option<i64>, price: Option<Money>) -> CartLine<'static> {
        CartLine { key: line_key(Some(product), None), quantity, price, values: &[] }
    }

    /// Applies an event that is in order, at its own instant.
    fn apply(cart: &mut Cart, action: CartAction, ts: i64, lines: &[CartLine<'_>]) -> CartOutcome {
        cart.apply(&plan(), &CartEvent { action, ts: Timestamp(ts), lines }, Timestamp(ts), true, plan().buffer_max)
    }

    fn state(cart: &Cart) -> (i64, i64, u32, Option<i64>) {
        let s = cart.summary();
        (s.value, s.quantity, s.items, s.changed_at.map(|t| t.0))
    }

    /// LANGUAGE.md cases 54 and 55.
    #[test]
    fn an_order_takes_its_lines_and_one_without_lines_takes_all() {
        let mut cart = Cart::default();
        for (i, (product, price)) in [("p1", 1_000), ("p2", 2_000), ("p3", 3_000)].into_iter().enumerate() {
            assert!(apply(&mut cart, CartAction::Add, i as i64, &[line(product, None, euro(price))]).changed);
        }
        assert_eq!(state(&cart), (6_000, 3, 3, Some(2)));
        assert!(apply(&mut cart, CartAction::Buy, 10, &[line("p2", Some(1), None)]).changed);
        assert_eq!(state(&cart), (4_000, 2, 2, Some(10)));
        assert!(!apply(&mut cart, CartAction::Buy, 20, &[line("p9", Some(1), None)]).changed);
        assert!(!apply(&mut cart, CartAction::Remove, 21, &[line("p2", None, None)]).changed);
        assert_eq!(state(&cart), (4_000, 2, 2, Some(10)));
        assert!(apply(&mut cart, CartAction::Buy, 30, &[]).changed);
        assert_eq!(state(&cart), (0, 0, 0, Some(30)));
        assert!(!apply(&mut cart, CartAction::Clear, 40, &[]).changed);
        assert_eq!(state(&cart), (0, 0, 0, Some(30)));
    }

    /// LANGUAGE.md case 56.
    #[test]
    fn an_older_set_is_ignored() {
        let mut cart = Cart::default();
        apply(&mut cart, CartAction::Set, 100 * MINUTE, &[line("p1", Some(2), euro(500))]);
        for ts in [95 * MINUTE, 5 * MINUTE] {
            let old = CartEvent { action: CartAction::Set, ts: Timestamp(ts), lines: &[line("p2", Some(9), euro(1))] };
            let outcome = cart.apply(&plan(), &old, Timestamp(101 * MINUTE), false, plan().buffer_max);
            assert!(!outcome.changed);
            assert_eq!(outcome.late, ts == 5 * MINUTE);
        }
        assert_eq!(state(&cart), (1_000, 2, 1, Some(100 * MINUTE)));
        assert!(!apply(&mut cart, CartAction::Set, 102 * MINUTE, &[line("p1", None, euro(500)), line("p1", Some(1), None)]).changed);
        assert_eq!(state(&cart), (1_000, 2, 1, Some(100 * MINUTE)));
    }

    #[test]
    fn adds_take_the_new_price_and_foreign_lines_have_no_value() {
        let mut cart = Cart::default();
        let dollars = Some(Money { minor: 700, currency: Currency::parse("USD").expect("code") });
        apply(&mut cart, CartAction::Add, 1, &[line("p1", Some(2), euro(1_000)), line("p2", None, dollars), line("p3", None, None)]);
        apply(&mut cart, CartAction::Add, 2, &[line("p1", None, euro(900))]);
        assert_eq!(state(&cart), (2_700, 5, 3, Some(2)));
        assert!(!apply(&mut cart, CartAction::Add, 3, &[line("p1", Some(0), euro(1))]).changed);
        apply(&mut cart, CartAction::Remove, 4, &[line("p1", Some(1), None)]);
        assert_eq!(state(&cart), (1_800, 4, 3, Some(4)));
        apply(&mut cart, CartAction::Remove, 5, &[line("p1", None, None)]);
        assert_eq!(state(&cart), (0, 2, 2, Some(5)));
    }

    #[test]
    fn what_comes_on_top_of_200_lines_is_one_line() {
        let mut cart = Cart::default();
        let names: Vec<String> = (0..crate::limits::CART_LINES_MAX + 3).map(|i| format!("p{i}")).collect();
        let mut overflowed = 0;
        for (i, name) in names.iter().enumerate() {
            overflowed += apply(&mut cart, CartAction::Add, i as i64, &[line(name, Some(2), euro(10))]).overflowed;
        }
        assert_eq!((overflowed, state(&cart)), (3, (4_060, 406, 201, Some(202))));
        let mut bytes = Vec::new();
        cart.encode(&plan(), Timestamp(9), &mut bytes);
        let mut back = Cart::default();
        back.decode(&plan(), Timestamp(9), &mut Reader::new(&bytes));
        assert_eq!(state(&back), state(&cart));
        apply(&mut back, CartAction::Clear, 1_000, &[]);
        assert_eq!(state(&back), (0, 0, 0, Some(1_000)));
    }

    #[test]
    fn one_event_of_many_lines_is_folded_and_bounded() {
        let mut cart = Cart::default();
        let names: Vec<String> = (0..crate::limits::CART_LINES_MAX + 5).map(|i| format!("p{i}")).collect();
        let twice: Vec<CartLine<'_>> = names.iter().chain(&names[..2]).map(|name| line(name, Some(1), euro(10))).collect();
        let outcome = apply(&mut cart, CartAction::Add, 1, &twice);
        assert_eq!((outcome.overflowed, state(&cart)), (5, (2_070, 207, 201, Some(1))));
        assert_eq!(cart.pending_lines.len(), crate::limits::CART_LINES_MAX);
        let mut bytes = Vec::new();
        cart.encode(&plan(), Timestamp(9), &mut bytes);
        let mut back = Cart::default();
        back.decode(&plan(), Timestamp(9), &mut Reader::new(&bytes));
        assert_eq!(state(&back), state(&cart));
        // Removing without quantity takes all, whatever another line of the same name says.
        apply(&mut back, CartAction::Remove, 2, &[line("p0", None, None), line("p0", Some(1), None), line("p1", Some(1), None)]);
        assert_eq!(state(&back), (2_040, 204, 200, Some(2)));
        assert!(!apply(&mut back, CartAction::Buy, 3, &[line("p1", Some(0), None)]).changed, "a line of nothing is not everything");
    }

    #[test]
    fn pending_lines_are_bounded_and_what_joins_early_is_counted() {
        let mut cart = Cart::default();
        let names: Vec<String> = (0..150).map(|i| format!("p{i}")).collect();
        let lines: Vec<CartLine<'_>> = names.iter().map(|name| line(name, Some(1), euro(10))).collect();
        let mut settled = 0;
        for ts in 0..20 {
            settled += apply(&mut cart, CartAction::Set, ts, &lines).settled;
            let pending: usize = cart.pending.iter().map(|p| p.lines.len as usize).sum();
            assert!(pending <= crate::limits::CART_PENDING_LINES_MAX, "{pending}");
        }
        assert_eq!((settled, cart.pending.len(), state(&cart)), (7, 13, (1_500, 150, 150, Some(0))));
    }

    #[test]
    fn a_cart_that_nothing_happened_to_is_one_byte() {
        let mut bytes = Vec::new();
        Cart::default().encode(&plan(), Timestamp(9), &mut bytes);
        assert_eq!(bytes, [0]);
        let mut reader = Reader::new(&bytes);
        assert_eq!(Summary::peek(Timestamp(9), &mut reader), Summary::default());
    }

    /// The whole sequence folded from the start every time, without checkpoint.
    #[derive(Default)]
    struct Naive {
        /// (place, ts, action, lines)
        events: Vec<(i64, i64, CartAction, Vec<(u64, Option<i64>, Option<Money>, i64)>)>,
        changed_at: Option<i64>,
        lines: BTreeMap<u64, (i64, Option<Money>, i64)>,
    }

    impl Naive {
        fn apply(&mut self, late: bool, ts: i64, action: CartAction, lines: Vec<(u64, Option<i64>, Option<Money>, i64)>) {
            let place = match self.events.last() {
                Some(last) if late => last.0.max(ts),
                _ => ts,
            };
            let at = self.events.iter().rposition(|e| e.0 <= place).map_or(0, |i| i + 1);
            self.events.insert(at, (place, ts, action, lines));
            let mut cart: BTreeMap<u64, (i64, Option<Money>, i64)> = BTreeMap::new();
            let mut newest_set = i64::MIN;
            let shape = |cart: &BTreeMap<u64, (i64, Option<Money>, i64)>| {
                cart.iter().map(|(k, l)| (*k, l.0, l.1)).collect::<Vec<(u64, i64, Option<Money>)>>()
            };
            for (_, ts, action, lines) in &self.events {
                let before = shape(&cart);
                let mut added = false;
                if *action == CartAction::Set {
                    if *ts < newest_set {
                        continue;
                    }
                    newest_set = *ts;
                    cart.clear();
                }
                if *action == CartAction::Clear || (*action == CartAction::Buy && lines.is_empty()) {
                    cart.clear();
                }
                for (key, quantity, price, value) in lines {
                    match action {
                        CartAction::Set | CartAction::Add => {
                            let q = quantity.unwrap_or(1);
                            if q > 0 {
                                added |= *action == CartAction::Add;
                                let l = cart.entry(*key).or_insert((0, None, 0));
                                *l = (l.0 + q, price.or(l.1), *value);
                            }
                        }
                        _ => {
                            let all = cart.get(key).map_or(0, |l| l.0);
                            let q = quantity.unwrap_or(if *action == CartAction::Buy { 1 } else { all });
                            if let Some(l) = cart.get_mut(key)
                                && q > 0
                            {
                                l.0 -= q;
                            }
                            cart.retain(|_, l| l.0 > 0);
                        }
                    }
                }
                if added || shape(&cart) != before {
                    self.changed_at = Some(self.changed_at.map_or(*ts, |at| at.max(*ts)));
                }
            }
            self.lines = cart;
        }
    }

    #[test]
    fn carts_answer_like_the_whole_sequence_folded_anew() {
        for seed in 0..400u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut cart, mut naive) = (Cart::default(), Naive::default());
            let (mut clock, mut greatest) = (0i64, i64::MIN);
            for _ in 0..60 {
                clock += rng.i64(0..4 * MINUTE);
                let ts = match rng.u8(0..4) {
                    0 => clock - rng.i64(0..30 * MINUTE),
                    1 => clock - rng.i64(0..10 * MINUTE + 1),
                    _ => clock,
                };
                if rng.u8(0..4) == 0 {
                    // Some other event of the customer.
                    greatest = greatest.max(ts);
                    continue;
                }
                let action = [CartAction::Add, CartAction::Add, CartAction::Set, CartAction::Remove, CartAction::Buy, CartAction::Clear]
                    [rng.usize(0..6)];
                let n = if action == CartAction::Clear { 0 } else { rng.usize(0..3) };
                let lines: Vec<(u64, Option<i64>, Option<Money>, i64)> = (0..n)
                    .map(|_| {
                        let price = [None, euro(rng.i64(1..5)), Some(Money { minor: 1, currency: Currency::parse("SEK").expect("code") })];
                        (rng.u64(0..4), [None, Some(rng.i64(-1..4))][rng.usize(0..2)], price[rng.usize(0..3)], rng.i64(0..3))
                    })
                    .collect();
                let values: Vec<Vec<u8>> = lines
                    .iter()
                    .map(|l| {
                        let mut out = Vec::new();
                        put_value(&mut out, &Value::Int(l.3));
                        out
                    })
                    .collect();
                let given: Vec<CartLine<'_>> =
                    lines.iter().zip(&values).map(|(l, values)| CartLine { key: l.0, quantity: l.1, price: l.2, values }).collect();
                let in_order = ts >= greatest;
                greatest = greatest.max(ts);
                let late = !in_order && clock - ts > plan().buffer_max.0;
                let before = (naive.lines.clone(), naive.changed_at);
                naive.apply(late, ts, action, lines.clone());
                let event = CartEvent { action, ts: Timestamp(ts), lines: &given };
                let outcome = cart.apply(&plan(), &event, Timestamp(clock), in_order, plan().buffer_max);
                assert_eq!(outcome.late, late, "seed {seed}");
                assert!(outcome.changed || before == (naive.lines.clone(), naive.changed_at), "seed {seed}");
                let mut bytes = Vec::new();
                cart.encode(&plan(), Timestamp(5), &mut bytes);
                let summary = cart.summary();
                assert_eq!(Summary::peek(Timestamp(5), &mut Reader::new(&bytes)), summary);
                let mut reader = Reader::new(&bytes);
                cart.decode(&plan(), Timestamp(5), &mut reader);
                assert!(reader.done() && !reader.failed());
                assert_eq!(cart.summary(), summary);
                let got: BTreeMap<u64, (i64, Option<Money>, i64)> = cart
                    .lines()
                    .iter()
                    .map(|l| {
                        let ValueRef::Int(value) = cart.value(l, 0) else { panic!("an int was kept") };
                        (l.key, (l.quantity, l.price, value))
                    })
                    .collect();
                assert_eq!((&got, summary.changed_at.map(|t| t.0)), (&naive.lines, naive.changed_at), "seed {seed}");
                let value: i64 = got.values().filter_map(|l| l.1.filter(|p| p.currency == Currency::EUR).map(|p| p.minor * l.0)).sum();
                assert_eq!((summary.value, summary.quantity), (value, got.values().map(|l| l.0).sum()), "seed {seed}");
                assert!(cart.pending.iter().all(|p| p.place.0 >= clock - plan().buffer_max.0));
            }
        }
    }

    #[test]
    fn the_largest_prices_and_quantities_saturate() {
        let mut cart = Cart::default();
        for (i, product) in ["p1", "p2", "p3"].into_iter().enumerate() {
            for _ in 0..2 {
                apply(&mut cart, CartAction::Add, i as i64, &[line(product, Some(i64::MAX), euro(i64::MAX))]);
            }
        }
        assert_eq!(state(&cart), (i64::MAX, i64::MAX, 3, Some(2)));
    }

    #[test]
    fn noise_never_panics() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut cart = Cart::default();
        for _ in 0..5_000 {
            let noise: Vec<u8> = (0..rng.usize(0..60)).map(|_| rng.u8(..)).collect();
            cart.decode(&plan(), Timestamp(0), &mut Reader::new(&noise));
        }
    }
}
