//! `.seg` text to checked definitions: lexer, parser, syntax tree, checker, canonical form, diagnostics.
//!
//! Owns every message an author sees. Never panics on any text, reports several errors in one run, and hands on only definitions that
//! this version evaluates.

pub mod canonical;
mod check;
pub mod definition;
mod diagnostic;
pub mod display;
mod durations;
pub mod format;
mod history;
mod lexer;
mod parser;
pub mod pattern;
mod source;
mod supported;
mod tree;
mod walk;
pub mod words;

pub use definition::*;
pub(crate) use diagnostic::nearest;
pub use diagnostic::{Code, Diagnostic, Edit, Fix, Severity};
pub use history::incomplete;
pub use source::{SourceFile, Span};
pub use supported::not_evaluated;

/// What one run of the compiler gives.
#[derive(Debug)]
pub struct Compiled {
    /// `None` if and only if a diagnostic is an error.
    pub workspace: Option<Workspace>,
    /// In the order of the files and of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Compiled {
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Error)
    }

    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Warning)
    }
}

/// Compiles the `.seg` texts of one workspace, given in any order. Never panics, whatever the text.
///
/// **Cost:** linear in the texts and in the definitions after lets are inlined; at start-up and in tools only.
pub fn compile(files: &[SourceFile]) -> Compiled {
    compile_into(files, diagnostic::Report::default())
}

fn compile_into(files: &[SourceFile], mut report: diagnostic::Report) -> Compiled {
    let mut items = Vec::new();
    for (i, file) in files.iter().enumerate() {
        items.extend(parser::parse(i as u32, &file.text, &mut report));
    }
    let workspace = check::check(files, &items, &mut report);
    Compiled { workspace, diagnostics: report.finish(files) }
}

