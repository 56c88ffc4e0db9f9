//! Every metric: its name, what it counts, and the cached handles through which the edges count.
//!
//! Names are `segmentd_<noun>_<unit>`; counters end in `_total`. Latencies are in seconds, as Prometheus has them, with buckets for
//! milliseconds. An event-driven change and a timer-driven one have histograms of their own, since the first waits for a commit only and
//! the second for the proof that the log is read to its end.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};

use crate::engine::output::{Counts, Outputs, Published};
use crate::ids::{SetHash, ShardId};
use crate::model::{Cause, ChangeKind, DeadLetterReason};
use crate::time::{Millis, Timestamp};
use crate::wire::DecodeCounts;

pub const RECORDS: &str = "segmentd_records_total";
pub const EVENTS: &str = "segmentd_events_total";
pub const DUPLICATES: &str = "segmentd_duplicates_total";
pub const CONFLICTS: &str = "segmentd_conflicts_total";
pub const IDS_EVICTED: &str = "segmentd_ids_evicted_total";
pub const UNKNOWN_EVENTS: &str = "segmentd_unknown_events_total";
pub const CART_LATE: &str = "segmentd_cart_late_total";
pub const KEYS_EVICTED: &str = "segmentd_keys_evicted_total";
pub const CART_OVERFLOW: &str = "segmentd_cart_overflow_total";
pub const SEQUENCE_LATE_IGNORED: &str = "segmentd_sequence_late_ignored_total";
pub const SEQUENCE_OVERFLOW: &str = "segmentd_sequence_overflow_total";
pub const CART_SETTLED: &str = "segmentd_cart_settled_total";
pub const SUMS_SATURATED: &str = "segmentd_sums_saturated_total";
pub const UNKNOWN_VALUES: &str = "segmentd_unknown_values_total";
pub const DEAD_LETTERS: &str = "segmentd_dead_letters_total";
pub const CHANGES: &str = "segmentd_changes_total";
pub const SEGMENT_CHANGES: &str = "segmentd_segment_changes_total";
pub const MEMBERS: &str = "segmentd_members";
pub const CUSTOMERS: &str = "segmentd_customers";
pub const STATE: &str = "segmentd_state_bytes";
pub const TIMERS_ARMED: &str = "segmentd_timers_armed";
pub const TIMERS: &str = "segmentd_timers_total";
pub const CHANGE_LATENCY: &str = "segmentd_change_latency_seconds";
pub const TRANSACTION: &str = "segmentd_transaction_seconds";
pub const TRANSACTIONS: &str = "segmentd_transactions_total";
pub const BATCH: &str = "segmentd_batch_records";
pub const APPLY: &str = "segmentd_apply_seconds";
pub const LAG: &str = "segmentd_lag_records";
pub const CLOCK_DELAY: &str = "segmentd_clock_delay_seconds";
pub const CLOCK_UNPROVED: &str = "segmentd_clock_unproved_seconds";
pub const SHARDS: &str = "segmentd_shards";
pub const RESTORE: &str = "segmentd_restore_seconds";
pub const DEFINITIONS_INFO: &str = "segmentd_definitions_info";
pub const DEFINITIONS_REFUSED: &str = "segmentd_definitions_refused";
pub const ACTIVATIONS: &str = "segmentd_activations_total";
pub const ACTIVATION_SCANNED: &str = "segmentd_activation_scanned_ratio";
pub const WARMING_UNTIL: &str = "segmentd_warming_until_seconds";
pub const RESTORED: &str = "segmentd_restored_records_total";

