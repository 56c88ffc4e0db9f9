//! Consents: per customer and purpose one state, settled by last-writer-wins in the order of (`ts`, application) (LANGUAGE.md S18, S25).
//!
//! They are kept as traits behind those of the catalogue, so that a customer without any pays nothing: `true` for a consent without end, the
//! instant of its end for one with, `false` for a refusal.

use super::customer::{Span, TraitEntry};
use super::evaluate::Work;
use super::features::Verdict;
use super::features::codec::{ValueRef, put_value};
use super::feed::touch;
use super::machine::Agenda;
use super::program::Program;
use crate::ids::{PurposeIndex, TraitIndex};
use crate::model::Value;
use crate::plan::delays::consent_slot;
use crate::time::Timestamp;

/// A consent record.
#[derive(Clone, Copy, Debug)]
pub struct Consent {
    pub purpose: PurposeIndex,
    pub granted: bool,
    /// Where a granted one ends; the end itself is outside.
    pub until: Option<Timestamp>,
}

/// Applies a record; an older one than what is stored is dropped.
pub fn set(program: &Program, work: &mut Work, agenda: &mut Agenda, consent: Consent, ts: Timestamp) {
    let index = consent_slot(&program.plan.workspace().catalogue, consent.purpose);
    let customer = &mut work.customer;
    let found = customer.traits.binary_search_by_key(&index, |t| t.index);
    if let Ok(i) = found
        && customer.traits[i].ts > ts
    {
        return;
    }
    let start = customer.bytes.len() as u32;
    let value = match consent.until {
        Some(until) if consent.granted => Value::Instant(until),
        _ => Value::Bool(consent.granted),
    };
    put_value(&mut customer.bytes, &value);
    let value = Span { start, end: customer.bytes.len() as u32 };
    let old = customer.set_trait(found, TraitEntry { index, ts, value });
    if old.is_none_or(|old| customer.span(old.value) != customer.span(value)) {
        touch(work, agenda, &program.plan.trait_edges[index.at()], None);
    }
}

/// Whether there is consent; `default` is what no record means.
pub fn verdict(work: &Work, slot: TraitIndex, default: bool, t: Timestamp) -> Verdict {
    match work.customer.trait_value(slot) {
        ValueRef::Bool(granted) => Verdict::fixed(granted),
        ValueRef::Instant(end) if t < end => Verdict { holds: true, until: end, approx: false },
        ValueRef::Instant(_) => Verdict::fixed(false),
        _ => Verdict::fixed(default),
    }
}

/// What is known of a consent, for people.
pub fn observed(work: &Work, slot: TraitIndex, t: Timestamp) -> String {
    match work.customer.trait_value(slot) {
        ValueRef::Bool(true) => "granted".into(),
        ValueRef::Bool(false) => "refused".into(),
        ValueRef::Instant(end) if t < end => format!("granted until {end}"),
        ValueRef::Instant(end) => format!("ended {end}"),
        _ => "no record".into(),
    }
}
