//! Entries of a `map<string, Value>` to the slots of their shape; whatever has no slot is stepped over unread.

use std::fmt::Write;

use super::reader::{Fields, Malformed, Read, Span, text};
use crate::engine::batch::{Batch, Datum};
use crate::model::{InstantFormat, Type};
use crate::wire::draft::cut;
use crate::wire::scalar::{self, Scalar};
use crate::wire::shape::{ObjectShape, Shape};
use crate::wire::slots::{self, Fault, Frame, Slots};

/// Memory that outlives the record. A token is the span of a `Value`; an empty one is null.
#[derive(Default)]
pub(super) struct Work {
    pub slots: Slots<Span>,
    /// A number as text.
    scratch: String,
}

/// What a `Value` holds; the last kind counts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Number(f64),
    Text(&'a str),
    Instant(i64),
    Duration(i64),
    Geo(f64, f64),
    List(Span),
    Record(Span),
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Fault {
        Fault::Unreadable
    }
}

pub(super) struct Reader<'a, 'b> {
    pub bytes: &'a [u8],
    pub batch: &'b mut Batch,
    pub work: &'b mut Work,
}

impl Reader<'_, '_> {
    /// Reads the entries that stand as field `field` of the message at `span`. The slots stay in the memory.
    pub fn object(&mut self, span: Span, field: u32, shape: &ObjectShape, ordered: bool) -> Read<Frame> {
        let mut frame = self.work.slots.begin(shape, ordered);
        self.entries(span, field, shape, 0, &mut frame)?;
        self.end(shape, &mut frame)?;
        Ok(frame)
    }

    /// Puts amounts and codes together.
    pub fn end(&mut self, shape: &ObjectShape, frame: &mut Frame) -> Read<()> {
        let bytes = self.bytes;
        let Work { slots, scratch } = &mut *self.work;
        let mut malformed = false;
        slots.end(shape, frame, |amount, code| {
            let kinds = (kind(bytes, amount), kind(bytes, code));
            malformed |= kinds.0.is_err() || kinds.1.is_err();
            let [amount, code] = [kinds.0, kinds.1].map(|k| k.unwrap_or(Kind::Null));
            let currency = slots::code(scalar_of(code, scratch));
            slots::money(scalar_of(amount, scratch), currency, |show_amount| excerpt(if show_amount { amount } else { code }))
        });
        if malformed { Err(Malformed) } else { Ok(()) }
    }

    /// The entries of a map, which is a repeated message of a key (1) and a value (2).
    pub fn entries(&mut self, span: Span, field: u32, shape: &ObjectShape, node: usize, frame: &mut Frame) -> Read<()> {
        let mut expected = 0;
        let mut fields = Fields::of(self.bytes, span);
        while let Some((number, wire)) = fields.next()? {
            if number != field {
                continue;
            }
            let (key, value) = entry(self.bytes, wire.span()?)?;
            let at = &shape.nodes[node];
            match at.names.find(key, expected) {
                Some(place) => {
                    expected = place + 1;
                    self.member(value, shape, at.children[place] as usize, frame)?;
                }
                None => frame.unknown += u64::from(node == 0),
            }
        }
        Ok(())
    }

    fn member(&mut self, value: Span, shape: &ObjectShape, node: usize, frame: &mut Frame) -> Read<()> {
        let at = &shape.nodes[node];
        if !at.names.is_empty() {
            self.work.slots.void(shape, &at.below, frame);
            match kind(self.bytes, value)? {
                Kind::Record(span) => self.entries(span, 1, shape, node, frame)?,
                Kind::List(span) => {
                    let mut index = 0usize;
                    let mut fields = Fields::of(self.bytes, span);
                    while let Some((number, wire)) = fields.next()? {
                        if number == 1 {
                            let item = wire.span()?;
                            if let Some(place) = at.names.find(&index.to_string(), index) {
                                self.member(item, shape, at.children[place] as usize, frame)?;
                            }
                            index += 1;
                        }
                    }
                }
                _ => {}
            }
        }
        for what in &at.uses {
            let Some(slot) = self.work.slots.note(shape, *what, value, frame) else { continue };
            let target = &shape.slots[slot as usize];
            let datum = match self.datum(value, &target.ty, &target.shape) {
                Ok(datum) => datum,
                Err(Fault::Unreadable) => return Err(Malformed),
                Err(Fault::Wrong(below)) => {
                    frame.wrong(slot, below);
                    Datum::Missing
                }
            };
            self.work.slots.set(frame, slot, datum);
        }
        Ok(())
    }