/// Name, unit, description.
pub(super) const NAMES: &[(&str, Unit, &str)] = &[
    (RECORDS, Unit::Count, "records read, by input topic"),
    (EVENTS, Unit::Count, "events applied to customers, duplicates not counted"),
    (DUPLICATES, Unit::Count, "events dropped because their id was known"),
    (CONFLICTS, Unit::Count, "duplicates whose body differs from the first"),
    (IDS_EVICTED, Unit::Count, "event ids that left the duplicate window early because a customer had too many"),
    (UNKNOWN_EVENTS, Unit::Count, "events of types that the catalogue lacks, ignored"),
    (CART_LATE, Unit::Count, "cart events applied in arrival order because they came after the reorder buffer"),
    (KEYS_EVICTED, Unit::Count, "keys of `per` forgotten because a customer used too many others since"),
    (CART_OVERFLOW, Unit::Count, "cart events whose line went into the overflow line"),
    (SEQUENCE_LATE_IGNORED, Unit::Count, "events that a sequence left out because they came after the reorder buffer and out of order"),
    (SEQUENCE_OVERFLOW, Unit::Count, "events of sequences that were settled early because too many were within the reorder buffer"),
    (CART_SETTLED, Unit::Count, "cart events settled before the reorder buffer was over because a customer had too many"),
    (SUMS_SATURATED, Unit::Count, "additions to sums that are at their bound"),
    (UNKNOWN_VALUES, Unit::Count, "values taken as unknown, by kind: wrong_type, trait, purpose, list"),
    (DEAD_LETTERS, Unit::Count, "records without effect, by reason"),
    (CHANGES, Unit::Count, "changes published, by change and cause"),
    (SEGMENT_CHANGES, Unit::Count, "changes published, by segment and change"),
    (MEMBERS, Unit::Count, "customers that are in, by segment"),
    (CUSTOMERS, Unit::Count, "customers in memory, by shard"),
    (STATE, Unit::Bytes, "memory of the customers' state with index and timers, by shard"),
    (TIMERS_ARMED, Unit::Count, "customers with an armed timer, by shard"),
    (TIMERS, Unit::Count, "timers that fired, by outcome: changed, idle"),
    (CHANGE_LATENCY, Unit::Seconds, "from the instant of the decision (an arrival, or a deadline) to the commit, by origin: record, timer"),
    (TRANSACTION, Unit::Seconds, "length of a transaction, from its first record to the broker's answer"),
    (TRANSACTIONS, Unit::Count, "transactions, by outcome: committed, aborted, uncertain"),
    (BATCH, Unit::Count, "records of a batch"),
    (APPLY, Unit::Seconds, "time of the engines for a batch"),
    (LAG, Unit::Count, "records between our position and the end of the log, by shard"),
    (CLOCK_DELAY, Unit::Seconds, "how far a shard's clock is behind wall time, by shard"),
    (CLOCK_UNPROVED, Unit::Seconds, "for how long a due timer has waited for the proof that the log is read to its end, by shard"),
    (SHARDS, Unit::Count, "shards of this instance, by state: restoring, running"),
    (RESTORE, Unit::Seconds, "time to restore a shard"),
    (DEFINITIONS_INFO, Unit::Count, "1 for the set of definitions that is in force, by shard and the first digits of the set's hash"),
    (DEFINITIONS_REFUSED, Unit::Count, "1 while the newest published set of definitions cannot be read by this version of segmentd"),
    (ACTIVATIONS, Unit::Count, "changes of definitions that came into force, by shard"),
    (ACTIVATION_SCANNED, Unit::Count, "share of the customers that the newest change of definitions has come to, by shard"),
    (
        WARMING_UNTIL,
        Unit::Seconds,
        "until when a segment is not known for every customer, since 1970, +Inf for never, 0 when it is; by shard",
    ),
    (RESTORED, Unit::Count, "records replayed by restores"),
];

const LATENCY_BUCKETS: &[f64] = &[
    0.001, 0.002, 0.003, 0.004, 0.005, 0.0065, 0.008, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05, 0.065, 0.08, 0.1, 0.15,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Upper ends of the buckets of each histogram.
pub(super) const BUCKETS: &[(&str, &[f64])] = &[
    (CHANGE_LATENCY, LATENCY_BUCKETS),
    (TRANSACTION, LATENCY_BUCKETS),
    (APPLY, &[0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0]),
    (BATCH, &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 50_000.0]),
    (RESTORE, &[0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0]),
];

