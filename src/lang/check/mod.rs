//! The checker: syntax trees of one workspace to its checked form.
//!
//! Owns name resolution, inlining of lets, types, currencies, the rules of LANGUAGE.md 4, references and their order. Everything that
//! can be said about a text is said in one run: a definition that fails does not keep the others from being checked.

mod catalogue;
mod conditions;
mod definitions;
mod latch;
mod lower;
mod never;
mod paths;
mod references;
mod relations;
mod selectors;
mod terms;
mod types;
mod warnings;
mod windows;

use std::collections::{BTreeMap, HashMap, HashSet};

use super::canonical;
use super::definition::{Definition, DefinitionKind, Meta, Workspace};
use super::diagnostic::{Code, Report, nearest};
use super::display;
use super::source::{SourceFile, Span, place};
use super::tree::{Item, ItemKind, Let, Name};
use super::walk;
use crate::ids::DefinitionIndex;
use crate::limits::DEFINITIONS_MAX;
use crate::model::Catalogue;
use lower::Lower;

/// The four kinds of definitions. They share one name space, since changes name them all alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Segment,
    Score,
    Points,
    Stages,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Segment => "segment",
            Kind::Score => "score",
            Kind::Points => "points",
            Kind::Stages => "stages",
        }
    }

    fn word_with_article(self) -> &'static str {
        match self {
            Kind::Segment => "a segment",
            Kind::Score => "a score",
            Kind::Points => "points",
            Kind::Stages => "stages",
        }
    }
}

/// A declared definition, before it is checked.
struct Head<'t> {
    index: DefinitionIndex,
    kind: Kind,
    item: &'t Item,
    name: &'t Name,
}

/// Everything that names can stand for.
struct World<'t> {
    files: &'t [SourceFile],
    catalogue: Catalogue,
    /// Names of events whose declaration is faulty: what they lack is no news.
    broken_events: HashSet<String>,
    broken_cart: bool,
    /// Names whose declaration could not be read at all.
    lost: HashSet<&'t str>,
    lets: HashMap<&'t str, &'t Let>,
    /// In the order of the text; [`Head::index`] counts them until they are put in order.
    heads: Vec<Head<'t>>,
    by_name: BTreeMap<&'t str, usize>,
}

