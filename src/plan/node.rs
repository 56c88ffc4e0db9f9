//! Conditions and terms as nodes of one graph: equal ones are one node, so that each is evaluated once per customer and instant.

use std::sync::Arc;

use super::calendar::{CalendarNode, CalendarTerm};
use super::delays::Delays;
use super::feature::{FeatureId, NumberUnit, Quantity};
use super::filter::Filter;
use super::window::{AgeWindow, Ratio};
use crate::ids::{DefinitionIndex, ListIndex, PurposeIndex, TraitIndex};
use crate::lang::definition::{ArithmeticOp, Containment, Rel};
use crate::lang::pattern::Pattern;
use crate::model::{Circle, Value};
use crate::time::Millis;

/// Zero-based place in [`super::Plan::nodes`].
pub type NodeId = u32;
/// Zero-based place in [`super::Plan::terms`].
pub type TermId = u32;
/// Zero-based place in [`super::Plan::units`].
pub type UnitId = u32;

/// A condition with what is shown of it.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    pub node: Node,
    /// In the language, for reasons; empty for `and`, `or` and `not`.
    pub text: Arc<str>,
    /// What the observed value is held against, for reasons.
    pub threshold: Arc<str>,
    /// Depends on something that an empty customer's state does not decide, such as the first record's instant.
    pub open: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Constant(bool),
    And(Box<[NodeId]>),
    Or(Box<[NodeId]>),
    Not(NodeId),
    /// The operand has held for so long; `unit` remembers since when.
    Held {
        unit: UnitId,
        operand: NodeId,
        at_least: Millis,
    },
    /// The published membership.
    InSegment {
        unit: UnitId,
        definition: DefinitionIndex,
    },
    /// Consent to a purpose, kept at this place among the customer's traits.
    Consent {
        purpose: PurposeIndex,
        slot: TraitIndex,
        /// What holds without a record.
        default: bool,
    },
    /// An aggregate against a constant, in the feature's own unit. The window of a feature of periods counts periods.
    Quantity {
        feature: FeatureId,
        quantity: Quantity,
        window: AgeWindow,
        rel: Rel,
        with: Ratio,
    },
    /// The newest completion of a sequence in a window by age.
    Sequence {
        feature: FeatureId,
        window: AgeWindow,
    },
    /// Some key of a keyed feature: `of` is a condition that reads the feature and holds for it.
    SomeKey {
        feature: FeatureId,
        of: NodeId,
    },
    /// An instant within the current session.
    InSession {
        session: FeatureId,
        of: TermId,
    },
    /// `first(x) since last y`: the oldest entry is after the mark.
    FirstSince {
        feature: FeatureId,
    },
    /// An instant after another, or after nothing.
    After {
        of: TermId,
        mark: TermId,
    },
    /// A score against a constant.
    Score {
        feature: FeatureId,
        rel: Rel,
        with: f64,
    },
    Compare {
        left: TermId,
        rel: Rel,
        right: TermId,
        ignore_case: bool,
    },
    Between {
        of: TermId,
        low: TermId,
        high: TermId,
    },
    Member {
        of: TermId,
        values: Box<[Value]>,
        ignore_case: bool,
    },
    HalfOpen {
        of: TermId,
        from: Value,
        to: Value,
    },
    /// An instant in a window by age.
    Aged {
        of: TermId,
        window: AgeWindow,
    },
    /// An instant in the next so many milliseconds: `0 < x - t <= D`.
    Next {
        of: TermId,
        within: Millis,
    },
    /// Text in which a pattern is found.
    Matches {
        of: TermId,
        pattern: Pattern,
    },
    /// A place within a distance of another.
    Near {
        of: TermId,
        circle: Circle,
    },
    Contains {
        of: TermId,
        what: Containment,
        ignore_case: bool,
    },
    StartsWith {
        of: TermId,
        prefix: Box<str>,
        ignore_case: bool,
    },
    EndsWith {
        of: TermId,
        suffix: Box<str>,
        ignore_case: bool,
    },
    Empty(TermId),
    Known(TermId),
    /// The customer's newest record of the list says that he is in it.
    InList(ListIndex),
    CartEmpty,
    /// Some line of the cart; slots are those of [`super::CartPlan::fields`].
    CartHas(Filter),
    /// Some record of a list trait.
    Has {
        of: TermId,
        filter: Filter,
    },
    Calendar(CalendarNode),
}

