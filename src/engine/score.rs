//! Scores that halve: contributions decay with a half-life, a cap bounds them, a reset clears them (LANGUAGE.md S34, R18, R37).
//!
//! `S(t) = value * 2^-((t - at) / half_life)`. A contribution moves `at` to its own `ts`; a late one is decayed from its own `ts` to `at`.
//! All of it in IEEE doubles with additions, multiplications, divisions and bit operations only: the platform's mathematics is not asked,
//! so that every replica gets the same bits. What a caller may rely on: a whole number of half-lives divides by a power of two exactly.
//!
//! *Example:* 16 at 0 with a half-life of 2d is exactly 8.0 at 2d, and first below 8 one millisecond later.

use std::cmp::Ordering;

use super::features::codec::{Reader, put_fixed64, put_instant};
use super::features::window::{Verdict, satisfies};
use crate::lang::definition::Rel;
use crate::time::{Millis, Timestamp};

/// Half-lives after which any double has decayed to zero: 1,024 down from the largest and 1,075 more to below the smallest.
const HALF_LIVES_TO_ZERO: i64 = 2_100;

/// The same for every customer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScorePlan {
    /// Positive.
    pub half_life: Millis,
    /// An upper bound, applied at each contribution.
    pub cap: Option<f64>,
}

/// A customer's score.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// At `at`; 0 where nothing counts yet.
    value: f64,
    at: Timestamp,
    /// The greatest `ts` of a reset: contributions before it are dropped.
    last_reset: Option<Timestamp>,
}

/// Millionths as a double: the nearest one.
pub fn decimal_to_f64(millionths: i64) -> f64 {
    millionths as f64 / 1e6
}

impl Score {
    /// Adds the points of one event at its own `ts`; those of several rules are added up before. Returns false where the event is older than
    /// the last reset.
    pub fn add(&mut self, plan: &ScorePlan, ts: Timestamp, points: f64) -> bool {
        if self.last_reset.is_some_and(|reset| ts < reset) {
            return false;
        }
        if self.value == 0.0 {
            (self.value, self.at) = (points, ts);
        } else if ts >= self.at {
            (self.value, self.at) = (self.value_at(plan, ts) + points, ts);
        } else {
            self.value += decayed(points, self.at - ts, plan.half_life);
        }
        if let Some(cap) = plan.cap
            && self.value > cap
        {
            self.value = cap;
        }
        true
    }

    /// Clears the score, a late reset as well. Returns whether anything changed.
    pub fn reset(&mut self, ts: Timestamp) -> bool {
        let before = *self;
        self.last_reset = Some(self.last_reset.map_or(ts, |reset| reset.max(ts)));
        self.value = 0.0;
        self.at = Timestamp::default();
        *self != before
    }

    /// The greatest `ts` of a reset.
    pub fn last_reset(&self) -> Option<Timestamp> {
        self.last_reset
    }

    /// The score at an instant; not before `at` it is what it was at `at`.
    pub fn value_at(&self, plan: &ScorePlan, t: Timestamp) -> f64 {
        decayed(self.value, t - self.at, plan.half_life)
    }

    /// Compares the score with a threshold. `until` is the first millisecond at which [`value_at`](Self::value_at) makes the comparison turn; for `=`
    /// the first at which the order of the two changes.
    ///
    /// **Cost:** one logarithm and about four evaluations, on the per-event path; some fifty where the threshold is 0.
    pub fn compare(&self, plan: &ScorePlan, t: Timestamp, rel: Rel, threshold: f64) -> Verdict {
        let order = |t: Timestamp| self.value_at(plan, t).partial_cmp(&threshold).unwrap_or(Ordering::Less);
        let now = order(t);
        let holds = satisfies(now, rel);
        let turned = |order: Ordering| if rel == Rel::Eq { order != now } else { satisfies(order, rel) != holds };
        // The score only moves towards 0, so whether it has turned is monotone, and what it is at 0 tells whether it ever does.
        if self.value == 0.0 || !turned(0.0f64.partial_cmp(&threshold).unwrap_or(Ordering::Less)) {
            return Verdict::fixed(holds);
        }
        let end = self.at.max(t) + Millis(plan.half_life.0.saturating_mul(HALF_LIVES_TO_ZERO));
        Verdict { holds, until: first(t, end, self.guess(plan, threshold), |t| turned(order(t))), approx: false }
    }

    /// About when the score meets the threshold.
    fn guess(&self, plan: &ScorePlan, threshold: f64) -> Option<Timestamp> {
        let ratio = self.value / threshold;
        (ratio.is_finite() && ratio >= 1.0).then(|| self.at + Millis((log2(ratio) * plan.half_life.0 as f64) as i64))
    }

