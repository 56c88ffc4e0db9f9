//! `segmentd generate`: the shop, to standard output, to a file, or to topics.
//!
//! To topics the shop is open now: each record is sent when its instant has come, until interrupted or as long as asked. With `--fast`
//! records of the past are sent as quickly as the broker takes them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use super::{Failure, Outcome, grouped, topics};
use crate::config::{Config, Input, parse_duration};
use crate::kafka::feed::Feed;
use crate::runtime::SystemClock;
use crate::shop::{Shop, ShopRecord, ShopSettings, Stream};
use crate::time::{Clock, Millis, Timestamp};
use crate::wire::Partitioner;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write to a file instead of standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "brokers"])]
    output: Option<PathBuf>,
    /// Send to the inputs of this configuration: each stream (clickstream, purchases, customers) to the input of its name, else to the first
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Send to these brokers without a configuration; needs --topic
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "config", requires = "topic")]
    brokers: Option<String>,
    /// Send everything to this topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Send as quickly as possible; without --start the events end now
    #[arg(long)]
    fast: bool,
    /// How many records
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,
    /// How much shop time; without --count the default is 1h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Millis>,
    #[command(flatten)]
    shop: ShopArgs,
}

/// What kind of shop.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ShopArgs {
    /// Equal seeds give equal events
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Instant of the first event, RFC 3339
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    start: Option<Timestamp>,
    /// Events per second of shop time
    #[arg(long, value_name = "N", default_value_t = 500.0, value_parser = positive)]
    rate: f64,
    /// Customers that the shop has
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    customers: u32,
    /// Products on offer
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    products: u32,
    /// 0: all customers and products alike; towards 1: few have nearly everything
    #[arg(long, value_name = "0..0.95", default_value_t = 0.5, value_parser = share)]
    skew: f64,
    /// How much faster than people visits go
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = positive)]
    pace: f64,
    /// Share of events that arrive late
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    disorder: f64,
    /// How late at most
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_duration)]
    late_by: Millis,
    /// Share of events that are sent twice with the same id
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    duplicates: f64,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "an instant is written like 2026-11-23T10:00:00Z".into())
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|x| (0.0..=1.0).contains(x)).ok_or_else(|| "a share is a number from 0 to 1".into())
}

pub(super) fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0).ok_or_else(|| "a number above 0 is needed".into())
}

impl ShopArgs {
    pub(super) fn settings(&self) -> ShopSettings {
        let default = ShopSettings::default();
        ShopSettings {
            seed: self.seed.unwrap_or(default.seed),
            start: self.start.unwrap_or(default.start),
            rate: self.rate,
            customers: self.customers,
            products: self.products,
            skew: self.skew,
            pace: self.pace,
            disorder: self.disorder,
            late_by: self.late_by,
            duplicates: self.duplicates,
        }
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    if args.config.is_some() || args.brokers.is_some() {
        return to_topics(args);
    }
    if args.topic.is_some() || args.fast {
        return Err(Failure::usage(anyhow!("--topic and --fast need --config or --brokers")));
    }
    let settings = args.shop.settings();
    let end = match (args.count, args.duration) {
        (None, None) => Some(settings.start + Millis::HOUR),
        (_, duration) => duration.map(|d| settings.start + d),
    };
    let count = args.count.unwrap_or(u64::MAX);
    eprintln!("seed {}", settings.seed);
    let mut sink: Box<dyn Write> = match &args.output {
        Some(path) => {
            if path.is_dir() {
                return Err(Failure::usage(anyhow!("{} is a folder", path.display())));
            }
            let file = File::create(path).with_context(|| format!("cannot write {}", path.display())).map_err(Failure::usage)?;
            Box::new(BufWriter::with_capacity(1 << 20, file))
        }
        None => Box::new(BufWriter::with_capacity(1 << 20, std::io::stdout().lock())),
    };
    let mut line = Vec::new();
    let wanted = Shop::new(settings).take_while(|r| end.is_none_or(|end| r.arrival < end));
    for record in wanted.take(usize::try_from(count).unwrap_or(usize::MAX)) {
        line.clear();
        record.write_json(true, &mut line);
        line.push(b'\n');
        sink.write_all(&line)?;
    }
    sink.flush()?;
    Ok(())
}

/// Where each stream goes, and through what.
pub(super) struct Target {
    feed: Feed,
    /// By [`Stream::ALL`].
    topic_of: [usize; 3],
    value: Vec<u8>,
}

impl Target {
    /// Each stream to the input of its name, else to the first.
    pub(super) fn connect(settings: &crate::kafka::Settings, inputs: &[Input]) -> Result<Target, crate::kafka::Error> {
        let topics: Vec<(String, Partitioner)> =
            inputs.iter().map(|i| (i.topic.clone(), i.partitioner.unwrap_or(Partitioner::Murmur2))).collect();
        let place = |stream: Stream| inputs.iter().position(|i| i.topic == stream.topic()).unwrap_or(0);
        Ok(Target { feed: Feed::connect(settings, &topics)?, topic_of: Stream::ALL.map(place), value: Vec::new() })
    }

