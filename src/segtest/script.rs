//! The grammar of `.segtest` (LANGUAGE.md 11): text to steps, and steps back to text, so that a failing generated case can be pasted
//! into a file.
//!
//! Owns the words of the script. Knows nothing of the engine, and hands event bodies on as the JSON text that the author wrote, so that
//! the decoder of the wire is what reads them.

use std::fmt;

use crate::model::{Cause, DeadLetterReason};
use crate::time::{Millis, Timestamp};

/// Durations of a script count from here: 2026-01-05T00:00:00Z, a Monday.
pub const EPOCH: Timestamp = Timestamp(1_767_571_200_000);

/// One file: the definitions before the line `---` and the steps after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    pub definitions: String,
    /// In the order of the file.
    pub lines: Vec<Line>,
}

/// A step with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// One-based line of the file.
    pub number: usize,
    /// As written, without the blanks around it.
    pub text: String,
    pub step: Step,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Record(RecordStep),
    /// The clock moves as an idle log would move it.
    Clock(Timestamp),
    /// A setting of LANGUAGE.md 8.12.
    Set {
        name: String,
        value: String,
    },
    /// The whole set of definitions from here on.
    Define(String),
    Expect(Expectation),
}

/// One record with its arrival.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordStep {
    pub at: Timestamp,
    pub customer: String,
    pub ts: Option<Timestamp>,
    pub id: Option<String>,
    pub body: RecordBody,
}

/// What a record carries. JSON stays text: what is odd in it must reach the decoder.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordBody {
    Event { name: String, properties: String },
    Trait { name: String, value: String },
    Traits(String),
    Consent { purpose: String, granted: bool, until: Option<Timestamp> },
    List { name: String, member: bool },
    Merge { into: String },
    Erase,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Expectation {
    Change(ExpectedChange),
    Nothing,
    Member { segment: String, customer: String, member: bool },
    DeadLetter(DeadLetterReason),
    Error(String),
    Warning(String),
}

/// A change as far as the author says it; what is `None` is not compared.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedChange {
    pub kind: ExpectedKind,
    pub segment: String,
    pub customer: String,
    pub since: Option<Timestamp>,
    pub cause: Option<Cause>,
    /// `corrects prev`: the change before it of the same segment and customer.
    pub corrects_previous: bool,
    pub approx: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExpectedKind {
    Entered,
    Exited,
    Moved { from: String, to: String },
}

/// A script that cannot be read: where and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct Error {
    /// One-based; 0 where the file as a whole is meant.
    pub line: usize,
    pub message: String,
}

impl Script {
    /// Reads a whole file.
    ///
    /// **Errors:** the first line that is not in the grammar, or a file without the line `---`.
    pub fn parse(text: &str) -> Result<Script, Error> {
        let mut definitions = String::new();
        let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
        loop {
            match lines.next() {
                None => return Err(Error { line: 0, message: "no line `---` between the definitions and the script".into() }),
                Some((_, line)) if line.trim() == "---" => break,
                Some((_, line)) => {
                    definitions.push_str(line);
                    definitions.push('\n');
                }
            }
        }
        let mut out = Vec::new();
        while let Some((number, line)) = lines.next() {
            let text = line.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let step = if text == "define" {
                let mut set = String::new();
                loop {
                    match lines.next() {
                        None => return Err(Error { line: number, message: "`define` without `end`".into() }),
                        Some((_, line)) if line.trim() == "end" => break,
                        Some((_, line)) => {
                            set.push_str(line);
                            set.push('\n');
                        }
                    }
                }
                Step::Define(set)
            } else {
                parse_step(text).map_err(|message| Error { line: number, message })?
            };
            out.push(Line { number, text: text.to_string(), step });
        }
        Ok(Script { definitions, lines: out })
    }
}

