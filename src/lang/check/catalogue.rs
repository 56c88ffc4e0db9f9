//! Declarations to the catalogue: types, pointers, currencies, the cart (LANGUAGE.md 4).

use super::super::diagnostic::{Code, Report, nearest};
use super::super::source::Span;
use super::super::tree::{self, Dur, Item, ItemKind, Name};
use super::lower::{Checked, Stop};
use super::{World, plain, twice, unknown};
use crate::ids::{EventIndex, PropertyIndex};
use crate::limits::CATALOGUE_ENTRIES_MAX;
use crate::model::{CartAction, CartRule, Catalogue, Currency, EventType, MoneyCurrency, Property, Purpose, Trait, Type};
use crate::time::Millis;

/// Fills the catalogue of `world`. Faulty declarations stand in it too, as far as they go, so that what uses them is checked.
pub(super) fn build<'t>(world: &mut World<'t>, items: &'t [Item], report: &mut Report) {
    let mut catalogue = Catalogue::default();
    workspace(world, items, &mut catalogue, report);
    events(world, items, &mut catalogue, report);
    traits(world, items, &mut catalogue, report);
    let mut purposes: Vec<(&Name, bool)> = Vec::new();
    let mut lists: Vec<&Name> = Vec::new();
    for item in items {
        match &item.kind {
            ItemKind::Purpose { name, default_granted } => match purposes.iter().find(|(n, _)| n.text == name.text) {
                Some((first, _)) => twice(world, report, "purpose", name, first.span),
                None => purposes.push((name, *default_granted)),
            },
            ItemKind::List(name) => match lists.iter().find(|n| n.text == name.text) {
                Some(first) => twice(world, report, "list", name, first.span),
                None => lists.push(name),
            },
            _ => {}
        }
    }
    bounded(purposes.len(), purposes.last().map(|(n, _)| n.span), "purposes", report);
    bounded(lists.len(), lists.last().map(|n| n.span), "lists", report);
    catalogue.purposes = purposes.into_iter().map(|(n, granted)| Purpose { name: n.text.clone(), default_granted: granted }).collect();
    catalogue.purposes.sort_by(|a, b| a.name.cmp(&b.name));
    catalogue.purposes.truncate(CATALOGUE_ENTRIES_MAX);
    catalogue.lists = lists.into_iter().map(|n| n.text.clone()).collect();
    catalogue.lists.sort_unstable();
    catalogue.lists.truncate(CATALOGUE_ENTRIES_MAX);
    cart(world, items, &mut catalogue, report);
    world.catalogue = catalogue;
}

fn bounded(n: usize, span: Option<Span>, what: &str, report: &mut Report) {
    if let (true, Some(span)) = (n > CATALOGUE_ENTRIES_MAX, span) {
        report.add(Code::E14, span, format!("the catalogue has {n} {what}, more than {CATALOGUE_ENTRIES_MAX}"));
    }
}

fn length<'t>(world: &World<'t>, dur: &'t Option<Dur>, report: &mut Report) -> Option<Millis> {
    dur.as_ref().and_then(|d| plain(world, report).positive(d).ok())
}

fn workspace<'t>(world: &World<'t>, items: &'t [Item], catalogue: &mut Catalogue, report: &mut Report) {
    let mut first: Option<Span> = None;
    for item in items {
        let ItemKind::Workspace(workspace) = &item.kind else { continue };
        if let Some(first) = first {
            let help = format!("the first is at {}", world.place(first));
            report.help(Code::E12, workspace.span, "the workspace is declared twice", help);
            continue;
        }
        first = Some(workspace.span);
        let settings = &mut catalogue.workspace;
        if let Some((name, span)) = &workspace.timezone
            && zone(name, *span, report).is_ok()
        {
            settings.timezone = name.clone();
        }
        if let Some(currency) = &workspace.currency {
            settings.currency = Currency::parse(&currency.text).unwrap_or(settings.currency);
        }
        if let Some(gap) = length(world, &workspace.session_gap, report) {
            settings.session_gap = gap;
        }
    }
}

/// Refuses a zone that the built-in database does not have.
pub(super) fn zone(name: &str, span: Span, report: &mut Report) -> Checked<()> {
    if crate::model::ZoneDatabase::bundled().find(name).is_some() {
        return Ok(());
    }
    let meant = nearest(name, crate::model::ZoneDatabase::bundled().names());
    let help = match meant {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => "zones have names such as \"Europe/Paris\" or \"UTC\"".into(),
    };
    report.help(Code::E02, span, format!("unknown time zone {name:?}"), help);
    if let Some(meant) = meant {
        report.fix(span, format!("{meant:?}"));
    }
    Err(Stop)
}

