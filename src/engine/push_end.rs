//! The push end: takes jobs in from its port, keeps them in order, and deals them round robin to the peers that
//! can take one now (RFC 30; libzmq's `lb`).
//!
//! A job leaves for good when a connection has taken all of it. What sits unwritten for a peer that goes away, or
//! that stalls while another is idle, comes back to the front of the queue.

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
    event::{Event, ROOM, Reply, Side, Tally},
    link::{End, Link},
    outbox::Sent,
    pipe::{Alarm, Pipe},
    push_port::PushPort,
    queue::{Lot, Queue},
};
use crate::{
    batch::LARGE,
    config::Config,
    error::{Error, code},
};

/// How much is framed for a peer before the next write; beyond it the peer is skipped.
const ROOM_PER_PEER: usize = 2 * LARGE;

/// The part of a push end that lives on the I/O thread.
pub struct PushEnd {
    pipe: Arc<Pipe>,
    state: RefCell<State>,
    stop: watch::Receiver<bool>,
}

#[derive(Default)]
struct State {
    queue: Queue,
    next_number: u64,
    /// How many jobs have a number and are not delivered.
    undelivered: usize,
    links: Vec<Rc<Link>>,
    /// The peers that can take a job now, the one whose turn it is first.
    round: VecDeque<Rc<Link>>,
    drains: Vec<Drain>,
}

/// Somebody who waits until all jobs with lower numbers are delivered.
struct Drain {
    before: u64,
    left: usize,
    reply: Reply,
}

impl PushEnd {
    /// A push end without connections, which takes in what the port is sent until `stop`.
    pub fn start(pipe: Arc<Pipe>, stop: watch::Receiver<bool>) -> Rc<Self> {
        let end = Rc::new(Self { pipe, state: RefCell::default(), stop: stop.clone() });
        let (weak, pipe) = (Rc::downgrade(&end), Arc::clone(&end.pipe));
        spawn_local(async move {
            let _alarm = Alarm(Arc::clone(&pipe));
            pipe.push.nudge.watch(stop, || weak.upgrade().map(|end| end.take_in())).await;
        });
        end
    }

    /// Answers when everything that was sent so far is delivered.
    pub fn drain(&self, reply: Reply) {
        self.take_in();
        let mut state = self.state.borrow_mut();
        // Not the port's count: other threads may have added to that since.
        let (before, left) = (state.next_number, state.undelivered);
        if left == 0 {
            reply.send(Ok(Tally::default()));
        } else {
            state.drains.push(Drain { before, left, reply });
        }
    }

    /// Ends every connection and gives up what was not delivered: how many jobs that is.
    pub fn close(&self) -> u64 {
        self.port().incoming().take();
        let state = std::mem::take(&mut *self.state.borrow_mut());
        state.links.iter().for_each(|link| {
            // What is not written by now was given up, but a job that is cut should still end.
            link.outbox.borrow_mut().take_back();
            link.end();
        });
        for drain in state.drains {
            drain
                .reply
                .send(Err(Error::new(code::CLOSED, "the pipe was closed before everything was delivered")));
        }
        let port = self.port();
        port.waiting_cost.store(0, SeqCst);
        port.waiting.swap(0, SeqCst) as u64
    }

    fn port(&self) -> &PushPort {
        &self.pipe.push
    }

    fn is_closed(&self) -> bool {
        *self.stop.borrow()
    }

    /// Numbers what has been handed over, and deals.
    fn take_in(&self) {
        let batches = self.port().incoming().as_mut().map(std::mem::take).unwrap_or_default();
        let mut state = self.state.borrow_mut();
        for batch in batches {
            let first = state.next_number;
            state.next_number += batch.jobs() as u64;
            state.undelivered += batch.jobs();
            state.queue.push_back(Lot::new(batch, first));
        }
        self.deal(state);
    }

    /// Deals jobs to peers, one each in turn, until there are no more of the one or the other.
    fn deal(&self, mut state: std::cell::RefMut<'_, State>) {
        let touched = state.deal();
        let is_idle = state.queue.jobs() == 0
            && state.round.front().is_some_and(|link| link.outbox.borrow().unwritten() == 0);
        drop(state);
        touched.iter().for_each(|link| link.wake());
        self.port().set_idle(is_idle);
    }
}

impl State {
    fn deal(&mut self) -> Vec<Rc<Link>> {
        let mut touched = self.deal_queue();
        if self.queue.jobs() == 0 && self.reclaim() {
            touched.extend(self.deal_queue());
        }
        touched
    }

