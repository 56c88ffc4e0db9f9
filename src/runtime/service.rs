//! The service as a value: checks at start, workers, orderly stop.
//!
//! **Order at start:** the client's properties, the broker, the topics, the producers' partitioner, the definitions in force; only then
//! threads. So whatever is wrong with the surroundings ends the start with words, before anything is read or written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use super::preview::Previewer;
use super::shelf::{News, Reader, Shelf, Surroundings};
use super::sink::Reports;
use super::view::{ShardState, View};
use super::{Error, Observer, SystemClock, definitions, worker};
use crate::config::{self, Config};
use crate::ids::InputIndex;
use crate::kafka::topics::Checked;
use crate::kafka::{self, Admin, KafkaClient, TopicNames, Waker};
use crate::lang::SourceFile;
use crate::pipeline::{Fault, Format, InputSettings, Settings};
use crate::plan::Plan;
use crate::telemetry::Metrics;
use crate::time::Timestamp;

/// Newest records of each partition whose keys are looked at before anything starts.
const SAMPLE: i64 = 1_000;

/// What the service is started with.
pub struct Start {
    pub config: Config,
    /// Of the folder `config.segments.directory`.
    pub plan: Arc<Plan>,
    /// The texts that `plan` was compiled from.
    pub files: Vec<SourceFile>,
    pub metrics: Metrics,
    /// The broker is the client library's mock cluster (the demo): what it cannot answer is not checked.
    pub mock: bool,
    /// Told of every committed change.
    pub observer: Option<Arc<dyn Observer>>,
}

/// The running service.
pub struct Handle {
    view: Arc<View>,
    stopper: Stopper,
    shards: u32,
    workers: Vec<JoinHandle<Result<(), Fault>>>,
    previewer: Previewer,
    /// `None` for the demo, whose definitions stay.
    _reader: Option<Reader>,
}

/// Asks the service to end; may be given to any thread.
#[derive(Clone)]
pub struct Stopper(Arc<Inner>);

struct Inner {
    stop: AtomicBool,
    wakers: Vec<Waker>,
    /// Workers that have not ended.
    running: AtomicUsize,
}

impl Stopper {
    /// Everything decided is committed, then the workers end. Returns at once.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
        self.0.wakers.iter().for_each(Waker::wake);
    }

    /// Whether the service was asked to end.
    pub fn is_stopping(&self) -> bool {
        self.0.stop.load(Ordering::Relaxed)
    }
}

impl Handle {
    /// What may be looked at.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Shards of the installation: the partition count of every input.
    pub fn shards(&self) -> u32 {
        self.shards
    }

    /// What tries a set of definitions on a sample of the customers of this instance.
    pub fn previewer(&self) -> &Previewer {
        &self.previewer
    }

    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// A question for readiness probes, free of this handle.
    pub fn readiness(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let (view, stopper) = (self.view.clone(), self.stopper.clone());
        move || ready(&view, &stopper)
    }

    /// Whether every shard that this instance owns runs, and it owns one.
    ///
    /// **Errors:** why not, in words.
    pub fn ready(&self) -> Result<(), String> {
        ready(&self.view, &self.stopper)
    }

    /// See [`Stopper::stop`].
    pub fn stop(&self) {
        self.stopper.stop();
    }

    /// Whether all workers have ended.
    pub fn is_ended(&self) -> bool {
        self.stopper.0.running.load(Ordering::Acquire) == 0
    }

    /// Waits until the service has ended. A worker that ends by itself ends the others in order.
    ///
    /// **Errors:** the first worker's reason.
    pub fn wait(self) -> Result<(), Error> {
        let mut result = Ok(());
        for (worker, thread) in self.workers.into_iter().enumerate() {
            let error = match thread.join() {
                Ok(Ok(())) => continue,
                Ok(Err(fault)) => Error::Worker { worker, fault },
                Err(_) => Error::Panicked { worker },
            };
            tracing::error!(worker, %error, "worker ended");
            if result.is_ok() {
                result = Err(error);
            }
        }
        result
    }
}

fn ready(view: &View, stopper: &Stopper) -> Result<(), String> {
    if stopper.is_stopping() {
        return Err("stopping".into());
    }
    let shards = view.shards();
    if shards.is_empty() {
        return Err("no shard is assigned to this instance".into());
    }
    let restoring = shards.iter().filter(|(_, s)| s.state == ShardState::Restoring).count();
    if restoring > 0 {
        return Err(format!("{restoring} of {} shards are being restored", shards.len()));
    }
    let stopped = shards.iter().find_map(|(id, s)| match &s.state {
        ShardState::Stopped(why) => Some(format!("shard {id} stands still: {why}")),
        _ => None,
    });
    stopped.map_or(Ok(()), Err)
}

/// The names of an installation's topics.
pub fn topic_names(config: &Config) -> TopicNames {
    let output = &config.output;
    TopicNames {
        inputs: config.inputs.iter().map(|i| i.topic.clone()).collect(),
        changes: output.changes.clone(),
        memberships: output.memberships.clone(),
        journal: output.journal.clone(),
        dead_letters: output.dead_letters.clone(),
        definitions: output.definitions.clone(),
    }
}

