//! Every message of the compiler, as golden files: each `tests/diagnostics/NAME.seg` gives exactly `NAME.txt`.
//!
//! The texts are compiled beside `reference_catalogue.seg`, those that start with `# alone` without it. `UPDATE_GOLDEN=1 cargo test
//! --test diagnostics` writes what comes out today; the difference is then read in the commit.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use segmentd::lang::{Code, Compiled, SourceFile, compile, format};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics")
}

fn read(name: &str) -> String {
    fs::read_to_string(directory().join(name)).expect("golden file")
}

/// Compiles one golden text as its first line asks.
fn compiled(name: &str) -> Compiled {
    let text = read(name);
    let mut files = vec![SourceFile::new(name, text)];
    if !files[0].text.starts_with("# alone") {
        files.push(SourceFile::new("reference_catalogue.seg", read("reference_catalogue.seg")));
    }
    compile(&files)
}

fn shown(compiled: &Compiled) -> String {
    let mut out = String::new();
    for diagnostic in &compiled.diagnostics {
        // Blanks at line ends would be lost in editors.
        for line in diagnostic.to_string().lines() {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out.push('\n');
    }
    out
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory())
        .expect("directory of golden files")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".seg") && name != "reference_catalogue.seg")
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn messages_are_as_written_down() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut different = Vec::new();
    for name in names() {
        let compiled = compiled(&name);
        assert_eq!(compiled.workspace.is_none(), compiled.errors().next().is_some(), "{name}: a workspace if and only if no error");
        let found = shown(&compiled);
        let golden = name.replace(".seg", ".txt");
        if update {
            fs::write(directory().join(&golden), &found).expect("golden file is written");
        } else if fs::read_to_string(directory().join(&golden)).unwrap_or_default() != found {
            different.push(format!("{golden} differs; what comes out now:\n{found}"));
        }
    }
    assert!(different.is_empty(), "{}\nrun with UPDATE_GOLDEN=1 and read the difference", different.join("\n"));
}

/// Each golden text named after a code gives that code, and nothing that is evaluated is refused for another reason.
#[test]
fn texts_named_after_a_code_give_it() {
    let mut seen: BTreeSet<Code> = BTreeSet::new();
    for name in names() {
        let codes: BTreeSet<Code> = compiled(&name).diagnostics.iter().map(|d| d.code).collect();
        for part in name.trim_end_matches(".seg").split('_') {
            if let Some(code) = Code::from_word(&part.to_uppercase()) {
                assert!(codes.contains(&code), "{name} gives no {code}");
            }
        }
        seen.extend(codes);
    }
    // W06 speaks of the history that a running instance has.
    let missing: Vec<&Code> = Code::ALL.iter().filter(|c| !seen.contains(c) && **c != Code::W06).collect();
    assert!(missing.is_empty(), "no golden text gives {missing:?}");
}

/// Every offered fix removes its message and brings no new error; `fixes.txt` shows what each makes of its line.
#[test]
fn fixes_mend_what_they_are_offered_for() {
    let mut shown = String::new();
    let mut offered = BTreeSet::new();
    for name in names() {
        let before = compiled(&name);
        let (text, catalogue) = (read(&name), read("reference_catalogue.seg"));
        let alone = text.starts_with("# alone");
        for diagnostic in &before.diagnostics {
            for fix in &diagnostic.fixes {
                let mended = fix.apply(0, &text);
                assert_ne!(mended, text, "{name}: a fix changes nothing: {diagnostic}");
                for edit in &fix.edits {
                    assert!(edit.from <= edit.to && edit.from.0 >= 1 && edit.from.1 >= 1, "{edit:?}");
                }
                let mut files = vec![SourceFile::new(name.as_str(), mended.as_str())];
                if !alone {
                    files.push(SourceFile::new("reference_catalogue.seg", catalogue.as_str()));
                }
                let after = compile(&files);
                let line = diagnostic.line as usize;
                let (old, new) = (text.lines().nth(line - 1).unwrap_or(""), mended.lines().nth(line - 1).unwrap_or(""));
                let same =
                    |of: &Compiled| of.diagnostics.iter().filter(|d| d.code == diagnostic.code && d.message == diagnostic.message).count();
                assert!(same(&after) < same(&before), "{name}: the message stays\n{diagnostic}\n{new}");
                // What the parser had to skip is read now, so that the line itself may have more to say, but no other may.
                let errors = |of: &Compiled| of.errors().filter(|d| d.line as usize != line).count();
                assert!(errors(&after) <= errors(&before), "{name}: a new error elsewhere\n{diagnostic}\n{new}");
                let here = |of: &Compiled| of.errors().filter(|d| d.line as usize == line).map(|d| d.to_string()).collect::<Vec<_>>();
                assert!(here(&after).len() <= here(&before).len(), "{name}: a new error\n{diagnostic}\n{new}\n{}", here(&after).join("\n"));
                offered.insert(diagnostic.code);
                shown.push_str(&format!("{name}:{line} {}\n- {}\n+ {}\n\n", diagnostic.code, old.trim(), new.trim()));
            }
        }
    }
    for code in [Code::E01, Code::E02, Code::E03, Code::E05, Code::E06, Code::E11, Code::E15] {
        assert!(offered.contains(&code), "no fix of {code}");
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(directory().join("fixes.txt"), &shown).expect("golden file is written");
    } else {
        assert_eq!(fs::read_to_string(directory().join("fixes.txt")).unwrap_or_default(), shown, "run with UPDATE_GOLDEN=1");
    }
}

