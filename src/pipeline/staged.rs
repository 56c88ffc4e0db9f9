//! What one shard has decided and not yet handed over: encoded records, the batches they came from, and the journal record that seals them.
//!
//! Everything is encoded here, before a transaction begins, so that a retry sends the same bytes.

use std::borrow::Cow;

use super::client::{Client, Header, Outgoing, Output, Part};
use super::inputs::Inputs;
use super::settings::Settings;
use crate::engine::output::{DeadLetter, Outputs, Published};
use crate::ids::{BatchNumber, SetHash, ShardId};
use crate::time::Timestamp;
use crate::wire::encode::{self, Payload};
use crate::wire::journal::{JournalBatch, JournalInput, JournalRecord};

/// Bytes of encoded outputs and batches after which a shard waits for its commit before it takes more. A herd's budget (4 MiB) fits.
pub const STAGED_BYTES_MAX: usize = 8 << 20;
/// Bytes of a worker's next transaction after which its shards wait for the commit: it has to be written well within its time-out.
pub const TRANSACTION_BYTES_MAX: usize = 16 << 20;
const _: () = assert!(STAGED_BYTES_MAX <= TRANSACTION_BYTES_MAX);
/// Batches of one journal record: replay holds a record in memory.
pub const STAGED_BATCHES_MAX: usize = 1_024;

/// Own headers of a record that go with its dead letter, and the bytes of their names and values: half of the room that a dead letter has
/// for headers.
const DEAD_LETTER_HEADERS_MAX: usize = 100;
const DEAD_LETTER_HEADERS_BYTES_MAX: usize = 32 << 10;

/// The outputs of a shard since its last transaction.
#[derive(Debug, Default)]
pub(super) struct Staged {
    part: Part,
    batches: Vec<JournalBatch>,
    published: Vec<Published>,
    /// Whether anything is to be seen: changes or dead letters, or a first record.
    pub loud: bool,
    /// When the first of it was decided.
    since: Option<Timestamp>,
    emitted_at: Timestamp,
    scratch: String,
}

/// What a transaction made of [`Staged`].
#[derive(Debug)]
pub(super) struct Sealed {
    pub part: Part,
    pub published: Vec<Published>,
    pub emitted_at: Timestamp,
}

impl Staged {
    pub fn is_empty(&self) -> bool {
        self.since.is_none()
    }

    pub fn is_full(&self) -> bool {
        self.part.bytes.len() >= STAGED_BYTES_MAX || self.batches.len() >= STAGED_BATCHES_MAX
    }

    pub fn bytes(&self) -> usize {
        self.part.bytes.len()
    }

    /// When the first of what waits was decided.
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Marks that a journal record is due, even of no batch.
    pub fn touch(&mut self, now: Timestamp, loud: bool) {
        self.since.get_or_insert(now);
        self.loud |= loud;
    }

    /// Takes over a batch and encodes its outputs. The records are still held by `client`, for dead letters go out as they came.
    pub fn add<C: Client>(
        &mut self,
        settings: &Settings,
        client: &C,
        inputs: &Inputs,
        batch: JournalBatch,
        outputs: &mut Outputs,
        now: Timestamp,
    ) {
        self.touch(now, !outputs.changes.is_empty() || !outputs.dead_letters.is_empty());
        self.emitted_at = now;
        self.batches.push(batch);
        let topics: Vec<&str> = settings.inputs.iter().map(|i| &*i.topic).collect();
        for published in &outputs.changes {
            self.change(settings, published, &topics, now);
        }
        for dead in &outputs.dead_letters {
            self.dead_letter(settings, client, inputs, dead, &topics);
        }
        self.published.append(&mut outputs.changes);
    }

    fn push(&mut self, output: Output, key: Option<usize>, value: Option<usize>, headers: usize) {
        // Key, value: where each begins; the key ends where the value begins.
        let end = self.part.bytes.len();
        let key = key.map(|start| start..value.unwrap_or(end));
        let value = value.map(|start| start..end);
        self.part.records.push(Outgoing { output, key, value, headers: headers..headers });
    }

    /// Adds headers to the last record.
    fn header(part: &mut Part, name: Cow<'static, str>, value: Option<&[u8]>) {
        let value = value.map(|value| {
            let start = part.bytes.len();
            part.bytes.extend_from_slice(value);
            start..part.bytes.len()
        });
        part.headers.push(Header { name, value });
        if let Some(record) = part.records.last_mut() {
            record.headers.end = part.headers.len();
        }
    }

