//! One step of one customer: a record, or all timers of one deadline (LANGUAGE.md R40). What holds before and after it decides what is
//! published.

use super::eval::View;
use super::{Customer, LastChange, Origin, Rules, change_id, instants};
use crate::engine::output::{Outputs, Published};
use crate::ids::Position;
use crate::lang::{DefinitionKind, Segment, Term};
use crate::model::{Cause, CauseEvent, Change, ChangeKind, Membership, Value};
use crate::time::Timestamp;

/// A record as a step sees it.
pub struct RecordStep {
    /// The clock.
    pub t: Timestamp,
    pub ts: Timestamp,
    pub id: Option<Box<str>>,
    pub position: Position,
}

/// Fires all timers of a customer in `(fired_through, through]`. Returns the last deadline that changed something.
pub fn fire(rules: &Rules, name: &str, customer: &mut Customer, through: Timestamp, out: &mut Outputs) -> Option<Timestamp> {
    let mut last = None;
    while customer.fired_through < through {
        let due = instants::candidates(rules, customer, customer.fired_through, through);
        let mut changed = false;
        for t in due {
            customer.fired_through = t;
            if step(rules, name, Before::Timer, customer, t, out) {
                last = Some(t);
                changed = true;
                // What has turned may have deadlines of its own.
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
pub fn record(rules: &Rules, name: &str, before: Option<&Customer>, after: &mut Customer, record: RecordStep, out: &mut Outputs) {
    let t = record.t;
    step(rules, name, Before::Record { before, record: &record }, after, t, out);
}

enum Before<'a> {
    Timer,
    Record { before: Option<&'a Customer>, record: &'a RecordStep },
}

/// Evaluates all definitions in their order. Returns whether anything that is remembered changed.
fn step(rules: &Rules, name: &str, before: Before, customer: &mut Customer, t: Timestamp, out: &mut Outputs) -> bool {
    let mut changed = false;
    // In order with regard to the customer alone (R30); R1 adds the segment's last change.
    let in_order = match &before {
        Before::Record { record, .. } => record.ts >= customer.greatest_ts,
        Before::Timer => true,
    };
    for (i, definition) in rules.workspace.definitions.iter().enumerate() {
        for d in rules.dwells_of[i].iter().copied() {
            let operand = &rules.dwells[d];
            let holds = |customer: &Customer, at: Timestamp| View { rules, customer, t: at }.holds(operand);
            let remembered = customer.dwells[d].is_some();
            let now = holds(customer, t);
            if now == remembered || now == without(rules, &before, t, remembered, |view| view.holds(operand)) {
                continue;
            }
            let since = match &before {
                Before::Record { record, .. } if in_order && holds(customer, record.ts) == now => record.ts,
                _ => t,
            };
            customer.dwells[d] = now.then_some(since);
            changed = true;
        }
        let DefinitionKind::Segment(segment) = &definition.kind else { continue };
        let published = customer.machines[i].member;
        let is = |customer: &Customer, at: Timestamp| machine(segment, published, &View { rules, customer, t: at });
        let now = is(customer, t);
        if now == published || now == without(rules, &before, t, published, |view| machine(segment, published, view)) {
            continue;
        }
        let last = customer.machines[i].last;
        let (since, cause, corrects) = match &before {
            Before::Timer => (t, Cause::Timer, None),
            Before::Record { record, .. } => {
                let in_order = in_order && last.is_none_or(|l| record.ts >= l.since);
                let since = if in_order && is(customer, record.ts) == now { record.ts } else { t };
                match last {
                    Some(l) if l.since > record.ts => (since, Cause::LateEvent, Some(l.id)),
                    _ => (since, Cause::Event, None),
                }
            }
        };
        if let Some(last) = last {
            assert!(since >= last.since, "since of {name} in {} goes back from {} to {since}", definition.name, last.since);
        }
        let (origin, cause_event) = match &before {
            Before::Timer => (Origin::Timer(t), None),
            Before::Record { record, .. } => {
                (Origin::Record(record.position), Some(CauseEvent { id: record.id.clone(), position: record.position }))
            }
        };
        let emit = emit(segment, &View { rules, customer, t });
        let change_id = change_id(&definition.name, name, &definition.hash.0, origin);
        customer.seq += 1;
        customer.machines[i].member = now;
        customer.machines[i].last = Some(LastChange { id: change_id, since });
        customer.machines[i].emit = emit.clone();
        let membership = now.then(|| Membership {
            customer: name.into(),
            segment: definition.name.as_str().into(),
            stage: None,
            since,
            version: definition.hash,
            emit: emit.clone(),
        });
        let change = Change {
            change_id,
            customer: name.into(),
            seq: customer.seq,
            segment: definition.name.as_str().into(),
            version: definition.hash,
            kind: if now { ChangeKind::Entered } else { ChangeKind::Exited },
            since,
            decided_at: t,
            cause,
            cause_event,
            corrects,
            approx: false,
            valid_until: None,
            reason: Vec::new(),
            emit,
        };
        out.changes.push(Published { change, membership });
        changed = true;
    }
    changed
}

/// What would be at the clock without this step. Other segments are as published: what is due at this millisecond waits for its timers
/// (R2), also where others refer to it (S15).
fn without(rules: &Rules, before: &Before, t: Timestamp, remembered: bool, evaluate: impl Fn(&View) -> bool) -> bool {
    match before {
        Before::Timer => remembered,
        // Nothing holds before the first record (R5, S40).
        Before::Record { before: None, .. } => false,
        Before::Record { before: Some(customer), .. } => evaluate(&View { rules, customer, t }),
    }
}

/// S23, S19: the membership that follows from one that is `member`.
fn machine(segment: &Segment, member: bool, view: &View) -> bool {
    match &segment.exit_when {
        None => view.holds(&segment.when),
        Some(exit) if view.holds(exit) => false,
        Some(_) => member || view.holds(&segment.when),
    }
}

/// R42: terms at the decision; `cart.items` is the number of lines.
fn emit(segment: &Segment, view: &View) -> Vec<(Box<str>, Value)> {
    let value = |term: &Term| view.term(term);
    segment.emit.iter().map(|field| (field.name.as_str().into(), value(&field.term))).collect()
}
