//! The journal record: what one shard has read and decided, one record per transaction (`proto/segmentd/v1/journal.proto`).
//!
//! **Replay.** A record says per batch which offsets of which input were read, the arrival cap, and how far the clock was allowed to go.
//! That fixes the order of application: read the same offset ranges, give every record the arrival
//! `max(last arrival of its input, min(timestamp, arrival cap))`, and sort by (arrival, input, offset). Because batches hold consecutive
//! records of each input and arrivals of one input never go back, that sort is a merge. What was in which batch is what "was read
//! together" means (LANGUAGE.md R40, R59); the cap and the ranges are the only parts of it that the log itself does not hold.
//!
//! The hashes prove the replay: [`input_hash`] over the records in order, [`crate::wire::encode::change_hash`] summed over the changes.

use prost::Message;
use thiserror::Error;

use super::proto::v1;
use crate::engine::batch::Batch;
use crate::engine::output::{HerdCursor, ScanCursor};
use crate::ids::{BatchNumber, InputIndex, SetHash, ShardId};
use crate::time::Timestamp;

/// What a transaction leaves behind for one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRecord {
    pub shard: ShardId,
    /// The last batch applied; the metadata of the committed offset names it too.
    pub batch: BatchNumber,
    /// Applied since the record before, consecutive, the last one numbered `batch`. Empty in an idle shard's record.
    pub batches: Vec<JournalBatch>,
    /// Every input in the order of the configuration, as it stands after the last batch.
    pub inputs: Vec<JournalInput>,
    /// The shard's clock after the last batch.
    pub clock: Timestamp,
    /// The set in force after the last batch.
    pub definitions: SetHash,
    /// Version of the engine's rules, which a replay needs, and of the time-zone database in force after the last batch.
    pub engine: String,
    /// Hash of the settings that decide outcomes.
    pub settings: u64,
    /// Of the producer that wrote the record: a new owner ends its open transaction with it.
    pub transactional_id: String,
    /// Of the state after the last batch, where it was computed.
    pub digest: Option<u128>,
}

/// Where an input stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalInput {
    pub topic: String,
    /// `None`: the broker gives none (the demo's).
    pub topic_id: Option<[u8; 16]>,
    /// Next to read.
    pub next_offset: i64,
    /// Of the last record read; -1: unknown.
    pub leader_epoch: i32,
    /// Of the last record applied, the cap included; arrivals of one input never go back.
    pub last_arrival: Option<Timestamp>,
}

/// One `apply`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalBatch {
    pub number: BatchNumber,
    /// Inputs that went forward, each at most once, ascending.
    pub reads: Vec<JournalRead>,
    /// Wall clock when the batch was read (LANGUAGE.md S1); `None`: nothing was read.
    pub arrival_cap: Option<Timestamp>,
    pub idle_until: Option<Timestamp>,
    /// The clock after it.
    pub clock: Timestamp,
    pub cursor: Option<HerdCursor>,
    pub records: u32,
    /// See [`input_hash`].
    pub input_hash: u64,
    pub changes: u32,
    /// Wrapping sum of [`crate::wire::encode::change_hash`] over the changes.
    pub change_hash: u128,
    pub dead_letters: u32,
    /// The change of definitions with which the batch begins.
    pub activation: Option<JournalActivation>,
    /// Where the scan of a change of definitions stands after it.
    pub scan: Option<ScanCursor>,
}

/// Another set of definitions, or the same under another time-zone database, comes into force, before the batch's records; its number is the batch's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalActivation {
    pub set: SetHash,
    /// The version of the time-zone database that comes with it; `None`: the one that the record names.
    pub zones: Option<Box<str>>,
    /// As it was given to the engine, whose clock may stand later.
    pub at: Timestamp,
}

/// An input that went forward in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalRead {
    pub input: InputIndex,
    pub next_offset: i64,
    pub leader_epoch: i32,
}

