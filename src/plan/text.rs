//! Checked conditions back as text in the language, for reasons, explanations and reports.

use std::fmt::Write;

use crate::lang::definition::{
    Aggregate, ArithmeticOp, CartPath, Containment, DayBound, Direction, Expr, LocalPath, Path, Rel, Term, TimeWindow, Unit, Which, Window,
    Workspace,
};
use crate::model::Value;

/// A condition as its author could have written it.
pub fn condition(workspace: &Workspace, expr: &Expr) -> String {
    let mut out = String::new();
    Text { workspace, out: &mut out }.expr(expr);
    out
}

/// A term as its author could have written it.
pub fn term(workspace: &Workspace, term: &Term) -> String {
    let mut out = String::new();
    Text { workspace, out: &mut out }.term(term);
    out
}

/// What the observed value of a condition is held against.
pub fn threshold(workspace: &Workspace, expr: &Expr) -> String {
    match expr {
        Expr::Compare { right, .. } => term(workspace, right),
        Expr::Between { low, high, .. } => format!("{} to {}", term(workspace, low), term(workspace, high)),
        Expr::Member { values, .. } => list(values),
        Expr::HalfOpen { from, to, .. } => format!("{}..{}", literal(from), literal(to)),
        Expr::HeldFor { at_least, .. } => at_least.to_string(),
        Expr::EventIn { window, .. } => age(window),
        Expr::TimeIn { window: TimeWindow::Past(window), .. } => age(window),
        Expr::TimeIn { window: TimeWindow::Next(length), .. } => length.to_string(),
        Expr::InSegment(_) => "member".into(),
        Expr::Contains { what: Containment::One(v), .. } => literal(v),
        Expr::Contains { what: Containment::Any(v) | Containment::All(v), .. } => list(v),
        Expr::StartsWith { prefix: text, .. } | Expr::EndsWith { suffix: text, .. } => format!("{text:?}"),
        Expr::Empty(_) => "empty".into(),
        Expr::Known(_) => "known".into(),
        _ => String::new(),
    }
}

/// A literal as the language writes it.
fn literal(value: &Value) -> String {
    value.to_string()
}

fn list(values: &[Value]) -> String {
    let mut out = String::from("[");
    for (i, value) in values.iter().enumerate() {
        let _ = write!(out, "{}{}", if i > 0 { ", " } else { "" }, literal(value));
    }
    out.push(']');
    out
}

fn age(window: &Window) -> String {
    match window {
        Window::Last(d) | Window::Older(d) => d.to_string(),
        Window::Between { from, to } => format!("{from} to {to}"),
        _ => String::new(),
    }
}

struct Text<'a> {
    workspace: &'a Workspace,
    out: &'a mut String,
}

