//! The transactional producer, on a thread of its own: a transaction goes in whole, its outcome comes out, and the worker reads on meanwhile.
//!
//! What the client library forces on us (2.12.1):
//!
//! * Outstanding messages are drained by polling with a zero time-out and sleeping 100 us: the library flushes in slices of 100 ms.
//! * The commit has no time-out (-1): one that runs out leaves a transaction about which nothing is known.
//! * It has no KIP-890: a delayed end of a transaction can finish a later one of the same epoch. So the producer is replaced (same id,
//!   new epoch) before the next transaction whenever an end took long, met trouble, or returned anything but clean success.
//! * An uncertain commit is never guessed at: the producer is replaced first, which settles the transaction on the broker one way or the
//!   other, and then [`Outcome::Uncertain`] tells the pipeline to read the journal.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;

use super::Error;
use super::native::{self, Bell, GroupMetadata, Trouble};
use super::settings::{Context, Role, Settings};
use super::topics::TopicNames;
use crate::pipeline::{Outcome, Outgoing, Output, Part, Transaction};

/// An end of a transaction that takes longer makes the producer suspect.
const SUSPECT_AFTER: Duration = Duration::from_secs(2);
/// Longest wait for the thread when the worker ends.
const GOODBYE: Duration = Duration::from_secs(5);
/// Pause between two looks at what is still on its way.
const DRAIN_PAUSE: Duration = Duration::from_micros(100);
/// Being fenced happens in good order too: an heir of a shard that we lost ends what we left open, the broker itself times a transaction
/// out. This often within this time it is another process that uses the same transactional id as we do.
const FENCED_OFTEN: usize = 5;
const FENCED_WITHIN: Duration = Duration::from_secs(60);
/// Longest wait for one answer while a producer is being made; then it is tried again.
const INIT_WAIT: Duration = Duration::from_secs(10);

/// What the thread is asked.
enum Order {
    Commit { transaction: Box<Transaction>, group: Option<GroupMetadata> },
    Stop,
}

/// The outcome, with the transaction back for another try or for its buffers.
pub(super) struct Done {
    pub outcome: Outcome,
    pub transaction: Box<Transaction>,
    pub took: Duration,
}

