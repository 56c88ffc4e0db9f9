//! Conditions that never hold, always hold, or exclude each other, as far as the text shows it.
//!
//! Owns W07 and W08 within one condition. What is said here is certain: a comparison holds only of what is known, so its denial may still
//! hold of what is unknown.

use std::cmp::Ordering;

use super::super::definition::{Aggregate, Expr, LocalPath, Path, Rel, Term, TimeWindow, Window};
use super::super::diagnostic::Code;
use super::super::display;
use super::super::source::Span;
use super::super::tree::ItemKind;
use super::lower::Lower;
use super::types::order;
use crate::ids::DefinitionIndex;
use crate::model::money::parse_scaled;
use crate::model::{Decimal, Value};

/// Least and greatest value of a term, both of which it may reach, and how a message says so.
struct Reach {
    least: Option<Value>,
    most: Option<Value>,
    why: String,
}

/// A comparison of constants, or with what its left side never reaches.
pub(super) fn constant(lower: &mut Lower<'_, '_>, left: &Term, rel: Rel, right: &Term, span: Span) {
    if lower.in_filter() {
        return;
    }
    let Term::Literal(bound) = right else { return };
    if let Term::Literal(value) = left {
        if order(value, bound).is_some() {
            lower.report.add(Code::W08, span, "a comparison of constants can never change");
        }
        return;
    }
    let Some(reach) = reach(lower, left) else { return };
    let least = reach.least.as_ref().and_then(|v| order(v, bound));
    let most = reach.most.as_ref().and_then(|v| order(v, bound));
    let (above, below) = (least == Some(Ordering::Greater), most == Some(Ordering::Less));
    let (from, to) = (above || least == Some(Ordering::Equal), below || most == Some(Ordering::Equal));
    let (never, always) = match rel {
        Rel::Lt => (from, below),
        Rel::Le => (above, to),
        Rel::Eq => (above || below, false),
        Rel::Gt => (to, above),
        Rel::Ge => (below, from),
    };
    if never {
        lower.report.add(Code::W07, span, format!("{}, so this never holds", reach.why));
    } else if always {
        lower.report.add(Code::W08, span, format!("{}, so this always holds", reach.why));
    }
}

/// What the values of a term that is never unknown are limited to.
fn reach(lower: &Lower<'_, '_>, term: &Term) -> Option<Reach> {
    let between = |least, most, why: &str| Some(Reach { least, most, why: why.to_string() });
    match term {
        // `per` a key: some key that occurred.
        Term::Aggregate { function: Aggregate::Count | Aggregate::Distinct, per: None, .. } => {
            between(Some(Value::Int(0)), None, "no count is below 0")
        }
        Term::Bucket(_) => between(
            Some(Value::Decimal(Decimal(0))),
            Some(Value::Decimal(Decimal(Decimal::ONE - 1))),
            "a bucket lies from 0% up to, not including, 100%",
        ),
        Term::Path(Path::Local(LocalPath::Hour)) => between(Some(Value::Int(0)), Some(Value::Int(23)), "hours go from 0 to 23"),
        Term::Points(index) => points(lower, *index),
        Term::Score(index) => {
            let head = lower.world.heads.get(index.at())?;
            let (ItemKind::Score(score), false) = (&head.item.kind, head.item.broken) else { return None };
            let cap = parse_scaled(&score.cap.as_ref()?.text, Decimal::DIGITS)?;
            let most = Value::Decimal(Decimal(cap));
            let why = format!("the cap of `{}` is {most}", head.name.text);
            Some(Reach { least: None, most: Some(most), why })
        }
        _ => None,
    }
}

/// All points that are given, and all that are taken.
fn points(lower: &Lower<'_, '_>, index: DefinitionIndex) -> Option<Reach> {
    let head = lower.world.heads.get(index.at())?;
    let (ItemKind::Points(points), false) = (&head.item.kind, head.item.broken) else { return None };
    let (mut least, mut most) = (0i64, 0i64);
    for (number, _) in &points.rules {
        let n = parse_scaled(&number.text, Decimal::DIGITS)?;
        if n < 0 {
            least = least.checked_add(n)?;
        } else {
            most = most.checked_add(n)?;
        }
    }
    let (least, most) = (Value::Decimal(Decimal(least)), Value::Decimal(Decimal(most)));
    let why = format!("`{}` lies from {least} to {most}", head.name.text);
    Some(Reach { least: Some(least), most: Some(most), why })
}

