//! What a segment with delays, expiry or required consent wants for its customer at one instant (LANGUAGE.md S24, S25, R10, R11).
//!
//! Cool-down, stay and expiry count from the last published change, so they need no state of their own: of a member that change is the
//! entry, of anybody else the last exit (R6). What else is remembered stands in units before the segment's: since when the entry condition
//! holds (a dwell), since when the exit condition of a member holds, and the one of `waiting`, which of a member is an exit that settles,
//! of anybody else an entry that settles or the block after an expiry.

use crate::engine::customer::UnitEntry;
use crate::engine::evaluate::Work;
use crate::engine::features::Verdict;
use crate::engine::program::Program;
use crate::plan::delays::Delays;
use crate::plan::node::{NodeId, SegmentUnit, UnitId};
use crate::time::{Millis, Timestamp};

/// Why a membership ends or begins; what is later in this list prevails at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    Expired,
    /// The entry or exit condition, with its delays.
    Condition,
    /// Consent was lost.
    Consent,
}

/// What a segment wants for its customer.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// `None`: that the membership stays as it is.
    pub why: Option<Why>,
    /// The first instant at which it may want something else, or for another reason, if no record comes.
    pub until: Timestamp,
    pub approx: bool,
}

/// How conditions are looked at: [`Work::node`], or [`Work::deep_until`] where other segments' own instants count.
pub type Look = fn(&mut Work, &Program, NodeId, Timestamp) -> Verdict;

/// An expired membership that has not seen its condition false since.
pub fn is_blocked(work: &Work, delays: &Delays, member: bool) -> bool {
    !member && delays.waiting.is_some_and(|waiting| work.customer.is_member(waiting))
}

impl Work {
    pub fn wish(&mut self, program: &Program, unit: UnitId, (segment, delays): (&SegmentUnit, &Delays), t: Timestamp, look: Look) -> Wish {
        let entry = self.customer.unit(unit).copied();
        let consent = |work: &mut Work| delays.consent.map_or(Verdict::fixed(true), |node| look(work, program, node, t));
        match entry.filter(|entry| entry.member) {
            Some(entry) => {
                let consent = consent(self);
                if !consent.holds {
                    return Wish { why: Some(Why::Consent), until: consent.until, approx: false };
                }
                let exit = exit(look(self, program, delays.exit, t), entry.since + delays.stay, t);
                let expiry = delays.expire.map_or(Timestamp::MAX, |after| entry.expires_from + after);
                let until = exit.until.min(consent.until);
                match (exit.holds, t >= expiry) {
                    (true, _) => Wish { why: Some(Why::Condition), until, approx: exit.approx },
                    (false, true) => Wish { why: Some(Why::Expired), until, approx: false },
                    (false, false) => Wish { why: None, until: until.min(expiry), approx: exit.approx },
                }
            }
            None => {
                if is_blocked(self, delays, false) {
                    let when = look(self, program, segment.when, t);
                    return Wish { why: None, until: if when.holds { when.until } else { t }, approx: false };
                }
                let enter = look(self, program, delays.enter, t);
                let rested = match rested_at(entry, delays) {
                    Some(at) if t < at => Verdict { holds: false, until: at, approx: false },
                    _ => Verdict::fixed(true),
                };
                let all = [enter, consent(self), rested];
                let falses = all.iter().filter(|v| !v.holds).map(|v| v.until).max();
                Wish {
                    why: if falses.is_none() { Some(Why::Condition) } else { None },
                    until: falses.unwrap_or(enter.until.min(all[1].until)),
                    approx: enter.approx,
                }
            }
        }
    }

    /// Whether the membership would already have wanted to change at an earlier instant (S27, R9).
    pub fn wished_at(&mut self, program: &Program, unit: UnitId, delays: &Delays, ts: Timestamp) -> bool {
        let entry = self.customer.unit(unit).copied();
        let consent = delays.consent.is_none_or(|node| self.held_at(program, node, ts));
        match entry.filter(|entry| entry.member) {
            Some(entry) => !consent || ts >= entry.since + delays.stay && self.held_at(program, delays.exit, ts),
            None => consent && rested_at(entry, delays).is_none_or(|at| ts >= at) && self.held_at(program, delays.enter, ts),
        }
    }
}

/// The exit condition of a member who stays at least until `stay`.
fn exit(exit: Verdict, stay: Timestamp, t: Timestamp) -> Verdict {
    match (t < stay, exit.holds) {
        (false, _) => exit,
        (true, true) => Verdict { holds: false, until: stay, ..exit },
        (true, false) => Verdict { until: exit.until.max(stay), ..exit },
    }
}

/// When the cool-down of somebody who is no member is over.
fn rested_at(entry: Option<UnitEntry>, delays: &Delays) -> Option<Timestamp> {
    entry.filter(|_| delays.cooldown > Millis::ZERO).map(|exit| exit.since + delays.cooldown)
}
