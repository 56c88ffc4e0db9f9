//! Builds a plan: interns selectors, features, terms and conditions, then lays the indexes between them.

use std::collections::HashMap;

use super::calendar::{Axis, CalendarNode, CalendarTerm, ZoneRef, asks_local};
use super::feature::{Edge, Feature, FeatureId, FeatureKind, Keep, NumberUnit, Quantity, SelectorId, Values, Within};
use super::filter::{self, Scope};
use super::node::{Node, NodeId, NodeInfo, SegmentUnit, TermId, TermNode, Unit, UnitId, UnitKind};
use super::number::number_unit;
use super::selector::Role;
use super::window::AgeWindow;
use super::{CartPlan, Zones, threshold};
use crate::ids::DefinitionIndex;
use crate::lang::definition::{
    Aggregate, Backfill, CartPath, DefinitionKind, Expr, Path, Segment, Selector, Term, Window, Workspace, Zone,
};
use crate::lang::display;
use crate::model::{Circle, Type};
use crate::time::Millis;

/// A selector as it was checked, with what it feeds.
#[derive(Debug)]
pub(super) struct SelectorBuild {
    pub selector: Selector,
    /// Features it feeds, and what its events are to them.
    pub feeds: Vec<(FeatureId, Role)>,
    /// Whose clock its filters ask.
    pub zone: ZoneRef,
}

#[derive(Debug)]
pub(super) struct Builder<'w> {
    pub workspace: &'w Workspace,
    pub selectors: Vec<SelectorBuild>,
    selector_ids: HashMap<String, SelectorId>,
    pub(super) session: Option<FeatureId>,
    /// Of the aggregate that is being built.
    pub(super) within: Within,
    /// The keyed feature that the condition being built reads.
    pub(super) keyed: Option<FeatureId>,
    /// The definition's condition `per` a key.
    pub(super) some_key: Option<NodeId>,
    pub(super) keys_ids: HashMap<NodeId, UnitId>,
    pub features: Vec<Feature>,
    pub(super) feature_ids: HashMap<String, FeatureId>,
    pub nodes: Vec<NodeInfo>,
    node_ids: HashMap<String, NodeId>,
    pub terms: Vec<TermNode>,
    term_ids: HashMap<String, TermId>,
    pub units: Vec<Unit>,
    pub dwell_ids: HashMap<NodeId, UnitId>,
    pub unit_of: Vec<Option<UnitId>>,
    pub cart: CartPlan,
    pub zones: Zones,
    /// Of the definition that is being built.
    pub zone: ZoneRef,
    /// By what the aggregate that is being built files its events, and how many periods it needs; `None` where that is not by the calendar.
    pub axis: Option<(Axis, u32)>,
    pub salts: Vec<Box<str>>,
    /// The segment with `backfill none` that is being built: its features are its own.
    pub owner: Option<Box<str>>,
    /// Features that one segment alone reads, with its name.
    pub owners: HashMap<FeatureId, Box<str>>,
}

/// The checker lets through only what this version evaluates (E16).
pub(super) fn refused(what: &str) -> ! {
    panic!("{what} is refused by the checker")
}

