//! What segmentd's topics have to look like (DESIGN.md 5), and what is wrong with those that are there.

use std::fmt;

use super::raw::TopicId;

/// Names of all topics of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicNames {
    /// In the order of the configuration, which is [`crate::ids::InputIndex`].
    pub inputs: Vec<String>,
    pub changes: String,
    pub memberships: String,
    pub journal: String,
    pub dead_letters: String,
    pub definitions: String,
}

/// What one of our topics is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Changes,
    Memberships,
    Journal,
    DeadLetters,
    Definitions,
}

/// Limit of a record in the definitions topic, which holds a whole set as one record, and of what our producers send.
pub const LARGE_MESSAGE_BYTES: usize = 16 << 20;

/// The broker's default limit of a record (a little more than 1 MiB: 12 bytes of it are overhead).
pub(super) const DEFAULT_MESSAGE_BYTES: usize = 1_048_588;

/// Room that the headers of a dead letter take beside the record as it came.
pub(super) const DEAD_LETTER_ROOM_BYTES: usize = 64 << 10;

impl TopicNames {
    /// Ours, with what each is for.
    pub fn ours(&self) -> [(Purpose, &str); 5] {
        [
            (Purpose::Changes, &self.changes),
            (Purpose::Memberships, &self.memberships),
            (Purpose::Journal, &self.journal),
            (Purpose::DeadLetters, &self.dead_letters),
            (Purpose::Definitions, &self.definitions),
        ]
    }

    /// Inputs first, then ours.
    pub fn all(&self) -> Vec<&str> {
        self.inputs.iter().map(String::as_str).chain(self.ours().into_iter().map(|(_, name)| name)).collect()
    }
}

impl Purpose {
    /// Partitions, where the inputs have `shards`.
    pub fn partitions(self, shards: u32) -> u32 {
        match self {
            Purpose::Definitions => 1,
            _ => shards,
        }
    }

    /// Settings with which the topic is made. Those of [`Purpose::required`] are checked at every start; the rest is the owner's to change.
    pub(super) fn settings(self) -> Vec<(&'static str, String)> {
        let mut settings: Vec<_> = self.required().iter().map(|(name, value, _)| (*name, value.to_string())).collect();
        match self {
            Purpose::Definitions => settings.push(("max.message.bytes", LARGE_MESSAGE_BYTES.to_string())),
            // The present state of every membership: a change should replace its predecessor within a day even in a quiet partition.
            Purpose::Memberships => settings.push(("max.compaction.lag.ms", "86400000".into())),
            _ => {}
        }
        settings
    }

    /// Settings without which the topic does not do its work: name, value, why.
    pub(super) fn required(self) -> &'static [(&'static str, &'static str, &'static str)] {
        match self {
            Purpose::Memberships => {
                &[("cleanup.policy", "compact", "it holds the present membership of each customer and segment, and nulls where one ended")]
            }
            Purpose::Journal => &[
                ("cleanup.policy", "delete", "every record of the journal counts, not the newest of each key"),
                ("retention.ms", "-1", "segmentd deletes itself what no snapshot needs any more"),
                ("retention.bytes", "-1", "segmentd deletes itself what no snapshot needs any more"),
            ],
            Purpose::Definitions => &[
                ("cleanup.policy", "delete", "sets of definitions are kept for ever: the journal names them"),
                ("retention.ms", "-1", "sets of definitions are kept for ever: the journal names them"),
                ("retention.bytes", "-1", "sets of definitions are kept for ever: the journal names them"),
            ],
            Purpose::Changes | Purpose::DeadLetters => &[("cleanup.policy", "delete", "every record counts, not the newest of each key")],
        }
    }
}

/// A topic that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub id: TopicId,
    pub partitions: u32,
}

/// The topics of an installation that passed the checks.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Number of shards: the partition count of every input.
    pub shards: u32,
    /// In the order of [`TopicNames::inputs`].
    pub inputs: Vec<Topic>,
    /// In the order of [`TopicNames::ours`].
    pub ours: Vec<Topic>,
    /// Longest key and value together that fit into a dead letter, in bytes.
    pub dead_letter_bytes: usize,
    /// What works but should be known, for the log: create-time stamps, compacted inputs, checks that this broker cannot answer.
    pub notes: Vec<String>,
}

/// One thing that is wrong, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub what: String,
    pub mend: String,
}

/// Everything that is wrong with the topics; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}; to mend it: {}", problem.what, problem.mend)?;
        }
        Ok(())
    }
}

/// The command that makes what is absent.
pub(super) const CREATE: &str = "segmentd topics create --config FILE";

