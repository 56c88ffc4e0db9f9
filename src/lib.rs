//! segmentd: real-time behavioural segmentation over Kafka.
//!
//! Records of input topics become *membership changes* in an output topic, exactly once, at the exact millisecond at which a customer
//! starts or stops to satisfy a definition. See `docs/architecture.md` for the picture.
//!
//! # Code map, in reading order
//!
//! | module | owns |
//! |---|---|
//! | [`ids`], [`time`], [`limits`] | newtypes, instants, bounds |
//! | [`model`] | plain data: values, money, catalogue, changes |
//! | [`lang`] | `.seg` text to checked definitions, with diagnostics |
//! | [`plan`] | checked definitions to an immutable plan: selectors, features, conditions, indexes |
//! | [`engine`] | the deterministic state machine of one shard: `apply(batch) -> outputs` |
//! | [`wire`] | bytes to records and outputs to bytes |
//! | [`segtest`] | tests of definitions with a simulated clock |
//! | [`pipeline`] | a shard's life around its engine: batch, transaction, journal, restore, ownership |
//! | [`shop`] | a seeded shop whose records the demo, `generate` and benchmarks use |
//! | [`kafka`] | the pipeline's client on Kafka |
//! | [`runtime`] | threads: workers, registry, read view |
//! | [`serve`], [`telemetry`], [`config`], [`cli`] | HTTP, metrics and logs, configuration, commands |
//!
//! # Invariants, stated as what is absent
//!
//! * No clock, randomness, thread, file or async in `pipeline` and below (`tests/tidy.rs` checks it).
//! * No linear scan over all segments per event, no sweep over all customers for time.
//! * No position, clock or output that is not in the same transaction as the others.

pub mod ids;
pub mod limits;
pub mod time;

pub mod model;

pub mod lang;

pub mod plan;

pub mod engine;

pub mod wire;

pub mod segtest;

pub mod pipeline;

pub mod shop;

pub mod kafka;

pub mod runtime;

pub mod serve;

pub mod config;
pub mod telemetry;

pub mod cli;

#[cfg(feature = "testing")]
pub mod testing;

/// Changes are made and let go by the thousand, on several threads; the system's allocator takes a tenth of the engine's time for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
