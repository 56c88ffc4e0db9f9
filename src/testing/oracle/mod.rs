//! A slow second implementation of the semantics, to prove the engine right: it keeps every event of every customer, evaluates each
//! condition from scratch, and finds the next instant by trying all that could matter.
//!
//! **What it shares with the engine:** the model, the checked definitions (`lang`), the schema that says which slot of a record is which
//! property, and the types of batches and outputs. Nothing of `plan` or of the engine's evaluation; change ids and decay are computed here
//! anew. Scores use the platform's `exp2`: they may differ from the engine's in the last bits, which can move a crossing by a millisecond
//! only where the exact crossing lies within about 1e-9 half-lives of a millisecond; whole multiples of the half-life are exact in both.
//!
//! **What it does not know:** ranks and tiles, which need other customers; see [`Oracle::knows`]. It computes no reasons, no `valid_until`
//! and no approximations (S9).
//!
//! **Rules by name.** S5: `eval.rs`. S6, S10, R19, R33, R45: `windows.rs`. S11, S12: `calendar.rs`. S20-S22, R13-R16: `sequence.rs`. R23,
//! R51: `keys.rs`. S34, S42, R18: `terms.rs`. S13, S14, S27, R1-R3, R9, R40: `steps.rs`. S17, S23-S25, R6, R10-R12, R34-R36: `machine.rs`.
//! R4, R5, R30: `steps.rs`. S29, R20, S4, R21, R25, R43, R44: this file. S43, S44, R17, R31, R32, R38: `cart.rs`. S26: `instants.rs`.

mod calendar;
mod cart;
mod eval;
mod instants;
mod keys;
mod knows;
mod machine;
mod rules;
mod sequence;
mod steps;
mod terms;
mod value;
mod walk;
mod windows;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::tz::TimeZone;

use cart::{Cart, Place};
use eval::View;
use machine::Machine;

use crate::engine::Settings;
use crate::engine::batch::{Batch, Body, Record};
use crate::engine::output::{DeadLetter, Outputs};
use crate::ids::{ChangeId, Position};
use crate::lang::{DefinitionKind, EventRef, Expr, Selector, Workspace};
use crate::model::{DeadLetterReason, Membership, Value};
use crate::plan::schema::Schema;
use crate::time::{Millis, Timestamp};

pub use value::same as same_value;

/// At most so many ids of one customer are remembered (S29).
const IDS_MAX: usize = 256;

/// The semantics of one shard, slowly.
#[derive(Debug)]
pub struct Oracle {
    rules: Rules,
    clock: Timestamp,
    customers: BTreeMap<String, Customer>,
}

/// What is the same for all customers.
#[derive(Debug)]
struct Rules {
    workspace: Arc<Workspace>,
    schema: Arc<Schema>,
    settings: Settings,
    /// What is remembered since it turned, each once: operands of `for at least` and of `enter after`, inner ones before outer ones, in
    /// the order of the definitions. The calendar is part of the meaning.
    dwells: Vec<(ZoneOf, Expr)>,
    /// By definition: the dwells that no definition before it has.
    dwells_of: Vec<Vec<usize>>,
    /// By definition: the dwell of `enter after`.
    enter_dwells: Vec<Option<usize>>,
    /// By definition.
    zones: Vec<ZoneOf>,
    named_zones: Vec<(String, TimeZone)>,
    workspace_zone: TimeZone,
    /// All selectors: which of them an event is one of is found out once, when it is applied.
    selectors: Vec<(ZoneOf, Selector)>,
    /// Places in `selectors` and in `dwells` by the address of the node, so that nothing has to be compared.
    selector_at: HashMap<usize, usize>,
    dwell_at: HashMap<usize, usize>,
    patterns: BTreeMap<String, regex::Regex>,
    uses_trait_changed: bool,
    constants: instants::Constants,
}

/// By whose calendar a definition goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ZoneOf {
    /// The customer's, at its place in time.
    Customer,
    Workspace,
    /// Place in [`Rules::named_zones`].
    Named(usize),
}

impl ZoneOf {
    /// Among all zones: the customer's, the workspace's, those with a name.
    fn place(self) -> usize {
        match self {
            ZoneOf::Customer => 0,
            ZoneOf::Workspace => 1,
            ZoneOf::Named(i) => i + 2,
        }
    }
}

