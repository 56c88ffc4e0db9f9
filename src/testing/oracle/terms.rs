//! Terms: paths, aggregates, scores, points, shares.

use std::cmp::Ordering;

use sha2::{Digest, Sha256};

use super::eval::{Scope, View, unknown};
use super::value::{arithmetic, compare};
use super::{Occurrence, ZoneOf, calendar};
use crate::lang::{Aggregate, ArithmeticOp, CartPath, DefinitionKind, EventRef, Expr, LocalPath, Path, Points, Rel, Score, Selector, Term};
use crate::model::{Currency, Decimal, MoneyCurrency, Property, Type, Value};
use crate::time::{Millis, Timestamp};

impl<'a> View<'a> {
    pub(super) fn value(&self, term: &Term, scope: Scope) -> Value {
        match term {
            Term::Literal(value) => value.clone(),
            Term::Path(path) => self.path(path, scope),
            Term::Aggregate { function, of, property, per, window } => {
                let mut inside: Vec<&Occurrence> = match (per, self.key) {
                    (None, _) => self.events(of).collect(),
                    (Some(path), Some(key)) => {
                        let remembered = self.remembered(of, path).into_iter();
                        remembered.filter(|e| e.ts <= self.t && self.property(e, path) == *key).collect()
                    }
                    (Some(_), None) => unknown("a term `per` a key outside of a comparison"),
                };
                self.keep_inside(window, &mut inside);
                self.aggregate(*function, of, property.as_deref(), &inside)
            }
            Term::OfEvent { which, of, property, .. } => match self.pick(*which, of) {
                None => Value::Missing,
                Some(event) if property.is_empty() => Value::Instant(event.ts),
                Some(event) => self.property(event, property),
            },
            Term::Arithmetic { op, left, right } => arithmetic(*op, &self.value(left, scope), &self.value(right, scope)),
            Term::Score(index) => match &self.rules.workspace.definitions[index.at()].kind {
                DefinitionKind::Score(score) => Value::Score(View { zone: ZoneOf::Customer, ..*self }.score(score)),
                _ => unknown("a score that is none"),
            },
            Term::Age(of) => match self.value(of, scope) {
                Value::Instant(x) => Value::Duration(self.t - x),
                Value::Date(day) => Value::Duration(self.t - self.midnight(day)),
                _ => Value::Missing,
            },
            Term::Points(index) => match &self.rules.workspace.definitions[index.at()].kind {
                DefinitionKind::Points(points) => View { zone: ZoneOf::Customer, key: None, ..*self }.points(points),
                _ => unknown("points that are none"),
            },
            Term::Stage(index) => self.stage_name(*index),
            Term::Bucket(salt) => Value::Decimal(bucket(salt, &self.customer.name)),
            Term::Band { of, bounds } => match self.value(of, scope) {
                Value::Missing => Value::Missing,
                of => Value::Int(bounds.iter().filter(|b| compare(&of, b).is_some_and(Ordering::is_ge)).count() as i64),
            },
            // Known only in `emit`, which asks the machine.
            Term::Key => unknown("`key` in a condition"),
            Term::Ntile { .. } => unknown("`ntile`"),
        }
    }

    fn points(&self, points: &Points) -> Value {
        let sum = points.rules.iter().filter(|(_, condition)| self.holds(condition)).map(|(n, _)| n.0).sum();
        Value::Decimal(Decimal(sum))
    }

