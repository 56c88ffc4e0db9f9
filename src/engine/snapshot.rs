//! The whole state as bytes and back, and its digest.
//!
//! A customer's bytes are stored as they are, so saving copies and the digest hashes; only what is durable is hashed, so that how often a
//! customer was looked at does not show.

use std::sync::Arc;

use super::features::codec::{Reader, put_blob, put_fixed64, put_i64, put_u64};
use super::output::ScanCursor;
use super::{Engine, Settings};
use crate::ids::{Edition, SetHash};
use crate::plan::Plan;
use crate::time::Timestamp;

/// First bytes of a saved engine: name and version of the form.
const MAGIC: &[u8; 8] = b"segmeng4";

/// The sets of definitions that a saved engine needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSets {
    pub now: Edition,
    pub before: Option<Edition>,
}

/// Why a saved engine cannot be loaded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LoadError {
    /// Written by another version of the engine, or under other definitions: restore by replay instead.
    #[error("saved state is of another version or of other definitions")]
    Version,
    /// The bytes are no saved state: use an older snapshot.
    #[error("saved state is damaged at byte {at}")]
    Damaged { at: usize },
}

impl Engine {
    /// Hash of the durable state: a sum over customers, so their order does not matter; the clock is in it, what is derived is not.
    ///
    /// **Cost:** reads every customer; not for the per-event path.
    pub fn digest(&self) -> u128 {
        let mut work = super::evaluate::Work::new(&self.program);
        let mut behind = self.activation.as_ref().map(|a| super::evaluate::Work::new(&a.before));
        let (mut tidied, mut temporary, mut again) = (Vec::new(), Vec::new(), super::customer::Customer::default());
        let mut sum = xxhash_rust::xxh3::xxh3_128(&self.clock.0.to_le_bytes());
        for slot in self.store.iter() {
            let (id, bytes) = (self.store.id(slot), self.store.get(slot));
            let program = self.program_of(bytes);
            let work = behind.as_mut().filter(|_| self.is_behind(bytes)).unwrap_or(&mut work);
            assert!(work.take(slot, id, bytes), "state of customer {id:?} does not read back");
            // As if tidied up at the clock: when that is really done depends on wake-ups.
            work.tidy(program, self.clock);
            tidied.clear();
            work.encode(program, &mut tidied, &mut temporary);
            assert!(again.decode(slot, &tidied), "state of customer {id:?} does not read back");
            let mut hasher = xxhash_rust::xxh3::Xxh3::new();
            hasher.update(id.as_bytes());
            hasher.update(&[0x1F]);
            hasher.update(again.span(again.durable));
            sum = sum.wrapping_add(hasher.digest128());
        }
        sum
    }

    /// Appends the whole state, customers ordered by (hash, id).
    pub fn save(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(MAGIC);
        put_edition(out, &self.program.plan);
        put_u64(out, u64::from(self.generation) << 1 | u64::from(self.activation.is_some()));
        if let Some(activation) = &self.activation {
            put_edition(out, &activation.before.plan);
            put_i64(out, activation.at.0);
            put_u64(out, activation.number);
            put_fixed64(out, self.scan_cursor().unwrap_or(ScanCursor { customer_hash: 0 }).customer_hash);
        }
        put_i64(out, self.clock.0);
        put_u64(out, self.lacking.len() as u64);
        for at in &self.lacking {
            put_u64(out, u64::from(at.is_some()));
            if let Some(at) = at {
                put_i64(out, at.0);
            }
        }
        put_u64(out, self.store.len() as u64);
        for slot in self.store.iter() {
            put_blob(out, self.store.id(slot).as_bytes());
            put_blob(out, self.store.get(slot));
        }
        let sum = xxhash_rust::xxh3::xxh3_64(&out[start..]);
        out.extend_from_slice(&sum.to_le_bytes());
    }

