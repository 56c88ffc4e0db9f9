//! From the journal and the input log to the state: what a new owner of a shard does before it decides anything.
//!
//! **Order** (DESIGN.md 4): the committed offset of the journal partition (require stable); its high watermark; the journal,
//! `read_committed`, up to that; the batch number must equal the offset's metadata. If a transaction stays open, the dead owner's
//! transactional id, which the journal names, ends it, and everything is asked again.
//!
//! **Replay.** Every batch of the journal is read again from the inputs, exactly the offsets that it names, under the arrival cap that it
//! names, and decided again with outputs off. Hash of the inputs, hash of the changes, clock and cursor must be what they were.
//!
//! Runs in slices between the turns of other shards, so that a restore holds nobody up for longer than a slice. Must never guess: what
//! does not fit stops the shard.

mod replay;

use std::sync::Arc;

use replay::{are_known, in_force, plan_of};

use super::client::{Client, CommittedOffset, LaneId, Recovered, Source, Start};
use super::sets::Sets;
use super::settings::Settings;
use super::shard::{Phase, Shard};
use super::sink::{Notice, Sink};
use super::stop::Stop;
use crate::ids::BatchNumber;
use crate::time::{Millis, Timestamp};
use crate::wire::journal::{JournalError, JournalInput, JournalRecord};

/// How long an open transaction of the former owner is waited for before it is ended by its id: its owner may just be finishing it.
const OPEN_TRANSACTION_WAIT: Millis = Millis(1_000);
/// How long to wait before an unstable committed offset is asked for again.
const ASK_AGAIN: Millis = Millis(100);
/// Journal records fetched ahead.
const JOURNAL_WANT: usize = 64;

/// A restore on its way.
#[derive(Debug)]
pub(super) struct Restore {
    step: Step,
    recovered: Option<Arc<Recovered>>,
    journal: Option<LaneId>,
    record: Option<Record>,
    /// Of the last journal record.
    former_owner: Option<String>,
    journal_records: u64,
    /// When something last went forward, or a wait began anew.
    moved_at: Timestamp,
    /// When the last answer came.
    recovered_at: Timestamp,
    /// When a record was last replayed.
    went_on_at: Timestamp,
    /// The former owner's transaction was ended; once is enough, whoever holds us up after that.
    ended: bool,
    /// The offset and the journal disagreed once, and both were asked for again.
    asked_twice: bool,
    batches: u64,
    records: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// [`Client::recover`] is on its way.
    Asked,
    Reading,
    /// To be asked again at this instant.
    AskAt(Timestamp),
    /// [`Client::end_transaction`] is on its way.
    Ending,
}

/// The journal record that is being replayed.
#[derive(Debug)]
struct Record {
    offset: i64,
    record: JournalRecord,
    /// Of its batches.
    next: usize,
    /// Where each input ends in the batch at hand; empty before it is begun.
    targets: Vec<i64>,
}

/// How far a slice came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More can be done at once.
    Busy,
    /// The client has to bring something, or the instant has to come.
    Waiting(Option<Timestamp>),
    /// The shard runs.
    Done,
}

impl Restore {
    /// A restore whose first question is still to be asked.
    pub fn new(now: Timestamp) -> Restore {
        Restore {
            step: Step::AskAt(now),
            recovered: None,
            journal: None,
            record: None,
            former_owner: None,
            journal_records: 0,
            moved_at: now,
            recovered_at: now,
            went_on_at: now,
            ended: false,
            asked_twice: false,
            batches: 0,
            records: 0,
        }
    }

    pub fn close<C: Client>(&mut self, client: &mut C) {
        if let Some(lane) = self.journal.take() {
            client.close(lane);
        }
    }

    /// Whether [`Client::recover`] is to be asked now.
    pub fn wants_answer(&self, now: Timestamp) -> bool {
        matches!(self.step, Step::AskAt(at) if now >= at)
    }

    /// It is on its way.
    pub fn asked(&mut self) {
        self.step = Step::Asked;
    }

    /// Whether nothing has gone forward for so long that another restore may begin beside this one.
    pub fn is_stuck(&self, now: Timestamp) -> bool {
        now - self.went_on_at >= OPEN_TRANSACTION_WAIT
    }

    /// An answer to [`Client::recover`].
    pub fn recovered(&mut self, answer: Recovered, now: Timestamp) {
        self.recovered = Some(Arc::new(answer));
        self.step = Step::Reading;
        self.recovered_at = now;
        if self.journal.is_none() {
            self.moved_at = now;
        }
    }

    /// The former owner's transaction is settled: everything is asked again.
    pub fn transaction_ended(&mut self, now: Timestamp) {
        self.step = Step::AskAt(now);
        self.moved_at = now;
    }

    pub fn batches(&self) -> u64 {
        self.batches
    }
}

