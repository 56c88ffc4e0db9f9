//! S26: evaluation driven by timers equals stepping through every millisecond. Random segments whose delays are a few milliseconds long, over
//! random records: once with the engine's own timers, once with every unit looked at in every millisecond, with wake-ups without reason,
//! saved and loaded after every record, and in one batch. Needs no second implementation: only the looking differs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch::{Batch, Body, DataRange, Datum, Record, customer_hash};
use super::{Engine, Outputs, Settings};
use crate::ids::{InputIndex, Position, PurposeIndex, TraitIndex};
use crate::lang::{SourceFile, compile};
use crate::model::Cause;
use crate::plan::Plan;
use crate::plan::node::{UnitId, UnitKind};
use crate::time::Timestamp;

const CATALOGUE: &str = "
event a { n int }
event b { n int }
trait on bool
trait due instant
purpose mail
purpose ads default granted
";

const CONDITIONS: &[&str] = &[
    "customer.on",
    "any a in last 5ms",
    "no a in last 4ms and any a ever",
    "any a between 2ms and 6ms ago",
    "at least 2 a in last 7ms",
    "any a between 1ms and 2ms ago",
    "any (a | b) in last 2ms",
    "(any a between 1ms and 3ms ago or any a between 4ms and 9ms ago)",
    "exactly 1 b in last 6ms",
    "(any b in last 5ms or customer.on)",
    "customer.due in next 6ms",
    "customer.due at least 3ms ago",
    "sum(a.n) in last 8ms >= 3",
    "last(a) at least 3ms ago",
    "consent to mail",
    "not consent to ads",
    "customer.on for at least 3ms",
    "everyone",
];

const RULES: &[&str] = &["enter after", "exit after", "stay at least", "cooldown", "expire after"];

struct Step {
    /// Zero-based millisecond of the arrival.
    arrival: i64,
    /// So much later the log is known to be read; `None`: nothing is known before the next record.
    idle: Option<i64>,
}

/// Definitions and a log of one seed.
struct Case {
    plan: Arc<Plan>,
    text: String,
    steps: Vec<Step>,
    /// A record per step.
    records: Batch,
    end: i64,
}

fn at(ms: i64) -> Timestamp {
    Timestamp(1_767_571_200_000 + ms)
}

fn definitions(rng: &mut fastrand::Rng) -> String {
    let mut text = String::new();
    let segments = 1 + rng.usize(..4);
    for s in 0..segments {
        let pick = |rng: &mut fastrand::Rng| {
            let plain = CONDITIONS[rng.usize(..CONDITIONS.len())].to_string();
            match s > 0 && rng.u8(..3) == 0 {
                true if rng.bool() => format!("in segment s{}", rng.usize(..s)),
                true => format!("in segment s{} and ({plain})", rng.usize(..s)),
                false => plain,
            }
        };
        text += &format!("segment s{s} {{ when {}", pick(rng));
        if rng.bool() {
            text += &format!("  exit when {}", pick(rng));
        }
        let (mut shortest, mut stay) = (i64::MAX, 0);
        for rule in RULES {
            if rng.u8(..3) > 0 {
                continue;
            }
            let mut ms = rng.i64(1..9);
            match *rule {
                "enter after" | "exit after" => shortest = shortest.min(ms),
                "stay at least" => (shortest, stay) = (shortest.min(ms), ms),
                "expire after" => ms = ms.max(stay),
                _ => {}
            }
            text += &format!("  {rule} {ms}ms");
        }
        if rng.bool() && shortest > 1 {
            text += &format!("  settle {}ms", rng.i64(1..shortest.min(11)));
        }
        match rng.u8(..6) {
            0 => text += "  require consent mail",
            1 => text += "  require consent ads",
            2 if rng.bool() => text += "  require consent mail, ads",
            _ => {}
        }
        text += " }\n";
    }
    text
}

