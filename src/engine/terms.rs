//! Terms that stand on other terms, on conditions, or on the customer's id alone: bands, points and buckets.

use sha2::{Digest, Sha256};

use super::evaluate::{Seen, Work, held};
use super::features::Verdict;
use super::motion::Side;
use super::program::{Program, Spec, State};
use super::value::{Val, relate};
use crate::lang::definition::Rel;
use crate::lang::display;
use crate::model::{Decimal, Value};
use crate::plan::Plan;
use crate::plan::feature::FeatureId;
use crate::plan::node::{Node, NodeId, TermId, TermNode, UnitId};
use crate::time::Timestamp;

/// The units that a condition's terms read, which turn by themselves: segments within points.
pub fn units_beneath(plan: &Plan, node: &Node) -> Box<[UnitId]> {
    let mut units = Vec::new();
    node.terms().for_each(|term| units_of_term(plan, term, &mut units));
    units.sort_unstable();
    units.dedup();
    units.into()
}

fn units_of_term(plan: &Plan, term: TermId, units: &mut Vec<UnitId>) {
    match &plan.terms[term as usize] {
        TermNode::Crossing { unit, .. } | TermNode::Stage { unit } => units.push(*unit),
        TermNode::Points(rules) => rules.iter().for_each(|(_, node)| units_of_node(plan, *node, units)),
        TermNode::Arithmetic { left, right, .. } => [*left, *right].into_iter().for_each(|t| units_of_term(plan, t, units)),
        TermNode::Band { of, .. } | TermNode::Age(of) => units_of_term(plan, *of, units),
        _ => {}
    }
}

fn units_of_node(plan: &Plan, node: NodeId, units: &mut Vec<UnitId>) {
    match &plan.nodes[node as usize].node {
        Node::And(all) | Node::Or(all) => all.iter().for_each(|n| units_of_node(plan, *n, units)),
        Node::Not(of) | Node::Held { operand: of, .. } => units_of_node(plan, *of, units),
        Node::InSegment { unit, .. } => units.push(*unit),
        leaf => units.extend(units_beneath(plan, leaf)),
    }
}

/// The stable number of a customer and a salt, in whole millionths, what is below cut off: the first eight bytes, big-endian, of SHA-256
/// over salt, 0x1F and customer, divided by 2^64 (LANGUAGE.md S42), which every warehouse can compute again.
pub fn bucket(salt: &str, customer: &str) -> Decimal {
    let digest = Sha256::new().chain_update(salt).chain_update([0x1F]).chain_update(customer).finalize();
    let number = digest.iter().take(8).fold(0, |n, byte| n << 8 | u64::from(*byte));
    Decimal(((u128::from(number) * Decimal::ONE as u128) >> 64) as i64)
}

impl Work {
    /// The bucket of the customer at hand; hashed when it is asked for first.
    pub fn bucket(&self, program: &Program, salt: u32) -> Decimal {
        let cell = &self.buckets[salt as usize];
        let (of, known) = cell.get();
        if of == self.generation {
            return known;
        }
        let value = bucket(&program.plan.salts[salt as usize], &self.id);
        cell.set((self.generation, value));
        value
    }

    /// A bucket as people read it: `9.5169%`.
    pub fn bucket_shown(&self, program: &Program, salt: u32) -> String {
        display::share(self.bucket(program, salt).0)
    }

    /// The sum of the points whose conditions hold, and until when none of these turns.
    pub fn points<'a>(&'a self, program: &'a Program, rules: &[(i64, NodeId)], t: Timestamp) -> Seen<'a> {
        let (mut sum, mut next, mut approx) = (0i64, Timestamp::MAX, false);
        for (points, when) in rules {
            let verdict = self.peek(program, *when, t);
            sum = sum.saturating_add(if verdict.holds { *points } else { 0 });
            next = next.min(verdict.until);
            approx |= verdict.approx;
        }
        Seen { next, approx, ..Seen::fixed(Val::decimal(Decimal(sum))) }
    }

