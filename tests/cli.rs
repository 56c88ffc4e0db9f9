//! The commands as a user meets them: exit codes, what goes to standard output and what to standard error, and the samples.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the binary in `folder`.
fn segmentd_in(folder: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_segmentd"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    // A command that fails early reads nothing.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("ends")
}

fn segmentd(args: &[&str]) -> Output {
    segmentd_in(Path::new(env!("CARGO_MANIFEST_DIR")), args, "")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("ends by itself")
}

/// A folder of definitions with the README's segments.
fn workspace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::create_dir(folder.path().join("seg")).expect("made");
    std::fs::write(
        folder.path().join("seg/a.seg"),
        "workspace { currency EUR }\n\
         event order_completed is activity { order_id string  total money in EUR }\n\
         segment big_spender { name \"Big spender\" when sum(order_completed.total) in last 90d >= 100 EUR }\n\
         segment slipping { when last(activity) at least 30d ago }\n",
    )
    .expect("written");
    std::fs::write(
        folder.path().join("events.ndjson"),
        concat!(
            r#"{"id":"e2","customer":"anna","event":"order_completed","ts":"2026-11-03T10:00:00Z","properties":{"order_id":"o2","total":"25.00"}}"#,
            "\n",
            r#"{"id":"e1","customer":"anna","event":"order_completed","ts":"2026-11-01T10:00:00Z","properties":{"order_id":"o1","total":"80.00"}}"#,
            "\n\nnoise\n",
            r#"{"customer":"bo","event":"unheard_of","ts":"2026-11-02T10:00:00Z"}"#,
            "\n",
        ),
    )
    .expect("written");
    folder
}

#[test]
fn the_samples_compile_without_warnings_and_pass_their_tests() {
    for folder in ["examples", "examples/demo"] {
        let checked = segmentd(&["check", folder, "--plan"]);
        assert_eq!(code(&checked), 0, "{}", err(&checked));
        assert!(out(&checked).contains("no errors, no warnings"), "{}", out(&checked));
    }
    let tested = segmentd(&["test", "examples"]);
    assert_eq!(code(&tested), 0, "{}", out(&tested));
    assert!(out(&tested).contains("4 files passed"), "{}", out(&tested));
}

#[test]
fn usage_and_configuration_are_exit_code_2() {
    let folder = workspace();
    std::fs::write(folder.path().join("bad.toml"), "[kafka]\nbroker = \"x\"\n").expect("written");
    for (args, said) in [
        (&["check", "none"][..], "none does not exist"),
        (&["check", "events.ndjson"], "is a file"),
        (&["check", "--plain", "seg"], "--plain"),
        (&["test", "seg"], "has no .segtest file"),
        (&["backtest", "--definitions", "seg", "--events", "none"], "cannot read none"),
        (&["backtest", "--definitions", "seg", "--events", "seg"], "is a folder"),
        (&["backtest", "--definitions", "seg", "--events", "events.ndjson", "--until", "tomorrow"], "2026-11-23T10:00:00Z"),
        (&["run", "--config", "none.toml"], "none.toml"),
        (&["apply", "none"], "none does not exist"),
        (&["apply", "seg", "--config", "bad.toml"], "unknown key `kafka.broker`"),
        (&["apply", "seg", "--instance", "nowhere"], "--instance"),
        (&["run", "--config", "bad.toml"], "bad.toml:2:1: unknown key `kafka.broker`"),
        (&["topics", "check", "--config", "bad.toml"], "did you mean `brokers`?"),
        (&["generate", "--topic", "x"], "--brokers"),
        (&["infer", "--events", "none"], "cannot read none"),
    ] {
        let output = segmentd_in(folder.path(), args, "");
        assert_eq!(code(&output), 2, "{args:?}: {}", err(&output));
        assert!(err(&output).contains(said), "{args:?}: {}", err(&output));
        assert!(output.stdout.is_empty(), "{args:?}: errors go to standard error");
    }
}

