//! Event ids seen of one customer (LANGUAGE.md S29, R20): a repeated id is dropped while it is younger, by arrival, than the window of
//! the event type that brought it first.
//!
//! An id is its 64-bit hash; sixteen bits of the body's hash tell a repetition from a conflict. At most [`EVENT_IDS_MAX`] per customer: the
//! oldest leave first.

use super::features::codec::{Reader, put_instant, put_u64};
use crate::limits::EVENT_IDS_MAX;
use crate::time::{Millis, Timestamp};

/// What an event's id says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not known: it counts, and its id is known from now on. `evicted`: the oldest id left early to make room.
    New { evicted: bool },
    /// The same id and body.
    Duplicate,
    /// The same id with another body: dropped like a duplicate, and counted.
    Conflict,
}

/// **Shape:** entries in the order of arrival, no id twice, in columns of one length: the search looks at the ids alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dedup {
    ids: Vec<u64>,
    /// Sixteen bits of the body's hash.
    bodies: Vec<u16>,
    /// The first arrival at which each is forgotten.
    untils: Vec<i64>,
}

/// Bytes that an id takes at least, where all are forgotten at one arrival: its hash and that of its body.
const ENTRY_LEAST: usize = 10;

impl Dedup {
    pub fn clear(&mut self) {
        self.ids.clear();
        self.bodies.clear();
        self.untils.clear();
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Judges an event that is applied at `arrival` (the clock) and remembers it if it is new. `window` is that of its type.
    ///
    /// **Cost:** a pass over the arrivals and one over the ids.
    pub fn check(&mut self, id_hash: u64, body_hash: u64, arrival: Timestamp, window: Millis) -> Seen {
        self.prune(arrival);
        let body = body_bits(body_hash);
        if let Some(i) = self.ids.iter().position(|id| *id == id_hash) {
            return if self.bodies[i] == body { Seen::Duplicate } else { Seen::Conflict };
        }
        if window.0 <= 0 {
            return Seen::New { evicted: false };
        }
        let evicted = self.len() >= EVENT_IDS_MAX;
        if evicted {
            self.ids.remove(0);
            self.bodies.remove(0);
            self.untils.remove(0);
        }
        self.ids.push(id_hash);
        self.bodies.push(body);
        self.untils.push((arrival + window).0);
        Seen::New { evicted }
    }

    /// The first arrival at which all are forgotten; `None` where there are none.
    pub fn expires(&self) -> Option<Timestamp> {
        self.untils.iter().max().map(|until| Timestamp(*until))
    }

    /// Forgets ids that are as old as their window. Returns whether there were any.
    pub fn prune(&mut self, arrival: Timestamp) -> bool {
        if self.untils.iter().all(|until| *until > arrival.0) {
            return false;
        }
        let mut kept = 0;
        for i in 0..self.len() {
            if self.untils[i] > arrival.0 {
                self.ids[kept] = self.ids[i];
                self.bodies[kept] = self.bodies[i];
                self.untils[kept] = self.untils[i];
                kept += 1;
            }
        }
        self.ids.truncate(kept);
        self.bodies.truncate(kept);
        self.untils.truncate(kept);
        true
    }

    /// **Shape:** number of entries; of any, the least `until`, and how many bytes the others' distances to it take; the columns, little-endian.
    pub fn encode(&self, base: Timestamp, out: &mut Vec<u8>) {
        put_u64(out, self.len() as u64);
        let (Some(least), Some(most)) = (self.untils.iter().min(), self.untils.iter().max()) else { return };
        put_instant(out, base, Timestamp(*least));
        let width = (u64::BITS - most.abs_diff(*least).leading_zeros()).div_ceil(8) as usize;
        out.push(width as u8);
        self.ids.iter().for_each(|id| out.extend_from_slice(&id.to_le_bytes()));
        self.bodies.iter().for_each(|body| out.extend_from_slice(&body.to_le_bytes()));
        for until in &self.untils {
            // Eight bytes always, of which the rest is dropped: a store instead of a copy of unknown length.
            let end = out.len() + width;
            out.extend_from_slice(&until.abs_diff(*least).to_le_bytes());
            out.truncate(end);
        }
    }

    pub fn decode(&mut self, base: Timestamp, reader: &mut Reader<'_>) {
        self.clear();
        let n = reader.count(ENTRY_LEAST);
        if n == 0 {
            return;
        }
        let least = reader.instant(base).0;
        let width = usize::from(reader.byte()).min(size_of::<u64>());
        self.ids.extend(reader.bytes(8 * n).as_chunks().0.iter().map(|id| u64::from_le_bytes(*id)));
        self.bodies.extend(reader.bytes(2 * n).as_chunks().0.iter().map(|body| u16::from_le_bytes(*body)));
        let distances = reader.bytes(width * n);
        for i in 0..n {
            let mut distance = [0; size_of::<u64>()];
            distance[..width].copy_from_slice(distances.get(width * i..width * (i + 1)).unwrap_or(&[0; 8][..width]));
            self.untils.push(least.wrapping_add_unsigned(u64::from_le_bytes(distance)));
        }
        if reader.failed() {
            self.clear();
        }
    }
}

fn body_bits(hash: u64) -> u16 {
    (hash >> 48) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Seen = Seen::New { evicted: false };

    /// LANGUAGE.md cases 12 and 13.
    #[test]
    fn an_id_is_known_for_less_than_its_window_counted_from_the_first() {
        let (mut d, hour, minute) = (Dedup::default(), Millis::HOUR, Millis::MINUTE.0);
        assert_eq!(d.check(1, 9 << 48, Timestamp(0), hour), NEW);
        assert_eq!(d.check(1, 9 << 48, Timestamp(30 * minute), hour), Seen::Duplicate);
        assert_eq!(d.check(1, 8 << 48, Timestamp(hour.0 - 1), hour), Seen::Conflict);
        assert_eq!(d.check(1, 9 << 48, Timestamp(hour.0), hour), NEW);
        assert_eq!(d.check(1, 9 << 48, Timestamp(hour.0 + 1), hour), Seen::Duplicate);
    }

    #[test]
    fn the_oldest_leave_first_and_say_so() {
        let mut d = Dedup::default();
        for id in 0..EVENT_IDS_MAX as u64 {
            assert_eq!(d.check(id, 0, Timestamp(5), Millis(10)), NEW);
        }
        assert_eq!(d.check(1_000, 0, Timestamp(5), Millis(10)), Seen::New { evicted: true });
        assert_eq!(d.check(1, 0, Timestamp(5), Millis(10)), Seen::Duplicate);
        assert_eq!(d.check(0, 0, Timestamp(5), Millis(10)), Seen::New { evicted: true });
        assert_eq!(d.len(), EVENT_IDS_MAX);
    }

    #[test]
    fn it_answers_like_a_list_of_all_arrivals() {
        for seed in 0..300u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut d, mut known, mut now) = (Dedup::default(), Vec::<(u64, u64, i64)>::new(), -500i64);
            for _ in 0..100 {
                now += rng.i64(0..30);
                let (id, body, window) = (rng.u64(0..12), rng.u64(0..2) << 48, rng.i64(1..200));
                let first = known.iter().find(|(k, _, until)| *k == id && *until > now);
                let want = match first {
                    None => NEW,
                    Some((_, b, _)) if *b == body => Seen::Duplicate,
                    Some(_) => Seen::Conflict,
                };
                if want == NEW {
                    known.push((id, body, now + window));
                }
                assert_eq!(d.check(id, body, Timestamp(now), Millis(window)), want, "seed {seed}");
                let mut out = Vec::new();
                d.encode(Timestamp(-7), &mut out);
                let (mut reader, mut back) = (Reader::new(&out), Dedup::default());
                back.decode(Timestamp(-7), &mut reader);
                assert!(reader.done() && !reader.failed() && back == d);
            }
        }
    }
}
