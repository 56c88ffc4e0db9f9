//! `segmentd backtest`: the engine over a file of events in event time (LANGUAGE.md R62).
//!
//! The whole input is sorted by arrival, ties as they stand, so it is held in memory: about the size of the file. Changes come out sorted
//! by (decided_at, customer, seq) while the run goes on: after an `apply` that left no due timer behind, nothing earlier can follow.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use super::{Failure, Outcome, definitions, grouped};
use crate::engine::{Batch, Engine, Outputs, Published, Settings};
use crate::ids::{InputIndex, Position};
use crate::lang::Workspace;
use crate::model::{ChangeKind, DeadLetterReason};
use crate::time::Timestamp;
use crate::wire::json::Decoder;
use crate::wire::{DecodeOptions, RawRecord, encode, row};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder with the catalogue and the definitions, *.seg
    #[arg(long, value_name = "DIR")]
    definitions: PathBuf,
    /// Events as NDJSON; - for standard input
    #[arg(long, value_name = "FILE")]
    events: PathBuf,
    /// Where the clock ends, RFC 3339; by default at the last arrival. Later events are left out
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    until: Option<Timestamp>,
    /// Write the changes to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "an instant is written like 2026-11-23T10:00:00Z".into())
}

/// Records that go through the engine at once; decides nothing but speed.
const BATCH_RECORDS: usize = 4_096;

pub(super) fn run(args: &Args) -> Outcome {
    let plan = definitions::plan_of(&args.definitions)?;
    let (source, text) = read(&args.events)?;
    let started = Instant::now();
    let mut tally = Tally::default();
    let mut lines = index(&text, &mut tally);
    lines.sort_by_key(|l| l.arrival);
    if let Some(until) = args.until {
        let kept = lines.partition_point(|l| l.arrival <= until);
        tally.after_end = (lines.len() - kept) as u64;
        lines.truncate(kept);
    }
    let mut sink: Box<dyn Write> = match &args.output {
        Some(path) => {
            let file = File::create(path).with_context(|| format!("cannot write {}", path.display())).map_err(Failure::usage)?;
            Box::new(BufWriter::with_capacity(1 << 20, file))
        }
        None => Box::new(BufWriter::with_capacity(1 << 20, std::io::stdout().lock())),
    };

    // History is history: no age is too old (R62).
    let settings = Settings { max_age: None, ..Settings::default() };
    let mut run = Run {
        engine: Engine::new(plan.clone(), settings),
        decoder: Decoder::new(plan.schema().clone(), DecodeOptions::strict()),
        batch: Batch::default(),
        outputs: Outputs::default(),
        held: Vec::new(),
        line: Vec::new(),
        topics: [source],
        tally,
    };
    let mut progress = Progress::new(lines.len());
    for chunk in lines.chunks(BATCH_RECORDS) {
        run.batch.clear();
        for line in chunk {
            let raw = RawRecord {
                position: Position { input: InputIndex(0), partition: 0, offset: line.number as i64 },
                arrival: line.arrival,
                key: None,
                value: Some(line.bytes),
            };
            run.decoder.decode(&raw, &mut run.batch);
        }
        run.apply(None, &mut sink)?;
        progress.advance(chunk.len(), run.tally.changes);
    }
    run.batch.clear();
    let end = args.until.or_else(|| lines.last().map(|l| l.arrival));
    if let Some(end) = end {
        run.apply(Some(end), &mut sink)?;
    }
    run.emit(Timestamp::MAX, &mut sink)?;
    sink.flush()?;
    progress.done();
    run.summarize(plan.workspace(), lines.len(), started.elapsed(), end);
    Ok(())
}

fn read(path: &PathBuf) -> Result<(String, Vec<u8>), Failure> {
    let mut text = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut text).context("cannot read standard input").map_err(Failure::environment)?;
        return Ok(("stdin".into(), text));
    }
    let shown = path.display().to_string();
    if path.is_dir() {
        return Err(Failure::usage(anyhow!("{shown} is a folder; events are read from one file of NDJSON, or - for standard input")));
    }
    let mut file = File::open(path).with_context(|| format!("cannot read {shown}")).map_err(Failure::usage)?;
    file.read_to_end(&mut text).with_context(|| format!("cannot read {shown}")).map_err(Failure::usage)?;
    Ok((path.file_name().map_or(shown, |n| n.to_string_lossy().into_owned()), text))
}

/// One record of the input.
struct Line<'a> {
    arrival: Timestamp,
    bytes: &'a [u8],
    /// As an editor counts, from 1.
    number: usize,
}

/// Finds the lines and their arrivals; those without one are unreadable (R62).
fn index<'a>(text: &'a [u8], tally: &mut Tally) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for (number, bytes) in row::lines(text) {
        match row::arrival(bytes) {
            Ok(arrival) => lines.push(Line { arrival, bytes, number }),
            Err(why) => {
                tally.without_arrival += 1;
                tally.dead_letter(DeadLetterReason::Unreadable, number, &why);
            }
        }
    }
    lines
}

struct Run {
    engine: Engine,
    decoder: Decoder,
    batch: Batch,
    outputs: Outputs,
    /// Changes that an earlier one may still precede.
    held: Vec<Published>,
    line: Vec<u8>,
    topics: [String; 1],
    tally: Tally,
}

