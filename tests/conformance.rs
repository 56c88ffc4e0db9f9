//! The rules of the language as `.segtest` files, the format that users write: each runs four ways through the engine, and a fifth time
//! against the oracle, so that the files also keep the oracle honest.
//!
//! `CONFORMANCE=part-of-a-name cargo test --test conformance` runs some of them.

use std::fs;
use std::path::Path;

use segmentd::segtest::{run_file, script};
use segmentd::testing::against;
use segmentd::testing::oracle::Oracle;
use segmentd::testing::scenario::{Scenario, Step};

fn files() -> Vec<(String, String)> {
    let wanted = std::env::var("CONFORMANCE").unwrap_or_default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut paths: Vec<_> = fs::read_dir(folder).expect("the folder of conformance tests").map(|e| e.expect("an entry").path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "segtest"));
    paths.sort();
    let name = |p: &Path| p.file_name().expect("a file").to_string_lossy().into_owned();
    let all = paths.iter().map(|p| (name(p), fs::read_to_string(p).expect("UTF-8")));
    all.filter(|(name, _)| name.contains(&wanted)).collect()
}

#[test]
fn every_file_passes_in_all_four_ways() {
    let files = files();
    assert!(!files.is_empty(), "no file");
    let failed: Vec<_> = files.iter().map(|(name, text)| run_file(name, text)).filter(|r| !r.passed()).collect();
    for report in &failed {
        println!("{report}\n");
    }
    assert!(failed.is_empty(), "{} of {} files fail", failed.len(), files.len());
}

#[test]
fn the_oracle_agrees_with_every_file() {
    let (mut failed, mut left_out) = (Vec::new(), Vec::new());
    for (name, text) in files() {
        let script = script::Script::parse(&text).expect("the other test says what is wrong");
        let mut steps = Vec::new();
        let mut plain = true;
        for line in &script.lines {
            match &line.step {
                script::Step::Record(record) => steps.push(Step::Record(record.clone())),
                script::Step::Clock(t) => steps.push(Step::Clock(*t)),
                script::Step::Expect(script::Expectation::Error(_)) | script::Step::Set { .. } | script::Step::Define(_) => plain = false,
                script::Step::Expect(_) => {}
            }
        }
        // The oracle runs with the default settings, and only what compiles.
        if !plain {
            continue;
        }
        let scenario = Scenario { seed: 0, catalogue: script.definitions, items: Vec::new(), steps };
        match against::compile(&scenario).map(|workspace| Oracle::knows(&workspace)) {
            Ok(Err(form)) => left_out.push(format!("{name}: the oracle lacks {form}")),
            _ => {
                if let Err(e) = against::check(&scenario) {
                    failed.push(format!("{name}: {e}"));
                }
            }
        }
    }
    println!("{} files left out{}{}", left_out.len(), if left_out.is_empty() { "" } else { ":\n" }, left_out.join("\n"));
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
