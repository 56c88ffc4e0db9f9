//! One step of one customer: which units turn, since when, and what is published of it (LANGUAGE.md 8.4, 8.6, 8.7).
//!
//! A step is one record, or all timers of one deadline (R40). Units are looked at in the order in which they depend on each other, so that a
//! change is seen by what refers to it in the same step; changes leave in that order (S15, R7).
//!
//! Here are dwells and segments that follow their conditions alone; those with delays and the like are stepped by [`delayed`].

mod delayed;
pub mod stages;
mod wish;

use std::sync::Arc;

use super::customer::{Span, UnitEntry};
use super::evaluate::Work;
use super::features::codec::{put_value, read_value};
use super::features::{Reader, Verdict};
use super::output::{Outputs, Published};
use super::program::Program;
use super::reason;
use crate::ids::{Position, SemanticHash};
use crate::limits::{EMIT_TEXT_BYTES_MAX, PUBLISHED_BYTES_BASE};
use crate::model::{Cause, CauseEvent, Change, ChangeKind, Membership, Origin, Value, change_id};
use crate::plan::node::{Node, NodeId, SegmentUnit, UnitId, UnitKind};
use crate::time::Timestamp;

use delayed::Machine;
pub use wish::Why;

/// What a step is.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    Record(RecordStep<'a>),
    /// All timers of this deadline.
    Timer {
        deadline: Timestamp,
    },
    /// Another set of definitions (S38).
    Activation(ActivationStep<'a>),
}

#[derive(Clone, Copy, Debug)]
pub struct ActivationStep<'a> {
    /// The activation clock.
    pub at: Timestamp,
    pub number: u64,
    /// By unit: its definition is new in the set.
    pub created: &'a [bool],
}

#[derive(Clone, Copy, Debug)]
pub struct RecordStep<'a> {
    /// The clock at which it is applied.
    pub t: Timestamp,
    pub ts: Timestamp,
    /// Not before the greatest `ts` applied to the customer before it.
    pub in_order: bool,
    pub position: Position,
    pub id: Option<&'a str>,
}

impl ActivationStep<'_> {
    fn cause(&self, unit: UnitId) -> Cause {
        if self.created[unit as usize] { Cause::DefinitionCreated } else { Cause::DefinitionChanged }
    }
}

impl Step<'_> {
    fn at(&self) -> Timestamp {
        match self {
            Step::Record(record) => record.t,
            Step::Timer { deadline } => *deadline,
            Step::Activation(activation) => activation.at,
        }
    }
}

/// Units to be looked at in one step, in their order, each once.
#[derive(Debug, Default)]
pub struct Agenda {
    units: Vec<UnitId>,
    next: usize,
    sorted: bool,
    /// Segments that changed in this step with a `since` before its instant: a change that has settled, or one that follows from it.
    early: Vec<(UnitId, Timestamp)>,
}

impl Agenda {
    pub fn clear(&mut self) {
        self.units.clear();
        self.next = 0;
        self.sorted = true;
        self.early.clear();
    }

    /// Before the step begins.
    pub fn add(&mut self, unit: UnitId) {
        self.sorted &= self.units.last().is_none_or(|last| *last < unit);
        self.units.push(unit);
    }

    fn sort(&mut self) {
        if !self.sorted {
            self.units.sort_unstable();
            self.units.dedup();
            self.sorted = true;
        }
    }

    /// During the step: a unit after the present one.
    fn insert(&mut self, unit: UnitId) {
        if let Err(i) = self.units[self.next..].binary_search(&unit) {
            self.units.insert(self.next + i, unit);
        }
    }

    /// A unit has turned, true since then: what refers to it is looked at in the same step.
    fn turned(&mut self, program: &Program, unit: UnitId, since: Timestamp, step: Step) {
        if let Step::Timer { deadline } = step
            && since < deadline
        {
            self.early.push((unit, since));
        }
        for dependent in &program.plan.units[unit as usize].dependents {
            self.insert(*dependent);
        }
    }

