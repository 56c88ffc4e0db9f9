//! Instants and lengths of time, and the only trait through which anybody may ask what time it is.
//!
//! Owns the newtypes; never reads a clock. The engine gets its clock as data (LANGUAGE.md S3, S13), and only `runtime` implements
//! [`Clock`] on the system's.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since 1970-01-01T00:00:00Z.
///
/// **Units:** milliseconds, UTC, no leap seconds. Arithmetic with [`Millis`] saturates, so that no definition can overflow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// A length of time in milliseconds; negative only as the difference of two instants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Timestamp {
    /// Before every instant that a record can carry.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// "Never": after every instant that a record can carry.
    pub const MAX: Timestamp = Timestamp(i64::MAX);
}

impl Millis {
    pub const ZERO: Millis = Millis(0);
    pub const SECOND: Millis = Millis(1_000);
    pub const MINUTE: Millis = Millis(60_000);
    pub const HOUR: Millis = Millis(3_600_000);
    pub const DAY: Millis = Millis(86_400_000);
    pub const WEEK: Millis = Millis(604_800_000);
}

impl Add<Millis> for Timestamp {
    type Output = Timestamp;
    fn add(self, rhs: Millis) -> Timestamp {
        Timestamp(self.0.saturating_add(rhs.0))
    }
}

impl Sub<Millis> for Timestamp {
    type Output = Timestamp;
    fn sub(self, rhs: Millis) -> Timestamp {
        Timestamp(self.0.saturating_sub(rhs.0))
    }
}

impl Sub<Timestamp> for Timestamp {
    type Output = Millis;
    fn sub(self, rhs: Timestamp) -> Millis {
        Millis(self.0.saturating_sub(rhs.0))
    }
}

/// Days since 1970-01-01 of a civil date (proleptic Gregorian).
///
/// **Source:** Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = i64::from((month + 9) % 12);
    let doy = (153 * mp + 2) / 5 + i64::from(day) - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

/// Civil date (year, month, day) of days since 1970-01-01; the inverse of [`days_from_civil`].
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn two_digits(b: &[u8]) -> Option<u32> {
    let (hi, lo) = (b[0].wrapping_sub(b'0'), b[1].wrapping_sub(b'0'));
    (hi < 10 && lo < 10).then(|| u32::from(hi) * 10 + u32::from(lo))
}

impl Timestamp {
    /// Reads RFC 3339 with an offset (`Z` or `+hh:mm`), `T` or a blank between date and time, any number of fractional digits; digits
    /// below the millisecond are cut off (LANGUAGE.md R64). `None` where the text is anything else. Allocates nothing.
    pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
        let b = text.as_bytes();
        if b.len() < 20 || b[4] != b'-' || b[7] != b'-' || b[13] != b':' || b[16] != b':' || !matches!(b[10], b'T' | b't' | b' ') {
            return None;
        }
        let year = i64::from(two_digits(&b[0..2])? * 100 + two_digits(&b[2..4])?);
        let (month, day) = (two_digits(&b[5..7])?, two_digits(&b[8..10])?);
        let (hour, minute, second) = (two_digits(&b[11..13])?, two_digits(&b[14..16])?, two_digits(&b[17..19])?);
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let mut i = 19;
        let mut ms = 0i64;
        if b[i] == b'.' {
            let start = i + 1;
            i = start;
            while i < b.len() && b[i].is_ascii_digit() {
                if i - start < 3 {
                    ms = ms * 10 + i64::from(b[i] - b'0');
                }
                i += 1;
            }
            if i == start {
                return None;
            }
            for _ in (i - start)..3 {
                ms *= 10;
            }
        }
        let offset = match b.get(i)? {
            b'Z' | b'z' if i + 1 == b.len() => 0,
            sign @ (b'+' | b'-') if b.len() == i + 6 && b[i + 3] == b':' => {
                let (h, m) = (two_digits(&b[i + 1..i + 3])?, two_digits(&b[i + 4..i + 6])?);
                if h > 23 || m > 59 {
                    return None;
                }
                let minutes = i64::from(h * 60 + m);
                if *sign == b'-' { -minutes } else { minutes }
            }
            _ => return None,
        };
        let seconds = i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second.min(59)) - offset * 60;
        Some(Timestamp(days_from_civil(year, month, day) * 86_400_000 + seconds * 1_000 + ms))
    }
}

/// Days of a civil month.
pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-11-23T10:00:00.123Z`, the form of every instant that leaves segmentd.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (y, m, d) = civil_from_days(self.0.div_euclid(86_400_000));
        let ms = self.0.rem_euclid(86_400_000);
        write!(f, "{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{:03}Z", ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000)
    }
}

/// The language's own form, combined from large to small: `1h30m`; zero is `0ms`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0ms");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let mut rest = self.0.unsigned_abs();
        for (unit, ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

/// Where the present instant comes from: the system's clock in `runtime`, a number in tests and simulations.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_round_trips_and_cuts_below_the_millisecond() {
        let t = Timestamp::parse_rfc3339("2026-11-23T08:00:00.123987+01:00").expect("valid");
        assert_eq!(t.to_string(), "2026-11-23T07:00:00.123Z");
        assert_eq!(Timestamp::parse_rfc3339("2026-11-23T07:00:00Z"), Some(Timestamp(t.0 - 123)));
        for bad in ["2026-11-23", "2026-02-30T00:00:00Z", "2026-11-23T07:00:00", "2026-11-23T25:00:00Z", "2026-11-23T07:00:00.Z"] {
            assert_eq!(Timestamp::parse_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_print_in_the_language() {
        assert_eq!(Millis(5_400_000).to_string(), "1h30m");
        assert_eq!(Millis(0).to_string(), "0ms");
        assert_eq!(Millis(90_061_001).to_string(), "1d1h1m1s1ms");
    }
}
