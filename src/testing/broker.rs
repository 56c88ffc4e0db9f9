//! A log in memory with what exactly-once rests on: transactions with markers, last stable offsets, fencing by producer epoch, offsets that
//! are stable or not, a group with generations. In virtual time; nothing here waits.
//!
//! What is simplified: one broker, one consumer group, and a producer's second transaction waits for the markers of its first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ids::{BatchNumber, InputIndex, ShardId};
use crate::pipeline::{CommittedOffset, Ends, Output};
use crate::time::{Millis, Timestamp};

/// After this long without word from a member the group goes on without it.
pub const SESSION_TIMEOUT: Millis = Millis(10_000);
/// After this long the broker aborts a transaction by itself.
pub const TRANSACTION_TIMEOUT: Millis = Millis(8_000);

/// A transaction, of a worker's producer or of somebody who writes to the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(usize);

/// One partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Partition {
    Input(InputIndex, ShardId),
    Output(Output, ShardId),
}

/// A record as it stands in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub offset: i64,
    pub timestamp: Timestamp,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

#[derive(Clone, Debug)]
enum Entry {
    Record { record: Stored, transaction: Option<TransactionId> },
    Marker,
}

#[derive(Clone, Debug, Default)]
struct Log {
    entries: Vec<Entry>,
    low: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
}

/// A partition or an offset that still waits for the end of a transaction to be written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Log(Partition),
    Offset(ShardId),
}

#[derive(Clone, Debug)]
struct TransactionState {
    /// Decided by the coordinator; markers follow.
    fate: Fate,
    places: BTreeSet<Place>,
    begun: Timestamp,
}

#[derive(Clone, Debug, Default)]
struct Producer {
    epoch: u32,
    open: Option<TransactionId>,
}

#[derive(Clone, Debug, Default)]
struct Offset {
    stable: Option<(i64, String)>,
    pending: Option<(TransactionId, i64, String)>,
}

/// What the group tells a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupNews {
    Assigned(Vec<ShardId>),
    Revoked(Vec<ShardId>),
}

#[derive(Clone, Debug, Default)]
struct Member {
    owned: BTreeSet<ShardId>,
    /// Told and not yet answered.
    revoking: BTreeSet<ShardId>,
    news: VecDeque<GroupNews>,
    heard_at: Timestamp,
}

/// Why the broker refuses something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A newer producer has the id.
    Fenced,
    /// The generation or the member is not the group's.
    NotOwner,
    /// The transaction before is still being written.
    Concurrent,
    /// There is no such transaction (any more).
    NoTransaction,
}

/// The log, the transaction coordinator and the group.
pub struct Broker {
    pub now: Timestamp,
    n_shards: u32,
    n_inputs: u16,
    logs: BTreeMap<Partition, Log>,
    transactions: Vec<TransactionState>,
    producers: BTreeMap<String, Producer>,
    offsets: BTreeMap<ShardId, Offset>,
    /// For lag tools.
    pub input_offsets: BTreeMap<(InputIndex, ShardId), i64>,
    members: BTreeMap<u64, Member>,
    generation: u64,
    next_member: u64,
    /// Of a thousand ends of transactions, how many are written place by place over time.
    pub slow_markers: u32,
    pub rng: fastrand::Rng,
    topic_ids: Vec<[u8; 16]>,
}

impl Broker {
    pub fn new(n_inputs: u16, n_shards: u32, now: Timestamp, seed: u64) -> Broker {
        let mut logs = BTreeMap::new();
        for shard in (0..n_shards).map(ShardId) {
            for input in (0..n_inputs).map(InputIndex) {
                logs.insert(Partition::Input(input, shard), Log::default());
            }
            for output in [Output::Changes, Output::Memberships, Output::DeadLetters, Output::Journal] {
                logs.insert(Partition::Output(output, shard), Log::default());
            }
        }
        Broker {
            now,
            n_shards,
            n_inputs,
            logs,
            transactions: Vec::new(),
            producers: BTreeMap::new(),
            offsets: BTreeMap::new(),
            input_offsets: BTreeMap::new(),
            members: BTreeMap::new(),
            generation: 0,
            next_member: 0,
            slow_markers: 0,
            rng: fastrand::Rng::with_seed(seed),
            topic_ids: (0..n_inputs).map(|i| [i as u8 + 1; 16]).collect(),
        }
    }

    pub fn n_shards(&self) -> u32 {
        self.n_shards
    }

    pub fn n_inputs(&self) -> u16 {
        self.n_inputs
    }