impl<'w> Builder<'w> {
    pub fn new(workspace: &'w Workspace, zones: Zones, cart: CartPlan) -> Builder<'w> {
        Builder {
            workspace,
            selectors: Vec::new(),
            selector_ids: HashMap::new(),
            session: None,
            within: Within::default(),
            keyed: None,
            some_key: None,
            keys_ids: HashMap::new(),
            features: Vec::new(),
            feature_ids: HashMap::new(),
            nodes: Vec::new(),
            node_ids: HashMap::new(),
            terms: Vec::new(),
            term_ids: HashMap::new(),
            units: Vec::new(),
            dwell_ids: HashMap::new(),
            unit_of: vec![None; workspace.definitions.len()],
            cart,
            zones,
            zone: zones.resolve(&Zone::Customer),
            axis: None,
            salts: Vec::new(),
            owner: None,
            owners: HashMap::new(),
        }
    }

    /// Definitions stand in an order in which each comes after what it refers to.
    pub(super) fn build(&mut self) -> super::edges::Reverse {
        for (i, definition) in self.workspace.definitions.iter().enumerate() {
            let index = DefinitionIndex(i as u32);
            match &definition.kind {
                DefinitionKind::Segment(segment) => {
                    self.owner = (segment.backfill == Backfill::None).then(|| definition.name.as_str().into());
                    self.segment(index, segment);
                    self.owner = None;
                }
                DefinitionKind::Score(_) => {
                    self.score(index);
                }
                // Like a score it counts from its definition on, not from when somebody asks for it.
                DefinitionKind::Points(_) => {
                    self.points(index);
                }
                DefinitionKind::Stages(stages) => self.stages(index, stages),
            }
        }
        self.edges()
    }

    fn segment(&mut self, definition: DefinitionIndex, segment: &Segment) {
        self.some_key = None;
        self.zone = self.zones.resolve(&segment.timezone);
        let when = self.expr(&segment.when);
        let exit = segment.exit_when.as_ref().map(|e| self.expr(e));
        let enter = match exit {
            None => when,
            Some(exit) => {
                let not_exit = self.node(Node::Not(exit), String::new(), String::new());
                self.node(Node::And([when, not_exit].into()), String::new(), String::new())
            }
        };
        let emit = segment.emit.iter().map(|field| (field.name.as_str().into(), self.term(&field.term))).collect();
        let delays = self.delays(segment, when, exit, enter);
        let unit = self.units.len() as UnitId;
        self.units.push(Unit {
            kind: UnitKind::Segment(SegmentUnit { definition, when, exit, enter, delays, emit, crossings: [None; 2] }),
            dependents: Vec::new(),
        });
        self.unit_of[definition.at()] = Some(unit);
    }

    pub(super) fn node(&mut self, mut node: Node, text: String, threshold: String) -> NodeId {
        if let Node::And(all) | Node::Or(all) = &mut node {
            // One operand can decide for good; those that cost least are asked first.
            all.sort_by_key(|n| (self.cost(*n), *n));
        }
        let key = format!("{node:?}");
        if let Some(id) = self.node_ids.get(&key) {
            return *id;
        }
        let open = match &node {
            Node::And(all) | Node::Or(all) => all.iter().any(|n| self.nodes[*n as usize].open),
            Node::Not(of) | Node::SomeKey { of, .. } => self.nodes[*of as usize].open,
            Node::Held { operand, .. } => self.nodes[*operand as usize].open,
            Node::Calendar(CalendarNode::Local(_)) => true,
            _ => node.terms().any(|t| self.term_open(t)),
        };
        let id = self.nodes.len() as NodeId;
        self.nodes.push(NodeInfo { node, text: text.into(), threshold: threshold.into(), open });
        self.node_ids.insert(key, id);
        id
    }

    fn term_open(&self, term: TermId) -> bool {
        match &self.terms[term as usize] {
            TermNode::FirstSeen | TermNode::Bucket(_) => true,
            TermNode::Arithmetic { left, right, .. } => self.term_open(*left) || self.term_open(*right),
            TermNode::Calendar(CalendarTerm::Local { .. } | CalendarTerm::Band { .. }) => true,
            TermNode::Age(of) | TermNode::Band { of, .. } | TermNode::Calendar(CalendarTerm::Midnight { of, .. }) => self.term_open(*of),
            TermNode::Points(rules) => rules.iter().any(|(_, node)| self.nodes[*node as usize].open),
            _ => false,
        }
    }

    fn leaf(&mut self, expr: &Expr, node: Node) -> NodeId {
        let (text, threshold) = (display::condition(self.workspace, expr), threshold::of(self.workspace, expr));
        if let Some(feature) = self.keyed.take() {
            return self.some_key(feature, node, text, threshold);
        }
        self.node(node, text, threshold)
    }

    pub(super) fn expr(&mut self, expr: &Expr) -> NodeId {
        if let Some(node) = self.calendar_node(expr) {
            return self.leaf(expr, node);
        }
        let node = match expr {
            Expr::And(all) => {
                let all = all.iter().map(|e| self.expr(e)).collect();
                return self.node(Node::And(all), String::new(), String::new());
            }
            Expr::Or(all) => {
                let all = all.iter().map(|e| self.expr(e)).collect();
                return self.node(Node::Or(all), String::new(), String::new());
            }
            Expr::Not(of) => {
                let of = self.expr(of);
                return self.node(Node::Not(of), display::condition(self.workspace, expr), String::new());
            }
            Expr::Everyone => Node::Constant(true),
            Expr::Compare { left, rel, right, ignore_case } => self.compare(left, *rel, right, *ignore_case),
            Expr::Between { of, low, high } => {
                let (of, low, high) = (self.term(of), self.term(low), self.term(high));
                Node::Between { of, low, high }
            }
            Expr::Member { of, values, ignore_case } => {
                Node::Member { of: self.term(of), values: values.clone().into(), ignore_case: *ignore_case }
            }
            Expr::HalfOpen { of, from, to } => Node::HalfOpen { of: self.term(of), from: from.clone(), to: to.clone() },
            Expr::HeldFor { of, at_least } => {
                let operand = self.expr(of);
                self.held(operand, *at_least)
            }
            Expr::EventIn { which, of, window } => self.event_in(*which, of, window),
            Expr::InSegment(definition) => {
                let unit = self.unit_of[definition.at()].unwrap_or_else(|| refused("a segment that stands after its user"));
                Node::InSegment { unit, definition: *definition }
            }
            Expr::TimeIn { of, window } => self.time_in(of, window),
            Expr::InList(list) => Node::InList(*list),
            Expr::Matches { of, pattern } => Node::Matches { of: self.term(of), pattern: filter::pattern(pattern) },
            Expr::Near { of, metres, lat, lon } => Node::Near { of: self.term(of), circle: Circle::new(*lat, *lon, *metres) },
            Expr::Contains { of, what, ignore_case } => Node::Contains { of: self.term(of), what: what.clone(), ignore_case: *ignore_case },
            Expr::StartsWith { of, prefix, ignore_case } => {
                Node::StartsWith { of: self.term(of), prefix: prefix.as_str().into(), ignore_case: *ignore_case }
            }
            Expr::EndsWith { of, suffix, ignore_case } => {
                Node::EndsWith { of: self.term(of), suffix: suffix.as_str().into(), ignore_case: *ignore_case }
            }
            Expr::Empty(Term::Path(Path::Cart(_))) => Node::CartEmpty,
            Expr::Empty(of) => Node::Empty(self.term(of)),
            Expr::Known(of) => Node::Known(self.term(of)),
            Expr::Has { of: Term::Path(Path::Cart(_)), filter } => Node::CartHas(filter::compile(filter, &self.cart.scope())),
            Expr::Has { of, filter } => {
                let inner = match of {
                    Term::Path(Path::Trait { ty, .. }) | Term::OfEvent { ty, .. } => Scope::of_element(ty),
                    _ => Scope::default(),
                };
                Node::Has { of: self.term(of), filter: filter::compile(filter, &inner) }
            }
            Expr::Sequence(sequence) => self.sequence(sequence),
            Expr::Crossed { direction, segment, window } => self.crossed(*direction, *segment, window),
            Expr::Consent(purpose) => self.consent(*purpose),
            Expr::NofM { .. } | Expr::Anniversary { .. } => refused("a condition by the calendar that is none"),
            Expr::Rank { .. } => refused("a rank"),
        };
        self.leaf(expr, node)
    }

    pub(super) fn feature(
        &mut self,
        family: &str,
        of: &Selector,
        property: Option<&[String]>,
        unit: NumberUnit,
        kind: FeatureKind,
    ) -> FeatureId {
        let selector = self.selector(of);
        let within = self.within.clone();
        let key = format!("{selector} {property:?} {family} {within:?} {:?}", self.owner);
        let known = self.feature_ids.get(&key).copied();
        let id = known.unwrap_or(self.features.len() as FeatureId);
        self.keyed = self.keyed.or(within.key.as_ref().map(|_| id));
        if known.is_some() {
            return id;
        }
        if let Some(mark) = within.since {
            self.selectors[mark as usize].feeds.push((id, Role::Mark));
        }
        let property = property.map(<[String]>::to_vec);
        self.features.push(Feature { kind, within, selector: Some(selector), property, unit, edges: Vec::new(), losses: Vec::new() });
        self.feature_ids.insert(key, id);
        self.owners.extend(self.owner.clone().map(|owner| (id, owner)));
        self.selectors[selector as usize].feeds.push((id, Role::Entry));
        id
    }

    pub(super) fn counter(&mut self, of: &Selector, property: Option<&[String]>, sum: bool, unit: NumberUnit) -> FeatureId {
        self.feature("counter", of, property, unit, FeatureKind::Counter { sum })
    }

    pub(super) fn ring(&mut self, of: &Selector, keep: Keep, needed: usize) -> FeatureId {
        let id = self.feature(&format!("ring {keep:?}"), of, None, NumberUnit::Int, FeatureKind::Ring { keep, capacity: needed });
        if let FeatureKind::Ring { capacity, .. } = &mut self.features[id as usize].kind {
            *capacity = needed.max(*capacity);
        }
        id
    }

    pub(super) fn log(
        &mut self,
        of: &Selector,
        property: Option<&[String]>,
        window: AgeWindow,
        values: Values,
        with_extremes: bool,
        thinned: Option<usize>,
        unit: NumberUnit,
    ) -> FeatureId {
        let kind = FeatureKind::Log { windows: vec![window], values, extremes: with_extremes, thin: thinned };
        // What is thinned, or kept without extremes, cannot be had back when the set changes: so these are features of their own.
        let family = match thinned {
            Some(_) => format!("thin log {window:?}"),
            None => format!("log {values:?} {with_extremes}"),
        };
        let id = self.feature(&family, of, property, unit, kind);
        if let FeatureKind::Log { windows, thin, .. } = &mut self.features[id as usize].kind {
            add_window(windows, window);
            *thin = thin.zip(thinned).map(|(a, b)| a.max(b));
        }
        id
    }

    pub(super) fn score(&mut self, definition: DefinitionIndex) -> FeatureId {
        let key = format!("score {}", definition.0);
        if let Some(id) = self.feature_ids.get(&key) {
            return *id;
        }
        let DefinitionKind::Score(score) = &self.workspace.definitions[definition.at()].kind else { refused("a score that is none") };
        // A score has no zone of its own, whoever asks for it first.
        let zone = std::mem::replace(&mut self.zone, self.zones.resolve(&Zone::Customer));
        let id = self.features.len() as FeatureId;
        let kind = FeatureKind::Score { definition };
        self.features.push(Feature::bare(kind, NumberUnit::Decimal));
        self.feature_ids.insert(key, id);
        for rule in &score.rules {
            let selector = self.selector(&rule.selector);
            self.selectors[selector as usize].feeds.push((id, Role::Points(rule.add.map(|d| d.0))));
        }
        self.zone = zone;
        id
    }

    pub(super) fn selector(&mut self, of: &Selector) -> SelectorId {
        let mut key = format!("{:?}", of.members);
        if of.members.iter().filter_map(|m| m.filter.as_ref()).any(asks_local) {
            key.push_str(&format!(" {:?}", self.zone));
        }
        if let Some(id) = self.selector_ids.get(&key) {
            return *id;
        }
        let id = self.selectors.len() as SelectorId;
        self.selectors.push(SelectorBuild { selector: of.clone(), zone: self.zone, feeds: Vec::new() });
        self.selector_ids.insert(key, id);
        id
    }

    fn points(&mut self, definition: DefinitionIndex) -> Box<[(i64, NodeId)]> {
        let workspace = self.workspace;
        let DefinitionKind::Points(points) = &workspace.definitions[definition.at()].kind else { refused("points that are none") };
        // The keys of its rules are not those of the definition that reads the points.
        let (zone, keyed, some_key) = (self.zone, self.keyed.take(), self.some_key);
        self.zone = self.zones.resolve(&Zone::Customer);
        let rules = points.rules.iter().map(|(points, when)| (points.0, self.expr(when))).collect();
        (self.zone, self.keyed, self.some_key) = (zone, keyed, some_key);
        rules
    }

    /// The place of a salt among those of all buckets.
    fn salt(&mut self, salt: &str) -> u32 {
        let place = self.salts.iter().position(|s| **s == *salt).unwrap_or_else(|| {
            self.salts.push(salt.into());
            self.salts.len() - 1
        });
        place as u32
    }

    pub(super) fn term_node(&mut self, term: TermNode) -> TermId {
        let key = format!("{term:?}");
        if let Some(id) = self.term_ids.get(&key) {
            return *id;
        }
        let id = self.terms.len() as TermId;
        self.terms.push(term);
        self.term_ids.insert(key, id);
        id
    }

    pub(super) fn term(&mut self, term: &Term) -> TermId {
        if let Some(node) = self.local_band(term) {
            return self.term_node(node);
        }
        let node = match term {
            Term::Literal(value) => TermNode::Literal(value.clone()),
            Term::Path(path) => match path {
                Path::Trait { index, rest, .. } => {
                    let mut ty = self.workspace.catalogue.traits[index.at()].ty.clone();
                    let mut fields = Vec::new();
                    for name in rest {
                        let Type::Record(properties) = &ty else { refused("a path into a trait that is no record") };
                        let i = properties.iter().position(|p| p.name == *name).unwrap_or_else(|| refused("an unknown field of a trait"));
                        fields.push(i as u16);
                        ty = properties[i].ty.clone();
                    }
                    TermNode::Trait { index: *index, fields: fields.into() }
                }
                Path::FirstSeen => TermNode::FirstSeen,
                Path::Cart(CartPath::Value) => TermNode::CartValue,
                Path::Cart(CartPath::Quantity) => TermNode::CartQuantity,
                Path::Cart(CartPath::Items | CartPath::Whole) => TermNode::CartItems,
                Path::Cart(CartPath::ChangedAt) => TermNode::CartChangedAt,
                Path::Property { .. } => refused("a property outside a filter"),
                Path::Local(path) => TermNode::Calendar(CalendarTerm::Local { path: *path, zone: self.zone }),
            },
            Term::Aggregate { function, of, property, per, window } => {
                let unit = self.unit(*function, of, property.as_deref());
                let quantity = Quantity::from(*function);
                self.part(window, per.as_deref(), |builder, window| {
                    let feature = builder.aggregate(quantity, of, property.as_deref(), window, unit, None);
                    TermNode::Quantity { feature, quantity, window, unit }
                })
            }
            Term::OfEvent { which, of, property, .. } if property.is_empty() => return self.instant_of(*which, of),
            Term::OfEvent { which, of, property, .. } => {
                let kind = FeatureKind::FirstLast { which: *which, properties: Vec::new() };
                let feature = self.feature(&format!("{which:?}"), of, None, NumberUnit::Int, kind);
                let FeatureKind::FirstLast { properties, .. } = &mut self.features[feature as usize].kind else {
                    unreachable!("its family is its kind")
                };
                let value = properties.iter().position(|p| p == property).unwrap_or_else(|| {
                    properties.push(property.clone());
                    properties.len() - 1
                });
                TermNode::FirstLast { feature, value: Some(value as u16) }
            }
            Term::Arithmetic { op, left, right } => {
                let (left, right) = (self.term(left), self.term(right));
                TermNode::Arithmetic { op: *op, left, right }
            }
            Term::Score(definition) => TermNode::Score { feature: self.score(*definition) },
            Term::Age(of) => TermNode::Age(self.instant_term(of)),
            Term::Band { of, bounds } => TermNode::Band { of: self.term(of), bounds: bounds.clone().into() },
            Term::Points(definition) => TermNode::Points(self.points(*definition)),
            Term::Bucket(salt) => TermNode::Bucket(self.salt(salt)),
            Term::Stage(definition) => self.stage(*definition),
            Term::Ntile { .. } => refused("`ntile`"),
            Term::Key => TermNode::Key { unit: self.keys_unit() },
        };
        self.term_node(node)
    }

    /// What a number of this aggregate means.
    pub(super) fn unit(&self, function: Aggregate, of: &Selector, property: Option<&[String]>) -> NumberUnit {
        let Some(property) = property.filter(|_| !matches!(function, Aggregate::Count | Aggregate::Distinct)) else {
            return NumberUnit::Int;
        };
        let catalogue = &self.workspace.catalogue;
        of.members
            .iter()
            .find_map(|m| m.events.iter().find_map(|e| number_unit(catalogue, *e, property, m.filter.as_ref())))
            .unwrap_or(NumberUnit::Int)
    }
}

pub(super) fn add_window(windows: &mut Vec<AgeWindow>, window: AgeWindow) {
    if !windows.contains(&window) {
        windows.push(window);
        windows.sort_unstable();
    }
}

/// # Panics
/// On calendar windows, which the checker refuses.
pub(super) fn age_window(window: &Window) -> AgeWindow {
    AgeWindow::of(window).unwrap_or_else(|| refused("a calendar window"))
}

/// Adds or widens one edge; `delay` as [`Edge::enters_after`], of this read alone.
pub(super) fn add_edge(edges: &mut Vec<Edge>, unit: UnitId, enters: bool, delay: Option<Millis>, exits: bool) {
    if !enters && !exits {
        return;
    }
    match edges.binary_search_by_key(&unit, |e| e.unit) {
        Ok(i) => {
            let edge = &mut edges[i];
            edge.enters_after = match (edge.enters, enters) {
                (true, true) => edge.enters_after.zip(delay).map(|(a, b)| a.min(b)),
                (false, true) => delay,
                (_, false) => edge.enters_after,
            };
            edge.enters |= enters;
            edge.exits |= exits;
        }
        Err(i) => edges.insert(i, Edge { unit, enters, enters_after: delay.filter(|_| enters), exits }),
    }
}
