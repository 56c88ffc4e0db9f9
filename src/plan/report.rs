//! The plan in words, for `check --plan`: when each segment changes, what it keeps and shares, what touches it (LANGUAGE.md 6).

use std::collections::{BTreeMap, BTreeSet};

use super::Plan;
use super::delays::{self, Delays};
use super::feature::{Feature, FeatureId, FeatureKind, Keep, Quantity};
use super::node::{Node, NodeId, SegmentUnit, StagesUnit, TermId, TermNode, UnitKind};
use super::window::AgeWindow;
use crate::lang::definition::{Backfill, DefinitionKind, Which, Workspace};
use crate::lang::words;
use crate::time::Millis;

mod subsets;

/// One segment as `check --plan` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    pub segment: String,
    /// Lines of (heading, text): version, enters, leaves, time, state, touched, history.
    pub lines: Vec<(String, String)>,
}

/// What the conditions of one segment read.
#[derive(Default)]
pub(super) struct Reads {
    pub(super) features: BTreeSet<FeatureId>,
    pub(super) traits: BTreeSet<u16>,
    purposes: BTreeSet<u16>,
    lists: BTreeSet<u16>,
    cart: bool,
    /// Ways in which time alone can change it.
    pub(super) time: BTreeSet<String>,
    /// The longest age that some window tells apart.
    pub(super) longest: Option<Millis>,
    pub(super) ever: bool,
    /// What delays and the like add to the state.
    machine: Vec<String>,
}

pub(super) fn report(plan: &Plan) -> Vec<SegmentReport> {
    let mut all: Vec<(usize, Reads)> = Vec::new();
    for (i, unit) in plan.units.iter().enumerate() {
        let mut reads = Reads::default();
        match &unit.kind {
            UnitKind::Segment(segment) => {
                reads.node(plan, segment.enter);
                segment.exit.iter().for_each(|exit| reads.node(plan, *exit));
                segment.delays.iter().for_each(|delays| reads.delays(plan, delays));
                segment.emit.iter().for_each(|(_, term)| reads.term(plan, *term));
            }
            UnitKind::Stages(stages) => stages.stages.iter().for_each(|(_, when)| reads.node(plan, *when)),
            _ => continue,
        }
        all.push((i, reads));
    }
    let mut users: BTreeMap<FeatureId, usize> = BTreeMap::new();
    for (_, reads) in &all {
        reads.features.iter().for_each(|f| *users.entry(*f).or_default() += 1);
    }
    let cart_users = all.iter().filter(|(_, r)| r.cart).count();
    all.iter().map(|(unit, reads)| one(plan, *unit, reads, &users, cart_users)).collect()
}

fn one(plan: &Plan, unit: usize, reads: &Reads, users: &BTreeMap<FeatureId, usize>, cart_users: usize) -> SegmentReport {
    let (UnitKind::Segment(SegmentUnit { definition, .. }) | UnitKind::Stages(StagesUnit { definition, .. })) = &plan.units[unit].kind
    else {
        unreachable!("only segments and stages are reported")
    };
    let workspace: &Workspace = plan.workspace();
    let definition = &workspace.definitions[definition.at()];
    let mut lines = vec![("version".to_string(), definition.hash.to_string())];
    let mut line = |heading: &str, text: String| lines.push((heading.to_string(), text));
    match &definition.kind {
        DefinitionKind::Segment(segment) => {
            line("enters", words::enters(workspace, segment));
            line("leaves", words::leaves(workspace, segment));
        }
        DefinitionKind::Stages(stages) => {
            for (stage, when) in &stages.stages {
                line("stage", format!("{stage} when {}", words::condition(workspace, when)));
            }
            line("stage", format!("{} otherwise, also before the first record", stages.otherwise));
        }
        DefinitionKind::Score(_) | DefinitionKind::Points(_) => unreachable!("a unit of a segment or of stages is one"),
    }
    line(
        "time",
        if reads.time.is_empty() {
            "changes by records only".into()
        } else {
            format!("can change without a record, {}", list(reads.time.iter().cloned()))
        },
    );
    let shared = |n: usize| if n > 1 { format!(", shared by {n} segments") } else { String::new() };
    let mut state: Vec<String> =
        reads.features.iter().map(|f| format!("{}{}", feature(plan, *f), shared(users.get(f).copied().unwrap_or(0)))).collect();
    if reads.cart {
        state.push(format!("cart about 12 B + 16 B per line{}", shared(cart_users)));
    }
    state.extend(reads.traits.iter().map(|t| format!("customer.{}", workspace.catalogue.traits[*t as usize].name)));
    state.extend(reads.purposes.iter().map(|p| format!("consent to {} up to 20 B", workspace.catalogue.purposes[*p as usize].name)));
    state.extend(reads.lists.iter().map(|l| format!("list {} about 4 B", workspace.catalogue.lists[*l as usize])));
    state.push("membership about 12 B".into());
    state.extend(reads.machine.iter().cloned());
    line("state", list(state.into_iter()));
    line("touched", touched(plan, reads));
    let begins_empty = matches!(&definition.kind, DefinitionKind::Segment(s) if s.backfill == Backfill::None);
    line(
        "history",
        match (reads.longest, reads.ever) {
            _ if begins_empty => "begins empty with the definition (`backfill none`)".into(),
            (_, true) => "complete only from the first record on (`ever`)".into(),
            (Some(longest), false) => format!("complete {longest} after the first record"),
            (None, false) => "complete at once".into(),
        },
    );
    SegmentReport { segment: definition.name.clone(), lines }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join("; ")
}

