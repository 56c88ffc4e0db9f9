//! Memberships that may last for ever (W05).
//!
//! A segment with `exit when` holds its members until that condition is true. Where nothing but another event makes it true, a customer of
//! whom nothing is heard any more stays a member, so `expire after` is asked for. An exit that comes by itself (`score(s) < 8`,
//! `no x in last 30d`) is no such latch, nor one that waits for what sources keep up to date (traits, lists, consent, other segments).

use std::cmp::Ordering;

use super::super::definition::{Aggregate, Expr, Rel, Term, TimeWindow, Window};
use super::types::order;
use crate::model::{Decimal, Value};

/// Whether a condition becomes true only by a further event or a change of the cart.
pub(super) fn needs_an_event(exit: &Expr) -> bool {
    !silence(exit, true)
}

/// Whether `expr` may come to be `wanted` without any further event of the customer.
fn silence(expr: &Expr, wanted: bool) -> bool {
    match expr {
        Expr::And(of) if wanted => of.iter().all(|e| silence(e, true)),
        Expr::And(of) => of.iter().any(|e| silence(e, false)),
        Expr::Or(of) if wanted => of.iter().any(|e| silence(e, true)),
        Expr::Or(of) => of.iter().all(|e| silence(e, false)),
        Expr::Not(of) => silence(of, !wanted),
        Expr::HeldFor { of, .. } => silence(of, wanted),
        Expr::EventIn { window, .. } => ages(window, wanted),
        Expr::TimeIn { window: TimeWindow::Past(window), .. } => ages(window, wanted),
        Expr::Sequence(sequence) => {
            if wanted {
                sequence.steps.last().is_some_and(|s| s.absent)
            } else {
                forgets(&sequence.window)
            }
        }
        Expr::NofM { rel, count, .. } => {
            let held = holds(*rel, u64::from(*count).cmp(&0).reverse());
            held == wanted
        }
        Expr::Compare { left, rel, right, .. } => match (rests_at(left), right) {
            (Rest::At(value), Term::Literal(bound)) => order(&value, bound).is_none_or(|o| holds(*rel, o) == wanted),
            (Rest::Missing, _) => !wanted,
            (Rest::Kept, Term::Literal(_)) => false,
            _ => true,
        },
        Expr::Between { of, .. } | Expr::HalfOpen { of, .. } | Expr::Member { of, .. } | Expr::Known(of) => match rests_at(of) {
            Rest::Missing => !wanted,
            Rest::Kept => false,
            Rest::At(_) | Rest::Unsaid => true,
        },
        Expr::Empty(of) | Expr::Has { of, .. } => !matches!(rests_at(of), Rest::Kept),
        _ => true,
    }
}

fn holds(rel: Rel, order: Ordering) -> bool {
    match rel {
        Rel::Eq => order.is_eq(),
        Rel::Lt => order.is_lt(),
        Rel::Le => order.is_le(),
        Rel::Gt => order.is_gt(),
        Rel::Ge => order.is_ge(),
    }
}

/// Whether what lies in the window now leaves it as time goes by.
fn forgets(window: &Window) -> bool {
    matches!(window, Window::Last(_) | Window::Between { .. } | Window::This(_) | Window::Full { .. })
}

/// Whether an instant comes to lie in the window, or out of it.
fn ages(window: &Window, wanted: bool) -> bool {
    match window {
        Window::Last(_) | Window::This(_) => !wanted,
        Window::Between { .. } | Window::Full { .. } => true,
        Window::Older(_) => wanted,
        Window::Ever | Window::SinceLast(_) | Window::Dates { .. } => false,
    }
}

/// What a term comes to where nothing happens any more.
enum Rest {
    At(Value),
    Missing,
    /// It stays what it is.
    Kept,
    /// Time or others change it, or it is no matter of events.
    Unsaid,
}

fn rests_at(term: &Term) -> Rest {
    use super::super::definition::Path;
    match term {
        Term::Aggregate { function: Aggregate::Count | Aggregate::Distinct, window, .. } if forgets(window) => Rest::At(Value::Int(0)),
        Term::Aggregate { function: Aggregate::Avg | Aggregate::Min | Aggregate::Max, window, .. } if forgets(window) => Rest::Missing,
        // Of money or of numbers; a sum that runs out is compared with in either direction.
        Term::Aggregate { function: Aggregate::Sum, window, .. } if forgets(window) => Rest::Unsaid,
        // Events grow older, so that a count of old ones grows by itself.
        Term::Aggregate { window: Window::Older(_), .. } => Rest::Unsaid,
        Term::Aggregate { .. } | Term::OfEvent { .. } | Term::Path(Path::Cart(_)) => Rest::Kept,
        Term::Score(_) => Rest::At(Value::Decimal(Decimal(0))),
        _ => Rest::Unsaid,
    }
}
