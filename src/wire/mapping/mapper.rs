//! One row to no, one or two native records.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Mapping, Misfit, Place, RowFormat, Source, TimeFormat};
use crate::lang::nearest;
use crate::model::Catalogue;
use crate::time::Timestamp;

/// A row as its file has it.
#[derive(Clone, Copy, Debug)]
pub enum Row<'a> {
    /// Cells in the order of the columns; missing ones are empty.
    Cells(&'a [&'a str]),
    /// What a line of NDJSON holds, and the whole line where the row is an element of a list in it.
    Json { row: &'a Value, line: &'a Value },
}

/// What became of a row.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Native records, traits before the event, with what they have in common: the arrival.
    pub records: Vec<Vec<u8>>,
    pub arrival: Timestamp,
}

/// A mapping against a catalogue and a file.
pub struct Mapper {
    mapping: Mapping,
    sources: Sources,
    /// By event of the catalogue, in its order: what is looked for.
    events: Vec<(String, Vec<Field>)>,
    traits: Vec<Field>,
}

struct Sources {
    customer: Vec<Spot>,
    id: Vec<Spot>,
    event: Vec<Spot>,
    time: Vec<Spot>,
    arrival: Vec<Spot>,
    only: Vec<(Spot, Vec<String>)>,
    leave_out: Vec<(Spot, Vec<String>)>,
}

/// A place that was looked up in the file.
#[derive(Clone)]
struct Spot {
    at: At,
    /// Places in [`Mapping::values`].
    values: Option<usize>,
    whole: bool,
}

#[derive(Clone)]
enum At {
    Constant(String),
    /// A column, and the JSON pointer within it.
    Column(usize, Option<String>),
    /// A JSON pointer.
    Pointer(String),
}

/// A property or a trait.
struct Field {
    /// Where the decoder looks for it.
    to: Vec<String>,
    from: Vec<Spot>,
}

impl Mapper {
    /// `columns` are those of a CSV file, in their order.
    ///
    /// **Errors:** a column that the file does not have; a property or a trait that the catalogue does not have.
    pub fn new(mapping: &Mapping, format: RowFormat, catalogue: &Catalogue, columns: &[String]) -> Result<Mapper, Misfit> {
        let spots = Spots { mapping, format, columns };
        let mut events: Vec<(String, Vec<Field>)> = Vec::new();
        for event in &catalogue.events {
            let mut fields = Vec::new();
            for property in &event.properties {
                let to = property.pointer.clone().unwrap_or_else(|| vec![property.name.clone()]);
                let from = match mapping.properties.iter().find(|(name, _)| *name == property.name) {
                    Some((_, source)) => spots.all(source)?,
                    None => spots.by_default(&to),
                };
                if !from.is_empty() {
                    fields.push(Field { to, from });
                }
            }
            events.push((event.name.clone(), fields));
        }
        for (name, _) in &mapping.properties {
            let known = || catalogue.events.iter().flat_map(|e| e.properties.iter().map(|p| p.name.as_str()));
            if !known().any(|k| k == name) {
                return Err(misfit(format!("mapping.properties names `{name}`, which no event of the catalogue has"), name, known()));
            }
        }
        let mut traits = Vec::new();
        for (name, source) in &mapping.traits {
            let Some(index) = catalogue.trait_named(name) else {
                let known = catalogue.traits.iter().map(|t| t.name.as_str());
                return Err(misfit(format!("mapping.traits names `{name}`, which is no trait of the catalogue"), name, known));
            };
            let to = catalogue.traits[index.at()].pointer.clone().unwrap_or_else(|| vec![name.clone()]);
            traits.push(Field { to, from: spots.all(source)? });
        }
        let rules = |rules: &[(Place, Vec<String>)]| -> Result<Vec<(Spot, Vec<String>)>, Misfit> {
            rules.iter().map(|(place, values)| Ok((Spot { values: None, ..spots.one(place)? }, values.clone()))).collect()
        };
        let sources = Sources {
            customer: spots.all(&mapping.customer)?,
            id: spots.all(&mapping.id)?,
            event: spots.all(&mapping.event)?,
            time: spots.all(&mapping.time)?,
            arrival: spots.all(&mapping.arrival)?,
            only: rules(&mapping.only)?,
            leave_out: rules(&mapping.leave_out)?,
        };
        // A value map whose column does not exist would silently do nothing.
        for place in mapping.values.iter().map(|(place, _)| place).chain(&mapping.whole) {
            spots.one(place)?;
        }
        Ok(Mapper { mapping: mapping.clone(), sources, events, traits })
    }

