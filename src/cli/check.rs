//! `segmentd check DIR [--explain] [--plan] [--json]`: compiles; diagnostics with their place; definitions said back; the plan and its cost.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Failure, Outcome, definitions};
use crate::lang::{self, DefinitionKind, Diagnostic, Workspace, words};
use crate::plan::Plan;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder with the catalogue and the definitions, *.seg
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Also say each definition back in plain English
    #[arg(long)]
    explain: bool,
    /// Also print what each definition means, keeps and costs
    #[arg(long)]
    plan: bool,
    /// Print everything as JSON to standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let compiled = lang::compile(&definitions::read_folder(&args.folder)?);
    let workspace = compiled.workspace.map(Arc::new);
    let plan = workspace.clone().filter(|_| args.plan).map(Plan::compile);
    let mut out = std::io::stdout().lock();
    if args.json {
        let document = json!({
            "ok": workspace.is_some(),
            "diagnostics": compiled.diagnostics.iter().map(diagnostic).collect::<Vec<_>>(),
            "set": workspace.as_ref().map(|w| w.hash.to_string()),
            "definitions": workspace.as_ref().map(|w| described(w)).unwrap_or_default(),
            "plan": plan.as_ref().map(planned),
        });
        writeln!(out, "{document:#}")?;
    } else {
        definitions::print_diagnostics(&compiled.diagnostics);
        if let Some(workspace) = workspace.as_ref().filter(|_| args.explain) {
            for definition in &workspace.definitions {
                writeln!(out, "{}\n", folded(&words::definition(workspace, definition), 100))?;
            }
        }
        if let Some(plan) = &plan {
            for report in plan.report() {
                writeln!(out, "{}", head(&report, workspace.as_deref()))?;
                // The head has it.
                let lines: Vec<_> = report.lines.iter().filter(|(heading, _)| heading != "version").collect();
                let width = lines.iter().map(|(head, _)| head.chars().count()).max().unwrap_or(0).max(8);
                for (head, text) in lines {
                    for (i, line) in text.lines().enumerate() {
                        writeln!(out, "  {:width$} {line}", if i == 0 { head.as_str() } else { "" })?;
                    }
                }
                writeln!(out)?;
            }
        }
        match &workspace {
            Some(workspace) => writeln!(out, "{}: {}", counted(workspace), definitions::summary(&compiled.diagnostics))?,
            None => eprintln!("{}", definitions::summary(&compiled.diagnostics)),
        }
    }
    if workspace.is_some() { Ok(()) } else { Err(Failure::check()) }
}

/// Lines of at most `width` characters, but for longer words; all but the first are indented.
fn folded(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut line = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if line > 0 && line + 1 + length > width {
            out.push_str("\n  ");
            line = 2;
        } else if line > 0 {
            out.push(' ');
            line += 1;
        }
        out.push_str(word);
        line += length;
    }
    out
}

/// `cart_abandoned  semantic version 4f1c8a02  lang 1`.
fn head(report: &crate::plan::SegmentReport, workspace: Option<&Workspace>) -> String {
    let definition = workspace.and_then(|w| w.definitions.iter().find(|d| d.name == report.segment));
    let version = definition.map(|d| d.hash.to_string()).unwrap_or_default();
    format!("{}  semantic version {}  lang 1", report.segment, &version[..8.min(version.len())])
}

fn kind(kind: &DefinitionKind) -> &'static str {
    match kind {
        DefinitionKind::Segment(_) => "segment",
        DefinitionKind::Score(_) => "score",
        DefinitionKind::Points(_) => "points",
        DefinitionKind::Stages(_) => "stages",
    }
}

/// `7 segments, 1 score, 9 event types`.
fn counted(workspace: &Workspace) -> String {
    let mut parts = Vec::new();
    for (word, plural) in [("segment", "segments"), ("score", "scores"), ("points", "points"), ("stages", "stages")] {
        let n = workspace.definitions.iter().filter(|d| kind(&d.kind) == word).count();
        if n > 0 {
            parts.push(format!("{n} {}", if n == 1 { word } else { plural }));
        }
    }
    let events = workspace.catalogue.events.len();
    parts.push(format!("{events} event type{}", if events == 1 { "" } else { "s" }));
    parts.join(", ")
}

fn diagnostic(d: &Diagnostic) -> Value {
    let edit = |e: &lang::Edit| {
        let place = |(line, column): (u32, u32)| json!({ "line": line, "column": column });
        json!({
            "start": e.span.start, "end": e.span.end, "from": place(e.from), "to": place(e.to), "replacement": e.replacement,
        })
    };
    let fixes: Vec<Value> = d.fixes.iter().map(|f| json!({ "edits": f.edits.iter().map(edit).collect::<Vec<_>>() })).collect();
    json!({
        "code": d.code.as_str(), "severity": d.severity.word(), "file": d.file, "line": d.line, "column": d.column,
        "start": d.span.start, "end": d.span.end, "message": d.message, "help": d.help, "fixes": fixes,
    })
}

fn described(workspace: &Workspace) -> Vec<Value> {
    let one = |d: &lang::Definition| {
        json!({
            "id": d.name, "kind": kind(&d.kind), "version": d.hash.to_string(), "depth": d.depth,
            "name": d.meta.name, "description": d.meta.description, "owner": d.meta.owner, "tags": d.meta.tags,
            "words": words::definition(workspace, d),
        })
    };
    workspace.definitions.iter().map(one).collect()
}

fn planned(plan: &Plan) -> Value {
    let one = |report: crate::plan::SegmentReport| {
        let lines: serde_json::Map<String, Value> = report.lines.into_iter().map(|(head, text)| (head, Value::String(text))).collect();
        json!({ "id": report.segment, "plan": lines })
    };
    plan.report().into_iter().map(one).collect()
}
