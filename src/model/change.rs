//! What is published: a membership change (LANGUAGE.md 8.13), the present membership, and the words for causes and dead letters.

use super::Value;
use crate::ids::{ChangeId, Position, SemanticHash};
use crate::time::Timestamp;

/// One membership change of one customer. `emitted_at` is not here: it is the publisher's wall clock and outside every hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub change_id: ChangeId,
    pub customer: Box<str>,
    /// Counts the customer's changes; the first is 1.
    pub seq: u64,
    /// Name of the segment or, for a move, of the stages.
    pub segment: Box<str>,
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
    pub emit: Vec<(Box<str>, Value)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ChangeKind {
    Entered,
    Exited,
    Moved { from: Box<str>, to: Box<str> },
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
    pub condition: Box<str>,
    pub observed: Box<str>,
    pub threshold: Box<str>,
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
    pub customer: Box<str>,
    pub segment: Box<str>,
    /// For stages: the stage.
    pub stage: Option<Box<str>>,
    pub since: Timestamp,
    pub version: SemanticHash,
    pub emit: Vec<(Box<str>, Value)>,
}
