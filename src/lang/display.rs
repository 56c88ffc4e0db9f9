//! Checked conditions and terms as text of the segment language: for reasons, warnings and explanations.
//!
//! The text says the same as the definition, with lets inlined, in the one form in which this module writes it:
//! `any product_viewed in last 7d`, `sum(order_completed.total) in last 90d >= 500 EUR`, `cart.changed_at at least 30m ago`.

use std::fmt::Write;

use super::definition::{
    Aggregate, ArithmeticOp, CartPath, Containment, DayBound, Direction, Expr, LocalPath, Path, Rel, Sequence, Term, TimeWindow, Unit,
    Which, Window, Workspace,
};
use crate::ids::{DefinitionIndex, ListIndex, PurposeIndex, TraitIndex};
use crate::model::{Decimal, Money, Value};
use crate::time::Millis;

/// Names of what conditions refer to by index.
pub trait Names {
    fn customer_trait(&self, index: TraitIndex) -> &str;
    fn purpose(&self, index: PurposeIndex) -> &str;
    fn list(&self, index: ListIndex) -> &str;
    fn definition(&self, index: DefinitionIndex) -> &str;
}

impl Names for Workspace {
    fn customer_trait(&self, index: TraitIndex) -> &str {
        &self.catalogue.traits[index.at()].name
    }
    fn purpose(&self, index: PurposeIndex) -> &str {
        &self.catalogue.purposes[index.at()].name
    }
    fn list(&self, index: ListIndex) -> &str {
        &self.catalogue.lists[index.at()]
    }
    fn definition(&self, index: DefinitionIndex) -> &str {
        &self.definitions[index.at()].name
    }
}

/// A filter sees only the event, so it refers to nothing by index.
struct Nothing;

impl Names for Nothing {
    fn customer_trait(&self, _: TraitIndex) -> &str {
        "?"
    }
    fn purpose(&self, _: PurposeIndex) -> &str {
        "?"
    }
    fn list(&self, _: ListIndex) -> &str {
        "?"
    }
    fn definition(&self, _: DefinitionIndex) -> &str {
        "?"
    }
}

/// A condition as text.
pub fn condition(names: &impl Names, expr: &Expr) -> String {
    let mut text = Text { names, out: String::new() };
    text.condition(expr);
    text.out
}

/// A term as text.
pub fn term(names: &impl Names, of: &Term) -> String {
    let mut text = Text { names, out: String::new() };
    text.term(of, 0);
    text.out
}

/// A window as text: `in last 7d`.
pub fn window(of: &Window) -> String {
    let mut text = Text { names: &Nothing, out: String::new() };
    text.window(of);
    text.out
}

/// A literal as it is written beside a term: `09:00` beside `local.time`.
pub fn literal(value: &Value, beside: &Term) -> String {
    let mut text = Text { names: &Nothing, out: String::new() };
    text.value(value, spelling(beside));
    text.out
}

/// The inside of `[...]`.
pub(crate) fn filter(expr: &Expr) -> String {
    match expr {
        Expr::And(of) => of.iter().map(|e| condition(&Nothing, e)).collect::<Vec<_>>().join(", "),
        other => condition(&Nothing, other),
    }
}

/// A name, in back-quotes where it is not a plain word.
pub(crate) fn name(text: &str) -> String {
    let plain =
        text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') && !text.starts_with(|c: char| c.is_ascii_digit());
    if plain && !super::parser::is_reserved(text) { text.to_string() } else { format!("`{text}`") }
}

/// How a literal is read: some values have several spellings.
#[derive(Clone, Copy, PartialEq)]
enum Spelling {
    Plain,
    Clock,
    Share,
}

struct Text<'a, N> {
    names: &'a N,
    out: String,
}

