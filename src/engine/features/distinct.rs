//! Distinct values in windows with one edge: a hash per value with the instant that decides.
//!
//! For `ever` and `in last` that is the newest instant of the value, for `at least D ago` the oldest. A count against a constant needs only
//! that many values: the most recently seen (or the first seen). Others keep up to the exact entries and merge beyond them.

use super::codec::{Reader, put_fixed64, put_instant, put_u64};
use super::granules::Granules;
use super::ring::Keep;
use super::window::{AgeWindow, Ratio, Reading, Verdict, satisfies};
use crate::engine::gaps::Lack;
use crate::lang::definition::Rel;
use crate::time::Timestamp;

/// The same for every customer.
#[derive(Clone, Debug)]
pub struct DistinctPlan {
    keep: Keep,
    granules: Granules,
    capacity: usize,
    /// Beyond the capacity values are merged into buckets instead of dropped.
    open: bool,
}

impl DistinctPlan {
    /// Counts that are compared with constants only; `capacity` as for a ring ([`super::Ring::needed`]), but of any size.
    pub fn against_constants(keep: Keep, windows: &[AgeWindow], capacity: usize) -> DistinctPlan {
        DistinctPlan { keep, granules: Granules::new(windows), capacity: capacity.max(1), open: false }
    }

    /// Counts that are shown or computed with: exact up to `exact_entries` values.
    pub fn open(keep: Keep, windows: &[AgeWindow], exact_entries: usize) -> DistinctPlan {
        DistinctPlan { keep, granules: Granules::new(windows), capacity: exact_entries.max(1), open: true }
    }
}

/// Values whose hashes are not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    last: i64,
    span: u64,
    count: u64,
}

/// **Shape:** ascending instants, no hash twice; buckets are older than all of them (or, keeping the oldest, younger).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distinct {
    times: Vec<i64>,
    /// Beside `times`.
    hashes: Vec<u64>,
    buckets: Vec<Bucket>,
}

impl Distinct {
    pub fn clear(&mut self) {
        self.times.clear();
        self.hashes.clear();
        self.buckets.clear();
    }

    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// The youngest instant that is kept.
    pub fn newest(&self) -> Option<Timestamp> {
        self.times.last().copied().max(self.buckets.last().map(|b| b.last)).map(Timestamp)
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty() && self.buckets.is_empty()
    }

    /// Inserts an event whose property has the value with this hash; says whether what is kept has changed.
    ///
    /// **Cost:** O(K) over contiguous hashes.
    pub fn insert(&mut self, plan: &DistinctPlan, hash: u64, ts: Timestamp, floor: Timestamp) -> bool {
        let floor = floor.max(ts);
        let bounded = !plan.granules.unbounded;
        if bounded {
            self.prune(plan, floor);
            if plan.granules.is_past(ts, floor) {
                return false;
            }
        }
        if let Some(at) = self.hashes.iter().position(|h| *h == hash) {
            let settled = match plan.keep {
                Keep::Newest => ts.0 <= self.times[at],
                Keep::Oldest => ts.0 >= self.times[at],
            };
            if settled {
                return false;
            }
            self.times.remove(at);
            self.hashes.remove(at);
        }
        let at = match self.times.last() {
            Some(last) if *last > ts.0 => self.times.partition_point(|x| *x <= ts.0),
            _ => self.times.len(),
        };
        let full = self.times.len() >= plan.capacity;
        if full && !plan.open && at == (if plan.keep == Keep::Newest { 0 } else { self.times.len() }) {
            return false;
        }
        self.times.insert(at, ts.0);
        self.hashes.insert(at, hash);
        if full {
            self.overflow(plan, floor);
        }
        true
    }

    /// Lets go of values that no window can hold any more.
    pub fn prune(&mut self, plan: &DistinctPlan, floor: Timestamp) {
        if plan.granules.unbounded {
            return;
        }
        let past = self.times.iter().take_while(|ts| plan.granules.is_past(Timestamp(**ts), floor)).count();
        self.times.drain(..past);
        self.hashes.drain(..past);
        self.buckets.retain(|b| !plan.granules.is_past(Timestamp(b.last), floor));
    }

    /// Drops the values last seen not after `ts`; returns whether there were any. For states that keep the newest instants.
    pub fn keep_after(&mut self, ts: Timestamp) -> bool {
        let dropped = self.times.partition_point(|x| *x <= ts.0);
        self.times.drain(..dropped);
        self.hashes.drain(..dropped);
        let buckets = self.buckets.len();
        self.buckets.retain(|b| b.last > ts.0);
        dropped > 0 || self.buckets.len() < buckets
    }

