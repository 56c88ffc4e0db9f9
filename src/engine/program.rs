//! A plan made ready for one engine: how each feature is kept under the engine's settings, what each condition loads, and which segments a
//! new customer has to be asked about.

use std::sync::Arc;

use super::Settings;
use super::calendar;
use super::cart::{Cart, CartPlan};
use super::evaluate::Work;
use super::features::distinct::DistinctPlan;
use super::features::extremes::{Extreme, ExtremesPlan};
use super::features::keyed::KeyedSpec;
use super::features::log::LogPlan;
use super::features::{
    Counter, Distinct, Extremes, FirstLast, InSession, Keep, Keyed, Lists, Log, Periods, PeriodsPlan, Reader, Ring, Sequence, SequenceSpec,
    Session, Since,
};
use super::score::{Score, ScorePlan, decimal_to_f64};
use crate::lang::definition::{DefinitionKind, Which};
use crate::limits::CROSSINGS_MAX;
use crate::model::Currency;
use crate::plan::Plan;
use crate::plan::calendar::{Axis, CalendarTerm, ZoneRef};
use crate::plan::feature::{Feature, FeatureId, FeatureKind};
use crate::plan::node::{Node, NodeId, SegmentUnit, TermId, TermNode, UnitId, UnitKind};
use crate::plan::window::AgeWindow;
use crate::time::{Millis, Timestamp};

/// The same for every customer; never changed while the engine runs.
pub struct Program {
    pub plan: Arc<Plan>,
    pub settings: Settings,
    /// By feature.
    pub specs: Vec<Spec>,
    /// By node: the features that it reads itself.
    pub loads: Vec<Box<[FeatureId]>>,
    /// By term.
    pub term_loads: Vec<Box<[FeatureId]>>,
    /// By term: what changes at most by the calendar.
    pub steps_seldom: Vec<bool>,
    /// By node: the units that its terms read, which turn by themselves.
    pub beneath: Vec<Box<[UnitId]>>,
    /// The feature that is the cart, after those of the plan.
    pub cart: FeatureId,
    /// What ends a session.
    pub session_gap: Millis,
    /// List records, after the cart.
    pub lists: FeatureId,
    pub home: Currency,
    /// By definition: its name, shared by all its changes.
    pub names: Vec<Arc<str>>,
    /// Units that can hold, or become due, without any of the records they read: asked of every new customer.
    pub initial: Vec<UnitId>,
    /// Some segment may have to remember a change that settles or a block.
    pub waits: bool,
}

/// How a feature is kept.
pub enum Spec {
    Counter {
        sum: bool,
    },
    Ring {
        keep: Keep,
        capacity: usize,
    },
    Log(LogPlan),
    Extremes(ExtremesPlan),
    Distinct(DistinctPlan),
    FirstLast {
        which: Which,
        values: bool,
    },
    Score(ScorePlan),
    Sequence(SequenceSpec),
    Periods {
        plan: PeriodsPlan,
        axis: Axis,
    },
    Cart(CartPlan),
    Session {
        gap: Millis,
    },
    /// One of the kind within, of the current session.
    InSession(Box<Spec>),
    /// After a mark.
    Since(Box<Spec>),
    /// Per key.
    Keyed(Box<KeyedSpec>),
    Lists,
}

/// A feature of the customer at hand.
pub enum State {
    Counter(Counter),
    Ring(Ring),
    Log(Log),
    Extremes(Extremes),
    Distinct(Distinct),
    FirstLast(FirstLast),
    Score(Score),
    Sequence(Sequence),
    Periods(Periods),
    Cart(Cart),
    Session(Session),
    InSession(InSession),
    Since(Since),
    Keyed(Keyed),
    Lists(Lists),
}

