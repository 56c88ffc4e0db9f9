//! The protobuf decoder: the same records as from JSON, and nothing that breaks it.

use std::collections::HashMap;

use fastrand::Rng;
use prost::Message;

use segmentd::engine::batch::Batch;
use segmentd::model::{DeadLetterReason, Value as Model};
use segmentd::time::{Millis, Timestamp};
use segmentd::wire::proto::v1;
use segmentd::wire::{DecodeOptions, UnknownEvents, WrongType, json, protobuf};
use v1::value::Kind;

use super::decode::raw;
use super::reference::{Out, OutBody, out_of};
use super::schema::{every_type, schema};

fn value(kind: Kind) -> v1::Value {
    v1::Value { kind: Some(kind) }
}

fn text(t: &str) -> v1::Value {
    value(Kind::Text(t.into()))
}

fn map(entries: &[(&str, v1::Value)]) -> HashMap<String, v1::Value> {
    entries.iter().map(|(k, v)| ((*k).to_string(), v.clone())).collect()
}

fn record(entries: &[(&str, v1::Value)]) -> v1::Value {
    value(Kind::Record(v1::Record { fields: map(entries) }))
}

fn list(items: Vec<v1::Value>) -> v1::Value {
    value(Kind::List(v1::List { items }))
}

/// The same as JSON text (a `geo` outside a property of that type would differ: JSON has only objects); maps in the order in which prost writes them.
fn show(v: &v1::Value) -> String {
    match &v.kind {
        None => "null".into(),
        Some(Kind::Bool(b)) => b.to_string(),
        Some(Kind::Int(n)) => n.to_string(),
        Some(Kind::Number(n)) => n.to_string(),
        Some(Kind::Text(t)) => quoted(t),
        Some(Kind::Geo(g)) => format!("{{\"lat\":{},\"lon\":{}}}", g.lat, g.lon),
        Some(Kind::List(l)) => format!("[{}]", l.items.iter().map(show).collect::<Vec<_>>().join(",")),
        Some(Kind::Record(r)) => show_map(&r.fields),
        Some(Kind::Instant(_) | Kind::Duration(_)) => panic!("has no one form in JSON"),
    }
}

fn show_map(entries: &HashMap<String, v1::Value>) -> String {
    format!("{{{}}}", entries.iter().map(|(k, v)| format!("{}:{}", quoted(k), show(v))).collect::<Vec<_>>().join(","))
}

fn quoted(t: &str) -> String {
    serde_json::to_string(t).expect("JSON")
}

fn show_event(e: &v1::Event) -> String {
    let mut members = vec![format!("\"id\":{}", quoted(&e.id)), format!("\"customer\":{}", quoted(&e.customer))];
    members.extend(e.ts.map(|ts| format!("\"ts\":\"{}\"", Timestamp(ts))));
    members.extend(e.event.as_ref().map(|name| format!("\"event\":{}", quoted(name))));
    members.push(format!("\"properties\":{}", show_map(&e.properties)));
    members.extend(e.traits.as_ref().map(|t| format!("\"traits\":{}", show_map(&t.values))));
    members.extend(e.consent.as_ref().map(|c| {
        let until = c.until.map_or("null".into(), |t| format!("\"{}\"", Timestamp(t)));
        let granted = c.granted.map_or("null".into(), |g| g.to_string());
        // An empty string field is absent.
        let purpose = if c.purpose.is_empty() { "null".into() } else { quoted(&c.purpose) };
        format!("\"consent\":{{\"purpose\":{purpose},\"granted\":{granted},\"until\":{until}}}")
    }));
    members.extend(e.list.as_ref().map(|l| {
        let member = l.member.map_or("null".into(), |m| m.to_string());
        let name = if l.name.is_empty() { "null".into() } else { quoted(&l.name) };
        format!("\"list\":{{\"name\":{name},\"member\":{member}}}")
    }));
    members.extend(e.merge.as_ref().map(|m| format!("\"merge\":{{\"from\":{}}}", quoted(&m.from))));
    members.extend(e.erase.map(|erase| format!("\"erase\":{erase}")));
    format!("{{{}}}", members.join(","))
}

