//! `until` against stepping: between an instant and the one at which a condition is said to turn nothing differs, and there it does. The
//! truth comes from the library's own civil arithmetic.

use super::*;
use crate::lang::definition::{Expr, Path, Term};
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
        let ms = ((i64::from(at.hour()) * 60 + i64::from(at.minute())) * 60 + i64::from(at.second())) * 1_000 + i64::from(at.millisecond());
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
        let (zone, theirs) = (ZoneId::find(name).expect("a zone").zone(), Theirs(jiff::tz::TimeZone::get(name).expect("a zone")));
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
            2 if path != LocalPath::Weekday => Expr::Between { of: of(), low: Term::Literal(a.clone()), high: Term::Literal(b.clone()) },
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
