//! What a plan shares and what an event touches.

use std::sync::Arc;

use super::Plan;
use super::feature::{FeatureKind, Keep};
use super::node::UnitKind;
use crate::lang::{SourceFile, compile};
use crate::time::Millis;

const CATALOGUE: &str = "
event viewed is activity { category string  price money in EUR  n int }
event bought is activity { total money in EUR }
trait plan string
";

fn plan(definitions: &str) -> Plan {
    let compiled = compile(&[SourceFile::new("test.seg", format!("{CATALOGUE}{definitions}"))]);
    let errors: Vec<String> = compiled.errors().map(ToString::to_string).collect();
    Plan::compile(Arc::new(compiled.workspace.unwrap_or_else(|| panic!("{errors:?}"))))
}

#[test]
fn ten_thousand_categories_are_one_look_up() {
    let mut text = String::new();
    for i in 0..10_000 {
        text.push_str(&format!("segment s{i} {{ when at least {} viewed[category = \"c{i}\", n > 1] in last 7d }}\n", 1 + i % 5));
    }
    let plan = plan(&text);
    let route = &plan.routes[plan.schema().event_by_name["viewed"].at()];
    assert!(route.scan.is_empty() && route.always.is_empty());
    assert_eq!(route.tables.len(), 1);
    assert_eq!(route.tables[0].texts.len(), 10_000);
    let candidates = &route.tables[0].texts["c77"];
    assert_eq!(candidates.len(), 1);
    assert!(candidates[0].filter.is_some(), "the rest of the filter is still asked");
}

#[test]
fn lists_of_values_are_looked_up_and_other_filters_scanned() {
    let plan = plan(
        "segment a { when any viewed[category in [\"x\", \"y\", \"x\"]] ever }
         segment b { when any viewed[price >= 80 EUR] ever }
         segment c { when any viewed ever }
         segment d { when any viewed[n = 3] ever }",
    );
    let route = &plan.routes[plan.schema().event_by_name["viewed"].at()];
    assert_eq!((route.always.len(), route.scan.len(), route.tables.len()), (1, 1, 2));
    let of_text = route.tables.iter().find(|t| !t.texts.is_empty()).expect("a table of texts");
    assert_eq!(of_text.texts.len(), 2);
    assert_eq!(of_text.texts["x"].len(), 1, "a value that is named twice matches once");
    assert!(route.tables.iter().any(|t| t.ints.contains_key(&3)));
}

#[test]
fn segments_share_one_ring_as_large_as_the_largest_needs() {
    let plan = plan(
        "segment a { when at least 3 viewed in last 1d }
         segment b { when at least 7 viewed in last 30d }
         segment c { when exactly 2 viewed in last 2h }
         segment d { when last(viewed) at least 3d ago }
         segment e { when no viewed in last 5d and any viewed ever }",
    );
    let rings: Vec<_> = plan.features.iter().filter(|f| matches!(f.kind, FeatureKind::Ring { .. })).collect();
    assert_eq!(rings.len(), 1);
    assert_eq!(rings[0].kind, FeatureKind::Ring { keep: Keep::Newest, capacity: 7 });
    assert_eq!(rings[0].edges.len(), 5);
    assert_eq!(plan.selectors.len(), 1);
}

#[test]
fn edges_say_which_way_one_more_event_moves_a_segment() {
    let plan = plan(
        "segment more { when at least 3 viewed in last 1d }
         segment fewer { when no viewed in last 1d }
         segment both { when exactly 1 viewed in last 1d }
         segment waits { when last(viewed) at least 3d ago }
         segment latch { when at least 2 viewed in last 1d  exit when any bought in last 1h }",
    );
    let ring = plan.features.iter().find(|f| matches!(f.kind, FeatureKind::Ring { .. }) && f.edges.len() == 5).expect("of viewed");
    for edge in &ring.edges {
        let UnitKind::Segment(_) = plan.units[edge.unit as usize].kind else { panic!("no dwells here") };
        let want = match plan.unit_name(edge.unit).as_str() {
            "more" | "latch" => (true, None, false),
            "fewer" => (false, None, true),
            "both" => (true, None, true),
            "waits" => (true, Some(Millis(3 * Millis::DAY.0)), true),
            other => panic!("{other}"),
        };
        assert_eq!((edge.enters, edge.enters_after, edge.exits), want, "{}", plan.unit_name(edge.unit));
    }
    let bought = plan.features.iter().find(|f| matches!(f.kind, FeatureKind::Ring { .. }) && f.edges.len() == 1).expect("of bought");
    assert_eq!((bought.edges[0].enters, bought.edges[0].exits), (false, true));
}

