//! One customer's bytes: what is kept between records, read into scratch when the customer is touched and written back after.
//!
//! **Layout**, all self-delimiting: the instant for which a timer is armed (derived); then what is durable: counters of changes, instants,
//! known ids, traits, units, features; then deadlines per unit (derived). Durable is what a replay reproduces bit for bit; derived is what
//! follows from it and may differ by how often the customer was looked at. Instants stand relative to the first record's, deadlines to the
//! least of them.
//!
//! Sections are sparse and sorted: a segment that the customer never was in, and a feature that nothing was counted in, take no bytes.

mod units;

use super::dedup::Dedup;
use super::features::codec::{Reader, ValueRef, put_blob, put_i64, put_instant, put_u64, read_value};
use super::gaps::{self, Gap, Orphan};
use crate::ids::{SemanticHash, TraitIndex};
use crate::model::Origin;
use crate::plan::node::UnitId;
use crate::time::Timestamp;

/// A range of [`Customer::bytes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

/// What a unit remembers of the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitEntry {
    pub unit: UnitId,
    /// A member of the segment; of a dwell always true.
    pub member: bool,
    /// Of the last published change; of a dwell, since when the operand holds.
    pub since: Timestamp,
    /// Of the last published change; of a dwell unused.
    pub origin: Origin,
    /// The published `emit` values of a member, one after another.
    pub emit: Span,
    /// Of the last published change, where it is not the present one of the definition.
    pub version: Option<SemanticHash>,
    /// From when an expiry counts: `since`, but for one that has started anew with another definition (LANGUAGE.md R63).
    pub expires_from: Timestamp,
}

