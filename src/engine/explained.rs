//! Why a customer is or is not in each segment, as data: each condition with what is seen and asked for, when it flips with no further
//! record, and which record would flip it.
//!
//! What happens with no further record is not computed but tried, on a copy of the one customer, so that delays, settling and references
//! between segments come out as the engine itself decides them.

use serde::{Deserialize, Serialize};

use super::evaluate::Work;
use super::output::Outputs;
use super::program::{Program, State};
use super::warming::Truth;
use super::{Batch, Engine, batch, customer, reason};
use crate::lang::definition::{Rel, Which};
use crate::model::{ChangeKind, Value};
use crate::plan::feature::{FeatureId, FeatureKind, Quantity};
use crate::plan::node::{Node, NodeId, TermId, TermNode, UnitId, UnitKind};
use crate::plan::window::{AgeWindow, Ratio};
use crate::time::{Millis, Timestamp};

/// Instants that are looked at for the next change without a record, and per condition for its next flip.
const STEPS_MAX: usize = 1_000;
/// Within which the next change is looked for: what comes later is hardly asked for.
const AHEAD_MAX: Millis = Millis(10 * 366 * Millis::DAY.0);

/// A customer against every segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub customer: String,
    /// The instant that is looked at; `None`: the shard has no clock yet.
    #[serde(with = "some_instant")]
    pub at: Option<Timestamp>,
    /// `None`: no record so far.
    #[serde(with = "some_instant")]
    pub first_seen: Option<Timestamp>,
    pub segments: Vec<Segment>,
}

/// One segment, or a set of stages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub segment: String,
    pub member: bool,
    /// Of stages: the present one.
    pub stage: Option<String>,
    /// Of the last change; `None`: there was none.
    #[serde(with = "some_instant")]
    pub since: Option<Timestamp>,
    /// What comes with no further record, if anything.
    pub next: Option<Next>,
    pub parts: Vec<Part>,
}

/// A change that time alone brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    #[serde(with = "instant")]
    pub at: Timestamp,
    /// `entered`, `exited` or `moved to NAME`.
    pub change: String,
}

/// A clause of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// `when`, `exit when`, `require consent`, `stage NAME when`.
    pub clause: String,
    pub condition: Condition,
}

/// A condition, or several under `and` or `or`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// In the language; `all of`, `any of` or `none of these together` over others.
    pub text: String,
    /// `None`: not known yet after a change of definitions.
    pub holds: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<String>,
    /// When it flips with no further record.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "some_instant")]
    pub flips_at: Option<Timestamp>,
    /// When it is known at the latest, where it is not; absent where only records can tell.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "some_instant")]
    pub known_from: Option<Timestamp>,
    /// Which record would flip it, where that can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flips_by: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<Condition>,
}

impl Engine {
    /// An engine with a copy of one customer, for looking ahead; `None` for an unknown one.
    ///
    /// **Cost:** one customer's bytes; what it is taken from is not touched.
    pub fn only(&self, customer: &str) -> Option<Engine> {
        let hash = batch::customer_hash(customer);
        let bytes = self.store.get(self.store.find(hash, customer)?);
        let program = self.program_of(bytes);
        let mut copy = Engine::new(program.plan.clone(), program.settings.clone());
        copy.clock = self.clock;
        copy.generation = customer::generation(bytes);
        if std::sync::Arc::ptr_eq(&program.plan, &self.program.plan) {
            copy.lacking.clone_from(&self.lacking);
        }
        let deadline = customer::armed(bytes);
        let slot = copy.store.insert(hash, customer, bytes);
        if deadline != Timestamp::MAX {
            copy.timers.arm(deadline, slot);
            copy.armed += 1;
        }
        Some(copy)
    }

    /// Explains a customer at the clock, or at a later instant up to which timers have fired. Not for the path of events: it copies the customer
    /// and tries what time brings.
    pub fn explain(&self, customer: &str, at: Option<Timestamp>) -> Explanation {
        let t = at.map_or(self.clock, |at| at.max(self.clock));
        let mut out = Explanation { customer: customer.into(), at: (t != Timestamp::MIN).then_some(t), ..Explanation::default() };
        let Some((program, mut work)) = self.look_at(customer) else { return out };
        out.first_seen = Some(work.customer.first_seen);
        work.new_pass();
        for unit in 0..program.plan.units.len() as UnitId {
            out.segments.extend(segment(program, &mut work, unit, t));
        }
        if let Some(copy) = self.only(customer) {
            copy.look_ahead(&mut out.segments);
        }
        out
    }

