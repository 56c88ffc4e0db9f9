//! What conditions and terms are at an instant, with the first instant at which that may change (LANGUAGE.md 9.1).

pub use crate::plan::window::{AgeWindow, Ratio, satisfies};

use crate::time::Timestamp;

/// What a condition is at an instant. `until` is the first instant at which it may differ if no record comes: possibly too early,
/// never too late; `Timestamp::MAX` is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub holds: bool,
    pub until: Timestamp,
    /// The edge of the window cuts entries that were merged (LANGUAGE.md S9).
    pub approx: bool,
}

/// A term at an instant. `value` is `None` where it is missing. `next` is the first instant after at which the set behind it changes,
/// `Timestamp::MAX` for never; at it the term may or may not differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    pub value: Option<Ratio>,
    pub next: Timestamp,
    pub approx: bool,
}

impl Verdict {
    pub fn fixed(holds: bool) -> Verdict {
        Verdict { holds, until: Timestamp::MAX, approx: false }
    }
}
