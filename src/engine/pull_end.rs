//! The pull end: deals jobs fairly from all peers (RFC 30; libzmq's `fq`) to the consumers that want some.
//!
//! Nothing is read ahead of what is wanted but one inbox a peer and a few batches a consumer: everything else stays
//! with the pushers.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    },
};

use tokio::{sync::watch, task::spawn_local};

use super::{
    event::{Event, Handle, JOBS, Side},
    link::{End, Inbox, Link},
    nudge::Nudge,
    outbox::Sent,
    peer::{Board, Peer},
    pipe::{Alarm, Pipe},
};
use crate::{
    batch::{Batch, Builder, Job, LARGE, MAX_FRAMES, Place},
    config::Config,
    error::Error,
    wire::decoder::MAX_BATCH_FRAMES,
};

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
    ready: Mutex<VecDeque<Delivery>>,
    /// What was taken last. Shared with the I/O thread, so that it can be given to others if the consumer goes.
    in_hand: Mutex<Option<Delivery>>,
    /// How many frames of it the consumer has begun with. JavaScript writes it: see `lib/unpacker.js`.
    pub begun: Arc<AtomicU32>,
    waits: AtomicBool,
    /// Whether it wants jobs at all.
    is_active: AtomicBool,
    handle: Arc<dyn Handle>,
}

impl Consumer {
    /// Who sent the job with that index in what was taken last.
    pub fn source(&self, job: usize) -> Option<Arc<Peer>> {
        self.in_hand().as_ref()?.sources.of(job).cloned()
    }

    fn ready(&self) -> std::sync::MutexGuard<'_, VecDeque<Delivery>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_hand(&self) -> std::sync::MutexGuard<'_, Option<Delivery>> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes away what was made ready for it: how many jobs that is. What it has in hand it counts itself.
    fn close(&self) -> usize {
        self.in_hand().take();
        self.ready().drain(..).map(|delivery| delivery.jobs()).sum()
    }

    fn wants(&self) -> bool {
        self.is_active.load(SeqCst) && self.ready().len() < READY
    }

    fn give(&self, delivery: Delivery) {
        self.ready().push_back(delivery);
        if self.waits.swap(false, SeqCst) {
            self.handle.raise(JOBS);
        }
    }
}

/// The part of a pull end that other threads see.
#[derive(Default)]
pub struct PullPort {
    consumers: Mutex<Vec<Arc<Consumer>>>,
    /// Jobs that a consumer gave back.
    returned: Mutex<VecDeque<Delivery>>,
    nudge: Nudge,
    /// Jobs wait for a consumer, so one that can take more must say so.
    is_stocked: AtomicBool,
    received: AtomicU64,
    /// Where it listens.
    pub bound: Board<Vec<String>>,
    /// Who is connected.
    pub peers: Board<Vec<Arc<Peer>>>,
}

impl PullPort {
    /// A new user of the end.
    pub fn join(&self, handle: Arc<dyn Handle>) -> Arc<Consumer> {
        let consumer = Arc::new(Consumer {
            ready: Mutex::default(),
            in_hand: Mutex::default(),
            begun: Arc::default(),
            waits: AtomicBool::new(false),
            is_active: AtomicBool::new(false),
            handle,
        });
        self.consumers().push(Arc::clone(&consumer));
        consumer
    }

    /// The next jobs. With `wait`, if there are none, [`JOBS`] is raised as soon as there are.
    pub fn take(&self, consumer: &Consumer, wait: bool) -> Option<Delivery> {
        *consumer.in_hand() = None;
        consumer.begun.store(0, SeqCst);
        consumer.is_active.store(true, SeqCst);
        consumer.waits.store(wait, SeqCst);
        let delivery = consumer.ready().pop_front();
        if delivery.is_some() {
            consumer.waits.store(false, SeqCst);
            consumer.in_hand().clone_from(&delivery);
        }
        // With others around, what they have not begun with may be had too.
        if self.is_stocked.load(SeqCst) || delivery.is_none() && self.consumers().len() > 1 {
            self.nudge.ring();
        }
        delivery
    }

