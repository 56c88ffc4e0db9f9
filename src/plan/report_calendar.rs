//! What `check --plan` says of conditions by the calendar.

use super::Plan;
use super::calendar::{Axis, CalendarNode, CalendarTerm, InstantWindow, PeriodValues, ZoneRef};
use super::feature::{FeatureId, FeatureKind};
use super::node::TermId;
use super::report::{Reads, shown};
use super::window::AgeWindow;
use crate::lang::definition::LocalPath;
use crate::model::Period;
use crate::time::Millis;

impl Reads {
    pub(super) fn calendar(&mut self, plan: &Plan, node: &CalendarNode) {
        self.zone(plan, node.zone());
        let zone = zone_text(node.zone());
        match node {
            CalendarNode::Local(test) => {
                self.time.insert(format!("at {} {zone}", if test.path == LocalPath::Date { "dates" } else { "times of day" }));
            }
            CalendarNode::Instant { of, window, .. } => {
                if let InstantWindow::Periods { unit, .. } = window {
                    self.time.insert(format!("at the start of {} {zone} by `{}`", a(*unit), shown(plan, *of)));
                }
                self.term(plan, *of);
            }
            CalendarNode::Anniversary { of, days, .. } => {
                self.time.insert(format!("{days}d before the anniversary of `{}`, and after it, {zone}", shown(plan, *of)));
                self.term(plan, *of);
            }
            CalendarNode::NofM { feature, m, unit, .. } => {
                self.features.insert(*feature);
                self.periods_of(*unit, i64::from(*m), &zone);
            }
        }
    }

    pub(super) fn calendar_term(&mut self, plan: &Plan, term: &CalendarTerm) {
        self.zone(plan, term.zone());
        match term {
            CalendarTerm::Local { .. } | CalendarTerm::Band { .. } => {
                self.time.insert(format!("with the clock {}", zone_text(term.zone())));
            }
            CalendarTerm::Midnight { of, .. } => self.term(plan, *of),
        }
    }

    /// Whether a feature counts by periods or between dates, so that its window is no window by age.
    pub(super) fn periods(&mut self, plan: &Plan, feature: FeatureId, window: AgeWindow) -> bool {
        let FeatureKind::Periods { axis, .. } = &plan.features[feature as usize].kind else { return false };
        match axis {
            Axis::Periods { unit, zone } => {
                self.zone(plan, *zone);
                self.periods_of(*unit, window.far.0, &zone_text(*zone));
            }
            Axis::Dates { .. } => self.ever = true,
        }
        true
    }

    fn periods_of(&mut self, unit: Period, n: i64, zone: &str) {
        self.time.insert(format!("at the start of {} {zone}", a(unit)));
        let days = match unit {
            Period::Day => 1,
            Period::Week => 7,
            Period::Month => 31,
            Period::Year => 366,
        };
        let age = Millis(Millis::DAY.0.saturating_mul(days).saturating_mul(n));
        self.longest = Some(self.longest.map_or(age, |l| l.max(age)));
    }

    fn zone(&mut self, plan: &Plan, zone: ZoneRef) {
        if let (ZoneRef::Customer, Some(index)) = (zone, plan.zones.customer) {
            self.traits.insert(index.0);
        }
    }
}

fn a(unit: Period) -> &'static str {
    match unit {
        Period::Day => "a day",
        Period::Week => "a week",
        Period::Month => "a month",
        Period::Year => "a year",
    }
}

fn zone_text(zone: ZoneRef) -> String {
    match zone {
        ZoneRef::Customer => "in the customer's zone".into(),
        ZoneRef::Fixed(zone) => format!("in {}", zone.name()),
    }
}

/// A feature of periods with about its bytes per customer; `of` is what it counts.
pub(super) fn feature(kind: &FeatureKind, of: &str) -> String {
    let FeatureKind::Periods { axis, keep, values, bound } = kind else { return String::new() };
    let (name, bytes) = match values {
        PeriodValues::Count => ("count", "2 B".to_string()),
        PeriodValues::Sum => ("sum", "6 B".into()),
        PeriodValues::Extremes => ("least and greatest", "8 B".into()),
        PeriodValues::Hashes => match bound {
            Some(bound) => ("distinct", format!("up to {} B", 3 + 8 * bound)),
            None => ("distinct", "8 B per value".into()),
        },
    };
    match axis {
        Axis::Periods { unit, .. } => {
            let unit = match unit {
                Period::Day => "day",
                Period::Week => "week",
                Period::Month => "month",
                Period::Year => "year",
            };
            format!("{name}({of}) per {unit}, {keep} kept, {bytes} each")
        }
        Axis::Dates { .. } => format!("{name}({of}) between dates {bytes}"),
    }
}

/// What is left of a term when it is shown in few words.
pub(super) fn inner(term: &CalendarTerm) -> Option<TermId> {
    match term {
        CalendarTerm::Midnight { of, .. } => Some(*of),
        CalendarTerm::Local { .. } | CalendarTerm::Band { .. } => None,
    }
}
