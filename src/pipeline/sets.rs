//! The sets of definitions that a worker knows, and the one that is to be in force (LANGUAGE.md S38).
//!
//! A worker is told of them and never reads or compiles one: whoever steps it asks [`super::Worker::wanted`], answers with
//! [`super::Worker::learn`], and says with [`super::Worker::aim`] what the definitions topic holds as its newest. Each shard puts that in force
//! by itself, at a batch boundary that its journal records, so the journal alone says what was in force when. The time-zone database that a
//! plan was compiled with is part of what is in force, and a newer one comes into force the same way (LANGUAGE.md S12).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::stop::Stop;
use crate::ids::{Edition, SetHash};
use crate::plan::Plan;
use crate::time::Timestamp;

/// What a worker knows of the definitions topic.
pub(super) struct Sets {
    /// Why a set cannot be had stands in its place.
    known: BTreeMap<Edition, Result<Arc<Plan>, Box<str>>>,
    /// To be in force.
    pub target: Arc<Plan>,
    /// Everything that was published before this instant is known; an older set in its place would undo what another owner did.
    pub as_of: Timestamp,
    wanted: BTreeSet<Edition>,
    asked: BTreeSet<Edition>,
}

/// The hash of a plan's set.
pub(super) fn hash(plan: &Plan) -> SetHash {
    plan.workspace().hash
}

impl Sets {
    pub fn new(plan: Arc<Plan>) -> Sets {
        let known = BTreeMap::from([(plan.edition(), Ok(plan.clone()))]);
        Sets { known, target: plan, as_of: Timestamp::MIN, wanted: BTreeSet::new(), asked: BTreeSet::new() }
    }

    pub fn aim(&mut self, plan: Arc<Plan>, as_of: Timestamp) {
        if as_of >= self.as_of {
            self.known.insert(plan.edition(), Ok(plan.clone()));
            (self.target, self.as_of) = (plan, as_of);
        }
    }

    pub fn learn(&mut self, edition: Edition, plan: Result<Arc<Plan>, String>) {
        self.asked.remove(&edition);
        if let Ok(plan) = &plan {
            assert_eq!(plan.edition(), edition, "another plan than was asked for");
        }
        self.known.insert(edition, plan.map_err(String::into_boxed_str));
    }

    /// The plan of an edition; where it is not known it is asked for.
    ///
    /// **Errors:** it cannot be had.
    pub fn get(&mut self, edition: &Edition) -> Result<Option<Arc<Plan>>, Stop> {
        match self.known.get(edition) {
            Some(Ok(plan)) => Ok(Some(plan.clone())),
            Some(Err(why)) => Err(Stop::Definitions { edition: edition.clone(), why: why.to_string() }),
            None => {
                if !self.asked.contains(edition) {
                    self.wanted.insert(edition.clone());
                }
                Ok(None)
            }
        }
    }

    /// Whether another plan than this one is to be in force: the target's set, under its time-zone database where that is newer. Never under
    /// an older one: instances of two builds would else take a shard to and fro with every change of its owner, and publish each time.
    pub fn differs_from(&self, plan: &Plan) -> bool {
        hash(&self.target) != hash(plan) || self.target.zones.database.version() > plan.zones.database.version()
    }

    /// The plan that is to be in force after this one; `Ok(None)`: it is asked for.
    ///
    /// **Errors:** it cannot be had.
    pub fn next_after(&mut self, plan: &Plan) -> Result<Option<Arc<Plan>>, Stop> {
        let zones = plan.zones.database.version();
        if self.target.zones.database.version() >= zones {
            return Ok(Some(self.target.clone()));
        }
        self.get(&Edition { set: hash(&self.target), zones: zones.into() })
    }

    /// What is to be asked for; each once.
    pub fn take_wanted(&mut self) -> Vec<Edition> {
        let wanted: Vec<Edition> = std::mem::take(&mut self.wanted).into_iter().collect();
        self.asked.extend(wanted.iter().cloned());
        wanted
    }

    /// Lets go of plans that nothing needs at present: they are large.
    pub fn keep(&mut self, used: impl Fn(&Edition) -> bool) {
        let target = hash(&self.target);
        if self.known.len() > 1 {
            // The target under the zones of others is about to be in force.
            self.known.retain(|edition, _| edition.set == target || used(edition));
        }
    }
}