    /// The rows of a line of NDJSON.
    ///
    /// **Errors:** `each` names no list there.
    pub fn rows<'a>(&self, line: &'a Value) -> Result<Vec<Row<'a>>, String> {
        let Some(each) = &self.mapping.each else { return Ok(vec![Row::Json { row: line, line }]) };
        match line.pointer(&pointer(each)) {
            Some(Value::Array(rows)) => Ok(rows.iter().map(|row| Row::Json { row, line }).collect()),
            _ => Err(format!("no list at {each}")),
        }
    }

    /// Maps a row; `None`: it is left out.
    ///
    /// **Errors:** why the row is no record; it is then unreadable (LANGUAGE.md R62).
    pub fn map(&self, row: Row<'_>) -> Result<Option<Mapped>, String> {
        let s = &self.sources;
        let has = |(spot, values): &(Spot, Vec<String>)| {
            let text = self.read(spot, row).and_then(|v| text(&v)).unwrap_or_default();
            values.contains(&text)
        };
        if !s.only.iter().all(has) || s.leave_out.iter().any(has) {
            return Ok(None);
        }
        let instant = |source: &[Spot], what: &str| match self.first(source, row) {
            None => Ok(None),
            Some(text) => match self.instant(&text) {
                Some(at) => Ok(Some(at)),
                None => Err(format!("`{what}` is no instant of the mapping's form: {}", clipped(&text))),
            },
        };
        let time = instant(&s.time, "time")?;
        let Some(arrival) = instant(&s.arrival, "arrival")?.or(time) else { return Err("neither `time` nor `arrival`".into()) };
        let mut head = Map::new();
        if let Some(customer) = self.first(&s.customer, row) {
            head.insert("customer".into(), customer.into());
        }
        if let Some(time) = time {
            head.insert("ts".into(), time.to_string().into());
        }
        let mut mapped = Mapped { records: Vec::new(), arrival };
        let mut push = |members: Map<String, Value>| {
            let mut record = head.clone();
            record.extend(members);
            mapped.records.push(Value::Object(record).to_string().into_bytes());
        };
        let traits = self.object(&self.traits, row);
        if !traits.is_empty() {
            push(Map::from_iter([("traits".to_string(), Value::Object(traits))]));
        }
        let event = self.event_of(row);
        if let Some(name) = event.as_ref().filter(|name| !name.is_empty()) {
            let mut members = Map::new();
            if let Some(id) = self.first(&s.id, row) {
                members.insert("id".into(), id.into());
            }
            if let Ok(at) = self.events.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
                members.insert("properties".into(), Value::Object(self.object(&self.events[at].1, row)));
            }
            members.insert("event".into(), name.to_string().into());
            push(members);
        }
        match (mapped.records.is_empty(), event) {
            (false, _) => Ok(Some(mapped)),
            // Its kind is of traits only, and this one has none that is wanted.
            (true, Some(_)) => Ok(None),
            (true, None) => Err("neither an event nor a trait".into()),
        }
    }

    fn instant(&self, text: &str) -> Option<Timestamp> {
        match self.mapping.time_formats.as_slice() {
            [] => TimeFormat::Rfc3339.read(text),
            formats => formats.iter().find_map(|format| format.read(text)),
        }
    }

    /// The event's name in the catalogue: as the table of events says, without regard for case and blanks around where that is needed;
    /// empty: the row is of traits only.
    fn event_of<'a>(&'a self, row: Row<'_>) -> Option<Cow<'a, str>> {
        let name = self.first(&self.sources.event, row)?;
        let events = &self.mapping.events;
        let alike = |known: &str| known.trim().to_lowercase() == name.trim().to_lowercase();
        let found = events.iter().find(|(from, _)| *from == name).or_else(|| events.iter().find(|(from, _)| alike(from)));
        match found {
            Some((_, to)) => Some(Cow::Borrowed(to.as_str())),
            None => Some(Cow::Owned(name)),
        }
    }

    fn object(&self, fields: &[Field], row: Row<'_>) -> Map<String, Value> {
        let mut out = Map::new();
        for field in fields {
            if let Some(value) = field.from.iter().find_map(|spot| self.read(spot, row)) {
                put(&mut out, &field.to, value);
            }
        }
        out
    }

    /// The first text that is not empty.
    fn first(&self, source: &[Spot], row: Row<'_>) -> Option<String> {
        source.iter().find_map(|spot| self.read(spot, row).and_then(|v| text(&v)).filter(|t| !t.is_empty()))
    }

    /// What stands at a place, by the table of values; empty cells and nulls are nothing.
    fn read(&self, spot: &Spot, row: Row<'_>) -> Option<Value> {
        let found = match (&spot.at, row) {
            (At::Constant(text), _) => Value::String(text.clone()),
            (At::Column(column, within), Row::Cells(cells)) => {
                let cell = cells.get(*column).copied().filter(|cell| !cell.is_empty())?;
                match within {
                    None => Value::String(cell.to_string()),
                    Some(pointer) => serde_json::from_str::<Value>(cell).ok()?.pointer(pointer)?.clone(),
                }
            }
            (At::Pointer(pointer), Row::Json { row, line }) => row.pointer(pointer).or_else(|| line.pointer(pointer))?.clone(),
            // A mapping is built for one of the two.
            _ => return None,
        };
        if found.is_null() {
            return None;
        }
        let table = spot.values.map(|i| &self.mapping.values[i].1);
        if table.is_none() && !spot.whole {
            return Some(found);
        }
        let Some(mut shown) = text(&found) else { return Some(found) };
        if spot.whole
            && let Some((whole, fraction)) = shown.split_once('.')
            && fraction.bytes().all(|b| b == b'0')
        {
            shown = whole.to_string();
        }
        if let Some((_, to)) = table.and_then(|table| table.iter().find(|(from, _)| *from == shown)) {
            shown.clone_from(to);
        } else if !spot.whole {
            return Some(found);
        }
        Some(Value::String(shown)).filter(|v| v != "")
    }
}

