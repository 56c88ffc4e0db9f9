//! Oracle, workloads, virtual time and faults, for tests only.

pub mod against;
pub mod oracle;
pub mod scenario;
