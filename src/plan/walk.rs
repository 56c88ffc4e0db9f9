//! Walks over checked definitions: which selectors, and through them which properties, a workspace uses.

use crate::ids::{EventIndex, PropertyIndex};
use crate::lang::definition::{CartPath, DefinitionKind, EventRef, Expr, Path, Selector, Term, TimeWindow, Window, Workspace};
use crate::model::Catalogue;

/// What a walk meets, each in the order of the text.
pub trait Visitor {
    /// A selector, with the path that an aggregate or `last(x).p` reads from its events.
    fn selector(&mut self, selector: &Selector, property: Option<&[String]>);
    /// A filter on the lines of the cart.
    fn cart_filter(&mut self, filter: &Expr);
}

/// Visits everything outside filters.
pub fn workspace(workspace: &Workspace, visitor: &mut impl Visitor) {
    for definition in &workspace.definitions {
        match &definition.kind {
            DefinitionKind::Segment(segment) => {
                expr(&segment.when, visitor);
                segment.exit_when.iter().for_each(|e| expr(e, visitor));
                segment.emit.iter().for_each(|field| term(&field.term, visitor));
            }
            DefinitionKind::Score(score) => score.rules.iter().for_each(|rule| visitor.selector(&rule.selector, None)),
            DefinitionKind::Points(points) => points.rules.iter().for_each(|(_, e)| expr(e, visitor)),
            DefinitionKind::Stages(stages) => stages.stages.iter().for_each(|(_, e)| expr(e, visitor)),
        }
    }
}

fn expr(of: &Expr, visitor: &mut impl Visitor) {
    match of {
        Expr::EventIn { of, window: w, .. } => {
            visitor.selector(of, None);
            window(w, visitor);
        }
        Expr::NofM { of, .. } => visitor.selector(of, None),
        Expr::Sequence(sequence) => {
            for step in &sequence.steps {
                visitor.selector(&step.selector, sequence.per.as_deref());
                step.without.iter().for_each(|s| visitor.selector(s, sequence.per.as_deref()));
            }
            window(&sequence.window, visitor);
        }
        Expr::TimeIn { of, window: w } => {
            term(of, visitor);
            if let TimeWindow::Past(w) = w {
                window(w, visitor);
            }
        }
        Expr::Has { of: Term::Path(Path::Cart(CartPath::Items | CartPath::Whole)), filter } => visitor.cart_filter(filter),
        _ => {
            of.terms().for_each(|t| term(t, visitor));
            of.operands().iter().for_each(|e| expr(e, visitor));
        }
    }
}

fn term(of: &Term, visitor: &mut impl Visitor) {
    match of {
        Term::Aggregate { of, property, per, window: w, .. } => {
            visitor.selector(of, property.as_deref());
            if per.is_some() {
                visitor.selector(of, per.as_deref());
            }
            window(w, visitor);
        }
        Term::OfEvent { of, property, .. } => visitor.selector(of, Some(property).filter(|p| !p.is_empty()).map(Vec::as_slice)),
        _ => of.operands().for_each(|t| term(t, visitor)),
    }
}

fn window(of: &Window, visitor: &mut impl Visitor) {
    if let Window::SinceLast(selector) = of {
        visitor.selector(selector, None);
    }
}

/// First names of the property paths in a filter, nested ones of `has` left to their lists.
pub fn filter_names(filter: &Expr, out: &mut Vec<String>) {
    filter.terms().for_each(|t| term_names(t, out));
    filter.operands().iter().for_each(|e| filter_names(e, out));
}

fn term_names(term: &Term, out: &mut Vec<String>) {
    if let Term::Path(Path::Property { path, .. }) = term {
        out.extend(path.first().cloned());
    }
    term.operands().for_each(|t| term_names(t, out));
}

/// Properties that some definition or the cart needs (LANGUAGE.md R48, R60), and the fields of cart lines that filters read.
#[derive(Debug, Default)]
pub struct Used {
    /// Sorted.
    pub properties: Vec<(EventIndex, PropertyIndex)>,
    /// In the order of first use.
    pub cart_fields: Vec<String>,
}

/// Names under which a cart line's own data stand (LANGUAGE.md S43).
pub const LINE_NAMES: [&str; 5] = ["product_id", "sku", "variant", "quantity", "price"];

impl Used {
    pub fn of(of: &Workspace) -> Used {
        struct Collect<'a> {
            catalogue: &'a Catalogue,
            used: Used,
        }
        impl Collect<'_> {
            fn name(&mut self, event: EventIndex, name: &str) {
                if let Some(property) = self.catalogue.events[event.at()].property(name) {
                    self.used.properties.push((event, property));
                }
            }
        }
        impl Visitor for Collect<'_> {
            fn selector(&mut self, selector: &Selector, property: Option<&[String]>) {
                for member in &selector.members {
                    let mut names: Vec<String> = property.and_then(|p| p.first()).cloned().into_iter().collect();
                    member.filter.iter().for_each(|f| filter_names(f, &mut names));
                    for event in &member.events {
                        if let EventRef::Catalogue(event) = event {
                            names.iter().for_each(|name| self.name(*event, name));
                        }
                    }
                }
            }
            fn cart_filter(&mut self, filter: &Expr) {
                let mut names = Vec::new();
                filter_names(filter, &mut names);
                for name in names {
                    if !self.used.cart_fields.contains(&name) {
                        self.used.cart_fields.push(name);
                    }
                }
            }
        }
        let mut collect = Collect { catalogue: &of.catalogue, used: Used::default() };
        workspace(of, &mut collect);
        for rule in &of.catalogue.cart {
            match rule.lines {
                Some(property) => collect.used.properties.push((rule.event, property)),
                None => {
                    let fields = collect.used.cart_fields.clone();
                    LINE_NAMES.iter().copied().chain(fields.iter().map(String::as_str)).for_each(|name| collect.name(rule.event, name));
                }
            }
        }
        let mut used = collect.used;
        used.properties.sort_unstable();
        used.properties.dedup();
        used
    }
}
