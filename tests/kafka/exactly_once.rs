//! Exactly once, whatever ends the process: kill, second instance, stand-still, broker restart, orderly stop.

use std::time::{Duration, Instant};

use crate::expected::{self, assert_same, await_same, now};
use crate::harness::{Feed, PATIENCE, Site, own_broker};
use crate::shop::{DEFINITIONS, Visit, short_definitions, visits};

/// The shortest session that brokers allow by default, so that a dead instance is noticed soon.
const SHORT_SESSION: &str = "[kafka.client]\n\"session.timeout.ms\" = \"6000\"\n";

/// Many small transactions, so that a kill meets one, and the log lasts for several lives.
const SMALL_BATCHES: &str = "batch_records = 100\ncommit_interval = \"10ms\"\n";

fn send(feed: &Feed, site: &Site, visits: &[Visit]) {
    for v in visits {
        // A site with one input gets everything there.
        feed.send(&site.names.inputs[v.input.min(site.names.inputs.len() - 1)], &v.customer, v.at, &v.json);
    }
    feed.flush();
}

/// An hour ago: everything that the log can make due is due long before now.
fn an_hour_ago() -> i64 {
    now().0 - 3_600_000
}

/// Conformance case 15 too: what is read again after a crash has the same effect, with the same change ids, once.
#[test]
fn killed_again_and_again_in_mid_stream() {
    let site = Site::new("kill", &["clicks", "purchases"], 4, DEFINITIONS);
    send(&site.feed(), &site, &visits(1, 60_000, 400, an_hour_ago(), 20));
    let expected = expected::of(&site, DEFINITIONS, now());
    let due = expected.count();
    assert!(due > 5_000, "the log makes {due} changes");
    for part in 1..=4 {
        let daemon = site.run_with("one", SMALL_BATCHES);
        site.wait_for(&site.names.changes, "progress", |records| records.len() >= due * part / 10);
        daemon.kill();
    }
    let seen = site.read(&site.names.changes).len();
    assert!(seen < due, "killed in mid-stream: {seen} of {due}");
    let daemon = site.run("one");
    await_same(&site, &expected);
    assert!(daemon.end().success());
}

/// Sends `seconds` seconds of visits at the pace of life, on a thread of its own.
fn live(site: &Site, seed: u64, seconds: usize) -> std::thread::JoinHandle<()> {
    const PER_SECOND: usize = 400;
    let (feed, topic) = (site.feed(), site.names.inputs[0].clone());
    std::thread::spawn(move || {
        let started = Instant::now();
        for (i, v) in visits(seed, seconds * PER_SECOND, 300, 0, 1).iter().enumerate() {
            let due = Duration::from_secs(1) * i as u32 / PER_SECOND as u32;
            std::thread::sleep(due.saturating_sub(started.elapsed()));
            feed.send(&topic, &v.customer, v.at, &v.json);
        }
        feed.flush();
    })
}

/// Waits until whatever the log made due is due, and compares.
fn settle(site: &Site, definitions: &str) {
    std::thread::sleep(Duration::from_secs(9));
    await_same(site, &expected::of(site, definitions, now()));
}

#[test]
fn two_instances_one_killed() {
    let definitions = short_definitions();
    let site = Site::live("pair", &["all"], 4, &definitions);
    let one = site.run_with("one", SHORT_SESSION);
    let _two = site.run_with("two", SHORT_SESSION);
    let feeding = live(&site, 2, 20);
    site.wait_for(&site.names.changes, "changes of both", |records| records.len() >= 1_000);
    one.kill();
    feeding.join().unwrap();
    settle(&site, &definitions);
}

#[test]
fn an_instance_that_stood_still_beyond_its_session_publishes_nothing_more_for_its_old_shards() {
    let definitions = short_definitions();
    let site = Site::live("freeze", &["all"], 4, &definitions);
    let one = site.run_with("one", SHORT_SESSION);
    let two = site.run_with("two", SHORT_SESSION);
    let feeding = live(&site, 3, 30);
    site.wait_for(&site.names.changes, "changes of both", |records| records.len() >= 1_000);
    one.freeze();
    // The other one takes everything over: a partition that stood still moves again.
    let before = newest_by_shard(&site);
    site.wait_for(&site.names.changes, "changes of all shards", |_| {
        newest_by_shard(&site).iter().zip(&before).all(|(now, then)| now > then)
    });
    one.thaw();
    feeding.join().unwrap();
    settle(&site, &definitions);
    assert!(two.end().success());
    assert!(one.end().success());
    assert_same(&site, &expected::of(&site, &definitions, now()));
}

/// The newest offset of each partition of the changes.
fn newest_by_shard(site: &Site) -> Vec<i64> {
    let mut newest = vec![-1; site.partitions as usize];
    for record in site.read(&site.names.changes) {
        newest[record.partition as usize] = record.offset;
    }
    newest
}

#[test]
fn a_broker_restart_in_mid_stream() {
    let broker = own_broker();
    let site = Site::on(&broker.bootstrap, "bounce", &["clicks", "purchases"], 2, DEFINITIONS);
    send(&site.feed(), &site, &visits(4, 40_000, 300, an_hour_ago(), 20));
    let expected = expected::of(&site, DEFINITIONS, now());
    let mut daemon = site.run("one");
    site.wait_for(&site.names.changes, "progress", |records| records.len() >= expected.count() / 5);
    broker.restart();
    await_same(&site, &expected);
    assert!(daemon.is_running(), "it lived through the restart");
    assert!(daemon.end().success());
}

#[test]
fn an_orderly_stop_hands_everything_over() {
    let site = Site::new("drain", &["clicks", "purchases"], 2, DEFINITIONS);
    send(&site.feed(), &site, &visits(5, 40_000, 200, an_hour_ago(), 20));
    let daemon = site.run("one");
    let expected = expected::of(&site, DEFINITIONS, now());
    site.wait_for(&site.names.changes, "progress", |records| records.len() >= expected.count() / 4);
    let started = Instant::now();
    assert!(daemon.end().success());
    assert!(started.elapsed() < PATIENCE / 2);
    // The next one does not wait for a session to run out.
    let daemon = site.run("two");
    let started = Instant::now();
    await_same(&site, &expected);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert!(daemon.end().success());
}
