//! `.seg` text to checked definitions: lexer, parser, syntax tree, checker, canonical form, diagnostics.
//!
//! Owns every message an author sees. Never panics on any text, reports several errors in one run, and hands on only definitions that
//! this version evaluates.

pub mod canonical;
mod check;
pub mod definition;
mod diagnostic;
pub mod display;
mod lexer;
mod parser;
mod source;
mod supported;
mod tree;
mod walk;

pub use definition::*;
pub use diagnostic::{Code, Diagnostic, Severity};
pub use source::{SourceFile, Span};
pub use supported::not_evaluated;

/// What one run of the compiler gives.
#[derive(Debug)]
pub struct Compiled {
    /// `None` if and only if a diagnostic is an error.
    pub workspace: Option<Workspace>,
    /// In the order of the files and of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Compiled {
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Error)
    }

    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Warning)
    }
}

/// Compiles the `.seg` texts of one workspace, given in any order. Never panics, whatever the text.
///
/// **Cost:** linear in the texts and in the definitions after lets are inlined; at start-up and in tools only.
pub fn compile(files: &[SourceFile]) -> Compiled {
    let mut report = diagnostic::Report::default();
    let mut items = Vec::new();
    for (i, file) in files.iter().enumerate() {
        items.extend(parser::parse(i as u32, &file.text, &mut report));
    }
    let workspace = check::check(files, &items, &mut report);
    Compiled { workspace, diagnostics: report.finish(files) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOGUE: &str = include_str!("../../tests/diagnostics/reference_catalogue.seg");

    fn with_catalogue(text: &str) -> Compiled {
        compile(&[SourceFile::new("catalogue.seg", CATALOGUE), SourceFile::new("a.seg", text)])
    }

    #[test]
    fn every_worked_example_of_the_reference_is_understood() {
        let compiled = with_catalogue(include_str!("../../tests/diagnostics/reference.seg"));
        for d in compiled.errors() {
            assert_eq!(d.code, Code::E16, "{d}");
        }
    }

    #[test]
    fn what_is_evaluated_compiles() {
        let compiled = with_catalogue(
            r#"
            let idle = 30m
            let ltv = sum(order_completed.total) in last 365d
            let shoes = product_viewed[category = "shoes"]
            score intent { half_life 2d  product_viewed + 1  shoes[price >= 200 EUR] + 1  order_completed resets  cap 60 }
            segment abandoned { name "Cart abandoned"  tags lifecycle, email
              when cart.value >= 50 EUR and cart.changed_at at least idle ago
              exit when cart is empty or last(activity) in last 5m
              emit cart.value, cart.items }
            segment vip { when ltv >= 500 EUR or at least 3 shoes in last 7d }
            segment keen { when score(intent) >= 15 for at least 10m  exit when score(intent) < 8 }
            segment both { when in segment vip and not in segment keen and cart.items has [category = "sneakers", price >= 100 EUR] }
            segment lost { when no activity in last 30d and any order_completed ever and customer.country in ["SE", "NO"] }
            "#,
        );
        assert_eq!(compiled.diagnostics, []);
        let workspace = compiled.workspace.expect("compiles");
        let shown: Vec<(u32, &str, String)> = workspace
            .definitions
            .iter()
            .map(|d| match &d.kind {
                DefinitionKind::Segment(s) => (d.depth, d.name.as_str(), display::condition(&workspace, &s.when)),
                _ => (d.depth, d.name.as_str(), String::new()),
            })
            .collect();
        let want = [
            (0, "abandoned", "cart.value >= 50 EUR and cart.changed_at at least 30m ago"),
            (0, "intent", ""),
            (0, "lost", "no activity in last 30d and any order_completed ever and customer.country in [\"SE\", \"NO\"]"),
            (0, "vip", "sum(order_completed.total) in last 365d >= 500 EUR or at least 3 product_viewed[category = \"shoes\"] in last 7d"),
            (1, "keen", "score(intent) >= 15 for at least 10m"),
            (2, "both", "in segment vip and not in segment keen and cart.items has [category = \"sneakers\", price >= 100 EUR]"),
        ];
        assert_eq!(shown, want.map(|(depth, name, when)| (depth, name, when.to_string())));
    }
}
