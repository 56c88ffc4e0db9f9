//! One shard: its engine, where its inputs stand, and what it has decided and not yet committed.
//!
//! **Life:** `Queued -> Restoring -> Running -> Draining`, and `Stopped` from anywhere. Only a running shard reads and decides; a
//! draining one has let go of its inputs and waits for its last commit.
//!
//! **Order of a batch.** Records are taken in merged order, decoded, applied, and their outputs encoded, all while the transaction before
//! is still on its way; the records are let go of last. The engine never goes back: an aborted transaction is sent again as it was.

use std::cell::RefCell;
use std::sync::Arc;

use super::client::{Client, LaneId, Part};
use super::decoder::Decoder;
use super::inputs::{Inputs, Next};
use super::restore::Restore;
use super::sets::{self, Sets};
use super::settings::Settings;
use super::sink::{BatchReport, Notice, Sink};
use super::staged::{Journal, Sealed, Staged};
use super::stop::Stop;
use crate::engine::{Batch, Engine, Outputs, ScanCursor, Warming};
use crate::ids::{BatchNumber, InputIndex, ShardId};
use crate::plan::Plan;
use crate::time::{Millis, Timestamp};
use crate::wire::DecodeCounts;
use crate::wire::encode::ChangeHasher;
use crate::wire::journal::{JournalActivation, JournalBatch, JournalInput, input_hash};

/// How long a shard whose batches published nothing may stay out of transactions, and how often input offsets are committed.
const QUIET_MAX: Millis = Millis::SECOND;
/// How often an idle shard writes all the same: the broker forgets offsets of the group that are never renewed.
const IDLE_WRITE: Millis = Millis::HOUR;
/// How long the clock may stand without proof before anybody is told.
const STANDS_MAX: Millis = Millis(2_000);

/// Where a shard is in its life.
pub(super) enum Phase {
    /// Waits for its turn to be restored.
    Queued,
    Restoring(Box<Restore>),
    Running,
    /// Reads no more; what is staged is committed, then it is given up, or stopped if a reason stands here.
    Draining(Option<Stop>),
    Stopped(Stop),
}

pub(super) struct Shard {
    pub id: ShardId,
    /// Tells this life of the shard from an earlier one whose transaction may still be on its way.
    pub life: u64,
    pub phase: Phase,
    pub assigned_at: Timestamp,
    /// Of the set in force.
    pub plan: Arc<Plan>,
    pub engine: Engine,
    pub decoders: Vec<Decoder>,
    pub inputs: Inputs,
    /// Names and identities, in the order of the configuration; positions are those of `inputs`.
    pub topics: Vec<JournalInput>,
    pub batch: Batch,
    pub outputs: Outputs,
    pub hasher: ChangeHasher,
    /// The last batch applied that is, or will be, in the journal.
    pub number: BatchNumber,
    /// The last batch known to be visible; `None`: not even the first record is.
    pub committed: Option<BatchNumber>,
    /// A lower bound of the journal's end, the record that is written next not counted.
    pub journal_end: i64,
    /// Set while due timers wait for output budget: how far the clock may go for them.
    pub herd: Option<Herd>,
    /// A change of definitions that the batch at hand begins with.
    pub activation: Option<JournalActivation>,
    /// Where a change of definitions has come to.
    pub scan: Option<ScanCursor>,
    /// Since when another set is to be in force.
    pub aims_since: Option<Timestamp>,
    pub running_since: Timestamp,
    /// Segments that are not known for every customer yet, and when that was looked at; `None`: to be looked at. For the figures only.
    pub warming: RefCell<Option<(Timestamp, Vec<Warming>)>>,
    pub staged: Staged,
    /// Whether the first record, with the positions at which the shard began, is still to be handed over.
    pub first: bool,
    last_write: Timestamp,
    last_told: Timestamp,
    /// Offsets for lag tools that a draining shard has still to commit.
    last_offsets: Vec<(InputIndex, i64)>,
    stands_since: Option<Timestamp>,
    stands_told: bool,
    reads: Vec<usize>,
}

/// Timers of a herd that did not fit the output budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Herd {
    pub idle_until: Option<Timestamp>,
}

/// What a turn of a shard came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    pub records: usize,
    /// More can be done at once.
    pub busy: bool,
    /// Nothing can be done before, unless the client has news.
    pub wake: Option<Timestamp>,
}

