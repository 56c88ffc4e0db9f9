//! Several workers on one [`Broker`] in virtual time, with processes that die, sleep and come back, and a check of what they leave behind.
//!
//! **The check** trusts nothing of the pipeline but the format of the journal: it reads the committed journal of each shard, takes from the
//! inputs what it names, runs one engine over it, and compares every record of changes, memberships and dead letters, one by one. None
//! missing, none twice, and every input record in exactly one batch.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::broker::{Broker, Partition, Stored, TransactionId};
use super::client::{Faults, MemoryClient};
use crate::engine::output::{Outputs, Published};
use crate::engine::{Batch, Engine};
use crate::ids::{BatchNumber, Edition, InputIndex, Position, SetHash, ShardId};
use crate::model::ZoneDatabase;
use crate::pipeline::{Client, Committed, Event, Fault, Next, Notice, Output, Settings, Sink, Worker};
use crate::plan;
use crate::time::{Millis, Timestamp};
use crate::wire::encode::{self, ChangeRecord};
use crate::wire::{DecodeOptions, Partitioner, RawRecord, json};

/// A record that somebody writes to an input.
#[derive(Clone, Debug)]
pub struct Planned {
    pub at: Timestamp,
    pub input: InputIndex,
    pub customer: String,
    pub value: String,
}

/// What a simulation consists of.
pub struct Plan {
    pub seed: u64,
    pub n_shards: u32,
    pub n_instances: usize,
    pub settings: Settings,
    /// Sets of definitions that are published while it runs, ascending by instant; at the start that of the settings is in force.
    pub sets: Vec<(Timestamp, Arc<plan::Plan>)>,
    /// A build with a newer time-zone database, installed at that instant: every process is started anew with it within some seconds.
    pub upgrade: Option<(Timestamp, &'static ZoneDatabase)>,
    /// How much later than it was published a process learns of a set, at most.
    pub news: Millis,
    /// Ascending by instant.
    pub records: Vec<Planned>,
    /// When trouble ends, and when everything does. By then every timer has to be due.
    pub calm: Timestamp,
    pub end: Timestamp,
    pub faults: Faults,
    /// Of a thousand ends of transactions, how many are written over time.
    pub slow_markers: u32,
    /// A process dies after about this many calls.
    pub calls_per_death: Option<u64>,
    /// Of a thousand ticks, how many see a process sleep for up to 15 s / a new generation of the group / an upstream transaction begin.
    pub sleeps: u32,
    pub rebalances: u32,
    pub upstream: u32,
    /// How far the machines' clocks are from the broker's.
    pub skew: Millis,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub records: u64,
    pub changes: u64,
    pub by_timer: u64,
    pub dead_letters: u64,
    pub batches: u64,
    pub journal_records: u64,
    pub deaths: u64,
    pub fenced: u64,
    pub restores: u64,
    pub lost: u64,
    pub abandoned: u64,
    pub committed: u64,
    pub aborted: u64,
    pub uncertain: u64,
    pub ended: u64,
    pub stopped: u64,
    pub cursors: u64,
    pub activations: u64,
    /// Batches that a scan goes on in.
    pub scans: u64,
    pub by_definition: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, r: Tally) {
        self.records += r.records;
        self.changes += r.changes;
        self.by_timer += r.by_timer;
        self.dead_letters += r.dead_letters;
        self.batches += r.batches;
        self.journal_records += r.journal_records;
        self.deaths += r.deaths;
        self.fenced += r.fenced;
        self.restores += r.restores;
        self.lost += r.lost;
        self.abandoned += r.abandoned;
        self.committed += r.committed;
        self.aborted += r.aborted;
        self.uncertain += r.uncertain;
        self.ended += r.ended;
        self.stopped += r.stopped;
        self.cursors += r.cursors;
        self.activations += r.activations;
        self.scans += r.scans;
        self.by_definition += r.by_definition;
    }
}

/// Counts notices, and keeps what was committed as the read view would.
#[derive(Default)]
pub struct Watch {
    pub tally: Tally,
    /// Reasons of shards that stand still.
    pub stopped: Vec<(ShardId, String)>,
    pub committed: Vec<(ShardId, BatchNumber)>,
    /// What happened, for people.
    pub story: Vec<String>,
    now: Timestamp,
    instance: usize,
}

