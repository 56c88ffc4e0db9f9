//! Relations: a term against values, windows and states.

use super::super::definition::{Aggregate, Containment, Expr, Rel, Term, TimeWindow, Window};
use super::super::diagnostic::Code;
use super::super::pattern::Pattern;
use super::super::source::Span;
use super::super::supported::Form;
use super::super::tree::{CompareOp, Contained, Relation, RelationKind, State, Term as TreeTerm, Window as TreeWindow};
use super::conditions::{length, negate};
use super::lower::{Absence, Checked, FilterScope, Lower, PropertySource};
use super::never;
use super::terms::{Place, events_of, is_day, whole_days};
use super::types::{Ty, cart_line, coerce_term, order};
use crate::limits::TEXT_LITERAL_BYTES_MAX;
use crate::model::Value;

impl<'t> Lower<'t, '_> {
    pub(super) fn related(&mut self, of: &'t TreeTerm, relation: &'t Relation, span: Span) -> Checked<Expr> {
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
                // An element of an event's list happened with its event; a line of the cart and an element of a trait never did.
                let timed = matches!(&self.scope, super::lower::Scope::Filter(outer) if outer.timed);
                let filter = self.filter(FilterScope { sources: vec![scope], lenient: false, timed }, filter)?;
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
                if let Err(error) = Pattern::new(pattern) {
                    let help = "patterns are found in linear time: no back-references, no look-around";
                    return self.fail_help(Code::E14, relation.span, format!("this pattern cannot be used: {error}"), help);
                }
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
        never::constant(self, &left, rel, &right_term, span);
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
        self.ends_a_month(to, span);
        Ok(Expr::TimeIn { of: left, window: TimeWindow::Past(Window::Dates { from, to: Some(to) }) })
    }

    fn time_in(&mut self, left: Term, ty: &Ty, what: &str, window: &'t TreeWindow) -> Checked<Expr> {
        let span = window.span;
        match ty {
            Ty::Instant | Ty::Date => {}
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
