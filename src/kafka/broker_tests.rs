//! The parts of this module on a real broker: what they rest on in the client library is tried here, part by part. The suite in
//! `tests/kafka` tries the whole.

use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;

use super::native::{Bell, GroupEvent, Lane, Messages, Native, Start};
use super::settings::{Role, Settings};
use super::transactions::{CommitOffset, Committer, Outcome, Outgoing, Transaction};
use super::watermarks::Watermarks;
use super::{Admin, TopicNames};
use crate::time::{Clock, Timestamp};

fn broker() -> &'static str {
    static BROKER: OnceLock<String> = OnceLock::new();
    BROKER.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/broker");
        let output = Command::new(script).args(["start", "--while", &std::process::id().to_string()]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines().find_map(|l| l.strip_prefix("bootstrap=")).expect("the broker started").to_owned()
    })
}

fn settings(group: &str, instance: &str) -> Settings {
    Settings { brokers: broker().into(), group: group.into(), instance: instance.into(), client: Vec::new(), mock: false }
}

fn topics(prefix: &str, partitions: u32) -> TopicNames {
    let names = TopicNames {
        inputs: vec![format!("{prefix}.in")],
        changes: format!("{prefix}.changes"),
        memberships: format!("{prefix}.memberships"),
        journal: format!("{prefix}.journal"),
        dead_letters: format!("{prefix}.dead"),
        definitions: format!("{prefix}.definitions"),
    };
    Admin::connect(&settings(prefix, "admin")).unwrap().create(&names, Some(partitions), None).unwrap();
    names
}

struct Now;

impl Clock for Now {
    fn now(&self) -> Timestamp {
        Timestamp(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64)
    }
}

/// Waits on the bell until `done`, at most 20 s.
fn until<T>(bell: &Bell, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < deadline, "nothing came");
        bell.wait(Duration::from_millis(20));
    }
}

fn produce(topic: &str, partition: i32, values: &[&str]) {
    let producer: BaseProducer = settings("p", "p").config(Role::Questions).create().unwrap();
    for value in values {
        producer.send(BaseRecord::<(), str>::to(topic).partition(partition).payload(value)).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
}

fn values(lane: &mut Lane) -> Vec<(i64, String)> {
    let mut messages = Messages::default();
    lane.take(100, &mut messages);
    let text = |v: Option<&[u8]>| String::from_utf8(v.unwrap_or(b"null").to_vec()).unwrap();
    messages.iter().filter(|m| m.error().is_none()).map(|m| (m.offset(), text(m.value()))).collect()
}

fn joined(member: &Native, bell: &Bell, journal: &str) -> Vec<i32> {
    until(bell, || match member.poll() {
        Some(GroupEvent::Assigned(p)) => {
            member.take_over(journal, &p).unwrap();
            Some(p)
        }
        _ => None,
    })
}

fn one(topic: &str, value: &str, journal: &str, offset: i64) -> Transaction {
    let record =
        Outgoing { topic: topic.into(), partition: 0, key: None, value: Some(0..value.len()), headers: vec![("ce_id", 0..value.len())] };
    let offset = CommitOffset { topic: journal.into(), partition: 0, offset, metadata: format!("batch {offset}") };
    Transaction { records: vec![record], bytes: value.as_bytes().to_vec(), offsets: vec![offset] }
}

#[test]
fn lanes_are_read_apart_and_know_their_place_behind_markers() {
    let names = topics("lanes", 2);
    let bell = Arc::new(Bell::default());
    let reader = Native::new(&settings("lanes", "a"), Role::Reader, &bell).unwrap();
    produce(&names.inputs[0], 0, &["a", "b", "c"]);
    produce(&names.inputs[0], 1, &["x"]);
    let start = |partition, offset| Start { topic: &names.inputs[0], partition, offset, leader_epoch: None };
    let mut lanes = reader.read(&[start(0, 1), start(1, 0)]).unwrap();
    let first = until(&bell, || Some(values(&mut lanes[0])).filter(|v| !v.is_empty()));
    assert_eq!(first[0], (1, "b".to_owned()));
    let second = until(&bell, || Some(values(&mut lanes[1])).filter(|v| !v.is_empty()));
    assert_eq!(second, [(0, "x".to_owned())]);

    // A committed and an aborted transaction: their markers are passed without a message, and the position says so.
    let producer: BaseProducer = settings("lanes", "tx").config(Role::Producer).set("transactional.id", "lanes-tx").create().unwrap();
    producer.init_transactions(Duration::from_secs(20)).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<(), str>::to(&names.inputs[0]).partition(1).payload("y")).unwrap();
    producer.commit_transaction(Duration::from_secs(20)).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<(), str>::to(&names.inputs[0]).partition(1).payload("never seen")).unwrap();
    producer.flush(Duration::from_secs(20)).unwrap();

    let marks = Watermarks::start(&settings("lanes", "a"), &bell, Arc::new(Now)).unwrap();
    let high = |partition| {
        marks.ask(vec![(names.inputs[0].as_str().into(), partition)]);
        until(&bell, || marks.answer())[0].high
    };
    let third = until(&bell, || Some(values(&mut lanes[1])).filter(|v| !v.is_empty()));
    assert_eq!(third, [(1, "y".to_owned())]);
    assert_eq!(high(1), 4, "the open transaction counts: x, y, marker, and a record that is not decided");
    until(&bell, || {
        assert_eq!(values(&mut lanes[1]), []);
        (lanes[1].position() == 3).then_some(())
    });
    producer.abort_transaction(Duration::from_secs(20)).unwrap();
    // The broker answers before it writes the marker.
    until(&bell, || (high(1) == 5).then_some(()));
    until(&bell, || {
        assert_eq!(values(&mut lanes[1]), []);
        (lanes[1].position() == 5).then_some(())
    });
    reader.stop(lanes).unwrap();

    // The same partition can be read again, from elsewhere.
    let mut again = reader.read(&[start(1, 0)]).unwrap();
    let all = until(&bell, || Some(values(&mut again[0])).filter(|v| !v.is_empty()));
    assert_eq!(all[0], (0, "x".to_owned()));
}

