//! What the tests of this suite share: the broker, topics of a test's own, plain clients that are not segmentd's, and the binary as a
//! child process that can be killed, stopped and ended.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use segmentd::kafka::{Admin, Settings, TopicNames};

/// Longest wait for anything that must come.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The running broker.
pub struct Broker {
    pub bootstrap: String,
    pub dir: PathBuf,
}

impl Broker {
    fn start(extra: &[&str]) -> Broker {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/broker");
        let mut command = Command::new(script);
        command.args(["start", "--while", &std::process::id().to_string()]).args(extra);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "the broker did not start: {}", String::from_utf8_lossy(&output.stderr));
        let value = |name: &str| said.lines().find_map(|l| l.strip_prefix(name)).expect(name).to_owned();
        Broker { bootstrap: value("bootstrap="), dir: value("dir=").into() }
    }

    /// Stops the broker and starts it again on its data and its port.
    pub fn restart(&self) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/broker");
        let dir = self.dir.to_str().unwrap();
        assert!(Command::new(script).args(["stop", dir]).status().unwrap().success());
        Broker::start(&["--dir", dir]);
    }
}

/// The broker of this process, started at the first call; the script stops it when this process is gone, however that happens.
pub fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(&[]))
}

/// A broker for one test that treats it badly.
pub fn own_broker() -> Broker {
    Broker::start(&[])
}

/// A name that no other test of this run uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Settings for a group of one's own.
pub fn settings(group: &str, instance: &str) -> Settings {
    Settings { brokers: broker().bootstrap.clone(), group: group.into(), instance: instance.into(), client: Vec::new(), mock: false }
}

/// Topic names that start with `prefix`.
pub fn names(prefix: &str, inputs: &[&str]) -> TopicNames {
    TopicNames {
        inputs: inputs.iter().map(|i| format!("{prefix}.{i}")).collect(),
        changes: format!("{prefix}.changes"),
        memberships: format!("{prefix}.memberships"),
        journal: format!("{prefix}.journal"),
        dead_letters: format!("{prefix}.dead-letters"),
        definitions: format!("{prefix}.definitions"),
    }
}

/// One record as it stands in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: HashMap<String, Vec<u8>>,
}

impl Stored {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.value.as_deref().expect("a value")).expect("JSON")
    }
}

/// An installation of one test: topics, folder of definitions, configuration file.
pub struct Site {
    pub prefix: String,
    pub names: TopicNames,
    pub partitions: i32,
    pub bootstrap: String,
    pub dir: tempfile::TempDir,
}

impl Site {
    /// Topics with `partitions` partitions; inputs with the producer's own timestamps (the tests choose arrivals) that are kept for ever.
    pub fn new(prefix: &str, inputs: &[&str], partitions: i32, definitions: &str) -> Site {
        Site::on(&broker().bootstrap, prefix, inputs, partitions, definitions)
    }

    /// As [`Site::new`], with inputs whose arrivals are the broker's clock: for records that come while the service runs.
    pub fn live(prefix: &str, inputs: &[&str], partitions: i32, definitions: &str) -> Site {
        Site::with(&broker().bootstrap, prefix, inputs, partitions, definitions, "LogAppendTime")
    }

    /// As [`Site::new`], on another broker.
    pub fn on(bootstrap: &str, prefix: &str, inputs: &[&str], partitions: i32, definitions: &str) -> Site {
        Site::with(bootstrap, prefix, inputs, partitions, definitions, "CreateTime")
    }