fn case(seed: u64) -> Case {
    let mut rng = fastrand::Rng::with_seed(seed);
    let text = definitions(&mut rng);
    let compiled = compile(&[SourceFile::new("test.seg", format!("{CATALOGUE}{text}"))]);
    let errors: Vec<String> = compiled.errors().map(ToString::to_string).collect();
    let plan = Arc::new(Plan::compile(Arc::new(compiled.workspace.unwrap_or_else(|| panic!("{errors:?}\n{text}")))));
    let (mut records, mut steps, mut now) = (Batch::default(), Vec::new(), 0);
    let n = 10 + rng.usize(..40);
    for offset in 0..n {
        now += [0, 0, 1, 1, 2, 3, 5, 12][rng.usize(..8)];
        let ts = now - [0, 0, 0, 1, 2, 4, 9][rng.usize(..7)];
        let body = match rng.u8(..10) {
            0..=3 => {
                let event = plan.schema().event_by_name[if rng.bool() { "a" } else { "b" }];
                let slots = plan.schema().events[event.at()].slots.len();
                let start = records.data.len() as u32;
                let n = rng.i64(..3);
                (0..slots).for_each(|_| records.data.push(Datum::Int(n)));
                Body::Event { event, slots: DataRange { start, len: slots as u32 } }
            }
            4..=6 => {
                let start = records.traits.len() as u32;
                let datum = if rng.u8(..3) == 0 {
                    (TraitIndex(0), Datum::Instant(at(now + rng.i64(-6..12))))
                } else {
                    (TraitIndex(1), Datum::Bool(rng.bool()))
                };
                records.traits.push(datum);
                Body::Traits(DataRange { start, len: 1 })
            }
            7 => Body::Nothing,
            _ => {
                let until = if rng.bool() { Some(at(now + rng.i64(-3..12))) } else { None };
                Body::Consent { purpose: PurposeIndex(rng.u16(..2)), granted: rng.u8(..3) > 0, until }
            }
        };
        let id = if rng.u8(..5) == 0 { "other" } else { "c" };
        let customer = records.push_text(id);
        records.records.push(Record {
            position: Position { input: InputIndex(0), partition: 0, offset: offset as i64 },
            arrival: at(now),
            ts: Some(at(ts)),
            customer,
            customer_hash: customer_hash(id),
            id: None,
            body_hash: 0,
            body,
        });
        // Never as far as the next record, whose arrival is not known yet.
        steps.push(Step { arrival: now, idle: if rng.bool() { Some(rng.i64(..12)) } else { None } });
    }
    Case { plan, text, steps, records, end: now + 60 }
}

/// How a case is run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// By timers; the clock moves while the log is idle wherever the case says so.
    Timers,
    OneBatch,
    /// Every unit is looked at in every millisecond.
    EveryMillisecond,
    /// A wake-up in every millisecond, which looks at what is due only.
    Wakes,
    Reloads,
}

impl Engine {
    /// Has every unit of every customer looked at in the millisecond `t`.
    fn prod(&mut self, t: Timestamp) {
        let slots: Vec<u32> = self.store.iter().collect();
        for slot in slots {
            self.take(slot);
            for unit in 0..self.program.plan.units.len() as UnitId {
                let by_itself = !matches!(self.program.plan.units[unit as usize].kind, UnitKind::Waiting { .. });
                if by_itself && self.work.customer.deadline(unit) > t {
                    self.work.customer.set_deadline(unit, t);
                }
            }
            let hash = self.store.hash(slot);
            self.put_back(Some(slot), hash, Timestamp::MIN);
        }
    }
}

struct Came {
    /// By customer, in its order.
    changes: BTreeMap<String, Vec<String>>,
    digest: u128,
    causes: Vec<Cause>,
    settled: usize,
}

