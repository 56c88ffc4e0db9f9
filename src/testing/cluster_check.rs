//! The check of what a [`Cluster`] leaves behind: one engine that follows the journal of a shard, record by record beside what was published.

use super::broker::{Partition, Stored};
use super::cluster::{Cluster, Tally, all_sets, expected_record, parse};
use crate::engine::output::{DeadLetter, Outputs, Published};
use crate::engine::{Batch, Engine};
use crate::ids::{BatchNumber, Edition, InputIndex, Position, SetHash, ShardId};
use crate::model::ZoneDatabase;
use crate::pipeline::Output;
use crate::plan;
use crate::time::Timestamp;
use crate::wire::encode;
use crate::wire::journal::{JournalRecord, input_hash};
use crate::wire::{DecodeOptions, RawRecord, json};

impl Cluster {
    pub(super) fn check_shard(&self, shard: ShardId, tally: &mut Tally) -> Result<(), String> {
        let broker = self.broker.borrow();
        let settings = &self.plan.settings;
        let topics: Vec<&str> = settings.inputs.iter().map(|i| &*i.topic).collect();
        let inputs: Vec<Vec<&Stored>> =
            (0..topics.len()).map(|i| broker.committed(Partition::Input(InputIndex(i as u16), shard))).collect();
        let decoders = |plan: &plan::Plan| -> Vec<json::Decoder> {
            let options =
                || DecodeOptions { unknown_events: settings.unknown_events, wrong_type: settings.wrong_type, ..DecodeOptions::lenient() };
            topics.iter().map(|_| json::Decoder::new(plan.schema().clone(), options())).collect()
        };
        // The sets that come into force are published ones, in the order of their publication; and no time-zone database comes back.
        let mut sets = all_sets(&self.plan);
        let mut in_force = Edition { set: SetHash::default(), zones: "".into() };
        let mut next_plan = |next: Edition| {
            let plan = self.edition(&next).ok_or_else(|| format!("{next:?} was never published"))?;
            if next.set != in_force.set && !sets.any(|p| p.workspace().hash == next.set) || next.zones < in_force.zones {
                return Err(format!("{next:?} comes into force out of turn, after {in_force:?}"));
            }
            in_force = next;
            Ok(plan)
        };
        let mut begun: Option<(Engine, Vec<json::Decoder>)> = None;
        let mut expected: Vec<Published> = Vec::new();
        let mut dead: Vec<DeadLetter> = Vec::new();
        let mut taken = vec![0usize; topics.len()];
        let mut last = vec![Timestamp::MIN; topics.len()];
        let mut number = 0;
        for stored in broker.committed(Partition::Output(Output::Journal, shard)) {
            let record = JournalRecord::decode(stored.value.as_deref().unwrap_or_default()).map_err(|e| e.to_string())?;
            tally.journal_records += 1;
            if begun.is_none() {
                let zones = record.engine.rsplit(' ').next().unwrap_or_default().into();
                let plan = next_plan(Edition { set: record.definitions, zones })?;
                begun = Some((Engine::new(plan.clone(), settings.engine.clone()), decoders(plan)));
            }
            let Some((engine, decoders_now)) = &mut begun else { continue };
            for batch in &record.batches {
                number += 1;
                if batch.number != BatchNumber(number) {
                    return Err(format!("batch {} where {number} was to follow", batch.number));
                }
                let mut records: Vec<(Timestamp, usize, &Stored)> = Vec::new();
                for read in &batch.reads {
                    let i = read.input.at();
                    while let Some(stored) = inputs[i].get(taken[i]).filter(|s| s.offset < read.next_offset) {
                        last[i] = last[i].max(stored.timestamp.min(batch.arrival_cap.unwrap_or(Timestamp::MIN)));
                        records.push((last[i], i, stored));
                        taken[i] += 1;
                    }
                }
                if let Some(activation) = &batch.activation {
                    let zones = activation.zones.clone().ok_or("an activation without a time-zone database")?;
                    let plan = next_plan(Edition { set: activation.set, zones })?;
                    *decoders_now = decoders(plan);
                    engine.activate(plan.clone(), activation.at, number).map_err(|e| e.to_string())?;
                    tally.activations += 1;
                }
                records.sort_by_key(|(arrival, i, stored)| (*arrival, *i, stored.offset));
                let mut input = Batch::default();
                for (arrival, i, stored) in records {
                    let position = Position { input: InputIndex(i as u16), partition: shard.0, offset: stored.offset };
                    let raw = RawRecord { position, arrival, key: stored.key.as_deref(), value: stored.value.as_deref() };
                    decoders_now[i].decode(&raw, &mut input);
                }
                if input_hash(&input) != batch.input_hash {
                    return Err(format!("batch {number} was of other records than the journal says"));
                }
                let mut outputs = Outputs::default();
                let applied = engine.apply(&input, batch.idle_until, &mut outputs);
                if (applied.clock, applied.cursor, applied.scan) != (batch.clock, batch.cursor, batch.scan) {
                    return Err(format!("batch {number}: clock or cursors differ: {applied:?}, {batch:?}"));
                }
                tally.cursors += u64::from(applied.cursor.is_some());
                tally.scans += u64::from(applied.scan.is_some());
                tally.batches += 1;
                tally.records += input.records.len() as u64;
                expected.append(&mut outputs.changes);
                dead.append(&mut outputs.dead_letters);
            }
        }
        let zones = self.plan.upgrade.map_or(ZoneDatabase::bundled(), |(_, zones)| zones);
        let last = all_sets(&self.plan).last().map(|plan| Edition { set: plan.workspace().hash, zones: zones.version().into() });
        if last != begun.as_ref().map(|(engine, _)| engine.plan().edition()) {
            return Err(format!("{last:?}, the last one, never came into force"));
        }
        for (i, input) in inputs.iter().enumerate() {
            if taken[i] != input.len() {
                return Err(format!("{} of {} records of input {i} were read", taken[i], input.len()));
            }
        }
        tally.changes += expected.len() as u64;
        tally.by_timer += expected.iter().filter(|p| p.change.cause == crate::model::Cause::Timer).count() as u64;
        let by_definition = |p: &&Published| p.change.cause.word().starts_with("definition_");
        tally.by_definition += expected.iter().filter(by_definition).count() as u64;
        tally.dead_letters += dead.len() as u64;
        check_changes(&broker.committed(Partition::Output(Output::Changes, shard)), &expected, &topics)?;
        check_memberships(&broker.committed(Partition::Output(Output::Memberships, shard)), &expected)?;
        check_dead_letters(&broker.committed(Partition::Output(Output::DeadLetters, shard)), &dead, &inputs)
    }
}