    /// Fills in the first change of each segment that comes with no further record.
    fn look_ahead(mut self, segments: &mut [Segment]) {
        let end = self.clock + AHEAD_MAX;
        let mut missing = segments.len();
        for _ in 0..STEPS_MAX {
            let Some(due) = self.next_wake().filter(|due| *due <= end && missing > 0) else { return };
            let mut outputs = Outputs::default();
            self.apply(&Batch::default(), Some(due), &mut outputs);
            for change in outputs.changes.iter().map(|p| &p.change) {
                let found = segments.iter_mut().find(|s| *s.segment == *change.segment);
                let Some(segment) = found.filter(|s| s.next.is_none()) else { continue };
                let what = match &change.kind {
                    ChangeKind::Entered => "entered".into(),
                    ChangeKind::Exited => "exited".into(),
                    ChangeKind::Moved { to, .. } => format!("moved to {to}"),
                };
                segment.next = Some(Next { at: change.decided_at, change: what });
                missing -= 1;
            }
        }
    }
}

fn segment(program: &Program, work: &mut Work, unit: UnitId, t: Timestamp) -> Option<Segment> {
    let entry = work.customer.unit(unit).copied();
    let mut out = Segment {
        segment: program.plan.unit_name(unit),
        member: work.customer.is_member(unit),
        since: entry.map(|entry| entry.since),
        ..Segment::default()
    };
    let mut part = |work: &mut Work, clause: String, node| out.parts.push(Part { clause, condition: condition(program, work, node, t) });
    match &program.plan.units[unit as usize].kind {
        UnitKind::Segment(segment) => {
            part(work, "when".into(), segment.when);
            if let Some(exit) = segment.exit {
                part(work, "exit when".into(), exit);
            }
            if let Some(consent) = segment.delays.as_ref().and_then(|delays| delays.consent) {
                part(work, "require consent".into(), consent);
            }
        }
        UnitKind::Stages(stages) => {
            for (stage, when) in &stages.stages {
                part(work, format!("stage {stage} when"), *when);
            }
            out.stage = Some(work.stage_at(program, unit, t).to_string());
            out.member = true;
        }
        UnitKind::Dwell { .. } | UnitKind::ExitDelay { .. } | UnitKind::Waiting { .. } | UnitKind::Keys { .. } => return None,
    }
    Some(out)
}

fn condition(program: &Program, work: &mut Work, id: NodeId, t: Timestamp) -> Condition {
    let info = &program.plan.nodes[id as usize];
    let holds = match work.truth(program, id, t) {
        Truth::True => Some(true),
        Truth::False => Some(false),
        Truth::Unknown => None,
    };
    let under = |work: &mut Work, text: &str, nodes: &[NodeId]| {
        // About the order in which the author wrote them; the graph's is by cost.
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        let of = nodes.into_iter().map(|n| condition(program, work, n, t)).collect();
        Condition { text: text.into(), holds, of, ..Condition::default() }
    };
    match &info.node {
        Node::And(all) => under(work, "all of", all),
        Node::Or(any) => under(work, "any of", any),
        Node::Not(of) if info.text.is_empty() || matches!(program.plan.nodes[*of as usize].node, Node::And(_) | Node::Or(_)) => {
            under(work, "not", &[*of])
        }
        node => {
            let (seen, inner_holds) = match node {
                Node::Not(of) => (*of, holds.map(|holds| !holds)),
                _ => (id, holds),
            };
            let observed = reason::observed(program, work, seen, t);
            let flips_at = holds.and_then(|holds| flip(program, work, id, holds, t));
            let known_from = if holds.is_none() { known_from(program, work, id, t) } else { None };
            work.new_pass();
            let flips_by = inner_holds.and_then(|holds| needed(program, work, seen, holds, t));
            let threshold = &program.plan.nodes[seen as usize].threshold;
            let threshold = Some(threshold.to_string()).filter(|text| !text.is_empty());
            Condition {
                text: info.text.to_string(),
                holds,
                observed: Some(observed),
                threshold,
                flips_at,
                known_from,
                flips_by,
                of: Vec::new(),
            }
        }
    }
}

/// The first instant after `t` at which a condition is another with no further record, as far as it can be seen.
fn flip(program: &Program, work: &mut Work, id: NodeId, holds: bool, t: Timestamp) -> Option<Timestamp> {
    let mut at = t;
    for _ in 0..STEPS_MAX {
        work.new_pass();
        let until = work.node(program, id, at).until;
        if until <= at || until == Timestamp::MAX {
            return None;
        }
        at = until;
        work.new_pass();
        if work.node(program, id, at).holds != holds {
            return Some(at);
        }
    }
    None
}

