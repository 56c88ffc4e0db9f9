//! A snapshot and what came after it equal the live state, at every cut; damaged bytes are refused and never believed.
//!
//! `RESTORE=SEED:CASES` as `SIMULATION` in `tests/simulation.rs`.

#[path = "common/seeds.rs"]
mod seeds;

use std::sync::Arc;

use seeds::seeds;
use segmentd::engine::batch::Batch;
use segmentd::engine::output::{Outputs, Published};
use segmentd::engine::{Engine, Settings};
use segmentd::plan::Plan;
use segmentd::testing::against::{Feed, compile};
use segmentd::testing::scenario::{Scenario, Step};
use segmentd::time::Timestamp;

const CASES: u64 = 60;

struct Entry {
    batch: Batch,
    idle_until: Option<Timestamp>,
    changes: Vec<Published>,
    digest: u128,
    saved: Vec<u8>,
}

/// Runs a scenario live and keeps after each batch what a snapshot would hold.
fn live(scenario: &Scenario) -> (Arc<Plan>, Vec<Entry>) {
    let plan = Arc::new(Plan::compile(compile(scenario).unwrap_or_else(|e| panic!("seed {}: {e}", scenario.seed))));
    let (mut feed, mut engine) = (Feed::new(&plan), Engine::new(plan.clone(), Settings::default()));
    let mut entries: Vec<Entry> = Vec::new();
    let mut batch = Batch::default();
    for step in &scenario.steps {
        let idle_until = match step {
            Step::Record(record) => {
                feed.push(record, &mut batch);
                // Some batches have one record, some two.
                if batch.records.len() < 2 && record.customer == "c1" {
                    continue;
                }
                None
            }
            Step::Clock(t) => Some(*t),
            Step::Cut(_) => continue,
        };
        let (mut outputs, batch) = (Outputs::default(), std::mem::take(&mut batch));
        engine.apply(&batch, idle_until, &mut outputs);
        let mut saved = Vec::new();
        engine.save(&mut saved);
        entries.push(Entry { batch, idle_until, changes: outputs.changes, digest: engine.digest(), saved });
    }
    (plan, entries)
}

#[test]
fn a_snapshot_at_every_cut_goes_on_as_the_live_engine() {
    for seed in seeds("RESTORE", CASES) {
        let (plan, entries) = live(&Scenario::generate(seed));
        for (cut, from) in entries.iter().enumerate() {
            let place = format!("RESTORE={seed}:1, cut after batch {}", cut + 1);
            let mut engine = Engine::load(plan.clone(), Settings::default(), &from.saved).unwrap_or_else(|e| panic!("{place}: {e}"));
            assert_eq!(engine.digest(), from.digest, "{place}: digest after loading");
            for (i, entry) in entries.iter().enumerate().skip(cut + 1) {
                let mut outputs = Outputs::default();
                engine.apply(&entry.batch, entry.idle_until, &mut outputs);
                assert_eq!(outputs.changes, entry.changes, "{place}: changes of batch {}", i + 1);
                assert_eq!(engine.digest(), entry.digest, "{place}: digest after batch {}", i + 1);
            }
            let mut again = Vec::new();
            engine.save(&mut again);
            assert_eq!(again, entries.last().expect("at least this one").saved, "{place}: the same state is saved in other bytes");
        }
    }
}

#[test]
fn the_same_log_gives_the_same_engine_twice() {
    for seed in 0..20 {
        let scenario = Scenario::generate(seed);
        let ((_, one), (_, two)) = (live(&scenario), live(&scenario));
        for (a, b) in one.iter().zip(&two) {
            assert!(a.saved == b.saved && a.changes == b.changes && a.digest == b.digest, "seed {seed}");
        }
    }
}

#[test]
fn damaged_bytes_are_refused() {
    let mut refused = 0;
    for seed in 0..10 {
        let (plan, entries) = live(&Scenario::generate(seed));
        let Some(last) = entries.last() else { continue };
        for length in 0..last.saved.len() {
            assert!(
                Engine::load(plan.clone(), Settings::default(), &last.saved[..length]).is_err(),
                "seed {seed}: cut off after {length} of {} bytes",
                last.saved.len()
            );
            refused += 1;
        }
        // A flipped bit may pass where it changes a value only; it must not panic. Snapshots carry a checksum of their own.
        for at in 0..last.saved.len() {
            let mut bytes = last.saved.clone();
            bytes[at] ^= 1 << (at % 8);
            let _ = Engine::load(plan.clone(), Settings::default(), &bytes);
        }
    }
    assert!(refused > 0);
}
