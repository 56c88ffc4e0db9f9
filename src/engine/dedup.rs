//! Event ids seen of one customer (LANGUAGE.md S29, R20): a repeated id is dropped while it is younger, by arrival, than the window of
//! the event type that brought it first.
//!
//! An id is its 64-bit hash; sixteen bits of the body's hash tell a repetition from a conflict. At most [`EVENT_IDS_MAX`] per customer: the
//! oldest leave first.

use super::features::codec::{Reader, put_u64};
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

/// Bytes of one id: its hash, sixteen bits of its body's, and 48 bits of the first arrival at which it is forgotten.
const ENTRY: usize = 16;

/// **Shape:** entries in the order of arrival, no id twice. They lie as they are stored: reading and writing copy, and only the search looks
/// at each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dedup {
    entries: Vec<u8>,
}

fn id_of(entry: &[u8; ENTRY]) -> u64 {
    u64::from_le_bytes([entry[0], entry[1], entry[2], entry[3], entry[4], entry[5], entry[6], entry[7]])
}

fn body_of(entry: &[u8; ENTRY]) -> u16 {
    u16::from_le_bytes([entry[8], entry[9]])
}

fn until_of(entry: &[u8; ENTRY]) -> i64 {
    i64::from_le_bytes([0, 0, entry[10], entry[11], entry[12], entry[13], entry[14], entry[15]]) >> 16
}

fn entry(id: u64, body: u16, until: Timestamp) -> [u8; ENTRY] {
    // 48 bits of milliseconds reach 4,459 years either way.
    let until = until.0.clamp(-(1 << 47), (1 << 47) - 1);
    let mut entry = [0; ENTRY];
    entry[..8].copy_from_slice(&id.to_le_bytes());
    entry[8..10].copy_from_slice(&body.to_le_bytes());
    entry[10..].copy_from_slice(&until.to_le_bytes()[..6]);
    entry
}

impl Dedup {
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    pub fn len(&self) -> usize {
        self.entries.len() / ENTRY
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = &[u8; ENTRY]> {
        self.entries.as_chunks::<ENTRY>().0.iter()
    }

    /// Judges an event that is applied at `arrival` (the clock) and remembers it if it is new. `window` is that of its type.
    ///
    /// **Cost:** two passes over contiguous entries.
    pub fn check(&mut self, id_hash: u64, body_hash: u64, arrival: Timestamp, window: Millis) -> Seen {
        self.prune(arrival);
        let body = body_bits(body_hash);
        if let Some(known) = self.iter().find(|e| id_of(e) == id_hash) {
            return if body_of(known) == body { Seen::Duplicate } else { Seen::Conflict };
        }
        if window.0 <= 0 {
            return Seen::New { evicted: false };
        }
        let evicted = self.len() >= EVENT_IDS_MAX;
        if evicted {
            self.entries.drain(..ENTRY);
        }
        self.entries.extend_from_slice(&entry(id_hash, body, arrival + window));
        Seen::New { evicted }
    }

    /// The first arrival at which all are forgotten; `None` where there are none.
    pub fn expires(&self) -> Option<Timestamp> {
        self.iter().map(|e| Timestamp(until_of(e))).max()
    }

    /// Forgets ids that are as old as their window. Returns whether there were any.
    pub fn prune(&mut self, arrival: Timestamp) -> bool {
        if self.iter().all(|e| until_of(e) > arrival.0) {
            return false;
        }
        let mut kept = 0;
        for at in (0..self.entries.len()).step_by(ENTRY) {
            let known = self.entries[at..].first_chunk::<ENTRY>().is_some_and(|e| until_of(e) > arrival.0);
            if known {
                self.entries.copy_within(at..at + ENTRY, kept);
                kept += ENTRY;
            }
        }
        self.entries.truncate(kept);
        true
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.len() as u64);
        out.extend_from_slice(&self.entries);
    }

    pub fn decode(&mut self, reader: &mut Reader<'_>) {
        self.entries.clear();
        let n = reader.count(ENTRY);
        self.entries.extend_from_slice(reader.bytes(n * ENTRY));
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
                d.encode(&mut out);
                let (mut reader, mut back) = (Reader::new(&out), Dedup::default());
                back.decode(&mut reader);
                assert!(reader.done() && !reader.failed() && back == d);
            }
        }
    }
}
