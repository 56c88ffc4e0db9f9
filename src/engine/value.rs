//! Values as conditions see them: borrowed from a batch, from a customer's bytes or from a definition, compared and computed with exactly
//! (LANGUAGE.md 4, R22, R49).

use std::borrow::Cow;
use std::cmp::Ordering;

use super::batch::{Batch, Datum};
use super::features::codec::{Items, ValueRef};
use crate::lang::definition::{ArithmeticOp, Rel};
use crate::lang::pattern::Pattern;
use crate::model::{Circle, Currency, Decimal, Money, Value};
use crate::plan::feature::NumberUnit;
use crate::plan::window::{Ratio, satisfies};
use crate::time::{Millis, Timestamp};

/// One value, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum Val<'a> {
    Missing,
    Bool(bool),
    Number(Number),
    Text(&'a str),
    Instant(Timestamp),
    /// Days since 1970-01-01.
    Date(i32),
    Geo {
        lat: f64,
        lon: f64,
    },
    List(List<'a>),
    Record(List<'a>),
}

/// Elements or fields, wherever they lie.
#[derive(Clone, Copy, Debug)]
pub enum List<'a> {
    Data(&'a Batch, &'a [Datum]),
    Items(Items<'a>),
    Values(&'a [Value]),
}

/// A number with what it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// `num / den`, `den` positive.
    Exact { num: i128, den: i128, unit: Unit },
    /// A score, or anything computed with one.
    Float(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Plain,
    /// Minor units.
    Money(Currency),
    /// Milliseconds.
    Duration,
}

fn plain(num: i64) -> Number {
    Number::Exact { num: i128::from(num), den: 1, unit: Unit::Plain }
}

fn decimal(millionths: i64) -> Number {
    Number::Exact { num: i128::from(millionths), den: i128::from(Decimal::ONE), unit: Unit::Plain }
}

fn money(minor: i64, currency: Currency) -> Number {
    Number::Exact { num: i128::from(minor), den: 1, unit: Unit::Money(currency) }
}

fn duration(ms: Millis) -> Number {
    Number::Exact { num: i128::from(ms.0), den: 1, unit: Unit::Duration }
}

fn unit_of(currency: Option<Currency>) -> Unit {
    currency.map_or(Unit::Plain, Unit::Money)
}

impl<'a> Val<'a> {
    pub fn of_datum(batch: &'a Batch, datum: Datum) -> Val<'a> {
        match datum {
            Datum::Missing => Val::Missing,
            Datum::Bool(b) => Val::Bool(b),
            Datum::Int(n) => Val::Number(plain(n)),
            Datum::Decimal(n) => Val::Number(decimal(n)),
            Datum::Money { minor, currency } => Val::Number(money(minor, currency)),
            Datum::Text(range) => Val::Text(batch.text(range)),
            Datum::Instant(t) => Val::Instant(t),
            Datum::Date(d) => Val::Date(d),
            Datum::Duration(d) => Val::Number(duration(d)),
            Datum::Geo { lat, lon } => Val::Geo { lat, lon },
            Datum::List(range) => Val::List(List::Data(batch, batch.data(range))),
            Datum::Record(range) => Val::Record(List::Data(batch, batch.data(range))),
        }
    }

    pub fn of_ref(value: ValueRef<'a>) -> Val<'a> {
        match value {
            ValueRef::Missing => Val::Missing,
            ValueRef::Bool(b) => Val::Bool(b),
            ValueRef::Int(n) => Val::Number(plain(n)),
            ValueRef::Decimal(n) => Val::Number(decimal(n)),
            ValueRef::Ratio { num, den, currency } => Val::Number(Number::Exact { num, den, unit: unit_of(currency) }),
            ValueRef::Money(m) => Val::Number(money(m.minor, m.currency)),
            ValueRef::Text(t) => Val::Text(t),
            ValueRef::Instant(t) => Val::Instant(t),
            ValueRef::Date(d) => Val::Date(d),
            ValueRef::Duration(d) => Val::Number(duration(d)),
            ValueRef::Geo { lat, lon } => Val::Geo { lat, lon },
            ValueRef::Score(s) => Val::Number(Number::Float(s)),
            ValueRef::List(items) => Val::List(List::Items(items)),
            ValueRef::Record(items) => Val::Record(List::Items(items)),
        }
    }

    pub fn of_value(value: &'a Value) -> Val<'a> {
        match value {
            Value::Missing => Val::Missing,
            Value::Bool(b) => Val::Bool(*b),
            Value::Int(n) => Val::Number(plain(*n)),
            Value::Decimal(d) => Val::Number(decimal(d.0)),
            Value::Ratio { num, den, currency } => Val::Number(Number::Exact { num: *num, den: *den, unit: unit_of(*currency) }),
            Value::Money(m) => Val::Number(money(m.minor, m.currency)),
            Value::Text(t) => Val::Text(t),
            Value::Instant(t) => Val::Instant(*t),
            Value::Date(d) => Val::Date(*d),
            Value::Duration(d) => Val::Number(duration(*d)),
            Value::Geo { lat, lon } => Val::Geo { lat: *lat, lon: *lon },
            Value::Score(s) => Val::Number(Number::Float(*s)),
            Value::List(items) => Val::List(List::Values(items)),
            Value::Record(items) => Val::Record(List::Values(items)),
        }
    }

    pub fn int(n: i64) -> Val<'a> {
        Val::Number(plain(n))
    }

    pub fn duration(d: Millis) -> Val<'a> {
        Val::Number(duration(d))
    }

    pub fn money(minor: i64, currency: Currency) -> Val<'a> {
        Val::Number(money(minor, currency))
    }

    pub fn decimal(d: Decimal) -> Val<'a> {
        Val::Number(decimal(d.0))
    }

    pub fn score(s: f64) -> Val<'a> {
        Val::Number(Number::Float(s))
    }

    /// A feature's number in its own unit; sums beyond 64 bits saturate there. Returns whether this one did.
    pub fn of_feature(unit: NumberUnit, value: Option<Ratio>) -> (Val<'a>, bool) {
        let Some(Ratio { num, den }) = value else { return (Val::Missing, false) };
        let bound = i128::from(i64::MAX).saturating_mul(den);
        let (num, cut) = if num > bound {
            (bound, true)
        } else if num < -bound {
            (-bound, true)
        } else {
            (num, false)
        };
        let whole = || i64::try_from(num / den).unwrap_or(i64::MAX);
        let val = match unit {
            NumberUnit::Int => Val::Number(Number::Exact { num, den, unit: Unit::Plain }),
            NumberUnit::Decimal => Val::Number(Number::Exact { num, den: den.saturating_mul(i128::from(Decimal::ONE)), unit: Unit::Plain }),
            NumberUnit::Money(currency) => Val::Number(Number::Exact { num, den, unit: Unit::Money(currency) }),
            NumberUnit::Duration => Val::Number(Number::Exact { num, den, unit: Unit::Duration }),
            NumberUnit::Instant => Val::Instant(Timestamp(whole())),
            NumberUnit::Date => Val::Date(i32::try_from(whole()).unwrap_or(i32::MAX)),
        };
        (val, cut)
    }

    /// The value as a number of a feature with this unit: minor units, millionths, ones, milliseconds. `None` where it is no such number.
    pub fn to_feature(self, unit: NumberUnit) -> Option<i64> {
        let one = i128::from(Decimal::ONE);
        let whole = |num: i128, den: i128| i64::try_from(num / den).ok();
        match (unit, self) {
            (NumberUnit::Int, Val::Number(Number::Exact { num, den, unit: Unit::Plain })) => whole(num, den),
            (NumberUnit::Decimal, Val::Number(Number::Exact { num, den, unit: Unit::Plain })) => whole(num * one, den),
            (NumberUnit::Money(c), Val::Number(Number::Exact { num, den, unit: Unit::Money(currency) })) if c == currency => {
                whole(num, den)
            }
            (NumberUnit::Duration, Val::Number(Number::Exact { num, den, unit: Unit::Duration })) => whole(num, den),
            (NumberUnit::Instant, Val::Instant(t)) => Some(t.0),
            (NumberUnit::Date, Val::Date(d)) => Some(i64::from(d)),
            _ => None,
        }
    }

    /// A hash that equal values share; `None` of what does not compare: missing values, lists, records, places.
    pub fn hash(self) -> Option<u64> {
        use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};
        let tagged = |tag: u64, bytes: &[u8]| Some(xxh3_64_with_seed(bytes, tag));
        match self {
            Val::Text(text) => Some(xxh3_64(text.as_bytes())),
            Val::Bool(b) => tagged(1, &[u8::from(b)]),
            Val::Instant(t) => tagged(2, &t.0.to_le_bytes()),
            Val::Date(d) => tagged(3, &d.to_le_bytes()),
            Val::Number(Number::Exact { num, den, unit }) => {
                let (num, den) = lowest(num, den);
                let mut bytes = [0u8; 32];
                bytes[..16].copy_from_slice(&num.to_le_bytes());
                bytes[16..].copy_from_slice(&den.to_le_bytes());
                match unit {
                    Unit::Plain => tagged(4, &bytes),
                    Unit::Duration => tagged(5, &bytes),
                    Unit::Money(currency) => {
                        let [a, b, c] = currency.bytes().map(u64::from);
                        tagged(6 + (a << 16 | b << 8 | c) * 8, &bytes)
                    }
                }
            }
            Val::Number(Number::Float(f)) => tagged(7, &f.to_bits().to_le_bytes()),
            Val::Missing | Val::Geo { .. } | Val::List(_) | Val::Record(_) => None,
        }
    }

    pub fn is_missing(self) -> bool {
        matches!(self, Val::Missing)
    }

    /// An owned copy, as `emit` and reasons show it.
    pub fn to_value(self) -> Value {
        match self {
            Val::Missing => Value::Missing,
            Val::Bool(b) => Value::Bool(b),
            Val::Number(n) => n.to_value(),
            Val::Text(t) => Value::Text(t.into()),
            Val::Instant(t) => Value::Instant(t),
            Val::Date(d) => Value::Date(d),
            Val::Geo { lat, lon } => Value::Geo { lat, lon },
            Val::List(items) => Value::List(items.iter().map(Val::to_value).collect()),
            Val::Record(items) => Value::Record(items.iter().map(Val::to_value).collect()),
        }
    }

    /// A field of a record; missing of anything else.
    pub fn field(self, at: u16) -> Val<'a> {
        match self {
            Val::Record(items) => items.get(at as usize),
            _ => Val::Missing,
        }
    }
}