    /// The links that were given something.
    fn deal_queue(&mut self) -> Vec<Rc<Link>> {
        let mut touched: Vec<Rc<Link>> = Vec::new();
        while let Some(front) = self.queue.front() {
            let Some(link) = self.round.pop_front() else { break };
            if !link.can_take() {
                link.listed.set(false);
                continue;
            }
            let mut outbox = link.outbox.borrow_mut();
            if outbox.unwritten() == 0 {
                touched.push(Rc::clone(&link));
            }
            let sent = Sent { number: front.number, cost: front.job.cost() };
            match front.alone {
                Some(batch) => outbox.put_large(batch.clone(), sent),
                None => outbox.put(front.job, sent),
            }
            drop(outbox);
            self.round.push_back(link);
            let next = front.next;
            self.queue.advance(next);
        }
        touched
    }

    /// If a peer is idle, takes back what others are too stalled to be sent; whether that was anything.
    fn reclaim(&mut self) -> bool {
        let is_idle = |link: &Rc<Link>| link.can_take() && link.outbox.borrow().unwritten() == 0;
        if !self.links.iter().any(|link| link.is_blocked.get()) || !self.round.iter().any(is_idle) {
            return false;
        }
        for link in self.links.iter().filter(|link| link.is_blocked.get()) {
            let lots = link.outbox.borrow_mut().take_back();
            lots.into_iter().rev().for_each(|lot| self.queue.push_front(lot));
        }
        self.queue.jobs() > 0
    }

    fn list(&mut self, link: &Rc<Link>) {
        if link.can_take() && !link.listed.replace(true) {
            self.round.push_back(Rc::clone(link));
        }
    }
}

impl Link {
    fn can_take(&self) -> bool {
        !self.is_blocked.get() && !self.is_ending() && self.outbox.borrow().unwritten() < ROOM_PER_PEER
    }
}

impl End for PushEnd {
    fn side(&self) -> Side {
        Side::Push
    }

    fn config(&self) -> &Config {
        &self.pipe.config
    }

    fn tell(&self, event: Event) {
        self.pipe.tell(&event);
    }

    fn joined(&self, link: &Rc<Link>) {
        if self.is_closed() {
            link.end();
        }
        self.port().peers.write(|peers| peers.push(Arc::clone(&link.peer)));
        let mut state = self.state.borrow_mut();
        state.links.push(Rc::clone(link));
        state.list(link);
        self.deal(state);
    }

    fn wrote(&self, link: &Rc<Link>, sent: &[Sent]) {
        let port = self.port();
        let mut state = self.state.borrow_mut();
        if !sent.is_empty() && !self.is_closed() {
            link.peer.count(sent.len());
            state.undelivered -= sent.len();
            port.delivered.fetch_add(sent.len() as u64, Relaxed);
            port.waiting_cost.fetch_sub(sent.iter().map(|sent| sent.cost).sum(), SeqCst);
            port.waiting.fetch_sub(sent.len(), SeqCst);
            if port.is_full.swap(false, SeqCst) {
                self.pipe.raise(ROOM);
            }
            state.drains.iter_mut().for_each(|drain| {
                drain.left -= sent.iter().filter(|sent| sent.number < drain.before).count();
            });
            for drain in state.drains.extract_if(.., |drain| drain.left == 0) {
                drain.reply.send(Ok(Tally::default()));
            }
        }
        state.list(link);
        self.deal(state);
    }

    fn blocked(&self, _: &Rc<Link>) {
        self.deal(self.state.borrow_mut());
    }

    fn may_read(&self, _: &Link) -> bool {
        true
    }

    fn received(&self, _: &Rc<Link>) -> Result<(), Error> {
        Err(Error::new(code::PROTOCOL, "a PULL that sends messages"))
    }

    fn left(&self, link: &Rc<Link>) {
        self.port().peers.write(|peers| peers.retain(|peer| !Arc::ptr_eq(peer, &link.peer)));
        let mut state = self.state.borrow_mut();
        state.links.retain(|other| !Rc::ptr_eq(other, link));
        state.round.retain(|other| !Rc::ptr_eq(other, link));
        if !self.is_closed() {
            let lots = link.outbox.borrow_mut().take_all();
            lots.into_iter().rev().for_each(|lot| state.queue.push_front(lot));
        }
        self.deal(state);
    }
}
