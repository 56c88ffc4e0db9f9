//! What is known of the definitions once for all customers: dwells, zones, and where each selector is looked up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::cart::Cart;
use super::machine::{self, Machine};
use super::{Customer, Rules, ZoneOf, instants, walk};
use crate::engine::Settings;
use crate::lang::{DefinitionKind, EventRef, Expr, Selector, Workspace, Zone};
use crate::plan::schema::Schema;
use crate::time::{Millis, Timestamp};

impl Rules {
    pub(super) fn new(workspace: Arc<Workspace>, schema: Arc<Schema>, settings: Settings) -> Rules {
        let zone_named = |name: &str| TimeZone::get(name).unwrap_or(TimeZone::UTC);
        let mut rules = Rules {
            workspace_zone: zone_named(&workspace.catalogue.workspace.timezone),
            constants: instants::Constants::of(&workspace.definitions),
            schema,
            settings,
            dwells: Vec::new(),
            dwells_of: Vec::new(),
            enter_dwells: Vec::new(),
            zones: Vec::new(),
            named_zones: Vec::new(),
            selectors: Vec::new(),
            selector_at: HashMap::new(),
            dwell_at: HashMap::new(),
            patterns: BTreeMap::new(),
            uses_trait_changed: false,
            workspace: workspace.clone(),
        };
        for definition in &workspace.definitions {
            // R24: without `timezone`, and for what cannot have one, the customer's.
            let zone = match &definition.kind {
                DefinitionKind::Segment(segment) => match &segment.timezone {
                    Zone::Customer => ZoneOf::Customer,
                    Zone::Workspace => ZoneOf::Workspace,
                    Zone::Named(name) => {
                        if !rules.named_zones.iter().any(|(n, _)| n == name) {
                            rules.named_zones.push((name.clone(), zone_named(name)));
                        }
                        ZoneOf::Named(rules.named_zones.iter().position(|(n, _)| n == name).expect("it was pushed"))
                    }
                },
                _ => ZoneOf::Customer,
            };
            rules.zones.push(zone);
            let (from, dwells) = (rules.dwells.len(), &mut rules.dwells);
            let mut enter = None;
            match &definition.kind {
                DefinitionKind::Segment(s) => {
                    std::iter::once(&s.when).chain(&s.exit_when).for_each(|e| dwells_in(e, zone, dwells));
                    if s.enter_after.is_some() {
                        enter = Some(remember(machine::entry_condition(s), zone, dwells));
                    }
                }
                DefinitionKind::Stages(s) => s.stages.iter().for_each(|(_, e)| dwells_in(e, zone, dwells)),
                DefinitionKind::Points(p) => p.rules.iter().for_each(|(_, e)| dwells_in(e, zone, dwells)),
                DefinitionKind::Score(_) => {}
            }
            rules.enter_dwells.push(enter);
            rules.dwells_of.push((from..rules.dwells.len()).collect());
        }
        let mut collect = Collect::default();
        for (definition, zone) in workspace.definitions.iter().zip(&rules.zones) {
            collect.zone = Some(*zone);
            walk::definition(definition, &mut collect);
        }
        for (zone, operand) in &rules.dwells {
            collect.zone = Some(*zone);
            walk::expr(operand, &mut collect);
        }
        for (zone, selector) in collect.selectors {
            let known = rules.selectors.iter().position(|(z, s)| *z == zone && s == selector);
            rules.selector_at.insert(address(selector), known.unwrap_or(rules.selectors.len()));
            if known.is_none() {
                rules.selectors.push((zone, selector.clone()));
            }
        }
        for (zone, operand) in collect.operands {
            let place = rules.dwells.iter().position(|(z, d)| *z == zone && d == operand).expect("all dwells were collected");
            rules.dwell_at.insert(address(operand), place);
        }
        rules.patterns =
            collect.patterns.iter().map(|p| ((*p).clone(), regex::Regex::new(p).expect("the compiler has checked patterns"))).collect();
        rules.uses_trait_changed =
            rules.selectors.iter().any(|(_, s)| s.members.iter().any(|m| m.events.contains(&EventRef::TraitChanged)));
        rules
    }