/// Everything that happened to one customer.
#[derive(Clone, Debug, PartialEq)]
struct Customer {
    name: String,
    first_seen: Timestamp,
    /// Greatest `ts` applied.
    greatest_ts: Timestamp,
    /// In the order of application.
    events: Vec<Arc<Occurrence>>,
    /// Value with the `ts` that set it.
    traits: Vec<Option<(Timestamp, Value)>>,
    consents: Vec<Option<(Timestamp, bool, Option<Timestamp>)>>,
    lists: Vec<Option<(Timestamp, bool)>>,
    ids: Vec<KnownId>,
    cart: Cart,
    session: Option<Session>,
    /// That of the trait `timezone`, else the workspace's.
    zone: TimeZone,
    /// Since when the operand has held, by [`Rules::dwells`].
    dwells: Vec<Option<Timestamp>>,
    /// By definition.
    machines: Vec<Machine>,
    seq: u64,
    /// Timers with a deadline up to here have fired.
    fired_through: Timestamp,
    /// How many steps there were.
    steps: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Occurrence {
    ts: Timestamp,
    /// Order of application.
    order: u64,
    kind: EventRef,
    /// By the catalogue's property index; those that no definition uses are missing. Of `trait_changed`: name, from, to.
    properties: Vec<Value>,
    /// Where it stands in the cart's fold, if it is a cart event.
    place: Option<Place>,
    /// R13, R31: not in order and older than the reorder buffer when it was applied, so that sequences ignore it.
    too_late: bool,
    /// Number of the session in which it counts.
    session: Option<u32>,
    /// The customer's zone when it was applied.
    zone: TimeZone,
    /// Its local date, by [`ZoneOf::place`].
    days: Vec<i32>,
    /// By [`Rules::selectors`].
    selected: Vec<bool>,
}

/// The last session of a customer; it runs while the last activity is younger than the gap.
#[derive(Clone, Debug, PartialEq)]
struct Session {
    number: u32,
    start: Timestamp,
    last: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
struct KnownId {
    id: String,
    arrival: Timestamp,
    window: Millis,
    body_hash: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct LastChange {
    id: ChangeId,
    since: Timestamp,
}

impl Oracle {
    pub fn new(workspace: Arc<Workspace>, schema: Arc<Schema>, settings: Settings) -> Oracle {
        Oracle { rules: Rules::new(workspace, schema, settings), clock: Timestamp::MIN, customers: BTreeMap::new() }
    }

    /// Whether the oracle evaluates everything that the definitions use.
    ///
    /// **Errors:** the first form that it lacks, as a message calls it; such a workspace must not be given to it.
    pub fn knows(workspace: &Workspace) -> Result<(), &'static str> {
        knows::knows(workspace)
    }

    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    pub fn customers(&self) -> usize {
        self.customers.len()
    }

    /// Applies the records in their order; then, with `idle_until`, fires what is due by then, else what is due before the clock.
    pub fn apply(&mut self, batch: &Batch, idle_until: Option<Timestamp>, out: &mut Outputs) {
        for record in &batch.records {
            self.record(batch, record, out);
        }
        let before_clock = self.clock.0.saturating_sub(1);
        let through = Timestamp(before_clock.max(idle_until.map_or(i64::MIN, |t| t.0)));
        for customer in self.customers.values_mut() {
            if let Some(last) = steps::fire(&self.rules, customer, through, out) {
                self.clock = self.clock.max(last);
            }
        }
    }