    // Time.

    /// Moves time on and does what falls due: markers, time-outs of transactions and sessions.
    pub fn advance(&mut self, to: Timestamp) {
        assert!(to >= self.now, "time goes forward");
        self.now = to;
        for i in 0..self.transactions.len() {
            let state = &self.transactions[i];
            if state.fate != Fate::Open && !state.places.is_empty() && self.rng.bool() {
                let n = self.rng.usize(..state.places.len());
                let place = *state.places.iter().nth(n).expect("a place of several");
                self.write_end(TransactionId(i), place);
            }
        }
        let stale: Vec<String> = self
            .producers
            .iter()
            .filter(|(_, p)| p.open.is_some_and(|t| self.is_open(t) && to - self.transactions[t.0].begun > TRANSACTION_TIMEOUT))
            .map(|(id, _)| id.clone())
            .collect();
        for id in stale {
            self.init_producer(&id);
        }
        let silent: Vec<u64> = self.members.iter().filter(|(_, m)| to - m.heard_at > SESSION_TIMEOUT).map(|(id, _)| *id).collect();
        silent.into_iter().for_each(|member| self.kick(member));
    }

    // Writing.

    fn log(&mut self, partition: Partition) -> &mut Log {
        self.logs.get_mut(&partition).expect("a partition of this broker")
    }

    fn append(&mut self, partition: Partition, mut record: Stored, transaction: Option<TransactionId>) {
        if let Some(transaction) = transaction {
            self.transactions[transaction.0].places.insert(Place::Log(partition));
        }
        let now = self.now;
        let log = self.log(partition);
        record.offset = log.entries.len() as i64;
        record.timestamp = now;
        log.entries.push(Entry::Record { record, transaction });
    }

    /// Appends a record to an input, under log-append time.
    pub fn produce(&mut self, input: InputIndex, shard: ShardId, key: &[u8], value: &[u8], transaction: Option<TransactionId>) {
        let headers = vec![("source".to_owned(), Some(b"web".to_vec())), ("trace".to_owned(), None)];
        let record = Stored { offset: 0, timestamp: self.now, key: Some(key.to_vec()), value: Some(value.to_vec()), headers };
        self.append(Partition::Input(input, shard), record, transaction);
    }

    pub fn begin(&mut self) -> TransactionId {
        self.transactions.push(TransactionState { fate: Fate::Open, places: BTreeSet::new(), begun: self.now });
        TransactionId(self.transactions.len() - 1)
    }

    /// Decides a transaction; its markers follow at once or over time.
    pub fn end(&mut self, transaction: TransactionId, commit: bool) {
        let state = &mut self.transactions[transaction.0];
        if state.fate != Fate::Open {
            return;
        }
        state.fate = if commit { Fate::Committed } else { Fate::Aborted };
        if self.rng.u32(..1_000) >= self.slow_markers {
            self.finish(transaction);
        }
    }

    /// Writes what is left of the end of a transaction.
    fn finish(&mut self, transaction: TransactionId) {
        let places: Vec<Place> = self.transactions[transaction.0].places.iter().copied().collect();
        places.into_iter().for_each(|place| self.write_end(transaction, place));
    }

    fn write_end(&mut self, transaction: TransactionId, place: Place) {
        let state = &mut self.transactions[transaction.0];
        let committed = state.fate == Fate::Committed;
        state.places.remove(&place);
        match place {
            Place::Log(partition) => self.log(partition).entries.push(Entry::Marker),
            Place::Offset(shard) => {
                let offset = self.offsets.entry(shard).or_default();
                if let Some((_, at, metadata)) = offset.pending.take_if(|(t, ..)| *t == transaction)
                    && committed
                {
                    offset.stable = Some((at, metadata));
                }
            }
        }
    }

    fn is_open(&self, transaction: TransactionId) -> bool {
        self.transactions[transaction.0].fate == Fate::Open
    }

    fn is_settled(&self, transaction: TransactionId) -> bool {
        let state = &self.transactions[transaction.0];
        state.fate != Fate::Open && state.places.is_empty()
    }

    // Producers of workers.

    /// A new producer of that id: the old one is fenced, what it left open is aborted, what was decided is finished.
    pub fn init_producer(&mut self, id: &str) -> u32 {
        let producer = self.producers.entry(id.to_owned()).or_default();
        producer.epoch += 1;
        let (epoch, open) = (producer.epoch, producer.open.take());
        if let Some(transaction) = open {
            if self.is_open(transaction) {
                self.transactions[transaction.0].fate = Fate::Aborted;
            }
            self.finish(transaction);
        }
        epoch
    }

