//! Creation, checks, descriptions and deletion of topics; the definitions topic.

use std::time::{Duration, Instant};

use segmentd::ids::SetHash;
use segmentd::kafka::{Admin, Error, Settings, definitions};

use crate::harness::{names, settings, unique};

#[test]
fn topics_are_made_once_and_pass_their_own_check() {
    let prefix = unique("make");
    let settings = settings(&prefix, "a");
    let admin = Admin::connect(&settings).unwrap();
    let names = names(&prefix, &["clicks", "purchases"]);

    let absent = admin.check(&names).unwrap_err().to_string();
    assert!(absent.contains(&format!("{prefix}.clicks")) && absent.contains("segmentd topics create"), "{absent}");
    let refused = admin.create(&names, None, None).unwrap_err();
    assert!(matches!(refused, Error::Topics(_)), "inputs are the user's: {refused}");

    let created = admin.create(&names, Some(3), None).unwrap();
    assert_eq!(created.iter().filter(|c| c.new).count(), 7);
    let checked = admin.check(&names).unwrap();
    assert_eq!(checked.shards, 3);
    assert_eq!(checked.ours.iter().map(|t| t.partitions).collect::<Vec<_>>(), [3, 3, 3, 3, 1]);
    assert!(checked.notes.is_empty(), "{:?}", checked.notes);
    let ids: std::collections::BTreeSet<_> = checked.inputs.iter().chain(&checked.ours).map(|t| t.id).collect();
    assert_eq!(ids.len(), 7, "every topic has an id of its own");

    let again = admin.create(&names, None, None).unwrap();
    assert!(again.iter().all(|c| !c.new));
}

#[test]
fn topics_that_are_not_co_partitioned_are_refused_with_names_and_counts() {
    let prefix = unique("counts");
    let settings = settings(&prefix, "a");
    let admin = Admin::connect(&settings).unwrap();
    let mut names = names(&prefix, &["clicks"]);
    admin.create(&names, Some(3), None).unwrap();
    let mut other = crate::harness::names(&unique("other"), &[]);
    other.inputs.push(format!("{prefix}.purchases"));
    admin.create(&other, Some(2), None).unwrap();
    names.inputs.push(format!("{prefix}.purchases"));
    let refused = admin.check(&names).unwrap_err().to_string();
    assert!(refused.contains(&format!("{prefix}.clicks has 3, {prefix}.purchases has 2")), "{refused}");
}

#[test]
fn a_reset_gives_new_topics_with_new_ids_and_leaves_the_inputs() {
    let prefix = unique("reset");
    let settings = settings(&prefix, "a");
    let admin = Admin::connect(&settings).unwrap();
    let names = names(&prefix, &["clicks"]);
    admin.create(&names, Some(2), None).unwrap();
    let before = admin.check(&names).unwrap();
    assert_eq!(admin.delete_ours(&names, &settings.group).unwrap().len(), 5);
    let problems = admin.check(&names).unwrap_err().to_string();
    assert!(problems.contains(&format!("topic {prefix}.journal does not exist")), "{problems}");
    admin.create(&names, None, None).unwrap();
    let after = admin.check(&names).unwrap();
    assert_eq!(before.inputs, after.inputs);
    assert!(before.ours.iter().zip(&after.ours).all(|(b, a)| b.name == a.name && b.id != a.id));
}

#[test]
fn definitions_come_back_in_the_order_of_publication() {
    let prefix = unique("sets");
    let settings = settings(&prefix, "a");
    let admin = Admin::connect(&settings).unwrap();
    let names = names(&prefix, &["clicks"]);
    admin.create(&names, Some(1), None).unwrap();
    assert_eq!(definitions::read(&settings, &admin, &names.definitions).unwrap(), definitions::Stored::default());
    // The second is larger than a broker's default limit of one record.
    let values = [b"small".to_vec(), (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()];
    for (i, value) in values.iter().enumerate() {
        definitions::publish(&settings, &names.definitions, SetHash([i as u8; 16]), value).unwrap();
    }
    definitions::publish_zones(&settings, &names.definitions, "2026a", b"first").unwrap();
    definitions::publish_zones(&settings, &names.definitions, "2026a", b"second").unwrap();
    let stored = definitions::read(&settings, &admin, &names.definitions).unwrap();
    assert_eq!(stored.zones, [("2026a".to_owned(), b"first".to_vec())].into());
    assert_eq!(
        stored.sets.iter().map(|s| (s.hash, &s.value)).collect::<Vec<_>>(),
        [(SetHash([0; 16]), &values[0]), (SetHash([1; 16]), &values[1])]
    );
    assert_eq!(admin.bounds(&[(&names.definitions, 0)]).unwrap(), [(0, 4)]);
}

#[test]
fn an_absent_broker_is_an_error_after_a_bounded_wait() {
    let settings = Settings { brokers: "127.0.0.1:1".into(), ..settings("absent", "a") };
    let started = Instant::now();
    let error = Admin::connect_within(&settings, Duration::from_secs(2)).err().expect("nobody listens there");
    assert!(matches!(error, Error::Unreachable { .. }) && !error.is_configuration(), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}
