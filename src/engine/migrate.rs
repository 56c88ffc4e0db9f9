//! From the numbers of one plan to those of the next: what a customer's state is under another set of definitions (LANGUAGE.md S38, S39, R63).
//!
//! Everything is matched by what it means: traits by name, segments by name, dwells by the condition that they watch, features by
//! [`Meaning`](crate::plan::Meaning). A feature that keeps more than before takes what is there and says what it may lack, a new one lacks everything so far, one that
//! nobody reads becomes an orphan. What is unchanged keeps its bytes, its deadline and its published state, and is not looked at.

use std::collections::BTreeMap;

use super::customer::{FeatureEntry, Span, TraitEntry, UnitEntry};
use super::evaluate::Work;
use super::features::codec::{put_value, read_value};
use super::features::keyed::KeyedSpec;
use super::features::{Reader, ValueRef};
use super::gaps::{Gap, Lack, Orphan};
use super::program::{Program, Spec, State};
use crate::ids::{DefinitionIndex, SemanticHash, TraitIndex};
use crate::lang::definition::DefinitionKind;
use crate::model::{MoneyCurrency, Type, Value};
use crate::plan::Plan;
use crate::plan::calendar::ZoneRef;
use crate::plan::delays::consent_slot;
use crate::plan::feature::{FeatureId, FeatureKind};
use crate::plan::node::{Node, NodeId, StagesUnit, TermId, TermNode, UnitId, UnitKind};
use crate::time::Timestamp;

/// The same for every customer.
pub struct Migration {
    /// By trait of the old set.
    traits: Vec<Option<MovedTrait>>,
    /// By unit of the old plan.
    units: Vec<Option<MovedUnit>>,
    /// Units of the old plan whose segments are in the new set no more, by name.
    pub deleted: Vec<UnitId>,
    /// By unit of the new plan: its definition is new.
    pub created: Vec<bool>,
    /// Units of the new plan that are new or mean something else.
    pub agenda: Vec<UnitId>,
    /// By feature of the old plan.
    features: Vec<Fate>,
    /// Features of the new plan that the old one has not, with the hash by which an orphan is known, and whether they lack nothing.
    fresh: Vec<(FeatureId, u64, bool)>,
    /// Features of the new plan that remember crossings: of which unit, and whether entries.
    crossings: Vec<(FeatureId, UnitId, bool)>,
    /// By definition of the old set, its place in the new one.
    pub definitions: Vec<Option<DefinitionIndex>>,
}

struct MovedTrait {
    to: TraitIndex,
    /// The type where it is another.
    ty: Option<Type>,
}

struct MovedUnit {
    to: UnitId,
    /// Keeps its deadline.
    same: bool,
    /// The version under which it was published so far, where that is not the new one.
    version: Option<SemanticHash>,
    /// Its expiry starts anew.
    anew: bool,
    /// Places of the new `emit` fields among the old ones, where they differ.
    emit: Option<Vec<Option<usize>>>,
    /// Of stages: the old and the new ones, where they differ.
    stages: Option<Box<(StagesUnit, StagesUnit)>>,
}

enum Fate {
    Same(FeatureId),
    Recut(FeatureId, Fields),
    Dropped(u64),
}

/// Places of what is kept now among what was kept before.
type Fields = Vec<Option<usize>>;

impl Migration {
    pub fn new(old: &Program, new: &Program) -> Migration {
        let same_setting = setting(&old.plan) == setting(&new.plan);
        let (traits, same_traits) = traits(&old.plan, &new.plan);
        let by_name: BTreeMap<&str, DefinitionIndex> =
            new.plan.workspace().definitions.iter().enumerate().map(|(i, d)| (d.name.as_str(), DefinitionIndex(i as u32))).collect();
        let definitions = old.plan.workspace().definitions.iter().map(|d| {
            let to = *by_name.get(d.name.as_str())?;
            let same_kind = |a: &DefinitionKind, b: &DefinitionKind| std::mem::discriminant(a) == std::mem::discriminant(b);
            same_kind(&d.kind, &new.plan.workspace().definitions[to.at()].kind).then_some(to)
        });
        let mut migration = Migration {
            traits,
            units: Vec::new(),
            deleted: Vec::new(),
            created: vec![false; new.plan.units.len()],
            agenda: Vec::new(),
            features: Vec::new(),
            fresh: Vec::new(),
            crossings: Vec::new(),
            definitions: definitions.collect(),
        };
        migration.match_units(old, new, same_setting && same_traits);
        migration.match_features(old, new);
        migration
    }

