//! A walk over everything a definition consists of, outer before inner.
//!
//! The plan has walks of its own: a form that one of the two forgets is one in which they differ.

use crate::lang::{Definition, DefinitionKind, Expr, Selector, Term, TimeWindow, Window};

/// What wants to see the parts.
pub trait Visit<'a> {
    fn expr(&mut self, _: &'a Expr) {}
    fn term(&mut self, _: &'a Term) {}
    fn window(&mut self, _: &'a Window) {}
    fn selector(&mut self, _: &'a Selector) {}
}

pub fn definition<'a>(definition: &'a Definition, visit: &mut impl Visit<'a>) {
    match &definition.kind {
        DefinitionKind::Segment(segment) => {
            std::iter::once(&segment.when).chain(&segment.exit_when).for_each(|e| expr(e, visit));
            segment.emit.iter().for_each(|field| term(&field.term, visit));
        }
        DefinitionKind::Score(score) => score.rules.iter().for_each(|rule| selector(&rule.selector, visit)),
        DefinitionKind::Points(points) => points.rules.iter().for_each(|(_, e)| expr(e, visit)),
        DefinitionKind::Stages(stages) => stages.stages.iter().for_each(|(_, e)| expr(e, visit)),
    }
}

pub fn expr<'a>(of: &'a Expr, visit: &mut impl Visit<'a>) {
    visit.expr(of);
    match of {
        Expr::And(all) | Expr::Or(all) => all.iter().for_each(|e| expr(e, visit)),
        Expr::Not(e) | Expr::HeldFor { of: e, .. } => expr(e, visit),
        Expr::Compare { left, right, .. } => [left, right].into_iter().for_each(|t| term(t, visit)),
        Expr::Between { of, low, high } => [of, low, high].into_iter().for_each(|t| term(t, visit)),
        Expr::EventIn { of, window: within, .. } => {
            selector(of, visit);
            window(within, visit);
        }
        Expr::NofM { of, .. } => selector(of, visit),
        Expr::Sequence(sequence) => {
            for step in &sequence.steps {
                std::iter::once(&step.selector).chain(&step.without).for_each(|s| selector(s, visit));
            }
            window(&sequence.window, visit);
        }
        Expr::Crossed { window: within, .. } => window(within, visit),
        Expr::TimeIn { of, window: within } => {
            term(of, visit);
            if let TimeWindow::Past(within) = within {
                window(within, visit);
            }
        }
        Expr::Has { of, filter } => {
            term(of, visit);
            expr(filter, visit);
        }
        Expr::Member { of, .. }
        | Expr::HalfOpen { of, .. }
        | Expr::Anniversary { of, .. }
        | Expr::Contains { of, .. }
        | Expr::StartsWith { of, .. }
        | Expr::EndsWith { of, .. }
        | Expr::Matches { of, .. }
        | Expr::Near { of, .. }
        | Expr::Empty(of)
        | Expr::Known(of)
        | Expr::Rank { of, .. } => term(of, visit),
        Expr::Everyone | Expr::InSegment(_) | Expr::InList(_) | Expr::Consent(_) => {}
    }
}

pub fn term<'a>(of: &'a Term, visit: &mut impl Visit<'a>) {
    visit.term(of);
    match of {
        Term::Aggregate { of, window: within, .. } => {
            selector(of, visit);
            window(within, visit);
        }
        Term::OfEvent { of, .. } => selector(of, visit),
        Term::Arithmetic { left, right, .. } => [left, right].into_iter().for_each(|t| term(t, visit)),
        Term::Ntile { of, .. } | Term::Band { of, .. } | Term::Age(of) => term(of, visit),
        Term::Literal(_) | Term::Path(_) | Term::Score(_) | Term::Points(_) | Term::Stage(_) | Term::Bucket(_) | Term::Key => {}
    }
}

fn window<'a>(of: &'a Window, visit: &mut impl Visit<'a>) {
    visit.window(of);
    if let Window::SinceLast(since) = of {
        selector(since, visit);
    }
}

pub fn selector<'a>(of: &'a Selector, visit: &mut impl Visit<'a>) {
    visit.selector(of);
    of.members.iter().filter_map(|m| m.filter.as_ref()).for_each(|e| expr(e, visit));
}
