//! The requests of a request end that are open, and the envelope by which their replies are told apart.
//!
//! A request travels as [tag] [empty] [frames ...]: an envelope of one address and the delimiter (RFC 28, "REQ", "REP"), which
//! whoever replies puts before the reply. (ZMQ_REQ_CORRELATE of libzmq is the same idea.)

use std::collections::HashMap;

use crate::{
    batch::{Batch, Job, Place},
    error::{Error, code},
    flow::PeerId,
};

/// Whose request it is (4 octets), which (4), and what nobody can guess (4): a worker can't answer what it was not asked.
pub type Tag = [u8; 12];

/// A request that will have no reply, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The request.
    pub tag: Tag,
    /// Ours or the handler's; empty if that gave none.
    pub code: String,
    /// For people.
    pub text: String,
}

/// Requests that nobody waits for any more.
#[derive(Debug, Default)]
pub struct Abandoned {
    /// Single requests.
    pub tags: Vec<Tag>,
    /// All requests of these, who have left.
    pub askers: Vec<u32>,
}

/// What has come in a batch of replies.
#[derive(Debug, Default)]
pub struct Answers {
    /// The orders of the requests that are answered.
    pub orders: Vec<u64>,
    /// The replies by who waits for them. Those that nobody waits for are left out.
    pub sorted: Vec<(u32, Batch)>,
    /// How many of them were no replies.
    pub strays: usize,
}

/// The requests that are open.
#[derive(Debug, Default)]
pub struct Requests {
    /// The place in line that each was given.
    orders: HashMap<Tag, u64>,
    /// By their orders, the peers that were sent them and may answer though they are not in flight
    /// there: plain peers, and zeropipe peers that have given them back. [`PeerId::NONE`] where such a
    /// peer has left: whoever knows the tag may be that peer.
    asked: HashMap<u64, Vec<PeerId>>,
}

impl Requests {
    /// All in a batch are open from now on; the first has that order.
    pub fn open(&mut self, batch: &Batch, order: u64) {
        let (mut at, mut order) = (Place::default(), order);
        while let Some((job, next)) = batch.job(at) {
            if let Some(tag) = tag(job) {
                self.orders.insert(tag, order);
            }
            (at, order) = (next, order + 1);
        }
    }

    /// Nobody waits for it any more: its order, if it was open.
    pub fn close(&mut self, tag: &Tag) -> Option<u64> {
        let order = self.orders.remove(tag)?;
        if !self.asked.is_empty() {
            self.asked.remove(&order);
        }
        Some(order)
    }

    /// A request was sent to a peer, which may answer it as long as it is open, though it is not in flight there.
    pub fn ask(&mut self, request: Job<'_>, order: u64, peer: PeerId) {
        if !self.is_open(request) {
            return;
        }
        let peers = self.asked.entry(order).or_default();
        if !peers.contains(&peer) {
            peers.push(peer);
        }
    }

    /// Whether that is so.
    pub fn was_asked(&self, order: u64, peer: PeerId) -> bool {
        let may = |peers: &Vec<PeerId>| peers.contains(&peer) || peers.contains(&PeerId::NONE);
        self.asked.get(&order).is_some_and(may)
    }

    /// The place in line of a request, if it is open.
    pub fn order(&self, tag: &Tag) -> Option<u64> {
        self.orders.get(tag).copied()
    }

    /// How many that are open have a lower order.
    pub fn open_before(&self, order: u64) -> usize {
        self.orders.values().filter(|own| **own < order).count()
    }

    /// Whether somebody waits for its reply.
    pub fn is_open(&self, request: Job<'_>) -> bool {
        tag(request).is_some_and(|tag| self.orders.contains_key(&tag))
    }

    /// The tags of all that one asker waits for, in an order that does not depend on chance.
    pub fn of(&self, asker: u32) -> Vec<Tag> {
        let mut tags: Vec<_> = self.orders.keys().filter(|tag| asker_of(tag) == asker).copied().collect();
        tags.sort_unstable();
        tags
    }

    /// Closes what is answered, as far as whoever sent the replies `holds` the requests, by their orders. Who waits for so many, the first
    /// ones, has them.
    pub fn answer(&mut self, batch: &Batch, handed: usize, holds: impl Fn(&Self, u64) -> bool) -> Answers {
        let mut answers = Answers::default();
        let mut askers = Vec::with_capacity(batch.jobs());
        let mut at = Place::default();
        while let Some((job, next)) = batch.job(at) {
            at = next;
            let tag = reply_tag(job);
            answers.strays += usize::from(tag.is_none());
            let held = tag.and_then(|tag| self.order(&tag).filter(|&order| holds(self, order)).map(|_| tag));
            answers.orders.extend(held.and_then(|tag| self.close(&tag)));
            askers.push(held.filter(|_| askers.len() >= handed).map(|tag| asker_of(&tag)));
        }
        let sorted = batch.divide(&askers, |one, other| one == other);
        answers.sorted = sorted.into_iter().map(|(asker, replies)| (*asker, replies)).collect();
        answers
    }
}