fn any_value(rng: &mut Rng, depth: u32) -> v1::Value {
    let texts = [
        "",
        "a",
        "b\"c",
        "10",
        "89.90",
        "12.345",
        "true",
        "EUR",
        "eur",
        "JPY",
        "2024-02-29",
        "2026-11-23T10:00:00.5+01:00",
        "1h30m",
        "59.3, 18",
        "1764000000",
        "\u{e9}\n",
    ];
    let numbers = [0.0, 1.0, 1.5, -7.25, 12.34, 1e300, 1e-9, 1_764_000_000.0, 1_764_000_000.123, 9.3e18];
    match rng.u8(..if depth > 2 { 5 } else { 8 }) {
        0 => v1::Value { kind: None },
        1 => value(Kind::Bool(rng.bool())),
        2 => value(Kind::Int(*rng.choice(&[0, 1, -5, 1_764_000_000, 1_764_000_000_123, i64::MAX, i64::MIN]).expect("not empty"))),
        3 => value(Kind::Number(*rng.choice(&numbers).expect("not empty"))),
        4 => text(rng.choice(&texts).expect("not empty")),
        5 => list((0..rng.usize(..4)).map(|_| any_value(rng, depth + 1)).collect()),
        6 => {
            let names = ["product_id", "quantity", "price", "meta", "t", "y", "other"];
            let fields: Vec<_> =
                (0..rng.usize(..4)).map(|_| (*rng.choice(&names).expect("not empty"), any_value(rng, depth + 1))).collect();
            record(&fields)
        }
        _ => record(&[
            ("quantity", value(Kind::Int(2))),
            ("price", text("1.5")),
            ("meta", record(&[("currency", text("SEK"))])),
            ("y", list(vec![record(&[("z", value(Kind::Int(3)))])])),
        ]),
    }
}

/// A value that fits the property, mostly.
fn likely(rng: &mut Rng, name: &str) -> v1::Value {
    if rng.u8(..30) == 0 {
        return any_value(rng, 0);
    }
    match name {
        "b" => value(Kind::Bool(rng.bool())),
        "i" | "rec_x" | "ms" => value(Kind::Int(rng.i64(0..2_000_000_000_000))),
        "s" => value(Kind::Number(1_764_000_000.5)),
        "d" | "eur" | "yen" | "price" => value(Kind::Number(rng.i64(-100_000..100_000) as f64 / 1_000.0)),
        "currency" => text(rng.choice(&["EUR", "JPY"]).expect("not empty")),
        "at" => text("2026-11-23T10:00:00.5+01:00"),
        "day" => text("2024-02-29"),
        "dur" => text("1h30m"),
        "geo" => value(Kind::Geo(v1::Geo { lat: 59.3, lon: 18.0 })),
        "kind" => text("a"),
        "tags" => list(vec![text("x"), v1::Value { kind: None }, value(Kind::Int(5))]),
        "lines" => list(vec![record(&[("quantity", value(Kind::Int(2))), ("price", text("1"))])]),
        "rec" => record(&[("quantity", value(Kind::Number(2.0))), ("meta", record(&[("currency", text("SEK"))])), ("price", text("3.5"))]),
        "lists" => list(vec![list(vec![value(Kind::Int(1))])]),
        "x" => record(&[("t", value(Kind::Int(1))), ("y", list(vec![record(&[("z", value(Kind::Int(3)))])]))]),
        _ => text("a text"),
    }
}

fn any_event(rng: &mut Rng) -> v1::Event {
    let mut names: Vec<String> = every_type().into_iter().map(|p| p.name).collect();
    names.extend(["x", "unused", "product_id", "total", "no_such"].map(String::from));
    let mut entries = |rng: &mut Rng| -> HashMap<String, v1::Value> {
        rng.shuffle(&mut names);
        names[..rng.usize(..names.len())].iter().map(|n| (n.clone(), likely(rng, n))).collect()
    };
    let mut e = v1::Event {
        id: (*rng.choice(&["", "e-1", "e-2"]).expect("not empty")).into(),
        customer: (*rng.choice(&["c", "d", "kund-\u{e5}", "f", "g", ""]).expect("not empty")).into(),
        ts: *rng.choice(&[None, Some(1_764_000_000_123), Some(-1)]).expect("not empty"),
        ..v1::Event::default()
    };
    for _ in 0..*rng.choice(&[1, 1, 1, 1, 1, 1, 1, 0, 2]).expect("not empty") {
        match rng.u8(..12) {
            0..6 => {
                e.event = Some((*rng.choice(&["all", "all", "all", "product_viewed", "many", "no_such", ""]).expect("not empty")).into());
                e.properties = entries(rng);
            }
            6..9 => e.traits = Some(v1::Traits { values: entries(rng) }),
            9 => {
                e.consent = Some(v1::Consent {
                    purpose: (*rng.choice(&["sms", "no_such", ""]).expect("not empty")).into(),
                    granted: *rng.choice(&[None, Some(true), Some(false)]).expect("not empty"),
                    until: *rng.choice(&[None, Some(5)]).expect("not empty"),
                });
            }
            10 => {
                e.list = Some(v1::ListEntry {
                    name: (*rng.choice(&["vip", "no_such", ""]).expect("not empty")).into(),
                    member: *rng.choice(&[None, Some(true), Some(false)]).expect("not empty"),
                });
            }
            _ => e.merge = Some(v1::Merge { from: "a".into() }),
        }
    }
    if rng.u8(..30) == 0 {
        e.erase = Some(true);
    }
    e
}

