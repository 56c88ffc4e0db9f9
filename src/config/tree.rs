//! The strict reader: TOML with places, overrides from the environment, references, and the list of everything that is wrong.
//!
//! A [`Table`] learns which keys are known from the calls that ask for them, so the list in a message can never differ from what is read.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::Secret;
use super::units::{parse_duration, parse_size, show_size};
use crate::time::Millis;

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    pub problems: Vec<Problem>,
}

/// One thing that is wrong, where, and a way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `file:line:column`, the name of an environment variable, or the file alone.
    pub place: String,
    pub message: String,
    pub help: Option<String>,
}

impl Error {
    pub(super) fn single(place: &str, message: String) -> Error {
        Error { problems: vec![Problem { place: place.into(), message, help: None }] }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let newline = if i > 0 { "\n" } else { "" };
            write!(f, "{newline}{}: {}", problem.place, problem.message)?;
            if let Some(help) = &problem.help {
                write!(f, "\n  = help: {help}")?;
            }
        }
        Ok(())
    }
}

/// Keys of the whole file, for a key that stands in the wrong table.
const HOMES: &[(&str, &[&str])] = &[
    ("kafka", &["brokers", "group", "instance", "client"]),
    ("input", &["topic", "format", "partitioner"]),
    ("output", &["changes", "memberships", "journal", "dead_letters", "definitions"]),
    ("segments", &["directory"]),
    ("engine", &["workers", "clock_guard", "commit_interval", "unknown_events", "wrong_type", "customer_rate", "on_mismatch", "max_age"]),
    ("snapshot", &["url"]),
    ("mapping", &["delimiter", "columns", "each", "customer", "time", "time_format", "properties", "traits", "values", "leave_out"]),
    ("log", &["filter"]),
];

#[derive(Clone, Debug)]
struct Item {
    node: Node,
    place: String,
    /// Path from the root, as messages name it.
    path: String,
}

#[derive(Clone, Debug)]
enum Node {
    Text(String),
    /// Numbers and booleans as written; from the environment everything is text.
    Word(String),
    List(Vec<Item>),
    Table(Vec<(String, String, Item)>),
}

/// Owns the tree and collects problems.
pub(super) struct Reader<'e> {
    file: String,
    folder: PathBuf,
    environment: &'e [(String, String)],
    root: Item,
    problems: RefCell<Vec<Problem>>,
}

/// One table while it is read.
pub(super) struct Table<'r> {
    reader: &'r Reader<'r>,
    item: Option<&'r Item>,
    path: String,
    known: RefCell<Vec<&'static str>>,
}

impl<'e> Reader<'e> {
    /// **Errors:** text that is no TOML.
    pub(super) fn new(file: &str, text: &str, folder: &Path, environment: &'e [(String, String)]) -> Result<Reader<'e>, Error> {
        let parsed = DeTable::parse(text).map_err(|e| {
            let place = e.span().map_or_else(|| file.to_string(), |span| at(file, text, span.start));
            Error::single(&place, e.message().trim().to_lowercase())
        })?;
        let mut root = Item { node: Node::Table(members(parsed.get_ref(), file, text, "")), place: file.into(), path: String::new() };
        let mut problems = Vec::new();
        // Sorted, so that a list grows from its first place on and messages come in one order.
        let mut overrides: Vec<(Vec<String>, &str, &str)> = environment
            .iter()
            .filter_map(|(name, value)| {
                let rest = name.strip_prefix("SEGMENTD_")?;
                rest.contains("__").then(|| (rest.split("__").map(str::to_lowercase).collect(), name.as_str(), value.as_str()))
            })
            .collect();
        overrides.sort();
        for (mut path, name, value) in overrides {
            if path.len() >= 3 && path[0] == "kafka" && path[1] == "client" {
                let property = path.split_off(2).join("_").replace('_', ".");
                path.push(property);
            }
            if path.iter().any(String::is_empty) {
                problems.push(Problem { place: name.into(), message: "names no key".into(), help: None });
            } else if let Err(message) = put(&mut root, &path, name, value) {
                problems.push(Problem { place: name.into(), message, help: None });
            }
        }
        Ok(Reader { file: file.into(), folder: folder.into(), environment, root, problems: RefCell::new(problems) })
    }

    pub(super) fn root(&self) -> Table<'_> {
        Table { reader: self, item: Some(&self.root), path: String::new(), known: RefCell::default() }
    }

