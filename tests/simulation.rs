//! The engine against the oracle on random definitions and logs.
//!
//! `cargo test` runs 400 cases, `make test` (and so CI) 10,000, always from seed 0 on. `SIMULATION=SEED:CASES cargo test --test simulation`
//! chooses where to begin and how many cases to run; either may be left out. `SIMULATION=20261124:1000000` with `--release` is a night's
//! hunt, `SIMULATION=4711:1` repeats one case. A failure prints its seed, and the case made small as a `.segtest` to paste into
//! `tests/conformance`.

#[path = "common/seeds.rs"]
mod seeds;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use seeds::seeds;
use segmentd::testing::against::{Tally, check_seed};

/// Cases of one run without further word.
const CASES: u64 = 400;

/// Seeds that have found faults. They mean the same cases for as long as the generator makes the same choices.
const FOUND: &[u64] = &[179, 1183, 5574, 101_211, 200_070, 155_411_932_880_064];

/// Checks all seeds on all cores; the first that fails ends it.
fn run(seeds: &[u64]) -> Tally {
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Tally::default());
    let worker = || {
        while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            match check_seed(seed) {
                Ok(one) => *total.lock().expect("no worker panics while it adds") += one,
                Err(difference) => {
                    next.store(seeds.len(), Ordering::Relaxed);
                    panic!("repeat with SIMULATION={seed}:1\n\n{difference}");
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    total.into_inner().expect("no worker panicked")
}

#[test]
fn the_engine_gives_what_the_oracle_gives() {
    let seeds: Vec<u64> = seeds("SIMULATION", CASES).collect();
    let cases = seeds.len() as u64;
    let tally = run(&seeds);
    println!("{tally:?}");
    // A generator that has lost its teeth must not pass unseen.
    if cases >= CASES {
        assert!(tally.changes > cases, "too few changes: {tally:?}");
        assert!(tally.by_timer > cases / 8 && tally.corrections > 0 && tally.dead_letters > 0 && tally.duplicates > 0, "{tally:?}");
    }
}

#[test]
fn seeds_that_found_a_fault_find_none() {
    run(FOUND);
}

/// S9: beyond the entries that are kept exactly, the oldest are merged into buckets of at most 1/64 of the window. No entry leaves early,
/// none more than 1/64 of the window late, and what such a bucket decides is marked.
#[test]
fn merged_entries_leave_at_most_a_sixty_fourth_late() {
    use segmentd::engine::batch::Batch;
    use segmentd::engine::output::Outputs;
    use segmentd::engine::{Engine, Settings};
    use segmentd::model::ChangeKind;
    use segmentd::plan::Plan;
    use segmentd::segtest::script::{EPOCH, RecordBody, RecordStep};
    use segmentd::testing::against::Feed;
    use segmentd::testing::oracle::Oracle;
    use segmentd::time::Millis;
    use std::sync::Arc;

    const WINDOW: i64 = 6_400_000;
    let text = "event a { n int }\nsegment s { when sum(a.n) in last 1h46m40s >= 60 }\n";
    let compiled = segmentd::lang::compile(&[segmentd::lang::SourceFile::new("s.seg", text)]);
    let workspace = Arc::new(compiled.workspace.expect("it compiles"));
    let plan = Arc::new(Plan::compile(workspace.clone()));
    let (mut exits, mut late, mut approx) = (0, 0, 0);
    for seed in 0..16 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let settings = Settings { exact_entries: 8, ..Settings::default() };
        let (mut feed, mut engine) = (Feed::new(&plan), Engine::new(plan.clone(), settings.clone()));
        let mut oracle = Oracle::new(workspace.clone(), plan.schema().clone(), settings);
        let (mut got, mut want, mut batch) = (Outputs::default(), Outputs::default(), Batch::default());
        let mut now = EPOCH;
        for _ in 0..200 {
            now = now + Millis(rng.i64(0..200_000));
            let body = RecordBody::Event { name: "a".into(), properties: format!("{{\"n\":{}}}", rng.u8(0..4)) };
            feed.push(&RecordStep { at: now, customer: "c".into(), ts: None, id: None, body }, &mut batch);
        }
        let end = Some(now + Millis(3 * WINDOW));
        engine.apply(&batch, end, &mut got);
        oracle.apply(&batch, end, &mut want);
        // The sum only rises by records and falls by time, and the last exit is by time in both.
        let last = |o: &Outputs| {
            let exits = o.changes.iter().filter(|p| p.change.kind == ChangeKind::Exited);
            exits.map(|p| (p.change.since, p.change.approx)).next_back()
        };
        let (Some((got, marked)), Some((want, _))) = (last(&got), last(&want)) else { continue };
        assert!(got >= want, "seed {seed}: left early, at {got} and not {want}");
        assert!((got - want).0 <= WINDOW / 64, "seed {seed}: left {} late", got - want);
        assert!(marked || got == want, "seed {seed}: off by {} and not marked", got - want);
        exits += 1;
        late += u32::from(got > want);
        approx += u32::from(marked);
    }
    println!("{exits} exits, {late} late, {approx} marked");
    assert!(exits > 8 && approx > 0, "{exits} exits, {approx} marked: the test looks at nothing");
}
