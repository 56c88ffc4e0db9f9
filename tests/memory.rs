//! What a customer costs in bytes under the worked examples of the language reference, without the store's overhead: the promise is at most
//! 2 KB for an active customer and 300 B for a quiet one (LANGUAGE.md 9.2).
//!
//! `MEMORY=1 cargo test --test memory -- --nocapture` shows where the bytes are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use segmentd::lang::{SourceFile, compile};
use segmentd::plan::Plan;
use segmentd::segtest::script::Script;
use segmentd::testing::against::play;

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics").join(name)).expect("a text of the reference")
}

/// One item of a text: from its first line to the line before the next.
fn items(text: &str) -> Vec<String> {
    let starts = |line: &str| ["segment ", "score ", "points ", "stages ", "let "].iter().any(|word| line.starts_with(word));
    let mut items: Vec<String> = Vec::new();
    for line in text.lines() {
        if starts(line) {
            items.push(String::new());
        }
        if let Some(item) = items.last_mut() {
            item.push_str(line);
            item.push('\n');
        }
    }
    items
}

/// The examples that this version evaluates.
fn plan() -> Arc<Plan> {
    let mut left = items(&read("reference.seg"));
    loop {
        let files: Vec<SourceFile> = left.iter().enumerate().map(|(i, item)| SourceFile::new(i.to_string(), item.clone())).collect();
        let compiled = compile(&[files, vec![SourceFile::new("catalogue", read("reference_catalogue.seg"))]].concat());
        let faulty: BTreeSet<usize> = compiled.errors().map(|d| d.file.parse().expect("an item")).collect();
        if faulty.is_empty() {
            return Arc::new(Plan::compile(Arc::new(compiled.workspace.expect("no error"))));
        }
        left = left.into_iter().enumerate().filter(|(i, _)| !faulty.contains(i)).map(|(_, item)| item).collect();
    }
}

/// A script of a customer, in order of time.
struct Life {
    rng: fastrand::Rng,
    lines: Vec<(u64, String)>,
}

const DAY: u64 = 86_400;

impl Life {
    fn new(seed: u64) -> Life {
        Life { rng: fastrand::Rng::with_seed(seed), lines: Vec::new() }
    }

    fn event(&mut self, at: u64, name: &str, properties: &str) {
        let id = self.lines.len();
        self.lines.push((at, format!("at {at}s c1 {name} {properties} id=e{id}")));
    }

