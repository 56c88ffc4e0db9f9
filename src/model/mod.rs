//! Plain data that every other module speaks: values, money, the catalogue, changes and memberships. No behaviour beyond
//! construction, exact arithmetic and display; nothing here knows of definitions, state or wires.

pub mod calendar;
pub mod catalogue;
pub mod change;
pub mod geo;
pub mod money;
pub mod value;

pub use calendar::{Database as ZoneDatabase, Period, Zone, ZoneId};
pub use catalogue::{
    CartAction, CartRule, Catalogue, EventType, InstantFormat, MoneyCurrency, Property, Purpose, Trait, Type, WorkspaceSettings,
};
pub use change::{Cause, CauseEvent, Change, ChangeKind, DeadLetterReason, Membership, Origin, Reason, change_id};
pub use geo::Circle;
pub use money::{Currency, Money};
pub use value::{Decimal, Value};
