//! What the lowering of one definition carries along: names in reach, bounds, warnings that wait for their neighbours.

use std::collections::HashMap;

use super::super::definition::{EventRef, Term};
use super::super::diagnostic::{Code, Report};
use super::super::source::Span;
use super::super::supported::Form;
use super::super::tree::{Dur, Expr as TreeExpr, ExprKind, Let, LetValue, Name, TermKind};
use super::World;
use crate::ids::DefinitionIndex;
use crate::limits::{DEFINITION_NODES_MAX, INLINED_NESTING_MAX};
use crate::model::Property;
use crate::time::Millis;

/// A message was given; the definition is not handed on.
#[derive(Debug)]
pub(crate) struct Stop;

pub(crate) type Checked<T> = Result<T, Stop>;

/// Where names are looked up.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// A condition on the customer.
    Customer,
    /// Inside `[...]`: properties only.
    Filter(FilterScope),
}

#[derive(Clone, Debug)]
pub(crate) struct FilterScope {
    pub sources: Vec<PropertySource>,
    /// `activity` and names with `*`: a property need not exist in each.
    pub lenient: bool,
    /// Of an event, which has an instant.
    pub timed: bool,
}

/// Something that has properties: an event type, a cart line, an element of a list.
#[derive(Clone, Debug)]
pub(crate) struct PropertySource {
    /// As a message calls it.
    pub what: String,
    pub properties: Vec<Property>,
    /// Its declaration is faulty, so a missing property is no news.
    pub broken: bool,
}

pub(crate) struct Lower<'t, 'w> {
    pub world: &'w World<'t>,
    pub report: &'w mut Report,
    pub locals: HashMap<&'t str, &'t Let>,
    /// Lets of the segment are out of reach inside a let of the workspace.
    pub locals_visible: bool,
    pub scope: Scope,
    /// Lets that are being inlined, outermost first.
    pub inlining: Vec<&'t Let>,
    /// Whether an odd number of `not` stands above.
    pub negated: bool,
    pub nodes: usize,
    pub depth: usize,
    /// The bound on nodes was reported.
    pub overflowed: bool,
    /// What the definition refers to, with the place.
    pub references: Vec<(DefinitionIndex, Span)>,
    pub unknown_in_negation: Vec<(Term, Span)>,
    pub absences: Vec<Absence>,
    /// How many conditions are `per` a key.
    pub keyed: usize,
    /// Something that can change was seen.
    pub variable: bool,
}

/// A condition that also holds for customers who never did it.
#[derive(Debug)]
pub(crate) struct Absence {
    pub events: Vec<EventRef>,
    pub text: String,
    /// Of `in last D`.
    pub within: Option<Millis>,
    pub span: Span,
}

impl<'t, 'w> Lower<'t, 'w> {
    pub fn new(world: &'w World<'t>, report: &'w mut Report, lets: &'t [Let]) -> Self {
        Lower {
            world,
            report,
            locals: lets.iter().map(|l| (l.name.text.as_str(), l)).collect(),
            locals_visible: true,
            scope: Scope::Customer,
            inlining: Vec::new(),
            negated: false,
            nodes: 0,
            depth: 0,
            overflowed: false,
            references: Vec::new(),
            unknown_in_negation: Vec::new(),
            absences: Vec::new(),
            keyed: 0,
            variable: false,
        }
    }

    pub fn fail<T>(&mut self, code: Code, span: Span, message: impl Into<String>) -> Checked<T> {
        self.report.add(code, span, message);
        Err(Stop)
    }

    pub fn fail_help<T>(&mut self, code: Code, span: Span, message: impl Into<String>, help: impl Into<String>) -> Checked<T> {
        self.report.help(code, span, message, help);
        Err(Stop)
    }

    /// Refuses what this version does not evaluate, and goes on checking.
    pub fn gate(&mut self, form: Form, span: Span) {
        if let Some(name) = form.refused().filter(|_| !self.report.all_forms) {
            let help = "it is part of the language and was checked; a later version evaluates it";
            self.report.help(Code::E16, span, format!("{name} is not evaluated by this version"), help);
        }
    }

    /// One more node of the definition, one level deeper, while `f` runs.
    pub fn node<T>(&mut self, span: Span, f: impl FnOnce(&mut Self) -> Checked<T>) -> Checked<T> {
        self.nodes += 1;
        if self.overflowed {
            return Err(Stop);
        }
        if self.nodes > DEFINITION_NODES_MAX {
            self.overflowed = true;
            let message = format!("the definition has more than {DEFINITION_NODES_MAX} conditions and terms after its lets are inlined");
            return self.fail_help(Code::E14, span, message, "split it into segments that refer to each other by `in segment`");
        }
        if self.depth >= INLINED_NESTING_MAX {
            return self.fail(Code::E14, span, format!("nested deeper than {INLINED_NESTING_MAX} levels after lets are inlined"));
        }
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        result
    }

    pub fn in_filter(&self) -> bool {
        matches!(self.scope, Scope::Filter(_))
    }