impl Program {
    pub fn new(plan: Arc<Plan>, settings: Settings) -> Program {
        let catalogue = &plan.workspace().catalogue;
        let home = catalogue.workspace.currency;
        let buffers = catalogue.cart.iter().filter_map(|rule| catalogue.events[rule.event.at()].lateness);
        let buffer_max = buffers.chain([settings.reorder_buffer]).max().unwrap_or_default();
        let mut specs: Vec<Spec> = plan.features.iter().map(|f| spec(&plan, f, &settings)).collect();
        super::sequences::watch(&plan, &settings, &mut specs);
        let mut specs: Vec<Spec> =
            plan.features.iter().zip(horizons(&plan)).zip(specs).map(|((f, horizon), spec)| wrapped(f, horizon, spec)).collect();
        let session_gap = settings.session_gap.unwrap_or(catalogue.workspace.session_gap);
        let cart = specs.len() as FeatureId;
        specs.push(Spec::Cart(CartPlan { home, buffer_max }));
        let lists = specs.len() as FeatureId;
        specs.push(Spec::Lists);
        let term_loads = (0..plan.terms.len()).map(|t| Loads::default().term(&plan, cart, t as TermId).done()).collect();
        let steps_seldom = (0..plan.terms.len()).map(|t| calendar::steps_seldom(&plan, t as TermId)).collect();
        let loads = plan.nodes.iter().map(|n| Loads::default().node(&plan, cart, &n.node).done()).collect();
        let names = plan.workspace().definitions.iter().map(|d| d.name.as_str().into()).collect();
        let beneath = plan.nodes.iter().map(|n| super::terms::units_beneath(&plan, &n.node)).collect();
        let mut program = Program {
            names,
            plan,
            settings,
            specs,
            loads,
            term_loads,
            beneath,
            steps_seldom,
            cart,
            lists,
            session_gap,
            home,
            initial: Vec::new(),
            waits: false,
        };
        program.waits = program.plan.units.iter().any(|unit| matches!(unit.kind, UnitKind::Waiting { .. }));
        program.initial = program.ask_of_nobody();
        program
    }

    /// Units that a customer without any state is, or will be, in.
    fn ask_of_nobody(&self) -> Vec<UnitId> {
        let mut work = Work::new(self);
        work.customer.reset(Timestamp(0));
        work.generation += 1;
        work.new_pass();
        let open = |node: NodeId| self.plan.nodes[node as usize].open;
        let units = 0..self.plan.units.len() as UnitId;
        units
            .filter(|unit| {
                let open = match &self.plan.units[*unit as usize].kind {
                    UnitKind::Dwell { operand } | UnitKind::Keys { of: operand } => open(*operand),
                    UnitKind::ExitDelay { .. } | UnitKind::Waiting { .. } => return false,
                    UnitKind::Segment(segment) => open(segment.enter),
                    UnitKind::Stages(stages) => stages.stages.iter().any(|(_, when)| open(*when)),
                };
                let wants = work.wants(self, *unit, false, Timestamp(0));
                open || wants.holds || wants.until != Timestamp::MAX
            })
            .collect()
    }

    /// Features that a segment's conditions read, those of what it refers to included; ascending.
    pub fn reads(&self, segment: &SegmentUnit) -> Vec<FeatureId> {
        let (mut features, mut seen) = (Vec::new(), vec![false; self.plan.nodes.len()]);
        let mut open: Vec<NodeId> = segment.exit.into_iter().chain([segment.enter]).collect();
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut seen[id as usize], true) {
                continue;
            }
            features.extend_from_slice(&self.loads[id as usize]);
            match &self.plan.nodes[id as usize].node {
                Node::And(all) | Node::Or(all) => open.extend_from_slice(all),
                Node::Not(of) | Node::Held { operand: of, .. } => open.push(*of),
                Node::InSegment { unit, .. } => match &self.plan.units[*unit as usize].kind {
                    UnitKind::Segment(segment) => open.extend(segment.exit.into_iter().chain([segment.enter])),
                    UnitKind::Dwell { operand } | UnitKind::ExitDelay { operand, .. } | UnitKind::Keys { of: operand } => {
                        open.push(*operand)
                    }
                    UnitKind::Waiting { .. } | UnitKind::Stages(_) => {}
                },
                _ => {}
            }
            for unit in &self.beneath[id as usize] {
                match &self.plan.units[*unit as usize].kind {
                    UnitKind::Segment(segment) => open.extend(segment.exit.into_iter().chain([segment.enter])),
                    UnitKind::Stages(stages) => open.extend(stages.stages.iter().map(|(_, when)| *when)),
                    _ => {}
                }
            }
        }
        features.sort_unstable();
        features.dedup();
        features
    }
}

