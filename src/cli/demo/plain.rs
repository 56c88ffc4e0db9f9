//! The demo without a terminal: a head, a line a second with the newest changes, a summary.

use std::io::{Result, Write};

use super::super::{grouped, tail};
use super::stats::{Latencies, Stats};

/// Newest changes that are shown each second.
const SHOWN: usize = 3;

pub(super) fn head(stats: &Stats, out: &mut impl Write) -> Result<()> {
    writeln!(out, "segmentd demo: {}", stats.title)?;
    out.flush()
}

/// One second: rates, latencies, members, and the newest of the `new` changes.
pub(super) fn second(stats: &Stats, new: u64, out: &mut impl Write) -> Result<()> {
    let seconds = stats.elapsed().0 / 1_000;
    let members: Vec<String> = stats.segments.iter().map(|s| format!("{} {}", s.name, s.members)).collect();
    writeln!(
        out,
        "{:02}:{:02}  {} events/s  {} changes/s  by event {}  by timer {}  customers {}  timers {}  |  {}",
        seconds / 60,
        seconds % 60,
        grouped(Stats::smooth(&stats.events_rate)),
        grouped(Stats::smooth(&stats.changes_rate)),
        shown(&stats.by_record),
        shown(&stats.by_timer),
        grouped(stats.sample.customers),
        grouped(stats.sample.armed),
        members.join("  ")
    )?;
    let newest: Vec<_> = stats.changes.iter().take(SHOWN.min(new as usize)).collect();
    for seen in newest.into_iter().rev() {
        writeln!(out, "       {}  ({} ms)", tail::line(&seen.change, false), seen.latency.0)?;
    }
    out.flush()
}

/// What it was, when it is over.
pub(super) fn summary(stats: &Stats, out: &mut impl Write) -> Result<()> {
    let seconds = (stats.elapsed().0 / 1_000).max(1) as u64;
    writeln!(
        out,
        "{} events and {} changes in {seconds} s; {} customers; from decision to reader: by event {}, by timer {}",
        grouped(stats.sample.events),
        grouped(stats.sample.changes),
        grouped(stats.sample.customers),
        shown(&stats.by_record),
        shown(&stats.by_timer)
    )
}

fn shown(latencies: &Latencies) -> String {
    latencies.p50_p99().map_or_else(|| "-".into(), |(p50, p99)| format!("p50 {p50} ms p99 {p99} ms"))
}

#[cfg(test)]
mod tests {
    use super::super::stats::tests::change;
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn a_second_is_one_line_and_the_newest_changes() {
        let mut stats = Stats::new("seed 1".into(), Timestamp(0), vec![("cart_abandoned".into(), "Cart abandoned".into())]);
        for i in 0..5 {
            stats.change(change("cart_abandoned", "entered", "timer", 1_000, &format!("c-{i}")), Timestamp(1_020 + i));
        }
        stats.now = Timestamp(61_000);
        let mut out = Vec::new();
        second(&stats, 5, &mut out).expect("memory");
        let text = String::from_utf8(out).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[0].starts_with("01:01  0 events/s") && lines[0].contains("by timer p50 22 ms p99 24 ms"), "{text}");
        assert!(lines[3].contains("c-4") && lines[3].contains("cart.changed_at at least 10s ago (10s)") && lines[3].ends_with("(24 ms)"));
    }
}
