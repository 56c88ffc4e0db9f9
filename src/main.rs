//! Flags, telemetry, exit code; nothing more.

fn main() -> std::process::ExitCode {
    segmentd::cli::main()
}