/// How a feature is kept, inside of its session, mark and keys.
fn spec(plan: &Plan, feature: &Feature, settings: &Settings) -> Spec {
    match &feature.kind {
        FeatureKind::Session => Spec::Session { gap: settings.session_gap.unwrap_or(plan.workspace().catalogue.workspace.session_gap) },
        FeatureKind::Log { values, extremes, .. } if feature.within.since.is_some() => {
            Spec::Log(LogPlan::since_mark(*values, *extremes, settings.exact_entries))
        }
        FeatureKind::Counter { sum } => Spec::Counter { sum: *sum },
        FeatureKind::Ring { keep, capacity } => Spec::Ring { keep: *keep, capacity: *capacity },
        FeatureKind::Log { windows, thin: Some(capacity), .. } => Spec::Log(LogPlan::thinned(windows[0], *capacity)),
        FeatureKind::Log { windows, values, extremes, thin: None } => {
            Spec::Log(LogPlan::new(windows, *values, *extremes, settings.exact_entries))
        }
        FeatureKind::Extremes { max, windows } => {
            let which = if *max { Extreme::Max } else { Extreme::Min };
            Spec::Extremes(ExtremesPlan::new(which, windows, settings.exact_entries))
        }
        FeatureKind::Distinct { keep, windows, bound } => Spec::Distinct(match bound {
            Some(capacity) => DistinctPlan::against_constants(*keep, windows, *capacity),
            None => DistinctPlan::open(*keep, windows, settings.exact_entries),
        }),
        FeatureKind::FirstLast { which, properties } => Spec::FirstLast { which: *which, values: !properties.is_empty() },
        FeatureKind::Sequence(sequence) => Spec::Sequence(SequenceSpec { plan: sequence.clone(), buffer_max: settings.reorder_buffer }),
        FeatureKind::Crossings { .. } => Spec::Ring { keep: Keep::Newest, capacity: CROSSINGS_MAX },
        FeatureKind::Score { definition } => match &plan.workspace().definitions[definition.at()].kind {
            DefinitionKind::Score(score) => {
                Spec::Score(ScorePlan { half_life: score.half_life, cap: score.cap.map(|cap| decimal_to_f64(cap.0)) })
            }
            _ => panic!("feature of a score that is none: {definition}"),
        },
        FeatureKind::Periods { axis, keep, values, bound } => {
            // A customer who moves can fall back by a day or two: one zone is 26 hours before another.
            let slack = if axis.zone() == ZoneRef::Customer { 2 } else { 0 };
            let plan =
                PeriodsPlan { values: *values, keep: i64::from(*keep) + slack, bound: *bound, exact_entries: settings.exact_entries };
            Spec::Periods { plan, axis: *axis }
        }
    }
}

fn wrapped(feature: &Feature, horizon: Option<Millis>, inner: Spec) -> Spec {
    let within = &feature.within;
    let spec = match within.key {
        Some(_) => Spec::Keyed(Box::new(KeyedSpec { inner, horizon })),
        None => inner,
    };
    match (within.session, within.since) {
        (true, _) => Spec::InSession(Box::new(spec)),
        (_, Some(_)) => Spec::Since(Box::new(spec)),
        _ => spec,
    }
}

/// By feature: the age from which on no condition can see an entry.
fn horizons(plan: &Plan) -> Vec<Option<Millis>> {
    let of_nodes = plan.nodes.iter().filter_map(|n| match &n.node {
        Node::Quantity { feature, window, .. } => Some((*feature, *window)),
        // Of one without a limit to its length, nothing could be known for ever after a longer window is asked for.
        Node::Sequence { feature, window } => Some((*feature, if spans_without_end(plan, *feature) { AgeWindow::EVER } else { *window })),
        _ => None,
    });
    let of_terms = plan.terms.iter().filter_map(|t| match t {
        TermNode::Quantity { feature, window, .. } => Some((*feature, *window)),
        TermNode::Completion { feature } => Some((*feature, AgeWindow::EVER)),
        _ => None,
    });
    let mut all = vec![None; plan.features.len()];
    for (feature, window) in of_nodes.chain(of_terms) {
        let far = &mut all[feature as usize];
        *far = Some(far.map_or(window.far, |known: Millis| known.max(window.far)));
    }
    all.into_iter().map(|far| far.filter(|far| far.0 < i64::MAX)).collect()
}

fn spans_without_end(plan: &Plan, feature: FeatureId) -> bool {
    matches!(&plan.features[feature as usize].kind, FeatureKind::Sequence(sequence) if sequence.span().is_none())
}

/// Collects what a condition reads.
#[derive(Default)]
struct Loads {
    features: Vec<FeatureId>,
}

impl Loads {
    fn node(mut self, plan: &Plan, cart: FeatureId, node: &Node) -> Loads {
        match node {
            Node::Quantity { feature, .. } | Node::FirstSince { feature } => self.whole(plan, *feature),
            Node::Score { feature, .. } | Node::Sequence { feature, .. } => self.features.push(*feature),
            Node::SomeKey { feature, of } => {
                self.whole(plan, *feature);
                return self.node(plan, cart, &plan.nodes[*of as usize].node);
            }
            Node::InSession { session, .. } => self.features.push(*session),
            Node::CartEmpty | Node::CartHas(_) => self.features.push(cart),
            // List records stand next to the cart.
            Node::InList(_) => self.features.push(cart + 1),
            Node::Calendar(calendar) => self.features.extend(calendar.feature()),
            _ => {}
        }
        node.terms().fold(self, |loads, term| loads.term(plan, cart, term))
    }

