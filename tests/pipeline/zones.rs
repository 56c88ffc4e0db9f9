//! A build with another time-zone database (LANGUAGE.md S12, case 95): it replays what was decided by the database before, and then adopts its
//! own as a change of definitions. Zones whose clocks are set anew while the simulation runs are made here.

use std::collections::BTreeMap;

use segmentd::model::ZoneDatabase;

use super::*;

/// Half a minute before midnight in Stockholm.
const EVENING: Timestamp = Timestamp(1_764_000_000_000 + 7 * 3_600_000 - 30_000);

/// A zone with one offset until `from`, and another one after it, as `tzfile` (RFC 9636) writes it. **Units:** seconds.
fn tzif(before: i32, from: i64, after: i32) -> Vec<u8> {
    let header = |times: u32, types: u32| {
        let counts = [0, 0, 0, times, types, 4];
        [b"TZif2".as_slice(), &[0; 15], &counts.map(u32::to_be_bytes).concat()].concat()
    };
    let kind = |offset: i32| [offset.to_be_bytes().as_slice(), &[0, 0]].concat();
    let first = [header(0, 1), kind(0), b"LMT\0".to_vec()].concat();
    let second = [header(1, 2), from.to_be_bytes().to_vec(), vec![1], kind(before), kind(after), b"LMT\0".to_vec()].concat();
    let sign = if after < 0 { "" } else { "-" };
    let (h, m, s) = (after.abs() / 3_600, after.abs() / 60 % 60, after.abs() % 60);
    [first, second, format!("\nLMT{sign}{h}:{m:02}:{s:02}\n").into_bytes()].concat()
}

/// The bundled database but for one zone, whose clock differs from `from` on.
fn moved(version: &str, zone: &str, hours: i32, from: Timestamp, seconds: i32) -> &'static ZoneDatabase {
    let own = tzif(3_600 * hours, from.0 / 1_000, 3_600 * hours + seconds);
    let data = |name: &str, data: &[u8]| if name == zone { own.clone() } else { data.to_vec() };
    let zones = ZoneDatabase::bundled().zones().map(|(name, bytes)| (name.to_owned(), data(name, bytes)));
    ZoneDatabase::keep(version, zones).expect("sound")
}

const TODAY: &str = r#"
workspace { timezone "Europe/Stockholm" }
event view is activity { }
segment today { when any view in this day }
segment ever  { when any view ever }
"#;

/// One visit a second after the beginning, half a minute before midnight; and an upgrade.
fn evening(n_instances: usize, upgrade: i64, zones: &'static ZoneDatabase) -> Cluster {
    let mut settings = Settings::new("", vec![InputSettings::json("clicks", 1)], compiled(TODAY));
    settings.engine.scan_customers = 1;
    let records = ["a", "b", "c"].map(|customer| Planned {
        at: EVENING + Millis(1_000),
        input: InputIndex(0),
        customer: customer.into(),
        value: format!(r#"{{"customer":"{customer}","event":"view"}}"#),
    });
    let plan = Plan {
        seed: 5,
        n_shards: 1,
        n_instances,
        settings,
        sets: Vec::new(),
        upgrade: Some((EVENING + Millis(upgrade), zones)),
        news: Millis(0),
        records: records.to_vec(),
        calm: EVENING,
        end: EVENING + Millis(120_000),
        faults: Faults { latency: Millis(7), ..Faults::default() },
        slow_markers: 0,
        calls_per_death: None,
        sleeps: 0,
        rebalances: 0,
        upstream: 0,
        skew: Millis(0),
    };
    Cluster::new(plan, EVENING)
}

/// Seconds after the beginning from which each change of a customer's `today` is true, and its cause.
fn changes(cluster: &Cluster) -> BTreeMap<String, Vec<(String, i64, String)>> {
    let changes = cluster.changes(ShardId(0)).expect("readable");
    let shown = |c: &segmentd::wire::ChangeRecord| (c.change.clone(), (c.since - EVENING).0 / 1_000, c.cause.clone());
    changes.iter().map(|(id, all)| (id.clone(), all.iter().filter(|c| c.segment == "today").map(shown).collect())).collect()
}

#[test]
fn case_95_a_database_that_moves_a_boundary_is_a_change_of_definitions() {
    // (the upgrade, from when on the clock differs, by how much, what comes of it: since, cause)
    let cases: [(i64, i64, i32, &[(&str, std::ops::RangeInclusive<i64>, &str)]); 4] = [
        // Midnight comes 15 s earlier, and that is still ahead: the timer is armed anew.
        (8_000, 12_000, 15, &[("entered", 1..=1, "event"), ("exited", 15..=15, "timer")]),
        // It comes 20 s later: likewise.
        (8_000, 12_000, -20, &[("entered", 1..=1, "event"), ("exited", 50..=50, "timer")]),
        // It should have come before the upgrade: who is in leaves now, for that reason.
        (20_000, 12_000, 15, &[("entered", 1..=1, "event"), ("exited", 20..=25, "definition_changed")]),
        // It has come too early: who is out comes back until the day is over.
        (
            35_000,
            12_000,
            -30,
            &[
                ("entered", 1..=1, "event"),
                ("exited", 30..=30, "timer"),
                ("entered", 35..=42, "definition_changed"),
                ("exited", 60..=60, "timer"),
            ],
        ),
    ];
    for (n, (upgrade, from, seconds, expected)) in cases.into_iter().enumerate() {
        let zones = moved(&format!("299{n}a"), "Europe/Stockholm", 1, EVENING + Millis(from), seconds);
        let mut cluster = evening(1, upgrade, zones);
        cluster.run().unwrap_or_else(|why| panic!("{n}: {why}"));
        let tally = cluster.check().unwrap_or_else(|why| panic!("{n}: {why}"));
        assert_eq!(tally.activations, 1);
        let found = changes(&cluster);
        assert_eq!(found.len(), 3);
        for (customer, found) in found {
            let fits =
                found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| f.0 == e.0 && e.1.contains(&f.1) && f.2 == e.2);
            assert!(fits, "{n}: {customer}: {found:?} should be {expected:?}");
        }
    }
}

