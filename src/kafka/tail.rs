//! A reader of one of segmentd's own topics, for `segmentd tail` and the demo: all partitions, committed records only, no group.

use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::Error;
use super::settings::{BROKER_WAIT, Context, Role, Settings};

/// Reads a topic's values as they are committed.
pub struct Tail {
    consumer: BaseConsumer<Context>,
    topic: String,
}

impl Tail {
    /// Connects and assigns every partition.
    ///
    /// * `from_start`: from the first record that the log has; otherwise from its end.
    ///
    /// **Errors:** [`Error::Unreachable`] after a bounded wait; a topic that does not exist.
    pub fn open(settings: &Settings, topic: &str, from_start: bool) -> Result<Tail, Error> {
        settings.validate()?;
        let mut config = settings.config(Role::Reader);
        // A reader for people: fetches small, and at once.
        config.set("queued.min.messages", "1000").set("queued.max.messages.kbytes", "16384");
        if settings.mock {
            // Each fetch of the mock cluster walks the partition's batches: fewer fetches, for a reader that is in no hurry.
            config.set("fetch.wait.max.ms", "4");
        }
        // A partition that was deleted up to a later offset is read from there.
        config.set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer<Context> = BaseConsumer::from_config_and_context(&config, Context).map_err(Error::configuration)?;
        let started = Instant::now();
        let metadata = consumer.fetch_metadata(Some(topic), BROKER_WAIT).map_err(|e| Error::Unreachable {
            brokers: settings.brokers.clone(),
            waited_ms: started.elapsed().as_millis() as u64,
            detail: Some(e.to_string()),
        })?;
        let found = metadata.topics().iter().find(|t| t.name() == topic).filter(|t| t.error().is_none());
        let partitions: Vec<i32> = found.map(|t| t.partitions().iter().map(|p| p.id()).collect()).unwrap_or_default();
        if partitions.is_empty() {
            return Err(Error::code(format!("looking for topic {topic}"), RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        let failed = |e| Error::operation(format!("reading {topic}"), e);
        let mut assignment = TopicPartitionList::new();
        for partition in partitions {
            let from = if from_start { Offset::Beginning } else { Offset::End };
            assignment.add_partition_offset(topic, partition, from).map_err(failed)?;
        }
        consumer.assign(&assignment).map_err(failed)?;
        Ok(Tail { consumer, topic: topic.into() })
    }

    /// Waits for the next record, and hands its value to `take`; `false` where none came in time.
    ///
    /// **Errors:** what does not pass by itself; a connection that comes and goes is not told.
    pub fn next(&mut self, wait: Duration, take: impl FnOnce(&[u8])) -> Result<bool, Error> {
        match self.consumer.poll(wait) {
            Some(Ok(message)) => {
                take(message.payload().unwrap_or_default());
                Ok(true)
            }
            Some(Err(e)) => match e.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::BrokerTransportFailure
                    | RDKafkaErrorCode::AllBrokersDown
                    | RDKafkaErrorCode::OperationTimedOut
                    | RDKafkaErrorCode::Resolve,
                ) => Ok(false),
                _ => Err(Error::operation(format!("reading {}", self.topic), e)),
            },
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::feed::Feed;
    use super::super::mock::MockBroker;
    use super::*;
    use crate::time::Timestamp;
    use crate::wire::Partitioner;

    #[test]
    fn what_is_fed_to_the_embedded_broker_is_read_back_and_placed_by_key() {
        let broker = MockBroker::start().expect("starts");
        broker.create_topic("clicks", 3).expect("made");
        let settings =
            Settings { brokers: broker.brokers().into(), group: "g".into(), instance: "i".into(), client: Vec::new(), mock: true };
        let mut feed = Feed::connect(&settings, &[("clicks".into(), Partitioner::Murmur2)]).expect("connects");
        for i in 0..50 {
            feed.send(0, format!("c-{i}").as_bytes(), format!("v-{i}").as_bytes(), Timestamp(1_000)).expect("sent");
        }
        feed.flush().expect("delivered");
        let mut tail = Tail::open(&settings, "clicks", true).expect("opens");
        let mut values = Vec::new();
        let started = Instant::now();
        while values.len() < 50 && started.elapsed() < Duration::from_secs(20) {
            tail.next(Duration::from_millis(100), |v| values.push(String::from_utf8_lossy(v).into_owned())).expect("reads");
        }
        values.sort();
        let mut want: Vec<String> = (0..50).map(|i| format!("v-{i}")).collect();
        want.sort();
        assert_eq!(values, want);
        assert!(Tail::open(&settings, "", true).is_err());
    }
}
