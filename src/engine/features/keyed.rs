//! A state of its own for each value of a property: at most [`KEYS_MAX`] keys, the most recently used by arrival (LANGUAGE.md R23).
//!
//! Neutral as to what is kept per key: counts, logs, steps of a sequence. Nothing but the order of use decides which key is forgotten, and
//! application is one after another, so there are no ties. A forgotten key that comes back starts empty.
//!
//! *Example:* with room for two keys, uses a, b, a, c leave a and c: b was used least recently.
//!
//! **Forgetting early.** The least recently used keys of which nothing can be seen any more go when some key is used: they would be forgotten
//! before any other and would come back empty, so nobody can tell. One behind a key that is still seen stays, for it counts towards the bound.

use super::codec::{Reader, ValueRef, put_u64, put_value, read_value};
use super::sequence::Now;
use crate::engine::program::{Spec, State};
use crate::engine::value::Val;
use crate::limits::{KEY_TEXT_BYTES_MAX, KEYS_MAX};
use crate::model::Value;
use crate::time::{Millis, Timestamp};

// Places are bytes.
const _: () = assert!(KEYS_MAX <= u8::MAX as usize);

/// The same for every customer.
pub struct KeyedSpec {
    /// How each key's state is kept.
    pub inner: Spec,
    /// From this age on no condition can see an entry; `None` where some condition looks back without end.
    pub horizon: Option<Millis>,
}

/// Scratch like every feature: places keep their allocations from one customer to the next.
#[derive(Default)]
pub struct Keyed {
    places: Vec<Place>,
    /// Places in use, the least recently used first: always the first so many places, since they are given back all at once.
    order: Vec<u8>,
    /// The bytes that were read; states that nothing changed are written back from them.
    read: Vec<u8>,
}

struct Place {
    /// As [`put_key`] writes it.
    key: Vec<u8>,
    state: State,
    /// `None` once the state has been given out to be changed.
    as_read: Option<AsRead>,
}

/// Where a state stands in the bytes that were read, and relative to which instant.
#[derive(Clone, Copy)]
struct AsRead {
    start: u32,
    end: u32,
    base: Timestamp,
}

impl Place {
    /// Whether no evaluation from now on can see anything of the key, and no event can add to what is kept of it.
    fn is_past(&mut self, inner: &Spec, horizon: Millis, now: Now) -> bool {
        if let (State::Sequence(state), Spec::Sequence(spec)) = (&mut self.state, inner) {
            self.as_read = None;
            return state.is_past(spec, horizon, now);
        }
        self.state.newest().is_some_and(|newest| now.greatest - newest >= horizon)
    }
}

/// What a use of a key did.
pub struct Used<'a> {
    pub state: &'a mut State,
    /// Another key was forgotten for it.
    pub forgot: bool,
    /// The bytes differ for the order of use alone, or for keys that were of no use any more.
    pub reordered: bool,
}

/// Writes a key; false where the value is none. A long text is cut and followed by its hash, so that keys differ where their values do.
pub fn put_key(out: &mut Vec<u8>, value: Val) -> bool {
    out.clear();
    match value {
        Val::Missing | Val::Geo { .. } | Val::List(_) | Val::Record(_) => return false,
        Val::Text(text) if text.len() > KEY_TEXT_BYTES_MAX => {
            let end = (0..=KEY_TEXT_BYTES_MAX).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            put_value(out, &Value::Text(text[..end].into()));
            out.extend_from_slice(&xxhash_rust::xxh3::xxh3_128(text.as_bytes()).to_le_bytes());
        }
        value => put_value(out, &value.to_value()),
    }
    true
}

/// The value of a key, as it is shown.
pub fn key_value(key: &[u8]) -> ValueRef<'_> {
    read_value(&mut Reader::new(key))
}

