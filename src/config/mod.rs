//! File and environment into a validated [`Config`]; the only reader of either.
//!
//! One TOML file, strict: an unknown key is an error with its place and the nearest known key, and all errors of a file are told at once.
//! Durations and sizes are text with a unit; any text may hold `${env:NAME}` or `${file:PATH}`. `SEGMENTD_KAFKA__BROKERS` overrides
//! `kafka.brokers`; only names with a double underscore are overrides, because orchestrators inject others. Below `kafka.client` a single
//! underscore stands for the point of the client library's names (`SEGMENTD_KAFKA__CLIENT__SECURITY_PROTOCOL`), and a number is a place in
//! a list (`SEGMENTD_INPUT__0__TOPIC`). Relative paths are relative to the file's folder. `deploy/segmentd.toml` shows every key with its
//! default. Secrets never print: see [`Secret`].

mod mapping;
mod tree;
mod units;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::engine;
use crate::time::Millis;
use crate::wire::{Partitioner, UnknownEvents, WrongType};

pub use crate::telemetry::log::{Log, LogFormat};
pub use mapping::load_mapping;
pub use tree::{Error, Problem};
pub use units::{parse_duration, parse_size};

use tree::Reader;

/// Everything that `run` needs to know; can be built from parts with [`Config::new`], as the demo does.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub kafka: Kafka,
    /// At least one; their order decides ties between records of one arrival (LANGUAGE.md S3).
    pub inputs: Vec<Input>,
    pub output: Output,
    pub segments: Segments,
    pub engine: Engine,
    pub snapshot: Snapshot,
    pub http: Http,
    pub metrics: Metrics,
    pub log: Log,
    /// What is accepted and has no effect in this version, to be logged at start.
    pub notes: Vec<String>,
}

#[derive(Clone, PartialEq)]
pub struct Kafka {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Consumer group, and the prefix of transactional ids.
    pub group: String,
    /// Stable and unique per instance; by default the machine's host name.
    pub instance: String,
    /// Passed through to the client library in the order of the file; `kafka` refuses those on which the promise rests.
    pub client: Vec<(String, Secret)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub topic: String,
    pub format: Format,
    /// `None`: keys are not checked, allowed for a single input only.
    pub partitioner: Option<Partitioner>,
}

/// How an input's records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Protobuf,
}

/// Names of segmentd's own topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub changes: String,
    pub memberships: String,
    pub journal: String,
    pub dead_letters: String,
    pub definitions: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    /// Catalogue and definitions, `*.seg`.
    pub directory: PathBuf,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Engine {
    /// Threads that own shards, at least 1.
    pub workers: usize,
    /// How far the clock stays behind wall time where the log is read to its end (LANGUAGE.md S3).
    pub clock_guard: Millis,
    /// Least time between two commits of a worker; rises with the partitions touched.
    pub commit_interval: Millis,
    /// Most records of one batch.
    pub batch_records: usize,
    /// Most bytes of one batch's records.
    pub batch_bytes: usize,
    pub unknown_events: UnknownEvents,
    pub wrong_type: WrongType,
    pub on_mismatch: OnMismatch,
    /// Settings that decide outcomes (LANGUAGE.md 8.12).
    pub settings: engine::Settings,
}

/// What a restore does that meets another hash than the journal's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMismatch {
    Reconcile,
    Stop,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// `None`: off.
    pub listen: Option<std::net::SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// `None`: off.
    pub listen: Option<std::net::SocketAddr>,
}

/// A text that never prints: passwords, keys, tokens, and whatever may hold one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that hands it on.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Client properties whose values may be shown; all others print as `***`, since new secret ones appear with every release of the library.
const SHOWN: &[&str] =
    &["security.protocol", "sasl.mechanism", "sasl.mechanisms", "session.timeout.ms", "linger.ms", "compression.type", "client.id"];

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Client<'a>(&'a [(String, Secret)]);
        impl fmt::Debug for Client<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let shown = |(name, value): &'_ (String, Secret)| {
                    (name.clone(), if SHOWN.contains(&name.as_str()) { value.expose().to_string() } else { value.to_string() })
                };
                f.debug_map().entries(self.0.iter().map(shown)).finish()
            }
        }
        f.debug_struct("Kafka")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("instance", &self.instance)
            .field("client", &Client(&self.client))
            .finish()
    }
}

