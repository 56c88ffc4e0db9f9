//! Entries of a `map<string, Value>` to the slots of their shape; whatever has no slot is stepped over unread.

use std::fmt::Write;

use super::reader::{Fields, Malformed, Read, Span, bytes, fixed64, text, varint};
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
    /// Reads the entries that stand under `tag` in the message at `span`. The slots stay in the memory.
    pub fn object(&mut self, span: Span, tag: u32, shape: &ObjectShape, ordered: bool) -> Read<Frame> {
        let mut frame = self.work.slots.begin(shape, ordered);
        self.entries(span, tag, shape, 0, &mut frame)?;
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
    pub fn entries(&mut self, span: Span, tag: u32, shape: &ObjectShape, node: usize, frame: &mut Frame) -> Read<()> {
        let mut expected = 0;
        let mut fields = Fields::of(self.bytes, span);
        loop {
            match fields.tag()? {
                0 => return Ok(()),
                found if found == tag => {
                    let (key, value) = entry(self.bytes, fields.span()?)?;
                    let at = &shape.nodes[node];
                    match at.names.find(key, expected) {
                        Some(place) => {
                            expected = place + 1;
                            self.member(value, shape, at.children[place] as usize, frame)?;
                        }
                        None => frame.unknown += u64::from(node == 0),
                    }
                }
                other => fields.skip(other)?,
            }
        }
    }

    /// Gives each item of a list to `each`.
    fn items(&mut self, span: Span, mut each: impl FnMut(&mut Self, usize, Span) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut fields = Fields::of(self.bytes, span);
        let mut index = 0;
        loop {
            match fields.tag()? {
                0 => return Ok(()),
                ITEM => {
                    each(self, index, fields.span()?)?;
                    index += 1;
                }
                other => fields.skip(other)?,
            }
        }
    }

    fn member(&mut self, value: Span, shape: &ObjectShape, node: usize, frame: &mut Frame) -> Read<()> {
        let at = &shape.nodes[node];
        if !at.names.is_empty() {
            self.work.slots.void(shape, &at.below, frame);
            match kind(self.bytes, value)? {
                Kind::Record(span) => self.entries(span, ENTRY, shape, node, frame)?,
                Kind::List(span) => {
                    let walk = self.items(span, |reader, index, item| {
                        let child = at.names.find(&index.to_string(), index).map(|place| at.children[place] as usize);
                        child.map_or(Ok(()), |child| reader.member(item, shape, child, frame).map_err(Fault::from))
                    });
                    walk.map_err(|_| Malformed)?;
                }
                _ => {}
            }
        }
        for what in &at.uses {
            let Some(slot) = self.work.slots.note(shape, *what, value, frame) else { continue };
            let target = &shape.slots[slot as usize];
            let datum = self.datum(value, &target.ty, &target.shape);
            let datum = match datum.and_then(|datum| slots::bounded(datum, value.end() - value.start())) {
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
                self.items(span, |reader, _, item| {
                    let datum = reader.datum(item, element, shape);
                    reader.work.slots.element(base, datum)
                })?;
                return Ok(self.work.slots.end_list(base, self.batch));
            }
            (Shape::Record(shape), Kind::Record(span)) => {
                let frame = self.object(span, ENTRY, shape, false)?;
                return self.work.slots.record(shape, frame, self.batch);
            }
            _ => {}
        }
        Err(wrong(ty, kind))
    }
}

/// Key and value of a map's entry.
#[inline]
fn entry(record: &[u8], span: Span) -> Read<(&str, Span)> {
    const KEY: u32 = bytes(1);
    const VALUE: u32 = bytes(2);
    let (mut key, mut value) = (Span::default(), Span::default());
    let mut fields = Fields::of(record, span);
    loop {
        match fields.tag()? {
            0 => return Ok((text(record, key)?, value)),
            KEY => key = fields.span()?,
            VALUE => value = fields.span()?,
            other => fields.skip(other)?,
        }
    }
}

/// Of a map in `Traits` and `Record`.
pub(super) const ENTRY: u32 = bytes(1);
/// Of `List`.
const ITEM: u32 = bytes(1);

/// Reads the `Value` at `span`.
#[inline]
fn kind(record: &[u8], span: Span) -> Read<Kind<'_>> {
    const BOOL: u32 = varint(1);
    const INT: u32 = varint(2);
    const NUMBER: u32 = fixed64(3);
    const TEXT: u32 = bytes(4);
    const INSTANT: u32 = varint(5);
    const DURATION: u32 = varint(6);
    const GEO: u32 = bytes(7);
    const LIST: u32 = bytes(8);
    const RECORD: u32 = bytes(9);
    let mut kind = Kind::Null;
    let mut fields = Fields::of(record, span);
    loop {
        kind = match fields.tag()? {
            0 => return Ok(kind),
            BOOL => Kind::Bool(fields.bool()?),
            INT => Kind::Int(fields.int()?),
            NUMBER => Kind::Number(fields.double()?),
            TEXT => Kind::Text(text(record, fields.span()?)?),
            INSTANT => Kind::Instant(fields.int()?),
            DURATION => Kind::Duration(fields.int()?),
            GEO => geo(record, fields.span()?)?,
            LIST => Kind::List(fields.span()?),
            RECORD => Kind::Record(fields.span()?),
            other => {
                fields.skip(other)?;
                kind
            }
        };
    }
}

fn geo(record: &[u8], span: Span) -> Read<Kind<'_>> {
    const LAT: u32 = fixed64(1);
    const LON: u32 = fixed64(2);
    let (mut lat, mut lon) = (0.0, 0.0);
    let mut fields = Fields::of(record, span);
    loop {
        match fields.tag()? {
            0 => return Ok(Kind::Geo(lat, lon)),
            LAT => lat = fields.double()?,
            LON => lon = fields.double()?,
            other => fields.skip(other)?,
        }
    }
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
