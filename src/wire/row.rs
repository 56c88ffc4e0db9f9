//! Records in files: one native JSON record a line, which may carry its `arrival` (LANGUAGE.md R62). For back-tests; no I/O here.
//!
//! Without `arrival` a record arrives at its `ts`; one with neither is unreadable. Whoever reads the file sorts by arrival, ties as they
//! stand, and gives lines that have none the arrival of the line before, so that a broken line does not move the others.

use super::draft::{Mark, Rejection};
use super::json::scan::{Scan, Scanner, Token};
use super::{RawRecord, scalar};
use crate::engine::batch::Batch;
use crate::time::Timestamp;

/// Longest line in which an arrival is looked for; far beyond any record, within what a token's offsets can say.
const LINE_BYTES_MAX: usize = 64 << 20;

/// The lines of a file that hold anything, without their ends, each with its number; the first is 1.
pub fn lines(file: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = file.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.enumerate().map(|(i, line)| (i + 1, line)).filter(|(_, line)| !line.trim_ascii().is_empty())
}

/// When the record of a line arrives, or why it has no arrival: then the record is unreadable, and [`refuse`] pushes it.
///
/// **Cost:** one pass over the line, no allocation but for a refusal.
pub fn arrival(line: &[u8]) -> Result<Timestamp, String> {
    if line.len() > LINE_BYTES_MAX {
        return Err(format!("a line of {} bytes", line.len()));
    }
    let text = std::str::from_utf8(line).map_err(|fault| format!("no UTF-8 at byte {}", fault.valid_up_to()))?;
    let mut scratch = String::new();
    let mut scan = Scanner::new(text);
    let (arrival, ts) = members(&mut scan, &mut scratch).map_err(|_| scan.fault())?;
    let mut instant = |token: Token| match token.is_text() {
        true => scalar::instant(scan.content(token, &mut scratch)),
        false => None,
    };
    if arrival.is_value() {
        return instant(arrival).ok_or_else(|| "`arrival` is no instant".into());
    }
    if ts.is_value() {
        return instant(ts).ok_or_else(|| "`ts` is no instant".into());
    }
    Err("neither `ts` nor `arrival`".into())
}

/// Pushes the one record of a line that has no arrival: a dead letter `unreadable`.
pub fn refuse(raw: &RawRecord<'_>, detail: String, batch: &mut Batch) {
    Mark::new(batch).push(raw, Err(Rejection::unreadable(detail)), batch);
}

fn members(scan: &mut Scanner<'_>, scratch: &mut String) -> Scan<(Token, Token)> {
    let (mut arrival, mut ts) = (Token::default(), Token::default());
    if scan.peek() != b'{' {
        return scan.fail("the value is no JSON object");
    }
    if scan.open(b'}') {
        loop {
            let key = scan.key()?;
            match scan.content(key, scratch) {
                "arrival" => arrival = scan.value(1)?,
                "ts" => ts = scan.value(1)?,
                _ => {
                    scan.value(1)?;
                }
            }
            if !scan.more(b'}')? {
                break;
            }
        }
    }
    scan.end()?;
    Ok((arrival, ts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::batch::Body;
    use crate::ids::Position;
    use crate::model::DeadLetterReason;

    #[test]
    fn lines_keep_their_numbers_and_lose_their_ends() {
        let found: Vec<_> = lines(b"{}\r\n\n  \n{\"a\":1}\nlast").collect();
        assert_eq!(found, [(1, b"{}".as_slice()), (4, b"{\"a\":1}"), (5, b"last")]);
    }

    #[test]
    fn arrival_comes_before_ts() {
        for (line, want) in [
            (r#"{"ts":"1970-01-01T00:00:01Z","arrival":"1970-01-01T00:00:02Z"}"#, Ok(2_000)),
            (r#"{"ts":"1970-01-01T00:00:01Z","arrival":null}"#, Ok(1_000)),
            (r#"{"ts":"x","arrival":"1970-01-01T00:00:02Z"}"#, Ok(2_000)),
            (r#"{"ts":"x"}"#, Err("`ts` is no instant")),
            (r#"{"ts":"1970-01-01T00:00:01Z","arrival":5}"#, Err("`arrival` is no instant")),
            (r#"{"customer":"c"}"#, Err("neither `ts` nor `arrival`")),
            ("[]", Err("the value is no JSON object at byte 0")),
            ("{", Err("expected a key in quotes at byte 1")),
        ] {
            assert_eq!(arrival(line.as_bytes()), want.map(Timestamp).map_err(str::to_owned), "{line}");
        }
        assert!(arrival(b"{\"\xff\":1}").is_err_and(|e| e.contains("byte 2")));
    }

    #[test]
    fn a_line_without_arrival_is_one_dead_letter() {
        let mut batch = Batch::default();
        let raw = RawRecord { position: Position::default(), arrival: Timestamp(5), key: None, value: Some(b"x") };
        refuse(&raw, "why".into(), &mut batch);
        match batch.records[..] {
            [record] => match record.body {
                Body::Rejected { reason, detail } => {
                    assert_eq!((reason, batch.text(detail)), (DeadLetterReason::Unreadable, "why"));
                    assert_eq!((record.arrival, record.body_hash), (Timestamp(5), xxhash_rust::xxh3::xxh3_64(b"x")));
                }
                other => panic!("{other:?}"),
            },
            _ => panic!("{} records", batch.records.len()),
        }
    }
}
