//! Conditions and terms of one customer at one instant: the value, and until when it holds if no record comes (LANGUAGE.md 9.1).
//!
//! A false `and` is false until the latest expiry among its false operands; a true one is true until the earliest. `until` may be too
//! early, never too late. Leaves are remembered per customer and instant; what depends on other units is not, since units turn meanwhile.

use std::cell::Cell;

use super::consent;
use super::customer::{Customer, FeatureEntry};
use super::features::Verdict;
use super::filter::{self, Fields};
use super::motion::Side;
use super::program::{Program, Spec, State};
use super::value::{Val, contains, ends_with, is_empty, is_member, is_near, matches, relate, starts_with};
use crate::lang::definition::Rel;
use crate::model::{Decimal, ZoneId};
use crate::plan::feature::FeatureId;
use crate::plan::node::{Node, NodeId, TermId, UnitId, UnitKind};
use crate::time::{Millis, Timestamp};

/// Steps of a walk over instants at which a term changes before a wake-up is asked for instead (LANGUAGE.md 9.2).
const WALK_STEPS: usize = 64;

/// A walk also ends once it has got so far ahead: the next record most likely makes it anew, and a wake-up that late is rare.
const WALK_AHEAD: Millis = Millis(3_600_000);

/// A feature of the customer at hand.
pub struct Loaded {
    pub state: State,
    /// The customer for whom `state` was read; another number means that it was not.
    pub of: u64,
    pub changed: bool,
}

/// Everything that is needed to look at one customer, used for one after another.
pub struct Work {
    /// The customer's id.
    pub id: String,
    pub customer: Customer,
    pub loaded: Vec<Loaded>,
    /// Counts customers, so that `loaded` needs no clearing.
    pub generation: u64,
    /// Leaves that were evaluated in the present pass, by node.
    memo: Vec<(u64, Verdict)>,
    /// By unit: until when its membership holds, as found in a pass. Sound within a step: what a unit refers to is done before it.
    pub(super) untils: Vec<(u64, Verdict)>,
    /// References that [`Work::unit_until`] is inside of.
    pub(super) until_depth: usize,
    /// By salt: the customer at hand's bucket, if it was asked for.
    pub(super) buckets: Vec<Cell<(u64, Decimal)>>,
    pub(super) pass: u64,
    /// The key that is looked at, in a condition on some key.
    pub at_key: Cell<usize>,
    /// The customer's own zone, of the generation beside it.
    pub zone_of: Cell<(u64, ZoneId)>,
}

/// A term at an instant.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub value: Val<'a>,
    /// The first instant after at which it may differ.
    pub next: Timestamp,
    pub approx: bool,
    /// A sum was cut to 64 bits.
    pub saturated: bool,
}

impl<'a> Seen<'a> {
    pub fn fixed(value: Val<'a>) -> Seen<'a> {
        Seen { value, next: Timestamp::MAX, approx: false, saturated: false }
    }
}

impl Work {
    pub fn new(program: &Program) -> Work {
        Work {
            id: String::new(),
            customer: Customer::default(),
            loaded: program.specs.iter().map(|spec| Loaded { state: State::new(spec), of: 0, changed: false }).collect(),
            generation: 0,
            memo: vec![(0, Verdict::fixed(false)); program.plan.nodes.len()],
            untils: vec![(0, Verdict::fixed(false)); program.plan.units.len()],
            until_depth: 0,
            buckets: vec![Cell::new((0, Decimal(0))); program.plan.salts.len()],
            pass: 0,
            at_key: Cell::new(0),
            zone_of: Cell::new((0, program.plan.zones.workspace)),
        }
    }

    /// Begins with a stored customer. Returns false where the bytes are none of a customer.
    pub fn take(&mut self, slot: u32, id: &str, bytes: &[u8]) -> bool {
        self.id.clear();
        self.id.push_str(id);
        self.generation += 1;
        self.customer.decode(slot, bytes)
    }

    /// Begins with a customer who has just been met.
    pub fn begin(&mut self, id: &str, first_seen: Timestamp) {
        self.id.clear();
        self.id.push_str(id);
        self.generation += 1;
        self.customer.reset(first_seen);
    }

    /// Forgets what was evaluated: the state or the instant is another.
    pub fn new_pass(&mut self) {
        self.pass += 1;
    }