    fn match_units(&mut self, old: &Program, new: &Program, same_setting: bool) {
        let mut watched: BTreeMap<String, UnitId> = BTreeMap::new();
        for (unit, u) in new.plan.units.iter().enumerate() {
            if let Some(text) = watch_text(new, &u.kind) {
                watched.insert(text, unit as UnitId);
            }
        }
        let mut known = vec![false; new.plan.units.len()];
        for (unit, u) in old.plan.units.iter().enumerate() {
            let moved = match &u.kind {
                UnitKind::Dwell { .. } | UnitKind::Keys { .. } | UnitKind::ExitDelay { .. } | UnitKind::Waiting { .. } => {
                    let to = watch_text(old, &u.kind).and_then(|text| watched.get(&text).copied());
                    to.map(|to| MovedUnit { to, same: same_setting, version: None, anew: false, emit: None, stages: None })
                }
                UnitKind::Stages(stages) => {
                    let to = self.definitions[stages.definition.at()].and_then(|d| Some((d, new.plan.unit_of[d.at()]?)));
                    // R63: deleted stages publish nothing.
                    to.map(|(definition, to)| {
                        let before = old.plan.workspace().definitions[stages.definition.at()].hash;
                        let same = before == new.plan.workspace().definitions[definition.at()].hash;
                        let renamed = match &new.plan.units[to as usize].kind {
                            UnitKind::Stages(next) if !same => Some(Box::new((stages.clone(), next.clone()))),
                            _ => None,
                        };
                        let version = (!same).then_some(before);
                        MovedUnit { to, same: same && same_setting, version, anew: false, emit: None, stages: renamed }
                    })
                }
                UnitKind::Segment(segment) => {
                    let to = self.definitions[segment.definition.at()].and_then(|d| Some((d, new.plan.unit_of[d.at()]?)));
                    let Some((definition, to)) = to else {
                        self.deleted.push(unit as UnitId);
                        self.units.push(None);
                        continue;
                    };
                    let before = old.plan.workspace().definitions[segment.definition.at()].hash;
                    let same = before == new.plan.workspace().definitions[definition.at()].hash;
                    let anew = !same && conditions(old, unit as UnitId) != conditions(new, to);
                    let emit = match &new.plan.units[to as usize].kind {
                        UnitKind::Segment(next) if !same => {
                            Some(next.emit.iter().map(|(name, _)| segment.emit.iter().position(|(n, _)| n == name)).collect())
                        }
                        _ => None,
                    };
                    Some(MovedUnit { to, same: same && same_setting, version: (!same).then_some(before), anew, emit, stages: None })
                }
            };
            if let Some(moved) = &moved {
                known[moved.to as usize] = true;
                if !moved.same && is_looked_at(&new.plan, moved.to) {
                    self.agenda.push(moved.to);
                }
            }
            self.units.push(moved);
        }
        let name = |unit: &UnitId| old.plan.unit_name(*unit);
        self.deleted.sort_by_cached_key(name);
        for unit in (0..new.plan.units.len()).filter(|unit| !known[*unit]) {
            self.created[unit] = true;
            if is_looked_at(&new.plan, unit as UnitId) {
                self.agenda.push(unit as UnitId);
            }
        }
        self.agenda.sort_unstable();
    }