/// Judges the inputs: all there, with equal counts.
///
/// **Errors:** one problem for those that are absent, one that lists names and counts where they differ.
pub(super) fn shards_of(inputs: &[(String, Option<u32>)]) -> Result<u32, Vec<Problem>> {
    let mut problems = Vec::new();
    let absent: Vec<&str> = inputs.iter().filter(|(_, n)| n.is_none()).map(|(name, _)| name.as_str()).collect();
    if !absent.is_empty() {
        problems.push(Problem {
            what: format!("input topic{} {} {} not exist", if absent.len() == 1 { "" } else { "s" }, absent.join(", "), does(absent.len())),
            mend: format!("let the producers' side create them, or run `{CREATE} --inputs PARTITIONS`"),
        });
    }
    let counts: Vec<(&str, u32)> = inputs.iter().filter_map(|(name, n)| n.map(|n| (name.as_str(), n))).collect();
    if counts.windows(2).any(|pair| pair[0].1 != pair[1].1) {
        let list: Vec<String> = counts.iter().map(|(name, n)| format!("{name} has {n}")).collect();
        problems.push(Problem {
            what: format!("the input topics are not co-partitioned: {} partitions", list.join(", ")),
            mend: "give every input topic the same number of partitions and produce to all of them with the same partitioner, keyed by \
                   customer: copy the records into new topics (adding partitions to one that has records moves customers)"
                .into(),
        });
    }
    match (problems.is_empty(), counts.first()) {
        (true, Some((_, n))) => Ok(*n),
        (true, None) => Err(vec![Problem { what: "no input topic is configured".into(), mend: "add an [[input]] table".into() }]),
        (false, _) => Err(problems),
    }
}

fn does(n: usize) -> &'static str {
    if n == 1 { "does" } else { "do" }
}

/// Judges one of ours. `settings`: those the broker told, or `None` where it cannot tell.
pub(super) fn judge(
    purpose: Purpose,
    name: &str,
    partitions: Option<u32>,
    shards: u32,
    settings: Option<&[(String, String)]>,
) -> Vec<Problem> {
    let Some(partitions) = partitions else {
        return vec![Problem { what: format!("topic {name} does not exist"), mend: format!("run `{CREATE}`") }];
    };
    let mut problems = Vec::new();
    let wanted = purpose.partitions(shards);
    if partitions != wanted {
        problems.push(Problem {
            what: format!("topic {name} has {partitions} partitions where {wanted} are needed (one per partition of the inputs)"),
            mend: "run `segmentd topics reset --config FILE`, which deletes segmentd's own topics and makes them anew (it asks first)"
                .into(),
        });
    }
    for (setting, value, why) in purpose.required() {
        let Some(found) = settings.and_then(|s| s.iter().find(|(n, _)| n == setting)) else { continue };
        if found.1 != *value {
            problems.push(Problem {
                what: format!("topic {name} has {setting}={} where {value} is needed: {why}", found.1),
                mend: format!("run `kafka-configs.sh --alter --topic {name} --add-config {setting}={value}`"),
            });
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(counts: &[(&str, Option<u32>)]) -> Vec<(String, Option<u32>)> {
        counts.iter().map(|(n, c)| (n.to_string(), *c)).collect()
    }

    #[test]
    fn counts_that_differ_are_named() {
        let problems = shards_of(&inputs(&[("a", Some(3)), ("b", Some(4))])).expect_err("not co-partitioned");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].what.contains("a has 3, b has 4 partitions"), "{}", problems[0].what);
        assert_eq!(shards_of(&inputs(&[("a", Some(3)), ("b", Some(3))])), Ok(3));
    }

    #[test]
    fn absent_topics_are_named_with_the_command() {
        let problems = shards_of(&inputs(&[("a", Some(3)), ("b", None), ("c", None)])).expect_err("absent");
        assert!(problems[0].what.contains("b, c do not exist") && problems[0].mend.contains("topics create"), "{problems:?}");
        let ours = judge(Purpose::Journal, "segmentd.journal", None, 3, None);
        assert!(ours[0].mend.contains("segmentd topics create"), "{ours:?}");
        assert!(shards_of(&[]).is_err());
    }

    #[test]
    fn a_setting_that_would_lose_records_is_a_problem() {
        let compacted = [("cleanup.policy".to_string(), "compact".to_string()), ("retention.ms".to_string(), "-1".to_string())];
        assert_eq!(judge(Purpose::Journal, "j", Some(3), 3, Some(&compacted)).len(), 1);
        assert_eq!(judge(Purpose::Memberships, "m", Some(3), 3, Some(&compacted)).len(), 0);
        assert_eq!(judge(Purpose::Memberships, "m", Some(2), 3, Some(&compacted)).len(), 1);
        assert_eq!(judge(Purpose::Definitions, "d", Some(1), 3, None).len(), 0);
    }
}
