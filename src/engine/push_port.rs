//! What other threads see of a push end: a place to hand jobs over, and how full it is.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
};

use super::{
    nudge::Nudge,
    peer::{Board, Peer, Peers},
    shortcut::Shortcut,
};
use crate::{batch::Batch, config::Config, flow::sender::Totals};

/// The part of a push end that other threads see.
#[derive(Debug)]
pub struct PushPort {
    /// What was handed over and not yet looked at; `None` once the end is closed.
    incoming: Mutex<Option<Incoming>>,
    pub(super) nudge: Nudge,
    /// How many jobs were ever accepted: each gets its order by this.
    pub(super) accepted: AtomicU64,
    /// Accepted and not delivered.
    pub(super) undelivered: AtomicUsize,
    /// Of those, the ones that are not with a peer yet: how many, and what they count.
    pub(super) waiting: AtomicUsize,
    pub(super) waiting_cost: AtomicUsize,
    /// With zeropipe peers, and not acknowledged.
    pub(super) in_flight: AtomicUsize,
    pub(super) in_flight_cost: AtomicUsize,
    pub(super) done: AtomicU64,
    pub(super) redelivered: AtomicU64,
    pub(super) dead: AtomicU64,
    /// Somebody wants to know in how many outboxes something is left: see [`PushPort::is_written`].
    pub(super) is_flushing: AtomicBool,
    pub(super) unwritten: AtomicUsize,
    /// Somebody waits for room.
    pub(super) is_full: AtomicBool,
    /// For each JavaScript thread a word that tells what [`Idle`] does. One each, because a runtime may be lent the same memory only once.
    idle_words: Mutex<Vec<Arc<[AtomicU32; 1]>>>,
    /// Where it listens, and who is connected.
    pub bound: Board<Vec<String>>,
    /// Who is connected.
    pub peers: Peers,
}

/// What was handed over.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Jobs that are to be dealt;
    pub(super) batches: Vec<Batch>,
    /// before them, jobs that were written to the one link that is there,
    pub(super) written: Vec<Batch>,
    /// which had lent this.
    pub(super) way: Option<Way>,
}

/// The way to the only peer that there is, for as much as it may be sent.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) shortcut: Shortcut,
    pub(super) peer: Arc<Peer>,
    pub(super) jobs: u64,
    pub(super) cost: u64,
}

impl Incoming {
    /// Writes jobs, if there is a way for them; whether that was all of it.
    fn write(&mut self, batch: &Batch) -> Option<bool> {
        let (jobs, cost) = (batch.jobs() as u64, batch.cost() as u64);
        // As whoever deals: the last job may overshoot what is granted, none may begin beyond it.
        let is_granted = |way: &Way| way.jobs >= jobs && (way.cost >= cost || jobs == 1 && way.cost > 0);
        let is_free = |way: &&mut Way| is_granted(way) && way.shortcut.is_open(batch);
        let way = self.way.as_mut().filter(|_| self.batches.is_empty()).filter(is_free)?;
        (way.jobs, way.cost) = (way.jobs - jobs, way.cost.saturating_sub(cost));
        way.peer.sent(batch.jobs());
        self.written.push(batch.clone());
        Some(way.shortcut.write(batch))
    }
}

/// Whether a job that is handed over now is written at once: see `lib/packer.js`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idle {
    /// It has others before it.
    No = 0,
    /// By the I/O thread.
    Yes = 1,
    /// By whoever hands it over, if he likes.
    Lent = 2,
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
            incoming: Mutex::new(Some(Incoming::default())),
            nudge: Nudge::default(),
            accepted: AtomicU64::new(0),
            undelivered: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            waiting_cost: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            in_flight_cost: AtomicUsize::new(0),
            done: AtomicU64::new(0),
            redelivered: AtomicU64::new(0),
            dead: AtomicU64::new(0),
            is_flushing: AtomicBool::new(false),
            unwritten: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
            idle_words: Mutex::default(),
            bound: Board::default(),
            peers: Peers::default(),
        }
    }
}

