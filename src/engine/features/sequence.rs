//! Sequences of events in constant space (LANGUAGE.md S20 to S22, R13 to R16, R31, R37, R41, 9.4).
//!
//! For each step that something can follow a *way* is kept: end and start of the most recent way to have reached it. An event is tried
//! against the last step first, so that it never serves two steps of one match; for upper limits the most recent way is as good as any, since
//! a later end leaves more room and starts are monotone in ends. A `without` forgets the way of the step before, unless the event has
//! just reached that step. A trailing `then no B within D` waits with the way to the last step: a B in `[end, end + D)` breaks the wait, a
//! later way starts it again, and at `end + D` it is a completion, whether or not anybody looks then.
//!
//! **Order.** Events count by (ts, application). Those within the reorder buffer of their type, and those that are in order however late, are
//! put at their place: a *checkpoint* holds the state before the buffered events, and an event that comes out of order makes those
//! after it run again. What none can come before any more joins the checkpoint. Events beyond the buffer are left out and counted.
//!
//! *Example:* `sequence(a then b within 10m)`, b at 5m, then a at 3m arrives at 6m: the checkpoint is empty, the buffer holds a, b, and the run
//! over them completes at 5m. The same a at 20m, once anything else of the customer happened after 3m: left out.
//!
//! **`since last y`.** The newest y is kept by [`Since`](super::Since), for all keys at once; completions before it do not count. Of those at its
//! very millisecond only that of an event which was applied after it does, so [`Sequence::mark`] notes which events were there before it.
//!
//! What the specification leaves open: at most [`SEQUENCE_BUFFERED_MAX`] events are buffered; beyond it the oldest join the checkpoint early,
//! counted, and an event that would stand before them is left out like one that comes too late.

use super::codec::{Reader, put_instant, put_u64};
use super::window::{AgeWindow, Verdict};
use crate::limits::SEQUENCE_BUFFERED_MAX;
use crate::plan::sequence::{SequencePlan, WITHOUT};
use crate::time::{Millis, Timestamp};

/// The same for every customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceSpec {
    pub plan: SequencePlan,
    /// The longest reorder buffer among the event types that it watches.
    pub buffer_max: Millis,
}

/// One event as it comes.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    pub ts: Timestamp,
    /// What it can be in the sequence, see [`crate::plan::sequence`].
    pub mask: u64,
    /// Its `ts` is not before the greatest `ts` applied to the customer before it.
    pub in_order: bool,
    /// The reorder buffer of its type.
    pub buffer: Millis,
}

impl Arrived {
    /// Whether it comes after the reorder buffer and out of order (R31, R41).
    pub fn is_late(self, now: Now) -> bool {
        !self.in_order && now.clock - self.ts > self.buffer
    }
}

/// When it is.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub clock: Timestamp,
    /// The greatest `ts` applied to the customer, the record at hand included.
    pub greatest: Timestamp,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceOutcome {
    /// Whether anything that conditions see may differ.
    pub changed: bool,
    /// It came after the reorder buffer and was left out.
    pub late: bool,
    /// Events that joined the checkpoint early.
    pub overflowed: u32,
}

/// The most recent way to have reached a step; `end` is [`Timestamp::MIN`] where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    end: Timestamp,
    start: Timestamp,
}

const NO_WAY: Way = Way { end: Timestamp::MIN, start: Timestamp::MIN };

/// What a run over events leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Run {
    /// By step, of those that something can follow: all but the last, and the last where an absence follows it.
    ways: Vec<Way>,
    /// The newest completion; one that a wait will bring or has brought is not among them before the next event.
    completed: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Buffered {
    ts: Timestamp,
    mask: u64,
}

/// A customer's sequence; scratch that is decoded into.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    checkpoint: Run,
    /// Ascending by `ts`, equal ones in the order of application.
    buffered: Vec<Buffered>,
    /// Set while events have joined the checkpoint early: none before it can be put at its place.
    cut: Option<Timestamp>,
    /// The checkpoint with the buffered events on top.
    current: Run,
}

impl Way {
    fn known(self) -> bool {
        self.end != Timestamp::MIN
    }
}

impl Run {
    fn clear(&mut self) {
        self.ways.clear();
        self.completed = None;
    }

    fn copy(&mut self, other: &Run) {
        self.ways.clear();
        self.ways.extend_from_slice(&other.ways);
        self.completed = other.completed;
    }