#[test]
fn broken_definitions_are_exit_code_1_in_every_command() {
    let folder = workspace();
    std::fs::write(folder.path().join("seg/b.seg"), "segment c { when no login in last 3mo }\n").expect("written");
    for args in [&["check", "seg"][..], &["backtest", "--definitions", "seg", "--events", "events.ndjson"], &["apply", "seg", "--yes"]] {
        let output = segmentd_in(folder.path(), args, "");
        assert_eq!(code(&output), 1, "{args:?}: {}", err(&output));
        assert!(err(&output).contains("seg/b.seg:1:") && err(&output).contains("= help"), "{}", err(&output));
        assert!(output.stdout.is_empty());
    }
    let output = segmentd_in(folder.path(), &["check", "seg", "--json"], "");
    assert_eq!(code(&output), 1);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["ok"], false);
    assert_eq!(json["diagnostics"][0]["line"], 1, "{json}");
    let edit = serde_json::json!({
        "start": 34, "end": 37, "from": { "line": 1, "column": 35 }, "to": { "line": 1, "column": 38 }, "replacement": "90d",
    });
    let unit = json["diagnostics"].as_array().and_then(|all| all.iter().find(|d| d["code"] == "E11")).expect("E11");
    assert_eq!(unit["fixes"], serde_json::json!([{ "edits": [edit] }]));
}

#[test]
fn format_has_one_layout_and_leaves_broken_texts_alone() {
    let samples = segmentd(&["format", "--check", "examples", "examples/demo"]);
    assert_eq!((code(&samples), out(&samples).as_str()), (0, ""), "the samples are laid out: {}", err(&samples));
    let folder = workspace();
    let file = folder.path().join("seg/a.seg");
    let before = std::fs::read_to_string(&file).expect("written");
    let checked = segmentd_in(folder.path(), &["format", "--check", "seg"], "");
    assert_eq!((code(&checked), out(&checked).trim()), (1, "seg/a.seg would change"));
    assert_eq!(std::fs::read_to_string(&file).expect("there"), before, "--check writes nothing");
    let done = segmentd_in(folder.path(), &["format", "seg"], "");
    assert_eq!((code(&done), out(&done).trim()), (0, "seg/a.seg"));
    let after = std::fs::read_to_string(&file).expect("there");
    assert!(after.contains("segment big_spender {\n  name \"Big spender\"\n  when sum"), "{after}");
    std::fs::write(folder.path().join("seg/b.seg"), "segment b { when }").expect("written");
    std::fs::write(&file, &before).expect("written");
    let broken = segmentd_in(folder.path(), &["format", "seg"], "");
    assert_eq!(code(&broken), 1);
    assert!(err(&broken).contains("no file was changed"), "{}", err(&broken));
    assert_eq!(std::fs::read_to_string(&file).expect("there"), before);
}

#[test]
fn a_failed_test_is_exit_code_1_and_says_what_came() {
    let folder = workspace();
    let text = "event a { }\nsegment s { when any a ever }\n---\nat 0s c1 a {}\nexpect nothing\n";
    std::fs::write(folder.path().join("s.segtest"), text).expect("written");
    let output = segmentd_in(folder.path(), &["test", "s.segtest"], "");
    assert_eq!(code(&output), 1);
    assert!(out(&output).contains("s.segtest:5") && out(&output).contains("entered s c1"), "{}", out(&output));
}

#[test]
fn backtest_sorts_by_arrival_and_tells_the_rest_on_standard_error() {
    let folder = workspace();
    let args = ["backtest", "--definitions", "seg", "--events", "events.ndjson", "--until", "2026-12-31T00:00:00Z"];
    let output = segmentd_in(folder.path(), &args, "");
    assert_eq!(code(&output), 0, "{}", err(&output));
    let changes: Vec<serde_json::Value> = out(&output).lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let shown: Vec<(&str, &str, &str, u64)> = changes
        .iter()
        .map(|c| {
            let text = |k: &str| c[k].as_str().unwrap_or_default();
            (text("segment"), text("change"), text("since"), c["seq"].as_u64().unwrap_or_default())
        })
        .collect();
    assert_eq!(shown, [("big_spender", "entered", "2026-11-03T10:00:00.000Z", 1), ("slipping", "entered", "2026-12-03T10:00:00.000Z", 2),]);
    assert_eq!(changes[0]["cause_event"]["id"], "e2");
    assert_eq!(changes[0]["reason"][0]["observed"], "105.00 EUR");
    let told = err(&output);
    for want in [
        "dead letters unreadable: 1 (first in line 4",
        "dead letters unknown_event: 1 (first in line 5",
        "the clock ended at 2026-12-31T00:00:00.000Z",
        "1 customers, 2 changes",
    ] {
        assert!(told.contains(want), "{want} is not in\n{told}");
    }

    // Standard input and a file give the same, but for the source's name.
    let events = std::fs::read_to_string(folder.path().join("events.ndjson")).expect("read");
    let mut piped = args;
    piped[4] = "-";
    let from_stdin = segmentd_in(folder.path(), &piped, &events);
    assert_eq!(out(&from_stdin), out(&output).replace("events.ndjson", "stdin"));
    // The clock ends where it is told to: later events are left out, later deadlines do not fire.
    let mut early = args;
    early[6] = "2026-11-02T00:00:00Z";
    let output = segmentd_in(folder.path(), &early, "");
    assert!(output.stdout.is_empty() && err(&output).contains("2 records after that were left out"), "{}", err(&output));
}

