//! Checked definitions to an immutable plan shared by all shards: selectors, features, conditions, segments and the indexes between
//! them (LANGUAGE.md 9, 10).
//!
//! An event finds the selectors it matches through its [`selector::Route`], those feed [`feature::Feature`]s, and a feature's edges name the
//! [`node::Unit`]s (segments and dwells) that one more entry can move. So what an event costs follows what it touches, not how many
//! definitions there are. The plan is a function of its [`Edition`] alone, the definitions and the time-zone database, so that replicas agree.

mod aggregates;
mod build;
pub mod calendar;
mod calendar_build;
mod cost;
pub mod delays;
mod edges;
pub mod feature;
pub mod filter;
mod identity;
pub mod node;
mod number;
mod report;
mod report_calendar;
pub mod schema;
pub mod selector;
pub mod sequence;
mod stages;
mod subsets;
mod threshold;

mod walk;
pub mod window;

use std::sync::Arc;

use build::Builder;
pub use calendar_build::Zones;
use feature::{Edge, Feature, FeatureKind};
use filter::{Operand, Scope};
use node::{NodeInfo, SegmentUnit, StagesUnit, TermNode, Unit, UnitId, UnitKind};
use schema::Schema;
use selector::{CartRoute, Fed, Feed, Role, Route, RouteSelector};
use walk::{LINE_NAMES, Used};

use crate::ids::{DefinitionIndex, Edition, EventIndex, PropertyIndex};
use crate::lang::Workspace;
use crate::lang::definition::EventRef;
use crate::model::{Property, Type, ZoneDatabase};
use crate::time::Millis;

pub use identity::Meaning;
pub use report::SegmentReport;

/// A set of definitions, ready to be run by any number of engines.
#[derive(Debug)]
pub struct Plan {
    workspace: Arc<Workspace>,
    schema: Arc<Schema>,
    /// Text of each selector, as its author wrote it.
    pub selectors: Vec<String>,
    /// By event type; `trait_changed` comes last.
    pub routes: Vec<Route>,
    pub features: Vec<Feature>,
    /// The customer's session, if some condition asks for it.
    pub session: Option<feature::FeatureId>,
    pub nodes: Vec<NodeInfo>,
    pub terms: Vec<TermNode>,
    /// Each after what it refers to; segments in the order of the definitions.
    pub units: Vec<Unit>,
    /// By definition.
    pub unit_of: Vec<Option<UnitId>>,
    /// By trait; then by purpose ([`delays::consent_slot`]).
    pub trait_edges: Vec<Vec<Edge>>,
    /// By list.
    pub list_edges: Vec<Vec<Edge>>,
    pub cart_edges: Vec<Edge>,
    pub cart: CartPlan,
    pub zones: Zones,
    /// Of all buckets.
    pub salts: Vec<Box<str>>,
    /// By feature: what it is called in any set.
    pub meanings: Vec<Meaning>,
    /// By feature: how long after a change of definitions it may lack something; `None`: for ever.
    pub horizons: Vec<Option<Millis>>,
}

/// What a cart line keeps beside product, variant, quantity and price.
#[derive(Clone, Debug, Default)]
pub struct CartPlan {
    /// Names and types that filters of `cart.items has [..]` read.
    pub fields: Vec<(String, Type)>,
}

impl CartPlan {
    /// Slots of a line as its filters see it: `fields` in their order.
    pub fn scope(&self) -> Scope {
        Scope::of_names(self.fields.iter().enumerate().map(|(i, (name, ty))| (name.clone(), Some(i as u16), ty.clone())))
    }
}

impl Plan {
    /// Compiles a checked workspace, with the zones of this build. It cannot fail: whatever is not evaluated was refused by the checker (E16).
    ///
    /// **Cost:** about linear in the definitions; once per set, never on the per-event path.
    pub fn compile(workspace: Arc<Workspace>) -> Plan {
        Plan::compile_with(workspace, ZoneDatabase::bundled())
    }