impl<'a> List<'a> {
    pub fn len(self) -> usize {
        match self {
            List::Data(_, data) => data.len(),
            List::Items(items) => items.len(),
            List::Values(values) => values.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn get(self, at: usize) -> Val<'a> {
        match self {
            List::Data(batch, data) => data.get(at).map_or(Val::Missing, |d| Val::of_datum(batch, *d)),
            List::Items(mut items) => items.nth(at).map_or(Val::Missing, Val::of_ref),
            List::Values(values) => values.get(at).map_or(Val::Missing, Val::of_value),
        }
    }

    pub fn iter(self) -> impl Iterator<Item = Val<'a>> {
        let mut items = match self {
            List::Items(items) => Some(items),
            _ => None,
        };
        (0..self.len()).map(move |i| match &mut items {
            Some(items) => items.next().map_or(Val::Missing, Val::of_ref),
            None => self.get(i),
        })
    }
}

impl Number {
    pub fn to_f64(self) -> f64 {
        match self {
            Number::Exact { num, den, .. } => num as f64 / den as f64,
            Number::Float(f) => f,
        }
    }

    /// A plain whole number.
    pub fn to_whole(self) -> Option<i64> {
        match self {
            Number::Exact { num, den: 1, unit: Unit::Plain } => i64::try_from(num).ok(),
            _ => None,
        }
    }

