//! What one record does to a customer's features: finds the selectors that an event matches and gives each of their features its share.

use std::borrow::Cow;
use std::ops::Range;

use super::batch::{Batch, Datum};
use super::calendar;
use super::cart::{CartEvent, CartLine, line_key};
use super::evaluate::Work;
use super::features::codec::{put_datum, put_value};
use super::features::keyed::put_key;
use super::features::sequence::Now;
use super::features::session::Activity;
use super::filter::{self, At, Fields};
use super::machine::Agenda;
use super::output::Counts;
use super::program::{Program, Spec, State};
use super::score::decimal_to_f64;
use super::sequences::Served;
use super::value::{List, Val};
use crate::ids::{EventIndex, ListIndex, TraitIndex};
use crate::model::{CartAction, Value};
use crate::plan::feature::{Edge, FeatureId, FeatureKind};
use crate::plan::selector::{CartRoute, Fed, Feed, Route};
use crate::time::Timestamp;

/// Scratch of one event.
#[derive(Default)]
pub struct Feeder {
    /// By selector: the event that matched it last, so that a union counts an event once.
    matched: Vec<u64>,
    event: u64,
    /// Scores that the event gives points to: their sum in millionths, and whether it resets them.
    scores: Vec<(FeatureId, i64, bool)>,
    served: Served,
    /// Features of which the event is the mark.
    marks: Vec<FeatureId>,
    /// The key of the entry at hand.
    key: Vec<u8>,
    /// Keys that the event made forgotten.
    keys_evicted: u64,
    /// Places in the route's selectors that matched.
    hits: Vec<u32>,
    temporary: Vec<u8>,
    /// Lines of a cart event; their values stand in `temporary`.
    lines: Vec<(CartLine<'static>, Range<usize>)>,
}

/// What a match did to a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    Nothing,
    /// The bytes differ; no condition can tell.
    Stored,
    /// One more entry.
    Entry,
    /// Entries went: a key was forgotten, or the mark moved.
    Loss,
}

/// Where an event stands for the customer.
#[derive(Clone, Copy)]
pub struct Placed {
    pub ts: Timestamp,
    /// The greatest `ts` applied, this record's included: no evaluation looks at an earlier instant.
    pub floor: Timestamp,
    /// The clock.
    pub t: Timestamp,
    pub in_order: bool,
}

impl Feeder {
    pub fn new(program: &Program) -> Feeder {
        Feeder { matched: vec![0; program.plan.selectors.len()], ..Feeder::default() }
    }

    /// Applies an event: features, scores and cart.
    pub fn event(
        &mut self,
        program: &Program,
        work: &mut Work,
        agenda: &mut Agenda,
        batch: &Batch,
        (event, slots): (EventIndex, &[Datum]),
        placed: Placed,
        counts: &mut Counts,
    ) {
        let route = &program.plan.routes[event.at()];
        if let Some(session) = route.session {
            activity(program, work, agenda, session, placed);
        }
        self.feed(program, work, agenda, (Some(event), route), Fields::List(List::Data(batch, slots)), placed, counts);
        for cart in &route.cart {
            self.cart(program, work, agenda, cart, (event, Fields::List(List::Data(batch, slots))), placed, counts);
        }
    }

    fn cart(
        &mut self,
        program: &Program,
        work: &mut Work,
        agenda: &mut Agenda,
        route: &CartRoute,
        (event, fields): (EventIndex, Fields),
        placed: Placed,
        counts: &mut Counts,
    ) {
        self.temporary.clear();
        self.lines.clear();
        match route.lines {
            Some(slot) => {
                if let Val::List(items) = fields.get(slot) {
                    for item in items.iter() {
                        if let Val::Record(inner) = item {
                            self.line(route, Fields::List(inner));
                        }
                    }
                }
            }
            // A purchase that lists nothing has bought everything (S43).
            None if matches!(route.action, CartAction::Buy | CartAction::Clear) => {}
            None => self.line(route, fields),
        }
        let lines: Vec<CartLine<'_>> = self.lines.iter().map(|l| CartLine { values: &self.temporary[l.1.clone()], ..l.0 }).collect();
        work.load(program, program.cart);
        let (State::Cart(state), Spec::Cart(plan)) = (&mut work.loaded[program.cart as usize].state, &program.specs[program.cart as usize])
        else {
            panic!("the last feature is the cart");
        };
        let lateness = program.plan.workspace().catalogue.events[event.at()].lateness;
        let buffer = lateness.unwrap_or(program.settings.reorder_buffer);
        let event = CartEvent { action: route.action, ts: placed.ts, lines: &lines };
        let outcome = state.apply(plan, &event, placed.t, placed.in_order, buffer);
        counts.cart_late += u64::from(outcome.late);
        counts.cart_overflow += u64::from(outcome.overflowed);
        counts.cart_settled += u64::from(outcome.settled);
        work.mark_changed(program.cart);
        if outcome.changed {
            touch(work, agenda, &program.plan.cart_edges, None);
        }
    }

