//! What the targets of records share: the plan of the examples, and an engine that must take whatever a decoder makes of some bytes.

use std::sync::{Arc, OnceLock};

use segmentd::engine::{Batch, Engine, Outputs, Settings};
use segmentd::ids::{InputIndex, Position};
use segmentd::lang::{SourceFile, compile};
use segmentd::plan::Plan;
use segmentd::time::Timestamp;
use segmentd::wire::RawRecord;

const EXAMPLES: [&str; 3] =
    [include_str!("../../examples/catalogue.seg"), include_str!("../../examples/cart.seg"), include_str!("../../examples/value.seg")];

/// Decodes the bytes as one record and applies it.
///
/// **Panics:** not exactly one record comes out, or more than one dead letter.
pub fn check(value: &[u8], decode: impl FnOnce(&Plan, &RawRecord<'_>, &mut Batch)) {
    static PLAN: OnceLock<Arc<Plan>> = OnceLock::new();
    let plan = PLAN.get_or_init(|| {
        let compiled = compile(&EXAMPLES.map(|text| SourceFile::new("a.seg", text)));
        Arc::new(Plan::compile(Arc::new(compiled.workspace.expect("the examples compile"))))
    });
    let (mut batch, mut outputs) = (Batch::default(), Outputs::default());
    let position = Position { input: InputIndex(0), partition: 0, offset: 0 };
    let arrival = Timestamp(1_767_571_200_000);
    decode(plan, &RawRecord { position, arrival, key: None, value: Some(value) }, &mut batch);
    assert_eq!(batch.records.len(), 1);
    Engine::new(plan.clone(), Settings::default()).apply(&batch, None, &mut outputs);
    assert!(outputs.dead_letters.len() <= 1);
}
