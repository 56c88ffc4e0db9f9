//! Sessions, marks and keys of small logs, millisecond by millisecond, against a direct computation from the list of events.

use std::collections::BTreeSet;

use crate::engine::tests::{at, event, plan};
use crate::engine::{Batch, Engine, Outputs, Settings};
use crate::limits::KEYS_MAX;
use crate::model::Value;
use crate::time::Millis;

/// One applied event: (ts, n, is `b`), by order of application.
type Log = Vec<(i64, i64, bool)>;

/// Segments with whether the customer is in, and what the state in words says.
type Expected = (Vec<(&'static str, bool)>, Option<String>);

const CUSTOMER: &str = "c1";

fn members(engine: &Engine) -> BTreeSet<String> {
    engine.memberships(CUSTOMER).into_iter().map(|m| m.segment.to_string()).collect()
}

/// Runs a random log and lets `expected` say after each event, and at each millisecond, which segments the customer is in.
fn run(seed: u64, definitions: &str, keys: i64, settings: &Settings, mut expected: impl FnMut(&Log, i64) -> Expected) {
    let plan = plan(definitions);
    let mut engine = Engine::new(plan.clone(), settings.clone());
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut log, mut out) = (Log::new(), Outputs::default());
    // Bursts and pauses.
    let mut busy = true;
    for t in 0..400i64 {
        if rng.u8(0..20) == 0 {
            busy = !busy;
        }
        for _ in 0..if busy { rng.usize(0..3) } else { usize::from(rng.u8(0..30) == 0) } {
            let ts = if rng.u8(0..4) == 0 { (t - rng.i64(0..60)).max(0) } else { t };
            let (n, is_b) = (rng.i64(0..keys), rng.u8(0..6) == 0);
            let mut batch = Batch::default();
            event(&plan, &mut batch, (t, ts), CUSTOMER, if is_b { "b" } else { "a" }, n);
            engine.apply(&batch, None, &mut out);
            log.push((ts, n, is_b));
            expected(&log, t);
        }
        if rng.u8(0..30) == 0 {
            let mut bytes = Vec::new();
            engine.save(&mut bytes);
            engine = Engine::load(plan.clone(), settings.clone(), &bytes).expect("its own bytes");
        }
        engine.apply(&Batch::default(), Some(at(t)), &mut out);
        if log.is_empty() {
            continue;
        }
        let members = members(&engine);
        let (states, words) = expected(&log, t);
        for (segment, holds) in states {
            if members.contains(segment) != holds {
                panic!("seed {seed}: {segment} at {t}\n{log:?}\n{}", engine.describe(CUSTOMER));
            }
        }
        if let Some(words) = words.filter(|_| t % 4 == 0) {
            let described = engine.describe(CUSTOMER);
            assert!(described.contains(&words), "seed {seed} at {t}: {words:?}\n{described}");
        }
    }
    assert!(out.changes.len() > 4, "seed {seed}: {} changes", out.changes.len());
}

#[test]
fn sessions_are_what_a_direct_count_finds() {
    const GAP: i64 = 25;
    let definitions = "
segment busy  { when at least 3 a in this session }
segment rich  { when sum(a.n) in this session >= 6 }
segment no_b  { when no b in this session }
segment again { when at least 2 a per n in this session }
segment first { when first(b) in this session }
segment more  { when count(a) in this session > count(b) in this session * 3 }
segment held  { when (any b in this session) for at least 10ms }
";
    let settings = Settings { session_gap: Some(Millis(GAP)), ..Settings::default() };
    for seed in 0..16 {
        // (start, last, events that count), and which event of the log comes next.
        let (mut session, mut next): (Option<(i64, i64, Log)>, usize) = (None, 0);
        run(seed, definitions, 6, &settings, |log, t| {
            for (ts, n, is_b) in &log[next..] {
                let (ts, one) = (*ts, (*ts, *n, *is_b));
                match &mut session {
                    Some((start, last, counted)) if ts < *last + GAP => {
                        if ts >= *start {
                            *last = (*last).max(ts);
                            counted.push(one);
                        } else if *start - ts < GAP && t < *last + GAP {
                            *start = ts;
                            counted.push(one);
                        }
                    }
                    other => *other = Some((ts, ts, vec![one])),
                }
            }
            next = log.len();
            let running = session.as_ref().filter(|(_, last, _)| t < *last + GAP);
            let counted: &[(i64, i64, bool)] = running.map_or(&[], |(_, _, counted)| counted);
            let (a, b) = (counted.iter().filter(|e| !e.2).count(), counted.iter().filter(|e| e.2).count());
            let of_key = |n: i64| counted.iter().filter(|e| !e.2 && e.1 == n).count();
            let first_b = log.iter().filter(|e| e.2).map(|e| e.0).min();
            let states = vec![
                ("busy", a >= 3),
                ("rich", counted.iter().filter(|e| !e.2).map(|e| e.1).sum::<i64>() >= 6),
                ("no_b", b == 0),
                ("again", (0..6).any(|n| of_key(n) >= 2)),
                ("first", running.is_some_and(|(start, _, _)| first_b.is_some_and(|ts| ts >= *start))),
                ("more", a > b * 3),
            ];
            (states, None)
        });
    }
}

#[test]
fn what_is_since_the_last_is_what_a_direct_count_finds() {
    let definitions = "
segment three { when at least 3 a since last b }
segment none  { when no a since last b }
segment sum   { when sum(a.n) since last b >= 9 }
segment avg   { when avg(a.n) since last b > 3 }
segment max   { when max(a.n) since last b >= 5 }
segment kinds { when distinct(a.n) since last b >= 3 }
segment many  { when count(a) since last b > count(b) ever }
segment first { when first(a) since last b }
segment keys  { when at least 2 a per n since last b }
segment both  { when at least 2 activity since last b }
";
    for seed in 0..16 {
        run(seed, definitions, 7, &Settings::default(), |log, _| {
            let at_place = |i: usize| (log[i].0, i);
            let mark = (0..log.len()).filter(|i| log[*i].2).map(at_place).max();
            let after: Vec<usize> = (0..log.len()).filter(|i| mark.is_none_or(|m| at_place(*i) > m)).collect();
            let a: Vec<i64> = after.iter().filter(|i| !log[**i].2).map(|i| log[*i].1).collect();
            let (n, sum) = (a.len() as i64, a.iter().sum::<i64>());
            let first = (0..log.len()).filter(|i| !log[*i].2).map(at_place).min();
            let states = vec![
                ("three", n >= 3),
                ("none", n == 0),
                ("sum", sum >= 9),
                ("avg", n > 0 && sum > 3 * n),
                ("max", a.iter().any(|n| *n >= 5)),
                ("kinds", a.iter().collect::<BTreeSet<_>>().len() >= 3),
                ("many", n > log.iter().filter(|e| e.2).count() as i64),
                ("first", first.is_some_and(|f| mark.is_none_or(|m| f > m))),
                ("keys", a.iter().any(|n| a.iter().filter(|m| *m == n).count() >= 2)),
                ("both", after.len() >= 2),
            ];
            (states, None)
        });
    }
}

#[test]
fn keys_are_forgotten_by_use_and_their_truth_with_them() {
    const WINDOW: i64 = 120;
    let definitions = "
segment often  { when at least 3 a per n in last 120ms  emit k = key }
segment twice  { when at least 2 a per n in last 12ms }
segment summed { when sum(a.n) per n in last 120ms >= 200 }
";
    let mut forgotten = 0;
    for seed in 0..8 {
        // By use, the least recent first: (n, instants).
        let (mut table, mut next): (Vec<(i64, Vec<i64>)>, usize) = (Vec::new(), 0);
        let mut memory: Vec<i64> = Vec::new();
        let many = KEYS_MAX as i64 + 12;
        run(seed, definitions, many, &Settings::default(), |log, t| {
            for (ts, n, is_b) in &log[next..] {
                if *is_b {
                    continue;
                }
                match table.iter().position(|(key, _)| key == n) {
                    Some(i) => {
                        let mut used = table.remove(i);
                        used.1.push(*ts);
                        table.push(used);
                    }
                    None => {
                        if table.len() == KEYS_MAX {
                            table.remove(0);
                            forgotten += 1;
                        }
                        table.push((*n, vec![*ts]));
                    }
                }
            }
            next = log.len();
            let within = |times: &[i64], window: i64| times.iter().filter(|ts| t - **ts < window).count();
            let mut holding: Vec<i64> = table.iter().filter(|(_, times)| within(times, WINDOW) >= 3).map(|(n, _)| *n).collect();
            holding.sort_unstable();
            let still: Vec<i64> = memory.iter().copied().filter(|n| holding.contains(n)).collect();
            memory = holding.iter().copied().filter(|n| !still.contains(n)).chain(still.iter().copied()).collect();
            let last = memory.first().copied();
            let states = vec![
                ("often", last.is_some()),
                ("twice", table.iter().any(|(_, times)| within(times, 12) >= 2)),
                ("summed", table.iter().any(|(n, times)| within(times, WINDOW) as i64 * n >= 200)),
            ];
            (states, last.map(|n| format!("in last 120ms`: {n} came last")))
        });
    }
    assert!(forgotten > 20, "{forgotten}");
}

/// What a change emits is the key that came to hold last among those that hold.
#[test]
fn the_key_is_the_one_that_came_to_hold_last() {
    let plan = plan("segment twice { when at least 2 a per n in last 100ms and any b in last 20ms  emit k = key }");
    let mut engine = Engine::new(plan.clone(), Settings::default());
    let mut out = Outputs::default();
    let mut send = |t: i64, name: &str, n: i64| {
        let mut batch = Batch::default();
        event(&plan, &mut batch, (t, t), CUSTOMER, name, n);
        let from = out.changes.len();
        engine.apply(&batch, None, &mut out);
        out.changes[from..].iter().map(|p| p.change.emit[0].1.clone()).collect::<Vec<Value>>()
    };
    for (t, n) in [(0, 7), (1, 7), (10, 3), (12, 3)] {
        assert!(send(t, "a", n).is_empty());
    }
    // 3 came last.
    assert_eq!(send(13, "b", 0), [Value::Int(3)]);
    // 7 was used since, and held already; the exit by time is of the condition on b.
    send(20, "a", 7);
    assert_eq!(send(34, "b", 0), [Value::Int(3), Value::Int(3)]);
    assert_eq!(send(60, "a", 7), [Value::Int(3)]);
    // 3 does not hold any more from 110 on, 7 does until 120.
    assert_eq!(send(112, "b", 0), [Value::Int(7)]);
    // At the exit nothing holds.
    assert_eq!(send(300, "b", 0), [Value::Missing]);
}

#[test]
fn reasons_name_the_key_and_keys_that_are_forgotten_are_counted() {
    let plan = plan(
        "segment keen { when at least 2 a per n in last 1h }
         segment here { when any a in this session and sum(a.n) since last b >= 3 }",
    );
    let mut engine = Engine::new(plan.clone(), Settings::default());
    let mut out = Outputs::default();
    let mut batch = Batch::default();
    for (t, n) in [(0, 1), (1, 2), (2, 1)] {
        event(&plan, &mut batch, (t, t), CUSTOMER, "a", n);
    }
    (3..67).for_each(|t| event(&plan, &mut batch, (t, t), CUSTOMER, "a", 100 + t));
    engine.apply(&batch, None, &mut out);
    let words = |i: usize| {
        let change = &out.changes[i].change;
        change.reason.iter().map(|r| format!("{} | {} | {}", r.condition, r.observed, r.threshold)).collect::<Vec<String>>()
    };
    assert_eq!(words(0), ["any a in this session | 2 | 1", "sum(a.n) since last b >= 3 | 3 | 3"]);
    assert_eq!(words(1), ["at least 2 a per n in last 1h | 2 for 1 | 2"]);
    // 2, the key that was used least recently, went at the 65th, and 1 with the one after it.
    assert_eq!(out.counts.keys_evicted, 2);
    assert_eq!(words(2), ["at least 2 a per n in last 1h | 1 for 166 | 2"]);
    assert_eq!(out.changes.len(), 3);
}

#[test]
fn keys_that_nothing_can_ask_for_any_more_take_no_room() {
    let plan = plan("segment keen { when at least 2 a per n in last 1h }");
    let mut engine = Engine::new(plan.clone(), Settings::default());
    let mut out = Outputs::default();
    let mut batch = Batch::default();
    const HOUR: i64 = 3_600_000;
    (0..64).for_each(|n| event(&plan, &mut batch, (n, n), CUSTOMER, "a", n));
    engine.apply(&batch, None, &mut out);
    let full = engine.bytes_of(CUSTOMER);
    let mut batch = Batch::default();
    event(&plan, &mut batch, (HOUR + 31, HOUR + 31), CUSTOMER, "a", 64);
    event(&plan, &mut batch, (HOUR + 40, HOUR + 40), CUSTOMER, "a", 50);
    engine.apply(&batch, None, &mut out);
    // 0 to 31 were in the window no more, so nothing had to be forgotten.
    assert!(engine.bytes_of(CUSTOMER) * 3 < full * 2, "{} of {full}", engine.bytes_of(CUSTOMER));
    assert_eq!(out.counts.keys_evicted, 0);
    assert_eq!(out.changes.len(), 1);
}