    fn pop(&mut self) -> Option<UnitId> {
        let unit = self.units.get(self.next).copied()?;
        self.next += 1;
        Some(unit)
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stepped {
    /// Something that is remembered or published turned.
    pub turned: bool,
    /// Some deadline moved.
    pub moved: bool,
}

/// A unit that would turn at a record's clock without the record, or that waits to.
#[derive(Clone, Copy, Debug)]
pub struct Without {
    unit: UnitId,
    /// Whether it would hold.
    would: bool,
    /// Of a segment with delays and the like.
    delayed: Option<delayed::Without>,
    /// Of stages.
    stage: Option<usize>,
}

/// Before a record is applied: puts what is due at its clock on the agenda, since the record may be what it owes its turn to, and tells what
/// would turn without it (R2).
pub fn without(program: &Program, work: &mut Work, agenda: &mut Agenda, t: Timestamp, out: &mut Vec<Without>) {
    let due = work.customer.next_due() <= t;
    if !due && !program.waits {
        return;
    }
    work.new_pass();
    if due {
        for i in 0..work.customer.deadlines.len() {
            let (unit, until) = work.customer.deadlines[i];
            if until <= t {
                agenda.add(unit);
                out.extend(one_without(program, work, unit, t));
            }
        }
    }
    if program.waits {
        for i in 0..work.customer.units.len() {
            if let UnitKind::Waiting { segment } = program.plan.units[work.customer.units[i].unit as usize].kind
                && work.customer.deadline(segment) > t
            {
                out.extend(one_without(program, work, segment, t));
            }
        }
    }
}

fn one_without(program: &Program, work: &mut Work, unit: UnitId, t: Timestamp) -> Option<Without> {
    let member = work.customer.is_member(unit);
    if let Some(machine) = machine(program, unit) {
        let delayed = machine.without(work, t)?;
        return Some(Without { unit, would: member, delayed: Some(delayed), stage: None });
    }
    if let UnitKind::Stages(stages) = &program.plan.units[unit as usize].kind {
        let wanted = work.stage_wanted(program, stages, t, Work::node);
        let moves = work.stage_moves(unit, stages, wanted);
        return moves.then_some(Without { unit, would: member, delayed: None, stage: wanted.place });
    }
    let would = work.wants(program, unit, member, t).holds;
    (would != member).then_some(Without { unit, would, delayed: None, stage: None })
}

fn machine(program: &Program, unit: UnitId) -> Option<Machine<'_>> {
    match &program.plan.units[unit as usize].kind {
        UnitKind::Segment(segment) => segment.delays.as_ref().map(|delays| Machine { program, unit, segment, delays }),
        _ => None,
    }
}

/// Runs the step for the units on the agenda.
///
/// `without` names units that a record finds about to turn at this very millisecond, with what they would be without it: such a turn is
/// left to the timers of the millisecond (R2).
pub fn run(
    program: &Program,
    work: &mut Work,
    agenda: &mut Agenda,
    without: &[Without],
    step: Step,
    members: &mut [u64],
    out: &mut Outputs,
) -> Stepped {
    let t = step.at();
    let mut stepped = Stepped::default();
    agenda.sort();
    work.new_pass();
    while let Some(unit) = agenda.pop() {
        if let UnitKind::Keys { of } = program.plan.units[unit as usize].kind {
            let (turned, next) = work.look_at_keys(program, unit, of, t);
            stepped.turned |= turned;
            stepped.moved |= work.customer.set_deadline(unit, next);
            continue;
        }
        if let UnitKind::Stages(of) = &program.plan.units[unit as usize].kind {
            let without = without.iter().find(|w| w.unit == unit).and_then(|w| w.stage);
            stages::step(program, work, agenda, (unit, of), without, step, &mut stepped, members, out);
            continue;
        }
        if let Some(machine) = machine(program, unit) {
            let without = without.iter().find(|w| w.unit == unit).and_then(|w| w.delayed);
            if let Some(turn) = machine.step(work, agenda, without, step, &mut stepped) {
                stepped = Stepped { turned: true, moved: true };
                machine.turn(work, turn, step, members, out);
                agenda.turned(program, unit, turn.since, step);
            } else if !work.customer.gaps.is_empty() {
                // What is known of it may differ.
                program.plan.units[unit as usize].dependents.iter().for_each(|dependent| agenda.insert(*dependent));
            }
            continue;
        }
        let member = work.customer.is_member(unit);
        let verdict = work.wants(program, unit, member, t);
        let pending = || without.iter().any(|w| w.unit == unit && w.would == verdict.holds);
        if verdict.holds == member {
            stepped.moved |= work.customer.set_deadline(unit, verdict.until);
            if without.iter().any(|w| w.unit == unit) || !work.customer.gaps.is_empty() {
                // The record carries on what would have ended at this millisecond: a dwell that is complete now holds only with it. Or what is
                // known of the unit differs.
                for dependent in &program.plan.units[unit as usize].dependents {
                    agenda.insert(*dependent);
                }
            }
            continue;
        }
        if pending() {
            // The timer of this millisecond will see it, whatever else is due then.
            stepped.moved |= work.customer.set_deadline(unit, t);
            continue;
        }
        stepped.turned = true;
        let since = turn(program, work, agenda, unit, verdict, step, members, out);
        let after = match &program.plan.units[unit as usize].kind {
            UnitKind::Segment(segment) if segment.exit.is_some() => work.wants(program, unit, verdict.holds, t),
            _ => verdict,
        };
        stepped.moved |= work.customer.set_deadline(unit, after.until);
        agenda.turned(program, unit, since, step);
    }
    stepped
}

/// A dwell begins or breaks, a customer enters or leaves. Returns since when.
fn turn(
    program: &Program,
    work: &mut Work,
    agenda: &Agenda,
    unit: UnitId,
    verdict: Verdict,
    step: Step,
    members: &mut [u64],
    out: &mut Outputs,
) -> Timestamp {
    let entered = verdict.holds;
    let last = work.customer.unit(unit).copied();
    match &program.plan.units[unit as usize].kind {
        UnitKind::Dwell { operand } | UnitKind::ExitDelay { operand, .. } => {
            // R4, R30: compared with the customer's greatest `ts` only.
            let since = match step {
                Step::Record(r) if r.in_order && r.ts < r.t && work.held_at(program, *operand, r.ts) == entered => r.ts,
                Step::Record(r) => r.t,
                Step::Activation(a) => a.at,
                Step::Timer { deadline } => {
                    let held = |work: &mut Work, since| work.held_at(program, *operand, since) == entered;
                    inherited(program, work, agenda, unit, held).unwrap_or(deadline)
                }
            };
            if entered {
                work.customer.set_unit(UnitEntry::new(unit, true, since, Origin::Timer(since)));
            } else {
                work.customer.forget_unit(unit);
            }
            since
        }
        UnitKind::Keys { .. } | UnitKind::Waiting { .. } | UnitKind::Stages(_) => step.at(),
        UnitKind::Segment(segment) => {
            let (since, cause, corrects) = match step {
                Step::Timer { deadline } => {
                    let held = |work: &mut Work, since| holds_at(program, work, segment, entered, since);
                    (inherited(program, work, agenda, unit, held).unwrap_or(deadline), Cause::Timer, None)
                }
                Step::Activation(a) => (a.at, a.cause(unit), None),
                Step::Record(r) => {
                    // R1: and with the segment's own last change.
                    let in_order = r.in_order && last.is_none_or(|last| r.ts >= last.since);
                    let since = if in_order && r.ts < r.t && holds_at(program, work, segment, entered, r.ts) { r.ts } else { r.t };
                    match last.filter(|last| last.since > r.ts) {
                        Some(last) => (since, Cause::LateEvent, Some((last.origin, last.version))),
                        None => (since, Cause::Event, None),
                    }
                }
            };
            let decided = Decided { entered, why: None, since, cause, corrects, approx: verdict.approx, step };
            publish(program, work, (unit, segment), decided, members, out);
            since
        }
    }
}

/// R35: of what turns because a segment that it refers to has changed as of an earlier instant, that instant, if it held there.
///
/// That can only be told as far back as the greatest `ts` applied, except of what reads nothing but segments.
fn inherited(
    program: &Program,
    work: &mut Work,
    agenda: &Agenda,
    unit: UnitId,
    held: impl FnOnce(&mut Work, Timestamp) -> bool,
) -> Option<Timestamp> {
    let parents = agenda.early.iter().filter(|(parent, _)| program.plan.units[*parent as usize].dependents.contains(&unit));
    let since = parents.map(|(_, since)| *since).max()?;
    let seen = work.customer.greatest <= since || reads_only_segments(program, unit);
    let forward = work.customer.unit(unit).is_none_or(|last| since >= last.since);
    (seen && forward && held(work, since)).then_some(since)
}

fn reads_only_segments(program: &Program, unit: UnitId) -> bool {
    fn only(program: &Program, node: NodeId) -> bool {
        match &program.plan.nodes[node as usize].node {
            Node::InSegment { .. } | Node::Constant(_) => true,
            Node::And(all) | Node::Or(all) => all.iter().all(|n| only(program, *n)),
            Node::Not(of) | Node::Held { operand: of, .. } => only(program, *of),
            _ => false,
        }
    }
    match &program.plan.units[unit as usize].kind {
        UnitKind::Dwell { operand } | UnitKind::ExitDelay { operand, .. } => only(program, *operand),
        UnitKind::Segment(segment) => {
            let consent = segment.delays.as_ref().and_then(|delays| delays.consent);
            [Some(segment.enter), consent].into_iter().flatten().all(|node| only(program, node))
        }
        UnitKind::Stages(stages) => stages.stages.iter().all(|(_, node)| only(program, *node)),
        UnitKind::Waiting { .. } | UnitKind::Keys { .. } => false,
    }
}

/// R9: whether what the segment turned to already held at an earlier instant.
fn holds_at(program: &Program, work: &mut Work, segment: &SegmentUnit, entered: bool, ts: Timestamp) -> bool {
    match segment.exit {
        Some(exit) if !entered => work.held_at(program, exit, ts),
        _ => work.held_at(program, segment.enter, ts) == entered,
    }
}

/// A change that has been decided.
struct Decided<'a> {
    entered: bool,
    /// Of a segment with delays and the like.
    why: Option<Why>,
    since: Timestamp,
    cause: Cause,
    /// The change that is taken back; its version where that is not the present one.
    corrects: Option<(Origin, Option<SemanticHash>)>,
    approx: bool,
    step: Step<'a>,
}

