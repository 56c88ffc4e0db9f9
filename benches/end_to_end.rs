//! The service on a real Apache Kafka on the same machine: draining a preloaded topic, and from an event to its visible change.
//!
//! `cargo bench --features broker-tests --bench end_to_end [-- RECORDS [CUSTOMERS [PER_SECOND]]]`, by default 2,000,000 records of 1,000,000
//! customers and 10,000 events a second. Prints events a second, CPU seconds of this process a million events, and latencies as a
//! `read_committed` reader sees them, once the broker's own compiler is warm. The broker takes its share of the machine, so its CPU is told too.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use segmentd::config::{Config, Input};
use segmentd::engine::output::Published;
use segmentd::ids::ShardId;
use segmentd::kafka::{Admin, Settings, TopicNames};
use segmentd::lang::{self, SourceFile};
use segmentd::plan::Plan;
use segmentd::runtime::{self, Handle, Observer, topic_names};
use segmentd::telemetry::{Exporter, Metrics};
use segmentd::time::Timestamp;

/// Partitions that are drained.
const PARTITIONS: u32 = 4;
/// Partitions at a steady rate: one per worker of a machine of two cores. The client library writes each partition by a request of its own.
const STEADY_PARTITIONS: u32 = 2;

/// A fresh broker runs its transactions interpreted at first; latencies fall for about this long.
const WARM_UP: Duration = Duration::from_secs(110);
/// How long the producer of the events waits for more of a partition; the latency counts from before it.
const LINGER_MS: &str = "2";
const MEASURED: Duration = Duration::from_secs(20);

const DEFINITIONS: &str = r#"
workspace { timezone "UTC"  currency EUR }
event product_viewed  is activity { product_id string  category string  price money in currency  currency string }
event add_to_cart     is activity { product_id string  quantity int  price money in EUR }
event order_completed is activity { total money in EUR }
cart { add add_to_cart  buy order_completed }

segment keen_browser  { when at least 5 product_viewed in last 24h }
segment shoe_shopper  { when at least 2 product_viewed[category = "shoes", price >= 80 EUR] in last 7d }
segment big_spender   { when sum(order_completed.total) in last 90d >= 250 EUR }
segment inactive      { when no activity in last 30d and any activity ever }
segment left_cart     { when cart.value >= 50 EUR and cart.changed_at at least 30m ago  exit when cart is empty }
"#;

fn millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}

/// CPU seconds of a process (an id, or `self`) so far, as Linux counts them; the wrapped client's threads are in it.
fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    // User and system time are the 14th and 15th field of the line, in hundredths of a second.
    (ticks(11) + ticks(12)) / 100.0
}

/// An event of about 226 bytes.
fn event(random: &mut fastrand::Rng, customers: u32, id: &str, out: &mut String) -> String {
    use std::fmt::Write;
    let customer = format!("customer-{:08}", random.u32(0..customers));
    let (product, category, cents) =
        (random.u32(0..50_000), ["shoes", "shirts", "hats", "bags"][random.usize(0..4)], random.u32(500..15_000));
    let price = format!("{}.{:02}", cents / 100, cents % 100);
    out.clear();
    let written = match random.u32(0..100) {
        0..90 => write!(
            out,
            r#"{{"id":"{id}","customer":"{customer}","event":"product_viewed","properties":{{"product_id":"p-{product:06}","category":"{category}","price":"{price}","currency":"EUR","page":"/catalogue/{category}/{product:06}"}}}}"#
        ),
        90..97 => write!(
            out,
            r#"{{"id":"{id}","customer":"{customer}","event":"add_to_cart","properties":{{"product_id":"p-{product:06}","quantity":1,"price":"{price}","page":"/catalogue/{category}/{product:06}/add"}}}}"#
        ),
        _ => write!(
            out,
            r#"{{"id":"{id}","customer":"{customer}","event":"order_completed","properties":{{"total":"{price}","order_id":"o-{product:06}","page":"/checkout/{product:06}/thank-you"}}}}"#
        ),
    };
    debug_assert!(written.is_ok());
    customer
}

struct Site {
    bootstrap: String,
    names: TopicNames,
    config: Config,
}

impl Site {
    fn new(bootstrap: &str, prefix: &str, partitions: u32) -> Site {
        let mut config = Config::new(bootstrap, vec![Input::json(format!("{prefix}.events"))], "unused");
        config.kafka.group = prefix.into();
        config.kafka.instance = "bench".into();
        let o = &mut config.output;
        for name in [&mut o.changes, &mut o.memberships, &mut o.journal, &mut o.dead_letters, &mut o.definitions] {
            *name = name.replace("segmentd", prefix);
        }
        let names = topic_names(&config);
        let admin = Admin::connect(&Settings::from(&config.kafka)).expect("the broker answers");
        admin.create(&names, Some(partitions), None).expect("topics can be made");
        Site { bootstrap: bootstrap.into(), names, config }
    }