#[test]
fn the_sample_mappings_come_with_definitions_that_compile() {
    let folders = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/mappings")).expect("there");
    let mut n = 0;
    for folder in folders {
        let folder = folder.expect("entry").path();
        let checked = segmentd(&["check", &folder.display().to_string()]);
        assert_eq!(code(&checked), 0, "{}", err(&checked));
        segmentd::config::load_mapping(&folder.join("mapping.toml")).expect("reads");
        n += 1;
    }
    assert_eq!(n, 8);
}

/// Runs the sample mappings over the files that they are for, where those lie beside the project.
#[test]
fn the_sample_mappings_fit_the_files_that_they_are_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = root.join("../shared/data");
    if !data.is_dir() {
        return eprintln!("skipped: {} is not there", data.display());
    }
    for (name, file, customers, left) in [
        ("cdnow", "cdnow_master.txt.gz", "23 570 customers", ""),
        ("ga4", "fixtures/ga4_measurement_protocol_pairs.ndjson.gz", "1 customers", "unknown_event: 57"),
        ("jdata", "jdata_action_201602_first30k.csv.gz", "customers", ""),
        ("online_shoppers", "online_shoppers_train.csv.gz", "9 864 customers", ""),
        ("otto", "otto_train_20sessions.jsonl.gz", "20 customers", ""),
        ("rudder", "fixtures/rudder_messages_open.ndjson.gz", "customers", "missing_customer: 8"),
        ("segment", "fixtures/segment_spec_examples.ndjson.gz", "2 customers", "unknown_event: 27"),
        ("snowplow", "fixtures/snowplow_ecommerce_events.csv.gz", "20 customers", "unknown_event: 3"),
    ] {
        let folder = root.join("examples/mappings").join(name).display().to_string();
        let (mapping, events) = (format!("{folder}/mapping.toml"), data.join(file).display().to_string());
        let output = segmentd(&["backtest", "--definitions", &folder, "--events", &events, "--mapping", &mapping, "--output", "/dev/null"]);
        assert_eq!(code(&output), 0, "{name}: {}", err(&output));
        let told = err(&output);
        assert!(told.contains(customers) && told.contains(left), "{name}: {told}");
        assert_eq!(told.contains("dead letters"), !left.is_empty(), "{name}: {told}");
    }
}

