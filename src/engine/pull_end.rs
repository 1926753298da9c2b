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

    fn tray(&self) -> std::sync::MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes away what was made ready for it: how many jobs that is. What it has in hand it counts itself.
    fn close(&self) -> usize {
        let mut tray = self.tray();
        tray.in_hand = None;
        tray.ready.drain(..).map(|delivery| delivery.jobs()).sum()
    }

    /// Gives it jobs, unless it has gone away meanwhile.
    fn give(&self, delivery: Delivery) -> Result<(), Delivery> {
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
    fn put_back(&self, deliveries: Vec<Delivery>) {
        let mut returned = self.returned();
        deliveries.into_iter().rev().for_each(|delivery| returned.push_front(delivery));
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
    /// What all inboxes hold, and what large jobs that are arriving may grow to, in bytes.
    held: usize,
    /// Links that were refused to read because of that.
    thirsty: bool,
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
                if let Err(refused) = consumer.give(delivery) {
                    port.put_back(vec![refused]);
                }
            }
            let has_more = !state.round.is_empty();
            drop(state);
            if !has_more && port.returned().is_empty() {
                self.level_out(&consumers);
            }
            let is_stocked = has_more || !port.returned().is_empty();
            // Said first and looked at afterwards, so that a consumer that takes its last batch meanwhile is seen.
            port.is_stocked.store(is_stocked, SeqCst);
            if !is_stocked || next_consumer(&consumers).is_none() {
                return;
            }
        }
    }

    /// Gives a consumer that waits what was made ready for one that is busy.
    fn level_out(&self, consumers: &[Arc<Consumer>]) {
        for idle in consumers.iter().filter(|consumer| consumer.tray().mood == Mood::Waiting) {
            let others = consumers.iter().filter(|other| !Arc::ptr_eq(idle, other));
            let spare = others.into_iter().find_map(|busy| busy.tray().ready.pop_back());
            if let Some(Err(refused)) = spare.map(|delivery| idle.give(delivery)) {
                self.port().put_back(vec![refused]);
            }
        }
    }
}

/// Whoever waits comes first, then whoever has room.
fn next_consumer(consumers: &[Arc<Consumer>]) -> Option<&Arc<Consumer>> {
    let wants = |consumer: &&Arc<Consumer>| consumer.tray().wants();
    let waits = |consumer: &&Arc<Consumer>| consumer.tray().mood == Mood::Waiting;
    consumers.iter().find(waits).or_else(|| consumers.iter().find(wants))
}

impl State {
    /// Notes what a link holds now. When that makes room, those who were refused may read.
    fn charge(&mut self, link: &Link) {
        let inbox = link.inbox.borrow();
        let bytes = inbox.batches.iter().map(|batch| batch.slab().len()).sum::<usize>() + link.arriving.get();
        let before = link.charged.replace(bytes);
        self.held = self.held + bytes - before;
        if self.thirsty && bytes < before {
            self.thirsty = false;
            self.links.iter().for_each(|link| link.wake());
        }
    }

    /// The next jobs: a whole batch from the only peer that has any, else one job from each peer in turn.
    fn next_delivery(&mut self) -> Option<Delivery> {
        if let [link] = self.round.make_contiguous() {
            let link = Rc::clone(link);
            let mut inbox = link.inbox.borrow_mut();
            let batch = inbox.batches.pop_front()?;
            let at = std::mem::take(&mut inbox.at);
            let is_empty = inbox.batches.is_empty();
            drop(inbox);
            self.charge(&link);
            if is_empty {
                self.round.clear();
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
                self.charge(&link);
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

    fn may_read(&self, link: &Link) -> bool {
        let mut state = self.state.borrow_mut();
        // What has begun may go on: that is what makes room again.
        let may = link.charged.get() > 0 || state.held < self.config().max_message_size.max(LARGE);
        state.thirsty |= !may;
        may
    }

    fn received(&self, link: &Rc<Link>) -> Result<(), Error> {
        let jobs: usize = link.inbox.borrow().batches.iter().map(Batch::jobs).sum();
        let mut state = self.state.borrow_mut();
        state.charge(link);
        if jobs > 0 {
            link.peer.count(jobs);
            self.port().received.fetch_add(jobs as u64, Relaxed);
            state.round.push_back(Rc::clone(link));
        }
        drop(state);
        self.deal();
        Ok(())
    }

    fn left(&self, link: &Rc<Link>) {
        self.port().peers.write(|peers| peers.retain(|peer| !Arc::ptr_eq(peer, &link.peer)));
        let mut state = self.state.borrow_mut();
        state.links.retain(|other| !Rc::ptr_eq(other, link));
        // What it has sent stays in the round, and counts; what was arriving doesn't any more.
        link.arriving.set(0);
        state.charge(link);
    }
}
