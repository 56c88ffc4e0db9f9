//! `segmentd demo`: everything in one process. An embedded broker, a seeded shop that produces to it, the service as it runs in
//! production, a reader of the changes topic, and a page that shows what it sees.
//!
//! Nothing is faked on the way: a change on the page went from the shop through the broker, the service and the broker again. The
//! broker is the client library's mock cluster, which keeps no promises of its own; the page says so.

mod plain;
mod stats;
mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::generate::{Target, send_live};
use super::{Failure, Outcome, definitions, run};
use crate::config::{Config, Input, Secret, parse_duration};
use crate::kafka::Settings;
use crate::kafka::mock::MockBroker;
use crate::kafka::tail::Tail;
use crate::lang::{self, SourceFile};
use crate::plan::Plan;
use crate::runtime::{self, Handle, Start, SystemClock};
use crate::shop::{Shop, ShopSettings, Stream};
use crate::telemetry::log::{Lines, Log};
use crate::telemetry::{Exporter, metrics};
use crate::time::{Clock, Millis, Timestamp};
use crate::wire::encode::ChangeRecord;

use stats::{Sample, Stats};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End after this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Millis>,
    /// Equal seeds give equal shops
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Events per second
    #[arg(long, value_name = "N", default_value_t = 500.0, value_parser = super::generate::positive)]
    rate: f64,
    /// Customers that the shop has
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    customers: u32,
    /// Definitions of your own for the shop's events, instead of the samples. They stay those that it begins with: changing them while it
    /// runs, by `apply`, is for an instance of `run`
    #[arg(long, value_name = "DIR")]
    definitions: Option<PathBuf>,
    /// Plain lines, also on a terminal
    #[arg(long)]
    plain: bool,
}

/// Partitions of every topic, so shards.
const PARTITIONS: u32 = 4;

/// By how much the shop's visits are faster than people, so that one sees them come and go.
const PACE: f64 = 10.0;

/// How often the metrics are read.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// How often the page is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// How long a line of the log stays on the page.
const LOG_SHOWN: Duration = Duration::from_secs(15);

/// A change, and when the reader saw it.
type Visible = (ChangeRecord, Timestamp);

pub(super) fn run(args: &Args) -> Outcome {
    let interactive = !args.plain && std::io::IsTerminal::is_terminal(&std::io::stdout());
    let lines = Lines::default();
    let log = Log { filter: "warn".into(), ..Log::default() };
    if interactive { crate::telemetry::log::start_into(&log, &lines) } else { crate::telemetry::log::start(&log) }
        .map_err(Failure::usage)?;
    let files = match &args.definitions {
        Some(folder) => definitions::read_folder(folder)?,
        None => vec![
            SourceFile::new("catalogue.seg", include_str!("../../../examples/demo/catalogue.seg")),
            SourceFile::new("segments.seg", include_str!("../../../examples/demo/segments.seg")),
        ],
    };
    let plan = definitions::compiled(lang::compile(&files))?;
    let mut demo = Demo::start(args, files, plan)?;
    let shown = if interactive { demo.show(&lines) } else { demo.print() };
    let ended = demo.end();
    if interactive {
        // What went wrong on the way must not vanish with the page.
        lines.all().iter().filter(|l| l.contains("ERROR")).for_each(|l| eprintln!("{l}"));
    }
    shown.map_err(Failure::environment)?;
    ended?;
    plain::summary(&demo.stats, &mut std::io::stdout().lock())?;
    Ok(())
}

/// All parts, running.
struct Demo {
    exporter: Exporter,
    clock: SystemClock,
    stats: Stats,
    changes: Receiver<Visible>,
    stop: Arc<AtomicBool>,
    /// When to end by itself.
    deadline: Option<Instant>,
    service: Option<Handle>,
    shop: Option<JoinHandle<Result<u64, crate::kafka::Error>>>,
    reader: Option<JoinHandle<Result<(), crate::kafka::Error>>>,
    /// Last, so that it outlives its clients.
    _broker: MockBroker,
}