    /// The same of a condition with all its operands.
    fn deep(self, plan: &Plan, cart: FeatureId, node: NodeId) -> Loads {
        match &plan.nodes[node as usize].node {
            Node::And(all) | Node::Or(all) => all.iter().fold(self, |loads, n| loads.deep(plan, cart, *n)),
            Node::Not(of) | Node::Held { operand: of, .. } => self.deep(plan, cart, *of),
            leaf => self.node(plan, cart, leaf),
        }
    }

    fn term(mut self, plan: &Plan, cart: FeatureId, term: TermId) -> Loads {
        match &plan.terms[term as usize] {
            TermNode::Quantity { feature, .. } => self.whole(plan, *feature),
            TermNode::Completion { feature }
            | TermNode::Crossing { feature, .. }
            | TermNode::RingEnd { feature, .. }
            | TermNode::FirstLast { feature, .. }
            | TermNode::Score { feature } => self.features.push(*feature),
            TermNode::CartValue | TermNode::CartQuantity | TermNode::CartItems | TermNode::CartChangedAt => self.features.push(cart),
            TermNode::Arithmetic { left, right, .. } => return self.term(plan, cart, *left).term(plan, cart, *right),
            TermNode::Age(of) | TermNode::Band { of, .. } | TermNode::Calendar(CalendarTerm::Midnight { of, .. }) => {
                return self.term(plan, cart, *of);
            }
            TermNode::Points(rules) => return rules.iter().fold(self, |loads, (_, node)| loads.deep(plan, cart, *node)),
            TermNode::Literal(_)
            | TermNode::Trait { .. }
            | TermNode::FirstSeen
            | TermNode::Bucket(_)
            | TermNode::Stage { .. }
            | TermNode::Key { .. }
            | TermNode::Calendar(CalendarTerm::Local { .. } | CalendarTerm::Band { .. }) => {}
        }
        self
    }

    /// A feature with the session that it depends on.
    fn whole(&mut self, plan: &Plan, feature: FeatureId) {
        self.features.push(feature);
        if plan.features[feature as usize].within.session {
            self.features.extend(plan.session);
        }
    }

    fn done(mut self) -> Box<[FeatureId]> {
        self.features.sort_unstable();
        self.features.dedup();
        self.features.into()
    }
}

impl State {
    pub fn new(spec: &Spec) -> State {
        match spec {
            Spec::Counter { .. } => State::Counter(Counter::default()),
            Spec::Ring { .. } => State::Ring(Ring::default()),
            Spec::Log(_) => State::Log(Log::default()),
            Spec::Extremes(_) => State::Extremes(Extremes::default()),
            Spec::Distinct(_) => State::Distinct(Distinct::default()),
            Spec::FirstLast { .. } => State::FirstLast(FirstLast::default()),
            Spec::Score(_) => State::Score(Score::default()),
            Spec::Sequence(_) => State::Sequence(Sequence::default()),
            Spec::Periods { .. } => State::Periods(Periods::default()),
            Spec::Cart(_) => State::Cart(Cart::default()),
            Spec::Session { .. } => State::Session(Session::default()),
            Spec::InSession(inner) => State::InSession(InSession::new(inner)),
            Spec::Since(inner) => State::Since(Since::new(inner)),
            Spec::Keyed(_) => State::Keyed(Keyed::default()),
            Spec::Lists => State::Lists(Lists::default()),
        }
    }

    /// Becomes the state of a customer for whom nothing is kept.
    pub fn clear(&mut self) {
        match self {
            State::Counter(s) => *s = Counter::default(),
            State::Ring(s) => s.clear(),
            State::Log(s) => s.clear(),
            State::Extremes(s) => s.clear(),
            State::Distinct(s) => s.clear(),
            State::FirstLast(s) => s.clear(),
            State::Score(s) => *s = Score::default(),
            State::Sequence(s) => s.clear(),
            State::Periods(s) => s.clear(),
            State::Cart(s) => s.clear(),
            State::Session(s) => *s = Session::default(),
            State::InSession(s) => s.clear(),
            State::Since(s) => s.clear(),
            State::Keyed(s) => s.clear(),
            State::Lists(s) => s.clear(),
        }
    }

