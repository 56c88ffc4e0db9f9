//! Conditions: what is written to the checked [`Expr`].

use super::super::definition::{Aggregate, Containment, Expr, Path, Rel, Sequence, SequenceStep, Term, TimeWindow, Window};
use super::super::diagnostic::Code;
use super::super::source::Span;
use super::super::supported::Form;
use super::super::tree::{
    CompareOp, Contained, Dur, Expr as TreeExpr, ExprKind, LetValue, Name, Quantifier, Range, Relation, RelationKind,
    Selector as TreeSelector, State, Step, Term as TreeTerm, TermKind, Window as TreeWindow,
};
use super::Kind;
use super::lower::{Absence, Checked, FilterScope, Lower, PropertySource, Stop, lone_name};
use super::terms::{Place, check_periods, events_of, is_day, lower_which, may_be_unknown, whole_days};
use super::types::{Ty, cart_line, coerce_term, order};
use super::warnings;
use super::windows::lower_unit;
use crate::limits::{QUANTIFIER_MAX, TEXT_LITERAL_BYTES_MAX};
use crate::model::Value;

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
        if and && !self.in_filter() {
            warnings::contradictions(self, &operands);
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
    fn seen_in_negation(&mut self, term: &Term, span: Span) {
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
                self.gate(Form::Periods, *periods);
                self.everybody_flips(*periods);
                if let Some(path) = per {
                    self.gate(Form::Per, super::selectors::path_span(path));
                    let help = "ask for the key in a window: `at least 3 product_viewed per product_id in last 7d`";
                    return self.fail_help(Code::E09, super::selectors::path_span(path), "`per` does not go together with periods", help);
                }
                check_periods(self, *n, *m, *periods)?;
                let unit = lower_unit(*unit);
                self.retention(&Window::Full { n: m - 1, unit }, &selected.selector, *periods)?;
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
        self.gate(Form::Sequence, span);
        let all_within = all_within.map(|d| self.positive(d)).transpose()?;
        let mut lowered = Vec::new();
        let mut newest = None;
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
                Some(selector) => Some(self.selector(selector)?.selector),
                None => None,
            };
            lowered.push(SequenceStep { selector: selected.selector.clone(), absent: step.absent, within, at_least_later, without });
            newest = Some(selected);
            if let Some(path) = per
                && let Some(selected) = &newest
            {
                self.per(selected, path)?;
            }
        }
        self.keyed = keyed + usize::from(per.is_some());
        let Some(newest) = newest else { return Err(Stop) };
        let window = self.window(window, &newest.selector)?;
        let per = per.map(|path| path.iter().map(|n| n.text.clone()).collect());
        Ok(Expr::Sequence(Sequence { steps: lowered, all_within, per, window }))
    }

    fn related(&mut self, of: &'t TreeTerm, relation: &'t Relation, span: Span) -> Checked<Expr> {
        let (left, ty) = self.term_at(of, Place::Compared)?;
        let what = format!("`{}`", self.world.text(of.span));
        if !matches!(relation.kind, RelationKind::Is { .. } | RelationKind::Compare { .. } | RelationKind::In { .. }) {
            self.seen_in_negation(&left, of.span);
        }
        match &relation.kind {
            RelationKind::Compare { op, right, ignore_case } => self.compare(left, &ty, of, *op, right, *ignore_case, span),
            RelationKind::Between(low, high) => self.between(left, &ty, &what, low, high, relation.span),
            RelationKind::In { negated, values, ignore_case } => {
                if !ty.is_scalar() {
                    self.fits(&ty, &Ty::Text, relation.span, &what)?;
                    return self.fail(Code::E03, relation.span, format!("{what} is {ty}: it cannot be looked for in a list"));
                }
                self.case_of_text(&ty, *ignore_case, relation.span)?;
                self.negated ^= *negated;
                self.seen_in_negation(&left, of.span);
                self.negated ^= *negated;
                let mut list: Vec<Value> = Vec::new();
                for literal in values {
                    let value = self.literal_of(literal, &ty, &what)?;
                    if !list.contains(&value) {
                        list.push(value);
                    }
                }
                let member = Expr::Member { of: left, values: list, ignore_case: *ignore_case };
                Ok(if *negated { negate(member) } else { member })
            }
            RelationKind::HalfOpen(from, to) => {
                self.gate(Form::HalfOpen, relation.span);
                if !ty.is_ordered() {
                    return self.fail(Code::E03, relation.span, format!("{what} is {ty}: it has no order that a range could use"));
                }
                let (from_value, to_value) = (self.literal_of(from, &ty, &what)?, self.literal_of(to, &ty, &what)?);
                let order = order(&from_value, &to_value);
                if order == Some(std::cmp::Ordering::Equal) || ty != Ty::Clock && order == Some(std::cmp::Ordering::Greater) {
                    let help = "the range includes its start and not its end; only clock times may wrap";
                    return self.fail_help(Code::E11, from.span.to(to.span), "the range is empty", help);
                }
                Ok(Expr::HalfOpen { of: left, from: from_value, to: to_value })
            }
            RelationKind::Rank { top, millionths } => {
                self.gate(Form::Rank, relation.span);
                self.everybody_flips(relation.span);
                if !ty.is_number() && !matches!(ty, Ty::Money(Some(_)) | Ty::Instant) {
                    return self.fail(Code::E03, relation.span, format!("a rank needs a number, money or an instant, {what} is {ty}"));
                }
                match u32::try_from(*millionths) {
                    Ok(millionths) if (1..1_000_000).contains(&millionths) => Ok(Expr::Rank { of: left, top: *top, millionths }),
                    _ => self.fail(Code::E11, relation.span, "a rank is above 0% and below 100%"),
                }
            }
            RelationKind::Time(window) => self.time_in(left, &ty, &what, window),
            RelationKind::Anniversary(dur) => {
                self.gate(Form::Anniversary, relation.span);
                if !matches!(ty, Ty::Date | Ty::Instant) {
                    return self.fail(Code::E03, relation.span, format!("an anniversary needs a date, {what} is {ty}"));
                }
                let ms = self.duration(dur)?;
                match whole_days(ms) {
                    Some(days) => Ok(Expr::Anniversary { of: left, days }),
                    None => self.fail_help(
                        Code::E11,
                        dur.span(),
                        format!("{ms} is no whole number of days"),
                        "anniversaries are days: `in next 7d`",
                    ),
                }
            }
            RelationKind::Contains { what: contained, ignore_case } => {
                self.contains(left, &ty, &what, contained, *ignore_case, relation.span)
            }
            RelationKind::Has(filter) => {
                let scope = match &ty {
                    Ty::Lines => PropertySource {
                        what: "a line of the cart".into(),
                        properties: cart_line(&self.world.catalogue),
                        broken: self.world.broken_cart,
                    },
                    Ty::List(element) => match &**element {
                        Ty::Record(fields) => {
                            self.gate(Form::HasOfList, relation.span);
                            PropertySource { what: format!("an element of {what}"), properties: fields.clone(), broken: false }
                        }
                        _ => {
                            return self.fail_help(
                                Code::E03,
                                relation.span,
                                format!("{what} is {ty}, not a list of records"),
                                "use `contains`",
                            );
                        }
                    },
                    _ => {
                        return self.fail_help(
                            Code::E03,
                            relation.span,
                            format!("{what} is {ty}, not a list of records"),
                            "`has` asks for an element of a list: `cart.items has [category = \"shoes\"]`",
                        );
                    }
                };
                let filter = self.filter(FilterScope { sources: vec![scope], lenient: false }, filter)?;
                Ok(Expr::Has { of: left, filter: Box::new(filter) })
            }
            RelationKind::StartsWith { text, ignore_case } => {
                self.text_relation(&ty, &what, text, relation.span)?;
                Ok(Expr::StartsWith { of: left, prefix: text.clone(), ignore_case: *ignore_case })
            }
            RelationKind::EndsWith { text, ignore_case } => {
                self.text_relation(&ty, &what, text, relation.span)?;
                Ok(Expr::EndsWith { of: left, suffix: text.clone(), ignore_case: *ignore_case })
            }
            RelationKind::Matches(pattern) => {
                self.gate(Form::Matches, relation.span);
                self.text_relation(&ty, &what, pattern, relation.span)?;
                Ok(Expr::Matches { of: left, pattern: pattern.clone() })
            }
            RelationKind::Near { metres, lat, lon } => {
                self.gate(Form::Near, relation.span);
                if ty != Ty::Geo {
                    return self.fail(Code::E03, relation.span, format!("a distance needs a geo point, {what} is {ty}"));
                }
                let degrees = |text: &str, bound: f64| text.parse::<f64>().ok().filter(|d| d.abs() <= bound);
                let Some(lat_value) = degrees(&lat.text, 90.0) else {
                    return self.fail(Code::E03, lat.span, "a latitude is from -90 to 90");
                };
                let Some(lon_value) = degrees(&lon.text, 180.0) else {
                    return self.fail(Code::E03, lon.span, "a longitude is from -180 to 180");
                };
                Ok(Expr::Near { of: left, metres: *metres, lat: lat_value, lon: lon_value })
            }
            RelationKind::Is { negated, what: state } => self.state(left, &ty, &what, *negated, *state, of.span, relation.span),
        }
    }

    fn case_of_text(&mut self, ty: &Ty, ignore_case: bool, span: Span) -> Checked<()> {
        if ignore_case && !ty.is_text() {
            return self.fail(Code::E03, span, format!("`ignoring case` is for text, this is {ty}"));
        }
        Ok(())
    }

    fn text_relation(&mut self, ty: &Ty, what: &str, text: &str, span: Span) -> Checked<()> {
        if !ty.is_text() {
            return self.fail(Code::E03, span, format!("{what} is {ty}, expected text"));
        }
        if text.len() > TEXT_LITERAL_BYTES_MAX {
            return self.fail(Code::E14, span, format!("a text or pattern has more than {TEXT_LITERAL_BYTES_MAX} bytes"));
        }
        Ok(())
    }

    fn compare(
        &mut self,
        left: Term,
        left_ty: &Ty,
        of: &'t TreeTerm,
        op: CompareOp,
        right: &'t TreeTerm,
        ignore_case: bool,
        span: Span,
    ) -> Checked<Expr> {
        let (right_term, right_ty) = self.term_at(right, Place::Compared)?;
        let what = format!("`{}`", self.world.text(of.span));
        self.fits(left_ty, &right_ty, right.span, &what)?;
        match (&left, &right_term) {
            (_, Term::Literal(value)) => self.in_words(left_ty, value, right.span)?,
            (Term::Literal(value), _) => self.in_words(&right_ty, value, of.span)?,
            _ => {}
        }
        if !left_ty.is_scalar() {
            let help = "use `contains`, `has` or `is empty`";
            return self.fail_help(Code::E03, span, format!("{what} is {left_ty}: it cannot be compared"), help);
        }
        let ordered = !matches!(op, CompareOp::Eq | CompareOp::Ne);
        if ordered && !(left_ty.is_ordered() && right_ty.is_ordered()) {
            return self.fail(Code::E03, span, format!("{what} is {left_ty}: it has no order, only `=` and `!=`"));
        }
        self.case_of_text(left_ty, ignore_case, span)?;
        let literal = |t: &Term| matches!(t, Term::Literal(_));
        if (*left_ty == Ty::Score && !literal(&right_term)) || (right_ty == Ty::Score && !literal(&left)) {
            self.gate(Form::ScoreAgainstTerm, span);
        }
        self.negated ^= op == CompareOp::Ne;
        self.seen_in_negation(&left, of.span);
        self.seen_in_negation(&right_term, right.span);
        self.negated ^= op == CompareOp::Ne;
        let (left, right_term) = (coerce_term(left, &right_ty), coerce_term(right_term, left_ty));
        let rel = match op {
            CompareOp::Eq | CompareOp::Ne => Rel::Eq,
            CompareOp::Lt => Rel::Lt,
            CompareOp::Le => Rel::Le,
            CompareOp::Gt => Rel::Gt,
            CompareOp::Ge => Rel::Ge,
        };
        // A literal stands on the right.
        let (left, rel, right_term) =
            if literal(&left) && !literal(&right_term) { (right_term, mirrored(rel), left) } else { (left, rel, right_term) };
        self.per_bound(&left, rel, &right_term, op, span)?;
        warnings::constant(self, &left, rel, &right_term, span);
        self.compared_absence(&left, rel, &right_term, op == CompareOp::Ne, span);
        let compare = Expr::Compare { left, rel, right: right_term, ignore_case };
        Ok(if op == CompareOp::Ne { negate(compare) } else { compare })
    }

    /// `per` asks whether some key satisfies; an upper bound is satisfied by every key that never occurred (LANGUAGE.md R23).
    fn per_bound(&mut self, left: &Term, rel: Rel, right: &Term, op: CompareOp, span: Span) -> Checked<()> {
        let keyed = |t: &Term| matches!(t, Term::Aggregate { per: Some(_), .. });
        let zero = |t: &Term| matches!(t, Term::Literal(Value::Int(0)));
        let upper = match rel {
            Rel::Lt | Rel::Le => keyed(left),
            Rel::Gt | Rel::Ge => keyed(right),
            Rel::Eq => (keyed(left) || keyed(right)) && (op == CompareOp::Ne || zero(right) || zero(left)),
        };
        if upper || keyed(left) && keyed(right) {
            let help = "say the positive form with `>=` or `>`, and `not` before it where its opposite is meant";
            return self.fail_help(Code::E09, span, "`per` with an upper bound would hold for every key that never occurred", help);
        }
        Ok(())
    }

    /// `count(x) in last D < k` also holds for customers who never did x (W02).
    fn compared_absence(&mut self, left: &Term, rel: Rel, right: &Term, not_equal: bool, span: Span) {
        let Term::Aggregate { function: Aggregate::Count, of, window, .. } = left else { return };
        let Term::Literal(bound) = right else { return };
        let zero = order(&Value::Int(0), bound);
        let holds_for_none = match (rel, zero) {
            (_, None) => return,
            (Rel::Eq, Some(o)) => o.is_eq() != not_equal,
            (Rel::Lt, Some(o)) => o.is_lt(),
            (Rel::Le, Some(o)) => o.is_le(),
            (Rel::Gt, Some(o)) => o.is_gt(),
            (Rel::Ge, Some(o)) => o.is_ge(),
        };
        if holds_for_none != self.negated && *window != Window::Ever && !self.in_filter() {
            self.absences.push(Absence { events: events_of(of), text: of.text.clone(), within: length(window), span });
        }
    }

    fn between(&mut self, left: Term, ty: &Ty, what: &str, low: &'t TreeTerm, high: &'t TreeTerm, span: Span) -> Checked<Expr> {
        // Of an instant `between` two days is a window, of a date it is a comparison of values.
        if *ty == Ty::Instant
            && let (Some(from), Some(to)) = (is_day(low), is_day(high))
        {
            return self.days(left, from, to, span);
        }
        let ((low_term, low_ty), (high_term, high_ty)) = (self.term(low)?, self.term(high)?);
        self.fits(ty, &low_ty, low.span, what)?;
        self.fits(ty, &high_ty, high.span, what)?;
        if !ty.is_ordered() {
            return self.fail(Code::E03, span, format!("{what} is {ty}: it has no order"));
        }
        if *ty == Ty::Score && !(matches!(low_term, Term::Literal(_)) && matches!(high_term, Term::Literal(_))) {
            self.gate(Form::ScoreAgainstTerm, span);
        }
        let (low_term, high_term) = (coerce_term(low_term, ty), coerce_term(high_term, ty));
        if matches!(&left, Term::Aggregate { per: Some(_), .. }) {
            let help = "say the positive form with `>=`";
            return self.fail_help(Code::E09, span, "`per` with an upper bound would hold for every key that never occurred", help);
        }
        if let (Term::Literal(a), Term::Literal(b)) = (&low_term, &high_term)
            && order(a, b) == Some(std::cmp::Ordering::Greater)
        {
            return self.fail_help(
                Code::E11,
                low.span.to(high.span),
                "nothing lies between these bounds",
                format!("the lower one comes first: `between {b} and {a}`"),
            );
        }
        Ok(Expr::Between { of: left, low: low_term, high: high_term })
    }

    fn days(&mut self, left: Term, from: super::super::tree::Day, to: super::super::tree::Day, span: Span) -> Checked<Expr> {
        use super::super::definition::DayBound;
        use super::super::tree::DayKind;
        self.gate(Form::DateWindow, span);
        let bound = |day: super::super::tree::Day| match day.kind {
            DayKind::Date(days) => DayBound::Date(days),
            DayKind::Instant(instant) => DayBound::Instant(instant),
        };
        let (from, to) = (bound(from), bound(to));
        let backwards = match (from, to) {
            (DayBound::Date(a), DayBound::Date(b)) => a >= b,
            (DayBound::Instant(a), DayBound::Instant(b)) => a >= b,
            _ => false,
        };
        if backwards {
            return self.fail(Code::E11, span, "the window between these days is empty: the earlier day comes first");
        }
        Ok(Expr::TimeIn { of: left, window: TimeWindow::Past(Window::Dates { from, to: Some(to) }) })
    }

    fn time_in(&mut self, left: Term, ty: &Ty, what: &str, window: &'t TreeWindow) -> Checked<Expr> {
        let span = window.span;
        match ty {
            Ty::Instant => {}
            Ty::Date => self.gate(Form::DateAge, span),
            _ => {
                let help = "a time window is for instants and dates; values are compared by `=`, `>=`, `between 1 and 5`";
                return self.fail_help(Code::E03, span, format!("{what} is {ty}, expected an instant or a date"), help);
            }
        }
        Ok(Expr::TimeIn { of: left, window: self.any_window(window)? })
    }

    fn contains(&mut self, left: Term, ty: &Ty, what: &str, contained: &'t Contained, ignore_case: bool, span: Span) -> Checked<Expr> {
        let element = match ty {
            Ty::Text => Ty::Text,
            Ty::Words(_) => Ty::Text,
            Ty::List(element) if element.is_scalar() => (**element).clone(),
            Ty::List(_) | Ty::Lines => {
                let help = "an element of a list of records is asked by `has`: `cart.items has [category = \"shoes\"]`";
                return self.fail_help(Code::E03, span, format!("{what} is {ty}"), help);
            }
            _ => return self.fail(Code::E03, span, format!("{what} is {ty}, expected text or a list")),
        };
        self.case_of_text(&element, ignore_case, span)?;
        let of_element = if matches!(ty, Ty::List(_)) { format!("an element of {what}") } else { what.to_string() };
        let mut values = |literals: &'t [super::super::tree::Literal]| {
            literals.iter().map(|l| self.literal_of(l, &element, &of_element)).collect::<Checked<Vec<Value>>>()
        };
        let lowered = match contained {
            Contained::Any(literals) => Containment::Any(values(literals)?),
            Contained::All(literals) => Containment::All(values(literals)?),
            Contained::One(term) => Containment::One(self.literal_term(term, &element, &of_element)?),
        };
        Ok(Expr::Contains { of: left, what: lowered, ignore_case })
    }

    fn state(&mut self, left: Term, ty: &Ty, what: &str, negated: bool, state: State, of: Span, span: Span) -> Checked<Expr> {
        let expr = match state {
            State::Empty => {
                if !matches!(ty, Ty::List(_) | Ty::Lines | Ty::Cart) && !ty.is_text() {
                    let help = "`is empty` is for lists, text and the cart; else `is unknown`, or `= 0`";
                    return self.fail_help(Code::E03, span, format!("{what} is {ty}"), help);
                }
                Expr::Empty(left)
            }
            State::Known | State::Unknown => {
                if matches!(ty, Ty::Cart | Ty::Lines) {
                    return self.fail_help(Code::E03, span, "the cart is always known", "`cart is empty`");
                }
                // `last(x).p is unknown` also holds where no x ever happened (R54).
                let asks_unknown = (state == State::Unknown) != negated;
                if asks_unknown != self.negated && matches!(left, Term::OfEvent { .. }) {
                    self.unknown_in_negation.push((left.clone(), of));
                }
                if state == State::Unknown { negate(Expr::Known(left)) } else { Expr::Known(left) }
            }
        };
        Ok(if negated { negate(expr) } else { expr })
    }
}

/// The same comparison seen from the other side.
fn mirrored(rel: Rel) -> Rel {
    match rel {
        Rel::Eq => Rel::Eq,
        Rel::Lt => Rel::Gt,
        Rel::Le => Rel::Ge,
        Rel::Gt => Rel::Lt,
        Rel::Ge => Rel::Le,
    }
}

/// D of `in last D`.
fn length(window: &Window) -> Option<crate::time::Millis> {
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