    fn record(&mut self, batch: &Batch, record: &Record, out: &mut Outputs) {
        out.counts.records += 1;
        self.clock = self.clock.max(record.arrival);
        let t = self.clock;
        let mut dead =
            |reason, detail: &str| out.dead_letters.push(DeadLetter { position: record.position, reason, detail: detail.into() });
        match record.body {
            Body::Rejected { reason, detail } => return dead(reason, batch.text(detail)),
            Body::Ignored => {
                out.counts.ignored_events += 1;
                return;
            }
            _ => {}
        }
        let mut ts = record.ts.unwrap_or(record.arrival);
        if ts - record.arrival > self.rules.settings.max_future_skew {
            return dead(DeadLetterReason::Future, "");
        }
        ts = ts.min(record.arrival);
        // Other records are settled by S18, however old.
        let is_event = matches!(record.body, Body::Event { .. });
        if is_event && self.rules.settings.max_age.is_some_and(|max| t - ts > max) {
            return dead(DeadLetterReason::TooLate, "");
        }
        let name = batch.text(record.customer).to_string();
        let rules = &self.rules;
        let before = self.customers.get_mut(&name).map(|customer| {
            steps::fire(rules, customer, Timestamp(t.0.saturating_sub(1)), out);
            customer.clone()
        });
        if let (Some(customer), Some(id), Body::Event { event, .. }) = (self.customers.get_mut(&name), record.id, record.body) {
            let window = rules.workspace.catalogue.events[event.at()].dedup;
            let known = KnownId {
                id: batch.text(id).to_string(),
                arrival: t,
                window: window.unwrap_or(rules.settings.duplicate_window),
                body_hash: record.body_hash,
            };
            if let Some(conflict) = customer.duplicate(&known) {
                out.counts.duplicates += 1;
                out.counts.conflicts += u64::from(conflict);
                return;
            }
        }
        let is_new = before.is_none();
        out.counts.new_customers += u64::from(is_new);
        let customer = self.customers.entry(name.clone()).or_insert_with(|| rules.new_customer(&name, ts));
        if is_new && let (Some(id), Body::Event { event, .. }) = (record.id, record.body) {
            let window = rules.workspace.catalogue.events[event.at()].dedup.unwrap_or(rules.settings.duplicate_window);
            customer.ids.push(KnownId { id: batch.text(id).to_string(), arrival: t, window, body_hash: record.body_hash });
        }
        customer.take(rules, batch, record, ts, t);
        let id = record.id.map(|id| batch.text(id).into());
        steps::record(rules, before.as_ref(), customer, steps::RecordStep { t, ts, id, position: record.position }, out);
        customer.greatest_ts = customer.greatest_ts.max(ts);
        customer.fired_through = Timestamp(t.0.saturating_sub(1));
    }

    /// Present memberships of a customer, in the order of the definitions.
    pub fn memberships(&self, customer: &str) -> Vec<Membership> {
        let Some(state) = self.customers.get(customer) else { return Vec::new() };
        let present = self.rules.workspace.definitions.iter().zip(&state.machines);
        present
            .filter_map(|(definition, machine)| {
                let last = machine.last?;
                let stage = match &definition.kind {
                    // Listed from the first move on (R61).
                    DefinitionKind::Stages(stages) => Some(eval::stage_name(stages, machine.stage).into()),
                    _ if machine.member => None,
                    _ => return None,
                };
                Some(Membership {
                    customer: customer.into(),
                    segment: definition.name.as_str().into(),
                    stage,
                    since: last.since,
                    version: definition.hash,
                    emit: machine.emit.clone(),
                })
            })
            .collect()
    }
}

impl Customer {
    /// `Some(whether the body differs)` where the id is known and young enough (R20); else remembers it.
    fn duplicate(&mut self, new: &KnownId) -> Option<bool> {
        self.ids.retain(|known| new.arrival - known.arrival < known.window);
        if let Some(known) = self.ids.iter().find(|known| known.id == new.id) {
            return Some(known.body_hash != new.body_hash);
        }
        self.ids.push(new.clone());
        if self.ids.len() > IDS_MAX {
            self.ids.remove(0);
        }
        None
    }

