//! One pass over JSON text: tokens, and skipping what nobody needs while still refusing what is no JSON (RFC 8259).
//!
//! Strict: no byte order mark, no comments, no control characters in strings, no lone surrogates, nothing after the value. Nesting is
//! bounded by [`JSON_DEPTH_MAX`] and costs no stack.

use std::num::NonZeroU64;

use crate::limits::JSON_DEPTH_MAX;
use crate::limits::RECORD_BYTES_MAX;

/// The text is no JSON; [`Scanner::fault`] says why. Empty, so that results travel in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wire) struct Unreadable;

pub(in crate::wire) type Scan<T> = Result<T, Unreadable>;

/// A value of the text: its kind, and where it begins and ends; a text without its quotes. The default is a null, which is also what
/// stands for an absent member (LANGUAGE.md R64).
///
/// Packed into a word, so that a scan's result is one: a bit that is always set, four bits of kind, thirty of the beginning, twenty-nine of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wire) struct Token(NonZeroU64);

const _: () = assert!(RECORD_BYTES_MAX < 1 << 29);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::wire) enum Kind {
    Null = 1,
    True,
    False,
    Number,
    Text,
    /// A text with escapes.
    Escaped,
    Object,
    Array,
}

impl Default for Token {
    fn default() -> Token {
        Token::new(Kind::Null, 0, 0)
    }
}

impl Token {
    #[inline(always)]
    fn new(kind: Kind, start: usize, end: usize) -> Token {
        Token(NonZeroU64::MIN | (kind as u64) << 1 | (start as u64) << 5 | (end as u64) << 35)
    }

    #[inline(always)]
    pub fn kind(self) -> Kind {
        match self.0.get() >> 1 & 15 {
            1 => Kind::Null,
            2 => Kind::True,
            3 => Kind::False,
            4 => Kind::Number,
            5 => Kind::Text,
            6 => Kind::Escaped,
            7 => Kind::Object,
            _ => Kind::Array,
        }
    }

    #[inline(always)]
    pub fn start(self) -> usize {
        (self.0.get() >> 5) as usize & ((1 << 30) - 1)
    }

    #[inline(always)]
    pub fn end(self) -> usize {
        (self.0.get() >> 35) as usize
    }

    #[inline(always)]
    pub fn is_text(self) -> bool {
        matches!(self.kind(), Kind::Text | Kind::Escaped)
    }

    /// Neither absent nor null.
    #[inline(always)]
    pub fn is_value(self) -> bool {
        self.kind() != Kind::Null
    }
}

pub(in crate::wire) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pub pos: usize,
    fault: &'static str,
}

