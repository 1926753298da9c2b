//! What is known and counted of one connected peer, for `stats()` and `info.from`.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::ledger::Ledger;
use crate::{flow::sender::Changes, wire::flow::Instance};

/// A peer that has shaken hands.
#[derive(Debug, Default)]
pub struct Peer {
    /// Where it is.
    pub address: String,
    /// Its name, empty if it gave none.
    pub identity: String,
    /// Who it is, if jobs are acknowledged between us.
    pub instance: Option<Instance>,
    /// What we owe it, if it is a pusher: settled by any thread, told by the I/O thread.
    pub(super) ledger: Mutex<Ledger>,
    is_gone: AtomicBool,
    is_sending: AtomicBool,
    jobs: AtomicU64,
    credit: AtomicU64,
    in_flight: AtomicU64,
    done: AtomicU64,
    redelivered: AtomicU64,
}

impl Peer {
    /// A peer that has just joined.
    pub fn new(address: String, identity: &[u8], instance: Option<Instance>) -> Self {
        let identity = String::from_utf8_lossy(identity).into_owned();
        Self { address, identity, instance, ..Self::default() }
    }

    /// Counts jobs that it was sent, or that it sent.
    pub fn count(&self, jobs: usize) {
        self.jobs.fetch_add(jobs as u64, Relaxed);
    }

    /// A sender has counted so much since it was asked before.
    pub(super) fn add(&self, changes: Changes) {
        let Changes { sent, done, redelivered } = changes;
        for (sum, more) in [(&self.jobs, sent), (&self.done, done), (&self.redelivered, redelivered)] {
            if more != 0 {
                sum.fetch_add(more, Relaxed);
            }
        }
    }

    /// They were not sent after all.
    pub(super) fn uncount(&self, jobs: usize) {
        self.jobs.fetch_sub(jobs as u64, Relaxed);
    }

    /// Notes jobs that were sent by another thread than the I/O thread, which will tell the whole later.
    pub(super) fn sent(&self, jobs: usize) {
        self.count(jobs);
        self.credit.fetch_sub(jobs as u64, Relaxed);
        self.in_flight.fetch_add(jobs as u64, Relaxed);
    }

    /// Counts jobs that are done.
    pub fn count_done(&self, jobs: u64) {
        self.done.fetch_add(jobs, Relaxed);
    }

    /// Counts jobs that were sent before.
    pub fn count_redelivered(&self, jobs: usize) {
        self.redelivered.fetch_add(jobs as u64, Relaxed);
    }

    /// How many more jobs may be sent, and how many were sent and are not settled.
    pub fn set_flow(&self, credit: u64, in_flight: usize) {
        self.credit.store(credit, Relaxed);
        self.in_flight.store(in_flight as u64, Relaxed);
    }

    /// It has left.
    pub(super) fn set_gone(&self) {
        self.is_gone.store(true, Relaxed);
    }

    /// Whether it has left.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Relaxed)
    }

    /// Jobs were written for it that are delivered with that, or the system has sent all of them.
    pub(super) fn set_sending(&self, is_sending: bool) {
        self.is_sending.store(is_sending, Relaxed);
    }

    /// Whether the system may have yet to send delivered jobs.
    pub fn is_sending(&self) -> bool {
        self.is_sending.load(Relaxed)
    }

    /// How many jobs it was sent, or sent.
    pub fn jobs(&self) -> u64 {
        self.jobs.load(Relaxed)
    }

    /// How many more jobs may be sent.
    pub fn credit(&self) -> u64 {
        self.credit.load(Relaxed)
    }

    /// How many jobs were sent and are not settled.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// How many jobs are done.
    pub fn done(&self) -> u64 {
        self.done.load(Relaxed)
    }

    /// How many of its jobs were sent before, to it or others.
    pub fn redelivered(&self) -> u64 {
        self.redelivered.load(Relaxed)
    }

    pub(super) fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The peers that are connected to an end, for other threads to read at any time.
#[derive(Debug)]
pub struct Peers {
    list: Board<Vec<Arc<Peer>>>,
    /// Since when there is none, if there is none: the end of the last, or the beginning.
    alone_since: Board<Instant>,
}

impl Default for Peers {
    fn default() -> Self {
        Self { list: Board::default(), alone_since: Board(Mutex::new(Instant::now())) }
    }
}

impl Peers {
    /// All of them.
    pub fn read(&self) -> Vec<Arc<Peer>> {
        self.list.read()
    }

    /// Some come or go.
    pub(super) fn write(&self, change: impl FnOnce(&mut Vec<Arc<Peer>>)) {
        self.list.write(|list| {
            let were_some = !list.is_empty();
            change(list);
            if were_some && list.is_empty() {
                self.alone_since.write(|since| *since = Instant::now());
            }
        });
    }

    /// For how long there has been none; `None` if there is one.
    pub fn alone_for(&self) -> Option<Duration> {
        let mut alone_for = None;
        self.list.write(|list| {
            if list.is_empty() {
                alone_for = Some(self.alone_since.read().elapsed());
            }
        });
        alone_for
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_alone_from_the_end_of_its_last_peer_on() {
        let peers = Peers::default();
        let pause = Duration::from_millis(20);
        std::thread::sleep(pause);
        assert!(peers.alone_for().is_some_and(|alone| alone >= pause));
        peers.write(|list| list.extend([Arc::default(), Arc::default()]));
        assert_eq!(peers.alone_for(), None);
        std::thread::sleep(pause);
        peers.write(|list| drop(list.pop()));
        assert_eq!(peers.alone_for(), None);
        let before = Instant::now();
        peers.write(Vec::clear);
        assert!(peers.alone_for().is_some_and(|alone| alone <= before.elapsed()));
        std::thread::sleep(pause);
        peers.write(Vec::clear);
        assert!(peers.alone_for().is_some_and(|alone| alone >= pause));
    }
}
