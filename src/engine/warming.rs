//! Conditions of customers whose state lacks something after a change of definitions (LANGUAGE.md S39): three-valued, with what is kept as a
//! bound.
//!
//! A count, a distinct count and a sum of non-negative values can only be larger than what is kept, a maximum too, a minimum only smaller. So
//! `at least k` may be true already while `= 0`, `<`, averages and `first` are unknown. `and`, `or` and `not` follow Kleene; what is unknown
//! makes nobody a member and, as an exit condition, lets nobody go. What is unknown becomes known by an event, or when the old edge of
//! its window passes the last instant that may be missing: `until` names that instant, so a timer fires there.
//!
//! Only customers with a [`Gap`](super::gaps::Gap) come here.

use super::evaluate::{Work, held};
use super::features::{AgeWindow, Verdict};
use super::gaps::Lack;
use super::program::{Program, State};
use super::until::UNTIL_DEPTH_MAX;
use crate::lang::definition::{DefinitionKind, Rel, Which};
use crate::plan::calendar::{Axis, CalendarNode, CalendarTerm};
use crate::plan::feature::{FeatureId, FeatureKind, Quantity};
use crate::plan::node::{Node, NodeId, TermId, TermNode, UnitId, UnitKind};
use crate::plan::window::Ratio;
use crate::time::{Millis, Timestamp};

/// A value of three-valued logic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    False,
    Unknown,
    True,
}

/// What is known of a condition, and the first instant at which that may differ without a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub truth: Truth,
    pub until: Timestamp,
    pub approx: bool,
}

/// How other segments are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// As published.
    Now,
    /// As published, and with what time alone may make of them.
    Deep,
    /// As they were at an earlier instant.
    Past,
}

impl From<Verdict> for Known {
    fn from(v: Verdict) -> Known {
        Known { truth: if v.holds { Truth::True } else { Truth::False }, until: v.until, approx: v.approx }
    }
}

impl Known {
    fn fixed(truth: Truth) -> Known {
        Known { truth, until: Timestamp::MAX, approx: false }
    }

    fn unknown(until: Timestamp) -> Known {
        Known { truth: Truth::Unknown, until, approx: false }
    }

    fn opposite(self) -> Known {
        let truth = match self.truth {
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
            Truth::True => Truth::False,
        };
        Known { truth, ..self }
    }
}

impl Work {
    /// Whether a condition is known to hold; `deep` as [`Work::deep_until`].
    pub fn as_far_as_known(&mut self, program: &Program, id: NodeId, t: Timestamp, deep: bool) -> Verdict {
        let known = self.known(program, id, t, if deep { View::Deep } else { View::Now }, 0);
        Verdict { holds: known.truth == Truth::True, until: known.until, approx: known.approx }
    }

    /// Whether a condition is known to have held at an instant before the clock.
    pub fn known_at(&mut self, program: &Program, id: NodeId, t: Timestamp) -> bool {
        self.known(program, id, t, View::Past, 0).truth == Truth::True
    }

    /// The three-valued value of a condition at the instant of the present pass.
    pub fn truth(&mut self, program: &Program, id: NodeId, t: Timestamp) -> Truth {
        self.known(program, id, t, View::Now, 0).truth
    }

    /// Whether it is known what a segment's conditions are, that which lets members go or that which lets others in.
    pub fn is_known(&mut self, program: &Program, unit: UnitId, t: Timestamp) -> bool {
        let UnitKind::Segment(segment) = &program.plan.units[unit as usize].kind else { return true };
        let delays = segment.delays.as_ref();
        let node = match segment.exit {
            Some(exit) if self.customer.is_member(unit) => delays.map_or(exit, |d| d.exit),
            _ => delays.map_or(segment.enter, |d| d.enter),
        };
        self.truth(program, node, t) != Truth::Unknown
    }

