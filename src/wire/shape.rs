//! A schema turned around for decoders: from the names of an object to the slots that its values fill.
//!
//! A JSON pointer makes a tree of names; a node may be a value, lead to others, or both. The currency of a money value may stand
//! anywhere in the object, before or after the amount, so amount and code are a *pair* that is put together when the object ends.

use crate::ids::EventIndex;
use crate::model::{MoneyCurrency, Property, Type};
use crate::plan::schema::Schema;

/// All that a decoder looks up.
pub(super) struct Shapes {
    pub event_names: NameTable,
    /// By [`EventIndex`].
    pub events: Vec<ObjectShape>,
    pub traits: ObjectShape,
}

/// An object: an event's properties, a record's traits, a record value.
#[derive(Default)]
pub(super) struct ObjectShape {
    /// The first is the root.
    pub nodes: Vec<Node>,
    pub slots: Vec<SlotShape>,
    /// Slots that are money with a currency elsewhere; a pair's place here is its number.
    pub pairs: Vec<u16>,
}

pub(super) struct SlotShape {
    pub name: Box<str>,
    pub ty: Type,
    pub shape: Shape,
}

pub(super) enum Shape {
    /// Not a list, not a record; geo may also be an object.
    Scalar,
    List {
        element: Type,
        shape: Box<Shape>,
    },
    Record(Box<ObjectShape>),
    /// Money with a currency elsewhere.
    Pair,
}

#[derive(Default)]
pub(super) struct Node {
    pub names: NameTable,
    /// By place in `names`.
    pub children: Vec<u16>,
    pub uses: Vec<Use>,
    /// Every use at and under this node: what a repeated key makes void, since the last one counts.
    pub below: Vec<Use>,
}

/// What the value at a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Value(u16),
    Amount(u16),
    Code(u16),
}

impl Shapes {
    pub fn new(schema: &Schema) -> Shapes {
        let events = schema
            .events
            .iter()
            .map(|event| {
                ObjectShape::new(event.slots.iter().map(|slot| Field {
                    name: &slot.name,
                    pointer: slot.pointer.clone(),
                    ty: &slot.ty,
                    code: slot.currency_pointer.clone(),
                }))
            })
            .collect();
        let catalogue = &schema.catalogue;
        let traits = ObjectShape::new(catalogue.traits.iter().map(|t| Field {
            name: &t.name,
            pointer: t.pointer.clone().unwrap_or_else(|| vec![t.name.clone()]),
            ty: &t.ty,
            // The language allows traits only a fixed currency.
            code: None,
        }));
        Shapes { event_names: NameTable::new(catalogue.events.iter().map(|e| e.name.as_str())), events, traits }
    }

    pub fn event(&self, name: &str) -> Option<EventIndex> {
        self.event_names.find(name, 0).map(|i| EventIndex(i as u16))
    }
}

struct Field<'a> {
    name: &'a str,
    pointer: Vec<String>,
    ty: &'a Type,
    code: Option<Vec<String>>,
}

impl ObjectShape {
    fn new<'a>(fields: impl Iterator<Item = Field<'a>>) -> ObjectShape {
        let mut object = ObjectShape { nodes: vec![Node::default()], ..ObjectShape::default() };
        for (i, field) in fields.enumerate() {
            let slot = i as u16;
            let shape = Shape::new(field.ty);
            if matches!(shape, Shape::Pair) {
                let pair = object.pairs.len() as u16;
                object.pairs.push(slot);
                object.add(&field.pointer, Use::Amount(pair));
                if let Some(code) = &field.code {
                    object.add(code, Use::Code(pair));
                }
            } else {
                object.add(&field.pointer, Use::Value(slot));
            }
            object.slots.push(SlotShape { name: field.name.into(), ty: field.ty.clone(), shape });
        }
        object
    }

    fn record(properties: &[Property]) -> ObjectShape {
        let pointer = |p: &Property| p.pointer.clone().unwrap_or_else(|| vec![p.name.clone()]);
        ObjectShape::new(properties.iter().map(|p| Field {
            name: &p.name,
            pointer: pointer(p),
            ty: &p.ty,
            code: match p.ty {
                Type::Money(MoneyCurrency::Property(sibling)) => properties.get(sibling.at()).map(pointer),
                _ => None,
            },
        }))
    }

    fn add(&mut self, pointer: &[String], what: Use) {
        let mut at = 0;
        self.nodes[at].below.push(what);
        for token in pointer {
            at = match self.nodes[at].names.find(token, 0) {
                Some(place) => self.nodes[at].children[place] as usize,
                None => {
                    let new = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.nodes[at].names.push(token);
                    self.nodes[at].children.push(new as u16);
                    new
                }
            };
            self.nodes[at].below.push(what);
        }
        self.nodes[at].uses.push(what);
    }
}

