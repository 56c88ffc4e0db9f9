//! The canonical form of definitions and the hashes over it (LANGUAGE.md 7).
//!
//! Owns what "means the same" is: lets are inlined and quantifiers are comparisons already; here operands are sorted by their own bytes
//! and de-duplicated, durations are milliseconds, money is minor units, defaults are written out, keys are sorted, there is no white
//! space. A definition's name and metadata are outside of its hash, what it refers to is inside, by name and hash. Changing anything
//! here changes hashes, and with them every version that was ever published: then [`LANG`] has to rise.

mod catalogue;

pub use catalogue::catalogue_json;

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::definition::{
    Aggregate, ArithmeticOp, Backfill, CartPath, Containment, DayBound, Definition, DefinitionKind, Direction, EventRef, Expr, LocalPath,
    Path, Rel, Selector, Sequence, Term, TimeWindow, Unit, Which, Window, Workspace, Zone,
};
use crate::ids::{DefinitionIndex, SemanticHash, SetHash};
use crate::model::Value;
use crate::time::Millis;

/// Version of the language's meaning, part of every hash.
pub const LANG: u32 = 1;

/// A definition's canonical form with its name and metadata, keys sorted, for people and tools.
pub fn definition_json(workspace: &Workspace, definition: &Definition) -> Json {
    let mut json = meaning(workspace, definition);
    if let Json::Object(map) = &mut json {
        map.insert("id".into(), json!(definition.name));
        let meta = &definition.meta;
        let mut object = Map::new();
        for (key, value) in [("name", &meta.name), ("description", &meta.description), ("owner", &meta.owner)] {
            if let Some(value) = value {
                object.insert(key.into(), json!(value));
            }
        }
        if !meta.tags.is_empty() {
            object.insert("tags".into(), json!(meta.tags));
        }
        if !object.is_empty() {
            map.insert("meta".into(), Json::Object(object));
        }
    }
    sorted(&json)
}

/// The canonical text of a condition: equal for conditions that mean the same.
pub fn condition_text(workspace: &Workspace, expr: &Expr) -> String {
    bytes(&Canon { workspace: Some(workspace) }.expr(expr))
}

/// The canonical text of a term.
pub fn term_text(workspace: &Workspace, term: &Term) -> String {
    bytes(&Canon { workspace: Some(workspace) }.term(term))
}

/// The canonical text of a selector: equal for selectors that mean the same.
pub fn selector_text(workspace: &Workspace, selector: &Selector) -> String {
    bytes(&Canon { workspace: Some(workspace) }.selector(selector))
}

/// The canonical text of a filter, which refers to nothing outside of the event.
pub fn filter_text(expr: &Expr) -> String {
    bytes(&Canon { workspace: None }.expr(expr))
}

/// First half of the SHA-256 of what a definition means. What it refers to has to stand in `workspace` already, with its hash.
pub(crate) fn semantic_hash(workspace: &Workspace, definition: &Definition) -> SemanticHash {
    SemanticHash(half(&bytes(&meaning(workspace, definition))))
}

/// Identity of a set: catalogue, and name and meaning of each definition. Metadata is outside, since it changes nobody's membership.
pub(crate) fn set_hash(workspace: &Workspace) -> SetHash {
    let definitions: Map<String, Json> = workspace.definitions.iter().map(|d| (d.name.clone(), json!(d.hash.to_string()))).collect();
    let set = json!({"lang": LANG, "catalogue": catalogue_json(&workspace.catalogue), "definitions": definitions});
    SetHash(half(&bytes(&set)))
}

