//! From what was seen to the text of a catalogue.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::sample::{Fields, Sample, Seen};

/// Words in an event's name that say that somebody else did it.
const DONE_TO: &[&str] = &[
    "sent",
    "delivered",
    "bounced",
    "shipped",
    "dispatched",
    "refunded",
    "suppressed",
    "queued",
    "assigned",
    "expired",
    "scored",
    "impression",
    "charged",
];

/// Last words of names of money.
const MONEY: &[&str] = &[
    "price", "total", "subtotal", "amount", "revenue", "value", "discount", "tax", "shipping", "cost", "fee", "spend", "balance", "dollars",
];

/// Last words of names that are no numbers though they look like it.
const CODES: &[&str] = &["id", "ids", "sku", "code", "zip", "postcode", "phone", "number", "variant", "ean", "isbn", "key", "version"];

/// Words that need back-quotes as names (LANGUAGE.md 3).
const RESERVED: &[&str] = &[
    "and",
    "or",
    "not",
    "any",
    "no",
    "at",
    "exactly",
    "in",
    "for",
    "per",
    "true",
    "false",
    "activity",
    "customer",
    "cart",
    "local",
    "key",
    "trait_changed",
];

/// Occurrences before few distinct texts make an enumeration: another value would be a dead letter.
const ENUM_OCCURRENCES: u64 = 100;
const ENUM_WORDS: usize = 8;

/// The whole file.
pub(super) fn catalogue(sample: &Sample) -> String {
    let mut out = String::from("# A first catalogue, written from a sample. Read it before you rely on it.\n\n");
    let currencies = currencies(sample);
    let currency = currencies.iter().max_by_key(|(_, n)| *n).map_or("EUR", |(code, _)| code.as_str());
    let _ = writeln!(out, "workspace {{ timezone \"UTC\"  currency {currency}  session gap 30m }}\n");
    let guess = Guess { currency: currency.to_string() };
    for (name, fields) in &sample.events {
        guess.event(name, fields, &mut out);
    }
    if !sample.traits.is_empty() {
        let mut taken = BTreeSet::new();
        for (key, seen) in &sample.traits {
            match guess.property(key, seen, None, 0, &mut taken) {
                Some((text, note)) => {
                    let _ = writeln!(out, "trait {text}{}", comment(&note));
                }
                None => {
                    let _ = writeln!(out, "# trait {} was left out: {}", shown(key), why_not(seen));
                }
            }
        }
        out.push('\n');
    }
    for (word, names) in [("purpose", &sample.purposes), ("list", &sample.lists)] {
        for name in names.keys() {
            match ident(name) {
                Some(ident) => {
                    let _ = writeln!(out, "{word} {ident}");
                }
                None => {
                    let _ = writeln!(out, "# {word} {} was left out: such a name cannot be written", shown(name));
                }
            }
        }
        if !names.is_empty() {
            out.push('\n');
        }
    }
    if let Some(cart) = cart(sample) {
        out.push_str(&cart);
    }
    let text = out.trim_end();
    format!("{text}\n")
}

/// Currency codes in properties whose name says so, with counts.
fn currencies(sample: &Sample) -> std::collections::BTreeMap<String, u64> {
    fn walk(fields: &Fields, out: &mut std::collections::BTreeMap<String, u64>) {
        for (key, seen) in &fields.properties {
            if is_currency(key, seen) {
                for (code, n) in seen.distinct.iter().flatten() {
                    *out.entry(code.clone()).or_default() += n;
                }
            }
            if let Some(inner) = &seen.fields {
                walk(inner, out);
            }
            if let Some(inner) = seen.element.as_ref().and_then(|e| e.fields.as_ref()) {
                walk(inner, out);
            }
        }
    }
    let mut out = std::collections::BTreeMap::new();
    sample.events.values().for_each(|fields| walk(fields, &mut out));
    out
}

