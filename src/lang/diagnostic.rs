//! What an author is told: codes, messages with their place, and how they are shown (LANGUAGE.md 6).
//!
//! Owns codes and rendering. A diagnostic carries its source line, so that it can be shown after the text is gone.

use std::fmt;

use super::source::{SourceFile, Span, place, position};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Fixed code of a message; tests and tools name it. `E` is an error, `W` a warning, `H` a hint.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }
        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => stringify!($name),)* }
            }
        }
    };
}

codes! {
    /// Syntax; a clause or window that is missing.
    E01,
    /// Unknown name.
    E02,
    /// Types do not fit.
    E03,
    /// Currencies do not fit or may be mixed.
    E04,
    /// `and` and `or` mixed without parentheses.
    E05,
    /// `for at least` that can be read in two ways.
    E06,
    /// Cycle, with its path.
    E07,
    /// Window beyond retention.
    E08,
    /// `per` where it is not allowed, or without a bound.
    E09,
    /// `then no` without a limit.
    E10,
    /// Duration or window malformed: unit, order of bounds, zero.
    E11,
    /// Name declared twice.
    E12,
    /// Rules of one definition that exclude each other.
    E13,
    /// A limit is exceeded.
    E14,
    /// Reserved word or malformed name.
    E15,
    /// Not evaluated by this version.
    E16,
    /// Negation includes customers whose value is unknown.
    W01,
    /// Absence also holds for customers who never did it.
    W02,
    /// Flips for everybody at the same instant.
    W03,
    /// Exit condition is true whenever entry is.
    W04,
    /// Latched segment without `expire after`.
    W05,
    /// History for this window will be complete only later.
    W06,
    /// Contradiction.
    W07,
    /// Can never change.
    W08,
    /// A window between dates leaves its second day out, and that day ends a month.
    H01,
}

impl Code {
    pub fn severity(self) -> Severity {
        match self.as_str().as_bytes()[0] {
            b'E' => Severity::Error,
            b'W' => Severity::Warning,
            _ => Severity::Hint,
        }
    }

    pub fn from_word(word: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|c| c.as_str() == word)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Error,
    Warning,
    /// Nothing is wrong, but something else may be meant.
    Hint,
}

impl Severity {
    /// `error | warning | hint`.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Hint => "hint",
        }
    }
}

/// One message with its place. `Display` shows it over several lines, without a final line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    /// Name of the file.
    pub file: String,
    /// **Units:** bytes of the file.
    pub span: Span,
    /// Starts at 1.
    pub line: u32,
    /// In characters; starts at 1.
    pub column: u32,
    pub message: String,
    /// A way out, where there is one.
    pub help: Option<String>,
    /// Changes of the text after which the message is gone: alternatives, where more than one may be meant.
    pub fixes: Vec<Fix>,
    excerpt: String,
    indent: usize,
    width: usize,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}[{}]: {}", self.severity.word(), self.code, self.message)?;
        writeln!(f, "  --> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(f, "   | {}", self.excerpt)?;
        write!(f, "   | {:indent$}{}", "", "^".repeat(self.width), indent = self.indent)?;
        if let Some(help) = &self.help {
            write!(f, "\n   = help: {help}")?;
        }
        Ok(())
    }
}

/// One way to mend a text. Its edits belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// By place; none overlaps another.
    pub edits: Vec<Edit>,
}

/// Bytes of a file, and what stands there instead; an empty range is a place to insert at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub span: Span,
    /// Line and column of both ends, as in [`Diagnostic`].
    pub from: (u32, u32),
    pub to: (u32, u32),
    pub replacement: String,
}

impl Fix {
    /// The text with the edits made. Edits of another text, and such that do not fit it, are left out.
    pub fn apply(&self, file: u32, text: &str) -> String {
        let mut mended = text.to_string();
        for edit in self.edits.iter().rev().filter(|e| e.span.file == file) {
            let range = edit.span.start as usize..edit.span.end as usize;
            if mended.get(range.clone()).is_some() {
                mended.replace_range(range, &edit.replacement);
            }
        }
        mended
    }
}

/// Collects messages while a text is compiled. One place gets one message per code.
#[derive(Debug, Default)]
pub(crate) struct Report {
    raw: Vec<Raw>,
    errors: usize,
    warnings: usize,
    latest: Latest,
    /// Treats every form as evaluated: for tests of what lies beyond the checker.
    pub all_forms: bool,
}

/// Where the message given last is kept, if it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latest(Option<usize>);

#[derive(Debug)]
struct Raw {
    code: Code,
    span: Span,
    message: String,
    help: Option<String>,
    fixes: Vec<Vec<(Span, String)>>,
}

/// Most messages of one run: beyond that the first ones are what helps.
const SHOWN_MAX: usize = 200;

/// Most errors, and most warnings, that are kept until they are sorted; many may be the same one of a let that is used often.
const KEPT_MAX: usize = 10_000;

impl Report {
    pub fn add(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.push(code, span, message.into(), None);
    }

    pub fn help(&mut self, code: Code, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(code, span, message.into(), Some(help.into()));
    }