/// One item of a text: from its first line to the line before the next.
fn items(text: &str) -> Vec<String> {
    let starts = |line: &str| ["segment ", "score ", "points ", "stages ", "let "].iter().any(|word| line.starts_with(word));
    let mut items: Vec<String> = Vec::new();
    for line in text.lines() {
        if starts(line) {
            items.push(String::new());
        }
        if let Some(item) = items.last_mut()
            && !line.starts_with('#')
        {
            item.push_str(line);
            item.push('\n');
        }
    }
    items
}

/// The 78 worked examples: all are understood, what is not evaluated says so and nothing else, and the others compile.
#[test]
fn worked_examples_compile_or_say_that_they_are_not_evaluated() {
    let mut left = items(&read("reference.seg"));
    let number = |item: &String| item.lines().find_map(|l| l.rsplit_once("# ")?.1.trim().parse::<u32>().ok());
    let mut numbers: Vec<u32> = left.iter().filter_map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=78).collect::<Vec<u32>>());

    for error in compiled("reference.seg").errors() {
        assert_eq!(error.code, Code::E16, "{error}");
    }
    // Without those that are refused, and then without those that refer to them, the rest is a workspace.
    loop {
        let files: Vec<SourceFile> = left.iter().enumerate().map(|(i, item)| SourceFile::new(i.to_string(), item.clone())).collect();
        let compiled = compile(&[files, vec![SourceFile::new("catalogue", read("reference_catalogue.seg"))]].concat());
        let faulty: BTreeSet<usize> = compiled.errors().map(|d| d.file.parse().expect("an item")).collect();
        if faulty.is_empty() {
            let definitions = left.iter().filter(|item| !item.starts_with("let ")).count();
            assert_eq!(compiled.workspace.expect("no error").definitions.len(), definitions);
            break;
        }
        left = left.into_iter().enumerate().filter(|(i, _)| !faulty.contains(i)).map(|(_, item)| item).collect();
    }
    let compile: Vec<u32> = left.iter().filter_map(number).collect();
    assert_eq!(compile, EVALUATED);
}

/// Worked examples that this version evaluates, in the order of the text, a line for each of its sections.
#[rustfmt::skip]
const EVALUATED: &[u32] = &[
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    11, 12, 13, 14, 15, 16, 17, 18,
    19, 20, 21, 22, 23, 24,
    25, 26, 27, 28, 29,
    30, 31, 32, 33, 34,
    35, 36, 37, 38, 39, 40, 41,
    42, 43,
    44, 45, 46, 47, 48, 49, 50, 51,
    52, 53, 54,
    57,
    58, 59, 60, 61,
    62, 63, 64, 65,
    66, 67,
    68, 70,
    71, 72, 73, 74, 75, 76, 77, 78,
];

/// Texts that nobody would write: random bytes, and worked examples with pieces cut out, doubled and swapped. None may panic, and each
/// gives a workspace or an error. The seed is printed by the assertion.
#[test]
fn no_text_makes_the_compiler_panic() {
    let reference = read("reference.seg");
    let catalogue = read("reference_catalogue.seg");
    let pieces = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "`",
        "/",
        "..",
        "and",
        "not",
        "for at least 1h",
        "then no",
        "é",
        "\u{0}",
        "99999999999999999999",
        "1..",
        "-",
        "#",
    ];
    for seed in 0..400u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut text: Vec<u8> = if seed % 4 == 0 {
            (0..random.usize(0..400)).map(|_| random.u8(..)).collect()
        } else {
            let lines: Vec<&str> = reference.lines().collect();
            let from = random.usize(0..lines.len());
            let to = (from + random.usize(1..12)).min(lines.len());
            lines[from..to].join("\n").into_bytes()
        };
        for _ in 0..random.usize(1..6) {
            let at = random.usize(0..=text.len());
            let until = (at + random.usize(0..20)).min(text.len());
            match random.u8(0..4) {
                0 => drop(text.drain(at..until)),
                1 => {
                    let copy = text[at..until].to_vec();
                    text.splice(at..at, copy);
                }
                2 => {
                    let piece = pieces[random.usize(0..pieces.len())];
                    text.splice(at..at, piece.bytes().cycle().take(piece.len() * random.usize(1..80)));
                }
                _ => text.truncate(at),
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let result = std::panic::catch_unwind(|| {
            let compiled = compile(&[SourceFile::new("a.seg", text.clone()), SourceFile::new("b.seg", catalogue.clone())]);
            // What can be laid out stays as it is the second time.
            let laid_out = |text: &str| format::format(&SourceFile::new("a.seg", text)).ok();
            let stable = laid_out(&text).is_none_or(|once| laid_out(&once).as_ref() == Some(&once));
            stable && compiled.workspace.is_none() == compiled.errors().next().is_some() && !shown(&compiled).contains('\u{0}')
        });
        assert_eq!(result.ok(), Some(true), "seed {seed}: {text:?}");
    }
}

/// One message each, however far beyond the limit the text is.
#[test]
fn limits_are_told_once() {
    let errors = |files: &[SourceFile]| compile(files).errors().map(|d| (d.code, d.message.clone())).collect::<Vec<_>>();
    let many: String = (0..100_000).map(|i| format!("segment s{i} {{ when everyone }}\n")).collect();
    let told = errors(&[SourceFile::new("a.seg", many)]);
    assert_eq!(told.len(), 1, "{:?}", told.first());
    assert_eq!(told[0], (Code::E14, "the workspace has more than 20000 definitions".into()));
    let told = errors(&[SourceFile::new("a.seg", "# ".repeat(5 << 20))]);
    assert_eq!(told.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [Code::E14]);
    let deep = format!("segment a {{ when {}everyone{} }}", "(".repeat(100_000), ")".repeat(100_000));
    let told = errors(&[SourceFile::new("a.seg", deep)]);
    assert_eq!(told[0].0, Code::E14, "{told:?}");
}
