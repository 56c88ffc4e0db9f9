//! What is passed to the client library: the user's properties, ours, and the refusal of those on which the promise rests.
//!
//! Four kinds of clients are made, with different properties: the group member, the input reader, the transactional producer, and one for
//! questions (administration, watermarks). A user's property goes to every kind that knows it.

use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode;

use super::Error;
use crate::config;

/// How to reach Kafka and as whom; the `[kafka]` table of the configuration. Prints without the values of client properties, among which are
/// secrets.
#[derive(Clone)]
pub struct Settings {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Consumer group; also the prefix of transactional ids.
    pub group: String,
    /// Stable and unique per instance, so that a restart ends its own dangling transaction.
    pub instance: String,
    /// Passed through to the client library, in order; a later value of the same property wins.
    pub client: Vec<(String, String)>,
    /// The broker is the client library's mock cluster (`segmentd demo`): fetches do not wake on new data there, and several questions go
    /// unanswered.
    pub mock: bool,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let properties: Vec<&str> = self.client.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Settings")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("instance", &self.instance)
            .field("client", &properties)
            .field("mock", &self.mock)
            .finish()
    }
}

impl From<&config::Kafka> for Settings {
    fn from(kafka: &config::Kafka) -> Settings {
        Settings {
            brokers: kafka.brokers.clone(),
            group: kafka.group.clone(),
            instance: kafka.instance.clone(),
            client: kafka.client.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect(),
            mock: false,
        }
    }
}

/// Time within which an instance that is gone or stands still loses its shards, unless the user sets `session.timeout.ms`.
pub const SESSION_TIMEOUT_MS: u64 = 10_000;

/// Longest wait for a first answer from the broker at start.
pub const BROKER_WAIT: Duration = Duration::from_secs(15);

/// Most bytes that a worker's lanes prefetch together.
const PREFETCH_BYTES: usize = 256 << 20;

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Member of the consumer group on the journal topic; reads nothing.
    Member,
    /// Reads inputs and journals by manual assignment.
    Reader,
    /// Asks for committed offsets whether they are stable or not; reads nothing.
    Peek,
    /// Writes transactions.
    Producer,
    /// Asks: administration, watermarks.
    Questions,
}

/// Properties that segmentd sets, with the reason why nobody else may.
const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "set kafka.brokers instead"),
    ("metadata.broker.list", "set kafka.brokers instead"),
    ("group.id", "set kafka.group instead"),
    ("group.instance.id", "shards are handed over on the death of a member; a static member keeps them while it is dead"),
    ("group.protocol", "the classic protocol is the one whose hand-over is tested"),
    ("group.protocol.type", "the classic protocol is the one whose hand-over is tested"),
    ("group.remote.assignor", "the classic protocol is the one whose hand-over is tested"),
    ("partition.assignment.strategy", "cooperative-sticky keeps the other shards running during a hand-over"),
    ("enable.auto.commit", "positions are committed in the transaction that carries their effects, and only there"),
    ("auto.commit.enable", "positions are committed in the transaction that carries their effects, and only there"),
    ("auto.commit.interval.ms", "positions are committed in the transaction that carries their effects, and only there"),
    ("enable.auto.offset.store", "positions are committed in the transaction that carries their effects, and only there"),
    ("offset.store.method", "positions are committed in the transaction that carries their effects, and only there"),
    ("auto.offset.reset", "a position that the log no longer has must stop the shard, never skip records"),
    ("isolation.level", "records of aborted transactions must not be seen"),
    ("enable.partition.eof", "the end of a partition is proved by a watermark, not by this event"),
    ("transactional.id", "it names the instance and worker (kafka.group, kafka.instance)"),
    ("transaction.timeout.ms", "it is 0.8 of session.timeout.ms, so that a dead owner's transaction ends before its successor starts"),
    ("enable.idempotence", "transactions need it"),
    ("enable.gapless.guarantee", "transactions decide what happens on a gap"),
    ("acks", "a change counts as published when all in-sync replicas have it"),
    ("request.required.acks", "a change counts as published when all in-sync replicas have it"),
    ("max.in.flight", "transactions need at most five"),
    ("max.in.flight.requests.per.connection", "transactions need at most five"),
    ("retries", "a transaction is retried as a whole"),
    ("message.send.max.retries", "a transaction is retried as a whole"),
    ("message.timeout.ms", "it follows transaction.timeout.ms"),
    ("delivery.timeout.ms", "it follows transaction.timeout.ms"),
    ("delivery.report.only.error", "failed deliveries must be seen"),
    ("partitioner", "outputs are written to their shard's partition explicitly"),
    ("log.queue", "the client's log is read by segmentd"),
    ("enabled_events", "segmentd reads the client's events itself"),
    ("test.mock.num.brokers", "a mock broker keeps no promise; see segmentd demo"),
];

