//! Bytes of the per-customer state: varints, instants relative to a base, and typed values.
//!
//! Every encoding is self-delimiting, so that features stand one after another in a customer's blob. Reading never panics and never
//! allocates more than the bytes that are there allow: past the end or on nonsense a [`Reader`] yields zeroes and remembers that it
//! [`failed`](Reader::failed); whoever loads foreign bytes (a snapshot) checks that once at the end.
//!
//! **Source:** varints and zigzag as in Protocol Buffers' wire format.

use crate::engine::batch::{Batch, Datum};
use crate::model::{Currency, Decimal, Money, Value};
use crate::time::{Millis, Timestamp};

/// Deepest nesting of lists and records that is followed; records come from JSON, which is bounded by [`crate::limits::JSON_DEPTH_MAX`].
const DEPTH_MAX: usize = crate::limits::JSON_DEPTH_MAX;

/// Walks over encoded bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    failed: bool,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0, failed: false }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    pub fn done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Whether some read went past the end or met what no encoder writes.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    #[cold]
    fn fail(&mut self) -> u64 {
        self.failed = true;
        self.at = self.bytes.len();
        0
    }

    #[inline]
    pub fn byte(&mut self) -> u8 {
        match self.bytes.get(self.at) {
            Some(b) => {
                self.at += 1;
                *b
            }
            None => self.fail() as u8,
        }
    }

    #[inline]
    pub fn bytes(&mut self, n: usize) -> &'a [u8] {
        match self.at.checked_add(n).and_then(|end| self.bytes.get(self.at..end)) {
            Some(slice) => {
                self.at += n;
                slice
            }
            None => {
                self.fail();
                &[]
            }
        }
    }

    #[inline]
    pub fn u64(&mut self) -> u64 {
        match self.bytes.get(self.at) {
            Some(b) if *b < 0x80 => {
                self.at += 1;
                u64::from(*b)
            }
            _ => self.long_u64(),
        }
    }

    #[inline]
    fn long_u64(&mut self) -> u64 {
        // Up to eight bytes at once: those before the first without the high bit, their groups of seven bits pushed together.
        if let Some(chunk) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let x = u64::from_le_bytes(*chunk);
            let ends = !x & 0x8080_8080_8080_8080;
            if ends != 0 {
                let n = ends.trailing_zeros() / 8 + 1;
                let x = x & (u64::MAX >> (64 - 8 * n)) & 0x7F7F_7F7F_7F7F_7F7F;
                let x = (x & 0x007F_007F_007F_007F) | ((x & 0x7F00_7F00_7F00_7F00) >> 1);
                let x = (x & 0x0000_3FFF_0000_3FFF) | ((x & 0x3FFF_0000_3FFF_0000) >> 2);
                self.at += n as usize;
                return (x & 0x0FFF_FFFF) | ((x & 0x0FFF_FFFF_0000_0000) >> 4);
            }
        }
        self.slow_u64()
    }

    fn slow_u64(&mut self) -> u64 {
        let mut value = 0u64;
        for (i, b) in self.bytes[self.at..].iter().take(10).enumerate() {
            value |= u64::from(b & 0x7F) << (7 * i);
            if *b < 0x80 {
                if i == 9 && *b > 1 {
                    break;
                }
                self.at += i + 1;
                return value;
            }
        }
        self.fail()
    }

    #[inline]
    pub fn i64(&mut self) -> i64 {
        let n = self.u64();
        (n >> 1) as i64 ^ -((n & 1) as i64)
    }

    pub fn u128(&mut self) -> u128 {
        let mut value = 0u128;
        for i in 0..19 {
            let b = self.byte();
            value |= u128::from(b & 0x7F) << (7 * i);
            if b < 0x80 {
                return value;
            }
        }
        u128::from(self.fail())
    }

    pub fn i128(&mut self) -> i128 {
        let n = self.u128();
        (n >> 1) as i128 ^ -((n & 1) as i128)
    }

    /// A count of things that take at least `least` bytes each; fails where so many cannot follow, so that nobody reserves for nonsense.
    #[inline]
    pub fn count(&mut self, least: usize) -> usize {
        let n = self.u64();
        let rest = (self.bytes.len() - self.at) as u64;
        if n.saturating_mul(least as u64) > rest {
            return self.fail() as usize;
        }
        n as usize
    }

    #[inline]
    pub fn instant(&mut self, base: Timestamp) -> Timestamp {
        Timestamp(base.0.wrapping_add(self.i64()))
    }

    /// Eight bytes, little-endian: hashes and doubles, which do not compress.
    #[inline]
    pub fn fixed64(&mut self) -> u64 {
        self.bytes(8).try_into().map_or(0, u64::from_le_bytes)
    }

    /// Bytes with their length before them.
    #[inline]
    pub fn blob(&mut self) -> &'a [u8] {
        let n = self.count(1);
        self.bytes(n)
    }
}

