//! Terms: paths, aggregates, events' properties, arithmetic.

use super::super::definition::{Aggregate, ArithmeticOp, CartPath, EventRef, Expr, Path, Selector, Term, Which};
use super::super::diagnostic::Code;
use super::super::source::Span;
use super::super::supported::Form;
use super::super::tree::{
    ArithmeticOp as TreeOp, Function, Literal, LiteralKind, Name, Selector as TreeSelector, Term as TreeTerm, TermKind, Which as TreeWhich,
    Window as TreeWindow,
};
use super::Kind;
use super::lower::{Checked, Lower};
use super::selectors::{conjunction, path_span};
use super::types::{Ty, coerce};
use super::windows::PERIODS_MAX;
use crate::model::{Type, Value};
use crate::time::Millis;

/// Where a term stands, as far as it matters to it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// Compared as it is: an aggregate may be `per` a key.
    Compared,
    Inside,
}

impl<'t> Lower<'t, '_> {
    pub(super) fn term(&mut self, term: &'t TreeTerm) -> Checked<(Term, Ty)> {
        self.term_at(term, Place::Inside)
    }

    pub(super) fn term_at(&mut self, term: &'t TreeTerm, place: Place) -> Checked<(Term, Ty)> {
        self.node(term.span, |lower| lower.term_kind(&term.kind, term.span, place))
    }

    fn term_kind(&mut self, kind: &'t TermKind, span: Span, place: Place) -> Checked<(Term, Ty)> {
        if self.in_filter() && !matches!(kind, TermKind::Literal(_) | TermKind::Path(_) | TermKind::Arithmetic { .. }) {
            return self.fail_help(Code::E03, span, "a filter sees only the event itself", "compare outside of `[...]`");
        }
        match kind {
            TermKind::Literal(literal) => {
                let (value, ty) = self.literal(literal)?;
                Ok((Term::Literal(value), ty))
            }
            TermKind::Path(path) => self.path(path, place),
            TermKind::Arithmetic { op, left, right } => self.arithmetic(*op, left, right, span),
            TermKind::Aggregate { function, of, property, per, window } => {
                self.aggregate(*function, of, property, per.as_deref(), window, place)
            }
            TermKind::OfEvent { which, of, property } => self.of_event(*which, of, property),
            TermKind::Score(name) => {
                let index = self.reference(name, Kind::Score)?;
                Ok((Term::Score(index), Ty::Score))
            }
            TermKind::Points(name) => {
                let index = self.reference(name, Kind::Points)?;
                Ok((Term::Points(index), Ty::Decimal))
            }
            TermKind::Stage(name) => {
                let index = self.reference(name, Kind::Stages)?;
                Ok((Term::Stage(index), Ty::Words(self.world.stage_words(index))))
            }
            TermKind::Bucket(salt) => {
                self.gate(Form::Bucket, span);
                self.variable = true;
                Ok((Term::Bucket(salt.clone()), Ty::Share))
            }
            TermKind::Ntile(n, of) => {
                self.gate(Form::Ntile, span);
                self.everybody_flips(span);
                if !(2..=1_000).contains(n) {
                    return self.fail(Code::E14, span, format!("`ntile({n}, ..)`: the number of tiles is from 2 to 1000"));
                }
                let (of_term, ty) = self.term(of)?;
                if !ty.is_ordered() || ty.is_text() {
                    return self.fail(Code::E03, of.span, format!("`ntile` needs a number, money or an instant, this is {ty}"));
                }
                Ok((Term::Ntile { n: *n, of: Box::new(of_term) }, Ty::Int))
            }
            TermKind::Band(of, bounds) => self.band(of, bounds, span),
            TermKind::Age(of) => {
                self.gate(Form::Age, span);
                let (of_term, ty) = self.term(of)?;
                if !matches!(ty, Ty::Instant | Ty::Date) {
                    return self.fail(Code::E03, of.span, format!("`age` needs an instant or a date, this is {ty}"));
                }
                Ok((Term::Age(Box::new(of_term)), Ty::Duration))
            }
            TermKind::Key => {
                self.gate(Form::Key, span);
                Ok((Term::Key, Ty::Text))
            }
        }
    }

    /// Another definition, which has to be of a kind.
    pub(super) fn reference(&mut self, name: &Name, kind: Kind) -> Checked<crate::ids::DefinitionIndex> {
        self.variable = true;
        let Some(found) = self.world.definition(&name.text) else {
            let known: Vec<&str> = self.world.names_of(kind).collect();
            return self.unknown(kind.word(), name, &known, &format!("no {} has that name", kind.word()));
        };
        if found.kind != kind {
            let use_it = match found.kind {
                Kind::Segment => format!("`in segment {}`", name.text),
                Kind::Score => format!("`score({})`", name.text),
                Kind::Points => format!("`points({})`", name.text),
                Kind::Stages => format!("`stage({})`", name.text),
            };
            let message = format!("`{}` is no {} but {}", name.text, kind.word(), found.kind.word_with_article());
            return self.fail_help(Code::E02, name.span, message, format!("write {use_it}"));
        }
        self.references.push((found.index, name.span));
        match kind {
            Kind::Points => self.gate(Form::Points, name.span),
            Kind::Stages => self.gate(Form::Stages, name.span),
            Kind::Segment | Kind::Score => {}
        }
        Ok(found.index)
    }

    fn arithmetic(&mut self, op: TreeOp, left: &'t TreeTerm, right: &'t TreeTerm, span: Span) -> Checked<(Term, Ty)> {
        let lowered = (self.term(left), self.term(right));
        let ((left_term, l), (right_term, r)) = (lowered.0?, lowered.1?);
        if l == Ty::Score || r == Ty::Score {
            self.gate(Form::ScoreArithmetic, span);
        }
        let wrong = |lower: &mut Self, help: &str| {
            let word = match op {
                TreeOp::Add => "add",
                TreeOp::Sub => "subtract",
                TreeOp::Mul => "multiply",
                TreeOp::Div => "divide",
            };
            lower.fail_help(Code::E03, span, format!("cannot {word} {l} and {r}"), help.to_string())
        };
        let number = |l: &Ty, r: &Ty| match (l, r) {
            (Ty::Score, _) | (_, Ty::Score) => Ty::Score,
            (Ty::Int, Ty::Int) => Ty::Int,
            _ => Ty::Decimal,
        };
        let ty = match (op, &l, &r) {
            (TreeOp::Add | TreeOp::Sub | TreeOp::Mul, a, b) if a.is_number() && b.is_number() => number(a, b),
            (TreeOp::Div, a, b) if a.is_number() && b.is_number() => match number(a, b) {
                Ty::Int => Ty::Decimal,
                other => other,
            },
            (TreeOp::Add | TreeOp::Sub | TreeOp::Div, Ty::Money(a), Ty::Money(b)) => {
                if a.zip(*b).is_some_and(|(a, b)| a != b) {
                    let message = format!("{l} and {r} do not mix");
                    return self.fail_help(Code::E04, span, message, "there is no conversion between currencies");
                }
                if op == TreeOp::Div { Ty::Decimal } else { Ty::Money(a.or(*b).filter(|_| a.is_some() == b.is_some())) }
            }
            (TreeOp::Mul, Ty::Money(_), n) if n.is_number() => l.clone(),
            (TreeOp::Mul, n, Ty::Money(_)) if n.is_number() => r.clone(),
            (TreeOp::Div, Ty::Money(_), n) if n.is_number() => l.clone(),
            (TreeOp::Add | TreeOp::Sub, Ty::Money(_), n) | (TreeOp::Add | TreeOp::Sub, n, Ty::Money(_)) if n.is_number() => {
                return wrong(self, "an amount needs its currency: `500 EUR`");
            }
            (_, a, b) if [a, b].iter().any(|t| matches!(t, Ty::Instant | Ty::Date | Ty::Duration | Ty::Clock)) => {
                return wrong(self, "time is not computed with: ask for an age by `in last 7d` or `at least 30m ago`");
            }
            _ => return wrong(self, "arithmetic is for numbers and money"),
        };
        let op = match op {
            TreeOp::Add => ArithmeticOp::Add,
            TreeOp::Sub => ArithmeticOp::Sub,
            TreeOp::Mul => ArithmeticOp::Mul,
            TreeOp::Div => ArithmeticOp::Div,
        };
        Ok((Term::Arithmetic { op, left: Box::new(left_term), right: Box::new(right_term) }, ty))
    }

    fn aggregate(
        &mut self,
        function: Function,
        of: &'t TreeSelector,
        property: &'t [Name],
        per: Option<&'t [Name]>,
        window: &'t TreeWindow,
        place: Place,
    ) -> Checked<(Term, Ty)> {
        let selected = self.selector(of)?;
        let window = self.window(window, &selected.selector)?;
        let per = match per {
            Some(per) => {
                if place == Place::Inside {
                    let help = "compare it directly: `count(product_viewed) per product_id in last 2d >= 3`";
                    return self.fail_help(
                        Code::E09,
                        path_span(per),
                        "an aggregate `per` a key stands only directly in a comparison",
                        help,
                    );
                }
                Some(self.per(&selected, per)?)
            }
            None => None,
        };
        let lower_function = match function {
            Function::Count => Aggregate::Count,
            Function::Sum => Aggregate::Sum,
            Function::Avg => Aggregate::Avg,
            Function::Min => Aggregate::Min,
            Function::Max => Aggregate::Max,
            Function::Distinct => Aggregate::Distinct,
        };
        let word = function_word(lower_function);
        if property.is_empty() {
            if function != Function::Count {
                let help = format!("for example `{word}(order_completed.total) in last 90d`");
                return self.fail_help(Code::E01, of.span, format!("`{word}` needs a property"), help);
            }
            return Ok((Term::Aggregate { function: lower_function, of: selected.selector, property: None, per, window }, Ty::Int));
        }
        let model = self.property_of(&selected, property)?;
        let mut ty = Ty::of(&model);
        let span = path_span(property);
        let path: Vec<String> = property.iter().map(|n| n.text.clone()).collect();
        if matches!(ty, Ty::Money(_)) && !matches!(function, Function::Count | Function::Distinct) {
            let Some(currency) = self.fixed_currency(&selected, property) else {
                let help = "fix it in the filter: `[currency = \"EUR\"]`; there is no conversion";
                return self.fail_help(Code::E04, span, format!("`{word}` over money of more than one possible currency"), help);
            };
            ty = Ty::Money(Some(currency));
        }
        let ty = match function {
            Function::Count => {
                // `count(x.p)` counts the events that have p.
                let known = Expr::Known(Term::Path(Path::Property { path: path.clone(), ty: model }));
                let mut selector = selected.selector;
                for member in &mut selector.members {
                    member.filter = Some(conjunction(member.filter.take().into_iter().chain([known.clone()])));
                }
                selector.text = format!("{}[{} is known]", selector.text, path.join("."));
                return Ok((Term::Aggregate { function: lower_function, of: selector, property: None, per, window }, Ty::Int));
            }
            Function::Distinct if ty.is_scalar() => Ty::Int,
            Function::Sum if matches!(ty, Ty::Int | Ty::Decimal | Ty::Money(_)) => ty,
            Function::Avg if matches!(ty, Ty::Int | Ty::Decimal) => Ty::Decimal,
            Function::Avg if matches!(ty, Ty::Money(_)) => ty,
            Function::Min | Function::Max if matches!(ty, Ty::Int | Ty::Decimal | Ty::Money(_)) => ty,
            Function::Min | Function::Max if matches!(ty, Ty::Instant | Ty::Date | Ty::Duration) => {
                self.gate(Form::ExtremeOfTime, span);
                ty
            }
            _ => {
                let needs = if function == Function::Distinct { "values that can be told apart" } else { "a number or money" };
                return self.fail(Code::E03, span, format!("`{word}` needs {needs}, `{}` is {ty}", path.join(".")));
            }
        };
        Ok((Term::Aggregate { function: lower_function, of: selected.selector, property: Some(path), per, window }, ty))
    }

    /// The key of `per`: a property of every event, of a type whose values can be told apart.
    pub(super) fn per(&mut self, selected: &super::selectors::Selected, per: &'t [Name]) -> Checked<Vec<String>> {
        self.gate(Form::Per, path_span(per));
        self.keyed += 1;
        let ty = self.property_of(selected, per)?;
        if !matches!(ty, Type::Text | Type::Int | Type::Enum(_) | Type::Bool | Type::Date) {
            let message = format!("`per` needs a key, `{}` is {}", per[per.len() - 1].text, Ty::of(&ty));
            return self.fail_help(Code::E09, path_span(per), message, "a key is a string, an int, an enum, a bool or a date");
        }
        Ok(per.iter().map(|n| n.text.clone()).collect())
    }

    fn of_event(&mut self, which: TreeWhich, of: &'t TreeSelector, property: &'t [Name]) -> Checked<(Term, Ty)> {
        let selected = self.selector(of)?;
        let which = lower_which(which);
        if property.len() == 1 && property[0].text == "at" && !property[0].quoted {
            let ty = Type::Instant(crate::model::InstantFormat::Rfc3339);
            return Ok((Term::OfEvent { which, of: selected.selector, property: Vec::new(), ty }, Ty::Instant));
        }
        let model = self.property_of(&selected, property)?;
        let mut ty = Ty::of(&model);
        if matches!(ty, Ty::Money(None)) {
            ty = Ty::Money(self.fixed_currency(&selected, property));
        }
        let property = property.iter().map(|n| n.text.clone()).collect();
        Ok((Term::OfEvent { which, of: selected.selector, property, ty: model }, ty))
    }

    fn band(&mut self, of: &'t TreeTerm, bounds: &'t [Literal], span: Span) -> Checked<(Term, Ty)> {
        self.gate(Form::Band, span);
        let (of_term, ty) = self.term(of)?;
        if !ty.is_ordered() {
            return self.fail(Code::E03, of.span, format!("`band` needs values with an order, this is {ty}"));
        }
        let mut values: Vec<Value> = Vec::new();
        for bound in bounds {
            let value = self.literal_of(bound, &ty, "the banded value")?;
            if values.last().is_some_and(|before| super::types::order(before, &value) != Some(std::cmp::Ordering::Less)) {
                return self.fail(Code::E11, bound.span, "the bounds of `band` go from small to large");
            }
            values.push(value);
        }
        Ok((Term::Band { of: Box::new(of_term), bounds: values }, Ty::Int))
    }

    /// A term that has to be text: the argument of `contains` and the like may also be a literal of the element's type.
    pub(super) fn literal_term(&mut self, term: &'t TreeTerm, ty: &Ty, of: &str) -> Checked<Value> {
        let (value, own) = self.term(term)?;
        let Term::Literal(value) = value else {
            return self.fail(Code::E03, term.span, "expected a literal here");
        };
        self.fits(ty, &own, term.span, of)?;
        self.in_words(ty, &value, term.span)?;
        Ok(coerce(value, ty))
    }
}