/// Whether a property holds currency codes, and nothing else.
fn is_currency(key: &str, seen: &Seen) -> bool {
    let codes = |d: &std::collections::BTreeMap<String, u64>| {
        !d.is_empty() && d.keys().all(|code| code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase()))
    };
    last_word(key).starts_with("currency") && seen.texts == seen.count && seen.distinct.as_ref().is_some_and(codes)
}

struct Guess {
    /// The workspace's.
    currency: String,
}

impl Guess {
    fn event(&self, name: &str, fields: &Fields, out: &mut String) {
        let Some(written) = ident(name) else {
            let _ = writeln!(out, "# event {} was left out: such a name cannot be written\n", shown(name));
            return;
        };
        let words: Vec<String> = words(name);
        let done_to = words.iter().any(|w| DONE_TO.contains(&w.as_str()));
        let activity = if done_to { "" } else { " is activity" };
        let mut taken = BTreeSet::new();
        let mut lines = Vec::new();
        for (key, seen) in &fields.properties {
            if seen.count == 0 {
                lines.push((format!("# {} was null in all samples", shown(key)), Vec::new()));
                continue;
            }
            match self.property(key, seen, Some(fields), 1, &mut taken) {
                Some(line) => lines.push(line),
                None => lines.push((format!("# {} was left out: {}", shown(key), why_not(seen)), Vec::new())),
            }
        }
        if lines.is_empty() {
            let _ = writeln!(out, "event {written}{activity} {{ }}\n");
            return;
        }
        let _ = writeln!(out, "event {written}{activity} {{");
        for (text, note) in lines {
            let _ = writeln!(out, "  {text}{}", comment(&note));
        }
        out.push_str("}\n\n");
    }

    /// `name type [from ".."]`, and what should be said about it. `None` where no type fits or no name can be written.
    fn property(
        &self,
        key: &str,
        seen: &Seen,
        siblings: Option<&Fields>,
        depth: usize,
        taken: &mut BTreeSet<String>,
    ) -> Option<(String, Vec<String>)> {
        let mut note = Vec::new();
        let ty = self.ty(key, seen, siblings, depth, &mut note)?;
        let plain = snake(key);
        let (name, from) = if plain == key && key != "at" {
            (ident(key)?, String::new())
        } else {
            let mut name = if plain == "at" { "at_value".to_string() } else { plain };
            while taken.contains(&name) || siblings.is_some_and(|s| s.properties.contains_key(&name)) {
                name.push_str("_2");
            }
            let pointer = key.replace('~', "~0").replace('/', "~1");
            (ident(&name)?, format!(" from {}", serde_json::Value::String(format!("/{pointer}"))))
        };
        taken.insert(name.trim_matches('`').to_string());
        Some((format!("{name} {ty}{from}"), note))
    }

    fn ty(&self, key: &str, seen: &Seen, siblings: Option<&Fields>, depth: usize, note: &mut Vec<String>) -> Option<String> {
        let numbers = seen.integers + seen.fractions;
        let numeric_texts = seen.whole_texts + seen.decimal_texts;
        let last = last_word(key);
        let all = |n: u64| n > 0 && n == seen.count;
        if all(seen.booleans) {
            return Some("bool".into());
        }
        if all(seen.geo) || (last == "location" && seen.geo > 0 && all(seen.objects)) {
            return Some("geo".into());
        }
        if all(numbers + numeric_texts) && MONEY.contains(&last.as_str()) {
            return Some(self.money(siblings, note));
        }
        if all(seen.integers) {
            if let Some(unit) = epoch_unit(key, seen) {
                note.push("guessed from the name and the size of the numbers".into());
                return Some(format!("instant in {unit}"));
            }
            return Some(if CODES.contains(&last.as_str()) { "string".into() } else { "int".into() });
        }
        if all(numbers) {
            return Some("decimal".into());
        }
        if all(seen.instants) {
            return Some("instant".into());
        }
        if all(seen.dates) {
            return Some("date".into());
        }
        if all(seen.decimal_texts + seen.whole_texts) && seen.decimal_texts > 0 && !CODES.contains(&last.as_str()) {
            return Some("decimal".into());
        }
        if all(seen.whole_texts) && ["quantity", "qty", "count"].contains(&last.as_str()) {
            return Some("int".into());
        }
        if all(seen.texts) {
            return Some(enumeration(key, seen, note).unwrap_or_else(|| "string".into()));
        }
        if all(seen.texts + numbers) {
            note.push("numbers and texts were seen".into());
            return Some("string".into());
        }
        if all(seen.lists) {
            let element = seen.element.as_deref().filter(|e| e.count > 0 && e.lists == 0)?;
            return Some(format!("list of {}", self.ty(key, element, None, depth, note)?));
        }
        if all(seen.objects) {
            return self.record(seen.fields.as_deref()?, depth, note);
        }
        None
    }