/// Registers the descriptions with the recorder.
pub(super) fn describe() {
    for (name, unit, text) in NAMES {
        if BUCKETS.iter().any(|(n, _)| n == name) {
            metrics::describe_histogram!(*name, *unit, *text);
        } else if name.ends_with("_total") {
            metrics::describe_counter!(*name, *unit, *text);
        } else {
            metrics::describe_gauge!(*name, *unit, *text);
        }
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionOutcome {
    Committed,
    Aborted,
    Uncertain,
}

/// The cached handles of a process; clones share them. Made after [`super::Exporter::start`]: handles made before count nowhere.
#[derive(Clone)]
pub struct Metrics(Arc<Handles>);

struct Handles {
    inputs: Vec<Counter>,
    /// Of every set that was in force in this process.
    segments: RwLock<HashMap<String, Arc<SegmentHandles>>>,
    definitions_refused: Gauge,
    events: Counter,
    duplicates: Counter,
    conflicts: Counter,
    ids_evicted: Counter,
    unknown_events: Counter,
    cart_late: Counter,
    keys_evicted: Counter,
    cart_overflow: Counter,
    sequence_late_ignored: Counter,
    sequence_overflow: Counter,
    cart_settled: Counter,
    sums_saturated: Counter,
    timers_fired: Counter,
    timers_idle: Counter,
    unknown_values: [Counter; 4],
    /// By [`DeadLetterReason::ALL`].
    dead_letters: Vec<Counter>,
    /// By [`Cause::ALL`], three words of change each. Made when first counted: most pairs never occur.
    changes: Vec<[OnceLock<Counter>; 3]>,
    latency_record: Histogram,
    latency_timer: Histogram,
    transaction: Histogram,
    transactions: [Counter; 3],
    batch: Histogram,
    apply: Histogram,
    shards_restoring: Gauge,
    shards_running: Gauge,
    restore: Histogram,
    restored: Counter,
}

struct SegmentHandles {
    name: String,
    /// `None`: a score or points, which nobody is in.
    members: Option<Gauge>,
    changes: [OnceLock<Counter>; 3],
}

const CHANGE_WORDS: [&str; 3] = ["entered", "exited", "moved"];

fn change_index(kind: &ChangeKind) -> usize {
    match kind {
        ChangeKind::Entered => 0,
        ChangeKind::Exited => 1,
        ChangeKind::Moved { .. } => 2,
    }
}

impl Metrics {
    /// `inputs` in the order of the configuration; `definitions` in the order of [`crate::ids::DefinitionIndex`], each with whether
    /// customers can be in it (not in a score).
    pub fn new(inputs: &[String], definitions: &[(String, bool)]) -> Metrics {
        let metrics = Metrics(Arc::new(Handles {
            inputs: inputs.iter().map(|topic| counter!(RECORDS, "input" => topic.clone())).collect(),
            segments: RwLock::default(),
            definitions_refused: gauge!(DEFINITIONS_REFUSED),
            events: counter!(EVENTS),
            duplicates: counter!(DUPLICATES),
            conflicts: counter!(CONFLICTS),
            ids_evicted: counter!(IDS_EVICTED),
            unknown_events: counter!(UNKNOWN_EVENTS),
            cart_late: counter!(CART_LATE),
            keys_evicted: counter!(KEYS_EVICTED),
            cart_overflow: counter!(CART_OVERFLOW),
            sequence_late_ignored: counter!(SEQUENCE_LATE_IGNORED),
            sequence_overflow: counter!(SEQUENCE_OVERFLOW),
            cart_settled: counter!(CART_SETTLED),
            sums_saturated: counter!(SUMS_SATURATED),
            timers_fired: counter!(TIMERS, "outcome" => "changed"),
            timers_idle: counter!(TIMERS, "outcome" => "idle"),
            unknown_values: ["wrong_type", "trait", "purpose", "list"].map(|kind| counter!(UNKNOWN_VALUES, "kind" => kind)),
            dead_letters: DeadLetterReason::ALL.iter().map(|r| counter!(DEAD_LETTERS, "reason" => r.word())).collect(),
            changes: Cause::ALL.iter().map(|_| Default::default()).collect(),
            latency_record: histogram!(CHANGE_LATENCY, "origin" => "record"),
            latency_timer: histogram!(CHANGE_LATENCY, "origin" => "timer"),
            transaction: histogram!(TRANSACTION),
            transactions: ["committed", "aborted", "uncertain"].map(|o| counter!(TRANSACTIONS, "outcome" => o)),
            batch: histogram!(BATCH),
            apply: histogram!(APPLY),
            shards_restoring: gauge!(SHARDS, "state" => "restoring"),
            shards_running: gauge!(SHARDS, "state" => "running"),
            restore: histogram!(RESTORE),
            restored: counter!(RESTORED),
        }));
        for (name, has_members) in definitions {
            metrics.segment(name, *has_members);
        }
        metrics
    }

    /// The handles of a definition, made when it is first met.
    fn segment(&self, name: &str, has_members: bool) -> Arc<SegmentHandles> {
        let known = self.0.segments.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        known.filter(|s| s.members.is_some() || !has_members).unwrap_or_else(|| {
            let made = Arc::new(SegmentHandles {
                name: name.to_owned(),
                members: has_members.then(|| gauge!(MEMBERS, "segment" => name.to_owned())),
                changes: Default::default(),
            });
            self.0.segments.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), made.clone());
            made
        })
    }

    /// Whether the newest published set cannot be read by this program.
    pub fn definitions_refused(&self, refused: bool) {
        self.0.definitions_refused.set(f64::from(u8::from(refused)));
    }

    /// The counter of records of the input at this place of the configuration.
    pub fn input(&self, index: usize) -> &Counter {
        &self.0.inputs[index]
    }

    /// What the engine counted in one `apply`.
    pub fn counted(&self, counts: &Counts) {
        let h = &*self.0;
        for (handle, n) in [
            (&h.events, counts.events),
            (&h.duplicates, counts.duplicates),
            (&h.conflicts, counts.conflicts),
            (&h.ids_evicted, counts.ids_evicted),
            (&h.unknown_events, counts.ignored_events),
            (&h.cart_late, counts.cart_late),
            (&h.keys_evicted, counts.keys_evicted),
            (&h.cart_overflow, counts.cart_overflow),
            (&h.sequence_late_ignored, counts.sequence_late_ignored),
            (&h.sequence_overflow, counts.sequence_overflow),
            (&h.cart_settled, counts.cart_settled),
            (&h.sums_saturated, counts.sums_saturated),
            (&h.timers_fired, counts.timers_fired),
            (&h.timers_idle, counts.timers_idle),
        ] {
            if n > 0 {
                handle.increment(n);
            }
        }
    }

    /// What the decoders took as unknown.
    pub fn decoded(&self, counts: &DecodeCounts) {
        let all = [counts.wrong_types, counts.unknown_traits, counts.unknown_purposes, counts.unknown_lists];
        for (handle, n) in self.0.unknown_values.iter().zip(all) {
            if n > 0 {
                handle.increment(n);
            }
        }
    }

    /// Outputs that were committed at `committed`: changes by cause and segment, latencies, dead letters, the engine's counts.
    ///
    /// **Cost:** a few atomics and one look-up of a name per change; nothing per event.
    pub fn published(&self, outputs: &Outputs, committed: Timestamp) {
        self.changes(&outputs.changes, committed);
        for letter in &outputs.dead_letters {
            self.dead_letter(letter.reason);
        }
        self.counted(&outputs.counts);
    }

    /// Changes that were committed at `committed`, by cause and segment, and their latencies.
    pub fn changes(&self, changes: &[Published], committed: Timestamp) {
        for published in changes {
            let change = &published.change;
            let kind = change_index(&change.kind);
            let word = CHANGE_WORDS[kind];
            let by_cause = &self.0.changes[change.cause as usize][kind];
            by_cause.get_or_init(|| counter!(CHANGES, "change" => word, "cause" => change.cause.word())).increment(1);
            let segments = self.0.segments.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(segment) = segments.get(&*change.segment) {
                let by_segment = &segment.changes[kind];
                by_segment.get_or_init(|| counter!(SEGMENT_CHANGES, "segment" => segment.name.clone(), "change" => word)).increment(1);
            }
            self.latency(change.cause, committed - change.decided_at);
        }
    }

    pub fn dead_letter(&self, reason: DeadLetterReason) {
        self.0.dead_letters[reason as usize].increment(1);
    }

    /// From the decision to the commit; expiry and the end of a consent are decided by the clock as timers are.
    pub fn latency(&self, cause: Cause, latency: Millis) {
        let seconds = latency.0.max(0) as f64 / 1_000.0;
        match cause {
            Cause::Timer | Cause::Expired => self.0.latency_timer.record(seconds),
            _ => self.0.latency_record.record(seconds),
        }
    }

    pub fn transaction(&self, outcome: TransactionOutcome, length: Duration) {
        self.0.transactions[outcome as usize].increment(1);
        self.0.transaction.record(length);
    }

    pub fn batch(&self, records: usize, apply: Duration) {
        self.0.batch.record(records as f64);
        self.0.apply.record(apply);
    }

    /// A shard was restored.
    pub fn restored(&self, records: u64, length: Duration) {
        self.0.restored.increment(records);
        self.0.restore.record(length);
    }

    /// The gauges of one shard; dropping them takes the shard's share out of all sums.
    pub fn shard(&self, shard: ShardId) -> ShardMetrics {
        let label = || shard.to_string();
        self.0.shards_restoring.increment(1.0);
        ShardMetrics {
            customers: gauge!(CUSTOMERS, "shard" => label()),
            armed: gauge!(TIMERS_ARMED, "shard" => label()),
            state: gauge!(STATE, "shard" => label()),
            lag: gauge!(LAG, "shard" => label()),
            clock_delay: gauge!(CLOCK_DELAY, "shard" => label()),
            unproved: gauge!(CLOCK_UNPROVED, "shard" => label()),
            scanned: gauge!(ACTIVATION_SCANNED, "shard" => label()),
            activations: counter!(ACTIVATIONS, "shard" => label()),
            shard: label(),
            set: None,
            members: Vec::new(),
            warming: Vec::new(),
            running: false,
            metrics: self.clone(),
        }
    }
}

