//! Conditions by the local clock and the calendar (LANGUAGE.md S10, S11): what they ask, in whose zone.
//!
//! A comparison of the local clock with constants becomes a set of ranges of the clock, whatever was compared; so there is one way to ask
//! it and one way to find when it turns. A window of periods is a window by age in which a period is one millisecond.

use super::feature::FeatureId;
use super::node::TermId;
use super::window::AgeWindow;
use crate::lang::definition::{DayBound, Expr, LocalPath, Path, Rel, Term, Unit, Window};
use crate::model::{Period, Value, ZoneId};
use crate::time::Millis;

/// Whose clock counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZoneRef {
    /// Of the customer's trait `timezone`; only where the catalogue has it as text.
    Customer,
    Fixed(ZoneId),
}

/// Names of the days of a week, as `local.weekday` gives them.
pub const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// 1970-01-01 was a Thursday.
const DAYS_FROM_MONDAY: i64 = 3;

/// The weekday of a reading of the local clock, 0 for Monday.
pub fn weekday(reading: i64) -> usize {
    (reading.div_euclid(Millis::DAY.0) + DAYS_FROM_MONDAY).rem_euclid(7) as usize
}

/// How far from a reading to the next one at which a test may turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cycle {
    Day,
    /// From Monday 00:00.
    Week,
    /// The reading itself: dates.
    Never,
}

impl Cycle {
    fn length(self) -> Option<i64> {
        match self {
            Cycle::Day => Some(Millis::DAY.0),
            Cycle::Week => Some(Millis::WEEK.0),
            Cycle::Never => None,
        }
    }

    fn place(self, reading: i64) -> i64 {
        match self {
            Cycle::Day => reading.rem_euclid(Millis::DAY.0),
            Cycle::Week => reading.saturating_add(DAYS_FROM_MONDAY * Millis::DAY.0).rem_euclid(Millis::WEEK.0),
            Cycle::Never => reading,
        }
    }
}

/// Whether the local clock reads something between constants.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalTest {
    pub path: LocalPath,
    pub zone: ZoneRef,
    cycle: Cycle,
    /// **Shape:** half-open, ascending, apart from each other. **Units:** milliseconds from the start of the cycle.
    ranges: Box<[(i64, i64)]>,
}

impl LocalTest {
    /// A condition on `local.x` and constants alone; `None` for any other.
    pub fn of(expr: &Expr, zone: ZoneRef) -> Option<LocalTest> {
        let local = |term: &Term| match term {
            Term::Path(Path::Local(path)) => Some(*path),
            _ => None,
        };
        let (path, ranges) = match expr {
            Expr::Compare { left, rel, right: Term::Literal(value), ignore_case: false } => {
                let path = local(left)?;
                (path, vec![related(path, *rel, value)?])
            }
            Expr::Between { of, low: Term::Literal(low), high: Term::Literal(high) } => {
                let path = local(of)?;
                let (low, high) = (related(path, Rel::Ge, low)?, related(path, Rel::Le, high)?);
                (path, vec![(low.0.max(high.0), low.1.min(high.1))])
            }
            Expr::Member { of, values, ignore_case: false } => {
                let path = local(of)?;
                (path, values.iter().map(|v| related(path, Rel::Eq, v)).collect::<Option<Vec<_>>>()?)
            }
            Expr::HalfOpen { of, from, to } => {
                let path = local(of)?;
                let (from, to) = (related(path, Rel::Ge, from)?, related(path, Rel::Lt, to)?);
                // Only clock times wrap.
                (path, if from.0 < to.1 { vec![(from.0, to.1)] } else { vec![to, from] })
            }
            _ => return None,
        };
        Some(LocalTest { path, zone, cycle: cycle(path), ranges: merged(ranges) })
    }

    pub fn contains(&self, reading: i64) -> bool {
        let place = self.cycle.place(reading);
        self.ranges.iter().any(|(from, to)| (*from..*to).contains(&place))
    }

    /// Whether no later reading turns the test, even if the clock is set back as far as clocks ever are.
    pub fn is_settled(&self, reading: i64) -> bool {
        match self.cycle.length() {
            Some(length) => matches!(*self.ranges, []) || matches!(*self.ranges, [(0, to)] if to == length),
            None => {
                let back = reading.saturating_sub(2 * Millis::DAY.0);
                self.ranges.iter().all(|(from, to)| *from < back && (*to < back || *to == i64::MAX))
            }
        }
    }

