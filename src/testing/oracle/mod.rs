//! A slow second implementation of the semantics, to prove the engine right: it keeps every event of every customer, evaluates each
//! condition from scratch, and finds the next instant by trying all that could matter.
//!
//! **What it shares with the engine:** the model, the checked definitions (`lang`), the schema that says which slot of a record is which
//! property, and the types of batches and outputs. Nothing of `plan` or of the engine's evaluation; change ids and decay are computed here
//! anew. Scores use the platform's `exp2`: they may differ from the engine's in the last bits, which can move a crossing by a millisecond
//! only where the exact crossing lies within about 1e-9 half-lives of a millisecond; whole multiples of the half-life are exact in both.
//!
//! **What it does not know:** settings of a segment that the engine does not evaluate yet (delays, settle, cool-down, expiry, consent as a
//! requirement), calendar windows, sequences, keys. It panics on a condition of that kind rather than to guess.
//!
//! **Rules by name.** S5, S6: `eval.rs`. S13, S14, R2, R3, R40: `steps.rs`. S27, R1, R9: `steps.rs`. S29, R20, S4, R21: this file. S43,
//! S44, R17, R31, R32, R38: `cart.rs`. R4, R5, R30: `steps.rs`.

mod cart;
mod eval;
mod instants;
mod knows;
mod steps;
mod value;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use cart::{Cart, Place};

use crate::engine::Settings;
use crate::engine::batch::{Batch, Body, Record};
use crate::engine::output::{DeadLetter, Outputs};
use crate::ids::{ChangeId, Position};
use crate::lang::{DefinitionKind, EventRef, Expr, Workspace};
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
    /// Operands of `for at least`, each once, inner ones before outer ones, in the order of the definitions.
    dwells: Vec<Expr>,
    /// By definition: the dwells that no definition before it has.
    dwells_of: Vec<Vec<usize>>,
    constants: instants::Constants,
    zone: jiff::tz::TimeZone,
}

