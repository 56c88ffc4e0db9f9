//! Maintained values per customer (LANGUAGE.md 9.2): what counts, sums, extremes, distinct counts, first and last need, in as few bytes
//! as their conditions allow.
//!
//! | type | answers | keeps |
//! |---|---|---|
//! | [`Counter`] | counts, sums and averages `ever` | two numbers |
//! | [`Ring`] | counts against a constant up to 64, `ever`, `in last`, `at least D ago` | the K newest (or oldest) instants |
//! | [`Log`] | any quantity in any window by age, counts against anything | instants and values as long as some window needs them |
//! | [`Extremes`] | `min` and `max`, `ever` and `in last` | the monotone queue |
//! | [`Distinct`] | distinct values `ever` and `in last` | a hash and the newest instant per value |
//! | [`Periods`] | any quantity per local period, or between dates | a cell per period |
//! | [`FirstLast`] | `first(x)`, `last(x)` and their properties | an instant and values |
//! | [`Sequence`] | `sequence(..)`: its newest completion | the most recent way to each step, events within the reorder buffer |
//! | [`Keyed`] | any of these `per` a key | the 64 most recently used keys, each with a state |
//! | [`Session`], [`InSession`] | any of these `in this session` | the session's instants; what is of the current one |
//! | [`Since`] | any of these `since last y` | the newest y; what is after it |
//!
//! All are plain data that a customer's blob is decoded into and encoded from; the objects are scratch and are used for one customer
//! after another, so that nothing allocates on the per-event path. Inserting is free of order (LANGUAGE.md S5): late events go to their
//! own place.
//!
//! **The floor.** Entries leave only when no evaluation can ask for them any more. Conditions are evaluated at the clock, and for S27 at the
//! `ts` of an event that is in order, which is never before the greatest `ts` applied to the customer: that greatest `ts` is the floor that
//! callers pass, not the clock.

pub mod codec;
pub mod counter;
pub mod distinct;
pub mod extremes;
pub mod first_last;
mod granules;
pub mod keyed;
pub mod lists;
pub mod log;
pub mod periods;
pub mod ring;
pub mod sequence;
pub mod session;
pub mod since;
pub mod window;

pub use codec::{Reader, ValueRef};
pub use counter::{Counter, Quantity};
pub use distinct::{Distinct, DistinctPlan};
pub use extremes::{Extreme, Extremes, ExtremesPlan};
pub use first_last::FirstLast;
pub use keyed::Keyed;
pub use lists::Lists;
pub use log::{Log, LogPlan, Values};
pub use periods::{Periods, PeriodsPlan};
pub use ring::{Keep, Ring};
pub use sequence::{Sequence, SequenceSpec};
pub use session::{InSession, Session};
pub use since::Since;
pub use window::{AgeWindow, Ratio, Reading, Verdict};
