//! Instants at which something may change without a record, by brute force: every instant that a customer's state holds, moved by every
//! length of time that the definitions name, local midnights and clock times, and the crossings of scores found by bisection.

use super::eval::View;
use super::terms::decay;
use super::value::{Number, Unit, instants};
use super::walk::{self, Visit};
use super::{Customer, Rules, ZoneOf, calendar};
use crate::lang::{Definition, DefinitionKind, Expr, LocalPath, Path, Score, Segment, Term, TimeWindow, Window};
use crate::model::Value;
use crate::time::{Millis, Timestamp};

/// So far ahead each millisecond is looked at, where all lengths are tiny; else only the next few.
const STEPPED: Millis = Millis(100);
const STEPPED_FEW: Millis = Millis(3);
const TINY: Millis = Millis(1_000);

/// What the definitions say about time and numbers.
#[derive(Clone, Debug, Default)]
pub struct Constants {
    /// Bounds of windows into the past, dwells, and durations as literals: x + d, and for what is compared with `>` the millisecond after.
    past: Vec<Millis>,
    /// `in next D`: x - D.
    next: Vec<Millis>,
    /// Waits of a trailing `no`, which end at an instant of their own.
    waits: Vec<Millis>,
    settles: Vec<Millis>,
    /// Plain numbers, which scores may be compared with.
    numbers: Vec<f64>,
    scores: Vec<Score>,
    /// Whether the local date matters, and the clock times that do.
    pub(super) calendar: bool,
    clocks: Vec<Millis>,
    /// Comparisons that a decaying value may turn anywhere, since more than a literal stands beside it.
    decaying: Vec<(usize, Expr)>,
    /// Whether every length is tiny.
    tiny: bool,
}

/// Notes what one definition says.
struct Noted<'c> {
    definition: usize,
    out: &'c mut Constants,
}

impl Constants {
    pub fn of(definitions: &[Definition]) -> Constants {
        let mut out = Constants::default();
        for (i, definition) in definitions.iter().enumerate() {
            match &definition.kind {
                DefinitionKind::Segment(Segment { enter_after, exit_after, stay, cooldown, expire, settle, .. }) => {
                    out.past.extend([enter_after, exit_after, stay, cooldown, expire].into_iter().flatten());
                    out.settles.extend(settle);
                }
                DefinitionKind::Score(score) => out.scores.push(score.clone()),
                DefinitionKind::Points(_) | DefinitionKind::Stages(_) => {}
            }
            walk::definition(definition, &mut Noted { definition: i, out: &mut out });
        }
        for list in [&mut out.past, &mut out.next, &mut out.waits, &mut out.settles, &mut out.clocks] {
            list.sort_unstable();
            list.dedup();
        }
        out.tiny = !out.calendar && out.past.iter().chain(&out.next).all(|d| *d < TINY);
        out
    }
}

