//! Event ids seen of one customer (LANGUAGE.md S29, R20): a repeated id is dropped while it is younger, by arrival, than the window of
//! the event type that brought it first.
//!
//! An id is its 64-bit hash; sixteen bits of the body's hash tell a repetition from a conflict. At most [`EVENT_IDS_MAX`] per customer: the
//! oldest leave first.

use super::features::codec::{Reader, put_fixed64, put_instant, put_u64};
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

/// **Shape:** in the order of arrival, no id twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dedup {
    ids: Vec<u64>,
    bodies: Vec<u16>,
    /// The first arrival at which each is forgotten.
    until: Vec<i64>,
}

impl Dedup {
    pub fn clear(&mut self) {
        self.ids.clear();
        self.bodies.clear();
        self.until.clear();
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Judges an event that is applied at `arrival` (the clock) and remembers it if it is new. `window` is that of its type.
    ///
    /// **Cost:** one pass over contiguous hashes.
    pub fn check(&mut self, id_hash: u64, body_hash: u64, arrival: Timestamp, window: Millis) -> Seen {
        self.prune(arrival);
        let body = body_bits(body_hash);
        if let Some(at) = self.ids.iter().position(|id| *id == id_hash) {
            return if self.bodies[at] == body { Seen::Duplicate } else { Seen::Conflict };
        }
        if window.0 <= 0 {
            return Seen::New { evicted: false };
        }
        let evicted = self.ids.len() >= EVENT_IDS_MAX;
        if evicted {
            self.ids.remove(0);
            self.bodies.remove(0);
            self.until.remove(0);
        }
        self.ids.push(id_hash);
        self.bodies.push(body);
        self.until.push((arrival + window).0);
        Seen::New { evicted }
    }

    /// The first arrival at which all are forgotten; `None` where there are none.
    pub fn expires(&self) -> Option<Timestamp> {
        self.until.iter().max().map(|until| Timestamp(*until))
    }

    /// Forgets ids that are as old as their window. Returns whether there were any.
    pub fn prune(&mut self, arrival: Timestamp) -> bool {
        if self.until.iter().all(|until| *until > arrival.0) {
            return false;
        }
        let mut kept = 0;
        for i in 0..self.ids.len() {
            if self.until[i] > arrival.0 {
                self.ids[kept] = self.ids[i];
                self.bodies[kept] = self.bodies[i];
                self.until[kept] = self.until[i];
                kept += 1;
            }
        }
        self.ids.truncate(kept);
        self.bodies.truncate(kept);
        self.until.truncate(kept);
        true
    }

    pub fn encode(&self, base: Timestamp, out: &mut Vec<u8>) {
        put_u64(out, self.ids.len() as u64);
        let mut last = base;
        for i in 0..self.ids.len() {
            put_fixed64(out, self.ids[i]);
            out.extend_from_slice(&self.bodies[i].to_le_bytes());
            // Arrivals are close to each other and windows mostly equal, so the differences are short.
            put_instant(out, last, Timestamp(self.until[i]));
            last = Timestamp(self.until[i]);
        }
    }

    pub fn decode(&mut self, base: Timestamp, reader: &mut Reader<'_>) {
        self.clear();
        let mut last = base;
        for _ in 0..reader.count(11) {
            self.ids.push(reader.fixed64());
            self.bodies.push(reader.bytes(2).try_into().map_or(0, u16::from_le_bytes));
            last = reader.instant(last);
            self.until.push(last.0);
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
                d.encode(Timestamp(33), &mut out);
                let (mut reader, mut back) = (Reader::new(&out), Dedup::default());
                back.decode(Timestamp(33), &mut reader);
                assert!(reader.done() && !reader.failed() && back == d);
            }
        }
    }
}
