//! What the tests of this suite share: the broker, topics of a test's own, and clients that are not segmentd's.

use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use segmentd::kafka::{Settings, TopicNames};

/// The running broker.
pub struct Broker {
    pub bootstrap: String,
    #[allow(dead_code, reason = "tests that restart the broker need it")]
    pub dir: String,
}

/// The broker of this process, started at the first call; the script stops it when this process is gone, however that happens.
pub fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/broker");
        let output = Command::new(script).args(["start", "--while", &std::process::id().to_string()]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "the broker did not start: {}", String::from_utf8_lossy(&output.stderr));
        let value = |name: &str| said.lines().find_map(|l| l.strip_prefix(name)).expect(name).to_owned();
        Broker { bootstrap: value("bootstrap="), dir: value("dir=") }
    })
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
