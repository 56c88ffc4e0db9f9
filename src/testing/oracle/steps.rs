//! One step of one customer: a record, or all timers of one instant (LANGUAGE.md R40). What holds before and after it decides what is
//! published.

use super::eval::{View, stage_name};
use super::machine::{self, Wish};
use super::walk::{self, Visit};
use super::{Customer, LastChange, Origin, Rules, change_id, instants, keys};
use crate::engine::output::{Outputs, Published};
use crate::ids::Position;
use crate::lang::{Definition, DefinitionKind, Expr, Segment, Stages, Term};
use crate::model::{Cause, CauseEvent, Change, ChangeKind, Membership};
use crate::time::{Millis, Timestamp};

/// A record as a step sees it.
pub struct RecordStep {
    /// The clock.
    pub t: Timestamp,
    pub ts: Timestamp,
    pub id: Option<Box<str>>,
    pub position: Position,
}

/// Fires all timers of a customer in `(fired_through, through]`. Returns the last instant that changed something.
pub fn fire(rules: &Rules, customer: &mut Customer, through: Timestamp, out: &mut Outputs) -> Option<Timestamp> {
    let mut last = None;
    if customer.fired_through >= through {
        return None;
    }
    let fixed = instants::fixed(rules, customer, customer.fired_through, through);
    while customer.fired_through < through {
        let due = instants::candidates(rules, customer, &fixed, customer.fired_through, through);
        let mut changed = false;
        for t in due {
            customer.fired_through = t;
            if (Step { rules, before: Before::Timer, t, moved: Vec::new(), out }).run(customer) {
                last = Some(t);
                changed = true;
                // What has turned may have deadlines of its own, even one that has passed and fires at this very clock (R6).
                customer.fired_through = t - Millis(1);
                break;
            }
        }
        if !changed {
            customer.fired_through = through;
        }
    }
    last
}

/// `before` is the state without the record, `None` where it is the customer's first; `after` has the record in.
pub fn record(rules: &Rules, before: Option<&Customer>, after: &mut Customer, record: RecordStep, out: &mut Outputs) {
    let t = record.t;
    Step { rules, before: Before::Record { before, record: &record }, t, moved: Vec::new(), out }.run(after);
}

enum Before<'a> {
    Timer,
    Record { before: Option<&'a Customer>, record: &'a RecordStep },
}

struct Step<'a> {
    rules: &'a Rules,
    before: Before<'a>,
    t: Timestamp,
    /// Segments that this step has changed, with their `since`.
    moved: Vec<(usize, Timestamp)>,
    out: &'a mut Outputs,
}

