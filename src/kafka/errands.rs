//! What a new owner of a shard has to ask, each a call that blocks for milliseconds or seconds: run on a thread of its own, one after the
//! other and each answered once, so that the shards that run go on. One that finds no answer is asked again behind the others. In between it looks whether the inputs are still the topics that they were at the start.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode;

use super::native::{Bell, Native};
use super::settings::{Role, Settings};
use super::topics::{Checked, TopicNames};
use super::{Admin, Error, transactions};
use crate::ids::ShardId;
use crate::pipeline::{CommittedOffset, Ends, Event, InputLog, LaneId, Recovered};

/// How long the committed offset is waited for before it is taken for unstable: the library asks on and on while it is.
const STABLE_WAIT: Duration = Duration::from_millis(400);
/// Longest wait for one answer, after which it is asked again.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Pause before a question that was not answered is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How often the inputs are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Errand {
    /// See [`crate::pipeline::Client::recover`].
    Recover(ShardId),
    /// See [`crate::pipeline::Client::end_transaction`].
    EndTransaction { shard: ShardId, id: String },
    /// Where the log of a lane that cannot be read on begins and ends.
    Bounds { lane: LaneId, topic: Arc<str>, partition: i32 },
}

/// What comes back.
#[derive(Debug)]
pub(super) enum Answer {
    Event(Event),
    Bounds { lane: LaneId, ends: Ends },
}

