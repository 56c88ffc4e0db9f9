//! Types of terms, what fits what, and literals.

use std::cmp::Ordering;
use std::fmt;

use super::super::definition::Term;
use super::super::diagnostic::{Code, nearest};
use super::super::tree::{Literal, LiteralKind};
use super::lower::{Checked, Lower, Stop};
use crate::limits::TEXT_LITERAL_BYTES_MAX;
use crate::model::money::parse_scaled;
use crate::model::{Catalogue, Currency, Decimal, Money, MoneyCurrency, Property, Type, Value};
use crate::time::Millis;

/// The type of a term, as the checker needs it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ty {
    Bool,
    Int,
    Decimal,
    Text,
    /// Text out of a fixed set: an enum's words or the stages of a definition.
    Words(Vec<String>),
    Instant,
    Date,
    Duration,
    Geo,
    /// `None`: the currency comes with the value.
    Money(Option<Currency>),
    List(Box<Ty>),
    Record(Vec<Property>),
    /// `local.time`.
    Clock,
    /// A share of the whole: a percentage, a bucket.
    Share,
    /// An IEEE double.
    Score,
    /// `cart`.
    Cart,
    /// `cart.items`.
    Lines,
}

impl Ty {
    pub fn of(ty: &Type) -> Ty {
        match ty {
            Type::Bool => Ty::Bool,
            Type::Int => Ty::Int,
            Type::Decimal => Ty::Decimal,
            Type::Text => Ty::Text,
            Type::Instant(_) => Ty::Instant,
            Type::Date => Ty::Date,
            Type::Duration => Ty::Duration,
            Type::Geo => Ty::Geo,
            Type::Money(MoneyCurrency::Fixed(currency)) => Ty::Money(Some(*currency)),
            Type::Money(MoneyCurrency::Property(_)) => Ty::Money(None),
            Type::Enum(words) => Ty::Words(words.clone()),
            Type::List(of) => Ty::List(Box::new(Ty::of(of))),
            Type::Record(fields) => Ty::Record(fields.clone()),
        }
    }

    pub fn is_number(&self) -> bool {
        matches!(self, Ty::Int | Ty::Decimal | Ty::Score)
    }

    pub fn is_text(&self) -> bool {
        matches!(self, Ty::Text | Ty::Words(_))
    }

    /// Values of the type have an order that `<` asks for.
    pub fn is_ordered(&self) -> bool {
        matches!(
            self,
            Ty::Int | Ty::Decimal | Ty::Score | Ty::Money(_) | Ty::Text | Ty::Instant | Ty::Date | Ty::Duration | Ty::Clock | Ty::Share
        )
    }

    /// Values of the type can be told apart by `=` and counted by `distinct`.
    pub fn is_scalar(&self) -> bool {
        self.is_ordered() || matches!(self, Ty::Bool | Ty::Words(_))
    }
}

/// As a message calls it.
impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ty::Bool => f.write_str("a bool"),
            Ty::Int => f.write_str("an int"),
            Ty::Decimal => f.write_str("a decimal"),
            Ty::Text => f.write_str("a string"),
            Ty::Words(words) => write!(f, "one of {}", quoted(words)),
            Ty::Instant => f.write_str("an instant"),
            Ty::Date => f.write_str("a date"),
            Ty::Duration => f.write_str("a duration"),
            Ty::Geo => f.write_str("a geo point"),
            Ty::Money(Some(currency)) => write!(f, "money in {currency}"),
            Ty::Money(None) => f.write_str("money in any currency"),
            Ty::List(of) => {
                let of = of.to_string();
                let of = of.strip_prefix("a ").or(of.strip_prefix("an ")).unwrap_or(&of);
                write!(f, "a list of {of}")
            }
            Ty::Record(_) => f.write_str("a record"),
            Ty::Clock => f.write_str("a clock time"),
            Ty::Share => f.write_str("a percentage"),
            Ty::Score => f.write_str("a score"),
            Ty::Cart => f.write_str("the cart"),
            Ty::Lines => f.write_str("the lines of the cart"),
        }
    }
}

/// `"a", "b", "c"`, at most eight of them.
pub(crate) fn quoted(words: &[String]) -> String {
    let mut shown: Vec<String> = words.iter().take(8).map(|w| format!("{w:?}")).collect();
    if words.len() > shown.len() {
        shown.push("...".into());
    }
    shown.join(", ")
}

/// Order of two literals of one type; `None` where there is none.
pub(crate) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    Some(match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Int(a), Value::Decimal(b)) => (i128::from(*a) * i128::from(Decimal::ONE)).cmp(&i128::from(b.0)),
        (Value::Decimal(_), Value::Int(_)) => order(b, a)?.reverse(),
        (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
        (Value::Money(a), Value::Money(b)) if a.currency == b.currency => a.minor.cmp(&b.minor),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Instant(a), Value::Instant(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => return None,
    })
}