    /// See [`Feed::pad`].
    pub(super) fn pad(&mut self, bytes: usize) {
        self.feed.pad(bytes);
    }

    /// Sends a record with the Kafka timestamp `stamp`.
    pub(super) fn send(&mut self, record: &ShopRecord, stamp: Timestamp) -> Result<(), crate::kafka::Error> {
        self.value.clear();
        record.write_json(false, &mut self.value);
        let topic = self.topic_of[record.body.stream() as usize];
        self.feed.send(topic, record.customer_id().as_bytes(), &self.value, stamp)
    }

    pub(super) fn poll(&mut self) -> Result<(), crate::kafka::Error> {
        self.feed.poll()
    }

    pub(super) fn flush(&mut self) -> Result<(), crate::kafka::Error> {
        self.feed.flush()
    }
}

/// Sends each record when its instant has come, until `stop`, `end` or `count`; returns how many were sent.
pub(super) fn send_live(
    shop: &mut Shop,
    target: &mut Target,
    clock: &dyn Clock,
    stop: &AtomicBool,
    end: Option<Timestamp>,
    count: u64,
) -> Result<u64, crate::kafka::Error> {
    let mut sent = 0;
    while sent < count && !stop.load(Ordering::Relaxed) {
        let now = clock.now();
        if end.is_some_and(|end| now >= end) {
            break;
        }
        while sent < count && shop.next_arrival() <= now {
            let Some(record) = shop.next() else { break };
            target.send(&record, clock.now())?;
            sent += 1;
        }
        target.poll()?;
        let wait = (shop.next_arrival() - clock.now()).0.clamp(1, 20);
        std::thread::sleep(Duration::from_millis(wait as u64));
    }
    target.flush()?;
    Ok(sent)
}

fn to_topics(args: &Args) -> Outcome {
    let mut config = match (&args.config, &args.brokers) {
        (Some(path), _) => Config::load(path).map_err(Failure::usage)?,
        (None, brokers) => Config::new(brokers.clone().unwrap_or_default(), Vec::new(), ""),
    };
    crate::telemetry::log::start(&config.log).map_err(Failure::usage)?;
    if let Some(topic) = &args.topic {
        let known = config.inputs.iter().find(|i| i.topic == *topic).cloned();
        config.inputs = vec![known.unwrap_or_else(|| Input::json(topic.clone()))];
    }
    if config.inputs.iter().any(|i| i.format != crate::config::Format::Json) {
        return Err(Failure::usage(anyhow!("generate writes JSON; an input of the configuration is protobuf: name another with --topic")));
    }
    let mut target = Target::connect(&topics::settings(&config), &config.inputs).map_err(Failure::kafka)?;
    let clock = SystemClock;
    let mut settings = args.shop.settings();
    eprintln!("seed {}", settings.seed);
    let count = args.count.unwrap_or(u64::MAX);
    let started = Instant::now();
    let sent = if args.fast {
        let length = match (args.count, args.duration) {
            (_, Some(duration)) => duration,
            (Some(n), None) => Millis((n as f64 / settings.rate * 1_000.0) as i64),
            (None, None) => Millis::HOUR,
        };
        settings.start = args.shop.start.unwrap_or_else(|| clock.now() - length);
        let end = (args.count.is_none() || args.duration.is_some()).then(|| settings.start + length);
        let mut sent = 0;
        for record in Shop::new(settings) {
            if sent == count || end.is_some_and(|end| record.arrival >= end) {
                break;
            }
            target.send(&record, record.arrival).map_err(Failure::kafka)?;
            sent += 1;
            if sent % 1_000 == 0 {
                target.poll().map_err(Failure::kafka)?;
            }
        }
        target.flush().map_err(Failure::kafka)?;
        sent
    } else {
        if args.shop.start.is_some() {
            return Err(Failure::usage(anyhow!("--start needs --fast: without it the shop is open now")));
        }
        settings.start = clock.now();
        let end = args.duration.map(|d| settings.start + d);
        send_live(&mut Shop::new(settings), &mut target, &clock, &AtomicBool::new(false), end, count).map_err(Failure::kafka)?
    };
    let seconds = started.elapsed().as_secs_f64();
    eprintln!("{} records in {seconds:.1} s ({} records/s)", grouped(sent), grouped((sent as f64 / seconds.max(1e-9)) as u64));
    Ok(())
}
