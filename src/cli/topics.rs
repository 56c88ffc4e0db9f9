//! `segmentd topics create|check|reset`: segmentd's own topics, made, judged, or made anew.

use std::io::{IsTerminal, Write};

use anyhow::anyhow;
use clap::Subcommand;

use super::{ConfigArg, Failure, Outcome};
use crate::config::Config;
use crate::kafka::{self, Admin, Settings, TopicNames};
use crate::runtime;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: TopicsCommand,
}

#[derive(Debug, Subcommand)]
enum TopicsCommand {
    /// Make segmentd's topics with the right settings, one partition per partition of the inputs; what is there stays
    Create {
        #[command(flatten)]
        config: ConfigArg,
        /// Also make absent input topics, with this many partitions
        #[arg(long, value_name = "PARTITIONS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        inputs: Option<u32>,
        /// Copies of each partition; by default what the broker decides
        #[arg(long, value_name = "COPIES", value_parser = clap::value_parser!(u32).range(1..=100))]
        replication: Option<u32>,
    },
    /// Judge inputs and segmentd's topics: existence, partition counts, settings
    Check {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Delete segmentd's topics and positions and make them anew: all memberships are forgotten, inputs are read from their start
    Reset {
        #[command(flatten)]
        config: ConfigArg,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// The client's settings of a configuration.
pub(super) fn settings(config: &Config) -> Settings {
    Settings::from(&config.kafka)
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut out = std::io::stdout().lock();
    match &args.command {
        TopicsCommand::Create { config, inputs, replication } => {
            let config = config.load()?;
            let admin = Admin::connect(&settings(&config)).map_err(Failure::kafka)?;
            create(&admin, &runtime::topic_names(&config), *inputs, *replication, &mut out)?;
            check(&admin, &runtime::topic_names(&config), &mut out)
        }
        TopicsCommand::Check { config } => {
            let config = config.load()?;
            let admin = Admin::connect(&settings(&config)).map_err(Failure::kafka)?;
            check(&admin, &runtime::topic_names(&config), &mut out)
        }
        TopicsCommand::Reset { config, yes } => {
            let config = config.load()?;
            let names = runtime::topic_names(&config);
            let admin = Admin::connect(&settings(&config)).map_err(Failure::kafka)?;
            if !yes && !confirmed(&config, &names)? {
                return Err(Failure::usage(anyhow!("nothing was deleted")));
            }
            for topic in admin.delete_ours(&names, &config.kafka.group).map_err(Failure::kafka)? {
                writeln!(out, "deleted  {topic}")?;
            }
            create(&admin, &names, None, None, &mut out)
        }
    }
}

fn create(admin: &Admin, names: &TopicNames, inputs: Option<u32>, replication: Option<u32>, out: &mut impl Write) -> Outcome {
    for created in admin.create(names, inputs, replication).map_err(Failure::kafka)? {
        let word = if created.new { "created" } else { "exists " };
        writeln!(out, "{word}  {} ({} partition{})", created.topic, created.partitions, if created.partitions == 1 { "" } else { "s" })?;
    }
    Ok(())
}

fn check(admin: &Admin, names: &TopicNames, out: &mut impl Write) -> Outcome {
    let checked = match admin.check(names) {
        Ok(checked) => checked,
        Err(kafka::Error::Topics(problems)) => {
            for problem in &problems.0 {
                eprintln!("error: {}\n  to mend it: {}", problem.what, problem.mend);
            }
            // What is wrong stands in the cluster, not in a file of the user's.
            return Err(Failure { code: 3, error: None });
        }
        Err(error) => return Err(Failure::kafka(error)),
    };
    for note in &checked.notes {
        eprintln!("note: {note}");
    }
    let inputs: Vec<&str> = checked.inputs.iter().map(|t| t.name.as_str()).collect();
    writeln!(out, "ok: {} shard{}, inputs {}", checked.shards, if checked.shards == 1 { "" } else { "s" }, inputs.join(", "))?;
    Ok(())
}

/// Asks on the terminal; the answer must be the group's name, so that nobody agrees by habit.
fn confirmed(config: &Config, names: &TopicNames) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(anyhow!("reset asks first, and standard input is no terminal; pass --yes to go ahead")));
    }
    let topics: Vec<&str> = names.ours().into_iter().map(|(_, name)| name).collect();
    eprintln!("This deletes at {}: {}, and the positions of group {}.", config.kafka.brokers, topics.join(", "), config.kafka.group);
    eprintln!("All memberships are forgotten; the next start reads the inputs from their first record and publishes every change again.");
    eprint!("Type the group's name to go ahead: ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == config.kafka.group)
}