#[test]
fn backtest_reads_rows_of_other_systems_as_a_mapping_says() {
    let folder = workspace();
    let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).expect("written");
    let mapping = r#"
        [mapping]
        customer = "who"
        whole = "who"
        id = "nr"
        event = "what"
        events = { "Order Completed" = "order_completed" }
        time = "when"
        time_format = "%d.%m.%Y %H:%M"
        time_zone = "Europe/Stockholm"
        leave_out = { what = ["Ping"] }
        [mapping.properties]
        total = "extra#/sum"
    "#;
    write("m.toml", mapping.as_bytes());
    let rows = "who;nr;what;when;order_id;extra\n\
                1.0;a;Order Completed;01.11.2026 11:00;o1;\"{\"\"sum\"\": 80.5}\"\n\
                2;b;Ping;01.11.2026 11:00;;\n\
                1;c; order completed;03.11.2026 11:00;o2;{\"sum\":25}\n\
                1;c;Order Completed;03.11.2026 11:00;o2;{\"sum\":25}\n\
                3;d;Order Completed;yesterday;o3;\n\
                3;e;Order Completed\n\
                3;f;Order Lost;03.11.2026 12:00;;\n";
    write("rows.csv", rows.as_bytes());
    write("m2.toml", mapping.replace("[mapping]", "[mapping]\ndelimiter = \";\"").as_bytes());
    let run = |events: &str, mapping: &str| {
        segmentd_in(folder.path(), &["backtest", "--definitions", "seg", "--events", events, "--mapping", mapping], "")
    };
    let output = run("rows.csv", "m2.toml");
    assert_eq!(code(&output), 0, "{}", err(&output));
    let changes: Vec<serde_json::Value> = out(&output).lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(changes.len(), 1, "{}", out(&output));
    let change = &changes[0];
    assert_eq!((&change["customer"], &change["since"]), (&"1".into(), &"2026-11-03T10:00:00.000Z".into()));
    assert_eq!((&change["reason"][0]["observed"], &change["cause_event"]["offset"]), (&"105.50 EUR".into(), &4.into()));
    for want in [
        "dead letters unreadable: 2 (first in line 6: `time` is no instant of the mapping's form: yesterday)",
        "dead letters unknown_event: 1 (first in line 8: Order Lost)",
        "1 rows were left out",
        "1 duplicates",
        "size over time",
    ] {
        assert!(err(&output).contains(want), "{want} is not in\n{}", err(&output));
    }
    // With the wrong delimiter no column is found, and a mapping that is wrong is told like a configuration.
    let output = run("rows.csv", "m.toml");
    assert!(code(&output) == 2 && err(&output).contains("the file has no column `"), "{}", err(&output));
    write("bad.toml", mapping.replace("customer", "costumer").as_bytes());
    let output = run("rows.csv", "bad.toml");
    assert!(code(&output) == 2 && err(&output).contains("did you mean `customer`?"), "{}", err(&output));

    // The same as packed NDJSON, a customer a line.
    let lines = "{\"c\":\"1\",\"orders\":[{\"nr\":\"a\",\"ms\":1793527200000,\"order_id\":\"o1\",\"sum\":80.5},{\"nr\":\"c\",\"ms\":1793700000000,\"order_id\":\"o2\",\"sum\":25}]}\n";
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(lines.as_bytes()).expect("packed");
    write("rows.ndjson.gz", &packed.finish().expect("packed"));
    let mapping = "[mapping]\neach = \"/orders\"\ncustomer = \"/c\"\nid = \"nr\"\nevent = \"=order_completed\"\ntime = \"ms\"\ntime_format = \"ms\"\n\
                   properties = { total = \"/sum\" }\n";
    write("m3.toml", mapping.as_bytes());
    let output = run("rows.ndjson.gz", "m3.toml");
    assert_eq!(code(&output), 0, "{}", err(&output));
    let entered: serde_json::Value = serde_json::from_str(out(&output).trim()).expect("one change");
    assert_eq!((&entered["since"], &entered["reason"]), (&change["since"], &change["reason"]));
}

#[test]
fn the_summary_tells_which_segments_share_members() {
    let folder = workspace();
    let mut events = String::new();
    for customer in 0..10 {
        let total = if customer < 4 { "150.00" } else { "1.00" };
        events += &format!(
            "{{\"customer\":\"c{customer}\",\"event\":\"order_completed\",\"ts\":\"2026-11-01T10:00:00Z\",\"properties\":{{\"total\":\"{total}\"}}}}\n"
        );
    }
    std::fs::write(folder.path().join("events.ndjson"), events).expect("written");
    let args = ["backtest", "--definitions", "seg", "--events", "events.ndjson", "--until", "2026-12-21T10:00:00Z"];
    let output = segmentd_in(folder.path(), &args, "");
    assert_eq!(code(&output), 0, "{}", err(&output));
    let rows: Vec<Vec<String>> = err(&output).lines().map(|l| l.split_whitespace().map(String::from).collect()).collect();
    let row = |first: &str| rows.iter().find(|r| r.first().is_some_and(|w| w == first)).unwrap_or_else(|| panic!("{}", err(&output)));
    // Everybody is slipping from the thirtieth of fifty days on, big spenders are there from the first.
    assert_eq!(row("slipping")[1..5], ["10", "0", "0", "10"]);
    assert_eq!(row("slipping")[5], format!("{}{}", "▁".repeat(23), "█".repeat(17)));
    assert_eq!(row("big_spender")[5], "█".repeat(40));
    assert_eq!(row("2")[1..], ["big_spender", "4", "40", "%", "4"]);
}

