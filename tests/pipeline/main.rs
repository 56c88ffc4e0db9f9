//! The shard pipeline in virtual time over a log in memory: processes that die at every call, transactions that abort or end in doubt,
//! rebalances, sleepers, open upstream transactions. Whatever happens, the committed outputs are those of one engine over the journal.
//!
//! Seeds are printed with every failure; `SEED=n cargo test --test pipeline` runs one, `SEEDS=n` as many as one likes.

mod zones;

use std::sync::Arc;

use segmentd::ids::{InputIndex, ShardId};
use segmentd::lang::{self, SourceFile};
use segmentd::pipeline::{Event, InputSettings, Output, Settings};
use segmentd::plan;
use segmentd::testing::broker::Partition;
use segmentd::testing::client::Faults;
use segmentd::testing::cluster::{Cluster, Plan, Planned, Tally};
use segmentd::time::{Millis, Timestamp};

const BEGIN: Timestamp = Timestamp(1_764_000_000_000);

const DEFINITIONS: &str = r#"
workspace { timezone "UTC" currency EUR }
event view  is activity { product string  price money in EUR }
event add   { product_id string  quantity int  price money in EUR }
event buy   { total money in EUR }
trait plan  string
cart { add add  clear buy }
score heat  { half_life 4s  view + 10  add + 30  buy resets  cap 100 }

segment looking   { when any view in last 3s  emit views = count(view) in last 3s }
segment busy      { when at least 3 view in last 2s }
segment idle      { when no view in last 5s and any view ever }
segment hot       { when score(heat) >= 25  exit when score(heat) < 8 }
segment abandoned { when cart is not empty and cart.changed_at at least 2s ago  emit value = cart.value }
segment spender   { when sum(buy.total) in last 10s >= 100 EUR }
segment patient   { when any view in last 4s for at least 1500ms }
segment gold      { when customer.plan = "gold" and in segment looking }
"#;

fn plan() -> Arc<plan::Plan> {
    compiled(DEFINITIONS)
}

fn compiled(text: &str) -> Arc<plan::Plan> {
    let compiled = lang::compile(&[SourceFile::new("pipeline.seg", text.to_string())]);
    let errors: Vec<String> = compiled.errors().map(|d| d.to_string()).collect();
    let workspace = compiled.workspace.unwrap_or_else(|| panic!("does not compile: {}", errors.join("\n")));
    Arc::new(plan::Plan::compile(Arc::new(workspace)))
}

/// Sets of definitions that follow one another: one changed, one gone, one new; then some of it back.
fn later_sets() -> [Arc<plan::Plan>; 3] {
    let one = DEFINITIONS
        .replace("at least 3 view in last 2s", "at least 2 view in last 3s")
        .replace("segment idle      { when no view in last 5s and any view ever }", "segment keen { when any buy in last 8s }");
    let two = one.replace("sum(buy.total) in last 10s >= 100 EUR", "sum(buy.total) in last 20s >= 50 EUR")
        + "segment anybody { when everyone }\n";
    [compiled(&one), compiled(&two), compiled(&DEFINITIONS.replace("any view in last 3s", "any view in last 4s"))]
}