    /// **Errors:** all problems that were found on the way.
    pub(super) fn finish(self) -> Result<(), Error> {
        let problems = self.problems.into_inner();
        if problems.is_empty() { Ok(()) } else { Err(Error { problems }) }
    }

    fn report(&self, place: &str, message: String, help: Option<String>) {
        self.problems.borrow_mut().push(Problem { place: place.into(), message, help });
    }

    /// Replaces `${env:NAME}` and `${file:PATH}`; `$${` stands for `${`. Never repeats the text in a message: it may be a secret.
    fn resolve(&self, item: &Item, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            if rest[..start].ends_with('$') {
                out.push_str(&rest[..start - 1]);
                out.push_str("${");
                rest = &rest[start + 2..];
                continue;
            }
            out.push_str(&rest[..start]);
            let Some(end) = rest[start..].find('}') else {
                self.report(&item.place, format!("`{}` has `${{` without `}}`", item.path), Some("`$${` stands for `${` itself".into()));
                return out;
            };
            let reference = &rest[start + 2..start + end];
            rest = &rest[start + end + 1..];
            match reference.split_once(':') {
                Some(("env", name)) => match self.environment.iter().find(|(n, _)| n == name) {
                    Some((_, value)) => out.push_str(value),
                    None => self.report(&item.place, format!("`{}`: the environment variable {name} is not set", item.path), None),
                },
                Some(("file", name)) => {
                    let path = self.folder.join(name);
                    match std::fs::read_to_string(&path) {
                        Ok(content) => out.push_str(content.trim_end_matches(['\r', '\n'])),
                        Err(e) => self.report(&item.place, format!("`{}`: {} cannot be read: {e}", item.path, path.display()), None),
                    }
                }
                _ => self.report(
                    &item.place,
                    format!("`{}` has a reference that is neither `${{env:NAME}}` nor `${{file:PATH}}`", item.path),
                    Some("`$${` stands for `${` itself".into()),
                ),
            }
        }
        out.push_str(rest);
        out
    }
}

impl<'r> Table<'r> {
    fn find(&self, key: &'static str) -> Option<&'r Item> {
        self.known.borrow_mut().push(key);
        match &self.item?.node {
            Node::Table(members) => members.iter().rev().find(|(name, _, _)| name == key).map(|(_, _, item)| item),
            _ => None,
        }
    }

    fn child_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    /// A table below; an absent one reads as empty.
    pub(super) fn table(&self, key: &'static str) -> Table<'r> {
        let item = self.find(key).filter(|item| {
            let is_table = matches!(item.node, Node::Table(_));
            if !is_table {
                self.reader.report(&item.place, format!("`{}` is a table: [{}]", item.path, item.path), None);
            }
            is_table
        });
        Table { reader: self.reader, item, path: self.child_path(key), known: RefCell::default() }
    }

    /// The tables of a list of tables.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Table<'r>> {
        let Some(item) = self.find(key) else { return Vec::new() };
        let items = match &item.node {
            Node::List(items) if items.iter().all(|i| matches!(i.node, Node::Table(_))) => items.as_slice(),
            _ => {
                self.reader.report(&item.place, format!("`{}` is a list of tables: [[{}]]", item.path, item.path), None);
                return Vec::new();
            }
        };
        items.iter().map(|i| Table { reader: self.reader, item: Some(i), path: self.child_path(key), known: RefCell::default() }).collect()
    }

    /// The tables of a table of free names, by name.
    pub(super) fn named(&self, key: &'static str) -> Vec<(String, Table<'r>)> {
        let table = self.table(key);
        let Some(Item { node: Node::Table(members), .. }) = table.item else { return Vec::new() };
        let child = |name: &str, item: &'r Item| {
            let is_table = matches!(item.node, Node::Table(_));
            if !is_table {
                self.reader.report(&item.place, format!("`{}` is a table: [{}]", item.path, item.path), None);
            }
            Table { reader: self.reader, item: is_table.then_some(item), path: table.child_path(name), known: RefCell::default() }
        };
        members.iter().map(|(name, _, item)| (name.clone(), child(name, item))).collect()
    }

