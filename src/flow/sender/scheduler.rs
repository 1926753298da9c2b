//! Which peer gets which job: in turn, to those that can take one now (RFC 30; libzmq's `lb`).

use std::time::Instant;

use super::{
    Effect, Sender,
    coalesce::MANY,
    in_flight::IDS,
    peer::ROOM_PER_PEER,
    plain_share::STANDSTILL,
    queue::{JobRange, Queue},
};
use crate::{
    batch::Job,
    flow::{
        Pattern, PeerId,
        outbox::{Outbox, Sent},
    },
    wire::command,
};

/// How many jobs a peer is given in its turn at most, when others can take some too.
pub const MOST_AT_A_TIME: usize = 2048;

/// The part of what may wait that may be in flight toward each zeropipe peer, however many there are.
const PART_OF_EACH: usize = 50;

/// What becomes of a peer whose turn it is.
enum Turn {
    /// It can take nothing, or has enough, and leaves the rotation.
    Leaves,
    /// As much is in flight as may be: its turn comes when there is less.
    Full,
    /// Others that have less come first.
    Later,
    /// A plain peer that has had its share.
    Waits,
    /// It gets so many jobs at most.
    Gets(usize),
}

/// Peers that were passed over in one go through the rotation.
#[derive(Default)]
struct Passed {
    /// With a reason that holds for all that acknowledge jobs.
    full: Vec<PeerId>,
    /// Plain peers that have had their share.
    waiting: Vec<PeerId>,
    /// Some have enough for now.
    has_satisfied: bool,
}

impl Sender {
    /// Frames the jobs that wait for the peers that can take some. To be called after inputs, before
    /// [`Sender::poll_effect`].
    pub fn dispatch(&mut self, now: Instant) {
        if self.is_closed {
            return;
        }
        if self.withheld.jobs() > 0 {
            self.dispatch_withheld(now);
        }
        if self.isolated.jobs() > 0 || self.has_reserved {
            self.dispatch_isolated(now);
            self.list_all();
        }
        if !self.coalesces(now) {
            self.dispatch_ready(now);
        }
        if self.ready.jobs() == 0 && self.reclaim() {
            self.dispatch_ready(now);
        }
        self.coalescing.allow();
        self.report_withheld();
    }

    /// Jobs to each peer in turn; all that it can take to a peer that is the only one of few.
    #[inline(never)]
    fn dispatch_ready(&mut self, now: Instant) {
        let mut passed = Passed::default();
        let is_mixed = self.is_mixed(now);
        while self.ready.jobs() > 0 {
            let Some(id) = self.rotation.pop_front() else { break };
            match self.turn(id, is_mixed, &mut passed, now) {
                Turn::Leaves => self.peers[id].is_listed = false,
                Turn::Later => self.rotation.push_back(id),
                Turn::Waits => passed.waiting.push(id),
                Turn::Full => {
                    passed.full.push(id);
                    // Only plain peers could take any now.
                    if self.peers.plain() == 0 {
                        break;
                    }
                }
                Turn::Gets(most) => {
                    let before = self.ready.jobs();
                    self.send(id, most, now);
                    if is_mixed && self.peers[id].is_flow {
                        self.rotation.extend(passed.waiting.drain(..));
                    } else if is_mixed {
                        self.plain_share.gave(id, before - self.ready.jobs());
                    }
                    self.rotation.push_back(id);
                }
            }
        }
        passed.full.into_iter().rev().for_each(|id| self.rotation.push_front(id));
        if self.ready.jobs() > 0 && !passed.waiting.is_empty() {
            self.plain_share.wait(now);
        }
        self.rotation.extend(passed.waiting);
    }