/// The handle on the thread.
pub(super) struct Committer {
    orders: Sender<Order>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Committer {
    /// Makes the producer (ends a transaction that a former life of this worker left open) and starts the thread.
    ///
    /// **Errors:** [`Error::Configuration`]; [`Error::Unreachable`] and operations that fail within `wait`.
    pub(super) fn start(
        settings: &Settings,
        names: &TopicNames,
        worker: usize,
        bell: &Arc<Bell>,
        wait: Duration,
    ) -> Result<Committer, Error> {
        let id = settings.transactional_id(worker);
        let maker = Maker { settings: settings.clone(), id };
        let names = names.clone();
        let producer = maker.make(wait)?;
        let (orders, inbox) = channel();
        let (outbox, done) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let (bell, limit) = (bell.clone(), Duration::from_millis(settings.transaction_timeout_ms()));
        let run = move || {
            let mut thread = Thread {
                maker,
                names,
                producer: Some(producer),
                suspect: false,
                fenced: VecDeque::new(),
                limit,
                bell: bell.clone(),
                stop: stopped,
            };
            while let Ok(Order::Commit { transaction, group }) = inbox.recv() {
                let started = Instant::now();
                let outcome = thread.commit(&transaction, group.as_ref());
                if outbox.send(Done { outcome, transaction, took: started.elapsed() }).is_err() {
                    return;
                }
                bell.ring();
            }
        };
        let thread = std::thread::Builder::new().name(format!("commit-{worker}")).spawn(run);
        let thread = thread.map_err(|e| Error::Thread { what: "commit", source: e })?;
        Ok(Committer { orders, done, thread: Some(thread), stop })
    }

    /// Hands a transaction over. One at a time: the next after [`Committer::done`] gave this one back.
    /// `group`: as of this moment, on the thread that answers the group's events; `None` where the client has none.
    pub(super) fn commit(&self, transaction: Box<Transaction>, group: Option<GroupMetadata>) {
        // The thread lives as long as this handle; were it gone, `done` would say so.
        let _ = self.orders.send(Order::Commit { transaction, group });
    }

    /// The outcome, if it is there.
    ///
    /// **Panics:** the commit thread has ended by a panic of its own; the worker's end is the only safe answer.
    pub(super) fn done(&self) -> Option<Done> {
        match self.done.try_recv() {
            Ok(done) => Some(done),
            Err(std::sync::mpsc::TryRecvError::Empty) => None,
            Err(std::sync::mpsc::TryRecvError::Disconnected) => panic!("the commit thread has ended"),
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.orders.send(Order::Stop);
        // A commit has no time-out, so with the broker away the thread may never come back: whoever ends does not wait for it for long.
        let deadline = Instant::now() + GOODBYE;
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

/// Ends whatever transaction another worker's id has left open, by taking the id over for a moment. Whoever still uses it is fenced.
pub(super) fn end_transaction_of(settings: &Settings, id: &str, wait: Duration) -> Result<(), Error> {
    Maker { settings: settings.clone(), id: id.to_owned() }.make(wait).map(drop)
}

/// Makes producers of one transactional id.
struct Maker {
    settings: Settings,
    id: String,
}

impl Maker {
    fn make(&self, wait: Duration) -> Result<BaseProducer<Deliveries>, Error> {
        let started = Instant::now();
        let mut config = self.settings.config(Role::Producer);
        config.set("transactional.id", &self.id);
        let producer: BaseProducer<Deliveries> =
            BaseProducer::from_config_and_context(&config, Deliveries::default()).map_err(Error::configuration)?;
        loop {
            let left = wait.saturating_sub(started.elapsed());
            match producer.init_transactions(left.min(INIT_WAIT)) {
                Ok(()) => return Ok(producer),
                Err(e) => {
                    let (retriable, code) = match &e {
                        KafkaError::Transaction(e) => (e.is_retriable() && !e.is_fatal(), e.code()),
                        _ => (false, RDKafkaErrorCode::Unknown),
                    };
                    producer.poll(Duration::ZERO);
                    if retriable && started.elapsed() < wait {
                        std::thread::sleep(Duration::from_millis(20));
                        continue;
                    }
                    if code == RDKafkaErrorCode::OperationTimedOut {
                        return Err(Error::Unreachable {
                            brokers: self.settings.brokers.clone(),
                            waited_ms: started.elapsed().as_millis() as u64,
                            detail: Some(format!("initialising transactions of {}: {e}", self.id)),
                        });
                    }
                    return Err(Error::operation(format!("initialising transactions of {}", self.id), e));
                }
            }
        }
    }
}

struct Thread {
    maker: Maker,
    names: TopicNames,
    /// `None` after a replacement that failed; made before the next transaction.
    producer: Option<BaseProducer<Deliveries>>,
    suspect: bool,
    /// When it happened, those older than [`FENCED_WITHIN`] forgotten.
    fenced: VecDeque<Instant>,
    limit: Duration,
    bell: Arc<Bell>,
    stop: Arc<AtomicBool>,
}

impl Thread {
    fn commit(&mut self, transaction: &Transaction, group: Option<&GroupMetadata>) -> Outcome {
        let Some(group) = group.filter(|g| g.is_checkable()) else {
            return Outcome::NotOwner("the client is not a member of the group at this moment".into());
        };
        if (self.suspect || self.producer.is_none())
            && let Err(outcome) = self.replace()
        {
            return outcome;
        }
        let Some(producer) = &self.producer else {
            return Outcome::Aborted("no producer".into());
        };
        let started = Instant::now();
        let (outcome, clean) = run(producer, &self.names, transaction, group, self.limit);
        if outcome != Outcome::Committed || !clean || started.elapsed() > SUSPECT_AFTER {
            self.suspect = true;
        }
        match outcome {
            Outcome::Uncertain(why) => self.settle(why),
            Outcome::Fenced(why) => self.fenced(why),
            outcome => outcome,
        }
    }

    /// An heir that found our transaction open, after we had stood still for longer than our session, has ended it by our id: that is as
    /// it should be, and the group will tell what we have lost. Fenced at its end, a transaction may have been committed before.
    fn fenced(&mut self, why: String) -> Outcome {
        let now = Instant::now();
        self.fenced.retain(|at| now - *at < FENCED_WITHIN);
        self.fenced.push_back(now);
        if self.fenced.len() >= FENCED_OFTEN {
            return Outcome::Fenced(why);
        }
        tracing::warn!(why, "this worker's transactional id was taken over, to end a transaction that it had left open");
        self.settle(why)
    }

    /// A new producer of the same id: the broker finishes or aborts what the old one left, and refuses the old one from then on.
    fn replace(&mut self) -> Result<(), Outcome> {
        self.producer = None;
        match self.maker.make(self.limit) {
            Ok(producer) => {
                self.producer = Some(producer);
                self.suspect = false;
                Ok(())
            }
            Err(Error::Operation { source: KafkaError::Transaction(e), .. }) if is_fencing(e.code()) => Err(Outcome::Fenced(e.to_string())),
            // The transaction at hand was not begun, so it may come again.
            Err(e) => Err(Outcome::Aborted(format!("making a new producer: {e}"))),
        }
    }

    /// After an uncertain end nothing is said before a new producer has made it final.
    fn settle(&mut self, why: String) -> Outcome {
        loop {
            match self.replace() {
                Ok(()) => return Outcome::Uncertain(why),
                Err(Outcome::Fenced(by)) => return Outcome::Fenced(by),
                // Nobody waits for the outcome any more; the next life settles it.
                Err(outcome) if self.stop.load(Ordering::Relaxed) => return outcome,
                Err(outcome) => {
                    tracing::warn!(why, ?outcome, "settling an uncertain commit: no new producer yet");
                    std::thread::sleep(Duration::from_millis(200));
                    // The worker looks whether it is to end meanwhile.
                    self.bell.ring();
                }
            }
        }
    }
}

fn is_fencing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch
            | RDKafkaErrorCode::TransactionCoordinatorFenced
    )
}

fn is_lost_ownership(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::IllegalGeneration
            | RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::FencedInstanceId
            | RDKafkaErrorCode::RebalanceInProgress
            | RDKafkaErrorCode::StaleMemberEpoch
    )
}

/// Runs one transaction to its end, and tells whether that end was clean: at the first try, with no trouble of a connection since the
/// beginning. A request that broke off with its connection may reach the broker later and end the next transaction.
fn run(
    producer: &BaseProducer<Deliveries>,
    names: &TopicNames,
    transaction: &Transaction,
    group: &GroupMetadata,
    limit: Duration,
) -> (Outcome, bool) {
    producer.context().forget();
    if let Err(outcome) = fill(producer, names, transaction, group, limit) {
        return (outcome, false);
    }
    let mut tries = 0;
    loop {
        tries += 1;
        let trouble = match producer.commit_transaction(rdkafka::util::Timeout::Never) {
            Ok(()) => {
                producer.poll(Duration::ZERO);
                return (Outcome::Committed, tries == 1 && !producer.context().is_troubled());
            }
            Err(e) => Trouble::from(e),
        };
        let why = format!("committing: {}", trouble.words);
        if is_fencing(trouble.code) {
            return (Outcome::Fenced(why), false);
        }
        // Also where the library asks for an abort: the transaction has failed for it, while the broker may have committed it.
        if trouble.fatal || trouble.must_abort || !trouble.retriable {
            return (Outcome::Uncertain(why), false);
        }
        // The library goes on with the same commit.
    }
}

/// Begins, writes everything and waits until it is in the log; only the end is missing then.
fn fill(
    producer: &BaseProducer<Deliveries>,
    names: &TopicNames,
    transaction: &Transaction,
    group: &GroupMetadata,
    limit: Duration,
) -> Result<(), Outcome> {
    let deadline = Instant::now() + limit;
    if let Err(e) = producer.begin_transaction() {
        return Err(failed(producer, "beginning", e.into()));
    }
    // Offsets first. The coordinator answers "concurrent transactions" while it still completes the transaction before, or registers
    // partitions: for offsets the library then waits `retry.backoff.ms`, for the partitions of messages a fixed 20 ms. With the offsets in,
    // the transaction is open and nothing else is on its way when the messages' partitions come.
    if let Err(e) = send_offsets(producer, names, transaction, group, deadline) {
        return Err(failed(producer, "sending offsets", e));
    }
    for part in &transaction.parts {
        for record in &part.records {
            send(producer, names, part, record, deadline)?;
        }
    }
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::ZERO);
        if producer.in_flight_count() > 0 {
            if Instant::now() > deadline {
                return Err(abort(producer, "messages were not delivered within the transaction's time-out".into()));
            }
            std::thread::sleep(DRAIN_PAUSE);
        }
    }
    if let Some((code, words)) = producer.context().failed() {
        let why = format!("delivery failed: {words}");
        return Err(match code {
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopicOrPartition => match abort(producer, why) {
                Outcome::Aborted(why) => Outcome::Refused(why),
                outcome => outcome,
            },
            code if is_fencing(code) => Outcome::Fenced(why),
            _ => abort(producer, why),
        });
    }
    Ok(())
}

