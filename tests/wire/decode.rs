//! The JSON decoder, case by case.

use segmentd::engine::batch::{Batch, Body, Datum};
use segmentd::ids::{InputIndex, Position, ShardId};
use segmentd::model::{Currency, DeadLetterReason};
use segmentd::time::Timestamp;
use segmentd::wire::{DecodeOptions, Partitioner, Placement, RawRecord, WrongType, json};

use super::schema::schema;

pub fn raw<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> RawRecord<'a> {
    let position = Position { input: InputIndex(1), partition: 2, offset: 3 };
    RawRecord { position, arrival: Timestamp(1_000), key, value }
}

fn decode(options: DecodeOptions, value: &str) -> Batch {
    let mut batch = Batch::default();
    json::Decoder::new(schema(), options).decode(&raw(None, Some(value.as_bytes())), &mut batch);
    assert_eq!(batch.records.len(), 1);
    batch
}

fn refused(batch: &Batch) -> Option<(DeadLetterReason, &str)> {
    match batch.records[0].body {
        Body::Rejected { reason, detail } => Some((reason, batch.text(detail))),
        _ => None,
    }
}

fn slots(batch: &Batch) -> &[Datum] {
    match batch.records[0].body {
        Body::Event { slots, .. } => batch.data(slots),
        other => panic!("no event: {other:?}, {:?}", refused(batch)),
    }
}

