//! Terms of one customer at one instant: what features, cart and lists say, and until when (LANGUAGE.md 9.2).

use super::cart::Cart;
use super::evaluate::{Seen, Work};
use super::features::{Lists, Reading};
use super::filter::{self, Fields};
use super::program::{Program, Spec, State};
use super::value::{Val, arithmetic};
use crate::plan::feature::{FeatureId, Quantity};
use crate::plan::filter::Filter;
use crate::plan::node::{TermId, TermNode};
use crate::plan::window::AgeWindow;
use crate::time::{Millis, Timestamp};

impl Work {
    /// Evaluates a term; what it reads has been loaded.
    pub fn term<'a>(&'a self, program: &'a Program, id: TermId, t: Timestamp) -> Seen<'a> {
        match &program.plan.terms[id as usize] {
            TermNode::Literal(value) => Seen::fixed(Val::of_value(value)),
            TermNode::Trait { index, fields } => {
                let value = Val::of_ref(self.customer.trait_value(*index));
                Seen::fixed(fields.iter().fold(value, |v, at| v.field(*at)))
            }
            TermNode::FirstSeen => Seen::fixed(Val::Instant(self.customer.first_seen)),
            TermNode::Key { unit } => Seen::fixed(self.remembered_key(*unit)),
            TermNode::CartValue => Seen::fixed(Val::money(self.cart(program).summary().value, program.home)),
            TermNode::CartQuantity => Seen::fixed(Val::int(self.cart(program).summary().quantity)),
            TermNode::CartItems => Seen::fixed(Val::int(i64::from(self.cart(program).summary().items))),
            TermNode::CartChangedAt => Seen::fixed(self.cart(program).summary().changed_at.map_or(Val::Missing, Val::Instant)),
            TermNode::Quantity { feature, quantity, window, unit } => {
                let reading = self.read(program, *feature, *quantity, *window, t);
                let (value, saturated) = Val::of_feature(*unit, reading.value);
                Seen { value, next: reading.next, approx: reading.approx, saturated }
            }
            TermNode::Completion { feature } => self.completion(program, *feature, t),
            TermNode::RingEnd { feature, newest } => match &self.loaded[*feature as usize].state {
                State::Ring(ring) => {
                    let end = if *newest { ring.newest() } else { ring.oldest() };
                    Seen::fixed(end.map_or(Val::Missing, Val::Instant))
                }
                _ => panic!("no ring in this feature"),
            },
            TermNode::FirstLast { feature, value } => match &self.loaded[*feature as usize].state {
                State::FirstLast(s) => Seen::fixed(match value {
                    Some(i) => Val::of_ref(s.value(*i as usize)),
                    None => s.at().map_or(Val::Missing, Val::Instant),
                }),
                _ => panic!("no event in this feature"),
            },
            TermNode::Score { feature } => match (&self.loaded[*feature as usize].state, &program.specs[*feature as usize]) {
                (State::Score(s), Spec::Score(plan)) => {
                    let value = s.value_at(plan, t);
                    Seen { next: if value == 0.0 { Timestamp::MAX } else { t + Millis(1) }, ..Seen::fixed(Val::score(value)) }
                }
                _ => panic!("no score in this feature"),
            },
            TermNode::Arithmetic { op, left, right } => {
                let (left, right) = (self.term(program, *left, t), self.term(program, *right, t));
                Seen {
                    value: arithmetic(*op, left.value, right.value),
                    next: left.next.min(right.next),
                    approx: left.approx || right.approx,
                    saturated: left.saturated || right.saturated,
                }
            }
            TermNode::Calendar(term) => self.calendar_term(program, term, t),
            TermNode::Age(of) => match self.instant(program, *of, t) {
                Some(x) => Seen { next: t + Millis(1), ..Seen::fixed(Val::duration(t - x)) },
                None => Seen { next: self.term(program, *of, t).next, ..Seen::fixed(Val::Missing) },
            },
            TermNode::Crossing { feature, .. } => match &self.loaded[*feature as usize].state {
                State::Ring(ring) => Seen::fixed(ring.newest_until(t).map_or(Val::Missing, Val::Instant)),
                _ => panic!("crossings are kept in a ring"),
            },
            TermNode::Stage { unit } => Seen::fixed(Val::Text(self.stage_at(program, *unit, t))),
            TermNode::Points(rules) => self.points(program, rules, t),
            TermNode::Band { of, bounds } => self.band(program, *of, bounds, t),
            TermNode::Bucket(salt) => Seen::fixed(Val::decimal(self.bucket(program, *salt))),
        }
    }

    pub fn read(&self, program: &Program, feature: FeatureId, quantity: Quantity, window: AgeWindow, t: Timestamp) -> Reading {
        let reading = match self.kept(program, feature, t) {
            (State::Counter(s), _) => s.read(quantity),
            (State::Log(s), _) => s.read(quantity, window, t),
            (State::Extremes(s), Spec::Extremes(plan)) => s.read(plan, window, t),
            (State::Distinct(s), _) => s.read(window, t),
            (State::Periods(s), Spec::Periods { plan, axis }) => self.read_periods(program, (s, plan, *axis), quantity, window, t),
            (State::Ring(s), _) => {
                Reading { value: Some(super::features::Ratio::whole(s.count(window, t) as i128)), next: Timestamp::MAX, approx: false }
            }
            _ => panic!("no quantity in this feature"),
        };
        let (until, cut) = (self.part_until(program, feature, t), self.part_cut(program, feature, t));
        Reading { next: reading.next.min(until), approx: reading.approx || cut, ..reading }
    }
}

impl Work {
    /// A score that has been loaded.
    pub fn score(&self, program: &Program, feature: FeatureId, t: Timestamp) -> f64 {
        match (&self.loaded[feature as usize].state, &program.specs[feature as usize]) {
            (State::Score(s), Spec::Score(plan)) => s.value_at(plan, t),
            _ => panic!("no score in this feature"),
        }
    }

    /// The cart, which has been loaded.
    pub fn cart(&self, program: &Program) -> &Cart {
        match &self.loaded[program.cart as usize].state {
            State::Cart(cart) => cart,
            _ => panic!("the last feature is the cart"),
        }
    }

    /// List records, which have been loaded.
    pub(super) fn lists(&self, program: &Program) -> &Lists {
        match &self.loaded[program.lists as usize].state {
            State::Lists(lists) => lists,
            _ => panic!("lists are kept in a place of their own"),
        }
    }

    /// Whether some line satisfies a filter; quantity and price are those of the line, other fields those of its last add.
    pub(super) fn cart_has(&self, program: &Program, filter: &Filter) -> bool {
        let cart = self.cart(program);
        let names = &program.plan.cart.fields;
        let mut values = Vec::with_capacity(names.len());
        cart.lines().iter().any(|line| {
            values.clear();
            values.extend(names.iter().enumerate().map(|(i, (name, _))| match name.as_str() {
                "quantity" => Val::int(line.quantity),
                "price" => line.price.map_or(Val::Missing, |m| Val::money(m.minor, m.currency)),
                _ => Val::of_ref(cart.value(line, i)),
            }));
            filter::holds(filter, Fields::Values(&values))
        })
    }
}
