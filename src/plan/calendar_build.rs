//! Builds what the calendar asks: zones of definitions, period features, conditions on local clocks, dates and instants.

use super::aggregates::{DISTINCT_CONSTANT_MAX, capacity};
use super::build::{Builder, refused};
use super::calendar::{
    Axis, CalendarNode, CalendarTerm, InstantWindow, LocalBands, LocalTest, PeriodValues, ZoneRef, asks_local, period, period_window,
};
use super::feature::{FeatureId, FeatureKind, NumberUnit, Quantity};
use super::node::{Node, TermId, TermNode};
use super::window::{AgeWindow, Ratio};
use crate::ids::TraitIndex;
use crate::lang::definition::{Aggregate, DayBound, Expr, Path, Rel, Selector, Term, TimeWindow, Window, Workspace, Zone};
use crate::model::{Type, ZoneDatabase, ZoneId};

/// Zones of a workspace.
#[derive(Clone, Copy, Debug)]
pub struct Zones {
    pub database: &'static ZoneDatabase,
    pub workspace: ZoneId,
    /// The trait with the customer's zone.
    pub customer: Option<TraitIndex>,
}

impl Zones {
    pub fn of(workspace: &Workspace, database: &'static ZoneDatabase) -> Zones {
        let catalogue = &workspace.catalogue;
        let customer = catalogue.trait_named("timezone");
        Zones {
            database,
            workspace: database.find(&catalogue.workspace.timezone).unwrap_or_else(|| database.utc()),
            customer: customer.filter(|index| matches!(catalogue.traits[index.at()].ty, Type::Text | Type::Enum(_))),
        }
    }

    /// What a definition's zone is (LANGUAGE.md R24).
    pub fn resolve(&self, zone: &Zone) -> ZoneRef {
        match zone {
            Zone::Customer if self.customer.is_some() => ZoneRef::Customer,
            Zone::Customer | Zone::Workspace => ZoneRef::Fixed(self.workspace),
            Zone::Named(name) => ZoneRef::Fixed(self.database.find(name).unwrap_or(self.workspace)),
        }
    }
}