/// The first instant after `t` at which a condition is known with no further record, as far as it can be seen.
fn known_from(program: &Program, work: &mut Work, id: NodeId, t: Timestamp) -> Option<Timestamp> {
    let mut at = t;
    for _ in 0..STEPS_MAX {
        work.new_pass();
        let until = work.as_far_as_known(program, id, at, false).until;
        if until <= at || until == Timestamp::MAX {
            return None;
        }
        at = until;
        work.new_pass();
        if work.truth(program, id, at) != Truth::Unknown {
            return Some(at);
        }
    }
    None
}

/// Which record would flip a condition.
fn needed(program: &Program, work: &mut Work, id: NodeId, holds: bool, t: Timestamp) -> Option<String> {
    match &program.plan.nodes[id as usize].node {
        Node::Quantity { feature, quantity, window, rel, with } => {
            work.load_of_node(program, id);
            let of = selector_of(program, *feature)?;
            more(program, work, (*feature, *quantity, *window), (*rel, *with), holds, of, t)
        }
        Node::SomeKey { feature, of } => {
            work.load_of_node(program, id);
            let key = work.look_at_key(program, *feature, *of, t).map(|key| key.to_value());
            let needed = needed(program, work, *of, holds, t)?;
            let path = program.plan.features[*feature as usize].within.key.as_ref().map(|path| path.join("."))?;
            Some(match key {
                Some(key) => format!("{needed} with {path} = {key}"),
                None => format!("{needed} with one {path}"),
            })
        }
        Node::Held { operand, at_least, .. } if !holds && work.truth(program, *operand, t) == Truth::False => {
            needed(program, work, *operand, false, t).map(|needed| format!("{needed}, and then {at_least} without a break"))
        }
        Node::Held { operand, .. } if holds => needed(program, work, *operand, true, t),
        Node::Aged { of, window } => {
            let young = window.near == Millis::ZERO;
            match (source(program, *of)?, holds, young) {
                // Only time makes it older.
                (Source::Event(_), false, false) if work.is_instant(program, *of, t) => None,
                (Source::Event(of), false, false) => Some(format!("1 {of}, and then {}", window.near)),
                (Source::Event(_), true, true) => None,
                (Source::First(_), ..) if work.is_instant(program, *of, t) => None,
                (Source::First(of), false, false) => Some(format!("1 {of}, and then {}", window.near)),
                (Source::First(of), ..) => Some(format!("1 {of}")),
                (Source::Event(of), ..) => Some(format!("1 {of}")),
                (Source::Other(text), ..) => Some(text),
            }
        }
        Node::InList(list) => {
            let name = &program.plan.workspace().catalogue.lists[list.at()];
            Some(format!("a record that {} list {name}", if holds { "takes the customer out of" } else { "puts the customer into" }))
        }
        Node::Consent { purpose, .. } => {
            let name = &program.plan.workspace().catalogue.purposes[purpose.at()].name;
            Some(format!("a consent record that {} {name}", if holds { "withdraws" } else { "grants" }))
        }
        Node::InSegment { unit, .. } => Some(format!("{} {}", if holds { "leaving" } else { "entering" }, program.plan.unit_name(*unit))),
        Node::CartEmpty => Some(if holds { "something put into the cart" } else { "an empty cart" }.into()),
        Node::CartHas(_) => Some("another content of the cart".into()),
        Node::Sequence { .. } if !holds => Some("the steps that are still missing, in their order".into()),
        Node::Calendar(_) | Node::InSession { .. } | Node::After { .. } => None,
        leaf => leaf.terms().find_map(|term| source(program, term)).map(Source::text),
    }
}

