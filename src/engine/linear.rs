//! Sums of what fades and what grows, as one curve: scores of one half-life fade alike whatever is added, taken or multiplied by what
//! stands still, and ages grow alike. So a comparison of such sums crosses once at most, and where has a closed form.

use std::cmp::Ordering;

use super::evaluate::Work;
use super::features::Verdict;
use super::features::window::satisfies;
use super::motion::Side;
use super::program::{Program, Spec};
use super::score::{first, log2};
use super::value::{Number, Unit, Val, compare};
use crate::lang::definition::{ArithmeticOp, Rel};
use crate::plan::node::{TermId, TermNode};
use crate::time::{Millis, Timestamp};

/// Half-lives after which a comparison that never crosses is looked at again: what has faded that far may become 0.
const HALF_LIVES: i64 = 500;

/// Differences below this share of what was added up are rounding.
const ROUNDING: f64 = 1e-13;

/// `fading * 2^-(d / half_life) + slope * d + constant`, d milliseconds from now.
struct Curve {
    half_life: Option<Millis>,
    fading: f64,
    slope: f64,
    constant: f64,
    /// Sum of the sizes of all that was added to `fading`, and to `constant`.
    sizes: [f64; 2],
    /// The first instant at which what stands still may differ.
    next: Timestamp,
}

impl Work {
    /// Compares two sides whose difference is a curve that crosses 0 once at most; `None` where it is another.
    pub fn compare_curve(&self, program: &Program, left: Side, rel: Rel, right: Side, t: Timestamp) -> Option<Verdict> {
        let zero = Curve { half_life: None, fading: 0.0, slope: 0.0, constant: 0.0, sizes: [0.0; 2], next: Timestamp::MAX };
        let mut curve = zero;
        self.add_side(program, left, 1.0, t, &mut curve)?;
        self.add_side(program, right, -1.0, t, &mut curve)?;
        let order = |t: Timestamp| {
            let (left, right) = (self.side(program, left, t).value, self.side(program, right, t).value);
            compare(left, right).unwrap_or(Ordering::Less)
        };
        let now = order(t);
        let holds = satisfies(now, rel);
        let turned = |t: Timestamp| if rel == Rel::Eq { order(t) != now } else { satisfies(order(t), rel) != holds };
        let until = match curve.crossing(t) {
            None => Timestamp::MAX,
            Some(Crossing::Never) => curve.half_life.map_or(Timestamp::MAX, |h| t + Millis(h.0.saturating_mul(HALF_LIVES))),
            Some(Crossing::At(guess)) => {
                let end = guess + Millis((guess - t).0.saturating_add(curve.half_life.map_or(2, |h| h.0)));
                first(t, end, Some(guess), turned)
            }
        };
        Some(Verdict { holds, until: until.min(curve.next), approx: false })
    }

    fn add_side(&self, program: &Program, side: Side, scale: f64, t: Timestamp, curve: &mut Curve) -> Option<()> {
        match side {
            Side::Term(term) => self.add_term(program, term, scale, t, curve),
            Side::Value(value) => curve.add_constant(Val::of_value(value), scale),
        }
    }

    fn add_term(&self, program: &Program, term: TermId, scale: f64, t: Timestamp, curve: &mut Curve) -> Option<()> {
        if !self.moves(program, term) {
            let seen = self.term(program, term, t);
            curve.next = curve.next.min(seen.next);
            return curve.add_constant(seen.value, scale);
        }
        match &program.plan.terms[term as usize] {
            TermNode::Score { feature } => {
                let Spec::Score(plan) = &program.specs[*feature as usize] else { return None };
                let value = self.score(program, *feature, t);
                if value == 0.0 {
                    return Some(());
                }
                if *curve.half_life.get_or_insert(plan.half_life) != plan.half_life {
                    return None;
                }
                curve.fading += scale * value;
                curve.sizes[0] += (scale * value).abs();
                Some(())
            }
            TermNode::Age(of) => {
                let next = self.term(program, *of, t).next;
                let x = self.instant(program, *of, t)?;
                curve.next = curve.next.min(next);
                curve.slope += scale;
                curve.add_constant(Val::duration(t - x), scale)
            }
            TermNode::Arithmetic { op, left, right } => {
                let number = |term: TermId, curve: &mut Curve| {
                    let seen = self.term(program, term, t);
                    curve.next = curve.next.min(seen.next);
                    match seen.value {
                        Val::Number(n) if !self.moves(program, term) => Some(n.to_f64()),
                        _ => None,
                    }
                };
                match op {
                    ArithmeticOp::Add | ArithmeticOp::Sub => {
                        let sign = if *op == ArithmeticOp::Add { 1.0 } else { -1.0 };
                        self.add_term(program, *left, scale, t, curve)?;
                        self.add_term(program, *right, scale * sign, t, curve)
                    }
                    ArithmeticOp::Mul if self.moves(program, *left) => {
                        let by = number(*right, curve)?;
                        self.add_term(program, *left, scale * by, t, curve)
                    }
                    ArithmeticOp::Mul => {
                        let by = number(*left, curve)?;
                        self.add_term(program, *right, scale * by, t, curve)
                    }
                    ArithmeticOp::Div => {
                        let by = number(*right, curve).filter(|by| *by != 0.0)?;
                        self.add_term(program, *left, scale / by, t, curve)
                    }
                }
            }
            _ => None,
        }
    }
}

enum Crossing {
    /// About then, or never.
    At(Timestamp),
    /// What fades keeps its side until it is gone.
    Never,
}

impl Curve {
    fn add_constant(&mut self, value: Val, scale: f64) -> Option<()> {
        match value {
            Val::Number(n @ (Number::Float(_) | Number::Exact { unit: Unit::Plain | Unit::Duration, .. })) => {
                let value = scale * n.to_f64();
                self.constant += value;
                self.sizes[1] += value.abs();
                Some(())
            }
            _ => None,
        }
    }

    /// `None`: it stands still, as far as it can be told.
    fn crossing(&self, t: Timestamp) -> Option<Crossing> {
        let fades = self.fading.abs() > ROUNDING * self.sizes[0];
        match (fades, self.half_life) {
            // An age is never added to a score.
            _ if self.slope != 0.0 => {
                let ms = -self.constant / self.slope;
                (ms >= 0.0).then(|| Crossing::At(t + Millis(ms as i64)))
            }
            (true, Some(half_life)) => {
                let ratio = -self.fading / self.constant;
                // What is left of the constant is only rounding, or has the same sign.
                if self.constant.abs() <= ROUNDING * self.sizes[1] || ratio < 1.0 - 1e-9 || !ratio.is_finite() {
                    return Some(Crossing::Never);
                }
                Some(Crossing::At(t + Millis((log2(ratio.max(1.0)) * half_life.0 as f64) as i64)))
            }
            _ => None,
        }
    }
}