impl Lower<'_, '_> {
    /// A literal with its own type, before it meets another.
    pub(super) fn literal(&mut self, literal: &Literal) -> Checked<(Value, Ty)> {
        Ok(match &literal.kind {
            LiteralKind::Number { text, currency: Some(currency) } => {
                let Some(code) = Currency::parse(&currency.text) else {
                    return self.fail(Code::E04, currency.span, format!("`{}` is no currency", currency.text));
                };
                let digits = code.minor_digits();
                if fraction_digits(text) > digits as usize {
                    let message = format!("`{text} {code}` has more digits than {code} has ({digits})");
                    return self.fail(Code::E04, literal.span, message);
                }
                let Some(minor) = parse_scaled(text, digits) else {
                    return self.fail(Code::E14, literal.span, format!("`{text} {code}` is too large"));
                };
                (Value::Money(Money { minor, currency: code }), Ty::Money(Some(code)))
            }
            LiteralKind::Number { text, currency: None } if !text.contains('.') => match text.parse() {
                Ok(n) => (Value::Int(n), Ty::Int),
                Err(_) => return self.fail(Code::E14, literal.span, format!("`{text}` is too large")),
            },
            LiteralKind::Number { text, currency: None } => {
                if fraction_digits(text) > Decimal::DIGITS as usize {
                    return self.fail(
                        Code::E14,
                        literal.span,
                        format!("`{text}` has more than {} digits after the point", Decimal::DIGITS),
                    );
                }
                match parse_scaled(text, Decimal::DIGITS) {
                    Some(n) => (Value::Decimal(Decimal(n)), Ty::Decimal),
                    None => return self.fail(Code::E14, literal.span, format!("`{text}` is too large")),
                }
            }
            LiteralKind::Text(text) => {
                if text.len() > TEXT_LITERAL_BYTES_MAX {
                    let message = format!("a text has {} bytes, more than {TEXT_LITERAL_BYTES_MAX}", text.len());
                    return self.fail(Code::E14, literal.span, message);
                }
                (Value::Text(text.as_str().into()), Ty::Text)
            }
            LiteralKind::Duration(ms) => (Value::Duration(Millis(ms.ok_or(Stop)?)), Ty::Duration),
            LiteralKind::Date(days) => (Value::Date(*days), Ty::Date),
            LiteralKind::Instant(instant) => (Value::Instant(*instant), Ty::Instant),
            LiteralKind::Clock(ms) => (Value::Duration(Millis(*ms)), Ty::Clock),
            LiteralKind::Percent(millionths) => (Value::Decimal(Decimal(*millionths)), Ty::Share),
            LiteralKind::Distance => {
                return self.fail(Code::E03, literal.span, "a distance stands only in `within 25km of geo(..)`");
            }
            LiteralKind::Bool(b) => (Value::Bool(*b), Ty::Bool),
        })
    }

    /// A literal that has to fit `ty`: checked, and in the form that `ty` has.
    pub(super) fn literal_of(&mut self, literal: &Literal, ty: &Ty, of: &str) -> Checked<Value> {
        let (value, own) = self.literal(literal)?;
        self.fits(ty, &own, literal.span, of)?;
        self.in_words(ty, &value, literal.span)?;
        Ok(coerce(value, ty))
    }

    /// A text that is compared with a fixed set of words has to be one of them.
    pub(super) fn in_words(&mut self, ty: &Ty, value: &Value, span: super::Span) -> Checked<()> {
        let (Ty::Words(words), Value::Text(text)) = (ty, value) else { return Ok(()) };
        if words.iter().any(|w| **w == **text) {
            return Ok(());
        }
        let meant = nearest(text, words.iter().map(String::as_str));
        let help = match meant {
            Some(word) => format!("did you mean {word:?}?"),
            None => format!("one of {}", quoted(words)),
        };
        self.report.help(Code::E03, span, format!("{text:?} is none of its values"), help);
        if let Some(word) = meant
            && self.world.text(span).starts_with('"')
        {
            self.report.fix(span, Value::Text(word.into()).to_string());
        }
        Err(Stop)
    }

