//! One pass over JSON text: tokens, and skipping what nobody needs while still refusing what is no JSON (RFC 8259).
//!
//! Strict: no byte order mark, no comments, no control characters in strings, no lone surrogates, nothing after the value. Nesting is
//! bounded by [`JSON_DEPTH_MAX`] and costs no stack.

use crate::limits::JSON_DEPTH_MAX;

/// What is wrong with the text and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wire) struct Unreadable {
    pub what: &'static str,
    /// Offset in bytes.
    pub at: usize,
}

pub(in crate::wire) type Scan<T> = Result<T, Unreadable>;

/// A value of the text. Positions are offsets into it; a text's are those of its inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::wire) struct Token {
    pub kind: Kind,
    pub start: u32,
    pub end: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::wire) enum Kind {
    /// The member does not stand in the text; decoders treat it as null (LANGUAGE.md R64).
    #[default]
    Null,
    True,
    False,
    Number,
    Text,
    /// A text with escapes.
    Escaped,
    Object,
    Array,
}

impl Token {
    pub fn is_text(self) -> bool {
        matches!(self.kind, Kind::Text | Kind::Escaped)
    }

    /// Neither absent nor null.
    pub fn is_value(self) -> bool {
        self.kind != Kind::Null
    }
}

pub(in crate::wire) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pub pos: usize,
}