/// Event types that can move it, and the other kinds of records.
fn touched(plan: &Plan, reads: &Reads) -> String {
    let mut names = BTreeSet::new();
    for (event, route) in plan.routes.iter().enumerate() {
        let feeds = route.selectors.iter().flat_map(|s| &s.feeds);
        let name = plan.schema().catalogue.events.get(event).map_or("trait_changed", |e| e.name.as_str());
        let session = route.session.is_some_and(|session| reads.features.contains(&session));
        if session || feeds.into_iter().any(|f| reads.features.contains(&f.feature)) || (reads.cart && !route.cart.is_empty()) {
            names.insert(name.to_string());
        }
    }
    if !reads.traits.is_empty() {
        names.insert("traits".into());
    }
    if !reads.purposes.is_empty() {
        names.insert("consents".into());
    }
    if !reads.lists.is_empty() {
        names.insert("list records".into());
    }
    if names.is_empty() { "the first record".into() } else { names.into_iter().collect::<Vec<_>>().join(", ") }
}

/// A feature with about its bytes per customer.
pub(super) fn feature(plan: &Plan, id: FeatureId) -> String {
    let feature = &plan.features[id as usize];
    let of = feature.selector.map_or_else(String::new, |s| plan.selectors[s as usize].clone());
    let of = match &feature.property {
        Some(path) => format!("{of}.{}", path.join(".")),
        None => of,
    };
    let of = subsets::named(plan, &feature.within, of);
    format!("{}{}", kind(plan, feature, of), subsets::bytes(&feature.within))
}

fn kind(plan: &Plan, feature: &Feature, of: String) -> String {
    match &feature.kind {
        FeatureKind::Counter { sum: false } => format!("count({of}) 4 B"),
        FeatureKind::Counter { sum: true } => format!("sum({of}) 8 B"),
        FeatureKind::Ring { keep: Keep::Newest, capacity } => format!("ring({of}, K={capacity}) up to {} B", 2 + 5 * capacity),
        FeatureKind::Ring { keep: Keep::Oldest, capacity } => format!("oldest({of}, K={capacity}) up to {} B", 2 + 5 * capacity),
        FeatureKind::Log { thin: Some(_), .. } => format!("log({of}) 5 B per event that matters"),
        FeatureKind::Log { values, .. } => {
            let bytes = match values {
                super::feature::Values::None => 5,
                super::feature::Values::Numbers => 8,
                super::feature::Values::Hashes => 13,
            };
            format!("log({of}) {bytes} B per event in the window")
        }
        FeatureKind::Extremes { max, .. } => format!("{}({of}) 8 B per candidate", if *max { "max" } else { "min" }),
        FeatureKind::Distinct { bound: Some(bound), .. } => format!("distinct({of}, K={bound}) up to {} B", 2 + 13 * bound),
        FeatureKind::Distinct { bound: None, .. } => format!("distinct({of}) 13 B per value"),
        FeatureKind::FirstLast { which, properties } => {
            let names: Vec<String> = properties.iter().map(|p| p.join(".")).collect();
            format!("{}({of}) with {} 8 B and values", if *which == Which::First { "first" } else { "last" }, names.join(", "))
        }
        FeatureKind::Sequence(sequence) => {
            format!("sequence({}) up to {} B, 4 B per event in the reorder buffer", sequence.text, sequence.bytes())
        }
        FeatureKind::Session => "session 12 B".into(),
        FeatureKind::Periods { .. } => super::report_calendar::feature(&feature.kind, &of),
        FeatureKind::Crossings { definition, entered } => {
            let way = if *entered { "entries into" } else { "exits from" };
            format!("{way} {} up to {} B", plan.workspace().definitions[definition.at()].name, 2 + 5 * crate::limits::CROSSINGS_MAX)
        }
        FeatureKind::Score { definition } => format!("score({}) 15 B", plan.workspace().definitions[definition.at()].name),
    }
}

