//! Instants as other systems write them.

use jiff::civil::Time;
use jiff::fmt::strtime::BrokenDownTime;

use super::TimeFormat;
use crate::model::money::parse_scaled;
use crate::time::Timestamp;
use crate::wire::scalar;

impl TimeFormat {
    /// The instant; digits below the millisecond are cut off, a date alone is its midnight. A local time that a clock change leaves out
    /// or repeats is read as jiff's `compatible`: later by the gap, or the first of the two.
    ///
    /// **Errors:** text of another form, or outside of the years 0000 to 9999.
    pub(super) fn read(&self, text: &str) -> Option<Timestamp> {
        let text = text.trim();
        match self {
            TimeFormat::Rfc3339 => scalar::instant(text),
            TimeFormat::Seconds => scalar::in_range(epoch(text, 3)?),
            TimeFormat::Millis => scalar::in_range(epoch(text, 0)?),
            TimeFormat::Pattern { pattern, zone } => {
                let read = BrokenDownTime::parse(pattern, text).ok()?;
                let instant = match read.timestamp() {
                    Some(instant) => instant,
                    None => {
                        let time = if read.hour().is_some() { read.to_time().ok()? } else { Time::midnight() };
                        let local = read.to_date().ok()?.to_datetime(time);
                        match read.offset() {
                            Some(offset) => offset.to_timestamp(local).ok()?,
                            None => zone.to_ambiguous_zoned(local).compatible().ok()?.timestamp(),
                        }
                    }
                };
                scalar::in_range(instant.as_millisecond())
            }
        }
    }
}

/// A number in units of `10^-digits`; further digits are cut off.
fn epoch(text: &str, digits: usize) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(digits)];
    let text = if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") };
    parse_scaled(&text, digits as u32)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn every_form_of_an_instant_is_read_to_the_millisecond() {
        let pattern = |pattern: &str, zone: &str| TimeFormat::Pattern {
            pattern: pattern.into(),
            zone: if zone.is_empty() { TimeZone::UTC } else { TimeZone::get(zone).expect("a zone") },
        };
        for (format, text, want) in [
            (TimeFormat::Rfc3339, "2026-01-02T03:04:05.6789+01:00", Some("2026-01-02T02:04:05.678Z")),
            (TimeFormat::Rfc3339, "2026-01-02", None),
            (TimeFormat::Seconds, "1659304800", Some("2022-07-31T22:00:00.000Z")),
            (TimeFormat::Seconds, "1659304800.0259", Some("2022-07-31T22:00:00.025Z")),
            (TimeFormat::Seconds, "1659304800.0x", None),
            (TimeFormat::Millis, "1659304800025", Some("2022-07-31T22:00:00.025Z")),
            (TimeFormat::Millis, "", None),
            (pattern("%Y-%m-%d %H:%M:%S", "Asia/Shanghai"), "2016-02-01 00:00:00", Some("2016-01-31T16:00:00.000Z")),
            (pattern("%Y%m%d", ""), "19970112", Some("1997-01-12T00:00:00.000Z")),
            (pattern("%Y-%m-%d %H:%M:%S%.f", ""), "2022-11-20 11:53:06.352", Some("2022-11-20T11:53:06.352Z")),
            (pattern("%Y-%m-%d %H:%M:%S%:z", "Asia/Shanghai"), "2022-11-20 11:53:06+01:00", Some("2022-11-20T10:53:06.000Z")),
            // Left out by the change to summer time, and repeated by the change back.
            (pattern("%Y-%m-%d %H:%M", "Europe/Stockholm"), "2026-03-29 02:30", Some("2026-03-29T01:30:00.000Z")),
            (pattern("%Y-%m-%d %H:%M", "Europe/Stockholm"), "2026-10-25 02:30", Some("2026-10-25T00:30:00.000Z")),
            (pattern("%Y%m%d", ""), "19971312", None),
        ] {
            assert_eq!(format.read(text).map(|t| t.to_string()).as_deref(), want, "{format:?} {text}");
        }
    }
}
