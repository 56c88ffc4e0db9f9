//! The members of an object to the slots of its shape; whatever has no slot is skipped.

use super::scan::{Kind, Scan, Scanner, Token, Unreadable};
use crate::engine::batch::{Batch, DataRange, Datum};
use crate::limits::JSON_DEPTH_MAX;
use crate::model::{Currency, Type};
use crate::wire::scalar::{self, Scalar};
use crate::wire::shape::{ObjectShape, Shape, SlotShape, Use};

/// Memory that outlives the record.
#[derive(Default)]
pub(super) struct Work {
    /// Slots of the objects being read, elements of the lists being read.
    stack: Vec<Datum>,
    /// Amount and code of the pairs of the objects being read.
    pairs: Vec<[Token; 2]>,
    /// Slots of the last ordered object in the order of the text, each once at its last place: traits, whose order counts (LANGUAGE.md
    /// R44).
    pub order: Vec<u16>,
    pub scratch: String,
}

/// An object being read: where its slots and pairs stand in [`Work`], and what was wrong.
pub(super) struct Frame {
    slots: usize,
    pairs: usize,
    wrong: Vec<Wrong>,
    /// Whether [`Work::order`] is kept.
    ordered: bool,
    /// Names directly in the object that the shape lacks.
    pub unknown: u64,
}

/// A slot whose value is of a wrong type.
#[derive(Debug)]
pub(super) struct Wrong {
    pub slot: u16,
    /// The property and what was found, for people.
    pub message: String,
}

enum Fault {
    Unreadable,
    Wrong(Box<Below>),
}

/// A wrong value at or under a slot: a path below the slot's name, and what was expected and found.
struct Below {
    path: String,
    message: String,
}

impl From<Unreadable> for Fault {
    fn from(_: Unreadable) -> Fault {
        Fault::Unreadable
    }
}

impl Frame {
    #[cold]
    fn wrong(&mut self, slot: u16, message: String) {
        self.wrong.push(Wrong { slot, message });
    }

    /// The value of a slot that counts comes later.
    #[cold]
    fn forgive(&mut self, slot: u16) {
        self.wrong.retain(|w| w.slot != slot);
    }

    /// The first wrong slot in the order of the shape, which does not depend on how the text is ordered; and how many there are.
    pub fn faults(&mut self) -> Option<(Wrong, u64)> {
        let count = self.wrong.len() as u64;
        let place = (0..self.wrong.len()).min_by_key(|i| self.wrong[*i].slot)?;
        Some((self.wrong.swap_remove(place), count))
    }
}

pub(super) struct Reader<'b> {
    pub batch: &'b mut Batch,
    pub work: &'b mut Work,
}

impl Work {
    /// The slots of an object, in the order of its shape.
    pub fn slots(&self, frame: &Frame) -> &[Datum] {
        &self.stack[frame.slots..]
    }
}

