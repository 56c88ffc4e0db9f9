//! Patterns of `matches`: regular expressions that are found in linear time (LANGUAGE.md 3, R49).
//!
//! A pattern is found anywhere in the text unless it is anchored; `(?i)` and the like are allowed; what would need back-tracking
//! (back-references, look-around) does not exist. The compiled form is bounded, so that no definition can make an engine swell.

use std::fmt;

use regex::{Regex, RegexBuilder};

use crate::limits::PATTERN_COMPILED_BYTES_MAX;

/// A compiled pattern. Equal texts are equal patterns.
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    regex: Regex,
}

impl Pattern {
    /// **Errors:** in one line, what is wrong with the text, or that its compiled form is larger than
    /// [`PATTERN_COMPILED_BYTES_MAX`].
    pub fn new(text: &str) -> Result<Pattern, String> {
        let built = RegexBuilder::new(text).size_limit(PATTERN_COMPILED_BYTES_MAX).dfa_size_limit(PATTERN_COMPILED_BYTES_MAX).build();
        match built {
            Ok(regex) => Ok(Pattern { text: text.into(), regex }),
            Err(regex::Error::CompiledTooBig(_)) => {
                Err(format!("the compiled pattern would take more than {} KiB", PATTERN_COMPILED_BYTES_MAX >> 10))
            }
            Err(error) => Err(said(&error.to_string())),
        }
    }

    /// Whether it is found in a text.
    ///
    /// **Cost:** linear in the text, whatever the pattern; allocates only on a thread's first use of it.
    pub fn found_in(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// The last line of the library's picture of an error.
fn said(error: &str) -> String {
    let last = error.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_string()
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_found_anywhere_unless_anchored() {
        let found = |pattern: &str, text: &str| Pattern::new(pattern).expect("a pattern").found_in(text);
        assert!(found("b+", "abbc") && !found("^b+", "abbc") && found("^ab+c$", "abbc"));
        assert!(found("(?i)straße", "Die STRAßE") && found(r"^\w+$", "größer") && !found(r"^\d$", "x"));
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (text, part) in
            [("(", "unclosed group"), (r"(a)\1", "backreferences are not supported"), ("(?=a)", "look-around"), (r"\w{5000}", "KiB")]
        {
            let error = Pattern::new(text).expect_err(text);
            assert!(error.contains(part) && !error.contains('\n'), "{text}: {error}");
        }
        // Nested repetition is harmless where matching is linear.
        let pattern = Pattern::new("^(a+)+$").expect("a pattern");
        assert!(!pattern.found_in(&format!("{}b", "a".repeat(10_000))));
    }
}