    /// `None` where the units do not fit.
    fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Exact { num: a, den: b, unit: u }, Number::Exact { num: c, den: d, unit: v }) => {
                (u == v).then(|| compare_ratios(a, b, c, d))
            }
            (a, b) => a.to_f64().partial_cmp(&b.to_f64()),
        }
    }

    fn to_value(self) -> Value {
        match self {
            Number::Float(f) => Value::Score(f),
            Number::Exact { num, den: 1, unit: Unit::Plain } => match i64::try_from(num) {
                Ok(n) => Value::Int(n),
                Err(_) => Value::Ratio { num, den: 1, currency: None },
            },
            Number::Exact { num, den, unit: Unit::Plain } => {
                let one = i128::from(Decimal::ONE);
                match num.checked_mul(one).filter(|n| n % den == 0).and_then(|n| i64::try_from(n / den).ok()) {
                    Some(n) => Value::Decimal(Decimal(n)),
                    None => Value::Ratio { num, den, currency: None },
                }
            }
            Number::Exact { num, den, unit: Unit::Money(currency) } => match (num % den == 0).then(|| i64::try_from(num / den)) {
                Some(Ok(minor)) => Value::Money(Money { minor, currency }),
                _ => Value::Ratio { num, den, currency: Some(currency) },
            },
            Number::Exact { num, den, unit: Unit::Duration } => {
                let ms = crate::model::value::round_half_even(num, den);
                Value::Duration(Millis(i64::try_from(ms).unwrap_or(if ms > 0 { i64::MAX } else { i64::MIN })))
            }
        }
    }

    /// `None` where the units do not fit, for a division by zero, and beyond 127 bits even in lowest terms.
    fn combine(op: ArithmeticOp, left: Number, right: Number) -> Option<Number> {
        use ArithmeticOp::{Add, Div, Mul, Sub};
        let (Number::Exact { num: a, den: b, unit: u }, Number::Exact { num: c, den: d, unit: v }) = (left, right) else {
            let (x, y) = (left.to_f64(), right.to_f64());
            return match op {
                Add => Some(Number::Float(x + y)),
                Sub => Some(Number::Float(x - y)),
                Mul => Some(Number::Float(x * y)),
                Div => (y != 0.0).then_some(Number::Float(x / y)),
            };
        };
        let unit = match op {
            Add | Sub if u == v => u,
            Mul if u == Unit::Plain => v,
            Mul if v == Unit::Plain => u,
            Div if c != 0 && v == Unit::Plain => u,
            Div if c != 0 && u == v => Unit::Plain,
            _ => return None,
        };
        let exact = |a: i128, b: i128, c: i128, d: i128| -> Option<(i128, i128)> {
            Some(match op {
                Add if b == d => (a.checked_add(c)?, b),
                Sub if b == d => (a.checked_sub(c)?, b),
                Add => (a.checked_mul(d)?.checked_add(c.checked_mul(b)?)?, b.checked_mul(d)?),
                Sub => (a.checked_mul(d)?.checked_sub(c.checked_mul(b)?)?, b.checked_mul(d)?),
                Mul => (a.checked_mul(c)?, b.checked_mul(d)?),
                Div => (a.checked_mul(d)?.checked_mul(c.signum())?, b.checked_mul(c.checked_abs()?)?),
            })
        };
        let (num, den) = exact(a, b, c, d).or_else(|| {
            let ((a, b), (c, d)) = (lowest(a, b), lowest(c, d));
            exact(a, b, c, d)
        })?;
        Some(Number::Exact { num, den, unit })
    }
}

