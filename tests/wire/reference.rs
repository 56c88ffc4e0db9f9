//! A slow decoder: the whole text to a tree, then the rules one by one. Shares with the fast one only the model.

use segmentd::engine::batch::{Batch, Body, Datum, Record};
use segmentd::limits::{CUSTOMER_BYTES_MAX, EVENT_ID_BYTES_MAX, JSON_DEPTH_MAX};
use segmentd::model::money::parse_scaled;
use segmentd::model::{Currency, DeadLetterReason, Decimal, InstantFormat, Money, MoneyCurrency, Property, Type, Value};
use segmentd::plan::schema::Schema;
use segmentd::time::{Millis, Timestamp, days_from_civil, days_in_month};
use segmentd::wire::{DecodeOptions, UnknownEvents, WrongType};

/// A record with everything it points at.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    /// With the property of a wrong type.
    Rejected(DeadLetterReason, Option<String>),
    Record {
        customer: String,
        id: Option<String>,
        ts: Option<Timestamp>,
        body: OutBody,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum OutBody {
    Event(u16, Vec<Value>),
    Traits(Vec<(u16, Value)>),
    Consent(u16, bool, Option<Timestamp>),
    List(u16, bool),
    Nothing,
    Ignored,
}

/// What the fast decoder pushed, in the same form.
pub fn out_of(batch: &Batch, record: &Record) -> Out {
    let body = match record.body {
        Body::Rejected { reason, detail } => {
            let detail = batch.text(detail);
            let property = (reason == DeadLetterReason::WrongType).then(|| {
                let inside = detail.strip_prefix('`').expect("a wrong type names the property");
                inside.split(['`', '.']).next().expect("the first part").to_string()
            });
            return Out::Rejected(reason, property);
        }
        Body::Event { event, slots } => OutBody::Event(event.0, batch.data(slots).iter().map(|d| value_of(batch, *d)).collect()),
        Body::Traits(range) => OutBody::Traits(batch.traits(range).iter().map(|(t, d)| (t.0, value_of(batch, *d))).collect()),
        Body::Consent { purpose, granted, until } => OutBody::Consent(purpose.0, granted, until),
        Body::List { list, member } => OutBody::List(list.0, member),
        Body::Nothing => OutBody::Nothing,
        Body::Ignored => OutBody::Ignored,
    };
    Out::Record { customer: batch.text(record.customer).into(), id: record.id.map(|id| batch.text(id).into()), ts: record.ts, body }
}

fn value_of(batch: &Batch, datum: Datum) -> Value {
    match datum {
        Datum::Missing => Value::Missing,
        Datum::Bool(b) => Value::Bool(b),
        Datum::Int(n) => Value::Int(n),
        Datum::Decimal(d) => Value::Decimal(Decimal(d)),
        Datum::Money { minor, currency } => Value::Money(Money { minor, currency }),
        Datum::Text(range) => Value::Text(batch.text(range).into()),
        Datum::Instant(t) => Value::Instant(t),
        Datum::Date(d) => Value::Date(d),
        Datum::Duration(d) => Value::Duration(d),
        Datum::Geo { lat, lon } => Value::Geo { lat, lon },
        Datum::List(range) => Value::List(batch.data(range).iter().map(|d| value_of(batch, *d)).collect()),
        Datum::Record(range) => Value::Record(batch.data(range).iter().map(|d| value_of(batch, *d)).collect()),
    }
}

#[derive(Clone, Debug)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    /// Of keys that stand twice the last one, at its place.
    Object(Vec<(String, Json)>),
}

