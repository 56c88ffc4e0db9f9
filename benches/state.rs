//! What the parts of a customer's state cost on this machine: the timing wheel, the store, scores and a typical customer's features.
//!
//! `cargo bench --bench state [-- CUSTOMERS]` prints nanoseconds of CPU per operation (of wall time where the system does not tell) and bytes
//! per customer; ratios between runs on one machine count, absolute figures on shared machines do not.

use std::hint::black_box;

use segmentd::engine::batch::customer_hash;
use segmentd::engine::cart::{Cart, CartEvent, CartLine, CartPlan, line_key};
use segmentd::engine::dedup::Dedup;
use segmentd::engine::features::{AgeWindow, FirstLast, Keep, Log, LogPlan, Quantity, Ratio, Reader, Ring, Values};
use segmentd::engine::score::{Score, ScorePlan};
use segmentd::engine::store::Store;
use segmentd::engine::timers::Timers;
use segmentd::lang::definition::{Rel, Which};
use segmentd::model::{CartAction, Currency, Money};
use segmentd::time::{Millis, Timestamp};

const START: i64 = 1_764_000_000_000;

/// CPU time of this thread as Linux counts it, else wall time.
struct Spent {
    cpu: Option<u64>,
    wall: std::time::Instant,
}

impl Spent {
    fn cpu() -> Option<u64> {
        std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
    }

    fn now() -> Spent {
        Spent { cpu: Spent::cpu(), wall: std::time::Instant::now() }
    }

    fn nanoseconds(&self) -> f64 {
        match (self.cpu, Spent::cpu()) {
            (Some(before), Some(now)) => (now - before) as f64,
            _ => self.wall.elapsed().as_nanos() as f64,
        }
    }
}

fn report(what: &str, n: usize, started: Spent) {
    println!("{what:<58} {:>8.1} ns", started.nanoseconds() / n as f64);
}

fn timers(n: usize, rng: &mut fastrand::Rng) {
    let mut wheel = Timers::new();
    wheel.arm(Timestamp(START), 0);
    let hash_of = |slot: u32| u64::from(slot).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    black_box(wheel.next_due(Timestamp(START), hash_of));
    let month = 30 * Millis::DAY.0;
    let deadlines: Vec<Timestamp> = (0..n).map(|_| Timestamp(START + rng.i64(1..month))).collect();
    let started = Spent::now();
    for (slot, deadline) in deadlines.iter().enumerate() {
        wheel.arm(*deadline, slot as u32);
    }
    report("wheel: arm, 30 days ahead", n, started);
    println!("{:<58} {:>8.1} B", "wheel: memory per entry", wheel.memory() as f64 / n as f64);
    let started = Spent::now();
    let mut clock = START;
    let mut fired = 0;
    while fired < n {
        clock += 1_000;
        while let Some(due) = wheel.next_due(Timestamp(clock), hash_of) {
            black_box(due);
            fired += 1;
        }
        black_box(wheel.next_deadline());
    }
    report("wheel: fire, clock in steps of 1 s", n, started);
    for slot in 0..n {
        wheel.arm(Timestamp(clock + month), slot as u32);
    }
    let started = Spent::now();
    while let Some(due) = wheel.next_due(Timestamp(clock + month), hash_of) {
        black_box(due);
    }
    report("wheel: fire a herd at one instant", n, started);
}

