//! Administration: what topics are there, making ours, checking all, deleting ours.
//!
//! Every call has a time-out; a broker that is absent is [`Error::Unreachable`] after a bounded wait.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::raw::{self, Described, End, Failure};
use super::settings::{BROKER_WAIT, Context, Role, Settings};
use super::topics::{
    self, Checked, DEAD_LETTER_ROOM_BYTES, DEFAULT_MESSAGE_BYTES, LARGE_MESSAGE_BYTES, Problem, Problems, Purpose, Topic, TopicNames,
};
use super::{Error, block};

/// Longest wait for one administrative answer.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Longest wait for offsets, after which whoever asks may ask again.
const OFFSETS_WAIT: Duration = Duration::from_secs(5);

/// A connection for questions and for work on topics.
pub struct Admin {
    client: AdminClient<Context>,
    brokers: String,
    mock: bool,
}

/// What `create` did with one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    pub topic: String,
    pub partitions: u32,
    /// `false`: it was there already.
    pub new: bool,
}

impl Admin {
    /// Connects and waits for a first answer.
    ///
    /// **Errors:** [`Error::Refused`], [`Error::Configuration`], and [`Error::Unreachable`] after [`BROKER_WAIT`].
    pub fn connect(settings: &Settings) -> Result<Admin, Error> {
        Admin::connect_within(settings, BROKER_WAIT)
    }

    /// As [`Admin::connect`], with a wait of one's own.
    pub fn connect_within(settings: &Settings, wait: Duration) -> Result<Admin, Error> {
        settings.validate()?;
        let client = AdminClient::from_config_and_context(&settings.config(Role::Questions), Context).map_err(Error::configuration)?;
        let admin = Admin { client, brokers: settings.brokers.clone(), mock: settings.mock };
        let started = Instant::now();
        if admin.client.inner().fetch_cluster_id(wait).is_none() {
            return Err(Error::Unreachable {
                brokers: admin.brokers.clone(),
                waited_ms: started.elapsed().as_millis() as u64,
                detail: admin.client.inner().fatal_error().map(|(_, words)| words),
            });
        }
        Ok(admin)
    }