    /// Runs `f` where names are properties of `scope`.
    pub fn filtering<T>(&mut self, scope: FilterScope, f: impl FnOnce(&mut Self) -> Checked<T>) -> Checked<T> {
        let outer = std::mem::replace(&mut self.scope, Scope::Filter(scope));
        // A filter is about events: what it negates says nothing about customers.
        let negated = std::mem::take(&mut self.negated);
        let result = f(self);
        self.negated = negated;
        self.scope = outer;
        result
    }

    /// The let of that name in reach; one of the definition hides one of the workspace.
    pub fn find_let(&self, name: &Name) -> Option<&'t Let> {
        let local = if self.locals_visible { self.locals.get(name.text.as_str()).copied() } else { None };
        local.or_else(|| self.world.lets.get(name.text.as_str()).copied())
    }

    /// Runs `f` inside of `item`, in whose text only its own lets are in reach.
    pub fn inlined<T>(&mut self, item: &'t Let, used_at: Span, f: impl FnOnce(&mut Self, &'t LetValue) -> Checked<T>) -> Checked<T> {
        if let Some(start) = self.inlining.iter().position(|l| std::ptr::eq(*l, item)) {
            let path: Vec<&str> = self.inlining[start..].iter().map(|l| l.name.text.as_str()).chain([item.name.text.as_str()]).collect();
            let message = format!("a let refers to itself: {}", path.join(" -> "));
            return self.fail(Code::E07, used_at, message);
        }
        let visible = self.locals_visible;
        self.locals_visible = visible && self.locals.get(item.name.text.as_str()).is_some_and(|l| std::ptr::eq(*l, item));
        self.inlining.push(item);
        let result = self.node(used_at, |lower| f(lower, &item.value));
        self.inlining.pop();
        self.locals_visible = visible;
        result
    }

    /// A length of time, lets resolved. Zero is allowed here.
    pub fn duration(&mut self, dur: &'t Dur) -> Checked<Millis> {
        match dur {
            Dur::Millis(ms, _) => ms.map(Millis).ok_or(Stop),
            Dur::Name(name) => {
                let Some(item) = self.find_let(name) else {
                    let lets = self.lets_where(|v| matches!(v, LetValue::Duration(_)));
                    return self.unknown("duration", name, &lets, "a duration is `30m`, `24h`, or a let: `let idle = 30m`");
                };
                self.inlined(item, name.span, |lower, value| match value {
                    LetValue::Duration(dur) => lower.duration(dur),
                    LetValue::Expr(expr) => match lone_name(expr) {
                        Some(name) => lower.named_duration(name),
                        None => lower.no_duration(item, name.span),
                    },
                    LetValue::Selector(_) => lower.no_duration(item, name.span),
                })
            }
        }
    }

    fn named_duration(&mut self, name: &'t Name) -> Checked<Millis> {
        let Some(item) = self.find_let(name) else {
            return self.unknown("let", name, &[], "");
        };
        self.inlined(item, name.span, |lower, value| match value {
            LetValue::Duration(dur) => lower.duration(dur),
            LetValue::Expr(expr) => match lone_name(expr) {
                Some(inner) => lower.named_duration(inner),
                None => lower.no_duration(item, name.span),
            },
            LetValue::Selector(_) => lower.no_duration(item, name.span),
        })
    }

    fn no_duration<T>(&mut self, item: &Let, span: Span) -> Checked<T> {
        self.fail(Code::E03, span, format!("`{}` is not a duration", item.name.text))
    }

    /// The same, where zero makes no sense.
    pub fn positive(&mut self, dur: &'t Dur) -> Checked<Millis> {
        let ms = self.duration(dur)?;
        if ms.0 <= 0 {
            return self.fail_help(Code::E11, dur.span(), "a length of time of zero", "it has to be at least 1ms");
        }
        Ok(ms)
    }

    /// Names of the lets in reach whose value is of a kind.
    pub fn lets_where(&self, kind: impl Fn(&LetValue) -> bool) -> Vec<&'t str> {
        let local = self.locals.values().filter(|_| self.locals_visible);
        let mut names: Vec<&str> = local.chain(self.world.lets.values()).filter(|l| kind(&l.value)).map(|l| l.name.text.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Says that a name is unknown, with the nearest known one or else `help`.
    pub fn unknown<T>(&mut self, what: &str, name: &Name, known: &[&str], help: &str) -> Checked<T> {
        if self.world.lost.contains(name.text.as_str()) {
            return Err(Stop);
        }
        super::unknown(self.report, what, name, known.iter().copied(), help);
        Err(Stop)
    }
}

/// The name, where an expression is nothing but a name.
pub(crate) fn lone_name(expr: &TreeExpr) -> Option<&Name> {
    match &*expr.kind {
        ExprKind::Bare(term) => match &term.kind {
            TermKind::Path(path) if path.len() == 1 => path.first(),
            _ => None,
        },
        ExprKind::Paren(inner) => lone_name(inner),
        _ => None,
    }
}
