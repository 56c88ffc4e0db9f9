//! Changes of definitions by themselves: another catalogue, a scan that records hurry, what warms up; what `.segtest` files cannot say.

use std::sync::Arc;

use segmentd::engine::batch::Batch;
use segmentd::engine::output::{Outputs, Published};
use segmentd::engine::{Activated, Busy, Engine, Settings};
use segmentd::lang::SourceFile;
use segmentd::model::{Cause, Value};
use segmentd::plan::Plan;
use segmentd::segtest::script::{EPOCH, RecordBody, RecordStep};
use segmentd::testing::against::Feed;
use segmentd::time::{Millis, Timestamp};

const MINUTE: i64 = 60_000;

fn plan(text: &str) -> Arc<Plan> {
    let compiled = segmentd::lang::compile(&[SourceFile::new("set.seg", text)]);
    let errors: Vec<String> = compiled.errors().map(ToString::to_string).collect();
    Arc::new(Plan::compile(Arc::new(compiled.workspace.unwrap_or_else(|| panic!("{}", errors.join("\n"))))))
}

fn minute(n: i64) -> Timestamp {
    EPOCH + Millis(n * MINUTE)
}

struct Run {
    engine: Engine,
    feed: Feed,
    out: Outputs,
}

impl Run {
    fn new(text: &str, settings: Settings) -> Run {
        let plan = plan(text);
        Run { feed: Feed::lenient(&plan), engine: Engine::new(plan, settings), out: Outputs::default() }
    }

    fn record(&mut self, at: i64, customer: &str, body: RecordBody) {
        let record = RecordStep { at: minute(at), customer: customer.into(), ts: None, id: None, body };
        let mut batch = Batch::default();
        self.feed.push(&record, &mut batch);
        self.engine.apply(&batch, None, &mut self.out);
    }

    fn event(&mut self, at: i64, customer: &str, name: &str, properties: &str) {
        self.record(at, customer, RecordBody::Event { name: name.into(), properties: properties.into() });
    }

    fn activate(&mut self, text: &str, number: u64) {
        let plan = plan(text);
        let clock = self.engine.clock();
        assert_eq!(self.engine.activate(plan.clone(), clock, number), Ok(Activated::Begun));
        self.feed.follow(&plan);
    }

    fn finish(&mut self) -> usize {
        let mut applies = 0;
        while self.engine.is_activating() {
            let applied = self.engine.apply(&Batch::default(), None, &mut self.out);
            assert_eq!((applied.changed, applied.scan.is_some()), (true, self.engine.is_activating()));
            applies += 1;
        }
        applies
    }

    fn changes(&mut self) -> Vec<String> {
        let words = |p: Published| {
            let c = p.change;
            format!("{} {} {} {}", c.kind.word(), c.segment, c.customer, c.cause.word())
        };
        std::mem::take(&mut self.out.changes).into_iter().map(words).collect()
    }

    fn members(&self, definition: &str) -> u64 {
        let definitions = &self.engine.plan().workspace().definitions;
        let at = definitions.iter().position(|d| d.name == definition).expect("it is defined");
        self.engine.members()[at]
    }
}

