//! Sequences by looking back from each event (LANGUAGE.md S20-S22, R13-R16, R31, R37, R60): an event reaches a step if the most recent
//! event that reached the step before it is near enough. Nothing is carried along.

use super::Occurrence;
use super::eval::View;
use crate::lang::{Sequence, TimeWindow, Window};
use crate::model::Value;
use crate::time::Timestamp;

/// One completed match.
#[derive(Clone, Copy, Debug)]
pub struct Completion<'a> {
    /// Of its last event, or the end of the wait of a trailing `no`.
    pub at: Timestamp,
    /// The last event that took part.
    pub by: &'a Occurrence,
    by_event: bool,
}

impl<'a> View<'a> {
    /// Whether the window holds the sequence; with `per`, for some key.
    pub fn sequence(&self, sequence: &Sequence) -> bool {
        match &sequence.per {
            None => self.completed(sequence, &self.sequence_events(sequence)),
            Some(_) => !self.sequence_keys(sequence).is_empty(),
        }
    }

    /// The keys for which it holds.
    pub fn sequence_keys(&self, sequence: &Sequence) -> Vec<Value> {
        let Some(path) = &sequence.per else { return Vec::new() };
        let mut by_key: Vec<(Value, Vec<&Occurrence>)> = Vec::new();
        for event in self.sequence_events(sequence) {
            let key = self.property(event, path);
            match by_key.iter_mut().find(|(k, _)| *k == key) {
                Some((_, events)) => events.push(event),
                None if key.is_missing() => {}
                None => by_key.push((key, vec![event])),
            }
        }
        by_key.retain(|(_, events)| self.completed(sequence, events));
        by_key.into_iter().map(|(key, _)| key).collect()
    }

    fn completed(&self, sequence: &Sequence, events: &[&'a Occurrence]) -> bool {
        let all = self.completions(sequence, events);
        match &sequence.window {
            Window::Ever => !all.is_empty(),
            window => all.iter().max_by_key(|c| c.at).is_some_and(|newest| self.completion_in(window, newest)),
        }
    }

    fn completion_in(&self, window: &Window, completion: &Completion) -> bool {
        match window {
            // A mark counts however late it comes.
            Window::SinceLast(selector) => self.newest(selector).is_none_or(|y| match completion.by_event {
                true => (completion.by.ts, completion.by.order) > (y.ts, y.order),
                // A wait ends after all events of that millisecond.
                false => completion.at >= y.ts,
            }),
            _ => self.instant_in(&TimeWindow::Past(window.clone()), completion.at),
        }
    }

    /// Events of any of its selectors up to now, by S18, without those that came too late for it.
    fn sequence_events(&self, sequence: &Sequence) -> Vec<&'a Occurrence> {
        let mut all: Vec<&'a Occurrence> = self.customer.events.iter().map(|e| &**e).filter(|e| e.ts <= self.t && !e.too_late).collect();
        let selectors = sequence.steps.iter().flat_map(|s| std::iter::once(&s.selector).chain(&s.without));
        let selected: Vec<_> = selectors.map(|s| self.selected(s)).collect();
        all.retain(|e| selected.iter().any(|selects| selects(e)));
        if let Some(path) = &sequence.per {
            // In the order of application here.
            super::keys::forget_old_keys(&mut all, |e| self.property(e, path));
        }
        all.sort_by_key(|e| (e.ts, e.order));
        all
    }

    /// All completions up to now among `events`, those of one key.
    fn completions(&self, sequence: &Sequence, events: &[&'a Occurrence]) -> Vec<Completion<'a>> {
        let trailing = sequence.steps.last().filter(|s| s.absent);
        let steps = &sequence.steps[..sequence.steps.len() - usize::from(trailing.is_some())];
        let selected: Vec<_> =
            steps.iter().map(|s| (s, self.selected(&s.selector), s.without.as_ref().map(|w| self.selected(w)))).collect();
        // Start of the way by which each event reaches each step.
        let mut reached: Vec<Vec<Option<Timestamp>>> = Vec::new();
        for (i, event) in events.iter().enumerate() {
            let row = selected.iter().enumerate().map(|(s, (step, selects, without))| {
                if !selects(event) {
                    return None;
                }
                if s == 0 {
                    return Some(event.ts);
                }
                let before = (0..i).rev().find(|j| reached[*j][s - 1].is_some())?;
                let between = &events[before + 1..i];
                if without.as_ref().is_some_and(|forgets| between.iter().any(|e| forgets(e))) {
                    return None;
                }
                let (gap, start) = (event.ts - events[before].ts, reached[before][s - 1]?);
                let near = step.within.is_none_or(|d| gap < d) && step.at_least_later.is_none_or(|d| gap >= d);
                (near && sequence.all_within.is_none_or(|d| event.ts - start < d)).then_some(start)
            });
            let row = row.collect();
            reached.push(row);
        }
        let last = steps.len() - 1;
        let ends = (0..events.len()).filter(|i| reached[*i][last].is_some());
        match trailing.and_then(|step| step.within.map(|d| (step, d))) {
            None => ends.map(|i| Completion { at: events[i].ts, by: events[i], by_event: true }).collect(),
            Some((step, wait)) => ends
                .filter(|i| {
                    let until = events[*i].ts + wait;
                    let later = (i + 1..events.len()).take_while(|j| events[*j].ts < until);
                    let broken = later.into_iter().any(|j| reached[j][last].is_some() || self.selects(&step.selector, events[j]));
                    until <= self.t && !broken
                })
                .map(|i| Completion { at: events[i].ts + wait, by: events[i], by_event: false })
                .collect(),
        }
    }
}