    fn match_features(&mut self, old: &Program, new: &Program) {
        let meanings: BTreeMap<&str, FeatureId> = new.plan.meanings.iter().enumerate().map(|(i, m)| (&*m.text, i as FeatureId)).collect();
        let mut known = vec![false; new.plan.features.len()];
        for (i, meaning) in old.plan.meanings.iter().enumerate() {
            let fate = match meanings.get(&*meaning.text) {
                None => Fate::Dropped(hash(meaning)),
                Some(to) => {
                    known[*to as usize] = true;
                    if meaning.kept == new.plan.meanings[*to as usize].kept && !remembers_longer(&old.specs[i], &new.specs[*to as usize]) {
                        Fate::Same(*to)
                    } else {
                        Fate::Recut(*to, properties(&old.plan.features[i].kind, &new.plan.features[*to as usize].kind))
                    }
                }
            };
            self.features.push(fate);
        }
        let (before, now) = (&old.plan.cart.fields, &new.plan.cart.fields);
        let fields = now.iter().map(|field| before.iter().position(|f| f == field)).collect();
        // The cart comes after the features of every plan.
        self.features.push(if before == now && old.home == new.home { Fate::Same(new.cart) } else { Fate::Recut(new.cart, fields) });
        // And after it come the lists.
        let (before, now) = (&old.plan.workspace().catalogue.lists, &new.plan.workspace().catalogue.lists);
        let places = now.iter().map(|list| before.iter().position(|l| l == list)).collect();
        self.features.push(if before == now { Fate::Same(new.lists) } else { Fate::Recut(new.lists, places) });
        for unit in &new.plan.units {
            if let UnitKind::Segment(segment) = &unit.kind
                && let Some(own) = new.plan.unit_of[segment.definition.at()]
            {
                let features = segment.crossings.iter().enumerate();
                self.crossings.extend(features.filter_map(|(way, feature)| feature.map(|feature| (feature, own, way == 1))));
            }
        }
        for (i, meaning) in new.plan.meanings.iter().enumerate().filter(|(i, _)| !known[*i]) {
            self.fresh.push((i as FeatureId, hash(meaning), meaning.own));
        }
    }

    /// Features of the new plan that may lack something for customers who are there now.
    pub fn widened(&self) -> impl Iterator<Item = FeatureId> {
        let recut = self.features.iter().filter_map(|fate| match fate {
            Fate::Recut(to, _) => Some(*to),
            _ => None,
        });
        recut.chain(self.fresh.iter().filter(|f| !f.2).map(|f| f.0))
    }

    /// The feature of the new plan that was this one.
    pub fn feature(&self, old: FeatureId) -> Option<FeatureId> {
        match self.features.get(old as usize)? {
            Fate::Same(to) | Fate::Recut(to, _) => Some(*to),
            Fate::Dropped(_) => None,
        }
    }

    /// Makes `to` the customer that `from` holds, under the new plan; `at` is the activation clock. What is on the agenda is still as it was.
    pub fn customer(&self, (old, from): (&Program, &mut Work), (new, to): (&Program, &mut Work), at: Timestamp, generation: u8) {
        let id = std::mem::take(&mut from.id);
        to.begin(&id, from.customer.first_seen);
        from.id = id;
        let customer = &mut to.customer;
        customer.slot = from.customer.slot;
        customer.generation = generation;
        customer.seq = from.customer.seq;
        customer.greatest = from.customer.greatest;
        customer.dedup.clone_from(&from.customer.dedup);
        // All places in the old bytes stay what they are.
        customer.bytes.extend_from_slice(&from.customer.bytes);
        self.move_traits(from, to);
        self.move_units(from, to, at);
        self.move_features((old, from), (new, to), at);
    }

    fn move_traits(&self, from: &Work, to: &mut Work) {
        for entry in &from.customer.traits {
            let Some(Some(moved)) = self.traits.get(entry.index.at()) else { continue };
            let mut value = entry.value;
            if let Some(ty) = &moved.ty {
                let known = read_value(&mut Reader::new(from.customer.span(value))).to_value();
                let Some(fitting) = fitting(ty, known) else { continue };
                let start = to.customer.bytes.len() as u32;
                put_value(&mut to.customer.bytes, &fitting);
                value = Span { start, end: to.customer.bytes.len() as u32 };
            }
            to.customer.traits.push(TraitEntry { index: moved.to, ts: entry.ts, value });
        }
        to.customer.traits.sort_unstable_by_key(|t| t.index);
    }

