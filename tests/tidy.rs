//! Reads the sources and checks what the architecture promises: directions between modules, bans below the edge, module docs, file
//! length, no leftovers. Each finding is printed with its place.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the ground up; one may use itself and those before it.
const ORDER: &[&str] = &[
    "ids",
    "time",
    "limits",
    "model",
    "lang",
    "plan",
    "engine",
    "wire",
    "segtest",
    "pipeline",
    "shop",
    "telemetry",
    "config",
    "kafka",
    "snapshot",
    "runtime",
    "serve",
    "cli",
    "main",
];

/// `telemetry` and `config` may be used by these only; they themselves use nothing above `wire`.
const EDGE_USERS: &[&str] = &["telemetry", "config", "kafka", "snapshot", "runtime", "serve", "cli", "main"];

/// What must not occur in `pipeline` and below (STYLE: sans I/O), as it would be written in code.
const BANNED_BELOW: &[&str] = &[
    "async fn",
    "async move",
    ".await",
    "tokio::",
    "rdkafka",
    "dashmap",
    "metrics::",
    "SystemTime",
    "Instant::now",
    "std::env",
    "std::fs",
    "std::thread",
    "thread::spawn",
    "std::net",
    "fastrand",
    "thread_rng",
    "println!",
    "eprintln!",
];

/// One user each.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("rdkafka", &["kafka"]),
    ("dashmap", &["runtime"]),
    ("prost", &["wire"]),
    ("std::env", &["config", "cli", "main"]),
    ("SystemTime", &["runtime"]),
];

/// What clippy's lints (Cargo.toml) do not find. In pieces, so that a search of the tree finds leftovers only.
const LEFTOVERS: &[&str] = &[concat!("FIX", "ME"), concat!("X", "XX"), concat!("#[ig", "nore"), concat!("not imple", "mented")];

const LINES_MAX: usize = 600;

/// Longer than [`LINES_MAX`] lines of code without tests, each with its reason.
const LONG: &[(&str, &str)] = &[];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        let mut entries: Vec<_> = fs::read_dir(dir).expect("readable folder").map(|e| e.expect("entry").path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths);
    paths.into_iter().map(|p| (p.clone(), fs::read_to_string(&p).expect("UTF-8 source"))).collect()
}

fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("below src");
    let first = relative.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_string()
}

/// Code lines before the tests, without comments, with their numbers.
fn code(text: &str) -> Vec<(usize, &str)> {
    let mut out = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            break;
        }
        let trimmed = line.trim_start();
        if trimmed.starts_with("//") {
            continue;
        }
        out.push((i + 1, trimmed.split(" // ").next().unwrap_or(trimmed)));
    }
    out
}

fn generated(path: &Path) -> bool {
    path.components().any(|c| c.as_os_str() == "proto")
}

fn report(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// Names of modules that a line of code reaches through `crate::`, groups included.
fn reached(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        if line[..at].ends_with('$') || line[..at].chars().last().is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &line[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => out.push(std::mem::take(&mut name)),
                    c if depth == 0 && (c.is_alphanumeric() || c == '_') && !name.contains("::") => name.push(c),
                    ':' if depth == 0 => name.push(':'),
                    _ => {}
                }
            }
            out.push(name);
        } else {
            out.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    out.into_iter().map(|n| n.split("::").next().unwrap_or_default().to_string()).filter(|n| !n.is_empty()).collect()
}

#[test]
fn modules_use_only_what_stands_before_them() {
    let rank = |name: &str| ORDER.iter().position(|m| *m == name);
    let mut findings = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        if module == "lib" || module == "testing" || generated(&path) {
            continue;
        }
        let Some(own) = rank(&module) else {
            findings.push(format!("{}: module `{module}` is not in the order of tests/tidy.rs", path.display()));
            continue;
        };
        for (line, code) in code(&text) {
            if code.ends_with("crate::{") {
                findings.push(format!("{}:{line}: one `use crate::...` a line, so that this test can read it", path.display()));
            }
            for used in reached(code) {
                let Some(other) = rank(&used) else {
                    // A name that the crate root re-exports would hide a direction.
                    if used.chars().next().is_some_and(char::is_lowercase) {
                        findings.push(format!("{}:{line}: uses `crate::{used}`, which may not be used here", path.display()));
                    }
                    continue;
                };
                let edge = matches!(used.as_str(), "telemetry" | "config") && used != module && !EDGE_USERS.contains(&module.as_str());
                if other > own || edge {
                    findings.push(format!("{}:{line}: `{module}` must not use `{used}`", path.display()));
                }
            }
        }
    }
    report(findings);
}

#[test]
fn pipeline_and_below_have_no_edge() {
    let pipeline = ORDER.iter().position(|m| *m == "pipeline").expect("listed");
    let mut findings = Vec::new();
    for (path, text) in sources() {
        if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("tests.rs")) {
            continue;
        }
        let module = module_of(&path);
        let below = ORDER.iter().position(|m| *m == module).is_some_and(|i| i <= pipeline);
        for (line, code) in code(&text) {
            if below {
                for banned in BANNED_BELOW {
                    if code.contains(banned) {
                        findings.push(format!("{}:{line}: `{banned}` has no place in `{module}`", path.display()));
                    }
                }
            }
            for (what, where_) in ONLY_IN {
                if code.contains(what) && !where_.contains(&module.as_str()) && module != "testing" {
                    findings.push(format!("{}:{line}: `{what}` is used by {} only", path.display(), where_.join(", ")));
                }
            }
        }
    }
    report(findings);
}

#[test]
fn no_hash_map_order_reaches_the_engine() {
    // A hash map may be looked into, never walked: walking needs one of these on a map, so the engine uses sorted vectors instead and
    // does not name std's maps at all.
    let mut findings = Vec::new();
    for (path, text) in sources() {
        if module_of(&path) != "engine" {
            continue;
        }
        for (line, code) in code(&text) {
            if code.contains("HashMap") || code.contains("HashSet") {
                findings.push(format!("{}:{line}: the engine has no hash maps of the standard library", path.display()));
            }
        }
    }
    report(findings);
}

#[test]
fn every_module_says_what_it_owns() {
    let findings = sources()
        .into_iter()
        .filter(|(path, text)| !generated(path) && !text.starts_with("//!"))
        .map(|(path, _)| format!("{}: no module docs", path.display()));
    report(findings.collect());
}

#[test]
fn files_stay_readable() {
    let mut findings = Vec::new();
    for (path, text) in sources() {
        if generated(&path) {
            continue;
        }
        let lines = text.lines().take_while(|l| !l.trim_start().starts_with("#[cfg(test)]")).count();
        let excused = LONG.iter().any(|(file, reason)| path.ends_with(file) && !reason.is_empty());
        if lines > LINES_MAX && !excused {
            findings.push(format!("{}: {lines} lines, more than {LINES_MAX}", path.display()));
        }
    }
    report(findings);
}

#[test]
fn nothing_is_left_over() {
    let mut findings = Vec::new();
    for (path, text) in sources() {
        for (i, line) in text.lines().enumerate() {
            for marker in LEFTOVERS {
                if line.contains(marker) {
                    findings.push(format!("{}:{}: {marker}", path.display(), i + 1));
                }
            }
        }
    }
    report(findings);
}

#[test]
fn the_reader_of_directions_sees_groups() {
    assert_eq!(reached("use crate::{ids::X, model::{A, B}, time};"), ["ids", "model", "time"]);
    assert_eq!(reached("let x = crate::wire::json();"), ["wire"]);
    assert!(reached("mycrate::wire").is_empty());
}