fn events<'t>(world: &mut World<'t>, items: &'t [Item], catalogue: &mut Catalogue, report: &mut Report) {
    let mut declared: Vec<(&'t tree::Event, bool)> = Vec::new();
    for item in items {
        let ItemKind::Event(event) = &item.kind else { continue };
        declared.push((event, item.broken));
    }
    // Stable, so that the first in the text stays first.
    declared.sort_by(|a, b| a.0.name.text.cmp(&b.0.name.text));
    for i in 1..declared.len() {
        if declared[i].0.name.text == declared[i - 1].0.name.text {
            twice(world, report, "event", &declared[i].0.name, declared[i - 1].0.name.span);
        }
    }
    declared.dedup_by(|b, a| a.0.name.text == b.0.name.text);
    bounded(declared.len(), declared.last().map(|(e, _)| e.name.span), "events", report);
    declared.truncate(CATALOGUE_ENTRIES_MAX);
    for (event, broken) in declared {
        let errors = report.errors();
        let properties = fields(world, &event.properties, catalogue.workspace.currency, report);
        catalogue.events.push(EventType {
            name: event.name.text.clone(),
            is_activity: event.is_activity,
            properties,
            retention: length(world, &event.retention, report),
            lateness: length(world, &event.lateness, report),
            dedup: length(world, &event.dedup, report),
        });
        if broken || report.errors() > errors {
            world.broken_events.insert(event.name.text.clone());
        }
    }
}

fn traits<'t>(world: &World<'t>, items: &'t [Item], catalogue: &mut Catalogue, report: &mut Report) {
    let mut declared: Vec<&'t tree::Property> = Vec::new();
    for item in items {
        let ItemKind::Trait(declaration) = &item.kind else { continue };
        declared.push(declaration);
    }
    declared.sort_by(|a, b| a.name.text.cmp(&b.name.text));
    for pair in declared.windows(2) {
        if pair[0].name.text == pair[1].name.text {
            twice(world, report, "trait", &pair[1].name, pair[0].name.span);
        }
    }
    declared.dedup_by(|b, a| a.name.text == b.name.text);
    bounded(declared.len(), declared.last().map(|t| t.name.span), "traits", report);
    declared.truncate(CATALOGUE_ENTRIES_MAX);
    for declaration in declared {
        if declaration.name.text == "first_seen" {
            report.add(Code::E12, declaration.name.span, "`customer.first_seen` is built in");
        }
        let pointer = pointer(&declaration.from, report);
        // A fault is reported; text keeps what uses the trait from being reported too often.
        let ty = ty(world, &declaration.ty, &[], 0, catalogue.workspace.currency, report).unwrap_or(Type::Text);
        catalogue.traits.push(Trait { name: declaration.name.text.clone(), ty, pointer });
    }
}

/// The properties of an event or a record. Those with a fault are left out.
fn fields(world: &World<'_>, declared: &[tree::Property], currency: Currency, report: &mut Report) -> Vec<Property> {
    let mut fields: Vec<Property> = Vec::new();
    bounded(declared.len(), declared.last().map(|p| p.name.span), "properties of one event", report);
    for (i, property) in declared.iter().take(CATALOGUE_ENTRIES_MAX).enumerate() {
        if let Some(first) = declared[..i].iter().find(|p| p.name.text == property.name.text) {
            twice(world, report, "property", &property.name, first.name.span);
            continue;
        }
        let pointer = pointer(&property.from, report);
        if let Ok(ty) = ty(world, &property.ty, declared, i, currency, report) {
            fields.push(Property { name: property.name.text.clone(), ty, pointer });
        }
    }
    // Siblings that hold a currency were found by their place among the declared; some may have been left out.
    if fields.len() < declared.len() {
        let place = |index: PropertyIndex| {
            let name = &declared.get(index.at())?.name.text;
            fields.iter().position(|f| f.name == *name).map(|i| PropertyIndex(i as u16))
        };
        let moved: Vec<Option<PropertyIndex>> = fields
            .iter()
            .map(|f| match f.ty {
                Type::Money(MoneyCurrency::Property(index)) => place(index),
                _ => None,
            })
            .collect();
        for (field, moved) in fields.iter_mut().zip(moved) {
            if let Type::Money(money @ MoneyCurrency::Property(_)) = &mut field.ty {
                *money = moved.map_or(MoneyCurrency::Fixed(currency), MoneyCurrency::Property);
            }
        }
    }
    fields
}