/// What may be missing: a comparison with it is false, and the negation of that is true (W01).
pub(super) fn may_be_unknown(term: &Term) -> bool {
    match term {
        Term::Path(Path::Trait { .. } | Path::Cart(CartPath::ChangedAt)) | Term::OfEvent { .. } | Term::Key => true,
        Term::Aggregate { function, .. } => matches!(function, Aggregate::Avg | Aggregate::Min | Aggregate::Max),
        Term::Arithmetic { op, left, right } => *op == ArithmeticOp::Div || may_be_unknown(left) || may_be_unknown(right),
        Term::Ntile { of, .. } | Term::Band { of, .. } | Term::Age(of) => may_be_unknown(of),
        Term::Literal(_) | Term::Path(_) | Term::Score(_) | Term::Points(_) | Term::Stage(_) | Term::Bucket(_) => false,
    }
}

/// The events of a selector, sorted.
pub(super) fn events_of(selector: &Selector) -> Vec<EventRef> {
    let mut events: Vec<EventRef> = selector.members.iter().flat_map(|m| m.events.iter().copied()).collect();
    events.sort_unstable();
    events.dedup();
    events
}

pub(super) fn lower_which(which: TreeWhich) -> Which {
    match which {
        TreeWhich::First => Which::First,
        TreeWhich::Last => Which::Last,
    }
}