impl UnitEntry {
    pub fn new(unit: UnitId, member: bool, since: Timestamp, origin: Origin) -> UnitEntry {
        UnitEntry { unit, member, since, origin, emit: Span::default(), version: None, expires_from: since }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct TraitEntry {
    pub index: TraitIndex,
    /// The `ts` that set it.
    pub ts: Timestamp,
    pub value: Span,
}

#[derive(Clone, Copy, Debug)]
pub struct FeatureEntry {
    pub feature: u32,
    pub bytes: Span,
    /// Where its head, the distance to the feature before it and its length, begins in the stored bytes; 0 where there is none.
    head: u32,
    /// The distance that the head says.
    distance: u32,
}

impl FeatureEntry {
    /// One that is not stored yet.
    pub fn new(feature: u32) -> FeatureEntry {
        FeatureEntry { feature, bytes: Span::default(), head: 0, distance: 0 }
    }
}

/// A sorted section as it was read; written back as it is where nothing in it differs.
#[derive(Clone, Copy, Debug, Default)]
struct Section {
    span: Span,
    changed: bool,
}

/// The customer at hand.
#[derive(Default)]
pub struct Customer {
    pub slot: u32,
    /// A copy of the stored bytes, with values that were added since behind them.
    pub bytes: Vec<u8>,
    /// The durable part of `bytes`.
    pub durable: Span,
    /// `Timestamp::MAX`: none.
    pub armed: Timestamp,
    /// Counts the changes of definitions that the customer has gone through, modulo 2: which plan the numbers of its sections are of.
    pub generation: u8,
    /// Changes published.
    pub seq: u64,
    /// The `ts` of the first record.
    pub first_seen: Timestamp,
    /// Greatest `ts` applied.
    pub greatest: Timestamp,
    pub dedup: Dedup,
    /// Sorted by index.
    pub traits: Vec<TraitEntry>,
    /// Sorted by unit.
    pub units: Vec<UnitEntry>,
    /// Sorted by feature; the cart comes last.
    pub features: Vec<FeatureEntry>,
    /// What features may lack, sorted by feature; empty where all is complete.
    pub gaps: Vec<Gap>,
    /// What is kept of features that no definition reads.
    pub orphans: Vec<Orphan>,
    /// Units that may change at an instant with no record, sorted by unit.
    pub deadlines: Vec<(UnitId, Timestamp)>,
    trait_section: Section,
    unit_section: Section,
    deadline_section: Section,
}

const NEW: Section = Section { span: Span { start: 0, end: 0 }, changed: true };

/// Beside the number of changes: the generation, and whether there are gaps or orphans.
const GENERATION: u64 = 1;
const RARE: u64 = 2;
const HEAD_BITS: u32 = 2;

impl Customer {
    /// A customer whose first record has this `ts`.
    pub fn reset(&mut self, first_seen: Timestamp) {
        self.bytes.clear();
        self.armed = Timestamp::MAX;
        self.generation = 0;
        self.seq = 0;
        self.first_seen = first_seen;
        self.greatest = first_seen;
        self.dedup.clear();
        self.traits.clear();
        self.units.clear();
        self.features.clear();
        self.gaps.clear();
        self.orphans.clear();
        self.deadlines.clear();
        (self.trait_section, self.unit_section, self.deadline_section) = (NEW, NEW, NEW);
    }

    /// Reads stored bytes. Returns false where they are none that [`encode`](Self::encode) wrote.
    pub fn decode(&mut self, slot: u32, bytes: &[u8]) -> bool {
        self.slot = slot;
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.traits.clear();
        self.units.clear();
        self.features.clear();
        self.gaps.clear();
        self.orphans.clear();
        self.deadlines.clear();
        let mut r = Reader::new(bytes);
        self.armed = read_armed(&mut r);
        self.durable.start = r.position() as u32;
        let head = r.u64();
        self.generation = (head & GENERATION) as u8;
        self.seq = head >> HEAD_BITS;
        let rare = head & RARE != 0;
        self.first_seen = Timestamp(r.i64());
        let base = self.first_seen;
        self.greatest = r.instant(base);
        self.dedup.decode(base, &mut r);
        self.trait_section = Section::at(&r);
        for _ in 0..r.count(3) {
            let (index, ts) = (TraitIndex(r.u64() as u16), r.instant(base));
            let start = r.position() as u32;
            read_value(&mut r);
            self.traits.push(TraitEntry { index, ts, value: Span { start, end: r.position() as u32 } });
        }
        self.trait_section.end(&r);
        self.unit_section = Section::at(&r);
        self.read_units(&mut r);
        self.unit_section.end(&r);
        let mut feature: u32 = 0;
        for _ in 0..r.count(2) {
            let head = r.position() as u32;
            let distance = r.u64() as u32;
            feature = feature.wrapping_add(distance);
            let n = r.count(1);
            let start = r.position() as u32;
            r.bytes(n);
            self.features.push(FeatureEntry { feature, bytes: Span { start, end: start + n as u32 }, head, distance });
        }
        if rare {
            gaps::decode(&mut self.gaps, &mut self.orphans, base, &mut r);
        }
        self.durable.end = r.position() as u32;
        self.deadline_section = Section::at(&r);
        let n = r.count(2);
        let least = if n > 0 { r.instant(base) } else { base };
        let mut unit: UnitId = 0;
        for _ in 0..n {
            unit = unit.wrapping_add(r.u64() as u32);
            self.deadlines.push((unit, Timestamp(least.0.wrapping_add_unsigned(r.u64()))));
        }
        self.deadline_section.end(&r);
        !r.failed() && r.done()
    }

    /// Writes everything; `feature` writes a feature that is not as it was read, or says that it is.
    pub fn encode(&self, out: &mut Vec<u8>, temporary: &mut Vec<u8>, mut feature: impl FnMut(u32, &mut Vec<u8>) -> bool) {
        put_armed(out, self.armed);
        let rare = !self.gaps.is_empty() || !self.orphans.is_empty();
        put_u64(out, (self.seq << HEAD_BITS) | (u64::from(rare) * RARE) | u64::from(self.generation));
        put_i64(out, self.first_seen.0);
        let base = self.first_seen;
        put_instant(out, base, self.greatest);
        self.dedup.encode(base, out);
        if self.trait_section.changed {
            self.put_traits(out);
        } else {
            out.extend_from_slice(self.span(self.trait_section.span));
        }
        if self.unit_section.changed {
            self.put_units(out);
        } else {
            out.extend_from_slice(self.span(self.unit_section.span));
        }
        put_u64(out, self.features.len() as u64);
        let mut last = 0;
        // Neighbours that are as they were are copied at once, heads and all.
        let mut run = Span::default();
        for entry in &self.features {
            let distance = entry.feature - last;
            last = entry.feature;
            temporary.clear();
            let changed = feature(entry.feature, temporary);
            if !changed && entry.head > 0 && entry.distance == distance {
                if run.end != entry.head {
                    out.extend_from_slice(self.span(run));
                    run.start = entry.head;
                }
                run.end = entry.bytes.end;
                continue;
            }
            out.extend_from_slice(self.span(run));
            run = Span::default();
            put_u64(out, u64::from(distance));
            put_blob(out, if changed { temporary } else { self.span(entry.bytes) });
        }
        out.extend_from_slice(self.span(run));
        if rare {
            gaps::encode(&self.gaps, &self.orphans, base, &self.bytes, out);
        }
        if self.deadline_section.changed {
            self.put_deadlines(out);
        } else {
            out.extend_from_slice(self.span(self.deadline_section.span));
        }
    }

    /// Bytes of the stored sections other than features.
    pub fn bytes_by_section(&self) -> Vec<(&'static str, usize)> {
        let of = |section: Section| (section.span.end - section.span.start) as usize;
        let head = self.trait_section.span.start as usize;
        vec![
            ("instants and known ids", head),
            ("traits", of(self.trait_section)),
            ("memberships and dwells", of(self.unit_section)),
            ("deadlines", of(self.deadline_section)),
        ]
    }

    fn put_traits(&self, out: &mut Vec<u8>) {
        put_u64(out, self.traits.len() as u64);
        for entry in &self.traits {
            put_u64(out, u64::from(entry.index.0));
            put_instant(out, self.first_seen, entry.ts);
            out.extend_from_slice(self.span(entry.value));
        }
    }

    fn put_deadlines(&self, out: &mut Vec<u8>) {
        put_u64(out, self.deadlines.len() as u64);
        if self.deadlines.is_empty() {
            return;
        }
        let least = self.next_due();
        put_instant(out, self.first_seen, least);
        let mut last = 0;
        for (unit, until) in &self.deadlines {
            put_u64(out, u64::from(unit - last));
            last = *unit;
            put_u64(out, until.0.abs_diff(least.0));
        }
    }

    /// Replaces a trait's entry, or adds one at the place that a search gave; returns the one before.
    pub fn set_trait(&mut self, place: Result<usize, usize>, entry: TraitEntry) -> Option<TraitEntry> {
        self.trait_section.changed = true;
        match place {
            Ok(i) => Some(std::mem::replace(&mut self.traits[i], entry)),
            Err(i) => {
                self.traits.insert(i, entry);
                None
            }
        }
    }

    pub fn span(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..span.end as usize]
    }

    /// A trait's value; missing where it was never set or was set to null.
    pub fn trait_value(&self, index: TraitIndex) -> ValueRef<'_> {
        match self.traits.binary_search_by_key(&index, |t| t.index) {
            Ok(i) => read_value(&mut Reader::new(self.span(self.traits[i].value))),
            Err(_) => ValueRef::Missing,
        }
    }

