//! Evaluates compiled filters on one record: an event, an element of a list, a line of the cart.

use super::calendar;
use super::value::{List, Val, arithmetic, contains, ends_with, is_empty, is_member, is_near, matches, relate, starts_with};
use crate::lang::definition::Rel;
use crate::model::Zone;
use crate::plan::calendar::ZoneRef;
use crate::plan::filter::{Filter, Operand};
use crate::time::Timestamp;

/// What a filter looks at: slots of an event, fields of an element, or the fields of a cart line.
#[derive(Clone, Copy, Debug)]
pub enum Fields<'a> {
    List(List<'a>),
    Values(&'a [Val<'a>]),
    /// With the instant of the record, for filters that ask the local clock.
    ListAt(List<'a>, At),
    ValuesAt(&'a [Val<'a>], At),
}

/// When a record happened, and the customer's own zone.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub ts: Timestamp,
    pub zone: &'static Zone,
}

impl<'a> Fields<'a> {
    pub fn get(self, slot: u16) -> Val<'a> {
        match self {
            Fields::List(list) | Fields::ListAt(list, _) => list.get(slot as usize),
            Fields::Values(values) | Fields::ValuesAt(values, _) => values.get(slot as usize).copied().unwrap_or(Val::Missing),
        }
    }
}

impl<'a> Fields<'a> {
    pub fn at(self, at: At) -> Fields<'a> {
        match self {
            Fields::List(list) | Fields::ListAt(list, _) => Fields::ListAt(list, at),
            Fields::Values(values) | Fields::ValuesAt(values, _) => Fields::ValuesAt(values, at),
        }
    }

    /// A record inside of this one.
    fn inner(self, list: List<'a>) -> Fields<'a> {
        match self {
            Fields::List(_) | Fields::Values(_) => Fields::List(list),
            Fields::ListAt(_, at) | Fields::ValuesAt(_, at) => Fields::ListAt(list, at),
        }
    }

    /// What the local clock read; `None` of what has no instant.
    fn local(self, zone: ZoneRef) -> Option<i64> {
        match self {
            Fields::List(_) | Fields::Values(_) => None,
            Fields::ListAt(_, at) | Fields::ValuesAt(_, at) => Some(match zone {
                ZoneRef::Customer => at.zone.local(at.ts),
                ZoneRef::Fixed(zone) => zone.zone().local(at.ts),
            }),
        }
    }
}

/// The value of an operand.
pub fn operand<'a>(of: &'a Operand, fields: Fields<'a>) -> Val<'a> {
    match of {
        Operand::Literal(value) => Val::of_value(value),
        Operand::Slot { slot, fields: inner } => inner.iter().fold(fields.get(*slot), |v, at| v.field(*at)),
        Operand::Absent => Val::Missing,
        Operand::Local { path, zone } => fields.local(*zone).map_or(Val::Missing, |reading| calendar::local_value(*path, reading)),
        Operand::Arithmetic { op, left, right } => arithmetic(*op, operand(left, fields), operand(right, fields)),
    }
}

/// Whether a record satisfies a filter.
///
/// **Cost:** allocates only where case is ignored on text that has capitals.
pub fn holds(filter: &Filter, fields: Fields) -> bool {
    match filter {
        Filter::Constant(value) => *value,
        Filter::And(all) => all.iter().all(|f| holds(f, fields)),
        Filter::Or(any) => any.iter().any(|f| holds(f, fields)),
        Filter::Not(of) => !holds(of, fields),
        Filter::Compare { left, rel, right, ignore_case } => relate(operand(left, fields), *rel, operand(right, fields), *ignore_case),
        Filter::Between { of, low, high } => {
            let of = operand(of, fields);
            relate(of, Rel::Ge, operand(low, fields), false) && relate(of, Rel::Le, operand(high, fields), false)
        }
        Filter::Member { of, values, ignore_case } => is_member(operand(of, fields), values, *ignore_case),
        Filter::HalfOpen { of, from, to } => {
            let of = operand(of, fields);
            relate(of, Rel::Ge, Val::of_value(from), false) && relate(of, Rel::Lt, Val::of_value(to), false)
        }
        Filter::Matches { of, pattern } => matches(operand(of, fields), pattern),
        Filter::Near { of, circle } => is_near(operand(of, fields), circle),
        Filter::Contains { of, what, ignore_case } => contains(operand(of, fields), what, *ignore_case),
        Filter::StartsWith { of, prefix, ignore_case } => starts_with(operand(of, fields), prefix, *ignore_case),
        Filter::EndsWith { of, suffix, ignore_case } => ends_with(operand(of, fields), suffix, *ignore_case),
        Filter::Empty(of) => is_empty(operand(of, fields)),
        Filter::Known(of) => !operand(of, fields).is_missing(),
        Filter::Local(test) => fields.local(test.zone).is_some_and(|reading| test.contains(reading)),
        Filter::Has { of, filter } => match operand(of, fields) {
            Val::List(items) => items.iter().any(|item| match item {
                Val::Record(inner) => holds(filter, fields.inner(inner)),
                _ => false,
            }),
            _ => false,
        },
    }
}
