//! Random catalogues and definitions. Few lengths, few selectors and few literals, so that windows share features and deadlines meet.

use std::fmt;

use super::{Item, ItemBody, Tree};
use crate::segtest::script::{EPOCH, parse_duration};
use crate::time::{Millis, Timestamp, civil_from_days};

/// The lengths of time that definitions and logs of one scenario share.
pub struct Lengths {
    all: Vec<String>,
    /// All within some milliseconds, where the oracle steps through every one.
    pub tiny: bool,
    /// Where the log begins: an ordinary Monday, or near a change of the clocks, of a month or of a year.
    pub start: Timestamp,
}

impl Lengths {
    const ALL: &[&str] = &["1m", "5m", "9m59s999ms", "10m", "11m", "30m", "1h", "90m", "2h", "1d", "3d"];

    const TINY: &[&str] = &["1ms", "3ms", "5ms", "6ms", "10ms", "20ms"];

    pub fn choose(rng: &mut fastrand::Rng) -> Lengths {
        let tiny = rng.u8(..4) == 0;
        let from = if tiny { Self::TINY } else { Self::ALL };
        let all = (0..rng.usize(2..4)).map(|_| from[rng.usize(..from.len())].to_string()).collect();
        let start = if rng.bool() { Self::STARTS[0] } else { Self::STARTS[rng.usize(..Self::STARTS.len())] };
        let start = Timestamp::parse_rfc3339(start).unwrap_or(EPOCH);
        Lengths { all, tiny, start }
    }

    const STARTS: &[&str] = &[
        "2026-01-05T01:00:00Z",
        // Europe goes forward on 29 March and back on 25 October; North America on 8 March and 1 November.
        "2026-03-28T20:00:00Z",
        "2026-10-24T18:00:00Z",
        "2026-03-07T23:00:00Z",
        "2026-10-31T20:00:00Z",
        "2026-01-30T21:00:00Z",
        "2026-12-30T12:00:00Z",
        "2027-02-26T12:00:00Z",
    ];

    /// A date around the beginning of the log.
    pub fn date(&self, rng: &mut fastrand::Rng) -> String {
        let day = self.start.0.div_euclid(Millis::DAY.0) + rng.i64(-2..5);
        let (year, month, day) = civil_from_days(day);
        format!("{year:04}-{month:02}-{day:02}")
    }

    pub fn one<'a>(&'a self, rng: &mut fastrand::Rng) -> &'a str {
        &self.all[rng.usize(..self.all.len())]
    }

    pub fn millis(&self, rng: &mut fastrand::Rng) -> Millis {
        parse_duration(self.one(rng)).expect("the lengths are durations")
    }

    /// Two different ones in order, or one and its double.
    pub fn two(&self, rng: &mut fastrand::Rng) -> (String, String) {
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
    /// Of the workspace.
    pub zone: &'static str,
    pub session_gap: String,
    /// Whether customers have a zone of their own.
    pub zones: bool,
}

/// With clocks put forward and back, by an hour or by half of one, and without.
pub const ZONES: &[&str] =
    &["UTC", "Europe/Stockholm", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Auckland", "America/Santiago"];

impl fmt::Display for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dedup = if self.dedup { " dedup 3h" } else { "" };
        let lateness = if self.lateness { " lateness 1h" } else { "" };
        writeln!(f, "workspace {{ timezone \"{}\" session gap {} }}", self.zone, self.session_gap)?;
        writeln!(
            f,
            "event a is activity {{ n int  m money in EUR  s string  w instant  q bool  d decimal  day date  len duration{dedup}{lateness} }}"
        )?;
        writeln!(f, "event b is activity {{ n int  m money in EUR  s string  v money in cur  cur string }}")?;
        writeln!(f, "event c {{ n int  s string  tags list of string  items list of record {{ kind string  n int }} }}")?;
        writeln!(
            f,
            "trait country string\ntrait age int\ntrait signup instant\ntrait vip bool\ntrait rank decimal\ntrait tags list of string\n\
             trait born date\ntrait home geo\ntrait things list of record {{ kind string  n int }}"
        )?;
        if self.zones {
            writeln!(f, "trait timezone string")?;
        }
        writeln!(f, "purpose mail\npurpose news default granted\nlist vips")?;
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

/// Whether this version evaluates a form, by the name that the compiler has for what it refuses.
pub fn is_on(form: &str) -> bool {
    !crate::lang::not_evaluated().any(|name| name == form)
}

pub(super) struct Writer<'a> {
    pub(super) rng: &'a mut fastrand::Rng,
    pub(super) lengths: &'a Lengths,
    pub(super) catalogue: &'a Catalogue,
    /// Reused, so that segments share features.
    pub(super) selectors: Vec<String>,
    pub(super) scores: Vec<String>,
    pub(super) points: Vec<String>,
    /// With their stages.
    pub(super) stages: Vec<(String, Vec<String>)>,
    pub(super) segments: Vec<String>,
    /// Conditions `per` a key of the present definition so far.
    pub(super) keyed: usize,
}

