//! Sequences in the engine: hands events to the sequences whose steps they can serve, and asks them (LANGUAGE.md S20 to S22).
//!
//! An event of several selectors of one sequence comes to it once, with all that it can be. Units are looked at only where the newest
//! completion, or the wait for an absence, is another: a first step alone costs no evaluation.

use super::Settings;
use super::evaluate::Work;
use super::features::sequence::{Arrived, Now};
use super::features::{AgeWindow, Verdict};
use super::feed::{self, Placed};
use super::machine::Agenda;
use super::output::Counts;
use super::program::{Program, Spec, State};
use crate::ids::EventIndex;
use crate::plan::Plan;
use crate::plan::feature::FeatureId;
use crate::time::Timestamp;

/// Sequences that one event serves, gathered over its selectors.
#[derive(Default)]
pub struct Served {
    /// By feature: what the event can be in it.
    steps: Vec<(FeatureId, u64)>,
}

impl Served {
    pub fn clear(&mut self) {
        self.steps.clear();
    }

    /// One more selector of a sequence that the event matches.
    pub fn add(&mut self, feature: FeatureId, steps: u64) {
        match self.steps.iter_mut().find(|(known, _)| *known == feature) {
            Some((_, known)) => *known |= steps,
            None => self.steps.push((feature, steps)),
        }
    }

    /// Hands the event on. `event`: its type; `None` is `trait_changed`.
    pub fn apply(
        &mut self,
        program: &Program,
        work: &mut Work,
        agenda: &mut Agenda,
        event: Option<EventIndex>,
        placed: Placed,
        counts: &mut Counts,
    ) {
        let lateness = event.and_then(|e| program.plan.workspace().catalogue.events[e.at()].lateness);
        let buffer = lateness.unwrap_or(program.settings.reorder_buffer);
        for (feature, mask) in self.steps.drain(..) {
            work.load(program, feature);
            let (State::Sequence(state), Spec::Sequence(spec)) =
                (&mut work.loaded[feature as usize].state, &program.specs[feature as usize])
            else {
                panic!("steps for what is no sequence");
            };
            let arrived = Arrived { ts: placed.ts, mask, in_order: placed.in_order, buffer };
            let outcome = state.apply(spec, arrived, Now { clock: placed.t, greatest: placed.floor });
            counts.sequence_late_ignored += u64::from(outcome.late);
            counts.sequence_overflow += u64::from(outcome.overflowed);
            if !outcome.late {
                work.mark_changed(feature);
            }
            if outcome.changed {
                feed::touch(work, agenda, &program.plan.features[feature as usize].edges, Some(placed));
            }
        }
    }
}

/// Gives each sequence the longest reorder buffer of the event types that feed it (LANGUAGE.md R26).
pub fn watch(plan: &Plan, settings: &Settings, specs: &mut [Spec]) {
    for (event, route) in plan.routes.iter().enumerate() {
        let lateness = plan.schema().catalogue.events.get(event).and_then(|e| e.lateness);
        for feed in route.selectors.iter().flat_map(|s| &s.feeds) {
            if let Spec::Sequence(spec) = &mut specs[feed.feature as usize] {
                spec.buffer_max = spec.buffer_max.max(lateness.unwrap_or(settings.reorder_buffer));
            }
        }
    }
}

impl Work {
    /// Whether the newest completion of a sequence that has been loaded is in a window.
    pub(super) fn sequence(&self, program: &Program, feature: FeatureId, window: AgeWindow, t: Timestamp) -> Verdict {
        match (&self.loaded[feature as usize].state, &program.specs[feature as usize]) {
            (State::Sequence(s), Spec::Sequence(spec)) => s.verdict(spec, window, t),
            _ => panic!("no sequence in this feature"),
        }
    }

    /// The newest completion in words.
    pub(super) fn sequence_observed(&mut self, program: &Program, feature: FeatureId, t: Timestamp) -> String {
        self.load(program, feature);
        let (State::Sequence(s), Spec::Sequence(spec)) = (&self.loaded[feature as usize].state, &program.specs[feature as usize]) else {
            panic!("no sequence in this feature");
        };
        match (s.newest(spec, t), s.pending(spec, t)) {
            (Some(at), _) => format!("completed at {at}, {} ago", t - at),
            (None, Some(at)) => format!("not completed before {at}"),
            (None, None) => "not completed".into(),
        }
    }

    /// What [`Work::tidy`] does to sequences.
    pub(super) fn tidy_sequences(&mut self, program: &Program, clock: Timestamp) {
        for i in 0..self.customer.features.len() {
            let feature = self.customer.features[i].feature;
            let Spec::Sequence(spec) = &program.specs[feature as usize] else { continue };
            self.load(program, feature);
            if let State::Sequence(s) = &mut self.loaded[feature as usize].state {
                s.settle(spec, Now { clock, greatest: self.customer.greatest });
            }
            self.mark_changed(feature);
        }
    }
}
