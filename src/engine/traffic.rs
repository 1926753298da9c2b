//! How much passes through a pipe, and when it has become quiet: then memory can go back to the system.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

/// So many bytes are worth it.
const MUCH: u64 = 4 << 20;

/// For so long nothing has to have passed.
const QUIET: Duration = Duration::from_millis(200);

/// How much has passed through a pipe, either way.
#[derive(Debug, Default)]
pub struct Traffic {
    bytes: AtomicU64,
    /// How much had passed when memory was given back last.
    tidied: AtomicU64,
    bell: Notify,
}

impl Traffic {
    /// So many bytes more.
    pub(super) fn note(&self, bytes: usize) {
        let before = self.bytes.fetch_add(bytes as u64, Relaxed);
        if before / MUCH != (before + bytes as u64) / MUCH {
            self.bell.notify_one();
        }
    }

    /// How many bytes have passed, ever.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Whether much has passed since memory was given back.
    pub(super) fn is_untidied(&self) -> bool {
        self.bytes() - self.tidied.load(Relaxed) >= MUCH
    }

    /// Memory is given back.
    pub(super) fn note_tidied(&self) {
        self.tidied.store(self.bytes(), Relaxed);
    }

    /// Resolves when much has passed and nothing does any more.
    pub(super) async fn quiet(&self) {
        self.bell.notified().await;
        loop {
            let before = self.bytes.load(Relaxed);
            sleep(QUIET).await;
            if self.bytes.load(Relaxed) == before {
                return;
            }
        }
    }
}