    fn overflow(&mut self, plan: &DistinctPlan, floor: Timestamp) {
        let out = if plan.keep == Keep::Newest { 0 } else { self.times.len() - 1 };
        let last = self.times.remove(out);
        self.hashes.remove(out);
        if !plan.open {
            return;
        }
        let at = self.buckets.partition_point(|b| b.last <= last);
        self.buckets.insert(at, Bucket { last, span: 0, count: 1 });
        self.buckets.dedup_by(|young, old| {
            let first = old.last.saturating_sub_unsigned(old.span);
            if !plan.granules.same_cell(first, young.last, floor) {
                return false;
            }
            let first = first.min(young.last.saturating_sub_unsigned(young.span));
            *old = Bucket { last: young.last, span: young.last.abs_diff(first), count: old.count.saturating_add(young.count) };
            true
        });
    }

    /// Becomes what the plan `to` keeps and tells what may be missing.
    pub fn recut(&mut self, from: &DistinctPlan, to: &DistinctPlan, floor: Timestamp, lost: &mut Vec<Lack>) {
        self.prune(from, floor);
        if !from.open && (to.open || to.capacity > from.capacity) && self.times.len() >= from.capacity {
            let until = match from.keep {
                Keep::Newest => self.times.first().map_or(floor, |ts| Timestamp(*ts)),
                Keep::Oldest => floor,
            };
            lost.push(Lack { until, exact: from.capacity as u32, total: false });
        }
        let (old, new) = (&from.granules, &to.granules);
        if !old.unbounded && (new.unbounded || new.horizon > old.horizon) {
            lost.push(Lack { until: floor - old.horizon, exact: 0, total: false });
        }
        if !to.open {
            if let Some(last) = self.buckets.last() {
                lost.push(Lack { until: Timestamp(last.last), exact: self.times.len() as u32, total: false });
            }
            self.buckets.clear();
            let excess = self.times.len().saturating_sub(to.capacity);
            let out = match to.keep {
                Keep::Newest => 0..excess,
                Keep::Oldest => self.times.len() - excess..self.times.len(),
            };
            self.times.drain(out.clone());
            self.hashes.drain(out);
        }
    }

    /// Number of values in the window; saturates at the capacity where counts are compared with constants only.
    ///
    /// Beyond the exact entries it is approximate: a value that comes back after its hash was let go counts twice.
    pub fn read(&self, window: AgeWindow, t: Timestamp) -> Reading {
        if self.buckets.is_empty() {
            let range = window.range(&self.times, t);
            let value = Some(Ratio::whole((range.1 - range.0) as i128));
            return Reading { value, next: window.next_of_range(&self.times, range), approx: false };
        }
        let (times, before) = self.merged();
        let range = window.range(&times, t);
        let value = Some(Ratio::whole(i128::from(before[range.1] - before[range.0])));
        Reading { value, next: window.next_of_range(&times, range), approx: true }
    }

    /// Compares the number of values with a constant and walks to the first instant at which that turns.
    pub fn compare(&self, window: AgeWindow, t: Timestamp, rel: Rel, with: Ratio) -> Verdict {
        if self.buckets.is_empty() {
            let (holds, until) =
                window.walk(&self.times, t, |start, end| satisfies(Ratio::whole((end - start) as i128).compare(with), rel));
            return Verdict { holds, until, approx: false };
        }
        let (times, before) = self.merged();
        let (holds, until) =
            window.walk(&times, t, |start, end| satisfies(Ratio::whole(i128::from(before[end] - before[start])).compare(with), rel));
        Verdict { holds, until, approx: true }
    }

    /// All instants, ascending, and how many values stand before each of them (and after the last).
    fn merged(&self) -> (Vec<i64>, Vec<u64>) {
        let mut all: Vec<(i64, u64)> = self.buckets.iter().map(|b| (b.last, b.count)).collect();
        all.extend(self.times.iter().map(|ts| (*ts, 1)));
        all.sort_unstable();
        let mut before = vec![0u64];
        for (_, n) in &all {
            before.push(before[before.len() - 1].saturating_add(*n));
        }
        (all.into_iter().map(|(ts, _)| ts).collect(), before)
    }