    /// Which sets of definitions a saved engine needs to be loaded: the one in force and, where it was saved in the middle of a scan, the one before.
    ///
    /// **Errors:** [`LoadError`]; the checksum is not looked at.
    pub fn sets_of(bytes: &[u8]) -> Result<SavedSets, LoadError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(LoadError::Version)?;
        let mut r = Reader::new(rest);
        let (now, _, before) = read_sets(&mut r);
        if r.failed() {
            return Err(LoadError::Damaged { at: bytes.len() });
        }
        Ok(SavedSets { now, before })
    }

    /// The engine that [`Engine::save`] wrote between scans.
    ///
    /// **Errors:** [`LoadError::Version`] where version or definitions differ, or a scan was under way; [`LoadError::Damaged`] where the checksum
    /// or the form does not hold.
    pub fn load(plan: Arc<Plan>, settings: Settings, bytes: &[u8]) -> Result<Engine, LoadError> {
        Engine::load_during_scan(plan, None, settings, bytes)
    }

    /// The engine that [`Engine::save`] wrote; `before` is the plan of [`SavedSets::before`].
    ///
    /// **Errors:** as [`Engine::load`].
    pub fn load_during_scan(plan: Arc<Plan>, before: Option<Arc<Plan>>, settings: Settings, bytes: &[u8]) -> Result<Engine, LoadError> {
        let damaged = |at: usize| LoadError::Damaged { at };
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or(damaged(bytes.len()))?;
        let rest = body.strip_prefix(MAGIC).ok_or(LoadError::Version)?;
        if xxhash_rust::xxh3::xxh3_64(body) != u64::from_le_bytes(*sum) {
            return Err(damaged(body.len()));
        }
        let mut r = Reader::new(rest);
        let (now, generation, needed) = read_sets(&mut r);
        let before = before.filter(|_| needed.is_some());
        if now != plan.edition() || before.as_ref().map(|plan| plan.edition()) != needed {
            return Err(LoadError::Version);
        }
        let offset = bytes.len() - 8 - rest.len();
        let mut engine = match before {
            None => Engine::new(plan, settings),
            Some(before) => {
                let (at, number) = (Timestamp(r.i64()), r.u64());
                let cursor = ScanCursor { customer_hash: r.fixed64() };
                let mut engine = Engine::new(before, settings);
                engine.begin(plan, at, number).go_on(cursor);
                engine
            }
        };
        engine.generation = generation;
        engine.clock = Timestamp(r.i64());
        let n = r.count(1);
        engine.lacking = (0..n).map(|_| (r.u64() == 1).then(|| Timestamp(r.i64()))).collect();
        if n != engine.program.plan.features.len() {
            return Err(damaged(offset + r.position()));
        }
        for _ in 0..r.count(2) {
            let at = offset + r.position();
            let id = std::str::from_utf8(r.blob()).map_err(|_| damaged(at))?;
            let blob = r.blob();
            let hash = super::batch::customer_hash(id);
            if !engine.work.take(0, id, blob) || engine.store.find(hash, id).is_some() {
                return Err(damaged(at));
            }
            let behind = engine.work.customer.generation != engine.generation;
            if behind && engine.activation.is_none() {
                return Err(damaged(at));
            }
            let customer = &engine.work.customer;
            let program = engine.program_of(blob);
            let (units, features) = (program.plan.units.len(), program.specs.len());
            let known = customer.units.iter().map(|e| e.unit).chain(customer.deadlines.iter().map(|d| d.0)).all(|u| (u as usize) < units)
                && customer
                    .features
                    .iter()
                    .map(|f| f.feature)
                    .chain(customer.gaps.iter().map(|g| g.feature))
                    .all(|f| (f as usize) < features);
            if !known {
                return Err(damaged(at));
            }
            let slot = engine.store.insert(hash, id, blob);
            if engine.work.customer.armed != Timestamp::MAX {
                engine.timers.arm(engine.work.customer.armed, slot);
                engine.armed += 1;
            }
            engine.count(behind);
        }
        if r.failed() || !r.done() {
            return Err(damaged(offset + r.position()));
        }
        Ok(engine)
    }

    /// Counts the memberships of the customer at hand, who may be one whom the scan has not reached.
    fn count(&mut self, behind: bool) {
        let Engine { activation, program, members, work, .. } = self;
        for entry in work.customer.units.iter().filter(|e| e.member) {
            let place = match activation.as_mut().filter(|_| behind) {
                Some(activation) => activation.count(entry.unit),
                None => program.plan.definition_of(entry.unit),
            };
            if let Some(definition) = place {
                members[definition.at()] += 1;
            }
        }
    }
}

fn put_edition(out: &mut Vec<u8>, plan: &Plan) {
    let Edition { set, zones } = plan.edition();
    out.extend_from_slice(&set.0);
    put_blob(out, zones.as_bytes());
}

/// The sets that a saved engine names, and the generation of the one in force.
fn read_sets(r: &mut Reader<'_>) -> (Edition, u8, Option<Edition>) {
    let edition = |r: &mut Reader<'_>| Edition {
        set: SetHash(r.bytes(16).try_into().unwrap_or_default()),
        zones: String::from_utf8_lossy(r.blob()).into(),
    };
    let now = edition(r);
    let head = r.u64();
    let before = (head & 1 == 1).then(|| edition(r));
    (now, (head >> 1 & 1) as u8, before)
}
