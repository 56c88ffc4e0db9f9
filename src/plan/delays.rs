//! Rules of a segment beside its conditions: delays, settling, expiry and required consent (LANGUAGE.md S17, S24, S25).
//!
//! A segment without any of them has no [`Delays`] and is run by its conditions alone.
//!
//! **What each watches** (LANGUAGE.md R63: it starts anew where that is redefined): `enter after` watches `when` with `not exit`, being a
//! dwell on it; `exit after` the exit condition; expiry, the block that follows it and a change that settles watch `when` with the exit
//! condition; `stay at least` and `cooldown` watch nothing.

use super::build::{Builder, add_edge};
use super::edges::{ALWAYS, Matters, NEVER, Source};
use super::node::{Node, NodeId, SegmentUnit, Unit, UnitId, UnitKind};
use crate::ids::{PurposeIndex, TraitIndex};
use crate::lang::definition::{Expr, Segment};
use crate::model::Catalogue;
use crate::time::Millis;

/// What a segment with such rules needs beside `when` and `exit`.
#[derive(Clone, Debug, PartialEq)]
pub struct Delays {
    /// `when and not exit`, held for so long if there is an `enter after`; without consent.
    pub enter: NodeId,
    /// The exit condition (`not when` where there is no `exit when`), held for so long if there is an `exit after`.
    pub exit: NodeId,
    /// All that is required is granted.
    pub consent: Option<NodeId>,
    pub enter_after: Option<Millis>,
    pub exit_after: Option<Millis>,
    /// Zero: none.
    pub stay: Millis,
    /// Zero: none.
    pub cooldown: Millis,
    pub expire: Option<Millis>,
    /// Zero: none.
    pub settle: Millis,
    /// Remembers since when the exit condition has held; of an `exit after`.
    pub exit_delay: Option<UnitId>,
    /// Remembers a change that settles, or that an expired membership is blocked.
    pub waiting: Option<UnitId>,
}

/// Where a customer's consent to a purpose stands among the traits: behind those of the catalogue.
pub fn consent_slot(catalogue: &Catalogue, purpose: PurposeIndex) -> TraitIndex {
    TraitIndex((catalogue.traits.len() + purpose.at()) as u16)
}

/// The purpose whose consent stands at a place behind the catalogue's traits.
pub fn purpose_at(catalogue: &Catalogue, slot: TraitIndex) -> Option<PurposeIndex> {
    let place = slot.at().checked_sub(catalogue.traits.len()).filter(|place| *place < catalogue.purposes.len())?;
    Some(PurposeIndex(place as u16))
}

fn any(segment: &Segment) -> bool {
    let delays = [segment.enter_after, segment.exit_after, segment.stay, segment.cooldown, segment.expire, segment.settle];
    delays.iter().any(Option::is_some) || !segment.require_consent.is_empty()
}

