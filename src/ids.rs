//! Newtypes for what is counted and pointed at. Raw integers appear only on the wire and in configuration.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! index {
    ($($(#[$doc:meta])* $name:ident($raw:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $raw);
        impl $name {
            /// The index as a position in a slice.
            pub fn at(self) -> usize {
                self.0 as usize
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

index! {
    /// Partition p of every input topic and the engine that owns it.
    ShardId(u32);
    /// Number of a committed batch of one shard; the first is 1.
    BatchNumber(u64);
    /// Zero-based place of an input topic in the configuration.
    InputIndex(u16);
    /// Zero-based place of an event type in [`crate::model::Catalogue::events`].
    EventIndex(u16);
    /// Zero-based place of a property in its event type.
    PropertyIndex(u16);
    /// Zero-based place of a trait in [`crate::model::Catalogue::traits`].
    TraitIndex(u16);
    /// Zero-based place of a purpose in [`crate::model::Catalogue::purposes`].
    PurposeIndex(u16);
    /// Zero-based place of a list in [`crate::model::Catalogue::lists`].
    ListIndex(u16);
    /// Zero-based place of a definition (segment, stages, score or points) in [`crate::lang::Workspace::definitions`].
    DefinitionIndex(u32);
}

macro_rules! hash {
    ($($(#[$doc:meta])* $name:ident[$n:literal];)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $n]);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl std::str::FromStr for $name {
            type Err = ();
            fn from_str(text: &str) -> Result<Self, ()> {
                let mut out = [0u8; $n];
                if text.len() != 2 * $n || !text.is_ascii() {
                    return Err(());
                }
                for (i, b) in out.iter_mut().enumerate() {
                    *b = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| ())?;
                }
                Ok($name(out))
            }
        }
    )*};
}

hash! {
    /// Identity of one published change; the same after any replay (LANGUAGE.md S34, 8.13). Lower-case hexadecimal outside.
    ChangeId[16];
    /// First half of the SHA-256 of a definition's canonical form: what the definition means, not how it is written.
    SemanticHash[16];
    /// Identity of a whole set of definitions with its catalogue; key of the definitions topic.
    SetHash[16];
}

/// What a plan is compiled from: a set of definitions, and the time-zone database by which its local days begin and end (LANGUAGE.md S12).
/// Another one of either is a change of definitions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edition {
    pub set: SetHash,
    /// The version of the database.
    pub zones: Box<str>,
}

/// Where a record stands: which input, which partition, which offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    pub input: InputIndex,
    pub partition: u32,
    pub offset: i64,
}
