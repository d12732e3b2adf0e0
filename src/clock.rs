//! The only place that reads the clock.
//!
//! There are two times. *Real* time is for tokens, sessions, leases, timeouts and rate limits. *Business* time is what is
//! recorded and effective: holds, deadlines, periods. They are the same, save in the demo, whose story steps business time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::Utc;

use crate::domain::time::Instant;

/// Hands out both times. Clones share the story's offset.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Business time less real time, in microseconds.
    offset: Arc<AtomicI64>,
}

impl Clock {
    /// Business time is real time.
    pub fn real() -> Self {
        Clock::default()
    }

    /// Business time runs `offset_micros` beside real time.
    pub fn with_offset(offset_micros: i64) -> Self {
        Clock { offset: Arc::new(AtomicI64::new(offset_micros)) }
    }

    /// Real time: for tokens, sessions, leases and limits.
    #[expect(clippy::disallowed_methods, reason = "the one reader of the clock")]
    pub fn real_now(&self) -> Instant {
        Instant::from_utc(Utc::now()).unwrap_or(Instant::MAX)
    }

    /// Business time: for what is recorded, effective, held or due.
    pub fn now(&self) -> Instant {
        self.real_now().plus(self.offset_micros())
    }

    pub fn offset_micros(&self) -> i64 {
        self.offset.load(Ordering::SeqCst)
    }

    /// Steps business time to `at`, from where it runs on at normal speed. Only the demo's story does this.
    pub fn step_to(&self, at: Instant) {
        self.offset.store(at.micros() - self.real_now().micros(), Ordering::SeqCst);
    }
}
