//! The parts of this module on a real broker: what they rest on in the client library is tried here, part by part. The suite in
//! `tests/kafka` tries the whole.

// Helpers of tests, where a failed call should end the test at its place.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;

use super::errands::{Answer, Errand, Errands};
use super::native::{Bell, GroupEvent, Lane, Native, Start};
use super::settings::{Role, Settings};
use super::transactions::Committer;
use super::watermarks::{Wanted, Watermarks};
use super::{Admin, KafkaClient, TopicNames};
use crate::ids::{BatchNumber, InputIndex, ShardId};
use crate::pipeline::{
    self, Client, CommittedOffset, Event, Header, LaneFault, LaneId, Outcome, Outgoing, Output, Part, Source, Transaction,
};
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
        // Only differences matter here.
        static START: OnceLock<Instant> = OnceLock::new();
        Timestamp(START.get_or_init(Instant::now).elapsed().as_millis() as i64)
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
    lane.fill(100, |_| false).unwrap();
    let text = |v: Option<&[u8]>| String::from_utf8(v.unwrap_or(b"null").to_vec()).unwrap();
    let values = (0..lane.held()).map(|i| lane.message(i)).map(|m| (m.offset, text(m.value))).collect();
    lane.advance(lane.held());
    values
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

/// One change, with a header, and the offset of the journal.
fn one(value: &str, journal_offset: i64) -> Box<Transaction> {
    let record = Outgoing { output: Output::Changes, key: None, value: Some(0..value.len()), headers: 0..1 };
    let part = Part {
        shard: ShardId(0),
        records: vec![record],
        headers: vec![Header { name: "ce_id".into(), value: Some(0..1) }],
        bytes: value.as_bytes().to_vec(),
        batch: BatchNumber(journal_offset as u64 + 100),
        journal_offset,
        input_offsets: vec![(InputIndex(0), 3)],
    };
    Box::new(Transaction { parts: vec![part] })
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
        // A question may come to nothing, as on a busy machine; then it is asked again, as the worker does.
        loop {
            marks.ask(vec![Wanted { lane: LaneId(7), topic: names.inputs[0].as_str().into(), partition }]);
            if let Some(mark) = until(&bell, || marks.answer()).first() {
                return mark.high;
            }
        }
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
    let error = until(&bell, || lanes[0].fill(10, |_| false).err());
    assert_eq!(error.0, RDKafkaErrorCode::AutoOffsetReset, "{}", error.1);
}