#[test]
fn equal_conditions_are_one_and_only_used_properties_are_decoded() {
    let plan = plan(
        "segment a { when any viewed[n > 3] in last 1d and customer.plan = \"plus\" }
         segment b { when customer.plan = \"plus\" and any bought ever }",
    );
    let traits = plan.nodes.iter().filter(|n| n.text.starts_with("customer.plan")).count();
    assert_eq!(traits, 1);
    let viewed = plan.schema().event_by_name["viewed"];
    let slots: Vec<&str> = plan.schema().events[viewed.at()].slots.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(slots, ["n"]);
}

#[test]
fn the_report_says_when_time_alone_changes_a_segment() {
    let plan = plan(
        "segment idle { when no activity in last 30m and any activity ever }
         segment plus { when customer.plan = \"plus\" }",
    );
    let line = |segment: &str, heading: &str| {
        let report = plan.report().into_iter().find(|r| r.segment == segment).expect("reported");
        report.lines.into_iter().find(|(h, _)| h == heading).expect("said").1
    };
    assert!(line("idle", "time").contains("30m after an event"), "{}", line("idle", "time"));
    assert_eq!(line("plus", "time"), "changes by records only");
    assert_eq!(line("idle", "touched"), "bought, viewed");
    assert_eq!(line("plus", "touched"), "traits");
}

#[test]
fn sessions_marks_and_keys_are_kept_apart_and_touched_by_what_can_change_them() {
    let plan = plan(
        "segment here { when at least 4 viewed in this session }
         segment here_too { when at least 2 viewed in this session and no bought in this session }
         segment after { when at least 3 viewed since last bought }
         segment product { when at least 3 viewed per category in last 2d }
         segment product_too { when at least 5 viewed per category in last 1d }
         segment plain { when at least 3 viewed in last 2d }",
    );
    let of = |text: &str| {
        let report = plan.report();
        let state = |r: &super::SegmentReport| r.lines.iter().find(|(h, _)| h == "state").map(|(_, text)| text.clone());
        report.iter().find(|r| r.segment == text).and_then(state).expect("reported")
    };
    let here = "session 12 B, shared by 2 segments; count(viewed in session) 4 B, shared by 2 segments";
    assert!(of("here").contains(here), "{}", of("here"));
    assert!(of("after").contains("ring(viewed since bought, K=3) up to 17 B and 6 B for the mark"), "{}", of("after"));
    let keys = "ring(viewed per category, K=5) up to 27 B, for each of up to 64 keys, with the key, shared by 2 segments";
    assert!(of("product").contains(keys), "{}", of("product"));
    assert!(!of("plain").contains("per"), "{}", of("plain"));
    let line = |segment: &str, heading: &str| {
        let report = plan.report().into_iter().find(|r| r.segment == segment).expect("reported");
        report.lines.into_iter().find(|(h, _)| h == heading).expect("said").1
    };
    assert_eq!(line("here", "time"), "can change without a record, when the session ends");
    assert_eq!(line("here", "touched"), "bought, viewed");
    assert_eq!(line("after", "touched"), "bought, viewed");
    assert_eq!(line("product", "touched"), "viewed");
    // One more view only lets them enter; a session that turns, an order or a forgotten key can do both.
    let feature = |within: &str| plan.features.iter().find(|f| format!("{:?}", f.within).contains(within)).expect("kept");
    let after = feature("since: Some");
    assert_eq!((after.edges[0].enters, after.edges[0].exits), (true, false));
    assert_eq!(after.losses, [after.edges[0].unit]);
    let keyed = feature("key: Some");
    assert!(keyed.edges.iter().all(|e| e.enters && !e.exits));
    assert_eq!(keyed.losses.len(), 2);
    let session = plan.features.iter().find(|f| f.kind == FeatureKind::Session).expect("asked for");
    assert!(session.edges.len() == 2 && session.edges.iter().all(|e| e.enters && e.exits));
}

#[test]
fn a_sequence_is_kept_once_for_all_its_windows() {
    let plan = plan(
        "segment recent { when sequence(viewed then bought within 10m) in last 1d }
         segment old { when sequence(viewed then bought within 10m) at least 1d ago }
         segment absent { when sequence(viewed then no bought within 1h) in last 1d }
         segment twice { when sequence(viewed then viewed) ever }",
    );
    let sequences: Vec<_> = plan.features.iter().filter(|f| matches!(f.kind, FeatureKind::Sequence(_))).collect();
    let edges: Vec<Vec<(String, bool, bool)>> =
        sequences.iter().map(|f| f.edges.iter().map(|e| (plan.unit_name(e.unit), e.enters, e.exits)).collect()).collect();
    let edge = |segment: &str, enters, exits| (segment.to_string(), enters, exits);
    // A completion that nothing can take back only gets newer.
    let want =
        [vec![edge("recent", true, false), edge("old", true, true)], vec![edge("absent", true, true)], vec![edge("twice", true, false)]];
    let sorted = |mut all: Vec<Vec<(String, bool, bool)>>| {
        all.iter_mut().for_each(|edges| edges.sort());
        all.sort();
        all
    };
    assert_eq!(sorted(edges), sorted(want.to_vec()));
    let line = |segment: &str, heading: &str| {
        let report = plan.report().into_iter().find(|r| r.segment == segment).expect("reported");
        report.lines.into_iter().find(|(h, _)| h == heading).expect("said").1
    };
    assert_eq!(line("absent", "time"), "can change without a record, 1d after a completion; 1h after `viewed then no bought`");
    assert!(line("recent", "state").contains("sequence(viewed then bought)"), "{}", line("recent", "state"));
    assert_eq!(line("recent", "history"), "complete 1d10m after the first record");
    assert_eq!(line("twice", "time"), "changes by records only");
    assert_eq!(line("recent", "touched"), "bought, viewed");
}
