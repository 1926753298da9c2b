//! What other threads see of a pull end: its consumers, and what they gave back.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    },
};

use super::{
    consumer::{Consumer, Taken},
    delivery::{Delivery, Fate},
    event::Handle,
    nudge::Nudge,
    peer::{Board, Peers},
};
use crate::{batch::Batch, wire::flow::Instance};

/// The part of a pull end that other threads see.
#[derive(Default)]
pub struct PullPort {
    consumers: Mutex<Vec<Arc<Consumer>>>,
    /// Jobs that a consumer gave back.
    returned: Mutex<VecDeque<Delivery>>,
    pub(super) nudge: Nudge,
    /// Jobs wait for a consumer, so one that can take more must say so.
    pub(super) is_stocked: AtomicBool,
    /// What was given back is being dealt.
    pub(super) is_dealing: AtomicBool,
    pub(super) is_closed: AtomicBool,
    /// How many deliveries there have been.
    dealt: AtomicU64,
    /// Somebody looks at what consumers settle: from the opening of the end until its last connection has ended.
    pub(super) is_running: AtomicBool,
    pub(super) received: AtomicU64,
    /// Replies have yet to be written, and the I/O thread was not told.
    has_replies: AtomicBool,
    /// The I/O thread will look before long, and until then nobody waits for what it would do.
    pub(super) is_calm: AtomicBool,
    /// How often a consumer has settled something, and up to which of these times all of it has been told and written.
    pub(super) settled: AtomicU64,
    pub(super) told: AtomicU64,
    /// Who it is, while it is open.
    pub(super) instance: Board<Option<Instance>>,
    /// Where it listens.
    pub bound: Board<Vec<String>>,
    /// Who is connected.
    pub peers: Peers,
}

impl PullPort {
    /// A new consumer, which is to be told by `handle`. `prefetch` fixes what it has ahead; `in_order` says that it is done
    /// with its jobs in the order in which it got them.
    pub fn join(&self, handle: Arc<dyn Handle>, prefetch: Option<u32>, in_order: bool) -> Arc<Consumer> {
        let consumer = Arc::new(Consumer::new(handle, prefetch, in_order));
        self.consumers().push(Arc::clone(&consumer));
        consumer
    }

    /// The next jobs. If there are none and the consumer has free `slots`, it is woken as soon as there are.
    pub fn take(&self, consumer: &Consumer, slots: u32) -> Option<Taken> {
        let taken = consumer.take(slots);
        // One that waits may be waited for by its pushers, and with others around may have what they have not begun with.
        let is_waited_for = taken.is_none() && slots > 0 && !self.is_calm.load(SeqCst);
        // What has plenty before it need not be given more at once.
        let is_wanting = self.is_stocked.load(SeqCst) && taken.as_ref().is_none_or(|taken| !taken.has_plenty);
        // With less before it, it may be granted more, and the I/O thread may be asleep.
        let is_watched_for = taken.is_some() && consumer.is_armed();
        if is_waited_for || is_wanting || is_watched_for || self.has_replies.swap(false, SeqCst) {
            consumer.arm(false);
            self.nudge.ring();
        }
        taken
    }

    /// The consumer wants no more for now; what it has not begun with goes back. How many of those nobody else will get.
    pub fn release(&self, consumer: &Consumer) -> u64 {
        let back = consumer.release();
        self.settle();
        self.take_back(back)
    }

    /// What the consumer has in hand and has not begun with goes back.
    pub fn recall(&self, consumer: &Consumer) {
        let back = consumer.recall();
        self.take_back(back);
        consumer.recalled();
        self.nudge.ring();
    }

    /// Everything that the consumer has begun with is done.
    pub fn finish(&self, consumer: &Consumer) {
        consumer.finish(Fate::Done);
        self.settle();
    }

    /// These jobs, by the consumer's own numbers, have ended like that.
    pub fn settle_each(&self, consumer: &Consumer, numbers: &[u64], fate: Fate<'_>) {
        consumer.settle_each(numbers, fate);
        self.settled.fetch_add(1, SeqCst);
        if consumer.is_armed() {
            self.nudge.ring();
        }
    }

    /// The replies to these jobs, by the consumer's own numbers, each in its envelope: with that they are done. The I/O thread is told by
    /// the next [`PullPort::take`] or [`PullPort::told`].
    pub fn reply(&self, consumer: &Consumer, numbers: &[u64], replies: Batch) {
        let are_sent = consumer.reply(numbers, &replies);
        self.settled.fetch_add(1, SeqCst);
        self.has_replies.fetch_or(!are_sent, SeqCst);
    }

    /// The consumer has made progress. Told once, it need not tell again before the I/O thread has looked.
    pub fn told(&self, consumer: &Consumer) {
        consumer.arm(false);
        self.settled.fetch_add(1, SeqCst);
        if self.has_replies.swap(false, SeqCst) || !self.is_calm.load(SeqCst) {
            self.nudge.ring();
        }
    }

    /// Has the I/O thread look at what consumers have settled by themselves.
    pub fn settle(&self) {
        self.settled.fetch_add(1, SeqCst);
        self.nudge.ring();
    }

    /// Whether all pushers have been told of everything that was settled before the last [`PullPort::settle`].
    pub fn is_told(&self) -> bool {
        !self.is_running.load(SeqCst) || self.told.load(SeqCst) >= self.settled.load(SeqCst)
    }

    /// The consumer is gone. What it has begun with ends like that; the rest goes back.
    pub fn leave(&self, consumer: &Arc<Consumer>, fate: Fate<'_>) {
        self.consumers().retain(|other| !Arc::ptr_eq(other, consumer));
        let back = consumer.release();
        consumer.finish(fate);
        self.settle();
        self.take_back(back);
    }

    /// Whether all consumers there are have something to do.
    pub(super) fn is_busy(&self) -> bool {
        let consumers = self.consumers();
        !consumers.is_empty() && consumers.iter().all(|consumer| !consumer.waits())
    }

    /// How many jobs have arrived and were not sent back.
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// A closed end tells its pushers; what came from others is lost: how many that is.
    fn take_back(&self, back: Vec<Delivery>) -> u64 {
        let lost = if self.is_closed.load(SeqCst) {
            give_back(back)
        } else {
            self.put_back(back);
            0
        };
        self.nudge.ring();
        lost
    }

    /// Gives jobs that are dealt for the first time their place in the order, which they keep whatever happens to them.
    pub(super) fn stamp(&self, delivery: Delivery) -> Delivery {
        Delivery { place: (self.dealt.fetch_add(1, Relaxed), 0), ..delivery }
    }

    /// In the order in which they were dealt: one that has just been refused by a consumer belongs behind what that gave back.
    pub(super) fn put_back(&self, deliveries: Vec<Delivery>) {
        let mut returned = self.returned();
        for delivery in deliveries {
            let at = returned.partition_point(|other| other.place <= delivery.place);
            returned.insert(at, delivery);
        }
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

/// Notes for the pushers that jobs were not started; how many jobs came from others, who won't be told.
pub(super) fn give_back(deliveries: Vec<Delivery>) -> u64 {
    let mut lost = 0;
    for delivery in deliveries {
        delivery.settle(0, delivery.jobs, Fate::Unstarted);
        lost += (0..delivery.jobs)
            .filter(|&index| delivery.source(index).is_some_and(|source| !source.is_flow()))
            .count();
    }
    lost as u64
}