pub(super) fn function_word(function: Aggregate) -> &'static str {
    match function {
        Aggregate::Count => "count",
        Aggregate::Sum => "sum",
        Aggregate::Avg => "avg",
        Aggregate::Min => "min",
        Aggregate::Max => "max",
        Aggregate::Distinct => "distinct",
    }
}

/// `n of last m periods`, both in bounds.
pub(super) fn check_periods(lower: &mut Lower<'_, '_>, n: u32, m: u32, span: Span) -> Checked<()> {
    if n == 0 || n > m {
        let message = format!("`at least {n} of last {m}`: the first number is from 1 to the second");
        return lower.fail(Code::E11, span, message);
    }
    if m > PERIODS_MAX {
        return lower.fail(Code::E14, span, format!("more than {PERIODS_MAX} periods"));
    }
    Ok(())
}

/// The literal's own length of time, for `anniversary`, which takes zero.
pub(super) fn whole_days(ms: Millis) -> Option<u32> {
    (ms.0 % Millis::DAY.0 == 0).then_some((ms.0 / Millis::DAY.0) as u32)
}

/// Whether a literal is a date or an instant, so that `between` means days.
pub(super) fn is_day(term: &TreeTerm) -> Option<super::super::tree::Day> {
    use super::super::tree::{Day, DayKind};
    match &term.kind {
        TermKind::Literal(Literal { kind: LiteralKind::Date(days), .. }) => Some(Day { kind: DayKind::Date(*days) }),
        TermKind::Literal(Literal { kind: LiteralKind::Instant(instant), .. }) => Some(Day { kind: DayKind::Instant(*instant) }),
        _ => None,
    }
}
