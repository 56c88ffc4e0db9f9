//! One script through the engine, in one of four ways that must all give the same changes.
//!
//! Records become the JSON of an input topic and go through the decoder of the wire, so that values are taken and refused here as in the
//! service. The simulated clock is the engine's own: arrivals move it, and `clock` is the idle move of a log that is read to its end.

use std::sync::Arc;

use super::script::{Line, RecordStep, Step};
use crate::engine::batch::Batch;
use crate::engine::output::{DeadLetter, Outputs, Published};
use crate::engine::{Engine, Settings};
use crate::ids::{InputIndex, Position};
use crate::plan::Plan;
use crate::time::Timestamp;
use crate::wire::json::Decoder;
use crate::wire::{DecodeOptions, RawRecord, WrongType};

/// How a file is run (LANGUAGE.md 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    RecordByRecord,
    /// All records in one batch per `clock` and `expect`.
    Batches,
    /// A snapshot taken and restored after every record.
    Reloads,
    /// The batches and clocks of a run, applied to a fresh engine.
    Replay,
}

impl Way {
    pub const ALL: [Way; 4] = [Way::RecordByRecord, Way::Batches, Way::Reloads, Way::Replay];

    pub fn words(self) -> &'static str {
        match self {
            Way::RecordByRecord => "record by record",
            Way::Batches => "all records in one batch",
            Way::Reloads => "saved and loaded after every record",
            Way::Replay => "replayed from the journal",
        }
    }
}

/// What the journal of a run holds: enough to do it again.
enum Entry {
    Batch {
        batch: Batch,
        idle_until: Option<Timestamp>,
    },
    Settings(Settings),
    /// Another set, the activation clock, and which one it is.
    Plan(Arc<Plan>, Timestamp, u64),
}

/// An engine that is driven by script steps.
pub struct Run {
    way: Way,
    /// The sets of the script, the first one first.
    plans: Vec<Arc<Plan>>,
    /// Which of them is in force.
    in_force: usize,
    /// How far the script's own clock has come: beyond the engine's where an idle log moved nothing.
    now: Timestamp,
    settings: Settings,
    options: DecodeOptions,
    decoder: Decoder,
    engine: Engine,
    batch: Batch,
    /// Records so far: the offset of the next one.
    n_records: i64,
    journal: Vec<Entry>,
    /// In the order in which they came out.
    pub changes: Vec<Published>,
    pub dead_letters: Vec<DeadLetter>,
}

