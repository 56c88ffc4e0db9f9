//! How many customers are in two segments at once; for summaries.

use super::Engine;
use super::evaluate::Work;
use crate::ids::DefinitionIndex;

impl Engine {
    /// **Shape:** a square in the order of `of`: at (i, j) the members of both, on the diagonal those of each. While a change of definitions
    /// is under way, customers whom it has not reached are left out.
    ///
    /// **Cost:** reads every customer once; nothing per customer is kept.
    pub fn overlap(&self, of: &[DefinitionIndex]) -> Vec<Vec<u64>> {
        let units: Vec<Option<u32>> = of.iter().map(|d| self.program.plan.unit_of[d.at()]).collect();
        let mut both = vec![vec![0; of.len()]; of.len()];
        let mut work = Work::new(&self.program);
        for slot in self.store.iter() {
            let bytes = self.store.get(slot);
            if self.activation.is_some() && self.is_behind(bytes) || !work.take(slot, self.store.id(slot), bytes) {
                continue;
            }
            let member: Vec<bool> = units.iter().map(|unit| unit.is_some_and(|unit| work.customer.is_member(unit))).collect();
            for (row, _) in both.iter_mut().zip(&member).filter(|(_, is_member)| **is_member) {
                row.iter_mut().zip(&member).for_each(|(count, other)| *count += u64::from(*other));
            }
        }
        both
    }
}