    fn known(&mut self, program: &Program, id: NodeId, t: Timestamp, view: View, depth: usize) -> Known {
        match &program.plan.nodes[id as usize].node {
            Node::And(all) => self.combined(program, all, t, (view, depth), Truth::True),
            Node::Or(any) => self.combined(program, any, t, (view, depth), Truth::False),
            Node::Not(of) => self.known(program, *of, t, view, depth).opposite(),
            Node::Constant(value) => Verdict::fixed(*value).into(),
            Node::InSegment { unit, .. } => self.in_segment(program, *unit, t, view, depth),
            Node::Held { unit, operand, at_least } => {
                let since = self.customer.unit(*unit).map(|e| e.since);
                let of = self.known(program, *operand, t, view, depth);
                if of.truth != Truth::True {
                    return of;
                }
                let verdict = Verdict { holds: true, until: of.until, approx: of.approx };
                let mut known: Known = held(since, verdict, *at_least, t).into();
                if since.is_none() && view == View::Deep {
                    // About to begin by a timer of this very millisecond.
                    known.until = known.until.min(t + *at_least);
                }
                // It may have begun to hold before that could be known.
                if known.truth == Truth::False && self.lacks_below(program, *operand, depth) {
                    known.truth = Truth::Unknown;
                }
                known
            }
            _ => self.known_leaf(program, id, t, view),
        }
    }

    /// `and` where nothing decides but `of` being false, `or` the other way round.
    fn combined(&mut self, program: &Program, operands: &[NodeId], t: Timestamp, (view, depth): (View, usize), of: Truth) -> Known {
        let (mut earliest, mut latest) = (Timestamp::MAX, None::<Timestamp>);
        let (mut truth, mut approx, mut deciding_approx) = (of, false, false);
        for id in operands {
            let k = self.known(program, *id, t, view, depth);
            if k.truth == of || k.truth == Truth::Unknown {
                earliest = earliest.min(k.until);
                approx |= k.approx;
                if k.truth == Truth::Unknown {
                    truth = Truth::Unknown;
                }
            } else {
                deciding_approx = k.approx;
                latest = Some(latest.map_or(k.until, |l| l.max(k.until)));
            }
        }
        match latest {
            Some(until) => Known { truth: Known::fixed(of).opposite().truth, until, approx: deciding_approx },
            None => Known { truth, until: earliest, approx },
        }
    }

    /// Membership as published; of somebody who is none, but may be one for all that is known, nothing is known.
    fn in_segment(&mut self, program: &Program, unit: UnitId, t: Timestamp, view: View, depth: usize) -> Known {
        if view == View::Past {
            return Verdict::fixed(self.customer.unit(unit).is_some_and(|e| e.member == (t >= e.since))).into();
        }
        let published: Known = match view {
            View::Deep => self.unit_until(program, unit, t).into(),
            _ => Verdict::fixed(self.customer.is_member(unit)).into(),
        };
        if published.truth == Truth::True || depth >= UNTIL_DEPTH_MAX {
            return published;
        }
        let UnitKind::Segment(segment) = &program.plan.units[unit as usize].kind else { return published };
        let enter = segment.delays.as_ref().map_or(segment.enter, |delays| delays.enter);
        let wants = self.known(program, enter, t, View::Now, depth + 1);
        match wants.truth {
            Truth::Unknown => Known::unknown(published.until.min(wants.until)),
            _ => published,
        }
    }

    /// Whether a condition reads anything that may be incomplete.
    fn lacks_below(&self, program: &Program, id: NodeId, depth: usize) -> bool {
        match &program.plan.nodes[id as usize].node {
            Node::And(all) | Node::Or(all) => all.iter().any(|n| self.lacks_below(program, *n, depth)),
            Node::Not(of) | Node::Held { operand: of, .. } => self.lacks_below(program, *of, depth),
            Node::InSegment { unit, .. } if depth < UNTIL_DEPTH_MAX => match &program.plan.units[*unit as usize].kind {
                UnitKind::Segment(segment) => self.lacks_below(program, segment.enter, depth + 1),
                _ => false,
            },
            _ => program.loads[id as usize].iter().any(|f| self.lacks(*f).next().is_some()),
        }
    }

    /// What a feature may lack.
    pub fn lacks(&self, feature: FeatureId) -> impl Iterator<Item = Lack> {
        let from = self.customer.gaps.partition_point(|g| g.feature < feature);
        self.customer.gaps[from..].iter().take_while(move |g| g.feature == feature).map(|g| g.lack)
    }

