use std::collections::BTreeMap;

use super::*;
use crate::engine::features::codec::put_value;
use crate::model::Value;

const MINUTE: i64 = 60_000;

fn plan() -> CartPlan {
    CartPlan { home: Currency::EUR, buffer_max: Millis(10 * MINUTE) }
}

fn euro(minor: i64) -> Option<Money> {
    Some(Money { minor, currency: Currency::EUR })
}

fn line(product: &str, quantity: Option<i64>, price: Option<Money>) -> CartLine<'static> {
    CartLine { key: line_key(Some(product), None), quantity, price, values: &[] }
}

/// Applies an event that is in order, at its own instant.
fn apply(cart: &mut Cart, action: CartAction, ts: i64, lines: &[CartLine<'_>]) -> CartOutcome {
    cart.apply(&plan(), &CartEvent { action, ts: Timestamp(ts), lines }, Timestamp(ts), true, plan().buffer_max)
}

fn state(cart: &Cart) -> (i64, i64, u32, Option<i64>) {
    let s = cart.summary();
    (s.value, s.quantity, s.items, s.changed_at.map(|t| t.0))
}

/// LANGUAGE.md cases 54 and 55.
#[test]
fn an_order_takes_its_lines_and_one_without_lines_takes_all() {
    let mut cart = Cart::default();
    for (i, (product, price)) in [("p1", 1_000), ("p2", 2_000), ("p3", 3_000)].into_iter().enumerate() {
        assert!(apply(&mut cart, CartAction::Add, i as i64, &[line(product, None, euro(price))]).changed);
    }
    assert_eq!(state(&cart), (6_000, 3, 3, Some(2)));
    assert!(apply(&mut cart, CartAction::Buy, 10, &[line("p2", Some(1), None)]).changed);
    assert_eq!(state(&cart), (4_000, 2, 2, Some(10)));
    assert!(!apply(&mut cart, CartAction::Buy, 20, &[line("p9", Some(1), None)]).changed);
    assert!(!apply(&mut cart, CartAction::Remove, 21, &[line("p2", None, None)]).changed);
    assert_eq!(state(&cart), (4_000, 2, 2, Some(10)));
    assert!(apply(&mut cart, CartAction::Buy, 30, &[]).changed);
    assert_eq!(state(&cart), (0, 0, 0, Some(30)));
    assert!(!apply(&mut cart, CartAction::Clear, 40, &[]).changed);
    assert_eq!(state(&cart), (0, 0, 0, Some(30)));
}

/// LANGUAGE.md case 56.
#[test]
fn an_older_set_is_ignored() {
    let mut cart = Cart::default();
    apply(&mut cart, CartAction::Set, 100 * MINUTE, &[line("p1", Some(2), euro(500))]);
    for ts in [95 * MINUTE, 5 * MINUTE] {
        let old = CartEvent { action: CartAction::Set, ts: Timestamp(ts), lines: &[line("p2", Some(9), euro(1))] };
        let outcome = cart.apply(&plan(), &old, Timestamp(101 * MINUTE), false, plan().buffer_max);
        assert!(!outcome.changed);
        assert_eq!(outcome.late, ts == 5 * MINUTE);
    }
    assert_eq!(state(&cart), (1_000, 2, 1, Some(100 * MINUTE)));
    assert!(!apply(&mut cart, CartAction::Set, 102 * MINUTE, &[line("p1", None, euro(500)), line("p1", Some(1), None)]).changed);
    assert_eq!(state(&cart), (1_000, 2, 1, Some(100 * MINUTE)));
}

#[test]
fn adds_take_the_new_price_and_foreign_lines_have_no_value() {
    let mut cart = Cart::default();
    let dollars = Some(Money { minor: 700, currency: Currency::parse("USD").expect("code") });
    apply(&mut cart, CartAction::Add, 1, &[line("p1", Some(2), euro(1_000)), line("p2", None, dollars), line("p3", None, None)]);
    apply(&mut cart, CartAction::Add, 2, &[line("p1", None, euro(900))]);
    assert_eq!(state(&cart), (2_700, 5, 3, Some(2)));
    assert!(!apply(&mut cart, CartAction::Add, 3, &[line("p1", Some(0), euro(1))]).changed);
    apply(&mut cart, CartAction::Remove, 4, &[line("p1", Some(1), None)]);
    assert_eq!(state(&cart), (1_800, 4, 3, Some(4)));
    apply(&mut cart, CartAction::Remove, 5, &[line("p1", None, None)]);
    assert_eq!(state(&cart), (0, 2, 2, Some(5)));
}

#[test]
fn what_comes_on_top_of_200_lines_is_one_line() {
    let mut cart = Cart::default();
    let names: Vec<String> = (0..LINES_MAX + 3).map(|i| format!("p{i}")).collect();
    let mut overflowed = 0;
    for (i, name) in names.iter().enumerate() {
        overflowed += apply(&mut cart, CartAction::Add, i as i64, &[line(name, Some(2), euro(10))]).overflowed;
    }
    assert_eq!((overflowed, state(&cart)), (3, (4_060, 406, 201, Some(202))));
    let mut bytes = Vec::new();
    cart.encode(&plan(), Timestamp(9), &mut bytes);
    let mut back = Cart::default();
    back.decode(&plan(), Timestamp(9), &mut Reader::new(&bytes));
    assert_eq!(state(&back), state(&cart));
    apply(&mut back, CartAction::Clear, 1_000, &[]);
    assert_eq!(state(&back), (0, 0, 0, Some(1_000)));
}

#[test]
fn a_cart_that_nothing_happened_to_is_one_byte() {
    let mut bytes = Vec::new();
    Cart::default().encode(&plan(), Timestamp(9), &mut bytes);
    assert_eq!(bytes, [0]);
    let mut reader = Reader::new(&bytes);
    assert_eq!(Summary::peek(Timestamp(9), &mut reader), Summary::default());
}

/// The whole sequence folded from the start every time, without checkpoint.
#[derive(Default)]
struct Naive {
    /// (place, ts, action, lines)
    events: Vec<(i64, i64, CartAction, Vec<(u64, Option<i64>, Option<Money>, i64)>)>,
    changed_at: Option<i64>,
    lines: BTreeMap<u64, (i64, Option<Money>, i64)>,
}

impl Naive {
    fn apply(&mut self, late: bool, ts: i64, action: CartAction, lines: Vec<(u64, Option<i64>, Option<Money>, i64)>) {
        let place = match self.events.last() {
            Some(last) if late => last.0,
            _ => ts,
        };
        let at = self.events.iter().rposition(|e| e.0 <= place).map_or(0, |i| i + 1);
        self.events.insert(at, (place, ts, action, lines));
        let mut cart: BTreeMap<u64, (i64, Option<Money>, i64)> = BTreeMap::new();
        let mut newest_set = i64::MIN;
        let shape = |cart: &BTreeMap<u64, (i64, Option<Money>, i64)>| {
            cart.iter().map(|(k, l)| (*k, l.0, l.1)).collect::<Vec<(u64, i64, Option<Money>)>>()
        };
        for (_, ts, action, lines) in &self.events {
            let before = shape(&cart);
            let mut added = false;
            if *action == CartAction::Set {
                if *ts < newest_set {
                    continue;
                }
                newest_set = *ts;
                cart.clear();
            }
            if *action == CartAction::Clear || (*action == CartAction::Buy && lines.is_empty()) {
                cart.clear();
            }
            for (key, quantity, price, value) in lines {
                match action {
                    CartAction::Set | CartAction::Add => {
                        let q = quantity.unwrap_or(1);
                        if q > 0 {
                            added |= *action == CartAction::Add;
                            let l = cart.entry(*key).or_insert((0, None, 0));
                            *l = (l.0 + q, price.or(l.1), *value);
                        }
                    }
                    _ => {
                        let all = cart.get(key).map_or(0, |l| l.0);
                        let q = quantity.unwrap_or(if *action == CartAction::Buy { 1 } else { all });
                        if let Some(l) = cart.get_mut(key)
                            && q > 0
                        {
                            l.0 -= q;
                        }
                        cart.retain(|_, l| l.0 > 0);
                    }
                }
            }
            if added || shape(&cart) != before {
                self.changed_at = Some(self.changed_at.map_or(*ts, |at| at.max(*ts)));
            }
        }
        self.lines = cart;
    }
}

#[test]
fn carts_answer_like_the_whole_sequence_folded_anew() {
    for seed in 0..400u64 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut cart, mut naive) = (Cart::default(), Naive::default());
        let (mut clock, mut greatest) = (0i64, i64::MIN);
        for _ in 0..60 {
            clock += rng.i64(0..4 * MINUTE);
            let ts = match rng.u8(0..4) {
                0 => clock - rng.i64(0..30 * MINUTE),
                1 => clock - rng.i64(0..10 * MINUTE + 1),
                _ => clock,
            };
            if rng.u8(0..4) == 0 {
                // Some other event of the customer.
                greatest = greatest.max(ts);
                continue;
            }
            let action = [CartAction::Add, CartAction::Add, CartAction::Set, CartAction::Remove, CartAction::Buy, CartAction::Clear]
                [rng.usize(0..6)];
            let n = if action == CartAction::Clear { 0 } else { rng.usize(0..3) };
            let lines: Vec<(u64, Option<i64>, Option<Money>, i64)> = (0..n)
                .map(|_| {
                    let price = [None, euro(rng.i64(1..5)), Some(Money { minor: 1, currency: Currency::parse("SEK").expect("code") })];
                    (rng.u64(0..4), [None, Some(rng.i64(-1..4))][rng.usize(0..2)], price[rng.usize(0..3)], rng.i64(0..3))
                })
                .collect();
            let values: Vec<Vec<u8>> = lines
                .iter()
                .map(|l| {
                    let mut out = Vec::new();
                    put_value(&mut out, &Value::Int(l.3));
                    out
                })
                .collect();
            let given: Vec<CartLine<'_>> =
                lines.iter().zip(&values).map(|(l, values)| CartLine { key: l.0, quantity: l.1, price: l.2, values }).collect();
            let in_order = ts >= greatest;
            greatest = greatest.max(ts);
            let late = !in_order && clock - ts > plan().buffer_max.0;
            let before = (naive.lines.clone(), naive.changed_at);
            naive.apply(late, ts, action, lines.clone());
            let event = CartEvent { action, ts: Timestamp(ts), lines: &given };
            let outcome = cart.apply(&plan(), &event, Timestamp(clock), in_order, plan().buffer_max);
            assert_eq!(outcome.late, late, "seed {seed}");
            assert!(outcome.changed || before == (naive.lines.clone(), naive.changed_at), "seed {seed}");
            let mut bytes = Vec::new();
            cart.encode(&plan(), Timestamp(5), &mut bytes);
            let summary = cart.summary();
            assert_eq!(Summary::peek(Timestamp(5), &mut Reader::new(&bytes)), summary);
            let mut reader = Reader::new(&bytes);
            cart.decode(&plan(), Timestamp(5), &mut reader);
            assert!(reader.done() && !reader.failed());
            assert_eq!(cart.summary(), summary);
            let got: BTreeMap<u64, (i64, Option<Money>, i64)> = cart
                .lines()
                .iter()
                .map(|l| {
                    let ValueRef::Int(value) = cart.value(l, 0) else { panic!("an int was kept") };
                    (l.key, (l.quantity, l.price, value))
                })
                .collect();
            assert_eq!((&got, summary.changed_at.map(|t| t.0)), (&naive.lines, naive.changed_at), "seed {seed}");
            let value: i64 = got.values().filter_map(|l| l.1.filter(|p| p.currency == Currency::EUR).map(|p| p.minor * l.0)).sum();
            assert_eq!((summary.value, summary.quantity), (value, got.values().map(|l| l.0).sum()), "seed {seed}");
            assert!(cart.pending.iter().all(|p| p.place.0 >= clock - plan().buffer_max.0));
        }
    }
}

#[test]
fn the_largest_prices_and_quantities_saturate() {
    let mut cart = Cart::default();
    for (i, product) in ["p1", "p2", "p3"].into_iter().enumerate() {
        for _ in 0..2 {
            apply(&mut cart, CartAction::Add, i as i64, &[line(product, Some(i64::MAX), euro(i64::MAX))]);
        }
    }
    assert_eq!(state(&cart), (i64::MAX, i64::MAX, 3, Some(2)));
}

#[test]
fn noise_never_panics() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut cart = Cart::default();
    for _ in 0..5_000 {
        let noise: Vec<u8> = (0..rng.usize(0..60)).map(|_| rng.u8(..)).collect();
        cart.decode(&plan(), Timestamp(0), &mut Reader::new(&noise));
    }
}
