//! Aggregates over a part of a selector's events: those of the current session, those since the last of another selector, those of one key
//! (LANGUAGE.md S5, R19, R23, R33, R51).

use super::build::{Builder, age_window, refused};
use super::feature::{Feature, FeatureId, FeatureKind, Keep, NumberUnit, Within};
use super::node::{Node, NodeId, Unit, UnitId, UnitKind};
use super::window::{AgeWindow, Ratio};
use crate::lang::definition::{Rel, Selector, Unit as Period, Which, Window};

impl Builder<'_> {
    /// Builds with the part of events that a window and a key name. `build` gets the window by age that is left of it: `ever` where the
    /// session or the mark says it all. By the calendar it is a window of periods.
    pub(super) fn part<T>(&mut self, window: &Window, per: Option<&[String]>, build: impl FnOnce(&mut Self, AgeWindow) -> T) -> T {
        let mut axis = None;
        let mut within = Within { key: per.map(<[String]>::to_vec), ..Within::default() };
        let window = match window {
            Window::This(Period::Session) => {
                self.session();
                within.session = true;
                AgeWindow::EVER
            }
            Window::SinceLast(mark) => {
                within.since = Some(self.selector(mark));
                AgeWindow::EVER
            }
            window => match self.axis(window) {
                Some((found, keep, window)) => {
                    axis = Some((found, keep));
                    window
                }
                None => age_window(window),
            },
        };
        let outer = (std::mem::replace(&mut self.within, within), std::mem::replace(&mut self.axis, axis));
        let built = build(self, window);
        (self.within, self.axis) = outer;
        built
    }

    /// The customer's session.
    pub(super) fn session(&mut self) -> FeatureId {
        if let Some(id) = self.session {
            return id;
        }
        let id = self.features.len() as FeatureId;
        self.features.push(Feature::bare(FeatureKind::Session, NumberUnit::Int));
        self.session = Some(id);
        id
    }

    /// `first(x)` and `last(x)` in a window that is not by age. The newest event is in it if any is.
    pub(super) fn event_in_part(&mut self, which: Which, of: &Selector, window: &Window) -> Node {
        match (which, window) {
            (Which::Last, Window::This(Period::Session) | Window::SinceLast(_)) => {
                self.part(window, None, |builder, window| builder.count(of, window, Rel::Ge, Ratio::whole(1)))
            }
            (Which::First, Window::This(Period::Session)) => Node::InSession { session: self.session(), of: self.instant_of(which, of) },
            (Which::First, Window::SinceLast(_)) => {
                self.part(window, None, |builder, _| Node::FirstSince { feature: builder.ring(of, Keep::Oldest, 1) })
            }
            _ => {
                let of = self.instant_of(which, of);
                self.instant_in(of, window)
            }
        }
    }

    /// A condition that reads a keyed feature holds if it does for some key.
    pub(super) fn some_key(&mut self, feature: FeatureId, node: Node, text: String, threshold: String) -> NodeId {
        let of = self.node(node, text.clone(), threshold.clone());
        let node = self.node(Node::SomeKey { feature, of }, text, threshold);
        self.some_key = Some(node);
        node
    }

    /// What remembers the keys for `emit key`; it stands before the segment, so that it is up to date when the segment is decided.
    pub(super) fn keys_unit(&mut self) -> UnitId {
        let of = self.some_key.unwrap_or_else(|| refused("`key` without a condition `per` a key"));
        if let Some(unit) = self.keys_ids.get(&of) {
            return *unit;
        }
        let unit = self.units.len() as UnitId;
        self.units.push(Unit { kind: UnitKind::Keys { of }, dependents: Vec::new() });
        self.keys_ids.insert(of, unit);
        unit
    }

    /// Whether a record can take entries from a feature.
    pub(super) fn loses(&self, feature: FeatureId) -> bool {
        let within = &self.features[feature as usize].within;
        within.since.is_some() || within.key.is_some()
    }
}

impl Window {
    /// Whether it moves with the clock alone, by ages.
    pub(super) fn is_by_age(&self) -> bool {
        AgeWindow::of(self).is_some()
    }
}
