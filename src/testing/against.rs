//! Runs one scenario through the engine and through the oracle and says where they differ.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::oracle::{Oracle, same_value};
use super::scenario::{Cut, Scenario, Step, shrink};
use crate::engine::batch::Batch;
use crate::engine::output::{Outputs, Published};
use crate::engine::{Engine, Settings};
use crate::ids::{DefinitionIndex, InputIndex, Position};
use crate::lang::{DefinitionKind, SourceFile, Workspace};
use crate::model::{Cause, Membership};
use crate::plan::Plan;
use crate::segtest::script::{self, RecordStep, Script, ScriptTime};
use crate::segtest::words;
use crate::time::{Millis, Timestamp};
use crate::wire::json::Decoder;
use crate::wire::{DecodeOptions, RawRecord};

/// What a passing scenario consisted of; sums over many say whether the scenarios are worth their time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub records: u64,
    pub changes: u64,
    pub by_timer: u64,
    pub corrections: u64,
    pub dead_letters: u64,
    pub duplicates: u64,
    /// Flips by time alone whose instant `valid_until` said exactly / said too early, which is allowed and costs a wake-up.
    pub foretold: u64,
    pub foretold_early: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, rhs: Tally) {
        self.records += rhs.records;
        self.changes += rhs.changes;
        self.by_timer += rhs.by_timer;
        self.corrections += rhs.corrections;
        self.dead_letters += rhs.dead_letters;
        self.duplicates += rhs.duplicates;
        self.foretold += rhs.foretold;
        self.foretold_early += rhs.foretold_early;
    }
}

/// Compiles the scenario's text.
///
/// **Errors:** the diagnostics: a scenario that does not compile is a mistake of the generator or of the compiler.
pub fn compile(scenario: &Scenario) -> Result<Arc<Workspace>, String> {
    let compiled = crate::lang::compile(&[SourceFile::new("scenario.seg", scenario.definitions())]);
    let errors: Vec<_> = compiled.errors().map(|d| d.to_string()).collect();
    compiled.workspace.map(Arc::new).ok_or_else(|| format!("does not compile\n{}", errors.join("\n")))
}

/// Turns records of a script into batches, numbering them as one partition of one input.
pub struct Feed {
    decoder: Decoder,
    offset: i64,
}

impl Feed {
    pub fn new(plan: &Plan) -> Feed {
        Feed { decoder: Decoder::new(plan.schema().clone(), DecodeOptions::strict()), offset: 0 }
    }

    /// One that takes wrong values as unknown: what a set does not use is not looked at, so another set would see another fault.
    pub fn lenient(plan: &Plan) -> Feed {
        Feed { decoder: Decoder::new(plan.schema().clone(), Feed::options()), offset: 0 }
    }

    fn options() -> DecodeOptions {
        DecodeOptions { wrong_type: crate::wire::WrongType::Unknown, ..DecodeOptions::strict() }
    }

    /// Goes on with another set.
    pub fn follow(&mut self, plan: &Plan) {
        self.decoder = Decoder::new(plan.schema().clone(), Feed::options());
    }

    pub fn push(&mut self, record: &RecordStep, batch: &mut Batch) {
        let position = Position { input: InputIndex(0), partition: 0, offset: self.offset };
        self.offset += 1;
        let json = record.to_json();
        self.decoder.decode(&RawRecord { position, arrival: record.at, key: None, value: Some(json.as_bytes()) }, batch);
    }
}

/// Runs a script of records and moves of the clock alone; its expectations are the caller's to hold.
pub fn play(script: &Script, plan: &Arc<Plan>) -> (Engine, Outputs) {
    let (mut feed, mut engine, mut out) = (Feed::new(plan), Engine::new(plan.clone(), Settings::default()), Outputs::default());
    for line in &script.lines {
        let mut batch = Batch::default();
        let idle_until = match &line.step {
            script::Step::Record(record) => {
                feed.push(record, &mut batch);
                None
            }
            script::Step::Clock(t) => Some(*t),
            other => panic!("no place for {other:?} here"),
        };
        engine.apply(&batch, idle_until, &mut out);
    }
    (engine, out)
}

