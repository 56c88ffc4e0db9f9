//! What may be looked at from outside while the workers run: the committed memberships of each customer that has any, and where each
//! shard stands. The only user of dashmap; workers write after each commit, never per event, and readers never wait for a worker.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use dashmap::DashMap;

use crate::engine::output::Published;
use crate::ids::{SetHash, ShardId};
use crate::lang::Workspace;
use crate::lang::definition::DefinitionKind;
use crate::time::{Millis, Timestamp};

/// One present membership, as a look-up answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    pub segment: Arc<str>,
    /// Of stages: the stage.
    pub stage: Option<Arc<str>>,
    pub since: Timestamp,
}

/// The answer to "which segments is this customer in".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// In the order of the definitions; empty where the customer is in none.
    Memberships(Vec<Present>),
    /// The customer's shard is being restored here: ask again, do not take it for "in none".
    Restoring,
    /// Another instance owns the customer's shard.
    Elsewhere,
}

/// A membership in 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    definition: u32,
    /// Place among the stages, the one of `otherwise` last; `u32::MAX` for a segment.
    stage: u32,
    since: i64,
}

struct Entry {
    shard: ShardId,
    /// Ascending by definition, never empty.
    rows: Box<[Row]>,
}

/// Where a shard stands on this instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardState {
    Restoring,
    Running,
    /// It stands still, with the reason in words; its memberships are those of the moment.
    Stopped(Box<str>),
}

/// The figures of a shard, as of its worker's last report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRow {
    pub state: ShardState,
    /// The set of definitions in force; `None` while restoring.
    pub set: Option<SetHash>,
    /// While a change of definitions has not come to every customer: to how many of 256 parts of them it has.
    pub scanned: Option<u8>,
    /// Segments that are not known for every customer yet, and until when; `None`: never.
    pub warming: Box<[(Box<str>, Option<Timestamp>)]>,
    pub worker: usize,
    pub customers: u64,
    pub armed: u64,
    pub clock: Timestamp,
    pub clock_delay: Millis,
    /// For how long a due timer has waited for the proof that the log is read to its end.
    pub unproved: Millis,
    /// Records between our positions and the ends of the inputs.
    pub lag: u64,
    /// Members by definition; empty while restoring.
    pub members: Box<[u64]>,
}

impl ShardRow {
    /// A shard that was just assigned.
    pub(super) fn restoring(worker: usize) -> ShardRow {
        ShardRow {
            state: ShardState::Restoring,
            set: None,
            scanned: None,
            warming: Box::default(),
            worker,
            customers: 0,
            armed: 0,
            clock: Timestamp::MIN,
            clock_delay: Millis::ZERO,
            unproved: Millis::ZERO,
            lag: 0,
            members: Box::default(),
        }
    }
}

#[derive(Clone)]
struct Definition {
    name: Arc<str>,
    stages: Vec<Arc<str>>,
}

/// Definitions of every set that was in force in this process, each with a number that is never given to another.
#[derive(Default)]
struct Names {
    definitions: Vec<Definition>,
    by_name: HashMap<Arc<str>, u32>,
    /// By number: its place in the newest set; what is in none comes last.
    place: Vec<u32>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let (name, number): (Arc<str>, u32) = (name.into(), self.definitions.len() as u32);
        self.definitions.push(Definition { name: name.clone(), stages: Vec::new() });
        self.by_name.insert(name, number);
        self.place.push(u32::MAX);
        number
    }

    fn stage(&mut self, number: u32, stage: &str) -> u32 {
        let stages = &mut self.definitions[number as usize].stages;
        let at = stages.iter().position(|n| **n == *stage).unwrap_or_else(|| {
            stages.push(stage.into());
            stages.len() - 1
        });
        at as u32
    }
}

