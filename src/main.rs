//! Flags, telemetry, exit code; nothing more.
fn main() {}
