//! What becomes of requests: they are answered, refused or given up (docs/flow.md, "Requests").

use super::{
    Effect, Sender,
    in_flight::Settled,
    peer::Peers,
    queue::JobRange,
    requests::{self, Abandoned, Answers, Failure, Requests, Tag, no_reply},
};
use crate::{
    batch::Batch,
    error::{Error, code},
    flow::{Pattern, PeerId},
};

impl Sender {
    /// A peer has sent replies. The first `handed` of them were read by whoever waits for them, who has
    /// counted them as done. Those before one that is none count all the same.
    pub fn handle_replies(&mut self, id: PeerId, replies: &Batch, handed: usize) -> Result<(), Error> {
        if self.is_closed {
            return Ok(());
        }
        let peers = &self.peers;
        let holds = |requests: &Requests, order| may_answer(peers, requests, id, order);
        let Answers { orders, sorted, strays } = self.requests.answer(replies, handed, holds);
        // What nobody waits for was counted in vain.
        self.count_answered(id, (orders.len() as u64).wrapping_sub(handed as u64));
        for order in orders {
            // It may wait for another peer by now.
            self.withdraw(order);
            self.answered(order);
        }
        let replies = sorted.into_iter().map(|(asker, replies)| Effect::Replies(asker, replies));
        self.effects.extend(replies);
        match strays {
            0 => Ok(()),
            // Its requests go to another.
            _ if self.peers[id].is_flow => Err(no_reply()),
            _ => {
                // To end the connection would lose what the peer was asked.
                self.effects.push_back(Effect::Ignored(id, strays, no_reply()));
                Ok(())
            }
        }
    }

    /// A reply of a peer was too large to be taken: that is told to whoever waits for it.
    #[inline(never)]
    pub fn handle_oversized_reply(&mut self, id: PeerId, tag: &Tag) {
        let order = self.requests.order(tag);
        let Some(order) = order.filter(|&order| may_answer(&self.peers, &self.requests, id, order)) else {
            return;
        };
        self.requests.close(tag);
        self.withdraw(order);
        self.answered(order);
        self.count_answered(id, 1);
        let text = format!(
            "the reply is over the limit of {} bytes (maxMessageSize of the requester)",
            self.options.max_message_size
        );
        let error = Error::new(code::MESSAGE_TOO_LARGE, text.clone());
        self.effects.push_back(Effect::Ignored(id, 1, error));
        let failure = Failure { tag: *tag, code: code::MESSAGE_TOO_LARGE.into(), text };
        self.effects.push_back(Effect::Failed(failure));
    }

    /// Nobody waits for these replies any more: their requests leave the queues.
    #[inline(never)]
    pub fn handle_abandoned(&mut self, Abandoned { mut tags, askers }: Abandoned) {
        tags.extend(askers.into_iter().flat_map(|asker| self.requests.of(asker)));
        for tag in tags {
            if let Some(order) = self.requests.close(&tag) {
                self.withdraw(order);
                self.answered(order);
            }
        }
    }

    /// A zeropipe peer does not hold requests any more that it was sent, and may answer them all the
    /// same: it may be about to. [`PeerId::NONE`] is for one that has left, who may join again.
    #[inline(never)]
    pub(super) fn let_answer(&mut self, id: PeerId, range: &JobRange) {
        if self.options.pattern == Pattern::Requests {
            for (behind, (request, _)) in range.iter().enumerate() {
                self.requests.ask(request, range.state.behind(behind).order, id);
            }
        }
    }

    /// Nobody waits for its reply any more.
    fn answered(&mut self, order: u64) {
        self.deliver(1, |before| usize::from(order < before));
    }

    fn count_answered(&mut self, id: PeerId, requests: u64) {
        self.peers.change(id, |changes| changes.done = changes.done.wrapping_add(requests));
        self.totals.done = self.totals.done.wrapping_add(requests);
    }

    /// A peer has refused jobs for good: that is its answer.
    #[inline(never)]
    pub(super) fn rejected(&mut self, id: PeerId, settled: Settled, code: &str, text: &str) {
        if let Settled::Own(range) = &settled {
            self.totals.remove_in_flight(range);
        }
        for failure in self.close_requests(settled.range(), code, text) {
            self.count_answered(id, 1);
            self.effects.push_back(Effect::Failed(failure));
        }
    }

    /// There will be no reply to these, as nobody could do them; whoever waits is told.
    #[inline(never)]
    pub(super) fn fail(&mut self, range: &JobRange, reason: &str) {
        let failures = self.close_requests(range, code::JOB_FAILED, reason);
        self.totals.dead += failures.len() as u64;
        self.effects.extend(failures.into_iter().map(Effect::Failed));
    }

    /// There will be no reply to these: what is to be told to those who wait for it.
    #[inline(never)]
    fn close_requests(&mut self, range: &JobRange, code: &str, text: &str) -> Vec<Failure> {
        let mut failures = Vec::new();
        for (request, _) in range.iter() {
            let Some(tag) = requests::tag(request) else { continue };
            let Some(order) = self.requests.close(&tag) else { continue };
            self.withdraw(order);
            self.answered(order);
            failures.push(Failure { tag, code: code.into(), text: text.into() });
        }
        failures
    }

    /// Of jobs that come back from a peer, those that are still to be done; a request that nobody waits
    /// for is not.
    pub(super) fn wanted(&mut self, range: JobRange) -> Vec<JobRange> {
        match self.options.pattern {
            Pattern::Pipeline => vec![range],
            Pattern::Requests => {
                let is_open = |job: &JobRange| job.first().is_some_and(|job| self.requests.is_open(job));
                range.singles().filter(is_open).collect()
            }
        }
    }
}

/// Whether a request was sent to a peer: whoever knows its tag, and was not sent it, can't answer it.
fn may_answer(peers: &Peers, requests: &Requests, id: PeerId, order: u64) -> bool {
    peers[id].in_flight.holds(order) || requests.was_asked(order, id)
}
