//! Terms: literals, paths, arithmetic, aggregates, scores and the like.

use super::super::diagnostic::Code;
use super::super::lexer::Kind;
use super::super::source::Span;
use super::super::tree::{ArithmeticOp, Dur, Function, Literal, LiteralKind, Name, Term, TermKind, Which};
use super::{Parsed, Parser, RESERVED, RESERVED_BUILT_IN};
use crate::limits::EXPRESSION_NESTING_MAX;

const TERM_HELP: &str = "for example `500 EUR`, `customer.country`, `count(login) in last 7d`, `last(order_completed).total`";

impl Parser<'_> {
    pub(super) fn term(&mut self) -> Parsed<Term> {
        self.nested(|p| {
            let first = p.value()?;
            p.term_from(first)
        })
    }

    /// Goes on after the first value of a term.
    pub(super) fn term_from(&mut self, first: Term) -> Parsed<Term> {
        let mut left = self.factor_from(first)?;
        let mut operators = 0;
        while let Some(op) = self.operator([("+", ArithmeticOp::Add), ("-", ArithmeticOp::Sub)]) {
            let right = self.value()?;
            let right = self.factor_from(right)?;
            left = self.arithmetic(op, left, right, &mut operators)?;
        }
        Ok(left)
    }

    fn factor_from(&mut self, first: Term) -> Parsed<Term> {
        let mut left = first;
        let mut operators = 0;
        while let Some(op) = self.operator([("*", ArithmeticOp::Mul), ("/", ArithmeticOp::Div)]) {
            let right = self.value()?;
            left = self.arithmetic(op, left, right, &mut operators)?;
        }
        Ok(left)
    }

    fn operator(&mut self, known: [(&str, ArithmeticOp); 2]) -> Option<ArithmeticOp> {
        let op = known.iter().find(|(sign, _)| self.is_sign(sign)).map(|(_, op)| *op)?;
        self.bump();
        Some(op)
    }

    /// Joins two terms; a long row of operators nests to the left, so it is bounded like nesting.
    fn arithmetic(&mut self, op: ArithmeticOp, left: Term, right: Term, operators: &mut usize) -> Parsed<Term> {
        let span = left.span.to(right.span);
        *operators += 1;
        if *operators > EXPRESSION_NESTING_MAX {
            let message = format!("more than {EXPRESSION_NESTING_MAX} operators in a row");
            return self.error(Code::E14, right.span, message, None);
        }
        Ok(Term { kind: TermKind::Arithmetic { op, left: Box::new(left), right: Box::new(right) }, span })
    }

    fn value(&mut self) -> Parsed<Term> {
        let span = self.span();
        let word = self.word(0);
        if self.literal_starts() {
            let literal = self.literal()?;
            return Ok(Term { span: literal.span, kind: TermKind::Literal(literal) });
        }
        if self.take_sign("(") {
            let inner = self.term()?;
            self.expect_sign(")")?;
            return Ok(Term { kind: inner.kind, span: span.to(self.last_span()) });
        }
        let kind = if self.is_sign_at(1, "(") && !word.is_empty() {
            self.function(word, span)?
        } else if self.is_name_at(0) {
            self.check_head(word)?;
            TermKind::Path(self.path("a value")?)
        } else {
            return self.expected("a value", Some(TERM_HELP));
        };
        Ok(Term { kind, span: span.to(self.last_span()) })
    }

    /// Outside of a filter a reserved word starts no path.
    fn check_head(&mut self, word: &str) -> Parsed<()> {
        let built_in = matches!(word, "customer" | "cart" | "local");
        if self.in_filter || built_in {
            return Ok(());
        }
        if word == "key" {
            return self.error(Code::E01, self.span(), "`key` stands only in `emit`".into(), None);
        }
        if RESERVED.contains(&word) || RESERVED_BUILT_IN.contains(&word) {
            return self.expected("a value", Some(TERM_HELP));
        }
        Ok(())
    }

    /// `word(`: one of the functions.
    fn function(&mut self, word: &str, span: Span) -> Parsed<TermKind> {
        let function = match word {
            "count" => Some(Function::Count),
            "sum" => Some(Function::Sum),
            "avg" => Some(Function::Avg),
            "min" => Some(Function::Min),
            "max" => Some(Function::Max),
            "distinct" => Some(Function::Distinct),
            _ => None,
        };
        self.bump();
        self.bump();
        if let Some(function) = function {
            let of = self.nested(Self::selector)?;
            let property = if self.take_sign(".") { self.path("a property after `.`")? } else { Vec::new() };
            self.expect_sign(")")?;
            let per = self.per()?;
            let window = self.window()?;
            return Ok(TermKind::Aggregate { function, of, property, per, window });
        }
        let kind = match word {
            "first" | "last" => {
                let which = if word == "first" { Which::First } else { Which::Last };
                let of = self.nested(Self::selector)?;
                self.expect_sign(")")?;
                if !self.take_sign(".") {
                    return self.expected("`.` and a property", Some("for example `last(order_completed).total`, or `.at` for its time"));
                }
                return Ok(TermKind::OfEvent { which, of, property: self.path("a property, or `at`, after `.`")? });
            }
            "score" => TermKind::Score(self.name("the name of a score")?),
            "points" => TermKind::Points(self.name("the name of points")?),
            "stage" => TermKind::Stage(self.name("the name of stages")?),
            "bucket" => TermKind::Bucket(self.string("the salt of the bucket, as text")?.0),
            "ntile" => {
                let n = self.integer("the number of tiles")?;
                self.expect_sign(",")?;
                TermKind::Ntile(n, Box::new(self.term()?))
            }
            "band" => {
                let of = Box::new(self.term()?);
                self.expect_sign(",")?;
                TermKind::Band(of, self.literals()?)
            }
            "age" => TermKind::Age(Box::new(self.term()?)),
            "now" => {
                let help =
                    Some("time enters through windows and ages: `in last 7d`, `at least 30m ago`, `age(customer.signed_up_at) > 14d`");
                return self.error(Code::E01, span, "there is no `now()`".into(), help);
            }
            _ => {
                let known = [
                    "count", "sum", "avg", "min", "max", "distinct", "first", "last", "score", "points", "stage", "bucket", "ntile",
                    "band", "age",
                ];
                let meant = super::nearest(word, known);
                let help = match meant {
                    Some(meant) => format!("did you mean `{meant}(`?"),
                    None => format!("functions are {}", known.join(" ")),
                };
                let stop = self.error(Code::E02, span, format!("unknown function `{word}`"), Some(&help));
                if let Some(meant) = meant {
                    self.report.fix(span, meant);
                }
                return stop;
            }
        };
        self.expect_sign(")")?;
        Ok(kind)
    }

    pub(super) fn literal_starts(&self) -> bool {
        match self.kind() {
            Kind::Sign("-") => true,
            Kind::Word => matches!(self.word(0), "true" | "false") && !self.is_sign_at(1, "."),
            Kind::Quoted(_) | Kind::Currency | Kind::Pattern(_) | Kind::Sign(_) | Kind::Bad | Kind::End => false,
            _ => true,
        }
    }

    pub(super) fn literal(&mut self) -> Parsed<Literal> {
        let span = self.span();
        let negative = self.take_sign("-");
        let kind = match self.kind().clone() {
            Kind::Int(digits) | Kind::Number(digits) => {
                self.bump();
                let text = if negative { format!("-{digits}") } else { digits };
                let mut currency = None;
                if *self.kind() == Kind::Currency {
                    currency = Some(Name { text: self.text_of(self.token(0)).to_string(), quoted: false, span: self.span() });
                    self.bump();
                }
                return Ok(Literal { kind: LiteralKind::Number { text, currency }, span: span.to(self.last_span()) });
            }
            _ if negative => return self.expected("a number after `-`", None),
            Kind::Text(text) => LiteralKind::Text(text),
            Kind::Duration(ms) => LiteralKind::Duration(ms),
            Kind::Date(days) => LiteralKind::Date(days),
            Kind::Instant(instant) => LiteralKind::Instant(instant),
            Kind::Clock(ms) => LiteralKind::Clock(ms),
            Kind::Percent(millionths) => LiteralKind::Percent(millionths),
            Kind::Distance(_) => LiteralKind::Distance,
            Kind::Word if self.is_word("true") => LiteralKind::Bool(true),
            Kind::Word if self.is_word("false") => LiteralKind::Bool(false),
            _ => return self.expected("a literal", Some("for example `500 EUR`, `\"SE\"`, `30d`, `0.4` or `true`")),
        };
        self.bump();
        Ok(Literal { kind, span: span.to(self.last_span()) })
    }

    /// A term that may be a duration: a literal, or the name of a let. The place of what is neither.
    pub(super) fn term_as_duration(&self, term: Term) -> Result<Dur, Span> {
        match term.kind {
            TermKind::Literal(Literal { kind: LiteralKind::Duration(ms), span }) => Ok(Dur::Millis(ms, span)),
            TermKind::Path(mut path) if path.len() == 1 => path.pop().map(Dur::Name).ok_or(term.span),
            _ => Err(term.span),
        }
    }
}
