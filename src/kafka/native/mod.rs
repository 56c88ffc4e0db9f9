//! A consumer straight on the C library: one queue per partition, messages taken in batches and freed by hand, group events as values.
//!
//! The wrapper's consumer costs 350 ns and more per message on the calling thread, and runs rebalances inside a callback that cannot reach
//! the pipeline. Here a rebalance is a value that the caller answers when it has committed; the library waits for the answer.
//!
//! Nothing but this file and `raw.rs` touches pointers. A lane keeps its client alive.

use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaType};
use rdkafka_sys as sys;
use rdkafka_sys::rd_kafka_resp_err_t as Code;

mod bell;
mod lane;
mod trouble;

pub(super) use bell::Bell;
pub(super) use lane::{Lane, LaneError};
pub(super) use trouble::{Trouble, send_offsets};

use trouble::taken;

use super::Error;
use super::settings::{Context, Role, Settings};

unsafe extern "C" fn ring(_: *mut sys::rd_kafka_t, bell: *mut c_void) {
    // SAFETY: the opaque is the bell of the queue's owner, which switches the callback off before it lets go of the bell.
    unsafe { &*(bell as *const Bell) }.ring();
}

unsafe extern "C" fn log(_: *const sys::rd_kafka_t, level: c_int, facility: *const c_char, message: *const c_char) {
    // SAFETY: the library passes two NUL-terminated texts that live for the call.
    let (facility, message) = unsafe { (CStr::from_ptr(facility).to_string_lossy(), CStr::from_ptr(message).to_string_lossy()) };
    let level = match level {
        ..=3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 => RDKafkaLogLevel::Notice,
        6 => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Debug,
    };
    Context.log(level, &facility, message.trim());
}

/// A queue of the library with a bell on it.
struct Queue {
    native: *mut sys::rd_kafka_queue_t,
    _bell: Arc<Bell>,
}

impl Queue {
    /// Takes over a queue; `None` if there is none.
    fn new(native: *mut sys::rd_kafka_queue_t, bell: &Arc<Bell>) -> Option<Queue> {
        if native.is_null() {
            return None;
        }
        // SAFETY: the bell lives as long as this queue, whose `Drop` switches the callback off first.
        unsafe { sys::rd_kafka_queue_cb_event_enable(native, Some(ring), Arc::as_ptr(bell) as *mut c_void) };
        Some(Queue { native, _bell: bell.clone() })
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the pointer is ours and destroyed once; after the first call the library no longer uses the bell.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.native, None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.native);
        }
    }
}

/// Where a partition is to be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// Of the last record read before, so that a truncated log is noticed; `None` where unknown.
    pub leader_epoch: Option<i32>,
}

/// What happened in the group. The library waits for the answer to the first two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GroupEvent {
    /// Answer with [`Native::take_over`].
    Assigned(Vec<i32>),
    /// Answer with [`Native::give_up`]. `lost`: the group has moved on already, nothing may be committed any more.
    Revoked { partitions: Vec<i32>, lost: bool },
    /// An error of the client; `fatal` ones end it.
    Failed { code: RDKafkaErrorCode, words: String, fatal: bool },
}

/// The consumer.
struct Inner {
    queue: Option<Queue>,
    client: Client<Context>,
}

// SAFETY: the library's handles and queues may be used from any thread at once, by its documentation.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some(queue) = &self.queue else { return };
        let rk = self.client.native_ptr();
        // SAFETY: both pointers are alive; the queue is served until the library says that the consumer is closed, answering a last
        // revocation by letting go of everything.
        unsafe {
            let error = sys::rd_kafka_consumer_close_queue(rk, queue.native);
            if error.is_null() {
                let deadline = Instant::now() + Duration::from_secs(10);
                while sys::rd_kafka_consumer_closed(rk) == 0 && Instant::now() < deadline {
                    let event = sys::rd_kafka_queue_poll(queue.native, 50);
                    if !event.is_null() {
                        if sys::rd_kafka_event_type(event) == sys::RD_KAFKA_EVENT_REBALANCE {
                            sys::rd_kafka_assign(rk, ptr::null());
                        }
                        sys::rd_kafka_event_destroy(event);
                    }
                }
            } else {
                sys::rd_kafka_error_destroy(error);
            }
        }
        // The queue goes before the client.
        self.queue = None;
    }
}

/// A consumer on one thread; messages taken from it may be looked at and freed on any.
pub(super) struct Native {
    inner: Arc<Inner>,
    bell: Arc<Bell>,
}

