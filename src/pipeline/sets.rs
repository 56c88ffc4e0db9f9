//! The sets of definitions that a worker knows, and the one that is to be in force (LANGUAGE.md S38).
//!
//! A worker is told of them and never reads or compiles one: whoever steps it asks [`super::Worker::wanted`], answers with
//! [`super::Worker::learn`], and says with [`super::Worker::aim`] what the definitions topic holds as its newest. Each shard puts that in force
//! by itself, at a batch boundary that its journal records, so the journal alone says what was in force when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::SetHash;
use crate::plan::Plan;
use crate::time::Timestamp;

/// What a worker knows of the definitions topic.
pub(super) struct Sets {
    /// Why a set cannot be had stands in its place.
    known: BTreeMap<SetHash, Result<Arc<Plan>, Box<str>>>,
    /// To be in force.
    pub target: Arc<Plan>,
    /// Everything that was published before this instant is known; an older set in its place would undo what another owner did.
    pub as_of: Timestamp,
    wanted: BTreeSet<SetHash>,
    asked: BTreeSet<SetHash>,
}

/// The hash of a plan's set.
pub(super) fn hash(plan: &Plan) -> SetHash {
    plan.workspace().hash
}

impl Sets {
    pub fn new(plan: Arc<Plan>) -> Sets {
        let known = BTreeMap::from([(hash(&plan), Ok(plan.clone()))]);
        Sets { known, target: plan, as_of: Timestamp::MIN, wanted: BTreeSet::new(), asked: BTreeSet::new() }
    }

    pub fn aim(&mut self, plan: Arc<Plan>, as_of: Timestamp) {
        if as_of >= self.as_of {
            self.known.insert(hash(&plan), Ok(plan.clone()));
            (self.target, self.as_of) = (plan, as_of);
        }
    }

    pub fn learn(&mut self, set: SetHash, plan: Result<Arc<Plan>, String>) {
        self.asked.remove(&set);
        if let Ok(plan) = &plan {
            assert_eq!(hash(plan), set, "the plan of another set");
        }
        self.known.insert(set, plan.map_err(String::into_boxed_str));
    }

    /// A set by its hash; where it is not known it is asked for.
    ///
    /// **Errors:** why it cannot be had.
    pub fn get(&mut self, set: SetHash) -> Result<Option<Arc<Plan>>, String> {
        match self.known.get(&set) {
            Some(Ok(plan)) => Ok(Some(plan.clone())),
            Some(Err(why)) => Err(why.to_string()),
            None => {
                if !self.asked.contains(&set) {
                    self.wanted.insert(set);
                }
                Ok(None)
            }
        }
    }

    /// What is to be asked for; each set once.
    pub fn take_wanted(&mut self) -> Vec<SetHash> {
        let wanted: Vec<SetHash> = std::mem::take(&mut self.wanted).into_iter().collect();
        self.asked.extend(&wanted);
        wanted
    }

    /// Lets go of sets that nothing needs at present: plans are large.
    pub fn keep(&mut self, used: impl Fn(SetHash) -> bool) {
        let target = hash(&self.target);
        if self.known.len() > 1 {
            self.known.retain(|set, _| *set == target || used(*set));
        }
    }
}
