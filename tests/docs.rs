//! Every `.seg` text of the documentation compiles, or gives the error that it is there to show.
//!
//! A block starts with a line of three back-quotes and `seg`, and words after commas:
//!
//! * `catalogue`: compiles alone, and beside it every other block of the page;
//! * `error=E06`: gives that code and no other error;
//! * `warning=W01`: compiles and gives that warning;
//! * `checked`: is understood; forms that this version does not evaluate say so (E16) and nothing else is wrong.
//!
//! Blocks of `segtest` are run. So are the files that the README lets a shell write (`cat > x.seg <<'SEG'`, `<<'SEGTEST'`), the `.seg` ones as
//! one workspace.

use std::fs;
use std::path::{Path, PathBuf};

use segmentd::lang::{Code, SourceFile, compile};
use segmentd::segtest::run_file;

struct Block {
    /// One-based line of its first line of text.
    line: usize,
    words: Vec<String>,
    text: String,
}

/// Fenced blocks of a page.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (i, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                open = Some(Block { line: i + 2, words: info.trim().split(',').map(String::from).collect(), text: String::new() });
            }
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<PathBuf> = fs::read_dir(root.join("docs"))
        .expect("folder of documentation")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .collect();
    pages.push(root.join("README.md"));
    pages.sort();
    pages
}

/// Compiles a block; the message says what is wrong with it, with lines of the page.
fn check(page: &str, block: &Block, catalogue: &str) -> Result<(), String> {
    // Lines before the block, so that messages name lines of the page.
    let text = format!("{}{}", "\n".repeat(block.line - 1), block.text);
    let mut files = vec![SourceFile::new(page, text)];
    if !block.words.iter().any(|w| w == "catalogue") {
        files.push(SourceFile::new("catalogue", catalogue));
    }
    let compiled = compile(&files);
    let shown = || compiled.diagnostics.iter().map(|d| format!("{d}\n")).collect::<String>();
    let (mut error, mut warning, mut checked) = (None, None, false);
    for word in &block.words[1..] {
        match word.split_once('=') {
            Some(("error", code)) => error = Code::from_word(code),
            Some(("warning", code)) => warning = Code::from_word(code),
            _ if word == "checked" => checked = true,
            _ if word == "catalogue" => {}
            _ => return Err(format!("{page}:{}: unknown word `{word}`", block.line)),
        }
    }
    let allowed = error.or(checked.then_some(Code::E16));
    if compiled.errors().any(|d| Some(d.code) != allowed) || (error.is_some() && compiled.workspace.is_some()) {
        return Err(format!("{page}:{}: expected {}, found:\n{}", block.line, error.map_or("no error".into(), |e| e.to_string()), shown()));
    }
    if warning.is_some_and(|code| !compiled.warnings().any(|d| d.code == code)) {
        return Err(format!("{page}:{}: the warning is missing, found:\n{}", block.line, shown()));
    }
    Ok(())
}

#[test]
fn every_seg_text_of_the_documentation_compiles() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for path in pages() {
        let page = path.file_name().and_then(|n| n.to_str()).expect("a name").to_string();
        let blocks = blocks(&fs::read_to_string(&path).expect("readable page"));
        let catalogue = blocks.iter().find(|b| b.words.iter().any(|w| w == "catalogue")).map_or("", |b| b.text.as_str());
        for block in &blocks {
            match block.words[0].as_str() {
                "seg" => {
                    seen += 1;
                    wrong.extend(check(&page, block, catalogue).err());
                }
                "segtest" => {
                    seen += 1;
                    let report = run_file(&format!("{page}:{}", block.line), &block.text);
                    if !report.passed() {
                        wrong.push(report.to_string());
                    }
                }
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 30, "{seen} blocks");
}

/// The files that a page lets a shell write, by the word that ends them.
fn written(page: &str, tag: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.ends_with(&format!("<<'{tag}'")) {
            files.push(lines.by_ref().take_while(|l| *l != tag).map(|l| format!("{l}\n")).collect());
        }
    }
    files
}

#[test]
fn the_first_steps_of_the_readme_work() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("readable page");
    let files: Vec<SourceFile> = written(&page, "SEG").into_iter().map(|text| SourceFile::new("README.md", text)).collect();
    assert!(files.len() >= 2, "catalogue and segments");
    assert_eq!(compile(&files).diagnostics, []);
    let tests = written(&page, "SEGTEST");
    assert!(!tests.is_empty());
    for test in tests {
        let report = run_file("README.md", &test);
        assert!(report.passed(), "{report}");
    }
}

/// The table of codes in the language reference has every code.
#[test]
fn the_reference_lists_every_code() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/language.md")).expect("readable page");
    let missing: Vec<&str> = Code::ALL.iter().map(|c| c.as_str()).filter(|code| !page.contains(&format!("| {code} |"))).collect();
    assert!(missing.is_empty(), "docs/language.md says nothing of {missing:?}");
}

/// Every link of the table of contents leads to a heading of the page.
#[test]
fn the_table_of_contents_leads_to_headings() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/language.md")).expect("readable page");
    let slug = |heading: &str| -> String {
        heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-')
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    let headings: Vec<String> = page.lines().filter(|l| l.starts_with('#')).map(|l| slug(l.trim_start_matches('#').trim())).collect();
    let links: Vec<&str> = page.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 10);
    let lost: Vec<&&str> = links.iter().filter(|link| !headings.iter().any(|h| h == *link)).collect();
    assert!(lost.is_empty(), "no heading for {lost:?}");
}
