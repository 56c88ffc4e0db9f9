//! Selectors and filters: which events, and which of them.

use super::super::canonical;
use super::super::definition::{EventRef, Expr, Selector, SelectorMember, Term};
use super::super::diagnostic::Code;
use super::super::display;
use super::super::source::Span;
use super::super::supported::Form;
use super::super::tree::{
    CompareOp, ExprKind, Filter, LetValue, LiteralKind, Name, RelationKind, Selector as TreeSelector, Single, TermKind,
};
use super::lower::{Checked, FilterScope, Lower, PropertySource, Stop, lone_name};
use super::types::reach;
use crate::ids::EventIndex;
use crate::model::{Property, Type};

/// Events with one filter, before equal filters are joined.
struct Part {
    events: Vec<EventRef>,
    /// `activity` or a name with `*`: not every event needs to have a property that is asked for.
    lenient: bool,
    filter: Option<Expr>,
    text: String,
    /// The value of the filter's `name = ".."`, for `trait_changed`.
    trait_name: Option<String>,
}

/// A selector with what its uses have to know.
pub(super) struct Selected {
    pub selector: Selector,
    parts: Vec<Part>,
}

impl<'t> Lower<'t, '_> {
    pub(super) fn selector(&mut self, selector: &'t TreeSelector) -> Checked<Selected> {
        if self.in_filter() {
            return self.fail_help(Code::E03, selector.span, "a filter sees only the event itself", FILTER_HELP);
        }
        self.variable = true;
        let parts = self.parts(selector)?;
        let text = group_text(&parts);
        let mut members: Vec<SelectorMember> = Vec::new();
        for part in &parts {
            match members.iter_mut().find(|m| m.filter == part.filter) {
                Some(member) => member.events.extend(&part.events),
                None => members.push(SelectorMember { events: part.events.clone(), filter: part.filter.clone() }),
            }
        }
        for member in &mut members {
            member.events.sort_unstable();
            member.events.dedup();
        }
        members.sort_by_cached_key(|m| (m.events.clone(), m.filter.as_ref().map(canonical::filter_text)));
        Ok(Selected { selector: Selector { members, text }, parts })
    }

    fn parts(&mut self, selector: &'t TreeSelector) -> Checked<Vec<Part>> {
        self.node(selector.span, |lower| {
            let mut parts = Vec::new();
            let mut failed = false;
            for single in &selector.singles {
                match lower.single(single) {
                    Ok(more) => parts.extend(more),
                    Err(Stop) => failed = true,
                }
            }
            if failed {
                return Err(Stop);
            }
            if let Some(filter) = &selector.filter {
                parts.iter_mut().try_for_each(|part| lower.narrow(part, filter))?;
            }
            Ok(parts)
        })
    }

    fn single(&mut self, single: &'t Single) -> Checked<Vec<Part>> {
        let mut parts = self.named(&single.name)?;
        if let Some(filter) = &single.filter {
            parts.iter_mut().try_for_each(|part| self.narrow(part, filter))?;
        }
        Ok(parts)
    }

    /// What a name in the place of an event stands for.
    fn named(&mut self, name: &'t Name) -> Checked<Vec<Part>> {
        if let Some(item) = self.find_let(name) {
            return self.inlined(item, name.span, |lower, value| match value {
                LetValue::Selector(selector) => lower.parts(selector),
                LetValue::Expr(expr) => match lone_name(expr) {
                    Some(inner) => lower.named(inner),
                    None => lower.no_selector(name, "a condition or a value"),
                },
                LetValue::Duration(_) => lower.no_selector(name, "a duration"),
            });
        }
        let catalogue = &self.world.catalogue;
        let all = || (0..catalogue.events.len()).map(|i| EventIndex(i as u16));
        let (events, lenient): (Vec<EventRef>, bool) = if !name.quoted && name.text == "activity" {
            (all().filter(|e| catalogue.events[e.at()].is_activity).map(EventRef::Catalogue).collect(), true)
        } else if !name.quoted && name.text == "trait_changed" {
            self.gate(Form::TraitChanged, name.span);
            (vec![EventRef::TraitChanged], false)
        } else if let Some(index) = catalogue.event(&name.text) {
            (vec![EventRef::Catalogue(index)], false)
        } else if name.quoted && name.text.contains('*') {
            (all().filter(|e| wildcard(&name.text, &catalogue.events[e.at()].name)).map(EventRef::Catalogue).collect(), true)
        } else {
            let mut known: Vec<&str> = catalogue.events.iter().map(|e| e.name.as_str()).collect();
            known.extend(["activity", "trait_changed"]);
            known.extend(self.lets_where(|v| matches!(v, LetValue::Selector(_))));
            let help = match name.text.as_str() {
                "when" | "ever" | "segment" => "the name of an event is missing".to_string(),
                _ => format!("declare it in the catalogue: `event {} is activity {{ .. }}`", name.text),
            };
            return self.unknown("event", name, &known, &help);
        };
        if events.is_empty() {
            let (message, help) = if name.quoted {
                (format!("no event of the catalogue matches `{}`", name.text), "`*` stands for any number of characters")
            } else {
                ("no event is declared as activity".to_string(), "mark what customers do themselves: `event login is activity { .. }`")
            };
            return self.fail_help(Code::E02, name.span, message, help);
        }
        let text = if name.quoted { display::name(&name.text) } else { name.text.clone() };
        Ok(vec![Part { events, lenient, filter: None, text, trait_name: None }])
    }

    fn no_selector<T>(&mut self, name: &Name, what: &str) -> Checked<T> {
        self.fail(Code::E03, name.span, format!("`{}` is {what}, expected an event", name.text))
    }

    /// Adds a filter to a part.
    fn narrow(&mut self, part: &mut Part, filter: &'t Filter) -> Checked<()> {
        part.trait_name = part.trait_name.take().or_else(|| trait_name(filter));
        let scope = self.event_scope(part);
        let added = self.filter(scope, filter)?;
        part.text = format!("{}[{}]", part.text, display::filter(&added));
        part.filter = Some(match part.filter.take() {
            Some(before) => conjunction([before, added]),
            None => added,
        });
        Ok(())
    }

    /// The condition of a filter: its parts joined by "and".
    pub(super) fn filter(&mut self, scope: FilterScope, filter: &'t Filter) -> Checked<Expr> {
        self.filtering(scope, |lower| {
            let conditions: Vec<Checked<Expr>> = filter.conditions.iter().map(|c| lower.condition(c)).collect();
            Ok(conjunction(conditions.into_iter().collect::<Checked<Vec<_>>>()?))
        })
    }

    fn event_scope(&self, part: &Part) -> FilterScope {
        let catalogue = &self.world.catalogue;
        let sources = part.events.iter().map(|event| match event {
            EventRef::Catalogue(index) => {
                let event = &catalogue.events[index.at()];
                PropertySource {
                    what: format!("event `{}`", event.name),
                    properties: event.properties.clone(),
                    broken: self.world.broken_events.contains(&event.name),
                }
            }
            EventRef::TraitChanged => {
                let ty = part.trait_name.as_deref().and_then(|n| catalogue.trait_named(n)).map(|t| catalogue.traits[t.at()].ty.clone());
                let property = |name: &str, ty| Property { name: name.into(), ty, pointer: None };
                let mut properties = vec![property("name", Type::Text)];
                if let Some(ty) = ty {
                    properties.extend([property("from", ty.clone()), property("to", ty)]);
                }
                PropertySource { what: "`trait_changed` without `name = \"..\"` of a declared trait".into(), properties, broken: false }
            }
        });
        FilterScope { sources: sources.collect(), lenient: part.lenient, timed: true }
    }

    /// The type of a property of the selected events. Every event that is named has to have it; of `activity` at least one.
    pub(super) fn property_of(&mut self, selected: &Selected, path: &[Name]) -> Checked<Type> {
        let mut found: Option<Type> = None;
        for part in &selected.parts {
            let scope = self.event_scope(part);
            let ty = self.property_in(&scope, path)?;
            match &found {
                Some(first) if !same_kind(first, &ty) => {
                    let span = path[0].span.to(path[path.len() - 1].span);
                    let message = format!("`{}` has different types among these events", path[0].text);
                    return self.fail(Code::E03, span, message);
                }
                Some(_) => {}
                None => found = Some(ty),
            }
        }
        found.ok_or(Stop)
    }

    /// The type of a property in a scope.
    pub(super) fn property_in(&mut self, scope: &FilterScope, path: &[Name]) -> Checked<Type> {
        let (head, rest) = (&path[0], &path[1..]);
        let span = head.span.to(path[path.len() - 1].span);
        let mut found: Option<&Type> = None;
        let mut lacking: Option<&PropertySource> = None;
        for source in &scope.sources {
            let Some(property) = source.properties.iter().find(|p| p.name == head.text) else {
                if source.broken {
                    return Err(Stop);
                }
                lacking.get_or_insert(source);
                continue;
            };
            match reach(&property.ty, rest) {
                Ok(ty) if found.is_some_and(|f| !same_kind(f, ty)) => {
                    let message = format!("`{}` has different types among these events", head.text);
                    return self.fail(Code::E03, span, message);
                }
                Ok(ty) => found = found.or(Some(ty)),
                Err((at, None)) => {
                    let message = format!("`{}` is not a record", path[at].text);
                    return self.fail(Code::E03, rest[at].span, message);
                }
                Err((at, Some(fields))) => {
                    let known: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
                    return self.unknown("property", &rest[at], &known, &format!("`{}` has {}", path[at].text, listed(&known)));
                }
            }
        }
        match (found, lacking) {
            (Some(ty), Some(_)) if scope.lenient => Ok(ty.clone()),
            (_, Some(source)) => {
                let known: Vec<&str> = source.properties.iter().map(|p| p.name.as_str()).collect();
                let what = format!("property of {}:", source.what);
                self.unknown(&what, head, &known, &format!("it has {}", listed(&known)))
            }
            (Some(ty), None) => Ok(ty.clone()),
            (None, None) => Err(Stop),
        }
    }

    /// The one currency that a filter leaves of money whose currency comes with the value: by a text comparison of the property that
    /// holds the code, or by a comparison of the money itself with an amount.
    pub(super) fn fixed_currency(&self, selected: &Selected, path: &[Name]) -> Option<crate::model::Currency> {
        use crate::model::{Currency, MoneyCurrency};
        let mut fixed = None;
        for part in &selected.parts {
            for event in &part.events {
                let EventRef::Catalogue(index) = event else { return None };
                let event = &self.world.catalogue.events[index.at()];
                let Some(property) = event.property(&path[0].text) else { continue };
                let ty = reach(&event.properties[property.at()].ty, &path[1..]).ok()?;
                let own = match ty {
                    Type::Money(MoneyCurrency::Fixed(currency)) => Some(*currency),
                    // The index counts among the siblings, which for a path of one name are the event's properties.
                    Type::Money(MoneyCurrency::Property(code)) => part.filter.as_ref().and_then(|filter| {
                        let code = (path.len() == 1).then(|| event.properties[code.at()].name.as_str());
                        currency_in(filter, code, path)
                    }),
                    _ => None,
                };
                let own: Currency = own?;
                if *fixed.get_or_insert(own) != own {
                    return None;
                }
            }
        }
        fixed
    }
}

