//! Filters on events, compiled against the slots of one event type (or the fields of a list's element): names become places.
//!
//! A filter sees nothing but its record and the local clock at the record's instant, so its outcome never depends on the present. Of the
//! customer it knows the zone in force when the record is applied, and nothing else.

use super::calendar::{LocalTest, ZoneRef};
use crate::lang::definition::{ArithmeticOp, Containment, Expr, LocalPath, Path, Rel, Term};
use crate::lang::pattern::Pattern;
use crate::model::{Circle, Property, Type, Value};

/// Where a value stands in a record: slot, then fields of nested records.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Literal(Value),
    /// The element's or event's slot, then the place in each nested record.
    Slot {
        slot: u16,
        fields: Box<[u16]>,
    },
    /// A name that this event type lacks: always missing.
    Absent,
    /// The local clock at the event's instant.
    Local {
        path: LocalPath,
        zone: ZoneRef,
    },
    Arithmetic {
        op: ArithmeticOp,
        left: Box<Operand>,
        right: Box<Operand>,
    },
}

/// One compiled filter.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    Constant(bool),
    And(Box<[Filter]>),
    Or(Box<[Filter]>),
    Not(Box<Filter>),
    Compare {
        left: Operand,
        rel: Rel,
        right: Operand,
        ignore_case: bool,
    },
    Between {
        of: Operand,
        low: Operand,
        high: Operand,
    },
    Member {
        of: Operand,
        values: Box<[Value]>,
        ignore_case: bool,
    },
    HalfOpen {
        of: Operand,
        from: Value,
        to: Value,
    },
    Matches {
        of: Operand,
        pattern: Pattern,
    },
    Near {
        of: Operand,
        circle: Circle,
    },
    Contains {
        of: Operand,
        what: Containment,
        ignore_case: bool,
    },
    StartsWith {
        of: Operand,
        prefix: Box<str>,
        ignore_case: bool,
    },
    EndsWith {
        of: Operand,
        suffix: Box<str>,
        ignore_case: bool,
    },
    Empty(Operand),
    Known(Operand),
    /// The local clock at the event's instant, against constants.
    Local(LocalTest),
    /// Some element of a list of records satisfies the inner filter, whose slots are the element's fields.
    Has {
        of: Operand,
        filter: Box<Filter>,
    },
}

/// What names mean: place and type of each, in the order of the slots.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Name, slot, type; a name without slot is not decoded and can only be asked for by mistake.
    pub names: Vec<(String, Option<u16>, Type)>,
    /// Whose clock `local` is; `None` where nothing has an instant.
    pub zone: Option<ZoneRef>,
}

impl Scope {
    pub fn of_names(names: impl Iterator<Item = (String, Option<u16>, Type)>) -> Scope {
        Scope { names: names.collect(), zone: None }
    }

    /// The fields of a record type.
    pub fn of_record(properties: &[Property]) -> Scope {
        Scope::of_names(properties.iter().enumerate().map(|(i, p)| (p.name.clone(), Some(i as u16), p.ty.clone())))
    }

    /// The same for records whose instant is looked at on this clock.
    pub fn in_zone(&self, zone: ZoneRef) -> Scope {
        Scope { zone: Some(zone), ..self.clone() }
    }

    /// The fields of a list's elements, where they are records.
    pub fn of_element(ty: &Type) -> Scope {
        match ty {
            Type::List(element) => match &**element {
                Type::Record(properties) => Scope::of_record(properties),
                _ => Scope::default(),
            },
            _ => Scope::default(),
        }
    }

    /// The place of a path and the type of what stands there.
    pub fn resolve(&self, path: &[String]) -> (Operand, Option<Type>) {
        let Some((first, rest)) = path.split_first() else { return (Operand::Absent, None) };
        let Some((_, Some(slot), ty)) = self.names.iter().find(|(name, ..)| name == first) else { return (Operand::Absent, None) };
        let (mut ty, mut fields) = (ty.clone(), Vec::new());
        for name in rest {
            let Type::Record(properties) = &ty else { return (Operand::Absent, None) };
            let Some(i) = properties.iter().position(|p| p.name == *name) else { return (Operand::Absent, None) };
            fields.push(i as u16);
            ty = properties[i].ty.clone();
        }
        (Operand::Slot { slot: *slot, fields: fields.into() }, Some(ty))
    }
}