fn run(case: &Case, way: Way) -> Came {
    let settings = Settings::default();
    let mut engine = Engine::new(case.plan.clone(), settings.clone());
    let mut out = Outputs::default();
    let none = Batch::default();
    let ends = case.steps.iter().skip(1).map(|s| s.arrival).chain([case.end]);
    for (i, (step, next)) in case.steps.iter().zip(ends).enumerate() {
        let mut batch = case.records.clone();
        batch.records = vec![case.records.records[i]];
        if way == Way::OneBatch {
            if i == 0 {
                engine.apply(&case.records, None, &mut out);
            }
            continue;
        }
        engine.apply(&batch, None, &mut out);
        if way == Way::Reloads {
            let mut bytes = Vec::new();
            engine.save(&mut bytes);
            engine = Engine::load(case.plan.clone(), settings.clone(), &bytes).expect("its own bytes");
        }
        let idle = (step.arrival + step.idle.unwrap_or(-1)).min(next - 1);
        // No record lies between, so each of these instants may be looked at, known to be idle or not.
        for ms in step.arrival..next {
            match way {
                Way::EveryMillisecond => engine.prod(at(ms)),
                Way::Wakes => {}
                _ if ms == idle => {}
                _ => continue,
            }
            engine.apply(&none, Some(at(ms)), &mut out);
        }
    }
    for ms in case.end..case.end + 40 {
        if way == Way::EveryMillisecond {
            engine.prod(at(ms));
            engine.apply(&none, Some(at(ms)), &mut out);
        }
    }
    engine.apply(&none, Some(at(case.end + 40)), &mut out);
    let mut came = Came { changes: BTreeMap::new(), digest: engine.digest(), causes: Vec::new(), settled: 0 };
    for published in &out.changes {
        let change = &published.change;
        came.causes.push(change.cause);
        came.settled += usize::from(change.cause_event.is_none() && change.since < change.decided_at);
        // Until when it holds may be found out earlier or later; all else is the same.
        let mut change = change.clone();
        change.valid_until = None;
        came.changes.entry(change.customer.to_string()).or_default().push(format!("{change:?}"));
    }
    came
}

#[test]
fn timers_do_what_looking_in_every_millisecond_does() {
    let (mut changes, mut settled, mut causes) = (0, 0, BTreeMap::new());
    // `STEPPING=SEED:CASES` looks elsewhere, or longer.
    let wanted = std::env::var("STEPPING").ok();
    let (first, cases): (u64, u64) = match wanted.as_deref().and_then(|text| text.split_once(':')) {
        Some((first, cases)) => (first.parse().expect("a seed"), cases.parse().expect("a number of cases")),
        None => (0, 250),
    };
    for seed in first..first + cases {
        let case = case(seed);
        let want = run(&case, Way::Timers);
        for way in [Way::EveryMillisecond, Way::Wakes, Way::Reloads] {
            let got = run(&case, way);
            assert_eq!(got.changes, want.changes, "seed {seed}, {way:?}\n{}", case.text);
            assert_eq!(got.digest, want.digest, "seed {seed}, {way:?}: the durable state differs\n{}", case.text);
        }
        changes += want.causes.len();
        settled += want.settled;
        want.causes.iter().for_each(|cause| *causes.entry(cause.word()).or_insert(0) += 1);
    }
    println!("{changes} changes, {settled} settled, {causes:?}");
    let often = |cause: Cause| causes.get(cause.word()).copied().unwrap_or(0) > cases / 100;
    assert!(
        settled as u64 > cases && [Cause::Event, Cause::Timer, Cause::Expired, Cause::Consent, Cause::LateEvent].into_iter().all(often)
    );
}

/// Without idle moves in between, how the records fall into batches makes no difference.
#[test]
fn one_batch_or_many() {
    for seed in 0..100 {
        let mut case = case(seed);
        case.steps.iter_mut().for_each(|step| step.idle = None);
        let (want, got) = (run(&case, Way::Timers), run(&case, Way::OneBatch));
        assert_eq!(got.changes, want.changes, "seed {seed}\n{}", case.text);
        assert_eq!(got.digest, want.digest, "seed {seed}\n{}", case.text);
    }
}