#[inline]
pub fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    if value < 0x80 {
        return out.push(value as u8);
    }
    if value < 1 << 56 {
        // The reverse of the reader's way: groups of seven bits pulled apart, all at once.
        let n = (70 - value.leading_zeros()) / 7;
        let x = (value & 0x0FFF_FFFF) | ((value & 0x00FF_FFFF_F000_0000) << 4);
        let x = (x & 0x0000_3FFF_0000_3FFF) | ((x & 0x0FFF_C000_0FFF_C000) << 2);
        let x = (x & 0x007F_007F_007F_007F) | ((x & 0x3F80_3F80_3F80_3F80) << 1);
        let more = 0x8080_8080_8080_8080 & (u64::MAX >> (72 - 8 * n));
        // Eight bytes always, of which the rest is dropped: a store instead of a copy of unknown length.
        let end = out.len() + n as usize;
        out.extend_from_slice(&(x | more).to_le_bytes());
        return out.truncate(end);
    }
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Zigzag: small magnitudes of both signs are short.
#[inline]
pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, (value << 1) as u64 ^ (value >> 63) as u64);
}

pub fn put_u128(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn put_i128(out: &mut Vec<u8>, value: i128) {
    put_u128(out, (value << 1) as u128 ^ (value >> 127) as u128);
}

/// Any instant, relative to `base`; the same base must be given to [`Reader::instant`].
#[inline]
pub fn put_instant(out: &mut Vec<u8>, base: Timestamp, ts: Timestamp) {
    put_i64(out, ts.0.wrapping_sub(base.0));
}

#[inline]
pub fn put_fixed64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[inline]
pub fn put_blob(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Tags of values; stored, so a number never gets another meaning.
mod tag {
    pub const MISSING: u8 = 0;
    pub const FALSE: u8 = 1;
    pub const TRUE: u8 = 2;
    pub const INT: u8 = 3;
    pub const DECIMAL: u8 = 4;
    pub const MONEY: u8 = 5;
    pub const TEXT: u8 = 6;
    pub const INSTANT: u8 = 7;
    pub const DATE: u8 = 8;
    pub const DURATION: u8 = 9;
    pub const GEO: u8 = 10;
    pub const LIST: u8 = 11;
    pub const RECORD: u8 = 12;
    pub const RATIO: u8 = 13;
    pub const SCORE: u8 = 14;
    /// A decimal that is a whole number, in ones.
    pub const WHOLE: u8 = 15;
    /// A property that was not kept when its event came: reads as missing.
    pub const UNKNOWN: u8 = 16;
}

/// One value, borrowed from its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    Missing,
    Bool(bool),
    Int(i64),
    /// Millionths.
    Decimal(i64),
    Ratio {
        num: i128,
        den: i128,
        currency: Option<Currency>,
    },
    Money(Money),
    Text(&'a str),
    Instant(Timestamp),
    /// Days since 1970-01-01.
    Date(i32),
    Duration(Millis),
    Geo {
        lat: f64,
        lon: f64,
    },
    Score(f64),
    List(Items<'a>),
    Record(Items<'a>),
}

/// Elements of a list or fields of a record, in order.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl PartialEq for Items<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.left == other.left && self.reader.rest() == other.reader.rest()
    }
}

impl Items<'_> {
    pub fn len(&self) -> usize {
        self.left
    }

    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = ValueRef<'a>;

    fn next(&mut self) -> Option<ValueRef<'a>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        Some(read_value(&mut self.reader))
    }
}