/// The rest of a line, taken word by word.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.rest.split_whitespace().next()
    }

    fn next(&mut self, what: &str) -> Result<&'a str, String> {
        let word = self.peek().ok_or_else(|| format!("expected {what}, found the end of the line"))?;
        self.rest = self.rest.trim_start()[word.len()..].trim_start();
        Ok(word)
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        if found {
            self.rest = self.rest.trim_start()[word.len()..].trim_start();
        }
        found
    }

    /// A word, a text in double quotes (JSON's escapes) or a name in back-quotes.
    fn name(&mut self, what: &str) -> Result<String, String> {
        let rest = self.rest.trim_start();
        if rest.starts_with('"') {
            let text = self.json(what)?;
            return serde_json::from_str::<String>(text).map_err(|_| format!("expected {what}, found `{text}`"));
        }
        if let Some(inner) = rest.strip_prefix('`') {
            let end = inner.find('`').ok_or_else(|| format!("expected {what}, found a back-quote that is not closed"))?;
            self.rest = inner[end + 1..].trim_start();
            return Ok(inner[..end].to_string());
        }
        self.next(what).map(str::to_string)
    }

    /// One JSON value, as text.
    fn json(&mut self, what: &str) -> Result<&'a str, String> {
        let rest = self.rest.trim_start();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<serde::de::IgnoredAny>();
        match values.next() {
            Some(Ok(_)) => {
                let end = values.byte_offset();
                self.rest = rest[end..].trim_start();
                Ok(&rest[..end])
            }
            Some(Err(e)) => Err(format!("expected {what} as JSON: {e}")),
            None => Err(format!("expected {what} as JSON, found the end of the line")),
        }
    }

    fn time(&mut self, what: &str) -> Result<Timestamp, String> {
        let word = self.next(what)?;
        parse_time(word).ok_or_else(|| format!("expected {what} (a duration such as `1h30m`, or an instant), found `{word}`"))
    }

    fn end(&self) -> Result<(), String> {
        if self.rest.trim().is_empty() { Ok(()) } else { Err(format!("unexpected `{}`", self.rest.trim())) }
    }
}

fn parse_step(text: &str) -> Result<Step, String> {
    let mut words = Words { rest: text };
    let step = match words.next("a step")? {
        "at" => Step::Record(parse_record(&mut words)?),
        "clock" => Step::Clock(words.time("the clock")?),
        "set" => Step::Set { name: words.next("the name of a setting")?.to_string(), value: words.next("its value")?.to_string() },
        "expect" => Step::Expect(parse_expectation(&mut words)?),
        other => return Err(format!("unknown step `{other}`; steps are `at`, `clock`, `set`, `define`, `expect`")),
    };
    words.end()?;
    Ok(step)
}

fn parse_record(words: &mut Words) -> Result<RecordStep, String> {
    let at = words.time("the arrival")?;
    let customer = words.name("a customer")?;
    let quoted = words.rest.trim_start().starts_with(['`', '"']);
    let what = words.name("an event, `trait`, `traits`, `consent`, `list`, `merge` or `erase`")?;
    let body = match what.as_str() {
        "trait" if !quoted => {
            RecordBody::Trait { name: words.name("the name of a trait")?, value: words.json("the trait's value")?.to_string() }
        }
        "traits" if !quoted => RecordBody::Traits(words.json("the traits")?.to_string()),
        "consent" if !quoted => {
            let purpose = words.name("a purpose")?;
            let granted = match words.next("`granted` or `refused`")? {
                "granted" => true,
                "refused" => false,
                other => return Err(format!("expected `granted` or `refused`, found `{other}`")),
            };
            let until = if words.eat("until") { Some(words.time("the end of the consent")?) } else { None };
            RecordBody::Consent { purpose, granted, until }
        }
        "list" if !quoted => {
            let name = words.name("the name of a list")?;
            let member = match words.next("`in` or `out`")? {
                "in" => true,
                "out" => false,
                other => return Err(format!("expected `in` or `out`, found `{other}`")),
            };
            RecordBody::List { name, member }
        }
        "merge" if !quoted => {
            if !words.eat("into") {
                return Err("expected `merge into CUSTOMER`".into());
            }
            RecordBody::Merge { into: words.name("the surviving customer")? }
        }
        "erase" if !quoted => RecordBody::Erase,
        name => {
            let properties = if words.rest.starts_with('{') { words.json("the properties")?.to_string() } else { "{}".to_string() };
            RecordBody::Event { name: name.to_string(), properties }
        }
    };
    let (mut ts, mut id) = (None, None);
    while let Some(word) = words.peek() {
        if let Some(time) = word.strip_prefix("ts=") {
            ts = Some(parse_time(time).ok_or_else(|| format!("`{time}` is no time"))?);
            words.eat(word);
        } else if word.starts_with("id=") {
            words.rest = words.rest.trim_start()[3..].trim_start();
            id = Some(words.name("an id")?);
        } else {
            return Err(format!("unexpected `{word}`; after the record come `ts=TIME` and `id=ID`"));
        }
    }
    Ok(RecordStep { at, customer, ts, id, body })
}

