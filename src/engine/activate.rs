//! Another set of definitions while running, or the same under another time-zone database (LANGUAGE.md S12, S38, S39, R56, R63).
//!
//! An activation is one step of every customer at one clock. The work of it is spread: each `apply` goes on with the scan over all customers
//! in the order (hash, id), some hundreds at a time and within the output budget, and a customer whom a record reaches before the scan
//! goes through the step before that record. Both make the same changes, so per customer nothing depends on how the scan was cut. Timers never bring
//! a customer forward, since how often one is looked at is no durable fact: those of customers that the scan has not reached wait for it,
//! which leaves `since` and `decided_at` what they are.
//!
//! The step: timers before the activation clock fire under the old set; members of segments that are gone exit, by name; the state moves to the
//! numbers of the new plan ([`super::migrate`]); units that are new or mean something else are looked at.
//!
//! **Alternatives.** Migrating everybody at once would stall live records; keeping both plans and choosing per customer for good would cost
//! every event. A mark per customer (one bit of its bytes) says which plan its numbers are of; it is looked at only while a scan runs.

use std::sync::Arc;

use super::customer;
use super::evaluate::Work;
use super::feed::Feeder;
use super::machine::{self, ActivationStep, Agenda, Step};
use super::migrate::Migration;
use super::output::{Outputs, ScanCursor};
use super::program::{Program, Spec, State};
use super::store::CHUNKS;
use super::{Counts, Engine};
use crate::ids::DefinitionIndex;
use crate::plan::Plan;
use crate::plan::feature::FeatureId;
use crate::plan::node::{UnitId, UnitKind};
use crate::time::Timestamp;

/// What an activation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activated {
    /// The set in force means the same: nothing happens.
    Same,
    /// The set is in force; see [`Engine::is_activating`].
    Begun,
}

/// The scan of the activation before has not come to every customer; ask again when it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the definitions before are still coming into force")]
pub struct Busy;

/// A segment whose conditions are not known for every customer yet (LANGUAGE.md S39).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warming {
    pub definition: DefinitionIndex,
    /// The instant from which they are; `None`: never for customers who were there before, since a window has no end.
    pub until: Option<Timestamp>,
}

/// An activation that has not come to every customer.
pub(super) struct Activation {
    /// The plan before, for customers that have not been reached.
    pub before: Program,
    pub work: Work,
    migration: Migration,
    pub at: Timestamp,
    pub number: u64,
    /// By definition of the set before: members as the new count has them.
    members: Vec<u64>,
    /// The next chunk of customers to be listed.
    chunk: usize,
    /// The rest of the present chunk, the next customer last.
    ahead: Vec<(u64, u32)>,
    agenda: Agenda,
}

impl Engine {
    /// Puts another set of definitions in force at a batch boundary. Publishes nothing itself: the changes come with the applies that follow,
    /// for each customer before anything else that happens to it.
    ///
    /// `at` is the activation clock: the engine's clock, or a later instant up to which the log is known to be read (as for an idle move); the
    /// clock moves there. `number` goes into the ids of changes: it must differ between the activations of one shard and be the same in a
    /// replay. Records have to be decoded with the new plan's schema from here on.
    ///
    /// **Errors:** [`Busy`] while [`is_activating`](Self::is_activating).
    ///
    /// **Cost:** linear in the two plans.
    pub fn activate(&mut self, plan: Arc<Plan>, at: Timestamp, number: u64) -> Result<Activated, Busy> {
        if self.program.plan.edition() == plan.edition() {
            return Ok(Activated::Same);
        }
        if self.activation.is_some() {
            return Err(Busy);
        }
        self.clock = self.clock.max(at);
        let lacking = self.lacking.clone();
        let clock = self.clock;
        if self.store.is_empty() {
            self.begin(plan, clock, number);
            self.activation = None;
            return Ok(Activated::Begun);
        }
        self.generation ^= 1;
        self.begin(plan, clock, number);
        if let Some(activation) = &self.activation {
            let migration = &activation.migration;
            for (old, at) in lacking.into_iter().enumerate() {
                if let Some(new) = migration.feature(old as FeatureId) {
                    self.lacking[new as usize] = at;
                }
            }
            for feature in migration.widened() {
                // Cart and lists, which come after the plan's features, lack nothing.
                if let Some(at) = self.lacking.get_mut(feature as usize) {
                    *at = Some(clock);
                }
            }
        }
        Ok(Activated::Begun)
    }

