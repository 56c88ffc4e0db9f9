//! What a sample shows: per property which kinds of values, how often, and the few distinct ones.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::time::{Timestamp, days_in_month};

/// Distinct texts that are remembered per property; more make no enumeration.
const DISTINCT_MAX: usize = 24;

/// Deepest nesting that is looked into.
const DEPTH_MAX: usize = 4;

/// Everything seen.
#[derive(Default)]
pub(super) struct Sample {
    pub(super) records: u64,
    pub(super) skipped: u64,
    pub(super) events: BTreeMap<String, Fields>,
    pub(super) traits: BTreeMap<String, Seen>,
    pub(super) purposes: BTreeMap<String, u64>,
    pub(super) lists: BTreeMap<String, u64>,
}

/// The members of an object, by key.
#[derive(Default)]
pub(super) struct Fields {
    /// Objects seen.
    pub(super) count: u64,
    pub(super) properties: BTreeMap<String, Seen>,
}

/// The values of one property. Nulls are not counted: they say nothing.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) count: u64,
    pub(super) booleans: u64,
    /// Whole numbers, written as numbers.
    pub(super) integers: u64,
    /// Numbers with a fraction or an exponent.
    pub(super) fractions: u64,
    /// Of the numbers: the least and the greatest.
    pub(super) least: f64,
    pub(super) greatest: f64,
    pub(super) texts: u64,
    /// Of the texts.
    pub(super) whole_texts: u64,
    pub(super) decimal_texts: u64,
    pub(super) instants: u64,
    pub(super) dates: u64,
    /// Text to count; `None` once there are too many.
    pub(super) distinct: Option<BTreeMap<String, u64>>,
    pub(super) lists: u64,
    pub(super) element: Option<Box<Seen>>,
    pub(super) objects: u64,
    pub(super) geo: u64,
    pub(super) fields: Option<Box<Fields>>,
}

impl Sample {
    /// Takes one line; blank ones are nothing.
    pub(super) fn add(&mut self, line: &[u8]) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let Ok(Value::Object(record)) = serde_json::from_slice::<Value>(line) else {
            self.skipped += 1;
            return;
        };
        let member = |key: &str| record.get(key).filter(|v| !v.is_null());
        if let Some(Value::String(name)) = member("event") {
            let fields = self.events.entry(name.clone()).or_default();
            match member("properties") {
                Some(Value::Object(properties)) => fields.add(properties, 0),
                _ => fields.count += 1,
            }
        } else if let Some(Value::Object(traits)) = member("traits") {
            for (name, value) in traits {
                self.traits.entry(name.clone()).or_default().add(value, 0);
            }
        } else if let Some(Value::Object(consent)) = member("consent") {
            if let Some(Value::String(purpose)) = consent.get("purpose") {
                *self.purposes.entry(purpose.clone()).or_default() += 1;
            }
        } else if let Some(Value::Object(list)) = member("list") {
            if let Some(Value::String(name)) = list.get("name") {
                *self.lists.entry(name.clone()).or_default() += 1;
            }
        } else if member("merge").is_none() && member("erase").is_none() {
            self.skipped += 1;
            return;
        }
        self.records += 1;
    }
}

impl Fields {
    fn add(&mut self, object: &serde_json::Map<String, Value>, depth: usize) {
        self.count += 1;
        for (key, value) in object {
            self.properties.entry(key.clone()).or_default().add(value, depth);
        }
    }
}

impl Seen {
    fn add(&mut self, value: &Value, depth: usize) {
        self.count += u64::from(!value.is_null());
        match value {
            Value::Null => {}
            Value::Bool(_) => self.booleans += 1,
            Value::Number(n) => {
                let written = n.to_string();
                let x = written.parse::<f64>().unwrap_or(0.0);
                if self.integers + self.fractions == 0 {
                    (self.least, self.greatest) = (x, x);
                }
                (self.least, self.greatest) = (self.least.min(x), self.greatest.max(x));
                if written.contains(['.', 'e', 'E']) && x.fract() != 0.0 { self.fractions += 1 } else { self.integers += 1 }
            }
            Value::String(text) => self.add_text(text),
            Value::Array(items) => {
                self.lists += 1;
                if depth < DEPTH_MAX {
                    let element = self.element.get_or_insert_default();
                    items.iter().for_each(|item| element.add(item, depth + 1));
                }
            }
            Value::Object(object) => {
                self.objects += 1;
                let number = |key: &str| object.get(key).is_some_and(Value::is_number);
                self.geo += u64::from(object.len() == 2 && number("lat") && number("lon"));
                if depth < DEPTH_MAX {
                    self.fields.get_or_insert_default().add(object, depth + 1);
                }
            }
        }
    }

    fn add_text(&mut self, text: &str) {
        self.texts += 1;
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.is_empty() && digits.len() <= 18 && digits.bytes().all(|b| b.is_ascii_digit()) {
            self.whole_texts += 1;
        } else if is_decimal(digits) {
            self.decimal_texts += 1;
        } else if Timestamp::parse_rfc3339(text).is_some() {
            self.instants += 1;
        } else if is_date(text) {
            self.dates += 1;
        }
        if self.texts == 1 {
            self.distinct = Some(BTreeMap::new());
        }
        if let Some(distinct) = &mut self.distinct {
            *distinct.entry(text.to_string()).or_default() += 1;
            if distinct.len() > DISTINCT_MAX {
                self.distinct = None;
            }
        }
    }
}

fn is_decimal(digits: &str) -> bool {
    digits.split_once('.').is_some_and(|(whole, part)| {
        let all = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        whole.len() <= 12 && all(whole) && all(part)
    })
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [y, m, d] = parts.as_slice() else { return false };
    let number = |t: &str, len: usize| (t.len() == len && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse::<u32>().ok()).flatten();
    match (number(y, 4), number(m, 2), number(d, 2)) {
        (Some(y), Some(m @ 1..=12), Some(d)) => d >= 1 && d <= days_in_month(i64::from(y), m),
        _ => false,
    }
}
