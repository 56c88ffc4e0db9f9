//! Random conditions and terms. What the compiler does not take yet is never written: see [`is_on`].

use super::definitions::{Writer, is_on};

/// A form with its odds.
type Choice = (&'static str, fn(&mut Writer<'_>) -> Option<String>);

impl Writer<'_> {
    pub(super) fn atom(&mut self) -> String {
        // Half of all conditions are plain counts and comparisons, which the other forms stand beside.
        if self.rng.bool() {
            return self.plain_atom();
        }
        const CHOICES: &[Choice] = &[
            ("`consent to`", |w| Some(format!("consent to {}", w.pick(&["mail", "news"])))),
            ("`in list`", |_| Some("in list vips".into())),
            ("`bucket`", |w| Some(w.pick(&["bucket(\"x\") < 50%", "bucket(\"y\") in 20%..70%", "bucket(\"x\") >= 12.5%"]).into())),
            ("`band`", |w| {
                let of = w.number().0;
                Some(format!("band({of}, [1, 2]) {} {}", w.pick(&["=", ">=", "<", "!="]), w.rng.u8(..3)))
            }),
            ("`band`", |w| {
                is_on("`age`").then(|| {
                    let (of, (from, to)) = (w.instant(), w.lengths.two(w.rng));
                    format!("band(age({of}), [{from}, {to}]) {} {}", w.pick(&["=", ">=", "<", "!="]), w.rng.u8(..3))
                })
            }),
            ("`age`", |w| {
                let of = if w.once_in(4) { "customer.born".into() } else { w.instant() };
                Some(format!("age({of}) {} {}", w.pick(&["<", "<=", ">", ">=", "="]), w.lengths.one(w.rng)))
            }),
            ("`age`", |w| Some(format!("age({}) {} age({})", w.instant(), w.pick(&["<", ">="]), w.instant()))),
            ("a range `in a..b`", |w| Some(format!("{} in {}", w.number().0, w.pick(&["0..2", "1..3", "0.5..2.5"])))),
            ("a range `in a..b`", |w| {
                let (from, to) = (w.lengths.start, w.lengths.start + w.lengths.millis(w.rng));
                Some(format!("{} in {from}..{to}", w.instant()))
            }),
            ("`matches`", |w| Some(format!("customer.country matches {}", w.pick(&["/^[SN]/", "/E$/", "/s.|d/"])))),
            ("`within .. of geo(..)`", |w| {
                Some(format!(
                    "customer.home within {} of geo({})",
                    w.pick(&["1km", "25km", "500km", "10mi"]),
                    w.pick(&["59.334, 18.063", "0, 0", "-33.86, 151.2"])
                ))
            }),
            ("`has` on anything but `cart.items`", |w| {
                let of = w.pick(&["customer.things", "last(c).items", "first(c).items"]);
                Some(format!(
                    "{of} has [{}]",
                    w.pick(&["kind = \"x\"", "n >= 2", "kind = \"x\", n >= 2", "not (n = 1)", "kind is unknown"])
                ))
            }),
            ("`trait_changed`", |w| {
                Some(format!("{} {} {}", w.pick(&["any", "no", "at least 2", "exactly 1"]), w.trait_changed(), w.window()))
            }),
            ("`trait_changed`", |w| Some(format!("last({}) {}", w.trait_changed(), w.window()))),
            ("`entered segment` and `left segment`", |w| {
                let segment = w.some_segment()?;
                let window = w.window_of_ages();
                Some(format!("{} segment {segment} {window}", w.pick(&["entered", "left"])))
            }),
            ("`points`", |w| {
                let points = w.rng.usize(..w.points.len().max(1));
                let points = w.points.get(points)?.clone();
                Some(format!("points({points}) {} {}", w.pick(&["<", ">=", "="]), w.pick(&["0", "1", "2.5", "-1"])))
            }),
            ("`stages`", |w| {
                let stages = w.rng.usize(..w.stages.len().max(1));
                let (name, all) = w.stages.get(stages)?.clone();
                let stage = &all[w.rng.usize(..all.len())];
                Some(format!("stage({name}) {} \"{stage}\"", w.pick(&["=", "!="])))
            }),
            ("`on at least N of last M ...`", |w| w.periods()),
            ("`on at least N of last M ...`", |w| w.periods()),
            ("`local`", |w| w.local()),
            ("a calendar window (`in this day|week|month|year`)", |w| {
                let of = if w.once_in(4) { "customer.born".into() } else { w.instant() };
                Some(format!("{of} in this {}", w.pick(&["day", "week", "month", "year"])))
            }),
            ("a window of full periods (`in last N full ...`)", |w| {
                let (of, n) = (if w.once_in(4) { "customer.born".into() } else { w.instant() }, w.rng.u8(1..4));
                Some(format!("{of} in {} {n} full {}", w.pick(&["last", "next"]), w.pick(&["days", "weeks", "months"])))
            }),
            ("a window between dates", |w| {
                let of = w.instant();
                Some(format!("{of} {}", w.dates()))
            }),
            ("a time window of a date", |w| Some(w.time_relation("customer.born".into()))),
            ("`anniversary`", |w| {
                let of = if w.rng.bool() { "customer.born".into() } else { w.instant() };
                Some(format!("{of} anniversary in next {}d", w.pick(&["0", "1", "3", "7"])))
            }),
            ("`sequence`", |w| w.sequence()),
            ("`sequence`", |w| w.sequence()),
            ("`sequence`", |w| w.sequence()),
            ("`sequence`", |w| w.sequence()),
            ("`per`", |w| w.keyed()),
            ("`per`", |w| w.keyed()),
            ("`per`", |w| w.keyed()),
            ("`since last`", |w| Some(format!("{} {} {}", w.pick(&["any", "no", "at least 2"]), w.selector(), w.since_last()))),
            ("`in this session`", |w| {
                Some(format!("{} {} in this session", w.pick(&["any", "no", "at least 2", "exactly 1"]), w.selector()))
            }),
            ("`in this session`", |w| Some(format!("{}({}) in this session", w.pick(&["first", "last"]), w.selector()))),
            ("arithmetic with a score", |w| {
                let score = w.score_term()?;
                Some(match w.rng.u8(..3) {
                    0 => format!("{score} * 1.7 {} {}", w.pick(&["<", ">="]), w.pick(&["1.3", "2.1", "3.9"])),
                    1 => format!("{score} + 0.3 > {}", w.number().0),
                    _ => format!("{score} / 3 {} 0.7", w.pick(&["<", ">="])),
                })
            }),
            ("a score compared with anything but a number", |w| {
                let score = w.score_term()?;
                // Not with 0 itself: where a decaying double ends in it is a matter of rounding.
                Some(format!("{score} {} {} + 0.37", w.pick(&["<", ">="]), w.number().0))
            }),
            ("`min` and `max` of instants, dates and durations", |w| {
                let (of, window) = (w.selector_of("a"), w.window());
                let which = w.pick(&["min", "max"]);
                Some(match w.rng.u8(..3) {
                    0 => w.time_relation(format!("{which}({of}.w) {window}")),
                    1 => format!("{which}({of}.len) {window} {} {}", w.pick(&["<", ">=", "="]), w.lengths.one(w.rng)),
                    _ => format!("{which}({of}.day) {window} {} {}", w.pick(&["<", ">=", "="]), w.lengths.date(w.rng)),
                })
            }),
        ];
        for _ in 0..8 {
            let (form, write) = CHOICES[self.rng.usize(..CHOICES.len())];
            if is_on(form)
                && let Some(text) = write(self)
            {
                return text;
            }
        }
        self.plain_atom()
    }

    pub(super) fn emitted(&mut self) -> String {
        match self.rng.u8(..9) {
            0 | 1 => self.number().0,
            2 => self.money().0,
            3 => self.instant(),
            4 => format!("last({}).s", self.selector_of("ab")),
            5 => self.score_term().unwrap_or_else(|| "customer.country".into()),
            6 if is_on("`band`") => format!("band({}, [1, 2])", self.number().0),
            7 if !self.stages.is_empty() => format!("stage({})", self.stages[0].0),
            8 if !self.points.is_empty() => format!("points({})", self.points[0]),
            _ => "customer.rank".into(),
        }
    }

    fn some_segment(&mut self) -> Option<String> {
        let n = self.segments.len();
        // Often the newest, so that chains grow deep.
        let last = self.rng.bool();
        (n > 0).then(|| self.segments[if last { n - 1 } else { self.rng.usize(..n) }].clone())
    }

    fn trait_changed(&mut self) -> String {
        let filter = self.pick(&[
            "",
            "[name = \"country\"]",
            "[name = \"country\", to = \"SE\"]",
            "[name = \"country\", from = \"SE\", to = \"NO\"]",
            "[name = \"country\", from is unknown]",
            "[name = \"age\", to > 18]",
            "[name = \"vip\", to is unknown]",
            "[name = \"tags\", to contains \"x\"]",
        ]);
        format!("trait_changed{filter}")
    }

    fn periods(&mut self) -> Option<String> {
        let quantifier = match self.rng.u8(..5) {
            0..=1 => "any".to_string(),
            2 => "no".into(),
            3 => format!("at least {}", self.rng.u8(1..4)),
            _ => format!("{} {}", self.pick(&["at most", "exactly"]), self.rng.u8(0..3)),
        };
        let m = self.rng.u8(1..6);
        let (n, unit) = (self.rng.u8(1..m + 1), self.pick(&["days", "days", "weeks", "months"]));
        Some(format!("{quantifier} {} {} at least {n} of last {m} {unit}", self.selector(), self.pick(&["on", "in"])))
    }

    fn local(&mut self) -> Option<String> {
        Some(match self.rng.u8(..6) {
            0 => format!("local.weekday {} [\"mon\", \"sat\", \"sun\"]", self.pick(&["in", "not in"])),
            1 => format!("local.hour {} {}", self.pick(&["<", ">=", "="]), self.rng.u8(..24)),
            2 => format!("local.date {} {}", self.pick(&["=", "<", ">="]), self.lengths.date(self.rng)),
            3 => format!("local.time {} {}", self.pick(&["<", ">="]), self.pick(&["02:30", "12:00", "00:00"])),
            _ if is_on("a range `in a..b`") => {
                format!("local.time in {}", self.pick(&["02:00..03:00", "22:00..06:00", "09:00..17:00", "00:00..12:00"]))
            }
            _ => "local.time >= 09:00".into(),
        })
    }

    /// A window between dates or from one on.
    fn dates(&mut self) -> String {
        let (a, b) = (self.lengths.date(self.rng), self.lengths.date(self.rng));
        if a < b { format!("between {a} and {b}") } else { format!("since {a}") }
    }

    fn since_last(&mut self) -> String {
        format!("since last {}", self.selector())
    }

    fn sequence(&mut self) -> Option<String> {
        let key = is_on("`per` of a sequence") && is_on("`per`") && self.once_in(3);
        if key {
            self.keyed += 1;
        }
        let selector = |w: &mut Self| match key {
            true => w.selector_of("ab"),
            // Few kinds, so that matches come about.
            false if w.once_in(3) => w.selector(),
            false => w.pick(&["a", "b", "c", "(a | b)", "activity"]).to_string(),
        };
        let mut text = selector(self);
        let n = self.rng.usize(1..4);
        for i in 0..n {
            let absent = i + 1 == n && self.once_in(3);
            let step = selector(self);
            if absent {
                text += &format!(" then no {step} within {}", self.lengths.one(self.rng));
                break;
            }
            text += &format!(" then {step}");
            match self.rng.u8(..6) {
                0 | 1 => text += &format!(" within {}", self.lengths.one(self.rng)),
                2 => text += &format!(" at least {} later", self.lengths.one(self.rng)),
                3 => {
                    let (from, to) = self.lengths.two(self.rng);
                    text += &format!(" within {to} at least {from} later");
                }
                _ => {}
            }
            if self.once_in(4) {
                let without = self.pick(&["a", "b", "c", "activity", "a[n = 1]"]);
                // With a key each selector needs it.
                text += &format!(" without {}", if key && without == "activity" { "b" } else { without });
            }
        }
        if self.once_in(4) {
            text += &format!(" all within {}", self.lengths.one(self.rng));
        }
        let per = if key { format!(" per {}", self.pick(&["s", "n"])) } else { String::new() };
        let window = match self.rng.u8(..6) {
            0 | 1 => "ever".into(),
            2 | 3 => self.window(),
            _ => self.window_of_ages(),
        };
        Some(format!("sequence({text}){per} {window}"))
    }

    fn keyed(&mut self) -> Option<String> {
        self.keyed += 1;
        let (of, window, key) = (self.selector_of("ab"), self.window(), self.pick(&["s", "s", "n"]));
        Some(match self.rng.u8(..7) {
            0 => format!("count({of}) per {key} {window} {} {}", self.pick(&[">=", ">", "="]), self.rng.u8(1..4)),
            1 => format!("sum({of}.n) per {key} {window} >= {}", self.rng.u8(1..5)),
            2 => format!("{}({of}.n) per {key} {window} >= {}", self.pick(&["min", "max", "avg"]), self.rng.u8(1..3)),
            3 => format!("distinct({of}.n) per s {window} >= {}", self.rng.u8(1..3)),
            4 => format!("sum({of}.m) per {key} {window} > {}", self.pick(&["10 EUR", "80 EUR"])),
            5 => format!("exactly {} {of} per {key} {window}", self.rng.u8(1..3)),
            _ => format!("at least {} {of} per {key} {window}", self.rng.u8(1..4)),
        })
    }

    fn plain_atom(&mut self) -> String {
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
                let segment = self.some_segment().unwrap_or_default();
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

    /// Of any kind.
    fn window(&mut self) -> String {
        if self.rng.bool() {
            return self.window_of_ages();
        }
        match self.rng.u8(..7) {
            0 | 1 if is_on("a calendar window (`in this day|week|month|year`)") => {
                format!("in this {}", self.pick(&["day", "day", "week", "month", "year"]))
            }
            2 if is_on("a window of full periods (`in last N full ...`)") => {
                format!("in last {} full {}", self.rng.u8(1..4), self.pick(&["days", "days", "weeks", "months"]))
            }
            3 if is_on("a window between dates") => self.dates(),
            4 | 5 if is_on("`since last`") && !self.selectors.is_empty() => self.since_last(),
            6 if is_on("`in this session`") => "in this session".into(),
            _ => self.window_of_ages(),
        }
    }

    fn window_of_ages(&mut self) -> String {
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

    pub(super) fn selector(&mut self) -> String {
        if !self.selectors.is_empty() && self.rng.bool() {
            return self.selectors[self.rng.usize(..self.selectors.len())].clone();
        }
        let selector = match self.rng.u8(..10) {
            0..=2 => self.single("a"),
            3 | 4 => self.single("b"),
            5 => "c".to_string(),
            6 => "activity".to_string(),
            7 if is_on("`has` on anything but `cart.items`") && self.once_in(3) => "c[items has [kind = \"x\", n >= 2]]".into(),
            7 if is_on("`trait_changed`") && self.once_in(3) => self.trait_changed(),
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
        match self.rng.u8(..15) {
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
            12 if is_on("`matches`") => format!("s matches {}", self.pick(&["/x/", "/^x.?$/", "/(?i)Y/"])),
            13 if is_on("`local`") => self.local().unwrap_or_default(),
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
    pub(super) fn number(&mut self) -> (String, bool) {
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