    pub fn unit(&self, unit: UnitId) -> Option<&UnitEntry> {
        let i = self.units.binary_search_by_key(&unit, |e| e.unit).ok()?;
        Some(&self.units[i])
    }

    pub fn unit_mut(&mut self, unit: UnitId) -> Option<&mut UnitEntry> {
        self.unit_section.changed = true;
        let i = self.units.binary_search_by_key(&unit, |e| e.unit).ok()?;
        Some(&mut self.units[i])
    }

    pub fn is_member(&self, unit: UnitId) -> bool {
        self.unit(unit).is_some_and(|e| e.member)
    }

    pub fn set_unit(&mut self, entry: UnitEntry) {
        self.unit_section.changed = true;
        match self.units.binary_search_by_key(&entry.unit, |e| e.unit) {
            Ok(i) => self.units[i] = entry,
            Err(i) => self.units.insert(i, entry),
        }
    }

    pub fn forget_unit(&mut self, unit: UnitId) {
        if let Ok(i) = self.units.binary_search_by_key(&unit, |e| e.unit) {
            self.units.remove(i);
            self.unit_section.changed = true;
        }
    }

    /// When a unit may change with no record; `Timestamp::MAX` is never.
    pub fn deadline(&self, unit: UnitId) -> Timestamp {
        self.deadlines.binary_search_by_key(&unit, |d| d.0).map_or(Timestamp::MAX, |i| self.deadlines[i].1)
    }

