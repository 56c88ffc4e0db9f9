//! What a set of definitions would change: tried on copies of a sample of the customers of this instance, beside the running shards. And why
//! one customer is where he is, found on a copy too.
//!
//! A worker only copies the sample (milliseconds), between two of its steps; everything else happens on the thread of whoever asks. Nothing
//! that is tried here is published or kept.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::View;
use crate::engine::{Batch, Engine, Explanation, Outputs};
use crate::ids::ShardId;
use crate::kafka::Waker;
use crate::lang::Workspace;
use crate::model::ChangeKind;
use crate::pipeline::Worker;
use crate::plan::Plan;
use crate::time::Timestamp;

/// Customers of the sample of each shard, about.
const SAMPLE_CUSTOMERS: usize = 20_000;
/// Longest wait for the workers' copies; a worker whose broker is away may be busy.
const SAMPLE_WAIT: Duration = Duration::from_secs(10);

/// What a set would change here, by a sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Preview {
    /// Customers tried, and those of the shards that they were taken from.
    pub sampled: u64,
    pub customers: u64,
    /// Shards that took part, of those that this instance has. One that restores, or in which another change is coming into force, does not.
    pub shards: usize,
    pub shards_here: usize,
    /// Definitions with a change, or that are not known for every customer at once, by name.
    pub segments: Vec<SegmentPreview>,
}

/// What would become of one segment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SegmentPreview {
    pub segment: String,
    /// Of the sample.
    pub entered: u64,
    pub exited: u64,
    pub moved: u64,
    /// Whether everything that its conditions look at is known for every customer from the start.
    pub complete: bool,
    /// Otherwise from when on it is; `null`: never for customers who are there today.
    #[serde(serialize_with = "instant")]
    pub complete_from: Option<Timestamp>,
}

fn instant<S: serde::Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    at.map(|t| t.to_string()).serialize(to)
}

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("another set is being tried; ask again")]
    Busy,
    #[error("no shard that could be asked runs on this instance at this moment; ask again")]
    NoShard,
}

/// Copies of a shard's customers.
pub(super) struct Sample {
    engine: Engine,
    /// Customers of the shard.
    customers: u64,
}

/// What a worker is asked.
enum Question {
    Sample(Sender<Vec<Sample>>),
    /// A copy of one customer, for explaining, from the worker that runs the shard.
    Customer {
        shard: ShardId,
        customer: String,
        answer: Sender<Copied>,
    },
}

/// An engine with the one customer; without an engine: one that is not known, with the shard's clock.
struct Copied {
    engine: Option<Engine>,
    clock: Timestamp,
}

/// Longest wait for the copy of one customer.
const CUSTOMER_WAIT: Duration = Duration::from_secs(5);

/// A worker's end: questions that wait for it.
pub(super) struct Questions(Receiver<Question>);

impl Questions {
    /// Answers what was asked since the last call.
    pub(super) fn answer(&self, worker: &Worker) {
        while let Ok(question) = self.0.try_recv() {
            let asker = match question {
                Question::Sample(asker) => asker,
                Question::Customer { shard, customer, answer } => {
                    if let Some(engine) = worker.engine(shard) {
                        let _ = answer.send(Copied { engine: engine.only(&customer), clock: engine.clock() });
                    }
                    continue;
                }
            };
            let shards: Vec<ShardId> = worker.running().collect();
            let sample = |id: &ShardId| {
                let engine = worker.engine(*id)?;
                Some(Sample { engine: engine.sample(SAMPLE_CUSTOMERS)?, customers: engine.customers() as u64 })
            };
            // Whoever asked may have gone.
            let _ = asker.send(shards.iter().filter_map(sample).collect());
        }
    }
}

/// Tries sets of definitions; clones share it.
#[derive(Clone)]
pub struct Previewer {
    workers: Arc<Vec<(Mutex<Sender<Question>>, Waker)>>,
    view: Arc<View>,
    /// One at a time: a trial takes a core.
    busy: Arc<Mutex<()>>,
}

impl Previewer {
    pub(super) fn new(wakers: Vec<Waker>, view: Arc<View>) -> (Previewer, Vec<Questions>) {
        let (workers, questions) = wakers
            .into_iter()
            .map(|waker| {
                let (ask, inbox) = channel();
                ((Mutex::new(ask), waker), Questions(inbox))
            })
            .unzip();
        (Previewer { workers: Arc::new(workers), view, busy: Arc::default() }, questions)
    }

    fn ask(&self, question: impl Fn() -> Question) {
        for (ask, waker) in self.workers.iter() {
            // A worker that has ended answers nothing.
            let _ = ask.lock().unwrap_or_else(PoisonError::into_inner).send(question());
            waker.wake();
        }
    }

    /// Why a customer is where he is. The worker only copies the customer; not for a worker's thread.
    ///
    /// **Errors:** no worker of this instance runs the shard at this moment.
    pub fn explain(&self, customer: &str, shard: ShardId) -> Result<Explanation, Error> {
        let (answer, copies) = channel();
        self.ask(|| Question::Customer { shard, customer: customer.into(), answer: answer.clone() });
        drop(answer);
        let copied = copies.recv_timeout(CUSTOMER_WAIT).map_err(|_| Error::NoShard)?;
        Ok(match copied.engine {
            Some(engine) => engine.explain(customer, None),
            None => {
                let at = (copied.clock != Timestamp::MIN).then_some(copied.clock);
                Explanation { customer: customer.into(), at, ..Explanation::default() }
            }
        })
    }

