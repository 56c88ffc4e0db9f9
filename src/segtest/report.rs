//! What a test run says: the line, what was expected, what came, and the customer's state in words.

use std::fmt;

/// Outcome of one file. Prints as one line where it passed, else as its failures.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// As the caller named the file.
    pub file: String,
    /// Lines with `expect` that were looked at, once each.
    pub expectations: usize,
    /// Empty where the file passed.
    pub failures: Vec<Failure>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failure {
    /// One-based; 0 where the file as a whole is meant.
    pub line: usize,
    /// The line as written.
    pub text: String,
    /// Which of the four ways of running the file it came from, where only that one differs.
    pub way: Option<&'static str>,
    /// What was expected and what came, each on lines of its own.
    pub message: String,
    /// The state of the customers concerned, in words.
    pub state: String,
}

impl Report {
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.passed() {
            return write!(f, "ok    {} ({} expectations, four ways)", self.file, self.expectations);
        }
        write!(f, "FAIL  {}", self.file)?;
        for failure in &self.failures {
            write!(f, "\n\n{}", Placed { file: &self.file, failure })?;
        }
        Ok(())
    }
}

struct Placed<'a> {
    file: &'a str,
    failure: &'a Failure,
}

impl fmt::Display for Placed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { line, text, way, message, state } = self.failure;
        match line {
            0 => write!(f, "{}", self.file)?,
            line => write!(f, "{}:{line}", self.file)?,
        }
        if let Some(way) = way {
            write!(f, " ({way})")?;
        }
        if !text.is_empty() {
            write!(f, "\n  | {text}")?;
        }
        for line in message.lines() {
            write!(f, "\n  {line}")?;
        }
        if !state.is_empty() {
            write!(f, "\n  state:")?;
            for line in state.lines() {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_prints_place_text_and_state() {
        let failure = Failure {
            line: 7,
            text: "expect nothing".into(),
            way: None,
            message: "expected: nothing\ncame:     entered idle c1".into(),
            state: "c1: in idle".into(),
        };
        let report = Report { file: "a.segtest".into(), expectations: 1, failures: vec![failure] };
        assert_eq!(
            report.to_string(),
            "FAIL  a.segtest\n\na.segtest:7\n  | expect nothing\n  expected: nothing\n  came:     entered idle c1\n  state:\n    c1: in idle"
        );
        assert_eq!(Report { file: "a".into(), expectations: 2, failures: vec![] }.to_string(), "ok    a (2 expectations, four ways)");
    }
}