impl Keyed {
    pub fn clear(&mut self) {
        self.order.clear();
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// **Shape:** `i` below [`len`](Self::len), the least recently used key first; so for [`state`](Self::state).
    pub fn key(&self, i: usize) -> &[u8] {
        &self.places[self.order[i] as usize].key
    }

    pub fn state(&self, i: usize) -> &State {
        &self.places[self.order[i] as usize].state
    }

    /// Calls `change` with the state of each key; it says whether it changed anything. Returns whether any did.
    pub fn change_all(&mut self, mut change: impl FnMut(&mut State) -> bool) -> bool {
        let mut any = false;
        for at in &self.order {
            let place = &mut self.places[*at as usize];
            if change(&mut place.state) {
                place.as_read = None;
                any = true;
            }
        }
        any
    }

    /// Lets go of the least recently used keys as long as nothing of them can be seen any more. Returns whether there were any.
    fn forget_past(&mut self, spec: &KeyedSpec, now: Now) -> bool {
        let Some(horizon) = spec.horizon else { return false };
        let mut gone = 0;
        while let Some(at) = self.order.get(gone)
            && self.places[*at as usize].is_past(&spec.inner, horizon, now)
        {
            gone += 1;
        }
        if gone == 0 {
            return false;
        }
        // Places in use stay the first so many.
        self.order.rotate_left(gone);
        let kept = self.order.len() - gone;
        for i in 0..kept {
            if (self.order[i] as usize) < kept {
                continue;
            }
            let Some(free) = self.order[kept..].iter().position(|at| (*at as usize) < kept) else { break };
            self.places.swap(self.order[i] as usize, self.order[kept + free] as usize);
            self.order.swap(i, kept + free);
        }
        self.order.truncate(kept);
        true
    }

    /// Uses a key: it becomes the most recently used one, with an empty state if it was not known.
    ///
    /// **Cost:** O(keys) over short keys.
    pub fn touch(&mut self, spec: &KeyedSpec, key: &[u8], now: Now) -> Used<'_> {
        let dropped = self.forget_past(spec, now);
        let found = self.order.iter().rposition(|at| self.places[*at as usize].key == key);
        let (place, forgot, reordered) = match found {
            Some(i) => {
                let reordered = i + 1 < self.order.len();
                self.order[i..].rotate_left(1);
                (self.order[self.order.len() - 1], false, reordered)
            }
            None => {
                let forgot = self.order.len() >= KEYS_MAX;
                if forgot {
                    self.order.rotate_left(1);
                } else {
                    let free = self.free_place(&spec.inner);
                    self.order.push(free);
                }
                let at = self.order[self.order.len() - 1];
                let place = &mut self.places[at as usize];
                place.key.clear();
                place.key.extend_from_slice(key);
                place.state.clear();
                (at, forgot, true)
            }
        };
        let place = &mut self.places[place as usize];
        place.as_read = None;
        Used { state: &mut place.state, forgot, reordered: reordered || dropped }
    }

    fn free_place(&mut self, inner: &Spec) -> u8 {
        let free = self.order.len();
        if free == self.places.len() {
            self.places.push(Place { key: Vec::new(), state: State::new(inner), as_read: None });
        }
        free as u8
    }

    /// **Shape:** number of keys; each as what differs from the one before it, and its state relative to the youngest instant of the one
    /// before it: keys of one property look alike, and those that were used one after another lie close together.
    pub fn encode(&self, spec: &KeyedSpec, base: Timestamp, out: &mut Vec<u8>) {
        put_u64(out, self.order.len() as u64);
        let (mut before, mut base): (&[u8], _) = (&[], base);
        for at in &self.order {
            let place = &self.places[*at as usize];
            put_after(out, before, &place.key);
            match place.as_read {
                Some(read) if read.base == base => out.extend_from_slice(&self.read[read.start as usize..read.end as usize]),
                _ => place.state.encode(&spec.inner, base, out),
            }
            before = &place.key;
            base = place.state.newest().unwrap_or(base);
        }
    }