#[test]
fn explain_says_what_is_seen_what_is_asked_for_and_what_would_flip_it() {
    let folder = workspace();
    let definitions = "workspace { currency EUR }\n\
         event viewed is activity { sku string }\n\
         event order_completed is activity { order_id string  total money in EUR }\n\
         trait country string\n\
         segment looker { when at least 3 viewed in last 7d and customer.country = \"SE\" }\n\
         segment spender { when sum(order_completed.total) in last 90d >= 100 EUR }\n\
         segment slipping { when last(activity) at least 30d ago stay at least 2d }\n\
         segment patient { when any viewed ever enter after 10d }\n";
    std::fs::write(folder.path().join("seg/a.seg"), definitions).expect("written");
    let events = [
        r#"{"customer":"anna","event":"viewed","ts":"2026-01-01T10:00:00Z","properties":{"sku":"a"}}"#,
        r#"{"customer":"anna","event":"order_completed","ts":"2026-01-01T11:00:00Z","properties":{"order_id":"o","total":"80.50"}}"#,
        r#"{"customer":"bo","event":"viewed","ts":"2026-01-02T10:00:00Z","properties":{"sku":"a"}}"#,
        r#"{"customer":"bo","event":"viewed","ts":"2026-01-20T10:00:00Z","properties":{"sku":"a"}}"#,
    ];
    std::fs::write(folder.path().join("events.ndjson"), events.join("\n")).expect("written");
    let run = |customer: &str, more: &[&str]| {
        let args = ["explain", "--definitions", "seg", "--events", "events.ndjson", "--customer", customer];
        let output = segmentd_in(folder.path(), &[&args[..], more].concat(), "");
        assert_eq!(code(&output), 0, "{}", err(&output));
        out(&output)
    };
    let text = run("anna", &["--at", "2026-01-02T12:00:00Z"]);
    for want in [
        "anna at 2026-01-02T12:00:00.000Z, first seen 2026-01-01T10:00:00.000Z\n",
        "looker: never in\n  when\n    - all of\n",
        "- at least 3 viewed in last 7d: 1 (asked for: 3)\n          holds after 2 more viewed before 2026-01-08T10:00:00.000Z\n",
        "- customer.country = \"SE\": unknown (asked for: \"SE\")\n          holds after another value of customer.country\n",
        "holds after order_completed with total of 19.50 EUR more in all before 2026-04-01T11:00:00.000Z\n",
        "slipping: never in\n  with no further record: entered at 2026-01-31T11:00:00.000Z\n",
        "- last(activity) at least 30d ago: 1d1h (asked for: 30d)\n        holds from 2026-01-31T11:00:00.000Z on, with no further record\n",
        "patient: never in\n  with no further record: entered at 2026-01-11T10:00:00.000Z\n",
    ] {
        assert!(text.contains(want), "{want} is not in\n{text}");
    }
    // Later, and what a member waits for.
    let json: serde_json::Value = serde_json::from_str(&run("anna", &["--at", "2026-02-01T00:00:00Z", "--json"])).expect("JSON");
    let segment = |name: &str| {
        let all = json["segments"].as_array().expect("a list");
        all.iter().find(|s| s["segment"] == name).unwrap_or_else(|| panic!("{json}")).clone()
    };
    assert_eq!((&segment("slipping")["member"], &segment("slipping")["since"]), (&true.into(), &"2026-01-31T11:00:00.000Z".into()));
    assert_eq!(segment("slipping")["parts"][0]["condition"]["flips_by"], "1 activity");
    assert_eq!(segment("looker")["parts"][0]["condition"]["of"][0]["observed"], "0");
    assert_eq!(segment("patient")["next"], serde_json::Value::Null);
    // Nobody, and nothing.
    assert_eq!(run("carl", &[]), "carl at 2026-01-20T10:00:00.000Z: no record so far\n");
    for (args, exit, said) in [
        (&["explain", "--customer", "a"][..], 2, "give --definitions and --events"),
        (&["explain", "--customer", "a", "--definitions", "seg"], 2, "--events"),
        (&["explain", "--customer", "a", "--url", "nowhere"], 2, "--url is http://ADDRESS:PORT"),
        (&["explain", "--customer", "a", "--url", "http://127.0.0.1:1"], 3, "127.0.0.1:1"),
    ] {
        let output = segmentd_in(folder.path(), args, "");
        assert_eq!((code(&output), err(&output).contains(said)), (exit, true), "{args:?}: {}", err(&output));
    }
}