/// Runs both. A panic of either is a difference too.
///
/// **Errors:** the first difference, in words.
pub fn check(scenario: &Scenario) -> Result<Tally, String> {
    catch_unwind(AssertUnwindSafe(|| run(scenario))).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
        Err(format!("panicked: {}", message.unwrap_or_default()))
    })
}

/// Checks the scenario of a seed; where it fails, makes it small and returns what to paste, with what the oracle expects.
pub fn check_seed(seed: u64) -> Result<Tally, String> {
    let scenario = Scenario::generate(seed);
    check(&scenario).map_err(|first| {
        if compile(&scenario).is_err() {
            return format!("seed {seed}: the generator wrote what {first}\n{scenario}");
        }
        let small = shrink(scenario, 8_000, |s| compile(s).is_ok() && check(s).is_err());
        let difference = check(&small).expect_err("the shrunk scenario fails");
        format!(
            "seed {seed}: {first}\n\nmade small: {difference}\n\n--- as a .segtest, with what the oracle expects:\n{small}{}",
            expected(&small)
        )
    })
}

/// What the oracle gives, as `expect` lines.
fn expected(scenario: &Scenario) -> String {
    let changes = catch_unwind(AssertUnwindSafe(|| {
        let workspace = compile(scenario)?;
        let plan = Plan::compile(workspace.clone());
        let mut feed = Feed::new(&plan);
        let mut oracle = Oracle::new(workspace, plan.schema().clone(), Settings::default());
        let mut outputs = Outputs::default();
        for step in &scenario.steps {
            let mut batch = Batch::default();
            match step {
                Step::Record(record) => {
                    feed.push(record, &mut batch);
                    oracle.apply(&batch, None, &mut outputs);
                }
                Step::Clock(t) => oracle.apply(&batch, Some(*t), &mut outputs),
                Step::Cut(_) => {}
            }
        }
        sort(&mut outputs.changes);
        Ok::<_, String>(outputs.changes)
    }));
    match changes {
        Ok(Ok(changes)) if changes.is_empty() => "expect nothing\n".into(),
        Ok(Ok(changes)) => changes.iter().map(|p| format!("expect {}\n", words(p))).collect(),
        Ok(Err(e)) => format!("# {e}\n"),
        Err(_) => "# the oracle panicked\n".into(),
    }
}

pub fn sort(changes: &mut [Published]) {
    changes.sort_by(|a, b| {
        let key = |p: &Published| (p.change.decided_at, p.change.customer.clone(), p.change.seq);
        key(a).cmp(&key(b))
    });
}

struct Both {
    plan: Arc<Plan>,
    settings: Settings,
    /// Whether timers that the output budget has held back wait for the next batch instead of being asked for at once.
    herds_wait: bool,
    /// Some are waiting now: what came so far is not all.
    waiting: bool,
    engine: Engine,
    oracle: Oracle,
    batch: Batch,
    got: Outputs,
    want: Outputs,
    /// Clock at which each record was applied, by customer, for the check of `valid_until`.
    applied: Vec<(String, Timestamp, i64)>,
}