fn store(n: usize, rng: &mut fastrand::Rng) {
    let ids: Vec<String> = (0..n).map(|i| format!("customer-{i}")).collect();
    let hashes: Vec<u64> = ids.iter().map(|id| customer_hash(id)).collect();
    let mut store = Store::new();
    let started = Spent::now();
    for (id, hash) in ids.iter().zip(&hashes) {
        store.insert(*hash, id, &[7; 40]);
    }
    report("store: insert", n, started);
    let mut sizes = vec![40usize; n];
    let blob = [7u8; 4_096];
    let started = Spent::now();
    for _ in 0..10 * n {
        let i = rng.usize(0..n);
        if let Some(slot) = store.find(hashes[i], &ids[i]) {
            sizes[i] = if sizes[i] > 240 { 160 } else { sizes[i] + rng.usize(0..24) };
            store.replace(slot, &blob[..sizes[i]]);
        }
    }
    report("store: find and replace, growing, one by one", 10 * n, started);
    let stored: usize = sizes.iter().sum::<usize>() + ids.iter().map(String::len).sum::<usize>();
    println!("{:<58} {:>8.1} B", "store: memory per customer beyond id and blob", (store.memory() - stored) as f64 / n as f64);
    // The records as a batch brings them, one behind the other in memory.
    let records: Vec<(u64, [u8; 24])> = (0..4 * n)
        .map(|_| {
            let i = rng.usize(0..n);
            let mut id = [0; 24];
            id[..ids[i].len()].copy_from_slice(ids[i].as_bytes());
            id[23] = ids[i].len() as u8;
            (hashes[i], id)
        })
        .collect();
    fn id_of(id: &[u8; 24]) -> &str {
        std::str::from_utf8(&id[..usize::from(id[23])]).unwrap_or_default()
    }
    let mut sum = 0usize;
    let started = Spent::now();
    for (hash, id) in &records {
        if let Some(slot) = store.find(*hash, id_of(id)) {
            sum += usize::from(store.get(slot)[0]);
        }
    }
    report("store: find and read, one by one", records.len(), started);
    let started = Spent::now();
    for batch in records.chunks(64) {
        batch.iter().for_each(|(hash, _)| store.prefetch(*hash));
        batch.iter().for_each(|(hash, _)| store.prefetch_cell(*hash));
        for (hash, id) in batch {
            if let Some(slot) = store.find(*hash, id_of(id)) {
                sum += usize::from(store.get(slot)[0]);
            }
        }
    }
    report("store: find and read, batches of 64 with prefetch", records.len(), started);
    let mut at = 0;
    let started = Spent::now();
    for batch in records.chunks(64) {
        batch.iter().for_each(|(hash, _)| store.prefetch(*hash));
        batch.iter().for_each(|(hash, _)| store.prefetch_cell(*hash));
        for (hash, id) in batch {
            if let Some(slot) = store.find(*hash, id_of(id)) {
                at += 1;
                let size = store.get(slot).len();
                store.replace(slot, &blob[..if size > 240 { 160 } else { size + at % 8 }]);
            }
        }
    }
    report("store: find and replace, growing, in batches of 64", records.len(), started);
    black_box(sum);
}

fn score(n: usize, rng: &mut fastrand::Rng) {
    let plan = ScorePlan { half_life: Millis(2 * Millis::DAY.0), cap: Some(60.0) };
    let mut score = Score::default();
    let mut t = START;
    let started = Spent::now();
    for _ in 0..n {
        t += rng.i64(0..600_000);
        score.add(&plan, Timestamp(t), 1.0);
    }
    report("score: add", n, started);
    let started = Spent::now();
    for _ in 0..n {
        t += rng.i64(0..600_000);
        score.add(&plan, Timestamp(t), 1.0);
        black_box(score.compare(&plan, Timestamp(t), Rel::Ge, 8.0));
    }
    report("score: add and find the crossing", n, started);
}

