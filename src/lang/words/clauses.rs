//! Conditions as clauses, with negation pushed down to where English says it.

use super::Words;
use super::nouns::{case, is_time, may_be_missing};
use super::time::{self, duration, span};
use crate::lang::definition::{
    Aggregate, CartPath, Containment, Direction, Expr, Path, Rel, Selector, Sequence, Term, TimeWindow, Unit, Which, Window,
};
use crate::lang::display;
use crate::model::{Type, Value};

/// How operands of `and` and `or` are put together.
#[derive(Clone, Copy)]
enum Joint {
    /// With commas.
    Sentence,
    /// Without, the inside of `(where ..)`.
    Filter,
    /// `either a or b`, as one operand among others.
    Group,
    /// In parentheses.
    Deep,
}

/// The opposite of a comparison of known values; `None` for "equal".
fn opposite(rel: Rel) -> Option<Rel> {
    match rel {
        Rel::Eq => None,
        Rel::Lt => Some(Rel::Ge),
        Rel::Le => Some(Rel::Gt),
        Rel::Gt => Some(Rel::Le),
        Rel::Ge => Some(Rel::Lt),
    }
}

/// Operands of `and` (`all`) or `or` after De Morgan, with whether each is negated.
fn flatten<'e>(expr: &'e Expr, not: bool, all: bool, out: &mut Vec<(&'e Expr, bool)>) {
    match expr {
        Expr::Not(of) => flatten(of, !not, all, out),
        Expr::And(of) if all != not => of.iter().for_each(|e| flatten(e, not, all, out)),
        Expr::Or(of) if all == not => of.iter().for_each(|e| flatten(e, not, all, out)),
        _ => out.push((expr, not)),
    }
}

fn is_list(of: &Term) -> bool {
    match of {
        Term::Path(Path::Property { ty, .. } | Path::Trait { ty, .. }) | Term::OfEvent { ty, .. } => matches!(ty, Type::List(_)),
        _ => false,
    }
}

fn is(not: bool) -> &'static str {
    if not { "is not" } else { "is" }
}

