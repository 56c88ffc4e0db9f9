//! Ways through a checked definition.

use super::definition::{DefinitionKind, Expr, Term};
use crate::ids::DefinitionIndex;

/// Replaces every reference to another definition.
pub(crate) fn renumber(kind: &mut DefinitionKind, map: &[DefinitionIndex]) {
    match kind {
        DefinitionKind::Segment(segment) => {
            renumber_expr(&mut segment.when, map);
            segment.exit_when.iter_mut().for_each(|e| renumber_expr(e, map));
            segment.emit.iter_mut().for_each(|f| renumber_term(&mut f.term, map));
        }
        // A filter sees only the event, so selectors refer to nothing.
        DefinitionKind::Score(_) => {}
        DefinitionKind::Points(points) => points.rules.iter_mut().for_each(|(_, e)| renumber_expr(e, map)),
        DefinitionKind::Stages(stages) => stages.stages.iter_mut().for_each(|(_, e)| renumber_expr(e, map)),
    }
}

fn renumber_expr(expr: &mut Expr, map: &[DefinitionIndex]) {
    match expr {
        Expr::And(of) | Expr::Or(of) => of.iter_mut().for_each(|e| renumber_expr(e, map)),
        Expr::Not(of) | Expr::HeldFor { of, .. } => renumber_expr(of, map),
        Expr::InSegment(index) | Expr::Crossed { segment: index, .. } => *index = map[index.at()],
        Expr::Compare { left, right, .. } => [left, right].into_iter().for_each(|t| renumber_term(t, map)),
        Expr::Between { of, low, high } => [of, low, high].into_iter().for_each(|t| renumber_term(t, map)),
        Expr::Member { of, .. }
        | Expr::HalfOpen { of, .. }
        | Expr::TimeIn { of, .. }
        | Expr::Anniversary { of, .. }
        | Expr::Contains { of, .. }
        | Expr::Has { of, .. }
        | Expr::StartsWith { of, .. }
        | Expr::EndsWith { of, .. }
        | Expr::Matches { of, .. }
        | Expr::Near { of, .. }
        | Expr::Empty(of)
        | Expr::Known(of)
        | Expr::Rank { of, .. } => renumber_term(of, map),
        Expr::Everyone | Expr::EventIn { .. } | Expr::NofM { .. } | Expr::Sequence(_) | Expr::InList(_) | Expr::Consent(_) => {}
    }
}

fn renumber_term(term: &mut Term, map: &[DefinitionIndex]) {
    match term {
        Term::Score(index) | Term::Points(index) | Term::Stage(index) => *index = map[index.at()],
        Term::Arithmetic { left, right, .. } => {
            renumber_term(left, map);
            renumber_term(right, map);
        }
        Term::Ntile { of, .. } | Term::Band { of, .. } | Term::Age(of) => renumber_term(of, map),
        Term::Literal(_) | Term::Path(_) | Term::Aggregate { .. } | Term::OfEvent { .. } | Term::Bucket(_) | Term::Key => {}
    }
}