fn check_changes(found: &[&Stored], expected: &[Published], topics: &[&str]) -> Result<(), String> {
    for (i, (stored, published)) in found.iter().zip(expected).enumerate() {
        let (found, expected) = (parse(stored)?, expected_record(published, topics)?);
        if found != expected {
            return Err(format!("change {i} is\n{found:?}\nand should be\n{expected:?}"));
        }
        if stored.key.as_deref() != Some(published.change.customer.as_bytes()) {
            return Err(format!("change {i} has the key {:?}", stored.key));
        }
    }
    if found.len() != expected.len() {
        return Err(format!("{} changes are published, {} should be", found.len(), expected.len()));
    }
    Ok(())
}

fn check_memberships(found: &[&Stored], expected: &[Published]) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{} membership records for {} changes", found.len(), expected.len()));
    }
    for (i, (stored, published)) in found.iter().zip(expected).enumerate() {
        let mut key = Vec::new();
        encode::membership_key_json(&published.change.customer, &published.change.segment, &mut key);
        let value = published.membership.as_ref().map(|membership| {
            let mut value = Vec::new();
            encode::membership_json(membership, &mut value);
            value
        });
        if stored.key.as_ref() != Some(&key) || stored.value != value {
            return Err(format!("membership record {i} is {stored:?} after {published:?}"));
        }
    }
    Ok(())
}

fn check_dead_letters(found: &[&Stored], expected: &[DeadLetter], inputs: &[Vec<&Stored>]) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{} dead letters, {} should be", found.len(), expected.len()));
    }
    for (i, (stored, dead)) in found.iter().zip(expected).enumerate() {
        let header = |name: &str| {
            let value = stored.headers.iter().find(|(n, _)| *n == name).and_then(|(_, v)| v.clone()).unwrap_or_default();
            String::from_utf8(value).unwrap_or_default()
        };
        let original = inputs[dead.position.input.at()].iter().find(|s| s.offset == dead.position.offset);
        let same = original.is_some_and(|o| (&o.key, &o.value) == (&stored.key, &stored.value) && stored.headers.ends_with(&o.headers));
        let named = header("__streams.errors.exception") == dead.reason.word()
            && header("__streams.errors.offset") == dead.position.offset.to_string();
        if !same || !named {
            return Err(format!("dead letter {i} is {stored:?}, should be {dead:?}"));
        }
    }
    Ok(())
}