/// The handle on the thread.
pub(super) struct Errands {
    orders: Option<Sender<Errand>>,
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Errands {
    /// Starts the thread with clients of its own. `checked`: the topics as they were at the start.
    pub(super) fn start(settings: &Settings, names: &TopicNames, checked: &Checked, bell: &Arc<Bell>) -> Result<Errands, Error> {
        // A bell of its own: its consumer's events wake nobody.
        let consumer = Native::new(settings, Role::Reader, &Arc::new(Bell::default()))?;
        let peek = Native::new(settings, Role::Peek, &Arc::new(Bell::default()))?;
        let admin = Admin::connect(settings)?;
        let (orders, inbox) = channel::<Errand>();
        let (outbox, answers) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = Thread {
            settings: settings.clone(),
            names: names.clone(),
            checked: checked.clone(),
            consumer,
            peek,
            admin,
            stop: stop.clone(),
            changed: false,
        };
        let bell = bell.clone();
        let thread = std::thread::Builder::new().name("errands".into()).spawn(move || thread.run(&inbox, &outbox, &bell));
        let thread = thread.map_err(|e| Error::Thread { what: "errands", source: e })?;
        Ok(Errands { orders: Some(orders), answers, thread: Some(thread), stop })
    }

    /// Sends the thread off; the bell rings when the answer is there.
    pub(super) fn send(&self, errand: Errand) {
        if let Some(orders) = &self.orders {
            // The thread ends only after this handle.
            let _ = orders.send(errand);
        }
    }

    /// The next answer that has come.
    pub(super) fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

impl Drop for Errands {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A question without an answer so far.
struct Waiting {
    errand: Errand,
    /// Whether it was told that it finds none.
    told: bool,
}

struct Thread {
    settings: Settings,
    names: TopicNames,
    checked: Checked,
    consumer: Native,
    peek: Native,
    admin: Admin,
    stop: Arc<AtomicBool>,
    /// A change of the inputs has been told; once is enough.
    changed: bool,
}

impl Thread {
    fn run(mut self, inbox: &Receiver<Errand>, outbox: &Sender<Answer>, bell: &Bell) {
        let mut looked = Instant::now();
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        loop {
            // One question that finds no answer must not hold up the others: it goes to the end of the queue, and after a round without any
            // answer there is a pause.
            let pause = if waiting.is_empty() { LOOK_EVERY } else { RETRY_PAUSE };
            match inbox.recv_timeout(pause) {
                Ok(errand) => waiting.push_back(Waiting { errand, told: false }),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            waiting.extend(inbox.try_iter().map(|errand| Waiting { errand, told: false }));
            while self.consumer.poll().is_some() || self.peek.poll().is_some() {}
            for _ in 0..waiting.len() {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                let Some(mut next) = waiting.pop_front() else { break };
                match self.ask(&next.errand) {
                    Ok(answer) => {
                        if outbox.send(answer).is_err() {
                            return;
                        }
                        bell.ring();
                    }
                    Err(error) => {
                        // Trouble that passes by itself: a broker that restarts, a coordinator on the move. The shard waits.
                        if next.told {
                            tracing::debug!(errand = ?next.errand, %error, "no answer yet");
                        } else {
                            tracing::warn!(errand = ?next.errand, %error, "no answer yet, asking again");
                        }
                        next.told = true;
                        waiting.push_back(next);
                    }
                }
            }
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                if let Some(words) = self.look() {
                    let _ = outbox.send(Answer::Event(Event::TopicChanged { words }));
                    bell.ring();
                }
            }
        }
    }

    fn ask(&self, errand: &Errand) -> Result<Answer, Error> {
        match errand {
            Errand::Recover(shard) => self.recover(*shard).map(|r| Answer::Event(Event::Recovered(r))),
            Errand::EndTransaction { shard, id } => {
                transactions::end_transaction_of(&self.settings, id, ANSWER_WAIT)?;
                Ok(Answer::Event(Event::TransactionEnded { shard: *shard }))
            }
            Errand::Bounds { lane, topic, partition } => {
                let (low, high) = self.admin.bounds(&[(topic, *partition)])?[0];
                Ok(Answer::Bounds { lane: *lane, ends: Ends { low, high } })
            }
        }
    }

    fn recover(&self, shard: ShardId) -> Result<Recovered, Error> {
        let partition = shard.0 as i32;
        // The offset before the ends: whatever is committed by then is within them.
        let committed = self.committed(partition)?;
        let mut partitions = vec![(self.names.journal.as_str(), partition)];
        partitions.extend(self.names.inputs.iter().map(|topic| (topic.as_str(), partition)));
        // Before the ends: a transaction that began in between shows as open, never as ended.
        let journal_stable = if self.settings.mock { i64::MAX } else { self.admin.last_stable(&self.names.journal, partition)? };
        let ends: Vec<Ends> = self.admin.bounds(&partitions)?.into_iter().map(|(low, high)| Ends { low, high }).collect();
        let topics: Vec<&str> = self.names.inputs.iter().map(String::as_str).collect();
        let described = self.admin.topics(&topics)?;
        let mut inputs = Vec::with_capacity(topics.len());
        for ((topic, found), ends) in topics.iter().zip(described).zip(&ends[1..]) {
            let found = found.ok_or_else(|| Error::code(format!("describing {topic}"), RDKafkaErrorCode::UnknownTopic))?;
            let topic_id = (found.id.0 != [0; 16]).then_some(found.id.0);
            inputs.push(InputLog { topic: (*topic).to_owned(), topic_id, ends: *ends });
        }
        let beside = if committed == CommittedOffset::Absent { self.beside(partition)? } else { None };
        Ok(Recovered { shard, committed, journal: ends[0], journal_stable: journal_stable.min(ends[0].high), inputs, beside })
    }

    /// What shows that a shard without a committed position has a past all the same: a journal topic that was deleted took its offsets with
    /// it, but not those of the inputs, nor what was published.
    fn beside(&self, partition: i32) -> Result<Option<String>, Error> {
        for topic in &self.names.inputs {
            if let Some((offset, _)) = self.peek.committed(topic, partition, ANSWER_WAIT)? {
                return Ok(Some(format!("the group's offset {offset} of {topic}-{partition}")));
            }
        }
        let changes = &self.names.changes;
        let (_, high) = self.admin.bounds(&[(changes, partition)])?[0];
        Ok((high > 0).then(|| format!("{high} published records in {changes}-{partition}")))
    }

    /// The library retries for ever while an offset is unstable, so that a time-out may mean that or a coordinator that does not answer.
    /// A second client, content with what is not stable, tells them apart: where it gets an answer at once and the first again gets none,
    /// a transaction is open.
    fn committed(&self, partition: i32) -> Result<CommittedOffset, Error> {
        let journal = &self.names.journal;
        let stable = || match self.consumer.committed(journal, partition, STABLE_WAIT) {
            Ok(Some((offset, metadata))) => Ok(CommittedOffset::At { offset, metadata }),
            Ok(None) => Ok(CommittedOffset::Absent),
            Err(e) => Err(e),
        };
        let silent = match stable() {
            Err(e) if e.rdkafka_code() == Some(RDKafkaErrorCode::OperationTimedOut) => e,
            Err(e) if e.rdkafka_code() == Some(RDKafkaErrorCode::UnstableOffsetCommit) => return Ok(CommittedOffset::Unstable),
            told => return told,
        };
        // The first question may have met a coordinator in the making: only an answer to the other one makes the silence mean anything.
        self.peek.committed(journal, partition, ANSWER_WAIT)?;
        match stable() {
            Err(e) if e.rdkafka_code() == Some(RDKafkaErrorCode::OperationTimedOut) => {
                self.peek.committed(journal, partition, STABLE_WAIT).map_err(|_| silent)?;
                Ok(CommittedOffset::Unstable)
            }
            told => told,
        }
    }

    /// Whether the inputs are still what they were: words for what is not.
    fn look(&mut self) -> Option<String> {
        if self.changed {
            return None;
        }
        let topics: Vec<&str> = self.names.all();
        // No answer is no change.
        let described = self.admin.topics(&topics).ok()?;
        let before = self.checked.inputs.iter().chain(&self.checked.ours);
        let words = before.zip(described).find_map(|(was, is)| match is {
            None => Some(format!("topic {} was deleted; restore it from a copy or run `segmentd topics reset --config FILE`", was.name)),
            Some(is) if is.id != was.id => Some(format!(
                "topic {} was deleted and created again (its id was {}, now it is {}): positions in it mean nothing any more; run \
                 `segmentd topics reset --config FILE`",
                was.name, was.id, is.id
            )),
            Some(is) if is.partitions != was.partitions => Some(format!(
                "topic {} has {} partitions now, it had {}: for an input this moves customers between partitions; copy the records of all \
                 inputs into new topics with equal counts and configure those",
                was.name, is.partitions, was.partitions
            )),
            Some(_) => None,
        })?;
        self.changed = true;
        Some(words)
    }
}