/// Everything that happened to one customer.
#[derive(Clone, Debug, PartialEq)]
struct Customer {
    first_seen: Timestamp,
    /// Greatest `ts` applied.
    greatest_ts: Timestamp,
    /// In the order of application.
    events: Vec<Occurrence>,
    /// Value with the `ts` that set it.
    traits: Vec<Option<(Timestamp, Value)>>,
    consents: Vec<Option<(Timestamp, bool, Option<Timestamp>)>>,
    lists: Vec<Option<(Timestamp, bool)>>,
    ids: Vec<KnownId>,
    cart: Cart,
    /// Since when the operand has held, by [`Rules::dwells`].
    dwells: Vec<Option<Timestamp>>,
    /// By definition.
    machines: Vec<Machine>,
    seq: u64,
    /// Timers with a deadline up to here have fired.
    fired_through: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
struct Occurrence {
    ts: Timestamp,
    /// Order of application.
    order: u64,
    kind: EventRef,
    /// By the catalogue's property index; those that no definition uses are missing.
    properties: Vec<Value>,
    /// Where it stands in the cart's fold, if it is a cart event.
    place: Option<Place>,
}

#[derive(Clone, Debug, PartialEq)]
struct KnownId {
    id: String,
    arrival: Timestamp,
    window: Millis,
    body_hash: u64,
}

/// A membership as published.
#[derive(Clone, Debug, Default, PartialEq)]
struct Machine {
    member: bool,
    last: Option<LastChange>,
    emit: Vec<(Box<str>, Value)>,
}

impl Machine {
    /// Whether it was a member at `t`; an instant before the last change sees it as it was before that change (R12, R35).
    fn was_member(&self, t: Timestamp) -> bool {
        self.member != self.last.is_some_and(|last| t < last.since)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct LastChange {
    id: ChangeId,
    since: Timestamp,
}

impl Rules {
    /// Place of the operand of a dwell in [`Rules::dwells`].
    fn dwell(&self, operand: &Expr) -> usize {
        self.dwells.iter().position(|d| d == operand).expect("all dwells were collected")
    }

    /// Local midnight in the workspace's zone; the first existing instant of the date (S10).
    fn midnight(&self, day: i32) -> Timestamp {
        let (year, month, day) = crate::time::civil_from_days(i64::from(day));
        jiff::civil::Date::new(year as i16, month as i8, day as i8)
            .ok()
            .and_then(|d| d.to_zoned(self.zone.clone()).ok())
            .map_or(Timestamp::MAX, |z| Timestamp(z.timestamp().as_millisecond()))
    }

    fn new_customer(&self, ts: Timestamp) -> Customer {
        let catalogue = &self.workspace.catalogue;
        Customer {
            first_seen: ts,
            greatest_ts: Timestamp::MIN,
            events: Vec::new(),
            traits: vec![None; catalogue.traits.len()],
            consents: vec![None; catalogue.purposes.len()],
            lists: vec![None; catalogue.lists.len()],
            ids: Vec::new(),
            cart: Cart::default(),
            dwells: vec![None; self.dwells.len()],
            machines: vec![Machine::default(); self.workspace.definitions.len()],
            seq: 0,
            fired_through: Timestamp::MIN,
        }
    }
}

/// Operands of `for at least`, inner before outer.
fn dwells_in(expr: &Expr, out: &mut Vec<Expr>) {
    match expr {
        Expr::And(all) | Expr::Or(all) => all.iter().for_each(|e| dwells_in(e, out)),
        Expr::Not(e) => dwells_in(e, out),
        Expr::HeldFor { of, .. } => {
            dwells_in(of, out);
            if !out.contains(of) {
                out.push((**of).clone());
            }
        }
        _ => {}
    }
}

impl Oracle {
    pub fn new(workspace: Arc<Workspace>, schema: Arc<Schema>, settings: Settings) -> Oracle {
        let (mut dwells, mut dwells_of) = (Vec::new(), Vec::new());
        for definition in &workspace.definitions {
            let from = dwells.len();
            match &definition.kind {
                DefinitionKind::Segment(s) => std::iter::once(&s.when).chain(&s.exit_when).for_each(|e| dwells_in(e, &mut dwells)),
                DefinitionKind::Stages(s) => s.stages.iter().for_each(|(_, e)| dwells_in(e, &mut dwells)),
                DefinitionKind::Points(p) => p.rules.iter().for_each(|(_, e)| dwells_in(e, &mut dwells)),
                DefinitionKind::Score(_) => {}
            }
            dwells_of.push((from..dwells.len()).collect());
        }
        let zone = jiff::tz::TimeZone::get(&workspace.catalogue.workspace.timezone).unwrap_or(jiff::tz::TimeZone::UTC);
        let constants = instants::Constants::of(&workspace.definitions);
        let rules = Rules { workspace, schema, settings, dwells, dwells_of, constants, zone };
        Oracle { rules, clock: Timestamp::MIN, customers: BTreeMap::new() }
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
        for (name, customer) in &mut self.customers {
            if let Some(last) = steps::fire(&self.rules, name, customer, through, out) {
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
            steps::fire(rules, &name, customer, Timestamp(t.0.saturating_sub(1)), out);
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
        let customer = self.customers.entry(name.clone()).or_insert_with(|| rules.new_customer(ts));
        if is_new && let (Some(id), Body::Event { event, .. }) = (record.id, record.body) {
            let window = rules.workspace.catalogue.events[event.at()].dedup.unwrap_or(rules.settings.duplicate_window);
            customer.ids.push(KnownId { id: batch.text(id).to_string(), arrival: t, window, body_hash: record.body_hash });
        }
        customer.take(rules, batch, record, ts, t);
        let id = record.id.map(|id| batch.text(id).into());
        steps::record(rules, &name, before.as_ref(), customer, steps::RecordStep { t, ts, id, position: record.position }, out);
        customer.greatest_ts = customer.greatest_ts.max(ts);
        customer.fired_through = Timestamp(t.0.saturating_sub(1));
    }

    /// Present memberships of a customer, in the order of the definitions.
    pub fn memberships(&self, customer: &str) -> Vec<Membership> {
        let Some(state) = self.customers.get(customer) else { return Vec::new() };
        let members = self.rules.workspace.definitions.iter().zip(&state.machines).filter(|(_, m)| m.member);
        members
            .map(|(definition, machine)| Membership {
                customer: customer.into(),
                segment: definition.name.as_str().into(),
                stage: None,
                since: machine.last.map_or(Timestamp::MIN, |l| l.since),
                version: definition.hash,
                emit: machine.emit.clone(),
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
                let is_cart = catalogue.cart.iter().any(|r| r.event == event);
                let buffer = catalogue.events[event.at()].lateness.unwrap_or(rules.settings.reorder_buffer);
                let place = is_cart.then(|| {
                    let last = self.events.iter().filter_map(|e| e.place).max();
                    match last {
                        // R31, R41: later than the buffer and not in order.
                        Some(last) if t - ts > buffer && ts < self.greatest_ts => Place { ts: last.ts.max(ts), order },
                        _ => Place { ts, order },
                    }
                });
                self.events.push(Occurrence { ts, order, kind: EventRef::Catalogue(event), properties, place });
                if is_cart {
                    let events: Vec<_> = self.events.iter().filter_map(|e| e.place.map(|place| (place, e))).collect();
                    self.cart = Cart::fold(catalogue, &events, self.cart.changed_at);
                }
            }
            Body::Traits(range) => {
                for (index, datum) in batch.traits(range) {
                    let stored = &mut self.traits[index.at()];
                    if stored.as_ref().is_none_or(|(at, _)| *at <= ts) {
                        *stored = Some((ts, value::from_datum(batch, *datum)));
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
