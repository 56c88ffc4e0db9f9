//! Checked definitions to an immutable plan shared by all shards: selectors, features, conditions, segments and the indexes between
//! them (LANGUAGE.md 9, 10).

pub mod schema;

use std::sync::Arc;

use crate::lang::Workspace;
use schema::Schema;

/// A set of definitions, ready to be run by any number of engines.
#[derive(Debug)]
pub struct Plan {
    workspace: Arc<Workspace>,
    schema: Arc<Schema>,
}

impl Plan {
    /// Compiles a checked workspace. It cannot fail: whatever is not evaluated was refused by the checker (E16).
    ///
    /// **Cost:** linear in the definitions; once per set, never on the per-event path.
    pub fn compile(workspace: Arc<Workspace>) -> Plan {
        let schema = Arc::new(Schema::new(workspace.catalogue.clone(), |_, _| true));
        Plan { workspace, schema }
    }

    /// What decoders need to know.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    pub fn workspace(&self) -> &Arc<Workspace> {
        &self.workspace
    }

    /// The plan in words, per definition: when it enters and leaves, whether time alone can change it, its state and what it shares.
    pub fn report(&self) -> Vec<SegmentReport> {
        Vec::new()
    }
}

/// One definition as `check --plan` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    pub segment: String,
    /// Lines of (heading, text): enters, leaves, time, state, history.
    pub lines: Vec<(String, String)>,
}