    fn turn(&mut self, id: PeerId, is_mixed: bool, passed: &mut Passed, now: Instant) -> Turn {
        let peer = &self.peers[id];
        if !peer.wants() {
            return Turn::Leaves;
        }
        if peer.is_flow && self.is_full() {
            return Turn::Full;
        }
        if self.has_enough(peer) {
            self.coalescing.pass_over(now);
            passed.has_satisfied = true;
            return Turn::Leaves;
        }
        let is_lighter = |other: &PeerId| self.can_take(*other) && !self.is_heavy(*other);
        if self.is_heavy(id) && self.rotation.iter().any(is_lighter) {
            return Turn::Later;
        }
        let shares = is_mixed && !peer.is_flow;
        let allowed = if shares { self.plain_share.allowance(id) } else { usize::MAX };
        if allowed == 0 {
            return Turn::Waits;
        }
        let is_only = self.rotation.is_empty()
            && passed.full.is_empty()
            && passed.waiting.is_empty()
            && !passed.has_satisfied
            && self.peers.len() < MANY;
        Turn::Gets(if is_only { usize::MAX } else { self.quantum(id, now) }.min(allowed))
    }

    /// Whether plain peers have to share with zeropipe peers that want jobs, or have yet to say so.
    fn is_mixed(&self, now: Instant) -> bool {
        let is_new = |joined| now.duration_since(joined) < STANDSTILL;
        self.peers.plain() > 0
            && self.peers.flow() > 0
            && self.peers.iter().any(|(_, peer)| peer.works() || peer.is_flow && is_new(peer.joined))
    }

    /// Isolated jobs go to peers that have nothing; if there are too few of those, others are emptied.
    #[inline(never)]
    fn dispatch_isolated(&mut self, now: Instant) {
        self.peers.iter_mut().for_each(|(_, peer)| peer.is_reserved = false);
        let ids: Vec<_> = self.peers.iter().map(|(id, _)| id).collect();
        for &id in &ids {
            if self.isolated.jobs() == 0 {
                break;
            }
            let peer = &self.peers[id];
            if !(peer.is_flow && peer.in_flight.jobs() == 0 && self.can_take(id)) {
                continue;
            }
            let order = self.isolated.find_returned(|order| !peer.in_flight.has_lapsed(order));
            let Some(range) = order.and_then(|order| self.isolated.remove(order)) else { continue };
            self.send_one(id, range, now);
            self.peers[id].has_isolated_job = true;
        }
        self.reserve();
        // Where nobody who acknowledges works, nothing is learnt by isolation.
        if self.peers.plain() > 0 && !self.peers.iter().any(|(_, peer)| peer.works()) {
            while let Some(range) = self.isolated.pop_front() {
                self.ready.put_back(range);
            }
        }
    }

    /// Jobs that a peer holds for too long go to any other that can take one.
    #[inline(never)]
    fn dispatch_withheld(&mut self, now: Instant) {
        let ids: Vec<_> = self.peers.iter().map(|(id, _)| id).collect();
        for id in ids {
            while self.can_take(id)
                && let peer = &self.peers[id]
                && let Some(order) = self.withheld.find_returned(|order| !peer.in_flight.has_lapsed(order))
                && let Some(range) = self.withheld.remove(order)
            {
                self.send_one(id, range, now);
            }
        }
    }

    /// Reports, once, when a job waits that no peer can be sent, because all of them hold it.
    #[inline(never)]
    fn report_withheld(&mut self) {
        let is_with_all = |order| self.peers.iter().all(|(_, peer)| peer.in_flight.has_lapsed(order));
        let is_stuck = || {
            let queues = [&self.withheld, &self.isolated];
            queues.into_iter().any(|queue| queue.find_returned(is_with_all).is_some())
        };
        let is_withheld = self.options.ack_timeout.is_some() && self.peers.len() > 0 && is_stuck();
        if is_withheld && !self.has_told_withheld {
            self.effects.push_back(Effect::Withheld);
        }
        self.has_told_withheld = is_withheld;
    }