const FILTER_HELP: &str = "join the filter's event with other conditions by `and` outside of `[...]`";

/// A currency that every event has to have to satisfy the filter.
fn currency_in(filter: &Expr, code: Option<&str>, money: &[Name]) -> Option<crate::model::Currency> {
    use super::super::definition::{Path, Rel};
    use crate::model::{Currency, Value};
    let is = |term: &Term, names: &[&str]| matches!(term, Term::Path(Path::Property { path, .. }) if path.iter().map(String::as_str).eq(names.iter().copied()));
    let money_path: Vec<&str> = money.iter().map(|n| n.text.as_str()).collect();
    match filter {
        Expr::And(of) => of.iter().find_map(|e| currency_in(e, code, money)),
        Expr::Compare { left, rel, right: Term::Literal(value), .. } => match value {
            Value::Text(text) if *rel == Rel::Eq && code.is_some_and(|c| is(left, &[c])) => Currency::parse(text),
            Value::Money(amount) if is(left, &money_path) => Some(amount.currency),
            _ => None,
        },
        Expr::Member { of, values, .. } if code.is_some_and(|c| is(of, &[c])) => match values.as_slice() {
            [Value::Text(text)] => Currency::parse(text),
            _ => None,
        },
        Expr::Between { of, low: Term::Literal(Value::Money(amount)), .. } if is(of, &money_path) => Some(amount.currency),
        _ => None,
    }
}