impl Shard {
    pub fn new(settings: &Settings, plan: &Arc<Plan>, id: ShardId, life: u64, now: Timestamp) -> Shard {
        Shard {
            id,
            life,
            phase: Phase::Queued,
            assigned_at: now,
            plan: plan.clone(),
            engine: Engine::new(plan.clone(), settings.engine.clone()),
            decoders: Decoder::all(settings, plan, id),
            inputs: Inputs::default(),
            topics: Vec::new(),
            batch: Batch::default(),
            outputs: Outputs::default(),
            hasher: ChangeHasher::default(),
            number: BatchNumber(0),
            committed: None,
            journal_end: 0,
            herd: None,
            activation: None,
            scan: None,
            aims_since: None,
            running_since: now,
            warming: RefCell::new(None),
            staged: Staged::default(),
            first: false,
            last_write: now,
            last_told: now,
            last_offsets: Vec::new(),
            stands_since: None,
            stands_told: false,
            reads: vec![0; settings.inputs.len()],
        }
    }

    /// Begins to decide: everything before is in the engine. The record that is written at once names the new owner in the journal.
    pub fn run<S: Sink>(&mut self, sink: &mut S, now: Timestamp, batches: u64, records: u64) {
        self.phase = Phase::Running;
        // What the replay saw was counted when it was read first.
        for decoder in &mut self.decoders {
            decoder.take_counts();
        }
        self.staged.touch(now, true);
        (self.last_write, self.last_told, self.running_since) = (now, now, now);
        *self.warming.get_mut() = None;
        sink.notice(self.id, &Notice::Running { took: now - self.assigned_at, batches, records });
    }

    /// Reads no more and commits what it has; then it is released, or stands still for the reason given.
    pub fn drain<C: Client>(&mut self, client: &mut C, stop: Option<Stop>) {
        self.close(client);
        self.phase = match std::mem::replace(&mut self.phase, Phase::Queued) {
            Phase::Running => Phase::Draining(stop),
            Phase::Draining(before) => Phase::Draining(before.or(stop)),
            Phase::Stopped(before) => Phase::Stopped(before),
            Phase::Queued | Phase::Restoring(_) => {
                // Half a restore is nobody's state: it may not write anything.
                self.last_offsets.clear();
                stop.map_or(Phase::Draining(None), Phase::Stopped)
            }
        };
    }

    /// Lets go of what is staged too: it is somebody else's to decide now.
    pub fn abandon<C: Client>(&mut self, client: &mut C, stop: Stop) {
        self.close(client);
        self.staged = Staged::default();
        self.last_offsets.clear();
        self.phase = Phase::Stopped(stop);
    }

    /// Everything is committed: a draining shard that has a reason to stop stands still now.
    pub fn stand(&mut self) -> Option<&Stop> {
        match std::mem::replace(&mut self.phase, Phase::Queued) {
            Phase::Draining(Some(stop)) => self.phase = Phase::Stopped(stop),
            phase => self.phase = phase,
        }
        match &self.phase {
            Phase::Stopped(stop) => Some(stop),
            _ => None,
        }
    }

    /// Lets go of everything that is being read.
    pub fn close<C: Client>(&mut self, client: &mut C) {
        if let Phase::Restoring(restore) = &mut self.phase {
            restore.close(client);
        }
        // Where the inputs stand is needed for the last journal record.
        if !self.inputs.lanes.is_empty() {
            self.topics = self.positions();
            self.last_offsets = self.offsets_to_tell(client);
            self.inputs.close(client);
        }
    }

    /// Where the inputs stand.
    fn positions(&self) -> Vec<JournalInput> {
        let mut positions = self.topics.clone();
        for (position, lane) in positions.iter_mut().zip(&self.inputs.lanes) {
            position.next_offset = lane.next_offset;
            position.leader_epoch = lane.leader_epoch;
            position.last_arrival = lane.last_arrival;
        }
        positions
    }