impl Demo {
    fn start(args: &Args, files: Vec<SourceFile>, plan: Arc<Plan>) -> Result<Demo, Failure> {
        let clock = SystemClock;
        let exporter = Exporter::start(None).map_err(Failure::environment)?;
        let broker = MockBroker::start().map_err(Failure::kafka)?;
        let inputs: Vec<Input> = Stream::ALL.iter().map(|s| Input::json(s.topic())).collect();
        let mut config = Config::new(broker.brokers(), inputs, "");
        config.kafka.instance = "demo".into();
        config.engine.workers = 1;
        // The mock cluster forgets by bytes and slows down with the number of batches: see `Feed::pad`.
        config.kafka.client = vec![("compression.type".into(), Secret::new("none"))];
        let names = runtime::topic_names(&config);
        for topic in names.inputs.iter().chain([&names.changes, &names.memberships, &names.journal, &names.dead_letters]) {
            broker.create_topic(topic, PARTITIONS).map_err(Failure::kafka)?;
        }
        broker.create_topic(&names.definitions, 1).map_err(Failure::kafka)?;
        let client = Settings { mock: true, ..Settings::from(&config.kafka) };

        let segments = plan
            .workspace()
            .definitions
            .iter()
            .filter(|d| definitions::has_members(d))
            .map(|d| (d.name.clone(), d.meta.name.clone().unwrap_or_else(|| d.name.clone())))
            .collect();
        let title = format!("embedded broker {}, {PARTITIONS} shards, seed {}", broker.brokers(), args.seed);
        let metrics = run::metrics(&config, &plan);
        let changes_topic = config.output.changes.clone();
        let inputs = config.inputs.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        runtime::on_stop(move || stopping.store(true, Ordering::Relaxed)).map_err(run::failure)?;
        let service = runtime::start(Start { config, plan, files, metrics, mock: true, observer: None }).map_err(run::failure)?;

        let (seen, changes) = channel();
        let mut tail = Tail::open(&client, &changes_topic, true).map_err(Failure::kafka)?;
        let stopping = stop.clone();
        let reader = spawn("reader", move || {
            while !stopping.load(Ordering::Relaxed) {
                tail.next(Duration::from_millis(50), |value| {
                    let visible = SystemClock.now();
                    match ChangeRecord::parse(value) {
                        // Nobody listens any more only when the demo ends.
                        Ok(change) => drop(seen.send((change, visible))),
                        Err(error) => tracing::error!(%error, "a record of the changes topic is no change"),
                    }
                })?;
            }
            Ok(())
        })?;
        let mut target = Target::connect(&client, &inputs).map_err(Failure::kafka)?;
        target.pad(padding(args.rate));
        let shop = ShopSettings {
            seed: args.seed,
            start: clock.now(),
            rate: args.rate,
            customers: args.customers,
            pace: PACE,
            ..ShopSettings::default()
        };
        let stopping = stop.clone();
        let shop = spawn("shop", move || send_live(&mut Shop::new(shop), &mut target, &SystemClock, &stopping, None, u64::MAX))?;
        let stats = Stats::new(title, clock.now(), segments);
        let deadline = args.duration.map(|d| Instant::now() + Duration::from_millis(d.0.max(0) as u64));
        Ok(Demo {
            exporter,
            clock,
            stats,
            changes,
            stop,
            deadline,
            service: Some(service),
            shop: Some(shop),
            reader: Some(reader),
            _broker: broker,
        })
    }

    /// Whether it is time to end: asked to, out of time, or a part has ended by itself.
    fn is_over(&self) -> bool {
        let ended = self.service.as_ref().is_none_or(Handle::is_ended)
            || self.shop.as_ref().is_none_or(JoinHandle::is_finished)
            || self.reader.as_ref().is_none_or(JoinHandle::is_finished);
        ended || self.stop.load(Ordering::Relaxed) || self.deadline.is_some_and(|d| Instant::now() >= d)
    }

