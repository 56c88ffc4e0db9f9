//! Instants and values as long as some window needs them: any quantity, any window by age, exact up to a cap and merged beyond it
//! (LANGUAGE.md S9, 9.3).
//!
//! Three parts, from old to young: what no edge passes over any more (kept only for windows without far edge), merged buckets, single
//! entries. A bucket enters and leaves with its *last* millisecond.

mod recut;

use super::codec::{Reader, put_fixed64, put_i64, put_i128, put_instant, put_u64};
use super::counter::Quantity;
use super::granules::Granules;
use super::window::{AgeWindow, Ratio, Reading, Verdict, satisfies};
use crate::lang::definition::Rel;
use crate::limits::SINCE_BUCKETS_MAX;
pub use crate::plan::feature::Values;
use crate::time::Timestamp;

/// What the plan knows of a log; the same for every customer.
#[derive(Clone, Debug)]
pub struct LogPlan {
    granules: Granules,
    values: Values,
    /// Some window asks for `min` or `max`: buckets and what has settled keep them.
    extremes: bool,
    exact_entries: usize,
    /// The count is compared only with constants, of which this is the capacity ([`super::Ring::needed`]), in one window with the length
    /// given: entries in whose every such window there are as many others may go, and nothing is ever merged.
    thin: Option<(usize, i64)>,
    /// Length of the shortest bounded window.
    shortest: i64,
    /// Nothing settles, since a mark may take entries of any age; what is beyond the exact entries is merged by number.
    since_mark: bool,
}

impl LogPlan {
    pub fn new(windows: &[AgeWindow], values: Values, extremes: bool, exact_entries: usize) -> LogPlan {
        let bounded = windows.iter().filter(|w| !w.is_unbounded());
        let shortest = bounded.map(|w| w.far.0.saturating_sub(w.near.0)).min().unwrap_or(0);
        let granules = Granules::new(windows);
        debug_assert!(values != Values::Hashes || !granules.unbounded, "distinct values without far edge need a Distinct");
        LogPlan { granules, values, extremes, exact_entries: exact_entries.max(1), thin: None, shortest, since_mark: false }
    }

    /// A log of what is after a mark ([`Log::keep_after`]), asked with [`AgeWindow::EVER`].
    pub fn since_mark(values: Values, extremes: bool, exact_entries: usize) -> LogPlan {
        LogPlan { since_mark: true, granules: Granules::endless(), ..LogPlan::new(&[], values, extremes, exact_entries) }
    }

    /// A log for counts between two ages against constants: exact however many events there are. `capacity` as for a ring.
    pub fn thinned(window: AgeWindow, capacity: usize) -> LogPlan {
        let length = window.far.0.saturating_sub(window.near.0);
        LogPlan { thin: Some((capacity, length)), ..LogPlan::new(&[window], Values::None, false, usize::MAX) }
    }
}

/// Aggregates of a set of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Total {
    count: u64,
    sum: i128,
}

/// Several entries as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    last: i64,
    /// Last minus first instant.
    span: u64,
    total: Total,
    min: i64,
    max: i64,
}

impl Bucket {
    fn first(&self) -> i64 {
        self.last.saturating_sub_unsigned(self.span)
    }

    /// Adds the bucket after it; a late entry may lie inside that one.
    fn absorb(&mut self, young: Bucket) {
        self.span = young.last.abs_diff(self.first().min(young.first()));
        self.last = young.last;
        self.total.count = self.total.count.saturating_add(young.total.count);
        self.total.sum = self.total.sum.saturating_add(young.total.sum);
        self.min = self.min.min(young.min);
        self.max = self.max.max(young.max);
    }
}

/// **Shape:** every bucket's last instant is at or before every single entry; both ascend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Beyond every edge.
    settled: Total,
    /// Extremes of what has settled, where `settled.count > 0`.
    settled_extremes: (i64, i64),
    buckets: Vec<Bucket>,
    times: Vec<i64>,
    /// Beside `times`; zeroes where the plan keeps none.
    values: Vec<i64>,
}