#[derive(Clone, Debug, PartialEq)]
pub enum TermNode {
    Literal(Value),
    /// `fields`: places in nested records.
    Trait {
        index: TraitIndex,
        fields: Box<[u16]>,
    },
    FirstSeen,
    CartValue,
    CartQuantity,
    /// The number of lines.
    CartItems,
    CartChangedAt,
    Quantity {
        feature: FeatureId,
        quantity: Quantity,
        window: AgeWindow,
        unit: NumberUnit,
    },
    /// The newest or oldest instant of a ring.
    RingEnd {
        feature: FeatureId,
        newest: bool,
    },
    /// The newest completion of a sequence.
    Completion {
        feature: FeatureId,
    },
    /// `at` or the i-th kept property of the first or last event.
    FirstLast {
        feature: FeatureId,
        value: Option<u16>,
    },
    Score {
        feature: FeatureId,
    },
    Arithmetic {
        op: ArithmeticOp,
        left: TermId,
        right: TermId,
    },
    /// How long ago an instant was.
    Age(TermId),
    /// The key that became true last, as its unit remembers it.
    Key {
        unit: UnitId,
    },
    Calendar(CalendarTerm),
    /// When the customer last entered, or left, a segment: the newest published `since` of such a change.
    Crossing {
        feature: FeatureId,
        unit: UnitId,
    },
    /// The published stage.
    Stage {
        unit: UnitId,
    },
    /// How many of the bounds, which ascend, a value has reached.
    Band {
        of: TermId,
        bounds: Box<[Value]>,
    },
    /// The sum of the points, in millionths, whose conditions hold.
    Points(Box<[(i64, NodeId)]>),
    /// A number from 0 to 1 of customer and salt; the place of the salt in [`super::Plan::salts`].
    Bucket(u32),
}

/// What remembers something per customer and is evaluated as a whole when what it reads has changed: a dwell or a segment. A unit stands
/// after everything that it refers to.
#[derive(Clone, Debug)]
pub struct Unit {
    pub kind: UnitKind,
    /// Units that refer to it, ascending; all greater than itself.
    pub dependents: Vec<UnitId>,
}

#[derive(Clone, Debug)]
pub enum UnitKind {
    /// Since when the operand holds without a break (LANGUAGE.md R4).
    Dwell {
        operand: NodeId,
    },
    /// Since when the exit condition of a member holds without a break; of a segment with `exit after`.
    ExitDelay {
        operand: NodeId,
        /// The unit after this one, or the one after that.
        segment: UnitId,
    },
    /// What a segment with `settle` or `expire after` has to remember; never looked at by itself. See [`Delays`].
    Waiting {
        segment: UnitId,
    },
    Segment(SegmentUnit),
    Stages(StagesUnit),
    /// The keys for which `of`, a [`Node::SomeKey`], holds, in the order in which they came to hold (LANGUAGE.md R51). It is looked at whenever
    /// one may turn, and tells nobody.
    Keys {
        of: NodeId,
    },
}

#[derive(Clone, Debug)]
pub struct SegmentUnit {
    pub definition: DefinitionIndex,
    pub when: NodeId,
    pub exit: Option<NodeId>,
    /// `when`, or `when and not exit` (LANGUAGE.md S23, S19).
    pub enter: NodeId,
    /// Rules beside the conditions, if there are any.
    pub delays: Option<Box<Delays>>,
    pub emit: Vec<(Arc<str>, TermId)>,
    /// Features that remember its exits and its entries, where some condition asks for them.
    pub crossings: [Option<FeatureId>; 2],
}

impl Node {
    /// Terms that a condition reads, the one that it is about first. Not those of its operands.
    pub fn terms(&self) -> impl Iterator<Item = TermId> {
        let all = match self {
            Node::Compare { left, right, .. } | Node::After { of: left, mark: right } => [Some(*left), Some(*right), None],
            Node::Between { of, low, high } => [Some(*of), Some(*low), Some(*high)],
            Node::Member { of, .. }
            | Node::HalfOpen { of, .. }
            | Node::Aged { of, .. }
            | Node::InSession { of, .. }
            | Node::Next { of, .. }
            | Node::Matches { of, .. }
            | Node::Near { of, .. }
            | Node::Contains { of, .. }
            | Node::StartsWith { of, .. }
            | Node::EndsWith { of, .. }
            | Node::Empty(of)
            | Node::Known(of)
            | Node::Has { of, .. } => [Some(*of), None, None],
            Node::Calendar(calendar) => [calendar.term(), None, None],
            Node::Constant(_)
            | Node::And(_)
            | Node::Or(_)
            | Node::Not(_)
            | Node::Held { .. }
            | Node::Quantity { .. }
            | Node::SomeKey { .. }
            | Node::FirstSince { .. }
            | Node::Score { .. }
            | Node::Sequence { .. }
            | Node::InSegment { .. }
            | Node::InList(_)
            | Node::Consent { .. }
            | Node::CartEmpty
            | Node::CartHas(_) => [None; 3],
        };
        all.into_iter().flatten()
    }
}

/// Exactly one holds: the first from the top, else the last.
#[derive(Clone, Debug)]
pub struct StagesUnit {
    pub definition: DefinitionIndex,
    /// From top to bottom.
    pub stages: Vec<(Arc<str>, NodeId)>,
    pub otherwise: Arc<str>,
}

impl StagesUnit {
    /// Place of a stage from the top, the number of conditions for `otherwise`.
    pub fn place(&self, name: &str) -> Option<usize> {
        let found = self.stages.iter().position(|(stage, _)| **stage == *name);
        found.or((*self.otherwise == *name).then_some(self.stages.len()))
    }

    /// By place from the top; any other place is `otherwise`.
    pub fn name(&self, place: usize) -> &Arc<str> {
        self.stages.get(place).map_or(&self.otherwise, |(name, _)| name)
    }
}