impl Builder<'_> {
    pub(super) fn consent(&mut self, purpose: PurposeIndex) -> Node {
        let catalogue = &self.workspace.catalogue;
        Node::Consent { purpose, slot: consent_slot(catalogue, purpose), default: catalogue.purposes[purpose.at()].default_granted }
    }

    /// `operand for at least D`, shared with every condition that says the same.
    pub(super) fn held(&mut self, operand: NodeId, at_least: Millis) -> Node {
        let unit = match self.dwell_ids.get(&operand) {
            Some(unit) => *unit,
            None => {
                let unit = self.units.len() as UnitId;
                self.units.push(Unit { kind: UnitKind::Dwell { operand }, dependents: Vec::new() });
                self.dwell_ids.insert(operand, unit);
                unit
            }
        };
        Node::Held { unit, operand, at_least }
    }

    /// Lays out what a segment's rules need; the segment's own unit has to be the next one after that.
    pub(super) fn delays(&mut self, segment: &Segment, when: NodeId, exit: Option<NodeId>, enter: NodeId) -> Option<Box<Delays>> {
        if !any(segment) {
            return None;
        }
        let plain = |builder: &mut Self, node| builder.node(node, String::new(), String::new());
        let enter = match segment.enter_after {
            Some(after) => {
                let held = self.held(enter, after);
                plain(self, held)
            }
            None => enter,
        };
        let exit = match exit {
            Some(exit) => exit,
            None => plain(self, Node::Not(when)),
        };
        let consents: Vec<NodeId> = segment.require_consent.iter().map(|purpose| self.expr(&Expr::Consent(*purpose))).collect();
        let consent = match consents.as_slice() {
            [] => None,
            [one] => Some(*one),
            all => Some(plain(self, Node::And(all.into()))),
        };
        let waits = segment.expire.is_some() || segment.settle.is_some();
        let own = self.units.len() as UnitId + UnitId::from(segment.exit_after.is_some()) + UnitId::from(waits);
        let unit = |builder: &mut Self, kind| {
            builder.units.push(Unit { kind, dependents: Vec::new() });
            builder.units.len() as UnitId - 1
        };
        let exit_delay = segment.exit_after.map(|_| unit(self, UnitKind::ExitDelay { operand: exit, segment: own }));
        let waiting = waits.then(|| unit(self, UnitKind::Waiting { segment: own }));
        let exit = match (exit_delay, segment.exit_after) {
            (Some(unit), Some(at_least)) => plain(self, Node::Held { unit, operand: exit, at_least }),
            _ => exit,
        };
        Some(Box::new(Delays {
            enter,
            exit,
            consent,
            enter_after: segment.enter_after,
            exit_after: segment.exit_after,
            stay: segment.stay.unwrap_or_default(),
            cooldown: segment.cooldown.unwrap_or_default(),
            expire: segment.expire,
            settle: segment.settle.unwrap_or_default(),
            exit_delay,
            waiting,
        }))
    }

    /// Tells of what such a segment reads, as (source, can it make the customer enter, can it make a member leave).
    ///
    /// While a change settles, what would take it back matters as well; and while a customer is blocked, what makes `when` false.
    pub(super) fn delayed_reads(&self, segment: &SegmentUnit, delays: &Delays, found: &mut Vec<(Source, Matters, Matters)>) {
        let settles = delays.settle > Millis::ZERO;
        let or_always = |matters: Matters| if settles { ALWAYS } else { matters };
        self.reads(delays.enter, true, &mut |source, matters| found.push((source, or_always(matters), NEVER)));
        self.reads(delays.exit, true, &mut |source, matters| found.push((source, NEVER, or_always(matters))));
        if let Some(consent) = delays.consent {
            self.reads(consent, true, &mut |source, matters| found.push((source, or_always(matters), NEVER)));
            self.reads(consent, false, &mut |source, matters| found.push((source, NEVER, matters)));
        }
        if delays.expire.is_some() {
            self.reads(segment.when, false, &mut |source, matters| found.push((source, matters, NEVER)));
        }
    }

    pub(super) fn trait_slots(&self) -> usize {
        self.workspace.catalogue.traits.len() + self.workspace.catalogue.purposes.len()
    }
}

/// Adds the edge that a read gives.
pub(super) fn edge(edges: &mut Vec<super::feature::Edge>, unit: UnitId, enters: Matters, exits: Matters) {
    add_edge(edges, unit, enters.at_all, enters.delay, exits.at_all);
}

/// Lines of `check --plan` about such rules: ways of time, bytes of state.
pub(super) struct Words {
    pub time: Vec<String>,
    pub state: Vec<String>,
}

pub(super) fn words(delays: &Delays) -> Words {
    let mut words = Words { time: Vec::new(), state: Vec::new() };
    if let Some(after) = delays.enter_after {
        words.time.push(format!("{after} after the entry condition turned"));
        words.state.push("entry condition's instant 6 B while it holds".into());
    }
    if delays.cooldown > Millis::ZERO {
        words.time.push(format!("{} after an exit", delays.cooldown));
    }
    if let Some(after) = delays.exit_after {
        words.time.push(format!("{after} after the exit condition turned"));
        words.state.push("exit condition's instant 6 B while it holds for a member".into());
    }
    if delays.stay > Millis::ZERO {
        words.time.push(format!("{} after the entry", delays.stay));
    }
    if let Some(after) = delays.expire {
        words.time.push(format!("{after} after the entry"));
    }
    if delays.settle > Millis::ZERO {
        words.time.push(format!("what time changes is decided {} later", delays.settle));
    }
    if delays.waiting.is_some() {
        let what = match (delays.settle > Millis::ZERO, delays.expire.is_some()) {
            (true, true) => "while a change settles or an expired membership is blocked",
            (true, false) => "while a change settles",
            _ => "while an expired membership is blocked",
        };
        words.state.push(format!("machine 6 B {what}"));
    }
    words
}