    /// As [`Plan::compile`], with the zones of another database; a zone that it lacks is the workspace's, or UTC.
    pub fn compile_with(workspace: Arc<Workspace>, zones: &'static ZoneDatabase) -> Plan {
        let used = Used::of(&workspace);
        let schema = Schema::new(workspace.catalogue.clone(), |event, property| used.properties.binary_search(&(event, property)).is_ok());
        let cart = CartPlan { fields: used.cart_fields.iter().map(|name| (name.clone(), line_type(&workspace, name))).collect() };
        let mut builder = Builder::new(&workspace, Zones::of(&workspace, zones), cart);
        let reverse = builder.build();
        let routes = routes(&builder, &schema);
        let meanings = identity::meanings(&builder);
        let Builder { selectors, features, session, nodes, terms, units, unit_of, cart, zones, salts, .. } = builder;
        let mut plan = Plan {
            schema: Arc::new(schema),
            selectors: selectors.into_iter().map(|s| s.selector.text).collect(),
            routes,
            features,
            session,
            nodes,
            terms,
            units,
            unit_of,
            trait_edges: reverse.traits,
            list_edges: reverse.lists,
            cart_edges: reverse.cart,
            cart,
            zones,
            salts,
            meanings,
            horizons: Vec::new(),
            workspace,
        };
        plan.horizons = identity::horizons(&plan);
        plan
    }

    /// What decoders need to know.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// What it was compiled from.
    pub fn edition(&self) -> Edition {
        Edition { set: self.workspace.hash, zones: self.zones.database.version().into() }
    }

    pub fn workspace(&self) -> &Arc<Workspace> {
        &self.workspace
    }

    /// The plan in words, per segment: when it enters and leaves, whether time alone can change it, its state and what it shares.
    pub fn report(&self) -> Vec<SegmentReport> {
        report::report(self)
    }

    /// A feature as people know it; the one after all others is the cart.
    pub fn feature_name(&self, id: feature::FeatureId) -> String {
        match (id as usize).checked_sub(self.features.len()) {
            None => report::feature(self, id),
            Some(0) => "cart".into(),
            Some(_) => "lists".into(),
        }
    }

    /// The segment or the stages that a unit is.
    pub fn definition_of(&self, unit: UnitId) -> Option<DefinitionIndex> {
        match &self.units[unit as usize].kind {
            UnitKind::Segment(SegmentUnit { definition, .. }) | UnitKind::Stages(StagesUnit { definition, .. }) => Some(*definition),
            _ => None,
        }
    }

    /// The unit of a dwell or segment as people know it.
    pub fn unit_name(&self, unit: UnitId) -> String {
        match &self.units[unit as usize].kind {
            UnitKind::Dwell { operand } => format!("dwell on `{}`", self.nodes[*operand as usize].text),
            UnitKind::Keys { of } => format!("keys of `{}`", self.nodes[*of as usize].text),
            UnitKind::ExitDelay { segment, .. } => format!("exit delay of {}", self.unit_name(*segment)),
            UnitKind::Waiting { segment } => format!("waiting change of {}", self.unit_name(*segment)),
            UnitKind::Segment(SegmentUnit { definition, .. }) | UnitKind::Stages(StagesUnit { definition, .. }) => {
                self.workspace.definitions[definition.at()].name.clone()
            }
        }
    }
}

/// The type of a line's property: of the first cart event that has it.
fn line_type(workspace: &Workspace, name: &str) -> Type {
    let catalogue = &workspace.catalogue;
    let found = catalogue.cart.iter().find_map(|rule| {
        let properties = line_properties(&catalogue.events[rule.event.at()].properties, rule.lines)?;
        properties.iter().find(|p| p.name == name).map(|p| p.ty.clone())
    });
    found.unwrap_or(if name == "quantity" { Type::Int } else { Type::Text })
}

/// Properties of one line: of the list's records, or the event's own.
fn line_properties(properties: &[Property], lines: Option<PropertyIndex>) -> Option<&[Property]> {
    match lines {
        None => Some(properties),
        Some(lines) => match &properties[lines.at()].ty {
            Type::List(element) => match &**element {
                Type::Record(inner) => Some(inner),
                _ => None,
            },
            _ => None,
        },
    }
}

fn event_scope(schema: &Schema, event: EventIndex) -> Scope {
    let (slots, ty) = (&schema.events[event.at()].slot_of, &schema.catalogue.events[event.at()].properties);
    Scope::of_names(ty.iter().zip(slots).map(|(p, slot)| (p.name.clone(), *slot, p.ty.clone())))
}

