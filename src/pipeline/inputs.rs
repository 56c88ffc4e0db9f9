//! The inputs of one shard: where each stands, which record comes next, and what is proved about the end of its log.
//!
//! Must never let a record pass another that waits in the log with an earlier arrival, unless LANGUAGE.md R59 says so, and never take
//! silence for the end of a log: only a high watermark, asked for late enough and reached by our position, is a proof (S3).
//!
//! **Example.** Inputs A and B, guard 20 ms. A holds a record that arrived at 1000, B nothing. B's watermark asked at 950 was 7 and B's
//! position is 7: A's record may be applied (R59). Afterwards a timer is due at 1500: at 1520 or later both watermarks are asked for
//! again, and when both are reached the clock may move to `asked_at - 20`.

use super::client::{Client, LaneFault, LaneId, Mark, Message};
use crate::ids::{InputIndex, Position, ShardId};
use crate::time::{Millis, Timestamp};
use crate::wire::{JournalInput, JournalRead, RawRecord};

/// Age up to which a watermark shows a partition to be empty before a record of another (LANGUAGE.md R59).
const SEEN_EMPTY_MAX: Millis = Millis::SECOND;
/// Age at which the next one is asked for, so that a shard with one silent input never waits for the answer.
const SEEN_EMPTY_STALE: Millis = Millis(500);
/// How often the end of a log is asked for without need, so that the lag can be told.
const WATCH: Millis = Millis(5_000);
/// After this long without an answer the question is asked again.
const ASK_AGAIN: Millis = Millis(500);

/// One input of a shard.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub id: LaneId,
    /// Records in the client's lane, from the first that was not let go.
    held: usize,
    /// Of those, how many the batch at hand has.
    used: usize,
    /// Next to read: behind the last record of the batch at hand.
    pub next_offset: i64,
    /// Of the last record; -1: unknown.
    pub leader_epoch: i32,
    /// Of the last record. **Invariant:** never goes back.
    pub last_arrival: Option<Timestamp>,
    /// [`Lane::next_offset`] when the offset for lag tools was committed last.
    pub told: i64,
    fault: Option<LaneFault>,
    mark: Option<Mark>,
    asked: Option<Timestamp>,
    /// Our position when the question was asked. An answer below it is of a log that is shorter than what was read, and proves nothing.
    asked_position: i64,
    /// Our position, once it was asked for; it moves only when records are taken. Asking costs the client a lock or two.
    position: Option<i64>,
}

/// What stands next in a merge.
pub(super) enum Next {
    /// The record of this input is the next one.
    Take(usize),
    /// Nothing can be taken: every input is empty, or one lacks the proof.
    Nothing,
}

/// All inputs of a shard, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Inputs {
    pub lanes: Vec<Lane>,
}

/// A journalled arrival: the record's timestamp under the cap, never before the one before it. A record without a timestamp arrives at
/// the cap.
pub(super) fn arrival(timestamp: Timestamp, cap: Timestamp, last: Option<Timestamp>) -> Timestamp {
    let capped = if timestamp.0 < 0 { cap } else { timestamp.min(cap) };
    last.map_or(capped, |last| last.max(capped))
}

impl Lane {
    pub fn new(id: LaneId, at: &JournalInput) -> Lane {
        Lane {
            id,
            held: 0,
            used: 0,
            next_offset: at.next_offset,
            leader_epoch: at.leader_epoch,
            last_arrival: at.last_arrival,
            told: at.next_offset,
            fault: None,
            mark: None,
            asked: None,
            asked_position: 0,
            position: None,
        }
    }

    fn refill<C: Client>(&mut self, client: &mut C, want: usize) {
        if self.held >= want || self.fault.is_some() {
            return;
        }
        self.position = None;
        match client.fill(self.id, want) {
            Ok(held) => self.held = held,
            Err(fault) => self.fault = Some(fault),
        }
    }

    fn is_empty(&self) -> bool {
        self.used == self.held
    }

