//! Features: what is kept per customer, shared by every condition that reads it (LANGUAGE.md 9.2, 10).
//!
//! Features form families with parameters that only grow while a plan is built: a ring takes the largest K in use, a log all windows, the
//! first or last event the union of properties.

use super::calendar::{Axis, PeriodValues};
use super::sequence::SequencePlan;
use super::window::AgeWindow;
use crate::ids::DefinitionIndex;
use crate::lang::definition::{Aggregate, Which};
use crate::model::Currency;
use crate::time::Millis;

/// Zero-based place in [`super::Plan::features`].
pub type FeatureId = u32;
/// Zero-based place in [`super::Plan::selectors`].
pub type SelectorId = u32;

/// What is asked of a set of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Number of entries.
    Count,
    /// Exact in 128 bits; what is shown or stored as 64 bits saturates there.
    Sum,
    /// Missing of nothing.
    Avg,
    /// Missing of nothing.
    Min,
    /// Missing of nothing.
    Max,
    /// Number of different values.
    Distinct,
}

impl From<Aggregate> for Quantity {
    fn from(function: Aggregate) -> Quantity {
        match function {
            Aggregate::Count => Quantity::Count,
            Aggregate::Sum => Quantity::Sum,
            Aggregate::Avg => Quantity::Avg,
            Aggregate::Min => Quantity::Min,
            Aggregate::Max => Quantity::Max,
            Aggregate::Distinct => Quantity::Distinct,
        }
    }
}

/// Which instants a ring keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// For windows with near edge 0: `ever`, `in last`.
    Newest,
    /// For `at least D ago` and `ever`.
    Oldest,
}

/// What a log keeps beside an entry's instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Values {
    /// Nothing: counts.
    None,
    /// Numbers in the smallest unit.
    Numbers,
    /// Hashes of values: distinct counts in windows with a near edge.
    Hashes,
}

/// What a number of a feature means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NumberUnit {
    Int,
    /// Millionths.
    Decimal,
    /// Minor units.
    Money(Currency),
    /// Milliseconds.
    Duration,
    Instant,
    /// Days since 1970-01-01.
    Date,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FeatureKind {
    /// Count and, where asked for, sum `ever`.
    Counter {
        sum: bool,
    },
    Ring {
        keep: Keep,
        capacity: usize,
    },
    /// `thin`: the count is compared with constants only, of which this is the capacity of a ring.
    Log {
        windows: Vec<AgeWindow>,
        values: Values,
        extremes: bool,
        thin: Option<usize>,
    },
    Extremes {
        max: bool,
        windows: Vec<AgeWindow>,
    },
    /// `bound`: the largest number of values that some condition can tell from more; `None` where a count is used as a number.
    Distinct {
        keep: Keep,
        windows: Vec<AgeWindow>,
        bound: Option<usize>,
    },
    /// `properties` stand in the order of the values that are kept.
    FirstLast {
        which: Which,
        properties: Vec<Vec<String>>,
    },
    Score {
        definition: DefinitionIndex,
    },
    Sequence(SequencePlan),
    /// `since` of the newest entries into a segment, or exits from it; fed by the machine.
    Crossings {
        definition: DefinitionIndex,
        entered: bool,
    },
    /// Per local period, or between dates: the newest `keep` periods, the running one included; `bound` as for distinct values.
    Periods {
        axis: Axis,
        keep: u32,
        values: PeriodValues,
        bound: Option<usize>,
    },
    /// When the customer's current session began and was last carried on: one per customer, fed by every activity.
    Session,
}

/// Which of a selector's events a feature holds, beyond what its kind says.
///
/// A kept value is then wrapped: the session or the mark is outside, the keys inside of it, and per key what the kind says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Within {
    /// Those of the current session.
    pub session: bool,
    /// Those after the newest event of this selector.
    pub since: Option<SelectorId>,
    /// A state of its own for each value at this path, of which the most recently used are kept (LANGUAGE.md R23).
    pub key: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
pub struct Feature {
    pub kind: FeatureKind,
    pub within: Within,
    /// `None` for a score and a sequence, which have a selector per rule or step, and for the session.
    pub selector: Option<SelectorId>,
    /// Of sums, extremes and the like.
    pub property: Option<Vec<String>>,
    pub unit: NumberUnit,
    /// Units whose conditions read it, ascending by unit.
    pub edges: Vec<Edge>,
    /// Units that read it and have to be looked at when it lost entries by a record: a key was forgotten, or the mark moved. Ascending.
    pub losses: Vec<u32>,
}

impl Feature {
    /// A feature that no single selector feeds.
    pub(super) fn bare(kind: FeatureKind, unit: NumberUnit) -> Feature {
        Feature { kind, within: Within::default(), selector: None, property: None, unit, edges: Vec::new(), losses: Vec::new() }
    }
}

/// A unit that an insertion can move, and which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub unit: u32,
    /// One more entry can make the unit's entry condition true.
    pub enters: bool,
    /// Where it can do so only in time: a newest event of this age or more is what some condition waits for. So an entry that is younger
    /// makes nothing true before it has that age.
    pub enters_after: Option<Millis>,
    /// One more entry can make a member leave.
    pub exits: bool,
}
