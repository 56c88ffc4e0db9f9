//! The engine as a whole on small logs: what `.segtest` files cannot say (digests, herds, wake-ups, saved bytes, reasons).

use std::sync::Arc;

use super::batch::{Batch, Body, Datum, Record, customer_hash};
use super::{Engine, LoadError, Outputs, Settings};
use crate::ids::{InputIndex, Position};
use crate::lang::{SourceFile, compile};
use crate::model::ChangeKind;
use crate::plan::Plan;
use crate::time::{Millis, Timestamp};

const CATALOGUE: &str = "
event a is activity { n int }
event b is activity { n int }
trait vip bool
";
const START: Timestamp = Timestamp(1_767_571_200_000);

pub(super) fn plan(definitions: &str) -> Arc<Plan> {
    let compiled = compile(&[SourceFile::new("test.seg", format!("{CATALOGUE}{definitions}"))]);
    let errors: Vec<String> = compiled.errors().map(ToString::to_string).collect();
    Arc::new(Plan::compile(Arc::new(compiled.workspace.unwrap_or_else(|| panic!("{errors:?}")))))
}

pub(super) fn at(ms: i64) -> Timestamp {
    START + Millis(ms)
}

/// Appends an event with `n`.
pub(super) fn event(plan: &Plan, batch: &mut Batch, (arrival, ts): (i64, i64), customer: &str, name: &str, n: i64) {
    let event = plan.schema().event_by_name[name];
    let slots = plan.schema().events[event.at()].slots.len();
    let start = batch.data.len() as u32;
    (0..slots).for_each(|_| batch.data.push(Datum::Int(n)));
    let range = batch.push_text(customer);
    batch.records.push(Record {
        position: Position { input: InputIndex(0), partition: 0, offset: arrival },
        arrival: at(arrival),
        ts: Some(at(ts)),
        customer: range,
        customer_hash: customer_hash(customer),
        id: None,
        body_hash: 0,
        body: Body::Event { event, slots: super::batch::DataRange { start, len: slots as u32 } },
    });
}

fn words(out: &Outputs) -> Vec<String> {
    let word = |p: &super::Published| {
        let c = &p.change;
        format!("{} {} {} since {} at {}", c.kind.word(), c.segment, c.customer, (c.since - START).0, (c.decided_at - START).0)
    };
    out.changes.iter().map(word).collect()
}

const DEFINITIONS: &str = "
segment idle { when no activity in last 30m and any activity ever }
segment keen { when at least 2 a in last 1h  exit when any b in last 10m }
segment held { when (any a in last 1h) for at least 20m }
segment both { when in segment keen and sum(a.n) in last 1d >= 3 }
";

/// A log of one customer and its neighbours that makes every segment turn.
fn log(plan: &Plan, from: i64, to: i64) -> Batch {
    let mut batch = Batch::default();
    for i in from..to {
        let minute = i * 60_000;
        let customer = format!("c{}", i % 7);
        let name = if i % 11 == 0 { "b" } else { "a" };
        event(plan, &mut batch, (minute, minute - (i % 5) * 1_000), &customer, name, i % 3);
    }
    batch
}

#[test]
fn spurious_wake_ups_leave_no_trace() {
    let plan = plan(DEFINITIONS);
    let (mut calm, mut woken) = (Engine::new(plan.clone(), Settings::default()), Engine::new(plan.clone(), Settings::default()));
    let (mut left, mut right) = (Outputs::default(), Outputs::default());
    for i in 0..300 {
        let batch = log(&plan, i, i + 1);
        calm.apply(&batch, None, &mut left);
        woken.apply(&batch, None, &mut right);
        for ms in [1, 7_000, 59_999] {
            let (digest, clock, changes) = (woken.digest(), woken.clock(), right.changes.len());
            let applied = woken.apply(&Batch::default(), Some(at(i * 60_000 + ms)), &mut right);
            if right.changes.len() == changes && !applied.changed {
                assert_eq!((woken.digest(), woken.clock()), (digest, clock), "minute {i}");
            }
        }
    }
    let end = Some(at(400 * 60_000));
    calm.apply(&Batch::default(), end, &mut left);
    woken.apply(&Batch::default(), end, &mut right);
    let per_customer = |out: &Outputs| {
        let mut words = words(out);
        words.sort_by_key(|w| w.split(' ').nth(2).map(str::to_string));
        words
    };
    assert!(left.changes.len() > 100, "{}", left.changes.len());
    assert_eq!(per_customer(&left), per_customer(&right));
    assert_eq!(calm.digest(), woken.digest());
    assert_eq!(calm.members(), woken.members());
}

