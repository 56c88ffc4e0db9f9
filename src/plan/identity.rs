//! What features and dwells are called across sets of definitions, so that a customer's state can follow a change of the set
//! (LANGUAGE.md S38, S39, 10.5).
//!
//! Numbers of a plan hold for one set only. A *meaning* is a text of names and canonical forms: two features with equal meanings count the
//! same events, and differ at most in how much they keep. What has no meaning of its own (a form that this file does not know) gets one that
//! no other set has: its state starts anew, which is never wrong.

use std::collections::HashSet;

use super::Plan;
use super::build::Builder;
use super::calendar::{Axis, CalendarNode};
use super::feature::{Feature, FeatureId, FeatureKind};
use super::node::{Node, TermId, TermNode};
use crate::lang::canonical;
use crate::model::calendar::Period;
use crate::time::Millis;

/// Identity of a feature over sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// Which events, which of their properties, what is made of them.
    pub text: Box<str>,
    /// How much is kept.
    pub kept: Box<str>,
    /// Belongs to one segment with `backfill none`: before the segment there is nothing that it could lack.
    pub own: bool,
}

/// By feature.
pub(super) fn meanings(builder: &Builder) -> Vec<Meaning> {
    let mut seen = HashSet::new();
    let mut out = Vec::with_capacity(builder.features.len());
    for (id, feature) in builder.features.iter().enumerate() {
        let own = builder.owners.get(&(id as FeatureId));
        let mut text = meaning(builder, id as FeatureId, feature);
        if let Some(own) = own {
            text = format!("of {own}: {text}");
        }
        // Never two of one name.
        if !seen.insert(text.clone()) {
            text = format!("{text} #{id} of {}", builder.workspace.hash);
        }
        let kept = match &feature.kind {
            FeatureKind::Score { .. } | FeatureKind::Sequence(_) | FeatureKind::Crossings { .. } => String::new(),
            kind => format!("{kind:?}"),
        };
        out.push(Meaning { text: text.into(), kept: kept.into(), own: own.is_some() });
    }
    out
}

fn meaning(builder: &Builder, id: FeatureId, feature: &Feature) -> String {
    // What feeds it, and as what.
    let mut fed: Vec<String> = Vec::new();
    for selector in &builder.selectors {
        for (_, role) in selector.feeds.iter().filter(|f| f.0 == id) {
            let text = canonical::selector_text(builder.workspace, &selector.selector);
            fed.push(format!("{role:?} {text} {:?}", selector.zone));
        }
    }
    fed.sort_unstable();
    let family = match &feature.kind {
        FeatureKind::Counter { .. } => "counter".to_owned(),
        FeatureKind::Ring { keep, .. } => format!("ring {keep:?}"),
        FeatureKind::Log { windows, thin: Some(_), .. } => format!("thin log {:?}", windows.first()),
        FeatureKind::Log { values, extremes, .. } => format!("log {values:?} {extremes}"),
        FeatureKind::Extremes { max, .. } => format!("extremes {max}"),
        FeatureKind::Distinct { keep, .. } => format!("distinct {keep:?}"),
        FeatureKind::FirstLast { which, .. } => format!("{which:?}"),
        FeatureKind::Score { definition } => format!("score {}", builder.workspace.definitions[definition.at()].hash),
        FeatureKind::Sequence(s) => format!("sequence {:?} {:?} {:?}", s.steps, s.absence, s.total),
        FeatureKind::Periods { axis, values, .. } => format!("periods {axis:?} {values:?}"),
        FeatureKind::Session => "session".to_owned(),
        // As published, whatever the segment meant at the time.
        FeatureKind::Crossings { definition, entered } => {
            format!("{} {}", if *entered { "entries into" } else { "exits from" }, builder.workspace.definitions[definition.at()].name)
        }
    };
    // The mark is among what feeds it.
    let within = (feature.within.session, &feature.within.key);
    format!("{family} of {fed:?} {:?} {:?} {within:?}", feature.property, feature.unit)
}

