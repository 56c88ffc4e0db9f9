//! The first or the newest event of a selector, with the properties that some definition uses.

use super::codec::{Reader, ValueRef, next_is_unknown, put_blob, put_instant, put_unknown, read_value};
use crate::engine::gaps::Lack;
use crate::lang::definition::Which;
use crate::time::Timestamp;

/// **Shape:** nothing until the first event; then its `ts` and its used properties as encoded values, in the plan's order.
///
/// The order is that of S18, (ts, application): of equal instants the first keeps its place and the newest takes it, so the place in the
/// order of application need not be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirstLast {
    at: Option<Timestamp>,
    values: Vec<u8>,
}

impl FirstLast {
    pub fn clear(&mut self) {
        self.at = None;
        self.values.clear();
    }

    pub fn at(&self) -> Option<Timestamp> {
        self.at
    }

    /// Whether an event that is applied now becomes the one.
    pub fn wants(&self, which: Which, ts: Timestamp) -> bool {
        match (self.at, which) {
            (None, _) => true,
            (Some(at), Which::First) => ts < at,
            (Some(at), Which::Last) => ts >= at,
        }
    }

    /// Makes an event the one; `fill` appends its used properties ([`super::codec::put_datum`]) in the plan's order. Returns whether
    /// anything differs.
    pub fn set(&mut self, ts: Timestamp, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        let (at, old) = (self.at, self.values.len());
        fill(&mut self.values);
        let same = at == Some(ts) && self.values[..old] == self.values[old..];
        self.values.drain(..old);
        self.at = Some(ts);
        !same
    }

    /// The i-th used property; missing where there is no event or it lacked the property.
    pub fn value(&self, i: usize) -> ValueRef<'_> {
        let mut reader = Reader::new(&self.values);
        for _ in 0..i {
            read_value(&mut reader);
        }
        if reader.done() { ValueRef::Missing } else { read_value(&mut reader) }
    }

    /// Whether the i-th used property was not kept when the event came, because no definition asked for it.
    pub fn is_unknown(&self, i: usize) -> bool {
        let mut reader = Reader::new(&self.values);
        for _ in 0..i {
            read_value(&mut reader);
        }
        self.at.is_some() && next_is_unknown(&reader)
    }

    /// Becomes what another plan keeps: `fields` gives for each of its properties the place among those kept so far.
    pub fn recut(&mut self, fields: &[Option<usize>], lost: &mut Vec<Lack>) {
        if self.at.is_none() {
            return;
        }
        let old = std::mem::take(&mut self.values);
        for field in fields {
            let mut reader = Reader::new(&old);
            let Some(i) = field else {
                put_unknown(&mut self.values);
                continue;
            };
            for _ in 0..*i {
                read_value(&mut reader);
            }
            let start = reader.position();
            read_value(&mut reader);
            self.values.extend_from_slice(&old[start..reader.position()]);
        }
        if fields.contains(&None) {
            // No event is missing.
            lost.push(Lack { until: Timestamp::MIN, exact: 0, total: true });
        }
    }

    /// `values`: whether the plan uses any property; the same for encoding and decoding.
    pub fn encode(&self, base: Timestamp, values: bool, out: &mut Vec<u8>) {
        let Some(at) = self.at else {
            out.push(0);
            return;
        };
        out.push(1);
        put_instant(out, base, at);
        if values {
            put_blob(out, &self.values);
        }
    }

    pub fn decode(&mut self, base: Timestamp, values: bool, reader: &mut Reader<'_>) {
        self.clear();
        if reader.byte() == 1 {
            self.at = Some(reader.instant(base));
            if values {
                self.values.extend_from_slice(reader.blob());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::put_value;
    use super::*;
    use crate::model::Value;

    #[test]
    fn ties_go_by_the_order_of_application() {
        for (which, want) in [(Which::First, 0), (Which::Last, 3)] {
            let mut f = FirstLast::default();
            for (i, ts) in [5, 5, 7, 7, 6].into_iter().enumerate() {
                if f.wants(which, Timestamp(ts)) {
                    assert!(f.set(Timestamp(ts), |out| put_value(out, &Value::Int(i as i64))));
                }
            }
            assert_eq!(f.value(0), ValueRef::Int(want));
            assert_eq!(f.value(1), ValueRef::Missing);
        }
    }

    #[test]
    fn an_equal_event_changes_nothing_and_bytes_round_trip() {
        let mut f = FirstLast::default();
        let fill = |out: &mut Vec<u8>| {
            put_value(out, &Value::Missing);
            put_value(out, &Value::Text("store".into()));
        };
        assert!(f.set(Timestamp(9), fill));
        assert!(!f.set(Timestamp(9), fill));
        assert!(f.set(Timestamp(10), fill));
        assert_eq!(f.value(1), ValueRef::Text("store"));
        let mut out = Vec::new();
        f.encode(Timestamp(4), true, &mut out);
        FirstLast::default().encode(Timestamp(4), true, &mut out);
        let (mut reader, mut a, mut b) = (Reader::new(&out), FirstLast::default(), f.clone());
        a.decode(Timestamp(4), true, &mut reader);
        b.decode(Timestamp(4), true, &mut reader);
        assert_eq!((a, b), (f, FirstLast::default()));
        assert!(reader.done());
    }
}
