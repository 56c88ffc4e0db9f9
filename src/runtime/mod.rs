//! Threads and tokio: assemble, start, worker, drain, stop; the registry of shards and the read view, the only user of dashmap.

pub mod clock;
pub mod definitions;
pub mod preview;
mod service;
mod shelf;
mod signals;
mod sink;
pub mod view;
mod worker;

pub use clock::SystemClock;
pub use preview::Previewer;
pub use service::{Handle, Start, Stopper, start, topic_names};
pub use signals::on_stop;
pub use view::View;

use crate::engine::output::Published;
use crate::ids::{SetHash, ShardId};
use crate::time::Timestamp;
use crate::{kafka, pipeline};

/// Told of what was committed, on a worker's thread: it must return at once.
pub trait Observer: Send + Sync {
    /// Changes of a shard are visible since `committed_at`.
    fn committed(&self, shard: ShardId, changes: &[Published], committed_at: Timestamp);
}

/// Why the service does not start, or has ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Broker, topics, or the client's configuration.
    #[error("{0}")]
    Kafka(#[from] kafka::Error),
    /// The stored texts of no set compile to it; `set` is the newest. Configuration: the program that wrote them is another version.
    #[error(
        "the set {set} in {topic} cannot be read by this version of segmentd, nor any before it: run the version that published it, or start \
         anew with `segmentd topics reset --config FILE`, which asks first"
    )]
    SetUnreadable { topic: String, set: SetHash },
    /// Producers put customers elsewhere than the configuration says. Configuration.
    #[error(
        "{misplaced} of the newest {looked_at} records of {topic}-{partition} have no key, or one that `partitioner = \"{partitioner}\"` puts \
         into another partition: set the partitioner that the producers use (`murmur2`: the Java client, or the C client \
         with partitioner=murmur2_random; `crc32`: the C client's default), or mend the producers"
    )]
    Misplaced { topic: String, partition: u32, misplaced: usize, looked_at: usize, partitioner: &'static str },
    /// A worker has ended. Environment.
    #[error("worker {worker}: {fault}")]
    Worker { worker: usize, fault: pipeline::Fault },
    /// A worker has met a bug of ours; its shards must be restored by another life. The panic's text was logged.
    #[error("worker {worker} has ended by a bug")]
    Panicked { worker: usize },
    /// The operating system refuses a thread, a port, a handler. Environment.
    #[error("{0}")]
    System(std::io::Error),
}

impl Error {
    /// Whether the user's configuration is at fault (exit code 2) and not the environment (exit code 3).
    pub fn is_configuration(&self) -> bool {
        match self {
            Error::Kafka(e) => e.is_configuration(),
            Error::SetUnreadable { .. } | Error::Misplaced { .. } => true,
            Error::Worker { .. } | Error::Panicked { .. } | Error::System(_) => false,
        }
    }
}
