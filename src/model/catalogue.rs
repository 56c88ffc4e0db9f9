//! The catalogue: what can occur (LANGUAGE.md 4). Checked by `lang`; every index is a place in one of these vectors, each sorted by name.

use super::Currency;
use crate::ids::{EventIndex, ListIndex, PropertyIndex, PurposeIndex, TraitIndex};
use crate::time::Millis;

/// Everything that is declared beside the definitions, resolved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    pub workspace: WorkspaceSettings,
    /// Sorted by name.
    pub events: Vec<EventType>,
    /// Sorted by name.
    pub traits: Vec<Trait>,
    /// Sorted by name.
    pub purposes: Vec<Purpose>,
    /// Sorted.
    pub lists: Vec<String>,
    /// In the order of the text. Empty: no cart is declared.
    pub cart: Vec<CartRule>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct WorkspaceSettings {
    /// IANA name.
    pub timezone: String,
    pub currency: Currency,
    pub session_gap: Millis,
}

impl Default for WorkspaceSettings {
    fn default() -> Self {
        WorkspaceSettings { timezone: "UTC".into(), currency: Currency::EUR, session_gap: Millis(30 * 60_000) }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct EventType {
    pub name: String,
    pub is_activity: bool,
    /// In the order of the text.
    pub properties: Vec<Property>,
    pub retention: Option<Millis>,
    /// Reorder buffer of its own (LANGUAGE.md R26).
    pub lateness: Option<Millis>,
    pub dedup: Option<Millis>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    pub name: String,
    pub ty: Type,
    /// Unescaped reference tokens of a JSON pointer, where the value is not under `name`.
    pub pointer: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Trait {
    pub name: String,
    pub ty: Type,
    pub pointer: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Purpose {
    pub name: String,
    pub default_granted: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    Bool,
    Int,
    Decimal,
    Text,
    Instant(InstantFormat),
    Date,
    Duration,
    Geo,
    Money(MoneyCurrency),
    /// Its words, as declared. A value that is none of them is a wrong type.
    Enum(Vec<String>),
    List(Box<Type>),
    Record(Vec<Property>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstantFormat {
    Rfc3339,
    Seconds,
    Millis,
}

#[derive(Clone, Debug, PartialEq)]
pub enum MoneyCurrency {
    /// `money in EUR`, or `money` alone (the workspace's currency).
    Fixed(Currency),
    /// `money in currency`: the sibling property that holds the code.
    Property(PropertyIndex),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CartAction {
    Set,
    Add,
    Remove,
    Clear,
    Buy,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CartRule {
    pub action: CartAction,
    pub event: EventIndex,
    /// The property that lists the lines, a list of records; without it the event's own properties are the one line.
    pub lines: Option<PropertyIndex>,
}

impl Catalogue {
    pub fn event(&self, name: &str) -> Option<EventIndex> {
        find(&self.events, |e| e.name.as_str(), name).map(EventIndex)
    }
    pub fn trait_named(&self, name: &str) -> Option<TraitIndex> {
        find(&self.traits, |t| t.name.as_str(), name).map(TraitIndex)
    }
    pub fn purpose(&self, name: &str) -> Option<PurposeIndex> {
        find(&self.purposes, |p| p.name.as_str(), name).map(PurposeIndex)
    }
    pub fn list(&self, name: &str) -> Option<ListIndex> {
        find(&self.lists, |l| l.as_str(), name).map(ListIndex)
    }
}

impl EventType {
    pub fn property(&self, name: &str) -> Option<PropertyIndex> {
        self.properties.iter().position(|p| p.name == name).map(|i| PropertyIndex(i as u16))
    }
}

fn find<T>(items: &[T], key: impl Fn(&T) -> &str, name: &str) -> Option<u16> {
    items.binary_search_by(|item| key(item).cmp(name)).ok().map(|i| i as u16)
}
