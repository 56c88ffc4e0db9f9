//! `segmentd format PATH...`: one layout for definitions.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::{Failure, Outcome, definitions};
use crate::lang::format;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folders of .seg files, or single files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Change nothing; name the files that would change, and end with 1 if there are any
    #[arg(long)]
    check: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut files = Vec::new();
    for path in &args.paths {
        files.extend(if path.is_file() { vec![definitions::read_file(path)?] } else { definitions::read_folder(path)? });
    }
    let (mut changed, mut broken) = (Vec::new(), Vec::new());
    for file in &files {
        match format::format(file) {
            Ok(text) if text != file.text => changed.push((&file.name, text)),
            Ok(_) => {}
            Err(diagnostics) => broken.extend(diagnostics),
        }
    }
    if !broken.is_empty() {
        definitions::print_diagnostics(&broken);
        eprintln!("{}; no file was changed", definitions::summary(&broken));
        return Err(Failure::check());
    }
    for (name, text) in &changed {
        if args.check {
            println!("{name} would change");
        } else {
            replace(Path::new(name), text).map_err(Failure::usage)?;
            println!("{name}");
        }
    }
    if args.check && !changed.is_empty() { Err(Failure::check()) } else { Ok(()) }
}

/// Writes beside the file and moves it there whole, so that nothing is half written.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let name = path.file_name().ok_or_else(|| anyhow!("{} has no name", path.display()))?;
    let beside = path.with_file_name(format!(".{}.formatted", name.to_string_lossy()));
    let written = std::fs::write(&beside, text).and_then(|()| {
        std::fs::set_permissions(&beside, std::fs::metadata(path)?.permissions())?;
        std::fs::rename(&beside, path)
    });
    if written.is_err() {
        // What is beside is of no use; the file itself is as it was.
        let _ = std::fs::remove_file(&beside);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}