#[test]
fn the_native_example_is_read() {
    let batch = decode(
        DecodeOptions::strict(),
        r#"{"id":"e-1","customer":"c-42","event":"product_viewed","ts":"2026-11-23T10:00:00.123Z",
            "properties":{"product_id":"p1","category":"sho\u0065s","price":"89.90","currency":"EUR"}}"#,
    );
    let record = batch.records[0];
    assert_eq!(batch.text(record.customer), "c-42");
    assert_eq!(record.id.map(|id| batch.text(id)), Some("e-1"));
    assert_eq!(record.ts.map(|t| t.to_string()).as_deref(), Some("2026-11-23T10:00:00.123Z"));
    match slots(&batch) {
        [Datum::Text(product), Datum::Text(category), price, Datum::Text(currency)] => {
            assert_eq!((batch.text(*product), batch.text(*category), batch.text(*currency)), ("p1", "shoes", "EUR"));
            assert_eq!(*price, Datum::Money { minor: 8_990, currency: Currency::EUR });
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn members_stand_in_any_order_and_the_last_of_two_counts() {
    for text in [
        r#"{"properties":{"currency":"EUR","price":1,"product_id":"p","category":null},"event":"product_viewed","customer":7}"#,
        r#"{"event":"bare","properties":{"price":"no"},"properties":{"price":"x","product_id":"p","price":1,"currency":"EUR"},"event":"product_viewed","customer":7}"#,
        r#"{"event":"product_viewed","properties":5,"properties":{"currency":5,"currency":"EUR","price":1,"product_id":"p"},"customer":"7"}"#,
    ] {
        let batch = decode(DecodeOptions::strict(), text);
        assert_eq!(batch.text(batch.records[0].customer), "7");
        assert_eq!(slots(&batch)[1..3], [Datum::Missing, Datum::Money { minor: 100, currency: Currency::EUR }]);
    }
}

#[test]
fn the_first_fault_wins() {
    use DeadLetterReason::{MissingCustomer, TooLarge, UnknownEvent, Unreadable, WrongPartition, WrongType as Wrong};
    let partition = Partitioner::Murmur2.partition(b"c", 4);
    let placement = Placement { partitioner: Partitioner::Murmur2, partitions: 4, shard: ShardId(partition) };
    let long = format!(r#"{{"customer":"{}","event":"bare"}}"#, "x".repeat(1_025));
    let huge = format!(r#"{{"customer":"c","event":"bare"}}{}"#, " ".repeat(1 << 20));
    let cases: &[(Option<&str>, &str, DeadLetterReason, &str)] = &[
        (None, r#"{"event":"no_such","properties":{}"#, Unreadable, "at byte 34"),
        (None, r#"{"event":"no_such","properties":{}}"#, MissingCustomer, "customer"),
        (None, r#"{"event":"no_such","customer":""}"#, MissingCustomer, "customer"),
        (None, r#"{"event":"no_such","customer":"c"}"#, WrongPartition, "no key"),
        (Some("d"), r#"{"event":"no_such","customer":"c"}"#, WrongPartition, "not its customer"),
        (Some("c"), r#"{"event":"no_such","customer":"c"}"#, UnknownEvent, "no_such"),
        (Some("c"), r#"{"event":"all","customer":"c","properties":{"i":1.5}}"#, Wrong, "`i`: expected int, found 1.5"),
        (Some("c"), r#"{"event":"all","customer":"c","properties":{"i":1.5}} x"#, Unreadable, "after the value"),
        (Some("c"), r#"{"event":"all","customer":"c","properties":{"tags":"a"}}"#, Wrong, "`tags`: expected list, found \"a\""),
        (
            Some("c"),
            r#"{"event":"all","customer":"c","properties":{"lines":[{"quantity":1},{"quantity":true}]}}"#,
            Wrong,
            "`lines.quantity`: expected int, found true",
        ),
        (Some("c"), r#"{"event":"all","customer":"c","properties":{"price":1,"currency":"eur"}}"#, Wrong, "`price`: expected a currency"),
        (Some("c"), r#"{"event":"all","traits":{},"customer":"c"}"#, Unreadable, "more than one"),
        (Some("c"), r#"{"customer":"c","event":null}"#, Unreadable, "none of"),
        (Some("c"), r#"{"customer":true,"event":"all"}"#, Unreadable, "customer"),
        (Some("c"), r#"{"customer":"c","event":"all","ts":1}"#, Unreadable, "ts"),
        (Some("c"), r#"{"customer":"c","event":"all","ts":"2026-11-23"}"#, Unreadable, "ts"),
        (Some("c"), r#"{"customer":"c","event":1}"#, Unreadable, "event"),
        (Some("c"), r#"{"customer":"c","event":"all","properties":[]}"#, Unreadable, "properties"),
        (Some("c"), r#"{"customer":"c","traits":[]}"#, Unreadable, "traits"),
        (Some("c"), r#"{"customer":"c","consent":{"purpose":"sms"}}"#, Unreadable, "granted"),
        (Some("c"), r#"{"customer":"c","consent":{"granted":true}}"#, Unreadable, "purpose"),
        (Some("c"), r#"{"customer":"c","list":{"name":"vip"}}"#, Unreadable, "member"),
        (Some("c"), r#"{"customer":"c","merge":{"from":"a"}}"#, Unreadable, "merge is not evaluated by this version"),
        (Some("c"), r#"{"customer":"c","erase":true}"#, Unreadable, "erase is not evaluated by this version"),
        (Some("c"), "[]", Unreadable, "no JSON object"),
        (Some("c"), "", Unreadable, "no JSON object"),
        (Some("c"), &long, TooLarge, "customer"),
        (Some("c"), &huge, TooLarge, "bytes"),
    ];
    for (key, value, reason, detail) in cases {
        let options = DecodeOptions { placement: Some(placement), ..DecodeOptions::strict() };
        let mut batch = Batch::default();
        json::Decoder::new(schema(), options).decode(&raw(key.map(str::as_bytes), Some(value.as_bytes())), &mut batch);
        let found = refused(&batch).unwrap_or_else(|| panic!("accepted: {value}"));
        assert!(found.0 == *reason && found.1.contains(detail), "{found:?} for {value}");
        assert_eq!((batch.text.len(), batch.data.len()), (found.1.len(), 0), "a refused record leaves its detail alone");
    }
    let elsewhere = Placement { shard: ShardId((partition + 1) % 4), ..placement };
    let mut batch = Batch::default();
    json::Decoder::new(schema(), DecodeOptions { placement: Some(elsewhere), ..DecodeOptions::strict() })
        .decode(&raw(Some(b"c"), Some(br#"{"customer":"c","event":"bare"}"#)), &mut batch);
    assert_eq!(refused(&batch).map(|(r, _)| r), Some(WrongPartition));
    json::Decoder::new(schema(), DecodeOptions::strict()).decode(&raw(None, None), &mut batch);
    json::Decoder::new(schema(), DecodeOptions::strict()).decode(&raw(None, Some(b"{\"customer\":\"\xff\"}")), &mut batch);
    for record in &batch.records[1..] {
        assert!(matches!(record.body, Body::Rejected { reason: Unreadable, .. }));
    }
}

#[test]
fn policies_decide_about_unknown_names_and_wrong_types() {
    let unknown = decode(DecodeOptions::lenient(), r#"{"customer":"c","event":"no_such"}"#);
    assert_eq!(unknown.records[0].body, Body::Ignored);
    let options = DecodeOptions { wrong_type: WrongType::Unknown, ..DecodeOptions::strict() };
    let mut decoder = json::Decoder::new(schema(), options);
    let mut batch = Batch::default();
    for value in [
        r#"{"customer":"c","event":"all","properties":{"i":"x","b":1,"t":"kept","rec":{"quantity":"x"},"rec":{"quantity":2}}}"#,
        r#"{"customer":"c","traits":{"i":"x","t":"kept","no_such":1,"nor_this":{}}}"#,
        r#"{"customer":"c","traits":{"no_such":1}}"#,
        r#"{"customer":"c","consent":{"purpose":"no_such","granted":"true"}}"#,
        r#"{"customer":"c","list":{"name":"no_such","member":false}}"#,
    ] {
        decoder.decode(&raw(None, Some(value.as_bytes())), &mut batch);
    }
    assert_eq!(slots(&batch)[0..2], [Datum::Missing, Datum::Missing]);
    assert!(matches!(slots(&batch)[3], Datum::Text(t) if batch.text(t) == "kept"));
    assert!(matches!(batch.records[1].body, Body::Traits(range) if range.len == 2));
    assert!(batch.records[2..].iter().all(|r| r.body == Body::Nothing));
    let counts = decoder.take_counts();
    assert_eq!((counts.wrong_types, counts.unknown_traits, counts.unknown_purposes, counts.unknown_lists), (3, 3, 1, 1));
    assert_eq!(decoder.take_counts(), Default::default());
}

#[test]
fn values_that_would_swell_the_state_are_refused() {
    use DeadLetterReason::TooLarge;
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
    let tags = |n: usize| format!("[{}]", vec!["\"12345678\""; n].join(","));
    let with = |body: &str| format!(r#"{{"customer":"c",{body}}}"#);
    let property = |name: &str, value: &str| with(&format!(r#""event":"all","properties":{{"i":"wrong","{name}":{value}}}"#));
    let unknown = DecodeOptions { wrong_type: WrongType::Unknown, ..DecodeOptions::strict() };
    for (value, want) in [
        (property("t", &text(16 << 10)), None),
        (property("t", &text((16 << 10) + 1)), Some("`t`: text of 16385 bytes")),
        // Nobody keeps what nobody uses.
        (property("unused", &text(500_000)), None),
        (property("tags", &tags(11_000)), None),
        (property("tags", &tags(13_000)), Some("`tags`: a value of 143001 bytes")),
        (property("rec", &format!(r#"{{"product_id":{}}}"#, text(17_000))), Some("`rec.product_id`: text")),
        (with(&format!(r#""traits":{{"t":{}}}"#, text(17_000))), Some("`t`: text")),
        (with(&format!(r#""traits":{{"t":{},"t":"a"}}"#, text(17_000))), None),
    ] {
        let batch = decode(unknown.clone(), &value);
        match (refused(&batch), want) {
            (None, None) => {}
            (Some((TooLarge, detail)), Some(want)) => assert!(detail.starts_with(want), "{detail}"),
            (found, want) => panic!("{found:?} instead of {want:?}"),
        }
    }
}