fn ty(
    world: &World<'_>,
    declared: &tree::Type,
    siblings: &[tree::Property],
    own: usize,
    currency: Currency,
    report: &mut Report,
) -> Checked<Type> {
    Ok(match declared {
        tree::Type::Bool => Type::Bool,
        tree::Type::Int => Type::Int,
        tree::Type::Decimal => Type::Decimal,
        tree::Type::Text => Type::Text,
        tree::Type::Instant(format) => Type::Instant(*format),
        tree::Type::Date => Type::Date,
        tree::Type::Duration => Type::Duration,
        tree::Type::Geo => Type::Geo,
        tree::Type::Money(None) => Type::Money(MoneyCurrency::Fixed(currency)),
        tree::Type::Money(Some(name)) => match Currency::parse(&name.text).filter(|_| !name.quoted) {
            Some(code) => Type::Money(MoneyCurrency::Fixed(code)),
            None => Type::Money(MoneyCurrency::Property(currency_property(name, siblings, own, report)?)),
        },
        tree::Type::Enum(words) => {
            let mut list: Vec<String> = Vec::new();
            for (word, span) in words {
                if list.contains(word) {
                    report.add(Code::E12, *span, format!("the word {word:?} stands twice"));
                } else {
                    list.push(word.clone());
                }
            }
            Type::Enum(list)
        }
        tree::Type::List(of) => Type::List(Box::new(ty(world, of, &[], 0, currency, report)?)),
        tree::Type::Record(declared) => Type::Record(fields(world, declared, currency, report)),
    })
}

/// The sibling that holds the currency of an amount.
fn currency_property(name: &Name, siblings: &[tree::Property], own: usize, report: &mut Report) -> Checked<PropertyIndex> {
    let Some(index) = siblings.iter().position(|p| p.name.text == name.text) else {
        if siblings.is_empty() {
            report.add(
                Code::E03,
                name.span,
                "a currency that comes with the value needs a property beside it; write a fixed one: `money in EUR`",
            );
        } else {
            let known = siblings.iter().enumerate().filter(|(i, _)| *i != own).map(|(_, p)| p.name.text.as_str());
            unknown(
                report,
                "property",
                name,
                known,
                "`money in X`: a currency such as `EUR`, or the property beside it that holds the code",
            );
        }
        return Err(Stop);
    };
    if !matches!(siblings[index].ty, tree::Type::Text | tree::Type::Enum(_)) {
        report.add(Code::E03, name.span, format!("`{}` holds a currency, so it has to be a string or an enum", name.text));
        return Err(Stop);
    }
    Ok(PropertyIndex(index as u16))
}

/// A JSON pointer (RFC 6901) to its unescaped tokens.
fn pointer(from: &Option<(String, Span)>, report: &mut Report) -> Option<Vec<String>> {
    let (text, span) = from.as_ref()?;
    let Some(rest) = text.strip_prefix('/') else {
        report.help(Code::E01, *span, format!("{text:?} is no JSON pointer"), "it starts with `/`: \"/context/page/url\"");
        return None;
    };
    let mut tokens = Vec::new();
    for token in rest.split('/') {
        let bad = token.match_indices('~').any(|(i, _)| !matches!(token.as_bytes().get(i + 1), Some(b'0' | b'1')));
        if bad {
            report.help(Code::E01, *span, format!("{text:?} is no JSON pointer"), "`~` is written `~0`, and `/` inside a key `~1`");
            return None;
        }
        tokens.push(token.replace("~1", "/").replace("~0", "~"));
    }
    Some(tokens)
}

fn cart<'t>(world: &mut World<'t>, items: &'t [Item], catalogue: &mut Catalogue, report: &mut Report) {
    let mut first: Option<Span> = None;
    for item in items {
        let ItemKind::Cart { rules, span } = &item.kind else { continue };
        if let Some(first) = first {
            let help = format!("the first is at {}", world.place(first));
            report.help(Code::E12, *span, "the cart is declared twice", help);
            continue;
        }
        first = Some(*span);
        world.broken_cart |= item.broken;
        if rules.is_empty() && !item.broken {
            let help = "for example `cart { add add_to_cart  buy order_completed }`";
            report.help(Code::E01, *span, "the cart says of no event what it does to it", help);
        }
        for rule in rules {
            match cart_rule(world, rule, catalogue, report) {
                Ok(rule) => catalogue.cart.push(rule),
                Err(Stop) => world.broken_cart = true,
            }
        }
    }
}

