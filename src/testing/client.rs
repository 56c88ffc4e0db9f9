//! The pipeline's client on [`Broker`]: what takes time comes later in virtual time, and what can go wrong does, by seed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::broker::{Broker, GroupNews, Partition, Refusal, Stored};
use crate::ids::{InputIndex, ShardId};
use crate::pipeline::{Client, Event, InputLog, LaneFault, LaneId, Mark, Message, Outcome, Output, Recovered, Source, Start, Transaction};
use crate::time::{Millis, Timestamp};

/// What goes wrong, and how often. **Units:** of a thousand occasions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A transaction is aborted on its way.
    pub abort: u32,
    /// The end of a transaction is asked for and the answer lost.
    pub uncertain: u32,
    /// A question about the end of a log is never answered.
    pub lost_answer: u32,
    /// A fetch brings nothing though there are records.
    pub slow_fetch: u32,
    /// Longest time of one step of a transaction, or of an answer.
    pub latency: Millis,
}

/// A worker's connection.
pub struct MemoryClient {
    broker: Rc<RefCell<Broker>>,
    id: String,
    topics: Vec<String>,
    faults: Faults,
    rng: fastrand::Rng,
    /// How far this machine's clock is from the broker's.
    skew: Millis,
    member: Option<u64>,
    owned: Vec<ShardId>,
    /// The library waits for an answer before it tells more of the group.
    answering: bool,
    epoch: u32,
    /// The producer is to be replaced before the next transaction.
    suspect: bool,
    lanes: Vec<Option<Lane>>,
    events: VecDeque<(Timestamp, Pending)>,
    flight: Option<Flight>,
    /// Calls and steps of transactions so far, and at which of them the process dies.
    pub calls: u64,
    pub dies_at: Option<u64>,
    dead: bool,
}

struct Lane {
    partition: Partition,
    next: i64,
    held: VecDeque<Stored>,
}

enum Pending {
    Event(Event),
    Recover(ShardId, crate::pipeline::CommittedOffset),
    Ask(Vec<(LaneId, Option<i64>)>, Timestamp),
    EndTransaction(ShardId, String),
}

/// A transaction on its way.
struct Flight {
    transaction: Box<Transaction>,
    group: Option<(u64, u64)>,
    step: Step,
    at: Timestamp,
    begun: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begin,
    /// Part, record.
    Send(usize, usize),
    Offsets,
    End,
}

impl MemoryClient {
    /// Connects, fences whoever used the id before, and joins the group.
    pub fn new(broker: &Rc<RefCell<Broker>>, id: &str, topics: Vec<String>, faults: Faults, skew: Millis, seed: u64) -> MemoryClient {
        let (epoch, member) = {
            let mut broker = broker.borrow_mut();
            (broker.init_producer(id), broker.join())
        };
        MemoryClient {
            broker: broker.clone(),
            id: id.to_owned(),
            topics,
            faults,
            rng: fastrand::Rng::with_seed(seed),
            skew,
            member: Some(member),
            owned: Vec::new(),
            answering: false,
            epoch,
            suspect: false,
            lanes: Vec::new(),
            events: VecDeque::new(),
            flight: None,
            calls: 0,
            dies_at: None,
            dead: false,
        }
    }

    pub fn is_dead(&self) -> bool {
        self.dead
    }

    pub fn member(&self) -> Option<u64> {
        self.member
    }

    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Whether anything may come of [`Client::poll`] at this instant.
    pub fn has_news(&self) -> bool {
        let now = self.broker.borrow().now;
        self.events.iter().any(|(at, _)| *at <= now) || self.flight.as_ref().is_some_and(|f| f.at <= now)
    }

    /// Something happens at this instant.
    pub fn tell(&mut self, event: Event) {
        let now = self.broker.borrow().now;
        self.events.push_back((now, Pending::Event(event)));
    }

    /// Leaves the group in order.
    pub fn leave(&mut self) {
        if let Some(member) = self.member.take() {
            self.broker.borrow_mut().kick(member);
        }
    }

    /// Counts a call; the process may die at it, and from then on nothing that it does reaches the broker.
    fn alive(&mut self) -> bool {
        self.calls += 1;
        if self.dies_at == Some(self.calls) {
            self.dead = true;
        }
        !self.dead
    }

