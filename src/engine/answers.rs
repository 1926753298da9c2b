//! What becomes of the requests in the books: they are answered, refused or given up (docs/flow.md, "Requests").

use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use super::{
    asker::{Askers, Failure},
    books::Books,
    event::{Event, Pattern, Side},
    flight::Settled,
    link::Link,
    queue::Lot,
    requests::{self, Answers, Requests, Tag, no_reply},
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
        let holds = |requests: &Requests, order| may_answer(requests, link, order);
        let Answers { orders, sorted, strays } = self.requests.answer(replies, handed, holds);
        // What nobody waits for was counted in vain.
        self.count_answered(link, (orders.len() as u64).wrapping_sub(handed as u64));
        for order in orders {
            // It may wait for another peer by now.
            self.withdraw(order);
            self.answered(order);
        }
        sorted.into_iter().for_each(|(asker, replies)| self.askers().deliver(asker, replies));
        match strays {
            0 => Ok(()),
            // Its requests go to another.
            _ if link.is_flow() => Err(no_reply()),
            _ => {
                // To end the link would lose what the peer was asked.
                self.tell_refused(link, strays, no_reply());
                Ok(())
            }
        }
    }

    /// Users are told of messages that were ignored, but not of each.
    fn tell_refused(&self, link: &Link, messages: usize, Error { code, text }: Error) {
        let Some(count) = link.strays.borrow_mut().count(messages, Instant::now()) else { return };
        let error = Error { code, text: if count == 1 { text } else { format!("{text}, {count} of them") } };
        self.pipe.tell(&Event::Refused { side: Side::Request, address: link.peer.address.clone(), error });
    }

    /// A reply was too large to be taken: that is told to whoever waits for it.
    pub(super) fn too_large(&mut self, link: &Link, tag: &Tag) {
        let order = self.requests.order(tag).filter(|&order| may_answer(&self.requests, link, order));
        let Some(order) = order else { return };
        self.requests.close(tag);
        self.withdraw(order);
        self.answered(order);
        self.count_answered(link, 1);
        let text = format!(
            "the reply is over the limit of {} bytes (maxMessageSize of the requester)",
            self.pipe.config.max_message_size
        );
        self.tell_refused(link, 1, Error::new(code::MESSAGE_TOO_LARGE, text.clone()));
        self.askers().fail(Failure { tag: *tag, code: code::MESSAGE_TOO_LARGE.into(), text });
    }

    /// A zeropipe peer does not hold requests any more that it was sent, and may answer them all the same, on a link: it may be about to.
    pub(super) fn let_answer(&mut self, link: u64, lot: &Lot) {
        if self.pattern == Pattern::Requests {
            for (behind, (request, _)) in lot.iter().enumerate() {
                self.requests.ask(request, lot.ticket.behind(behind).order, link);
            }
        }
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

/// Whether a request was sent on a link: whoever knows its tag, and was not sent it, can't answer it.
fn may_answer(requests: &Requests, link: &Link, order: u64) -> bool {
    link.flight.borrow().holds(order) || requests.was_asked(order, link.id)
}
