//! Any bytes as a record: exactly one record comes out, and the engine takes it.
#![no_main]

use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use segmentd::engine::{Batch, Engine, Outputs, Settings};
use segmentd::ids::{InputIndex, Position};
use segmentd::lang::{SourceFile, compile};
use segmentd::plan::Plan;
use segmentd::time::Timestamp;
use segmentd::wire::{DecodeOptions, RawRecord, json};

fn plan() -> Arc<Plan> {
    static PLAN: OnceLock<Arc<Plan>> = OnceLock::new();
    let files = [include_str!("../../examples/catalogue.seg"), include_str!("../../examples/cart.seg"), include_str!("../../examples/value.seg")];
    PLAN.get_or_init(|| {
        let compiled = compile(&files.map(|text| SourceFile::new("a.seg", text)));
        Arc::new(Plan::compile(Arc::new(compiled.workspace.expect("the examples compile"))))
    })
    .clone()
}

fuzz_target!(|value: &[u8]| {
    let plan = plan();
    let (mut batch, mut outputs) = (Batch::default(), Outputs::default());
    let mut decoder = json::Decoder::new(plan.schema().clone(), DecodeOptions::strict());
    let position = Position { input: InputIndex(0), partition: 0, offset: 0 };
    let arrival = Timestamp(1_767_571_200_000);
    decoder.decode(&RawRecord { position, arrival, key: None, value: Some(value) }, &mut batch);
    assert_eq!(batch.records.len(), 1);
    Engine::new(plan, Settings::default()).apply(&batch, None, &mut outputs);
    assert!(outputs.dead_letters.len() <= 1);
});
