//! Single values as they come to typed values (LANGUAGE.md R47), the same for every format.
//!
//! Where R47 is silent: `date` takes `2026-11-23`; `duration` takes the language's own form (`1h30m`, larger units first, each once);
//! `enum` takes text that is one of its words; an instant lies in the years 0000 to 9999, for it could not be written otherwise; `geo`
//! lies within 90 degrees of latitude and 180 of longitude, its numbers may be text; digits as text are `-?[0-9]+`.

use crate::engine::batch::{Batch, Datum};
use crate::model::money::parse_scaled;
use crate::model::{Currency, Decimal, InstantFormat, MoneyCurrency, Type};
use crate::time::{Millis, Timestamp, days_from_civil, days_in_month};

/// A value that is no list and no record, before its type is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    /// As written.
    Number(&'a str),
    /// Without escapes.
    Text(&'a str),
    /// Milliseconds.
    Instant(i64),
    /// Milliseconds.
    Duration(i64),
    Geo(f64, f64),
}

/// The typed value; `None` is a wrong type. Lists, records and money whose currency stands elsewhere are not scalars: always `None`.
pub(super) fn convert(ty: &Type, scalar: Scalar<'_>, batch: &mut Batch) -> Option<Datum> {
    use Scalar::{Bool, Duration, Geo, Instant, Null, Number, Text};
    Some(match (ty, scalar) {
        (_, Null) => Datum::Missing,
        (Type::Text, Text(t) | Number(t)) => Datum::Text(batch.push_text(t)),
        (Type::Money(MoneyCurrency::Fixed(currency)), Text(t) | Number(t)) => money(t, *currency)?,
        (Type::Int, Number(t)) => Datum::Int(whole(t)?),
        (Type::Int, Text(t)) => Datum::Int(digits(t)?),
        (Type::Decimal, Text(t) | Number(t)) => Datum::Decimal(scaled(t, Decimal::DIGITS)?),
        (Type::Bool, Bool(b)) => Datum::Bool(b),
        (Type::Bool, Text(t)) => Datum::Bool(truth(t)?),
        (Type::Enum(words), Text(t)) if words.iter().any(|w| w == t) => Datum::Text(batch.push_text(t)),
        (Type::Instant(InstantFormat::Rfc3339), Text(t)) => Datum::Instant(instant(t)?),
        (Type::Instant(_), Instant(ms)) => Datum::Instant(in_range(ms)?),
        (Type::Instant(format @ (InstantFormat::Seconds | InstantFormat::Millis)), Number(t)) => {
            Datum::Instant(in_range(truncated(t, if *format == InstantFormat::Seconds { 3 } else { 0 })?.0)?)
        }
        (Type::Instant(InstantFormat::Seconds), Text(t)) => Datum::Instant(in_range(digits(t)?.checked_mul(1_000)?)?),
        (Type::Instant(InstantFormat::Millis), Text(t)) => Datum::Instant(in_range(digits(t)?)?),
        (Type::Date, Text(t)) => Datum::Date(date(t)?),
        (Type::Duration, Text(t)) => Datum::Duration(duration(t)?),
        (Type::Duration, Duration(ms)) => Datum::Duration(Millis(ms)),
        (Type::Geo, Text(t)) => {
            let (lat, lon) = t.split_once(',')?;
            geo(degrees(lat.trim())?, degrees(lon.trim())?)?
        }
        (Type::Geo, Geo(lat, lon)) => geo(lat, lon)?,
        _ => return None,
    })
}

/// What a type is called in messages.
pub(super) fn type_name(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::Int => "int",
        Type::Decimal => "decimal",
        Type::Text => "string",
        Type::Instant(InstantFormat::Rfc3339) => "instant",
        Type::Instant(InstantFormat::Seconds) => "instant in s",
        Type::Instant(InstantFormat::Millis) => "instant in ms",
        Type::Date => "date",
        Type::Duration => "duration",
        Type::Geo => "geo",
        Type::Money(_) => "money",
        Type::Enum(_) => "one of the enum's words",
        Type::List(_) => "list",
        Type::Record(_) => "record",
    }
}

