//! From what a format's decoder has read to the one record that is pushed: the order of faults (LANGUAGE.md R46) and the policies (R48).

use std::borrow::Cow;

use super::{DecodeCounts, DecodeOptions, RawRecord, UnknownEvents, WrongType};
use crate::engine::batch::{Batch, Body, DataRange, Record, TextRange, customer_hash};
use crate::ids::{EventIndex, ListIndex, PurposeIndex};
use crate::limits;
use crate::model::DeadLetterReason;
use crate::time::Timestamp;

/// A readable record before it is admitted.
#[derive(Default)]
pub(super) struct Draft {
    /// `None`: absent, null or empty.
    pub customer: Option<TextRange>,
    /// `None`: absent, null or empty.
    pub id: Option<TextRange>,
    pub ts: Option<Timestamp>,
    pub body: DraftBody,
    pub wrong: Option<Box<Faults>>,
}

#[derive(Default)]
pub(super) enum DraftBody {
    Event {
        event: EventIndex,
        slots: DataRange,
    },
    /// The beginning of its name.
    UnknownEvent(TextRange),
    Traits(DataRange),
    Consent {
        purpose: PurposeIndex,
        granted: bool,
        until: Option<Timestamp>,
    },
    List {
        list: ListIndex,
        member: bool,
    },
    #[default]
    Nothing,
}

/// Values of a wrong type, which stand as missing in the draft.
pub(super) struct Faults {
    pub count: u64,
    /// Of the first one in the order of the catalogue; names the property.
    pub first: String,
    /// The first one is too large; then it is a dead letter whatever the policy about wrong types.
    pub too_large: bool,
}

/// Why a record is a dead letter. Boxed: refusals are rare, and results are moved a lot.
pub(super) struct Rejection(Box<(DeadLetterReason, Cow<'static, str>)>);

impl Rejection {
    #[cold]
    pub fn unreadable(detail: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection::new(DeadLetterReason::Unreadable, detail)
    }

    #[cold]
    fn new(reason: DeadLetterReason, detail: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection(Box::new((reason, detail.into())))
    }
}

/// Longest detail of a dead letter in bytes; it travels as a header.
const DETAIL_BYTES_MAX: usize = 200;

/// `text` up to `bytes`, cut between characters.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

impl DraftBody {
    pub fn unknown_event(name: &str, batch: &mut Batch) -> DraftBody {
        DraftBody::UnknownEvent(batch.push_text(cut(name, DETAIL_BYTES_MAX)))
    }
}

/// The value of a record, if it has one that is not too large.
pub(super) fn value<'a>(raw: &RawRecord<'a>) -> Result<&'a [u8], Rejection> {
    let value = raw.value.ok_or_else(|| Rejection::unreadable("the value is null"))?;
    let bytes = value.len() + raw.key.map_or(0, <[u8]>::len);
    if bytes > limits::RECORD_BYTES_MAX {
        let detail = format!("{bytes} bytes, at most {} are read", limits::RECORD_BYTES_MAX);
        return Err(Rejection::new(DeadLetterReason::TooLarge, detail));
    }
    Ok(value)
}

/// One record carries one thing (LANGUAGE.md R46).
pub(super) fn one_body(bodies: usize) -> Result<(), Rejection> {
    match bodies {
        1 => Ok(()),
        0 => Err(Rejection::unreadable("none of `event`, `traits`, `consent`, `list`, `merge` and `erase`")),
        _ => Err(Rejection::unreadable("more than one of `event`, `traits`, `consent`, `list`, `merge` and `erase`")),
    }
}

impl Draft {
    /// Judges a readable record. The first fault wins: missing customer, wrong partition, unknown event, wrong type.
    pub fn admit(
        self,
        raw: &RawRecord<'_>,
        options: &DecodeOptions,
        counts: &mut DecodeCounts,
        batch: &Batch,
    ) -> Result<Record, Rejection> {
        let reject = |reason, detail: Cow<'static, str>| Err(Rejection::new(reason, detail));
        let Some(customer) = self.customer else {
            return reject(DeadLetterReason::MissingCustomer, "`customer` is absent or empty".into());
        };
        for (name, range, most) in [("customer", Some(customer), limits::CUSTOMER_BYTES_MAX), ("id", self.id, limits::EVENT_ID_BYTES_MAX)] {
            if range.is_some_and(|r| r.len as usize > most) {
                return reject(DeadLetterReason::TooLarge, format!("`{name}` is longer than {most} bytes").into());
            }
        }
        let customer_text = batch.text(customer);
        if let Some(placement) = &options.placement {
            match raw.key {
                None => return reject(DeadLetterReason::WrongPartition, "the record has no key".into()),
                Some(key) if key != customer_text.as_bytes() => {
                    return reject(DeadLetterReason::WrongPartition, "the record's key is not its customer".into());
                }
                Some(key) => {
                    let partition = placement.partitioner.partition(key, placement.partitions);
                    if partition != placement.shard.0 {
                        let detail = format!("by {} its key belongs to partition {partition}", placement.partitioner);
                        return reject(DeadLetterReason::WrongPartition, detail.into());
                    }
                }
            }
        }
        if let DraftBody::UnknownEvent(name) = &self.body
            && options.unknown_events == UnknownEvents::DeadLetter
        {
            return reject(DeadLetterReason::UnknownEvent, batch.text(*name).to_owned().into());
        }
        if let Some(faults) = self.wrong {
            match options.wrong_type {
                _ if faults.too_large => return reject(DeadLetterReason::TooLarge, faults.first.into()),
                WrongType::DeadLetter => return reject(DeadLetterReason::WrongType, faults.first.into()),
                WrongType::Unknown => counts.wrong_types += faults.count,
            }
        }
        let body = match self.body {
            DraftBody::Event { event, slots } => Body::Event { event, slots },
            DraftBody::UnknownEvent(_) => Body::Ignored,
            DraftBody::Traits(range) => Body::Traits(range),
            DraftBody::Consent { purpose, granted, until } => Body::Consent { purpose, granted, until },
            DraftBody::List { list, member } => Body::List { list, member },
            DraftBody::Nothing => Body::Nothing,
        };
        Ok(Record {
            position: raw.position,
            arrival: raw.arrival,
            ts: self.ts,
            customer,
            customer_hash: customer_hash(customer_text),
            id: self.id,
            body_hash: 0,
            body,
        })
    }
}

/// Where a batch's arenas ended before the record: a refused record leaves nothing there but its detail.
pub(super) struct Mark {
    text: usize,
    data: usize,
    traits: usize,
}

impl Mark {
    pub fn new(batch: &Batch) -> Mark {
        Mark { text: batch.text.len(), data: batch.data.len(), traits: batch.traits.len() }
    }

    /// Pushes the one record.
    pub fn push(self, raw: &RawRecord<'_>, verdict: Result<Record, Rejection>, batch: &mut Batch) {
        let body_hash = xxhash_rust::xxh3::xxh3_64(raw.value.unwrap_or_default());
        let record = match verdict {
            Ok(record) => Record { body_hash, ..record },
            Err(Rejection(rejection)) => {
                let (reason, detail) = *rejection;
                batch.text.truncate(self.text);
                batch.data.truncate(self.data);
                batch.traits.truncate(self.traits);
                let detail = batch.push_text(cut(&detail, DETAIL_BYTES_MAX));
                Record {
                    position: raw.position,
                    arrival: raw.arrival,
                    ts: None,
                    customer: TextRange::default(),
                    customer_hash: 0,
                    id: None,
                    body_hash,
                    body: Body::Rejected { reason, detail },
                }
            }
        };
        batch.records.push(record);
    }
}
