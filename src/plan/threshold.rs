//! What the observed value of a condition is held against, as reasons show it.

use crate::lang::definition::{Containment, Expr, Sequence, Term, TimeWindow, Window, Workspace};
use crate::lang::display;
use crate::model::Value;

pub fn of(workspace: &Workspace, expr: &Expr) -> String {
    let term = |t: &Term, beside| match t {
        Term::Literal(value) => display::literal(value, beside),
        t => display::term(workspace, t),
    };
    match expr {
        Expr::Compare { left, right, .. } => term(right, left),
        Expr::Between { of, low, high } => format!("{} to {}", term(low, of), term(high, of)),
        Expr::Member { values, .. } => list(values),
        Expr::HalfOpen { of, from, to } => format!("{}..{}", display::literal(from, of), display::literal(to, of)),
        Expr::Matches { pattern, .. } => format!("/{pattern}/"),
        Expr::Near { metres, lat, lon, .. } => format!("{}km of geo({lat}, {lon})", metres / 1_000.0),
        Expr::NofM { n, m, unit, .. } => format!("{n} of last {m} {}", display::plural(*unit)),
        Expr::Anniversary { days, .. } => format!("in next {days}d"),
        Expr::TimeIn { window: TimeWindow::NextFull { n, unit }, .. } => format!("in next {n} full {}", display::plural(*unit)),
        Expr::HeldFor { at_least, .. } => at_least.to_string(),
        Expr::Crossed { window, .. } => age(window),
        Expr::Sequence(Sequence { window, .. }) | Expr::EventIn { window, .. } | Expr::TimeIn { window: TimeWindow::Past(window), .. } => {
            age(window)
        }
        Expr::TimeIn { window: TimeWindow::Next(length), .. } => length.to_string(),
        Expr::InSegment(_) | Expr::InList(_) => "member".into(),
        Expr::Consent(_) => "granted".into(),
        Expr::Contains { what: Containment::One(v), .. } => v.to_string(),
        Expr::Contains { what: Containment::Any(v) | Containment::All(v), .. } => list(v),
        Expr::StartsWith { prefix: text, .. } | Expr::EndsWith { suffix: text, .. } => format!("{text:?}"),
        Expr::Empty(_) => "empty".into(),
        Expr::Known(_) => "known".into(),
        _ => String::new(),
    }
}

fn list(values: &[Value]) -> String {
    let texts: Vec<String> = values.iter().map(Value::to_string).collect();
    format!("[{}]", texts.join(", "))
}

fn age(window: &Window) -> String {
    match window {
        Window::Last(d) | Window::Older(d) => d.to_string(),
        Window::Between { from, to } => format!("{from} to {to}"),
        Window::This(_) | Window::Full { .. } | Window::Dates { .. } => display::window(window),
        _ => String::new(),
    }
}