fn cart_rule(world: &World<'_>, rule: &tree::CartRule, catalogue: &Catalogue, report: &mut Report) -> Checked<CartRule> {
    let Some(event) = catalogue.event(&rule.event.text) else {
        let known = catalogue.events.iter().map(|e| e.name.as_str());
        unknown(report, "event", &rule.event, known, "the events of the cart are declared like all others");
        return Err(Stop);
    };
    if let Some(before) = catalogue.cart.iter().find(|r| r.event == event) {
        let message = format!("`{}` has two effects on the cart", rule.event.text);
        report.help(Code::E13, rule.event.span, message, format!("`{}` stands for it already", action_word(before.action)));
        return Err(Stop);
    }
    let lines = match &rule.lines {
        Some(path) => Some(lines_property(path, event, catalogue, report)?),
        None => None,
    };
    if rule.action == CartAction::Clear && lines.is_some() {
        report.add(Code::E13, rule.event.span, "`clear` empties the cart and has no lines");
        return Err(Stop);
    }
    let declared = &catalogue.events[event.at()];
    let broken = world.broken_events.contains(&declared.name);
    let needs_lines = match rule.action {
        CartAction::Set | CartAction::Add | CartAction::Remove => true,
        CartAction::Buy => lines.is_some(),
        CartAction::Clear => false,
    };
    if needs_lines && !broken {
        let fields = match lines.map(|p| &declared.properties[p.at()].ty) {
            Some(Type::List(of)) => match &**of {
                Type::Record(fields) => fields.as_slice(),
                _ => &[],
            },
            _ => declared.properties.as_slice(),
        };
        line_fields(rule, fields, report)?;
    }
    Ok(CartRule { action: rule.action, event, lines })
}

fn lines_property(path: &[Name], event: EventIndex, catalogue: &Catalogue, report: &mut Report) -> Checked<PropertyIndex> {
    let event = &catalogue.events[event.at()];
    if let Some(extra) = path.get(1) {
        let help = "declare the list as a property of the event: `lines list of record { .. } from \"/order/lines\"`";
        report.help(Code::E03, extra.span, "the lines are a property of the event itself", help);
        return Err(Stop);
    }
    let Some(index) = event.property(&path[0].text) else {
        let known = event.properties.iter().map(|p| p.name.as_str());
        unknown(report, &format!("property of event `{}`:", event.name), &path[0], known, "the list of the lines has to be declared");
        return Err(Stop);
    };
    match &event.properties[index.at()].ty {
        Type::List(of) if matches!(**of, Type::Record(_)) => Ok(index),
        _ => {
            let message = format!("`{}` is no list of records", path[0].text);
            report.help(Code::E03, path[0].span, message, "for example `lines list of record { product_id string  quantity int }`");
            Err(Stop)
        }
    }
}

/// What the cart reads of a line: its product, and quantity and price of the right type where they are.
fn line_fields(rule: &tree::CartRule, fields: &[Property], report: &mut Report) -> Checked<()> {
    let span = rule.event.span;
    let field = |name: &str| fields.iter().find(|f| f.name == name);
    if field("product_id").or(field("sku")).is_none() {
        let message = format!("a line of `{}` has neither `product_id` nor `sku`", rule.event.text);
        report.help(Code::E02, span, message, "the cart knows its lines by one of them; `from` names it where its key is another");
        return Err(Stop);
    }
    for name in ["product_id", "sku", "variant", "quantity", "price"] {
        let Some(found) = field(name) else { continue };
        let (fits, what) = match name {
            "quantity" => (matches!(found.ty, Type::Int), "an int"),
            "price" => (matches!(found.ty, Type::Money(_)), "money"),
            _ => (matches!(found.ty, Type::Text | Type::Int | Type::Enum(_)), "a string or an int"),
        };
        if !fits {
            let message = format!("`{name}` of a cart line has to be {what}");
            report.add(Code::E03, span, message);
            return Err(Stop);
        }
    }
    Ok(())
}

fn action_word(action: CartAction) -> &'static str {
    match action {
        CartAction::Set => "set",
        CartAction::Add => "add",
        CartAction::Remove => "remove",
        CartAction::Clear => "clear",
        CartAction::Buy => "buy",
    }
}
