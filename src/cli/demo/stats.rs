//! What the demo shows, kept apart from how: fed by readings of the metrics and by the changes that a reader of the topic sees.
//!
//! Nothing here reads a clock or a broker, so that the view can be drawn from made-up numbers in tests.

use std::collections::VecDeque;

use crate::time::{Millis, Timestamp};
use crate::wire::encode::ChangeRecord;

/// Samples that are kept for the small curves.
const HISTORY: usize = 240;
/// Changes that are kept for the list.
const CHANGES: usize = 200;
/// Latencies are those of the last seconds, so that a hiccup goes by.
const LATENCY_WINDOW: Millis = Millis(15_000);
/// Most latencies of a window; beyond it the oldest leave early.
const LATENCIES: usize = 20_000;

/// Values of one moment, as the metrics have them; counters since the start.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) events: u64,
    pub(super) changes: u64,
    pub(super) dead_letters: u64,
    pub(super) customers: u64,
    pub(super) armed: u64,
    pub(super) state_bytes: u64,
    pub(super) lag: u64,
    /// By place in [`Stats::segments`].
    pub(super) members: Vec<u64>,
}

/// Everything that the view draws.
#[derive(Debug, Default)]
pub(super) struct Stats {
    pub(super) title: String,
    pub(super) started: Timestamp,
    pub(super) now: Timestamp,
    pub(super) segments: Vec<SegmentRow>,
    pub(super) sample: Sample,
    /// Per second, newest last.
    pub(super) events_rate: VecDeque<u64>,
    pub(super) changes_rate: VecDeque<u64>,
    pub(super) by_record: Latencies,
    pub(super) by_timer: Latencies,
    /// Newest first.
    pub(super) changes: VecDeque<Seen>,
    /// Changes seen on the topic.
    pub(super) seen: u64,
    sampled: Option<(Timestamp, u64, u64)>,
}

/// One segment's line.
#[derive(Debug, Default)]
pub(super) struct SegmentRow {
    pub(super) name: String,
    /// The author's name for it, else its own.
    pub(super) title: String,
    pub(super) members: u64,
    pub(super) history: VecDeque<u64>,
    pub(super) entered: u64,
    pub(super) exited: u64,
}

/// A change as a reader saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) change: ChangeRecord,
    /// From the decision (an arrival, or a deadline) to the reader.
    pub(super) latency: Millis,
}

impl Seen {
    pub(super) fn by_timer(&self) -> bool {
        matches!(self.change.cause.as_str(), "timer" | "expired")
    }

    /// The reason in one line: each condition with what was observed.
    pub(super) fn reason(&self) -> String {
        let one = |r: &crate::wire::encode::ReasonRecord| {
            if r.observed.is_empty() { r.condition.clone() } else { format!("{} ({})", r.condition, r.observed) }
        };
        self.change.reason.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

/// Latencies of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    seen: VecDeque<(Timestamp, i64)>,
    pub(super) count: u64,
}

impl Latencies {
    fn add(&mut self, now: Timestamp, latency: Millis) {
        self.count += 1;
        if self.seen.len() == LATENCIES {
            self.seen.pop_front();
        }
        self.seen.push_back((now, latency.0));
    }

    fn forget(&mut self, now: Timestamp) {
        while self.seen.front().is_some_and(|(at, _)| *at + LATENCY_WINDOW < now) {
            self.seen.pop_front();
        }
    }

    /// Milliseconds at the median and at 99 of 100; `None` where nothing was seen lately.
    pub(super) fn p50_p99(&self) -> Option<(i64, i64)> {
        let mut sorted: Vec<i64> = self.seen.iter().map(|(_, ms)| *ms).collect();
        sorted.sort_unstable();
        let at = |q: usize| sorted.get((sorted.len() * q / 100).min(sorted.len().saturating_sub(1))).copied();
        Some((at(50)?, at(99)?))
    }
}

impl Stats {
    /// `segments`: name and the author's name for it.
    pub(super) fn new(title: String, started: Timestamp, segments: Vec<(String, String)>) -> Stats {
        let row = |(name, title)| SegmentRow { name, title, ..SegmentRow::default() };
        Stats { title, started, now: started, segments: segments.into_iter().map(row).collect(), ..Stats::default() }
    }

