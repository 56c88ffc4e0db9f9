//! What comes out of the engine, appended to a buffer that the caller owns.

use crate::ids::Position;
use crate::model::{Change, DeadLetterReason, Membership, Value};
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
    /// Keys of `per` that were forgotten because a customer used too many others since.
    pub keys_evicted: u64,
    pub ignored_events: u64,
    /// Cart events applied in arrival order because they came after the reorder buffer.
    pub cart_late: u64,
    pub cart_overflow: u64,
    /// Events that a sequence left out because they came after the reorder buffer and out of order.
    pub sequence_late_ignored: u64,
    /// Events of sequences that could not be put in order again any more because too many were within the reorder buffer.
    pub sequence_overflow: u64,
    /// Cart events that can be folded again no more because a customer had too many of them, or too many lines in them.
    pub cart_settled: u64,
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
    /// Set where the output budget is full: the next `apply`, even of an empty batch, goes on behind it if it is given the same
    /// `idle_until`. A restored engine finds the same place by itself, since the budget is deterministic.
    pub cursor: Option<HerdCursor>,
    /// Whether the durable state, outputs included, differs from before: false means the batch need not be journaled.
    pub changed: bool,
    /// Set while a change of definitions has not come to every customer: the next `apply`, even of an empty batch, goes on here. As with
    /// `cursor` a restored engine finds the place by itself.
    pub scan: Option<ScanCursor>,
}

/// Where the scan after a change of definitions goes on: customers with a smaller hash have been seen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScanCursor {
    pub customer_hash: u64,
}

/// The timer that fired last: (deadline, customer hash).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HerdCursor {
    pub deadline: Timestamp,
    pub customer_hash: u64,
}

/// A field of `emit`, or a missing value where it would make the whole larger than `room`, which goes down by what the field takes. Decided
/// here and not when it is written, so that a change, the membership and the stored state agree in every format.
pub(super) fn fitting(name: &str, value: Value, room: &mut usize) -> Value {
    const MISSING: usize = 4;
    let bytes = json_bytes(name) + 2 + value_bytes(&value);
    let value = if bytes > *room { Value::Missing } else { value };
    *room = room.saturating_sub(if value == Value::Missing { json_bytes(name) + 2 + MISSING } else { bytes });
    value
}

/// Bytes that a value takes at most as it is written: JSON is the longest of the formats.
fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) => json_bytes(text),
        Value::List(items) | Value::Record(items) => items.iter().map(|v| value_bytes(v) + 1).sum::<usize>() + 2,
        // Doubles are written without exponent.
        Value::Geo { .. } => 720,
        _ => 64,
    }
}

/// A text in quotes, with what JSON has to escape.
fn json_bytes(text: &str) -> usize {
    let escaped = |b: u8| match b {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum::<usize>() + 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::EMIT_BYTES_MAX;

    #[test]
    fn a_field_that_does_not_fit_is_missing_and_later_ones_may_fit() {
        let mut room = EMIT_BYTES_MAX;
        let long = Value::Text("\u{1}".repeat(4_000).into());
        assert_eq!(fitting("a", long.clone(), &mut room), long);
        assert_eq!(fitting("b", long.clone(), &mut room), Value::Missing);
        assert_eq!(fitting("c", Value::Int(1), &mut room), Value::Int(1));
        assert!(room < EMIT_BYTES_MAX - 24_000 && room > EMIT_BYTES_MAX - 24_200, "{room}");
        assert_eq!(fitting("d", Value::List(vec![long]), &mut room), Value::Missing);
    }
}
