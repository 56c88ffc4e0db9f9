//! Conditions evaluated from scratch at one instant, straight from the rules: no state but the customer's events. Terms: `terms.rs`;
//! windows: `windows.rs`.

use std::cmp::Ordering;

use super::cart::Line;
use super::value::{compare, fold};
use super::{Customer, Occurrence, Rules, ZoneOf, calendar};
use crate::lang::{Containment, DefinitionKind, Direction, Expr, Path, Rel, Selector, Stages, Term, Which};
use crate::model::{Property, Type, Value};
use crate::time::Timestamp;

/// What is evaluated, when, and by which zone's calendar.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub rules: &'a Rules,
    pub customer: &'a Customer,
    pub t: Timestamp,
    pub zone: ZoneOf,
    /// The key that a condition `per` a key is looked at for.
    pub key: Option<&'a Value>,
}

/// What bare names mean inside a filter, and which event's clock `local` is.
#[derive(Clone, Copy)]
pub(super) enum Scope<'a> {
    None,
    Event(&'a Occurrence),
    Record { values: &'a [Value], properties: &'a [Property], of: Option<&'a Occurrence> },
    Line(&'a Line),
}

impl<'a> Scope<'a> {
    /// The event that a filter is about.
    pub fn event(self) -> Option<&'a Occurrence> {
        match self {
            Scope::Event(event) => Some(event),
            Scope::Record { of, .. } => of,
            Scope::None | Scope::Line(_) => None,
        }
    }
}

/// A form that `Oracle::knows` refuses.
pub(super) fn unknown(form: &str) -> ! {
    panic!("the oracle does not evaluate {form}")
}

/// Whether a comparison that came out as `order` is what was asked for.
pub fn related(order: Ordering, rel: Rel) -> bool {
    match rel {
        Rel::Eq => order == Ordering::Equal,
        Rel::Lt => order == Ordering::Less,
        Rel::Le => order != Ordering::Greater,
        Rel::Gt => order == Ordering::Greater,
        Rel::Ge => order != Ordering::Less,
    }
}

impl<'a> View<'a> {
    pub fn holds(&self, expr: &Expr) -> bool {
        self.expr(expr, Scope::None)
    }

    pub fn term(&self, term: &Term) -> Value {
        self.value(term, Scope::None)
    }

    /// The same customer at another instant.
    pub fn at(&self, t: Timestamp) -> View<'a> {
        View { t, ..*self }
    }

    pub(super) fn expr(&self, expr: &Expr, scope: Scope) -> bool {
        if self.key.is_none() && super::keys::keyed_term(expr).is_some() {
            return !self.keys_that_hold(expr).is_empty();
        }
        match expr {
            Expr::And(all) => all.iter().all(|e| self.expr(e, scope)),
            Expr::Or(any) => any.iter().any(|e| self.expr(e, scope)),
            Expr::Not(e) => !self.expr(e, scope),
            Expr::Everyone => true,
            Expr::Compare { left, rel, right, ignore_case } => {
                let (left, right) = (fold(&self.value(left, scope), *ignore_case), fold(&self.value(right, scope), *ignore_case));
                compare(&left, &right).is_some_and(|order| related(order, *rel))
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
                let (after_from, before_to) = (compare(&of, from).map(Ordering::is_ge), compare(&of, to).map(Ordering::is_lt));
                match (after_from, before_to) {
                    // A range of clock times that wraps midnight.
                    (Some(a), Some(b)) if compare(from, to) == Some(Ordering::Greater) => a || b,
                    (Some(a), Some(b)) => a && b,
                    _ => false,
                }
            }
            Expr::HeldFor { of, at_least } => {
                // The start is remembered by the steps (R4); that the operand holds now is looked at again. An earlier instant sees a
                // dwell as it is remembered now: one that has ended is forgotten.
                let since = self.customer.dwells[self.rules.dwell(self.zone, of)];
                since.is_some_and(|since| self.t - since >= *at_least) && self.expr(of, scope)
            }
            Expr::EventIn { which, of, window } => self.picked_in(*which, of, window),
            Expr::NofM { .. } => self.n_of_m(expr),
            Expr::Sequence(sequence) => self.sequence(sequence),
            Expr::InSegment(index) => self.customer.machines[index.at()].was_member(self.t),
            Expr::Crossed { direction, segment, window } => {
                let entered = *direction == Direction::Entered;
                let newest = self.customer.machines[segment.at()].history.iter().rev().find(|(since, e)| *e == entered && *since <= self.t);
                newest.is_some_and(|(since, _)| self.instant_in(&crate::lang::TimeWindow::Past(window.clone()), *since))
            }
            Expr::InList(index) => self.customer.lists[index.at()].is_some_and(|(_, member)| member),
            Expr::Consent(index) => self.consent(*index),
            Expr::TimeIn { of, window } => match self.value(of, scope) {
                Value::Instant(x) => self.instant_in(window, x),
                Value::Date(day) => self.instant_in(window, self.midnight(day)),
                _ => false,
            },
            Expr::Anniversary { of, days } => {
                let today = calendar::local(self.zone(), self.t).day;
                match self.value(of, scope) {
                    Value::Date(day) => calendar::anniversary(day, *days, today),
                    Value::Instant(x) => calendar::anniversary(calendar::local(self.zone(), x).day, *days, today),
                    _ => false,
                }
            }
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
            Expr::Matches { of, pattern } => match self.value(of, scope) {
                Value::Text(t) => self.rules.patterns[pattern].is_match(&t),
                _ => false,
            },
            Expr::Near { of, metres, lat, lon } => match self.value(of, scope) {
                Value::Geo { lat: a, lon: b } => distance((a, b), (*lat, *lon)) <= *metres,
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
            Expr::Rank { .. } => unknown("ranks"),
        }
    }

    pub fn consent(&self, index: crate::ids::PurposeIndex) -> bool {
        match self.customer.consents[index.at()] {
            None => self.rules.workspace.catalogue.purposes[index.at()].default_granted,
            Some((_, granted, until)) => granted && until.is_none_or(|until| self.t < until),
        }
    }

    fn has(&self, of: &Term, filter: &Expr, scope: Scope) -> bool {
        if let Term::Path(Path::Cart(_)) = of {
            return self.customer.cart.lines.iter().any(|line| self.expr(filter, Scope::Line(line)));
        }
        let Value::List(items) = self.value(of, scope) else { return false };
        let (Term::Path(Path::Property { ty, .. } | Path::Trait { ty, .. }) | Term::OfEvent { ty, .. }) = of else {
            unknown("`has` on a computed list")
        };
        let Type::List(element) = ty else { unknown("`has` on what is no list") };
        let Type::Record(properties) = &**element else { unknown("`has` on a list of plain values") };
        items.iter().any(|item| match item {
            Value::Record(values) => self.expr(filter, Scope::Record { values, properties, of: scope.event() }),
            _ => false,
        })
    }

    /// Whether an event is one of those that the selector means. Looked up where it was found out at the event's application.
    pub fn selected<'s>(&'s self, selector: &'s Selector) -> impl Fn(&Occurrence) -> bool + use<'s, 'a> {
        let column = self.rules.column(selector);
        move |event| match column.and_then(|column| event.selected.get(column)) {
            Some(selected) => *selected,
            None => self.selects_by_filter(selector, event),
        }
    }

    pub fn selects(&self, selector: &Selector, event: &Occurrence) -> bool {
        self.selected(selector)(event)
    }

    pub fn selects_by_filter(&self, selector: &Selector, event: &Occurrence) -> bool {
        selector
            .members
            .iter()
            .any(|m| m.events.contains(&event.kind) && m.filter.as_ref().is_none_or(|f| self.expr(f, Scope::Event(event))))
    }

    /// Events of the selector up to now (S5).
    pub fn events<'s>(&'s self, selector: &'s Selector) -> impl Iterator<Item = &'a Occurrence> + use<'s, 'a> {
        let selects = self.selected(selector);
        self.customer.events.iter().map(|e| &**e).filter(move |e| e.ts <= self.t && selects(e))
    }

    /// The newest or oldest by S18.
    pub fn pick(&self, which: Which, selector: &Selector) -> Option<&'a Occurrence> {
        match which {
            Which::First => self.events(selector).min_by_key(|e| (e.ts, e.order)),
            Which::Last => self.newest(selector),
        }
    }

    pub fn newest(&self, selector: &Selector) -> Option<&'a Occurrence> {
        self.events(selector).max_by_key(|e| (e.ts, e.order))
    }

    /// The first stage, from the top, whose condition holds; their number for `otherwise`.
    pub fn stage(&self, stages: &Stages) -> usize {
        stages.stages.iter().position(|(_, condition)| self.holds(condition)).unwrap_or(stages.stages.len())
    }

    /// The stage that was published last, as seen at this instant.
    pub(super) fn stage_name(&self, index: crate::ids::DefinitionIndex) -> Value {
        let DefinitionKind::Stages(stages) = &self.rules.workspace.definitions[index.at()].kind else { unknown("stages that are none") };
        let stage = self.customer.machines[index.at()].stage_at(self.t, stages.stages.len());
        Value::Text(stage_name(stages, stage).into())
    }
}

/// By its place from the top; the last is `otherwise`.
pub fn stage_name(stages: &Stages, stage: usize) -> &str {
    stages.stages.get(stage).map_or(&stages.otherwise, |(name, _)| name)
}

/// R57: metres between two points in degrees, on a sphere.
fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (lat_a, lat_b) = (a.0.to_radians(), b.0.to_radians());
    let (lat, lon) = (lat_b - lat_a, (b.1 - a.1).to_radians());
    let h = (lat / 2.0).sin().powi(2) + lat_a.cos() * lat_b.cos() * (lon / 2.0).sin().powi(2);
    2.0 * 6_371_008.8 * h.sqrt().min(1.0).asin()
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