    /// Reads one line of a cart event.
    fn line(&mut self, route: &CartRoute, fields: Fields) {
        let at = |place: Option<u16>| place.map_or(Val::Missing, |slot| fields.get(slot));
        let product = match at(route.product) {
            Val::Missing => at(route.sku),
            known => known,
        };
        let key = line_key(name(product).as_deref(), name(at(route.variant)).as_deref());
        let quantity = match at(route.quantity) {
            Val::Number(n) => n.to_whole(),
            _ => None,
        };
        let price = match at(route.price).to_value() {
            Value::Money(money) => Some(money),
            _ => None,
        };
        let start = self.temporary.len();
        for place in &route.fields {
            put_value(&mut self.temporary, &at(*place).to_value());
        }
        self.lines.push((CartLine { key, quantity, price, values: &[] }, start..self.temporary.len()));
    }

    /// Applies one trait of a record: the value, if it is not older than the stored one, and `trait_changed`.
    pub fn set_trait(
        &mut self,
        program: &Program,
        work: &mut Work,
        agenda: &mut Agenda,
        batch: &Batch,
        (index, datum): (TraitIndex, Datum),
        placed: Placed,
        counts: &mut Counts,
    ) {
        let customer = &mut work.customer;
        let found = customer.traits.binary_search_by_key(&index, |t| t.index);
        if let Ok(i) = found
            && customer.traits[i].ts > placed.ts
        {
            return;
        }
        let start = customer.bytes.len() as u32;
        put_datum(&mut customer.bytes, batch, datum);
        let value = super::customer::Span { start, end: customer.bytes.len() as u32 };
        let entry = super::customer::TraitEntry { index, ts: placed.ts, value };
        self.temporary.clear();
        let same = match customer.set_trait(found, entry) {
            Some(old) => {
                self.temporary.extend_from_slice(customer.span(old.value));
                customer.span(old.value) == customer.span(value)
            }
            None => {
                put_value(&mut self.temporary, &Value::Missing);
                datum == Datum::Missing
            }
        };
        if same {
            return;
        }
        if program.plan.zones.customer == Some(index) {
            // The customer has moved: what was found of the zone is void.
            work.zone_of.set((0, program.plan.zones.workspace));
        }
        touch(work, agenda, &program.plan.trait_edges[index.at()], None);
        let Some(route) = program.plan.routes.last().filter(|r| !r.selectors.is_empty()) else { return };
        let before = std::mem::take(&mut self.temporary);
        let from = Val::of_ref(super::features::codec::read_value(&mut super::features::Reader::new(&before)));
        let name = Val::Text(&program.plan.workspace().catalogue.traits[index.at()].name);
        let fields = [name, from, Val::of_datum(batch, datum)];
        self.feed(program, work, agenda, (None, route), Fields::Values(&fields), placed, counts);
        self.temporary = before;
    }

    /// `event`: its type; `None` is `trait_changed`.
    /// Applies a list record, if it is not older than the stored one (LANGUAGE.md R50).
    pub fn set_list(&mut self, program: &Program, work: &mut Work, agenda: &mut Agenda, (list, member): (ListIndex, bool), ts: Timestamp) {
        work.load(program, program.lists);
        let State::Lists(lists) = &mut work.loaded[program.lists as usize].state else { panic!("lists are kept in a place of their own") };
        let Some(was) = lists.set(list, ts, member) else { return };
        work.mark_changed(program.lists);
        if was != member {
            touch(work, agenda, &program.plan.list_edges[list.at()], None);
        }
    }

