//! Why a segment turned: the conditions that decided, with what was seen and what was asked for (LANGUAGE.md 8.13).

use std::sync::Arc;

use super::consent;
use super::evaluate::Work;
use super::machine::Why;
use super::program::Program;
use super::value::Val;
use crate::limits::{REASON_TEXT_BYTES_MAX, REASONS_MAX};
use crate::model::Reason;
use crate::plan::delays::Delays;
use crate::plan::node::{Node, NodeId, SegmentUnit, StagesUnit, TermId, TermNode, UnitId};
use crate::time::{Millis, Timestamp};

/// The leaves that made the segment's condition what it is now, at most [`REASONS_MAX`]; `why` where it has delays and the like.
///
/// To be asked before the change is written: what a member waited for counts from the entry that ends.
pub fn of(
    program: &Program,
    work: &mut Work,
    (unit, segment): (UnitId, &SegmentUnit),
    entered: bool,
    why: Option<Why>,
    t: Timestamp,
) -> Vec<Reason> {
    let mut out = Vec::new();
    match segment.exit {
        _ if matches!(why, Some(Why::Consent | Why::Expired)) => {}
        // What holds at the entry is `when`; that the exit condition does not is no news.
        Some(_) if entered => collect(program, work, segment.when, true, t, &mut out),
        Some(exit) => collect(program, work, exit, true, t, &mut out),
        None => collect(program, work, segment.when, entered, t, &mut out),
    }
    if let (Some(why), Some(delays)) = (why, &segment.delays) {
        delayed(program, work, (unit, delays), entered, why, t, &mut out);
    }
    out
}

/// What the rules beside the conditions have to say.
fn delayed(
    program: &Program,
    work: &mut Work,
    (unit, delays): (UnitId, &Delays),
    entered: bool,
    why: Why,
    t: Timestamp,
    out: &mut Vec<Reason>,
) {
    let last = work.customer.unit(unit).map(|entry| t - entry.since);
    let mut rule = |rule: &str, length: Millis, passed: Option<Millis>| {
        let observed = passed.map_or_else(|| "unknown".into(), |passed| passed.to_string());
        push(out, &format!("{rule} {length}").into(), observed, &length.to_string().into());
    };
    match (why, entered) {
        (Why::Expired, _) => rule("expire after", delays.expire.unwrap_or_default(), last),
        (Why::Condition, false) => {
            if let Some(length) = delays.exit_after {
                rule("exit after", length, held_for(program, work, delays.exit, t));
            }
            if delays.stay > Millis::ZERO {
                rule("stay at least", delays.stay, last);
            }
        }
        (Why::Condition, true) => {
            if let Some(length) = delays.enter_after {
                rule("enter after", length, held_for(program, work, delays.enter, t));
            }
            if delays.cooldown > Millis::ZERO && last.is_some() {
                rule("cooldown", delays.cooldown, last);
            }
        }
        (Why::Consent, _) => {}
    }
    if let Some(consent) = delays.consent.filter(|_| entered || why == Why::Consent) {
        collect(program, work, consent, entered, t, out);
    }
}

fn held_for(program: &Program, work: &Work, node: NodeId, t: Timestamp) -> Option<Millis> {
    match program.plan.nodes[node as usize].node {
        Node::Held { unit, .. } => work.customer.unit(unit).map(|entry| t - entry.since),
        _ => None,
    }
}

/// Why a customer moved between stages: what held of the new one, and, where it stands below, what does not of the old one.
pub fn of_move(program: &Program, work: &mut Work, stages: &StagesUnit, (from, to): (usize, usize), t: Timestamp) -> Vec<Reason> {
    let mut out = Vec::new();
    if let Some((_, when)) = stages.stages.get(to) {
        collect(program, work, *when, true, t, &mut out);
    }
    if let Some((_, when)) = stages.stages.get(from).filter(|_| from < to) {
        collect(program, work, *when, false, t, &mut out);
    }
    out
}

/// Leaves below a node that is `held`: all of a true `and`, the false ones of a false one, and the reverse for `or`.
fn collect(program: &Program, work: &mut Work, id: NodeId, held: bool, t: Timestamp, out: &mut Vec<Reason>) {
    let info = &program.plan.nodes[id as usize];
    match &info.node {
        Node::And(all) | Node::Or(all) => {
            // About the order in which the author wrote them; the graph's is by cost.
            let mut all = all.to_vec();
            all.sort_unstable();
            for n in all {
                if out.len() < REASONS_MAX && work.node(program, n, t).holds == held {
                    collect(program, work, n, held, t, out);
                }
            }
        }
        Node::Not(of) => {
            let inner = &program.plan.nodes[*of as usize];
            if info.text.is_empty() || matches!(inner.node, Node::And(_) | Node::Or(_) | Node::Not(_)) {
                collect(program, work, *of, !held, t, out);
            } else {
                let observed = observed(program, work, *of, t);
                push(out, &info.text, observed, &inner.threshold);
            }
        }
        _ => {
            let observed = observed(program, work, id, t);
            push(out, &info.text, observed, &info.threshold);
        }
    }
}