    /// Reads a feature of the customer at hand if that has not been done.
    pub fn load(&mut self, program: &Program, feature: FeatureId) {
        let loaded = &mut self.loaded[feature as usize];
        if loaded.of == self.generation {
            return;
        }
        (loaded.of, loaded.changed) = (self.generation, false);
        match self.customer.features.binary_search_by_key(&feature, |f| f.feature) {
            Ok(i) => {
                let bytes = self.customer.span(self.customer.features[i].bytes);
                loaded.state.decode(&program.specs[feature as usize], self.customer.first_seen, bytes);
            }
            Err(_) => loaded.state.clear(),
        }
    }

    /// Says that a loaded feature is not as it was read any more.
    pub fn mark_changed(&mut self, feature: FeatureId) {
        self.loaded[feature as usize].changed = true;
        if let Err(i) = self.customer.features.binary_search_by_key(&feature, |f| f.feature) {
            self.customer.features.insert(i, FeatureEntry::new(feature));
        }
    }

    /// Lets go of what can never be asked for again at this clock or later: expired ids, events of the cart and of sequences that none can
    /// come before.
    /// Nothing that decides anything differs by it, and the digest is taken as if it had been done.
    pub fn tidy(&mut self, program: &Program, clock: Timestamp) {
        self.customer.dedup.prune(clock);
        self.tidy_sequences(program, clock);
        self.tidy_sessions(program);
        if self.customer.features.binary_search_by_key(&program.cart, |f| f.feature).is_ok() {
            self.load(program, program.cart);
            if let (State::Cart(cart), Spec::Cart(plan)) =
                (&mut self.loaded[program.cart as usize].state, &program.specs[program.cart as usize])
            {
                cart.settle(plan, clock);
            }
            self.mark_changed(program.cart);
        }
    }

    /// Writes the customer at hand; `temporary` is scratch.
    pub fn encode(&self, program: &Program, out: &mut Vec<u8>, temporary: &mut Vec<u8>) {
        self.customer.encode(out, temporary, |feature, out| {
            let loaded = &self.loaded[feature as usize];
            let differs = loaded.of == self.generation && loaded.changed;
            if differs {
                loaded.state.encode(&program.specs[feature as usize], self.customer.first_seen, out);
            }
            differs
        });
    }

    /// Whether a unit wants its customer in, given that the customer is or is not; and until when it would not change its mind.
    ///
    /// Without `exit when` that is the condition; with it a member stays until the exit condition holds, and enters when the one holds
    /// and the other does not (LANGUAGE.md S23, S19).
    pub fn wants(&mut self, program: &Program, unit: UnitId, member: bool, t: Timestamp) -> Verdict {
        match &program.plan.units[unit as usize].kind {
            UnitKind::Dwell { operand } => self.node(program, *operand, t),
            // It is no member of anything and only looks.
            UnitKind::Keys { .. } => Verdict::fixed(member),
            UnitKind::ExitDelay { operand, segment } if self.customer.is_member(*segment) => self.node(program, *operand, t),
            UnitKind::ExitDelay { .. } | UnitKind::Waiting { .. } => Verdict::fixed(false),
            UnitKind::Stages(stages) => {
                let wanted = self.stage_wanted(program, stages, t, Work::node);
                Verdict { holds: member != self.stage_moves(unit, stages, wanted), until: wanted.until, approx: wanted.approx }
            }
            UnitKind::Segment(segment) => match (segment.exit, &segment.delays) {
                (_, Some(delays)) => {
                    let wish = self.wish(program, unit, (segment, delays), t, Work::node);
                    Verdict { holds: member != wish.why.is_some(), until: wish.until, approx: wish.approx }
                }
                (Some(exit), None) if member => {
                    let exit = self.node(program, exit, t);
                    Verdict { holds: !exit.holds, ..exit }
                }
                _ => self.node(program, segment.enter, t),
            },
        }
    }

    /// Evaluates a condition at the instant of the present pass; what cannot be known yet does not hold (S39).
    #[inline]
    pub fn node(&mut self, program: &Program, id: NodeId, t: Timestamp) -> Verdict {
        if self.customer.gaps.is_empty() { self.exact(program, id, t) } else { self.as_far_as_known(program, id, t, false) }
    }

