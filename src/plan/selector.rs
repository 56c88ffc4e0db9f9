//! From one event to the selectors that it matches: by type, then by equality tests, then by the filters that are left.
//!
//! A filter with `property = literal` (or `in [..]`) among its conjuncts is found through a table on that property, so that ten thousand
//! segments that each ask for another category cost an event of one category nothing but a look-up.

use hashbrown::HashMap;

use super::feature::{FeatureId, SelectorId};
use super::filter::{Filter, Operand};
use crate::lang::definition::{Expr, Path, Rel, Term};
use crate::model::{CartAction, Catalogue, Property, Type, Value};

/// All that events of one type can touch.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// Each selector that some event of the type can match, once.
    pub selectors: Vec<RouteSelector>,
    /// Matched without looking: places in `selectors`.
    pub always: Vec<u32>,
    pub tables: Vec<Table>,
    /// Filters that only looking at them decides.
    pub scan: Vec<Candidate>,
    /// What the event does to the cart, in the order of the catalogue.
    pub cart: Vec<CartRoute>,
    /// The session that it begins or carries on.
    pub session: Option<FeatureId>,
    /// Some filter asks the local clock.
    pub local: bool,
}

#[derive(Clone, Debug)]
pub struct RouteSelector {
    pub selector: SelectorId,
    /// Several members of the union can match one event of this type, which counts once all the same.
    pub repeated: bool,
    pub feeds: Vec<Feed>,
}

/// What the events of a selector are to a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One more entry.
    Entry,
    /// Points of a score in millionths; `None` resets it.
    Points(Option<i64>),
    /// What it can be in a sequence, see [`super::sequence`].
    Steps(u64),
    /// Only entries after it count (`since last`).
    Mark,
}

/// What a match does to one feature.
#[derive(Clone, Debug)]
pub struct Feed {
    pub feature: FeatureId,
    pub what: Fed,
    /// Of a keyed feature.
    pub key: Option<Operand>,
}

#[derive(Clone, Debug)]
pub enum Fed {
    /// The event's instant.
    Instant,
    /// A number in the feature's unit; nothing where it is missing.
    Number(Operand),
    /// The hash of a value; nothing where it is missing.
    Hash(Operand),
    /// Values to keep of the first or last event.
    Values(Box<[Operand]>),
    /// Points of a score in millionths; `None` resets it.
    Points(Option<i64>),
    /// What it can be in a sequence.
    Steps(u64),
    /// Only entries after it count.
    Mark,
}

/// A selector that matches if the filter, `None` for a sure match, holds.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Place in [`Route::selectors`].
    pub at: u32,
    pub filter: Option<Filter>,
}

/// Candidates by the value of one slot.
#[derive(Clone, Debug)]
pub struct Table {
    pub slot: u16,
    pub texts: HashMap<Box<str>, Vec<Candidate>>,
    pub ints: HashMap<i64, Vec<Candidate>>,
}

/// How events of one type change the cart.
#[derive(Clone, Debug, PartialEq)]
pub struct CartRoute {
    pub action: CartAction,
    /// The slot with the list of lines; without it the event's own slots are the one line.
    pub lines: Option<u16>,
    /// Places of the line's own data: in the event's slots, or in the fields of a list's element.
    pub product: Option<u16>,
    /// Asked where the product is missing.
    pub sku: Option<u16>,
    pub variant: Option<u16>,
    pub quantity: Option<u16>,
    pub price: Option<u16>,
    /// Places of what filters read, by [`super::CartPlan::fields`].
    pub fields: Box<[Option<u16>]>,
}

impl Route {
    /// Adds a member of a selector's union.
    pub fn add(&mut self, at: u32, filter: Option<Filter>) {
        let Some(filter) = filter else {
            self.always.push(at);
            return;
        };
        let mut conjuncts = match filter {
            Filter::And(all) => all.into_vec(),
            other => vec![other],
        };
        let Some((i, slot, keys)) = conjuncts.iter().enumerate().find_map(|(i, f)| equality(f).map(|(slot, keys)| (i, slot, keys))) else {
            self.scan.push(Candidate { at, filter: joined(conjuncts) });
            return;
        };
        conjuncts.remove(i);
        let candidate = Candidate { at, filter: joined(conjuncts) };
        let table = match self.tables.iter().position(|t| t.slot == slot) {
            Some(i) => i,
            None => {
                self.tables.push(Table { slot, texts: HashMap::new(), ints: HashMap::new() });
                self.tables.len() - 1
            }
        };
        let table = &mut self.tables[table];
        for key in keys {
            match key {
                Key::Text(text) => table.texts.entry(text).or_default().push(candidate.clone()),
                Key::Int(n) => table.ints.entry(n).or_default().push(candidate.clone()),
            }
        }
    }
}

/// The properties of `trait_changed`, by place: `from` and `to` have the type of the trait that the filter names.
pub(super) fn trait_changed(catalogue: &Catalogue, filter: Option<&Expr>) -> Vec<Property> {
    let named = filter.and_then(named).and_then(|name| catalogue.trait_named(name));
    let ty = named.map_or(Type::Text, |index| catalogue.traits[index.at()].ty.clone());
    let property = |name: &str, ty: &Type| Property { name: name.into(), ty: ty.clone(), pointer: None };
    vec![property("name", &Type::Text), property("from", &ty), property("to", &ty)]
}

/// The name that a filter of `trait_changed` asks for.
fn named(filter: &Expr) -> Option<&str> {
    match filter {
        Expr::And(all) => all.iter().find_map(named),
        Expr::Compare { left: Term::Path(Path::Property { path, .. }), rel: Rel::Eq, right: Term::Literal(Value::Text(name)), .. }
            if path.len() == 1 && path[0] == "name" =>
        {
            Some(name)
        }
        _ => None,
    }
}

fn joined(mut conjuncts: Vec<Filter>) -> Option<Filter> {
    match conjuncts.len() {
        0 => None,
        1 => conjuncts.pop(),
        _ => Some(Filter::And(conjuncts.into())),
    }
}

#[derive(PartialEq)]
enum Key {
    Text(Box<str>),
    Int(i64),
}

/// The slot and the values of an equality test that a table can answer.
fn equality(filter: &Filter) -> Option<(u16, Vec<Key>)> {
    let slot_of = |operand: &Operand| match operand {
        Operand::Slot { slot, fields } if fields.is_empty() => Some(*slot),
        _ => None,
    };
    let key = |value: &Value| match value {
        Value::Text(text) => Some(Key::Text(text.clone())),
        Value::Int(n) => Some(Key::Int(*n)),
        _ => None,
    };
    match filter {
        Filter::Compare { left, rel: Rel::Eq, right: Operand::Literal(value), ignore_case: false } => {
            Some((slot_of(left)?, vec![key(value)?]))
        }
        Filter::Compare { left: Operand::Literal(value), rel: Rel::Eq, right, ignore_case: false } => {
            Some((slot_of(right)?, vec![key(value)?]))
        }
        Filter::Member { of, values, ignore_case: false } => {
            let mut keys: Vec<Key> = Vec::with_capacity(values.len());
            for value in values {
                let key = key(value)?;
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            Some((slot_of(of)?, keys))
        }
        _ => None,
    }
}
