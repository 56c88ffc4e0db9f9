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
use fields::{Reader, Work};
use reader::{Fields, Malformed, Read, Span, text};

/// Decodes records of one input; keeps memory between records, so one per thread.
pub struct Decoder {
    schema: Arc<Schema>,
    shapes: Shapes,
    options: DecodeOptions,
    counts: DecodeCounts,
    work: Work,
}

/// Numbers of the fields of `Event`.
mod field {
    pub const ID: u32 = 1;
    pub const CUSTOMER: u32 = 2;
    pub const TS: u32 = 3;
    pub const EVENT: u32 = 4;
    pub const PROPERTIES: u32 = 5;
    pub const TRAITS: u32 = 6;
    pub const CONSENT: u32 = 7;
    pub const LIST: u32 = 8;
    pub const MERGE: u32 = 9;
    pub const ERASE: u32 = 10;
}

/// The outer fields of a record.
#[derive(Default)]
struct Outer<'a> {
    id: &'a str,
    customer: &'a str,
    ts: Option<i64>,
    event: Option<&'a str>,
    has_traits: bool,
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
            return self.event(bytes, name, draft, batch);
        }
        if outer.has_traits {
            return self.traits(bytes, draft, batch);
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

    fn event(&mut self, bytes: &[u8], name: &str, draft: Draft, batch: &mut Batch) -> Result<Draft, Rejection> {
        let Some(event) = self.shapes.event(name) else {
            return Ok(Draft { body: DraftBody::unknown_event(name, batch), ..draft });
        };
        let shape = &self.shapes.events[event.at()];
        let mut reader = Reader { bytes, batch, work: &mut self.work };
        reader.work.slots.clear();
        let mut frame = reader.object(whole(bytes), field::PROPERTIES, shape, false)?;
        let slots = self.work.slots.settle_slots(&frame, batch);
        Ok(Draft { body: DraftBody::Event { event, slots }, wrong: frame.faults(shape), ..draft })
    }

    /// Unknown traits are ignored and counted; a record of nothing else still creates its customer (LANGUAGE.md R60).
    fn traits(&mut self, bytes: &[u8], draft: Draft, batch: &mut Batch) -> Result<Draft, Rejection> {
        let shape = &self.shapes.traits;
        let mut reader = Reader { bytes, batch, work: &mut self.work };
        reader.work.slots.clear();
        let mut frame = reader.work.slots.begin(shape, true);
        let mut fields = Fields::of(bytes, whole(bytes));
        while let Some((number, wire)) = fields.next()? {
            if number == field::TRAITS {
                reader.entries(wire.span()?, 1, shape, 0, &mut frame)?;
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
    fn read(bytes: &'a [u8]) -> Read<Outer<'a>> {
        let mut outer = Outer::default();
        let mut fields = Fields::of(bytes, whole(bytes));
        while let Some((number, wire)) = fields.next()? {
            match number {
                field::ID => outer.id = text(bytes, wire.span()?)?,
                field::CUSTOMER => outer.customer = text(bytes, wire.span()?)?,
                field::TS => outer.ts = Some(wire.int()?),
                field::EVENT => outer.event = Some(text(bytes, wire.span()?)?),
                field::PROPERTIES => drop(wire.span()?),
                field::TRAITS => {
                    wire.span()?;
                    outer.has_traits = true;
                }
                field::CONSENT => {
                    let consent = outer.consent.get_or_insert_default();
                    let mut fields = Fields::of(bytes, wire.span()?);
                    while let Some((number, wire)) = fields.next()? {
                        match number {
                            1 => consent.purpose = text(bytes, wire.span()?)?,
                            2 => consent.granted = Some(wire.bool()?),
                            3 => consent.until = Some(wire.int()?),
                            _ => {}
                        }
                    }
                }
                field::LIST => {
                    let list = outer.list.get_or_insert_default();
                    let mut fields = Fields::of(bytes, wire.span()?);
                    while let Some((number, wire)) = fields.next()? {
                        match number {
                            1 => list.name = text(bytes, wire.span()?)?,
                            2 => list.member = Some(wire.bool()?),
                            _ => {}
                        }
                    }
                }
                field::MERGE => {
                    wire.span()?;
                    outer.merge = true;
                }
                field::ERASE => {
                    wire.bool()?;
                    outer.erase = true;
                }
                _ => {}
            }
        }
        Ok(outer)
    }

    fn bodies(&self) -> usize {
        let there = [self.event.is_some(), self.has_traits, self.consent.is_some(), self.list.is_some(), self.merge, self.erase];
        there.into_iter().filter(|there| *there).count()
    }
}

fn whole(bytes: &[u8]) -> Span {
    Span { start: 0, end: bytes.len() as u32 }
}

fn instant(ms: i64, fault: &'static str) -> Result<Timestamp, Rejection> {
    scalar::in_range(ms).ok_or_else(|| Rejection::unreadable(fault))
}

impl From<Malformed> for Rejection {
    fn from(_: Malformed) -> Rejection {
        Rejection::unreadable("the value is no `segmentd.v1.Event`")
    }
}
