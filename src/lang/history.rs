//! What a running instance knows and a compiler does not: from when the history of a segment is complete (W06).

use super::diagnostic::{Code, Diagnostic, Report};
use super::parser;
use super::source::SourceFile;
use super::tree::ItemKind;

/// The warnings for segments to which not all of their history is known, each at the name where `files` define it. With each name: the
/// instant from which it is, in words, or `None` if that never comes for those who are there already. Names that are defined nowhere are
/// left out.
pub fn incomplete(files: &[SourceFile], segments: &[(String, Option<String>)]) -> Vec<Diagnostic> {
    let mut report = Report::default();
    for (i, file) in files.iter().enumerate() {
        // The texts compiled before: what the parser says of them is no news.
        for item in parser::parse(i as u32, &file.text, &mut Report::default()) {
            let ItemKind::Segment(segment) = &item.kind else { continue };
            let Some((name, until)) = segments.iter().find(|(name, _)| *name == segment.name.text) else { continue };
            match until {
                Some(until) => {
                    let help = "until then what is not known of a customer is no membership";
                    let message = format!("history for the windows of `{name}` will be complete only at {until}");
                    report.help(Code::W06, segment.name.span, message, help);
                }
                None => {
                    let message = format!("history for the windows of `{name}` will never be complete for those who are there today");
                    let help = "a window such as `in last 30d` becomes complete after its length, `ever` does not";
                    report.help(Code::W06, segment.name.span, message, help);
                }
            }
        }
    }
    report.finish(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_stands_at_the_name_of_its_segment() {
        let files = [
            SourceFile::new("a.seg", "event a { }\nsegment s { when any a in last 7d }"),
            SourceFile::new("b.seg", "segment t { when no a ever }\nsegment u { when everyone }"),
        ];
        let segments = [("s".into(), Some("2026-11-30T00:00:00Z".into())), ("t".into(), None), ("gone".into(), None)];
        let shown: Vec<String> = incomplete(&files, &segments).iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 2);
        let first = "warning[W06]: history for the windows of `s` will be complete only at 2026-11-30T00:00:00Z\n  --> a.seg:2:9\n   \
                     | segment s { when any a in last 7d }\n   |         ^\n   = help: until then ";
        assert!(shown[0].starts_with(first), "{}", shown[0]);
        assert!(shown[1].starts_with("warning[W06]: ") && shown[1].contains("--> b.seg:1:9\n"), "{}", shown[1]);
    }
}
