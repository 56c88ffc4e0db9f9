//! What `run` refuses, with which exit code and words; and what it takes as dead letters.

use std::time::Instant;

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

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
fn a_folder_that_differs_from_the_set_in_force_is_told_and_changes_nothing() {
    let site = Site::new("differs", &["visits"], 1, VISITS);
    let feed = site.feed();
    feed.send(&site.names.inputs[0], "c-1", now().0, r#"{"customer":"c-1","event":"visit"}"#);
    feed.flush();
    let daemon = site.run("one");
    site.wait_for(&site.names.changes, "c-1 to be seen", |r| r.len() == 1);
    assert!(daemon.end().success());
    let file = site.dir.path().join("segments/all.seg");
    std::fs::write(&file, VISITS.replace("any activity ever", "at least 2 activity ever")).unwrap();
    let daemon = site.run("one");
    feed.send(&site.names.inputs[0], "c-2", now().0, r#"{"customer":"c-2","event":"visit"}"#);
    feed.flush();
    // Under the set in force one visit is enough.
    site.wait_for(&site.names.changes, "c-2 to be seen", |r| r.len() == 2);
    assert!(daemon.log().contains("changed: seen") && daemon.log().contains("segmentd apply"), "{}", daemon.log());
    assert!(daemon.end().success());
}

#[test]
fn producers_that_place_customers_elsewhere_are_refused_with_words() {
    let site = Site::new("misplaced", &["visits"], 4, VISITS);
    // The C client's own default, where the configuration says what the Java client does.
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &site.bootstrap).set("partitioner", "consistent_random").create().unwrap();
    for i in 0..200 {
        let customer = format!("c-{i}");
        let value = format!(r#"{{"customer":"{customer}","event":"visit"}}"#);
        producer.send(BaseRecord::to(&site.names.inputs[0]).key(&customer).payload(&value)).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let mut daemon = site.run("one");
    assert_eq!(daemon.wait().code(), Some(2), "{}", daemon.log());
    for word in [&*site.names.inputs[0], "partitioner = \"murmur2\"", "`crc32`: the C client's default"] {
        assert!(daemon.log().contains(word), "{word}: {}", daemon.log());
    }
    assert_eq!(site.read(&site.names.changes), [], "nothing is read or written before");
    // With the partitioner that they use it runs.
    let config = site.config("two", "");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replacen("[output]", "partitioner = \"crc32\"\n[output]", 1)).unwrap();
    let daemon = crate::harness::Daemon::start(&config);
    site.wait_for(&site.names.changes, "all to be seen", |r| r.len() == 200);
    assert!(daemon.end().success());
}

#[test]
fn an_input_that_is_created_again_while_it_is_read_ends_the_service_with_words() {
    let site = Site::live("recreated", &["visits"], 2, VISITS);
    let feed = site.feed();
    let mut daemon = site.run("one");
    for i in 0..20 {
        feed.send(&site.names.inputs[0], &format!("c-{i}"), now().0, &format!(r#"{{"customer":"c-{i}","event":"visit"}}"#));
    }
    feed.flush();
    let before = site.wait_for(&site.names.changes, "all to be seen", |r| r.len() == 20);
    site.delete(&site.names.inputs[0]);
    site.create(&site.names.inputs[0]);
    // Offsets of the old topic mean other records in the new one.
    let feed = site.feed();
    for i in 100..120 {
        feed.send(&site.names.inputs[0], &format!("c-{i}"), now().0, &format!(r#"{{"customer":"c-{i}","event":"visit"}}"#));
    }
    feed.flush();
    assert_eq!(daemon.wait().code(), Some(3), "{}", daemon.log());
    let said = daemon.log();
    assert!(said.contains(&site.names.inputs[0]) && said.contains("was deleted"), "{said}");
    let after = site.read(&site.names.changes);
    assert_eq!(after[..], before[..], "nothing of the new topic is taken for the old one's");
    // Nor by the next life: it stands still and says why.
    let daemon = site.run("one");
    daemon.await_log("was deleted and created again");
    assert_eq!(site.read(&site.names.changes)[..], before[..]);
}

#[test]
fn a_journal_that_was_deleted_is_never_a_fresh_start() {
    let site = Site::new("nojournal", &["visits"], 1, VISITS);
    let feed = site.feed();
    feed.send(&site.names.inputs[0], "c-1", now().0, r#"{"customer":"c-1","event":"visit"}"#);
    feed.flush();
    let daemon = site.run("one");
    let before = site.wait_for(&site.names.changes, "c-1 to be seen", |r| r.len() == 1);
    assert!(daemon.end().success());
    site.delete(&site.names.journal);
    // Without it there is no start at all, with the command that makes it ...
    let mut daemon = site.run("one");
    assert_eq!(daemon.wait().code(), Some(3), "{}", daemon.log());
    assert!(daemon.log().contains(&site.names.journal), "{}", daemon.log());
    // ... and made anew it is not taken for that of a shard without a past.
    site.create_ours();
    let daemon = site.run("one");
    daemon.await_log("the journal is empty, beside");
    assert_eq!(site.read(&site.names.changes), before);
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