    fn producer(&self, linger_ms: &str) -> BaseProducer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("partitioner", "murmur2_random").set("compression.type", "lz4");
        config.set("linger.ms", linger_ms).set("queue.buffering.max.messages", "1000000").create().expect("a producer")
    }

    fn send(&self, producer: &BaseProducer, customer: &str, json: &str) {
        while let Err((error, _)) = producer.send(BaseRecord::to(&self.names.inputs[0]).key(customer).payload(json)) {
            assert_eq!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::QueueFull), "{error}");
            producer.poll(Duration::from_millis(5));
        }
        producer.poll(Duration::ZERO);
    }

    fn start(&self, observer: Arc<Counting>) -> Handle {
        let files = vec![SourceFile { name: "bench.seg".into(), text: DEFINITIONS.into() }];
        let compiled = lang::compile(&files);
        let workspace = compiled.workspace.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics));
        let plan = Arc::new(Plan::compile(Arc::new(workspace)));
        let segments: Vec<(String, bool)> = plan.workspace().definitions.iter().map(|d| (d.name.clone(), true)).collect();
        let metrics = Metrics::new(&self.names.inputs, &segments);
        let start = runtime::Start {
            config: self.config.clone(),
            plan,
            files,
            metrics,
            mock: false,
            observer: Some(observer as Arc<dyn Observer>),
        };
        runtime::start(start).expect("the service starts")
    }
}

#[derive(Default)]
struct Counting {
    changes: AtomicU64,
}

impl Observer for Counting {
    fn committed(&self, _: ShardId, changes: &[Published], _: Timestamp) {
        self.changes.fetch_add(changes.len() as u64, Ordering::Relaxed);
    }
}