    /// Takes what has come, and reads the metrics where it is time.
    fn update(&mut self, sampled: &mut Instant) {
        while let Ok((change, visible)) = self.changes.try_recv() {
            self.stats.change(change, visible);
        }
        let now = self.clock.now();
        self.stats.now = now;
        if sampled.elapsed() < SAMPLE_EVERY {
            return;
        }
        *sampled = Instant::now();
        let readings = self.exporter.readings();
        let count = |name: &str| readings.total(name).max(0.0) as u64;
        let members = readings.by_label(metrics::MEMBERS, "segment");
        let members_of = |name: &str| members.iter().find(|(n, _)| n == name).map_or(0, |(_, v)| v.max(0.0) as u64);
        let sample = Sample {
            events: count(metrics::RECORDS),
            changes: count(metrics::CHANGES),
            dead_letters: count(metrics::DEAD_LETTERS),
            customers: count(metrics::CUSTOMERS),
            armed: count(metrics::TIMERS_ARMED),
            state_bytes: count(metrics::STATE),
            lag: count(metrics::LAG),
            members: self.stats.segments.iter().map(|s| members_of(&s.name)).collect(),
        };
        self.stats.sample(now, sample);
    }

    /// The page, until it is over or somebody wants to leave.
    fn show(&mut self, lines: &Lines) -> std::io::Result<()> {
        let mut terminal = ratatui::try_init()?;
        let result = self.show_on(&mut terminal, lines);
        ratatui::restore();
        result
    }

    fn show_on(&mut self, terminal: &mut ratatui::DefaultTerminal, lines: &Lines) -> std::io::Result<()> {
        let mut sampled = Instant::now() - SAMPLE_EVERY;
        let mut foot = view::Foot::default();
        let mut held = None;
        let mut told = (lines.count(), Instant::now());
        while !self.is_over() {
            self.update(&mut sampled);
            if lines.count() != told.0 {
                told = (lines.count(), Instant::now());
                foot.log = lines.newest();
            }
            if told.1.elapsed() > LOG_SHOWN {
                foot.log = None;
            }
            foot.paused = held.is_some();
            terminal.draw(|frame| view::draw(frame, &self.stats, held.as_ref().unwrap_or(&self.stats.changes), &foot))?;
            if !event::poll(DRAW_EVERY)? {
                continue;
            }
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
            {
                match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => break,
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => break,
                    KeyCode::Char(' ') => held = if held.is_some() { None } else { Some(self.stats.changes.clone()) },
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Lines, until it is over.
    fn print(&mut self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        plain::head(&self.stats, &mut out)?;
        let mut sampled = Instant::now() - SAMPLE_EVERY;
        let mut printed = (Instant::now(), self.stats.seen);
        while !self.is_over() {
            self.update(&mut sampled);
            if printed.0.elapsed() >= Duration::from_secs(1) {
                plain::second(&self.stats, self.stats.seen - printed.1, &mut out)?;
                printed = (Instant::now(), self.stats.seen);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Ends all parts in order: the shop, the service with its last commits, the reader.
    fn end(&mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let ended = |name: &str| Failure::environment(anyhow::anyhow!("the {name} has ended by a bug"));
        let shop = self.shop.take().map_or(Ok(Ok(0)), JoinHandle::join);
        let service = match self.service.take() {
            Some(service) => {
                service.stop();
                service.wait()
            }
            None => Ok(()),
        };
        let reader = self.reader.take().map_or(Ok(Ok(())), JoinHandle::join);
        // The service first: what ails the others is then often its consequence.
        service.map_err(run::failure)?;
        shop.map_err(|_| ended("shop"))?.map_err(Failure::kafka)?;
        reader.map_err(|_| ended("reader"))?.map_err(Failure::kafka)
    }
}

/// Bytes by which a record is made larger, so that a partition of the mock cluster holds some 15 s of records and not many more.
fn padding(rate: f64) -> usize {
    const KEPT_BYTES: f64 = (5 << 20) as f64;
    const RECORD_BYTES: f64 = 260.0;
    let kept = rate / f64::from(PARTITIONS) * 15.0;
    (KEPT_BYTES / kept - RECORD_BYTES).clamp(0.0, 4_096.0) as usize
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, Failure> {
    std::thread::Builder::new().name(name.into()).spawn(work).map_err(Failure::environment)
}
