//! The membership machine: what a segment wants at an instant, given what was published before (LANGUAGE.md S17, S23-S25, R6, R10-R12,
//! R34-R36), and what it remembers.

use std::sync::Arc;

use super::LastChange;
use super::eval::View;
use crate::lang::{Expr, Segment};
use crate::model::Value;
use crate::time::Timestamp;

/// A membership, or a stage, as published, with what waits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    pub member: bool,
    /// Of stages: place from the top, their number for `otherwise`; the one published last, and the one before it.
    pub stage: usize,
    pub stage_before: usize,
    pub last: Option<LastChange>,
    pub emit: Vec<(Arc<str>, Value)>,
    /// `since` of every change, and whether it was an entry.
    pub history: Vec<(Timestamp, bool)>,
    /// Since when the exit condition has held (`exit after`); only of a member.
    pub exit_since: Option<Timestamp>,
    /// Deadlines of changes by time that `settle` holds back: by the conditions, and by expiry.
    pub waiting: Option<Timestamp>,
    pub expiry_waiting: Option<Timestamp>,
    /// It expired, and `when` has not been false since.
    pub blocked: bool,
    /// Keys for which the condition `per` a key holds, with the step at which each became true.
    pub keys: Vec<(Value, u64)>,
}

impl Machine {
    /// Whether it was a member at `t`; an instant before the last change sees it as it was before that change (R12, R35).
    pub fn was_member(&self, t: Timestamp) -> bool {
        self.member != self.last.is_some_and(|last| t < last.since)
    }

    /// The stage at `t`, likewise. `otherwise` before the first move (R8).
    pub fn stage_at(&self, t: Timestamp, otherwise: usize) -> usize {
        match self.last {
            None => otherwise,
            Some(last) if t < last.since => self.stage_before,
            Some(_) => self.stage,
        }
    }

    /// The key that became true last; of several at one step the smallest (R51).
    pub fn key(&self) -> Value {
        let newest = self.keys.iter().map(|(_, step)| *step).max();
        let those = self.keys.iter().filter(|(_, step)| Some(*step) == newest).map(|(key, _)| key);
        let smallest = those.min_by(|a, b| super::value::compare(a, b).unwrap_or(std::cmp::Ordering::Equal));
        smallest.cloned().unwrap_or(Value::Missing)
    }
}

/// Why a membership should change, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    Expiry,
    /// The entry or the exit condition, with its delays.
    Condition,
    /// A consent that is required is lost.
    Consent,
}

/// `when and not exit`, in the form that the condition of a dwell has.
pub fn entry_condition(segment: &Segment) -> Expr {
    match &segment.exit_when {
        None => segment.when.clone(),
        Some(exit) => Expr::And(vec![segment.when.clone(), Expr::Not(Box::new(exit.clone()))]),
    }
}

/// The exit condition alone: `exit when`, or that `when` does not hold (S23).
pub fn exit_condition(segment: &Segment, view: &View) -> bool {
    segment.exit_when.as_ref().map_or_else(|| !view.holds(&segment.when), |exit| view.holds(exit))
}

/// What the segment wants at the view's instant; the strongest reason.
pub fn wish(segment: &Segment, enter_dwell: Option<usize>, machine: &Machine, view: &View) -> Option<Wish> {
    let consent = segment.require_consent.iter().all(|p| view.consent(*p));
    if machine.member && !consent {
        return Some(Wish::Consent);
    }
    if condition(segment, enter_dwell, machine, view) {
        return Some(Wish::Condition);
    }
    expired(segment, machine, view).then_some(Wish::Expiry)
}

/// Whether the membership should change by its conditions and delays.
pub fn condition(segment: &Segment, enter_dwell: Option<usize>, machine: &Machine, view: &View) -> bool {
    let since = machine.last.map(|l| l.since);
    let past = |delay: Option<crate::time::Millis>| delay.is_none_or(|d| since.is_none_or(|since| view.t >= since + d));
    if machine.member {
        let held = segment.exit_after.is_none_or(|d| machine.exit_since.is_some_and(|since| view.t - since >= d));
        return exit_condition(segment, view) && held && past(segment.stay);
    }
    let held = segment.enter_after.is_none_or(|d| {
        let dwell = enter_dwell.and_then(|dwell| view.customer.dwells[dwell]);
        dwell.is_some_and(|since| view.t - since >= d)
    });
    let consent = segment.require_consent.iter().all(|p| view.consent(*p));
    let wanted = view.holds(&segment.when) && !segment.exit_when.as_ref().is_some_and(|exit| view.holds(exit));
    wanted && held && consent && past(segment.cooldown) && !machine.blocked
}

/// Whether a membership has come to its end (`expire after`).
pub fn expired(segment: &Segment, machine: &Machine, view: &View) -> bool {
    let Some((last, expire)) = machine.last.zip(segment.expire) else { return false };
    machine.member && view.t >= last.since + expire
}
