//! The embedded broker of `segmentd demo`: the client library's mock cluster.
//!
//! It speaks the real protocol on loopback, so that the demo goes through the same client as production. What it does not do is said in
//! the demo's own words: transactions answer but do not isolate, old records vanish, and it has no administration. Nothing about exactly
//! once is proved on it.

use std::ffi::CString;

use rdkafka::client::Client;
use rdkafka::config::ClientConfig;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaType};
use rdkafka_sys as sys;

use super::Error;
use super::settings::Context;

/// A mock cluster of one broker; it ends when this is dropped.
pub struct MockBroker {
    /// Owns the cluster.
    client: Client<Context>,
    brokers: String,
}

impl MockBroker {
    /// Starts the broker on a free port.
    ///
    /// **Errors:** the library cannot start it; environment.
    pub fn start() -> Result<MockBroker, Error> {
        let mut config = ClientConfig::new();
        config.set("test.mock.num.brokers", "1");
        // The library announces the mock cluster as a warning; the demo says it in its own words.
        config.set("log_level", "2");
        let native = config.create_native_config().map_err(Error::configuration)?;
        let client = Client::new(&config, native, RDKafkaType::RD_KAFKA_PRODUCER, Context)
            .map_err(|e| Error::operation("starting the embedded broker", e))?;
        // SAFETY: the client is alive; the cluster belongs to it and lives as long.
        let cluster = unsafe { sys::rd_kafka_handle_mock_cluster(client.native_ptr()) };
        if cluster.is_null() {
            return Err(Error::code("starting the embedded broker", RDKafkaErrorCode::Fail));
        }
        // By default a group waits 3 s for further members before it starts.
        // SAFETY: as above.
        unsafe { sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0) };
        // SAFETY: as above; the text belongs to the cluster and is copied at once.
        let brokers = unsafe { std::ffi::CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(cluster)) }.to_string_lossy().into_owned();
        Ok(MockBroker { client, brokers })
    }

    /// `host:port`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Makes a topic.
    ///
    /// **Errors:** the broker has it already, or the name is none.
    pub fn create_topic(&self, topic: &str, partitions: u32) -> Result<(), Error> {
        let action = || format!("creating topic {topic} in the embedded broker");
        let name = CString::new(topic).map_err(|_| Error::code(action(), RDKafkaErrorCode::InvalidTopic))?;
        // SAFETY: the client and so the cluster are alive, the name is a C text that outlives the call.
        let code = unsafe {
            let cluster = sys::rd_kafka_handle_mock_cluster(self.client.native_ptr());
            sys::rd_kafka_mock_topic_create(cluster, name.as_ptr(), partitions as i32, 1)
        };
        match code {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err(Error::code(action(), code.into())),
        }
    }
}