/// Shared by workers, HTTP and console.
pub struct View {
    names: RwLock<Names>,
    memberships: DashMap<Box<str>, Entry, xxhash_rust::xxh3::Xxh3DefaultBuilder>,
    shards: DashMap<ShardId, ShardRow>,
}

impl View {
    /// An empty view of a set of definitions.
    pub fn new(workspace: &Workspace) -> View {
        let view = View { names: RwLock::default(), memberships: DashMap::default(), shards: DashMap::default() };
        view.define(workspace);
        view
    }

    /// Answers follow the order of this set from here on.
    pub fn define(&self, workspace: &Workspace) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.place.fill(u32::MAX);
        for (place, d) in workspace.definitions.iter().enumerate() {
            let number = names.number(&d.name);
            names.place[number as usize] = place as u32;
            if let DefinitionKind::Stages(s) = &d.kind {
                for stage in s.stages.iter().map(|(name, _)| name).chain([&s.otherwise]) {
                    names.stage(number, stage);
                }
            }
        }
    }

    /// Takes over what a committed (or replayed) batch of a shard published, in its order.
    pub fn apply(&self, shard: ShardId, published: &[Published]) {
        for p in published {
            let stage = p.membership.as_ref().and_then(|m| m.stage.as_deref());
            let (number, stage) = self.numbers(&p.change.segment, stage);
            let row = p.membership.as_ref().map(|m| Row { definition: number, stage, since: m.since.0 });
            self.set(shard, &p.change.customer, number, row);
        }
    }

    /// A definition's number and its stage's, which are given out where they are new.
    fn numbers(&self, name: &str, stage: Option<&str>) -> (u32, u32) {
        {
            let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(number) = names.by_name.get(name).copied() {
                let Some(stage) = stage else { return (number, u32::MAX) };
                if let Some(at) = names.definitions[number as usize].stages.iter().position(|n| **n == *stage) {
                    return (number, at as u32);
                }
            }
        }
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let number = names.number(name);
        (number, stage.map_or(u32::MAX, |stage| names.stage(number, stage)))
    }

    fn set(&self, shard: ShardId, customer: &str, definition: u32, row: Option<Row>) {
        if let Some(mut entry) = self.memberships.get_mut(customer) {
            let mut rows: Vec<Row> = entry.rows.iter().copied().filter(|r| r.definition != definition).collect();
            rows.extend(row);
            rows.sort_unstable_by_key(|r| r.definition);
            entry.rows = rows.into();
            entry.shard = shard;
            if !entry.rows.is_empty() {
                return;
            }
        } else {
            if let Some(row) = row {
                self.memberships.insert(customer.into(), Entry { shard, rows: [row].into() });
            }
            return;
        }
        // Out of the guard's scope: removing under it would wait for itself.
        self.memberships.remove_if(customer, |_, entry| entry.rows.is_empty());
    }

    /// Present memberships of a customer whose shard is `shard`.
    pub fn lookup(&self, customer: &str, shard: ShardId) -> Answer {
        match self.shards.get(&shard).map(|s| s.state.clone()) {
            None => Answer::Elsewhere,
            Some(ShardState::Restoring) => Answer::Restoring,
            Some(ShardState::Running | ShardState::Stopped(_)) => {
                let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
                let entry = self.memberships.get(customer);
                let mut rows: Vec<Row> = entry.map(|e| e.rows.to_vec()).unwrap_or_default();
                rows.sort_by_key(|row| names.place.get(row.definition as usize).copied());
                let present = |row: &Row| {
                    let definition = names.definitions.get(row.definition as usize)?;
                    let stage = definition.stages.get(row.stage as usize).cloned();
                    Some(Present { segment: definition.name.clone(), stage, since: Timestamp(row.since) })
                };
                Answer::Memberships(rows.iter().filter_map(present).collect())
            }
        }
    }

    /// Sets a shard's figures.
    pub fn report(&self, shard: ShardId, row: ShardRow) {
        self.shards.insert(shard, row);
    }

    /// A shard is no longer ours: its figures and its customers' memberships go.
    pub fn forget(&self, shard: ShardId) {
        self.shards.remove(&shard);
        self.memberships.retain(|_, entry| entry.shard != shard);
    }

    /// Every shard of this instance, by number.
    pub fn shards(&self) -> Vec<(ShardId, ShardRow)> {
        let mut shards: Vec<_> = self.shards.iter().map(|s| (*s.key(), s.value().clone())).collect();
        shards.sort_unstable_by_key(|(id, _)| *id);
        shards
    }

    /// Customers that are in at least one segment here.
    pub fn customers_in_any(&self) -> usize {
        self.memberships.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChangeId, SemanticHash, SetHash};
    use crate::lang::definition::{Definition, Meta, Points, Stages};
    use crate::model::{Cause, Change, ChangeKind, Membership};

    fn workspace() -> Workspace {
        let definition =
            |name: &str, kind| Definition { name: name.into(), kind, hash: SemanticHash::default(), meta: Meta::default(), depth: 0 };
        let stages = Stages { stages: Vec::new(), otherwise: "visitor".into() };
        Workspace {
            catalogue: Default::default(),
            definitions: vec![
                definition("life_cycle", DefinitionKind::Stages(stages)),
                definition("keen", DefinitionKind::Points(Points { rules: Vec::new() })),
            ],
            hash: SetHash::default(),
        }
    }

    fn published(customer: &str, segment: &str, member: bool, stage: Option<&str>) -> Published {
        let version = SemanticHash::default();
        let change = Change {
            change_id: ChangeId::default(),
            customer: customer.into(),
            seq: 1,
            segment: segment.into(),
            version,
            kind: if member { ChangeKind::Entered } else { ChangeKind::Exited },
            since: Timestamp(5),
            decided_at: Timestamp(5),
            cause: Cause::Event,
            cause_event: None,
            corrects: None,
            approx: false,
            valid_until: None,
            reason: Vec::new(),
            emit: Vec::new(),
        };
        let membership = member.then(|| Membership {
            customer: customer.into(),
            segment: segment.into(),
            stage: stage.map(Into::into),
            since: Timestamp(5),
            version,
            emit: Vec::new(),
        });
        Published { change, membership }
    }

    fn names(answer: Answer) -> Vec<String> {
        match answer {
            Answer::Memberships(m) => {
                m.iter().map(|p| format!("{}{}", p.segment, p.stage.as_deref().map(|s| format!("={s}")).unwrap_or_default())).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_look_up_tells_restoring_and_elsewhere_from_being_in_none() {
        let view = View::new(&workspace());
        let (ours, other) = (ShardId(1), ShardId(2));
        assert_eq!(view.lookup("c", ours), Answer::Elsewhere);
        view.report(ours, ShardRow::restoring(0));
        assert_eq!(view.lookup("c", ours), Answer::Restoring);
        view.report(ours, ShardRow { state: ShardState::Running, ..ShardRow::restoring(0) });
        assert_eq!(names(view.lookup("c", ours)), Vec::<String>::new());

        view.apply(ours, &[published("c", "keen", true, None), published("c", "life_cycle", true, Some("visitor"))]);
        view.apply(other, &[published("d", "keen", true, None)]);
        assert_eq!(names(view.lookup("c", ours)), ["life_cycle=visitor", "keen"], "in the order of the definitions");
        view.apply(
            ours,
            &[published("c", "life_cycle", false, None), published("e", "keen", true, None), published("e", "keen", false, None)],
        );
        assert_eq!(names(view.lookup("c", ours)), ["keen"]);
        assert_eq!(view.customers_in_any(), 2, "e is in none and takes no room");

        view.forget(ours);
        assert_eq!(view.lookup("c", ours), Answer::Elsewhere);
        assert_eq!(view.customers_in_any(), 1, "d's shard is not touched");
    }
}
