//! The sans-IO core for one shard: `apply(batch) -> outputs`, and the next instant at which it wants to be woken.
//!
//! Owns every rule about when a membership changes (LANGUAGE.md 8). No I/O, no clock, no randomness, no async; equal inputs give equal
//! outputs in equal order, so nothing here may depend on the iteration order of a hash map.
//!
//! **Order.** Customers do not influence one another, so order is promised per customer: before a record of c is applied, the timers
//! that c owes (deadline + settle before its arrival) fire; those of other customers fire at the end of the batch, in the order
//! (deadline, customer hash), under the output budget.

mod apply;
pub mod batch;
mod calendar;
pub mod cart;
mod consent;
mod customer;
pub mod dedup;
mod evaluate;
mod explain;
pub mod features;
mod feed;
mod filter;
mod linear;
mod machine;
mod motion;
pub mod output;
mod program;
mod reason;
pub mod score;
mod sequences;
mod snapshot;
pub mod store;
mod subsets;
mod terms;
pub mod timers;
mod value;

use std::sync::Arc;

use crate::ids::DefinitionIndex;
use crate::model::Membership;
use crate::plan::Plan;
use crate::time::{Millis, Timestamp};

use evaluate::Work;
use feed::Feeder;
use machine::Agenda;
use program::Program;
use store::Store;
use timers::Timers;

pub use batch::{Batch, Body, Datum, Record};
pub use output::{Applied, Counts, DeadLetter, HerdCursor, Outputs, Published};
pub use snapshot::LoadError;

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
    /// Bytes of [`Outputs::bytes`] that the timers of one `apply` put out before the rest of those that are due wait for the next.
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
    program: Program,
    clock: Timestamp,
    /// By [`DefinitionIndex`].
    members: Vec<u64>,
    /// Customers with an armed timer.
    armed: usize,
    store: Store,
    timers: Timers,
    work: Work,
    agenda: Agenda,
    feeder: Feeder,
    /// Units that would turn at the present millisecond without the record.
    without: Vec<machine::Without>,
    buffer: Vec<u8>,
    temporary: Vec<u8>,
}

impl Engine {
    /// An engine that has seen nothing; its clock stands before every instant.
    pub fn new(plan: Arc<Plan>, settings: Settings) -> Engine {
        let members = vec![0; plan.workspace().definitions.len()];
        let program = Program::new(plan, settings);
        Engine {
            work: Work::new(&program),
            feeder: Feeder::new(&program),
            program,
            clock: Timestamp::MIN,
            members,
            armed: 0,
            store: Store::new(),
            timers: Timers::new(),
            agenda: Agenda::default(),
            without: Vec::new(),
            buffer: Vec::new(),
            temporary: Vec::new(),
        }
    }

    /// The first instant at which a timer may be due; never too late, perhaps too early.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.timers.next_deadline()
    }

    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    pub fn plan(&self) -> &Arc<Plan> {
        &self.program.plan
    }

    pub fn customers(&self) -> usize {
        self.store.len()
    }

    /// Customers with an armed timer.
    pub fn armed(&self) -> usize {
        self.armed
    }

    /// Members per definition, by [`DefinitionIndex`].
    pub fn members(&self) -> &[u64] {
        &self.members
    }

    pub fn members_of(&self, definition: DefinitionIndex) -> u64 {
        self.members[definition.at()]
    }

    /// Present memberships of a customer as they were published, in the order of definitions; empty for an unknown one.
    pub fn memberships(&self, customer: &str) -> Vec<Membership> {
        match self.look_at(customer) {
            Some(work) => machine::memberships(&self.program, &work),
            None => Vec::new(),
        }
    }

    /// The customer's state in words, for people.
    pub fn describe(&self, customer: &str) -> String {
        match self.look_at(customer) {
            Some(mut work) => explain::describe(&self.program, &mut work, self.clock),
            None => format!("{customer}: no record so far\n"),
        }
    }

    /// A customer in scratch of its own, so that looking disturbs nothing.
    fn look_at(&self, customer: &str) -> Option<Work> {
        let slot = self.store.find(batch::customer_hash(customer), customer)?;
        let mut work = Work::new(&self.program);
        work.take(slot, customer, self.store.get(slot)).then_some(work)
    }

    /// Bytes that are kept of a customer, without the store's overhead; 0 for an unknown one.
    pub fn bytes_of(&self, customer: &str) -> usize {
        self.store.find(batch::customer_hash(customer), customer).map_or(0, |slot| self.store.get(slot).len())
    }

    /// What the bytes of a customer are spent on, each feature by itself; for people.
    pub fn bytes_by_part(&self, customer: &str) -> Vec<(String, usize)> {
        self.look_at(customer).map_or_else(Vec::new, |work| explain::bytes_by_part(&self.program, &work))
    }

    /// Bytes of heap for customers, index and timers.
    pub fn memory(&self) -> usize {
        self.store.memory() + self.timers.memory()
    }
}

#[cfg(test)]
mod stepping_tests;
#[cfg(test)]
mod tests;
