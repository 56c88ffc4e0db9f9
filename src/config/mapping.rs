//! The `[mapping]` section: how rows of other systems become records.
//!
//! It stands in a file of its own for `backtest` and `explain`; it reads a table of the one strict reader, so that it can stand in the
//! service's configuration as well.

use std::path::Path;

use jiff::tz::TimeZone;

use super::Error;
use super::tree::{Reader, Table};
use crate::wire::mapping::{Delimiter, Mapping, Place, RowFormat, Source, TimeFormat};

/// Reads a file that holds a `[mapping]` and nothing else.
///
/// **Errors:** every problem found, each with its place and a way out; configuration, exit code 2.
pub fn load_mapping(path: &Path) -> Result<Mapping, Error> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| Error::single(&name, format!("cannot be read: {e}")))?;
    parse(&name, &text)
}

fn parse(name: &str, text: &str) -> Result<Mapping, Error> {
    let reader = Reader::new(name, text, Path::new("."), &[])?;
    let root = reader.root();
    let table = root.table("mapping");
    if !table.is_present() {
        root.problem("there is no [mapping]", Some("begin with [mapping] and customer = \"...\""));
    }
    let mapping = read(&table);
    root.done();
    reader.finish()?;
    Ok(mapping)
}

fn read(t: &Table<'_>) -> Mapping {
    let format = t.word("format", &[("csv", RowFormat::Csv), ("ndjson", RowFormat::Ndjson)]);
    let delimiter = t.text("delimiter").and_then(|text| match (text.as_str(), text.as_bytes()) {
        ("blanks", _) => Some(Delimiter::Blanks),
        (_, [byte]) if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Some(Delimiter::Byte(*byte)),
        _ => {
            t.problem_at("delimiter", "is one character, or \"blanks\" for any number of blanks", Some("\"\\t\" is a tab"));
            None
        }
    });
    let mapping = Mapping {
        format,
        delimiter,
        columns: t.texts("columns"),
        each: t.text("each").map(Place),
        customer: required(t, "customer", "where the customer's id stands: a column, or a JSON pointer such as \"/userId\""),
        id: source(t, "id"),
        event: source(t, "event"),
        events: t.table("events").pairs(),
        time: source(t, "time"),
        arrival: source(t, "arrival"),
        time_formats: time_formats(t),
        properties_in: source(t, "properties_in"),
        properties: sources(t, "properties"),
        traits: sources(t, "traits"),
        values: t.named("values").into_iter().map(|(place, table)| (Place(place), table.pairs())).collect(),
        whole: source(t, "whole"),
        only: rules(t, "only"),
        leave_out: rules(t, "leave_out"),
    };
    t.done();
    if t.is_present() && mapping.event.is_empty() && mapping.traits.is_empty() {
        t.problem("`mapping.event` is missing", Some("where the event's name stands, or the name itself after `=`: event = \"=purchase\""));
    }
    if t.is_present() && mapping.time.is_empty() && mapping.arrival.is_empty() {
        t.problem("`mapping.time` is missing", Some("where the event's time stands; `time_format` says how it is written"));
    }
    let of_csv = [("delimiter", mapping.delimiter.is_some()), ("columns", !mapping.columns.is_empty())];
    let of_json = [("each", mapping.each.is_some()), ("properties_in", !mapping.properties_in.is_empty())];
    for (key, there) in if mapping.format == Some(RowFormat::Ndjson) { of_csv } else { of_json } {
        if there && mapping.format.is_some() {
            t.problem_at(key, "has no meaning for this `format`", None);
        }
    }
    mapping
}

fn source(t: &Table<'_>, key: &'static str) -> Source {
    let source: Source = t.texts(key).into_iter().map(Place).collect();
    if source.iter().any(|place| place.0.is_empty()) {
        t.problem_at(key, "names nothing", None);
    }
    source
}

fn required(t: &Table<'_>, key: &'static str, help: &str) -> Source {
    let source = source(t, key);
    if source.is_empty() && t.is_present() {
        t.required_text(key, help);
    }
    source
}

fn sources(t: &Table<'_>, key: &'static str) -> Vec<(String, Source)> {
    t.lists(key).into_iter().map(|(name, places)| (name, places.into_iter().map(Place).collect())).collect()
}

fn rules(t: &Table<'_>, key: &'static str) -> Vec<(Place, Vec<String>)> {
    t.lists(key).into_iter().map(|(place, values)| (Place(place), values)).collect()
}

