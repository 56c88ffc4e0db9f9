//! Each form of condition and of term that this version evaluates, one by one, against the oracle: as entry, as negation, as exit condition,
//! and as a published field, over logs of the random generator. (`tests/simulation.rs` combines forms at random; this list makes sure that
//! none is left out.)

use segmentd::testing::against::{check, compile};
use segmentd::testing::scenario::{Item, ItemBody, Scenario, Tree, shrink};

/// Logs per form.
const LOGS: usize = 4;

const CONDITIONS: &[&str] = &[
    "count(a.n) in last 10m >= 2",
    "sum(b[v >= 10 SEK].v) ever >= 80 SEK",
    "sum(b[v between 1 SEK and 9 SEK].v) in last 1h = 0 SEK",
    "customer.age * 2 >= count(a) ever",
    "customer.rank * 10 EUR <= sum(a.m) ever",
    "(count(a) ever + 1) * 2 > 5",
    "sum(a.m) in last 1h * 0.5 >= 40 EUR",
    "sum(a.m) in last 1h / sum(b.m) in last 1h > 0.5",
    "avg(a.m) in last 1h / avg(b.m) in last 1h >= 1",
    "max(a.m) in last 10m - min(a.m) in last 10m > 0 EUR",
    "max(a.n) ever in [2, 3]",
    "last(a).s in [\"x\", \"Y\"]",
    "last(a).n between 1 and 2",
    "last(a).q",
    "not last(a).q",
    "first(b).cur = \"EUR\"",
    "last(b).v >= 10 SEK",
    "last(c).tags contains \"x\"",
    "last(c).tags is empty",
    "last(a).s is empty",
    "last(a).s starts with \"x\"",
    "last(a).s contains \"y\" ignoring case",
    "count(a) in last 10m = count(b) in last 10m",
    "count(a) in last 10m != count(b) in last 1h",
    "distinct(a.n) in last 1h >= 2",
    "distinct(a.m) ever >= 2",
    "distinct(a.q) ever = 2",
    "distinct(a.w) ever >= 2",
    "distinct(a.d) between 5m and 1h ago >= 1",
    "distinct(a.s) in last 10m = count(a) in last 10m",
    "sum(a.n) ever / count(a) ever >= 1.5",
    "sum(a.n) ever / 0 > 1",
    "not (sum(a.n) ever / 0 > 1)",
    "count(activity) between 5m and 10m ago > count(activity) in last 5m",
    "min(a.n) at least 10m ago < 1",
    "max(a.n) at least 10m ago >= 2",
    "avg(a.n) at least 10m ago >= 1",
    "sum(a.n) at least 10m ago >= 3",
    "avg(a.n) ever >= 1.5",
    "min(a.m) ever < 1 EUR",
    "max((a | b).m) between 5m and 1h ago >= 80 EUR",
    "first(a) at least 10m ago",
    "last(a) at least 10m ago",
    "first(a) between 5m and 10m ago",
    "last(a) between 5m and 10m ago",
    "first((a | c)) ever",
    "customer.first_seen at least 1h ago",
    "customer.first_seen between 10m and 1h ago",
    "customer.first_seen in next 1h",
    "customer.signup in next 1h and customer.signup is known",
    "customer.signup >= last(a).at",
    "customer.signup = customer.signup",
    "customer.country = last(a).s",
    "customer.age = 18.0",
    "customer.rank in [0.3, 1]",
    "customer.age in [18, 29]",
    "customer.vip = false",
    "customer.vip != true",
    "customer.tags contains all [\"x\", \"y\"]",
    "not (customer.tags contains \"x\")",
    "any a[w is known] in last 10m",
    "any a[w >= 2026-01-05T12:00:00Z] ever",
    "any a[n + 1 >= 2, d * 2 > 1] in last 1h",
    "any a[m * 2 >= 100 EUR] in last 1h",
    "any a[m / n > 20 EUR] ever",
    "any a[m / 10 EUR > 2] ever",
    "at least 2 (a[q] | b[v >= 10 EUR] | c) in last 10m",
    "exactly 0 a in last 10m",
    "at most 0 a in last 10m",
    "count(a) in last 10m < 1",
    "count(a) in last 10m <= 0",
    "0 = count(a) in last 10m",
    "3 > count(a) ever",
    "1 <= count(a) between 5m and 10m ago",
    "at least 64 a ever",
    "count(a) ever between 2 and 3",
    "count(a) in last 1h between 1 and 2",
    "sum(a.m) in last 1h between 10 EUR and 100 EUR",
    "sum(a.d) in last 1h = 0.3",
    "sum(a.d) ever != 0.4",
    "avg(a.d) in last 1h = 0.9",
    "((any a in last 10m) for at least 5m) for at least 5m",
    "(count(a) in last 10m >= count(b) in last 10m) for at least 10m",
    "(customer.signup in last 1h) for at least 10m",
    "(score(z) >= 2) for at least 5m",
    "score(z) < 1 and any a ever",
    "score(z) = 1",
    "score(z) != 1",
    "score(z) between -1 and 1",
    "score(z) <= -1",
    "not (score(z) > 0.5)",
    "2 <= score(z)",
    "cart.items is empty",
    "cart.items is not empty",
    "cart.value / cart.quantity >= 10 EUR",
    "cart.value - 10 EUR > 0 EUR",
    "cart.quantity = count(add) ever",
    "cart.changed_at >= last(activity).at",
    "cart.changed_at < last(a).at",
    "cart.items has [product_id = \"p1\", quantity >= 2]",
    "cart.items has [price * quantity >= 50 EUR]",
    "cart.items has [category is unknown]",
    "not (cart.items has [category = \"shoes\"])",
    "cart.items has [not (product_id = \"p1\")]",
    "(cart is not empty) for at least 10m",
    "cart.changed_at in next 10m",
    "any put ever",
    "last(put).lines is known",
    "any add[quantity * price >= 50 EUR] ever",
    "distinct(add.product_id) ever >= 2",
    "sum(add.quantity) in last 1h >= 3",
    "any a in this session",
    "no c in this session",
    "at least 3 activity in this session",
    "exactly 2 a in this session",
    "count(a) in this session > count(b) in this session",
    "sum(a.m) in this session >= 100 EUR",
    "avg(a.n) in this session >= 1.5",
    "max(a.n) in this session = 2",
    "min(b.n) in this session < 1",
    "distinct(a.s) in this session >= 2",
    "first(a) in this session",
    "last(b) in this session",
    "first(c) in this session",
    "(any a in this session) for at least 10m",
    "at least 2 a per s in this session",
    "at least 1 c[n >= 1] in this session",
    "any a since last b",
    "no a since last b",
    "at least 2 a since last b",
    "exactly 1 c since last (a | b)",
    "count(a) since last b > count(b) ever",
    "sum(a.m) since last b >= 100 EUR",
    "avg(a.n) since last c >= 1",
    "max(a.m) since last b >= 80 EUR",
    "min(a.n) since last b < 1",
    "distinct(a.s) since last b >= 2",
    "first(a) since last b",
    "last(a) since last c",
    "first(activity) since last a",
    "at least 2 activity since last a[n >= 1]",
    "at least 2 a per s since last b",
    "any a per s in last 10m",
    "at least 2 a per s in last 1h",
    "exactly 2 a per n in last 1h",
    "at least 2 (a | b) per n ever",
    "count(a) per s between 5m and 1h ago >= 1",
    "count(a) per s in last 1h > count(b) in last 1h",
    "count(a) per s ever in [2, 4]",
    "sum(a.m) per n in last 1h >= 100 EUR",
    "avg(a.n) per s ever >= 1",
    "max(a.m) per s in last 1h > 50 EUR",
    "min(a.n) per s in last 10m >= 1",
    "distinct(a.n) per s in last 1h >= 2",
    "not (at least 2 a per s in last 1h)",
    "(at least 2 a per s in last 1h) for at least 5m",
    "sum(a.n) per q in last 1h >= 2",
    "customer.age <= count(a) per s ever",
    "at least 1 a[n > 0] per q at least 10m ago",
    "max(a.w) in last 1h in last 1d",
    "min(a.w) ever at least 1h ago",
    "max(a.w) in last 1h in next 1d",
    "max(a.w) per s ever in last 1d",
    "max(a.w) in last 1h >= 2026-01-05T12:00:00Z",
    "max(a.w) in last 1h = last(a).w",
    "min(a.w) in last 10m is known",
    "band(age(last(a).at), [1m, 10m, 1h]) = 1",
    "not (band(age(last(a).at), [10m, 1h]) = 0)",
    "band(score(z), [0.25, 1.5, 3]) >= 2",
    "band(sum(a.m) in last 1h, [10 EUR, 100 EUR]) in [0, 2]",
    "band(count(a) ever, [2, 4]) + band(age(first(a).at), [10m, 1h]) >= 2",
    "age(last(a).at) >= 10m",
    "age(last(a).at) > age(last(b).at)",
    "age(last(a).at) = age(last(b).at)",
    "age(last(a).at) between 5m and 1h",
    "age(last(a).at) in 5m..1h",
    "age(customer.signup) < 1h",
    "age(last(a).w) > 0s",
    "age(last(a).at) is known",
    "bucket(\"x\") < 50%",
    "bucket(\"x\") in 25%..75%",
    "customer.country matches /^S/",
    "any a[s matches /^[xX]$/] in last 1h",
    "count(a) in last 1h in 1..3",
    "score(z) in 0.5..2",
    "customer.signup in 2026-01-05T00:00:00Z..2026-01-06T00:00:00Z",
    "score(z) + score(z) >= 3",
    "score(z) * 2 < 3",
    "score(z) >= count(a) in last 10m + 0.5",
    "score(z) / 2 between 0.5 and 1",
    "score(z) - 1 <= 0",
    "entered segment w in last 10m",
    "left segment w in last 10m",
    "entered segment w between 5m and 1h ago",
    "left segment w since last b",
    "entered segment w in this session",
    "entered segment w in this day",
    "not entered segment w ever",
    "points(p) >= 2",
    "points(p) = 0",
    "points(p) > score(z) + 0.5",
    "stage(y) = \"one\"",
    "stage(y) != \"rest\"",
    "(stage(y) = \"two\") for at least 5m",
    "any trait_changed in last 10m",
    "at least 2 trait_changed[name = \"country\"] in last 1h",
    "last(trait_changed[name = \"rank\"]).to >= 0.5",
];