impl Builder<'_> {
    /// A condition that only the calendar's own kinds of nodes evaluate; `None` for every other.
    pub(super) fn calendar_node(&mut self, expr: &Expr) -> Option<Node> {
        if let Expr::NofM { of, rel, count, n, m, unit } = expr {
            let unit = period(*unit).unwrap_or_else(|| refused("a period of sessions"));
            let axis = Axis::Periods { unit, zone: self.zone };
            let feature = self.periods(of, None, axis, *m, PeriodValues::Count, None, NumberUnit::Int);
            let node = CalendarNode::NofM { feature, zone: self.zone, rel: *rel, count: *count, n: *n, m: *m, unit };
            return Some(Node::Calendar(node));
        }
        if let Expr::Anniversary { of, days } = expr {
            let of = self.term(of);
            return Some(Node::Calendar(CalendarNode::Anniversary { of, days: *days, zone: self.zone }));
        }
        if !asks_local(expr) {
            return None;
        }
        if let Some(test) = LocalTest::of(expr, self.zone) {
            return Some(Node::Calendar(CalendarNode::Local(test)));
        }
        match expr {
            Expr::Known(Term::Path(Path::Local(_))) => Some(Node::Constant(true)),
            Expr::Compare { left: left @ Term::Path(Path::Local(_)), rel, right, .. } if left == right => {
                Some(Node::Constant(matches!(rel, Rel::Eq | Rel::Le | Rel::Ge)))
            }
            Expr::Between { of, low, high } => {
                let side = |rel, bound: &Term| Expr::Compare { left: of.clone(), rel, right: bound.clone(), ignore_case: false };
                let both = [side(Rel::Ge, low), side(Rel::Le, high)].map(|e| self.expr(&e));
                Some(Node::And(both.into()))
            }
            _ => None,
        }
    }

    /// An instant or a date in a window.
    pub(super) fn time_in(&mut self, of: &Term, window: &TimeWindow) -> Node {
        let of = self.instant_term(of);
        match window {
            TimeWindow::Past(window) => self.instant_in(of, window),
            TimeWindow::Next(within) => Node::Next { of, within: *within },
            TimeWindow::NextFull { n, unit } => match InstantWindow::next_full(*n, *unit) {
                Some(window) => Node::Calendar(CalendarNode::Instant { of, window, zone: self.zone }),
                None => refused("full sessions"),
            },
        }
    }

    /// A term that is an instant, in a window by age or by the calendar.
    pub(super) fn instant_in(&mut self, of: TermId, window: &Window) -> Node {
        if let Some(window) = AgeWindow::of(window) {
            return Node::Aged { of, window };
        }
        match InstantWindow::past(window) {
            Some(window) => Node::Calendar(CalendarNode::Instant { of, window, zone: self.zone }),
            None => refused("an instant in a window of sessions or events"),
        }
    }

    /// `band` of the local clock; `None` of any other term.
    pub(super) fn local_band(&self, term: &Term) -> Option<TermNode> {
        let Term::Band { of, bounds } = term else { return None };
        let Term::Path(Path::Local(path)) = **of else { return None };
        Some(TermNode::Calendar(CalendarTerm::Band { bands: LocalBands::of(path, bounds)?, zone: self.zone }))
    }

    /// A term as an instant: a date counts as its local midnight (LANGUAGE.md R38).
    pub(super) fn instant_term(&mut self, of: &Term) -> TermId {
        let is_date = match of {
            Term::Literal(value) => matches!(value, crate::model::Value::Date(_)),
            Term::Path(Path::Trait { ty, .. } | Path::Property { ty, .. }) | Term::OfEvent { ty, .. } => *ty == Type::Date,
            Term::Path(Path::Local(path)) => *path == crate::lang::definition::LocalPath::Date,
            Term::Aggregate { function: Aggregate::Min | Aggregate::Max, of, property, .. } => {
                self.unit(if property.is_some() { Aggregate::Max } else { Aggregate::Count }, of, property.as_deref()) == NumberUnit::Date
            }
            _ => false,
        };
        let of = self.term(of);
        if is_date { self.term_node(TermNode::Calendar(CalendarTerm::Midnight { of, zone: self.zone })) } else { of }
    }

    /// By what an aggregate over a window of the calendar files its events, how many periods it needs, and the window over them; `None` for
    /// windows of another kind.
    pub(super) fn axis(&self, window: &Window) -> Option<(Axis, u32, AgeWindow)> {
        if let Window::Dates { from, to } = window {
            // Between instants the zone makes no difference.
            let instants = matches!((from, to), (DayBound::Instant(_), None | Some(DayBound::Instant(_))));
            let zone = if instants { ZoneRef::Fixed(self.zones.workspace) } else { self.zone };
            return Some((Axis::Dates { from: *from, to: *to, zone }, 1, AgeWindow::EVER));
        }
        let (unit, window, keep) = period_window(window)?;
        Some((Axis::Periods { unit, zone: self.zone }, keep, window))
    }

    /// The feature of an aggregate that files its events by the calendar.
    pub(super) fn filed(
        &mut self,
        (axis, keep): (Axis, u32),
        quantity: Quantity,
        of: &Selector,
        property: Option<&[String]>,
        unit: NumberUnit,
        with: Option<(Rel, Ratio)>,
    ) -> FeatureId {
        let values = match quantity {
            Quantity::Count => PeriodValues::Count,
            Quantity::Sum | Quantity::Avg => PeriodValues::Sum,
            Quantity::Min | Quantity::Max => PeriodValues::Extremes,
            Quantity::Distinct => PeriodValues::Hashes,
        };
        let property = property.filter(|_| values != PeriodValues::Count);
        let bound = with.and_then(|(rel, with)| capacity(rel, with, DISTINCT_CONSTANT_MAX));
        self.periods(of, property, axis, keep, values, bound, unit)
    }

    fn periods(
        &mut self,
        of: &Selector,
        property: Option<&[String]>,
        axis: Axis,
        needed: u32,
        values: PeriodValues,
        constant: Option<usize>,
        unit: NumberUnit,
    ) -> FeatureId {
        let kind = FeatureKind::Periods { axis, keep: needed, values, bound: constant };
        let id = self.feature(&format!("periods {axis:?} {values:?}"), of, property, unit, kind);
        if let FeatureKind::Periods { keep, bound, .. } = &mut self.features[id as usize].kind {
            *keep = needed.max(*keep);
            *bound = bound.zip(constant).map(|(a, b)| a.max(b));
        }
        id
    }
}
