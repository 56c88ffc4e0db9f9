//! Warnings that need to see more than one condition, or only constants.
//!
//! Owns W01, W02, W04, W07 and W08. A warning never depends on the order of operands.

use std::cmp::Ordering;

use super::super::definition::{Aggregate, EventRef, Expr, Rel, Term, TimeWindow, Window};
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

/// A comparison of constants, or of a count with what no count reaches.
pub(super) fn constant(lower: &mut Lower<'_, '_>, left: &Term, rel: Rel, right: &Term, span: Span) {
    if lower.in_filter() {
        return;
    }
    match (left, right) {
        (Term::Literal(a), Term::Literal(b)) if order(a, b).is_some() => {
            lower.report.add(Code::W08, span, "a comparison of constants can never change");
        }
        (Term::Aggregate { function: Aggregate::Count | Aggregate::Distinct, .. }, Term::Literal(bound)) => {
            let Some(zero) = order(&Value::Int(0), bound) else { return };
            let never = match rel {
                Rel::Lt => zero != Ordering::Less,
                Rel::Le | Rel::Eq => zero == Ordering::Greater,
                Rel::Gt | Rel::Ge => false,
            };
            let always = match rel {
                Rel::Ge => zero != Ordering::Less,
                Rel::Gt => zero == Ordering::Greater,
                _ => false,
            };
            if never {
                lower.report.add(Code::W07, span, "no count is below 0, so this never holds");
            } else if always {
                lower.report.add(Code::W08, span, "no count is below 0, so this always holds");
            }
        }
        _ => {}
    }
}

/// Operands of one `and` that exclude each other.
pub(super) fn contradictions(lower: &mut Lower<'_, '_>, operands: &[(Expr, Span)]) {
    for (i, (a, _)) in operands.iter().enumerate() {
        for (b, span) in &operands[i + 1..] {
            if excludes(a, b) {
                let text = display::condition(lower.world, a);
                lower.report.add(Code::W07, *span, format!("this and `{text}` never hold together"));
                return;
            }
        }
    }
}

fn excludes(a: &Expr, b: &Expr) -> bool {
    match (a, b) {
        (Expr::Not(inner), other) | (other, Expr::Not(inner)) if **inner == *other => true,
        (
            Expr::Compare { left: l, rel, right: Term::Literal(v), ignore_case: false },
            Expr::Compare { left: k, rel: other, right: Term::Literal(w), ignore_case: false },
        ) if l == k && !matches!(l, Term::Aggregate { per: Some(_), .. }) => order(v, w).is_some_and(|o| no_value(*rel, o, *other)),
        (Expr::EventIn { which: p, of: x, window: v }, Expr::EventIn { which: q, of: y, window: w }) => {
            p == q && x.members == y.members && disjoint(v, w)
        }
        (Expr::TimeIn { of: x, window: TimeWindow::Past(v) }, Expr::TimeIn { of: y, window: TimeWindow::Past(w) }) => {
            x == y && disjoint(v, w)
        }
        _ => false,
    }
}

/// Whether no x satisfies both `x rel v` and `x other w`, where `v` compares with `w` as given.
fn no_value(rel: Rel, v_to_w: Ordering, other: Rel) -> bool {
    use Ordering::{Equal, Greater, Less};
    use Rel::{Eq, Ge, Gt, Le, Lt};
    match (rel, other) {
        (Eq, Eq) => v_to_w != Equal,
        (Eq, Lt) => v_to_w != Less,
        (Eq, Le) => v_to_w == Greater,
        (Eq, Gt) => v_to_w != Greater,
        (Eq, Ge) => v_to_w == Less,
        (Lt | Le, Gt | Ge) => v_to_w == Less || v_to_w == Equal && !(rel == Le && other == Ge),
        (Gt | Ge, Lt | Le) => v_to_w == Greater || v_to_w == Equal && !(rel == Ge && other == Le),
        (_, Eq) => no_value(Eq, v_to_w.reverse(), rel),
        _ => false,
    }
}

/// Whether no age lies in both windows.
fn disjoint(a: &Window, b: &Window) -> bool {
    let span = |w: &Window| match w {
        Window::Last(d) => Some((0, d.0)),
        Window::Older(d) => Some((d.0, i64::MAX)),
        Window::Between { from, to } => Some((from.0, to.0)),
        _ => None,
    };
    match (span(a), span(b)) {
        (Some((a_from, a_to)), Some((b_from, b_to))) => a_to <= b_from || b_to <= a_from,
        _ => false,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_leave_no_value_are_found() {
        use Ordering::{Equal, Greater, Less};
        for (rel, v_to_w, other, empty) in [
            (Rel::Gt, Greater, Rel::Lt, true),  // x > 5, x < 3
            (Rel::Gt, Less, Rel::Lt, false),    // x > 3, x < 5
            (Rel::Ge, Equal, Rel::Le, false),   // x >= 5, x <= 5
            (Rel::Ge, Equal, Rel::Lt, true),    // x >= 5, x < 5
            (Rel::Lt, Less, Rel::Eq, true),     // x < 3, x = 5
            (Rel::Lt, Greater, Rel::Eq, false), // x < 5, x = 3
            (Rel::Eq, Equal, Rel::Eq, false),
            (Rel::Ge, Less, Rel::Gt, false),
        ] {
            assert_eq!(no_value(rel, v_to_w, other), empty, "{rel:?} {v_to_w:?} {other:?}");
        }
    }
}