/// Reads what [`put_value`] or [`put_datum`] wrote.
pub fn read_value<'a>(reader: &mut Reader<'a>) -> ValueRef<'a> {
    match reader.byte() {
        tag::MISSING | tag::UNKNOWN => ValueRef::Missing,
        tag::FALSE => ValueRef::Bool(false),
        tag::TRUE => ValueRef::Bool(true),
        tag::INT => ValueRef::Int(reader.i64()),
        tag::DECIMAL => ValueRef::Decimal(reader.i64()),
        tag::WHOLE => ValueRef::Decimal(reader.i64().saturating_mul(Decimal::ONE)),
        tag::MONEY => match read_currency(reader) {
            Some(currency) => ValueRef::Money(Money { minor: reader.i64(), currency }),
            None => missing(reader),
        },
        tag::TEXT => match std::str::from_utf8(reader.blob()) {
            Ok(text) => ValueRef::Text(text),
            Err(_) => missing(reader),
        },
        tag::INSTANT => ValueRef::Instant(Timestamp(reader.i64())),
        tag::DATE => ValueRef::Date(reader.i64() as i32),
        tag::DURATION => ValueRef::Duration(Millis(reader.i64())),
        tag::GEO => ValueRef::Geo { lat: f64::from_bits(reader.fixed64()), lon: f64::from_bits(reader.fixed64()) },
        tag::LIST => ValueRef::List(read_items(reader)),
        tag::RECORD => ValueRef::Record(read_items(reader)),
        tag::RATIO => {
            let currency = (reader.byte() == 1).then(|| read_currency(reader)).flatten();
            ValueRef::Ratio { num: reader.i128(), den: reader.i128().max(1), currency }
        }
        tag::SCORE => ValueRef::Score(f64::from_bits(reader.fixed64())),
        _ => missing(reader),
    }
}

/// Appends the mark of a value that was not kept; it reads as missing.
pub fn put_unknown(out: &mut Vec<u8>) {
    out.push(tag::UNKNOWN);
}

/// Whether the next value is one that was not kept.
pub fn next_is_unknown(reader: &Reader<'_>) -> bool {
    reader.rest().first() == Some(&tag::UNKNOWN)
}

fn missing<'a>(reader: &mut Reader<'a>) -> ValueRef<'a> {
    reader.fail();
    ValueRef::Missing
}

fn read_currency(reader: &mut Reader<'_>) -> Option<Currency> {
    std::str::from_utf8(reader.bytes(3)).ok().and_then(Currency::parse)
}

fn read_items<'a>(reader: &mut Reader<'a>) -> Items<'a> {
    let left = reader.count(1);
    let bytes = reader.blob();
    if left > bytes.len() {
        reader.fail();
        return Items { reader: Reader::new(&[]), left: 0 };
    }
    Items { reader: Reader::new(bytes), left }
}

impl ValueRef<'_> {
    pub fn is_missing(&self) -> bool {
        matches!(self, ValueRef::Missing)
    }

    /// An owned copy.
    pub fn to_value(&self) -> Value {
        self.owned(0)
    }

    fn owned(&self, depth: usize) -> Value {
        match *self {
            ValueRef::Missing => Value::Missing,
            ValueRef::Bool(b) => Value::Bool(b),
            ValueRef::Int(n) => Value::Int(n),
            ValueRef::Decimal(n) => Value::Decimal(Decimal(n)),
            ValueRef::Ratio { num, den, currency } => Value::Ratio { num, den, currency },
            ValueRef::Money(m) => Value::Money(m),
            ValueRef::Text(t) => Value::Text(t.into()),
            ValueRef::Instant(t) => Value::Instant(t),
            ValueRef::Date(d) => Value::Date(d),
            ValueRef::Duration(d) => Value::Duration(d),
            ValueRef::Geo { lat, lon } => Value::Geo { lat, lon },
            ValueRef::Score(s) => Value::Score(s),
            ValueRef::List(_) | ValueRef::Record(_) if depth >= DEPTH_MAX => Value::Missing,
            ValueRef::List(items) => Value::List(items.map(|i| i.owned(depth + 1)).collect()),
            ValueRef::Record(items) => Value::Record(items.map(|i| i.owned(depth + 1)).collect()),
        }
    }
}