    fn later(&mut self) -> Timestamp {
        let latency = Millis(self.rng.i64(0..=self.faults.latency.0));
        self.broker.borrow().now + latency
    }

    fn chance(&mut self, of_thousand: u32) -> bool {
        self.rng.u32(..1_000) < of_thousand
    }

    fn partition(shard: ShardId, source: Source) -> Partition {
        match source {
            Source::Journal => Partition::Output(Output::Journal, shard),
            Source::Input(input) => Partition::Input(input, shard),
        }
    }

    fn answer(&mut self, pending: Pending) -> Event {
        match pending {
            Pending::Event(event) => event,
            Pending::Recover(shard, committed) => {
                let broker = self.broker.borrow();
                let inputs = self.topics.iter().enumerate().map(|(i, topic)| {
                    let input = InputIndex(i as u16);
                    InputLog {
                        topic: topic.clone(),
                        topic_id: Some(broker.topic_id(input)),
                        ends: broker.ends(Partition::Input(input, shard)),
                    }
                });
                let journal = broker.ends(Partition::Output(Output::Journal, shard));
                let written = broker.ends(Partition::Output(Output::Changes, shard)).high;
                let beside = (written > 0).then(|| format!("{written} offsets of changes"));
                let journal_stable = broker.last_stable(Partition::Output(Output::Journal, shard));
                Event::Recovered(Recovered { shard, committed, journal, journal_stable, inputs: inputs.collect(), beside })
            }
            Pending::Ask(lanes, asked_at) => {
                let broker = self.broker.borrow();
                let marks = lanes.into_iter().filter_map(|(lane, high)| {
                    let partition = self.lanes[lane.0 as usize].as_ref()?.partition;
                    Some(Mark { lane, high: high.unwrap_or_else(|| broker.ends(partition).high), asked_at })
                });
                Event::Marks(marks.collect())
            }
            Pending::EndTransaction(shard, id) => {
                self.broker.borrow_mut().init_producer(&id);
                Event::TransactionEnded { shard }
            }
        }
    }

    /// Moves the transaction on its way by as many steps as are due.
    fn fly(&mut self) {
        while let Some(flight) = self.flight.take_if(|f| f.at <= self.broker.borrow().now) {
            if !self.alive() {
                // A request may be on the wire when the process dies: the broker gets it all the same.
                if flight.step == Step::End && self.rng.bool() {
                    let _ = self.broker.borrow_mut().end_transaction(&self.id, self.epoch, true);
                }
                return;
            }
            let mut flight = flight;
            match self.step(&mut flight) {
                None => {
                    // Records go out in batches, larger ones where there are many: a transaction has to end within its time-out.
                    let records: usize = flight.transaction.parts.iter().map(|part| part.records.len()).sum();
                    if !matches!(flight.step, Step::Send(..)) || self.rng.usize(..8.max(records / 40)) == 0 {
                        flight.at = self.later() + Millis(1);
                    }
                    self.flight = Some(flight);
                }
                Some(outcome) => {
                    let now = self.broker.borrow().now;
                    let took = now - flight.begun;
                    self.events.push_back((now, Pending::Event(Event::Done { transaction: flight.transaction, outcome, took })));
                }
            }
        }
    }