/// Properties that only consumers know; a producer would warn of each.
const CONSUMER_ONLY: &[&str] = &[
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "coordinator.query.interval.ms",
    "max.poll.interval.ms",
    "queued.min.messages",
    "queued.max.messages.kbytes",
    "fetch.wait.max.ms",
    "fetch.queue.backoff.ms",
    "fetch.message.max.bytes",
    "max.partition.fetch.bytes",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.error.backoff.ms",
    "check.crcs",
    "consume.callback.max.messages",
];

/// Properties that only producers know.
const PRODUCER_ONLY: &[&str] = &[
    "queue.buffering.max.messages",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.ms",
    "linger.ms",
    "queue.buffering.backpressure.threshold",
    "compression.codec",
    "compression.type",
    "compression.level",
    "batch.num.messages",
    "batch.size",
    "sticky.partitioning.linger.ms",
    "request.timeout.ms",
    "queuing.strategy",
];

impl Settings {
    /// Refuses what the promise rests on.
    ///
    /// **Errors:** [`Error::Refused`] with the first such property and the reason; the user takes it out.
    pub fn validate(&self) -> Result<(), Error> {
        for (name, _) in &self.client {
            if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| refused == name) {
                return Err(Error::Refused { property: name.clone(), reason });
            }
        }
        if self.session_timeout_ms() < 1_000 {
            return Err(Error::Refused {
                property: "session.timeout.ms".into(),
                reason: "a number of milliseconds, 1000 or more, is needed",
            });
        }
        for role in [Role::Member, Role::Reader, Role::Peek, Role::Producer, Role::Questions] {
            // Asking the library costs nothing and finds misspelt names and values before anything starts.
            self.config(role).create_native_config().map_err(Error::configuration)?;
        }
        Ok(())
    }

    fn session_timeout_ms(&self) -> u64 {
        let text = self.client.iter().rev().find(|(n, _)| n == "session.timeout.ms").map(|(_, v)| v.trim().parse());
        text.map_or(SESSION_TIMEOUT_MS, |parsed| parsed.unwrap_or(0))
    }

    /// Time-out of the producer's transactions, in milliseconds: 0.8 of the session time-out.
    pub fn transaction_timeout_ms(&self) -> u64 {
        self.session_timeout_ms() * 4 / 5
    }

    /// The id of one worker's transactions: stable over restarts of the instance. Slashes, so that no two pairs of group and instance make
    /// one id.
    pub fn transactional_id(&self, worker: usize) -> String {
        format!("{}/{}/{worker}", self.group, self.instance)
    }

    /// Bounds what `lanes` lanes prefetch to [`PREFETCH_BYTES`] together, unless the user has set a bound.
    pub(super) fn with_lanes(&self, lanes: usize) -> Settings {
        let each = (PREFETCH_BYTES / lanes.max(1)).clamp(1 << 20, 16 << 20);
        let mut settings = self.clone();
        // In front: the user's own value comes later and wins.
        settings.client.insert(0, ("queued.max.messages.kbytes".into(), (each >> 10).to_string()));
        settings
    }

    /// The configuration of a client. Defaults of ours first, then the user's properties, then those that are not for the user.
    pub(super) fn config(&self, role: Role) -> ClientConfig {
        let mut config = ClientConfig::new();
        let mut set = |name: &str, value: &str| {
            config.set(name, value);
        };
        set("client.id", &format!("{}-{}", self.group, self.instance));
        // Errors of a connection that is retried are the client's own business; what matters comes as an error event.
        set("log.connection.close", "false");
        set("reconnect.backoff.ms", "50");
        set("reconnect.backoff.max.ms", "1000");
        set("topic.metadata.refresh.interval.ms", "30000");
        set("enable.metrics.push", "false");
        match role {
            Role::Member => {
                set("session.timeout.ms", &SESSION_TIMEOUT_MS.to_string());
                // A second member gets its share after two rounds of heartbeats: 3 s by default is 6 s of waiting.
                set("heartbeat.interval.ms", "500");
            }
            Role::Reader | Role::Peek => {
                // Per lane, since every lane is a queue of its own.
                set("queued.min.messages", "50000");
                set("queued.max.messages.kbytes", "16384");
                // By default a consumer at its queue limit pauses a whole second.
                set("fetch.queue.backoff.ms", "2");
                set("check.crcs", "false");
                set("fetch.error.backoff.ms", "50");
                // The broker answers at once when data come; but a partition that is added meanwhile has to wait for the answer. The mock
                // cluster does not wake a waiting fetch at all.
                set("fetch.wait.max.ms", if self.mock { "1" } else { "100" });
            }
            Role::Producer => {
                set("linger.ms", "0");
                set("compression.type", "lz4");
                // The broker answers "concurrent transactions" while it writes the markers of the transaction before; with the default
                // of 100 ms a commit takes that long. Each further wait is twice as long.
                set("retry.backoff.ms", "1");
                set("retry.backoff.max.ms", "100");
                set("queue.buffering.max.messages", "1000000");
                // Room for the largest set of definitions and for dead letters of any size; the topic's own limit decides.
                set("message.max.bytes", &super::topics::LARGE_MESSAGE_BYTES.to_string());
            }
            Role::Questions => {
                set("retry.backoff.ms", "20");
                set("retry.backoff.max.ms", "200");
            }
        }
        for (name, value) in &self.client {
            let foreign = match role {
                Role::Producer | Role::Questions => CONSUMER_ONLY,
                Role::Member | Role::Reader | Role::Peek => PRODUCER_ONLY,
            };
            // The session belongs to the member alone; questions are asked by a client of the producer kind.
            let skip = foreign.contains(&name.as_str()) || (role == Role::Questions && PRODUCER_ONLY.contains(&name.as_str()));
            if !skip {
                set(name, value);
            }
        }
        set("bootstrap.servers", &self.brokers);
        match role {
            Role::Member => {
                set("group.id", &self.group);
                set("group.protocol", "classic");
                set("partition.assignment.strategy", "cooperative-sticky");
                set("enable.auto.commit", "false");
                set("enable.auto.offset.store", "false");
                set("isolation.level", "read_committed");
                set("auto.offset.reset", "error");
            }
            Role::Reader | Role::Peek => {
                // A group id is needed for the consumer interface; this consumer never joins or commits.
                set("group.id", &self.group);
                set("enable.auto.commit", "false");
                set("enable.auto.offset.store", "false");
                set("isolation.level", if role == Role::Peek { "read_uncommitted" } else { "read_committed" });
                set("auto.offset.reset", "error");
                set("enable.partition.eof", "false");
            }
            Role::Producer => {
                set("enable.idempotence", "true");
                set("acks", "all");
                set("transaction.timeout.ms", &self.transaction_timeout_ms().to_string());
                set("delivery.report.only.error", "true");
            }
            Role::Questions => {}
        }
        config
    }
}