    fn head<'c, C: Client>(&self, client: &'c C) -> Option<Message<'c>> {
        (!self.is_empty()).then(|| client.message(self.id, self.used))
    }

    /// Up to when the log is proved to hold nothing that was not applied: the moment at which it was asked for its end, and we were there.
    fn empty_as_of<C: Client>(&mut self, client: &C) -> Option<Timestamp> {
        let mark = self.mark?;
        (self.is_empty() && self.fault.is_none() && self.position(client) >= mark.high).then_some(mark.asked_at)
    }

    /// Next to read, markers passed. Meaningful only while no unread record is held.
    fn position<C: Client>(&mut self, client: &C) -> i64 {
        *self.position.get_or_insert_with(|| client.position(self.id))
    }

    /// The offset for lag tools.
    pub fn offset_to_tell<C: Client>(&mut self, client: &C) -> i64 {
        if self.is_empty() { self.position(client).max(self.next_offset) } else { self.next_offset }
    }

    fn want_mark<C: Client>(&mut self, client: &C, now: Timestamp, questions: &mut Vec<LaneId>) {
        if self.asked.is_none_or(|at| now - at >= ASK_AGAIN || now < at) {
            self.asked = Some(now);
            self.asked_position = client.position(self.id);
            questions.push(self.id);
        }
    }

    /// Records between us and the end of the log, as far as it is known.
    pub fn lag<C: Client>(&self, client: &C) -> u64 {
        let unread = self.mark.map_or(0, |m| (m.high - client.position(self.id)).max(0));
        unread as u64 + (self.held - self.used) as u64
    }
}

impl Inputs {
    /// Takes from the log what has come, up to `want` records per input.
    pub fn refill<C: Client>(&mut self, client: &mut C, want: usize) {
        for lane in &mut self.lanes {
            lane.refill(client, want);
        }
    }

    /// An input whose log goes on behind `targets` although the last record before was not seen: it was read once and is gone.
    pub fn passed<C: Client>(&self, client: &C, targets: &[i64]) -> Option<(InputIndex, i64)> {
        self.lanes.iter().zip(targets).enumerate().find_map(|(i, (lane, target))| {
            let position = client.position(lane.id);
            let passed = lane.is_empty() && lane.next_offset < *target && position >= *target;
            passed.then_some((InputIndex(i as u16), position))
        })
    }

    /// Asks for the ends of the logs now and then.
    pub fn watch<C: Client>(&mut self, client: &C, now: Timestamp, questions: &mut Vec<LaneId>) {
        for lane in &mut self.lanes {
            if lane.mark.is_none_or(|m| now - m.asked_at >= WATCH) {
                lane.want_mark(client, now, questions);
            }
        }
    }

    /// An input that can never be read on, once everything in front of the fault is applied.
    pub fn fault(&self) -> Option<(InputIndex, &LaneFault)> {
        self.lanes.iter().enumerate().find_map(|(i, l)| match &l.fault {
            Some(fault) if l.is_empty() => Some((InputIndex(i as u16), fault)),
            _ => None,
        })
    }

    pub fn note(&mut self, mark: &Mark) -> bool {
        let Some(lane) = self.lanes.iter_mut().find(|l| l.id == mark.lane) else {
            return false;
        };
        if lane.mark.is_none_or(|m| m.asked_at < mark.asked_at) && mark.high >= lane.asked_position {
            lane.mark = Some(*mark);
        }
        lane.asked = None;
        true
    }

    /// The next record by (arrival, input, offset), if R59 lets it be taken now. What is missing for it goes to `questions`.
    pub fn next_live<C: Client>(&mut self, client: &C, cap: Timestamp, now: Timestamp, questions: &mut Vec<LaneId>) -> Next {
        if self.lanes.len() == 1 {
            return if self.lanes[0].is_empty() { Next::Nothing } else { Next::Take(0) };
        }
        let Some(first) = self.first(client, cap, |_, _| true) else {
            return Next::Nothing;
        };
        let mut proved = true;
        for lane in &mut self.lanes {
            if !lane.is_empty() {
                continue;
            }
            let seen = lane.empty_as_of(client);
            if seen.is_none_or(|at| now - at > SEEN_EMPTY_MAX) {
                proved = false;
            }
            // A mark that is fresh and not reached says that records are on their way; asking again would not bring them.
            if lane.mark.is_none_or(|m| now - m.asked_at >= SEEN_EMPTY_STALE) {
                lane.want_mark(client, now, questions);
            }
        }
        if proved { Next::Take(first) } else { Next::Nothing }
    }

    /// The input whose unread record comes first, among those that `wanted` names.
    fn first<C: Client>(&self, client: &C, cap: Timestamp, wanted: impl Fn(usize, &Lane) -> bool) -> Option<usize> {
        let mut best: Option<(Timestamp, usize)> = None;
        for (i, lane) in self.lanes.iter().enumerate() {
            if !wanted(i, lane) {
                continue;
            }
            let Some(head) = lane.head(client) else { continue };
            let at = arrival(head.timestamp, cap, lane.last_arrival);
            if best.is_none_or(|(least, _)| at < least) {
                best = Some((at, i));
            }
        }
        best.map(|(_, i)| i)
    }