    fn apply(&mut self, plan: &SequencePlan, ts: Timestamp, mask: u64) {
        self.ways.resize(waiting_steps(plan), NO_WAY);
        let last = plan.steps.len() - 1;
        if let Some(limit) = plan.absence {
            self.settle_wait(last, limit, ts);
            if mask & SequencePlan::step(last + 1) != 0 {
                self.ways[last] = NO_WAY;
            }
        }
        let mut reached = 0;
        for (i, step) in plan.steps.iter().enumerate().rev() {
            if mask & SequencePlan::step(i) == 0 {
                continue;
            }
            let start = match i.checked_sub(1).map(|before| self.ways[before]) {
                None => ts,
                Some(way) => {
                    let gap = ts - way.end;
                    let fits = way.known()
                        && step.within.is_none_or(|d| gap < d)
                        && step.later.is_none_or(|d| gap >= d)
                        && plan.total.is_none_or(|d| ts - way.start < d);
                    if !fits {
                        continue;
                    }
                    way.start
                }
            };
            if i == last && plan.absence.is_none() {
                self.completed = (mask & SequencePlan::marked() == 0).then_some(ts);
            } else {
                self.ways[i] = Way { end: ts, start };
            }
            reached |= SequencePlan::step(i);
        }
        for i in 1..plan.steps.len() {
            if mask & SequencePlan::without(i) != 0 && reached & SequencePlan::step(i - 1) == 0 {
                self.ways[i - 1] = NO_WAY;
            }
        }
    }

    /// Makes a completion of a wait that was over at `t`.
    fn settle_wait(&mut self, last: usize, limit: Millis, t: Timestamp) {
        if let Some(way) = self.ways.get_mut(last).filter(|way| way.known() && t - way.end >= limit) {
            self.completed = Some(way.end + limit);
            *way = NO_WAY;
        }
    }

    /// Forgets ways that nothing at `floor` or later can follow.
    fn prune(&mut self, plan: &SequencePlan, floor: Timestamp) {
        if let Some(limit) = plan.absence {
            self.settle_wait(plan.steps.len() - 1, limit, floor);
        }
        for (i, way) in self.ways.iter_mut().enumerate() {
            let Some(next) = plan.steps.get(i + 1) else { continue };
            let over = next.within.is_some_and(|d| floor - way.end >= d) || plan.total.is_some_and(|d| floor - way.start >= d);
            if way.known() && over {
                *way = NO_WAY;
            }
        }
    }

    /// The instant at which the wait for an absence ends well.
    fn due(&self, plan: &SequencePlan) -> Option<Timestamp> {
        let way = self.ways.get(plan.steps.len() - 1).filter(|way| way.known())?;
        Some(way.end + plan.absence?)
    }
}

/// Steps that something can follow.
fn waiting_steps(plan: &SequencePlan) -> usize {
    plan.steps.len() - usize::from(plan.absence.is_none())
}

impl Sequence {
    pub fn clear(&mut self) {
        self.checkpoint.clear();
        self.buffered.clear();
        self.cut = None;
        self.current.clear();
    }

    /// Applies an event.
    ///
    /// **Cost:** O(steps) for an event that comes last, else O(buffered events x steps).
    pub fn apply(&mut self, spec: &SequenceSpec, event: Arrived, now: Now) -> SequenceOutcome {
        let ts = event.ts;
        self.settle(spec, Now { greatest: now.greatest.min(ts), ..now });
        if event.is_late(now) || (!event.in_order && self.cut.is_some_and(|cut| ts < cut)) {
            return SequenceOutcome { late: true, ..SequenceOutcome::default() };
        }
        let mask = event.mask;
        let before = self.seen(spec, now.clock);
        let at = self.buffered.partition_point(|b| b.ts <= ts);
        self.buffered.insert(at, Buffered { ts, mask });
        if at + 1 == self.buffered.len() {
            self.current.apply(&spec.plan, ts, mask);
        } else {
            self.rerun(&spec.plan);
        }
        let changed = self.seen(spec, now.clock) != before;
        SequenceOutcome { changed, late: false, overflowed: self.settle(spec, now) }
    }

    /// Applies a mark of `since last`: of completions at `ts` only those count that are still to come, or that the end of a wait is, which comes
    /// after all events of its millisecond.
    pub fn mark(&mut self, plan: &SequencePlan, ts: Timestamp) {
        if plan.absence.is_some() {
            return;
        }
        for run in [&mut self.checkpoint, &mut self.current] {
            run.completed.take_if(|at| *at == ts);
        }
        let from = self.buffered.partition_point(|b| b.ts < ts);
        for b in self.buffered[from..].iter_mut().take_while(|b| b.ts == ts) {
            b.mask |= SequencePlan::marked();
        }
    }

