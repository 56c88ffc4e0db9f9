//! One bell per worker: whoever has news for it rings, and it sleeps on nothing else.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wakes one waiting thread: rung by the library when a queue gets its first element, and by our own threads.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Bell {
    rung: Mutex<bool>,
    wake: Condvar,
}

impl Bell {
    pub(in crate::kafka) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }

    /// Waits until it is rung, or was since the last wait; at most `timeout`.
    pub(in crate::kafka) fn wait(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !*rung {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            rung = self.wake.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *rung = false;
    }
}
