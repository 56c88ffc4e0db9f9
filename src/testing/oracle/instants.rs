//! Instants at which something may change without a record, by brute force: every instant that a customer's state holds, moved by every
//! length of time that the definitions name, and the crossings of scores found by bisection.

use super::eval::{View, decay};
use super::value::{Number, Unit, instants};
use super::{Customer, Rules};
use crate::lang::{Definition, DefinitionKind, Expr, Score, Term, TimeWindow, Window};
use crate::model::Value;
use crate::time::{Millis, Timestamp};

/// So far ahead each millisecond is looked at.
const STEPPED: Millis = Millis(100);

/// What the definitions say about time and numbers.
#[derive(Clone, Debug, Default)]
pub struct Constants {
    /// Bounds of windows into the past, dwells, and durations as literals: x + d, and for what is compared with `>` the millisecond after.
    past: Vec<Millis>,
    /// `in next D`: x - D.
    next: Vec<Millis>,
    /// Plain numbers, which scores may be compared with.
    numbers: Vec<f64>,
    scores: Vec<Score>,
}

impl Constants {
    pub fn of(definitions: &[Definition]) -> Constants {
        let mut out = Constants::default();
        for definition in definitions {
            match &definition.kind {
                DefinitionKind::Segment(segment) => {
                    std::iter::once(&segment.when).chain(&segment.exit_when).for_each(|e| out.expr(e));
                }
                DefinitionKind::Score(score) => out.scores.push(score.clone()),
                DefinitionKind::Points(points) => points.rules.iter().for_each(|(_, e)| out.expr(e)),
                DefinitionKind::Stages(stages) => stages.stages.iter().for_each(|(_, e)| out.expr(e)),
            }
        }
        for list in [&mut out.past, &mut out.next] {
            list.sort_unstable();
            list.dedup();
        }
        out
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::And(all) | Expr::Or(all) => all.iter().for_each(|e| self.expr(e)),
            Expr::Not(e) => self.expr(e),
            Expr::Compare { left, right, .. } => [left, right].into_iter().for_each(|t| self.term(t)),
            Expr::Between { of, low, high } => [of, low, high].into_iter().for_each(|t| self.term(t)),
            Expr::Member { of, values, .. } => {
                self.term(of);
                values.iter().for_each(|v| self.literal(v));
            }
            Expr::HalfOpen { of, from, to } => {
                self.term(of);
                [from, to].into_iter().for_each(|v| self.literal(v));
            }
            Expr::HeldFor { of, at_least } => {
                self.past.push(*at_least);
                self.expr(of);
            }
            Expr::EventIn { window, .. } => self.window(window),
            Expr::TimeIn { of, window } => {
                self.term(of);
                match window {
                    TimeWindow::Past(window) => self.window(window),
                    TimeWindow::Next(d) => self.next.push(*d),
                    TimeWindow::NextFull { .. } => {}
                }
            }
            Expr::Empty(term) | Expr::Known(term) => self.term(term),
            _ => {}
        }
    }

    fn term(&mut self, term: &Term) {
        match term {
            Term::Literal(value) => self.literal(value),
            Term::Aggregate { window, .. } => self.window(window),
            Term::Arithmetic { left, right, .. } => [left, right].into_iter().for_each(|t| self.term(t)),
            Term::Age(of) => self.term(of),
            _ => {}
        }
    }

    fn literal(&mut self, value: &Value) {
        match (value, Number::of(value)) {
            (Value::Duration(d), _) => self.past.push(*d),
            (_, Some(Number::Exact { num, den, unit: Unit::Plain })) => self.numbers.push(num as f64 / den as f64),
            _ => {}
        }
    }

    fn window(&mut self, window: &Window) {
        match window {
            Window::Last(d) | Window::Older(d) => self.past.push(*d),
            Window::Between { from, to } => self.past.extend([*from, *to]),
            _ => {}
        }
    }
}

/// Sorted, without doubles, all in `(after, through]`.
pub fn candidates(rules: &Rules, customer: &Customer, after: Timestamp, through: Timestamp) -> Vec<Timestamp> {
    let mut held = vec![customer.first_seen];
    let midnight = |day| rules.midnight(day);
    held.extend(customer.events.iter().map(|e| e.ts));
    held.extend(customer.dwells.iter().flatten());
    held.extend(customer.cart.changed_at);
    customer.events.iter().flat_map(|e| &e.properties).for_each(|v| instants(v, &midnight, &mut held));
    customer.traits.iter().flatten().for_each(|(_, v)| instants(v, &midnight, &mut held));
    held.sort_unstable();
    held.dedup();

    let mut out: Vec<Timestamp> = customer.consents.iter().flatten().filter_map(|(_, _, until)| *until).collect();
    for x in held {
        out.push(x);
        for d in &rules.constants.past {
            out.extend([x + *d, x + *d + Millis(1)]);
        }
        out.extend(rules.constants.next.iter().map(|d| x - *d));
    }
    // Only what stands at the clock decides a score; all its events are applied by now.
    let view = View { rules, customer, t: Timestamp::MAX };
    for score in &rules.constants.scores {
        let (value, at) = view.score_state(score);
        for threshold in &rules.constants.numbers {
            crossings(value, at, score.half_life, *threshold, &mut out);
        }
    }
    // S26: where it is near, every millisecond is tried, so that a forgotten kind of instant would be found out.
    let near = through.0.min(after.0.saturating_add(STEPPED.0));
    out.extend((after.0.saturating_add(1)..=near).map(Timestamp));
    out.retain(|t| after < *t && *t <= through);
    out.sort_unstable();
    out.dedup();
    out
}

/// The first milliseconds at which a score that is `value` at `at` is no more beyond, and no more at, the threshold. A decaying value
/// never reaches 0.
fn crossings(value: f64, at: Timestamp, half_life: Millis, threshold: f64, out: &mut Vec<Timestamp>) {
    if threshold == 0.0 || value == 0.0 || (value > 0.0) != (threshold > 0.0) || value.abs() < threshold.abs() {
        return;
    }
    let size = |t: Timestamp| (value * decay(t - at, half_life)).abs();
    for beyond in [&(|s: f64| s > threshold.abs()) as &dyn Fn(f64) -> bool, &|s| s >= threshold.abs()] {
        // Invariant: not yet at `low`, crossed at `high`.
        let (mut low, mut high) = (at, at + Millis(half_life.0.saturating_mul(1_000)));
        if !beyond(size(low)) {
            out.push(low);
            continue;
        }
        while high - low > Millis(1) {
            let middle = low + Millis((high - low).0 / 2);
            if beyond(size(middle)) { low = middle } else { high = middle }
        }
        out.push(high);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_crosses_at_the_half_life_exactly() {
        let mut out = Vec::new();
        crossings(16.0, Timestamp(0), Millis(1_000), 8.0, &mut out);
        assert_eq!(out, [Timestamp(1_000), Timestamp(1_001)]);
        out.clear();
        crossings(16.0, Timestamp(0), Millis(1_000), 20.0, &mut out);
        assert!(out.is_empty());
    }
}
