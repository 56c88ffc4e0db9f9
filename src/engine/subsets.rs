//! Conditions over a part of a selector's events: of the current session, since a mark, of some key (LANGUAGE.md R19, R23, R33, R51).

use super::evaluate::Work;
use super::features::codec::{ValueRef, put_blob};
use super::features::keyed::key_value;
use super::features::{Keyed, Reader, Session, Verdict};
use super::program::{Program, Spec, State};
use super::value::Val;
use crate::engine::customer::{Span, UnitEntry};
use crate::model::Origin;
use crate::plan::feature::FeatureId;
use crate::plan::node::{Node, NodeId, TermId, UnitId};
use crate::time::Timestamp;

impl Work {
    /// The customer's session, which has been loaded.
    pub fn session(&self, program: &Program) -> Session {
        match program.plan.session.map(|id| &self.loaded[id as usize].state) {
            Some(State::Session(session)) => *session,
            _ => panic!("a session that no condition asked for"),
        }
    }

    /// What [`Work::tidy`] does to what was counted in sessions before the last one.
    pub(super) fn tidy_sessions(&mut self, program: &Program) {
        let Some(session) = program.plan.session else { return };
        self.load(program, session);
        let number = self.session(program).number();
        for i in 0..self.customer.features.len() {
            let feature = self.customer.features[i].feature;
            if matches!(program.specs[feature as usize], Spec::InSession(_)) {
                self.load(program, feature);
                let state = &mut self.loaded[feature as usize].state;
                if let State::InSession(s) = state
                    && s.tidy(number)
                {
                    self.mark_changed(feature);
                }
            }
        }
    }

