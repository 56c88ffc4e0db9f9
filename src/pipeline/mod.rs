//! A shard's life around its engine: batch, transaction, journal, restore, ownership. A state machine above the narrow trait [`Client`],
//! which `kafka` implements on Kafka and `testing` in memory.
//!
//! | file | owns |
//! |---|---|
//! | [`client`] | the trait, and the values that cross it |
//! | [`settings`] | what a worker must know |
//! | `worker` | several shards, the group's events, the one transaction |
//! | `shard` | reading, deciding and staging of one shard; its phases |
//! | `activation` | which definitions are in force in a shard, and how others come into force |
//! | `decoder` | the decoders of a shard's inputs |
//! | `inputs` | merge of the inputs, and what is proved about the ends of their logs |
//! | `staged` | encoded outputs and the journal record that seals them |
//! | `restore` | journal and log to state; `restore/replay` a batch again, with its proof |
//! | `sets` | sets of definitions that are known, and the one that is to be in force |
//! | [`sink`], [`status`], [`stop`] | what leaves, what can be seen, why something stands still |
//!
//! No I/O, no clock of its own, no thread, no async: a [`Worker`] is stepped, never waited for, and the same events in the same order
//! give the same commands. It must never publish anything that the journal does not hold in the same transaction, never start anew
//! beside a past, and never take silence for the end of a log.
//!
//! **Source:** DESIGN.md 4; the batch loop with two bounds is restatedev/restate:crates/worker/src/partition/mod.rs.

mod activation;
pub mod client;
mod decoder;
mod inputs;
mod restore;
mod sets;
pub mod settings;
mod shard;
pub mod sink;
mod staged;
pub mod status;
pub mod stop;
mod worker;

pub use client::{
    Client, CommittedOffset, Ends, Event, Header, InputLog, LaneFault, LaneId, Mark, Message, Outcome, Outgoing, Output, Part, Recovered,
    Source, Start, Transaction,
};
pub use settings::{Format, InputSettings, Settings};
pub use sink::{BatchReport, Committed, Notice, Sink};
pub use status::{ShardPhase, ShardStatus};
pub use stop::{Fault, Stop};
pub use worker::{Next, Worker};