    /// What the set would change. Takes up to seconds; not for a worker's thread.
    ///
    /// **Errors:** nothing can be said at this moment.
    pub fn preview(&self, workspace: Workspace) -> Result<Preview, Error> {
        let Ok(_only) = self.busy.try_lock() else { return Err(Error::Busy) };
        let workspace = Arc::new(workspace);
        let (asker, answers) = channel();
        self.ask(|| Question::Sample(asker.clone()));
        drop(asker);
        let deadline = Instant::now() + SAMPLE_WAIT;
        let mut samples = Vec::new();
        for _ in 0..self.workers.len() {
            match answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(mut some) => samples.append(&mut some),
                Err(_) => break,
            }
        }
        if samples.is_empty() {
            return Err(Error::NoShard);
        }
        let mut preview = Preview { shards: samples.len(), shards_here: self.view.shards().len(), ..Preview::default() };
        let mut segments = BTreeMap::new();
        for sample in samples {
            preview.sampled += sample.engine.customers() as u64;
            preview.customers += sample.customers;
            // By the clocks that are in force there: what another database would change is no doing of the set.
            let zones = sample.engine.plan().zones.database;
            let plan = Arc::new(Plan::compile_with(workspace.clone(), zones));
            try_on(sample.engine, &plan, &mut segments);
        }
        preview.segments = segments.into_values().collect();
        Ok(preview)
    }
}

/// Puts the set in force in a copy and counts what changes.
fn try_on(mut engine: Engine, plan: &Arc<Plan>, segments: &mut BTreeMap<String, SegmentPreview>) {
    let of = |name: &str| SegmentPreview { segment: name.into(), complete: true, ..SegmentPreview::default() };
    let at = engine.clock();
    // A copy has no activation of its own under way.
    if engine.activate(plan.clone(), at, 0).is_err() {
        return;
    }
    loop {
        let mut outputs = Outputs::default();
        let applied = engine.apply(&Batch::default(), None, &mut outputs);
        for change in outputs.changes.iter().map(|p| &p.change).filter(|c| c.cause.word().starts_with("definition_")) {
            let row = segments.entry(change.segment.to_string()).or_insert_with(|| of(&change.segment));
            match change.kind {
                ChangeKind::Entered => row.entered += 1,
                ChangeKind::Exited => row.exited += 1,
                ChangeKind::Moved { .. } => row.moved += 1,
            }
        }
        if applied.scan.is_none() {
            break;
        }
    }
    for warming in engine.warming() {
        let name = &plan.workspace().definitions[warming.definition.at()].name;
        let row = segments.entry(name.clone()).or_insert_with(|| of(name));
        row.complete_from = match (row.complete, row.complete_from, warming.until) {
            (true, _, until) => until,
            (false, Some(before), Some(until)) => Some(before.max(until)),
            (false, ..) => None,
        };
        row.complete = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Settings;
    use crate::lang::{self, SourceFile};
    use crate::wire::{DecodeOptions, RawRecord, json};

    fn plan(text: &str) -> Arc<Plan> {
        let compiled = lang::compile(&[SourceFile::new("a.seg", text)]);
        Arc::new(Plan::compile(Arc::new(compiled.workspace.expect("compiles"))))
    }

    #[test]
    fn what_would_change_is_counted_on_a_copy() {
        let before = plan("event visit is activity { }\nsegment seen { when any visit ever }\nsegment gone { when any visit ever }\n");
        let after = plan(
            "event visit is activity { }\nsegment seen { when at least 2 visit ever }\nsegment many { when at least 3 visit in last 7d }\n",
        );
        let mut engine = Engine::new(before.clone(), Settings::default());
        let mut decoder = json::Decoder::new(before.schema().clone(), DecodeOptions::lenient());
        let mut batch = Batch::default();
        for i in 0..40 {
            let value = format!(r#"{{"customer":"c-{}","event":"visit"}}"#, i % 30);
            let position = crate::ids::Position { input: crate::ids::InputIndex(0), partition: 0, offset: i };
            let key = None;
            decoder
                .decode(&RawRecord { position, arrival: Timestamp(1_764_000_000_000 + i), key, value: Some(value.as_bytes()) }, &mut batch);
        }
        engine.apply(&batch, None, &mut Outputs::default());
        let digest = engine.digest();
        let sample = engine.sample(1_000).expect("no activation runs");
        assert_eq!(sample.customers(), 30);
        let mut segments = BTreeMap::new();
        try_on(sample, &after, &mut segments);
        assert_eq!((segments["gone"].exited, segments["seen"].exited, segments["seen"].entered), (30, 20, 0), "{segments:?}");
        assert!(!segments["many"].complete, "what was not kept is not known: {segments:?}");
        assert_eq!(engine.digest(), digest, "the shard itself is as it was");
        assert!(engine.sample(1).expect("some").customers() < 10, "a sample is bounded");
    }
}
