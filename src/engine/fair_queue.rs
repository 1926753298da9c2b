//! What has come from all pushers and was not dealt yet, and whose turn it is (RFC 30; libzmq's `fq`).

use std::{collections::VecDeque, rc::Rc, sync::Arc};

use tokio::time::Instant;

use super::{
    arrival::Arrivals,
    delivery::{Delivery, Source, Sources},
    inbox::Inbox,
    link::Link,
    peer::Peer,
};
use crate::{
    batch::{Builder, Job, LARGE, MAX_FRAMES, Place},
    wire::decoder::MAX_BATCH_FRAMES,
};

/// What all zeropipe peers together may have sent that is not dealt yet, in bytes, but for the last job of each.
pub const WINDOW: usize = 16 << 20;

/// What each of them may have sent in any case, however much the others have.
const LEAST_WINDOW: usize = LARGE;

/// What a link that has ended, and one of its jobs, cost besides the bytes.
const COST_OF_LINK: usize = 4096;
const COST_OF_JOB: usize = 64;

/// See the module.
pub struct FairQueue {
    pub(super) links: Vec<Rc<Link>>,
    /// The links with jobs in their inbox, the one whose turn it is first.
    pub(super) round: VecDeque<Rc<Link>>,
    /// Links that have ended and left jobs, the first to end first: together they have one turn in each round.
    ended: VecDeque<Rc<Link>>,
    /// What they cost.
    ended_cost: usize,
    /// Jobs dealt from living links since an ended one had its turn.
    turns: usize,
    /// What all inboxes hold, and what is here of large jobs that are arriving, in bytes.
    held: usize,
    /// Large jobs that are arriving.
    arrivals: Arrivals,
    /// Bytes of whole jobs from which on plain peers are not read.
    most_held: usize,
    /// Links that were refused to read because of that.
    readers_blocked_on_memory: bool,
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
    /// One without links, of jobs that have at most so many bytes.
    pub(super) fn new(max_message_size: usize) -> Self {
        Self {
            links: Vec::new(),
            round: VecDeque::new(),
            ended: VecDeque::new(),
            ended_cost: 0,
            turns: 0,
            held: 0,
            arrivals: Arrivals::new(max_message_size),
            most_held: max_message_size.max(LARGE),
            readers_blocked_on_memory: false,
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
        let bytes = link.inbox.borrow().bytes() + link.arriving.get().unwrap_or(0);
        let before = link.charged.replace(bytes);
        self.held = self.held + bytes - before;
        let may_others_grow = self.arrivals.note(link.id, link.arriving.get());
        if self.readers_blocked_on_memory && (bytes < before || may_others_grow) {
            self.readers_blocked_on_memory = false;
            self.links.iter().for_each(|link| link.wake());
        }
    }

    /// Whether there is memory for what a link would read. A zeropipe peer is bounded by its credit, a plain one by what consumers
    /// have yet to take; and large jobs, which nobody can take before they are whole, are counted by themselves.
    pub(super) fn may_read(&mut self, link: &Link) -> bool {
        let may = match link.arriving.get() {
            Some(_) => self.arrivals.may_grow(link.id),
            None => link.is_flow() || self.is_little_held(),
        };
        self.readers_blocked_on_memory |= !may;
        may
    }

    /// Whether links are not read for want of memory.
    pub(super) fn is_short_of_memory(&self) -> bool {
        self.readers_blocked_on_memory
    }

    /// Whether whole jobs take up so little that plain peers may bring more.
    fn is_little_held(&self) -> bool {
        self.held - self.arrivals.bytes() < self.most_held && self.ended_cost < WINDOW
    }

    /// How many more bytes a zeropipe peer, one of so many, may send.
    pub(super) fn window(&self, link: &Link, peers: usize) -> usize {
        let share = WINDOW.saturating_sub(self.held) / peers.max(1);
        share.max(LEAST_WINDOW.saturating_sub(link.charged.get()))
    }

    /// Whether jobs are there that can be dealt, though not those of peers that are passed over.
    pub(super) fn has_jobs(&self, is_passed_over: impl Fn(&Link) -> bool) -> bool {
        !self.ended.is_empty() || self.round.iter().any(|link| !is_passed_over(link))
    }

    /// A link has ended. What it has left is kept: a pusher that is gone can't send it again. But one that comes and goes must not fill our memory
    /// with that, so what would be too much is dropped if it came from a zeropipe peer, which has it still; how many jobs that is.
    pub(super) fn end(&mut self, link: &Rc<Link>) -> usize {
        self.links.retain(|other| !Rc::ptr_eq(other, link));
        self.round.retain(|other| !Rc::ptr_eq(other, link));
        link.arriving.set(None);
        let mut dropped = 0;
        // A single one may leave more: what it had was granted.
        if link.is_flow() && self.ended_cost > 0 && self.ended_cost + left_behind(link) > WINDOW {
            let mut inbox = link.inbox.borrow_mut();
            dropped = inbox.jobs();
            *inbox = Inbox::default();
        }
        self.charge(link);
        if !link.inbox.borrow().is_empty() {
            self.ended_cost += left_behind(link);
            self.ended.push_back(Rc::clone(link));
        }
        dropped
    }

    /// Drops what ended links have left that their pushers, who are back, have queued again; how many jobs.
    pub(super) fn drop_requeued(&mut self) -> usize {
        let mut dropped = 0;
        self.ended_cost = 0;
        for link in std::mem::take(&mut self.ended) {
            let mut inbox = link.inbox.borrow_mut();
            let row = inbox.first().map(|(_, row)| row);
            let source = row.map(|row| Source { peer: Arc::clone(&link.peer), row });
            if source.is_some_and(|source| self.is_elsewhere(&source)) {
                dropped += inbox.jobs();
                *inbox = Inbox::default();
            }
            let is_empty = inbox.is_empty();
            drop(inbox);
            self.charge(&link);
            if !is_empty {
                self.ended_cost += left_behind(&link);
                self.ended.push_back(link);
            }
        }
        dropped
    }

    /// How many jobs of each plain peer are dealt to nobody.
    pub(super) fn count_plain(&self) -> Vec<(Arc<Peer>, u64)> {
        let links: Vec<_> =
            self.round.iter().chain(&self.ended).filter(|link| !link.is_flow()).cloned().collect();
        links.iter().map(|link| (Arc::clone(&link.peer), link.inbox.borrow().jobs() as u64)).collect()
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
        match (self.round.len(), self.ended.len()) {
            (1, 0) | (0, 1..) => self.next_batch(most),
            _ => self.next_of_each(most),
        }
    }

    /// Of the peer whose turn it is, as many as came together.
    fn next_batch(&mut self, most: usize) -> Option<Delivery> {
        let link = self.next_link()?;
        let parcel = link.inbox.borrow_mut().take(most)?;
        self.charge(&link);
        let delivery = Delivery::new(parcel, Arc::clone(&link.peer));
        self.put_back(link);
        Some(delivery)
    }

    /// The link whose turn it is, taken out.
    fn next_link(&mut self) -> Option<Rc<Link>> {
        if self.turns >= self.round.len()
            && let Some(link) = self.ended.pop_front()
        {
            self.turns = 0;
            self.ended_cost -= left_behind(&link);
            return Some(link);
        }
        self.turns += 1;
        self.round.pop_front()
    }

    /// Puts a link that has had its turn where it belongs, if it has more.
    fn put_back(&mut self, link: Rc<Link>) {
        if link.inbox.borrow().is_empty() {
            link.wake();
        } else if link.peer.is_gone() {
            self.return_ended(link);
        } else {
            self.round.push_back(link);
        }
    }

    /// An ended link has more.
    fn return_ended(&mut self, link: Rc<Link>) {
        self.ended_cost += left_behind(&link);
        self.ended.push_front(link);
    }

    /// A link whose turn it still is goes back to where it was.
    fn return_unserved(&mut self, link: Rc<Link>) {
        if link.peer.is_gone() {
            self.turns = self.round.len();
            self.return_ended(link);
        } else {
            self.turns -= 1;
            self.round.push_front(link);
        }
    }

    /// One job of each peer in turn, as many as fit together.
    fn next_of_each(&mut self, most: usize) -> Option<Delivery> {
        let (mut builder, mut sources, mut oldest) = (Builder::default(), Vec::new(), None::<Instant>);
        while let Some(link) = self.next_link() {
            let mut inbox = link.inbox.borrow_mut();
            let Some((job, row)) = inbox.first() else { continue };
            if sources.len() == most || !sources.is_empty() && !fits(&mut builder, job) {
                drop(inbox);
                self.return_unserved(link);
                break;
            }
            builder.put(job);
            sources.push(Source { peer: Arc::clone(&link.peer), row });
            oldest = oldest.into_iter().chain(inbox.oldest()).min();
            inbox.advance();
            drop(inbox);
            self.charge(&link);
            self.put_back(link);
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

/// What a link that has ended costs for the sake of its jobs.
fn left_behind(link: &Rc<Link>) -> usize {
    let inbox = link.inbox.borrow();
    COST_OF_LINK + inbox.bytes() + COST_OF_JOB * inbox.jobs()
}

fn fits(builder: &mut Builder, job: Job<'_>) -> bool {
    builder.slab().len() + job.bytes() <= LARGE && builder.whole_frames() <= MAX_BATCH_FRAMES - MAX_FRAMES
}