fn lowest(num: i128, den: i128) -> (i128, i128) {
    let (mut x, mut y) = (num.unsigned_abs(), den.unsigned_abs());
    while y != 0 {
        (x, y) = (y, x % y);
    }
    match i128::try_from(x) {
        Ok(g) if g > 1 => (num / g, den / g),
        _ => (num, den),
    }
}

/// `a/b` against `c/d`, denominators positive, exactly: by continued fractions where the products do not fit.
fn compare_ratios(a: i128, b: i128, c: i128, d: i128) -> Ordering {
    if b == d {
        return a.cmp(&c);
    }
    if let (Some(left), Some(right)) = (a.checked_mul(d), c.checked_mul(b)) {
        return left.cmp(&right);
    }
    let (mut a, mut b, mut c, mut d) = (a, b, c, d);
    let mut flipped = false;
    loop {
        let (whole, other) = (a.div_euclid(b), c.div_euclid(d));
        let (rest, other_rest) = (a.rem_euclid(b), c.rem_euclid(d));
        let order = match whole.cmp(&other) {
            Ordering::Equal => match (rest, other_rest) {
                (0, 0) => Ordering::Equal,
                (0, _) => Ordering::Less,
                (_, 0) => Ordering::Greater,
                _ => {
                    // rest/b against other_rest/d is b/rest against d/other_rest the other way round.
                    (a, b, c, d) = (b, rest, d, other_rest);
                    flipped = !flipped;
                    continue;
                }
            },
            order => order,
        };
        return if flipped { order.reverse() } else { order };
    }
}

