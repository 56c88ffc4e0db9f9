//! The cart, folded from all its events anew each time (LANGUAGE.md S43, S44, R17, R31, R32, R38).

use super::Occurrence;
use super::value::same;
use crate::lang::EventRef;
use crate::model::{CartAction, CartRule, Catalogue, Money, Property, Type, Value};
use crate::time::Timestamp;

/// One product of the cart.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub product: Value,
    pub variant: Value,
    pub quantity: i64,
    pub price: Value,
    /// Properties of the last add, by name.
    pub fields: Vec<(String, Value)>,
}

impl Line {
    /// A field as a filter of `cart.items has [..]` sees it: quantity and price are those of the line.
    pub fn field(&self, name: &str) -> Value {
        match name {
            "quantity" => Value::Int(self.quantity),
            "price" => self.price.clone(),
            _ => self.fields.iter().find(|(n, _)| n == name).map_or(Value::Missing, |(_, v)| v.clone()),
        }
    }
}

/// Where an event stands in the fold: sorted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its `ts`, or, of an event that came after the reorder buffer, that of the last event then in the cart.
    pub ts: Timestamp,
    /// Order of application.
    pub order: u64,
}

/// Lines that are told apart; what comes on top counts in quantity and value only (S43).
const LINES_MAX: usize = 200;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cart {
    /// At most [`LINES_MAX`].
    pub lines: Vec<Line>,
    /// Those beyond, without names.
    beyond: Vec<Line>,
    /// The `ts` of the last event that changed something; never goes back.
    pub changed_at: Option<Timestamp>,
}

/// What one event says about one product.
struct Item {
    product: Value,
    variant: Value,
    quantity: Option<i64>,
    price: Value,
    fields: Vec<(String, Value)>,
}

impl Cart {
    /// Folds `events` (in any order; each with its place) from nothing. `before` keeps `changed_at` from going back.
    pub(super) fn fold(catalogue: &Catalogue, events: &[(Place, &Occurrence)], before: Option<Timestamp>) -> Cart {
        let mut sorted: Vec<_> = events.to_vec();
        sorted.sort_by_key(|(place, _)| *place);
        let mut cart = Cart::default();
        let mut last_set: Option<Timestamp> = None;
        for (_, event) in sorted {
            for rule in catalogue.cart.iter().filter(|r| event.kind == EventRef::Catalogue(r.event)) {
                if rule.action == CartAction::Set {
                    if last_set.is_some_and(|set| event.ts < set) {
                        continue;
                    }
                    last_set = Some(event.ts);
                }
                let before = (cart.lines.clone(), cart.beyond.len());
                cart.step(rule, items(catalogue, rule, event));
                if !same_lines(&before.0, &cart.lines) || before.1 != cart.beyond.len() {
                    cart.changed_at = cart.changed_at.max(Some(event.ts));
                }
            }
        }
        cart.changed_at = cart.changed_at.max(before);
        cart
    }

    fn step(&mut self, rule: &CartRule, items: Option<Vec<Item>>) {
        match rule.action {
            CartAction::Clear => self.clear(),
            CartAction::Set => {
                self.clear();
                items.unwrap_or_default().into_iter().for_each(|i| self.add(i));
            }
            CartAction::Add => items.unwrap_or_default().into_iter().for_each(|i| self.add(i)),
            CartAction::Remove => items.unwrap_or_default().into_iter().for_each(|i| {
                let quantity = i.quantity;
                self.take(&i, quantity);
            }),
            CartAction::Buy => match items {
                Some(items) if !items.is_empty() => items.into_iter().for_each(|i| {
                    let quantity = i.quantity.unwrap_or(1);
                    self.take(&i, Some(quantity));
                }),
                _ => self.clear(),
            },
        }
    }

    fn clear(&mut self) {
        self.lines.clear();
        self.beyond.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn find(&self, item: &Item) -> Option<usize> {
        self.lines.iter().position(|l| same(&l.product, &item.product) && same(&l.variant, &item.variant))
    }

    fn add(&mut self, item: Item) {
        let quantity = item.quantity.unwrap_or(1);
        if quantity <= 0 {
            return;
        }
        match self.find(&item) {
            Some(i) => {
                let line = &mut self.lines[i];
                line.quantity += quantity;
                // An add without price keeps the price that the line has.
                if !item.price.is_missing() {
                    line.price = item.price;
                }
                line.fields = item.fields;
            }
            None => {
                let Item { product, variant, price, fields, .. } = item;
                let all = if self.lines.len() < LINES_MAX { &mut self.lines } else { &mut self.beyond };
                all.push(Line { product, variant, quantity, price, fields });
            }
        }
    }

    /// Takes `quantity` of a product, or all of it.
    fn take(&mut self, item: &Item, quantity: Option<i64>) {
        if let Some(i) = self.find(item) {
            match quantity {
                Some(n) if n <= 0 => {}
                Some(n) if self.lines[i].quantity > n => self.lines[i].quantity -= n,
                _ => {
                    self.lines.remove(i);
                }
            }
        }
    }

    pub fn quantity(&self) -> i64 {
        self.lines.iter().chain(&self.beyond).map(|l| l.quantity).sum()
    }

    pub fn value(&self, catalogue: &Catalogue) -> Value {
        let currency = catalogue.workspace.currency;
        let minor = self.lines.iter().chain(&self.beyond).map(|l| match l.price {
            Value::Money(m) if m.currency == currency => m.minor * l.quantity,
            _ => 0,
        });
        Value::Money(Money { minor: minor.sum(), currency })
    }
}

/// Equal names, quantities and prices; other fields do not make a cart another one.
fn same_lines(a: &[Line], b: &[Line]) -> bool {
    let same = |l: &Line, m: &Line| l.product == m.product && l.variant == m.variant && l.quantity == m.quantity && l.price == m.price;
    a.len() == b.len() && a.iter().all(|l| b.iter().any(|m| same(l, m)))
}

/// The products an event names: those of its `lines` property, or the event itself. `None` where the lines are absent.
fn items(catalogue: &Catalogue, rule: &CartRule, event: &Occurrence) -> Option<Vec<Item>> {
    let ty = &catalogue.events[rule.event.at()];
    match rule.lines {
        None if rule.action == CartAction::Buy => None,
        None => Some(vec![item(&ty.properties, &event.properties)]),
        Some(property) => {
            let Type::List(element) = &ty.properties[property.at()].ty else { return None };
            let Type::Record(fields) = &**element else { return None };
            match &event.properties[property.at()] {
                Value::List(lines) => Some(
                    lines
                        .iter()
                        .filter_map(|l| match l {
                            Value::Record(values) => Some(item(fields, values)),
                            _ => None,
                        })
                        .collect(),
                ),
                _ => None,
            }
        }
    }
}

fn item(properties: &[Property], values: &[Value]) -> Item {
    let field = |name: &str| properties.iter().position(|p| p.name == name).map_or(Value::Missing, |i| values[i].clone());
    let product = match field("product_id") {
        Value::Missing => field("sku"),
        known => known,
    };
    Item {
        product,
        variant: field("variant"),
        quantity: match field("quantity") {
            Value::Int(n) => Some(n),
            _ => None,
        },
        price: field("price"),
        fields: properties.iter().zip(values).map(|(p, v)| (p.name.clone(), v.clone())).collect(),
    }
}
