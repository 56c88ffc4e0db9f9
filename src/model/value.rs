//! One value of any type of the language, owned. Batches carry a borrowed form of their own ([`crate::engine::batch::Datum`]).

use std::fmt;

use super::money::{Amount, Money, write_scaled};
use crate::time::{Millis, Timestamp, civil_from_days};

/// A fixed-point number. **Units:** millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(pub i64);

impl Decimal {
    /// Digits after the point.
    pub const DIGITS: u32 = 6;
    /// One, in millionths.
    pub const ONE: i64 = 1_000_000;
}

/// Without trailing zeros: `0.3`, `2`, `-1.25`.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut n, mut digits) = (self.0, Decimal::DIGITS);
        while digits > 0 && n % 10 == 0 {
            n /= 10;
            digits -= 1;
        }
        write_scaled(f, n, digits)
    }
}

/// A value of the language. `Missing` is what LANGUAGE.md calls unknown: absent, null, or of an event that lacks it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Missing,
    Bool(bool),
    Int(i64),
    Decimal(Decimal),
    /// An exact quotient (averages, ratios): numerator over a positive denominator, both in the unit of `money` or plain. Rounded
    /// only when shown (LANGUAGE.md R22).
    Ratio {
        num: i128,
        den: i128,
        currency: Option<super::Currency>,
    },
    Money(Money),
    Text(Box<str>),
    Instant(Timestamp),
    /// Days since 1970-01-01.
    Date(i32),
    Duration(Millis),
    /// Degrees, as IEEE doubles as they came.
    Geo {
        lat: f64,
        lon: f64,
    },
    /// A score, an IEEE double (LANGUAGE.md S34).
    Score(f64),
    List(Vec<Value>),
    /// Fields in the order of the record type's properties.
    Record(Vec<Value>),
}

impl Value {
    pub fn is_missing(&self) -> bool {
        matches!(self, Value::Missing)
    }
}

/// Half-even division, for what is shown only.
pub(crate) fn round_half_even(num: i128, den: i128) -> i128 {
    let (q, r) = (num.div_euclid(den), num.rem_euclid(den));
    match (r * 2).cmp(&den) {
        std::cmp::Ordering::Less => q,
        std::cmp::Ordering::Greater => q + 1,
        std::cmp::Ordering::Equal => q + (q.rem_euclid(2)),
    }
}

/// As a reason shows it: `89.90 EUR`, `30m`, `"shoes"`, `2026-11-23T10:00:00.123Z`, `unknown`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Missing => f.write_str("unknown"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::Int(n) => write!(f, "{n}"),
            Value::Decimal(d) => write!(f, "{d}"),
            Value::Ratio { num, den, currency: Some(currency) } => {
                let minor = i64::try_from(round_half_even(*num, *den)).unwrap_or(i64::MAX);
                write!(f, "{} {currency}", Amount(Money { minor, currency: *currency }))
            }
            Value::Ratio { num, den, currency: None } => {
                let millionths = i64::try_from(round_half_even(num.saturating_mul(1_000_000), *den)).unwrap_or(i64::MAX);
                write!(f, "{}", Decimal(millionths))
            }
            Value::Money(m) => write!(f, "{m}"),
            Value::Text(t) => write!(f, "{t:?}"),
            Value::Instant(t) => write!(f, "{t}"),
            Value::Date(d) => {
                let (y, m, day) = civil_from_days(i64::from(*d));
                write!(f, "{y:04}-{m:02}-{day:02}")
            }
            Value::Duration(d) => write!(f, "{d}"),
            Value::Geo { lat, lon } => write!(f, "geo({lat}, {lon})"),
            Value::Score(s) => {
                // Rounded half-even to six digits, as in `emit` (R61).
                write!(f, "{}", Decimal((s * 1e6).round_ties_even() as i64))
            }
            Value::List(items) => write_items(f, items, '[', ']'),
            Value::Record(items) => write_items(f, items, '{', '}'),
        }
    }
}

fn write_items(f: &mut fmt::Formatter<'_>, items: &[Value], open: char, close: char) -> fmt::Result {
    write!(f, "{open}")?;
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    write!(f, "{close}")
}
