//! The fast decoder and the slow one agree on random records and on broken ones.

use fastrand::Rng;

use segmentd::engine::batch::Batch;
use segmentd::wire::{DecodeOptions, UnknownEvents, WrongType, json};

use super::decode::raw;
use super::reference::{self, Out};
use super::schema::{every_type, schema};

/// Values that are right for some type, nearly right, or right for none.
const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "\"true\"",
    "\"false\"",
    "0",
    "-0",
    "1",
    "10.0",
    "1e3",
    "1.5",
    "-7",
    "12.340000000000001",
    "0.125",
    "1e-7",
    "0.0000005",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "1e400",
    "0e9",
    "\"10\"",
    "\"-10\"",
    "\"10.0\"",
    "\"+5\"",
    "\"\"",
    "\" 1\"",
    "\"12.345\"",
    "\"89.90\"",
    "\"1e2\"",
    "\".5\"",
    "\"5.\"",
    "\"abc\"",
    "\"a\"",
    "\"b\\\"c\"",
    "\"\\u0062\\\"c\"",
    "\"EUR\"",
    "\"JPY\"",
    "\"KWD\"",
    "\"eur\"",
    "\"\\u0045UR\"",
    "\"2026-11-23\"",
    "\"2026-02-29\"",
    "\"2024-02-29\"",
    "\"2026-11-23T10:00:00Z\"",
    "\"2026-11-23T10:00:00.123987+01:00\"",
    "\"2026-11-23T10:00:00\"",
    "\"0000-01-01T00:00:00+01:00\"",
    "1764000000",
    "1764000000123",
    "1764000000.1239",
    "\"1764000000\"",
    "-1.9999",
    "253402300799",
    "253402300800",
    "\"1h30m\"",
    "\"30m1h\"",
    "\"90\"",
    "\"0ms\"",
    "\"59.3,18.06\"",
    "\"59.3, 18.06\"",
    "\"91,0\"",
    "\"inf,0\"",
    "\"1\"",
    "{\"lat\":59.3,\"lon\":18}",
    "{\"lon\":\"18\",\"lat\":59.3,\"x\":[1]}",
    "{\"lat\":59.3}",
    "{\"lat\":59.3,\"lon\":181}",
    "{}",
    "[]",
    "[1,2]",
    "[\"x\",null,3]",
    "[[1,2],[],null,[3]]",
    "[{}]",
    "[{\"product_id\":\"p\",\"quantity\":2,\"price\":1.5,\"meta\":{\"currency\":\"SEK\"}},null]",
    "{\"quantity\":1,\"price\":\"2\",\"meta\":{\"currency\":\"EUR\"}}",
    "{\"quantity\":\"x\"}",
    "[{\"quantity\":true}]",
    "{\"y\":[{\"z\":5}],\"t\":6}",
    "{\"y\":{\"0\":{\"z\":7}}}",
    "{\"y\":[[],{\"z\":1}]}",
    "\"\\ud83d\\ude00\\n\\u00e9\"",
    "\"caf\u{e9}\"",
    "[1,[2,[3,{\"a\":[]}]]]",
];

/// Names and what writes their values.
type Members = Vec<(String, Box<dyn Fn(&mut Writer)>)>;

struct Writer {
    rng: Rng,
    out: String,
}

impl Writer {
    fn space(&mut self) {
        if self.rng.u8(..12) == 0 {
            let space = *self.rng.choice(&[" ", "\n", "\t", "\r\n  "]).expect("not empty");
            self.out.push_str(space);
        }
    }

    fn name(&mut self, name: &str) {
        self.space();
        self.out.push('"');
        for c in name.chars() {
            if self.rng.u8(..60) == 0 {
                self.out.push_str(&format!("\\u{:04x}", c as u32));
            } else {
                self.out.push(c);
            }
        }
        self.out.push('"');
        self.space();
        self.out.push(':');
        self.space();
    }