    /// Evaluates a condition on what is kept, as if nothing were missing.
    pub fn exact(&mut self, program: &Program, id: NodeId, t: Timestamp) -> Verdict {
        match &program.plan.nodes[id as usize].node {
            Node::And(all) => self.all(program, all, t, true),
            Node::Or(any) => self.all(program, any, t, false),
            Node::Not(of) => {
                let of = self.exact(program, *of, t);
                Verdict { holds: !of.holds, ..of }
            }
            Node::Constant(value) => Verdict::fixed(*value),
            Node::InSegment { unit, .. } => Verdict::fixed(self.customer.is_member(*unit)),
            Node::Held { unit, operand, at_least } => {
                let operand = self.exact(program, *operand, t);
                held(self.customer.unit(*unit).map(|e| e.since), operand, *at_least, t)
            }
            leaf => {
                let (pass, verdict) = self.memo[id as usize];
                if pass == self.pass {
                    return verdict;
                }
                self.load_of_node(program, id);
                let verdict = self.leaf(program, leaf, t);
                self.memo[id as usize] = (self.pass, verdict);
                verdict
            }
        }
    }

    /// `and` (`of` true) or `or`: one operand of the other value decides until the latest of those expires; otherwise all until the earliest.
    fn all(&mut self, program: &Program, operands: &[NodeId], t: Timestamp, of: bool) -> Verdict {
        let (mut earliest, mut latest) = (Timestamp::MAX, None::<Timestamp>);
        let (mut approx, mut deciding_approx) = (false, false);
        for id in operands {
            let v = self.exact(program, *id, t);
            if v.holds == of {
                if latest.is_none() {
                    earliest = earliest.min(v.until);
                    approx |= v.approx;
                }
            } else {
                deciding_approx = v.approx;
                if v.until == Timestamp::MAX {
                    return Verdict { holds: !of, until: Timestamp::MAX, approx: v.approx };
                }
                latest = Some(latest.map_or(v.until, |l| l.max(v.until)));
            }
        }
        match latest {
            Some(until) => Verdict { holds: !of, until, approx: deciding_approx },
            None => Verdict { holds: of, until: earliest, approx },
        }
    }

    /// Whether a condition holds at an instant before the clock, for S27; nothing is remembered.
    ///
    /// What other segments were then follows from their last change.
    pub fn held_at(&mut self, program: &Program, id: NodeId, t: Timestamp) -> bool {
        if !self.customer.gaps.is_empty() {
            return self.known_at(program, id, t);
        }
        match &program.plan.nodes[id as usize].node {
            Node::And(all) => all.iter().all(|n| self.held_at(program, *n, t)),
            Node::Or(any) => any.iter().any(|n| self.held_at(program, *n, t)),
            Node::Not(of) => !self.held_at(program, *of, t),
            Node::Constant(value) => *value,
            Node::InSegment { unit, .. } => self.was_member(*unit, t),
            Node::Held { unit, operand, at_least } => {
                let since = self.customer.unit(*unit).map(|e| e.since);
                since.is_some_and(|since| t - since >= *at_least) && self.held_at(program, *operand, t)
            }
            leaf => {
                self.load_of_node(program, id);
                self.leaf(program, leaf, t).holds
            }
        }
    }

    pub(super) fn load_of_node(&mut self, program: &Program, id: NodeId) {
        for feature in &program.loads[id as usize] {
            self.load(program, *feature);
        }
    }

    pub fn load_of_term(&mut self, program: &Program, id: TermId) {
        for feature in &program.term_loads[id as usize] {
            self.load(program, *feature);
        }
    }

