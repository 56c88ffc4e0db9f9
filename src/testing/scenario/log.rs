//! Random logs: disorder, duplicates, ties, arrivals exactly at boundaries, late, future and too-old events, idle moves, and cuts where
//! nothing may change.

use super::definitions::{Catalogue, Lengths, ZONES};
use super::{Cut, Step};
use crate::segtest::script::{RecordBody, RecordStep};
use crate::time::{Millis, Timestamp};

struct Writer<'a> {
    rng: &'a mut fastrand::Rng,
    lengths: &'a Lengths,
    catalogue: &'a Catalogue,
    now: Timestamp,
    /// Instants that deadlines hang on.
    seen: Vec<Timestamp>,
    ids: u32,
    records: Vec<RecordStep>,
}

pub fn generate(rng: &mut fastrand::Rng, lengths: &Lengths, catalogue: &Catalogue) -> Vec<Step> {
    let n = if rng.u8(..4) == 0 { rng.usize(4..70) } else { rng.usize(4..32) };
    let n_customers = rng.usize(1..3);
    let mut writer =
        Writer { rng, lengths, catalogue, now: lengths.start, seen: vec![lengths.start - Millis::HOUR], ids: 0, records: Vec::new() };
    let mut steps = Vec::new();
    for _ in 0..n {
        writer.advance();
        match writer.rng.u8(..20) {
            0..=3 => {
                // What became true by time may be what the next deadline counts from.
                writer.seen.extend((writer.rng.u8(..4) == 0).then_some(writer.now));
                steps.push(Step::Clock(writer.now));
            }
            4 => steps.push(Step::Cut(Cut::Reload)),
            5 => steps.push(Step::Cut(Cut::Wake)),
            6..=8 => steps.push(Step::Cut(Cut::Batch)),
            _ => {
                let record = writer.record(n_customers);
                writer.seen.push(record.ts.unwrap_or(record.at).min(record.at));
                writer.records.push(record.clone());
                steps.push(Step::Record(record));
            }
        }
    }
    // Whatever is still due comes out at the end: an idle log far beyond the longest window, and sometimes beyond months.
    let days = [10, 10, 10, 40, 70][writer.rng.usize(..5)];
    steps.push(Step::Clock(writer.now + Millis(days * Millis::DAY.0)));
    steps
}

