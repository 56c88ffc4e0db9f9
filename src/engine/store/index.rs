//! From a customer's hash to its slot: 256 open-addressing tables with linear probing.
//!
//! An entry is 32 bits of the hash, which also give its place, and the slot; so a table grows and shrinks without a look at the customers, and a
//! false match is one in four billion.

use super::CHUNKS;

/// Entries of a part's first table.
const SMALLEST: usize = 8;

/// Zero is free; else the low half is the slot plus one and the high half the hash's bits.
type Entry = u64;

#[derive(Clone, Default)]
struct Part {
    entries: Vec<Entry>,
    len: usize,
}

pub(super) struct Index {
    parts: Vec<Part>,
}

impl Default for Index {
    fn default() -> Self {
        Index { parts: vec![Part::default(); CHUNKS] }
    }
}

/// The 32 bits below the chunk's byte.
fn bits(hash: u64) -> u32 {
    (hash >> 24) as u32
}

fn slot(entry: Entry) -> u32 {
    (entry as u32).wrapping_sub(1)
}

impl Part {
    /// Where an entry with these bits would best stand.
    fn home(&self, bits: u32) -> usize {
        ((u64::from(bits) * self.entries.len() as u64) >> 32) as usize
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 == self.entries.len() { 0 } else { at + 1 }
    }

    fn place(&mut self, entry: Entry) {
        let mut at = self.home((entry >> 32) as u32);
        while self.entries[at] != 0 {
            at = self.next(at);
        }
        self.entries[at] = entry;
    }

    fn grow(&mut self) {
        // By half, so that the load stays between 0.57 and 0.86.
        let size = (self.entries.len() + self.entries.len() / 2).max(SMALLEST);
        let old = std::mem::replace(&mut self.entries, vec![0; size]);
        old.into_iter().filter(|e| *e != 0).for_each(|e| self.place(e));
    }

    fn find(&self, bits: u32, mut is: impl FnMut(u32) -> bool) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let mut at = self.home(bits);
        loop {
            let entry = self.entries[at];
            if entry == 0 {
                return None;
            }
            if (entry >> 32) as u32 == bits && is(slot(entry)) {
                return Some(at);
            }
            at = self.next(at);
        }
    }
}

impl Index {
    pub(super) fn memory(&self) -> usize {
        self.parts.len() * std::mem::size_of::<Part>() + self.parts.iter().map(|p| p.entries.capacity() * 8).sum::<usize>()
    }

    fn part(&self, hash: u64) -> &Part {
        &self.parts[super::Store::chunk_of(hash)]
    }

    pub(super) fn find(&self, hash: u64, is: impl FnMut(u32) -> bool) -> Option<u32> {
        let part = self.part(hash);
        part.find(bits(hash), is).map(|at| slot(part.entries[at]))
    }

    /// The first slot with these bits, not verified.
    pub(super) fn first(&self, hash: u64) -> Option<u32> {
        self.find(hash, |_| true)
    }

    pub(super) fn insert(&mut self, hash: u64, slot: u32) {
        let part = &mut self.parts[super::Store::chunk_of(hash)];
        if part.len + 1 > part.entries.len() * 6 / 7 {
            part.grow();
        }
        part.place(u64::from(bits(hash)) << 32 | (u64::from(slot) + 1));
        part.len += 1;
    }

    /// Removes an entry by shifting back those that stand after it, so that no grave is left.
    pub(super) fn remove(&mut self, hash: u64, of: u32) {
        let part = &mut self.parts[super::Store::chunk_of(hash)];
        let Some(mut hole) = part.find(bits(hash), |s| s == of) else { return };
        part.len -= 1;
        let mut at = hole;
        loop {
            at = part.next(at);
            let entry = part.entries[at];
            if entry == 0 {
                break;
            }
            let home = part.home((entry >> 32) as u32);
            // It may move into the hole unless its home lies after the hole, up to where it stands.
            let stays = if hole < at { home > hole && home <= at } else { home > hole || home <= at };
            if !stays {
                part.entries[hole] = entry;
                hole = at;
            }
        }
        part.entries[hole] = 0;
        if part.len == 0 {
            part.entries = Vec::new();
        }
    }

    /// Slots of a part in no useful order.
    pub(super) fn slots(&self, part: usize) -> impl Iterator<Item = u32> {
        self.parts[part].entries.iter().filter(|e| **e != 0).map(|e| slot(*e))
    }

    pub(super) fn prefetch(&self, hash: u64) {
        let part = self.part(hash);
        if let Some(entry) = part.entries.get(part.home(bits(hash))) {
            super::slab::prefetch_line(std::ptr::from_ref(entry).cast());
        }
    }
}
