//! [`crate::pipeline::Client`] on Kafka, one per worker: a member of the group, a reader of lanes, and three threads that wait for the
//! broker so that the worker never does (commits, watermarks, errands).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode;

use super::errands::{Answer, Errand, Errands};
use super::native::{Bell, GroupEvent, Lane, LaneError, Native, Start};
use super::settings::{BROKER_WAIT, Role, Settings};
use super::topics::{Checked, TopicNames};
use super::transactions::Committer;
use super::watermarks::{Wanted, Watermarks};
use super::{Error, admin::leader_is_moving};
use crate::ids::ShardId;
use crate::pipeline::{self, Ends, Event, LaneFault, LaneId, Message, Source, Transaction};
use crate::time::{Clock, Millis, Timestamp};

/// A worker's client.
pub struct KafkaClient {
    names: TopicNames,
    clock: Arc<dyn Clock>,
    bell: Arc<Bell>,
    // In the order in which they are to end: what works for a shard before what owns it.
    committer: Committer,
    watermarks: Watermarks,
    errands: Errands,
    /// By [`LaneId`], which is never used twice, so that a late watermark cannot be taken for another lane's.
    lanes: Vec<Option<Open>>,
    reader: Native,
    member: Native,
    events: VecDeque<Event>,
}

/// A lane that is open.
struct Open {
    lane: Lane,
    fault: Option<Fault>,
}

/// Why a lane is not read on.
enum Fault {
    /// The position is not in the log; where the log begins and ends is being asked.
    Asked(LaneError),
    Known(LaneFault),
}

/// Another thread's way to wake a worker that sleeps in [`KafkaClient::wait`].
#[derive(Clone)]
pub struct Waker(Arc<Bell>);

impl Waker {
    /// Ends the present or the next sleep.
    pub fn wake(&self) {
        self.0.ring();
    }
}

impl KafkaClient {
    /// Connects, ends a transaction that a former life of this worker left open, and joins the group on the journal topic. `worker`:
    /// number of the worker within this instance. `clock`: wall time, of batches and of watermark answers.
    ///
    /// **Errors:** [`Error::Unreachable`] after a bounded wait; what the client library refuses.
    pub fn start(
        settings: &Settings,
        names: &TopicNames,
        checked: &Checked,
        worker: usize,
        clock: Arc<dyn Clock>,
    ) -> Result<KafkaClient, Error> {
        let bell = Arc::new(Bell::default());
        let errands = Errands::start(settings, names, checked, &bell)?;
        let watermarks = Watermarks::start(settings, &bell, clock.clone())?;
        let committer = Committer::start(settings, names, worker, &bell, BROKER_WAIT)?;
        // As if this worker got every shard: one of several workers uses less.
        let lanes = checked.shards as usize * names.inputs.len();
        let reader = Native::new(&settings.with_lanes(lanes), Role::Reader, &bell)?;
        let member = Native::new(settings, Role::Member, &bell)?;
        member.subscribe(&names.journal)?;
        let names = names.clone();
        Ok(KafkaClient { names, clock, bell, committer, watermarks, errands, lanes: Vec::new(), reader, member, events: VecDeque::new() })
    }

    /// Sleeps until something has happened that [`pipeline::Client::poll`] or a lane would tell, at most `timeout`.
    pub fn wait(&self, timeout: Duration) {
        self.bell.wait(timeout);
    }

    /// For other threads.
    pub fn waker(&self) -> Waker {
        Waker(self.bell.clone())
    }

    fn topic(&self, source: Source) -> &str {
        match source {
            Source::Journal => &self.names.journal,
            Source::Input(input) => &self.names.inputs[input.at()],
        }
    }

    fn open_lane(&mut self, lane: LaneId) -> &mut Open {
        self.lanes[lane.0 as usize].as_mut().expect("a lane is used only between open and close")
    }

