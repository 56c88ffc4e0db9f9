//! Bytes of every released message still decode to what they meant. The files in `tests/wire/stored` are never rewritten; a new message
//! gets its own with `UPDATE_GOLDEN=1 cargo test --test wire stored`, which writes only what is missing.

use std::path::PathBuf;

use prost::Message;

use segmentd::engine::batch::Batch;
use segmentd::engine::output::HerdCursor;
use segmentd::ids::{BatchNumber, InputIndex, SetHash, ShardId};
use segmentd::model::{Currency, Money, Value};
use segmentd::time::Timestamp;
use segmentd::wire::encode::{
    ChangeRecord, MembershipKeyRecord, MembershipRecord, change_hash, change_json, change_protobuf, membership_json, membership_key_json,
    membership_key_protobuf, membership_protobuf,
};
use segmentd::wire::journal::{JournalBatch, JournalInput, JournalRead, JournalRecord, input_hash};
use segmentd::wire::proto::v1;
use segmentd::wire::{DecodeOptions, json, protobuf};

use super::decode::raw;
use super::reference::{Out, OutBody, out_of};
use super::samples::{TOPICS, entered, moved};
use super::schema::schema;

/// The stored bytes; where there are none yet and updating is asked for, those of today.
fn stored(name: &str, today: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wire/stored").join(name);
    if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, today()).expect("the bytes are written");
    }
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

const EVENT: &str = r#"{"id":"e-1","customer":"c-42","event":"product_viewed","ts":"2026-11-23T10:00:00.123Z","properties":{"product_id":"p1","category":"shoes","price":"89.90","currency":"EUR"}}"#;

fn event() -> Out {
    Out::Record {
        customer: "c-42".into(),
        id: Some("e-1".into()),
        ts: Some(Timestamp(1_795_428_000_123)),
        body: OutBody::Event(
            4,
            vec![
                Value::Text("p1".into()),
                Value::Text("shoes".into()),
                Value::Money(Money { minor: 8_990, currency: Currency::EUR }),
                Value::Text("EUR".into()),
            ],
        ),
    }
}

#[test]
fn events() {
    let bytes = stored("event.json", || EVENT.into());
    let mut batch = Batch::default();
    json::Decoder::new(schema(), DecodeOptions::strict()).decode(&raw(None, Some(&bytes)), &mut batch);
    assert_eq!(out_of(&batch, &batch.records[0]), event());
    // Hashes stand in journals: what gave this one has to give it again.
    let hashes = format!("{:016x} {:016x}", batch.records[0].body_hash, input_hash(&batch));
    assert_eq!(stored("event.hashes", || hashes.clone().into()), hashes.into_bytes());

    let text = |t: &str| v1::Value { kind: Some(v1::value::Kind::Text(t.into())) };
    let entries = [("product_id", "p1"), ("category", "shoes"), ("price", "89.90"), ("currency", "EUR")];
    let message = v1::Event {
        id: "e-1".into(),
        customer: "c-42".into(),
        ts: Some(1_795_428_000_123),
        event: Some("product_viewed".into()),
        properties: entries.map(|(k, v)| (k.to_string(), text(v))).into(),
        ..v1::Event::default()
    };
    let bytes = stored("event.bin", || message.encode_to_vec());
    batch.clear();
    protobuf::Decoder::new(schema(), DecodeOptions::strict()).decode(&raw(None, Some(&bytes)), &mut batch);
    assert_eq!(out_of(&batch, &batch.records[0]), event());
    assert_eq!(v1::Event::decode(&*bytes), Ok(message));
}

#[test]
fn other_records() {
    let consent = v1::Event {
        customer: "c-42".into(),
        consent: Some(v1::Consent { purpose: "sms".into(), granted: Some(true), until: Some(5) }),
        ..v1::Event::default()
    };
    let list = v1::Event {
        customer: "c-42".into(),
        list: Some(v1::ListEntry { name: "vip".into(), member: Some(false) }),
        ..v1::Event::default()
    };
    let traits = v1::Event {
        customer: "c-42".into(),
        traits: Some(v1::Traits { values: [("i".to_string(), v1::Value { kind: Some(v1::value::Kind::Int(7)) })].into() }),
        ..v1::Event::default()
    };
    let i = schema().catalogue.trait_named("i").expect("a trait").0;
    let bodies = [
        ("consent", consent, OutBody::Consent(1, true, Some(Timestamp(5)))),
        ("list", list, OutBody::List(1, false)),
        ("traits", traits, OutBody::Traits(vec![(i, Value::Int(7))])),
    ];
    for (name, message, want) in bodies {
        let bytes = stored(&format!("{name}.bin"), || message.encode_to_vec());
        let mut batch = Batch::default();
        protobuf::Decoder::new(schema(), DecodeOptions::strict()).decode(&raw(None, Some(&bytes)), &mut batch);
        let Out::Record { body, .. } = out_of(&batch, &batch.records[0]) else { panic!("{name} is refused") };
        assert_eq!(body, want);
        assert_eq!(v1::Event::decode(&*bytes), Ok(message));
    }
}

