//! The plan in words, for `check --plan`: what each segment costs and when it can change (LANGUAGE.md 6).

use super::Plan;

/// One segment as `check --plan` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    pub segment: String,
    /// Lines of (heading, text): enters, leaves, time, state, history.
    pub lines: Vec<(String, String)>,
}

pub(super) fn report(plan: &Plan) -> Vec<SegmentReport> {
    let _ = plan;
    Vec::new()
}