    /// A table of free names, with a text or a list of texts each.
    pub(super) fn lists(&self, key: &'static str) -> Vec<(String, Vec<String>)> {
        let table = self.table(key);
        let Some(Item { node: Node::Table(members), .. }) = table.item else { return Vec::new() };
        members.iter().map(|(name, _, item)| (name.clone(), self.texts_of(item))).collect()
    }

    /// The members of this table: free names with a text each, which may be empty.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        let Some(Item { node: Node::Table(members), .. }) = self.item else { return Vec::new() };
        let pair = |(name, _, item): &'r (String, String, Item)| match &item.node {
            Node::Text(_) | Node::Word(_) => Some((name.clone(), self.texts_of(item).pop()?)),
            _ => {
                self.reader.report(&item.place, format!("`{}` is a text in quotes", item.path), None);
                None
            }
        };
        members.iter().filter_map(pair).collect()
    }

    /// A text, or a list of texts of which the first that counts is meant; numbers and truths as written. Absent: empty.
    pub(super) fn texts(&self, key: &'static str) -> Vec<String> {
        self.find(key).map_or_else(Vec::new, |item| self.texts_of(item))
    }

    fn texts_of(&self, item: &Item) -> Vec<String> {
        match &item.node {
            Node::Text(text) => vec![self.reader.resolve(item, text)],
            Node::Word(word) => vec![word.clone()],
            Node::List(items) if items.iter().all(|i| matches!(i.node, Node::Text(_) | Node::Word(_))) => {
                items.iter().flat_map(|item| self.texts_of(item)).collect()
            }
            Node::List(_) | Node::Table(_) => {
                self.reader.report(&item.place, format!("`{}` is a text in quotes or a list of texts", item.path), None);
                Vec::new()
            }
        }
    }

    /// Whether the table is there.
    pub(super) fn is_present(&self) -> bool {
        self.item.is_some()
    }

    /// A table of free names and scalar values, nested tables joined by points.
    pub(super) fn flat(&self, key: &'static str) -> Vec<(String, Secret)> {
        fn walk(reader: &Reader<'_>, item: &Item, name: &str, out: &mut Vec<(String, Secret)>) {
            match &item.node {
                Node::Table(members) => {
                    for (key, _, member) in members {
                        walk(reader, member, &if name.is_empty() { key.clone() } else { format!("{name}.{key}") }, out);
                    }
                }
                Node::Text(text) => put(name, reader.resolve(item, text), out),
                Node::Word(word) => put(name, word.clone(), out),
                Node::List(_) => reader.report(&item.place, format!("`{}` is a list", item.path), Some("write it as one text".into())),
            }
        }
        // An override comes later and takes the place of what the file says.
        fn put(name: &str, value: String, out: &mut Vec<(String, Secret)>) {
            match out.iter_mut().find(|(n, _)| n == name) {
                Some(entry) => entry.1 = Secret::new(value),
                None => out.push((name.into(), Secret::new(value))),
            }
        }
        let mut out = Vec::new();
        if let Some(item) = self.find(key) {
            match item.node {
                Node::Table(_) => walk(self.reader, item, "", &mut out),
                _ => self.reader.report(&item.place, format!("`{}` is a table: [{}]", item.path, item.path), None),
            }
        }
        out
    }

    pub(super) fn problem(&self, message: impl Into<String>, help: Option<&str>) {
        self.reader.report(&self.reader.file, message.into(), help.map(String::from));
    }

    /// A problem with the value of `key`, where it stands.
    pub(super) fn problem_at(&self, key: &'static str, message: &str, help: Option<&str>) {
        if let Some(item) = self.find(key) {
            self.reader.report(&item.place, format!("`{}`: {message}", item.path), help.map(String::from));
        }
    }

    /// A text that is not empty.
    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        let item = self.find(key)?;
        match &item.node {
            Node::Text(text) => {
                let text = self.reader.resolve(item, text);
                if text.is_empty() {
                    self.reader.report(&item.place, format!("`{}` is empty", item.path), None);
                }
                Some(text)
            }
            _ => {
                self.reader.report(&item.place, format!("`{}` is a text in quotes", item.path), None);
                None
            }
        }
    }

    pub(super) fn required_text(&self, key: &'static str, help: &str) -> String {
        if self.find(key).is_none() {
            let place = self.item.map_or(self.reader.file.as_str(), |item| item.place.as_str());
            self.reader.report(place, format!("`{}` is missing", self.child_path(key)), Some(help.into()));
            return String::new();
        }
        self.text(key).unwrap_or_default()
    }

    fn parsed<T>(&self, key: &'static str, what: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let item = self.find(key)?;
        let Node::Text(text) = &item.node else {
            self.reader.report(&item.place, format!("`{}` is {what}", item.path), None);
            return None;
        };
        match parse(&self.reader.resolve(item, text)) {
            Ok(value) => Some(value),
            Err(message) => {
                self.reader.report(&item.place, format!("`{}`: {message}", item.path), None);
                None
            }
        }
    }

    pub(super) fn duration(&self, key: &'static str) -> Option<Millis> {
        self.parsed(key, "a duration in quotes with a unit, for example \"20ms\"", parse_duration)
    }

    /// `Some(None)` for `"off"`.
    pub(super) fn duration_or_off(&self, key: &'static str) -> Option<Option<Millis>> {
        self.parsed(key, "a duration in quotes with a unit, or \"off\"", |text| match text {
            "off" => Ok(None),
            text => parse_duration(text).map(Some),
        })
    }

    pub(super) fn size(&self, key: &'static str, least: usize, most: usize) -> Option<usize> {
        let size = self.parsed(key, "a size in quotes with a unit, for example \"4MiB\"", parse_size)?;
        self.in_bounds(key, size, least, most, show_size)
    }

    pub(super) fn listen(&self, key: &'static str) -> Option<Option<SocketAddr>> {
        self.parsed(key, "an address in quotes, for example \"127.0.0.1:8080\", or \"off\"", |text| match text {
            "off" => Ok(None),
            text => text.parse().map(Some).map_err(|_| format!("\"{text}\" is no address with a port, for example \"0.0.0.0:8080\"")),
        })
    }

    pub(super) fn count(&self, key: &'static str, least: usize, most: usize) -> Option<usize> {
        let item = self.find(key)?;
        let number = match &item.node {
            Node::Word(word) => word.replace('_', "").parse().ok(),
            Node::Text(text) => self.reader.resolve(item, text).parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.reader.report(&item.place, format!("`{}` is a whole number", item.path), None);
            return None;
        };
        self.in_bounds(key, number, least, most, |n| n.to_string())
    }

    fn in_bounds(&self, key: &'static str, n: usize, least: usize, most: usize, show: impl Fn(usize) -> String) -> Option<usize> {
        let item = self.find(key)?;
        if n < least {
            self.reader.report(&item.place, format!("`{}` must be at least {}", item.path, show(least)), None);
        } else if n > most {
            self.reader.report(&item.place, format!("`{}` must be at most {}", item.path, show(most)), None);
        }
        Some(n)
    }

    /// One of a few words.
    pub(super) fn word<T: Clone>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let item = self.find(key)?;
        let list = || words.iter().map(|(w, _)| format!("\"{w}\"")).collect::<Vec<_>>().join(", ");
        let Node::Text(text) = &item.node else {
            self.reader.report(&item.place, format!("`{}` is one of {}", item.path, list()), None);
            return None;
        };
        let text = self.reader.resolve(item, text);
        let found = words.iter().find(|(w, _)| *w == text);
        if found.is_none() {
            let help = nearest(&text, words.iter().map(|(w, _)| *w)).map(|w| format!("did you mean \"{w}\"?"));
            self.reader.report(&item.place, format!("`{}` is one of {}, not \"{text}\"", item.path, list()), help);
        }
        found.map(|(_, value)| value.clone())
    }

    /// Reports the keys that nothing asked for.
    pub(super) fn done(&self) {
        let Some(Item { node: Node::Table(members), .. }) = self.item else { return };
        let mut known = self.known.borrow().clone();
        known.dedup();
        for (name, place, _) in members {
            if known.contains(&name.as_str()) {
                continue;
            }
            let near = nearest(name, known.iter().copied()).map(|k| format!("did you mean `{k}`?"));
            let elsewhere = || {
                let home = HOMES.iter().find(|(_, keys)| keys.contains(&name.as_str()))?;
                Some(format!("there is `{}.{name}`", home.0))
            };
            let all = || {
                let mut keys: Vec<&str> = known.clone();
                keys.sort_unstable();
                keys.dedup();
                format!("known here: {}", keys.join(", "))
            };
            let help = near.or_else(elsewhere).unwrap_or_else(all);
            self.reader.report(place, format!("unknown key `{}`", self.child_path(name)), Some(help));
        }
    }
}