fn parse_expectation(words: &mut Words) -> Result<Expectation, String> {
    let what = words.next("what to expect")?;
    match what {
        "nothing" => Ok(Expectation::Nothing),
        "member" | "no-member" => {
            let segment = words.name("a segment")?;
            Ok(Expectation::Member { segment, customer: words.name("a customer")?, member: what == "member" })
        }
        "dead-letter" => {
            let word = words.next("a reason")?;
            let reason = DeadLetterReason::from_word(word).ok_or_else(|| {
                let all: Vec<_> = DeadLetterReason::ALL.iter().map(|r| r.word()).collect();
                format!("unknown reason `{word}`; reasons are {}", all.join(", "))
            })?;
            Ok(Expectation::DeadLetter(reason))
        }
        "error" => Ok(Expectation::Error(words.next("a code")?.to_string())),
        "warning" => Ok(Expectation::Warning(words.next("a code")?.to_string())),
        "entered" | "exited" | "moved" => parse_expected_change(what, words).map(Expectation::Change),
        other => Err(format!(
            "unknown expectation `{other}`; there are `entered`, `exited`, `moved`, `nothing`, `member`, `no-member`, `dead-letter`, \
             `error`, `warning`"
        )),
    }
}

fn parse_expected_change(what: &str, words: &mut Words) -> Result<ExpectedChange, String> {
    let segment = words.name("a segment")?;
    let customer = words.name("a customer")?;
    let kind = match what {
        "entered" => ExpectedKind::Entered,
        "exited" => ExpectedKind::Exited,
        _ => {
            if !words.eat("from") {
                return Err("expected `from STAGE to STAGE`".into());
            }
            let from = words.name("a stage")?;
            if !words.eat("to") {
                return Err("expected `to STAGE`".into());
            }
            ExpectedKind::Moved { from, to: words.name("a stage")? }
        }
    };
    let mut change = ExpectedChange { kind, segment, customer, since: None, cause: None, corrects_previous: false, approx: false };
    while words.peek().is_some() {
        match words.next("an option")? {
            "since" => change.since = Some(words.time("an instant")?),
            "cause" => {
                let word = words.next("a cause")?;
                change.cause = Some(Cause::from_word(word).ok_or_else(|| format!("unknown cause `{word}`"))?);
            }
            "corrects" if words.eat("prev") => change.corrects_previous = true,
            "approx" => change.approx = true,
            other => return Err(format!("unexpected `{other}`; options are `since T`, `cause C`, `corrects prev`, `approx`")),
        }
    }
    Ok(change)
}

/// A duration after [`EPOCH`] or an instant in RFC 3339.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    match parse_duration(text) {
        Some(duration) => Some(EPOCH + duration),
        None => Timestamp::parse_rfc3339(text),
    }
}