impl Native {
    /// A consumer of the role's configuration that rings `bell`.
    pub(super) fn new(settings: &Settings, role: Role, bell: &Arc<Bell>) -> Result<Native, Error> {
        let config = settings.config(role);
        let native = config.create_native_config().map_err(Error::configuration)?;
        // SAFETY: the configuration is alive and not yet given to a client; the callback is a function of this program.
        unsafe {
            sys::rd_kafka_conf_set_log_cb(native.ptr(), Some(log));
            sys::rd_kafka_conf_set_events(native.ptr(), sys::RD_KAFKA_EVENT_REBALANCE | sys::RD_KAFKA_EVENT_ERROR);
        }
        let client = Client::new(&config, native, RDKafkaType::RD_KAFKA_CONSUMER, Context).map_err(Error::configuration)?;
        // SAFETY: the client is alive; its main queue is led to the consumer's, so that one queue tells everything.
        let queue = unsafe {
            sys::rd_kafka_poll_set_consumer(client.native_ptr());
            sys::rd_kafka_queue_get_consumer(client.native_ptr())
        };
        let queue = Queue::new(queue, bell);
        let inner = Inner { queue, client };
        Ok(Native { inner: Arc::new(inner), bell: bell.clone() })
    }

    fn rk(&self) -> *mut sys::rd_kafka_t {
        self.inner.client.native_ptr()
    }

    /// Joins the group on one topic.
    pub(super) fn subscribe(&self, topic: &str) -> Result<(), Error> {
        let mut list = TopicPartitionList::new();
        list.add_topic_unassigned(topic);
        // SAFETY: client and list are alive; the list is copied.
        let code = unsafe { sys::rd_kafka_subscribe(self.rk(), list.ptr()) };
        check(code, || format!("joining the group on {topic}"))
    }

    /// Serves the consumer's queue without waiting and returns the next event that the caller must know of. Must be called often: the
    /// group's life hangs on it (`max.poll.interval.ms`).
    pub(super) fn poll(&self) -> Option<GroupEvent> {
        let queue = self.inner.queue.as_ref()?.native;
        loop {
            // SAFETY: the queue is alive; the event is ours until destroyed, and everything read from it is copied before that.
            unsafe {
                let event = sys::rd_kafka_queue_poll(queue, 0);
                if event.is_null() {
                    return None;
                }
                let told = match sys::rd_kafka_event_type(event) {
                    sys::RD_KAFKA_EVENT_REBALANCE => {
                        let partitions = partitions_of(sys::rd_kafka_event_topic_partition_list(event));
                        Some(match sys::rd_kafka_event_error(event) {
                            Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => GroupEvent::Assigned(partitions),
                            _ => GroupEvent::Revoked { partitions, lost: sys::rd_kafka_assignment_lost(self.rk()) != 0 },
                        })
                    }
                    sys::RD_KAFKA_EVENT_ERROR => {
                        let code = sys::rd_kafka_event_error(event);
                        let words = owned(sys::rd_kafka_event_error_string(event));
                        let fatal = sys::rd_kafka_event_error_is_fatal(event) != 0;
                        Some(GroupEvent::Failed { code: code.into(), words, fatal })
                    }
                    _ => None,
                };
                sys::rd_kafka_event_destroy(event);
                if told.is_some() {
                    return told;
                }
            }
        }
    }

