//! Changes of definitions in the middle of random logs (LANGUAGE.md S38, S39).
//!
//! `ACTIVATION=SEED:CASES cargo test --test activation` chooses where to begin and how many cases to run.

#[path = "common/seeds.rs"]
mod seeds;

use seeds::seeds;
use segmentd::testing::activation::{Tally, check_seed};

/// Cases of one run without further word.
const CASES: u64 = 150;

#[test]
fn a_set_that_comes_later_knows_nothing_that_is_not_so() {
    let seeds = seeds("ACTIVATION", CASES);
    let mut tally = Tally::default();
    for seed in seeds.clone() {
        match check_seed(seed) {
            Ok(one) => tally += one,
            Err(difference) => panic!("repeat with ACTIVATION={seed}:1\n\n{difference}"),
        }
    }
    println!("{tally:?}");
    let cases = seeds.end - seeds.start;
    if cases >= CASES {
        assert!(
            tally.activations > cases / 4 && tally.published > cases / 12 && tally.known > cases && tally.unknown > cases / 8,
            "{tally:?}"
        );
    }
}
