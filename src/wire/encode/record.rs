//! Published JSON read back, for `tail` and for tests.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::time::Timestamp;

/// A change as a reader of the topic sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeRecord {
    /// Lower-case hexadecimal.
    pub change_id: String,
    pub customer: String,
    pub seq: u64,
    pub segment: String,
    pub version: String,
    /// `entered`, `exited` or `moved`.
    pub change: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(with = "instant")]
    pub since: Timestamp,
    #[serde(with = "instant")]
    pub decided_at: Timestamp,
    #[serde(default, with = "maybe_instant", skip_serializing_if = "Option::is_none")]
    pub emitted_at: Option<Timestamp>,
    pub cause: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause_event: Option<CauseEventRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrects: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approx: bool,
    #[serde(default, with = "maybe_instant", skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reason: Vec<ReasonRecord>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub emit: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseEventRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    pub partition: u32,
    pub offset: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonRecord {
    pub condition: String,
    pub observed: String,
    pub threshold: String,
}

/// A row of the compacted topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MembershipRecord {
    pub customer: String,
    pub segment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    #[serde(with = "instant")]
    pub since: Timestamp,
    pub version: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub emit: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MembershipKeyRecord {
    pub customer: String,
    pub segment: String,
}

impl ChangeRecord {
    /// Reads the value of a record of the changes topic.
    pub fn parse(json: &[u8]) -> Result<ChangeRecord, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

mod instant {
    use super::{Deserialize, Deserializer, Serializer, Timestamp};

    pub fn serialize<S: Serializer>(t: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(t)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(d)?;
        Timestamp::parse_rfc3339(&text).ok_or_else(|| serde::de::Error::custom(format_args!("{text:?} is no instant")))
    }
}

mod maybe_instant {
    use super::{Deserializer, Serializer, Timestamp, instant};

    pub fn serialize<S: Serializer>(t: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
        match t {
            Some(t) => instant::serialize(t, s),
            None => s.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Timestamp>, D::Error> {
        instant::deserialize(d).map(Some)
    }
}