    /// A condition whose features have been loaded, at any instant; nothing is remembered. Other segments are as they were then.
    fn peek(&self, program: &Program, id: NodeId, t: Timestamp) -> Verdict {
        match &program.plan.nodes[id as usize].node {
            Node::And(all) => self.peek_all(program, all, t, true),
            Node::Or(any) => self.peek_all(program, any, t, false),
            Node::Not(of) => {
                let of = self.peek(program, *of, t);
                Verdict { holds: !of.holds, ..of }
            }
            Node::Constant(value) => Verdict::fixed(*value),
            Node::InSegment { unit, .. } => Verdict::fixed(self.was_member(*unit, t)),
            Node::Held { unit, operand, at_least } => {
                let operand = self.peek(program, *operand, t);
                match self.customer.unit(*unit).map(|e| e.since) {
                    None if operand.holds => {
                        // About to begin by a timer of this very millisecond; or `t` lies ahead, and when it began till then is not known.
                        let ahead = self.customer.deadline(*unit) < t;
                        let until = if ahead { t } else { operand.until.min(t + *at_least) };
                        Verdict { holds: false, until, ..operand }
                    }
                    since => held(since, operand, *at_least, t),
                }
            }
            leaf => self.leaf(program, leaf, t),
        }
    }

    /// `and` (`of` true) or `or`, as [`Work::node`] has it.
    fn peek_all(&self, program: &Program, operands: &[NodeId], t: Timestamp, of: bool) -> Verdict {
        let (mut earliest, mut latest, mut approx) = (Timestamp::MAX, None::<Timestamp>, false);
        for id in operands {
            let v = self.peek(program, *id, t);
            approx |= v.approx;
            if v.holds == of {
                earliest = earliest.min(v.until);
            } else {
                latest = Some(latest.map_or(v.until, |l| l.max(v.until)));
            }
        }
        match latest {
            Some(until) => Verdict { holds: !of, until, approx },
            None => Verdict { holds: of, until: earliest, approx },
        }
    }

    /// Remembers that the customer entered or left a segment.
    pub fn crossed(&mut self, program: &Program, feature: FeatureId, since: Timestamp) {
        self.load(program, feature);
        if let (State::Ring(ring), Spec::Ring { keep, capacity }) =
            (&mut self.loaded[feature as usize].state, &program.specs[feature as usize])
            && ring.insert(*keep, *capacity, since)
        {
            self.mark_changed(feature);
        }
    }

    /// Whether the customer was in a segment at an instant, one change back.
    pub fn was_member(&self, unit: UnitId, t: Timestamp) -> bool {
        self.customer.unit(unit).is_some_and(|e| e.member == (t >= e.since))
    }

    /// How many bounds a term has reached; missing where the term is.
    pub fn band<'a>(&'a self, program: &'a Program, of: TermId, bounds: &'a [Value], t: Timestamp) -> Seen<'a> {
        let seen = self.term(program, of, t);
        let moves = self.moves(program, of);
        if seen.value.is_missing() {
            let next = if moves { self.known_until(program, of, t) } else { seen.next };
            return Seen { next, ..seen };
        }
        let reached = bounds.iter().take_while(|bound| relate(seen.value, Rel::Ge, Val::of_value(bound), false)).count();
        let mut next = seen.next;
        if moves {
            // The bound that was reached last and the next one are the first that it can cross.
            let neighbours = reached.checked_sub(1).into_iter().chain((reached < bounds.len()).then_some(reached));
            let crossings = neighbours.map(|i| self.compare_moving(program, Side::Term(of), Rel::Ge, Side::Value(&bounds[i]), t).until);
            next = crossings.min().unwrap_or(Timestamp::MAX).min(self.known_until(program, of, t));
        }
        Seen { value: Val::int(reached as i64), next, ..seen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LANGUAGE.md S42, case 92.
    #[test]
    fn buckets_are_those_of_the_vectors() {
        for (salt, customer, millionths) in
            [("exp-cart-7", "c-1001", 95_169), ("holdout-2026", "c-1001", 209_758), ("holdout-2026", "c-1002", 500_651)]
        {
            assert_eq!(bucket(salt, customer), Decimal(millionths), "{salt} {customer}");
        }
    }
}
