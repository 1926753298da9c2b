//! Whether to wait for more jobs before a peer, one of many, is written to: a write of many jobs costs
//! little more than one of few (as Nagle's algorithm, for jobs).

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use super::{Sender, peer::Peer, scheduler::MOST_AT_A_TIME};
use crate::{batch::LARGE, flow::PeerId};

/// How long a job may wait for others.
const DELAY: Duration = Duration::from_millis(2);

/// A peer that has half of such a share of what may be in flight gets no more for now. With a smaller
/// share it is not worth it, and a larger one goes in several writes anyway.
const SHARES: RangeInclusive<usize> = 64..=2048;

/// So many peers have shares that are small beside all that may be in flight.
pub const MANY: usize = 32;

/// So many jobs in flight for each of them on average are plenty.
const PLENTY: usize = 4;

/// A peer that has not settled what it was sent so long ago is slow, however much credit it gives: it
/// gets no more at a time than the others.
const SLOW: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub struct Coalescing {
    /// Peers that have enough for now get no more before they have less, or it is time.
    is_allowed: bool,
    /// When peers that had enough get more all the same.
    resume_at: Option<Instant>,
    /// Until then jobs come so fast that those for a whole quantum are soon there.
    deadline: Option<Instant>,
    /// Jobs wait for that.
    is_waiting: bool,
}

impl Default for Coalescing {
    fn default() -> Self {
        Self { is_allowed: true, resume_at: None, deadline: None, is_waiting: false }
    }
}

impl Coalescing {
    /// Whether peers that had enough get more now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.resume_at.is_some_and(|at| at <= now)
    }

    /// When to look again.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.resume_at.into_iter().chain(self.deadline.filter(|_| self.is_waiting)).min()
    }

    /// A peer was passed over because it has enough.
    pub fn pass_over(&mut self, now: Instant) {
        self.resume_at.get_or_insert(now + DELAY);
    }

    /// What was due is done.
    pub fn allow(&mut self) {
        self.is_allowed = true;
    }
}

impl Sender {
    /// Whether to wait until there are enough jobs for the whole quantum of one of many peers. While
    /// jobs come fast that is soon; once they don't, they go at once.
    pub(super) fn coalesces(&mut self, now: Instant) -> bool {
        let (jobs, share) = (self.ready.jobs(), self.share());
        let quantum = share.min(MOST_AT_A_TIME);
        if jobs >= quantum {
            let is_worth_it = share >= *SHARES.start() && self.serves_many();
            self.coalescing.deadline = is_worth_it.then(|| now + DELAY);
        } else if self.coalescing.deadline.is_some_and(|deadline| deadline <= now) {
            self.coalescing.deadline = None;
            self.end_coalescing();
        }
        // Nobody should wait for room meanwhile.
        let is_light = self.totals.waiting_cost < LARGE;
        self.coalescing.is_waiting = (1..quantum).contains(&jobs)
            && is_light
            && self.coalescing.is_allowed
            && self.coalescing.deadline.is_some()
            && self.serves_many();
        self.coalescing.is_waiting
    }

    /// Peers that had enough get more.
    pub(super) fn end_coalescing(&mut self) {
        (self.coalescing.is_allowed, self.coalescing.resume_at) = (false, None);
        self.list_all();
    }

    /// How many jobs a peer is given in its turn: one, but while there is plenty, several.
    pub(super) fn quantum(&self, id: PeerId, now: Instant) -> usize {
        let plenty = self.ready.jobs() / (8 * (self.rotation.len() + 1));
        // Batching amortises the cost of a write over more jobs: up to the peer's share, and to what a
        // peer that settles its jobs soon does in some 10 ms. Credit that is fixed says nothing of
        // that, so it is no more than the peer has shown to settle.
        let in_flight = &self.peers[id].in_flight;
        let is_quick = || in_flight.oldest().is_none_or(|sent| now.duration_since(sent) < SLOW);
        let lacks = self.share().saturating_sub(in_flight.jobs());
        let able = (in_flight.credit() / 2).min(in_flight.settled());
        let more = if self.serves_many() && is_quick() { lacks.min(able as usize) } else { 0 };
        plenty.max(more).clamp(1, MOST_AT_A_TIME)
    }

    /// Whether there are many peers, all of which acknowledge, and on average they have plenty.
    fn serves_many(&self) -> bool {
        let peers = self.peers.len();
        self.peers.plain() == 0 && peers >= MANY && self.totals.in_flight >= PLENTY * peers
    }

    /// Whether a peer, one of many, has half of its share of what may be in flight, while half of all
    /// that is. It is listed again when it has settled some, or when the time has come.
    pub(super) fn has_enough(&self, peer: &Peer) -> bool {
        if !self.coalescing.is_allowed || self.peers.len() < MANY {
            return false;
        }
        let share = self.share();
        SHARES.contains(&share)
            && peer.in_flight.jobs() >= share / 2
            && self.totals.in_flight >= self.most_in_flight() / 2
    }
}
