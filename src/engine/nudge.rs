//! How other threads get the I/O thread's attention without waking it more often than needed.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::sync::{Notify, watch};

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

    /// Calls `look` after each ring, until `stop` or until it says that nobody is there any more. What was changed before
    /// a ring is seen by the look that follows it.
    pub async fn watch(&self, mut stop: watch::Receiver<bool>, mut look: impl FnMut() -> Option<()>) {
        loop {
            tokio::select! {
                () = self.bell.notified() => self.rung.store(false, SeqCst),
                _ = stop.wait_for(|stop| *stop) => return,
            }
            if look().is_none() {
                return;
            }
        }
    }
}