    fn feed(
        &mut self,
        program: &Program,
        work: &mut Work,
        agenda: &mut Agenda,
        (event, route): (Option<EventIndex>, &Route),
        fields: Fields,
        placed: Placed,
        counts: &mut Counts,
    ) {
        let fields = match route.local {
            true => fields.at(At { ts: placed.ts, zone: work.customer_zone(program).zone() }),
            false => fields,
        };
        self.event += 1;
        self.hits.clear();
        self.hits.extend_from_slice(&route.always);
        for table in &route.tables {
            let candidates = match fields.get(table.slot) {
                Val::Text(text) => table.texts.get(text),
                Val::Number(n) => n.to_whole().and_then(|n| table.ints.get(&n)),
                _ => None,
            };
            for candidate in candidates.into_iter().flatten() {
                if candidate.filter.as_ref().is_none_or(|f| filter::holds(f, fields)) {
                    self.hits.push(candidate.at);
                }
            }
        }
        for candidate in &route.scan {
            if candidate.filter.as_ref().is_none_or(|f| filter::holds(f, fields)) {
                self.hits.push(candidate.at);
            }
        }
        self.scores.clear();
        self.served.clear();
        self.marks.clear();
        for i in 0..self.hits.len() {
            let selector = &route.selectors[self.hits[i] as usize];
            if selector.repeated && std::mem::replace(&mut self.matched[selector.selector as usize], self.event) == self.event {
                continue;
            }
            for feed in &selector.feeds {
                match &feed.what {
                    Fed::Points(points) => self.points(feed.feature, *points),
                    Fed::Steps(steps) => {
                        let has_key = feed.key.as_ref().is_none_or(|key| put_key(&mut self.key, filter::operand(key, fields)));
                        if has_key {
                            self.served.add(feed.feature, *steps, feed.key.as_ref().map(|_| self.key.as_slice()));
                        }
                    }
                    Fed::Mark => self.marks.push(feed.feature),
                    _ => {
                        let effect = self.one(program, work, feed, fields, placed);
                        changed(program, work, agenda, feed.feature, effect, placed);
                    }
                }
            }
        }
        for i in 0..self.scores.len() {
            let (feature, points, reset) = self.scores[i];
            work.load(program, feature);
            let (State::Score(score), Spec::Score(plan)) = (&mut work.loaded[feature as usize].state, &program.specs[feature as usize])
            else {
                panic!("points for what is no score");
            };
            let differs = if reset { score.reset(placed.ts) } else { score.add(plan, placed.ts, decimal_to_f64(points)) };
            let effect = if differs { Effect::Entry } else { Effect::Nothing };
            changed(program, work, agenda, feature, effect, placed);
        }
        self.served.apply(program, work, agenda, event, placed, counts);
        // Last, so that an event is not after itself.
        for i in 0..self.marks.len() {
            let feature = self.marks[i];
            work.load(program, feature);
            let (State::Since(since), Spec::Since(inner)) = (&mut work.loaded[feature as usize].state, &program.specs[feature as usize])
            else {
                panic!("a mark for what counts since none");
            };
            let effect = if since.set_mark(inner, placed.ts) { Effect::Loss } else { Effect::Nothing };
            changed(program, work, agenda, feature, effect, placed);
        }
        counts.keys_evicted += std::mem::take(&mut self.keys_evicted);
    }

    /// Points of one event are added up before they count, and a reset among them wins (R37).
    fn points(&mut self, feature: FeatureId, points: Option<i64>) {
        let entry = match self.scores.iter().position(|s| s.0 == feature) {
            Some(i) => &mut self.scores[i],
            None => {
                self.scores.push((feature, 0, false));
                self.scores.last_mut().expect("just pushed")
            }
        };
        match points {
            Some(points) => entry.1 = entry.1.saturating_add(points),
            None => entry.2 = true,
        }
    }

    /// Gives one feature its share.
    fn one(&mut self, program: &Program, work: &mut Work, feed: &Feed, fields: Fields, placed: Placed) -> Effect {
        let Feed { feature, what, key } = feed;
        let Placed { ts, floor, .. } = placed;
        let unit = program.plan.features[*feature as usize].unit;
        let number = match what {
            Fed::Number(of) => filter::operand(of, fields).to_feature(unit),
            Fed::Hash(of) => filter::operand(of, fields).hash().map(|hash| hash as i64),
            _ => Some(0),
        };
        // Whatever else an event lacks, it uses its key.
        if key.as_ref().map_or(number.is_none(), |key| !put_key(&mut self.key, filter::operand(key, fields))) {
            return Effect::Nothing;
        }
        let filed = match program.plan.features[*feature as usize].kind {
            FeatureKind::Periods { axis, .. } => calendar::filed(axis, work.zone(program, axis.zone()), ts, floor),
            _ => None,
        };
        work.load(program, *feature);
        let within = &program.plan.features[*feature as usize].within;
        let session = within.session.then(|| {
            program.plan.session.iter().for_each(|id| work.load(program, *id));
            work.session(program).of(ts, program.session_gap)
        });
        let (state, spec) = (&mut work.loaded[*feature as usize].state, &program.specs[*feature as usize]);
        let (state, spec, effect) = match enter(state, spec, session.flatten(), placed, &self.key) {
            Ok(entered) => entered,
            Err(effect) => return effect,
        };
        self.keys_evicted += u64::from(key.is_some() && effect == Effect::Loss);
        let Some(number) = number else { return effect };
        let entered = match (state, spec) {
            (State::Periods(s), Spec::Periods { plan, .. }) => filed.is_some_and(|(period, newest)| s.insert(plan, period, number, newest)),
            (State::Counter(s), _) => {
                s.insert(number);
                true
            }
            (State::Ring(s), Spec::Ring { keep, capacity }) => s.insert(*keep, *capacity, ts),
            (State::Log(s), Spec::Log(plan)) => s.insert(plan, ts, number, floor),
            (State::Extremes(s), Spec::Extremes(plan)) => s.insert(plan, ts, number, floor),
            (State::Distinct(s), Spec::Distinct(plan)) => s.insert(plan, number as u64, ts, floor),
            (State::FirstLast(s), Spec::FirstLast { which, .. }) => {
                let Fed::Values(values) = what else { panic!("an event without its values") };
                s.wants(*which, ts) && s.set(ts, |out| values.iter().for_each(|of| put_value(out, &filter::operand(of, fields).to_value())))
            }
            _ => panic!("a feature's state is of another kind than its specification"),
        };
        if entered { effect.max(Effect::Entry) } else { effect }
    }
}

