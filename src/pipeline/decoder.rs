//! The decoders of a shard's inputs.

use super::settings::{Format, InputSettings, Settings};
use crate::engine::Batch;
use crate::ids::ShardId;
use crate::plan::Plan;
use crate::wire::{DecodeCounts, RawRecord, json, protobuf};

/// One decoder per input, since keys are checked against the input's partitioner.
pub(super) enum Decoder {
    Json(json::Decoder),
    Protobuf(protobuf::Decoder),
}

impl Decoder {
    pub fn all(settings: &Settings, plan: &Plan, shard: ShardId) -> Vec<Decoder> {
        settings.inputs.iter().map(|input| Decoder::new(settings, plan, input, shard)).collect()
    }

    fn new(settings: &Settings, plan: &Plan, input: &InputSettings, shard: ShardId) -> Decoder {
        let options = settings.decode_options(input, shard);
        match input.format {
            Format::Json => Decoder::Json(json::Decoder::new(plan.schema().clone(), options)),
            Format::Protobuf => Decoder::Protobuf(protobuf::Decoder::new(plan.schema().clone(), options)),
        }
    }

    pub fn decode(&mut self, raw: &RawRecord<'_>, batch: &mut Batch) {
        match self {
            Decoder::Json(decoder) => decoder.decode(raw, batch),
            Decoder::Protobuf(decoder) => decoder.decode(raw, batch),
        }
    }

    pub fn take_counts(&mut self) -> DecodeCounts {
        match self {
            Decoder::Json(decoder) => decoder.take_counts(),
            Decoder::Protobuf(decoder) => decoder.take_counts(),
        }
    }
}