impl Reader<'_> {
    /// Forgets what earlier objects left; not between an object and those inside it.
    pub fn clear(&mut self) {
        self.work.stack.clear();
        self.work.pairs.clear();
        self.work.order.clear();
    }

    /// Reads the object at hand, inside `depth` others. Its slots stay in the memory for [`Work::slots`].
    pub fn object(&mut self, scan: &mut Scanner<'_>, shape: &ObjectShape, depth: usize, ordered: bool) -> Scan<Frame> {
        let mut frame = Frame { slots: self.work.stack.len(), pairs: self.work.pairs.len(), wrong: Vec::new(), ordered, unknown: 0 };
        self.work.stack.resize(frame.slots + shape.slots.len(), Datum::Missing);
        self.work.pairs.resize(frame.pairs + shape.pairs.len(), [Token::default(); 2]);
        self.members(scan, shape, 0, &mut frame, depth)?;
        for pair in 0..shape.pairs.len() {
            self.pair(scan, shape, pair, &mut frame);
        }
        self.work.pairs.truncate(frame.pairs);
        Ok(frame)
    }

    fn members(&mut self, scan: &mut Scanner<'_>, shape: &ObjectShape, node: usize, frame: &mut Frame, depth: usize) -> Scan<()> {
        if depth >= JSON_DEPTH_MAX {
            return scan.fail("nested too deeply");
        }
        if !scan.open(b'}') {
            return Ok(());
        }
        let at = &shape.nodes[node];
        let mut expected = 0;
        loop {
            let key = scan.key()?;
            match at.names.find(scan.content(key, &mut self.work.scratch), expected) {
                Some(place) => {
                    expected = place + 1;
                    self.member(scan, shape, at.children[place] as usize, frame, depth + 1)?;
                }
                None => {
                    scan.value(depth + 1)?;
                    frame.unknown += u64::from(node == 0);
                }
            }
            if !scan.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// Elements of a list into which a JSON pointer leads.
    fn elements(&mut self, scan: &mut Scanner<'_>, shape: &ObjectShape, node: usize, frame: &mut Frame, depth: usize) -> Scan<()> {
        if depth >= JSON_DEPTH_MAX {
            return scan.fail("nested too deeply");
        }
        if !scan.open(b']') {
            return Ok(());
        }
        let at = &shape.nodes[node];
        for index in 0usize.. {
            match at.names.find(&index.to_string(), index) {
                Some(place) => self.member(scan, shape, at.children[place] as usize, frame, depth + 1)?,
                None => scan.value(depth + 1).map(|_| ())?,
            }
            if !scan.more(b']')? {
                break;
            }
        }
        Ok(())
    }

    fn member(&mut self, scan: &mut Scanner<'_>, shape: &ObjectShape, node: usize, frame: &mut Frame, depth: usize) -> Scan<()> {
        let at = &shape.nodes[node];
        if at.names.is_empty() {
            let token = scan.value(depth)?;
            return at.uses.iter().try_for_each(|u| self.fill(scan, shape, *u, token, frame, depth));
        }
        // A repeated key makes what stood under it before void.
        for u in &at.below {
            self.void(shape, *u, frame);
        }
        let inside = match scan.peek() {
            b'{' => Reader::members,
            b'[' => Reader::elements,
            _ => {
                let token = scan.value(depth)?;
                return at.uses.iter().try_for_each(|u| self.fill(scan, shape, *u, token, frame, depth));
            }
        };
        if at.uses.is_empty() {
            return inside(self, scan, shape, node, frame, depth);
        }
        let token = scan.value(depth)?;
        inside(self, &mut Scanner::at(scan.text(), token.start as usize), shape, node, frame, depth)?;
        at.uses.iter().try_for_each(|u| self.fill(scan, shape, *u, token, frame, depth))
    }

    fn void(&mut self, shape: &ObjectShape, what: Use, frame: &mut Frame) {
        let slot = match what {
            Use::Value(slot) => {
                self.work.stack[frame.slots + slot as usize] = Datum::Missing;
                slot
            }
            Use::Amount(pair) => {
                self.work.pairs[frame.pairs + pair as usize][0] = Token::default();
                shape.pairs[pair as usize]
            }
            Use::Code(pair) => {
                self.work.pairs[frame.pairs + pair as usize][1] = Token::default();
                return;
            }
        };
        frame.forgive(slot);
        if frame.ordered {
            self.work.order.retain(|s| *s != slot);
        }
    }

    #[inline]
    fn fill(&mut self, scan: &Scanner<'_>, shape: &ObjectShape, what: Use, token: Token, frame: &mut Frame, depth: usize) -> Scan<()> {
        let slot = match what {
            Use::Value(slot) => slot,
            Use::Amount(pair) => {
                self.work.pairs[frame.pairs + pair as usize][0] = token;
                shape.pairs[pair as usize]
            }
            Use::Code(pair) => {
                self.work.pairs[frame.pairs + pair as usize][1] = token;
                return Ok(());
            }
        };
        if !frame.wrong.is_empty() {
            frame.forgive(slot);
        }
        if frame.ordered {
            self.work.order.retain(|s| *s != slot);
            self.work.order.push(slot);
        }
        if let Use::Value(slot) = what {
            let SlotShape { ty, shape, name } = &shape.slots[slot as usize];
            let datum = match self.datum(scan, ty, shape, token, depth) {
                Ok(datum) => datum,
                Err(Fault::Unreadable) => return Err(Unreadable),
                Err(Fault::Wrong(below)) => {
                    frame.wrong(slot, format!("`{name}{}`: {}", below.path, below.message));
                    Datum::Missing
                }
            };
            self.work.stack[frame.slots + slot as usize] = datum;
        }
        Ok(())
    }

    fn datum(&mut self, scan: &Scanner<'_>, ty: &Type, shape: &Shape, token: Token, depth: usize) -> Result<Datum, Fault> {
        match (shape, token.kind) {
            (_, Kind::Null) => Ok(Datum::Missing),
            (Shape::Scalar, Kind::Object) if *ty == Type::Geo => self.geo(scan, token, depth),
            (Shape::Scalar, kind) if !matches!(kind, Kind::Object | Kind::Array) => {
                let value = match kind {
                    Kind::True => Scalar::Bool(true),
                    Kind::False => Scalar::Bool(false),
                    Kind::Number => Scalar::Number(scan.content(token, &mut self.work.scratch)),
                    _ => Scalar::Text(scan.content(token, &mut self.work.scratch)),
                };
                scalar::convert(ty, value, self.batch).ok_or_else(|| wrong(scan, ty, token))
            }
            (Shape::List { element, shape }, Kind::Array) => self.list(scan, element, shape, token, depth),
            (Shape::Record(shape), Kind::Object) => {
                let base = self.work.stack.len();
                let mut frame = self.object(&mut Scanner::at(scan.text(), token.start as usize), shape, depth, false)?;
                if let Some((w, _)) = frame.faults() {
                    self.work.stack.truncate(base);
                    // The message names the field in quotes; the path goes into the quotes of the outer name.
                    let (field, message) = w.message[1..].split_once("`: ").unwrap_or_default();
                    return Err(Fault::Wrong(Box::new(Below { path: format!(".{field}"), message: message.into() })));
                }
                Ok(Datum::Record(self.settle(base)))
            }
            _ => Err(wrong(scan, ty, token)),
        }
    }

    /// Nulls in a list are left out (LANGUAGE.md R64).
    fn list(&mut self, scan: &Scanner<'_>, element: &Type, shape: &Shape, token: Token, depth: usize) -> Result<Datum, Fault> {
        let base = self.work.stack.len();
        let mut inner = Scanner::at(scan.text(), token.start as usize);
        if inner.open(b']') {
            loop {
                let item = inner.value(depth + 1)?;
                match self.datum(&inner, element, shape, item, depth + 1) {
                    Ok(Datum::Missing) => {}
                    Ok(datum) => self.work.stack.push(datum),
                    Err(fault) => {
                        self.work.stack.truncate(base);
                        return Err(fault);
                    }
                }
                if !inner.more(b']')? {
                    break;
                }
            }
        }
        Ok(Datum::List(self.settle(base)))
    }

    /// Moves what stands on the stack from `base` on to the batch.
    fn settle(&mut self, base: usize) -> DataRange {
        let range = DataRange { start: self.batch.data.len() as u32, len: (self.work.stack.len() - base) as u32 };
        self.batch.data.extend_from_slice(&self.work.stack[base..]);
        self.work.stack.truncate(base);
        range
    }

    fn geo(&mut self, scan: &Scanner<'_>, token: Token, depth: usize) -> Result<Datum, Fault> {
        let (mut lat, mut lon) = (Token::default(), Token::default());
        let mut inner = Scanner::at(scan.text(), token.start as usize);
        if inner.open(b'}') {
            loop {
                let key = inner.key()?;
                let name = inner.content(key, &mut self.work.scratch);
                let place = if name == "lat" {
                    Some(&mut lat)
                } else if name == "lon" {
                    Some(&mut lon)
                } else {
                    None
                };
                let value = inner.value(depth + 1)?;
                if let Some(place) = place {
                    *place = value;
                }
                if !inner.more(b'}')? {
                    break;
                }
            }
        }
        let mut degrees = |token: Token| match token.kind {
            Kind::Number | Kind::Text | Kind::Escaped => scalar::degrees(scan.content(token, &mut self.work.scratch)),
            _ => None,
        };
        let point = degrees(lat).zip(degrees(lon)).and_then(|(lat, lon)| scalar::geo(lat, lon));
        point.ok_or_else(|| wrong(scan, &Type::Geo, token))
    }

    /// Puts an amount and its code together. An absent or null code leaves the money unknown.
    fn pair(&mut self, scan: &Scanner<'_>, shape: &ObjectShape, pair: usize, frame: &mut Frame) {
        let [amount, code] = self.work.pairs[frame.pairs + pair];
        let slot = shape.pairs[pair];
        if amount.kind == Kind::Null {
            return;
        }
        let currency = match code.kind {
            Kind::Null => Some(None),
            Kind::Text | Kind::Escaped => Currency::parse(scan.content(code, &mut self.work.scratch)).map(Some),
            _ => None,
        };
        let number = match amount.kind {
            Kind::Number | Kind::Text | Kind::Escaped => Some(scan.content(amount, &mut self.work.scratch)),
            _ => None,
        };
        let datum = match (number, currency) {
            (Some(number), Some(Some(currency))) => scalar::money(number, currency),
            (Some(number), Some(None)) => scalar::money(number, Currency::EUR).map(|_| Datum::Missing),
            _ => None,
        };
        match datum {
            Some(datum) => self.work.stack[frame.slots + slot as usize] = datum,
            None => {
                let name = &shape.slots[slot as usize].name;
                let message = if currency.is_none() && number.is_some() {
                    format!("`{name}`: expected a currency of three capitals, found {}", excerpt(scan.text(), code))
                } else {
                    format!("`{name}`: expected money, found {}", excerpt(scan.text(), amount))
                };
                frame.wrong(slot, message);
            }
        }
    }
}

#[cold]
fn wrong(scan: &Scanner<'_>, ty: &Type, token: Token) -> Fault {
    let message = format!("expected {}, found {}", scalar::type_name(ty), excerpt(scan.text(), token));
    Fault::Wrong(Box::new(Below { path: String::new(), message }))
}

/// A value as it stands in the text, cut to a size fit for a message.
fn excerpt(text: &str, token: Token) -> String {
    const CHARACTERS: usize = 40;
    let quote = if matches!(token.kind, Kind::Text | Kind::Escaped) { "\"" } else { "" };
    let raw = &text[token.start as usize..token.end as usize];
    match raw.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{quote}{}...", &raw[..end]),
        None => format!("{quote}{raw}{quote}"),
    }
}
