//! Tests of definitions (`.segtest`, LANGUAGE.md 11): script parser and runner over the engine with a simulated clock.
//!
//! Owns the script's grammar and what a test run says. Reads no file and no clock: a file comes as its name and text, time comes from the
//! script. The same engine, decoder and compiler as in the service run here, so that a passing test says something about them.

mod check;
pub mod report;
mod run;
pub mod script;

use std::sync::Arc;

use crate::engine::output::Published;
use crate::lang::{Compiled, SourceFile};
use crate::plan::Plan;
use check::Checker;
use run::{Run, Way};
use script::{Expectation, Line, Script, Step};

pub use check::words;
pub use report::{Failure, Report};

/// Runs one `.segtest` file in all four ways. `name` stands in messages only.
pub fn run_file(name: &str, text: &str) -> Report {
    let mut report = Report { file: name.to_string(), ..Report::default() };
    let script = match Script::parse(text) {
        Ok(script) => script,
        Err(e) => {
            report.failures.push(Failure { line: e.line, message: e.message, ..Failure::default() });
            return report;
        }
    };
    let compiled = crate::lang::compile(&[SourceFile::new(name, script.definitions.as_str())]);
    check_diagnostics(&script, &compiled, &mut report);
    let Some(workspace) = compiled.workspace else { return report };
    if !report.passed() {
        return report;
    }
    let mut plans = vec![Arc::new(Plan::compile(Arc::new(workspace)))];
    for line in &script.lines {
        let Step::Define(text) = &line.step else { continue };
        let base = [SourceFile::new(name, script.definitions.as_str())];
        let compiled = crate::lang::recompile(&base, SourceFile::new(format!("{name} line {}", line.number), text.as_str()));
        let Some(workspace) = compiled.workspace else {
            let message = compiled.errors().map(|d| d.to_string()).collect::<Vec<_>>().join("\n");
            let message = format!("the definitions do not compile\n{message}");
            report.failures.push(Failure { line: line.number, text: line.text.clone(), message, ..Failure::default() });
            return report;
        };
        plans.push(Arc::new(Plan::compile(Arc::new(workspace))));
    }
    let mut first: Option<Vec<Published>> = None;
    for way in Way::ALL {
        let mut run = Run::new(plans.clone(), way);
        let mut checker = Checker::default();
        let mut failures = run_way(&script, &mut run, &mut checker);
        let mut changes = std::mem::take(&mut run.changes);
        changes.sort_by(|a, b| check::order(a).cmp(&check::order(b)));
        match &first {
            None => {
                report.expectations += checker.expectations;
                first = Some(changes);
            }
            Some(first) if failures.is_empty() && *first != changes => failures.push(difference(first, &changes)),
            Some(_) => {}
        }
        if !failures.is_empty() {
            // The first way speaks for all; a later one only where it differs.
            let way = (way != Way::RecordByRecord).then(|| way.words());
            report.failures.extend(failures.into_iter().map(|f| Failure { way, ..f }));
            break;
        }
    }
    report
}

fn run_way(script: &Script, run: &mut Run, checker: &mut Checker) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut group: Vec<&Line> = Vec::new();
    for line in &script.lines {
        let is_expectation = matches!(line.step, Step::Expect(_));
        if !is_expectation && !group.is_empty() {
            failures.extend(checker.group(&std::mem::take(&mut group), run));
        }
        if let Err(message) = run.step(line) {
            failures.push(Failure { line: line.number, text: line.text.clone(), message, ..Failure::default() });
            return failures;
        }
        if is_expectation {
            group.push(line);
        }
    }
    if !group.is_empty() {
        failures.extend(checker.group(&group, run));
    }
    if let Err(message) = run.finish() {
        failures.push(Failure { message, ..Failure::default() });
    }
    failures
}

/// The expectations about the definitions; a file that does not compile passes only where it says so.
fn check_diagnostics(script: &Script, compiled: &Compiled, report: &mut Report) {
    let codes = |errors: bool| {
        let found = compiled.diagnostics.iter().filter(move |d| (d.severity == crate::lang::Severity::Error) == errors);
        found.map(|d| d.code.as_str()).collect::<Vec<_>>()
    };
    let mut expects_error = false;
    for line in &script.lines {
        let (code, found) = match &line.step {
            Step::Expect(Expectation::Error(code)) => {
                expects_error = true;
                (code, codes(true))
            }
            Step::Expect(Expectation::Warning(code)) if code == check::HISTORY => continue,
            Step::Expect(Expectation::Warning(code)) => (code, codes(false)),
            _ => continue,
        };
        report.expectations += 1;
        if !found.contains(&code.as_str()) {
            let came = if found.is_empty() { "none".into() } else { found.join(", ") };
            let message = format!("expected: {code}\ncame:     {came}");
            report.failures.push(Failure { line: line.number, text: line.text.clone(), message, ..Failure::default() });
        }
    }
    if compiled.workspace.is_none() && !expects_error {
        let message = compiled.errors().map(|d| d.to_string()).collect::<Vec<_>>().join("\n");
        report.failures.push(Failure { message: format!("the definitions do not compile\n{message}"), ..Failure::default() });
    }
    if compiled.workspace.is_none()
        && let Some(line) = script.lines.iter().find(|l| !matches!(l.step, Step::Expect(Expectation::Error(_) | Expectation::Warning(_))))
        && expects_error
    {
        let message = "a file that must not compile has only `expect error` and `expect warning` in its script".into();
        report.failures.push(Failure { line: line.number, text: line.text.clone(), message, ..Failure::default() });
    }
}

fn difference(first: &[Published], other: &[Published]) -> Failure {
    let at = first.iter().zip(other).take_while(|(a, b)| a == b).count();
    let show = |changes: &[Published]| match changes.get(at) {
        Some(p) => format!("{}\n  {:?}", words(p), p.change),
        None => "nothing more".into(),
    };
    let message =
        format!("change {} differs from that record by record\nrecord by record: {}\nthis way: {}", at + 1, show(first), show(other));
    Failure { message, ..Failure::default() }
}
