//! The K newest, or K oldest, instants of a selector: all that `at least K`, `exactly K` and the like need (LANGUAGE.md 9.2).
//!
//! "At least K in last W" is "the K-th newest instant is younger than W", so older ones can never matter again, and late ones are
//! inserted in order; windows that nothing ever leaves but that events enter late (`at least D ago`) need the K oldest instead. Windows with
//! both a near and a far edge (`between`) need a [`super::Log`].

use super::codec::{Reader, put_instant, put_u64};
use super::window::{AgeWindow, Ratio, Verdict, satisfies};
use crate::engine::gaps::Lack;
use crate::lang::definition::Rel;
use crate::limits::RING_CONSTANT_MAX;
pub use crate::plan::feature::Keep;
use crate::time::Timestamp;

/// **Shape:** ascending instants, ties repeated, at most the capacity that [`insert`](Ring::insert) is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ring {
    times: Vec<i64>,
}

impl Ring {
    /// The capacity at which a comparison of the count with `k` is exact: k, or k + 1 where the relation tells k from more.
    pub fn needed(rel: Rel, k: i64) -> usize {
        let k = k.clamp(0, RING_CONSTANT_MAX) as usize;
        match rel {
            Rel::Ge | Rel::Lt => k.max(1),
            Rel::Eq | Rel::Gt | Rel::Le => k + 1,
        }
    }

