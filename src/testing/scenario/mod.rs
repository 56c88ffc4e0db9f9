//! Random definitions with random logs, as text that compiler and decoder read: what the property tests feed to the engine and to the
//! oracle, and what they shrink when the two differ.
//!
//! Owns the random choices, all from one seed. A scenario prints as a `.segtest` that can be pasted into `tests/conformance`.

mod atoms;
mod definitions;
mod log;
mod shrink;
mod tree;

use std::fmt;

use crate::segtest::script::{RecordStep, ScriptTime};
use crate::time::Timestamp;

pub use shrink::shrink;
pub use tree::Tree;

/// Definitions and a log.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub catalogue: String,
    pub items: Vec<Item>,
    pub steps: Vec<Step>,
}

/// One definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub name: String,
    pub body: ItemBody,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ItemBody {
    Segment {
        when: Tree,
        exit: Option<Tree>,
        /// Delays, consent, time zone, each as text.
        clauses: Vec<String>,
        emit: Vec<String>,
    },
    /// Rules as text, the cap as text.
    Score {
        half_life: String,
        rules: Vec<String>,
        cap: Option<String>,
    },
    /// `give 2` or `take 2` with its condition.
    Points {
        rules: Vec<(String, Tree)>,
    },
    Stages {
        stages: Vec<(String, Tree)>,
        otherwise: String,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Record(RecordStep),
    /// An idle move.
    Clock(Timestamp),
    /// The end of a batch, a save and load, or a wake-up without reason: nothing that may change anything.
    Cut(Cut),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Batch,
    Reload,
    Wake,
}

impl Scenario {
    /// The scenario of a seed; the same on every machine.
    pub fn generate(seed: u64) -> Scenario {
        let mut rng = fastrand::Rng::with_seed(seed);
        let lengths = definitions::Lengths::choose(&mut rng);
        let (catalogue, items) = definitions::generate(&mut rng, &lengths);
        let steps = log::generate(&mut rng, &lengths, &catalogue);
        Scenario { seed, catalogue: catalogue.to_string(), items, steps }
    }

    /// The `.seg` text.
    pub fn definitions(&self) -> String {
        let mut out = self.catalogue.clone();
        for item in &self.items {
            out += &format!("{item}\n");
        }
        out
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.body {
            ItemBody::Segment { when, exit, clauses, emit } => {
                write!(f, "segment {} {{ when {when}", self.name)?;
                if let Some(exit) = exit {
                    write!(f, "  exit when {exit}")?;
                }
                clauses.iter().try_for_each(|clause| write!(f, "  {clause}"))?;
                if !emit.is_empty() {
                    write!(f, "  emit {}", emit.join(", "))?;
                }
                f.write_str(" }")
            }
            ItemBody::Score { half_life, rules, cap } => {
                write!(f, "score {} {{ half_life {half_life}  {}", self.name, rules.join("  "))?;
                if let Some(cap) = cap {
                    write!(f, "  cap {cap}")?;
                }
                f.write_str(" }")
            }
            ItemBody::Points { rules } => {
                write!(f, "points {} {{", self.name)?;
                rules.iter().try_for_each(|(points, when)| write!(f, " {points} when {when}"))?;
                f.write_str(" }")
            }
            ItemBody::Stages { stages, otherwise } => {
                write!(f, "stages {} {{", self.name)?;
                stages.iter().try_for_each(|(stage, when)| write!(f, " {stage} when {when}"))?;
                write!(f, " {otherwise} otherwise }}")
            }
        }
    }
}

/// As a `.segtest`; cuts stand as comments.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}---", self.definitions())?;
        for step in &self.steps {
            match step {
                Step::Record(record) => writeln!(f, "{record}")?,
                Step::Clock(t) => writeln!(f, "clock {}", ScriptTime(*t))?,
                Step::Cut(cut) => writeln!(f, "# {cut:?}")?,
            }
        }
        Ok(())
    }
}