impl<'a> Visit<'a> for Noted<'_> {
    fn expr(&mut self, expr: &'a Expr) {
        let out = &mut *self.out;
        match expr {
            Expr::Member { values, .. } => values.iter().for_each(|v| out.literal(v)),
            Expr::HalfOpen { from, to, .. } => [from, to].into_iter().for_each(|v| out.literal(v)),
            Expr::HeldFor { at_least, .. } => out.past.push(*at_least),
            Expr::TimeIn { window: TimeWindow::Next(d), .. } => out.next.push(*d),
            Expr::TimeIn { window: TimeWindow::NextFull { .. }, .. } | Expr::Anniversary { .. } | Expr::NofM { .. } => out.calendar = true,
            Expr::Sequence(sequence) => {
                out.past.extend(&sequence.all_within);
                for step in &sequence.steps {
                    out.past.extend(step.within.iter().chain(&step.at_least_later));
                    out.waits.extend(step.within.filter(|_| step.absent));
                }
            }
            _ => {}
        }
        let terms: &[&Term] = match expr {
            Expr::Compare { left, right, .. } => &[left, right],
            Expr::Between { of, low, high } => &[of, low, high],
            Expr::Member { of, .. } | Expr::HalfOpen { of, .. } => &[of],
            _ => &[],
        };
        let plain = terms.iter().all(|t| matches!(t, Term::Score(_) | Term::Literal(_)));
        if !plain && terms.iter().any(|t| has_score(t)) {
            out.decaying.push((self.definition, expr.clone()));
        }
    }

    fn term(&mut self, term: &'a Term) {
        match term {
            Term::Literal(value) => self.out.literal(value),
            Term::Band { bounds, .. } => bounds.iter().for_each(|b| self.out.literal(b)),
            Term::Path(Path::Local(part)) => {
                self.out.calendar = true;
                if *part == LocalPath::Hour {
                    self.out.clocks.extend((0..24).map(|h| Millis(h * Millis::HOUR.0)));
                }
            }
            _ => {}
        }
    }

    fn window(&mut self, window: &'a Window) {
        let out = &mut *self.out;
        match window {
            Window::Last(d) | Window::Older(d) => out.past.push(*d),
            Window::Between { from, to } => out.past.extend([*from, *to]),
            Window::This(crate::lang::Unit::Session) | Window::Ever | Window::SinceLast(_) => {}
            Window::This(_) | Window::Full { .. } | Window::Dates { .. } => out.calendar = true,
        }
    }
}

fn has_score(term: &Term) -> bool {
    match term {
        Term::Score(_) => true,
        Term::Arithmetic { left, right, .. } => has_score(left) || has_score(right),
        Term::Band { of, .. } => has_score(of),
        _ => false,
    }
}

impl Constants {
    fn literal(&mut self, value: &Value) {
        match (value, Number::of(value)) {
            // A length of time or a time of day: both are tried.
            (Value::Duration(d), _) => {
                self.past.push(*d);
                self.clocks.push(*d);
            }
            (_, Some(Number::Exact { num, den, unit: Unit::Plain })) => self.numbers.push(num as f64 / den as f64),
            _ => {}
        }
    }
}

/// Instants of events, traits, calendar and scores, which stay while timers fire. Sorted, without doubles, all in `(after, through]`.
pub fn fixed(rules: &Rules, customer: &Customer, after: Timestamp, through: Timestamp) -> Vec<Timestamp> {
    let constants = &rules.constants;
    let mut held = vec![customer.first_seen];
    let mut zones: Vec<&jiff::tz::TimeZone> = Vec::new();
    for zone in rules.named_zones.iter().map(|(_, z)| z).chain([&rules.workspace_zone, &customer.zone]) {
        if !zones.contains(&zone) {
            zones.push(zone);
        }
    }
    let (mut dates, mut lengths) = (Vec::new(), Vec::new());
    for value in customer.events.iter().flat_map(|e| &e.properties).chain(customer.traits.iter().flatten().map(|(_, v)| v)) {
        instants(value, &mut held, &mut dates, &mut lengths);
    }
    dates.sort_unstable();
    dates.dedup();
    held.extend(dates.iter().flat_map(|day| zones.iter().map(|zone| calendar::midnight(zone, *day))));
    held.extend(customer.events.iter().map(|e| e.ts));
    held.extend(customer.events.iter().flat_map(|e| constants.waits.iter().map(|d| e.ts + *d)));
    held.extend(customer.cart.changed_at);
    lengths.extend(&constants.past);
    lengths.sort_unstable();
    lengths.dedup();

    let mut out: Vec<Timestamp> = customer.consents.iter().flatten().filter_map(|(_, _, until)| *until).collect();
    out.extend(customer.session.iter().map(|s| s.last + rules.session_gap()));
    move_by(held, &lengths, &constants.next, after, through, &mut out);
    if constants.calendar {
        // Before its first record a customer has no instants.
        let after = after.max(customer.first_seen - Millis::DAY);
        zones.iter().for_each(|zone| calendar::boundaries(zone, &constants.clocks, after, through, &mut out));
    }
    // Only what stands at the clock decides a score; all its events are applied by now.
    let view = View { rules, customer, t: Timestamp::MAX, zone: ZoneOf::Customer, key: None };
    for score in &constants.scores {
        let (value, at) = view.score_state(score);
        for threshold in &constants.numbers {
            crossings(value, at, score.half_life, *threshold, &mut out);
        }
    }
    tidy(&mut out, after, through);
    out
}

