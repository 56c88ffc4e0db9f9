//! Threads and tokio: assemble, start, worker, drain, stop; the registry of shards and the read view, the only user of dashmap.
