//! Conditions `per` a key: evaluated once for each key that occurred (LANGUAGE.md R23, R51).

use super::Occurrence;
use super::eval::View;
use crate::lang::{Expr, Selector, Term};
use crate::model::Value;

/// As many keys are remembered per selector and path.
const KEYS_MAX: usize = 64;

/// Leaves out the events of keys that were forgotten when they were the least recently used of too many, and events without a key.
/// `events` stand in the order of application.
pub fn forget_old_keys<'a>(events: &mut Vec<&'a Occurrence>, key: impl Fn(&'a Occurrence) -> Value) {
    // Keys with their events, the least recently used first.
    let mut used: Vec<(Value, Vec<&Occurrence>)> = Vec::new();
    for event in events.drain(..) {
        let key = key(event);
        if key.is_missing() {
            continue;
        }
        let mut entry = match used.iter().position(|(k, _)| *k == key) {
            Some(i) => used.remove(i),
            None => (key, Vec::new()),
        };
        entry.1.push(event);
        used.push(entry);
        if used.len() > KEYS_MAX {
            used.remove(0);
        }
    }
    events.extend(used.into_iter().flat_map(|(_, all)| all));
    events.sort_by_key(|e| e.order);
}

/// The aggregate `per` a key that a condition compares, if it does.
pub fn keyed_term(expr: &Expr) -> Option<(&Selector, &[String])> {
    let of_term = |term: &'_ Term| matches!(term, Term::Aggregate { per: Some(_), .. });
    let term = match expr {
        Expr::Compare { left, right, .. } => [left, right].into_iter().find(|t| of_term(t))?,
        Expr::Between { of, .. }
        | Expr::Member { of, .. }
        | Expr::HalfOpen { of, .. }
        | Expr::TimeIn { of, .. }
        | Expr::Anniversary { of, .. }
        | Expr::Known(of) => Some(of).filter(|t| of_term(t))?,
        _ => return None,
    };
    match term {
        Term::Aggregate { of, per: Some(path), .. } => Some((of, path)),
        _ => None,
    }
}

impl<'a> View<'a> {
    /// Keys of the events of a selector that are still remembered, in the order in which they came.
    pub fn keys(&self, of: &Selector, path: &[String]) -> Vec<Value> {
        let mut keys: Vec<Value> = Vec::new();
        for event in self.remembered(of, path) {
            let key = self.property(event, path);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// Events of the selector with a key that is still remembered; those after now too, since forgetting goes by application.
    pub fn remembered(&self, of: &Selector, path: &[String]) -> Vec<&'a Occurrence> {
        let selects = self.selected(of);
        let mut all: Vec<&'a Occurrence> = self.customer.events.iter().map(|e| &**e).filter(|e| selects(e)).collect();
        forget_old_keys(&mut all, |e| self.property(e, path));
        all
    }

    /// The keys for which a condition `per` a key holds, whichever kind it is.
    pub fn keys_that_hold(&self, expr: &Expr) -> Vec<Value> {
        match (expr, keyed_term(expr)) {
            (Expr::Sequence(sequence), _) => self.sequence_keys(sequence),
            (_, Some((of, path))) => {
                let mut keys = self.keys(of, path);
                keys.retain(|key| View { key: Some(key), ..*self }.holds(expr));
                keys
            }
            _ => Vec::new(),
        }
    }
}

/// The one condition `per` a key of a segment that emits `key`.
pub fn keyed_condition(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::And(all) | Expr::Or(all) => all.iter().find_map(keyed_condition),
        Expr::Not(e) | Expr::HeldFor { of: e, .. } => keyed_condition(e),
        Expr::Sequence(sequence) => sequence.per.as_ref().map(|_| expr),
        _ => keyed_term(expr).map(|_| expr),
    }
}