impl<'t> World<'t> {
    fn definition(&self, name: &str) -> Option<&Head<'t>> {
        self.by_name.get(name).map(|i| &self.heads[*i])
    }

    fn names_of(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.by_name.iter().filter(move |(_, i)| self.heads[**i].kind == kind).map(|(name, _)| *name)
    }

    /// The stages' names, the last one included.
    fn stage_words(&self, index: DefinitionIndex) -> Vec<String> {
        match &self.heads[index.at()].item.kind {
            ItemKind::Stages(stages) => {
                stages.stages.iter().map(|(name, _)| name).chain(&stages.otherwise).map(|name| name.text.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The source text of a span on one line, shortened, for messages.
    fn text(&self, span: Span) -> String {
        let text = self.files.get(span.file as usize).and_then(|f| f.text.get(span.start as usize..span.end as usize)).unwrap_or("");
        let words: Vec<&str> = text.split_whitespace().collect();
        let line = words.join(" ");
        if line.chars().count() <= 60 { line } else { line.chars().take(57).chain("...".chars()).collect() }
    }

    /// `file:line`.
    fn place(&self, span: Span) -> String {
        match self.files.get(span.file as usize) {
            Some(file) => format!("{}:{}", file.name, place(&file.text, span).line),
            None => String::new(),
        }
    }
}

impl display::Names for World<'_> {
    fn customer_trait(&self, index: crate::ids::TraitIndex) -> &str {
        self.catalogue.traits.get(index.at()).map_or("?", |t| t.name.as_str())
    }
    fn purpose(&self, index: crate::ids::PurposeIndex) -> &str {
        self.catalogue.purposes.get(index.at()).map_or("?", |p| p.name.as_str())
    }
    fn list(&self, index: crate::ids::ListIndex) -> &str {
        self.catalogue.lists.get(index.at()).map_or("?", String::as_str)
    }
    fn definition(&self, index: DefinitionIndex) -> &str {
        self.heads.get(index.at()).map_or("?", |h| h.name.text.as_str())
    }
}

/// Says that a name is unknown, with the nearest known one or else `help`.
fn unknown<'k>(report: &mut Report, what: &str, name: &Name, known: impl Iterator<Item = &'k str>, help: &str) {
    let meant = nearest(&name.text, known);
    let help = match meant {
        Some(meant) => Some(format!("did you mean `{meant}`?")),
        None => Some(help.to_string()).filter(|h| !h.is_empty()),
    };
    let message = match what.strip_suffix(':') {
        // "unknown property `x` of event `y`"
        Some(what) => match what.split_once(' ') {
            Some((first, rest)) => format!("unknown {first} `{}` {rest}", name.text),
            None => format!("unknown {what} `{}`", name.text),
        },
        None => format!("unknown {what} `{}`", name.text),
    };
    report.push(Code::E02, name.span, message, help);
    if let Some(meant) = meant {
        report.fix(name.span, display::name(meant));
    }
}

/// Checks all items of a workspace. `None` if an error was reported, by this or before.
pub(crate) fn check(files: &[SourceFile], items: &[Item], report: &mut Report) -> Option<Workspace> {
    let mut world = World {
        files,
        catalogue: Catalogue::default(),
        broken_events: HashSet::new(),
        broken_cart: false,
        lost: HashSet::new(),
        lets: HashMap::new(),
        heads: Vec::new(),
        by_name: BTreeMap::new(),
    };
    declare(&mut world, items, report);
    catalogue::build(&mut world, items, report);
    clashes(&world, report);

    let mut checked: Vec<Option<(DefinitionKind, Meta)>> = Vec::new();
    let mut references = Vec::new();
    for head in &world.heads {
        let (result, refers) = definitions::check(&world, head, report);
        checked.push(result);
        references.push(refers);
    }
    let depths = references::depths(&world, &references, report);
    if report.errors() > 0 {
        return None;
    }
    Some(assemble(&world, checked.into_iter().flatten().collect(), &depths))
}

/// Names of lets and definitions.
fn declare<'t>(world: &mut World<'t>, items: &'t [Item], report: &mut Report) {
    for item in items {
        let (kind, name) = match &item.kind {
            ItemKind::Let(item) => {
                if let Some(first) = world.lets.get(item.name.text.as_str()) {
                    twice(world, report, "let", &item.name, first.name.span);
                } else {
                    world.lets.insert(&item.name.text, item);
                }
                continue;
            }
            ItemKind::Lost(name) => {
                world.lost.insert(&name.text);
                continue;
            }
            ItemKind::Segment(segment) => (Kind::Segment, &segment.name),
            ItemKind::Score(score) => (Kind::Score, &score.name),
            ItemKind::Points(points) => (Kind::Points, &points.name),
            ItemKind::Stages(stages) => (Kind::Stages, &stages.name),
            _ => continue,
        };
        if let Some(first) = world.definition(&name.text) {
            let (what, span) = (first.kind.word(), first.name.span);
            twice(world, report, what, name, span);
            continue;
        }
        if world.heads.len() >= DEFINITIONS_MAX {
            report.add(Code::E14, name.span, format!("the workspace has more than {DEFINITIONS_MAX} definitions"));
            return;
        }
        let at = world.heads.len();
        world.heads.push(Head { index: DefinitionIndex(at as u32), kind, item, name });
        world.by_name.insert(&name.text, at);
    }
}

/// Says that a name was declared before, and where.
fn twice(world: &World<'_>, report: &mut Report, what: &str, name: &Name, first: Span) {
    report.help(
        Code::E12,
        name.span,
        format!("`{}` is declared twice", name.text),
        format!("the first is {} {what} at {}", if what == "event" { "an" } else { "a" }, world.place(first)),
    );
}

/// A let must not hide an event: both may stand where an event is named.
fn clashes(world: &World<'_>, report: &mut Report) {
    for item in world.lets.values() {
        if world.catalogue.event(&item.name.text).is_some() {
            report.add(Code::E12, item.name.span, format!("`{}` is the name of an event already", item.name.text));
        }
    }
}

/// Puts definitions in order, renumbers what they refer to, and hashes them from the leaves up.
fn assemble(world: &World<'_>, checked: Vec<(DefinitionKind, Meta)>, depths: &[u32]) -> Workspace {
    let mut order: Vec<usize> = (0..checked.len()).collect();
    order.sort_by(|a, b| (depths[*a], &world.heads[*a].name.text).cmp(&(depths[*b], &world.heads[*b].name.text)));
    let mut map = vec![DefinitionIndex::default(); order.len()];
    for (new, old) in order.iter().enumerate() {
        map[*old] = DefinitionIndex(new as u32);
    }
    let mut slots: Vec<Option<(DefinitionKind, Meta)>> = checked.into_iter().map(Some).collect();
    let mut workspace = Workspace { catalogue: world.catalogue.clone(), definitions: Vec::new(), hash: Default::default() };
    for old in order {
        let Some((mut kind, meta)) = slots[old].take() else { continue };
        walk::renumber(&mut kind, &map);
        let name = world.heads[old].name.text.clone();
        let mut definition = Definition { name, kind, hash: Default::default(), meta, depth: depths[old] };
        definition.hash = canonical::semantic_hash(&workspace, &definition);
        workspace.definitions.push(definition);
    }
    workspace.hash = canonical::set_hash(&workspace);
    workspace
}

/// A context for the lengths of time of the catalogue.
fn plain<'t, 'w>(world: &'w World<'t>, report: &'w mut Report) -> Lower<'t, 'w> {
    Lower::new(world, report, &[])
}