    fn record(&self, fields: &Fields, depth: usize, note: &mut Vec<String>) -> Option<String> {
        if depth > 3 {
            return None;
        }
        let mut taken = BTreeSet::new();
        let parts: Vec<String> = fields
            .properties
            .iter()
            .filter(|(_, seen)| seen.count > 0)
            .filter_map(|(key, seen)| {
                let (text, own) = self.property(key, seen, Some(fields), depth + 1, &mut taken)?;
                note.extend(own.into_iter().map(|n| format!("{key}: {n}")));
                Some(text)
            })
            .collect();
        (!parts.is_empty()).then(|| format!("record {{ {} }}", parts.join("  ")))
    }

    fn money(&self, siblings: Option<&Fields>, note: &mut Vec<String>) -> String {
        let sibling = siblings.and_then(|s| s.properties.iter().find(|(key, seen)| snake(key) == **key && is_currency(key, seen)));
        match sibling {
            Some((_, seen)) if seen.distinct.as_ref().is_some_and(|d| d.len() == 1) => {
                let code = seen.distinct.iter().flatten().next().map_or(self.currency.as_str(), |(code, _)| code);
                note.push(format!("every sample was in {code}; for several currencies write `money in currency`"));
                format!("money in {code}")
            }
            Some((key, _)) => format!("money in {key}"),
            None => {
                note.push("taken as money by its name".into());
                format!("money in {}", self.currency)
            }
        }
    }
}

fn enumeration(key: &str, seen: &Seen, note: &mut Vec<String>) -> Option<String> {
    let distinct = seen.distinct.as_ref()?;
    let word = |w: &String| {
        !w.is_empty()
            && w.len() <= 24
            && w.chars().all(|c| c.is_alphanumeric() || "_- ".contains(c))
            && !w.bytes().all(|b| b.is_ascii_digit())
    };
    let last = last_word(key);
    let open = CODES.contains(&last.as_str())
        || ["currency", "query", "name", "title", "email", "country", "source", "url"].contains(&last.as_str());
    let few = seen.texts >= ENUM_OCCURRENCES && distinct.len() <= ENUM_WORDS && distinct.values().all(|n| *n >= 3);
    if open || !few || !distinct.keys().all(word) {
        return None;
    }
    note.push("another word would be a dead letter; write `string` if there may be more".into());
    let words: Vec<String> = distinct.keys().map(|w| serde_json::Value::String(w.clone()).to_string()).collect();
    Some(format!("enum [{}]", words.join(", ")))
}

/// Whole numbers that are instants by their name and size (years 2001 to 2100).
fn epoch_unit(key: &str, seen: &Seen) -> Option<&'static str> {
    let last = last_word(key);
    if !["at", "time", "timestamp", "ts", "date"].contains(&last.as_str()) {
        return None;
    }
    if seen.least >= 1e12 && seen.greatest < 4.2e12 {
        Some("ms")
    } else if seen.least >= 1e9 && seen.greatest < 4.2e9 {
        Some("s")
    } else {
        None
    }
}

