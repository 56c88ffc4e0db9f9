//! The sans-IO core for one shard: `apply(batch) -> outputs`, and the next instant at which it wants to be woken.
//!
//! Owns every rule about when a membership changes (LANGUAGE.md 8). No I/O, no clock, no randomness, no async; equal inputs give equal
//! outputs in equal order, so nothing here may depend on the iteration order of a hash map.
//!
//! **Order.** Customers do not influence one another, so order is promised per customer: before a record of c is applied, the timers
//! that c owes (deadline + settle before its arrival) fire; those of other customers fire at the end of the batch, in the order
//! (deadline, customer hash), under the output budget.

pub mod batch;
pub mod cart;
pub mod dedup;
pub mod features;
pub mod output;
pub mod score;
pub mod store;
pub mod timers;

use std::sync::Arc;

use crate::ids::DefinitionIndex;
use crate::model::Membership;
use crate::plan::Plan;
use crate::time::{Millis, Timestamp};

pub use batch::{Batch, Body, Datum, Record};
pub use output::{Applied, Counts, DeadLetter, HerdCursor, Outputs, Published};

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

/// The engine of one shard.
pub struct Engine {
    plan: Arc<Plan>,
    settings: Settings,
    clock: Timestamp,
    /// By [`DefinitionIndex`].
    members: Vec<u64>,
}

/// Why a saved engine cannot be loaded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LoadError {
    /// Written by another version of the engine, or under other definitions: restore by replay instead.
    #[error("saved state is of another version or of other definitions")]
    Version,
    /// The bytes are no saved state: use an older snapshot.
    #[error("saved state is damaged at byte {at}")]
    Damaged { at: usize },
}

impl Engine {
    /// An engine that has seen nothing; its clock stands before every instant.
    pub fn new(plan: Arc<Plan>, settings: Settings) -> Engine {
        let members = vec![0; plan.workspace().definitions.len()];
        Engine { plan, settings, clock: Timestamp::MIN, members }
    }

    /// Applies the records in order, then fires timers: those before the clock and, with `idle_until`, those up to and including it.
    pub fn apply(&mut self, batch: &Batch, idle_until: Option<Timestamp>, outputs: &mut Outputs) -> Applied {
        let _ = (batch, idle_until, outputs, &self.settings);
        Applied { clock: self.clock, cursor: None, changed: false }
    }

    /// The first instant at which a timer may be due; never too late, perhaps too early.
    pub fn next_wake(&self) -> Option<Timestamp> {
        None
    }

    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    pub fn customers(&self) -> usize {
        0
    }

    /// Customers with an armed timer.
    pub fn armed(&self) -> usize {
        0
    }

    /// Members per definition, by [`DefinitionIndex`].
    pub fn members(&self) -> &[u64] {
        &self.members
    }

    pub fn members_of(&self, definition: DefinitionIndex) -> u64 {
        self.members[definition.at()]
    }

    /// Hash of the durable state: a sum over customers, so their order does not matter; the clock is in it, what is derived is not.
    pub fn digest(&self) -> u128 {
        0
    }

    /// Appends the whole state.
    pub fn save(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.clock.0.to_le_bytes());
    }

    /// The engine that [`Engine::save`] wrote.
    pub fn load(plan: Arc<Plan>, settings: Settings, bytes: &[u8]) -> Result<Engine, LoadError> {
        let clock = bytes.try_into().map(i64::from_le_bytes).map_err(|_| LoadError::Damaged { at: 0 })?;
        let mut engine = Engine::new(plan, settings);
        engine.clock = Timestamp(clock);
        Ok(engine)
    }

    /// Present memberships of a customer, in the order of definitions; empty for an unknown one.
    pub fn memberships(&self, customer: &str) -> Vec<Membership> {
        let _ = customer;
        Vec::new()
    }

    /// The customer's state in words, for people.
    pub fn describe(&self, customer: &str) -> String {
        format!("{customer}: unknown customer\n")
    }

    /// Bytes of heap for customers, index and timers.
    pub fn memory(&self) -> usize {
        0
    }
}
