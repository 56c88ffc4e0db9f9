//! Threads and tokio: assemble, start, worker, drain, stop; the registry of shards and the read view, the only user of dashmap.

pub mod clock;
pub mod view;

pub use clock::SystemClock;
pub use view::View;
