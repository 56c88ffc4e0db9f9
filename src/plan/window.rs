//! Windows by age and exact numbers, as plan and engine share them (LANGUAGE.md S6, R22).
//!
//! Each window by age is one half-open range of event times that slides with the clock: at `t` it holds the events with
//! `t - far < ts <= t - near`. So `in last D` is near 0, far D; `at least D ago` is near D without far; adjoining windows tile.
//!
//! *Example:* `between 1h and 2h ago`, one event at 0: outside until 1h, inside on [1h, 2h), outside from 2h on.

use std::cmp::Ordering;

use crate::lang::definition::{Rel, Window};
use crate::time::{Millis, Timestamp};

/// A window by age. **Shape:** `near <= age < far`; `far` is `Millis(i64::MAX)` where nothing ever leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgeWindow {
    pub near: Millis,
    pub far: Millis,
}

/// An exact number. **Units:** the caller's (minor units, millionths, ones); `den` is positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    pub num: i128,
    pub den: i128,
}

impl Ratio {
    pub fn whole(num: i128) -> Ratio {
        Ratio { num, den: 1 }
    }

    /// Exact by cross-multiplication (LANGUAGE.md R22); saturates only beyond 127 bits, far from what 64-bit values and counts can reach.
    pub fn compare(self, other: Ratio) -> Ordering {
        if self.den == other.den {
            return self.num.cmp(&other.num);
        }
        self.num.saturating_mul(other.den).cmp(&other.num.saturating_mul(self.den))
    }
}

/// Whether an ordering of left against right satisfies a relation.
pub fn satisfies(ordering: Ordering, rel: Rel) -> bool {
    match rel {
        Rel::Eq => ordering == Ordering::Equal,
        Rel::Lt => ordering == Ordering::Less,
        Rel::Le => ordering != Ordering::Greater,
        Rel::Gt => ordering == Ordering::Greater,
        Rel::Ge => ordering != Ordering::Less,
    }
}

impl AgeWindow {
    pub const EVER: AgeWindow = AgeWindow { near: Millis::ZERO, far: Millis(i64::MAX) };

    pub fn last(length: Millis) -> AgeWindow {
        AgeWindow { near: Millis::ZERO, far: length }
    }

    pub fn older(than: Millis) -> AgeWindow {
        AgeWindow { near: than, far: Millis(i64::MAX) }
    }

    pub fn between(from: Millis, to: Millis) -> AgeWindow {
        AgeWindow { near: from, far: to }
    }

    /// `None` for windows that are not by age (calendar, session, dates, since).
    pub fn of(window: &Window) -> Option<AgeWindow> {
        match window {
            Window::Ever => Some(AgeWindow::EVER),
            Window::Last(length) => Some(AgeWindow::last(*length)),
            Window::Older(than) => Some(AgeWindow::older(*than)),
            Window::Between { from, to } => Some(AgeWindow::between(*from, *to)),
            Window::This(_) | Window::Full { .. } | Window::SinceLast(_) | Window::Dates { .. } => None,
        }
    }

    /// Whether nothing ever leaves.
    pub fn is_unbounded(self) -> bool {
        self.far.0 == i64::MAX
    }

    /// Events at or before this instant are too old; `None` where none is.
    fn old_edge(self, t: Timestamp) -> Option<Timestamp> {
        (!self.is_unbounded()).then(|| t - self.far)
    }

    pub fn contains(self, ts: Timestamp, t: Timestamp) -> bool {
        ts <= t - self.near && self.old_edge(t).is_none_or(|edge| ts > edge)
    }

    /// The instant from which an event at `ts` is inside.
    pub fn enters(self, ts: Timestamp) -> Timestamp {
        ts + self.near
    }

    /// The instant from which an event at `ts` is outside again.
    pub fn leaves(self, ts: Timestamp) -> Timestamp {
        if self.is_unbounded() { Timestamp::MAX } else { ts + self.far }
    }

    /// The first instant after `t` at which [`contains`](Self::contains) of this event changes.
    pub fn next_change(self, ts: Timestamp, t: Timestamp) -> Timestamp {
        if self.enters(ts) > t {
            self.enters(ts)
        } else if self.leaves(ts) > t {
            self.leaves(ts)
        } else {
            Timestamp::MAX
        }
    }

