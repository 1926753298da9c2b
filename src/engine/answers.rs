//! What becomes of the requests in the books: they are answered, refused or given up (docs/flow.md, "Requests").

use std::sync::atomic::Ordering::Relaxed;

use super::{
    asker::{Askers, Failure},
    books::Books,
    event::Pattern,
    flight::Settled,
    link::Link,
    queue::Lot,
    requests::{self, Answers, Tag},
};
use crate::{
    batch::Batch,
    error::{Error, code},
};

impl Books {
    fn askers(&self) -> &Askers {
        &self.pipe.ports(self.pattern).askers
    }

    /// Replies have come, of which whoever waits for them has so many, the first ones, which are counted. Those before one that is none
    /// count all the same.
    pub(super) fn answer(&mut self, link: &Link, replies: &Batch, handed: usize) -> Result<(), Error> {
        let Answers { orders, sorted, sound } = self.requests.answer(replies, handed);
        // What nobody waits for was counted in vain.
        self.count_answered(link, (orders.len() as u64).wrapping_sub(handed as u64));
        for order in orders {
            // It may wait for another peer by now.
            self.withdraw(order);
            self.answered(order);
        }
        sorted.into_iter().for_each(|(asker, replies)| self.askers().deliver(asker, replies));
        sound
    }

    /// Nobody waits for its reply any more.
    fn answered(&mut self, order: u64) {
        self.deliver(1, |before| usize::from(order < before));
    }

    /// Before those who wait for it are told.
    fn count_answered(&self, link: &Link, requests: u64) {
        link.peer.count_done(requests);
        self.port().done.fetch_add(requests, Relaxed);
    }

    /// A peer has refused jobs for good: that is its answer.
    pub(super) fn rejected(&mut self, link: &Link, settled: Settled, code: &str, text: &str) {
        let lot = match settled {
            Settled::Own(lot) => {
                self.land(lot.jobs(), lot.cost());
                lot
            }
            Settled::Lapsed(lot) => lot,
        };
        for failure in self.close(&lot, code, text) {
            self.count_answered(link, 1);
            self.askers().fail(failure);
        }
    }

    /// There will be no reply to these, as nobody could do them; whoever waits is told.
    pub(super) fn fail(&mut self, lot: &Lot, reason: &str) {
        let failures = self.close(lot, code::JOB_FAILED, reason);
        self.port().dead.fetch_add(failures.len() as u64, Relaxed);
        failures.into_iter().for_each(|failure| self.askers().fail(failure));
    }

    /// There will be no reply to these: what is to be told to those who wait for it.
    fn close(&mut self, lot: &Lot, code: &str, text: &str) -> Vec<Failure> {
        let mut failures = Vec::new();
        for (request, _) in lot.iter() {
            let Some(tag) = requests::tag(request) else { continue };
            let Some(order) = self.requests.close(&tag) else { continue };
            self.withdraw(order);
            self.answered(order);
            failures.push(Failure { tag, code: code.into(), text: text.into() });
        }
        failures
    }

    /// Those whose reply nobody waits for any more leave the line: some requests, and all of some askers.
    pub(super) fn drop_abandoned(&mut self, (mut tags, askers): (Vec<Tag>, Vec<u32>)) {
        tags.extend(askers.into_iter().flat_map(|asker| self.requests.of(asker)));
        for tag in tags {
            if let Some(order) = self.requests.close(&tag) {
                self.withdraw(order);
                self.answered(order);
            }
        }
    }

    /// Of jobs that come back from a peer, those that are still to be done; a request that nobody waits for is not.
    pub(super) fn wanted(&mut self, lot: Lot) -> Vec<Lot> {
        match self.pattern {
            Pattern::Pipeline => vec![lot],
            Pattern::Requests => lot
                .singles()
                .filter(|lot| lot.first().is_some_and(|job| self.requests.is_open(job)))
                .collect(),
        }
    }
}
