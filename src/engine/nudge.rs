//! How other threads get the I/O thread's attention without waking it more often than needed.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// A bell that is rung once however many push it, until somebody comes to look.
#[derive(Debug, Default)]
pub struct Nudge {
    rung: AtomicBool,
    bell: Notify,
}

impl Nudge {
    /// Asks the I/O thread to look. A wake-up costs microseconds, so only the first one since the last look is sent.
    pub fn ring(&self) {
        if !self.rung.swap(true, SeqCst) {
            self.bell.notify_one();
        }
    }

    /// Has all who wait ask for their alarm again: one rings sooner than it did. To say so takes no look.
    pub fn reset(&self) {
        self.bell.notify_waiters();
    }

    /// Resolves after the next ring, or when the alarm rings if that is sooner: whether it was a ring. What was changed before a ring is seen
    /// by the look that follows this.
    pub async fn rung_before(&self, alarm: impl Fn() -> Option<Instant>) -> bool {
        loop {
            let alarm = alarm();
            tokio::select! {
                () = self.bell.notified() => if self.rung.swap(false, SeqCst) { return true },
                () = sleep_until(alarm.unwrap_or_else(Instant::now)), if alarm.is_some() => return false,
            }
        }
    }
}
