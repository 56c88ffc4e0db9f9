//! A customer's state in words: what is kept, in which segments, since when and until when, and why not in the others.

use std::fmt::Write;

use super::consent;
use super::evaluate::Work;
use super::program::{Program, State};
use super::reason;
use super::warming::Truth;
use crate::plan::delays::purpose_at;
use crate::plan::node::{Node, NodeId, UnitId, UnitKind};
use crate::time::Timestamp;

/// Several lines, for people; for tests of definitions and for look-ups.
pub fn describe(program: &Program, work: &mut Work, clock: Timestamp) -> String {
    work.new_pass();
    let mut out = String::new();
    let customer = &work.customer;
    let _ = writeln!(
        out,
        "{}: first seen {}, latest event time {}, {} changes so far, clock {clock}",
        work.id, customer.first_seen, customer.greatest, customer.seq
    );
    for entry in &customer.traits {
        let catalogue = &program.plan.workspace().catalogue;
        if let Some(purpose) = purpose_at(catalogue, entry.index) {
            let observed = consent::observed(work, entry.index, clock);
            let _ = writeln!(out, "  consent to {}: {observed}, since {}", catalogue.purposes[purpose.at()].name, entry.ts);
            continue;
        }
        let name = &catalogue.traits[entry.index.at()].name;
        let _ = writeln!(out, "  customer.{name} = {} since {}", customer.trait_value(entry.index).to_value(), entry.ts);
    }
    work.load(program, program.lists);
    if let State::Lists(lists) = &work.loaded[program.lists as usize].state {
        for entry in lists.entries() {
            let (name, word) = (&program.plan.workspace().catalogue.lists[entry.list.at()], if entry.member { "in" } else { "not in" });
            let _ = writeln!(out, "  {word} list {name} since {}", entry.ts);
        }
    }
    for unit in 0..program.plan.units.len() as UnitId {
        let name = program.plan.unit_name(unit);
        let entry = work.customer.unit(unit).copied();
        let until = match work.customer.deadline(unit) {
            Timestamp::MAX => String::new(),
            until => format!(", looked at again at {until}"),
        };
        match (&program.plan.units[unit as usize].kind, entry) {
            (UnitKind::Waiting { segment }, Some(entry)) => {
                let what = match (work.customer.is_member(*segment), entry.member) {
                    (false, true) => "blocked since it expired, until its condition was false once",
                    (_, true) => "expired, and settles",
                    (_, false) => "about to change, and settles",
                };
                let _ = writeln!(out, "  {}: {what}, since {}", program.plan.unit_name(*segment), entry.since);
            }
            (UnitKind::Waiting { .. } | UnitKind::ExitDelay { .. }, None) => {}
            (UnitKind::Dwell { .. } | UnitKind::ExitDelay { .. }, Some(entry)) => {
                let _ = writeln!(out, "  {name}: holds since {}{until}", entry.since);
            }
            (UnitKind::Dwell { .. }, None) | (UnitKind::Keys { .. }, None) => {}
            (UnitKind::Keys { .. }, Some(_)) => {
                let _ = writeln!(out, "  {name}: {} came last{until}", work.remembered_key(unit).to_value());
            }
            (UnitKind::Stages(stages), entry) => {
                let since = entry.map_or("from the beginning".to_string(), |entry| format!("since {}", entry.since));
                let _ = writeln!(out, "  {name} is {} {since}{until}", work.stage_at(program, unit, clock));
                for (stage, when) in &stages.stages {
                    let _ = writeln!(out, "    {stage} when");
                    conditions(program, work, *when, clock, 6, &mut out);
                }
            }
            (UnitKind::Segment(segment), entry) => {
                match entry {
                    Some(entry) if entry.member => {
                        let _ = writeln!(out, "  in {name} since {}{until}", entry.since);
                    }
                    Some(entry) => {
                        let _ = writeln!(out, "  not in {name} since {}{until}", entry.since);
                    }
                    None => {
                        let _ = writeln!(out, "  never in {name}{until}");
                    }
                }
                let (when, exit) = (segment.when, segment.exit);
                conditions(program, work, when, clock, 4, &mut out);
                if let Some(exit) = exit {
                    let _ = writeln!(out, "    exit when");
                    conditions(program, work, exit, clock, 6, &mut out);
                }
                if let Some(consent) = segment.delays.as_ref().and_then(|delays| delays.consent) {
                    conditions(program, work, consent, clock, 4, &mut out);
                }
            }
        }
    }
    out
}

/// What a customer's bytes are spent on.
pub fn bytes_by_part(program: &Program, work: &Work) -> Vec<(String, usize)> {
    let mut parts: Vec<(String, usize)> = work.customer.bytes_by_section().into_iter().map(|(name, n)| (name.into(), n)).collect();
    for entry in &work.customer.features {
        let n = work.customer.span(entry.bytes).len();
        parts.push((program.plan.feature_name(entry.feature), n));
    }
    parts
}

/// Each leaf with its value.
fn conditions(program: &Program, work: &mut Work, id: NodeId, t: Timestamp, indent: usize, out: &mut String) {
    let info = &program.plan.nodes[id as usize];
    match &info.node {
        Node::And(all) | Node::Or(all) => {
            let mut all = all.to_vec();
            all.sort_unstable();
            all.into_iter().for_each(|n| conditions(program, work, n, t, indent, out));
        }
        Node::Not(of) if info.text.is_empty() || matches!(program.plan.nodes[*of as usize].node, Node::And(_) | Node::Or(_)) => {
            conditions(program, work, *of, t, indent, out);
        }
        node => {
            let seen = if let Node::Not(of) = node { *of } else { id };
            let sign = match work.truth(program, id, t) {
                Truth::True => "+",
                Truth::False => "-",
                // Not known yet after a change of definitions.
                Truth::Unknown => "?",
            };
            let observed = reason::observed(program, work, seen, t);
            let _ = writeln!(out, "{:indent$}{sign} {} (is {observed})", "", info.text);
        }
    }
}
