//! The customers of one shard: an index from hash to slot, and one byte blob per customer in slabs.
//!
//! A *slot* is a small number that stays the customer's while it exists; timers name customers by it. A customer's *cell* holds its slot,
//! its id and its blob, in a slab of cells of about that size: no allocation per customer, and a slab that has many free cells is kept
//! dense by moving its last cell into a hole, so memory follows what is stored down as well as up.
//!
//! The index has 256 parts by the first byte of the hash (the chunks of a snapshot), so that growing one stalls nobody for long. Iteration
//! is by (hash, id) and never by place: nothing outside may depend on slots.
//!
//! **Cost:** per customer beyond id and blob: 4 bytes of slot, about 11 of index, 7 in the cell; rounding and holes add 8 to 20, by how much blobs grow.
//! [`Store::prefetch`], [`Store::prefetch_place`] and [`Store::prefetch_cell`] hide the misses when a batch is known in advance.

mod index;
mod slab;

use index::Index;
use slab::{Cell, Slabs};

use super::features::codec::{Reader, put_u64};

/// Parts of the index, and chunks of a snapshot.
pub const CHUNKS: usize = 256;

/// Bytes before a cell's content: the owner's slot.
const OWNER_BYTES: usize = 4;

/// Customers with their ids and blobs.
#[derive(Default)]
pub struct Store {
    index: Index,
    /// By slot; a free one chains to the next free one.
    cells: Vec<Cell>,
    free_slot: Option<u32>,
    slabs: Slabs,
    len: usize,
    /// Content of the cell under construction.
    scratch: Vec<u8>,
}

impl Store {
    pub fn new() -> Store {
        Store::default()
    }

    /// Customers.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap bytes, free cells and rounding included.
    pub fn memory(&self) -> usize {
        self.index.memory() + self.cells.capacity() * std::mem::size_of::<Cell>() + self.slabs.memory() + self.scratch.capacity()
    }

    /// The chunk of a hash.
    pub fn chunk_of(hash: u64) -> usize {
        (hash >> 56) as usize
    }

    /// Asks for the index line of a hash to be brought near; a hint.
    pub fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Asks for the place of the cell of the customer with this hash; worth it some customers after [`prefetch`](Self::prefetch). A hint.
    pub fn prefetch_place(&self, hash: u64) {
        if let Some(place) = self.index.first(hash).and_then(|slot| self.cells.get(slot as usize)) {
            slab::prefetch_line(std::ptr::from_ref(place).cast());
        }
    }

    /// Asks for the cell of the customer with this hash; worth it some customers after [`prefetch_place`](Self::prefetch_place). A hint.
    pub fn prefetch_cell(&self, hash: u64) {
        if let Some(slot) = self.index.first(hash) {
            self.prefetch_slot(slot);
        }
    }

    /// Asks for the cell of a slot; a hint.
    pub fn prefetch_slot(&self, slot: u32) {
        if let Some(cell) = self.cells.get(slot as usize) {
            self.slabs.prefetch(*cell);
        }
    }

    /// The slot of a customer; `hash` is [`customer_hash`](super::batch::customer_hash) of `id`.
    pub fn find(&self, hash: u64, id: &str) -> Option<u32> {
        self.index.find(hash, |slot| self.id(slot) == id)
    }

    /// Adds a customer that is not there yet and returns its slot.
    ///
    /// **Panics:** never; a customer that is there already would be found no more, so callers look first.
    pub fn insert(&mut self, hash: u64, id: &str, blob: &[u8]) -> u32 {
        debug_assert!(self.find(hash, id).is_none());
        let mut content = std::mem::take(&mut self.scratch);
        content.clear();
        put_u64(&mut content, id.len() as u64);
        content.extend_from_slice(id.as_bytes());
        content.extend_from_slice(blob);
        let slot = match self.free_slot {
            Some(slot) => {
                self.free_slot = self.cells[slot as usize].next_free();
                slot
            }
            None => {
                self.cells.push(Cell::free(None));
                (self.cells.len() - 1) as u32
            }
        };
        self.cells[slot as usize] = self.slabs.insert(slot, &content);
        self.scratch = content;
        self.index.insert(hash, slot);
        self.len += 1;
        slot
    }

    /// The id of a customer.
    pub fn id(&self, slot: u32) -> &str {
        text(self.split(slot).0)
    }

    /// The blob of a customer.
    pub fn get(&self, slot: u32) -> &[u8] {
        self.split(slot).1
    }

    /// The hash of a customer, computed from its id.
    pub fn hash(&self, slot: u32) -> u64 {
        super::batch::customer_hash(self.id(slot))
    }

    /// The id and the blob of a customer.
    #[inline]
    pub fn both(&self, slot: u32) -> (&str, &[u8]) {
        let (id, blob) = self.split(slot);
        (text(id), blob)
    }

    #[inline]
    fn split(&self, slot: u32) -> (&[u8], &[u8]) {
        let content = self.slabs.get(self.cells[slot as usize]);
        let mut reader = Reader::new(content);
        let n = reader.u64() as usize;
        content[reader.position()..].split_at(n)
    }

    /// Gives a customer another blob.
    ///
    /// **Cost:** a copy in place where the size class stays, else a move to another slab.
    pub fn replace(&mut self, slot: u32, blob: &[u8]) {
        let cell = self.cells[slot as usize];
        let mut reader = Reader::new(self.slabs.get(cell));
        let id = reader.u64() as usize;
        let head = reader.position() + id;
        if self.slabs.overwrite(cell, head, blob) {
            return;
        }
        let mut next = std::mem::take(&mut self.scratch);
        next.clear();
        next.extend_from_slice(&self.slabs.get(cell)[..head]);
        next.extend_from_slice(blob);
        self.free_cell(cell);
        self.cells[slot as usize] = self.slabs.insert(slot, &next);
        self.scratch = next;
    }