    fn known_leaf(&mut self, program: &Program, id: NodeId, t: Timestamp, view: View) -> Known {
        if view != View::Past && !program.loads[id as usize].iter().any(|f| self.lacks(*f).next().is_some()) {
            return self.exact(program, id, t).into();
        }
        self.load_of_node(program, id);
        let node = &program.plan.nodes[id as usize].node;
        match node {
            Node::Quantity { feature, quantity, window, rel, with } => {
                let needed = matches!(quantity, Quantity::Count | Quantity::Distinct).then(|| needed(*rel, *with));
                let Some(end) = self.incomplete_until(program, *feature, *window, t, needed) else {
                    return self.leaf(program, node, t).into();
                };
                if self.lacks(*feature).any(|l| l.total && window.is_unbounded()) {
                    return Known::unknown(end);
                }
                let bound = match quantity {
                    Quantity::Count | Quantity::Distinct | Quantity::Max => Some(from_below(*rel)),
                    Quantity::Sum if self.non_negative(program, *feature, t) => Some(from_below(*rel)),
                    Quantity::Min => Some(from_above(*rel)),
                    Quantity::Sum | Quantity::Avg => None,
                };
                let Some((rel, decided)) = bound else { return Known::unknown(end) };
                let probe = Node::Quantity { feature: *feature, quantity: *quantity, window: *window, rel, with: *with };
                let v = self.leaf(program, &probe, t);
                Known { truth: if v.holds { decided } else { Truth::Unknown }, until: v.until.min(end), approx: v.approx }
            }
            Node::Score { feature, rel, with } => {
                if self.score_is_complete(*feature) {
                    return self.leaf(program, node, t).into();
                }
                if !only_adds(program, *feature) {
                    return Known::unknown(Timestamp::MAX);
                }
                let (rel, decided) = from_below(*rel);
                let v = self.leaf(program, &Node::Score { feature: *feature, rel, with: *with }, t);
                Known { truth: if v.holds { decided } else { Truth::Unknown }, until: v.until, approx: v.approx }
            }
            Node::Calendar(CalendarNode::NofM { feature, rel, m, .. }) => {
                let window = AgeWindow { near: Millis::ZERO, far: Millis(i64::from(*m)) };
                let Some(end) = self.incomplete_until(program, *feature, window, t, None) else {
                    return self.leaf(program, node, t).into();
                };
                let v = self.leaf(program, node, t);
                // More events, or more periods that were kept, only make it truer where more is asked for.
                let truth = if v.holds && matches!(rel, Rel::Ge | Rel::Gt) { Truth::True } else { Truth::Unknown };
                Known { truth, until: v.until.min(end), approx: v.approx }
            }
            Node::SomeKey { feature, of } => {
                let inner = match &program.plan.nodes[*of as usize].node {
                    Node::Sequence { window, .. } => return self.known_sequence(program, node, *feature, *window, t),
                    Node::Quantity { quantity, window, rel, .. } => Some((*quantity, *window, *rel)),
                    _ => None,
                };
                let end = match inner {
                    Some((_, window, _)) => self.incomplete_until(program, *feature, window, t, None),
                    None => Some(Timestamp::MAX),
                };
                let Some(end) = end else { return self.leaf(program, node, t).into() };
                let v = self.leaf(program, node, t);
                let grows = match inner {
                    Some((Quantity::Count | Quantity::Distinct | Quantity::Sum | Quantity::Max, _, rel)) => {
                        matches!(rel, Rel::Ge | Rel::Gt)
                    }
                    Some((Quantity::Min, _, rel)) => matches!(rel, Rel::Le | Rel::Lt),
                    // What is missing lies before the match that was found.
                    None => matches!(&program.plan.nodes[*of as usize].node, Node::Sequence { window, .. } if window.near == Millis::ZERO),
                    _ => false,
                };
                Known { truth: if v.holds && grows { Truth::True } else { Truth::Unknown }, until: v.until.min(end), approx: v.approx }
            }
            Node::InSession { session, of } => {
                let last = self.lacks(*session).map(|l| l.until).max();
                match (self.session_lacks(program, last, t), self.term_unknown(program, *of, t)) {
                    (None, None) => self.leaf(program, node, t).into(),
                    (a, b) => Known::unknown(a.or(b).unwrap_or(Timestamp::MAX)),
                }
            }
            Node::Sequence { feature, window } => self.known_sequence(program, node, *feature, *window, t),
            Node::Aged { of, window } => match &program.plan.terms[*of as usize] {
                TermNode::Crossing { feature, .. } => match self.end_lacks(*feature) {
                    Some(last) => self.aged(program, node, (*feature, true), *window, last, t),
                    None => self.leaf(program, node, t).into(),
                },
                TermNode::RingEnd { feature, newest } => match self.end_lacks(*feature) {
                    Some(last) => self.aged(program, node, (*feature, *newest), *window, last, t),
                    None => self.leaf(program, node, t).into(),
                },
                _ => self.of_terms(program, id, node, t),
            },
            _ => self.of_terms(program, id, node, t),
        }
    }

