//! The hash of a change, of which the journal keeps the sum per batch.

use std::sync::Arc;

use crate::engine::output::Published;
use crate::model::{ChangeKind, Value};

/// Sums the hashes of a batch's changes, modulo 2^128: the order between customers does not matter, and the order of one customer's
/// changes is in their `seq`.
#[derive(Default)]
pub struct ChangeHasher {
    sum: u128,
    scratch: Vec<u8>,
}

impl ChangeHasher {
    pub fn add(&mut self, published: &Published) {
        self.scratch.clear();
        write_published(published, &mut self.scratch);
        self.sum = self.sum.wrapping_add(xxhash_rust::xxh3::xxh3_128(&self.scratch));
    }

    /// The sum so far; begins again with 0.
    pub fn take(&mut self) -> u128 {
        std::mem::take(&mut self.sum)
    }
}

/// XXH3-128 over every field of the change and its membership; `emitted_at` is none of them. Independent of the format of the topics.
pub fn change_hash(published: &Published) -> u128 {
    let mut hasher = ChangeHasher::default();
    hasher.add(published);
    hasher.take()
}

/// Every field at its place, texts behind their length, so that no two changes give the same bytes.
fn write_published(published: &Published, out: &mut Vec<u8>) {
    let Published { change: c, membership } = published;
    out.extend_from_slice(&c.change_id.0);
    text(&c.customer, out);
    out.extend_from_slice(&c.seq.to_le_bytes());
    text(&c.segment, out);
    out.extend_from_slice(&c.version.0);
    text(c.kind.word(), out);
    if let ChangeKind::Moved { from, to } = &c.kind {
        text(from, out);
        text(to, out);
    }
    out.extend_from_slice(&c.since.0.to_le_bytes());
    out.extend_from_slice(&c.decided_at.0.to_le_bytes());
    text(c.cause.word(), out);
    option(c.cause_event.as_ref(), out, |event, out| {
        option(event.id.as_ref(), out, |id, out| text(id, out));
        out.extend_from_slice(&event.position.input.0.to_le_bytes());
        out.extend_from_slice(&event.position.partition.to_le_bytes());
        out.extend_from_slice(&event.position.offset.to_le_bytes());
    });
    option(c.corrects, out, |id, out| out.extend_from_slice(&id.0));
    out.push(u8::from(c.approx));
    option(c.valid_until, out, |t, out| out.extend_from_slice(&t.0.to_le_bytes()));
    count(c.reason.len(), out);
    for reason in &c.reason {
        text(&reason.condition, out);
        text(&reason.observed, out);
        text(&reason.threshold, out);
    }
    fields(&c.emit, out);
    option(membership.as_ref(), out, |m, out| {
        text(&m.customer, out);
        text(&m.segment, out);
        option(m.stage.as_ref(), out, |stage, out| text(stage, out));
        out.extend_from_slice(&m.since.0.to_le_bytes());
        out.extend_from_slice(&m.version.0);
        fields(&m.emit, out);
    });
}

fn option<T>(value: Option<T>, out: &mut Vec<u8>, write: impl FnOnce(T, &mut Vec<u8>)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        write(value, out);
    }
}

fn count(n: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(n as u32).to_le_bytes());
}

fn text(text: &str, out: &mut Vec<u8>) {
    count(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

fn fields(fields: &[(Arc<str>, Value)], out: &mut Vec<u8>) {
    count(fields.len(), out);
    for (name, field) in fields {
        text(name, out);
        value(field, out);
    }
}

fn value(v: &Value, out: &mut Vec<u8>) {
    match v {
        Value::Missing => out.push(0),
        Value::Bool(b) => out.extend_from_slice(&[1, u8::from(*b)]),
        Value::Int(n) => tagged(2, &n.to_le_bytes(), out),
        Value::Decimal(d) => tagged(3, &d.0.to_le_bytes(), out),
        Value::Ratio { num, den, currency } => {
            tagged(4, &num.to_le_bytes(), out);
            out.extend_from_slice(&den.to_le_bytes());
            out.extend_from_slice(&currency.map_or([0; 3], |c| c.bytes()));
        }
        Value::Money(m) => {
            tagged(5, &m.minor.to_le_bytes(), out);
            out.extend_from_slice(&m.currency.bytes());
        }
        Value::Text(t) => {
            out.push(6);
            text(t, out);
        }
        Value::Instant(t) => tagged(7, &t.0.to_le_bytes(), out),
        Value::Date(d) => tagged(8, &d.to_le_bytes(), out),
        Value::Duration(d) => tagged(9, &d.0.to_le_bytes(), out),
        Value::Geo { lat, lon } => {
            tagged(10, &lat.to_bits().to_le_bytes(), out);
            out.extend_from_slice(&lon.to_bits().to_le_bytes());
        }
        Value::Score(s) => tagged(11, &s.to_bits().to_le_bytes(), out),
        Value::List(items) | Value::Record(items) => {
            out.push(if matches!(v, Value::List(_)) { 12 } else { 13 });
            count(items.len(), out);
            items.iter().for_each(|item| value(item, out));
        }
    }
}

fn tagged(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(bytes);
}