#[test]
fn a_death_at_any_call_of_an_upgrade_loses_and_repeats_nothing() {
    let zones = moved("2997a", "Europe/Stockholm", 1, EVENING + Millis(5_000), 22);
    for n_instances in [1, 2] {
        let run = |dies_at: Option<u64>| {
            let mut cluster = evening(n_instances, 9_000, zones);
            cluster.dies_once(dies_at);
            cluster.told_at_once = true;
            cluster.run_until(EVENING + Millis(40_000)).unwrap_or_else(|why| panic!("{dies_at:?}: {why}"));
            let calls = cluster.calls();
            cluster.drain().unwrap_or_else(|why| panic!("{dies_at:?}: {why}"));
            let tally = cluster.check().unwrap_or_else(|why| panic!("{dies_at:?}: {why}"));
            for (customer, found) in changes(&cluster) {
                let exits: Vec<_> = found.iter().skip(1).map(|(kind, _, cause)| (&**kind, &**cause)).collect();
                assert_eq!(exits, [("exited", "definition_changed")], "{dies_at:?}: {customer}: {found:?}");
            }
            (calls, tally)
        };
        let (calls, _) = run(None);
        let mut sum = Tally::default();
        for at in (1..calls.min(1_200)).step_by(4) {
            sum += run(Some(at)).1;
        }
        println!("{calls} calls: {sum:?}");
        assert!(sum.deaths > 100 && sum.activations > 200, "{sum:?}");
    }
}

/// Whatever puts an older build in the place of a newer one, the newest database that has decided stays.
#[test]
fn an_older_build_goes_on_under_the_newer_database() {
    let zones = moved("2996a", "Europe/Stockholm", 1, EVENING + Millis(12_000), 15);
    let mut cluster = evening(1, 8_000, zones);
    cluster.run_until(EVENING + Millis(13_000)).expect("runs");
    cluster.downgrade(compiled(&TODAY.replace("segment ever  {", "segment always {")));
    cluster.run().expect("runs");
    let tally = cluster.check().expect("exactly once");
    // The newer database, then the other set under it.
    assert_eq!(tally.activations, 2);
    for (customer, found) in changes(&cluster) {
        assert_eq!(found[1], ("exited".into(), 15, "timer".into()), "{customer}: {found:?}");
    }
}

const CLOCKS: &str = r#"
workspace { timezone "Asia/Singapore" currency EUR }
event view is activity { product string  price money in EUR }
event add  { product_id string  quantity int  price money in EUR }
event buy  { total money in EUR }
trait plan string
segment minute  { when local.time in 00:01..00:02 and any view ever }
segment after   { when local.time >= 00:01 and local.time < 00:03 and customer.plan is known }
segment today   { when at least 2 view in this day }
segment looking { when any view in last 3s }
"#;

#[test]
fn an_upgrade_in_the_middle_of_all_trouble_loses_and_repeats_nothing() {
    // Midnight in Singapore is at the beginning.
    let zones: Vec<_> = [(5_000, 50), (9_000, 40), (3_000, -30)]
        .iter()
        .enumerate()
        .map(|(i, (from, seconds))| moved(&format!("298{i}a"), "Asia/Singapore", 8, BEGIN + Millis(*from), *seconds))
        .collect();
    let tally = run_all(
        40,
        |rng, plan| {
            all_trouble(rng, plan);
            plan.settings.plan = compiled(CLOCKS);
            plan.settings.engine.scan_customers = [1, 2, 512][rng.usize(..3)];
            plan.upgrade = Some((BEGIN + Millis(rng.i64(0..(plan.calm - BEGIN).0)), zones[rng.usize(..zones.len())]));
            if rng.bool() {
                let at = BEGIN + Millis(rng.i64(0..(plan.calm - BEGIN).0));
                plan.sets = vec![(at, compiled(&CLOCKS.replace("at least 2 view", "at least 3 view")))];
            }
        },
        |_| Ok(()),
    );
    assert!(tally.activations > 80 && tally.by_definition > 100 && tally.deaths > 50 && tally.by_timer > 500, "{tally:?}");
}