/// All instants at which something may change in `(after, through]`, sorted, without doubles. `fixed`: those that stay.
pub fn candidates(rules: &Rules, customer: &Customer, fixed: &[Timestamp], after: Timestamp, through: Timestamp) -> Vec<Timestamp> {
    let constants = &rules.constants;
    let mut held: Vec<Timestamp> = customer.dwells.iter().flatten().copied().collect();
    let mut out = fixed.to_vec();
    for machine in &customer.machines {
        held.extend(machine.history.iter().map(|(since, _)| *since));
        held.extend(machine.last.map(|l| l.since));
        held.extend(machine.exit_since);
        for waiting in [machine.waiting, machine.expiry_waiting].into_iter().flatten() {
            out.extend(constants.settles.iter().map(|s| waiting + *s));
        }
    }
    move_by(held, &constants.past, &constants.next, after, through, &mut out);
    // S26: where it is near, every millisecond is tried, so that a forgotten kind of instant would be found out.
    let stepped = if constants.tiny { STEPPED } else { STEPPED_FEW };
    let near = through.0.min(after.0.saturating_add(stepped.0));
    out.extend((after.0.saturating_add(1)..=near).map(Timestamp));
    tidy(&mut out, after, through);
    if !constants.decaying.is_empty() {
        turns(rules, customer, after, through, &mut out);
    }
    out
}

/// Instants that are held, moved by lengths of time into the future and, by `next`, into the past.
fn move_by(mut held: Vec<Timestamp>, lengths: &[Millis], next: &[Millis], after: Timestamp, through: Timestamp, out: &mut Vec<Timestamp>) {
    held.sort_unstable();
    held.dedup();
    for x in held {
        let moved = lengths.iter().flat_map(|d| [x + *d, x + *d + Millis(1)]).chain(next.iter().map(|d| x - *d));
        out.extend(moved.chain([x]).filter(|t| after < *t && *t <= through));
    }
}

fn tidy(all: &mut Vec<Timestamp>, after: Timestamp, through: Timestamp) {
    all.retain(|t| after < *t && *t <= through);
    all.sort_unstable();
    all.dedup();
}

/// Between two other instants nothing changes but scores: looks for the millisecond at which a comparison with one turns.
fn turns(rules: &Rules, customer: &Customer, after: Timestamp, through: Timestamp, out: &mut Vec<Timestamp>) {
    // Before its first record nothing can turn.
    let from = after.max(customer.first_seen).min(through);
    // The end of the span is an instant like any other.
    if through > from {
        out.push(through);
    }
    let mut grid: Vec<Timestamp> = vec![from];
    grid.extend(out.iter().copied().filter(|t| *t > from));
    for (i, leaf) in &rules.constants.decaying {
        let holds = |t: Timestamp| View { rules, customer, t, zone: rules.zones[*i], key: None }.holds(leaf);
        for pair in grid.windows(2) {
            // The last millisecond before the next instant.
            let (mut low, end) = (pair[0], pair[1] - Millis(1));
            let mut step = Millis(1);
            // Nearer looks where the decay is steep.
            while low < end {
                let high = (low + step).min(end);
                if holds(low) != holds(high) {
                    let (mut a, mut b) = (low, high);
                    while b - a > Millis(1) {
                        let middle = a + Millis((b - a).0 / 2);
                        if holds(middle) == holds(low) { a = middle } else { b = middle }
                    }
                    out.push(b);
                }
                (low, step) = (high, Millis(step.0 * 8));
            }
        }
    }
    out.sort_unstable();
    out.dedup();
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
