//! What a cart holds, and what one event does to it.

use super::{Line, Pending, PendingLine, Span};
use crate::engine::features::codec::{Reader, put_fixed64, put_i64, put_i128, put_instant, put_u64};
use crate::limits::CART_LINES_MAX;
use crate::model::{CartAction, Currency, Money};
use crate::time::Timestamp;

/// Lines, the overflow line, and the `ts` of the newest `set`.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// At most [`CART_LINES_MAX`], no key twice.
    pub(super) lines: Vec<Line>,
    overflow_quantity: i64,
    /// Minor units of the workspace's currency.
    overflow_value: i128,
    last_set: Option<Timestamp>,
}

/// What one event did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effect {
    /// Names, quantities or prices differ: `changed_at` moves.
    pub(super) moved: bool,
    pub(super) overflowed: u32,
}

/// Minor units of the workspace's currency that so many of a price are; 0 of another currency or without price.
pub(super) fn worth(price: Option<Money>, quantity: i64, home: Currency) -> i128 {
    match price {
        Some(price) if price.currency == home => i128::from(price.minor) * i128::from(quantity),
        _ => 0,
    }
}

impl Content {
    pub(super) fn clear(&mut self) {
        self.empty();
        self.last_set = None;
    }

    /// Takes everything out and keeps the newest `set`.
    fn empty(&mut self) {
        self.lines.clear();
        self.overflow_quantity = 0;
        self.overflow_value = 0;
    }

    pub(super) fn copy(&mut self, from: &Content) {
        self.lines.clone_from(&from.lines);
        self.overflow_quantity = from.overflow_quantity;
        self.overflow_value = from.overflow_value;
        self.last_set = from.last_set;
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.overflow_quantity == 0
    }

    /// Whether nothing has to be stored.
    pub(super) fn is_untouched(&self) -> bool {
        self.is_empty() && self.last_set.is_none()
    }

    pub(super) fn items(&self) -> u32 {
        self.lines.len() as u32 + u32::from(self.overflow_quantity > 0)
    }

    /// Value in minor units and quantity; both saturate at 64 bits.
    pub(super) fn totals(&self, home: Currency) -> (i64, i64) {
        let value = self.lines.iter().fold(self.overflow_value, |sum, l| sum.saturating_add(worth(l.price, l.quantity, home)));
        let quantity = self.lines.iter().fold(self.overflow_quantity, |sum, l| sum.saturating_add(l.quantity));
        (crate::engine::features::counter::clamp_sum(value).0, quantity)
    }

    /// Whether conditions can tell no difference, kept properties included.
    pub(super) fn same(&self, other: &Content, arena: &[u8]) -> bool {
        let bytes = |span: Span| arena.get(span.start as usize..(span.start + span.len) as usize);
        self.overflow_quantity == other.overflow_quantity
            && self.overflow_value == other.overflow_value
            && self.lines.len() == other.lines.len()
            && self
                .lines
                .iter()
                .zip(&other.lines)
                .all(|(a, b)| (a.key, a.quantity, a.price) == (b.key, b.quantity, b.price) && bytes(a.values) == bytes(b.values))
    }

    /// Whether names, quantities and prices are the same, in whatever order.
    fn equal(&self, other: &Content) -> bool {
        self.overflow_quantity == other.overflow_quantity
            && self.overflow_value == other.overflow_value
            && self.lines.len() == other.lines.len()
            && self.lines.iter().all(|a| other.lines.iter().any(|b| (a.key, a.quantity, a.price) == (b.key, b.quantity, b.price)))
    }

    pub(super) fn apply(&mut self, event: &Pending, lines: &[PendingLine], home: Currency) -> Effect {
        let mut effect = Effect::default();
        match event.action {
            CartAction::Set => {
                if self.last_set.is_some_and(|set| event.ts < set) {
                    return effect;
                }
                let mut next = Content { last_set: Some(event.ts), ..Content::default() };
                for line in lines {
                    next.add(line, home, &mut effect);
                }
                next.add_rest(event);
                effect.moved = !self.equal(&next);
                *self = next;
            }
            CartAction::Add => {
                for line in lines {
                    self.add(line, home, &mut effect);
                }
                effect.moved |= self.add_rest(event);
            }
            CartAction::Remove => {
                for line in lines {
                    effect.moved |= self.take(line.key, line.quantity);
                }
            }
            CartAction::Buy if !lines.is_empty() => {
                for line in lines {
                    effect.moved |= self.take(line.key, Some(line.quantity.unwrap_or(1)));
                }
            }
            CartAction::Clear | CartAction::Buy => {
                effect.moved = !self.is_empty();
                self.empty();
            }
        }
        effect
    }

