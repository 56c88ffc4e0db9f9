//! The Prometheus exporter on a thread of its own, and the same text read back for the demo's view and for tests.

use std::net::SocketAddr;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::metrics;

/// How often histograms are drained into their buckets where nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// The exporter could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Environment: the port is in use, say.
    #[error("metrics.listen {address}: {detail}")]
    Listen { address: SocketAddr, detail: String },
    /// A second recorder in one process; our own bug or a test's.
    #[error("the metrics recorder cannot be started: {0}")]
    Recorder(String),
}

/// The installed recorder. Lives as long as the process.
#[derive(Clone)]
pub struct Exporter {
    handle: PrometheusHandle,
}

impl Exporter {
    /// Installs the recorder for the process and, with an address, answers any request there with the metrics.
    ///
    /// **Errors:** an address that cannot be listened on; a recorder that is already there.
    pub fn start(listen: Option<SocketAddr>) -> Result<Exporter, Error> {
        let recorder_error = |e: BuildError| Error::Recorder(e.to_string());
        let mut builder = PrometheusBuilder::new().upkeep_timeout(UPKEEP);
        for (name, buckets) in metrics::BUCKETS {
            builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_string()), buckets).map_err(recorder_error)?;
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| Error::Recorder(format!("no runtime: {e}")))?;
        let spawn = |work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name("metrics".into()).spawn(work).map(drop).map_err(|e| Error::Recorder(format!("no thread: {e}")))
        };
        let (recorder, handle) = match listen {
            Some(address) => {
                let built = {
                    let _inside = runtime.enter();
                    builder.with_http_listener(address).build()
                };
                let (recorder, serve) = built.map_err(|e| Error::Listen { address, detail: e.to_string() })?;
                let handle = recorder.handle();
                spawn(Box::new(move || {
                    if let Err(error) = runtime.block_on(serve) {
                        tracing::error!(?error, "the metrics exporter ended");
                    }
                }))?;
                (recorder, handle)
            }
            None => {
                let recorder = builder.build_recorder();
                let handle = recorder.handle();
                let upkeep = handle.clone();
                spawn(Box::new(move || {
                    loop {
                        std::thread::sleep(UPKEEP);
                        upkeep.run_upkeep();
                    }
                }))?;
                (recorder, handle)
            }
        };
        ::metrics::set_global_recorder(recorder).map_err(|e| Error::Recorder(e.to_string()))?;
        metrics::describe();
        Ok(Exporter { handle })
    }

    /// The text that a scrape gets.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// The values of this moment.
    pub fn readings(&self) -> Readings {
        Readings::parse(&self.render())
    }
}

/// Name, labels, value.
type Sample = (String, Vec<(String, String)>, f64);

/// Values out of the exporter's text.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// In the order of the text.
    samples: Vec<Sample>,
}