    /// All that conditions can see from `t` on.
    fn seen(&self, spec: &SequenceSpec, t: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
        (self.newest(spec, t), self.pending(spec, t))
    }

    fn rerun(&mut self, plan: &SequencePlan) {
        self.current.copy(&self.checkpoint);
        for b in &self.buffered {
            self.current.apply(plan, b.ts, b.mask);
        }
    }

    /// Lets events join the checkpoint that none can come before any more, and forgets ways that none can follow. Changes nothing that
    /// conditions see. Returns how many events joined it early.
    pub fn settle(&mut self, spec: &SequenceSpec, now: Now) -> u32 {
        let closed = now.clock - spec.buffer_max;
        let old = self.buffered.iter().take_while(|b| b.ts < closed).count();
        let n = old.max(self.buffered.len().saturating_sub(SEQUENCE_BUFFERED_MAX));
        for b in self.buffered.drain(..n) {
            self.checkpoint.apply(&spec.plan, b.ts, b.mask);
            self.cut = self.cut.max(Some(b.ts));
        }
        self.cut = self.cut.filter(|cut| *cut >= closed);
        self.checkpoint.prune(&spec.plan, closed.min(now.greatest));
        (n - old) as u32
    }

    /// Whether an empty state would do as well: no event can follow anything that is kept, and no evaluation from now on sees the newest
    /// completion, which is visible to a condition for less than `horizon`.
    pub fn is_past(&mut self, spec: &SequenceSpec, horizon: Millis, now: Now) -> bool {
        self.settle(spec, now);
        let run = &self.checkpoint;
        self.buffered.is_empty()
            && self.cut.is_none()
            && run.ways.iter().all(|way| !way.known())
            && run.completed.is_none_or(|at| now.greatest - at >= horizon)
    }

    /// The newest completion at an instant not before the last event.
    pub fn newest(&self, spec: &SequenceSpec, t: Timestamp) -> Option<Timestamp> {
        self.current.due(&spec.plan).filter(|due| *due <= t).or(self.current.completed)
    }

    /// The instant after `t` at which a wait ends in a completion, if nothing breaks it.
    pub fn pending(&self, spec: &SequenceSpec, t: Timestamp) -> Option<Timestamp> {
        self.current.due(&spec.plan).filter(|due| *due > t)
    }

    /// Whether the newest completion is inside a window (R16) and not before the mark, and until when.
    pub fn verdict(&self, spec: &SequenceSpec, window: AgeWindow, mark: Option<Timestamp>, t: Timestamp) -> Verdict {
        let inside = |t: Timestamp| self.newest(spec, t).is_some_and(|at| Some(at) >= mark && window.contains(at, t));
        let holds = inside(t);
        let mut at = t;
        loop {
            let moves = self.newest(spec, at).map_or(Timestamp::MAX, |completed| window.next_change(completed, at));
            at = moves.min(self.pending(spec, at).unwrap_or(Timestamp::MAX));
            if at == Timestamp::MAX || inside(at) != holds {
                return Verdict { holds, until: at, approx: false };
            }
        }
    }

    /// The youngest instant that is kept, of those that [`encode`](Self::encode) writes.
    pub fn youngest(&self) -> Option<Timestamp> {
        let ways = self.checkpoint.ways.iter().filter(|way| way.known()).map(|way| way.end);
        ways.chain(self.buffered.last().map(|b| b.ts)).chain(self.checkpoint.completed).max()
    }

    /// **Shape:** a number of which ways there are, two flags and how many events are buffered; the ways, each with its end and, where a total
    /// is asked for, the distance to its start; completion; cut; buffered events. Each instant stands relative to the one before it.
    pub fn encode(&self, spec: &SequenceSpec, base: Timestamp, out: &mut Vec<u8>) {
        let (plan, run) = (&spec.plan, &self.checkpoint);
        let known = run.ways.iter().enumerate().filter(|(_, way)| way.known()).fold(0, |known, (i, _)| known | (1 << i));
        let flags = u64::from(run.completed.is_some()) * COMPLETED + u64::from(self.cut.is_some()) * CUT;
        put_u64(out, (((self.buffered.len() as u64) << FLAG_BITS) | flags) << waiting_steps(plan) | known);
        let mut last = base;
        let mut put_next = |out: &mut Vec<u8>, ts: Timestamp| put_instant(out, std::mem::replace(&mut last, ts), ts);
        for (i, way) in run.ways.iter().enumerate().filter(|(_, way)| way.known()) {
            put_next(out, way.end);
            if plan.total.is_some() && i > 0 {
                put_u64(out, (way.end - way.start).0 as u64);
            }
        }
        run.completed.iter().chain(&self.cut).for_each(|at| put_next(out, *at));
        let mut before: Option<Timestamp> = None;
        for b in &self.buffered {
            match before {
                None => {
                    put_next(out, b.ts);
                    put_u64(out, steps_of(plan, b.mask));
                }
                Some(before) => put_later(plan, out, (b.ts - before).0 as u64, b.mask),
            }
            before = Some(b.ts);
            if has_others(plan) {
                put_u64(out, b.mask >> WITHOUT);
            }
        }
    }

