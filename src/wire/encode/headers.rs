//! Headers of changes (CloudEvents, Kafka binding, binary mode) and of dead letters (KIP-1034's names).

use std::fmt::Write;

use crate::engine::output::DeadLetter;
use crate::model::Change;

/// How the value of a record is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    #[default]
    Json,
    Protobuf,
}

impl Payload {
    pub fn content_type(self) -> &'static str {
        match self {
            Payload::Json => "application/json",
            Payload::Protobuf => "application/protobuf",
        }
    }
}

/// Gives the headers of a change to `push`, each once. `source` names the instance group, such as `/segmentd/GROUP`; together with the
/// id it is unique. `scratch` is only memory.
///
/// **Source:** CloudEvents 1.0.2 and its Kafka protocol binding 1.0.2, section 3.2. `time` is `since`, the instant of the occurrence;
/// when it was decided and emitted stands in the value.
pub fn change_headers(change: &Change, source: &str, payload: Payload, scratch: &mut String, mut push: impl FnMut(&'static str, &[u8])) {
    let mut show = |scratch: &mut String, name, value: &dyn std::fmt::Display| {
        scratch.clear();
        write!(scratch, "{value}").expect("writing to memory does not fail");
        push(name, scratch.as_bytes());
    };
    show(scratch, "ce_specversion", &"1.0");
    show(scratch, "ce_id", &change.change_id);
    show(scratch, "ce_source", &source);
    show(scratch, "ce_type", &format_args!("segmentd.membership.{}", change.kind.word()));
    show(scratch, "ce_subject", &change.customer);
    show(scratch, "ce_time", &change.since);
    show(scratch, "content-type", &payload.content_type());
}

/// Names of a dead letter's headers, in the order in which [`dead_letter_headers`] gives them.
pub const DEAD_LETTER_HEADERS: [&str; 5] = [
    "__streams.errors.exception",
    "__streams.errors.message",
    "__streams.errors.topic",
    "__streams.errors.partition",
    "__streams.errors.offset",
];

/// Gives the headers of a dead letter to `push`; key and value go as they came, and so do the headers that the record had.
///
/// **Source:** KIP-1034.
pub fn dead_letter_headers(dead: &DeadLetter, topic: &str, scratch: &mut String, mut push: impl FnMut(&'static str, &[u8])) {
    let [exception, message, from, partition, offset] = DEAD_LETTER_HEADERS;
    push(exception, dead.reason.word().as_bytes());
    push(message, dead.detail.as_bytes());
    push(from, topic.as_bytes());
    for (name, number) in [(partition, i64::from(dead.position.partition)), (offset, dead.position.offset)] {
        scratch.clear();
        write!(scratch, "{number}").expect("writing to memory does not fail");
        push(name, scratch.as_bytes());
    }
}
