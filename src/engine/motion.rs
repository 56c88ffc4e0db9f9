//! Comparisons of what moves from one millisecond to the next: decaying scores, ages, and what is computed with them.
//!
//! A score against what stands still has a closed form. Anything else creeps: how far two terms are apart, divided by how fast they can come
//! nearer, is a time within which their order cannot change. For sums of scores that is Newton's method on a convex curve, so the crossing is
//! met within a few steps.

use super::evaluate::{Seen, Work, mirrored};
use super::features::Verdict;
use super::program::{Program, Spec, State};
use super::score::first;
use super::value::{Number, Val, relate};
use crate::lang::definition::{ArithmeticOp, Rel};
use crate::model::Value;
use crate::plan::node::{TermId, TermNode};
use crate::time::{Millis, Timestamp};

/// Steps towards a crossing before a wake-up is asked for instead.
const CREEP_STEPS: usize = 64;

/// Rounding of a few operations on doubles, generously.
const ROUNDING: f64 = 1e-9;

/// Two sides that differ by less than this share of themselves cannot be told apart.
const NOISE: f64 = 1e-14;

/// Longest step over sides that cannot be told apart: about 35 years. **Units:** milliseconds.
const LEAP: i64 = 1 << 40;

/// One side of a comparison.
#[derive(Clone, Copy)]
pub enum Side<'a> {
    Term(TermId),
    Value(&'a Value),
}

/// How a number moves from an instant on.
#[derive(Clone, Copy)]
struct Motion {
    value: f64,
    /// At least its size, within the horizon.
    bound: f64,
    /// At least its change per millisecond, within the horizon.
    rate: f64,
    /// **Units:** milliseconds.
    horizon: f64,
    /// The first instant at which what stands still may differ.
    next: Timestamp,
}

impl Work {
    /// Whether a term changes from one millisecond to the next.
    pub fn moves(&self, program: &Program, term: TermId) -> bool {
        match &program.plan.terms[term as usize] {
            TermNode::Score { .. } | TermNode::Age(_) => true,
            TermNode::Arithmetic { left, right, .. } => self.moves(program, *left) || self.moves(program, *right),
            _ => false,
        }
    }

    /// Compares two sides of which at least one moves.
    pub fn compare_moving(&self, program: &Program, left: Side, rel: Rel, right: Side, t: Timestamp) -> Verdict {
        for (score, rel, other) in [(left, rel, right), (right, mirrored(rel), left)] {
            let Side::Term(score) = score else { continue };
            let TermNode::Score { feature } = &program.plan.terms[score as usize] else { continue };
            if matches!(other, Side::Term(other) if self.moves(program, other)) {
                continue;
            }
            let (State::Score(s), Spec::Score(plan)) = (&self.loaded[*feature as usize].state, &program.specs[*feature as usize]) else {
                continue;
            };
            let other = self.side(program, other, t);
            return match other.value {
                Val::Number(n) => {
                    let v = s.compare(plan, t, rel, n.to_f64());
                    Verdict { until: v.until.min(other.next), ..v }
                }
                _ => Verdict { holds: false, until: other.next, approx: false },
            };
        }
        for (age, rel, other) in [(left, rel, right), (right, mirrored(rel), left)] {
            let Side::Term(age) = age else { continue };
            let TermNode::Age(of) = &program.plan.terms[age as usize] else { continue };
            if !matches!(other, Side::Term(other) if self.moves(program, other)) {
                return self.compare_age(program, *of, rel, other, t);
            }
        }
        self.compare_curve(program, left, rel, right, t).unwrap_or_else(|| self.creep(program, left, rel, right, t))
    }

    /// An age against what stands still: it reaches a bound at one millisecond and passes it at the next.
    fn compare_age(&self, program: &Program, of: TermId, rel: Rel, bound: Side, t: Timestamp) -> Verdict {
        let bound = self.side(program, bound, t);
        let next = self.term(program, of, t).next.min(bound.next);
        let (Some(x), Val::Number(Number::Exact { num, den, .. })) = (self.instant(program, of, t), bound.value) else {
            return Verdict { holds: false, until: next, approx: false };
        };
        let holds = |t: Timestamp| relate(Val::duration(t - x), rel, bound.value, false);
        let whole = num.div_euclid(den);
        let turns = [whole + i128::from(num.rem_euclid(den) != 0), whole + 1];
        let turns = turns.into_iter().filter_map(|ms| i64::try_from(ms).ok().map(|ms| x + Millis(ms)));
        let now = holds(t);
        let turn = turns.filter(|at| *at > t).find(|at| holds(*at) != now);
        Verdict { holds: now, until: turn.map_or(next, |at| at.min(next)), approx: false }
    }

    /// `is known` of what moves.
    pub fn known_moving(&self, program: &Program, term: TermId, t: Timestamp) -> Verdict {
        let known = !self.term(program, term, t).value.is_missing();
        Verdict { holds: known, until: self.known_until(program, term, t), approx: false }
    }

    /// Until when a term stays known, or unknown: what moves is unknown only where it stands on something unknown, or is divided by 0.
    pub fn known_until(&self, program: &Program, term: TermId, t: Timestamp) -> Timestamp {
        match &program.plan.terms[term as usize] {
            TermNode::Score { .. } => Timestamp::MAX,
            TermNode::Age(of) => self.term(program, *of, t).next,
            TermNode::Arithmetic { op, left, right } if self.moves(program, term) => {
                let until = self.known_until(program, *left, t).min(self.known_until(program, *right, t));
                if *op == ArithmeticOp::Div && self.moves(program, *right) {
                    until.min(self.compare_moving(program, Side::Term(*right), Rel::Eq, Side::Value(&Value::Int(0)), t).until)
                } else {
                    until
                }
            }
            _ => self.term(program, term, t).next,
        }
    }

