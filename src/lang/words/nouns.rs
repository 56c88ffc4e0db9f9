//! Events and terms as noun phrases.

use super::time::duration;
use super::{Words, list};
use crate::lang::definition::{
    Aggregate, ArithmeticOp, CartPath, EventRef, Expr, LocalPath, Path, Rel, Selector, SelectorMember, Term, Which, Window,
};
use crate::lang::display;
use crate::model::{Type, Value};

/// What is counted.
pub(super) struct Noun {
    /// `order_completed event`.
    pub one: String,
    /// `order_completed events`.
    pub many: String,
    /// Behind "done anything" and "done nothing", for `activity` alone; perhaps empty.
    pub doing: Option<String>,
}

impl Noun {
    /// `an order_completed event`.
    pub fn a(&self) -> String {
        let vowel = self.one.trim_start_matches('`').starts_with(['a', 'e', 'i', 'o', 'A', 'E', 'I', 'O']);
        format!("{} {}", if vowel { "an" } else { "a" }, self.one)
    }
}

/// `each product_viewed event`.
pub(super) fn each(noun: &Noun) -> String {
    format!("each {}", noun.one)
}

/// Whether it can be unknown, so that its negation holds for more than the opposite.
pub(super) fn may_be_missing(term: &Term) -> bool {
    match term {
        Term::Path(Path::Property { .. } | Path::Trait { .. } | Path::Cart(CartPath::ChangedAt)) | Term::OfEvent { .. } | Term::Key => true,
        Term::Aggregate { function, .. } => matches!(function, Aggregate::Avg | Aggregate::Min | Aggregate::Max),
        Term::Arithmetic { op, left, right } => *op == ArithmeticOp::Div || may_be_missing(left) || may_be_missing(right),
        Term::Band { of, .. } | Term::Age(of) => may_be_missing(of),
        Term::Ntile { .. } => true,
        Term::Literal(_) | Term::Path(_) | Term::Score(_) | Term::Points(_) | Term::Stage(_) | Term::Bucket(_) => false,
    }
}

/// Whether more and less are later and earlier.
pub(super) fn is_time(term: &Term) -> bool {
    match term {
        Term::Literal(value) => matches!(value, Value::Instant(_) | Value::Date(_)),
        Term::Path(Path::Property { ty, .. } | Path::Trait { ty, .. }) | Term::OfEvent { ty, .. } => {
            matches!(ty, Type::Instant(_) | Type::Date)
        }
        Term::Path(path) => {
            matches!(path, Path::FirstSeen | Path::Cart(CartPath::ChangedAt) | Path::Local(LocalPath::Time | LocalPath::Date))
        }
        _ => false,
    }
}

/// Behind a text that is compared.
pub(super) fn case(ignore: bool) -> &'static str {
    if ignore { " in upper or lower case" } else { "" }
}

fn joined(path: &[String]) -> String {
    path.join(".")
}