/// A journal record that cannot be relied on. The shard stops: positions are never guessed.
#[derive(Debug, Error)]
pub enum JournalError {
    #[error("journal record is not readable: {0}")]
    Unreadable(#[from] prost::DecodeError),
    #[error("journal record contradicts itself: {0}")]
    Inconsistent(&'static str),
}

impl JournalRecord {
    /// The record's value in the journal topic.
    pub fn encode(&self) -> Vec<u8> {
        let message = v1::JournalRecord {
            shard: self.shard.0,
            batch: self.batch.0,
            batches: self.batches.iter().map(batch_message).collect(),
            inputs: self
                .inputs
                .iter()
                .map(|i| v1::JournalInput {
                    topic: i.topic.clone(),
                    topic_id: i.topic_id.map(|id| id.to_vec()).unwrap_or_default(),
                    next_offset: i.next_offset,
                    leader_epoch: i.leader_epoch,
                    last_arrival: i.last_arrival.map(|t| t.0),
                })
                .collect(),
            clock: self.clock.0,
            definitions: self.definitions.0.to_vec(),
            engine: self.engine.clone(),
            settings: self.settings,
            transactional_id: self.transactional_id.clone(),
            digest: self.digest.map(|d| d.to_be_bytes().to_vec()).unwrap_or_default(),
        };
        message.encode_to_vec()
    }

    /// Reads a record's value and checks that it does not contradict itself.
    pub fn decode(value: &[u8]) -> Result<JournalRecord, JournalError> {
        let m = v1::JournalRecord::decode(value)?;
        let inputs = m.inputs.into_iter().map(input_of).collect::<Result<Vec<_>, _>>()?;
        let batches = m.batches.into_iter().map(|b| batch_of(b, inputs.len())).collect::<Result<Vec<_>, _>>()?;
        if batches.windows(2).any(|w| w[0].number.0 + 1 != w[1].number.0) {
            return Err(JournalError::Inconsistent("batch numbers are not consecutive"));
        }
        if batches.last().is_some_and(|b| b.number.0 != m.batch) {
            return Err(JournalError::Inconsistent("the last batch is not the one that the record names"));
        }
        if batches.last().is_some_and(|b| b.clock.0 != m.clock) {
            return Err(JournalError::Inconsistent("the last batch's clock is not the record's"));
        }
        Ok(JournalRecord {
            shard: ShardId(m.shard),
            batch: BatchNumber(m.batch),
            batches,
            inputs,
            clock: Timestamp(m.clock),
            definitions: set_of(m.definitions)?,
            engine: m.engine,
            settings: m.settings,
            transactional_id: m.transactional_id,
            digest: sixteen(m.digest, "the digest is not 16 bytes")?.map(u128::from_be_bytes),
        })
    }
}

fn batch_message(b: &JournalBatch) -> v1::JournalBatch {
    v1::JournalBatch {
        number: b.number.0,
        reads: b
            .reads
            .iter()
            .map(|r| v1::JournalRead { input: u32::from(r.input.0), next_offset: r.next_offset, leader_epoch: r.leader_epoch })
            .collect(),
        arrival_cap: b.arrival_cap.map(|t| t.0),
        idle_until: b.idle_until.map(|t| t.0),
        clock: b.clock.0,
        cursor: b.cursor.map(|c| v1::HerdCursor { deadline: c.deadline.0, customer_hash: c.customer_hash }),
        records: b.records,
        input_hash: b.input_hash,
        changes: b.changes,
        change_hash_high: (b.change_hash >> 64) as u64,
        change_hash_low: b.change_hash as u64,
        dead_letters: b.dead_letters,
        activation: b.activation.as_ref().map(|a| v1::Activation {
            definitions: a.set.0.to_vec(),
            at: a.at.0,
            time_zones: a.zones.as_deref().unwrap_or_default().into(),
        }),
        scan: b.scan.map(|c| c.customer_hash),
    }
}

fn batch_of(b: v1::JournalBatch, inputs: usize) -> Result<JournalBatch, JournalError> {
    let reads = b
        .reads
        .into_iter()
        .map(|r| match u16::try_from(r.input) {
            Ok(input) if (r.input as usize) < inputs => {
                Ok(JournalRead { input: InputIndex(input), next_offset: r.next_offset, leader_epoch: r.leader_epoch })
            }
            _ => Err(JournalError::Inconsistent("a batch reads an input that the record does not list")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    if reads.windows(2).any(|w| w[0].input >= w[1].input) {
        return Err(JournalError::Inconsistent("the inputs of a batch are not ascending"));
    }
    Ok(JournalBatch {
        number: BatchNumber(b.number),
        reads,
        arrival_cap: b.arrival_cap.map(Timestamp),
        idle_until: b.idle_until.map(Timestamp),
        clock: Timestamp(b.clock),
        cursor: b.cursor.map(|c| HerdCursor { deadline: Timestamp(c.deadline), customer_hash: c.customer_hash }),
        records: b.records,
        input_hash: b.input_hash,
        changes: b.changes,
        change_hash: (u128::from(b.change_hash_high) << 64) | u128::from(b.change_hash_low),
        dead_letters: b.dead_letters,
        activation: b.activation.map(activation_of).transpose()?,
        scan: b.scan.map(|customer_hash| ScanCursor { customer_hash }),
    })
}

fn activation_of(a: v1::Activation) -> Result<JournalActivation, JournalError> {
    let zones = Some(a.time_zones.into_boxed_str()).filter(|zones| !zones.is_empty());
    Ok(JournalActivation { set: set_of(a.definitions)?, zones, at: Timestamp(a.at) })
}

fn set_of(bytes: Vec<u8>) -> Result<SetHash, JournalError> {
    bytes.try_into().map(SetHash).map_err(|_| JournalError::Inconsistent("the hash of the set is not 16 bytes"))
}

fn input_of(i: v1::JournalInput) -> Result<JournalInput, JournalError> {
    Ok(JournalInput {
        topic: i.topic,
        topic_id: sixteen(i.topic_id, "a topic id is not 16 bytes")?,
        next_offset: i.next_offset,
        leader_epoch: i.leader_epoch,
        last_arrival: i.last_arrival.map(Timestamp),
    })
}

fn sixteen(bytes: Vec<u8>, fault: &'static str) -> Result<Option<[u8; 16]>, JournalError> {
    match bytes.len() {
        0 => Ok(None),
        _ => bytes.try_into().map(Some).map_err(|_| JournalError::Inconsistent(fault)),
    }
}

/// Hash of a batch's records in order of application: place, arrival (capped) and the hash of the value. An empty batch gives 0.
///
/// **Cost:** one short XXH3 per record.
pub fn input_hash(batch: &Batch) -> u64 {
    batch.records.iter().fold(0, |hash, r| {
        let mut bytes = [0u8; 30];
        bytes[0..2].copy_from_slice(&r.position.input.0.to_le_bytes());
        bytes[2..6].copy_from_slice(&r.position.partition.to_le_bytes());
        bytes[6..14].copy_from_slice(&r.position.offset.to_le_bytes());
        bytes[14..22].copy_from_slice(&r.arrival.0.to_le_bytes());
        bytes[22..30].copy_from_slice(&r.body_hash.to_le_bytes());
        xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, hash)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> JournalRecord {
        let batch = |number: u64, clock| JournalBatch {
            number: BatchNumber(number),
            reads: vec![
                JournalRead { input: InputIndex(0), next_offset: 10, leader_epoch: 3 },
                JournalRead { input: InputIndex(1), next_offset: 7, leader_epoch: -1 },
            ],
            arrival_cap: Some(Timestamp(1_764_000_000_500)),
            idle_until: None,
            clock: Timestamp(clock),
            cursor: Some(HerdCursor { deadline: Timestamp(-1), customer_hash: u64::MAX }),
            records: 5,
            input_hash: 42,
            changes: 2,
            change_hash: u128::MAX - 1,
            dead_letters: 1,
            activation: (number == 17).then_some(JournalActivation {
                set: SetHash([8; 16]),
                zones: Some("2026a".into()),
                at: Timestamp(-3),
            }),
            scan: (number == 17).then_some(ScanCursor { customer_hash: 0 }),
        };
        let input = |topic: &str, id| JournalInput {
            topic: topic.into(),
            topic_id: id,
            next_offset: 10,
            leader_epoch: 3,
            last_arrival: id.map(|_| Timestamp(5)),
        };
        JournalRecord {
            shard: ShardId(3),
            batch: BatchNumber(18),
            batches: vec![batch(17, 1), batch(18, 2)],
            inputs: vec![input("clickstream", Some([7; 16])), input("purchases", None)],
            clock: Timestamp(2),
            definitions: SetHash([9; 16]),
            engine: "1".into(),
            settings: 77,
            transactional_id: "segmentd-0-1".into(),
            digest: Some(1),
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let whole = record();
        assert_eq!(JournalRecord::decode(&whole.encode()).expect("readable"), whole);
        let idle = JournalRecord { batches: vec![], digest: None, ..record() };
        assert_eq!(JournalRecord::decode(&idle.encode()).expect("readable"), idle);
    }

    #[test]
    fn a_record_that_contradicts_itself_is_refused() {
        type Fault = fn(&mut JournalRecord);
        let faults: [(&str, Fault); 6] = [
            ("not consecutive", |r| r.batches[0].number.0 = 3),
            ("not the one that the record names", |r| r.batch.0 = 19),
            ("clock", |r| r.clock.0 = 3),
            ("does not list", |r| r.batches[0].reads[1].input.0 = 2),
            ("ascending", |r| r.batches[0].reads[1].input.0 = 0),
            ("does not list", |r| r.inputs.clear()),
        ];
        for (want, fault) in faults {
            let mut broken = record();
            fault(&mut broken);
            let error = JournalRecord::decode(&broken.encode()).expect_err(want).to_string();
            assert!(error.contains(want), "{error}");
        }
        assert!(matches!(JournalRecord::decode(b"\xff\xff"), Err(JournalError::Unreadable(_))));
    }
}