    /// A condition that is no combination of others; what it reads has been loaded.
    pub(super) fn leaf(&self, program: &Program, node: &Node, t: Timestamp) -> Verdict {
        match node {
            Node::Quantity { feature, quantity, window, rel, with } => {
                let verdict = match self.kept(program, *feature, t) {
                    (State::Counter(s), _) => s.compare(*quantity, *rel, *with),
                    (State::Ring(s), _) => s.compare(*window, t, *rel, *with),
                    (State::Log(s), _) => s.compare(*quantity, *window, t, *rel, *with),
                    (State::Extremes(s), Spec::Extremes(plan)) => s.compare(plan, *window, t, *rel, *with),
                    (State::Distinct(s), _) => s.compare(*window, t, *rel, *with),
                    (State::Periods(s), Spec::Periods { plan, axis }) => {
                        self.compare_periods(program, (s, plan, *axis), *quantity, *window, t, (*rel, *with))
                    }
                    _ => panic!("no quantity in this feature"),
                };
                let (until, cut) = (self.part_until(program, *feature, t), self.part_cut(program, *feature, t));
                Verdict { until: verdict.until.min(until), approx: verdict.approx || cut, ..verdict }
            }
            Node::Sequence { feature, window } => self.sequence(program, *feature, *window, t),
            Node::SomeKey { feature, of } => self.some_key(program, *feature, *of, t),
            Node::InSession { of, .. } => self.in_session(program, *of, t),
            Node::FirstSince { feature } => self.first_since(*feature),
            Node::Score { feature, rel, with } => match (&self.loaded[*feature as usize].state, &program.specs[*feature as usize]) {
                (State::Score(s), Spec::Score(plan)) => s.compare(plan, t, *rel, *with),
                _ => panic!("no score in this feature"),
            },
            Node::Compare { left, rel, right, ignore_case } => {
                if self.moves(program, *left) || self.moves(program, *right) {
                    return self.compare_moving(program, Side::Term(*left), *rel, Side::Term(*right), t);
                }
                self.walk(program, &[*left, *right], t, |seen| relate(seen[0], *rel, seen[1], *ignore_case))
            }
            Node::Between { of, low, high } => {
                if [of, low, high].into_iter().any(|t| self.moves(program, *t)) {
                    let from = self.compare_moving(program, Side::Term(*of), Rel::Ge, Side::Term(*low), t);
                    let to = self.compare_moving(program, Side::Term(*of), Rel::Le, Side::Term(*high), t);
                    return both(from, to);
                }
                self.walk(program, &[*of, *low, *high], t, |seen| {
                    relate(seen[0], Rel::Ge, seen[1], false) && relate(seen[0], Rel::Le, seen[2], false)
                })
            }
            Node::Member { of, values, ignore_case } => {
                if self.moves(program, *of) {
                    let equals = |v| self.compare_moving(program, Side::Term(*of), Rel::Eq, Side::Value(v), t);
                    let none = values.iter().map(equals).map(opposite).reduce(both);
                    return none.map_or(Verdict::fixed(false), opposite);
                }
                self.walk(program, &[*of], t, |seen| is_member(seen[0], values, *ignore_case))
            }
            Node::HalfOpen { of, from, to } => {
                if self.moves(program, *of) {
                    let low = self.compare_moving(program, Side::Term(*of), Rel::Ge, Side::Value(from), t);
                    return both(low, self.compare_moving(program, Side::Term(*of), Rel::Lt, Side::Value(to), t));
                }
                self.walk(program, &[*of], t, |seen| {
                    relate(seen[0], Rel::Ge, Val::of_value(from), false) && relate(seen[0], Rel::Lt, Val::of_value(to), false)
                })
            }
            Node::Aged { of, window } => self.of_instant(program, *of, t, |x| (window.contains(x, t), window.next_change(x, t))),
            Node::Next { of, within } => self.of_instant(program, *of, t, |x| {
                let from = x - *within;
                let until = if t < from {
                    from
                } else if t < x {
                    x
                } else {
                    Timestamp::MAX
                };
                (from <= t && t < x, until)
            }),
            Node::After { of, mark } => self.walk(program, &[*of, *mark], t, |seen| match (seen[0], seen[1]) {
                (Val::Instant(of), Val::Instant(mark)) => of > mark,
                (Val::Instant(_), _) => true,
                _ => false,
            }),
            Node::Matches { of, pattern } => self.walk(program, &[*of], t, |seen| matches(seen[0], pattern)),
            Node::Near { of, circle } => self.walk(program, &[*of], t, |seen| is_near(seen[0], circle)),
            Node::Contains { of, what, ignore_case } => self.walk(program, &[*of], t, |seen| contains(seen[0], what, *ignore_case)),
            Node::StartsWith { of, prefix, ignore_case } => {
                self.walk(program, &[*of], t, |seen| starts_with(seen[0], prefix, *ignore_case))
            }
            Node::EndsWith { of, suffix, ignore_case } => self.walk(program, &[*of], t, |seen| ends_with(seen[0], suffix, *ignore_case)),
            Node::Empty(of) => self.walk(program, &[*of], t, |seen| is_empty(seen[0])),
            Node::Known(of) if self.moves(program, *of) => self.known_moving(program, *of, t),
            Node::Known(of) => self.walk(program, &[*of], t, |seen| !seen[0].is_missing()),
            Node::Has { of, filter } => self.walk(program, &[*of], t, |seen| match seen[0] {
                Val::List(items) => items.iter().any(|item| match item {
                    Val::Record(fields) => filter::holds(filter, Fields::List(fields)),
                    _ => false,
                }),
                _ => false,
            }),
            Node::InList(list) => Verdict::fixed(self.lists(program).is_member(*list)),
            Node::Consent { slot, default, .. } => consent::verdict(self, *slot, *default, t),
            Node::CartEmpty => Verdict::fixed(self.cart(program).summary().is_empty()),
            Node::CartHas(filter) => Verdict::fixed(self.cart_has(program, filter)),
            Node::Calendar(calendar) => self.calendar(program, calendar, t),
            Node::Constant(_) | Node::And(_) | Node::Or(_) | Node::Not(_) | Node::Held { .. } | Node::InSegment { .. } => {
                panic!("{node:?} is no leaf")
            }
        }
    }

