//! One partition that is read by manual assignment: the library's queue, and the records that were taken from it and not yet let go.

use std::collections::VecDeque;
use std::os::raw::c_void;
use std::sync::Arc;

use rdkafka::TopicPartitionList;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka_sys as sys;
use rdkafka_sys::rd_kafka_resp_err_t as Code;

use super::trouble::trouble;
use super::{Inner, Queue, Start, owned};
use crate::pipeline::Message;
use crate::time::Timestamp;

/// One partition that is being read: a window of records that were taken and not yet let go.
pub(in crate::kafka) struct Lane {
    queue: Queue,
    topic: Arc<str>,
    partition: i32,
    /// After the last record taken, or where the lane begins: never too late, but it does not count the markers behind that record.
    next: i64,
    /// Set after an error came in place of a record: what the library says of its position then.
    distrusted: Option<i64>,
    dead: bool,
    window: VecDeque<Held>,
    /// Where the library writes what it hands out.
    spare: Vec<*mut sys::rd_kafka_message_t>,
    /// The one-element list with which the position is asked for.
    place: TopicPartitionList,
    inner: Arc<Inner>,
}

/// A record of the window, with what costs a call to ask.
struct Held {
    message: *mut sys::rd_kafka_message_t,
    timestamp: i64,
    leader_epoch: i32,
}

/// An error that came in place of a record.
pub(in crate::kafka) type LaneError = (RDKafkaErrorCode, String);

// SAFETY: the library's queues and messages may be used from any thread; the lane is used by one at a time.
unsafe impl Send for Lane {}

impl Lane {
    /// A lane on the queue of a partition that is about to be read from `start`.
    pub(super) fn new(queue: Queue, start: &Start<'_>, inner: Arc<Inner>) -> Lane {
        let mut place = TopicPartitionList::with_capacity(1);
        place.add_partition(start.topic, start.partition);
        Lane {
            queue,
            topic: start.topic.into(),
            partition: start.partition,
            next: start.offset,
            distrusted: None,
            dead: false,
            window: VecDeque::new(),
            spare: Vec::new(),
            place,
            inner,
        }
    }

    pub(in crate::kafka) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub(in crate::kafka) fn partition(&self) -> i32 {
        self.partition
    }

    /// Records that are held.
    pub(in crate::kafka) fn held(&self) -> usize {
        self.window.len()
    }

    /// Takes what has come, without waiting, until `want` records are held. Errors that are `passing` are the library's own business.
    ///
    /// **Errors:** the first other one that came in place of a record; records before it are held, what came behind it in the same moment
    /// is dropped, since nothing may be read past it: the lane is of no use any more.
    pub(in crate::kafka) fn fill(&mut self, want: usize, passing: impl Fn(RDKafkaErrorCode) -> bool) -> Result<(), LaneError> {
        let room = want.saturating_sub(self.window.len());
        if room == 0 || self.dead {
            return Ok(());
        }
        self.trust_again();
        self.spare.clear();
        self.spare.reserve(room);
        // SAFETY: the queue is alive; the library writes at most `room` pointers into the spare room and returns how many, or -1.
        let n = unsafe { sys::rd_kafka_consume_batch_queue(self.queue.native, 0, self.spare.as_mut_ptr(), room) };
        let n = usize::try_from(n).unwrap_or(0);
        // SAFETY: the first `n` places have just been written.
        unsafe { self.spare.set_len(n) };
        let (mut fault, mut again) = (None, false);
        for message in self.spare.drain(..) {
            // SAFETY: a live message that is ours: it is kept in the window, or destroyed here.
            unsafe {
                let code = (*message).err;
                let record = code == Code::RD_KAFKA_RESP_ERR_NO_ERROR;
                if record && fault.is_none() && !again {
                    let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
                    let timestamp = sys::rd_kafka_message_timestamp(message, &mut kind);
                    let leader_epoch = sys::rd_kafka_message_leader_epoch(message);
                    self.next = (*message).offset + 1;
                    self.distrusted = None;
                    self.window.push_back(Held { message, timestamp, leader_epoch });
                    continue;
                }
                if !record && fault.is_none() {
                    if passing(code.into()) {
                        again = true;
                    } else {
                        fault = Some((code.into(), owned(sys::rd_kafka_message_errstr(message))));
                    }
                }
                sys::rd_kafka_message_destroy(message);
            }
        }
        if let Some(fault) = fault {
            self.dead = true;
            return Err(fault);
        }
        if again {
            self.seek()?;
        }
        Ok(())
    }

