//! Sequences through the whole engine: what decides them depends on the records and their order alone, never on batches, snapshots,
//! wake-ups or how often a customer was tidied up.

#[path = "common/seeds.rs"]
mod seeds;

use std::sync::Arc;

use seeds::seeds;
use segmentd::engine::batch::Batch;
use segmentd::engine::output::Outputs;
use segmentd::engine::{Engine, Settings};
use segmentd::lang::{SourceFile, compile};
use segmentd::plan::Plan;
use segmentd::segtest::script::{EPOCH, RecordBody, RecordStep};
use segmentd::testing::against::{self, Feed, sort};
use segmentd::testing::scenario::{Scenario, Step};
use segmentd::time::Millis;

const DEFINITIONS: &str = "
event a is activity { n int }
event b is activity { n int  lateness 25m }
event c { n int  lateness 2m }
segment chain    { when sequence(a then b within 10m then c within 20m) in last 30m }
segment total    { when sequence(a[n = 0] then b then c all within 40m) ever }
segment twice    { when sequence(a then a at least 15m later) in last 20m }
segment direct   { when sequence(a then b within 30m without (c | a[n = 1])) between 5m and 40m ago }
segment dropped  { when sequence(a then no b within 15m) in last 1h  exit when any c in last 5m }
segment latched  { when sequence(a then b within 5m then no c within 10m) ever }
segment older    { when sequence(b then no b within 12m) at least 20m ago }
segment dwelling { when sequence(a then no c within 10m) in last 40m for at least 10m }
segment keyed    { when sequence(a then b within 20m without c) per n in last 15m  emit n = key }
segment waiting  { when sequence(a then no b within 15m) per n at least 5m ago }
segment again    { when sequence(b then c within 20m) per n since last a  emit n = key }
segment both     { when in segment dropped and not sequence(b then b within 10m) in last 25m }
";

fn plan() -> Arc<Plan> {
    let compiled = compile(&[SourceFile::new("sequences.seg", DEFINITIONS)]);
    let errors: Vec<_> = compiled.errors().map(|d| d.to_string()).collect();
    Arc::new(Plan::compile(Arc::new(compiled.workspace.unwrap_or_else(|| panic!("{}", errors.join("\n"))))))
}

/// A log of three customers, out of order by up to half an hour, ties included.
fn log(seed: u64) -> Vec<RecordStep> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut now = EPOCH;
    (0..160)
        .map(|i| {
            now = now + Millis(60_000 * rng.i64(0..4));
            let late = [0, 0, 0, rng.i64(0..11), rng.i64(0..31)][rng.usize(0..5)];
            RecordStep {
                at: now,
                customer: format!("c{}", rng.u8(0..3)),
                ts: Some(now - Millis(60_000 * late)),
                id: (rng.u8(0..3) > 0).then(|| format!("e{i}")),
                body: RecordBody::Event {
                    name: ["a", "b", "c"][rng.usize(0..3)].into(),
                    properties: format!("{{\"n\":{}}}", rng.u8(0..2)),
                },
            }
        })
        .collect()
}

#[test]
fn batches_snapshots_and_wake_ups_leave_no_trace() {
    let plan = plan();
    let (mut changes, mut late) = (0, 0);
    let mut entered = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let records = log(seed);
        let end = Some(records.last().expect("records").at + Millis(4 * 3_600_000));
        let run = |step: &mut dyn FnMut(usize, &mut Engine, &mut Outputs), whole: bool| {
            let (mut engine, mut out, mut batch) = (Engine::new(plan.clone(), Settings::default()), Outputs::default(), Batch::default());
            let mut feed = Feed::new(&plan);
            for (i, record) in records.iter().enumerate() {
                feed.push(record, &mut batch);
                if !whole {
                    engine.apply(&batch, None, &mut out);
                    batch.clear();
                    step(i, &mut engine, &mut out);
                }
            }
            engine.apply(&batch, end, &mut out);
            sort(&mut out.changes);
            (engine, out)
        };
        let (single, left) = run(&mut |_, _, _| {}, false);
        let (batched, right) = run(&mut |_, _, _| {}, true);
        let (woken, third) = run(
            &mut |i, engine, out| {
                // Up to just before the next record: what is due fires, and customers whose ids have expired are tidied up.
                let until = records.get(i + 1).map_or(records[i].at, |next| next.at - Millis(1));
                for t in [until - Millis(30_000), until] {
                    engine.apply(&Batch::default(), Some(t), out);
                }
            },
            false,
        );
        let (reloaded, fourth) = run(
            &mut |_, engine, _| {
                let mut bytes = Vec::new();
                engine.save(&mut bytes);
                *engine = Engine::load(plan.clone(), Settings::default(), &bytes).expect("its own bytes");
            },
            false,
        );
        for (way, engine, out) in [("batched", batched, &right), ("woken", woken, &third), ("reloaded", reloaded, &fourth)] {
            assert_eq!(out.changes, left.changes, "seed {seed}, {way}");
            assert_eq!(engine.digest(), single.digest(), "seed {seed}, {way}");
            assert_eq!(out.counts.sequence_late_ignored, left.counts.sequence_late_ignored, "seed {seed}, {way}");
        }
        changes += left.changes.len();
        late += left.counts.sequence_late_ignored;
        entered.extend(left.changes.iter().map(|p| p.change.segment.to_string()));
    }
    assert!(changes > 2_000 && late > 500, "{changes} changes, {late} late: the log looks at nothing");
    let segments = plan.workspace().definitions.len();
    assert_eq!(entered.len(), segments, "some segment is never entered: {entered:?}");
}

