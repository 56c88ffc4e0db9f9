//! Why a shard or a worker stops. Nothing here is skipped or guessed around: each variant says what was found and what leads on.

use thiserror::Error;

use super::client::LaneFault;
use crate::ids::{BatchNumber, Edition};
use crate::wire::journal::JournalError;

/// Why a shard stands still while the worker goes on. Its partition stays with us, so that no other instance runs into the same.
#[derive(Debug, Error)]
pub enum Stop {
    /// An input cannot be read on. Restore the topic, or start anew with `segmentd topics reset`.
    #[error("input {topic}: {fault}")]
    Input { topic: String, fault: LaneFault },
    /// The journal cannot be read on.
    #[error("journal: {0}")]
    Journal(LaneFault),
    /// A record of the journal cannot be relied on.
    #[error("journal record at offset {offset}: {source}")]
    Record { offset: i64, source: JournalError },
    /// The journal lacks batches, or has some twice.
    #[error("journal record at offset {offset}: batch {found} where {expected} was to follow")]
    Gap { offset: i64, expected: BatchNumber, found: BatchNumber },
    /// The journal's beginning is gone, and with it the way to the state.
    #[error("the journal begins at offset {low} with batch {found}: without its beginning the state cannot be computed again")]
    BeginningLost { low: i64, found: BatchNumber },
    /// Positions were committed, but the journal that must stand beside them is empty: never a fresh start.
    #[error("the journal is empty, beside {beside}: it was deleted, and a fresh start would publish everything twice")]
    JournalEmpty { beside: String },
    /// The committed offset and the journal disagree after every open transaction was settled.
    #[error("the committed offset names batch {committed}, the journal ends with batch {journal}")]
    OffsetDiffers { committed: String, journal: BatchNumber },
    /// Other inputs than the configuration's were read.
    #[error("the journal was written for the inputs {journal}, the configuration has {configured}")]
    InputsDiffer { journal: String, configured: String },
    /// A topic was deleted and created again: its offsets mean other records.
    #[error("input {topic} was deleted and created again since it was read")]
    Recreated { topic: String },
    /// The log ends before what was read from it (an unclean leader election, a restored backup).
    #[error("input {topic} ends at offset {high}, but everything before {next_offset} was read: the log has lost records")]
    Rewound { topic: String, high: i64, next_offset: i64 },
    /// The log begins behind what a replay needs.
    #[error("input {topic}: records {needed} to {} are needed to compute the state again, but the log begins at {low}", low - 1)]
    Truncated { topic: String, needed: i64, low: i64 },
    /// The log holds other records than those that were read.
    #[error("input {topic}: the record before offset {next_offset} was read once and is gone; next is {found}")]
    LogDiffers { topic: String, next_offset: i64, found: i64 },
    /// The journal names a set of definitions, or a time-zone database, that cannot be had: the definitions topic lacks it, or this version of
    /// segmentd does not read it.
    #[error("the journal was written under the set of definitions {} and the time-zone database {}: {why}", edition.set, edition.zones)]
    Definitions { edition: Edition, why: String },
    /// Another version of the rules wrote the journal.
    #[error("the journal was written by rules of version \"{journal}\", this program has \"{ours}\"")]
    Rules { journal: String, ours: String },
    /// Other settings that decide outcomes.
    #[error("the journal was written under other settings of engine or inputs")]
    Settings,
    /// The replay of a batch gave something else than the first time.
    #[error("batch {batch} gives another {what} than the journal has: {found} instead of {expected}")]
    Mismatch { batch: BatchNumber, what: &'static str, found: String, expected: String },
    /// Somebody else commits for this shard. The group will tell soon.
    #[error("the log holds batch {found} of this shard, which is none of ours (committed: {committed}, sent: {sent})")]
    ForeignCommit { found: String, committed: BatchNumber, sent: BatchNumber },
}

/// The way that is always open.
macro_rules! or_anew {
    ($first:literal) => {
        concat!($first, ", or compute everything anew from the inputs with `segmentd topics reset`, which publishes every change again")
    };
}

impl Stop {
    /// What leads on, for whoever runs it.
    pub fn way_out(&self) -> &'static str {
        match self {
            Stop::Rules { .. } => or_anew!("run the segmentd that wrote the journal"),
            Stop::Settings | Stop::InputsDiffer { .. } => or_anew!("put the settings back as they were"),
            Stop::Definitions { .. } => or_anew!("run a segmentd that has both"),
            Stop::Mismatch { .. } => or_anew!("report it with this line, run the segmentd that wrote the journal"),
            Stop::Input { .. } | Stop::Recreated { .. } | Stop::Rewound { .. } | Stop::Truncated { .. } | Stop::LogDiffers { .. } => {
                or_anew!("restore the input topic from a copy")
            }
            Stop::Journal(_)
            | Stop::Record { .. }
            | Stop::Gap { .. }
            | Stop::BeginningLost { .. }
            | Stop::JournalEmpty { .. }
            | Stop::OffsetDiffers { .. } => or_anew!("restore the journal topic from a copy"),
            Stop::ForeignCommit { .. } => "nothing is to be done: the group gives the shard to its owner",
        }
    }
}

/// Why a worker ends.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// Another process uses the same transactional id: `kafka.instance` must be unique.
    #[error("another process uses this worker's transactional id: {0}")]
    Fenced(String),
    /// The outputs can never be written.
    #[error("the outputs cannot be written: {0}")]
    Refused(String),
    /// The client is of no use any more. Restart.
    #[error("{0}")]
    Client(String),
    /// An input topic is no longer what it was; everything up to here is committed.
    #[error("{0}")]
    TopicChanged(String),
}
