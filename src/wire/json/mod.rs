//! Native JSON records, in one pass over the bytes.
//!
//! The decoder knows the catalogue: it reads the outer fields in any order and, of the properties, only those that some definition uses
//! (LANGUAGE.md R48); everything else is stepped over, though it still has to be JSON. Texts keep their bytes unless they hold escapes.
//!
//! * `event` may stand after `properties`; those are then read in a second pass.
//! * A key that stands twice: the last one counts, at every level.
//! * `id` may be a number, like `customer` (R60); an empty id is none.
//! * Members of unknown names are ignored, at every level.
//! * A member that is null counts as absent (R64); a null in a list is left out.
//! * A customer id or event id beyond [`CUSTOMER_BYTES_MAX`](crate::limits::CUSTOMER_BYTES_MAX) or
//!   [`EVENT_ID_BYTES_MAX`](crate::limits::EVENT_ID_BYTES_MAX) is `too_large`.
//! * Records that merge or erase are dead letters until this version evaluates them.
//!
//! **Cost:** about 300 ns for an event of 226 bytes (`benches/wire.rs`, two busy cores); no allocation but for refusals, once the batch has grown.

mod fields;
pub(super) mod scan;

use std::sync::Arc;

use super::draft::{self, Draft, DraftBody, Mark, Rejection};
use super::shape::Shapes;
use super::slots::Frame;
use super::{DecodeCounts, DecodeOptions, RawRecord, scalar};
use crate::engine::batch::{Batch, TextRange};
use crate::ids::EventIndex;
use crate::plan::schema::Schema;
use crate::time::Timestamp;
use fields::{Reader, Work, small};
use scan::{Kind, Scan, Scanner, Token, Unreadable};

/// Decodes records of one input; keeps memory between records, so one per thread.
pub struct Decoder {
    schema: Arc<Schema>,
    shapes: Shapes,
    options: DecodeOptions,
    counts: DecodeCounts,
    work: Work,
}

/// The members of a record by name; absent is a null token.
#[derive(Default)]
struct Outer {
    id: Token,
    customer: Token,
    ts: Token,
    event: Token,
    properties: Token,
    traits: Token,
    consent: Token,
    list: Token,
    merge: Token,
    erase: Token,
}

impl Decoder {
    /// A decoder for the records of one input.
    pub fn new(schema: Arc<Schema>, options: DecodeOptions) -> Decoder {
        Decoder { shapes: Shapes::new(&schema), schema, options, counts: DecodeCounts::default(), work: Work::default() }
    }

    /// Pushes exactly one record, a refusal included.
    pub fn decode(&mut self, raw: &RawRecord<'_>, batch: &mut Batch) {
        let mark = Mark::new(batch);
        let draft = draft::value(raw).and_then(|value| match std::str::from_utf8(value) {
            Ok(text) => self.read(text, batch),
            Err(fault) => Err(Rejection::unreadable(format!("no UTF-8 at byte {}", fault.valid_up_to()))),
        });
        let verdict = draft.and_then(|draft| draft.admit(raw, &self.options, &mut self.counts, batch));
        mark.push(raw, verdict, batch);
    }

    /// What was seen since the last call.
    pub fn take_counts(&mut self) -> DecodeCounts {
        std::mem::take(&mut self.counts)
    }

    fn read(&mut self, text: &str, batch: &mut Batch) -> Result<Draft, Rejection> {
        let mut scan = Scanner::new(text);
        let mut reader = Reader { batch, work: &mut self.work };
        let mut outer = Outer::default();
        let Ok(early) = outer.read(&mut scan, &self.shapes, &mut reader) else {
            return Err(Rejection::unreadable(scan.fault()));
        };
        outer.check()?;
        let ts = match outer.ts.kind() {
            Kind::Null => None,
            _ => Some(instant(&scan, outer.ts, reader.work, "`ts` is no instant")?),
        };
        let customer = word(&scan, outer.customer, &mut reader, "`customer` is neither text nor number")?;
        let id = word(&scan, outer.id, &mut reader, "`id` is neither text nor number")?;
        let draft = Draft { customer, id, ts, ..Draft::default() };
        if outer.event.is_value() {
            self.event(&scan, &outer, early, draft, batch)
        } else if outer.traits.is_value() {
            self.traits(&scan, outer.traits, draft, batch)
        } else if outer.consent.is_value() {
            self.consent(&scan, outer.consent, draft)
        } else if outer.list.is_value() {
            self.list(&scan, outer.list, draft)
        } else if outer.merge.is_value() {
            Err(Rejection::unreadable("merge is not evaluated by this version"))
        } else {
            Err(Rejection::unreadable("erase is not evaluated by this version"))
        }
    }