impl Step<'_> {
    /// Evaluates all definitions in their order. Returns whether anything that is remembered changed.
    fn run(mut self, customer: &mut Customer) -> bool {
        let rules = self.rules;
        let mut changed = false;
        customer.steps += 1;
        for (i, definition) in rules.workspace.definitions.iter().enumerate() {
            for d in rules.dwells_of[i].iter().copied() {
                changed |= self.dwell(d, customer);
            }
            changed |= match &definition.kind {
                DefinitionKind::Segment(segment) => self.segment(i, definition, segment, customer),
                DefinitionKind::Stages(stages) => self.stages(i, definition, stages, customer),
                DefinitionKind::Score(_) | DefinitionKind::Points(_) => false,
            };
        }
        changed
    }

    fn view<'v>(&self, i: usize, customer: &'v Customer) -> View<'v>
    where
        Self: 'v,
    {
        View { rules: self.rules, customer, t: self.t, zone: self.rules.zones[i], key: None }
    }

    /// What an evaluation would give at the clock without this step, `remembered` for a timer. Other segments are as published: what is
    /// due at this millisecond waits for its timers (R2), also where others refer to it (S15). `None` before the first record (R5, S40).
    fn without<T>(&self, remembered: T, evaluate: impl FnOnce(&Customer) -> T) -> Option<T> {
        match &self.before {
            Before::Timer => Some(remembered),
            Before::Record { before, .. } => before.map(evaluate),
        }
    }

    /// In order with regard to the customer alone (R30); R1 adds the segment's last change.
    fn in_order(&self, customer: &Customer) -> bool {
        match &self.before {
            Before::Record { record, .. } => record.ts >= customer.greatest_ts,
            Before::Timer => true,
        }
    }

    /// The instant from which something holds that turned in this step: of a record its `ts`, of a timer that of a segment it refers to
    /// and that this step has changed (R35), if it holds there too and that is not before `not_before`; else the clock. How it was when
    /// a later `ts` has been applied since can only be told of what reads nothing but segments.
    fn since(&self, parents: &[&Expr], customer: &Customer, not_before: Timestamp, holds: impl Fn(Timestamp) -> bool) -> Timestamp {
        let earlier = match &self.before {
            Before::Record { record, .. } => self.in_order(customer).then_some(record.ts),
            Before::Timer => {
                let mut named = Vec::new();
                parents.iter().for_each(|e| named_in(&self.rules.workspace.definitions, e, &mut named));
                let those = self.moved.iter().filter(|(i, since)| named.contains(i) && *since < self.t);
                let seen = |since: &Timestamp| *since >= customer.greatest_ts || parents.iter().all(|e| only_segments(e));
                those.map(|(_, since)| *since).max().filter(seen)
            }
        };
        earlier.filter(|at| *at >= not_before && holds(*at)).unwrap_or(self.t)
    }

    /// R4: remembers when the operand turned.
    fn dwell(&self, d: usize, customer: &mut Customer) -> bool {
        let (zone, operand) = &self.rules.dwells[d];
        let holds = |customer: &Customer, t: Timestamp| View { rules: self.rules, customer, t, zone: *zone, key: None }.holds(operand);
        let remembered = customer.dwells[d].is_some();
        let now = holds(customer, self.t);
        if now == remembered || now == self.without(remembered, |before| holds(before, self.t)).unwrap_or(false) {
            return false;
        }
        let since = self.since(&[operand], customer, Timestamp::MIN, |at| holds(customer, at) == now);
        customer.dwells[d] = now.then_some(since);
        true
    }

    fn segment(&mut self, i: usize, definition: &Definition, segment: &Segment, customer: &mut Customer) -> bool {
        let mut changed = self.exit_delay(i, segment, customer) | self.block(i, segment, customer) | self.keys(i, segment, customer);
        let rules = self.rules;
        let enter = rules.enter_dwells[i];
        let wish = |customer: &Customer, t: Timestamp| machine::wish(segment, enter, &customer.machines[i], &self.view(i, customer).at(t));
        let now = wish(customer, self.t);
        // The strongest reason first; what is decided now, and since when.
        let consents: Vec<Expr> = segment.require_consent.iter().map(|p| Expr::Consent(*p)).collect();
        let parents: Vec<&Expr> = std::iter::once(&segment.when).chain(&segment.exit_when).chain(&consents).collect();
        let last_since = customer.machines[i].last.map_or(Timestamp::MIN, |l| l.since);
        let since = |customer: &Customer| self.since(&parents, customer, last_since, |at| wish(customer, at).is_some());
        let settle = segment.settle.unwrap_or(Millis::ZERO);
        let mut decided: Option<(Wish, Timestamp)> = None;
        match &self.before {
            Before::Timer if now == Some(Wish::Consent) => decided = Some((Wish::Consent, since(customer))),
            Before::Timer => {
                let condition = |at| machine::condition(segment, enter, &customer.machines[i], &self.view(i, customer).at(at));
                let wanted = condition(self.t).then(|| self.since(&parents, customer, last_since, condition));
                let expired = machine::expired(segment, &customer.machines[i], &self.view(i, customer)).then_some(self.t);
                let machine = &mut customer.machines[i];
                for (waiting, wanted) in [(&mut machine.waiting, wanted), (&mut machine.expiry_waiting, expired)] {
                    let deadline = wanted.map(|since| waiting.unwrap_or(since));
                    changed |= *waiting != deadline;
                    *waiting = deadline;
                }
                let due = |deadline: &Timestamp| *deadline + settle <= self.t;
                decided = match (machine.waiting.filter(due), machine.expiry_waiting.filter(due)) {
                    (Some(condition), Some(expiry)) if expiry < condition => Some((Wish::Expiry, expiry)),
                    (Some(condition), _) => Some((Wish::Condition, condition)),
                    (None, Some(expiry)) => Some((Wish::Expiry, expiry)),
                    (None, None) => None,
                };
            }
            Before::Record { before, record } => {
                // The machine is that of before in both, and so is what waits.
                let without = before.and_then(|before| wish(before, self.t));
                let stronger = segment.settle.is_some() && now > without;
                if now.is_some() && (without.is_none() || stronger) {
                    decided = now.map(|wish| (wish, since(customer)));
                } else {
                    changed |= self.still_waiting(i, segment, record.ts, customer);
                }
            }
        }
        if let Some((wish, since)) = decided {
            self.publish(i, definition, segment, customer, wish, since);
            changed = true;
        }
        changed
    }

    /// `exit after`: remembers, of a member, since when the exit condition has held (R4).
    fn exit_delay(&self, i: usize, segment: &Segment, customer: &mut Customer) -> bool {
        if segment.exit_after.is_none() || !customer.machines[i].member {
            return false;
        }
        let holds = |customer: &Customer, t: Timestamp| machine::exit_condition(segment, &self.view(i, customer).at(t));
        let remembered = customer.machines[i].exit_since.is_some();
        let now = holds(customer, self.t);
        if now == remembered || now == self.without(remembered, |before| holds(before, self.t)).unwrap_or(false) {
            return false;
        }
        let parents = [segment.exit_when.as_ref().unwrap_or(&segment.when)];
        let since = self.since(&parents, customer, Timestamp::MIN, |at| holds(customer, at) == now);
        customer.machines[i].exit_since = now.then_some(since);
        true
    }

    /// R11, R34: `when` is seen false, by a timer or by a record that makes it so.
    fn block(&self, i: usize, segment: &Segment, customer: &mut Customer) -> bool {
        let holds = |customer: &Customer| self.view(i, customer).holds(&segment.when);
        let lifted = customer.machines[i].blocked && !holds(customer) && self.without(true, holds).unwrap_or(true);
        if lifted {
            customer.machines[i].blocked = false;
        }
        lifted
    }

    /// R12: a record drops what waits where nothing is wanted any more; where the deadline has moved, a new settle begins.
    fn still_waiting(&self, i: usize, segment: &Segment, ts: Timestamp, customer: &mut Customer) -> bool {
        let Some(deadline) = customer.machines[i].waiting else { return false };
        let holds =
            |at: Timestamp| machine::condition(segment, self.rules.enter_dwells[i], &customer.machines[i], &self.view(i, customer).at(at));
        let looked_at = deadline.max(customer.greatest_ts).max(ts).min(self.t);
        let moved = if !holds(self.t) {
            None
        } else if holds(looked_at) {
            Some(deadline)
        } else {
            // From where it has held up to now.
            let fixed = instants::fixed(self.rules, customer, looked_at, self.t);
            let all = instants::candidates(self.rules, customer, &fixed, looked_at, self.t);
            let held: Vec<Timestamp> = all.into_iter().rev().take_while(|at| holds(*at)).collect();
            Some(held.last().copied().unwrap_or(self.t))
        };
        customer.machines[i].waiting = moved;
        moved != Some(deadline)
    }

    /// R51: which keys hold, and since which step.
    fn keys(&self, i: usize, segment: &Segment, customer: &mut Customer) -> bool {
        if !segment.emit.iter().any(|field| field.term == Term::Key) {
            return false;
        }
        let condition = std::iter::once(&segment.when).chain(&segment.exit_when).find_map(keys::keyed_condition);
        let now = condition.map(|c| self.view(i, customer).keys_that_hold(c)).unwrap_or_default();
        let step = customer.steps;
        let known = &mut customer.machines[i].keys;
        let n = known.len();
        known.retain(|(key, _)| now.contains(key));
        let new: Vec<_> = now.into_iter().filter(|key| !known.iter().any(|(k, _)| k == key)).collect();
        let changed = known.len() < n || !new.is_empty();
        known.extend(new.into_iter().map(|key| (key, step)));
        changed
    }

    fn publish(&mut self, i: usize, definition: &Definition, segment: &Segment, customer: &mut Customer, wish: Wish, since: Timestamp) {
        let entered = !customer.machines[i].member;
        let last = customer.machines[i].last;
        let late = self.late(last);
        let cause = match (&self.before, wish) {
            (_, Wish::Consent) => Cause::Consent,
            (Before::Timer, Wish::Expiry) => Cause::Expired,
            (Before::Timer, Wish::Condition) => Cause::Timer,
            (Before::Record { .. }, _) if late => Cause::LateEvent,
            (Before::Record { .. }, _) => Cause::Event,
        };
        let corrects = last.filter(|_| late);
        let view = self.view(i, customer);
        // R42: terms at the decision.
        let emit = segment.emit.iter().map(|field| {
            let value = if field.term == Term::Key { customer.machines[i].key() } else { view.term(&field.term) };
            (field.name.as_str().into(), value)
        });
        let emit: Vec<_> = emit.collect();
        let still_wanted = view.holds(&segment.when);
        let machine = &mut customer.machines[i];
        machine.member = entered;
        machine.emit = emit;
        machine.history.push((since, entered));
        (machine.exit_since, machine.waiting, machine.expiry_waiting) = (None, None, None);
        machine.blocked = wish == Wish::Expiry && still_wanted;
        self.moved.push((i, since));
        let kind = if entered { ChangeKind::Entered } else { ChangeKind::Exited };
        self.change(i, definition, customer, kind, since, cause, corrects);
    }

    /// S27: the record reverses a change whose `since` is later than its `ts`.
    fn late(&self, last: Option<LastChange>) -> bool {
        match &self.before {
            Before::Record { record, .. } => last.is_some_and(|l| l.since > record.ts),
            Before::Timer => false,
        }
    }

    fn stages(&mut self, i: usize, definition: &Definition, stages: &Stages, customer: &mut Customer) -> bool {
        let stage = |customer: &Customer, t: Timestamp| self.view(i, customer).at(t).stage(stages);
        let published = customer.machines[i].stage;
        let now = stage(customer, self.t);
        let without = self.without(published, |before| stage(before, self.t)).unwrap_or(stages.stages.len());
        if now == published || now == without {
            return false;
        }
        let last = customer.machines[i].last;
        let parents: Vec<&Expr> = stages.stages.iter().map(|(_, e)| e).collect();
        let not_before = last.map_or(Timestamp::MIN, |l| l.since);
        let since = self.since(&parents, customer, not_before, |at| stage(customer, at) == now);
        // R36: a late move corrects the one that it takes back.
        let late = self.late(last) && now == customer.machines[i].stage_before;
        let cause = match &self.before {
            Before::Timer => Cause::Timer,
            Before::Record { .. } if late => Cause::LateEvent,
            Before::Record { .. } => Cause::Event,
        };
        let machine = &mut customer.machines[i];
        (machine.stage_before, machine.stage) = (published, now);
        self.moved.push((i, since));
        let kind = ChangeKind::Moved { from: stage_name(stages, published).into(), to: stage_name(stages, now).into() };
        self.change(i, definition, customer, kind, since, cause, last.filter(|_| late));
        true
    }

    fn change(
        &mut self,
        i: usize,
        definition: &Definition,
        customer: &mut Customer,
        kind: ChangeKind,
        since: Timestamp,
        cause: Cause,
        corrects: Option<LastChange>,
    ) {
        if let Some(last) = customer.machines[i].last {
            let name = &customer.name;
            assert!(since >= last.since, "since of {name} in {} goes back from {} to {since}", definition.name, last.since);
        }
        let (origin, cause_event) = match &self.before {
            Before::Timer => (Origin::Timer(since), None),
            Before::Record { record, .. } => {
                (Origin::Record(record.position), Some(CauseEvent { id: record.id.clone(), position: record.position }))
            }
        };
        let change_id = change_id(&definition.name, &customer.name, &definition.hash.0, origin);
        customer.seq += 1;
        let machine = &mut customer.machines[i];
        machine.last = Some(LastChange { id: change_id, since });
        let stage = match &kind {
            ChangeKind::Moved { to, .. } => Some(to.clone()),
            ChangeKind::Entered | ChangeKind::Exited => None,
        };
        let membership = (machine.member || stage.is_some()).then(|| Membership {
            customer: customer.name.as_str().into(),
            segment: definition.name.as_str().into(),
            stage,
            since,
            version: definition.hash,
            emit: machine.emit.clone(),
        });
        let change = Change {
            change_id,
            customer: customer.name.as_str().into(),
            seq: customer.seq,
            segment: definition.name.as_str().into(),
            version: definition.hash,
            kind,
            since,
            decided_at: self.t,
            cause,
            cause_event,
            corrects: corrects.map(|l| l.id),
            approx: false,
            valid_until: None,
            reason: Vec::new(),
            emit: machine.emit.clone(),
        };
        self.out.changes.push(Published { change, membership });
    }
}