impl Shard {
    /// Goes on with the restore, for about `budget` records.
    pub fn restore<C: Client, S: Sink>(
        &mut self,
        settings: &Settings,
        sets: &mut Sets,
        client: &mut C,
        sink: &mut S,
        budget: usize,
    ) -> Result<Progress, Stop> {
        let Phase::Restoring(restore) = std::mem::replace(&mut self.phase, Phase::Queued) else {
            panic!("shard {} is not being restored", self.id);
        };
        let mut restore = restore;
        let progress = self.slice(settings, sets, client, sink, &mut restore, budget);
        if let Ok(Progress::Done) = progress {
            restore.close(client);
            self.run(sink, client.now(), restore.batches, restore.records);
        } else {
            self.phase = Phase::Restoring(restore);
        }
        progress
    }

    fn slice<C: Client, S: Sink>(
        &mut self,
        settings: &Settings,
        sets: &mut Sets,
        client: &mut C,
        sink: &mut S,
        restore: &mut Restore,
        budget: usize,
    ) -> Result<Progress, Stop> {
        let now = client.now();
        match restore.step {
            Step::Asked | Step::Ending => return Ok(Progress::Waiting(None)),
            Step::AskAt(at) => return Ok(Progress::Waiting(Some(at))),
            Step::Reading => {}
        }
        let recovered = restore.recovered.clone().expect("the answer is there once reading has begun");
        if self.topics.is_empty() {
            self.topics = topics_of(settings, &recovered);
        }
        let journal = match restore.journal {
            Some(lane) => lane,
            None => {
                sink.notice(self.id, &Notice::Restoring);
                let lane = client.open(self.id, Source::Journal, Start { offset: recovered.journal.low, leader_epoch: None });
                *restore.journal.insert(lane)
            }
        };
        let mut left = budget;
        loop {
            if let Some(mut record) = restore.record.take() {
                let before = left;
                let finished = self.replay(settings, sets, client, sink, restore, &recovered, &mut record, &mut left)?;
                if before != left || finished {
                    (restore.moved_at, restore.went_on_at) = (now, now);
                }
                if !finished {
                    restore.record = Some(record);
                    return Ok(if left == 0 { Progress::Busy } else { Progress::Waiting(None) });
                }
            }
            if left == 0 {
                return Ok(Progress::Busy);
            }
            let held = client.fill(journal, JOURNAL_WANT).map_err(Stop::Journal)?;
            if held == 0 {
                break;
            }
            let message = client.message(journal, 0);
            let offset = message.offset;
            let record = JournalRecord::decode(message.value.unwrap_or_default()).map_err(|source| Stop::Record { offset, source })?;
            if !are_known(sets, restore.journal_records == 0, &record)? {
                // The record is read again when they are.
                return Ok(Progress::Waiting(None));
            }
            client.advance(journal, 1);
            (restore.moved_at, restore.went_on_at) = (now, now);
            self.admit(settings, sets, client, restore, &recovered, offset, &record)?;
            restore.journal_records += 1;
            restore.former_owner = Some(record.transactional_id.clone());
            restore.record = Some(Record { offset, record, next: 0, targets: Vec::new() });
            left -= 1;
        }
        if client.position(journal) < recovered.journal.high {
            // Its end is not there yet, or an open transaction stands before it.
            return Ok(self.held_up(client, sink, restore, &recovered, now));
        }
        self.conclude((settings, sets), client, sink, restore, &recovered, now)
    }

    /// The journal is read to its end: does it agree with the committed offset?
    fn conclude<C: Client, S: Sink>(
        &mut self,
        (settings, sets): (&Settings, &Sets),
        client: &mut C,
        sink: &mut S,
        restore: &mut Restore,
        recovered: &Recovered,
        now: Timestamp,
    ) -> Result<Progress, Stop> {
        match (&recovered.committed, restore.journal_records) {
            (CommittedOffset::Unstable, _) => {
                if now - restore.moved_at >= OPEN_TRANSACTION_WAIT {
                    return Ok(self.held_up(client, sink, restore, recovered, now));
                }
                restore.step = Step::AskAt(now + ASK_AGAIN);
                return Ok(Progress::Waiting(Some(now + ASK_AGAIN)));
            }
            // With its topic the broker forgets the group's offsets of it; what else there is still tells of a past.
            (CommittedOffset::Absent, 0) if let Some(beside) = &recovered.beside => {
                return Err(Stop::JournalEmpty { beside: beside.clone() });
            }
            (CommittedOffset::Absent, 0) if recovered.journal.low == 0 => {
                sink.notice(self.id, &Notice::Fresh);
                self.start_with(settings, sets.target.clone());
                self.open_inputs(client, self.topics.clone());
                self.first = true;
            }
            (CommittedOffset::Absent, 0) => {
                return Err(Stop::JournalEmpty { beside: format!("a first offset of {}", recovered.journal.low) });
            }
            (CommittedOffset::At { metadata, .. }, 0) => {
                return Err(Stop::JournalEmpty { beside: format!("a committed offset of batch {metadata}") });
            }
            // The broker has forgotten the group's offsets, as it does after a week; the journal is read to its end.
            (CommittedOffset::Absent, _) => {}
            (CommittedOffset::At { metadata, .. }, _) if *metadata == self.number.to_string() => {}
            (CommittedOffset::At { .. }, _) if !restore.asked_twice => {
                restore.asked_twice = true;
                restore.step = Step::AskAt(now + ASK_AGAIN);
                return Ok(Progress::Waiting(Some(now + ASK_AGAIN)));
            }
            (CommittedOffset::At { metadata, .. }, _) => {
                return Err(Stop::OffsetDiffers { committed: metadata.clone(), journal: self.number });
            }
        }
        self.committed = (!self.first).then_some(self.number);
        self.journal_end = recovered.journal.high;
        Ok(Progress::Done)
    }

