//! Definitions that change while the service runs: `segmentd apply`, exactly once, also where the service dies in the middle of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use segmentd::kafka;
use segmentd::wire::journal::JournalRecord;

use crate::expected::{self, now};
use crate::harness::{Daemon, PATIENCE, Site, Stored};

const BEFORE: &str = "event visit is activity { }\nsegment seen { when any visit ever }\nsegment gone { when any visit ever }\n";
const AFTER: &str = "event visit is activity { }\nsegment seen { when no visit ever }\nsegment fresh { when everyone }\n";

/// How often each (segment, change, cause) was published.
fn counted(changes: &[Stored]) -> BTreeMap<(String, String, String), usize> {
    let mut out = BTreeMap::new();
    for change in changes {
        let json = change.json();
        let word = |field: &str| json[field].as_str().unwrap().to_owned();
        *out.entry((word("segment"), word("change"), word("cause"))).or_default() += 1;
    }
    out
}

fn count(counts: &BTreeMap<(String, String, String), usize>, segment: &str, change: &str, cause: &str) -> usize {
    counts.get(&(segment.into(), change.into(), cause.into())).copied().unwrap_or_default()
}

/// No change is there twice, and each customer's are numbered from 1 on without a gap.
fn is_gapless(changes: &[Stored]) {
    let mut seen = BTreeMap::<String, Vec<u64>>::new();
    let mut ids = std::collections::BTreeSet::new();
    for change in changes {
        let json = change.json();
        assert!(ids.insert(json["change_id"].as_str().unwrap().to_owned()), "twice: {json}");
        seen.entry(json["customer"].as_str().unwrap().into()).or_default().push(json["seq"].as_u64().unwrap());
    }
    for (customer, numbers) in seen {
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{customer}");
    }
}