    fn event(
        &mut self,
        scan: &Scanner<'_>,
        outer: &Outer,
        early: Option<(EventIndex, Frame)>,
        draft: Draft,
        batch: &mut Batch,
    ) -> Result<Draft, Rejection> {
        if !outer.event.is_text() {
            return Err(Rejection::unreadable("`event` is no text"));
        }
        let name = scan.content(outer.event, &mut self.work.scratch);
        let Some(event) = self.shapes.event(name) else {
            return Ok(Draft { body: DraftBody::unknown_event(name, batch), ..draft });
        };
        let mut reader = Reader { batch, work: &mut self.work };
        let mut frame = match early {
            Some((decoded, frame)) if decoded == event => frame,
            _ => {
                let mut again = match outer.properties.kind() {
                    Kind::Object => Scanner::at(scan.text(), outer.properties.start()),
                    _ => Scanner::new("{}"),
                };
                properties(&mut again, &self.shapes, event, &mut reader)?
            }
        };
        let slots = self.work.slots.settle_slots(&frame, batch);
        Ok(Draft { body: DraftBody::Event { event, slots }, wrong: frame.faults(&self.shapes.events[event.at()]), ..draft })
    }

    /// Unknown traits are ignored and counted; a record of nothing else still creates its customer (LANGUAGE.md R60).
    fn traits(&mut self, scan: &Scanner<'_>, token: Token, draft: Draft, batch: &mut Batch) -> Result<Draft, Rejection> {
        if token.kind() != Kind::Object {
            return Err(Rejection::unreadable("`traits` is no object"));
        }
        let mut reader = Reader { batch, work: &mut self.work };
        reader.work.slots.clear();
        let mut frame = reader.object(&mut Scanner::at(scan.text(), token.start()), &self.shapes.traits, 1, true)?;
        self.counts.unknown_traits += frame.unknown;
        let range = self.work.slots.settle_traits(&frame, batch);
        let body = if range.len == 0 { DraftBody::Nothing } else { DraftBody::Traits(range) };
        Ok(Draft { body, wrong: frame.faults(&self.shapes.traits), ..draft })
    }

    fn consent(&mut self, scan: &Scanner<'_>, token: Token, draft: Draft) -> Result<Draft, Rejection> {
        let work = &mut self.work;
        if token.kind() != Kind::Object {
            return Err(Rejection::unreadable("`consent` is no object"));
        }
        let [purpose, granted, until] = small(scan, token, ["purpose", "granted", "until"], 1, &mut work.scratch)?;
        let until = match until.kind() {
            Kind::Null => None,
            _ => Some(instant(scan, until, work, "`until` of a consent is no instant")?),
        };
        let granted = truth(scan, granted, work, "`granted` of a consent is neither true nor false")?;
        let purpose = named(scan, purpose, work, "`purpose` of a consent is no text")?;
        let body = match self.schema.catalogue.purpose(purpose) {
            Some(purpose) => DraftBody::Consent { purpose, granted, until },
            None => {
                self.counts.unknown_purposes += 1;
                DraftBody::Nothing
            }
        };
        Ok(Draft { body, ..draft })
    }

    fn list(&mut self, scan: &Scanner<'_>, token: Token, draft: Draft) -> Result<Draft, Rejection> {
        let work = &mut self.work;
        if token.kind() != Kind::Object {
            return Err(Rejection::unreadable("`list` is no object"));
        }
        let [name, member] = small(scan, token, ["name", "member"], 1, &mut work.scratch)?;
        let member = truth(scan, member, work, "`member` of a list is neither true nor false")?;
        let name = named(scan, name, work, "`name` of a list is no text")?;
        let body = match self.schema.catalogue.list(name) {
            Some(list) => DraftBody::List { list, member },
            None => {
                self.counts.unknown_lists += 1;
                DraftBody::Nothing
            }
        };
        Ok(Draft { body, ..draft })
    }
}