    fn move_units(&self, from: &Work, to: &mut Work, at: Timestamp) {
        for entry in &from.customer.units {
            let Some(moved) = &self.units[entry.unit as usize] else { continue };
            let mut emit = entry.emit;
            if let Some(fields) = &moved.emit
                && entry.member
            {
                emit = picked(from.customer.span(emit), fields, &mut to.customer.bytes);
            }
            if let Some(stages) = &moved.stages {
                emit = super::machine::stages::moved(from.customer.span(emit), &stages.0, &stages.1, &mut to.customer.bytes);
            }
            let expires_from = if moved.anew && entry.member { at } else { entry.expires_from };
            to.customer.units.push(UnitEntry { unit: moved.to, emit, version: entry.version.or(moved.version), expires_from, ..*entry });
        }
        to.customer.units.sort_unstable_by_key(|e| e.unit);
        for (unit, until) in &from.customer.deadlines {
            if let Some(moved) = self.units[*unit as usize].as_ref().filter(|m| m.same) {
                to.customer.deadlines.push((moved.to, *until));
            }
        }
        to.customer.deadlines.sort_unstable_by_key(|d| d.0);
    }

    fn move_features(&self, (old, from): (&Program, &mut Work), (new, to): (&Program, &mut Work), at: Timestamp) {
        let entries: Vec<(FeatureId, Span)> = from.customer.features.iter().map(|e| (e.feature, e.bytes)).collect();
        let mut lost = Vec::new();
        let keep = |customer: &mut super::customer::Customer, feature: FeatureId, bytes: Span| {
            let mut entry = FeatureEntry::new(feature);
            entry.bytes = bytes;
            customer.features.push(entry);
        };
        let mut next = entries.iter().peekable();
        for (feature, fate) in self.features.iter().enumerate() {
            let feature = feature as FeatureId;
            let bytes = next.next_if(|e| e.0 == feature).map(|e| e.1);
            match fate {
                Fate::Same(moved) => {
                    if let Some(bytes) = bytes {
                        keep(&mut to.customer, *moved, bytes);
                    }
                    to.customer.gaps.extend(from.lacks(feature).map(|lack| Gap { feature: *moved, lack }));
                }
                Fate::Recut(moved, fields) => {
                    if bytes.is_some() {
                        from.load(old, feature);
                        lost.clear();
                        let spec = &new.specs[*moved as usize];
                        let state = &mut from.loaded[feature as usize].state;
                        recut(state, (&old.specs[feature as usize], spec), fields, (from.customer.greatest, at), &mut lost);
                        let start = to.customer.bytes.len() as u32;
                        state.encode(spec, to.customer.first_seen, &mut to.customer.bytes);
                        // It is another's now.
                        from.loaded[feature as usize].of = 0;
                        let bytes = Span { start, end: to.customer.bytes.len() as u32 };
                        keep(&mut to.customer, *moved, bytes);
                        to.customer.gaps.extend(lost.iter().map(|lack| Gap { feature: *moved, lack: *lack }));
                    }
                    to.customer.gaps.extend(from.lacks(feature).map(|lack| Gap { feature: *moved, lack }));
                }
                Fate::Dropped(identity) => {
                    let lack = from.lacks(feature).reduce(Lack::and);
                    to.customer.orphans.push(Orphan { identity: *identity, lack, bytes: bytes.unwrap_or_default() });
                }
            }
        }
        to.customer.orphans.extend(from.customer.orphans.iter().copied());
        for (feature, identity, complete) in &self.fresh {
            if let Some((_, unit, entered)) = self.crossings.iter().find(|c| c.0 == *feature) {
                // What an orphan kept may have missed changes by time; the segment's own entry has not.
                to.customer.orphans.retain(|o| o.identity != *identity);
                if let Some(last) = to.customer.unit(*unit).copied() {
                    if last.member == *entered {
                        to.crossed(new, *feature, last.since);
                    } else {
                        to.customer.gaps.push(Gap { feature: *feature, lack: Lack::everything(last.since) });
                    }
                }
                continue;
            }
            match to.customer.orphans.iter().position(|o| o.identity == *identity) {
                Some(i) => {
                    let orphan = to.customer.orphans.remove(i);
                    if orphan.bytes.start < orphan.bytes.end {
                        keep(&mut to.customer, *feature, orphan.bytes);
                    }
                    to.customer.gaps.extend(orphan.lack.map(|lack| Gap { feature: *feature, lack }));
                }
                None if *complete => {}
                None => to.customer.gaps.push(Gap { feature: *feature, lack: Lack::everything(at) }),
            }
        }
        to.customer.features.sort_unstable_by_key(|e| e.feature);
        to.customer.gaps.sort_by_key(|g| g.feature);
        to.customer.gaps.dedup();
    }
}