    pub fn decode(&mut self, spec: &KeyedSpec, base: Timestamp, reader: &mut Reader<'_>) {
        self.clear();
        self.read.clear();
        self.read.extend_from_slice(reader.rest());
        let (begin, mut base) = (reader.position(), base);
        // A key takes a byte of lengths, and its state one at least.
        for i in 0..reader.count(2).min(KEYS_MAX) {
            let at = self.free_place(&spec.inner);
            self.order.push(at);
            let (known, place) = self.places.split_at_mut(i);
            let place = &mut place[0];
            read_after(reader, known.last().map_or(&[], |before| &before.key), &mut place.key);
            let start = (reader.position() - begin) as u32;
            place.state.decode_from(&spec.inner, base, reader);
            place.as_read = Some(AsRead { start, end: (reader.position() - begin) as u32, base });
            base = place.state.newest().unwrap_or(base);
        }
    }
}

/// The greatest length that half a byte says by itself.
const SHORT: usize = 15;

/// Writes a key as what differs from another: a byte with the number of leading bytes that are the same and the number of others, each of
/// them in half of it and, from [`SHORT`] on, the rest behind; then the others.
fn put_after(out: &mut Vec<u8>, before: &[u8], key: &[u8]) {
    let same = before.iter().zip(key).take_while(|(a, b)| a == b).count();
    let others = &key[same..];
    out.push((same.min(SHORT) << 4 | others.len().min(SHORT)) as u8);
    for length in [same, others.len()] {
        if length >= SHORT {
            put_u64(out, (length - SHORT) as u64);
        }
    }
    out.extend_from_slice(others);
}

