//! Literals as numbers in the unit of a feature, exactly (LANGUAGE.md R22).

use super::feature::NumberUnit;
use super::window::Ratio;
use crate::model::{Decimal, Value};

/// `None` where the literal is no number of that kind; comparing with it is false whatever the value.
pub fn literal_ratio(unit: NumberUnit, value: &Value) -> Option<Ratio> {
    let one = i128::from(Decimal::ONE);
    Some(match (unit, value) {
        (NumberUnit::Int, Value::Int(n)) => Ratio::whole(i128::from(*n)),
        (NumberUnit::Int, Value::Decimal(d)) => Ratio { num: i128::from(d.0), den: one },
        (NumberUnit::Decimal, Value::Int(n)) => Ratio::whole(i128::from(*n) * one),
        (NumberUnit::Decimal, Value::Decimal(d)) => Ratio::whole(i128::from(d.0)),
        (NumberUnit::Money(currency), Value::Money(m)) if m.currency == currency => Ratio::whole(i128::from(m.minor)),
        (NumberUnit::Duration, Value::Duration(d)) => Ratio::whole(i128::from(d.0)),
        (NumberUnit::Instant, Value::Instant(t)) => Ratio::whole(i128::from(t.0)),
        (NumberUnit::Date, Value::Date(d)) => Ratio::whole(i128::from(*d)),
        _ => return None,
    })
}