/// Every index moves: of events, properties, traits, purposes, lists, units, features, selectors.
#[test]
fn another_catalogue_moves_all_places_and_no_state() {
    let old = r#"
        event m is activity { n int  p string  product_id string }
        event z is activity { }
        trait country string
        trait level int
        trait plan enum ["free", "pro"]
        purpose news
        list vip
        cart { add m }
        segment keen { when at least 2 m[p = "x"] in last 1h and customer.country = "SE" and customer.level >= 3 }
        segment last_n { when last(m).n = 7 and sum(m.n) ever >= 8 }
        segment pro { when customer.plan = "pro" and in list vip and consent to news }
    "#;
    let new = r#"
        event a is activity { }
        event m is activity { extra string  n int  p string  product_id string }
        event z2 is activity { }
        trait age int
        trait country string
        trait level decimal
        trait plan enum ["basic", "free"]
        purpose mail
        purpose news
        list beta
        list vip
        cart { add m }
        segment aaa { when any a ever }
        segment keen { when at least 2 m[p = "x"] in last 1h and customer.country = "SE" and customer.level >= 3 }
        segment last_n { when last(m).n = 7 and sum(m.n) ever >= 8 }
        segment listed { when in list vip and consent to news and not in list beta }
        segment pro { when customer.plan = "free" and in list vip and consent to news }
    "#;
    let mut run = Run::new(old, Settings::default());
    run.record(0, "c", RecordBody::Traits(r#"{"country":"SE","level":3,"plan":"pro"}"#.into()));
    run.record(0, "c", RecordBody::Consent { purpose: "news".into(), granted: true, until: None });
    run.record(0, "c", RecordBody::List { name: "vip".into(), member: true });
    run.event(1, "c", "m", r#"{"n":1,"p":"x"}"#);
    run.event(2, "c", "m", r#"{"n":7,"p":"x"}"#);
    let mut entered = run.changes();
    entered.sort_unstable();
    assert_eq!(entered, ["entered keen c event", "entered last_n c event", "entered pro c event"]);
    run.activate(new, 1);
    run.finish();
    // `pro` is no word of the trait any more: unknown until it comes again; an int is a decimal.
    assert_eq!(run.changes(), ["entered listed c definition_created", "exited pro c definition_changed"]);
    let described = run.engine.describe("c");
    assert!(described.contains("customer.country = \"SE\"") && described.contains("customer.level = 3"), "{described}");
    assert!(!described.contains("\"pro\""), "{described}");
    run.event(3, "c", "m", r#"{"n":7,"p":"y","extra":"e"}"#);
    run.record(3, "c", RecordBody::Traits(r#"{"plan":"free"}"#.into()));
    assert_eq!(run.changes(), ["entered pro c event"]);
    assert_eq!((run.members("keen"), run.members("last_n"), run.members("listed"), run.members("pro")), (1, 1, 1, 1));
    run.engine.apply(&Batch::default(), Some(minute(120)), &mut run.out);
    assert_eq!(run.changes(), ["exited keen c timer"]);
}

#[test]
fn a_line_keeps_what_was_asked_for_and_gets_the_rest_when_it_comes_again() {
    let catalogue = "event add is activity { product_id string  category string  brand string  price money in EUR }\ncart { add add }\n";
    let by = |name: &str, value: &str| format!("segment {name} {{ when cart.items has [{name} = \"{value}\"] }}\n");
    let mut run = Run::new(&format!("{catalogue}{}", by("category", "shoes")), Settings::default());
    run.event(0, "c", "add", r#"{"product_id":"p","category":"shoes","brand":"b","price":"5"}"#);
    assert_eq!(run.changes(), ["entered category c event"]);
    run.activate(&format!("{catalogue}{}{}", by("brand", "b"), by("category", "shoes")), 1);
    run.finish();
    assert_eq!(run.changes(), [""; 0]);
    run.event(1, "c", "add", r#"{"product_id":"p","category":"shoes","brand":"b","price":"5"}"#);
    assert_eq!(run.changes(), ["entered brand c event"]);
    run.activate(&format!("{catalogue}{}", by("brand", "b")), 2);
    run.finish();
    assert_eq!(run.changes(), ["exited category c definition_deleted"]);
}

const THREE: &str = "event a is activity { }\nevent b is activity { }\n";

/// The scan goes by hundreds, records and timers in between see what is in force, and a count of members is right at any time.
#[test]
fn the_scan_is_spread_and_hurried_by_records() {
    let text = |rest: &str| format!("{THREE}segment keen {{ when any a in last 1h }}\n{rest}");
    let mut run = Run::new(&text(""), Settings { scan_customers: 10, ..Settings::default() });
    for i in 0..95 {
        run.event(0, &format!("c{i}"), "a", "{}");
    }
    run.changes();
    run.activate(&text("segment today { when any a in last 1d }\n"), 9);
    assert_eq!((run.members("keen"), run.members("today")), (95, 0));
    assert_eq!(run.engine.activate(plan(&text("")), minute(0), 10), Err(Busy));
    assert_eq!(run.engine.activate(run.engine.plan().clone(), minute(0), 10), Ok(Activated::Same));
    // Ten of the scan, and one of the record that may be one of them.
    run.event(1, "c17", "b", "{}");
    let first = run.changes();
    assert!(first.contains(&"entered today c17 definition_created".to_owned()), "{first:?}");
    assert!((10..=11).contains(&first.len()), "{first:?}");
    assert_eq!(run.members("today"), first.len() as u64);
    // What is due of those whom the scan has not reached waits for it, and comes for its own instant.
    let applied = run.engine.apply(&Batch::default(), Some(minute(60)), &mut run.out);
    let decided: Vec<Timestamp> = run.out.changes.iter().filter(|p| p.change.cause == Cause::Timer).map(|p| p.change.decided_at).collect();
    assert!(applied.scan.is_some() && decided.len() < 95 && decided.iter().all(|t| *t == minute(60)), "{decided:?}");
    while run.engine.apply(&Batch::default(), Some(minute(60)), &mut run.out).scan.is_some() {}
    let all = run.changes();
    assert_eq!(all.iter().filter(|c| c.ends_with("timer")).count(), 95);
    assert_eq!(first.len() + all.iter().filter(|c| c.ends_with("created")).count(), 95);
    assert_eq!((run.members("keen"), run.members("today")), (0, 95));
    assert_eq!(run.engine.describe("c3").lines().filter(|l| l.contains("in today since")).count(), 1);
}

#[test]
fn warming_says_until_when() {
    let text = |rest: &str| format!("{THREE}segment keen {{ when any a in last 1h }}\n{rest}");
    let mut run = Run::new(&text(""), Settings::default());
    run.event(5, "c", "a", "{}");
    assert_eq!(run.engine.warming(), []);
    run.activate(
        &text(
            "segment ever { when no b ever }\nsegment more { when at least 3 a in last 2h }\nsegment none { when no b in last 1d }\n\
             segment parent { when in segment none }\nsegment wide { when any a in last 2h }\n",
        ),
        1,
    );
    run.finish();
    let named = |run: &Run| -> Vec<(String, Option<Timestamp>)> {
        let definitions = run.engine.plan().workspace().definitions.clone();
        run.engine.warming().into_iter().map(|w| (definitions[w.definition.at()].name.clone(), w.until)).collect()
    };
    let day = Some(minute(5 + 24 * 60));
    let ring = Some(minute(5 + 2 * 60));
    let mut got = named(&run);
    got.sort();
    // A ring that holds more is read by all that count the same events.
    let want = [("ever", None), ("keen", ring), ("more", ring), ("none", day), ("parent", day), ("wide", ring)];
    assert_eq!(got, want.map(|(name, until)| (name.to_owned(), until)));
    run.event(2 * 60 + 5, "c", "a", "{}");
    assert_eq!(named(&run).len(), 3);
    run.event(24 * 60 + 5, "c", "a", "{}");
    assert_eq!(named(&run), [("ever".to_owned(), None)]);
    // Nobody is left who lacks anything that comes back with the window; what the customer lacks for ever is kept.
    let description = run.engine.describe("c");
    assert!(description.contains("? no b ever"), "{description}");
    // An engine without customers has nothing to warm up.
    let mut empty = Run::new(&text(""), Settings::default());
    empty.activate(&text("segment ever { when no b ever }\n"), 1);
    assert_eq!((empty.engine.is_activating(), empty.engine.warming()), (false, vec![]));
}

/// What was published keeps the version, the fields and the id under which it was.
#[test]
fn a_member_who_stays_keeps_the_row_that_was_published() {
    let text = |rest: &str| format!("event a is activity {{ n int }}\ntrait x int\nsegment s {{ when any a ever  {rest} }}\n");
    let mut run = Run::new(&text("emit n = last(a).n, x = customer.x"), Settings::default());
    run.event(0, "c", "a", r#"{"n":4}"#);
    let before = run.engine.memberships("c");
    run.out.changes.clear();
    run.activate(&text("emit m = count(a) ever, n = last(a).n"), 1);
    run.finish();
    assert_eq!(run.changes(), [""; 0]);
    let after = run.engine.memberships("c");
    assert_eq!((after[0].version, after[0].since), (before[0].version, before[0].since));
    let fields: Vec<(&str, &Value)> = after[0].emit.iter().map(|(name, value)| (&**name, value)).collect();
    assert_eq!(fields, [("m", &Value::Missing), ("n", &Value::Int(4))]);
}

/// A definition that comes back before anything happened to a customer finds its state whole; afterwards it does not.
#[test]
fn state_that_nobody_reads_waits_for_the_next_record() {
    let both = format!("{THREE}segment a {{ when no a ever }}\nsegment b {{ when any b ever }}\n");
    let only = format!("{THREE}segment b {{ when any b ever }}\n");
    let mut run = Run::new(&both, Settings::default());
    run.event(0, "still", "b", "{}");
    run.event(0, "busy", "b", "{}");
    run.changes();
    run.activate(&only, 1);
    run.finish();
    run.event(1, "busy", "b", "{}");
    let mut gone = run.changes();
    gone.sort_unstable();
    assert_eq!(gone, ["exited a busy definition_deleted", "exited a still definition_deleted"]);
    // Through a set in between as well.
    run.activate(&format!("{only}segment c {{ when at least 2 b ever }}\n"), 2);
    run.finish();
    assert_eq!(run.changes(), ["entered c busy definition_created"]);
    run.activate(&both, 3);
    run.finish();
    let mut back = run.changes();
    back.sort_unstable();
    assert_eq!(back, ["entered a still definition_created", "exited c busy definition_deleted"]);
}