/// Units that are stepped by themselves.
fn is_looked_at(plan: &Plan, unit: UnitId) -> bool {
    !matches!(plan.units[unit as usize].kind, UnitKind::Waiting { .. })
}

/// What all definitions rest on beside their own text.
fn setting(plan: &Plan) -> String {
    let catalogue = &plan.workspace().catalogue;
    let own = catalogue.trait_named("timezone").map(|i| &catalogue.traits[i.at()].ty);
    format!("{:?} {own:?} {}", catalogue.workspace, plan.zones.database.version())
}

/// Where each trait went, with the consents that stand behind them, and whether all that were there are what they were.
fn traits(old: &Plan, new: &Plan) -> (Vec<Option<MovedTrait>>, bool) {
    let (old, new) = (&old.workspace().catalogue, &new.workspace().catalogue);
    let mut same = true;
    let mut moved = Vec::with_capacity(old.traits.len() + old.purposes.len());
    for t in &old.traits {
        moved.push(new.trait_named(&t.name).map(|to| {
            let ty = &new.traits[to.at()].ty;
            same &= *ty == t.ty;
            MovedTrait { to, ty: (*ty != t.ty).then(|| ty.clone()) }
        }));
    }
    for purpose in &old.purposes {
        moved.push(new.purpose(&purpose.name).map(|to| {
            same &= new.purposes[to.at()].default_granted == purpose.default_granted;
            MovedTrait { to: consent_slot(new, to), ty: None }
        }));
    }
    (moved, same)
}

/// A stored value as one of another type, where it is one: what is none is unknown until it comes again.
fn fitting(ty: &Type, value: Value) -> Option<Value> {
    match (ty, value) {
        (_, Value::Missing) => Some(Value::Missing),
        (Type::Decimal, Value::Int(n)) => n.checked_mul(crate::model::Decimal::ONE).map(|n| Value::Decimal(crate::model::Decimal(n))),
        (Type::Enum(words), Value::Text(text)) => words.iter().any(|w| **w == *text).then_some(Value::Text(text)),
        (Type::Money(MoneyCurrency::Fixed(currency)), Value::Money(money)) => (money.currency == *currency).then_some(Value::Money(money)),
        (Type::List(of), Value::List(items)) => items.into_iter().map(|item| fitting(of, item)).collect::<Option<_>>().map(Value::List),
        (Type::Bool, v @ Value::Bool(_))
        | (Type::Int, v @ Value::Int(_))
        | (Type::Decimal, v @ Value::Decimal(_))
        | (Type::Text, v @ Value::Text(_))
        | (Type::Instant(_), v @ Value::Instant(_))
        | (Type::Date, v @ Value::Date(_))
        | (Type::Duration, v @ Value::Duration(_))
        | (Type::Geo, v @ Value::Geo { .. }) => Some(v),
        _ => None,
    }
}

/// Encoded values in another choice and order; what is new is missing.
fn picked(values: &[u8], fields: &[Option<usize>], out: &mut Vec<u8>) -> Span {
    let start = out.len() as u32;
    for field in fields {
        let mut reader = Reader::new(values);
        let value = field.filter(|_| !values.is_empty()).map(|i| {
            for _ in 0..i {
                read_value(&mut reader);
            }
            read_value(&mut reader)
        });
        put_value(out, &value.unwrap_or(ValueRef::Missing).to_value());
    }
    Span { start, end: out.len() as u32 }
}

/// For the first or last event: places of its properties among those kept so far.
fn properties(old: &FeatureKind, new: &FeatureKind) -> Fields {
    match (old, new) {
        (FeatureKind::FirstLast { properties: old, .. }, FeatureKind::FirstLast { properties: new, .. }) => {
            new.iter().map(|p| old.iter().position(|o| o == p)).collect()
        }
        _ => Vec::new(),
    }
}

