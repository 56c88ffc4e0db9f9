//! Random changes of definitions in the middle of random logs, against engines that ran the new definitions from the start.
//!
//! What is known of a customer must be what an engine knows that has seen everything; what is not known must make nobody a member. And how
//! the scan is cut, by applies, records and snapshots, must show in nothing.

use std::sync::Arc;

use super::against::{Feed, sort};
use super::scenario::{Scenario, Step};
use crate::engine::batch::Batch;
use crate::engine::output::{Outputs, Published};
use crate::engine::{Engine, Settings};
use crate::ids::DefinitionIndex;
use crate::lang::{CartPath, DefinitionKind, Expr, Path, SourceFile, Term, Workspace};
use crate::model::Cause;
use crate::plan::Plan;
use crate::segtest::words;
use crate::time::Timestamp;

/// What the passing scenarios consisted of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Changes of definitions.
    pub activations: u64,
    /// Changes that they published.
    pub published: u64,
    /// Looks at a customer and a segment after it: of which all was known / not.
    pub known: u64,
    pub unknown: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, rhs: Tally) {
        self.activations += rhs.activations;
        self.published += rhs.published;
        self.known += rhs.known;
        self.unknown += rhs.unknown;
    }
}

/// How the engine with the change is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// One customer of the scan per apply.
    Spread,
    /// All at once.
    AtOnce,
    /// As `Spread`, saved and loaded after each record.
    Reloads,
}

/// Runs the scenario of a seed with a change of its definitions somewhere in its log.
///
/// **Errors:** the first difference, in words; the seed repeats it.
pub fn check_seed(seed: u64) -> Result<Tally, String> {
    let scenario = Scenario::generate(seed);
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let items: Vec<String> = scenario.items.iter().map(ToString::to_string).collect();
    let sets: Vec<Arc<Plan>> = (0..3).filter_map(|_| set(&scenario, &items, &mut rng)).collect();
    let [old, new, ..] = sets.as_slice() else { return Ok(Tally::default()) };
    let cut = rng.usize(..=scenario.steps.len());
    let case = Case { scenario: &scenario, plans: [old.clone(), new.clone()], cut };
    let text = |e: String| format!("{e}\n\n{}\n# then, before step {cut}\n{}", case.describe(old), case.describe(new));
    case.check().map_err(text)
}

/// A random part of the definitions, some of them a little different. `None` where what is left refers to what is not.
fn set(scenario: &Scenario, items: &[String], rng: &mut fastrand::Rng) -> Option<Arc<Plan>> {
    let mut definitions = scenario.catalogue.clone();
    for item in items {
        match rng.u8(..8) {
            0 => continue,
            1..4 => definitions += &changed(item, rng),
            _ => definitions += item,
        }
        definitions.push('\n');
    }
    let compiled = crate::lang::compile(&[SourceFile::new("set.seg", definitions)]);
    compiled.workspace.map(|workspace| Arc::new(Plan::compile(Arc::new(workspace))))
}

/// The text with one of its numbers or words another.
fn changed(item: &str, rng: &mut fastrand::Rng) -> String {
    const OTHERS: [(&str, &str); 12] = [
        ("at least 1 ", "at least 2 "),
        ("at least 2 ", "at least 3 "),
        ("at least 3 ", "at least 1 "),
        ("any ", "at least 2 "),
        ("in last 5m", "in last 30m"),
        ("in last 10m", "in last 1h"),
        ("in last 1h", "in last 10m"),
        ("in last 1d", "in last 3d"),
        ("in last 3ms", "in last 20ms"),
        (" ever", " in last 1d"),
        ("exactly 1 ", "exactly 3 "),
        ("no ", "at most 2 "),
    ];
    let fitting: Vec<_> = OTHERS.iter().filter(|(a, _)| item.contains(a)).collect();
    if fitting.is_empty() {
        return item.to_owned();
    }
    let (a, b) = fitting[rng.usize(..fitting.len())];
    item.replacen(a, b, 1)
}

struct Case<'s> {
    scenario: &'s Scenario,
    plans: [Arc<Plan>; 2],
    /// Steps before the change.
    cut: usize,
}

