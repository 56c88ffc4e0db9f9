//! Random catalogues and definitions. Few lengths, few selectors and few literals, so that windows share features and deadlines meet.

use std::fmt;

use super::{Item, ItemBody, Tree};
use crate::segtest::script::parse_duration;
use crate::time::Millis;

/// The lengths of time that definitions and logs of one scenario share.
pub struct Lengths {
    all: Vec<String>,
    /// All within some milliseconds, where the oracle steps through every one.
    pub tiny: bool,
}

impl Lengths {
    const ALL: &[&str] = &["1m", "5m", "9m59s999ms", "10m", "11m", "30m", "1h", "90m", "2h", "1d", "3d"];

    const TINY: &[&str] = &["1ms", "3ms", "5ms", "6ms", "10ms", "20ms"];

    pub fn choose(rng: &mut fastrand::Rng) -> Lengths {
        let tiny = rng.u8(..4) == 0;
        let from = if tiny { Self::TINY } else { Self::ALL };
        Lengths { all: (0..rng.usize(2..4)).map(|_| from[rng.usize(..from.len())].to_string()).collect(), tiny }
    }

    pub fn one<'a>(&'a self, rng: &mut fastrand::Rng) -> &'a str {
        &self.all[rng.usize(..self.all.len())]
    }

    pub fn millis(&self, rng: &mut fastrand::Rng) -> Millis {
        parse_duration(self.one(rng)).expect("the lengths are durations")
    }

    /// Two different ones in order, or one and its double.
    fn two(&self, rng: &mut fastrand::Rng) -> (String, String) {
        let (a, b) = (self.millis(rng), self.millis(rng));
        match a.cmp(&b) {
            std::cmp::Ordering::Less => (a.to_string(), b.to_string()),
            std::cmp::Ordering::Greater => (b.to_string(), a.to_string()),
            std::cmp::Ordering::Equal => (a.to_string(), Millis(2 * a.0).to_string()),
        }
    }
}

/// What may occur: what the log generator needs to know of the catalogue.
pub struct Catalogue {
    pub cart: bool,
    pub cart_lines: bool,
    pub dedup: bool,
    pub lateness: bool,
}

impl fmt::Display for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dedup = if self.dedup { " dedup 3h" } else { "" };
        let lateness = if self.lateness { " lateness 1h" } else { "" };
        writeln!(f, "event a is activity {{ n int  m money in EUR  s string  w instant  q bool  d decimal{dedup} }}")?;
        writeln!(f, "event b is activity {{ n int  m money in EUR  s string  v money in cur  cur string }}")?;
        writeln!(f, "event c {{ n int  tags list of string }}")?;
        writeln!(
            f,
            "trait country string\ntrait age int\ntrait signup instant\ntrait vip bool\ntrait rank decimal\ntrait tags list of string"
        )?;
        writeln!(f, "purpose mail\nlist vips")?;
        if self.cart {
            let buy = if self.cart_lines { " lines lines" } else { "" };
            writeln!(f, "event add is activity {{ product_id string  quantity int  price money in EUR  category string{lateness} }}")?;
            writeln!(f, "event del is activity {{ product_id string  quantity int{lateness} }}")?;
            writeln!(f, "event buy {{ m money in EUR  lines list of record {{ product_id string  quantity int }}{lateness} }}")?;
            writeln!(f, "event put {{ lines list of record {{ product_id string  quantity int  price money in EUR }}{lateness} }}")?;
            writeln!(f, "event clr {{ n int{lateness} }}")?;
            writeln!(f, "cart {{ add add  remove del  buy buy{buy}  set put lines lines  clear clr }}")?;
        }
        Ok(())
    }
}

struct Writer<'a> {
    rng: &'a mut fastrand::Rng,
    lengths: &'a Lengths,
    catalogue: &'a Catalogue,
    /// Reused, so that segments share features.
    selectors: Vec<String>,
    scores: Vec<String>,
    segments: Vec<String>,
}

pub fn generate(rng: &mut fastrand::Rng, lengths: &Lengths) -> (Catalogue, Vec<Item>) {
    let catalogue = Catalogue { cart: rng.u8(..3) == 0, cart_lines: rng.bool(), dedup: rng.u8(..4) == 0, lateness: rng.u8(..4) == 0 };
    let n_scores = [0, 0, 1, 2][rng.usize(..4)];
    let n_segments = if rng.u8(..6) == 0 { rng.usize(5..10) } else { rng.usize(1..5) };
    let mut writer = Writer { rng, lengths, catalogue: &catalogue, selectors: Vec::new(), scores: Vec::new(), segments: Vec::new() };
    let mut items = Vec::new();
    for i in 0..n_scores {
        let item = writer.score(format!("q{i}"));
        writer.scores.push(item.name.clone());
        items.push(item);
    }
    for i in 0..n_segments {
        let item = writer.segment(format!("s{i}"));
        writer.segments.push(item.name.clone());
        items.push(item);
    }
    (catalogue, items)
}