/// Visits of a few customers: events with own ids, some twice, some without sense.
fn records(rng: &mut fastrand::Rng, n: usize, n_inputs: u16, until: Timestamp) -> Vec<Planned> {
    let mut at = BEGIN;
    let mean = ((until - BEGIN).0 / n as i64).max(1);
    let mut out: Vec<Planned> = Vec::new();
    for i in 0..n {
        at = (at + Millis(if rng.u8(..5) == 0 { rng.i64(0..8 * mean) } else { rng.i64(0..mean) })).min(until);
        if i > 0 && rng.u8(..15) == 0 {
            let again = out[rng.usize(..out.len())].clone();
            out.push(Planned { at, ..again });
            continue;
        }
        let customer = format!("c{}", rng.u32(..24));
        let ts = match rng.u8(..4) {
            0 => format!(r#","ts":"{}""#, at - Millis(rng.i64(0..4_000))),
            _ => String::new(),
        };
        let body = match rng.u8(..14) {
            0..=5 => format!(r#""event":"view","properties":{{"product":"p{}","price":"{}.50"}}"#, rng.u8(..9), rng.u8(..50)),
            6..=8 => format!(r#""event":"add","properties":{{"product_id":"p{}","price":"{}"}}"#, rng.u8(..9), rng.u8(1..50)),
            9 | 10 => format!(r#""event":"buy","properties":{{"total":"{}"}}"#, rng.u8(..90)),
            11 => format!(r#""traits":{{"plan":"{}"}}"#, if rng.bool() { "gold" } else { "tin" }),
            12 => r#""event":"buy","properties":{"total":"a lot"}"#.to_string(),
            _ => r#""event":"#.to_string(),
        };
        let value = format!(r#"{{"id":"e{i}","customer":"{customer}"{ts},{body}}}"#);
        let input = InputIndex(rng.u16(..n_inputs));
        out.push(Planned { at, input, customer, value });
    }
    out
}

fn settings(rng: &mut fastrand::Rng, n_inputs: u16, n_shards: u32) -> Settings {
    let inputs = (0..n_inputs).map(|i| InputSettings::json(["clicks", "purchases", "profiles"][i as usize], n_shards)).collect();
    let mut settings = Settings::new("", inputs, plan());
    settings.batch_records = [1, 3, 50, 5_000][rng.usize(..4)];
    settings.engine.output_budget = [300, 4_000, 4 << 20][rng.usize(..3)];
    settings.revoke_budget = Millis([50, 3_000][rng.usize(..2)]);
    settings
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match (number("SEED"), number("SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, n) => 0..n.unwrap_or(default),
    }
}

/// A simulation with its trouble.
fn simulation(seed: u64, trouble: impl FnOnce(&mut fastrand::Rng, &mut Plan)) -> Cluster {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (n_inputs, n_shards) = (rng.u16(1..4), rng.u32(1..4));
    let calm = BEGIN + Millis(rng.i64(5_000..40_000));
    let n = rng.usize(20..400);
    let mut plan = Plan {
        seed,
        n_shards,
        n_instances: 1,
        settings: settings(&mut rng, n_inputs, n_shards),
        sets: Vec::new(),
        upgrade: None,
        news: Millis(0),
        records: records(&mut rng, n, n_inputs, calm),
        calm,
        end: calm + Millis(90_000),
        faults: Faults { latency: Millis(rng.i64(0..20)), ..Faults::default() },
        slow_markers: 0,
        calls_per_death: None,
        sleeps: 0,
        rebalances: 0,
        upstream: 0,
        skew: Millis(0),
    };
    trouble(&mut rng, &mut plan);
    Cluster::new(plan, BEGIN)
}

fn run_all(default: u64, trouble: impl Fn(&mut fastrand::Rng, &mut Plan), also: impl Fn(&Cluster) -> Result<(), String>) -> Tally {
    let mut sum = Tally::default();
    for seed in seeds(default) {
        let begun = std::time::Instant::now();
        let mut cluster = simulation(seed, &trouble);
        let outcome = cluster.run().and_then(|()| cluster.check()).and_then(|tally| also(&cluster).map(|()| tally));
        match outcome {
            Ok(tally) => {
                if std::env::var("STORY").is_ok() {
                    println!("{seed} {:?} {tally:?}", begun.elapsed());
                }
                sum += tally
            }
            Err(why) => {
                let story = &cluster.watch.story;
                let last =
                    story[story.len().saturating_sub(std::env::var("STORY").map_or(60, |n| n.parse().expect("a number")))..].join("\n");
                panic!("{last}\nSEED={seed}: {why}");
            }
        }
    }
    println!("{sum:?}");
    sum
}

fn same_as_pure(cluster: &Cluster) -> Result<(), String> {
    let n_shards = cluster.broker.borrow().n_shards();
    for shard in (0..n_shards).map(ShardId) {
        let (found, pure) = (cluster.changes(shard)?, cluster.pure(shard)?);
        for customer in found.keys().chain(pure.keys()) {
            let (found, pure) = (found.get(customer), pure.get(customer));
            if found != pure {
                return Err(format!("shard {shard}: changes of {customer} are\n{found:#?}\nand should be\n{pure:#?}"));
            }
        }
    }
    Ok(())
}

#[test]
fn without_trouble_the_changes_are_those_of_one_engine_over_the_log() {
    let tally = run_all(
        15,
        |rng, plan| {
            // Several inputs are merged by what was there when; one is a single truth.
            plan.settings.inputs.truncate(1);
            plan.records.iter_mut().for_each(|r| r.input = InputIndex(0));
            plan.n_instances = rng.usize(1..3);
        },
        same_as_pure,
    );
    assert!(tally.changes > 1_000 && tally.by_timer > 500 && tally.dead_letters > 100, "{tally:?}");
}

#[test]
fn with_all_kinds_of_trouble_a_single_log_still_gives_the_same_changes() {
    let tally = run_all(
        25,
        |rng, plan| {
            plan.settings.inputs.truncate(1);
            plan.records.iter_mut().for_each(|r| r.input = InputIndex(0));
            all_trouble(rng, plan);
            plan.upstream = 0;
            plan.skew = Millis(0);
        },
        same_as_pure,
    );
    assert!(tally.deaths > 20 && tally.uncertain > 20 && tally.aborted > 50 && tally.restores > 100 && tally.cursors > 100, "{tally:?}");
}

fn all_trouble(rng: &mut fastrand::Rng, plan: &mut Plan) {
    plan.n_instances = rng.usize(1..4);
    plan.faults = Faults {
        abort: [0, 10, 50][rng.usize(..3)],
        uncertain: [0, 30, 200][rng.usize(..3)],
        lost_answer: [0, 200][rng.usize(..2)],
        slow_fetch: [0, 300][rng.usize(..2)],
        latency: plan.faults.latency,
    };
    plan.slow_markers = [0, 500][rng.usize(..2)];
    plan.calls_per_death = [None, Some(300), Some(3_000), Some(20_000)][rng.usize(..4)];
    plan.sleeps = [0, 1][rng.usize(..2)];
    plan.rebalances = [0, 2, 10][rng.usize(..3)];
    plan.upstream = [0, 5][rng.usize(..2)];
    plan.skew = Millis([0, 9][rng.usize(..2)]);
}

#[test]
fn with_all_kinds_of_trouble_nothing_is_missing_and_nothing_comes_twice() {
    let tally = run_all(40, all_trouble, |_| Ok(()));
    assert!(tally.deaths > 50 && tally.uncertain > 50 && tally.aborted > 100 && tally.restores > 200 && tally.lost > 2, "{tally:?}");
}

/// One short run, and the first life of each process ends at about 150 of its calls, one after the other.
fn deaths_everywhere(n_instances: usize, told_at_once: bool, also: impl Fn(&mut Plan)) -> Tally {
    let short = |dies_at: Option<u64>| {
        let mut cluster = simulation(7, |rng, plan| {
            plan.calm = BEGIN + Millis(1_500);
            plan.end = plan.calm + Millis(25_000);
            plan.records = records(rng, 25, 2, BEGIN + Millis(1_000));
            plan.n_shards = 1;
            plan.n_instances = n_instances;
            plan.faults.latency = Millis(15);
            plan.settings.inputs = vec![InputSettings::json("clicks", 1), InputSettings::json("purchases", 1)];
            plan.settings.batch_records = 10;
            also(plan);
        });
        cluster.dies_once(dies_at);
        cluster.told_at_once = told_at_once;
        cluster
    };
    let mut whole = short(None);
    whole.run().expect("no trouble");
    let calls = whole.calls();
    assert!(calls > 500, "{calls} calls");
    let mut sum = Tally::default();
    for at in (1..calls).step_by((calls / 150) as usize) {
        let mut cluster = short(Some(at));
        sum += cluster.run().and_then(|()| cluster.check()).unwrap_or_else(|why| panic!("death at call {at}: {why}"));
    }
    println!("{sum:?}");
    assert!(sum.deaths > 60, "{sum:?}");
    sum
}

#[test]
fn a_process_that_dies_at_any_single_call_loses_and_repeats_nothing() {
    deaths_everywhere(1, false, |_| ());
}

#[test]
fn another_process_takes_over_at_once_and_ends_what_was_left_open() {
    let tally = deaths_everywhere(2, true, |_| ());
    assert!(tally.ended > 5, "{tally:?}");
}

/// Sets are published at some instants of the time of trouble, and the scan goes a few customers at a time.
fn with_sets(rng: &mut fastrand::Rng, plan: &mut Plan) {
    let span = (plan.calm - BEGIN).0;
    let mut at: Vec<i64> = (0..3).map(|_| rng.i64(0..span)).collect();
    at.sort_unstable();
    plan.sets = at.into_iter().map(|at| BEGIN + Millis(at)).zip(later_sets()).collect();
    plan.news = Millis([0, 40, 3_000][rng.usize(..3)]);
    plan.settings.engine.scan_customers = [1, 2, 5, 512][rng.usize(..4)];
}

#[test]
fn definitions_change_exactly_once_whatever_happens() {
    let trouble = |rng: &mut fastrand::Rng, plan: &mut Plan| {
        all_trouble(rng, plan);
        with_sets(rng, plan);
    };
    let tally = run_all(40, trouble, |_| Ok(()));
    assert!(tally.activations > 60 && tally.scans > 100 && tally.by_definition > 200 && tally.deaths > 50, "{tally:?}");
}

#[test]
fn a_death_at_any_call_of_a_change_of_definitions_loses_and_repeats_nothing() {
    let tally = deaths_everywhere(2, true, |plan| {
        plan.sets = vec![(BEGIN + Millis(700), later_sets()[0].clone())];
        plan.settings.engine.scan_customers = 1;
        plan.settings.engine.output_budget = 300;
    });
    assert!(tally.scans > 500 && tally.by_definition > 50 && tally.ended > 5, "{tally:?}");
}

#[test]
fn a_set_that_cannot_be_had_stops_the_shard_with_its_hash() {
    let mut cluster = small(1, vec![view(100, 0)]);
    cluster.run_until(BEGIN + Millis(1_000)).expect("runs");
    cluster.drain().expect("ends");
    let before = cluster.start_anew_with(later_sets()[0].clone());
    cluster.run_until(BEGIN + Millis(3_000)).expect("the worker goes on");
    let (_, why) = &cluster.watch.stopped[0];
    assert!(why.contains(&before.to_string()) && why.contains("the topic of sets lacks"), "{why}");
}

/// One shard and inputs of one's own making.
fn small(n_inputs: u16, records: Vec<Planned>) -> Cluster {
    simulation(1, |_, plan| {
        plan.n_shards = 1;
        let inputs = (0..n_inputs).map(|i| InputSettings::json(["clicks", "purchases"][i as usize], 1)).collect();
        plan.settings = Settings::new("", inputs, plan.settings.plan.clone());
        plan.records = records;
        plan.calm = BEGIN;
        plan.end = BEGIN + Millis(60_000);
    })
}

fn view(at: i64, input: u16) -> Planned {
    Planned { at: BEGIN + Millis(at), input: InputIndex(input), customer: "c".into(), value: r#"{"customer":"c","event":"view"}"#.into() }
}

fn names(cluster: &Cluster) -> Vec<String> {
    let changes = cluster.changes(ShardId(0)).expect("readable");
    changes.values().flatten().map(|c| format!("{} {}", c.change, c.segment)).collect()
}

#[test]
fn an_open_upstream_transaction_marks_nobody_inactive() {
    let mut cluster = small(1, vec![view(100, 0)]);
    cluster.run_until(BEGIN + Millis(1_000)).expect("runs");
    let upstream = cluster.broker.borrow_mut().begin();
    let value = r#"{"customer":"c","event":"view"}"#;
    cluster.broker.borrow_mut().produce(InputIndex(0), ShardId(0), b"c", value.as_bytes(), Some(upstream));
    // Long after the first visit the customer would be idle, were there not a record that waits.
    cluster.run_until(BEGIN + Millis(20_000)).expect("runs");
    assert_eq!(names(&cluster), ["entered looking"]);
    cluster.broker.borrow_mut().end(upstream, true);
    cluster.run_until(BEGIN + Millis(50_000)).expect("runs");
    cluster.drain().expect("ends");
    let tally = cluster.check().expect("exactly once");
    assert_eq!(tally.records, 2);
    let found = names(&cluster);
    assert!(found.contains(&"entered idle".to_string()), "{found:?}");
    let changes = cluster.changes(ShardId(0)).expect("readable");
    let idle = changes["c"].iter().find(|c| c.segment == "idle").expect("entered");
    // Of the second visit, at its own arrival.
    assert!(idle.since >= BEGIN + Millis(6_000), "{idle:?}");
}

#[test]
fn a_silent_input_holds_nobody_up_and_an_unanswered_question_holds_the_clock() {
    let mut cluster = small(2, vec![view(100, 0), view(2_000, 0), view(4_000, 0)]);
    cluster.run_until(BEGIN + Millis(30_000)).expect("runs");
    cluster.drain().expect("ends");
    let tally = cluster.check().expect("exactly once");
    assert_eq!((tally.records, tally.stopped), (3, 0));
    assert!(names(&cluster).contains(&"entered idle".to_string()));

    let mut deaf = small(2, vec![view(100, 0), view(2_000, 0)]);
    deaf.deafen();
    deaf.run_until(BEGIN + Millis(30_000)).expect("runs");
    assert_eq!(names(&deaf), [] as [&str; 0], "without a proof that the other input is empty nothing is applied");
}

/// Something that is done to the log.
type Harm = Box<dyn FnOnce(&Cluster)>;

/// Runs three visits, does something to the log, and starts again.
fn after(harm: impl FnOnce(&Cluster)) -> Vec<String> {
    let mut cluster = small(2, vec![view(100, 0), view(200, 1), view(2_000, 0)]);
    cluster.run_until(BEGIN + Millis(10_000)).expect("runs");
    cluster.drain().expect("ends");
    cluster.check().expect("exactly once");
    harm(&cluster);
    let published = names(&cluster);
    cluster.run_until(BEGIN + Millis(20_000)).expect("runs");
    assert_eq!(names(&cluster), published, "nothing may be published");
    cluster.watch.stopped.iter().map(|(_, why)| why.clone()).collect()
}

#[test]
fn what_was_read_and_is_gone_stops_the_shard_with_its_range() {
    let input = Partition::Input(InputIndex(0), ShardId(0));
    let journal = Partition::Output(Output::Journal, ShardId(0));
    let cases: Vec<(&str, Harm)> = vec![
        ("", Box::new(|_| {})),
        ("clicks: records 0 to 0 are needed", Box::new(move |c| c.broker.borrow_mut().truncate(input, 1))),
        ("clicks was deleted and created again", Box::new(|c| c.broker.borrow_mut().recreate(InputIndex(0)))),
        ("clicks ends at offset 0, but everything before", Box::new(move |c| c.broker.borrow_mut().empty(input))),
        ("the journal is empty, beside a committed offset of batch", Box::new(move |c| c.broker.borrow_mut().empty(journal))),
        (
            "the journal is empty, beside",
            Box::new(move |c| {
                c.broker.borrow_mut().empty(journal);
                c.broker.borrow_mut().forget_offset(ShardId(0));
            }),
        ),
        // A group that was away for long: the journal alone tells everything.
        ("", Box::new(|c| c.broker.borrow_mut().forget_offset(ShardId(0)))),
        ("hash of the inputs", Box::new(move |c| c.broker.borrow_mut().tamper(input, 1, br#"{"customer":"d","event":"view"}"#))),
        ("is not readable", Box::new(move |c| c.broker.borrow_mut().tamper(journal, 0, b"\xff\xff"))),
    ];
    for (expected, harm) in cases {
        let stopped = after(harm);
        match expected {
            "" => assert_eq!(stopped, [] as [&str; 0]),
            expected => assert!(stopped.len() == 1 && stopped[0].contains(expected), "{stopped:?} should say {expected:?}"),
        }
    }
}

#[test]
fn a_log_that_is_cut_under_a_running_shard_stops_it_with_the_range() {
    let input = Partition::Input(InputIndex(0), ShardId(0));
    let mut cluster = small(1, vec![view(100, 0)]);
    cluster.run_until(BEGIN + Millis(1_000)).expect("runs");
    {
        let mut broker = cluster.broker.borrow_mut();
        for _ in 0..5 {
            broker.produce(InputIndex(0), ShardId(0), b"c", br#"{"customer":"c","event":"view"}"#, None);
        }
        broker.truncate(input, 4);
    }
    cluster.run_until(BEGIN + Millis(20_000)).expect("the worker goes on");
    assert_eq!(names(&cluster), ["entered looking"]);
    let (_, why) = &cluster.watch.stopped[0];
    assert!(why.contains("clicks: records 1 to 3 are gone"), "{why}");
}

#[test]
fn a_cut_input_stops_the_shard_though_another_one_is_busy() {
    let busy = (0..400).map(|i| view(50 * i, 1)).collect();
    let mut cluster = small(2, busy);
    cluster.run_until(BEGIN + Millis(1_000)).expect("runs");
    {
        let mut broker = cluster.broker.borrow_mut();
        for _ in 0..5 {
            broker.produce(InputIndex(0), ShardId(0), b"c", br#"{"customer":"c","event":"view"}"#, None);
        }
        broker.truncate(Partition::Input(InputIndex(0), ShardId(0)), 5);
    }
    cluster.run_until(BEGIN + Millis(3_000)).expect("the worker goes on");
    let (_, why) = &cluster.watch.stopped[0];
    assert!(why.contains("clicks: records 0 to 4 are gone"), "{why}");
}

#[test]
fn a_dead_letter_that_its_topic_would_not_take_goes_without_its_value() {
    let big =
        Planned { value: format!(r#"{{"customer":"c","event":"buy","properties":{{"total":"{}"}}}}"#, "x".repeat(5_000)), ..view(100, 0) };
    let mut cluster = small(1, vec![big]);
    cluster.dead_letter_bytes(1_000);
    cluster.run_until(BEGIN + Millis(2_000)).expect("runs");
    let broker = cluster.broker.borrow();
    let letters = broker.committed(Partition::Output(Output::DeadLetters, ShardId(0)));
    assert_eq!((letters.len(), letters[0].key.as_deref(), letters[0].value.as_deref()), (1, Some(b"c".as_slice()), None));
    let words: Vec<String> =
        letters[0].headers.iter().map(|(_, v)| String::from_utf8_lossy(v.as_deref().unwrap_or_default()).into_owned()).collect();
    assert!(words[1].contains("bytes of key and value are left out") && words[4] == "0", "{words:?}");
}

#[test]
fn a_topic_that_changes_ends_the_worker_with_everything_committed() {
    let mut cluster = small(1, vec![view(100, 0), view(4_990, 0)]);
    cluster.run_until(BEGIN + Millis(5_000)).expect("runs");
    cluster.tell(&Event::TopicChanged { words: "clicks has 12 partitions now".into() });
    let why = cluster.run_until(BEGIN + Millis(6_000)).expect_err("a fault");
    assert!(why.contains("clicks has 12 partitions now"), "{why}");
    let tally = cluster.check().expect("exactly once");
    assert_eq!(tally.records, 2);
}