#[test]
fn changes() {
    for (name, published) in [("entered", entered()), ("moved", moved())] {
        let change = &published.change;
        let emitted = Some(Timestamp(change.decided_at.0 + 8));
        let write = || {
            let mut out = Vec::new();
            change_json(change, emitted, &TOPICS, &mut out);
            out
        };
        let bytes = stored(&format!("change_{name}.json"), write);
        let record = ChangeRecord::parse(&bytes).expect("readable");
        assert_eq!((record.change_id.parse(), record.seq, record.since), (Ok(change.change_id), change.seq, change.since));
        assert_eq!((&*record.cause, &*record.change), (change.cause.word(), change.kind.word()));
        assert_eq!(bytes, write(), "readers rely on the form of a change");

        let write = || {
            let mut out = Vec::new();
            change_protobuf(change, emitted, &TOPICS, &mut out);
            out
        };
        let bytes = stored(&format!("change_{name}.bin"), write);
        let message = v1::Change::decode(&*bytes).expect("readable");
        assert_eq!(message, v1::Change::decode(&*write()).expect("readable"));
        assert_eq!(
            (message.change_id.clone(), message.since, message.decided_at),
            (change.change_id.0.to_vec(), change.since.0, change.decided_at.0)
        );
        assert_eq!((message.customer.as_str(), message.segment.as_str()), (&*change.customer, &*change.segment));
        assert_eq!(message.emit.len(), change.emit.len());
        assert_eq!(message.cause().as_str_name(), format!("CAUSE_{}", change.cause.word().to_uppercase()));
        assert_eq!(message.change().as_str_name(), format!("CHANGE_KIND_{}", change.kind.word().to_uppercase()));
    }
    // They stand in journals.
    let hashes = format!("{:032x} {:032x}", change_hash(&entered()), change_hash(&moved()));
    assert_eq!(stored("change.hashes", || hashes.clone().into()), hashes.into_bytes());
}

#[test]
fn memberships() {
    let membership = moved().membership.expect("a membership");
    let write = |f: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        f(&mut out);
        out
    };
    let today = write(&|out| membership_json(&membership, out));
    let bytes = stored("membership.json", || today.clone());
    let record: MembershipRecord = serde_json::from_slice(&bytes).expect("readable");
    assert_eq!((record.since, record.stage.as_deref()), (membership.since, Some("new")));
    assert_eq!(bytes, today, "sinks rely on the form of a row");

    let today = write(&|out| membership_key_json(&membership.customer, &membership.segment, out));
    let bytes = stored("membership_key.json", || today.clone());
    let key: MembershipKeyRecord = serde_json::from_slice(&bytes).expect("readable");
    assert_eq!((&*key.customer, &*key.segment), (&*membership.customer, &*membership.segment));
    assert_eq!(bytes, today, "compaction relies on equal keys having equal bytes");

    let today = write(&|out| membership_protobuf(&membership, out));
    let message = v1::Membership::decode(&*stored("membership.bin", || today.clone())).expect("readable");
    assert_eq!(message, v1::Membership::decode(&*today).expect("readable"));
    assert_eq!((message.since, message.stage.as_str(), message.emit.len()), (membership.since.0, "new", membership.emit.len()));

    let today = write(&|out| membership_key_protobuf(&membership.customer, &membership.segment, out));
    let bytes = stored("membership_key.bin", || today.clone());
    assert_eq!(bytes, today, "compaction relies on equal keys having equal bytes");
    let key = v1::MembershipKey::decode(&*bytes).expect("readable");
    assert_eq!((&*key.customer, &*key.segment), (&*membership.customer, &*membership.segment));
}

#[test]
fn journal_records() {
    let read = |input, next_offset| JournalRead { input: InputIndex(input), next_offset, leader_epoch: 3 };
    let input = |topic: &str, topic_id, last_arrival| JournalInput {
        topic: topic.into(),
        topic_id,
        next_offset: 1_000,
        leader_epoch: 3,
        last_arrival,
    };
    let batch = JournalBatch {
        number: BatchNumber(17),
        reads: vec![read(0, 1_000), read(1, 1_000)],
        arrival_cap: Some(Timestamp(1_764_000_000_500)),
        idle_until: Some(Timestamp(1_764_000_000_400)),
        clock: Timestamp(1_764_000_000_300),
        cursor: Some(HerdCursor { deadline: Timestamp(1_764_000_000_200), customer_hash: u64::MAX }),
        records: 5,
        input_hash: 0x0123_4567_89ab_cdef,
        changes: 2,
        change_hash: 0x0123_4567_89ab_cdef_0011_2233_4455_6677,
        dead_letters: 1,
        activation: None,
        scan: None,
    };
    let record = JournalRecord {
        shard: ShardId(3),
        batch: BatchNumber(17),
        batches: vec![batch],
        inputs: vec![input("clickstream", Some([7; 16]), Some(Timestamp(1_764_000_000_250))), input("purchases", None, None)],
        clock: Timestamp(1_764_000_000_300),
        definitions: SetHash([9; 16]),
        engine: "1".into(),
        settings: 77,
        transactional_id: "segmentd-0-1".into(),
        digest: Some(1 << 100),
    };
    let bytes = stored("journal.bin", || record.encode());
    assert_eq!(JournalRecord::decode(&bytes).expect("readable"), record);
}

#[test]
fn snapshot_manifests() {
    let manifest = v1::SnapshotManifest {
        format: 1,
        shard: 3,
        batch: 17,
        clock: 1_764_000_000_300,
        inputs: vec![v1::JournalInput {
            topic: "clickstream".into(),
            topic_id: vec![7; 16],
            next_offset: 1_000,
            leader_epoch: 3,
            last_arrival: Some(1_764_000_000_250),
        }],
        definitions: vec![9; 16],
        definition_set: b"{}".to_vec(),
        engine: "1".into(),
        settings: 77,
        time_zones: "2026a".into(),
        chunks: vec![v1::SnapshotChunk { index: 255, batch: 17, object: "a/b".into(), bytes: 5, checksum: vec![1; 16] }],
    };
    let bytes = stored("snapshot.bin", || manifest.encode_to_vec());
    assert_eq!(v1::SnapshotManifest::decode(&*bytes), Ok(manifest));
}