impl PushPort {
    /// Takes jobs in, and writes them at once if `directly` and if there is a way. The caller keeps to [`PushPort::room`]; only a closed
    /// end refuses, and gives them back.
    pub fn send(&self, batch: Batch, directly: bool) -> Result<(), Batch> {
        let mut guard = self.incoming();
        let Some(incoming) = &mut *guard else { return Err(batch) };
        self.accepted.fetch_add(batch.jobs() as u64, SeqCst);
        self.undelivered.fetch_add(batch.jobs(), SeqCst);
        let is_done = if directly { incoming.write(&batch) } else { None };
        let (jobs, cost) = match is_done {
            Some(_) => (&self.in_flight, &self.in_flight_cost),
            None => (&self.waiting, &self.waiting_cost),
        };
        jobs.fetch_add(batch.jobs(), SeqCst);
        cost.fetch_add(batch.cost(), SeqCst);
        if is_done.is_none() {
            incoming.batches.push(batch);
        }
        drop(guard);
        if is_done != Some(true) {
            self.set_idle(Idle::No);
            self.nudge.ring();
        }
        Ok(())
    }

    /// Has the I/O thread look at what has changed.
    pub fn look(&self) {
        self.nudge.ring();
    }

    /// A word that tells from now on whether the engine is idle.
    pub fn idle_word(&self) -> Arc<[AtomicU32; 1]> {
        let word = Arc::<[AtomicU32; 1]>::default();
        let mut words = self.idle_words();
        // Those that are held here alone belong to threads that are gone.
        words.retain(|word| Arc::strong_count(word) > 1);
        words.push(Arc::clone(&word));
        word
    }

    /// Says whether a job that is handed over now is written at once.
    pub(super) fn set_idle(&self, idle: Idle) {
        self.idle_words().iter().for_each(|word| word[0].store(idle as u32, Relaxed));
    }

    fn idle_words(&self) -> std::sync::MutexGuard<'_, Vec<Arc<[AtomicU32; 1]>>> {
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

    /// How many jobs are accepted and not on their way.
    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// How many jobs zeropipe peers have and did not acknowledge.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(SeqCst)
    }

    /// What those count.
    pub fn in_flight_cost(&self) -> usize {
        self.in_flight_cost.load(SeqCst)
    }

    /// To how many peers the system may have yet to send delivered jobs.
    pub fn sending(&self) -> usize {
        self.peers.read().iter().filter(|peer| peer.is_sending()).count()
    }

    /// How many jobs are accepted and not delivered.
    pub fn undelivered(&self) -> usize {
        self.undelivered.load(SeqCst)
    }

    /// Whether every job is with a peer, as far as is known; asking makes it known soon.
    pub fn is_written(&self) -> bool {
        if !self.is_flushing.swap(true, SeqCst) {
            self.unwritten.store(usize::MAX, SeqCst);
            self.nudge.ring();
        }
        self.waiting() == 0 && self.unwritten.load(SeqCst) == 0
    }

    /// What they count.
    pub fn waiting_cost(&self) -> usize {
        self.waiting_cost.load(SeqCst)
    }

    /// The sender has these totals now, and had those others when this was called before. Whoever waits
    /// for room is told by what this returns: whether some jobs wait no more.
    pub(super) fn publish(&self, before: Totals, now: Totals) -> bool {
        let counts = [
            (&self.waiting, before.waiting, now.waiting),
            (&self.waiting_cost, before.waiting_cost, now.waiting_cost),
            (&self.in_flight, before.in_flight, now.in_flight),
            (&self.in_flight_cost, before.in_flight_cost, now.in_flight_cost),
            (&self.undelivered, before.undelivered, now.undelivered),
        ];
        for (count, before, now) in counts {
            if before != now {
                count.fetch_add(now.wrapping_sub(before), SeqCst);
            }
        }
        let sums = [
            (&self.done, before.done, now.done),
            (&self.redelivered, before.redelivered, now.redelivered),
            (&self.dead, before.dead, now.dead),
        ];
        for (sum, before, now) in sums {
            if before != now {
                sum.fetch_add(now.wrapping_sub(before), Relaxed);
            }
        }
        now.waiting < before.waiting || now.waiting_cost < before.waiting_cost
    }

    /// Closed: nothing is left. How many jobs were not delivered.
    pub(super) fn clear(&self) -> usize {
        for count in [&self.waiting, &self.waiting_cost, &self.in_flight, &self.in_flight_cost] {
            count.store(0, SeqCst);
        }
        self.undelivered.swap(0, SeqCst)
    }

    /// How many jobs have been delivered.
    pub fn done(&self) -> u64 {
        self.done.load(Relaxed)
    }

    /// How often a job was sent that a peer had had before and not acknowledged.
    pub fn redelivered(&self) -> u64 {
        self.redelivered.load(Relaxed)
    }

    /// How many jobs were given up because they failed too often.
    pub fn dead(&self) -> u64 {
        self.dead.load(Relaxed)
    }

    /// What was handed over; `None` once the end is closed.
    pub(super) fn incoming(&self) -> std::sync::MutexGuard<'_, Option<Incoming>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