    /// Sends a job before all that wait.
    fn send_one(&mut self, id: PeerId, range: JobRange, now: Instant) {
        let mut one = Queue::default();
        one.put_back(range);
        std::mem::swap(&mut self.ready, &mut one);
        self.send(id, 1, now);
        std::mem::swap(&mut self.ready, &mut one);
        // A peer that can take a job takes at least one.
        debug_assert_eq!(one.jobs(), 0);
    }

    /// As many peers as there are isolated jobs get nothing until they have nothing: those first that
    /// want more.
    fn reserve(&mut self) {
        let isolated = &self.isolated;
        let can_help = |peer: &&mut super::peer::Peer| {
            let lacks_one = |order| !peer.in_flight.has_lapsed(order);
            peer.works() && !peer.has_isolated_job && isolated.find_returned(lacks_one).is_some()
        };
        let mut helpers: Vec<_> = self.peers.iter_mut().map(|(_, peer)| peer).filter(can_help).collect();
        helpers.sort_by_key(|peer| (peer.in_flight.credit() == 0, peer.in_flight.jobs()));
        self.has_reserved = isolated.jobs() > 0 && !helpers.is_empty();
        helpers.into_iter().take(isolated.jobs()).for_each(|peer| peer.is_reserved = true);
    }

    /// Sends jobs from the front of the queue, whatever batches they came in.
    fn send(&mut self, id: PeerId, most: usize, now: Instant) {
        if self.peers[id].outbox.unwritten() == 0 {
            self.effects.push_back(Effect::Write(id));
        }
        let mut left = most;
        while left > 0 && self.ready.jobs() > 0 && self.can_take(id) {
            let sent = if self.peers[id].is_flow {
                self.send_with_credit(id, left, now)
            } else {
                self.send_plainly(id, left)
            };
            left = left.saturating_sub(sent);
        }
    }

    /// Sends jobs of the batch at the front, at least one; how many.
    fn send_plainly(&mut self, id: PeerId, most: usize) -> usize {
        let Some(front) = self.ready.front() else { return most };
        let outbox = &mut self.peers[id].outbox;
        let (mut jobs, mut cost, mut next) = (0, 0, None);
        for (job, behind) in front.iter().take(most) {
            if jobs > 0 && outbox.unwritten() >= ROOM_PER_PEER {
                break;
            }
            let sent = Sent { state: front.state.behind(jobs), cost: job.cost() };
            if self.options.pattern == Pattern::Requests {
                self.requests.ask(job, sent.state.order, id);
            }
            put(outbox, front, job, Some(sent));
            (jobs, cost, next) = (jobs + 1, cost + job.cost(), Some(behind));
        }
        next.and_then(|next| self.ready.take_front(jobs, next, cost));
        jobs
    }

    /// The same. One that was sent before takes a whole turn, as the peer is told of each of those.
    fn send_with_credit(&mut self, id: PeerId, most: usize, now: Instant) -> usize {
        let room = self.most_in_flight().saturating_sub(self.totals.in_flight);
        let room_cost = self.options.max_cost.saturating_sub(self.totals.in_flight_cost) as u64;
        let Some(front) = self.ready.front() else { return most };
        let peer = &mut self.peers[id];
        let (first, mark) = peer.in_flight.mark(front.state, || {
            self.next_id += IDS;
            self.next_id - IDS
        });
        if let Some(mark) = mark {
            peer.outbox.put_command(command::job(mark, self.options.instance));
        }
        let is_again = front.state.failures > 0;
        let credit = usize::try_from(peer.in_flight.credit()).unwrap_or(usize::MAX);
        let count = if is_again { 1 } else { most.min(room).max(1).min(credit) };
        let most_cost = room_cost.min(peer.in_flight.credit_cost()) as usize;
        let (mut jobs, mut cost, mut next) = (0, 0, None);
        for (job, behind) in front.iter().take(count) {
            if jobs > 0 && (cost >= most_cost || peer.outbox.unwritten() >= ROOM_PER_PEER) {
                break;
            }
            put(&mut peer.outbox, front, job, None);
            (jobs, cost, next) = (jobs + 1, cost + job.cost(), Some(behind));
        }
        let Some(range) = next.and_then(|next| self.ready.take_front(jobs, next, cost)) else { return most };
        peer.in_flight.push(range, first, now);
        self.totals.add_in_flight(jobs, cost);
        self.count_sent(id, jobs, is_again);
        if is_again { most } else { jobs }
    }