#[test]
fn protobuf_and_json_give_the_same_records() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(12);
    let rounds = std::env::var("ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(6_000);
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let schema = schema();
    let options = [(UnknownEvents::Ignore, WrongType::Unknown), (UnknownEvents::DeadLetter, WrongType::DeadLetter)]
        .map(|(unknown_events, wrong_type)| DecodeOptions { unknown_events, wrong_type, placement: None });
    let mut pairs = options.map(|o| (protobuf::Decoder::new(schema.clone(), o.clone()), json::Decoder::new(schema.clone(), o)));
    let (mut accepted, mut records) = (0, 0);
    for round in 0..rounds {
        let event = any_event(&mut rng);
        let (bytes, text) = (event.encode_to_vec(), show_event(&event));
        for (fast, like) in &mut pairs {
            let mut batch = Batch::default();
            fast.decode(&raw(None, Some(&bytes)), &mut batch);
            like.decode(&raw(None, Some(text.as_bytes())), &mut batch);
            let [found, want] = [0, 1].map(|i| out_of(&batch, &batch.records[i]));
            assert_eq!(found, want, "round {round}: {text}");
            assert_eq!(fast.take_counts(), like.take_counts(), "round {round}: {text}");
            records += 1;
            accepted += u32::from(matches!(found, Out::Record { .. }));
        }
    }
    assert!(accepted * 5 > records && accepted * 5 < records * 4, "{accepted} of {records}");
}

#[test]
fn broken_bytes_are_one_dead_letter_at_most() {
    let mut rng = Rng::with_seed(13);
    let mut decoder = protobuf::Decoder::new(schema(), DecodeOptions::strict());
    let mut batch = Batch::default();
    let mut unreadable = 0;
    for _ in 0..6_000 {
        let mut bytes = any_event(&mut rng).encode_to_vec();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..=bytes.len().saturating_sub(1));
            match rng.u8(..4) {
                _ if bytes.is_empty() => bytes.push(rng.u8(..)),
                0 => bytes[at] = rng.u8(..),
                1 => bytes[at] ^= 1 << rng.u8(..8),
                2 => bytes.truncate(at),
                _ => bytes.insert(at, rng.u8(..)),
            }
        }
        batch.clear();
        decoder.decode(&raw(None, Some(&bytes)), &mut batch);
        assert_eq!(batch.records.len(), 1);
        // Everything that the record points at is there and is text.
        let out = out_of(&batch, &batch.records[0]);
        assert!(std::str::from_utf8(&batch.text).is_ok());
        unreadable += u32::from(out == Out::Rejected(DeadLetterReason::Unreadable, None));
    }
    assert!(unreadable > 1_000, "{unreadable}");
}

#[test]
fn typed_instants_and_durations_are_in_milliseconds() {
    let mut decoder = protobuf::Decoder::new(schema(), DecodeOptions::strict());
    let mut batch = Batch::default();
    let properties = map(&[
        ("at", value(Kind::Instant(1_764_000_000_123))),
        ("s", value(Kind::Instant(1_764_000_000_123))),
        ("ms", value(Kind::Instant(1_764_000_000_123))),
        ("dur", value(Kind::Duration(5))),
    ]);
    let event = v1::Event { customer: "c".into(), event: Some("all".into()), properties, ..v1::Event::default() };
    decoder.decode(&raw(None, Some(&event.encode_to_vec())), &mut batch);
    let Out::Record { body: OutBody::Event(_, slots), .. } = out_of(&batch, &batch.records[0]) else { panic!("refused") };
    let at = Model::Instant(Timestamp(1_764_000_000_123));
    assert_eq!(slots[4..7], [at.clone(), at.clone(), at]);
    assert_eq!(slots[8], Model::Duration(Millis(5)));
    for (name, kind) in [("i", Kind::Instant(1)), ("dur", Kind::Int(5)), ("at", Kind::Instant(i64::MAX)), ("d", Kind::Number(f64::NAN))] {
        let properties = map(&[(name, value(kind))]);
        let event = v1::Event { customer: "c".into(), event: Some("all".into()), properties, ..v1::Event::default() };
        batch.clear();
        decoder.decode(&raw(None, Some(&event.encode_to_vec())), &mut batch);
        assert_eq!(out_of(&batch, &batch.records[0]), Out::Rejected(DeadLetterReason::WrongType, Some(name.into())));
    }
}
