//! Changes and memberships as protobuf (`proto/segmentd/v1/change.proto`, `membership.proto`), with the same bounds as JSON.

use std::sync::Arc;

use prost::Message;

use super::json::{millionths, rounded};
use crate::limits::{EMIT_BYTES_MAX, EMIT_ITEMS_MAX, EMIT_TEXT_BYTES_MAX, REASON_TEXT_BYTES_MAX, REASONS_MAX};
use crate::model::{Cause, Change, ChangeKind, Decimal, Membership, Money, Value};
use crate::time::Timestamp;
use crate::wire::draft::cut;
use crate::wire::proto::v1;
use v1::emit_value::Kind;

/// Appends a change; `topics` by input index. `emitted_at` absent is 0.
pub fn change_protobuf(change: &Change, emitted_at: Option<Timestamp>, topics: &[impl AsRef<str>], out: &mut Vec<u8>) {
    let (kind, from, to) = match &change.kind {
        ChangeKind::Entered => (v1::ChangeKind::Entered, "", ""),
        ChangeKind::Exited => (v1::ChangeKind::Exited, "", ""),
        ChangeKind::Moved { from, to } => (v1::ChangeKind::Moved, &**from, &**to),
    };
    let message = v1::Change {
        change_id: change.change_id.0.to_vec(),
        customer: change.customer.to_string(),
        seq: change.seq,
        segment: change.segment.to_string(),
        version: change.version.0.to_vec(),
        change: kind.into(),
        from: from.into(),
        to: to.into(),
        since: change.since.0,
        decided_at: change.decided_at.0,
        emitted_at: emitted_at.map_or(0, |t| t.0),
        cause: cause(change.cause).into(),
        cause_event: change.cause_event.as_ref().map(|e| v1::CauseEvent {
            id: e.id.as_deref().unwrap_or_default().into(),
            topic: topics.get(e.position.input.at()).map_or("", AsRef::as_ref).into(),
            partition: e.position.partition,
            offset: e.position.offset,
        }),
        corrects: change.corrects.map(|id| id.0.to_vec()).unwrap_or_default(),
        approx: change.approx,
        valid_until: change.valid_until.map(|t| t.0),
        reason: change
            .reason
            .iter()
            .take(REASONS_MAX)
            .map(|r| v1::Reason {
                condition: bounded(&r.condition, REASON_TEXT_BYTES_MAX),
                observed: bounded(&r.observed, REASON_TEXT_BYTES_MAX),
                threshold: bounded(&r.threshold, REASON_TEXT_BYTES_MAX),
            })
            .collect(),
        emit: emit(&change.emit),
    };
    message.encode(out).expect("a vector grows");
}

/// Appends the present membership.
pub fn membership_protobuf(membership: &Membership, out: &mut Vec<u8>) {
    let message = v1::Membership {
        customer: membership.customer.to_string(),
        segment: membership.segment.to_string(),
        stage: membership.stage.as_deref().unwrap_or_default().into(),
        since: membership.since.0,
        version: membership.version.0.to_vec(),
        emit: emit(&membership.emit),
    };
    message.encode(out).expect("a vector grows");
}

/// Appends the key of a membership's row. The fields are written in their order, so equal keys have equal bytes.
pub fn membership_key_protobuf(customer: &str, segment: &str, out: &mut Vec<u8>) {
    v1::MembershipKey { customer: customer.into(), segment: segment.into() }.encode(out).expect("a vector grows");
}

fn cause(cause: Cause) -> v1::Cause {
    match cause {
        Cause::Event => v1::Cause::Event,
        Cause::Timer => v1::Cause::Timer,
        Cause::LateEvent => v1::Cause::LateEvent,
        Cause::Consent => v1::Cause::Consent,
        Cause::Expired => v1::Cause::Expired,
        Cause::IdentityMerge => v1::Cause::IdentityMerge,
        Cause::Erased => v1::Cause::Erased,
        Cause::ThresholdMoved => v1::Cause::ThresholdMoved,
        Cause::DefinitionCreated => v1::Cause::DefinitionCreated,
        Cause::DefinitionChanged => v1::Cause::DefinitionChanged,
        Cause::DefinitionDeleted => v1::Cause::DefinitionDeleted,
        Cause::DefinitionResumed => v1::Cause::DefinitionResumed,
        Cause::Reconcile => v1::Cause::Reconcile,
    }
}

fn emit(fields: &[(Arc<str>, Value)]) -> Vec<v1::EmitField> {
    let mut bytes = 0;
    fields
        .iter()
        .map(|(name, field)| {
            let mut field = v1::EmitField { name: name.to_string(), value: Some(value(field)) };
            bytes += field.encoded_len();
            if bytes > EMIT_BYTES_MAX {
                field.value = Some(v1::EmitValue { kind: None });
            }
            field
        })
        .collect()
}

fn value(value: &Value) -> v1::EmitValue {
    let money = |m: Money| Kind::Money(v1::Money { minor: m.minor, currency: m.currency.to_string() });
    let kind = match value {
        Value::Missing => None,
        Value::Bool(b) => Some(Kind::Bool(*b)),
        Value::Int(n) => Some(Kind::Int(*n)),
        Value::Decimal(d) => Some(Kind::Millionths(d.0)),
        Value::Ratio { num, den, currency: Some(currency) } => Some(money(Money { minor: rounded(*num, *den), currency: *currency })),
        Value::Ratio { num, den, currency: None } => Some(Kind::Millionths(rounded(num.saturating_mul(i128::from(Decimal::ONE)), *den))),
        Value::Money(m) => Some(money(*m)),
        Value::Text(t) => Some(Kind::Text(bounded(t, EMIT_TEXT_BYTES_MAX))),
        Value::Instant(t) => Some(Kind::Instant(t.0)),
        Value::Date(d) => Some(Kind::Date(*d)),
        Value::Duration(d) => Some(Kind::Duration(d.0)),
        Value::Geo { lat, lon } => Some(Kind::Geo(v1::EmitGeo { lat: *lat, lon: *lon })),
        Value::Score(s) => Some(Kind::Millionths(millionths(*s))),
        Value::List(items) | Value::Record(items) => {
            Some(Kind::List(v1::EmitList { items: items.iter().take(EMIT_ITEMS_MAX).map(self::value).collect() }))
        }
    };
    v1::EmitValue { kind }
}

fn bounded(text: &str, most: usize) -> String {
    if text.len() > most { format!("{}...", cut(text, most)) } else { text.into() }
}
