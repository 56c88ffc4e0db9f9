//! Asks for high watermarks on a thread of its own, many partitions in one request: the proof that a log is read to its end.
//!
//! The answer holds for the moment at which the question was *sent*: a record appended later is not in it. So every answer carries the
//! wall clock read before sending, and questions that wait while one is on its way are joined into the next, never answered by it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::producer::{BaseProducer, Producer};

use super::native::Bell;
use super::raw::{self, End};
use super::settings::{Context, Role, Settings};
use super::{Error, admin::leader_is_moving};
use crate::pipeline::{LaneId, Mark};
use crate::time::{Clock, Timestamp};

/// Longest wait for an answer; a broker that is slower gives no proof, and the clocks that need it stand.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// For how long partitions are asked for one by one after an answer for all failed: one broker that hangs must not hold back the others'.
const APART_FOR: Duration = Duration::from_secs(10);
/// Longest wait for one partition then.
const APART_WAIT: Duration = Duration::from_millis(100);

/// Whose watermark is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    pub lane: LaneId,
    pub topic: Arc<str>,
    pub partition: i32,
}

/// The handle on the thread.
pub(super) struct Watermarks {
    questions: Option<Sender<Vec<Wanted>>>,
    answers: Receiver<Vec<Mark>>,
    thread: Option<JoinHandle<()>>,
}

impl Watermarks {
    /// Starts the thread with a client of its own. `clock`: the wall clock.
    pub(super) fn start(settings: &Settings, bell: &Arc<Bell>, clock: Arc<dyn Clock>) -> Result<Watermarks, Error> {
        let config: ClientConfig = settings.config(Role::Questions);
        let client: BaseProducer<Context> = BaseProducer::from_config_and_context(&config, Context).map_err(Error::configuration)?;
        let (questions, inbox) = channel::<Vec<Wanted>>();
        let (outbox, answers) = channel();
        let (bell, mock) = (bell.clone(), settings.mock);
        let run = move || {
            let mut apart: Option<Instant> = None;
            while let Ok(first) = inbox.recv() {
                let mut wanted: BTreeSet<Wanted> = first.into_iter().collect();
                while let Ok(more) = inbox.try_recv() {
                    wanted.extend(more);
                }
                let wanted: Vec<Wanted> = wanted.into_iter().collect();
                let asked_at = clock.now();
                let marks = if mock || apart.is_some_and(|since| since.elapsed() < APART_FOR) {
                    wanted.iter().filter_map(|w| ask_one(&client, w, clock.as_ref())).collect()
                } else {
                    let marks = ask(&client, &wanted, asked_at);
                    apart = marks.is_none().then(Instant::now);
                    marks.unwrap_or_default()
                };
                client.poll(Duration::ZERO);
                // An empty answer is an answer too: whoever waits may ask again.
                if outbox.send(marks).is_err() {
                    return;
                }
                bell.ring();
            }
        };
        let thread = std::thread::Builder::new().name("watermarks".into()).spawn(run);
        let thread = thread.map_err(|e| Error::Thread { what: "watermarks", source: e })?;
        Ok(Watermarks { questions: Some(questions), answers, thread: Some(thread) })
    }

    /// Asks; the bell rings when the answer is there.
    pub(super) fn ask(&self, partitions: Vec<Wanted>) {
        if let Some(questions) = &self.questions {
            // The thread ends only after this handle.
            let _ = questions.send(partitions);
        }
    }

    /// The next answer that has come. It may lack partitions whose leader was moving or did not answer.
    pub(super) fn answer(&self) -> Option<Vec<Mark>> {
        self.answers.try_recv().ok()
    }
}

impl Drop for Watermarks {
    fn drop(&mut self) {
        self.questions = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// `None`: no answer at all.
fn ask(client: &BaseProducer<Context>, wanted: &[Wanted], asked_at: Timestamp) -> Option<Vec<Mark>> {
    let partitions: Vec<(&str, i32)> = wanted.iter().map(|w| (&*w.topic, w.partition)).collect();
    match raw::list_offsets(client.client(), &partitions, End::HighWatermark, ANSWER_WAIT) {
        Err((code, words)) => {
            tracing::debug!(?code, words, "no watermarks: the clock stands");
            None
        }
        Ok(answers) => {
            let mut marks = Vec::with_capacity(wanted.len());
            for (w, answer) in wanted.iter().zip(answers) {
                match answer {
                    Ok(high) => marks.push(Mark { lane: w.lane, high, asked_at }),
                    Err(code) if leader_is_moving(code) => {
                        tracing::debug!(?code, topic = %w.topic, partition = w.partition, "no watermark")
                    }
                    Err(code) => tracing::warn!(?code, topic = %w.topic, partition = w.partition, "no watermark: the clock stands"),
                }
            }
            Some(marks)
        }
    }
}

/// One partition by itself: the mock cluster's only way, and a way around a broker that hangs.
fn ask_one(client: &BaseProducer<Context>, wanted: &Wanted, clock: &dyn Clock) -> Option<Mark> {
    let asked_at = clock.now();
    let (_, high) = client.client().fetch_watermarks(&wanted.topic, wanted.partition, APART_WAIT).ok()?;
    Some(Mark { lane: wanted.lane, high, asked_at })
}
