//! Changes and memberships as JSON (fields of LANGUAGE.md 8.13, in that order, absent where they do not apply).

use std::sync::Arc;

use std::io::Write;

use crate::ids::{ChangeId, SemanticHash};
use crate::limits::{EMIT_BYTES_MAX, EMIT_ITEMS_MAX, EMIT_TEXT_BYTES_MAX, REASON_TEXT_BYTES_MAX, REASONS_MAX};
use crate::model::money::Amount;
use crate::model::value::round_half_even;
use crate::model::{Change, ChangeKind, Decimal, Membership, Money, Value};
use crate::time::{Timestamp, civil_from_days};
use crate::wire::draft::cut;

/// Appends a change.
///
/// * `emitted_at`: the publisher's wall clock; `None` leaves the field out (back-tests).
/// * `topics`: by input index, for `cause_event`; a position whose input has no name goes without `topic`.
pub fn change_json(change: &Change, emitted_at: Option<Timestamp>, topics: &[impl AsRef<str>], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"change_id\":");
    hex(&change.change_id.0, out);
    out.extend_from_slice(b",\"customer\":");
    string(&change.customer, out);
    out.extend_from_slice(b",\"seq\":");
    display(change.seq, out);
    out.extend_from_slice(b",\"segment\":");
    string(&change.segment, out);
    out.extend_from_slice(b",\"version\":");
    hex(&change.version.0, out);
    out.extend_from_slice(b",\"change\":\"");
    out.extend_from_slice(change.kind.word().as_bytes());
    out.push(b'"');
    if let ChangeKind::Moved { from, to } = &change.kind {
        out.extend_from_slice(b",\"from\":");
        string(from, out);
        out.extend_from_slice(b",\"to\":");
        string(to, out);
    }
    out.extend_from_slice(b",\"since\":");
    instant(change.since, out);
    out.extend_from_slice(b",\"decided_at\":");
    instant(change.decided_at, out);
    if let Some(emitted_at) = emitted_at {
        out.extend_from_slice(b",\"emitted_at\":");
        instant(emitted_at, out);
    }
    out.extend_from_slice(b",\"cause\":\"");
    out.extend_from_slice(change.cause.word().as_bytes());
    out.push(b'"');
    if let Some(event) = &change.cause_event {
        out.extend_from_slice(b",\"cause_event\":{");
        if let Some(id) = &event.id {
            out.extend_from_slice(b"\"id\":");
            string(id, out);
            out.push(b',');
        }
        if let Some(topic) = topics.get(event.position.input.at()) {
            out.extend_from_slice(b"\"topic\":");
            string(topic.as_ref(), out);
            out.push(b',');
        }
        out.extend_from_slice(b"\"partition\":");
        display(event.position.partition, out);
        out.extend_from_slice(b",\"offset\":");
        display(event.position.offset, out);
        out.push(b'}');
    }
    if let Some(ChangeId(corrects)) = &change.corrects {
        out.extend_from_slice(b",\"corrects\":");
        hex(corrects, out);
    }
    if change.approx {
        out.extend_from_slice(b",\"approx\":true");
    }
    if let Some(until) = change.valid_until {
        out.extend_from_slice(b",\"valid_until\":");
        instant(until, out);
    }
    for (i, reason) in change.reason.iter().take(REASONS_MAX).enumerate() {
        out.extend_from_slice(if i == 0 { b",\"reason\":[" } else { b"," });
        for (name, text) in
            [("{\"condition\":", &*reason.condition), (",\"observed\":", &*reason.observed), (",\"threshold\":", &*reason.threshold)]
        {
            out.extend_from_slice(name.as_bytes());
            bounded(text, REASON_TEXT_BYTES_MAX, out);
        }
        out.push(b'}');
    }
    if !change.reason.is_empty() {
        out.push(b']');
    }
    emit(&change.emit, out);
    out.push(b'}');
}

/// Appends the present membership, the value of a row of the compacted topic.
pub fn membership_json(membership: &Membership, out: &mut Vec<u8>) {
    let Membership { customer, segment, stage, since, version: SemanticHash(version), emit: fields } = membership;
    out.extend_from_slice(b"{\"customer\":");
    string(customer, out);
    out.extend_from_slice(b",\"segment\":");
    string(segment, out);
    if let Some(stage) = stage {
        out.extend_from_slice(b",\"stage\":");
        string(stage, out);
    }
    out.extend_from_slice(b",\"since\":");
    instant(*since, out);
    out.extend_from_slice(b",\"version\":");
    hex(version, out);
    emit(fields, out);
    out.push(b'}');
}

/// Appends the key of a membership's row. Its tombstone has this key and a null value.
pub fn membership_key_json(customer: &str, segment: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"customer\":");
    string(customer, out);
    out.extend_from_slice(b",\"segment\":");
    string(segment, out);
    out.push(b'}');
}

