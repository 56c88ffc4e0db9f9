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
use crate::plan::Plan;
use crate::plan::calendar::{Axis, CalendarNode, CalendarTerm, InstantWindow, LocalTest, WEEKDAYS, ZoneRef, weekday};
use crate::plan::feature::{FeatureKind, Within};
use crate::plan::node::{TermId, TermNode};
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
            ValueRef::Text(name) => zones.database.find(name),
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

    pub(super) fn calendar_term<'a>(&'a self, program: &'a Program, term: &CalendarTerm, t: Timestamp) -> Seen<'a> {
        let zone = self.zone(program, term.zone());
        match term {
            CalendarTerm::Local { path, .. } => {
                let (reading, set) = zone.reading(t);
                Seen { next: next_value(*path, reading, t).min(set), ..Seen::fixed(local_value(*path, reading)) }
            }
            CalendarTerm::Band { bands, .. } => {
                let (reading, set) = zone.reading(t);
                let (band, ahead) = bands.read(reading);
                Seen { next: (t + Millis(ahead)).min(set), ..Seen::fixed(Val::int(band)) }
            }
            CalendarTerm::Midnight { of, .. } => {
                let seen = self.term(program, *of, t);
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
        Verdict { holds, until: until.map_or(Timestamp::MAX, start), approx: periods.approx(plan, asked) }
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
        Reading { value, next: next.map_or(Timestamp::MAX, start), approx: periods.approx(plan, asked) }
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

/// Whether a term changes in time, and then by the calendar alone: seldom enough to look far ahead for the instant at which a condition turns.
pub fn steps_seldom(plan: &Plan, term: TermId) -> bool {
    #[derive(PartialEq, PartialOrd)]
    enum Steps {
        Never,
        Seldom,
        Often,
    }
    fn steps(plan: &Plan, term: TermId) -> Steps {
        match &plan.terms[term as usize] {
            TermNode::Calendar(CalendarTerm::Local { path: LocalPath::Time, .. }) => Steps::Often,
            TermNode::Calendar(CalendarTerm::Local { .. } | CalendarTerm::Band { .. }) => Steps::Seldom,
            TermNode::Calendar(CalendarTerm::Midnight { of, .. }) => steps(plan, *of),
            TermNode::Quantity { feature, window, .. } => {
                let feature = &plan.features[*feature as usize];
                match feature.kind {
                    FeatureKind::Periods { .. } => Steps::Seldom,
                    _ if *window == AgeWindow::EVER && feature.within == Within::default() => Steps::Never,
                    _ => Steps::Often,
                }
            }
            TermNode::Arithmetic { left, right, .. } => {
                let (left, right) = (steps(plan, *left), steps(plan, *right));
                if left < right { right } else { left }
            }
            TermNode::Literal(_)
            | TermNode::Trait { .. }
            | TermNode::FirstSeen
            | TermNode::Bucket(_)
            | TermNode::CartValue
            | TermNode::CartQuantity
            | TermNode::CartItems
            | TermNode::CartChangedAt
            | TermNode::RingEnd { .. }
            | TermNode::FirstLast { .. } => Steps::Never,
            _ => Steps::Often,
        }
    }
    steps(plan, term) != Steps::Often
}

/// The period that an event is filed under, and the one at `floor`; `None` where it lies between no dates.
pub fn filed(axis: Axis, zone: &Zone, ts: Timestamp, floor: Timestamp) -> Option<(i64, i64)> {
    match axis {
        Axis::Periods { unit, .. } => Some((zone.period(unit, ts), zone.period(unit, floor))),
        Axis::Dates { from, to, .. } => between(from, to, zone, ts).then_some((0, 0)),
    }
}

pub(super) fn bound(of: DayBound, zone: &Zone) -> Timestamp {
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
mod tests {
    //! `until` against stepping: between an instant and the one at which a condition is said to turn nothing differs, and there it does. The
    //! truth comes from the library's own civil arithmetic.

    use super::*;
    use crate::lang::definition::{Expr, Path, Term};
    use crate::model::ZoneDatabase;
    use crate::model::{Period, Value};

    const MINUTE: i64 = Millis::MINUTE.0;
    const DAY: i64 = Millis::DAY.0;

    const ZONES: [&str; 7] =
        ["Europe/Stockholm", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "UTC"];

    /// How far the stepping looks.
    const STEPPED: i64 = 12 * DAY;

    /// The date that Samoa skipped is a day of no length: what turns with it turns back at once, and a wake-up finds nothing (LANGUAGE.md 9.1).
    const SKIPPED: i64 = 1_325_239_200_000;

    struct Theirs(jiff::tz::TimeZone);

    impl Theirs {
        fn civil(&self, t: i64) -> jiff::civil::DateTime {
            jiff::Timestamp::from_millisecond(t).expect("in range").to_zoned(self.0.clone()).datetime()
        }

        /// Day number, and milliseconds since its midnight on the clock.
        fn clock(&self, t: i64) -> (i64, i64) {
            let at = self.civil(t);
            let ms =
                ((i64::from(at.hour()) * 60 + i64::from(at.minute())) * 60 + i64::from(at.second())) * 1_000 + i64::from(at.millisecond());
            (days_from_civil(i64::from(at.year()), at.month() as u32, at.day() as u32), ms)
        }

        /// The first instant of a date, or where there is none the next one that there is.
        fn midnight(&self, day: i64) -> i64 {
            let (year, month, day) = civil_from_days(day);
            let date = jiff::civil::date(year as i16, month as i8, day as i8);
            date.to_zoned(self.0.clone()).expect("in range").timestamp().as_millisecond()
        }

        /// The day that has started last.
        fn day(&self, t: i64) -> i64 {
            let (day, _) = self.clock(t);
            (day - 1..=day + 1).rev().find(|d| self.midnight(*d) <= t).expect("some day has started")
        }

        fn period(&self, unit: Period, t: i64) -> i64 {
            let day = self.day(t);
            let (year, month, _) = civil_from_days(day);
            match unit {
                Period::Day => day,
                Period::Week => (day + 3).div_euclid(7),
                Period::Month => year * 12 + i64::from(month) - 1,
                Period::Year => year,
            }
        }
    }

    /// Instants worth a look: about changes of the clock, midnights, and anything else.
    fn starts(rng: &mut fastrand::Rng, theirs: &Theirs) -> Vec<i64> {
        let from = rng.i64(1_262_304_000_000..1_830_000_000_000);
        let change = theirs
            .0
            .following(jiff::Timestamp::from_millisecond(from).expect("in range"))
            .next()
            .map_or(from, |change| change.timestamp().as_millisecond());
        let near = |rng: &mut fastrand::Rng, x: i64| x + rng.i64(-3..4) * [1, MINUTE * 15, DAY / 2][rng.usize(0..3)];
        let midnight = theirs.midnight(theirs.day(from));
        vec![from, near(rng, change), near(rng, SKIPPED), near(rng, midnight), change, change - 1]
    }

    /// Holds a verdict against the truth at every half hour and the millisecond before it, and at the milliseconds about the turn.
    fn check(t: i64, verdict: Verdict, truth: impl Fn(i64) -> bool, what: &dyn Fn() -> String) {
        assert_eq!(verdict.holds, truth(t), "{} at {t}", what());
        let end = verdict.until.0.min(t + STEPPED);
        let mut at = t - t.rem_euclid(30 * MINUTE) + 30 * MINUTE;
        while at < end {
            for x in [at - 1, at] {
                if x > t {
                    assert_eq!(truth(x), verdict.holds, "{} at {t}, said to last until {}, at {x}", what(), verdict.until.0);
                }
            }
            at += 30 * MINUTE;
        }
        if verdict.until != Timestamp::MAX {
            assert_eq!(truth(verdict.until.0 - 1), verdict.holds, "{} at {t}, before {}", what(), verdict.until.0);
            if verdict.until.0 == SKIPPED {
                return;
            }
            assert_ne!(truth(verdict.until.0), verdict.holds, "{} at {t}, at {}", what(), verdict.until.0);
        }
    }

    fn each(seed: u64, rounds: usize, mut with: impl FnMut(&mut fastrand::Rng, &'static str, &'static Zone, &Theirs, i64)) {
        for name in ZONES {
            let (zone, theirs) =
                (ZoneDatabase::bundled().find(name).expect("a zone").zone(), Theirs(jiff::tz::TimeZone::get(name).expect("a zone")));
            let mut rng = fastrand::Rng::with_seed(seed);
            for _ in 0..rounds {
                for t in starts(&mut rng, &theirs) {
                    with(&mut rng, name, zone, &theirs, t);
                }
            }
        }
    }

    #[test]
    fn the_local_clock_turns_when_stepping_says_so() {
        each(11, 8, |rng, name, zone, theirs, t| {
            let path = [LocalPath::Time, LocalPath::Hour, LocalPath::Weekday, LocalPath::Date][rng.usize(0..4)];
            let today = theirs.day(t);
            let value = |rng: &mut fastrand::Rng| match path {
                LocalPath::Time => Value::Duration(Millis(rng.i64(0..96) * 15 * MINUTE)),
                LocalPath::Hour => Value::Int(rng.i64(0..24)),
                LocalPath::Weekday => Value::Text(WEEKDAYS[rng.usize(0..7)].into()),
                LocalPath::Date => Value::Date((today + rng.i64(-3..20)) as i32),
            };
            let of = || Term::Path(Path::Local(path));
            let rel = match path {
                LocalPath::Weekday => Rel::Eq,
                _ => [Rel::Eq, Rel::Lt, Rel::Le, Rel::Gt, Rel::Ge][rng.usize(0..5)],
            };
            let (a, b) = (value(rng), value(rng));
            let expr = match rng.u8(0..4) {
                0 if path != LocalPath::Weekday && path != LocalPath::Date => Expr::HalfOpen { of: of(), from: a.clone(), to: b.clone() },
                1 => Expr::Member { of: of(), values: vec![a.clone(), b.clone()], ignore_case: false },
                2 if path != LocalPath::Weekday => {
                    Expr::Between { of: of(), low: Term::Literal(a.clone()), high: Term::Literal(b.clone()) }
                }
                _ => Expr::Compare { left: of(), rel, right: Term::Literal(a.clone()), ignore_case: false },
            };
            if matches!(&expr, Expr::HalfOpen { from, to, .. } if from == to) {
                return;
            }
            let number = |value: &Value| match value {
                Value::Duration(ms) => ms.0,
                Value::Int(hour) => *hour,
                Value::Date(day) => i64::from(*day),
                Value::Text(name) => WEEKDAYS.iter().position(|d| **d == **name).expect("a weekday") as i64,
                other => panic!("{other:?}"),
            };
            let (x, y) = (number(&a), number(&b));
            let truth = |t: i64| {
                let (day, ms) = theirs.clock(t);
                let n = match path {
                    LocalPath::Time => ms,
                    LocalPath::Hour => ms / 3_600_000,
                    LocalPath::Weekday => i64::from(theirs.civil(t).weekday().to_monday_zero_offset()),
                    LocalPath::Date => day,
                };
                match &expr {
                    Expr::HalfOpen { .. } if x < y => x <= n && n < y,
                    Expr::HalfOpen { .. } => n >= x || n < y,
                    Expr::Member { .. } => n == x || n == y,
                    Expr::Between { .. } => x <= n && n <= y,
                    _ => crate::plan::window::satisfies(n.cmp(&x), rel),
                }
            };
            let test = LocalTest::of(&expr, ZoneRef::Customer).expect("constants alone");
            check(t, local(&test, zone, Timestamp(t)), truth, &|| format!("{name} {expr:?}"));
        });
    }

    #[test]
    fn windows_of_instants_turn_when_stepping_says_so() {
        each(12, 6, |rng, name, zone, theirs, t| {
            let unit = [Period::Day, Period::Week, Period::Month, Period::Year][rng.usize(0..4)];
            let n = rng.i64(1..4);
            let after = [(0, 0), (1, n), (-n, -1)][rng.usize(0..3)];
            let days = match unit {
                Period::Day => 3,
                Period::Week => 20,
                Period::Month => 60,
                Period::Year => 600,
            };
            let x = t + rng.i64(-days..days) * DAY + rng.i64(-DAY..DAY);
            let own = theirs.period(unit, x);
            let truth = |t: i64| (after.0..=after.1).contains(&(theirs.period(unit, t) - own));
            let window = InstantWindow::Periods { unit, after };
            check(t, instant(window, zone, Timestamp(x), Timestamp(t)), truth, &|| format!("{name} {window:?} of {x}"));
        });
    }

    #[test]
    fn anniversaries_turn_when_stepping_says_so() {
        each(13, 6, |rng, name, zone, theirs, t| {
            let today = theirs.day(t);
            let days = [0, 1, 7, 30, 200, 364, 365, 400][rng.usize(0..8)];
            let date = match rng.u8(0..4) {
                0 => days_from_civil(rng.i64(400..510) * 4, 2, 29),
                1 => today - 365 + rng.i64(-days..40),
                _ => today - rng.i64(-400..20_000),
            };
            let (birth, month, day) = civil_from_days(date);
            let truth = |t: i64| {
                let now = theirs.day(t);
                let year = civil_from_days(now).0;
                (year..year + 3).filter(|year| *year > birth).any(|year| {
                    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
                    let of_year = days_from_civil(year, month, if (month, day) == (2, 29) && !leap { 28 } else { day });
                    of_year - days <= now && now <= of_year
                })
            };
            check(t, anniversary(date, days, zone, Timestamp(t)), truth, &|| format!("{name} in next {days}d of {birth}-{month}-{day}"));
        });
    }

    /// Whole features, filed and asked in one zone: the boundary of the flip is the first at which counting from scratch differs.
    #[test]
    fn windows_of_events_turn_when_stepping_says_so() {
        use super::super::features::periods::PeriodValues;
        each(14, 6, |rng, name, zone, theirs, t| {
            let unit = [Period::Day, Period::Week, Period::Month][rng.usize(0..3)];
            let near = rng.i64(0..2);
            let window = AgeWindow { near: Millis(near), far: Millis(near + rng.i64(1..4)) };
            let plan = PeriodsPlan { values: PeriodValues::Count, keep: window.far.0, bound: None, exact_entries: 256 };
            let reach = [2, 15, 70][[Period::Day, Period::Week, Period::Month].iter().position(|u| *u == unit).expect("one of them")];
            let mut times: Vec<i64> = (0..rng.usize(0..8)).map(|_| t - rng.i64(0..reach * DAY)).collect();
            times.push(t);
            let mut periods = Periods::default();
            for (i, ts) in times.iter().enumerate() {
                let floor = times[..=i].iter().copied().max().unwrap_or(t);
                let axis = Axis::Periods { unit, zone: ZoneRef::Customer };
                let (period, newest) = filed(axis, zone, Timestamp(*ts), Timestamp(floor)).expect("periods take everything");
                periods.insert(&plan, period, 0, newest);
            }
            let k = rng.i64(0..4);
            let rel = [Rel::Eq, Rel::Ge, Rel::Lt][rng.usize(0..3)];
            let filed_under: Vec<i64> = times.iter().map(|ts| theirs.period(unit, *ts)).collect();
            let truth = |t: i64| {
                let now = theirs.period(unit, t);
                let count = filed_under.iter().filter(|p| (window.near.0..window.far.0).contains(&(now - **p))).count();
                crate::plan::window::satisfies((count as i64).cmp(&k), rel)
            };
            let asked = Asked { window, now: zone.period(unit, Timestamp(t)) };
            let (holds, until) = periods.compare(Quantity::Count, asked, rel, Ratio::whole(i128::from(k)));
            let until = until.map_or(Timestamp::MAX, |p| zone.start(unit, p));
            check(t, Verdict { holds, until, approx: false }, truth, &|| format!("{name} {unit:?} {window:?} {rel:?} {k} of {times:?}"));
        });
    }
}