    /// Writes what the record says into the state.
    fn take(&mut self, rules: &Rules, batch: &Batch, record: &Record, ts: Timestamp, t: Timestamp) {
        let catalogue = &rules.workspace.catalogue;
        match record.body {
            Body::Event { event, slots } => {
                let schema = &rules.schema.events[event.at()];
                let mut properties = vec![Value::Missing; catalogue.events[event.at()].properties.len()];
                for (slot, datum) in schema.slots.iter().zip(batch.data(slots)) {
                    properties[slot.property.at()] = value::from_datum(batch, *datum);
                }
                let order = self.events.len() as u64;
                let ty = &catalogue.events[event.at()];
                let is_cart = catalogue.cart.iter().any(|r| r.event == event);
                let buffer = ty.lateness.unwrap_or(rules.settings.reorder_buffer);
                // R31, R41: later than the buffer and not in order.
                let too_late = t - ts > buffer && ts < self.greatest_ts;
                let place = is_cart.then(|| match self.events.iter().filter_map(|e| e.place).max() {
                    Some(last) if too_late => Place { ts: last.ts.max(ts), order },
                    _ => Place { ts, order },
                });
                if ty.is_activity {
                    self.carry_session_on(ts, t, rules.session_gap());
                }
                self.happened(rules, Occurrence { place, too_late, ..self.occurrence(ts, EventRef::Catalogue(event), properties) });
                if is_cart {
                    let events: Vec<_> = self.events.iter().filter_map(|e| e.place.map(|place| (place, &**e))).collect();
                    self.cart = Cart::fold(catalogue, &events, self.cart.changed_at);
                }
            }
            Body::Traits(range) => {
                for (index, datum) in batch.traits(range) {
                    let stored = &mut self.traits[index.at()];
                    if stored.as_ref().is_some_and(|(at, _)| *at > ts) {
                        continue;
                    }
                    let to = value::from_datum(batch, *datum);
                    let from = stored.replace((ts, to.clone())).map_or(Value::Missing, |(_, value)| value);
                    let name = &catalogue.traits[index.at()].name;
                    if name == "timezone" {
                        let zone = if let Value::Text(name) = &to { TimeZone::get(name).ok() } else { None };
                        self.zone = zone.unwrap_or_else(|| rules.workspace_zone.clone());
                    }
                    // R25, R43: for a first value and for null too, not for an equal one.
                    if from != to && rules.uses_trait_changed {
                        let too_late = t - ts > rules.settings.reorder_buffer && ts < self.greatest_ts;
                        let properties = vec![Value::Text(name.as_str().into()), from, to];
                        self.happened(rules, Occurrence { too_late, ..self.occurrence(ts, EventRef::TraitChanged, properties) });
                    }
                }
            }
            Body::Consent { purpose, granted, until } => {
                let stored = &mut self.consents[purpose.at()];
                if stored.is_none_or(|(at, ..)| at <= ts) {
                    *stored = Some((ts, granted, until));
                }
            }
            Body::List { list, member } => {
                let stored = &mut self.lists[list.at()];
                if stored.is_none_or(|(at, _)| at <= ts) {
                    *stored = Some((ts, member));
                }
            }
            Body::Nothing | Body::Ignored | Body::Rejected { .. } => {}
        }
    }

    fn occurrence(&self, ts: Timestamp, kind: EventRef, properties: Vec<Value>) -> Occurrence {
        let order = self.events.len() as u64;
        let (zone, days, selected) = (self.zone.clone(), Vec::new(), Vec::new());
        Occurrence { ts, order, kind, properties, place: None, too_late: false, session: None, zone, days, selected }
    }

    fn happened(&mut self, rules: &Rules, mut event: Occurrence) {
        // R33: it counts in the session that runs when it is applied, or in none for ever.
        let gap = rules.session_gap();
        event.session = self.session.as_ref().filter(|s| s.start <= event.ts && event.ts - s.last < gap).map(|s| s.number);
        let zones = [&event.zone, &rules.workspace_zone].into_iter().chain(rules.named_zones.iter().map(|(_, z)| z));
        event.days = zones.map(|zone| if rules.constants.calendar { calendar::local(zone, event.ts).day } else { 0 }).collect();
        let view = |zone| View { rules, customer: self, t: event.ts, zone, key: None };
        event.selected = rules.selectors.iter().map(|(zone, s)| view(*zone).selects_by_filter(s, &event)).collect();
        self.events.push(Arc::new(event));
    }

    /// R19, R33: an activity event at `ts`, applied at `t`.
    fn carry_session_on(&mut self, ts: Timestamp, t: Timestamp, gap: Millis) {
        match &mut self.session {
            Some(session) if ts - session.last < gap => {
                if ts >= session.start {
                    session.last = session.last.max(ts);
                } else if session.start - ts < gap && t - session.last < gap {
                    session.start = ts;
                }
            }
            other => {
                let number = other.as_ref().map_or(0, |s| s.number + 1);
                *other = Some(Session { number, start: ts, last: ts });
            }
        }
    }
}

/// Where a change came from, for its id.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Record(Position),
    Timer(Timestamp),
}

/// The id of a change, by the layout that is written at `model::change::change_id`.
fn change_id(segment: &str, customer: &str, version: &[u8], origin: Origin) -> ChangeId {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(segment.as_bytes());
    bytes.push(0x1F);
    bytes.extend_from_slice(customer.as_bytes());
    bytes.push(0x1F);
    bytes.extend_from_slice(version);
    match origin {
        Origin::Record(position) => {
            bytes.push(0);
            bytes.extend_from_slice(&position.input.0.to_le_bytes());
            bytes.extend_from_slice(&position.partition.to_le_bytes());
            bytes.extend_from_slice(&position.offset.to_le_bytes());
        }
        Origin::Timer(deadline) => {
            bytes.push(1);
            bytes.extend_from_slice(&deadline.0.to_le_bytes());
        }
    }
    bytes.extend_from_slice(&0u32.to_le_bytes());
    ChangeId(xxhash_rust::xxh3::xxh3_128(&bytes).to_be_bytes())
}
