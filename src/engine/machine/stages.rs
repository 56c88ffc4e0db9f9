//! Stages: of the conditions from top to bottom the first that holds says where a customer is; exactly one does (LANGUAGE.md R8, R36, R61).
//!
//! What is remembered is the published stage and the one before it, from the first move on; before it a customer is in the last stage,
//! `otherwise`, which nobody has been told. A stage has no delays: it follows its conditions like a segment without `exit when`.

use std::sync::Arc;

use super::publish::{Decided, weight};
use super::{Agenda, Step, Stepped, inherited};
use crate::engine::customer::{Span, UnitEntry};
use crate::engine::evaluate::Work;
use crate::engine::features::Verdict;
use crate::engine::features::codec::{Reader, put_blob, put_u64};
use crate::engine::output::{Outputs, Published};
use crate::engine::program::Program;
use crate::engine::reason;
use crate::engine::warming::Truth;
use crate::model::{Cause, ChangeKind, Membership};
use crate::plan::node::{NodeId, StagesUnit, UnitId, UnitKind};
use crate::time::Timestamp;

/// A stage that was published.
#[derive(Clone, Copy, Debug)]
pub struct Stage<'a> {
    /// Place from the top, the number of conditions for `otherwise`; `None` for one that the definition has no more.
    pub place: Option<usize>,
    pub name: &'a str,
}

impl<'a> Stage<'a> {
    fn read(reader: &mut Reader<'a>, stages: &'a StagesUnit) -> Stage<'a> {
        match reader.u64().checked_sub(1) {
            Some(place) => {
                let place = (place as usize).min(stages.stages.len());
                Stage { place: Some(place), name: stages.name(place) }
            }
            None => Stage { place: None, name: std::str::from_utf8(reader.blob()).unwrap_or_default() },
        }
    }

    fn put(self, out: &mut Vec<u8>) {
        match self.place {
            Some(place) => put_u64(out, place as u64 + 1),
            None => {
                put_u64(out, 0);
                put_blob(out, self.name.as_bytes());
            }
        }
    }
}

/// The published stage and the one before it, of bytes that [`publish`] has written.
fn read<'a>(bytes: &'a [u8], stages: &'a StagesUnit) -> [Stage<'a>; 2] {
    let mut reader = Reader::new(bytes);
    [Stage::read(&mut reader, stages), Stage::read(&mut reader, stages)]
}

/// Bytes of one definition as those of the next: stages by their names.
pub fn moved(bytes: &[u8], old: &StagesUnit, new: &StagesUnit, out: &mut Vec<u8>) -> Span {
    let start = out.len() as u32;
    for stage in read(bytes, old) {
        Stage { place: new.place(stage.name), name: stage.name }.put(out);
    }
    Span { start, end: out.len() as u32 }
}

/// What conditions say of the stage at an instant.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// `None` where that cannot be known yet (S39): the customer stays where he is.
    pub place: Option<usize>,
    /// Until when no condition up to that one turns.
    pub until: Timestamp,
    pub approx: bool,
}

impl Work {
    /// The stage as it was published, and the one before it.
    pub fn stage_published<'a>(&'a self, unit: UnitId, stages: &'a StagesUnit) -> [Stage<'a>; 2] {
        match self.customer.unit(unit) {
            Some(entry) => read(self.customer.span(entry.emit), stages),
            None => [Stage { place: Some(stages.stages.len()), name: &stages.otherwise }; 2],
        }
    }

    /// Whether the customer is to move there.
    pub fn stage_moves(&self, unit: UnitId, stages: &StagesUnit, wanted: Wanted) -> bool {
        wanted.place.is_some() && wanted.place != self.stage_published(unit, stages)[0].place
    }

    /// The published stage as it was at an instant, one move back.
    pub fn stage_at<'a>(&'a self, program: &'a Program, unit: UnitId, t: Timestamp) -> &'a str {
        let UnitKind::Stages(stages) = &program.plan.units[unit as usize].kind else { panic!("stages that are none") };
        let [now, before] = self.stage_published(unit, stages);
        if self.customer.unit(unit).is_some_and(|entry| t < entry.since) { before.name } else { now.name }
    }

    /// The first stage whose condition holds.
    pub fn stage_wanted(
        &mut self,
        program: &Program,
        stages: &StagesUnit,
        t: Timestamp,
        look: fn(&mut Work, &Program, NodeId, Timestamp) -> Verdict,
    ) -> Wanted {
        let mut wanted = Wanted { place: Some(stages.stages.len()), until: Timestamp::MAX, approx: false };
        for (place, (_, when)) in stages.stages.iter().enumerate() {
            let verdict = look(self, program, *when, t);
            wanted.until = wanted.until.min(verdict.until);
            wanted.approx |= verdict.approx;
            if verdict.holds {
                wanted.place = Some(place);
                break;
            }
            if !self.customer.gaps.is_empty() && self.truth(program, *when, t) == Truth::Unknown {
                wanted.place = None;
                break;
            }
        }
        wanted
    }

    /// The same at an instant before the clock.
    fn stage_held(&mut self, program: &Program, stages: &StagesUnit, t: Timestamp) -> Option<usize> {
        let found = stages.stages.iter().position(|(_, when)| self.held_at(program, *when, t));
        found.or(Some(stages.stages.len()))
    }
}