impl Log {
    pub fn clear(&mut self) {
        self.settled = Total::default();
        self.settled_extremes = (0, 0);
        self.buckets.clear();
        self.times.clear();
        self.values.clear();
    }

    /// Single entries and buckets that are kept.
    pub fn len(&self) -> usize {
        self.times.len() + self.buckets.len()
    }

    /// The youngest instant that is kept.
    pub fn newest(&self) -> Option<Timestamp> {
        self.times.last().copied().or(self.buckets.last().map(|b| b.last)).map(Timestamp)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.settled.count == 0
    }

    /// Inserts an event at its own place; `value` is 0 where the plan keeps none, `floor` as in the module's note. Returns whether any
    /// evaluation can see it.
    ///
    /// **Cost:** O(1) for an event in order, O(n) for a late one.
    pub fn insert(&mut self, plan: &LogPlan, ts: Timestamp, value: i64, floor: Timestamp) -> bool {
        let floor = floor.max(ts);
        self.prune(plan, floor);
        if plan.granules.is_past(ts, floor) {
            if plan.granules.unbounded {
                self.settle(Total { count: 1, sum: i128::from(value) }, value, value);
            }
            return plan.granules.unbounded;
        }
        if self.buckets.last().is_some_and(|b| ts.0 <= b.last) {
            let single = Bucket { last: ts.0, span: 0, total: Total { count: 1, sum: i128::from(value) }, min: value, max: value };
            let at = self.buckets.partition_point(|b| b.last <= ts.0);
            self.buckets.insert(at, single);
            self.merge_buckets(plan, floor);
            return true;
        }
        let at = match self.times.last() {
            Some(last) if *last > ts.0 => self.times.partition_point(|x| *x <= ts.0),
            _ => self.times.len(),
        };
        self.times.insert(at, ts.0);
        self.values.insert(at, value);
        if plan.values == Values::Hashes {
            self.thin_value(value, plan.shortest);
        }
        match plan.thin {
            Some((capacity, length)) => self.thin(capacity, length),
            None => self.spill(plan, floor),
        }
        true
    }

    /// Lets go of what no evaluation at `floor` or later can tell from having settled.
    pub fn prune(&mut self, plan: &LogPlan, floor: Timestamp) {
        let past = self.buckets.iter().take_while(|b| plan.granules.is_past(Timestamp(b.last), floor)).count();
        if past > 0 {
            for i in 0..past {
                let b = self.buckets[i];
                if plan.granules.unbounded {
                    self.settle(b.total, b.min, b.max);
                }
            }
            self.buckets.drain(..past);
        }
        let past = self.times.iter().take_while(|ts| plan.granules.is_past(Timestamp(**ts), floor)).count();
        if past > 0 {
            for i in 0..past {
                let value = self.values[i];
                if plan.granules.unbounded {
                    self.settle(Total { count: 1, sum: i128::from(value) }, value, value);
                }
            }
            self.times.drain(..past);
            self.values.drain(..past);
        }
    }

    fn settle(&mut self, total: Total, min: i64, max: i64) {
        let (low, high) = if self.settled.count == 0 { (min, max) } else { self.settled_extremes };
        self.settled_extremes = (low.min(min), high.max(max));
        self.settled.count = self.settled.count.saturating_add(total.count);
        self.settled.sum = self.settled.sum.saturating_add(total.sum);
    }

    fn spill(&mut self, plan: &LogPlan, floor: Timestamp) {
        let excess = self.times.len().saturating_sub(plan.exact_entries);
        if excess == 0 {
            return;
        }
        for i in 0..excess {
            let (last, value) = (self.times[i], self.values[i]);
            self.buckets.push(Bucket { last, span: 0, total: Total { count: 1, sum: i128::from(value) }, min: value, max: value });
        }
        self.times.drain(..excess);
        self.values.drain(..excess);
        self.merge_buckets(plan, floor);
    }

    fn merge_buckets(&mut self, plan: &LogPlan, floor: Timestamp) {
        if plan.since_mark {
            return self.merge_nearest();
        }
        self.buckets.dedup_by(|young, old| {
            if !plan.granules.same_cell(old.first(), young.last, floor) {
                return false;
            }
            old.absorb(*young);
            true
        });
    }