    fn object(&mut self, mut members: Members) {
        self.rng.shuffle(&mut members);
        self.out.push('{');
        for (i, (name, value)) in members.iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            self.name(name);
            value(self);
            self.space();
        }
        self.out.push('}');
    }

    fn value(&mut self) {
        let value = *self.rng.choice(VALUES).expect("not empty");
        self.out.push_str(value);
    }

    /// Properties or traits of every type, some twice, some unknown; mostly of the right type.
    fn properties(&mut self, names: &[String]) {
        let mut members: Members = Vec::new();
        for name in names {
            for _ in 0..*self.rng.choice(&[0, 0, 0, 1, 1, 1, 1, 2]).expect("not empty") {
                let right = right(name);
                if self.rng.u8(..80) > 0 && !right.is_empty() {
                    let value = *self.rng.choice(right).expect("not empty");
                    members.push((name.clone(), Box::new(move |w| w.out.push_str(value))));
                } else {
                    members.push((name.clone(), Box::new(Writer::value)));
                }
            }
        }
        self.object(members);
    }

    fn record(&mut self) {
        let mut names: Vec<String> = every_type().iter().map(|p| p.name.clone()).collect();
        names.extend(["x", "x", "unused", "product_id", "category", "total", "p0", "p29", "other"].map(String::from));
        let mut members: Members = Vec::new();
        let text = |choices: &'static [&'static str]| -> Box<dyn Fn(&mut Writer)> {
            Box::new(move |w: &mut Writer| {
                let choice = *w.rng.choice(choices).expect("not empty");
                w.out.push_str(choice);
            })
        };
        let customers =
            text(&["\"c\"", "\"c-\\u0034\"", "\"d\"", "\"e f\"", "42", "42", "1e2", "1e2", "\"c\"", "\"g\"", "null", "\"\"", "true"]);
        members.push(("customer".into(), customers));
        if self.rng.bool() {
            members.push(("id".into(), text(&["\"e-1\"", "\"e-1\"", "\"e-2\"", "\"e\\n\"", "7", "8", "null", "null", "\"\"", "[]"])));
        }
        if self.rng.bool() {
            members.push((
                "ts".into(),
                text(&[
                    "\"2026-11-23T10:00:00.123Z\"",
                    "\"2026-11-23T10:00:00Z\"",
                    "\"1969-01-01T00:00:00-02:30\"",
                    "null",
                    "null",
                    "null",
                    "5",
                    "\"x\"",
                ]),
            ));
        }
        for _ in 0..*self.rng.choice(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2]).expect("not empty") {
            let names = names.clone();
            match self.rng.u8(..20) {
                0..11 => {
                    let event = text(&[
                        "\"all\"",
                        "\"all\"",
                        "\"all\"",
                        "\"product_viewed\"",
                        "\"many\"",
                        "\"bare\"",
                        "\"Order Completed\"",
                        "\"no_such\"",
                        "null",
                        "5",
                    ]);
                    members.push(("event".into(), event));
                    if self.rng.u8(..10) > 0 {
                        members.push(("properties".into(), Box::new(move |w| w.properties(&names))));
                    }
                }
                11..16 => members.push(("traits".into(), Box::new(move |w| w.properties(&names)))),
                16 => members.push(("merge".into(), text(&["{\"from\":\"a\"}", "null"]))),
                17 => members.push(("erase".into(), text(&["true", "null"]))),
                18 => members.push((
                    "consent".into(),
                    Box::new(move |w| {
                        let members: Members = vec![
                            ("purpose".into(), text(&["\"sms\"", "\"sms\"", "\"no_such\"", "5"])),
                            ("granted".into(), text(&["true", "false", "\"true\"", "null"])),
                            ("until".into(), text(&["null", "\"2026-11-23T10:00:00Z\"", "\"x\""])),
                        ];
                        w.object(members);
                    }),
                )),
                _ => members.push((
                    "list".into(),
                    Box::new(move |w| {
                        let members: Members = vec![
                            ("name".into(), text(&["\"vip\"", "\"blocked\"", "\"no_such\"", "null"])),
                            ("member".into(), text(&["true", "\"false\"", "1"])),
                        ];
                        w.object(members);
                    }),
                )),
            }
        }
        if self.rng.u8(..10) == 0 {
            members.push((String::from("other"), Box::new(Writer::value)));
            members.push((String::from("properties"), text(&["null", "{}", "5", "{\"i\":5}"])));
            members.push((String::from("event"), text(&["\"all\"", "\"bare\"", "null"])));
        }
        self.object(members);
    }
}