    pub fn encode(&self, base: Timestamp, out: &mut Vec<u8>) {
        out.push(u8::from(self.value != 0.0) | u8::from(self.last_reset.is_some()) << 1);
        if self.value != 0.0 {
            put_fixed64(out, self.value.to_bits());
            put_instant(out, base, self.at);
        }
        if let Some(reset) = self.last_reset {
            put_instant(out, base, reset);
        }
    }

    pub fn decode(base: Timestamp, reader: &mut Reader<'_>) -> Score {
        let has = reader.byte();
        let mut score = Score::default();
        if has & 1 != 0 {
            score.value = f64::from_bits(reader.fixed64());
            score.at = reader.instant(base);
        }
        if has & 2 != 0 {
            score.last_reset = Some(reader.instant(base));
        }
        score
    }
}

/// The first instant in `(from, end]` at which `turned`, which is false at `from` and monotone; never where it is not true at `end`.
pub fn first(from: Timestamp, end: Timestamp, guess: Option<Timestamp>, turned: impl Fn(Timestamp) -> bool) -> Timestamp {
    let (mut low, mut high) = (from.0, end.0);
    if let Some(guess) = guess.map(|g| g.0.saturating_add(1)).filter(|g| *g > low && *g < high) {
        // The guess is good to a millisecond or so: close in on it from both sides with growing steps.
        if turned(Timestamp(guess)) {
            high = guess;
            let mut step = 1;
            while high.saturating_sub(step) > low {
                if !turned(Timestamp(high - step)) {
                    low = high - step;
                    break;
                }
                high -= step;
                step *= 4;
            }
        } else {
            low = guess;
            let mut step = 1;
            while low.saturating_add(step) < high {
                if turned(Timestamp(low + step)) {
                    high = low + step;
                    break;
                }
                low += step;
                step *= 4;
            }
        }
    }
    if !turned(Timestamp(high)) {
        return Timestamp::MAX;
    }
    while i128::from(high) - i128::from(low) > 1 {
        let middle = low.midpoint(high);
        if turned(Timestamp(middle)) { high = middle } else { low = middle }
    }
    Timestamp(high)
}

/// `points * 2^-(age / half_life)`; ages below 0 count as 0.
pub fn decayed(points: f64, age: Millis, half_life: Millis) -> f64 {
    if age.0 <= 0 || half_life.0 <= 0 || points == 0.0 {
        return points;
    }
    let whole = age.0 / half_life.0;
    let fraction = (age.0 % half_life.0) as f64 / half_life.0 as f64;
    scale(points * exp2_minus(fraction), whole)
}

/// `x * 2^-n`, exact but where the result is subnormal.
fn scale(mut x: f64, mut n: i64) -> f64 {
    const STEP: i64 = 1_000;
    while n > STEP {
        if x == 0.0 || n > HALF_LIVES_TO_ZERO + STEP {
            return 0.0;
        }
        x *= f64::from_bits(((1_023 - STEP) as u64) << 52);
        n -= STEP;
    }
    x * f64::from_bits(((1_023 - n) as u64) << 52)
}

/// `2^-x` for x in [0, 1), within one unit in the last place.
///
/// From the nearest 64th by table, the rest by the exponential's series: |r ln 2| is at most 0.0055, so the term after the sixth is below 1e-19.
fn exp2_minus(x: f64) -> f64 {
    let nearest = (x * 64.0 + 0.5) as usize;
    let r = x - nearest as f64 / 64.0;
    let y = r * -std::f64::consts::LN_2;
    let series = y * (1.0 + y * (1.0 / 2.0 + y * (1.0 / 6.0 + y * (1.0 / 24.0 + y * (1.0 / 120.0 + y / 720.0)))));
    let table = f64::from_bits(SIXTY_FOURTHS[nearest]);
    table + table * series
}

/// The logarithm to base 2 of a finite x >= 1, good to about 1e-15 of itself: a guess that is then corrected.
pub fn log2(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1_023;
    let mut m = f64::from_bits(bits & ((1 << 52) - 1) | 1_023 << 52);
    if m > std::f64::consts::SQRT_2 {
        m /= 2.0;
        exponent += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), whose argument is at most 0.172.
    let z = (m - 1.0) / (m + 1.0);
    let z2 = z * z;
    let mut series = 0.0;
    for k in (0..11).rev() {
        series = series * z2 + 1.0 / f64::from(2 * k + 1);
    }
    exponent as f64 + 2.0 * z * series * std::f64::consts::LOG2_E
}

