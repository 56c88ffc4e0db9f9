//! Changes, memberships and headers as they leave.

use segmentd::engine::output::{DeadLetter, Published};
use segmentd::ids::{ChangeId, InputIndex, Position, SemanticHash};
use segmentd::limits::{EMIT_BYTES_MAX, EMIT_ITEMS_MAX, REASON_TEXT_BYTES_MAX, REASONS_MAX};
use segmentd::model::{Cause, ChangeKind, DeadLetterReason, Reason, Value};
use segmentd::time::Timestamp;
use segmentd::wire::encode::{
    ChangeHasher, ChangeRecord, MembershipKeyRecord, MembershipRecord, Payload, change_hash, change_headers, change_json,
    dead_letter_headers, membership_json, membership_key_json,
};

use super::samples::{TOPICS, entered, exited, moved};

fn json(published: &Published) -> String {
    let mut out = Vec::new();
    let emitted = Timestamp(published.change.decided_at.0 + 8);
    change_json(&published.change, Some(emitted), &TOPICS, &mut out);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn a_change_is_written_as_the_design_shows_it() {
    assert_eq!(
        json(&entered()),
        concat!(
            r#"{"change_id":"9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f","customer":"c-42","seq":17,"segment":"cart_abandoned","#,
            r#""version":"4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f","change":"entered","since":"2026-11-23T10:30:00.123Z","#,
            r#""decided_at":"2026-11-23T10:30:02.123Z","emitted_at":"2026-11-23T10:30:02.131Z","cause":"timer","#,
            r#""valid_until":"2026-11-26T10:30:00.123Z","#,
            r#""reason":[{"condition":"cart.changed_at at least 30m ago","observed":"30m","threshold":"30m"}],"#,
            r#""emit":{"value":{"amount":"89.90","currency":"EUR"},"items":2}}"#
        )
    );
    assert_eq!(
        json(&moved()),
        concat!(
            r#"{"change_id":"01010101010101010101010101010101","customer":"kund-å","seq":1,"segment":"lifecycle","#,
            r#""version":"02020202020202020202020202020202","change":"moved","from":"prospect","to":"new","#,
            r#""since":"2026-11-23T10:30:00.123Z","decided_at":"2026-11-23T10:30:02.123Z","emitted_at":"2026-11-23T10:30:02.131Z","#,
            r#""cause":"late_event","cause_event":{"id":"e-1","topic":"purchases","partition":3,"offset":42},"#,
            r#""corrects":"03030303030303030303030303030303","approx":true,"#,
            r#""emit":{"missing":null,"bool":true,"decimal":0.3,"half":0.000002,"avg":{"amount":"0.12","currency":"EUR"},"#,
            r#""yen":{"amount":"500","currency":"JPY"},"text":"a \"quoted\"\nline","at":"2026-01-02T03:04:05.006Z","#,
            r#""day":"2024-10-04","left":"1h30m","where":{"lat":59.334,"lon":-18},"score":15.123456,"tags":["x",[]]}}"#
        )
    );
    let bare = json(&exited());
    assert!(bare.contains(r#""change":"exited""#) && bare.ends_with(r#""cause":"expired"}"#), "{bare}");
}

#[test]
fn memberships_are_rows_with_keys() {
    let (mut value, mut key) = (Vec::new(), Vec::new());
    let membership = moved().membership.expect("a membership");
    membership_json(&membership, &mut value);
    membership_key_json(&membership.customer, &membership.segment, &mut key);
    assert_eq!(String::from_utf8(key.clone()).expect("UTF-8"), r#"{"customer":"kund-å","segment":"lifecycle"}"#);
    let value = String::from_utf8(value).expect("UTF-8");
    let head = r#"{"customer":"kund-å","segment":"lifecycle","stage":"new","since":"2026-11-23T10:30:00.123Z","#;
    assert!(value.starts_with(&format!("{head}\"version\":\"02020202020202020202020202020202\",\"emit\":{{")), "{value}");
    let read: MembershipRecord = serde_json::from_str(&value).expect("a row");
    let read_key: MembershipKeyRecord = serde_json::from_slice(&key).expect("a key");
    assert_eq!((read_key.customer, read_key.segment, read.stage.as_deref()), (read.customer, read.segment, Some("new")));
}

#[test]
fn what_is_published_is_read_back_whole() {
    for published in [entered(), moved(), exited()] {
        let text = json(&published);
        let record = ChangeRecord::parse(text.as_bytes()).expect("readable");
        assert_eq!(serde_json::to_string(&record).expect("JSON"), text);
        assert_eq!(record.change_id.parse(), Ok(published.change.change_id));
        assert_eq!((record.since, record.seq), (published.change.since, published.change.seq));
    }
    let mut out = Vec::new();
    change_json(&moved().change, None, &[] as &[&str], &mut out);
    let record = ChangeRecord::parse(&out).expect("readable");
    assert_eq!((record.emitted_at, record.cause_event.and_then(|e| e.topic)), (None, None));
}

#[test]
fn long_outputs_are_cut() {
    let mut published = entered();
    let long: Box<str> = "å".repeat(REASON_TEXT_BYTES_MAX).into();
    let reason = Reason { condition: (*long).into(), observed: long.clone(), threshold: (*long).into() };
    published.change.reason = vec![reason; REASONS_MAX + 5];
    let item = Value::Text("x".repeat(200).into());
    published.change.emit = vec![
        ("a".into(), Value::List(vec![item.clone(); 100])),
        ("b".into(), Value::List(vec![item; 100])),
        ("c".into(), Value::List(vec![Value::Int(1); EMIT_ITEMS_MAX + 9])),
        ("d".into(), Value::Text("y".repeat(10_000).into())),
    ];
    let text = json(&published);
    let record = ChangeRecord::parse(text.as_bytes()).expect("still JSON");
    assert_eq!(record.reason.len(), REASONS_MAX);
    assert!(record.reason[0].condition.ends_with("å...") && record.reason[0].condition.len() <= REASON_TEXT_BYTES_MAX + 3);
    assert!(record.emit["a"].is_array() && record.emit["b"].is_null());
    assert_eq!(record.emit["c"].as_array().map(Vec::len), Some(EMIT_ITEMS_MAX));
    assert!(record.emit["d"].as_str().is_some_and(|d| d.len() == 4_099));
    assert!(serde_json::to_vec(&record.emit).expect("JSON").len() <= EMIT_BYTES_MAX + 64);
}

#[test]
fn the_hash_sees_every_field_and_no_order() {
    let base = moved();
    let faults: [fn(&mut Published); 22] = [
        |p| p.change.change_id = ChangeId([9; 16]),
        |p| p.change.customer = "x".into(),
        |p| p.change.seq += 1,
        |p| p.change.segment = "x".into(),
        |p| p.change.version = SemanticHash([9; 16]),
        |p| p.change.kind = ChangeKind::Entered,
        |p| p.change.kind = ChangeKind::Moved { from: "prospectn".into(), to: "ew".into() },
        |p| p.change.since.0 += 1,
        |p| p.change.decided_at.0 += 1,
        |p| p.change.cause = Cause::Event,
        |p| p.change.cause_event = None,
        |p| p.change.cause_event.iter_mut().for_each(|e| e.id = None),
        |p| p.change.cause_event.iter_mut().for_each(|e| e.position.offset += 1),
        |p| p.change.corrects = None,
        |p| p.change.approx = false,
        |p| p.change.valid_until = Some(Timestamp(0)),
        |p| p.change.reason.push(Reason { condition: "".into(), observed: "".into(), threshold: "".into() }),
        |p| p.change.emit[1].1 = Value::Bool(false),
        |p| p.change.emit.swap(0, 1),
        |p| p.membership = None,
        |p| p.membership.iter_mut().for_each(|m| m.stage = None),
        |p| p.membership.iter_mut().for_each(|m| m.emit.clear()),
    ];
    let mut seen = vec![change_hash(&base)];
    for fault in faults {
        let mut other = base.clone();
        fault(&mut other);
        let hash = change_hash(&other);
        assert!(!seen.contains(&hash), "{other:?}");
        seen.push(hash);
    }
    let mut sums = [[entered(), moved(), exited()], [exited(), entered(), moved()]].map(|order| {
        let mut hasher = ChangeHasher::default();
        order.iter().for_each(|p| hasher.add(p));
        (hasher.take(), hasher.take())
    });
    assert_eq!(sums[0], sums[1]);
    assert_eq!(std::mem::take(&mut sums[0]).1, 0);
}

#[test]
fn headers_are_those_of_the_bindings() {
    let mut found = Vec::new();
    let mut scratch = String::new();
    change_headers(&moved().change, "/segmentd/shop", Payload::Json, &mut scratch, |name, value| {
        found.push((name, String::from_utf8(value.to_vec()).expect("UTF-8")));
    });
    let want = [
        ("ce_specversion", "1.0"),
        ("ce_id", "01010101010101010101010101010101"),
        ("ce_source", "/segmentd/shop"),
        ("ce_type", "segmentd.membership.moved"),
        ("ce_subject", "kund-å"),
        ("ce_time", "2026-11-23T10:30:00.123Z"),
        ("content-type", "application/json"),
    ];
    assert_eq!(found, want.map(|(name, value)| (name, value.to_string())));
    found.clear();
    let dead = DeadLetter {
        position: Position { input: InputIndex(0), partition: 7, offset: 1_234_567_890_123 },
        reason: DeadLetterReason::WrongType,
        detail: "`price`: expected money, found true".into(),
    };
    dead_letter_headers(&dead, "clickstream", &mut scratch, |name, value| {
        found.push((name, String::from_utf8(value.to_vec()).expect("UTF-8")));
    });
    let want = [
        ("__streams.errors.exception", "wrong_type"),
        ("__streams.errors.message", "`price`: expected money, found true"),
        ("__streams.errors.topic", "clickstream"),
        ("__streams.errors.partition", "7"),
        ("__streams.errors.offset", "1234567890123"),
    ];
    assert_eq!(found, want.map(|(name, value)| (name, value.to_string())));
}
