//! Text to tokens.
//!
//! Owns literals and their malformations. Words are not told apart here: a word is a keyword only where the parser expects one. What
//! cannot be read becomes [`Kind::Bad`] after its message, so that the parser stays silent about it.

use super::diagnostic::{Code, Report};
use super::durations::{DurationError, duration_meant, parse_duration};
use super::source::Span;
use crate::limits::SOURCE_BYTES_MAX;
use crate::model::money::parse_scaled;
use crate::time::{Timestamp, days_from_civil, days_in_month};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Lower case, digits, `_`; its text is its span.
    Word,
    /// Back-quoted, or a malformed name that was reported.
    Quoted(String),
    /// Three capitals.
    Currency,
    /// Digits, without the `_` between.
    Int(String),
    /// Digits with a point.
    Number(String),
    /// **Units:** milliseconds. `None` was reported.
    Duration(Option<i64>),
    /// Days since 1970-01-01.
    Date(i32),
    Instant(Timestamp),
    /// **Units:** milliseconds since midnight.
    Clock(i64),
    /// **Units:** millionths of the whole.
    Percent(i64),
    /// **Units:** metres.
    Distance(f64),
    Text(String),
    /// Between `/`, only after the word `matches`.
    Pattern(String),
    /// Operators and brackets.
    Sign(&'static str),
    Bad,
    End,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub kind: Kind,
    pub span: Span,
}

const SIGNS: [&str; 20] = ["..", "!=", "<=", ">=", "{", "}", "[", "]", "(", ")", ",", ".", "|", "+", "-", "*", "/", "=", "<", ">"];

/// What other languages write, with what is meant here.
const FOREIGN: [(&str, &str, &str); 6] = [
    ("==", "=", "write `=`"),
    ("<>", "!=", "write `!=`"),
    ("&&", "", "write `and`"),
    ("||", "", "write `or`; between events a single `|`"),
    ("//", "", "a comment starts with `#`"),
    ("/*", "", "a comment starts with `#`"),
];

/// The last token is [`Kind::End`].
pub(crate) fn lex(file: u32, text: &str, report: &mut Report) -> Vec<Token> {
    if text.len() > SOURCE_BYTES_MAX {
        let span = Span { file, start: 0, end: 1 };
        report.add(Code::E14, span, format!("the text has {} bytes, more than {SOURCE_BYTES_MAX}", text.len()));
        return vec![Token { kind: Kind::End, span: Span { file, start: 0, end: 0 } }];
    }
    let mut lexer = Lexer { file, text, at: 0, tokens: Vec::new(), report };
    lexer.run();
    lexer.tokens
}

struct Lexer<'a> {
    file: u32,
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
    report: &'a mut Report,
}

