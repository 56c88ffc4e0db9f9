//! Warnings that need to see more than one condition, or only constants.
//!
//! Owns W01, W02 and W04; W07 and W08 are found in `never.rs`, W05 in `latch.rs`. A warning never depends on the order of operands.

use std::cmp::Ordering;

use super::super::definition::{Aggregate, EventRef, Expr, Rel, Term};
use super::super::diagnostic::Code;
use super::super::display;
use super::super::source::Span;
use super::conditions::negate;
use super::lower::Lower;
use super::terms::events_of;
use super::types::order;
use crate::model::Value;

/// Drops the warnings of operands that a neighbour answers: `x is known` beside `x != 1`, `any order ever` beside `no order in last 30d`.
pub(super) fn neighbours(lower: &mut Lower<'_, '_>, operands: &[(Expr, Span)], unknown_from: usize, absence_from: usize) {
    let mut known: Vec<&Term> = Vec::new();
    let mut happened: Vec<Vec<EventRef>> = Vec::new();
    // Under `not` each operand of the `or` is denied.
    let said: Vec<Expr> = operands.iter().map(|(e, _)| if lower.negated { negate(e.clone()) } else { e.clone() }).collect();
    for operand in &said {
        let of = match operand {
            Expr::And(of) => of.as_slice(),
            other => std::slice::from_ref(other),
        };
        for expr in of {
            match expr {
                Expr::Known(term) => known.push(term),
                Expr::EventIn { of, .. } => happened.push(events_of(of)),
                Expr::Sequence(sequence) => happened.push(events_of(&sequence.steps[0].selector)),
                Expr::Compare {
                    left: Term::Aggregate { function: Aggregate::Count, of, .. }, rel, right: Term::Literal(bound), ..
                } => {
                    let above_zero = matches!(
                        (rel, order(bound, &Value::Int(0))),
                        (Rel::Ge | Rel::Eq, Some(Ordering::Greater)) | (Rel::Gt, Some(Ordering::Greater | Ordering::Equal))
                    );
                    if above_zero {
                        happened.push(events_of(of));
                    }
                }
                // A comparison of what is missing is false, so one that holds says that it is known.
                Expr::Compare { left, .. }
                | Expr::Between { of: left, .. }
                | Expr::Member { of: left, .. }
                | Expr::TimeIn { of: left, .. } => {
                    known.push(left);
                    if let Term::OfEvent { of, .. } = left {
                        happened.push(events_of(of));
                    }
                }
                _ => {}
            }
        }
    }
    let mut at = 0;
    lower.unknown_in_negation.retain(|(term, _)| {
        at += 1;
        at <= unknown_from || !known.contains(&term)
    });
    let mut at = 0;
    lower.absences.retain(|absence| {
        at += 1;
        at <= absence_from || !happened.iter().any(|events| events.iter().all(|e| absence.events.contains(e)))
    });
}

/// Says what is left of W01 and W02 when a rule was read whole.
pub(super) fn flush(lower: &mut Lower<'_, '_>) {
    for (term, span) in std::mem::take(&mut lower.unknown_in_negation) {
        let text = display::term(lower.world, &term);
        let help = format!("if only known values are meant: `{text} is known and ..`");
        lower.report.help(Code::W01, span, format!("the negation also holds for customers whose `{text}` is unknown"), help);
    }
    for absence in std::mem::take(&mut lower.absences) {
        let text = &absence.text;
        lower.report.help(
            Code::W02,
            absence.span,
            format!("this also holds for customers who never did `{text}`"),
            match absence.within {
                Some(d) => format!("if they are not meant: `last({text}) at least {d} ago`, or add `and any {text} ever`"),
                None => format!("if they are not meant, add `and any {text} ever`"),
            },
        );
    }
}

/// Whether `exit` holds whenever `when` does, as far as the text shows it.
pub(super) fn follows(when: &Expr, exit: &Expr) -> bool {
    let conjuncts = |e: &Expr| match e {
        Expr::And(of) => of.clone(),
        other => vec![other.clone()],
    };
    let have = conjuncts(when);
    match exit {
        Expr::Everyone => true,
        Expr::Or(of) => of.iter().any(|e| follows(when, e)),
        _ => conjuncts(exit).iter().all(|e| have.contains(e)),
    }
}