impl Case<'_> {
    fn describe(&self, plan: &Plan) -> String {
        let workspace = plan.workspace();
        let shown = workspace.definitions.iter().map(|d| match &d.kind {
            DefinitionKind::Segment(s) => {
                let exit = s
                    .exit_when
                    .as_ref()
                    .map_or(String::new(), |e| format!(" exit when {}", crate::lang::display::condition(&**workspace, e)));
                format!("{}: when {}{exit}\n", d.name, crate::lang::display::condition(&**workspace, &s.when))
            }
            _ => format!("{}\n", d.name),
        });
        shown.collect()
    }

    fn check(&self) -> Result<Tally, String> {
        let mut tally = Tally::default();
        let spread = self.run(Way::Spread, Some(&mut tally))?;
        for way in [Way::AtOnce, Way::Reloads] {
            let other = self.run(way, None)?;
            if let Some(i) = (0..spread.0.len().max(other.0.len())).find(|i| spread.0.get(*i) != other.0.get(*i)) {
                let show = |p: Option<&Published>| p.map_or("nothing".into(), |p| format!("{} {:?}", words(p), p.change));
                return Err(format!("spread: {}\n{way:?}: {}", show(spread.0.get(i)), show(other.0.get(i))));
            }
            if spread.1 != other.1 {
                return Err(format!("the state differs at the end: {way:?}"));
            }
        }
        Ok(tally)
    }

    /// All changes in the order of readers, and the digest at the end. With a tally, compares with an engine that ran the new set always.
    fn run(&self, way: Way, mut tally: Option<&mut Tally>) -> Result<(Vec<Published>, u128), String> {
        let [old, new] = &self.plans;
        let settings = Settings { scan_customers: if way == Way::AtOnce { usize::MAX } else { 1 }, ..Settings::default() };
        let mut engine = Engine::new(old.clone(), settings.clone());
        let mut always = Engine::new(new.clone(), settings.clone());
        let (mut feed, mut feed_always) = (Feed::lenient(old), Feed::lenient(new));
        let (mut out, mut out_always) = (Outputs::default(), Outputs::default());
        let mut customers: Vec<&str> = Vec::new();
        let mut now = Timestamp::MIN;
        let mut batch = Batch::default();
        for (i, step) in self.scenario.steps.iter().enumerate().map(|(i, s)| (i, Some(s))).chain([(self.scenario.steps.len(), None)]) {
            if i == self.cut {
                engine.activate(new.clone(), now.max(engine.clock()), 7).map_err(|e| e.to_string())?;
                feed.follow(new);
                if way == Way::AtOnce {
                    engine.apply(&Batch::default(), None, &mut out);
                    engine.apply(&Batch::default(), None, &mut out);
                }
                if let Some(tally) = tally.as_deref_mut() {
                    tally.activations += 1;
                }
            }
            let (idle, compare) = match step {
                Some(Step::Record(record)) => {
                    now = now.max(record.at);
                    if !customers.contains(&record.customer.as_str()) {
                        customers.push(&record.customer);
                    }
                    batch.clear();
                    feed_always.push(record, &mut batch);
                    always.apply(&batch, None, &mut out_always);
                    batch.clear();
                    feed.push(record, &mut batch);
                    engine.apply(&batch, None, &mut out);
                    if way == Way::Reloads {
                        engine = self.reloaded(&engine, &settings)?;
                    }
                    if i < self.cut || i % 2 == 0 {
                        continue;
                    }
                    // What is due at this very millisecond has to be over to be compared.
                    (Some(now), true)
                }
                Some(Step::Clock(t)) => (Some(*t), true),
                Some(Step::Cut(_)) => continue,
                None => (None, false),
            };
            now = now.max(idle.unwrap_or(now));
            while !matches!(step, Some(Step::Record(_))) && engine.is_activating() {
                engine.apply(&Batch::default(), None, &mut out);
            }
            engine.apply(&Batch::default(), idle, &mut out);
            always.apply(&Batch::default(), idle, &mut out_always);
            if let Some(tally) = tally.as_deref_mut().filter(|_| compare && i >= self.cut && !engine.is_activating()) {
                for customer in &customers {
                    self.compare(&engine, &always, customer, tally).map_err(|e| format!("before step {i}: {e}"))?;
                }
            }
        }
        sort(&mut out.changes);
        if let Some(tally) = tally {
            let by_definition = [Cause::DefinitionCreated, Cause::DefinitionChanged, Cause::DefinitionDeleted];
            tally.published += out.changes.iter().filter(|p| by_definition.contains(&p.change.cause)).count() as u64;
        }
        Ok((out.changes, engine.digest()))
    }

    fn reloaded(&self, engine: &Engine, settings: &Settings) -> Result<Engine, String> {
        let mut bytes = Vec::new();
        engine.save(&mut bytes);
        let sets = Engine::sets_of(&bytes).map_err(|e| e.to_string())?;
        let plan = |edition| self.plans.iter().find(|plan| plan.edition() == edition).cloned();
        let now = plan(sets.now).ok_or("a set that is not known")?;
        let loaded = Engine::load_during_scan(now, sets.before.and_then(plan), settings.clone(), &bytes).map_err(|e| e.to_string())?;
        let mut again = Vec::new();
        loaded.save(&mut again);
        if again != bytes || loaded.digest() != engine.digest() || loaded.members() != engine.members() {
            return Err("what was saved and loaded is another engine".into());
        }
        Ok(loaded)
    }

    fn compare(&self, engine: &Engine, always: &Engine, customer: &str, tally: &mut Tally) -> Result<(), String> {
        let plan = engine.plan();
        let workspace = plan.workspace();
        let (is, should) = (engine.memberships(customer), always.memberships(customer));
        for (i, definition) in workspace.definitions.iter().enumerate() {
            let index = DefinitionIndex(i as u32);
            if !is_plain(workspace, index) {
                continue;
            }
            let member = is.iter().any(|m| *m.segment == *definition.name);
            let known = engine.is_known(customer, index);
            if known {
                tally.known += 1;
            } else {
                tally.unknown += 1;
            }
            if known && member != should.iter().any(|m| *m.segment == *definition.name) {
                return Err(format!(
                    "{customer} is {}a member of {}, unlike where the set was always in force\n{}\nalways:\n{}",
                    if member { "" } else { "no " },
                    definition.name,
                    engine.describe(customer),
                    always.describe(customer)
                ));
            }
            if !known && member {
                return Err(format!(
                    "{customer} is a member of {}, of which nothing is known\n{}",
                    definition.name,
                    engine.describe(customer)
                ));
            }
        }
        Ok(())
    }
}