fn run(scenario: &Scenario) -> Result<Tally, String> {
    let workspace = compile(scenario)?;
    let plan = Arc::new(Plan::compile(workspace.clone()));
    let mut feed = Feed::new(&plan);
    let mut settings = Settings::default();
    if scenario.seed.is_multiple_of(3) {
        // Any output fills it: the smallest herd is cut (DESIGN.md 4).
        settings.output_budget = 1;
    }
    let mut both = Both {
        engine: Engine::new(plan.clone(), settings.clone()),
        oracle: Oracle::new(workspace.clone(), plan.schema().clone(), settings.clone()),
        plan,
        settings,
        herds_wait: scenario.seed.is_multiple_of(6),
        waiting: false,
        batch: Batch::default(),
        got: Outputs::default(),
        want: Outputs::default(),
        applied: Vec::new(),
    };
    let (mut all_got, mut all_want) = (Vec::new(), Vec::new());
    let mut tally = Tally::default();
    let mut customers: Vec<String> = Vec::new();
    for (i, step) in scenario.steps.iter().enumerate() {
        match step {
            Step::Record(record) => {
                if !customers.contains(&record.customer) {
                    customers.push(record.customer.clone());
                }
                feed.push(record, &mut both.batch);
            }
            Step::Clock(t) => both.idle(*t)?,
            Step::Cut(Cut::Batch) => both.apply(None)?,
            Step::Cut(Cut::Reload) => {
                both.apply(None)?;
                both.reload()?;
            }
            Step::Cut(Cut::Wake) => {
                both.apply(None)?;
                both.wake()?;
            }
        }
        if i + 1 == scenario.steps.len() {
            both.apply(None)?;
            both.drain(None);
        }
        if both.batch.records.is_empty() && !both.waiting {
            both.compare().map_err(|e| format!("after step {}: {e}", i + 1))?;
            tally += both.tally();
            all_got.append(&mut both.got.changes);
            all_want.append(&mut both.want.changes);
            (both.got, both.want) = (Outputs::default(), Outputs::default());
        }
    }
    for customer in &customers {
        // A look-up computes the fields as of now; the oracle has them as published.
        let bare = |mut all: Vec<Membership>| {
            all.iter_mut().for_each(|m| m.emit.clear());
            all
        };
        same_memberships(&bare(both.engine.memberships(customer)), &bare(both.oracle.memberships(customer)))?;
    }
    for (i, definition) in workspace.definitions.iter().enumerate() {
        if let DefinitionKind::Segment(_) = definition.kind {
            let want = customers.iter().filter(|c| both.oracle.memberships(c).iter().any(|m| *m.segment == *definition.name)).count();
            let got = both.engine.members_of(DefinitionIndex(i as u32));
            if got != want as u64 {
                return Err(format!("{} counts {got} members, not {want}", definition.name));
            }
        }
    }
    if both.engine.customers() != both.oracle.customers() {
        return Err(format!("{} customers, not {}", both.engine.customers(), both.oracle.customers()));
    }
    sort(&mut all_got);
    let (exact, early) = foretold(&all_got, &both.applied)?;
    tally.foretold += exact;
    tally.foretold_early += early;
    Ok(tally)
}

impl Both {
    fn apply(&mut self, idle_until: Option<Timestamp>) -> Result<(), String> {
        let batch = std::mem::take(&mut self.batch);
        let mut clock = self.engine.clock();
        for record in &batch.records {
            clock = clock.max(record.arrival);
            self.applied.push((batch.text(record.customer).to_string(), clock, record.position.offset));
        }
        let mut applied = self.engine.apply(&batch, idle_until, &mut self.got);
        self.waiting = applied.cursor.is_some();
        if self.waiting && !(self.herds_wait && idle_until.is_none()) {
            applied = self.drain(idle_until);
        }
        self.oracle.apply(&batch, idle_until, &mut self.want);
        if (applied.clock, self.engine.clock()) != (self.oracle.clock(), self.oracle.clock()) {
            let (got, own, want) = (ScriptTime(applied.clock), ScriptTime(self.engine.clock()), ScriptTime(self.oracle.clock()));
            return Err(format!("the clock stands at {got} (the engine says {own}), not at {want}"));
        }
        Ok(())
    }

    /// Lets all timers fire that the output budget holds back.
    fn drain(&mut self, idle_until: Option<Timestamp>) -> crate::engine::output::Applied {
        let mut rounds = 0;
        loop {
            let applied = self.engine.apply(&Batch::default(), idle_until, &mut self.got);
            rounds += 1;
            assert!(rounds < 10_000, "the herd never ends: {applied:?}");
            if applied.cursor.is_none() {
                self.waiting = false;
                return applied;
            }
        }
    }

