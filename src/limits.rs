//! Every bound, why it has that value, and assertions that relate them.

/// Largest input record, key and value together, in bytes. Kafka's own default for `max.message.bytes` is 1 MiB; larger records are
/// dead letters `too_large`.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Deepest nesting of an input record's JSON. Real payloads stay below ten; the bound keeps a hostile one from growing the stack.
pub const JSON_DEPTH_MAX: usize = 64;

/// Longest customer id in bytes.
pub const CUSTOMER_BYTES_MAX: usize = 1_024;

/// Longest id of an event in bytes; it is published with the change that the event causes.
pub const EVENT_ID_BYTES_MAX: usize = 1_024;

/// Longest text of a trait, of a property that some definition uses, or of a field of a record, in bytes. Such texts stay in a
/// customer's state; literals are at most [`TEXT_LITERAL_BYTES_MAX`], so nothing longer can equal one. Longer: dead letter `too_large`.
pub const VALUE_TEXT_BYTES_MAX: usize = 16 << 10;

/// Largest list or record of a trait or of a property that some definition uses, in bytes as it stands in its record: a cart of
/// [`CART_LINES_MAX`] lines many times over. Larger: dead letter `too_large`.
pub const VALUE_BYTES_MAX: usize = 128 << 10;

const _: () = assert!(TEXT_LITERAL_BYTES_MAX < VALUE_TEXT_BYTES_MAX && VALUE_TEXT_BYTES_MAX < VALUE_BYTES_MAX);
const _: () = assert!(VALUE_BYTES_MAX < RECORD_BYTES_MAX);

/// Most reasons of one published change; further ones are left out. A definition that needs more is not read by people anyway.
pub const REASONS_MAX: usize = 16;

/// Longest text within a reason, in bytes; longer ones are cut.
pub const REASON_TEXT_BYTES_MAX: usize = 512;

/// Longest text in `emit`, in bytes; longer ones are cut.
pub const EMIT_TEXT_BYTES_MAX: usize = 4_096;

/// Most elements of a list in `emit`; further ones are left out. A cart has at most 200 lines.
pub const EMIT_ITEMS_MAX: usize = 256;

/// Largest `emit` in bytes; a field that makes it larger is null.
pub const EMIT_BYTES_MAX: usize = 32 << 10;

// A change fits the broker's default limit of 1 MiB many times over.
const _: () = assert!(REASONS_MAX * 3 * 6 * REASON_TEXT_BYTES_MAX + EMIT_BYTES_MAX + 64 * CUSTOMER_BYTES_MAX < RECORD_BYTES_MAX);

/// Largest `.seg` text in bytes. A definition takes a few hundred; ten thousand of them in one file still fit.
pub const SOURCE_BYTES_MAX: usize = 8 << 20;

/// Deepest nesting of one expression as written: parentheses, `not`, filters, operators in a row. Bounds the compiler's stack.
pub const EXPRESSION_NESTING_MAX: usize = 32;

/// Deepest nesting of one expression after lets are inlined.
pub const INLINED_NESTING_MAX: usize = 64;

/// Most conditions and terms of one definition after lets are inlined: lets of lets grow exponentially.
pub const DEFINITION_NODES_MAX: usize = 4_096;

/// Most segments, scores, points and stages of one workspace.
pub const DEFINITIONS_MAX: usize = 20_000;

/// Most declarations of one kind in a catalogue; their indexes are 16 bits wide.
pub const CATALOGUE_ENTRIES_MAX: usize = 10_000;

/// Longest name of anything that is declared, in bytes: it stands in every change.
pub const NAME_BYTES_MAX: usize = 128;

/// Longest text literal in a definition, in bytes.
pub const TEXT_LITERAL_BYTES_MAX: usize = 4_096;

/// Largest compiled form of a pattern, in bytes: Unicode's letters a dozen times over.
pub const PATTERN_COMPILED_BYTES_MAX: usize = 1 << 20;

/// Most values of one `[...]` list of literals.
pub const LITERAL_LIST_MAX: usize = 1_000;

/// Largest constant that a count may be compared with by a quantifier; a larger one is surely a slip of the pen.
pub const QUANTIFIER_MAX: u32 = 1_000_000;

/// Longest window or delay: a hundred years.
pub const WINDOW_MAX_MS: i64 = 36_525 * 86_400_000;

const _: () = assert!(EXPRESSION_NESTING_MAX < INLINED_NESTING_MAX);
const _: () = assert!(CATALOGUE_ENTRIES_MAX <= u16::MAX as usize);

/// Lines of a cart that are told apart (LANGUAGE.md S43); what comes on top is summed into one overflow line and counted.
pub const CART_LINES_MAX: usize = 200;

/// Cart events of one customer within the reorder buffer that can be folded again; beyond it the oldest are settled early. A person makes a
/// few in ten minutes.
pub const CART_PENDING_MAX: usize = 256;

/// Steps of one sequence: each takes a bit of a mask in the engine, and one more for what must not come before it. Nobody can read more.
pub const SEQUENCE_STEPS_MAX: usize = 32;

/// Events of one sequence, customer and key within the reorder buffer that can be put in order again; beyond it the oldest are settled
/// early, and what would have stood before them is left out. A person does a few such things in ten minutes.
pub const SEQUENCE_BUFFERED_MAX: usize = 256;
/// Lines of those events together; beyond it the oldest events are settled early. Shops that send the whole cart with every step have a
/// dozen lines in each of a few dozen events.
pub const CART_PENDING_LINES_MAX: usize = 2_000;

const _: () = assert!(CART_PENDING_LINES_MAX >= CART_LINES_MAX);

/// Event ids kept per customer to tell duplicates (LANGUAGE.md S29); beyond it the oldest leave first and are counted.
pub const EVENT_IDS_MAX: usize = 256;

/// Largest constant for which a count keeps that many instants instead of a log (LANGUAGE.md S9).
pub const RING_CONSTANT_MAX: i64 = 64;

/// Keys of a condition `per` a key that are told apart, the most recently used by arrival (LANGUAGE.md R23); what comes on top forgets the
/// least recently used one and is counted.
pub const KEYS_MAX: usize = 64;

/// Longest text of a key that is kept whole, in bytes. Longer ones are told apart by a hash of 128 bits and shown by their beginning.
pub const KEY_TEXT_BYTES_MAX: usize = 128;

/// Buckets of a count or sum since a mark, beyond the exact entries: they cannot be cut by age, since the mark may lie anywhere.
pub const SINCE_BUCKETS_MAX: usize = 64;

/// Entries into a segment, and exits from it, that are kept where some condition asks for them: the newest decides, and as many more as an
/// earlier instant may have to be looked at again (LANGUAGE.md S27).
pub const CROSSINGS_MAX: usize = 8;

/// What a published record takes in any case, for the output budget: hashes, instants, names of fields.
pub const PUBLISHED_BYTES_BASE: usize = 320;
