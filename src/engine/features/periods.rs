//! Counts, sums, extremes and different values per local period, or between dates (LANGUAGE.md 9.2): one cell per period in which
//! something happened, of the newest periods that some window can see.
//!
//! An event is filed under the period that it has when it is applied; where a customer's zone changes later, what is filed stays (S10). So
//! a cell may lie after the running period, until that catches up. A window of periods is an [`AgeWindow`] in which a period is one
//! millisecond: `in this day` sees the age 0, `in last 2 full weeks` the ages 1 and 2.

use super::codec::{Reader, put_fixed64, put_i64, put_i128, put_u64};
use super::counter::Quantity;
use super::window::{AgeWindow, Ratio, satisfies};
use crate::engine::gaps::Lack;
use crate::lang::definition::Rel;
pub use crate::plan::calendar::PeriodValues;
use crate::time::{Millis, Timestamp};

/// The same for every customer.
#[derive(Clone, Debug)]
pub struct PeriodsPlan {
    pub values: PeriodValues,
    /// Newest periods that are kept.
    pub keep: i64,
    /// Different values per period, of which more make no difference.
    pub bound: Option<usize>,
    /// Different values in all that are told apart exactly where there is no bound (LANGUAGE.md S9).
    pub exact_entries: usize,
}

/// One period. Of different values the count is of those whose hashes were let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cell {
    count: u64,
    sum: i128,
    min: i64,
    max: i64,
}

/// **Shape:** ascending periods, each once, at most [`PeriodsPlan::keep`] or so; values ascend by (period, hash).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Periods {
    /// Numbers of periods.
    periods: Vec<i64>,
    /// Beside `periods`.
    cells: Vec<Cell>,
    values: Vec<(i64, u64)>,
}

/// What is asked of a window of periods.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub window: AgeWindow,
    /// The number of the running period.
    pub now: i64,
}

impl Periods {
    pub fn clear(&mut self) {
        self.periods.clear();
        self.cells.clear();
        self.values.clear();
    }

    /// Files an event; `value` is a number or a hash, 0 where only counted. `newest` is the running period at the customer's greatest
    /// `ts`: no evaluation looks back from before it. Returns whether what is kept has changed.
    ///
    /// **Cost:** O(1) for an event of the newest period.
    pub fn insert(&mut self, plan: &PeriodsPlan, period: i64, value: i64, newest: i64) -> bool {
        let oldest = newest.max(period).saturating_sub(plan.keep - 1);
        self.prune(oldest);
        if period < oldest {
            return false;
        }
        let at = match self.periods.last() {
            Some(last) if *last < period => self.periods.len(),
            _ => self.periods.partition_point(|p| *p < period),
        };
        if self.periods.get(at) != Some(&period) {
            self.periods.insert(at, period);
            self.cells.insert(at, Cell { min: i64::MAX, max: i64::MIN, ..Cell::default() });
        }
        if plan.values == PeriodValues::Hashes {
            return self.insert_hash(plan, at, value as u64);
        }
        let cell = &mut self.cells[at];
        let before = *cell;
        cell.min = cell.min.min(value);
        cell.max = cell.max.max(value);
        if plan.values == PeriodValues::Extremes {
            // How many there are does not matter.
            return *cell != before;
        }
        cell.count = cell.count.saturating_add(1);
        cell.sum = cell.sum.saturating_add(i128::from(value));
        true
    }

    fn insert_hash(&mut self, plan: &PeriodsPlan, at: usize, hash: u64) -> bool {
        let period = self.periods[at];
        let Err(place) = self.values.binary_search(&(period, hash)) else { return false };
        match plan.bound {
            Some(bound) => {
                let (start, end) = self.values_of(at, at + 1);
                if end - start >= bound {
                    return false;
                }
                self.values.insert(place, (period, hash));
            }
            None => {
                self.values.insert(place, (period, hash));
                if self.values.len() > plan.exact_entries {
                    let (oldest, _) = self.values.remove(0);
                    if let Ok(i) = self.periods.binary_search(&oldest) {
                        self.cells[i].count = self.cells[i].count.saturating_add(1);
                    }
                }
            }
        }
        true
    }

    /// Lets go of periods before one.
    fn prune(&mut self, oldest: i64) {
        let past = self.periods.iter().take_while(|p| **p < oldest).count();
        if past > 0 {
            self.periods.drain(..past);
            self.cells.drain(..past);
            let past = self.values.partition_point(|(p, _)| *p < oldest);
            self.values.drain(..past);
        }
    }