impl Words<'_> {
    /// A whole condition, beside which nothing else stands.
    pub(super) fn top(&mut self, expr: &Expr) -> String {
        self.clause(expr, false, Joint::Sentence)
    }

    /// A condition as one operand of a longer sentence.
    pub(super) fn inner(&mut self, expr: &Expr) -> String {
        self.clause(expr, false, Joint::Group)
    }

    /// The inside of a filter.
    pub(super) fn filter(&mut self, expr: &Expr) -> String {
        self.clause(expr, false, Joint::Filter)
    }

    fn clause(&mut self, expr: &Expr, not: bool, joint: Joint) -> String {
        match expr {
            Expr::Not(of) => self.clause(of, !not, joint),
            Expr::And(_) => self.chain(expr, not, !not, joint),
            Expr::Or(_) => self.chain(expr, not, not, joint),
            _ => self.leaf(expr, not),
        }
    }

    fn chain(&mut self, expr: &Expr, not: bool, all: bool, joint: Joint) -> String {
        let mut operands = Vec::new();
        flatten(expr, not, all, &mut operands);
        let below = match joint {
            Joint::Sentence | Joint::Filter => Joint::Group,
            Joint::Group | Joint::Deep => Joint::Deep,
        };
        let parts: Vec<String> = operands.into_iter().map(|(e, not)| self.clause(e, not, below)).collect();
        let word = if all { "and" } else { "or" };
        match joint {
            _ if parts.len() == 1 => parts.concat(),
            Joint::Sentence => parts.join(&format!(", {word} ")),
            Joint::Filter => parts.join(&format!(" {word} ")),
            Joint::Group if all && parts.len() == 2 => format!("both {}", parts.join(" and ")),
            Joint::Group if !all => format!("either {}", parts.join(" or ")),
            Joint::Group | Joint::Deep => format!("({})", parts.join(&format!(" {word} "))),
        }
    }

    fn leaf(&mut self, expr: &Expr, not: bool) -> String {
        let n = if not { " not" } else { "" };
        match expr {
            Expr::And(_) | Expr::Or(_) | Expr::Not(_) => self.clause(expr, not, Joint::Deep),
            Expr::Everyone if not => "nobody is meant".into(),
            Expr::Everyone => "they are a customer at all".into(),
            Expr::Compare { left, rel, right, ignore_case } => self.compare(left, *rel, right, *ignore_case, not),
            Expr::Between { of, low, high } => {
                let text = format!("{} {} between {} and {}", self.subject(of), is(not), self.side(low, of), self.side(high, of));
                self.or_unknown(text, of, not)
            }
            Expr::Member { of, values, ignore_case } => {
                let verb = match (not, values.len()) {
                    (false, _) => "is",
                    (true, 1) => "is not",
                    (true, _) => "is none of",
                };
                let text = format!("{} {verb} {}{}", self.subject(of), self.values(values, of, "or"), case(*ignore_case));
                self.or_unknown(text, of, not)
            }
            Expr::HalfOpen { of: Term::Bucket(salt), from, to } => {
                let bucket = Term::Bucket(salt.clone());
                format!(
                    "they{} fall into the range from {} to {} of bucket {salt:?}",
                    if not { " do not" } else { "" },
                    self.value(from, &bucket),
                    self.value(to, &bucket)
                )
            }
            Expr::HalfOpen { of, from, to } => {
                let (from, to) = (self.value(from, of), self.value(to, of));
                let text = format!("{} {} from {from} to before {to}", self.subject(of), is(not));
                self.or_unknown(text, of, not)
            }
            Expr::HeldFor { of, at_least } => {
                format!("it has{n} been true without a break for at least {} that {}", duration(*at_least), self.inner(of))
            }
            Expr::EventIn { which, of, window } => self.event_in(*which, of, window, not),
            Expr::NofM { of, rel, count, n, m, unit } => {
                self.calendar = true;
                let what = self.amount(of, *rel, i64::from(*count), false);
                if *m == 1 {
                    let verb = if not { "it is not so that they had" } else { "they had" };
                    return format!("{verb} {what} {}", time::running(*unit));
                }
                let preposition = if *unit == Unit::Day { "on" } else { "in" };
                let periods = format!("the last {m} {}", display::plural(*unit));
                // "On none of" and the like need no "each": every such period has one, or none.
                let each = if matches!((rel, count), (Rel::Ge, 1) | (Rel::Eq, 0)) { "" } else { "each of " };
                match (not, n) {
                    (true, 1) => format!("they had {what} {preposition} none of {periods}"),
                    (true, n) => format!("they had {what} {preposition} {each}fewer than {n} of {periods}"),
                    (false, n) => format!("they had {what} {preposition} {each}at least {n} of {periods}"),
                }
            }
            Expr::Sequence(sequence) => self.sequence(sequence, not),
            Expr::InSegment(index) => format!("they are{n} in segment {}", self.named(*index)),
            Expr::InList(index) => format!("they are{n} on the list {}", self.workspace.catalogue.lists[index.at()]),
            Expr::Crossed { direction, segment, window } => {
                let word = if *direction == Direction::Entered { "entered" } else { "left" };
                let when = self.window(window);
                let segment = self.named(*segment);
                match (not, time::is_past(window)) {
                    (false, true) => format!("they last {word} segment {segment} {when}"),
                    (true, true) => {
                        format!("they did not last {} segment {segment} {when}", if word == "left" { "leave" } else { "enter" })
                    }
                    (false, false) => format!("they have {word} segment {segment} {when}"),
                    (true, false) if when.is_empty() => format!("they have never {word} segment {segment}"),
                    (true, false) => format!("they have not {word} segment {segment} {when}"),
                }
                .trim_end()
                .to_string()
            }
            Expr::Consent(purpose) => {
                format!("they {}consent to {}", if not { "do not " } else { "" }, self.purpose(*purpose))
            }
            Expr::TimeIn { of, window } => self.time_in(of, window, not),
            Expr::Anniversary { of, days } => {
                self.calendar = true;
                let when = match days {
                    0 => "today".to_string(),
                    1 => "today or tomorrow".to_string(),
                    days => format!("today or in the next {days} days"),
                };
                let text = format!("the anniversary of {} {} {when}", self.term(of), is(not));
                self.or_unknown(text, of, not)
            }
            Expr::Contains { of, what, ignore_case } => self.contains(of, what, *ignore_case, not),
            Expr::Has { of: Term::Path(Path::Cart(_)), filter } => {
                format!("the cart has {} line (where {})", if not { "no" } else { "a" }, self.filter(filter))
            }
            Expr::Has { of, filter } => {
                let some = if not { "no element" } else { "an element" };
                format!("{some} of {} is one (where {})", self.term(of), self.filter(filter))
            }
            Expr::StartsWith { of, prefix, ignore_case } => {
                self.text(of, ["starts with", "does not start with"], &format!("{prefix:?}"), *ignore_case, not)
            }
            Expr::EndsWith { of, suffix, ignore_case } => {
                self.text(of, ["ends with", "does not end with"], &format!("{suffix:?}"), *ignore_case, not)
            }
            Expr::Matches { of, pattern } => {
                let pattern = format!("/{}/", pattern.replace('/', "\\/"));
                self.text(of, ["matches the pattern", "does not match the pattern"], &pattern, false, not)
            }
            Expr::Near { of, metres, lat, lon } => {
                let text = format!("{} {} within {} km of {lat}, {lon}", self.subject(of), is(not), metres / 1_000.0);
                self.or_unknown(text, of, not)
            }
            Expr::Empty(Term::Path(Path::Cart(_))) => format!("the cart {} empty", is(not)),
            Expr::Empty(of) if is_list(of) => format!("{} is among {}", if not { "something" } else { "nothing" }, self.term(of)),
            Expr::Empty(of) if not => format!("{} is known and not empty", self.term(of)),
            Expr::Empty(of) => format!("{} is empty or unknown", self.term(of)),
            Expr::Known(of) => {
                format!("{} {} {}", self.term(of), if is_list(of) { "are" } else { "is" }, if not { "unknown" } else { "known" })
            }
            Expr::Rank { of, top, millionths } => format!(
                "{} {} among the {} {} of all customers",
                self.subject(of),
                is(not),
                if *top { "highest" } else { "lowest" },
                display::share(i64::from(*millionths))
            ),
        }
    }

    /// A term in front of "is".
    fn subject(&mut self, of: &Term) -> String {
        self.term(of)
    }

    /// A negation holds for what is unknown, too.
    fn or_unknown(&self, text: String, of: &Term, not: bool) -> String {
        if not && may_be_missing(of) { format!("{text} (or is unknown)") } else { text }
    }

    fn text(&mut self, of: &Term, verbs: [&str; 2], what: &str, ignore_case: bool, not: bool) -> String {
        let text = format!("{} {} {what}{}", self.subject(of), verbs[usize::from(not)], case(ignore_case));
        self.or_unknown(text, of, not)
    }

    fn contains(&mut self, of: &Term, what: &Containment, ignore_case: bool, not: bool) -> String {
        let is_list = is_list(of);
        let (values, joint) = match what {
            Containment::One(value) => (std::slice::from_ref(value), "or"),
            Containment::Any(values) => (values.as_slice(), "or"),
            Containment::All(values) => (values.as_slice(), "and"),
        };
        let many = values.len() > 1;
        let all = many && joint == "and";
        let shown = self.values(values, of, joint);
        let of_text = self.term(of);
        let case = case(ignore_case);
        let text = match (is_list, not) {
            (true, false) => format!("{shown} {} among {of_text}{case}", if all { "are all" } else { "is" }),
            (true, true) if all => format!("{shown} are not all among {of_text}{case}"),
            (true, true) if many => format!("none of {shown} is among {of_text}{case}"),
            (true, true) => format!("{shown} is not among {of_text}{case}"),
            (false, false) => format!("{of_text} contains {shown}{case}"),
            (false, true) => format!("{of_text} does not contain {shown}{case}"),
        };
        if not && may_be_missing(of) {
            let also = if is_list { " (or they are unknown)" } else { " (or is unknown)" };
            return format!("{text}{also}");
        }
        text
    }

    fn compare(&mut self, left: &Term, rel: Rel, right: &Term, ignore_case: bool, not: bool) -> String {
        if let (Term::Aggregate { function: Aggregate::Count, of, property: None, per, window }, Term::Literal(Value::Int(count))) =
            (left, right)
        {
            return self.count(of, rel, *count, per.as_deref(), window, not);
        }
        if let (Term::Bucket(salt), Rel::Lt | Rel::Ge, Term::Literal(value)) = (left, rel, right) {
            let share = self.value(value, left);
            let inside = (rel == Rel::Lt) != not;
            return format!("they {} the first {share} of bucket {salt:?}", if inside { "fall into" } else { "fall outside" });
        }
        if let (Term::Stage(index), Rel::Eq, Term::Literal(Value::Text(stage))) = (left, rel, right) {
            return format!("they are{} in the stage {stage} of {}", if not { " not" } else { "" }, self.named(*index));
        }
        if let (Rel::Eq, Term::Literal(Value::Bool(value))) = (rel, right) {
            let text = format!("{} is {}", self.subject(left), *value != not);
            return if not && may_be_missing(left) { format!("{text} or unknown") } else { text };
        }
        if let (Term::Band { of, bounds }, Rel::Eq | Rel::Ge, Term::Literal(Value::Int(k))) = (left, rel, right)
            && !not
            && let Some(text) = self.band(of, bounds, rel, *k)
        {
            return text;
        }
        let time = is_time(left) || is_time(right);
        let right_text = self.side(right, left);
        let rel = if not { opposite(rel) } else { Some(rel) };
        let literal = matches!(right, Term::Literal(_));
        let relation = match rel {
            None => format!("not {right_text}"),
            Some(Rel::Eq) => right_text,
            Some(Rel::Ge) if time => format!("{right_text} or later"),
            Some(Rel::Gt) if time => format!("later than {right_text}"),
            Some(Rel::Le) if time => format!("{right_text} or earlier"),
            Some(Rel::Lt) if time => format!("earlier than {right_text}"),
            Some(Rel::Ge) if literal => format!("{right_text} or more"),
            Some(Rel::Ge) => format!("at least {right_text}"),
            Some(Rel::Le) if literal => format!("{right_text} or less"),
            Some(Rel::Le) => format!("at most {right_text}"),
            Some(Rel::Gt) => format!("more than {right_text}"),
            Some(Rel::Lt) => format!("less than {right_text}"),
        };
        let subject = match (left, literal) {
            (Term::Path(Path::Cart(CartPath::Value)), true) => "the cart is worth".to_string(),
            (Term::Path(Path::Cart(CartPath::Quantity)), true) => {
                let one = matches!(right, Term::Literal(Value::Int(1))) && rel == Some(Rel::Eq);
                return format!("the cart holds {relation} {}", if one { "piece" } else { "pieces" });
            }
            _ => format!("{} is", self.subject(left)),
        };
        let text = format!("{subject} {relation}{}", case(ignore_case));
        let unknown = not && (may_be_missing(left) || may_be_missing(right));
        if unknown { format!("{text} (or {} unknown)", if literal { "is" } else { "one of them is" }) } else { text }
    }

    /// `band(x, [a, b]) = 1`: x is a or more, but less than b.
    fn band(&mut self, of: &Term, bounds: &[Value], rel: Rel, k: i64) -> Option<String> {
        let k = usize::try_from(k).ok().filter(|k| *k <= bounds.len())?;
        let low = k.checked_sub(1).map(|i| self.value(&bounds[i], of));
        let high = bounds.get(k).filter(|_| rel == Rel::Eq).map(|v| self.value(v, of));
        let subject = self.subject(of);
        match (low, high) {
            (Some(low), Some(high)) => Some(format!("{subject} is {low} or more but less than {high}")),
            (Some(low), None) => Some(format!("{subject} is {low} or more")),
            (None, Some(high)) => Some(format!("{subject} is less than {high}")),
            (None, None) => None,
        }
    }

    fn count(&mut self, of: &Selector, rel: Rel, n: i64, per: Option<&[String]>, window: &Window, not: bool) -> String {
        let (rel, except) = match (rel, not) {
            (rel, false) => (rel, false),
            (Rel::Eq, true) if n == 0 => (Rel::Gt, false),
            (Rel::Eq, true) => (Rel::Eq, true),
            (rel, true) => (opposite(rel).unwrap_or(rel), false),
        };
        let (rel, n) = match (rel, n) {
            (Rel::Gt, 0) => (Rel::Ge, 1),
            (Rel::Lt, 1) | (Rel::Le, 0) => (Rel::Eq, 0),
            other => other,
        };
        let (any, none) = (rel == Rel::Ge && n == 1, rel == Rel::Eq && n == 0 && !except);
        let past = time::is_past(window);
        let per = per.map_or_else(String::new, |path| format!(" for one and the same {}", path.join(".")));
        let noun = self.noun(of);
        if let (Some(filter), true) = (&noun.doing, any || none) {
            let thing = format!("{}{filter}{per}", if any { "anything" } else { "nothing" });
            let verb = if past { "did" } else { "have done" };
            if past && none {
                return format!("they had no activity{filter}{per} {}", self.counted_window(window));
            }
            return match window {
                Window::Ever if any => format!("they have ever done anything{filter}{per}"),
                Window::Ever => format!("they have never done anything{filter}{per}"),
                _ => format!("they {verb} {thing} {}", self.counted_window(window)),
            };
        }
        let what = self.amount(of, rel, n, except);
        match window {
            Window::Ever if any => format!("they have ever had {what}{per}"),
            Window::Ever if none => format!("they have never had {}{per}", noun.a()),
            _ => format!("they {} {what}{per} {}", if past { "had" } else { "have had" }, self.counted_window(window)),
        }
    }

    /// `at least 3 login events`, `no login event`.
    fn amount(&mut self, of: &Selector, rel: Rel, n: i64, except: bool) -> String {
        let noun = self.noun(of);
        let name = if n == 1 { &noun.one } else { &noun.many };
        match (rel, n) {
            _ if except => format!("a number of {} other than {n}", noun.many),
            (Rel::Ge, 1) => noun.a(),
            (Rel::Eq, 0) => format!("no {}", noun.one),
            (Rel::Ge, n) => format!("at least {n} {name}"),
            (Rel::Gt, n) => format!("more than {n} {name}"),
            (Rel::Le, n) => format!("at most {n} {name}"),
            (Rel::Lt, n) => format!("fewer than {n} {name}"),
            (Rel::Eq, n) => format!("exactly {n} {name}"),
        }
    }

    fn event_in(&mut self, which: Which, of: &Selector, window: &Window, not: bool) -> String {
        // The newest event lies in such a window if and only if any does.
        let any = which == Which::Last
            && matches!(window, Window::Last(_) | Window::This(_) | Window::SinceLast(_) | Window::Ever | Window::Dates { to: None, .. });
        if any || *window == Window::Ever {
            return self.count(of, Rel::Ge, 1, None, window, not);
        }
        let event = self.which(which, of);
        let window = self.window(window);
        if not { format!("{event} was not {window} (or there is none)") } else { format!("{event} was {window}") }
    }

    fn time_in(&mut self, of: &Term, window: &TimeWindow, not: bool) -> String {
        let changed = matches!(of, Term::Path(Path::Cart(CartPath::ChangedAt)));
        match (window, not) {
            (TimeWindow::Past(Window::Older(d)), false) if changed => return format!("the cart has not changed for {}", duration(*d)),
            (TimeWindow::Past(Window::Older(d)), true) if changed => {
                return format!("the cart has changed in the last {} or never", span(*d));
            }
            (TimeWindow::Past(Window::Last(d)), false) if changed => return format!("the cart has changed in the last {}", span(*d)),
            (TimeWindow::Past(Window::Last(d)), true) if changed => return format!("the cart has not changed in the last {}", span(*d)),
            _ => {}
        }
        if let (Term::OfEvent { which, of, property, .. }, TimeWindow::Past(window)) = (of, window)
            && property.is_empty()
        {
            return self.event_in(*which, of, window, not);
        }
        let subject = match of {
            Term::Path(Path::FirstSeen) => "their first record".to_string(),
            Term::Path(Path::Cart(CartPath::ChangedAt)) => "the last change of the cart".to_string(),
            other => self.subject(other),
        };
        let (when, verb) = match window {
            TimeWindow::Past(Window::This(unit)) if *unit != Unit::Day => {
                self.calendar = true;
                (format!("in {}", time::running(*unit)), "is")
            }
            TimeWindow::Past(Window::Dates { from, to: None }) => {
                self.calendar = true;
                (format!("{} or later", time::day(*from)), "is")
            }
            TimeWindow::Past(window @ (Window::This(_) | Window::Dates { .. })) => (self.window(window), "is"),
            TimeWindow::Past(window) => (self.window(window), "was"),
            TimeWindow::Next(d) => (format!("in the next {}", span(*d)), "is"),
            TimeWindow::NextFull { n, unit } => {
                self.calendar = true;
                (format!("in the {}", time::full("next", *n, *unit)), "is")
            }
        };
        let text = format!("{subject} {verb}{} {when}", if not { " not" } else { "" });
        self.or_unknown(text, of, not)
    }

    fn sequence(&mut self, sequence: &Sequence, not: bool) -> String {
        let mut steps: Vec<String> = Vec::new();
        for (i, step) in sequence.steps.iter().enumerate() {
            let noun = self.noun(&step.selector);
            let mut text = match (i, step.absent) {
                (0, _) => noun.a(),
                (_, true) => format!("then no {}", noun.one),
                _ => format!("then {}", noun.a()),
            };
            if let Some(later) = step.at_least_later {
                text.push_str(&format!(" at least {} later", duration(later)));
            }
            if let Some(within) = step.within {
                text.push_str(&format!(" within {}", duration(within)));
            }
            if let Some(without) = &step.without {
                let noun = self.noun(without);
                let what = if noun.doing.as_deref() == Some("") { "any other activity".to_string() } else { noun.a() };
                text.push_str(&format!(" without {what} in between"));
            }
            steps.push(text);
        }
        if let Some(all) = sequence.all_within {
            steps.push(format!("all within {}", duration(all)));
        }
        if let Some(per) = &sequence.per {
            steps.push(format!("for one and the same {}", per.join(".")));
        }
        let steps = steps.join(", ");
        match (&sequence.window, not) {
            (Window::Ever, false) => format!("they have ever completed the sequence ({steps})"),
            (Window::Ever, true) => format!("they have never completed the sequence ({steps})"),
            (window @ (Window::Last(_) | Window::This(_) | Window::SinceLast(_)), _) => {
                let n = if not { " not" } else { "" };
                format!("they have{n} completed the sequence ({steps}) {}", self.window(window))
            }
            (window, false) => format!("they last completed the sequence ({steps}) {}", self.window(window)),
            (window, true) => format!("they did not last complete the sequence ({steps}) {}", self.window(window)),
        }
    }
}
