//! What the pipeline needs of a log: a narrow trait that [`crate::kafka`] implements on Kafka and `testing` in memory.
//!
//! Nothing here waits. Commands return at once; what they lead to comes back as an [`Event`] from [`Client::poll`], and records stand in
//! *lanes* (one per source of a shard) that are looked at where they lie. The client decides nothing: it moves bytes, positions and proofs.
//!
//! **Errors** of the environment that pass by themselves (a broker that restarts, a leader that moves, a time-out) are the client's to
//! retry, for ever; meanwhile it simply has no answer, and the shard's clock stands. Only what cannot pass comes out.
//!
//! **Kinds of time.** Every [`Timestamp`] here is wall time of one clock, the one that [`Client::now`] gives. Nobody in the pipeline reads
//! another: what a batch decides is in its records and its journal.

use std::borrow::Cow;
use std::ops::Range;

use crate::ids::{BatchNumber, InputIndex, ShardId};
use crate::time::{Millis, Timestamp};

/// A log as one worker sees it.
pub trait Client {
    /// Wall time. Read after records are taken, so that no record seems to come from the future (the arrival cap, LANGUAGE.md S1).
    fn now(&self) -> Timestamp;

    /// What has happened since the last call; `None`: nothing more at present. Serves the group's life too, so it must be called often.
    fn poll(&mut self) -> Option<Event>;

    /// Answers [`Event::Assigned`]. The pipeline calls it at once.
    fn take_over(&mut self, shards: &[ShardId]);

    /// Answers [`Event::Revoked`] and [`Event::Lost`], once for all shards of that event. After a revocation the pipeline calls it when
    /// what had to be committed is; nothing may be committed for these shards afterwards.
    fn give_up(&mut self, shards: &[ShardId]);

    /// Asks for what the log holds about a shard, in this order: the committed offset of its journal partition (require stable), then
    /// the ends of the journal partition (high watermark) and of the inputs. Answer: [`Event::Recovered`], one for each
    /// question.
    fn recover(&mut self, shard: ShardId);

    /// Ends whatever transaction that id has left open, by taking the id over for a moment; whoever still uses it is fenced. Answer:
    /// [`Event::TransactionEnded`].
    fn end_transaction(&mut self, shard: ShardId, transactional_id: &str);

    /// Starts to read one source of a shard, `read_committed`.
    fn open(&mut self, shard: ShardId, source: Source, from: Start) -> LaneId;

    /// Stops reading; what the lane holds is dropped. Known lanes only, each once.
    fn close(&mut self, lane: LaneId);

    /// Takes what has come until the lane holds `want` records, without waiting, and returns how many it holds now. Not taking is the
    /// back-pressure.
    ///
    /// **Errors:** what ends this lane for good; records in front of the fault are returned before it. Asked again it fails again.
    fn fill(&mut self, lane: LaneId, want: usize) -> Result<usize, LaneFault>;

    /// The record at `index` of those that the lane holds, in the order of offsets.
    ///
    /// **Panics:** `index` is not below what [`Client::fill`] returned, less what was let go.
    fn message(&self, lane: LaneId, index: usize) -> Message<'_>;

    /// Gives the headers of that record, in their order, to `each`: name, and value or null.
    ///
    /// **Panics:** as [`Client::message`].
    fn headers(&self, lane: LaneId, index: usize, each: &mut dyn FnMut(&str, Option<&[u8]>));

    /// Lets go of the first `n` records of a lane.
    fn advance(&mut self, lane: LaneId, n: usize);

    /// Where the log goes on behind the last record that [`Client::fill`] took: the next offset to read, with markers of transactions
    /// and aborted records that were passed counted as read. The number that is compared with a watermark.
    fn position(&self, lane: LaneId) -> i64;

    /// Asks for the high watermark of these lanes, in one request where possible. Answers: [`Event::Marks`], of those that could be had.
    fn ask(&mut self, lanes: &[LaneId]);

    /// Hands over everything that is to become visible at once; the answer is [`Event::Done`]. One at a time. The group's metadata is
    /// taken at this moment, and the broker has to check it: without a generation and a member id the outcome is [`Outcome::NotOwner`].
    fn commit(&mut self, transaction: Transaction);
}

/// A lane's handle, given by the client; never used again after [`Client::close`] within the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u32);

/// What a shard reads: partition p of a topic, p being the shard's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    Journal,
    Input(InputIndex),
}

/// Where a lane begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The first offset to read.
    pub offset: i64,
    /// Of the last record read before it, so that a truncated log is noticed; `None` where unknown.
    pub leader_epoch: Option<i32>,
}

/// One record where it lies in a lane.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub offset: i64,
    /// The record's Kafka timestamp; before the epoch where the log has none.
    pub timestamp: Timestamp,
    /// -1 where the broker does not tell.
    pub leader_epoch: i32,
    pub key: Option<&'a [u8]>,
    /// `None`: a null value.
    pub value: Option<&'a [u8]>,
}

