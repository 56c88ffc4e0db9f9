//! Oracle, workloads, virtual time and faults, for tests only.

pub mod activation;
pub mod against;
pub mod broker;
pub mod client;
pub mod cluster;
mod cluster_check;
pub mod oracle;
pub mod scenario;