/// Makes a feature's state what another plan keeps.
fn recut(state: &mut State, specs: (&Spec, &Spec), fields: &Fields, (floor, at): (Timestamp, Timestamp), lost: &mut Vec<Lack>) {
    match (&mut *state, specs) {
        (State::Ring(s), (Spec::Ring { keep, capacity: from }, Spec::Ring { capacity: to, .. })) => s.recut(*keep, *from, *to, at, lost),
        (State::Log(s), (Spec::Log(from), Spec::Log(to))) => s.recut(from, to, floor, lost),
        (State::Extremes(s), (Spec::Extremes(from), Spec::Extremes(to))) => s.recut(from, to, floor, lost),
        (State::Distinct(s), (Spec::Distinct(from), Spec::Distinct(to))) => s.recut(from, to, floor, lost),
        (State::FirstLast(s), (Spec::FirstLast { .. }, Spec::FirstLast { .. })) => s.recut(fields, lost),
        (State::Cart(s), (Spec::Cart(_), Spec::Cart(to))) => s.recut(to, fields),
        (State::Lists(s), _) => s.recut(fields),
        (State::Periods(s), (Spec::Periods { plan: from, .. }, Spec::Periods { plan: to, .. })) => s.recut(from, to, at, lost),
        (State::InSession(s), (Spec::InSession(from), Spec::InSession(to))) => {
            s.recut(to, |inner| recut(inner, (from, to), fields, (floor, at), lost));
        }
        (State::Since(s), (Spec::Since(from), Spec::Since(to))) => recut(s.state_mut(), (from, to), fields, (floor, at), lost),
        (State::Keyed(s), (Spec::Keyed(from), Spec::Keyed(to))) => {
            if let Some(horizon) = from.horizon.filter(|_| keys_live_longer(from, to)) {
                lost.push(Lack { until: floor - horizon, exact: 0, total: false });
            }
            s.change_all(|inner| {
                recut(inner, (&from.inner, &to.inner), fields, (floor, at), lost);
                true
            });
            lost.sort_unstable();
            lost.dedup();
        }
        (_, (_, to)) => {
            *state = State::new(to);
            lost.push(Lack::everything(at));
        }
    }
}

/// Whether keys that were let go because no condition could see them could be seen now.
fn remembers_longer(old: &Spec, new: &Spec) -> bool {
    match (old, new) {
        (Spec::Keyed(old), Spec::Keyed(new)) => keys_live_longer(old, new),
        (Spec::InSession(old), Spec::InSession(new)) | (Spec::Since(old), Spec::Since(new)) => remembers_longer(old, new),
        _ => false,
    }
}

fn keys_live_longer(old: &KeyedSpec, new: &KeyedSpec) -> bool {
    old.horizon.is_some_and(|old| new.horizon.is_none_or(|new| new > old))
}

/// What a dwell or the memory of keys looks at, over sets.
fn watch_text(program: &Program, unit: &UnitKind) -> Option<String> {
    match unit {
        UnitKind::Dwell { operand } => Some(format!("dwell {}", node_text(program, *operand))),
        UnitKind::Keys { of } => Some(format!("keys {}", node_text(program, *of))),
        UnitKind::ExitDelay { operand, segment } => {
            Some(format!("exit delay of {}: {}", program.plan.unit_name(*segment), node_text(program, *operand)))
        }
        UnitKind::Waiting { segment } => {
            Some(format!("waiting of {}: {}", program.plan.unit_name(*segment), conditions(program, *segment)))
        }
        UnitKind::Segment(_) | UnitKind::Stages(_) => None,
    }
}

/// What a segment's expiry watches: `when` with the exit condition.
fn conditions(program: &Program, unit: UnitId) -> String {
    match &program.plan.units[unit as usize].kind {
        UnitKind::Segment(segment) => {
            let exit = segment.exit.map(|exit| node_text(program, exit));
            format!("{} {exit:?}", node_text(program, segment.when))
        }
        _ => String::new(),
    }
}

fn hash(meaning: &crate::plan::Meaning) -> u64 {
    xxhash_rust::xxh3::xxh3_64(format!("{}\u{1f}{}", meaning.text, meaning.kept).as_bytes())
}