impl Run {
    /// Applies the batch, and goes on while the output budget cuts the timers that are due.
    fn apply(&mut self, idle_until: Option<Timestamp>, sink: &mut dyn Write) -> Outcome {
        loop {
            let applied = self.engine.apply(&self.batch, idle_until, &mut self.outputs);
            self.batch.clear();
            for letter in self.outputs.dead_letters.drain(..) {
                self.tally.dead_letter(letter.reason, letter.position.offset as usize, &letter.detail);
            }
            self.held.append(&mut self.outputs.changes);
            self.tally.duplicates += self.outputs.counts.duplicates;
            self.tally.events += self.outputs.counts.events;
            self.outputs = Outputs { changes: std::mem::take(&mut self.outputs.changes), ..Outputs::default() };
            match applied.cursor {
                Some(cursor) => self.emit(cursor.deadline, sink)?,
                None => return self.emit(applied.clock, sink),
            }
        }
    }

    /// Writes the changes that were decided before `horizon`.
    fn emit(&mut self, horizon: Timestamp, sink: &mut dyn Write) -> Outcome {
        self.held.sort_by(|a, b| {
            let key = |p: &Published| (p.change.decided_at, p.change.seq);
            key(a).0.cmp(&key(b).0).then_with(|| a.change.customer.cmp(&b.change.customer)).then(key(a).1.cmp(&key(b).1))
        });
        let ready = if horizon == Timestamp::MAX { self.held.len() } else { self.held.partition_point(|p| p.change.decided_at < horizon) };
        for published in self.held.drain(..ready) {
            let change = &published.change;
            self.line.clear();
            encode::change_json(change, None, &self.topics, &mut self.line);
            self.line.push(b'\n');
            sink.write_all(&self.line)?;
            self.tally.changes += 1;
            let counts = self.tally.segments.entry(change.segment.to_string()).or_default();
            match change.kind {
                ChangeKind::Entered => counts.entered += 1,
                ChangeKind::Exited => counts.exited += 1,
                ChangeKind::Moved { .. } => counts.moved += 1,
            }
        }
        Ok(())
    }

    fn summarize(&self, workspace: &Workspace, records: usize, took: Duration, end: Option<Timestamp>) {
        let t = &self.tally;
        let definitions = workspace.definitions.iter().zip(self.engine.members()).filter(|(d, _)| definitions::has_members(d));
        let width = definitions.clone().map(|(d, _)| d.name.chars().count()).max().unwrap_or(0).max("segment".len());
        eprintln!("{:width$}  {:>10}  {:>10}  {:>10}  {:>10}", "segment", "entered", "exited", "moved", "members");
        for (definition, members) in definitions {
            let name = &definition.name;
            let counts = t.segments.get(name).copied().unwrap_or_default();
            let shown = [counts.entered, counts.exited, counts.moved, *members].map(grouped);
            eprintln!("{name:width$}  {:>10}  {:>10}  {:>10}  {:>10}", shown[0], shown[1], shown[2], shown[3]);
        }
        let seconds = took.as_secs_f64().max(1e-9);
        eprintln!(
            "{} records, {} events applied, {} duplicates, {} customers, {} changes in {:.2} s ({} records/s)",
            grouped(records as u64 + t.without_arrival),
            grouped(t.events),
            grouped(t.duplicates),
            grouped(self.engine.customers() as u64),
            grouped(t.changes),
            seconds,
            grouped((records as f64 / seconds) as u64)
        );
        if let Some(end) = end {
            eprintln!("the clock ended at {end}");
        }
        if t.after_end > 0 {
            eprintln!("{} records after that were left out", grouped(t.after_end));
        }
        for (reason, (n, line, detail)) in &t.dead_letters {
            let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
            eprintln!("dead letters {}: {} (first in line {}{detail})", reason.word(), grouped(*n), line);
        }
    }
}

/// What the summary tells.
#[derive(Default)]
struct Tally {
    events: u64,
    duplicates: u64,
    changes: u64,
    after_end: u64,
    without_arrival: u64,
    segments: BTreeMap<String, Counts>,
    /// By reason: how many, and the first one's line and detail.
    dead_letters: BTreeMap<DeadLetterReason, (u64, usize, String)>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    entered: u64,
    exited: u64,
    moved: u64,
}

impl Tally {
    fn dead_letter(&mut self, reason: DeadLetterReason, line: usize, detail: &str) {
        let entry = self.dead_letters.entry(reason).or_insert_with(|| (0, line, detail.to_string()));
        entry.0 += 1;
        if line < entry.1 {
            (entry.1, entry.2) = (line, detail.to_string());
        }
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
    fn new(total: usize) -> Progress {
        let now = Instant::now();
        // With changes and bar on one terminal neither could be read.
        let visible = std::io::stderr().is_terminal() && !std::io::stdout().is_terminal();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_placed_by_arrival_and_those_without_one_are_unreadable() {
        let text = b"{\"ts\":\"2026-01-01T00:00:02Z\"}\n\n{\"ts\":\"2026-01-01T00:00:05Z\",\"arrival\":\"2026-01-01T00:00:01Z\"}\n{\"customer\":\"c\"}\n{\"ts\":null,\"arrival\":\"2026-01-01T00:00:03Z\"}\nnoise";
        let mut tally = Tally::default();
        let mut lines = index(text, &mut tally);
        lines.sort_by_key(|l| l.arrival);
        assert_eq!(lines.iter().map(|l| l.number).collect::<Vec<_>>(), [3, 1, 5]);
        let (n, first, _) = &tally.dead_letters[&DeadLetterReason::Unreadable];
        assert_eq!((*n, *first), (2, 4));
    }
}