    fn datum(&mut self, value: Span, ty: &Type, shape: &Shape) -> Result<Datum, Fault> {
        let kind = kind(self.bytes, value)?;
        match (shape, kind) {
            (_, Kind::Null) => return Ok(Datum::Missing),
            (Shape::Scalar, Kind::Int(n)) if *ty == Type::Int => return Ok(Datum::Int(n)),
            // Seconds stand in the catalogue, milliseconds in the message: the message's own unit counts.
            (Shape::Scalar, Kind::Instant(ms)) if matches!(ty, Type::Instant(_)) => {
                return scalar::in_range(ms).map(Datum::Instant).ok_or_else(|| wrong(ty, kind));
            }
            (Shape::Scalar, _) => {
                if let Some(value) = scalar_of(kind, &mut self.work.scratch) {
                    return scalar::convert(ty, value, self.batch).ok_or_else(|| wrong(ty, kind));
                }
            }
            (Shape::List { element, shape }, Kind::List(span)) => {
                let base = self.work.slots.begin_list();
                let mut fields = Fields::of(self.bytes, span);
                while let Some((number, wire)) = fields.next()? {
                    if number == 1 {
                        let datum = wire.span().map_err(Fault::from).and_then(|item| self.datum(item, element, shape));
                        self.work.slots.element(base, datum)?;
                    }
                }
                return Ok(self.work.slots.end_list(base, self.batch));
            }
            (Shape::Record(shape), Kind::Record(span)) => {
                let frame = self.object(span, 1, shape, false)?;
                return self.work.slots.record(shape, frame, self.batch);
            }
            _ => {}
        }
        Err(wrong(ty, kind))
    }
}

/// Key and value of a map's entry.
#[inline]
fn entry(bytes: &[u8], span: Span) -> Read<(&str, Span)> {
    let (mut key, mut value) = (Span::default(), Span::default());
    let mut fields = Fields::of(bytes, span);
    while let Some((number, wire)) = fields.next()? {
        match number {
            1 => key = wire.span()?,
            2 => value = wire.span()?,
            _ => {}
        }
    }
    Ok((text(bytes, key)?, value))
}

/// Reads the `Value` at `span`.
fn kind(bytes: &[u8], span: Span) -> Read<Kind<'_>> {
    let mut kind = Kind::Null;
    let mut fields = Fields::of(bytes, span);
    while let Some((number, wire)) = fields.next()? {
        kind = match number {
            1 => Kind::Bool(wire.bool()?),
            2 => Kind::Int(wire.int()?),
            3 => Kind::Number(wire.double()?),
            4 => Kind::Text(text(bytes, wire.span()?)?),
            5 => Kind::Instant(wire.int()?),
            6 => Kind::Duration(wire.int()?),
            7 => {
                let (mut lat, mut lon) = (0.0, 0.0);
                let mut fields = Fields::of(bytes, wire.span()?);
                while let Some((number, wire)) = fields.next()? {
                    match number {
                        1 => lat = wire.double()?,
                        2 => lon = wire.double()?,
                        _ => {}
                    }
                }
                Kind::Geo(lat, lon)
            }
            8 => Kind::List(wire.span()?),
            9 => Kind::Record(wire.span()?),
            _ => kind,
        };
    }
    Ok(kind)
}

/// Numbers as their shortest decimal text; `None` for lists, records and numbers that are none.
fn scalar_of<'s>(kind: Kind<'s>, scratch: &'s mut String) -> Option<Scalar<'s>> {
    let mut number = |value: &dyn std::fmt::Display| {
        scratch.clear();
        write!(scratch, "{value}").expect("writing to memory does not fail");
    };
    Some(match kind {
        Kind::Null => Scalar::Null,
        Kind::Bool(b) => Scalar::Bool(b),
        Kind::Text(t) => Scalar::Text(t),
        Kind::Int(n) => {
            number(&n);
            Scalar::Number(scratch)
        }
        Kind::Number(n) if n.is_finite() => {
            number(&n);
            Scalar::Number(scratch)
        }
        Kind::Instant(ms) => Scalar::Instant(ms),
        Kind::Duration(ms) => Scalar::Duration(ms),
        Kind::Geo(lat, lon) => Scalar::Geo(lat, lon),
        Kind::Number(_) | Kind::List(_) | Kind::Record(_) => return None,
    })
}

#[cold]
fn wrong(ty: &Type, kind: Kind<'_>) -> Fault {
    let name = match ty {
        // The unit is JSON's affair.
        Type::Instant(_) => scalar::type_name(&Type::Instant(InstantFormat::Rfc3339)),
        ty => scalar::type_name(ty),
    };
    Fault::wrong(format!("expected {name}, found {}", excerpt(kind)))
}

/// A value in words, cut to a size fit for a message.
fn excerpt(kind: Kind<'_>) -> String {
    match kind {
        Kind::Null => "null".into(),
        Kind::Bool(b) => b.to_string(),
        Kind::Int(n) => n.to_string(),
        Kind::Number(n) => format!("{n:?}"),
        Kind::Text(t) if t.len() > 40 => format!("\"{}...", cut(t, 40)),
        Kind::Text(t) => format!("\"{t}\""),
        Kind::Instant(ms) => format!("instant {ms}"),
        Kind::Duration(ms) => format!("duration {ms}"),
        Kind::Geo(lat, lon) => format!("geo {lat},{lon}"),
        Kind::List(_) => "a list".into(),
        Kind::Record(_) => "a record".into(),
    }
}