/// A recursive parser, as the grammar stands in RFC 8259. (serde's tree would do but for numbers, which it does not keep as written.)
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, token: &str) -> Option<()> {
        self.space();
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn value(&mut self) -> Option<Json> {
        self.space();
        match self.rest.chars().next()? {
            'n' => self.eat("null").map(|()| Json::Null),
            't' => self.eat("true").map(|()| Json::Bool(true)),
            'f' => self.eat("false").map(|()| Json::Bool(false)),
            '"' => self.string().map(Json::Text),
            '[' => self.list(),
            '{' => self.object(),
            _ => self.number(),
        }
    }

    fn list(&mut self) -> Option<Json> {
        self.eat("[")?;
        let mut items = Vec::new();
        if self.eat("]").is_some() {
            return Some(Json::List(items));
        }
        loop {
            items.push(self.value()?);
            if self.eat("]").is_some() {
                return Some(Json::List(items));
            }
            self.eat(",")?;
        }
    }

    fn object(&mut self) -> Option<Json> {
        self.eat("{")?;
        let mut members: Vec<(String, Json)> = Vec::new();
        if self.eat("}").is_some() {
            return Some(Json::Object(members));
        }
        loop {
            self.space();
            let key = self.string()?;
            self.eat(":")?;
            let value = self.value()?;
            members.retain(|(k, _)| *k != key);
            members.push((key, value));
            if self.eat("}").is_some() {
                return Some(Json::Object(members));
            }
            self.eat(",")?;
        }
    }

    fn string(&mut self) -> Option<String> {
        self.rest = self.rest.strip_prefix('"')?;
        let mut end = 0;
        let bytes = self.rest.as_bytes();
        while *bytes.get(end)? != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let raw = self.rest.get(..end)?;
        self.rest = &self.rest[end + 1..];
        serde_json::from_str(&format!("\"{raw}\"")).ok()
    }

    fn number(&mut self) -> Option<Json> {
        let end = self.rest.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        // serde says whether it is one; the text is kept as it stands.
        serde_json::from_str::<serde_json::Number>(number).ok().map(|_| Json::Number(number.into()))
    }
}

fn parse(text: &[u8]) -> Option<Json> {
    let text = std::str::from_utf8(text).ok()?;
    let mut parser = Parser { rest: text };
    let json = parser.value().filter(|_| {
        parser.space();
        parser.rest.is_empty()
    });
    assert_eq!(json.is_some(), serde_json::from_str::<serde_json::Value>(text).is_ok(), "the parsers disagree on {text}");
    json
}

impl Json {
    fn depth(&self) -> usize {
        match self {
            Json::List(items) => 1 + items.iter().map(Json::depth).max().unwrap_or(0),
            Json::Object(members) => 1 + members.iter().map(|(_, v)| v.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// A member; null counts as absent.
    fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(k, _)| k == name).map(|(_, v)| v).filter(|v| !matches!(v, Json::Null)),
            _ => None,
        }
    }

    /// The value at a pointer, null included.
    fn at(&self, pointer: &[String]) -> Option<&Json> {
        pointer.iter().try_fold(self, |at, token| match at {
            Json::Object(members) => members.iter().find(|(k, _)| k == token).map(|(_, v)| v),
            Json::List(items) => items.iter().enumerate().find(|(i, _)| i.to_string() == *token).map(|(_, v)| v),
            _ => None,
        })
    }

    fn text(&self) -> Option<&str> {
        match self {
            Json::Text(t) => Some(t),
            _ => None,
        }
    }
}

struct Field {
    name: String,
    ty: Type,
    pointer: Vec<String>,
    code: Option<Vec<String>>,
}

fn fields(properties: &[Property]) -> Vec<Field> {
    let pointer = |p: &Property| p.pointer.clone().unwrap_or_else(|| vec![p.name.clone()]);
    let field = |p: &Property| Field {
        name: p.name.clone(),
        ty: p.ty.clone(),
        pointer: pointer(p),
        code: match p.ty {
            Type::Money(MoneyCurrency::Property(sibling)) => Some(pointer(&properties[sibling.at()])),
            _ => None,
        },
    };
    properties.iter().map(field).collect()
}