impl Lexer<'_> {
    fn run(&mut self) {
        loop {
            self.skip_blanks();
            let start = self.at;
            let Some(&byte) = self.text.as_bytes().get(start) else {
                self.push(Kind::End, start);
                return;
            };
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word(),
                b'0'..=b'9' => self.digits(),
                b'"' => self.text_literal(),
                b'`' => self.quoted(),
                b'/' if self.pattern_may_stand_here() => self.pattern(),
                _ => self.sign(),
            }
            debug_assert!(self.at > start, "the lexer moves on");
        }
    }

    fn span(&self, start: usize) -> Span {
        Span { file: self.file, start: start as u32, end: self.at as u32 }
    }

    fn push(&mut self, kind: Kind, start: usize) {
        let span = self.span(start);
        self.tokens.push(Token { kind, span });
    }

    fn bad(&mut self, code: Code, start: usize, message: String, help: Option<&str>) {
        let span = self.span(start);
        self.report.push(code, span, message, help.map(str::to_string));
        self.tokens.push(Token { kind: Kind::Bad, span });
    }

    fn skip_blanks(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(&b) = bytes.get(self.at) {
            match b {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'#' => self.at = memchr::memchr(b'\n', &bytes[self.at..]).map_or(bytes.len(), |i| self.at + i),
                // A byte order mark at the very start, as some editors write it.
                0xEF if self.at == 0 && self.text.starts_with('\u{feff}') => self.at = 3,
                _ => return,
            }
        }
    }

    fn take_while(&mut self, f: impl Fn(u8) -> bool) {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(|b| f(*b)) {
            self.at += 1;
        }
    }

    fn word(&mut self) {
        let start = self.at;
        self.take_while(|b| b.is_ascii_alphanumeric() || b == b'_');
        let word = &self.text[start..self.at];
        if !word.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.push(Kind::Word, start);
        }
        if word.len() == 3 && word.bytes().all(|b| b.is_ascii_uppercase()) {
            return self.push(Kind::Currency, start);
        }
        let name = word.to_string();
        let span = self.span(start);
        self.report.help(
            Code::E15,
            span,
            format!("`{name}` is not a name: names are lower case with underscores"),
            format!("write `{}`, or put the name in back-quotes if events really carry it", snake_case(&name)),
        );
        self.report.fix(span, snake_case(&name));
        self.report.fix(span, format!("`{name}`"));
        self.push(Kind::Quoted(name), start);
    }

    fn quoted(&mut self) {
        let start = self.at;
        self.at += 1;
        self.take_while(|b| b != b'`' && b != b'\n' && b != b'\r');
        let name = self.text[start + 1..self.at].to_string();
        if self.text.as_bytes().get(self.at) != Some(&b'`') {
            return self.bad(Code::E01, start, "a back-quoted name is not closed on its line".into(), None);
        }
        self.at += 1;
        if name.is_empty() {
            return self.bad(Code::E15, start, "a name cannot be empty".into(), None);
        }
        if name.chars().any(char::is_control) {
            return self.bad(Code::E15, start, "a name cannot contain control characters".into(), None);
        }
        self.push(Kind::Quoted(name), start);
    }

    fn text_literal(&mut self) {
        let start = self.at;
        self.at += 1;
        loop {
            self.take_while(|b| b != b'"' && b != b'\\' && b != b'\n' && b != b'\r');
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => break,
                Some(b'\\') if self.text.as_bytes().get(self.at + 1).is_some_and(|b| !matches!(b, b'\n' | b'\r')) => {
                    self.at += 2;
                    while !self.text.is_char_boundary(self.at) {
                        self.at += 1;
                    }
                }
                _ => return self.bad(Code::E01, start, "a text is not closed on its line".into(), Some("it ends with `\"`")),
            }
        }
        self.at += 1;
        match serde_json::from_str::<String>(&self.text[start..self.at]) {
            Ok(value) => self.push(Kind::Text(value), start),
            Err(_) => self.bad(
                Code::E01,
                start,
                "a text has an escape that does not exist, or a control character".into(),
                Some(r#"escapes are those of JSON: \" \\ \/ \b \f \n \r \t \u00e9"#),
            ),
        }
    }

    /// A pattern follows `matches` after something that can end a term; anywhere else `/` divides.
    fn pattern_may_stand_here(&self) -> bool {
        let [.., before, last] = self.tokens.as_slice() else { return false };
        let is =
            |t: &Token, words: &[&str]| t.kind == Kind::Word && words.contains(&&self.text[t.span.start as usize..t.span.end as usize]);
        is(last, &["matches"])
            && match &before.kind {
                Kind::Word => !is(before, &["and", "or", "not", "when"]),
                Kind::Quoted(_) | Kind::Sign(")" | "]") => true,
                _ => false,
            }
    }

    fn pattern(&mut self) {
        let start = self.at;
        self.at += 1;
        let mut pattern = String::new();
        loop {
            let from = self.at;
            self.take_while(|b| b != b'/' && b != b'\\' && b != b'\n' && b != b'\r');
            pattern.push_str(&self.text[from..self.at]);
            match (self.text.as_bytes().get(self.at), self.text.as_bytes().get(self.at + 1)) {
                (Some(b'/'), _) => break,
                (Some(b'\\'), Some(b'/')) => {
                    pattern.push('/');
                    self.at += 2;
                }
                (Some(b'\\'), Some(next)) if !matches!(next, b'\n' | b'\r') => {
                    pattern.push('\\');
                    self.at += 1;
                    // The escaped character itself is copied by hand, so that `\\` does not escape what follows it.
                    let end = (self.at + 1..=self.text.len()).find(|i| self.text.is_char_boundary(*i)).unwrap_or(self.text.len());
                    pattern.push_str(&self.text[self.at..end]);
                    self.at = end;
                }
                _ => return self.bad(Code::E01, start, "a pattern is not closed on its line".into(), Some("it ends with `/`")),
            }
        }
        self.at += 1;
        self.push(Kind::Pattern(pattern), start);
    }

    /// Everything that starts with a digit: numbers, percents, durations, distances, dates, instants, clock times.
    fn digits(&mut self) {
        let start = self.at;
        if self.date_or_instant() || self.clock() {
            return;
        }
        self.take_while(|b| b.is_ascii_digit() || b == b'_');
        let bytes = self.text.as_bytes();
        let mut point = false;
        if bytes.get(self.at) == Some(&b'.') && bytes.get(self.at + 1).is_some_and(u8::is_ascii_digit) {
            point = true;
            self.at += 1;
            self.take_while(|b| b.is_ascii_digit() || b == b'_');
        }
        let raw = &self.text[start..self.at];
        let malformed = raw.ends_with('_') || raw.contains("__") || raw.contains("_.") || raw.contains("._");
        let digits: String = raw.chars().filter(|c| *c != '_').collect();
        let after = self.at;
        match bytes.get(self.at) {
            Some(b'%') => self.at += 1,
            _ => self.take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
        }
        let unit = &self.text[after..self.at];
        if malformed {
            let raw = self.text[start..self.at].to_string();
            return self.bad(Code::E01, start, format!("malformed number `{raw}`"), Some("`_` stands only between digits: `1_000`"));
        }
        match unit {
            "" if point => self.push(Kind::Number(digits), start),
            "" => self.push(Kind::Int(digits), start),
            "%" => match parse_scaled(&digits, 4) {
                Some(n) => self.push(Kind::Percent(n), start),
                None => self.bad(Code::E14, start, format!("`{digits}%` is too large"), None),
            },
            "km" | "mi" => {
                // Digits and at most one point: always a finite number or infinity, which no distance is.
                let value: f64 = digits.parse().unwrap_or(f64::INFINITY);
                let metres = value * if unit == "km" { 1_000.0 } else { 1_609.344 };
                if metres.is_finite() {
                    self.push(Kind::Distance(metres), start);
                } else {
                    self.bad(Code::E14, start, "the distance is too large".into(), None);
                }
            }
            _ => self.duration(start, point),
        }
    }

    fn duration(&mut self, start: usize, point: bool) {
        let raw = self.text[start..self.at].to_string();
        let problem = if point {
            Some((format!("`{raw}` is not a duration: only whole numbers stand before a unit"), "combine units: `1h30m`"))
        } else {
            match parse_duration(&raw) {
                Ok(ms) => return self.push(Kind::Duration(Some(ms)), start),
                Err(DurationError::Unit) => Some((
                    format!("unknown or ambiguous duration unit in `{raw}`"),
                    "units are w d h m s ms; a month or a year has no fixed length, use 30d / 365d or `in last 1 full months`",
                )),
                Err(DurationError::Order) => {
                    Some((format!("the units in `{raw}` do not go from large to small, each once"), "for example `1d12h` or `1h30m`"))
                }
                Err(DurationError::TooLong) => {
                    let span = self.span(start);
                    self.report.add(Code::E14, span, format!("`{raw}` is longer than a hundred years"));
                    None
                }
            }
        };
        if let Some((message, help)) = problem {
            let span = self.span(start);
            self.report.help(Code::E11, span, message, help);
            if let Some(meant) = duration_meant(&raw) {
                self.report.fix(span, meant);
            }
        }
        self.push(Kind::Duration(None), start);
    }

    fn date_or_instant(&mut self) -> bool {
        let start = self.at;
        let bytes = &self.text.as_bytes()[start..];
        let shape = |shape: &[u8]| {
            bytes.len() >= shape.len() && shape.iter().zip(bytes).all(|(s, b)| if *s == b'0' { b.is_ascii_digit() } else { s == b })
        };
        if !shape(b"0000-00-00") || bytes.get(10).is_some_and(|b| b.is_ascii_digit() || *b == b'_') {
            return false;
        }
        if bytes.get(10) == Some(&b'T') {
            self.at = start + 11;
            self.take_while(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'+' | b'-' | b'Z' | b'z'));
            // `..` after an instant is the operator of a range.
            if let Some(i) = self.text[start..self.at].find("..") {
                self.at = start + i;
            }
            let raw = &self.text[start..self.at];
            match Timestamp::parse_rfc3339(raw) {
                Some(instant) => self.push(Kind::Instant(instant), start),
                None => {
                    let raw = raw.to_string();
                    self.bad(
                        Code::E01,
                        start,
                        format!("`{raw}` is not an instant"),
                        Some("write it with its offset: `2026-11-23T08:00:00+01:00` or `2026-11-23T07:00:00Z`"),
                    );
                }
            }
            return true;
        }
        self.at = start + 10;
        let raw = &self.text[start..self.at];
        match parse_date(raw) {
            Some(days) => self.push(Kind::Date(days), start),
            None => {
                let raw = raw.to_string();
                self.bad(Code::E01, start, format!("there is no date `{raw}`"), None);
            }
        }
        true
    }

    fn clock(&mut self) -> bool {
        let start = self.at;
        let bytes = &self.text.as_bytes()[start..];
        let digit = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
        let hours = if digit(0) && digit(1) && bytes.get(2) == Some(&b':') {
            2
        } else if digit(0) && bytes.get(1) == Some(&b':') {
            1
        } else {
            return false;
        };
        self.at = start + hours + 1;
        self.take_while(|b| b.is_ascii_digit());
        let raw = &self.text[start..self.at];
        let parts = raw.split_once(':').filter(|(h, m)| h.len() == 2 && m.len() == 2);
        let clock = parts.and_then(|(h, m)| Some((h.parse::<i64>().ok()?, m.parse::<i64>().ok()?)));
        match clock {
            Some((h, m)) if h < 24 && m < 60 => self.push(Kind::Clock((h * 60 + m) * 60_000), start),
            _ => {
                let raw = raw.to_string();
                self.bad(
                    Code::E01,
                    start,
                    format!("`{raw}` is not a clock time"),
                    Some("write `09:00` or `23:30`; a range may wrap: `22:00..06:00`"),
                );
            }
        }
        true
    }

    /// A word in place of a sign, with a blank where it would touch another word.
    fn apart(&self, word: &str, span: Span) -> String {
        let bytes = self.text.as_bytes();
        let joins = |b: Option<&u8>| b.is_some_and(|b| !b.is_ascii_whitespace());
        let before = if joins(span.start.checked_sub(1).and_then(|i| bytes.get(i as usize))) { " " } else { "" };
        let after = if joins(bytes.get(span.end as usize)) { " " } else { "" };
        format!("{before}{word}{after}")
    }

    fn sign(&mut self) {
        let start = self.at;
        let rest = &self.text[start..];
        if let Some((foreign, meant, help)) = FOREIGN.iter().find(|(f, ..)| rest.starts_with(f)) {
            self.at += foreign.len();
            let span = self.span(start);
            self.report.help(Code::E01, span, format!("`{foreign}` is not part of the language"), *help);
            let mended = match *foreign {
                "&&" => self.apart("and", span),
                "||" => self.apart("or", span),
                "//" => "#".into(),
                _ => meant.to_string(),
            };
            if !mended.is_empty() {
                self.report.fix(span, mended);
            }
            let kind = SIGNS.iter().find(|s| *s == meant).map_or(Kind::Bad, |s| Kind::Sign(s));
            self.tokens.push(Token { kind, span });
            return;
        }
        if let Some(sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) {
            self.at += sign.len();
            return self.push(Kind::Sign(sign), start);
        }
        // A run of characters that mean nothing here is one message.
        let known = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || "_\"`#{}[](),.|+-*/=<>".contains(c);
        let run: String = rest.chars().take_while(|c| !known(*c)).collect();
        self.at += run.len().max(1);
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
        let help = match run.chars().next() {
            Some('\'' | '‘' | '’' | '“' | '”' | '„') => Some("text stands between straight double quotes: \"SE\""),
            Some(';') => Some("clauses need no separator"),
            Some('!') => Some("write `not`"),
            Some(':') => Some("a type or a value follows its name without a colon"),
            _ => None,
        };
        let shown: String = run.chars().take(12).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        self.bad(Code::E01, start, format!("unexpected `{shown}`"), help);
        match run.as_str() {
            ";" => self.report.fix(self.span(start), ""),
            "!" => self.report.fix(self.span(start), "not "),
            _ => {}
        }
    }
}

