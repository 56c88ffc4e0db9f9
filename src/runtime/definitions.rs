//! The sets of definitions: what a record of the definitions topic is, and which of them is to be in force.
//!
//! A record of the topic is one whole set, keyed by its hash: the texts as they were written and, for people and other programs, the
//! names with the hashes of what they mean. The newest record that this program can read is to be in force. `run` publishes its folder only
//! into an empty topic; afterwards `segmentd apply` does.
//!
//! Beside the sets the topic holds the time-zone databases by which shards have decided: `run` stores that of its build before anything is
//! decided by it, so that another build can replay it (LANGUAGE.md S12).
//!
//! A set counts **as it was first written**: two texts of one meaning may order their conditions differently, and reasons, which the hash of
//! changes covers, follow the text.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::ids::{Edition, SetHash};
use crate::kafka::{
    self, Admin,
    definitions::{Stored, StoredSet},
};
use crate::lang::{self, SourceFile, Workspace};
use crate::model::ZoneDatabase;
use crate::plan::Plan;
use crate::wire::zones;

/// One stored set, as it stands in the topic.
#[derive(Debug, Serialize, Deserialize)]
struct Set {
    files: Vec<File>,
    /// Every definition of the set with its semantic hash, in the order of the compiler.
    definitions: Vec<Named>,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    name: String,
    text: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Named {
    name: String,
    hash: String,
}

/// What two sets differ in, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub added: Vec<String>,
    /// They mean something else.
    pub changed: Vec<String>,
    pub removed: Vec<String>,
}

impl Difference {
    /// Between the definitions of two workspaces, each in the order of its set.
    pub fn of(before: &Workspace, after: &Workspace) -> Difference {
        let mut out = Difference::default();
        for d in &after.definitions {
            match before.definitions.iter().find(|b| b.name == d.name) {
                None => out.added.push(d.name.clone()),
                Some(b) if b.hash != d.hash => out.changed.push(d.name.clone()),
                Some(_) => {}
            }
        }
        let gone = before.definitions.iter().filter(|b| !after.definitions.iter().any(|d| d.name == b.name));
        out.removed.extend(gone.map(|b| b.name.clone()));
        out
    }

    /// No definition differs; the catalogue may.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        for (names, what) in [(&self.added, "new"), (&self.changed, "changed"), (&self.removed, "gone")] {
            if !names.is_empty() {
                parts.push(format!("{what}: {}", names.join(", ")));
            }
        }
        if parts.is_empty() {
            parts.push("the catalogue, or the order of definitions".into());
        }
        f.write_str(&parts.join("; "))
    }
}

/// Makes sure that there is a set to be in force: publishes the folder's into an empty topic. A folder that differs from the newest set is
/// only told, for `apply` is the way to change.
///
/// **Errors:** [`Error::SetUnreadable`] where this program can read no set of the topic; operations that fail.
pub(super) fn settle(
    settings: &kafka::Settings,
    admin: &Admin,
    topic: &str,
    files: &[SourceFile],
    folder: &Workspace,
) -> Result<Workspace, Error> {
    let mut stored = kafka::definitions::read(settings, admin, topic)?;
    // Before any shard decides by it: whoever replays that has it from here.
    let bundled = ZoneDatabase::bundled();
    if !stored.zones.contains_key(bundled.version()) {
        kafka::definitions::publish_zones(settings, topic, bundled.version(), &zones::encode(bundled))?;
        tracing::info!(version = bundled.version(), "stored the time-zone database of this build beside the definitions");
    }
    if stored.sets.is_empty() {
        kafka::definitions::publish(settings, topic, folder.hash, &encode(files, folder))?;
        tracing::info!(set = %folder.hash, definitions = folder.definitions.len(), "published the folder's definitions");
        stored = kafka::definitions::read(settings, admin, topic)?;
    }
    let newest = stored.sets.last().map_or(folder.hash, |set| set.hash);
    let (workspace, refused) = newest_of(&stored.sets).ok_or_else(|| Error::SetUnreadable { topic: topic.into(), set: newest })?;
    for set in refused {
        tracing::error!(%set, "a newer set of definitions cannot be read by this version of segmentd and stays out of force");
    }
    if workspace.hash != folder.hash {
        let difference = Difference::of(&workspace, folder);
        tracing::warn!(
            folder = %folder.hash,
            in_force = %workspace.hash,
            "the folder differs from the set in force ({difference}); the set in force stays, `segmentd apply` changes it"
        );
    }
    Ok(workspace)
}