    fn change(&mut self, settings: &Settings, published: &Published, topics: &[&str], now: Timestamp) {
        let change = &published.change;
        let key = self.part.bytes.len();
        self.part.bytes.extend_from_slice(change.customer.as_bytes());
        let value = self.part.bytes.len();
        match settings.payload {
            Payload::Json => encode::change_json(change, Some(now), topics, &mut self.part.bytes),
            Payload::Protobuf => encode::change_protobuf(change, Some(now), topics, &mut self.part.bytes),
        }
        self.push(Output::Changes, Some(key), Some(value), self.part.headers.len());
        let Staged { part, scratch, .. } = self;
        encode::change_headers(change, &settings.source, settings.payload, scratch, |name, value| {
            Staged::header(part, name.into(), Some(value));
        });

        let key = self.part.bytes.len();
        match settings.payload {
            Payload::Json => encode::membership_key_json(&change.customer, &change.segment, &mut self.part.bytes),
            Payload::Protobuf => encode::membership_key_protobuf(&change.customer, &change.segment, &mut self.part.bytes),
        }
        let value = published.membership.as_ref().map(|membership| {
            let start = self.part.bytes.len();
            match settings.payload {
                Payload::Json => encode::membership_json(membership, &mut self.part.bytes),
                Payload::Protobuf => encode::membership_protobuf(membership, &mut self.part.bytes),
            }
            start
        });
        self.push(Output::Memberships, Some(key), value, self.part.headers.len());
    }

    fn dead_letter<C: Client>(&mut self, settings: &Settings, client: &C, inputs: &Inputs, dead: &DeadLetter, topics: &[&str]) {
        let message = inputs.original(client, dead.position);
        assert!(message.is_some(), "a dead letter names a record of its batch: {dead:?}");
        let (key, value) = message.map_or((None, None), |(.., m)| (m.key, m.value));
        let (key_bytes, value_bytes) = (key.map_or(0, <[u8]>::len), value.map_or(0, <[u8]>::len));
        // What the topic does not take would hold up the shard for ever; the headers say where the record stands.
        let value = value.filter(|_| key_bytes + value_bytes <= settings.dead_letter_bytes);
        let key = key.filter(|_| key_bytes <= settings.dead_letter_bytes);
        let cut = value_bytes > 0 && value.is_none();
        let shortened = cut.then(|| DeadLetter {
            detail: format!("{}; {} bytes of key and value are left out", dead.detail, key_bytes + value_bytes).into(),
            ..dead.clone()
        });
        let dead = shortened.as_ref().unwrap_or(dead);
        let mut put = |bytes: Option<&[u8]>| {
            bytes.map(|bytes| {
                let start = self.part.bytes.len();
                self.part.bytes.extend_from_slice(bytes);
                start
            })
        };
        let (key, value) = (put(key), put(value));
        self.push(Output::DeadLetters, key, value, self.part.headers.len());
        let topic = topics.get(dead.position.input.at()).copied().unwrap_or_default();
        let Staged { part, scratch, .. } = self;
        encode::dead_letter_headers(dead, topic, scratch, |name, value| Staged::header(part, name.into(), Some(value)));
        let Some((lane, index, _)) = message else { return };
        let mut room = DEAD_LETTER_HEADERS_BYTES_MAX;
        let mut n = 0;
        client.headers(lane, index, &mut |name, value| {
            // From the first one that does not fit on they are left out: those that are there are the first of the record.
            n += 1;
            room = room.saturating_sub(name.len() + value.map_or(0, <[u8]>::len));
            if room > 0 && n <= DEAD_LETTER_HEADERS_MAX {
                Staged::header(part, name.to_owned().into(), value);
            }
        });
    }

    /// Closes what was staged with its journal record and begins anew.
    pub fn seal(&mut self, settings: &Settings, journal: Journal) -> Sealed {
        let Journal { shard, batch, journal_offset, inputs, clock, definitions, zones } = journal;
        let record = JournalRecord {
            shard,
            batch,
            batches: std::mem::take(&mut self.batches),
            inputs,
            clock,
            definitions,
            engine: super::settings::rules(zones),
            settings: settings.hash(),
            transactional_id: settings.transactional_id.clone(),
            digest: None,
        };
        let key = self.part.bytes.len();
        self.part.bytes.extend_from_slice(shard.0.to_string().as_bytes());
        let value = self.part.bytes.len();
        self.part.bytes.extend_from_slice(&record.encode());
        self.push(Output::Journal, Some(key), Some(value), self.part.headers.len());
        let mut part = std::mem::take(&mut self.part);
        part.shard = shard;
        part.batch = batch;
        part.journal_offset = journal_offset;
        self.loud = false;
        self.since = None;
        let published = std::mem::take(&mut self.published);
        Sealed { part, published, emitted_at: self.emitted_at }
    }

    /// Takes back the buffers of a part that is through.
    pub fn reuse(&mut self, mut part: Part) {
        if self.part.records.is_empty() && part.bytes.capacity() > self.part.bytes.capacity() {
            part.records.clear();
            part.headers.clear();
            part.bytes.clear();
            part.input_offsets.clear();
            self.part = part;
        }
    }
}

/// What a journal record says beside its batches.
pub(super) struct Journal {
    pub shard: ShardId,
    pub batch: BatchNumber,
    pub journal_offset: i64,
    pub inputs: Vec<JournalInput>,
    pub clock: Timestamp,
    pub definitions: SetHash,
    /// The version of the time-zone database.
    pub zones: &'static str,
}
