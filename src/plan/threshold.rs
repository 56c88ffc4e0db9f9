//! What the observed value of a condition is held against, as reasons show it.

use crate::lang::definition::{Containment, Expr, Sequence, TimeWindow, Window, Workspace};
use crate::lang::display;
use crate::model::Value;

pub fn of(workspace: &Workspace, expr: &Expr) -> String {
    let term = |t| display::term(workspace, t);
    match expr {
        Expr::Compare { right, .. } => term(right),
        Expr::Between { low, high, .. } => format!("{} to {}", term(low), term(high)),
        Expr::Member { values, .. } => list(values),
        Expr::HalfOpen { from, to, .. } => format!("{from}..{to}"),
        Expr::HeldFor { at_least, .. } => at_least.to_string(),
        Expr::Sequence(Sequence { window, .. }) | Expr::EventIn { window, .. } | Expr::TimeIn { window: TimeWindow::Past(window), .. } => {
            age(window)
        }
        Expr::TimeIn { window: TimeWindow::Next(length), .. } => length.to_string(),
        Expr::InSegment(_) => "member".into(),
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
        _ => String::new(),
    }
}
