//! A cart under another plan: other properties of its lines, another home currency.

use super::{Cart, CartPlan, Span};
use crate::engine::features::Reader;
use crate::engine::features::codec::{put_value, read_value};
use crate::model::Value;

impl Cart {
    /// Becomes what the plan `to` keeps. `fields`: for each property that lines keep from now on its place among those kept so far; one that is
    /// new is unknown for the lines that are there.
    pub fn recut(&mut self, to: &CartPlan, fields: &[Option<usize>]) {
        let old = std::mem::take(&mut self.arena);
        let mut arena = Vec::with_capacity(old.len());
        let mut moved = |values: &mut Span| {
            if values.len == 0 {
                return;
            }
            let bytes = old.get(values.start as usize..(values.start + values.len) as usize).unwrap_or_default();
            let start = arena.len() as u32;
            for field in fields {
                put_value(&mut arena, &field.map_or(Value::Missing, |i| nth(bytes, i)));
            }
            *values = Span { start, len: arena.len() as u32 - start };
        };
        self.checkpoint.lines.iter_mut().for_each(|line| moved(&mut line.values));
        self.pending_lines.iter_mut().for_each(|line| moved(&mut line.values));
        self.arena = arena;
        let changed_at = self.summary.changed_at;
        self.refold(to, None);
        self.summarize(to);
        self.summary.changed_at = changed_at;
    }
}

fn nth(bytes: &[u8], i: usize) -> Value {
    let mut reader = Reader::new(bytes);
    for _ in 0..i {
        read_value(&mut reader);
    }
    if reader.done() { Value::Missing } else { read_value(&mut reader).to_value() }
}
