//! What other threads see of a pull end: consumers, what was made ready for each, and what they gave back.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    },
};

use super::{
    event::{Handle, JOBS},
    nudge::Nudge,
    peer::{Board, Peer},
};
use crate::batch::{Batch, Builder, LARGE, Place};

/// How many batches are made ready for a consumer while it works on one.
const READY: usize = 8;

/// Jobs on their way to a consumer.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The jobs,
    pub batch: Batch,
    /// of which those before this place are done with,
    pub at: Place,
    /// and who sent them:
    pub sources: Sources,
}

/// Who sent the jobs of a batch.
#[derive(Debug, Clone)]
pub enum Sources {
    /// One peer sent them all.
    One(Arc<Peer>),
    /// Each job's peer, in order.
    Each(Vec<Arc<Peer>>),
}

impl Sources {
    /// Who sent the job with that index in the batch.
    pub fn of(&self, job: usize) -> Option<&Arc<Peer>> {
        match self {
            Self::One(peer) => Some(peer),
            Self::Each(peers) => peers.get(job),
        }
    }
}

/// One user of a pull end: the loops and handlers of one thread.
pub struct Consumer {
    tray: Mutex<Tray>,
    /// How many frames of what it has in hand the consumer has begun with. JavaScript writes it: see `lib/unpacker.js`.
    pub begun: Arc<AtomicU32>,
    handle: Arc<dyn Handle>,
}

/// What lies before a consumer.
#[derive(Default)]
struct Tray {
    mood: Mood,
    ready: VecDeque<Delivery>,
    /// What was taken last: to be given to others if the consumer goes.
    in_hand: Option<Delivery>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// It wants no jobs.
    #[default]
    Away,
    /// It works, and will come for more.
    Busy,
    /// It waits, and is to be woken.
    Waiting,
}

impl Tray {
    fn wants(&self) -> bool {
        let bytes: usize = self.ready.iter().map(|delivery| delivery.batch.slab().len()).sum();
        self.mood != Mood::Away && self.ready.len() < READY && bytes < READY * LARGE
    }

    /// Everything that was not begun with, in order.
    fn clear(&mut self, begun: usize) -> Vec<Delivery> {
        let in_hand = self.in_hand.take().and_then(|delivery| delivery.behind(begun));
        in_hand.into_iter().chain(self.ready.drain(..)).collect()
    }
}

impl Consumer {
    /// Who sent the job with that index in what was taken last.
    pub fn source(&self, job: usize) -> Option<Arc<Peer>> {
        self.tray().in_hand.as_ref()?.sources.of(job).cloned()
    }

    /// Whether it can be given more.
    pub(super) fn wants(&self) -> bool {
        self.tray().wants()
    }

    /// Whether it has nothing, and waits.
    pub(super) fn waits(&self) -> bool {
        self.tray().mood == Mood::Waiting
    }

    /// Takes back what was made ready last.
    pub(super) fn spare(&self) -> Option<Delivery> {
        self.tray().ready.pop_back()
    }

    fn tray(&self) -> std::sync::MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes away what was made ready for it: how many jobs that is. What it has in hand it counts itself.
    pub(super) fn close(&self) -> usize {
        let mut tray = self.tray();
        tray.in_hand = None;
        tray.ready.drain(..).map(|delivery| delivery.jobs()).sum()
    }

    /// Gives it jobs, unless it has gone away meanwhile.
    pub(super) fn give(&self, delivery: Delivery) -> Result<(), Delivery> {
        let mut tray = self.tray();
        match tray.mood {
            Mood::Away => return Err(delivery),
            Mood::Busy => {}
            Mood::Waiting => {
                tray.mood = Mood::Busy;
                self.handle.raise(JOBS);
            }
        }
        tray.ready.push_back(delivery);
        Ok(())
    }
}

/// The part of a pull end that other threads see.
#[derive(Default)]
pub struct PullPort {
    consumers: Mutex<Vec<Arc<Consumer>>>,
    /// Jobs that a consumer gave back.
    returned: Mutex<VecDeque<Delivery>>,
    pub(super) nudge: Nudge,
    /// Jobs wait for a consumer, so one that can take more must say so.
    pub(super) is_stocked: AtomicBool,
    pub(super) received: AtomicU64,
    /// Where it listens.
    pub bound: Board<Vec<String>>,
    /// Who is connected.
    pub peers: Board<Vec<Arc<Peer>>>,
}

impl PullPort {
    /// A new user of the end.
    pub fn join(&self, handle: Arc<dyn Handle>) -> Arc<Consumer> {
        let consumer = Arc::new(Consumer { tray: Mutex::default(), begun: Arc::default(), handle });
        self.consumers().push(Arc::clone(&consumer));
        consumer
    }

    /// The next jobs. With `wait`, if there are none, [`JOBS`] is raised as soon as there are.
    pub fn take(&self, consumer: &Consumer, wait: bool) -> Option<Delivery> {
        let mut tray = consumer.tray();
        consumer.begun.store(0, SeqCst);
        let delivery = tray.ready.pop_front();
        tray.in_hand.clone_from(&delivery);
        tray.mood = if wait && delivery.is_none() { Mood::Waiting } else { Mood::Busy };
        drop(tray);
        // With others around, what they have not begun with may be had too.
        if self.is_stocked.load(SeqCst) || delivery.is_none() && self.consumers().len() > 1 {
            self.nudge.ring();
        }
        delivery
    }

    /// The consumer wants no more for now; what it has not begun with goes to others, or waits for it.
    pub fn release(&self, consumer: &Consumer) {
        let mut tray = consumer.tray();
        tray.mood = Mood::Away;
        let left = tray.clear(consumer.begun.load(SeqCst) as usize);
        drop(tray);
        self.put_back(left);
        self.nudge.ring();
    }

    /// The consumer is gone, and its thread may be too.
    pub fn leave(&self, consumer: &Arc<Consumer>) {
        self.consumers().retain(|other| !Arc::ptr_eq(other, consumer));
        self.release(consumer);
    }

    /// How many jobs have been given to consumers.
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Before everything else that waits, in this order.
    pub(super) fn put_back(&self, deliveries: Vec<Delivery>) {
        let mut returned = self.returned();
        deliveries.into_iter().rev().for_each(|delivery| returned.push_front(delivery));
    }

    /// Its users.
    pub(super) fn consumers(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Consumer>>> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was given back.
    pub(super) fn returned(&self) -> std::sync::MutexGuard<'_, VecDeque<Delivery>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Delivery {
    /// How many jobs are not done with.
    pub(super) fn jobs(&self) -> usize {
        self.batch.jobs_behind(self.at)
    }

    /// The jobs behind so many frames, if there are any: copied, because the slab is lent to JavaScript.
    fn behind(self, frames: usize) -> Option<Self> {
        let (mut builder, mut peers, mut index) = (Builder::default(), Vec::new(), 0);
        let mut at = Place::default();
        while let Some((job, next)) = self.batch.job(at) {
            if at.frame() >= frames {
                builder.put(job);
                peers.extend(self.sources.of(index).cloned());
            }
            (at, index) = (next, index + 1);
        }
        Some(Self { batch: builder.take()?, at: Place::default(), sources: Sources::Each(peers) })
    }
}