/// What some of the conditions refer to.
fn others() -> [Item; 3] {
    let leaf = |text: &str| Tree::Leaf(text.into());
    let points = vec![("give 1.5".to_string(), leaf("any a in last 10m")), ("give 1".to_string(), leaf("in segment w"))];
    let stages = vec![("one".to_string(), leaf("any a in last 10m")), ("two".to_string(), leaf("any (a | b) in last 1h"))];
    [
        segment("w", leaf("at least 2 a in last 30m"), None, &[]),
        Item { name: "p".into(), body: ItemBody::Points { rules: points } },
        Item { name: "y".into(), body: ItemBody::Stages { stages, otherwise: "rest".into() } },
    ]
}

const TERMS: &[&str] = &[
    "count(a) in last 1h",
    "count(a.n) ever",
    "sum(a.m) in last 1h",
    "sum(b[v >= 10 SEK].v) ever",
    "sum(a.d) ever",
    "avg(a.n) ever",
    "avg(a.m) in last 1h",
    "avg(a.d) ever",
    "min(a.n) in last 1h",
    "max(a.m) between 5m and 1h ago",
    "distinct(a.s) ever",
    "last(a).s",
    "first(a).w",
    "last(a).at",
    "last(a).q",
    "last(c).tags",
    "last(b).v",
    "count(a) ever / count(b) ever",
    "sum(a.m) ever / count(a) ever",
    "sum(a.m) ever * 0.5 - 1 EUR",
    "score(z)",
    "customer.country",
    "customer.rank",
    "customer.tags",
    "customer.first_seen",
    "cart.value",
    "cart.items",
    "cart.quantity",
    "cart.changed_at",
    "count(a) in this session",
    "sum(a.m) in this session",
    "max(a.n) in this session",
    "count(a) since last b",
    "sum(a.m) since last b",
    "avg(a.n) since last c",
    "min(a.d) since last b",
    "distinct(a.s) since last b",
    "max(a.w) in last 1h",
    "min(a.w) ever",
];