impl Text<'_> {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn show(&mut self, shown: impl std::fmt::Display) {
        let _ = write!(self.out, "{shown}");
    }

    fn name(&self, definition: crate::ids::DefinitionIndex) -> String {
        self.workspace.definitions[definition.at()].name.clone()
    }

    fn joined(&mut self, all: &[Expr], word: &str) {
        for (i, e) in all.iter().enumerate() {
            if i > 0 {
                self.put(word);
            }
            self.operand(e);
        }
    }

    /// In parentheses where it would read differently without.
    fn operand(&mut self, e: &Expr) {
        if matches!(e, Expr::And(_) | Expr::Or(_)) {
            self.put("(");
            self.expr(e);
            self.put(")");
        } else {
            self.expr(e);
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::And(all) => self.joined(all, " and "),
            Expr::Or(all) => self.joined(all, " or "),
            Expr::Not(of) => {
                if let Expr::Compare { left, rel: Rel::Eq, right, ignore_case: false } = &**of
                    && count_of(left).is_none()
                {
                    self.term(left);
                    self.put(" != ");
                    return self.term(right);
                }
                if let Expr::Known(of) = &**of {
                    self.term(of);
                    return self.put(" is unknown");
                }
                self.put("not ");
                self.operand(of);
            }
            Expr::Everyone => self.put("everyone"),
            Expr::Compare { left, rel, right, ignore_case } => self.compare(left, *rel, right, *ignore_case),
            Expr::Between { of, low, high } => {
                self.term(of);
                self.put(" between ");
                self.term(low);
                self.put(" and ");
                self.term(high);
            }
            Expr::Member { of, values, ignore_case } => {
                self.term(of);
                self.show(format_args!(" in {}", list(values)));
                self.case(*ignore_case);
            }
            Expr::HalfOpen { of, from, to } => {
                self.term(of);
                self.show(format_args!(" in {}..{}", literal(from), literal(to)));
            }
            Expr::HeldFor { of, at_least } => {
                self.operand(of);
                self.show(format_args!(" for at least {at_least}"));
            }
            Expr::EventIn { which, of, window } => {
                self.show(format_args!("{}({}) ", which_word(*which), of.text));
                self.window(window);
            }
            Expr::NofM { of, n, m, unit, .. } => {
                self.show(format_args!("{} on at least {n} of last {m} {}s", of.text, unit_word(*unit)));
            }
            Expr::Sequence(sequence) => {
                self.put("sequence(");
                for (i, step) in sequence.steps.iter().enumerate() {
                    self.put(if i > 0 { " then " } else { "" });
                    self.put(if step.absent { "no " } else { "" });
                    self.put(&step.selector.text);
                }
                self.put(") ");
                self.window(&sequence.window);
            }
            Expr::InSegment(definition) => self.show(format_args!("in segment {}", self.name(*definition))),
            Expr::InList(list) => self.show(format_args!("in list {}", self.workspace.catalogue.lists[list.at()])),
            Expr::Crossed { direction, segment, window } => {
                let word = if *direction == Direction::Entered { "entered" } else { "left" };
                self.show(format_args!("{word} segment {} ", self.name(*segment)));
                self.window(window);
            }
            Expr::Consent(purpose) => self.show(format_args!("consent to {}", self.workspace.catalogue.purposes[purpose.at()].name)),
            Expr::TimeIn { of, window } => {
                self.term(of);
                self.put(" ");
                match window {
                    TimeWindow::Past(window) => self.window(window),
                    TimeWindow::Next(length) => self.show(format_args!("in next {length}")),
                    TimeWindow::NextFull { n, unit } => self.show(format_args!("in next {n} full {}s", unit_word(*unit))),
                }
            }
            Expr::Anniversary { of, days } => {
                self.term(of);
                self.show(format_args!(" anniversary in next {days}d"));
            }
            Expr::Contains { of, what, ignore_case } => {
                self.term(of);
                match what {
                    Containment::One(v) => self.show(format_args!(" contains {}", literal(v))),
                    Containment::Any(v) => self.show(format_args!(" contains any {}", list(v))),
                    Containment::All(v) => self.show(format_args!(" contains all {}", list(v))),
                }
                self.case(*ignore_case);
            }
            Expr::Has { of, filter } => {
                self.term(of);
                self.put(" has [");
                self.expr(filter);
                self.put("]");
            }
            Expr::StartsWith { of, prefix, ignore_case } => {
                self.term(of);
                self.show(format_args!(" starts with {prefix:?}"));
                self.case(*ignore_case);
            }
            Expr::EndsWith { of, suffix, ignore_case } => {
                self.term(of);
                self.show(format_args!(" ends with {suffix:?}"));
                self.case(*ignore_case);
            }
            Expr::Matches { of, pattern } => {
                self.term(of);
                self.show(format_args!(" matches /{}/", pattern.replace('/', "\\/")));
            }
            Expr::Near { of, metres, lat, lon } => {
                self.term(of);
                self.show(format_args!(" within {}km of geo({lat}, {lon})", metres / 1_000.0));
            }
            Expr::Empty(of) => {
                self.term(of);
                self.put(" is empty");
            }
            Expr::Known(of) => {
                self.term(of);
                self.put(" is known");
            }
            Expr::Rank { of, top, millionths } => {
                self.term(of);
                self.show(format_args!(" in {} {}%", if *top { "top" } else { "bottom" }, f64::from(*millionths) / 10_000.0));
            }
        }
    }

    fn case(&mut self, ignored: bool) {
        self.put(if ignored { " ignoring case" } else { "" });
    }

    fn compare(&mut self, left: &Term, rel: Rel, right: &Term, ignore_case: bool) {
        if let (Some((selector, per, window)), Term::Literal(Value::Int(k))) = (count_of(left), right) {
            let quantifier = match (rel, *k) {
                (Rel::Ge, 1) | (Rel::Gt, 0) => Some("any".to_string()),
                (Rel::Eq | Rel::Le, 0) | (Rel::Lt, 1) => Some("no".to_string()),
                (Rel::Ge, k) => Some(format!("at least {k}")),
                (Rel::Gt, k) => Some(format!("at least {}", k.saturating_add(1))),
                (Rel::Le, k) => Some(format!("at most {k}")),
                (Rel::Lt, k) => Some(format!("at most {}", k.saturating_sub(1))),
                (Rel::Eq, k) => Some(format!("exactly {k}")),
            };
            if let Some(quantifier) = quantifier {
                self.show(format_args!("{quantifier} {}", selector));
                if let Some(per) = per {
                    self.show(format_args!(" per {}", per.join(".")));
                }
                self.put(" ");
                return self.window(window);
            }
        }
        self.term(left);
        self.put(match rel {
            Rel::Eq => " = ",
            Rel::Lt => " < ",
            Rel::Le => " <= ",
            Rel::Gt => " > ",
            Rel::Ge => " >= ",
        });
        self.term(right);
        self.case(ignore_case);
    }

    fn term(&mut self, term: &Term) {
        match term {
            Term::Literal(value) => self.put(&literal(value)),
            Term::Path(path) => self.path(path),
            Term::Aggregate { function, of, property, per, window } => {
                let word = match function {
                    Aggregate::Count => "count",
                    Aggregate::Sum => "sum",
                    Aggregate::Avg => "avg",
                    Aggregate::Min => "min",
                    Aggregate::Max => "max",
                    Aggregate::Distinct => "distinct",
                };
                self.show(format_args!("{word}({}", of.text));
                if let Some(property) = property {
                    self.show(format_args!(".{}", property.join(".")));
                }
                self.put(")");
                if let Some(per) = per {
                    self.show(format_args!(" per {}", per.join(".")));
                }
                self.put(" ");
                self.window(window);
            }
            Term::OfEvent { which, of, property, .. } => {
                let property = if property.is_empty() { "at".to_string() } else { property.join(".") };
                self.show(format_args!("{}({}).{property}", which_word(*which), of.text));
            }
            Term::Arithmetic { op, left, right } => {
                self.factor(left, *op, false);
                self.put(match op {
                    ArithmeticOp::Add => " + ",
                    ArithmeticOp::Sub => " - ",
                    ArithmeticOp::Mul => " * ",
                    ArithmeticOp::Div => " / ",
                });
                self.factor(right, *op, true);
            }
            Term::Score(d) => self.show(format_args!("score({})", self.name(*d))),
            Term::Points(d) => self.show(format_args!("points({})", self.name(*d))),
            Term::Stage(d) => self.show(format_args!("stage({})", self.name(*d))),
            Term::Bucket(salt) => self.show(format_args!("bucket({salt:?})")),
            Term::Ntile { n, of } => {
                self.show(format_args!("ntile({n}, "));
                self.term(of);
                self.put(")");
            }
            Term::Band { of, bounds } => {
                self.put("band(");
                self.term(of);
                self.show(format_args!(", {})", list(bounds)));
            }
            Term::Age(of) => {
                self.put("age(");
                self.term(of);
                self.put(")");
            }
            Term::Key => self.put("key"),
        }
    }

    fn factor(&mut self, term: &Term, outer: ArithmeticOp, right: bool) {
        let loose = |op: ArithmeticOp| matches!(op, ArithmeticOp::Add | ArithmeticOp::Sub);
        let parentheses =
            matches!(term, Term::Arithmetic { op, .. } if (loose(*op) && !loose(outer)) || (right && loose(*op) == loose(outer)));
        if parentheses {
            self.put("(");
        }
        self.term(term);
        if parentheses {
            self.put(")");
        }
    }

    fn path(&mut self, path: &Path) {
        match path {
            Path::Property { path, .. } => self.put(&path.join(".")),
            Path::Trait { index, rest, .. } => {
                self.show(format_args!("customer.{}", self.workspace.catalogue.traits[index.at()].name));
                for name in rest {
                    self.show(format_args!(".{name}"));
                }
            }
            Path::FirstSeen => self.put("customer.first_seen"),
            Path::Cart(CartPath::Whole) => self.put("cart"),
            Path::Cart(CartPath::Value) => self.put("cart.value"),
            Path::Cart(CartPath::Quantity) => self.put("cart.quantity"),
            Path::Cart(CartPath::Items) => self.put("cart.items"),
            Path::Cart(CartPath::ChangedAt) => self.put("cart.changed_at"),
            Path::Local(LocalPath::Time) => self.put("local.time"),
            Path::Local(LocalPath::Weekday) => self.put("local.weekday"),
            Path::Local(LocalPath::Hour) => self.put("local.hour"),
            Path::Local(LocalPath::Date) => self.put("local.date"),
        }
    }

    fn window(&mut self, window: &Window) {
        match window {
            Window::Ever => self.put("ever"),
            Window::Last(d) => self.show(format_args!("in last {}", d)),
            Window::Older(d) => self.show(format_args!("at least {} ago", d)),
            Window::Between { from, to } => self.show(format_args!("between {} and {} ago", from, to)),
            Window::This(unit) => self.show(format_args!("in this {}", unit_word(*unit))),
            Window::Full { n, unit } => self.show(format_args!("in last {n} full {}s", unit_word(*unit))),
            Window::SinceLast(selector) => self.show(format_args!("since last {}", selector.text)),
            Window::Dates { from, to: None } => self.show(format_args!("since {}", day(*from))),
            Window::Dates { from, to: Some(to) } => self.show(format_args!("between {} and {}", day(*from), day(*to))),
        }
    }
}

fn count_of(term: &Term) -> Option<(&str, Option<&Vec<String>>, &Window)> {
    match term {
        Term::Aggregate { function: Aggregate::Count, of, property: None, per, window } => Some((&of.text, per.as_ref(), window)),
        _ => None,
    }
}

fn which_word(which: Which) -> &'static str {
    match which {
        Which::First => "first",
        Which::Last => "last",
    }
}

fn unit_word(unit: Unit) -> &'static str {
    match unit {
        Unit::Session => "session",
        Unit::Day => "day",
        Unit::Week => "week",
        Unit::Month => "month",
        Unit::Year => "year",
    }
}

fn day(bound: DayBound) -> String {
    match bound {
        DayBound::Date(days) => Value::Date(days).to_string(),
        DayBound::Instant(t) => t.to_string(),
    }
}
