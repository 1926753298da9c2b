//! The sender: which peer gets which job, from when a job was accepted until it is delivered or dead
//! (docs/flow.md, "The pusher").
//!
//! A job waits in one of the [`queue`]s, or pauses ([`retry`]), until the [`scheduler`] frames it into
//! the [`outbox`](super::outbox) of a peer. To a plain peer it is delivered when the connection has
//! taken all of it; with others it stays [`in_flight`] until it is settled, and a request until it is
//! answered ([`requests`], [`replies`]).

mod coalesce;
mod effect;
mod in_flight;
mod peer;
mod plain_share;
pub mod queue;
mod replies;
pub mod requests;
mod retry;
mod scheduler;
mod totals;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use fastrand::Rng;

use self::{
    coalesce::Coalescing,
    in_flight::{InFlight, Settled},
    peer::Peers,
    plain_share::PlainShare,
    queue::{JobRange, JobState, Queue},
    requests::Requests,
    retry::Paused,
};
pub use self::{effect::Effect, peer::Changes, totals::Totals};
use super::{Pattern, PeerId, outbox::Outbox};
use crate::{
    batch::Batch,
    error::{Error, code},
    wire::{
        command::FlowCommand,
        flow::{Instance, Range},
    },
};

/// What can be chosen about a sender.
#[derive(Debug, Clone)]
pub struct Options {
    /// What for.
    pub pattern: Pattern,
    /// Who it is: job ids begin with it.
    pub instance: Instance,
    /// Jobs that may be in flight; many peers may have more.
    pub max_jobs: usize,
    /// What the jobs in flight may count ([`crate::batch::cost`]).
    pub max_cost: usize,
    /// What a whole reply may count.
    pub max_message_size: usize,
    /// How often peers may fail on a job before it is dead.
    pub max_attempts: u32,
    /// How long a peer may hold a job before it goes to another; `None` for ever.
    pub ack_timeout: Option<Duration>,
}

/// What [`Sender::handle_written`] says of what was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// A PING has left.
    pub has_ping: bool,
    /// Jobs were delivered by that, or replies left.
    pub has_jobs: bool,
}

/// What others may send to a peer by themselves: see [`Sender::lease`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// To whom.
    pub peer: PeerId,
    /// So many jobs.
    pub jobs: u64,
    /// That count so much; the last may go beyond it.
    pub cost: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Sender {
    options: Options,
    rng: Rng,
    /// Jobs that wait for a peer with room, in the order in which they were accepted.
    ready: Queue,
    /// Jobs that have failed, each of which goes to a peer that has nothing else.
    isolated: Queue,
    /// Jobs that a peer has held for too long and still holds: they may go to any other.
    withheld: Queue,
    /// Jobs that wait for another attempt.
    paused: Paused,
    /// The driver was told that all peers hold one of `withheld`.
    has_told_withheld: bool,
    next_order: u64,
    next_id: u64,
    peers: Peers,
    /// The peers that can take a job as far as it is up to them, the one whose turn it is first.
    rotation: VecDeque<PeerId>,
    /// Some of the peers are reserved for isolated jobs.
    has_reserved: bool,
    plain_share: PlainShare,
    coalescing: Coalescing,
    requests: Requests,
    drains: Vec<Drain>,
    totals: Totals,
    /// The totals that the driver knows.
    published: Totals,
    effects: VecDeque<Effect>,
    /// Used again and again for what a command settles.
    settled: Vec<Settled>,
    is_closed: bool,
}

/// Somebody waits until all jobs with lower orders are delivered.
#[derive(Debug)]
struct Drain {
    before: u64,
    left: usize,
    number: u64,
}

impl Sender {
    /// A sender without peers or jobs.
    pub fn new(options: Options, rng: Rng) -> Self {
        Self {
            options,
            rng,
            ready: Queue::default(),
            isolated: Queue::default(),
            withheld: Queue::default(),
            paused: Paused::default(),
            has_told_withheld: false,
            next_order: 0,
            next_id: 1,
            peers: Peers::default(),
            rotation: VecDeque::new(),
            has_reserved: false,
            plain_share: PlainShare::default(),
            coalescing: Coalescing::default(),
            requests: Requests::default(),
            drains: Vec::new(),
            totals: Totals::default(),
            published: Totals::default(),
            effects: VecDeque::new(),
            settled: Vec::new(),
            is_closed: false,
        }
    }

    /// Accepts jobs, which the driver has counted as waiting and undelivered.
    pub fn handle_jobs(&mut self, batch: Batch) {
        if self.is_closed {
            return;
        }
        let range = self.accept(batch);
        self.totals.add_waiting(&range);
        self.published.add_waiting(&range);
        self.ready.push_back(range);
    }

