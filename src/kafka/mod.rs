//! The pipeline's client on Kafka, the only user of rdkafka: consumers, producer, group, admin.