/// Gauges of one shard of this instance. Starts as restoring.
pub struct ShardMetrics {
    metrics: Metrics,
    customers: Gauge,
    armed: Gauge,
    state: Gauge,
    lag: Gauge,
    clock_delay: Gauge,
    unproved: Gauge,
    scanned: Gauge,
    activations: Counter,
    shard: String,
    /// The set in force, and its gauge.
    set: Option<(SetHash, Gauge)>,
    /// This shard's share in the gauges of members, by definition of the set in force.
    members: Vec<(Arc<SegmentHandles>, u64)>,
    warming: Vec<(String, Gauge)>,
    running: bool,
}

impl ShardMetrics {
    /// The shard is restored and takes part.
    pub fn running(&mut self) {
        if !self.running {
            self.running = true;
            self.metrics.0.shards_restoring.decrement(1.0);
            self.metrics.0.shards_running.increment(1.0);
        }
    }

    /// The set in force with its definitions, each with whether customers can be in it.
    pub fn definitions<'a>(&mut self, set: SetHash, definitions: impl Iterator<Item = (&'a str, bool)>) {
        if self.set.as_ref().is_some_and(|(before, _)| *before == set) {
            return;
        }
        self.no_members();
        if let Some((_, before)) = self.set.take() {
            before.set(0.0);
            self.activations.increment(1);
        }
        let short = set.to_string()[..12].to_owned();
        let info = gauge!(DEFINITIONS_INFO, "shard" => self.shard.clone(), "set" => short);
        info.set(1.0);
        self.set = Some((set, info));
        self.members = definitions.map(|(name, has_members)| (self.metrics.segment(name, has_members), 0)).collect();
        self.scanned.set(1.0);
    }

    /// To which share of the customers the newest change of definitions has come.
    pub fn scanned(&mut self, share: f64) {
        self.scanned.set(share);
    }

    /// Segments that are not known for every customer, and until when; `None`: never.
    pub fn warming(&mut self, now: &[(&str, Option<Timestamp>)]) {
        self.warming.retain(|(name, gauge)| {
            let still = now.iter().any(|(n, _)| n == name);
            if !still {
                gauge.set(0.0);
            }
            still
        });
        for (name, until) in now {
            let at = match self.warming.iter().position(|(n, _)| n == name) {
                Some(at) => at,
                None => {
                    let gauge = gauge!(WARMING_UNTIL, "shard" => self.shard.clone(), "segment" => (*name).to_owned());
                    self.warming.push(((*name).to_owned(), gauge));
                    self.warming.len() - 1
                }
            };
            self.warming[at].1.set(until.map_or(f64::INFINITY, |t| t.0 as f64 / 1_000.0));
        }
    }

    pub fn customers(&mut self, n: usize) {
        self.customers.set(n as f64);
    }

    pub fn armed(&mut self, n: usize) {
        self.armed.set(n as f64);
    }

    pub fn state_bytes(&mut self, n: usize) {
        self.state.set(n as f64);
    }

    pub fn lag(&mut self, records: u64) {
        self.lag.set(records as f64);
    }

    pub fn clock_delay(&mut self, delay: Millis) {
        self.clock_delay.set(delay.0.max(0) as f64 / 1_000.0);
    }

    /// For how long a due timer has waited for the proof that the log is read to its end; zero where none waits.
    pub fn unproved(&mut self, wait: Duration) {
        self.unproved.set(wait.as_secs_f64());
    }

    fn no_members(&mut self) {
        let none = vec![0; self.members.len()];
        self.members(&none);
    }

    /// Members of this shard by definition of the set in force, as [`crate::engine`] counts them.
    pub fn members(&mut self, now: &[u64]) {
        for ((segment, before), now) in self.members.iter_mut().zip(now) {
            match (&segment.members, now.cmp(before)) {
                (Some(gauge), std::cmp::Ordering::Greater) => gauge.increment((now - *before) as f64),
                (Some(gauge), std::cmp::Ordering::Less) => gauge.decrement((*before - now) as f64),
                _ => {}
            }
            *before = *now;
        }
    }
}

impl Drop for ShardMetrics {
    fn drop(&mut self) {
        self.no_members();
        self.warming(&[]);
        if let Some((_, info)) = &self.set {
            info.set(0.0);
        }
        for gauge in [&self.customers, &self.armed, &self.state, &self.lag, &self.clock_delay, &self.unproved] {
            gauge.set(0.0);
        }
        let state = if self.running { &self.metrics.0.shards_running } else { &self.metrics.0.shards_restoring };
        state.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_and_histograms_have_buckets() {
        for (name, _, text) in NAMES {
            assert!(name.starts_with("segmentd_") && !text.is_empty(), "{name}");
            let histogram = BUCKETS.iter().any(|(n, _)| n == name);
            assert!(!(histogram && name.ends_with("_total")), "{name}");
        }
        for (name, buckets) in BUCKETS {
            assert!(NAMES.iter().any(|(n, _, _)| n == name) && buckets.is_sorted(), "{name}");
        }
    }
}