    /// The first later reading at which the test may turn, if the clock runs on; `None` where there is none.
    pub fn next_mark(&self, reading: i64) -> Option<i64> {
        let place = self.cycle.place(reading);
        let marks = self.ranges.iter().flat_map(|(from, to)| [*from, *to]);
        match self.cycle.length() {
            Some(length) => {
                let ahead = marks.map(|mark| match (mark - place).rem_euclid(length) {
                    0 => length,
                    ahead => ahead,
                });
                ahead.min().map(|ahead| reading.saturating_add(ahead))
            }
            None => marks.filter(|mark| *mark > place && *mark != i64::MAX).min(),
        }
    }
}

/// Bounds of `band` on the local clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalBands {
    cycle: Cycle,
    /// **Shape:** ascending. **Units:** milliseconds from the start of the cycle.
    bounds: Box<[i64]>,
}

impl LocalBands {
    /// `None` where the bounds are no values of the path's own.
    pub fn of(path: LocalPath, bounds: &[Value]) -> Option<LocalBands> {
        let bounds = bounds.iter().map(|b| related(path, Rel::Ge, b).map(|range| range.0)).collect::<Option<_>>()?;
        Some(LocalBands { cycle: cycle(path), bounds })
    }

    /// The number of bounds that a reading has reached, and how far ahead the number may differ.
    pub fn read(&self, reading: i64) -> (i64, i64) {
        let place = self.cycle.place(reading);
        let reached = self.bounds.partition_point(|b| *b <= place);
        let next = self.bounds.get(reached).copied().or(self.cycle.length());
        (reached as i64, next.map_or(i64::MAX, |next| next.saturating_sub(place)))
    }
}

fn cycle(path: LocalPath) -> Cycle {
    match path {
        LocalPath::Time | LocalPath::Hour => Cycle::Day,
        LocalPath::Weekday => Cycle::Week,
        LocalPath::Date => Cycle::Never,
    }
}

/// Readings, within their cycle, that relate as asked to a constant; `None` for a constant that is none of the path's own values.
fn related(path: LocalPath, rel: Rel, value: &Value) -> Option<(i64, i64)> {
    let (at, unit) = match (path, value) {
        (LocalPath::Time, Value::Duration(ms)) => (ms.0, 1),
        (LocalPath::Hour, Value::Int(hour)) => (hour.saturating_mul(Millis::HOUR.0), Millis::HOUR.0),
        (LocalPath::Date, Value::Date(day)) => (i64::from(*day) * Millis::DAY.0, Millis::DAY.0),
        (LocalPath::Weekday, Value::Text(name)) if rel == Rel::Eq => {
            let day = WEEKDAYS.iter().position(|d| **d == **name)?;
            (day as i64 * Millis::DAY.0, Millis::DAY.0)
        }
        _ => return None,
    };
    let (first, last) = match cycle(path).length() {
        Some(length) => (0, length),
        None => (i64::MIN, i64::MAX),
    };
    let (from, to) = match rel {
        Rel::Eq => (at, at.saturating_add(unit)),
        Rel::Lt => (first, at),
        Rel::Le => (first, at.saturating_add(unit)),
        Rel::Gt => (at.saturating_add(unit), last),
        Rel::Ge => (at, last),
    };
    Some((from.clamp(first, last), to.clamp(first, last)))
}

fn merged(mut ranges: Vec<(i64, i64)>) -> Box<[(i64, i64)]> {
    ranges.retain(|(from, to)| from < to);
    ranges.sort_unstable();
    let mut out: Vec<(i64, i64)> = Vec::with_capacity(ranges.len());
    for (from, to) in ranges {
        match out.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => out.push((from, to)),
        }
    }
    out.into()
}

/// Whether a filter or condition asks the local clock.
pub fn asks_local(expr: &Expr) -> bool {
    fn term(of: &Term) -> bool {
        matches!(of, Term::Path(Path::Local(_))) || of.operands().any(term)
    }
    let of_elements = matches!(expr, Expr::Has { filter, .. } if asks_local(filter));
    of_elements || expr.terms().any(term) || expr.operands().iter().any(asks_local)
}

