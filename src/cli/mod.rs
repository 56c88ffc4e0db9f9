//! One file per command; parses arguments, prints, decides exit codes.
//!
//! Exit codes: 0 good (warnings too), 1 a check or test failed or definitions do not compile, 2 usage or configuration, 3 environment.
//! Errors go to standard error, data to standard output; a reader that closes standard output early ends the command quietly.

mod apply;
mod backtest;
mod check;
mod definitions;
mod demo;
mod explain;
mod format;
mod generate;
mod http;
mod infer;
mod run;
mod tail;
mod test;
mod topics;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

/// Real-time behavioural segmentation over Kafka: exact to the millisecond, exactly once, and able to explain itself.
#[derive(Debug, Parser)]
#[command(name = "segmentd", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Run(run::Args),
    /// Put a folder of definitions in force in the running service, after showing what it changes
    Apply(apply::Args),
    /// Show everything in one process: embedded broker, seeded shop, sample segments, and a page of what happens
    Demo(demo::Args),
    /// Compile a folder of definitions and say what is wrong with them, or what they mean and cost
    Check(check::Args),
    /// Lay out .seg files in the one way; comments stay
    Format(format::Args),
    /// Run .segtest files: definitions against a simulated clock
    Test(test::Args),
    /// Run the engine over a file of events in event time and print every change
    Backtest(backtest::Args),
    /// Say why a customer is or is not in each segment, and what would change that
    Explain(explain::Args),
    /// Write a first catalogue from a sample of events
    Infer(infer::Args),
    /// Make events of a seeded shop
    Generate(generate::Args),
    /// Follow the changes, one readable line each
    Tail(tail::Args),
    /// Make, check or reset segmentd's topics
    Topics(topics::Args),
}

/// Why a command failed, and with which exit code.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    /// `None`: everything was said already.
    error: Option<anyhow::Error>,
}

impl Failure {
    /// A check or a test failed, and the command has said how: exit code 1.
    fn check() -> Failure {
        Failure { code: 1, error: None }
    }

    /// Usage or configuration: exit code 2.
    fn usage(error: impl Into<anyhow::Error>) -> Failure {
        Failure { code: 2, error: Some(error.into()) }
    }

    /// Broker, store, disk: exit code 3.
    fn environment(error: impl Into<anyhow::Error>) -> Failure {
        Failure { code: 3, error: Some(error.into()) }
    }

    /// Configuration or environment, as the client says.
    fn kafka(error: crate::kafka::Error) -> Failure {
        if error.is_configuration() { Failure::usage(error) } else { Failure::environment(error) }
    }

    fn is_closed_output(&self) -> bool {
        let io = self.error.as_ref().and_then(|e| e.root_cause().downcast_ref::<std::io::Error>());
        io.is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
    }
}

/// A failed write to standard output or to a file of the user's.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::environment(error)
    }
}

type Outcome = Result<(), Failure>;

/// `--config FILE`, where a command needs the service's configuration.
#[derive(Clone, Debug, clap::Args)]
struct ConfigArg {
    /// The configuration file; `deploy/segmentd.toml` shows every key
    #[arg(long, short, value_name = "FILE", default_value = "segmentd.toml")]
    config: PathBuf,
}

impl ConfigArg {
    /// Reads the configuration, and starts the log as it says.
    fn load(&self) -> Result<Config, Failure> {
        let config = Config::load(&self.config).map_err(Failure::usage)?;
        crate::telemetry::log::start(&config.log).map_err(Failure::usage)?;
        Ok(config)
    }
}

/// Runs the command of the process's arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Apply(args) => apply::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Format(args) => format::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Backtest(args) => backtest::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Infer(args) => infer::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Topics(args) => topics::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_output() => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(error) = &failure.error {
                eprintln!("error: {}", told(error));
            }
            ExitCode::from(failure.code)
        }
    }
}

/// An error with its causes in one line; a cause that the text before it already tells is left out.
fn told(error: &anyhow::Error) -> String {
    let mut out = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if out.is_empty() {
            out = text;
        } else if !out.contains(&text) {
            out = format!("{out}: {text}");
        }
    }
    out
}

/// A number with a blank between thousands: `1 234 567`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_is_told_once() {
        let io = std::io::Error::other("disk full");
        let error = anyhow::Error::new(io).context("cannot write x: disk full").context("backtest");
        assert_eq!(told(&error), "backtest: cannot write x: disk full");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!((grouped(0), grouped(999), grouped(1_234_567)), ("0".into(), "999".into(), "1 234 567".into()));
    }
}