/// Steps through session, mark and keys to the state that an entry goes into; `Err` where it counts in none.
fn enter<'a>(
    state: &'a mut State,
    spec: &'a Spec,
    session: Option<u64>,
    placed: Placed,
    key: &[u8],
) -> Result<(&'a mut State, &'a Spec, Effect), Effect> {
    let (state, spec) = match (state, spec) {
        (State::InSession(s), Spec::InSession(inner)) => (s.enter(session.ok_or(Effect::Nothing)?), &**inner),
        (State::Since(s), Spec::Since(inner)) => {
            let entered = s.enter(placed.ts).map_err(|first| if first { Effect::Loss } else { Effect::Nothing })?;
            (entered, &**inner)
        }
        plain => plain,
    };
    match (state, spec) {
        (State::Keyed(keyed), Spec::Keyed(spec)) => {
            let used = keyed.touch(spec, key, Now { clock: placed.t, greatest: placed.floor });
            let effect = match (used.forgot, used.reordered) {
                (true, _) => Effect::Loss,
                (false, true) => Effect::Stored,
                (false, false) => Effect::Nothing,
            };
            Ok((used.state, &spec.inner, effect))
        }
        (state, spec) => Ok((state, spec, Effect::Nothing)),
    }
}

/// Carries the customer's session on, or begins another.
fn activity(program: &Program, work: &mut Work, agenda: &mut Agenda, session: FeatureId, placed: Placed) {
    work.load(program, session);
    let State::Session(state) = &mut work.loaded[session as usize].state else { panic!("the session is one") };
    match state.apply(placed.ts, placed.t, program.session_gap) {
        Activity::Nothing => {}
        // What holds for the session holds longer, and its deadlines are looked at again when they are met.
        Activity::CarriedOn => work.mark_changed(session),
        Activity::Turned => changed(program, work, agenda, session, Effect::Entry, placed),
    }
}

/// What names a product or a variant, as text.
fn name(of: Val<'_>) -> Option<Cow<'_, str>> {
    match of {
        Val::Text(text) => Some(Cow::Borrowed(text)),
        Val::Missing => None,
        other => Some(Cow::Owned(other.to_value().to_string())),
    }
}

/// Marks a feature as written and puts the units that this can move on the agenda.
fn changed(program: &Program, work: &mut Work, agenda: &mut Agenda, feature: FeatureId, effect: Effect, placed: Placed) {
    if effect == Effect::Nothing {
        return;
    }
    work.mark_changed(feature);
    let feature = &program.plan.features[feature as usize];
    if effect >= Effect::Entry {
        touch(work, agenda, &feature.edges, Some(placed));
    }
    if effect == Effect::Loss {
        feature.losses.iter().for_each(|unit| agenda.add(*unit));
    }
}

/// Units that one more entry can move from where they are. `placed` is the entry's place, if it is an event.
pub fn touch(work: &Work, agenda: &mut Agenda, edges: &[Edge], placed: Option<Placed>) {
    for edge in edges {
        let matters = if edge.enters && edge.exits && edge.enters_after.is_none() {
            true
        } else if work.customer.is_member(edge.unit) {
            edge.exits
        } else {
            edge.enters && !waits(work, edge, placed)
        };
        if matters {
            agenda.add(edge.unit);
        }
    }
}

/// Whether an event can make no difference before the unit is looked at anyway: it is younger than what its conditions wait for, and the
/// unit's deadline is not after the instant at which it will be that old.
fn waits(work: &Work, edge: &Edge, placed: Option<Placed>) -> bool {
    match (edge.enters_after, placed) {
        (Some(age), Some(placed)) => {
            let ripe = placed.ts + age;
            let deadline = work.customer.deadline(edge.unit);
            ripe > placed.t && deadline > placed.t && deadline <= ripe
        }
        _ => false,
    }
}
