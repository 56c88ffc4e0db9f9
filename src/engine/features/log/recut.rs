//! A log under another plan: other windows, another capacity (LANGUAGE.md S39).

use super::{Log, LogPlan, Total};
use crate::engine::gaps::Lack;
use crate::time::Timestamp;

impl Log {
    /// Becomes what the plan `to` keeps and tells what may be missing. `floor` as in [`super::super`]'s note.
    pub fn recut(&mut self, from: &LogPlan, to: &LogPlan, floor: Timestamp, lost: &mut Vec<Lack>) {
        self.prune(from, floor);
        if let (Some((old, _)), Some((new, _))) = (from.thin, to.thin) {
            // What was dropped has that many younger ones beside it.
            if new > old && old <= self.times.len() {
                let until = self.times.len().checked_sub(old).and_then(|i| self.times.get(i)).map_or(floor, |ts| Timestamp(*ts));
                lost.push(Lack { until, exact: old as u32, total: false });
            }
            return;
        }
        let (old, new) = (&from.granules, &to.granules);
        let settled = self.settled.count > 0;
        if new.horizon > old.horizon || (new.unbounded && !old.unbounded) {
            let until = floor - old.horizon;
            if !old.unbounded || settled {
                lost.push(Lack { until, exact: 0, total: old.unbounded });
            }
        }
        if !new.unbounded {
            self.settled = Total::default();
        }
    }

    /// Whether no kept value is below zero.
    pub fn non_negative(&self) -> bool {
        self.settled.sum >= 0 && self.buckets.iter().all(|b| b.min >= 0) && self.values.iter().all(|v| *v >= 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::window::AgeWindow;
    use super::super::super::{Quantity, Reader};
    use super::super::Values;
    use super::*;
    use crate::time::Millis;

    /// What a log that was recut says of a window whose old edge has passed what may be missing is what a log says that kept all from the start.
    #[test]
    fn a_recut_log_is_right_where_it_says_so() {
        for seed in 0..2_000u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let window = |rng: &mut fastrand::Rng| match rng.u8(0..4) {
                0 => AgeWindow::older(Millis(rng.i64(1..40))),
                1 => AgeWindow::between(Millis(rng.i64(1..20)), Millis(rng.i64(20..60))),
                _ => AgeWindow::last(Millis(rng.i64(1..80))),
            };
            let (a, b) = (window(&mut rng), window(&mut rng));
            let (before, both) = (LogPlan::new(&[a], Values::Numbers, false, 256), LogPlan::new(&[a, b], Values::Numbers, false, 256));
            let (mut log, mut all, mut now) = (Log::default(), Vec::new(), 0);
            for _ in 0..rng.usize(0..20) {
                now += rng.i64(0..12);
                let (ts, value) = (now - if rng.u8(0..4) == 0 { rng.i64(0..30) } else { 0 }, rng.i64(0..9));
                all.push((ts, value));
                log.insert(&before, Timestamp(ts), value, Timestamp(now));
            }
            let mut lost = Vec::new();
            log.recut(&before, &both, Timestamp(now), &mut lost);
            let mut bytes = Vec::new();
            log.encode(&both, Timestamp(3), &mut bytes);
            log.decode(&both, Timestamp(3), &mut Reader::new(&bytes));
            for _ in 0..8 {
                now += rng.i64(0..25);
                for window in [a, b] {
                    let complete = lost.iter().all(|l| (l.total && window.is_unbounded()) || window.leaves(l.until) <= Timestamp(now));
                    let got = log.read(Quantity::Sum, window, Timestamp(now)).value.map_or(0, |v| v.num);
                    let inside = all.iter().filter(|(ts, _)| window.contains(Timestamp(*ts), Timestamp(now)));
                    let truth: i128 = inside.map(|(_, v)| i128::from(*v)).sum();
                    // What had settled counts as old enough for any window without end, before it is.
                    let early = window.is_unbounded() && lost.iter().any(|l| l.total && Timestamp(now) - window.near < l.until);
                    if early {
                        continue;
                    }
                    if window == a || complete {
                        assert_eq!(got, truth, "seed {seed} {a:?} {b:?} at {now}");
                    } else {
                        assert!(got <= truth, "seed {seed} {a:?} {b:?} at {now}");
                    }
                }
                let value = rng.i64(0..9);
                all.push((now, value));
                log.insert(&both, Timestamp(now), value, Timestamp(now));
            }
        }
    }
}
