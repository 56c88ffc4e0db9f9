//! Reverse indexes: from features, traits and the cart to the units that they can move, and which way.
//!
//! An insertion into a counted set can make `at least 3 x` true but never false; so a member whose condition only rises need not be
//! looked at. Its deadline, computed earlier, can then only have moved later, which is the safe side (LANGUAGE.md 9.1).

use super::build::Builder;
use super::calendar::{Axis, CalendarNode, CalendarTerm, ZoneRef};
use super::delays::edge;
use super::feature::{Edge, FeatureId, FeatureKind, Quantity};
use super::node::{Node, NodeId, TermId, TermNode, UnitId, UnitKind};
use super::window::AgeWindow;
use crate::ids::{ListIndex, TraitIndex};
use crate::lang::definition::{DefinitionKind, Rel};
use crate::time::Millis;

/// What one more record can do to a condition.
#[derive(Clone, Copy)]
struct Effect {
    raises: bool,
    lowers: bool,
    /// It raises only once the record has this age.
    delay: Option<Millis>,
}

const BOTH: Effect = Effect { raises: true, lowers: true, delay: None };
const RAISES: Effect = Effect { raises: true, lowers: false, delay: None };
const LOWERS: Effect = Effect { raises: false, lowers: true, delay: None };

/// Whether a record matters in a direction, and after what delay at the earliest.
#[derive(Clone, Copy)]
pub(super) struct Matters {
    pub at_all: bool,
    pub delay: Option<Millis>,
}

impl Effect {
    fn matters(self, up: bool) -> Matters {
        if up { Matters { at_all: self.raises, delay: self.delay } } else { Matters { at_all: self.lowers, delay: None } }
    }
}

pub(super) const ALWAYS: Matters = Matters { at_all: true, delay: None };
pub(super) const NEVER: Matters = Matters { at_all: false, delay: None };

/// What a condition reads.
pub(super) enum Source {
    Feature(FeatureId),
    Trait(TraitIndex),
    List(ListIndex),
    Cart,
    Unit(UnitId),
    /// A record may take entries from a feature.
    Losses(FeatureId),
}

#[derive(Debug, Default)]
pub(super) struct Reverse {
    pub traits: Vec<Vec<Edge>>,
    pub lists: Vec<Vec<Edge>>,
    pub cart: Vec<Edge>,
}

