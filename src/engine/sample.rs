//! A copy of some customers, to try things on.

use super::store::CHUNKS;
use super::{Engine, customer};
use crate::time::Timestamp;

impl Engine {
    /// An engine of the same set and clock with copies of about `most` of the customers, chosen by their hash and thus at random; all where
    /// there are fewer. Members are not counted in it. `None` while a change of definitions is under way, for then the customers' states are of
    /// two sets.
    ///
    /// **Cost:** linear in the sample; what it is taken from is not touched.
    pub fn sample(&self, most: usize) -> Option<Engine> {
        if self.is_activating() {
            return None;
        }
        let mut copy = Engine::new(self.program.plan.clone(), self.program.settings.clone());
        copy.clock = self.clock;
        copy.generation = self.generation;
        copy.lacking.clone_from(&self.lacking);
        for chunk in 0..CHUNKS {
            if copy.customers() >= most {
                break;
            }
            for (hash, slot) in self.store.chunk_backwards(chunk) {
                let bytes = self.store.get(slot);
                let deadline = customer::armed(bytes);
                let slot = copy.store.insert(hash, self.store.id(slot), bytes);
                if deadline != Timestamp::MAX {
                    copy.timers.arm(deadline, slot);
                    copy.armed += 1;
                }
            }
        }
        Some(copy)
    }
}
