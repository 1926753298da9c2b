//! Memory goes back to the system once much has passed through a pipe and nothing does any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

use super::pipe::Pipe;

/// So many bytes are worth it.
const MUCH: u64 = 4 << 20;

/// For so long nothing has to have passed.
const QUIET: Duration = Duration::from_millis(200);

/// How much has passed through a pipe, either way.
#[derive(Debug, Default)]
pub struct Traffic {
    bytes: AtomicU64,
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
}

/// Tidies whenever it has become quiet, for as long as it is polled.
pub(super) async fn tidy(pipe: Arc<Pipe>) {
    loop {
        pipe.traffic.bell.notified().await;
        loop {
            let before = pipe.traffic.bytes.load(Relaxed);
            sleep(QUIET).await;
            if pipe.traffic.bytes.load(Relaxed) == before {
                break;
            }
        }
        pipe.handles().iter().for_each(|handle| handle.tidy());
    }
}