    pub fn clear(&mut self) {
        self.times.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    pub fn newest(&self) -> Option<Timestamp> {
        self.times.last().map(|ts| Timestamp(*ts))
    }

    /// The newest at or before an instant.
    pub fn newest_until(&self, t: Timestamp) -> Option<Timestamp> {
        self.times.iter().rev().find(|ts| **ts <= t.0).map(|ts| Timestamp(*ts))
    }

    pub fn oldest(&self) -> Option<Timestamp> {
        self.times.first().map(|ts| Timestamp(*ts))
    }

    /// Inserts an event at its own place and says whether what is kept has changed.
    pub fn insert(&mut self, keep: Keep, capacity: usize, ts: Timestamp) -> bool {
        let full = self.times.len() >= capacity;
        match keep {
            Keep::Newest => {
                if full && self.times.first().is_none_or(|oldest| ts.0 <= *oldest) {
                    return false;
                }
                let at = self.times.iter().rposition(|x| *x <= ts.0).map_or(0, |i| i + 1);
                if full {
                    self.times.copy_within(1..at, 0);
                    self.times[at - 1] = ts.0;
                } else {
                    self.times.insert(at, ts.0);
                }
            }
            Keep::Oldest => {
                if full && self.times.last().is_none_or(|newest| ts.0 >= *newest) {
                    return false;
                }
                let at = self.times.partition_point(|x| *x <= ts.0);
                self.times.insert(at, ts.0);
                self.times.truncate(capacity);
            }
        }
        true
    }

    /// Drops what is not younger than `ts`; returns whether anything was.
    pub fn keep_after(&mut self, ts: Timestamp) -> bool {
        let dropped = self.times.partition_point(|x| *x <= ts.0);
        self.times.drain(..dropped);
        dropped > 0
    }

    /// Becomes what another capacity keeps and tells what may be missing; `at` is the present instant.
    pub fn recut(&mut self, keep: Keep, from: usize, to: usize, at: Timestamp, lost: &mut Vec<Lack>) {
        if to < self.times.len() {
            match keep {
                Keep::Newest => drop(self.times.drain(..self.times.len() - to)),
                Keep::Oldest => self.times.truncate(to),
            }
        }
        if to > from && self.times.len() >= from {
            // One that was full may have let go of older ones (or of younger ones, keeping the oldest).
            let until = match keep {
                Keep::Newest => self.oldest().unwrap_or(at),
                Keep::Oldest => at,
            };
            lost.push(Lack { until, exact: from as u32, total: false });
        }
    }

    /// Whether it holds as many as it can, all of them after an instant.
    pub fn is_full_after(&self, capacity: usize, instant: Timestamp) -> bool {
        self.times.len() >= capacity && self.times.first().is_some_and(|oldest| *oldest > instant.0)
    }

    /// Events of the window at `t`; saturates at the capacity.
    pub fn count(&self, window: AgeWindow, t: Timestamp) -> usize {
        let (start, end) = window.range(&self.times, t);
        end - start
    }

    /// The first instant after `t` at which an event of the window at `t` is outside of it.
    pub fn next_leaving(&self, window: AgeWindow, t: Timestamp) -> Timestamp {
        let (start, end) = window.range(&self.times, t);
        if start == end { Timestamp::MAX } else { window.leaves(Timestamp(self.times[start])) }
    }

    /// Compares the count with a constant.
    ///
    /// **Cost:** O(log K), and O(K) for the walk to the next flip; allocates nothing.
    pub fn compare(&self, window: AgeWindow, t: Timestamp, rel: Rel, k: Ratio) -> Verdict {
        let (holds, until) = window.walk(&self.times, t, |start, end| satisfies(Ratio::whole((end - start) as i128).compare(k), rel));
        Verdict { holds, until, approx: false }
    }

    pub fn encode(&self, base: Timestamp, out: &mut Vec<u8>) {
        put_u64(out, self.times.len() as u64);
        // From the newest back: the first is near the base or far from it, the rest are small differences.
        let mut last = base;
        for (i, ts) in self.times.iter().rev().enumerate() {
            if i == 0 {
                put_instant(out, base, Timestamp(*ts));
            } else {
                put_u64(out, last.0.wrapping_sub(*ts) as u64);
            }
            last = Timestamp(*ts);
        }
    }

    pub fn decode(&mut self, base: Timestamp, reader: &mut Reader<'_>) {
        self.times.clear();
        let n = reader.count(1);
        let mut last = base.0;
        for i in 0..n {
            last = if i == 0 { reader.instant(base).0 } else { last.wrapping_sub(reader.u64() as i64) };
            self.times.push(last);
        }
        self.times.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Millis;

    const RELS: [Rel; 5] = [Rel::Eq, Rel::Lt, Rel::Le, Rel::Gt, Rel::Ge];

    /// A ring of the needed capacity answers like the whole list, at every instant from the newest event on, in any order of arrival.
    #[test]
    fn a_ring_answers_like_the_whole_list() {
        for seed in 0..600u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (rel, k) = (RELS[rng.usize(0..5)], rng.i64(0..6));
            let (keep, window) = if rng.bool() {
                (Keep::Newest, if rng.u8(0..5) == 0 { AgeWindow::EVER } else { AgeWindow::last(Millis(rng.i64(1..40))) })
            } else {
                (Keep::Oldest, AgeWindow::older(Millis(rng.i64(0..40))))
            };
            let capacity = Ring::needed(rel, k);
            let (mut ring, mut all, mut bytes) = (Ring::default(), Vec::new(), Vec::new());
            for _ in 0..rng.usize(0..14) {
                let ts = rng.i64(-50..50);
                let before = ring.clone();
                all.push(ts);
                assert_eq!(ring.insert(keep, capacity, Timestamp(ts)), ring != before, "seed {seed}");
                bytes.clear();
                ring.encode(Timestamp(17), &mut bytes);
                let mut reader = Reader::new(&bytes);
                let mut back = Ring::default();
                back.decode(Timestamp(17), &mut reader);
                assert!(reader.done() && !reader.failed());
                assert_eq!(back, ring);
                let newest = all.iter().max().copied().unwrap_or(0);
                let t = newest + rng.i64(0..60);
                let truth = |t: i64| {
                    let n = all.iter().filter(|ts| window.contains(Timestamp(**ts), Timestamp(t))).count() as i64;
                    satisfies(n.cmp(&k), rel)
                };
                let got = ring.compare(window, Timestamp(t), rel, Ratio::whole(i128::from(k)));
                let flip = (t + 1..t + 150).find(|u| truth(*u) != truth(t)).map_or(Timestamp::MAX, Timestamp);
                assert_eq!((got.holds, got.until), (truth(t), flip), "seed {seed} {rel:?} {k} {window:?} {all:?} at {t}");
            }
        }
    }
}
