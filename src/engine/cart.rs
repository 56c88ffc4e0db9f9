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
//! - At most [`PENDING_MAX`] events wait; beyond it the oldest join the checkpoint early.

mod content;

use content::{Content, Effect};

use super::features::codec::{Reader, ValueRef, put_i64, put_instant, put_u64, read_value};
use crate::model::{CartAction, Currency, Money};
use crate::time::{Millis, Timestamp};

/// Lines that are told apart (LANGUAGE.md S43); what comes on top is summed into one overflow line.
pub const LINES_MAX: usize = 200;

/// Events that can be folded again.
pub const PENDING_MAX: usize = 256;

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

/// A range of the cart's arena.
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

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pending {
    ts: Timestamp,
    /// Ascending: the event's `ts`, or for one beyond the buffer the place of the event after which it was appended.
    place: Timestamp,
    action: CartAction,
    lines: Vec<PendingLine>,
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
    /// The checkpoint with the pending events on top.
    current: Content,
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
        self.settle(plan, clock);
        let late = !in_order && clock - event.ts > buffer;
        let place = match self.pending.last() {
            Some(last) if late => last.place,
            _ => event.ts,
        };
        let lines = event.lines.iter().map(|l| self.keep(event.action, l)).collect();
        let pending = Pending { ts: event.ts, place, action: event.action, lines };
        let at = self.pending.partition_point(|p| p.place <= place);
        let before = (self.summary, self.current.clone());
        let mut outcome = CartOutcome { changed: false, late, overflowed: 0 };
        if at == self.pending.len() {
            let effect = self.current.apply(&pending, plan.home);
            outcome.overflowed = effect.overflowed;
            self.note(effect, event.ts);
            self.pending.push(pending);
        } else {
            self.pending.insert(at, pending);
            outcome.overflowed = self.refold(plan, Some(at));
        }
        self.settle(plan, clock);
        if late && self.pending.len() == 1 {
            // Nothing can come before it: it has its place already.
            self.checkpoint_first(plan, 1);
        }
        self.summarize(plan);
        outcome.changed = before.0 != self.summary || !self.current.same(&before.1, &self.arena);
        outcome
    }

    /// Lets events join the checkpoint that none can come before any more. Changes nothing that conditions see.
    pub fn settle(&mut self, plan: &CartPlan, clock: Timestamp) {
        let closed = clock - plan.buffer_max;
        let old = self.pending.iter().take_while(|p| p.place < closed).count();
        self.checkpoint_first(plan, old.max(self.pending.len().saturating_sub(PENDING_MAX)));
    }

    fn checkpoint_first(&mut self, plan: &CartPlan, n: usize) {
        for pending in self.pending.drain(..n) {
            self.checkpoint.apply(&pending, plan.home);
        }
    }

    /// Folds all pending events onto the checkpoint. Returns how many lines of the event at `of` overflowed.
    fn refold(&mut self, plan: &CartPlan, of: Option<usize>) -> u32 {
        let mut overflowed = 0;
        self.current.copy(&self.checkpoint);
        for i in 0..self.pending.len() {
            let effect = self.current.apply(&self.pending[i], plan.home);
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

    fn keep(&mut self, action: CartAction, line: &CartLine<'_>) -> PendingLine {
        let values = match action {
            CartAction::Add | CartAction::Set => self.store(line.values),
            CartAction::Remove | CartAction::Clear | CartAction::Buy => Span::default(),
        };
        PendingLine { key: line.key, quantity: line.quantity, price: line.price, values }
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
            put_u64(out, (p.lines.len() as u64) << 4 | u64::from(pinned) << 3 | action_code(p.action));
            put_instant(out, last, p.place);
            last = p.place;
            if pinned {
                put_instant(out, p.place, p.ts);
            }
            for line in &p.lines {
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
            let mut lines = Vec::new();
            for _ in 0..head >> 4 {
                if reader.failed() {
                    break;
                }
                let quantity = (reader.byte() == 1).then(|| reader.i64());
                let (key, price, values) = content::read_line(reader, plan.home, &mut self.arena);
                lines.push(PendingLine { key, quantity, price, values });
            }
            self.pending.push(Pending { ts, place, action: action_of(head & 7), lines });
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
#[path = "cart/tests.rs"]
mod tests;
