//! Every bound, why it has that value, and assertions that relate them.

/// Largest input record, key and value together, in bytes. Kafka's own default for `max.message.bytes` is 1 MiB; larger records are
/// dead letters `too_large`.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Deepest nesting of an input record's JSON. Real payloads stay below ten; the bound keeps a hostile one from growing the stack.
pub const JSON_DEPTH_MAX: usize = 64;

/// Longest customer id in bytes.
pub const CUSTOMER_BYTES_MAX: usize = 1_024;