    /// An idle move may not overtake what the engine itself asked to be woken for.
    fn idle(&mut self, t: Timestamp) -> Result<(), String> {
        self.apply(None)?;
        self.drain(None);
        let (wake, seen) = (self.engine.next_wake(), self.want.changes.len());
        self.apply(Some(t))?;
        let first = self.want.changes[seen..].iter().map(|p| p.change.decided_at).min();
        if let Some(first) = first
            && wake.is_none_or(|wake| wake > first)
        {
            let wake = wake.map_or("never".into(), |w| ScriptTime(w).to_string());
            return Err(format!("a timer is due at {}, but the engine wants to be woken {wake}", ScriptTime(first)));
        }
        Ok(())
    }

    /// Waking it without reason, or for nothing, changes nothing that lasts.
    fn wake(&mut self) -> Result<(), String> {
        self.drain(None);
        let before = (self.engine.digest(), self.engine.clock());
        let now = self.engine.clock();
        let early = self.engine.next_wake().map_or(now, |w| now.max(w - Millis(1)).min(now + Millis::DAY));
        for until in [None, Some(now - Millis(1)), Some(early)] {
            let mut outputs = Outputs::default();
            if until == Some(early) && early == now {
                continue;
            }
            let applied = self.engine.apply(&Batch::default(), until, &mut outputs);
            let after = (self.engine.digest(), self.engine.clock());
            if !outputs.changes.is_empty() || applied.changed || before != after {
                return Err(format!("a wake-up without reason changed the state (idle until {until:?})"));
            }
        }
        Ok(())
    }

    fn reload(&mut self) -> Result<(), String> {
        let mut bytes = Vec::new();
        self.engine.save(&mut bytes);
        let loaded =
            Engine::load(self.plan.clone(), self.settings.clone(), &bytes).map_err(|e| format!("cannot load what was saved: {e}"))?;
        if loaded.digest() != self.engine.digest() {
            return Err("the digest changed by save and load".into());
        }
        let mut again = Vec::new();
        loaded.save(&mut again);
        if again != bytes {
            return Err("saving what was loaded gives other bytes".into());
        }
        self.engine = loaded;
        Ok(())
    }

    fn compare(&mut self) -> Result<(), String> {
        sort(&mut self.got.changes);
        sort(&mut self.want.changes);
        let (got, want) = (&self.got, &self.want);
        let n = got.changes.len().max(want.changes.len());
        for i in 0..n {
            match (got.changes.get(i), want.changes.get(i)) {
                (Some(got), Some(want)) => same_change(got, want)?,
                (Some(got), None) => return Err(format!("not expected: {} ({:?})", words(got), got.change)),
                (None, Some(want)) => return Err(format!("missing: {}", words(want))),
                (None, None) => {}
            }
        }
        let letters = |o: &Outputs| {
            let mut all: Vec<_> = o.dead_letters.iter().map(|d| (d.position, d.reason)).collect();
            all.sort();
            all
        };
        if letters(got) != letters(want) {
            return Err(format!("dead letters {:?}, not {:?}", letters(got), letters(want)));
        }
        for (what, got, want) in [
            ("duplicates", got.counts.duplicates, want.counts.duplicates),
            ("conflicts", got.counts.conflicts, want.counts.conflicts),
            ("records", got.counts.records, want.counts.records),
            ("new customers", got.counts.new_customers, want.counts.new_customers),
        ] {
            if got != want {
                return Err(format!("{got} {what} counted, not {want}"));
            }
        }
        Ok(())
    }

    fn tally(&self) -> Tally {
        let count = |f: &dyn Fn(&Published) -> bool| self.want.changes.iter().filter(|p| f(p)).count() as u64;
        Tally {
            records: self.want.counts.records,
            changes: count(&|_| true),
            by_timer: count(&|p| p.change.cause == Cause::Timer),
            corrections: count(&|p| p.change.corrects.is_some()),
            dead_letters: self.want.dead_letters.len() as u64,
            duplicates: self.want.counts.duplicates,
            ..Tally::default()
        }
    }
}

