//! Sequences in the engine: hands events to the sequences whose steps they can serve, and asks them (LANGUAGE.md S20 to S22).
//!
//! An event of several selectors of one sequence comes to it once, with all that it can be. Units are looked at only where the newest
//! completion, or the wait for an absence, is another: a first step alone costs no evaluation.

use std::ops::Range;

use super::Settings;
use super::evaluate::{Seen, Work};
use super::features::sequence::{Arrived, Now};
use super::features::{AgeWindow, Verdict};
use super::feed::{self, Placed};
use super::machine::Agenda;
use super::output::Counts;
use super::program::{Program, Spec, State};
use super::value::Val;
use crate::ids::EventIndex;
use crate::plan::Plan;
use crate::plan::feature::{Feature, FeatureId, FeatureKind};
use crate::plan::selector::Fed;
use crate::time::Timestamp;

/// Sequences that one event serves, gathered over its selectors.
#[derive(Default)]
pub struct Served {
    /// By feature: what the event can be in it, and the key's place in `keys`.
    steps: Vec<(FeatureId, u64, Range<usize>)>,
    keys: Vec<u8>,
}

impl Served {
    pub fn clear(&mut self) {
        self.steps.clear();
        self.keys.clear();
    }

    /// One more selector of a sequence that the event matches; `key` where it is kept per key.
    pub fn add(&mut self, feature: FeatureId, steps: u64, key: Option<&[u8]>) {
        match self.steps.iter_mut().find(|(known, ..)| *known == feature) {
            Some((_, known, _)) => *known |= steps,
            None => {
                let start = self.keys.len();
                self.keys.extend_from_slice(key.unwrap_or_default());
                self.steps.push((feature, steps, start..self.keys.len()));
            }
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
        let now = Now { clock: placed.t, greatest: placed.floor };
        for (feature, mask, key) in self.steps.drain(..) {
            let arrived = Arrived { ts: placed.ts, mask, in_order: placed.in_order, buffer };
            if arrived.is_late(now) {
                counts.sequence_late_ignored += 1;
                continue;
            }
            work.load(program, feature);
            let (state, spec) = (&mut work.loaded[feature as usize].state, &program.specs[feature as usize]);
            let mut forgot = false;
            let (state, spec) = match (state, spec) {
                (State::Since(since), Spec::Since(inner)) => (since.state_mut(), &**inner),
                plain => plain,
            };
            let (state, spec) = match (state, spec) {
                (State::Keyed(keyed), Spec::Keyed(spec)) => {
                    let used = keyed.touch(spec, &self.keys[key], now);
                    forgot = used.forgot;
                    (used.state, &spec.inner)
                }
                plain => plain,
            };
            let (State::Sequence(state), Spec::Sequence(spec)) = (state, spec) else { panic!("steps for what is no sequence") };
            let outcome = state.apply(spec, arrived, now);
            counts.sequence_late_ignored += u64::from(outcome.late);
            counts.sequence_overflow += u64::from(outcome.overflowed);
            counts.keys_evicted += u64::from(forgot);
            work.mark_changed(feature);
            let feature = &program.plan.features[feature as usize];
            if outcome.changed {
                feed::touch(work, agenda, &feature.edges, Some(placed));
            }
            if forgot {
                feature.losses.iter().for_each(|unit| agenda.add(*unit));
            }
        }
    }
}

/// Gives each sequence the longest reorder buffer of the event types that feed it (LANGUAGE.md R26).
pub fn watch(plan: &Plan, settings: &Settings, specs: &mut [Spec]) {
    for (event, route) in plan.routes.iter().enumerate() {
        let lateness = plan.schema().catalogue.events.get(event).and_then(|e| e.lateness);
        for feed in route.selectors.iter().flat_map(|s| &s.feeds).filter(|f| matches!(f.what, Fed::Steps(_))) {
            if let Spec::Sequence(spec) = &mut specs[feed.feature as usize] {
                spec.buffer_max = spec.buffer_max.max(lateness.unwrap_or(settings.reorder_buffer));
            }
        }
    }
}

impl Work {
    /// Whether the newest completion of a sequence that has been loaded, of the key that is looked at, is in a window.
    pub(super) fn sequence(&self, program: &Program, feature: FeatureId, window: AgeWindow, t: Timestamp) -> Verdict {
        match self.kept(program, feature, t) {
            (State::Sequence(s), Spec::Sequence(spec)) => s.verdict(spec, window, self.mark(feature), t),
            _ => panic!("no sequence in this feature"),
        }
    }

    /// The newest completion of a sequence that has been loaded, which the end of a wait may follow.
    pub(super) fn completion(&self, program: &Program, feature: FeatureId, t: Timestamp) -> Seen<'_> {
        let (State::Sequence(s), Spec::Sequence(spec)) = self.kept(program, feature, t) else { panic!("no sequence in this feature") };
        let value = s.newest(spec, t).map_or(Val::Missing, Val::Instant);
        Seen { next: s.pending(spec, t).unwrap_or(Timestamp::MAX), ..Seen::fixed(value) }
    }

    /// The newest completion in words.
    pub(super) fn sequence_observed(&mut self, program: &Program, feature: FeatureId, t: Timestamp) -> String {
        self.load(program, feature);
        let (State::Sequence(s), Spec::Sequence(spec)) = self.kept(program, feature, t) else {
            panic!("no sequence in this feature");
        };
        let mark = self.mark(feature);
        match (s.newest(spec, t).filter(|at| Some(*at) >= mark), s.pending(spec, t)) {
            (Some(at), _) => format!("completed at {at}, {} ago", t - at),
            (None, Some(at)) => format!("not completed before {at}"),
            (None, None) => "not completed".into(),
        }
    }

    /// What [`Work::tidy`] does to sequences.
    pub(super) fn tidy_sequences(&mut self, program: &Program, clock: Timestamp) {
        for i in 0..self.customer.features.len() {
            let feature = self.customer.features[i].feature;
            // The cart and the lists are no features of the plan.
            let Some(Feature { kind: FeatureKind::Sequence(_), .. }) = program.plan.features.get(feature as usize) else { continue };
            self.load(program, feature);
            let now = Now { clock, greatest: self.customer.greatest };
            settle(&mut self.loaded[feature as usize].state, &program.specs[feature as usize], now);
            self.mark_changed(feature);
        }
    }
}

/// Settles a sequence, or that of each key.
fn settle(state: &mut State, spec: &Spec, now: Now) {
    match (state, spec) {
        (State::Sequence(s), Spec::Sequence(spec)) => {
            s.settle(spec, now);
        }
        (State::Since(s), Spec::Since(inner)) => settle(s.state_mut(), inner, now),
        (State::Keyed(all), Spec::Keyed(spec)) => {
            all.change_all(|one| {
                settle(one, &spec.inner, now);
                true
            });
        }
        _ => panic!("a sequence is kept as one"),
    }
}
