//! What a worker must know, and what of it decides outcomes.

use std::sync::Arc;

use crate::engine;
use crate::ids::ShardId;
use crate::plan::Plan;
use crate::time::Millis;
use crate::wire::encode::Payload;
use crate::wire::{DecodeOptions, Partitioner, Placement, UnknownEvents, WrongType};

/// Version of everything that decides which changes come out of a log: the engine's rules and the decoders'. A journal of another
/// version cannot be replayed; that of another time-zone database can. Raise it with every change of behaviour.
const RULES: &str = "1";

/// What a journal record says of the rules: [`RULES`], and the time-zone database by which local days begin and end (LANGUAGE.md S12).
pub(super) fn rules(zones: &str) -> String {
    format!("{RULES} tz {zones}")
}

/// The version of the time-zone database that a journal record names; `None`: it was written by other rules.
pub(super) fn zones_of(rules: &str) -> Option<&str> {
    rules.strip_prefix(RULES)?.strip_prefix(" tz ")
}

/// Settings of a worker.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of the worker's producer; stands in every journal record, so that a new owner can end what it left open.
    pub transactional_id: String,
    /// The source of published changes (CloudEvents), `/segmentd/GROUP`.
    pub source: String,
    /// In the order of the configuration, which decides between equal arrivals (LANGUAGE.md S3).
    pub inputs: Vec<InputSettings>,
    pub payload: Payload,
    /// The definitions that are to be in force at the start; see [`super::Worker::aim`].
    pub plan: Arc<Plan>,
    pub engine: engine::Settings,
    pub unknown_events: UnknownEvents,
    pub wrong_type: WrongType,
    /// How far the clock of an idle shard stays behind wall time: what broker's and our clock may differ by.
    pub clock_guard: Millis,
    /// The least time from the beginning of one transaction to the next; rises with the partitions touched.
    pub commit_interval: Millis,
    /// Most records of a batch, and of one step of the worker. At least 1.
    pub batch_records: usize,
    /// Bytes of keys and values after which a batch ends.
    pub batch_bytes: usize,
    /// Most bytes of key and value of a dead letter: what its topic takes, less room for headers. A larger record goes without its value.
    pub dead_letter_bytes: usize,
    /// How long revoked shards may take to commit what they have decided. Below the group's rebalance time-out.
    pub revoke_budget: Millis,
}

/// An input topic.
#[derive(Clone, Debug)]
pub struct InputSettings {
    pub topic: Arc<str>,
    pub format: Format,
    /// `None`: keys are not checked.
    pub partitioner: Option<Partitioner>,
    /// Partitions of every input, and of the shards.
    pub partitions: u32,
}

/// How the values of an input are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Json,
    Protobuf,
}

impl InputSettings {
    pub fn json(topic: &str, partitions: u32) -> InputSettings {
        InputSettings { topic: topic.into(), format: Format::Json, partitioner: Some(Partitioner::Murmur2), partitions }
    }
}

impl Settings {
    /// Settings with the defaults of the configuration.
    pub fn new(transactional_id: &str, inputs: Vec<InputSettings>, plan: Arc<Plan>) -> Settings {
        Settings {
            transactional_id: transactional_id.into(),
            source: "/segmentd".into(),
            inputs,
            payload: Payload::Json,
            plan,
            engine: engine::Settings::default(),
            unknown_events: UnknownEvents::default(),
            wrong_type: WrongType::default(),
            clock_guard: Millis(20),
            commit_interval: Millis(5),
            batch_records: 5_000,
            batch_bytes: 2 << 20,
            dead_letter_bytes: (1 << 20) - (64 << 10),
            revoke_budget: Millis(3_000),
        }
    }

    /// Hash of the settings that decide outcomes: a replay needs the same. The order and names of inputs stand in the journal themselves.
    pub fn hash(&self) -> u64 {
        let engine::Settings {
            max_age,
            max_future_skew,
            reorder_buffer,
            duplicate_window,
            session_gap,
            exact_entries,
            output_budget,
            scan_customers,
        } = &self.engine;
        let unknown_events = matches!(self.unknown_events, UnknownEvents::DeadLetter);
        let wrong_type = matches!(self.wrong_type, WrongType::Unknown);
        let mut bytes = Vec::new();
        for number in [
            max_age.map_or(-1, |m| m.0),
            max_future_skew.0,
            reorder_buffer.0,
            duplicate_window.0,
            session_gap.map_or(-1, |m| m.0),
            *exact_entries as i64,
            *output_budget as i64,
            *scan_customers as i64,
            i64::from(unknown_events),
            i64::from(wrong_type),
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for input in &self.inputs {
            bytes.push(match input.format {
                Format::Json => 0,
                Format::Protobuf => 1,
            });
            bytes.push(match input.partitioner {
                None => 0,
                Some(Partitioner::Murmur2) => 1,
                Some(Partitioner::Crc32) => 2,
            });
            bytes.extend_from_slice(&input.partitions.to_le_bytes());
        }
        xxhash_rust::xxh3::xxh3_64(&bytes)
    }

    pub(super) fn decode_options(&self, input: &InputSettings, shard: ShardId) -> DecodeOptions {
        let placement = input.partitioner.map(|partitioner| Placement { partitioner, partitions: input.partitions, shard });
        DecodeOptions { unknown_events: self.unknown_events, wrong_type: self.wrong_type, placement }
    }
}
