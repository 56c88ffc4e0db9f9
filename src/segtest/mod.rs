//! Tests of definitions (`.segtest`, LANGUAGE.md 11): script parser and runner over the engine with a simulated clock.
//!
//! Owns the script's grammar and what a test run says. Reads no file and no clock: a file comes as its name and text, time comes from the
//! script. The same engine, decoder and compiler as in the service run here, so that a passing test says something about them.

pub mod report;
pub mod script;

pub use report::{Failure, Report};

/// Runs one `.segtest` file. `name` stands in messages only.
pub fn run_file(name: &str, text: &str) -> Report {
    let mut report = Report { file: name.to_string(), ..Report::default() };
    match script::Script::parse(text) {
        Err(e) => report.failures.push(Failure { line: e.line, message: e.message, ..Failure::default() }),
        Ok(_) => report
            .failures
            .push(Failure { message: "this build cannot run scripts: its engine is not wired to them".into(), ..Failure::default() }),
    }
    report
}