    /// Keeps the number of buckets down by merging the neighbours that span least together, the oldest of equal ones.
    fn merge_nearest(&mut self) {
        while self.buckets.len() > SINCE_BUCKETS_MAX {
            let span = |i: usize| self.buckets[i + 1].last.abs_diff(self.buckets[i].first().min(self.buckets[i + 1].first()));
            let Some(at) = (0..self.buckets.len() - 1).min_by_key(|i| span(*i)) else { return };
            let young = self.buckets.remove(at + 1);
            self.buckets[at].absorb(young);
        }
    }

    /// Drops what is not younger than `ts`; returns whether anything was. A merged bucket goes once its last instant does.
    pub fn keep_after(&mut self, ts: Timestamp) -> bool {
        let dropped = self.times.partition_point(|x| *x <= ts.0);
        self.times.drain(..dropped);
        self.values.drain(..dropped);
        let buckets = self.buckets.partition_point(|b| b.last <= ts.0);
        self.buckets.drain(..buckets);
        dropped + buckets > 0
    }

    /// Whether an instant cuts a bucket: what is after it is known only about.
    pub fn is_cut_by(&self, ts: Timestamp) -> bool {
        self.buckets.iter().any(|b| b.first() <= ts.0 && ts.0 < b.last)
    }

    /// Drops entries that no window of `length` can need to tell its count, cut at `capacity`.
    ///
    /// A window that holds entry i and fewer than `capacity` others has x of them before it and y after it, x + y < capacity, and so lies
    /// strictly between entries i-x-1 and i+y+1; where those are at most `length` apart for every split, there is no such window.
    fn thin(&mut self, capacity: usize, length: i64) {
        if capacity == 0 {
            self.times.clear();
            self.values.clear();
            return;
        }
        let mut i = capacity;
        while i + capacity < self.times.len() {
            let times = &self.times;
            let droppable = (0..capacity).all(|x| times[i + capacity - x].saturating_sub(times[i - x - 1]) <= length);
            if droppable {
                self.times.remove(i);
                self.values.remove(i);
            } else {
                i += 1;
            }
        }
    }

    /// Of three entries of one value within `length` the middle one can go: a window that holds it holds one of the others.
    fn thin_value(&mut self, value: i64, length: i64) {
        let (mut before, mut middle): (Option<i64>, Option<usize>) = (None, None);
        for i in 0..self.times.len() {
            if self.values[i] != value {
                continue;
            }
            if let (Some(first), Some(at)) = (before, middle)
                && self.times[i].saturating_sub(first) <= length
            {
                self.times.remove(at);
                self.values.remove(at);
                return;
            }
            before = middle.map(|at| self.times[at]);
            middle = Some(i);
        }
    }

    /// Instants of buckets and entries as one ascending list.
    fn with_times<T>(&self, then: impl FnOnce(&[i64]) -> T) -> T {
        if self.buckets.is_empty() {
            return then(&self.times);
        }
        let all: Vec<i64> = self.buckets.iter().map(|b| b.last).chain(self.times.iter().copied()).collect();
        then(&all)
    }

    /// What the i-th of buckets and entries together adds.
    fn total(&self, i: usize) -> Total {
        match self.buckets.get(i) {
            Some(b) => b.total,
            None => Total { count: 1, sum: i128::from(self.values[i - self.buckets.len()]) },
        }
    }

    fn extreme(&self, window: AgeWindow, max: bool, (start, end): (usize, usize)) -> Option<i64> {
        let nb = self.buckets.len();
        let in_buckets = self.buckets[start.min(nb)..end.min(nb)].iter().map(|b| if max { b.max } else { b.min });
        let single = self.values[start.max(nb) - nb..end.max(nb) - nb].iter().copied();
        let settled = (window.is_unbounded() && self.settled.count > 0).then_some(if max {
            self.settled_extremes.1
        } else {
            self.settled_extremes.0
        });
        let all = settled.into_iter().chain(in_buckets).chain(single);
        if max { all.max() } else { all.min() }
    }