/// `1h30m`: units from large to small, each once.
pub fn parse_duration(text: &str) -> Option<Millis> {
    const UNITS: [(&str, i64); 6] = [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let (mut rest, mut total, mut next) = (text, 0i64, 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
        let unit = UNITS.iter().position(|(name, _)| *name == &rest[..letters])?;
        if unit < next {
            return None;
        }
        next = unit + 1;
        total = total.checked_add(number.checked_mul(UNITS[unit].1)?)?;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then_some(Millis(total))
}

/// A time as a script writes it: the duration since [`EPOCH`], or the instant where it is earlier.
pub struct ScriptTime(pub Timestamp);

impl fmt::Display for ScriptTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = self.0 - EPOCH;
        if after.0 == 0 {
            f.write_str("0s")
        } else if after.0 > 0 {
            after.fmt(f)
        } else {
            self.0.fmt(f)
        }
    }
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = !self.0.is_empty() && !self.0.starts_with(['"', '`']) && !self.0.contains(char::is_whitespace);
        if plain { f.write_str(self.0) } else { f.write_str(&serde_json::Value::from(self.0).to_string()) }
    }
}

impl fmt::Display for RecordStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} {} ", ScriptTime(self.at), Quoted(&self.customer))?;
        match &self.body {
            RecordBody::Event { name, properties } => {
                let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
                let word = matches!(name.as_str(), "trait" | "traits" | "consent" | "list" | "merge" | "erase");
                if plain && !word { write!(f, "{name} {properties}")? } else { write!(f, "`{name}` {properties}")? }
            }
            RecordBody::Trait { name, value } => write!(f, "trait {} {value}", Quoted(name))?,
            RecordBody::Traits(value) => write!(f, "traits {value}")?,
            RecordBody::Consent { purpose, granted, until } => {
                write!(f, "consent {} {}", Quoted(purpose), if *granted { "granted" } else { "refused" })?;
                if let Some(until) = until {
                    write!(f, " until {}", ScriptTime(*until))?;
                }
            }
            RecordBody::List { name, member } => write!(f, "list {} {}", Quoted(name), if *member { "in" } else { "out" })?,
            RecordBody::Merge { into } => write!(f, "merge into {}", Quoted(into))?,
            RecordBody::Erase => f.write_str("erase")?,
        }
        if let Some(ts) = self.ts {
            write!(f, " ts={}", ScriptTime(ts))?;
        }
        if let Some(id) = &self.id {
            write!(f, " id={}", Quoted(id))?;
        }
        Ok(())
    }
}

