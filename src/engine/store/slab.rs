//! Cells in slabs by size class.
//!
//! Classes go up in steps of 16 bytes to 256, then eight to each doubling up to 4 KiB, then four up to 64 KiB; what is larger is an
//! allocation of its own. A slab hands out its free cells first; when a sixteenth of its cells are free it fills a hole with its last cell
//! instead of chaining it, so that it shrinks from its end.

use super::OWNER_BYTES;

/// Bytes of a page of cells, about.
const PAGE_BYTES: usize = 16 << 10;
/// Bytes that come near together, on most processors.
const LINE: usize = 64;
/// Lines of a cell that are asked for ahead.
const LINES_AHEAD: usize = 4;
/// Free cells of a slab that are left alone.
const FREE_ALLOWED: u32 = 16;
const CLASS_BITS: u32 = 6;
const CLASSES: usize = (1 << CLASS_BITS) - 1;
/// The class of what has an allocation of its own.
const LARGE: usize = CLASSES;
/// The owner of a free cell.
const NOBODY: u32 = u32::MAX;
/// A free cell's neighbour that is not there.
const NONE: u32 = u32::MAX;

/// Where a customer's content is: the class in the high bits, the number of the cell in the low ones. In a free slot the number of the
/// next free slot plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell(u32);

impl Cell {
    fn new(class: usize, number: u32) -> Cell {
        debug_assert!(number < 1 << (32 - CLASS_BITS));
        Cell((class as u32) << (32 - CLASS_BITS) | number)
    }

    fn class(self) -> usize {
        (self.0 >> (32 - CLASS_BITS)) as usize
    }

    fn number(self) -> u32 {
        self.0 & (u32::MAX >> CLASS_BITS)
    }

    pub(super) fn free(next: Option<u32>) -> Cell {
        Cell(next.map_or(0, |slot| slot + 1))
    }

    pub(super) fn next_free(self) -> Option<u32> {
        self.0.checked_sub(1)
    }
}

/// What is fixed of a class.
#[derive(Clone, Copy)]
struct Shape {
    /// Bytes of a cell.
    bytes: u32,
    /// Cells of a page, as a power of two, so that a place is a shift and a mask.
    shift: u32,
}

static SHAPES: [Shape; CLASSES] = {
    let mut shapes = [Shape { bytes: 0, shift: 0 }; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        let bytes = bytes_of_class(class);
        let cells = PAGE_BYTES / bytes;
        shapes[class] = Shape { bytes: bytes as u32, shift: if cells == 0 { 0 } else { cells.ilog2() } };
        class += 1;
    }
    shapes
};

/// Bytes of a class's cells.
fn class_bytes(class: usize) -> usize {
    SHAPES[class].bytes as usize
}

/// Cells of a page of a class, as a power of two.
fn page_shift(class: usize) -> u32 {
    SHAPES[class].shift
}

const fn bytes_of_class(class: usize) -> usize {
    match class {
        0..16 => (class + 1) * 16,
        16..48 => {
            let (doubling, step) = ((class - 16) / 8, (class - 16) % 8);
            (256 << doubling) + (step + 1) * (32 << doubling)
        }
        _ => {
            let (doubling, step) = ((class - 48) / 4, (class - 48) % 4);
            (4_096 << doubling) + (step + 1) * (1_024 << doubling)
        }
    }
}

/// The smallest class whose cells hold so many bytes.
fn class_of(bytes: usize) -> usize {
    if bytes <= 256 {
        return bytes.saturating_sub(1) / 16;
    }
    let top = (bytes - 1).ilog2() as usize;
    if bytes <= 4_096 {
        return 16 + (top - 8) * 8 + ((bytes - 1) >> (top - 3)) % 8;
    }
    (48 + (top - 12) * 4 + ((bytes - 1) >> (top - 2)) % 4).min(LARGE)
}

/// Cells of one size. A cell: owner, length of the content (2 bytes; 4 for classes above 64 KiB do not exist), content.
#[derive(Default)]
struct Slab {
    pages: Vec<Box<[u8]>>,
    /// Cells in use and free, without gaps; the rest of the last page was never used.
    cells: u32,
    free: u32,
    /// First of the doubly chained free cells, as its number plus one.
    first_free: u32,
}