    /// Walks over the instants at which the terms change to the first at which the condition does (LANGUAGE.md 9.3).
    fn walk<const N: usize>(&self, program: &Program, terms: &[TermId; N], t: Timestamp, holds: impl Fn(&[Val<'_>; N]) -> bool) -> Verdict {
        let at = |t: Timestamp| {
            let seen = terms.map(|term| self.term(program, term, t));
            let next = seen.iter().map(|s| s.next).min().unwrap_or(Timestamp::MAX);
            (holds(&seen.map(|s| s.value)), next, seen.iter().any(|s| s.approx))
        };
        let (now, mut next, approx) = at(t);
        let far = terms.iter().all(|term| program.steps_seldom[*term as usize]);
        for _ in 0..WALK_STEPS {
            if next == Timestamp::MAX || !far && next - t >= WALK_AHEAD {
                break;
            }
            let (then, after, _) = at(next);
            if then != now || after <= next {
                break;
            }
            next = after;
        }
        Verdict { holds: now, until: next, approx }
    }

    /// A condition on an instant, which may itself be another one later; an unknown one satisfies nothing.
    pub fn of_instant(&self, program: &Program, of: TermId, t: Timestamp, holds: impl FnOnce(Timestamp) -> (bool, Timestamp)) -> Verdict {
        let seen = self.term(program, of, t);
        let (holds, until) = match seen.value {
            Val::Instant(x) => holds(x),
            _ => (false, Timestamp::MAX),
        };
        Verdict { holds, until: until.min(seen.next), approx: seen.approx }
    }

    /// A term that is an instant.
    pub fn instant(&self, program: &Program, term: TermId, t: Timestamp) -> Option<Timestamp> {
        match self.term(program, term, t).value {
            Val::Instant(x) => Some(x),
            _ => None,
        }
    }
}

/// `for at least D`, from when its operand turned and what it is.
pub(super) fn held(since: Option<Timestamp>, operand: Verdict, at_least: Millis, t: Timestamp) -> Verdict {
    match since {
        Some(since) if operand.holds => {
            if t - since >= at_least {
                operand
            } else {
                Verdict { holds: false, until: since + at_least, approx: operand.approx }
            }
        }
        // About to begin: the dwell's own timer tells.
        _ if operand.holds => Verdict { holds: false, ..operand },
        _ => Verdict { holds: false, until: operand.until + at_least, approx: operand.approx },
    }
}

/// `and` of two.
fn both(a: Verdict, b: Verdict) -> Verdict {
    match (a.holds, b.holds) {
        (true, true) => Verdict { holds: true, until: a.until.min(b.until), approx: a.approx || b.approx },
        (false, false) => Verdict { holds: false, until: a.until.max(b.until), approx: a.approx && b.approx },
        (false, true) => a,
        (true, false) => b,
    }
}

fn opposite(of: Verdict) -> Verdict {
    Verdict { holds: !of.holds, ..of }
}

pub fn mirrored(rel: Rel) -> Rel {
    match rel {
        Rel::Eq => Rel::Eq,
        Rel::Lt => Rel::Gt,
        Rel::Le => Rel::Ge,
        Rel::Gt => Rel::Lt,
        Rel::Ge => Rel::Le,
    }
}