/// Compiles the catalogue of `files`, whatever definitions stand beside it, with the definitions of `text`: another set over the same
/// catalogue.
pub fn recompile(files: &[SourceFile], text: SourceFile) -> Compiled {
    let mut report = diagnostic::Report::default();
    let mut items = Vec::new();
    for (i, file) in files.iter().enumerate() {
        items.extend(parser::parse(i as u32, &file.text, &mut report).into_iter().filter(|item| item.kind.is_catalogue()));
    }
    items.extend(parser::parse(files.len() as u32, &text.text, &mut report));
    let files: Vec<SourceFile> = files.iter().cloned().chain([text]).collect();
    let workspace = check::check(&files, &items, &mut report);
    Compiled { workspace, diagnostics: report.finish(&files) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOGUE: &str = include_str!("../../tests/diagnostics/reference_catalogue.seg");

    fn with_catalogue(text: &str) -> Compiled {
        compile(&[SourceFile::new("catalogue.seg", CATALOGUE), SourceFile::new("a.seg", text)])
    }

    #[test]
    fn every_worked_example_of_the_reference_is_understood() {
        let compiled = with_catalogue(include_str!("../../tests/diagnostics/reference.seg"));
        for d in compiled.errors() {
            assert_eq!(d.code, Code::E16, "{d}");
        }
    }

    #[test]
    fn what_is_evaluated_compiles() {
        let compiled = with_catalogue(
            r#"
            let idle = 30m
            let ltv = sum(order_completed.total) in last 365d
            let shoes = product_viewed[category = "shoes"]
            score intent { half_life 2d  product_viewed + 1  shoes[price >= 200 EUR] + 1  order_completed resets  cap 60 }
            segment abandoned { name "Cart abandoned"  tags lifecycle, email
              when cart.value >= 50 EUR and cart.changed_at at least idle ago
              exit when cart is empty or last(activity) in last 5m  expire after 3d
              emit cart.value, cart.items }
            segment vip { when ltv >= 500 EUR or at least 3 shoes in last 7d }
            segment keen { when score(intent) >= 15 for at least 10m  exit when score(intent) < 8 }
            segment both { when in segment vip and not in segment keen and cart.items has [category = "sneakers", price >= 100 EUR] }
            segment lost { when no activity in last 30d and any order_completed ever and customer.country in ["SE", "NO"] }
            "#,
        );
        assert_eq!(compiled.diagnostics, []);
        let workspace = compiled.workspace.expect("compiles");
        let shown: Vec<(u32, &str, String)> = workspace
            .definitions
            .iter()
            .map(|d| match &d.kind {
                DefinitionKind::Segment(s) => (d.depth, d.name.as_str(), display::condition(&workspace, &s.when)),
                _ => (d.depth, d.name.as_str(), String::new()),
            })
            .collect();
        let want = [
            (0, "abandoned", "cart.value >= 50 EUR and cart.changed_at at least 30m ago"),
            (0, "intent", ""),
            (0, "lost", "no activity in last 30d and any order_completed ever and customer.country in [\"SE\", \"NO\"]"),
            (0, "vip", "sum(order_completed.total) in last 365d >= 500 EUR or at least 3 product_viewed[category = \"shoes\"] in last 7d"),
            (1, "keen", "score(intent) >= 15 for at least 10m"),
            (2, "both", "in segment vip and not in segment keen and cart.items has [category = \"sneakers\", price >= 100 EUR]"),
        ];
        assert_eq!(shown, want.map(|(depth, name, when)| (depth, name, when.to_string())));
    }

    /// Compiles as if every form were evaluated.
    fn everything(text: &str) -> Workspace {
        let files = [SourceFile::new("catalogue.seg", CATALOGUE), SourceFile::new("a.seg", text)];
        let mut report = diagnostic::Report::default();
        report.all_forms = true;
        let compiled = compile_into(&files, report);
        let errors: Vec<String> = compiled.errors().map(|d| d.to_string()).collect();
        assert!(errors.is_empty(), "{}", errors.join("\n"));
        compiled.workspace.expect("no error")
    }

    fn definition<'w>(workspace: &'w Workspace, name: &str) -> &'w Definition {
        workspace.definitions.iter().find(|d| d.name == name).expect("it is declared")
    }

    /// What a condition shows is a condition, and means the same.
    #[test]
    fn shown_conditions_read_back_as_the_same() {
        let text = include_str!("../../tests/diagnostics/reference.seg");
        let workspace = everything(text);
        let mut again = text.to_string();
        let mut conditions = Vec::new();
        for d in &workspace.definitions {
            let exprs: Vec<&Expr> = match &d.kind {
                DefinitionKind::Segment(s) => [Some(&s.when), s.exit_when.as_ref()].into_iter().flatten().collect(),
                DefinitionKind::Stages(s) => s.stages.iter().map(|(_, e)| e).collect(),
                DefinitionKind::Points(p) => p.rules.iter().map(|(_, e)| e).collect(),
                DefinitionKind::Score(_) => Vec::new(),
            };
            for expr in exprs {
                let name = format!("again_{}", conditions.len());
                again.push_str(&format!("segment {name} {{ when {} }}\n", display::condition(&workspace, expr)));
                conditions.push((name, canonical::condition_text(&workspace, expr)));
            }
        }
        assert!(conditions.len() > 80, "{}", conditions.len());
        let second = everything(&again);
        for (name, canonical) in conditions {
            let DefinitionKind::Segment(segment) = &definition(&second, &name).kind else { panic!("{name}") };
            let shown = display::condition(&second, &segment.when);
            assert_eq!(canonical::condition_text(&second, &segment.when), canonical, "{shown}");
        }
    }

    #[test]
    fn equal_meaning_has_equal_hash() {
        let same = [
            ["any login ever and customer.country = \"SE\"", "customer.country = \"SE\" and (any login ever)"],
            ["any login ever", "at least 1 login ever"],
            ["no login in last 7d", "exactly 0 login in last 1w"],
            ["no login in last 7d", "at most 0 login in last 168h"],
            ["customer.country != \"SE\"", "not customer.country = \"SE\""],
            ["not not customer.auto_renew", "customer.auto_renew = true"],
            ["any login ever or any login ever", "any login ever"],
            ["any (login | app_opened) ever", "any (app_opened | login | login) ever"],
            ["cart.value >= 50 EUR", "50.00 EUR <= cart.value"],
            ["customer.country in [\"SE\", \"NO\"]", "customer.country in [\"NO\", \"SE\", \"NO\"]"],
            ["any login ever and (everyone and cart.quantity > 3)", "cart.quantity > 3 and any login ever and everyone"],
            ["any product_viewed[category = \"a\", price > 1 EUR] ever", "any product_viewed[price > 1.0 EUR and category = \"a\"] ever"],
            ["count(login) ever >= 1", "any login ever"],
        ];
        let different = [
            ["any login ever", "any login in last 7d"],
            ["any login ever", "any app_opened ever"],
            ["customer.age > 5", "customer.age >= 5"],
            ["customer.age > 5 and everyone", "customer.age > 5 or everyone"],
            ["first(login) in last 7d", "last(login) in last 7d"],
        ];
        let hash = |when: &str, name: &str| definition(&everything(&format!("segment {name} {{ when {when} }}")), name).hash;
        for [a, b] in same {
            assert_eq!(hash(a, "a"), hash(b, "b"), "{a} / {b}");
        }
        for [a, b] in different {
            assert_ne!(hash(a, "a"), hash(b, "a"), "{a} / {b}");
        }
    }

    #[test]
    fn hashes_follow_references_and_ignore_metadata() {
        let hashes = |base: &str, meta: &str| {
            let text =
                format!("segment base {{ when {base} }} segment user {{ {meta} when in segment base }} segment other {{ when everyone }}");
            let workspace = everything(&text);
            (definition(&workspace, "user").hash, definition(&workspace, "other").hash, workspace.hash)
        };
        let first = hashes("any login ever", "");
        let described = hashes("any login ever", "name \"User\" tags a, b");
        let moved = hashes("any login in last 7d", "");
        assert_eq!(first, described);
        assert_ne!(first.0, moved.0);
        assert_eq!(first.1, moved.1);
        assert_ne!(first.2, moved.2);
    }

    /// The hash of a definition is published as its version: it must not change with this code. Rise [`canonical::LANG`] if it has to.
    #[test]
    fn published_hashes_stay() {
        let workspace = everything(include_str!("../../tests/diagnostics/reference.seg"));
        let hash = |name: &str| definition(&workspace, name).hash.to_string();
        assert_eq!(hash("inactive_30d"), "25050b749276917e3757f639921d3f6d");
        assert_eq!(hash("cart_abandoned"), "274e722d443695786a8a4d09c3370c27");
        assert_eq!(hash("purchase_intent"), "c3d83050ab3c0860041ec6df24e16bfe");
    }

    #[test]
    fn the_order_of_files_and_items_does_not_matter() {
        let a = SourceFile::new("a.seg", "let idle = 30m segment p { when in segment q }");
        let b = SourceFile::new("b.seg", "event login is activity { } segment q { when last(login) at least idle ago }");
        let one = compile(&[a.clone(), b.clone()]).workspace.expect("compiles");
        let two = compile(&[b, a]).workspace.expect("compiles");
        assert_eq!(one.hash, two.hash);
        let names = |w: &Workspace| w.definitions.iter().map(|d| d.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&one), ["q", "p"]);
        assert_eq!(names(&one), names(&two));
    }

    /// Random conditions of every form, as text. Grows from the leaves of the reference catalogue.
    struct Author(fastrand::Rng);

    impl Author {
        fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
            of[self.0.usize(0..of.len())]
        }

        fn duration(&mut self) -> String {
            format!("{}{}", self.0.u32(1..60), self.pick(&["d", "h", "m", "s", "ms"]))
        }

        fn selector(&mut self) -> String {
            match self.0.u8(0..7) {
                0 => "login".into(),
                1 => "activity".into(),
                2 => "`*_viewed`[product_id is known]".into(),
                3 => format!("product_viewed[{}]", self.filter(2)),
                4 => format!(
                    "(product_viewed[{}] | login | search_performed[results {} 3])",
                    self.filter(1),
                    self.pick(&["=", "!=", "<", ">="])
                ),
                5 => format!("(product_viewed | add_to_cart)[{}]", self.filter(2)),
                _ => "trait_changed[name = \"plan\", to = \"pro\"]".into(),
            }
        }

        fn filter(&mut self, depth: u8) -> String {
            if depth > 0 && self.0.u8(0..3) == 0 {
                let joint = self.pick(&[" and ", " or "]);
                return format!("({}{joint}{})", self.filter(depth - 1), self.filter(depth - 1));
            }
            let leaves = [
                "category = \"shoes\"",
                "category != \"a\\n\\\"b\" ignoring case",
                "price >= 80.50 EUR",
                "price * 2 < 100 EUR",
                "category in [\"a\", \"b\"]",
                "not category not in [\"a\"]",
                "product_id starts with \"p\"",
                "product_id ends with \"x\" ignoring case",
                "product_id contains \"y\"",
                "product_id matches /^a\\/b\\d+$/",
                "local.time in 22:00..06:00",
                "local.weekday = \"mon\"",
                "category is unknown",
                "category is not empty",
                "price between 1 EUR and 2 EUR",
            ];
            let comma = if depth == 2 && self.0.bool() { format!(", {}", self.filter(0)) } else { String::new() };
            format!("{}{comma}", self.pick(&leaves))
        }

        fn window(&mut self) -> String {
            match self.0.u8(0..9) {
                0 | 1 => "ever".into(),
                2 => format!("in last {}", self.duration()),
                3 => format!("at least {} ago", self.duration()),
                4 => format!("between {}ms and {}d ago", self.0.u32(0..1_000), self.0.u32(1..99)),
                5 => format!("in this {}", self.pick(&["session", "day", "week", "month", "year"])),
                6 => format!("in last {} full {}", self.0.u32(1..9), self.pick(&["days", "weeks", "months"])),
                7 => self.pick(&["since 2026-01-01", "between 2026-01-01 and 2026-02-01T00:00:00Z"]).into(),
                _ => format!("since last {}", self.selector()),
            }
        }

        fn number(&mut self, depth: u8) -> String {
            match self.0.u8(0..if depth == 0 { 7 } else { 10 }) {
                0 => self.0.i32(-9..99).to_string(),
                1 => format!("{}.{}", self.0.u32(0..9), self.0.u32(1..99)),
                2 => format!("count({}) {}", self.selector(), self.window()),
                3 => format!("distinct(product_viewed.category) {}", self.window()),
                4 => "customer.age".into(),
                5 => format!("{}(review_submitted.rating) {}", self.pick(&["avg", "min", "max", "sum"]), self.window()),
                6 => self.pick(&["score(intent)", "points(fit)", "cart.quantity", "last(search_performed).results"]).into(),
                7 => format!("({}) / ({})", self.money(depth - 1), self.money(depth - 1)),
                _ => {
                    let op = self.pick(&["+", "-", "*", "/"]);
                    format!("({}) {op} ({})", self.number(depth - 1), self.number(depth - 1))
                }
            }
        }

        fn money(&mut self, depth: u8) -> String {
            match self.0.u8(0..if depth == 0 { 3 } else { 4 }) {
                0 => format!("{}.{:02} EUR", self.0.u32(0..999), self.0.u32(0..100)),
                1 => format!("sum((order_completed | order_refunded).total) {}", self.window()),
                2 => self.pick(&["cart.value", "first(order_completed).total"]).into(),
                _ => format!("({}) {} ({})", self.money(depth - 1), self.pick(&["+", "-"]), self.money(depth - 1)),
            }
        }

        fn condition(&mut self, depth: u8) -> String {
            let rel = self.pick(&["=", "!=", "<", "<=", ">", ">="]);
            match self.0.u8(0..if depth == 0 { 15 } else { 20 }) {
                0 => {
                    let quantifier = self.pick(&["any", "no", "at least 3", "at most 2", "exactly 1", "exactly 0"]);
                    format!("{quantifier} {} {}", self.selector(), self.window())
                }
                1 => format!("{} {rel} {}", self.number(depth.min(2)), self.number(depth.min(2))),
                2 => format!("{} {rel} {}", self.money(depth.min(2)), self.money(depth.min(2))),
                3 => format!("{}({}) {}", self.pick(&["first", "last"]), self.selector(), self.window()),
                4 => {
                    let of = self.pick(&[
                        "customer.signed_up_at",
                        "cart.changed_at",
                        "customer.first_seen",
                        "last(login).at",
                        "customer.birth_date",
                    ]);
                    let window = self.pick(&[
                        "in next 3d",
                        "in last 1h",
                        "at least 2h ago",
                        "between 0s and 5d ago",
                        "in this month",
                        "in next 1 full months",
                        "since 2026-01-01",
                    ]);
                    format!("{of} {window}")
                }
                5 => format!("any login {} at least 2 of last 5 {}", self.pick(&["on", "in"]), self.pick(&["days", "weeks", "months"])),
                6 => format!(
                    "sequence({} then {} within {} without remove_from_cart then no order_completed within 1h all within 2d) per product_id {}",
                    "product_viewed",
                    "add_to_cart",
                    self.duration(),
                    self.window()
                )
                .replace("then no order_completed within 1h", "then remove_from_cart at least 5s later"),
                7 => self
                    .pick(&["in segment base", "in list vip", "consent to email_marketing", "everyone", "left segment base in last 3d"])
                    .into(),
                8 => self
                    .pick(&[
                        "customer.country in [\"SE\", \"NO\"]",
                        "customer.plan = \"pro\"",
                        "customer.country != \"SE\"",
                        "customer.auto_renew",
                        "stage(life) = \"new\"",
                    ])
                    .into(),
                9 => self
                    .pick(&[
                        "customer.interests contains any [\"a\", \"b\"]",
                        "customer.interests contains \"a\" ignoring case",
                        "customer.interests is empty",
                        "cart is not empty",
                        "customer.age is unknown",
                    ])
                    .into(),
                10 => self
                    .pick(&[
                        "bucket(\"x y\") < 10.5%",
                        "bucket(\"x\") in 50%..100%",
                        "customer.age in 18..30",
                        "local.time in 09:00..17:30",
                        "local.hour >= 9",
                    ])
                    .into(),
                11 => self
                    .pick(&[
                        "customer.location within 1.5km of geo(-59.3, 18.06)",
                        "customer.birth_date anniversary in next 7d",
                        "customer.birth_date between 1990-01-01 and 1999-12-31",
                    ])
                    .into(),
                12 => self
                    .pick(&[
                        "ntile(5, last(order_completed).at) >= 4",
                        "band(age(last(login).at), [30d, 90d]) = 0",
                        "sum(order_completed.total) ever in top 12.5%",
                        "age(customer.signed_up_at) > 30d",
                    ])
                    .into(),
                13 => format!("cart.items has [category = \"x\" {} price > 5 EUR]", self.pick(&["and", "or"])),
                14 => format!("at least 2 product_viewed per product_id {}", self.window()),
                15 => format!("not ({})", self.condition(depth - 1)),
                16 => format!("({}) for at least {}", self.condition(depth - 1), self.duration()),
                n => {
                    let joint = if n == 17 { " or " } else { " and " };
                    (0..self.0.usize(2..4)).map(|_| format!("({})", self.condition(depth - 1))).collect::<Vec<_>>().join(joint)
                }
            }
        }
    }

    /// Any condition that is written: it compiles, what it shows is a condition, and means the same.
    #[test]
    fn random_conditions_read_back_as_the_same() {
        let base = "segment base { when everyone } score intent { half_life 1d login + 1 } points fit { give 5 when everyone } \
                    stages life { new when any login ever rest otherwise }\n";
        for seed in 0..120 {
            let mut author = Author(fastrand::Rng::with_seed(seed));
            let text = author.condition(4);
            println!("seed {seed}: {text}");
            let first = everything(&format!("{base} segment a {{ when {text} }}"));
            let DefinitionKind::Segment(segment) = &definition(&first, "a").kind else { panic!("a segment") };
            let shown = display::condition(&first, &segment.when);
            println!("shown: {shown}");
            let said = words::condition(&first, &segment.when);
            assert!(!said.is_empty() && !said.contains("  ") && !said.ends_with(' '), "seed {seed}: {text}\nsaid: {said}");
            let second = everything(&format!("{base} segment a {{ when {shown} }}"));
            assert_eq!(definition(&first, "a").hash, definition(&second, "a").hash, "seed {seed}: {text}\nshown: {shown}");
        }
    }
}