/// `None` where one side is missing or the two do not compare. Text by code point, which is the order of its bytes.
pub fn compare(left: Val, right: Val) -> Option<Ordering> {
    match (left, right) {
        (Val::Text(a), Val::Text(b)) => Some(a.cmp(b)),
        (Val::Bool(a), Val::Bool(b)) => Some(a.cmp(&b)),
        (Val::Instant(a), Val::Instant(b)) => Some(a.cmp(&b)),
        (Val::Date(a), Val::Date(b)) => Some(a.cmp(&b)),
        (Val::Number(a), Val::Number(b)) => a.compare(b),
        _ => None,
    }
}

/// A comparison of the language: false where one side is missing.
pub fn relate(left: Val, rel: Rel, right: Val, ignore_case: bool) -> bool {
    let order = match (left, right) {
        (Val::Text(a), Val::Text(b)) if ignore_case => Some(folded(a).cmp(&folded(b))),
        (left, right) => compare(left, right),
    };
    order.is_some_and(|order| satisfies(order, rel))
}

/// The lower-case form (Unicode, no locale; R49).
fn folded(text: &str) -> Cow<'_, str> {
    let is_lower = text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase());
    if is_lower { Cow::Borrowed(text) } else { Cow::Owned(text.to_lowercase()) }
}

pub fn is_member(of: Val, values: &[Value], ignore_case: bool) -> bool {
    values.iter().any(|v| relate(of, Rel::Eq, Val::of_value(v), ignore_case))
}

pub fn starts_with(of: Val, prefix: &str, ignore_case: bool) -> bool {
    match of {
        Val::Text(text) if ignore_case => folded(text).starts_with(&*folded(prefix)),
        Val::Text(text) => text.starts_with(prefix),
        _ => false,
    }
}

pub fn ends_with(of: Val, suffix: &str, ignore_case: bool) -> bool {
    match of {
        Val::Text(text) if ignore_case => folded(text).ends_with(&*folded(suffix)),
        Val::Text(text) => text.ends_with(suffix),
        _ => false,
    }
}

/// Text in which a pattern is found.
pub fn matches(of: Val, pattern: &Pattern) -> bool {
    matches!(of, Val::Text(text) if pattern.found_in(text))
}

/// A place inside a circle.
pub fn is_near(of: Val, circle: &Circle) -> bool {
    matches!(of, Val::Geo { lat, lon } if circle.contains(lat, lon))
}

