//! How rows of other systems become records: where customer, event, time and properties stand, and what is left out.
//!
//! A [`Mapping`] is what the configuration's `[mapping]` says; a [`Mapper`] is that against a schema and a file's columns. A mapped row is
//! written as native JSON and read by the one decoder, so that types and faults are judged as for every other record. No I/O here.

mod mapper;
mod time;

use std::fmt;

use jiff::tz::TimeZone;

pub use mapper::{Mapped, Mapper, Row};

/// What `[mapping]` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    /// `None`: by the name of the file.
    pub format: Option<RowFormat>,
    pub delimiter: Option<Delimiter>,
    /// Names of the columns of a file without a line of names; empty: its first line names them.
    pub columns: Vec<String>,
    /// The list whose elements are the rows of a line of NDJSON.
    pub each: Option<Place>,
    pub customer: Source,
    pub id: Source,
    pub event: Source,
    /// Names of events in the file to those of the catalogue; an empty one: no event, the row has traits only.
    pub events: Vec<(String, String)>,
    pub time: Source,
    /// By default the time.
    pub arrival: Source,
    /// The first that fits counts; empty: RFC 3339.
    pub time_formats: Vec<TimeFormat>,
    /// Where properties stand that `properties` does not name; empty: in the row itself.
    pub properties_in: Source,
    /// By the catalogue's name.
    pub properties: Vec<(String, Source)>,
    /// By the catalogue's name.
    pub traits: Vec<(String, Source)>,
    /// By place: what stands there to what is meant.
    pub values: Vec<(Place, Vec<(String, String)>)>,
    /// Places with whole numbers that are written with a fraction of zeros: `266079.0`.
    pub whole: Vec<Place>,
    /// Rows are taken only where each of these places has one of its values; an empty text stands for nothing.
    pub only: Vec<(Place, Vec<String>)>,
    /// Rows are left out where one of these places has one of its values.
    pub leave_out: Vec<(Place, Vec<String>)>,
}

/// How a file's rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    Csv,
    Ndjson,
}

/// What stands between the cells of a CSV row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    Byte(u8),
    /// Any number of blanks and tabs; no quotes.
    Blanks,
}

/// Places of which the first that holds something counts.
pub type Source = Vec<Place>;

/// Where a value stands, as written: a JSON pointer or a member's name (NDJSON), a column (CSV), a JSON pointer within a column that holds
/// JSON (`column#/0/price`), or a constant (`=purchase`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(pub String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How instants are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum TimeFormat {
    #[default]
    Rfc3339,
    /// Since 1970, with or without a fraction.
    Seconds,
    /// Since 1970.
    Millis,
    /// As `strptime` reads; the zone is of what names none.
    Pattern { pattern: String, zone: TimeZone },
}

/// A mapping that does not fit the catalogue or the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", help.as_ref().map_or_else(String::new, |h| format!("\n  = help: {h}")))]
pub struct Misfit {
    pub message: String,
    pub help: Option<String>,
}