    fn group_event(&mut self, event: GroupEvent) {
        let shards = |partitions: Vec<i32>| partitions.into_iter().map(|p| ShardId(p as u32)).collect();
        match event {
            GroupEvent::Assigned(partitions) => self.events.push_back(Event::Assigned(shards(partitions))),
            GroupEvent::Revoked { partitions, lost: false } => self.events.push_back(Event::Revoked(shards(partitions))),
            GroupEvent::Revoked { partitions, lost: true } => self.events.push_back(Event::Lost(shards(partitions))),
            GroupEvent::Failed { code, words, fatal: true } => {
                self.events.push_back(Event::Failed { words: format!("the Kafka client has ended: {words} ({code:?})") });
            }
            GroupEvent::Failed { code, words, fatal: false } => told(code, &words),
        }
    }

    /// Where the log of a lane that lost its place begins and ends has become known.
    fn diagnose(&mut self, id: LaneId, ends: Ends) {
        let Some(Some(open)) = self.lanes.get_mut(id.0 as usize) else { return };
        let position = open.lane.position();
        let Some(Fault::Asked((code, words))) = &open.fault else { return };
        let fault = if position < ends.low {
            LaneFault::Truncated { position, low: ends.low }
        } else if position > ends.high || *code == RDKafkaErrorCode::LogTruncation {
            LaneFault::Rewound { position, high: ends.high }
        } else {
            LaneFault::Refused(format!("reading {}-{} from {position}: {words}", open.lane.topic(), open.lane.partition()))
        };
        open.fault = Some(Fault::Known(fault));
    }
}

/// Logs an error of a client that goes on by itself.
fn told(code: RDKafkaErrorCode, words: &str) {
    if leader_is_moving(code) || matches!(code, RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Resolve) {
        tracing::debug!(?code, words, "connection trouble");
    } else {
        tracing::warn!(?code, words, "client error");
    }
}

/// Errors that the library gets over by itself: it goes on where it was.
fn passes(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    leader_is_moving(code)
        || matches!(
            code,
            Code::AllBrokersDown
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::NetworkException
                | Code::KafkaStorageError
                | Code::Unknown
                | Code::UnknownTopic
                | Code::UnknownPartition
                // A topic that is really gone is told by whoever looks at the topics.
                | Code::UnknownTopicOrPartition
                | Code::PartitionEOF
        )
}

impl pipeline::Client for KafkaClient {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn poll(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        while let Some(event) = self.member.poll() {
            self.group_event(event);
        }
        while let Some(event) = self.reader.poll() {
            match event {
                GroupEvent::Failed { words, code, fatal: true } => self.group_event(GroupEvent::Failed { code, words, fatal: true }),
                GroupEvent::Failed { words, code, .. } => told(code, &words),
                // The reader is in no group.
                GroupEvent::Assigned(_) | GroupEvent::Revoked { .. } => {}
            }
        }
        if let Some(done) = self.committer.done() {
            let took = Millis(done.took.as_millis() as i64);
            self.events.push_back(Event::Done { transaction: done.transaction, outcome: done.outcome, took });
        }
        while let Some(marks) = self.watermarks.answer() {
            self.events.push_back(Event::Marks(marks));
        }
        while let Some(answer) = self.errands.answer() {
            match answer {
                Answer::Event(event) => self.events.push_back(event),
                Answer::Bounds { lane, ends } => self.diagnose(lane, ends),
            }
        }
        self.events.pop_front()
    }

    fn take_over(&mut self, shards: &[ShardId]) {
        let partitions: Vec<i32> = shards.iter().map(|s| s.0 as i32).collect();
        if let Err(e) = self.member.take_over(&self.names.journal, &partitions) {
            self.events.push_back(Event::Failed { words: e.to_string() });
        }
    }

