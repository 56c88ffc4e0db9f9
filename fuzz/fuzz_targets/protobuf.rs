//! Any bytes as a record in protobuf: exactly one record comes out, and the engine takes it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use segmentd::wire::{DecodeOptions, protobuf::Decoder};

fuzz_target!(|value: &[u8]| {
    segmentd_fuzz::check(value, |plan, record, batch| {
        Decoder::new(plan.schema().clone(), DecodeOptions::strict()).decode(record, batch);
    });
});
