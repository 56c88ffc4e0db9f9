//! The JData February sample as events, for tests only: 29,999 actions of about a thousand shoppers, with exact repeats, ties within a
//! second and removes without an add. The data's owner's terms were not read, so the file is used where it lies and never shipped.

use std::io::{BufReader, Read};
use std::path::PathBuf;

use serde_json::json;

/// Catalogue and segments for it.
pub const DEFINITIONS: &str = include_str!("jdata.seg");

/// One event in the order of the log.
pub struct Event {
    pub customer: String,
    /// RFC 3339; also the record's arrival.
    pub ts: String,
    /// Native JSON, no id: repeats stay repeats.
    pub json: String,
}

/// Where the sample lies, beside a checkout; `None` where it is absent, then a test says so and passes.
pub fn sample() -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/jdata_action_201602_first30k.csv.gz"));
    if path.exists() {
        return Some(path);
    }
    println!("skipped: the JData sample is not beside this checkout ({})", path.display());
    None
}

/// All events, ordered by time, ties as they stand in the file.
pub fn events(path: &PathBuf) -> Vec<Event> {
    let mut text = String::new();
    let file = std::fs::File::open(path).expect("the sample is readable");
    flate2::read::GzDecoder::new(BufReader::new(file)).read_to_string(&mut text).expect("a gzip file of UTF-8");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut out: Vec<Event> = reader
        .records()
        .filter_map(|row| {
            let row = row.expect("a CSV row");
            let (user, sku, time, model, kind, category, brand) = (&row[0], &row[1], &row[2], &row[3], &row[4], &row[5], &row[6]);
            let customer = format!("u-{}", user.trim_end_matches(".0"));
            let ts = format!("{}Z", time.replace(' ', "T"));
            let number = |text: &str| text.parse::<i64>().ok();
            // The sample has no prices: one that depends on the product alone.
            let price = format!("{}.99", number(sku).unwrap_or(0) % 400 + 5);
            let (event, properties) = match kind {
                "1" => ("browse", json!({"sku": sku, "category": number(category), "brand": number(brand)})),
                "2" => ("add_to_cart", json!({"product_id": sku, "quantity": 1, "price": price})),
                "3" => ("remove_from_cart", json!({"product_id": sku})),
                "4" => ("order", json!({"total": price, "lines": [{"product_id": sku, "quantity": 1}]})),
                "5" => ("follow", json!({"sku": sku})),
                "6" => ("click", json!({"sku": sku, "model": number(model)})),
                _ => return None,
            };
            let json = json!({"customer": customer, "event": event, "ts": ts, "properties": properties}).to_string();
            Some(Event { customer, ts, json })
        })
        .collect();
    out.sort_by(|a, b| a.ts.cmp(&b.ts));
    out
}