impl Watch {
    fn tell(&mut self, what: String) {
        self.story.push(format!("{} {}: {what}", self.now, self.instance));
    }
}

impl Sink for Watch {
    fn committed(&mut self, committed: &Committed<'_>) {
        self.committed.push((committed.shard, committed.batch));
        self.tell(format!("shard {} committed batch {}", committed.shard, committed.batch));
    }

    fn transaction(&mut self, outcome: &crate::pipeline::Outcome, _: Millis, _: usize) {
        use crate::pipeline::Outcome;
        self.tell(format!("{outcome:?}"));
        match outcome {
            Outcome::Committed => self.tally.committed += 1,
            Outcome::Uncertain(_) => self.tally.uncertain += 1,
            _ => self.tally.aborted += 1,
        }
    }

    fn notice(&mut self, shard: ShardId, notice: &Notice<'_>) {
        self.tell(format!("shard {shard}: {notice:?}"));
        match notice {
            Notice::Running { .. } => self.tally.restores += 1,
            Notice::Lost => self.tally.lost += 1,
            Notice::Abandoned => self.tally.abandoned += 1,
            Notice::EndingTransaction { .. } => self.tally.ended += 1,
            Notice::Stopped(stop) => {
                self.tally.stopped += 1;
                self.stopped.push((shard, stop.to_string()));
            }
            _ => {}
        }
    }
}

/// A process.
struct Instance {
    id: String,
    life: Option<(MemoryClient, Worker)>,
    has_lived: bool,
    back_at: Timestamp,
    sleeps_until: Timestamp,
    /// Sets that its worker waits for, and when it is told.
    asked: Vec<(Timestamp, Edition)>,
    /// Of the build that the process was started from, and when another one is installed here.
    zones: &'static ZoneDatabase,
    upgraded_at: Timestamp,
}

/// A simulation on its way.
pub struct Cluster {
    pub broker: Rc<RefCell<Broker>>,
    pub(super) plan: Plan,
    /// Every set under every database, ready compiled.
    editions: Vec<Arc<plan::Plan>>,
    rng: fastrand::Rng,
    instances: Vec<Instance>,
    pub watch: Watch,
    /// The first life of every process ends at this call.
    dies_once: Option<u64>,
    /// The group learns of a death at once, not after the session's time-out: the next owner meets what was left open.
    pub told_at_once: bool,
    calls: u64,
    deaf: bool,
    next_record: usize,
    upstream: Option<(TransactionId, Timestamp)>,
}

