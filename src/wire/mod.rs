//! Bytes and model, both ways: the only decoder of records and the only user of prost.
//!
//! [`json`] and [`protobuf`] turn one raw record into exactly one [`crate::engine::batch::Record`] of a batch, a refusal included, so
//! that a record is never lost between the log and the engine. [`encode`] turns outputs into bytes, [`journal`] is the record of what a
//! shard has read and decided, [`partitioner`] says where a key belongs. [`zones`] is a time-zone database. `proto/segmentd/v1` holds
//! the messages.
//!
//! No I/O here, and no clock: equal bytes with equal options give equal records.

mod draft;
pub mod encode;
pub mod journal;
pub mod json;
pub mod mapping;
pub mod partitioner;
pub mod proto;
pub mod protobuf;
pub mod row;
mod scalar;
mod shape;
mod slots;
pub mod zones;

use crate::ids::{Position, ShardId};
use crate::time::Timestamp;

pub use encode::ChangeRecord;
pub use journal::{JournalBatch, JournalInput, JournalRead, JournalRecord};
pub use partitioner::Partitioner;

/// One record as the log holds it.
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'a> {
    pub position: Position,
    /// Timestamp of the record with the arrival cap applied (LANGUAGE.md S1).
    pub arrival: Timestamp,
    pub key: Option<&'a [u8]>,
    /// `None`: a null value, which is unreadable.
    pub value: Option<&'a [u8]>,
}

/// What the configuration decides about decoding; part of what decides outcomes, so a replay needs the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    pub unknown_events: UnknownEvents,
    pub wrong_type: WrongType,
    /// `None`: keys are not looked at (a single input, files).
    pub placement: Option<Placement>,
}

/// Event types that the catalogue lacks (LANGUAGE.md R48).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownEvents {
    #[default]
    Ignore,
    DeadLetter,
}

/// Values that do not fit the catalogue's type (LANGUAGE.md R48).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WrongType {
    #[default]
    DeadLetter,
    /// The record is applied with that property or trait unknown.
    Unknown,
}

/// Where the keys of an input belong: a record's key must be its customer and hash to the shard's partition, else it is a dead letter
/// `wrong_partition`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    pub partitioner: Partitioner,
    /// Partitions of the topic; at least 1.
    pub partitions: u32,
    pub shard: ShardId,
}

impl DecodeOptions {
    /// As the service decodes by default: unknown events ignored, wrong types dead letters, keys not checked.
    pub fn lenient() -> DecodeOptions {
        DecodeOptions { unknown_events: UnknownEvents::Ignore, wrong_type: WrongType::DeadLetter, placement: None }
    }

    /// As `.segtest` and `backtest` decode: unknown events and wrong types are dead letters.
    pub fn strict() -> DecodeOptions {
        DecodeOptions { unknown_events: UnknownEvents::DeadLetter, wrong_type: WrongType::DeadLetter, placement: None }
    }
}

/// What decoders saw beside the records; the edge turns it into metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeCounts {
    /// Values of a wrong type that became unknown ([`WrongType::Unknown`]).
    pub wrong_types: u64,
    pub unknown_traits: u64,
    pub unknown_purposes: u64,
    pub unknown_lists: u64,
}

impl std::ops::AddAssign for DecodeCounts {
    fn add_assign(&mut self, rhs: DecodeCounts) {
        self.wrong_types += rhs.wrong_types;
        self.unknown_traits += rhs.unknown_traits;
        self.unknown_purposes += rhs.unknown_purposes;
        self.unknown_lists += rhs.unknown_lists;
    }
}
