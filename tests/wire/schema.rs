//! A catalogue with every type in it, made by hand so that the wire's tests do not depend on the language's.

use std::sync::Arc;

use segmentd::ids::PropertyIndex;
use segmentd::model::{Catalogue, Currency, EventType, InstantFormat, MoneyCurrency, Property, Purpose, Trait, Type, WorkspaceSettings};
use segmentd::plan::schema::Schema;

pub fn property(name: &str, ty: Type) -> Property {
    Property { name: name.into(), ty, pointer: None }
}

pub fn at(name: &str, ty: Type, pointer: &[&str]) -> Property {
    Property { name: name.into(), ty, pointer: Some(pointer.iter().map(|t| (*t).to_string()).collect()) }
}

fn event(name: &str, properties: Vec<Property>) -> EventType {
    EventType { name: name.into(), is_activity: true, properties, retention: None, lateness: None, dedup: None }
}

fn line() -> Vec<Property> {
    vec![
        property("product_id", Type::Text),
        property("quantity", Type::Int),
        property("price", Type::Money(MoneyCurrency::Property(PropertyIndex(3)))),
        at("currency", Type::Text, &["meta", "currency"]),
    ]
}

pub fn every_type() -> Vec<Property> {
    vec![
        property("b", Type::Bool),
        property("i", Type::Int),
        property("d", Type::Decimal),
        property("t", Type::Text),
        property("at", Type::Instant(InstantFormat::Rfc3339)),
        property("s", Type::Instant(InstantFormat::Seconds)),
        property("ms", Type::Instant(InstantFormat::Millis)),
        property("day", Type::Date),
        property("dur", Type::Duration),
        property("geo", Type::Geo),
        property("eur", Type::Money(MoneyCurrency::Fixed(Currency::EUR))),
        property("yen", Type::Money(MoneyCurrency::Fixed(Currency::parse("JPY").expect("a code")))),
        property("price", Type::Money(MoneyCurrency::Property(PropertyIndex(13)))),
        property("currency", Type::Text),
        property("kind", Type::Enum(vec!["a".into(), "b\"c".into()])),
        property("tags", Type::List(Box::new(Type::Text))),
        property("lines", Type::List(Box::new(Type::Record(line())))),
        property("rec", Type::Record(line())),
        at("deep", Type::Int, &["x", "y", "0", "z"]),
        at("x_t", Type::Int, &["x", "t"]),
        property("lists", Type::List(Box::new(Type::List(Box::new(Type::Int))))),
        property("rec_x", Type::Int),
        at("rec_q", Type::Decimal, &["rec", "quantity"]),
    ]
}

/// Used: everything but `unused`, and nothing of `bare`.
pub fn schema() -> Arc<Schema> {
    let mut all = every_type();
    all.push(property("unused", Type::Int));
    let unused = PropertyIndex(all.len() as u16 - 1);
    let many = (0..30).map(|i| property(&format!("p{i}"), Type::Int)).collect();
    let traits = every_type().into_iter().filter(|p| !matches!(p.name.as_str(), "price" | "currency")).map(|p| Trait {
        name: p.name,
        ty: p.ty,
        pointer: p.pointer,
    });
    let mut traits: Vec<Trait> = traits.collect();
    traits.sort_by(|a, b| a.name.cmp(&b.name));
    let purpose = |name: &str| Purpose { name: name.into(), default_granted: false };
    Arc::new(Schema::new(
        Catalogue {
            workspace: WorkspaceSettings::default(),
            events: vec![
                event("Order Completed", vec![property("total", Type::Decimal)]),
                event("all", all),
                event("bare", vec![property("x", Type::Int)]),
                event("many", many),
                event(
                    "product_viewed",
                    vec![
                        property("product_id", Type::Text),
                        property("category", Type::Text),
                        property("price", Type::Money(MoneyCurrency::Property(PropertyIndex(3)))),
                        property("currency", Type::Text),
                    ],
                ),
            ],
            traits,
            purposes: vec![purpose("email_marketing"), purpose("sms")],
            lists: vec!["blocked".into(), "vip".into()],
            cart: vec![],
        },
        |e, p| !(e.0 == 1 && p == unused || e.0 == 2),
    ))
}