pub fn decode(schema: &Schema, options: &DecodeOptions, text: &[u8]) -> Out {
    let reject = |reason| Out::Rejected(reason, None);
    let unreadable = || reject(DeadLetterReason::Unreadable);
    let Some(json) = parse(text) else { return unreadable() };
    if json.depth() > JSON_DEPTH_MAX || !matches!(json, Json::Object(_)) {
        return unreadable();
    }
    let bodies: Vec<_> = ["event", "traits", "consent", "list", "merge", "erase"].iter().filter_map(|n| Some((*n, json.get(n)?))).collect();
    let [(kind, body)] = bodies[..] else { return unreadable() };
    let properties = json.get("properties");
    if !matches!(properties, None | Some(Json::Object(_))) {
        return unreadable();
    }
    let ts = match json.get("ts").map(|t| t.text().and_then(instant)) {
        Some(None) => return unreadable(),
        other => other.flatten(),
    };
    let word = |name| match json.get(name) {
        None => Some(None),
        Some(Json::Text(t) | Json::Number(t)) => Some(Some(t.clone()).filter(|t| !t.is_empty())),
        _ => None,
    };
    let (Some(customer), Some(id)) = (word("customer"), word("id")) else { return unreadable() };
    let truth = |v: Option<&Json>| match v? {
        Json::Bool(b) => Some(*b),
        Json::Text(t) => t.parse().ok(),
        _ => None,
    };
    let mut wrong = None;
    let mut note = |value: Result<Value, ()>, name: &str| {
        value.unwrap_or_else(|()| {
            wrong.get_or_insert(name.to_string());
            Value::Missing
        })
    };
    let mut unknown_event = false;
    let body = match kind {
        "event" => {
            let Some(name) = body.text() else { return unreadable() };
            match schema.catalogue.event(name) {
                None => {
                    unknown_event = true;
                    OutBody::Ignored
                }
                Some(event) => {
                    let all = fields(&schema.catalogue.events[event.at()].properties);
                    let used = schema.events[event.at()].slots.iter().map(|slot| &all[slot.property.at()]);
                    let none = Json::Object(vec![]);
                    let object = properties.unwrap_or(&none);
                    OutBody::Event(event.0, used.map(|f| note(value(object, f).unwrap_or(Ok(Value::Missing)), &f.name)).collect())
                }
            }
        }
        "traits" => {
            let Json::Object(_) = body else { return unreadable() };
            let all: Vec<Property> = schema
                .catalogue
                .traits
                .iter()
                .map(|t| Property { name: t.name.clone(), ty: t.ty.clone(), pointer: t.pointer.clone() })
                .collect();
            let mut found = Vec::new();
            for (i, field) in fields(&all).iter().enumerate() {
                if let Some(v) = value(body, field) {
                    let mut path = Vec::new();
                    place(body, &field.pointer, &mut path);
                    found.push((path, i as u16, note(v, &field.name)));
                }
            }
            // By place in the text; of traits at one place, in the order of the catalogue.
            found.sort_by(|a, b| order(&a.0, &b.0));
            if found.is_empty() { OutBody::Nothing } else { OutBody::Traits(found.into_iter().map(|(_, i, v)| (i, v)).collect()) }
        }
        "consent" => {
            let Json::Object(_) = body else { return unreadable() };
            let until = match body.get("until").map(|t| t.text().and_then(instant)) {
                Some(None) => return unreadable(),
                other => other.flatten(),
            };
            let (Some(granted), Some(Some(purpose))) = (truth(body.get("granted")), body.get("purpose").map(Json::text)) else {
                return unreadable();
            };
            schema.catalogue.purpose(purpose).map_or(OutBody::Nothing, |p| OutBody::Consent(p.0, granted, until))
        }
        "list" => {
            let Json::Object(_) = body else { return unreadable() };
            let (Some(member), Some(Some(name))) = (truth(body.get("member")), body.get("name").map(Json::text)) else {
                return unreadable();
            };
            schema.catalogue.list(name).map_or(OutBody::Nothing, |l| OutBody::List(l.0, member))
        }
        _ => return unreadable(),
    };
    let Some(customer) = customer else { return reject(DeadLetterReason::MissingCustomer) };
    if customer.len() > CUSTOMER_BYTES_MAX || id.as_ref().is_some_and(|id| id.len() > EVENT_ID_BYTES_MAX) {
        return reject(DeadLetterReason::TooLarge);
    }
    if unknown_event && options.unknown_events == UnknownEvents::DeadLetter {
        return reject(DeadLetterReason::UnknownEvent);
    }
    if wrong.is_some() && options.wrong_type == WrongType::DeadLetter {
        return Out::Rejected(DeadLetterReason::WrongType, wrong);
    }
    Out::Record { customer, id, ts, body }
}