#[derive(Default)]
pub(super) struct Slabs {
    slabs: Vec<Slab>,
    /// Owner and content by number; free ones are empty and listed.
    large: Vec<(u32, Box<[u8]>)>,
    large_free: Vec<u32>,
}

/// Bytes of a cell before its content.
const HEAD: usize = OWNER_BYTES + 2;

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn write_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

impl Slab {
    #[inline]
    fn cell(&self, class: usize, number: u32) -> &[u8] {
        let (shift, bytes) = (page_shift(class), class_bytes(class));
        let start = (number as usize & ((1 << shift) - 1)) * bytes;
        &self.pages[(number >> shift) as usize][start..start + bytes]
    }

    fn cell_mut(&mut self, class: usize, number: u32) -> &mut [u8] {
        let (shift, bytes) = (page_shift(class), class_bytes(class));
        let start = (number as usize & ((1 << shift) - 1)) * bytes;
        &mut self.pages[(number >> shift) as usize][start..start + bytes]
    }

    fn acquire(&mut self, class: usize) -> u32 {
        if self.first_free != 0 {
            let number = self.first_free - 1;
            self.unchain(class, number);
            return number;
        }
        let number = self.cells;
        if (number >> page_shift(class)) as usize == self.pages.len() {
            self.pages.push(vec![0; class_bytes(class) << page_shift(class)].into_boxed_slice());
        }
        self.cells += 1;
        number
    }

    /// A free cell: nobody, number of the next plus one, number of the one before plus one (12 bytes; the smallest cell has 16).
    fn chain(&mut self, class: usize, number: u32) {
        let first = self.first_free;
        let cell = self.cell_mut(class, number);
        write_u32(cell, 0, NOBODY);
        write_u32(cell, 4, first);
        write_u32(cell, 8, 0);
        if first != 0 {
            write_u32(self.cell_mut(class, first - 1), 8, number + 1);
        }
        self.first_free = number + 1;
        self.free += 1;
    }

    fn unchain(&mut self, class: usize, number: u32) {
        let cell = self.cell(class, number);
        let (next, before) = (read_u32(cell, 4), read_u32(cell, 8));
        if before == 0 {
            self.first_free = next;
        } else {
            write_u32(self.cell_mut(class, before - 1), 4, next);
        }
        if next != 0 {
            write_u32(self.cell_mut(class, next - 1), 8, before);
        }
        self.free -= 1;
    }

    /// Frees a cell; returns the owner and the new number of a cell that was moved into the hole.
    fn release(&mut self, class: usize, number: u32) -> Option<(u32, u32)> {
        self.chain(class, number);
        if self.free <= FREE_ALLOWED + self.cells / 16 {
            return None;
        }
        let mut moved = None;
        // The last cell is in use, or free like some before it: either way the slab gets shorter.
        let last = self.cells - 1;
        if read_u32(self.cell(class, last), 0) == NOBODY {
            self.unchain(class, last);
        } else {
            let hole = self.first_free - 1;
            self.unchain(class, hole);
            let (shift, bytes) = (page_shift(class), class_bytes(class));
            let (from_page, to_page) = ((last >> shift) as usize, (hole >> shift) as usize);
            let mask = (1usize << shift) - 1;
            let (from, to) = ((last as usize & mask) * bytes, (hole as usize & mask) * bytes);
            if from_page == to_page {
                self.pages[from_page].copy_within(from..from + bytes, to);
            } else {
                // The last cell is on a later page than any other.
                let (before, after) = self.pages.split_at_mut(from_page);
                before[to_page][to..to + bytes].copy_from_slice(&after[0][from..from + bytes]);
            }
            moved = Some((read_u32(self.cell(class, hole), 0), hole));
        }
        self.cells -= 1;
        let used = (self.cells as usize).div_ceil(1 << page_shift(class));
        self.pages.truncate(used);
        moved
    }
}