impl Default for Output {
    fn default() -> Self {
        Output {
            changes: "segmentd.changes".into(),
            memberships: "segmentd.memberships".into(),
            journal: "segmentd.journal".into(),
            dead_letters: "segmentd.dead-letters".into(),
            definitions: "segmentd.definitions".into(),
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Engine {
            workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4),
            clock_guard: Millis(20),
            commit_interval: Millis(5),
            batch_records: 10_000,
            batch_bytes: 4 << 20,
            unknown_events: UnknownEvents::Ignore,
            wrong_type: WrongType::DeadLetter,
            on_mismatch: OnMismatch::Reconcile,
            settings: engine::Settings::default(),
        }
    }
}

impl Input {
    /// A JSON topic whose producers are the Java client's kind.
    pub fn json(topic: impl Into<String>) -> Input {
        Input { topic: topic.into(), format: Format::Json, partitioner: Some(Partitioner::Murmur2) }
    }
}

impl Config {
    /// Everything at its default but for what has none.
    pub fn new(brokers: impl Into<String>, inputs: Vec<Input>, directory: impl Into<PathBuf>) -> Config {
        Config {
            kafka: Kafka { brokers: brokers.into(), group: "segmentd".into(), instance: host_name(), client: Vec::new() },
            inputs,
            output: Output::default(),
            segments: Segments { directory: directory.into() },
            engine: Engine::default(),
            snapshot: Snapshot::default(),
            http: Http { listen: Some(([127, 0, 0, 1], 8080).into()) },
            metrics: Metrics { listen: Some(([127, 0, 0, 1], 9464).into()) },
            log: Log::default(),
            notes: Vec::new(),
        }
    }