    /// Removes a customer; its slot may become another's.
    pub fn remove(&mut self, slot: u32) {
        let hash = self.hash(slot);
        self.index.remove(hash, slot);
        self.free_cell(self.cells[slot as usize]);
        self.cells[slot as usize] = Cell::free(self.free_slot);
        self.free_slot = Some(slot);
        self.len -= 1;
    }

    fn free_cell(&mut self, cell: Cell) {
        if let Some((owner, place)) = self.slabs.remove(cell) {
            self.cells[owner as usize] = place;
        }
    }

    /// The slots of one chunk, ordered by (hash, id).
    ///
    /// **Cost:** reads every customer of the chunk and sorts; for saving, not for the per-event path.
    pub fn chunk(&self, chunk: usize) -> Vec<u32> {
        let mut slots: Vec<u32> = self.index.slots(chunk).collect();
        slots.sort_by_cached_key(|slot| (self.hash(*slot), self.id(*slot).to_owned()));
        slots
    }

    /// The customers of one chunk with their hashes, the last by (hash, id) first.
    ///
    /// **Cost:** as [`chunk`](Self::chunk), without copies of ids.
    pub fn chunk_backwards(&self, chunk: usize) -> Vec<(u64, u32)> {
        let mut slots: Vec<(u64, u32)> = self.index.slots(chunk).map(|slot| (self.hash(slot), slot)).collect();
        slots.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| self.id(b.1).cmp(self.id(a.1))));
        slots
    }

    /// All slots, ordered by (hash, id).
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        (0..CHUNKS).flat_map(|chunk| self.chunk(chunk))
    }
}

/// The id in a cell.
#[inline]
fn text(id: &[u8]) -> &str {
    debug_assert!(std::str::from_utf8(id).is_ok());
    // SAFETY: the bytes were copied from a `&str` by `insert` and are never changed but for being moved whole.
    unsafe { std::str::from_utf8_unchecked(id) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::batch::customer_hash;

    fn check(store: &Store, model: &BTreeMap<String, Vec<u8>>) {
        assert_eq!(store.len(), model.len());
        let mut want: Vec<(u64, &str)> = model.keys().map(|id| (customer_hash(id), id.as_str())).collect();
        want.sort_unstable();
        let got: Vec<(u64, &str)> = store.iter().map(|slot| (store.hash(slot), store.id(slot))).collect();
        assert_eq!(got, want);
        let backwards: Vec<u32> = (0..CHUNKS).rev().flat_map(|chunk| store.chunk_backwards(chunk)).map(|(_, slot)| slot).collect();
        assert!(backwards.into_iter().rev().eq(store.iter()));
        for (id, blob) in model {
            let slot = store.find(customer_hash(id), id).expect("in the model");
            assert_eq!(store.get(slot), &blob[..]);
        }
    }

    /// Against an ordered map, through growth, shrinking, moves between sizes and reuse of slots.
    #[test]
    fn the_store_is_a_map() {
        for seed in 0..12u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut store, mut model) = (Store::new(), BTreeMap::new());
            let customers = [3, 60, 3_000][rng.usize(0..3)];
            for step in 0..20_000 {
                let id = format!("c-{}", rng.usize(0..customers));
                let hash = customer_hash(&id);
                let size = match rng.u8(0..100) {
                    0 if customers < 100 => rng.usize(0..100_000),
                    1..10 => rng.usize(0..2_000),
                    _ => rng.usize(0..150),
                };
                let blob: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(size).collect();
                let found = store.find(hash, &id);
                assert_eq!(found.is_some(), model.contains_key(&id), "seed {seed} step {step}");
                match found {
                    Some(slot) if rng.u8(0..4) == 0 => {
                        store.remove(slot);
                        model.remove(&id);
                    }
                    Some(slot) => {
                        store.replace(slot, &blob);
                        assert_eq!((store.id(slot), store.get(slot)), (id.as_str(), &blob[..]));
                        model.insert(id, blob);
                    }
                    None => {
                        let slot = store.insert(hash, &id, &blob);
                        assert_eq!(store.id(slot), id);
                        model.insert(id, blob);
                    }
                }
                store.prefetch(hash);
                store.prefetch_place(hash);
                store.prefetch_cell(hash);
            }
            check(&store, &model);
        }
    }

    #[test]
    fn overhead_is_small_also_after_every_customer_has_grown() {
        let mut store = Store::new();
        let n = 100_000;
        let mut rng = fastrand::Rng::with_seed(3);
        let ids: Vec<String> = (0..n).map(|i| format!("c-{i:07}")).collect();
        for id in &ids {
            store.insert(customer_hash(id), id, &[0; 20]);
        }
        let mut sizes = vec![20usize; n];
        for _ in 0..8 * n {
            let i = rng.usize(0..n);
            sizes[i] += rng.usize(0..40);
            let slot = store.find(customer_hash(&ids[i]), &ids[i]).expect("inserted");
            store.replace(slot, &vec![1; sizes[i]]);
        }
        let stored: usize = sizes.iter().sum::<usize>() + ids.iter().map(String::len).sum::<usize>();
        let overhead = (store.memory() - stored) as f64 / n as f64;
        // Free cells of sizes that were common before are part of it.
        assert!(overhead < 48.0, "{overhead} bytes per customer");
        for id in &ids[..n - 1_000] {
            let slot = store.find(customer_hash(id), id).expect("inserted");
            store.remove(slot);
        }
        assert!(store.slabs.memory() < 2 << 20, "{}", store.slabs.memory());
    }
}