pub fn contains(of: Val, what: &crate::lang::definition::Containment, ignore_case: bool) -> bool {
    use crate::lang::definition::Containment;
    let one = |what: &Value| match (of, Val::of_value(what)) {
        (Val::Text(text), Val::Text(part)) if ignore_case => folded(text).contains(&*folded(part)),
        (Val::Text(text), Val::Text(part)) => text.contains(part),
        (Val::List(items), what) => items.iter().any(|item| relate(item, Rel::Eq, what, ignore_case)),
        _ => false,
    };
    match what {
        Containment::One(v) => one(v),
        Containment::Any(all) => all.iter().any(one),
        Containment::All(all) => !of.is_missing() && all.iter().all(one),
    }
}

/// Lists: no element. Text: unknown or empty. Anything else: unknown.
pub fn is_empty(of: Val) -> bool {
    match of {
        Val::Missing => true,
        Val::Text(t) => t.is_empty(),
        Val::List(items) => items.is_empty(),
        _ => false,
    }
}

pub fn arithmetic<'a>(op: ArithmeticOp, left: Val<'a>, right: Val<'a>) -> Val<'a> {
    let ms = |n: Number| match n {
        Number::Exact { num, den: 1, unit: Unit::Duration } => i64::try_from(num).ok().map(Millis),
        _ => None,
    };
    match (op, left, right) {
        (ArithmeticOp::Add, Val::Instant(t), Val::Number(n)) | (ArithmeticOp::Add, Val::Number(n), Val::Instant(t)) => {
            ms(n).map_or(Val::Missing, |d| Val::Instant(t + d))
        }
        (ArithmeticOp::Sub, Val::Instant(t), Val::Number(n)) => ms(n).map_or(Val::Missing, |d| Val::Instant(t - d)),
        (ArithmeticOp::Sub, Val::Instant(a), Val::Instant(b)) => Val::duration(a - b),
        (_, Val::Number(a), Val::Number(b)) => Number::combine(op, a, b).map_or(Val::Missing, Val::Number),
        _ => Val::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_exactly_whatever_their_size() {
        let big = i128::MAX / 3;
        assert_eq!(compare_ratios(big, 7, big, 8), Ordering::Greater);
        assert_eq!(compare_ratios(-big, 7, -big, 8), Ordering::Less);
        assert_eq!(compare_ratios(big, big - 1, big + 1, big), Ordering::Greater);
        assert_eq!(compare_ratios(big * 2, 2, big, 1), Ordering::Equal);
        assert_eq!(compare_ratios(-big, big - 1, -big - 1, big), Ordering::Less);
    }

    #[test]
    fn decimals_add_exactly_and_units_do_not_mix() {
        let tenth = |n: i64| Val::Number(decimal(n * 100_000));
        let sum = arithmetic(ArithmeticOp::Add, tenth(1), tenth(2));
        assert_eq!(compare(sum, tenth(3)), Some(Ordering::Equal));
        assert_eq!(compare(Val::money(1, Currency::EUR), Val::int(1)), None);
        assert!(arithmetic(ArithmeticOp::Add, Val::money(1, Currency::EUR), Val::int(1)).is_missing());
        assert!(arithmetic(ArithmeticOp::Div, Val::int(1), Val::int(0)).is_missing());
        let half = arithmetic(ArithmeticOp::Div, Val::money(5, Currency::EUR), Val::money(10, Currency::EUR));
        assert_eq!(compare(half, tenth(5)), Some(Ordering::Equal));
        let price = arithmetic(ArithmeticOp::Mul, Val::money(250, Currency::EUR), tenth(5));
        assert_eq!(price.to_value(), Value::Money(Money { minor: 125, currency: Currency::EUR }));
    }

    #[test]
    fn a_comparison_with_the_unknown_is_false() {
        for rel in [Rel::Eq, Rel::Lt, Rel::Le, Rel::Gt, Rel::Ge] {
            assert!(!relate(Val::Missing, rel, Val::int(1), false));
            assert!(!relate(Val::Missing, rel, Val::Missing, false));
        }
        assert!(relate(Val::Text("Straße"), Rel::Eq, Val::Text("STRAßE"), true));
    }
}
