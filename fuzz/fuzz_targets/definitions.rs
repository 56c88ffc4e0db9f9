//! Any text: diagnostics or a set of definitions, which has a plan and a report; and one layout, which stays.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use segmentd::lang::{SourceFile, compile, format};
use segmentd::plan::Plan;

const CATALOGUE: &str = include_str!("../../examples/catalogue.seg");

fuzz_target!(|text: &str| {
    let file = SourceFile::new("a.seg", text);
    if let Ok(once) = format::format(&file) {
        let twice = format::format(&SourceFile::new("a.seg", once.clone()));
        assert_eq!(twice.ok(), Some(once));
    }
    let compiled = compile(&[file, SourceFile::new("catalogue.seg", CATALOGUE)]);
    for diagnostic in &compiled.diagnostics {
        assert!(!diagnostic.to_string().is_empty());
    }
    assert_eq!(compiled.workspace.is_none(), compiled.errors().next().is_some());
    if let Some(workspace) = compiled.workspace {
        let plan = Plan::compile(Arc::new(workspace));
        assert!(plan.report().iter().all(|r| !r.segment.is_empty()));
    }
});