fn half(text: &str) -> [u8; 16] {
    let digest = Sha256::digest(text.as_bytes());
    let mut half = [0u8; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

fn meaning(workspace: &Workspace, definition: &Definition) -> Json {
    let canon = Canon { workspace: Some(workspace) };
    let mut json = canon.definition(&definition.kind);
    if let Json::Object(map) = &mut json {
        map.insert("lang".into(), json!(LANG));
    }
    json
}

/// Keys sorted at every level; serde_json keeps the order of insertion.
fn sorted(json: &Json) -> Json {
    match json {
        Json::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            Json::Object(keys.into_iter().map(|k| (k.clone(), sorted(&map[k]))).collect())
        }
        Json::Array(items) => Json::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn bytes(json: &Json) -> String {
    sorted(json).to_string()
}

/// Sorted by their own bytes, without duplicates.
fn set(items: impl Iterator<Item = Json>) -> Vec<Json> {
    let mut keyed: Vec<(String, Json)> = items.map(|j| (bytes(&j), j)).collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    keyed.dedup_by(|a, b| a.0 == b.0);
    keyed.into_iter().map(|(_, j)| j).collect()
}

struct Canon<'w> {
    /// `None` inside of a filter on its own.
    workspace: Option<&'w Workspace>,
}

impl Canon<'_> {
    fn definition(&self, kind: &DefinitionKind) -> Json {
        match kind {
            DefinitionKind::Segment(s) => {
                let ms = |d: &Option<Millis>| d.map_or(Json::Null, |d| json!(d.0));
                let mut consents: Vec<String> = s.require_consent.iter().map(|p| self.purpose(*p)).collect();
                consents.sort_unstable();
                json!({
                    "kind": "segment",
                    "when": self.expr(&s.when),
                    "exit_when": s.exit_when.as_ref().map_or(Json::Null, |e| self.expr(e)),
                    "enter_after_ms": ms(&s.enter_after),
                    "exit_after_ms": ms(&s.exit_after),
                    "stay_ms": ms(&s.stay),
                    "cooldown_ms": ms(&s.cooldown),
                    "expire_ms": ms(&s.expire),
                    "settle_ms": s.settle.unwrap_or(Millis::ZERO).0,
                    "require_consent": consents,
                    "timezone": match &s.timezone {
                        Zone::Customer => json!({"zone": "customer"}),
                        Zone::Workspace => json!({"zone": "workspace"}),
                        Zone::Named(name) => json!({"zone": "named", "name": name}),
                    },
                    "backfill": match s.backfill {
                        Backfill::State => "state",
                        Backfill::Replay => "replay",
                        Backfill::None => "none",
                    },
                    "emit": s.emit.iter().map(|f| json!({"as": f.name, "value": self.term(&f.term)})).collect::<Vec<_>>(),
                })
            }
            DefinitionKind::Score(s) => json!({
                "kind": "score",
                "half_life_ms": s.half_life.0,
                // In the order of the text: a cap makes it matter.
                "rules": s.rules.iter().map(|r| json!({
                    "of": self.selector(&r.selector),
                    "add": r.add.map_or(Json::Null, |d| json!(d.to_string())),
                })).collect::<Vec<_>>(),
                "cap": s.cap.map_or(Json::Null, |d| json!(d.to_string())),
            }),
            DefinitionKind::Points(p) => {
                // Points of one condition add up, so duplicates stay.
                let mut rules: Vec<Json> = p.rules.iter().map(|(n, e)| json!({"points": n.to_string(), "when": self.expr(e)})).collect();
                rules.sort_by_cached_key(bytes);
                json!({"kind": "points", "rules": rules})
            }
            DefinitionKind::Stages(s) => json!({
                "kind": "stages",
                "stages": s.stages.iter().map(|(name, e)| json!({"stage": name, "when": self.expr(e)})).collect::<Vec<_>>(),
                "otherwise": s.otherwise,
            }),
        }
    }

    fn chain(&self, of: &[Expr], and: bool) -> Vec<Json> {
        // Flat already, but a single operand left over by de-duplication may be a chain of the same kind.
        let mut flat = Vec::new();
        for expr in of {
            match expr {
                Expr::And(inner) if and => flat.extend(self.chain(inner, and)),
                Expr::Or(inner) if !and => flat.extend(self.chain(inner, and)),
                other => flat.push(self.expr(other)),
            }
        }
        set(flat.into_iter())
    }

    fn expr(&self, expr: &Expr) -> Json {
        match expr {
            Expr::And(of) | Expr::Or(of) => {
                let and = matches!(expr, Expr::And(_));
                let mut args = self.chain(of, and);
                if args.len() == 1 { args.swap_remove(0) } else { json!({"op": if and { "and" } else { "or" }, "args": args}) }
            }
            Expr::Not(of) => match &**of {
                Expr::Not(inner) => self.expr(inner),
                other => json!({"op": "not", "of": self.expr(other)}),
            },
            Expr::Everyone => json!({"op": "everyone"}),
            Expr::Compare { left, rel, right, ignore_case } => json!({
                "op": "cmp", "rel": rel_sign(*rel), "left": self.term(left), "right": self.term(right), "ignore_case": ignore_case,
            }),
            Expr::Between { of, low, high } => json!({"op": "range", "of": self.term(of), "low": self.term(low), "high": self.term(high)}),
            Expr::Member { of, values, ignore_case } => json!({
                "op": "member", "of": self.term(of), "values": set(values.iter().map(literal)), "ignore_case": ignore_case,
            }),
            Expr::HalfOpen { of, from, to } => json!({"op": "half_open", "of": self.term(of), "from": literal(from), "to": literal(to)}),
            Expr::HeldFor { of, at_least } => json!({"op": "held", "of": self.expr(of), "ms": at_least.0}),
            Expr::EventIn { which, of, window } => json!({
                "op": "event_in", "ref": which_word(*which), "of": self.selector(of), "window": self.window(window),
            }),
            Expr::NofM { of, rel, count, n, m, unit } => json!({
                "op": "n_of_m", "of": self.selector(of), "rel": rel_sign(*rel), "count": count, "n": n, "m": m, "unit": unit_word(*unit),
            }),
            Expr::Sequence(sequence) => self.sequence(sequence),
            Expr::InSegment(index) => json!({"op": "in_segment", "segment": self.reference(*index)}),
            Expr::InList(list) => json!({"op": "in_list", "list": self.workspace.map(|w| w.catalogue.lists[list.at()].clone())}),
            Expr::Crossed { direction, segment, window } => json!({
                "op": "crossed", "direction": if *direction == Direction::Entered { "entered" } else { "left" },
                "segment": self.reference(*segment), "window": self.window(window),
            }),
            Expr::Consent(purpose) => json!({"op": "consent", "purpose": self.purpose(*purpose)}),
            Expr::TimeIn { of, window } => json!({"op": "time_in", "of": self.term(of), "window": self.time_window(window)}),
            Expr::Anniversary { of, days } => json!({"op": "anniversary", "of": self.term(of), "days": days}),
            Expr::Contains { of, what, ignore_case } => {
                let (op, values) = match what {
                    Containment::One(value) => ("contains", vec![literal(value)]),
                    Containment::Any(values) => ("contains_any", set(values.iter().map(literal))),
                    Containment::All(values) => ("contains_all", set(values.iter().map(literal))),
                };
                json!({"op": op, "of": self.term(of), "values": values, "ignore_case": ignore_case})
            }
            Expr::Has { of, filter } => json!({"op": "has", "of": self.term(of), "filter": self.expr(filter)}),
            Expr::StartsWith { of, prefix, ignore_case } => {
                json!({"op": "starts_with", "of": self.term(of), "text": prefix, "ignore_case": ignore_case})
            }
            Expr::EndsWith { of, suffix, ignore_case } => {
                json!({"op": "ends_with", "of": self.term(of), "text": suffix, "ignore_case": ignore_case})
            }
            Expr::Matches { of, pattern } => json!({"op": "matches", "of": self.term(of), "pattern": pattern}),
            // Floats as text: their shortest form that reads back is exact, whatever a JSON writer does.
            Expr::Near { of, metres, lat, lon } => json!({
                "op": "near", "of": self.term(of), "metres": metres.to_string(), "lat": lat.to_string(), "lon": lon.to_string(),
            }),
            Expr::Empty(of) => json!({"op": "empty", "of": self.term(of)}),
            Expr::Known(of) => json!({"op": "known", "of": self.term(of)}),
            Expr::Rank { of, top, millionths } => json!({
                "op": "rank", "of": self.term(of), "side": if *top { "top" } else { "bottom" }, "millionths": millionths,
            }),
        }
    }

    fn sequence(&self, sequence: &Sequence) -> Json {
        let ms = |d: &Option<Millis>| d.map_or(Json::Null, |d| json!(d.0));
        let steps: Vec<Json> = sequence
            .steps
            .iter()
            .map(|s| {
                json!({
                    "of": self.selector(&s.selector), "absent": s.absent, "within_ms": ms(&s.within), "at_least_later_ms": ms(&s.at_least_later),
                    "without": s.without.as_ref().map_or(Json::Null, |s| self.selector(s)),
                })
            })
            .collect();
        json!({"op": "sequence", "steps": steps, "all_within_ms": ms(&sequence.all_within), "per": sequence.per, "window": self.window(&sequence.window)})
    }

    fn term(&self, term: &Term) -> Json {
        match term {
            Term::Literal(value) => literal(value),
            Term::Path(path) => json!({"t": "path", "path": self.path(path)}),
            Term::Aggregate { function, of, property, per, window } => json!({
                "t": "agg", "function": function_word(*function), "of": self.selector(of), "property": property, "per": per,
                "window": self.window(window),
            }),
            Term::OfEvent { which, of, property, .. } => {
                let property = if property.is_empty() { json!("at") } else { json!(property) };
                json!({"t": which_word(*which), "of": self.selector(of), "property": property})
            }
            Term::Arithmetic { op, left, right } => {
                let sign = match op {
                    ArithmeticOp::Add => "+",
                    ArithmeticOp::Sub => "-",
                    ArithmeticOp::Mul => "*",
                    ArithmeticOp::Div => "/",
                };
                json!({"t": "arith", "op": sign, "left": self.term(left), "right": self.term(right)})
            }
            Term::Score(index) => json!({"t": "score", "of": self.reference(*index)}),
            Term::Points(index) => json!({"t": "points", "of": self.reference(*index)}),
            Term::Stage(index) => json!({"t": "stage", "of": self.reference(*index)}),
            Term::Bucket(salt) => json!({"t": "bucket", "salt": salt}),
            Term::Ntile { n, of } => json!({"t": "ntile", "n": n, "of": self.term(of)}),
            Term::Band { of, bounds } => {
                json!({"t": "band", "of": self.term(of), "bounds": bounds.iter().map(literal).collect::<Vec<_>>()})
            }
            Term::Age(of) => json!({"t": "age", "of": self.term(of)}),
            Term::Key => json!({"t": "key"}),
        }
    }

    /// Name and meaning of another definition.
    fn reference(&self, index: DefinitionIndex) -> Json {
        match self.workspace.and_then(|w| w.definitions.get(index.at())) {
            Some(definition) => json!({"id": definition.name, "hash": definition.hash.to_string()}),
            None => Json::Null,
        }
    }

    fn purpose(&self, index: crate::ids::PurposeIndex) -> String {
        self.workspace.map(|w| w.catalogue.purposes[index.at()].name.clone()).unwrap_or_default()
    }

    fn path(&self, path: &Path) -> Json {
        match path {
            Path::Property { path, .. } => json!(path),
            Path::Trait { index, rest, .. } => {
                let name = self.workspace.map(|w| w.catalogue.traits[index.at()].name.as_str()).unwrap_or_default();
                let head = ["customer", name].into_iter();
                json!(head.chain(rest.iter().map(String::as_str)).collect::<Vec<_>>())
            }
            Path::FirstSeen => json!(["customer", "first_seen"]),
            Path::Cart(cart) => match cart {
                CartPath::Whole => json!(["cart"]),
                CartPath::Value => json!(["cart", "value"]),
                CartPath::Quantity => json!(["cart", "quantity"]),
                CartPath::Items => json!(["cart", "items"]),
                CartPath::ChangedAt => json!(["cart", "changed_at"]),
            },
            Path::Local(local) => match local {
                LocalPath::Time => json!(["local", "time"]),
                LocalPath::Weekday => json!(["local", "weekday"]),
                LocalPath::Hour => json!(["local", "hour"]),
                LocalPath::Date => json!(["local", "date"]),
            },
        }
    }

    /// `activity` and names with `*` stand as the events that they mean, so that a new event of the kind is a new meaning.
    fn selector(&self, selector: &Selector) -> Json {
        let members = selector.members.iter().map(|m| {
            let mut names: Vec<String> = m.events.iter().map(|e| self.event(*e)).collect();
            names.sort_unstable();
            let mut member = json!({"events": names});
            if let (Some(filter), Json::Object(map)) = (&m.filter, &mut member) {
                map.insert("filter".into(), self.expr(filter));
            }
            member
        });
        let mut members = set(members);
        if members.len() == 1 { members.swap_remove(0) } else { json!({"any": members}) }
    }

    fn event(&self, event: EventRef) -> String {
        match event {
            EventRef::Catalogue(index) => self.workspace.map(|w| w.catalogue.events[index.at()].name.clone()).unwrap_or_default(),
            // No event of the catalogue can have a name with a blank before it in this place.
            EventRef::TraitChanged => " trait_changed".into(),
        }
    }

    fn window(&self, window: &Window) -> Json {
        match window {
            Window::Ever => json!({"w": "ever"}),
            Window::Last(d) => json!({"w": "last", "ms": d.0}),
            Window::Older(d) => json!({"w": "older", "ms": d.0}),
            Window::Between { from, to } => json!({"w": "between", "from_ms": from.0, "to_ms": to.0}),
            Window::This(unit) => json!({"w": "this", "unit": unit_word(*unit)}),
            Window::Full { n, unit } => json!({"w": "full", "n": n, "unit": unit_word(*unit)}),
            Window::SinceLast(of) => json!({"w": "since_last", "of": self.selector(of)}),
            Window::Dates { from, to } => json!({"w": "dates", "from": day(*from), "to": to.map_or(Json::Null, day)}),
        }
    }

    fn time_window(&self, window: &TimeWindow) -> Json {
        match window {
            TimeWindow::Past(window) => self.window(window),
            TimeWindow::Next(d) => json!({"w": "next", "ms": d.0}),
            TimeWindow::NextFull { n, unit } => json!({"w": "next_full", "n": n, "unit": unit_word(*unit)}),
        }
    }
}

fn literal(value: &Value) -> Json {
    let (ty, value, unit) = match value {
        Value::Bool(b) => ("bool", json!(b), None),
        Value::Int(n) => ("int", json!(n.to_string()), None),
        Value::Decimal(d) => ("decimal", json!(d.to_string()), None),
        Value::Money(m) => ("money", json!(m.minor.to_string()), Some(m.currency.to_string())),
        Value::Text(text) => ("string", json!(text), None),
        Value::Instant(t) => ("instant", json!(t.0), None),
        Value::Date(days) => ("date", json!(Value::Date(*days).to_string()), None),
        Value::Duration(d) => ("duration", json!(d.0), None),
        // No literal of the language has these types.
        other => ("other", json!(other.to_string()), None),
    };
    let mut json = json!({"t": "lit", "type": ty, "value": value});
    if let (Some(unit), Json::Object(map)) = (unit, &mut json) {
        map.insert("unit".into(), json!(unit));
    }
    json
}

fn day(bound: DayBound) -> Json {
    match bound {
        DayBound::Date(days) => json!(Value::Date(days).to_string()),
        DayBound::Instant(instant) => json!(instant.0),
    }
}

fn rel_sign(rel: Rel) -> &'static str {
    match rel {
        Rel::Eq => "=",
        Rel::Lt => "<",
        Rel::Le => "<=",
        Rel::Gt => ">",
        Rel::Ge => ">=",
    }
}

fn which_word(which: Which) -> &'static str {
    match which {
        Which::First => "first",
        Which::Last => "last",
    }
}

fn function_word(function: Aggregate) -> &'static str {
    match function {
        Aggregate::Count => "count",
        Aggregate::Sum => "sum",
        Aggregate::Avg => "avg",
        Aggregate::Min => "min",
        Aggregate::Max => "max",
        Aggregate::Distinct => "distinct",
    }
}

fn unit_word(unit: Unit) -> &'static str {
    match unit {
        Unit::Session => "session",
        Unit::Day => "day",
        Unit::Week => "week",
        Unit::Month => "month",
        Unit::Year => "year",
    }
}