#[test]
fn a_saved_engine_goes_on_as_if_nothing_had_happened() {
    let plan = plan(DEFINITIONS);
    let mut whole = Engine::new(plan.clone(), Settings::default());
    let mut restored = Engine::new(plan.clone(), Settings::default());
    let (mut left, mut right) = (Outputs::default(), Outputs::default());
    for i in 0..200 {
        let batch = log(&plan, i, i + 1);
        whole.apply(&batch, None, &mut left);
        restored.apply(&batch, None, &mut right);
        let mut bytes = Vec::new();
        restored.save(&mut bytes);
        restored = Engine::load(plan.clone(), Settings::default(), &bytes).expect("its own bytes");
        assert_eq!((whole.digest(), whole.armed(), whole.customers()), (restored.digest(), restored.armed(), restored.customers()));
        assert_eq!(whole.members(), restored.members());
        assert_eq!(whole.memberships("c3"), restored.memberships("c3"));
    }
    assert_eq!(left.changes, right.changes);
}

#[test]
fn damaged_or_foreign_bytes_are_refused() {
    let plan = plan(DEFINITIONS);
    let mut engine = Engine::new(plan.clone(), Settings::default());
    engine.apply(&log(&plan, 0, 20), None, &mut Outputs::default());
    let mut bytes = Vec::new();
    engine.save(&mut bytes);
    let load = |bytes: &[u8]| Engine::load(plan.clone(), Settings::default(), bytes).map(|_| ());
    assert_eq!(load(&bytes), Ok(()));
    for at in [0, 9, 40, bytes.len() / 2, bytes.len() - 1] {
        let mut broken = bytes.clone();
        broken[at] ^= 0x40;
        assert!(load(&broken).is_err(), "byte {at}");
    }
    assert!(matches!(load(&bytes[..bytes.len() - 3]), Err(LoadError::Damaged { .. })));
    assert_eq!(load(b"something else entirely"), Err(LoadError::Version));
    let other = self::plan("segment one { when any a ever }");
    assert_eq!(Engine::load(other, Settings::default(), &bytes).map(|_| ()), Err(LoadError::Version));
}

#[test]
fn a_herd_is_cut_by_the_budget_and_goes_on_where_it_was_cut() {
    let plan = plan("segment idle { when no activity in last 30m and any activity ever }");
    let records = |plan: &Plan| {
        let mut batch = Batch::default();
        (0..50).for_each(|i| event(plan, &mut batch, (0, 0), &format!("c{i}"), "a", 1));
        batch
    };
    let mut whole = Engine::new(plan.clone(), Settings::default());
    let mut all = Outputs::default();
    whole.apply(&records(&plan), Some(at(1_800_000)), &mut all);
    assert_eq!(all.changes.len(), 50);

    let small = Settings { output_budget: 3_000, ..Settings::default() };
    let mut cut = Engine::new(plan.clone(), small);
    let (mut got, mut rounds, mut batch) = (Vec::new(), 0, records(&plan));
    loop {
        let mut out = Outputs::default();
        let applied = cut.apply(&batch, Some(at(1_800_000)), &mut out);
        got.extend(words(&out));
        rounds += 1;
        let Some(cursor) = applied.cursor else { break };
        assert_eq!(cursor.deadline, at(1_800_000));
        batch.clear();
    }
    assert!(rounds > 3, "{rounds}");
    assert_eq!(got, words(&all));
    assert_eq!(cut.digest(), whole.digest());
}