    /// The consumer wants no more for now; what it has not begun with goes to others, or waits for it.
    pub fn release(&self, consumer: &Consumer) {
        consumer.is_active.store(false, SeqCst);
        consumer.waits.store(false, SeqCst);
        let begun = consumer.begun.load(SeqCst) as usize;
        let in_hand = consumer.in_hand().take().and_then(|delivery| delivery.behind(begun));
        let ready = std::mem::take(&mut *consumer.ready());
        {
            let mut returned = self.returned();
            for delivery in in_hand.into_iter().chain(ready).rev() {
                returned.push_front(delivery);
            }
        }
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

    fn consumers(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Consumer>>> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn returned(&self) -> std::sync::MutexGuard<'_, VecDeque<Delivery>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Delivery {
    /// How many jobs are not done with.
    fn jobs(&self) -> usize {
        self.batch.jobs_behind(self.at)
    }

    /// The jobs behind so many frames, if there are any.
    fn behind(mut self, frames: usize) -> Option<Self> {
        while self.at.frame() < frames {
            self.at = self.batch.job(self.at)?.1;
        }
        self.batch.job(self.at).is_some().then_some(self)
    }
}

/// The part of a pull end that lives on the I/O thread.
pub struct PullEnd {
    pipe: Arc<Pipe>,
    state: RefCell<State>,
    stop: watch::Receiver<bool>,
}

#[derive(Default)]
struct State {
    links: Vec<Rc<Link>>,
    /// The links with jobs in their inbox, the one whose turn it is first. Some may have ended.
    round: VecDeque<Rc<Link>>,
}

impl PullEnd {
    /// A pull end without connections, which serves the port's consumers until `stop`.
    pub fn start(pipe: Arc<Pipe>, stop: watch::Receiver<bool>) -> Rc<Self> {
        let end = Rc::new(Self { pipe, state: RefCell::default(), stop: stop.clone() });
        let (weak, pipe) = (Rc::downgrade(&end), Arc::clone(&end.pipe));
        spawn_local(async move {
            let _alarm = Alarm(Arc::clone(&pipe));
            pipe.pull.nudge.watch(stop, || weak.upgrade().map(|end| end.deal())).await;
        });
        end
    }

    /// Ends every connection; how many jobs had arrived that nobody has begun with.
    pub fn close(&self) -> u64 {
        let state = std::mem::take(&mut *self.state.borrow_mut());
        state.links.iter().for_each(|link| link.end());
        let read: usize = state.round.iter().map(|link| link.inbox.borrow().jobs()).sum();
        let returned: usize = self.port().returned().drain(..).map(|delivery| delivery.jobs()).sum();
        let dealt: usize = self.port().consumers().iter().map(|consumer| consumer.close()).sum();
        (read + returned + dealt) as u64
    }

    fn port(&self) -> &PullPort {
        &self.pipe.pull
    }

    /// Deals jobs to consumers until there are no more of the one or the other.
    fn deal(&self) {
        let port = self.port();
        let consumers = port.consumers().clone();
        loop {
            let mut state = self.state.borrow_mut();
            while let Some(consumer) = next_consumer(&consumers) {
                let Some(delivery) = port.returned().pop_front().or_else(|| state.next_delivery()) else {
                    break;
                };
                consumer.give(delivery);
            }
            let is_stocked = !state.round.is_empty() || !port.returned().is_empty();
            drop(state);
            if !is_stocked {
                level_out(&consumers);
            }
            // Said first and looked at afterwards, so that a consumer that takes its last batch meanwhile is seen.
            port.is_stocked.store(is_stocked, SeqCst);
            if !is_stocked || next_consumer(&consumers).is_none() {
                return;
            }
        }
    }
}

/// Whoever waits comes first, then whoever has room.
fn next_consumer(consumers: &[Arc<Consumer>]) -> Option<&Arc<Consumer>> {
    let waits = |consumer: &&Arc<Consumer>| consumer.waits.load(SeqCst) && consumer.wants();
    consumers.iter().find(waits).or_else(|| consumers.iter().find(|consumer| consumer.wants()))
}

/// Gives a consumer that waits what was made ready for one that is busy.
fn level_out(consumers: &[Arc<Consumer>]) {
    for idle in consumers.iter().filter(|consumer| consumer.waits.load(SeqCst)) {
        let spare =
            consumers.iter().find_map(|busy| (!Arc::ptr_eq(idle, busy)).then(|| busy.ready().pop_back())?);
        if let Some(delivery) = spare {
            idle.give(delivery);
        }
    }
}

impl State {
    /// The next jobs: a whole batch from the only peer that has any, else one job from each peer in turn.
    fn next_delivery(&mut self) -> Option<Delivery> {
        if let [link] = self.round.make_contiguous() {
            let link = Rc::clone(link);
            let mut inbox = link.inbox.borrow_mut();
            let batch = inbox.batches.pop_front()?;
            let at = std::mem::take(&mut inbox.at);
            if inbox.batches.is_empty() {
                self.round.clear();
                drop(inbox);
                link.wake();
            }
            return Some(Delivery { batch, at, sources: Sources::One(Arc::clone(&link.peer)) });
        }
        let (mut builder, mut peers) = (Builder::default(), Vec::new());
        while let Some(link) = self.round.pop_front() {
            let mut inbox = link.inbox.borrow_mut();
            let Some((job, next)) = inbox.batches.front().and_then(|batch| batch.job(inbox.at)) else {
                continue;
            };
            if !peers.is_empty() && !fits(&mut builder, job) {
                drop(inbox);
                self.round.push_front(link);
                break;
            }
            builder.put(job);
            peers.push(Arc::clone(&link.peer));
            inbox.advance(next);
            let is_empty = inbox.batches.is_empty();
            drop(inbox);
            if is_empty {
                link.wake();
            } else {
                self.round.push_back(link);
            }
        }
        Some(Delivery { batch: builder.take()?, at: Place::default(), sources: Sources::Each(peers) })
    }
}

fn fits(builder: &mut Builder, job: Job<'_>) -> bool {
    builder.slab().len() + job.bytes() <= LARGE && builder.whole_frames() <= MAX_BATCH_FRAMES - MAX_FRAMES
}

impl Inbox {
    fn jobs(&self) -> usize {
        let all: usize = self.batches.iter().map(Batch::jobs).sum();
        let dealt = self.batches.front().map_or(0, |first| first.jobs() - first.jobs_behind(self.at));
        all - dealt
    }

    fn advance(&mut self, next: Place) {
        self.at = next;
        if self.batches.front().is_some_and(|batch| batch.job(next).is_none()) {
            self.batches.pop_front();
            self.at = Place::default();
        }
    }
}

impl End for PullEnd {
    fn side(&self) -> Side {
        Side::Pull
    }

    fn config(&self) -> &Config {
        &self.pipe.config
    }

    fn tell(&self, event: Event) {
        self.pipe.tell(&event);
    }

    fn joined(&self, link: &Rc<Link>) {
        if *self.stop.borrow() {
            link.end();
        }
        self.port().peers.write(|peers| peers.push(Arc::clone(&link.peer)));
        self.state.borrow_mut().links.push(Rc::clone(link));
    }

    fn wrote(&self, _: &Rc<Link>, _: &[Sent]) {}

    fn blocked(&self, _: &Rc<Link>) {}

    fn received(&self, link: &Rc<Link>) -> Result<(), Error> {
        let jobs = link.inbox.borrow().batches.iter().map(Batch::jobs).sum();
        link.peer.count(jobs);
        self.port().received.fetch_add(jobs as u64, Relaxed);
        self.state.borrow_mut().round.push_back(Rc::clone(link));
        self.deal();
        Ok(())
    }

    fn left(&self, link: &Rc<Link>) {
        self.port().peers.write(|peers| peers.retain(|peer| !Arc::ptr_eq(peer, &link.peer)));
        // What it has sent stays in the round.
        self.state.borrow_mut().links.retain(|other| !Rc::ptr_eq(other, link));
    }
}