/// Events that fill and empty the cart.
fn cart(sample: &Sample) -> Option<String> {
    let line = |fields: &Fields| fields.properties.keys().any(|k| ["product_id", "sku"].contains(&snake(k).as_str()));
    let lines = |fields: &Fields| {
        fields.properties.iter().find_map(|(key, seen)| {
            let inner = seen.element.as_ref()?.fields.as_deref()?;
            (seen.lists == seen.count && line(inner)).then(|| ident(&snake(key))).flatten()
        })
    };
    let mut rules = Vec::new();
    for (name, fields) in &sample.events {
        let words = words(name);
        let has = |w: &[&str]| words.iter().any(|word| w.contains(&word.as_str()));
        let Some(written) = ident(name) else { continue };
        if has(&["cart", "basket"]) && has(&["add", "added"]) && line(fields) {
            rules.push(format!("  add {written}"));
        } else if has(&["cart", "basket"]) && has(&["remove", "removed"]) && line(fields) {
            rules.push(format!("  remove {written}"));
        } else if has(&["cart", "basket"]) && has(&["clear", "cleared", "emptied"]) {
            rules.push(format!("  clear {written}"));
        } else if has(&["cart", "basket"]) && has(&["updated", "changed", "set"]) {
            if let Some(lines) = lines(fields) {
                rules.push(format!("  set {written} lines {lines}"));
            }
        } else if has(&["order", "purchase"]) && has(&["completed", "placed", "purchase", "created"]) {
            rules.push(match lines(fields) {
                Some(lines) => format!("  buy {written} lines {lines}"),
                None => format!("  buy {written}"),
            });
        }
    }
    let fills = rules.iter().any(|r| r.starts_with("  add") || r.starts_with("  set"));
    fills.then(|| format!("cart {{\n{}\n}}\n", rules.join("\n")))
}

/// `OrderCompleted`, `order-completed`, `Order Completed` are two words each.
fn words(name: &str) -> Vec<String> {
    snake(name).split('_').filter(|w| !w.is_empty()).map(String::from).collect()
}

fn last_word(name: &str) -> String {
    words(name).pop().unwrap_or_default()
}

/// Lower case with underscores; what is no letter or digit of ASCII becomes an underscore.
fn snake(name: &str) -> String {
    let mut out = String::new();
    let chars: Vec<char> = name.chars().collect();
    for (i, c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|j| chars[j]);
        let after = chars.get(i + 1);
        if c.is_ascii_uppercase() {
            let starts = before.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
                || (before.is_some_and(|b| b.is_ascii_uppercase()) && after.is_some_and(char::is_ascii_lowercase));
            if starts {
                out.push('_');
            }
            out.push(c.to_ascii_lowercase());
        } else if c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_' {
            out.push(*c);
        } else if !out.ends_with('_') && !out.is_empty() {
            out.push('_');
        }
    }
    // A name that is nothing else keeps its own form.
    if out.trim_matches('_').is_empty() { name.to_string() } else { out }
}

/// A name as the language writes it: bare, or in back-quotes. `None` where neither can hold it.
fn ident(name: &str) -> Option<String> {
    let bare = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && name.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && !RESERVED.contains(&name);
    if bare {
        return Some(name.into());
    }
    // A star would stand for many events.
    let quotable = !name.is_empty() && name.len() <= 200 && !name.chars().any(|c| c == '`' || c == '*' || c.is_control());
    quotable.then(|| format!("`{name}`"))
}

fn why_not(seen: &Seen) -> &'static str {
    if seen.lists > 0 && seen.lists == seen.count { "its lists are empty, nested or mixed" } else { "its values are of several kinds" }
}

fn comment(notes: &[String]) -> String {
    if notes.is_empty() { String::new() } else { format!("   # {}", notes.join("; ")) }
}