fn send(producer: &BaseProducer<Deliveries>, names: &TopicNames, part: &Part, record: &Outgoing, deadline: Instant) -> Result<(), Outcome> {
    let topic = match record.output {
        Output::Changes => &names.changes,
        Output::Memberships => &names.memberships,
        Output::DeadLetters => &names.dead_letters,
        Output::Journal => &names.journal,
    };
    let make = || {
        let mut out: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(part.shard.0 as i32);
        out.key = part.key(record);
        out.payload = part.value(record);
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            out.headers = Some(part.headers(record).fold(headers, |h, (key, value)| h.insert(Header { key, value })));
        }
        out
    };
    loop {
        match producer.send(make()) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) if Instant::now() < deadline => {
                producer.poll(Duration::ZERO);
                std::thread::sleep(DRAIN_PAUSE);
            }
            Err((e, _)) => {
                let too_large = e.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge);
                let outcome = abort(producer, format!("writing to {topic}-{}: {e}", part.shard));
                return Err(match outcome {
                    Outcome::Aborted(why) if too_large => Outcome::Refused(why),
                    outcome => outcome,
                });
            }
        }
    }
}

fn send_offsets(
    producer: &BaseProducer<Deliveries>,
    names: &TopicNames,
    transaction: &Transaction,
    group: &GroupMetadata,
    deadline: Instant,
) -> Result<(), Trouble> {
    let mut list = TopicPartitionList::with_capacity(transaction.parts.len());
    let mut metadata = Vec::with_capacity(transaction.parts.len());
    for part in &transaction.parts {
        let partition = part.shard.0 as i32;
        list.add_partition_offset(&names.journal, partition, rdkafka::Offset::Offset(part.journal_offset))?;
        metadata.push(Some(part.batch.to_string()));
        for (input, offset) in &part.input_offsets {
            list.add_partition_offset(&names.inputs[input.at()], partition, rdkafka::Offset::Offset(*offset))?;
            metadata.push(None);
        }
    }
    // The list keeps the order in which it was filled.
    for (mut element, metadata) in list.elements().into_iter().zip(&metadata) {
        if let Some(metadata) = metadata {
            element.set_metadata(metadata);
        }
    }
    if metadata.is_empty() {
        return Ok(());
    }
    loop {
        match native::send_offsets(producer.client(), &list, group, deadline.saturating_duration_since(Instant::now())) {
            Err(t) if t.retriable && !t.fatal && !t.must_abort && Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            result => return result,
        }
    }
}

