//! What is told of a change: of a segment here, of stages in [`super::stages`], which make their changes with [`Decided::change`].

use std::sync::Arc;

use super::wish::Why;
use super::{ActivationStep, Step, stages};
use crate::engine::customer::{Span, UnitEntry};
use crate::engine::evaluate::Work;
use crate::engine::features::Reader;
use crate::engine::features::codec::{put_value, read_value};
use crate::engine::output::{self, Outputs, Published};
use crate::engine::program::Program;
use crate::engine::reason;
use crate::ids::{DefinitionIndex, SemanticHash};
use crate::limits::{EMIT_BYTES_MAX, EMIT_ITEMS_MAX, EMIT_TEXT_BYTES_MAX, PUBLISHED_BYTES_BASE};
use crate::model::{Cause, CauseEvent, Change, ChangeKind, Membership, Origin, Reason, Value, change_id};
use crate::plan::node::{SegmentUnit, UnitId, UnitKind};
use crate::time::Timestamp;

/// A change that has been decided.
#[derive(Clone, Copy)]
pub(super) struct Decided<'a> {
    pub since: Timestamp,
    pub cause: Cause,
    /// The change that is taken back; its version where that is not the present one.
    pub corrects: Option<(Origin, Option<SemanticHash>)>,
    pub approx: bool,
    pub step: Step<'a>,
}

impl Decided<'_> {
    pub fn origin(&self) -> Origin {
        match self.step {
            Step::Timer { .. } => Origin::Timer(self.since),
            Step::Record(r) => Origin::Record(r.position),
            Step::Activation(a) => Origin::Activation(a.number),
        }
    }

    /// As it is published, without fields; the customer's number of changes counts it already.
    pub fn change(
        &self,
        program: &Program,
        work: &Work,
        definition: DefinitionIndex,
        kind: ChangeKind,
        until: Timestamp,
        reason: Vec<Reason>,
    ) -> Change {
        let version = program.plan.workspace().definitions[definition.at()].hash;
        let customer: Arc<str> = work.id.as_str().into();
        let name = &program.names[definition.at()];
        let id = |origin, version| change_id(name, &customer, version, origin, 0);
        Change {
            change_id: id(self.origin(), version),
            corrects: self.corrects.map(|(origin, other)| id(origin, other.unwrap_or(version))),
            customer,
            seq: work.customer.seq,
            segment: name.clone(),
            version,
            kind,
            since: self.since,
            decided_at: self.step.at(),
            cause: self.cause,
            cause_event: match self.step {
                Step::Record(r) => Some(CauseEvent { id: r.id.map(Into::into), position: r.position }),
                Step::Timer { .. } | Step::Activation(_) => None,
            },
            approx: self.approx,
            valid_until: (until != Timestamp::MAX).then_some(until),
            reason,
            emit: Vec::new(),
        }
    }
}

/// Publishes that a customer enters or leaves a segment. `why`: what decided an exit from one with delays and the like.
pub(super) fn publish(
    program: &Program,
    work: &mut Work,
    (unit, segment): (UnitId, &SegmentUnit),
    (entered, why): (bool, Option<Why>),
    decided: Decided,
    members: &mut [u64],
    out: &mut Outputs,
) {
    let (since, t) = (decided.since, decided.step.at());
    // What decided an exit by delays is told by the entry that it ends.
    let reason = match decided.cause {
        // No condition decided it.
        Cause::DefinitionDeleted => Vec::new(),
        _ => reason::of(program, work, (unit, segment), entered, why, t),
    };
    debug_assert!(work.customer.unit(unit).is_none_or(|last| since >= last.since), "since never goes back");
    work.customer.seq += 1;
    work.customer.set_unit(UnitEntry::new(unit, entered, since, decided.origin()));
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
    let kind = if entered { ChangeKind::Entered } else { ChangeKind::Exited };
    let change = decided.change(program, work, segment.definition, kind, until, reason);
    let membership = entered.then(|| Membership {
        customer: change.customer.clone(),
        segment: change.segment.clone(),
        stage: None,
        since,
        version: change.version,
        emit: emit.clone(),
    });
    let change = Change { emit, ..change };
    out.bytes += weight(&change) * if entered { 2 } else { 1 };
    out.changes.push(Published { change, membership });
}

/// Publishes the exit of a member whose segment no definition of the new set describes; `program` is that of the old one.
pub fn dissolve(program: &Program, work: &mut Work, unit: UnitId, step: ActivationStep, members: &mut [u64], out: &mut Outputs) {
    let UnitKind::Segment(segment) = &program.plan.units[unit as usize].kind else { return };
    work.new_pass();
    let decided = Decided { since: step.at, cause: Cause::DefinitionDeleted, corrects: None, approx: false, step: Step::Activation(step) };
    publish(program, work, (unit, segment), (false, None), decided, members, out);
}

/// The segment's fields at the decision (R42); long texts are cut.
fn emit(program: &Program, work: &mut Work, segment: &SegmentUnit, t: Timestamp, out: &mut Outputs) -> Vec<(Arc<str>, Value)> {
    let mut fields = Vec::with_capacity(segment.emit.len());
    let mut room = EMIT_BYTES_MAX;
    for (name, term) in &segment.emit {
        work.load_of_term(program, *term);
        let seen = work.term(program, *term, t);
        out.counts.sums_saturated += u64::from(seen.saturated);
        fields.push((name.clone(), output::fitting(name, bounded(seen.value.to_value()), &mut room)));
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
            items.truncate(EMIT_ITEMS_MAX);
            Value::List(items.into_iter().map(bounded).collect())
        }
        Value::Record(items) => Value::Record(items.into_iter().map(bounded).collect()),
        other => other,
    }
}

/// About the bytes of an encoded change.
pub(super) fn weight(change: &Change) -> usize {
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
    fn long_texts_are_cut_at_a_character() {
        let long = "é".repeat(EMIT_TEXT_BYTES_MAX);
        match bounded(Value::Text(long.as_str().into())) {
            Value::Text(cut) => assert!(cut.len() <= EMIT_TEXT_BYTES_MAX && long.starts_with(&*cut) && cut.len() > EMIT_TEXT_BYTES_MAX - 2),
            other => panic!("{other:?}"),
        }
    }
}
