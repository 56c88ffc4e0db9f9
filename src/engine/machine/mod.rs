//! One step of one customer: which units turn, since when, and what is published of it (LANGUAGE.md 8.4, 8.6, 8.7).
//!
//! A step is one record, or all timers of one deadline (R40). Units are looked at in the order in which they depend on each other, so that a
//! change is seen by what refers to it in the same step; changes leave in that order (S15, R7).
//!
//! Here are dwells and segments that follow their conditions alone; those with delays and the like are stepped by [`delayed`], and
//! [`mod@publish`] is what is told of a change.

mod delayed;
mod publish;
pub mod stages;
mod wish;

use super::customer::UnitEntry;
use super::evaluate::Work;
use super::features::Verdict;
use super::output::Outputs;
use super::program::Program;
use crate::ids::Position;
use crate::model::{Cause, Origin};
use crate::plan::node::{Node, NodeId, SegmentUnit, UnitId, UnitKind};
use crate::time::Timestamp;

use delayed::Machine;
use publish::{Decided, publish};
pub use publish::{dissolve, memberships};
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
            let decided = Decided { since, cause, corrects, approx: verdict.approx, step };
            publish(program, work, (unit, segment), (entered, None), decided, members, out);
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
}