    fn count_sent(&mut self, id: PeerId, jobs: usize, is_again: bool) {
        let again = if is_again { jobs as u64 } else { 0 };
        self.totals.redelivered += again;
        self.peers.change(id, |changes| {
            changes.sent += jobs as u64;
            changes.redelivered += again;
        });
        if self.peers.plain() > 0 {
            self.plain_share.sent(jobs, self.peers.flow());
        }
    }

    /// Whether a peer can be given a job now.
    pub(super) fn can_take(&self, id: PeerId) -> bool {
        let peer = &self.peers[id];
        peer.wants() && (!peer.is_flow || !self.is_full())
    }

    /// How many jobs may be in flight: as many as may wait, and with many zeropipe peers more.
    pub(super) fn most_in_flight(&self) -> usize {
        let max_jobs = self.options.max_jobs;
        max_jobs.max(max_jobs.saturating_mul(self.peers.flow()) / PART_OF_EACH)
    }

    /// What may be in flight, by the number of peers.
    pub(super) fn share(&self) -> usize {
        self.most_in_flight() / self.peers.len().max(1)
    }

    /// Whether as much is in flight as may be.
    pub(super) fn is_full(&self) -> bool {
        self.totals.in_flight >= self.most_in_flight() || self.totals.in_flight_cost >= self.options.max_cost
    }

    /// Whether a peer holds a quarter of what may wait: then others come first.
    fn is_heavy(&self, id: PeerId) -> bool {
        let in_flight = &self.peers[id].in_flight;
        in_flight.jobs() >= (self.options.max_jobs / 4).max(1)
            || in_flight.cost() >= (self.options.max_cost / 4).max(1)
    }

    /// If a peer is idle, takes back what plain ones are too stalled to be sent; whether that was
    /// anything.
    #[inline(never)]
    fn reclaim(&mut self) -> bool {
        if self.peers.plain() == 0 {
            return false;
        }
        let is_idle = |id: &PeerId| self.can_take(*id) && self.peers[*id].outbox.unwritten() == 0;
        let stalled: Vec<_> = {
            let peers = self.peers.iter();
            peers.filter(|(_, peer)| peer.is_blocked && !peer.is_flow).map(|(id, _)| id).collect()
        };
        if stalled.is_empty() || !self.rotation.iter().any(is_idle) {
            return false;
        }
        for id in stalled {
            let ranges = self.peers[id].outbox.take_back();
            ranges.into_iter().for_each(|range| self.untaken(range));
        }
        self.ready.jobs() > 0
    }

    /// Lists a peer in the rotation if it could take a job.
    pub(super) fn list(&mut self, id: PeerId) {
        let peer = &mut self.peers[id];
        if peer.wants() && !std::mem::replace(&mut peer.is_listed, true) {
            self.rotation.push_back(id);
        }
    }

    /// Lists all that can take something: after what keeps more than one from it has changed.
    #[inline(never)]
    pub(super) fn list_all(&mut self) {
        for (id, peer) in self.peers.iter_mut() {
            if peer.wants() && !std::mem::replace(&mut peer.is_listed, true) {
                self.rotation.push_back(id);
            }
        }
    }
}

/// Frames a job; a large one travels from its own slab.
fn put(outbox: &mut Outbox, range: &JobRange, job: Job<'_>, sent: Option<Sent>) {
    match range.alone() {
        Some(batch) => outbox.put_large(batch.clone(), sent),
        None => outbox.put(job, sent),
    }
}
