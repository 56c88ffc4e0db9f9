//! What `run` refuses, with which exit code and words; and what it takes as dead letters.

use std::time::Instant;

use crate::expected::{self, now};
use crate::harness::{PATIENCE, Site};

const VISITS: &str = "event visit is activity { }\nsegment seen { when any activity ever }\n";

#[test]
fn an_absent_broker_is_exit_code_3_after_a_bounded_wait() {
    let mut site = Site::new("absent", &["visits"], 1, VISITS);
    site.bootstrap = "127.0.0.1:1".into();
    let started = Instant::now();
    let mut daemon = site.run("one");
    assert_eq!(daemon.wait().code(), Some(3), "{}", daemon.log());
    assert!(started.elapsed() < PATIENCE);
    assert!(daemon.log().contains("127.0.0.1:1"), "{}", daemon.log());
}

#[test]
fn topics_that_are_not_co_partitioned_are_refused_with_names_and_counts() {
    let mut site = Site::new("uneven", &["visits"], 2, VISITS);
    let other = Site::new("uneven", &["orders"], 3, VISITS);
    site.names.inputs.push(other.names.inputs[0].clone());
    let mut daemon = site.run("one");
    assert_eq!(daemon.wait().code(), Some(3), "{}", daemon.log());
    let words = format!("{} has 2, {} has 3", site.names.inputs[0], site.names.inputs[1]);
    assert!(daemon.log().contains(&words), "{}", daemon.log());
}

#[test]
fn a_folder_that_differs_from_the_set_in_force_is_exit_code_2_with_the_names() {
    let site = Site::new("differs", &["visits"], 1, VISITS);
    let feed = site.feed();
    feed.send(&site.names.inputs[0], "c-1", now().0, r#"{"customer":"c-1","event":"visit"}"#);
    feed.flush();
    let daemon = site.run("one");
    site.wait_for(&site.names.changes, "c-1 to be seen", |r| r.len() == 1);
    assert!(daemon.end().success());
    let file = site.dir.path().join("segments/all.seg");
    std::fs::write(&file, VISITS.replace("any activity ever", "at least 2 activity ever")).unwrap();
    let mut daemon = site.run("one");
    assert_eq!(daemon.wait().code(), Some(2), "{}", daemon.log());
    assert!(daemon.log().contains("seen") && daemon.log().contains("topics reset"), "{}", daemon.log());
    // With the old text it goes on.
    std::fs::write(&file, VISITS).unwrap();
    let daemon = site.run("one");
    feed.send(&site.names.inputs[0], "c-2", now().0, r#"{"customer":"c-2","event":"visit"}"#);
    feed.flush();
    site.wait_for(&site.names.changes, "c-2 to be seen", |r| r.len() == 2);
    assert!(daemon.end().success());
}

#[test]
fn unreadable_records_are_dead_letters_as_they_came_and_stop_nothing() {
    let site = Site::new("dead", &["visits"], 2, VISITS);
    let feed = site.feed();
    let at = now().0;
    let deep = format!(r#"{{"customer":"c-1","event":"visit","properties":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
    for value in
        ["no json", r#"{"event":"visit"}"#, r#"{"customer":"c-2","event":"visit"}"#, &deep, r#"{"customer":"c-1","event":"visit"}"#]
    {
        feed.send(&site.names.inputs[0], "c-1", at, value);
    }
    feed.flush();
    let daemon = site.run("one");
    expected::await_same(&site, &expected::of(&site, VISITS, now()));
    let dead = site.read(&site.names.dead_letters);
    assert!(dead.iter().any(|d| d.value.as_deref() == Some(b"no json") && d.key.as_deref() == Some(b"c-1")), "byte for byte: {dead:?}");
    assert!(dead.len() >= 3, "{dead:?}");
    assert!(daemon.end().success());
}