/// The newest set that this program can read, and the hashes of newer ones that it cannot; `None`: it can read none.
pub(super) fn newest_of(stored: &[StoredSet]) -> Option<(Workspace, Vec<SetHash>)> {
    let mut refused = Vec::new();
    for set in stored.iter().rev() {
        match find(stored, set.hash) {
            Ok(workspace) => return Some((workspace, refused)),
            Err(_) => refused.push(set.hash),
        }
    }
    None
}

/// A set by its hash, as it was first written.
///
/// **Errors:** why it cannot be had.
pub(super) fn find(stored: &[StoredSet], set: SetHash) -> Result<Workspace, String> {
    match stored.iter().find(|s| s.hash == set) {
        None => Err("the definitions topic lacks the set".into()),
        Some(found) => {
            compile_stored(found).ok_or_else(|| "this version of segmentd does not read the set: run the version that published it".into())
        }
    }
}

/// The time-zone databases that were asked for so far. **Shape:** by version; one of each, since they are kept for good.
#[derive(Default)]
pub(super) struct Databases(BTreeMap<Box<str>, &'static ZoneDatabase>);

impl Databases {
    /// The plan of an edition.
    ///
    /// **Errors:** why it cannot be had.
    pub fn plan(&mut self, stored: &Stored, edition: &Edition) -> Result<Arc<Plan>, String> {
        let workspace = find(&stored.sets, edition.set)?;
        Ok(Arc::new(Plan::compile_with(Arc::new(workspace), self.find(stored, &edition.zones)?)))
    }

    fn find(&mut self, stored: &Stored, version: &str) -> Result<&'static ZoneDatabase, String> {
        let bundled = ZoneDatabase::bundled();
        if version == bundled.version() {
            return Ok(bundled);
        }
        if let Some(known) = self.0.get(version) {
            return Ok(known);
        }
        let bytes = stored.zones.get(version).ok_or_else(|| {
            format!(
                "the definitions topic lacks the database, and this program has {}: run a segmentd with {version} once, which stores it there",
                bundled.version()
            )
        })?;
        let found = zones::decode(version, bytes).ok_or("the database in the definitions topic is damaged")?;
        self.0.insert(version.into(), found);
        Ok(found)
    }
}

/// The record of a set.
pub fn encode(files: &[SourceFile], workspace: &Workspace) -> Vec<u8> {
    let set = Set {
        // The last part of the path: where the folder lay is nobody's business.
        files: files
            .iter()
            .map(|f| File { name: f.name.rsplit(['/', '\\']).next().unwrap_or(&f.name).to_owned(), text: f.text.clone() })
            .collect(),
        definitions: workspace.definitions.iter().map(|d| Named { name: d.name.clone(), hash: d.hash.to_string() }).collect(),
    };
    serde_json::to_vec(&set).expect("texts and numbers always serialise")
}

/// The texts of a set's record; `None` where it is none.
pub fn decode(value: &[u8]) -> Option<Vec<SourceFile>> {
    let stored: Set = serde_json::from_slice(value).ok()?;
    Some(stored.files.into_iter().map(|f| SourceFile { name: f.name, text: f.text }).collect())
}

