//! What decoders need to know of a workspace: the names that can occur and the properties that some definition uses (LANGUAGE.md R48).
//! Neutral between the plan, the wire and the test runner.

use std::collections::HashMap;

use crate::ids::{EventIndex, PropertyIndex};
use crate::model::{Catalogue, Type};

/// Built once per set of definitions; shared by all shards.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    pub catalogue: Catalogue,
    /// By [`EventIndex`].
    pub events: Vec<EventSchema>,
    /// Name to index, for decoders that do not scan.
    pub event_by_name: HashMap<String, EventIndex>,
}

#[derive(Clone, Debug, Default)]
pub struct EventSchema {
    /// Used properties in the order of the catalogue; a record's slots stand in this order.
    pub slots: Vec<Slot>,
    /// Property to slot; `None` where no definition uses it.
    pub slot_of: Vec<Option<u16>>,
}

#[derive(Clone, Debug)]
pub struct Slot {
    pub property: PropertyIndex,
    pub name: String,
    /// Unescaped pointer tokens from `properties` down; by default the name alone.
    pub pointer: Vec<String>,
    pub ty: Type,
    /// For `money in IDENT`: the pointer of the sibling with the code.
    pub currency_pointer: Option<Vec<String>>,
}

impl Schema {
    /// The schema of a catalogue in which `used` says which properties some definition, or the cart, needs. Declared traits are always
    /// kept (LANGUAGE.md R63).
    pub fn new(catalogue: Catalogue, used: impl Fn(EventIndex, PropertyIndex) -> bool) -> Schema {
        let mut events = Vec::with_capacity(catalogue.events.len());
        let mut event_by_name = HashMap::new();
        for (e, event) in catalogue.events.iter().enumerate() {
            let e = EventIndex(e as u16);
            event_by_name.insert(event.name.clone(), e);
            let mut schema = EventSchema { slots: Vec::new(), slot_of: vec![None; event.properties.len()] };
            let pointer = |p: &crate::model::Property| p.pointer.clone().unwrap_or_else(|| vec![p.name.clone()]);
            for (i, property) in event.properties.iter().enumerate() {
                let index = PropertyIndex(i as u16);
                if !used(e, index) {
                    continue;
                }
                schema.slot_of[i] = Some(schema.slots.len() as u16);
                let currency_pointer = match &property.ty {
                    Type::Money(crate::model::MoneyCurrency::Property(p)) => Some(pointer(&event.properties[p.at()])),
                    _ => None,
                };
                schema.slots.push(Slot {
                    property: index,
                    name: property.name.clone(),
                    pointer: pointer(property),
                    ty: property.ty.clone(),
                    currency_pointer,
                });
            }
            events.push(schema);
        }
        Schema { catalogue, events, event_by_name }
    }
}