impl Slabs {
    pub(super) fn memory(&self) -> usize {
        let pages = self.slabs.iter().flat_map(|s| &s.pages).map(|p| p.len()).sum::<usize>();
        let lists = self.slabs.iter().map(|s| s.pages.capacity() * 16 + std::mem::size_of::<Slab>()).sum::<usize>();
        let large = self.large.iter().map(|(_, l)| l.len()).sum::<usize>() + self.large.capacity() * 24 + self.large_free.capacity() * 4;
        pages + lists + large
    }

    /// Stores content for an owner.
    pub(super) fn insert(&mut self, owner: u32, content: &[u8]) -> Cell {
        let class = class_of(content.len() + HEAD);
        if class == LARGE {
            let content = (owner, content.into());
            let number = match self.large_free.pop() {
                Some(number) => {
                    self.large[number as usize] = content;
                    number
                }
                None => {
                    self.large.push(content);
                    (self.large.len() - 1) as u32
                }
            };
            return Cell::new(LARGE, number);
        }
        if self.slabs.is_empty() {
            self.slabs.resize_with(CLASSES, Slab::default);
        }
        let slab = &mut self.slabs[class];
        let number = slab.acquire(class);
        let cell = slab.cell_mut(class, number);
        write_u32(cell, 0, owner);
        cell[OWNER_BYTES..HEAD].copy_from_slice(&(content.len() as u16).to_le_bytes());
        cell[HEAD..HEAD + content.len()].copy_from_slice(content);
        Cell::new(class, number)
    }

    #[inline]
    pub(super) fn get(&self, cell: Cell) -> &[u8] {
        let class = cell.class();
        if class == LARGE {
            return &self.large[cell.number() as usize].1;
        }
        let bytes = self.slabs[class].cell(class, cell.number());
        let len = usize::from(u16::from_le_bytes([bytes[OWNER_BYTES], bytes[OWNER_BYTES + 1]]));
        &bytes[HEAD..HEAD + len]
    }

    /// Replaces what follows the first `head` bytes of the content, if the class stays.
    pub(super) fn overwrite(&mut self, cell: Cell, head: usize, rest: &[u8]) -> bool {
        let (class, len) = (cell.class(), head + rest.len());
        if class == LARGE || class_of(len + HEAD) != class {
            return false;
        }
        let bytes = self.slabs[class].cell_mut(class, cell.number());
        bytes[OWNER_BYTES..HEAD].copy_from_slice(&(len as u16).to_le_bytes());
        bytes[HEAD + head..HEAD + len].copy_from_slice(rest);
        true
    }

    /// Frees a cell. Returns an owner whose content was moved, with its new place.
    pub(super) fn remove(&mut self, cell: Cell) -> Option<(u32, Cell)> {
        let class = cell.class();
        if class == LARGE {
            self.large[cell.number() as usize] = (NONE, Box::default());
            self.large_free.push(cell.number());
            return None;
        }
        let moved = self.slabs[class].release(class, cell.number());
        moved.map(|(owner, number)| (owner, Cell::new(class, number)))
    }

    pub(super) fn prefetch(&self, cell: Cell) {
        let class = cell.class();
        if class == LARGE || self.slabs.is_empty() {
            return;
        }
        let bytes = self.slabs[class].cell(class, cell.number());
        // After some lines in a row the processor goes on by itself.
        bytes.iter().step_by(LINE).take(LINES_AHEAD).for_each(|first| prefetch_line(first));
    }
}

/// Asks the processor to bring a line near; nothing on architectures without such an instruction here.
pub(super) fn prefetch_line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program can see and is allowed on any address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_the_smallest_class_that_holds_it() {
        for class in 1..CLASSES {
            assert!(class_bytes(class) > class_bytes(class - 1), "{class}");
        }
        assert!(class_bytes(CLASSES - 1) <= usize::from(u16::MAX));
        for bytes in 1..=class_bytes(CLASSES - 1) {
            let class = class_of(bytes);
            assert!(class_bytes(class) >= bytes && (class == 0 || class_bytes(class - 1) < bytes), "{bytes} in {class}");
        }
        assert_eq!(class_of(class_bytes(CLASSES - 1) + 1), LARGE);
        assert_eq!(class_of(1 << 30), LARGE);
    }
}
