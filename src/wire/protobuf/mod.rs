//! Protobuf records (`proto/segmentd/v1/event.proto`), read from the bytes as they stand: the same records and policies as from JSON.
//!
//! What protobuf makes different: an entry of a map that stands twice counts once, the last; a string field that is empty is absent;
//! values that no definition uses are not looked into. A message that stands twice where one is expected is merged field by field.
//! `double` counts as its shortest decimal text, an `instant` is always in milliseconds.
//!
//! No generated code on this path: prost keeps maps in hash maps, whose order is random, and copies every text. **Cost:** see
//! `benches/wire.rs`.

mod fields;
mod reader;

use std::sync::Arc;

use super::draft::{self, Draft, DraftBody, Mark, Rejection};
use super::shape::Shapes;
use super::{DecodeCounts, DecodeOptions, RawRecord, scalar};
use crate::engine::batch::{Batch, TextRange};
use crate::plan::schema::Schema;
use crate::time::Timestamp;
use fields::{ENTRY, Reader, Work};
use reader::{Fields, Malformed, Read, Span, bytes, text, varint};

/// Decodes records of one input; keeps memory between records, so one per thread.
pub struct Decoder {
    schema: Arc<Schema>,
    shapes: Shapes,
    options: DecodeOptions,
    counts: DecodeCounts,
    work: Work,
}

/// Tags of the fields of `Event`.
mod tag {
    use super::reader::{bytes, varint};

    pub const ID: u32 = bytes(1);
    pub const CUSTOMER: u32 = bytes(2);
    pub const TS: u32 = varint(3);
    pub const EVENT: u32 = bytes(4);
    pub const PROPERTIES: u32 = bytes(5);
    pub const TRAITS: u32 = bytes(6);
    pub const CONSENT: u32 = bytes(7);
    pub const LIST: u32 = bytes(8);
    pub const MERGE: u32 = bytes(9);
    pub const ERASE: u32 = varint(10);
}

/// The outer fields of a record.
#[derive(Default)]
struct Outer<'a> {
    id: &'a str,
    customer: &'a str,
    ts: Option<i64>,
    event: Option<&'a str>,
    /// Where the first property and the first traits begin, their tag included.
    properties: Option<usize>,
    traits: Option<usize>,
    consent: Option<Consent<'a>>,
    list: Option<ListEntry<'a>>,
    merge: bool,
    erase: bool,
}

#[derive(Default)]
struct Consent<'a> {
    purpose: &'a str,
    granted: Option<bool>,
    until: Option<i64>,
}

#[derive(Default)]
struct ListEntry<'a> {
    name: &'a str,
    member: Option<bool>,
}

impl Decoder {
    /// A decoder for the records of one input.
    pub fn new(schema: Arc<Schema>, options: DecodeOptions) -> Decoder {
        Decoder { shapes: Shapes::new(&schema), schema, options, counts: DecodeCounts::default(), work: Work::default() }
    }

    /// Pushes exactly one record, a refusal included.
    pub fn decode(&mut self, raw: &RawRecord<'_>, batch: &mut Batch) {
        let mark = Mark::new(batch);
        let draft = draft::value(raw).and_then(|value| self.read(value, batch));
        let verdict = draft.and_then(|draft| draft.admit(raw, &self.options, &mut self.counts, batch));
        mark.push(raw, verdict, batch);
    }

    /// What was seen since the last call.
    pub fn take_counts(&mut self) -> DecodeCounts {
        std::mem::take(&mut self.counts)
    }

    fn read(&mut self, bytes: &[u8], batch: &mut Batch) -> Result<Draft, Rejection> {
        let outer = Outer::read(bytes)?;
        draft::one_body(outer.bodies())?;
        let mut word = |text: &str| -> Option<TextRange> { (!text.is_empty()).then(|| batch.push_text(text)) };
        let (customer, id) = (word(outer.customer), word(outer.id));
        let ts = outer.ts.map(|ms| instant(ms, "`ts` is no instant")).transpose()?;
        let draft = Draft { customer, id, ts, ..Draft::default() };
        if let Some(name) = outer.event {
            return self.event(bytes, name, outer.properties, draft, batch);
        }
        if let Some(first) = outer.traits {
            return self.traits(bytes, first, draft, batch);
        }
        if let Some(Consent { purpose, granted, until }) = outer.consent {
            let until = until.map(|ms| instant(ms, "`until` of a consent is no instant")).transpose()?;
            let granted = granted.ok_or_else(|| Rejection::unreadable("a consent without `granted`"))?;
            if purpose.is_empty() {
                return Err(Rejection::unreadable("a consent without `purpose`"));
            }
            let purpose = self.schema.catalogue.purpose(purpose);
            self.counts.unknown_purposes += u64::from(purpose.is_none());
            let body = purpose.map_or(DraftBody::Nothing, |purpose| DraftBody::Consent { purpose, granted, until });
            return Ok(Draft { body, ..draft });
        }
        if let Some(ListEntry { name, member }) = outer.list {
            let member = member.ok_or_else(|| Rejection::unreadable("a list without `member`"))?;
            if name.is_empty() {
                return Err(Rejection::unreadable("a list without `name`"));
            }
            let list = self.schema.catalogue.list(name);
            self.counts.unknown_lists += u64::from(list.is_none());
            return Ok(Draft { body: list.map_or(DraftBody::Nothing, |list| DraftBody::List { list, member }), ..draft });
        }
        Err(Rejection::unreadable(if outer.merge {
            "merge is not evaluated by this version"
        } else {
            "erase is not evaluated by this version"
        }))
    }