/// Why a lane cannot be read on. A record is never skipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaneFault {
    /// The log begins behind the position: retention or a deletion took records that were not read.
    #[error("records {position} to {} are gone: the log begins at {low}", low - 1)]
    Truncated { position: i64, low: i64 },
    /// The log ends before the position, or its epoch does not fit: records that were read are gone (an unclean leader election).
    #[error("the log ends at {high}, before the position {position}")]
    Rewound { position: i64, high: i64 },
    /// The topic was deleted and created anew.
    #[error("the topic was deleted and created again")]
    Recreated,
    /// We may not read it, or it does not exist.
    #[error("{0}")]
    Refused(String),
}

/// What a client reports.
#[derive(Clone, Debug)]
pub enum Event {
    /// The group gives us shards; the client waits for [`Client::take_over`].
    Assigned(Vec<ShardId>),
    /// The group takes shards back; the client waits for [`Client::give_up`].
    Revoked(Vec<ShardId>),
    /// The group has moved on without us: nothing may be committed for these shards. Answered by [`Client::give_up`] too.
    Lost(Vec<ShardId>),
    Recovered(Recovered),
    /// A transaction of a dead owner is settled now.
    TransactionEnded {
        shard: ShardId,
    },
    Marks(Vec<Mark>),
    /// The transaction comes back, for another try or for its buffers.
    Done {
        transaction: Box<Transaction>,
        outcome: Outcome,
        took: Millis,
    },
    /// The number of partitions of an input, or its identity, is not what it was at the start: every shard stops at a batch boundary.
    /// The text names the topic, what was and what is, and the way out.
    TopicChanged {
        words: String,
    },
    /// The client is of no use any more; the worker ends.
    Failed {
        words: String,
    },
}

/// The answer to [`Client::recover`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    pub shard: ShardId,
    pub committed: CommittedOffset,
    pub journal: Ends,
    /// The offset behind the last record of the journal partition that no open transaction holds back: before `journal.high` exactly where
    /// one is open.
    pub journal_stable: i64,
    /// In the order of the configuration.
    pub inputs: Vec<InputLog>,
    /// Where no offset is committed: what shows all the same that the shard has a past, in words.
    pub beside: Option<String>,
}

/// What the group has committed for a shard's journal partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommittedOffset {
    Absent,
    /// A transaction that would commit it is still open.
    Unstable,
    At {
        offset: i64,
        metadata: String,
    },
}

/// First offset that is still there, and the offset behind the last record (high watermark, open transactions counted).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub low: i64,
    pub high: i64,
}

/// What a shard may read of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputLog {
    pub topic: String,
    /// `None`: the broker gives none (the demo's).
    pub topic_id: Option<[u8; 16]>,
    pub ends: Ends,
}

/// A high watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub lane: LaneId,
    /// Offset behind the last record, open transactions counted.
    pub high: i64,
    /// Wall clock *before* the question was sent: a record appended later is not in it.
    pub asked_at: Timestamp,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    /// Nothing of it is visible, and it may be sent again as it is.
    Aborted(String),
    /// Nothing of it is visible; the broker does not take us for a member of the group at the generation that was sent.
    NotOwner(String),
    /// Another process uses our transactional id: the worker must end.
    Fenced(String),
    /// It may or may not be visible. The producer has been replaced since, so what the log says from now on is final.
    Uncertain(String),
    /// It can never be sent: a record is larger than its topic takes, or we may not write there. Nothing of it is visible.
    Refused(String),
}

/// Everything that becomes visible at once.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Ascending by shard, each shard once.
    pub parts: Vec<Part>,
}

/// A shard's share of a transaction.
#[derive(Clone, Debug, Default)]
pub struct Part {
    pub shard: ShardId,
    /// In the order in which they are to stand in the log. The journal record is the last, and there is at most one.
    pub records: Vec<Outgoing>,
    pub headers: Vec<Header>,
    /// Keys, values and header values of the records.
    pub bytes: Vec<u8>,
    /// The shard's last batch with this part: the metadata of the offset of its journal partition, in decimal.
    pub batch: BatchNumber,
    /// The offset to commit for the journal partition: never behind its end, so exact or a little low.
    pub journal_offset: i64,
    /// Offsets of inputs to commit, for lag tools only; next to read.
    pub input_offsets: Vec<(InputIndex, i64)>,
}

/// One record to be written to the shard's partition of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub output: Output,
    /// Of [`Part::bytes`]; `None`: no key.
    pub key: Option<Range<usize>>,
    /// Of [`Part::bytes`]; `None`: a null value.
    pub value: Option<Range<usize>>,
    /// Of [`Part::headers`].
    pub headers: Range<usize>,
}

/// A header: its name, and its value's place in [`Part::bytes`]; `None`: a null value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub name: Cow<'static, str>,
    pub value: Option<Range<usize>>,
}

/// segmentd's own topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Output {
    Changes,
    Memberships,
    DeadLetters,
    Journal,
}

impl Part {
    /// Key, value and headers of a record.
    pub fn key(&self, record: &Outgoing) -> Option<&[u8]> {
        record.key.clone().map(|r| &self.bytes[r])
    }

    pub fn value(&self, record: &Outgoing) -> Option<&[u8]> {
        record.value.clone().map(|r| &self.bytes[r])
    }

    pub fn headers(&self, record: &Outgoing) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.headers[record.headers.clone()].iter().map(|h| (&*h.name, h.value.clone().map(|v| &self.bytes[v])))
    }
}