/// Whether membership follows from the events alone: no exit condition, delay, dwell, or line property that is kept only once it is asked for.
fn is_plain(workspace: &Workspace, index: DefinitionIndex) -> bool {
    let DefinitionKind::Segment(s) = &workspace.definitions[index.at()].kind else { return false };
    let delays = [s.enter_after, s.exit_after, s.stay, s.cooldown, s.expire, s.settle];
    s.exit_when.is_none() && delays.iter().all(Option::is_none) && plain(workspace, &s.when)
}

fn plain(workspace: &Workspace, expr: &Expr) -> bool {
    match expr {
        Expr::And(all) | Expr::Or(all) => all.iter().all(|e| plain(workspace, e)),
        Expr::Not(of) => plain(workspace, of),
        Expr::HeldFor { .. } | Expr::Crossed { .. } => false,
        Expr::InSegment(index) => is_plain(workspace, *index),
        Expr::Has { of: Term::Path(Path::Cart(CartPath::Whole | CartPath::Items)), .. } => false,
        Expr::Compare { left, right, .. } => plain_term(workspace, left) && plain_term(workspace, right),
        Expr::Between { of, low, high } => [of, low, high].into_iter().all(|t| plain_term(workspace, t)),
        Expr::Member { of, .. } | Expr::HalfOpen { of, .. } => plain_term(workspace, of),
        _ => true,
    }
}

fn plain_term(workspace: &Workspace, term: &Term) -> bool {
    match term {
        Term::Points(index) => match &workspace.definitions[index.at()].kind {
            DefinitionKind::Points(points) => points.rules.iter().all(|(_, when)| plain(workspace, when)),
            _ => false,
        },
        Term::Stage(_) => false,
        Term::Arithmetic { left, right, .. } => plain_term(workspace, left) && plain_term(workspace, right),
        Term::Age(of) | Term::Band { of, .. } => plain_term(workspace, of),
        _ => true,
    }
}
