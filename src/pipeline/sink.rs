//! What leaves the pipeline beside the log: committed changes for the read view, counts for metrics, notices for people.

use super::client::Outcome;
use super::stop::Stop;
use crate::engine::output::{Counts, DeadLetter, Published};
use crate::ids::{BatchNumber, SetHash, ShardId};
use crate::time::{Millis, Timestamp};
use crate::wire::DecodeCounts;

/// Takes what a worker reports. Called on the worker's thread, between commands to the client; must not wait.
pub trait Sink {
    /// A transaction of the shard is visible.
    fn committed(&mut self, committed: &Committed<'_>) {
        let _ = committed;
    }

    /// A restore has computed changes again that were published long ago.
    fn replayed(&mut self, shard: ShardId, changes: &[Published]) {
        let _ = (shard, changes);
    }

    /// A batch was applied; its outputs are not visible yet.
    fn applied(&mut self, applied: &BatchReport<'_>) {
        let _ = applied;
    }

    /// A transaction has ended, one way or another.
    fn transaction(&mut self, outcome: &Outcome, took: Millis, shards: usize) {
        let _ = (outcome, took, shards);
    }

    /// Something that people want to know.
    fn notice(&mut self, shard: ShardId, notice: &Notice<'_>) {
        let _ = (shard, notice);
    }
}

/// A sink that takes no notice.
impl Sink for () {}

/// What became visible of a shard.
#[derive(Clone, Copy, Debug)]
pub struct Committed<'a> {
    pub shard: ShardId,
    pub batch: BatchNumber,
    pub changes: &'a [Published],
    /// When they were encoded: `emitted_at`.
    pub emitted_at: Timestamp,
    /// When the broker's answer was seen. Latency of a change: this less its `decided_at`.
    pub committed_at: Timestamp,
}

/// One `apply` of a running shard.
#[derive(Clone, Copy, Debug)]
pub struct BatchReport<'a> {
    pub shard: ShardId,
    pub records: usize,
    /// Records by input, in the order of the configuration.
    pub reads: &'a [usize],
    pub counts: &'a Counts,
    pub decoded: DecodeCounts,
    pub dead_letters: &'a [DeadLetter],
    pub changes: usize,
    /// By what the clock lags behind wall time after the batch.
    pub clock_delay: Millis,
}

/// Turns in the life of a shard.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    Assigned,
    /// Its state is being computed again.
    Restoring,
    /// It has no past: begins at the start of the logs.
    Fresh,
    Running {
        /// Since it was assigned.
        took: Millis,
        batches: u64,
        records: u64,
    },
    /// Another set of definitions, or the same under another time-zone database, comes into force.
    Activating {
        set: SetHash,
        before: SetHash,
        /// The version of the time-zone database, and that of the one before.
        zones: &'static str,
        zones_before: &'static str,
        /// The activation clock.
        at: Timestamp,
    },
    /// It has come to every customer.
    Activated {
        set: SetHash,
    },
    /// A transaction of the former owner is open and holds us up; it is being ended.
    EndingTransaction {
        transactional_id: &'a str,
    },
    /// A timer is due, but the log is not proved to be read to its end.
    ClockStands,
    /// What stood still goes on.
    ClockMoves,
    /// Given back in order, everything committed.
    Released,
    /// Given back with something decided that was not committed in time; the next owner decides it again.
    Abandoned,
    /// The group has moved on without us.
    Lost,
    /// It stands still.
    Stopped(&'a Stop),
}