/// Bits of the doubles nearest to 2^(-i/64), i from 0 to 64.
#[rustfmt::skip]
const SIXTY_FOURTHS: [u64; 65] = [
    0x3FF0_0000_0000_0000, 0x3FEF_A7C1_819E_90D8, 0x3FEF_5076_5B6E_4540, 0x3FEE_FA1B_EE61_5A27, 0x3FEE_A4AF_A2A4_90DA,
    0x3FEE_502E_E78B_3FF6, 0x3FED_FC97_337B_9B5F, 0x3FED_A9E6_03DB_3285, 0x3FED_5818_DCFB_A487, 0x3FED_072D_4A07_897C,
    0x3FEC_B720_DCEF_9069, 0x3FEC_67F1_2E57_D14B, 0x3FEC_199B_DD85_529C, 0x3FEB_CC1E_904B_C1D2, 0x3FEB_7F76_F2FB_5E47,
    0x3FEB_33A2_B84F_15FB, 0x3FEA_E89F_995A_D3AD, 0x3FEA_9E6B_5579_FDBF, 0x3FEA_5503_B23E_255D, 0x3FEA_0C66_7B5D_E565,
    0x3FE9_C491_82A3_F090, 0x3FE9_7D82_9FDE_4E50, 0x3FE9_3737_B0CD_C5E5, 0x3FE8_F1AE_9915_7736, 0x3FE8_ACE5_422A_A0DB,
    0x3FE8_68D9_9B44_92ED, 0x3FE8_2589_994C_CE13, 0x3FE7_E2F3_36CF_4E62, 0x3FE7_A114_73EB_0187, 0x3FE7_5FEB_5642_67C9,
    0x3FE7_1F75_E8EC_5F74, 0x3FE6_DFB2_3C65_1A2F, 0x3FE6_A09E_667F_3BCD, 0x3FE6_6238_8255_2225, 0x3FE6_247E_B03A_5585,
    0x3FE5_E76F_15AD_2148, 0x3FE5_AB07_DD48_5429, 0x3FE5_6F47_36B5_27DA, 0x3FE5_342B_569D_4F82, 0x3FE4_F9B2_769D_2CA7,
    0x3FE4_BFDA_D536_2A27, 0x3FE4_86A2_B5C1_3CD0, 0x3FE4_4E08_6061_892D, 0x3FE4_160A_21F7_2E2A, 0x3FE3_DEA6_4C12_3422,
    0x3FE3_A7DB_34E5_9FF7, 0x3FE3_71A7_373A_A9CB, 0x3FE3_3C08_B264_16FF, 0x3FE3_06FE_0A31_B715, 0x3FE2_D285_A6E4_030B,
    0x3FE2_9E9D_F51F_DEE1, 0x3FE2_6B45_65E2_7CDD, 0x3FE2_387A_6E75_6238, 0x3FE2_063B_8862_8CD6, 0x3FE1_D487_3168_B9AA,
    0x3FE1_A35B_EB6F_CB75, 0x3FE1_72B8_3C7D_517B, 0x3FE1_429A_AEA9_2DE0, 0x3FE1_1301_D012_5B51, 0x3FE0_E3EC_32D3_D1A2,
    0x3FE0_B558_6CF9_890F, 0x3FE0_8745_1875_9BC8, 0x3FE0_59B0_D315_8574, 0x3FE0_2C9A_3E77_8061, 0x3FE0_0000_0000_0000,
];

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const RELS: [Rel; 5] = [Rel::Eq, Rel::Lt, Rel::Le, Rel::Gt, Rel::Ge];

    fn plan(half_life: i64, cap: Option<f64>) -> ScorePlan {
        ScorePlan { half_life: Millis(half_life), cap }
    }

    /// LANGUAGE.md case 57.
    #[test]
    fn sixteen_halves_to_exactly_eight() {
        let plan = plan(2 * DAY, None);
        let mut score = Score::default();
        score.add(&plan, Timestamp(0), 16.0);
        assert_eq!(score.value_at(&plan, Timestamp(2 * DAY)), 8.0);
        let entry = score.compare(&plan, Timestamp(0), Rel::Ge, 15.0);
        assert!(entry.holds);
        assert!(score.value_at(&plan, entry.until) < 15.0 && score.value_at(&plan, entry.until - Millis(1)) >= 15.0);
        let exit = score.compare(&plan, Timestamp(0), Rel::Lt, 8.0);
        assert_eq!((exit.holds, exit.until), (false, Timestamp(2 * DAY + 1)));
        assert_eq!(score.compare(&plan, Timestamp(0), Rel::Le, 8.0).until, Timestamp(2 * DAY));
        assert_eq!(score.compare(&plan, Timestamp(0), Rel::Eq, 8.0).until, Timestamp(2 * DAY));
        assert_eq!(
            score.compare(&plan, Timestamp(2 * DAY), Rel::Eq, 8.0),
            Verdict { holds: true, until: Timestamp(2 * DAY + 1), approx: false }
        );
    }

    /// The platform's mathematics is a witness here, never a source.
    #[test]
    fn powers_and_logarithms_agree_with_the_platform_s() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..200_000 {
            let x = rng.f64();
            let (got, want) = (exp2_minus(x), (-x).exp2());
            assert!((got - want).abs() <= want * 4e-16, "2^-{x}: {got} {want}");
            let x = 1.0 + rng.f64() * 10f64.powi(rng.i32(0..300));
            assert!((log2(x) - x.log2()).abs() <= 4e-15 * x.log2().max(0.5), "log2 {x}");
        }
        assert_eq!(exp2_minus(0.0), 1.0);
        assert_eq!(scale(1.0, 1_074), f64::from_bits(1));
        assert_eq!(scale(1.0, 5_000), 0.0);
        assert_eq!(scale(f64::MAX, 2_000), f64::MAX * 2f64.powi(-1_000) * 2f64.powi(-1_000));
    }

    /// The same bits on every machine: a journal written on one is replayed on another.
    #[test]
    fn the_bits_of_decay_never_change() {
        let bits = (0..100_000i64).fold(0u64, |hash, age| {
            let value = decayed(1.0 + age as f64 / 7.0, Millis(age * 37), Millis(172_800));
            hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ value.to_bits()
        });
        assert_eq!(bits, 2_025_140_906_478_533_300);
    }

    /// The crossing is exact with respect to the evaluation, whatever the guess was.
    #[test]
    fn crossings_are_the_first_millisecond_that_differs() {
        for seed in 0..30_000u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let half_life = rng.i64(1..1 << rng.clone().u32(1..36));
            let plan = plan(half_life, None);
            let mut score = Score::default();
            let size = 10f64.powi(rng.i32(-3..5));
            score.add(&plan, Timestamp(rng.i64(0..1_000)), (rng.f64() - 0.3) * size);
            let threshold = match rng.u8(0..4) {
                0 => score.value / f64::from(1u32 << rng.u32(0..9)),
                1 => 0.0,
                _ => (rng.f64() - 0.3) * size / 3.0,
            };
            let t = score.at + Millis(rng.i64(0..half_life * 3));
            for rel in RELS {
                let got = score.compare(&plan, t, rel, threshold);
                let order = |t: Timestamp| score.value_at(&plan, t).partial_cmp(&threshold);
                let holds = |t: Timestamp| satisfies(score.value_at(&plan, t).partial_cmp(&threshold).expect("numbers"), rel);
                assert_eq!(got.holds, holds(t), "seed {seed}");
                if got.until == Timestamp::MAX {
                    assert_eq!(holds(t + Millis(half_life * 3_000)), got.holds, "seed {seed} {rel:?}");
                    continue;
                }
                assert!(got.until > t);
                if rel == Rel::Eq {
                    assert_ne!(order(got.until), order(t), "seed {seed}");
                } else {
                    assert_ne!(holds(got.until), got.holds, "seed {seed} {rel:?}");
                }
                for back in [1, 2, 5, 100, half_life] {
                    assert_eq!(holds((got.until - Millis(back)).max(t)), got.holds, "seed {seed} {rel:?}");
                }
            }
        }
    }

    #[test]
    fn late_contributions_decay_from_their_own_instant_and_resets_clear() {
        let plan = plan(1_000, Some(60.0));
        let mut score = Score::default();
        assert!(score.add(&plan, Timestamp(5_000), 8.0));
        assert!(score.add(&plan, Timestamp(4_000), 8.0));
        assert_eq!(score.value_at(&plan, Timestamp(5_000)), 12.0);
        assert!(score.add(&plan, Timestamp(6_000), 100.0));
        assert_eq!(score.value_at(&plan, Timestamp(6_000)), 60.0);
        // A late reset clears what came after it as well, and drops what is older still.
        assert!(score.reset(Timestamp(4_500)));
        assert!(!score.reset(Timestamp(4_400)));
        assert!(!score.add(&plan, Timestamp(4_499), 8.0));
        assert_eq!(score.value_at(&plan, Timestamp(9_000)), 0.0);
        assert!(score.add(&plan, Timestamp(4_500), -8.0));
        assert_eq!(score.value_at(&plan, Timestamp(5_500)), -4.0);
        let verdict = score.compare(&plan, Timestamp(4_500), Rel::Lt, -2.0);
        assert_eq!((verdict.holds, verdict.until), (true, Timestamp(6_500)));
        let mut out = Vec::new();
        score.encode(Timestamp(77), &mut out);
        let mut reader = Reader::new(&out);
        assert_eq!(Score::decode(Timestamp(77), &mut reader), score);
        assert!(reader.done());
    }
}