    fn check(&self, id: &str, epoch: u32) -> Result<Option<TransactionId>, Refusal> {
        match self.producers.get(id) {
            Some(producer) if producer.epoch == epoch => Ok(producer.open),
            _ => Err(Refusal::Fenced),
        }
    }

    pub fn begin_transaction(&mut self, id: &str, epoch: u32) -> Result<(), Refusal> {
        if let Some(before) = self.check(id, epoch)?
            && !self.is_settled(before)
        {
            return Err(Refusal::Concurrent);
        }
        let transaction = self.begin();
        self.producers.get_mut(id).expect("checked").open = Some(transaction);
        Ok(())
    }

    pub fn send(&mut self, id: &str, epoch: u32, output: Output, shard: ShardId, record: Stored) -> Result<(), Refusal> {
        let transaction = self.check(id, epoch)?.filter(|t| self.is_open(*t)).ok_or(Refusal::NoTransaction)?;
        self.append(Partition::Output(output, shard), record, Some(transaction));
        Ok(())
    }

    /// Adds the offset of a shard's journal partition, if the member is of the generation.
    pub fn send_offset(
        &mut self,
        id: &str,
        epoch: u32,
        group: (u64, u64),
        shard: ShardId,
        offset: i64,
        batch: BatchNumber,
    ) -> Result<(), Refusal> {
        let transaction = self.check(id, epoch)?.filter(|t| self.is_open(*t)).ok_or(Refusal::NoTransaction)?;
        let (member, generation) = group;
        if generation != self.generation || !self.members.contains_key(&member) {
            return Err(Refusal::NotOwner);
        }
        let end = self.logs[&Partition::Output(Output::Journal, shard)].entries.len() as i64;
        assert!(offset <= end + 1, "the offset {offset} of shard {shard} is behind the journal's end {end} with the marker to come");
        let entry = self.offsets.entry(shard).or_default();
        assert!(entry.pending.as_ref().is_none_or(|(t, ..)| *t == transaction), "two transactions commit shard {shard} at once");
        entry.pending = Some((transaction, offset, batch.to_string()));
        self.transactions[transaction.0].places.insert(Place::Offset(shard));
        Ok(())
    }

    pub fn end_transaction(&mut self, id: &str, epoch: u32, commit: bool) -> Result<(), Refusal> {
        let transaction = self.check(id, epoch)?.filter(|t| self.is_open(*t)).ok_or(Refusal::NoTransaction)?;
        self.end(transaction, commit);
        Ok(())
    }

    // Reading.

    pub fn ends(&self, partition: Partition) -> Ends {
        let log = &self.logs[&partition];
        Ends { low: log.low, high: log.entries.len() as i64 }
    }

    /// The first offset that a `read_committed` reader does not come past, because a transaction is open there.
    pub fn last_stable(&self, partition: Partition) -> i64 {
        let log = &self.logs[&partition];
        let open = log.entries.iter().position(|entry| match entry {
            Entry::Record { transaction: Some(t), .. } => !self.ended_in(*t, partition),
            _ => false,
        });
        open.unwrap_or(log.entries.len()) as i64
    }

    /// The next record that a `read_committed` reader gets from `from` on, and where it stands afterwards; without a record, how far it
    /// comes past markers and aborted records.
    pub fn read(&self, partition: Partition, from: i64) -> (Option<&Stored>, i64) {
        let log = &self.logs[&partition];
        let mut at = from;
        for entry in &log.entries[from as usize..] {
            match entry {
                Entry::Marker => {}
                Entry::Record { transaction: Some(t), .. } if !self.ended_in(*t, partition) => return (None, at),
                Entry::Record { transaction: Some(t), .. } if self.transactions[t.0].fate == Fate::Aborted => {}
                Entry::Record { record, .. } => return (Some(record), at + 1),
            }
            at += 1;
        }
        (None, at)
    }

    /// Whether the transaction's marker stands in that partition.
    fn ended_in(&self, transaction: TransactionId, partition: Partition) -> bool {
        let state = &self.transactions[transaction.0];
        state.fate != Fate::Open && !state.places.contains(&Place::Log(partition))
    }

    /// Everything that a `read_committed` reader sees.
    pub fn committed(&self, partition: Partition) -> Vec<&Stored> {
        let mut from = self.logs[&partition].low;
        let mut out = Vec::new();
        while let (Some(record), next) = self.read(partition, from) {
            out.push(record);
            from = next;
        }
        out
    }