/// By what events are filed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// Under the number of their local period.
    Periods { unit: Period, zone: ZoneRef },
    /// Under 0 if they lie in `[from, to)`, else not at all.
    Dates { from: DayBound, to: Option<DayBound>, zone: ZoneRef },
}

impl Axis {
    pub fn zone(self) -> ZoneRef {
        match self {
            Axis::Periods { zone, .. } | Axis::Dates { zone, .. } => zone,
        }
    }
}

/// What is kept of each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeriodValues {
    Count,
    /// And the count, for averages.
    Sum,
    Extremes,
    /// Hashes of different values.
    Hashes,
}

/// A window of periods: with period numbers for instants, and how many of the newest periods it needs; `None` for windows of another kind.
pub fn period_window(window: &Window) -> Option<(Period, AgeWindow, u32)> {
    match window {
        Window::This(unit) => Some((period(*unit)?, THIS, 1)),
        Window::Full { n, unit } => Some((period(*unit)?, AgeWindow::between(Millis(1), Millis(i64::from(*n) + 1)), n + 1)),
        _ => None,
    }
}

/// The running period alone.
pub const THIS: AgeWindow = AgeWindow { near: Millis::ZERO, far: Millis(1) };

/// `None` for sessions, which have no calendar.
pub fn period(unit: Unit) -> Option<Period> {
    match unit {
        Unit::Session => None,
        Unit::Day => Some(Period::Day),
        Unit::Week => Some(Period::Week),
        Unit::Month => Some(Period::Month),
        Unit::Year => Some(Period::Year),
    }
}

/// A window that an instant is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstantWindow {
    /// While the running period is `after.0` to `after.1` periods after the instant's, both included.
    Periods {
        unit: Period,
        after: (i64, i64),
    },
    Dates {
        from: DayBound,
        to: Option<DayBound>,
    },
}

impl InstantWindow {
    /// `None` for windows that are not by the calendar.
    pub fn past(window: &Window) -> Option<InstantWindow> {
        match window {
            Window::This(unit) => Some(InstantWindow::Periods { unit: period(*unit)?, after: (0, 0) }),
            Window::Full { n, unit } => Some(InstantWindow::Periods { unit: period(*unit)?, after: (1, i64::from(*n)) }),
            Window::Dates { from, to } => Some(InstantWindow::Dates { from: *from, to: *to }),
            _ => None,
        }
    }

    /// `in next N full UNIT`.
    pub fn next_full(n: u32, unit: Unit) -> Option<InstantWindow> {
        Some(InstantWindow::Periods { unit: period(unit)?, after: (-i64::from(n), -1) })
    }
}

/// A condition by the calendar.
#[derive(Clone, Debug, PartialEq)]
pub enum CalendarNode {
    Local(LocalTest),
    /// An instant in a window by the calendar.
    Instant {
        of: TermId,
        window: InstantWindow,
        zone: ZoneRef,
    },
    Anniversary {
        of: TermId,
        days: u32,
        zone: ZoneRef,
    },
    /// The count of at least `n` of the last `m` periods compares as asked.
    NofM {
        feature: FeatureId,
        zone: ZoneRef,
        rel: Rel,
        count: u32,
        n: u32,
        m: u32,
        unit: Period,
    },
}

impl CalendarNode {
    pub fn zone(&self) -> ZoneRef {
        match self {
            CalendarNode::Local(test) => test.zone,
            CalendarNode::Instant { zone, .. } | CalendarNode::Anniversary { zone, .. } | CalendarNode::NofM { zone, .. } => *zone,
        }
    }

    /// The term that it reads.
    pub fn term(&self) -> Option<TermId> {
        match self {
            CalendarNode::Instant { of, .. } | CalendarNode::Anniversary { of, .. } => Some(*of),
            CalendarNode::Local(_) | CalendarNode::NofM { .. } => None,
        }
    }

    /// The feature that it reads itself.
    pub fn feature(&self) -> Option<FeatureId> {
        match self {
            CalendarNode::NofM { feature, .. } => Some(*feature),
            _ => None,
        }
    }
}