impl<N: Names> Text<'_, N> {
    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn condition(&mut self, expr: &Expr) {
        match expr {
            Expr::And(of) => self.chain(of, " and "),
            Expr::Or(of) => self.chain(of, " or "),
            Expr::Not(of) => self.negation(of),
            Expr::Everyone => self.push("everyone"),
            Expr::Compare { left, rel, right, ignore_case } => self.compare(left, *rel, right, *ignore_case, false),
            Expr::Between { of, low, high } => {
                self.term(of, 0);
                self.push(" between ");
                self.side(low, of);
                self.push(" and ");
                self.side(high, of);
            }
            Expr::Member { of, values, ignore_case } => self.member(of, values, *ignore_case, false),
            Expr::HalfOpen { of, from, to } => {
                let spelling = spelling(of);
                self.term(of, 0);
                self.push(" in ");
                self.value(from, spelling);
                self.push("..");
                self.value(to, spelling);
            }
            Expr::HeldFor { of, at_least } => {
                self.operand(of, matches!(**of, Expr::And(_) | Expr::Or(_) | Expr::Not(_)));
                let _ = write!(self.out, " for at least {at_least}");
            }
            Expr::EventIn { which, of, window } => {
                let _ = write!(self.out, "{}({}) ", which_word(*which), of.text);
                self.window(window);
            }
            Expr::NofM { of, rel, count, n, m, unit } => {
                self.quantifier(*rel, i64::from(*count), &of.text);
                let _ = write!(self.out, " {} at least {n} of last {m} {}", if *unit == Unit::Day { "on" } else { "in" }, plural(*unit));
            }
            Expr::Sequence(sequence) => self.sequence(sequence),
            Expr::InSegment(index) => {
                let text = format!("in segment {}", name(self.names.definition(*index)));
                self.push(&text);
            }
            Expr::InList(index) => {
                let text = format!("in list {}", name(self.names.list(*index)));
                self.push(&text);
            }
            Expr::Crossed { direction, segment, window } => {
                let word = if *direction == Direction::Entered { "entered" } else { "left" };
                let text = format!("{word} segment {} ", name(self.names.definition(*segment)));
                self.push(&text);
                self.window(window);
            }
            Expr::Consent(index) => {
                let text = format!("consent to {}", name(self.names.purpose(*index)));
                self.push(&text);
            }
            Expr::TimeIn { of, window } => {
                self.term(of, 0);
                self.push(" ");
                self.time_window(window);
            }
            Expr::Anniversary { of, days } => {
                self.term(of, 0);
                let _ = write!(self.out, " anniversary in next {days}d");
            }
            Expr::Contains { of, what, ignore_case } => {
                self.term(of, 0);
                match what {
                    Containment::One(value) => {
                        self.push(" contains ");
                        self.value(value, Spelling::Plain);
                    }
                    Containment::Any(values) => {
                        self.push(" contains any ");
                        self.values(values, Spelling::Plain);
                    }
                    Containment::All(values) => {
                        self.push(" contains all ");
                        self.values(values, Spelling::Plain);
                    }
                }
                self.case(*ignore_case);
            }
            Expr::Has { of, filter: inner } => {
                self.term(of, 0);
                let _ = write!(self.out, " has [{}]", filter(inner));
            }
            Expr::StartsWith { of, prefix, ignore_case } => self.with(of, " starts with ", prefix, *ignore_case),
            Expr::EndsWith { of, suffix, ignore_case } => self.with(of, " ends with ", suffix, *ignore_case),
            Expr::Matches { of, pattern } => {
                self.term(of, 0);
                let _ = write!(self.out, " matches /{}/", pattern.replace('/', "\\/"));
            }
            Expr::Near { of, metres, lat, lon } => {
                self.term(of, 0);
                let _ = write!(self.out, " within {}km of geo({lat}, {lon})", metres / 1_000.0);
            }
            Expr::Empty(of) => {
                self.term(of, 0);
                self.push(" is empty");
            }
            Expr::Known(of) => {
                self.term(of, 0);
                self.push(" is known");
            }
            Expr::Rank { of, top, millionths } => {
                self.term(of, 0);
                let _ = write!(self.out, " in {} {}", if *top { "top" } else { "bottom" }, share(i64::from(*millionths)));
            }
        }
    }

    fn chain(&mut self, of: &[Expr], joint: &str) {
        for (i, operand) in of.iter().enumerate() {
            if i > 0 {
                self.push(joint);
            }
            self.operand(operand, matches!(operand, Expr::And(_) | Expr::Or(_) | Expr::HeldFor { .. }));
        }
    }

    fn operand(&mut self, expr: &Expr, parentheses: bool) {
        if parentheses {
            self.push("(");
        }
        self.condition(expr);
        if parentheses {
            self.push(")");
        }
    }

    fn negation(&mut self, of: &Expr) {
        match of {
            Expr::Compare { left, rel: Rel::Eq, right, ignore_case } if !matches!(right, Term::Literal(Value::Bool(true))) => {
                self.compare(left, Rel::Eq, right, *ignore_case, true);
            }
            Expr::Member { of, values, ignore_case } => self.member(of, values, *ignore_case, true),
            Expr::Empty(of) => {
                self.term(of, 0);
                self.push(" is not empty");
            }
            Expr::Known(of) => {
                self.term(of, 0);
                self.push(" is unknown");
            }
            other => {
                self.push("not ");
                self.operand(other, matches!(other, Expr::And(_) | Expr::Or(_) | Expr::HeldFor { .. }));
            }
        }
    }

    fn compare(&mut self, left: &Term, rel: Rel, right: &Term, ignore_case: bool, negated: bool) {
        if let (Term::Aggregate { function: Aggregate::Count, of, property: None, per, window }, Term::Literal(Value::Int(n)), false) =
            (left, right, negated)
            && *n >= 0
            && matches!(rel, Rel::Eq | Rel::Ge | Rel::Le)
        {
            self.quantifier(rel, *n, &of.text);
            self.per(per);
            self.push(" ");
            return self.window(window);
        }
        if let (Rel::Eq, Term::Literal(Value::Bool(true)), false) = (rel, right, negated) {
            return self.term(left, 0);
        }
        self.term(left, 0);
        let sign = match rel {
            Rel::Eq if negated => " != ",
            Rel::Eq => " = ",
            Rel::Lt => " < ",
            Rel::Le => " <= ",
            Rel::Gt => " > ",
            Rel::Ge => " >= ",
        };
        self.push(sign);
        self.side(right, left);
        self.case(ignore_case);
    }

    /// The right side of a comparison: a literal is spelled as the left side asks.
    fn side(&mut self, right: &Term, left: &Term) {
        match right {
            Term::Literal(value) => self.value(value, spelling(left)),
            other => self.term(other, 0),
        }
    }

    fn quantifier(&mut self, rel: Rel, n: i64, selector: &str) {
        let _ = match (rel, n) {
            (Rel::Ge, 1) => write!(self.out, "any {selector}"),
            (Rel::Eq, 0) => write!(self.out, "no {selector}"),
            (Rel::Ge, n) => write!(self.out, "at least {n} {selector}"),
            (Rel::Le, n) => write!(self.out, "at most {n} {selector}"),
            (_, n) => write!(self.out, "exactly {n} {selector}"),
        };
    }

    fn per(&mut self, per: &Option<Vec<String>>) {
        if let Some(path) = per {
            let _ = write!(self.out, " per {}", path_text(path));
        }
    }

    fn member(&mut self, of: &Term, values: &[Value], ignore_case: bool, negated: bool) {
        self.term(of, 0);
        self.push(if negated { " not in " } else { " in " });
        self.values(values, spelling(of));
        self.case(ignore_case);
    }

    fn with(&mut self, of: &Term, words: &str, text: &str, ignore_case: bool) {
        self.term(of, 0);
        self.push(words);
        self.text(text);
        self.case(ignore_case);
    }

    fn case(&mut self, ignore_case: bool) {
        if ignore_case {
            self.push(" ignoring case");
        }
    }

    fn sequence(&mut self, sequence: &Sequence) {
        self.push("sequence(");
        for (i, step) in sequence.steps.iter().enumerate() {
            if i > 0 {
                self.push(if step.absent { " then no " } else { " then " });
            }
            self.push(&step.selector.text);
            if let Some(within) = step.within {
                let _ = write!(self.out, " within {within}");
            }
            if let Some(later) = step.at_least_later {
                let _ = write!(self.out, " at least {later} later");
            }
            if let Some(without) = &step.without {
                let _ = write!(self.out, " without {}", without.text);
            }
        }
        if let Some(all) = sequence.all_within {
            let _ = write!(self.out, " all within {all}");
        }
        self.push(")");
        self.per(&sequence.per);
        self.push(" ");
        self.window(&sequence.window);
    }

    fn window(&mut self, window: &Window) {
        let _ = match window {
            Window::Ever => write!(self.out, "ever"),
            Window::Last(d) => write!(self.out, "in last {d}"),
            Window::Older(d) => write!(self.out, "at least {d} ago"),
            Window::Between { from, to } => {
                write!(self.out, "between {} and {to} ago", if *from == Millis(0) { "0d".into() } else { from.to_string() })
            }
            Window::This(unit) => write!(self.out, "in this {}", singular(*unit)),
            Window::Full { n, unit } => write!(self.out, "in last {n} full {}", plural(*unit)),
            Window::SinceLast(of) => write!(self.out, "since last {}", of.text),
            Window::Dates { from, to: None } => write!(self.out, "since {}", day(*from)),
            Window::Dates { from, to: Some(to) } => write!(self.out, "between {} and {}", day(*from), day(*to)),
        };
    }

    fn time_window(&mut self, window: &TimeWindow) {
        let _ = match window {
            TimeWindow::Past(window) => return self.window(window),
            TimeWindow::Next(d) => write!(self.out, "in next {d}"),
            TimeWindow::NextFull { n, unit } => write!(self.out, "in next {n} full {}", plural(*unit)),
        };
    }

    /// `level`: 0 anywhere, 1 beside `+` and `-`, 2 beside `*` and `/`.
    fn term(&mut self, term: &Term, level: u8) {
        match term {
            Term::Literal(value) => self.value(value, Spelling::Plain),
            Term::Path(path) => self.path(path),
            Term::Aggregate { function, of, property, per, window } => {
                let _ = write!(self.out, "{}({}", function_word(*function), of.text);
                if let Some(property) = property {
                    let _ = write!(self.out, ".{}", path_text(property));
                }
                self.push(")");
                self.per(per);
                self.push(" ");
                self.window(window);
            }
            Term::OfEvent { which, of, property, .. } => {
                let property = if property.is_empty() { "at".to_string() } else { path_text(property) };
                let _ = write!(self.out, "{}({}).{property}", which_word(*which), of.text);
            }
            Term::Arithmetic { op, left, right } => {
                let (sign, own) = match op {
                    ArithmeticOp::Add => (" + ", 1),
                    ArithmeticOp::Sub => (" - ", 1),
                    ArithmeticOp::Mul => (" * ", 2),
                    ArithmeticOp::Div => (" / ", 2),
                };
                // Equal operators are read from the left, so a right operand of the same level needs parentheses.
                let parentheses = own < level;
                if parentheses {
                    self.push("(");
                }
                self.term(left, own);
                self.push(sign);
                self.term(right, own + 1);
                if parentheses {
                    self.push(")");
                }
            }
            Term::Score(index) => self.reference("score", *index),
            Term::Points(index) => self.reference("points", *index),
            Term::Stage(index) => self.reference("stage", *index),
            Term::Bucket(salt) => {
                self.push("bucket(");
                self.text(salt);
                self.push(")");
            }
            Term::Ntile { n, of } => {
                let _ = write!(self.out, "ntile({n}, ");
                self.term(of, 0);
                self.push(")");
            }
            Term::Band { of, bounds } => {
                self.push("band(");
                self.term(of, 0);
                self.push(", ");
                self.values(bounds, spelling(of));
                self.push(")");
            }
            Term::Age(of) => {
                self.push("age(");
                self.term(of, 0);
                self.push(")");
            }
            Term::Key => self.push("key"),
        }
    }

    fn reference(&mut self, word: &str, index: DefinitionIndex) {
        let text = format!("{word}({})", name(self.names.definition(index)));
        self.push(&text);
    }

    fn path(&mut self, path: &Path) {
        let text = match path {
            Path::Property { path, .. } => path_text(path),
            Path::Trait { index, rest, .. } => {
                let head = name(self.names.customer_trait(*index));
                let rest: String = rest.iter().map(|n| format!(".{}", name(n))).collect();
                format!("customer.{head}{rest}")
            }
            Path::FirstSeen => "customer.first_seen".into(),
            Path::Cart(cart) => match cart {
                CartPath::Whole => "cart",
                CartPath::Value => "cart.value",
                CartPath::Quantity => "cart.quantity",
                CartPath::Items => "cart.items",
                CartPath::ChangedAt => "cart.changed_at",
            }
            .into(),
            Path::Local(local) => match local {
                LocalPath::Time => "local.time",
                LocalPath::Weekday => "local.weekday",
                LocalPath::Hour => "local.hour",
                LocalPath::Date => "local.date",
            }
            .into(),
        };
        self.push(&text);
    }

    fn values(&mut self, values: &[Value], spelling: Spelling) {
        self.push("[");
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                self.push(", ");
            }
            self.value(value, spelling);
        }
        self.push("]");
    }

    fn text(&mut self, text: &str) {
        // A JSON string is a string of the language. Writing one cannot fail.
        let quoted = serde_json::to_string(text).unwrap_or_default();
        self.push(&quoted);
    }

    fn value(&mut self, value: &Value, spelling: Spelling) {
        match (value, spelling) {
            (Value::Text(text), _) => self.text(text),
            (Value::Money(money), _) => self.money(*money),
            (Value::Duration(ms), Spelling::Clock) => {
                let _ = write!(self.out, "{:02}:{:02}", ms.0 / 3_600_000, ms.0 / 60_000 % 60);
            }
            (Value::Decimal(d), Spelling::Share) => self.push(&share(d.0)),
            (other, _) => {
                let _ = write!(self.out, "{other}");
            }
        }
    }

    /// Whole amounts without their zeros: `500 EUR`.
    fn money(&mut self, money: Money) {
        let unit = 10i64.pow(money.currency.minor_digits());
        let _ = if money.minor % unit == 0 {
            write!(self.out, "{} {}", money.minor / unit, money.currency)
        } else {
            write!(self.out, "{money}")
        };
    }
}