/// Compiles a filter for one scope.
///
/// **Panics:** on forms that the checker refuses in filters (E03, E16).
pub fn compile(expr: &Expr, scope: &Scope) -> Filter {
    if let Some(test) = scope.zone.and_then(|zone| LocalTest::of(expr, zone)) {
        return Filter::Local(test);
    }
    let all = |exprs: &[Expr]| exprs.iter().map(|e| compile(e, scope)).collect();
    match expr {
        Expr::And(exprs) => Filter::And(all(exprs)),
        Expr::Or(exprs) => Filter::Or(all(exprs)),
        Expr::Not(of) => Filter::Not(Box::new(compile(of, scope))),
        Expr::Everyone => Filter::Constant(true),
        Expr::Compare { left, rel, right, ignore_case } => {
            Filter::Compare { left: operand(left, scope), rel: *rel, right: operand(right, scope), ignore_case: *ignore_case }
        }
        Expr::Between { of, low, high } => Filter::Between { of: operand(of, scope), low: operand(low, scope), high: operand(high, scope) },
        Expr::Member { of, values, ignore_case } => {
            Filter::Member { of: operand(of, scope), values: values.clone().into(), ignore_case: *ignore_case }
        }
        Expr::HalfOpen { of, from, to } => Filter::HalfOpen { of: operand(of, scope), from: from.clone(), to: to.clone() },
        Expr::Matches { of, pattern: text } => Filter::Matches { of: operand(of, scope), pattern: pattern(text) },
        Expr::Near { of, metres, lat, lon } => Filter::Near { of: operand(of, scope), circle: Circle::new(*lat, *lon, *metres) },
        Expr::Contains { of, what, ignore_case } => {
            Filter::Contains { of: operand(of, scope), what: what.clone(), ignore_case: *ignore_case }
        }
        Expr::StartsWith { of, prefix, ignore_case } => {
            Filter::StartsWith { of: operand(of, scope), prefix: prefix.as_str().into(), ignore_case: *ignore_case }
        }
        Expr::EndsWith { of, suffix, ignore_case } => {
            Filter::EndsWith { of: operand(of, scope), suffix: suffix.as_str().into(), ignore_case: *ignore_case }
        }
        Expr::Empty(of) => Filter::Empty(operand(of, scope)),
        Expr::Known(of) => Filter::Known(operand(of, scope)),
        Expr::Has { of, filter } => {
            let (of, inner) = match of {
                Term::Path(Path::Property { path, .. }) => match scope.resolve(path) {
                    (of, Some(ty)) => (of, Scope::of_element(&ty)),
                    (_, None) => (Operand::Absent, Scope::default()),
                },
                other => (operand(other, scope), Scope::default()),
            };
            Filter::Has { of, filter: Box::new(compile(filter, &Scope { zone: scope.zone, ..inner })) }
        }
        other => panic!("{other:?} in a filter is refused by the checker"),
    }
}

/// **Panics:** on a pattern that the checker refuses (E14).
pub fn pattern(text: &str) -> Pattern {
    Pattern::new(text).unwrap_or_else(|error| panic!("pattern /{text}/ is refused by the checker: {error}"))
}

fn operand(term: &Term, scope: &Scope) -> Operand {
    match term {
        Term::Literal(value) => Operand::Literal(value.clone()),
        Term::Path(Path::Property { path, .. }) => scope.resolve(path).0,
        Term::Path(Path::Local(path)) => scope.zone.map_or(Operand::Absent, |zone| Operand::Local { path: *path, zone }),
        Term::Arithmetic { op, left, right } => {
            Operand::Arithmetic { op: *op, left: Box::new(operand(left, scope)), right: Box::new(operand(right, scope)) }
        }
        other => panic!("{other:?} in a filter is refused by the checker"),
    }
}