    /// Returns whether that differs from before.
    pub fn set_deadline(&mut self, unit: UnitId, until: Timestamp) -> bool {
        match self.deadlines.binary_search_by_key(&unit, |d| d.0) {
            Ok(i) if self.deadlines[i].1 == until => return false,
            Ok(i) if until == Timestamp::MAX => {
                self.deadlines.remove(i);
            }
            Ok(i) => self.deadlines[i].1 = until,
            Err(_) if until == Timestamp::MAX => return false,
            Err(i) => self.deadlines.insert(i, (unit, until)),
        }
        self.deadline_section.changed = true;
        true
    }

    /// The least deadline; `Timestamp::MAX` is never.
    pub fn next_due(&self) -> Timestamp {
        self.deadlines.iter().map(|d| d.1).min().unwrap_or(Timestamp::MAX)
    }
}

impl Section {
    fn at(r: &Reader<'_>) -> Section {
        Section { span: Span { start: r.position() as u32, end: 0 }, changed: false }
    }

    fn end(&mut self, r: &Reader<'_>) {
        self.span.end = r.position() as u32;
    }
}

/// 0 is none, anything else one more than the zigzag form.
fn read_armed(r: &mut Reader<'_>) -> Timestamp {
    match r.u64().checked_sub(1) {
        None => Timestamp::MAX,
        Some(n) => Timestamp((n >> 1) as i64 ^ -((n & 1) as i64)),
    }
}

fn put_armed(out: &mut Vec<u8>, armed: Timestamp) {
    if armed == Timestamp::MAX {
        return put_u64(out, 0);
    }
    let zigzag = (armed.0 << 1) as u64 ^ (armed.0 >> 63) as u64;
    put_u64(out, zigzag.saturating_add(1));
}

/// The instant for which stored bytes are armed, without reading the rest.
pub fn armed(bytes: &[u8]) -> Timestamp {
    read_armed(&mut Reader::new(bytes))
}