    /// Becomes what the plan `to` keeps and tells what may be missing; `at` is the present instant.
    pub fn recut(&mut self, from: &PeriodsPlan, to: &PeriodsPlan, at: Timestamp, lost: &mut Vec<Lack>) {
        if to.keep > from.keep {
            lost.push(Lack { until: at, exact: u32::try_from(from.keep).unwrap_or(u32::MAX), total: false });
        }
        let more = from.bound.filter(|old| to.bound.is_none_or(|new| new > *old));
        if let Some(old) = more
            && self.values.chunk_by(|a, b| a.0 == b.0).any(|of_period| of_period.len() >= old)
        {
            lost.push(Lack::everything(at));
        }
    }

    /// The range of `values` that belongs to a range of cells.
    fn values_of(&self, start: usize, end: usize) -> (usize, usize) {
        let at = |i: usize| match self.periods.get(i) {
            Some(period) => self.values.partition_point(|(p, _)| p < period),
            None => self.values.len(),
        };
        (at(start), at(end))
    }

    /// Whether hashes of the window were let go, so that a value that comes back counts twice.
    pub fn approx(&self, plan: &PeriodsPlan, of: Asked) -> bool {
        let (start, end) = of.window.range(&self.periods, Timestamp(of.now));
        plan.values == PeriodValues::Hashes && self.cells[start..end].iter().any(|c| c.count > 0)
    }

    /// The quantity now, and the number of the period in which the window's contents change next.
    pub fn read(&self, quantity: Quantity, of: Asked) -> (Option<Ratio>, Option<i64>) {
        let range = of.window.range(&self.periods, Timestamp(of.now));
        let next = of.window.next_of_range(&self.periods, range);
        (View::new(self).value(quantity, range), number(next))
    }

    /// Compares the quantity with a constant and walks to the period in which that turns; a missing value compares false.
    ///
    /// **Cost:** about linear in the cells for counts, sums and averages; quadratic for extremes and different values.
    pub fn compare(&self, quantity: Quantity, of: Asked, rel: Rel, with: Ratio) -> (bool, Option<i64>) {
        let mut view = View::new(self);
        let (holds, until) = of.window.walk(&self.periods, Timestamp(of.now), |start, end| {
            view.value(quantity, (start, end)).is_some_and(|v| satisfies(v.compare(with), rel))
        });
        (holds, number(until))
    }

    /// In how many of the `m` periods up to the running one the count compares as asked, and the period in which "at least `n`" turns.
    /// Periods without events count as such, also those before the first (LANGUAGE.md R5).
    pub fn n_of_m(&self, now: i64, (n, m): (u32, u32), rel: Rel, count: u32) -> (u32, bool, Option<i64>) {
        let fits = |cell: &Cell| satisfies(cell.count.cmp(&u64::from(count)), rel);
        // Of a period without events either everything is asked for or nothing; the cells that differ from that are counted.
        let of_none = satisfies(0.cmp(&u64::from(count)), rel);
        let window = AgeWindow { near: Millis::ZERO, far: Millis(i64::from(m)) };
        let (mut from, mut to, mut special) = (0, 0, 0u32);
        let mut first = None;
        let (holds, until) = window.walk(&self.periods, Timestamp(now), |start, end| {
            while to < end {
                special += u32::from(fits(&self.cells[to]) != of_none);
                to += 1;
            }
            while from < start {
                special -= u32::from(fits(&self.cells[from]) != of_none);
                from += 1;
            }
            let fitting = if of_none { m - special } else { special };
            first.get_or_insert(fitting);
            fitting >= n
        });
        (first.unwrap_or(0), holds, number(until))
    }

    /// Self-delimiting; the plan's values decide what is there.
    pub fn encode(&self, plan: &PeriodsPlan, out: &mut Vec<u8>) {
        put_u64(out, self.periods.len() as u64);
        let mut after: Option<i64> = None;
        for (i, (period, cell)) in self.periods.iter().zip(&self.cells).enumerate().rev() {
            match after {
                None => put_i64(out, *period),
                Some(after) => put_u64(out, after.wrapping_sub(*period) as u64),
            }
            after = Some(*period);
            match plan.values {
                PeriodValues::Count => put_u64(out, cell.count),
                PeriodValues::Sum => {
                    put_u64(out, cell.count);
                    put_i128(out, cell.sum);
                }
                PeriodValues::Extremes => {
                    put_i64(out, cell.min);
                    put_i64(out, cell.max);
                }
                PeriodValues::Hashes => {
                    put_u64(out, cell.count);
                    let (start, end) = self.values_of(i, i + 1);
                    put_u64(out, (end - start) as u64);
                    self.values[start..end].iter().for_each(|(_, hash)| put_fixed64(out, *hash));
                }
            }
        }
    }

