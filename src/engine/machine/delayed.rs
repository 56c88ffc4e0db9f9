//! Steps of segments with delays, expiry, settling or required consent (LANGUAGE.md S17, S24, S25 with R10-R12, R34-R36).
//!
//! **Settling** is a dwell on the wish to change. A timer of deadline d that finds the wish remembers d; a look or record that finds the
//! wish gone forgets it; at d + settle the change is decided, true since d. So a change by time holds from its deadline to its decision, and
//! one whose deadline has moved settles anew. Records publish at once what they bring, and leave alone what waits already.
//!
//! | waits | the record adds | outcome |
//! |---|---|---|
//! | nothing | a wish | published by the record |
//! | expiry | the exit condition, loss of consent | published by the record |
//! | entry or exit condition | loss of consent | published by the record |
//! | anything | nothing, or what is due at this very millisecond | left to the timers |
//! | anything | that the wish is gone | forgotten |

use super::publish::{Decided, publish};
use super::wish::{Why, Wish, is_blocked};
use super::{Agenda, RecordStep, Step, Stepped, inherited};
use crate::engine::customer::UnitEntry;
use crate::engine::evaluate::Work;
use crate::engine::output::Outputs;
use crate::engine::program::Program;
use crate::model::{Cause, Origin};
use crate::plan::delays::Delays;
use crate::plan::node::{SegmentUnit, UnitId};
use crate::time::{Millis, Timestamp};

/// Instants that are looked at between a deadline that has moved and the clock, before the clock itself is taken.
const MOVED_STEPS: usize = 4_096;

/// What such a segment would want at a record's clock without the record.
#[derive(Clone, Copy, Debug)]
pub struct Without {
    pub why: Option<Why>,
    /// Of a blocked customer: whether the condition still holds.
    pub blocked: bool,
}

/// A segment of one customer in one step.
pub struct Machine<'a> {
    pub program: &'a Program,
    pub unit: UnitId,
    pub segment: &'a SegmentUnit,
    pub delays: &'a Delays,
}

/// A change that is decided now.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub why: Why,
    pub since: Timestamp,
}

/// A change that settles.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Waiting {
    /// The deadline.
    since: Timestamp,
    /// The exit is the expiry's.
    expiry: bool,
}