    /// The next record of a replay, whose inputs end at `targets`; `Nothing`: all are reached, or one has to be filled first.
    pub fn next_replayed<C: Client>(&self, client: &C, cap: Timestamp, targets: &[i64]) -> Next {
        let unreached = |i: usize, lane: &Lane| lane.next_offset < targets[i];
        if self.lanes.iter().enumerate().any(|(i, lane)| unreached(i, lane) && lane.is_empty()) {
            return Next::Nothing;
        }
        match self.first(client, cap, unreached) {
            Some(i) => Next::Take(i),
            None => Next::Nothing,
        }
    }

    /// Offset of the unread record of an input.
    pub fn peek<C: Client>(&self, client: &C, input: usize) -> Option<i64> {
        self.lanes[input].head(client).map(|m| m.offset)
    }

    /// Takes the unread record of an input into the batch at hand.
    pub fn take<'c, C: Client>(&mut self, client: &'c C, input: usize, shard: ShardId, cap: Timestamp) -> RawRecord<'c> {
        let lane = &mut self.lanes[input];
        let message = client.message(lane.id, lane.used);
        let at = arrival(message.timestamp, cap, lane.last_arrival);
        lane.used += 1;
        lane.next_offset = message.offset + 1;
        lane.last_arrival = Some(at);
        if message.leader_epoch >= 0 {
            lane.leader_epoch = message.leader_epoch;
        }
        let position = Position { input: InputIndex(input as u16), partition: shard.0, offset: message.offset };
        RawRecord { position, arrival: at, key: message.key, value: message.value }
    }

    /// A record of the batch at hand as it came, with its place in its lane.
    ///
    /// **Cost:** logarithmic in the batch.
    pub fn original<'c, C: Client>(&self, client: &'c C, position: Position) -> Option<(LaneId, usize, Message<'c>)> {
        let lane = self.lanes.get(position.input.at())?;
        let (mut low, mut high) = (0, lane.used);
        while low < high {
            let middle = low + (high - low) / 2;
            let message = client.message(lane.id, middle);
            match message.offset.cmp(&position.offset) {
                std::cmp::Ordering::Equal => return Some((lane.id, middle, message)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// How far the batch at hand goes, by input that goes forward.
    pub fn reads(&self) -> Vec<JournalRead> {
        let forward = self.lanes.iter().enumerate().filter(|(_, lane)| lane.used > 0);
        forward
            .map(|(i, lane)| JournalRead { input: InputIndex(i as u16), next_offset: lane.next_offset, leader_epoch: lane.leader_epoch })
            .collect()
    }

    /// The batch at hand is applied: lets go of its records.
    pub fn finish<C: Client>(&mut self, client: &mut C) {
        for lane in &mut self.lanes {
            if lane.used > 0 {
                client.advance(lane.id, lane.used);
                lane.held -= lane.used;
                lane.used = 0;
            }
        }
    }

    /// Stops reading all inputs.
    pub fn close<C: Client>(&mut self, client: &mut C) {
        for lane in self.lanes.drain(..) {
            client.close(lane.id);
        }
    }

    /// The latest instant up to which timers may fire: no partition can hold an unread record that arrived at or before it. What is
    /// missing for `wanted` goes to `questions`. **Shape:** closed at its end.
    pub fn proved_until<C: Client>(
        &mut self,
        client: &C,
        guard: Millis,
        wanted: Timestamp,
        now: Timestamp,
        questions: &mut Vec<LaneId>,
    ) -> Option<Timestamp> {
        let mut until = Some(now - guard);
        for lane in &mut self.lanes {
            let waiting = lane.head(client).map(|head| arrival(head.timestamp, now, lane.last_arrival));
            let proved = match waiting {
                // A record that waits: everything before it was read.
                Some(at) => Some(at - Millis(1)),
                None => lane.empty_as_of(client).map(|at| at - guard),
            };
            if lane.is_empty() && lane.mark.is_none_or(|m| m.asked_at - guard < wanted) {
                lane.want_mark(client, now, questions);
            }
            until = until.zip(proved).map(|(a, b)| a.min(b));
        }
        until
    }
}
