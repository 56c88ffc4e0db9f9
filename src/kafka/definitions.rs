//! The definitions topic: immutable sets of definitions, one record each, keyed by the hash of the set, and the time-zone databases by which
//! shards have decided, keyed by their version.
//!
//! Reads and writes bytes; what a record contains is the caller's business. Nothing is ever deleted or overwritten here: journals name both.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::settings::{Context, Role, Settings};
use super::{Admin, Error};
use crate::ids::SetHash;

/// Longest wait without any progress while reading or writing.
const PROGRESS_WAIT: Duration = Duration::from_secs(30);

/// One stored set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSet {
    /// Place in the topic; a later set was published later.
    pub offset: i64,
    pub hash: SetHash,
    pub value: Vec<u8>,
}

/// What the topic holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// In the order of publication; the last is what `apply` wanted to be in force.
    pub sets: Vec<StoredSet>,
    /// Time-zone databases by their version, as they were first stored.
    pub zones: BTreeMap<String, Vec<u8>>,
}

/// Keys of time-zone databases begin with it; no hash of a set does.
const ZONES: &str = "time-zones ";

/// Everything that the topic holds.
///
/// **Errors:** [`Error::Foreign`] for a record that is neither a set nor a database; operations that fail.
pub fn read(settings: &Settings, admin: &Admin, topic: &str) -> Result<Stored, Error> {
    let (low, high) = admin.bounds(&[(topic, 0)])?[0];
    let mut stored = Stored::default();
    if low >= high {
        return Ok(stored);
    }
    let failed = |e| Error::operation(format!("reading {topic}"), e);
    let consumer: BaseConsumer<Context> =
        BaseConsumer::from_config_and_context(&settings.config(Role::Reader), Context).map_err(Error::configuration)?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Offset(low)).map_err(failed)?;
    consumer.assign(&assignment).map_err(failed)?;
    let mut waiting_since = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                waiting_since = Instant::now();
                let foreign =
                    |what: &str| Error::Foreign { topic: topic.into(), partition: 0, offset: message.offset(), what: what.into() };
                let key = message.key().and_then(|k| std::str::from_utf8(k).ok()).unwrap_or_default();
                let value = message.payload().ok_or_else(|| foreign("it has no value"))?.to_vec();
                match (key.strip_prefix(ZONES), key.parse()) {
                    (Some(version), _) => {
                        stored.zones.entry(version.into()).or_insert(value);
                    }
                    (None, Ok(hash)) => stored.sets.push(StoredSet { offset: message.offset(), hash, value }),
                    (None, Err(_)) => return Err(foreign("its key is no hash of a set")),
                }
            }
            Some(Err(e)) => {
                // Passing trouble of a connection; the wait below bounds it.
                tracing::debug!(error = %e, topic, "reading definitions");
            }
            None => {}
        }
        // The consumer's position also passes what is not handed out: markers of transactions, aborted records.
        let position = consumer.position().map_err(failed)?.find_partition(topic, 0).and_then(|p| p.offset().to_raw()).unwrap_or(low);
        if position >= high {
            return Ok(stored);
        }
        if waiting_since.elapsed() > PROGRESS_WAIT {
            return Err(failed(rdkafka::error::KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)));
        }
    }
}

/// Publishes one set and waits until all in-sync replicas have it.
///
/// **Errors:** operations that fail; the set is then not, or not certainly, published, and publishing it again does no harm.
pub fn publish(settings: &Settings, topic: &str, hash: SetHash, value: &[u8]) -> Result<(), Error> {
    put(settings, topic, &hash.to_string(), value)
}

/// Stores one time-zone database and waits until all in-sync replicas have it.
///
/// **Errors:** as of [`publish`].
pub fn publish_zones(settings: &Settings, topic: &str, version: &str, value: &[u8]) -> Result<(), Error> {
    put(settings, topic, &format!("{ZONES}{version}"), value)
}

fn put(settings: &Settings, topic: &str, key: &str, value: &[u8]) -> Result<(), Error> {
    let mut config = settings.config(Role::Producer);
    // Outside any transaction: a definitions record is complete in itself.
    config.remove("transaction.timeout.ms");
    let producer: BaseProducer<Delivery> =
        BaseProducer::from_config_and_context(&config, Delivery::default()).map_err(Error::configuration)?;
    let action = || format!("publishing definitions to {topic}");
    producer.send(BaseRecord::to(topic).partition(0).key(key).payload(value)).map_err(|(e, _)| Error::operation(action(), e))?;
    let started = Instant::now();
    while producer.in_flight_count() > 0 && started.elapsed() < PROGRESS_WAIT {
        producer.poll(Duration::from_millis(5));
    }
    if producer.in_flight_count() > 0 {
        let code = RDKafkaErrorCode::MessageTimedOut;
        return Err(Error::operation(action(), rdkafka::error::KafkaError::MessageProduction(code)));
    }
    match producer.context().failed() {
        Some(e) => Err(Error::operation(action(), e)),
        None => Ok(()),
    }
}

/// Remembers the first failed delivery.
#[derive(Debug, Default)]
struct Delivery {
    failed: std::sync::Mutex<Option<rdkafka::error::KafkaError>>,
}

impl Delivery {
    fn failed(&self) -> Option<rdkafka::error::KafkaError> {
        self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl rdkafka::client::ClientContext for Delivery {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        Context.log(level, facility, message);
    }
    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        Context.error(error, reason);
    }
}

impl rdkafka::producer::ProducerContext for Delivery {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &rdkafka::message::DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert_with(|| error.clone());
        }
    }
}
