//! What must come out: the engine itself over the records as they stand in the log, without Kafka, journal or commits in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use segmentd::engine::output::Outputs;
use segmentd::engine::{Batch, Engine};
use segmentd::ids::{InputIndex, Position, ShardId};
use segmentd::lang::{self, SourceFile};
use segmentd::plan::Plan;
use segmentd::time::Timestamp;
use segmentd::wire::partitioner::Partitioner;
use segmentd::wire::{DecodeOptions, Placement, RawRecord, UnknownEvents, WrongType, encode, json};

use crate::harness::{Site, Stored};

pub fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64)
}

/// Outputs of all shards.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// JSON without `emitted_at`, by shard, in the order (customer, seq).
    pub changes: Vec<Vec<String>>,
    /// Value by key, those that ended left out; of all shards.
    pub memberships: BTreeMap<String, String>,
    /// (reason, topic, partition, offset).
    pub dead_letters: Vec<(String, String, i32, i64)>,
}

impl Expected {
    pub fn count(&self) -> usize {
        self.changes.iter().map(Vec::len).sum()
    }
}

/// The plan of a text of definitions.
pub fn plan(definitions: &str) -> Arc<Plan> {
    let compiled = lang::compile(&[SourceFile { name: "all.seg".into(), text: definitions.into() }]);
    let workspace = compiled.workspace.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics));
    Arc::new(Plan::compile(Arc::new(workspace)))
}

/// What the engine makes of the inputs as they stand now, with all timers up to `until` fired at the end.
pub fn of(site: &Site, definitions: &str, until: Timestamp) -> Expected {
    let plan = plan(definitions);
    let topics: Vec<Vec<Stored>> = site.names.inputs.iter().map(|t| site.read(t)).collect();
    let mut expected = Expected::default();
    for shard in 0..site.partitions {
        let placement = Placement { partitioner: Partitioner::Murmur2, partitions: site.partitions as u32, shard: ShardId(shard as u32) };
        let options =
            DecodeOptions { unknown_events: UnknownEvents::Ignore, wrong_type: WrongType::DeadLetter, placement: Some(placement) };
        let mut decoder = json::Decoder::new(plan.schema().clone(), options);
        let mut records: Vec<(Timestamp, u16, &Stored)> = Vec::new();
        for (input, stored) in topics.iter().enumerate() {
            let mut last = Timestamp::MIN;
            for record in stored.iter().filter(|r| r.partition == shard) {
                last = last.max(Timestamp(record.timestamp));
                records.push((last, input as u16, record));
            }
        }
        records.sort_by_key(|(arrival, input, record)| (*arrival, *input, record.offset));
        let mut batch = Batch::default();
        for (arrival, input, record) in &records {
            let position = Position { input: InputIndex(*input), partition: shard as u32, offset: record.offset };
            let raw = RawRecord { position, arrival: *arrival, key: record.key.as_deref(), value: record.value.as_deref() };
            decoder.decode(&raw, &mut batch);
        }
        let mut engine = Engine::new(plan.clone(), Default::default());
        let mut outputs = Outputs::default();
        let mut applied = engine.apply(&batch, Some(until), &mut outputs);
        while applied.cursor.is_some() {
            // The output budget cuts a herd; its rest comes with the next call.
            let mut more = Outputs::default();
            applied = engine.apply(&Batch::default(), Some(until), &mut more);
            outputs.changes.append(&mut more.changes);
        }
        outputs.changes.sort_by(|a, b| (&a.change.customer, a.change.seq).cmp(&(&b.change.customer, b.change.seq)));
        for published in &outputs.changes {
            let change = &published.change;
            let (mut key, mut value) = (Vec::new(), Vec::new());
            encode::membership_key_json(&change.customer, &change.segment, &mut key);
            let key = String::from_utf8(key).unwrap();
            match &published.membership {
                Some(m) => {
                    encode::membership_json(m, &mut value);
                    expected.memberships.insert(key, String::from_utf8(value).unwrap());
                }
                None => drop(expected.memberships.remove(&key)),
            }
        }
        let json = |p: &segmentd::engine::output::Published| {
            let mut out = Vec::new();
            encode::change_json(&p.change, None, &site.names.inputs, &mut out);
            // Through the same reader as what comes from the topic.
            serde_json::from_slice::<serde_json::Value>(&out).unwrap().to_string()
        };
        expected.changes.push(outputs.changes.iter().map(json).collect());
        for dead in &outputs.dead_letters {
            let topic = site.names.inputs[dead.position.input.at()].clone();
            expected.dead_letters.push((dead.reason.word().into(), topic, shard, dead.position.offset));
        }
    }
    expected.dead_letters.sort();
    expected
}

/// What was published, in the same form. Fails where the changes of a customer are not numbered 1, 2, 3 ... in the order of the log.
pub fn published(site: &Site) -> Expected {
    let mut result = Expected::default();
    let mut shards: Vec<Vec<(String, u64, String)>> = vec![Vec::new(); site.partitions as usize];
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for record in site.read(&site.names.changes) {
        let mut change = record.json();
        let object = change.as_object_mut().unwrap();
        assert!(object.shift_remove("emitted_at").is_some(), "a change says when it was published");
        let customer = object["customer"].as_str().unwrap().to_owned();
        let seq = object["seq"].as_u64().unwrap();
        let due = next.entry(customer.clone()).or_insert(1);
        assert_eq!(seq, *due, "change {seq} of {customer} at {}-{} where {due} is due", record.partition, record.offset);
        *due += 1;
        assert_eq!(record.key.as_deref(), Some(customer.as_bytes()));
        shards[record.partition as usize].push((customer, seq, change.to_string()));
    }
    for mut shard in shards {
        shard.sort();
        result.changes.push(shard.into_iter().map(|(_, _, json)| json).collect());
    }
    for record in site.read(&site.names.memberships) {
        let key = String::from_utf8(record.key.unwrap()).unwrap();
        match record.value {
            Some(value) => drop(result.memberships.insert(key, String::from_utf8(value).unwrap())),
            None => drop(result.memberships.remove(&key)),
        }
    }
    for record in site.read(&site.names.dead_letters) {
        let header = |name: &str| String::from_utf8(record.headers[name].clone()).unwrap();
        let number = |name: &str| header(name).parse::<i64>().unwrap();
        result.dead_letters.push((
            header("__streams.errors.exception"),
            header("__streams.errors.topic"),
            number("__streams.errors.partition") as i32,
            number("__streams.errors.offset"),
        ));
    }
    result.dead_letters.sort();
    result
}

/// Compares with a message that one can read.
pub fn assert_same(site: &Site, expected: &Expected) {
    let got = published(site);
    for (shard, (got, want)) in got.changes.iter().zip(&expected.changes).enumerate() {
        let missing: Vec<&String> = want.iter().filter(|c| !got.contains(c)).take(3).collect();
        let extra: Vec<&String> = got.iter().filter(|c| !want.contains(c)).take(3).collect();
        assert!(
            got == want,
            "shard {shard}: {} changes where {} are due\nmissing: {missing:#?}\nnot expected: {extra:#?}",
            got.len(),
            want.len()
        );
    }
    assert_eq!(got.memberships, expected.memberships);
    assert_eq!(got.dead_letters, expected.dead_letters);
}

/// Waits until as many changes are there as are due, and a little longer in case there are more, then compares.
pub fn await_same(site: &Site, expected: &Expected) {
    let due = expected.count();
    site.wait_for(&site.names.changes, &format!("{due} changes"), |records| records.len() >= due);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_same(site, expected);
}
