//! List records of one customer (LANGUAGE.md R50): per list the newest record by S18, which says whether he is in it. A list of which
//! there is no record takes no bytes.

use super::codec::{Reader, put_instant, put_u64};
use crate::ids::ListIndex;
use crate::time::Timestamp;

/// What the newest record of one list says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub list: ListIndex,
    /// The record's `ts`.
    pub ts: Timestamp,
    pub member: bool,
}

/// At most one entry per declared list.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// Sorted by list.
    entries: Vec<Entry>,
}

impl Lists {
    /// Keeps a record that is not older than the stored one. Returns whether the customer was in the list before; `None`: the record is
    /// dropped.
    pub fn set(&mut self, list: ListIndex, ts: Timestamp, member: bool) -> Option<bool> {
        let entry = Entry { list, ts, member };
        match self.entries.binary_search_by_key(&list, |e| e.list) {
            Ok(i) if self.entries[i].ts > ts => None,
            Ok(i) => Some(std::mem::replace(&mut self.entries[i], entry).member),
            Err(i) => {
                self.entries.insert(i, entry);
                Some(false)
            }
        }
    }

    pub fn is_member(&self, list: ListIndex) -> bool {
        self.entries.binary_search_by_key(&list, |e| e.list).is_ok_and(|i| self.entries[i].member)
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Gives lists their places in another catalogue: `places` has for each of its lists the place that it had so far.
    pub fn recut(&mut self, places: &[Option<usize>]) {
        let moved = |entry: &Entry| {
            let to = places.iter().position(|from| *from == Some(entry.list.at()))?;
            Some(Entry { list: ListIndex(to as u16), ..*entry })
        };
        self.entries = self.entries.iter().filter_map(moved).collect();
        self.entries.sort_unstable_by_key(|e| e.list);
    }

    pub fn encode(&self, base: Timestamp, out: &mut Vec<u8>) {
        put_u64(out, self.entries.len() as u64);
        for entry in &self.entries {
            put_u64(out, u64::from(entry.list.0) << 1 | u64::from(entry.member));
            put_instant(out, base, entry.ts);
        }
    }

    pub fn decode(&mut self, base: Timestamp, reader: &mut Reader<'_>) {
        self.entries.clear();
        for _ in 0..reader.count(2) {
            let head = reader.u64();
            self.entries.push(Entry { list: ListIndex((head >> 1) as u16), member: head & 1 != 0, ts: reader.instant(base) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_writer_by_event_time_wins_and_ties_go_to_the_later_one() {
        let (vip, beta) = (ListIndex(4), ListIndex(1));
        let mut lists = Lists::default();
        assert_eq!(lists.set(vip, Timestamp(10), true), Some(false));
        assert_eq!(lists.set(beta, Timestamp(3), false), Some(false));
        assert_eq!(lists.set(vip, Timestamp(9), false), None);
        assert!(lists.is_member(vip) && !lists.is_member(beta) && !lists.is_member(ListIndex(0)));
        assert_eq!(lists.set(vip, Timestamp(10), false), Some(true));
        assert!(!lists.is_member(vip));
        let (mut bytes, mut back) = (Vec::new(), Lists::default());
        lists.encode(Timestamp(5), &mut bytes);
        let mut reader = Reader::new(&bytes);
        back.decode(Timestamp(5), &mut reader);
        assert!(reader.done() && !reader.failed());
        assert_eq!(back.entries(), lists.entries());
        back.recut(&[Some(4), None, Some(2)]);
        assert_eq!(back.entries(), [Entry { list: ListIndex(0), ts: Timestamp(10), member: false }]);
    }
}