    /// Says that two types cannot meet, unless they can: equal types, int with decimal, money of possibly equal currency.
    pub(super) fn fits(&mut self, left: &Ty, right: &Ty, span: super::Span, of: &str) -> Checked<()> {
        let message = format!("{of} is {left}, this is {right}");
        let world = self.world;
        let written = || world.text(span);
        match (left, right) {
            (Ty::Money(Some(a)), Ty::Money(Some(b))) if a != b => {
                self.fail_help(Code::E04, span, message, "there is no conversion between currencies: compare each in its own")
            }
            (Ty::Money(_), Ty::Money(_)) => Ok(()),
            (Ty::Money(currency), r) if r.is_number() => {
                let shown = currency.unwrap_or(Currency::EUR);
                self.report.help(Code::E03, span, message, format!("an amount needs its currency: `500 {shown}`"));
                if let (Some(currency), true) = (currency, is_number(&written())) {
                    self.report.fix(span, format!("{} {currency}", written()));
                }
                Err(Stop)
            }
            (l, Ty::Money(_)) if l.is_number() => self.fail_help(Code::E03, span, message, "write the number without a currency"),
            (l, r) if l.is_number() && r.is_number() || l.is_text() && r.is_text() || l == r => Ok(()),
            (Ty::Instant, Ty::Date) | (Ty::Date, Ty::Instant) => self.fail_help(
                Code::E03,
                span,
                message,
                "a day has no one instant: use `since 2026-11-23`, `between 2026-11-23 and 2026-11-30`, or an instant with its offset",
            ),
            (Ty::Instant, Ty::Duration) => {
                self.fail_help(Code::E03, span, message, "to ask for an age: `in last 7d`, `at least 30m ago`, `between 7d and 14d ago`")
            }
            (l, Ty::Text) if l.is_number() => {
                self.report.help(Code::E03, span, message, "write the number without quotes");
                let inside = written().trim_matches('"').to_string();
                if !inside.is_empty() && inside.bytes().all(|b| b.is_ascii_digit()) {
                    self.report.fix(span, inside);
                }
                Err(Stop)
            }
            (Ty::Text | Ty::Words(_), r) if r.is_number() => {
                self.report.help(Code::E03, span, message, "write it as text: \"5\"");
                if *left == Ty::Text && is_number(&written()) {
                    self.report.fix(span, format!("\"{}\"", written()));
                }
                Err(Stop)
            }
            (Ty::Share, r) if r.is_number() => {
                self.report.help(Code::E03, span, message, "write a percentage: `10%`");
                if is_number(&written()) {
                    self.report.fix(span, format!("{}%", written()));
                }
                Err(Stop)
            }
            (Ty::List(_), _) => {
                self.fail_help(Code::E03, span, message, "a list is asked with `contains`, `contains any [..]` or `is empty`")
            }
            (Ty::Lines, _) => self.fail_help(Code::E03, span, message, "use `cart.items has [..]`, `cart.quantity` or `cart is empty`"),
            (Ty::Cart, _) => self.fail_help(Code::E03, span, message, "use `cart.value`, `cart.quantity` or `cart is empty`"),
            _ => self.fail(Code::E03, span, message),
        }
    }
}

/// A number in the form of the type that it is compared with: an int widens to decimal (LANGUAGE.md R22).
pub(crate) fn coerce(value: Value, ty: &Ty) -> Value {
    match (&value, ty) {
        (Value::Int(n), Ty::Decimal | Ty::Score) => n.checked_mul(Decimal::ONE).map_or(value, |n| Value::Decimal(Decimal(n))),
        _ => value,
    }
}

/// The same of a term, if it is a literal.
pub(crate) fn coerce_term(term: Term, ty: &Ty) -> Term {
    match term {
        Term::Literal(value) => Term::Literal(coerce(value, ty)),
        other => other,
    }
}

/// Whether a text is one number and nothing else.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit()) && !digits.contains([' ', '%', '(', ')'])
}

/// Digits after the point that are not a trailing zero.
fn fraction_digits(text: &str) -> usize {
    text.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len())
}

/// The type that a path has after its first name.
pub(crate) fn reach<'c>(ty: &'c Type, rest: &[super::Name]) -> Result<&'c Type, (usize, Option<&'c [Property]>)> {
    let mut ty = ty;
    for (i, name) in rest.iter().enumerate() {
        let Type::Record(fields) = ty else { return Err((i, None)) };
        match fields.iter().find(|f| f.name == name.text) {
            Some(field) => ty = &field.ty,
            None => return Err((i, Some(fields))),
        }
    }
    Ok(ty)
}

/// The record type of a cart line, for `cart.items has [...]`: the properties of the events that put lines in.
pub(crate) fn cart_line(catalogue: &Catalogue) -> Vec<Property> {
    use crate::model::CartAction;
    let mut line: Vec<Property> = Vec::new();
    for rule in catalogue.cart.iter().filter(|r| matches!(r.action, CartAction::Set | CartAction::Add)) {
        let event = &catalogue.events[rule.event.at()];
        let fields = match rule.lines.map(|p| &event.properties[p.at()].ty) {
            Some(Type::List(of)) => match &**of {
                Type::Record(fields) => fields,
                _ => continue,
            },
            Some(_) => continue,
            None => &event.properties,
        };
        for field in fields {
            if !line.iter().any(|p| p.name == field.name) {
                line.push(field.clone());
            }
        }
    }
    line
}
