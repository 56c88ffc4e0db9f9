//! The engine on one core, from JSON to changes: a seeded shop, a million customers, sets of 5, 20, 200 and more segments.
//!
//! `cargo bench --bench engine [-- SET...] [customers=N] [records=N]`, SET being the number of segments. 5 are the samples, which give a
//! change for one event in ten, as the budgets have it; `calm20` adds variations that seldom change, so it keeps that rate; 20, 200 ... are
//! the examples with variations of short windows, where every third event and more gives a change. It first lets the shop run until about
//! all customers are known, then measures CPU time. Figures on shared machines are orders of magnitude; ratios within one run count.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use segmentd::engine::batch::Batch;
use segmentd::engine::{Engine, Outputs, Settings};
use segmentd::ids::{InputIndex, Position};
use segmentd::lang::{SourceFile, compile};
use segmentd::plan::Plan;
use segmentd::shop::{Shop, ShopSettings};
use segmentd::time::Timestamp;
use segmentd::wire::{DecodeOptions, RawRecord, json};

/// Records of one batch.
const BATCH: usize = 5_000;

const CATALOGUE: &str = include_str!("../examples/catalogue.seg");
const EXAMPLES: [&str; 4] = [
    include_str!("../examples/cart.seg"),
    include_str!("../examples/intent.seg"),
    include_str!("../examples/recency.seg"),
    include_str!("../examples/value.seg"),
];

/// Cart abandonment, inactivity, purchase intent, life cycle by sums, high spender: what the budget of bytes per customer is about.
const SAMPLE: &str = "
score purchase_intent {
  half_life 2d
  product_viewed + 1  product_viewed[price >= 200 EUR] + 1  add_to_cart + 6  checkout_started + 12  order_completed resets  cap 60
}
segment cart_abandoned { when cart.value >= 50 EUR and cart.changed_at at least 30m ago and last(activity) at least 5m ago  emit cart.value, cart.items }
segment inactive_30d { when last(activity) at least 30d ago and any order_completed ever }
segment high_intent { when score(purchase_intent) >= 15  exit when score(purchase_intent) < 8 }
segment gold { when sum(order_completed.total) in last 365d >= 500 EUR }
segment high_spender { when sum(order_completed.total) in last 90d - sum(order_refunded.total) in last 90d >= 500 EUR }
";

const CATEGORIES: [&str; 8] = ["shoes", "sneakers", "dresses", "jackets", "bags", "jeans", "sports", "jewellery"];

/// The examples, then as many variations as asked: interests by category, windows and thresholds, spending, recency, carts, traits.
fn definitions(n: usize, calm: bool) -> Vec<SourceFile> {
    let mut files = vec![SourceFile::new("catalogue.seg", CATALOGUE)];
    let mut known = 5;
    if calm || n == 5 {
        files.push(SourceFile::new("sample.seg", SAMPLE));
    } else {
        EXAMPLES.iter().enumerate().for_each(|(i, text)| files.push(SourceFile::new(format!("example{i}.seg"), *text)));
        known = EXAMPLES.iter().map(|t| t.lines().filter(|l| l.starts_with("segment ")).count()).sum();
    }
    let mut text = String::new();
    for i in 0..n.saturating_sub(known) {
        let (k, category) = (i / 10, if i < 400 { CATEGORIES[i % 8].to_string() } else { format!("category{}", i % 997) });
        let (days, many) = if calm { ([30, 60, 90][k % 3], 6 + k % 7) } else { ([1, 2, 3, 7, 14, 30, 60, 90][k % 8], 2 + k % 7) };
        let condition = match i % 10 {
            0 => format!("at least {many} product_viewed[category = \"{category}\"] in last {days}d"),
            1 => format!("any add_to_cart[category = \"{category}\"] in last {days}d and no order_completed in last {days}d"),
            2 => format!("sum(order_completed.total) in last {days}d >= {} EUR", 50 * many),
            3 => format!("no activity in last {days}d and at least {many} order_completed ever"),
            4 => format!("last(product_viewed[category = \"{category}\"]) between {days}d and {}d ago", 2 * days),
            5 => format!("cart.value >= {} EUR and cart.changed_at at least {}m ago", 20 * many, 10 * days),
            6 => format!("distinct(product_viewed.category) in last {days}d >= {many} and customer.plan = \"plus\""),
            7 => format!("any search_performed[results = 0] in last {days}d and customer.country in [\"SE\", \"NO\"]"),
            8 => format!(
                "at least {many} page_viewed[category = \"{category}\"] in last {days}d and not in segment {}",
                if calm { "gold" } else { "gold_customer" }
            ),
            _ => format!("at least {many} checkout_started in last {days}d and no order_completed in last {days}d"),
        };
        let _ = writeln!(text, "segment v{i} {{ when {condition} }}");
    }
    files.push(SourceFile::new("variations.seg", text));
    files
}