    /// One turn: at most one batch of at most `budget` records, then the timers. Questions about ends of logs go to `questions`.
    pub fn turn<C: Client, S: Sink>(
        &mut self,
        settings: &Settings,
        sets: &mut Sets,
        client: &mut C,
        sink: &mut S,
        budget: usize,
        questions: &mut Vec<LaneId>,
    ) -> Turn {
        let mut turn = Turn::default();
        if self.first || self.staged.is_full() {
            // The next commit makes room, and wakes us.
            return turn;
        }
        self.inputs.refill(client, settings.batch_records);
        let now = client.now();
        self.inputs.watch(client, now, questions);
        if let Err(stop) = self.change_set(settings, sets, client, sink, now, questions) {
            self.drain(client, Some(stop));
            return turn;
        }
        let full = self.assemble(settings, client, now, budget.min(settings.batch_records), questions);
        turn.records = self.batch.records.len();
        if turn.records > 0 || self.herd.is_some() || self.activation.is_some() || self.scan.is_some() {
            let cap = (turn.records > 0).then_some(now);
            let idle_until = self.herd.and_then(|herd| herd.idle_until);
            self.apply(settings, client, sink, cap, idle_until, now);
            turn.busy = full || self.herd.is_some() || self.scan.is_some();
        }
        if self.aims_since.is_some() {
            turn.wake = Some(now + Millis(100));
        }
        // Nothing more can be taken, and an input is why: no record of another may pass it.
        if turn.records == 0
            && let Some((input, fault)) = self.inputs.fault()
        {
            let topic = settings.inputs[input.at()].topic.to_string();
            let stop = Stop::Input { topic, fault: fault.clone() };
            self.drain(client, Some(stop));
            return turn;
        }
        // Timers of customers whom the scan has not reached wait for it.
        if self.herd.is_none() && self.scan.is_none() && !self.staged.is_full() {
            self.timers(settings, client, sink, now, questions, &mut turn);
        }
        turn
    }

    /// Takes and decodes records in merged order; returns whether a bound ended the batch.
    fn assemble<C: Client>(&mut self, settings: &Settings, client: &C, now: Timestamp, budget: usize, questions: &mut Vec<LaneId>) -> bool {
        self.batch.clear();
        self.reads.fill(0);
        let mut bytes = 0;
        while let Next::Take(input) = self.inputs.next_live(client, now, now, questions) {
            if self.batch.records.len() >= budget || bytes >= settings.batch_bytes {
                return true;
            }
            let raw = self.inputs.take(client, input, self.id, now);
            bytes += raw.key.map_or(0, <[u8]>::len) + raw.value.map_or(0, <[u8]>::len);
            self.decoders[input].decode(&raw, &mut self.batch);
            self.reads[input] += 1;
        }
        // A batch that took all that was held may be full too, and the log goes on.
        self.batch.records.len() >= budget || bytes >= settings.batch_bytes
    }

    /// Applies the batch at hand and stages what comes of it.
    fn apply<C: Client, S: Sink>(
        &mut self,
        settings: &Settings,
        client: &mut C,
        sink: &mut S,
        cap: Option<Timestamp>,
        idle_until: Option<Timestamp>,
        now: Timestamp,
    ) {
        let scanned = self.scan.is_some() || self.activation.is_some();
        let (batch, changed) = self.decide(BatchNumber(self.number.0 + 1), cap, idle_until);
        // A wake-up that finds no timer due leaves nothing to journal, the last one of a herd included.
        if changed {
            self.number = batch.number;
            let mut decoded = DecodeCounts::default();
            for decoder in &mut self.decoders {
                decoded += decoder.take_counts();
            }
            sink.applied(&BatchReport {
                shard: self.id,
                records: self.batch.records.len(),
                reads: &self.reads,
                counts: &self.outputs.counts,
                decoded,
                dead_letters: &self.outputs.dead_letters,
                changes: self.outputs.changes.len(),
                clock_delay: now - batch.clock,
            });
            self.staged.add(settings, client, &self.inputs, batch, &mut self.outputs, now);
        }
        self.inputs.finish(client);
        if scanned && self.scan.is_none() {
            sink.notice(self.id, &Notice::Activated { set: sets::hash(&self.plan) });
        }
    }

    /// Runs the engine over the batch at hand; the outputs stand in `self.outputs`. Also tells whether anything durable came of it.
    pub fn decide(&mut self, number: BatchNumber, arrival_cap: Option<Timestamp>, idle_until: Option<Timestamp>) -> (JournalBatch, bool) {
        self.outputs.changes.clear();
        self.outputs.dead_letters.clear();
        self.outputs.bytes = 0;
        self.outputs.counts = Default::default();
        let applied = self.engine.apply(&self.batch, idle_until, &mut self.outputs);
        self.herd = applied.cursor.map(|_| Herd { idle_until });
        self.scan = applied.scan;
        let activation = self.activation.take();
        let outputs = &self.outputs;
        let changed = applied.changed || !self.batch.records.is_empty() || activation.is_some();
        assert!(
            changed || outputs.changes.is_empty() && outputs.dead_letters.is_empty(),
            "outputs of a move that changed nothing: {outputs:?}"
        );
        for published in &outputs.changes {
            self.hasher.add(published);
        }
        let batch = JournalBatch {
            number,
            reads: self.inputs.reads(),
            arrival_cap,
            idle_until,
            clock: applied.clock,
            cursor: applied.cursor,
            records: self.batch.records.len() as u32,
            input_hash: input_hash(&self.batch),
            changes: outputs.changes.len() as u32,
            change_hash: self.hasher.take(),
            dead_letters: outputs.dead_letters.len() as u32,
            activation,
            scan: applied.scan,
        };
        (batch, changed)
    }