    /// Answers [`GroupEvent::Assigned`]: takes the partitions over, paused from the start, since the member itself reads nothing.
    pub(super) fn take_over(&self, topic: &str, partitions: &[i32]) -> Result<(), Error> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            // An explicit offset keeps the library from asking for committed ones, which the pipeline does itself.
            list.add_partition_offset(topic, *partition, rdkafka::Offset::Offset(0))
                .map_err(|e| Error::operation("taking shards over", e))?;
        }
        // SAFETY: client and list are alive; the list is copied.
        unsafe {
            taken(sys::rd_kafka_incremental_assign(self.rk(), list.ptr()), "taking shards over")?;
            check(sys::rd_kafka_pause_partitions(self.rk(), list.ptr()), || "pausing journal partitions".into())
        }
    }

    /// Answers [`GroupEvent::Revoked`], after what had to be committed is.
    pub(super) fn give_up(&self, topic: &str, partitions: &[i32]) -> Result<(), Error> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(topic, *partition);
        }
        // SAFETY: client and list are alive; the list is copied.
        unsafe { taken(sys::rd_kafka_incremental_unassign(self.rk(), list.ptr()), "giving shards up") }
    }

    /// The group's metadata at this moment.
    pub(super) fn group_metadata(&self) -> Option<GroupMetadata> {
        // SAFETY: the client is alive; the object is ours.
        let metadata = unsafe { sys::rd_kafka_consumer_group_metadata(self.rk()) };
        (!metadata.is_null()).then_some(GroupMetadata(metadata))
    }

    /// The group's committed offset of a partition with its metadata, stable ones only: while a transaction that commits another is open
    /// the broker does not answer. `None`: nothing was ever committed. Waits for the answer, at most `timeout`.
    pub(super) fn committed(&self, topic: &str, partition: i32, timeout: Duration) -> Result<Option<(i64, String)>, Error> {
        let failed = |code| Error::code(format!("asking for the committed offset of {topic}-{partition}"), code);
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(topic, partition);
        let timeout_ms = timeout.as_millis().clamp(1, 3_600_000) as c_int;
        // SAFETY: client and list are alive. "Stable only" follows from this client's isolation level.
        let code = unsafe { sys::rd_kafka_committed(self.rk(), list.ptr(), timeout_ms) };
        check(code, || format!("asking for the committed offset of {topic}-{partition}"))?;
        let elements = list.elements();
        let element = elements.first().ok_or_else(|| failed(RDKafkaErrorCode::UnknownPartition))?;
        if let Err(e) = element.error() {
            return Err(failed(e.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)));
        }
        match element.offset() {
            rdkafka::Offset::Offset(offset) => Ok(Some((offset, element.metadata().to_owned()))),
            _ => Ok(None),
        }
    }

    /// Starts to read partitions, each into a lane of its own; in the order asked.
    pub(super) fn read(&self, starts: &[Start<'_>]) -> Result<Vec<Lane>, Error> {
        let mut lanes = Vec::with_capacity(starts.len());
        let mut list = TopicPartitionList::with_capacity(starts.len());
        for start in starts {
            let offset = rdkafka::Offset::Offset(start.offset);
            list.add_partition_offset(start.topic, start.partition, offset).map_err(|e| Error::operation("starting to read", e))?;
            let topic = CString::new(start.topic).map_err(|_| Error::code("starting to read", RDKafkaErrorCode::InvalidTopic))?;
            // SAFETY: client and topic are alive. The queue is cut off from the consumer's queue before the partition is assigned, which
            // the library honours at assignment, so no message ever goes the other way.
            let queue = unsafe {
                let queue = sys::rd_kafka_queue_get_partition(self.rk(), topic.as_ptr(), start.partition);
                if !queue.is_null() {
                    sys::rd_kafka_queue_forward(queue, ptr::null_mut());
                }
                queue
            };
            let queue = Queue::new(queue, &self.bell).ok_or_else(|| {
                Error::code(format!("starting to read {}-{}", start.topic, start.partition), RDKafkaErrorCode::UnknownPartition)
            })?;
            lanes.push(Lane::new(queue, start, self.inner.clone()));
        }
        // SAFETY: the list is alive and has exactly the elements just added.
        unsafe {
            let native = list.ptr();
            for (i, start) in starts.iter().enumerate() {
                if let Some(epoch) = start.leader_epoch {
                    sys::rd_kafka_topic_partition_set_leader_epoch((*native).elems.add(i), epoch);
                }
            }
            taken(sys::rd_kafka_incremental_assign(self.rk(), native), "starting to read")?;
        }
        Ok(lanes)
    }

    /// Stops reading; what the lanes still hold is dropped.
    pub(super) fn stop(&self, lanes: Vec<Lane>) -> Result<(), Error> {
        let mut list = TopicPartitionList::with_capacity(lanes.len());
        for lane in &lanes {
            list.add_partition(lane.topic(), lane.partition());
        }
        // SAFETY: client and list are alive; the list is copied.
        let stopped = unsafe { taken(sys::rd_kafka_incremental_unassign(self.rk(), list.ptr()), "stopping to read") };
        drop(lanes);
        stopped
    }
}

/// The group's generation and our member id, as the broker is to check them.
pub(super) struct GroupMetadata(*mut sys::rd_kafka_consumer_group_metadata_t);

// SAFETY: a plain object that nobody else holds.
unsafe impl Send for GroupMetadata {}

impl GroupMetadata {
    /// Whether the broker would check them: it takes a commit with generation -1 and no member id without a question, and the library
    /// resets both on its own thread.
    pub(super) fn is_checkable(&self) -> bool {
        // SAFETY: the object is alive.
        unsafe {
            sys::rd_kafka_consumer_group_metadata_generation_id(self.0) >= 0
                && !owned(sys::rd_kafka_consumer_group_metadata_member_id(self.0)).is_empty()
        }
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0) }
    }
}

fn owned(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the library returns NUL-terminated texts that live at least until its next call.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

fn partitions_of(list: *mut sys::rd_kafka_topic_partition_list_t) -> Vec<i32> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the list belongs to an event that is alive, with `cnt` elements.
    unsafe { (0..(*list).cnt as usize).map(|i| (*(*list).elems.add(i)).partition).collect() }
}

fn check(code: Code, action: impl FnOnce() -> String) -> Result<(), Error> {
    match code {
        Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(Error::code(action(), code.into())),
    }
}
