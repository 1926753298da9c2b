//! The requests of a request end that are open, and the envelope by which their replies are told apart.
//!
//! A request travels as [tag] [empty] [frames ...]: an envelope of one address and the delimiter (RFC 28, "REQ", "REP"), which
//! whoever replies puts before the reply. (ZMQ_REQ_CORRELATE of libzmq is the same idea.)

use std::collections::HashMap;

use crate::{
    batch::{Batch, Job, Place},
    error::{Error, code},
};

/// Whose request it is (4 octets), which (4), and what nobody can guess (4): a worker can't answer what it was not asked.
pub type Tag = [u8; 12];

/// What has come in a batch of replies.
#[derive(Debug)]
pub struct Answers {
    /// The orders of the requests that are answered.
    pub orders: Vec<u64>,
    /// The replies by who waits for them. Those that nobody waits for are left out.
    pub sorted: Vec<(u32, Batch)>,
    /// Whether all were replies.
    pub sound: Result<(), Error>,
}

/// The requests that are open, and the place in line that each was given.
#[derive(Debug, Default)]
pub struct Requests(HashMap<Tag, u64>);

impl Requests {
    /// All in a batch are open from now on; the first has that order.
    pub fn open(&mut self, batch: &Batch, order: u64) {
        let (mut at, mut order) = (Place::default(), order);
        while let Some((job, next)) = batch.job(at) {
            if let Some(tag) = tag(job) {
                self.0.insert(tag, order);
            }
            (at, order) = (next, order + 1);
        }
    }

    /// Nobody waits for it any more: its order, if it was open.
    pub fn close(&mut self, tag: &Tag) -> Option<u64> {
        self.0.remove(tag)
    }

    /// Whether somebody waits for its reply.
    pub fn is_open(&self, request: Job<'_>) -> bool {
        tag(request).is_some_and(|tag| self.0.contains_key(&tag))
    }

    /// The tags of all that one asker waits for.
    pub fn of(&self, asker: u32) -> Vec<Tag> {
        self.0.keys().filter(|tag| asker_of(tag) == asker).copied().collect()
    }

    /// Closes what is answered, up to the first message that is no reply. Who waits for so many, the first ones, has them.
    pub fn answer(&mut self, batch: &Batch, handed: usize) -> Answers {
        let (mut orders, mut askers) = (Vec::with_capacity(batch.jobs()), Vec::with_capacity(batch.jobs()));
        let (mut at, mut sound) = (Place::default(), Ok(()));
        while let Some((job, next)) = batch.job(at) {
            let tag = match reply_tag(job) {
                Ok(tag) => tag,
                Err(error) => {
                    sound = Err(error);
                    break;
                }
            };
            let order = self.close(&tag);
            orders.extend(order);
            askers.push(order.filter(|_| askers.len() >= handed).map(|_| asker_of(&tag)));
            at = next;
        }
        let sorted = batch.divide(&askers, |one, other| one == other);
        let sorted = sorted.into_iter().map(|(asker, replies)| (*asker, replies)).collect();
        Answers { orders, sorted, sound }
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
        if !reply_tag(job).is_ok_and(|tag| asker_of(&tag) == asker) {
            return false;
        }
        at = next;
    }
    true
}

/// The tag of a reply, which must be in the envelope of the request, with something behind it.
fn reply_tag(job: Job<'_>) -> Result<Tag, Error> {
    let mut frames = job.frames();
    let (address, delimiter) = (frames.next(), frames.next());
    let tag = address.and_then(|(bytes, _)| bytes.try_into().ok());
    let is_delimited = delimiter.is_some_and(|(bytes, more)| bytes.is_empty() && more);
    tag.filter(|_| is_delimited).ok_or_else(|| {
        Error::new(
            code::PROTOCOL,
            "a reply without the envelope of its request (RFC 28: its frames up to the first empty one)",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag_of(asker: u8, request: u8) -> Tag {
        [0, 0, 0, asker, 0, 0, 0, request, 9, 9, 9, 9]
    }

    fn answer(requests: &mut Requests, batch: &Batch) -> (Vec<u64>, Vec<(u32, usize)>) {
        let Answers { orders, mut sorted, sound } = requests.answer(batch, 0);
        assert!(sound.is_ok());
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
    fn replies_before_one_that_is_none_count() {
        let tag = tag_of(1, 1);
        let mut requests = Requests::default();
        requests.open(&Batch::of(&[&[&tag, b"", b"x"]]), 5);
        let Answers { orders, sorted, sound } =
            requests.answer(&Batch::of(&[&[&tag, b"", b"y"], &[b"none"]]), 0);
        assert_eq!((orders, sorted.len(), sorted[0].1.jobs()), (vec![5], 1, 1));
        assert!(sound.is_err());
    }

    #[test]
    fn a_reply_without_its_envelope_is_a_violation() {
        let tag = tag_of(1, 1);
        for reply in [&[&tag[..], b"x"][..], &[&tag, b""], &[b"", b"x"], &[b"x"], &[&tag[..11], b"", b"x"]] {
            assert!(Requests::default().answer(&Batch::of(&[reply]), 0).sound.is_err(), "{reply:?}");
        }
    }
}
