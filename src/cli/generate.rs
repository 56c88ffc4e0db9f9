//! `segmentd generate`: the shop, to standard output, to a file, or to topics.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow};

use super::{Failure, Outcome};
use crate::config::parse_duration;
use crate::shop::{Shop, ShopSettings};
use crate::time::{Millis, Timestamp};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
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

fn positive(text: &str) -> Result<f64, String> {
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
    let mut n = 0;
    for record in Shop::new(settings) {
        if n == count || end.is_some_and(|end| record.arrival >= end) {
            break;
        }
        line.clear();
        record.write_json(true, &mut line);
        line.push(b'\n');
        sink.write_all(&line)?;
        n += 1;
    }
    sink.flush()?;
    Ok(())
}