/// A name in a comment: one line, not too long.
fn shown(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(80).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infer(lines: &str) -> String {
        let mut sample = Sample::default();
        lines.lines().for_each(|l| sample.add(l.as_bytes()));
        catalogue(&sample)
    }

    #[test]
    fn names_become_words() {
        for (name, want) in
            [("productId", "product_id"), ("Order Completed", "order_completed"), ("URLPath", "url_path"), ("a.b", "a_b"), ("é", "é")]
        {
            assert_eq!(snake(name), want);
        }
    }

    #[test]
    fn types_are_guessed_from_values_and_names() {
        let text = infer(concat!(
            r#"{"customer":"a","event":"Order Completed","properties":{"orderId":"1001","total":"12.50","currency":"EUR","when":{"lat":1.0,"lon":2},"placed_at":1767571200000,"paid":true,"tags":["x"],"note":7,"lines":[{"product_id":"p","quantity":2,"price":9.99}]}}"#,
            "\n",
            r#"{"customer":"a","event":"Order Completed","properties":{"orderId":"1002","total":"12.50","currency":"EUR","day":"2026-01-31","seen":"2026-01-31T00:00:00Z","note":"x","mixed":[1,"a",true],"at":1,"ratio":0.5}}"#,
            "\n",
            r#"{"customer":"a","event":"email_sent","properties":null}"#,
            "\n",
            r#"{"customer":"a","event":"cart_add","properties":{"sku":"s","price":1}}"#,
            "\n",
            r#"{"customer":"a","traits":{"country":"SE","Birth Date":"1990-02-03"}}"#,
            "\n",
            r#"{"customer":"a","consent":{"purpose":"email","granted":true}}"#,
            "\nnoise\n",
        ));
        for want in [
            "event `Order Completed` is activity {",
            "order_id string from \"/orderId\"",
            "total money in EUR",
            "when geo",
            "placed_at instant in ms",
            "paid bool",
            "tags list of string",
            "note string",
            "day date",
            "seen instant\n",
            "ratio decimal",
            "at_value int from \"/at\"",
            "lines list of record { price money in EUR  product_id string  quantity int }",
            "# mixed was left out",
            "event email_sent { }",
            "trait birth_date date from \"/Birth Date\"",
            "purpose email\n",
            "cart {\n  buy `Order Completed` lines lines\n  add cart_add\n}",
        ] {
            assert!(text.contains(want), "{want} is not in\n{text}");
        }
    }

    #[test]
    fn few_words_often_seen_are_an_enumeration() {
        let mut lines = String::new();
        for i in 0..150 {
            let kind = ["home", "landing", "category"][i % 3];
            lines.push_str(&format!(
                "{{\"customer\":\"c\",\"event\":\"page\",\"properties\":{{\"kind\":\"{kind}\",\"query\":\"{kind}\",\"n\":\"{i}\"}}}}\n"
            ));
        }
        let text = infer(&lines);
        assert!(text.contains("kind enum [\"category\", \"home\", \"landing\"]"), "{text}");
        assert!(text.contains("query string") && text.contains("n string"), "{text}");
    }

    #[test]
    fn what_is_inferred_from_the_shop_compiles() {
        let mut sample = Sample::default();
        let mut line = Vec::new();
        for record in crate::shop::Shop::new(crate::shop::ShopSettings::default()).take(20_000) {
            line.clear();
            record.write_json(true, &mut line);
            sample.add(&line);
        }
        let text = catalogue(&sample);
        let compiled = crate::lang::compile(&[crate::lang::SourceFile::new("catalogue.seg", text.clone())]);
        assert!(compiled.workspace.is_some(), "{:?}\n{text}", compiled.diagnostics);
        assert!(text.contains("buy order_completed lines lines") && text.contains("trait country string"), "{text}");
    }

    #[test]
    fn odd_names_still_give_text_that_compiles() {
        let text = infer(concat!(
            r#"{"customer":"a","event":"any","properties":{"and":1,"A":1,"a":2,"1x":3,"":4,"b/c~d":5,"ü":6,"a`b":7,"price*":"1"}}"#,
            "\n",
            r#"{"customer":"a","event":"a`b"}"#,
            "\n",
            r#"{"customer":"a","event":""}"#,
            "\n",
            r#"{"customer":"a","event":"Page *"}"#,
            "\n",
            r#"{"customer":"a","list":{"name":"VIP","member":true}}"#,
        ));
        let compiled = crate::lang::compile(&[crate::lang::SourceFile::new("catalogue.seg", text.clone())]);
        assert!(compiled.workspace.is_some(), "{:#?}\n{text}", compiled.diagnostics);
    }
}
