//! Tokens to the syntax tree: the whole grammar of LANGUAGE.md 2 and 4, by recursive descent without backtracking.
//!
//! Owns syntax messages and recovery. A message ends its clause; parsing goes on at the next clause or item, so that one run tells of
//! several mistakes. The depth of recursion is bounded by [`EXPRESSION_NESTING_MAX`].

mod catalogue;
mod definitions;
mod expressions;
mod relations;
mod terms;
mod windows;

use super::diagnostic::{Code, Report, nearest};
use super::lexer::{Kind, Token, lex};
use super::source::Span;
use super::tree::{Dur, Item, Name};
use crate::limits::{EXPRESSION_NESTING_MAX, NAME_BYTES_MAX};

/// The message is given; whoever can recover does.
#[derive(Debug)]
pub(crate) struct Stop;

type Parsed<T> = Result<T, Stop>;

/// Words that cannot name an event or a let, unless back-quoted (LANGUAGE.md 3).
const RESERVED: [&str; 16] =
    ["and", "or", "not", "any", "no", "at", "exactly", "in", "for", "per", "true", "false", "activity", "customer", "cart", "local"];

/// Reserved too, but they may stand where an event is named, or as `key` of `emit`.
const RESERVED_BUILT_IN: [&str; 2] = ["key", "trait_changed"];

/// Whether an unquoted word cannot be the name of something declared.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word) || RESERVED_BUILT_IN.contains(&word)
}

/// Parses one text. Never panics; messages go to `report`.
pub(crate) fn parse(file: u32, text: &str, report: &mut Report) -> Vec<Item> {
    parse_outlined(file, text, report).items
}

/// What a token begins, for whoever lays the text out anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// An item of the file.
    Item,
    /// A clause of an item's body, or a property of a record.
    Clause,
    /// `and` or `or` between two conditions, `then` between two steps.
    Joint,
    /// The `[` of a filter.
    Filter,
}

/// A text with its outline.
#[derive(Debug)]
pub(crate) struct Outlined {
    pub items: Vec<Item>,
    pub tokens: Vec<Token>,
    /// Index of the token and what it begins, ascending but for marks of one place; only meaningful without errors.
    pub marks: Vec<(usize, Mark)>,
}

/// Like [`parse`], and tells where things begin.
pub(crate) fn parse_outlined(file: u32, text: &str, report: &mut Report) -> Outlined {
    let tokens = lex(file, text, report);
    let mut parser =
        Parser { text, tokens, at: 0, report, depth: 0, in_filter: false, gave_up: false, unreadable: false, marks: Vec::new() };
    let items = parser.file();
    Outlined { items, tokens: parser.tokens, marks: parser.marks }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    report: &'a mut Report,
    depth: usize,
    /// Inside `[...]` a bare word is a property, whatever the word.
    in_filter: bool,
    /// A clause of the present item was given up.
    gave_up: bool,
    /// ... because of what the lexer could not read, which may have swallowed a bracket.
    unreadable: bool,
    marks: Vec<(usize, Mark)>,
}

