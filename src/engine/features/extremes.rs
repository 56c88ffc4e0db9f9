//! `min` or `max` in windows that every event enters at once (`ever`, `in last`): the monotone queue, with late inserts.
//!
//! An entry that a newer one equals or beats can never be the extreme of such a window again, so values get strictly worse from old to
//! young, and the extreme of a window is its oldest entry.

use super::codec::{Reader, put_i64, put_instant, put_u64};
use super::granules::Granules;
use super::window::{AgeWindow, Ratio, Reading, Verdict, satisfies};
use crate::engine::gaps::Lack;
use crate::lang::definition::Rel;
use crate::time::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extreme {
    Min,
    Max,
}

impl Extreme {
    fn beats(self, a: i64, b: i64) -> bool {
        match self {
            Extreme::Min => a < b,
            Extreme::Max => a > b,
        }
    }

    fn better(self, a: i64, b: i64) -> i64 {
        if self.beats(a, b) { a } else { b }
    }
}

/// The same for every customer.
#[derive(Clone, Debug)]
pub struct ExtremesPlan {
    which: Extreme,
    granules: Granules,
    exact_entries: usize,
}

impl ExtremesPlan {
    /// **Shape:** windows with near edge 0.
    pub fn new(which: Extreme, windows: &[AgeWindow], exact_entries: usize) -> ExtremesPlan {
        debug_assert!(windows.iter().all(|w| w.near.0 == 0), "windows with a near edge need a Log");
        ExtremesPlan { which, granules: Granules::new(windows), exact_entries: exact_entries.max(1) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// Of merged entries the last.
    ts: i64,
    /// Of merged entries the best.
    value: i64,
    /// Last minus first instant of merged entries.
    span: u64,
}

/// **Shape:** instants strictly ascend, values get strictly worse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extremes {
    /// The extreme of what no edge passes over any more; only where a window has no far edge.
    settled: Option<i64>,
    entries: Vec<Entry>,
}

impl Extremes {
    pub fn clear(&mut self) {
        self.settled = None;
        self.entries.clear();
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The youngest instant that is kept.
    pub fn newest(&self) -> Option<Timestamp> {
        self.entries.last().map(|e| Timestamp(e.ts))
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.settled.is_none()
    }

    /// Inserts an event at its own place and says whether any evaluation can see it.
    ///
    /// **Cost:** O(1) amortised for an event in order.
    pub fn insert(&mut self, plan: &ExtremesPlan, ts: Timestamp, value: i64, floor: Timestamp) -> bool {
        let floor = floor.max(ts);
        self.prune(plan, floor);
        if plan.granules.is_past(ts, floor) {
            return plan.granules.unbounded && self.settle(plan, value);
        }
        // Newer or as new, and as good: it never shows.
        let from = self.entries.partition_point(|e| e.ts < ts.0);
        if self.entries.get(from).is_some_and(|e| !plan.which.beats(value, e.value)) {
            return false;
        }
        let after = from + usize::from(self.entries.get(from).is_some_and(|e| e.ts == ts.0));
        let beaten = self.entries[..after].iter().rev().take_while(|e| !plan.which.beats(e.value, value)).count();
        self.entries.splice(after - beaten..after, [Entry { ts: ts.0, value, span: 0 }]);
        if self.entries.len() > plan.exact_entries {
            self.merge(plan, floor);
        }
        true
    }

    fn settle(&mut self, plan: &ExtremesPlan, value: i64) -> bool {
        let best = self.settled.map_or(value, |s| plan.which.better(value, s));
        self.settled.replace(best) != Some(best)
    }

    /// Lets go of what no evaluation at `floor` or later can tell from having settled.
    pub fn prune(&mut self, plan: &ExtremesPlan, floor: Timestamp) {
        let past = self.entries.iter().take_while(|e| plan.granules.is_past(Timestamp(e.ts), floor)).count();
        if past > 0 {
            if plan.granules.unbounded {
                // The oldest is the best of them.
                let value = self.entries[0].value;
                self.settle(plan, value);
            }
            self.entries.drain(..past);
        }
    }

    /// Becomes what the plan `to` keeps and tells what may be missing.
    pub fn recut(&mut self, from: &ExtremesPlan, to: &ExtremesPlan, floor: Timestamp, lost: &mut Vec<Lack>) {
        self.prune(from, floor);
        let (old, new) = (&from.granules, &to.granules);
        let shorter = new.horizon > old.horizon || (new.unbounded && !old.unbounded);
        if shorter && (!old.unbounded || self.settled.is_some()) {
            lost.push(Lack { until: floor - old.horizon, exact: 0, total: old.unbounded });
        }
        if !new.unbounded {
            self.settled = None;
        }
    }

    /// Merges what stands before the exact entries; the best value stays until the last instant of its bucket leaves.
    fn merge(&mut self, plan: &ExtremesPlan, floor: Timestamp) {
        let old = self.entries.len() - plan.exact_entries;
        let mut kept: Vec<Entry> = Vec::with_capacity(old);
        for e in &self.entries[..old] {
            if let Some(b) = kept.last_mut() {
                let first = b.ts.saturating_sub_unsigned(b.span);
                if plan.granules.same_cell(first, e.ts, floor) {
                    b.span = e.ts.abs_diff(first);
                    b.ts = e.ts;
                    continue;
                }
            }
            kept.push(*e);
        }
        self.entries.splice(..old, kept);
    }

    fn value(&self, plan: &ExtremesPlan, window: AgeWindow, start: usize, end: usize) -> Option<i64> {
        let newest = (start < end).then(|| self.entries[start].value);
        match (newest, self.settled.filter(|_| window.is_unbounded())) {
            (Some(a), Some(b)) => Some(plan.which.better(a, b)),
            (a, b) => a.or(b),
        }
    }

    fn approx(&self, window: AgeWindow, t: Timestamp) -> bool {
        let edge = t - window.far;
        !window.is_unbounded() && self.entries.iter().any(|e| e.span > 0 && edge.0 <= e.ts && e.ts.abs_diff(edge.0) <= e.span)
    }

    /// Calls `then` with the instants.
    fn with_times<T>(&self, then: impl FnOnce(&[i64]) -> T) -> T {
        let mut few = [0i64; 16];
        if self.entries.len() <= few.len() {
            for (slot, e) in few.iter_mut().zip(&self.entries) {
                *slot = e.ts;
            }
            return then(&few[..self.entries.len()]);
        }
        then(&self.entries.iter().map(|e| e.ts).collect::<Vec<i64>>())
    }

    /// The extreme at `t`, missing of nothing, and when the queue changes next.
    pub fn read(&self, plan: &ExtremesPlan, window: AgeWindow, t: Timestamp) -> Reading {
        self.with_times(|times| {
            let range = window.range(times, t);
            Reading {
                value: self.value(plan, window, range.0, range.1).map(|v| Ratio::whole(i128::from(v))),
                next: window.next_of_range(times, range),
                approx: self.approx(window, t),
            }
        })
    }

    /// Compares with a constant and walks to the first instant at which that turns; a missing value compares false.
    pub fn compare(&self, plan: &ExtremesPlan, window: AgeWindow, t: Timestamp, rel: Rel, with: Ratio) -> Verdict {
        let (holds, until) = self.with_times(|times| {
            window.walk(times, t, |start, end| {
                let value = self.value(plan, window, start, end);
                value.is_some_and(|v| satisfies(Ratio::whole(i128::from(v)).compare(with), rel))
            })
        });
        Verdict { holds, until, approx: self.approx(window, t) }
    }

    pub fn encode(&self, plan: &ExtremesPlan, base: Timestamp, out: &mut Vec<u8>) {
        if plan.granules.unbounded {
            out.push(u8::from(self.settled.is_some()));
            if let Some(settled) = self.settled {
                put_i64(out, settled);
            }
        }
        // The merged ones stand first; most customers have none.
        let merged = self.entries.iter().rposition(|e| e.span > 0).map_or(0, |i| i + 1);
        put_u64(out, self.entries.len() as u64);
        if self.entries.is_empty() {
            return;
        }
        put_u64(out, merged as u64);
        let mut last = None;
        for (i, e) in self.entries.iter().enumerate().rev() {
            match last {
                None => put_instant(out, base, Timestamp(e.ts)),
                Some(last) => put_u64(out, i64::wrapping_sub(last, e.ts) as u64),
            }
            last = Some(e.ts);
            put_i64(out, e.value);
            if i < merged {
                put_u64(out, e.span);
            }
        }
    }

    pub fn decode(&mut self, plan: &ExtremesPlan, base: Timestamp, reader: &mut Reader<'_>) {
        self.clear();
        if plan.granules.unbounded && reader.byte() == 1 {
            self.settled = Some(reader.i64());
        }
        let n = reader.count(2);
        if n == 0 {
            return;
        }
        let merged = reader.u64();
        let mut last = None;
        for i in (0..n).rev() {
            let ts = match last {
                None => reader.instant(base).0,
                Some(last) => i64::wrapping_sub(last, reader.u64() as i64),
            };
            last = Some(ts);
            let value = reader.i64();
            let span = if (i as u64) < merged { reader.u64() } else { 0 };
            self.entries.push(Entry { ts, value, span });
        }
        self.entries.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Millis;

    const RELS: [Rel; 5] = [Rel::Eq, Rel::Lt, Rel::Le, Rel::Gt, Rel::Ge];

    #[test]
    fn the_queue_answers_like_the_whole_list() {
        for seed in 0..500u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let which = if rng.bool() { Extreme::Min } else { Extreme::Max };
            let mut windows = vec![AgeWindow::last(Millis(rng.i64(1..40))), AgeWindow::last(Millis(rng.i64(1..80)))];
            if rng.bool() {
                windows.push(AgeWindow::EVER);
            }
            let plan = ExtremesPlan::new(which, &windows, 256);
            let (mut queue, mut all) = (Extremes::default(), Vec::new());
            let mut newest = i64::MIN;
            for _ in 0..rng.usize(1..20) {
                let (ts, value) = (rng.i64(0..80), rng.i64(-5..5));
                newest = newest.max(ts);
                all.push((ts, value));
                queue.insert(&plan, Timestamp(ts), value, Timestamp(newest));
                let mut bytes = Vec::new();
                queue.encode(&plan, Timestamp(3), &mut bytes);
                let (mut reader, mut back) = (Reader::new(&bytes), Extremes::default());
                back.decode(&plan, Timestamp(3), &mut reader);
                assert!(reader.done() && !reader.failed() && back == queue);
                let (window, t) = (windows[rng.usize(0..windows.len())], newest + rng.i64(0..60));
                let truth = |t: i64| {
                    let inside = all.iter().filter(|(ts, _)| window.contains(Timestamp(*ts), Timestamp(t))).map(|(_, v)| *v);
                    if which == Extreme::Min { inside.min() } else { inside.max() }
                };
                let got = queue.read(&plan, window, Timestamp(t));
                assert_eq!(got.value, truth(t).map(|v| Ratio::whole(i128::from(v))), "seed {seed} {window:?} {all:?} at {t}");
                assert!(!got.approx);
                let (rel, with) = (RELS[rng.usize(0..5)], rng.i64(-5..5));
                let holds = |t: i64| truth(t).is_some_and(|v| satisfies(v.cmp(&with), rel));
                let verdict = queue.compare(&plan, window, Timestamp(t), rel, Ratio::whole(i128::from(with)));
                let flip = (t + 1..t + 200).find(|u| holds(*u) != holds(t)).map_or(Timestamp::MAX, Timestamp);
                assert_eq!((verdict.holds, verdict.until), (holds(t), flip), "seed {seed} {window:?} {all:?} at {t}");
            }
        }
    }

    #[test]
    fn merged_entries_leave_at_most_a_64th_late_and_never_early() {
        let window = AgeWindow::last(Millis(64_000));
        let plan = ExtremesPlan::new(Extreme::Max, &[window], 4);
        let mut queue = Extremes::default();
        for i in 0..3_000i64 {
            queue.insert(&plan, Timestamp(i * 10), 10_000 - i, Timestamp(i * 10));
        }
        assert!(queue.len() <= 4 + 64, "{}", queue.len());
        let mut approximate = false;
        for t in (29_990..100_000).step_by(7) {
            let reading = queue.read(&plan, window, Timestamp(t));
            let exact = |late: i64| (0..3_000i64).filter(|i| t - i * 10 < 64_000 + late).map(|i| 10_000 - i).max();
            let got = reading.value.map(|v| v.num as i64);
            assert!(got >= exact(0) && got <= exact(1_000), "at {t}: {got:?}");
            assert!(reading.approx || got == exact(0));
            approximate |= reading.approx;
        }
        assert!(approximate);
    }
}