fn segment(name: &str, when: Tree, exit: Option<Tree>, emit: &[String]) -> Item {
    Item { name: name.into(), body: ItemBody::Segment { when, exit, clauses: Vec::new(), emit: emit.to_vec() } }
}

/// Catalogues with a cart and their logs, with other definitions.
fn bases() -> impl Iterator<Item = Scenario> {
    (0..).map(Scenario::generate).filter(|s| s.catalogue.contains("cart {") && s.steps.len() > 20)
}

fn score() -> Item {
    let rules = ["a + 2", "b - 1", "c resets"].map(String::from).to_vec();
    Item { name: "z".into(), body: ItemBody::Score { half_life: "10m".into(), rules, cap: Some("5".into()) } }
}

/// Checks the scenario; a failure is made small first.
fn agrees(scenario: Scenario, what: &str) {
    if let Err(e) = compile(&scenario) {
        panic!("{what}: {e}");
    }
    if let Err(first) = check(&scenario) {
        let small = shrink(scenario, 1_500, |s| compile(s).is_ok() && check(s).is_err());
        panic!("{what}: {first}\n\nmade small: {:?}\n{small}", check(&small).err());
    }
}

#[test]
fn every_form_of_condition_agrees_with_the_oracle() {
    for form in CONDITIONS {
        for mut scenario in bases().take(LOGS) {
            let tree = Tree::Leaf(form.to_string());
            scenario.items = vec![
                score(),
                segment("s", tree.clone(), None, &[]),
                segment("t", Tree::Leaf("any a in last 1h".into()), Some(tree.clone()), &[]),
                segment("u", Tree::Not(Box::new(tree)), None, &[]),
            ];
            scenario.items.extend(others());
            agrees(scenario, form);
        }
    }
}

