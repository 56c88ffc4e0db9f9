//! The sans-IO core for one shard: `apply(batch) -> outputs`, and the next instant at which it wants to be woken.
//!
//! Owns every rule about when a membership changes (LANGUAGE.md 8). No I/O, no clock, no randomness, no async; equal inputs give equal
//! outputs in equal order, so nothing here may depend on the iteration order of a hash map.
//!
//! **Order.** Customers do not influence one another, so order is promised per customer: before a record of c is applied, the timers
//! that c owes (deadline + settle before its arrival) fire; those of other customers fire at the end of the batch, in the order
//! (deadline, customer hash), under the output budget.

pub mod batch;
pub mod output;

use crate::time::Millis;

/// Settings that decide outcomes (LANGUAGE.md 8.12); the same in a replay, so they are part of the journal's engine version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `None`: off (import, back-test).
    pub max_age: Option<Millis>,
    pub max_future_skew: Millis,
    pub reorder_buffer: Millis,
    pub duplicate_window: Millis,
    /// Overrides the workspace's.
    pub session_gap: Option<Millis>,
    pub exact_entries: usize,
    /// Bytes of [`Outputs::bytes`] after which due timers wait for the next `apply`.
    pub output_budget: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_age: Some(Millis(30 * Millis::DAY.0)),
            max_future_skew: Millis(5 * Millis::MINUTE.0),
            reorder_buffer: Millis(10 * Millis::MINUTE.0),
            duplicate_window: Millis::HOUR,
            session_gap: None,
            exact_entries: 256,
            output_budget: 4 << 20,
        }
    }
}
