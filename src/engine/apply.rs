//! The way in: records in their order, each with the timers that its customer owes before it, then everybody else's due timers.

use super::batch::{Batch, Body, Record};
use super::consent::{self, Consent};
use super::customer;
use super::dedup::Seen;
use super::feed::Placed;
use super::machine::{self, RecordStep, Step};
use super::output::{Applied, DeadLetter, HerdCursor, Outputs};
use super::{Counts, Engine};
use crate::model::DeadLetterReason;
use crate::time::{Millis, Timestamp};

/// How far ahead of a record its customer's index line is asked for, two thirds of that ahead the place of its bytes, and one third ahead
/// the bytes.
const PREFETCH: usize = 18;

/// When what could not be tidied up yet is looked at again.
const TIDY_AGAIN: Millis = Millis::HOUR;

impl Engine {
    /// Applies the records in order, then fires timers: those before the clock and, with `idle_until`, those up to and including it.
    ///
    /// Per customer nothing depends on how records fall into batches (R40): before a record is applied the timers that its customer
    /// owes fire, and those of others fire at the end in the order (deadline, customer hash) as far as the output budget goes. Where it
    /// ends them the caller applies again, with the same `idle_until`: the engine remembers no herd.
    pub fn apply(&mut self, batch: &Batch, idle_until: Option<Timestamp>, outputs: &mut Outputs) -> Applied {
        for (i, record) in batch.records.iter().enumerate() {
            if let Some(ahead) = batch.records.get(i + PREFETCH) {
                self.store.prefetch(ahead.customer_hash);
            }
            if let Some(ahead) = batch.records.get(i + PREFETCH * 2 / 3) {
                self.store.prefetch_place(ahead.customer_hash);
            }
            if let Some(ahead) = batch.records.get(i + PREFETCH / 3) {
                self.store.prefetch_cell(ahead.customer_hash);
            }
            self.record(batch, record, outputs);
        }
        let scanned = self.scan(outputs);
        let horizon = (self.clock - Millis(1)).max(idle_until.unwrap_or(Timestamp::MIN));
        let (cursor, turned) = self.fire(horizon, outputs);
        let store = &self.store;
        self.timers.tidy(self.armed, 2 * batch.records.len() + 256, |deadline, slot| customer::armed(store.get(slot)) == deadline);
        let changed = turned || scanned || !batch.records.is_empty();
        Applied { clock: self.clock, cursor, changed, scan: self.scan_cursor() }
    }

    fn record(&mut self, batch: &Batch, record: &Record, out: &mut Outputs) {
        out.counts.records += 1;
        self.clock = self.clock.max(record.arrival);
        let t = self.clock;
        let settings = &self.program.settings;
        let ts = record.ts.unwrap_or(record.arrival);
        match record.body {
            Body::Rejected { reason, detail } => return dead_letter(record, reason, batch.text(detail), out),
            Body::Ignored => {
                out.counts.ignored_events += 1;
                return;
            }
            _ if ts - record.arrival > settings.max_future_skew => {
                let detail = format!("ts is {} after the arrival, more than {}", ts - record.arrival, settings.max_future_skew);
                return dead_letter(record, DeadLetterReason::Future, &detail, out);
            }
            _ => {}
        }
        let ts = ts.min(record.arrival);
        // Events only: other records are settled by S18, however old (a profile carries the instant of its last edit).
        let is_event = matches!(record.body, Body::Event { .. });
        if let Some(max) = settings.max_age.filter(|max| is_event && t - ts > *max) {
            let detail = format!("ts is {} before the clock, more than {max}", t - ts);
            return dead_letter(record, DeadLetterReason::TooLate, &detail, out);
        }
        let id = batch.text(record.customer);
        let slot = self.store.find(record.customer_hash, id);
        match slot {
            Some(slot) => {
                let (id, bytes) = self.store.both(slot);
                if self.is_behind(bytes) {
                    self.migrate(slot, out);
                } else {
                    taken(self.work.take(slot, id, bytes), id);
                }
                self.owed(t, out);
            }
            None => {
                out.counts.new_customers += 1;
                self.work.begin(id, ts);
                self.work.customer.generation = self.generation;
            }
        }
        let work = &mut self.work;
        let program = &self.program;
        if let Body::Event { event, .. } = record.body {
            out.counts.events += 1;
            if let Some(event_id) = record.id {
                let window = program.plan.workspace().catalogue.events[event.at()].dedup.unwrap_or(program.settings.duplicate_window);
                let hash = xxhash_rust::xxh3::xxh3_64(batch.text(event_id).as_bytes());
                match work.customer.dedup.check(hash, record.body_hash, t, window) {
                    Seen::New { evicted } => out.counts.ids_evicted += u64::from(evicted),
                    seen => {
                        out.counts.duplicates += 1;
                        out.counts.conflicts += u64::from(seen == Seen::Conflict);
                        return self.put_back(slot, record.customer_hash, Timestamp::MIN);
                    }
                }
            }
        }
        // R2: what would turn at this very millisecond without the record is left to its timers; all that is due now is looked at again
        // with the record, which may be what it owes its turn to.
        self.without.clear();
        self.agenda.clear();
        machine::without(program, work, &mut self.agenda, t, &mut self.without);
        let in_order = slot.is_none() || ts >= work.customer.greatest;
        let placed = Placed { ts, floor: work.customer.greatest.max(ts), t, in_order };
        let agenda = &mut self.agenda;
        match record.body {
            Body::Event { event, slots } => {
                self.feeder.event(program, work, agenda, batch, (event, batch.data(slots)), placed, &mut out.counts);
            }
            Body::Traits(range) => {
                for entry in batch.traits(range) {
                    self.feeder.set_trait(program, work, agenda, batch, *entry, placed, &mut out.counts);
                }
            }
            Body::Consent { purpose, granted, until } => {
                consent::set(program, work, agenda, Consent { purpose, granted, until }, placed.ts);
            }
            Body::List { list, member } => self.feeder.set_list(program, work, agenda, (list, member), placed.ts),
            // Such a record still makes its customer known.
            Body::Nothing | Body::Ignored | Body::Rejected { .. } => {}
        }
        if slot.is_none() {
            program.initial.iter().for_each(|unit| agenda.add(*unit));
        }
        let event_id = record.id.map(|id| batch.text(id));
        let step = Step::Record(RecordStep { t, ts, in_order, position: record.position, id: event_id });
        machine::run(program, work, agenda, &self.without, step, &mut self.members, out);
        work.customer.greatest = placed.floor;
        if !work.customer.gaps.is_empty() || !work.customer.orphans.is_empty() {
            self.forget_gaps(t);
        }
        self.put_back(slot, record.customer_hash, Timestamp::MIN);
    }

