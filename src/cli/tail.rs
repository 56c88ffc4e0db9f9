//! `segmentd tail [SEGMENT]`: changes as they are committed, one readable line each.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::{ConfigArg, Failure, Outcome, topics};
use crate::kafka::tail::Tail;
use crate::wire::encode::ChangeRecord;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this segment's changes
    #[arg(value_name = "SEGMENT")]
    segment: Option<String>,
    #[command(flatten)]
    config: ConfigArg,
    /// Only this customer's changes
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// From the first change that the topic has, instead of its end
    #[arg(long)]
    from_start: bool,
    /// End after this many changes
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,
    /// Print each change as the JSON that it is
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let config = args.config.load()?;
    let mut tail = Tail::open(&topics::settings(&config), &config.output.changes, args.from_start).map_err(Failure::kafka)?;
    let mut out = std::io::stdout().lock();
    let colour = out.is_terminal();
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let mut written = Ok(());
        tail.next(Duration::from_millis(200), |value| {
            let change = match ChangeRecord::parse(value) {
                Ok(change) => change,
                Err(error) => {
                    tracing::warn!(%error, "a record of the changes topic is no change");
                    return;
                }
            };
            let wanted =
                args.segment.as_ref().is_none_or(|s| *s == change.segment) && args.customer.as_ref().is_none_or(|c| *c == change.customer);
            if wanted {
                left -= 1;
                written = if args.json {
                    out.write_all(value).and_then(|()| out.write_all(b"\n"))
                } else {
                    writeln!(out, "{}", line(&change, colour))
                };
                written = std::mem::replace(&mut written, Ok(())).and_then(|()| out.flush());
            }
        })
        .map_err(Failure::kafka)?;
        written?;
    }
    Ok(())
}

/// One line: when, who, what, why, until when.
pub(super) fn line(change: &ChangeRecord, colour: bool) -> String {
    let (paint, plain) = match (colour, change.change.as_str()) {
        (true, "entered") => ("\x1b[32m", "\x1b[0m"),
        (true, "exited") => ("\x1b[31m", "\x1b[0m"),
        (true, _) => ("\x1b[36m", "\x1b[0m"),
        (false, _) => ("", ""),
    };
    let mut line = format!("{}  {:<12}  {paint}{:<7}{plain}  {}", change.since, change.customer, change.change, change.segment);
    if let (Some(from), Some(to)) = (&change.from, &change.to) {
        line.push_str(&format!(" {from} -> {to}"));
    }
    line.push_str(&format!("  [{}", change.cause));
    if let Some(id) = change.cause_event.as_ref().and_then(|e| e.id.as_ref()) {
        line.push_str(&format!(" {id}"));
    }
    line.push(']');
    for (i, reason) in change.reason.iter().enumerate() {
        line.push_str(if i == 0 { "  " } else { "; " });
        line.push_str(&reason.condition);
        if !reason.observed.is_empty() {
            line.push_str(&format!(" ({})", reason.observed));
        }
    }
    if let Some(until) = change.valid_until {
        line.push_str(&format!("  until {until}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_line() {
        let json = br#"{"change_id":"9f","customer":"c-42","seq":17,"segment":"cart_abandoned","version":"4f","change":"entered","since":"2026-11-23T10:30:00.123Z","decided_at":"2026-11-23T10:30:00.123Z","cause":"timer","valid_until":"2026-11-26T10:30:00.123Z","reason":[{"condition":"cart.changed_at at least 30m ago","observed":"30m","threshold":"30m"}]}"#;
        assert_eq!(
            line(&ChangeRecord::parse(json).expect("a change"), false),
            "2026-11-23T10:30:00.123Z  c-42          entered  cart_abandoned  [timer]  cart.changed_at at least 30m ago (30m)  until 2026-11-26T10:30:00.123Z"
        );
    }
}