/// Whose request it is.
pub fn asker_of(tag: &Tag) -> u32 {
    u32::from_be_bytes([tag[0], tag[1], tag[2], tag[3]])
}

/// The tag of a request of ours.
pub fn tag(job: Job<'_>) -> Option<Tag> {
    job.frames().next()?.0.try_into().ok()
}

/// Whether all in a batch are replies, to requests of one asker.
pub fn are_replies_to(batch: &Batch, asker: u32) -> bool {
    let mut at = Place::default();
    while let Some((job, next)) = batch.job(at) {
        if reply_tag(job).is_none_or(|tag| asker_of(&tag) != asker) {
            return false;
        }
        at = next;
    }
    true
}

/// Why a message is no reply.
pub fn no_reply() -> Error {
    Error::new(
        code::PROTOCOL,
        "a reply without the envelope of its request (RFC 28: its frames up to the first empty one)",
    )
}

/// The tag of a reply, which must be in the envelope of the request, with something behind it.
fn reply_tag(job: Job<'_>) -> Option<Tag> {
    let mut frames = job.frames();
    let (address, delimiter) = (frames.next(), frames.next());
    let tag = address.and_then(|(bytes, _)| bytes.try_into().ok());
    let is_delimited = delimiter.is_some_and(|(bytes, more)| bytes.is_empty() && more);
    tag.filter(|_| is_delimited)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag_of(asker: u8, request: u8) -> Tag {
        [0, 0, 0, asker, 0, 0, 0, request, 9, 9, 9, 9]
    }

    fn answer(requests: &mut Requests, batch: &Batch) -> (Vec<u64>, Vec<(u32, usize)>) {
        let Answers { orders, mut sorted, strays } = requests.answer(batch, 0, |_, _| true);
        assert_eq!(strays, 0);
        sorted.sort_by_key(|(asker, _)| *asker);
        (orders, sorted.into_iter().map(|(asker, replies)| (asker, replies.jobs())).collect())
    }

    #[test]
    fn each_asker_gets_its_own_replies_and_nobody_gets_one_twice() {
        let tags = [tag_of(1, 1), tag_of(2, 1), tag_of(1, 2)];
        let jobs: Vec<[&[u8]; 3]> = tags.iter().map(|tag| [&tag[..], b"", b"x"]).collect();
        let all = Batch::of(&jobs.iter().map(|job| &job[..]).collect::<Vec<_>>());
        let mut requests = Requests::default();
        requests.open(&all, 10);
        assert_eq!(answer(&mut requests, &Batch::of(&[&jobs[2]])), (vec![12], vec![(1, 1)]));
        assert_eq!(answer(&mut requests, &all), (vec![10, 11], vec![(1, 1), (2, 1)]));
        assert_eq!(answer(&mut requests, &all), (vec![], vec![]));
    }

    #[test]
    fn replies_beside_messages_that_are_none_count() {
        let tag = tag_of(1, 1);
        for strays in
            [&[&tag[..], b"x"][..], &[&tag, b""], &[b"", b"x"], &[b"x"], &[&tag[..11], b"", b"x"], &[b""]]
        {
            let mut requests = Requests::default();
            requests.open(&Batch::of(&[&[&tag, b"", b"x"]]), 5);
            let found = requests.answer(&Batch::of(&[strays, &[&tag, b"", b"y"], strays]), 0, |_, _| true);
            assert_eq!((found.orders, found.sorted.len(), found.strays), (vec![5], 1, 2), "{strays:?}");
            assert_eq!(found.sorted[0].1.jobs(), 1);
        }
    }

    #[test]
    fn only_who_holds_a_request_answers_it() {
        let (tag, other) = (tag_of(1, 1), tag_of(1, 2));
        let reply = Batch::of(&[&[&tag[..], b"", b"y"], &[&other[..], b"", b"y"]]);
        let mut requests = Requests::default();
        requests.open(&reply, 5);
        let request = |index| {
            let first = reply.job(Place::default()).expect("two");
            if index == 0 { first.0 } else { reply.job(first.1).expect("two").0 }
        };
        let [one, two, three] = [1, 2, 3].map(|slot| PeerId { slot, serial: 0 });
        requests.ask(request(0), 5, one);
        requests.ask(request(1), 6, two);
        let found = requests.answer(&reply, 0, |requests, order| requests.was_asked(order, two));
        assert_eq!((found.orders, found.sorted.len(), found.strays), (vec![6], 1, 0));
        assert!(requests.order(&tag).is_some() && !requests.was_asked(6, two));
        // It was sent to another since, and both may answer.
        requests.ask(request(0), 5, three);
        // Nobody keeps what is answered.
        requests.ask(request(1), 6, three);
        assert!(!requests.was_asked(6, three));
        assert!(requests.was_asked(5, one) && requests.was_asked(5, three));
    }
}