impl RecordStep {
    /// The record in the native JSON format (DESIGN.md 5), as it would stand in an input topic.
    pub fn to_json(&self) -> String {
        let text = |s: &str| serde_json::Value::from(s).to_string();
        let customer = match &self.body {
            RecordBody::Merge { into } => into,
            _ => &self.customer,
        };
        let mut out = String::from("{");
        if let Some(id) = &self.id {
            out += &format!("\"id\":{},", text(id));
        }
        out += &format!("\"customer\":{}", text(customer));
        if let Some(ts) = self.ts {
            out += &format!(",\"ts\":\"{ts}\"");
        }
        match &self.body {
            RecordBody::Event { name, properties } => out += &format!(",\"event\":{},\"properties\":{properties}", text(name)),
            RecordBody::Trait { name, value } => out += &format!(",\"traits\":{{{}:{value}}}", text(name)),
            RecordBody::Traits(value) => out += &format!(",\"traits\":{value}"),
            RecordBody::Consent { purpose, granted, until } => {
                out += &format!(",\"consent\":{{\"purpose\":{},\"granted\":{granted}", text(purpose));
                if let Some(until) = until {
                    out += &format!(",\"until\":\"{until}\"");
                }
                out.push('}');
            }
            RecordBody::List { name, member } => out += &format!(",\"list\":{{\"name\":{},\"member\":{member}}}", text(name)),
            RecordBody::Merge { .. } => out += &format!(",\"merge\":{{\"from\":{}}}", text(&self.customer)),
            RecordBody::Erase => out += ",\"erase\":true",
        }
        out.push('}');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_step_is_read() {
        let text = "event a { }\n---\n# a comment\n\n\
            at 0s c1 product_viewed {\"category\":\"a b }\",\"price\":\"80.00\"} id=e1\n\
            at 10m \"c 1\" `Order Completed` {} ts=9m59s id=\"e 2\"\n\
            at 2026-01-06T00:00:00+01:00 c1 a\n\
            at 0s c1 trait country \"SE\" ts=0s\n\
            at 0s c1 traits {\"a\":1,\"a\":2}\n\
            at 0s c1 consent mail granted until 1d\n\
            at 0s c1 consent mail refused\n\
            at 0s c1 list vip in\n\
            at 0s anon merge into c1\n\
            at 0s c1 erase\n\
            clock 1w2d\n\
            set max_age off\n\
            define\nsegment s { when everyone }\nend\n\
            expect entered idle c1 since 39m59s cause timer corrects prev approx\n\
            expect moved life c1 from a to b cause event\n\
            expect nothing\nexpect member s c1\nexpect no-member s c1\nexpect dead-letter future\nexpect error E04\nexpect warning W01\n";
        let script = Script::parse(text).expect("in the grammar");
        assert_eq!(script.definitions, "event a { }\n");
        assert_eq!(script.lines.len(), 21);
        let Step::Record(order) = &script.lines[1].step else { panic!("a record") };
        assert_eq!((order.customer.as_str(), order.id.as_deref(), order.ts), ("c 1", Some("e 2"), Some(EPOCH + Millis(599_000))));
        let Step::Record(plain) = &script.lines[2].step else { panic!("a record") };
        assert_eq!(plain.at, EPOCH + Millis(23 * 3_600_000));
        assert_eq!(script.lines[2].number, 7);
    }

    #[test]
    fn records_print_as_they_are_read() {
        for line in [
            "at 0s c1 a {\"x\":1} ts=5m id=e1",
            "at 1d \"c 1\" `Order Completed` {}",
            "at 1d c1 `trait` {}",
            "at 1d2h c1 trait country \"SE\"",
            "at 1ms c1 consent mail granted until 2d",
            "at 1ms c1 list vip out ts=2026-01-04T00:00:00.000Z",
            "at 1ms c1 merge into c2",
            "at 1ms c1 erase",
        ] {
            let Step::Record(record) = parse_step(line).expect(line) else { panic!("{line}") };
            assert_eq!(record.to_string(), line);
            assert!(serde_json::from_str::<serde_json::Value>(&record.to_json()).is_ok(), "{}", record.to_json());
        }
    }

    #[test]
    fn what_is_not_in_the_grammar_is_named_with_its_line() {
        for (text, line, part) in [
            ("event a { }", 0, "---"),
            ("---\nat c1 a {}", 2, "arrival"),
            ("---\nat 0s c1 a {\"x\":}", 2, "JSON"),
            ("---\nat 0s c1 a {} at=1s", 2, "at=1s"),
            ("---\nat 5m1h c1 a {}", 2, "5m1h"),
            ("---\n\nexpect gone s c1", 3, "gone"),
            ("---\nexpect entered s c1 cause rain", 2, "rain"),
            ("---\nexpect dead-letter rain", 2, "rain"),
            ("---\ndefine\nsegment", 2, "end"),
            ("---\nexpect nothing else", 2, "else"),
            ("---\nwait 5m", 2, "wait"),
        ] {
            let error = Script::parse(text).expect_err(text);
            assert!(error.line == line && error.message.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn durations() {
        for (text, want) in [
            ("0s", Some(0)),
            ("1h30m", Some(5_400_000)),
            ("250ms", Some(250)),
            ("2w1ms", Some(1_209_600_001)),
            ("1m1h", None),
            ("5", None),
            ("", None),
            ("1mo", None),
        ] {
            assert_eq!(parse_duration(text), want.map(Millis), "{text}");
        }
    }
}
