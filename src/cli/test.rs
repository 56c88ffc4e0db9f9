//! `segmentd test PATH...`: runs `.segtest` files; folders are searched.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::{Failure, Outcome};
use crate::segtest;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// .segtest files, or folders that hold some
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut files = Vec::new();
    for path in &args.paths {
        let before = files.len();
        find(path, &mut files).map_err(Failure::usage)?;
        if files.len() == before {
            return Err(Failure::usage(anyhow!("{} has no .segtest file", path.display())));
        }
    }
    let mut out = std::io::stdout().lock();
    let mut failed = 0;
    for file in &files {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}")).map_err(Failure::usage)?;
        let report = segtest::run_file(&name, &text);
        failed += usize::from(!report.passed());
        writeln!(out, "{report}")?;
    }
    let tests = |n: usize| format!("{n} file{}", if n == 1 { "" } else { "s" });
    if failed == 0 {
        writeln!(out, "{} passed", tests(files.len()))?;
        Ok(())
    } else {
        writeln!(out, "{} of {} failed", failed, tests(files.len()))?;
        Err(Failure::check())
    }
}

/// A file is taken whatever its name; folders are searched to the bottom, in the order of names.
fn find(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if path.is_file() {
        files.push(path.into());
        return Ok(());
    }
    if !path.exists() {
        return Err(anyhow!("{} does not exist", path.display()));
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect())
        .with_context(|| format!("cannot read {}", path.display()))?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            find(&entry, files)?;
        } else if entry.extension().is_some_and(|e| e == "segtest") {
            files.push(entry);
        }
    }
    Ok(())
}