    fn give_up(&mut self, shards: &[ShardId]) {
        let partitions: Vec<i32> = shards.iter().map(|s| s.0 as i32).collect();
        if let Err(e) = self.member.give_up(&self.names.journal, &partitions) {
            self.events.push_back(Event::Failed { words: e.to_string() });
        }
    }

    fn recover(&mut self, shard: ShardId) {
        self.errands.send(Errand::Recover(shard));
    }

    fn end_transaction(&mut self, shard: ShardId, transactional_id: &str) {
        self.errands.send(Errand::EndTransaction { shard, id: transactional_id.to_owned() });
    }

    fn open(&mut self, shard: ShardId, source: Source, from: pipeline::Start) -> LaneId {
        let start = Start {
            topic: self.topic(source),
            partition: shard.0 as i32,
            offset: from.offset,
            leader_epoch: from.leader_epoch.filter(|epoch| *epoch >= 0),
        };
        let id = LaneId(self.lanes.len() as u32);
        let open = match self.reader.read(&[start]) {
            Ok(lanes) => lanes.into_iter().next().map(|lane| Open { lane, fault: None }),
            Err(e) => {
                self.events.push_back(Event::Failed { words: e.to_string() });
                None
            }
        };
        self.lanes.push(open);
        id
    }

    fn close(&mut self, lane: LaneId) {
        if let Some(open) = self.lanes[lane.0 as usize].take()
            && let Err(e) = self.reader.stop(vec![open.lane])
        {
            self.events.push_back(Event::Failed { words: e.to_string() });
        }
    }

    fn fill(&mut self, lane: LaneId, want: usize) -> Result<usize, LaneFault> {
        let Some(open) = &mut self.lanes[lane.0 as usize] else {
            return Ok(0);
        };
        if open.fault.is_none()
            && let Err((code, words)) = open.lane.fill(want, passes)
        {
            use RDKafkaErrorCode as Code;
            let at = format!("reading {}-{}: {words}", open.lane.topic(), open.lane.partition());
            open.fault = Some(match code {
                Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation => {
                    let (topic, partition) = (open.lane.topic().clone(), open.lane.partition());
                    self.errands.send(Errand::Bounds { lane, topic, partition });
                    Fault::Asked((code, words))
                }
                Code::UnknownTopicId => Fault::Known(LaneFault::Recreated),
                _ => Fault::Known(LaneFault::Refused(at)),
            });
        }
        match &open.fault {
            // Records in front of the fault come first.
            Some(Fault::Known(fault)) if open.lane.held() == 0 => Err(fault.clone()),
            _ => Ok(open.lane.held()),
        }
    }

    fn message(&self, lane: LaneId, index: usize) -> Message<'_> {
        let open = self.lanes[lane.0 as usize].as_ref().expect("a lane is used only between open and close");
        open.lane.message(index)
    }

    fn headers(&self, lane: LaneId, index: usize, each: &mut dyn FnMut(&str, Option<&[u8]>)) {
        let open = self.lanes[lane.0 as usize].as_ref().expect("a lane is used only between open and close");
        open.lane.headers(index, each);
    }

    fn advance(&mut self, lane: LaneId, n: usize) {
        self.open_lane(lane).lane.advance(n);
    }

    fn position(&self, lane: LaneId) -> i64 {
        self.lanes[lane.0 as usize].as_ref().map_or(-1, |open| open.lane.position())
    }

    fn ask(&mut self, lanes: &[LaneId]) {
        let wanted = |id: &LaneId| {
            let open = self.lanes.get(id.0 as usize)?.as_ref()?;
            Some(Wanted { lane: *id, topic: open.lane.topic().clone(), partition: open.lane.partition() })
        };
        self.watermarks.ask(lanes.iter().filter_map(wanted).collect());
    }

    fn commit(&mut self, transaction: Transaction) {
        // Taken here, on the thread that answers the group's events: between this and an answer the generation cannot become one under
        // which somebody else owns the shards.
        self.committer.commit(Box::new(transaction), self.member.group_metadata());
    }
}