impl Builder<'_> {
    /// Fills the edges of features and the dependents of units, and returns those of traits and cart.
    pub(super) fn edges(&mut self) -> Reverse {
        let lists = vec![Vec::new(); self.workspace.catalogue.lists.len()];
        let mut reverse = Reverse { traits: vec![Vec::new(); self.trait_slots()], lists, cart: Vec::new() };
        for unit in 0..self.units.len() as UnitId {
            let mut found = Vec::new();
            let mut ways = |enter: (NodeId, bool), exit: (NodeId, bool)| {
                self.reads(enter.0, enter.1, &mut |source, matters| found.push((source, matters, NEVER)));
                self.reads(exit.0, exit.1, &mut |source, matters| found.push((source, NEVER, matters)));
            };
            match &self.units[unit as usize].kind {
                UnitKind::Dwell { operand } | UnitKind::ExitDelay { operand, .. } | UnitKind::Keys { of: operand } => {
                    ways((*operand, true), (*operand, false))
                }
                UnitKind::Waiting { .. } => {}
                UnitKind::Stages(stages) => {
                    for (_, when) in &stages.stages {
                        for up in [true, false] {
                            self.reads(*when, up, &mut |source, matters| {
                                if matters.at_all {
                                    found.push((source, ALWAYS, ALWAYS));
                                }
                            });
                        }
                    }
                }
                UnitKind::Segment(s) => match (&s.delays, s.exit) {
                    (Some(delays), _) => self.delayed_reads(s, delays, &mut found),
                    (None, None) => ways((s.when, true), (s.when, false)),
                    (None, Some(exit)) => ways((s.enter, true), (exit, true)),
                },
            }
            // One more key, or one fewer, does not turn a condition that holds for others; what remembers them wants to know.
            let each = matches!(self.units[unit as usize].kind, UnitKind::Keys { .. });
            for (source, enters, exits) in found {
                let (enters, exits) = if each { (ALWAYS, ALWAYS) } else { (enters, exits) };
                match source {
                    Source::Feature(feature) => edge(&mut self.features[feature as usize].edges, unit, enters, exits),
                    Source::Trait(index) => edge(&mut reverse.traits[index.at()], unit, enters, exits),
                    Source::List(index) => edge(&mut reverse.lists[index.at()], unit, enters, exits),
                    Source::Cart => edge(&mut reverse.cart, unit, enters, exits),
                    Source::Losses(feature) => {
                        let losses = &mut self.features[feature as usize].losses;
                        if losses.last() != Some(&unit) {
                            losses.push(unit);
                        }
                    }
                    Source::Unit(other) => {
                        let dependents = &mut self.units[other as usize].dependents;
                        if !dependents.contains(&unit) {
                            dependents.push(unit);
                        }
                    }
                }
            }
        }
        reverse
    }

    /// Tells of everything that a condition reads whether one more record can raise (`up`) or lower the condition.
    pub(super) fn reads(&self, node: NodeId, up: bool, tell: &mut dyn FnMut(Source, Matters)) {
        let of_terms = |node: &Node, effect: Effect, tell: &mut dyn FnMut(Source, Matters)| {
            for term in node.terms() {
                self.term_sources(term, &mut |source| tell(source, effect.matters(up)));
            }
        };
        match &self.nodes[node as usize].node {
            Node::Constant(_) => {}
            Node::And(all) | Node::Or(all) => all.iter().for_each(|n| self.reads(*n, up, tell)),
            Node::Not(of) => self.reads(*of, !up, tell),
            // The operand's own reads are those of the dwell's unit, which tells its dependents when it turns.
            Node::Held { unit, .. } => tell(Source::Unit(*unit), ALWAYS),
            Node::InSegment { unit, .. } => tell(Source::Unit(*unit), ALWAYS),
            Node::Consent { slot, .. } => tell(Source::Trait(*slot), ALWAYS),
            Node::Quantity { feature, quantity, window, rel, with } => {
                // A count cannot be negative, so `= 0` says the same as `<= 0`.
                let none = *rel == Rel::Eq && with.num == 0 && matches!(quantity, Quantity::Count | Quantity::Distinct);
                let rel = if none { Rel::Le } else { *rel };
                let effect = self.quantity_effect(*feature, *quantity, *window, rel);
                self.tell_of(*feature, effect.matters(up), tell);
            }
            Node::SomeKey { of, .. } => self.reads(*of, up, tell),
            Node::FirstSince { feature } => self.tell_of(*feature, BOTH.matters(up), tell),
            node @ Node::InSession { session, .. } => {
                tell(Source::Feature(*session), ALWAYS);
                of_terms(node, BOTH, tell);
            }
            Node::Score { feature, rel, .. } => {
                let effect = if self.only_adds(*feature) { ordered(*rel) } else { BOTH };
                tell(Source::Feature(*feature), effect.matters(up));
            }
            Node::Sequence { feature, window } => {
                self.tell_of(*feature, self.sequence_effect(*feature, *window).matters(up), tell);
            }
            Node::CartEmpty | Node::CartHas(_) => tell(Source::Cart, ALWAYS),
            Node::Calendar(calendar) => self.calendar_reads(calendar, up, tell),
            Node::InList(list) => tell(Source::List(*list), ALWAYS),
            // A newer newest event only ever brings an instant nearer.
            node @ Node::Aged { of, window } => {
                let newest = matches!(self.terms[*of as usize], TermNode::RingEnd { newest: true, .. });
                let effect = match (newest, window.near) {
                    (false, _) => BOTH,
                    (true, Millis::ZERO) => RAISES,
                    // Younger than the near edge the newest event is outside of the window: it can only have left it.
                    (true, near) => Effect { delay: Some(near), ..BOTH },
                };
                of_terms(node, effect, tell);
            }
            node => of_terms(node, BOTH, tell),
        }
    }

    /// A feature, and whose session or key it depends on.
    fn tell_of(&self, feature: FeatureId, matters: Matters, tell: &mut dyn FnMut(Source, Matters)) {
        tell(Source::Feature(feature), matters);
        self.beyond_entries(feature, &mut |source| tell(source, ALWAYS));
    }

    /// What else than an entry can change what a feature says.
    fn beyond_entries(&self, feature: FeatureId, tell: &mut dyn FnMut(Source)) {
        if self.loses(feature) {
            tell(Source::Losses(feature));
        }
        if self.features[feature as usize].within.session {
            self.session.into_iter().for_each(|session| tell(Source::Feature(session)));
        }
        self.feature_zone(feature, tell);
    }

    fn quantity_effect(&self, feature: FeatureId, quantity: Quantity, window: AgeWindow, rel: Rel) -> Effect {
        // Merging old entries can move what they add past an inner edge (LANGUAGE.md S9).
        if matches!(&self.features[feature as usize].kind, FeatureKind::Log { thin: None, .. }) && window.near > Millis::ZERO {
            return BOTH;
        }
        match (quantity, rel) {
            (Quantity::Count | Quantity::Distinct, rel) => ordered(rel),
            (Quantity::Max, Rel::Ge | Rel::Gt) | (Quantity::Min, Rel::Le | Rel::Lt) => RAISES,
            _ => BOTH,
        }
    }

    /// A completion that nothing can take back only gets newer: in a window without near edge it stays longer.
    fn sequence_effect(&self, feature: FeatureId, window: AgeWindow) -> Effect {
        match &self.features[feature as usize].kind {
            FeatureKind::Sequence(plan) if plan.only_grows() && window.near == Millis::ZERO => RAISES,
            _ => BOTH,
        }
    }

    /// The trait that moves local clocks.
    fn zone_source(&self, zone: ZoneRef, tell: &mut dyn FnMut(Source)) {
        if let (ZoneRef::Customer, Some(index)) = (zone, self.zones.customer) {
            tell(Source::Trait(index));
        }
    }

    fn feature_zone(&self, feature: FeatureId, tell: &mut dyn FnMut(Source)) {
        if let FeatureKind::Periods { axis: Axis::Periods { zone, .. }, .. } = self.features[feature as usize].kind {
            self.zone_source(zone, tell);
        }
    }

    fn calendar_reads(&self, calendar: &CalendarNode, up: bool, tell: &mut dyn FnMut(Source, Matters)) {
        self.zone_source(calendar.zone(), &mut |source| tell(source, ALWAYS));
        if let Some(term) = calendar.term() {
            self.term_sources(term, &mut |source| tell(source, ALWAYS));
        }
        if let CalendarNode::NofM { feature, rel, count, .. } = calendar {
            // Counts only grow; that of a period is never negative, so `= 0` says the same as `<= 0`.
            let rel = if (*rel, *count) == (Rel::Eq, 0) { Rel::Le } else { *rel };
            tell(Source::Feature(*feature), ordered(rel).matters(up));
        }
    }

    /// Whether no rule of a score takes points or resets it.
    fn only_adds(&self, feature: FeatureId) -> bool {
        let FeatureKind::Score { definition } = self.features[feature as usize].kind else { return false };
        match &self.workspace.definitions[definition.at()].kind {
            DefinitionKind::Score(score) => score.rules.iter().all(|r| r.add.is_some_and(|d| d.0 >= 0)),
            _ => false,
        }
    }

    fn term_sources(&self, term: TermId, tell: &mut dyn FnMut(Source)) {
        match &self.terms[term as usize] {
            TermNode::Literal(_) | TermNode::FirstSeen | TermNode::Bucket(_) => {}
            TermNode::Key { unit } => tell(Source::Unit(*unit)),
            TermNode::Trait { index, .. } => tell(Source::Trait(*index)),
            TermNode::CartValue | TermNode::CartQuantity | TermNode::CartItems | TermNode::CartChangedAt => tell(Source::Cart),
            TermNode::Quantity { feature, .. } | TermNode::Completion { feature } => {
                tell(Source::Feature(*feature));
                self.beyond_entries(*feature, tell);
            }
            TermNode::RingEnd { feature, .. } | TermNode::FirstLast { feature, .. } | TermNode::Score { feature } => {
                tell(Source::Feature(*feature))
            }
            TermNode::Arithmetic { left, right, .. } => {
                self.term_sources(*left, tell);
                self.term_sources(*right, tell);
            }
            TermNode::Age(of) | TermNode::Band { of, .. } => self.term_sources(*of, tell),
            TermNode::Crossing { unit, .. } | TermNode::Stage { unit } => tell(Source::Unit(*unit)),
            TermNode::Points(rules) => {
                for (_, node) in rules {
                    for up in [true, false] {
                        self.reads(*node, up, &mut |source, matters| {
                            if matters.at_all {
                                tell(source);
                            }
                        });
                    }
                }
            }
            TermNode::Calendar(calendar) => {
                self.zone_source(calendar.zone(), tell);
                if let CalendarTerm::Midnight { of, .. } = calendar {
                    self.term_sources(*of, tell);
                }
            }
        }
    }
}

/// What a quantity that only grows does to its comparison with a constant.
fn ordered(rel: Rel) -> Effect {
    match rel {
        Rel::Ge | Rel::Gt => RAISES,
        Rel::Le | Rel::Lt => LOWERS,
        Rel::Eq => BOTH,
    }
}
