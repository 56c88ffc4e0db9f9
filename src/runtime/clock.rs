//! The system's clock, read here and nowhere else in the service.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::{Clock, Timestamp};

/// Wall time in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 reads as 1970: timers then wait, and nothing is decided too early.
        Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64))
    }
}
