//! What became of a transaction whose end is uncertain: the log is asked, and nothing else is believed.

use std::collections::btree_map::Entry;

use super::{Asker, Commit, FlightShard, Worker};
use crate::ids::BatchNumber;
use crate::pipeline::client::{Client, CommittedOffset, Recovered};
use crate::pipeline::sink::Sink;
use crate::pipeline::stop::Stop;
use crate::time::{Millis, Timestamp};

/// Wait before an open question about an uncertain transaction is asked again.
const SETTLE_AGAIN: Millis = Millis(100);

impl Worker {
    /// Asks the log whether an uncertain transaction is in it, of a shard that is still ours and whose batch tells.
    pub(super) fn ask_to_settle<C: Client>(&mut self, client: &mut C, now: Timestamp) {
        let Commit::Settling { flight, again, .. } = &mut self.commit else {
            return;
        };
        let ours = |s: &&FlightShard| self.shards.get(&s.shard).is_some_and(|x| x.life == s.life);
        let number = flight.number;
        let waits = |s: &FlightShard| self.asked.get(&s.shard) == Some(&Asker::Settle(number));
        if now < *again || flight.shards.iter().filter(ours).any(waits) {
            return;
        }
        let tells = flight.shards.iter().filter(ours).find(|s| s.before != Some(s.batch));
        match tells.or_else(|| flight.shards.iter().find(ours)) {
            Some(one) => {
                // An older question about the shard, of an asker who is gone, is answered first.
                if let Entry::Vacant(open) = self.asked.entry(one.shard) {
                    open.insert(Asker::Settle(number));
                    client.recover(one.shard);
                }
                *again = now + SETTLE_AGAIN;
            }
            // All are somebody else's now, and what became of the transaction is theirs to find.
            None => self.commit = Commit::Free,
        }
    }

    pub(super) fn settle<C: Client, S: Sink>(&mut self, client: &mut C, sink: &mut S, answer: &Recovered, now: Timestamp) {
        let Commit::Settling { transaction, mut flight, .. } = std::mem::replace(&mut self.commit, Commit::Free) else {
            return;
        };
        let Some(one) = flight.shards.iter().find(|s| s.shard == answer.shard) else {
            self.commit = Commit::Settling { transaction, flight, again: now };
            return;
        };
        let found = match &answer.committed {
            CommittedOffset::Unstable => {
                // The broker is still writing the end of it.
                self.commit = Commit::Settling { transaction, flight, again: now + SETTLE_AGAIN };
                return;
            }
            CommittedOffset::Absent => None,
            CommittedOffset::At { metadata, .. } => Some(metadata.as_str()),
        };
        let is = |batch: Option<BatchNumber>| batch.map(|b| b.to_string()).as_deref() == found;
        if is(Some(one.batch)) {
            self.committed(sink, *transaction, flight, now);
        } else if is(one.before) {
            flight.tries += 1;
            self.commit = Commit::Again { transaction, flight, at: now };
        } else {
            // Somebody else has committed since: this shard is no longer ours, though the group has not told yet.
            let stop = Stop::ForeignCommit {
                found: found.unwrap_or("none").to_owned(),
                committed: one.before.unwrap_or_default(),
                sent: one.batch,
            };
            let (id, life) = (one.shard, one.life);
            if let Some(shard) = self.shards.get_mut(&id).filter(|s| s.life == life) {
                shard.abandon(client, stop);
                Worker::tell_stopped(shard, sink);
            }
            self.commit = Commit::Settling { transaction, flight, again: now };
            self.ask_to_settle(client, now);
        }
    }
}
