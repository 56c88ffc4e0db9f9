//! Windows of events and of instants: bounds, order, retention, what is evaluated.

use super::super::definition::{DayBound, EventRef, Selector, TimeWindow, Unit, Window};
use super::super::diagnostic::Code;
use super::super::source::Span;
use super::super::supported::Form;
use super::super::tree::{Day, DayKind, Unit as TreeUnit, Window as TreeWindow, WindowKind};
use super::lower::{Checked, Lower, Stop};
use crate::model::Value;
use crate::time::{Millis, civil_from_days};

impl<'t> Lower<'t, '_> {
    /// A window over the events of `of`.
    pub(super) fn window(&mut self, window: &'t TreeWindow, of: &Selector) -> Checked<Window> {
        let window_span = window.span;
        let window = match self.any_window(window)? {
            TimeWindow::Past(window) => window,
            TimeWindow::Next(_) | TimeWindow::NextFull { .. } => {
                return self.fail_help(
                    Code::E01,
                    window_span,
                    "expected a time window, found a future one",
                    "events lie in the past: `in last 7d`",
                );
            }
        };
        self.retention(&window, of, window_span)?;
        Ok(window)
    }

    /// A window of an instant: also the future.
    pub(super) fn any_window(&mut self, window: &'t TreeWindow) -> Checked<TimeWindow> {
        let span = window.span;
        Ok(TimeWindow::Past(match &window.kind {
            WindowKind::Ever => Window::Ever,
            WindowKind::Last(dur) => Window::Last(self.positive(dur)?),
            WindowKind::Older(dur) => Window::Older(self.positive(dur)?),
            WindowKind::Between(from, to) => {
                let (from_ms, to_ms) = (self.duration(from)?, self.duration(to)?);
                if from_ms >= to_ms {
                    let message = format!("`between {from_ms} and {to_ms} ago` is empty: the nearer bound comes first");
                    let help = format!("`between {to_ms} and {from_ms} ago` is meant, perhaps");
                    let at = from.span().to(to.span());
                    self.report.help(Code::E11, at, message, if from_ms > to_ms { help } else { "the bounds have to differ".into() });
                    if from_ms > to_ms && from.span().file == to.span().file {
                        let swapped = vec![(from.span(), self.world.text(to.span())), (to.span(), self.world.text(from.span()))];
                        self.report.fix_of(self.report.latest(), swapped);
                    }
                    return Err(Stop);
                }
                Window::Between { from: from_ms, to: to_ms }
            }
            WindowKind::This(unit) => {
                if *unit == TreeUnit::Session {
                    self.gate(Form::Session, span);
                } else {
                    self.everybody_flips(span);
                }
                Window::This(lower_unit(*unit))
            }
            WindowKind::Full(n, unit) => {
                self.full(*n, span)?;
                Window::Full { n: *n, unit: lower_unit(*unit) }
            }
            WindowKind::SinceDay(day) => Window::Dates { from: bound(day), to: None },
            WindowKind::SinceLast(selector) => {
                self.gate(Form::SinceLast, span);
                Window::SinceLast(Box::new(self.selector(selector)?.selector))
            }
            WindowKind::Dates(from, to) => {
                let (lower_from, lower_to) = (bound(from), bound(to));
                let backwards = match (lower_from, lower_to) {
                    (DayBound::Date(a), DayBound::Date(b)) => a >= b,
                    (DayBound::Instant(a), DayBound::Instant(b)) => a >= b,
                    // A local midnight is at most 14 hours away from that of UTC.
                    (DayBound::Date(a), DayBound::Instant(b)) => i64::from(a) * Millis::DAY.0 - 14 * Millis::HOUR.0 >= b.0,
                    (DayBound::Instant(a), DayBound::Date(b)) => a.0 >= i64::from(b) * Millis::DAY.0 + 14 * Millis::HOUR.0,
                };
                if backwards {
                    return self.fail_help(
                        Code::E11,
                        span,
                        "the window between these days is empty",
                        "the earlier day comes first, and the later one is not included",
                    );
                }
                self.ends_a_month(lower_to, span);
                Window::Dates { from: lower_from, to: Some(lower_to) }
            }
            WindowKind::Next(dur) => return Ok(TimeWindow::Next(self.positive(dur)?)),
            WindowKind::NextFull(n, unit) => {
                self.full(*n, span)?;
                return Ok(TimeWindow::NextFull { n: *n, unit: lower_unit(*unit) });
            }
        }))
    }

    fn full(&mut self, n: u32, span: Span) -> Checked<()> {
        if n == 0 {
            return self.fail(Code::E11, span, "no full periods: the number has to be at least 1");
        }
        if n > PERIODS_MAX {
            return self.fail(Code::E14, span, format!("more than {PERIODS_MAX} full periods"));
        }
        self.everybody_flips(span);
        Ok(())
    }

    /// Warns of what changes for all customers of a zone at once.
    pub(super) fn everybody_flips(&mut self, span: Span) {
        let message = "this flips for everybody at the same instant";
        self.report.help(Code::W03, span, message, "work is spread and `since` stays exact; expect many changes at once");
    }

    /// Hints at the day that a window between dates leaves out, where it is the last of a month (LANGUAGE.md R54).
    pub(super) fn ends_a_month(&mut self, to: DayBound, span: Span) {
        let DayBound::Date(day) = to else { return };
        if civil_from_days(i64::from(day) + 1).2 == 1 {
            let (last, next) = (Value::Date(day), Value::Date(day.saturating_add(1)));
            let help = format!("if that day is meant too, the window ends with {next}");
            self.report.help(Code::H01, span, format!("the window ends as {last} begins"), help);
        }
    }

    /// A window must not look back further than an event of the selector is kept (LANGUAGE.md 4, R26).
    pub(super) fn retention(&mut self, window: &Window, of: &Selector, span: Span) -> Checked<()> {
        let Some(reach) = reach_of(window) else { return Ok(()) };
        for event in of.members.iter().flat_map(|m| &m.events) {
            let EventRef::Catalogue(index) = event else { continue };
            let event = &self.world.catalogue.events[index.at()];
            let Some(retention) = event.retention.filter(|r| reach > *r) else { continue };
            let message = format!("the window reaches back {reach}, but `{}` is kept for {retention}", event.name);
            return self.fail_help(Code::E08, span, message, format!("shorten the window, or raise `retention {retention}` of the event"));
        }
        Ok(())
    }
}