/// The operands of a chain with those of the chains inside of it, each with the place of the operand that brought it.
fn flat(operands: &[(Expr, Span)], and: bool) -> Vec<(&Expr, Span)> {
    let mut flat = Vec::new();
    for (operand, span) in operands {
        match operand {
            Expr::And(inner) if and => flat.extend(inner.iter().map(|e| (e, *span))),
            Expr::Or(inner) if !and => flat.extend(inner.iter().map(|e| (e, *span))),
            other => flat.push((other, *span)),
        }
    }
    flat
}

/// Operands of one `and` that exclude each other.
pub(super) fn contradictions(lower: &mut Lower<'_, '_>, operands: &[(Expr, Span)]) {
    let operands = flat(operands, true);
    for (i, (a, _)) in operands.iter().take(COMPARED_MAX).enumerate() {
        for (b, span) in operands[i + 1..].iter().take(COMPARED_MAX) {
            if excludes(a, b) {
                let text = display::condition(lower.world, a);
                lower.report.add(Code::W07, *span, format!("this and `{text}` never hold together"));
                return;
            }
        }
    }
}

/// Operands of one `or` of which one always holds.
pub(super) fn tautologies(lower: &mut Lower<'_, '_>, operands: &[(Expr, Span)]) {
    let operands = flat(operands, false);
    for (i, (a, _)) in operands.iter().take(COMPARED_MAX).enumerate() {
        for (b, span) in operands[i + 1..].iter().take(COMPARED_MAX) {
            if opposite(a, b) {
                let text = display::condition(lower.world, a);
                lower.report.add(Code::W08, *span, format!("this or `{text}` always holds"));
                return;
            }
        }
    }
}

/// Most operands of one chain that are compared with each other: the work is quadratic.
const COMPARED_MAX: usize = 64;

/// Whether one of the two holds, whatever happens.
fn opposite(a: &Expr, b: &Expr) -> bool {
    match (a, b) {
        (Expr::Not(inner), other) | (other, Expr::Not(inner)) => **inner == *other,
        _ => match (counted(a), counted(b)) {
            (Some(a), Some(b)) if a.of == b.of && a.window == b.window => {
                (a.least == 0 || b.least == 0)
                    && a.most.max(b.most) == u64::MAX
                    && a.most.min(b.most).saturating_add(1) >= a.least.max(b.least)
            }
            _ => false,
        },
    }
}

fn excludes(a: &Expr, b: &Expr) -> bool {
    if let (Some(a), Some(b)) = (counted(a), counted(b))
        && (a.most < b.least && a.of == b.of && within(b.window, a.window)
            || b.most < a.least && a.of == b.of && within(a.window, b.window))
    {
        return true;
    }
    match (a, b) {
        (Expr::Not(inner), other) | (other, Expr::Not(inner)) if **inner == *other => true,
        (Expr::EventIn { which: p, of: x, window: v }, Expr::EventIn { which: q, of: y, window: w }) => {
            p == q && x.members == y.members && disjoint(v, w)
        }
        (Expr::TimeIn { of: x, window: v }, Expr::TimeIn { of: y, window: w }) => {
            x == y
                && match (v, w) {
                    (TimeWindow::Past(v), TimeWindow::Past(w)) => disjoint(v, w),
                    // An instant of now is past.
                    (TimeWindow::Next(_), TimeWindow::Past(p)) | (TimeWindow::Past(p), TimeWindow::Next(_)) => ages(p).is_some(),
                    _ => false,
                }
        }
        (Expr::Empty(x), other) | (other, Expr::Empty(x)) => empty_cart(x, other),
        // A comparison says that its side is known.
        (Expr::Not(inner), other) | (other, Expr::Not(inner)) => match &**inner {
            Expr::Known(term) => values(other).is_some_and(|(of, _)| of == term),
            Expr::Compare { left, rel, right: Term::Literal(v), ignore_case: false } => match (complement(*rel), values(other)) {
                (Some(rel), Some((of, asked))) => of == left && !keyed(left) && none(&Asked::Is(rel, v), &asked),
                (None, Some((of, asked))) => of == left && !keyed(left) && matches!(asked, Asked::In(list) if list.iter().all(|w| w == v)),
                _ => false,
            },
            Expr::Member { of: left, values: list, ignore_case: false } => match values(other) {
                Some((of, Asked::In(other))) => of == left && other.iter().all(|v| list.contains(v)),
                Some((of, Asked::Is(Rel::Eq, v))) => of == left && list.contains(v),
                _ => false,
            },
            _ => false,
        },
        _ => match (values(a), values(b)) {
            (Some((x, asked)), Some((y, other))) => x == y && !keyed(x) && none(&asked, &other),
            _ => false,
        },
    }
}