/// Whether a condition asks for nothing but other segments.
fn only_segments(expr: &Expr) -> bool {
    match expr {
        Expr::And(all) | Expr::Or(all) => all.iter().all(only_segments),
        Expr::Not(e) | Expr::HeldFor { of: e, .. } => only_segments(e),
        Expr::InSegment(_) | Expr::Everyone => true,
        _ => false,
    }
}

/// Segments and stages that a condition refers to in any way: what it turns with takes their `since` (R12, R35).
fn named_in(definitions: &[Definition], of: &Expr, out: &mut Vec<usize>) {
    #[derive(Default)]
    struct Named {
        changes: Vec<usize>,
        points: Vec<usize>,
    }
    impl<'a> Visit<'a> for Named {
        fn expr(&mut self, of: &'a Expr) {
            match of {
                Expr::InSegment(index) | Expr::Crossed { segment: index, .. } => self.changes.push(index.at()),
                _ => {}
            }
        }
        fn term(&mut self, of: &'a Term) {
            match of {
                Term::Stage(index) => self.changes.push(index.at()),
                Term::Points(index) => self.points.push(index.at()),
                _ => {}
            }
        }
    }
    let mut named = Named::default();
    walk::expr(of, &mut named);
    out.extend(named.changes);
    for index in named.points {
        if let DefinitionKind::Points(points) = &definitions[index].kind {
            points.rules.iter().for_each(|(_, of)| named_in(definitions, of, out));
        }
    }
}