    pub fn encode(&self, plan: &DistinctPlan, base: Timestamp, out: &mut Vec<u8>) {
        put_u64(out, self.times.len() as u64);
        let mut last = None;
        for (ts, hash) in self.times.iter().zip(&self.hashes).rev() {
            match last {
                None => put_instant(out, base, Timestamp(*ts)),
                Some(last) => put_u64(out, i64::wrapping_sub(last, *ts) as u64),
            }
            last = Some(*ts);
            put_fixed64(out, *hash);
        }
        if plan.open {
            put_u64(out, self.buckets.len() as u64);
            for b in &self.buckets {
                put_instant(out, base, Timestamp(b.last));
                put_u64(out, b.span);
                put_u64(out, b.count);
            }
        }
    }

    pub fn decode(&mut self, plan: &DistinctPlan, base: Timestamp, reader: &mut Reader<'_>) {
        self.clear();
        let mut last = None;
        for _ in 0..reader.count(9) {
            let ts = match last {
                None => reader.instant(base).0,
                Some(last) => i64::wrapping_sub(last, reader.u64() as i64),
            };
            last = Some(ts);
            self.times.push(ts);
            self.hashes.push(reader.fixed64());
        }
        self.times.reverse();
        self.hashes.reverse();
        if plan.open {
            for _ in 0..reader.count(3) {
                let (last, span, count) = (reader.instant(base).0, reader.u64(), reader.u64());
                self.buckets.push(Bucket { last, span, count });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::engine::features::Ring;
    use crate::time::Millis;

    const RELS: [Rel; 5] = [Rel::Eq, Rel::Lt, Rel::Le, Rel::Gt, Rel::Ge];

    #[test]
    fn distinct_counts_answer_like_the_whole_list() {
        for seed in 0..500u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (keep, window) = if rng.bool() {
                (Keep::Newest, if rng.u8(0..4) == 0 { AgeWindow::EVER } else { AgeWindow::last(Millis(rng.i64(1..60))) })
            } else {
                (Keep::Oldest, AgeWindow::older(Millis(rng.i64(0..40))))
            };
            let (rel, k) = (RELS[rng.usize(0..5)], rng.i64(0..5));
            let open = rng.bool();
            let plan = if open {
                DistinctPlan::open(keep, &[window], 256)
            } else {
                DistinctPlan::against_constants(keep, &[window], Ring::needed(rel, k))
            };
            let (mut state, mut all, mut newest) = (Distinct::default(), Vec::new(), i64::MIN);
            for _ in 0..rng.usize(1..24) {
                let (ts, value) = (rng.i64(0..80), rng.u64(0..7));
                newest = newest.max(ts);
                all.push((ts, value));
                let before = state.clone();
                if !state.insert(&plan, value, Timestamp(ts), Timestamp(newest)) && window == AgeWindow::EVER {
                    assert_eq!(state, before);
                }
                let mut bytes = Vec::new();
                state.encode(&plan, Timestamp(3), &mut bytes);
                let (mut reader, mut back) = (Reader::new(&bytes), Distinct::default());
                back.decode(&plan, Timestamp(3), &mut reader);
                assert!(reader.done() && !reader.failed() && back == state);
                let t = newest + rng.i64(0..60);
                let truth = |t: i64| {
                    let inside = all.iter().filter(|(ts, _)| window.contains(Timestamp(*ts), Timestamp(t)));
                    inside.map(|(_, v)| *v).collect::<BTreeSet<u64>>().len() as i64
                };
                if open {
                    assert_eq!(state.read(window, Timestamp(t)).value, Some(Ratio::whole(i128::from(truth(t)))), "seed {seed}");
                }
                let holds = |t: i64| satisfies(truth(t).cmp(&k), rel);
                let got = state.compare(window, Timestamp(t), rel, Ratio::whole(i128::from(k)));
                let flip = (t + 1..t + 200).find(|u| holds(*u) != holds(t)).map_or(Timestamp::MAX, Timestamp);
                assert_eq!((got.holds, got.until), (holds(t), flip), "seed {seed} {rel:?} {k} {window:?} {all:?} at {t}");
            }
        }
    }

    #[test]
    fn beyond_the_exact_entries_values_merge_and_say_so() {
        let window = AgeWindow::last(Millis(640_000));
        let plan = DistinctPlan::open(Keep::Newest, &[window], 16);
        let mut state = Distinct::default();
        for i in 0..5_000u64 {
            state.insert(&plan, i, Timestamp(i as i64 * 100), Timestamp(i as i64 * 100));
        }
        assert!(state.buckets.len() <= 64 * 2 + 2 && state.len() == 16, "{}", state.buckets.len());
        let reading = state.read(window, Timestamp(500_000));
        assert!(reading.approx);
        assert_eq!(reading.value, Some(Ratio::whole(5_000)));
    }
}
