//! What a worker reports, handed on: changes to the read view and the observer, counts to the metrics, turns in a shard's life to the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Observer;
use super::view::{self, View};
use crate::engine::output::Published;
use crate::ids::ShardId;
use crate::lang::{Definition, DefinitionKind};
use crate::pipeline::{BatchReport, Committed, Notice, Outcome, ShardPhase, ShardStatus, Sink};
use crate::telemetry::{Metrics, ShardMetrics, TransactionOutcome};
use crate::time::{Millis, Timestamp};

/// How often the same trouble of a worker is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The sink of one worker.
pub(super) struct Reports {
    worker: usize,
    view: Arc<View>,
    metrics: Metrics,
    observer: Option<Arc<dyn Observer>>,
    shards: HashMap<ShardId, ShardMetrics>,
    told: Option<Instant>,
    /// The end of the last piece of work, for the time that a batch took.
    mark: Instant,
}

impl Reports {
    pub(super) fn new(worker: usize, view: Arc<View>, metrics: Metrics, observer: Option<Arc<dyn Observer>>) -> Reports {
        Reports { worker, view, metrics, observer, shards: HashMap::new(), told: None, mark: Instant::now() }
    }

    /// The worker begins a step: what it reports next took from here on.
    pub(super) fn step(&mut self) {
        self.mark = Instant::now();
    }

    /// Takes over the figures of every shard that the worker has.
    pub(super) fn status(&mut self, shards: impl Iterator<Item = ShardStatus>) {
        for status in shards {
            let gauges = self.shards.entry(status.shard).or_insert_with(|| self.metrics.shard(status.shard));
            gauges.customers(status.customers);
            gauges.armed(status.armed);
            gauges.state_bytes(status.memory);
            gauges.lag(status.lag);
            gauges.clock_delay(status.clock_delay);
            gauges.unproved(Duration::from_millis(status.clock_unproved.0.max(0) as u64));
            let definitions = &status.plan.workspace().definitions;
            let runs = matches!(status.phase, ShardPhase::Running | ShardPhase::Draining);
            let set = runs.then_some(status.plan.workspace().hash);
            if let Some(set) = set {
                let has_members = |d: &Definition| matches!(d.kind, DefinitionKind::Segment(_) | DefinitionKind::Stages(_));
                gauges.definitions(set, definitions.iter().map(|d| (&*d.name, has_members(d))));
            }
            gauges.members(&status.members);
            gauges.scanned(status.scanned.map_or(1.0, |parts| f64::from(parts) / 256.0));
            let warming: Vec<(&str, Option<Timestamp>)> =
                status.warming.iter().map(|w| (&*definitions[w.definition.at()].name, w.until)).collect();
            gauges.warming(&warming);
            let warming = warming.iter().map(|(name, until)| ((*name).into(), *until)).collect();
            let state = match status.phase {
                ShardPhase::Queued | ShardPhase::Restoring { .. } => view::ShardState::Restoring,
                ShardPhase::Running | ShardPhase::Draining => view::ShardState::Running,
                ShardPhase::Stopped { why } => view::ShardState::Stopped(why.into()),
            };
            let row = view::ShardRow {
                state,
                set,
                scanned: status.scanned,
                warming,
                worker: self.worker,
                customers: status.customers as u64,
                armed: status.armed as u64,
                clock: status.clock,
                clock_delay: status.clock_delay,
                unproved: status.clock_unproved,
                lag: status.lag,
                members: status.members.into(),
            };
            self.view.report(status.shard, row);
        }
    }

    fn gone(&mut self, shard: ShardId) {
        self.shards.remove(&shard);
        self.view.forget(shard);
    }

    /// Whether a line that may come many times a second is to be told now.
    fn is_told(&mut self) -> bool {
        let due = self.told.is_none_or(|t| t.elapsed() >= TELL_EVERY);
        if due {
            self.told = Some(Instant::now());
        }
        due
    }
}

impl Sink for Reports {
    fn committed(&mut self, committed: &Committed<'_>) {
        self.view.apply(committed.shard, committed.changes);
        self.metrics.changes(committed.changes, committed.committed_at);
        if let Some(observer) = &self.observer {
            observer.committed(committed.shard, committed.changes, committed.committed_at);
        }
    }

    fn replayed(&mut self, shard: ShardId, changes: &[Published]) {
        self.view.apply(shard, changes);
    }