/// A term by the calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CalendarTerm {
    Local {
        path: LocalPath,
        zone: ZoneRef,
    },
    /// How many of the bounds the local clock has reached.
    Band {
        bands: LocalBands,
        zone: ZoneRef,
    },
    /// The local midnight of a date (LANGUAGE.md R38); an instant is what it is.
    Midnight {
        of: TermId,
        zone: ZoneRef,
    },
}

impl CalendarTerm {
    pub fn zone(&self) -> ZoneRef {
        match self {
            CalendarTerm::Local { zone, .. } | CalendarTerm::Band { zone, .. } | CalendarTerm::Midnight { zone, .. } => *zone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = Millis::HOUR.0;
    const DAY: i64 = Millis::DAY.0;

    fn test(path: LocalPath, expr: impl Fn(Term) -> Expr) -> LocalTest {
        LocalTest::of(&expr(Term::Path(Path::Local(path))), ZoneRef::Customer).expect("constants alone")
    }

    fn clock(hours: i64) -> Value {
        Value::Duration(Millis(hours * HOUR))
    }

    #[test]
    fn ranges_of_clock_times_may_wrap() {
        let night = test(LocalPath::Time, |of| Expr::HalfOpen { of, from: clock(22), to: clock(6) });
        for (reading, holds, next) in [(0, true, 6 * HOUR), (6 * HOUR, false, 22 * HOUR), (22 * HOUR, true, DAY), (23 * HOUR, true, DAY)] {
            assert_eq!(night.contains(reading), holds, "{reading}");
            assert_eq!(night.contains(reading - 5 * DAY), holds, "{reading}");
            assert_eq!(night.next_mark(reading), Some(next), "{reading}");
        }
    }

    #[test]
    fn bands_of_the_clock() {
        let bands = LocalBands::of(LocalPath::Time, &[clock(9), clock(17)]).expect("clock times");
        for (reading, band, ahead) in [(0, 0, 9), (9, 1, 8), (16, 1, 1), (17, 2, 7), (24, 0, 9), (-1, 2, 1)] {
            assert_eq!(bands.read(reading * HOUR), (band, ahead * HOUR), "{reading}");
        }
        assert!(LocalBands::of(LocalPath::Hour, &[Value::Decimal(crate::model::Decimal(9_500_000))]).is_none());
    }

    #[test]
    fn comparisons_are_ranges() {
        let office = test(LocalPath::Weekday, |of| Expr::Member {
            of,
            values: ["mon", "tue", "wed", "thu", "fri"].map(|d| Value::Text(d.into())).to_vec(),
            ignore_case: false,
        });
        // Thursday, Friday, Saturday.
        assert!(office.contains(0) && office.contains(2 * DAY - 1) && !office.contains(2 * DAY));
        assert_eq!(office.next_mark(2 * DAY), Some(4 * DAY));
        let literal = Term::Literal;
        let compare =
            |path, rel, value: Value| test(path, |of| Expr::Compare { left: of, rel, right: literal(value.clone()), ignore_case: false });
        assert_eq!(*compare(LocalPath::Hour, Rel::Gt, Value::Int(9)).ranges, [(10 * HOUR, DAY)]);
        assert_eq!(*compare(LocalPath::Time, Rel::Le, clock(9)).ranges, [(0, 9 * HOUR + 1)]);
        assert_eq!(*compare(LocalPath::Date, Rel::Ge, Value::Date(3)).ranges, [(3 * DAY, i64::MAX)]);
        assert_eq!(compare(LocalPath::Date, Rel::Ge, Value::Date(3)).next_mark(5 * DAY), None);
        assert!(compare(LocalPath::Date, Rel::Ge, Value::Date(3)).is_settled(6 * DAY));
        assert!(!compare(LocalPath::Date, Rel::Ge, Value::Date(3)).is_settled(4 * DAY));
        assert!(compare(LocalPath::Hour, Rel::Ge, Value::Int(0)).is_settled(5));
        let between = test(LocalPath::Hour, |of| Expr::Between { of, low: literal(Value::Int(9)), high: literal(Value::Int(16)) });
        assert_eq!(*between.ranges, [(9 * HOUR, 17 * HOUR)]);
    }
}
