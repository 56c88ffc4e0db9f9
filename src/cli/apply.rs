//! `segmentd apply DIR --config FILE [--yes]`: another set of definitions, shown, agreed to, published as one record, and waited for.
//!
//! The set is checked here first, so that nothing that does not compile is ever published. What comes into force when is each shard's to
//! decide; its journal tells, whichever instance owns it.

use std::io::{IsTerminal, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde::Deserialize;

use super::{ConfigArg, Failure, Outcome, definitions, grouped, topics};
use crate::ids::SetHash;
use crate::kafka::{self, Admin};
use crate::lang::{self, SourceFile, Workspace};
use crate::runtime::definitions::{self as sets, Difference};
use crate::wire::journal::JournalRecord;

/// How long an instance may take for a trial.
const PREVIEW_WAIT: Duration = Duration::from_secs(60);
/// How often the shards are looked at while they are waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder of .seg files
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    config: ConfigArg,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Ask this instance for an estimate instead of the one at `http.listen`
    #[arg(long, value_name = "ADDRESS:PORT")]
    instance: Option<SocketAddr>,
    /// Publish and end at once
    #[arg(long)]
    no_wait: bool,
    /// Longest time without any shard getting on, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    patience: u64,
}

pub(super) fn run(args: &Args) -> Outcome {
    let files = definitions::read_folder(&args.folder)?;
    let plan = definitions::compiled(lang::compile(&files))?;
    let folder = plan.workspace();
    let config = args.config.load()?;
    let settings = topics::settings(&config);
    let names = crate::runtime::topic_names(&config);
    let admin = Admin::connect(&settings).map_err(Failure::kafka)?;
    let checked = admin.check(&names).map_err(Failure::kafka)?;
    let stored = kafka::definitions::read(&settings, &admin, &names.definitions).map_err(Failure::kafka)?;
    let newest = stored.sets.last();
    if newest.is_some_and(|set| set.hash == folder.hash) {
        println!("set {} is the newest one already: nothing to publish", short(folder.hash));
    } else {
        let before = newest.and_then(sets::compile_stored);
        show(newest.map(|set| set.hash), before.as_ref(), folder);
        let record = sets::encode(&files, folder);
        match args.instance.or(config.http.listen) {
            Some(address) => tell(estimate(address, &record), address, &files),
            None => println!("no estimate: `http.listen` is off and no --instance is given"),
        }
        if !args.yes && !confirmed()? {
            return Err(Failure::usage(anyhow!("nothing was published")));
        }
        kafka::definitions::publish(&settings, &names.definitions, folder.hash, &record).map_err(Failure::kafka)?;
        println!("published set {}", short(folder.hash));
    }
    if args.no_wait {
        return Ok(());
    }
    let look = || shards_of(&settings, &admin, &names.journal, checked.shards);
    wait(folder.hash, look, Duration::from_secs(args.patience))
}

/// The first digits of a hash, as metrics have them.
fn short(set: SetHash) -> String {
    set.to_string()[..12].to_owned()
}

fn show(hash: Option<SetHash>, before: Option<&Workspace>, folder: &Workspace) {
    let n = folder.definitions.len();
    let count = format!("{n} definition{}", if n == 1 { "" } else { "s" });
    match (hash, before) {
        (None, _) => println!("first set: {} ({count})", short(folder.hash)),
        (Some(hash), None) => {
            println!("{} -> {} ({count})", short(hash), short(folder.hash));
            println!("the set in force cannot be read by this version of segmentd: what differs is not known");
        }
        (Some(hash), Some(before)) => {
            println!("{} -> {} ({count})", short(hash), short(folder.hash));
            let Difference { added, changed, removed } = Difference::of(before, folder);
            for (mark, names) in [("+ new      ", &added), ("~ changed  ", &changed), ("- removed  ", &removed)] {
                names.iter().for_each(|name| println!("  {mark}{name}"));
            }
            if added.is_empty() && changed.is_empty() && removed.is_empty() {
                println!("  no definition means anything else: the catalogue differs, or the order of definitions");
            }
        }
    }
}

