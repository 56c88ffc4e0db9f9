//! Values of the oracle: from a batch's data, compared and computed with exactly (LANGUAGE.md R22).

use std::cmp::Ordering;

use crate::engine::batch::{Batch, Datum};
use crate::lang::ArithmeticOp;
use crate::model::{Currency, Decimal, Money, Value};
use crate::time::{Millis, Timestamp};

/// What a number counts. Numbers of different units do not compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Plain,
    /// Minor units.
    Money(Currency),
    /// Milliseconds.
    Time,
}

/// A number: an exact fraction, or a double where a score takes part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Exact { num: i128, den: i128, unit: Unit },
    Float(f64),
}

/// The owned form of a datum.
pub fn from_datum(batch: &Batch, datum: Datum) -> Value {
    match datum {
        Datum::Missing => Value::Missing,
        Datum::Bool(b) => Value::Bool(b),
        Datum::Int(n) => Value::Int(n),
        Datum::Decimal(n) => Value::Decimal(Decimal(n)),
        Datum::Money { minor, currency } => Value::Money(Money { minor, currency }),
        Datum::Text(range) => Value::Text(batch.text(range).into()),
        Datum::Instant(t) => Value::Instant(t),
        Datum::Date(d) => Value::Date(d),
        Datum::Duration(d) => Value::Duration(d),
        Datum::Geo { lat, lon } => Value::Geo { lat, lon },
        Datum::List(range) => Value::List(batch.data(range).iter().map(|d| from_datum(batch, *d)).collect()),
        Datum::Record(range) => Value::Record(batch.data(range).iter().map(|d| from_datum(batch, *d)).collect()),
    }
}

impl Number {
    /// `None` where the value is no number.
    pub fn of(value: &Value) -> Option<Number> {
        let exact = |num: i64, den: i128, unit| Some(Number::Exact { num: i128::from(num), den, unit });
        match value {
            Value::Int(n) => exact(*n, 1, Unit::Plain),
            Value::Decimal(d) => exact(d.0, i128::from(Decimal::ONE), Unit::Plain),
            Value::Money(m) => exact(m.minor, 1, Unit::Money(m.currency)),
            Value::Duration(d) => exact(d.0, 1, Unit::Time),
            Value::Ratio { num, den, currency } => {
                Some(Number::Exact { num: *num, den: *den, unit: currency.map_or(Unit::Plain, Unit::Money) })
            }
            Value::Score(s) => Some(Number::Float(*s)),
            _ => None,
        }
    }

    pub fn value(self) -> Value {
        match self {
            Number::Exact { num, den, unit: Unit::Time } => Value::Duration(Millis((num / den) as i64)),
            Number::Exact { num, den, unit: Unit::Money(currency) } => Value::Ratio { num, den, currency: Some(currency) },
            Number::Exact { num, den, unit: Unit::Plain } => Value::Ratio { num, den, currency: None },
            Number::Float(f) => Value::Score(f),
        }
    }

    fn float(self) -> f64 {
        match self {
            Number::Exact { num, den, .. } => num as f64 / den as f64,
            Number::Float(f) => f,
        }
    }

    fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Exact { num: a, den: b, unit: u }, Number::Exact { num: c, den: d, unit: v }) => {
                (u == v).then(|| (a * d).cmp(&(c * b)))
            }
            (a, b) => a.float().partial_cmp(&b.float()),
        }
    }

    /// `None` where the units do not fit, and for a division by zero.
    pub fn combine(op: ArithmeticOp, left: Number, right: Number) -> Option<Number> {
        use ArithmeticOp::{Add, Div, Mul, Sub};
        let (Number::Exact { num: a, den: b, unit: u }, Number::Exact { num: c, den: d, unit: v }) = (left, right) else {
            let (x, y) = (left.float(), right.float());
            return match op {
                Add => Some(Number::Float(x + y)),
                Sub => Some(Number::Float(x - y)),
                Mul => Some(Number::Float(x * y)),
                Div => (y != 0.0).then_some(Number::Float(x / y)),
            };
        };
        let (num, den, unit) = match op {
            Add | Sub if u == v => (if op == Add { a * d + c * b } else { a * d - c * b }, b * d, u),
            Mul if u == Unit::Plain => (a * c, b * d, v),
            Mul if v == Unit::Plain => (a * c, b * d, u),
            Div if c != 0 && v == Unit::Plain => (a * d * c.signum(), b * c.abs(), u),
            Div if c != 0 && u == v => (a * d * c.signum(), b * c.abs(), Unit::Plain),
            _ => return None,
        };
        // Lowest terms, so that long sums of decimals stay small.
        let divisor = gcd(num.unsigned_abs(), den.unsigned_abs()).max(1) as i128;
        Some(Number::Exact { num: num / divisor, den: den / divisor, unit })
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// `None` where one side is missing or the two do not compare.
pub fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Text(a), Value::Text(b)) => Some(a.chars().cmp(b.chars())),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Instant(a), Value::Instant(b)) => Some(a.cmp(b)),
        (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
        (a, b) => Number::of(a)?.compare(Number::of(b)?),
    }
}

/// With case folded where `ignore_case` says so (R49).
pub fn fold(value: &Value, ignore_case: bool) -> Value {
    match value {
        Value::Text(t) if ignore_case => Value::Text(t.to_lowercase().into()),
        other => other.clone(),
    }
}

pub fn arithmetic(op: ArithmeticOp, left: &Value, right: &Value) -> Value {
    match (op, left, right) {
        (ArithmeticOp::Add, Value::Instant(t), Value::Duration(d)) | (ArithmeticOp::Add, Value::Duration(d), Value::Instant(t)) => {
            Value::Instant(*t + *d)
        }
        (ArithmeticOp::Sub, Value::Instant(t), Value::Duration(d)) => Value::Instant(*t - *d),
        (ArithmeticOp::Sub, Value::Instant(a), Value::Instant(b)) => Value::Duration(*a - *b),
        _ => match (Number::of(left), Number::of(right)) {
            (Some(a), Some(b)) => Number::combine(op, a, b).map_or(Value::Missing, Number::value),
            _ => Value::Missing,
        },
    }
}

/// Whether two published values say the same: numbers by what they are worth (a ratio of 5/1 is 5), scores to nine digits, since
/// the oracle adds them up in another order.
pub fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::List(a), Value::List(b)) | (Value::Record(a), Value::Record(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Score(_), _) | (_, Value::Score(_)) => match (Number::of(left), Number::of(right)) {
            (Some(a), Some(b)) => (a.float() - b.float()).abs() <= 1e-9 * a.float().abs().max(1.0),
            _ => false,
        },
        _ if Number::of(left).is_some() => compare(left, right) == Some(Ordering::Equal),
        _ => left == right,
    }
}

/// All instants, dates and lengths of time inside a value.
pub fn instants(value: &Value, out: &mut Vec<Timestamp>, dates: &mut Vec<i32>, lengths: &mut Vec<Millis>) {
    match value {
        Value::Instant(t) => out.push(*t),
        Value::Date(d) => dates.push(*d),
        Value::Duration(d) => lengths.push(*d),
        Value::List(items) | Value::Record(items) => items.iter().for_each(|v| instants(v, out, dates, lengths)),
        _ => {}
    }
}