fn emit(fields: &[(Arc<str>, Value)], out: &mut Vec<u8>) {
    if fields.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"emit\":{");
    let start = out.len();
    for (i, (name, field)) in fields.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(name, out);
        out.push(b':');
        let at = out.len();
        value(field, out);
        if out.len() - start > EMIT_BYTES_MAX {
            out.truncate(at);
            out.extend_from_slice(b"null");
        }
    }
    out.push(b'}');
}

/// A value of `emit` (LANGUAGE.md R61, R64).
fn value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Missing => out.extend_from_slice(b"null"),
        Value::Bool(b) => display(b, out),
        Value::Int(n) => display(n, out),
        Value::Decimal(d) => display(d, out),
        Value::Ratio { num, den, currency } => match currency {
            Some(currency) => money(Money { minor: rounded(*num, *den), currency: *currency }, out),
            None => display(Decimal(rounded(num.saturating_mul(i128::from(Decimal::ONE)), *den)), out),
        },
        Value::Money(m) => money(*m, out),
        Value::Text(t) => bounded(t, EMIT_TEXT_BYTES_MAX, out),
        Value::Instant(t) => instant(*t, out),
        Value::Date(_) | Value::Duration(_) => {
            out.push(b'"');
            display(value, out);
            out.push(b'"');
        }
        Value::Geo { lat, lon } => {
            out.extend_from_slice(b"{\"lat\":");
            display(lat, out);
            out.extend_from_slice(b",\"lon\":");
            display(lon, out);
            out.push(b'}');
        }
        Value::Score(s) => display(Decimal(millionths(*s)), out),
        Value::List(items) | Value::Record(items) => {
            out.push(b'[');
            for (i, item) in items.iter().take(EMIT_ITEMS_MAX).enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                self::value(item, out);
            }
            out.push(b']');
        }
    }
}

/// A double in millionths, half-even; beyond 64 bits the nearest bound.
pub(super) fn millionths(score: f64) -> i64 {
    (score * Decimal::ONE as f64).round_ties_even() as i64
}

/// A quotient rounded half-even; beyond 64 bits the nearest bound.
pub(super) fn rounded(num: i128, den: i128) -> i64 {
    round_half_even(num, den).clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

fn money(money: Money, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"amount\":\"");
    display(Amount(money), out);
    out.extend_from_slice(b"\",\"currency\":\"");
    out.extend_from_slice(&money.currency.bytes());
    out.extend_from_slice(b"\"}");
}

fn display(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    write!(out, "{value}").expect("writing to memory does not fail");
}

/// RFC 3339 with milliseconds in quotes, as [`Timestamp`] prints it; written by hand because a change holds four of them.
fn instant(t: Timestamp, out: &mut Vec<u8>) {
    let (days, ms) = (t.0.div_euclid(86_400_000), t.0.rem_euclid(86_400_000) as u32);
    let (year, month, day) = civil_from_days(days);
    if !(0..=9_999).contains(&year) {
        out.push(b'"');
        display(t, out);
        out.push(b'"');
        return;
    }
    let mut text = *b"\"0000-00-00T00:00:00.000Z\"";
    let mut put = |at: usize, digits: usize, mut n: u32| {
        for place in text[at..at + digits].iter_mut().rev() {
            *place = b'0' + (n % 10) as u8;
            n /= 10;
        }
    };
    put(1, 4, year as u32);
    put(6, 2, month);
    put(9, 2, day);
    put(12, 2, ms / 3_600_000);
    put(15, 2, ms / 60_000 % 60);
    put(18, 2, ms / 1_000 % 60);
    put(21, 3, ms % 1_000);
    out.extend_from_slice(&text);
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    out.extend(bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]));
    out.push(b'"');
}

/// A text of at most `most` bytes; a longer one is cut and ends in `...`.
fn bounded(text: &str, most: usize, out: &mut Vec<u8>) {
    string(cut(text, most), out);
    if text.len() > most {
        out.pop();
        out.extend_from_slice(b"...\"");
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(i) = rest.iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\') {
        out.extend_from_slice(&rest[..i]);
        match rest[i] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', b]),
            b => write!(out, "\\u{b:04x}").expect("writing to memory does not fail"),
        }
        rest = &rest[i + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_they_print() {
        let mut rng = fastrand::Rng::with_seed(2);
        for t in (0..20_000).map(|_| rng.i64(-90_000_000_000_000..400_000_000_000_000)).chain([0, -1, i64::MIN, i64::MAX]) {
            let mut out = Vec::new();
            instant(Timestamp(t), &mut out);
            assert_eq!(String::from_utf8(out).expect("ASCII"), format!("\"{}\"", Timestamp(t)));
        }
    }

    #[test]
    fn texts_are_escaped() {
        let every: String = (0u32..0x300).filter_map(char::from_u32).chain("\u{2028}😀".chars()).collect();
        let mut out = Vec::new();
        string(&every, &mut out);
        assert_eq!(serde_json::from_slice::<String>(&out).expect("JSON"), every);
    }
}