/// An error before the commit began: nothing is visible, whatever it was; what matters is whether we may try again.
fn failed(producer: &BaseProducer<Deliveries>, action: &str, trouble: Trouble) -> Outcome {
    let why = format!("{action}: {}", trouble.words);
    if is_fencing(trouble.code) {
        return Outcome::Fenced(why);
    }
    match abort(producer, why) {
        Outcome::Aborted(why) if is_lost_ownership(trouble.code) => Outcome::NotOwner(why),
        outcome => outcome,
    }
}

/// Aborts. A failed abort needs no more than a replacement of the producer, which ends the transaction by its id; that comes before the
/// next one, since anything but a commit makes the producer suspect.
fn abort(producer: &BaseProducer<Deliveries>, why: String) -> Outcome {
    // Undrained, an abort blocks for its time-out: what is still queued or on its way is dropped first.
    producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
    let drained = Instant::now() + Duration::from_secs(1);
    while producer.in_flight_count() > 0 && Instant::now() < drained {
        producer.poll(Duration::ZERO);
        std::thread::sleep(DRAIN_PAUSE);
    }
    match producer.abort_transaction(Duration::from_secs(5)) {
        Ok(()) => Outcome::Aborted(why),
        Err(KafkaError::Transaction(e)) if is_fencing(e.code()) => Outcome::Fenced(format!("{why}; aborting: {e}")),
        Err(e) => Outcome::Aborted(format!("{why}; aborting: {e}")),
    }
}

/// What went wrong since the beginning of the transaction.
#[derive(Debug, Default)]
struct Deliveries {
    /// The first failed delivery.
    failed: Mutex<Option<(RDKafkaErrorCode, String)>>,
    /// A connection broke, or a request was not answered.
    troubled: AtomicBool,
}

impl Deliveries {
    fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    fn forget(&self) {
        self.troubled.store(false, Ordering::Relaxed);
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn failed(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.troubled.store(true, Ordering::Relaxed);
        Context.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
            let words = format!("{}-{}: {error}", message.topic(), message.partition());
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((code, words));
        }
    }
}
