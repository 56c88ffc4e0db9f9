//! What the units remember, as it is written: nearly all of it is when each last turned and what for.

use super::{Customer, Span, UnitEntry};
use crate::engine::features::codec::{Reader, put_blob, put_i64, put_instant, put_u64};
use crate::ids::{InputIndex, Position, SemanticHash};
use crate::model::Origin;
use crate::plan::node::UnitId;

/// What a unit's entry says of its last change: its kind, then these.
const MEMBER: u64 = 1 << KIND_BITS;
/// A byte of rare flags follows.
const MORE: u64 = 2 << KIND_BITS;
const KIND_BITS: u32 = 2;
const FLAG_BITS: u32 = KIND_BITS + 2;

/// Kinds of a unit's last change.
mod kind {
    /// A timer; its instant follows.
    pub const TIMER: u64 = 0;
    /// A record: the instant, then the input with [`OTHER_PARTITION`], then the distance to the offset of the record before.
    pub const RECORD: u64 = 1;
    pub const ACTIVATION: u64 = 2;
    /// That of a unit before it, at the same instant: how many entries back.
    pub const SAME: u64 = 3;
    pub const ALL: u64 = 3;

    /// Beside the input: the partition follows, since it is not that of the record before. All inputs of a shard have one number.
    pub const OTHER_PARTITION: u64 = 1;
}

const EMITS: u64 = 1;
const OLD_VERSION: u64 = 2;
const EXPIRES: u64 = 4;

/// Before the first record of a section.
const NO_POSITION: Position = Position { input: InputIndex(0), partition: 0, offset: 0 };

impl Customer {
    pub(super) fn read_units(&mut self, r: &mut Reader<'_>) {
        let base = self.first_seen;
        let (mut unit, mut before): (UnitId, _) = (0, NO_POSITION);
        for i in 0..r.count(2) {
            let head = r.u64();
            unit = unit.wrapping_add((head >> FLAG_BITS) as u32);
            let (since, origin) = match head & kind::ALL {
                kind::SAME => {
                    let like = i.checked_sub(r.u64() as usize).and_then(|i| self.units.get(i));
                    like.map_or((base, Origin::Timer(base)), |like| (like.since, like.origin))
                }
                kind::RECORD => {
                    let since = r.instant(base);
                    let input = r.u64();
                    let partition = if input & kind::OTHER_PARTITION != 0 { r.u64() as u32 } else { before.partition };
                    let offset = before.offset.wrapping_add(r.i64());
                    before = Position { input: InputIndex((input >> 1) as u16), partition, offset };
                    (since, Origin::Record(before))
                }
                kind::ACTIVATION => (r.instant(base), Origin::Activation(r.u64())),
                _ => {
                    let since = r.instant(base);
                    (since, Origin::Timer(since))
                }
            };
            let more = if head & MORE != 0 { r.u64() } else { 0 };
            let version = (more & OLD_VERSION != 0).then(|| SemanticHash(r.bytes(16).try_into().unwrap_or_default()));
            let expires_from = if more & EXPIRES != 0 { r.instant(base) } else { since };
            let mut emit = Span::default();
            if more & EMITS != 0 {
                let n = r.count(1);
                emit.start = r.position() as u32;
                r.bytes(n);
                emit.end = r.position() as u32;
            }
            self.units.push(UnitEntry { unit, member: head & MEMBER != 0, since, origin, emit, version, expires_from });
        }
    }

    /// Many units turn with one record, or at one deadline: the later of them refer to the first.
    pub(super) fn put_units(&self, out: &mut Vec<u8>) {
        put_u64(out, self.units.len() as u64);
        let (mut last, mut before, mut seen) = (0, NO_POSITION, Seen::default());
        for (i, entry) in self.units.iter().enumerate() {
            let more = u64::from(entry.emit != Span::default()) * EMITS
                + u64::from(entry.version.is_some()) * OLD_VERSION
                + u64::from(entry.expires_from != entry.since) * EXPIRES;
            let like = seen.replace(entry, i).filter(|like| is_same_change(&self.units[*like], entry));
            let kind = match (like, entry.origin) {
                (Some(_), _) => kind::SAME,
                (None, Origin::Timer(_)) => kind::TIMER,
                (None, Origin::Record(_)) => kind::RECORD,
                (None, Origin::Activation(_)) => kind::ACTIVATION,
            };
            let flags = kind + u64::from(entry.member) * MEMBER + u64::from(more != 0) * MORE;
            put_u64(out, u64::from(entry.unit - last) << FLAG_BITS | flags);
            last = entry.unit;
            match like {
                Some(like) => put_u64(out, (i - like) as u64),
                None => put_instant(out, self.first_seen, entry.since),
            }
            match entry.origin {
                _ if like.is_some() => {}
                Origin::Record(at) => {
                    let other = at.partition != before.partition;
                    put_u64(out, (u64::from(at.input.0) << 1) | (u64::from(other) * kind::OTHER_PARTITION));
                    if other {
                        put_u64(out, u64::from(at.partition));
                    }
                    put_i64(out, at.offset.wrapping_sub(before.offset));
                    before = at;
                }
                Origin::Activation(number) => put_u64(out, number),
                Origin::Timer(_) => {}
            }
            if more != 0 {
                put_u64(out, more);
            }
            if let Some(version) = &entry.version {
                out.extend_from_slice(&version.0);
            }
            if entry.expires_from != entry.since {
                put_instant(out, self.first_seen, entry.expires_from);
            }
            if entry.emit != Span::default() {
                put_blob(out, self.span(entry.emit));
            }
        }
    }
}

/// Whether two units turned with one record, or at one deadline.
fn is_same_change(one: &UnitEntry, other: &UnitEntry) -> bool {
    one.since == other.since
        && match (one.origin, other.origin) {
            // Written as the instant alone.
            (Origin::Timer(_), Origin::Timer(_)) => true,
            (a, b) => a == b,
        }
}

/// Entries by some bits of their instants, the last of each: finds most earlier entries of the same instant in one look.
struct Seen {
    /// One more than the entry's place; 0 is none.
    places: [u32; 1 << Seen::BITS],
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { places: [0; 1 << Seen::BITS] }
    }
}

impl Seen {
    const BITS: u32 = 7;

    /// Puts an entry in the place of the one that it returns.
    fn replace(&mut self, entry: &UnitEntry, at: usize) -> Option<usize> {
        // Fibonacci hashing: the high bits of the product depend on all of the instant's.
        let slot = (entry.since.0 as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - Seen::BITS);
        (std::mem::replace(&mut self.places[slot as usize], at as u32 + 1) as usize).checked_sub(1)
    }
}
