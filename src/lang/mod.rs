//! `.seg` text to checked definitions: lexer, parser, syntax tree, checker, canonical form, diagnostics.
//!
//! Owns every message an author sees. Never panics on any text, reports several errors in one run, and hands on only definitions that
//! this version evaluates.

pub mod definition;
mod diagnostic;
mod lexer;
mod parser;
mod source;
mod tree;

pub use definition::*;
pub use diagnostic::{Code, Diagnostic, Severity};
pub use source::{SourceFile, Span};

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
    for item in &items {
        if let tree::ItemKind::Segment(segment) = &item.kind {
            report.add(Code::E16, segment.name.span, "segments are not evaluated by this version");
        }
    }
    let workspace = (report.errors() == 0).then(|| Workspace {
        catalogue: crate::model::Catalogue::default(),
        definitions: Vec::new(),
        hash: crate::ids::SetHash::default(),
    });
    Compiled { workspace, diagnostics: report.finish(files) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worked_example_of_the_reference_parses() {
        let compiled = compile(&[SourceFile::new("reference.seg", include_str!("../../tests/diagnostics/reference.seg"))]);
        for d in &compiled.diagnostics {
            assert_ne!(d.code, Code::E01, "{d}");
        }
    }
}