impl Readings {
    /// Reads the text format; lines that it does not know are left out.
    ///
    /// **Source:** prometheus/docs:content/docs/instrumenting/exposition_formats.md.
    pub fn parse(text: &str) -> Readings {
        let mut samples = Vec::new();
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let Some((head, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse() else { continue };
            let (name, labels) = match head.split_once('{') {
                Some((name, rest)) => (name, labels(rest.trim_end_matches('}'))),
                None => (head, Vec::new()),
            };
            samples.push((name.to_string(), labels, value));
        }
        Readings { samples }
    }

    /// The sum over all labels; 0 where there is no sample.
    pub fn total(&self, name: &str) -> f64 {
        self.samples.iter().filter(|(n, _, _)| n == name).map(|(_, _, v)| v).sum()
    }

    /// The greatest over all labels.
    pub fn greatest(&self, name: &str) -> Option<f64> {
        self.samples.iter().filter(|(n, _, _)| n == name).map(|(_, _, v)| *v).reduce(f64::max)
    }

    /// Values by one label, summed over the others, sorted by it.
    pub fn by_label(&self, name: &str, label: &str) -> Vec<(String, f64)> {
        let mut out: Vec<(String, f64)> = Vec::new();
        for (_, labels, value) in self.samples.iter().filter(|(n, _, _)| n == name) {
            let Some((_, word)) = labels.iter().find(|(l, _)| l == label) else { continue };
            match out.iter_mut().find(|(w, _)| w == word) {
                Some((_, sum)) => *sum += value,
                None => out.push((word.clone(), *value)),
            }
        }
        out.sort_by(|a, b| a.0.cmp(&b.0));
        out
    }
}

fn labels(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = after.char_indices();
        let mut end = after.len();
        while let Some((i, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c)) => value.push(c),
                    None => {}
                },
                '"' => {
                    end = i + 1;
                    break;
                }
                c => value.push(c),
            }
        }
        out.push((name.trim_start_matches(',').to_string(), value));
        rest = &after[end..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_come_back_from_the_text() {
        let text = "# TYPE a counter\na{x=\"1\",y=\"p\"} 2\na{x=\"1\",y=\"q\"} 3\na{x=\"say \\\"hi\\\"\",y=\"q\"} 4\n\nb 1.5\nnoise\n";
        let readings = Readings::parse(text);
        assert_eq!((readings.total("a"), readings.total("b"), readings.total("c")), (9.0, 1.5, 0.0));
        assert_eq!(readings.by_label("a", "x"), [("1".to_string(), 5.0), ("say \"hi\"".to_string(), 4.0)]);
        assert_eq!(readings.greatest("a"), Some(4.0));
    }

    #[test]
    fn what_is_counted_is_what_a_scrape_shows() {
        // One recorder per process: the only test that installs it.
        let exporter = Exporter::start(Some(([127, 0, 0, 1], 0).into())).expect("starts");
        let metrics = super::super::Metrics::new(&["clicks".into()], &[("big_spender".into(), true), ("intent".into(), false)]);
        metrics.input(0).increment(3);
        metrics.latency(crate::model::Cause::Event, crate::time::Millis(7));
        metrics.latency(crate::model::Cause::Timer, crate::time::Millis(70));
        let mut shard = metrics.shard(crate::ids::ShardId(4));
        shard.definitions(crate::ids::SetHash([1; 16]), [("big_spender", true), ("intent", false)].into_iter());
        shard.members(&[5, 0]);
        shard.members(&[3, 0]);
        shard.customers(11);
        let readings = exporter.readings();
        assert_eq!(readings.by_label(metrics::RECORDS, "input"), [("clicks".to_string(), 3.0)]);
        assert_eq!(readings.by_label(metrics::MEMBERS, "segment"), [("big_spender".to_string(), 3.0)]);
        assert_eq!(readings.total(metrics::CUSTOMERS), 11.0);
        assert_eq!(
            readings.by_label(&format!("{}_count", metrics::CHANGE_LATENCY), "origin"),
            [("record".to_string(), 1.0), ("timer".to_string(), 1.0)]
        );
        // Another set: definitions have other places, and some are new.
        shard.definitions(crate::ids::SetHash([2; 16]), [("intent", false), ("fresh", true), ("big_spender", true)].into_iter());
        shard.members(&[0, 7, 2]);
        shard.warming(&[("fresh", None)]);
        let members = exporter.readings().by_label(metrics::MEMBERS, "segment");
        assert!(members.contains(&("big_spender".to_string(), 2.0)) && members.contains(&("fresh".to_string(), 7.0)), "{members:?}");
        assert_eq!(exporter.readings().total(metrics::ACTIVATIONS), 1.0);
        assert_eq!(exporter.readings().total(metrics::DEFINITIONS_INFO), 1.0);
        drop(shard);
        assert_eq!(exporter.readings().total(metrics::WARMING_UNTIL), 0.0);
        assert_eq!(exporter.readings().total(metrics::MEMBERS), 0.0, "a shard that is handed over takes its members along");
        let text = exporter.render();
        for (name, _, _) in metrics::NAMES {
            if readings.samples.iter().any(|(n, _, _)| n == name) {
                assert!(text.contains(&format!("# HELP {name} ")), "{name} has a description");
            }
        }
        for (_, labels, _) in &readings.samples {
            assert!(labels.iter().all(|(l, _)| l != "customer"));
        }
    }
}
