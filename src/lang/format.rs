//! One layout for `.seg` texts: `segmentd format`.
//!
//! Owns white space alone. Tokens and comments stay as they are and in their order, so the meaning cannot change; formatting what was
//! formatted changes nothing. The layout:
//!
//! * An item stands on one line if it has at most one clause (events, carts and the workspace: any number) and no comment inside, and fits
//!   [`WIDTH`] columns. Otherwise each clause has a line of its own, two columns in.
//! * A clause that does not fit is broken before every `and`, `or` and `then` of its outermost level; what still does not fit, of the next.
//! * Clauses on one line are two blanks apart. Between items one empty line stays one, more become one; items of several lines stand free.
//! * A comment keeps its place: behind what it stood behind, or on lines of its own before what it stood before.

use super::diagnostic::{Diagnostic, Report};
use super::lexer::{Kind, Token, lex};
use super::parser::{Mark, parse_outlined};
use super::source::SourceFile;

/// **Units:** columns.
pub const WIDTH: usize = 120;

/// Before these a `(` belongs to the word.
const FUNCTIONS: [&str; 16] =
    ["count", "sum", "avg", "min", "max", "distinct", "first", "last", "score", "points", "stage", "bucket", "ntile", "band", "age", "geo"];

/// Items whose clauses may share a line.
const GATHERED: [&str; 3] = ["event", "workspace", "cart"];

/// The text in the one layout.
///
/// **Errors:** a text that cannot be parsed: its messages.
pub fn format(file: &SourceFile) -> Result<String, Vec<Diagnostic>> {
    let mut report = Report::default();
    let outlined = parse_outlined(0, &file.text, &mut report);
    if report.errors() > 0 {
        return Err(report.finish(std::slice::from_ref(file)));
    }
    let pieces = pieces(&file.text, &outlined.tokens, &outlined.marks);
    let out = Printer { pieces: &pieces, out: String::new() }.print();
    debug_assert!(same_tokens(&file.text, &out), "formatting changes white space only");
    Ok(out)
}

/// A token as it is laid out.
#[derive(Debug)]
struct Piece<'a> {
    text: &'a str,
    kind: Shape,
    item: bool,
    clause: bool,
    joint: bool,
    filter: bool,
    /// Brackets that are open before it, of any kind.
    depth: usize,
    /// Comments on lines of their own before it; `""` is an empty line after one.
    before: Vec<&'a str>,
    /// A comment behind it on its line.
    behind: Option<&'a str>,
    /// An empty line stands before it, or before its first comment.
    apart: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Word,
    Sign,
    Literal,
    End,
}

/// Tokens with their comments; the last is the end of the text.
fn pieces<'a>(text: &'a str, tokens: &[Token], marks: &[(usize, Mark)]) -> Vec<Piece<'a>> {
    let mut out: Vec<Piece<'a>> = Vec::with_capacity(tokens.len());
    let (mut at, mut depth, mut marks) = (0, 0usize, marks.iter().peekable());
    for (i, token) in tokens.iter().enumerate() {
        let (start, end) = (token.span.start as usize, token.span.end as usize);
        let (before, apart) = comments(&text[at..start], out.last_mut());
        let own = &text[start..end];
        let kind = match token.kind {
            Kind::Word => Shape::Word,
            Kind::Sign(_) => Shape::Sign,
            Kind::End => Shape::End,
            _ => Shape::Literal,
        };
        if kind == Shape::Sign && matches!(own, ")" | "]" | "}") {
            depth = depth.saturating_sub(1);
        }
        let mut piece =
            Piece { text: own, kind, item: false, clause: false, joint: false, filter: false, depth, before, behind: None, apart };
        while let Some((_, mark)) = marks.next_if(|(place, _)| *place <= i) {
            match mark {
                Mark::Item => piece.item = true,
                Mark::Clause => piece.clause = true,
                Mark::Joint => piece.joint = true,
                Mark::Filter => piece.filter = true,
            }
        }
        if kind == Shape::Sign && matches!(own, "(" | "[" | "{") {
            depth += 1;
        }
        out.push(piece);
        at = end;
    }
    out
}