/// Checks the surroundings and starts the workers.
///
/// **Errors:** what is wrong, before anything is read or written; [`Error::is_configuration`] tells whose it is to mend.
pub fn start(start: Start) -> Result<Handle, Error> {
    let Start { config, plan, files, metrics, mock, observer } = start;
    let client = kafka::Settings { mock, ..kafka::Settings::from(&config.kafka) };
    let names = topic_names(&config);
    let admin = Admin::connect(&client)?;
    let checked = admin.check(&names)?;
    for note in &checked.notes {
        tracing::warn!("{note}");
    }
    check_placement(&client, &admin, &names, &config, checked.shards)?;
    let plan = Arc::new(Plan::compile(Arc::new(definitions::settle(&client, &admin, &names.definitions, &files, plan.workspace())?)));

    let view = Arc::new(View::new(plan.workspace()));
    // More workers than shards would have nothing to do.
    let n_workers = config.engine.workers.clamp(1, checked.shards.max(1) as usize);
    let mut clients = Vec::with_capacity(n_workers);
    for worker in 0..n_workers {
        clients.push(KafkaClient::start(&client, &names, &checked, worker, Arc::new(SystemClock))?);
    }
    let wakers: Vec<Waker> = clients.iter().map(KafkaClient::waker).collect();
    let stopper = Stopper(Arc::new(Inner { stop: AtomicBool::new(false), wakers: wakers.clone(), running: AtomicUsize::new(n_workers) }));
    tracing::info!(
        shards = checked.shards,
        workers = n_workers,
        group = config.kafka.group,
        instance = config.kafka.instance,
        set = %plan.workspace().hash,
        "started"
    );
    // As of no instant yet: a set is put in force in place of another only once the topic was read after the shard was taken over.
    let shelf = Arc::new(Shelf::new(News { plan: plan.clone(), as_of: Timestamp::MIN }, n_workers));
    let surroundings = Surroundings {
        settings: client.clone(),
        admin,
        topic: names.definitions.clone(),
        clock: Arc::new(SystemClock),
        wakers: wakers.clone(),
        view: view.clone(),
        metrics: metrics.clone(),
    };
    // The demo's definitions are its own.
    let reader = if mock { None } else { Some(Reader::start(&shelf, surroundings).map_err(Error::System)?) };
    let (previewer, questions) = Previewer::new(wakers, view.clone());
    let mut workers = Vec::with_capacity(n_workers);
    for ((worker, kafka_client), questions) in clients.into_iter().enumerate().zip(questions) {
        let settings = settings(&config, &client, &plan, worker, &checked);
        let reports = Reports::new(worker, view.clone(), metrics.clone(), observer.clone());
        let ends = stopper.clone();
        let around = worker::Around { number: worker, shelf: shelf.clone(), questions };
        let run = move || {
            // A worker that ends, by a fault or by a panic, takes the process with it: another life restores what it owned.
            let _ended = Ended(ends.clone());
            worker::run(kafka_client, settings, reports, &around, &ends.0.stop)
        };
        let thread = std::thread::Builder::new().name(format!("worker-{worker}")).spawn(run);
        match thread {
            Ok(thread) => workers.push(thread),
            Err(e) => {
                stopper.stop();
                return Err(Error::System(e));
            }
        }
    }
    Ok(Handle { view, stopper, shards: checked.shards, workers, previewer, _reader: reader })
}

struct Ended(Stopper);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, Ordering::Release);
        self.0.stop();
    }
}

fn settings(config: &Config, client: &kafka::Settings, plan: &Arc<Plan>, worker: usize, checked: &Checked) -> Settings {
    let input = |i: &config::Input| InputSettings {
        topic: i.topic.as_str().into(),
        format: match i.format {
            config::Format::Json => Format::Json,
            config::Format::Protobuf => Format::Protobuf,
        },
        partitioner: i.partitioner,
        partitions: checked.shards,
    };
    let inputs = config.inputs.iter().map(input).collect();
    let mut settings = Settings::new(&client.transactional_id(worker), inputs, plan.clone());
    settings.source = format!("/segmentd/{}", config.kafka.group);
    settings.engine = config.engine.settings.clone();
    settings.unknown_events = config.engine.unknown_events;
    settings.wrong_type = config.engine.wrong_type;
    settings.clock_guard = config.engine.clock_guard;
    settings.commit_interval = config.engine.commit_interval;
    settings.batch_records = config.engine.batch_records;
    settings.batch_bytes = config.engine.batch_bytes;
    settings.dead_letter_bytes = checked.dead_letter_bytes;
    settings
}

/// Refuses inputs of which more than 1 % of the newest records of a partition belong elsewhere: every such customer would be split or
/// end in the dead letters.
fn check_placement(client: &kafka::Settings, admin: &Admin, names: &TopicNames, config: &Config, partitions: u32) -> Result<(), Error> {
    if partitions == 1 || config.inputs.iter().all(|i| i.partitioner.is_none()) {
        return Ok(());
    }
    let mut seen = vec![vec![(0usize, 0usize); partitions as usize]; config.inputs.len()];
    kafka::newest_keys(client, admin, names, partitions, SAMPLE, |input: InputIndex, partition, key| {
        if let Some(partitioner) = config.inputs[input.at()].partitioner {
            let (looked_at, misplaced) = &mut seen[input.at()][partition as usize];
            *looked_at += 1;
            *misplaced += usize::from(key.is_none_or(|key| partitioner.partition(key, partitions) != partition));
        }
    })?;
    for (input, partitions) in config.inputs.iter().zip(seen) {
        for (partition, (looked_at, misplaced)) in partitions.into_iter().enumerate() {
            if misplaced * 100 > looked_at {
                return Err(Error::Misplaced {
                    topic: input.topic.clone(),
                    partition: partition as u32,
                    misplaced,
                    looked_at,
                    partitioner: input.partitioner.map_or("none", |p| p.word()),
                });
            }
        }
    }
    Ok(())
}