impl Outer {
    /// Reads the whole text. Properties are read on the way where the event is known by then; the frame is theirs.
    fn read(&mut self, scan: &mut Scanner<'_>, shapes: &Shapes, reader: &mut Reader<'_>) -> Scan<Option<(EventIndex, Frame)>> {
        let (mut event, mut early) = (None, None);
        if scan.peek() != b'{' {
            return scan.fail("the value is no JSON object");
        }
        if scan.open(b'}') {
            loop {
                let key = scan.key()?;
                match scan.content(key, &mut reader.work.scratch) {
                    "id" => self.id = scan.value(1)?,
                    "customer" => self.customer = scan.value(1)?,
                    "ts" => self.ts = scan.value(1)?,
                    "event" => {
                        self.event = scan.value(1)?;
                        event = match self.event.is_text() {
                            true => shapes.event(scan.content(self.event, &mut reader.work.scratch)),
                            false => None,
                        };
                    }
                    "properties" => {
                        early = match event {
                            Some(event) if scan.peek() == b'{' => {
                                let start = scan.pos;
                                let frame = properties(scan, shapes, event, reader)?;
                                self.properties = scan.since(Kind::Object, start);
                                Some((event, frame))
                            }
                            _ => {
                                self.properties = scan.value(1)?;
                                None
                            }
                        };
                    }
                    "traits" => self.traits = scan.value(1)?,
                    "consent" => self.consent = scan.value(1)?,
                    "list" => self.list = scan.value(1)?,
                    "merge" => self.merge = scan.value(1)?,
                    "erase" => self.erase = scan.value(1)?,
                    _ => {
                        scan.value(1)?;
                    }
                }
                if !scan.more(b'}')? {
                    break;
                }
            }
        }
        scan.end()?;
        Ok(early)
    }

    /// One record carries one thing (LANGUAGE.md R46).
    fn check(&self) -> Result<(), Rejection> {
        let bodies = [&self.event, &self.traits, &self.consent, &self.list, &self.merge, &self.erase];
        draft::one_body(bodies.iter().filter(|t| t.is_value()).count())?;
        if !matches!(self.properties.kind(), Kind::Null | Kind::Object) {
            return Err(Rejection::unreadable("`properties` is no object"));
        }
        Ok(())
    }
}

fn properties(scan: &mut Scanner<'_>, shapes: &Shapes, event: EventIndex, reader: &mut Reader<'_>) -> Scan<Frame> {
    reader.work.slots.clear();
    reader.object(scan, &shapes.events[event.at()], 1, false)
}

fn instant(scan: &Scanner<'_>, token: Token, work: &mut Work, fault: &'static str) -> Result<Timestamp, Rejection> {
    let text = if token.is_text() { Some(scan.content(token, &mut work.scratch)) } else { None };
    text.and_then(scalar::instant).ok_or_else(|| Rejection::unreadable(fault))
}

fn truth(scan: &Scanner<'_>, token: Token, work: &mut Work, fault: &'static str) -> Result<bool, Rejection> {
    let value = match token.kind() {
        Kind::True => Some(true),
        Kind::False => Some(false),
        Kind::Text | Kind::Escaped => scalar::truth(scan.content(token, &mut work.scratch)),
        _ => None,
    };
    value.ok_or_else(|| Rejection::unreadable(fault))
}

fn named<'w>(scan: &Scanner<'w>, token: Token, work: &'w mut Work, fault: &'static str) -> Result<&'w str, Rejection> {
    if token.is_text() { Ok(scan.content(token, &mut work.scratch)) } else { Err(Rejection::unreadable(fault)) }
}

/// A text or a number as written; empty, null and absent are `None`.
fn word(scan: &Scanner<'_>, token: Token, reader: &mut Reader<'_>, fault: &'static str) -> Result<Option<TextRange>, Rejection> {
    match token.kind() {
        Kind::Null => Ok(None),
        Kind::Text | Kind::Escaped | Kind::Number => {
            let range = reader.batch.push_text(scan.content(token, &mut reader.work.scratch));
            Ok(Some(range).filter(|r| r.len > 0))
        }
        _ => Err(Rejection::unreadable(fault)),
    }
}

/// The text was read once already, so this does not happen.
impl From<Unreadable> for Rejection {
    fn from(_: Unreadable) -> Rejection {
        Rejection::unreadable("the value is no JSON")
    }
}