#[test]
fn the_shop_goes_from_generate_through_infer_and_backtest() {
    let folder = tempfile::tempdir().expect("folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let generate = ["generate", "-n", "20000", "--seed", "7", "--disorder", "0.1", "--duplicates", "0.05", "--rate", "2000"];
    let first = segmentd(&generate);
    assert_eq!(code(&first), 0, "{}", err(&first));
    assert!(err(&first).contains("seed 7"));
    assert_eq!(first.stdout.len(), segmentd(&generate).stdout.len());
    assert_eq!(first.stdout, segmentd(&generate).stdout, "equal seeds give equal events");
    std::fs::write(at("events.ndjson"), &first.stdout).expect("written");

    let inferred = segmentd(&["infer", "--events", &at("events.ndjson")]);
    assert_eq!(code(&inferred), 0, "{}", err(&inferred));
    std::fs::create_dir(at("seg")).expect("made");
    let segment = "segment buyer { when any order_completed ever emit spent = sum(order_completed.total) ever }\n";
    std::fs::write(at("seg/catalogue.seg"), format!("{}{segment}", out(&inferred))).expect("written");
    let checked = segmentd(&["check", &at("seg")]);
    assert_eq!(code(&checked), 0, "{}", err(&checked));

    let tested = segmentd(&["backtest", "--definitions", &at("seg"), "--events", &at("events.ndjson"), "--output", &at("changes.ndjson")]);
    assert_eq!(code(&tested), 0, "{}", err(&tested));
    assert!(tested.stdout.is_empty(), "the changes go to the file");
    let changes = std::fs::read_to_string(at("changes.ndjson")).expect("read");
    let mut keys: Vec<(String, String, u64)> = Vec::new();
    for line in changes.lines() {
        let c: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let text = |k: &str| c[k].as_str().unwrap_or_default().to_string();
        keys.push((text("decided_at"), text("customer"), c["seq"].as_u64().unwrap_or_default()));
    }
    assert!(keys.len() > 50 && keys.is_sorted(), "{} changes, in order", keys.len());
    assert!(!err(&tested).contains("dead letters"), "{}", err(&tested));
}

#[test]
fn the_demo_runs_without_a_terminal_and_ends_by_itself() {
    let output = segmentd(&["demo", "--duration", "4s", "--rate", "300", "--seed", "3"]);
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    let text = out(&output);
    assert!(text.starts_with("segmentd demo: embedded broker 127.0.0.1:"), "{text}");
    assert!(text.contains("seed 3") && text.contains(" entered "), "{text}");
    let last = text.lines().last().unwrap_or_default();
    assert!(last.contains(" events and ") && !last.contains(" and 0 changes"), "{text}");
    assert!(!err(&output).contains("ERROR"), "{}", err(&output));
}

#[test]
fn check_says_definitions_back() {
    let folder = workspace();
    let plain = segmentd_in(folder.path(), &["check", "seg", "--explain"], "");
    assert_eq!(code(&plain), 0, "{}", err(&plain));
    assert!(
        out(&plain).starts_with(
            "Big spender (big_spender): A customer enters when the sum of total over order_completed events in\n  \
             the last 90 days is 100 EUR or more. A customer leaves when that no longer holds.\n\n\
             slipping: A customer enters when their last activity was at least 30 days ago."
        ),
        "{}",
        out(&plain)
    );
    assert!(out(&plain).lines().all(|line| line.chars().count() <= 100));
    let json: serde_json::Value = serde_json::from_str(&out(&segmentd_in(folder.path(), &["check", "seg", "--json"], ""))).expect("JSON");
    let words = json["definitions"][1]["words"].as_str().expect("a text");
    assert!(words.starts_with("slipping: A customer enters when"), "{words}");
    // The plan says the same.
    let plan = segmentd_in(folder.path(), &["check", "seg", "--plan"], "");
    assert!(out(&plan).contains("enters   when their last activity was at least 30 days ago\n"), "{}", out(&plan));
}
