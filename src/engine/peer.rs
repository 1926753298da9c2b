//! What is known and counted of one connected peer, for `stats()` and `info.from`.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// A peer that has shaken hands.
#[derive(Debug)]
pub struct Peer {
    /// Where it is.
    pub address: String,
    /// Its name, empty if it gave none.
    pub identity: String,
    jobs: AtomicU64,
}

impl Peer {
    /// A peer that has just joined.
    pub fn new(address: String, identity: &[u8]) -> Self {
        Self { address, identity: String::from_utf8_lossy(identity).into_owned(), jobs: AtomicU64::new(0) }
    }

    /// Counts jobs that it was sent, or that it sent.
    pub fn count(&self, jobs: usize) {
        self.jobs.fetch_add(jobs as u64, Ordering::Relaxed);
    }

    /// How many jobs it was sent, or sent.
    pub fn jobs(&self) -> u64 {
        self.jobs.load(Ordering::Relaxed)
    }
}

/// The snapshot of an end that other threads may read at any time.
#[derive(Debug, Default)]
pub struct Board<T>(Mutex<T>);

impl<T: Clone> Board<T> {
    /// A copy of what is on it.
    pub fn read(&self) -> T {
        self.lock().clone()
    }

    /// Changes what is on it.
    pub fn write(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, T> {
        // What is behind it is plain data: sound even if a thread panicked while it held the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