    pub fn decode(&mut self, plan: &PeriodsPlan, reader: &mut Reader<'_>) {
        self.clear();
        let n = reader.count(1);
        let mut period = 0i64;
        for i in 0..n {
            period = if i == 0 { reader.i64() } else { period.wrapping_sub(reader.u64() as i64) };
            self.periods.push(period);
            let mut cell = Cell::default();
            match plan.values {
                PeriodValues::Count => cell.count = reader.u64(),
                PeriodValues::Sum => (cell.count, cell.sum) = (reader.u64(), reader.i128()),
                PeriodValues::Extremes => (cell.min, cell.max) = (reader.i64(), reader.i64()),
                PeriodValues::Hashes => {
                    cell.count = reader.u64();
                    for _ in 0..reader.count(8) {
                        self.values.push((period, reader.fixed64()));
                    }
                }
            }
            self.cells.push(cell);
        }
        self.periods.reverse();
        self.cells.reverse();
        self.values.sort_unstable();
    }
}

fn number(period: Timestamp) -> Option<i64> {
    (period != Timestamp::MAX).then_some(period.0)
}

/// Totals of a range of cells that only moves on.
struct View<'a> {
    of: &'a Periods,
    from: usize,
    to: usize,
    count: u64,
    sum: i128,
    scratch: Vec<u64>,
}