/// The texts of a stored set, compiled by this program; `None` where it is no set, does not compile, or means something else today.
pub fn compile_stored(set: &StoredSet) -> Option<Workspace> {
    let workspace = lang::compile(&decode(&set.value)?).workspace?;
    (workspace.hash == set.hash).then_some(workspace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str) -> (Vec<SourceFile>, Workspace) {
        let files = vec![SourceFile { name: "/somewhere/all.seg".into(), text: text.into() }];
        let workspace = lang::compile(&files).workspace.expect("compiles");
        (files, workspace)
    }

    fn stored(offset: i64, text: &str) -> StoredSet {
        let (files, workspace) = compiled(text);
        StoredSet { offset, hash: workspace.hash, value: encode(&files, &workspace) }
    }

    const BEFORE: &str = "event visit is activity { }\nsegment a { when any visit ever }\nsegment b { when no visit ever }\n";
    const AFTER: &str = "event visit is activity { }\nsegment a { when at least 2 visit ever }\nsegment c { when any visit ever }\n";

    #[test]
    fn a_stored_set_compiles_to_what_it_was() {
        let stored = stored(0, BEFORE);
        assert!(!String::from_utf8_lossy(&stored.value).contains("somewhere"));
        let again = compile_stored(&stored).expect("compiles");
        assert_eq!((again.hash, again.definitions.len()), (stored.hash, 2));
    }

    #[test]
    fn the_first_writing_of_a_meaning_counts() {
        const ONE: &str = "event visit is activity { }\nsegment a { when any visit ever and at least 2 visit in last 1d }\n";
        const OTHER: &str = "event visit is activity { }\nsegment a { when at least 2 visit in last 1d and any visit ever }\n";
        let topic = [stored(0, ONE), stored(1, BEFORE), stored(2, OTHER)];
        assert_eq!(topic[0].hash, topic[2].hash);
        let when = |w: &Workspace| match &w.definitions[0].kind {
            lang::DefinitionKind::Segment(s) => s.when.clone(),
            other => panic!("{other:?}"),
        };
        let (one, other) = (compiled(ONE).1, compiled(OTHER).1);
        assert_ne!(when(&one), when(&other));
        let (newest, refused) = newest_of(&topic).expect("readable");
        assert_eq!((when(&newest), refused), (when(&one), Vec::new()));
    }

    #[test]
    fn a_set_that_this_program_does_not_read_leaves_the_one_before_in_force() {
        let mut foreign = stored(1, AFTER);
        foreign.value = br#"{"files":[{"name":"all.seg","text":"segment of { tomorrow }"}],"definitions":[]}"#.to_vec();
        let topic = [stored(0, BEFORE), foreign.clone()];
        let (newest, refused) = newest_of(&topic).expect("readable");
        assert_eq!((newest.hash, refused), (topic[0].hash, vec![foreign.hash]));
        assert!(find(&topic, foreign.hash).expect_err("unreadable").contains("does not read"));
        assert!(find(&topic, SetHash([9; 16])).expect_err("absent").contains("lacks"));
        assert!(newest_of(&[foreign]).is_none() && newest_of(&[]).is_none());
    }

    #[test]
    fn a_plan_is_had_under_the_database_of_its_time() {
        let bundled = ZoneDatabase::bundled();
        let set = stored(0, BEFORE);
        let hash = set.hash;
        let edition = |zones: &str| Edition { set: hash, zones: zones.into() };
        let mut topic = Stored { sets: vec![set], ..Stored::default() };
        let mut databases = Databases::default();
        assert_eq!(databases.plan(&topic, &edition(bundled.version())).expect("ours").edition(), edition(bundled.version()));
        let lacks = databases.plan(&topic, &edition("1999a")).expect_err("not there");
        assert!(lacks.contains("lacks the database") && lacks.contains("run a segmentd with 1999a once"), "{lacks}");
        let old = ZoneDatabase::keep("1999a", bundled.zones().map(|(name, data)| (name.to_owned(), data.to_vec()))).expect("sound");
        topic.zones.insert("1999a".into(), zones::encode(old));
        topic.zones.insert("1998z".into(), b"noise".to_vec());
        assert_eq!(databases.plan(&topic, &edition("1999a")).expect("stored").edition(), edition("1999a"));
        let kept = databases.0["1999a"];
        databases.plan(&topic, &edition("1999a")).expect("stored");
        assert!(std::ptr::eq(kept, databases.0["1999a"]), "one of each is kept");
        assert!(databases.plan(&topic, &edition("1998z")).expect_err("noise").contains("damaged"));
    }

    #[test]
    fn what_differs_is_named() {
        let difference = Difference::of(&compiled(BEFORE).1, &compiled(AFTER).1);
        assert_eq!(difference.to_string(), "new: c; changed: a; gone: b");
        assert!(Difference::of(&compiled(BEFORE).1, &compiled(BEFORE).1).is_empty());
    }
}