fn visits(site: &Site, customers: std::ops::Range<usize>) {
    let feed = site.feed();
    for i in customers {
        let customer = format!("c-{i}");
        feed.send(&site.names.inputs[0], &customer, now().0, &format!(r#"{{"customer":"{customer}","event":"visit"}}"#));
    }
    feed.flush();
}

#[test]
fn a_set_is_shown_refused_published_and_taken_back() {
    let site = Site::live("apply", &["visits"], 2, BEFORE);
    visits(&site, 0..60);
    let config = site.config("one", "");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replacen("[http]\nlisten = \"off\"", "[http]\nlisten = \"127.0.0.1:0\"", 1)).unwrap();
    let daemon = Daemon::start(&config);
    site.wait_for(&site.names.changes, "everybody to be seen", |r| r.len() == 120);
    daemon.await_log("listening");
    let said = daemon.log();
    let address = said.lines().find_map(|line| line.split("http=").nth(1)).unwrap();
    let address = address.split_whitespace().next().unwrap().trim_matches('"').to_owned();
    let instance = ["--instance", address.as_str()];

    site.write_definitions("segment broken { when any visit ever }\n");
    let (code, said) = site.apply("one", &["--yes"]);
    assert_eq!(code, Some(1), "it does not compile: {said}");

    site.write_definitions(AFTER);
    // The second worker takes its share from the first meanwhile: a shard on its way is in nobody's estimate.
    let started = Instant::now();
    let (code, said) = loop {
        let (code, said) = site.apply("one", &instance);
        if said.contains("in 2 of its 2 shards") || started.elapsed() > PATIENCE {
            break (code, said);
        }
    };
    assert_eq!(code, Some(2), "nobody was asked: {said}");
    for words in ["+ new      fresh", "~ changed  seen", "- removed  gone", "fresh: 60 enter, 0 leave", "seen: 0 enter, 60 leave"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let stored = site.read(&site.names.definitions);
    let sets = stored.iter().filter(|record| !record.key.as_deref().unwrap_or_default().starts_with(b"time-zones "));
    assert_eq!((stored.len(), sets.count()), (2, 1), "beside the first set and the zones nothing was published");

    let (code, said) = site.apply("one", &["--yes", instance[0], instance[1]]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("is in force in all 2 shards"), "{said}");
    let changes = site.read(&site.names.changes);
    let counts = counted(&changes);
    assert_eq!(count(&counts, "seen", "exited", "definition_changed"), 60, "{counts:?}");
    assert_eq!(count(&counts, "gone", "exited", "definition_deleted"), 60, "{counts:?}");
    assert_eq!(count(&counts, "fresh", "entered", "definition_created"), 60, "{counts:?}");
    assert_eq!(changes.len(), 300);
    is_gapless(&changes);

    // Why somebody is where he is, from the instance itself.
    let explained = |customer: &str| {
        let url = format!("http://{address}");
        let args = ["explain", "--customer", customer, "--url", &url, "--json"];
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_segmentd")).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let json = explained("c-3");
    let segment = |name: &str| json["segments"].as_array().unwrap().iter().find(|s| s["segment"] == name).unwrap();
    assert_eq!((&segment("fresh")["member"], &segment("seen")["member"]), (&true.into(), &false.into()), "{json}");
    let condition = &segment("seen")["parts"][0]["condition"];
    assert_eq!((&condition["holds"], &condition["observed"]), (&false.into(), &"1".into()), "{json}");
    assert_eq!(explained("nobody / known")["first_seen"], serde_json::Value::Null);

    // The same once more is nothing.
    let (code, said) = site.apply("one", &["--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing to publish"), "{said}");

    // New customers are met under the new set, and the old one comes back.
    visits(&site, 60..70);
    site.wait_for(&site.names.changes, "the new ones", |r| r.len() == 310);
    site.write_definitions(BEFORE);
    let (code, said) = site.apply("one", &["--yes"]);
    assert_eq!(code, Some(0), "{said}");
    let changes = site.read(&site.names.changes);
    let counts = counted(&changes);
    assert_eq!(count(&counts, "fresh", "exited", "definition_deleted"), 70, "{counts:?}");
    assert_eq!(count(&counts, "seen", "entered", "definition_changed"), 70, "{counts:?}");
    assert_eq!(count(&counts, "gone", "entered", "definition_created"), 70, "{counts:?}");
    is_gapless(&changes);
    assert!(daemon.end().success());

    // A life that finds three sets in the journal replays each in its time.
    let daemon = site.run("one");
    visits(&site, 70..71);
    let more = site.wait_for(&site.names.changes, "the last one", |r| r.len() == changes.len() + 2);
    is_gapless(&more);
    assert!(daemon.end().success());
}

#[test]
fn a_death_in_the_middle_of_a_change_of_definitions_repeats_and_loses_nothing() {
    const CUSTOMERS: usize = 20_000;
    let site = Site::live("applykill", &["visits"], 1, BEFORE);
    visits(&site, 0..CUSTOMERS);
    let daemon = site.run("one");
    site.wait_for(&site.names.changes, "everybody to be seen", |r| r.len() == 2 * CUSTOMERS);
    site.write_definitions(AFTER);
    let (code, said) = site.apply("one", &["--yes", "--no-wait"]);
    assert_eq!(code, Some(0), "{said}");
    // Not before the scan stands in the journal, and before it is over.
    let (settings, admin, started) = (site.settings(), site.admin(), Instant::now());
    let mut in_the_middle = false;
    while !in_the_middle {
        assert!(started.elapsed() < PATIENCE, "the set does not come into force: {}", daemon.log());
        kafka::newest_values(&settings, &admin, &site.names.journal, 1, |_, value| {
            let record = JournalRecord::decode(value).unwrap();
            in_the_middle = record.batches.last().is_some_and(|batch| batch.scan.is_some());
        })
        .unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    daemon.kill();
    let early = counted(&site.read(&site.names.changes));
    assert!(count(&early, "seen", "exited", "definition_changed") < CUSTOMERS, "the scan was over already: {early:?}");

    // Another instance, whose folder differs, goes on where the first one fell.
    let daemon = site.run("two");
    let (code, said) = site.apply("two", &["--yes"]);
    assert_eq!(code, Some(0), "{said}");
    let changes = site.read(&site.names.changes);
    let counts = counted(&changes);
    for (segment, change, cause) in [
        ("seen", "entered", "event"),
        ("gone", "entered", "event"),
        ("seen", "exited", "definition_changed"),
        ("gone", "exited", "definition_deleted"),
        ("fresh", "entered", "definition_created"),
    ] {
        assert_eq!(count(&counts, segment, change, cause), CUSTOMERS, "{segment} {change}: {counts:?}");
    }
    assert_eq!(changes.len(), 5 * CUSTOMERS);
    is_gapless(&changes);
    let members = expected::published(&site).memberships;
    assert!(members.len() == CUSTOMERS && members.keys().all(|key| key.contains("fresh")), "{} members", members.len());
    assert!(daemon.end().success());
}