/// How many more entries, or how much more of them, an aggregate against a constant lacks, and before when.
fn more(
    program: &Program,
    work: &Work,
    (feature, quantity, window): (u32, Quantity, AgeWindow),
    (rel, with): (Rel, Ratio),
    holds: bool,
    of: String,
    t: Timestamp,
) -> Option<String> {
    let up = match rel {
        Rel::Ge | Rel::Gt => !holds,
        Rel::Lt | Rel::Le => holds,
        Rel::Eq => true,
    };
    let info = &program.plan.features[feature as usize];
    let reading = work.read(program, feature, quantity, window, t);
    let value = reading.value.unwrap_or(Ratio::whole(0));
    // Only what is counted at once, and only upwards, can be said in one number; the rest is time's or another value's.
    if !up || window.near != Millis::ZERO || value.den != 1 || value.num < 0 {
        return None;
    }
    let property = info.property.as_ref().map_or_else(String::new, |path| path.join("."));
    // The least whole number that satisfies, or that satisfies no more.
    let floor = with.num.div_euclid(with.den);
    let whole = floor * with.den == with.num;
    let target = match (rel, holds) {
        (Rel::Ge, _) | (Rel::Lt, _) => {
            if whole {
                floor
            } else {
                floor + 1
            }
        }
        (Rel::Gt, _) | (Rel::Le, _) => floor + 1,
        (Rel::Eq, false) if whole && value.num < floor => floor,
        (Rel::Eq, true) => value.num + 1,
        (Rel::Eq, false) => return None,
    };
    let lacks = (target - value.num).max(1);
    let what = match quantity {
        Quantity::Count => format!("{lacks} more {of}"),
        Quantity::Distinct => format!("{lacks} more {of} with another {property}"),
        Quantity::Sum => {
            let lacks = i64::try_from(lacks).ok()?;
            let shown: Value = super::value::Val::of_feature(info.unit, Some(Ratio::whole(i128::from(lacks)))).0.to_value();
            format!("{of} with {property} of {shown} more in all")
        }
        Quantity::Avg | Quantity::Min | Quantity::Max => return Some(format!("{of} with another {property}")),
    };
    let before = match work.kept(program, feature, t) {
        (State::Ring(ring), _) => ring.next_leaving(window, t),
        _ if value.num > 0 && !window.is_unbounded() => reading.next,
        _ => Timestamp::MAX,
    };
    let before = if value.num == 0 { Timestamp::MAX } else { before };
    Some(if before == Timestamp::MAX { what } else { format!("{what} before {before}") })
}

/// What a term comes from.
enum Source {
    Event(String),
    /// The first of them, which further ones leave as it is.
    First(String),
    Other(String),
}

impl Source {
    fn text(self) -> String {
        match self {
            Source::Event(selector) => format!("another {selector}"),
            Source::First(selector) => format!("{selector}, if there was none"),
            Source::Other(text) => text,
        }
    }
}

fn selector_of(program: &Program, feature: FeatureId) -> Option<String> {
    let selector = program.plan.features[feature as usize].selector?;
    Some(program.plan.selectors[selector as usize].clone())
}

fn is_first(program: &Program, feature: FeatureId) -> bool {
    matches!(program.plan.features[feature as usize].kind, FeatureKind::FirstLast { which: Which::First, .. })
}

fn source(program: &Program, term: TermId) -> Option<Source> {
    match &program.plan.terms[term as usize] {
        TermNode::Trait { index, .. } => {
            let traits = &program.plan.workspace().catalogue.traits;
            traits.get(index.at()).map(|t| Source::Other(format!("another value of customer.{}", t.name)))
        }
        TermNode::RingEnd { feature, newest: false } => Some(Source::First(selector_of(program, *feature)?)),
        TermNode::FirstLast { feature, .. } if is_first(program, *feature) => Some(Source::First(selector_of(program, *feature)?)),
        TermNode::Quantity { feature, .. } | TermNode::RingEnd { feature, .. } | TermNode::FirstLast { feature, .. } => {
            Some(Source::Event(selector_of(program, *feature)?))
        }
        TermNode::CartValue | TermNode::CartQuantity | TermNode::CartItems | TermNode::CartChangedAt => {
            Some(Source::Other("another content of the cart".into()))
        }
        TermNode::Score { .. } => Some(Source::Other("events that the score counts".into())),
        TermNode::Arithmetic { left, right, .. } => source(program, *left).or_else(|| source(program, *right)),
        TermNode::Age(of) | TermNode::Band { of, .. } => source(program, *of),
        _ => None,
    }
}

impl Work {
    fn is_instant(&mut self, program: &Program, term: TermId, t: Timestamp) -> bool {
        self.load_of_term(program, term);
        self.instant(program, term, t).is_some()
    }
}

/// RFC 3339.
mod instant {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::time::Timestamp;

    pub fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        at.to_string().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(from)?;
        Timestamp::parse_rfc3339(&text).ok_or_else(|| de::Error::custom("no instant"))
    }
}

/// RFC 3339, or null.
mod some_instant {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::time::Timestamp;

    pub fn serialize<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        at.map(|at| at.to_string()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let read = |text: String| Timestamp::parse_rfc3339(&text).ok_or_else(|| de::Error::custom("no instant"));
        text.map(read).transpose()
    }
}
