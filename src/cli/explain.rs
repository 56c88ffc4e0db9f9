//! `segmentd explain`: why a customer is or is not in each segment, by a back-test or by asking a running instance.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::backtest::{self, DeadLetters, Input, Replay};
use super::{Failure, Outcome, definitions};
use crate::config::Config;
use crate::engine::{Condition, Explanation};
use crate::time::Timestamp;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The customer's id
    #[arg(long, value_name = "ID")]
    customer: String,
    /// Folder with the catalogue and the definitions, *.seg
    #[arg(long, value_name = "DIR", requires = "events", conflicts_with_all = ["url", "config"])]
    definitions: Option<PathBuf>,
    /// Events as for `backtest`
    #[arg(long, value_name = "FILE", requires = "definitions")]
    events: Option<PathBuf>,
    /// TOML with a `[mapping]`, as for `backtest`
    #[arg(long, value_name = "FILE", requires = "events")]
    mapping: Option<PathBuf>,
    /// The instant to look at, RFC 3339; by default the last arrival
    #[arg(long, value_name = "INSTANT", value_parser = backtest::instant, requires = "events")]
    at: Option<Timestamp>,
    /// Ask a running instance: http://ADDRESS:PORT
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    url: Option<String>,
    /// Ask the instance of this configuration, at its `http.listen`
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let explanation = match (&args.definitions, &args.events) {
        (Some(folder), Some(events)) => replayed(args, folder, events)?,
        _ => asked(args)?,
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&explanation).map_err(Failure::environment)?)?;
    } else {
        out.write_all(text(&explanation).as_bytes())?;
    }
    out.flush()?;
    Ok(())
}

fn replayed(args: &Args, folder: &Path, events: &Path) -> Result<Explanation, Failure> {
    let plan = definitions::plan_of(folder)?;
    let mapping = backtest::mapping(args.mapping.as_ref())?;
    let mut dead_letters = DeadLetters::default();
    let input = Input::read(events, mapping.as_ref(), &plan.schema().catalogue, args.at, &mut dead_letters)?;
    let mut replay = Replay::new(plan, dead_letters);
    let end = args.at.or_else(|| input.last_arrival());
    replay.run(&input, end, &mut |_| Ok(()), |_, _| {})?;
    replay.dead_letters.lines().for_each(|line| eprintln!("{line}"));
    Ok(replay.engine.explain(&args.customer, end))
}

/// Asks a running instance.
fn asked(args: &Args) -> Result<Explanation, Failure> {
    let address = address(args)?;
    let path = format!("/v1/customers/{}/explain", super::http::encoded(&args.customer));
    let told = |why: String| Failure::environment(anyhow!("{address}: {why}"));
    let (code, body) = super::http::get(address, &path).map_err(told)?;
    match code {
        200 => serde_json::from_slice(&body).map_err(|_| told("that is no segmentd's `http.listen`".into())),
        code => Err(told(refused(code, &body))),
    }
}

/// Why an instance does not tell, in its words.
fn refused(code: u16, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: String,
    }
    match (code, serde_json::from_slice::<Refusal>(body)) {
        (421, Ok(refusal)) => format!("{}: ask the others, or this one again in a moment if it has just started", refusal.message),
        (_, Ok(refusal)) => refusal.message,
        _ => format!("{code}: {}", String::from_utf8_lossy(body).trim()),
    }
}

fn address(args: &Args) -> Result<SocketAddr, Failure> {
    match (&args.url, &args.config) {
        (Some(url), _) => {
            let host = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
            let found = host.to_socket_addrs().ok().and_then(|mut all| all.next());
            found.ok_or_else(|| Failure::usage(anyhow!("--url is http://ADDRESS:PORT, for example http://127.0.0.1:8080, not {url:?}")))
        }
        (None, Some(config)) => {
            let config = Config::load(config).map_err(Failure::usage)?;
            config.http.listen.ok_or_else(|| Failure::usage(anyhow!("`http.listen` is off; give the address of an instance by --url")))
        }
        (None, None) => {
            Err(Failure::usage(anyhow!("give --definitions and --events for a back-test, or --url or --config to ask an instance")))
        }
    }
}

