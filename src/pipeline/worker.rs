//! A worker: several shards, one client, one transaction at a time.
//!
//! [`Worker::step`] does what can be done now and returns; it never waits. The caller waits for the client's news or for the instant that
//! the step names, and steps again.
//!
//! **Two things overlap:** while a transaction is on its way, shards read, decode, apply and encode for the next one. So commits go back
//! to back under load, and their size grows by itself.
//!
//! **The end of a transaction.** Committed: tell the sink. Aborted: the same again. Not of the group: the same again with fresh metadata,
//! until the group says what is lost. Uncertain: the client has made a new producer of the same id, so the log is final; the committed
//! offset, which is part of the transaction, says whether it is there, and nothing else is believed.

mod settle;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::client::{Client, Event, LaneId, Mark, Outcome, Output, Recovered, Transaction};
use super::restore::{Progress, Restore};
use super::sets::Sets;
use super::settings::Settings;
use super::shard::{Phase, Shard};
use super::sink::{Committed, Notice, Sink};
use super::staged::TRANSACTION_BYTES_MAX;
use super::status::ShardStatus;
use super::stop::Fault;
use crate::engine::Engine;
use crate::engine::output::Published;
use crate::ids::{BatchNumber, Edition, ShardId};
use crate::plan::Plan;
use crate::time::{Millis, Timestamp};

/// The longest that a worker sleeps without news.
const SLEEP_MAX: Millis = Millis::SECOND;
/// Wait before an aborted transaction is sent again, doubled each time up to the second one.
const RETRY_FIRST: Millis = Millis(5);
const RETRY_MAX: Millis = Millis::SECOND;
/// Pause after a transaction. The broker writes the markers of its partitions after it has answered, and refuses the next one meanwhile;
/// asked again and again it takes longer for both.
const PAUSE: Millis = Millis(2);
/// Partitions that a transaction may touch at the floor of the commit interval; each further group of as many adds another interval.
/// 54 partitions cost the broker three times what 3 do, 150 six times.
const PARTITIONS_PER_INTERVAL: usize = 32;
/// Most restores at once. One goes on while others are held up by somebody else's transaction or a partition without a leader.
const RESTORES_MAX: usize = 4;
/// Records of restores per step while other shards run.
const RESTORE_SLICE: usize = 1_000;

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Step again at once.
    Now,
    /// Step again when the client has news, at this instant at the latest.
    At(Timestamp),
    /// Everything is committed after [`Worker::drain`]; there is nothing to step any more.
    Drained,
}

/// Several shards above one client.
pub struct Worker {
    settings: Arc<Settings>,
    sets: Sets,
    shards: BTreeMap<ShardId, Shard>,
    lives: u64,
    commit: Commit,
    /// When the last transaction was handed over may the next be, at the earliest.
    not_before: Timestamp,
    revoking: Option<Revoking>,
    /// `Some`: the worker is to end, with a fault or in order.
    ending: Option<Option<Fault>>,
    /// Where the next step begins, so that no shard is always served last.
    turn: usize,
    questions: Vec<LaneId>,
    /// Open questions to [`Client::recover`], one per shard at most, and who asked. An answer whose asker is gone is of a past.
    asked: BTreeMap<ShardId, Asker>,
    flights: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    /// The restore of that life of the shard.
    Restore(u64),
    /// The settling of that transaction.
    Settle(u64),
}

/// Where the one transaction is.
enum Commit {
    Free,
    Flying(Flight),
    /// It comes again at `at`.
    Again {
        transaction: Box<Transaction>,
        flight: Flight,
        at: Timestamp,
    },
    /// Whether it is visible is being asked, again at `again`.
    Settling {
        transaction: Box<Transaction>,
        flight: Flight,
        again: Timestamp,
    },
}

/// A transaction's shards, in the order of its parts.
struct Flight {
    /// Tells it from others.
    number: u64,
    shards: Vec<FlightShard>,
    tries: u32,
}

struct FlightShard {
    shard: ShardId,
    life: u64,
    /// The last batch with this transaction, and without it.
    batch: BatchNumber,
    before: Option<BatchNumber>,
    published: Vec<Published>,
    emitted_at: Timestamp,
}

struct Revoking {
    shards: Vec<ShardId>,
    deadline: Timestamp,
}

