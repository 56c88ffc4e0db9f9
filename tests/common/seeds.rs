//! Which random cases a test runs.

use std::ops::Range;

/// Seeds from 0 on, the same in every run; `VARIABLE=SEED:CASES` asks for others, either part left out where it stays as it is.
///
/// **Panics:** a variable that reads otherwise.
pub fn seeds(variable: &str, cases: u64) -> Range<u64> {
    let text = std::env::var(variable).unwrap_or_default();
    let (seed, wanted) = text.split_once(':').unwrap_or((&text, ""));
    let number = |text: &str, otherwise| match text {
        "" => otherwise,
        text => text.parse().unwrap_or_else(|_| panic!("{variable}=SEED:CASES, two numbers, not `{text}`")),
    };
    let first = number(seed, 0);
    first..first + number(wanted, cases)
}