/// Context of every client: the library's log and errors become ours.
#[derive(Clone, Debug, Default)]
pub(super) struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "segmentd::kafka::client", facility, "{message}");
            }
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => tracing::info!(target: "segmentd::kafka::client", facility, "{message}"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => tracing::debug!(target: "segmentd::kafka::client", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // Connections come and go while a broker restarts; that nothing works is told by whoever waits for an answer.
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Resolve) => {
                tracing::debug!(target: "segmentd::kafka::client", %error, reason, "connection");
            }
            _ => tracing::warn!(target: "segmentd::kafka::client", %error, reason, "client error"),
        }
    }
}

impl ConsumerContext for Context {}

/// For clients of the producer kind that produce nothing.
impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(client: &[(&str, &str)]) -> Settings {
        Settings {
            brokers: "127.0.0.1:9".into(),
            group: "g".into(),
            instance: "i".into(),
            client: client.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            mock: false,
        }
    }

    #[test]
    fn properties_that_the_promise_rests_on_are_refused_with_a_reason() {
        for (name, _) in REFUSED {
            let error = settings(&[(name, "x")]).validate().expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
        settings(&[("security.protocol", "plaintext"), ("linger.ms", "3"), ("fetch.min.bytes", "7")]).validate().expect("passed through");
    }

    #[test]
    fn misspelt_properties_are_found_before_anything_starts() {
        let error = settings(&[("sesion.timeout.ms", "1")]).validate().expect_err("unknown");
        assert!(error.is_configuration() && error.to_string().contains("sesion.timeout.ms"), "{error}");
    }

    #[test]
    fn secrets_are_in_no_message() {
        let secret =
            settings(&[("ssl.key.pem", "hunter2"), ("sasl.password", "hunter2"), ("sasl.mechanism", "hunter2"), ("debug", "hunter2")]);
        assert!(!format!("{secret:?}").contains("hunter2"));
        let error = secret.validate().expect_err("no such debug context");
        assert!(!error.to_string().contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn the_transaction_ends_before_the_session() {
        assert_eq!(settings(&[]).transaction_timeout_ms(), 8_000);
        let own = settings(&[("session.timeout.ms", "20000")]);
        assert_eq!(own.transaction_timeout_ms(), 16_000);
        assert_eq!(own.config(Role::Producer).get("transaction.timeout.ms"), Some("16000"));
        assert_eq!(own.config(Role::Producer).get("session.timeout.ms"), None);
        assert_eq!(own.config(Role::Member).get("session.timeout.ms"), Some("20000"));
        assert!(settings(&[("session.timeout.ms", "soon")]).validate().is_err());
    }

    #[test]
    fn every_client_takes_its_configuration() {
        settings(&[]).validate().expect("defaults are right");
    }
}