impl Worker {
    pub fn new(settings: Arc<Settings>) -> Worker {
        assert!(settings.batch_records > 0, "batches of no records");
        Worker {
            sets: Sets::new(settings.plan.clone()),
            settings,
            shards: BTreeMap::new(),
            lives: 0,
            commit: Commit::Free,
            not_before: Timestamp::MIN,
            revoking: None,
            ending: None,
            turn: 0,
            questions: Vec::new(),
            asked: BTreeMap::new(),
            flights: 0,
        }
    }

    /// Stops reading; [`Next::Drained`] comes when everything decided is committed.
    pub fn drain<C: Client>(&mut self, client: &mut C) {
        self.end(client, None);
    }

    fn end<C: Client>(&mut self, client: &mut C, fault: Option<Fault>) {
        if self.ending.is_none() {
            self.ending = Some(fault);
            self.shards.values_mut().for_each(|shard| shard.drain(client, None));
        }
    }

    /// The set that is to be in force: the newest of the definitions topic that compiles, as far as it was read to its end after `as_of`.
    /// Older news than the last is passed over. Each shard puts it in force by itself.
    pub fn aim(&mut self, plan: Arc<Plan>, as_of: Timestamp) {
        self.sets.aim(plan, as_of);
    }

    /// What a shard waits for, each named once; [`Worker::learn`] answers.
    pub fn wanted(&mut self) -> Vec<Edition> {
        self.sets.take_wanted()
    }

    /// A plan that was wanted, or in words why it cannot be had, which stops the shards that need it.
    pub fn learn(&mut self, edition: Edition, plan: Result<Arc<Plan>, String>) {
        self.sets.learn(edition, plan);
    }

    /// The engine of a shard that runs here, for questions. It may be ahead of what is committed.
    pub fn engine(&self, shard: ShardId) -> Option<&Engine> {
        self.shards.get(&shard).filter(|s| matches!(s.phase, Phase::Running | Phase::Draining(_))).map(|s| &s.engine)
    }

    /// Shards that run here.
    pub fn running(&self) -> impl Iterator<Item = ShardId> {
        self.shards.values().filter(|s| matches!(s.phase, Phase::Running)).map(|s| s.id)
    }

    /// Every shard of this worker.
    pub fn status<'a, C: Client>(&'a self, client: &'a C) -> impl Iterator<Item = ShardStatus> + 'a {
        let now = client.now();
        self.shards.values().map(move |shard| ShardStatus::of(shard, client, now))
    }

    /// Does what can be done now.
    ///
    /// **Errors:** the worker is at its end; what it had staged is decided again by whoever owns its shards next. The client is to be
    /// dropped.
    pub fn step<C: Client, S: Sink>(&mut self, client: &mut C, sink: &mut S) -> Result<Next, Fault> {
        while let Some(event) = client.poll() {
            self.event(client, sink, event)?;
        }
        let mut wake = client.now() + SLEEP_MAX;
        let mut busy = self.restore(client, sink, &mut wake);
        busy |= self.work(client, sink, &mut wake);
        if !self.questions.is_empty() {
            client.ask(&self.questions);
            self.questions.clear();
        }
        let now = client.now();
        self.drained(sink, now);
        self.retry(client, now, &mut wake);
        self.hand_over(client, now, &mut wake);
        self.give_up(client, sink, now, &mut wake);
        if self.ending.is_some() && matches!(self.commit, Commit::Free) && self.shards.values().all(|s| !Worker::holds(s)) {
            return match self.ending.take().flatten() {
                Some(fault) => Err(fault),
                None => Ok(Next::Drained),
            };
        }
        Ok(if busy || wake <= now { Next::Now } else { Next::At(wake) })
    }

    /// Whether a draining shard has still something to commit.
    fn holds(shard: &Shard) -> bool {
        matches!(shard.phase, Phase::Draining(_)) && shard.commit_at(Timestamp::MIN).is_some()
    }

