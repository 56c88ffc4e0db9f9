//! What a change says beside who, where and when: until when it holds, why, and its fields, on cases small enough to be worked out by hand.
//! (`tests/simulation.rs` compares everything else with the oracle.)

use std::sync::Arc;

use segmentd::lang::{SourceFile, compile};
use segmentd::plan::Plan;
use segmentd::segtest::script::{Script, ScriptTime};
use segmentd::testing::against::{play, sort};

/// Runs a script without expectations; one line per change: what, until when, why, fields.
fn lines(text: &str) -> Vec<String> {
    let script = Script::parse(text).expect("a script");
    let compiled = compile(&[SourceFile::new("changes.seg", script.definitions.as_str())]);
    let errors: Vec<_> = compiled.errors().map(|d| d.to_string()).collect();
    let plan = Arc::new(Plan::compile(Arc::new(compiled.workspace.unwrap_or_else(|| panic!("{}", errors.join("\n"))))));
    let (_, mut out) = play(&script, &plan);
    sort(&mut out.changes);
    let show = |p: &segmentd::engine::output::Published| {
        let c = &p.change;
        let until = c.valid_until.map_or("-".to_string(), |t| ScriptTime(t).to_string());
        let reason: Vec<_> = c.reason.iter().map(|r| format!("{} [{} / {}]", r.condition, r.observed, r.threshold)).collect();
        let emit: Vec<_> = c.emit.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} {} {} until {until}; {}; {}", c.seq, c.kind.word(), c.segment, reason.join(", "), emit.join(" "))
    };
    out.changes.iter().map(show).collect()
}

fn is(text: &str, want: &[&str]) {
    assert_eq!(lines(text), want, "\n{text}\n{:#?}", lines(text));
}

#[test]
fn until_when_it_holds() {
    is(
        "event a { }\nsegment s { when any a in last 7d }\nsegment t { when any a ever }\nsegment u { when no a in last 1h }\n---\n\
         at 0s c1 a {}\nat 1d c1 a {}\nclock 30d",
        &[
            "1 entered s until 7d; any a in last 7d [1 / 1]; ",
            "2 entered t until -; any a ever [1 / 1]; ",
            "3 entered u until -; no a in last 1h [0 / 0]; ",
            "4 exited u until 1d1h; no a in last 1h [1 / 0]; ",
            "5 entered u until -; no a in last 1h [0 / 0]; ",
            "6 exited s until -; any a in last 7d [0 / 1]; ",
        ],
    );
}

#[test]
fn until_when_in_chains() {
    is(
        "event a { }\nevent b { }\nsegment p { when any a in last 1h }\nsegment q { when in segment p and any b ever }\n---\n\
         at 0s c1 a {}\nat 1h c1 b {}\nclock 2h",
        &[
            "1 entered p until 1h; any a in last 1h [1 / 1]; ",
            "2 entered q until 1h; in segment p [member / member], any b ever [1 / 1]; ",
            "3 exited p until -; any a in last 1h [0 / 1]; ",
            "4 exited q until -; in segment p [no member / member]; ",
        ],
    );
}

#[test]
fn why() {
    is(
        "event a { n int  m money in EUR }\ntrait country string\ntrait on bool\n\
         segment s_and { when at least 2 a in last 1h and customer.country = \"SE\" }\n\
         segment s_or { when sum(a.m) ever >= 80 EUR or customer.country != \"SE\" }\n\
         segment s_not { when not (any a in last 10m) and any a ever }\n\
         segment s_held { when customer.on for at least 10m }\n\
         segment s_child { when in segment s_and }\n\
         segment s_avg { when avg(a.n) in last 1h > 1.5 }\n---\n\
         at 0s c1 traits {\"country\":\"SE\",\"on\":true}\nat 1m c1 a {\"n\":1,\"m\":\"79.99\"}\nat 2m c1 a {\"n\":3,\"m\":\"0.01\"}\nclock 2h",
        &[
            "1 entered s_and until 1h1m; at least 2 a in last 1h [2 / 2], customer.country = \"SE\" [\"SE\" / \"SE\"]; ",
            "2 entered s_avg until 1h2m; avg(a.n) in last 1h > 1.5 [2 / 1.5]; ",
            "3 entered s_or until -; sum(a.m) ever >= 80 EUR [80.00 EUR / 80 EUR]; ",
            "4 entered s_child until 1h1m; in segment s_and [member / member]; ",
            "5 entered s_held until -; customer.on for at least 10m [10m / 10m]; ",
            "6 entered s_not until -; not any a in last 10m [0 / 1], any a ever [2 / 1]; ",
            "7 exited s_and until -; at least 2 a in last 1h [1 / 2]; ",
            "8 exited s_child until -; in segment s_and [no member / member]; ",
            "9 exited s_avg until -; avg(a.n) in last 1h > 1.5 [unknown / 1.5]; ",
        ],
    );
}

