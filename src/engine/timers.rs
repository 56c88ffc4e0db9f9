//! One deadline per customer: a hierarchical timing wheel of bucket vectors.
//!
//! Eight levels of 256 buckets cover every instant; an entry stands at the level of the highest byte in which its deadline differs from the
//! wheel's instant, and moves down when the wheel gets there. Entries are never searched: a deadline that moves *later* is left where it
//! is and looked at when it fires, one that moves *earlier* is armed a second time, and the caller knows the stale entry by comparing it with the
//! instant that the customer's state names. [`Timers::tidy`] bounds how many of those there can be.
//!
//! Must never forget an entry or give one out late; [`Timers::next_deadline`] may be early because of stale entries only.
//!
//! **Cost:** 12 bytes per entry in blocks of sixteen; arming O(1), firing amortised O(1) plus the sort of what is due at one instant.
//!
//! **Source:** G. Varghese, T. Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 7; the level by exclusive or as in
//! tokio-rs/tokio:tokio/src/runtime/time/wheel/mod.rs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Timestamp;

const LEVEL_BITS: u32 = 8;
const BUCKETS: usize = 1 << LEVEL_BITS;
const LEVELS: usize = (u64::BITS / LEVEL_BITS) as usize;
/// Entries of one block.
const BLOCK: usize = 16;
/// Blocks of one page: what is allocated at once.
const PAGE: usize = 256;
const NIL: u32 = u32::MAX;
/// Stale entries beyond twice the armed customers that are left alone: not worth a sweep.
const STALE_ALLOWED: usize = 1_024;

/// An entry that is due. **Shape:** ordered by (deadline, customer hash).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    pub deadline: Timestamp,
    pub hash: u64,
    pub slot: u32,
}

#[derive(Clone, Copy)]
struct Block {
    deadlines: [u64; BLOCK],
    slots: [u32; BLOCK],
    next: u32,
    len: u32,
}

/// A chain of blocks; entries are added at its tail.
#[derive(Clone, Copy)]
struct Bucket {
    head: u32,
    tail: u32,
    blocks: u32,
    /// At or before every entry.
    least: u64,
}

struct Level {
    occupied: [u64; BUCKETS / 64],
    buckets: [Bucket; BUCKETS],
}

const EMPTY: Bucket = Bucket { head: NIL, tail: NIL, blocks: 0, least: u64::MAX };

/// The timers of one shard.
pub struct Timers {
    /// Every entry of the levels is due at or after this instant.
    elapsed: u64,
    levels: [Option<Box<Level>>; LEVELS],
    pages: Vec<Box<[Block; PAGE]>>,
    /// Blocks to use again, chained.
    free: u32,
    /// Entries, stale ones included.
    len: usize,
    /// Due at one instant, the next one last.
    ready: Vec<Due>,
    /// Armed for an instant that the wheel has passed; hashes not known yet, then known.
    late_unsorted: Vec<(Timestamp, u32)>,
    late: BinaryHeap<Reverse<Due>>,
    /// Where the sweep goes on: level, bucket, blocks of it still to be swept.
    sweep: (usize, usize, u32),
}

impl Default for Timers {
    fn default() -> Self {
        Timers::new()
    }
}

/// Instants as unsigned numbers of the same order.
fn key(deadline: Timestamp) -> u64 {
    deadline.0 as u64 ^ (1 << 63)
}

fn instant(key: u64) -> Timestamp {
    Timestamp((key ^ (1 << 63)) as i64)
}

impl Level {
    fn new() -> Box<Level> {
        Box::new(Level { occupied: [0; BUCKETS / 64], buckets: [EMPTY; BUCKETS] })
    }

    /// The first occupied bucket at or after `from`.
    fn next(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = *self.occupied.get(word)? & (u64::MAX << (from % 64));
        loop {
            if bits != 0 {
                return Some(word * 64 + bits.trailing_zeros() as usize);
            }
            word += 1;
            bits = *self.occupied.get(word)?;
        }
    }