impl Reads {
    fn delays(&mut self, plan: &Plan, delays: &Delays) {
        delays.consent.iter().for_each(|consent| self.node(plan, *consent));
        let words = delays::words(delays);
        self.machine = words.state;
        self.time.extend(words.time);
    }

    fn node(&mut self, plan: &Plan, id: NodeId) {
        match &plan.nodes[id as usize].node {
            Node::And(all) | Node::Or(all) => all.iter().for_each(|n| self.node(plan, *n)),
            Node::Not(of) => self.node(plan, *of),
            Node::Held { operand, at_least, .. } => {
                self.time.insert(format!("{at_least} after `{}` turned", plan.nodes[*operand as usize].text));
                self.node(plan, *operand);
            }
            Node::InSegment { definition, .. } => {
                self.time.insert(format!("with segment {}", plan.workspace().definitions[definition.at()].name));
            }
            Node::Consent { purpose, .. } => {
                self.purposes.insert(purpose.0);
                self.time.insert("at the end of a consent".into());
            }
            Node::Quantity { feature, quantity, window, .. } => {
                self.features.insert(*feature);
                if subsets::reads(self, plan, *feature) || self.periods(plan, *feature, *window) {
                    return;
                }
                self.window(*window, || match quantity {
                    Quantity::Count if window.near == Millis::ZERO => format!("{} after an event", window.far),
                    _ => "as events grow old".into(),
                });
            }
            Node::Sequence { feature, window } => self.sequence(plan, *feature, *window),
            Node::SomeKey { of, .. } => self.node(plan, *of),
            Node::FirstSince { feature } => {
                self.features.insert(*feature);
                subsets::reads(self, plan, *feature);
            }
            Node::After { of, mark } => [of, mark].into_iter().for_each(|t| self.term(plan, *t)),
            Node::InSession { session, of } => {
                self.features.insert(*session);
                self.time.insert(subsets::SESSION_ENDS.into());
                self.term(plan, *of);
            }
            Node::Score { feature, .. } => {
                self.features.insert(*feature);
                self.time.insert("as the score fades".into());
            }
            Node::Aged { of, window } => {
                let says = format!("{} after `{}`", ages(*window), shown(plan, *of));
                match &plan.terms[*of as usize] {
                    TermNode::RingEnd { .. } | TermNode::FirstLast { .. } => self.window(*window, || says),
                    // Known as it stands: that needs no history of its own.
                    _ => {
                        self.time.insert(says);
                    }
                }
                self.term(plan, *of);
            }
            Node::Next { of, within } => {
                self.time.insert(format!("{within} before `{}`, and at it", shown(plan, *of)));
                self.term(plan, *of);
            }
            Node::CartEmpty | Node::CartHas(_) => self.cart = true,
            Node::Calendar(calendar) => self.calendar(plan, calendar),
            Node::InList(list) => {
                self.lists.insert(list.0);
            }
            leaf => leaf.terms().for_each(|t| self.term(plan, t)),
        }
    }