/// What a condition means, over sets: its text, with what the features that it reads are called.
fn node_text(program: &Program, id: NodeId) -> String {
    let info = &program.plan.nodes[id as usize];
    let several = |word: &str, all: &[NodeId]| {
        let mut texts: Vec<String> = all.iter().map(|n| node_text(program, *n)).collect();
        texts.sort_unstable();
        format!("{word}({})", texts.join(", "))
    };
    match &info.node {
        Node::And(all) => several("and", all),
        Node::Or(all) => several("or", all),
        Node::Not(of) => format!("not({})", node_text(program, *of)),
        Node::Held { operand, at_least, .. } => format!("held {}({})", at_least.0, node_text(program, *operand)),
        Node::InSegment { definition, .. } => {
            let definition = &program.plan.workspace().definitions[definition.at()];
            format!("in {} {}", definition.name, definition.hash)
        }
        _ => {
            let features = program.loads[id as usize].iter().map(|f| program.plan.meanings.get(*f as usize).map_or("cart", |m| &*m.text));
            let of = match &info.node {
                Node::SomeKey { of, .. } => node_text(program, *of),
                _ => String::new(),
            };
            let points: Vec<String> = info.node.terms().map(|term| points_text(program, term)).collect();
            let (zones, features) = (zones(&program.plan, &info.node), features.collect::<Vec<_>>());
            // Segments and stages that its terms ask for, with what they mean.
            let others = program.beneath[id as usize].iter().filter_map(|unit| program.plan.definition_of(*unit));
            let others = others.map(|d| &program.plan.workspace().definitions[d.at()]).map(|d| format!(" {} {}", d.name, d.hash));
            format!("{} {of} {} {zones:?} [{}]{}", info.text, points.concat(), features.join(", "), others.collect::<String>())
        }
    }
}

/// What the points in a term mean: their name does not tell.
fn points_text(program: &Program, term: TermId) -> String {
    match &program.plan.terms[term as usize] {
        TermNode::Points(rules) => rules.iter().map(|(points, node)| format!("{points} {};", node_text(program, *node))).collect(),
        TermNode::Arithmetic { left, right, .. } => points_text(program, *left) + &points_text(program, *right),
        TermNode::Age(of) | TermNode::Band { of, .. } => points_text(program, *of),
        _ => String::new(),
    }
}

/// Whose clock a condition asks.
fn zones(plan: &Plan, node: &Node) -> Vec<ZoneRef> {
    let of_terms = node.terms().filter_map(|term| match &plan.terms[term as usize] {
        TermNode::Calendar(term) => Some(term.zone()),
        _ => None,
    });
    let own = match node {
        Node::Calendar(node) => Some(node.zone()),
        _ => None,
    };
    own.into_iter().chain(of_terms).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Decimal;

    #[test]
    fn a_trait_of_another_type_keeps_what_is_a_value_of_it() {
        let text = |t: &str| Value::Text(t.into());
        let words = Type::Enum(vec!["a".into(), "b".into()]);
        assert_eq!(fitting(&Type::Decimal, Value::Int(3)), Some(Value::Decimal(Decimal(3_000_000))));
        assert_eq!(fitting(&Type::Decimal, Value::Int(i64::MAX)), None);
        assert_eq!(fitting(&words, text("b")), Some(text("b")));
        assert_eq!(fitting(&words, text("c")), None);
        assert_eq!(fitting(&Type::Int, text("3")), None);
        assert_eq!(fitting(&Type::List(Box::new(Type::Text)), Value::List(vec![text("x")])), Some(Value::List(vec![text("x")])));
        assert_eq!(fitting(&Type::List(Box::new(Type::Int)), Value::List(vec![text("x")])), None);
        assert_eq!(fitting(&Type::Int, Value::Missing), Some(Value::Missing));
    }

    #[test]
    fn published_fields_are_picked_by_their_names() {
        let mut old = Vec::new();
        put_value(&mut old, &Value::Int(1));
        put_value(&mut old, &Value::Text("two".into()));
        let mut out = vec![9];
        let span = picked(&old, &[Some(1), None, Some(0)], &mut out);
        let mut reader = Reader::new(&out[span.start as usize..span.end as usize]);
        let got: Vec<Value> = (0..3).map(|_| read_value(&mut reader).to_value()).collect();
        assert_eq!(got, [Value::Text("two".into()), Value::Missing, Value::Int(1)]);
    }
}
