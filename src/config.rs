//! File and environment into a validated `Config`; the only reader of either.
