//! `segmentd demo`: everything in one process.
mod stats;
mod view;