    /// Takes a change that became visible at `visible`.
    pub(super) fn change(&mut self, change: ChangeRecord, visible: Timestamp) {
        self.seen += 1;
        if let Some(row) = self.segments.iter_mut().find(|s| s.name == change.segment) {
            match change.change.as_str() {
                "entered" => row.entered += 1,
                "exited" => row.exited += 1,
                _ => {}
            }
        }
        let seen = Seen { latency: Millis((visible - change.decided_at).0.max(0)), change };
        let latencies = if seen.by_timer() { &mut self.by_timer } else { &mut self.by_record };
        latencies.add(visible, seen.latency);
        if self.changes.len() == CHANGES {
            self.changes.pop_back();
        }
        self.changes.push_front(seen);
    }

    /// Takes the values of `now`; called a few times a second.
    pub(super) fn sample(&mut self, now: Timestamp, sample: Sample) {
        self.now = now;
        self.by_record.forget(now);
        self.by_timer.forget(now);
        if let Some((at, events, changes)) = self.sampled {
            let ms = (now - at).0.max(1) as u64;
            push(&mut self.events_rate, sample.events.saturating_sub(events) * 1_000 / ms);
            push(&mut self.changes_rate, sample.changes.saturating_sub(changes) * 1_000 / ms);
        }
        self.sampled = Some((now, sample.events, sample.changes));
        for (row, members) in self.segments.iter_mut().zip(&sample.members) {
            row.members = *members;
            push(&mut row.history, *members);
        }
        self.sample = sample;
    }

    pub(super) fn elapsed(&self) -> Millis {
        self.now - self.started
    }

    /// Mean of the newest rates, about a second and a half: single samples jump.
    pub(super) fn smooth(rates: &VecDeque<u64>) -> u64 {
        let newest: Vec<u64> = rates.iter().rev().take(6).copied().collect();
        if newest.is_empty() { 0 } else { newest.iter().sum::<u64>() / newest.len() as u64 }
    }
}

fn push(history: &mut VecDeque<u64>, value: u64) {
    if history.len() == HISTORY {
        history.pop_front();
    }
    history.push_back(value);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::wire::encode::ReasonRecord;

    pub(crate) fn change(segment: &str, kind: &str, cause: &str, decided_at: i64, customer: &str) -> ChangeRecord {
        ChangeRecord {
            change_id: "00".into(),
            customer: customer.into(),
            seq: 1,
            segment: segment.into(),
            version: "00".into(),
            change: kind.into(),
            from: None,
            to: None,
            since: Timestamp(decided_at),
            decided_at: Timestamp(decided_at),
            emitted_at: None,
            cause: cause.into(),
            cause_event: None,
            corrects: None,
            approx: false,
            valid_until: None,
            reason: vec![ReasonRecord {
                condition: "cart.changed_at at least 10s ago".into(),
                observed: "10s".into(),
                threshold: "10s".into(),
            }],
            emit: serde_json::Map::new(),
        }
    }

    #[test]
    fn rates_and_latencies_are_those_of_the_last_seconds() {
        let mut stats = Stats::new("t".into(), Timestamp(0), vec![("a".into(), "A".into())]);
        stats.sample(Timestamp(0), Sample::default());
        for i in 0..100 {
            stats.change(change("a", "entered", "event", 1_000, "c"), Timestamp(1_001 + i));
            stats.change(change("a", "exited", "timer", 1_000, "c"), Timestamp(1_020));
        }
        stats.sample(Timestamp(500), Sample { events: 200, changes: 10, members: vec![4], ..Sample::default() });
        assert_eq!((stats.events_rate.back(), stats.changes_rate.back()), (Some(&400), Some(&20)));
        assert_eq!(stats.by_record.p50_p99(), Some((51, 100)));
        assert_eq!(stats.by_timer.p50_p99(), Some((20, 20)));
        assert_eq!((stats.segments[0].members, stats.segments[0].entered, stats.segments[0].exited), (4, 100, 100));
        stats.sample(Timestamp(20_000), Sample::default());
        assert_eq!(stats.by_record.p50_p99(), None, "what is older than the window is gone");
        assert_eq!(stats.changes[0].reason(), "cart.changed_at at least 10s ago (10s)");
    }
}
