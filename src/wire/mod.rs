//! Bytes and model, both ways: the only decoder of records and the only user of prost.