/// What an instance answers; see [`crate::runtime::preview::Preview`].
#[derive(Debug, PartialEq, Deserialize)]
struct Preview {
    sampled: u64,
    customers: u64,
    shards: usize,
    shards_here: usize,
    segments: Vec<Row>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Row {
    segment: String,
    entered: u64,
    exited: u64,
    moved: u64,
    complete: bool,
    complete_from: Option<String>,
}

fn tell(preview: Result<Preview, String>, address: SocketAddr, files: &[SourceFile]) {
    let preview = match preview {
        Ok(preview) => preview,
        Err(why) => return println!("no estimate: the instance at {address} was not reachable or could not tell ({why})"),
    };
    let all = preview.sampled == preview.customers;
    let of = if all { "all".to_owned() } else { format!("{} of", grouped(preview.sampled)) };
    println!(
        "at the instance at {address}, {of} {} customers in {} of its {} shards tried:",
        grouped(preview.customers),
        preview.shards,
        preview.shards_here
    );
    let scale = |n: u64| {
        let scaled = (n as u128 * preview.customers as u128 / u128::from(preview.sampled.max(1))) as u64;
        format!("{}{}", if all || n == 0 { "" } else { "about " }, grouped(scaled))
    };
    if preview.segments.is_empty() {
        println!("  nobody enters or leaves, and every condition is known for everybody");
    }
    for row in &preview.segments {
        let mut parts = vec![format!("{} enter", scale(row.entered)), format!("{} leave", scale(row.exited))];
        if row.moved > 0 {
            parts.push(format!("{} move", scale(row.moved)));
        }
        parts.push(if row.complete { "history complete" } else { "history incomplete" }.into());
        println!("  {}: {}", row.segment, parts.join(", "));
    }
    let incomplete: Vec<_> = preview.segments.into_iter().filter(|row| !row.complete).map(|row| (row.segment, row.complete_from)).collect();
    definitions::print_diagnostics(&lang::incomplete(files, &incomplete));
}

/// Asks an instance to try the set. A client of a dozen lines: one request to our own server, closed after it.
fn estimate(address: SocketAddr, record: &[u8]) -> Result<Preview, String> {
    let failed = |e: std::io::Error| e.to_string();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).map_err(failed)?;
    stream.set_read_timeout(Some(PREVIEW_WAIT)).map_err(failed)?;
    stream.set_write_timeout(Some(PREVIEW_WAIT)).map_err(failed)?;
    let head = format!(
        "POST /v1/definitions/preview HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        record.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(record)).map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<Preview, String> {
    let split = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or("no answer of HTTP")?;
    let (head, body) = (String::from_utf8_lossy(&answer[..split]), &answer[split + 4..]);
    match head.split(' ').nth(1) {
        Some("200") => serde_json::from_slice(body).map_err(|e| e.to_string()),
        Some(code) => Err(format!("{code}: {}", String::from_utf8_lossy(body).trim())),
        None => Err("no answer of HTTP".into()),
    }
}

fn confirmed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(anyhow!("apply asks first, and standard input is no terminal; pass --yes to go ahead")));
    }
    eprint!("Put this set in force? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Where a shard stands, by the newest record of its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    set: SetHash,
    /// Of the scan: how many of 256 parts of the customers it has come to.
    scanned: Option<u8>,
}

/// By shard; `None`: its journal is empty.
fn shards_of(settings: &kafka::Settings, admin: &Admin, journal: &str, shards: u32) -> Result<Vec<Option<Standing>>, Failure> {
    let mut standings = vec![None; shards as usize];
    kafka::newest_values(settings, admin, journal, shards, |shard, value| {
        if let Ok(record) = JournalRecord::decode(value) {
            let place = &mut standings[shard as usize];
            let before: Option<Standing> = *place;
            // A record without batches leaves the scan where it was.
            let scanned = match record.batches.last() {
                Some(batch) => batch.scan.map(|cursor| (cursor.customer_hash >> 56) as u8),
                None => before.and_then(|b| b.scanned),
            };
            *place = Some(Standing { set: record.definitions, scanned });
        }
    })
    .map_err(Failure::kafka)?;
    Ok(standings)
}

/// Waits until every shard has the set in force for every customer.
///
/// **Errors:** no shard has got on for as long as `patience`: exit code 3. The set stays published.
fn wait(set: SetHash, mut look: impl FnMut() -> Result<Vec<Option<Standing>>, Failure>, patience: Duration) -> Outcome {
    let (mut before, mut told) = (None, String::new());
    let mut moved = Instant::now();
    loop {
        let now = look()?;
        let done = now.iter().filter(|s| **s == Some(Standing { set, scanned: None })).count();
        let scanning = now.iter().flatten().filter(|s| s.set == set && s.scanned.is_some()).count();
        let line = match scanning {
            0 => format!("in force in {done} of {} shards", now.len()),
            n => format!("in force in {done} of {} shards, coming into force in {n}", now.len()),
        };
        if line != told {
            eprintln!("{line}");
            told = line;
        }
        if done == now.len() {
            println!("set {} is in force in all {} shard{}", short(set), done, if done == 1 { "" } else { "s" });
            return Ok(());
        }
        if before.as_ref() != Some(&now) {
            moved = Instant::now();
            before = Some(now);
        }
        if moved.elapsed() > patience {
            let words = "the set is published, but no shard has got on since; it comes into force when an instance runs that can read it: see its log, \
                         `segmentd_definitions_info` and `segmentd_definitions_refused`";
            return Err(Failure::environment(anyhow!(words)));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whatever_it_is() {
        let body = r#"{"sampled":2,"customers":4,"shards":1,"shards_here":1,"segments":[{"segment":"a","entered":1,"exited":0,"moved":0,"complete":false,"complete_from":null}]}"#;
        let preview = parse(format!("HTTP/1.1 200 OK\r\nx: y\r\n\r\n{body}").as_bytes()).expect("read");
        assert_eq!((preview.segments[0].segment.as_str(), preview.customers), ("a", 4));
        let refused = parse(b"HTTP/1.1 503 Service Unavailable\r\n\r\n{\"error\":\"busy\"}").expect_err("refused");
        assert!(refused.contains("503") && refused.contains("busy"), "{refused}");
        assert!(parse(b"hello").is_err() && parse(b"HTTP/1.1 200 OK\r\n\r\n[]").is_err());
    }

    #[test]
    fn a_set_is_waited_for_until_every_shard_has_it_or_none_gets_on() {
        let (old, new) = (SetHash([1; 16]), SetHash([2; 16]));
        let standing = |set, scanned| Some(Standing { set, scanned });
        let mut views = vec![
            vec![standing(old, None), None],
            vec![standing(new, Some(7)), standing(new, None)],
            vec![standing(new, None), standing(new, None)],
        ]
        .into_iter();
        assert!(wait(new, || Ok(views.next().expect("it ends with the last")), Duration::from_secs(9)).is_ok());
        let stuck = wait(new, || Ok(vec![standing(old, None)]), Duration::ZERO).expect_err("no instance runs");
        assert_eq!(stuck.code, 3);
    }
}
