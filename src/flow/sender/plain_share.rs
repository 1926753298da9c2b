//! What plain peers are given beside zeropipe peers.
//!
//! A plain peer can always take one more job, and a zeropipe peer only with credit: dealt in turn to those that can take one, nearly
//! all would go to the plain ones. So a plain peer is given as many as a zeropipe peer is on average, which goes by the pace of those.
//! While none of those settles anything, plain ones are given more and more all the same: they may be the only ones that work.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::flow::PeerId;

/// When no zeropipe peer has settled a job for so long, each plain one is given one more, then two, four and so on, each after as long.
pub const STANDSTILL: Duration = Duration::from_millis(500);

/// How many jobs a plain peer may lag behind: it has not asked for them, it was blocked.
const MOST_BEHIND: f64 = 2048.0;

/// See the module.
#[derive(Debug, Default)]
pub struct PlainShare {
    /// How many jobs a zeropipe peer was sent, on average.
    average: f64,
    /// How many each plain peer was given, counted like that.
    given: HashMap<PeerId, f64>,
    /// How many more each is given because nothing is settled.
    extra: f64,
    /// When to give more, while a plain peer waits for its turn.
    deadline: Option<Instant>,
}

impl PlainShare {
    /// One of so many zeropipe peers was sent jobs.
    pub fn sent(&mut self, jobs: usize, peers: usize) {
        self.average += jobs as f64 / peers.max(1) as f64;
    }

    /// One of them has given jobs back that it had not started.
    pub fn returned(&mut self, jobs: usize, peers: usize) {
        self.average -= jobs as f64 / peers.max(1) as f64;
    }

    /// How many jobs a plain peer may be given now.
    pub fn allowance(&mut self, peer: PeerId) -> usize {
        let given = self.given.entry(peer).or_insert(self.average);
        *given = given.max(self.average - MOST_BEHIND);
        (self.average + 1.0 + self.extra - *given).max(0.0) as usize
    }

    /// It was given some.
    pub fn gave(&mut self, peer: PeerId, jobs: usize) {
        *self.given.entry(peer).or_insert(self.average) += jobs as f64;
    }

    /// A plain peer has to wait for its turn.
    pub fn wait(&mut self, now: Instant) {
        self.deadline.get_or_insert(now + STANDSTILL);
    }

    /// A zeropipe peer has settled jobs: they are at work.
    pub fn settled(&mut self) {
        self.deadline = None;
        if self.extra > 0.0 {
            self.extra = 0.0;
            self.given.values_mut().for_each(|given| *given = given.min(self.average + 1.0));
        }
    }

    /// When to call [`PlainShare::handle_timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// None has settled anything for too long, if that is so.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.extra = 2.0 * self.extra + 1.0;
            self.deadline = None;
        }
    }

    /// A peer has left.
    pub fn leave(&mut self, peer: PeerId) {
        self.given.remove(&peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: PeerId = PeerId { slot: 1, serial: 0 };
    const TWO: PeerId = PeerId { slot: 2, serial: 0 };

    #[test]
    fn a_plain_peer_is_given_as_many_as_a_zeropipe_peer_on_average_and_one_ahead() {
        let mut share = PlainShare::default();
        let mut plain = 0;
        for round in 0..30 {
            while share.allowance(ONE) > 0 {
                share.gave(ONE, 1);
                plain += 1;
            }
            assert_eq!(plain, round + 1);
            share.sent(1, 2);
            assert_eq!(share.allowance(ONE), 0);
            share.sent(1, 2);
        }
        share.returned(2, 2);
        share.returned(2, 2);
        assert_eq!(share.allowance(ONE), 0);
    }

    #[test]
    fn one_that_comes_later_or_was_blocked_does_not_catch_up_on_all() {
        let mut share = PlainShare::default();
        assert_eq!(share.allowance(ONE), 1);
        share.sent(1_000_000, 1);
        assert_eq!(share.allowance(TWO), 1);
        assert_eq!(share.allowance(ONE), MOST_BEHIND as usize + 1);
        share.leave(ONE);
        assert_eq!(share.allowance(ONE), 1);
    }

    #[test]
    fn while_nothing_is_settled_plain_peers_are_given_more_and_more() {
        let (mut share, start) = (PlainShare::default(), Instant::now());
        share.gave(ONE, 1);
        let mut now = start;
        for more in [1, 2, 4, 8, 16] {
            assert_eq!(share.allowance(ONE), 0);
            share.wait(now);
            share.wait(now + STANDSTILL / 2);
            share.handle_timeout(now + STANDSTILL / 2);
            assert_eq!(share.next_timeout(), Some(now + STANDSTILL));
            now += STANDSTILL;
            share.handle_timeout(now);
            assert_eq!((share.allowance(ONE), share.next_timeout()), (more, None));
            share.gave(ONE, more);
        }
        // What was given in the meantime is not held against it.
        share.settled();
        assert_eq!(share.allowance(ONE), 0);
        share.sent(1, 1);
        assert_eq!(share.allowance(ONE), 1);
    }
}