    /// Accepts jobs that were written to a peer under a [`Lease`], and that the driver has counted as
    /// in flight and undelivered.
    pub fn handle_leased_write(&mut self, id: PeerId, batch: Batch, now: Instant) {
        if self.is_closed {
            return;
        }
        let range = self.accept(batch);
        for totals in [&mut self.totals, &mut self.published] {
            totals.in_flight += range.jobs();
            totals.in_flight_cost += range.cost();
        }
        let in_flight = &mut self.peers[id].in_flight;
        let first = in_flight.next_id();
        in_flight.push(range, first, now);
        self.peers.change(id, |_| {});
    }

    fn accept(&mut self, batch: Batch) -> JobRange {
        let state = JobState::new(self.next_order);
        if self.options.pattern == Pattern::Requests {
            self.requests.open(&batch, state.order);
        }
        self.next_order += batch.jobs() as u64;
        self.totals.undelivered += batch.jobs();
        self.published.undelivered += batch.jobs();
        JobRange::new(batch, state)
    }

    /// A peer has joined.
    pub fn handle_join(&mut self, is_flow: bool, now: Instant) -> PeerId {
        let id = self.peers.join(is_flow, now);
        self.list(id);
        id
    }

    /// A peer has left. What it did not take, or has not settled, goes to another.
    pub fn handle_leave(&mut self, id: PeerId, now: Instant) {
        self.rotation.retain(|other| *other != id);
        self.plain_share.leave(id);
        let Some(mut peer) = self.peers.leave(id) else { return };
        if self.is_closed {
            return;
        }
        if !peer.is_flow {
            let (cut, untouched) = peer.outbox.take_all();
            cut.into_iter().for_each(|range| self.cut(id, range));
            untouched.into_iter().for_each(|range| self.untaken(range));
        }
        for range in peer.in_flight.take_all() {
            // It may come back with a reply, on another connection.
            self.let_answer(PeerId::NONE, &range);
            self.failed(range, "the worker left with it", false, now);
        }
        self.list_all();
    }

    /// A connection has taken so many bytes of the outbox of a peer, and may take more.
    pub fn handle_written(&mut self, id: PeerId, bytes: usize) -> Written {
        let peer = &mut self.peers[id];
        peer.is_blocked = false;
        let (mut jobs, mut cost) = (0, 0);
        let drains = &mut self.drains;
        let is_pipeline = self.options.pattern == Pattern::Pipeline;
        let has_ping = peer.outbox.advance(bytes, |sent| {
            (jobs, cost) = (jobs + 1, cost + sent.cost);
            if is_pipeline {
                let waits = drains.iter_mut().filter(|drain| sent.state.order < drain.before);
                waits.for_each(|drain| drain.left -= 1);
            }
        });
        if jobs > 0 && !self.is_closed {
            self.peers.change(id, |changes| changes.sent += jobs as u64);
            self.totals.remove_waiting(jobs, cost);
            if is_pipeline {
                self.count_done(id, jobs);
                self.totals.undelivered -= jobs;
            }
        }
        self.list(id);
        Written { has_ping, has_jobs: jobs > 0 }
    }

    /// The connection of a peer takes no more bytes for now.
    pub fn handle_blocked(&mut self, id: PeerId) {
        self.peers[id].is_blocked = true;
    }

    /// A peer that acknowledges jobs has given a command. Nothing of what breaks a rule counts.
    pub fn handle_command(&mut self, id: PeerId, command: FlowCommand, now: Instant) -> Result<(), Error> {
        if self.is_closed {
            return Ok(());
        }
        self.check(id, &command)?;
        if self.peers.plain() > 0 && !matches!(command, FlowCommand::Credit { .. } | FlowCommand::Return(_)) {
            self.plain_share.settled();
        }
        match command {
            FlowCommand::Credit { jobs, cost } => self.peers[id].in_flight.grant(jobs, cost),
            FlowCommand::Ack(ranges) => {
                self.settle(id, &ranges, now, &mut |own, settled| own.done(id, settled))
            }
            FlowCommand::Return(ranges) => {
                self.settle(id, &ranges, now, &mut |own, settled| {
                    own.let_answer(id, settled.range());
                    own.unstarted(settled);
                });
            }
            FlowCommand::Nack { number, reason } => {
                self.settle(id, &[Range::one(number)], now, &mut |own, settled| {
                    own.let_answer(id, settled.range());
                    if let Settled::Own(range) = settled {
                        own.failed(range, &reason, true, now);
                    }
                });
            }
            FlowCommand::Reject { number, code, text } => {
                self.settle(id, &[Range::one(number)], now, &mut |own, settled| {
                    own.rejected(id, settled, &code, &text);
                });
            }
            FlowCommand::Job(_) => {}
        }
        let peer = &mut self.peers[id];
        peer.has_isolated_job &= peer.in_flight.jobs() > 0;
        self.peers.change(id, |_| {});
        self.list(id);
        Ok(())
    }

