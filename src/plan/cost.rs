//! About what evaluating a condition costs, so that the cheap operands of an `and` are asked first.

use super::build::Builder;
use super::feature::{FeatureId, FeatureKind};
use super::node::{Node, NodeId, TermId, TermNode};

impl Builder<'_> {
    /// About what evaluating a condition costs, in some unit.
    pub(super) fn cost(&self, id: NodeId) -> u32 {
        match &self.nodes[id as usize].node {
            Node::Constant(_) => 0,
            Node::InSegment { .. } => 1,
            Node::Consent { .. } => 2,
            Node::And(all) | Node::Or(all) => all.iter().map(|n| self.cost(*n)).sum(),
            Node::Not(of) => self.cost(*of),
            Node::Held { operand, .. } => 2 + self.cost(*operand),
            Node::Quantity { feature, .. } => self.feature_cost(*feature),
            Node::Sequence { feature, .. } => self.feature_cost(*feature),
            Node::Score { .. } => 12,
            Node::SomeKey { of, .. } => 8 * self.cost(*of),
            Node::FirstSince { .. } => 5,
            Node::Calendar(calendar) => 4 + calendar.feature().map_or(0, |f| self.feature_cost(f)),
            Node::CartEmpty | Node::InList(_) => 3,
            Node::CartHas(_) => 10,
            Node::Matches { of, .. } | Node::Near { of, .. } => 8 + self.term_cost(*of),
            leaf => 1 + leaf.terms().map(|t| self.term_cost(t)).sum::<u32>(),
        }
    }

    fn feature_cost(&self, feature: FeatureId) -> u32 {
        match &self.features[feature as usize].kind {
            FeatureKind::Crossings { .. } => 4,
            FeatureKind::Counter { .. } | FeatureKind::Session => 3,
            FeatureKind::Ring { .. } | FeatureKind::FirstLast { .. } => 5,
            FeatureKind::Extremes { .. } => 8,
            FeatureKind::Distinct { .. } => 10,
            FeatureKind::Score { .. } => 12,
            FeatureKind::Sequence(_) => 15,
            FeatureKind::Periods { .. } => 8,
            FeatureKind::Log { .. } => 20,
        }
    }

    fn term_cost(&self, term: TermId) -> u32 {
        match &self.terms[term as usize] {
            TermNode::Literal(_) | TermNode::FirstSeen | TermNode::Key { .. } => 0,
            TermNode::Trait { .. } => 2,
            TermNode::CartValue | TermNode::CartQuantity | TermNode::CartItems | TermNode::CartChangedAt => 3,
            TermNode::Quantity { feature, .. }
            | TermNode::RingEnd { feature, .. }
            | TermNode::Completion { feature }
            | TermNode::FirstLast { feature, .. }
            | TermNode::Score { feature } => self.feature_cost(*feature),
            TermNode::Arithmetic { left, right, .. } => 2 + self.term_cost(*left) + self.term_cost(*right),
            TermNode::Calendar(_) => 4,
            // The customer's bucket is a hash that is computed once a record.
            TermNode::Bucket(_) => 6,
            TermNode::Band { of, .. } => 1 + self.term_cost(*of),
            TermNode::Crossing { .. } => 4,
            TermNode::Stage { .. } => 2,
            TermNode::Points(rules) => rules.iter().map(|(_, node)| self.cost(*node)).sum(),
            TermNode::Age(of) => 1 + self.term_cost(*of),
        }
    }
}