/// Places of the members on the way to a pointer's value.
fn place(at: &Json, pointer: &[String], path: &mut Vec<usize>) {
    let Some((token, rest)) = pointer.split_first() else { return };
    let next = match at {
        Json::Object(members) => members.iter().enumerate().find(|(_, (k, _))| k == token).map(|(i, (_, v))| (i, v)),
        Json::List(items) => items.iter().enumerate().find(|(i, _)| i.to_string() == *token),
        _ => None,
    };
    if let Some((i, v)) = next {
        path.push(i);
        place(v, rest, path);
    }
}

/// By place; a value inside another one that is wanted itself comes first, since the outer one ends later.
fn order(a: &[usize], b: &[usize]) -> std::cmp::Ordering {
    let common = a.len().min(b.len());
    a[..common].cmp(&b[..common]).then(b.len().cmp(&a.len()))
}

/// `None`: the field does not stand in the object.
fn value(object: &Json, field: &Field) -> Option<Result<Value, ()>> {
    let json = object.at(&field.pointer)?;
    let code = field.code.as_ref().and_then(|code| object.at(code)).unwrap_or(&Json::Null);
    Some(typed(json, &field.ty, code))
}

fn typed(json: &Json, ty: &Type, code: &Json) -> Result<Value, ()> {
    let number_or_text = match json {
        Json::Number(t) | Json::Text(t) => Some(t.as_str()),
        _ => None,
    };
    let money = |currency: Currency| {
        let minor = number_or_text.and_then(|t| parse_scaled(t, currency.minor_digits())).ok_or(())?;
        Ok(Value::Money(Money { minor, currency }))
    };
    let in_range = |ms: i64| (-62_167_219_200_000..=253_402_300_799_999).contains(&ms).then_some(Value::Instant(Timestamp(ms))).ok_or(());
    let digits = |t: &str| {
        let plain = t.strip_prefix('-').unwrap_or(t);
        (!plain.is_empty() && plain.chars().all(|c| c.is_ascii_digit())).then(|| t.parse::<i64>().ok()).flatten().ok_or(())
    };
    match (ty, json) {
        (_, Json::Null) => Ok(Value::Missing),
        (Type::Bool, Json::Bool(b)) => Ok(Value::Bool(*b)),
        (Type::Bool, Json::Text(t)) => t.parse().map(Value::Bool).map_err(|_| ()),
        (Type::Int, Json::Number(t)) => match expanded(t, 0) {
            Some((n, true)) => Ok(Value::Int(n)),
            _ => Err(()),
        },
        (Type::Int, Json::Text(t)) => digits(t).map(Value::Int),
        (Type::Decimal, _) => Ok(Value::Decimal(Decimal(number_or_text.and_then(|t| parse_scaled(t, 6)).ok_or(())?))),
        (Type::Text, _) => Ok(Value::Text(number_or_text.ok_or(())?.into())),
        (Type::Enum(words), Json::Text(t)) if words.contains(t) => Ok(Value::Text(t.as_str().into())),
        (Type::Instant(InstantFormat::Rfc3339), Json::Text(t)) => instant(t).map(Value::Instant).ok_or(()),
        (Type::Instant(InstantFormat::Seconds), Json::Number(t)) => in_range(expanded(t, 3).ok_or(())?.0),
        (Type::Instant(InstantFormat::Millis), Json::Number(t)) => in_range(expanded(t, 0).ok_or(())?.0),
        (Type::Instant(InstantFormat::Seconds), Json::Text(t)) => in_range(digits(t)?.checked_mul(1_000).ok_or(())?),
        (Type::Instant(InstantFormat::Millis), Json::Text(t)) => in_range(digits(t)?),
        (Type::Date, Json::Text(t)) => date(t).map(Value::Date).ok_or(()),
        (Type::Duration, Json::Text(t)) => duration(t).map(Value::Duration).ok_or(()),
        (Type::Geo, Json::Text(t)) => {
            let (lat, lon) = t.split_once(',').ok_or(())?;
            geo(lat.trim(), lon.trim())
        }
        (Type::Geo, Json::Object(_)) => match (json.get("lat"), json.get("lon")) {
            (Some(Json::Number(lat) | Json::Text(lat)), Some(Json::Number(lon) | Json::Text(lon))) => geo(lat, lon),
            _ => Err(()),
        },
        (Type::Money(MoneyCurrency::Fixed(currency)), _) => money(*currency),
        (Type::Money(MoneyCurrency::Property(_)), _) => match code {
            Json::Null => money(Currency::EUR).map(|_| Value::Missing),
            Json::Text(code) => money(Currency::parse(code).ok_or(())?),
            _ => Err(()),
        },
        (Type::List(element), Json::List(items)) => {
            let typed = items.iter().filter(|i| !matches!(i, Json::Null)).map(|i| typed(i, element, &Json::Null));
            Ok(Value::List(typed.collect::<Result<_, _>>()?))
        }
        (Type::Record(properties), Json::Object(_)) => {
            let typed = fields(properties).iter().map(|f| value(json, f).unwrap_or(Ok(Value::Missing))).collect::<Result<_, _>>()?;
            Ok(Value::Record(typed))
        }
        _ => Err(()),
    }
}