#[test]
fn transactions_commit_offsets_for_the_owner_only() {
    let names = topics("owner", 1);
    let bell = Arc::new(Bell::default());
    let member = Native::new(&settings("owner", "a"), Role::Member, &bell).unwrap();
    let committer = Committer::start(&settings("owner", "a"), &names, 0, &bell, Duration::from_secs(20)).unwrap();

    committer.commit(one("too early", 1), member.group_metadata());
    let done = until(&bell, || committer.done());
    assert!(matches!(done.outcome, Outcome::NotOwner(_)), "not a member yet: {:?}", done.outcome);

    member.subscribe(&names.journal).unwrap();
    assert_eq!(joined(&member, &bell, &names.journal), [0]);
    assert_eq!(member.committed(&names.journal, 0, Duration::from_secs(20)).unwrap(), None);
    committer.commit(one("hello", 7), member.group_metadata());
    let done = until(&bell, || committer.done());
    assert_eq!(done.outcome, Outcome::Committed);
    let committed = member.committed(&names.journal, 0, Duration::from_secs(20)).unwrap();
    assert_eq!(committed, Some((7, "107".to_owned())));
    let old = member.group_metadata();

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
    committer.commit(one("stale", 8), old);
    let done = until(&bell, || committer.done());
    assert!(matches!(done.outcome, Outcome::NotOwner(_)), "{:?}", done.outcome);

    // Of the three only one is visible.
    let reader = Native::new(&settings("owner", "r"), Role::Reader, &bell).unwrap();
    let mut lanes = reader.read(&[Start { topic: &names.changes, partition: 0, offset: 0, leader_epoch: None }]).unwrap();
    let mut seen = Vec::new();
    let marks = Watermarks::start(&settings("owner", "a"), &bell, Arc::new(Now)).unwrap();
    let high = loop {
        marks.ask(vec![Wanted { lane: LaneId(0), topic: names.changes.as_str().into(), partition: 0 }]);
        if let Some(mark) = until(&bell, || marks.answer()).first() {
            break mark.high;
        }
    };
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
    let first = Committer::start(&settings("fence", "a"), &names, 0, &bell, Duration::from_secs(20)).unwrap();
    first.commit(one("one", 1), member.group_metadata());
    assert_eq!(until(&bell, || first.done()).outcome, Outcome::Committed);
    let second = Committer::start(&settings("fence", "a"), &names, 0, &bell, Duration::from_secs(20)).unwrap();
    first.commit(one("zombie", 2), member.group_metadata());
    // Once it may have been the heir of a lost shard: what became of the transaction is to be asked, and the id is taken back.
    let outcome = until(&bell, || first.done()).outcome;
    assert!(matches!(outcome, Outcome::Uncertain(_)), "{outcome:?}");
    // Again and again within a minute it is a second process of the same name, and one of them has to go.
    let fenced = (0..10).find_map(|_| {
        second.commit(one("two", 2), member.group_metadata());
        let outcome = until(&bell, || second.done()).outcome;
        assert!(matches!(outcome, Outcome::Uncertain(_)), "{outcome:?}");
        first.commit(one("zombie", 2), member.group_metadata());
        match until(&bell, || first.done()).outcome {
            Outcome::Uncertain(_) => None,
            outcome => Some(outcome),
        }
    });
    assert!(matches!(fenced, Some(Outcome::Fenced(_))), "{fenced:?}");
    second.commit(one("two", 2), member.group_metadata());
    assert_eq!(until(&bell, || second.done()).outcome, Outcome::Committed);
}

#[test]
fn a_record_that_its_topic_does_not_take_is_refused_and_the_next_goes_on() {
    let names = topics("large", 1);
    let bell = Arc::new(Bell::default());
    let member = Native::new(&settings("large", "a"), Role::Member, &bell).unwrap();
    member.subscribe(&names.journal).unwrap();
    joined(&member, &bell, &names.journal);
    let committer = Committer::start(&settings("large", "a"), &names, 0, &bell, Duration::from_secs(20)).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let noise: String = (0..3_000_000).map(|_| random.alphanumeric()).collect();
    committer.commit(one(&noise, 1), member.group_metadata());
    let outcome = until(&bell, || committer.done()).outcome;
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    for i in 0..20 {
        let started = Instant::now();
        committer.commit(one("small", 1), member.group_metadata());
        let done = until(&bell, || committer.done());
        assert_eq!(done.outcome, Outcome::Committed);
        println!("commit {i} took {:?} in the thread, {:?} in all", done.took, started.elapsed());
    }
}