/// All fields but the reason, which is text, and `valid_until`, for which see [`foretold`].
fn same_change(got: &Published, want: &Published) -> Result<(), String> {
    let (g, w) = (&got.change, &want.change);
    let mut wrong = Vec::new();
    let mut check = |field: &str, same: bool, got: String, want: String| {
        if !same {
            wrong.push(format!("{field} is {got}, not {want}"));
        }
    };
    check("customer", g.customer == w.customer, g.customer.to_string(), w.customer.to_string());
    check("segment", g.segment == w.segment, g.segment.to_string(), w.segment.to_string());
    check("change", g.kind == w.kind, g.kind.word().into(), w.kind.word().into());
    check("seq", g.seq == w.seq, g.seq.to_string(), w.seq.to_string());
    check("version", g.version == w.version, g.version.to_string(), w.version.to_string());
    check("since", g.since == w.since, ScriptTime(g.since).to_string(), ScriptTime(w.since).to_string());
    check("decided_at", g.decided_at == w.decided_at, ScriptTime(g.decided_at).to_string(), ScriptTime(w.decided_at).to_string());
    check("cause", g.cause == w.cause, g.cause.word().into(), w.cause.word().into());
    check("cause_event", g.cause_event == w.cause_event, format!("{:?}", g.cause_event), format!("{:?}", w.cause_event));
    check("corrects", g.corrects == w.corrects, format!("{:?}", g.corrects), format!("{:?}", w.corrects));
    check("approx", g.approx == w.approx, g.approx.to_string(), w.approx.to_string());
    check("change_id", g.change_id == w.change_id, g.change_id.to_string(), w.change_id.to_string());
    let emit = g.emit.len() == w.emit.len() && g.emit.iter().zip(&w.emit).all(|((n, a), (m, b))| n == m && same_value(a, b));
    check("emit", emit, format!("{:?}", g.emit), format!("{:?}", w.emit));
    let memberships = |p: &Published| p.membership.iter().cloned().collect::<Vec<_>>();
    let same = same_memberships(&memberships(got), &memberships(want));
    check("membership", same.is_ok(), format!("{:?}", got.membership), format!("{:?}", want.membership));
    if wrong.is_empty() { Ok(()) } else { Err(format!("expected {}\n  came {}\n  {}", words(want), words(got), wrong.join("\n  "))) }
}

fn same_memberships(got: &[Membership], want: &[Membership]) -> Result<(), String> {
    let same = got.len() == want.len()
        && got.iter().zip(want).all(|(g, w)| {
            let emit = g.emit.len() == w.emit.len() && g.emit.iter().zip(&w.emit).all(|((n, a), (m, b))| n == m && same_value(a, b));
            emit && (&g.customer, &g.segment, &g.stage, g.since, g.version) == (&w.customer, &w.segment, &w.stage, w.since, w.version)
        });
    if same { Ok(()) } else { Err(format!("memberships are {got:?}, not {want:?}")) }
}

/// `valid_until` is the first instant at which a membership *may* flip without a record: where it then does flip by time with no record
/// of that customer between, the change before it must have named that instant or an earlier one. Returns how many were exact and early.
fn foretold(changes: &[Published], applied: &[(String, Timestamp, i64)]) -> Result<(u64, u64), String> {
    let (mut exact, mut early) = (0, 0);
    for (i, published) in changes.iter().enumerate() {
        let change = &published.change;
        if change.valid_until.is_some_and(|until| until < change.decided_at) {
            return Err(format!("{}: valid_until {:?} is before the decision", words(published), change.valid_until));
        }
        let next = changes[i + 1..].iter().find(|p| p.change.segment == change.segment && p.change.customer == change.customer);
        let Some(next) = next.filter(|n| n.change.cause == Cause::Timer) else { continue };
        let own = change.cause_event.as_ref().map(|c| c.position.offset);
        let between = |(customer, at, offset): &&(String, Timestamp, i64)| {
            **customer == *change.customer && (change.decided_at..=next.change.decided_at).contains(at) && Some(*offset) != own
        };
        if applied.iter().find(between).is_some() {
            continue;
        }
        match change.valid_until {
            Some(until) if until == next.change.since => exact += 1,
            Some(until) if until < next.change.since => early += 1,
            until => {
                let until = until.map_or("never".to_string(), |t| ScriptTime(t).to_string());
                return Err(format!("{}: valid until {until}, but then {}", words(published), words(next)));
            }
        }
    }
    Ok((exact, early))
}
