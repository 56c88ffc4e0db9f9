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
    /// It came after the reorder buffer and was left out; nothing differs.
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
                self.completed = Some(ts);
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
        let Arrived { ts, mask, .. } = event;
        self.settle(spec, Now { greatest: now.greatest.min(ts), ..now });
        if !event.in_order && (now.clock - ts > event.buffer || self.cut.is_some_and(|cut| ts < cut)) {
            return SequenceOutcome { late: true, ..SequenceOutcome::default() };
        }
        let seen = |run: &Run| (run.completed, run.due(&spec.plan));
        let before = seen(&self.current);
        let at = self.buffered.partition_point(|b| b.ts <= ts);
        self.buffered.insert(at, Buffered { ts, mask });
        if at + 1 == self.buffered.len() {
            self.current.apply(&spec.plan, ts, mask);
        } else {
            self.rerun(&spec.plan);
        }
        let changed = seen(&self.current) != before;
        SequenceOutcome { changed, late: false, overflowed: self.settle(spec, now) }
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
            self.cut = Some(b.ts);
        }
        self.cut = self.cut.filter(|cut| *cut >= closed);
        self.checkpoint.prune(&spec.plan, closed.min(now.greatest));
        (n - old) as u32
    }

    /// The newest completion at an instant not before the last event.
    pub fn newest(&self, spec: &SequenceSpec, t: Timestamp) -> Option<Timestamp> {
        self.current.due(&spec.plan).filter(|due| *due <= t).or(self.current.completed)
    }

    /// The instant after `t` at which a wait ends in a completion, if nothing breaks it.
    pub fn pending(&self, spec: &SequenceSpec, t: Timestamp) -> Option<Timestamp> {
        self.current.due(&spec.plan).filter(|due| *due > t)
    }

    /// Whether the newest completion is inside a window (R16), and until when.
    pub fn verdict(&self, spec: &SequenceSpec, window: AgeWindow, t: Timestamp) -> Verdict {
        let inside = |t: Timestamp| self.newest(spec, t).is_some_and(|at| window.contains(at, t));
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

    /// **Shape:** number of buffered events with two flags; which ways there are, each with its end and, where a total is asked for, the
    /// distance to its start; completion; cut; buffered events as distances and masks.
    pub fn encode(&self, spec: &SequenceSpec, base: Timestamp, out: &mut Vec<u8>) {
        let run = &self.checkpoint;
        let flags = u64::from(run.completed.is_some()) | (u64::from(self.cut.is_some()) << 1);
        put_u64(out, ((self.buffered.len() as u64) << 2) | flags);
        put_u64(out, run.ways.iter().enumerate().filter(|(_, way)| way.known()).fold(0, |known, (i, _)| known | (1 << i)));
        for (i, way) in run.ways.iter().enumerate().filter(|(_, way)| way.known()) {
            put_instant(out, base, way.end);
            if spec.plan.total.is_some() && i > 0 {
                put_u64(out, (way.end - way.start).0 as u64);
            }
        }
        run.completed.iter().chain(&self.cut).for_each(|at| put_instant(out, base, *at));
        let mut last = base;
        for b in &self.buffered {
            put_instant(out, last, b.ts);
            last = b.ts;
            put_u64(out, packed(&spec.plan, b.mask));
        }
    }

    pub fn decode(&mut self, spec: &SequenceSpec, base: Timestamp, reader: &mut Reader<'_>) {
        self.clear();
        let head = reader.u64();
        let known = reader.u64();
        let run = &mut self.checkpoint;
        for i in 0..waiting_steps(&spec.plan) {
            let mut way = NO_WAY;
            if (known >> i) & 1 != 0 {
                way.end = reader.instant(base);
                let back = if spec.plan.total.is_some() && i > 0 { reader.u64() } else { 0 };
                way.start = way.end - Millis(back as i64);
            }
            run.ways.push(way);
        }
        if head & 1 != 0 {
            run.completed = Some(reader.instant(base));
        }
        if head & 2 != 0 {
            self.cut = Some(reader.instant(base));
        }
        let mut last = base;
        for _ in 0..head >> 2 {
            if reader.failed() {
                break;
            }
            last = reader.instant(last);
            self.buffered.push(Buffered { ts: last, mask: unpacked(&spec.plan, reader.u64()) });
        }
        self.rerun(&spec.plan);
    }
}

/// Bits of steps as they are written, the absence included.
fn step_bits(plan: &SequencePlan) -> u32 {
    plan.steps.len() as u32 + u32::from(plan.absence.is_some())
}

/// A mask in few bits.
fn packed(plan: &SequencePlan, mask: u64) -> u64 {
    let n = step_bits(plan);
    (mask & ((1 << n) - 1)) | ((mask >> WITHOUT) << n)
}

fn unpacked(plan: &SequencePlan, bits: u64) -> u64 {
    let n = step_bits(plan);
    (bits & ((1 << n) - 1)) | ((bits >> n) << WITHOUT)
}
