//! Timers on a real log: due without traffic, across an outage, held back by what cannot be proved, and records below the clock.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use segmentd::time::{Millis, Timestamp};

use crate::expected::{self, await_same, now};
use crate::harness::{PATIENCE, Site, Stored};

const IDLE: &str = "event visit is activity { }\nsegment idle { when no activity in last 2s and any activity ever }\n";

fn visit(customer: &str) -> String {
    format!(r#"{{"customer":"{customer}","event":"visit"}}"#)
}

fn instant(change: &Stored, field: &str) -> Timestamp {
    Timestamp::parse_rfc3339(change.json()[field].as_str().unwrap()).unwrap()
}

/// Conformance case 83: nothing arrives any more anywhere, in one input nothing ever did.
#[test]
fn case_83_a_timer_falls_due_in_a_partition_without_traffic() {
    let site = Site::new("case83", &["visits", "never"], 2, IDLE);
    let _daemon = site.run("one");
    let sent = now();
    let feed = site.feed();
    feed.send(&site.names.inputs[0], "c-1", sent.0, &visit("c-1"));
    feed.flush();
    let changes = site.wait_for(&site.names.changes, "the change of the timer", |r| !r.is_empty());
    assert_eq!(instant(&changes[0], "since"), Timestamp(sent.0 + 2_000));
    assert_eq!(changes[0].json()["cause"], "timer");
    await_same(&site, &expected::of(&site, IDLE, now()));
}

/// Conformance case 85, with seconds for days: nothing in the process measures how long it was away.
#[test]
fn case_85_an_outage_leaves_no_trace_in_what_is_published() {
    let site = Site::live("case85", &["visits"], 2, IDLE);
    let feed = site.feed();
    let send = |customer: &str| {
        feed.send(&site.names.inputs[0], customer, now().0, &visit(customer));
        feed.flush();
    };
    let daemon = site.run("one");
    for i in 0..20 {
        send(&format!("c-{i}"));
    }
    daemon.kill();
    // Timers fall due, and customers come back, while nobody is there.
    std::thread::sleep(Duration::from_secs(3));
    for i in 10..15 {
        send(&format!("c-{i}"));
    }
    std::thread::sleep(Duration::from_secs(3));
    let _daemon = site.run("one");
    send("c-0");
    std::thread::sleep(Duration::from_secs(3));
    await_same(&site, &expected::of(&site, IDLE, now()));
}

/// Conformance case 87: a record with an arrival below the clock is applied at the clock, and a replay does the same.
#[test]
fn case_87_a_record_below_the_clock_is_applied_at_the_clock_and_replayed_so() {
    let site = Site::new("case87", &["visits"], 1, IDLE);
    let feed = site.feed();
    let daemon = site.run("one");
    feed.send(&site.names.inputs[0], "c-1", now().0, &visit("c-1"));
    feed.flush();
    let changes = site.wait_for(&site.names.changes, "c-1 to be idle", |r| r.len() == 1);
    let clock = instant(&changes[0], "decided_at");
    // Ten seconds below the clock that has just fired a timer.
    feed.send(&site.names.inputs[0], "c-1", clock.0 - 10_000, &visit("c-1"));
    feed.send(&site.names.inputs[0], "c-2", clock.0 - 10_000, &visit("c-2"));
    feed.flush();
    // c-1 was idle already at that time and stays so; c-2 comes into being idle.
    let changes = site.wait_for(&site.names.changes, "the records below the clock to take effect", |r| r.len() >= 2);
    assert_eq!(changes[1].json()["customer"], "c-2");
    assert!(instant(&changes[1], "decided_at") >= clock, "{}", changes[1].json());
    daemon.kill();
    let mut daemon = site.run("one");
    feed.send(&site.names.inputs[0], "c-3", now().0, &visit("c-3"));
    feed.flush();
    let more = site.wait_for(&site.names.changes, "c-3 to be idle", |r| {
        r.iter().any(|c| c.json()["customer"] == "c-3" && c.json()["cause"] == "timer")
    });
    assert_eq!(more[..changes.len()], changes[..], "what was published stays, and nothing is published again");
    assert!(daemon.is_running());
    assert!(daemon.end().success());
}

/// An upstream transaction that stays open looks like silence; it must mark nobody idle.
#[test]
fn an_open_transaction_upstream_holds_the_clock() {
    let site = Site::new("upstream", &["visits"], 1, &IDLE.replace("2s", "6s"));
    let _daemon = site.run("one");
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &site.bootstrap)
        .set("transactional.id", &site.prefix)
        .set("partitioner", "murmur2_random")
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    let send = |customer: &str, at: Timestamp| {
        producer.send(BaseRecord::to(&site.names.inputs[0]).key(customer).payload(&visit(customer)).timestamp(at.0)).unwrap();
        producer.flush(PATIENCE).unwrap();
    };
    let first = now();
    producer.begin_transaction().unwrap();
    send("c-1", first);
    producer.commit_transaction(PATIENCE).unwrap();
    // Still alive three seconds later, but nobody may know yet.
    producer.begin_transaction().unwrap();
    let second = first + Millis(3_000);
    send("c-1", second);
    let due = first + Millis(6_000);
    assert!(now() < due, "the machine is too slow for this test");
    while now() < due + Millis(2_000) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(site.read(&site.names.changes), [], "the record that is held back proves activity");
    producer.commit_transaction(PATIENCE).unwrap();
    let changes = site.wait_for(&site.names.changes, "c-1 to be idle at last", |r| !r.is_empty());
    assert_eq!(instant(&changes[0], "since"), second + Millis(6_000));
    assert_eq!(changes.len(), 1);
}
