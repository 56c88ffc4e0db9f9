//! Conditions by the local clock and the calendar: what they are at an instant, and the first instant at which they turn (LANGUAGE.md S10,
//! S11, 9.3).
//!
//! Owns no arithmetic of zones ([`crate::model::calendar`]); knows whose zone counts. A customer's zone is the trait `timezone`, or the
//! workspace's where that is unknown or names no zone.

use super::evaluate::{Seen, Work};
use super::features::codec::ValueRef;
use super::features::periods::{Asked, Periods, PeriodsPlan};
use super::features::{AgeWindow, Quantity, Ratio, Reading, Verdict};
use super::program::{Program, State};
use super::value::Val;
use crate::lang::definition::{DayBound, LocalPath, Rel};
use crate::model::{Zone, ZoneId};
use crate::plan::calendar::{Axis, CalendarNode, CalendarTerm, InstantWindow, LocalTest, WEEKDAYS, ZoneRef, weekday};
use crate::time::{Millis, Timestamp, civil_from_days, days_from_civil, days_in_month};

/// Steps over clock changes and marks that turn nothing before a wake-up is asked for instead.
const STEPS: usize = 64;

impl Work {
    /// The zone of a definition for the customer at hand.
    pub fn zone(&self, program: &Program, of: ZoneRef) -> &'static Zone {
        match of {
            ZoneRef::Fixed(zone) => zone.zone(),
            ZoneRef::Customer => self.customer_zone(program).zone(),
        }
    }

    /// The customer's own zone.
    pub fn customer_zone(&self, program: &Program) -> ZoneId {
        let (generation, zone) = self.zone_of.get();
        if generation == self.generation {
            return zone;
        }
        let zones = program.plan.zones;
        let own = zones.customer.and_then(|index| match self.customer.trait_value(index) {
            ValueRef::Text(name) => ZoneId::find(name),
            _ => None,
        });
        let zone = own.unwrap_or(zones.workspace);
        self.zone_of.set((self.generation, zone));
        zone
    }

    pub(super) fn calendar(&self, program: &Program, node: &CalendarNode, t: Timestamp) -> Verdict {
        let zone = self.zone(program, node.zone());
        match node {
            CalendarNode::Local(test) => local(test, zone, t),
            CalendarNode::Instant { of, window, .. } => {
                let seen = self.term(program, *of, t);
                let verdict = match seen.value {
                    Val::Instant(x) => instant(*window, zone, x, t),
                    _ => Verdict::fixed(false),
                };
                Verdict { until: verdict.until.min(seen.next), approx: seen.approx, ..verdict }
            }
            CalendarNode::Anniversary { of, days, .. } => {
                let seen = self.term(program, *of, t);
                let date = match seen.value {
                    Val::Date(day) => Some(i64::from(day)),
                    Val::Instant(x) => Some(zone.day(x)),
                    _ => None,
                };
                let verdict = date.map_or(Verdict::fixed(false), |date| anniversary(date, i64::from(*days), zone, t));
                Verdict { until: verdict.until.min(seen.next), approx: seen.approx, ..verdict }
            }
            CalendarNode::NofM { feature, rel, count, n, m, unit, .. } => {
                let State::Periods(periods) = &self.loaded[*feature as usize].state else { panic!("no periods in this feature") };
                let (_, holds, until) = periods.n_of_m(zone.period(*unit, t), (*n, *m), *rel, *count);
                Verdict { holds, until: until.map_or(Timestamp::MAX, |p| zone.start(*unit, p)), approx: false }
            }
        }
    }

    pub(super) fn calendar_term<'a>(&'a self, program: &'a Program, term: CalendarTerm, t: Timestamp) -> Seen<'a> {
        let zone = self.zone(program, term.zone());
        match term {
            CalendarTerm::Local { path, .. } => {
                let (reading, set) = zone.reading(t);
                Seen { next: next_value(path, reading, t).min(set), ..Seen::fixed(local_value(path, reading)) }
            }
            CalendarTerm::Midnight { of, .. } => {
                let seen = self.term(program, of, t);
                match seen.value {
                    Val::Date(day) => Seen { value: Val::Instant(zone.start_of_day(i64::from(day))), ..seen },
                    _ => seen,
                }
            }
        }
    }

    /// A quantity of periods against a constant.
    pub(super) fn compare_periods(
        &self,
        program: &Program,
        (periods, plan, axis): (&Periods, &PeriodsPlan, Axis),
        quantity: Quantity,
        window: AgeWindow,
        t: Timestamp,
        (rel, with): (Rel, Ratio),
    ) -> Verdict {
        let (asked, start) = self.asked(program, axis, window, t);
        let (holds, until) = periods.compare(quantity, asked, rel, with);
        Verdict { holds, until: until.map_or(Timestamp::MAX, start), approx: periods.approx(plan) }
    }

    pub(super) fn read_periods(
        &self,
        program: &Program,
        (periods, plan, axis): (&Periods, &PeriodsPlan, Axis),
        quantity: Quantity,
        window: AgeWindow,
        t: Timestamp,
    ) -> Reading {
        let (asked, start) = self.asked(program, axis, window, t);
        let (value, next) = periods.read(quantity, asked);
        Reading { value, next: next.map_or(Timestamp::MAX, start), approx: periods.approx(plan) }
    }

    /// The running period, and where periods start.
    fn asked(&self, program: &Program, axis: Axis, window: AgeWindow, t: Timestamp) -> (Asked, impl Fn(i64) -> Timestamp) {
        let unit = match axis {
            Axis::Periods { unit, zone } => Some((unit, self.zone(program, zone))),
            Axis::Dates { .. } => None,
        };
        let now = unit.map_or(0, |(unit, zone)| zone.period(unit, t));
        (Asked { window, now }, move |period| unit.map_or(Timestamp::MAX, |(unit, zone)| zone.start(unit, period)))
    }
}