fn keyed(term: &Term) -> bool {
    matches!(term, Term::Aggregate { per: Some(_), .. })
}

/// `cart is empty` beside a comparison that only a cart with something in it satisfies.
fn empty_cart(of: &Term, other: &Expr) -> bool {
    use super::super::definition::CartPath;
    if !matches!(of, Term::Path(Path::Cart(CartPath::Whole | CartPath::Items))) {
        return false;
    }
    match other {
        Expr::Has { of: Term::Path(Path::Cart(_)), .. } => true,
        Expr::Compare { left: Term::Path(Path::Cart(CartPath::Value | CartPath::Quantity)), rel, right: Term::Literal(bound), .. } => {
            let above = match bound {
                Value::Int(n) => n.cmp(&0),
                Value::Decimal(n) => n.0.cmp(&0),
                Value::Money(m) => m.minor.cmp(&0),
                _ => return false,
            };
            match rel {
                Rel::Gt => above != Ordering::Less,
                Rel::Ge | Rel::Eq => above == Ordering::Greater,
                Rel::Lt | Rel::Le => false,
            }
        }
        _ => false,
    }
}

/// The values of a term that satisfy a condition.
enum Asked<'e> {
    Is(Rel, &'e Value),
    In(&'e [Value]),
    /// Both ends included.
    Between(&'e Value, &'e Value),
    /// Start included, end not.
    HalfOpen(&'e Value, &'e Value),
}

impl<'e> Asked<'e> {
    /// As bounds that all hold.
    fn bounds(&self) -> Vec<(Rel, &'e Value)> {
        match self {
            Asked::Is(rel, v) => vec![(*rel, v)],
            Asked::In(_) => Vec::new(),
            Asked::Between(low, high) => vec![(Rel::Ge, low), (Rel::Le, high)],
            Asked::HalfOpen(from, to) => vec![(Rel::Ge, from), (Rel::Lt, to)],
        }
    }
}

fn values(expr: &Expr) -> Option<(&Term, Asked<'_>)> {
    Some(match expr {
        Expr::Compare { left, rel, right: Term::Literal(v), ignore_case: false } => (left, Asked::Is(*rel, v)),
        Expr::Member { of, values, ignore_case: false } => (of, Asked::In(values)),
        Expr::Between { of, low: Term::Literal(low), high: Term::Literal(high) } => (of, Asked::Between(low, high)),
        // A range of clock times may wrap.
        Expr::HalfOpen { of, from, to } if order(from, to) == Some(Ordering::Less) => (of, Asked::HalfOpen(from, to)),
        _ => return None,
    })
}

/// Whether no value satisfies both.
fn none(a: &Asked<'_>, b: &Asked<'_>) -> bool {
    let outside = |list: &[Value], other: &Asked<'_>| match other {
        Asked::In(values) => !list.iter().any(|v| values.contains(v)),
        _ => {
            let bounds = other.bounds();
            list.iter().all(|v| bounds.iter().any(|(rel, w)| order(v, w).is_some_and(|o| no_value(Rel::Eq, o, *rel))))
        }
    };
    match (a, b) {
        (Asked::In(list), other) | (other, Asked::In(list)) => outside(list, other),
        _ => {
            let other = b.bounds();
            a.bounds().iter().any(|(rel, v)| other.iter().any(|(r, w)| order(v, w).is_some_and(|o| no_value(*rel, o, *r))))
        }
    }
}

/// What is left of known values where a comparison is denied.
fn complement(rel: Rel) -> Option<Rel> {
    Some(match rel {
        Rel::Eq => return None,
        Rel::Lt => Rel::Ge,
        Rel::Le => Rel::Gt,
        Rel::Gt => Rel::Le,
        Rel::Ge => Rel::Lt,
    })
}