    pub fn side<'a>(&'a self, program: &'a Program, side: Side<'a>, t: Timestamp) -> Seen<'a> {
        match side {
            Side::Term(term) => self.term(program, term, t),
            Side::Value(value) => Seen::fixed(Val::of_value(value)),
        }
    }

    fn creep(&self, program: &Program, left: Side, rel: Rel, right: Side, t: Timestamp) -> Verdict {
        let holds = |t: Timestamp| relate(self.side(program, left, t).value, rel, self.side(program, right, t).value, false);
        let now = holds(t);
        let (mut at, mut leap) = (t, 1);
        for _ in 0..CREEP_STEPS {
            let before = at;
            let (a, b) = (self.motion_of(program, left, at), self.motion_of(program, right, at));
            let (still, next, together) = match (a, b) {
                (Ok(a), Ok(b)) => {
                    let (gap, rate) = ((a.value - b.value).abs(), a.rate + b.rate);
                    let apart = if rate == 0.0 { f64::INFINITY } else { gap / rate };
                    let still = apart.min(a.horizon).min(b.horizon) * (1.0 - ROUNDING);
                    (still, a.next.min(b.next), gap <= NOISE * (a.value.abs() + b.value.abs()))
                }
                // Missing until what stands still differs.
                (a, b) => (f64::INFINITY, a.map_or_else(|n| n, |m| m.next).min(b.map_or_else(|n| n, |m| m.next)), false),
            };
            let mut stepped = if still.is_finite() { at + Millis((still as i64).max(1)) } else { Timestamp::MAX };
            if together {
                // They may part with the next millisecond, or never: ever longer steps, and back to where they have parted.
                stepped = stepped.max(at + Millis(leap));
                leap = (leap * 2).min(LEAP);
            } else {
                leap = 1;
            }
            at = stepped.min(next);
            if at == Timestamp::MAX {
                break;
            }
            if holds(at) != now {
                if together {
                    at = first(before, at, None, |t| holds(t) != now);
                }
                break;
            }
        }
        Verdict { holds: now, until: at, approx: false }
    }

    fn motion_of(&self, program: &Program, side: Side, t: Timestamp) -> Result<Motion, Timestamp> {
        match side {
            Side::Term(term) => self.motion(program, term, t),
            Side::Value(value) => still(Seen::fixed(Val::of_value(value))),
        }
    }

    /// `Err` with the first instant at which it may be known where it is missing, or is no number.
    fn motion(&self, program: &Program, term: TermId, t: Timestamp) -> Result<Motion, Timestamp> {
        match &program.plan.terms[term as usize] {
            TermNode::Score { feature } => {
                let value = self.score(program, *feature, t);
                let Spec::Score(plan) = &program.specs[*feature as usize] else { return Err(Timestamp::MAX) };
                let rate = value.abs() * std::f64::consts::LN_2 / plan.half_life.0 as f64;
                Ok(Motion { value, bound: value.abs(), rate, horizon: f64::INFINITY, next: Timestamp::MAX })
            }
            TermNode::Age(of) => {
                // What is aged can itself be another instant later.
                let next = self.term(program, *of, t).next;
                let x = self.instant(program, *of, t).ok_or(next)?;
                let value = (t - x).0 as f64;
                let horizon = value.abs().max(1_000.0);
                Ok(Motion { value, bound: value.abs() + horizon, rate: 1.0, horizon, next })
            }
            TermNode::Arithmetic { op, left, right } if self.moves(program, term) => {
                let (a, b) = (self.motion(program, *left, t), self.motion(program, *right, t));
                let (a, b) = match (a, b) {
                    (Ok(a), Ok(b)) => (a, b),
                    (a, b) => return Err(a.map_or_else(|n| n, |m| m.next).min(b.map_or_else(|n| n, |m| m.next))),
                };
                combine(*op, a, b, t)
            }
            _ => still(self.term(program, term, t)),
        }
    }
}

/// A number that stands still.
fn still(seen: Seen) -> Result<Motion, Timestamp> {
    match seen.value {
        Val::Number(n) => {
            let value = n.to_f64();
            Ok(Motion { value, bound: value.abs(), rate: 0.0, horizon: f64::INFINITY, next: seen.next })
        }
        _ => Err(seen.next),
    }
}

fn combine(op: ArithmeticOp, a: Motion, b: Motion, t: Timestamp) -> Result<Motion, Timestamp> {
    let (horizon, next) = (a.horizon.min(b.horizon), a.next.min(b.next));
    Ok(match op {
        ArithmeticOp::Add => Motion { value: a.value + b.value, bound: a.bound + b.bound, rate: a.rate + b.rate, horizon, next },
        ArithmeticOp::Sub => Motion { value: a.value - b.value, bound: a.bound + b.bound, rate: a.rate + b.rate, horizon, next },
        ArithmeticOp::Mul => {
            Motion { value: a.value * b.value, bound: a.bound * b.bound, rate: a.rate * b.bound + b.rate * a.bound, horizon, next }
        }
        // Missing; an age moves off zero by itself, a score does not.
        ArithmeticOp::Div if b.value == 0.0 => return Err(if b.rate == 0.0 { next } else { next.min(t + Millis(1)) }),
        ArithmeticOp::Div => {
            // Within this time the divisor keeps at least half its size.
            let halving = if b.rate == 0.0 { f64::INFINITY } else { b.value.abs() / (2.0 * b.rate) };
            let least = if b.rate == 0.0 { b.value.abs() } else { b.value.abs() / 2.0 };
            Motion {
                value: a.value / b.value,
                bound: a.bound / least,
                rate: a.rate / least + a.bound * b.rate / (least * least),
                horizon: horizon.min(halving),
                next,
            }
        }
    })
}