/// The period that an event is filed under, and the one at `floor`; `None` where it lies between no dates.
pub fn filed(axis: Axis, zone: &Zone, ts: Timestamp, floor: Timestamp) -> Option<(i64, i64)> {
    match axis {
        Axis::Periods { unit, .. } => Some((zone.period(unit, ts), zone.period(unit, floor))),
        Axis::Dates { from, to, .. } => between(from, to, zone, ts).then_some((0, 0)),
    }
}

fn bound(of: DayBound, zone: &Zone) -> Timestamp {
    match of {
        DayBound::Date(day) => zone.start_of_day(i64::from(day)),
        DayBound::Instant(t) => t,
    }
}

fn between(from: DayBound, to: Option<DayBound>, zone: &Zone, x: Timestamp) -> bool {
    bound(from, zone) <= x && to.is_none_or(|to| x < bound(to, zone))
}

/// An instant in a window by the calendar.
pub fn instant(window: InstantWindow, zone: &Zone, x: Timestamp, t: Timestamp) -> Verdict {
    match window {
        InstantWindow::Dates { from, to } => Verdict::fixed(between(from, to, zone, x)),
        InstantWindow::Periods { unit, after: (first, last) } => {
            let (own, now) = (zone.period(unit, x), zone.period(unit, t));
            let (first, last) = (own.saturating_add(first), own.saturating_add(last));
            let until = if now < first {
                zone.start(unit, first)
            } else if now <= last {
                zone.start(unit, last.saturating_add(1))
            } else {
                Timestamp::MAX
            };
            Verdict { holds: first <= now && now <= last, until, approx: false }
        }
    }
}