impl<'a> Scanner<'a> {
    /// `text` is shorter than 4 GiB (records are bounded long before).
    pub fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, bytes: text.as_bytes(), pos: 0 }
    }

    pub fn at(text: &'a str, pos: usize) -> Scanner<'a> {
        Scanner { text, bytes: text.as_bytes(), pos }
    }

    pub fn fail<T>(&self, what: &'static str) -> Scan<T> {
        Err(Unreadable { what, at: self.pos })
    }

    /// The next byte that is no white space; 0 at the end (a NUL in the text fits nowhere either).
    #[inline]
    pub fn peek(&mut self) -> u8 {
        loop {
            match self.bytes.get(self.pos) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.pos += 1,
                Some(b) => return *b,
                None => return 0,
            }
        }
    }

    /// Nothing but white space is left.
    pub fn end(&mut self) -> Scan<()> {
        self.peek();
        if self.pos < self.bytes.len() { self.fail("something stands after the value") } else { Ok(()) }
    }

    /// Steps over `{` or `[`; true where a member or an element follows.
    #[inline]
    pub fn open(&mut self, close: u8) -> bool {
        self.pos += 1;
        if self.peek() == close {
            self.pos += 1;
            return false;
        }
        true
    }

    /// After a member or an element: true where another one follows.
    #[inline]
    pub fn more(&mut self, close: u8) -> Scan<bool> {
        match self.peek() {
            b',' => {
                self.pos += 1;
                Ok(true)
            }
            b if b == close => {
                self.pos += 1;
                Ok(false)
            }
            _ => self.fail("expected `,` or the end of the object or list"),
        }
    }

    /// A member's key with its colon.
    #[inline]
    pub fn key(&mut self) -> Scan<Token> {
        if self.peek() != b'"' {
            return self.fail("expected a key in quotes");
        }
        let key = self.string()?;
        if self.peek() != b':' {
            return self.fail("expected `:`");
        }
        self.pos += 1;
        Ok(key)
    }

    /// The value at hand, whole; `depth` lists and objects are open around it.
    #[inline]
    pub fn value(&mut self, depth: usize) -> Scan<Token> {
        let start = self.peek();
        let from = self.pos as u32;
        let kind = match start {
            b'"' => return self.string(),
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'-' | b'0'..=b'9' => Kind::Number,
            b't' => Kind::True,
            b'f' => Kind::False,
            _ => Kind::Null,
        };
        match kind {
            Kind::Number => self.number()?,
            Kind::Object | Kind::Array => self.skip_nested(depth)?,
            Kind::True => self.word("true")?,
            Kind::False => self.word("false")?,
            _ => self.word("null")?,
        }
        Ok(Token { kind, start: from, end: self.pos as u32 })
    }

    /// Steps over the list or object at hand.
    fn skip_nested(&mut self, depth: usize) -> Scan<()> {
        // One bit per open bracket, the innermost lowest: 1 is an object.
        const { assert!(JSON_DEPTH_MAX <= 64) };
        let (mut open, mut level) = (0u64, 0usize);
        loop {
            let object = match self.peek() {
                b'{' => Some(true),
                b'[' => Some(false),
                b'"' => {
                    self.string()?;
                    None
                }
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                    None
                }
                b't' => self.word("true").map(|()| None)?,
                b'f' => self.word("false").map(|()| None)?,
                _ => self.word("null").map(|()| None)?,
            };
            if let Some(object) = object {
                if depth + level >= JSON_DEPTH_MAX {
                    return self.fail("nested too deeply");
                }
                if self.open(if object { b'}' } else { b']' }) {
                    open = open << 1 | u64::from(object);
                    level += 1;
                    if object {
                        self.key()?;
                    }
                    continue;
                }
            }
            // A value has ended: close what ends with it.
            loop {
                if level == 0 {
                    return Ok(());
                }
                let object = open & 1 == 1;
                if self.more(if object { b'}' } else { b']' })? {
                    if object {
                        self.key()?;
                    }
                    break;
                }
                open >>= 1;
                level -= 1;
            }
        }
    }

    fn word(&mut self, word: &'static str) -> Scan<()> {
        if !self.bytes[self.pos..].starts_with(word.as_bytes()) {
            return self.fail("expected a value");
        }
        self.pos += word.len();
        Ok(())
    }

    #[inline]
    fn number(&mut self) -> Scan<()> {
        let b = self.bytes;
        let mut i = self.pos + usize::from(b[self.pos] == b'-');
        let digits = |mut i: usize| {
            while i < b.len() && b[i].is_ascii_digit() {
                i += 1;
            }
            i
        };
        let whole = digits(i);
        let mut good = whole > i && (b[i] != b'0' || whole == i + 1);
        i = whole;
        if b.get(i) == Some(&b'.') {
            let end = digits(i + 1);
            good &= end > i + 1;
            i = end;
        }
        if matches!(b.get(i), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(b.get(i + 1), Some(b'+' | b'-')));
            let end = digits(i + 1 + sign);
            good &= end > i + 1 + sign;
            i = end;
        }
        if !good {
            return self.fail("malformed number");
        }
        self.pos = i;
        Ok(())
    }

    /// The text at hand; the position is on its first quote.
    #[inline]
    fn string(&mut self) -> Scan<Token> {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        let b = self.bytes;
        let start = self.pos + 1;
        let mut i = start;
        let mut kind = Kind::Text;
        loop {
            // Eight bytes at a time to the next quote, backslash or control character; the lowest mark is exact.
            while let Some(chunk) = b.get(i..i + 8) {
                let word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
                let quote = word ^ (ONES * u64::from(b'"'));
                let slash = word ^ (ONES * u64::from(b'\\'));
                let marks =
                    (quote.wrapping_sub(ONES) & !quote) | (slash.wrapping_sub(ONES) & !slash) | (word.wrapping_sub(ONES * 0x20) & !word);
                if marks & HIGH != 0 {
                    i += (marks & HIGH).trailing_zeros() as usize / 8;
                    break;
                }
                i += 8;
            }
            match b.get(i) {
                Some(b'"') => {
                    self.pos = i + 1;
                    return Ok(Token { kind, start: start as u32, end: i as u32 });
                }
                Some(b'\\') => {
                    kind = Kind::Escaped;
                    i = self.escape(i)?;
                }
                Some(0..0x20) => {
                    self.pos = i;
                    return self.fail("control character in a text");
                }
                Some(_) => i += 1,
                None => {
                    self.pos = i;
                    return self.fail("unfinished text");
                }
            }
        }
    }

    /// Steps over the escape at `i`.
    fn escape(&mut self, i: usize) -> Scan<usize> {
        self.pos = i;
        match self.bytes.get(i + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(i + 2),
            Some(b'u') => match unit(self.bytes, i) {
                Some(0xd800..=0xdbff) => match unit(self.bytes, i + 6) {
                    Some(0xdc00..=0xdfff) => Ok(i + 12),
                    _ => self.fail("half of a surrogate pair"),
                },
                Some(0xdc00..=0xdfff) => self.fail("half of a surrogate pair"),
                Some(_) => Ok(i + 6),
                None => self.fail("malformed escape"),
            },
            _ => self.fail("malformed escape"),
        }
    }

    /// A token's text without its escapes, which `scratch` holds where there were any; numbers as written.
    #[inline]
    pub fn content<'s>(&self, token: Token, scratch: &'s mut String) -> &'s str
    where
        'a: 's,
    {
        let raw = &self.text[token.start as usize..token.end as usize];
        if token.kind != Kind::Escaped {
            return raw;
        }
        unescape(raw, scratch);
        scratch
    }

    pub fn text(&self) -> &'a str {
        self.text
    }
}