pub(super) fn money(text: &str, currency: Currency) -> Option<Datum> {
    Some(Datum::Money { minor: scaled(text, currency.minor_digits())?, currency })
}

/// `true` and `false` as text.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// RFC 3339 with an offset, in the years 0000 to 9999 of UTC.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    in_range(Timestamp::parse_rfc3339(text)?.0)
}

/// Milliseconds in the years 0000 to 9999.
pub(super) fn in_range(ms: i64) -> Option<Timestamp> {
    const FIRST: i64 = -62_167_219_200_000;
    const END: i64 = 253_402_300_800_000;
    (FIRST..END).contains(&ms).then_some(Timestamp(ms))
}

pub(super) fn geo(lat: f64, lon: f64) -> Option<Datum> {
    (lat.abs() <= 90.0 && lon.abs() <= 180.0).then_some(Datum::Geo { lat, lon })
}

/// A decimal number as a double; words such as `inf` are none.
pub(super) fn degrees(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    text.parse().ok().filter(|_| plain)
}

/// `-?[0-9]+` that fits 64 bits.
fn digits(text: &str) -> Option<i64> {
    let magnitude = text.strip_prefix('-').unwrap_or(text);
    if magnitude.is_empty() || !magnitude.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A JSON number that is whole, however written (`10.0`, `1e3`).
fn whole(text: &str) -> Option<i64> {
    match truncated(text, 0)? {
        (value, true) => Some(value),
        (_, false) => None,
    }
}

/// As [`parse_scaled`], with a short way for what payloads hold: few digits, a point, none to round.
fn scaled(text: &str, digits: u32) -> Option<i64> {
    let b = text.as_bytes();
    let (negative, start) = match b.first() {
        Some(b'-') => (true, 1),
        _ => (false, 0),
    };
    let (mut n, mut i) = (0i64, start);
    if b.len() > start && b.len() - start <= 12 {
        while i < b.len() && b[i].is_ascii_digit() {
            n = n * 10 + i64::from(b[i] - b'0');
            i += 1;
        }
        let whole_digits = i - start;
        let mut missing = digits;
        if i < b.len() && b[i] == b'.' {
            i += 1;
            while i < b.len() && b[i].is_ascii_digit() && missing > 0 {
                n = n * 10 + i64::from(b[i] - b'0');
                missing -= 1;
                i += 1;
            }
            if b[i - 1] == b'.' {
                return parse_scaled(text, digits);
            }
        }
        // Twelve digits and six more to the unit stay below 10^18.
        if i == b.len() && whole_digits > 0 && missing <= 6 {
            n *= 10i64.pow(missing);
            return Some(if negative { -n } else { n });
        }
    }
    parse_scaled(text, digits)
}

/// A JSON number in units of `10^-digits`, cut off towards zero, and whether nothing was cut. `None` where it does not fit 64 bits.
fn truncated(text: &str, digits: i64) -> Option<(i64, bool)> {
    let b = text.as_bytes();
    let negative = b.first() == Some(&b'-');
    let (mut mantissa, mut exponent, mut cut, mut point) = (0u128, 0i64, false, false);
    let mut i = usize::from(negative);
    while i < b.len() {
        match b[i] {
            c @ b'0'..=b'9' => {
                if mantissa < 10u128.pow(36) {
                    mantissa = mantissa * 10 + u128::from(c - b'0');
                    exponent -= i64::from(point);
                } else {
                    cut |= c != b'0';
                    exponent += i64::from(!point);
                }
            }
            b'.' => point = true,
            b'e' | b'E' => {
                // An exponent beyond 64 bits: nothing but zero is left, or nothing that fits.
                let e = &text[i + 1..];
                let huge = if e.starts_with('-') { i64::MIN } else { i64::MAX };
                exponent = exponent.saturating_add(e.parse().unwrap_or(huge));
                i = b.len();
                continue;
            }
            _ => return None,
        }
        i += 1;
    }
    let shift = exponent.saturating_add(digits);
    let magnitude = match shift {
        _ if mantissa == 0 => 0,
        39.. => return None,
        0..=38 => mantissa.checked_mul(10u128.pow(shift as u32))?,
        -38..=-1 => {
            let unit = 10u128.pow(shift.unsigned_abs() as u32);
            cut |= mantissa % unit != 0;
            mantissa / unit
        }
        _ => {
            cut = true;
            0
        }
    };
    let value = i128::try_from(magnitude).ok()?;
    Some((i64::try_from(if negative { -value } else { value }).ok()?, !cut))
}

/// Days since 1970-01-01 of `2026-11-23`.
fn date(text: &str) -> Option<i32> {
    let b = text.as_bytes();
    if b.len() != 10 || b[4] != b'-' || b[7] != b'-' {
        return None;
    }
    let number = |part: &[u8]| part.iter().try_fold(0u32, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')));
    let (year, month, day) = (i64::from(number(&b[0..4])?), number(&b[5..7])?, number(&b[8..10])?);
    let valid = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    valid.then(|| days_from_civil(year, month, day) as i32)
}

/// `1h30m`: digits and a unit, larger units first, each once.
fn duration(text: &str) -> Option<Millis> {
    const UNITS: [(&str, i64); 6] = [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let (mut rest, mut total, mut next) = (text, 0i64, 0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_lowercase).count();
        let unit = &rest[digits..digits + letters];
        let place = next + UNITS[next..].iter().position(|(name, _)| *name == unit)?;
        let count: i64 = rest[..digits].parse().ok()?;
        total = total.checked_add(count.checked_mul(UNITS[place].1)?)?;
        next = place + 1;
        rest = &rest[digits + letters..];
    }
    Some(Millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_exact_however_written() {
        for (text, want) in [
            ("10.0", Some(10)),
            ("1e3", Some(1_000)),
            ("-1.50e1", Some(-15)),
            ("0.5", None),
            ("1e-400", None),
            ("0e99999999999999999999", Some(0)),
            ("1e99999999999999999999", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("1000000000000000000000000000000000000000000000e-45", Some(1)),
            ("1000000000000000000000000000000000000000000001e-45", None),
            ("-0", Some(0)),
        ] {
            assert_eq!(whole(text), want, "{text}");
        }
    }

    #[test]
    fn the_short_way_agrees_with_the_long_one() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..200_000 {
            let text: String = (0..rng.usize(0..14)).map(|_| *rng.choice(b"0123456789.-+e").expect("not empty") as char).collect();
            for digits in [0, 2, 3, 4, 6] {
                assert_eq!(scaled(&text, digits), parse_scaled(&text, digits), "{text:?} {digits}");
            }
        }
    }

    #[test]
    fn durations_are_the_language_s_own() {
        for (text, want) in [
            ("1h30m", Some(5_400_000)),
            ("2w1d", Some(1_296_000_000)),
            ("250ms", Some(250)),
            ("0s", Some(0)),
            ("30m1h", None),
            ("1h1h", None),
            ("1.5h", None),
            ("h", None),
            ("90", None),
            ("", None),
            ("-5m", None),
            ("99999999999999999w", None),
        ] {
            assert_eq!(duration(text), want.map(Millis), "{text}");
        }
    }

    #[test]
    fn instants_are_those_that_can_be_written() {
        assert_eq!(in_range(-62_167_219_200_000).map(|t| t.to_string()).as_deref(), Some("0000-01-01T00:00:00.000Z"));
        assert_eq!(in_range(253_402_300_799_999).map(|t| t.to_string()).as_deref(), Some("9999-12-31T23:59:59.999Z"));
        assert_eq!((in_range(-62_167_219_200_001), in_range(253_402_300_800_000)), (None, None));
        assert_eq!(instant("0000-01-01T00:00:00+01:00"), None);
    }
}
