//! Golden texts: `tests/words/NAME.txt` is what the definitions of `NAME.seg` say.
//!
//! `UPDATE_GOLDEN=1 cargo test --lib words::` writes what comes out today; the difference is then read in the commit.

use std::fs;
use std::path::Path;

use super::definition;
use crate::lang::{SourceFile, compile_into, diagnostic};

/// Says every definition back, also those with forms that this version only checks.
fn said(text: &str, catalogue: &str) -> String {
    let mut report = diagnostic::Report::default();
    report.all_forms = true;
    let compiled = compile_into(&[SourceFile::new("catalogue.seg", catalogue), SourceFile::new("a.seg", text)], report);
    let errors: Vec<String> = compiled.errors().map(|d| d.to_string()).collect();
    let Some(workspace) = compiled.workspace else { panic!("{}", errors.join("\n")) };
    workspace.definitions.iter().map(|d| definition(&workspace, d) + "\n").collect()
}

#[test]
fn definitions_are_said_back_as_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let mut different = Vec::new();
    for (source, golden) in [("diagnostics/reference.seg", "words/reference.txt"), ("words/forms.seg", "words/forms.txt")] {
        let found = said(&read(source), &read("diagnostics/reference_catalogue.seg"));
        assert!(found.lines().count() > 40, "{source}");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(folder.join(golden), &found).expect("golden file is written");
        } else if read(golden) != found {
            different.push(format!("{golden} differs; what comes out now:\n{found}"));
        }
        for line in found.lines() {
            assert!(!line.contains("  ") && !line.contains(" .") && !line.contains(" ,") && line.ends_with('.'), "{line}");
        }
    }
    assert!(different.is_empty(), "{}\nrun with UPDATE_GOLDEN=1 and read the difference", different.join("\n"));
}
