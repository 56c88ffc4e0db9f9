//! The set of definitions in force: the definitions topic against the folder.
//!
//! A record of the topic is one whole set, keyed by its hash: the texts as they were written and, for people and other programs, the
//! names with the hashes of what they mean. `run` publishes its folder only into an empty topic. Until definitions can change while
//! shards run, a folder that means something else than the newest set ends `run`.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::ids::SetHash;
use crate::kafka::{self, Admin, definitions::StoredSet};
use crate::lang::{self, SourceFile, Workspace};

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

/// Makes sure that the folder's set is the one in force, publishes it into an empty topic, and gives the set in force **as it was first
/// written**: two texts of one meaning may order their conditions differently, and reasons, which the hash of changes covers, follow the text.
///
/// Until definitions can change while shards run, the first record of the topic is in force, so that of two instances that start on an
/// empty topic with different folders only one goes on.
///
/// **Errors:** [`Error::SetDiffers`] with the segments that differ; operations that fail.
pub(super) fn settle(
    settings: &kafka::Settings,
    admin: &Admin,
    topic: &str,
    files: &[SourceFile],
    folder: &Workspace,
) -> Result<Workspace, Error> {
    let mut stored = kafka::definitions::read(settings, admin, topic)?;
    if stored.is_empty() {
        kafka::definitions::publish(settings, topic, folder.hash, &encode(files, folder))?;
        tracing::info!(set = %folder.hash, definitions = folder.definitions.len(), "published the folder's definitions");
        stored = kafka::definitions::read(settings, admin, topic)?;
    }
    in_force(&stored, topic, folder)
}

fn in_force(stored: &[StoredSet], topic: &str, folder: &Workspace) -> Result<Workspace, Error> {
    let Some(set) = stored.first() else { return Err(Error::SetUnreadable { topic: topic.into(), set: folder.hash }) };
    if set.hash != folder.hash {
        return Err(differs(set, folder));
    }
    match compile_stored(set) {
        Some((_, workspace)) => Ok(workspace),
        None => Err(Error::SetUnreadable { topic: topic.into(), set: set.hash }),
    }
}

fn encode(files: &[SourceFile], workspace: &Workspace) -> Vec<u8> {
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

/// What differs, by name: in the folder only, in force only, meaning something else.
fn differs(in_force: &StoredSet, folder: &Workspace) -> Error {
    let differing = match serde_json::from_slice::<Set>(&in_force.value) {
        Ok(set) => {
            let before: Vec<(String, String)> = set.definitions.into_iter().map(|d| (d.name, d.hash)).collect();
            names(&before, folder)
        }
        Err(_) => Vec::new(),
    };
    let differing = if differing.is_empty() { vec!["the catalogue, or the order of definitions".into()] } else { differing };
    Error::SetDiffers { in_force: in_force.hash, folder: folder.hash, differing }
}

fn names(before: &[(String, String)], folder: &Workspace) -> Vec<String> {
    let mut differing = Vec::new();
    for d in &folder.definitions {
        match before.iter().find(|(name, _)| *name == d.name) {
            None => differing.push(format!("{} is new", d.name)),
            Some((_, hash)) if *hash != d.hash.to_string() => differing.push(format!("{} means something else", d.name)),
            Some(_) => {}
        }
    }
    for (name, _) in before {
        if !folder.definitions.iter().any(|d| d.name == *name) {
            differing.push(format!("{name} is gone"));
        }
    }
    differing
}

/// The texts of a stored set, compiled by this program; `None` where it is no set, does not compile, or means something else today.
fn compile_stored(set: &StoredSet) -> Option<(SetHash, Workspace)> {
    let stored: Set = serde_json::from_slice(&set.value).ok()?;
    let files: Vec<SourceFile> = stored.files.into_iter().map(|f| SourceFile { name: f.name, text: f.text }).collect();
    let workspace = lang::compile(&files).workspace?;
    (workspace.hash == set.hash).then_some((set.hash, workspace))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str) -> (Vec<SourceFile>, Workspace) {
        let files = vec![SourceFile { name: "/somewhere/all.seg".into(), text: text.into() }];
        let workspace = lang::compile(&files).workspace.expect("compiles");
        (files, workspace)
    }

    const BEFORE: &str = "event visit is activity { }\nsegment a { when any visit ever }\nsegment b { when no visit ever }\n";

    #[test]
    fn a_stored_set_compiles_to_what_it_was() {
        let (files, workspace) = compiled(BEFORE);
        let stored = StoredSet { offset: 0, hash: workspace.hash, value: encode(&files, &workspace) };
        assert!(!String::from_utf8_lossy(&stored.value).contains("somewhere"));
        let (hash, again) = compile_stored(&stored).expect("compiles");
        assert_eq!((hash, again.definitions.len()), (workspace.hash, 2));
    }

    #[test]
    fn the_first_writing_of_a_meaning_stays_in_force() {
        const ONE: &str = "event visit is activity { }\nsegment a { when any visit ever and at least 2 visit in last 1d }\n";
        const OTHER: &str = "event visit is activity { }\nsegment a { when at least 2 visit in last 1d and any visit ever }\n";
        let ((files, one), (other_files, other)) = (compiled(ONE), compiled(OTHER));
        assert_eq!(one.hash, other.hash);
        let stored = [
            StoredSet { offset: 0, hash: one.hash, value: encode(&files, &one) },
            StoredSet { offset: 1, hash: other.hash, value: encode(&other_files, &other) },
        ];
        let when = |w: &Workspace| match &w.definitions[0].kind {
            lang::DefinitionKind::Segment(s) => s.when.clone(),
            other => panic!("{other:?}"),
        };
        assert_ne!(when(&one), when(&other));
        assert_eq!(when(&in_force(&stored, "definitions", &other).expect("in force")), when(&one));
    }

    #[test]
    fn what_differs_is_named() {
        let (files, workspace) = compiled(BEFORE);
        let stored = StoredSet { offset: 0, hash: workspace.hash, value: encode(&files, &workspace) };
        let (_, other) =
            compiled("event visit is activity { }\nsegment a { when at least 2 visit ever }\nsegment c { when any visit ever }\n");
        let words = differs(&stored, &other).to_string();
        for part in ["a means something else", "b is gone", "c is new", "segmentd topics reset"] {
            assert!(words.contains(part), "{words}");
        }
    }
}
