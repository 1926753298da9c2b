//! What other threads see of a push end: a place to hand jobs over, and how full it is.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
};

use super::{
    nudge::Nudge,
    peer::{Board, Peer},
};
use crate::{batch::Batch, config::Config};

/// The part of a push end that other threads see.
#[derive(Debug)]
pub struct PushPort {
    /// Jobs handed over and not yet looked at; `None` once the end is closed.
    incoming: Mutex<Option<Vec<Batch>>>,
    pub(super) nudge: Nudge,
    /// Accepted and not delivered: how many, and what they count.
    pub(super) waiting: AtomicUsize,
    pub(super) waiting_cost: AtomicUsize,
    pub(super) delivered: AtomicU64,
    /// Somebody waits for room.
    pub(super) is_full: AtomicBool,
    /// For each JavaScript thread a word that is 1 while a job that is handed over now is written at once: see
    /// `lib/packer.js`. One each, because a runtime may be lent the same memory only once.
    idle_words: Mutex<Vec<Arc<AtomicU32>>>,
    /// Where it listens, and who is connected.
    pub bound: Board<Vec<String>>,
    /// Who is connected.
    pub peers: Board<Vec<Arc<Peer>>>,
}

/// What the queue can take before it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// So many jobs.
    pub jobs: usize,
    /// That count so much.
    pub cost: usize,
    /// Nothing waits: then even a job larger than the mark is taken.
    pub is_empty: bool,
}

impl Default for PushPort {
    fn default() -> Self {
        Self {
            incoming: Mutex::new(Some(Vec::new())),
            nudge: Nudge::default(),
            waiting: AtomicUsize::new(0),
            waiting_cost: AtomicUsize::new(0),
            delivered: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
            idle_words: Mutex::default(),
            bound: Board::default(),
            peers: Board::default(),
        }
    }
}

impl PushPort {
    /// Takes jobs in. The caller keeps to [`PushPort::room`]; only a closed end refuses, and gives them back.
    pub fn send(&self, batch: Batch) -> Result<(), Batch> {
        let mut incoming = self.incoming();
        let Some(list) = &mut *incoming else { return Err(batch) };
        self.set_idle(false);
        self.waiting.fetch_add(batch.jobs(), SeqCst);
        self.waiting_cost.fetch_add(batch.cost(), SeqCst);
        list.push(batch);
        drop(incoming);
        self.nudge.ring();
        Ok(())
    }

    /// A word that tells from now on whether the engine is idle.
    pub fn idle_word(&self) -> Arc<AtomicU32> {
        let word = Arc::<AtomicU32>::default();
        let mut words = self.idle_words();
        // Those that are held here alone belong to threads that are gone.
        words.retain(|word| Arc::strong_count(word) > 1);
        words.push(Arc::clone(&word));
        word
    }

    /// Says whether a job that is handed over now is written at once.
    pub(super) fn set_idle(&self, is_idle: bool) {
        self.idle_words().iter().for_each(|word| word.store(is_idle.into(), Relaxed));
    }

    fn idle_words(&self) -> std::sync::MutexGuard<'_, Vec<Arc<AtomicU32>>> {
        self.idle_words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be taken now.
    pub fn room(&self, config: &Config) -> Room {
        let jobs = self.waiting();
        Room {
            jobs: config.max_waiting_jobs.saturating_sub(jobs),
            cost: config.max_waiting_bytes.saturating_sub(self.waiting_cost.load(SeqCst)),
            is_empty: jobs == 0,
        }
    }

    /// Asks for [`ROOM`] to be raised when jobs have left. Look at [`PushPort::room`] once more after asking.
    pub fn await_room(&self) {
        self.is_full.store(true, SeqCst);
    }

    /// How many jobs are accepted and not delivered.
    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// What they count.
    pub fn waiting_cost(&self) -> usize {
        self.waiting_cost.load(SeqCst)
    }

    /// How many jobs have been delivered.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    /// What was handed over; `None` once the end is closed.
    pub(super) fn incoming(&self) -> std::sync::MutexGuard<'_, Option<Vec<Batch>>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
