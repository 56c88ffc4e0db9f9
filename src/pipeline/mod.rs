//! A shard's life around its engine: batch, transaction, journal, restore, ownership. A state machine above the narrow trait [`Client`].
//!
//! No I/O, no clock, no thread, no async: [`Client`] is stepped, never waited for.

pub mod client;

pub use client::{
    Client, CommittedOffset, Ends, Event, Header, InputLog, LaneFault, LaneId, Mark, Message, Outcome, Outgoing, Output, Part, Recovered,
    Source, Start, Transaction,
};