fn push(out: &mut Vec<Reason>, condition: &Arc<str>, observed: String, threshold: &Arc<str>) {
    if out.len() < REASONS_MAX {
        out.push(Reason { condition: shared(condition), observed: cut(&observed), threshold: shared(threshold) });
    }
}

/// Texts of the plan are shared by all changes.
fn shared(text: &Arc<str>) -> Arc<str> {
    if text.len() <= REASON_TEXT_BYTES_MAX { text.clone() } else { cut(text).into() }
}

fn cut(text: &str) -> Box<str> {
    if text.len() <= REASON_TEXT_BYTES_MAX {
        return text.into();
    }
    let end = (0..=REASON_TEXT_BYTES_MAX).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    format!("{}…", &text[..end]).into()
}

/// What a condition sees, as people read it.
pub fn observed(program: &Program, work: &mut Work, id: NodeId, t: Timestamp) -> String {
    let shown = |work: &mut Work, term: TermId| {
        if let TermNode::Bucket(salt) = program.plan.terms[term as usize] {
            return work.bucket_shown(program, salt);
        }
        work.load_of_term(program, term);
        work.term(program, term, t).value.to_value().to_string()
    };
    match &program.plan.nodes[id as usize].node {
        Node::Constant(value) => value.to_string(),
        Node::Quantity { feature, quantity, window, .. } => {
            work.load_of_node(program, id);
            let unit = program.plan.features[*feature as usize].unit;
            let unit = if is_count(*quantity) { crate::plan::feature::NumberUnit::Int } else { unit };
            let reading = work.read(program, *feature, *quantity, *window, t);
            Val::of_feature(unit, reading.value).0.to_value().to_string()
        }
        Node::Sequence { feature, .. } => work.sequence_observed(program, *feature, t),
        Node::SomeKey { feature, of } => {
            work.load_of_node(program, id);
            match work.look_at_key(program, *feature, *of, t).map(|key| key.to_value()) {
                Some(key) => format!("{} for {key}", observed(program, work, *of, t)),
                None => "no key".into(),
            }
        }
        Node::Score { feature, .. } => {
            work.load(program, *feature);
            Val::score(work.score(program, *feature, t)).to_value().to_string()
        }
        Node::Compare { left, right, .. } => {
            let literal = |term: TermId| matches!(program.plan.terms[term as usize], TermNode::Literal(_));
            let (left, right) = (*left, *right);
            match (literal(left), literal(right)) {
                (true, false) => shown(work, right),
                (_, true) => shown(work, left),
                (false, false) => format!("{} against {}", shown(work, left), shown(work, right)),
            }
        }
        Node::Aged { of, .. } | Node::Next { of, .. } => {
            work.load_of_term(program, *of);
            match work.instant(program, *of, t) {
                Some(x) => if x > t { x - t } else { t - x }.to_string(),
                None => "unknown".into(),
            }
        }
        Node::Held { unit, .. } => match work.customer.unit(*unit) {
            Some(entry) => (t - entry.since).to_string(),
            None => "not held".into(),
        },
        Node::Consent { slot, .. } => consent::observed(work, *slot, t),
        Node::InSegment { unit, .. } => if work.customer.is_member(*unit) { "member" } else { "no member" }.into(),
        Node::Calendar(node) => super::calendar::observed(program, work, node, t),
        Node::InList(_) => if work.node(program, id, t).holds { "member" } else { "no member" }.into(),
        Node::CartEmpty | Node::CartHas(_) => {
            work.load(program, program.cart);
            let items = work.cart(program).summary().items;
            if items == 0 { "empty".into() } else { format!("{items} lines") }
        }
        leaf => match leaf.terms().next() {
            Some(of) => shown(work, of),
            None => work.node(program, id, t).holds.to_string(),
        },
    }
}

fn is_count(quantity: crate::plan::feature::Quantity) -> bool {
    use crate::plan::feature::Quantity;
    matches!(quantity, Quantity::Count | Quantity::Distinct)
}