    /// Lets the clock of an idle shard move where a timer is due and the end of every log is proved (LANGUAGE.md S3).
    fn timers<C: Client, S: Sink>(
        &mut self,
        settings: &Settings,
        client: &mut C,
        sink: &mut S,
        now: Timestamp,
        questions: &mut Vec<LaneId>,
        turn: &mut Turn,
    ) {
        let Some(wake) = self.engine.next_wake() else {
            self.moves(sink);
            return;
        };
        let due = wake + settings.clock_guard;
        if now < due {
            turn.wake = Some(turn.wake.map_or(due, |wake| wake.min(due)));
            self.moves(sink);
            return;
        }
        match self.inputs.proved_until(client, settings.clock_guard, wake, now, questions) {
            Some(until) if until >= wake => {
                self.batch.clear();
                self.reads.fill(0);
                self.apply(settings, client, sink, None, Some(until), now);
                self.moves(sink);
                if self.herd.is_none() {
                    let next = self.engine.next_wake();
                    assert!(next.is_none_or(|next| next > until), "a timer is due at {next:?} after all up to {until} have fired");
                }
                turn.busy = true;
            }
            _ => {
                let since = *self.stands_since.get_or_insert(now);
                turn.wake = Some(now + Millis(100));
                if now - since >= STANDS_MAX && !self.stands_told {
                    self.stands_told = true;
                    sink.notice(self.id, &Notice::ClockStands);
                }
            }
        }
    }

    fn moves<S: Sink>(&mut self, sink: &mut S) {
        self.stands_since = None;
        if std::mem::take(&mut self.stands_told) {
            sink.notice(self.id, &Notice::ClockMoves);
        }
    }

    /// For how long a due timer has waited for the proof.
    pub fn stands_for(&self, now: Timestamp) -> Millis {
        self.stands_since.map_or(Millis::ZERO, |since| now - since)
    }

    /// When this shard is to be part of a transaction: at once, at an instant, or `None` as long as nothing happens.
    pub fn commit_at(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.phase {
            Phase::Draining(_) => (!self.staged.is_empty() || self.is_untold()).then_some(now),
            Phase::Running => {
                if self.staged.loud || self.staged.is_full() {
                    return Some(now);
                }
                let quiet = self.staged.since().map(|since| since + QUIET_MAX);
                let untold = self.is_untold().then_some(self.last_told + QUIET_MAX);
                let idle = Some(self.last_write + IDLE_WRITE);
                [quiet, untold, idle].into_iter().flatten().min()
            }
            _ => None,
        }
    }

    fn is_untold(&self) -> bool {
        !self.last_offsets.is_empty() || self.inputs.lanes.iter().any(|lane| lane.next_offset != lane.told)
    }

    fn offsets_to_tell<C: Client>(&mut self, client: &C) -> Vec<(InputIndex, i64)> {
        let mut offsets = std::mem::take(&mut self.last_offsets);
        for (i, lane) in self.inputs.lanes.iter_mut().enumerate() {
            if lane.told != lane.next_offset {
                lane.told = lane.next_offset;
                offsets.push((InputIndex(i as u16), lane.offset_to_tell(client)));
            }
        }
        offsets
    }

    /// Closes what is staged into a part of the next transaction.
    pub fn seal<C: Client>(&mut self, settings: &Settings, client: &C, now: Timestamp) -> Sealed {
        let journal = Journal {
            shard: self.id,
            batch: self.number,
            journal_offset: self.journal_end + 2,
            inputs: self.positions(),
            clock: self.engine.clock(),
            definitions: sets::hash(&self.plan),
            zones: self.plan.zones.database.version(),
        };
        // The record and the marker of its transaction.
        self.journal_end += 2;
        self.first = false;
        self.last_write = now;
        let mut sealed = self.staged.seal(settings, journal);
        if now - self.last_told >= QUIET_MAX || !self.last_offsets.is_empty() {
            self.last_told = now;
            sealed.part.input_offsets = self.offsets_to_tell(client);
        }
        sealed
    }

    /// Bytes that wait for the next transaction.
    pub fn staged_bytes(&self) -> usize {
        self.staged.bytes()
    }

    /// Takes back the buffers of what was committed.
    pub fn reuse(&mut self, part: Part) {
        self.staged.reuse(part);
    }
}