fn spelling(of: &Term) -> Spelling {
    match of {
        Term::Path(Path::Local(LocalPath::Time)) => Spelling::Clock,
        Term::Bucket(_) => Spelling::Share,
        _ => Spelling::Plain,
    }
}

/// A share of the whole, given in millionths, as a percentage: `9.5169%`.
pub fn share(millionths: i64) -> String {
    // Millionths of the whole are ten-thousandths of a percent.
    format!("{}%", Decimal(millionths.saturating_mul(100)))
}

fn path_text(path: &[String]) -> String {
    path.iter()
        .map(|n| if n.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') { n.clone() } else { format!("`{n}`") })
        .collect::<Vec<_>>()
        .join(".")
}

fn day(bound: DayBound) -> String {
    match bound {
        DayBound::Date(days) => Value::Date(days).to_string(),
        DayBound::Instant(instant) => instant.to_string(),
    }
}

fn which_word(which: Which) -> &'static str {
    match which {
        Which::First => "first",
        Which::Last => "last",
    }
}

fn function_word(function: Aggregate) -> &'static str {
    match function {
        Aggregate::Count => "count",
        Aggregate::Sum => "sum",
        Aggregate::Avg => "avg",
        Aggregate::Min => "min",
        Aggregate::Max => "max",
        Aggregate::Distinct => "distinct",
    }
}

fn singular(unit: Unit) -> &'static str {
    match unit {
        Unit::Session => "session",
        Unit::Day => "day",
        Unit::Week => "week",
        Unit::Month => "month",
        Unit::Year => "year",
    }
}

/// A unit that is counted: `days`.
pub fn plural(unit: Unit) -> &'static str {
    match unit {
        Unit::Session => "sessions",
        Unit::Day => "days",
        Unit::Week => "weeks",
        Unit::Month => "months",
        Unit::Year => "years",
    }
}