/// `2026-11-23` to days since 1970-01-01. The text has that shape.
fn parse_date(raw: &str) -> Option<i32> {
    let (y, m, d) = (raw[0..4].parse::<i64>().ok()?, raw[5..7].parse::<u32>().ok()?, raw[8..10].parse::<u32>().ok()?);
    if !(1..=12).contains(&m) || d < 1 || d > days_in_month(y, m) {
        return None;
    }
    i32::try_from(days_from_civil(y, m, d)).ok()
}

/// `ProductViewed` to `product_viewed`, for suggestions.
fn snake_case(name: &str) -> String {
    let mut out = String::new();
    let mut lower_before = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && lower_before {
            out.push('_');
        }
        lower_before = c.is_ascii_lowercase() || c.is_ascii_digit();
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        let mut report = Report::default();
        let kinds = lex(0, text, &mut report).into_iter().map(|t| t.kind).collect();
        assert_eq!(report.errors(), 0, "{text}");
        kinds
    }

    #[test]
    fn literals_are_read_with_their_units() {
        use Kind::*;
        assert_eq!(
            kinds("1h30m 250ms 2w 0ms"),
            [Duration(Some(5_400_000)), Duration(Some(250)), Duration(Some(1_209_600_000)), Duration(Some(0)), End]
        );
        assert_eq!(kinds("50%..100%"), [Percent(500_000), Sign(".."), Percent(1_000_000), End]);
        assert_eq!(kinds("09:00..17:30"), [Clock(32_400_000), Sign(".."), Clock(63_000_000), End]);
        assert_eq!(kinds("1..5"), [Int("1".into()), Sign(".."), Int("5".into()), End]);
        assert_eq!(kinds("1_000 EUR 0.4"), [Int("1000".into()), Currency, Number("0.4".into()), End]);
        assert_eq!(kinds("25km 1.5mi"), [Distance(25_000.0), Distance(2_414.016), End]);
        assert_eq!(kinds("1970-01-02 1970-01-01T01:00:00+01:00"), [Date(1), Instant(Timestamp(0)), End]);
        assert_eq!(kinds("\"a\\u00e9\\\"\" # rest"), [Text("aé\"".into()), End]);
    }

    #[test]
    fn a_pattern_stands_only_after_matches() {
        use Kind::*;
        assert_eq!(kinds(r"x matches /@(a\/b)\\/")[2], Pattern(r"@(a/b)\\".into()));
        assert_eq!(kinds("[matches / 2]")[2], Sign("/"));
    }

    #[test]
    fn malformed_literals_have_their_code() {
        for (text, code) in [
            ("3mo", Code::E11),
            ("1.5h", Code::E11),
            ("30m1h", Code::E11),
            ("1h1h", Code::E11),
            ("99999999999999999999d", Code::E14),
            ("2026-02-30", Code::E01),
            ("2026-02-03T10:00", Code::E01),
            ("24:00", Code::E01),
            ("\"abc", Code::E01),
            ("\"\\x\"", Code::E01),
            ("`abc", Code::E01),
            ("``", Code::E15),
            ("`a\tb`", Code::E15),
            ("productViewed", Code::E15),
            ("1_", Code::E01),
            ("a == b", Code::E01),
            ("“SE”", Code::E01),
        ] {
            let mut report = Report::default();
            lex(0, text, &mut report);
            let found = report.finish(&[]);
            assert_eq!(found.first().map(|d| d.code), Some(code), "{text}");
        }
    }
}
