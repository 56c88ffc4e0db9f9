//! The members of an object to the slots of its shape; whatever has no slot is skipped.

use super::scan::{Kind, Scan, Scanner, Token, Unreadable};
use crate::engine::batch::{Batch, Datum};
use crate::limits::JSON_DEPTH_MAX;
use crate::model::Type;
use crate::wire::scalar::{self, Scalar};
use crate::wire::shape::{ObjectShape, Shape};
use crate::wire::slots::{self, Fault, Frame, Slots};

/// Memory that outlives the record.
#[derive(Default)]
pub(super) struct Work {
    pub slots: Slots<Token>,
    /// A text without its escapes.
    pub scratch: String,
}

impl From<Unreadable> for Fault {
    fn from(_: Unreadable) -> Fault {
        Fault::Unreadable
    }
}

pub(super) struct Reader<'b> {
    pub batch: &'b mut Batch,
    pub work: &'b mut Work,
}

impl Reader<'_> {
    /// Reads the object at hand, inside `depth` others. Its slots stay in the memory.
    #[inline]
    pub fn object(&mut self, scan: &mut Scanner<'_>, shape: &ObjectShape, depth: usize, ordered: bool) -> Scan<Frame> {
        let mut frame = self.work.slots.begin(shape, ordered);
        self.members(scan, shape, 0, &mut frame, depth)?;
        let Work { slots, scratch } = &mut *self.work;
        slots.end(shape, &mut frame, |amount, code| {
            let currency = slots::code(value(scan, code, scratch));
            slots::money(value(scan, amount, scratch), currency, |show_amount| {
                excerpt(scan.text(), if show_amount { amount } else { code })
            })
        });
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

    #[inline]
    fn member(&mut self, scan: &mut Scanner<'_>, shape: &ObjectShape, node: usize, frame: &mut Frame, depth: usize) -> Scan<()> {
        let at = &shape.nodes[node];
        if !at.names.is_empty() {
            return self.inner(scan, shape, node, frame, depth);
        }
        let token = scan.value(depth)?;
        self.fill(scan, shape, node, token, frame, depth)
    }

    /// A value that leads to others.
    fn inner(&mut self, scan: &mut Scanner<'_>, shape: &ObjectShape, node: usize, frame: &mut Frame, depth: usize) -> Scan<()> {
        let at = &shape.nodes[node];
        self.work.slots.void(shape, &at.below, frame);
        let inside = match scan.peek() {
            b'{' => Reader::members,
            b'[' => Reader::elements,
            _ => {
                let token = scan.value(depth)?;
                return self.fill(scan, shape, node, token, frame, depth);
            }
        };
        if at.uses.is_empty() {
            return inside(self, scan, shape, node, frame, depth);
        }
        let token = scan.value(depth)?;
        inside(self, &mut Scanner::at(scan.text(), token.start()), shape, node, frame, depth)?;
        self.fill(scan, shape, node, token, frame, depth)
    }

    #[inline]
    fn fill(&mut self, scan: &Scanner<'_>, shape: &ObjectShape, node: usize, token: Token, frame: &mut Frame, depth: usize) -> Scan<()> {
        for what in &shape.nodes[node].uses {
            let Some(slot) = self.work.slots.note(shape, *what, token, frame) else { continue };
            let target = &shape.slots[slot as usize];
            let datum = self.datum(scan, &target.ty, &target.shape, token, depth);
            let datum = match datum.and_then(|datum| slots::bounded(datum, token.end() - token.start())) {
                Ok(datum) => datum,
                Err(Fault::Unreadable) => return Err(Unreadable),
                Err(Fault::Wrong(below)) => {
                    frame.wrong(slot, below);
                    Datum::Missing
                }
            };
            self.work.slots.set(frame, slot, datum);
        }
        Ok(())
    }

    fn datum(&mut self, scan: &Scanner<'_>, ty: &Type, shape: &Shape, token: Token, depth: usize) -> Result<Datum, Fault> {
        match shape {
            Shape::Scalar => {
                if let Some(value) = value(scan, token, &mut self.work.scratch) {
                    return scalar::convert(ty, value, self.batch).ok_or_else(|| wrong(scan, ty, token));
                }
                if token.kind() == Kind::Object && *ty == Type::Geo {
                    return self.geo(scan, token, depth);
                }
            }
            Shape::List { element, shape } if token.kind() == Kind::Array => return self.list(scan, element, shape, token, depth),
            Shape::Record(shape) if token.kind() == Kind::Object => {
                let frame = self.object(&mut Scanner::at(scan.text(), token.start()), shape, depth, false)?;
                return self.work.slots.record(shape, frame, self.batch);
            }
            _ if token.kind() == Kind::Null => return Ok(Datum::Missing),
            _ => {}
        }
        Err(wrong(scan, ty, token))
    }

    fn list(&mut self, scan: &Scanner<'_>, element: &Type, shape: &Shape, token: Token, depth: usize) -> Result<Datum, Fault> {
        let base = self.work.slots.begin_list();
        let mut inner = Scanner::at(scan.text(), token.start());
        if inner.open(b']') {
            loop {
                let item = inner.value(depth + 1)?;
                let datum = self.datum(&inner, element, shape, item, depth + 1);
                self.work.slots.element(base, datum)?;
                if !inner.more(b']')? {
                    break;
                }
            }
        }
        Ok(self.work.slots.end_list(base, self.batch))
    }

    fn geo(&mut self, scan: &Scanner<'_>, token: Token, depth: usize) -> Result<Datum, Fault> {
        let [lat, lon] = small(scan, token, ["lat", "lon"], depth, &mut self.work.scratch)?;
        let mut degrees = |token| match value(scan, token, &mut self.work.scratch) {
            Some(Scalar::Number(text) | Scalar::Text(text)) => scalar::degrees(text),
            _ => None,
        };
        let point = degrees(lat).zip(degrees(lon)).and_then(|(lat, lon)| scalar::geo(lat, lon));
        point.ok_or_else(|| wrong(scan, &Type::Geo, token))
    }
}