impl Machine<'_> {
    /// What it would want without a record that has not been applied yet; `None` where that is nothing new.
    pub fn without(&self, work: &mut Work, t: Timestamp) -> Option<Without> {
        let blocked = is_blocked(work, self.delays, work.customer.is_member(self.unit));
        let why = self.wish(work, t).why;
        let holds = blocked && work.node(self.program, self.segment.when, t).holds;
        (blocked || why.is_some()).then_some(Without { why, blocked: holds })
    }

    /// Looks at the segment; what is decided now is returned, with the instant since which it is true.
    pub fn step(&self, work: &mut Work, agenda: &Agenda, without: Option<Without>, step: Step, stepped: &mut Stepped) -> Option<Turn> {
        let t = step.at();
        if is_blocked(work, self.delays, work.customer.is_member(self.unit)) {
            let when = work.node(self.program, self.segment.when, t);
            let due = matches!(step, Step::Record(_)) && without.is_some_and(|w| !w.blocked);
            if when.holds || due {
                // R34: what ends at this very millisecond is seen by its timers.
                self.look_again(work, if when.holds { when.until } else { t }, stepped);
                return None;
            }
            self.forget(work, stepped);
        }
        let wish = self.wish(work, t);
        let Some(why) = wish.why else {
            self.forget(work, stepped);
            self.look_again(work, wish.until, stepped);
            return None;
        };
        match step {
            Step::Timer { .. } if why == Why::Consent => Some(Turn { why, since: t }),
            // It does not settle: another set is no matter of time.
            Step::Activation(_) => Some(Turn { why, since: t }),
            Step::Timer { .. } => self.by_time(work, agenda, wish, why, t, stepped),
            Step::Record(record) => self.by_record(work, without.and_then(|w| w.why), wish, why, record, stepped),
        }
    }

    fn by_time(&self, work: &mut Work, agenda: &Agenda, wish: Wish, why: Why, t: Timestamp, stepped: &mut Stepped) -> Option<Turn> {
        let before = self.waiting(work);
        let waiting = match before {
            Some(waiting) if !waiting.expiry && why == Why::Expired => self.expiry(work, waiting.since),
            Some(waiting) => waiting,
            None => {
                let held = |work: &mut Work, since| work.wished_at(self.program, self.unit, self.delays, since);
                let inherited = if why == Why::Condition { inherited(self.program, work, agenda, self.unit, held) } else { None };
                Waiting { since: inherited.unwrap_or(t), expiry: why == Why::Expired }
            }
        };
        let decision = waiting.since + self.delays.settle;
        if decision <= t {
            let why = if waiting.expiry { Why::Expired } else { Why::Condition };
            return Some(Turn { why, since: waiting.since });
        }
        self.remember(work, waiting, stepped);
        self.look_again(work, decision.min(wish.until), stepped);
        None
    }

    fn by_record(
        &self,
        work: &mut Work,
        without: Option<Why>,
        wish: Wish,
        why: Why,
        record: RecordStep,
        stepped: &mut Stepped,
    ) -> Option<Turn> {
        let t = record.t;
        let waiting = self.waiting(work);
        if let Some(was) = without {
            let settle = self.delays.settle;
            let due = was == Why::Consent || settle == Millis::ZERO || waiting.is_some_and(|w| w.since + settle <= t);
            if due || why <= was {
                // R2: the timers of this millisecond see to what is due at it; what waits goes on waiting.
                let again = match waiting {
                    Some(waiting) if !due => {
                        let moved = self.moved(work, waiting, record);
                        self.remember(work, moved, stepped);
                        (moved.since + settle).min(wish.until)
                    }
                    _ => t,
                };
                self.look_again(work, again, stepped);
                return None;
            }
        }
        // R1, R9.
        let last = work.customer.unit(self.unit).map(|entry| entry.since);
        let in_order = record.in_order && last.is_none_or(|last| record.ts >= last);
        let already = in_order && record.ts < t && work.wished_at(self.program, self.unit, self.delays, record.ts);
        Some(Turn { why, since: if already { record.ts } else { t } })
    }

    /// A change that goes on waiting after a record: its deadline is another where the wish does not hold there any more, as far back as can
    /// be seen, which is the greatest `ts` applied.
    fn moved(&self, work: &mut Work, waiting: Waiting, record: RecordStep) -> Waiting {
        let t = record.t;
        let mut at = waiting.since.max(work.customer.greatest).max(record.ts);
        let mut found = None;
        for i in 0..MOVED_STEPS {
            work.new_pass();
            let wish = self.wish(work, at);
            if let Some(why) = wish.why.filter(|why| *why != Why::Consent) {
                found = Some(match (i, waiting.expiry, why) {
                    (0, false, Why::Condition) | (_, true, _) => waiting,
                    (_, false, Why::Expired) => self.expiry(work, waiting.since),
                    _ => Waiting { since: at, expiry: false },
                });
                break;
            }
            if wish.until >= t {
                break;
            }
            at = wish.until.max(at + Millis(1));
        }
        work.new_pass();
        found.unwrap_or(Waiting { since: t, expiry: waiting.expiry })
    }

    /// The expiry, where it took over from a change that waited since `from`.
    fn expiry(&self, work: &Work, from: Timestamp) -> Waiting {
        let entered = work.customer.unit(self.unit).map_or(from, |entry| entry.expires_from);
        Waiting { since: from.max(entered + self.delays.expire.unwrap_or_default()), expiry: true }
    }

    /// Publishes a change and sets up what follows from it.
    pub fn turn(&self, work: &mut Work, turn: Turn, step: Step, members: &mut [u64], out: &mut Outputs) {
        let (program, t) = (self.program, step.at());
        let wish = self.wish(work, t);
        let last = work.customer.unit(self.unit).copied();
        let entered = last.is_none_or(|entry| !entry.member);
        self.forget(work, &mut Stepped::default());
        if turn.why == Why::Expired && work.node(program, self.segment.when, t).holds {
            self.set_waiting(work, Waiting { since: t, expiry: true });
        }
        let late = match step {
            Step::Record(record) => last.filter(|last| last.since > record.ts),
            Step::Timer { .. } | Step::Activation(_) => None,
        };
        let cause = match (turn.why, step) {
            (_, Step::Activation(a)) => a.cause(self.unit),
            (Why::Consent, _) => Cause::Consent,
            (Why::Expired, _) => Cause::Expired,
            (Why::Condition, Step::Timer { .. }) => Cause::Timer,
            (Why::Condition, Step::Record(_)) if late.is_some() => Cause::LateEvent,
            (Why::Condition, Step::Record(_)) => Cause::Event,
        };
        let corrects = late.map(|last| (last.origin, last.version));
        let decided = Decided { since: turn.since, cause, corrects, approx: wish.approx, step };
        publish(program, work, (self.unit, self.segment), (entered, Some(turn.why)), decided, members, out);
        if let Some(unit) = self.delays.exit_delay {
            work.customer.forget_unit(unit);
            let until = work.wants(program, unit, false, t).until;
            work.customer.set_deadline(unit, until);
        }
        // A deadline that has passed already fires at the clock (R6).
        let after = self.wish(work, t);
        work.customer.set_deadline(self.unit, if after.why.is_some() { t } else { after.until });
    }

    fn wish(&self, work: &mut Work, t: Timestamp) -> Wish {
        work.wish(self.program, self.unit, (self.segment, self.delays), t, Work::node)
    }

    fn look_again(&self, work: &mut Work, at: Timestamp, stepped: &mut Stepped) {
        stepped.moved |= work.customer.set_deadline(self.unit, at);
    }

    fn waiting(&self, work: &Work) -> Option<Waiting> {
        let entry = work.customer.unit(self.delays.waiting?)?;
        Some(Waiting { since: entry.since, expiry: entry.member })
    }

    fn remember(&self, work: &mut Work, waiting: Waiting, stepped: &mut Stepped) {
        if self.waiting(work) != Some(waiting) {
            self.set_waiting(work, waiting);
            stepped.turned = true;
        }
    }

    fn set_waiting(&self, work: &mut Work, Waiting { since, expiry }: Waiting) {
        if let Some(unit) = self.delays.waiting {
            work.customer.set_unit(UnitEntry::new(unit, expiry, since, Origin::Timer(since)));
        }
    }

    fn forget(&self, work: &mut Work, stepped: &mut Stepped) {
        if let Some(unit) = self.delays.waiting.filter(|unit| work.customer.unit(*unit).is_some()) {
            work.customer.forget_unit(unit);
            stepped.turned = true;
        }
    }
}
