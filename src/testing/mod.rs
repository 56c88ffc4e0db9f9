//! Oracle, workloads, virtual time and faults, for tests only.