    fn step(&mut self, flight: &mut Flight) -> Option<Outcome> {
        if flight.step != Step::Begin && self.chance(self.faults.abort) {
            return Some(self.abort("a message was not delivered"));
        }
        let broker = self.broker.clone();
        let mut broker = broker.borrow_mut();
        match flight.step {
            Step::Begin => {
                if flight.group.is_none() {
                    return Some(Outcome::NotOwner("no member of the group".into()));
                }
                if self.suspect {
                    self.epoch = broker.init_producer(&self.id);
                    self.suspect = false;
                }
                match broker.begin_transaction(&self.id, self.epoch) {
                    Ok(()) => flight.step = Step::Send(0, 0),
                    Err(Refusal::Concurrent) => {}
                    Err(refusal) => return Some(Outcome::Fenced(format!("{refusal:?}"))),
                }
            }
            Step::Send(part, record) => match flight.transaction.parts.get(part) {
                None => flight.step = Step::Offsets,
                Some(p) => match p.records.get(record) {
                    None => flight.step = Step::Send(part + 1, 0),
                    Some(outgoing) => {
                        let stored = Stored {
                            offset: 0,
                            timestamp: Timestamp(0),
                            key: p.key(outgoing).map(<[u8]>::to_vec),
                            value: p.value(outgoing).map(<[u8]>::to_vec),
                            headers: p.headers(outgoing).map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect(),
                        };
                        match broker.send(&self.id, self.epoch, outgoing.output, p.shard, stored) {
                            Ok(()) => flight.step = Step::Send(part, record + 1),
                            Err(refusal) => return Some(self.refused(refusal, &mut broker)),
                        }
                    }
                },
            },
            Step::Offsets => {
                let group = flight.group.unwrap_or_default();
                for part in &flight.transaction.parts {
                    let sent = broker.send_offset(&self.id, self.epoch, group, part.shard, part.journal_offset, part.batch);
                    if let Err(refusal) = sent {
                        return Some(self.refused(refusal, &mut broker));
                    }
                    for (input, offset) in &part.input_offsets {
                        broker.input_offsets.insert((*input, part.shard), *offset);
                    }
                }
                flight.step = Step::End;
            }
            Step::End => {
                if self.rng.u32(..1_000) < self.faults.uncertain {
                    // The request is lost, or its answer is; the new producer makes it final, one way or the other.
                    if self.rng.bool() {
                        let _ = broker.end_transaction(&self.id, self.epoch, true);
                    }
                    self.epoch = broker.init_producer(&self.id);
                    return Some(Outcome::Uncertain("no answer".into()));
                }
                return Some(match broker.end_transaction(&self.id, self.epoch, true) {
                    Ok(()) => Outcome::Committed,
                    Err(Refusal::Fenced) => Outcome::Fenced("while committing".into()),
                    Err(refusal) => panic!("a transaction of ours cannot be committed: {refusal:?}"),
                });
            }
        }
        None
    }

    fn refused(&mut self, refusal: Refusal, broker: &mut Broker) -> Outcome {
        self.suspect = true;
        let _ = broker.end_transaction(&self.id, self.epoch, false);
        match refusal {
            Refusal::NotOwner => Outcome::NotOwner("illegal generation".into()),
            Refusal::Fenced => Outcome::Fenced("while sending".into()),
            refusal => Outcome::Aborted(format!("{refusal:?}")),
        }
    }

    fn abort(&mut self, why: &str) -> Outcome {
        self.suspect = true;
        match self.broker.borrow_mut().end_transaction(&self.id, self.epoch, false) {
            Err(Refusal::Fenced) => Outcome::Fenced(why.into()),
            _ => Outcome::Aborted(why.into()),
        }
    }

    fn group(&mut self) -> Option<Event> {
        if self.answering {
            // The library's own thread goes on telling the group that we live.
            if let Some(member) = self.member {
                self.broker.borrow_mut().lives(member);
            }
            return None;
        }
        let Some(member) = self.member else {
            self.member = Some(self.broker.borrow_mut().join());
            return None;
        };
        let news = self.broker.borrow_mut().heartbeat(member);
        match news {
            None => {
                self.member = None;
                let lost = std::mem::take(&mut self.owned);
                if lost.is_empty() {
                    return None;
                }
                self.answering = true;
                Some(Event::Lost(lost))
            }
            Some(None) => None,
            Some(Some(GroupNews::Assigned(shards))) => {
                self.answering = true;
                Some(Event::Assigned(shards))
            }
            Some(Some(GroupNews::Revoked(shards))) => {
                self.answering = true;
                Some(Event::Revoked(shards))
            }
        }
    }

    fn lane(&self, lane: LaneId) -> &Lane {
        self.lanes[lane.0 as usize].as_ref().expect("an open lane")
    }

    fn lane_mut(&mut self, lane: LaneId) -> &mut Lane {
        self.lanes[lane.0 as usize].as_mut().expect("an open lane")
    }
}

impl Client for MemoryClient {
    fn now(&self) -> Timestamp {
        self.broker.borrow().now + self.skew
    }

    fn poll(&mut self) -> Option<Event> {
        if !self.alive() {
            return None;
        }
        self.fly();
        if self.dead {
            return None;
        }
        if let Some(event) = self.group() {
            return Some(event);
        }
        let now = self.broker.borrow().now;
        let due = self.events.iter().position(|(at, _)| *at <= now)?;
        let (_, pending) = self.events.remove(due)?;
        Some(self.answer(pending))
    }

