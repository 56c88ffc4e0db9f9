//! What a customer's state is known to lack after a change of definitions (LANGUAGE.md S39), and what is kept of features that no definition
//! reads any more.
//!
//! A feature that is new, or keeps more than before, has not seen the events of its customers' past. What it may lack are events at or before
//! one instant, so a window is complete once its old edge has passed that instant. Customers who came later lack nothing, and neither do
//! those whose old state was no fuller than it could be. Both sections are empty for nearly everybody and take no byte then.
//!
//! A feature that nobody reads is an *orphan* until the customer's next record: where its definition comes back before, nothing was missed.

use super::customer::Span;
use super::features::Reader;
use super::features::codec::{put_blob, put_fixed64, put_instant, put_u64};
use crate::time::Timestamp;

/// Events of one feature that may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub feature: u32,
    pub lack: Lack,
}

/// What may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lack {
    /// Only events with a `ts` at or before this.
    pub until: Timestamp,
    /// Counts cut at this number are exact all the same: a ring that held so many and now holds more.
    pub exact: u32,
    /// Windows that nothing ever leaves lack nothing, since the old state had a total; but those that a part of it has not entered yet hold it
    /// all the same, so they say nothing until their young edge has passed `until`.
    pub total: bool,
}

impl Lack {
    /// Everything up to an instant.
    pub fn everything(until: Timestamp) -> Lack {
        Lack { until, exact: 0, total: false }
    }

    /// Both lacks together.
    pub fn and(self, other: Lack) -> Lack {
        Lack { until: self.until.max(other.until), exact: self.exact.min(other.exact), total: self.total && other.total }
    }
}

/// The state of a feature that no definition reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Hash of its meaning and of how it is kept: only the very same feature can have the bytes.
    pub identity: u64,
    pub lack: Option<Lack>,
    pub bytes: Span,
}

/// Writes both sections; neighbours with the same instant share it.
pub fn encode(gaps: &[Gap], orphans: &[Orphan], base: Timestamp, bytes: &[u8], out: &mut Vec<u8>) {
    put_u64(out, gaps.len() as u64);
    let (mut feature, mut until) = (0, base);
    for gap in gaps {
        put_u64(out, u64::from(gap.feature - feature));
        put_lack(&gap.lack, until, out);
        (feature, until) = (gap.feature, gap.lack.until);
    }
    put_u64(out, orphans.len() as u64);
    for orphan in orphans {
        put_fixed64(out, orphan.identity);
        out.push(u8::from(orphan.lack.is_some()));
        if let Some(lack) = &orphan.lack {
            put_lack(lack, base, out);
        }
        put_blob(out, &bytes[orphan.bytes.start as usize..orphan.bytes.end as usize]);
    }
}

/// Reads what [`encode`] wrote; spans are places of the reader.
pub fn decode(gaps: &mut Vec<Gap>, orphans: &mut Vec<Orphan>, base: Timestamp, r: &mut Reader<'_>) {
    let (mut feature, mut until) = (0u32, base);
    for _ in 0..r.count(3) {
        feature = feature.wrapping_add(r.u64() as u32);
        let lack = read_lack(until, r);
        until = lack.until;
        gaps.push(Gap { feature, lack });
    }
    for _ in 0..r.count(10) {
        let identity = r.fixed64();
        let lack = (r.byte() == 1).then(|| read_lack(base, r));
        let n = r.count(1);
        let start = r.position() as u32;
        r.bytes(n);
        orphans.push(Orphan { identity, lack, bytes: Span { start, end: r.position() as u32 } });
    }
}

fn put_lack(lack: &Lack, base: Timestamp, out: &mut Vec<u8>) {
    put_u64(out, u64::from(lack.exact) << 1 | u64::from(lack.total));
    put_instant(out, base, lack.until);
}

fn read_lack(base: Timestamp, r: &mut Reader<'_>) -> Lack {
    let head = r.u64();
    Lack { exact: (head >> 1) as u32, total: head & 1 == 1, until: r.instant(base) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sections_read_back_and_equal_instants_cost_one_byte() {
        let base = Timestamp(1_767_571_200_000);
        let lack = Lack::everything(Timestamp(1_767_999_999_999));
        let gaps: Vec<Gap> = (0..40).map(|i| Gap { feature: 3 * i, lack: Lack { exact: i % 3, total: i % 2 == 0, ..lack } }).collect();
        let orphans = [
            Orphan { identity: u64::MAX, lack: None, bytes: Span { start: 0, end: 3 } },
            Orphan { identity: 7, lack: Some(lack), bytes: Span { start: 3, end: 3 } },
        ];
        let mut out = Vec::new();
        encode(&gaps, &orphans, base, b"abc", &mut out);
        assert!(out.len() < 3 * gaps.len() + 45, "{}", out.len());
        let (mut g, mut o, mut r) = (Vec::new(), Vec::new(), Reader::new(&out));
        decode(&mut g, &mut o, base, &mut r);
        assert!(r.done() && !r.failed());
        assert_eq!(g, gaps);
        let span = o[0].bytes;
        assert_eq!(
            (o.len(), o[0].identity, o[1].lack, &out[span.start as usize..span.end as usize]),
            (2, u64::MAX, Some(lack), &b"abc"[..])
        );
    }
}