/// The comments between two tokens: one behind the former on its line becomes that token's; and whether an empty line comes first.
fn comments<'a>(gap: &'a str, former: Option<&mut Piece<'a>>) -> (Vec<&'a str>, bool) {
    let gap = gap.trim_start_matches('\u{feff}');
    let mut lines = gap.split('\n');
    let first = lines.next().unwrap_or_default().trim();
    let mut before = Vec::new();
    if !first.is_empty() {
        match former {
            Some(former) => former.behind = Some(first),
            None => before.push(first),
        }
    }
    let (mut apart, mut empty) = (false, false);
    let rest: Vec<&str> = lines.map(str::trim).collect();
    for (i, line) in rest.iter().enumerate() {
        if line.is_empty() {
            // The last stretch is what the token's own line begins with.
            empty |= i + 1 < rest.len();
            continue;
        }
        match (before.is_empty(), empty) {
            (true, _) => apart |= empty,
            (false, true) => before.push(""),
            (false, false) => {}
        }
        before.push(line);
        empty = false;
    }
    match before.is_empty() {
        true => apart |= empty,
        false if empty => before.push(""),
        false => {}
    }
    (before, apart)
}

struct Printer<'a> {
    pieces: &'a [Piece<'a>],
    out: String,
}

impl Printer<'_> {
    fn print(mut self) -> String {
        let starts: Vec<usize> = (0..self.pieces.len()).filter(|i| self.pieces[*i].item || self.pieces[*i].kind == Shape::End).collect();
        let mut former_is_tall = false;
        for (n, &start) in starts.iter().enumerate() {
            let piece = &self.pieces[start];
            if piece.kind == Shape::End {
                if !piece.before.is_empty() && piece.apart && !self.out.is_empty() {
                    self.out.push('\n');
                }
                self.own_lines(piece.before.strip_suffix(&[""]).unwrap_or(&piece.before), 0);
                break;
            }
            let end = starts[n + 1];
            let flat = self.fits_on_a_line(start, end);
            let tall = !flat;
            if !self.out.is_empty() && (piece.apart || tall || former_is_tall) {
                self.out.push('\n');
            }
            self.own_lines(&piece.before, 0);
            if flat {
                self.flat(start, end);
                self.behind(end - 1);
                self.out.push('\n');
            } else {
                self.tall(start, end);
            }
            former_is_tall = tall;
        }
        self.out
    }

    fn own_lines(&mut self, comments: &[&str], indent: usize) {
        for comment in comments {
            if !comment.is_empty() {
                self.indent(indent);
            }
            self.out.push_str(comment);
            self.out.push('\n');
        }
    }

    fn indent(&mut self, columns: usize) {
        self.out.extend(std::iter::repeat_n(' ', columns));
    }

    fn behind(&mut self, i: usize) {
        if let Some(comment) = self.pieces[i].behind {
            self.out.push_str("  ");
            self.out.push_str(comment);
        }
    }

    /// Whether the item `start..end` has no comment inside, few enough clauses, and fits.
    fn fits_on_a_line(&self, start: usize, end: usize) -> bool {
        let inside = &self.pieces[start..end];
        let bare = inside.iter().enumerate().all(|(i, p)| (i == 0 || p.before.is_empty()) && (i + 1 == inside.len() || p.behind.is_none()));
        let gathered = GATHERED.contains(&inside[0].text);
        let clauses = inside.iter().filter(|p| p.clause && p.depth == 1).count();
        bare && (gathered || clauses <= 1) && self.width(start, end) <= WIDTH
    }

    fn width(&self, start: usize, end: usize) -> usize {
        let mut width = 0;
        for i in start..end {
            width += self.pieces[i].text.chars().count() + if i > start { self.space(i).len() } else { 0 };
        }
        width
    }

    fn flat(&mut self, start: usize, end: usize) {
        for i in start..end {
            if i > start {
                let space = self.space(i);
                self.out.push_str(space);
            }
            self.out.push_str(self.pieces[i].text);
        }
    }

    /// An item over several lines: its head, its clauses, its `}`; or, for one without a body, one clause that goes on below itself.
    fn tall(&mut self, start: usize, end: usize) {
        let body = (start..end).find(|i| self.pieces[*i].text == "{" && self.pieces[*i].kind == Shape::Sign && self.pieces[*i].depth == 0);
        let Some(body) = body else {
            self.clause(start, end, 0);
            return;
        };
        self.clause(start, body + 1, 0);
        let close = end - 1;
        let mut at = body + 1;
        while at < close {
            let next = (at + 1..close).find(|i| self.pieces[*i].clause && self.pieces[*i].depth == 1).unwrap_or(close);
            let piece = &self.pieces[at];
            if piece.apart && at > body + 1 {
                self.out.push('\n');
            }
            self.own_lines(&piece.before, 2);
            self.clause(at, next, 2);
            at = next;
        }
        let last = &self.pieces[close].before;
        self.own_lines(last.strip_suffix(&[""]).unwrap_or(last), 2);
        self.out.push('}');
        self.behind(close);
        self.out.push('\n');
    }

    /// One clause with its line ends; what does not fit goes on four columns further in.
    fn clause(&mut self, start: usize, end: usize, indent: usize) {
        self.indent(indent);
        let mut column = indent;
        let breaks = self.breaks(start, end, indent);
        let mut fresh = true;
        for i in start..end {
            let piece = &self.pieces[i];
            let forced = i > start && (!piece.before.is_empty() || self.pieces[i - 1].behind.is_some());
            if i > start && (forced || breaks.contains(&i)) {
                if !fresh {
                    self.out.push('\n');
                }
                self.own_lines(&piece.before, indent + 4);
                self.indent(indent + 4);
                column = indent + 4;
            } else if i > start {
                let space = self.space(i);
                self.out.push_str(space);
                column += space.len();
            }
            self.out.push_str(piece.text);
            column += piece.text.chars().count();
            fresh = false;
            self.behind(i);
        }
        debug_assert!(column >= indent);
        self.out.push('\n');
    }

    /// Where a clause is broken: before the joints of its outermost level, and in lines that still do not fit before those of the next.
    fn breaks(&self, start: usize, end: usize, indent: usize) -> Vec<usize> {
        let mut breaks = Vec::new();
        if indent + self.width(start, end) > WIDTH {
            self.break_lines(start, end, indent, &mut breaks);
        }
        breaks
    }

    fn break_lines(&self, start: usize, end: usize, indent: usize, breaks: &mut Vec<usize>) {
        let joints = || (start + 1..end).filter(|i| self.pieces[*i].joint && !breaks.contains(i));
        let Some(outermost) = joints().map(|i| self.pieces[i].depth).min() else { return };
        let here: Vec<usize> = joints().filter(|i| self.pieces[*i].depth == outermost).collect();
        let mut from = start;
        breaks.extend(&here);
        for to in here.into_iter().chain([end]) {
            let indent = if from == start { indent } else { indent + 4 };
            if indent + self.width(from, to) > WIDTH {
                self.break_lines(from, to, indent, breaks);
            }
            from = to;
        }
    }

    /// What stands between a piece and the one before it.
    fn space(&self, i: usize) -> &'static str {
        let (a, b) = (&self.pieces[i - 1], &self.pieces[i]);
        let sign = |p: &Piece| if p.kind == Shape::Sign { Some(p.text.chars().next().unwrap_or(' ')) } else { None };
        let dots = |p: &Piece| p.kind == Shape::Sign && (p.text == "." || p.text == "..");
        if b.clause && a.text != "{" {
            return "  ";
        }
        if dots(a) || dots(b) || matches!(sign(a), Some('(' | '[')) || matches!(sign(b), Some(')' | ']' | ',')) {
            return "";
        }
        if b.text == "{" || b.text == "}" || a.text == "{" {
            return " ";
        }
        if b.filter && a.text != "has" {
            return "";
        }
        if b.text == "(" && b.kind == Shape::Sign && a.kind == Shape::Word {
            let called = a.text == "sequence" || FUNCTIONS.contains(&a.text);
            let since = a.text == "last" && i >= 2 && self.pieces[i - 2].text == "since";
            return if called && !since { "" } else { " " };
        }
        // A sign of a number, not between two terms.
        if a.kind == Shape::Sign && a.text == "-" && i >= 2 && self.negates(i - 1) {
            return "";
        }
        " "
    }

    /// Whether the `-` at `i` belongs to the number behind it: no term stands before it.
    fn negates(&self, i: usize) -> bool {
        let before = &self.pieces[i - 1];
        match before.kind {
            Shape::Sign => !matches!(before.text, ")" | "]"),
            Shape::Word => matches!(before.text, "in" | "between" | "and" | "contains"),
            _ => false,
        }
    }
}