/// `file:line:column` of a byte, both from 1, columns in characters.
fn at(file: &str, text: &str, byte: usize) -> String {
    let before = &text[..byte.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    format!("{file}:{line}:{column}")
}

fn members(table: &DeTable<'_>, file: &str, text: &str, path: &str) -> Vec<(String, String, Item)> {
    let mut sorted: Vec<_> = table.iter().collect();
    sorted.sort_by_key(|(key, _)| key.span().start);
    sorted
        .into_iter()
        .map(|(key, value)| {
            let name = key.get_ref().to_string();
            let own = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let item = item(value.get_ref(), at(file, text, value.span().start), file, text, &own);
            (name, at(file, text, key.span().start), item)
        })
        .collect()
}

fn item(value: &DeValue<'_>, place: String, file: &str, text: &str, path: &str) -> Item {
    let node = match value {
        DeValue::String(s) => Node::Text(s.to_string()),
        DeValue::Integer(n) => {
            Node::Word(i64::from_str_radix(n.as_str(), n.radix()).map_or_else(|_| n.as_str().to_string(), |n| n.to_string()))
        }
        DeValue::Float(f) => Node::Word(f.as_str().to_string()),
        DeValue::Boolean(b) => Node::Word(b.to_string()),
        DeValue::Datetime(d) => Node::Word(d.to_string()),
        DeValue::Array(items) => {
            Node::List(items.iter().map(|v| item(v.get_ref(), at(file, text, v.span().start), file, text, path)).collect())
        }
        DeValue::Table(table) => Node::Table(members(table, file, text, path)),
    };
    Item { node, place, path: path.into() }
}

/// Sets one value of an override; makes what is missing on the way.
fn put(root: &mut Item, path: &[String], variable: &str, value: &str) -> Result<(), String> {
    let Some((key, rest)) = path.split_first() else {
        *root = Item { node: Node::Text(value.into()), place: variable.into(), path: root.path.clone() };
        return Ok(());
    };
    let child_path = if root.path.is_empty() { key.clone() } else { format!("{}.{key}", root.path) };
    let index = key.parse::<usize>().ok();
    let fresh = |path: String| {
        // What stands below a number is a list.
        let list = rest.first().is_some_and(|k| k.parse::<usize>().is_ok());
        let node = if list { Node::List(Vec::new()) } else { Node::Table(Vec::new()) };
        Item { node, place: variable.into(), path }
    };
    let (parent, place) = (root.path.clone(), root.place.clone());
    match (&mut root.node, index) {
        (Node::List(items), Some(i)) if i <= items.len() => {
            if i == items.len() {
                items.push(fresh(parent));
            }
            put(&mut items[i], rest, variable, value)
        }
        (Node::List(items), Some(i)) => Err(format!("`{parent}` has {} entries; {i} would leave a gap", items.len())),
        (Node::Table(members), _) => {
            let at = members.iter().position(|(name, _, _)| name == key).unwrap_or_else(|| {
                members.push((key.clone(), variable.into(), fresh(child_path)));
                members.len() - 1
            });
            put(&mut members[at].2, rest, variable, value)
        }
        _ => Err(format!("`{parent}` at {place} has nothing below it")),
    }
}

/// The nearest of `known`, if its edit distance is at most a third of the name, at least one.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    known.into_iter().map(|k| (distance(name, k), k)).filter(|(d, _)| *d <= limit).min().map(|(_, k)| k)
}

/// Edit distance in which swapped neighbours count one.
///
/// **Source:** optimal string alignment, as in Boytsov, "Indexing methods for approximate dictionary searching" (2011).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let substitute = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitute.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}
