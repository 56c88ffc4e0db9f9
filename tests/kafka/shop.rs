//! A small shop for this suite: definitions that use every kind of cause, and a seeded log of visits.

/// Windows of seconds, so that thousands of timers fall due within a log of minutes.
pub const DEFINITIONS: &str = r#"
workspace { timezone "UTC"  currency EUR }
event product_viewed  is activity { category string  price money in EUR }
event add_to_cart     is activity { product_id string  quantity int  price money in EUR }
event order_completed is activity { total money in EUR }
trait country string
cart { add add_to_cart  buy order_completed }

segment keen      { when at least 4 product_viewed in last 30s }
segment shoes     { when at least 2 product_viewed[category = "shoes", price >= 80 EUR] in last 1m }
segment spender   { when sum(order_completed.total) in last 5m >= 120 EUR }
segment idle      { when no activity in last 45s and any activity ever }
segment left_cart { when cart.value >= 50 EUR and cart.changed_at at least 20s ago  exit when cart is empty  emit cart.value, cart.items }
segment swede     { when customer.country = "SE" and any order_completed in last 2m }
"#;

/// The same with windows so short that everything that can fall due does so within ten seconds.
pub fn short_definitions() -> String {
    let shorter = [("30s", "3s"), ("45s", "2s"), ("20s", "1s"), ("last 1m", "last 4s"), ("last 5m", "last 8s"), ("last 2m", "last 6s")];
    shorter.iter().fold(DEFINITIONS.to_owned(), |text, (long, short)| text.replace(long, short))
}

/// One record to send.
pub struct Visit {
    /// Place among the inputs: 0 clicks, 1 purchases.
    pub input: usize,
    pub customer: String,
    /// Milliseconds; never goes back.
    pub at: i64,
    pub json: String,
}

/// `n` records of `customers` customers from `start` on, `step_ms` apart on average; the same for the same seed.
pub fn visits(seed: u64, n: usize, customers: u32, start: i64, step_ms: u64) -> Vec<Visit> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut at = start;
    (0..n)
        .map(|i| {
            at += random.u64(0..=2 * step_ms) as i64;
            let customer = format!("c-{}", random.u32(0..customers));
            let category = ["shoes", "shirts", "hats"][random.usize(0..3)];
            let price = random.u32(5..150);
            let (input, body) = match random.u32(0..100) {
                0..70 => (0, format!(r#""event":"product_viewed","properties":{{"category":"{category}","price":"{price}.50"}}"#)),
                70..85 => {
                    let product = random.u32(0..20);
                    (0, format!(r#""event":"add_to_cart","properties":{{"product_id":"p{product}","quantity":1,"price":"{price}.00"}}"#))
                }
                85..95 => (1, format!(r#""event":"order_completed","properties":{{"total":"{price}.25"}}"#)),
                95..98 => (0, format!(r#""traits":{{"country":"{}"}}"#, ["SE", "DE", "FR"][random.usize(0..3)])),
                98 => (0, r#""event":"unheard_of""#.to_owned()),
                // A dead letter: the price is no price.
                _ => (0, r#""event":"product_viewed","properties":{"category":"hats","price":"cheap"}"#.to_owned()),
            };
            let json = format!(r#"{{"id":"e-{seed}-{i}","customer":"{customer}",{body}}}"#);
            Visit { input, customer, at, json }
        })
        .collect()
}