fn publish(
    program: &Program,
    work: &mut Work,
    (unit, segment): (UnitId, &SegmentUnit),
    decided: Decided,
    members: &mut [u64],
    out: &mut Outputs,
) {
    let Decided { entered, since, .. } = decided;
    let t = decided.step.at();
    let definition = &program.plan.workspace().definitions[segment.definition.at()];
    // What decided an exit by delays is told by the entry that it ends.
    let reason = match decided.cause {
        // No condition decided it.
        Cause::DefinitionDeleted => Vec::new(),
        _ => reason::of(program, work, (unit, segment), entered, decided.why, t),
    };
    debug_assert!(work.customer.unit(unit).is_none_or(|last| since >= last.since), "since never goes back");
    let origin = match decided.step {
        Step::Timer { .. } => Origin::Timer(since),
        Step::Record(r) => Origin::Record(r.position),
        Step::Activation(a) => Origin::Activation(a.number),
    };
    work.customer.seq += 1;
    work.customer.set_unit(UnitEntry::new(unit, entered, since, origin));
    if let Some(feature) = segment.crossings[usize::from(entered)] {
        work.crossed(program, feature, since);
    }
    let count = &mut members[segment.definition.at()];
    *count = if entered { count.saturating_add(1) } else { count.saturating_sub(1) };
    let until = match decided.cause {
        // Nothing can take it back.
        Cause::DefinitionDeleted => Timestamp::MAX,
        _ => work.unit_until(program, unit, t).until,
    };
    let emit = emit(program, work, segment, t, out);
    if entered && !emit.is_empty() {
        // Look-ups tell what was published, not what it would be by now.
        let bytes = &mut work.customer.bytes;
        let start = bytes.len() as u32;
        emit.iter().for_each(|(_, value)| put_value(bytes, value));
        let end = bytes.len() as u32;
        if let Some(entry) = work.customer.unit_mut(unit) {
            entry.emit = Span { start, end };
        }
    }
    let customer: Arc<str> = work.id.as_str().into();
    let name = &program.names[segment.definition.at()];
    let id = |origin, version| change_id(name, &customer, version, origin, 0);
    let membership = entered.then(|| Membership {
        customer: customer.clone(),
        segment: name.clone(),
        stage: None,
        since,
        version: definition.hash,
        emit: emit.clone(),
    });
    let change = Change {
        change_id: id(origin, definition.hash),
        customer: customer.clone(),
        seq: work.customer.seq,
        segment: name.clone(),
        version: definition.hash,
        kind: if entered { ChangeKind::Entered } else { ChangeKind::Exited },
        since,
        decided_at: t,
        cause: decided.cause,
        cause_event: match decided.step {
            Step::Record(r) => Some(CauseEvent { id: r.id.map(Into::into), position: r.position }),
            Step::Timer { .. } | Step::Activation(_) => None,
        },
        corrects: decided.corrects.map(|(origin, version)| id(origin, version.unwrap_or(definition.hash))),
        approx: decided.approx,
        valid_until: (until != Timestamp::MAX).then_some(until),
        reason,
        emit,
    };
    out.bytes += weight(&change) * if entered { 2 } else { 1 };
    out.changes.push(Published { change, membership });
}

