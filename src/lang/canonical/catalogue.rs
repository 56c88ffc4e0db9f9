//! The canonical form of a catalogue: part of a set's identity.

use serde_json::{Value as Json, json};

use super::sorted;
use crate::model::{CartAction, Catalogue, InstantFormat, MoneyCurrency, Property, Type};
use crate::time::Millis;

/// The catalogue as part of a set's identity, keys to be sorted.
pub fn catalogue_json(catalogue: &Catalogue) -> Json {
    let ms = |d: Option<Millis>| d.map_or(Json::Null, |d| json!(d.0));
    let events: Vec<Json> = catalogue
        .events
        .iter()
        .map(|e| {
            json!({
                "name": e.name, "activity": e.is_activity, "properties": properties(&e.properties),
                "retention_ms": ms(e.retention), "lateness_ms": ms(e.lateness), "dedup_ms": ms(e.dedup),
            })
        })
        .collect();
    let traits: Vec<Json> =
        catalogue.traits.iter().map(|t| json!({"name": t.name, "type": type_json(&t.ty, &[]), "from": t.pointer})).collect();
    let cart: Vec<Json> = catalogue
        .cart
        .iter()
        .map(|rule| {
            let event = &catalogue.events[rule.event.at()];
            let action = match rule.action {
                CartAction::Set => "set",
                CartAction::Add => "add",
                CartAction::Remove => "remove",
                CartAction::Clear => "clear",
                CartAction::Buy => "buy",
            };
            json!({"action": action, "event": event.name, "lines": rule.lines.map(|p| event.properties[p.at()].name.clone())})
        })
        .collect();
    let settings = &catalogue.workspace;
    sorted(&json!({
        "workspace": {"timezone": settings.timezone, "currency": settings.currency.to_string(), "session_gap_ms": settings.session_gap.0},
        "events": events,
        "traits": traits,
        "purposes": catalogue.purposes.iter().map(|p| json!({"name": p.name, "default_granted": p.default_granted})).collect::<Vec<_>>(),
        "lists": catalogue.lists,
        "cart": cart,
    }))
}

fn properties(properties: &[Property]) -> Vec<Json> {
    properties.iter().map(|p| json!({"name": p.name, "type": type_json(&p.ty, properties), "from": p.pointer})).collect()
}

fn type_json(ty: &Type, siblings: &[Property]) -> Json {
    match ty {
        Type::Bool => json!("bool"),
        Type::Int => json!("int"),
        Type::Decimal => json!("decimal"),
        Type::Text => json!("string"),
        Type::Instant(InstantFormat::Rfc3339) => json!("instant"),
        Type::Instant(InstantFormat::Seconds) => json!("instant in s"),
        Type::Instant(InstantFormat::Millis) => json!("instant in ms"),
        Type::Date => json!("date"),
        Type::Duration => json!("duration"),
        Type::Geo => json!("geo"),
        Type::Money(MoneyCurrency::Fixed(currency)) => json!({"money": currency.to_string()}),
        Type::Money(MoneyCurrency::Property(index)) => json!({"money_in": siblings.get(index.at()).map(|p| p.name.clone())}),
        Type::Enum(words) => json!({"enum": words}),
        Type::List(of) => json!({"list": type_json(of, &[])}),
        Type::Record(fields) => json!({"record": properties(fields)}),
    }
}
