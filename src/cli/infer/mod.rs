//! `segmentd infer --events FILE`: a first catalogue from a sample of events.
//!
//! It guesses types, which events are done by the customer, money with its currency, instants, enumerations and the cart, and compiles
//! what it wrote before it prints it. It is a draft: comments say what was guessed on thin ground.

mod guess;
mod sample;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow};

use super::{Failure, Outcome, definitions, grouped};
use crate::lang::{self, SourceFile};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Events as NDJSON; - for standard input
    #[arg(long, value_name = "FILE")]
    events: PathBuf,
    /// Most lines to look at
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    lines: u64,
}

pub(super) fn run(args: &Args) -> Outcome {
    let reader: Box<dyn BufRead> = if args.events.as_os_str() == "-" {
        Box::new(BufReader::new(std::io::stdin().lock()))
    } else {
        let shown = args.events.display();
        if args.events.is_dir() {
            return Err(Failure::usage(anyhow!("{shown} is a folder; a sample is one file of NDJSON, or - for standard input")));
        }
        Box::new(BufReader::new(File::open(&args.events).with_context(|| format!("cannot read {shown}")).map_err(Failure::usage)?))
    };
    let mut sample = sample::Sample::default();
    for line in reader.split(b'\n').take(usize::try_from(args.lines).unwrap_or(usize::MAX)) {
        sample.add(&line.context("cannot read the sample").map_err(Failure::environment)?);
    }
    eprintln!(
        "{} records: {} event types, {} traits, {} purposes, {} lists",
        grouped(sample.records),
        sample.events.len(),
        sample.traits.len(),
        sample.purposes.len(),
        sample.lists.len()
    );
    if sample.skipped > 0 {
        eprintln!("{} lines are no records of segmentd's format and were skipped", grouped(sample.skipped));
    }
    if sample.records == 0 {
        return Err(Failure::usage(anyhow!(
            "the sample has no record; one is written like {{\"customer\":\"c-1\",\"event\":\"product_viewed\",\"ts\":\"2026-11-23T10:00:00Z\",\"properties\":{{}}}}"
        )));
    }
    let catalogue = guess::catalogue(&sample);
    let compiled = lang::compile(&[SourceFile { name: "catalogue.seg".into(), text: catalogue.clone() }]);
    std::io::stdout().lock().write_all(catalogue.as_bytes())?;
    if compiled.workspace.is_none() {
        definitions::print_diagnostics(&compiled.diagnostics);
        eprintln!("the catalogue needs a hand before it compiles");
        return Err(Failure::check());
    }
    Ok(())
}