/// How long after an instant a feature can still lack something that came at or before it, by feature; `None`: for ever, or as long as an event
/// will have it.
pub(super) fn horizons(plan: &Plan) -> Vec<Option<Millis>> {
    let mut out = vec![Some(Millis::ZERO); plan.features.len()];
    let mut widen = |feature: FeatureId, far: Option<Millis>| {
        let known = &mut out[feature as usize];
        *known = known.zip(far).map(|(a, b)| a.max(b));
    };
    let window = |feature: FeatureId, far: Millis| window_horizon(&plan.features[feature as usize], far);
    for info in &plan.nodes {
        match &info.node {
            Node::Quantity { feature, window: w, .. } => widen(*feature, window(*feature, w.far)),
            Node::Score { feature, .. } | Node::FirstSince { feature } => widen(*feature, None),
            // A match that began before is complete within its span.
            Node::Sequence { feature, window: w } => match &plan.features[*feature as usize].kind {
                FeatureKind::Sequence(s) => {
                    let far = window(*feature, w.far).zip(s.span());
                    widen(*feature, far.map(|(far, span)| Millis(far.0.saturating_add(span.0))));
                }
                _ => widen(*feature, None),
            },
            Node::Aged { of, window: w } => {
                if let TermNode::RingEnd { feature, newest: true } | TermNode::Crossing { feature, .. } = &plan.terms[*of as usize] {
                    widen(*feature, window(*feature, w.far));
                }
            }
            Node::Calendar(CalendarNode::NofM { feature, m, .. }) => widen(*feature, window(*feature, Millis(i64::from(*m)))),
            Node::InSession { session, .. } => widen(*session, None),
            _ => {}
        }
    }
    for (id, term) in plan.terms.iter().enumerate() {
        match term {
            TermNode::Quantity { feature, window: w, .. } => widen(*feature, window(*feature, w.far)),
            TermNode::Crossing { feature, .. } if !only_aged(plan, id as TermId) => {
                widen(*feature, None);
            }
            TermNode::RingEnd { feature, newest } if (!*newest || !only_aged(plan, id as TermId)) => {
                widen(*feature, None);
            }
            TermNode::FirstLast { feature, .. } | TermNode::Score { feature } | TermNode::Completion { feature } => widen(*feature, None),
            _ => {}
        }
    }
    for (id, feature) in plan.features.iter().enumerate() {
        if feature.kind == FeatureKind::Session {
            widen(id as FeatureId, None);
        }
    }
    out
}

/// How long after an instant a window of a feature can hold what came at or before it.
fn window_horizon(feature: &Feature, far: Millis) -> Option<Millis> {
    let bounded = (far.0 != i64::MAX && !feature.within.session && feature.within.since.is_none()).then_some(far)?;
    match &feature.kind {
        FeatureKind::Periods { axis: Axis::Periods { unit, .. }, .. } => {
            // Never too short: some days have more hours, and an instant may lie at the start of its period.
            let longest = match unit {
                Period::Day => 2,
                Period::Week => 8,
                Period::Month => 32,
                Period::Year => 367,
            };
            Some(Millis((bounded.0.saturating_add(1)).saturating_mul(longest * Millis::DAY.0)))
        }
        FeatureKind::Periods { axis: Axis::Dates { .. }, .. } => None,
        _ => Some(bounded),
    }
}

/// Whether a term is read by nothing but windows by age.
fn only_aged(plan: &Plan, term: TermId) -> bool {
    let in_nodes = plan.nodes.iter().filter(|n| !matches!(n.node, Node::Aged { .. })).any(|n| n.node.terms().any(|t| t == term));
    let in_terms = plan.terms.iter().any(|t| match t {
        TermNode::Arithmetic { left, right, .. } => *left == term || *right == term,
        TermNode::Age(of) => *of == term,
        _ => false,
    });
    !in_nodes && !in_terms
}