impl Run {
    /// **Shape:** one plan and one more for each `define` of the script.
    pub fn new(plans: Vec<Arc<Plan>>, way: Way) -> Run {
        // Small steps, so that snapshots and records fall into the middle of scans.
        let (settings, options) = (Settings { scan_customers: 1, ..Settings::default() }, DecodeOptions::strict());
        Run {
            way,
            decoder: Decoder::new(plans[0].schema().clone(), options.clone()),
            engine: Engine::new(plans[0].clone(), settings.clone()),
            plans,
            in_force: 0,
            now: Timestamp::MIN,
            settings,
            options,
            batch: Batch::default(),
            n_records: 0,
            journal: Vec::new(),
            changes: Vec::new(),
            dead_letters: Vec::new(),
        }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Does one step, `expect` lines included: they end a batch.
    ///
    /// **Errors:** what this version cannot do, in words.
    pub fn step(&mut self, line: &Line) -> Result<(), String> {
        match &line.step {
            Step::Record(record) => {
                self.now = self.now.max(record.at);
                self.push(record);
                match self.way {
                    Way::Batches => {}
                    Way::RecordByRecord | Way::Replay => self.apply(None),
                    Way::Reloads => {
                        self.apply(None);
                        self.reload()?;
                    }
                }
                Ok(())
            }
            Step::Clock(t) => {
                self.now = self.now.max(*t);
                self.apply(Some(*t));
                if self.way == Way::Reloads { self.reload() } else { Ok(()) }
            }
            Step::Set { name, value } => {
                self.flush();
                self.set(name, value)
            }
            Step::Define(_) => {
                self.flush();
                self.define()
            }
            Step::Expect(_) => {
                self.flush();
                self.finish_scan()
            }
        }
    }

    /// Ends the run. In the replaying way this is where the second engine does it all again.
    ///
    /// **Errors:** how the replay differs.
    pub fn finish(&mut self) -> Result<(), String> {
        self.flush();
        self.finish_scan()?;
        if self.way != Way::Replay {
            return Ok(());
        }
        let mut again = Engine::new(self.plans[0].clone(), Settings { scan_customers: 1, ..Settings::default() });
        let mut outputs = Outputs::default();
        for entry in &self.journal {
            match entry {
                Entry::Batch { batch, idle_until } => {
                    again.apply(batch, *idle_until, &mut outputs);
                }
                Entry::Settings(settings) => again = reloaded(&again, &self.plans, settings)?,
                Entry::Plan(plan, at, number) => {
                    again.activate(plan.clone(), *at, *number).map_err(|e| e.to_string())?;
                }
            }
        }
        if outputs.changes != self.changes {
            let at = outputs.changes.iter().zip(&self.changes).take_while(|(a, b)| a == b).count();
            let show = |p: Option<&Published>| p.map_or("nothing".to_string(), |p| format!("{:?}", p.change));
            return Err(format!(
                "change {} differs\nlive:     {}\nreplayed: {}",
                at + 1,
                show(self.changes.get(at)),
                show(outputs.changes.get(at))
            ));
        }
        if outputs.dead_letters != self.dead_letters {
            return Err("the dead letters differ".into());
        }
        if (again.digest(), again.clock()) != (self.engine.digest(), self.engine.clock()) {
            return Err("the state after the replay differs from the state before it".into());
        }
        Ok(())
    }

    /// Puts the next set in force. Its scan goes on with the records that follow; only the batching way has it done at once.
    fn define(&mut self) -> Result<(), String> {
        self.finish_scan()?;
        self.in_force += 1;
        let plan = self.plans[self.in_force].clone();
        let (at, number) = (self.now.max(self.engine.clock()), self.in_force as u64);
        self.engine.activate(plan.clone(), at, number).map_err(|e| e.to_string())?;
        self.decoder = Decoder::new(plan.schema().clone(), self.options.clone());
        self.journal.push(Entry::Plan(plan, at, number));
        match self.way {
            Way::Batches => self.finish_scan(),
            Way::Reloads => self.reload(),
            Way::RecordByRecord | Way::Replay => Ok(()),
        }
    }

    /// Brings the set in force to every customer.
    fn finish_scan(&mut self) -> Result<(), String> {
        while self.engine.is_activating() {
            self.apply(None);
            if self.way == Way::Reloads {
                self.reload()?;
            }
        }
        Ok(())
    }

    fn push(&mut self, record: &RecordStep) {
        let position = Position { input: InputIndex(0), partition: 0, offset: self.n_records };
        self.n_records += 1;
        let value = record.to_json();
        let raw = RawRecord { position, arrival: record.at, key: None, value: Some(value.as_bytes()) };
        self.decoder.decode(&raw, &mut self.batch);
    }

    fn flush(&mut self) {
        if !self.batch.records.is_empty() {
            self.apply(None);
        }
    }

    fn apply(&mut self, idle_until: Option<Timestamp>) {
        let mut outputs = Outputs::default();
        loop {
            let batch = std::mem::take(&mut self.batch);
            let applied = self.engine.apply(&batch, idle_until, &mut outputs);
            // As the journal has it: an idle move counts only as far as it moved the clock.
            self.journal.push(Entry::Batch { batch, idle_until: idle_until.map(|t| t.min(applied.clock)) });
            if applied.cursor.is_none() {
                break;
            }
        }
        self.changes.append(&mut outputs.changes);
        self.dead_letters.append(&mut outputs.dead_letters);
    }

    fn reload(&mut self) -> Result<(), String> {
        self.engine = reloaded(&self.engine, &self.plans, &self.settings)?;
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let duration = || super::script::parse_duration(value).ok_or_else(|| format!("`{value}` is no duration"));
        match name {
            "max_age" => self.settings.max_age = if value == "off" { None } else { Some(duration()?) },
            "max_future_skew" => self.settings.max_future_skew = duration()?,
            "reorder_buffer" => self.settings.reorder_buffer = duration()?,
            "duplicate_window" => self.settings.duplicate_window = duration()?,
            "session_gap" => self.settings.session_gap = Some(duration()?),
            "exact_entries" => {
                self.settings.exact_entries = value.parse().map_err(|_| format!("`{value}` is no number"))?;
            }
            "wrong_type" => {
                self.options.wrong_type = match value {
                    "dead-letter" => WrongType::DeadLetter,
                    "unknown" => WrongType::Unknown,
                    _ => return Err(format!("`{value}`: wrong_type is `dead-letter` or `unknown`")),
                };
                self.decoder = Decoder::new(self.plans[self.in_force].schema().clone(), self.options.clone());
                return Ok(());
            }
            _ => {
                return Err(format!(
                    "unknown setting `{name}`; settings are max_age, max_future_skew, reorder_buffer, duplicate_window, session_gap, \
                     exact_entries, wrong_type"
                ));
            }
        }
        self.journal.push(Entry::Settings(self.settings.clone()));
        self.reload()
    }
}

fn reloaded(engine: &Engine, plans: &[Arc<Plan>], settings: &Settings) -> Result<Engine, String> {
    let mut bytes = Vec::new();
    engine.save(&mut bytes);
    let cannot = |e| format!("a saved engine cannot be loaded: {e}");
    let sets = Engine::sets_of(&bytes).map_err(cannot)?;
    let plan = |edition| plans.iter().find(|plan| plan.edition() == edition).cloned();
    let now = plan(sets.now).ok_or("a saved engine is of another set")?;
    let loaded = Engine::load_during_scan(now, sets.before.and_then(plan), settings.clone(), &bytes).map_err(cannot)?;
    if loaded.digest() != engine.digest() {
        return Err("an engine that was saved and loaded has another digest".into());
    }
    Ok(loaded)
}
