//! Whether an event, or an instant, is in a window (LANGUAGE.md S6, S10, R16, R19, R33, R45).

use super::Occurrence;
use super::calendar::{local, midnight, period};
use super::eval::View;
use crate::lang::{DayBound, Expr, Selector, TimeWindow, Unit, Which, Window};
use crate::time::{Millis, Timestamp};

impl View<'_> {
    /// The zone of the definition, as it is now.
    pub fn zone(&self) -> &jiff::tz::TimeZone {
        self.rules.zone(self.zone, &self.customer.zone)
    }

    /// Today's date.
    fn today(&self) -> i32 {
        local(self.zone(), self.t).day
    }

    pub fn midnight(&self, day: i32) -> Timestamp {
        midnight(self.zone(), day)
    }

    /// The date under which an event was filed: that of the zone when it was applied (S10).
    fn filed(&self, event: &Occurrence) -> i32 {
        local(self.rules.zone(self.zone, &event.zone), event.ts).day
    }

    /// Of an event that is not after now.
    pub fn event_in(&self, window: &Window, event: &Occurrence) -> bool {
        match window {
            Window::This(Unit::Session) => {
                self.customer.session.as_ref().is_some_and(|s| self.session_runs() && event.session == Some(s.number))
            }
            Window::This(unit) => period(*unit, self.filed(event)) == period(*unit, self.today()),
            Window::Full { n, unit } => {
                let back = period(*unit, self.today()) - period(*unit, self.filed(event));
                (1..=i64::from(*n)).contains(&back)
            }
            Window::Dates { from, to } => {
                let not_before = |bound: &DayBound| match bound {
                    DayBound::Date(day) => self.filed(event) >= *day,
                    DayBound::Instant(t) => event.ts >= *t,
                };
                not_before(from) && to.as_ref().is_none_or(|to| !not_before(to))
            }
            Window::SinceLast(selector) => self.newest(selector).is_none_or(|y| (event.ts, event.order) > (y.ts, y.order)),
            Window::Ever | Window::Last(_) | Window::Older(_) | Window::Between { .. } => self.age_in(window, event.ts),
        }
    }

    /// `first(x)` and `last(x)` with a window.
    pub fn picked_in(&self, which: Which, of: &Selector, window: &Window) -> bool {
        let Some(event) = self.pick(which, of) else { return false };
        match (which, window, &self.customer.session) {
            // The oldest of all may have been left out of its session.
            (Which::First, Window::This(Unit::Session), Some(session)) => self.session_runs() && session.start <= event.ts,
            (Which::Last, Window::This(Unit::Session), _) => self.events(of).any(|e| self.event_in(window, e)),
            // One event's own instant, which is filed nowhere: it follows the zone.
            (_, Window::This(_) | Window::Full { .. } | Window::Dates { .. }, _) => {
                self.instant_in(&TimeWindow::Past(window.clone()), event.ts)
            }
            _ => self.event_in(window, event),
        }
    }

    fn age_in(&self, window: &Window, x: Timestamp) -> bool {
        let age = self.t - x;
        match window {
            Window::Ever => age >= Millis::ZERO,
            Window::Last(d) => Millis::ZERO <= age && age < *d,
            Window::Older(d) => age >= *d,
            Window::Between { from, to } => *from <= age && age < *to,
            _ => panic!("{window:?} is no window of ages"),
        }
    }

    /// Of an instant: whole periods, the part still to come included (R45).
    pub fn instant_in(&self, window: &TimeWindow, x: Timestamp) -> bool {
        let ahead = |unit: Unit| period(unit, local(self.zone(), x).day) - period(unit, self.today());
        match window {
            TimeWindow::Next(d) => Millis::ZERO < x - self.t && x - self.t <= *d,
            TimeWindow::NextFull { n, unit } => (1..=i64::from(*n)).contains(&ahead(*unit)),
            TimeWindow::Past(Window::This(Unit::Session)) => {
                self.session_runs() && self.customer.session.as_ref().is_some_and(|s| s.start <= x) && x <= self.t
            }
            TimeWindow::Past(Window::This(unit)) => ahead(*unit) == 0,
            TimeWindow::Past(Window::Full { n, unit }) => (1..=i64::from(*n)).contains(&-ahead(*unit)),
            TimeWindow::Past(Window::Dates { from, to }) => {
                let not_before = |bound: &DayBound| match bound {
                    DayBound::Date(day) => x >= self.midnight(*day),
                    DayBound::Instant(t) => x >= *t,
                };
                not_before(from) && to.as_ref().is_none_or(|to| !not_before(to))
            }
            TimeWindow::Past(Window::SinceLast(selector)) => x <= self.t && self.newest(selector).is_none_or(|y| x > y.ts),
            TimeWindow::Past(window) => self.age_in(window, x),
        }
    }

    /// R19: the session of the customer's last activity has not ended yet.
    pub fn session_runs(&self) -> bool {
        self.customer.session.as_ref().is_some_and(|s| self.t - s.last < self.rules.session_gap())
    }

    /// `count in each period`: in at least `n` of the last `m` periods, the running one included.
    pub fn n_of_m(&self, expr: &Expr) -> bool {
        let Expr::NofM { of, rel, count, n, m, unit } = expr else { panic!("no periods") };
        let now = period(*unit, self.today());
        let good = (now - i64::from(*m) + 1..=now).filter(|p| {
            let inside = self.events(of).filter(|e| period(*unit, self.filed(e)) == *p).count();
            super::eval::related(inside.cmp(&(*count as usize)), *rel)
        });
        good.count() >= *n as usize
    }
}