    fn with(bootstrap: &str, prefix: &str, inputs: &[&str], partitions: i32, definitions: &str, timestamps: &str) -> Site {
        let prefix = unique(prefix);
        let names = names(&prefix, inputs);
        create(bootstrap, &names.inputs, partitions, timestamps);
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("segments")).unwrap();
        std::fs::write(dir.path().join("segments/all.seg"), definitions).unwrap();
        let site = Site { prefix, names, partitions, bootstrap: bootstrap.into(), dir };
        let settings = Settings { brokers: bootstrap.into(), ..settings(&site.prefix, "tests") };
        let admin = Admin::connect(&settings).unwrap();
        let inputs: Vec<&str> = site.names.inputs.iter().map(String::as_str).collect();
        let started = Instant::now();
        // A new topic shows in the broker's answers a little later.
        while admin.topics(&inputs).unwrap().iter().any(Option::is_none) {
            assert!(started.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(20));
        }
        admin.create(&site.names, None, None).unwrap();
        site
    }

    /// Deletes a topic and waits until it is gone.
    pub fn delete(&self, topic: &str) {
        let client: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap();
        for result in runtime().block_on(client.delete_topics(&[topic], &AdminOptions::new())).unwrap() {
            result.unwrap();
        }
        self.await_presence(topic, false);
    }

    /// Makes an input again.
    pub fn create(&self, topic: &str) {
        create(&self.bootstrap, &[topic.to_owned()], self.partitions, "LogAppendTime");
        self.await_presence(topic, true);
    }

    /// Makes what is absent of segmentd's topics.
    pub fn create_ours(&self) {
        self.admin().create(&self.names, None, None).unwrap();
    }

    pub fn settings(&self) -> Settings {
        Settings { brokers: self.bootstrap.clone(), ..settings(&self.prefix, "tests") }
    }

    pub fn admin(&self) -> Admin {
        Admin::connect(&self.settings()).unwrap()
    }

    fn await_presence(&self, topic: &str, there: bool) {
        let (admin, started) = (self.admin(), Instant::now());
        while admin.topics(&[topic]).unwrap()[0].is_some() != there {
            assert!(started.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Puts the text in the folder of definitions.
    pub fn write_definitions(&self, text: &str) {
        std::fs::write(self.dir.path().join("segments/all.seg"), text).unwrap();
    }

    /// Runs `segmentd apply` of the folder, with more arguments; gives its exit code and what it printed to both outputs.
    pub fn apply(&self, instance: &str, more: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segmentd"));
        command.arg("apply").arg(self.dir.path().join("segments"));
        command.arg("--config").arg(self.dir.path().join(format!("{instance}.toml"))).args(more).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
        (output.status.code(), said)
    }

    /// Writes the configuration of one instance; `extra` is more TOML. The guard is wide, since a broker on a busy machine may take its time
    /// between a record's timestamp and the record.
    pub fn config(&self, instance: &str, extra: &str) -> PathBuf {
        let inputs: String = self.names.inputs.iter().map(|t| format!("[[input]]\ntopic = \"{t}\"\n")).collect();
        let n = &self.names;
        let text = format!(
            "[kafka]\nbrokers = \"{}\"\ngroup = \"{}\"\ninstance = \"{instance}\"\n{inputs}\
             [output]\nchanges = \"{}\"\nmemberships = \"{}\"\njournal = \"{}\"\ndead_letters = \"{}\"\ndefinitions = \"{}\"\n\
             [segments]\ndirectory = \"segments\"\n[http]\nlisten = \"off\"\n[metrics]\nlisten = \"off\"\n[log]\nfilter = \"info\"\n[engine]\nclock_guard = \"200ms\"\n{extra}",
            self.bootstrap, self.prefix, n.changes, n.memberships, n.journal, n.dead_letters, n.definitions
        );
        let path = self.dir.path().join(format!("{instance}.toml"));
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Starts the service as a child process.
    pub fn run(&self, instance: &str) -> Daemon {
        Daemon::start(&self.config(instance, ""))
    }

    /// Starts the service with more configuration.
    pub fn run_with(&self, instance: &str, extra: &str) -> Daemon {
        Daemon::start(&self.config(instance, extra))
    }

    pub fn feed(&self) -> Feed {
        Feed::new(&self.bootstrap)
    }

    /// Everything committed in a topic, by partition and offset, up to the end that it had when called.
    pub fn read(&self, topic: &str) -> Vec<Stored> {
        read_committed(&self.bootstrap, topic)
    }

    /// Reads a topic again and again until `done` says that it holds what is waited for.
    pub fn wait_for(&self, topic: &str, what: &str, mut done: impl FnMut(&[Stored]) -> bool) -> Vec<Stored> {
        let started = Instant::now();
        loop {
            let records = self.read(topic);
            if done(&records) {
                return records;
            }
            assert!(started.elapsed() < PATIENCE, "waited in vain for {what} in {topic}; it has {} records", records.len());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn create(bootstrap: &str, names: &[String], partitions: i32, timestamps: &str) {
    let client: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let topics: Vec<NewTopic<'_>> = names
        .iter()
        .map(|name| {
            let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
            topic.set("message.timestamp.type", timestamps).set("retention.ms", "-1")
        })
        .collect();
    for result in runtime().block_on(client.create_topics(&topics, &AdminOptions::new())).unwrap() {
        result.unwrap();
    }
}

/// Everything that a `read_committed` reader gets of a topic, in the order (partition, offset).
pub fn read_committed(bootstrap: &str, topic: &str) -> Vec<Stored> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "readers")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions().len() as i32;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut ended = std::collections::BTreeSet::new();
    let mut records = Vec::new();
    let started = Instant::now();
    while (ended.len() as i32) < partitions {
        assert!(started.elapsed() < PATIENCE, "the end of {topic} does not come");
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(m)) => {
                let headers = m.headers().map(|h| h.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect());
                records.push(Stored {
                    partition: m.partition(),
                    offset: m.offset(),
                    timestamp: m.timestamp().to_millis().unwrap_or(-1),
                    key: m.key().map(<[u8]>::to_vec),
                    value: m.payload().map(<[u8]>::to_vec),
                    headers: headers.unwrap_or_default(),
                });
            }
            // The end of a partition, for a reader of committed records: the last stable offset.
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(e)) => println!("reading {topic}: {e}"),
            None => {}
        }
    }
    records.sort_by_key(|r| (r.partition, r.offset));
    records
}

/// A plain producer with the partitioner of the Java client.
pub struct Feed {
    producer: BaseProducer,
}

impl Feed {
    fn new(bootstrap: &str) -> Feed {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            .set("queue.buffering.max.messages", "2000000")
            .create()
            .unwrap();
        Feed { producer }
    }

    /// Queues one record; `timestamp` in milliseconds.
    pub fn send(&self, topic: &str, customer: &str, timestamp: i64, value: &str) {
        loop {
            let record = BaseRecord::to(topic).key(customer).payload(value).timestamp(timestamp);
            match self.producer.send(record) {
                Ok(()) => break,
                Err((e, _)) if e.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull) => {
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((e, _)) => panic!("{e}"),
            }
        }
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until everything is in the log.
    pub fn flush(&self) {
        self.producer.flush(PATIENCE).unwrap();
    }
}

/// The binary as a child process. Killed when dropped.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    pub fn start(config: &Path) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segmentd"));
        command.args(["run", "--config"]).arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, into) = (BufReader::new(child.stderr.take().unwrap()), log.clone());
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                into.lock().unwrap().push(line);
            }
        });
        Daemon { child, log }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits until it has said that.
    pub fn await_log(&self, words: &str) {
        let started = Instant::now();
        while !self.log().contains(words) {
            assert!(started.elapsed() < PATIENCE, "it does not say {words:?}; it said:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, name: &str) {
        // By number of our own child only.
        assert!(Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap().success());
    }

    /// As if the machine had lost power.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stands still without noticing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Asks it to end and waits.
    pub fn end(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "it does not end; it said:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the service said:\n{}", self.log());
        }
    }
}
