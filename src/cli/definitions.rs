//! Folders of definitions: found, read, compiled, with their diagnostics on standard error.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};

use super::Failure;
use crate::lang::{self, Compiled, Definition, DefinitionKind, Diagnostic, Severity, SourceFile};
use crate::plan::Plan;

/// The `.seg` files of a folder, sorted by name; sub-folders are workspaces of their own.
///
/// **Errors:** a folder that is absent, is no folder, or holds no `.seg` file; a file that cannot be read or is no UTF-8. Exit code 2.
pub(super) fn read_folder(folder: &Path) -> Result<Vec<SourceFile>, Failure> {
    let shown = folder.display();
    if !folder.is_dir() {
        let what = if folder.exists() { "is a file; definitions are read from a folder of .seg files" } else { "does not exist" };
        return Err(Failure::usage(anyhow!("{shown} {what}")));
    }
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {shown}")).map_err(Failure::usage)?;
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {shown}")).map_err(Failure::usage)?.path();
        if path.is_file() && path.extension().is_some_and(|e| e == "seg") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(Failure::usage(anyhow!("{shown} has no .seg file")));
    }
    paths.iter().map(|path| read_file(path)).collect()
}

/// One `.seg` file.
///
/// **Errors:** it cannot be read or is no UTF-8. Exit code 2.
pub(super) fn read_file(path: &Path) -> Result<SourceFile, Failure> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display())).map_err(Failure::usage)?;
    Ok(SourceFile { name: path.display().to_string(), text })
}

/// Prints diagnostics to standard error, in colour on a terminal.
pub(super) fn print_diagnostics(diagnostics: &[Diagnostic]) {
    let colour = std::io::stderr().is_terminal();
    for d in diagnostics {
        let text = d.to_string();
        let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
        match (colour, d.severity) {
            (true, Severity::Error) => eprintln!("\x1b[1;31m{head}\x1b[0m\n{rest}\n"),
            (true, Severity::Warning) => eprintln!("\x1b[1;33m{head}\x1b[0m\n{rest}\n"),
            (true, Severity::Hint) => eprintln!("\x1b[1;36m{head}\x1b[0m\n{rest}\n"),
            (false, _) => eprintln!("{text}\n"),
        }
    }
}

/// Compiles a folder for a command that needs it to be good.
///
/// **Errors:** as [`read_folder`] and [`compiled`].
pub(super) fn plan_of(folder: &Path) -> Result<Arc<Plan>, Failure> {
    compiled(lang::compile(&read_folder(folder)?))
}

/// The plan of definitions that must be good; warnings are left to `check`.
///
/// **Errors:** errors in the definitions are printed, exit code 1.
pub(super) fn compiled(Compiled { workspace, diagnostics }: Compiled) -> Result<Arc<Plan>, Failure> {
    match workspace {
        Some(workspace) => Ok(Arc::new(Plan::compile(Arc::new(workspace)))),
        None => {
            let errors: Vec<Diagnostic> = diagnostics.into_iter().filter(|d| d.severity == Severity::Error).collect();
            print_diagnostics(&errors);
            eprintln!("{}", summary(&errors));
            Err(Failure::check())
        }
    }
}

/// `2 errors, 1 warning`.
pub(super) fn summary(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    let warnings = diagnostics.iter().filter(|d| d.severity == Severity::Warning).count();
    let counted = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, 0) => "no errors, no warnings".into(),
        (e, 0) => counted(e, "error"),
        (0, w) => counted(w, "warning"),
        (e, w) => format!("{}, {}", counted(e, "error"), counted(w, "warning")),
    }
}

/// Whether customers can be in it: segments and stages, not scores.
pub(super) fn has_members(definition: &Definition) -> bool {
    matches!(definition.kind, DefinitionKind::Segment(_) | DefinitionKind::Stages(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_seg_files_of_the_folder_itself_are_read_in_order() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::create_dir(folder.path().join("sub")).expect("made");
        for name in ["b.seg", "a.seg", "a.segtest", "sub/c.seg"] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        let names: Vec<String> = read_folder(folder.path()).expect("reads").into_iter().map(|f| f.name).collect();
        assert!(names.len() == 2 && names[0].ends_with("a.seg") && names[1].ends_with("b.seg"), "{names:?}");
        for bad in [folder.path().join("none"), folder.path().join("a.seg")] {
            assert_eq!(read_folder(&bad).expect_err("refused").code, 2);
        }
    }
}