#[test]
fn its_fields() {
    is(
        "event add { product_id string  quantity int  price money in EUR }\nevent a { n int  d decimal  t instant }\ncart { add add }\n\
         score q { half_life 1h  add + 3 }\n\
         segment s { when any add ever and any a ever  emit cart.value, cart.items, cart.quantity, intent = score(q), \
         mean = avg(a.n) ever, last = last(a).t, none = last(a).d, ratio = count(a) ever / count(add) ever }\n---\n\
         at 0s c1 add {\"product_id\":\"p1\",\"quantity\":2,\"price\":\"44.95\"}\nat 0s c1 a {\"n\":1}\nat 1h c2 a {\"n\":1,\"t\":\"2026-01-05T00:00:00Z\"}\nat 2h c2 a {\"n\":2}\n\
         at 2h c2 add {\"product_id\":\"p1\",\"price\":\"1\"}",
        &[
            "1 entered s until -; any add ever [1 / 1], any a ever [1 / 1]; value=89.90 EUR items=1 quantity=2 intent=3 mean=1 last=unknown none=unknown ratio=1",
            "1 entered s until -; any add ever [1 / 1], any a ever [2 / 1]; value=1.00 EUR items=1 quantity=1 intent=3 mean=1.5 last=unknown none=unknown ratio=2",
        ],
    );
}

/// Segments that exclude each other, and a chain: neither may cost more than a look at each.
#[test]
fn waterfalls_and_chains_of_segments_are_cheap() {
    let mut tiers = String::from("event a { n int }\n");
    for i in 0..40 {
        let above: String = (0..i).map(|j| format!(" and not (in segment t{j:02})")).collect();
        tiers += &format!("segment t{i:02} {{ when any a[n >= {}] ever{above} }}\n", 100 - i);
    }
    let out = lines(&format!("{tiers}---\nat 0s c1 a {{\"n\":61}}\nat 1s c1 a {{\"n\":100}}"));
    let words: Vec<_> = out.iter().map(|l| l.split(" until").next().unwrap_or_default()).collect();
    assert_eq!(words, ["1 entered t39", "2 entered t00", "3 exited t39"]);

    let mut chain = String::from("event a { }\nsegment s0 { when any a in last 1h }\n");
    for i in 1..1_000 {
        chain += &format!("segment s{i} {{ when in segment s{} }}\n", i - 1);
    }
    let out = lines(&format!("{chain}---\nat 0s c1 a {{}}\nclock 2h"));
    assert_eq!(out.len(), 2_000);
    assert!(out[63].contains("s63 until 1h"), "{}", out[63]);
}

#[test]
fn sequences_say_which_completion_and_when() {
    is(
        "event a { }\nevent b { }\nsegment s { when sequence(a then b within 10m) in last 1h }\n\
         segment t { when sequence(a then no b within 1h) between 30m and 2h ago }\n\
         segment u { when not sequence(a then no b within 1h) ever and any a ever }\n---\n\
         at 0s c1 a {}\nat 5m c1 b {}\nat 1h c1 a {}\nclock 5h",
        &[
            "1 entered u until 1h; not sequence(a then no b within 1h) ever [not completed before 2026-01-05T01:00:00.000Z / ], any a ever [1 / 1]; ",
            "2 entered s until 1h5m; sequence(a then b within 10m) in last 1h [completed at 2026-01-05T00:05:00.000Z, 0ms ago / 1h]; ",
            "3 exited s until -; sequence(a then b within 10m) in last 1h [completed at 2026-01-05T00:05:00.000Z, 1h ago / 1h]; ",
            "4 exited u until -; not sequence(a then no b within 1h) ever [completed at 2026-01-05T02:00:00.000Z, 0ms ago / ]; ",
            "5 entered t until 4h; sequence(a then no b within 1h) between 30m and 2h ago [completed at 2026-01-05T02:00:00.000Z, 30m ago / 30m to 2h]; ",
            "6 exited t until -; sequence(a then no b within 1h) between 30m and 2h ago [completed at 2026-01-05T02:00:00.000Z, 2h ago / 30m to 2h]; ",
        ],
    );
}
