//! What the wire costs: decoding an event, encoding a change. `cargo bench --bench wire`; figures are per record, of the best of several
//! rounds, on the machine at hand.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use prost::Message;

use segmentd::engine::batch::{Batch, Body};
use segmentd::engine::output::Published;
use segmentd::ids::{ChangeId, InputIndex, Position, PropertyIndex, SemanticHash};
use segmentd::model::{
    Catalogue, Cause, Change, ChangeKind, Currency, EventType, Membership, Money, MoneyCurrency, Property, Reason, Type, Value,
};
use segmentd::plan::schema::Schema;
use segmentd::time::Timestamp;
use segmentd::wire::encode::{change_hash, change_json, membership_json};
use segmentd::wire::proto::v1;
use segmentd::wire::{DecodeOptions, Partitioner, RawRecord, json, protobuf};

const RECORDS: usize = 10_000;

fn main() {
    // Only what the first free argument names, as with `cargo test`.
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    if "decode".contains(&wanted) {
        decode();
    }
    if "encode".contains(&wanted) {
        encode();
    }
}

fn decode() {
    let schema = schema();
    let events: Vec<Vec<u8>> = (0..RECORDS).map(event).collect();
    let bytes = events.iter().map(Vec::len).sum::<usize>() / RECORDS;
    let mut decoder = json::Decoder::new(schema.clone(), DecodeOptions::strict());
    let mut batch = Batch::default();
    for shape in ["event first", "event last"] {
        let events: Vec<Vec<u8>> = match shape {
            "event first" => events.clone(),
            _ => events.iter().map(|e| event_last(e)).collect(),
        };
        let cost = best(|| {
            batch.clear();
            for (i, value) in events.iter().enumerate() {
                let position = Position { input: InputIndex(0), partition: 0, offset: i as i64 };
                decoder.decode(&RawRecord { position, arrival: Timestamp(1), key: None, value: Some(value) }, &mut batch);
            }
            assert!(matches!(black_box(&batch).records[0].body, Body::Event { .. }));
        });
        println!("decode JSON, {bytes} bytes, {shape}: {cost:.0} ns");
    }
    let messages: Vec<Vec<u8>> = events.iter().map(|e| message(e)).collect();
    let bytes = messages.iter().map(Vec::len).sum::<usize>() / RECORDS;
    let mut decoder = protobuf::Decoder::new(schema, DecodeOptions::strict());
    let cost = best(|| {
        batch.clear();
        for (i, value) in messages.iter().enumerate() {
            let position = Position { input: InputIndex(0), partition: 0, offset: i as i64 };
            decoder.decode(&RawRecord { position, arrival: Timestamp(1), key: None, value: Some(value) }, &mut batch);
        }
        assert!(matches!(black_box(&batch).records[0].body, Body::Event { .. }));
    });
    println!("decode protobuf, {bytes} bytes: {cost:.0} ns");
    let keys: Vec<String> = (0..RECORDS).map(|i| format!("c-{i}")).collect();
    let cost = best(|| {
        black_box(keys.iter().fold(0, |sum, key| sum ^ Partitioner::Murmur2.partition(key.as_bytes(), 64)));
    });
    println!("murmur2 of a key: {cost:.1} ns");
}

fn encode() {
    let (published, mut out) = (published(), Vec::new());
    let membership = published.membership.clone().expect("a membership");
    let cost = best(|| {
        out.clear();
        for _ in 0..RECORDS {
            change_json(&published.change, Some(Timestamp(1_764_000_000_123)), &["clickstream"], &mut out);
            membership_json(&membership, &mut out);
        }
        black_box(&out);
    });
    println!("encode a change and its membership as JSON: {cost:.0} ns");
    let cost = best(|| {
        black_box((0..RECORDS).fold(0u128, |sum, _| sum.wrapping_add(change_hash(black_box(&published)))));
    });
    println!("hash a change: {cost:.0} ns");
}

/// Nanoseconds per record of the best round.
fn best(mut round: impl FnMut()) -> f64 {
    // Few are enough for a profiler that counts instructions.
    let rounds = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    (0..rounds)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed().as_nanos() as f64 / RECORDS as f64
        })
        .fold(f64::INFINITY, f64::min)
}

