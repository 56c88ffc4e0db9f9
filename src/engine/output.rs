//! What comes out of the engine, appended to a buffer that the caller owns.

use crate::ids::Position;
use crate::model::{Change, DeadLetterReason, Membership};
use crate::time::Timestamp;

/// Outputs of one `apply`, in the order of application per customer.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    pub changes: Vec<Published>,
    pub dead_letters: Vec<DeadLetter>,
    /// Estimate of the encoded size of all outputs, in bytes; deterministic, the measure of the output budget.
    pub bytes: usize,
    pub counts: Counts,
}

/// A change with the membership that it leaves behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    pub change: Change,
    /// `None`: the membership ended (the compacted topic gets a null).
    pub membership: Option<Membership>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub position: Position,
    pub reason: DeadLetterReason,
    /// What was found, for people; names the property of a wrong type.
    pub detail: Box<str>,
}

/// What happened beside the outputs; the edge turns it into metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records applied, dead letters and ignored ones included.
    pub records: u64,
    pub events: u64,
    pub duplicates: u64,
    /// A known id with another body.
    pub conflicts: u64,
    /// Ids that left the duplicate window early because a customer had too many.
    pub ids_evicted: u64,
    pub ignored_events: u64,
    /// Cart events applied in arrival order because they came after the reorder buffer.
    pub cart_late: u64,
    pub cart_overflow: u64,
    /// Events that a sequence left out because they came after the reorder buffer and out of order.
    pub sequence_late_ignored: u64,
    /// Events of sequences that could not be put in order again any more because too many were within the reorder buffer.
    pub sequence_overflow: u64,
    /// Timers that fired and changed something / that were only looked at.
    pub timers_fired: u64,
    pub timers_idle: u64,
    pub sums_saturated: u64,
    pub new_customers: u64,
}

/// How far an `apply` came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The clock after it.
    pub clock: Timestamp,
    /// Set where the output budget was full before all due timers had fired: the next `apply`, even of an empty batch, goes on here if it
    /// is given the same `idle_until`. A restored engine finds the same place by itself, since the budget is deterministic.
    pub cursor: Option<HerdCursor>,
    /// Whether the durable state, outputs included, differs from before: false means the batch need not be journaled.
    pub changed: bool,
}

/// The next due timer that has not fired: (deadline, customer hash).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HerdCursor {
    pub deadline: Timestamp,
    pub customer_hash: u64,
}
