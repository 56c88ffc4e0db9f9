//! What is published: a membership change (LANGUAGE.md 8.13), the present membership, and the words for causes and dead letters.

use std::sync::Arc;

use super::Value;
use crate::ids::{ChangeId, Position, SemanticHash};
use crate::time::Timestamp;

/// What a change came from, as far as its identity goes: a record's place, the deadline of a timer, or the number of a change of definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Record(Position),
    Timer(Timestamp),
    /// Tells the changes of definitions of one shard apart: a set that is taken back and put in force again gives other changes.
    Activation(u64),
}

/// Identity of a change, equal after any replay (LANGUAGE.md S34, 8.13): the first half of XXH3-128 (seed 0, big-endian) over segment,
/// 0x1F, customer, 0x1F, version, then the origin (0, input u16, partition u32, offset i64; 1, deadline i64; or 2, number u64) and the
/// ordinal u32, all little-endian. `ordinal` counts earlier changes of the same segment and customer from that very origin.
pub fn change_id(segment: &str, customer: &str, version: SemanticHash, origin: Origin, ordinal: u32) -> ChangeId {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.update(segment.as_bytes());
    hasher.update(&[0x1F]);
    hasher.update(customer.as_bytes());
    hasher.update(&[0x1F]);
    hasher.update(&version.0);
    match origin {
        Origin::Record(position) => {
            hasher.update(&[0]);
            hasher.update(&position.input.0.to_le_bytes());
            hasher.update(&position.partition.to_le_bytes());
            hasher.update(&position.offset.to_le_bytes());
        }
        Origin::Timer(deadline) => {
            hasher.update(&[1]);
            hasher.update(&deadline.0.to_le_bytes());
        }
        Origin::Activation(number) => {
            hasher.update(&[2]);
            hasher.update(&number.to_le_bytes());
        }
    }
    hasher.update(&ordinal.to_le_bytes());
    ChangeId(hasher.digest128().to_be_bytes())
}

/// One membership change of one customer. `emitted_at` is not here: it is the publisher's wall clock and outside every hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub change_id: ChangeId,
    pub customer: Arc<str>,
    /// Counts the customer's changes; the first is 1.
    pub seq: u64,
    /// Name of the segment or, for a move, of the stages.
    pub segment: Arc<str>,
    pub version: SemanticHash,
    pub kind: ChangeKind,
    /// The instant from which it is true. Never decreases per (customer, segment).
    pub since: Timestamp,
    /// The shard's clock at the decision.
    pub decided_at: Timestamp,
    pub cause: Cause,
    pub cause_event: Option<CauseEvent>,
    pub corrects: Option<ChangeId>,
    pub approx: bool,
    /// First instant at which it may flip with no further record.
    pub valid_until: Option<Timestamp>,
    pub reason: Vec<Reason>,
    /// In the order of the definition.
    pub emit: Vec<(Arc<str>, Value)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ChangeKind {
    Entered,
    Exited,
    Moved { from: Arc<str>, to: Arc<str> },
}

impl ChangeKind {
    /// `entered | exited | moved`.
    pub fn word(&self) -> &'static str {
        match self {
            ChangeKind::Entered => "entered",
            ChangeKind::Exited => "exited",
            ChangeKind::Moved { .. } => "moved",
        }
    }
}

/// A condition that decided: its text, what was seen and what was asked for, as shown to people.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    pub condition: Arc<str>,
    pub observed: Box<str>,
    pub threshold: Arc<str>,
}

/// The record that caused a change.
#[derive(Clone, Debug, PartialEq)]
pub struct CauseEvent {
    /// The event's own id, where it has one.
    pub id: Option<Box<str>>,
    pub position: Position,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($variant,)* }
        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];
            /// The word on the wire.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
            pub fn from_word(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// Why a change happened (LANGUAGE.md 8.13).
    Cause {
        Event = "event",
        Timer = "timer",
        LateEvent = "late_event",
        Consent = "consent",
        Expired = "expired",
        IdentityMerge = "identity_merge",
        Erased = "erased",
        ThresholdMoved = "threshold_moved",
        DefinitionCreated = "definition_created",
        DefinitionChanged = "definition_changed",
        DefinitionDeleted = "definition_deleted",
        DefinitionResumed = "definition_resumed",
        Reconcile = "reconcile",
    }
}

words! {
    /// Why a record had no effect (LANGUAGE.md R21, R46), in the order in which faults are looked for: the first one wins.
    DeadLetterReason {
        TooLarge = "too_large",
        Unreadable = "unreadable",
        MissingCustomer = "missing_customer",
        WrongPartition = "wrong_partition",
        UnknownEvent = "unknown_event",
        WrongType = "wrong_type",
        Future = "future",
        TooLate = "too_late",
    }
}

/// A present membership: one row of the compacted topic and of the read view.
#[derive(Clone, Debug, PartialEq)]
pub struct Membership {
    pub customer: Arc<str>,
    pub segment: Arc<str>,
    /// For stages: the stage.
    pub stage: Option<Arc<str>>,
    pub since: Timestamp,
    pub version: SemanticHash,
    pub emit: Vec<(Arc<str>, Value)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::InputIndex;

    #[test]
    fn a_change_id_tells_origins_versions_and_ordinals_apart_and_is_fixed_for_ever() {
        let version = SemanticHash([7; 16]);
        let position = Position { input: InputIndex(1), partition: 2, offset: 3 };
        let record = change_id("s", "c", version, Origin::Record(position), 0);
        assert_eq!(record, change_id("s", "c", version, Origin::Record(position), 0));
        for other in [
            change_id("s", "c", version, Origin::Record(position), 1),
            change_id("s", "c", version, Origin::Timer(Timestamp(3)), 0),
            change_id("s", "c", version, Origin::Activation(3), 0),
            change_id("s", "c", version, Origin::Activation(4), 0),
            change_id("s", "d", version, Origin::Record(position), 0),
            change_id("s", "c", SemanticHash([8; 16]), Origin::Record(position), 0),
        ] {
            assert_ne!(record, other);
        }
        // The 16 bytes are those of the one-shot function over the concatenation.
        let mut bytes = b"s\x1Fc\x1F".to_vec();
        bytes.extend_from_slice(&[7; 16]);
        bytes.extend_from_slice(&[0, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(record.0, xxhash_rust::xxh3::xxh3_128(&bytes).to_be_bytes());
    }
}
