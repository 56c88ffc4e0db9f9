//! Texts and places in them.
//!
//! Owns the way from a byte range to file, line and column. A place is bytes until it is shown; only here it becomes characters.

/// One `.seg` text with the name under which diagnostics speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub name: String,
    pub text: String,
}

impl SourceFile {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> SourceFile {
        SourceFile { name: name.into(), text: text.into() }
    }
}

/// A half-open byte range `[start, end)` of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Zero-based place of the file among those that were compiled together.
    pub file: u32,
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// From the start of `self` to the end of `other`.
    pub fn to(self, other: Span) -> Span {
        Span { file: self.file, start: self.start, end: other.end.max(self.start) }
    }
}

/// Where a span stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Starts at 1.
    pub line: u32,
    /// In characters; starts at 1.
    pub column: u32,
    /// The line without its end, tabs as one blank each, cut to [`EXCERPT_CHARS_MAX`] around the place.
    pub excerpt: String,
    /// Blanks before the caret under `excerpt`.
    pub indent: usize,
    /// Number of carets, at least one; a span that goes on over several lines is marked on its first.
    pub width: usize,
}

/// Longest shown source line. A generated definition may be one line of a megabyte.
const EXCERPT_CHARS_MAX: usize = 160;

/// Line and column, both from 1, the column in characters.
pub(crate) fn position(text: &str, at: u32) -> (u32, u32) {
    let mut at = (at as usize).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let start = text[..at].rfind('\n').map_or(0, |i| i + 1);
    (text[..start].bytes().filter(|b| *b == b'\n').count() as u32 + 1, text[start..at].chars().count() as u32 + 1)
}

pub(crate) fn place(text: &str, span: Span) -> Place {
    let clamp = |at: u32| {
        let mut at = (at as usize).min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (start, end) = (clamp(span.start), clamp(span.end));
    let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |i| start + i);
    let line = text[..line_start].bytes().filter(|b| *b == b'\n').count() as u32 + 1;
    let before = text[line_start..start].chars().count();
    let marked = text[start..end.clamp(start, line_end)].trim_end().chars().count().max(1);
    let shown = text[line_start..line_end].trim_end();
    let length = shown.chars().count();
    let skip = if length <= EXCERPT_CHARS_MAX { 0 } else { before.saturating_sub(EXCERPT_CHARS_MAX / 2) };
    let mut excerpt = String::new();
    if skip > 0 {
        excerpt.push('…');
    }
    excerpt.extend(shown.chars().skip(skip).take(EXCERPT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }));
    if length > skip + EXCERPT_CHARS_MAX {
        excerpt.push('…');
    }
    let indent = before - skip + usize::from(skip > 0);
    let width = marked.min(EXCERPT_CHARS_MAX.saturating_sub(indent)).max(1);
    Place { line, column: before as u32 + 1, excerpt, indent, width }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_long_lines_are_cut() {
        let text = "a\nsegment é { x }\r\n";
        let at = text.find('x').expect("there") as u32;
        let p = place(text, Span { file: 0, start: at, end: at + 1 });
        assert_eq!((p.line, p.column, p.excerpt.as_str(), p.indent, p.width), (2, 13, "segment é { x }", 12, 1));
        let long = "y".repeat(5_000);
        let p = place(&long, Span { file: 0, start: 4_000, end: 5_000 });
        assert_eq!(p.column, 4_001);
        assert!(p.excerpt.chars().count() <= EXCERPT_CHARS_MAX + 2 && p.indent + p.width <= EXCERPT_CHARS_MAX + 2);
        // Out of range and inside a character: no panic.
        place("é", Span { file: 0, start: 1, end: 90 });
    }
}