    /// Drops what is not younger than `ts`; returns whether there was anything. Only kinds that [`Since`] wraps have any.
    pub fn keep_after(&mut self, spec: &Spec, ts: Timestamp) -> bool {
        match (self, spec) {
            (State::Ring(s), _) => s.keep_after(ts),
            (State::Log(s), _) => s.keep_after(ts),
            (State::Distinct(s), _) => s.keep_after(ts),
            (State::Sequence(s), Spec::Sequence(spec)) => {
                s.mark(&spec.plan, ts);
                // Without a look, so that it is the same however far the sequence has settled.
                true
            }
            (State::Keyed(s), Spec::Keyed(spec)) => s.change_all(|inner| inner.keep_after(&spec.inner, ts)),
            _ => panic!("a feature that no mark takes entries from"),
        }
    }

    /// The youngest instant that anything is kept of; `None` of nothing, and of kinds that do not tell.
    pub fn newest(&self) -> Option<Timestamp> {
        match self {
            State::Ring(s) => s.newest(),
            State::Log(s) => s.newest(),
            State::Distinct(s) => s.newest(),
            State::Extremes(s) => s.newest(),
            State::Sequence(s) => s.youngest(),
            _ => None,
        }
    }

    pub fn decode(&mut self, spec: &Spec, base: Timestamp, bytes: &[u8]) {
        let mut reader = Reader::new(bytes);
        self.decode_from(spec, base, &mut reader);
        debug_assert!(!reader.failed(), "state that the engine wrote itself reads back");
    }

    pub fn decode_from(&mut self, spec: &Spec, base: Timestamp, reader: &mut Reader<'_>) {
        match (self, spec) {
            (State::Counter(s), Spec::Counter { sum }) => *s = Counter::decode(*sum, reader),
            (State::Ring(s), Spec::Ring { .. }) => s.decode(base, reader),
            (State::Log(s), Spec::Log(plan)) => s.decode(plan, base, reader),
            (State::Extremes(s), Spec::Extremes(plan)) => s.decode(plan, base, reader),
            (State::Distinct(s), Spec::Distinct(plan)) => s.decode(plan, base, reader),
            (State::FirstLast(s), Spec::FirstLast { values, .. }) => s.decode(base, *values, reader),
            (State::Score(s), Spec::Score(_)) => *s = Score::decode(base, reader),
            (State::Sequence(s), Spec::Sequence(spec)) => s.decode(spec, base, reader),
            (State::Cart(s), Spec::Cart(plan)) => s.decode(plan, base, reader),
            (State::Lists(s), Spec::Lists) => s.decode(base, reader),
            (State::Session(s), Spec::Session { .. }) => *s = Session::decode(base, reader),
            (State::InSession(s), Spec::InSession(inner)) => s.decode(inner, base, reader),
            (State::Since(s), Spec::Since(inner)) => s.decode(inner, base, reader),
            (State::Keyed(s), Spec::Keyed(spec)) => s.decode(spec, base, reader),
            (State::Periods(s), Spec::Periods { plan, .. }) => s.decode(plan, reader),
            _ => panic!("a feature's state is of another kind than its specification"),
        }
    }

    pub fn encode(&self, spec: &Spec, base: Timestamp, out: &mut Vec<u8>) {
        match (self, spec) {
            (State::Counter(s), Spec::Counter { sum }) => s.encode(*sum, out),
            (State::Ring(s), Spec::Ring { .. }) => s.encode(base, out),
            (State::Log(s), Spec::Log(plan)) => s.encode(plan, base, out),
            (State::Extremes(s), Spec::Extremes(plan)) => s.encode(plan, base, out),
            (State::Distinct(s), Spec::Distinct(plan)) => s.encode(plan, base, out),
            (State::FirstLast(s), Spec::FirstLast { values, .. }) => s.encode(base, *values, out),
            (State::Score(s), Spec::Score(_)) => s.encode(base, out),
            (State::Sequence(s), Spec::Sequence(spec)) => s.encode(spec, base, out),
            (State::Periods(s), Spec::Periods { plan, .. }) => s.encode(plan, out),
            (State::Cart(s), Spec::Cart(plan)) => s.encode(plan, base, out),
            (State::Session(s), Spec::Session { .. }) => s.encode(base, out),
            (State::InSession(s), Spec::InSession(inner)) => s.encode(inner, base, out),
            (State::Since(s), Spec::Since(inner)) => s.encode(inner, base, out),
            (State::Keyed(s), Spec::Keyed(spec)) => s.encode(spec, base, out),
            (State::Lists(s), Spec::Lists) => s.encode(base, out),
            _ => panic!("a feature's state is of another kind than its specification"),
        }
    }
}
