//! The replay of a journal record: its batches are read again from the inputs, under the definitions and the time-zone database of their time,
//! and decided again with outputs off.
//!
//! The proof is that everything comes out as it did then: [`compare`]. Must never go on where it does not.

use std::sync::Arc;

use super::{Record, Restore};
use crate::ids::{Edition, InputIndex};
use crate::model::ZoneDatabase;
use crate::pipeline::client::{Client, Recovered, Source, Start};
use crate::pipeline::inputs::{Inputs, Lane, Next};
use crate::pipeline::sets::Sets;
use crate::pipeline::settings::{Settings, rules, zones_of};
use crate::pipeline::shard::Shard;
use crate::pipeline::sink::Sink;
use crate::pipeline::stop::Stop;
use crate::plan::Plan;
use crate::wire::journal::{JournalActivation, JournalBatch, JournalError, JournalInput, JournalRecord};

impl Shard {
    pub(super) fn open_inputs<C: Client>(&mut self, client: &mut C, begin: Vec<JournalInput>) {
        let lanes = begin.iter().enumerate().map(|(i, at)| {
            let source = Source::Input(InputIndex(i as u16));
            let leader_epoch = (at.leader_epoch >= 0).then_some(at.leader_epoch);
            Lane::new(client.open(self.id, source, Start { offset: at.next_offset, leader_epoch }), at)
        });
        self.inputs = Inputs { lanes: lanes.collect() };
        self.topics = begin;
    }

    /// Replays what is left of a journal record; returns whether all of it is. `left` goes down by the records read.
    pub(super) fn replay<C: Client, S: Sink>(
        &mut self,
        settings: &Settings,
        sets: &mut Sets,
        client: &mut C,
        sink: &mut S,
        restore: &mut Restore,
        recovered: &Recovered,
        record: &mut Record,
        left: &mut usize,
    ) -> Result<bool, Stop> {
        while let Some(batch) = record.record.batches.get(record.next) {
            // Once, before the first of its records is decoded.
            if let Some(activation) = batch.activation.as_ref().filter(|_| record.targets.is_empty() && self.activation.is_none()) {
                let edition = edition_of(activation, &in_force(&record.record)?);
                if edition == self.plan.edition() || self.engine.is_activating() {
                    let source = JournalError::Inconsistent("a set comes into force that is, or while another still does");
                    return Err(Stop::Record { offset: record.offset, source });
                }
                self.activate(settings, plan_of(sets, &edition)?, activation.at, batch.number);
            }
            if *left == 0 || !self.read_again(settings, client, recovered, batch, record.offset, &mut record.targets, left)? {
                return Ok(false);
            }
            let (decided, _) = self.decide(batch.number, batch.arrival_cap, batch.idle_until);
            compare(batch, &decided)?;
            self.inputs.finish(client);
            sink.replayed(self.id, &self.outputs.changes);
            self.number = batch.number;
            self.batch.clear();
            record.next += 1;
            record.targets.clear();
            restore.batches += 1;
            restore.records += u64::from(batch.records);
            *left = left.saturating_sub(1);
        }
        let (found, expected) = (self.plan.edition(), in_force(&record.record)?);
        if found != expected {
            let [found, expected] = [found, expected].map(|edition| format!("{} tz {}", edition.set, edition.zones));
            return Err(Stop::Mismatch { batch: record.record.batch, what: "set of definitions", found, expected });
        }
        for (lane, input) in self.inputs.lanes.iter().zip(&record.record.inputs) {
            if (lane.next_offset, lane.last_arrival) != (input.next_offset, input.last_arrival) {
                return Err(Stop::Mismatch {
                    batch: record.record.batch,
                    what: "position",
                    found: format!("{} {:?}", lane.next_offset, lane.last_arrival),
                    expected: format!("{} {:?}", input.next_offset, input.last_arrival),
                });
            }
        }
        Ok(true)
    }