impl Writer<'_> {
    fn pick<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[self.rng.usize(..all.len())]
    }

    fn once_in(&mut self, n: u32) -> bool {
        self.rng.u32(..n) == 0
    }

    fn segment(&mut self, name: String) -> Item {
        let when = self.tree(3);
        let exit = if self.once_in(3) { Some(self.tree(2)) } else { None };
        let emit = if self.once_in(4) {
            let count = self.rng.usize(1..3);
            (0..count)
                .map(|i| {
                    let term = match self.rng.u8(..5) {
                        0 => self.number().0,
                        1 => self.money().0,
                        2 => self.instant(),
                        3 => format!("last({}).s", self.selector_of("ab")),
                        _ => self.score_term().unwrap_or_else(|| "customer.country".into()),
                    };
                    format!("e{i} = {term}")
                })
                .collect()
        } else {
            Vec::new()
        };
        Item { name, body: ItemBody::Segment { when, exit, emit } }
    }

    fn score(&mut self, name: String) -> Item {
        let half_life = if self.lengths.tiny { self.pick(&["5ms", "10ms", "7ms"]) } else { self.pick(&["10m", "1h", "90s", "1d", "7m1s"]) };
        let half_life = half_life.to_string();
        let mut rules = Vec::new();
        for _ in 0..self.rng.usize(1..4) {
            let selector = self.selector();
            let points = self.pick(&["+ 1", "+ 2", "+ 8", "+ 5", "+ 0.5", "- 1", "- 3", "resets"]);
            if !rules.iter().any(|r: &String| r.starts_with(&selector)) {
                rules.push(format!("{selector} {points}"));
            }
        }
        let cap = if self.once_in(3) { Some(self.pick(&["3", "8", "10"]).to_string()) } else { None };
        Item { name, body: ItemBody::Score { half_life, rules, cap } }
    }

    fn tree(&mut self, depth: u32) -> Tree {
        if depth == 0 || self.once_in(3) {
            return Tree::Leaf(self.atom());
        }
        match self.rng.u8(..10) {
            0..=3 => Tree::And(self.trees(depth)),
            4..=5 => Tree::Or(self.trees(depth)),
            6 => Tree::Not(Box::new(self.tree(depth - 1))),
            7..=8 => Tree::Held(Box::new(self.tree(depth - 1)), self.lengths.one(self.rng).to_string()),
            _ => Tree::Leaf(self.atom()),
        }
    }

    fn trees(&mut self, depth: u32) -> Vec<Tree> {
        (0..self.rng.usize(2..4)).map(|_| self.tree(depth - 1)).collect()
    }

    fn atom(&mut self) -> String {
        match self.rng.u8(..24) {
            0..=5 => {
                let quantifier = match self.rng.u8(..6) {
                    0 | 1 => "any".to_string(),
                    2 => "no".to_string(),
                    3 => format!("at least {}", self.rng.u8(1..5)),
                    4 => format!("at most {}", self.rng.u8(0..4)),
                    _ => format!("exactly {}", self.rng.u8(0..4)),
                };
                format!("{quantifier} {} {}", self.selector(), self.window())
            }
            6 | 7 => {
                let which = self.pick(&["first", "last"]);
                format!("{which}({}) {}", self.selector(), self.window())
            }
            8..=10 => self.number_comparison(),
            11 | 12 => self.money_comparison(),
            13 => format!("{} {} {}", self.last_text(), self.pick(&["=", "!="]), self.text()),
            14 | 15 => self.trait_condition(),
            16 | 17 => {
                let instant = self.instant();
                self.time_relation(instant)
            }
            18 => {
                let (left, right) = (self.instant(), self.instant());
                format!("{left} {} {right}", self.pick(&["<", "<=", ">", ">=", "="]))
            }
            19 => match self.score_term() {
                Some(score) => {
                    let threshold = self.pick(&["1", "2", "4", "0.5", "8", "-1", "3", "6.25"]);
                    if self.once_in(5) {
                        format!("{score} between 1 and {}", self.pick(&["2", "4", "7.5"]))
                    } else {
                        format!("{score} {} {threshold}", self.pick(&["<", "<=", ">", ">="]))
                    }
                }
                None => self.number_comparison(),
            },
            20 | 21 if !self.segments.is_empty() => {
                // Often the newest, so that chains grow deep.
                let n = self.segments.len();
                let segment = &self.segments[if self.rng.bool() { n - 1 } else { self.rng.usize(..n) }];
                match self.rng.u8(..4) {
                    0 => format!("(in segment {segment} for at least {})", self.lengths.one(self.rng)),
                    1 => format!("not in segment {segment}"),
                    _ => format!("in segment {segment}"),
                }
            }
            22 if self.catalogue.cart => self.cart_condition(),
            23 if self.once_in(4) => "everyone".into(),
            _ => format!("any {} {}", self.selector(), self.window()),
        }
    }

    fn window(&mut self) -> String {
        match self.rng.u8(..8) {
            0 => "ever".into(),
            1 => format!("at least {} ago", self.lengths.one(self.rng)),
            2 | 3 => {
                let (from, to) = self.lengths.two(self.rng);
                format!("between {from} and {to} ago")
            }
            _ => format!("in last {}", self.lengths.one(self.rng)),
        }
    }

    fn selector(&mut self) -> String {
        if !self.selectors.is_empty() && self.rng.bool() {
            return self.selectors[self.rng.usize(..self.selectors.len())].clone();
        }
        let selector = match self.rng.u8(..10) {
            0..=2 => self.single("a"),
            3 | 4 => self.single("b"),
            5 => "c".to_string(),
            6 => "activity".to_string(),
            7 => format!("c[tags contains {}]", self.pick(&["\"x\"", "any [\"x\", \"y\"]", "all [\"x\", \"y\"]"])),
            8 if self.catalogue.cart => self.pick(&["add", "buy", "(add | del)", "add[category = \"shoes\"]"]).to_string(),
            _ => format!("({} | {})", self.single("a"), self.single("b")),
        };
        self.selectors.push(selector.clone());
        selector
    }

    /// A selector of events that have `n`, `m` and `s`.
    fn selector_of(&mut self, events: &str) -> String {
        match self.rng.u8(..4) {
            0 if events.len() > 1 => format!("({} | {})", self.single("a"), self.single("b")),
            1 if events.len() > 1 => "(a | b)[n >= 1]".into(),
            2 if events.contains('b') => self.single("b"),
            _ => self.single("a"),
        }
    }

    fn single(&mut self, event: &str) -> String {
        if self.rng.bool() { event.to_string() } else { format!("{event}[{}]", self.filter(event)) }
    }

    fn filter(&mut self, event: &str) -> String {
        match self.rng.u8(..14) {
            0 => format!("n {} {}", self.pick(&["=", "!=", "<", ">=", ">"]), self.rng.u8(..4)),
            1 => "n between 1 and 2".into(),
            2 => format!("m {} {}", self.pick(&[">=", "<", "="]), self.pick(&["10 EUR", "0.5 EUR", "80 EUR"])),
            3 => format!("s = {}", self.text()),
            4 => format!("s {} [\"x\", \"Y\"]", self.pick(&["in", "not in"])),
            5 => "s = \"X\" ignoring case".into(),
            6 => format!("s {} {}", self.pick(&["starts with", "ends with", "contains"]), self.text()),
            7 => format!("s is {}", self.pick(&["known", "unknown", "empty", "not empty"])),
            8 if event == "a" => self.pick(&["q", "not q", "q = true"]).into(),
            9 if event == "a" => format!("d {} {}", self.pick(&[">=", "<", "="]), self.pick(&["0.3", "1.5", "2"])),
            10 => "n * 2 > 3".into(),
            11 => "n >= 1, m >= 10 EUR".into(),
            12 if event == "b" => "cur = \"EUR\"".into(),
            _ => format!("not (n = 1 or s = {})", self.text()),
        }
    }

    fn text(&mut self) -> &'static str {
        self.pick(&["\"x\"", "\"Y\"", "\"xy\"", "\"\""])
    }

    fn last_text(&mut self) -> String {
        format!("{}({}).s", self.pick(&["first", "last"]), self.selector_of("ab"))
    }

    /// A term without unit, and whether it may be missing.
    fn number(&mut self) -> (String, bool) {
        let window = self.window();
        match self.rng.u8(..11) {
            0..=2 => (format!("count({}) {window}", self.selector()), false),
            3 => (format!("sum({}.n) {window}", self.selector_of("ab")), false),
            4 => (format!("avg({}.n) {window}", self.selector_of("ab")), true),
            5 => (format!("{}({}.n) {window}", self.pick(&["min", "max"]), self.selector_of("ab")), true),
            6 => (format!("distinct({}.s) {window}", self.selector_of("ab")), false),
            7 => (format!("sum({}.d) {window}", self.selector_of("a")), false),
            8 => (format!("{}({}).n", self.pick(&["first", "last"]), self.selector_of("ab")), true),
            9 if self.catalogue.cart => ("cart.quantity".into(), false),
            _ => (self.pick(&["customer.age", "customer.rank"]).into(), true),
        }
    }

    fn number_comparison(&mut self) -> String {
        let left = self.number().0;
        let rel = self.pick(&["<", "<=", ">", ">=", "=", "!="]);
        match self.rng.u8(..8) {
            0 => format!("{left} {rel} {}", self.number().0),
            1 => format!("{left} * 2 {rel} {}", self.number().0),
            2 => format!("{left} - {} {rel} {}", self.number().0, self.rng.u8(..3)),
            3 => format!("{left} / {} {rel} {}", self.number().0, self.pick(&["0.5", "1", "2"])),
            4 => format!("{left} between 1 and {}", self.rng.u8(1..5)),
            5 => format!("{left} is {}", self.pick(&["known", "unknown"])),
            _ => format!("{left} {rel} {}", self.pick(&["0", "1", "2", "3", "1.5"])),
        }
    }

    fn money(&mut self) -> (String, bool) {
        let window = self.window();
        match self.rng.u8(..8) {
            0..=2 => (format!("sum({}.m) {window}", self.selector_of("ab")), false),
            3 => (format!("avg({}.m) {window}", self.selector_of("ab")), true),
            4 => (format!("{}({}.m) {window}", self.pick(&["min", "max"]), self.selector_of("ab")), true),
            5 => (format!("sum(b[cur = \"EUR\"].v) {window}"), false),
            6 if self.catalogue.cart => ("cart.value".into(), false),
            _ => (format!("{}({}).m", self.pick(&["first", "last"]), self.selector_of("ab")), true),
        }
    }

    fn money_comparison(&mut self) -> String {
        let left = self.money().0;
        let rel = self.pick(&["<", "<=", ">", ">=", "="]);
        match self.rng.u8(..6) {
            0 => format!("{left} {rel} {}", self.money().0),
            1 => format!("{left} - {} {rel} 10 EUR", self.money().0),
            2 => format!("{left} / {} {rel} 0.5", self.money().0),
            3 => format!("{left} between 1 EUR and 99.99 EUR"),
            _ => format!("{left} {rel} {}", self.pick(&["0 EUR", "10 EUR", "80 EUR", "100 EUR", "-5 EUR"])),
        }
    }

    fn instant(&mut self) -> String {
        match self.rng.u8(..6) {
            0 => "customer.signup".into(),
            1 => "customer.first_seen".into(),
            2 if self.catalogue.cart => "cart.changed_at".into(),
            3 => format!("{}({}).w", self.pick(&["first", "last"]), self.selector_of("a")),
            _ => format!("{}({}).at", self.pick(&["first", "last"]), self.selector()),
        }
    }

    fn time_relation(&mut self, instant: String) -> String {
        let d = self.lengths.one(self.rng).to_string();
        match self.rng.u8(..6) {
            0 | 1 => format!("{instant} in last {d}"),
            2 => format!("{instant} at least {d} ago"),
            3 => format!("{instant} in next {d}"),
            4 => {
                let (from, to) = self.lengths.two(self.rng);
                format!("{instant} between {from} and {to} ago")
            }
            _ => format!("{instant} is {}", self.pick(&["known", "unknown"])),
        }
    }

    fn trait_condition(&mut self) -> String {
        match self.rng.u8(..8) {
            0 => format!("customer.country {} \"SE\"", self.pick(&["=", "!="])),
            1 => format!("customer.country is {}", self.pick(&["known", "unknown"])),
            2 => "customer.country in [\"SE\", \"NO\"]".into(),
            3 => format!("customer.age {} {}", self.pick(&[">=", "<", "="]), self.pick(&["18", "30"])),
            4 => "customer.age between 18 and 29".into(),
            5 => match self.rng.u8(..4) {
                0 => format!("customer.tags contains {}", self.pick(&["\"x\"", "any [\"x\", \"y\"]", "all [\"x\", \"y\"]"])),
                1 => self.pick(&["customer.country = \"se\" ignoring case", "customer.country is empty", "customer.tags is empty"]).into(),
                _ => self.pick(&["customer.vip", "not customer.vip"]).into(),
            },
            6 => format!("customer.rank {} 0.3", self.pick(&[">=", "<", "="])),
            _ => self.time_relation("customer.signup".into()),
        }
    }

    fn cart_condition(&mut self) -> String {
        match self.rng.u8(..8) {
            0 => format!("cart.value {} {}", self.pick(&[">=", "<"]), self.pick(&["50 EUR", "10 EUR", "80 EUR"])),
            1 => format!("cart.quantity {} {}", self.pick(&[">=", "=", "<"]), self.rng.u8(..4)),
            2 => format!("cart is {}", self.pick(&["empty", "not empty"])),
            3 => format!(
                "cart.items has [{}]",
                self.pick(&["category = \"shoes\"", "price >= 10 EUR", "product_id = \"p1\"", "quantity >= 2"])
            ),
            _ => self.time_relation("cart.changed_at".into()),
        }
    }

    fn score_term(&mut self) -> Option<String> {
        let score = (!self.scores.is_empty()).then(|| self.rng.usize(..self.scores.len()))?;
        Some(format!("score({})", self.scores[score]))
    }
}