/// How many events of a window a condition asks for.
struct Counted<'e> {
    of: &'e [super::super::definition::SelectorMember],
    window: &'e Window,
    least: u64,
    /// [`u64::MAX`]: no limit.
    most: u64,
}

fn counted(expr: &Expr) -> Option<Counted<'_>> {
    let (expr, denied) = match expr {
        Expr::Not(inner) => (&**inner, true),
        other => (other, false),
    };
    match expr {
        Expr::Compare {
            left: Term::Aggregate { function: Aggregate::Count, of, property: None, per: None, window },
            rel,
            right: Term::Literal(Value::Int(n)),
            ..
        } => {
            let n = u64::try_from(*n).ok()?;
            let rel = if denied { complement(*rel)? } else { *rel };
            let (least, most) = match rel {
                Rel::Eq => (n, n),
                Rel::Lt => (0, n.checked_sub(1)?),
                Rel::Le => (0, n),
                Rel::Gt => (n.checked_add(1)?, u64::MAX),
                Rel::Ge => (n, u64::MAX),
            };
            Some(Counted { of: &of.members, window, least, most })
        }
        Expr::EventIn { of, window, .. } if !denied => Some(Counted { of: &of.members, window, least: 1, most: u64::MAX }),
        Expr::Sequence(sequence) if !denied => {
            Some(Counted { of: &sequence.steps[0].selector.members, window: &Window::Ever, least: 1, most: u64::MAX })
        }
        _ => None,
    }
}

/// Whether every event of `inner` is one of `outer`.
fn within(inner: &Window, outer: &Window) -> bool {
    if inner == outer || *outer == Window::Ever {
        return true;
    }
    match (ages(inner), ages(outer)) {
        (Some((from, to)), Some((outer_from, outer_to))) => outer_from <= from && to <= outer_to,
        _ => false,
    }
}

/// From and to which age a window reaches. **Units:** milliseconds, the end not included.
fn ages(window: &Window) -> Option<(i64, i64)> {
    match window {
        Window::Last(d) => Some((0, d.0)),
        Window::Older(d) => Some((d.0, i64::MAX)),
        Window::Between { from, to } => Some((from.0, to.0)),
        _ => None,
    }
}

/// Whether no x satisfies both `x rel v` and `x other w`, where `v` compares with `w` as given.
fn no_value(rel: Rel, v_to_w: Ordering, other: Rel) -> bool {
    use Ordering::{Equal, Greater, Less};
    use Rel::{Eq, Ge, Gt, Le, Lt};
    match (rel, other) {
        (Eq, Eq) => v_to_w != Equal,
        (Eq, Lt) => v_to_w != Less,
        (Eq, Le) => v_to_w == Greater,
        (Eq, Gt) => v_to_w != Greater,
        (Eq, Ge) => v_to_w == Less,
        (Lt | Le, Gt | Ge) => v_to_w == Less || v_to_w == Equal && !(rel == Le && other == Ge),
        (Gt | Ge, Lt | Le) => v_to_w == Greater || v_to_w == Equal && !(rel == Ge && other == Le),
        (_, Eq) => no_value(Eq, v_to_w.reverse(), rel),
        _ => false,
    }
}

/// Whether no age lies in both windows.
fn disjoint(a: &Window, b: &Window) -> bool {
    match (ages(a), ages(b)) {
        (Some((a_from, a_to)), Some((b_from, b_to))) => a_to <= b_from || b_to <= a_from,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_leave_no_value_are_found() {
        use Ordering::{Equal, Greater, Less};
        for (rel, v_to_w, other, empty) in [
            (Rel::Gt, Greater, Rel::Lt, true),  // x > 5, x < 3
            (Rel::Gt, Less, Rel::Lt, false),    // x > 3, x < 5
            (Rel::Ge, Equal, Rel::Le, false),   // x >= 5, x <= 5
            (Rel::Ge, Equal, Rel::Lt, true),    // x >= 5, x < 5
            (Rel::Lt, Less, Rel::Eq, true),     // x < 3, x = 5
            (Rel::Lt, Greater, Rel::Eq, false), // x < 5, x = 3
            (Rel::Eq, Equal, Rel::Eq, false),
            (Rel::Ge, Less, Rel::Gt, false),
        ] {
            assert_eq!(no_value(rel, v_to_w, other), empty, "{rel:?} {v_to_w:?} {other:?}");
        }
    }
}
