//! The newest records of every partition: keys of the inputs, for the check at start that producers put customers where they belong;
//! values of the journal, for a look at what every shard has in force.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::native::{Bell, Native, Start};
use super::settings::{Role, Settings};
use super::{Admin, Error, TopicNames};
use crate::ids::InputIndex;
use crate::pipeline::Message;

/// Longest time for the whole sample; what has not come by then is not looked at.
const SAMPLE_WAIT: Duration = Duration::from_secs(10);
/// Partitions that are read at the same time.
const LANES_MAX: usize = 64;
/// Records taken from a partition at once.
const TAKE: usize = 200;

/// Shows the keys of up to `newest` records of each partition of each input, with the record's place.
///
/// **Errors:** operations that fail. A partition that does not answer in time is left out.
pub fn newest_keys(
    settings: &Settings,
    admin: &Admin,
    names: &TopicNames,
    partitions: u32,
    newest: i64,
    mut show: impl FnMut(InputIndex, u32, Option<&[u8]>),
) -> Result<(), Error> {
    let topics: Vec<&str> = names.inputs.iter().map(String::as_str).collect();
    newest_of(settings, admin, &topics, partitions, newest, |topic, partition, message| {
        show(InputIndex(topic as u16), partition, message.key);
    })
}

/// Shows the values of the last few records of each partition of a topic of ours, in the order of each partition.
///
/// **Errors:** as [`newest_keys`].
pub fn newest_values(
    settings: &Settings,
    admin: &Admin,
    topic: &str,
    partitions: u32,
    mut show: impl FnMut(u32, &[u8]),
) -> Result<(), Error> {
    // Markers and aborted records are places in the log too.
    const PLACES: i64 = 40;
    newest_of(settings, admin, &[topic], partitions, PLACES, |_, partition, message| show(partition, message.value.unwrap_or_default()))
}

fn newest_of(
    settings: &Settings,
    admin: &Admin,
    topics: &[&str],
    partitions: u32,
    newest: i64,
    mut show: impl FnMut(usize, u32, Message<'_>),
) -> Result<(), Error> {
    let all: Vec<(usize, &str, i32)> =
        topics.iter().enumerate().flat_map(|(i, topic)| (0..partitions as i32).map(move |partition| (i, *topic, partition))).collect();
    let bell = Arc::new(Bell::default());
    let reader = Native::new(settings, Role::Reader, &bell)?;
    let deadline = Instant::now() + SAMPLE_WAIT;
    for group in all.chunks(LANES_MAX) {
        let asked: Vec<(&str, i32)> = group.iter().map(|(_, topic, partition)| (*topic, *partition)).collect();
        let bounds = admin.bounds(&asked)?;
        let wanted: Vec<_> = group.iter().zip(bounds).filter(|(_, (low, high))| low < high).collect();
        let starts: Vec<Start<'_>> = wanted
            .iter()
            .map(|((_, topic, partition), (low, high))| Start {
                topic,
                partition: *partition,
                offset: (*low).max(high - newest),
                leader_epoch: None,
            })
            .collect();
        let mut lanes = reader.read(&starts)?;
        let mut open: Vec<bool> = vec![true; lanes.len()];
        while open.iter().any(|o| *o) && Instant::now() < deadline {
            let mut came = false;
            for ((lane, open), ((input, _, partition), (_, high))) in lanes.iter_mut().zip(&mut open).zip(&wanted) {
                if !*open {
                    continue;
                }
                if lane.fill(TAKE, |_| true).is_err() {
                    *open = false;
                }
                came |= lane.held() > 0;
                for i in 0..lane.held() {
                    show(*input, *partition as u32, lane.message(i));
                }
                lane.advance(lane.held());
                *open &= lane.position() < *high;
            }
            while reader.poll().is_some() {}
            if !came {
                // The rest may be behind an open transaction: it is waited for, but not longer than the deadline.
                bell.wait(Duration::from_millis(100));
            }
        }
        reader.stop(lanes)?;
    }
    Ok(())
}
