//! Error objects of the library as values, and the one call of transactions that the wrapper does not let us make.

use std::os::raw::c_int;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka_sys as sys;

use super::{Error, GroupMetadata, owned};

/// An error object of the library, told apart by what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct Trouble {
    pub code: RDKafkaErrorCode,
    pub words: String,
    /// The client is of no use any more.
    pub fatal: bool,
    /// The same call may be made again.
    pub retriable: bool,
    /// The transaction must be aborted.
    pub must_abort: bool,
}

impl From<KafkaError> for Trouble {
    fn from(error: KafkaError) -> Trouble {
        let words = error.to_string();
        match error {
            KafkaError::Transaction(e) => {
                Trouble { code: e.code(), words, fatal: e.is_fatal(), retriable: e.is_retriable(), must_abort: e.txn_requires_abort() }
            }
            e => {
                let code = e.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                Trouble { code, words, fatal: false, retriable: false, must_abort: false }
            }
        }
    }
}

/// Takes over an error object of the library.
pub(super) fn trouble(error: *mut sys::rd_kafka_error_t) -> Result<(), Trouble> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null error object that we own, read before it is destroyed.
    unsafe {
        let trouble = Trouble {
            code: sys::rd_kafka_error_code(error).into(),
            words: owned(sys::rd_kafka_error_string(error)),
            fatal: sys::rd_kafka_error_is_fatal(error) != 0,
            retriable: sys::rd_kafka_error_is_retriable(error) != 0,
            must_abort: sys::rd_kafka_error_txn_requires_abort(error) != 0,
        };
        sys::rd_kafka_error_destroy(error);
        Err(trouble)
    }
}

pub(super) fn taken(error: *mut sys::rd_kafka_error_t, action: &str) -> Result<(), Error> {
    trouble(error).map_err(|t| Error::code(format!("{action} ({})", t.words), t.code))
}

/// Adds offsets to the producer's open transaction, under the group's metadata. The wrapper's call takes only metadata of its own consumers.
pub(in crate::kafka) fn send_offsets<C: ClientContext>(
    producer: &Client<C>,
    offsets: &TopicPartitionList,
    group: &GroupMetadata,
    timeout: Duration,
) -> Result<(), Trouble> {
    let timeout_ms = timeout.as_millis().clamp(1, 3_600_000) as c_int;
    // SAFETY: producer, list and metadata are alive for the call, which copies what it needs.
    unsafe { trouble(sys::rd_kafka_send_offsets_to_transaction(producer.native_ptr(), offsets.ptr(), group.0, timeout_ms)) }
}