    /// A sequence, or one of some key.
    fn known_sequence(&self, program: &Program, node: &Node, feature: FeatureId, window: AgeWindow, t: Timestamp) -> Known {
        let span = match &program.plan.features[feature as usize].kind {
            FeatureKind::Sequence(sequence) => sequence.span(),
            _ => None,
        };
        // A match that began among the missing events may be complete so much later.
        let last = self.lacks(feature).map(|l| l.until).max();
        let end = last.zip(span).map_or(Timestamp::MAX, |(last, span)| window.leaves(last + span));
        let v = self.leaf(program, node, t);
        if end <= t || (v.holds && window.near.0 == 0) { v.into() } else { Known::unknown(v.until.min(end)) }
    }

    /// A condition on terms: unknown as soon as one of them is.
    fn of_terms(&mut self, program: &Program, id: NodeId, node: &Node, t: Timestamp) -> Known {
        let terms: Vec<TermId> = node.terms().collect();
        let unknown: Vec<Timestamp> = terms.iter().filter_map(|term| self.term_unknown(program, *term, t)).collect();
        // What it reads by itself, of which nothing better is known here.
        let of_terms = |f: &FeatureId| terms.iter().any(|term| program.term_loads[*term as usize].contains(f));
        let itself = program.loads[id as usize].iter().any(|f| !of_terms(f) && self.lacks(*f).next().is_some());
        match unknown.into_iter().chain(itself.then_some(Timestamp::MAX)).min() {
            Some(until) => Known::unknown(until),
            None => {
                self.load_of_node(program, id);
                self.leaf(program, node, t).into()
            }
        }
    }

    /// Until when a term is unknown if no event comes; `None` where it is known.
    fn term_unknown(&mut self, program: &Program, term: TermId, t: Timestamp) -> Option<Timestamp> {
        match &program.plan.terms[term as usize] {
            TermNode::Quantity { feature, window, .. } => self.incomplete_until(program, *feature, *window, t, None),
            TermNode::Crossing { feature, .. } => {
                let last = self.end_lacks(*feature)?;
                self.ring_end(*feature, true).is_none_or(|x| x < last).then_some(Timestamp::MAX)
            }
            TermNode::RingEnd { feature, newest } => {
                let last = self.end_lacks(*feature)?;
                let known = *newest && self.ring_end(*feature, true).is_some_and(|x| x >= last);
                (!known).then_some(Timestamp::MAX)
            }
            TermNode::FirstLast { feature, value } => {
                let (State::FirstLast(state), FeatureKind::FirstLast { which, .. }) =
                    (&self.loaded[*feature as usize].state, &program.plan.features[*feature as usize].kind)
                else {
                    return Some(Timestamp::MAX);
                };
                let last = self.lacks(*feature).map(|l| l.until).max()?;
                let known = match which {
                    _ if value.is_some_and(|i| state.is_unknown(i as usize)) => false,
                    _ if last == Timestamp::MIN => true,
                    Which::Last => state.at().is_some_and(|at| at >= last),
                    Which::First => false,
                };
                (!known).then_some(Timestamp::MAX)
            }
            TermNode::Score { feature } => (!self.score_is_complete(*feature)).then_some(Timestamp::MAX),
            TermNode::Arithmetic { left, right, .. } => {
                let (left, right) = (self.term_unknown(program, *left, t), self.term_unknown(program, *right, t));
                // Both have to be known.
                match (left, right) {
                    (Some(a), Some(b)) => Some(a.max(b)),
                    (a, b) => a.or(b),
                }
            }
            TermNode::Age(of) | TermNode::Band { of, .. } | TermNode::Calendar(CalendarTerm::Midnight { of, .. }) => {
                self.term_unknown(program, *of, t)
            }
            TermNode::Points(rules) => {
                let known: Vec<Known> = rules.iter().map(|(_, node)| self.known(program, *node, t, View::Now, 0)).collect();
                known.into_iter().filter(|k| k.truth == Truth::Unknown).map(|k| k.until).min()
            }
            _ => {
                let lacks = program.term_loads[term as usize].iter().any(|f| self.lacks(*f).next().is_some());
                lacks.then_some(Timestamp::MAX)
            }
        }
    }

