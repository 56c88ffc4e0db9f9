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
        event.days[self.zone.place()]
    }

    /// Of an event that is not after now.
    pub fn event_in(&self, window: &Window, event: &Occurrence) -> bool {
        let mut one = vec![event];
        self.keep_inside(window, &mut one);
        !one.is_empty()
    }

    /// Keeps the events that are in the window; none is after now.
    pub fn keep_inside(&self, window: &Window, events: &mut Vec<&Occurrence>) {
        match window {
            Window::This(Unit::Session) => {
                let session = self.customer.session.as_ref().filter(|_| self.session_runs()).map(|s| s.number);
                events.retain(|e| session.is_some() && e.session == session);
            }
            Window::This(unit) => {
                let now = period(*unit, self.today());
                events.retain(|e| period(*unit, self.filed(e)) == now);
            }
            Window::Full { n, unit } => {
                let now = period(*unit, self.today());
                events.retain(|e| (1..=i64::from(*n)).contains(&(now - period(*unit, self.filed(e)))));
            }
            Window::Dates { from, to } => {
                let not_before = |event: &Occurrence, bound: &DayBound| match bound {
                    DayBound::Date(day) => self.filed(event) >= *day,
                    DayBound::Instant(t) => event.ts >= *t,
                };
                events.retain(|e| not_before(e, from) && to.as_ref().is_none_or(|to| !not_before(e, to)));
            }
            Window::SinceLast(selector) => {
                let newest = self.newest(selector).map(|y| (y.ts, y.order));
                events.retain(|e| newest.is_none_or(|newest| (e.ts, e.order) > newest));
            }
            Window::Ever | Window::Last(_) | Window::Older(_) | Window::Between { .. } => {
                events.retain(|e| self.age_in(window, e.ts));
            }
        }
    }

    /// `first(x)` and `last(x)` with a window.
    pub fn picked_in(&self, which: Which, of: &Selector, window: &Window) -> bool {
        let Some(event) = self.pick(which, of) else { return false };
        match (which, window, &self.customer.session) {
            // The oldest of all may have been left out of its session.
            (Which::First, Window::This(Unit::Session), Some(session)) => self.session_runs() && session.start <= event.ts,
            (Which::Last, Window::This(Unit::Session), _) => {
                let mut all = self.events(of).collect();
                self.keep_inside(window, &mut all);
                !all.is_empty()
            }
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
        let periods: Vec<i64> = self.events(of).map(|e| period(*unit, self.filed(e))).collect();
        let good = (now - i64::from(*m) + 1..=now).filter(|p| {
            let inside = periods.iter().filter(|q| *q == p).count();
            super::eval::related(inside.cmp(&(*count as usize)), *rel)
        });
        good.count() >= *n as usize
    }
}
