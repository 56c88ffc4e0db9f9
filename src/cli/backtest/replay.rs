//! A file's records through the engine in event time (LANGUAGE.md R62), with the changes in their order as they become final.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::input::{Input, line_of};
use crate::engine::{Batch, Engine, Outputs, Published, Settings};
use crate::ids::{InputIndex, Position};
use crate::model::{Change, DeadLetterReason};
use crate::plan::Plan;
use crate::time::Timestamp;
use crate::wire::json::Decoder;
use crate::wire::{DecodeOptions, RawRecord};

/// Records that go through the engine at once; decides nothing but speed.
const BATCH_RECORDS: usize = 4_096;

/// An engine while it goes through a file.
pub(in crate::cli) struct Replay {
    pub(in crate::cli) engine: Engine,
    decoder: Decoder,
    batch: Batch,
    outputs: Outputs,
    /// Changes that an earlier one may still precede.
    held: Vec<Published>,
    pub(super) events: u64,
    pub(super) duplicates: u64,
    pub(super) changes: u64,
    pub(in crate::cli) dead_letters: DeadLetters,
}

/// Takes each change; fails where it cannot be written.
type Sink<'a> = &'a mut dyn FnMut(&Change) -> std::io::Result<()>;

impl Replay {
    pub(in crate::cli) fn new(plan: Arc<Plan>, dead_letters: DeadLetters) -> Replay {
        let decoder = Decoder::new(plan.schema().clone(), DecodeOptions::strict());
        // History is history: no age is too old (R62).
        let engine = Engine::new(plan, Settings { max_age: None, ..Settings::default() });
        Replay {
            engine,
            decoder,
            batch: Batch::default(),
            outputs: Outputs::default(),
            held: Vec::new(),
            events: 0,
            duplicates: 0,
            changes: 0,
            dead_letters,
        }
    }

    /// Applies everything, and then lets time pass until `end`. `advanced` hears of records done and changes so far.
    pub(in crate::cli) fn run(
        &mut self,
        input: &Input,
        end: Option<Timestamp>,
        sink: Sink<'_>,
        mut advanced: impl FnMut(usize, u64),
    ) -> std::io::Result<()> {
        for chunk in input.lines.chunks(BATCH_RECORDS) {
            self.batch.clear();
            for line in chunk {
                let position = Position { input: InputIndex(0), partition: 0, offset: line.offset };
                let raw = RawRecord { position, arrival: line.arrival, key: None, value: Some(input.bytes_of(line)) };
                self.decoder.decode(&raw, &mut self.batch);
            }
            self.apply(None, sink)?;
            advanced(chunk.len(), self.changes);
        }
        self.batch.clear();
        if let Some(end) = end {
            self.apply(Some(end), sink)?;
        }
        self.emit(Timestamp::MAX, sink)
    }

    /// Applies the batch, and goes on while the output budget cuts the timers that are due.
    fn apply(&mut self, idle_until: Option<Timestamp>, sink: Sink<'_>) -> std::io::Result<()> {
        loop {
            let applied = self.engine.apply(&self.batch, idle_until, &mut self.outputs);
            self.batch.clear();
            for letter in self.outputs.dead_letters.drain(..) {
                self.dead_letters.add(letter.reason, line_of(letter.position.offset), &letter.detail);
            }
            self.held.append(&mut self.outputs.changes);
            self.duplicates += self.outputs.counts.duplicates;
            self.events += self.outputs.counts.events;
            self.outputs = Outputs { changes: std::mem::take(&mut self.outputs.changes), ..Outputs::default() };
            match applied.cursor {
                Some(cursor) => self.emit(cursor.deadline, sink)?,
                None => return self.emit(applied.clock, sink),
            }
        }
    }

    /// Hands on the changes that were decided before `horizon`, by (decided_at, customer, seq): after an `apply` that left no due timer
    /// behind, nothing earlier can follow.
    fn emit(&mut self, horizon: Timestamp, sink: Sink<'_>) -> std::io::Result<()> {
        self.held.sort_by(|a, b| {
            let key = |p: &Published| (p.change.decided_at, p.change.seq);
            key(a).0.cmp(&key(b).0).then_with(|| a.change.customer.cmp(&b.change.customer)).then(key(a).1.cmp(&key(b).1))
        });
        let ready = if horizon == Timestamp::MAX { self.held.len() } else { self.held.partition_point(|p| p.change.decided_at < horizon) };
        for published in self.held.drain(..ready) {
            sink(&published.change)?;
            self.changes += 1;
        }
        Ok(())
    }
}

/// Refused records by reason: how many, and the first one's line and detail.
#[derive(Default)]
pub(in crate::cli) struct DeadLetters(BTreeMap<DeadLetterReason, (u64, usize, String)>);

impl DeadLetters {
    pub(super) fn add(&mut self, reason: DeadLetterReason, line: usize, detail: &str) {
        let entry = self.0.entry(reason).or_insert_with(|| (0, line, detail.to_string()));
        entry.0 += 1;
        if line < entry.1 {
            (entry.1, entry.2) = (line, detail.to_string());
        }
    }

    #[cfg(test)]
    pub(super) fn of(&self, reason: DeadLetterReason) -> Option<&(u64, usize, String)> {
        self.0.get(&reason)
    }

    /// One line a reason.
    pub(in crate::cli) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(reason, (n, line, detail))| {
            let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
            format!("dead letters {}: {} (first in line {line}{detail})", reason.word(), crate::cli::grouped(*n))
        })
    }
}