pub fn generate(rng: &mut fastrand::Rng, lengths: &Lengths) -> (Catalogue, Vec<Item>) {
    let catalogue = Catalogue {
        cart: rng.u8(..3) == 0,
        cart_lines: rng.bool(),
        dedup: rng.u8(..4) == 0,
        lateness: rng.u8(..4) == 0,
        zone: ZONES[if rng.bool() { 0 } else { rng.usize(..ZONES.len()) }],
        session_gap: lengths.one(rng).to_string(),
        zones: rng.u8(..3) == 0,
    };
    let n_scores = [0, 0, 1, 2][rng.usize(..4)];
    let n_segments = if rng.u8(..6) == 0 { rng.usize(5..10) } else { rng.usize(1..5) };
    let mut writer = Writer {
        rng,
        lengths,
        catalogue: &catalogue,
        selectors: Vec::new(),
        scores: Vec::new(),
        points: Vec::new(),
        stages: Vec::new(),
        segments: Vec::new(),
        keyed: 0,
    };
    let mut items = Vec::new();
    for i in 0..n_scores {
        let item = writer.score(format!("q{i}"));
        writer.scores.push(item.name.clone());
        items.push(item);
    }
    for i in 0..n_segments {
        if is_on("`points`") && writer.once_in(10) {
            let rules =
                (0..writer.rng.usize(1..4)).map(|_| (writer.pick(&["give 1", "give 2.5", "take 2"]).into(), writer.tree(1))).collect();
            writer.points.push(format!("p{i}"));
            items.push(Item { name: format!("p{i}"), body: ItemBody::Points { rules } });
        }
        if is_on("`stages`") && writer.once_in(8) {
            let stages: Vec<_> = (0..writer.rng.usize(1..4)).map(|n| (format!("t{n}"), writer.tree(2))).collect();
            let names = stages.iter().map(|(n, _)| n.clone()).chain(["rest".to_string()]).collect();
            writer.stages.push((format!("g{i}"), names));
            items.push(Item { name: format!("g{i}"), body: ItemBody::Stages { stages, otherwise: "rest".into() } });
        }
        let item = writer.segment(format!("s{i}"));
        writer.segments.push(item.name.clone());
        items.push(item);
    }
    (catalogue, items)
}

impl Writer<'_> {
    pub(super) fn pick<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[self.rng.usize(..all.len())]
    }

    pub(super) fn once_in(&mut self, n: u32) -> bool {
        self.rng.u32(..n) == 0
    }

    fn segment(&mut self, name: String) -> Item {
        self.keyed = 0;
        let when = self.tree(3);
        let exit = if self.once_in(3) { Some(self.tree(2)) } else { None };
        let clauses = self.clauses();
        let mut emit: Vec<String> = if self.once_in(4) {
            let count = self.rng.usize(1..3);
            (0..count).map(|i| format!("e{i} = {}", self.emitted())).collect()
        } else {
            Vec::new()
        };
        if self.keyed == 1 && is_on("`emit key`") && self.rng.bool() {
            emit.push("key".into());
        }
        Item { name, body: ItemBody::Segment { when, exit, clauses, emit } }
    }

    /// Delays and what is required.
    fn clauses(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        if is_on("`timezone` of a segment") && self.once_in(4) {
            let zone = self.pick(ZONES);
            out.push(match self.rng.u8(..3) {
                0 => "timezone customer".into(),
                1 => "timezone workspace".into(),
                _ => format!("timezone \"{zone}\""),
            });
        }
        if is_on("`require consent`") && self.once_in(5) {
            out.push(format!("require consent {}", self.pick(&["mail", "news", "mail, news"])));
        }
        if self.rng.bool() {
            return out;
        }
        let mut delay = |writer: &mut Self, form: &str, clause: &str, odds: u32| {
            let wanted = is_on(form) && writer.once_in(odds);
            let length = writer.lengths.millis(writer.rng);
            if wanted {
                out.push(format!("{clause} {length}"));
            }
            wanted.then_some(length)
        };
        let mut shortest = Millis(i64::MAX);
        shortest = shortest.min(delay(self, "`enter after`", "enter after", 3).unwrap_or(shortest));
        shortest = shortest.min(delay(self, "`exit after`", "exit after", 3).unwrap_or(shortest));
        delay(self, "`cooldown`", "cooldown", 3);
        let expire = delay(self, "`expire after`", "expire after", 3);
        let stay = if is_on("`stay at least`") && self.once_in(3) { Some(self.lengths.millis(self.rng)) } else { None };
        if let Some(stay) = stay.filter(|stay| expire.is_none_or(|expire| *stay <= expire)) {
            shortest = shortest.min(stay);
            out.push(format!("stay at least {stay}"));
        }
        if is_on("`settle`") && self.once_in(3) {
            let settle = if self.lengths.tiny { self.rng.i64(1..6) } else { [1, 2_000, 60_000, 600_000][self.rng.usize(..4)] };
            if settle < shortest.0 {
                out.push(format!("settle {}", Millis(settle)));
            }
        }
        out
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

    pub(super) fn tree(&mut self, depth: u32) -> Tree {
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
}