/// Looks places up.
struct Spots<'a> {
    mapping: &'a Mapping,
    format: RowFormat,
    columns: &'a [String],
}

impl Spots<'_> {
    fn all(&self, source: &Source) -> Result<Vec<Spot>, Misfit> {
        source.iter().map(|place| self.one(place)).collect()
    }

    fn one(&self, place: &Place) -> Result<Spot, Misfit> {
        let at = match (place.0.strip_prefix('='), self.format) {
            (Some(constant), _) => At::Constant(constant.into()),
            (None, RowFormat::Ndjson) => At::Pointer(pointer(place)),
            (None, RowFormat::Csv) => {
                let (column, within) = match place.0.split_once("#/") {
                    Some((column, rest)) => (column, Some(format!("/{rest}"))),
                    None => (place.0.as_str(), None),
                };
                let Some(at) = self.columns.iter().position(|c| c == column) else {
                    return Err(misfit(format!("the file has no column `{column}`"), column, self.columns.iter().map(String::as_str)));
                };
                At::Column(at, within)
            }
        };
        let values = self.mapping.values.iter().position(|(other, _)| other == place);
        Ok(Spot { at, values, whole: self.mapping.whole.contains(place) })
    }

    /// Where a property stands that the mapping does not name; nowhere where a file has no such column.
    fn by_default(&self, to: &[String]) -> Vec<Spot> {
        let places: Vec<String> = match self.format {
            RowFormat::Csv => vec![to.join(".")],
            RowFormat::Ndjson => {
                let below = |base: String| {
                    to.iter().fold(base, |pointer, token| format!("{pointer}/{}", token.replace('~', "~0").replace('/', "~1")))
                };
                match self.mapping.properties_in.as_slice() {
                    [] => vec![below(String::new())],
                    bases => bases.iter().map(|base| below(pointer(base))).collect(),
                }
            }
        };
        places.into_iter().filter_map(|place| self.one(&Place(place)).ok()).collect()
    }
}

