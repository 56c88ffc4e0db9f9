//! The objects being read, whatever their format: slots, pairs of amount and code, what was wrong, and in which order things came.

use super::draft::Faults;
use super::scalar::{self, Scalar};
use super::shape::{ObjectShape, Use};
use crate::engine::batch::{Batch, DataRange, Datum};
use crate::limits::{VALUE_BYTES_MAX, VALUE_TEXT_BYTES_MAX};
use crate::model::Currency;

/// Memory that outlives the record. `T` is the format's token of a value; its default is an absent one.
#[derive(Default)]
pub(super) struct Slots<T> {
    /// Slots of the objects being read, elements of the lists being read.
    stack: Vec<Datum>,
    /// Amount and code of the pairs of the objects being read.
    pairs: Vec<[T; 2]>,
    /// Slots of the last ordered object in the order of the text, each once at its last place: traits, whose order counts (LANGUAGE.md
    /// R44).
    order: Vec<u16>,
}

/// An object being read: where its slots and pairs begin, and what was wrong.
pub(super) struct Frame {
    slots: usize,
    pairs: usize,
    wrong: Vec<Wrong>,
    /// Whether the order is kept.
    ordered: bool,
    /// Names directly in the object that the shape lacks.
    pub unknown: u64,
}

/// A slot whose value is of a wrong type; it stands as missing.
struct Wrong {
    slot: u16,
    below: Box<Below>,
}

/// A wrong value at or under a slot, for people.
pub(super) struct Below {
    /// From the slot's name down: `.quantity`, or nothing.
    pub path: String,
    /// What was expected and found.
    pub message: String,
    /// Not of a wrong type but beyond [`VALUE_TEXT_BYTES_MAX`] or [`VALUE_BYTES_MAX`].
    pub too_large: bool,
}

/// Why a value gave no datum.
pub(super) enum Fault {
    Unreadable,
    Wrong(Box<Below>),
}

impl Fault {
    #[cold]
    pub fn wrong(message: String) -> Fault {
        Fault::Wrong(below(message))
    }

    #[cold]
    fn too_large(what: &str, bytes: usize, most: usize) -> Fault {
        let message = format!("{what} of {bytes} bytes, at most {most} are taken");
        Fault::Wrong(Box::new(Below { path: String::new(), message, too_large: true }))
    }
}

/// A slot's value, unless it is larger than a customer's state should hold; `bytes`: how much it takes in the record.
#[inline(always)]
pub(super) fn bounded(datum: Datum, bytes: usize) -> Result<Datum, Fault> {
    match datum {
        Datum::Text(text) if text.len as usize > VALUE_TEXT_BYTES_MAX => {
            Err(Fault::too_large("text", text.len as usize, VALUE_TEXT_BYTES_MAX))
        }
        Datum::List(_) | Datum::Record(_) if bytes > VALUE_BYTES_MAX => Err(Fault::too_large("a value", bytes, VALUE_BYTES_MAX)),
        datum => Ok(datum),
    }
}

impl Frame {
    #[cold]
    pub fn wrong(&mut self, slot: u16, below: Box<Below>) {
        self.wrong.push(Wrong { slot, below });
    }

    /// A later value of a slot counts instead.
    #[inline(always)]
    fn forgive(&mut self, slot: u16) {
        if !self.wrong.is_empty() {
            self.wrong.retain(|w| w.slot != slot);
        }
    }

    /// The first wrong slot by its path: too large before wrong types (LANGUAGE.md R21), then in the order of the shape, which does not
    /// depend on how the text is ordered.
    fn first_wrong(&mut self, shape: &ObjectShape) -> Option<Below> {
        let place = (0..self.wrong.len()).min_by_key(|i| (!self.wrong[*i].below.too_large, self.wrong[*i].slot))?;
        let Wrong { slot, below } = self.wrong.swap_remove(place);
        let path = format!("{}{}", shape.slots[slot as usize].name, below.path);
        Some(Below { path, ..*below })
    }

    /// What a draft says of the object.
    pub fn faults(&mut self, shape: &ObjectShape) -> Option<Box<Faults>> {
        let count = self.wrong.len() as u64;
        let Below { path, message, too_large } = self.first_wrong(shape)?;
        Some(Box::new(Faults { count, first: format!("`{path}`: {message}"), too_large }))
    }
}

impl<T: Copy + Default> Slots<T> {
    /// Forgets what earlier records left.
    #[inline]
    pub fn clear(&mut self) {
        self.stack.clear();
        self.pairs.clear();
        self.order.clear();
    }

    /// Begins an object: every slot is missing.
    #[inline]
    pub fn begin(&mut self, shape: &ObjectShape, ordered: bool) -> Frame {
        let frame = Frame { slots: self.stack.len(), pairs: self.pairs.len(), wrong: Vec::new(), ordered, unknown: 0 };
        self.stack.resize(frame.slots + shape.slots.len(), Datum::Missing);
        self.pairs.resize(frame.pairs + shape.pairs.len(), [T::default(); 2]);
        frame
    }

    /// Notes that a value stands here; gives the slot into which it has to be converted, if any.
    #[inline]
    pub fn note(&mut self, shape: &ObjectShape, what: Use, token: T, frame: &mut Frame) -> Option<u16> {
        let (slot, wanted) = match what {
            Use::Value(slot) => (slot, true),
            Use::Amount(pair) => {
                self.pairs[frame.pairs + pair as usize][0] = token;
                (shape.pairs[pair as usize], false)
            }
            Use::Code(pair) => {
                self.pairs[frame.pairs + pair as usize][1] = token;
                return None;
            }
        };
        frame.forgive(slot);
        if frame.ordered {
            self.order.retain(|s| *s != slot);
            self.order.push(slot);
        }
        wanted.then_some(slot)
    }