/// Types that a union of events may have under one name: equal but for how the value is written or where its currency stands.
pub(super) fn same_kind(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Instant(_), Type::Instant(_)) | (Type::Money(_), Type::Money(_)) => true,
        (Type::Enum(_) | Type::Text, Type::Text) | (Type::Text, Type::Enum(_)) => true,
        _ => a == b,
    }
}

/// Joined by "and", without nesting.
pub(super) fn conjunction(of: impl IntoIterator<Item = Expr>) -> Expr {
    let mut flat = Vec::new();
    for expr in of {
        match expr {
            Expr::And(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    if flat.len() == 1 { flat.swap_remove(0) } else { Expr::And(flat) }
}

/// `name = "plan"` among the conditions of a filter.
fn trait_name(filter: &Filter) -> Option<String> {
    filter.conditions.iter().find_map(|condition| trait_name_in(&condition.kind))
}

fn trait_name_in(kind: &ExprKind) -> Option<String> {
    match kind {
        ExprKind::And(of) => of.iter().find_map(|e| trait_name_in(&e.kind)),
        ExprKind::Paren(of) => trait_name_in(&of.kind),
        ExprKind::Related { of, relation } => match (&of.kind, &relation.kind) {
            (TermKind::Path(path), RelationKind::Compare { op: CompareOp::Eq, right, .. }) if path.len() == 1 && path[0].text == "name" => {
                match &right.kind {
                    TermKind::Literal(literal) => match &literal.kind {
                        LiteralKind::Text(text) => Some(text.clone()),
                        _ => None,
                    },
                    _ => None,
                }
            }
            _ => None,
        },
        _ => None,
    }
}

/// `*` stands for any number of characters. Linear but for the number of stars.
fn wildcard(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or("");
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let last = pieces.pop();
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    match last {
        Some(last) => rest.ends_with(last),
        None => rest.is_empty(),
    }
}

fn group_text(parts: &[Part]) -> String {
    match parts {
        [one] => one.text.clone(),
        many => format!("({})", many.iter().map(|p| p.text.as_str()).collect::<Vec<_>>().join(" | ")),
    }
}

/// `a, b, c`, at most ten of them.
pub(super) fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        return "none".into();
    }
    let mut shown: Vec<String> = names.iter().take(10).map(|n| format!("`{n}`")).collect();
    if names.len() > shown.len() {
        shown.push("...".into());
    }
    shown.join(", ")
}

/// The span of a path.
pub(super) fn path_span(path: &[Name]) -> Span {
    path[0].span.to(path[path.len() - 1].span)
}

#[cfg(test)]
mod tests {
    use super::wildcard;

    #[test]
    fn stars_match_any_number_of_characters() {
        for (pattern, name, matches) in [
            ("order_*", "order_completed", true),
            ("order_*", "reorder_", false),
            ("*_viewed", "product_viewed", true),
            ("*a*b", "xaxb", true),
            ("*a*b", "xbxa", false),
            ("a*a", "a", false),
            ("*", "anything", true),
        ] {
            assert_eq!(wildcard(pattern, name), matches, "{pattern} {name}");
        }
    }
}