    pub fn decode(&mut self, spec: &SequenceSpec, base: Timestamp, reader: &mut Reader<'_>) {
        self.clear();
        let (plan, waiting) = (&spec.plan, waiting_steps(&spec.plan));
        let head = reader.u64();
        let flags = head >> waiting;
        let mut last = base;
        let mut next = |reader: &mut Reader<'_>| {
            last = reader.instant(last);
            last
        };
        let run = &mut self.checkpoint;
        for i in 0..waiting {
            let mut way = NO_WAY;
            if (head >> i) & 1 != 0 {
                way.end = next(reader);
                let back = if plan.total.is_some() && i > 0 { reader.u64() } else { 0 };
                way.start = Timestamp(way.end.0.wrapping_sub(back as i64));
            }
            run.ways.push(way);
        }
        run.completed = (flags & COMPLETED != 0).then(|| next(reader));
        self.cut = (flags & CUT != 0).then(|| next(reader));
        for i in 0..flags >> FLAG_BITS {
            if reader.failed() {
                break;
            }
            let (ts, steps) = match i {
                0 => (next(reader), reader.u64()),
                _ => {
                    let (distance, steps) = read_later(plan, reader);
                    let before = self.buffered.last().map_or(base, |b| b.ts);
                    (Timestamp(before.0.wrapping_add(distance as i64)), steps)
                }
            };
            let others = if has_others(plan) { reader.u64() << WITHOUT } else { 0 };
            self.buffered.push(Buffered { ts, mask: steps | others });
        }
        self.rerun(plan);
    }
}

const COMPLETED: u64 = 1;
const CUT: u64 = 2;
const FLAG_BITS: u32 = 2;

/// Up to so many steps stand in one number with the distance to the event before; 48 bits of milliseconds are 8,900 years.
const INLINE_STEPS: u32 = 15;

/// Bits of steps as they are written, the absence included.
fn step_bits(plan: &SequencePlan) -> u32 {
    plan.steps.len() as u32 + u32::from(plan.absence.is_some())
}

/// Whether an event can be anything but a step.
fn has_others(plan: &SequencePlan) -> bool {
    plan.mark || plan.steps.iter().any(|step| step.without)
}

fn steps_of(plan: &SequencePlan, mask: u64) -> u64 {
    mask & ((1 << step_bits(plan)) - 1)
}

/// Writes the steps of an event that comes so long after another.
fn put_later(plan: &SequencePlan, out: &mut Vec<u8>, distance: u64, mask: u64) {
    let (bits, steps) = (step_bits(plan), steps_of(plan, mask));
    if bits <= INLINE_STEPS {
        return put_u64(out, distance << bits | steps);
    }
    put_u64(out, distance);
    put_u64(out, steps);
}