    /// Waits for what the journal's end or the committed offset lacks. Ends the former owner's transaction where one is proved to be open
    /// for long: a slow fetch looks the same, and whoever has that id now, perhaps a living owner of other shards, is fenced by it.
    fn held_up<C: Client, S: Sink>(
        &mut self,
        client: &mut C,
        sink: &mut S,
        restore: &mut Restore,
        recovered: &Recovered,
        now: Timestamp,
    ) -> Progress {
        let until = restore.moved_at + OPEN_TRANSACTION_WAIT;
        if now < until {
            return Progress::Waiting(Some(until));
        }
        if restore.recovered_at < until {
            // The answer is older than the wait.
            restore.step = Step::AskAt(now);
            return Progress::Waiting(Some(now));
        }
        restore.moved_at = now;
        let open = recovered.committed == CommittedOffset::Unstable || recovered.journal_stable < recovered.journal.high;
        match &restore.former_owner {
            Some(id) if open && !restore.ended => {
                restore.ended = true;
                sink.notice(self.id, &Notice::EndingTransaction { transactional_id: id });
                restore.step = Step::Ending;
                client.end_transaction(self.id, id);
                Progress::Waiting(None)
            }
            // Nothing is open, or no record tells whose it is; then the broker ends it when its time is over.
            _ => Progress::Waiting(Some(now + OPEN_TRANSACTION_WAIT)),
        }
    }

    /// Checks that a journal record is ours to replay; the first one opens the inputs.
    fn admit<C: Client>(
        &mut self,
        settings: &Settings,
        sets: &mut Sets,
        client: &mut C,
        restore: &Restore,
        recovered: &Recovered,
        offset: i64,
        record: &JournalRecord,
    ) -> Result<(), Stop> {
        let broken = |what| Stop::Record { offset, source: JournalError::Inconsistent(what) };
        if record.shard != self.id {
            return Err(broken("it belongs to another shard"));
        }
        let in_force = in_force(record)?;
        if record.settings != settings.hash() {
            return Err(Stop::Settings);
        }
        if record.inputs.len() != self.topics.len() || record.inputs.iter().zip(&self.topics).any(|(a, b)| a.topic != b.topic) {
            let names = |inputs: &[JournalInput]| inputs.iter().map(|i| i.topic.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Stop::InputsDiffer { journal: names(&record.inputs), configured: names(&self.topics) });
        }
        for ((input, ours), log) in record.inputs.iter().zip(&self.topics).zip(&recovered.inputs) {
            if input.topic_id.zip(ours.topic_id).is_some_and(|(a, b)| a != b) {
                return Err(Stop::Recreated { topic: input.topic.clone() });
            }
            if input.next_offset > log.ends.high {
                let (topic, high) = (input.topic.clone(), log.ends.high);
                return Err(Stop::Rewound { topic, high, next_offset: input.next_offset });
            }
        }
        if restore.journal_records == 0 {
            if record.batch != BatchNumber(0) || !record.batches.is_empty() {
                return Err(Stop::BeginningLost { low: recovered.journal.low, found: record.batch });
            }
            for (input, log) in record.inputs.iter().zip(&recovered.inputs) {
                if input.next_offset < log.ends.low {
                    return Err(Stop::Truncated { topic: input.topic.clone(), needed: input.next_offset, low: log.ends.low });
                }
            }
            let begin = record.inputs.iter().zip(&self.topics);
            let begin = begin.map(|(input, ours)| JournalInput { topic_id: ours.topic_id, ..input.clone() }).collect();
            self.open_inputs(client, begin);
            self.start_with(settings, plan_of(sets, &in_force)?);
            return Ok(());
        }
        // A batch follows its predecessor; an idle record repeats the number.
        let (found, expected) = match record.batches.first() {
            Some(first) => (first.number, BatchNumber(self.number.0 + 1)),
            None => (record.batch, self.number),
        };
        if found != expected {
            return Err(Stop::Gap { offset, expected, found });
        }
        Ok(())
    }
}

/// The inputs of the configuration as the log has them, at their beginnings.
fn topics_of(settings: &Settings, recovered: &Recovered) -> Vec<JournalInput> {
    let configured: Vec<&str> = settings.inputs.iter().map(|i| &*i.topic).collect();
    let found: Vec<&str> = recovered.inputs.iter().map(|i| i.topic.as_str()).collect();
    assert_eq!(configured, found, "the client reads the inputs of the configuration");
    let begin = recovered.inputs.iter().map(|input| JournalInput {
        topic: input.topic.clone(),
        topic_id: input.topic_id,
        next_offset: input.ends.low,
        leader_epoch: -1,
        last_arrival: None,
    });
    begin.collect()
}