/// The generation of stored bytes, without reading the rest.
pub fn generation(bytes: &[u8]) -> u8 {
    let mut r = Reader::new(bytes);
    read_armed(&mut r);
    (r.u64() & GENERATION) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::features::codec::put_value;
    use crate::engine::gaps::Lack;
    use crate::ids::{InputIndex, Position};
    use crate::model::Value;
    use crate::time::Millis;

    fn full() -> Customer {
        let mut c = Customer::default();
        c.reset(Timestamp(1_767_571_200_000));
        c.generation = 1;
        c.gaps.push(Gap { feature: 600, lack: Lack::everything(Timestamp(1_767_571_200_009)) });
        c.armed = Timestamp(1_767_571_200_001);
        c.seq = 300;
        c.greatest = c.first_seen + Millis(5);
        c.dedup.check(7, 8, c.first_seen, Millis::HOUR);
        let text = c.bytes.len() as u32;
        put_value(&mut c.bytes, &Value::Text("SE".into()));
        let value = Span { start: text, end: c.bytes.len() as u32 };
        c.set_trait(Err(0), TraitEntry { index: TraitIndex(3), ts: c.first_seen - Millis(9), value });
        let position = Position { input: InputIndex(2), partition: 70_000, offset: i64::MAX };
        let entry = UnitEntry::new(0, true, c.first_seen, Origin::Timer(c.first_seen));
        c.set_unit(UnitEntry { emit: value, ..entry });
        c.set_unit(UnitEntry {
            unit: 8,
            origin: Origin::Activation(77),
            version: Some(SemanticHash([9; 16])),
            expires_from: Timestamp(7),
            ..entry
        });
        c.set_unit(UnitEntry { unit: 9_999, member: false, origin: Origin::Record(position), ..entry });
        c.set_unit(UnitEntry { unit: 10_000, origin: Origin::Record(position), ..entry });
        c.set_unit(UnitEntry { unit: 10_001, origin: Origin::Record(Position { offset: 3, ..position }), ..entry });
        c.features.push(FeatureEntry { bytes: value, ..FeatureEntry::new(1) });
        c.features.push(FeatureEntry::new(600));
        c.set_deadline(9_999, Timestamp(i64::MAX - 1));
        c.set_deadline(4, c.first_seen + Millis(1));
        c
    }

    #[test]
    fn everything_reads_back_and_writes_the_same_bytes_again() {
        let customer = full();
        let (mut bytes, mut again, mut temporary) = (Vec::new(), Vec::new(), Vec::new());
        customer.encode(&mut bytes, &mut temporary, |feature, out| {
            out.extend_from_slice(b"new");
            feature == 600
        });
        let mut back = Customer::default();
        assert!(back.decode(17, &bytes));
        assert_eq!((back.slot, back.armed, back.seq, back.generation), (17, customer.armed, 300, 1));
        assert_eq!((&back.gaps, back.orphans.len()), (&customer.gaps, 0));
        assert_eq!(back.unit(8), customer.unit(8));
        assert_eq!(back.trait_value(TraitIndex(3)).to_value(), Value::Text("SE".into()));
        assert!(back.is_member(0) && !back.is_member(9_999) && !back.is_member(5));
        for unit in 9_999..=10_001 {
            let change = |of: &Customer| of.unit(unit).map(|e| (e.member, e.since, e.origin));
            assert!(change(&customer).is_some() && change(&back) == change(&customer));
        }
        assert_eq!(back.span(back.features[1].bytes), b"new");
        assert_eq!(
            (back.next_due(), back.deadline(9_999), back.deadline(5)),
            (customer.deadline(4), Timestamp(i64::MAX - 1), Timestamp::MAX)
        );
        back.encode(&mut again, &mut temporary, |_, _| false);
        assert_eq!(again, bytes);
        assert_eq!((armed(&bytes), generation(&bytes)), (customer.armed, 1));
    }

    #[test]
    fn derived_parts_are_outside_what_is_durable() {
        let durable = |c: &Customer| {
            let (mut bytes, mut back) = (Vec::new(), Customer::default());
            c.encode(&mut bytes, &mut Vec::new(), |_, _| false);
            assert!(back.decode(0, &bytes));
            back.span(back.durable).to_vec()
        };
        let mut other = full();
        other.armed = Timestamp::MAX;
        other.set_deadline(4, Timestamp::MAX);
        other.set_deadline(6, Timestamp(3));
        assert_eq!(durable(&full()), durable(&other));
        other.seq += 1;
        assert_ne!(durable(&full()), durable(&other));
    }

    #[test]
    fn nonsense_is_refused_and_never_panics() {
        let mut bytes = Vec::new();
        full().encode(&mut bytes, &mut Vec::new(), |_, _| false);
        for end in 0..bytes.len() {
            assert!(!Customer::default().decode(0, &bytes[..end]), "{end}");
        }
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..5_000 {
            let mut broken = bytes.clone();
            let at = rng.usize(..broken.len());
            broken[at] = rng.u8(..);
            Customer::default().decode(0, &broken);
        }
    }
}