#[test]
fn more_events_than_are_buffered_are_counted() {
    let plan = plan();
    let (mut engine, mut out, mut batch) = (Engine::new(plan.clone(), Settings::default()), Outputs::default(), Batch::default());
    let mut feed = Feed::new(&plan);
    for i in 0..300 {
        let body = RecordBody::Event { name: "a".into(), properties: "{\"n\":1}".into() };
        feed.push(&RecordStep { at: EPOCH + Millis(i), customer: "c".into(), ts: None, id: None, body }, &mut batch);
    }
    engine.apply(&batch, None, &mut out);
    assert_eq!(out.counts.sequence_late_ignored, 0);
    // Sequences that watch `a`: chain, twice, direct, dropped, latched, dwelling, keyed, waiting; `total` asks for another n.
    assert_eq!(out.counts.sequence_overflow, 8 * (300 - 256));
}

/// A sequence in random words over the events of [`DEFINITIONS`].
fn random_sequence(rng: &mut fastrand::Rng) -> String {
    let selector = |rng: &mut fastrand::Rng| {
        ["a", "b", "c", "a[n = 0]", "b[n = 1]", "(a | b)", "(b[n = 0] | c)", "activity"][rng.usize(0..8)].to_string()
    };
    let minutes = |rng: &mut fastrand::Rng, from: i64| rng.i64(from..30);
    let mut text = format!("sequence({}", selector(rng));
    let n = rng.usize(1..4);
    for i in 0..n {
        if i + 1 == n && rng.u8(0..3) == 0 {
            text.push_str(&format!(" then no {} within {}m", selector(rng), minutes(rng, 1)));
            break;
        }
        text.push_str(&format!(" then {}", selector(rng)));
        let later = if rng.u8(0..4) == 0 { minutes(rng, 1) } else { 0 };
        if rng.bool() {
            text.push_str(&format!(" within {}m", later + minutes(rng, 1)));
        }
        if later > 0 {
            text.push_str(&format!(" at least {later}m later"));
        }
        if rng.u8(0..4) == 0 {
            text.push_str(&format!(" without {}", selector(rng)));
        }
    }
    if rng.u8(0..3) == 0 {
        text.push_str(&format!(" all within {}m", minutes(rng, 5)));
    }
    let per = if rng.u8(0..4) == 0 { " per n" } else { "" };
    let near = minutes(rng, 1);
    let window = match rng.u8(0..8) {
        0 => "ever".to_string(),
        1 => format!("at least {near}m ago"),
        2 => format!("between {near}m and {}m ago", near + minutes(rng, 1)),
        3 => "in this session".to_string(),
        4 => format!("since last {}", selector(rng)),
        6 if !per.is_empty() => format!("since last {}", selector(rng)),
        5 => ["in this day", "in last 1 full days", "since 2026-01-05"][rng.usize(0..3)].to_string(),
        _ => format!("in last {near}m"),
    };
    format!("{text}){per} {window}")
}

/// `SEQUENCES=SEED:CASES` looks elsewhere, or longer.
#[test]
fn the_oracle_finds_the_same_completions() {
    let mut changes = 0;
    let seeds = seeds("SEQUENCES", 24);
    let cases = seeds.end - seeds.start;
    for seed in seeds {
        let mut rng = fastrand::Rng::with_seed(seed);
        let catalogue = &DEFINITIONS[..DEFINITIONS.find("segment").expect("segments")];
        let mut text = catalogue.to_string();
        for i in 0..6 {
            let (one, other) = (random_sequence(&mut rng), random_sequence(&mut rng));
            let condition = match rng.u8(0..6) {
                0 => format!("{one} for at least {}m", rng.u8(1..20)),
                1 => format!("{one} and not {other}"),
                2 => format!("{one} or {other}"),
                3 => format!("{one}  exit when {other}"),
                4 if i > 0 => format!("{one} and in segment s{}", i - 1),
                _ => one,
            };
            text.push_str(&format!("segment s{i} {{ when {condition} }}\n"));
        }
        let records = log(seed);
        let end = Step::Clock(records.last().expect("records").at + Millis(3_600_000));
        let steps = records.into_iter().take(60).map(Step::Record).chain([end]).collect();
        let scenario = Scenario { seed, catalogue: text, items: Vec::new(), steps };
        match against::check(&scenario) {
            Ok(tally) => changes += tally.changes,
            Err(difference) => panic!("seed {seed}: {difference}\n\n{scenario}"),
        }
    }
    assert!(changes > 20 * cases, "{changes} changes: the test looks at nothing");
}

/// Case 38, R23: of 65 keys the least recently used one is forgotten, with its completion. (The oracle would take long over so many keys.)
#[test]
fn the_least_recently_used_key_is_forgotten() {
    let mut text = String::from(
        "event a is activity { k int }\nevent b is activity { k int }\nsegment s { when sequence(a then b) per k ever  emit k = key }\n---\n\
         at 0s c1 a {\"k\":0}\nat 1s c1 b {\"k\":0}\nexpect entered s c1 since 1s cause event\n",
    );
    for i in 1..63 {
        text.push_str(&format!("at {}s c1 a {{\"k\":{i}}}\n", i + 1));
    }
    text.push_str(
        "at 20m c1 a {\"k\":63}
         # Too late: key 0 is not used by it.
         at 20m1s c1 b {\"k\":0} ts=2s
         expect nothing
         at 20m2s c1 a {\"k\":64}
         expect exited s c1 since 20m2s cause event
         # Key 1 is used again, though by an event that happened before others, so key 2 is forgotten next.
         at 20m3s c1 a {\"k\":1} ts=20m
         at 20m4s c1 a {\"k\":65}
         at 20m5s c1 b {\"k\":2}
         expect nothing
         at 20m6s c1 b {\"k\":1}
         expect entered s c1 since 20m6s cause event
",
    );
    let report = segmentd::segtest::run_file("keys", &text);
    assert!(report.passed(), "{report}");
}
