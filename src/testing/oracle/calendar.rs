//! Local dates and times, by the library's civil arithmetic (LANGUAGE.md S10, S11, R24, R45).

use jiff::tz::TimeZone;

use crate::lang::Unit;
use crate::model::Value;
use crate::time::{Millis, Timestamp, civil_from_days, days_from_civil, days_in_month};

/// A reading of the local calendar and clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// Days since 1970-01-01.
    pub day: i32,
    /// Since midnight, as a clock on the wall shows it.
    pub time: Millis,
}

/// Instants beyond the years that the library knows count as its last.
fn zoned(zone: &TimeZone, t: Timestamp) -> jiff::Zoned {
    let bound = jiff::Timestamp::MAX.as_millisecond() - Millis::WEEK.0;
    let t = jiff::Timestamp::from_millisecond(t.0.clamp(-bound, bound)).expect("within the years 1 to 9999");
    t.to_zoned(zone.clone())
}

pub fn local(zone: &TimeZone, t: Timestamp) -> Local {
    let now = zoned(zone, t).datetime();
    let day = days_from_civil(i64::from(now.year()), now.month() as u32, now.day() as u32) as i32;
    let (hour, minute, second) = (i64::from(now.hour()), i64::from(now.minute()), i64::from(now.second()));
    Local { day, time: Millis(((hour * 60 + minute) * 60 + second) * 1_000 + i64::from(now.millisecond())) }
}

fn date(day: i32) -> Option<jiff::civil::Date> {
    let (year, month, day) = civil_from_days(i64::from(day));
    jiff::civil::Date::new(i16::try_from(year).ok()?, month as i8, day as i8).ok()
}

/// The first existing instant of the date (S10).
pub fn midnight(zone: &TimeZone, day: i32) -> Timestamp {
    let zoned = date(day).and_then(|d| d.to_zoned(zone.clone()).ok());
    zoned.map_or(if day < 0 { Timestamp::MIN } else { Timestamp::MAX }, |z| Timestamp(z.timestamp().as_millisecond()))
}

/// All instants at which clocks may show `time` on that day: two where it comes twice.
fn shown(zone: &TimeZone, day: i32, time: Millis, out: &mut Vec<Timestamp>) {
    let Some(date) = date(day) else { return };
    let civil = date.at(0, 0, 0, 0).saturating_add(jiff::SignedDuration::from_millis(time.0));
    let both = zone.to_ambiguous_zoned(civil);
    for zoned in [both.clone().earlier(), both.later()].into_iter().flatten() {
        out.push(Timestamp(zoned.timestamp().as_millisecond()));
    }
}

/// Instants in `(after, through]` at which a local date begins, clocks show one of `times`, or clocks are put forward or back.
pub fn boundaries(zone: &TimeZone, times: &[Millis], after: Timestamp, through: Timestamp, out: &mut Vec<Timestamp>) {
    let (first, last) = (local(zone, after).day - 1, local(zone, through).day + 1);
    for day in first..=last {
        out.push(midnight(zone, day));
        times.iter().for_each(|time| shown(zone, day, *time, out));
    }
    let moves = zone.following(zoned(zone, after).timestamp());
    out.extend(moves.map(|m| Timestamp(m.timestamp().as_millisecond())).take_while(|t| *t <= through));
}

/// Number of the period of `unit` that a day lies in; weeks start on Monday.
pub fn period(unit: Unit, day: i32) -> i64 {
    let (year, month, _) = civil_from_days(i64::from(day));
    match unit {
        Unit::Day => i64::from(day),
        // 1970-01-01 was a Thursday.
        Unit::Week => (i64::from(day) + 3).div_euclid(7),
        Unit::Month => year * 12 + i64::from(month),
        Unit::Year => year,
        Unit::Session => panic!("a session is no period of the calendar"),
    }
}

pub fn weekday(day: i32) -> Value {
    let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    Value::Text(names[(i64::from(day) + 3).rem_euclid(7) as usize].into())
}

/// S11: whether some anniversary of `of`, in a year after its own, lies between `today` and `days` later, both included.
pub fn anniversary(of: i32, days: u32, today: i32) -> bool {
    let (first, month, day_of_month) = civil_from_days(i64::from(of));
    (0..=i64::from(days)).any(|ahead| {
        let (year, m, d) = civil_from_days(i64::from(today) + ahead);
        year > first && m == month && d == day_of_month.min(days_in_month(year, month))
    })
}
