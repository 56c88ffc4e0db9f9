//! A plain producer of input records, for `segmentd generate` and the demo: keyed by customer, placed as segmentd expects it.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;

use super::Error;
use super::settings::{BROKER_WAIT, Context, Role, Settings};
use crate::time::Timestamp;
use crate::wire::Partitioner;

/// Longest wait without any progress.
const PROGRESS_WAIT: Duration = Duration::from_secs(30);

/// Sends records of several topics.
pub struct Feed {
    producer: BaseProducer<Delivery>,
    topics: Vec<Target>,
    padding: Vec<u8>,
}

struct Target {
    name: String,
    partitioner: Partitioner,
    partitions: u32,
}

impl Feed {
    /// Connects, and asks for the topics' partition counts.
    ///
    /// **Errors:** [`Error::Unreachable`] after a bounded wait; a topic that does not exist.
    pub fn connect(settings: &Settings, topics: &[(String, Partitioner)]) -> Result<Feed, Error> {
        settings.validate()?;
        let mut config = settings.config(Role::Producer);
        config.remove("transaction.timeout.ms");
        config.set("linger.ms", "2").set("message.timeout.ms", "30000");
        let producer: BaseProducer<Delivery> =
            BaseProducer::from_config_and_context(&config, Delivery::default()).map_err(Error::configuration)?;
        let started = Instant::now();
        let mut targets = Vec::new();
        for (name, partitioner) in topics {
            let metadata = producer.client().fetch_metadata(Some(name), BROKER_WAIT).map_err(|e| Error::Unreachable {
                brokers: settings.brokers.clone(),
                waited_ms: started.elapsed().as_millis() as u64,
                detail: Some(e.to_string()),
            })?;
            let topic = metadata.topics().iter().find(|t| t.name() == name).filter(|t| t.error().is_none());
            let partitions = topic.map_or(0, |t| t.partitions().len() as u32);
            if partitions == 0 {
                return Err(Error::code(format!("looking for topic {name}"), RDKafkaErrorCode::UnknownTopicOrPartition));
            }
            targets.push(Target { name: name.clone(), partitioner: *partitioner, partitions });
        }
        Ok(Feed { producer, topics: targets, padding: Vec::new() })
    }

    /// Every record carries a header of this many bytes from here on.
    ///
    /// The mock cluster looks for an offset by walking its batches from the oldest one, at every fetch, and forgets old ones only when a
    /// partition holds 5 MiB: with small records the walk grows until it takes a core. Large records keep it short.
    pub fn pad(&mut self, bytes: usize) {
        self.padding = vec![0; bytes];
    }

    /// Hands one record over; waits while the queue is full.
    ///
    /// **Errors:** nothing moves any more; an earlier record could not be delivered.
    pub fn send(&mut self, topic: usize, key: &[u8], value: &[u8], timestamp: Timestamp) -> Result<(), Error> {
        let target = &self.topics[topic];
        let partition = target.partitioner.partition(key, target.partitions) as i32;
        let mut record = BaseRecord::to(&target.name).partition(partition).key(key).payload(value).timestamp(timestamp.0);
        if !self.padding.is_empty() {
            record = record.headers(OwnedHeaders::new().insert(Header { key: "padding", value: Some(&self.padding) }));
        }
        let started = Instant::now();
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) if started.elapsed() < PROGRESS_WAIT => {
                    record = again;
                    self.producer.poll(Duration::from_millis(5));
                }
                Err((e, _)) => return Err(Error::operation(format!("producing to {}", target.name), e)),
            }
        }
    }

    /// Lets the library report deliveries; call it now and then.
    ///
    /// **Errors:** the first record that could not be delivered.
    pub fn poll(&mut self) -> Result<(), Error> {
        self.producer.poll(Duration::ZERO);
        match self.producer.context().failed() {
            Some(e) => Err(Error::operation("producing", e)),
            None => Ok(()),
        }
    }

    /// Waits until everything is delivered.
    ///
    /// **Errors:** as [`Feed::poll`]; a time-out.
    pub fn flush(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        while self.producer.in_flight_count() > 0 {
            self.poll()?;
            if started.elapsed() > PROGRESS_WAIT {
                return Err(Error::code("producing", RDKafkaErrorCode::MessageTimedOut));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.poll()
    }
}

/// Remembers the first failed delivery.
#[derive(Debug, Default)]
struct Delivery {
    failed: Mutex<Option<KafkaError>>,
}

impl Delivery {
    fn failed(&self) -> Option<KafkaError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Delivery {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Context.log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        Context.error(error, reason);
    }
}

impl ProducerContext for Delivery {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
        }
    }
}