    /// The instant from which a window of a feature lacks nothing, as far as that can be known; `None` where it lacks nothing now. `needed`: the
    /// count is only told from smaller ones up to this.
    fn incomplete_until(
        &self,
        program: &Program,
        feature: FeatureId,
        window: AgeWindow,
        t: Timestamp,
        needed: Option<u32>,
    ) -> Option<Timestamp> {
        let of = &program.plan.features[feature as usize];
        if of.within.session {
            return self.session_lacks(program, self.lacks(feature).map(|l| l.until).max(), t);
        }
        let end = |lack: Lack| match &of.kind {
            _ if lack.until == Timestamp::MIN => Timestamp::MIN,
            // What is before the mark does not count, once the mark is known.
            _ if of.within.since.is_some() => match self.mark(feature) {
                Some(mark) if mark > lack.until => Timestamp::MIN,
                _ => Timestamp::MAX,
            },
            FeatureKind::Periods { axis: Axis::Periods { unit, zone }, .. } => {
                let zone = self.zone(program, *zone);
                zone.start(*unit, zone.period(*unit, lack.until).saturating_add(window.far.0))
            }
            FeatureKind::Periods { axis: Axis::Dates { from, zone, .. }, .. } => {
                let begun = super::calendar::bound(*from, self.zone(program, *zone)) <= lack.until;
                if begun { Timestamp::MAX } else { Timestamp::MIN }
            }
            _ if lack.total && window.is_unbounded() => window.enters(lack.until),
            _ => window.leaves(lack.until),
        };
        let exact = |lack: &Lack| match &of.kind {
            FeatureKind::Periods { .. } => window.far.0 <= i64::from(lack.exact),
            _ => needed.is_some_and(|n| n <= lack.exact),
        };
        self.lacks(feature).filter(|lack| !exact(lack)).map(end).max().filter(|end| *end > t)
    }

    /// As [`incomplete_until`](Self::incomplete_until), of what is kept of the current session and lacks what came at or before `last`.
    fn session_lacks(&self, program: &Program, last: Option<Timestamp>, t: Timestamp) -> Option<Timestamp> {
        let gap = program.session_gap;
        let session = self.session(program);
        let unseen = program.plan.session.and_then(|id| self.lacks(id).map(|l| l.until).max());
        if !session.runs(t, gap) {
            // One that has not been seen may run for so long after its last activity.
            return unseen.map(|last| last + gap).filter(|end| *end > t);
        }
        let joined = unseen.is_some_and(|last| session.start() < last + gap);
        let missed = last.is_some_and(|last| session.start() <= last);
        (joined || missed).then(|| session.ends(gap))
    }

    /// The last instant of which a ring's newest or oldest entry may be missing.
    fn end_lacks(&self, feature: FeatureId) -> Option<Timestamp> {
        self.lacks(feature).filter(|l| l.exact == 0).map(|l| l.until).max()
    }

    fn ring_end(&self, feature: FeatureId, newest: bool) -> Option<Timestamp> {
        match &self.loaded[feature as usize].state {
            State::Ring(ring) if newest => ring.newest(),
            State::Ring(ring) => ring.oldest(),
            _ => None,
        }
    }