    /// Puts a plan in force for everybody who is met from here on, and keeps the one before for the others.
    pub(super) fn begin(&mut self, plan: Arc<Plan>, at: Timestamp, number: u64) -> &mut Activation {
        let program = Program::new(plan, self.program.settings.clone());
        let migration = Migration::new(&self.program, &program);
        let mut members = vec![0; program.plan.workspace().definitions.len()];
        for (old, new) in migration.definitions.iter().enumerate() {
            if let Some(new) = new {
                members[new.at()] = self.members[old];
            }
        }
        self.lacking = vec![None; program.plan.features.len()];
        self.feeder = Feeder::new(&program);
        let work = std::mem::replace(&mut self.work, Work::new(&program));
        let before = std::mem::replace(&mut self.program, program);
        let members = std::mem::replace(&mut self.members, members);
        self.activation.insert(Box::new(Activation::new((before, work), migration, (at, number), members)))
    }

    /// Whether there are customers to whom the set in force has not come yet.
    pub fn is_activating(&self) -> bool {
        self.activation.is_some()
    }

    /// Segments of which not everything is known for every customer, and until when; in the order of definitions.
    pub fn warming(&self) -> Vec<Warming> {
        let plan = &self.program.plan;
        let mut out = Vec::new();
        for unit in &plan.units {
            let UnitKind::Segment(segment) = &unit.kind else { continue };
            let mut until = Some(self.clock);
            for feature in self.program.reads(segment) {
                let Some(at) = self.lacking.get(feature as usize).copied().flatten() else { continue };
                until = until.zip(plan.horizons[feature as usize]).map(|(until, horizon)| until.max(at + horizon));
            }
            if until.is_none_or(|until| until > self.clock) {
                out.push(Warming { definition: segment.definition, until });
            }
        }
        out
    }

    /// The next customer of the scan.
    pub(super) fn scan_cursor(&self) -> Option<ScanCursor> {
        let activation = self.activation.as_ref()?;
        let customer_hash = activation.ahead.last().map_or((activation.chunk as u64) << 56, |(hash, _)| *hash);
        Some(ScanCursor { customer_hash })
    }

    /// Whether stored bytes are those of a customer to whom the set in force has not come.
    pub(super) fn is_behind(&self, bytes: &[u8]) -> bool {
        self.activation.is_some() && customer::generation(bytes) != self.generation
    }

    /// Goes on with the scan. Returns whether it did anything.
    pub(super) fn scan(&mut self, out: &mut Outputs) -> bool {
        if self.activation.is_none() {
            return false;
        }
        let start = out.bytes;
        let mut left = self.program.settings.scan_customers.max(1);
        while left > 0 && out.bytes - start < self.program.settings.output_budget.max(1) {
            let Some(activation) = &mut self.activation else { break };
            let Some((hash, slot)) = activation.ahead.pop() else {
                if activation.chunk == CHUNKS {
                    self.activation = None;
                    break;
                }
                activation.ahead = self.store.chunk_backwards(activation.chunk);
                activation.chunk += 1;
                continue;
            };
            if !self.is_behind(self.store.get(slot)) {
                continue;
            }
            left -= 1;
            self.migrate(slot, out);
            self.put_back(Some(slot), hash, Timestamp::MIN);
        }
        true
    }