fn read_later(plan: &SequencePlan, reader: &mut Reader<'_>) -> (u64, u64) {
    let (bits, first) = (step_bits(plan), reader.u64());
    if bits <= INLINE_STEPS { (first >> bits, steps_of(plan, first)) } else { (first, steps_of(plan, reader.u64())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sequence::StepPlan;

    const BUFFER: i64 = 20;

    fn spec(steps: Vec<StepPlan>, absence: Option<i64>, total: Option<i64>) -> SequenceSpec {
        let plan = SequencePlan { steps, absence: absence.map(Millis), total: total.map(Millis), mark: false, text: String::new() };
        SequenceSpec { plan, buffer_max: Millis(BUFFER) }
    }

    fn within(d: i64) -> StepPlan {
        StepPlan { within: Some(Millis(d)), ..StepPlan::default() }
    }

    fn random_spec(rng: &mut fastrand::Rng, upper_only: bool) -> SequenceSpec {
        let n = rng.usize(if upper_only { 2..5 } else { 1..4 });
        let mut steps = vec![StepPlan::default()];
        for _ in 1..n {
            let later = if upper_only { None } else { [None, None, Some(Millis(rng.i64(1..4)))][rng.usize(0..3)] };
            let least = later.map_or(1, |d| d.0 + 1);
            let within = [None, Some(Millis(rng.i64(least..12)))][rng.usize(0..2)];
            steps.push(StepPlan { within, later, without: rng.u8(0..3) == 0 });
        }
        let absence = (!upper_only && (n == 1 || rng.bool())).then(|| rng.i64(1..10));
        let total = rng.bool().then(|| rng.i64(1..25));
        let mut spec = spec(steps, absence, total);
        spec.plan.mark = rng.u8(0..4) == 0;
        spec
    }

    /// The bit of an event that is a mark as well; the sequence itself does not know it.
    const MARK: u64 = 1 << 63;

    fn random_mask(rng: &mut fastrand::Rng, plan: &SequencePlan) -> u64 {
        let mut mask = 0;
        for i in 0..step_bits(plan) as usize {
            if rng.u8(0..5) < 2 {
                mask |= SequencePlan::step(i);
            }
            if plan.steps.get(i).is_some_and(|s| s.without) && rng.u8(0..5) == 0 {
                mask |= SequencePlan::without(i);
            }
        }
        mask
    }

    /// Events in the order of S18, with what follows from them by looking at all of them anew for each question.
    struct Naive<'a> {
        plan: &'a SequencePlan,
        /// (ts, mask)
        events: Vec<(i64, u64)>,
    }

    impl Naive<'_> {
        fn is(&self, event: usize, bit: u64) -> bool {
            self.events[event].1 & bit != 0
        }

        /// Whether event `to` may follow event `from` in step i, by limits between neighbours.
        fn follows(&self, i: usize, from: usize, to: usize) -> bool {
            let (step, gap) = (&self.plan.steps[i], Millis(self.events[to].0 - self.events[from].0));
            let between = (from + 1..to).any(|e| self.is(e, SequencePlan::without(i)));
            step.within.is_none_or(|d| gap < d) && step.later.is_none_or(|d| gap >= d) && !(step.without && between)
        }

        /// The start of the most recent way with which an event reaches step i.
        fn reaches(&self, i: usize, event: usize) -> Option<i64> {
            if !self.is(event, SequencePlan::step(i)) {
                return None;
            }
            let ts = self.events[event].0;
            if i == 0 {
                return Some(ts);
            }
            let (from, start) = (0..event).rev().find_map(|e| Some((e, self.reaches(i - 1, e)?)))?;
            (self.follows(i, from, event) && self.plan.total.is_none_or(|d| ts - start < d.0)).then_some(start)
        }

        /// The last event after which completions count.
        fn last_mark(&self) -> Option<usize> {
            (0..self.events.len()).rev().find(|e| self.is(*e, MARK))
        }

        /// The newest completion at an instant.
        fn newest(&self, t: i64) -> Option<i64> {
            let last = self.plan.steps.len() - 1;
            let ends = (0..self.events.len()).filter(|e| self.reaches(last, *e).is_some());
            let mark = self.last_mark();
            let Some(limit) = self.plan.absence else {
                return ends.filter(|e| mark.is_none_or(|m| *e > m)).map(|e| self.events[e].0).max();
            };
            let broken = |from: usize, due: i64| {
                (from + 1..self.events.len())
                    .any(|e| self.events[e].0 < due && (self.is(e, SequencePlan::step(last + 1)) || self.reaches(last, e).is_some()))
            };
            let counts = |due: i64| mark.is_none_or(|m| due >= self.events[m].0);
            let dues = ends.map(|e| (e, self.events[e].0 + limit.0));
            dues.filter(|(e, due)| *due <= t && counts(*due) && !broken(*e, *due)).map(|(_, due)| due).max()
        }

        /// The newest end of any chain whatever.
        fn newest_chain(&self) -> Option<i64> {
            fn longest(of: &Naive<'_>, i: usize, at: usize, start: i64) -> Option<i64> {
                if i + 1 == of.plan.steps.len() {
                    return of.last_mark().is_none_or(|m| at > m).then(|| of.events[at].0);
                }
                let next = (at + 1..of.events.len()).filter(|e| {
                    of.is(*e, SequencePlan::step(i + 1))
                        && of.follows(i + 1, at, *e)
                        && of.plan.total.is_none_or(|d| of.events[*e].0 - start < d.0)
                });
                next.filter_map(|e| longest(of, i + 1, e, start)).max()
            }
            let starts = (0..self.events.len()).filter(|e| self.is(*e, SequencePlan::step(0)));
            starts.filter_map(|e| longest(self, 0, e, self.events[e].0)).max()
        }
    }

    /// A mark as [`Since`](crate::engine::features::Since) keeps and applies it.
    fn mark(sequence: &mut Sequence, spec: &SequenceSpec, newest: &mut i64, ts: i64) {
        if ts >= *newest {
            *newest = ts;
            sequence.mark(&spec.plan, Timestamp(ts));
        }
    }

    fn newest_since(sequence: &Sequence, spec: &SequenceSpec, mark: i64, t: i64) -> Option<i64> {
        sequence.newest(spec, Timestamp(t)).map(|at| at.0).filter(|at| *at >= mark)
    }

    fn reloaded(spec: &SequenceSpec, sequence: &Sequence) -> Sequence {
        let mut bytes = Vec::new();
        sequence.encode(spec, Timestamp(7), &mut bytes);
        let (mut back, mut reader) = (Sequence::default(), Reader::new(&bytes));
        back.decode(spec, Timestamp(7), &mut reader);
        assert!(reader.done() && !reader.failed());
        back
    }

    /// Upper limits only: what is found is what a search over all chains finds, ties and events out of order within the buffer included.
    #[test]
    fn a_match_is_found_exactly_where_some_chain_exists() {
        let mut found = 0;
        for seed in 0..6_000u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let spec = random_spec(&mut rng, true);
            let mut naive = Naive { plan: &spec.plan, events: Vec::new() };
            let (mut sequence, mut greatest, mut since) = (Sequence::default(), i64::MIN, i64::MIN);
            for _ in 0..rng.usize(1..9) {
                let (ts, mask) = (rng.i64(0..BUFFER), random_mask(&mut rng, &spec.plan));
                let marked = spec.plan.mark && rng.u8(0..6) == 0;
                let event = Arrived { ts: Timestamp(ts), mask, in_order: ts >= greatest, buffer: spec.buffer_max };
                greatest = greatest.max(ts);
                let outcome = sequence.apply(&spec, event, Now { clock: Timestamp(BUFFER), greatest: Timestamp(greatest) });
                assert!(!outcome.late && outcome.overflowed == 0);
                if marked {
                    mark(&mut sequence, &spec, &mut since, ts);
                }
                let at = naive.events.partition_point(|e| e.0 <= ts);
                naive.events.insert(at, (ts, if marked { mask | MARK } else { mask }));
                let newest = newest_since(&sequence, &spec, since, BUFFER);
                assert_eq!(newest, naive.newest_chain(), "seed {seed} {:?} of {:?}", naive.events, spec.plan);
                found += usize::from(newest.is_some());
            }
        }
        assert!(found > 3_000, "{found}");
    }

    /// Every form of limit, ties, events too late and in order however late, snapshots and tidying at any time.
    #[test]
    fn sequences_answer_like_all_accepted_events_looked_at_anew() {
        let (mut late, mut completed, mut taken_back) = (0, 0, 0);
        for seed in 0..3_000u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let spec = random_spec(&mut rng, false);
            let mut naive = Naive { plan: &spec.plan, events: Vec::new() };
            let (mut sequence, mut twin) = (Sequence::default(), Sequence::default());
            let (mut clock, mut greatest, mut since) = (0i64, i64::MIN, i64::MIN);
            for _ in 0..24 {
                clock += rng.i64(0..8);
                let ts = match rng.u8(0..4) {
                    0 => clock - rng.i64(0..2 * BUFFER),
                    1 => clock - rng.i64(0..=BUFFER),
                    _ => clock,
                };
                let in_order = ts >= greatest;
                greatest = greatest.max(ts);
                let now = Now { clock: Timestamp(clock), greatest: Timestamp(greatest) };
                if rng.u8(0..6) > 0 {
                    let buffer = Millis(rng.i64(0..=BUFFER));
                    let mask = random_mask(&mut rng, &spec.plan);
                    let event = Arrived { ts: Timestamp(ts), mask, in_order, buffer };
                    let before = (naive.newest(clock), naive.newest(i64::MAX));
                    let outcome = sequence.apply(&spec, event, now);
                    assert_eq!(outcome, twin.apply(&spec, event, now), "seed {seed}");
                    let left_out = !in_order && clock - ts > buffer.0;
                    assert_eq!(outcome.late, left_out, "seed {seed}");
                    late += usize::from(left_out);
                    // A mark counts however late it comes.
                    let marked = spec.plan.mark && rng.u8(0..6) == 0;
                    let mask = if left_out { 0 } else { mask } | if marked { MARK } else { 0 };
                    if mask != 0 {
                        let at = naive.events.partition_point(|e| e.0 <= ts);
                        naive.events.insert(at, (ts, mask));
                    }
                    if marked {
                        let mut known = since;
                        mark(&mut sequence, &spec, &mut known, ts);
                        mark(&mut twin, &spec, &mut since, ts);
                    }
                    let after = (naive.newest(clock), naive.newest(i64::MAX));
                    assert!(outcome.changed || marked || before == after, "seed {seed}");
                    taken_back += usize::from(after.0 < before.0);
                }
                if rng.bool() {
                    sequence.settle(&spec, now);
                }
                if rng.bool() {
                    sequence = reloaded(&spec, &sequence);
                }
                for t in [greatest, clock, clock + rng.i64(0..30)] {
                    let (newest, want) = (newest_since(&sequence, &spec, since, t), naive.newest(t));
                    assert_eq!(newest, want, "seed {seed} at {t}: {:?} of {:?}", naive.events, spec.plan);
                    assert_eq!(newest_since(&twin, &spec, since, t), want, "seed {seed}");
                    completed += usize::from(newest.is_some());
                }
                // However often it was tidied up and reloaded meanwhile.
                let bytes = |of: &Sequence| {
                    let (mut of, mut bytes) = (reloaded(&spec, of), Vec::new());
                    of.settle(&spec, now);
                    of.encode(&spec, Timestamp(0), &mut bytes);
                    bytes
                };
                assert_eq!(bytes(&sequence), bytes(&twin), "seed {seed}");
            }
        }
        assert!(late > 1_000 && completed > 1_000 && taken_back > 100, "{late} {completed} {taken_back}");
    }

    #[test]
    fn every_order_of_arrival_within_the_buffer_leaves_the_same_state() {
        fn permute(left: &mut Vec<(i64, u64)>, order: &mut Vec<(i64, u64)>, each: &mut dyn FnMut(&[(i64, u64)])) {
            if left.is_empty() {
                return each(order);
            }
            for i in 0..left.len() {
                let event = left.remove(i);
                order.push(event);
                permute(left, order, each);
                order.pop();
                left.insert(i, event);
            }
        }
        for seed in 0..150u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let spec = random_spec(&mut rng, seed % 2 == 0);
            let mut ts = 0;
            let mut events: Vec<(i64, u64)> = (0..rng.usize(1..6))
                .map(|_| {
                    ts += rng.i64(1..4);
                    (ts, random_mask(&mut rng, &spec.plan))
                })
                .collect();
            let mut states: Vec<(Vec<u8>, Run)> = Vec::new();
            permute(&mut events, &mut Vec::new(), &mut |order| {
                let (mut sequence, mut greatest, mut bytes) = (Sequence::default(), i64::MIN, Vec::new());
                for (ts, mask) in order {
                    let event = Arrived { ts: Timestamp(*ts), mask: *mask, in_order: *ts >= greatest, buffer: spec.buffer_max };
                    greatest = greatest.max(*ts);
                    sequence.apply(&spec, event, Now { clock: Timestamp(BUFFER), greatest: Timestamp(greatest) });
                }
                sequence.encode(&spec, Timestamp(0), &mut bytes);
                states.push((bytes, sequence.current));
            });
            assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "seed {seed}: {events:?} of {:?}", spec.plan);
        }
    }

    #[test]
    fn verdicts_last_until_the_first_flip_by_stepping() {
        for seed in 0..2_000u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let spec = random_spec(&mut rng, false);
            let (mut sequence, mut clock) = (Sequence::default(), 0);
            for _ in 0..rng.usize(1..8) {
                clock += rng.i64(0..8);
                let mask = random_mask(&mut rng, &spec.plan);
                let event = Arrived { ts: Timestamp(clock), mask, in_order: true, buffer: spec.buffer_max };
                sequence.apply(&spec, event, Now { clock: Timestamp(clock), greatest: Timestamp(clock) });
            }
            let since = (rng.u8(0..4) == 0).then(|| Timestamp(rng.i64(0..=clock)));
            let near = rng.i64(0..12);
            let between = AgeWindow::between(Millis(near), Millis(near + rng.i64(1..12)));
            for window in [AgeWindow::EVER, AgeWindow::last(Millis(rng.i64(1..12))), AgeWindow::older(Millis(near + 1)), between] {
                let holds =
                    |t: i64| sequence.newest(&spec, Timestamp(t)).is_some_and(|at| Some(at) >= since && window.contains(at, Timestamp(t)));
                let verdict = sequence.verdict(&spec, window, since, Timestamp(clock));
                let flip = (clock + 1..clock + 60).find(|t| holds(*t) != holds(clock));
                assert_eq!(verdict.holds, holds(clock));
                assert_eq!(verdict.until, flip.map_or(Timestamp::MAX, Timestamp), "seed {seed} {window:?} of {:?}", spec.plan);
            }
        }
    }

    /// LANGUAGE.md cases 27 and 29.
    #[test]
    fn the_most_recent_way_is_kept_with_its_start() {
        let spec = spec(vec![StepPlan::default(), within(10), within(10)], None, Some(10));
        let mut sequence = Sequence::default();
        for (ts, step) in [(0, 0), (6, 0), (7, 1), (12, 2)] {
            assert_eq!(sequence.newest(&spec, Timestamp(20)), None);
            let event = Arrived { ts: Timestamp(ts), mask: SequencePlan::step(step), in_order: true, buffer: Millis::ZERO };
            sequence.apply(&spec, event, Now { clock: Timestamp(ts), greatest: Timestamp(ts) });
        }
        assert_eq!(sequence.newest(&spec, Timestamp(20)), Some(Timestamp(12)));
    }

    #[test]
    fn beyond_the_bound_the_oldest_are_settled_early_and_nothing_comes_before_them() {
        let spec = spec(vec![StepPlan::default(), within(1_000)], None, None);
        let spec = SequenceSpec { buffer_max: Millis(100_000), ..spec };
        let mut sequence = Sequence::default();
        let bound = SEQUENCE_BUFFERED_MAX as i64;
        let apply = |sequence: &mut Sequence, ts: i64, step: usize, clock: i64| {
            let event = Arrived { ts: Timestamp(ts), mask: SequencePlan::step(step), in_order: ts == clock, buffer: spec.buffer_max };
            sequence.apply(&spec, event, Now { clock: Timestamp(clock), greatest: Timestamp(clock) })
        };
        let mut overflowed = 0;
        for i in 0..bound + 10 {
            overflowed += apply(&mut sequence, 10 * i, 1, 10 * i).overflowed;
        }
        assert_eq!(overflowed, 10);
        sequence = reloaded(&spec, &sequence);
        assert_eq!(sequence.buffered.len(), SEQUENCE_BUFFERED_MAX);
        let clock = 10 * (bound + 9);
        // Before the last that was settled early: left out, though within the buffer.
        assert!(apply(&mut sequence, 89, 0, clock).late);
        assert_eq!(sequence.newest(&spec, Timestamp(clock)), None);
        // At it, after it in the order of application: found.
        assert!(apply(&mut sequence, 90, 0, clock).changed);
        assert_eq!(sequence.newest(&spec, Timestamp(clock)), Some(Timestamp(90 + 990)));
        // Once the buffer has passed the cut, it is as if it had never been.
        sequence.settle(&spec, Now { clock: Timestamp(clock + 200_000), greatest: Timestamp(clock) });
        assert_eq!((sequence.cut, sequence.buffered.len()), (None, 0));
    }

    #[test]
    fn states_are_small() {
        let spec = spec(vec![StepPlan::default(), within(600_000), within(3_600_000)], None, None);
        let base = 1_767_571_200_000;
        let mut sequence = Sequence::default();
        for (ts, step) in [(base + 1_000, 0), (base + 300_000, 1)] {
            let event = Arrived { ts: Timestamp(ts), mask: SequencePlan::step(step), in_order: true, buffer: Millis::ZERO };
            sequence.apply(&spec, event, Now { clock: Timestamp(ts), greatest: Timestamp(ts) });
        }
        let size = |sequence: &Sequence| {
            let mut bytes = Vec::new();
            sequence.encode(&spec, Timestamp(base), &mut bytes);
            bytes.len()
        };
        assert!(size(&sequence) <= 12, "{}", size(&sequence));
        // What nothing can follow any more goes.
        sequence.settle(&spec, Now { clock: Timestamp(base + 86_400_000), greatest: Timestamp(base + 86_400_000) });
        assert_eq!(size(&sequence), 1);
    }

    #[test]
    fn noise_never_panics() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut sequence = Sequence::default();
        for _ in 0..5_000 {
            let spec = random_spec(&mut rng, false);
            let noise: Vec<u8> = (0..rng.usize(0..40)).map(|_| rng.u8(..)).collect();
            sequence.decode(&spec, Timestamp(0), &mut Reader::new(&noise));
            sequence.verdict(&spec, AgeWindow::last(Millis(5)), None, Timestamp(rng.i64(0..100)));
        }
    }
}