/// The whole client: a shard is assigned, recovered, read, committed and recovered again by the next life.
#[test]
fn a_shard_goes_from_one_life_of_a_worker_to_the_next() {
    let names = topics("life", 1);
    produce(&names.inputs[0], 0, &["a", "b"]);
    let settings = settings("life", "a");
    let checked = Admin::connect(&settings).unwrap().check(&names).unwrap();
    let wait = |client: &mut KafkaClient, wanted: &dyn Fn(&Event) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            while let Some(event) = client.poll() {
                if wanted(&event) {
                    return event;
                }
                println!("{event:?}");
            }
            assert!(Instant::now() < deadline, "nothing came");
            client.wait(Duration::from_millis(50));
        }
    };
    let shard = ShardId(0);
    for life in 0..3u64 {
        let mut client = KafkaClient::start(&settings, &names, &checked, 0, Arc::new(Now)).unwrap();
        let assigned = wait(&mut client, &|e| matches!(e, Event::Assigned(_)));
        assert!(matches!(assigned, Event::Assigned(s) if s == [shard]));
        client.take_over(&[shard]);
        client.recover(shard);
        let Event::Recovered(recovered) = wait(&mut client, &|e| matches!(e, Event::Recovered(_))) else { unreachable!() };
        assert_eq!(recovered.inputs[0].ends.high, 2);
        assert!(recovered.inputs[0].topic_id.is_some());
        match life {
            0 => assert_eq!(recovered.committed, CommittedOffset::Absent),
            n => assert_eq!(recovered.committed, CommittedOffset::At { offset: n as i64 - 1, metadata: (n + 99).to_string() }),
        }
        let lane = client.open(shard, Source::Input(InputIndex(0)), pipeline::Start { offset: 0, leader_epoch: Some(0) });
        let deadline = Instant::now() + Duration::from_secs(30);
        while client.fill(lane, 2).unwrap() < 2 {
            assert!(Instant::now() < deadline);
            client.wait(Duration::from_millis(50));
        }
        assert_eq!(client.message(lane, 1).value, Some(b"b".as_slice()));
        assert!(client.message(lane, 0).timestamp.0 > 0 && client.message(lane, 0).leader_epoch >= 0);
        client.advance(lane, 2);
        assert_eq!(client.position(lane), 2);
        client.ask(&[lane]);
        let Event::Marks(marks) = wait(&mut client, &|e| matches!(e, Event::Marks(_))) else { unreachable!() };
        assert_eq!((marks[0].lane, marks[0].high), (lane, 2));
        client.commit(*one("change", life as i64));
        let done = wait(&mut client, &|e| matches!(e, Event::Done { .. }));
        assert!(matches!(done, Event::Done { outcome: Outcome::Committed, .. }), "{done:?}");
        client.close(lane);

        let beyond = client.open(shard, Source::Input(InputIndex(0)), pipeline::Start { offset: 9, leader_epoch: None });
        let fault = loop {
            while client.poll().is_some() {}
            match client.fill(beyond, 1) {
                Ok(0) => client.wait(Duration::from_millis(50)),
                Ok(_) => panic!("there is nothing"),
                Err(fault) => break fault,
            }
            assert!(Instant::now() < deadline);
        };
        assert_eq!(fault, LaneFault::Rewound { position: 9, high: 2 });
    }
}

/// While a transaction that would commit an offset is open, the offset is unstable; taking over its id ends it.
#[test]
fn a_dead_owner_s_open_transaction_is_ended_by_its_id() {
    let names = topics("dangling", 1);
    let bell = Arc::new(Bell::default());
    let member = Native::new(&settings("dangling", "a"), Role::Member, &bell).unwrap();
    member.subscribe(&names.journal).unwrap();
    joined(&member, &bell, &names.journal);
    let producer: BaseProducer =
        settings("dangling", "dead").config(Role::Producer).set("transactional.id", "dangling-dead").create().unwrap();
    producer.init_transactions(Duration::from_secs(20)).unwrap();
    producer.begin_transaction().unwrap();
    let mut offsets = rdkafka::TopicPartitionList::new();
    offsets.add_partition_offset(&names.journal, 0, rdkafka::Offset::Offset(5)).unwrap();
    let group = member.group_metadata().unwrap();
    super::native::send_offsets(producer.client(), &offsets, &group, Duration::from_secs(10)).unwrap();
    let checked = Admin::connect(&settings("dangling", "b")).unwrap().check(&names).unwrap();
    let errands = Errands::start(&settings("dangling", "b"), &names, &checked, &bell).unwrap();
    let recover = || {
        errands.send(Errand::Recover(ShardId(0)));
        match until(&bell, || errands.answer()) {
            Answer::Event(Event::Recovered(recovered)) => recovered.committed,
            other => panic!("{other:?}"),
        }
    };
    let started = Instant::now();
    assert_eq!(recover(), CommittedOffset::Unstable);
    super::transactions::end_transaction_of(&settings("dangling", "b"), "dangling-dead", Duration::from_secs(20)).unwrap();
    until(&bell, || (recover() == CommittedOffset::Absent).then_some(()));
    assert!(started.elapsed() < Duration::from_secs(7), "sooner than its time-out: {:?}", started.elapsed());
}