fn routes(builder: &Builder, schema: &Schema) -> Vec<Route> {
    let n = schema.catalogue.events.len();
    let scopes: Vec<Scope> = (0..n).map(|e| event_scope(schema, EventIndex(e as u16))).collect();
    let mut routes = vec![Route::default(); n + 1];
    for (id, build) in builder.selectors.iter().enumerate() {
        for member in &build.selector.members {
            for event in &member.events {
                let e = match event {
                    EventRef::Catalogue(event) => event.at(),
                    EventRef::TraitChanged => n,
                };
                let changed;
                let scope = match scopes.get(e) {
                    Some(scope) => scope,
                    None => {
                        changed = Scope::of_record(&selector::trait_changed(&schema.catalogue, member.filter.as_ref()));
                        &changed
                    }
                };
                let route = &mut routes[e];
                let at = match route.selectors.last() {
                    Some(last) if last.selector == id as u32 => {
                        route.selectors.last_mut().expect("just seen").repeated = true;
                        route.selectors.len() - 1
                    }
                    _ => {
                        let feeds = build.feeds.iter().map(|(feature, role)| Feed {
                            feature: *feature,
                            what: fed(&builder.features[*feature as usize], *role, scope),
                            key: builder.features[*feature as usize].within.key.as_ref().map(|path| scope.resolve(path).0),
                        });
                        route.selectors.push(RouteSelector { selector: id as u32, repeated: false, feeds: feeds.collect() });
                        route.selectors.len() - 1
                    }
                };
                let local = member.filter.as_ref().is_some_and(calendar::asks_local);
                let filter = member.filter.as_ref().map(|f| match local {
                    true => filter::compile(f, &scope.clone().in_zone(build.zone)),
                    false => filter::compile(f, scope),
                });
                route.local |= local;
                route.add(at as u32, filter);
            }
        }
    }
    if let Some(session) = builder.session {
        let activities = (0..n).filter(|e| schema.catalogue.events[*e].is_activity);
        activities.for_each(|e| routes[e].session = Some(session));
    }
    for rule in &schema.catalogue.cart {
        routes[rule.event.at()].cart.push(cart_route(builder, schema, rule));
    }
    routes
}

fn fed(feature: &Feature, role: Role, scope: &Scope) -> Fed {
    let operand = || feature.property.as_ref().map_or(Operand::Absent, |path| scope.resolve(path).0);
    match (&feature.kind, role) {
        (_, Role::Points(points)) => Fed::Points(points),
        (_, Role::Steps(steps)) => Fed::Steps(steps),
        (_, Role::Mark) => Fed::Mark,
        (FeatureKind::Periods { values: calendar::PeriodValues::Hashes, .. }, _) => Fed::Hash(operand()),
        (FeatureKind::Periods { values: calendar::PeriodValues::Sum | calendar::PeriodValues::Extremes, .. }, _) => Fed::Number(operand()),
        (FeatureKind::Counter { sum: true } | FeatureKind::Extremes { .. }, _) => Fed::Number(operand()),
        (FeatureKind::Log { values: feature::Values::Numbers, .. }, _) => Fed::Number(operand()),
        (FeatureKind::Log { values: feature::Values::Hashes, .. } | FeatureKind::Distinct { .. }, _) => Fed::Hash(operand()),
        (FeatureKind::FirstLast { properties, .. }, _) => Fed::Values(properties.iter().map(|path| scope.resolve(path).0).collect()),
        _ => Fed::Instant,
    }
}

fn cart_route(builder: &Builder, schema: &Schema, rule: &crate::model::CartRule) -> CartRoute {
    let event = &schema.catalogue.events[rule.event.at()];
    let slots = &schema.events[rule.event.at()].slot_of;
    let properties = line_properties(&event.properties, rule.lines).unwrap_or(&[]);
    let place = |name: &str| {
        let i = properties.iter().position(|p| p.name == name)?;
        if rule.lines.is_some() { Some(i as u16) } else { slots[i] }
    };
    let [product, sku, variant, quantity, price] = LINE_NAMES.map(place);
    CartRoute {
        action: rule.action,
        lines: rule.lines.and_then(|p| slots[p.at()]),
        product,
        sku,
        variant,
        quantity,
        price,
        fields: builder.cart.fields.iter().map(|(name, _)| place(name)).collect(),
    }
}

#[cfg(test)]
mod tests;