    /// Whether an edge of the window cuts a bucket or has just passed over its last instant; distinct counts are so with any bucket.
    fn approx(&self, quantity: Quantity, window: AgeWindow, t: Timestamp) -> bool {
        if quantity == Quantity::Distinct && !self.buckets.is_empty() {
            return true;
        }
        let cuts = |edge: Timestamp| self.buckets.iter().any(|b| b.span > 0 && edge.0 <= b.last && b.last.abs_diff(edge.0) <= b.span);
        (!self.buckets.is_empty()) && ((!window.is_unbounded() && cuts(t - window.far)) || (window.near.0 > 0 && cuts(t - window.near)))
    }

    /// The quantity at `t`, and when the window's contents change next.
    pub fn read(&self, quantity: Quantity, window: AgeWindow, t: Timestamp) -> Reading {
        self.with_times(|times| {
            let range = window.range(times, t);
            let mut view = View::new(self, quantity, window);
            Reading { value: view.value(range), next: window.next_of_range(times, range), approx: self.approx(quantity, window, t) }
        })
    }

    /// Compares the quantity with a constant and walks to the first instant at which the comparison turns; a missing value compares false.
    ///
    /// **Cost:** O(n) for counts, sums, averages and distinct counts; O(n) per step for extremes.
    pub fn compare(&self, quantity: Quantity, window: AgeWindow, t: Timestamp, rel: Rel, with: Ratio) -> Verdict {
        let (holds, until) = self.with_times(|times| {
            let mut view = View::new(self, quantity, window);
            window.walk(times, t, |start, end| view.value((start, end)).is_some_and(|v| satisfies(v.compare(with), rel)))
        });
        Verdict { holds, until, approx: self.approx(quantity, window, t) }
    }

    pub fn encode(&self, plan: &LogPlan, base: Timestamp, out: &mut Vec<u8>) {
        if plan.granules.unbounded {
            self.settled.encode(plan, out);
            if plan.extremes && self.settled.count > 0 {
                put_i64(out, self.settled_extremes.0);
                put_i64(out, self.settled_extremes.1);
            }
        }
        put_u64(out, self.times.len() as u64);
        let mut last = None;
        let mut put_time = |out: &mut Vec<u8>, ts: i64| {
            match last {
                None => put_instant(out, base, Timestamp(ts)),
                Some(last) => put_u64(out, i64::wrapping_sub(last, ts) as u64),
            }
            last = Some(ts);
        };
        // From the newest back: the first is near the base or far from it, the rest are small differences.
        for (ts, value) in self.times.iter().zip(&self.values).rev() {
            put_time(out, *ts);
            match plan.values {
                Values::None => {}
                Values::Numbers => put_i64(out, *value),
                Values::Hashes => put_fixed64(out, *value as u64),
            }
        }
        if plan.thin.is_some() {
            return;
        }
        put_u64(out, self.buckets.len() as u64);
        for b in self.buckets.iter().rev() {
            put_time(out, b.last);
            put_u64(out, b.span);
            b.total.encode(plan, out);
            if plan.extremes {
                put_i64(out, b.min);
                put_i64(out, b.max);
            }
        }
    }

    pub fn decode(&mut self, plan: &LogPlan, base: Timestamp, reader: &mut Reader<'_>) {
        self.clear();
        if plan.granules.unbounded {
            self.settled = Total::decode(plan, reader);
            if plan.extremes && self.settled.count > 0 {
                self.settled_extremes = (reader.i64(), reader.i64());
            }
        }
        let mut last = None;
        let mut time = |reader: &mut Reader<'_>| {
            let ts = match last {
                None => reader.instant(base).0,
                Some(last) => i64::wrapping_sub(last, reader.u64() as i64),
            };
            last = Some(ts);
            ts
        };
        for _ in 0..reader.count(1) {
            self.times.push(time(reader));
            self.values.push(match plan.values {
                Values::None => 0,
                Values::Numbers => reader.i64(),
                Values::Hashes => reader.fixed64() as i64,
            });
        }
        self.times.reverse();
        self.values.reverse();
        if plan.thin.is_some() {
            return;
        }
        for _ in 0..reader.count(1) {
            let (last, span) = (time(reader), reader.u64());
            let total = Total::decode(plan, reader);
            let (min, max) = if plan.extremes { (reader.i64(), reader.i64()) } else { (0, 0) };
            self.buckets.push(Bucket { last, span, total, min, max });
        }
        self.buckets.reverse();
    }
}

