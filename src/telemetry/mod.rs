//! Subscriber, exporter, and every metric name in one file.
//!
//! [`log`] says how the program talks, [`metrics`] what it counts: every name, its description, and the handles through which the edges
//! count. Handles are made once and cached; on the per-event path a count is one atomic addition per batch. [`exporter`] publishes them
//! for Prometheus. Labels come from bounded sets (inputs, shards, segments, reasons), never from customers. Nothing in `pipeline` or
//! below counts here: the engine returns [`crate::engine::output::Counts`], and the edge adds them up.

pub mod exporter;
pub mod log;
pub mod metrics;

pub use exporter::{Exporter, Readings};
pub use metrics::{Metrics, ShardMetrics, TransactionOutcome};
