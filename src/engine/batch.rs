//! What goes into the engine: a batch of decoded records and, at its end, where the clock may move. Closed and owned: a batch can be
//! decoded on another thread while a commit is in flight, kept, replayed, hashed and reused.
//!
//! Texts, lists and records live in arenas of the batch and are pointed at by ranges, so that filling a used batch again allocates nothing.

use crate::ids::{EventIndex, ListIndex, Position, PurposeIndex, TraitIndex};
use crate::model::{Currency, DeadLetterReason};
use crate::time::{Millis, Timestamp};

/// Records of one shard in the order of application, already merged by arrival (LANGUAGE.md S3).
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub records: Vec<Record>,
    /// UTF-8 of all texts.
    pub text: Vec<u8>,
    /// Slots of events, elements of lists, fields of records.
    pub data: Vec<Datum>,
    /// Traits of trait records.
    pub traits: Vec<(TraitIndex, Datum)>,
}

/// A range of [`Batch::text`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextRange {
    pub start: u32,
    pub len: u32,
}

/// A range of [`Batch::data`] or [`Batch::traits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataRange {
    pub start: u32,
    pub len: u32,
}

/// One record. `arrival` has the arrival cap applied; the engine takes the later of it and its clock.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub position: Position,
    pub arrival: Timestamp,
    /// Event time; `None` where the record has none, then it is the arrival.
    pub ts: Option<Timestamp>,
    /// Empty only in a rejected record.
    pub customer: TextRange,
    /// XXH3-64 of the customer id with seed 0 (see [`customer_hash`]).
    pub customer_hash: u64,
    /// The event's own id.
    pub id: Option<TextRange>,
    /// XXH3-64 of the raw value, to tell a conflict from a duplicate (LANGUAGE.md S29).
    pub body_hash: u64,
    pub body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    /// `slots`: one datum per used property, in the order of [`crate::plan::schema::EventSchema::slots`].
    Event {
        event: EventIndex,
        slots: DataRange,
    },
    Traits(DataRange),
    Consent {
        purpose: PurposeIndex,
        granted: bool,
        until: Option<Timestamp>,
    },
    List {
        list: ListIndex,
        member: bool,
    },
    /// A record of a known customer that carries nothing this workspace knows (only unknown traits, an unknown purpose or list): it
    /// creates its customer and is otherwise without effect (LANGUAGE.md R48, R60).
    Nothing,
    /// An event type that the catalogue lacks, ignored by configuration: it moves the clock and creates no customer (R46).
    Ignored,
    /// A dead letter found before the engine; it moves the clock, and the engine repeats it as an output so that every dead letter
    /// comes out of one place. `detail` names the property or says what was found.
    Rejected {
        reason: DeadLetterReason,
        detail: TextRange,
    },
}

/// One value of a record, `Copy`, its texts and elements in the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Datum {
    #[default]
    Missing,
    Bool(bool),
    Int(i64),
    /// Millionths.
    Decimal(i64),
    Money {
        minor: i64,
        currency: Currency,
    },
    Text(TextRange),
    Instant(Timestamp),
    Date(i32),
    Duration(Millis),
    Geo {
        lat: f64,
        lon: f64,
    },
    List(DataRange),
    /// Fields in the order of the record type's properties.
    Record(DataRange),
}

/// The hash by which customers are indexed, spread over snapshot chunks and ordered in herds.
pub fn customer_hash(customer: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(customer.as_bytes())
}

impl Batch {
    pub fn clear(&mut self) {
        self.records.clear();
        self.text.clear();
        self.data.clear();
        self.traits.clear();
    }

    pub fn push_text(&mut self, text: &str) -> TextRange {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text.as_bytes());
        TextRange { start, len: text.len() as u32 }
    }

    pub fn text(&self, range: TextRange) -> &str {
        let bytes = &self.text[range.start as usize..(range.start + range.len) as usize];
        debug_assert!(std::str::from_utf8(bytes).is_ok());
        // SAFETY: `text` is only filled through `push_text` and by decoders that check UTF-8 and cut at character boundaries.
        unsafe { std::str::from_utf8_unchecked(bytes) }
    }

    pub fn data(&self, range: DataRange) -> &[Datum] {
        &self.data[range.start as usize..(range.start + range.len) as usize]
    }

    pub fn traits(&self, range: DataRange) -> &[(TraitIndex, Datum)] {
        &self.traits[range.start as usize..(range.start + range.len) as usize]
    }
}
