//! References among definitions: depths, and the cycles that must not be.

use super::super::diagnostic::{Code, Report};
use super::super::source::Span;
use super::World;
use crate::ids::DefinitionIndex;

/// Depth of each definition: 0 where it refers to none, else one more than the deepest that it refers to. Cycles are reported with
/// their path, each once; depths are then of no use. Without recursion, since a chain may be as long as the workspace.
pub(super) fn depths(world: &World<'_>, references: &[Vec<(DefinitionIndex, Span)>], report: &mut Report) -> Vec<u32> {
    let n = references.len();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); n];
    let mut open = vec![0usize; n];
    for (user, refers) in references.iter().enumerate() {
        for (used, _) in refers {
            users[used.at()].push(user);
            open[user] += 1;
        }
    }
    let mut depth = vec![0u32; n];
    let mut ready: Vec<usize> = (0..n).filter(|i| open[*i] == 0).collect();
    while let Some(done) = ready.pop() {
        for &user in &users[done] {
            depth[user] = depth[user].max(depth[done] + 1);
            open[user] -= 1;
            if open[user] == 0 {
                ready.push(user);
            }
        }
    }
    // What is left is in a cycle or refers to one, so that following any open reference ends in a cycle.
    let mut seen_by = vec![usize::MAX; n];
    for start in 0..n {
        let mut path: Vec<(usize, Span)> = Vec::new();
        let mut at = start;
        while open[at] > 0 && seen_by[at] == usize::MAX {
            seen_by[at] = start;
            let Some((next, span)) = references[at].iter().find(|(next, _)| open[next.at()] > 0) else { break };
            path.push((at, *span));
            at = next.at();
        }
        if open[at] == 0 || seen_by[at] != start || path.is_empty() {
            continue;
        }
        let Some(first) = path.iter().position(|(i, _)| *i == at) else { continue };
        let mut cycle = path.split_off(first);
        // It starts with the least name, so that the message does not depend on the order of files.
        let name = |i: usize| world.heads[i].name.text.as_str();
        let least = (0..cycle.len()).min_by_key(|i| name(cycle[*i].0)).unwrap_or(0);
        cycle.rotate_left(least);
        let mut words: Vec<&str> = cycle.iter().map(|(i, _)| name(*i)).collect();
        words.push(words[0]);
        let help = "a definition may use others only if none of them leads back to it";
        report.help(Code::E07, cycle[0].1, format!("definitions refer to each other in a circle: {}", words.join(" -> ")), help);
    }
    depth
}