    /// Takes a customer who is behind and brings it through the activation.
    pub(super) fn migrate(&mut self, slot: u32, out: &mut Outputs) {
        let Some(mut activation) = self.activation.take() else { return };
        let ok = activation.work.take(slot, self.store.id(slot), self.store.get(slot));
        assert!(ok, "state of customer {:?} does not read back", self.store.id(slot));
        if activation.work.customer.armed != Timestamp::MAX {
            // What is armed is left to go stale.
            self.armed -= 1;
        }
        activation.before_the_clock(&mut self.members, out);
        let created = std::mem::take(&mut activation.migration.created);
        let step = ActivationStep { at: activation.at, number: activation.number, created: &created };
        let a = &mut *activation;
        for unit in &a.migration.deleted {
            if a.work.customer.is_member(*unit) {
                machine::dissolve(&a.before, &mut a.work, *unit, step, &mut a.members, out);
            }
        }
        let from = (&activation.before, &mut activation.work);
        activation.migration.customer(from, (&self.program, &mut self.work), activation.at, self.generation);
        self.without.clear();
        self.agenda.clear();
        activation.migration.agenda.iter().for_each(|unit| self.agenda.add(*unit));
        machine::run(&self.program, &mut self.work, &mut self.agenda, &[], Step::Activation(step), &mut self.members, out);
        activation.migration.created = created;
        self.activation = Some(activation);
    }

    /// Lets go of what is known to lack nothing any more, and of the state that no definition reads; of the customer at hand, whom a record
    /// has reached at `t`.
    pub(super) fn forget_gaps(&mut self, t: Timestamp) {
        let work = &mut self.work;
        work.customer.orphans.clear();
        if work.customer.gaps.is_empty() {
            return;
        }
        for i in 0..work.customer.gaps.len() {
            work.load(&self.program, work.customer.gaps[i].feature);
        }
        let (program, loaded) = (&self.program, &work.loaded);
        work.customer.gaps.retain(|gap| {
            let within = &program.plan.features[gap.feature as usize].within;
            if within.session || within.since.is_some() {
                return true;
            }
            let past = program.plan.horizons[gap.feature as usize].is_some_and(|horizon| t - gap.lack.until >= horizon);
            let refilled = match (&loaded[gap.feature as usize].state, &program.specs[gap.feature as usize]) {
                (State::Ring(ring), Spec::Ring { keep: super::features::Keep::Newest, capacity }) => {
                    ring.is_full_after(*capacity, gap.lack.until)
                }
                _ => false,
            };
            // A kept value of the first or last event that is unknown stays so.
            let value = matches!(loaded[gap.feature as usize].state, State::FirstLast(_));
            value || !(past || refilled)
        });
    }
}

impl Activation {
    pub fn new(before: (Program, Work), migration: Migration, (at, number): (Timestamp, u64), members: Vec<u64>) -> Activation {
        let (before, work) = before;
        let (chunk, ahead, agenda) = (0, Vec::new(), Agenda::default());
        Activation { before, work, migration, at, number, members, chunk, ahead, agenda }
    }

    /// Where a restored scan goes on: customers whose set is the new one are passed over by it anyway.
    pub fn go_on(&mut self, cursor: ScanCursor) {
        self.chunk = super::store::Store::chunk_of(cursor.customer_hash);
    }

    /// Counts a member of a segment of the set before; returns the definition of the new set that it counts for.
    pub fn count(&mut self, unit: UnitId) -> Option<DefinitionIndex> {
        let definition = self.before.plan.definition_of(unit)?;
        self.members[definition.at()] += 1;
        self.migration.definitions[definition.at()]
    }

    /// Fires what the customer owes before the activation clock, under the set of that time.
    fn before_the_clock(&mut self, members: &mut [u64], out: &mut Outputs) {
        loop {
            let deadline = self.work.customer.next_due();
            if deadline >= self.at {
                return;
            }
            self.agenda.clear();
            for (unit, until) in &self.work.customer.deadlines {
                if *until <= deadline {
                    self.agenda.add(*unit);
                }
            }
            let counted = self.members.clone();
            let step = Step::Timer { deadline };
            let stepped = machine::run(&self.before, &mut self.work, &mut self.agenda, &[], step, &mut self.members, out);
            let Counts { timers_fired, timers_idle, .. } = &mut out.counts;
            *if stepped.turned { timers_fired } else { timers_idle } += 1;
            for (old, new) in self.migration.definitions.iter().enumerate() {
                if let Some(new) = new {
                    members[new.at()] = (members[new.at()] + self.members[old]).saturating_sub(counted[old]);
                }
            }
        }
    }
}
