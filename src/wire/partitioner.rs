//! Which partition a key belongs to, as producers compute it: murmur2 (the Java client) and CRC-32 (librdkafka's `consistent`).
//!
//! Inputs are checked, not trusted: a record whose key hashes elsewhere came from a producer with another partitioner, and its customer
//! would be split between shards.

use std::fmt;
use std::str::FromStr;

/// How the producers of an input choose the partition of a keyed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Partitioner {
    /// The Java client's default; `partitioner=murmur2_random` in librdkafka.
    Murmur2,
    /// librdkafka's default (`consistent_random`).
    Crc32,
}

impl Partitioner {
    /// The partition of `key` among `partitions`, which is at least 1.
    ///
    /// **Source:** apache/kafka:clients/src/main/java/org/apache/kafka/clients/producer/internals/BuiltInPartitioner.java
    /// (`toPositive(murmur2(key)) % n`); confluentinc/librdkafka:src/rdkafka_msg.c (`rd_kafka_msg_partitioner_consistent`).
    pub fn partition(self, key: &[u8], partitions: u32) -> u32 {
        match self {
            Partitioner::Murmur2 => (murmur2(key) & 0x7fff_ffff) % partitions,
            Partitioner::Crc32 => crc32(key) % partitions,
        }
    }

    /// The word of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Partitioner::Murmur2 => "murmur2",
            Partitioner::Crc32 => "crc32",
        }
    }
}

impl fmt::Display for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Partitioner {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "murmur2" => Ok(Partitioner::Murmur2),
            "crc32" => Ok(Partitioner::Crc32),
            _ => Err(()),
        }
    }
}

/// MurmurHash2 of 32 bits with Kafka's seed; Java's signed result has the same bits.
///
/// **Source:** apache/kafka:clients/src/main/java/org/apache/kafka/common/utils/Utils.java (`murmur2`), after Austin Appleby.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut h = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (i, b) in rest.iter().enumerate() {
            h ^= u32::from(*b) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// CRC-32 with the reflected polynomial 0xedb88320 (IEEE 802.3), as zlib computes it.
pub fn crc32(data: &[u8]) -> u32 {
    static TABLE: [u32; 256] = {
        let mut table = [0u32; 256];
        let mut i = 0;
        while i < 256 {
            let (mut c, mut bit) = (i as u32, 0);
            while bit < 8 {
                c = if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 };
                bit += 1;
            }
            table[i] = c;
            i += 1;
        }
        table
    };
    !data.iter().fold(!0u32, |c, b| TABLE[((c ^ u32::from(*b)) & 0xff) as usize] ^ (c >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of apache/kafka:clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java (`testMurmur2`).
    #[test]
    fn murmur2_agrees_with_the_java_client() {
        for (text, want) in [
            ("21", -973_932_308i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, want, "{text}");
        }
        assert_eq!(murmur2(b"abc") as i32, 479_470_107);
        // librdkafka's own vectors (src/rdmurmur2.c), the Java client's too: no byte at all, and an odd tail.
        assert_eq!(murmur2(b""), 0x106e_08d9);
        assert_eq!(murmur2(b"kafka"), 0xd067_cf64);
    }

    #[test]
    fn crc32_agrees_with_the_standard_s_check_value() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn partitions_are_within_bounds_and_stable() {
        assert_eq!(Partitioner::Murmur2.partition(b"21", 6), ((-973_932_308i32 as u32) & 0x7fff_ffff) % 6);
        assert_eq!(Partitioner::Crc32.partition(b"123456789", 7), 0xcbf4_3926 % 7);
        for word in ["murmur2", "crc32"] {
            assert_eq!(word.parse::<Partitioner>().expect("a word of the configuration").to_string(), word);
        }
        assert!("random".parse::<Partitioner>().is_err());
    }
}