    pub fn push(&mut self, code: Code, span: Span, message: String, help: Option<String>) {
        let count = if code.severity() == Severity::Error { &mut self.errors } else { &mut self.warnings };
        *count += 1;
        let kept = *count <= KEPT_MAX;
        self.latest = Latest(kept.then_some(self.raw.len()));
        if kept {
            self.raw.push(Raw { code, span, message, help, fixes: Vec::new() });
        }
    }

    /// The message given last, for a fix that is known only later.
    pub fn latest(&self) -> Latest {
        self.latest
    }

    /// Offers to put `replacement` in place of `span`, for the message given last.
    pub fn fix(&mut self, span: Span, replacement: impl Into<String>) {
        self.fix_of(self.latest, vec![(span, replacement.into())]);
    }

    /// Offers several edits that belong together, for a message given before.
    pub fn fix_of(&mut self, of: Latest, mut edits: Vec<(Span, String)>) {
        edits.sort_by_key(|(span, _)| *span);
        if let Some(raw) = of.0.and_then(|i| self.raw.get_mut(i)) {
            raw.fixes.push(edits);
        }
    }

    /// Offers a pair of parentheses around each of `around`, for a message given before.
    pub fn fix_parentheses(&mut self, of: Latest, around: &[Span]) {
        let at = |span: &Span, at: u32| Span { start: at, end: at, ..*span };
        let edits = around.iter().flat_map(|s| [(at(s, s.start), "(".to_string()), (at(s, s.end), ")".to_string())]);
        self.fix_of(of, edits.collect());
    }

    /// Errors so far, also those beyond what is kept.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Sorted by (file, place); the first of several with equal code and place stays. At most [`SHOWN_MAX`], errors before warnings
    /// where some must go.
    pub fn finish(mut self, files: &[SourceFile]) -> Vec<Diagnostic> {
        self.raw.sort_by_key(|r| (r.span.file, r.span.start, r.code));
        self.raw.dedup_by(|b, a| a.code == b.code && a.span.file == b.span.file && a.span.start == b.span.start);
        if self.raw.len() > SHOWN_MAX {
            let errors = self.raw.iter().filter(|r| r.code.severity() == Severity::Error).count();
            if errors >= SHOWN_MAX {
                self.raw.retain(|r| r.code.severity() == Severity::Error);
            } else {
                let mut warnings = SHOWN_MAX - errors;
                self.raw.retain(|r| {
                    r.code.severity() == Severity::Error || {
                        let keep = warnings > 0;
                        warnings = warnings.saturating_sub(1);
                        keep
                    }
                });
            }
            self.raw.truncate(SHOWN_MAX);
        }
        self.raw
            .into_iter()
            .map(|r| {
                let (name, text) = files.get(r.span.file as usize).map_or(("", ""), |f| (f.name.as_str(), f.text.as_str()));
                let at = place(text, r.span);
                let edit = |(span, replacement): (Span, String)| {
                    let text = files.get(span.file as usize).map_or("", |f| f.text.as_str());
                    Edit { span, from: position(text, span.start), to: position(text, span.end), replacement }
                };
                let fixes = r.fixes.into_iter().map(|edits| Fix { edits: edits.into_iter().map(edit).collect() }).collect();
                Diagnostic {
                    code: r.code,
                    severity: r.code.severity(),
                    file: name.to_string(),
                    span: r.span,
                    line: at.line,
                    column: at.column,
                    message: r.message,
                    help: r.help,
                    fixes,
                    excerpt: at.excerpt,
                    indent: at.indent,
                    width: at.width,
                }
            })
            .collect()
    }
}

/// The nearest of `known` to `name`, if its edit distance is at most one third of the name.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = name.chars().count() / 3;
    known.into_iter().map(|k| (distance(name, k, limit), k)).filter(|(d, _)| *d <= limit).min().map(|(_, k)| k)
}

/// Edit distance (insert, delete, replace, swap of neighbours), or `limit + 1` where it is greater.
///
/// **Source:** optimal string alignment, Boytsov 2011, "Indexing methods for approximate dictionary searching".
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = a[i - 1] == b[j - 1];
            row[j] = (above[j - 1] + usize::from(!same)).min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()].min(limit + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_shown_with_code_place_line_caret_and_help() {
        let files = [SourceFile::new("a.seg", "segment a { when no login in last 3mo }")];
        let mut report = Report::default();
        report.help(
            Code::E11,
            Span { file: 0, start: 34, end: 37 },
            "unknown or ambiguous duration unit in `3mo`",
            "units are w d h m s ms",
        );
        let shown = report.finish(&files)[0].to_string();
        assert_eq!(
            shown,
            "error[E11]: unknown or ambiguous duration unit in `3mo`\n  --> a.seg:1:35\n   | segment a { when no login in last 3mo }\n   \
             |                                   ^^^\n   = help: units are w d h m s ms"
        );
    }

    #[test]
    fn did_you_mean_is_bounded_by_a_third_of_the_name() {
        assert_eq!(nearest("order_complete", ["order_completed", "product_viewed"]), Some("order_completed"));
        assert_eq!(nearest("lgoin", ["login"]), Some("login"));
        assert_eq!(nearest("abc", ["xyz", "abd"]), Some("abd"));
        assert_eq!(nearest("ab", ["ac"]), None);
    }
}
