//! What has come from all pushers and was not dealt yet, and whose turn it is (RFC 30; libzmq's `fq`).

use std::{collections::VecDeque, rc::Rc, sync::Arc};

use tokio::time::Instant;

use super::{
    delivery::{Delivery, Source, Sources},
    link::Link,
};
use crate::{
    batch::{Builder, Job, LARGE, MAX_FRAMES, Place},
    wire::decoder::MAX_BATCH_FRAMES,
};

/// See the module.
pub struct FairQueue {
    pub(super) links: Vec<Rc<Link>>,
    /// The links with jobs in their inbox, the one whose turn it is first. Some may have ended.
    pub(super) round: VecDeque<Rc<Link>>,
    /// What all inboxes hold, and what large jobs that are arriving may grow to, in bytes.
    pub(super) held: usize,
    /// Links that were refused to read because of that.
    pub(super) thirsty: bool,
    /// How often nothing had moved when the alarm rang, or as much as it takes to sleep.
    pub(super) quiet: u32,
    /// What the port had counted as settled when pushers were told last.
    pub(super) telling: u64,
    pub(super) is_closing: bool,
    pub(super) closing_since: Instant,
    /// Pushers were asked whether they have heard that nothing more is taken.
    pub(super) has_asked: bool,
}

impl FairQueue {
    pub(super) fn new() -> Self {
        Self {
            links: Vec::new(),
            round: VecDeque::new(),
            held: 0,
            thirsty: false,
            quiet: 0,
            telling: 0,
            is_closing: false,
            closing_since: Instant::now(),
            has_asked: false,
        }
    }

    /// Whether a job has been queued again by its pusher, who is back: then it is not ours any more.
    pub(super) fn is_elsewhere(&self, source: &Source) -> bool {
        let is_back = |link: &Rc<Link>| link.peer.instance == source.peer.instance && !link.is_ending();
        source.is_flow() && source.peer.is_gone() && self.links.iter().any(is_back)
    }

    /// Gives back all that has come from some zeropipe peers and was not dealt; how many jobs that is.
    pub(super) fn give_back(&mut self, is_wanted: impl Fn(&Rc<Link>) -> bool) -> usize {
        let mut back = 0;
        let is_there = |link: &&Rc<Link>| link.is_flow() && !link.is_ending();
        let links: Vec<_> =
            self.round.iter().filter(is_there).filter(|link| is_wanted(link)).cloned().collect();
        for link in &links {
            let mut inbox = link.inbox.borrow_mut();
            while let Some(parcel) = inbox.take(usize::MAX) {
                link.peer.ledger().give_back(parcel.row.number, parcel.jobs as u64);
                back += parcel.jobs;
            }
            drop(inbox);
            self.charge(link);
        }
        if back > 0 {
            self.round.retain(|link| !link.inbox.borrow().is_empty());
        }
        back
    }

    /// Notes what a link holds now. When that makes room, those who were refused may read.
    pub(super) fn charge(&mut self, link: &Link) {
        let bytes = link.inbox.borrow().bytes() + link.arriving.get();
        let before = link.charged.replace(bytes);
        self.held = self.held + bytes - before;
        if self.thirsty && bytes < before {
            self.thirsty = false;
            self.links.iter().for_each(|link| link.wake());
        }
    }

    /// At most so many jobs: a whole batch from the only peer that has any, else one job from each peer in turn. With `most_unread`, peers
    /// that leave more of our bytes unread are passed over.
    pub(super) fn next_delivery(&mut self, most: usize, most_unread: Option<usize>) -> Option<Delivery> {
        let is_glutted =
            |link: &Rc<Link>| most_unread.is_some_and(|most| link.outbox.borrow().unwritten() > most);
        if most_unread.is_none() || !self.round.iter().any(is_glutted) {
            return self.next_of_round(most);
        }
        let (glutted, others): (VecDeque<_>, _) = self.round.drain(..).partition(is_glutted);
        self.round = others;
        let delivery = self.next_of_round(most);
        self.round.extend(glutted);
        delivery
    }

    fn next_of_round(&mut self, most: usize) -> Option<Delivery> {
        while self.round.front().is_some_and(|link| link.inbox.borrow().is_empty()) {
            self.round.pop_front();
        }
        if let [link] = self.round.make_contiguous() {
            let link = Rc::clone(link);
            let parcel = link.inbox.borrow_mut().take(most)?;
            self.charge(&link);
            if link.inbox.borrow().is_empty() {
                self.round.clear();
                link.wake();
            }
            return Some(Delivery::new(parcel, Arc::clone(&link.peer)));
        }
        let (mut builder, mut sources, mut oldest) = (Builder::default(), Vec::new(), None::<Instant>);
        while let Some(link) = self.round.pop_front() {
            let mut inbox = link.inbox.borrow_mut();
            let Some((job, row)) = inbox.first() else { continue };
            if sources.len() == most || !sources.is_empty() && !fits(&mut builder, job) {
                drop(inbox);
                self.round.push_front(link);
                break;
            }
            builder.put(job);
            sources.push(Source { peer: Arc::clone(&link.peer), row });
            oldest = oldest.into_iter().chain(inbox.oldest()).min();
            inbox.advance();
            let is_empty = inbox.is_empty();
            drop(inbox);
            self.charge(&link);
            if is_empty {
                link.wake();
            } else {
                self.round.push_back(link);
            }
        }
        let batch = builder.take()?;
        let jobs = batch.jobs();
        Some(Delivery {
            batch,
            at: Place::default(),
            jobs,
            sources: Sources::Each(sources),
            arrived: oldest?,
            place: (0, 0),
        })
    }
}

fn fits(builder: &mut Builder, job: Job<'_>) -> bool {
    builder.slab().len() + job.bytes() <= LARGE && builder.whole_frames() <= MAX_BATCH_FRAMES - MAX_FRAMES
}