fn put_decimal(out: &mut Vec<u8>, millionths: i64) {
    if millionths % Decimal::ONE == 0 {
        out.push(tag::WHOLE);
        put_i64(out, millionths / Decimal::ONE);
    } else {
        out.push(tag::DECIMAL);
        put_i64(out, millionths);
    }
}

fn put_items<T>(out: &mut Vec<u8>, kind: u8, items: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    let mut inner = Vec::new();
    items.iter().for_each(|item| put(&mut inner, item));
    out.push(kind);
    put_u64(out, items.len() as u64);
    put_blob(out, &inner);
}

/// Appends a value. Equal values have equal bytes.
pub fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Missing => out.push(tag::MISSING),
        Value::Bool(b) => out.push(if *b { tag::TRUE } else { tag::FALSE }),
        Value::Int(n) => {
            out.push(tag::INT);
            put_i64(out, *n);
        }
        Value::Decimal(d) => put_decimal(out, d.0),
        Value::Ratio { num, den, currency } => {
            out.push(tag::RATIO);
            out.push(u8::from(currency.is_some()));
            if let Some(currency) = currency {
                out.extend_from_slice(&currency.bytes());
            }
            put_i128(out, *num);
            put_i128(out, *den);
        }
        Value::Money(m) => put_money(out, *m),
        Value::Text(t) => {
            out.push(tag::TEXT);
            put_blob(out, t.as_bytes());
        }
        Value::Instant(t) => {
            out.push(tag::INSTANT);
            put_i64(out, t.0);
        }
        Value::Date(d) => {
            out.push(tag::DATE);
            put_i64(out, i64::from(*d));
        }
        Value::Duration(d) => {
            out.push(tag::DURATION);
            put_i64(out, d.0);
        }
        Value::Geo { lat, lon } => {
            out.push(tag::GEO);
            put_fixed64(out, lat.to_bits());
            put_fixed64(out, lon.to_bits());
        }
        Value::Score(s) => {
            out.push(tag::SCORE);
            put_fixed64(out, s.to_bits());
        }
        Value::List(items) => put_items(out, tag::LIST, items, put_value),
        Value::Record(items) => put_items(out, tag::RECORD, items, put_value),
    }
}

fn put_money(out: &mut Vec<u8>, money: Money) {
    out.push(tag::MONEY);
    out.extend_from_slice(&money.currency.bytes());
    put_i64(out, money.minor);
}