    fn applied(&mut self, applied: &BatchReport<'_>) {
        for (input, n) in applied.reads.iter().enumerate() {
            if *n > 0 {
                self.metrics.input(input).increment(*n as u64);
            }
        }
        self.metrics.counted(applied.counts);
        self.metrics.decoded(&applied.decoded);
        for letter in applied.dead_letters {
            self.metrics.dead_letter(letter.reason);
        }
        // Reading, decoding, applying and encoding: they alternate record by record and batch by batch.
        let now = Instant::now();
        self.metrics.batch(applied.records, now - self.mark);
        self.mark = now;
    }

    fn transaction(&mut self, outcome: &Outcome, took: Millis, shards: usize) {
        let length = Duration::from_millis(took.0.max(0) as u64);
        let kind = match outcome {
            Outcome::Committed => TransactionOutcome::Committed,
            Outcome::Uncertain(_) => TransactionOutcome::Uncertain,
            Outcome::Aborted(_) | Outcome::NotOwner(_) | Outcome::Fenced(_) | Outcome::Refused(_) => TransactionOutcome::Aborted,
        };
        self.metrics.transaction(kind, length);
        let worker = self.worker;
        match outcome {
            Outcome::Committed => tracing::trace!(worker, shards, took_ms = took.0, "committed"),
            Outcome::Aborted(why) | Outcome::NotOwner(why) if self.is_told() => {
                tracing::warn!(worker, shards, why, "a transaction was not committed, it is sent again");
            }
            Outcome::Aborted(why) | Outcome::NotOwner(why) => tracing::debug!(worker, shards, why, "a transaction was not committed"),
            Outcome::Uncertain(why) => tracing::warn!(worker, shards, why, "an uncertain commit is being settled"),
            Outcome::Fenced(why) | Outcome::Refused(why) => tracing::error!(worker, shards, why, "a transaction was refused"),
        }
    }

    fn notice(&mut self, shard: ShardId, notice: &Notice<'_>) {
        let (worker, shard_number) = (self.worker, shard.0);
        match notice {
            Notice::Assigned => {
                self.shards.insert(shard, self.metrics.shard(shard));
                self.view.report(shard, view::ShardRow::restoring(worker));
                tracing::info!(worker, shard = shard_number, "shard assigned");
            }
            Notice::Restoring => tracing::info!(worker, shard = shard_number, "restoring a shard"),
            Notice::Fresh => tracing::info!(worker, shard = shard_number, "shard has no past, it begins at the start of the logs"),
            Notice::Running { took, batches, records } => {
                if let Some(gauges) = self.shards.get_mut(&shard) {
                    gauges.running();
                }
                self.metrics.restored(*records, Duration::from_millis(took.0.max(0) as u64));
                tracing::info!(worker, shard = shard_number, took_ms = took.0, batches, records, "shard runs");
            }
            Notice::Activating { set, before, zones, zones_before, at } if zones != zones_before => {
                tracing::info!(
                    worker, shard = shard_number, %set, %before, zones, zones_before, at = %at,
                    "another time-zone database comes into force: days may begin and end at other instants from here on"
                );
            }
            Notice::Activating { set, before, at, .. } => {
                tracing::info!(worker, shard = shard_number, %set, %before, at = %at, "another set of definitions comes into force");
            }
            Notice::Activated { set } => {
                tracing::info!(worker, shard = shard_number, %set, "the set of definitions has come to every customer");
            }
            Notice::EndingTransaction { transactional_id } => {
                tracing::info!(worker, shard = shard_number, transactional_id, "ending a transaction that the owner before left open");
            }
            Notice::ClockStands => {
                tracing::warn!(
                    worker,
                    shard = shard_number,
                    "a timer is due, but the log is not proved to be read to its end: the clock stands"
                );
            }
            Notice::ClockMoves => tracing::info!(worker, shard = shard_number, "the clock moves again"),
            Notice::Released => {
                tracing::info!(worker, shard = shard_number, "shard given back");
                self.gone(shard);
            }
            Notice::Abandoned => {
                tracing::warn!(
                    worker,
                    shard = shard_number,
                    "shard given back with something uncommitted, which its next owner decides again"
                );
                self.gone(shard);
            }
            Notice::Lost => {
                tracing::warn!(worker, shard = shard_number, "shard lost: the group has moved on without this instance");
                self.gone(shard);
            }
            Notice::Stopped(stop) => {
                tracing::error!(worker, shard = shard_number, why = %stop, way_out = stop.way_out(), "shard stands still");
            }
        }
    }
}