fn read_after(reader: &mut Reader<'_>, before: &[u8], key: &mut Vec<u8>) {
    let head = reader.byte();
    let [same, others] = [head >> 4, head & SHORT as u8].map(|short| match usize::from(short) {
        SHORT => SHORT.saturating_add(reader.u64() as usize),
        length => length,
    });
    key.clear();
    key.extend_from_slice(before.get(..same).unwrap_or_default());
    key.extend_from_slice(reader.bytes(others));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::features::sequence::Arrived;
    use crate::engine::features::{AgeWindow, SequenceSpec, Verdict};
    use crate::plan::sequence::{SequencePlan, StepPlan};

    const NOW: Now = Now { clock: Timestamp(0), greatest: Timestamp(0) };

    fn key(text: &str) -> Vec<u8> {
        let mut out = vec![1, 2];
        assert!(put_key(&mut out, Val::Text(text)));
        out
    }

    #[test]
    fn keys_are_told_apart_whole_however_long_they_are_and_shown_by_their_beginning() {
        let long = "ä".repeat(KEY_TEXT_BYTES_MAX);
        let (a, b) = (format!("{long}a"), format!("{long}b"));
        assert_ne!(key(&a), key(&b));
        assert_ne!(key(&a), key(&long));
        assert!(key(&a).len() < KEY_TEXT_BYTES_MAX + 32);
        assert!(matches!(key_value(&key(&a)), ValueRef::Text(shown) if a.starts_with(shown) && shown.len() == KEY_TEXT_BYTES_MAX));
        assert_eq!(key_value(&key("p1")), ValueRef::Text("p1"));
        assert_eq!(key_value(&key("")), ValueRef::Text(""));
        let mut out = Vec::new();
        assert!(!put_key(&mut out, Val::Missing));
        assert!(put_key(&mut out, Val::int(7)) && key_value(&out) == ValueRef::Int(7));
        assert_ne!(out, key("7"));
    }

    #[test]
    fn foreign_bytes_make_no_panic_and_no_more_keys_than_there_may_be() {
        let spec = KeyedSpec { inner: Spec::Counter { sum: false }, horizon: None };
        let mut keyed = Keyed::default();
        for n in 0..KEYS_MAX + 1 {
            let used = keyed.touch(&spec, &key(&n.to_string()), NOW);
            assert_eq!(used.forgot, n == KEYS_MAX);
        }
        let (mut bytes, mut again) = (Vec::new(), Vec::new());
        keyed.encode(&spec, Timestamp(0), &mut bytes);
        let mut back = Keyed::default();
        back.decode(&spec, Timestamp(0), &mut Reader::new(&bytes));
        assert_eq!(
            (back.len(), key_value(back.key(0)), key_value(back.key(KEYS_MAX - 1))),
            (64, ValueRef::Text("1"), ValueRef::Text("64"))
        );
        back.encode(&spec, Timestamp(0), &mut again);
        assert_eq!(again, bytes);
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..3_000 {
            let mut broken = bytes.clone();
            let at = rng.usize(..broken.len());
            broken[at] = rng.u8(..);
            back.decode(&spec, Timestamp(0), &mut Reader::new(&broken[..rng.usize(at..broken.len())]));
            assert!(back.len() <= KEYS_MAX);
            for i in 0..back.len() {
                let _ = key_value(back.key(i)).to_value();
            }
        }
    }

    /// Keys that are let go before the bound asks for it are missed by nobody: beside a table that keeps all it may, every key answers the
    /// same from each instant on at which a condition can look.
    #[test]
    fn a_sequence_whose_key_was_let_go_early_answers_like_one_that_was_kept() {
        let within = StepPlan { within: Some(Millis(30)), ..StepPlan::default() };
        let (mut early, mut held, mut evicted) = (0, 0, 0);
        for seed in 0..60u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let absence = (seed % 3 == 0).then_some(Millis(9));
            let plan = SequencePlan { steps: vec![StepPlan::default(), within], absence, total: None, mark: false, text: String::new() };
            let spec = SequenceSpec { plan, buffer_max: Millis(12) };
            let window = AgeWindow::last(Millis(rng.i64(1..80)));
            let horizon = Some(window.far);
            let lean = KeyedSpec { inner: Spec::Sequence(spec.clone()), horizon };
            let full = KeyedSpec { inner: Spec::Sequence(spec.clone()), horizon: None };
            let (mut one, mut other) = (Keyed::default(), Keyed::default());
            let (mut clock, mut greatest, keys) = (0, i64::MIN, if seed % 2 == 0 { 5 } else { 90 });
            for _ in 0..300 {
                clock += rng.i64(0..4);
                let ts = if rng.u8(0..4) == 0 { clock - rng.i64(0..20) } else { clock };
                let in_order = ts >= greatest;
                greatest = greatest.max(ts);
                let now = Now { clock: Timestamp(clock), greatest: Timestamp(greatest) };
                let (name, mask) = (key(&rng.u32(0..keys).to_string()), rng.u64(1..1 << (2 + u32::from(absence.is_some()))));
                let event = Arrived { ts: Timestamp(ts), mask, in_order, buffer: spec.buffer_max };
                let apply = |keyed: &mut Keyed, with: &KeyedSpec| {
                    let used = keyed.touch(with, &name, now);
                    let State::Sequence(state) = used.state else { panic!("a sequence per key") };
                    state.apply(&spec, event, now);
                    used.forgot
                };
                apply(&mut one, &lean);
                evicted += u32::from(apply(&mut other, &full));
                if rng.bool() {
                    let mut bytes = Vec::new();
                    one.encode(&lean, Timestamp(7), &mut bytes);
                    one.decode(&lean, Timestamp(7), &mut Reader::new(&bytes));
                }
                early += other.len() - one.len();
                for i in 0..other.len() {
                    let verdict = |keyed: &Keyed, i: usize| {
                        let State::Sequence(state) = keyed.state(i) else { panic!("a sequence per key") };
                        state.verdict(&spec, window, None, Timestamp(greatest))
                    };
                    let want = verdict(&other, i);
                    let got = (0..one.len()).find(|at| one.key(*at) == other.key(i));
                    assert_eq!(got.map_or(Verdict::fixed(false), |at| verdict(&one, at)), want, "seed {seed}");
                    held += u32::from(want.holds);
                }
                assert!((0..one.len()).all(|i| (0..other.len()).any(|at| one.key(i) == other.key(at))), "seed {seed}");
            }
        }
        assert!(early > 3_000 && held > 3_000 && evicted > 100, "{early} {held} {evicted}");
    }
}
