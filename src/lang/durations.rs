//! Lengths of time as they are written: `1h30m`, and what is meant where they are written otherwise.

use crate::limits::WINDOW_MAX_MS;
use crate::model::money::parse_scaled;

/// What a malformed duration may stand for: `3mo` is 90d, `30m1h` is 1h30m, `1.5h` is 1h30m.
pub(super) fn duration_meant(raw: &str) -> Option<String> {
    const MICROS: i128 = 1_000_000;
    let (mut rest, mut total) = (raw, 0i128);
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| c.is_ascii_lowercase())?;
        let next = rest[unit_at..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |i| unit_at + i);
        let digits: String = rest[..unit_at].chars().filter(|c| *c != '_').collect();
        let unit: i64 = match &rest[unit_at..next] {
            "ms" => 1,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            "w" | "wk" | "week" | "weeks" => 604_800_000,
            "mo" | "mon" | "month" | "months" => 30 * 86_400_000,
            "y" | "yr" | "year" | "years" => 365 * 86_400_000,
            _ => return None,
        };
        total = total.checked_add(i128::from(parse_scaled(&digits, 6)?).checked_mul(i128::from(unit))?)?;
        rest = &rest[next..];
    }
    let ms = i64::try_from(total / MICROS).ok().filter(|ms| *ms > 0 && total % MICROS == 0)?;
    let shown = crate::time::Millis(ms).to_string();
    parse_duration(&shown).is_ok().then_some(shown)
}

pub(super) enum DurationError {
    Unit,
    Order,
    TooLong,
}

/// `1h30m`: units from large to small, each once. The text starts with a digit.
pub(super) fn parse_duration(raw: &str) -> Result<i64, DurationError> {
    const UNITS: [(&str, i64); 6] = [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let (mut rest, mut total, mut next) = (raw, 0i64, 0usize);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '_').ok_or(DurationError::Unit)?;
        if digits == 0 {
            return Err(DurationError::Unit);
        }
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit() || c == '_').map_or(rest.len(), |i| digits + i);
        let place = UNITS.iter().position(|(u, _)| *u == &rest[digits..unit_end]).ok_or(DurationError::Unit)?;
        if place < next {
            return Err(DurationError::Order);
        }
        next = place + 1;
        let number: String = rest[..digits].chars().filter(|c| *c != '_').collect();
        let part = number.parse::<i64>().ok().and_then(|n| n.checked_mul(UNITS[place].1)).ok_or(DurationError::TooLong)?;
        total = total.checked_add(part).filter(|t| *t <= WINDOW_MAX_MS).ok_or(DurationError::TooLong)?;
        rest = &rest[unit_end..];
    }
    Ok(total)
}