    fn profile(&mut self) {
        let traits = r#"{"country":"SE","signed_up_at":"2026-01-04T10:00:00Z","age":34,"interests":["hiking","chess"],"values":["sustainability"],"birth_date":"1991-04-12","email":"anna.svensson@example.org","plan":"free"}"#;
        self.lines.push((0, format!("at 0s c1 traits {traits}")));
        self.lines.push((1, "at 1s c1 consent email_marketing granted".into()));
        self.event(2, "signed_up", "{}");
        self.event(3, "page_viewed", r#"{"utm_source":"tiktok","kind":"landing"}"#);
    }

    /// A visit of about six views of some hundred products, as the shop of `segmentd generate` has it.
    fn visit(&mut self, at: u64) {
        let mut at = at;
        self.event(at, "login", "{}");
        self.event(at + 1, "page_viewed", r#"{"kind":"landing"}"#);
        if self.rng.u8(0..3) == 0 {
            self.event(at + 3, "search_performed", r#"{"query":"shoes","results":12}"#);
        }
        for _ in 0..self.rng.u32(3..10) {
            at += self.rng.u64(8..90);
            let (product, category) = (self.rng.u32(0..200), ["shoes", "sneakers", "bags", "hats"][self.rng.usize(0..4)]);
            let price = self.rng.u32(20..180);
            self.event(
                at,
                "product_viewed",
                &format!(r#"{{"product_id":"p-{product:04}","category":"{category}","price":"{price}.00","currency":"EUR"}}"#),
            );
            if self.rng.u8(0..10) == 0 {
                self.event(
                    at + 2,
                    "add_to_cart",
                    &format!(r#"{{"product_id":"p-{product:04}","category":"{category}","quantity":1,"price":"{price}.00"}}"#),
                );
            }
        }
        self.event(at + 5, "app_opened", "{}");
        if self.rng.u8(0..2) == 0 {
            self.event(at + 6, "article_read", "{}");
            self.event(at + 7, "video_watched", "{}");
        }
    }

    fn order(&mut self, at: u64) {
        let total = self.rng.u32(30..160);
        self.event(at, "checkout_started", "{}");
        self.event(at + 60, "order_completed", &format!(r#"{{"order_id":"o","total":"{total}.00","channel":"web","currency":"EUR"}}"#));
    }

    /// Bytes at an instant and, where they are asked for, where they are.
    fn bytes(mut self, plan: &Arc<Plan>, end: u64) -> (usize, String) {
        self.lines.sort_by_key(|l| l.0);
        let lines: Vec<String> = self.lines.into_iter().map(|(_, line)| line).collect();
        let script = Script::parse(&format!("---\n{}\nclock {end}s\n", lines.join("\n"))).unwrap_or_else(|e| panic!("{e}"));
        let (engine, out) = play(&script, plan);
        assert!(out.dead_letters.is_empty(), "{:?}", out.dead_letters.first());
        let mut parts = engine.bytes_by_part("c1");
        parts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let shown: Vec<String> = parts.iter().map(|(what, n)| format!("{n:6} {what}")).collect();
        (engine.bytes_of("c1"), shown.join("\n"))
    }
}

fn check(what: &str, seen: Vec<(usize, String)>, most: usize) {
    let sizes: Vec<usize> = seen.iter().map(|s| s.0).collect();
    if std::env::var_os("MEMORY").is_some() {
        let (_, shown) = seen.iter().max_by_key(|s| s.0).expect("some");
        println!("{what}: {sizes:?}\n{shown}\n");
    }
    let mean = sizes.iter().sum::<usize>() / sizes.len();
    assert!(mean <= most, "{what}: {sizes:?} B, {mean} B in the mean, more than {most} B:\n{}", seen[0].1);
}

#[test]
fn an_active_customer_takes_at_most_two_kilobytes() {
    let plan = plan();
    let life = |seed: u64| {
        let mut life = Life::new(seed);
        life.profile();
        // Two or three visits a week for a third of a year, an order every third week, in the middle of the last visit.
        let mut day = 1;
        while day < 120 {
            life.visit(day * DAY + 36_000);
            if life.rng.u8(0..7) == 0 {
                life.order(day * DAY + 38_000);
            }
            if life.rng.u8(0..3) == 0 {
                life.event(day * DAY + 30_000, "email_clicked", r#"{"campaign":"news"}"#);
            }
            day += life.rng.u64(1..5);
        }
        life.visit(120 * DAY);
        life.bytes(&plan, 120 * DAY + 900)
    };
    check("active", (0..8).map(life).collect(), 2_048);
}

#[test]
fn a_customer_who_stopped_coming_takes_a_few_hundred_bytes() {
    let plan = plan();
    let life = |seed: u64| {
        let mut life = Life::new(seed);
        life.profile();
        life.visit(DAY);
        life.visit(3 * DAY);
        if seed.is_multiple_of(2) {
            life.order(3 * DAY + 2_000);
        }
        life.bytes(&plan, 200 * DAY)
    };
    check("stopped", (0..8).map(life).collect(), 850);
}

#[test]
fn a_quiet_customer_who_came_once_takes_less_than_three_hundred_bytes() {
    let plan = plan();
    let life = |seed: u64| {
        let mut life = Life::new(seed);
        life.lines.push((0, r#"at 0s c1 traits {"country":"SE"}"#.into()));
        life.event(3, "page_viewed", r#"{"utm_source":"tiktok","kind":"landing"}"#);
        let view = format!(r#"{{"product_id":"p-{seed:04}","category":"shoes","price":"90.00","currency":"EUR"}}"#);
        life.event(20, "product_viewed", &view);
        life.bytes(&plan, 200 * DAY)
    };
    check("once", (0..4).map(life).collect(), 300);
}