    /// What a feature keeps at an instant: of the session that runs then, after the mark, of the key that is looked at.
    pub fn kept<'p>(&self, program: &'p Program, feature: FeatureId, t: Timestamp) -> (&State, &'p Spec) {
        let (state, spec) = self.kept_of_all(program, feature, t);
        match (state, spec) {
            (State::Keyed(keyed), Spec::Keyed(spec)) => (keyed.state(self.at_key.get()), &spec.inner),
            plain => plain,
        }
    }

    fn kept_of_all<'p>(&self, program: &'p Program, feature: FeatureId, t: Timestamp) -> (&State, &'p Spec) {
        match (&self.loaded[feature as usize].state, &program.specs[feature as usize]) {
            (State::InSession(s), Spec::InSession(inner)) => {
                let session = self.session(program);
                (s.of(session.runs(t, program.session_gap).then(|| session.number())), inner)
            }
            (State::Since(s), Spec::Since(inner)) => (s.state(), inner),
            plain => plain,
        }
    }

    /// The newest event that a feature counts since.
    pub fn mark(&self, feature: FeatureId) -> Option<Timestamp> {
        match &self.loaded[feature as usize].state {
            State::Since(s) => s.mark_at(),
            _ => None,
        }
    }

    /// Until when a feature is of the session that it is of.
    pub fn part_until(&self, program: &Program, feature: FeatureId, t: Timestamp) -> Timestamp {
        match &self.loaded[feature as usize].state {
            State::InSession(_) => self.session_until(program, t),
            _ => Timestamp::MAX,
        }
    }

    /// Whether a mark has cut what was merged, of the key that is looked at.
    pub fn part_cut(&self, program: &Program, feature: FeatureId, t: Timestamp) -> bool {
        match (self.mark(feature), self.kept(program, feature, t).0) {
            (Some(mark), State::Log(log)) => log.is_cut_by(mark),
            _ => false,
        }
    }

    /// Until when the session runs or does not, if no activity comes.
    fn session_until(&self, program: &Program, t: Timestamp) -> Timestamp {
        let session = self.session(program);
        if session.runs(t, program.session_gap) { session.ends(program.session_gap) } else { Timestamp::MAX }
    }

    /// Whether an instant lies in the session that runs at `t`.
    pub fn in_session(&self, program: &Program, of: TermId, t: Timestamp) -> Verdict {
        let session = self.session(program);
        let runs = session.runs(t, program.session_gap);
        let seen = self.term(program, of, t);
        let inside = matches!(seen.value, Val::Instant(x) if x >= session.start() && x <= t);
        Verdict { holds: runs && inside, until: self.session_until(program, t).min(seen.next), approx: seen.approx }
    }

    /// Whether the oldest entry is after the mark.
    pub fn first_since(&self, feature: FeatureId) -> Verdict {
        match &self.loaded[feature as usize].state {
            State::Since(s) => {
                let any = matches!(s.state(), State::Ring(ring) if !ring.is_empty());
                Verdict::fixed(any && !s.any_before())
            }
            _ => panic!("no mark in this feature"),
        }
    }

    fn keyed(&self, program: &Program, feature: FeatureId, t: Timestamp) -> &Keyed {
        match self.kept_of_all(program, feature, t).0 {
            State::Keyed(keyed) => keyed,
            _ => panic!("no keys in this feature"),
        }
    }

    /// Whether a condition holds for some key: if so until the latest of those that hold, else until the earliest of all.
    pub fn some_key(&self, program: &Program, feature: FeatureId, of: NodeId, t: Timestamp) -> Verdict {
        let until = self.part_until(program, feature, t);
        let mut all = Verdict { holds: false, until: Timestamp::MAX, approx: false };
        self.each_key(program, feature, of, t, |_, one| {
            all = match (all.holds, one.holds) {
                (false, true) => one,
                (true, false) => all,
                (true, true) => Verdict { holds: true, until: all.until.max(one.until), approx: all.approx && one.approx },
                (false, false) => Verdict { holds: false, until: all.until.min(one.until), approx: all.approx || one.approx },
            };
        });
        Verdict { until: all.until.min(until), ..all }
    }

    /// Calls `then` with each key's place and what the condition is for it, in the order of use.
    pub fn each_key(&self, program: &Program, feature: FeatureId, of: NodeId, t: Timestamp, mut then: impl FnMut(usize, Verdict)) {
        let node = &program.plan.nodes[of as usize].node;
        for i in 0..self.keyed(program, feature, t).len() {
            self.at_key.set(i);
            then(i, self.leaf(program, node, t));
        }
    }

    /// The key that a reason shows: of those for which the condition is what it is as a whole, the most recently used one. Other reads of the
    /// feature then see that key.
    pub fn look_at_key(&self, program: &Program, feature: FeatureId, of: NodeId, t: Timestamp) -> Option<ValueRef<'_>> {
        let holds = self.some_key(program, feature, of, t).holds;
        let mut found = None;
        self.each_key(program, feature, of, t, |i, one| {
            if one.holds == holds {
                found = Some(i);
            }
        });
        self.at_key.set(found?);
        Some(key_value(self.keyed(program, feature, t).key(found?)))
    }

    /// Looks at the keys of a condition for the unit that remembers them.
    pub fn look_at_keys(&mut self, program: &Program, unit: UnitId, of: NodeId, t: Timestamp) -> (bool, Timestamp) {
        let Node::SomeKey { feature, of: each } = program.plan.nodes[of as usize].node else { panic!("keys of a condition without") };
        self.load_of_node(program, of);
        self.remember_keys(program, unit, (feature, each), t)
    }

    /// Brings the memory of the keys for which a condition holds up to date. Returns whether it differs, and when one may turn next.
    ///
    /// The memory is a list, the key that came to hold last first; of several in one step the smallest (LANGUAGE.md R51).
    fn remember_keys(&mut self, program: &Program, unit: UnitId, (feature, of): (FeatureId, NodeId), t: Timestamp) -> (bool, Timestamp) {
        let mut next = self.part_until(program, feature, t);
        let mut holding: Vec<usize> = Vec::new();
        self.each_key(program, feature, of, t, |i, one| {
            next = next.min(one.until);
            if one.holds {
                holding.push(i);
            }
        });
        let keyed = self.keyed(program, feature, t);
        let remembered = self.customer.unit(unit).map_or(Span::default(), |e| e.emit);
        let known: Vec<&[u8]> = keys(self.customer.span(remembered)).collect();
        let mut new: Vec<&[u8]> = holding.iter().map(|i| keyed.key(*i)).filter(|key| !known.contains(key)).collect();
        new.sort_by(|a, b| order(key_value(a), key_value(b)).then_with(|| a.cmp(b)));
        let still = known.iter().copied().filter(|known| holding.iter().any(|i| keyed.key(*i) == *known));
        let mut bytes = Vec::new();
        new.into_iter().chain(still).for_each(|key| put_blob(&mut bytes, key));
        if self.customer.span(remembered) == bytes {
            return (false, next);
        }
        if bytes.is_empty() {
            self.customer.forget_unit(unit);
            return (true, next);
        }
        let start = self.customer.bytes.len() as u32;
        self.customer.bytes.extend_from_slice(&bytes);
        let emit = Span { start, end: self.customer.bytes.len() as u32 };
        // Neither a member nor published: what is kept of it is the list alone.
        let since = self.customer.first_seen;
        self.customer.set_unit(UnitEntry { emit, ..UnitEntry::new(unit, false, since, Origin::Timer(since)) });
        (true, next)
    }

    /// The key that came to hold last.
    pub fn remembered_key(&self, unit: UnitId) -> Val<'_> {
        let entry = self.customer.unit(unit);
        let first = entry.and_then(|e| keys(self.customer.span(e.emit)).next());
        first.map_or(Val::Missing, |key| Val::of_ref(key_value(key)))
    }
}

fn keys(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || (!reader.done()).then(|| reader.blob()))
}

/// Texts by code points, which is the order of their bytes; others by value.
fn order(a: ValueRef<'_>, b: ValueRef<'_>) -> std::cmp::Ordering {
    match (a, b) {
        (ValueRef::Text(a), ValueRef::Text(b)) => a.cmp(b),
        (ValueRef::Int(a), ValueRef::Int(b)) => a.cmp(&b),
        (ValueRef::Date(a), ValueRef::Date(b)) => a.cmp(&b),
        (ValueRef::Bool(a), ValueRef::Bool(b)) => a.cmp(&b),
        _ => std::cmp::Ordering::Equal,
    }
}

#[cfg(test)]
mod tests;
