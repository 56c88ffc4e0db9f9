//! Tests on a real Apache Kafka: topics, exactly once, assignment, revocation, fencing, drain.
//!
//! One broker serves the whole suite (`tests/kafka/broker`, stopped when this process ends); every test has topics of its own. Run with
//! `cargo test --features broker-tests --test kafka`.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/jdata.rs"]
mod common_jdata;
mod definitions;
mod exactly_once;
mod expected;
mod harness;
mod jdata;
mod refusals;
mod shop;
mod time;
mod topics;
