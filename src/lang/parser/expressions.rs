//! Conditions: `and`, `or`, `not`, quantifiers, relations, sequences, selectors and filters.

use super::super::diagnostic::Code;
use super::super::lexer::Kind;
use super::super::source::Span;
use super::super::tree::{Expr, ExprKind, Filter, Name, Quantifier, Selector, Single, Step, Term, TermKind, Which};
use super::{Mark, Parsed, Parser, RESERVED};

const CONDITION_HELP: &str = "for example `any login in last 7d`, `customer.country = \"SE\"`, `in segment vip`";

/// The operands that `word` joins without another word between, where there are several: `words[i]` stands after operand i.
fn runs(operands: &[Expr], words: &[&str], word: &str) -> Vec<Span> {
    let mut runs = Vec::new();
    let mut from = 0;
    for i in 0..operands.len() {
        if words.get(i) == Some(&word) {
            continue;
        }
        if i > from {
            runs.push(operands[from].span.to(operands[i].span));
        }
        from = i + 1;
    }
    runs
}

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        self.nested(Self::chain)
    }

    /// `a and b and c`, or the same with `or`.
    fn chain(&mut self) -> Parsed<Expr> {
        let first = self.unary()?;
        let word = self.word(0);
        if !matches!(word, "and" | "or") {
            return Ok(first);
        }
        let mut operands = vec![first];
        let mut words = Vec::new();
        let mut mixed = None;
        while matches!(self.word(0), "and" | "or") {
            words.push(self.word(0));
            if self.word(0) != word && mixed.is_none() {
                self.report.help(
                    Code::E05,
                    self.span(),
                    "`and` and `or` are mixed without parentheses",
                    "write `a and (b or c)` or `(a and b) or c`, whichever is meant",
                );
                mixed = Some(self.report.latest());
            }
            self.mark(Mark::Joint);
            self.bump();
            let operand = self.unary()?;
            if let ExprKind::HeldFor(inner, _) = &*operand.kind {
                let at = Span { start: inner.span.end, ..operand.span };
                self.ambiguous_dwell(
                    at,
                    &format!("`a {word} b for at least D`"),
                    &format!("`a {word} (b for at least D)` or `(a {word} b) for at least D`"),
                );
                let latest = self.report.latest();
                self.report.fix_parentheses(latest, &[operand.span]);
                self.report.fix_parentheses(latest, &[operands[0].span.to(inner.span)]);
            }
            operands.push(operand);
        }
        if let Some(mixed) = mixed {
            for tighter in ["and", "or"] {
                self.report.fix_parentheses(mixed, &runs(&operands, &words, tighter));
            }
        }
        let span = operands[0].span.to(self.last_span());
        Ok(Expr { kind: Box::new(if word == "and" { ExprKind::And(operands) } else { ExprKind::Or(operands) }), span })
    }

    fn ambiguous_dwell(&mut self, span: Span, form: &str, ways: &str) {
        // The span starts with the blank before `for`.
        let blank = self.text[span.start as usize..span.end as usize].find("for").unwrap_or(0) as u32;
        let span = Span { start: span.start + blank, ..span };
        self.report.help(Code::E06, span, format!("{form} can be read in two ways"), format!("write {ways}, whichever is meant"));
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let span = self.span();
        if self.is_word("not") && !self.word_is_property() {
            self.bump();
            let inner = self.nested(Self::unary)?;
            if let ExprKind::HeldFor(held, _) = &*inner.kind {
                let at = Span { start: held.span.end, ..inner.span };
                let denied = span.to(held.span);
                self.ambiguous_dwell(at, "`not a for at least D`", "`not (a for at least D)` or `(not a) for at least D`");
                let latest = self.report.latest();
                self.report.fix_parentheses(latest, &[inner.span]);
                // Behind `and` the second reading needs parentheses of its own, lest it be asked again how far `for` reaches.
                let insert = |at: u32, text: &str| (Span { start: at, end: at, ..denied }, text.to_string());
                if self.follows_a_joint(span) {
                    let edits = vec![insert(span.start, "(("), insert(held.span.end, ")"), insert(inner.span.end, ")")];
                    self.report.fix_of(latest, edits);
                } else {
                    self.report.fix_parentheses(latest, &[denied]);
                }
            }
            return Ok(Expr { kind: Box::new(ExprKind::Not(inner)), span: span.to(self.last_span()) });
        }
        let depth = self.depth;
        // Not from `atom`, so that nesting costs only small frames.
        let mut expr = if self.is_sign("(") { self.parenthesised()? } else { self.atom()? };
        while self.is_word("for") {
            self.bump();
            self.expect_words(&["at", "least"])?;
            let duration = self.duration()?;
            expr = Expr { kind: Box::new(ExprKind::HeldFor(expr, duration)), span: span.to(self.last_span()) };
            // Each `for` nests the one before: the bound on depth holds for them too.
            self.depth += 1;
            if self.is_word("for") {
                self.nested(|_| Ok(()))?;
            }
        }
        self.depth = depth;
        Ok(expr)
    }

    /// Whether the token before the one at `span` is `and` or `or`.
    fn follows_a_joint(&self, span: Span) -> bool {
        let here = self.tokens.partition_point(|t| t.span.start < span.start);
        here > 0 && matches!(self.text_of(&self.tokens[here - 1]), "and" | "or")
    }

    /// In a filter any word may be a property: it is one where something follows that only a property can have behind it.
    fn word_is_property(&self) -> bool {
        if !self.in_filter {
            return false;
        }
        match &self.token(1).kind {
            Kind::Sign(sign) => !matches!(*sign, "(" | "-"),
            Kind::Word => {
                matches!(self.word(1), "in" | "is" | "between" | "contains" | "has" | "starts" | "ends" | "matches" | "and" | "or")
            }
            _ => false,
        }
    }

    fn atom(&mut self) -> Parsed<Expr> {
        let span = self.span();
        if self.item_starts() {
            return self.expected("a condition", Some(CONDITION_HELP));
        }
        let property = self.word_is_property();
        let word = if property { "" } else { self.word(0) };
        let opens = self.is_sign_at(1, "(");
        let kind = match word {
            "any" | "no" => {
                self.bump();
                self.quantified(if word == "any" { Quantifier::Any } else { Quantifier::No })?
            }
            "at" => {
                self.bump();
                let least = match self.word(0) {
                    "least" => true,
                    "most" => false,
                    _ => return self.expected("`least` or `most` after `at`", None),
                };
                self.bump();
                if matches!(self.kind(), Kind::Duration(_)) {
                    let help = Some("an age belongs to an instant: `cart.changed_at at least 30m ago`, `last(login) at least 30d ago`");
                    return self.expected("a whole number", help);
                }
                let n = self.integer("a whole number")?;
                self.quantified(if least { Quantifier::AtLeast(n) } else { Quantifier::AtMost(n) })?
            }
            "exactly" => {
                self.bump();
                let n = self.integer("a whole number")?;
                self.quantified(Quantifier::Exactly(n))?
            }
            "first" | "last" if opens => return self.of_event(),
            "sequence" if opens => self.sequence()?,
            "everyone" if !self.in_filter => {
                self.bump();
                ExprKind::Everyone
            }
            "in" if matches!(self.word(1), "segment" | "list") => {
                self.bump();
                let segment = self.is_word("segment");
                self.bump();
                if segment {
                    ExprKind::InSegment(self.name("the name of a segment")?)
                } else {
                    ExprKind::InList(self.name("the name of a list")?)
                }
            }
            "entered" | "left" if self.word(1) == "segment" => {
                self.bump();
                self.bump();
                let segment = self.name("the name of a segment")?;
                ExprKind::Crossed { entered: word == "entered", segment, window: self.window()? }
            }
            "consent" if self.word(1) == "to" => {
                self.bump();
                self.bump();
                ExprKind::Consent(self.name("the name of a purpose")?)
            }
            _ if word.is_empty() && !property && !self.term_starts() => return self.expected("a condition", Some(CONDITION_HELP)),
            _ if RESERVED.contains(&word) && !matches!(word, "true" | "false" | "customer" | "cart" | "local") && !self.in_filter => {
                return self.expected("a condition", Some(CONDITION_HELP));
            }
            _ => {
                let term = self.term()?;
                return self.related(term);
            }
        };
        Ok(Expr { kind: Box::new(kind), span: span.to(self.last_span()) })
    }

    fn term_starts(&self) -> bool {
        match self.kind() {
            Kind::Sign(sign) => matches!(*sign, "-" | "("),
            Kind::Currency | Kind::Pattern(_) | Kind::Bad | Kind::End => false,
            _ => true,
        }
    }

    /// `( condition )`, or a term that starts with a parenthesis.
    fn parenthesised(&mut self) -> Parsed<Expr> {
        let span = self.span();
        self.bump();
        let inner = self.expression()?;
        self.expect_sign(")")?;
        let span = span.to(self.last_span());
        match *inner.kind {
            ExprKind::Bare(term) => self.related_from(Term { kind: term.kind, span }),
            kind => Ok(Expr { kind: Box::new(ExprKind::Paren(Expr { kind: Box::new(kind), span: inner.span })), span }),
        }
    }

    /// Goes on after the first value of a term that a relation may follow.
    fn related_from(&mut self, first: Term) -> Parsed<Expr> {
        let term = self.term_from(first)?;
        self.related(term)
    }

    fn quantified(&mut self, quantifier: Quantifier) -> Parsed<ExprKind> {
        let of = self.selector()?;
        let per = self.per()?;
        Ok(ExprKind::Quantified { quantifier, of, per, range: self.range()? })
    }

    pub(super) fn per(&mut self) -> Parsed<Option<Vec<Name>>> {
        if !self.take_word("per") {
            return Ok(None);
        }
        Ok(Some(self.path("a property after `per`")?))
    }

    /// `first(x)` or `last(x)`: with a window a condition, with `.` a term.
    fn of_event(&mut self) -> Parsed<Expr> {
        let span = self.span();
        let which = if self.is_word("first") { Which::First } else { Which::Last };
        self.bump();
        self.expect_sign("(")?;
        let of = self.nested(Self::selector)?;
        self.expect_sign(")")?;
        if self.take_sign(".") {
            let name = self.name("a property, or `at`, after `.`")?;
            let property = self.path_after(name)?;
            let term = Term { kind: TermKind::OfEvent { which, of, property }, span: span.to(self.last_span()) };
            let term = self.term_from(term)?;
            return self.related(term);
        }
        if matches!(self.kind(), Kind::Sign(_)) || self.is_end() {
            let help = "`last(x)` is an event: ask for its age, `last(x) in last 7d`, or for a property, `last(x).price`";
            return self.expected("a time window, or `.` and a property", Some(help));
        }
        let window = self.window()?;
        Ok(Expr { kind: Box::new(ExprKind::EventIn { which, of, window }), span: span.to(self.last_span()) })
    }

    fn sequence(&mut self) -> Parsed<ExprKind> {
        self.bump();
        self.bump();
        let mut steps = vec![self.step(false)?];
        while self.is_word("then") {
            self.mark(Mark::Joint);
            self.bump();
            let absent = self.take_word("no");
            steps.push(self.step(absent)?);
        }
        let mut all_within = None;
        if self.take_word("all") {
            self.expect_word("within")?;
            all_within = Some(self.duration()?);
        }
        if !self.is_sign(")") {
            return self.expected("`then`, `within`, `at least`, `without`, `all within` or `)`", None);
        }
        self.bump();
        if steps.len() < 2 {
            let help = Some("for example `sequence(product_viewed then add_to_cart within 10m) in last 24h`");
            return self.error(Code::E01, self.last_span(), "a sequence has at least two steps, joined by `then`".into(), help);
        }
        let per = self.per()?;
        Ok(ExprKind::Sequence { steps, all_within, per, window: self.window()? })
    }

    fn step(&mut self, absent: bool) -> Parsed<Step> {
        let span = self.span();
        let selector = self.nested(Self::selector)?;
        let mut step = Step { selector, absent, within: None, at_least_later: None, without: None, span };
        loop {
            let at = self.span();
            let twice = match self.word(0) {
                "within" => {
                    self.bump();
                    step.within.replace(self.duration()?).is_some()
                }
                "at" => {
                    self.expect_words(&["at", "least"])?;
                    let duration = self.duration()?;
                    self.expect_word("later")?;
                    step.at_least_later.replace(duration).is_some()
                }
                "without" => {
                    self.bump();
                    step.without.replace(self.nested(Self::selector)?).is_some()
                }
                _ => break,
            };
            if twice {
                return self.error(Code::E12, at, "a step has this limit twice".into(), None);
            }
        }
        step.span = span.to(self.last_span());
        Ok(step)
    }

    pub(super) fn selector(&mut self) -> Parsed<Selector> {
        let span = self.span();
        let (mut singles, mut filter) = (Vec::new(), None);
        if self.take_sign("(") {
            singles.push(self.single()?);
            while self.take_sign("|") {
                singles.push(self.single()?);
            }
            self.expect_sign(")")?;
            if self.is_sign("[") {
                filter = Some(self.filter()?);
            }
        } else {
            singles.push(self.single()?);
        }
        Ok(Selector { singles, filter, span: span.to(self.last_span()) })
    }

    fn single(&mut self) -> Parsed<Single> {
        let word = self.word(0);
        if RESERVED.contains(&word) && word != "activity" {
            let help = "write the name of an event type, `activity`, or several in parentheses: `(login | app_opened)`";
            return self.expected("an event", Some(help));
        }
        let name = self.name("an event")?;
        let filter = if self.is_sign("[") { Some(self.filter()?) } else { None };
        Ok(Single { name, filter })
    }

    pub(super) fn filter(&mut self) -> Parsed<Filter> {
        self.mark(Mark::Filter);
        self.expect_sign("[")?;
        let outer = std::mem::replace(&mut self.in_filter, true);
        let mut conditions = vec![self.expression()?];
        while self.take_sign(",") {
            conditions.push(self.expression()?);
        }
        if !self.is_sign("]") {
            return self.expected("`,`, `and`, `or` or `]` in the filter", None);
        }
        self.bump();
        self.in_filter = outer;
        Ok(Filter { conditions })
    }
}