/// Most periods that one condition may count, full or running: ten years of days.
pub(super) const PERIODS_MAX: u32 = 3_660;

/// How far back events of a window have to be known one by one. `ever` keeps counters; a window from a date on does too.
fn reach_of(window: &Window) -> Option<Millis> {
    // A local day can have 25 hours and a month 31 days.
    let days = |unit: &Unit| match unit {
        Unit::Session | Unit::Day => 1,
        Unit::Week => 7,
        Unit::Month => 31,
        Unit::Year => 366,
    };
    match window {
        Window::Last(d) | Window::Older(d) => Some(*d),
        Window::Between { to, .. } => Some(*to),
        Window::This(Unit::Session) | Window::Ever | Window::SinceLast(_) | Window::Dates { .. } => None,
        Window::This(unit) => Some(Millis(days(unit) * Millis::DAY.0)),
        Window::Full { n, unit } => Some(Millis((i64::from(*n) + 1) * days(unit) * Millis::DAY.0)),
    }
}

pub(super) fn lower_unit(unit: TreeUnit) -> Unit {
    match unit {
        TreeUnit::Session => Unit::Session,
        TreeUnit::Day => Unit::Day,
        TreeUnit::Week => Unit::Week,
        TreeUnit::Month => Unit::Month,
        TreeUnit::Year => Unit::Year,
    }
}

fn bound(day: &Day) -> DayBound {
    match day.kind {
        DayKind::Date(days) => DayBound::Date(days),
        DayKind::Instant(instant) => DayBound::Instant(instant),
    }
}
