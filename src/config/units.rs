//! Text with a unit: durations as the language writes them, sizes in bytes.

use crate::time::Millis;

/// Reads `20ms`, `1h30m`, `7d`: numbers with the units w d h m s ms, from large to small.
///
/// **Errors:** what is wrong with the text, without naming the key.
pub fn parse_duration(text: &str) -> Result<Millis, String> {
    const UNITS: &[(&str, i64)] = &[("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("a duration is missing, for example \"20ms\" or \"1h30m\"".into());
    }
    let (mut total, mut last) = (0i64, usize::MAX);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let unit_len = rest[digits..].len() - rest[digits..].trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let unit = &rest[digits..digits + unit_len];
        let Some(place) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(format!("unknown unit in \"{text}\"; a duration is written like \"20ms\", \"90s\" or \"1h30m\""));
        };
        let Ok(number) = rest[..digits].parse::<i64>() else {
            return Err(format!("\"{text}\" is no duration; write it like \"20ms\", \"90s\" or \"1h30m\""));
        };
        if last != usize::MAX && place <= last {
            return Err(format!("units of \"{text}\" do not go from large to small, each once"));
        }
        last = place;
        let part = number.checked_mul(UNITS[place].1).and_then(|part| total.checked_add(part));
        total = part.ok_or_else(|| format!("\"{text}\" is too long"))?;
        rest = &rest[digits + unit_len..];
    }
    Ok(Millis(total))
}

/// Reads `256MiB`, `4KB`, `100B` into bytes: decimal units KB MB GB, binary ones KiB MiB GiB.
///
/// **Errors:** as [`parse_duration`].
pub fn parse_size(text: &str) -> Result<usize, String> {
    const UNITS: &[(&str, u64)] =
        &[("B", 1), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let unit = text[digits..].trim();
    let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
    let bytes = text[..digits].parse::<u64>().ok().zip(scale).and_then(|(n, scale)| n.checked_mul(scale));
    bytes
        .and_then(|b| usize::try_from(b).ok())
        .ok_or_else(|| format!("\"{text}\" is no size; write it with a unit: \"256KiB\", \"4MiB\", \"1GB\""))
}

/// A size in the largest binary unit that divides it.
pub(super) fn show_size(bytes: usize) -> String {
    [(30, "GiB"), (20, "MiB"), (10, "KiB")]
        .iter()
        .find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1usize << shift))
        .map_or_else(|| format!("{bytes}B"), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_have_units() {
        for (text, want) in [("20ms", 20), ("1h30m", 5_400_000), ("2w1d", 1_296_000_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Millis(want)), "{text}");
        }
        for bad in ["", "20", "ms", "3mo", "30m1h", "1m1m", "99999999999w", "-1s", "1.5h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for (text, want) in [("256MiB", 256 << 20), ("4KB", 4_000), ("100B", 100), ("2 GiB", 2 << 30)] {
            assert_eq!(parse_size(text), Ok(want), "{text}");
        }
        for bad in ["", "12", "MiB", "1.5MB", "99999999999999999999B", "3 mb"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert_eq!((show_size(4 << 20), show_size(1_500)), ("4MiB".to_string(), "1500B".to_string()));
    }
}
