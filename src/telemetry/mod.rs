//! Subscriber, exporter, and every metric name in one file.
