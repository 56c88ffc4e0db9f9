//! Checked definitions to an immutable plan shared by all shards: selectors, features, conditions, segments and the indexes between
//! them (LANGUAGE.md 9, 10).

pub mod schema;
