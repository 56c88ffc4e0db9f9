//! Code generated from `proto/segmentd/v1`, checked in; `tests/wire.rs` compares it with what the files give today.

#[rustfmt::skip]
#[allow(clippy::all, missing_docs)]
pub mod v1;
