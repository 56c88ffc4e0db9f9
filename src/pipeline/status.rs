//! What can be seen of a shard from outside.

use std::sync::Arc;

use super::client::Client;
use super::shard::{Phase, Shard};
use crate::engine::Warming;
use crate::ids::{BatchNumber, ShardId};
use crate::plan::Plan;
use crate::time::{Millis, Timestamp};

/// How often it is looked at which segments are not known for every customer yet: it costs a pass over all definitions.
const LOOK_AGAIN: Millis = Millis(5_000);

/// A shard as it stands at this moment.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    pub shard: ShardId,
    pub phase: ShardPhase,
    /// The last batch that is visible.
    pub committed: Option<BatchNumber>,
    pub clock: Timestamp,
    /// How far the clock is behind what it could be: the earliest due timer, or unread records.
    pub clock_delay: Millis,
    /// For how long a due timer has waited for the proof that the log is read to its end.
    pub clock_unproved: Millis,
    /// Records between our positions and the ends of the inputs, as far as those are known.
    pub lag: u64,
    pub customers: usize,
    pub armed: usize,
    /// Bytes.
    pub memory: usize,
    /// By definition of `plan`.
    pub members: Vec<u64>,
    /// Of the set in force.
    pub plan: Arc<Plan>,
    /// While a change of definitions has not come to every customer: to how many of 256 parts of them it has.
    pub scanned: Option<u8>,
    /// Segments that are not known for every customer yet.
    pub warming: Vec<Warming>,
}

/// Where a shard is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardPhase {
    Queued,
    /// With the batches replayed so far.
    Restoring {
        batches: u64,
    },
    Running,
    Draining,
    /// With the reason in words, and what leads on.
    Stopped {
        why: String,
    },
}

impl ShardStatus {
    pub(super) fn of<C: Client>(shard: &Shard, client: &C, now: Timestamp) -> ShardStatus {
        let engine = &shard.engine;
        let phase = match &shard.phase {
            Phase::Queued => ShardPhase::Queued,
            Phase::Restoring(restore) => ShardPhase::Restoring { batches: restore.batches() },
            Phase::Running => ShardPhase::Running,
            Phase::Draining(_) => ShardPhase::Draining,
            Phase::Stopped(why) => ShardPhase::Stopped { why: format!("{why}; {}", why.way_out()) },
        };
        let mut warming = shard.warming.borrow_mut();
        // What is empty once stays so until the next change.
        if warming.as_ref().is_none_or(|(at, before)| !before.is_empty() && now - *at >= LOOK_AGAIN) {
            *warming = Some((now, engine.warming()));
        }
        let warming = warming.as_ref().map(|(_, warming)| warming.clone()).unwrap_or_default();
        let late = engine.next_wake().map_or(Millis::ZERO, |wake| now - wake);
        ShardStatus {
            shard: shard.id,
            phase,
            committed: shard.committed,
            clock: engine.clock(),
            clock_delay: late.max(Millis::ZERO),
            clock_unproved: shard.stands_for(now),
            lag: shard.inputs.lanes.iter().map(|lane| lane.lag(client)).sum(),
            customers: engine.customers(),
            armed: engine.armed(),
            memory: engine.memory(),
            members: engine.members().to_vec(),
            plan: shard.plan.clone(),
            scanned: shard.scan.map(|cursor| (cursor.customer_hash >> 56) as u8),
            warming,
        }
    }
}