/// Five sample segments: cart abandonment, inactivity, purchase intent, high spender, keen browser.
fn customer(n: usize, rng: &mut fastrand::Rng) {
    let base = Timestamp(START);
    let score_plan = ScorePlan { half_life: Millis(2 * Millis::DAY.0), cap: Some(60.0) };
    let spend = AgeWindow::last(Millis(90 * Millis::DAY.0));
    let (keen, log_plan) = (AgeWindow::last(Millis::DAY), LogPlan::new(&[spend], Values::Numbers, false, 256));
    let cart_plan = CartPlan { home: Currency::EUR, buffer_max: Millis(600_000) };
    let (mut activity, mut orders, mut views) = (FirstLast::default(), FirstLast::default(), Ring::default());
    let (mut totals, mut cart, mut ids) = (Log::default(), Cart::default(), Dedup::default());
    let mut score = Score::default();
    let mut blob = Vec::new();
    let encode = |blob: &mut Vec<u8>, a: &FirstLast, o: &FirstLast, v: &Ring, l: &Log, c: &Cart, d: &Dedup, s: &Score| {
        blob.clear();
        a.encode(base, false, blob);
        o.encode(base, false, blob);
        v.encode(base, blob);
        l.encode(&log_plan, base, blob);
        c.encode(&cart_plan, base, blob);
        d.encode(base, blob);
        s.encode(base, blob);
    };
    encode(&mut blob, &activity, &orders, &views, &totals, &cart, &ids, &score);
    println!("{:<58} {:>8} B", "customer: blob of five segments, empty", blob.len());
    let mut t = START;
    let mut bytes = 0;
    let mut largest = 0;
    let started = Spent::now();
    for i in 0..n {
        // A visit of some events, then days of silence.
        t += if i % 12 == 0 { rng.i64(0..14 * Millis::DAY.0) } else { rng.i64(1_000..60_000) };
        let ts = Timestamp(t);
        let mut reader = Reader::new(&blob);
        activity.decode(base, false, &mut reader);
        orders.decode(base, false, &mut reader);
        views.decode(base, &mut reader);
        totals.decode(&log_plan, base, &mut reader);
        cart.decode(&cart_plan, base, &mut reader);
        ids.decode(base, &mut reader);
        score = Score::decode(base, &mut reader);
        ids.check(rng.u64(..), rng.u64(..), ts, Millis::HOUR);
        activity.set(ts, |_| {});
        match i % 12 {
            5 | 7 => {
                let line = CartLine {
                    key: line_key(Some(if i % 12 == 5 { "p-1" } else { "p-2" }), None),
                    quantity: None,
                    price: Some(Money { minor: 4_990, currency: Currency::EUR }),
                    values: &[],
                };
                let event = CartEvent { action: CartAction::Add, ts, lines: &[line] };
                cart.apply(&cart_plan, &event, ts, true, Millis(600_000));
                score.add(&score_plan, ts, 6.0);
            }
            11 => {
                cart.apply(&cart_plan, &CartEvent { action: CartAction::Buy, ts, lines: &[] }, ts, true, Millis(600_000));
                orders.set(ts, |_| {});
                totals.insert(&log_plan, ts, rng.i64(1_000..20_000), ts);
                score.reset(ts);
            }
            _ => {
                views.insert(Keep::Newest, 5, ts);
                score.add(&score_plan, ts, 1.0);
            }
        }
        black_box(views.compare(keen, ts, Rel::Ge, Ratio::whole(5)));
        black_box(totals.compare(Quantity::Sum, spend, ts, Rel::Ge, Ratio::whole(50_000)));
        black_box(score.compare(&score_plan, ts, Rel::Ge, 15.0));
        black_box(activity.wants(Which::Last, ts));
        encode(&mut blob, &activity, &orders, &views, &totals, &cart, &ids, &score);
        bytes += blob.len();
        largest = largest.max(blob.len());
    }
    report("customer: decode, apply, evaluate, encode everything", n, started);
    println!("{:<58} {:>8.1} B", "customer: blob of five segments, mean over a visit", bytes as f64 / n as f64);
    println!("{:<58} {:>8} B", "customer: blob of five segments, largest", largest);
}

fn main() {
    let n = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(1_000_000);
    let seed = 1;
    println!("{n} customers, seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    timers(n, &mut rng);
    store(n, &mut rng);
    score(n, &mut rng);
    customer(n, &mut rng);
}