impl<'a> Scanner<'a> {
    /// `text` is no longer than [`RECORD_BYTES_MAX`].
    pub fn new(text: &'a str) -> Scanner<'a> {
        Scanner::at(text, 0)
    }

    pub fn at(text: &'a str, pos: usize) -> Scanner<'a> {
        Scanner { text, bytes: text.as_bytes(), pos, fault: "" }
    }

    /// Gives up at the present position.
    #[cold]
    pub fn fail<T>(&mut self, what: &'static str) -> Scan<T> {
        self.fault = what;
        Err(Unreadable)
    }

    /// What was wrong and where.
    #[cold]
    pub fn fault(&self) -> String {
        format!("{} at byte {}", self.fault, self.pos)
    }

    /// The next byte that is no white space; 0 at the end (a NUL in the text fits nowhere either).
    #[inline(always)]
    pub fn peek(&mut self) -> u8 {
        match self.bytes.get(self.pos) {
            Some(b) if *b > b' ' => *b,
            _ => self.peek_behind_space(),
        }
    }

    #[inline(never)]
    fn peek_behind_space(&mut self) -> u8 {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.pos) {
            self.pos += 1;
        }
        self.bytes.get(self.pos).copied().unwrap_or_default()
    }

    /// Nothing but white space is left.
    pub fn end(&mut self) -> Scan<()> {
        self.peek();
        if self.pos < self.bytes.len() { self.fail("something stands after the value") } else { Ok(()) }
    }

    /// Steps over `{` or `[`; true where a member or an element follows.
    #[inline(always)]
    pub fn open(&mut self, close: u8) -> bool {
        self.pos += 1;
        if self.peek() == close {
            self.pos += 1;
            return false;
        }
        true
    }

    /// After a member or an element: true where another one follows.
    #[inline(always)]
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
    #[inline(always)]
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
        let first = self.peek();
        let start = self.pos;
        let kind = match first {
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => {
                self.number()?;
                Kind::Number
            }
            b'{' => {
                self.skip_nested(depth)?;
                Kind::Object
            }
            b'[' => {
                self.skip_nested(depth)?;
                Kind::Array
            }
            b't' => {
                self.word("true")?;
                Kind::True
            }
            b'f' => {
                self.word("false")?;
                Kind::False
            }
            _ => {
                self.word("null")?;
                Kind::Null
            }
        };
        Ok(Token::new(kind, start, self.pos))
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
    #[inline(always)]
    fn string(&mut self) -> Scan<Token> {
        let start = self.pos + 1;
        let end = next_mark(self.bytes, start);
        if self.bytes.get(end) == Some(&b'"') {
            self.pos = end + 1;
            return Ok(Token::new(Kind::Text, start, end));
        }
        self.escaped(start, end)
    }

    /// The rest of a text from its first mark that is no quote.
    #[inline(never)]
    fn escaped(&mut self, start: usize, mut at: usize) -> Scan<Token> {
        loop {
            self.pos = at;
            match self.bytes.get(at) {
                Some(b'"') => {
                    self.pos = at + 1;
                    return Ok(Token::new(Kind::Escaped, start, at));
                }
                Some(b'\\') => at = next_mark(self.bytes, self.escape(at)?),
                Some(_) => return self.fail("control character in a text"),
                None => return self.fail("unfinished text"),
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
    #[inline(always)]
    pub fn content<'s>(&self, token: Token, scratch: &'s mut String) -> &'s str
    where
        'a: 's,
    {
        let range = token.start()..token.end();
        debug_assert!(self.text.get(range.clone()).is_some());
        // SAFETY: tokens are made by a scanner of this text. They lie within it, and begin and end beside an ASCII byte.
        let raw = unsafe { self.text.get_unchecked(range) };
        if token.kind() != Kind::Escaped {
            return raw;
        }
        unescape(raw, scratch);
        scratch
    }

    /// A token over what was read since `start`.
    pub fn since(&self, kind: Kind, start: usize) -> Token {
        Token::new(kind, start, self.pos)
    }

    pub fn text(&self) -> &'a str {
        self.text
    }
}

/// The place of the next quote, backslash or control character from `i` on; the length where there is none.
#[inline(always)]
fn next_mark(bytes: &[u8], mut i: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    while let Some(chunk) = bytes.get(i..i + 16) {
        use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};
        // SAFETY: SSE2 is part of x86-64, and the chunk is 16 bytes long.
        let marks = unsafe {
            let chunk = _mm_loadu_si128(chunk.as_ptr().cast());
            let quote = _mm_cmpeq_epi8(chunk, _mm_set1_epi8(b'"' as i8));
            let slash = _mm_cmpeq_epi8(chunk, _mm_set1_epi8(b'\\' as i8));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(chunk, _mm_set1_epi8(0x1f)), chunk);
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), control))
        };
        if marks != 0 {
            return i + marks.trailing_zeros() as usize;
        }
        i += 16;
    }
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    while let Some(chunk) = bytes.get(i..i + 8) {
        let word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        let quote = word ^ (ONES * u64::from(b'"'));
        let slash = word ^ (ONES * u64::from(b'\\'));
        // A byte below its subtrahend borrows into its highest bit; the lowest mark is exact.
        let marks = (quote.wrapping_sub(ONES) & !quote) | (slash.wrapping_sub(ONES) & !slash) | (word.wrapping_sub(ONES * 0x20) & !word);
        if marks & HIGH != 0 {
            return i + (marks & HIGH).trailing_zeros() as usize / 8;
        }
        i += 8;
    }
    while bytes.get(i).is_some_and(|b| !matches!(b, b'"' | b'\\' | 0..0x20)) {
        i += 1;
    }
    i
}

/// The 16-bit unit of the escape at `i`: `\u` and four hexadecimal digits.
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
        let deeper = nested(JSON_DEPTH_MAX + 1);
        let mut scan = Scanner::new(&deeper);
        assert_eq!(scan.value(0), Err(Unreadable));
        assert_eq!(scan.fault(), "nested too deeply at byte 64");
        assert!(Scanner::new(&nested(JSON_DEPTH_MAX - 1)).value(1).is_ok());
        assert!(Scanner::new(&nested(JSON_DEPTH_MAX)).value(1).is_err());
    }

    #[test]
    fn marks_are_found_at_every_place() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..rng.usize(..50)).map(|_| if rng.u8(..20) == 0 { rng.u8(..) } else { rng.u8(b' '..) }).collect();
            let from = rng.usize(..=bytes.len());
            let want = bytes[from..].iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\').map_or(bytes.len(), |i| from + i);
            assert_eq!(next_mark(&bytes, from), want, "{bytes:?} from {from}");
        }
    }

    #[test]
    fn escapes_are_resolved() {
        let text = r#""a\"\\\/\b\f\n\r\t\u00e9\u20ac\ud83d\ude00z""#;
        let token = whole(text).expect("valid");
        assert_eq!(token.kind(), Kind::Escaped);
        assert_eq!(Scanner::new(text).content(token, &mut String::new()), "a\"\\/\u{8}\u{c}\n\r\té€😀z");
    }
}
