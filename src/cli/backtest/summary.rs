//! What a back-test says at its end: per segment what came and went and its size over time, and which segments share members.

use std::fmt::Write;

use crate::cli::{definitions, grouped};
use crate::engine::Engine;
use crate::ids::DefinitionIndex;
use crate::model::{Change, ChangeKind};
use crate::time::Timestamp;

/// Instants at which the size of a segment is kept, over the whole span.
const BUCKETS: usize = 40;

/// Segments of which the overlap is told: the largest.
const OVERLAPPING_MAX: usize = 8;

/// Counts of changes and sizes over time.
pub(super) struct Summary {
    from: Timestamp,
    /// Milliseconds, at least 1.
    bucket: i64,
    /// By name, in the order of the definitions, which is that of names.
    segments: Vec<Segment>,
}

struct Segment {
    name: String,
    definition: DefinitionIndex,
    entered: u64,
    exited: u64,
    moved: u64,
    size: i64,
    /// At the end of each bucket; `None` where nothing changed in it.
    sizes: [Option<i64>; BUCKETS],
}

impl Summary {
    /// For changes that are decided in `from..=to`.
    pub(super) fn new(engine: &Engine, from: Timestamp, to: Timestamp) -> Summary {
        let all = engine.plan().workspace().definitions.iter().enumerate();
        let segments = all.filter(|(_, d)| definitions::has_members(d)).map(|(i, definition)| Segment {
            name: definition.name.clone(),
            definition: DefinitionIndex(i as _),
            entered: 0,
            exited: 0,
            moved: 0,
            size: 0,
            sizes: [None; BUCKETS],
        });
        let mut segments: Vec<Segment> = segments.collect();
        segments.sort_by(|a, b| a.name.cmp(&b.name));
        Summary { from, bucket: ((to - from).0 / BUCKETS as i64 + 1).max(1), segments }
    }

    pub(super) fn count(&mut self, change: &Change) {
        let Ok(at) = self.segments.binary_search_by(|s| s.name.as_str().cmp(&change.segment)) else { return };
        let segment = &mut self.segments[at];
        match change.kind {
            ChangeKind::Entered => (segment.entered, segment.size) = (segment.entered + 1, segment.size + 1),
            ChangeKind::Exited => (segment.exited, segment.size) = (segment.exited + 1, segment.size - 1),
            ChangeKind::Moved { .. } => segment.moved += 1,
        }
        let bucket = ((change.decided_at - self.from).0 / self.bucket).clamp(0, BUCKETS as i64 - 1);
        segment.sizes[bucket as usize] = Some(segment.size);
    }

    /// A table with a line a segment, and one of overlaps where there are any.
    pub(super) fn text(&self, engine: &Engine) -> String {
        let mut out = String::new();
        let width = self.segments.iter().map(|s| s.name.chars().count()).max().unwrap_or(0).max("segment".len());
        let _ =
            writeln!(out, "{:width$}  {:>10}  {:>10}  {:>10}  {:>10}  size over time", "segment", "entered", "exited", "moved", "members");
        for segment in &self.segments {
            let members = engine.members_of(segment.definition);
            let shown = [segment.entered, segment.exited, segment.moved, members].map(grouped);
            let _ = writeln!(
                out,
                "{:width$}  {:>10}  {:>10}  {:>10}  {:>10}  {}",
                segment.name,
                shown[0],
                shown[1],
                shown[2],
                shown[3],
                sparkline(&segment.sizes)
            );
        }
        out.push_str(&self.overlaps(engine));
        out
    }

    fn overlaps(&self, engine: &Engine) -> String {
        let mut largest: Vec<&Segment> = self.segments.iter().filter(|s| engine.members_of(s.definition) > 0).collect();
        largest.sort_by_key(|s| std::cmp::Reverse(engine.members_of(s.definition)));
        largest.truncate(OVERLAPPING_MAX);
        if largest.len() < 2 {
            return String::new();
        }
        let both = engine.overlap(&largest.iter().map(|s| s.definition).collect::<Vec<_>>());
        let width = largest.iter().map(|s| s.name.chars().count()).max().unwrap_or(0);
        let mut out = "members of both, and their share of the members of either\n".to_string();
        for (i, segment) in largest.iter().enumerate() {
            let _ = write!(out, "{:>2} {:width$}", i + 1, segment.name);
            for (j, shared) in both[i][..=i].iter().enumerate() {
                let either = both[i][i] + both[j][j] - shared;
                let cell = match i == j {
                    true => grouped(*shared),
                    false => format!("{} {:>3} %", grouped(*shared), (100 * shared + either / 2) / either.max(1)),
                };
                let _ = write!(out, "  {cell:>16}");
            }
            out.push('\n');
        }
        let _ = write!(out, "{:3}{:width$}", "", "");
        (1..=largest.len()).for_each(|i| write!(out, "  {i:>16}").unwrap_or_default());
        out.push('\n');
        out
    }
}

/// Sizes as blocks of eight heights, the lowest for nobody; a bucket without a change is as the one before.
fn sparkline(sizes: &[Option<i64>]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = sizes.iter().flatten().copied().max().unwrap_or(0).max(1);
    let mut size = 0;
    let block = |n: i64| if n <= 0 { BLOCKS[0] } else { BLOCKS[((n * 7 + most - 1) / most).min(7) as usize] };
    let height = |s: &Option<i64>| {
        size = s.unwrap_or(size);
        block(size)
    };
    sizes.iter().map(height).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_carries_sizes_on_and_tells_few_from_nobody() {
        assert_eq!(sparkline(&[None, Some(1), None, Some(700), Some(350), Some(0)]), "▁▂▂█▅▁");
        assert_eq!(sparkline(&[Some(1), Some(0)]), "█▁");
        assert_eq!(sparkline(&[None, None]), "▁▁");
    }
}