impl Shape {
    fn new(ty: &Type) -> Shape {
        match ty {
            Type::List(element) => Shape::List { element: (**element).clone(), shape: Box::new(Shape::new(element)) },
            Type::Record(properties) => Shape::Record(Box::new(ObjectShape::record(properties))),
            Type::Money(MoneyCurrency::Property(_)) => Shape::Pair,
            _ => Shape::Scalar,
        }
    }
}

/// Names to their places. Few names are compared one by one, beginning where the caller expects the next; many are hashed.
#[derive(Default)]
pub(super) struct NameTable {
    names: Vec<Name>,
    /// Open addressing over twice the names and more: place + 1, 0 is free. Empty while the names are few.
    buckets: Vec<u16>,
}

struct Name {
    ends: Ends,
    text: Box<str>,
}

/// Length, first and last bytes of a name: all of it up to sixteen bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    len: usize,
    first: u64,
    last: u64,
}

impl Ends {
    #[inline(always)]
    fn of(name: &[u8]) -> Ends {
        let word = |b: Option<&[u8; 4]>| b.map_or(0, |b| u64::from(u32::from_le_bytes(*b)));
        let (first, last) = match name.len() {
            8.. => (name.first_chunk().map_or(0, |b| u64::from_le_bytes(*b)), name.last_chunk().map_or(0, |b| u64::from_le_bytes(*b))),
            4.. => (word(name.first_chunk()), word(name.last_chunk())),
            n => (name.iter().fold(n as u64, |bytes, b| bytes << 8 | u64::from(*b)), 0),
        };
        Ends { len: name.len(), first, last }
    }
}

impl Name {
    #[inline(always)]
    fn is(&self, ends: Ends, name: &str) -> bool {
        self.ends == ends && (ends.len <= 16 || *self.text == *name)
    }
}

impl NameTable {
    const FEW: usize = 12;

    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> NameTable {
        let mut table = NameTable::default();
        names.for_each(|name| table.push(name));
        table
    }

    fn push(&mut self, name: &str) {
        self.names.push(Name { ends: Ends::of(name.as_bytes()), text: name.into() });
        let n = self.names.len();
        if n <= NameTable::FEW {
            return;
        }
        if self.buckets.len() < 2 * n {
            self.buckets = vec![0; (4 * n).next_power_of_two()];
            (0..n).for_each(|place| self.settle(place));
        } else {
            self.settle(n - 1);
        }
    }

    fn settle(&mut self, place: usize) {
        let mask = self.buckets.len() - 1;
        let mut at = bucket(&self.names[place].text) & mask;
        while self.buckets[at] != 0 {
            at = (at + 1) & mask;
        }
        self.buckets[at] = place as u16 + 1;
    }

    /// The place of `name`; `expected` is where the search begins.
    #[inline]
    pub fn find(&self, name: &str, expected: usize) -> Option<usize> {
        let ends = Ends::of(name.as_bytes());
        if self.buckets.is_empty() {
            let (before, after) = self.names.split_at(expected.min(self.names.len()));
            if let Some(i) = after.iter().position(|n| n.is(ends, name)) {
                return Some(before.len() + i);
            }
            return before.iter().position(|n| n.is(ends, name));
        }
        let mask = self.buckets.len() - 1;
        let mut at = bucket(name) & mask;
        loop {
            match self.buckets[at] {
                0 => return None,
                place if self.names[place as usize - 1].is(ends, name) => return Some(place as usize - 1),
                _ => at = (at + 1) & mask,
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

fn bucket(name: &str) -> usize {
    xxhash_rust::xxh3::xxh3_64(name.as_bytes()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whether_few_or_many() {
        for n in [0usize, 1, 12, 13, 40, 1_000] {
            let names: Vec<String> = (0..n).map(|i| format!("name_{i}")).collect();
            let table = NameTable::new(names.iter().map(String::as_str));
            for (i, name) in names.iter().enumerate() {
                assert_eq!(table.find(name, i / 2), Some(i));
            }
            assert_eq!(table.find("name", 3), None);
            assert_eq!(table.is_empty(), n == 0);
        }
    }

    #[test]
    fn ends_tell_short_names_apart() {
        let names =
            ["", "a", "b", "ab", "ba", "aab", "aba", "abcd", "abcde", "abdde", "abcdefg", "abcdefgh", "abcdefghi", "abcdefgh12345678"];
        let long = ["abcdefghXX12345678", "abcdefghYX12345678"];
        let all: Vec<&str> = names.into_iter().chain(long).chain(["\0", "\0\0"]).collect();
        for (i, name) in all.iter().enumerate() {
            let table = NameTable::new(all.iter().copied().filter(|n| n != name).take(NameTable::FEW));
            assert_eq!(table.find(name, 0), None, "{name:?}");
            assert_eq!(NameTable::new(all.iter().copied()).find(name, 0), Some(i), "{name:?}");
        }
    }
}
