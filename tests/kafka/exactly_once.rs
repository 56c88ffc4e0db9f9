//! Exactly once, whatever ends the process: kill, second instance, stand-still, broker restart, orderly stop.

use std::time::{Duration, Instant};

use crate::expected::{self, assert_same, await_same, now};
use crate::harness::{Feed, PATIENCE, Site, own_broker};
use crate::shop::{DEFINITIONS, Visit, visits};

/// The shortest session that brokers allow by default, so that a dead instance is noticed soon.
const SHORT_SESSION: &str = "[kafka.client]\n\"session.timeout.ms\" = \"6000\"\n";

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
        let daemon = site.run("one");
        site.wait_for(&site.names.changes, "progress", |records| records.len() >= due * part / 6);
        daemon.kill();
    }
    let seen = site.read(&site.names.changes).len();
    assert!(seen < due, "killed in mid-stream: {seen} of {due}");
    let daemon = site.run("one");
    await_same(&site, &expected);
    assert!(daemon.end().success());
}

#[test]
fn two_instances_one_killed() {
    let site = Site::new("pair", &["all"], 4, DEFINITIONS);
    let visits = visits(2, 30_000, 300, an_hour_ago(), 20);
    let (first, second) = visits.split_at(15_000);
    let feed = site.feed();
    send(&feed, &site, first);
    let one = site.run_with("one", SHORT_SESSION);
    let _two = site.run_with("two", SHORT_SESSION);
    let half = expected::of(&site, DEFINITIONS, now()).count();
    site.wait_for(&site.names.changes, "changes of both", |records| records.len() >= half / 2);
    one.kill();
    send(&feed, &site, second);
    await_same(&site, &expected::of(&site, DEFINITIONS, now()));
}

#[test]
fn an_instance_that_stood_still_beyond_its_session_publishes_nothing_more_for_its_old_shards() {
    let site = Site::new("freeze", &["all"], 4, DEFINITIONS);
    let visits = visits(3, 45_000, 300, an_hour_ago(), 20);
    let feed = site.feed();
    send(&feed, &site, &visits[..15_000]);
    let one = site.run_with("one", SHORT_SESSION);
    let part = expected::of(&site, DEFINITIONS, now()).count();
    site.wait_for(&site.names.changes, "changes of the first", |records| records.len() >= part / 3);
    let two = site.run_with("two", SHORT_SESSION);
    one.freeze();
    send(&feed, &site, &visits[15_000..30_000]);
    // The other one has taken everything over and finished it.
    let more = expected::of(&site, DEFINITIONS, now()).count();
    site.wait_for(&site.names.changes, "changes of the second", |records| records.len() >= more);
    one.thaw();
    send(&feed, &site, &visits[30_000..]);
    await_same(&site, &expected::of(&site, DEFINITIONS, now()));
    assert!(two.end().success());
    assert!(one.end().success());
    assert_same(&site, &expected::of(&site, DEFINITIONS, now()));
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
    let visits = visits(5, 20_000, 200, an_hour_ago(), 20);
    let feed = site.feed();
    send(&feed, &site, &visits[..10_000]);
    let daemon = site.run("one");
    let half = expected::of(&site, DEFINITIONS, now());
    site.wait_for(&site.names.changes, "progress", |records| records.len() >= half.count() / 2);
    let started = Instant::now();
    assert!(daemon.end().success());
    assert!(started.elapsed() < PATIENCE / 2);
    // The next one does not wait for a session to run out.
    let daemon = site.run("two");
    let started = Instant::now();
    await_same(&site, &half);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert!(daemon.end().success());
}
