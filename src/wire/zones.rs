//! A time-zone database as bytes and back (`proto/segmentd/v1/time_zones.proto`), so that a journal can be replayed by the zones that were in
//! force when it was written, whatever the program at hand was built with (LANGUAGE.md S12).

use std::collections::BTreeMap;

use prost::Message;

use super::proto::v1;
use crate::model::ZoneDatabase;

/// Zones of one data under all their names, in the order of the data, so that the same database always gives the same bytes.
pub fn encode(database: &ZoneDatabase) -> Vec<u8> {
    let mut by_data: BTreeMap<&[u8], Vec<String>> = BTreeMap::new();
    for (name, data) in database.zones() {
        by_data.entry(data).or_default().push(name.to_owned());
    }
    let zones = by_data.into_iter().map(|(data, names)| v1::TimeZone { names, data: data.to_vec() }).collect();
    v1::TimeZones { version: database.version().into(), zones }.encode_to_vec()
}

/// What [`encode`] wrote; kept for good ([`ZoneDatabase::keep`]). `None`: it is no sound database of that version.
pub fn decode(version: &str, bytes: &[u8]) -> Option<&'static ZoneDatabase> {
    let message = v1::TimeZones::decode(bytes).ok().filter(|m| m.version == version)?;
    let of = |zone: v1::TimeZone| zone.names.into_iter().map(move |name| (name, zone.data.clone()));
    ZoneDatabase::keep(version, message.zones.into_iter().flat_map(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_comes_back_whole() {
        let bundled = ZoneDatabase::bundled();
        let bytes = encode(bundled);
        assert!(bytes.len() < 400_000, "one record of a topic: {}", bytes.len());
        let again = decode(bundled.version(), &bytes).expect("sound");
        assert!(again.zones().eq(bundled.zones()));
        assert!(decode("1999a", &bytes).is_none(), "of another version");
        assert!(decode(bundled.version(), &bytes[..bytes.len() - 1]).is_none(), "cut off");
    }
}