    fn set_occupied(&mut self, bucket: usize, occupied: bool) {
        let (word, bit) = (bucket / 64, 1u64 << (bucket % 64));
        if occupied {
            self.occupied[word] |= bit;
        } else {
            self.occupied[word] &= !bit;
        }
    }
}

impl Timers {
    pub fn new() -> Timers {
        Timers {
            elapsed: 0,
            levels: Default::default(),
            pages: Vec::new(),
            free: NIL,
            len: 0,
            ready: Vec::new(),
            late_unsorted: Vec::new(),
            late: BinaryHeap::new(),
            sweep: (0, 0, 0),
        }
    }

    /// Entries, stale ones included.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap bytes.
    pub fn memory(&self) -> usize {
        self.pages.len() * std::mem::size_of::<[Block; PAGE]>()
            + self.pages.capacity() * std::mem::size_of::<usize>()
            + self.levels.iter().flatten().count() * std::mem::size_of::<Level>()
            + (self.ready.capacity() + self.late.capacity()) * std::mem::size_of::<Due>()
            + self.late_unsorted.capacity() * std::mem::size_of::<(Timestamp, u32)>()
    }

    /// Adds an entry; any instant, also one that has passed.
    ///
    /// **Cost:** O(1), no allocation but of a new page now and then; on the per-event path.
    pub fn arm(&mut self, deadline: Timestamp, slot: u32) {
        self.len += 1;
        let key = key(deadline);
        // What comes for the instant that is being given out takes its turn among the others of that instant.
        if key < self.elapsed || (key == self.elapsed && !self.ready.is_empty()) {
            self.late_unsorted.push((deadline, slot));
        } else {
            self.insert(key, slot);
        }
    }