    fn path(&self, path: &Path, scope: Scope) -> Value {
        match path {
            Path::Property { path, .. } => match scope {
                Scope::Event(event) => self.property(event, path),
                Scope::Record { values, properties, .. } => descend(values, properties, path),
                Scope::Line(line) => line.field(&path[0]),
                Scope::None => unknown("a property outside a filter"),
            },
            Path::Trait { index, rest, .. } => {
                let stored = self.customer.traits[index.at()].as_ref().map_or(Value::Missing, |(_, v)| v.clone());
                match (&stored, &self.rules.workspace.catalogue.traits[index.at()].ty) {
                    (_, _) if rest.is_empty() => stored,
                    (Value::Record(values), Type::Record(properties)) => descend(values, properties, rest),
                    _ => Value::Missing,
                }
            }
            Path::FirstSeen => Value::Instant(self.customer.first_seen),
            Path::Cart(CartPath::Value) => self.customer.cart.value(&self.rules.workspace.catalogue),
            Path::Cart(CartPath::Quantity) => Value::Int(self.customer.cart.quantity()),
            Path::Cart(CartPath::Items | CartPath::Whole) => Value::Int(self.customer.cart.lines.len() as i64),
            Path::Cart(CartPath::ChangedAt) => self.customer.cart.changed_at.map_or(Value::Missing, Value::Instant),
            Path::Local(part) => {
                // In a filter that of the event, by the zone in which it was filed.
                let now = match scope.event() {
                    Some(event) => calendar::local(self.rules.zone(self.zone, &event.zone), event.ts),
                    None => calendar::local(self.zone(), self.t),
                };
                match part {
                    LocalPath::Time => Value::Duration(now.time),
                    LocalPath::Weekday => calendar::weekday(now.day),
                    LocalPath::Hour => Value::Int(now.time.0 / Millis::HOUR.0),
                    LocalPath::Date => Value::Date(now.day),
                }
            }
        }
    }

    pub fn property(&self, event: &Occurrence, path: &[String]) -> Value {
        let catalogue = &self.rules.workspace.catalogue;
        match event.kind {
            EventRef::Catalogue(index) => descend(&event.properties, &catalogue.events[index.at()].properties, path),
            EventRef::TraitChanged => {
                let [Value::Text(name), from, to] = event.properties.as_slice() else { unknown("a trait that changed otherwise") };
                let of_trait = |value: &Value| match (value, catalogue.trait_named(name).map(|t| &catalogue.traits[t.at()].ty)) {
                    (value, _) if path.len() == 1 => value.clone(),
                    (Value::Record(values), Some(Type::Record(properties))) => descend(values, properties, &path[1..]),
                    _ => Value::Missing,
                };
                match path[0].as_str() {
                    "name" => Value::Text(name.clone()),
                    "from" => of_trait(from),
                    "to" => of_trait(to),
                    _ => Value::Missing,
                }
            }
        }
    }

    fn aggregate(&self, function: Aggregate, of: &Selector, property: Option<&[String]>, inside: &[&Occurrence]) -> Value {
        let Some(property) = property else {
            return Value::Int(inside.len() as i64);
        };
        let values: Vec<Value> = inside.iter().map(|e| self.property(e, property)).filter(|v| !v.is_missing()).collect();
        let sum = || values.iter().fold(self.zero(of, property), |sum, v| arithmetic(ArithmeticOp::Add, &sum, v));
        match function {
            // Of a property: the events that have it.
            Aggregate::Count => Value::Int(values.len() as i64),
            Aggregate::Sum => sum(),
            Aggregate::Avg if values.is_empty() => Value::Missing,
            Aggregate::Avg => arithmetic(ArithmeticOp::Div, &sum(), &Value::Int(values.len() as i64)),
            Aggregate::Min | Aggregate::Max => {
                let wanted = if function == Aggregate::Min { Ordering::Less } else { Ordering::Greater };
                let better = |best: Value, v: &Value| if compare(v, &best) == Some(wanted) { v.clone() } else { best };
                let Some(first) = values.first() else { return Value::Missing };
                values.iter().fold(first.clone(), better)
            }
            Aggregate::Distinct => {
                let mut seen: Vec<&Value> = Vec::new();
                for value in &values {
                    if !seen.iter().any(|s| compare(s, value) == Some(Ordering::Equal)) {
                        seen.push(value);
                    }
                }
                Value::Int(seen.len() as i64)
            }
        }
    }

    /// What a sum of nothing is: 0 in the unit of the property.
    fn zero(&self, of: &Selector, property: &[String]) -> Value {
        let catalogue = &self.rules.workspace.catalogue;
        let Some(EventRef::Catalogue(event)) = of.members[0].events.first() else { return Value::Int(0) };
        let ty = catalogue.events[event.at()].properties.iter().find(|p| p.name == property[0]).map(|p| &p.ty);
        match ty {
            Some(Type::Money(MoneyCurrency::Fixed(currency))) => zero_money(*currency),
            Some(Type::Money(MoneyCurrency::Property(_))) => {
                zero_money(of.members[0].filter.as_ref().and_then(fixed_currency).unwrap_or(catalogue.workspace.currency))
            }
            Some(Type::Duration) => Value::Duration(Millis(0)),
            _ => Value::Int(0),
        }
    }

