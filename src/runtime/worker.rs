//! The loop of one worker thread: step, report, sleep until the client has news or something is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::preview::Questions;
use super::shelf::Shelf;
use super::sink::Reports;
use crate::kafka::KafkaClient;
use crate::pipeline::{Client, Fault, Next, Settings, Worker};

/// How often the figures of the shards are handed on.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// How long an orderly end may take; with the broker away nothing can be committed, and the next life decides it again.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// What a worker looks at between its steps.
pub(super) struct Around {
    pub number: usize,
    pub shelf: Arc<Shelf>,
    pub questions: Questions,
}

impl Around {
    /// Hands on what is new of the definitions, and asks for what a restore needs.
    fn definitions(&self, worker: &mut Worker, seen: &mut u64) {
        let version = self.shelf.version();
        if version != *seen {
            *seen = version;
            let (news, found) = self.shelf.take(self.number);
            worker.aim(news.plan, news.as_of);
            found.into_iter().for_each(|(edition, plan)| worker.learn(edition, plan));
        }
        self.shelf.want(self.number, worker.wanted());
    }
}

/// Runs until everything is committed after `stop` was set, or until the worker is at its end.
pub(super) fn run(
    mut client: KafkaClient,
    settings: Settings,
    mut reports: Reports,
    around: &Around,
    stop: &AtomicBool,
) -> Result<(), Fault> {
    let mut seen = 0;
    let mut worker = Worker::new(Arc::new(settings));
    let mut reported: Option<Instant> = None;
    let mut draining: Option<Instant> = None;
    loop {
        if stop.load(Ordering::Relaxed) && draining.is_none() {
            draining = Some(Instant::now());
            worker.drain(&mut client);
        }
        if draining.is_some_and(|since| since.elapsed() > DRAIN_MAX) {
            return Err(Fault::Client("what is decided could not be committed before the end; the next life decides it again".into()));
        }
        around.definitions(&mut worker, &mut seen);
        around.questions.answer(&worker);
        reports.step();
        let next = worker.step(&mut client, &mut reports)?;
        if reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
            reported = Some(Instant::now());
            reports.status(worker.status(&client));
        }
        match next {
            Next::Now => {}
            Next::At(instant) => {
                let left = (instant - client.now()).0.max(0) as u64;
                client.wait(Duration::from_millis(left).min(REPORT_EVERY));
            }
            Next::Drained => return Ok(()),
        }
    }
}