/// Publishes the exit of a member whose segment no definition of the new set describes; `program` is that of the old one.
pub fn dissolve(program: &Program, work: &mut Work, unit: UnitId, step: ActivationStep, members: &mut [u64], out: &mut Outputs) {
    let UnitKind::Segment(segment) = &program.plan.units[unit as usize].kind else { return };
    work.new_pass();
    let decided = Decided {
        entered: false,
        why: None,
        since: step.at,
        cause: Cause::DefinitionDeleted,
        corrects: None,
        approx: false,
        step: Step::Activation(step),
    };
    publish(program, work, (unit, segment), decided, members, out);
}

/// The segment's fields at the decision (R42); long texts are cut.
fn emit(program: &Program, work: &mut Work, segment: &SegmentUnit, t: Timestamp, out: &mut Outputs) -> Vec<(Arc<str>, Value)> {
    let mut fields = Vec::with_capacity(segment.emit.len());
    let mut room = crate::limits::EMIT_BYTES_MAX;
    for (name, term) in &segment.emit {
        work.load_of_term(program, *term);
        let seen = work.term(program, *term, t);
        out.counts.sums_saturated += u64::from(seen.saturated);
        fields.push((name.clone(), super::output::fitting(name, bounded(seen.value.to_value()), &mut room)));
    }
    fields
}

