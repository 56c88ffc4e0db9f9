//! What is counted after the newest event of another selector (LANGUAGE.md R19): `at least 3 product_viewed since last order_completed`.
//!
//! The order is that of S18, (ts, application), so a mark takes everything that is applied so far and not younger than it, and an entry that is
//! applied later counts from the mark's own millisecond on. Only the newest mark matters and it only moves forward: what it has once taken never
//! comes back. So the value is exact whatever the order of arrival, as long as the entries after the mark are kept one by one.
//!
//! *Example:* x at 5, y at 7, x at 9: one after y. A late y at 8 changes nothing; a late y at 9 leaves none, since it is applied after that x.

use super::codec::{Reader, put_instant};
use crate::engine::program::{Spec, State};
use crate::time::Timestamp;

pub struct Since {
    /// The newest mark.
    mark: Option<Timestamp>,
    /// Some entry is before the mark.
    before: bool,
    /// Of the entries after the mark; all of them without one.
    state: Box<State>,
}

const MARKED: u8 = 1;
const BEFORE: u8 = 2;

impl Since {
    pub fn new(inner: &Spec) -> Since {
        Since { mark: None, before: false, state: Box::new(State::new(inner)) }
    }

    pub fn clear(&mut self) {
        self.mark = None;
        self.before = false;
        self.state.clear();
    }

    pub fn mark_at(&self) -> Option<Timestamp> {
        self.mark
    }

    /// Whether some entry is before the mark.
    pub fn any_before(&self) -> bool {
        self.before
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Applies a mark; returns whether anything differs by it.
    pub fn set_mark(&mut self, ts: Timestamp) -> bool {
        if self.mark.is_some_and(|mark| ts < mark) {
            return false;
        }
        let moved = self.mark.replace(ts) != Some(ts);
        let lost = self.state.keep_after(ts);
        self.before |= lost;
        moved || lost
    }

    /// The state for an entry that is applied now; `Err` where it is before the mark, with whether it is the first such.
    pub fn enter(&mut self, ts: Timestamp) -> Result<&mut State, bool> {
        if self.mark.is_none_or(|mark| ts >= mark) {
            return Ok(&mut self.state);
        }
        Err(!std::mem::replace(&mut self.before, true))
    }

    pub fn encode(&self, inner: &Spec, base: Timestamp, out: &mut Vec<u8>) {
        out.push(if self.mark.is_some() { MARKED } else { 0 } | if self.before { BEFORE } else { 0 });
        if let Some(mark) = self.mark {
            put_instant(out, base, mark);
        }
        self.state.encode(inner, base, out);
    }

    pub fn decode(&mut self, inner: &Spec, base: Timestamp, reader: &mut Reader<'_>) {
        let flags = reader.byte();
        self.mark = (flags & MARKED != 0).then(|| reader.instant(base));
        self.before = flags & BEFORE != 0;
        self.state.decode_from(inner, base, reader);
    }
}