    fn failure(&self, action: &str, (code, words): Failure) -> Error {
        match code {
            RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown => {
                Error::Unreachable {
                    brokers: self.brokers.clone(),
                    waited_ms: ANSWER_WAIT.as_millis() as u64,
                    detail: Some(format!("{action}: {words}")),
                }
            }
            code => Error::code(format!("{action} ({words})"), code),
        }
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(ANSWER_WAIT)).operation_timeout(Some(ANSWER_WAIT))
    }

    fn describe(&self, names: &[&str]) -> Result<Vec<Described>, Error> {
        if self.mock {
            // The mock cluster knows neither this question nor topic ids; plain metadata tell the counts.
            return names.iter().map(|name| self.describe_by_metadata(name)).collect();
        }
        raw::describe_topics(self.client.inner(), names, ANSWER_WAIT).map_err(|f| self.failure("describing topics", f))
    }

    fn describe_by_metadata(&self, name: &str) -> Result<Described, Error> {
        let action = || format!("asking for topic {name}");
        let metadata = self.client.inner().fetch_metadata(Some(name), ANSWER_WAIT).map_err(|e| Error::operation(action(), e))?;
        let found = metadata.topics().iter().find(|t| t.name() == name && t.error().is_none());
        let found = found.map(|t| (raw::TopicId::default(), t.partitions().len() as u32));
        Ok(Described { name: name.into(), found })
    }

    /// Topics by name, `None` for one that does not exist; in the order asked.
    pub fn topics(&self, names: &[&str]) -> Result<Vec<Option<Topic>>, Error> {
        let described = self.describe(names)?;
        Ok(described.into_iter().map(|d| d.found.map(|(id, partitions)| Topic { name: d.name, id, partitions })).collect())
    }

    /// The settings of topics, in the order asked.
    fn settings_of(&self, names: &[&str]) -> Result<Vec<Vec<(String, String)>>, Error> {
        if names.is_empty() {
            // The library takes an empty question for a wrong one.
            return Ok(Vec::new());
        }
        let resources: Vec<ResourceSpecifier<'_>> = names.iter().map(|n| ResourceSpecifier::Topic(n)).collect();
        let action = "reading the settings of topics";
        let answers = block::on(self.client.describe_configs(&resources, &self.options())).map_err(|e| Error::operation(action, e))?;
        let mut settings = vec![Vec::new(); names.len()];
        for answer in answers {
            let resource = answer.map_err(|code| Error::code(action, code))?;
            let rdkafka::admin::OwnedResourceSpecifier::Topic(topic) = &resource.specifier else { continue };
            let Some(at) = names.iter().position(|n| n == topic) else { continue };
            settings[at] = resource.entries.into_iter().filter_map(|e| e.value.map(|v| (e.name, v))).collect();
        }
        Ok(settings)
    }

    /// Makes what is absent of ours, with as many partitions as the inputs have and the settings of DESIGN.md 5; with `inputs` also makes
    /// absent inputs, with log-append time. What is there stays as it is: [`Admin::check`] judges it. `replication`: copies of each
    /// partition, `None` for the broker's default.
    ///
    /// **Errors:** [`Error::Topics`] where the inputs are absent (and none were asked for) or differ in their counts; operations that fail.
    pub fn create(&self, names: &TopicNames, inputs: Option<u32>, replication: Option<u32>) -> Result<Vec<Created>, Error> {
        let all = names.all();
        let described = self.describe(&all)?;
        let (found_inputs, found_ours) = described.split_at(names.inputs.len());
        let counts: Vec<(String, Option<u32>)> =
            found_inputs.iter().map(|d| (d.name.clone(), d.found.map(|(_, n)| n).or(inputs))).collect();
        let shards = topics::shards_of(&counts).map_err(|p| Error::Topics(Problems(p)))?;

        // A record of the largest size that an input takes must fit into the dead letters together with its headers.
        let present: Vec<&str> = found_inputs.iter().filter(|d| d.found.is_some()).map(|d| d.name.as_str()).collect();
        let largest = self
            .settings_of(&present)?
            .iter()
            .flatten()
            .filter(|(n, _)| n == "max.message.bytes")
            .filter_map(|(_, v)| v.parse().ok())
            .max();
        let dead_letter_bytes = largest.unwrap_or(DEFAULT_MESSAGE_BYTES) + DEAD_LETTER_ROOM_BYTES;

        let mut wanted: Vec<(String, u32, Vec<(&'static str, String)>, bool)> = Vec::new();
        for described in found_inputs {
            let settings = vec![("message.timestamp.type", "LogAppendTime".to_owned())];
            wanted.push((described.name.clone(), shards, settings, described.found.is_none()));
        }
        for ((purpose, name), described) in names.ours().into_iter().zip(found_ours) {
            let mut settings = purpose.settings();
            if purpose == Purpose::DeadLetters {
                settings.push(("max.message.bytes", dead_letter_bytes.to_string()));
            }
            wanted.push((name.to_owned(), purpose.partitions(shards), settings, described.found.is_none()));
        }
        let copies = replication.map_or(-1, |n| n as i32);
        let new: Vec<NewTopic<'_>> = wanted
            .iter()
            .filter(|(.., absent)| *absent)
            .map(|(name, partitions, settings, _)| {
                let topic = NewTopic::new(name, *partitions as i32, TopicReplication::Fixed(copies));
                settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
            })
            .collect();
        let mut created: Vec<Created> =
            wanted.iter().map(|(topic, partitions, _, new)| Created { topic: topic.clone(), partitions: *partitions, new: *new }).collect();
        if !new.is_empty() {
            let results =
                block::on(self.client.create_topics(&new, &self.options())).map_err(|e| Error::operation("creating topics", e))?;
            for result in results {
                match result {
                    Ok(_) => {}
                    // Somebody else made it in the same moment: as good as ours, and checked like it.
                    Err((topic, RDKafkaErrorCode::TopicAlreadyExists)) => {
                        created.iter_mut().filter(|c| c.topic == topic).for_each(|c| c.new = false);
                    }
                    Err((topic, code)) => return Err(Error::code(format!("creating topic {topic}"), code)),
                }
            }
            self.await_presence(&created)?;
        }
        // Those that were there keep their own counts; say these.
        for (created, described) in created.iter_mut().zip(&described) {
            if let Some((_, partitions)) = described.found {
                created.partitions = partitions;
            }
        }
        Ok(created)
    }

    /// Waits until the broker's metadata show the new topics.
    fn await_presence(&self, created: &[Created]) -> Result<(), Error> {
        let names: Vec<&str> = created.iter().map(|c| c.topic.as_str()).collect();
        let started = Instant::now();
        while self.describe(&names)?.iter().any(|d| d.found.is_none()) {
            if started.elapsed() > ANSWER_WAIT {
                return Err(Error::operation("waiting for the new topics", KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut)));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Judges inputs and ours: all there, counts equal, settings as needed.
    ///
    /// **Errors:** [`Error::Topics`] with everything that is wrong, each with the command that mends it.
    pub fn check(&self, names: &TopicNames) -> Result<Checked, Error> {
        let all = names.all();
        let described = self.describe(&all)?;
        let (found_inputs, found_ours) = described.split_at(names.inputs.len());
        let counts: Vec<(String, Option<u32>)> = found_inputs.iter().map(|d| (d.name.clone(), d.found.map(|(_, n)| n))).collect();
        let mut problems = Vec::new();
        let shards = match topics::shards_of(&counts) {
            Ok(shards) => shards,
            Err(found) => return Err(Error::Topics(Problems(found))),
        };
        let mut notes = Vec::new();
        let mut settings: Vec<Option<Vec<(String, String)>>> = vec![None; all.len()];
        if self.mock {
            notes.push("topic ids, timestamp types and clean-up policies are not checked: the embedded broker cannot tell them".into());
        } else {
            let present: Vec<usize> = (0..all.len()).filter(|i| described[*i].found.is_some()).collect();
            let asked: Vec<&str> = present.iter().map(|i| all[*i]).collect();
            for (at, found) in present.into_iter().zip(self.settings_of(&asked)?) {
                settings[at] = Some(found);
            }
        }
        let value = |at: usize, name: &str| {
            let setting = settings[at].as_ref().and_then(|s| s.iter().find(|(n, _)| n == name));
            setting.map(|(_, v)| v.as_str())
        };
        for (i, name) in names.inputs.iter().enumerate() {
            if value(i, "message.timestamp.type").is_some_and(|v| v != "LogAppendTime") {
                notes.push(format!(
                    "input topic {name} has message.timestamp.type=CreateTime: arrival is the producers' clock, made non-decreasing; \
                     LogAppendTime is safer"
                ));
            }
            if value(i, "cleanup.policy").is_some_and(|v| v.contains("compact")) {
                notes.push(format!(
                    "input topic {name} is compacted: a shard cannot be restored from records that compaction removed, only from a snapshot"
                ));
            }
        }
        for (i, ((purpose, name), found)) in names.ours().into_iter().zip(found_ours).enumerate() {
            let told = settings[names.inputs.len() + i].as_deref();
            problems.extend(topics::judge(purpose, name, found.found.map(|(_, n)| n), shards, told));
        }
        // A record of the largest size that an input takes must fit into the dead letters, with its headers.
        let bytes = |at: usize| value(at, "max.message.bytes").and_then(|v| v.parse::<usize>().ok());
        let dead_letters = names.inputs.len() + names.ours().iter().position(|(p, _)| *p == Purpose::DeadLetters).unwrap_or_default();
        let largest = (0..names.inputs.len()).filter_map(bytes).max().unwrap_or(DEFAULT_MESSAGE_BYTES);
        let room = bytes(dead_letters).unwrap_or(DEFAULT_MESSAGE_BYTES + DEAD_LETTER_ROOM_BYTES);
        let needed = largest + DEAD_LETTER_ROOM_BYTES;
        if room < needed && described[dead_letters].found.is_some() {
            problems.push(Problem {
                what: format!(
                    "topic {} has max.message.bytes={room} where {needed} is needed: the largest record that an input takes, with its headers",
                    names.dead_letters
                ),
                mend: format!("run `kafka-configs.sh --alter --topic {} --add-config max.message.bytes={needed}`", names.dead_letters),
            });
        }
        if !problems.is_empty() {
            return Err(Error::Topics(Problems(problems)));
        }
        let topic = |d: &Described| d.found.map(|(id, partitions)| Topic { name: d.name.clone(), id, partitions });
        Ok(Checked {
            shards,
            inputs: found_inputs.iter().filter_map(topic).collect(),
            ours: found_ours.iter().filter_map(topic).collect(),
            dead_letter_bytes: room.min(LARGE_MESSAGE_BYTES).saturating_sub(DEAD_LETTER_ROOM_BYTES),
            notes,
        })
    }

    /// Deletes ours, and waits until they are gone. The inputs stay. Whoever calls this has asked the user first.
    ///
    /// Offsets of the group are deleted too: a position without its journal would be an error at the next start.
    pub fn delete_ours(&self, names: &TopicNames, group: &str) -> Result<Vec<String>, Error> {
        // The group first: it cannot be deleted while an instance runs, and then nothing must be.
        self.delete_group(group)?;
        let ours: Vec<&str> = names.ours().into_iter().map(|(_, name)| name).collect();
        let there: Vec<String> = self.describe(&ours)?.into_iter().filter(|d| d.found.is_some()).map(|d| d.name).collect();
        if !there.is_empty() {
            let list: Vec<&str> = there.iter().map(String::as_str).collect();
            let results =
                block::on(self.client.delete_topics(&list, &self.options())).map_err(|e| Error::operation("deleting topics", e))?;
            for result in results {
                match result {
                    Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                    Err((topic, code)) => return Err(Error::code(format!("deleting topic {topic}"), code)),
                }
            }
            let started = Instant::now();
            while self.describe(&list)?.iter().any(|d| d.found.is_some()) {
                if started.elapsed() > ANSWER_WAIT {
                    return Err(Error::operation("waiting for topics to vanish", KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut)));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(there)
    }

    fn delete_group(&self, group: &str) -> Result<(), Error> {
        let action = || format!("deleting the offsets of group {group}");
        let started = Instant::now();
        // The group's coordinator may be on the move, or the offsets topic be in the making: asked again, with a short wait each time.
        let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(5))).operation_timeout(Some(Duration::from_secs(5)));
        loop {
            let code = match block::on(self.client.delete_groups(&[group], &options)) {
                Ok(results) => match results.into_iter().next() {
                    None | Some(Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound))) => return Ok(()),
                    Some(Err((_, code))) => code,
                },
                Err(e) => e.rdkafka_error_code().ok_or_else(|| Error::operation(action(), e))?,
            };
            let passing = matches!(
                code,
                RDKafkaErrorCode::NotCoordinator
                    | RDKafkaErrorCode::CoordinatorNotAvailable
                    | RDKafkaErrorCode::CoordinatorLoadInProgress
                    | RDKafkaErrorCode::OperationTimedOut
                    | RDKafkaErrorCode::RequestTimedOut
            );
            match code {
                RDKafkaErrorCode::NonEmptyGroup => {
                    return Err(Error::code(format!("{}: an instance of segmentd is running", action()), code));
                }
                _ if passing && started.elapsed() < ANSWER_WAIT => std::thread::sleep(Duration::from_millis(100)),
                code => return Err(Error::code(action(), code)),
            }
        }
    }

    /// First and next offsets of partitions: what a log still has, open transactions counted. In the order asked.
    pub fn bounds(&self, partitions: &[(&str, i32)]) -> Result<Vec<(i64, i64)>, Error> {
        let (low, high) = (self.end(partitions, End::Earliest)?, self.end(partitions, End::HighWatermark)?);
        Ok(low.into_iter().zip(high).collect())
    }

    /// The offset after the last record that no open transaction holds back.
    pub(super) fn last_stable(&self, topic: &str, partition: i32) -> Result<i64, Error> {
        Ok(self.end(&[(topic, partition)], End::LastStable)?[0])
    }

    fn end(&self, partitions: &[(&str, i32)], end: End) -> Result<Vec<i64>, Error> {
        let started = Instant::now();
        loop {
            let answers =
                raw::list_offsets(self.client.inner(), partitions, end, OFFSETS_WAIT).map_err(|f| self.failure("asking for offsets", f))?;
            let failed = answers.iter().zip(partitions).find_map(|(a, at)| a.as_ref().err().map(|code| (*code, *at)));
            match failed {
                None => return Ok(answers.into_iter().filter_map(Result::ok).collect()),
                // A partition whose leader is being elected or has moved: asked again, for a while.
                Some((code, _)) if leader_is_moving(code) && started.elapsed() < ANSWER_WAIT => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                Some((code, (topic, partition))) => {
                    return Err(Error::code(format!("asking for the offsets of {topic}-{partition}"), code));
                }
            }
        }
    }
}

/// Whether the answer means that the partition has no known leader at this moment.
pub(super) fn leader_is_moving(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::ReplicaNotAvailable
            | Code::RequestTimedOut
            | Code::BrokerTransportFailure
    )
}
