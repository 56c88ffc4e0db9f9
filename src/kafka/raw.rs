//! Calls of the C library that the wrapper lacks: descriptions of topics with their ids, and the offsets of many partitions in one
//! request. Every `unsafe` block states why it holds; pointers never leave this file.

use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_int};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka_sys as sys;
use rdkafka_sys::rd_kafka_resp_err_t as Code;

/// Which end of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The first offset that the log still has.
    Earliest,
    /// The offset after the last record, those of open transactions counted.
    HighWatermark,
    /// The offset after the last record that no open transaction holds back: before the high watermark where one is open.
    LastStable,
}

/// A topic as the broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub name: String,
    /// `None`: it does not exist.
    pub found: Option<(TopicId, u32)>,
}

/// Identity of a topic, which a topic of the same name made later does not share. All zero where the broker has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

impl std::fmt::Display for TopicId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Why a question was not answered: the library's code and its words.
pub(super) type Failure = (RDKafkaErrorCode, String);

/// A queue of our own for one answer.
struct Queue(*mut sys::rd_kafka_queue_t);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `rd_kafka_queue_new` and is destroyed once.
        unsafe { sys::rd_kafka_queue_destroy(self.0) }
    }
}

/// An answer; frees what hangs on it.
struct Event(*mut sys::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `rd_kafka_queue_poll` and is destroyed once, after everything borrowed from it.
        unsafe { sys::rd_kafka_event_destroy(self.0) }
    }
}

struct Options(*mut sys::rd_kafka_AdminOptions_t);

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `rd_kafka_AdminOptions_new` and is destroyed once.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0) }
    }
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the library returns NUL-terminated texts that live at least as long as the call that borrowed them.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// Takes the library's error object, if there is one.
fn taken(error: *mut sys::rd_kafka_error_t) -> Result<(), Failure> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: `error` is a non-null error object that we own; it is read before it is destroyed.
    unsafe {
        let failure = (sys::rd_kafka_error_code(error).into(), text(sys::rd_kafka_error_string(error)));
        sys::rd_kafka_error_destroy(error);
        Err(failure)
    }
}

/// Sends a question and waits for its answer, at most `timeout`.
fn ask<C: ClientContext>(
    client: &Client<C>,
    operation: sys::rd_kafka_admin_op_t,
    isolation: Option<sys::rd_kafka_IsolationLevel_t>,
    timeout: Duration,
    send: impl FnOnce(*mut sys::rd_kafka_t, *const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
) -> Result<Event, Failure> {
    let rk = client.native_ptr();
    let timeout_ms = timeout.as_millis().clamp(1, 3_600_000) as c_int;
    // SAFETY: `rk` is alive as long as `client` is borrowed. Options and queue are made for this client, used only in this call and
    // freed on return; the library keeps what it needs of the options, and a late answer to a freed queue is dropped by the library.
    unsafe {
        let options = Options(sys::rd_kafka_AdminOptions_new(rk, operation));
        let mut words = [0 as c_char; 256];
        sys::rd_kafka_AdminOptions_set_request_timeout(options.0, timeout_ms, words.as_mut_ptr(), words.len());
        if let Some(level) = isolation {
            taken(sys::rd_kafka_AdminOptions_set_isolation_level(options.0, level))?;
        }
        let queue = Queue(sys::rd_kafka_queue_new(rk));
        send(rk, options.0, queue.0);
        // A little longer than the request's own time-out, which gives the better message.
        let event = sys::rd_kafka_queue_poll(queue.0, timeout_ms.saturating_add(500));
        if event.is_null() {
            return Err((RDKafkaErrorCode::OperationTimedOut, "no answer".into()));
        }
        let event = Event(event);
        let code = sys::rd_kafka_event_error(event.0);
        if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err((code.into(), text(sys::rd_kafka_event_error_string(event.0))));
        }
        Ok(event)
    }
}

