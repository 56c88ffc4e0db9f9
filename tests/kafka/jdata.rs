//! Real shop data through Kafka and through `backtest`: the same changes.

use std::process::Command;

use serde_json::Value;

use crate::common_jdata as jdata;
use crate::expected::now;
use crate::harness::Site;
use segmentd::time::Timestamp;

/// Fields that name places in a log or the publisher's clock differ between a topic and a file.
fn stripped(mut change: Value) -> String {
    let object = change.as_object_mut().unwrap();
    for field in ["change_id", "cause_event", "corrects", "emitted_at"] {
        object.shift_remove(field);
    }
    change.to_string()
}

#[test]
fn the_february_sample_gives_the_same_changes_live_and_in_a_backtest() {
    let Some(path) = jdata::sample() else { return };
    let events = jdata::events(&path);
    let site = Site::new("jdata", &["actions"], 3, jdata::DEFINITIONS);
    let feed = site.feed();
    let mut file = String::new();
    for e in &events {
        let at = Timestamp::parse_rfc3339(&e.ts).unwrap();
        feed.send(&site.names.inputs[0], &e.customer, at.0, &e.json);
        file.push_str(&e.json);
        file.push('\n');
    }
    feed.flush();
    let events_file = site.dir.path().join("events.ndjson");
    std::fs::write(&events_file, file).unwrap();
    let daemon = site.run("one");

    let output = Command::new(env!("CARGO_BIN_EXE_segmentd"))
        .args(["backtest", "--until", &now().to_string(), "--definitions"])
        .arg(site.dir.path().join("segments"))
        .arg("--events")
        .arg(&events_file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut expected: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(|l| stripped(serde_json::from_str(l).unwrap())).collect();
    assert!(expected.len() > 1_000, "{} changes", expected.len());

    let records = site.wait_for(&site.names.changes, &format!("{} changes", expected.len()), |r| r.len() >= expected.len());
    let mut got: Vec<String> = records.iter().map(|r| stripped(r.json())).collect();
    expected.sort();
    got.sort();
    let missing: Vec<_> = expected.iter().filter(|c| got.binary_search(c).is_err()).take(3).collect();
    let extra: Vec<_> = got.iter().filter(|c| expected.binary_search(c).is_err()).take(3).collect();
    assert!(got == expected, "missing: {missing:#?}\nnot expected: {extra:#?}");
    assert!(daemon.end().success());
}