    pub(super) fn term(&mut self, plan: &Plan, id: TermId) {
        match &plan.terms[id as usize] {
            TermNode::Literal(_) | TermNode::FirstSeen | TermNode::Key { .. } | TermNode::Bucket(_) => {}
            TermNode::Crossing { feature, unit } => {
                self.features.insert(*feature);
                self.time.insert(format!("with segment {}", plan.unit_name(*unit)));
            }
            TermNode::Stage { unit } => {
                self.time.insert(format!("with stages {}", plan.unit_name(*unit)));
            }
            TermNode::Points(rules) => rules.iter().for_each(|(_, node)| self.node(plan, *node)),
            TermNode::Band { of, .. } => self.term(plan, *of),
            TermNode::Trait { index, .. } => {
                self.traits.insert(index.0);
            }
            TermNode::CartValue | TermNode::CartQuantity | TermNode::CartItems | TermNode::CartChangedAt => self.cart = true,
            TermNode::Quantity { feature, window, .. } => {
                self.features.insert(*feature);
                if subsets::reads(self, plan, *feature) || self.periods(plan, *feature, *window) {
                    return;
                }
                self.window(*window, || "as events grow old".into());
            }
            TermNode::Completion { feature } => self.sequence(plan, *feature, AgeWindow::EVER),
            TermNode::RingEnd { feature, .. } | TermNode::FirstLast { feature, .. } => {
                self.features.insert(*feature);
            }
            TermNode::Score { feature } => {
                self.features.insert(*feature);
                self.time.insert("as the score fades".into());
            }
            TermNode::Arithmetic { left, right, .. } => [left, right].into_iter().for_each(|t| self.term(plan, *t)),
            TermNode::Calendar(term) => self.calendar_term(plan, term),
            TermNode::Age(of) => {
                self.time.insert(format!("as `{}` grows old", shown(plan, *of)));
                self.term(plan, *of);
            }
        }
    }

    fn sequence(&mut self, plan: &Plan, feature: FeatureId, window: AgeWindow) {
        self.features.insert(feature);
        self.window(window, || format!("{} after a completion", ages(window)));
        let FeatureKind::Sequence(sequence) = &plan.features[feature as usize].kind else { return };
        if let Some(absence) = sequence.absence {
            self.time.insert(format!("{absence} after `{}`", sequence.text));
        }
        match sequence.span() {
            // What completes a match within the window may have begun that much earlier.
            Some(span) if window != AgeWindow::EVER => {
                let age = if window.is_unbounded() { window.near } else { window.far };
                self.longest = self.longest.max(Some(Millis(age.0.saturating_add(span.0))));
            }
            Some(_) => {}
            None => self.ever = true,
        }
    }

    fn window(&mut self, window: AgeWindow, says: impl FnOnce() -> String) {
        if window == AgeWindow::EVER {
            self.ever = true;
            return;
        }
        self.ever |= window.is_unbounded() && window.near > Millis::ZERO;
        let age = if window.is_unbounded() { window.near } else { window.far };
        self.longest = Some(self.longest.map_or(age, |l| l.max(age)));
        self.time.insert(says());
    }
}

fn ages(window: AgeWindow) -> String {
    match (window.near, window.is_unbounded()) {
        (near, true) => near.to_string(),
        (Millis(0), false) => window.far.to_string(),
        (near, false) => format!("{near} and {}", window.far),
    }
}

/// A term in few words.
pub(super) fn shown(plan: &Plan, term: TermId) -> String {
    match &plan.terms[term as usize] {
        TermNode::Trait { index, .. } => format!("customer.{}", plan.workspace().catalogue.traits[index.at()].name),
        TermNode::CartChangedAt => "cart.changed_at".into(),
        TermNode::FirstSeen => "customer.first_seen".into(),
        TermNode::RingEnd { feature, newest } => {
            let of = plan.features[*feature as usize].selector.map_or("", |s| plan.selectors[s as usize].as_str());
            format!("{}({of})", if *newest { "last" } else { "first" })
        }
        TermNode::Completion { .. } => "a completion".into(),
        TermNode::FirstLast { feature, .. } => {
            let of = plan.features[*feature as usize].selector.map_or("", |s| plan.selectors[s as usize].as_str());
            format!("a property of ({of})")
        }
        TermNode::Calendar(calendar) => super::report_calendar::inner(calendar).map_or_else(|| "local".into(), |of| shown(plan, of)),
        _ => "a term".into(),
    }
}
