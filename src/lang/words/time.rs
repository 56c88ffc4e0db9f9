//! Durations, windows and units in English.

use super::Words;
use crate::lang::definition::{DayBound, Unit, Window};
use crate::model::Value;
use crate::time::Millis;

/// `30 minutes`, `1 hour and 30 minutes`; one day is `24 hours`, which is what it means.
pub(super) fn duration(of: Millis) -> String {
    if of == Millis::DAY {
        return "24 hours".into();
    }
    let mut parts = Vec::new();
    let mut rest = of.0.unsigned_abs();
    for (unit, ms) in [("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000), ("millisecond", 1)] {
        if rest >= ms {
            parts.push(counted(rest / ms, unit));
            rest %= ms;
        }
    }
    if parts.is_empty() {
        return "0 seconds".into();
    }
    format!("{}{}", if of.0 < 0 { "minus " } else { "" }, super::list(&parts, "and"))
}

/// After "the last" or "the next": `hour`, `30 minutes`.
pub(super) fn span(of: Millis) -> String {
    let text = duration(of);
    match text.strip_prefix("1 ") {
        Some(rest) if !rest.contains(' ') => rest.to_string(),
        _ => text,
    }
}

/// `1 day`, `2 days`.
pub(super) fn counted(n: u64, unit: &str) -> String {
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}

/// `between 30 and 90 days ago` where the units are equal.
pub(super) fn between(from: Millis, to: Millis) -> String {
    if from == Millis::ZERO {
        return format!("in the last {}", span(to));
    }
    let (low, high) = (duration(from), duration(to));
    match (low.split_once(' '), high.split_once(' ')) {
        (Some((n, a)), Some((_, b))) if a == b => format!("between {n} and {high} ago"),
        _ => format!("between {low} and {high} ago"),
    }
}

pub(super) fn day(bound: DayBound) -> String {
    match bound {
        DayBound::Date(days) => Value::Date(days).to_string(),
        DayBound::Instant(instant) => instant.to_string(),
    }
}

/// The day before, since a window ends as its second day begins.
fn last_day(bound: DayBound) -> String {
    match bound {
        DayBound::Date(days) => format!("the end of {}", Value::Date(days - 1)),
        DayBound::Instant(instant) => format!("just before {instant}"),
    }
}

/// `today`, `this month`.
pub(super) fn running(of: Unit) -> String {
    if of == Unit::Day { "today".into() } else { format!("this {}", unit(of)) }
}

fn unit(of: Unit) -> &'static str {
    match of {
        Unit::Session => "session",
        Unit::Day => "day",
        Unit::Week => "week",
        Unit::Month => "month",
        Unit::Year => "year",
    }
}

/// `last 4 full weeks`, `next full month`.
pub(super) fn full(word: &str, n: u32, of: Unit) -> String {
    if n == 1 { format!("{word} full {}", unit(of)) } else { format!("{word} {n} full {}s", unit(of)) }
}

impl Words<'_> {
    /// Where in time something lies: `in the last 7 days`. Empty for `ever`.
    pub(super) fn window(&mut self, window: &Window) -> String {
        match window {
            Window::Ever => String::new(),
            Window::Last(d) => format!("in the last {}", span(*d)),
            Window::Older(d) => format!("at least {} ago", duration(*d)),
            Window::Between { from, to } => between(*from, *to),
            Window::This(Unit::Session) => "in the current session".into(),
            Window::This(of) => {
                self.calendar = true;
                running(*of)
            }
            Window::Full { n, unit } => {
                self.calendar = true;
                format!("in the {}", full("last", *n, *unit))
            }
            Window::SinceLast(of) => format!("since their last {}", self.noun(of).one),
            Window::Dates { from, to } => {
                self.calendar |= [Some(*from), *to].iter().flatten().any(|bound| matches!(bound, DayBound::Date(_)));
                match to {
                    None => format!("since {}", day(*from)),
                    Some(to) => format!("from {} to {}", day(*from), last_day(*to)),
                }
            }
        }
    }
}

/// Whether English says "had" beside it, not "have had".
pub(super) fn is_past(window: &Window) -> bool {
    matches!(window, Window::Older(_) | Window::Full { .. } | Window::Dates { to: Some(_), .. })
        || matches!(window, Window::Between { from, .. } if *from > Millis::ZERO)
}
