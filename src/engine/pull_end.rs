//! The pull end: deals jobs fairly from all peers (RFC 30; libzmq's `fq`) to the consumers that want some.
//!
//! Nothing is read ahead of what is wanted but one inbox a peer and a few batches a consumer: everything else stays
//! with the pushers.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    sync::{
        Arc,
        atomic::{Ordering::Relaxed, Ordering::SeqCst},
    },
};

use tokio::{sync::watch, task::spawn_local};

use super::{
    event::{Event, Side},
    link::{End, Inbox, Link},
    outbox::Sent,
    pipe::{Alarm, Pipe},
    pull_port::{Consumer, Delivery, PullPort, Sources},
};
use crate::{
    batch::{Batch, Builder, Job, LARGE, MAX_FRAMES, Place},
    config::Config,
    error::Error,
    wire::decoder::MAX_BATCH_FRAMES,
};

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
        for idle in consumers.iter().filter(|consumer| consumer.waits()) {
            let others = consumers.iter().filter(|other| !Arc::ptr_eq(idle, other));
            let spare = others.into_iter().find_map(|busy| busy.spare());
            if let Some(Err(refused)) = spare.map(|delivery| idle.give(delivery)) {
                self.port().put_back(vec![refused]);
            }
        }
    }
}

/// Whoever waits comes first, then whoever has room.
fn next_consumer(consumers: &[Arc<Consumer>]) -> Option<&Arc<Consumer>> {
    let wants = |consumer: &&Arc<Consumer>| consumer.wants();
    let waits = |consumer: &&Arc<Consumer>| consumer.waits();
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