/// One batch of the shop as bytes.
#[derive(Default)]
struct Log {
    bytes: Vec<u8>,
    ends: Vec<(usize, Timestamp)>,
}

impl Log {
    fn fill(&mut self, shop: &mut Shop) {
        self.bytes.clear();
        self.ends.clear();
        for record in shop.take(BATCH) {
            record.write_json(false, &mut self.bytes);
            self.ends.push((self.bytes.len(), record.arrival));
        }
    }
}

/// CPU time of this thread as Linux counts it, else wall time.
fn spent() -> Duration {
    let cpu = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = cpu.as_deref().and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| START.get_or_init(Instant::now).elapsed(), Duration::from_nanos)
}

static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();

fn measure(segments: usize, calm: bool, customers: u32, records: usize) {
    let compiled = compile(&definitions(segments, calm));
    for error in compiled.errors() {
        eprintln!("{error}");
    }
    let started = Instant::now();
    let plan = Arc::new(Plan::compile(Arc::new(compiled.workspace.expect("the definitions compile"))));
    let planned = started.elapsed();
    let mut engine = Engine::new(plan.clone(), Settings::default());
    let mut decoder = json::Decoder::new(plan.schema().clone(), DecodeOptions::strict());
    // A visit in eight days or so for each customer.
    let rate = f64::from(customers) * 17.0 / (8.0 * 86_400.0);
    let mut shop = Shop::new(ShopSettings { rate, customers, skew: 0.0, ..ShopSettings::default() });
    let (mut log, mut batch, mut out, mut offset) = (Log::default(), Batch::default(), Outputs::default(), 0);
    let (mut decoding, mut applying) = (Duration::ZERO, Duration::ZERO);
    let (mut measured, mut bytes, mut changes, mut fired, mut idle) = (0, 0, 0, 0, 0);
    let mut warm = false;
    while measured < records {
        log.fill(&mut shop);
        out = Outputs { changes: Vec::with_capacity(out.changes.capacity()), ..Outputs::default() };
        let started = spent();
        batch.clear();
        let mut start = 0;
        for (end, arrival) in &log.ends {
            let value = Some(&log.bytes[start..*end]);
            let position = Position { input: InputIndex(0), partition: 0, offset };
            decoder.decode(&RawRecord { position, arrival: *arrival, key: None, value }, &mut batch);
            (start, offset) = (*end, offset + 1);
        }
        let decoded = spent();
        engine.apply(&batch, None, &mut out);
        let applied = spent();
        assert!(out.dead_letters.is_empty(), "{:?}", out.dead_letters.first());
        if warm {
            decoding += decoded - started;
            applying += applied - decoded;
            measured += BATCH;
            bytes += log.bytes.len();
            changes += out.changes.len();
            fired += out.counts.timers_fired;
            idle += out.counts.timers_idle;
        }
        warm = engine.customers() as f64 > 0.8 * f64::from(customers);
    }
    let per = |d: Duration| d.as_nanos() as f64 / measured as f64;
    let both = per(decoding + applying);
    println!(
        "{:>8} {:>9} {:>8.0} {:>8.0} {:>8.0} {:>9.0} {:>8.3} {:>8.3} {:>8.3} {:>8.0} {:>7.0} {:>9.1}",
        format!("{}{segments}", if calm { "calm" } else { "" }),
        engine.customers(),
        per(decoding),
        per(applying),
        both,
        1e6 / both,
        changes as f64 / measured as f64,
        fired as f64 / measured as f64,
        idle as f64 / measured as f64,
        engine.memory() as f64 / engine.customers() as f64,
        bytes as f64 / measured as f64,
        planned.as_secs_f64() * 1e3,
    );
}

fn main() {
    let (mut sets, mut customers, mut records) = (Vec::new(), 1_000_000, 2_000_000);
    for argument in std::env::args().skip(1).filter(|a| !a.starts_with("--")) {
        if let Some(n) = argument.strip_prefix("customers=") {
            customers = n.parse().expect("customers=N");
        } else if let Some(n) = argument.strip_prefix("records=") {
            records = n.parse().expect("records=N");
        } else {
            let calm = argument.strip_prefix("calm");
            sets.push((calm.unwrap_or(&argument).parse().expect("a number of segments"), calm.is_some()));
        }
    }
    if sets.is_empty() {
        sets = vec![(5, false), (20, true), (20, false), (200, false)];
    }
    println!(
        "one core, batches of {BATCH}; ns of CPU per record, and per record the changes, timers that changed something and timers that did not"
    );
    println!(
        "{:>8} {:>9} {:>8} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>8} {:>7} {:>9}",
        "segments", "customers", "decode", "apply", "both", "k rec/s", "changes", "fired", "idle", "B/cust", "B/rec", "plan ms"
    );
    for (segments, calm) in sets {
        measure(segments, calm, customers, records);
    }
}
