//! Conditions: what is written to the checked [`Expr`].

use super::super::definition::{Aggregate, Expr, Path, Rel, Sequence, SequenceStep, Term, TimeWindow, Window};
use super::super::diagnostic::Code;
use super::super::source::Span;
use super::super::supported::Form;
use super::super::tree::{
    Dur, Expr as TreeExpr, ExprKind, LetValue, Name, Quantifier, Range, RelationKind, Selector as TreeSelector, Step, Term as TreeTerm,
    TermKind, Window as TreeWindow,
};
use super::Kind;
use super::lower::{Absence, Checked, Lower, Stop, lone_name};
use super::selectors::{Selected, path_span, same_kind};
use super::terms::{Place, check_periods, events_of, lower_which, may_be_unknown};
use super::types::Ty;
use super::windows::lower_unit;
use super::{never, warnings};
use crate::limits::{QUANTIFIER_MAX, SEQUENCE_STEPS_MAX};
use crate::model::{Type, Value};

impl<'t> Lower<'t, '_> {
    pub(super) fn condition(&mut self, expr: &'t TreeExpr) -> Checked<Expr> {
        self.node(expr.span, |lower| {
            if lower.in_filter() {
                lower.allowed_in_filter(expr)?;
            }
            lower.condition_kind(expr)
        })
    }

    fn allowed_in_filter(&mut self, expr: &TreeExpr) -> Checked<()> {
        let timeless = match &*expr.kind {
            ExprKind::And(_) | ExprKind::Or(_) | ExprKind::Not(_) | ExprKind::Paren(_) | ExprKind::Bare(_) => true,
            ExprKind::Related { relation, .. } => {
                !matches!(relation.kind, RelationKind::Time(_) | RelationKind::Rank { .. } | RelationKind::Anniversary(_))
            }
            _ => false,
        };
        if timeless {
            return Ok(());
        }
        let help = "what depends on the customer or on time stands outside of `[...]`";
        self.fail_help(Code::E03, expr.span, "a filter sees only the event itself", help)
    }

    fn condition_kind(&mut self, expr: &'t TreeExpr) -> Checked<Expr> {
        match &*expr.kind {
            ExprKind::And(of) => self.chain(of, true),
            ExprKind::Or(of) => self.chain(of, false),
            ExprKind::Not(of) => {
                self.negated = !self.negated;
                let inner = self.condition(of);
                self.negated = !self.negated;
                Ok(negate(inner?))
            }
            ExprKind::Paren(of) => self.condition(of),
            ExprKind::HeldFor(of, dur) => {
                let lowered = (self.condition(of), self.positive(dur));
                Ok(Expr::HeldFor { of: Box::new(lowered.0?), at_least: lowered.1? })
            }
            ExprKind::Bare(term) => self.bare(term),
            _ => self.leaf(expr),
        }
    }

    /// Conditions without operands; apart from the others, so that nesting costs only small frames.
    fn leaf(&mut self, expr: &'t TreeExpr) -> Checked<Expr> {
        let span = expr.span;
        match &*expr.kind {
            ExprKind::Quantified { quantifier, of, per, range } => self.quantified(*quantifier, of, per.as_deref(), range, span),
            ExprKind::EventIn { which, of, window } => {
                let selected = self.selector(of)?;
                let window = self.window(window, &selected.selector)?;
                if self.negated && window != Window::Ever {
                    let (events, text) = (events_of(&selected.selector), selected.selector.text.clone());
                    self.absences.push(Absence { events, text, within: length(&window), span });
                }
                Ok(Expr::EventIn { which: lower_which(*which), of: selected.selector, window })
            }
            ExprKind::Sequence { steps, all_within, per, window } => {
                self.sequence(steps, all_within.as_ref(), per.as_deref(), window, span)
            }
            ExprKind::Everyone => {
                self.variable = true;
                Ok(Expr::Everyone)
            }
            ExprKind::InSegment(name) => Ok(Expr::InSegment(self.reference(name, Kind::Segment)?)),
            ExprKind::InList(name) => {
                self.gate(Form::InList, span);
                self.variable = true;
                match self.world.catalogue.list(&name.text) {
                    Some(list) => Ok(Expr::InList(list)),
                    None => {
                        let known: Vec<&str> = self.world.catalogue.lists.iter().map(String::as_str).collect();
                        self.unknown("list", name, &known, &format!("declare it in the catalogue: `list {}`", name.text))
                    }
                }
            }
            ExprKind::Crossed { entered, segment, window } => {
                self.gate(Form::Crossed, span);
                let index = self.reference(segment, Kind::Segment)?;
                let TimeWindow::Past(window) = self.any_window(window)? else {
                    return self.fail(Code::E01, window.span, "expected a time window, found a future one");
                };
                let direction =
                    if *entered { super::super::definition::Direction::Entered } else { super::super::definition::Direction::Left };
                Ok(Expr::Crossed { direction, segment: index, window })
            }
            ExprKind::Consent(name) => {
                self.gate(Form::Consent, span);
                self.variable = true;
                Ok(Expr::Consent(self.purpose(name)?))
            }
            ExprKind::Related { of, relation } => self.related(of, relation, span),
            // Those with operands; `condition_kind` knows them.
            ExprKind::And(_) | ExprKind::Or(_) | ExprKind::Not(_) | ExprKind::Paren(_) | ExprKind::HeldFor(..) | ExprKind::Bare(_) => {
                Err(Stop)
            }
        }
    }

    pub(super) fn purpose(&mut self, name: &Name) -> Checked<crate::ids::PurposeIndex> {
        match self.world.catalogue.purpose(&name.text) {
            Some(purpose) => Ok(purpose),
            None => {
                let known: Vec<&str> = self.world.catalogue.purposes.iter().map(|p| p.name.as_str()).collect();
                self.unknown("purpose", name, &known, &format!("declare it in the catalogue: `purpose {}`", name.text))
            }
        }
    }

    /// Operands of `and` or `or`; all are checked, whatever becomes of the others.
    fn chain(&mut self, of: &'t [TreeExpr], and: bool) -> Checked<Expr> {
        let (unknown_from, absence_from) = (self.unknown_in_negation.len(), self.absences.len());
        let mut operands = Vec::with_capacity(of.len());
        let mut failed = false;
        for operand in of {
            match self.condition(operand) {
                Ok(lowered) => operands.push((lowered, operand.span)),
                Err(Stop) => failed = true,
            }
        }
        if failed {
            return Err(Stop);
        }
        // Under `not` an `or` is what joins negations.
        if and != self.negated {
            warnings::neighbours(self, &operands, unknown_from, absence_from);
        }
        if and {
            never::contradictions(self, &operands);
        }
        if !and && !self.in_filter() {
            never::tautologies(self, &operands);
        }
        let mut flat = Vec::new();
        for (operand, _) in operands {
            match operand {
                Expr::And(inner) if and => flat.extend(inner),
                Expr::Or(inner) if !and => flat.extend(inner),
                other => flat.push(other),
            }
        }
        Ok(if and { Expr::And(flat) } else { Expr::Or(flat) })
    }

    /// A term that stands alone: a boolean, or a let of anything that is a condition.
    fn bare(&mut self, term: &'t TreeTerm) -> Checked<Expr> {
        if let TermKind::Path(path) = &term.kind
            && path.len() == 1
            && let Some(item) = self.find_let(&path[0])
            && !self.is_property(&path[0])
            && let LetValue::Expr(value) = &item.value
        {
            let name = &path[0];
            if let Some(inner) = lone_name(value)
                && self.find_let(inner).is_none()
                && self.world.catalogue.event(&inner.text).is_some()
            {
                let message = format!("`{}` is an event, expected a condition", name.text);
                return self.fail_help(Code::E03, name.span, message, format!("for example `any {} in last 7d`", name.text));
            }
            return self.inlined(item, name.span, |lower, _| lower.condition(value));
        }
        self.boolean(term)
    }

    /// A term of type bool as a condition.
    fn boolean(&mut self, term: &'t TreeTerm) -> Checked<Expr> {
        let (lowered, ty) = self.term_at(term, Place::Compared)?;
        if ty != Ty::Bool {
            let message = format!("expected a condition, this is {ty}");
            let help = match ty {
                Ty::Cart => "`cart is empty`, or compare `cart.value`",
                Ty::Lines => "`cart.items has [..]`, `cart is empty`",
                Ty::Instant | Ty::Date => "ask for its age: `in last 7d`, `at least 30m ago`",
                _ => "compare it: `= ..`, `>= ..`, `in [..]`, `is known`",
            };
            return self.fail_help(Code::E03, term.span, message, help);
        }
        self.seen_in_negation(&lowered, term.span);
        Ok(Expr::Compare { left: lowered, rel: Rel::Eq, right: Term::Literal(Value::Bool(true)), ignore_case: false })
    }

    fn is_property(&self, name: &Name) -> bool {
        match &self.scope {
            super::lower::Scope::Filter(scope) => scope.sources.iter().any(|s| s.properties.iter().any(|p| p.name == name.text)),
            super::lower::Scope::Customer => false,
        }
    }

    /// Notes that a term which may be unknown stands under `not`.
    pub(super) fn seen_in_negation(&mut self, term: &Term, span: Span) {
        if self.negated && !self.in_filter() && may_be_unknown(term) {
            self.unknown_in_negation.push((term.clone(), span));
        }
    }

    fn quantified(
        &mut self,
        quantifier: Quantifier,
        of: &'t TreeSelector,
        per: Option<&'t [Name]>,
        range: &'t Range,
        span: Span,
    ) -> Checked<Expr> {
        let selected = self.selector(of)?;
        let (rel, count) = match quantifier {
            Quantifier::Any => (Rel::Ge, 1),
            Quantifier::No | Quantifier::AtMost(0) => (Rel::Eq, 0),
            Quantifier::AtLeast(n) => (Rel::Ge, n),
            Quantifier::AtMost(n) => (Rel::Le, n),
            Quantifier::Exactly(n) => (Rel::Eq, n),
        };
        if count > QUANTIFIER_MAX {
            return self.fail(Code::E14, span, format!("a quantifier counts to {QUANTIFIER_MAX} at most"));
        }
        if rel == Rel::Ge && count == 0 {
            self.report.help(Code::W08, span, "`at least 0` always holds", "`everyone` is the segment of all customers");
        }
        let text = selected.selector.text.clone();
        let events = events_of(&selected.selector);
        // Whether no event at all satisfies it, as it stands here.
        let absent = if self.negated { rel != Rel::Le && count > 0 } else { rel == Rel::Le || rel == Rel::Eq && count == 0 };
        let expr = match range {
            Range::Window(window) => {
                let window = self.window(window, &selected.selector)?;
                let per = match per {
                    Some(path) if rel == Rel::Le || count == 0 => {
                        let help =
                            format!("say the positive form: `at least {} {text} per {} ..`, and `not` before it", count + 1, path[0].text);
                        return self.fail_help(
                            Code::E09,
                            span,
                            "`per` with an upper bound would hold for every key that never occurred",
                            help,
                        );
                    }
                    Some(path) => Some(self.per(&selected, path)?),
                    None => None,
                };
                if absent && !self.in_filter() && (window != Window::Ever || count > 0 && rel == Rel::Le) {
                    self.absences.push(Absence { events, text, within: length(&window), span });
                }
                let left = Term::Aggregate { function: Aggregate::Count, of: selected.selector, property: None, per, window };
                let right = Term::Literal(Value::Int(i64::from(count)));
                Expr::Compare { left, rel, right, ignore_case: false }
            }
            Range::Periods { n, m, unit, span: periods } => {
                self.everybody_flips(*periods);
                if let Some(path) = per {
                    self.gate(Form::Per, super::selectors::path_span(path));
                    let help = "ask for the key in a window: `at least 3 product_viewed per product_id in last 7d`";
                    return self.fail_help(Code::E09, super::selectors::path_span(path), "`per` does not go together with periods", help);
                }
                check_periods(self, *n, *m, *periods)?;
                let unit = lower_unit(*unit);
                self.retention(&Window::Full { n: m - 1, unit }, &selected.selector, *periods)?;
                if absent && !self.in_filter() {
                    self.absences.push(Absence { events, text, within: None, span });
                }
                Expr::NofM { of: selected.selector, rel, count, n: *n, m: *m, unit }
            }
        };
        Ok(expr)
    }

    fn sequence(
        &mut self,
        steps: &'t [Step],
        all_within: Option<&'t Dur>,
        per: Option<&'t [Name]>,
        window: &'t TreeWindow,
        span: Span,
    ) -> Checked<Expr> {
        if steps.len() > SEQUENCE_STEPS_MAX {
            return self.fail(Code::E14, span, format!("a sequence has {SEQUENCE_STEPS_MAX} steps at most"));
        }
        let all_within = all_within.map(|d| self.positive(d)).transpose()?;
        let mut lowered = Vec::new();
        let mut newest = None;
        let mut key = None;
        let keyed = self.keyed;
        for (i, step) in steps.iter().enumerate() {
            let last = i + 1 == steps.len();
            if i == 0 && (step.within.is_some() || step.at_least_later.is_some() || step.without.is_some()) {
                return self.fail(Code::E01, step.span, "the first step has nothing before it that a limit could count from");
            }
            if step.absent && !last {
                return self.fail_help(
                    Code::E01,
                    step.span,
                    "`then no` stands only in the last step",
                    "to forbid an event between two steps: `then b within 1h without x`",
                );
            }
            if step.absent && step.within.is_none() {
                let help = "say how long nothing may come: `then no order_completed within 1h`";
                return self.fail_help(Code::E10, step.span, "`then no` needs a limit", help);
            }
            if step.absent && (step.at_least_later.is_some() || step.without.is_some()) {
                return self.fail(Code::E01, step.span, "`then no` has `within` and no other limit");
            }
            let selected = self.selector(&step.selector)?;
            let within = step.within.as_ref().map(|d| self.positive(d)).transpose()?;
            let at_least_later = step.at_least_later.as_ref().map(|d| self.positive(d)).transpose()?;
            if let (Some(within), Some(later)) = (within, at_least_later)
                && later >= within
            {
                return self.fail(Code::E11, step.span, format!("no gap is at least {later} and less than {within}"));
            }
            let without = match &step.without {
                Some(selector) => Some(self.selector(selector)?),
                None => None,
            };
            if let Some(path) = per {
                self.sequence_key(&selected, path, &mut key)?;
                without.iter().try_for_each(|selected| self.sequence_key(selected, path, &mut key))?;
            }
            if !step.absent {
                newest = Some(selected.selector.clone());
            }
            let without = without.map(|selected| selected.selector);
            lowered.push(SequenceStep { selector: selected.selector, absent: step.absent, within, at_least_later, without });
        }
        self.keyed = keyed + usize::from(per.is_some());
        let Some(newest) = newest else { return Err(Stop) };
        let window = self.window(window, &newest)?;
        if self.negated && window != Window::Ever {
            let first: &SequenceStep = &lowered[0];
            let (events, text) = (events_of(&first.selector), first.selector.text.clone());
            self.absences.push(Absence { events, text, within: None, span });
        }
        let per = per.map(|path| path.iter().map(|n| n.text.clone()).collect());
        Ok(Expr::Sequence(Sequence { steps: lowered, all_within, per, window }))
    }

    /// All events of a sequence `per` key have the key, and of one type, lest some could never meet.
    fn sequence_key(&mut self, selected: &Selected, path: &'t [Name], key: &mut Option<Type>) -> Checked<()> {
        self.per(selected, path)?;
        let ty = self.property_of(selected, path)?;
        match key {
            Some(first) if !same_kind(first, &ty) => {
                let message = format!("`{}` has different types among the steps", path[path.len() - 1].text);
                self.fail(Code::E03, path_span(path), message)
            }
            Some(_) => Ok(()),
            None => {
                *key = Some(ty);
                Ok(())
            }
        }
    }
}

/// D of `in last D`.
pub(super) fn length(window: &Window) -> Option<crate::time::Millis> {
    match window {
        Window::Last(d) => Some(*d),
        _ => None,
    }
}

/// `not`, without `not not`.
pub(super) fn negate(expr: Expr) -> Expr {
    match expr {
        Expr::Not(inner) => *inner,
        other => Expr::Not(Box::new(other)),
    }
}

/// Whether a term is the bare cart, which only `is empty` takes.
pub(super) fn is_whole_cart(term: &Term) -> bool {
    matches!(term, Term::Path(Path::Cart(super::super::definition::CartPath::Whole)))
}
