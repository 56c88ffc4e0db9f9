//! Relations: what may follow a term.

use super::super::diagnostic::Code;
use super::super::lexer::Kind;
use super::super::source::Span;
use super::super::tree::{CompareOp, Contained, Expr, ExprKind, Literal, Relation, RelationKind, State, Term, Window, WindowKind};
use super::{Parsed, Parser};
use crate::limits::LITERAL_LIST_MAX;

impl Parser<'_> {
    /// A term and the relation that follows, if one does.
    pub(super) fn related(&mut self, of: Term) -> Parsed<Expr> {
        let start = of.span;
        let Some(relation) = self.relation()? else {
            return Ok(Expr { span: of.span, kind: Box::new(ExprKind::Bare(of)) });
        };
        Ok(Expr { kind: Box::new(ExprKind::Related { of, relation }), span: start.to(self.last_span()) })
    }

    fn relation(&mut self) -> Parsed<Option<Relation>> {
        let span = self.span();
        let kind = match self.kind() {
            Kind::Sign(sign) => {
                let op = match *sign {
                    "=" => CompareOp::Eq,
                    "!=" => CompareOp::Ne,
                    "<" => CompareOp::Lt,
                    "<=" => CompareOp::Le,
                    ">" => CompareOp::Gt,
                    ">=" => CompareOp::Ge,
                    _ => return Ok(None),
                };
                self.bump();
                let right = self.term()?;
                RelationKind::Compare { op, right, ignore_case: self.ignoring_case()? }
            }
            // Stages follow each other without separator, and a stage may have any name.
            Kind::Word if matches!(self.word(1), "when" | "otherwise") => return Ok(None),
            Kind::Word => match self.worded_relation()? {
                Some(kind) => kind,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(Some(Relation { kind, span: span.to(self.last_span()) }))
    }

    fn worded_relation(&mut self) -> Parsed<Option<RelationKind>> {
        let span = self.span();
        let window = |p: &Self, kind| RelationKind::Time(Window { kind, span: span.to(p.last_span()) });
        Ok(Some(match self.word(0) {
            "between" => {
                self.bump();
                self.between_relation(span)?
            }
            "not" if self.word(1) == "in" && self.is_sign_at(2, "[") => {
                self.bump();
                self.bump();
                let values = self.literals()?;
                RelationKind::In { negated: true, values, ignore_case: self.ignoring_case()? }
            }
            "in" => match self.word(1) {
                "last" | "next" | "this" => {
                    let kind = self.in_window(false)?;
                    window(self, kind)
                }
                "top" | "bottom" => {
                    self.bump();
                    let top = self.is_word("top");
                    self.bump();
                    let Kind::Percent(millionths) = *self.kind() else {
                        return self.expected("a percentage", Some("for example `in top 10%`"));
                    };
                    self.bump();
                    RelationKind::Rank { top, millionths }
                }
                _ if self.is_sign_at(1, "[") => {
                    self.bump();
                    let values = self.literals()?;
                    RelationKind::In { negated: false, values, ignore_case: self.ignoring_case()? }
                }
                _ => {
                    self.bump();
                    let help = "`in [\"SE\", \"NO\"]`, `in 09:00..17:00`, `in last 7d`, `in next 7d`, `in this month`, `in top 10%`";
                    if !self.literal_starts() {
                        return self.expected("`[`, a range or a time after `in`", Some(help));
                    }
                    let from = self.literal()?;
                    if !self.is_sign("..") {
                        return self.expected("`..` and the end of the range", Some(help));
                    }
                    self.bump();
                    RelationKind::HalfOpen(from, self.literal()?)
                }
            },
            "at" if self.word(1) == "least" => {
                let kind = self.older()?;
                window(self, kind)
            }
            "since" => {
                self.bump();
                let day = self.day()?;
                window(self, WindowKind::SinceDay(day))
            }
            "anniversary" => {
                self.bump();
                self.expect_words(&["in", "next"])?;
                RelationKind::Anniversary(self.duration()?)
            }
            "contains" => {
                self.bump();
                let what = match (self.word(0), self.is_sign_at(1, "[")) {
                    ("any", true) => {
                        self.bump();
                        Contained::Any(self.literals()?)
                    }
                    ("all", true) => {
                        self.bump();
                        Contained::All(self.literals()?)
                    }
                    _ => Contained::One(self.term()?),
                };
                RelationKind::Contains { what, ignore_case: self.ignoring_case()? }
            }
            "has" => {
                self.bump();
                RelationKind::Has(self.filter()?)
            }
            word @ ("starts" | "ends") => {
                self.bump();
                self.expect_word("with")?;
                let (text, _) = self.string("a text")?;
                let ignore_case = self.ignoring_case()?;
                if word == "starts" { RelationKind::StartsWith { text, ignore_case } } else { RelationKind::EndsWith { text, ignore_case } }
            }
            "matches" => {
                self.bump();
                let Kind::Pattern(pattern) = self.kind() else {
                    return self.expected("a pattern", Some("a pattern stands between slashes: `/^[a-z]+@/`"));
                };
                let pattern = pattern.clone();
                self.bump();
                RelationKind::Matches(pattern)
            }
            "within" => {
                self.bump();
                let Kind::Distance(metres) = *self.kind() else {
                    return self.expected("a distance", Some("for example `within 25km of geo(59.334, 18.063)`"));
                };
                self.bump();
                self.expect_words(&["of", "geo"])?;
                self.expect_sign("(")?;
                let lat = self.coordinate()?;
                self.expect_sign(",")?;
                let lon = self.coordinate()?;
                self.expect_sign(")")?;
                RelationKind::Near { metres, lat, lon }
            }
            "is" => {
                let is = self.span();
                self.bump();
                let negated = self.take_word("not");
                let what = match self.word(0) {
                    "empty" => State::Empty,
                    "known" => State::Known,
                    "unknown" => State::Unknown,
                    _ => {
                        let (words, sign) = if negated { ("is not", "!=") } else { ("is", "=") };
                        let help = format!("to compare with a value use `{sign}`");
                        let (at, value) = (is.to(self.last_span()), self.literal_starts());
                        let stop = self.expected(&format!("`empty`, `known` or `unknown` after `{words}`"), Some(&help));
                        if value {
                            self.report.fix(at, sign);
                        }
                        return stop;
                    }
                };
                self.bump();
                RelationKind::Is { negated, what }
            }
            _ => return Ok(None),
        }))
    }

    /// After `between`: values, ages or days.
    fn between_relation(&mut self, span: Span) -> Parsed<RelationKind> {
        let low = self.term()?;
        self.expect_word("and")?;
        let high = self.term()?;
        if !self.is_word("ago") {
            return Ok(RelationKind::Between(low, high));
        }
        self.bump();
        let span = span.to(self.last_span());
        match (self.term_as_duration(low), self.term_as_duration(high)) {
            (Ok(from), Ok(to)) => Ok(RelationKind::Time(Window { kind: WindowKind::Between(from, to), span })),
            (Err(at), _) | (_, Err(at)) => self.error(
                Code::E01,
                at,
                "expected a duration in `between .. and .. ago`".into(),
                Some("for example `between 30d and 90d ago`"),
            ),
        }
    }

    fn ignoring_case(&mut self) -> Parsed<bool> {
        if !self.is_word("ignoring") || self.word(1) != "case" {
            return Ok(false);
        }
        self.bump();
        self.bump();
        Ok(true)
    }

    /// `[ literal, .. ]`.
    pub(super) fn literals(&mut self) -> Parsed<Vec<Literal>> {
        let span = self.span();
        self.expect_sign("[")?;
        let mut values = vec![self.literal()?];
        while self.take_sign(",") {
            values.push(self.literal()?);
        }
        self.expect_sign("]")?;
        if values.len() > LITERAL_LIST_MAX {
            let message = format!("a list has {} values, more than {LITERAL_LIST_MAX}", values.len());
            return self.error(Code::E14, span, message, Some("put the value on the event or the customer, or use a `list`"));
        }
        Ok(values)
    }
}