/// Records read so far, of the exporter's own text.
fn records(exporter: &Exporter, topic: &str) -> u64 {
    let text = exporter.render();
    let line = text.lines().find(|l| l.starts_with("segmentd_records_total") && l.contains(topic));
    line.and_then(|l| l.rsplit(' ').next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn drain(bootstrap: &str, exporter: &Exporter, n: u64, customers: u32) {
    let site = Site::new(bootstrap, "drain", PARTITIONS);
    let producer = site.producer("5");
    let (mut random, mut json, mut bytes) = (fastrand::Rng::with_seed(1), String::new(), 0);
    for i in 0..n {
        let customer = event(&mut random, customers, &format!("{i:016x}"), &mut json);
        bytes += json.len() as u64;
        site.send(&producer, &customer, &json);
    }
    producer.flush(Duration::from_secs(120)).expect("flushed");
    drop(producer);
    println!("drain: {n} records of {} bytes in {PARTITIONS} partitions, {customers} customers, 5 segments", bytes / n);

    let counting = Arc::new(Counting::default());
    let service = site.start(counting.clone());
    // From the first record on: joining the group and restoring nothing is not what is measured.
    while records(exporter, &site.names.inputs[0]) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (started, cpu, first) = (Instant::now(), cpu_seconds("self"), records(exporter, &site.names.inputs[0]));
    while records(exporter, &site.names.inputs[0]) < n {
        std::thread::sleep(Duration::from_millis(5));
        assert!(!service.is_ended(), "the service has ended");
    }
    service.stop();
    service.wait().expect("an orderly end");
    let (wall, cpu, read) = (started.elapsed().as_secs_f64(), cpu_seconds("self") - cpu, (n - first) as f64);
    println!(
        "drain: {:.0} events/s, everything committed; {:.2} CPU-seconds of this process per million events; {} changes ({:.1} %)",
        read / wall,
        cpu / read * 1e6,
        counting.changes.load(Ordering::Relaxed),
        counting.changes.load(Ordering::Relaxed) as f64 / n as f64 * 100.0
    );
    let transactions: Vec<String> =
        exporter.render().lines().filter(|l| l.starts_with("segmentd_transactions_total")).map(Into::into).collect();
    println!("drain: {}", transactions.join("  "));
}

fn latency(bootstrap: &str, broker: &str, customers: u32, per_second: u64) {
    let site = Site::new(bootstrap, "latency", STEADY_PARTITIONS);
    let service = site.start(Arc::new(Counting::default()));
    // Every worker is a member of the group and takes its share of the shards from those that came first: until that is over.
    let mut ready_since = None;
    while ready_since.is_none_or(|t: Instant| t.elapsed() < Duration::from_secs(8)) {
        std::thread::sleep(Duration::from_millis(20));
        ready_since = if service.ready().is_ok() { ready_since.or(Some(Instant::now())) } else { None };
    }
    let reading = Arc::new(AtomicBool::new(true));
    let reader = {
        let (reading, topic) = (reading.clone(), site.names.changes.clone());
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &site.bootstrap).set("group.id", "latency-reader").set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed").set("fetch.wait.max.ms", "500");
        std::thread::spawn(move || {
            let consumer: BaseConsumer = config.create().expect("a consumer");
            let mut list = rdkafka::TopicPartitionList::new();
            for p in 0..STEADY_PARTITIONS as i32 {
                list.add_partition_offset(&topic, p, rdkafka::Offset::Beginning).expect("an offset");
            }
            consumer.assign(&list).expect("assigned");
            let mut latencies = Vec::new();
            while reading.load(Ordering::Relaxed) {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else { continue };
                let now = micros();
                let change: serde_json::Value = serde_json::from_slice(message.payload().unwrap_or_default()).expect("JSON");
                // The id of the event that caused it is the microsecond in which it was sent.
                let sent = change["cause_event"]["id"].as_str().and_then(|id| u64::from_str_radix(id, 16).ok());
                if let Some(sent) = sent {
                    latencies.push((sent, now.saturating_sub(sent)));
                }
            }
            latencies
        })
    };
    let producer = site.producer(LINGER_MS);
    let (mut random, mut json) = (fastrand::Rng::with_seed(2), String::new());
    let (started, begin) = (Instant::now(), micros());
    let (mut cpu, warm_records) = ((0.0, 0.0), per_second * WARM_UP.as_secs());
    for i in 0..per_second * (WARM_UP + MEASURED).as_secs() {
        if i == warm_records {
            cpu = (cpu_seconds("self"), cpu_seconds(broker));
        }
        let due = Duration::from_nanos(i * 1_000_000_000 / per_second);
        while started.elapsed() < due {
            producer.poll(Duration::ZERO);
            std::thread::sleep(Duration::from_micros(200));
        }
        let customer = event(&mut random, customers, &format!("{:016x}", micros()), &mut json);
        site.send(&producer, &customer, &json);
    }
    let cores = |before: f64, process: &str| (cpu_seconds(process) - before) / MEASURED.as_secs_f64();
    let (ours, brokers) = (cores(cpu.0, "self"), cores(cpu.1, broker));
    producer.flush(Duration::from_secs(30)).expect("flushed");
    std::thread::sleep(Duration::from_secs(2));
    reading.store(false, Ordering::Relaxed);
    let latencies = reader.join().expect("the reader ends");
    let from = begin + WARM_UP.as_micros() as u64;
    let mut warm: Vec<u64> = latencies.into_iter().filter(|(sent, _)| *sent >= from).map(|(_, l)| l).collect();
    warm.sort_unstable();
    let at = |q: f64| warm.get(((warm.len() as f64 - 1.0) * q) as usize).map_or(f64::NAN, |l| *l as f64 / 1_000.0);
    println!(
        "latency: {per_second} events/s in {STEADY_PARTITIONS} partitions, producer's linger {LINGER_MS} ms, event sent to change read (read_committed), {} changes in {} s: p50 {:.1} ms, p90 {:.1}, p99 {:.1}, most {:.1}; \
         {ours:.2} cores of this process, producer and reader in it, {brokers:.2} of the broker",
        warm.len(),
        MEASURED.as_secs(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    service.stop();
    service.wait().expect("an orderly end");
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.replace('_', "").parse().ok()).collect();
    let number = |i: usize, default: u64| numbers.get(i).copied().unwrap_or(default);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/broker");
    let output = Command::new(script).args(["start", "--while", &std::process::id().to_string()]).output().expect("the script runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let bootstrap = said.lines().find_map(|l| l.strip_prefix("bootstrap=")).expect("the broker starts");
    let broker = said.lines().find_map(|l| l.strip_prefix("pid=")).unwrap_or_default();
    let exporter = Exporter::start(None).expect("a recorder");
    let customers = number(1, 1_000_000) as u32;
    println!("began at {} on {} cores", Timestamp(millis()), std::thread::available_parallelism().map_or(1, |n| n.get()));
    drain(bootstrap, &exporter, number(0, 2_000_000), customers);
    latency(bootstrap, broker, customers.min(100_000), number(2, 10_000));
}