/// Whether two texts differ in white space alone.
fn same_tokens(a: &str, b: &str) -> bool {
    let kinds = |text: &str| lex(0, text, &mut Report::default()).into_iter().map(|t| t.kind).collect::<Vec<_>>();
    let comments = |text: &str| text.matches('#').count();
    kinds(a) == kinds(b) && comments(a) == comments(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(text: &str) -> String {
        format(&SourceFile::new("a.seg", text)).unwrap_or_else(|d| panic!("{}", d[0]))
    }

    #[test]
    fn short_items_stand_on_a_line_and_long_ones_free() {
        let text = "let idle=30m\nevent   a is activity {x int\n y money in currency currency string}\n\n\n\nsegment s{when any a[x>=-1,y>=80 EUR] in last 7d}\nsegment t { name \"T\" when any a ever exit when no a in last 1d }\nsegment u { when count(a) in last 7d-1>2 }\n";
        let want = "let idle = 30m\nevent a is activity { x int  y money in currency  currency string }\n\nsegment s { when any a[x >= -1, y >= 80 EUR] in last 7d }\n\nsegment t {\n  name \"T\"\n  when any a ever\n  exit when no a in last 1d\n}\n\nsegment u { when count(a) in last 7d - 1 > 2 }\n";
        assert_eq!(formatted(text), want);
    }

    #[test]
    fn long_conditions_are_broken_at_the_outermost_joints() {
        let text = "segment s { when any product_viewed[category = \"shoes\"] in last 7d and (no order_completed in last 30d or cart.value >= 50 EUR) and customer.country in [\"SE\", \"NO\"] }";
        let want = "segment s {\n  when any product_viewed[category = \"shoes\"] in last 7d\n      and (no order_completed in last 30d or cart.value >= 50 EUR)\n      and customer.country in [\"SE\", \"NO\"]\n}\n";
        assert_eq!(formatted(text), want);
    }

    #[test]
    fn comments_keep_their_places() {
        let text = "# head\n\n# of s\nsegment s { # opens\n  # above\n  when any a ever # behind\n    and # odd\n    # odder\n    no b ever\n\n  settle 2s\n  # last\n} # closed\n# end";
        let want = "# head\n\n# of s\nsegment s {  # opens\n  # above\n  when any a ever  # behind\n      and  # odd\n      # odder\n      no b ever\n\n  settle 2s\n  # last\n}  # closed\n# end\n";
        assert_eq!(formatted(text), want);
        assert_eq!(formatted(want), want);
    }

    #[test]
    fn every_example_formats_to_itself_the_second_time_and_means_the_same() {
        let catalogue = include_str!("../../tests/diagnostics/reference_catalogue.seg");
        let reference = include_str!("../../tests/diagnostics/reference.seg");
        let set = |texts: [&str; 2]| crate::lang::compile(&texts.map(|t| SourceFile::new("x.seg", t))).diagnostics.len();
        let (a, b) = (formatted(catalogue), formatted(reference));
        for (text, once) in [(catalogue, &a), (reference, &b)] {
            assert!(same_tokens(text, once), "{once}");
            assert_eq!(&formatted(once), once);
            assert!(once.lines().filter(|l| !l.contains('#')).all(|l| l.len() <= WIDTH + 20), "{once}");
        }
        assert_eq!(set([&a, &b]), set([catalogue, reference]));
    }

    #[test]
    fn a_broken_text_is_left_alone() {
        let broken = format(&SourceFile::new("a.seg", "segment a { when }")).expect_err("a syntax error");
        assert_eq!(broken[0].code, crate::lang::Code::E01);
    }
}