impl Total {
    fn encode(self, plan: &LogPlan, out: &mut Vec<u8>) {
        put_u64(out, self.count);
        if plan.values == Values::Numbers {
            put_i128(out, self.sum);
        }
    }

    fn decode(plan: &LogPlan, reader: &mut Reader<'_>) -> Total {
        Total { count: reader.u64(), sum: if plan.values == Values::Numbers { reader.i128() } else { 0 } }
    }
}

/// A quantity over a range that only moves forward, kept up step by step.
struct View<'a> {
    log: &'a Log,
    quantity: Quantity,
    window: AgeWindow,
    range: (usize, usize),
    total: Total,
    /// Distinct only: rank of each entry's value, entries in the range by rank, ranks in the range.
    ranks: Vec<u32>,
    counts: Vec<u32>,
    distinct: u64,
}

impl<'a> View<'a> {
    fn new(log: &'a Log, quantity: Quantity, window: AgeWindow) -> View<'a> {
        let total = if window.is_unbounded() { log.settled } else { Total::default() };
        let mut view = View { log, quantity, window, range: (0, 0), total, ranks: Vec::new(), counts: Vec::new(), distinct: 0 };
        if quantity == Quantity::Distinct {
            // Of merged entries only the number is known: each counts as a value of its own.
            let mut sorted = log.values.clone();
            sorted.sort_unstable();
            sorted.dedup();
            view.ranks = log.values.iter().map(|v| sorted.partition_point(|s| s < v) as u32).collect();
            view.counts = vec![0; sorted.len()];
        }
        view
    }

    fn step(&mut self, i: usize, enters: bool) {
        if self.quantity == Quantity::Distinct {
            let Some(single) = i.checked_sub(self.log.buckets.len()) else {
                let n = self.log.buckets[i].total.count;
                self.distinct = if enters { self.distinct.saturating_add(n) } else { self.distinct.saturating_sub(n) };
                return;
            };
            let count = &mut self.counts[self.ranks[single] as usize];
            if enters {
                self.distinct += u64::from(*count == 0);
                *count += 1;
            } else {
                *count = count.saturating_sub(1);
                self.distinct -= u64::from(*count == 0);
            }
            return;
        }
        let one = self.log.total(i);
        if enters {
            self.total.count = self.total.count.saturating_add(one.count);
            self.total.sum = self.total.sum.saturating_add(one.sum);
        } else {
            self.total.count = self.total.count.saturating_sub(one.count);
            self.total.sum = self.total.sum.saturating_sub(one.sum);
        }
    }

    fn value(&mut self, range: (usize, usize)) -> Option<Ratio> {
        if matches!(self.quantity, Quantity::Min | Quantity::Max) {
            let extreme = self.log.extreme(self.window, self.quantity == Quantity::Max, range);
            return extreme.map(|v| Ratio::whole(i128::from(v)));
        }
        if self.range == (0, 0) {
            self.range = (range.0, range.0);
        }
        while self.range.1 < range.1 {
            self.step(self.range.1, true);
            self.range.1 += 1;
        }
        while self.range.0 < range.0 {
            self.step(self.range.0, false);
            self.range.0 += 1;
        }
        match self.quantity {
            Quantity::Count => Some(Ratio::whole(i128::from(self.total.count))),
            Quantity::Sum => Some(Ratio::whole(self.total.sum)),
            Quantity::Avg => (self.total.count > 0).then(|| Ratio { num: self.total.sum, den: i128::from(self.total.count) }),
            Quantity::Distinct => Some(Ratio::whole(i128::from(self.distinct))),
            Quantity::Min | Quantity::Max => None,
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

    fn round_trip(plan: &LogPlan, log: &Log) {
        let mut bytes = Vec::new();
        log.encode(plan, Timestamp(-9), &mut bytes);
        let (mut reader, mut back) = (Reader::new(&bytes), Log::default());
        back.decode(plan, Timestamp(-9), &mut reader);
        assert!(reader.done() && !reader.failed());
        assert_eq!(&back, log);
    }

    fn naive(all: &[(i64, i64)], quantity: Quantity, window: AgeWindow, t: i64) -> Option<Ratio> {
        let inside: Vec<i64> = all.iter().filter(|(ts, _)| window.contains(Timestamp(*ts), Timestamp(t))).map(|(_, v)| *v).collect();
        let sum: i128 = inside.iter().map(|v| i128::from(*v)).sum();
        match quantity {
            Quantity::Count => Some(Ratio::whole(inside.len() as i128)),
            Quantity::Sum => Some(Ratio::whole(sum)),
            Quantity::Avg => (!inside.is_empty()).then_some(Ratio { num: sum, den: inside.len() as i128 }),
            Quantity::Min => inside.iter().min().map(|v| Ratio::whole(i128::from(*v))),
            Quantity::Max => inside.iter().max().map(|v| Ratio::whole(i128::from(*v))),
            Quantity::Distinct => Some(Ratio::whole(inside.iter().collect::<BTreeSet<_>>().len() as i128)),
        }
    }

    fn window(rng: &mut fastrand::Rng, bounded: bool) -> AgeWindow {
        let near = rng.i64(0..20);
        match rng.u8(0..4) {
            0 if !bounded => AgeWindow::EVER,
            1 if !bounded => AgeWindow::older(Millis(near)),
            2 => AgeWindow::last(Millis(rng.i64(1..60))),
            _ => AgeWindow::between(Millis(near), Millis(near + rng.i64(1..40))),
        }
    }

    #[test]
    fn every_quantity_in_every_window_answers_like_the_whole_list() {
        for seed in 0..1_000u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let hashes = rng.u8(0..4) == 0;
            let windows: Vec<AgeWindow> = (0..rng.usize(1..4)).map(|_| window(&mut rng, hashes)).collect();
            let plan = LogPlan::new(&windows, if hashes { Values::Hashes } else { Values::Numbers }, true, 256);
            let (mut log, mut all, mut newest) = (Log::default(), Vec::new(), i64::MIN);
            for _ in 0..rng.usize(1..24) {
                let (ts, value) = (rng.i64(0..90), rng.i64(-4..5));
                newest = newest.max(ts);
                all.push((ts, value));
                log.insert(&plan, Timestamp(ts), value, Timestamp(newest));
                round_trip(&plan, &log);
                let (window, t) = (windows[rng.usize(0..windows.len())], newest + rng.i64(0..70));
                let quantity = match rng.u8(0..5) {
                    _ if hashes => Quantity::Distinct,
                    0 => Quantity::Count,
                    1 => Quantity::Sum,
                    2 => Quantity::Avg,
                    3 => Quantity::Min,
                    _ => Quantity::Max,
                };
                let reading = log.read(quantity, window, Timestamp(t));
                let want = naive(&all, quantity, window, t);
                assert!(
                    match (reading.value, want) {
                        (Some(a), Some(b)) => a.compare(b).is_eq(),
                        (a, b) => a == b,
                    },
                    "seed {seed} {quantity:?} {window:?} {all:?} at {t}: {reading:?}, not {want:?}"
                );
                let set_at = |t: i64| all.iter().map(|(ts, _)| window.contains(Timestamp(*ts), Timestamp(t))).collect::<Vec<bool>>();
                if let Some(change) = (t + 1..t + 200).find(|u| set_at(*u) != set_at(t)) {
                    // Values that cannot show may have gone, with distinct counts only.
                    assert!(reading.next == Timestamp(change) || hashes, "seed {seed} {window:?} {all:?} at {t}");
                }
                let (rel, with) = (RELS[rng.usize(0..5)], Ratio { num: rng.i128(-9..10), den: rng.i128(1..4) });
                let holds = |t: i64| naive(&all, quantity, window, t).is_some_and(|v| satisfies(v.compare(with), rel));
                let got = log.compare(quantity, window, Timestamp(t), rel, with);
                let flip = (t + 1..t + 200).find(|u| holds(*u) != holds(t)).map_or(Timestamp::MAX, Timestamp);
                assert_eq!(
                    (got.holds, got.until, got.approx),
                    (holds(t), flip, false),
                    "seed {seed} {quantity:?} {window:?} {all:?} at {t}"
                );
            }
        }
    }

    #[test]
    fn thinned_counts_are_exact_against_their_constant() {
        let mut thinned = false;
        for seed in 0..500u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let near = rng.i64(0..40);
            let window = AgeWindow::between(Millis(near), Millis(near + rng.i64(1..40)));
            let (rel, k) = (RELS[rng.usize(0..5)], rng.i64(0..4));
            let plan = LogPlan::thinned(window, Ring::needed(rel, k));
            let (mut log, mut all, mut newest) = (Log::default(), Vec::new(), i64::MIN);
            for i in 0..rng.i64(1..60) {
                let ts = if rng.u8(0..5) == 0 { rng.i64(0..90) } else { i * 2 };
                newest = newest.max(ts);
                all.push(ts);
                log.insert(&plan, Timestamp(ts), 0, Timestamp(newest));
                round_trip(&plan, &log);
                let t = newest + rng.i64(0..60);
                let holds = |t: i64| {
                    let n = all.iter().filter(|ts| window.contains(Timestamp(**ts), Timestamp(t))).count() as i64;
                    satisfies(n.cmp(&k), rel)
                };
                let got = log.compare(Quantity::Count, window, Timestamp(t), rel, Ratio::whole(i128::from(k)));
                let flip = (t + 1..t + 200).find(|u| holds(*u) != holds(t)).map_or(Timestamp::MAX, Timestamp);
                assert_eq!((got.holds, got.until), (holds(t), flip), "seed {seed} {rel:?} {k} {window:?} {all:?} at {t}");
            }
            let inside = all.iter().filter(|ts| newest - **ts < window.far.0).count();
            thinned |= log.len() < inside;
        }
        assert!(thinned);
    }

    #[test]
    fn beyond_the_cap_entries_leave_at_most_a_64th_late_and_never_early() {
        for seed in 0..6u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (short, long) = (AgeWindow::last(Millis(64_000)), AgeWindow::last(Millis(640_000)));
            let plan = LogPlan::new(&[short, long, AgeWindow::EVER], Values::Numbers, true, 20);
            let (mut log, mut all, mut now) = (Log::default(), Vec::new(), 0i64);
            for _ in 0..2_000 {
                now += rng.i64(0..700);
                let ts = if rng.u8(0..10) == 0 { (now - rng.i64(0..100_000)).max(0) } else { now };
                all.push((ts, rng.i64(0..100)));
                log.insert(&plan, Timestamp(ts), all[all.len() - 1].1, Timestamp(now));
            }
            round_trip(&plan, &log);
            assert!(log.times.len() <= 20 && log.buckets.len() <= 260, "{} buckets", log.buckets.len());
            assert_eq!(log.read(Quantity::Sum, AgeWindow::EVER, Timestamp(now)).value, naive(&all, Quantity::Sum, AgeWindow::EVER, now));
            for window in [short, long] {
                for _ in 0..60 {
                    let t = now + rng.i64(0..window.far.0 + 1_000);
                    let late = AgeWindow::last(Millis(window.far.0 + window.far.0 / 64));
                    for quantity in [Quantity::Count, Quantity::Sum] {
                        let got = log.read(quantity, window, Timestamp(t));
                        let (low, high) = (naive(&all, quantity, window, t), naive(&all, quantity, late, t));
                        let n = got.value.map(|v| v.num);
                        assert!(
                            n >= low.map(|v| v.num) && n <= high.map(|v| v.num),
                            "seed {seed} {quantity:?} at {t}: {n:?} {low:?} {high:?}"
                        );
                        assert!(got.approx || got.value == low, "seed {seed} {quantity:?} at {t}");
                    }
                }
            }
        }
    }
}