fn text(explanation: &Explanation) -> String {
    let mut out = explanation.customer.clone();
    if let Some(at) = explanation.at {
        let _ = write!(out, " at {at}");
    }
    match explanation.first_seen {
        Some(at) => {
            let _ = writeln!(out, ", first seen {at}");
        }
        None => out.push_str(": no record so far\n"),
    }
    for segment in &explanation.segments {
        let since = segment.since.map_or_else(String::new, |at| format!(" since {at}"));
        let standing = match (&segment.stage, segment.member, segment.since) {
            (Some(stage), ..) => format!("{}: {stage}{since}", segment.segment),
            (None, true, _) => format!("{}: in{since}", segment.segment),
            (None, false, Some(_)) => format!("{}: not in{since}", segment.segment),
            (None, false, None) => format!("{}: never in", segment.segment),
        };
        let _ = writeln!(out, "\n{standing}");
        if let Some(next) = &segment.next {
            let _ = writeln!(out, "  with no further record: {} at {}", next.change, next.at);
        }
        for part in &segment.parts {
            let _ = writeln!(out, "  {}", part.clause);
            shown(&part.condition, 4, &mut out);
        }
    }
    out
}

fn shown(condition: &Condition, indent: usize, out: &mut String) {
    let sign = match condition.holds {
        Some(true) => '+',
        Some(false) => '-',
        None => '?',
    };
    let _ = write!(out, "{:indent$}{sign} {}", "", condition.text);
    if let Some(observed) = &condition.observed {
        let _ = write!(out, ": {observed}");
    }
    if let Some(threshold) = &condition.threshold {
        let _ = write!(out, " (asked for: {threshold})");
    }
    out.push('\n');
    if condition.holds.is_none() && condition.of.is_empty() {
        let known = condition.known_from.map_or_else(String::new, |at| format!("; known from {at} on, with no further record"));
        let _ = writeln!(out, "{:indent$}    not known: what came before the definition was not kept{known}", "");
    }
    let flipped = if condition.holds == Some(true) { "does not hold" } else { "holds" };
    if let Some(at) = condition.flips_at {
        let _ = writeln!(out, "{:indent$}    {flipped} from {at} on, with no further record", "");
    }
    if let Some(by) = &condition.flips_by {
        let _ = writeln!(out, "{:indent$}    {flipped} after {by}", "");
    }
    condition.of.iter().for_each(|c| shown(c, indent + 2, out));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_says_why_and_until_when() {
        let unknown = Condition { text: "no buy in last 90d".into(), observed: Some("0".into()), ..Condition::default() };
        let mut out = String::new();
        shown(&unknown, 4, &mut out);
        assert!(
            out.contains("? no buy in last 90d: 0") && out.contains("not known: what came before the definition was not kept\n"),
            "{out}"
        );
        let dated = Condition { known_from: Some(Timestamp(1_764_000_000_000)), ..unknown };
        out.clear();
        shown(&Condition { text: "all of".into(), of: vec![dated], ..Condition::default() }, 4, &mut out);
        assert_eq!(out.matches("not known").count(), 1, "{out}");
        assert!(out.contains("known from 2025-11-24T16:00:00.000Z on, with no further record"), "{out}");
    }

    #[test]
    fn an_instance_that_does_not_tell_is_quoted_in_its_words() {
        let elsewhere = br#"{"error":"elsewhere","message":"another instance owns the customer's shard","shard":1}"#;
        assert_eq!(
            refused(421, elsewhere),
            "another instance owns the customer's shard: ask the others, or this one again in a moment if it has just started"
        );
        assert_eq!(
            refused(503, br#"{"message":"the customer's shard is being restored; ask again"}"#),
            "the customer's shard is being restored; ask again"
        );
        assert_eq!(refused(404, b"not found\n"), "404: not found");
    }
}
