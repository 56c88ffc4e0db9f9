//! Outputs to bytes: changes and memberships as JSON or protobuf, their headers, and the hash of a change for the journal.
//!
//! All functions append to a buffer of the caller and cannot fail. What could grow without bound is cut at sizes that `limits` states:
//! long texts end in `...`, reasons and list elements beyond the bound are left out, and an `emit` field that makes the whole exceed
//! [`EMIT_BYTES_MAX`](crate::limits::EMIT_BYTES_MAX) is null.

mod hash;
mod headers;
mod json;
mod protobuf;
mod record;

pub use hash::{ChangeHasher, change_hash};
pub use headers::{DEAD_LETTER_HEADERS, Payload, change_headers, dead_letter_headers};
pub use json::{change_json, membership_json, membership_key_json};
pub use protobuf::{change_protobuf, membership_key_protobuf, membership_protobuf};
pub use record::{CauseEventRecord, ChangeRecord, MembershipKeyRecord, MembershipRecord, ReasonRecord};