#[test]
fn a_cut_herd_waits_until_it_is_told_again_how_far_the_clock_may_go() {
    let plan = plan("segment idle { when no activity in last 30m and any activity ever }");
    let mut batch = Batch::default();
    (0..3).for_each(|i| event(&plan, &mut batch, (0, 0), &format!("c{i}"), "a", 1));
    // Each call gets on, however small the budget is and however much the records put out.
    let mut engine = Engine::new(plan.clone(), Settings { output_budget: 0, ..Settings::default() });
    let mut out = Outputs::default();
    assert!(engine.apply(&batch, Some(at(1_800_000)), &mut out).cursor.is_some());
    assert_eq!(out.changes.len(), 1);
    let applied = engine.apply(&Batch::default(), None, &mut out);
    assert_eq!((applied.cursor, applied.changed, out.changes.len()), (None, false, 1));
    for n in 2..=3 {
        assert!(engine.apply(&Batch::default(), Some(at(1_800_000)), &mut out).cursor.is_some());
        assert_eq!(out.changes.len(), n);
    }
    let applied = engine.apply(&Batch::default(), Some(at(1_800_000)), &mut out);
    assert_eq!((applied.cursor, applied.changed, out.changes.len()), (None, false, 3), "whether anybody is left is not foreseen");
}

#[test]
fn an_idle_move_that_changes_nothing_leaves_the_clock() {
    let plan = plan("segment idle { when no activity in last 30m and any activity ever }");
    let mut engine = Engine::new(plan.clone(), Settings::default());
    let mut batch = Batch::default();
    event(&plan, &mut batch, (0, 0), "c", "a", 1);
    let mut out = Outputs::default();
    assert!(engine.apply(&batch, None, &mut out).changed);
    let applied = engine.apply(&Batch::default(), Some(at(1_799_999)), &mut out);
    assert_eq!((applied.changed, applied.clock), (false, at(0)));
    assert_eq!(engine.next_wake(), Some(at(1_800_000)));
    let applied = engine.apply(&Batch::default(), Some(at(9_000_000)), &mut out);
    assert_eq!((applied.changed, applied.clock), (true, at(1_800_000)));
    assert_eq!(words(&out), ["entered idle c since 1800000 at 1800000"]);
}

#[test]
fn a_change_says_why_and_until_when() {
    let plan = plan("segment keen { when at least 2 a in last 1h and not (sum(a.n) in last 1d >= 10)  emit total = sum(a.n) in last 1d }");
    let mut engine = Engine::new(plan.clone(), Settings::default());
    let mut batch = Batch::default();
    event(&plan, &mut batch, (0, 0), "c", "a", 3);
    event(&plan, &mut batch, (60_000, 60_000), "c", "a", 4);
    let mut out = Outputs::default();
    engine.apply(&batch, None, &mut out);
    let change = &out.changes[0].change;
    let reasons: Vec<String> = change.reason.iter().map(|r| format!("{} | {} | {}", r.condition, r.observed, r.threshold)).collect();
    assert_eq!(reasons, ["at least 2 a in last 1h | 2 | 2", "not sum(a.n) in last 1d >= 10 | 7 | 10"]);
    assert_eq!(change.valid_until, Some(at(3_600_000)));
    assert_eq!(change.kind, ChangeKind::Entered);
    assert_eq!(change.emit, [("total".into(), crate::model::Value::Int(7))]);
    assert_eq!(engine.memberships("c")[0].emit, change.emit);
    assert!(engine.describe("c").contains("in keen since"), "{}", engine.describe("c"));
}

#[test]
fn how_records_fall_into_batches_changes_nothing() {
    let plan = plan(DEFINITIONS);
    let run = |cuts: &[i64]| {
        let mut engine = Engine::new(plan.clone(), Settings::default());
        let mut out = Outputs::default();
        for pair in cuts.windows(2) {
            engine.apply(&log(&plan, pair[0], pair[1]), None, &mut out);
        }
        let mut words = words(&out);
        words.sort_by_key(|w| w.split(' ').nth(2).map(str::to_string));
        (words, engine.digest())
    };
    let one: Vec<i64> = (0..=240).collect();
    assert_eq!(run(&[0, 240]), run(&one));
    assert_eq!(run(&[0, 13, 14, 100, 240]), run(&one));
}

