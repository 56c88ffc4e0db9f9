//! Changes of definitions in the middle of random logs (LANGUAGE.md S38, S39).
//!
//! `ACTIVATION=SEED:CASES cargo test --test activation` chooses where to begin and how many cases to run.

use segmentd::testing::activation::{Tally, check_seed};

/// Cases of one run without further word.
const CASES: u64 = 150;

#[test]
fn a_set_that_comes_later_knows_nothing_that_is_not_so() {
    let text = std::env::var("ACTIVATION").unwrap_or_default();
    let (seed, cases) = text.split_once(':').unwrap_or((&text, ""));
    let first = if seed.is_empty() { fastrand::u64(..1 << 48) } else { seed.parse().expect("ACTIVATION=SEED:CASES, a number") };
    let cases = if cases.is_empty() { CASES } else { cases.parse().expect("ACTIVATION=SEED:CASES, a number") };
    println!("ACTIVATION={first}:{cases}");
    let mut tally = Tally::default();
    for seed in first..first + cases {
        match check_seed(seed) {
            Ok(one) => tally += one,
            Err(difference) => panic!("repeat with ACTIVATION={seed}:1\n\n{difference}"),
        }
    }
    println!("{tally:?}");
    if cases >= CASES {
        assert!(
            tally.activations > cases / 4 && tally.published > cases / 12 && tally.known > cases && tally.unknown > cases / 8,
            "{tally:?}"
        );
    }
}