/// Appends a value of a batch; the same bytes as [`put_value`] for the same value.
pub fn put_datum(out: &mut Vec<u8>, batch: &Batch, datum: Datum) {
    match datum {
        Datum::Missing => out.push(tag::MISSING),
        Datum::Bool(b) => out.push(if b { tag::TRUE } else { tag::FALSE }),
        Datum::Int(n) => {
            out.push(tag::INT);
            put_i64(out, n);
        }
        Datum::Decimal(n) => put_decimal(out, n),
        Datum::Money { minor, currency } => put_money(out, Money { minor, currency }),
        Datum::Text(range) => {
            out.push(tag::TEXT);
            put_blob(out, batch.text(range).as_bytes());
        }
        Datum::Instant(t) => {
            out.push(tag::INSTANT);
            put_i64(out, t.0);
        }
        Datum::Date(d) => {
            out.push(tag::DATE);
            put_i64(out, i64::from(d));
        }
        Datum::Duration(d) => {
            out.push(tag::DURATION);
            put_i64(out, d.0);
        }
        Datum::Geo { lat, lon } => {
            out.push(tag::GEO);
            put_fixed64(out, lat.to_bits());
            put_fixed64(out, lon.to_bits());
        }
        Datum::List(range) => put_items(out, tag::LIST, batch.data(range), |out, d| put_datum(out, batch, *d)),
        Datum::Record(range) => put_items(out, tag::RECORD, batch.data(range), |out, d| put_datum(out, batch, *d)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_of_integer_has_the_bytes_of_the_plain_way() {
        for bits in 0..64 {
            for value in [1u64 << bits, (1 << bits) - 1, u64::MAX >> bits, 0x0123_4567_89AB_CDEF >> bits] {
                let (mut plain, mut rest) = (Vec::new(), value);
                while rest >= 0x80 {
                    plain.push(rest as u8 | 0x80);
                    rest >>= 7;
                }
                plain.push(rest as u8);
                let mut out = Vec::new();
                put_u64(&mut out, value);
                assert_eq!(out, plain, "{value:x}");
                // At the end of the bytes and with others after it.
                for tail in [0usize, 3, 9] {
                    let mut bytes = out.clone();
                    bytes.resize(out.len() + tail, 0xFF);
                    let mut reader = Reader::new(&bytes);
                    assert_eq!((reader.u64(), reader.position(), reader.failed()), (value, out.len(), false), "{value:x}");
                }
            }
        }
    }

    #[test]
    fn integers_round_trip_at_their_edges() {
        let mut out = Vec::new();
        let numbers = [0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN, 1_700_000_000_000];
        for n in numbers {
            put_i64(&mut out, n);
            put_i128(&mut out, i128::from(n) << 60);
            put_instant(&mut out, Timestamp(i64::MAX), Timestamp(n));
        }
        put_i128(&mut out, i128::MIN);
        put_u64(&mut out, u64::MAX);
        let mut reader = Reader::new(&out);
        for n in numbers {
            assert_eq!(reader.i64(), n);
            assert_eq!(reader.i128(), i128::from(n) << 60);
            assert_eq!(reader.instant(Timestamp(i64::MAX)), Timestamp(n));
        }
        assert_eq!(reader.i128(), i128::MIN);
        assert_eq!(reader.u64(), u64::MAX);
        assert!(reader.done() && !reader.failed());
        assert_eq!(reader.u64(), 0);
        assert!(reader.failed());
    }

    fn sample() -> Value {
        Value::List(vec![
            Value::Missing,
            Value::Bool(true),
            Value::Int(-5),
            Value::Decimal(Decimal(1_250_000)),
            Value::Decimal(Decimal(-3_000_000)),
            Value::Ratio { num: 1, den: 3, currency: Some(Currency::EUR) },
            Value::Money(Money { minor: 8990, currency: Currency::EUR }),
            Value::Text("schuhe".into()),
            Value::Instant(Timestamp(1_700_000_000_000)),
            Value::Date(-3),
            Value::Duration(Millis(5)),
            Value::Geo { lat: 59.3, lon: -0.0 },
            Value::Score(0.1),
            Value::Record(vec![Value::List(vec![]), Value::Text("".into())]),
        ])
    }

    #[test]
    fn values_round_trip() {
        let mut out = Vec::new();
        put_value(&mut out, &sample());
        put_value(&mut out, &Value::Int(7));
        let mut reader = Reader::new(&out);
        assert_eq!(read_value(&mut reader).to_value(), sample());
        assert_eq!(read_value(&mut reader), ValueRef::Int(7));
        assert!(reader.done() && !reader.failed());
    }

    #[test]
    fn a_datum_has_the_bytes_of_its_value() {
        let mut batch = Batch::default();
        let text = batch.push_text("x");
        batch.data.extend([Datum::Text(text), Datum::Decimal(2_000_000)]);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        put_datum(&mut a, &batch, Datum::List(crate::engine::batch::DataRange { start: 0, len: 2 }));
        put_value(&mut b, &Value::List(vec![Value::Text("x".into()), Value::Decimal(Decimal(2_000_000))]));
        assert_eq!(a, b);
    }

    #[test]
    fn no_prefix_and_no_noise_panics() {
        let mut out = Vec::new();
        put_value(&mut out, &sample());
        for cut in 0..out.len() {
            let mut reader = Reader::new(&out[..cut]);
            let _ = read_value(&mut reader).to_value();
            assert!(reader.failed(), "cut at {cut}");
        }
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let noise: Vec<u8> = (0..rng.usize(0..40)).map(|_| rng.u8(..)).collect();
            let mut reader = Reader::new(&noise);
            while !reader.done() {
                let _ = read_value(&mut reader).to_value();
            }
        }
    }
}
