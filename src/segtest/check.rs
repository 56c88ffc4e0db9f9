//! Compares what a run gave with what a script expects, and says the difference in the script's own words.

use std::sync::Arc;

use super::report::Failure;
use super::run::Run;
use super::script::{Expectation, ExpectedChange, ExpectedKind, Line, ScriptTime, Step};
use crate::engine::output::Published;
use crate::ids::ChangeId;
use crate::model::ChangeKind;

/// How far the expectations of a run have come.
#[derive(Default)]
pub struct Checker {
    /// Changes before this one are consumed.
    changes_seen: usize,
    dead_letters_seen: usize,
    /// The last change per (segment, customer) that is consumed, for `corrects prev`.
    previous: Vec<(Arc<str>, Arc<str>, ChangeId)>,
    pub expectations: usize,
}

impl Checker {
    /// Checks expectations that follow each other against the changes since those before.
    pub fn group(&mut self, group: &[&Line], run: &Run) -> Vec<Failure> {
        let mut failures = Vec::new();
        let mut expected: Vec<(&Line, Option<&ExpectedChange>)> = Vec::new();
        for line in group {
            let Step::Expect(expectation) = &line.step else { continue };
            self.expectations += 1;
            match expectation {
                Expectation::Change(change) => expected.push((line, Some(change))),
                Expectation::Nothing => expected.push((line, None)),
                Expectation::Member { segment, customer, member } => {
                    let is = run.engine().memberships(customer).iter().any(|m| *m.segment == **segment);
                    if is != *member {
                        let message = format!("came:     {}", if is { "a member" } else { "no member" });
                        failures.push(failure(line, message, run, [customer.as_str()]));
                    }
                }
                Expectation::DeadLetter(reason) => {
                    let rest = &run.dead_letters[self.dead_letters_seen..];
                    match rest.iter().position(|d| d.reason == *reason) {
                        Some(i) => self.dead_letters_seen += i + 1,
                        None => {
                            let came: Vec<_> = rest.iter().map(|d| format!("{} {}", d.reason.word(), d.detail)).collect();
                            failures.push(failure(line, format!("came:     {}", list(&came)), run, []));
                        }
                    }
                }
                // The one warning that depends on what was seen so far.
                Expectation::Warning(code) if code == HISTORY => {
                    if run.engine().warming().is_empty() {
                        failures.push(failure(line, "came:     every segment's history is complete".into(), run, []));
                    }
                }
                Expectation::Error(_) | Expectation::Warning(_) => {}
            }
        }
        if !expected.is_empty() {
            failures.extend(self.changes(&expected, run));
        }
        self.dead_letters_seen = run.dead_letters.len();
        failures
    }

    fn changes(&mut self, expected: &[(&Line, Option<&ExpectedChange>)], run: &Run) -> Vec<Failure> {
        let mut came: Vec<&Published> = run.changes[self.changes_seen..].iter().collect();
        came.sort_by(|a, b| order(a).cmp(&order(b)));
        self.changes_seen = run.changes.len();
        let mut failures = Vec::new();
        let mut next = came.iter();
        for (line, change) in expected {
            let Some(change) = change else {
                if expected.len() > 1 {
                    failures.push(failure(line, "`expect nothing` stands alone among expected changes".into(), run, []));
                }
                continue;
            };
            let Some(published) = next.next() else {
                failures.push(failure(line, "came:     nothing more".into(), run, [change.customer.as_str()]));
                continue;
            };
            if !self.matches(change, published) {
                let message = format!("came:     {}", words(published));
                failures.push(failure(line, message, run, [change.customer.as_str(), &published.change.customer]));
            }
            self.remember(published);
        }
        let last = expected[expected.len() - 1].0;
        for published in next {
            let message = format!("came too: {}", words(published));
            failures.push(failure(last, message, run, [&*published.change.customer]));
            self.remember(published);
        }
        failures
    }

    fn matches(&self, expected: &ExpectedChange, published: &Published) -> bool {
        let change = &published.change;
        let kind = match (&expected.kind, &change.kind) {
            (ExpectedKind::Entered, ChangeKind::Entered) | (ExpectedKind::Exited, ChangeKind::Exited) => true,
            (ExpectedKind::Moved { from, to }, ChangeKind::Moved { from: f, to: t }) => **from == **f && **to == **t,
            _ => false,
        };
        let corrects = || {
            let previous = self.previous.iter().find(|(s, c, _)| *s == change.segment && *c == change.customer);
            change.corrects.is_some() && change.corrects == previous.map(|(_, _, id)| *id)
        };
        kind && *expected.segment == *change.segment
            && *expected.customer == *change.customer
            && expected.since.is_none_or(|t| t == change.since)
            && expected.cause.is_none_or(|c| c == change.cause)
            && (!expected.corrects_previous || corrects())
            && (!expected.approx || change.approx)
    }

    fn remember(&mut self, published: &Published) {
        let change = &published.change;
        self.previous.retain(|(s, c, _)| *s != change.segment || *c != change.customer);
        self.previous.push((change.segment.clone(), change.customer.clone(), change.change_id));
    }
}

/// History of a window is not complete yet.
pub(super) const HISTORY: &str = "W06";

/// The order of all readers of changes.
pub fn order(published: &Published) -> (crate::time::Timestamp, &str, u64) {
    (published.change.decided_at, &published.change.customer, published.change.seq)
}

/// A change as an `expect` line would say it, with all its options.
pub fn words(published: &Published) -> String {
    let change = &published.change;
    let mut out = format!("{} {} {}", change.kind.word(), change.segment, change.customer);
    if let ChangeKind::Moved { from, to } = &change.kind {
        out += &format!(" from {from} to {to}");
    }
    out += &format!(" since {} cause {}", ScriptTime(change.since), change.cause.word());
    if change.corrects.is_some() {
        out += " corrects prev";
    }
    if change.approx {
        out += " approx";
    }
    out
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "nothing".into() } else { items.join(", ") }
}

fn failure<const N: usize>(line: &Line, message: String, run: &Run, customers: [&str; N]) -> Failure {
    let mut state = String::new();
    for (i, customer) in customers.iter().enumerate() {
        if !customers[..i].contains(customer) {
            state += &run.engine().describe(customer);
        }
    }
    let expected = line.text.strip_prefix("expect ").unwrap_or(&line.text);
    Failure { line: line.number, text: line.text.clone(), way: None, message: format!("expected: {expected}\n{message}"), state }
}
