//! The pipeline's client on Kafka: the only user of the client library.
//!
//! Owns the consumer group that says which shards are ours, the consumer that reads the inputs by hand-made assignment, the transactional
//! producer, the thread that asks for watermarks, and the administration of topics. It must never decide what a record means or when a
//! timer fires: it moves bytes, positions and proofs between the broker and [`crate::pipeline`].
//!
//! | file | owns |
//! |---|---|
//! | [`settings`] | what is passed to the client library, what is refused there and why |
//! | [`admin`], [`topics`] | descriptions, creation, checks and deletion of topics |
//! | [`definitions`] | reading and writing the definitions topic |
//! | [`feed`], [`tail`] | a plain producer and a plain reader, for commands |
//! | [`mock`] | the embedded broker of the demo |
//! | [`client`] | [`crate::pipeline::Client`], assembled from the next four |
//! | `native` | a consumer straight on the C library: lanes, group events |
//! | `transactions` | the producer and its thread |
//! | `watermarks`, `errands` | threads that wait for the broker's answers |
//! | `sample` | the newest records of every partition |
//! | `raw` | calls of the C library that the wrapper lacks; nearly all `unsafe` of this module |

pub mod admin;
mod block;
pub mod client;
pub mod definitions;
mod errands;
pub mod feed;
pub mod mock;
mod native;
mod raw;
mod sample;
pub mod settings;
pub mod tail;
pub mod topics;
mod transactions;
mod watermarks;

pub use admin::Admin;
pub use client::{KafkaClient, Waker};
pub use sample::{newest_keys, newest_values};
pub use settings::Settings;
pub use topics::TopicNames;

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

/// What can go wrong with the broker or the client library, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answered in time. Environment: wait, or mend the address or the broker.
    #[error("no answer from a Kafka broker at {brokers} within {waited_ms} ms{}", detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default())]
    Unreachable { brokers: String, waited_ms: u64, detail: Option<String> },
    /// A property of `[kafka.client]` on which the promise of exactly once rests, or that segmentd sets itself. Configuration.
    #[error("kafka.client.{property:?} cannot be set: {reason}")]
    Refused { property: String, reason: &'static str },
    /// The client library does not take its configuration. Configuration.
    #[error("the Kafka client refuses its configuration: {0}")]
    Configuration(String),
    /// Topics are absent or unfit; the text names each and the command that mends it. Environment.
    #[error("{0}")]
    Topics(topics::Problems),
    /// An operation on the broker failed. Environment.
    #[error("{action} failed: {source}")]
    Operation { action: String, source: KafkaError },
    /// The operating system gives no thread. Environment.
    #[error("no thread for {what}: {source}")]
    Thread { what: &'static str, source: std::io::Error },
    /// A record of one of segmentd's own topics cannot be read: another program writes there. Environment.
    #[error("record {offset} of {topic}-{partition} is not one of segmentd's: {what}")]
    Foreign { topic: String, partition: u32, offset: i64, what: String },
}

impl Error {
    /// The library's complaint about a property, without the value, which may be a secret.
    fn configuration(error: KafkaError) -> Error {
        Error::Configuration(match error {
            KafkaError::ClientConfig(result, _, property, _) => {
                let what = match result {
                    rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => "there is no such property",
                    _ => "its value is not valid",
                };
                format!("kafka.client.{property:?}: {what}")
            }
            // Texts about a combination of properties; their values are not in them.
            KafkaError::ClientCreation(words) => words,
            other => other.to_string(),
        })
    }

    fn rdkafka_code(&self) -> Option<RDKafkaErrorCode> {
        match self {
            Error::Operation { source, .. } => match source {
                KafkaError::AdminOp(code) => Some(*code),
                other => other.rdkafka_error_code(),
            },
            _ => None,
        }
    }

    fn operation(action: impl Into<String>, source: KafkaError) -> Error {
        Error::Operation { action: action.into(), source }
    }

    fn code(action: impl Into<String>, code: RDKafkaErrorCode) -> Error {
        Error::operation(action, KafkaError::AdminOp(code))
    }

    /// Whether the user's configuration is at fault (exit code 2) and not the environment (exit code 3).
    pub fn is_configuration(&self) -> bool {
        matches!(self, Error::Refused { .. } | Error::Configuration(_))
    }
}

#[cfg(all(test, feature = "broker-tests"))]
mod broker_tests;