    fn event<C: Client, S: Sink>(&mut self, client: &mut C, sink: &mut S, event: Event) -> Result<(), Fault> {
        let now = client.now();
        match event {
            Event::Assigned(shards) => {
                client.take_over(&shards);
                for id in shards {
                    self.lives += 1;
                    let mut shard = Shard::new(&self.settings, &self.sets.target, id, self.lives, now);
                    if self.ending.is_some() {
                        shard.drain(client, None);
                    }
                    sink.notice(id, &Notice::Assigned);
                    if let Some(mut before) = self.shards.insert(id, shard) {
                        before.close(client);
                    }
                }
            }
            Event::Revoked(shards) => {
                for id in &shards {
                    if let Some(shard) = self.shards.get_mut(id) {
                        shard.drain(client, None);
                    }
                }
                self.revoking = Some(Revoking { shards, deadline: now + self.settings.revoke_budget });
            }
            Event::Lost(shards) => {
                for id in &shards {
                    if let Some(mut shard) = self.shards.remove(id) {
                        shard.close(client);
                        sink.notice(*id, &Notice::Lost);
                    }
                }
                client.give_up(&shards);
            }
            Event::Recovered(answer) => self.recovered(client, sink, answer, now),
            Event::TransactionEnded { shard } => {
                if let Some(Phase::Restoring(restore)) = self.shards.get_mut(&shard).map(|s| &mut s.phase) {
                    restore.transaction_ended(now);
                }
            }
            Event::Marks(marks) => marks.iter().for_each(|mark| self.note(mark)),
            Event::Done { transaction, outcome, took } => self.done(client, sink, transaction, outcome, took, now)?,
            Event::TopicChanged { words } => self.end(client, Some(Fault::TopicChanged(words))),
            Event::Failed { words } => return Err(Fault::Client(words)),
        }
        Ok(())
    }

    fn note(&mut self, mark: &Mark) {
        // A lane that was closed meanwhile is nobody's.
        self.shards.values_mut().any(|shard| shard.inputs.note(mark));
    }

    // Restores: one at a time, but one that waits for others does not hold up the rest.

