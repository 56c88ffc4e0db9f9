//! The engine against the oracle on random definitions and logs.
//!
//! `SIMULATION=SEED:CASES cargo test --test simulation` chooses where to begin and how many cases to run (either may be left out:
//! `SIMULATION=:100000` with `--release` is a night's hunt, `SIMULATION=4711:1` repeats one case). A failure prints its seed, and the
//! case made small as a `.segtest` to paste into `tests/conformance`.

use segmentd::testing::against::{Tally, check_seed};

/// Cases of one run without further word.
const CASES: u64 = 400;

fn wanted() -> (u64, u64) {
    let text = std::env::var("SIMULATION").unwrap_or_default();
    let (seed, cases) = text.split_once(':').unwrap_or((&text, ""));
    // Without a seed each run looks elsewhere; the seed of a failure is printed.
    let seed = if seed.is_empty() { fastrand::u64(..1 << 48) } else { seed.parse().expect("SIMULATION=SEED:CASES, a number") };
    let cases = if cases.is_empty() { CASES } else { cases.parse().expect("SIMULATION=SEED:CASES, a number") };
    (seed, cases)
}

#[test]
fn the_engine_gives_what_the_oracle_gives() {
    let (first, cases) = wanted();
    println!("SIMULATION={first}:{cases}");
    let mut tally = Tally::default();
    for seed in first..first + cases {
        match check_seed(seed) {
            Ok(one) => tally += one,
            Err(difference) => panic!("repeat with SIMULATION={seed}:1\n\n{difference}"),
        }
    }
    println!("{tally:?}");
    // A generator that has lost its teeth must not pass unseen.
    if cases >= CASES {
        assert!(tally.changes > cases, "too few changes: {tally:?}");
        assert!(tally.by_timer > cases / 8 && tally.corrections > 0 && tally.dead_letters > 0 && tally.duplicates > 0, "{tally:?}");
    }
}
