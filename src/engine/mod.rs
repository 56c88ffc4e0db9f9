//! The sans-IO core for one shard: `apply(batch) -> outputs`, and the next instant at which it wants to be woken.
//!
//! Owns every rule about when a membership changes (LANGUAGE.md 8). No I/O, no clock, no randomness, no async; equal inputs give equal
//! outputs in equal order, so nothing here may depend on the iteration order of a hash map.
//!
//! **Order.** Customers do not influence one another, so order is promised per customer: before a record of c is applied, the timers
//! that c owes (deadline + settle before its arrival) fire; those of other customers fire at the end of the batch, in the order
//! (deadline, customer hash), under the output budget.

mod activate;
mod apply;
pub mod batch;
mod calendar;
pub mod cart;
mod consent;
mod customer;
pub mod dedup;
mod evaluate;
mod explain;
mod explained;
pub mod features;
mod feed;
mod filter;
mod gaps;
mod linear;
mod machine;
mod migrate;
mod motion;
pub mod output;
mod overlap;
mod program;
mod readings;
mod reason;
mod sample;
pub mod score;
mod sequences;
mod snapshot;
pub mod store;
mod subsets;
mod terms;
pub mod timers;
mod until;
mod value;
mod warming;

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

pub use activate::{Activated, Busy, Warming};
pub use batch::{Batch, Body, Datum, Record};
pub use explained::{Condition, Explanation, Next, Part, Segment};
pub use output::{Applied, Counts, DeadLetter, HerdCursor, Outputs, Published, ScanCursor};
pub use snapshot::{LoadError, SavedSets};

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
    /// Customers that one `apply` brings through a change of definitions, beside those that its records reach.
    pub scan_customers: usize,
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
            scan_customers: 512,
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
    /// Which of two plans the numbers of a customer's bytes are of; differs from the customers' only while a scan runs.
    generation: u8,
    activation: Option<Box<activate::Activation>>,
    /// By feature: the clock of the activation with which it came or grew, where customers were there before.
    lacking: Vec<Option<Timestamp>>,
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
        let lacking = vec![None; plan.features.len()];
        let program = Program::new(plan, settings);
        Engine {
            work: Work::new(&program),
            feeder: Feeder::new(&program),
            program,
            clock: Timestamp::MIN,
            members,
            armed: 0,
            generation: 0,
            activation: None,
            lacking,
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
            Some((program, work)) => machine::memberships(program, &work),
            None => Vec::new(),
        }
    }

    /// The customer's state in words, for people.
    pub fn describe(&self, customer: &str) -> String {
        match self.look_at(customer) {
            Some((program, mut work)) => explain::describe(program, &mut work, self.clock),
            None => format!("{customer}: no record so far\n"),
        }
    }

    /// Whether nothing that the customer's state lacks after a change of definitions matters for a segment now; false for an unknown customer.
    pub fn is_known(&self, customer: &str, definition: DefinitionIndex) -> bool {
        let Some((program, mut work)) = self.look_at(customer) else { return false };
        let Some(unit) = program.plan.unit_of.get(definition.at()).copied().flatten() else { return false };
        work.new_pass();
        work.is_known(program, unit, self.clock)
    }

    /// A customer in scratch of its own, so that looking disturbs nothing, with the plan that its state is of.
    fn look_at(&self, customer: &str) -> Option<(&Program, Work)> {
        let slot = self.store.find(batch::customer_hash(customer), customer)?;
        let program = self.program_of(self.store.get(slot));
        let mut work = Work::new(program);
        work.take(slot, customer, self.store.get(slot)).then_some((program, work))
    }

    /// The plan of a customer's stored bytes.
    fn program_of(&self, bytes: &[u8]) -> &Program {
        match &self.activation {
            Some(activation) if self.is_behind(bytes) => &activation.before,
            _ => &self.program,
        }
    }

    /// Bytes that are kept of a customer, without the store's overhead; 0 for an unknown one.
    pub fn bytes_of(&self, customer: &str) -> usize {
        self.store.find(batch::customer_hash(customer), customer).map_or(0, |slot| self.store.get(slot).len())
    }

    /// What the bytes of a customer are spent on, each feature by itself; for people.
    pub fn bytes_by_part(&self, customer: &str) -> Vec<(String, usize)> {
        self.look_at(customer).map_or_else(Vec::new, |(program, work)| explain::bytes_by_part(program, &work))
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
