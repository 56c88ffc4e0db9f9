//! Paths: properties, traits, the cart, the local clock, and lets that stand as values.

use super::super::definition::{CartPath, LocalPath, Path, Term};
use super::super::diagnostic::Code;
use super::super::source::Span;
use super::super::tree::{ExprKind, LetValue, Name};
use super::Kind;
use super::lower::{Checked, Lower, Scope, Stop, lone_name};
use super::selectors::{listed, path_span};
use super::terms::Place;
use super::types::{Ty, reach};
use crate::model::Value;

impl<'t> Lower<'t, '_> {
    pub(super) fn path(&mut self, path: &'t [Name], place: Place) -> Checked<(Term, Ty)> {
        let head = &path[0];
        let span = path_span(path);
        let names: Vec<String> = path.iter().map(|n| n.text.clone()).collect();
        if let Scope::Filter(scope) = &self.scope {
            let scope = scope.clone();
            let is_property = scope.sources.iter().any(|s| s.properties.iter().any(|p| p.name == head.text));
            if is_property {
                let ty = self.property_in(&scope, path)?;
                return Ok((Term::Path(Path::Property { path: names, ty: ty.clone() }), Ty::of(&ty)));
            }
            if !head.quoted && path.len() > 1 && matches!(head.text.as_str(), "customer" | "cart") {
                let message = format!("a filter sees only the event, not `{}`", head.text);
                return self.fail_help(Code::E03, span, message, "compare outside of `[...]`, or let the event carry the value");
            }
            if !(head.text == "local" && !head.quoted && path.len() > 1) && (path.len() > 1 || self.find_let(head).is_none()) {
                self.property_in(&scope, path)?;
                return Err(Stop);
            }
        }
        if !head.quoted {
            match head.text.as_str() {
                "customer" => return self.customer_path(path, span),
                "cart" => return self.cart_path(path, span),
                "local" => return self.local_path(path, span),
                _ => {}
            }
        }
        if path.len() == 1
            && let Some(item) = self.find_let(head)
        {
            return self.inlined(item, head.span, |lower, value| match value {
                LetValue::Duration(dur) => Ok((Term::Literal(Value::Duration(lower.duration(dur)?)), Ty::Duration)),
                LetValue::Expr(expr) => match &*expr.kind {
                    ExprKind::Bare(term) => lower.term_at(term, place),
                    _ => match lone_name(expr) {
                        Some(_) => Err(Stop),
                        None => lower.fail(Code::E03, head.span, format!("`{}` is a condition, expected a value", head.text)),
                    },
                },
                LetValue::Selector(_) => lower.fail_help(
                    Code::E03,
                    head.span,
                    format!("`{}` is an event, expected a condition or a value", head.text),
                    format!("count it: `any {} in last 7d`, `count({}) in last 7d`", head.text, head.text),
                ),
            });
        }
        self.unknown_path(path)
    }

    fn unknown_path<T>(&mut self, path: &[Name]) -> Checked<T> {
        let head = &path[0];
        let catalogue = &self.world.catalogue;
        if catalogue.event(&head.text).is_some() {
            let message = format!("`{}` is an event, expected a condition or a value", head.text);
            let help = if path.len() > 1 {
                format!("its newest: `last({}).{}`", head.text, path[1].text)
            } else {
                format!("for example `any {0} in last 7d` or `count({0}) in last 7d >= 3`", head.text)
            };
            return self.fail_help(Code::E03, head.span, message, help);
        }
        if path.len() == 1 {
            if catalogue.trait_named(&head.text).is_some() {
                let help = format!("traits are written `customer.{}`", head.text);
                return self.fail_help(Code::E02, head.span, format!("unknown name `{}`", head.text), help);
            }
            if let Some(definition) = self.world.definition(&head.text)
                && definition.kind == Kind::Segment
            {
                let help = format!("a segment is written `in segment {}`", head.text);
                return self.fail_help(Code::E02, head.span, format!("unknown name `{}`", head.text), help);
            }
        }
        let mut known = self.lets_where(|_| true);
        known.extend(["customer", "cart", "local", "everyone"]);
        self.unknown("name", head, &known, "a value is a literal, a let, `customer.x`, `cart.x`, `local.x`, or a function of events")
    }

    fn customer_path(&mut self, path: &[Name], span: Span) -> Checked<(Term, Ty)> {
        let Some(name) = path.get(1) else {
            return self.fail_help(Code::E02, span, "`customer` stands only before a trait", "for example `customer.country`");
        };
        self.variable = true;
        if name.text == "first_seen" && path.len() == 2 {
            return Ok((Term::Path(Path::FirstSeen), Ty::Instant));
        }
        let catalogue = &self.world.catalogue;
        let Some(index) = catalogue.trait_named(&name.text) else {
            let mut known: Vec<&str> = catalogue.traits.iter().map(|t| t.name.as_str()).collect();
            known.push("first_seen");
            return self.unknown("trait", name, &known, &format!("declare it in the catalogue: `trait {} string`", name.text));
        };
        let rest = &path[2..];
        match reach(&catalogue.traits[index.at()].ty, rest) {
            Ok(ty) => {
                let rest = rest.iter().map(|n| n.text.clone()).collect();
                Ok((Term::Path(Path::Trait { index, rest, ty: ty.clone() }), Ty::of(ty)))
            }
            Err((at, None)) => self.fail(Code::E03, rest[at].span, format!("`{}` is not a record", path[at + 1].text)),
            Err((at, Some(fields))) => {
                let known: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
                self.unknown("property", &rest[at], &known, &format!("`{}` has {}", path[at + 1].text, listed(&known)))
            }
        }
    }

    fn cart_path(&mut self, path: &[Name], span: Span) -> Checked<(Term, Ty)> {
        if self.world.catalogue.cart.is_empty() {
            let help = "say which events change it: `cart { add add_to_cart  buy order_completed }`";
            return self.fail_help(Code::E02, span, "the catalogue declares no cart", help);
        }
        self.variable = true;
        let currency = self.world.catalogue.workspace.currency;
        let (cart, ty) = match path.get(1).map(|n| n.text.as_str()) {
            None => (CartPath::Whole, Ty::Cart),
            Some("value") => (CartPath::Value, Ty::Money(Some(currency))),
            Some("quantity") => (CartPath::Quantity, Ty::Int),
            Some("items") => (CartPath::Items, Ty::Lines),
            Some("changed_at") => (CartPath::ChangedAt, Ty::Instant),
            Some(_) => {
                let known = ["value", "quantity", "items", "changed_at"];
                return self.unknown("property of the cart:", &path[1], &known, &format!("it has {}", listed(&known)));
            }
        };
        if let Some(extra) = path.get(2) {
            return self.fail(Code::E03, extra.span, format!("`cart.{}` is not a record", path[1].text));
        }
        Ok((Term::Path(Path::Cart(cart)), ty))
    }

    fn local_path(&mut self, path: &[Name], span: Span) -> Checked<(Term, Ty)> {
        if let Scope::Filter(scope) = &self.scope
            && !scope.timed
        {
            let help = "compare `local` outside of `has [..]`";
            return self.fail_help(Code::E03, span, "what stands in a cart or a trait has no instant that a clock could tell", help);
        }
        self.variable = true;
        if !self.in_filter() {
            self.everybody_flips(span);
        }
        let weekdays = || ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map(String::from).to_vec();
        let (local, ty) = match path.get(1).map(|n| n.text.as_str()) {
            Some("time") => (LocalPath::Time, Ty::Clock),
            Some("weekday") => (LocalPath::Weekday, Ty::Words(weekdays())),
            Some("hour") => (LocalPath::Hour, Ty::Int),
            Some("date") => (LocalPath::Date, Ty::Date),
            _ => {
                let known = ["time", "weekday", "hour", "date"];
                let name = path.get(1).unwrap_or(&path[0]);
                return self.unknown("part of the local clock:", name, &known, "`local` has `time`, `weekday`, `hour` and `date`");
            }
        };
        if let Some(extra) = path.get(2) {
            return self.fail(Code::E03, extra.span, format!("`local.{}` is not a record", path[1].text));
        }
        Ok((Term::Path(Path::Local(local)), ty))
    }
}