    pub fn committed_offset(&self, shard: ShardId) -> CommittedOffset {
        match self.offsets.get(&shard) {
            Some(Offset { pending: Some(_), .. }) => CommittedOffset::Unstable,
            Some(Offset { stable: Some((offset, metadata)), .. }) => CommittedOffset::At { offset: *offset, metadata: metadata.clone() },
            _ => CommittedOffset::Absent,
        }
    }

    pub fn topic_id(&self, input: InputIndex) -> [u8; 16] {
        self.topic_ids[input.at()]
    }

    // What may go wrong with a log.

    /// Retention takes what stands before `low`.
    pub fn truncate(&mut self, partition: Partition, low: i64) {
        self.log(partition).low = low;
    }

    /// The topic is deleted and created again.
    pub fn recreate(&mut self, input: InputIndex) {
        self.topic_ids[input.at()] = [0xee; 16];
    }

    /// A partition loses everything.
    pub fn empty(&mut self, partition: Partition) {
        *self.log(partition) = Log::default();
    }

    /// The group's offset of a journal partition is gone, as after its topic was deleted or the group was away for a week.
    pub fn forget_offset(&mut self, shard: ShardId) {
        self.offsets.remove(&shard);
    }

    /// Overwrites the value of a record.
    pub fn tamper(&mut self, partition: Partition, offset: i64, with: &[u8]) {
        if let Entry::Record { record, .. } = &mut self.log(partition).entries[offset as usize] {
            record.value = Some(with.to_vec());
        }
    }

    // The group.

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn join(&mut self) -> u64 {
        self.next_member += 1;
        let member = Member { heard_at: self.now, ..Member::default() };
        self.members.insert(self.next_member, member);
        self.rebalance();
        self.next_member
    }

    /// A member's client is alive; what the group has to tell it. `None`: it is no member any more.
    pub fn heartbeat(&mut self, member: u64) -> Option<Option<GroupNews>> {
        let now = self.now;
        let member = self.members.get_mut(&member)?;
        member.heard_at = now;
        Some(member.news.pop_front())
    }

    /// A member's client is alive and busy.
    pub fn lives(&mut self, member: u64) {
        let now = self.now;
        if let Some(member) = self.members.get_mut(&member) {
            member.heard_at = now;
        }
    }

    /// The group goes on without a member.
    pub fn kick(&mut self, member: u64) {
        if self.members.remove(&member).is_some() {
            self.rebalance();
        }
    }

    /// A member lets go of shards.
    pub fn released(&mut self, member: u64, shards: &[ShardId]) {
        if let Some(member) = self.members.get_mut(&member) {
            for shard in shards {
                member.owned.remove(shard);
                member.revoking.remove(shard);
            }
            self.rebalance();
        }
    }

    pub fn members(&self) -> Vec<u64> {
        self.members.keys().copied().collect()
    }

    /// Who owns what, as the group sees it.
    pub fn owner(&self, shard: ShardId) -> Option<u64> {
        self.members.iter().find(|(_, m)| m.owned.contains(&shard)).map(|(id, _)| *id)
    }

    /// A new generation with another spread: cooperative, so a shard is given away only after its owner has let go of it.
    pub fn rebalance(&mut self) {
        self.generation += 1;
        let mut order: Vec<u64> = self.members.keys().copied().collect();
        self.rng.shuffle(&mut order);
        if order.is_empty() {
            return;
        }
        let shards: Vec<ShardId> = (0..self.n_shards).map(ShardId).collect();
        let target = |shard: ShardId| order[shard.0 as usize % order.len()];
        let mut free: BTreeSet<ShardId> = shards.iter().copied().collect();
        for (id, member) in &mut self.members {
            let leave: Vec<ShardId> = member.owned.iter().copied().filter(|s| target(*s) != *id && !member.revoking.contains(s)).collect();
            free.retain(|shard| !member.owned.contains(shard));
            if !leave.is_empty() {
                member.revoking.extend(&leave);
                member.news.push_back(GroupNews::Revoked(leave));
            }
        }
        for (id, member) in &mut self.members {
            let take: Vec<ShardId> = free.iter().copied().filter(|shard| target(*shard) == *id).collect();
            if !take.is_empty() {
                member.owned.extend(&take);
                member.news.push_back(GroupNews::Assigned(take));
            }
        }
    }
}