impl Writer<'_> {
    /// An instant on which a deadline may fall, a millisecond off at times.
    fn boundary(&mut self) -> Timestamp {
        if !self.lengths.tiny && self.rng.u8(..6) == 0 {
            return self.midnight();
        }
        let x = self.seen[self.rng.usize(..self.seen.len())];
        let d = self.lengths.millis(self.rng);
        x + d + Millis([0, 0, 0, 1, -1][self.rng.usize(..5)])
    }

    /// The next midnight or full hour of some zone, a millisecond off at times.
    fn midnight(&mut self) -> Timestamp {
        let zone = if self.rng.bool() { self.catalogue.zone } else { ZONES[self.rng.usize(..ZONES.len())] };
        let now = jiff::Timestamp::from_millisecond(self.now.0).unwrap_or_default();
        let Ok(local) = now.in_tz(zone) else { return self.now };
        let next = if self.rng.bool() { local.tomorrow().and_then(|t| t.start_of_day()) } else { local.round(jiff::Unit::Hour) };
        let off = [0, 0, 0, 1, -1][self.rng.usize(..5)];
        next.map_or(self.now, |z| Timestamp(z.timestamp().as_millisecond() + off))
    }

    fn advance(&mut self) {
        let to = match self.rng.u8(..10) {
            0 | 1 => self.now,
            2 => self.now + Millis(1),
            3..=5 if self.lengths.tiny => self.now + Millis(self.rng.i64(0..12)),
            3 => self.now + Millis(self.rng.i64(0..1_200_000)),
            4 => self.now + Millis(60_000 * self.rng.i64(0..12)),
            5 => self.now + Millis(self.rng.i64(0..2 * Millis::DAY.0)),
            _ => self.boundary(),
        };
        // Now and then the clock of the log stands or goes back a little (S32 applies such records at the clock).
        self.now = if self.rng.u8(..30) == 0 { self.now - Millis(self.rng.i64(0..120_000)) } else { to.max(self.now) };
        if self.rng.u8(..200) == 0 {
            self.now = self.now + Millis(31 * Millis::DAY.0);
        }
    }

    fn ts(&mut self) -> Option<Timestamp> {
        let at = self.now;
        match self.rng.u8(..20) {
            0..=7 => None,
            8 | 9 => {
                let d = self.lengths.millis(self.rng);
                Some(at - Millis(self.rng.i64(0..d.0 + 2)))
            }
            10 => Some(at),
            11 | 12 if self.lengths.tiny => Some(at - Millis(self.rng.i64(0..30))),
            11 => Some(at - Millis(self.rng.i64(0..1_200_000))),
            12 => Some(at - Millis(60_000 * self.rng.i64(0..30))),
            13 => Some(at - Millis([600_000, 600_001, 599_999][self.rng.usize(..3)])),
            14 => Some(self.seen[self.rng.usize(..self.seen.len())].min(at)),
            15 => Some(at - Millis(self.rng.i64(0..2 * Millis::DAY.0))),
            16 => Some(at + Millis([1, 1_000, 300_000, 300_001, 3_600_000][self.rng.usize(..5)])),
            17 if self.rng.u8(..4) == 0 => Some(at - Millis(30 * Millis::DAY.0 + self.rng.i64(-1..2))),
            _ => {
                let x = self.boundary();
                (x <= at).then_some(x)
            }
        }
    }

    fn record(&mut self, n_customers: usize) -> RecordStep {
        if !self.records.is_empty() && self.rng.u8(..12) == 0 {
            // A duplicate, as a producer that retries would send it; sometimes with another body.
            let mut again = self.records[self.rng.usize(..self.records.len())].clone();
            again.at = self.now;
            if self.rng.u8(..3) == 0 && matches!(again.body, RecordBody::Event { .. }) {
                again.body = self.event();
            }
            return again;
        }
        let customer = format!("c{}", self.rng.usize(..n_customers));
        let ts = self.ts();
        let body = match self.rng.u8(..10) {
            0 => self.traits(),
            1 => match self.rng.u8(..8) {
                0 => RecordBody::Traits("{\"nobody_knows\":1}".into()),
                1..=4 => {
                    let until = match self.rng.u8(..4) {
                        0 => Some(self.near()),
                        1 => Some(self.boundary()),
                        _ => None,
                    };
                    self.seen.extend(until);
                    RecordBody::Consent { purpose: self.one(&["mail", "news", "mail", "other"]), granted: self.rng.u8(..3) > 0, until }
                }
                5 => RecordBody::List { name: self.one(&["vips", "vips", "other"]), member: self.rng.bool() },
                _ => self.event(),
            },
            _ => self.event(),
        };
        let id = if matches!(body, RecordBody::Event { .. }) && self.rng.bool() {
            self.ids += 1;
            Some(format!("e{}", self.ids))
        } else {
            None
        };
        RecordStep { at: self.now, customer, ts, id, body }
    }

    fn one(&mut self, all: &[&str]) -> String {
        all[self.rng.usize(..all.len())].to_string()
    }

    fn object(&mut self, fields: &[(&str, &[&str])]) -> String {
        let mut out = Vec::new();
        for (name, values) in fields {
            if self.rng.u8(..5) > 0 {
                out.push(format!("\"{name}\":{}", self.one(values)));
            }
        }
        format!("{{{}}}", out.join(","))
    }

    fn event(&mut self) -> RecordBody {
        const N: (&str, &[&str]) = ("n", &["0", "1", "2", "3", "-1", "\"2\""]);
        const M: (&str, &[&str]) = ("m", &["10", "\"80.00\"", "0.5", "100", "-60", "0"]);
        const S: (&str, &[&str]) = ("s", &["\"x\"", "\"Y\"", "\"xy\"", "\"\"", "null"]);
        const PRODUCT: (&str, &[&str]) = ("product_id", &["\"p1\"", "\"p2\"", "\"p3\""]);
        const QUANTITY: (&str, &[&str]) = ("quantity", &["1", "2", "3"]);
        const PRICE: (&str, &[&str]) = ("price", &["10", "\"25.50\"", "80"]);
        let pick = self.rng.u8(..10);
        let (name, properties) = match pick {
            5.. if self.catalogue.cart => match pick {
                5 | 6 => {
                    let more = self.object(&[QUANTITY, PRICE, ("category", &["\"shoes\"", "\"hats\""])]);
                    ("add", with_product(&self.one(PRODUCT.1), &more))
                }
                7 => {
                    let more = self.object(&[QUANTITY]);
                    ("del", with_product(&self.one(PRODUCT.1), &more))
                }
                8 => {
                    let lines = self.lines(&[QUANTITY]);
                    ("buy", if self.rng.u8(..4) == 0 { "{\"m\":20}".to_string() } else { format!("{{\"lines\":{lines}}}") })
                }
                _ if self.rng.bool() => {
                    let lines = self.lines(&[QUANTITY, PRICE]);
                    ("put", format!("{{\"lines\":{lines}}}"))
                }
                _ => ("clr", "{}".to_string()),
            },
            0 | 5 | 6 => {
                let w = format!("\"{}\"", self.near());
                let w: &[&str] = &[&w];
                let (day, len) = (format!("\"{}\"", self.lengths.date(self.rng)), format!("\"{}\"", self.lengths.one(self.rng)));
                let (day, len): (&[&str], &[&str]) = (&[&day], &[&len]);
                let d = ("d", &["0.3", "1.5", "\"2\"", "0.1"][..]);
                let q = ("q", &["true", "false", "\"true\""][..]);
                ("a", self.object(&[N, M, S, ("w", w), q, d, ("day", day), ("len", len)]))
            }
            1 | 2 | 7 => ("b", self.object(&[N, M, S, ("v", &["10", "80"]), ("cur", &["\"EUR\"", "\"SEK\""])])),
            3 | 8 => ("c", self.object(&[N, S, ("tags", &["[\"x\"]", "[\"x\",\"y\"]", "[]"]), ("items", THINGS)])),
            _ => ("a", "{}".to_string()),
        };
        RecordBody::Event { name: name.into(), properties }
    }

    fn lines(&mut self, fields: &[(&str, &[&str])]) -> String {
        let n = self.rng.usize(..5);
        let lines: Vec<_> = ["\"p1\"", "\"p2\"", "null", "\"p1\""]
            .iter()
            .take(n)
            .map(|product| {
                let more = self.object(fields);
                with_product(product, &more)
            })
            .collect();
        format!("[{}]", lines.join(","))
    }

    /// An instant around now, for properties that hold one.
    fn near(&mut self) -> Timestamp {
        let d = self.lengths.millis(self.rng);
        match self.rng.u8(..3) {
            0 => self.now - d,
            1 => self.now + d,
            _ => self.now + Millis(d.0 / 2),
        }
    }

    fn traits(&mut self) -> RecordBody {
        let signup = format!("\"{}\"", self.near());
        let born = ["\"1990-03-29\"", "\"2000-02-29\"", "\"1988-01-08\"", "null"].map(String::from);
        let born =
            if self.rng.bool() { self.one(&born.each_ref().map(String::as_str)) } else { format!("\"{}\"", self.lengths.date(self.rng)) };
        if self.catalogue.zones && self.rng.u8(..5) == 0 {
            let zone = match self.rng.u8(..8) {
                0 => "null".to_string(),
                1 => "\"Nowhere/Land\"".into(),
                _ => format!("\"{}\"", ZONES[self.rng.usize(..ZONES.len())]),
            };
            return RecordBody::Trait { name: "timezone".into(), value: zone };
        }
        let all: [(&str, &[&str]); 9] = [
            ("country", &["\"SE\"", "\"NO\"", "\"DE\"", "null"]),
            ("age", &["17", "18", "29", "30", "null"]),
            ("signup", &[&signup, "null"]),
            ("vip", &["true", "false", "null"]),
            ("rank", &["0.3", "0.29", "1"]),
            ("tags", &["[\"x\"]", "[\"y\",\"x\"]", "[]", "null"]),
            ("born", &[&born]),
            ("home", &["{\"lat\":59.3,\"lon\":18.1}", "\"0.1,0.1\"", "{\"lat\":-33.9,\"lon\":151.1}", "null"]),
            ("things", THINGS),
        ];
        if self.rng.u8(..4) == 0 {
            return RecordBody::Traits(self.object(&all));
        }
        let (name, values) = all[self.rng.usize(..all.len())];
        RecordBody::Trait { name: name.into(), value: self.one(values) }
    }
}

const THINGS: &[&str] =
    &["[{\"kind\":\"x\",\"n\":2}]", "[{\"kind\":\"y\",\"n\":1},{\"kind\":\"x\"}]", "[{\"n\":3},{\"kind\":\"x\",\"n\":1}]", "[]", "null"];

fn with_product(product: &str, object: &str) -> String {
    let rest = object.trim_start_matches('{');
    let comma = if rest == "}" { "" } else { "," };
    format!("{{\"product_id\":{product}{comma}{rest}")
}