    /// In the batch call the library counts an error as if it were the record at whose place it stands, and would go on behind it: so after
    /// an error that passes the lane is put back to where it was, and what came behind the error comes again.
    fn seek(&mut self) -> Result<(), LaneError> {
        self.distrusted = Some(self.library_position());
        let mut list = TopicPartitionList::with_capacity(1);
        let added = list.add_partition_offset(&self.topic, self.partition, rdkafka::Offset::Offset(self.next));
        debug_assert!(added.is_ok(), "offsets of records are not negative");
        // SAFETY: client and list are alive; a time-out of zero does not wait. From this call on the library drops what it had fetched.
        let refused = unsafe { trouble(sys::rd_kafka_seek_partitions(self.inner.client.native_ptr(), list.ptr(), 0)) };
        refused.map_err(|t| {
            // What came behind the error is gone, and nothing may be read past it.
            self.dead = true;
            (t.code, format!("putting the reader back after an error: {}", t.words))
        })
    }

    /// The seek has been carried out once the library says anything else about its position than right after the error.
    fn trust_again(&mut self) {
        if let Some(distrusted) = self.distrusted
            && self.library_position() != distrusted
        {
            self.distrusted = None;
        }
    }

    /// What the library says; negative where it has handed out nothing since it was told where to read.
    fn library_position(&self) -> i64 {
        // SAFETY: client and list are alive; the library fills in the offset of the one element.
        unsafe {
            sys::rd_kafka_position(self.inner.client.native_ptr(), self.place.ptr());
            (*(*self.place.ptr()).elems).offset
        }
    }

    /// A record of the window.
    ///
    /// **Panics:** `index` is not below [`Lane::held`].
    pub(in crate::kafka) fn message(&self, index: usize) -> Message<'_> {
        let held = &self.window[index];
        // SAFETY: a message of the window is alive until `advance` or the lane's end, both of which need the lane for themselves.
        let message = unsafe { &*held.message };
        Message {
            offset: message.offset,
            timestamp: Timestamp(held.timestamp),
            leader_epoch: held.leader_epoch,
            key: slice(message.key, message.key_len),
            value: slice(message.payload, message.len),
        }
    }

    /// The headers of a record of the window; names that are no UTF-8 are left out.
    ///
    /// **Panics:** as [`Lane::message`].
    pub(in crate::kafka) fn headers(&self, index: usize, each: &mut dyn FnMut(&str, Option<&[u8]>)) {
        let mut headers: *mut sys::rd_kafka_headers_t = std::ptr::null_mut();
        // SAFETY: a message of the window is alive, and the headers stay its own.
        if unsafe { sys::rd_kafka_message_headers(self.window[index].message, &mut headers) } != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        for i in 0.. {
            let (mut name, mut value, mut len) = (std::ptr::null(), std::ptr::null(), 0);
            // SAFETY: the headers are alive; name and value point into them.
            unsafe {
                if sys::rd_kafka_header_get_all(headers, i, &mut name, &mut value, &mut len) != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                    return;
                }
                if let Ok(name) = std::ffi::CStr::from_ptr(name).to_str() {
                    each(name, slice(value.cast_mut(), len));
                }
            }
        }
    }

    /// Lets go of the first `n` records.
    pub(in crate::kafka) fn advance(&mut self, n: usize) {
        for held in self.window.drain(..n) {
            // SAFETY: the message is ours and destroyed once; its client is kept alive by this lane.
            unsafe { sys::rd_kafka_message_destroy(held.message) };
        }
    }

    /// The next offset to read: after the last record taken, and after markers of transactions and aborted records that were passed
    /// behind it. Cost: a lock or two in the library.
    pub(in crate::kafka) fn position(&self) -> i64 {
        if self.dead || self.distrusted.is_some() { self.next } else { self.next.max(self.library_position()) }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.advance(self.window.len());
    }
}

fn slice<'a>(pointer: *mut c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the library gives `len` readable bytes that live as long as the message, which the caller's lifetime bounds.
    (!pointer.is_null()).then(|| unsafe { std::slice::from_raw_parts(pointer as *const u8, len) })
}
