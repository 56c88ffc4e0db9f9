//! Any text as a `.segtest` file: a report, whatever stands in it; what compiles is run four ways.
#![no_main]

use libfuzzer_sys::fuzz_target;
use segmentd::segtest::run_file;

fuzz_target!(|text: &str| {
    // A script can ask for centuries of clock; what fuzzing looks for lies in the first lines.
    if text.len() < 4_096 {
        let report = run_file("fuzzed.segtest", text);
        assert!(report.passed() || !report.to_string().is_empty());
    }
});