fn bounded(value: Value) -> Value {
    match value {
        Value::Text(text) if text.len() > EMIT_TEXT_BYTES_MAX => {
            let end = (0..=EMIT_TEXT_BYTES_MAX).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            Value::Text(text[..end].into())
        }
        Value::List(mut items) => {
            items.truncate(crate::limits::EMIT_ITEMS_MAX);
            Value::List(items.into_iter().map(bounded).collect())
        }
        Value::Record(items) => Value::Record(items.into_iter().map(bounded).collect()),
        other => other,
    }
}

/// About the bytes of an encoded change.
fn weight(change: &Change) -> usize {
    let reasons: usize = change.reason.iter().map(|r| r.condition.len() + r.observed.len() + r.threshold.len() + 48).sum();
    let emit: usize = change.emit.iter().map(|(name, value)| name.len() + 8 + value_weight(value)).sum();
    PUBLISHED_BYTES_BASE + change.customer.len() + change.segment.len() + reasons + emit
}

fn value_weight(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len() + 2,
        Value::List(items) | Value::Record(items) => items.iter().map(|v| value_weight(v) + 2).sum(),
        _ => 24,
    }
}

/// The segments that a customer is in, as they were published.
pub fn memberships(program: &Program, work: &Work) -> Vec<Membership> {
    let mut out = Vec::new();
    for entry in work.customer.units.iter().filter(|e| e.member) {
        let segment = match &program.plan.units[entry.unit as usize].kind {
            UnitKind::Segment(segment) => segment,
            UnitKind::Stages(of) => {
                out.extend(stages::membership(program, work, entry.unit, of, &work.id.as_str().into()));
                continue;
            }
            _ => continue,
        };
        let definition = &program.plan.workspace().definitions[segment.definition.at()];
        let mut values = Reader::new(work.customer.span(entry.emit));
        out.push(Membership {
            customer: work.id.as_str().into(),
            segment: definition.name.as_str().into(),
            stage: None,
            since: entry.since,
            version: entry.version.unwrap_or(definition.hash),
            emit: segment.emit.iter().map(|(name, _)| (name.clone(), read_value(&mut values).to_value())).collect(),
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agenda_gives_each_unit_once_in_order_also_those_that_turn_up_meanwhile() {
        let mut agenda = Agenda::default();
        agenda.clear();
        [5, 2, 9, 2].into_iter().for_each(|u| agenda.add(u));
        agenda.sort();
        let mut seen = Vec::new();
        while let Some(unit) = agenda.pop() {
            seen.push(unit);
            if unit == 2 {
                [7, 5, 12].into_iter().for_each(|u| agenda.insert(u));
            }
        }
        assert_eq!(seen, [2, 5, 7, 9, 12]);
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let long = "é".repeat(EMIT_TEXT_BYTES_MAX);
        match bounded(Value::Text(long.as_str().into())) {
            Value::Text(cut) => assert!(cut.len() <= EMIT_TEXT_BYTES_MAX && long.starts_with(&*cut) && cut.len() > EMIT_TEXT_BYTES_MAX - 2),
            other => panic!("{other:?}"),
        }
    }
}