    /// Reads the file and the process's environment.
    ///
    /// **Errors:** every problem found, each with its place and a way out; configuration, exit code 2.
    pub fn load(path: &Path) -> Result<Config, Error> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| Error::single(&name, format!("cannot be read: {e}")))?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let environment: Vec<(String, String)> =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
        Config::parse(&name, &text, folder, &environment)
    }

    /// Reads the text of a file called `name` that stands in `folder`, with the variables of `environment`.
    ///
    /// **Errors:** as [`Config::load`].
    pub fn parse(name: &str, text: &str, folder: &Path, environment: &[(String, String)]) -> Result<Config, Error> {
        let reader = Reader::new(name, text, folder, environment)?;
        let mut notes = Vec::new();
        let defaults = Config::new("", Vec::new(), "");
        let root = reader.root();

        let t = root.table("kafka");
        let kafka = Kafka {
            brokers: t.required_text("brokers", "for example brokers = \"localhost:9092\""),
            group: t.text("group").unwrap_or(defaults.kafka.group),
            instance: t.text("instance").unwrap_or(defaults.kafka.instance),
            client: t.flat("client"),
        };
        t.done();

        let inputs: Vec<Input> = root
            .tables("input")
            .into_iter()
            .map(|t| {
                let input = Input {
                    topic: t.required_text("topic", "the name of the topic to read"),
                    format: t.word("format", &[("json", Format::Json), ("protobuf", Format::Protobuf)]).unwrap_or(Format::Json),
                    partitioner: t
                        .word(
                            "partitioner",
                            &[("murmur2", Some(Partitioner::Murmur2)), ("crc32", Some(Partitioner::Crc32)), ("none", None)],
                        )
                        .unwrap_or(Some(Partitioner::Murmur2)),
                };
                t.done();
                input
            })
            .collect();
        if inputs.is_empty() {
            root.problem("no input is configured", Some("add a table: [[input]] with topic = \"...\""));
        }
        if inputs.len() > 1 && inputs.iter().any(|i| i.partitioner.is_none()) {
            root.problem(
                "partitioner = \"none\" is for a single input",
                Some("several inputs must place each customer alike: name the partitioner of their producers"),
            );
        }
        for (i, input) in inputs.iter().enumerate() {
            if inputs[..i].iter().any(|other| other.topic == input.topic) && !input.topic.is_empty() {
                root.problem(format!("the input topic {:?} is listed twice", input.topic), None);
            }
        }

        let t = root.table("output");
        let d = defaults.output;
        let output = Output {
            changes: t.text("changes").unwrap_or(d.changes),
            memberships: t.text("memberships").unwrap_or(d.memberships),
            journal: t.text("journal").unwrap_or(d.journal),
            dead_letters: t.text("dead_letters").unwrap_or(d.dead_letters),
            definitions: t.text("definitions").unwrap_or(d.definitions),
        };
        t.done();
        let names = [&output.changes, &output.memberships, &output.journal, &output.dead_letters, &output.definitions];
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) || inputs.iter().any(|input| input.topic == **name) {
                root.problem(format!("the topic {name:?} has two uses"), Some("each of segmentd's own topics needs a name of its own"));
            }
        }

        let t = root.table("segments");
        let directory = t.required_text("directory", "the folder with the catalogue and the definitions, *.seg");
        t.done();

        let engine = read_engine(&root.table("engine"), defaults.engine, &mut notes);

        let t = root.table("snapshot");
        let snapshot = Snapshot { url: t.text("url") };
        t.done();
        if snapshot.url.is_some() {
            notes.push("snapshot.url has no effect in this version: a shard restores by replaying its journal from the start".into());
        }
        let t = root.table("http");
        let http = Http { listen: t.listen("listen").unwrap_or(defaults.http.listen) };
        t.done();
        let t = root.table("metrics");
        let metrics = Metrics { listen: t.listen("listen").unwrap_or(defaults.metrics.listen) };
        t.done();
        let t = root.table("log");
        let log = Log {
            format: t.word("format", &[("human", LogFormat::Human), ("json", LogFormat::Json)]).unwrap_or(defaults.log.format),
            filter: t.text("filter").unwrap_or(defaults.log.filter),
        };
        t.done();
        root.done();
        reader.finish()?;
        let segments = Segments { directory: folder.join(directory) };
        Ok(Config { kafka, inputs, output, segments, engine, snapshot, http, metrics, log, notes })
    }
}

fn read_engine(t: &tree::Table<'_>, d: Engine, notes: &mut Vec<String>) -> Engine {
    let on_mismatch = t.word("on_mismatch", &[("reconcile", OnMismatch::Reconcile), ("stop", OnMismatch::Stop)]);
    if on_mismatch == Some(OnMismatch::Reconcile) {
        notes.push("engine.on_mismatch = \"reconcile\" is not part of this version: a shard whose hash differs stops".into());
    }
    if t.text("customer_rate").is_some_and(|rate| rate != "off") {
        t.problem_at("customer_rate", "limits per customer are not part of this version", Some("set it to \"off\" or take it out"));
    }
    let s = d.settings;
    let engine = Engine {
        workers: t.count("workers", 1, 1_024).unwrap_or(d.workers),
        clock_guard: t.duration("clock_guard").unwrap_or(d.clock_guard),
        commit_interval: t.duration("commit_interval").unwrap_or(d.commit_interval),
        batch_records: t.count("batch_records", 1, 1_000_000).unwrap_or(d.batch_records),
        batch_bytes: t.size("batch_bytes", crate::limits::RECORD_BYTES_MAX, 1 << 30).unwrap_or(d.batch_bytes),
        unknown_events: t
            .word("unknown_events", &[("ignore", UnknownEvents::Ignore), ("dead-letter", UnknownEvents::DeadLetter)])
            .unwrap_or(d.unknown_events),
        wrong_type: t
            .word("wrong_type", &[("dead-letter", WrongType::DeadLetter), ("unknown", WrongType::Unknown)])
            .unwrap_or(d.wrong_type),
        on_mismatch: on_mismatch.unwrap_or(d.on_mismatch),
        settings: engine::Settings {
            max_age: t.duration_or_off("max_age").unwrap_or(s.max_age),
            max_future_skew: t.duration("max_future_skew").unwrap_or(s.max_future_skew),
            reorder_buffer: t.duration("reorder_buffer").unwrap_or(s.reorder_buffer),
            duplicate_window: t.duration("duplicate_window").unwrap_or(s.duplicate_window),
            exact_entries: t.count("exact_entries", 16, 65_536).unwrap_or(s.exact_entries),
            output_budget: t.size("output_budget", 64 << 10, 256 << 20).unwrap_or(s.output_budget),
            ..s
        },
    };
    t.done();
    engine
}

