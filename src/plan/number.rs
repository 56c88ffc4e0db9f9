//! In which unit a feature counts, and literals as numbers in it, exactly (LANGUAGE.md R22).

use super::feature::NumberUnit;
use super::window::Ratio;
use crate::lang::definition::{EventRef, Expr, Path, Rel, Term};
use crate::model::{Catalogue, Currency, Decimal, MoneyCurrency, Type, Value};

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

/// The unit of a property's numbers; the currency of a `money in IDENT` is the one that the filter asks for.
pub fn number_unit(catalogue: &Catalogue, event: EventRef, path: &[String], filter: Option<&Expr>) -> Option<NumberUnit> {
    let changed;
    let mut properties = match event {
        EventRef::Catalogue(event) => &catalogue.events[event.at()].properties,
        EventRef::TraitChanged => {
            changed = super::selector::trait_changed(catalogue, filter);
            &changed
        }
    };
    for (i, name) in path.iter().enumerate() {
        let property = properties.iter().find(|p| p.name == *name)?;
        match &property.ty {
            Type::Record(inner) => properties = inner,
            _ if i + 1 < path.len() => return None,
            Type::Int => return Some(NumberUnit::Int),
            Type::Decimal => return Some(NumberUnit::Decimal),
            Type::Money(MoneyCurrency::Fixed(currency)) => return Some(NumberUnit::Money(*currency)),
            Type::Money(MoneyCurrency::Property(code)) => {
                let code = &properties[code.at()].name;
                let fixed = filter.and_then(|f| fixed_currency(f, code, path));
                return Some(NumberUnit::Money(fixed.unwrap_or(catalogue.workspace.currency)));
            }
            Type::Duration => return Some(NumberUnit::Duration),
            Type::Instant(_) => return Some(NumberUnit::Instant),
            Type::Date => return Some(NumberUnit::Date),
            _ => return None,
        }
    }
    None
}

/// The currency that a filter leaves of the money at `path`, whose code stands in the property `code`: as the checker finds it, by the code or
/// by a comparison of the money itself.
fn fixed_currency(filter: &Expr, code: &str, path: &[String]) -> Option<Currency> {
    let is_code = |term: &Term| matches!(term, Term::Path(Path::Property { path, .. }) if path.len() == 1 && path[0] == code);
    let is_money = |term: &Term| matches!(term, Term::Path(Path::Property { path: own, .. }) if *own == path);
    match filter {
        Expr::And(all) => all.iter().find_map(|f| fixed_currency(f, code, path)),
        Expr::Compare { left, rel: Rel::Eq, right: Term::Literal(Value::Text(text)), .. } if is_code(left) => Currency::parse(text),
        Expr::Compare { left, right: Term::Literal(Value::Money(amount)), .. } if is_money(left) => Some(amount.currency),
        Expr::Between { of, low: Term::Literal(Value::Money(amount)), .. } if is_money(of) => Some(amount.currency),
        Expr::Member { of, values, .. } if is_code(of) => match values.as_slice() {
            [Value::Text(text)] => Currency::parse(text),
            _ => None,
        },
        _ => None,
    }
}

/// The relation with its sides exchanged.
pub fn mirrored(rel: Rel) -> Rel {
    match rel {
        Rel::Eq => Rel::Eq,
        Rel::Lt => Rel::Gt,
        Rel::Le => Rel::Ge,
        Rel::Gt => Rel::Lt,
        Rel::Ge => Rel::Le,
    }
}
