//! Outputs to encode.

use std::sync::Arc;

use segmentd::engine::output::Published;
use segmentd::ids::{ChangeId, InputIndex, Position, SemanticHash};
use segmentd::model::{Cause, CauseEvent, Change, ChangeKind, Currency, Decimal, Membership, Money, Reason, Value};
use segmentd::time::{Millis, Timestamp};

pub const TOPICS: [&str; 2] = ["clickstream", "purchases"];

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("an instant")
}

/// The example of the design: a cart left alone.
pub fn entered() -> Published {
    let value = Value::Money(Money { minor: 8_990, currency: Currency::EUR });
    let emit: Vec<(Arc<str>, Value)> = vec![("value".into(), value), ("items".into(), Value::Int(2))];
    let change = Change {
        change_id: ChangeId([0x9f; 16]),
        customer: "c-42".into(),
        seq: 17,
        segment: "cart_abandoned".into(),
        version: SemanticHash([0x4f; 16]),
        kind: ChangeKind::Entered,
        since: at("2026-11-23T10:30:00.123Z"),
        decided_at: at("2026-11-23T10:30:02.123Z"),
        cause: Cause::Timer,
        cause_event: None,
        corrects: None,
        approx: false,
        valid_until: Some(at("2026-11-26T10:30:00.123Z")),
        reason: vec![Reason { condition: "cart.changed_at at least 30m ago".into(), observed: "30m".into(), threshold: "30m".into() }],
        emit: emit.clone(),
    };
    let membership = Membership {
        customer: "c-42".into(),
        segment: "cart_abandoned".into(),
        stage: None,
        since: change.since,
        version: change.version,
        emit,
    };
    Published { change, membership: Some(membership) }
}

/// A move with everything that a change can hold.
pub fn moved() -> Published {
    let yen = Currency::parse("JPY").expect("a code");
    let text = |t: &str| Value::Text(t.into());
    let emit: Vec<(Arc<str>, Value)> = vec![
        ("missing".into(), Value::Missing),
        ("bool".into(), Value::Bool(true)),
        ("decimal".into(), Value::Decimal(Decimal(300_000))),
        ("half".into(), Value::Ratio { num: 25, den: 10_000_000, currency: None }),
        ("avg".into(), Value::Ratio { num: 200, den: 16, currency: Some(Currency::EUR) }),
        ("yen".into(), Value::Money(Money { minor: 500, currency: yen })),
        ("text".into(), text("a \"quoted\"\nline")),
        ("at".into(), Value::Instant(at("2026-01-02T03:04:05.006Z"))),
        ("day".into(), Value::Date(20_000)),
        ("left".into(), Value::Duration(Millis(5_400_000))),
        ("where".into(), Value::Geo { lat: 59.334, lon: -18.0 }),
        ("score".into(), Value::Score(15.123_456_5)),
        ("tags".into(), Value::List(vec![text("x"), Value::List(vec![])])),
    ];
    let change = Change {
        change_id: ChangeId([1; 16]),
        customer: "kund-\u{e5}".into(),
        seq: 1,
        segment: "lifecycle".into(),
        version: SemanticHash([2; 16]),
        kind: ChangeKind::Moved { from: "prospect".into(), to: "new".into() },
        since: at("2026-11-23T10:30:00.123Z"),
        decided_at: at("2026-11-23T10:30:02.123Z"),
        cause: Cause::LateEvent,
        cause_event: Some(CauseEvent { id: Some("e-1".into()), position: Position { input: InputIndex(1), partition: 3, offset: 42 } }),
        corrects: Some(ChangeId([3; 16])),
        approx: true,
        valid_until: None,
        reason: vec![],
        emit: emit.clone(),
    };
    let membership = Membership {
        customer: change.customer.clone(),
        segment: "lifecycle".into(),
        stage: Some("new".into()),
        since: change.since,
        version: change.version,
        emit,
    };
    Published { change, membership: Some(membership) }
}

pub fn exited() -> Published {
    let Published { change, .. } = entered();
    let change = Change { kind: ChangeKind::Exited, cause: Cause::Expired, emit: vec![], reason: vec![], valid_until: None, ..change };
    Published { change, membership: None }
}