/// Describes topics, in the order asked; one that is unknown is an answer, not a failure.
pub(super) fn describe_topics<C: ClientContext>(client: &Client<C>, names: &[&str], timeout: Duration) -> Result<Vec<Described>, Failure> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let invalid = |_| (RDKafkaErrorCode::InvalidTopic, "a topic's name contains a zero byte".to_owned());
    let owned: Vec<CString> = names.iter().map(|n| CString::new(*n)).collect::<Result<_, _>>().map_err(invalid)?;
    let mut pointers: Vec<*const c_char> = owned.iter().map(|n| n.as_ptr()).collect();
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    let event = ask(client, operation, None, timeout, |rk, options, queue| {
        // SAFETY: the collection copies the names and is destroyed after the call, which copies the collection.
        unsafe {
            let topics = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            sys::rd_kafka_DescribeTopics(rk, topics, options, queue);
            sys::rd_kafka_TopicCollection_destroy(topics);
        }
    })?;
    let mut found = Vec::with_capacity(names.len());
    // SAFETY: the result and everything in it belong to `event`, which outlives this block; counts are filled in by the library.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
        let mut count = 0usize;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        for i in 0..count {
            let topic = *topics.add(i);
            let name = text(sys::rd_kafka_TopicDescription_name(topic));
            let error = sys::rd_kafka_TopicDescription_error(topic);
            let code = if error.is_null() { Code::RD_KAFKA_RESP_ERR_NO_ERROR } else { sys::rd_kafka_error_code(error) };
            match code {
                Code::RD_KAFKA_RESP_ERR_NO_ERROR => {}
                Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART | Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC => {
                    found.push(Described { name, found: None });
                    continue;
                }
                code => return Err((code.into(), format!("{name}: {}", text(sys::rd_kafka_error_string(error))))),
            }
            let mut partitions = 0usize;
            sys::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
            let id = sys::rd_kafka_TopicDescription_topic_id(topic);
            let mut bytes = [0u8; 16];
            if !id.is_null() {
                bytes[..8].copy_from_slice(&sys::rd_kafka_Uuid_most_significant_bits(id).to_be_bytes());
                bytes[8..].copy_from_slice(&sys::rd_kafka_Uuid_least_significant_bits(id).to_be_bytes());
            }
            found.push(Described { name, found: Some((TopicId(bytes), partitions as u32)) });
        }
    }
    let mut ordered = Vec::with_capacity(names.len());
    for name in names {
        match found.iter().find(|d| d.name == *name) {
            Some(described) => ordered.push(described.clone()),
            None => return Err((RDKafkaErrorCode::UnknownTopic, format!("the broker's answer lacks {name}"))),
        }
    }
    Ok(ordered)
}

/// One end of many partitions, in one request per leader; in the order asked, each with its own result.
pub(super) fn list_offsets<C: ClientContext>(
    client: &Client<C>,
    partitions: &[(&str, i32)],
    end: End,
    timeout: Duration,
) -> Result<Vec<Result<i64, RDKafkaErrorCode>>, Failure> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    use sys::rd_kafka_IsolationLevel_t as Isolation;
    use sys::rd_kafka_OffsetSpec_t as Spec;
    // Read uncommitted unless asked otherwise: the last stable offset would hide an open transaction, and the end of the log would seem to
    // be reached.
    let (spec, isolation) = match end {
        End::Earliest => (Spec::RD_KAFKA_OFFSET_SPEC_EARLIEST, Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED),
        End::HighWatermark => (Spec::RD_KAFKA_OFFSET_SPEC_LATEST, Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED),
        End::LastStable => (Spec::RD_KAFKA_OFFSET_SPEC_LATEST, Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED),
    };
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS;
    let event = ask(client, operation, Some(isolation), timeout, |rk, options, queue| {
        // SAFETY: `list` is alive and holds exactly the partitions just added; the specification is written into the place of the
        // offset, as the library's documentation of this call asks; the call copies the list.
        unsafe {
            let native = list.ptr();
            for i in 0..(*native).cnt as usize {
                (*(*native).elems.add(i)).offset = spec as i64;
            }
            sys::rd_kafka_ListOffsets(rk, native, options, queue);
        }
    })?;
    let mut answers: std::collections::HashMap<(String, i32), Result<i64, RDKafkaErrorCode>> = Default::default();
    // SAFETY: the result and everything in it belong to `event`, which outlives this block.
    unsafe {
        let result = sys::rd_kafka_event_ListOffsets_result(event.0);
        let mut count = 0usize;
        let infos = sys::rd_kafka_ListOffsets_result_infos(result, &mut count);
        for i in 0..count {
            let partition = sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(i));
            if partition.is_null() {
                continue;
            }
            let answer = match (*partition).err {
                Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok((*partition).offset),
                code => Err(code.into()),
            };
            answers.insert((text((*partition).topic), (*partition).partition), answer);
        }
    }
    let missing = Err(RDKafkaErrorCode::UnknownPartition);
    Ok(partitions.iter().map(|(t, p)| answers.get(&((*t).to_owned(), *p)).copied().unwrap_or(missing)).collect())
}
