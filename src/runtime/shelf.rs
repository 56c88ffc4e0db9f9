//! The thread that follows the definitions topic: it tells every worker of the newest set and finds the ones that a restore asks for.
//!
//! Compiling a large set takes seconds, so no worker does it: a worker looks at a counter between its steps, and at the shelf where it has
//! moved. Must never tell a set as the newest that was not the topic's end at an instant after [`News::as_of`]: an older set put in force in
//! its place would undo what another instance did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::View;
use super::definitions::{Databases, newest_of};
use crate::ids::{Edition, SetHash};
use crate::kafka::{self, Admin, Waker};
use crate::plan::Plan;
use crate::telemetry::Metrics;
use crate::time::{Clock, Timestamp};

/// How often the topic is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the same trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// A plan that was asked for, or why it cannot be had.
type Found = (Edition, Result<Arc<Plan>, String>);

/// The newest set that this program can read.
#[derive(Clone)]
pub(super) struct News {
    pub plan: Arc<Plan>,
    /// The topic was read to the end that it had at a later instant than this.
    pub as_of: Timestamp,
}

/// What workers look at.
pub(super) struct Shelf {
    state: Mutex<State>,
    ask: Condvar,
    /// Counts what is new in `state`.
    version: AtomicU64,
}

struct State {
    news: News,
    /// By worker.
    wanted: Vec<BTreeSet<Edition>>,
    found: Vec<Vec<Found>>,
    stop: bool,
}