impl Cluster {
    pub fn new(plan: Plan, begin: Timestamp) -> Cluster {
        let mut rng = fastrand::Rng::with_seed(plan.seed);
        let mut broker = Broker::new(plan.settings.inputs.len() as u16, plan.n_shards, begin, rng.u64(..));
        broker.slow_markers = plan.slow_markers;
        let instances = (0..plan.n_instances)
            .map(|i| Instance {
                id: format!("segmentd-{i}"),
                life: None,
                has_lived: false,
                back_at: begin,
                sleeps_until: begin,
                asked: Vec::new(),
                zones: ZoneDatabase::bundled(),
                upgraded_at: plan.upgrade.map_or(Timestamp::MAX, |(at, _)| at + Millis(rng.i64(0..3_000))),
            })
            .collect();
        let broker = Rc::new(RefCell::new(broker));
        let newer = plan.upgrade.map(|(_, zones)| zones);
        let under = |set: &Arc<plan::Plan>| newer.map(|zones| Arc::new(plan::Plan::compile_with(set.workspace().clone(), zones)));
        let editions = all_sets(&plan).flat_map(|set| std::iter::once(set.clone()).chain(under(set))).collect();
        Cluster {
            broker,
            plan,
            editions,
            rng,
            instances,
            watch: Watch::default(),
            dies_once: None,
            told_at_once: false,
            calls: 0,
            deaf: false,
            next_record: 0,
            upstream: None,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.broker.borrow().now
    }

    /// The first life of every process ends at that call.
    pub fn dies_once(&mut self, at: Option<u64>) {
        self.dies_once = at;
    }

    /// No question about the end of a log is answered any more.
    pub fn deafen(&mut self) {
        self.deaf = true;
    }

    /// Bounds dead letters of processes that start from now on.
    pub fn dead_letter_bytes(&mut self, most: usize) {
        self.plan.settings.dead_letter_bytes = most;
    }

    /// Processes that start from now on find a definitions topic with that set alone; returns the one that was in force.
    pub fn start_anew_with(&mut self, plan: Arc<plan::Plan>) -> SetHash {
        self.plan.sets.clear();
        self.editions = vec![plan.clone()];
        std::mem::replace(&mut self.plan.settings.plan, plan).workspace().hash
    }

    /// Every process is started anew from the build before the upgrade, and that set is published at the same time.
    pub fn downgrade(&mut self, set: Arc<plan::Plan>) {
        let now = self.now();
        let newer = self.plan.upgrade.map(|(_, zones)| Arc::new(plan::Plan::compile_with(set.workspace().clone(), zones)));
        self.editions.extend(newer);
        self.editions.push(set.clone());
        self.plan.sets.push((now, set));
        for instance in &mut self.instances {
            instance.zones = ZoneDatabase::bundled();
            if let Some((mut client, _)) = instance.life.take() {
                client.leave();
            }
        }
    }

    /// Every running process is told something by its client.
    pub fn tell(&mut self, event: &Event) {
        for (client, _) in self.instances.iter_mut().filter_map(|i| i.life.as_mut()) {
            client.tell(event.clone());
        }
    }

    /// Most calls that one life of a process made.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// The plan of an edition.
    pub(super) fn edition(&self, edition: &Edition) -> Option<&Arc<plan::Plan>> {
        self.editions.iter().find(|plan| plan.edition() == *edition)
    }

    fn chance(&mut self, of_thousand: u32) -> bool {
        self.rng.u32(..1_000) < of_thousand
    }

    /// Runs to the end and lets every process leave in order.
    ///
    /// **Errors:** what is wrong, in words.
    pub fn run(&mut self) -> Result<(), String> {
        while self.now() < self.plan.end {
            self.tick()?;
        }
        self.drain()
    }

    /// Runs up to an instant.
    pub fn run_until(&mut self, until: Timestamp) -> Result<(), String> {
        while self.now() < until {
            self.tick()?;
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), String> {
        let calm = self.now() >= self.plan.calm;
        let step = if calm { self.rng.i64(1..120) } else { self.rng.i64(1..6) };
        let now = self.now() + Millis(step);
        self.broker.borrow_mut().advance(now);
        if calm {
            self.broker.borrow_mut().slow_markers = 0;
        }
        self.produce(now, calm);
        if !calm {
            if self.chance(self.plan.rebalances) {
                self.broker.borrow_mut().rebalance();
            }
            if self.chance(self.plan.sleeps) {
                let i = self.rng.usize(..self.instances.len());
                self.instances[i].sleeps_until = now + Millis(self.rng.i64(100..15_000));
            }
        }
        self.watch.now = now;
        for i in 0..self.instances.len() {
            self.watch.instance = i;
            self.instance(i, now, calm)?;
        }
        Ok(())
    }

    /// What a process of a build with these zones wants to be in force.
    fn target(&self, at: Timestamp, zones: &str) -> Arc<plan::Plan> {
        let edition = Edition { set: newest(&self.plan, at).workspace().hash, zones: zones.into() };
        self.edition(&edition).expect("every set is there under every database").clone()
    }

    fn produce(&mut self, now: Timestamp, calm: bool) {
        if self.upstream.is_none() && !calm && self.chance(self.plan.upstream) {
            let until = now + Millis(self.rng.i64(1..3_000));
            self.upstream = Some((self.broker.borrow_mut().begin(), until));
        }
        while let Some(record) = self.plan.records.get(self.next_record).filter(|r| r.at <= now) {
            let shard = Partitioner::Murmur2.partition(record.customer.as_bytes(), self.plan.n_shards);
            let transaction = self.upstream.map(|(t, _)| t).filter(|_| self.rng.bool());
            let (key, value) = (record.customer.as_bytes(), record.value.as_bytes());
            self.broker.borrow_mut().produce(record.input, ShardId(shard), key, value, transaction);
            self.next_record += 1;
        }
        if let Some((transaction, until)) = self.upstream
            && (now >= until || calm)
        {
            let commit = self.rng.u8(..4) > 0;
            self.broker.borrow_mut().end(transaction, commit);
            self.upstream = None;
        }
    }

    fn instance(&mut self, i: usize, now: Timestamp, calm: bool) -> Result<(), String> {
        let instance = &mut self.instances[i];
        if now < instance.sleeps_until && !calm {
            return Ok(());
        }
        if let Some((_, zones)) = self.plan.upgrade.filter(|_| now >= instance.upgraded_at) {
            instance.upgraded_at = Timestamp::MAX;
            instance.zones = zones;
            if let Some((mut client, _)) = instance.life.take() {
                client.leave();
                self.watch.tell(format!("ends, to be started with the zones of {}", zones.version()));
            }
        }
        let zones: Box<str> = instance.zones.version().into();
        if instance.life.is_none() {
            if now < instance.back_at && (!calm || self.told_at_once) {
                return Ok(());
            }
            let plan = self.target(now, &zones);
            let instance = &mut self.instances[i];
            let settings = Settings { transactional_id: instance.id.clone(), plan, ..self.plan.settings.clone() };
            instance.asked.clear();
            let topics = settings.inputs.iter().map(|i| i.topic.to_string()).collect();
            let skew = Millis(self.rng.i64(-self.plan.skew.0..=self.plan.skew.0));
            let faults = if calm { Faults::default() } else { self.plan.faults };
            let mut client = MemoryClient::new(&self.broker, &instance.id, topics, faults, skew, self.rng.u64(..));
            if !calm {
                client.dies_at = self.plan.calls_per_death.map(|calls| self.rng.u64(1..2 * calls));
            }
            // Where another build is installed, the first life that is meant is of that one.
            let newest = self.plan.upgrade.is_none_or(|(_, zones)| zones.version() == instance.zones.version());
            if let Some(at) = self.dies_once.filter(|_| newest && !instance.has_lived) {
                client.dies_at = Some(at);
            }
            instance.has_lived = newest;
            instance.life = Some((client, Worker::new(Arc::new(settings))));
        }
        let heard = now - Millis(self.rng.i64(0..=self.plan.news.0));
        let target = self.target(heard, &zones);
        let editions = &self.editions;
        let instance = &mut self.instances[i];
        let Some((client, worker)) = &mut instance.life else { return Ok(()) };
        if calm {
            client.dies_at = client.dies_at.filter(|_| self.plan.calls_per_death.is_none());
            let lost_answer = if self.deaf { 1_000 } else { 0 };
            client.set_faults(Faults { latency: self.plan.faults.latency, lost_answer, ..Faults::default() });
        }
        worker.aim(target, heard + (client.now() - now));
        while let Some(at) = instance.asked.iter().position(|(at, _)| *at <= now) {
            let (_, edition) = instance.asked.remove(at);
            let found = editions.iter().find(|plan| plan.edition() == edition);
            worker.learn(edition, found.cloned().ok_or_else(|| "the topic of sets lacks it".to_owned()));
        }
        for _ in 0..50 {
            let next = worker.step(client, &mut self.watch);
            for edition in worker.wanted() {
                instance.asked.push((now + Millis(self.rng.i64(0..50)), edition));
            }
            self.calls = self.calls.max(client.calls);
            if client.is_dead() {
                self.watch.tally.deaths += 1;
                self.watch.tell("dies".into());
                if self.told_at_once || self.rng.u8(..3) == 0 {
                    client.leave();
                }
                instance.life = None;
                instance.back_at = now + Millis(self.rng.i64(0..14_000));
                return Ok(());
            }
            match next {
                Ok(Next::Now) => {}
                Ok(Next::At(_)) => return Ok(()),
                Ok(Next::Drained) => return Err("drained without being asked".into()),
                Err(Fault::Fenced(_)) => {
                    self.watch.tally.fenced += 1;
                    self.watch.tell("is fenced".into());
                    client.leave();
                    instance.life = None;
                    instance.back_at = now + Millis(100);
                    return Ok(());
                }
                Err(fault) => return Err(format!("a worker ends: {fault}")),
            }
        }
        Ok(())
    }

    /// Lets every process end in order.
    pub fn drain(&mut self) -> Result<(), String> {
        for instance in &mut self.instances {
            let Some((client, worker)) = &mut instance.life else { continue };
            worker.drain(client);
            let mut drained = false;
            for _ in 0..10_000 {
                let now = self.broker.borrow().now + Millis(1);
                self.broker.borrow_mut().advance(now);
                if worker.step(client, &mut self.watch).map_err(|fault| fault.to_string())? == Next::Drained {
                    drained = true;
                    break;
                }
            }
            if !drained {
                return Err(format!("{} does not come to an end", instance.id));
            }
            client.leave();
            instance.life = None;
        }
        Ok(())
    }

    /// Compares what is to be seen in the output topics with one engine that follows the journal.
    ///
    /// **Errors:** the first difference.
    pub fn check(&self) -> Result<Tally, String> {
        if let Some((shard, why)) = self.watch.stopped.first() {
            return Err(format!("shard {shard} stands still: {why}"));
        }
        let mut tally = self.watch.tally;
        for shard in (0..self.plan.n_shards).map(ShardId) {
            self.check_shard(shard, &mut tally).map_err(|e| format!("shard {shard}: {e}"))?;
        }
        Ok(tally)
    }

    /// The published changes of a shard, each customer's in its order.
    pub fn changes(&self, shard: ShardId) -> Result<BTreeMap<String, Vec<ChangeRecord>>, String> {
        let broker = self.broker.borrow();
        let mut out: BTreeMap<String, Vec<ChangeRecord>> = BTreeMap::new();
        for stored in broker.committed(Partition::Output(Output::Changes, shard)) {
            let change = parse(stored)?;
            out.entry(change.customer.clone()).or_default().push(change);
        }
        Ok(out)
    }

    /// What one engine makes of the inputs of a shard in one go, merged by arrival, with the clock moved to the end: what must come out
    /// of a single log whatever happens on the way.
    pub fn pure(&self, shard: ShardId) -> Result<BTreeMap<String, Vec<ChangeRecord>>, String> {
        let broker = self.broker.borrow();
        let settings = &self.plan.settings;
        let topics: Vec<&str> = settings.inputs.iter().map(|i| &*i.topic).collect();
        let mut records = Vec::new();
        for i in 0..topics.len() {
            records.extend(broker.committed(Partition::Input(InputIndex(i as u16), shard)).into_iter().map(|s| (s.timestamp, i, s)));
        }
        records.sort_by_key(|(arrival, i, stored)| (*arrival, *i, stored.offset));
        let options = DecodeOptions { unknown_events: settings.unknown_events, ..DecodeOptions::lenient() };
        let mut decoder = json::Decoder::new(settings.plan.schema().clone(), options);
        let mut batch = Batch::default();
        for (arrival, i, stored) in records {
            let position = Position { input: InputIndex(i as u16), partition: shard.0, offset: stored.offset };
            decoder.decode(&RawRecord { position, arrival, key: stored.key.as_deref(), value: stored.value.as_deref() }, &mut batch);
        }
        let engine_settings = crate::engine::Settings { output_budget: usize::MAX, ..settings.engine.clone() };
        let mut engine = Engine::new(settings.plan.clone(), engine_settings);
        let mut outputs = Outputs::default();
        engine.apply(&batch, Some(self.plan.end), &mut outputs);
        let mut out: BTreeMap<String, Vec<ChangeRecord>> = BTreeMap::new();
        for published in &outputs.changes {
            let change = expected_record(published, &topics)?;
            out.entry(change.customer.clone()).or_default().push(change);
        }
        Ok(out)
    }
}

/// Every set, in the order of publication.
pub(super) fn all_sets(plan: &Plan) -> impl Iterator<Item = &Arc<plan::Plan>> {
    std::iter::once(&plan.settings.plan).chain(plan.sets.iter().map(|(_, plan)| plan))
}

/// The set that was the newest at an instant.
fn newest(plan: &Plan, at: Timestamp) -> &Arc<plan::Plan> {
    plan.sets.iter().rfind(|(since, _)| *since <= at).map_or(&plan.settings.plan, |(_, plan)| plan)
}

pub(super) fn parse(stored: &Stored) -> Result<ChangeRecord, String> {
    let mut change = ChangeRecord::parse(stored.value.as_deref().unwrap_or_default()).map_err(|e| e.to_string())?;
    if change.emitted_at.take().is_none() {
        return Err(format!("a change without emitted_at: {change:?}"));
    }
    Ok(change)
}

pub(super) fn expected_record(published: &Published, topics: &[&str]) -> Result<ChangeRecord, String> {
    let mut bytes = Vec::new();
    encode::change_json(&published.change, None, topics, &mut bytes);
    ChangeRecord::parse(&bytes).map_err(|e| e.to_string())
}
