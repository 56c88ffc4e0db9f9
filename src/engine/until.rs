//! Until when nothing changes without a record, other segments included: `valid_until` of what is published.

use super::evaluate::{Work, held};
use super::features::Verdict;
use super::program::Program;
use crate::plan::node::{Node, NodeId, SegmentUnit, UnitId, UnitKind};
use crate::time::Timestamp;

/// Longest chain of `in segment` that `valid_until` looks along, so that no set of definitions can grow the stack.
pub const UNTIL_DEPTH_MAX: usize = 64;

impl Work {
    /// Like [`node`](Self::node), but also over what other segments may do: until when nothing changes with no further record.
    pub fn deep_until(&mut self, program: &Program, id: NodeId, t: Timestamp) -> Verdict {
        if !self.customer.gaps.is_empty() {
            return self.as_far_as_known(program, id, t, true);
        }
        let combined = |work: &mut Work, operands: &[NodeId], of: bool| {
            let (mut earliest, mut latest) = (Timestamp::MAX, None::<Timestamp>);
            for id in operands {
                let v = work.deep_until(program, *id, t);
                if v.holds == of {
                    earliest = earliest.min(v.until);
                } else {
                    latest = Some(latest.map_or(v.until, |l| l.max(v.until)));
                }
            }
            Verdict { holds: if latest.is_some() { !of } else { of }, until: latest.unwrap_or(earliest), approx: false }
        };
        match &program.plan.nodes[id as usize].node {
            Node::And(all) => combined(self, all, true),
            Node::Or(any) => combined(self, any, false),
            Node::Not(of) => {
                let of = self.deep_until(program, *of, t);
                Verdict { holds: !of.holds, ..of }
            }
            Node::InSegment { unit, .. } => self.unit_until(program, *unit, t),
            Node::Held { unit, operand, at_least } => {
                let operand = self.deep_until(program, *operand, t);
                match self.customer.unit(*unit).map(|e| e.since) {
                    // About to begin by a timer of this very millisecond.
                    None if operand.holds => Verdict { holds: false, until: operand.until.min(t + *at_least), ..operand },
                    since => held(since, operand, *at_least, t),
                }
            }
            _ => {
                let mut verdict = self.node(program, id, t);
                for unit in &program.beneath[id as usize] {
                    verdict.until = verdict.until.min(self.unit_until(program, *unit, t).until);
                }
                verdict
            }
        }
    }

    /// Membership in a segment, and until when no record is needed to change it.
    ///
    /// **Cost:** each unit once a step, however many refer to it; along at most [`UNTIL_DEPTH_MAX`] references, beyond which the answer is
    /// "now", which is early and so allowed.
    pub fn unit_until(&mut self, program: &Program, unit: UnitId, t: Timestamp) -> Verdict {
        let member = self.customer.is_member(unit);
        let (segment, stages) = match &program.plan.units[unit as usize].kind {
            UnitKind::Segment(segment) => (Some(segment), None),
            UnitKind::Stages(stages) => (None, Some(stages)),
            _ => return Verdict::fixed(member),
        };
        let (pass, known) = self.untils[unit as usize];
        if pass == self.pass && known.holds == member {
            return known;
        }
        let mut verdict = Verdict { holds: member, until: t, approx: false };
        if self.until_depth < UNTIL_DEPTH_MAX {
            self.until_depth += 1;
            let found = match (segment, stages) {
                (Some(segment), _) => self.segment_until(program, unit, segment, t),
                (None, Some(stages)) => {
                    let wanted = self.stage_wanted(program, stages, t, Work::deep_until);
                    Verdict { holds: member != self.stage_moves(unit, stages, wanted), until: wanted.until, approx: false }
                }
                (None, None) => Verdict::fixed(member),
            };
            self.until_depth -= 1;
            // A turn that waits for the timers of this millisecond (R2) is as near as can be.
            if found.holds == member {
                verdict.until = found.until;
            }
        }
        self.untils[unit as usize] = (self.pass, verdict);
        verdict
    }

    fn segment_until(&mut self, program: &Program, unit: UnitId, segment: &SegmentUnit, t: Timestamp) -> Verdict {
        let member = self.customer.is_member(unit);
        match (segment.exit, &segment.delays) {
            (_, Some(delays)) => {
                let wish = self.wish(program, unit, (segment, delays), t, Work::deep_until);
                Verdict { holds: member != wish.why.is_some(), until: wish.until, approx: false }
            }
            (Some(exit), None) if member => {
                let exit = self.deep_until(program, exit, t);
                Verdict { holds: !exit.holds, ..exit }
            }
            _ => self.deep_until(program, segment.enter, t),
        }
    }
}