impl<'a> Parser<'a> {
    fn token(&self, ahead: usize) -> &Token {
        // The last token is the end, and nothing moves beyond it.
        &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)]
    }

    fn kind(&self) -> &Kind {
        &self.token(0).kind
    }

    fn span(&self) -> Span {
        self.token(0).span
    }

    /// Notes what the present token begins.
    fn mark(&mut self, mark: Mark) {
        self.marks.push((self.at, mark));
    }

    /// Of the token before.
    fn last_span(&self) -> Span {
        self.tokens[self.at.saturating_sub(1)].span
    }

    fn bump(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    fn text_of(&self, token: &Token) -> &'a str {
        &self.text[token.span.start as usize..token.span.end as usize]
    }

    /// The unquoted word `ahead` tokens on, or `""`.
    fn word(&self, ahead: usize) -> &'a str {
        let token = self.token(ahead);
        if token.kind == Kind::Word { self.text_of(token) } else { "" }
    }

    fn is_word(&self, word: &str) -> bool {
        self.word(0) == word
    }

    fn is_sign(&self, sign: &str) -> bool {
        self.is_sign_at(0, sign)
    }

    fn is_sign_at(&self, ahead: usize, sign: &str) -> bool {
        matches!(&self.token(ahead).kind, Kind::Sign(s) if *s == sign)
    }

    fn is_name_at(&self, ahead: usize) -> bool {
        matches!(self.token(ahead).kind, Kind::Word | Kind::Quoted(_))
    }

    fn is_end(&self) -> bool {
        *self.kind() == Kind::End
    }

    fn take_word(&mut self, word: &str) -> bool {
        let there = self.is_word(word);
        if there {
            self.bump();
        }
        there
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let there = self.is_sign(sign);
        if there {
            self.bump();
        }
        there
    }

    /// The present token as a message shows it.
    fn found(&self) -> String {
        let token = self.token(0);
        if token.kind == Kind::End {
            return "the end of the text".into();
        }
        let shown: String = self.text_of(token).chars().take(40).collect();
        format!("`{shown}`")
    }

    /// Says what should stand here; silent where the lexer already spoke.
    fn expected<T>(&mut self, what: &str, help: Option<&str>) -> Parsed<T> {
        if *self.kind() == Kind::Bad {
            self.unreadable = true;
        } else {
            let (message, span) = (format!("expected {what}, found {}", self.found()), self.span());
            self.report.push(Code::E01, span, message, help.map(str::to_string));
        }
        Err(Stop)
    }

    fn error<T>(&mut self, code: Code, span: Span, message: String, help: Option<&str>) -> Parsed<T> {
        self.report.push(code, span, message, help.map(str::to_string));
        Err(Stop)
    }

    fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.take_word(word) { Ok(()) } else { self.expected(&format!("`{word}`"), None) }
    }

    fn expect_words(&mut self, words: &[&str]) -> Parsed<()> {
        words.iter().try_for_each(|w| self.expect_word(w))
    }

    fn expect_sign(&mut self, sign: &str) -> Parsed<()> {
        if self.take_sign(sign) { Ok(()) } else { self.expected(&format!("`{sign}`"), None) }
    }

    /// Any name: a word, whatever the word, or back-quoted.
    fn name(&mut self, what: &str) -> Parsed<Name> {
        let span = self.span();
        let name = match self.kind() {
            Kind::Word => Name { text: self.word(0).to_string(), quoted: false, span },
            Kind::Quoted(text) => Name { text: text.clone(), quoted: true, span },
            Kind::Currency => {
                let text = self.text_of(self.token(0)).to_string();
                let lower = text.to_lowercase();
                let help = format!("write `{lower}`; where the data carry it, say so: `{lower} string from \"/{text}\"`");
                self.report.help(Code::E15, span, format!("`{text}` is not a name: names are lower case with underscores"), help);
                self.report.fix(span, lower);
                Name { text, quoted: true, span }
            }
            Kind::Int(_) | Kind::Duration(_) => {
                let message = format!("{} is not a name: it starts with a digit", self.found());
                return self.error(Code::E15, span, message, None);
            }
            _ => return self.expected(what, None),
        };
        self.bump();
        if name.text.len() > NAME_BYTES_MAX {
            let message = format!("a name has {} bytes, more than {NAME_BYTES_MAX}", name.text.len());
            return self.error(Code::E14, span, message, None);
        }
        Ok(name)
    }

    /// The name of something that is declared here: no reserved word.
    fn declared_name(&mut self, what: &str) -> Parsed<Name> {
        let name = self.name(what)?;
        if !name.quoted && is_reserved(&name.text) {
            let message = format!("`{}` is a reserved word and cannot be used as a name here", name.text);
            self.report.help(Code::E15, name.span, message, format!("choose another name, or write it in back-quotes: ``{}``", name.text));
            self.report.fix(name.span, format!("`{}`", name.text));
        }
        Ok(name)
    }

    fn names(&mut self, what: &str) -> Parsed<Vec<Name>> {
        let mut names = vec![self.name(what)?];
        while self.take_sign(",") {
            names.push(self.name(what)?);
        }
        Ok(names)
    }

    /// `a.b.c`.
    fn path(&mut self, what: &str) -> Parsed<Vec<Name>> {
        let first = self.name(what)?;
        self.path_after(first)
    }

    fn path_after(&mut self, first: Name) -> Parsed<Vec<Name>> {
        let mut path = vec![first];
        while self.take_sign(".") {
            path.push(self.name("a name after `.`")?);
            if path.len() > EXPRESSION_NESTING_MAX {
                let span = self.last_span();
                return self.error(Code::E14, span, format!("a path has more than {EXPRESSION_NESTING_MAX} names"), None);
            }
        }
        Ok(path)
    }

    fn string(&mut self, what: &str) -> Parsed<(String, Span)> {
        let span = self.span();
        match self.kind() {
            Kind::Text(text) => {
                let text = text.clone();
                self.bump();
                Ok((text, span))
            }
            _ => self.expected(what, Some("a text stands between double quotes: \"SE\"")),
        }
    }

    /// A whole number that fits 32 bits.
    fn integer(&mut self, what: &str) -> Parsed<u32> {
        let span = self.span();
        match self.kind() {
            Kind::Int(digits) => match digits.parse() {
                Ok(n) => {
                    self.bump();
                    Ok(n)
                }
                Err(_) => {
                    let message = format!("`{digits}` is too large");
                    self.error(Code::E14, span, message, None)
                }
            },
            _ => self.expected(what, None),
        }
    }

    fn duration(&mut self) -> Parsed<Dur> {
        let span = self.span();
        match self.kind() {
            Kind::Duration(ms) => {
                let ms = *ms;
                self.bump();
                Ok(Dur::Millis(ms, span))
            }
            Kind::Word | Kind::Quoted(_) => Ok(Dur::Name(self.name("a duration")?)),
            Kind::Int(_) => self.expected("a duration", Some("a number needs its unit: `30m`, `24h`, `7d`")),
            _ => self.expected("a duration", Some("for example `30m`, `24h` or `7d`")),
        }
    }

    /// Runs `f` one level deeper.
    fn nested<T>(&mut self, f: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= EXPRESSION_NESTING_MAX {
            let span = self.span();
            return self.error(
                Code::E14,
                span,
                format!("nested deeper than {EXPRESSION_NESTING_MAX} levels"),
                Some("split the condition with `let`, or into a segment of its own"),
            );
        }
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        result
    }

    /// Moves on to where `stop` says that something new starts, or to the `}` that closes what we are in. Always leaves the present
    /// token behind if `stop` does not hold there. Brackets that open on the way are skipped whole.
    fn recover(&mut self, stop: impl Fn(&Self) -> bool) {
        let (mut square, mut braces) = (0usize, 0usize);
        while !self.is_end() {
            if braces == 0 && (self.is_sign("}") || (square == 0 && stop(self))) || self.item_starts() {
                return;
            }
            match self.kind() {
                Kind::Sign("[" | "(") => square += 1,
                Kind::Sign("]" | ")") => square = square.saturating_sub(1),
                Kind::Sign("{") => braces += 1,
                Kind::Sign("}") => {
                    braces = braces.saturating_sub(1);
                    square = 0;
                }
                _ => {}
            }
            self.bump();
        }
    }

    /// Says that a word is none of those that may stand here.
    fn unknown_word<T>(&mut self, what: &str, known: &[&str]) -> Parsed<T> {
        let meant = nearest(self.word(0), known.iter().copied());
        let help = match meant {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("one of: {}", known.join(", ")),
        };
        let (span, stop) = (self.span(), self.expected(what, Some(&help)));
        if let Some(meant) = meant {
            self.report.fix(span, meant);
        }
        stop
    }
}