    /// The half-open index range of the events inside at `t`. **Shape:** `times` ascends.
    pub fn range(self, times: &[i64], t: Timestamp) -> (usize, usize) {
        let young = (t - self.near).0;
        // The newest entries are where the edges of most windows lie, and most lists are short.
        let end = match times.last() {
            Some(last) if *last > young => times.partition_point(|ts| *ts <= young),
            _ => times.len(),
        };
        let start = match self.old_edge(t) {
            Some(edge) => times[..end].partition_point(|ts| *ts <= edge.0),
            None => 0,
        };
        (start, end)
    }

    /// The first instant after the one of this range at which it changes.
    pub fn next_of_range(self, times: &[i64], (start, end): (usize, usize)) -> Timestamp {
        let leaving = if start < end { self.leaves(Timestamp(times[start])) } else { Timestamp::MAX };
        let entering = times.get(end).map_or(Timestamp::MAX, |ts| self.enters(Timestamp(*ts)));
        // Where the range is empty an event can enter and leave only after it has entered.
        leaving.min(entering)
    }

    /// Walks from `t` over the instants at which the range changes until `holds` of the range differs from its value at `t`.
    ///
    /// **Shape:** `times` ascends. **Cost:** one call of `holds` per instant at which something enters or leaves, up to the flip.
    pub fn walk(self, times: &[i64], t: Timestamp, mut holds: impl FnMut(usize, usize) -> bool) -> (bool, Timestamp) {
        let mut range = self.range(times, t);
        let now = holds(range.0, range.1);
        loop {
            let next = self.next_of_range(times, range);
            if next == Timestamp::MAX {
                return (now, Timestamp::MAX);
            }
            while range.1 < times.len() && self.enters(Timestamp(times[range.1])) <= next {
                range.1 += 1;
            }
            while range.0 < range.1 && self.leaves(Timestamp(times[range.0])) <= next {
                range.0 += 1;
            }
            if holds(range.0, range.1) != now {
                return (now, next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_tile_and_opposites_are_exact() {
        let (a, b) = (Millis(10), Millis(25));
        for age in -3..40 {
            let (ts, t) = (Timestamp(100), Timestamp(100 + age));
            let parts = [AgeWindow::last(a), AgeWindow::between(a, b), AgeWindow::older(b)];
            let inside = parts.iter().filter(|w| w.contains(ts, t)).count();
            assert_eq!(inside, usize::from(age >= 0), "age {age}");
            assert_eq!(AgeWindow::EVER.contains(ts, t), age >= 0);
        }
    }

    #[test]
    fn next_change_is_the_first_flip_by_stepping() {
        for w in [AgeWindow::EVER, AgeWindow::last(Millis(5)), AgeWindow::older(Millis(5)), AgeWindow::between(Millis(3), Millis(9))] {
            for t in -5..20 {
                let (ts, t) = (Timestamp(0), Timestamp(t));
                let stepped = (t.0 + 1..60).find(|u| w.contains(ts, Timestamp(*u)) != w.contains(ts, t));
                assert_eq!(w.next_change(ts, t), stepped.map_or(Timestamp::MAX, Timestamp), "{w:?} at {t:?}");
            }
        }
    }

    #[test]
    fn the_walk_finds_the_first_flip_by_stepping() {
        let seed = 11;
        let mut rng = fastrand::Rng::with_seed(seed);
        for round in 0..2_000 {
            let mut times: Vec<i64> = (0..rng.usize(0..8)).map(|_| rng.i64(0..30)).collect();
            times.sort_unstable();
            let near = rng.i64(0..10);
            let w = AgeWindow { near: Millis(near), far: Millis(if rng.bool() { i64::MAX } else { near + rng.i64(1..20) }) };
            let (t, k) = (rng.i64(0..60), rng.usize(0..5));
            let count = |t: i64| times.iter().filter(|ts| w.contains(Timestamp(**ts), Timestamp(t))).count();
            let (holds, until) = w.walk(&times, Timestamp(t), |a, b| b - a == k);
            assert_eq!(holds, count(t) == k, "seed {seed} round {round}");
            let flip = (t + 1..120).find(|u| (count(*u) == k) != holds);
            assert_eq!(until, flip.map_or(Timestamp::MAX, Timestamp), "seed {seed} round {round} {w:?} {times:?} t {t} k {k}");
        }
    }

    #[test]
    fn instants_at_the_ends_of_time_saturate() {
        let w = AgeWindow::last(Millis(10));
        assert!(w.contains(Timestamp::MIN + Millis(5), Timestamp::MIN + Millis(7)) || w.leaves(Timestamp::MIN) > Timestamp::MIN);
        assert_eq!(AgeWindow::older(Millis(10)).next_change(Timestamp::MAX, Timestamp(0)), Timestamp::MAX);
    }
}
