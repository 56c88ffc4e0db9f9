//! Counts, aggregates, first and last events: which kind of feature each needs, and the condition or term that reads it.

use super::build::{Builder, add_window, age_window};
use super::feature::{FeatureId, FeatureKind, Keep, NumberUnit, Quantity, Values};
use super::node::{Node, TermId, TermNode};
use super::number::{literal_ratio, mirrored};
use super::window::{AgeWindow, Ratio};
use crate::lang::definition::{Aggregate, Rel, Selector, Term, Which, Window};
use crate::limits::RING_CONSTANT_MAX;
use crate::model::{Decimal, Value};
use crate::time::Millis;

/// Largest constant for which distinct values are kept exactly whatever their number.
pub(super) const DISTINCT_CONSTANT_MAX: i64 = 256;

impl Builder<'_> {
    /// `first(x)` and `last(x)` with a window; some are counts of at least one.
    pub(super) fn event_in(&mut self, which: Which, of: &Selector, window: &Window) -> Node {
        if !window.is_by_age() {
            return self.event_in_part(which, of, window);
        }
        let window = age_window(window);
        let is_count = match which {
            Which::Last => window.near == Millis::ZERO,
            Which::First => window.is_unbounded(),
        };
        if is_count {
            return self.count(of, window, Rel::Ge, Ratio::whole(1));
        }
        let of = self.instant_of(which, of);
        Node::Aged { of, window }
    }

    pub(super) fn instant_of(&mut self, which: Which, of: &Selector) -> TermId {
        let keep = if which == Which::Last { Keep::Newest } else { Keep::Oldest };
        let feature = self.ring(of, keep, 1);
        self.term_node(TermNode::RingEnd { feature, newest: which == Which::Last })
    }

    pub(super) fn compare(&mut self, left: &Term, rel: Rel, right: &Term, ignore_case: bool) -> Node {
        if let (Term::Literal(_), Term::Aggregate { .. } | Term::Score(_)) = (left, right) {
            return self.compare(right, mirrored(rel), left, ignore_case);
        }
        match (left, right) {
            (Term::Aggregate { function, of, property, per, window }, Term::Literal(value)) => {
                let unit = self.unit(*function, of, property.as_deref());
                if let Some(with) = literal_ratio(unit, value) {
                    return self.part(window, per.as_deref(), |builder, window| {
                        if *function == Aggregate::Count {
                            return builder.count(of, window, rel, with);
                        }
                        let quantity = Quantity::from(*function);
                        let feature = builder.aggregate(quantity, of, property.as_deref(), window, unit, Some((rel, with)));
                        Node::Quantity { feature, quantity, window, rel, with }
                    });
                }
            }
            (Term::Score(definition), Term::Literal(Value::Int(_) | Value::Decimal(_))) => {
                let Term::Literal(value) = right else { unreachable!("matched above") };
                let with = match value {
                    Value::Int(n) => *n as f64,
                    Value::Decimal(d) => d.0 as f64 / Decimal::ONE as f64,
                    _ => unreachable!("matched above"),
                };
                return Node::Score { feature: self.score(*definition), rel, with };
            }
            _ => {}
        }
        let (left, right) = (self.term(left), self.term(right));
        Node::Compare { left, rel, right, ignore_case }
    }

    /// A count against a constant.
    pub(super) fn count(&mut self, of: &Selector, window: AgeWindow, rel: Rel, with: Ratio) -> Node {
        let quantity = Quantity::Count;
        let feature = match ring_capacity(rel, with) {
            _ if self.axis.is_some() => self.aggregate(quantity, of, None, window, NumberUnit::Int, Some((rel, with))),
            _ if window == AgeWindow::EVER && self.within.since.is_none() => self.counter(of, None, false, NumberUnit::Int),
            Some(capacity) if window.near == Millis::ZERO => self.ring(of, Keep::Newest, capacity),
            Some(capacity) if window.is_unbounded() => self.ring(of, Keep::Oldest, capacity),
            thin => self.log(of, None, window, Values::None, false, thin, NumberUnit::Int),
        };
        Node::Quantity { feature, quantity, window, rel, with }
    }

    pub(super) fn aggregate(
        &mut self,
        quantity: Quantity,
        of: &Selector,
        property: Option<&[String]>,
        window: AgeWindow,
        unit: NumberUnit,
        with: Option<(Rel, Ratio)>,
    ) -> FeatureId {
        if let Some(axis) = self.axis {
            return self.filed(axis, quantity, of, property, unit, with);
        }
        // What counts since a mark can shrink, so it is kept one by one.
        let since = self.within.since.is_some();
        let ever = window == AgeWindow::EVER && !since;
        match quantity {
            Quantity::Count if ever => self.counter(of, None, false, unit),
            Quantity::Count => self.log(of, None, window, Values::None, false, None, unit),
            Quantity::Sum | Quantity::Avg if ever => self.counter(of, property, true, unit),
            Quantity::Sum | Quantity::Avg => self.log(of, property, window, Values::Numbers, false, None, unit),
            Quantity::Min | Quantity::Max if window.near == Millis::ZERO && !since => {
                let max = quantity == Quantity::Max;
                let kind = FeatureKind::Extremes { max, windows: Vec::new() };
                let id = self.feature(&format!("extremes {max}"), of, property, unit, kind);
                if let FeatureKind::Extremes { windows, .. } = &mut self.features[id as usize].kind {
                    add_window(windows, window);
                }
                id
            }
            Quantity::Min | Quantity::Max => self.log(of, property, window, Values::Numbers, true, None, unit),
            Quantity::Distinct if window.near == Millis::ZERO || window.is_unbounded() => {
                let bound = with.and_then(|(rel, with)| capacity(rel, with, DISTINCT_CONSTANT_MAX));
                let keep = if window.near == Millis::ZERO { Keep::Newest } else { Keep::Oldest };
                let kind = FeatureKind::Distinct { keep, windows: Vec::new(), bound };
                let id = self.feature(&format!("distinct {keep:?}"), of, property, unit, kind);
                if let FeatureKind::Distinct { windows, bound: known, .. } = &mut self.features[id as usize].kind {
                    add_window(windows, window);
                    *known = known.zip(bound).map(|(a, b)| a.max(b));
                }
                id
            }
            Quantity::Distinct => self.log(of, property, window, Values::Hashes, false, None, unit),
        }
    }
}

/// How many instants tell a count's comparison with a constant exactly; `None` beyond [`RING_CONSTANT_MAX`].
fn ring_capacity(rel: Rel, with: Ratio) -> Option<usize> {
    capacity(rel, with, RING_CONSTANT_MAX)
}

pub(super) fn capacity(rel: Rel, with: Ratio, constant_max: i64) -> Option<usize> {
    let up = with.num.div_euclid(with.den) + i128::from(with.num.rem_euclid(with.den) != 0);
    if up > i128::from(constant_max) {
        return None;
    }
    let k = up.max(0) as usize;
    Some(match rel {
        Rel::Ge | Rel::Lt => k.max(1),
        Rel::Eq | Rel::Gt | Rel::Le => k + 1,
    })
}