    /// Place of the operand of a dwell in [`Rules::dwells`].
    pub(super) fn dwell(&self, zone: ZoneOf, operand: &Expr) -> usize {
        let find = || self.dwells.iter().position(|(z, d)| *z == zone && d == operand).expect("all dwells were collected");
        self.dwell_at.get(&address(operand)).copied().unwrap_or_else(find)
    }

    /// Place of a selector in [`Rules::selectors`].
    pub(super) fn column(&self, selector: &Selector) -> Option<usize> {
        self.selector_at.get(&address(selector)).copied()
    }

    /// `customer`: the zone that counts where the customer's is asked for.
    pub(super) fn zone<'z>(&'z self, of: ZoneOf, customer: &'z TimeZone) -> &'z TimeZone {
        match of {
            ZoneOf::Customer => customer,
            ZoneOf::Workspace => &self.workspace_zone,
            ZoneOf::Named(i) => &self.named_zones[i].1,
        }
    }

    pub(super) fn session_gap(&self) -> Millis {
        self.settings.session_gap.unwrap_or(self.workspace.catalogue.workspace.session_gap)
    }

    pub(super) fn new_customer(&self, name: &str, ts: Timestamp) -> Customer {
        let catalogue = &self.workspace.catalogue;
        let machine = |d: &crate::lang::Definition| match &d.kind {
            DefinitionKind::Stages(stages) => Machine { stage: stages.stages.len(), ..Machine::default() },
            _ => Machine::default(),
        };
        Customer {
            name: name.into(),
            first_seen: ts,
            greatest_ts: Timestamp::MIN,
            events: Vec::new(),
            traits: vec![None; catalogue.traits.len()],
            consents: vec![None; catalogue.purposes.len()],
            lists: vec![None; catalogue.lists.len()],
            ids: Vec::new(),
            cart: Cart::default(),
            session: None,
            zone: self.workspace_zone.clone(),
            dwells: vec![None; self.dwells.len()],
            machines: self.workspace.definitions.iter().map(machine).collect(),
            seq: 0,
            fired_through: Timestamp::MIN,
            steps: 0,
        }
    }
}

fn address<T>(node: &T) -> usize {
    std::ptr::from_ref(node) as usize
}

/// Finds selectors, operands of dwells and patterns.
#[derive(Default)]
struct Collect<'a> {
    zone: Option<ZoneOf>,
    selectors: Vec<(ZoneOf, &'a Selector)>,
    operands: Vec<(ZoneOf, &'a Expr)>,
    patterns: Vec<&'a String>,
}

impl<'a> walk::Visit<'a> for Collect<'a> {
    fn expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::HeldFor { of, .. } => self.operands.extend(self.zone.map(|z| (z, &**of))),
            Expr::Matches { pattern, .. } => self.patterns.push(pattern),
            _ => {}
        }
    }

    fn selector(&mut self, selector: &'a Selector) {
        self.selectors.extend(self.zone.map(|z| (z, selector)));
    }
}

/// Operands of `for at least`, inner before outer.
fn dwells_in(expr: &Expr, zone: ZoneOf, out: &mut Vec<(ZoneOf, Expr)>) {
    match expr {
        Expr::And(all) | Expr::Or(all) => all.iter().for_each(|e| dwells_in(e, zone, out)),
        Expr::Not(e) => dwells_in(e, zone, out),
        Expr::HeldFor { of, .. } => {
            dwells_in(of, zone, out);
            remember((**of).clone(), zone, out);
        }
        _ => {}
    }
}

/// The place of a dwell, which is added where it is new.
fn remember(operand: Expr, zone: ZoneOf, out: &mut Vec<(ZoneOf, Expr)>) -> usize {
    let known = out.iter().position(|(z, d)| *z == zone && *d == operand);
    known.unwrap_or_else(|| {
        out.push((zone, operand));
        out.len() - 1
    })
}
