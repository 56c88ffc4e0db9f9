//! How long entries matter to a family of windows, and how coarsely old ones may be merged (LANGUAGE.md S9).
//!
//! Beyond the exact entries the oldest are merged into cells of a grid whose width is the largest power of two that is at most 1/64 of the
//! shortest window that still has an edge to pass over them; powers of two nest, so that a cell that only longer windows see any more
//! merges with its neighbours.

use super::window::AgeWindow;
use crate::time::{Millis, Timestamp};

/// Part of a window that a merged bucket may span at most.
const PARTS: i64 = 64;

/// Windows that read one feature, as far as keeping entries goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granules {
    /// From this age on no window's edge passes over an entry any more.
    pub horizon: Millis,
    /// Some window has no far edge: entries beyond the horizon still count.
    pub unbounded: bool,
    /// (age at which a window's last edge has passed, shift of the finest grid among the windows of this and greater ages), ascending.
    edges: Vec<(i64, u32)>,
}

impl Granules {
    pub fn new(windows: &[AgeWindow]) -> Granules {
        let mut edges: Vec<(i64, u32)> = windows
            .iter()
            .map(|w| {
                let (edge, length) = match (w.is_unbounded(), w.near.0) {
                    (true, near) => (near, near),
                    (false, near) => (w.far.0, w.far.0.saturating_sub(near)),
                };
                (edge, (length / PARTS).max(1).ilog2())
            })
            .collect();
        edges.sort_unstable();
        for i in (1..edges.len()).rev() {
            edges[i - 1].1 = edges[i - 1].1.min(edges[i].1);
        }
        let horizon = Millis(edges.last().map_or(0, |e| e.0));
        Granules { horizon, unbounded: windows.iter().any(|w| w.is_unbounded()), edges }
    }

    /// Of what no edge ever passes over: nothing settles.
    pub fn endless() -> Granules {
        Granules { horizon: Millis(i64::MAX), unbounded: false, edges: Vec::new() }
    }

    /// Whether every window's last edge has passed over an entry for all evaluations at `floor` and later.
    pub fn is_past(&self, ts: Timestamp, floor: Timestamp) -> bool {
        floor - ts >= self.horizon
    }

    /// Whether two instants, `old <= young`, may be one bucket for evaluations at `floor` and later.
    pub fn same_cell(&self, old: i64, young: i64, floor: Timestamp) -> bool {
        let age = floor.0.saturating_sub(young);
        let after = self.edges.partition_point(|e| e.0 <= age);
        if after == self.edges.len() && self.unbounded {
            // No edge will come between them.
            return true;
        }
        let shift = self.edges.get(after).or(self.edges.last()).map_or(0, |e| e.1);
        old >> shift == young >> shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_at_most_a_64th_of_the_shortest_window_in_sight() {
        let g = Granules::new(&[AgeWindow::last(Millis(6_400)), AgeWindow::last(Millis(640_000)), AgeWindow::EVER]);
        assert_eq!((g.horizon, g.unbounded), (Millis(640_000), true));
        let floor = Timestamp(1_000_000);
        // The short window sees it: 100 ms allowed, grid of 64 ms.
        assert!(g.same_cell(999_936, 999_999, floor));
        assert!(!g.same_cell(999_935, 999_999, floor));
        // Only the long one does: 10 s allowed, grid of 8,192 ms.
        assert!(g.same_cell(901_120, 909_311, floor));
        assert!(!g.same_cell(901_119, 909_311, floor));
        assert!(g.is_past(Timestamp(360_000), floor) && !g.is_past(Timestamp(360_001), floor));
    }
}