#[test]
fn a_position_that_the_log_no_longer_has_is_an_error_in_its_lane() {
    let names = topics("range", 1);
    let bell = Arc::new(Bell::default());
    let reader = Native::new(&settings("range", "a"), Role::Reader, &bell).unwrap();
    produce(&names.inputs[0], 0, &["a"]);
    let start = Start { topic: &names.inputs[0], partition: 0, offset: 77, leader_epoch: None };
    let mut lanes = reader.read(&[start]).unwrap();
    let mut messages = Messages::default();
    let error = until(&bell, || {
        lanes[0].take(10, &mut messages);
        messages.iter().find_map(|m| m.error())
    });
    assert_eq!(error.0, RDKafkaErrorCode::AutoOffsetReset, "{}", error.1);
}

#[test]
fn transactions_commit_offsets_for_the_owner_only() {
    let names = topics("owner", 1);
    let bell = Arc::new(Bell::default());
    let member = Native::new(&settings("owner", "a"), Role::Member, &bell).unwrap();
    let committer = Committer::start(&settings("owner", "a"), 0, &bell, Duration::from_secs(20)).unwrap();

    committer.commit(one(&names.changes, "too early", &names.journal, 1), member.group_metadata().unwrap());
    let done = until(&bell, || committer.done());
    assert!(matches!(done.outcome, Outcome::NotOwner(_)), "not a member yet: {:?}", done.outcome);

    member.subscribe(&names.journal).unwrap();
    assert_eq!(joined(&member, &bell, &names.journal), [0]);
    assert_eq!(member.committed(&names.journal, 0, Duration::from_secs(20)).unwrap(), None);
    committer.commit(one(&names.changes, "hello", &names.journal, 7), member.group_metadata().unwrap());
    let done = until(&bell, || committer.done());
    assert_eq!(done.outcome, Outcome::Committed);
    let committed = member.committed(&names.journal, 0, Duration::from_secs(20)).unwrap();
    assert_eq!(committed, Some((7, "batch 7".to_owned())));
    let old = member.group_metadata().unwrap();

    // A second member: generations move on, and a commit under the old one is refused.
    let other_bell = Arc::new(Bell::default());
    let other = Native::new(&settings("owner", "b"), Role::Member, &other_bell).unwrap();
    other.subscribe(&names.journal).unwrap();
    let started = Instant::now();
    while other.group_metadata().is_none_or(|m| !m.is_checkable()) {
        assert!(started.elapsed() < Duration::from_secs(20));
        for m in [&member, &other] {
            match m.poll() {
                Some(GroupEvent::Assigned(p)) => m.take_over(&names.journal, &p).unwrap(),
                Some(GroupEvent::Revoked { partitions, .. }) => m.give_up(&names.journal, &partitions).unwrap(),
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
    committer.commit(one(&names.changes, "stale", &names.journal, 8), old);
    let done = until(&bell, || committer.done());
    assert!(matches!(done.outcome, Outcome::NotOwner(_)), "{:?}", done.outcome);

    // Of the three only one is visible.
    let reader = Native::new(&settings("owner", "r"), Role::Reader, &bell).unwrap();
    let mut lanes = reader.read(&[Start { topic: &names.changes, partition: 0, offset: 0, leader_epoch: None }]).unwrap();
    let mut seen = Vec::new();
    let marks = Watermarks::start(&settings("owner", "a"), &bell, Arc::new(Now)).unwrap();
    marks.ask(vec![(names.changes.as_str().into(), 0)]);
    let high = until(&bell, || marks.answer())[0].high;
    until(&bell, || {
        seen.extend(values(&mut lanes[0]));
        (lanes[0].position() >= high).then_some(())
    });
    assert_eq!(seen, [(0, "hello".to_owned())]);
}

#[test]
fn a_second_life_of_a_worker_fences_the_first() {
    let names = topics("fence", 1);
    let bell = Arc::new(Bell::default());
    let member = Native::new(&settings("fence", "a"), Role::Member, &bell).unwrap();
    member.subscribe(&names.journal).unwrap();
    joined(&member, &bell, &names.journal);
    let first = Committer::start(&settings("fence", "a"), 0, &bell, Duration::from_secs(20)).unwrap();
    first.commit(one(&names.changes, "one", &names.journal, 1), member.group_metadata().unwrap());
    assert_eq!(until(&bell, || first.done()).outcome, Outcome::Committed);
    let second = Committer::start(&settings("fence", "a"), 0, &bell, Duration::from_secs(20)).unwrap();
    first.commit(one(&names.changes, "zombie", &names.journal, 2), member.group_metadata().unwrap());
    let outcome = until(&bell, || first.done()).outcome;
    assert!(matches!(outcome, Outcome::Fenced(_)), "{outcome:?}");
    second.commit(one(&names.changes, "two", &names.journal, 2), member.group_metadata().unwrap());
    assert_eq!(until(&bell, || second.done()).outcome, Outcome::Committed);
}

#[test]
fn a_record_that_its_topic_does_not_take_is_refused_and_the_next_goes_on() {
    let names = topics("large", 1);
    let bell = Arc::new(Bell::default());
    let member = Native::new(&settings("large", "a"), Role::Member, &bell).unwrap();
    member.subscribe(&names.journal).unwrap();
    joined(&member, &bell, &names.journal);
    let committer = Committer::start(&settings("large", "a"), 0, &bell, Duration::from_secs(20)).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let noise: String = (0..3_000_000).map(|_| random.alphanumeric()).collect();
    committer.commit(one(&names.changes, &noise, &names.journal, 1), member.group_metadata().unwrap());
    let outcome = until(&bell, || committer.done()).outcome;
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    for i in 0..20 {
        let started = Instant::now();
        committer.commit(one(&names.changes, "small", &names.journal, 1), member.group_metadata().unwrap());
        let done = until(&bell, || committer.done());
        assert_eq!(done.outcome, Outcome::Committed);
        println!("commit {i} took {:?} in the thread, {:?} in all", done.took, started.elapsed());
    }
}