impl Words<'_> {
    pub(super) fn noun(&mut self, selector: &Selector) -> Noun {
        let mut parts: Vec<(String, String, Option<String>)> = selector.members.iter().map(|m| self.member(m, &selector.text)).collect();
        if let [(_, _, doing @ Some(_))] = parts.as_mut_slice() {
            let doing = doing.take();
            let (one, many, _) = parts.swap_remove(0);
            return Noun { one, many, doing };
        }
        let ones: Vec<String> = parts.iter().map(|p| p.0.clone()).collect();
        let many: Vec<String> = parts.iter().map(|p| p.1.clone()).collect();
        Noun { one: list(&ones, "or"), many: list(&many, "or"), doing: None }
    }

    fn member(&mut self, member: &SelectorMember, text: &str) -> (String, String, Option<String>) {
        if let ([EventRef::TraitChanged], Some(change)) = (member.events.as_slice(), self.trait_change(member.filter.as_ref())) {
            return (format!("change of {change}"), format!("changes of {change}"), None);
        }
        let events = &self.workspace.catalogue.events;
        let is_activity = |event: &EventRef| matches!(event, EventRef::Catalogue(index) if events[index.at()].is_activity);
        let activities = events.iter().filter(|e| e.is_activity).count();
        // `activity` stands for all of them, and is what the author wrote.
        let all = text.contains("activity") && member.events.iter().filter(|e| is_activity(e)).count() == activities;
        let mut names: Vec<String> = member
            .events
            .iter()
            .filter(|e| !(all && is_activity(e)))
            .map(|event| match event {
                EventRef::Catalogue(index) => display::name(&events[index.at()].name),
                EventRef::TraitChanged => "trait_changed".into(),
            })
            .collect();
        names.sort_unstable();
        let only_activity = all && names.is_empty();
        let filter = member.filter.as_ref().map_or_else(String::new, |f| format!(" (where {})", self.filter(f)));
        if only_activity {
            return (format!("activity{filter}"), format!("activities{filter}"), Some(filter));
        }
        if all {
            names.insert(0, "activity".into());
        }
        let names = list(&names, "or");
        (format!("{names} event{filter}"), format!("{names} events{filter}"), None)
    }

    /// `trait_changed[name = "plan", from = "free", to = "pro"]`: `their plan from "free" to "pro"`.
    fn trait_change(&mut self, filter: Option<&Expr>) -> Option<String> {
        let (mut name, mut from, mut to) = (None, None, None);
        let conditions = match filter? {
            Expr::And(all) => all.as_slice(),
            one => std::slice::from_ref(one),
        };
        for condition in conditions {
            let Expr::Compare {
                left: left @ Term::Path(Path::Property { path, .. }),
                rel: Rel::Eq,
                right: Term::Literal(value),
                ignore_case: false,
            } = condition
            else {
                return None;
            };
            let place = match path.as_slice() {
                [one] if one == "name" => &mut name,
                [one] if one == "from" => &mut from,
                [one] if one == "to" => &mut to,
                _ => return None,
            };
            match value {
                Value::Text(text) if path[0] == "name" => *place = Some(text.to_string()),
                _ => *place = Some(self.value(value, left)),
            }
        }
        let from = from.map_or_else(String::new, |v| format!(" from {v}"));
        let to = to.map_or_else(String::new, |v| format!(" to {v}"));
        Some(format!("their {}{from}{to}", name?))
    }

    /// A literal beside what it is compared with.
    pub(super) fn value(&self, value: &Value, beside: &Term) -> String {
        match (value, beside) {
            (Value::Text(text), Term::Path(Path::Local(LocalPath::Weekday))) => {
                let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
                let found = days.iter().find(|d| d.len() >= 3 && d[..3].eq_ignore_ascii_case(text));
                found.map_or_else(|| format!("{text:?}"), |d| (*d).to_string())
            }
            (Value::Duration(_), Term::Path(Path::Local(LocalPath::Time))) => display::literal(value, beside),
            (Value::Duration(d), _) => duration(*d),
            _ => display::literal(value, beside),
        }
    }

    pub(super) fn values(&self, values: &[Value], beside: &Term, joint: &str) -> String {
        list(&values.iter().map(|v| self.value(v, beside)).collect::<Vec<_>>(), joint)
    }

    /// A term beside another: its literals are spelled as that one asks.
    pub(super) fn side(&mut self, term: &Term, beside: &Term) -> String {
        match term {
            Term::Literal(value) => self.value(value, beside),
            other => self.term(other),
        }
    }

    pub(super) fn term(&mut self, term: &Term) -> String {
        match term {
            Term::Literal(value) => self.value(value, term),
            Term::Path(path) => self.path(path),
            Term::Aggregate { function, of, property, per, window } => {
                self.aggregate(*function, of, property.as_deref(), per.as_deref(), window)
            }
            Term::OfEvent { which, of, property, .. } => {
                let event = self.which(*which, of);
                if property.is_empty() { format!("the time of {event}") } else { format!("the {} of {event}", joined(property)) }
            }
            Term::Arithmetic { op, left, right } => {
                let (left, right) = (self.operand(left), self.operand(right));
                match op {
                    ArithmeticOp::Add => format!("{left} plus {right}"),
                    ArithmeticOp::Sub => format!("{left} minus {right}"),
                    ArithmeticOp::Mul => format!("{left} times {right}"),
                    ArithmeticOp::Div => format!("{left} divided by {right}"),
                }
            }
            Term::Score(of) => format!("their score {}", self.named(*of)),
            Term::Points(of) => format!("their points {}", self.named(*of)),
            Term::Stage(of) => format!("their stage of {}", self.named(*of)),
            Term::Bucket(salt) => format!("their place in bucket {salt:?}"),
            Term::Ntile { n, of } => format!("their place among {n} equal groups by {}", self.term(of)),
            Term::Band { of, bounds } => {
                let bounds = self.values(bounds, of, "and");
                format!("the band (bounds {bounds}) of {}", self.term(of))
            }
            Term::Age(of) => match &**of {
                Term::OfEvent { which, of, property, .. } if property.is_empty() => format!("the time since {}", self.which(*which, of)),
                Term::Path(Path::FirstSeen) => "the time since their first record".into(),
                Term::Path(Path::Cart(CartPath::ChangedAt)) => "the time since the last change of the cart".into(),
                other => format!("the time since {}", self.term(other)),
            },
            Term::Key => "the key for which it holds".into(),
        }
    }

    /// What `emit` carries: of the cart's lines their number.
    pub(super) fn emitted(&mut self, term: &Term) -> String {
        match term {
            Term::Path(Path::Cart(CartPath::Items)) => "the number of lines in the cart".into(),
            other => self.term(other),
        }
    }

    fn operand(&mut self, term: &Term) -> String {
        let text = self.term(term);
        if matches!(term, Term::Arithmetic { .. }) { format!("({text})") } else { text }
    }

    /// `their last order_completed event`.
    pub(super) fn which(&mut self, which: Which, of: &Selector) -> String {
        let noun = self.noun(of);
        format!("their {} {}", if which == Which::First { "first" } else { "last" }, noun.one)
    }

    fn path(&mut self, path: &Path) -> String {
        match path {
            Path::Property { path, .. } => joined(path),
            Path::Trait { index, rest, .. } => {
                let name = &self.workspace.catalogue.traits[index.at()].name;
                format!("their {}", [std::slice::from_ref(name), rest].concat().join("."))
            }
            Path::FirstSeen => "the time of their first record".into(),
            Path::Cart(CartPath::Whole) => "the cart".into(),
            Path::Cart(CartPath::Value) => "the value of the cart".into(),
            Path::Cart(CartPath::Quantity) => "the number of pieces in the cart".into(),
            Path::Cart(CartPath::Items) => "the cart's lines".into(),
            Path::Cart(CartPath::ChangedAt) => "the time of the last change of the cart".into(),
            Path::Local(local) => {
                self.calendar = true;
                match local {
                    LocalPath::Time => "the local time",
                    LocalPath::Weekday => "the local weekday",
                    LocalPath::Hour => "the local hour",
                    LocalPath::Date => "the local date",
                }
                .into()
            }
        }
    }

    fn aggregate(
        &mut self,
        function: Aggregate,
        of: &Selector,
        property: Option<&[String]>,
        per: Option<&[String]>,
        window: &Window,
    ) -> String {
        let noun = self.noun(of);
        let of_time = matches!(self.property_type(of, property), Some(Type::Instant(_) | Type::Date));
        let what = match (function, property.map(joined)) {
            (Aggregate::Count, None) => format!("the number of {}", noun.many),
            (Aggregate::Count, Some(property)) => format!("the number of {} with a known {property}", noun.many),
            (Aggregate::Distinct, property) => {
                format!("the number of different {} values in {}", property.unwrap_or_default(), noun.many)
            }
            (Aggregate::Sum, property) => format!("the sum of {} over {}", property.unwrap_or_default(), noun.many),
            (Aggregate::Avg, property) => format!("the average {} of {}", property.unwrap_or_default(), noun.many),
            (Aggregate::Min, property) => {
                format!("the {} {} of {}", if of_time { "earliest" } else { "lowest" }, property.unwrap_or_default(), noun.many)
            }
            (Aggregate::Max, property) => {
                format!("the {} {} of {}", if of_time { "latest" } else { "highest" }, property.unwrap_or_default(), noun.many)
            }
        };
        let per = per.map_or_else(String::new, |path| format!(" for one and the same {}", joined(path)));
        match self.window(window) {
            // All there ever were.
            empty if empty.is_empty() => format!("{what}{per}"),
            window => format!("{what}{per} {window}"),
        }
    }

    /// Of the first event that has it; all have one type.
    fn property_type(&self, of: &Selector, property: Option<&[String]>) -> Option<Type> {
        let [name] = property? else { return None };
        let events = of.members.iter().flat_map(|m| &m.events);
        events
            .filter_map(|event| match event {
                EventRef::Catalogue(index) => Some(&self.workspace.catalogue.events[index.at()]),
                EventRef::TraitChanged => None,
            })
            .find_map(|event| event.properties.iter().find(|p| p.name == *name))
            .map(|p| p.ty.clone())
    }

    /// Where in time the events that are counted lie: `in the last 7 days`, `so far`, `30 days ago or earlier`.
    pub(super) fn counted_window(&mut self, window: &Window) -> String {
        match window {
            Window::Ever => "so far".into(),
            Window::Older(d) => format!("{} ago or earlier", duration(*d)),
            other => self.window(other),
        }
    }
}
