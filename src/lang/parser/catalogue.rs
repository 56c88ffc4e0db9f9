//! The catalogue: workspace, events, traits, purposes, carts, types (LANGUAGE.md 4).

use super::super::diagnostic::Code;
use super::super::lexer::Kind;
use super::super::tree::{CartRule, Event, ItemKind, Name, Property, Type, Workspace};
use super::{Mark, Parsed, Parser};
use crate::model::{CartAction, InstantFormat};

const TYPES: [&str; 12] = ["bool", "int", "decimal", "string", "instant", "date", "duration", "geo", "money", "enum", "list", "record"];

impl Parser<'_> {
    pub(super) fn workspace(&mut self) -> Parsed<Workspace> {
        let span = self.span();
        self.bump();
        self.expect_sign("{")?;
        let mut workspace = Workspace { timezone: None, currency: None, session_gap: None, span };
        let starts = |p: &Self| matches!(p.word(0), "timezone" | "currency" | "session");
        self.body("the workspace", starts, |p| {
            let span = p.span();
            let twice = match p.word(0) {
                "timezone" => {
                    p.bump();
                    let zone = p.string("the name of a zone")?;
                    workspace.timezone.replace(zone).is_some()
                }
                "currency" => {
                    p.bump();
                    let currency = p.currency()?;
                    workspace.currency.replace(currency).is_some()
                }
                "session" => {
                    p.bump();
                    p.expect_word("gap")?;
                    let gap = p.duration()?;
                    workspace.session_gap.replace(gap).is_some()
                }
                _ => return p.unknown_word("`timezone`, `currency`, `session gap` or `}`", &["timezone", "currency", "session"]),
            };
            if twice {
                return p.error(Code::E12, span, "this setting stands twice".into(), None);
            }
            Ok(())
        });
        Ok(workspace)
    }

    fn currency(&mut self) -> Parsed<Name> {
        let span = self.span();
        if *self.kind() != Kind::Currency {
            return self.expected("a currency", Some("three capitals: `EUR`"));
        }
        let text = self.text_of(self.token(0)).to_string();
        self.bump();
        Ok(Name { text, quoted: false, span })
    }

    pub(super) fn event(&mut self) -> Parsed<Event> {
        self.bump();
        let name = self.declared_name("the name of the event")?;
        let mut is_activity = false;
        if self.take_word("is") {
            self.expect_word("activity")?;
            is_activity = true;
        }
        self.expect_sign("{")?;
        let mut event = Event { name, is_activity, properties: Vec::new(), retention: None, lateness: None, dedup: None };
        let what = format!("event `{}`", event.name.text);
        self.body(&what, Self::property_starts, |p| {
            let span = p.span();
            // A property may have any of these names: then a type follows.
            if matches!(p.word(0), "retention" | "lateness" | "dedup") && !TYPES.contains(&p.word(1)) {
                let word = p.word(0);
                p.bump();
                let duration = p.duration()?;
                let place = match word {
                    "retention" => &mut event.retention,
                    "lateness" => &mut event.lateness,
                    _ => &mut event.dedup,
                };
                if place.replace(duration).is_some() {
                    return p.error(Code::E12, span, format!("`{word}` stands twice"), None);
                }
            } else {
                event.properties.push(p.property()?);
            }
            Ok(())
        });
        Ok(event)
    }

    fn property_starts(&self) -> bool {
        self.is_name_at(0) && (TYPES.contains(&self.word(1)) || matches!(self.token(1).kind, Kind::Duration(_)))
    }

    /// `NAME type [from STRING]`.
    pub(super) fn property(&mut self) -> Parsed<Property> {
        let name = self.name("a property: its name and its type")?;
        if !name.quoted && name.text == "at" {
            self.report.help(
                Code::E15,
                name.span,
                "`at` cannot be the name of a property: `last(x).at` is the event's time",
                "take another name and say where the value is: `at_time instant from \"/at\"`",
            );
        }
        let ty = self.ty()?;
        let from = if self.is_word("from") && matches!(self.token(1).kind, Kind::Text(_)) {
            self.bump();
            Some(self.string("a JSON pointer")?)
        } else {
            None
        };
        Ok(Property { name, ty, from })
    }

    fn ty(&mut self) -> Parsed<Type> {
        let word = self.word(0);
        if !TYPES.contains(&word) {
            return self.unknown_word("a type", &TYPES);
        }
        self.bump();
        Ok(match word {
            "bool" => Type::Bool,
            "int" => Type::Int,
            "decimal" => Type::Decimal,
            "string" => Type::Text,
            "date" => Type::Date,
            "duration" => Type::Duration,
            "geo" => Type::Geo,
            "instant" => match (self.is_word("in"), self.word(1)) {
                (true, "s") => self.two(Type::Instant(InstantFormat::Seconds)),
                (true, "ms") => self.two(Type::Instant(InstantFormat::Millis)),
                _ => Type::Instant(InstantFormat::Rfc3339),
            },
            "money" if self.take_word("in") => {
                if *self.kind() == Kind::Currency {
                    Type::Money(Some(self.currency()?))
                } else {
                    Type::Money(Some(self.name("a currency such as `EUR`, or the property that holds it")?))
                }
            }
            "money" => Type::Money(None),
            "enum" => {
                self.expect_sign("[")?;
                let mut words = vec![self.string("a word of the enum, as text")?];
                while self.take_sign(",") {
                    words.push(self.string("a word of the enum, as text")?);
                }
                self.expect_sign("]")?;
                Type::Enum(words)
            }
            "list" => {
                self.expect_word("of")?;
                Type::List(Box::new(self.nested(Self::ty)?))
            }
            _ => {
                self.expect_sign("{")?;
                let mut fields = Vec::new();
                while !self.take_sign("}") {
                    self.mark(Mark::Clause);
                    fields.push(self.nested(Self::property)?);
                }
                Type::Record(fields)
            }
        })
    }

    /// Leaves two tokens behind.
    fn two(&mut self, ty: Type) -> Type {
        self.bump();
        self.bump();
        ty
    }

    pub(super) fn purpose(&mut self) -> Parsed<ItemKind> {
        self.bump();
        let name = self.declared_name("the name of the purpose")?;
        let default_granted = self.take_word("default");
        if default_granted {
            self.expect_word("granted")?;
        }
        Ok(ItemKind::Purpose { name, default_granted })
    }

    pub(super) fn cart(&mut self) -> Parsed<ItemKind> {
        let span = self.span();
        self.bump();
        self.expect_sign("{")?;
        let mut rules = Vec::new();
        let action = |word: &str| {
            Some(match word {
                "set" => CartAction::Set,
                "add" => CartAction::Add,
                "remove" => CartAction::Remove,
                "clear" => CartAction::Clear,
                "buy" => CartAction::Buy,
                _ => return None,
            })
        };
        self.body(
            "the cart",
            |p| action(p.word(0)).is_some(),
            |p| {
                let Some(action) = action(p.word(0)) else {
                    return p.unknown_word("`set`, `add`, `remove`, `clear`, `buy` or `}`", &["set", "add", "remove", "clear", "buy"]);
                };
                p.bump();
                let event = p.name("the name of an event")?;
                let lines = if p.take_word("lines") { Some(p.path("the property that lists the lines")?) } else { None };
                rules.push(CartRule { action, event, lines });
                Ok(())
            },
        );
        Ok(ItemKind::Cart { rules, span })
    }
}