/// The machine's name, or `segmentd` where the system does not tell.
fn host_name() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    read.ok().map(|n| n.trim().to_string()).filter(|n| !n.is_empty()).unwrap_or_else(|| "segmentd".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "[kafka]\nbrokers = \"k:9092\"\n[[input]]\ntopic = \"clickstream\"\n[segments]\ndirectory = \"seg\"\n";

    fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, Error> {
        let environment: Vec<(String, String)> = environment.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Config::parse("segmentd.toml", text, Path::new("conf"), &environment)
    }

    fn fails(text: &str, environment: &[(&str, &str)]) -> String {
        parse(text, environment).expect_err("refused").to_string()
    }

    #[test]
    fn the_least_file_gives_the_defaults() {
        let config = parse(LEAST, &[]).expect("reads");
        let want = Config::new("k:9092", vec![Input::json("clickstream")], "conf/seg");
        assert_eq!(config, want);
    }

    #[test]
    fn the_sample_file_shows_every_key_with_its_default() {
        let text = include_str!("../../deploy/segmentd.toml");
        let config = Config::parse("segmentd.toml", text, Path::new(""), &[]).expect("reads");
        let mut want = Config::new("localhost:9092", vec![Input::json("clickstream"), Input::json("purchases")], "segments");
        want.kafka.client = vec![("security.protocol".into(), Secret::new("PLAINTEXT"))];
        // What follows the machine stands in the file as an example.
        want.kafka.instance = "segmentd-0".into();
        want.engine.workers = 2;
        want.notes = config.notes.clone();
        want.snapshot = config.snapshot.clone();
        assert_eq!(config, want);
    }

    #[test]
    fn unknown_keys_are_refused_with_place_and_nearest_key() {
        let message = fails(&LEAST.replace("brokers", "broker"), &[]);
        assert!(message.contains("segmentd.toml:2:1: unknown key `kafka.broker`"), "{message}");
        assert!(message.contains("did you mean `brokers`?"), "{message}");
        assert!(message.contains("`kafka.brokers` is missing"), "every problem is told at once: {message}");
        let message = fails(&format!("{LEAST}[metric]\nlisten = \"off\"\n"), &[]);
        assert!(message.contains("7:2: unknown key `metric`") && message.contains("did you mean `metrics`?"), "{message}");
        let message = fails(&format!("{LEAST}[http]\nworkers = 3\n"), &[]);
        assert!(message.contains("unknown key `http.workers`") && message.contains("`engine.workers`"), "{message}");
    }

    #[test]
    fn values_are_checked_where_they_stand() {
        for (add, want) in [
            ("[engine]\nclock_guard = 20\n", "8:15: `engine.clock_guard` is a duration in quotes"),
            ("[engine]\nclock_guard = \"20 lightyears\"\n", "`engine.clock_guard`: unknown unit"),
            ("[engine]\nbatch_bytes = \"3\"\n", "`engine.batch_bytes`"),
            ("[engine]\nbatch_bytes = \"3KiB\"\n", "`engine.batch_bytes` must be at least 1MiB"),
            ("[engine]\nworkers = 0\n", "`engine.workers` must be at least 1"),
            ("[engine]\nwrong_type = \"unkown\"\n", "did you mean \"unknown\"?"),
            ("[engine]\ncustomer_rate = \"6000/min\"\n", "not part of this version"),
            ("[http]\nlisten = \"localhost\"\n", "`http.listen`"),
            ("[output]\nchanges = \"clickstream\"\n", "has two uses"),
            ("[[input]]\ntopic = \"clickstream\"\n", "listed twice"),
            ("[[input]]\ntopic = \"b\"\npartitioner = \"none\"\n", "is for a single input"),
            ("[engine\n", "segmentd.toml:7"),
        ] {
            let message = fails(&format!("{LEAST}{add}"), &[]);
            assert!(message.contains(want), "{add}: {message}");
        }
    }

    #[test]
    fn the_environment_overrides_names_with_a_double_underscore_only() {
        let config = parse(
            LEAST,
            &[
                ("SEGMENTD_KAFKA__BROKERS", "other:9092"),
                ("SEGMENTD_PORT", "tcp://10.0.0.1:8080"),
                ("SEGMENTD_ENGINE__WORKERS", "7"),
                ("SEGMENTD_INPUT__0__TOPIC", "clicks"),
                ("SEGMENTD_INPUT__1__TOPIC", "orders"),
                ("SEGMENTD_KAFKA__CLIENT__SASL_PASSWORD", "pa${ss"),
                ("SEGMENTD_HTTP__LISTEN", "off"),
            ],
        );
        let message = config.expect_err("an open reference").to_string();
        assert!(message.contains("SEGMENTD_KAFKA__CLIENT__SASL_PASSWORD") && !message.contains("pa${ss"), "{message}");
        let config = parse(
            LEAST,
            &[
                ("SEGMENTD_KAFKA__BROKERS", "other:9092"),
                ("SEGMENTD_PORT", "tcp://10.0.0.1:8080"),
                ("SEGMENTD_ENGINE__WORKERS", "7"),
                ("SEGMENTD_INPUT__0__TOPIC", "clicks"),
                ("SEGMENTD_INPUT__1__TOPIC", "orders"),
                ("SEGMENTD_KAFKA__CLIENT__SASL_PASSWORD", "pass"),
                ("SEGMENTD_HTTP__LISTEN", "off"),
            ],
        )
        .expect("reads");
        assert_eq!((config.kafka.brokers.as_str(), config.engine.workers, config.http.listen), ("other:9092", 7, None));
        assert_eq!(config.inputs.iter().map(|i| i.topic.as_str()).collect::<Vec<_>>(), ["clicks", "orders"]);
        assert_eq!(config.kafka.client, [("sasl.password".to_string(), Secret::new("pass"))]);
        let message = fails(LEAST, &[("SEGMENTD_KAFKA__BROKRS", "x")]);
        assert!(message.contains("SEGMENTD_KAFKA__BROKRS: unknown key `kafka.brokrs`") && message.contains("`brokers`"), "{message}");
    }

    #[test]
    fn secrets_come_by_reference_and_never_print() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("password"), "hush\n").expect("written");
        let text = format!(
            "{LEAST}[kafka.client]\n\"sasl.password\" = \"${{file:password}}\"\nsasl.username = \"${{env:WHO}}-x\"\n\"security.protocol\" = \"SASL_SSL\"\n\"linger.ms\" = 3\n"
        );
        let environment = [("WHO".to_string(), "anna".to_string())];
        let config = Config::parse("segmentd.toml", &text, folder.path(), &environment).expect("reads");
        let client: Vec<(&str, &str)> = config.kafka.client.iter().map(|(n, v)| (n.as_str(), v.expose())).collect();
        assert_eq!(client, [("sasl.password", "hush"), ("sasl.username", "anna-x"), ("security.protocol", "SASL_SSL"), ("linger.ms", "3")]);
        let shown = format!("{config:?}");
        assert!(!shown.contains("hush") && !shown.contains("anna") && shown.contains("SASL_SSL"), "{shown}");
        let message = fails(&text, &[]);
        assert!(message.contains("environment variable WHO") && message.contains("conf/password"), "{message}");
    }
}
