//! What is counted after the newest event of another selector (LANGUAGE.md R19): `at least 3 product_viewed since last order_completed`.
//!
//! The order is that of S18, (ts, application), so a mark takes everything that is applied so far and not younger than it, and an entry that is
//! applied later counts from the mark's own millisecond on. Only the newest mark matters and it only moves forward: what it has once taken never
//! comes back. So the value is exact whatever the order of arrival, as long as the entries after the mark are kept one by one.
//!
//! A sequence is not made of entries: its steps may be before the mark, and only the completion has to be after it.
//!
//! *Example:* x at 5, y at 7, x at 9: one after y. A late y at 8 changes nothing; a late y at 9 leaves none, since it is applied after that x.

use super::codec::{Reader, put_instant};
use crate::engine::program::{Spec, State};
use crate::time::Timestamp;

pub struct Since {
    /// The newest mark.
    mark: Option<Timestamp>,
    /// Some entry is before the mark.
    before: bool,
    /// Of the entries after the mark; all of them without one.
    state: Box<State>,
}

const MARKED: u8 = 1;
const BEFORE: u8 = 2;

impl Since {
    pub fn new(inner: &Spec) -> Since {
        Since { mark: None, before: false, state: Box::new(State::new(inner)) }
    }

    pub fn clear(&mut self) {
        self.mark = None;
        self.before = false;
        self.state.clear();
    }

    pub fn mark_at(&self) -> Option<Timestamp> {
        self.mark
    }

    /// Whether some entry is before the mark.
    pub fn any_before(&self) -> bool {
        self.before
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Applies a mark; returns whether anything differs by it.
    pub fn set_mark(&mut self, inner: &Spec, ts: Timestamp) -> bool {
        if self.mark.is_some_and(|mark| ts < mark) {
            return false;
        }
        let moved = self.mark.replace(ts) != Some(ts);
        let lost = self.state.keep_after(inner, ts);
        self.before |= lost;
        moved || lost
    }

    /// The state for an entry that is applied now; `Err` where it is before the mark, with whether it is the first such.
    pub fn enter(&mut self, ts: Timestamp) -> Result<&mut State, bool> {
        if self.mark.is_none_or(|mark| ts >= mark) {
            return Ok(&mut self.state);
        }
        Err(!std::mem::replace(&mut self.before, true))
    }

    /// What is kept, to be kept otherwise from here on.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    pub fn encode(&self, inner: &Spec, base: Timestamp, out: &mut Vec<u8>) {
        out.push(if self.mark.is_some() { MARKED } else { 0 } | if self.before { BEFORE } else { 0 });
        if let Some(mark) = self.mark {
            put_instant(out, base, mark);
        }
        self.state.encode(inner, base, out);
    }

    pub fn decode(&mut self, inner: &Spec, base: Timestamp, reader: &mut Reader<'_>) {
        let flags = reader.byte();
        self.mark = (flags & MARKED != 0).then(|| reader.instant(base));
        self.before = flags & BEFORE != 0;
        self.state.decode_from(inner, base, reader);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::features::counter::Quantity;
    use crate::engine::features::{AgeWindow, Log, LogPlan, Ratio, Values};
    use crate::limits::SINCE_BUCKETS_MAX;

    fn log(since: &Since) -> &Log {
        match since.state() {
            State::Log(log) => log,
            _ => panic!("a log was asked for"),
        }
    }

    fn sum(since: &Since) -> Ratio {
        log(since).read(Quantity::Sum, AgeWindow::EVER, Timestamp(i64::MAX)).value.expect("sums are never missing")
    }

    fn push(since: &mut Since, plan: &LogPlan, ts: i64, value: i64) {
        match since.enter(Timestamp(ts)) {
            Ok(State::Log(log)) => assert!(log.insert(plan, Timestamp(ts), value, Timestamp(ts))),
            Ok(_) => panic!("a log was asked for"),
            Err(_) => {}
        }
    }

    #[test]
    fn beyond_the_exact_entries_buckets_are_few_and_a_mark_within_one_says_so() {
        for seed in 0..20 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let plan = LogPlan::since_mark(Values::Numbers, true, 32);
            let spec = Spec::Log(LogPlan::since_mark(Values::Numbers, true, 32));
            let (mut since, mut all, mut now) = (Since::new(&spec), Vec::new(), 0i64);
            for _ in 0..1_500 {
                now += rng.i64(0..1_000);
                let ts = if rng.u8(0..8) == 0 { now - rng.i64(0..20_000) } else { now };
                all.push((ts, rng.i64(0..50)));
                push(&mut since, &plan, ts, all[all.len() - 1].1);
            }
            assert!(log(&since).len() <= 32 + SINCE_BUCKETS_MAX, "seed {seed}: {}", log(&since).len());
            let after = |mark: i64| all.iter().filter(|(ts, _)| *ts > mark).map(|(_, v)| i128::from(*v)).sum::<i128>();
            assert_eq!(sum(&since), Ratio::whole(after(i64::MIN)), "seed {seed}");
            // Late by an hour or so: among the buckets.
            let mark = now - rng.i64(100_000..400_000);
            let before = sum(&since);
            assert!(since.set_mark(&spec, Timestamp(mark)));
            let (got, want) = (sum(&since).num, after(mark));
            let cut = log(&since).is_cut_by(Timestamp(mark));
            assert!(got == want || cut && got > want && got < before.num, "seed {seed}: {got}, not {want}, cut {cut}");
            // Among the single entries, and it survives a write.
            let mark = log(&since).newest().expect("entries").0 - 2_000;
            since.set_mark(&spec, Timestamp(mark));
            assert!(!log(&since).is_cut_by(Timestamp(mark)) && sum(&since).num == after(mark), "seed {seed}");
            let (mut bytes, mut back) = (Vec::new(), Since::new(&spec));
            since.encode(&spec, Timestamp(5), &mut bytes);
            back.decode(&spec, Timestamp(5), &mut Reader::new(&bytes));
            assert_eq!((log(&back), back.mark_at(), back.any_before()), (log(&since), Some(Timestamp(mark)), true));
        }
    }

    #[test]
    fn only_the_newest_mark_counts_and_ties_go_by_application() {
        let plan = LogPlan::since_mark(Values::Numbers, false, 32);
        let spec = Spec::Log(LogPlan::since_mark(Values::Numbers, false, 32));
        let mut since = Since::new(&spec);
        push(&mut since, &plan, 5, 1);
        assert!(since.set_mark(&spec, Timestamp(5)));
        push(&mut since, &plan, 5, 2);
        push(&mut since, &plan, 4, 4);
        assert!(since.any_before() && !since.set_mark(&spec, Timestamp(4)));
        push(&mut since, &plan, 9, 8);
        assert_eq!(sum(&since), Ratio::whole(10));
        assert!(since.set_mark(&spec, Timestamp(5)));
        assert!(!since.set_mark(&spec, Timestamp(5)));
        assert_eq!(sum(&since), Ratio::whole(8));
    }
}