/// A JSON pointer; a name alone is that of a member.
fn pointer(place: &Place) -> String {
    match place.0.as_str() {
        "" => String::new(),
        pointer if pointer.starts_with('/') => pointer.into(),
        name => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
    }
}

fn misfit<'a>(message: String, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Misfit {
    let help = match nearest(name, known.clone()) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None => {
            let mut all: Vec<&str> = known.collect();
            all.sort_unstable();
            all.dedup();
            (!all.is_empty()).then(|| format!("there are: {}", clipped(&all.join(", "))))
        }
    };
    Misfit { message, help }
}

/// A text, a number or a truth as written.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The beginning of a text, for messages.
fn clipped(text: &str) -> String {
    const BYTES_MAX: usize = 400;
    if text.len() <= BYTES_MAX { text.to_string() } else { format!("{}…", &text[..text.floor_char_boundary(BYTES_MAX)]) }
}

/// Puts a value where a JSON pointer says, making objects on the way; what already stands in the way stays.
fn put(object: &mut Map<String, Value>, to: &[String], value: Value) {
    match to {
        [] => {}
        [last] => {
            object.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let inner = object.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::{self, SourceFile};

    fn catalogue() -> Catalogue {
        let text = "event bought is activity { sku string  paid money in EUR  size int from \"/detail/size\" }\nevent seen is activity { sku string }\n\
                    trait country string\nsegment s { when any bought ever }\n";
        lang::compile(&[SourceFile::new("a.seg", text)]).workspace.expect("compiles").catalogue
    }

    fn at(places: &[&str]) -> Source {
        places.iter().map(|p| Place((*p).into())).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
    }

    fn shown(mapper: &Mapper, row: Row<'_>) -> Result<Vec<String>, String> {
        let mapped = mapper.map(row)?;
        Ok(mapped.map_or_else(Vec::new, |m| m.records.into_iter().map(|r| String::from_utf8(r).expect("UTF-8")).collect()))
    }

    #[test]
    fn cells_become_an_event_and_traits() {
        let mapping = Mapping {
            customer: at(&["user"]),
            event: at(&["type"]),
            events: pairs(&[("1", "seen"), ("4", "bought")]),
            time: at(&["at"]),
            time_formats: vec![TimeFormat::Seconds],
            properties: vec![("paid".into(), at(&["json#/0/price"])), ("size".into(), at(&["n"]))],
            traits: vec![("country".into(), at(&["land"]))],
            values: vec![(Place("land".into()), pairs(&[("S", "SE")]))],
            whole: at(&["user"]),
            leave_out: vec![(Place("type".into()), vec!["9".into(), String::new()])],
            ..Mapping::default()
        };
        let columns: Vec<String> = ["user", "type", "at", "sku", "json", "n", "land"].map(String::from).into();
        let mapper = Mapper::new(&mapping, RowFormat::Csv, &catalogue(), &columns).expect("fits");
        let cells = |cells: &[&str]| shown(&mapper, Row::Cells(cells));
        assert_eq!(
            cells(&["7.0", "4", "60", "s1", r#"[{"price":"2.50"}]"#, "3", "S"]).expect("maps"),
            [
                r#"{"customer":"7","ts":"1970-01-01T00:01:00.000Z","traits":{"country":"SE"}}"#,
                r#"{"customer":"7","ts":"1970-01-01T00:01:00.000Z","properties":{"sku":"s1","paid":"2.50","detail":{"size":"3"}},"event":"bought"}"#,
            ]
        );
        assert_eq!(
            cells(&["7.5", "1", "60", "", "", "3"]).expect("maps"),
            [r#"{"customer":"7.5","ts":"1970-01-01T00:01:00.000Z","properties":{},"event":"seen"}"#]
        );
        assert!(cells(&["7", "9", "60"]).expect("left out").is_empty() && cells(&["7"]).expect("left out").is_empty());
        assert_eq!(cells(&["7", "2", ""]), Err("neither `time` nor `arrival`".into()));
        assert!(cells(&["7", "2", "noon"]).is_err_and(|e| e.contains("`time` is no instant") && e.contains("noon")));
    }

    #[test]
    fn members_are_found_by_pointer_in_the_row_and_then_in_the_line() {
        let mapping = Mapping {
            each: Some(Place("/events".into())),
            customer: at(&["/user/id", "session"]),
            id: at(&["/id"]),
            event: at(&["/type"]),
            events: pairs(&[("Order Completed", "bought"), ("identify", "")]),
            time: at(&["/ts", "=5"]),
            time_formats: vec![TimeFormat::Rfc3339, TimeFormat::Millis],
            properties_in: at(&["/none", "/p"]),
            traits: vec![("country".into(), at(&["/land"]))],
            ..Mapping::default()
        };
        let mapper = Mapper::new(&mapping, RowFormat::Ndjson, &catalogue(), &[]).expect("fits");
        let line: Value = serde_json::from_str(
            r#"{"session":12,"events":[{"id":"a","type":" order completed","ts":1000,"p":{"sku":"x","paid":12.10,"detail":{"size":4}}},
                {"type":"identify","land":"SE"},{"type":"seen","user":{"id":"u"}},{"type":"identify"},{"x":1}]}"#,
        )
        .expect("JSON");
        let rows = mapper.rows(&line).expect("a list");
        let all: Vec<Result<Vec<String>, String>> = rows.into_iter().map(|row| shown(&mapper, row)).collect();
        let first = r#"{"customer":"12","ts":"1970-01-01T00:00:01.000Z","id":"a","properties":{"sku":"x","paid":12.10,"detail":{"size":4}},"event":"bought"}"#;
        assert_eq!(all[0], Ok(vec![first.into()]));
        assert_eq!(all[1], Ok(vec![r#"{"customer":"12","ts":"1970-01-01T00:00:00.005Z","traits":{"country":"SE"}}"#.into()]));
        assert_eq!(all[2], Ok(vec![r#"{"customer":"u","ts":"1970-01-01T00:00:00.005Z","properties":{},"event":"seen"}"#.into()]));
        assert_eq!(all[3], Ok(Vec::new()), "traits only, and none");
        assert_eq!(all[4], Err("neither an event nor a trait".into()));
        assert!(mapper.rows(&Value::Null).is_err_and(|e| e.contains("/events")));
    }

    #[test]
    fn what_fits_neither_file_nor_catalogue_is_told_with_the_nearest_name() {
        let columns = ["user_id".to_string(), "when".to_string()];
        let told = |mapping: Mapping| match Mapper::new(&mapping, RowFormat::Csv, &catalogue(), &columns) {
            Ok(_) => panic!("it fits"),
            Err(misfit) => misfit.to_string(),
        };
        let message = told(Mapping { customer: at(&["user_di"]), ..Mapping::default() });
        assert!(message.contains("no column `user_di`") && message.contains("`user_id`?"), "{message}");
        let message = told(Mapping { properties: vec![("pald".into(), at(&["when"]))], ..Mapping::default() });
        assert!(message.contains("`pald`") && message.contains("`paid`?"), "{message}");
        let message = told(Mapping { traits: vec![("town".into(), at(&["when"]))], ..Mapping::default() });
        assert!(message.contains("no trait") && message.contains("country"), "{message}");
        let message = told(Mapping { values: vec![(Place("wen".into()), Vec::new())], ..Mapping::default() });
        assert!(message.contains("no column `wen`") && message.contains("`when`?"), "{message}");
    }
}
