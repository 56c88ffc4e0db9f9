//! `.seg` text to checked definitions: lexer, parser, syntax tree, checker, canonical form, diagnostics.
//!
//! Owns every message an author sees. Never panics on any text, reports several errors in one run, and hands on only definitions that
//! this version evaluates.

pub mod definition;

pub use definition::*;