/// Values of the right type for a property of [`every_type`].
fn right(name: &str) -> &'static [&'static str] {
    match name {
        "b" => &["true", "false", "\"true\"", "null"],
        "i" | "rec_x" => &["1", "10.0", "\"-5\"", "1e3"],
        "d" | "eur" | "yen" | "price" | "total" => &["12.345", "\"89.90\"", "-0.005", "7", "null"],
        "t" | "product_id" | "category" => &["\"abc\"", "\"a\\tb\"", "5.0", "\"\""],
        "currency" => &["\"EUR\"", "\"JPY\"", "null"],
        "at" => &["\"2026-11-23T10:00:00.123987+01:00\""],
        "s" => &["1764000000", "1764000000.1239", "\"1764000000\""],
        "ms" => &["1764000000123", "\"1764000000123\""],
        "day" => &["\"2024-02-29\""],
        "dur" => &["\"1h30m\"", "\"250ms\""],
        "geo" => &["\"59.3, 18.06\"", "{\"lat\":1,\"lon\":\"2.5\"}"],
        "kind" => &["\"a\"", "\"b\\\"c\""],
        "tags" => &["[]", "[\"x\",null,3]"],
        "lines" => &["[{\"product_id\":\"p\",\"quantity\":2,\"price\":1.5,\"meta\":{\"currency\":\"SEK\"}},{}]", "[]"],
        "rec" => &["{\"quantity\":1,\"price\":\"2\",\"meta\":{\"currency\":\"EUR\"}}", "{\"quantity\":3}"],
        "lists" => &["[[1,2],[],null,[3]]"],
        "x" => &["{\"y\":[{\"z\":5}],\"t\":6}", "{\"y\":{\"0\":{\"z\":7}}}", "{\"t\":null}", "5"],
        _ => &[],
    }
}

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    const ALPHABET: &[u8] = b"{}[],:\"\\ \n0123456789-+.eEtfnul\x00\x1f\x7f\x80\xc3\xa9\xff";
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..bytes.len().max(1));
        let byte = *rng.choice(ALPHABET).expect("not empty");
        match rng.u8(..4) {
            _ if bytes.is_empty() => bytes.push(byte),
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 => drop(bytes.remove(at)),
            _ => {
                let from = rng.usize(..bytes.len());
                let part = bytes[from..(from + rng.usize(..20)).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
}

#[test]
fn the_fast_decoder_agrees_with_the_slow_one() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(11);
    let rounds = std::env::var("ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(8_000);
    println!("seed {seed}");
    let schema = schema();
    let options = [(UnknownEvents::Ignore, WrongType::Unknown), (UnknownEvents::DeadLetter, WrongType::DeadLetter)]
        .map(|(unknown_events, wrong_type)| DecodeOptions { unknown_events, wrong_type, placement: None });
    let mut decoders = options.clone().map(|o| json::Decoder::new(schema.clone(), o));
    let mut batch = Batch::default();
    let mut writer = Writer { rng: Rng::with_seed(seed), out: String::new() };
    let (mut accepted, mut records) = (0u32, 0u32);
    for round in 0..rounds {
        writer.out.clear();
        writer.record();
        let mut bytes = writer.out.clone().into_bytes();
        if round % 4 == 0 {
            mutate(&mut writer.rng, &mut bytes);
        }
        if batch.records.len() > 50 {
            batch.clear();
        }
        for (decoder, options) in decoders.iter_mut().zip(&options) {
            let before = batch.records.len();
            decoder.decode(&raw(None, Some(&bytes)), &mut batch);
            assert_eq!(batch.records.len(), before + 1, "exactly one record");
            let found = reference::out_of(&batch, &batch.records[before]);
            let want = reference::decode(&schema, options, &bytes);
            assert_eq!(found, want, "round {round}: {}", String::from_utf8_lossy(&bytes));
            records += 1;
            accepted += u32::from(matches!(found, Out::Record { .. }));
        }
    }
    // The comparison means something only where much is accepted and much is refused.
    assert!(accepted * 5 > records && accepted * 5 < records * 4, "{accepted} of {records}");
}