    /// `last(x)` or `first(x)` in a window, where events up to `last` may be missing.
    fn aged(
        &self,
        program: &Program,
        node: &Node,
        (feature, newest): (FeatureId, bool),
        window: AgeWindow,
        last: Timestamp,
        t: Timestamp,
    ) -> Known {
        let kept = self.ring_end(feature, newest);
        let too_old = |x: Timestamp| t >= window.leaves(x);
        let after = |instants: &[Timestamp]| instants.iter().copied().filter(|x| *x > t).min().unwrap_or(Timestamp::MAX);
        match (newest, kept) {
            (true, Some(x)) if x >= last => self.leaf(program, node, t).into(),
            // It is `x` or an instant up to `last`: all of them are inside, or all are too young, or all are too old.
            (true, Some(x)) => {
                let edges = [window.enters(x), window.leaves(x), window.enters(last), window.leaves(last)];
                let truth = if too_old(last) || t < window.enters(x) {
                    Truth::False
                } else if !too_old(x) && t >= window.enters(last) {
                    Truth::True
                } else {
                    Truth::Unknown
                };
                Known { truth, until: after(&edges), approx: false }
            }
            // It is `x` or anything earlier.
            (false, Some(x)) => {
                let truth = if too_old(x) {
                    Truth::False
                } else if window.is_unbounded() && t >= window.enters(x) {
                    Truth::True
                } else {
                    Truth::Unknown
                };
                Known { truth, until: after(&[window.enters(x), window.leaves(x)]), approx: false }
            }
            (_, None) if too_old(last) => Known::fixed(Truth::False),
            (_, None) => Known::unknown(after(&[window.leaves(last)])),
        }
    }

    /// Whether no kept value of a sum is below zero, so that the missing ones are taken to be of that kind too.
    fn non_negative(&self, program: &Program, feature: FeatureId, t: Timestamp) -> bool {
        match self.kept(program, feature, t).0 {
            State::Counter(counter) => counter.sum >= 0,
            State::Log(log) => log.non_negative(),
            _ => false,
        }
    }

    /// What a score lacks does not count once it has been reset since.
    fn score_is_complete(&self, feature: FeatureId) -> bool {
        let last = self.lacks(feature).map(|l| l.until).max();
        match (&self.loaded[feature as usize].state, last) {
            (State::Score(score), Some(last)) => score.last_reset().is_some_and(|reset| reset > last),
            _ => true,
        }
    }
}

/// Whether no rule of a score takes points.
fn only_adds(program: &Program, feature: FeatureId) -> bool {
    let FeatureKind::Score { definition } = program.plan.features[feature as usize].kind else { return false };
    match &program.plan.workspace().definitions[definition.at()].kind {
        DefinitionKind::Score(score) => score.rules.iter().all(|r| r.add.is_none_or(|d| d.0 >= 0)),
        _ => false,
    }
}

/// How many entries tell a count's comparison with a constant exactly.
fn needed(rel: Rel, with: Ratio) -> u32 {
    let up = with.num.div_euclid(with.den) + i128::from(with.num.rem_euclid(with.den) != 0);
    let more = i128::from(!matches!(rel, Rel::Ge | Rel::Lt));
    u32::try_from(up.max(0).saturating_add(more)).unwrap_or(u32::MAX)
}

/// For a quantity that is at least what is kept: the comparison that decides, and what it decides.
fn from_below(rel: Rel) -> (Rel, Truth) {
    match rel {
        Rel::Ge => (Rel::Ge, Truth::True),
        Rel::Gt => (Rel::Gt, Truth::True),
        Rel::Lt => (Rel::Ge, Truth::False),
        Rel::Le | Rel::Eq => (Rel::Gt, Truth::False),
    }
}

/// For a quantity that is at most what is kept.
fn from_above(rel: Rel) -> (Rel, Truth) {
    match rel {
        Rel::Le => (Rel::Le, Truth::True),
        Rel::Lt => (Rel::Lt, Truth::True),
        Rel::Gt => (Rel::Le, Truth::False),
        Rel::Ge | Rel::Eq => (Rel::Lt, Truth::False),
    }
}
