//! What a new owner of a shard has to ask, each a call that blocks for milliseconds or seconds: run on a thread of its own, one after the
//! other, so that the shards that run go on.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::native::{Bell, Native};
use super::settings::{Role, Settings};
use super::{Admin, Error, transactions};

/// Longest wait for one answer; a stable offset may have to wait for a transaction's time-out and the broker's sweep every 10 s.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// The group's committed offset of a journal partition.
    Committed { shard: u32 },
    /// First and next offset of a partition, open transactions counted.
    Bounds { shard: u32, topic: String },
    /// Take over a transactional id for a moment, which ends what its owner left open.
    EndTransaction { shard: u32, id: String },
}

/// The answer, or why there is none.
#[derive(Debug)]
pub(super) enum Answer {
    Committed { shard: u32, result: Result<Option<(i64, String)>, Error> },
    Bounds { shard: u32, topic: String, result: Result<(i64, i64), Error> },
    Ended { shard: u32, result: Result<(), Error> },
}

/// The handle on the thread.
pub(super) struct Errands {
    orders: Option<Sender<Errand>>,
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
}

impl Errands {
    /// Starts the thread with clients of its own. `journal`: the topic whose offsets the group commits.
    pub(super) fn start(settings: &Settings, journal: &str, bell: &Arc<Bell>) -> Result<Errands, Error> {
        // A bell of its own: its consumer's events wake nobody.
        let consumer = Native::new(settings, Role::Reader, &Arc::new(Bell::default()))?;
        let admin = Admin::connect(settings)?;
        let (orders, inbox) = channel::<Errand>();
        let (outbox, answers) = channel();
        let (settings, journal, bell) = (settings.clone(), journal.to_owned(), bell.clone());
        let run = move || {
            while let Ok(errand) = inbox.recv() {
                consumer.poll();
                let answer = match errand {
                    Errand::Committed { shard } => {
                        Answer::Committed { shard, result: consumer.committed(&journal, shard as i32, ANSWER_WAIT) }
                    }
                    Errand::Bounds { shard, topic } => {
                        let result = admin.bounds(&[(&topic, shard as i32)]).map(|b| b[0]);
                        Answer::Bounds { shard, topic, result }
                    }
                    Errand::EndTransaction { shard, id } => {
                        Answer::Ended { shard, result: transactions::end_transaction_of(&settings, &id, ANSWER_WAIT) }
                    }
                };
                if outbox.send(answer).is_err() {
                    return;
                }
                bell.ring();
            }
        };
        let thread = std::thread::Builder::new().name("restore".into()).spawn(run);
        let thread = thread.map_err(|e| Error::Thread { what: "restores", source: e })?;
        Ok(Errands { orders: Some(orders), answers, thread: Some(thread) })
    }

    /// Sends the thread off; the bell rings when the answer is there.
    pub(super) fn send(&self, errand: Errand) {
        if let Some(orders) = &self.orders {
            let _ = orders.send(errand);
        }
    }

    /// The next answer that has come.
    pub(super) fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

impl Drop for Errands {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