/// The local clock against constants: steps from mark to mark, and over what sets the clock, until the test turns.
pub fn local(test: &LocalTest, zone: &Zone, t: Timestamp) -> Verdict {
    let (mut reading, mut set) = zone.reading(t);
    let holds = test.contains(reading);
    let mut at = t;
    for _ in 0..STEPS {
        let mark = test.next_mark(reading).map_or(Timestamp::MAX, |mark| at + Millis(mark.saturating_sub(reading)));
        at = if test.is_settled(reading) { Timestamp::MAX } else { mark.min(set) };
        if at == Timestamp::MAX {
            break;
        }
        (reading, set) = zone.reading(at);
        if test.contains(reading) != holds {
            break;
        }
    }
    Verdict { holds, until: at, approx: false }
}

/// What the local clock says.
pub fn local_value<'a>(path: LocalPath, reading: i64) -> Val<'a> {
    match path {
        LocalPath::Time => Val::duration(Millis(reading.rem_euclid(Millis::DAY.0))),
        LocalPath::Hour => Val::int(reading.rem_euclid(Millis::DAY.0) / Millis::HOUR.0),
        LocalPath::Weekday => Val::Text(WEEKDAYS[weekday(reading)]),
        LocalPath::Date => Val::Date(reading.div_euclid(Millis::DAY.0).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32),
    }
}

/// When what the clock says differs, if nothing sets it.
fn next_value(path: LocalPath, reading: i64, t: Timestamp) -> Timestamp {
    let unit = match path {
        LocalPath::Time => return t + Millis(1),
        LocalPath::Hour => Millis::HOUR.0,
        LocalPath::Weekday | LocalPath::Date => Millis::DAY.0,
    };
    t + Millis(unit - reading.rem_euclid(unit))
}

/// From the start of the day `days` before an anniversary to the end of the anniversary's day (LANGUAGE.md S11). The day itself is none: the
/// first is a year later.
fn anniversary(date: i64, days: i64, zone: &Zone, t: Timestamp) -> Verdict {
    let today = zone.day(t);
    let (birth, month, day) = civil_from_days(date);
    let of_year = |year: i64| days_from_civil(year, month, day.min(days_in_month(year, month)));
    let mut year = civil_from_days(today).0.max(birth + 1);
    if of_year(year) < today {
        year += 1;
    }
    let holds = today >= of_year(year) - days;
    if !holds {
        return Verdict { holds, until: zone.start_of_day(of_year(year) - days), approx: false };
    }
    // Spans of more than a year join.
    let until = if days >= 365 { Timestamp::MAX } else { ends(year, &of_year, days, zone) };
    Verdict { holds, until, approx: false }
}

/// The end of the span that an anniversary ends, or of the one that follows it without a gap.
fn ends(mut year: i64, of_year: &impl Fn(i64) -> i64, days: i64, zone: &Zone) -> Timestamp {
    // Years of 365 days between leap days make gaps, at the latest after eight.
    for _ in 0..10 {
        if of_year(year + 1) - days > of_year(year) + 1 {
            break;
        }
        year += 1;
    }
    zone.start_of_day(of_year(year) + 1)
}

/// What a condition by the calendar sees, as people read it.
pub fn observed(program: &Program, work: &mut Work, node: &CalendarNode, t: Timestamp) -> String {
    match node {
        CalendarNode::Local(test) => match local_value(test.path, work.zone(program, test.zone).local(t)) {
            Val::Number(_) if test.path == LocalPath::Time => {
                let ms = work.zone(program, test.zone).local(t).rem_euclid(Millis::DAY.0);
                format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000)
            }
            value => value.to_value().to_string(),
        },
        CalendarNode::Instant { of, .. } | CalendarNode::Anniversary { of, .. } => {
            work.load_of_term(program, *of);
            work.term(program, *of, t).value.to_value().to_string()
        }
        CalendarNode::NofM { feature, rel, count, n, m, unit, .. } => {
            work.load(program, *feature);
            let zone = work.zone(program, node.zone());
            match &work.loaded[*feature as usize].state {
                State::Periods(periods) => periods.n_of_m(zone.period(*unit, t), (*n, *m), *rel, *count).0.to_string(),
                _ => panic!("no periods in this feature"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