impl Shelf {
    /// `news`: what was read before any worker started.
    pub(super) fn new(news: News, workers: usize) -> Shelf {
        let state = State { news, wanted: vec![BTreeSet::new(); workers], found: (0..workers).map(|_| Vec::new()).collect(), stop: false };
        Shelf { state: Mutex::new(state), ask: Condvar::new(), version: AtomicU64::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves whenever there is something new.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The newest set, and what was found for a worker since it asked.
    pub(super) fn take(&self, worker: usize) -> (News, Vec<Found>) {
        let mut state = self.state();
        (state.news.clone(), std::mem::take(&mut state.found[worker]))
    }

    /// Asks for plans; the answers come by [`Shelf::take`].
    pub(super) fn want(&self, worker: usize, editions: Vec<Edition>) {
        if !editions.is_empty() {
            self.state().wanted[worker].extend(editions);
            self.ask.notify_all();
        }
    }
}

/// The running thread; ends when dropped.
pub(super) struct Reader {
    shelf: Arc<Shelf>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread works with.
pub(super) struct Surroundings {
    pub settings: kafka::Settings,
    pub admin: Admin,
    pub topic: String,
    pub clock: Arc<dyn Clock>,
    pub wakers: Vec<Waker>,
    pub view: Arc<View>,
    pub metrics: Metrics,
}

impl Reader {
    /// **Errors:** the operating system gives no thread.
    pub(super) fn start(shelf: &Arc<Shelf>, surroundings: Surroundings) -> Result<Reader, std::io::Error> {
        let mut thread = Thread {
            shelf: shelf.clone(),
            around: surroundings,
            high: None,
            told: None,
            refused: Vec::new(),
            databases: Databases::default(),
        };
        let thread = std::thread::Builder::new().name("definitions".into()).spawn(move || thread.run())?;
        Ok(Reader { shelf: shelf.clone(), thread: Some(thread) })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shelf.state().stop = true;
        self.shelf.ask.notify_all();
        // A question to a broker that is away takes its time; nobody waits for it.
        if let Some(thread) = self.thread.take()
            && thread.is_finished()
        {
            let _ = thread.join();
        }
    }
}

struct Thread {
    shelf: Arc<Shelf>,
    around: Surroundings,
    /// The end of the topic that was read last.
    high: Option<i64>,
    told: Option<Instant>,
    /// Sets that were told to be unreadable.
    refused: Vec<SetHash>,
    databases: Databases,
}

impl Thread {
    fn run(&mut self) {
        loop {
            let wanted = {
                let mut state = self.shelf.state();
                if state.wanted.iter().all(BTreeSet::is_empty) && !state.stop {
                    let waited = self.shelf.ask.wait_timeout(state, LOOK_EVERY);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                if state.stop {
                    return;
                }
                state.wanted.clone()
            };
            if let Err(error) = self.look(&wanted) {
                if self.told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                    self.told = Some(Instant::now());
                    tracing::warn!(%error, topic = self.around.topic, "the definitions cannot be looked at; what is in force stays");
                }
                // What is wanted is asked for again, after a pause.
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }

    fn look(&mut self, wanted: &[BTreeSet<Edition>]) -> Result<(), kafka::Error> {
        let as_of = self.around.clock.now();
        let (_, high) = self.around.admin.bounds(&[(&self.around.topic, 0)])?[0];
        let mut changed = false;
        if self.high != Some(high) || wanted.iter().any(|w| !w.is_empty()) {
            // Rare, so all of it is read again; what a set is called by stands in the first record of its hash.
            let stored = kafka::definitions::read(&self.around.settings, &self.around.admin, &self.around.topic)?;
            let before = self.shelf.state().news.plan.clone();
            let newest = if self.high == Some(high) { None } else { newest_of(&stored.sets) };
            if let Some((workspace, refused)) = newest {
                self.around.metrics.definitions_refused(!refused.is_empty());
                for set in refused.iter().filter(|set| !self.refused.contains(set)) {
                    tracing::error!(%set, in_force = %workspace.hash, "a new set of definitions cannot be read by this version of segmentd: what is in force stays");
                }
                self.refused = refused;
                if workspace.hash != before.workspace().hash {
                    tracing::info!(set = %workspace.hash, definitions = workspace.definitions.len(), "a new set of definitions");
                    self.around.view.define(&workspace);
                    let plan = Arc::new(Plan::compile(Arc::new(workspace)));
                    self.shelf.state().news.plan = plan;
                    changed = true;
                }
            }
            let mut plans: BTreeMap<&Edition, Result<Arc<Plan>, String>> = BTreeMap::new();
            for edition in wanted.iter().flatten() {
                plans.entry(edition).or_insert_with(|| match before.edition() == *edition {
                    true => Ok(before.clone()),
                    false => self.databases.plan(&stored, edition),
                });
            }
            let mut state = self.shelf.state();
            for (worker, editions) in wanted.iter().enumerate() {
                for edition in editions {
                    state.wanted[worker].remove(edition);
                    state.found[worker].push((edition.clone(), plans[edition].clone()));
                    changed = true;
                }
            }
            self.high = Some(high);
        }
        self.shelf.state().news.as_of = as_of;
        self.shelf.version.fetch_add(1, Ordering::Release);
        if changed {
            self.around.wakers.iter().for_each(Waker::wake);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::mock::MockBroker;
    use crate::lang::{self, SourceFile, Workspace};
    use crate::runtime::{SystemClock, definitions};

    fn compiled(when: &str) -> (Vec<SourceFile>, Workspace) {
        let files = vec![SourceFile::new("a.seg", format!("event visit is activity {{ }}\nsegment seen {{ when {when} }}\n"))];
        let workspace = lang::compile(&files).workspace.expect("compiles");
        (files, workspace)
    }

    /// What the shelf has once `done` says so.
    fn await_news(shelf: &Shelf, done: impl Fn(&News, &[Found]) -> bool) -> Vec<Found> {
        let started = Instant::now();
        let mut all = Vec::new();
        loop {
            let (news, mut found) = shelf.take(0);
            all.append(&mut found);
            if done(&news, &all) {
                return all;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "it does not come: {} {all:?}", news.plan.workspace().hash);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn the_newest_set_is_told_and_older_ones_are_found_by_their_hash() {
        let broker = MockBroker::start().expect("starts");
        broker.create_topic("sets", 1).expect("made");
        let settings =
            kafka::Settings { brokers: broker.brokers().into(), group: "g".into(), instance: "i".into(), client: Vec::new(), mock: true };
        let publish = |(files, workspace): &(Vec<SourceFile>, Workspace)| {
            let record = definitions::encode(files, workspace);
            kafka::definitions::publish(&settings, "sets", workspace.hash, &record).expect("published");
        };
        let (one, two) = (compiled("any visit ever"), compiled("at least 2 visit ever"));
        publish(&one);
        let plan = Arc::new(Plan::compile(Arc::new(compiled("any visit ever").1)));
        let shelf = Arc::new(Shelf::new(News { plan, as_of: Timestamp::MIN }, 1));
        let surroundings = Surroundings {
            settings: settings.clone(),
            admin: Admin::connect(&settings).expect("connects"),
            topic: "sets".into(),
            clock: Arc::new(SystemClock),
            wakers: Vec::new(),
            view: Arc::new(View::new(&one.1)),
            metrics: Metrics::new(&[], &[]),
        };
        let _reader = Reader::start(&shelf, surroundings).expect("starts");
        await_news(&shelf, |news, _| news.as_of > Timestamp::MIN && news.plan.workspace().hash == one.1.hash);
        let published_at = SystemClock.now();
        publish(&two);
        await_news(&shelf, |news, _| news.plan.workspace().hash == two.1.hash && news.as_of >= published_at);
        // A set that no program can read changes nothing.
        kafka::definitions::publish(&settings, "sets", SetHash([9; 16]), b"noise").expect("published");
        let edition = |set| Edition { set, zones: crate::model::ZoneDatabase::bundled().version().into() };
        shelf.want(0, [one.1.hash, SetHash([7; 16]), SetHash([9; 16])].map(edition).to_vec());
        let found = await_news(&shelf, |news, found| news.plan.workspace().hash == two.1.hash && found.len() == 3);
        let of = |set: SetHash| &found.iter().find(|(found, _)| found.set == set).expect("answered").1;
        assert_eq!(of(one.1.hash).as_ref().expect("found").workspace().hash, one.1.hash);
        assert!(of(SetHash([7; 16])).as_ref().is_err_and(|why| why.contains("lacks")));
        assert!(of(SetHash([9; 16])).as_ref().is_err_and(|why| why.contains("does not read")));
    }
}