fn instant(text: &str) -> Option<Timestamp> {
    let t = Timestamp::parse_rfc3339(text)?;
    (Timestamp(-62_167_219_200_000)..=Timestamp(253_402_300_799_999)).contains(&t).then_some(t)
}

fn geo(lat: &str, lon: &str) -> Result<Value, ()> {
    let degrees = |t: &str| {
        let number = t.strip_prefix(['-', '+']).unwrap_or(t);
        number.starts_with(|c: char| c.is_ascii_digit() || c == '.').then(|| t.parse::<f64>().ok()).flatten().ok_or(())
    };
    let (lat, lon) = (degrees(lat)?, degrees(lon)?);
    if (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon) { Ok(Value::Geo { lat, lon }) } else { Err(()) }
}

fn date(text: &str) -> Option<i32> {
    let parts: Vec<&str> = text.split('-').collect();
    let [y, m, d] = parts[..] else { return None };
    if (y.len(), m.len(), d.len()) != (4, 2, 2) || !text.chars().all(|c| c == '-' || c.is_ascii_digit()) {
        return None;
    }
    let (y, m, d): (i64, u32, u32) = (y.parse().ok()?, m.parse().ok()?, d.parse().ok()?);
    (matches!(m, 1..=12) && d >= 1 && d <= days_in_month(y, m)).then(|| days_from_civil(y, m, d) as i32)
}

fn duration(text: &str) -> Option<Millis> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit())?;
        let next = rest[unit..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| unit + n);
        let ms: i128 = match &rest[unit..next] {
            "w" => 604_800_000,
            "d" => 86_400_000,
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        parts.push((ms, rest[..unit].parse::<i64>().ok()?));
        rest = &rest[next..];
    }
    let descending = parts.windows(2).all(|w| w[0].0 > w[1].0);
    let total: i128 = parts.iter().map(|(ms, n)| ms * i128::from(*n)).sum();
    (descending && !parts.is_empty()).then(|| i64::try_from(total).ok().map(Millis)).flatten()
}

/// A JSON number times `10^places`, written out, cut at the point; and whether nothing but zeros was cut.
fn expanded(text: &str, places: i64) -> Option<(i64, bool)> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |t| (true, t));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.bytes().all(|b| b == b'0') {
        return Some((0, true));
    }
    // Exponents in tests either fit or are absurd.
    let exponent: i64 = exponent.parse().unwrap_or(if exponent.starts_with('-') { -1_000_000 } else { 1_000_000 });
    let point = (whole.len() as i64).saturating_add(exponent).saturating_add(places);
    let (kept, cut) = match point {
        ..=0 => (String::from("0"), digits.as_str()),
        p if p as usize >= digits.len() => {
            let leading = digits.trim_start_matches('0').len();
            if p as usize - digits.len() + leading > 30 {
                return None;
            }
            (format!("{digits}{}", "0".repeat(p as usize - digits.len())), "")
        }
        p => (digits[..p as usize].to_string(), &digits[p as usize..]),
    };
    let magnitude: i128 = kept.parse().ok()?;
    Some((i64::try_from(if negative { -magnitude } else { magnitude }).ok()?, cut.bytes().all(|b| b == b'0')))
}