/// An event of 226 bytes, give or take its number.
fn event(i: usize) -> Vec<u8> {
    format!(
        r#"{{"id":"e-{i:08}","customer":"c-{:06}","event":"product_viewed","ts":"2026-11-23T10:{:02}:{:02}.{:03}Z","properties":{{"product_id":"p-{:05}","category":"{}","price":"{}.{:02}","currency":"EUR","channel":"web","campaign":"autumn"}}}}"#,
        i * 7_919 % 1_000_000,
        i / 60 % 60,
        i % 60,
        i % 1_000,
        i % 77_777,
        ["shoes", "shirts", "sneakers", "garden"][i % 4],
        i % 300,
        i % 100,
    )
    .into_bytes()
}

/// The same with `event` behind `properties`.
fn event_last(event: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(event).expect("UTF-8");
    let moved = text.replacen(r#""event":"product_viewed","#, "", 1);
    let (head, _) = moved.rsplit_once('}').expect("an object");
    format!(r#"{head},"event":"product_viewed"}}"#).into_bytes()
}

/// The same as protobuf.
fn message(event: &[u8]) -> Vec<u8> {
    let event: serde_json::Value = serde_json::from_slice(event).expect("JSON");
    let text = |name: &str| event[name].as_str().expect("a text").to_string();
    let properties = event["properties"].as_object().expect("an object").iter();
    let value = |v: &serde_json::Value| v1::Value { kind: v.as_str().map(|t| v1::value::Kind::Text(t.into())) };
    v1::Event {
        id: text("id"),
        customer: text("customer"),
        ts: Timestamp::parse_rfc3339(&text("ts")).map(|t| t.0),
        event: Some(text("event")),
        properties: properties.map(|(name, v)| (name.clone(), value(v))).collect(),
        ..v1::Event::default()
    }
    .encode_to_vec()
}

fn schema() -> Arc<Schema> {
    let property = |name: &str, ty| Property { name: name.into(), ty, pointer: None };
    let event = |name: &str, properties| EventType {
        name: name.into(),
        is_activity: true,
        properties,
        retention: None,
        lateness: None,
        dedup: None,
    };
    let viewed = vec![
        property("product_id", Type::Text),
        property("category", Type::Text),
        property("price", Type::Money(MoneyCurrency::Property(PropertyIndex(3)))),
        property("currency", Type::Text),
        property("channel", Type::Text),
    ];
    let names = ["add_to_cart", "checkout_started", "login", "order_completed", "order_refunded", "page_viewed"];
    let mut events: Vec<EventType> = names.iter().map(|name| event(name, vec![])).collect();
    events.push(event("product_viewed", viewed));
    // Category and price are used, product and currency only by way of the price, the channel not at all.
    Arc::new(Schema::new(Catalogue { events, ..Catalogue::default() }, |_, p| matches!(p.0, 1 | 2)))
}

fn published() -> Published {
    let emit: Vec<(Arc<str>, Value)> =
        vec![("value".into(), Value::Money(Money { minor: 8_990, currency: Currency::EUR })), ("items".into(), Value::Int(2))];
    let change = Change {
        change_id: ChangeId([0x9f; 16]),
        customer: "c-000042".into(),
        seq: 17,
        segment: "cart_abandoned".into(),
        version: SemanticHash([0x4f; 16]),
        kind: ChangeKind::Entered,
        since: Timestamp(1_764_000_000_123),
        decided_at: Timestamp(1_764_000_002_123),
        cause: Cause::Timer,
        cause_event: None,
        corrects: None,
        approx: false,
        valid_until: Some(Timestamp(1_764_086_400_123)),
        reason: vec![Reason { condition: "cart.changed_at at least 30m ago".into(), observed: "30m".into(), threshold: "30m".into() }],
        emit: emit.clone(),
    };
    let membership = Membership {
        customer: change.customer.clone(),
        segment: change.segment.clone(),
        stage: None,
        since: change.since,
        version: change.version,
        emit,
    };
    Published { change, membership: Some(membership) }
}