    /// Whether a peer may say that.
    fn check(&self, id: PeerId, command: &FlowCommand) -> Result<(), Error> {
        let in_flight = &self.peers[id].in_flight;
        let broken = |what| Err(Error::new(code::PROTOCOL, what));
        match command {
            FlowCommand::Ack(ranges) | FlowCommand::Return(ranges) => in_flight.check(ranges),
            FlowCommand::Nack { number, .. } => in_flight.check(&[Range::one(*number)]),
            FlowCommand::Reject { number, .. } if self.options.pattern == Pattern::Requests => {
                in_flight.check(&[Range::one(*number)])
            }
            FlowCommand::Reject { .. } => broken("a PULL that answers"),
            FlowCommand::Credit { .. } => Ok(()),
            FlowCommand::Job(_) => broken("a PULL that sends JOB"),
        }
    }

    /// Takes out of flight what a peer has settled, and does with it what is to be done.
    fn settle(
        &mut self,
        id: PeerId,
        ranges: &[Range],
        now: Instant,
        each: &mut dyn FnMut(&mut Self, Settled),
    ) {
        for &range in ranges {
            let mut settled = std::mem::take(&mut self.settled);
            self.peers[id].in_flight.settle(range, |jobs| settled.push(jobs));
            settled.drain(..).for_each(|jobs| each(self, jobs));
            self.settled = settled;
            // What a peer that is done with jobs has shown of others is needed where those can lapse.
            if self.options.ack_timeout.is_some() {
                self.peers[id].in_flight.note_progress(range.first, now);
            }
        }
    }