/// Looks at one customer's stage. `without`: what it would be at a record's clock without the record, where that is another than was
/// published; such a move is left to the timers of the millisecond (R2).
pub fn step(
    program: &Program,
    work: &mut Work,
    agenda: &mut Agenda,
    (unit, stages): (UnitId, &StagesUnit),
    without: Option<usize>,
    step: Step,
    stepped: &mut Stepped,
    members: &mut [u64],
    out: &mut Outputs,
) {
    let t = step.at();
    let wanted = work.stage_wanted(program, stages, t, Work::node);
    if !work.stage_moves(unit, stages, wanted) {
        stepped.moved |= work.customer.set_deadline(unit, wanted.until);
        if without.is_some() || !work.customer.gaps.is_empty() {
            for dependent in &program.plan.units[unit as usize].dependents {
                agenda.insert(*dependent);
            }
        }
        return;
    }
    if without.is_some() && without == wanted.place {
        stepped.moved |= work.customer.set_deadline(unit, t);
        return;
    }
    let last = work.customer.unit(unit).copied();
    let (since, cause, corrects) = match step {
        Step::Timer { deadline } => {
            let held = |work: &mut Work, since| work.stage_held(program, stages, since) == wanted.place;
            (inherited(program, work, agenda, unit, held).unwrap_or(deadline), Cause::Timer, None)
        }
        Step::Activation(a) => (a.at, a.cause(unit), None),
        Step::Record(r) => {
            let in_order = r.in_order && last.is_none_or(|last| r.ts >= last.since);
            let since = if in_order && r.ts < r.t && work.stage_held(program, stages, r.ts) == wanted.place { r.ts } else { r.t };
            // R36: a late move corrects the one that it takes back.
            let back = wanted.place == work.stage_published(unit, stages)[1].place;
            match last.filter(|last| last.since > r.ts && back) {
                Some(last) => (since, Cause::LateEvent, Some((last.origin, last.version))),
                None => (since, Cause::Event, None),
            }
        }
    };
    *stepped = Stepped { turned: true, moved: true };
    let moved = Decided { since, cause, corrects, approx: wanted.approx, step };
    publish(program, work, (unit, stages), wanted.place.unwrap_or(stages.stages.len()), moved, members, out);
    work.customer.set_deadline(unit, wanted.until);
    agenda.turned(program, unit, since, step);
}

fn publish(
    program: &Program,
    work: &mut Work,
    (unit, stages): (UnitId, &StagesUnit),
    to: usize,
    moved: Decided,
    members: &mut [u64],
    out: &mut Outputs,
) {
    let (t, since) = (moved.step.at(), moved.since);
    let from = work.stage_published(unit, stages)[0];
    let (from_place, from_name): (_, Arc<str>) = (from.place, from.name.into());
    let reason = reason::of_move(program, work, stages, (from_place.unwrap_or(usize::MAX), to), t);
    let last = work.customer.unit(unit).copied();
    debug_assert!(last.is_none_or(|last| since >= last.since), "since never goes back");
    if last.is_none() {
        let count = &mut members[stages.definition.at()];
        *count = count.saturating_add(1);
    }
    work.customer.seq += 1;
    let bytes = &mut work.customer.bytes;
    let start = bytes.len() as u32;
    Stage { place: Some(to), name: "" }.put(bytes);
    Stage { place: from_place, name: &from_name }.put(bytes);
    let emit = Span { start, end: bytes.len() as u32 };
    work.customer.set_unit(UnitEntry { emit, ..UnitEntry::new(unit, true, since, moved.origin()) });
    let until = work.unit_until(program, unit, t).until;
    let kind = ChangeKind::Moved { from: from_name, to: stages.name(to).clone() };
    let change = moved.change(program, work, stages.definition, kind, until, reason);
    out.bytes += weight(&change) * 2;
    let membership = membership(program, work, unit, stages, &change.customer);
    out.changes.push(Published { change, membership });
}

/// The row of stages that a customer has moved in.
pub fn membership(program: &Program, work: &Work, unit: UnitId, stages: &StagesUnit, customer: &Arc<str>) -> Option<Membership> {
    let entry = work.customer.unit(unit)?;
    Some(Membership {
        customer: customer.clone(),
        segment: program.names[stages.definition.at()].clone(),
        stage: Some(work.stage_published(unit, stages)[0].name.into()),
        since: entry.since,
        version: entry.version.unwrap_or(program.plan.workspace().definitions[stages.definition.at()].hash),
        emit: Vec::new(),
    })
}
