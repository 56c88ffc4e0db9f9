//! Counts and sums `ever`: two numbers, never a timer.

use super::codec::{Reader, put_i128, put_u64};
use super::window::{Ratio, Reading, Verdict, satisfies};
use crate::lang::definition::Rel;
pub use crate::plan::feature::Quantity;
use crate::time::Timestamp;

/// A sum as a 64-bit number, and whether it had to be cut (LANGUAGE.md case 96: saturates with metric).
pub fn clamp_sum(sum: i128) -> (i64, bool) {
    match i64::try_from(sum) {
        Ok(sum) => (sum, false),
        Err(_) => (if sum > 0 { i64::MAX } else { i64::MIN }, true),
    }
}

/// Count and sum of all values so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    pub count: u64,
    pub sum: i128,
}

impl Counter {
    /// Adds one entry; a count without property passes 0. Always changes something.
    pub fn insert(&mut self, value: i64) {
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(i128::from(value));
    }

    /// **Shape:** count, sum and average; of the others a counter knows nothing and says missing.
    pub fn value(&self, quantity: Quantity) -> Option<Ratio> {
        match quantity {
            Quantity::Count => Some(Ratio::whole(i128::from(self.count))),
            Quantity::Sum => Some(Ratio::whole(self.sum)),
            Quantity::Avg => (self.count > 0).then_some(Ratio { num: self.sum, den: i128::from(self.count) }),
            Quantity::Min | Quantity::Max | Quantity::Distinct => None,
        }
    }

    pub fn read(&self, quantity: Quantity) -> Reading {
        Reading { value: self.value(quantity), next: Timestamp::MAX, approx: false }
    }

    /// A comparison with a missing value is false.
    pub fn compare(&self, quantity: Quantity, rel: Rel, with: Ratio) -> Verdict {
        Verdict::fixed(self.value(quantity).is_some_and(|v| satisfies(v.compare(with), rel)))
    }

    /// `sum`: whether some condition needs it; the same for encoding and decoding.
    pub fn encode(&self, sum: bool, out: &mut Vec<u8>) {
        put_u64(out, self.count);
        if sum {
            put_i128(out, self.sum);
        }
    }

    pub fn decode(sum: bool, reader: &mut Reader<'_>) -> Counter {
        Counter { count: reader.u64(), sum: if sum { reader.i128() } else { 0 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_exact_and_nothing_is_missing() {
        let mut c = Counter::default();
        assert_eq!(c.value(Quantity::Sum), Some(Ratio::whole(0)));
        assert!(!c.compare(Quantity::Avg, Rel::Ge, Ratio::whole(0)).holds);
        for v in [1, 1, 2] {
            c.insert(v);
        }
        assert!(c.compare(Quantity::Avg, Rel::Eq, Ratio { num: 4, den: 3 }).holds);
        assert!(!c.compare(Quantity::Avg, Rel::Gt, Ratio { num: 8, den: 6 }).holds);
    }

    #[test]
    fn sums_are_exact_beyond_64_bits_and_clamp_when_shown() {
        let mut c = Counter::default();
        c.insert(i64::MAX);
        c.insert(i64::MAX);
        assert_eq!(clamp_sum(c.sum), (i64::MAX, true));
        c.insert(-i64::MAX);
        assert_eq!(clamp_sum(c.sum), (i64::MAX, false));
        let mut out = Vec::new();
        c.encode(true, &mut out);
        assert_eq!(Counter::decode(true, &mut Reader::new(&out)), c);
    }
}