    /// The time has come that [`Sender::next_timeout`] named, or another.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(range) = self.paused.take_due(now) {
            self.line_up(range);
        }
        if self.coalescing.is_due(now) {
            self.end_coalescing();
        }
        self.plain_share.handle_timeout(now);
        self.lapse(now);
    }

    /// When to call [`Sender::handle_timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        let held = |limit| {
            let since = self.peers.iter().filter_map(|(_, peer)| peer.in_flight.held_since()).min();
            since.and_then(|since| since.checked_add(limit))
        };
        let lapse = self.options.ack_timeout.and_then(held);
        let share = self.plain_share.next_timeout();
        [self.paused.next_due(), self.coalescing.next_timeout(), share, lapse].into_iter().flatten().min()
    }

    /// Asks for [`Effect::Drained`] with that number when the first `before` jobs, or as many as there
    /// are, are delivered.
    pub fn drain(&mut self, before: u64, number: u64) {
        let before = before.min(self.next_order);
        let left =
            if before == self.next_order { self.totals.undelivered } else { self.undelivered_before(before) };
        self.drains.push(Drain { before, left, number });
    }

    /// Gives up what is not delivered. What is not written was given up with that, but a job that is
    /// cut still ends, and so do commands.
    pub fn close(&mut self) {
        for (_, peer) in self.peers.iter_mut() {
            peer.outbox.take_back();
            peer.in_flight = InFlight::default();
        }
        let options = self.options.clone();
        let peers = std::mem::take(&mut self.peers);
        *self = Self { peers, is_closed: true, ..Self::new(options, self.rng.clone()) };
    }

    /// What is to be done next. Whoever waits for jobs is answered last: all else that was done with
    /// them is told by then.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front().or_else(|| {
            let done = self.drains.iter().position(|drain| drain.left == 0)?;
            Some(Effect::Drained(self.drains.swap_remove(done).number))
        })
    }

    /// The totals when this was called last, with what the driver has counted since, and now.
    pub fn take_totals(&mut self) -> (Totals, Totals) {
        (std::mem::replace(&mut self.published, self.totals), self.totals)
    }

    /// What has changed for users, of one peer after the other, with its credit and jobs in flight.
    pub fn take_change(&mut self) -> Option<(PeerId, Changes, u64, usize)> {
        let (id, changes, in_flight) = self.peers.take_change()?;
        Some((id, changes, in_flight.credit(), in_flight.jobs()))
    }

    /// What is framed for a peer.
    pub fn outbox(&mut self, id: PeerId) -> &mut Outbox {
        &mut self.peers[id].outbox
    }

    /// How many peers there are.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// To how many of them something is to be written.
    pub fn unwritten_peers(&self) -> usize {
        self.peers.iter().filter(|(_, peer)| peer.outbox.unwritten() > 0).count()
    }

    /// How many jobs could be sent at once, were there a peer for them.
    pub fn sendable(&self) -> usize {
        self.ready.jobs() + self.isolated.jobs() + self.withheld.jobs()
    }

    /// Whether the next job is written as soon as it comes.
    pub fn is_idle(&self) -> bool {
        let next = self.rotation.front().and_then(|id| self.peers.get(*id));
        self.ready.jobs() == 0 && !self.is_full() && next.is_some_and(|peer| peer.outbox.unwritten() == 0)
    }

    /// What others may send by themselves: to the only peer there is, with nothing on its way to it.
    pub fn lease(&self) -> Option<Lease> {
        let id = self.peers.only()?;
        let peer = &self.peers[id];
        let is_idle = self.sendable() == 0 && peer.outbox.unwritten() == 0;
        let is_fit = peer.is_flow && self.options.ack_timeout.is_none() && !self.is_closed;
        if !(is_idle && is_fit && self.can_take(id)) {
            return None;
        }
        let room = self.options.max_jobs.saturating_sub(self.totals.in_flight) as u64;
        let room_cost = self.options.max_cost.saturating_sub(self.totals.in_flight_cost) as u64;
        let in_flight = &peer.in_flight;
        Some(Lease {
            peer: id,
            jobs: in_flight.credit().min(room).min(in_flight.in_a_row()),
            cost: in_flight.credit_cost().min(room_cost),
        })
    }

    /// How many jobs of lower order are not delivered.
    #[inline(never)]
    fn undelivered_before(&self, order: u64) -> usize {
        if self.options.pattern == Pattern::Requests {
            return self.requests.open_before(order);
        }
        let queues = [&self.ready, &self.isolated, &self.withheld];
        let waiting: usize = queues.map(|queue| queue.jobs_before(order)).iter().sum();
        let with = |peer: &peer::Peer| peer.in_flight.jobs_before(order) + peer.outbox.jobs_before(order);
        let with_peers: usize = self.peers.iter().map(|(_, peer)| with(peer)).sum();
        waiting + self.paused.jobs_before(order) + with_peers
    }

    /// Jobs are done with their peers, and so delivered. A request is not before its reply has come.
    fn settled_all(&mut self, range: &JobRange) {
        if self.options.pattern == Pattern::Pipeline {
            self.deliver(range.jobs(), |order| range.jobs_before(order));
        }
    }

    /// Nobody needs to care for jobs any more; `before` tells how many of them have a lower order.
    fn deliver(&mut self, jobs: usize, before: impl Fn(u64) -> usize) {
        self.totals.undelivered -= jobs;
        self.drains.iter_mut().for_each(|drain| drain.left -= before(drain.before));
    }

    /// A peer has acknowledged jobs.
    fn done(&mut self, id: PeerId, settled: Settled) {
        match settled {
            Settled::Own(range) => {
                self.totals.remove_in_flight(&range);
                self.count_done(id, range.jobs());
                self.settled_all(&range);
                if self.options.pattern == Pattern::Requests {
                    self.fail(&range, "a worker is done with it and has not replied");
                }
            }
            // Without a reply it is no answer: the request goes on waiting for one.
            Settled::Lapsed(_) if self.options.pattern == Pattern::Requests => {}
            Settled::Lapsed(range) => range.singles().for_each(|job| self.done_late(id, job.state.order)),
        }
    }

    /// A job that was taken from a peer is done by it after all. If it still waits for another, it does
    /// so no more.
    #[inline(never)]
    fn done_late(&mut self, id: PeerId, order: u64) {
        let Some(range) = self.withdraw(order) else { return };
        self.count_done(id, range.jobs());
        self.settled_all(&range);
    }

    /// Takes a job out of the queues, if it waits.
    #[inline(never)]
    fn withdraw(&mut self, order: u64) -> Option<JobRange> {
        let range = self.paused.remove(order).or_else(|| {
            let queues = [&mut self.withheld, &mut self.isolated, &mut self.ready];
            queues.into_iter().find_map(|queue| queue.remove(order))
        })?;
        self.totals.remove_waiting(range.jobs(), range.cost());
        Some(range)
    }

    /// A request is not done before its reply has come.
    fn count_done(&mut self, id: PeerId, jobs: usize) {
        if self.options.pattern == Pattern::Pipeline {
            self.peers.change(id, |changes| changes.done += jobs as u64);
            self.totals.done += jobs as u64;
        }
    }

    /// A peer has not started with jobs.
    #[inline(never)]
    fn unstarted(&mut self, settled: Settled) {
        let Settled::Own(range) = settled else { return };
        if self.peers.plain() > 0 {
            self.plain_share.returned(range.jobs(), self.peers.flow());
        }
        self.totals.remove_in_flight(&range);
        for range in self.wanted(range) {
            self.totals.add_waiting(&range);
            self.line_up(range);
        }
    }
}
