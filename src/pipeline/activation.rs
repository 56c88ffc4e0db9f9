//! Which definitions are in force in a shard, and how others come into force (LANGUAGE.md S12, S38).
//!
//! A shard changes over by itself, between two batches, and says so in its journal; whatever it waits for (proof that the log is read up to the
//! present, the scan of the change before, a plan that has to be compiled) it goes on meanwhile under what is in force.

use std::sync::Arc;

use super::client::{Client, LaneId};
use super::decoder::Decoder;
use super::sets::{self, Sets};
use super::settings::Settings;
use super::shard::Shard;
use super::sink::{Notice, Sink};
use super::stop::Stop;
use crate::engine::{Activated, Engine};
use crate::ids::{BatchNumber, Edition};
use crate::plan::Plan;
use crate::time::{Millis, Timestamp};
use crate::wire::journal::JournalActivation;

/// How long a change of definitions waits for the proof that the log is read up to the present, so that it happens now and not at the last
/// record of an idle shard. A shard that lags has no such proof, and its clock is where it is.
const ACTIVATION_WAIT: Millis = Millis(2_000);

impl Shard {
    /// Begins with an empty engine under that set.
    pub fn start_with(&mut self, settings: &Settings, plan: Arc<Plan>) {
        if plan.edition() != self.plan.edition() {
            self.engine = Engine::new(plan.clone(), settings.engine.clone());
            self.adopt(settings, plan);
        }
    }

    fn adopt(&mut self, settings: &Settings, plan: Arc<Plan>) {
        self.decoders = Decoder::all(settings, &plan, self.id);
        self.plan = plan;
    }

    /// Puts another plan in force at the beginning of the batch of that number. The engine and the decoders change together: what is decoded
    /// from here on is for the new set.
    pub fn activate(&mut self, settings: &Settings, plan: Arc<Plan>, at: Timestamp, number: BatchNumber) {
        let Edition { set, zones } = plan.edition();
        let activated = self.engine.activate(plan.clone(), at, number.0);
        assert_eq!(activated, Ok(Activated::Begun), "set {set} of shard {} at batch {number}", self.id);
        self.adopt(settings, plan);
        self.activation = Some(JournalActivation { set, zones: Some(zones), at });
        *self.warming.get_mut() = None;
    }

    /// Puts in force what is to be, where nothing speaks against it yet.
    ///
    /// **Errors:** it cannot be had.
    pub fn change_set<C: Client, S: Sink>(
        &mut self,
        settings: &Settings,
        sets: &mut Sets,
        client: &C,
        sink: &mut S,
        now: Timestamp,
        questions: &mut Vec<LaneId>,
    ) -> Result<(), Stop> {
        if !sets.differs_from(&self.plan) {
            self.aims_since = None;
            return Ok(());
        }
        // What was published before this shard was taken over may be what its former owner has put in force already.
        if sets.as_of < self.running_since || self.scan.is_some() || self.herd.is_some() {
            return Ok(());
        }
        let since = *self.aims_since.get_or_insert(now);
        let wanted = since - settings.clock_guard;
        let proved = self.inputs.proved_until(client, settings.clock_guard, wanted, now, questions);
        if proved.is_none_or(|at| at < wanted) && now - since < ACTIVATION_WAIT {
            return Ok(());
        }
        let Some(plan) = sets.next_after(&self.plan)? else {
            return Ok(());
        };
        let at = proved.map_or(self.engine.clock(), |at| at.max(self.engine.clock()));
        self.aims_since = None;
        let (before, zones_before) = (sets::hash(&self.plan), self.plan.zones.database.version());
        self.activate(settings, plan, at, BatchNumber(self.number.0 + 1));
        let (set, zones) = (sets::hash(&self.plan), self.plan.zones.database.version());
        sink.notice(self.id, &Notice::Activating { set, before, zones, zones_before, at });
        Ok(())
    }
}