    fn restore<C: Client, S: Sink>(&mut self, client: &mut C, sink: &mut S, wake: &mut Timestamp) -> bool {
        if self.ending.is_some() {
            return false;
        }
        let now = client.now();
        let running = self.shards.values().any(|s| matches!(s.phase, Phase::Running));
        let budget = if running { RESTORE_SLICE } else { self.settings.batch_records };
        let restoring = |s: &Shard| match &s.phase {
            Phase::Restoring(restore) => Some(restore.is_stuck(now)),
            _ => None,
        };
        let n = self.shards.values().filter_map(restoring).count();
        if n == 0 {
            let shards = &self.shards;
            self.sets.keep(|edition| shards.values().any(|s| s.plan.edition() == *edition));
        }
        if n < RESTORES_MAX && self.shards.values().filter_map(restoring).all(|stuck| stuck) {
            // A former life's transaction must be settled first: it would look like one that a dead owner left open.
            let flying = self.flying();
            let next = self.shards.values_mut().find(|s| matches!(s.phase, Phase::Queued) && !flying.contains(&s.id));
            if let Some(shard) = next {
                shard.phase = Phase::Restoring(Box::new(Restore::new(now)));
            }
        }
        let mut busy = false;
        let ids: Vec<ShardId> = self.shards.iter().filter(|(_, s)| matches!(s.phase, Phase::Restoring(_))).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(shard) = self.shards.get_mut(&id) else { continue };
            match shard.restore(&self.settings, &mut self.sets, client, sink, budget) {
                Ok(Progress::Busy | Progress::Done) => busy = true,
                // What is due already waits for the client's news.
                Ok(Progress::Waiting(until)) => *wake = (*wake).min(until.filter(|at| *at > now).unwrap_or(*wake)),
                Err(stop) => {
                    shard.drain(client, Some(stop));
                    Worker::tell_stopped(shard, sink);
                    busy = true;
                }
            }
            if let Phase::Restoring(restore) = &mut shard.phase
                && restore.wants_answer(now)
            {
                // With an older question still open, its answer is let go first.
                if let std::collections::btree_map::Entry::Vacant(open) = self.asked.entry(id) {
                    open.insert(Asker::Restore(shard.life));
                    client.recover(id);
                    restore.asked();
                }
            }
        }
        busy
    }

    fn tell_stopped<S: Sink>(shard: &Shard, sink: &mut S) {
        if let Phase::Stopped(stop) = &shard.phase {
            sink.notice(shard.id, &Notice::Stopped(stop));
        }
    }

    fn recovered<C: Client, S: Sink>(&mut self, client: &mut C, sink: &mut S, answer: Recovered, now: Timestamp) {
        match self.asked.remove(&answer.shard) {
            Some(Asker::Settle(number)) => {
                if let Commit::Settling { flight, .. } = &self.commit
                    && flight.number == number
                {
                    self.settle(client, sink, &answer, now);
                }
            }
            Some(Asker::Restore(life)) => {
                if let Some(shard) = self.shards.get_mut(&answer.shard).filter(|s| s.life == life)
                    && let Phase::Restoring(restore) = &mut shard.phase
                {
                    restore.recovered(answer, now);
                }
            }
            None => panic!("an answer about shard {} to no question", answer.shard),
        }
    }

    // Reading and deciding.

    fn work<C: Client, S: Sink>(&mut self, client: &mut C, sink: &mut S, wake: &mut Timestamp) -> bool {
        let mut busy = false;
        let mut left = self.settings.batch_records;
        let mut room = TRANSACTION_BYTES_MAX.saturating_sub(self.shards.values().map(Shard::staged_bytes).sum());
        let ids: Vec<ShardId> = self.shards.iter().filter(|(_, s)| matches!(s.phase, Phase::Running)).map(|(id, _)| *id).collect();
        for i in 0..ids.len() {
            if left == 0 {
                // Commits and group events have their turn before the others.
                self.turn += i;
                return true;
            }
            let id = ids[(self.turn + i) % ids.len()];
            let Some(shard) = self.shards.get_mut(&id) else { continue };
            if room == 0 {
                // The next commit makes room, and wakes us.
                return false;
            }
            let before = shard.staged_bytes();
            let turn = shard.turn(&self.settings, &mut self.sets, client, sink, left, &mut self.questions);
            left -= turn.records.min(left);
            room = room.saturating_sub(shard.staged_bytes().saturating_sub(before));
            busy |= turn.busy;
            *wake = (*wake).min(turn.wake.unwrap_or(*wake));
        }
        self.turn += 1;
        busy
    }

    // Transactions.

    /// Shards that are part of the transaction on its way.
    fn flying(&self) -> Vec<ShardId> {
        match &self.commit {
            Commit::Free => Vec::new(),
            Commit::Flying(flight) | Commit::Again { flight, .. } | Commit::Settling { flight, .. } => {
                flight.shards.iter().map(|s| s.shard).collect()
            }
        }
    }

    /// Hands a transaction over, if none is on its way and some shard has something to say.
    fn hand_over<C: Client>(&mut self, client: &mut C, now: Timestamp, wake: &mut Timestamp) {
        if !matches!(self.commit, Commit::Free) {
            return;
        }
        let draining = self.ending.is_some() || self.revoking.is_some();
        let due = self.shards.values().filter_map(|s| s.commit_at(now)).min();
        let Some(due) = due.map(|due| if draining { due } else { due.max(self.not_before) }) else {
            return;
        };
        if due > now {
            *wake = (*wake).min(due);
            return;
        }
        let mut transaction = Transaction::default();
        self.flights += 1;
        let mut flight = Flight { number: self.flights, shards: Vec::new(), tries: 0 };
        let mut partitions = 0;
        for shard in self.shards.values_mut() {
            if shard.commit_at(now).is_none_or(|at| at > now) {
                continue;
            }
            let sealed = shard.seal(&self.settings, client, now);
            flight.shards.push(FlightShard {
                shard: shard.id,
                life: shard.life,
                batch: sealed.part.batch,
                before: shard.committed,
                published: sealed.published,
                emitted_at: sealed.emitted_at,
            });
            let touched = |output| usize::from(sealed.part.records.iter().any(|r| r.output == output));
            partitions += [Output::Changes, Output::Memberships, Output::DeadLetters, Output::Journal].map(touched).iter().sum::<usize>();
            transaction.parts.push(sealed.part);
        }
        let floor = self.settings.commit_interval.0 * (1 + (partitions / PARTITIONS_PER_INTERVAL) as i64);
        self.not_before = now + Millis(floor);
        client.commit(transaction);
        self.commit = Commit::Flying(flight);
    }

    fn done<C: Client, S: Sink>(
        &mut self,
        client: &mut C,
        sink: &mut S,
        transaction: Box<Transaction>,
        outcome: Outcome,
        took: Millis,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Commit::Flying(mut flight) = std::mem::replace(&mut self.commit, Commit::Free) else {
            panic!("the client ends a transaction that was not handed over: {outcome:?}");
        };
        sink.transaction(&outcome, took, flight.shards.len());
        self.not_before = self.not_before.max(now + PAUSE);
        match outcome {
            Outcome::Committed => self.committed(sink, *transaction, flight, now),
            Outcome::Aborted(_) | Outcome::NotOwner(_) => {
                let wait = Millis(RETRY_FIRST.0 << flight.tries.min(10)).min(RETRY_MAX);
                flight.tries += 1;
                self.commit = Commit::Again { transaction, flight, at: now + wait };
            }
            Outcome::Uncertain(_) => {
                self.commit = Commit::Settling { transaction, flight, again: now };
                self.ask_to_settle(client, now);
            }
            Outcome::Fenced(words) => return Err(Fault::Fenced(words)),
            Outcome::Refused(words) => return Err(Fault::Refused(words)),
        }
        Ok(())
    }

    fn committed<S: Sink>(&mut self, sink: &mut S, transaction: Transaction, flight: Flight, now: Timestamp) {
        for (flown, part) in flight.shards.into_iter().zip(transaction.parts) {
            let Some(shard) = self.shards.get_mut(&flown.shard).filter(|s| s.life == flown.life) else {
                continue;
            };
            shard.committed = Some(flown.batch);
            sink.committed(&Committed {
                shard: flown.shard,
                batch: flown.batch,
                changes: &flown.published,
                emitted_at: flown.emitted_at,
                committed_at: now,
            });
            shard.reuse(part);
        }
        self.commit = Commit::Free;
    }

    /// Sends a transaction again, without the shards that are no longer ours.
    fn retry<C: Client>(&mut self, client: &mut C, now: Timestamp, wake: &mut Timestamp) {
        match &self.commit {
            Commit::Again { at, .. } if now >= *at => {}
            Commit::Again { at, .. } => {
                *wake = (*wake).min(*at);
                return;
            }
            Commit::Settling { .. } => {
                self.ask_to_settle(client, now);
                if let Commit::Settling { again, .. } = &self.commit
                    && *again > now
                {
                    *wake = (*wake).min(*again);
                }
                return;
            }
            _ => return,
        }
        let Commit::Again { mut transaction, mut flight, .. } = std::mem::replace(&mut self.commit, Commit::Free) else {
            return;
        };
        let ours: Vec<bool> = flight.shards.iter().map(|s| self.shards.get(&s.shard).is_some_and(|x| x.life == s.life)).collect();
        let mut keep = ours.iter();
        flight.shards.retain(|_| keep.next().copied().unwrap_or(false));
        let mut keep = ours.iter();
        transaction.parts.retain(|_| keep.next().copied().unwrap_or(false));
        if !flight.shards.is_empty() {
            client.commit(*transaction);
            self.commit = Commit::Flying(flight);
        }
    }

    // Giving shards back.

    /// Draining shards that have nothing left and a reason to stand still.
    fn drained<S: Sink>(&mut self, sink: &mut S, now: Timestamp) {
        let flying = self.flying();
        for shard in self.shards.values_mut() {
            if let Phase::Draining(Some(_)) = shard.phase
                && shard.commit_at(now).is_none()
                && !flying.contains(&shard.id)
            {
                shard.stand();
                Worker::tell_stopped(shard, sink);
            }
        }
    }

    fn give_up<C: Client, S: Sink>(&mut self, client: &mut C, sink: &mut S, now: Timestamp, wake: &mut Timestamp) {
        let Some(revoking) = &self.revoking else { return };
        let flying = self.flying();
        let open = |id: &ShardId| flying.contains(id) || self.shards.get(id).is_some_and(Worker::holds);
        let waits = revoking.shards.iter().any(open);
        if waits && now < revoking.deadline {
            *wake = (*wake).min(revoking.deadline);
            return;
        }
        let Some(Revoking { shards, .. }) = self.revoking.take() else { return };
        for id in &shards {
            let abandoned = flying.contains(id) || self.shards.get(id).is_some_and(Worker::holds);
            if let Some(mut shard) = self.shards.remove(id) {
                shard.close(client);
                sink.notice(*id, if abandoned { &Notice::Abandoned } else { &Notice::Released });
            }
        }
        client.give_up(&shards);
    }
}