impl<'a> View<'a> {
    fn new(of: &'a Periods) -> View<'a> {
        View { of, from: 0, to: 0, count: 0, sum: 0, scratch: Vec::new() }
    }

    fn value(&mut self, quantity: Quantity, (start, end): (usize, usize)) -> Option<Ratio> {
        let cells = &self.of.cells;
        while self.to < end {
            self.count = self.count.saturating_add(cells[self.to].count);
            self.sum = self.sum.saturating_add(cells[self.to].sum);
            self.to += 1;
        }
        while self.from < start {
            self.count = self.count.saturating_sub(cells[self.from].count);
            self.sum = self.sum.saturating_sub(cells[self.from].sum);
            self.from += 1;
        }
        let whole = |n: i64| Ratio::whole(i128::from(n));
        match quantity {
            Quantity::Count => Some(Ratio::whole(i128::from(self.count))),
            Quantity::Sum => Some(Ratio::whole(self.sum)),
            Quantity::Avg => (self.count > 0).then_some(Ratio { num: self.sum, den: i128::from(self.count) }),
            Quantity::Min => cells[start..end].iter().map(|c| c.min).min().map(whole),
            Quantity::Max => cells[start..end].iter().map(|c| c.max).max().map(whole),
            Quantity::Distinct => {
                let (first, last) = self.of.values_of(start, end);
                let known = if end - start <= 1 {
                    last - first
                } else {
                    self.scratch.clear();
                    self.scratch.extend(self.of.values[first..last].iter().map(|(_, hash)| *hash));
                    self.scratch.sort_unstable();
                    self.scratch.dedup();
                    self.scratch.len()
                };
                Some(Ratio::whole(known as i128 + i128::from(self.count)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(values: PeriodValues, keep: i64) -> PeriodsPlan {
        PeriodsPlan { values, keep, bound: None, exact_entries: 256 }
    }

    /// Against the whole list of events, for every quantity, with late events and a walk period by period.
    #[test]
    fn periods_answer_like_the_whole_list() {
        let quantities = [Quantity::Count, Quantity::Sum, Quantity::Avg, Quantity::Min, Quantity::Max, Quantity::Distinct];
        for seed in 0..1_500u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let quantity = quantities[rng.usize(0..6)];
            let values = match quantity {
                Quantity::Count => PeriodValues::Count,
                Quantity::Sum | Quantity::Avg => PeriodValues::Sum,
                Quantity::Min | Quantity::Max => PeriodValues::Extremes,
                Quantity::Distinct => PeriodValues::Hashes,
            };
            let near = rng.i64(0..2);
            let far = near + rng.i64(1..5);
            let window = AgeWindow { near: Millis(near), far: Millis(far) };
            let k = rng.i64(0..5);
            let mut plan = plan(values, far);
            if quantity == Quantity::Distinct && rng.bool() {
                plan.bound = Some(k as usize + 1);
            }
            let rel = [Rel::Eq, Rel::Lt, Rel::Le, Rel::Gt, Rel::Ge][rng.usize(0..5)];
            let (mut periods, mut all, mut newest) = (Periods::default(), Vec::new(), 0);
            for _ in 0..rng.usize(0..12) {
                newest += rng.i64(0..3);
                let (period, value) = (newest - rng.i64(0..4), rng.i64(0..4));
                all.push((period, value));
                let before = periods.clone();
                let changed = periods.insert(&plan, period, value, newest);
                assert!(changed || periods.periods.len() <= before.periods.len() + 1);
                let mut out = Vec::new();
                periods.encode(&plan, &mut out);
                let (mut reader, mut back) = (Reader::new(&out), Periods::default());
                back.decode(&plan, &mut reader);
                assert!(reader.done() && !reader.failed(), "seed {seed}");
                // What the plan does not keep does not come back.
                back.clone_into(&mut periods);
            }
            let truth = |now: i64| -> Option<Ratio> {
                let inside = || all.iter().filter(|(p, _)| (near..far).contains(&(now - p))).map(|(_, v)| *v);
                let n = inside().count() as i128;
                Some(match quantity {
                    Quantity::Count => Ratio::whole(n),
                    Quantity::Sum => Ratio::whole(inside().map(i128::from).sum()),
                    Quantity::Avg if n > 0 => Ratio { num: inside().map(i128::from).sum(), den: n },
                    Quantity::Avg => return None,
                    Quantity::Min => Ratio::whole(i128::from(inside().min()?)),
                    Quantity::Max => Ratio::whole(i128::from(inside().max()?)),
                    Quantity::Distinct => {
                        let mut values: Vec<i64> = inside().collect();
                        values.sort_unstable();
                        values.dedup();
                        Ratio::whole(values.len() as i128)
                    }
                })
            };
            let now = newest + rng.i64(0..6);
            let holds = |now: i64| truth(now).is_some_and(|v| satisfies(v.compare(Ratio::whole(i128::from(k))), rel));
            let flip = (now + 1..now + 30).find(|p| holds(*p) != holds(now));
            let asked = Asked { window, now };
            assert_eq!(periods.compare(quantity, asked, rel, Ratio::whole(i128::from(k))), (holds(now), flip), "seed {seed} {quantity:?}");
            if plan.bound.is_none() {
                let same = |a: Option<Ratio>, b: Option<Ratio>| match (a, b) {
                    (Some(a), Some(b)) => a.compare(b).is_eq(),
                    (a, b) => a.is_none() && b.is_none(),
                };
                let (value, next) = periods.read(quantity, asked);
                assert!(same(value, truth(now)), "seed {seed}");
                for p in now..next.unwrap_or(now + 30) {
                    assert!(same(value, truth(p)), "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn n_of_m_counts_periods_without_events_too() {
        for seed in 0..1_500u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let m = rng.u32(1..6);
            let (n, count) = (rng.u32(1..m + 1), rng.u32(0..3));
            let rel = [Rel::Eq, Rel::Lt, Rel::Le, Rel::Gt, Rel::Ge][rng.usize(0..5)];
            let plan = plan(PeriodValues::Count, i64::from(m));
            let (mut periods, mut all, mut newest) = (Periods::default(), Vec::new(), 0);
            for _ in 0..rng.usize(0..12) {
                newest += rng.i64(0..3);
                let period = newest - rng.i64(0..3);
                all.push(period);
                periods.insert(&plan, period, 0, newest);
            }
            let fitting = |now: i64| {
                let of = |p: i64| all.iter().filter(|x| **x == p).count() as u32;
                (now - i64::from(m) + 1..=now).filter(|p| satisfies(of(*p).cmp(&count), rel)).count() as u32
            };
            let now = newest + rng.i64(0..3);
            let flip = (now + 1..now + 30).find(|p| (fitting(*p) >= n) != (fitting(now) >= n));
            assert_eq!(periods.n_of_m(now, (n, m), rel, count), (fitting(now), fitting(now) >= n, flip), "seed {seed}");
        }
    }

    #[test]
    fn many_different_values_are_counted_but_not_told_apart_any_more() {
        let plan = PeriodsPlan { exact_entries: 4, ..plan(PeriodValues::Hashes, 2) };
        let mut periods = Periods::default();
        for hash in 0..10 {
            assert!(periods.insert(&plan, 7, hash, 7));
        }
        let asked = Asked { window: AgeWindow { near: Millis(0), far: Millis(1) }, now: 7 };
        assert_eq!(periods.read(Quantity::Distinct, asked).0, Some(Ratio::whole(10)));
        assert!(periods.approx(&plan, asked));
        assert!(!periods.approx(&plan, Asked { now: 8, ..asked }));
        assert!(!periods.insert(&plan, 5, 1, 7), "before what any window sees");
    }

    #[test]
    fn a_filed_event_waits_for_the_running_period() {
        let plan = plan(PeriodValues::Count, 1);
        let mut periods = Periods::default();
        assert!(periods.insert(&plan, 8, 0, 8));
        let this = |now| Asked { window: crate::plan::calendar::THIS, now };
        assert_eq!(periods.compare(Quantity::Count, this(7), Rel::Ge, Ratio::whole(1)), (false, Some(8)));
        assert_eq!(periods.compare(Quantity::Count, this(8), Rel::Ge, Ratio::whole(1)), (true, Some(9)));
        assert_eq!(periods.compare(Quantity::Count, this(9), Rel::Ge, Ratio::whole(1)), (false, None));
    }
}