    /// Folded from the first contribution on, in the order of application (S34, R18, R37).
    pub fn score(&self, score: &Score) -> f64 {
        let (value, at) = self.score_state(score);
        value * decay(self.t - at, score.half_life)
    }

    /// The value at the newest contribution, and that contribution's `ts`.
    pub fn score_state(&self, score: &Score) -> (f64, Timestamp) {
        let cap = score.cap.map_or(f64::INFINITY, float);
        let (mut value, mut at, mut reset) = (0.0f64, Timestamp::MIN, Timestamp::MIN);
        let selected: Vec<_> = score.rules.iter().map(|rule| (rule, self.selected(&rule.selector))).collect();
        for event in self.customer.events.iter().filter(|e| e.ts <= self.t) {
            let matching: Vec<_> = selected.iter().filter(|(_, selects)| selects(event)).map(|(rule, _)| *rule).collect();
            if matching.is_empty() || event.ts < reset && matching.iter().all(|r| r.add.is_some()) {
                continue;
            }
            if matching.iter().any(|r| r.add.is_none()) {
                (value, reset, at) = (0.0, reset.max(event.ts), at.max(event.ts));
                continue;
            }
            let add: f64 = matching.iter().filter_map(|r| r.add).map(float).sum();
            if value == 0.0 {
                (value, at) = (add, event.ts);
            } else if event.ts >= at {
                (value, at) = (value * decay(event.ts - at, score.half_life) + add, event.ts);
            } else {
                value += add * decay(at - event.ts, score.half_life);
            }
            value = value.min(cap);
        }
        (value, if at == Timestamp::MIN { self.t } else { at })
    }
}

/// 2^(-age / half-life), by the platform's `exp2`: independent of the engine's own, exact where the exponent is a whole number.
pub fn decay(age: Millis, half_life: Millis) -> f64 {
    (-(age.0 as f64) / half_life.0 as f64).exp2()
}

fn float(decimal: Decimal) -> f64 {
    decimal.0 as f64 / Decimal::ONE as f64
}

fn zero_money(currency: Currency) -> Value {
    Value::Money(crate::model::Money { minor: 0, currency })
}

/// The currency that a filter asks for.
fn fixed_currency(filter: &Expr) -> Option<Currency> {
    match filter {
        Expr::And(all) => all.iter().find_map(fixed_currency),
        Expr::Compare { left: Term::Path(_), rel: Rel::Eq, right: Term::Literal(Value::Text(code)), .. } => Currency::parse(code),
        Expr::Compare { left: Term::Path(_), right: Term::Literal(Value::Money(amount)), .. } => Some(amount.currency),
        Expr::Between { low: Term::Literal(Value::Money(amount)), .. } => Some(amount.currency),
        Expr::Member { of: Term::Path(_), values, .. } => match values.as_slice() {
            [Value::Text(code)] => Currency::parse(code),
            _ => None,
        },
        _ => None,
    }
}

fn descend(values: &[Value], properties: &[Property], path: &[String]) -> Value {
    let Some(i) = properties.iter().position(|p| p.name == path[0]) else { return Value::Missing };
    match (&values[i], &properties[i].ty) {
        (value, _) if path.len() == 1 => value.clone(),
        (Value::Record(values), Type::Record(properties)) => descend(values, properties, &path[1..]),
        _ => Value::Missing,
    }
}

/// S42: the first 8 bytes of SHA-256 over salt, 0x1F and customer as a fraction of 2^64, in whole millionths.
fn bucket(salt: &str, customer: &str) -> Decimal {
    let digest = Sha256::digest([salt.as_bytes(), &[0x1F], customer.as_bytes()].concat());
    let first = digest[..8].iter().fold(0u128, |n, byte| n << 8 | u128::from(*byte));
    Decimal(((first * 1_000_000) >> 64) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_the_specification() {
        for (salt, customer, want) in
            [("exp-cart-7", "c-1001", 95_169), ("holdout-2026", "c-1001", 209_758), ("holdout-2026", "c-1002", 500_651)]
        {
            assert_eq!(bucket(salt, customer), Decimal(want));
        }
    }
}