    fn event(&mut self, bytes: &[u8], name: &str, first: Option<usize>, draft: Draft, batch: &mut Batch) -> Result<Draft, Rejection> {
        let Some(event) = self.shapes.event(name) else {
            return Ok(Draft { body: DraftBody::unknown_event(name, batch), ..draft });
        };
        let shape = &self.shapes.events[event.at()];
        let mut reader = Reader { bytes, batch, work: &mut self.work };
        reader.work.slots.clear();
        let mut frame = reader.object(Span::new(first.unwrap_or(bytes.len()), bytes.len()), tag::PROPERTIES, shape, false)?;
        let slots = self.work.slots.settle_slots(&frame, batch);
        Ok(Draft { body: DraftBody::Event { event, slots }, wrong: frame.faults(shape), ..draft })
    }

    /// Unknown traits are ignored and counted; a record of nothing else still creates its customer (LANGUAGE.md R60).
    fn traits(&mut self, bytes: &[u8], first: usize, draft: Draft, batch: &mut Batch) -> Result<Draft, Rejection> {
        let shape = &self.shapes.traits;
        let mut reader = Reader { bytes, batch, work: &mut self.work };
        reader.work.slots.clear();
        let mut frame = reader.work.slots.begin(shape, true);
        let mut fields = Fields::of(bytes, Span::new(first, bytes.len()));
        loop {
            match fields.tag()? {
                0 => break,
                tag::TRAITS => reader.entries(fields.span()?, ENTRY, shape, 0, &mut frame)?,
                other => fields.skip(other)?,
            }
        }
        reader.end(shape, &mut frame)?;
        self.counts.unknown_traits += frame.unknown;
        let range = self.work.slots.settle_traits(&frame, batch);
        let body = if range.len == 0 { DraftBody::Nothing } else { DraftBody::Traits(range) };
        Ok(Draft { body, wrong: frame.faults(shape), ..draft })
    }
}

impl<'a> Outer<'a> {
    fn read(record: &'a [u8]) -> Read<Outer<'a>> {
        let mut outer = Outer::default();
        let mut fields = Fields::of(record, Span::new(0, record.len()));
        loop {
            let start = fields.pos;
            match fields.tag()? {
                0 => return Ok(outer),
                tag::ID => outer.id = text(record, fields.span()?)?,
                tag::CUSTOMER => outer.customer = text(record, fields.span()?)?,
                tag::TS => outer.ts = Some(fields.int()?),
                tag::EVENT => outer.event = Some(text(record, fields.span()?)?),
                tag::PROPERTIES => {
                    fields.span()?;
                    outer.properties.get_or_insert(start);
                }
                tag::TRAITS => {
                    fields.span()?;
                    outer.traits.get_or_insert(start);
                }
                tag::CONSENT => outer.consent.get_or_insert_default().read(record, fields.span()?)?,
                tag::LIST => outer.list.get_or_insert_default().read(record, fields.span()?)?,
                tag::MERGE => {
                    fields.span()?;
                    outer.merge = true;
                }
                tag::ERASE => {
                    fields.bool()?;
                    outer.erase = true;
                }
                other => fields.skip(other)?,
            }
        }
    }

    fn bodies(&self) -> usize {
        let there = [self.event.is_some(), self.traits.is_some(), self.consent.is_some(), self.list.is_some(), self.merge, self.erase];
        there.into_iter().filter(|there| *there).count()
    }
}

impl<'a> Consent<'a> {
    fn read(&mut self, record: &'a [u8], span: Span) -> Read<()> {
        const PURPOSE: u32 = bytes(1);
        const GRANTED: u32 = varint(2);
        const UNTIL: u32 = varint(3);
        let mut fields = Fields::of(record, span);
        loop {
            match fields.tag()? {
                0 => return Ok(()),
                PURPOSE => self.purpose = text(record, fields.span()?)?,
                GRANTED => self.granted = Some(fields.bool()?),
                UNTIL => self.until = Some(fields.int()?),
                other => fields.skip(other)?,
            }
        }
    }
}

impl<'a> ListEntry<'a> {
    fn read(&mut self, record: &'a [u8], span: Span) -> Read<()> {
        const NAME: u32 = bytes(1);
        const MEMBER: u32 = varint(2);
        let mut fields = Fields::of(record, span);
        loop {
            match fields.tag()? {
                0 => return Ok(()),
                NAME => self.name = text(record, fields.span()?)?,
                MEMBER => self.member = Some(fields.bool()?),
                other => fields.skip(other)?,
            }
        }
    }
}

fn instant(ms: i64, fault: &'static str) -> Result<Timestamp, Rejection> {
    scalar::in_range(ms).ok_or_else(|| Rejection::unreadable(fault))
}

impl From<Malformed> for Rejection {
    fn from(_: Malformed) -> Rejection {
        Rejection::unreadable("the value is no `segmentd.v1.Event`")
    }
}
