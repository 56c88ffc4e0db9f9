//! Conditions and terms evaluated from scratch at one instant, straight from the rules: no state but the customer's events.

use std::cmp::Ordering;

use super::cart::Line;
use super::value::{arithmetic, compare, fold};
use super::{Customer, Occurrence, Rules};
use crate::lang::{
    Aggregate, CartPath, Containment, DefinitionKind, EventRef, Expr, Path, Rel, Score, Selector, Term, TimeWindow, Which, Window,
};
use crate::model::{Currency, Decimal, MoneyCurrency, Property, Type, Value};
use crate::time::{Millis, Timestamp};

/// What is evaluated, and when.
pub struct View<'a> {
    pub rules: &'a Rules,
    pub customer: &'a Customer,
    pub t: Timestamp,
}

/// What bare names mean inside a filter.
#[derive(Clone, Copy)]
enum Scope<'a> {
    None,
    Event(&'a Occurrence),
    Record { values: &'a [Value], properties: &'a [Property] },
    Line(&'a Line),
}

/// A form that the engine does not evaluate yet either: the compiler refuses it with E16.
fn unknown(form: &str) -> ! {
    panic!("the oracle does not evaluate {form}")
}

impl View<'_> {
    pub fn holds(&self, expr: &Expr) -> bool {
        self.expr(expr, Scope::None)
    }

    pub fn term(&self, term: &Term) -> Value {
        self.value(term, Scope::None)
    }

    fn expr(&self, expr: &Expr, scope: Scope) -> bool {
        match expr {
            Expr::And(all) => all.iter().all(|e| self.expr(e, scope)),
            Expr::Or(any) => any.iter().any(|e| self.expr(e, scope)),
            Expr::Not(e) => !self.expr(e, scope),
            Expr::Everyone => true,
            Expr::Compare { left, rel, right, ignore_case } => {
                let (left, right) = (fold(&self.value(left, scope), *ignore_case), fold(&self.value(right, scope), *ignore_case));
                compare(&left, &right).is_some_and(|order| match rel {
                    Rel::Eq => order == Ordering::Equal,
                    Rel::Lt => order == Ordering::Less,
                    Rel::Le => order != Ordering::Greater,
                    Rel::Gt => order == Ordering::Greater,
                    Rel::Ge => order != Ordering::Less,
                })
            }
            Expr::Between { of, low, high } => {
                let of = self.value(of, scope);
                compare(&of, &self.value(low, scope)).is_some_and(Ordering::is_ge)
                    && compare(&of, &self.value(high, scope)).is_some_and(Ordering::is_le)
            }
            Expr::Member { of, values, ignore_case } => {
                let of = fold(&self.value(of, scope), *ignore_case);
                values.iter().any(|v| compare(&of, &fold(v, *ignore_case)) == Some(Ordering::Equal))
            }
            Expr::HalfOpen { of, from, to } => {
                let of = self.value(of, scope);
                compare(&of, from).is_some_and(Ordering::is_ge) && compare(&of, to).is_some_and(Ordering::is_lt)
            }
            Expr::HeldFor { of, at_least } => {
                // The start is remembered by the steps (R4); that the operand holds now is looked at again. An earlier instant sees a
                // dwell as it is remembered now: one that has ended is forgotten.
                let since = self.customer.dwells[self.rules.dwell(of)];
                since.is_some_and(|since| self.t - since >= *at_least) && self.expr(of, scope)
            }
            Expr::EventIn { which, of, window } => self.pick(*which, of).is_some_and(|e| self.in_window(window, e.ts)),
            Expr::InSegment(index) => self.customer.machines[index.at()].was_member(self.t),
            Expr::InList(index) => self.customer.lists[index.at()].is_some_and(|(_, member)| member),
            Expr::Consent(index) => match self.customer.consents[index.at()] {
                None => self.rules.workspace.catalogue.purposes[index.at()].default_granted,
                Some((_, granted, until)) => granted && until.is_none_or(|until| self.t < until),
            },
            Expr::TimeIn { of, window } => match self.value(of, scope) {
                Value::Instant(x) => self.instant_in(window, x),
                Value::Date(day) => self.instant_in(window, self.rules.midnight(day)),
                _ => false,
            },
            Expr::Contains { of, what, ignore_case } => {
                let of = self.value(of, scope);
                let has = |what: &Value| contains(&of, what, *ignore_case);
                match what {
                    Containment::One(v) => has(v),
                    Containment::Any(all) => all.iter().any(has),
                    Containment::All(all) => !of.is_missing() && all.iter().all(has),
                }
            }
            Expr::Has { of, filter } => self.has(of, filter, scope),
            Expr::StartsWith { of, prefix, ignore_case } => match fold(&self.value(of, scope), *ignore_case) {
                Value::Text(t) => t.starts_with(&*folded(prefix, *ignore_case)),
                _ => false,
            },
            Expr::EndsWith { of, suffix, ignore_case } => match fold(&self.value(of, scope), *ignore_case) {
                Value::Text(t) => t.ends_with(&*folded(suffix, *ignore_case)),
                _ => false,
            },
            Expr::Empty(Term::Path(Path::Cart(_))) => self.customer.cart.is_empty(),
            Expr::Empty(term) => match self.value(term, scope) {
                Value::Missing => true,
                Value::Text(t) => t.is_empty(),
                Value::List(items) => items.is_empty(),
                _ => false,
            },
            Expr::Known(term) => !self.value(term, scope).is_missing(),
            Expr::NofM { .. } => unknown("`at least N of last M`"),
            Expr::Sequence(_) => unknown("`sequence`"),
            Expr::Crossed { .. } => unknown("`entered segment`"),
            Expr::Anniversary { .. } => unknown("`anniversary`"),
            Expr::Matches { .. } => unknown("`matches`"),
            Expr::Near { .. } => unknown("`within .. of geo`"),
            Expr::Rank { .. } => unknown("ranks"),
        }
    }

    fn has(&self, of: &Term, filter: &Expr, scope: Scope) -> bool {
        if let Term::Path(Path::Cart(_)) = of {
            return self.customer.cart.lines.iter().any(|line| self.expr(filter, Scope::Line(line)));
        }
        let Value::List(items) = self.value(of, scope) else { return false };
        let Term::Path(Path::Property { ty, .. } | Path::Trait { ty, .. }) = of else { unknown("`has` on a computed list") };
        let Type::List(element) = ty else { unknown("`has` on what is no list") };
        let Type::Record(properties) = &**element else { unknown("`has` on a list of plain values") };
        items.iter().any(|item| match item {
            Value::Record(values) => self.expr(filter, Scope::Record { values, properties }),
            _ => false,
        })
    }

    fn value(&self, term: &Term, scope: Scope) -> Value {
        match term {
            Term::Literal(value) => value.clone(),
            Term::Path(path) => self.path(path, scope),
            Term::Aggregate { function, of, property, per, window } => {
                if per.is_some() {
                    unknown("`per`");
                }
                self.aggregate(*function, of, property.as_deref(), window)
            }
            Term::OfEvent { which, of, property, .. } => match self.pick(*which, of) {
                None => Value::Missing,
                Some(event) if property.is_empty() => Value::Instant(event.ts),
                Some(event) => self.property(event, property),
            },
            Term::Arithmetic { op, left, right } => arithmetic(*op, &self.value(left, scope), &self.value(right, scope)),
            Term::Score(index) => match &self.rules.workspace.definitions[index.at()].kind {
                DefinitionKind::Score(score) => Value::Score(self.score(score)),
                _ => unknown("a score that is none"),
            },
            Term::Age(of) => match self.value(of, scope) {
                Value::Instant(x) => Value::Duration(self.t - x),
                Value::Date(day) => Value::Duration(self.t - self.rules.midnight(day)),
                _ => Value::Missing,
            },
            Term::Points(_) => unknown("points"),
            Term::Stage(_) => unknown("stages"),
            Term::Bucket(_) => unknown("`bucket`"),
            Term::Ntile { .. } => unknown("`ntile`"),
            Term::Band { .. } => unknown("`band`"),
            Term::Key => unknown("`key`"),
        }
    }

    fn path(&self, path: &Path, scope: Scope) -> Value {
        match path {
            Path::Property { path, .. } => match scope {
                Scope::Event(event) => self.property(event, path),
                Scope::Record { values, properties } => descend(values, properties, path),
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
            Path::Local(_) => unknown("`local`"),
        }
    }

    fn property(&self, event: &Occurrence, path: &[String]) -> Value {
        match event.kind {
            EventRef::Catalogue(index) => descend(&event.properties, &self.rules.workspace.catalogue.events[index.at()].properties, path),
            EventRef::TraitChanged => unknown("`trait_changed`"),
        }
    }

    /// Whether the event is one of those that the selector means.
    pub fn selects(&self, selector: &Selector, event: &Occurrence) -> bool {
        selector
            .members
            .iter()
            .any(|m| m.events.contains(&event.kind) && m.filter.as_ref().is_none_or(|f| self.expr(f, Scope::Event(event))))
    }

    /// Events of the selector up to now (S5).
    fn events<'s>(&'s self, selector: &'s Selector) -> impl Iterator<Item = &'s Occurrence> {
        self.customer.events.iter().filter(|e| e.ts <= self.t && self.selects(selector, e))
    }

    /// The newest or oldest by S18.
    fn pick<'s>(&'s self, which: Which, selector: &'s Selector) -> Option<&'s Occurrence> {
        match which {
            Which::First => self.events(selector).min_by_key(|e| (e.ts, e.order)),
            Which::Last => self.events(selector).max_by_key(|e| (e.ts, e.order)),
        }
    }

    /// S6.
    fn in_window(&self, window: &Window, ts: Timestamp) -> bool {
        let age = self.t - ts;
        let zero = Millis(0);
        match window {
            Window::Ever => age >= zero,
            Window::Last(d) => zero <= age && age < *d,
            Window::Older(d) => age >= *d,
            Window::Between { from, to } => *from <= age && age < *to,
            Window::This(_) | Window::Full { .. } | Window::SinceLast(_) | Window::Dates { .. } => unknown("a calendar window"),
        }
    }

    fn instant_in(&self, window: &TimeWindow, x: Timestamp) -> bool {
        match window {
            TimeWindow::Past(window) => self.in_window(window, x),
            TimeWindow::Next(d) => Millis(0) < x - self.t && x - self.t <= *d,
            TimeWindow::NextFull { .. } => unknown("a calendar window"),
        }
    }

    fn aggregate(&self, function: Aggregate, of: &Selector, property: Option<&[String]>, window: &Window) -> Value {
        let inside: Vec<_> = self.events(of).filter(|e| self.in_window(window, e.ts)).collect();
        let Some(property) = property else {
            return Value::Int(inside.len() as i64);
        };
        let values: Vec<Value> = inside.iter().map(|e| self.property(e, property)).filter(|v| !v.is_missing()).collect();
        let sum = || values.iter().fold(self.zero(of, property), |sum, v| arithmetic(crate::lang::ArithmeticOp::Add, &sum, v));
        match function {
            // Of a property: the events that have it.
            Aggregate::Count => Value::Int(values.len() as i64),
            Aggregate::Sum => sum(),
            Aggregate::Avg if values.is_empty() => Value::Missing,
            Aggregate::Avg => arithmetic(crate::lang::ArithmeticOp::Div, &sum(), &Value::Int(values.len() as i64)),
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
        for event in self.customer.events.iter().filter(|e| e.ts <= self.t) {
            let matching: Vec<_> = score.rules.iter().filter(|r| self.selects(&r.selector, event)).collect();
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

fn folded(text: &str, ignore_case: bool) -> String {
    if ignore_case { text.to_lowercase() } else { text.to_string() }
}

fn contains(of: &Value, what: &Value, ignore_case: bool) -> bool {
    match (fold(of, ignore_case), fold(what, ignore_case)) {
        (Value::Text(text), Value::Text(part)) => text.contains(&*part),
        (Value::List(items), what) => items.iter().any(|i| compare(&fold(i, ignore_case), &what) == Some(Ordering::Equal)),
        _ => false,
    }
}