    /// Reads the records of a batch again, in their order; returns whether all are there.
    fn read_again<C: Client>(
        &mut self,
        settings: &Settings,
        client: &mut C,
        recovered: &Recovered,
        batch: &JournalBatch,
        offset: i64,
        targets: &mut Vec<i64>,
        left: &mut usize,
    ) -> Result<bool, Stop> {
        if targets.is_empty() {
            self.batch.clear();
            targets.extend(self.inputs.lanes.iter().map(|lane| lane.next_offset));
            for read in &batch.reads {
                targets[read.input.at()] = read.next_offset;
            }
        }
        let cap = match batch.arrival_cap {
            Some(cap) => cap,
            None if batch.reads.is_empty() => return Ok(true),
            None => {
                let source = JournalError::Inconsistent("a batch with records has no arrival cap");
                return Err(Stop::Record { offset, source });
            }
        };
        let mut refilled = false;
        while *left > 0 {
            match self.inputs.next_replayed(client, cap, targets) {
                Next::Take(input) => {
                    let target = targets[input];
                    if let Some(found) = self.inputs.peek(client, input).filter(|found| *found >= target) {
                        let topic = settings.inputs[input].topic.to_string();
                        return Err(Stop::LogDiffers { topic, next_offset: target, found });
                    }
                    let raw = self.inputs.take(client, input, self.id, cap);
                    self.decoders[input].decode(&raw, &mut self.batch);
                    *left -= 1;
                    refilled = false;
                }
                Next::Nothing if self.inputs.lanes.iter().zip(&*targets).all(|(lane, target)| lane.next_offset >= *target) => {
                    return Ok(true);
                }
                Next::Nothing if refilled => {
                    if let Some((input, found)) = self.inputs.passed(client, targets) {
                        let topic = recovered.inputs[input.at()].topic.clone();
                        return Err(Stop::LogDiffers { topic, next_offset: targets[input.at()], found });
                    }
                    return match self.inputs.fault() {
                        None => Ok(false),
                        Some((input, fault)) => {
                            let topic = recovered.inputs[input.at()].topic.clone();
                            Err(Stop::Input { topic, fault: fault.clone() })
                        }
                    };
                }
                Next::Nothing => {
                    // Records of the batch are held until it is applied, so the lanes must have room for all of it.
                    let want = self.batch.records.len() + settings.batch_records;
                    self.inputs.refill(client, want);
                    refilled = true;
                }
            }
        }
        // The last record may just have been taken.
        Ok(self.inputs.lanes.iter().zip(&*targets).all(|(lane, target)| lane.next_offset >= *target))
    }
}

/// What is in force after a journal record.
///
/// **Errors:** it was written by other rules, by which nothing can be decided here.
pub(super) fn in_force(record: &JournalRecord) -> Result<Edition, Stop> {
    match zones_of(&record.engine) {
        Some(zones) => Ok(Edition { set: record.definitions, zones: zones.into() }),
        None => Err(Stop::Rules { journal: record.engine.clone(), ours: rules(ZoneDatabase::bundled().version()) }),
    }
}

/// What comes into force; `last` is what is at the end of its record.
fn edition_of(activation: &JournalActivation, last: &Edition) -> Edition {
    Edition { set: activation.set, zones: activation.zones.clone().unwrap_or_else(|| last.zones.clone()) }
}

/// Whether all plans that a journal record needs are known; what is not is asked for.
pub(super) fn are_known(sets: &mut Sets, first: bool, record: &JournalRecord) -> Result<bool, Stop> {
    let last = in_force(record)?;
    let mut known = !first || sets.get(&last)?.is_some();
    for activation in record.batches.iter().filter_map(|b| b.activation.as_ref()) {
        known &= sets.get(&edition_of(activation, &last))?.is_some();
    }
    Ok(known)
}

/// A plan that [`are_known`] has found.
pub(super) fn plan_of(sets: &mut Sets, edition: &Edition) -> Result<Arc<Plan>, Stop> {
    Ok(sets.get(edition)?.unwrap_or_else(|| panic!("{edition:?} was known when its record was admitted")))
}

/// The proof: what was decided again is what was decided then.
fn compare(expected: &JournalBatch, found: &JournalBatch) -> Result<(), Stop> {
    let batch = expected.number;
    let pairs: [(&'static str, String, String); 9] = [
        ("number of records", found.records.to_string(), expected.records.to_string()),
        ("hash of the inputs", format!("{:016x}", found.input_hash), format!("{:016x}", expected.input_hash)),
        ("number of changes", found.changes.to_string(), expected.changes.to_string()),
        ("hash of the changes", format!("{:032x}", found.change_hash), format!("{:032x}", expected.change_hash)),
        ("number of dead letters", found.dead_letters.to_string(), expected.dead_letters.to_string()),
        ("clock", found.clock.to_string(), expected.clock.to_string()),
        ("cursor", format!("{:?}", found.cursor), format!("{:?}", expected.cursor)),
        ("scan", format!("{:?}", found.scan), format!("{:?}", expected.scan)),
        ("reads", format!("{:?}", found.reads), format!("{:?}", expected.reads)),
    ];
    match pairs.into_iter().find(|(_, found, expected)| found != expected) {
        Some((what, found, expected)) => Err(Stop::Mismatch { batch, what, found, expected }),
        None => Ok(()),
    }
}
