//! `segmentd backtest`: the engine over a file of events in event time (LANGUAGE.md R62).
//!
//! The whole input is sorted by arrival, ties as they stand, so its native records are held in memory: about the size of the file. All
//! else is bounded by the customers' state: changes go out while the run goes on, of the summary a fixed number of sizes is kept.

mod input;
mod replay;
mod summary;

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::{Failure, Outcome, definitions, grouped};
use crate::config;
use crate::model::Change;
use crate::time::Timestamp;
use crate::wire::encode;
use crate::wire::mapping::Mapping;

pub(super) use input::Input;
pub(super) use replay::{DeadLetters, Replay};
use summary::Summary;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder with the catalogue and the definitions, *.seg
    #[arg(long, value_name = "DIR")]
    definitions: PathBuf,
    /// Events as NDJSON, or as CSV with a mapping, packed with gzip or not; - for standard input
    #[arg(long, value_name = "FILE")]
    events: PathBuf,
    /// TOML with a [mapping]: how rows of another system become events; examples/mappings has some
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Where the clock ends, RFC 3339; by default at the last arrival. Later events are left out
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    until: Option<Timestamp>,
    /// Write the changes to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "an instant is written like 2026-11-23T10:00:00Z".into())
}

/// The mapping of `--mapping`.
pub(super) fn mapping(path: Option<&PathBuf>) -> Result<Option<Mapping>, Failure> {
    path.map(|path| config::load_mapping(path).map_err(Failure::usage)).transpose()
}

pub(super) fn run(args: &Args) -> Outcome {
    let plan = definitions::plan_of(&args.definitions)?;
    let mapping = mapping(args.mapping.as_ref())?;
    let started = Instant::now();
    let mut dead_letters = DeadLetters::default();
    let input = Input::read(&args.events, mapping.as_ref(), &plan.schema().catalogue, args.until, &mut dead_letters)?;
    let mut out: Box<dyn Write> = match &args.output {
        Some(path) => {
            let file = File::create(path).with_context(|| format!("cannot write {}", path.display())).map_err(Failure::usage)?;
            Box::new(BufWriter::with_capacity(1 << 20, file))
        }
        None => Box::new(BufWriter::with_capacity(1 << 20, std::io::stdout().lock())),
    };
    let first = input.lines.first().map_or(Timestamp(0), |l| l.arrival);
    let end = args.until.or_else(|| input.last_arrival());
    let mut replay = Replay::new(plan, dead_letters);
    let mut summary = Summary::new(&replay.engine, first, end.unwrap_or(first));
    let mut progress = Progress::new(input.lines.len(), args.output.is_some());
    let topics = [input.name.clone()];
    let mut line = Vec::new();
    let mut sink = |change: &Change| {
        line.clear();
        encode::change_json(change, None, &topics, &mut line);
        line.push(b'\n');
        summary.count(change);
        out.write_all(&line)
    };
    replay.run(&input, end, &mut sink, |records, changes| progress.advance(records, changes))?;
    out.flush()?;
    progress.done();
    eprint!("{}", summary.text(&replay.engine));
    told(&replay, &input, started.elapsed(), end);
    Ok(())
}

fn told(replay: &Replay, input: &Input, took: Duration, end: Option<Timestamp>) {
    let seconds = took.as_secs_f64().max(1e-9);
    eprintln!(
        "{} records, {} events applied, {} duplicates, {} customers, {} changes in {:.2} s ({} records/s)",
        grouped(input.lines.len() as u64 + input.unreadable),
        grouped(replay.events),
        grouped(replay.duplicates),
        grouped(replay.engine.customers() as u64),
        grouped(replay.changes),
        seconds,
        grouped((input.lines.len() as f64 / seconds) as u64)
    );
    if let Some(end) = end {
        eprintln!("the clock ended at {end}");
    }
    if input.after_end > 0 {
        eprintln!("{} records after that were left out", grouped(input.after_end));
    }
    if input.left_out > 0 {
        eprintln!("{} rows were left out as the mapping says", grouped(input.left_out));
    }
    for line in replay.dead_letters.lines() {
        eprintln!("{line}");
    }
}

/// A bar on standard error, where that is a terminal.
struct Progress {
    total: usize,
    done: usize,
    started: Instant,
    shown: Instant,
    visible: bool,
}

impl Progress {
    fn new(total: usize, changes_elsewhere: bool) -> Progress {
        let now = Instant::now();
        // With changes and bar on one terminal neither could be read.
        let visible = std::io::stderr().is_terminal() && (changes_elsewhere || !std::io::stdout().is_terminal());
        Progress { total, done: 0, started: now, shown: now, visible }
    }

    fn advance(&mut self, records: usize, changes: u64) {
        self.done += records;
        if !self.visible || self.shown.elapsed() < Duration::from_millis(100) {
            return;
        }
        self.shown = Instant::now();
        let share = self.done as f64 / self.total.max(1) as f64;
        let filled = (share * 30.0) as usize;
        let rate = self.done as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        let left = (self.total - self.done) as f64 / rate.max(1.0);
        eprint!(
            "\r\x1b[K{}{} {:>3.0} %  {} records  {} records/s  {} changes  {left:.0} s left",
            "█".repeat(filled),
            "░".repeat(30 - filled),
            share * 100.0,
            grouped(self.done as u64),
            grouped(rate as u64),
            grouped(changes)
        );
    }

    fn done(&self) {
        if self.visible {
            eprint!("\r\x1b[K");
        }
    }
}
