//! Sessions, marks and keys in the words of `check --plan`.

use super::Reads;
use crate::limits::KEYS_MAX;
use crate::plan::Plan;
use crate::plan::feature::{FeatureId, Within};

/// How time alone changes what a session counts.
pub const SESSION_ENDS: &str = "when the session ends";

/// What a feature is of, with the part of the events that it holds.
pub fn named(plan: &Plan, within: &Within, of: String) -> String {
    let since = within.since.map_or_else(String::new, |mark| format!(" since {}", plan.selectors[mark as usize]));
    let session = if within.session { " in session" } else { "" };
    let key = within.key.as_ref().map_or_else(String::new, |path| format!(" per {}", path.join(".")));
    format!("{of}{key}{session}{since}")
}

/// What stands around each kept value.
pub fn bytes(within: &Within) -> String {
    let mark = if within.since.is_some() { " and 6 B for the mark" } else { "" };
    let key = if within.key.is_some() { format!(", for each of up to {KEYS_MAX} keys, with the key") } else { String::new() };
    format!("{mark}{key}")
}

/// Notes what a feature of a part of the events depends on; false where that is its window by age.
pub fn reads(reads: &mut Reads, plan: &Plan, feature: FeatureId) -> bool {
    let within = &plan.features[feature as usize].within;
    reads.ever |= within.since.is_some();
    if within.session {
        reads.features.extend(plan.session);
        reads.time.insert(SESSION_ENDS.into());
    }
    within.session || within.since.is_some()
}