#[test]
fn every_form_of_term_agrees_with_the_oracle() {
    for mut scenario in bases().take(4 * LOGS) {
        let emit: Vec<_> = TERMS.iter().enumerate().map(|(i, term)| format!("e{i} = {term}")).collect();
        scenario.items = vec![
            score(),
            segment("s", Tree::Leaf("at least 2 a in last 1h".into()), None, &emit),
            segment("t", Tree::Leaf("no (b | c) in last 10m".into()), None, &emit),
        ];
        agrees(scenario, "fields");
    }
}

/// Conditions `per` a key, each the only one of its definition.
const KEYED: &[&str] = &[
    "any a per s in last 10m",
    "at least 2 a per s in last 1h",
    "at least 2 (a | b) per n in last 1h",
    "at least 1 a per n between 5m and 1h ago",
    "sum(a.m) per n in last 1h >= 100 EUR",
    "at least 2 a per s in this session",
    "at least 2 a per s since last b",
    "count(a) per s in last 1h > count(b) in last 1h",
    "count(a) per s in last 1h > points(by_key)",
    "sequence(a then b) per s since last c",
    "sequence(a then (a | b) within 20m without b[n = 1]) per n since last (b | c)",
    "sequence(a[q] then no b within 10m) per n since last a",
];

/// Points have keys of their own, which are nobody else's.
fn points_by_key() -> Item {
    let rules = [("give 1", "at least 1 a per n in last 1h"), ("take 2", "at least 3 (a | b) per n in last 1h")];
    let rules = rules.map(|(points, when)| (points.to_string(), Tree::Leaf(when.into()))).to_vec();
    Item { name: "by_key".into(), body: ItemBody::Points { rules } }
}

#[test]
fn the_key_that_is_published_agrees_with_the_oracle() {
    for form in KEYED {
        for mut scenario in bases().take(2 * LOGS) {
            let tree = Tree::Leaf(form.to_string());
            let emit = &["k = key".to_string(), "n = count(a) ever".to_string()];
            let with_points = &["p = points(by_key)".to_string(), "k = key".to_string()];
            scenario.items = vec![
                points_by_key(),
                segment("s", tree.clone(), None, emit),
                segment("t", tree.clone(), Some(Tree::Leaf("any b in last 10m".into())), emit),
                segment("u", Tree::Leaf("any b in last 10m".into()), Some(tree.clone()), emit),
                segment("v", tree, None, with_points),
            ];
            agrees(scenario, form);
        }
    }
}