    fn take_over(&mut self, shards: &[ShardId]) {
        if self.alive() {
            self.answering = false;
            self.owned.extend(shards);
        }
    }

    fn give_up(&mut self, shards: &[ShardId]) {
        if self.alive() {
            self.answering = false;
            self.owned.retain(|shard| !shards.contains(shard));
            if let Some(member) = self.member {
                self.broker.borrow_mut().released(member, shards);
            }
        }
    }

    fn recover(&mut self, shard: ShardId) {
        if self.alive() {
            let committed = self.broker.borrow().committed_offset(shard);
            let at = self.later();
            self.events.push_back((at, Pending::Recover(shard, committed)));
        }
    }

    fn end_transaction(&mut self, shard: ShardId, transactional_id: &str) {
        if self.alive() {
            let at = self.later();
            self.events.push_back((at, Pending::EndTransaction(shard, transactional_id.to_owned())));
        }
    }

    fn open(&mut self, shard: ShardId, source: Source, from: Start) -> LaneId {
        self.alive();
        let partition = MemoryClient::partition(shard, source);
        self.lanes.push(Some(Lane { partition, next: from.offset, held: VecDeque::new() }));
        LaneId(self.lanes.len() as u32 - 1)
    }

    fn close(&mut self, lane: LaneId) {
        self.alive();
        assert!(self.lanes[lane.0 as usize].take().is_some(), "closed twice");
    }

    fn fill(&mut self, lane: LaneId, want: usize) -> Result<usize, LaneFault> {
        let alive = self.alive();
        let most = if alive && !self.chance(self.faults.slow_fetch) { self.rng.usize(1..=want.max(1)) } else { 0 };
        let broker = self.broker.clone();
        let broker = broker.borrow();
        let lane = self.lane_mut(lane);
        let ends = broker.ends(lane.partition);
        if lane.next < ends.low && lane.held.is_empty() {
            return Err(LaneFault::Truncated { position: lane.next, low: ends.low });
        }
        if lane.next > ends.high {
            return Err(LaneFault::Rewound { position: lane.next, high: ends.high });
        }
        for _ in 0..most.min(want.saturating_sub(lane.held.len())) {
            let (record, next) = broker.read(lane.partition, lane.next);
            lane.next = next;
            match record {
                Some(record) => lane.held.push_back(record.clone()),
                None => break,
            }
        }
        Ok(lane.held.len())
    }

    fn message(&self, lane: LaneId, index: usize) -> Message<'_> {
        let record = &self.lane(lane).held[index];
        Message {
            offset: record.offset,
            timestamp: record.timestamp,
            leader_epoch: 0,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
        }
    }

    fn headers(&self, lane: LaneId, index: usize, each: &mut dyn FnMut(&str, Option<&[u8]>)) {
        self.lane(lane).held[index].headers.iter().for_each(|(name, value)| each(name, value.as_deref()));
    }

    fn advance(&mut self, lane: LaneId, n: usize) {
        self.alive();
        self.lane_mut(lane).held.drain(..n);
    }

    fn position(&self, lane: LaneId) -> i64 {
        self.lane(lane).next
    }

    fn ask(&mut self, lanes: &[LaneId]) {
        if !self.alive() || self.chance(self.faults.lost_answer) {
            return;
        }
        let asked_at = self.now();
        // The broker looks anywhere between question and answer.
        let early = self.rng.bool();
        let broker = self.broker.clone();
        let broker = broker.borrow();
        let marks = lanes.iter().map(|lane| (*lane, early.then(|| broker.ends(self.lane(*lane).partition).high)));
        let pending = Pending::Ask(marks.collect(), asked_at);
        let at = self.later();
        self.events.push_back((at, pending));
    }

    fn commit(&mut self, transaction: Transaction) {
        if !self.alive() {
            return;
        }
        assert!(self.flight.is_none(), "one transaction at a time");
        assert!(transaction.parts.is_sorted_by_key(|p| p.shard), "parts stand in the order of shards");
        let generation = self.broker.borrow().generation();
        let (at, begun) = (self.later(), self.broker.borrow().now);
        let group = self.member.map(|member| (member, generation));
        self.flight = Some(Flight { transaction: Box::new(transaction), group, step: Step::Begin, at, begun });
    }
}