/// The 16-bit unit of the `\uXXXX` at `i`.
fn unit(bytes: &[u8], i: usize) -> Option<u16> {
    let digits = bytes.get(i..i + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0u16, |n, b| Some(n << 4 | (*b as char).to_digit(16)? as u16))
}

/// Resolves the escapes of a text that the scanner has accepted.
fn unescape(raw: &str, out: &mut String) {
    out.clear();
    let mut rest = raw;
    while let Some(i) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..i]);
        let (c, len) = match rest.as_bytes()[i + 1] {
            b'b' => ('\u{8}', 2),
            b'f' => ('\u{c}', 2),
            b'n' => ('\n', 2),
            b'r' => ('\r', 2),
            b't' => ('\t', 2),
            b'u' => {
                let high = u32::from(unit(rest.as_bytes(), i).unwrap_or_default());
                if (0xd800..0xdc00).contains(&high) {
                    let low = u32::from(unit(rest.as_bytes(), i + 6).unwrap_or_default());
                    (char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low & 0x3ff)).unwrap_or_default(), 12)
                } else {
                    (char::from_u32(high).unwrap_or_default(), 6)
                }
            }
            itself => (itself as char, 2),
        };
        out.push(c);
        rest = &rest[i + len..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Scan<Token> {
        let mut scan = Scanner::new(text);
        let token = scan.value(0)?;
        scan.end()?;
        Ok(token)
    }

    #[test]
    fn accepts_what_is_json_and_nothing_else() {
        for good in
            ["0", "-0.5e+7", "[]", " { } ", "[1,[2,{\"a\":null}],true]", "\"\\ud83d\\ude00 \\n\"", "{\"a\":{\"b\":[]},\"c\":\"\"}", "1E9"]
        {
            assert!(whole(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            " ",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "nul",
            "truex",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "[1 2]",
            "[1}",
            "\"a",
            "\"\\x\"",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "\"\\u12g4\"",
            "\"\u{1}\"",
            "1 2",
            "\u{feff}1",
            "[",
            "{\"a\":1",
            "\"abcdefg\n\"",
            "[1]]",
            "'a'",
        ] {
            assert!(whole(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn depth_is_bounded_and_counted_from_outside() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(whole(&nested(JSON_DEPTH_MAX)).is_ok());
        assert_eq!(whole(&nested(JSON_DEPTH_MAX + 1)).map_err(|e| e.what), Err("nested too deeply"));
        assert!(Scanner::new(&nested(JSON_DEPTH_MAX - 1)).value(1).is_ok());
        assert!(Scanner::new(&nested(JSON_DEPTH_MAX)).value(1).is_err());
    }

    #[test]
    fn escapes_are_resolved() {
        let text = r#""a\"\\\/\b\f\n\r\t\u00e9\u20ac\ud83d\ude00z""#;
        let token = whole(text).expect("valid");
        assert_eq!(token.kind, Kind::Escaped);
        assert_eq!(Scanner::new(text).content(token, &mut String::new()), "a\"\\/\u{8}\u{c}\n\r\té€😀z");
    }
}