/// The members `names` of a small object that has been read before, inside `depth` others; absent ones are null.
pub(super) fn small<const N: usize>(
    scan: &Scanner<'_>,
    token: Token,
    names: [&str; N],
    depth: usize,
    scratch: &mut String,
) -> Scan<[Token; N]> {
    let mut values = [Token::default(); N];
    let mut inner = Scanner::at(scan.text(), token.start());
    if inner.open(b'}') {
        loop {
            let key = inner.key()?;
            let name = inner.content(key, scratch);
            let place = names.iter().position(|n| *n == name);
            let value = inner.value(depth + 1)?;
            if let Some(place) = place {
                values[place] = value;
            }
            if !inner.more(b'}')? {
                break;
            }
        }
    }
    Ok(values)
}

/// A token's value; `None` for lists and objects.
#[inline(always)]
fn value<'s>(scan: &Scanner<'s>, token: Token, scratch: &'s mut String) -> Option<Scalar<'s>> {
    Some(match token.kind() {
        Kind::Text | Kind::Escaped => Scalar::Text(scan.content(token, scratch)),
        Kind::Number => Scalar::Number(scan.content(token, scratch)),
        Kind::True => Scalar::Bool(true),
        Kind::False => Scalar::Bool(false),
        Kind::Null => Scalar::Null,
        Kind::Object | Kind::Array => return None,
    })
}

#[cold]
fn wrong(scan: &Scanner<'_>, ty: &Type, token: Token) -> Fault {
    Fault::wrong(format!("expected {}, found {}", scalar::type_name(ty), excerpt(scan.text(), token)))
}

/// A value as it stands in the text, cut to a size fit for a message.
fn excerpt(text: &str, token: Token) -> String {
    const CHARACTERS: usize = 40;
    let quote = if token.is_text() { "\"" } else { "" };
    let raw = &text[token.start()..token.end()];
    match raw.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{quote}{}...", &raw[..end]),
        None => format!("{quote}{raw}{quote}"),
    }
}
