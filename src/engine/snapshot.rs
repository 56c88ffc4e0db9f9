//! The whole state as bytes and back, and its digest.
//!
//! A customer's bytes are stored as they are, so saving copies and the digest hashes; only what is durable is hashed, so that how often a
//! customer was looked at does not show.

use std::sync::Arc;

use super::features::codec::{Reader, put_blob, put_i64, put_u64};
use super::{Engine, Settings};
use crate::plan::Plan;
use crate::plan::node::UnitKind;
use crate::time::Timestamp;

/// First bytes of a saved engine: name and version of the form.
const MAGIC: &[u8; 8] = b"segmeng2";

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
        let (mut tidied, mut temporary, mut again) = (Vec::new(), Vec::new(), super::customer::Customer::default());
        let mut sum = xxhash_rust::xxh3::xxh3_128(&self.clock.0.to_le_bytes());
        for slot in self.store.iter() {
            let (id, bytes) = (self.store.id(slot), self.store.get(slot));
            assert!(work.take(slot, id, bytes), "state of customer {id:?} does not read back");
            // As if tidied up at the clock: when that is really done depends on wake-ups.
            work.tidy(&self.program, self.clock);
            tidied.clear();
            work.encode(&self.program, &mut tidied, &mut temporary);
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
        out.extend_from_slice(&self.program.plan.workspace().hash.0);
        put_i64(out, self.clock.0);
        put_u64(out, self.store.len() as u64);
        for slot in self.store.iter() {
            put_blob(out, self.store.id(slot).as_bytes());
            put_blob(out, self.store.get(slot));
        }
        let sum = xxhash_rust::xxh3::xxh3_64(&out[start..]);
        out.extend_from_slice(&sum.to_le_bytes());
    }

    /// The engine that [`Engine::save`] wrote.
    ///
    /// **Errors:** [`LoadError::Version`] where version or definitions differ, [`LoadError::Damaged`] where the checksum or the form does not hold.
    pub fn load(plan: Arc<Plan>, settings: Settings, bytes: &[u8]) -> Result<Engine, LoadError> {
        let damaged = |at: usize| LoadError::Damaged { at };
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or(damaged(bytes.len()))?;
        let rest = body.strip_prefix(MAGIC).ok_or(LoadError::Version)?;
        if xxhash_rust::xxh3::xxh3_64(body) != u64::from_le_bytes(*sum) {
            return Err(damaged(body.len()));
        }
        let rest = rest.strip_prefix(&plan.workspace().hash.0).ok_or(LoadError::Version)?;
        let mut engine = Engine::new(plan, settings);
        let mut r = Reader::new(rest);
        engine.clock = Timestamp(r.i64());
        let offset = bytes.len() - 8 - rest.len();
        for _ in 0..r.count(2) {
            let at = offset + r.position();
            let id = std::str::from_utf8(r.blob()).map_err(|_| damaged(at))?;
            let blob = r.blob();
            let hash = super::batch::customer_hash(id);
            if !engine.work.take(0, id, blob) || engine.store.find(hash, id).is_some() {
                return Err(damaged(at));
            }
            let customer = &engine.work.customer;
            let (units, features) = (engine.program.plan.units.len(), engine.program.specs.len());
            let known = customer.units.iter().map(|e| e.unit).chain(customer.deadlines.iter().map(|d| d.0)).all(|u| (u as usize) < units)
                && customer.features.iter().all(|f| (f.feature as usize) < features);
            if !known {
                return Err(damaged(at));
            }
            let slot = engine.store.insert(hash, id, blob);
            if customer.armed != Timestamp::MAX {
                engine.timers.arm(customer.armed, slot);
                engine.armed += 1;
            }
            for entry in customer.units.iter().filter(|e| e.member) {
                if let UnitKind::Segment(segment) = &engine.program.plan.units[entry.unit as usize].kind {
                    engine.members[segment.definition.at()] += 1;
                }
            }
        }
        if r.failed() || !r.done() {
            return Err(damaged(offset + r.position()));
        }
        Ok(engine)
    }
}