    /// A key is repeated: what stood under it before is void.
    pub fn void(&mut self, shape: &ObjectShape, uses: &[Use], frame: &mut Frame) {
        for what in uses {
            let slot = match *what {
                Use::Value(slot) => slot,
                Use::Amount(pair) => {
                    self.pairs[frame.pairs + pair as usize][0] = T::default();
                    shape.pairs[pair as usize]
                }
                Use::Code(pair) => {
                    self.pairs[frame.pairs + pair as usize][1] = T::default();
                    continue;
                }
            };
            self.set(frame, slot, Datum::Missing);
            frame.forgive(slot);
            if frame.ordered {
                self.order.retain(|s| *s != slot);
            }
        }
    }

    #[inline]
    pub fn set(&mut self, frame: &Frame, slot: u16, datum: Datum) {
        self.stack[frame.slots + slot as usize] = datum;
    }

    /// Ends an object: amounts and codes are put together. `currency` reads a code, `amount` an amount into the pair's money; both have
    /// a last argument of `None` where nothing of the kind stands there, and give what is wrong.
    #[inline]
    pub fn end(&mut self, shape: &ObjectShape, frame: &mut Frame, mut pair: impl FnMut(T, T) -> Result<Datum, Box<Below>>) {
        if shape.pairs.is_empty() {
            return;
        }
        for (i, slot) in shape.pairs.iter().enumerate() {
            let [amount, code] = self.pairs[frame.pairs + i];
            match pair(amount, code) {
                Ok(datum) => self.set(frame, *slot, datum),
                Err(below) => frame.wrong(*slot, below),
            }
        }
        self.pairs.truncate(frame.pairs);
    }

    /// A record that has ended, moved to the batch; its first wrong field makes the whole record wrong.
    pub fn record(&mut self, shape: &ObjectShape, mut frame: Frame, batch: &mut Batch) -> Result<Datum, Fault> {
        if let Some(below) = frame.first_wrong(shape) {
            self.stack.truncate(frame.slots);
            return Err(Fault::Wrong(Box::new(Below { path: format!(".{}", below.path), ..below })));
        }
        Ok(Datum::Record(self.settle(frame.slots, batch)))
    }

    /// Where the elements of a list begin.
    pub fn begin_list(&self) -> usize {
        self.stack.len()
    }

    /// Adds an element; nulls are left out (LANGUAGE.md R64).
    pub fn element(&mut self, base: usize, datum: Result<Datum, Fault>) -> Result<(), Fault> {
        match datum {
            Ok(Datum::Missing) => {}
            Ok(datum) => self.stack.push(datum),
            Err(fault) => {
                self.stack.truncate(base);
                return Err(fault);
            }
        }
        Ok(())
    }

    /// A list that has ended, moved to the batch.
    pub fn end_list(&mut self, base: usize, batch: &mut Batch) -> Datum {
        Datum::List(self.settle(base, batch))
    }

    /// The slots of an object, moved to the batch.
    pub fn settle_slots(&mut self, frame: &Frame, batch: &mut Batch) -> DataRange {
        self.settle(frame.slots, batch)
    }

    /// The slots of an ordered object that stand in it, in their order, moved to the batch's traits.
    pub fn settle_traits(&mut self, frame: &Frame, batch: &mut Batch) -> DataRange {
        let start = batch.traits.len() as u32;
        let slots = &self.stack[frame.slots..];
        batch.traits.extend(self.order.iter().map(|slot| (crate::ids::TraitIndex(*slot), slots[*slot as usize])));
        DataRange { start, len: batch.traits.len() as u32 - start }
    }

    fn settle(&mut self, base: usize, batch: &mut Batch) -> DataRange {
        let range = DataRange { start: batch.data.len() as u32, len: (self.stack.len() - base) as u32 };
        batch.data.extend_from_slice(&self.stack[base..]);
        self.stack.truncate(base);
        range
    }
}

/// Reads the code of a pair: `Some(None)` where none stands there, `None` where it is no code.
pub(super) fn code(value: Option<Scalar<'_>>) -> Option<Option<Currency>> {
    match value? {
        Scalar::Null => Some(None),
        Scalar::Text(code) => Currency::parse(code).map(Some),
        _ => None,
    }
}

/// Puts an amount and its code together. Without an amount or without a code the money is unknown; an amount has to be a number anyway.
/// `show` gives the amount and the code for a message.
#[inline]
pub(super) fn money(
    amount: Option<Scalar<'_>>,
    code: Option<Option<Currency>>,
    show: impl FnOnce(bool) -> String,
) -> Result<Datum, Box<Below>> {
    let number = match amount {
        Some(Scalar::Null) => return Ok(Datum::Missing),
        Some(Scalar::Number(t) | Scalar::Text(t)) => scalar::money(t, code.flatten().unwrap_or(Currency::EUR)),
        _ => None,
    };
    match (number, code) {
        (Some(money), Some(Some(_))) => Ok(money),
        (Some(_), Some(None)) => Ok(Datum::Missing),
        (Some(_), None) => Err(below(format!("expected a currency of three capitals, found {}", show(false)))),
        (None, _) => Err(below(format!("expected money, found {}", show(true)))),
    }
}

#[cold]
fn below(message: String) -> Box<Below> {
    Box::new(Below { path: String::new(), message, too_large: false })
}