/// What the n-th change says: its reasons, and `valid_until` in milliseconds.
fn told(out: &Outputs, n: usize) -> (Vec<String>, Option<i64>) {
    let change = &out.changes[n].change;
    let reasons = change.reason.iter().map(|r| format!("{} | {} | {}", r.condition, r.observed, r.threshold));
    (reasons.collect(), change.valid_until.map(|t| (t - START).0))
}

#[test]
fn delays_say_why_and_until_when() {
    const MINUTE: i64 = 60_000;
    let plan = plan(
        "segment s { when any a in last 1h  enter after 5m  exit after 10m  stay at least 20m  cooldown 2h  settle 1m }
         segment x { when any a ever  expire after 2h  settle 1m }",
    );
    let mut engine = Engine::new(plan.clone(), Settings::default());
    let mut out = Outputs::default();
    let mut batch = Batch::default();
    event(&plan, &mut batch, (0, 0), "c", "a", 1);
    engine.apply(&batch, Some(at(5 * MINUTE)), &mut out);
    assert_eq!(words(&out), ["entered x c since 0 at 0"]);
    assert_eq!(told(&out, 0), (vec!["any a ever | 1 | 1".to_string()], Some(120 * MINUTE)));
    // While it settles, whoever asks is told that it may turn.
    assert!(engine.describe("c").contains("s: about to change, and settles"), "{}", engine.describe("c"));
    out.changes.clear();
    engine.apply(&Batch::default(), Some(at(6 * MINUTE)), &mut out);
    assert_eq!(words(&out), ["entered s c since 300000 at 360000"]);
    // R42: the deadline, without settle; the exit condition has to hold for ten minutes, from 60m on.
    let because = ["any a in last 1h | 1 | 1", "enter after 5m | 6m | 5m"].map(String::from).to_vec();
    assert_eq!(told(&out, 0), (because, Some(70 * MINUTE)));
    out.changes.clear();
    engine.apply(&Batch::default(), Some(at(75 * MINUTE)), &mut out);
    assert_eq!(words(&out), ["exited s c since 4200000 at 4260000"]);
    let because = ["any a in last 1h | 0 | 1", "exit after 10m | 11m | 10m", "stay at least 20m | 1h6m | 20m"].map(String::from).to_vec();
    assert_eq!(told(&out, 0), (because, None));
    out.changes.clear();
    engine.apply(&Batch::default(), Some(at(130 * MINUTE)), &mut out);
    assert_eq!(words(&out), ["exited x c since 7200000 at 7260000"]);
    assert_eq!(out.changes[0].change.cause, crate::model::Cause::Expired);
    assert_eq!(told(&out, 0), (vec!["expire after 2h | 2h1m | 2h".to_string()], None));
    assert!(engine.describe("c").contains("blocked since it expired"), "{}", engine.describe("c"));
}

/// What a segment remembers stands in units of its own, so that one without such rules has the same bytes and units as ever.
#[test]
fn rules_that_are_not_there_cost_nothing() {
    let bytes = |rules: &str| {
        let plan = plan(&format!("segment s {{ when any a in last 1h  {rules} }}"));
        let mut engine = Engine::new(plan.clone(), Settings::default());
        let mut batch = Batch::default();
        event(&plan, &mut batch, (0, 0), "c", "a", 1);
        engine.apply(&batch, None, &mut Outputs::default());
        let mut saved = Vec::new();
        engine.save(&mut saved);
        (plan.units.len(), saved.len())
    };
    let (units, plain) = bytes("");
    assert_eq!(units, 1);
    // Nothing waits and nobody is blocked: only the deadline of the stay or expiry may take more.
    for rules in ["stay at least 1h", "cooldown 1h", "expire after 1h", "settle 1m", "exit after 1m"] {
        let (_, with) = bytes(rules);
        assert!(with <= plain + 8, "{rules}: {with} bytes, {plain} without");
    }
}