    fn add(&mut self, line: &PendingLine, home: Currency, effect: &mut Effect) {
        let quantity = line.quantity.unwrap_or(1);
        if quantity <= 0 {
            return;
        }
        effect.moved = true;
        if let Some(present) = self.lines.iter_mut().find(|l| l.key == line.key) {
            present.quantity = present.quantity.saturating_add(quantity);
            present.price = line.price.or(present.price);
            present.values = line.values;
        } else if self.lines.len() < CART_LINES_MAX {
            self.lines.push(Line { key: line.key, quantity, price: line.price, values: line.values });
        } else {
            self.overflow_quantity = self.overflow_quantity.saturating_add(quantity);
            self.overflow_value = self.overflow_value.saturating_add(worth(line.price, quantity, home));
            effect.overflowed += 1;
        }
    }

    /// What the event has beyond the lines that are told apart; says whether there is any.
    fn add_rest(&mut self, event: &Pending) -> bool {
        self.overflow_quantity = self.overflow_quantity.saturating_add(event.rest.quantity);
        self.overflow_value = self.overflow_value.saturating_add(event.rest.value);
        event.rest.quantity > 0
    }

    /// Takes so many of a line out, or the line; says whether anything was taken.
    fn take(&mut self, key: u64, quantity: Option<i64>) -> bool {
        let Some(at) = self.lines.iter().position(|l| l.key == key) else { return false };
        match quantity {
            Some(quantity) if quantity <= 0 => return false,
            Some(quantity) if quantity < self.lines[at].quantity => self.lines[at].quantity -= quantity,
            _ => {
                self.lines.remove(at);
            }
        }
        true
    }

    pub(super) fn encode(&self, home: Currency, base: Timestamp, arena: &[u8], out: &mut Vec<u8>) {
        let overflow = self.overflow_quantity > 0;
        put_u64(out, (self.lines.len() as u64) << 2 | u64::from(self.last_set.is_some()) << 1 | u64::from(overflow));
        if let Some(set) = self.last_set {
            put_instant(out, base, set);
        }
        if overflow {
            put_i64(out, self.overflow_quantity);
            put_i128(out, self.overflow_value);
        }
        for line in &self.lines {
            put_i64(out, line.quantity);
            let values = arena.get(line.values.start as usize..(line.values.start + line.values.len) as usize);
            put_line(out, home, line.key, line.price, values.unwrap_or_default());
        }
    }

    pub(super) fn decode(&mut self, home: Currency, base: Timestamp, reader: &mut Reader<'_>, arena: &mut Vec<u8>) {
        let head = reader.u64();
        if head & 2 != 0 {
            self.last_set = Some(reader.instant(base));
        }
        if head & 1 != 0 {
            self.overflow_quantity = reader.i64();
            self.overflow_value = reader.i128();
        }
        for _ in 0..(head >> 2).min(CART_LINES_MAX as u64) {
            let quantity = reader.i64();
            let (key, price, values) = read_line(reader, home, arena);
            self.lines.push(Line { key, quantity, price, values });
        }
    }
}

/// Name, price and values; the workspace's currency costs nothing.
pub(super) fn put_line(out: &mut Vec<u8>, home: Currency, key: u64, price: Option<Money>, values: &[u8]) {
    put_fixed64(out, key);
    let kind = match price {
        None => 0,
        Some(price) if price.currency == home => 1,
        Some(_) => 2,
    };
    put_u64(out, (values.len() as u64) << 2 | kind);
    if let Some(price) = price {
        if kind == 2 {
            out.extend_from_slice(&price.currency.bytes());
        }
        put_i64(out, price.minor);
    }
    out.extend_from_slice(values);
}

pub(super) fn read_line(reader: &mut Reader<'_>, home: Currency, arena: &mut Vec<u8>) -> (u64, Option<Money>, Span) {
    let key = reader.fixed64();
    let head = reader.u64();
    let currency = match head & 3 {
        0 => None,
        1 => Some(home),
        _ => std::str::from_utf8(reader.bytes(3)).ok().and_then(Currency::parse),
    };
    let price = currency.map(|currency| Money { minor: reader.i64(), currency });
    let bytes = reader.bytes((head >> 2) as usize);
    let span = Span { start: arena.len() as u32, len: bytes.len() as u32 };
    arena.extend_from_slice(bytes);
    (key, price, span)
}