    /// The earliest entry's deadline: exact, but that the entry may be stale.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let waiting = self.late_unsorted.iter().map(|(d, _)| *d).min();
        let late = self.late.peek().map(|d| d.0.deadline);
        let ready = self.ready.last().map(|d| d.deadline);
        let wheel = (0..LEVELS).find_map(|l| {
            let level = self.levels[l].as_ref()?;
            let position = self.position(l);
            level.next(position).map(|b| level.buckets[b].least)
        });
        [waiting, late, ready, wheel.map(instant)].into_iter().flatten().min()
    }

    /// Takes the next entry that is due at or before `horizon`, in the order (deadline, customer hash).
    ///
    /// Arming in between is fine: what is armed for an instant up to the horizon comes out in its turn, and at once where its turn has passed.
    pub fn next_due(&mut self, horizon: Timestamp, mut hash_of: impl FnMut(u32) -> u64) -> Option<Due> {
        loop {
            for (deadline, slot) in self.late_unsorted.drain(..) {
                self.late.push(Reverse(Due { deadline, hash: hash_of(slot), slot }));
            }
            let late = self.late.peek().map(|d| d.0);
            let ready = self.ready.last().copied();
            let from_late = match (late, ready) {
                (Some(late), Some(ready)) => late < ready,
                (late, _) => late.is_some(),
            };
            if let Some(due) = if from_late { late } else { ready } {
                if due.deadline > horizon {
                    return None;
                }
                if from_late {
                    self.late.pop();
                } else {
                    self.ready.pop();
                }
                self.len -= 1;
                return Some(due);
            }
            if !self.advance(key(horizon), &mut hash_of) {
                return None;
            }
        }
    }

    /// Gives back an entry that was taken and not fired: it is the next one again.
    pub fn put_back(&mut self, due: Due) {
        self.len += 1;
        self.late.push(Reverse(due));
    }

    /// The slot of the entry that comes out `ahead` entries after the next one, as far as it is known: to prefetch its customer.
    pub fn upcoming(&self, ahead: usize) -> Option<u32> {
        let at = self.ready.len().checked_sub(ahead + 1)?;
        Some(self.ready[at].slot)
    }

    /// Sweeps out stale entries once there are more entries than twice the armed customers, looking at about `work` entries.
    /// `live` says whether an entry is the one that its customer is armed with.
    ///
    /// **Cost:** nothing while there are few stale entries; called once per batch it keeps pace if `work` is not less than what a batch can arm.
    pub fn tidy(&mut self, armed: usize, work: usize, mut live: impl FnMut(Timestamp, u32) -> bool) {
        if self.len <= 2 * armed + STALE_ALLOWED {
            return;
        }
        let mut left = work.div_ceil(BLOCK);
        let mut rounds = 0;
        while left > 0 && self.len > armed + armed / 2 {
            let (l, b, blocks) = self.sweep;
            if blocks == 0 {
                let next = self.levels[l].as_ref().and_then(|level| level.next(b + 1).map(|b| (b, level.buckets[b].blocks)));
                match next {
                    Some((b, blocks)) => self.sweep = (l, b, blocks),
                    None => {
                        let l = (l + 1) % LEVELS;
                        let first = self.levels[l].as_ref().map_or(0, |level| level.buckets[0].blocks);
                        self.sweep = (l, 0, first);
                        rounds += 1;
                        if rounds > LEVELS {
                            return;
                        }
                    }
                }
                continue;
            }
            self.sweep.2 -= 1;
            left -= 1;
            self.sweep_block(l, b, &mut live);
        }
    }

    /// Takes the first block of a bucket and puts back what is live.
    fn sweep_block(&mut self, l: usize, b: usize, live: &mut impl FnMut(Timestamp, u32) -> bool) {
        let Some(level) = self.levels[l].as_mut() else { return };
        let bucket = &mut level.buckets[b];
        let index = bucket.head;
        if index == NIL {
            self.sweep.2 = 0;
            return;
        }
        let block = *self.block(index);
        let Some(level) = self.levels[l].as_mut() else { return };
        let bucket = &mut level.buckets[b];
        bucket.head = block.next;
        bucket.blocks -= 1;
        if bucket.head == NIL {
            *bucket = EMPTY;
            level.set_occupied(b, false);
        }
        self.release(index);
        for i in 0..block.len as usize {
            if live(instant(block.deadlines[i]), block.slots[i]) {
                self.push(l, b, block.deadlines[i], block.slots[i]);
            } else {
                self.len -= 1;
            }
        }
    }

    /// The wheel's place in a level.
    fn position(&self, level: usize) -> usize {
        (self.elapsed >> (level as u32 * LEVEL_BITS)) as usize % BUCKETS
    }

    fn insert(&mut self, key: u64, slot: u32) {
        let different = key ^ self.elapsed;
        let level = (63 - (different | 1).leading_zeros()) / LEVEL_BITS;
        let bucket = (key >> (level * LEVEL_BITS)) as usize % BUCKETS;
        self.push(level as usize, bucket, key, slot);
    }

    fn push(&mut self, l: usize, b: usize, key: u64, slot: u32) {
        let tail = self.levels[l].get_or_insert_with(Level::new).buckets[b].tail;
        let index = if tail != NIL && (self.block(tail).len as usize) < BLOCK {
            tail
        } else {
            let new = self.acquire();
            if tail != NIL {
                self.block_mut(tail).next = new;
            }
            let level = self.levels[l].get_or_insert_with(Level::new);
            level.set_occupied(b, true);
            let bucket = &mut level.buckets[b];
            if tail == NIL {
                bucket.head = new;
            }
            bucket.tail = new;
            bucket.blocks += 1;
            new
        };
        let block = self.block_mut(index);
        let at = block.len as usize;
        block.deadlines[at] = key;
        block.slots[at] = slot;
        block.len += 1;
        let bucket = &mut self.levels[l].get_or_insert_with(Level::new).buckets[b];
        bucket.least = bucket.least.min(key);
    }

    /// Detaches a bucket's chain and returns its first block.
    fn detach(&mut self, l: usize, b: usize) -> u32 {
        if (self.sweep.0, self.sweep.1) == (l, b) {
            self.sweep.2 = 0;
        }
        let Some(level) = self.levels[l].as_mut() else { return NIL };
        level.set_occupied(b, false);
        std::mem::replace(&mut level.buckets[b], EMPTY).head
    }

    /// Moves the wheel to the next instant at which something is due, if that is not after the horizon, and fills `ready`; else to the
    /// horizon.
    fn advance(&mut self, horizon: u64, hash_of: &mut impl FnMut(u32) -> u64) -> bool {
        loop {
            let next = (0..LEVELS).find_map(|l| {
                let bucket = self.levels[l].as_ref()?.next(self.position(l))?;
                Some((l, bucket))
            });
            let Some((l, b)) = next else { break };
            let shift = l as u32 * LEVEL_BITS;
            // The bits of the wheel's instant above this level, then the bucket.
            let above = if l + 1 == LEVELS { 0 } else { self.elapsed >> (shift + LEVEL_BITS) << (shift + LEVEL_BITS) };
            let start = above | (b as u64) << shift;
            if start > horizon {
                break;
            }
            // At a level above 0 the wheel's own bucket is always empty, so the wheel moves forward here.
            self.elapsed = self.elapsed.max(start);
            let mut index = self.detach(l, b);
            while index != NIL {
                let block = *self.block(index);
                self.release(index);
                for i in 0..block.len as usize {
                    let (key, slot) = (block.deadlines[i], block.slots[i]);
                    if l == 0 {
                        self.ready.push(Due { deadline: instant(key), hash: hash_of(slot), slot });
                    } else {
                        self.insert(key, slot);
                    }
                }
                index = block.next;
            }
            if l == 0 {
                self.ready.sort_unstable_by_key(|d| Reverse(*d));
                return true;
            }
        }
        self.elapsed = self.elapsed.max(horizon);
        if self.ready.capacity() > BUCKETS * BLOCK && self.ready.is_empty() {
            self.ready = Vec::new();
        }
        false
    }

    fn block(&self, index: u32) -> &Block {
        &self.pages[index as usize / PAGE][index as usize % PAGE]
    }

    fn block_mut(&mut self, index: u32) -> &mut Block {
        &mut self.pages[index as usize / PAGE][index as usize % PAGE]
    }

    fn acquire(&mut self) -> u32 {
        if self.free == NIL {
            let first = (self.pages.len() * PAGE) as u32;
            let empty = Block { deadlines: [0; BLOCK], slots: [0; BLOCK], next: NIL, len: 0 };
            self.pages.push(Box::new([empty; PAGE]));
            for index in (first..first + PAGE as u32).rev() {
                self.release(index);
            }
        }
        let index = self.free;
        let block = self.block_mut(index);
        let next = std::mem::replace(&mut block.next, NIL);
        block.len = 0;
        self.free = next;
        index
    }

    fn release(&mut self, index: u32) {
        let free = self.free;
        self.block_mut(index).next = free;
        self.free = index;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn hash(slot: u32) -> u64 {
        u64::from(slot).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn deadline(rng: &mut fastrand::Rng, now: i64) -> i64 {
        match rng.u8(0..20) {
            0 => rng.i64(..),
            1 => [i64::MIN, i64::MAX, 0, -1][rng.usize(0..4)],
            2 => now.saturating_sub(rng.i64(0..1_000)),
            n => now.saturating_add(rng.i64(0..1 << (n * 2))),
        }
    }

    /// Against an ordered set: same entries, same order, no entry early or late, for any instants.
    #[test]
    fn the_wheel_is_an_ordered_set() {
        for seed in 0..200u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut wheel, mut model) = (Timers::new(), BTreeSet::new());
            let mut now = rng.i64(-2_000_000_000_000..2_000_000_000_000);
            let mut slot = 0;
            for _ in 0..300 {
                for _ in 0..rng.usize(0..6) {
                    slot += 1;
                    let at = Timestamp(deadline(&mut rng, now));
                    wheel.arm(at, slot);
                    model.insert(Due { deadline: at, hash: hash(slot), slot });
                }
                assert_eq!(wheel.next_deadline(), model.first().map(|d| d.deadline), "seed {seed}");
                let step = 1i64 << rng.u32(0..36);
                now = now.saturating_add(rng.i64(0..step));
                let mut fired = 0;
                while let Some(due) = wheel.next_due(Timestamp(now), hash) {
                    assert_eq!(Some(due), model.pop_first(), "seed {seed}");
                    assert!(due.deadline.0 <= now);
                    if rng.u8(0..8) == 0 {
                        wheel.put_back(due);
                        assert_eq!(wheel.next_deadline(), Some(due.deadline));
                        assert_eq!(wheel.next_due(Timestamp(now), hash), Some(due));
                    }
                    fired += 1;
                    // What fires arms again, sometimes for an instant that is due as well.
                    if fired < 20 && rng.bool() {
                        let at = due.deadline + crate::time::Millis(rng.i64(0..500_000));
                        wheel.arm(at, due.slot);
                        model.insert(Due { deadline: at, ..due });
                    }
                }
                assert!(model.first().is_none_or(|d| d.deadline.0 > now), "seed {seed}");
                assert_eq!(wheel.len(), model.len());
            }
        }
    }

    #[test]
    fn stale_entries_are_swept_and_live_ones_never() {
        let mut rng = fastrand::Rng::with_seed(5);
        let (mut wheel, customers) = (Timers::new(), 500u32);
        let mut armed = vec![i64::MAX; customers as usize];
        let mut now = 1_700_000_000_000i64;
        let month = 30 * 86_400_000i64;
        for _ in 0..20_000 {
            now += rng.i64(0..60_000);
            while let Some(due) = wheel.next_due(Timestamp(now), hash) {
                let at = &mut armed[due.slot as usize];
                if *at == due.deadline.0 {
                    *at = now + month;
                    wheel.arm(Timestamp(*at), due.slot);
                }
            }
            for _ in 0..5 {
                let c = rng.u32(0..customers);
                let at = now + rng.i64(1..month);
                if at < armed[c as usize] {
                    armed[c as usize] = at;
                    wheel.arm(Timestamp(at), c);
                }
            }
            wheel.tidy(customers as usize, 64, |d, slot| armed[slot as usize] == d.0);
            assert!(wheel.len() <= 2 * customers as usize + STALE_ALLOWED + 700, "{} entries", wheel.len());
        }
        let mut left: BTreeSet<(i64, u32)> = BTreeSet::new();
        while let Some(due) = wheel.next_due(Timestamp::MAX, hash) {
            if armed[due.slot as usize] == due.deadline.0 {
                left.insert((due.deadline.0, due.slot));
            }
        }
        let want: BTreeSet<(i64, u32)> = armed.iter().enumerate().filter(|(_, d)| **d != i64::MAX).map(|(i, d)| (*d, i as u32)).collect();
        assert_eq!(left, want);
    }

    #[test]
    fn an_entry_takes_less_than_sixteen_bytes() {
        let mut wheel = Timers::new();
        let mut rng = fastrand::Rng::with_seed(1);
        wheel.arm(Timestamp(1_700_000_000_000), 0);
        assert!(wheel.next_due(Timestamp(1_700_000_000_000), hash).is_some());
        for slot in 0..200_000 {
            wheel.arm(Timestamp(1_700_000_000_000 + rng.i64(0..2_592_000_000)), slot);
        }
        assert!(wheel.memory() < 200_000 * 16, "{}", wheel.memory());
    }
}