    /// Reads a customer.
    pub(super) fn take(&mut self, slot: u32) {
        let (id, bytes) = self.store.both(slot);
        taken(self.work.take(slot, id, bytes), id);
    }

    /// Fires what the customer at hand owes before `t`, stepping through its deadlines.
    fn owed(&mut self, t: Timestamp, out: &mut Outputs) -> bool {
        let mut turned = false;
        loop {
            let due = self.work.customer.next_due();
            if due >= t {
                return turned;
            }
            turned |= self.deadline(due, out);
        }
    }

    /// Fires all timers of one deadline of the customer at hand.
    fn deadline(&mut self, deadline: Timestamp, out: &mut Outputs) -> bool {
        self.agenda.clear();
        for (unit, until) in &self.work.customer.deadlines {
            if *until <= deadline {
                self.agenda.add(*unit);
            }
        }
        let step = Step::Timer { deadline };
        let stepped = machine::run(&self.program, &mut self.work, &mut self.agenda, &[], step, &mut self.members, out);
        let Counts { timers_fired, timers_idle, .. } = &mut out.counts;
        *if stepped.turned { timers_fired } else { timers_idle } += 1;
        stepped.turned
    }

    /// Writes the customer at hand back, armed for its least deadline, or for when its known ids have expired but not before `tidy_from`,
    /// if that is earlier than what it is armed for.
    pub(super) fn put_back(&mut self, slot: Option<u32>, hash: u64, tidy_from: Timestamp) {
        let expiry = self.work.customer.dedup.expires().map_or(Timestamp::MAX, |at| at.max(tidy_from));
        let due = self.work.customer.next_due().min(expiry);
        let arm = due < self.work.customer.armed;
        if arm {
            self.armed += usize::from(self.work.customer.armed == Timestamp::MAX);
            self.work.customer.armed = due;
        }
        self.buffer.clear();
        self.work.encode(&self.program, &mut self.buffer, &mut self.temporary);
        let slot = match slot {
            Some(slot) => {
                self.store.replace(slot, &self.buffer);
                slot
            }
            None => self.store.insert(hash, &self.work.id, &self.buffer),
        };
        if arm {
            self.timers.arm(due, slot);
        }
    }

    /// Fires what is due up to the horizon, one customer and deadline after another. Returns where the budget ended it, and whether
    /// anything turned.
    ///
    /// The budget is looked at only after something has turned, and counts only what the timers themselves put out: so each call gets on,
    /// and where it ends does not depend on wake-ups that change nothing, nor on how much the batch's records put out. For the same reason
    /// the cursor names the timer that filled the budget and not the next one, which may be one that such a wake-up has looked at before.
    fn fire(&mut self, horizon: Timestamp, out: &mut Outputs) -> (Option<HerdCursor>, bool) {
        let start = out.bytes;
        let mut turned = false;
        loop {
            let store = &self.store;
            let Some(due) = self.timers.next_due(horizon, |slot| store.hash(slot)) else { return (None, turned) };
            if let Some(ahead) = self.timers.upcoming(PREFETCH / 3) {
                self.store.prefetch_slot(ahead);
            }
            let bytes = self.store.get(due.slot);
            if customer::armed(bytes) != due.deadline {
                continue;
            }
            if self.is_behind(bytes) {
                // The scan, or a record, sees to it first.
                continue;
            }
            self.take(due.slot);
            self.work.customer.armed = Timestamp::MAX;
            self.armed -= 1;
            let next = self.work.customer.next_due();
            let mut full = false;
            if next <= due.deadline {
                if self.deadline(next, out) {
                    turned = true;
                    full = out.bytes - start >= self.program.settings.output_budget;
                    self.clock = self.clock.max(next);
                }
                self.work.customer.dedup.prune(self.clock);
            } else {
                self.work.tidy(&self.program, self.clock);
            }
            // Ids that the clock has not passed yet, because it stood while the log was idle, are looked at again later.
            self.put_back(Some(due.slot), due.hash, due.deadline + TIDY_AGAIN);
            if full {
                return (Some(HerdCursor { deadline: next, customer_hash: due.hash }), turned);
            }
        }
    }
}

fn taken(ok: bool, id: &str) {
    assert!(ok, "state of customer {id:?} does not read back");
}

fn dead_letter(record: &Record, reason: DeadLetterReason, detail: &str, out: &mut Outputs) {
    out.bytes += crate::limits::PUBLISHED_BYTES_BASE + detail.len();
    out.dead_letters.push(DeadLetter { position: record.position, reason, detail: detail.into() });
}