fn time_formats(t: &Table<'_>) -> Vec<TimeFormat> {
    let zone = t.text("time_zone").and_then(|name| {
        let zone = TimeZone::get(&name).ok();
        if zone.is_none() {
            t.problem_at("time_zone", "no time zone of this name", Some("IANA names, for example \"Europe/Stockholm\""));
        }
        zone
    });
    let format = |text: String| match text.as_str() {
        "rfc3339" => Some(TimeFormat::Rfc3339),
        "s" => Some(TimeFormat::Seconds),
        "ms" => Some(TimeFormat::Millis),
        pattern if pattern.contains('%') => {
            Some(TimeFormat::Pattern { pattern: pattern.into(), zone: zone.clone().unwrap_or(TimeZone::UTC) })
        }
        _ => {
            let help = "\"rfc3339\", \"s\" or \"ms\" since 1970, or a pattern such as \"%Y-%m-%d %H:%M:%S\"";
            t.problem_at("time_format", "is no form of an instant", Some(help));
            None
        }
    };
    let formats: Vec<TimeFormat> = t.texts("time_format").into_iter().filter_map(format).collect();
    if zone.is_some() && !formats.iter().any(|f| matches!(f, TimeFormat::Pattern { .. })) {
        t.problem_at("time_zone", "is for a `time_format` with a pattern; the other forms say their zone", None);
    }
    formats
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(text: &str) -> String {
        parse("m.toml", text).expect_err("refused").to_string()
    }

    #[test]
    fn a_mapping_is_read_whole() {
        let text = r#"
            [mapping]
            format = "csv"
            delimiter = ";"
            customer = ["user_id", "cookie"]
            id = "event_id"
            event = "type"
            time = "at"
            time_format = "%d/%m/%Y %H:%M"
            time_zone = "Europe/Stockholm"
            whole = "user_id"
            events = { 1 = "seen", "Order Completed" = "bought", x = "" }
            properties = { price = ["price", "=0"] }
            traits.country = "land"
            values.land = { S = "SE" }
            only.app = ["shop", 7]
            leave_out = { type = "" }
        "#;
        let mapping = parse("m.toml", text).expect("reads");
        let at = |places: &[&str]| places.iter().map(|p| Place((*p).into())).collect::<Source>();
        let want = Mapping {
            format: Some(RowFormat::Csv),
            delimiter: Some(Delimiter::Byte(b';')),
            customer: at(&["user_id", "cookie"]),
            id: at(&["event_id"]),
            event: at(&["type"]),
            events: [("1", "seen"), ("Order Completed", "bought"), ("x", "")].map(|(a, b)| (a.into(), b.into())).into(),
            time: at(&["at"]),
            time_formats: vec![TimeFormat::Pattern {
                pattern: "%d/%m/%Y %H:%M".into(),
                zone: TimeZone::get("Europe/Stockholm").expect("a zone"),
            }],
            properties: vec![("price".into(), at(&["price", "=0"]))],
            traits: vec![("country".into(), at(&["land"]))],
            values: vec![(Place("land".into()), vec![("S".into(), "SE".into())])],
            whole: at(&["user_id"]),
            only: vec![(Place("app".into()), vec!["shop".into(), "7".into()])],
            leave_out: vec![(Place("type".into()), vec![String::new()])],
            ..Mapping::default()
        };
        assert_eq!(mapping, want);
    }

    #[test]
    fn what_is_wrong_is_told_with_place_and_way_out() {
        let least = "[mapping]\ncustomer = \"u\"\nevent = \"=a\"\ntime = \"t\"\n";
        parse("m.toml", least).expect("the least");
        for (text, want) in [
            ("", "there is no [mapping]"),
            ("[maping]\n", "did you mean `mapping`?"),
            ("[mapping]\n", "`mapping.customer` is missing"),
            ("[mapping]\n", "`mapping.event` is missing"),
            ("[mapping]\n", "`mapping.time` is missing"),
            (&format!("{least}costumer = \"x\"\n"), "5:1: unknown key `mapping.costumer`"),
            (&format!("{least}costumer = \"x\"\n"), "did you mean `customer`?"),
            (&format!("{least}delimiter = \"--\"\n"), "5:13: `mapping.delimiter`: is one character"),
            (&format!("{least}time_format = \"iso\"\n"), "`mapping.time_format`: is no form of an instant"),
            (&format!("{least}time_zone = \"Mars\"\n"), "no time zone of this name"),
            (&format!("{least}time_zone = \"UTC\"\n"), "is for a `time_format` with a pattern"),
            (&format!("{least}format = \"csv\"\neach = \"/a\"\n"), "`mapping.each`: has no meaning"),
            (&format!("{least}properties = {{ a = [[\"b\"]] }}\n"), "`mapping.properties.a` is a text in quotes or a list of texts"),
            (&format!("{least}events = {{ a = [\"b\"] }}\n"), "`mapping.events.a` is a text in quotes"),
            (&format!("{least}values = {{ a = \"b\" }}\n"), "`mapping.values.a` is a table"),
        ] {
            let message = fails(text);
            assert!(message.contains(want), "{text}: {message}");
        }
    }
}
