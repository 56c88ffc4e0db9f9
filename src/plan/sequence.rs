//! Sequences as they are kept: which events serve which step, and what lies between two of them (LANGUAGE.md 8.5, 9.4).
//!
//! Each selector of a sequence feeds one feature with the steps that its events can serve, as bits of a mask: bit i is step i as it is
//! written, the trailing `then no` included, and bit [`WITHOUT`]` + i` is the `without` of step i. The first step has none, so the engine keeps in
//! its bit that an event is not after a mark. One event of several selectors brings the union of their masks, so that the engine sees it once.
//!
//! The mark of `since last` is none of them: it stands around the sequence, or around all its keys, like that of any other feature.

use super::build::Builder;
use super::feature::{Feature, FeatureId, FeatureKind, NumberUnit, Within};
use super::node::{Node, TermNode};
use super::selector::Role;
use super::window::AgeWindow;
use crate::lang::definition::{Sequence, Unit, Window};
use crate::limits::SEQUENCE_STEPS_MAX;
use crate::time::Millis;

/// The first bit of a mask that is of a `without`; see the module.
pub const WITHOUT: u32 = 32;

const _: () = assert!(SEQUENCE_STEPS_MAX <= WITHOUT as usize);

/// What is asked of the events of one match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequencePlan {
    /// Steps that happen, at least one; limits count from the step before.
    pub steps: Vec<StepPlan>,
    /// The trailing `then no .. within D`: a match is complete D after its last step.
    pub absence: Option<Millis>,
    /// `all within`: from the first step to the last one that happens.
    pub total: Option<Millis>,
    /// A mark stands around it (`since last`), so an event that is kept can be [`marked`](Self::marked).
    pub mark: bool,
    /// The selectors of the steps as an author wrote them, for people.
    pub text: String,
}

/// Limits of one step; the first has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepPlan {
    /// The gap is less.
    pub within: Option<Millis>,
    /// The gap is this or more.
    pub later: Option<Millis>,
    /// Some event must not come between.
    pub without: bool,
}

impl SequencePlan {
    /// The bit of an event that serves step `i`, of the trailing `no` too.
    pub fn step(i: usize) -> u64 {
        1 << i
    }

    /// The bit of an event that must not come before step `i`.
    pub fn without(i: usize) -> u64 {
        1 << (WITHOUT as usize + i)
    }

    /// The bit of an event that is kept and that a mark of its own millisecond came after.
    pub fn marked() -> u64 {
        1 << WITHOUT
    }

    /// Whether one more event, at whatever place, can only make more matches: then a completion is never taken back by one.
    pub fn only_grows(&self) -> bool {
        self.absence.is_none() && self.steps.iter().all(|s| s.later.is_none() && !s.without)
    }

    /// About the bytes of a customer's state, buffered events aside.
    pub fn bytes(&self) -> usize {
        let waiting = self.steps.len() - usize::from(self.absence.is_none());
        2 + 5 + waiting * if self.total.is_some() { 8 } else { 5 }
    }

    /// The longest time from a match's first event to its completion; `None` where nothing bounds it.
    pub fn span(&self) -> Option<Millis> {
        let gaps = || self.steps.iter().skip(1).try_fold(0i64, |sum, s| Some(sum.saturating_add(s.within?.0)));
        let events = match (self.total, gaps()) {
            (Some(total), Some(gaps)) => total.0.min(gaps),
            (total, gaps) => total.map(|t| t.0).or(gaps)?,
        };
        Some(Millis(events.saturating_add(self.absence.map_or(0, |d| d.0))))
    }
}

impl Builder<'_> {
    pub(super) fn sequence(&mut self, sequence: &Sequence) -> Node {
        let feature = self.sequence_feature(sequence);
        match &sequence.window {
            Window::SinceLast(_) => Node::Sequence { feature, window: AgeWindow::EVER },
            Window::This(Unit::Session) => {
                Node::InSession { session: self.session(), of: self.term_node(TermNode::Completion { feature }) }
            }
            window => match AgeWindow::of(window) {
                Some(window) => Node::Sequence { feature, window },
                None => {
                    let of = self.term_node(TermNode::Completion { feature });
                    self.instant_in(of, window)
                }
            },
        }
    }

    fn sequence_feature(&mut self, sequence: &Sequence) -> FeatureId {
        let since = match &sequence.window {
            Window::SinceLast(mark) => Some(self.selector(mark)),
            _ => None,
        };
        let mut plan =
            SequencePlan { steps: Vec::new(), absence: None, total: sequence.all_within, mark: since.is_some(), text: String::new() };
        let mut feeds = Vec::new();
        for (i, step) in sequence.steps.iter().enumerate() {
            feeds.push((self.selector(&step.selector), SequencePlan::step(i)));
            if let Some(without) = &step.without {
                feeds.push((self.selector(without), SequencePlan::without(i)));
            }
            if step.absent {
                plan.absence = step.within;
            } else {
                plan.steps.push(StepPlan { within: step.within, later: step.at_least_later, without: step.without.is_some() });
            }
        }
        let key = format!("sequence {feeds:?} {plan:?} {:?} {since:?} {:?}", sequence.per, self.owner);
        let known = self.feature_ids.get(&key).copied();
        let id = known.unwrap_or(self.features.len() as FeatureId);
        self.keyed = sequence.per.is_some().then_some(id);
        if known.is_some() {
            return id;
        }
        for step in &sequence.steps {
            let then = if plan.text.is_empty() { "" } else { [" then ", " then no "][usize::from(step.absent)] };
            plan.text.extend([then, step.selector.text.as_str()]);
        }
        let kind = FeatureKind::Sequence(plan);
        let within = Within { key: sequence.per.clone(), since, ..Within::default() };
        self.features.push(Feature { within, ..Feature::bare(kind, NumberUnit::Instant) });
        self.feature_ids.insert(key, id);
        self.owners.extend(self.owner.clone().map(|owner| (id, owner)));
        // A selector that serves several steps feeds once, with all of them.
        let mut masks: Vec<(u32, u64)> = Vec::new();
        for (selector, bit) in feeds {
            match masks.iter_mut().find(|(known, _)| *known == selector) {
                Some((_, mask)) => *mask |= bit,
                None => masks.push((selector, bit)),
            }
        }
        for (selector, mask) in masks {
            self.selectors[selector as usize].feeds.push((id, Role::Steps(mask)));
        }
        if let Some(mark) = since {
            self.selectors[mark as usize].feeds.push((id, Role::Mark));
        }
        id
    }
}
