//! Which peer gets which job: in turn, to those that can take one now (RFC 30; libzmq's `lb`).

use std::{ops::RangeInclusive, rc::Rc, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::Instant;

use super::{
    books::{Books, has_lapsed},
    event::{Event, Pattern},
    flight::IDS,
    link::Link,
    outbox::{Outbox, Sent},
    plain_turns::STANDSTILL,
    queue::{Lot, Queue},
};
use crate::{
    batch::{Job, LARGE},
    wire::command,
};

/// How much is framed for a peer before the next write; beyond it the peer is skipped.
const ROOM_PER_PEER: usize = 2 * LARGE;

/// How many jobs a peer is given in its turn at most, when others can take some too.
const MOST_AT_A_TIME: usize = 2048;

/// How long one of many peers may have to wait for more jobs, so that it is written to less often and more at a time.
const PATIENCE: Duration = Duration::from_millis(2);

/// A peer with half of such a share waits for more. With less it is not worth it, and more goes in several writes anyway.
const WORTH_WAITING: RangeInclusive<usize> = 64..=2048;

/// So many peers have shares that are small beside all that may be in flight.
const MANY: usize = 32;

/// So many jobs in flight for each of them on average are plenty.
const PLENTY: usize = 4;

/// A peer that has not settled what it was sent so long ago is slow, however much it takes ahead: it gets no more than the others.
const QUICK: Duration = Duration::from_secs(2);

/// The part of what may wait that may be in flight toward each zeropipe peer, however many there are.
const PART_OF_EACH: usize = 50;

impl Books {
    /// The links that were given something.
    pub(super) fn deal(&mut self) -> Vec<Rc<Link>> {
        let mut touched = Vec::new();
        if self.withheld.jobs() > 0 {
            self.deal_withheld(&mut touched);
        }
        if self.lone.jobs() > 0 || self.has_reserved {
            self.deal_lone(&mut touched);
            self.list_all();
        }
        if !self.gathers() {
            self.deal_queue(&mut touched);
        }
        if self.queue.jobs() == 0 && self.reclaim() {
            self.deal_queue(&mut touched);
        }
        self.is_patient = true;
        self.tell_withheld();
        touched
    }

    /// Jobs to each in turn; all that it can take to a peer that is the only one of few.
    fn deal_queue(&mut self, touched: &mut Vec<Rc<Link>>) {
        let (mut held, mut passed_over) = (Vec::new(), false);
        // Plain peers that have had their turn.
        let (is_mixed, mut waiting) = (self.is_mixed(), Vec::new());
        while self.queue.jobs() > 0 {
            let Some(link) = self.round.pop_front() else { break };
            if !wants(&link) {
                link.listed.set(false);
                continue;
            }
            if link.is_flow() && self.is_full() {
                // Its turn comes when less is in flight. Only plain peers could take any now.
                held.push(link);
                if self.plain > 0 {
                    continue;
                }
                break;
            }
            if self.has_enough(&link) {
                link.listed.set(false);
                self.patient_until.get_or_insert_with(|| Instant::now() + PATIENCE);
                passed_over = true;
                continue;
            }
            let is_lighter = |other: &Rc<Link>| self.can_take(other) && !self.is_heavy(other);
            if self.is_heavy(&link) && self.round.iter().any(is_lighter) {
                self.round.push_back(link);
                continue;
            }
            let allowed = if is_mixed { self.allowance(&link) } else { usize::MAX };
            if allowed == 0 {
                waiting.push(link);
                continue;
            }
            if link.outbox.borrow().unwritten() == 0 {
                touched.push(Rc::clone(&link));
            }
            let is_alone = self.round.is_empty()
                && held.is_empty()
                && waiting.is_empty()
                && !passed_over
                && self.links.len() < MANY;
            let most = if is_alone { usize::MAX } else { self.turn_of(&link) };
            let before = self.queue.jobs();
            self.send(&link, most.min(allowed));
            if is_mixed && link.is_flow() {
                self.round.extend(waiting.drain(..));
            } else if is_mixed {
                self.plain_turns.gave(link.id, before - self.queue.jobs());
            }
            self.round.push_back(link);
        }
        held.into_iter().rev().for_each(|link| self.round.push_front(link));
        if self.queue.jobs() > 0 && !waiting.is_empty() {
            self.plain_turns.wait(Instant::now());
        }
        self.round.extend(waiting);
    }

    /// Whether plain peers have to share with zeropipe peers that want jobs, or have yet to say so.
    fn is_mixed(&self) -> bool {
        let wants_some = |link: &Rc<Link>| link.works() || link.is_flow() && link.age() < STANDSTILL;
        self.plain > 0 && self.plain < self.links.len() && self.links.iter().any(wants_some)
    }

    /// How many jobs a peer may be given, as far as others are concerned.
    fn allowance(&mut self, link: &Link) -> usize {
        if link.is_flow() { usize::MAX } else { self.plain_turns.allowance(link.id) }
    }

    /// Whether to wait until there are enough jobs for a whole turn of one of many. While jobs come fast that is soon; once they don't, they
    /// go at once.
    fn gathers(&mut self) -> bool {
        let (jobs, share) = (self.queue.jobs(), self.share());
        let turn = share.min(MOST_AT_A_TIME);
        if jobs >= turn {
            let is_worth_it = share >= *WORTH_WAITING.start() && self.serves_many();
            self.gathers_until = is_worth_it.then(|| Instant::now() + PATIENCE);
        } else if self.gathers_until.is_some_and(|until| until <= Instant::now()) {
            self.gathers_until = None;
            self.end_patience();
        }
        // Nobody should wait for room meanwhile.
        let is_light = self.port().waiting_cost() < LARGE;
        self.is_gathering = (1..turn).contains(&jobs)
            && is_light
            && self.is_patient
            && self.gathers_until.is_some()
            && self.serves_many();
        self.is_gathering
    }

    /// How many jobs a peer is given in its turn: one, but while there is plenty, several.
    fn turn_of(&self, link: &Link) -> usize {
        let plenty = self.queue.jobs() / (8 * (self.round.len() + 1));
        // Each of many costs the less the more it is given at a time: up to its share, and what one that settles its jobs soon does in some 10 ms. Credit
        // that is fixed says nothing of that, so it is no more than it has shown to settle.
        let flight = link.flight.borrow();
        let is_worth_more = self.serves_many() && flight.oldest().is_none_or(|sent| sent.elapsed() < QUICK);
        let lacks = self.share().saturating_sub(flight.jobs());
        let able = (flight.credit() / 2).min(flight.settled());
        let more = if is_worth_more { lacks.min(able as usize) } else { 0 };
        plenty.max(more).clamp(1, MOST_AT_A_TIME)
    }

    /// Whether there are many peers, all of which acknowledge, and on average they have plenty.
    fn serves_many(&self) -> bool {
        let peers = self.links.len();
        self.plain == 0 && peers >= MANY && self.port().in_flight() >= PLENTY * peers
    }

    /// Jobs that may only travel alone go to peers that have nothing; if there are too few of those, others are emptied.
    fn deal_lone(&mut self, touched: &mut Vec<Rc<Link>>) {
        self.links.iter().for_each(|link| link.is_reserved.set(false));
        let links = self.links.clone();
        for link in links.iter().filter(|link| link.is_flow()) {
            if self.lone.jobs() == 0 {
                break;
            }
            if self.can_take(link) && link.flight.borrow().jobs() == 0 {
                let Some(order) = self.lone.find_returned(|order| !has_lapsed(link, order)) else { continue };
                let Some(lot) = self.lone.remove(order) else { continue };
                touched.push(Rc::clone(link));
                self.send_one(link, lot);
                link.has_lone_job.set(true);
            }
        }
        self.reserve();
        // Where nobody who acknowledges works, nothing is learnt by travelling alone.
        if self.plain > 0 && !links.iter().any(|link| link.works()) {
            while let Some(lot) = self.lone.pop_front() {
                self.queue.put_back(lot);
            }
        }
    }

    /// Jobs that a peer holds for too long go to any other that can take one.
    fn deal_withheld(&mut self, touched: &mut Vec<Rc<Link>>) {
        for link in self.links.clone() {
            while self.can_take(&link)
                && let Some(order) = self.withheld.find_returned(|order| !has_lapsed(&link, order))
                && let Some(lot) = self.withheld.remove(order)
            {
                touched.push(Rc::clone(&link));
                self.send_one(&link, lot);
            }
        }
    }

    /// Lets users know, once, when a job waits that no peer can be sent, because all of them hold it.
    fn tell_withheld(&mut self) {
        let is_with_all = |order| self.links.iter().all(|link| has_lapsed(link, order));
        let is_stuck = || {
            [&self.withheld, &self.lone].into_iter().any(|queue| queue.find_returned(is_with_all).is_some())
        };
        let may_be = self.pipe.config.ack_timeout.is_some() && !self.links.is_empty();
        let is_withheld = may_be && is_stuck();
        if is_withheld && !self.has_told_withheld {
            self.pipe.tell(&Event::Withheld);
        }
        self.has_told_withheld = is_withheld;
    }

    /// Sends a job before all that wait.
    fn send_one(&mut self, link: &Rc<Link>, lot: Lot) {
        let mut one = Queue::default();
        one.put_back(lot);
        std::mem::swap(&mut self.queue, &mut one);
        self.send(link, 1);
        std::mem::swap(&mut self.queue, &mut one);
        // A peer that can take a job takes at least one.
        debug_assert_eq!(one.jobs(), 0);
    }

    /// As many peers as there are jobs that wait to travel alone get nothing until they have nothing: those first that want
    /// more.
    fn reserve(&mut self) {
        let mut links: Vec<_> =
            self.links.iter().filter(|link| link.works() && !link.has_lone_job.get()).collect();
        links.retain(|link| self.lone.find_returned(|order| !has_lapsed(link, order)).is_some());
        links.sort_by_key(|link| {
            let flight = link.flight.borrow();
            (flight.credit() == 0, flight.jobs())
        });
        links.iter().take(self.lone.jobs()).for_each(|link| link.is_reserved.set(true));
        self.has_reserved = self.lone.jobs() > 0 && !links.is_empty();
    }

    /// Sends jobs from the front of the queue, whatever batches they came in.
    fn send(&mut self, link: &Rc<Link>, most: usize) {
        let mut left = most;
        while left > 0 && self.queue.jobs() > 0 && self.can_take(link) {
            let sent = if link.is_flow() {
                self.send_with_credit(link, left)
            } else {
                self.send_plainly(link, left)
            };
            left = left.saturating_sub(sent);
        }
    }

    /// Sends jobs of the batch at the front, at least one; how many.
    fn send_plainly(&mut self, link: &Link, most: usize) -> usize {
        let Some(front) = self.queue.front() else { return most };
        let mut outbox = link.outbox.borrow_mut();
        let (mut jobs, mut cost, mut next) = (0, 0, None);
        for (job, behind) in front.iter().take(most) {
            if jobs > 0 && outbox.unwritten() >= ROOM_PER_PEER {
                break;
            }
            let sent = Sent { ticket: front.ticket.behind(jobs), cost: job.cost() };
            if self.pattern == Pattern::Requests {
                self.requests.ask(job, sent.ticket.order, link.id);
            }
            put(&mut outbox, front, job, Some(sent));
            (jobs, cost, next) = (jobs + 1, cost + job.cost(), Some(behind));
        }
        drop(outbox);
        next.and_then(|next| self.queue.take_front(jobs, next, cost));
        jobs
    }

    /// The same. One that was sent before takes a whole turn.
    fn send_with_credit(&mut self, link: &Link, most: usize) -> usize {
        let Some(front) = self.queue.front() else { return most };
        let (mut flight, mut outbox) = (link.flight.borrow_mut(), link.outbox.borrow_mut());
        let (id, mark) = flight.mark(front.ticket, || {
            self.next_id += IDS;
            self.next_id - IDS
        });
        // Of one that was sent before, the peer is told; of each one, so they go one by one.
        let is_again = front.ticket.failures > 0;
        if let Some(mark) = mark {
            outbox.put_command(command::job(mark, self.instance));
        }
        let max_cost = self.pipe.config.max_waiting_bytes;
        let whole_turn = most;
        let most = most
            .min(if is_again { 1 } else { usize::MAX })
            .min(self.most_in_flight().saturating_sub(self.port().in_flight()))
            .max(1);
        let most_cost =
            (max_cost.saturating_sub(self.port().in_flight_cost()) as u64).min(flight.credit_cost()) as usize;
        let most = most.min(usize::try_from(flight.credit()).unwrap_or(usize::MAX));
        let (mut jobs, mut cost, mut next) = (0, 0, None);
        for (job, behind) in front.iter().take(most) {
            if jobs > 0 && (cost >= most_cost || outbox.unwritten() >= ROOM_PER_PEER) {
                break;
            }
            put(&mut outbox, front, job, None);
            (jobs, cost, next) = (jobs + 1, cost + job.cost(), Some(behind));
        }
        let Some(lot) = next.and_then(|next| self.queue.take_front(jobs, next, cost)) else { return most };
        flight.push(lot, id, Instant::now());
        link.peer.set_flow(flight.credit(), flight.jobs());
        link.peer.count(jobs);
        if is_again {
            link.peer.count_redelivered(jobs);
            self.port().redelivered.fetch_add(jobs as u64, Relaxed);
        }
        drop((flight, outbox));
        self.take_off(jobs, cost);
        if self.plain > 0 {
            self.plain_turns.sent(jobs, self.links.len() - self.plain);
        }
        if is_again { whole_turn } else { jobs }
    }

    /// Whether a peer can be given a job now.
    pub(super) fn can_take(&self, link: &Link) -> bool {
        wants(link) && (!link.is_flow() || !self.is_full())
    }

    /// How many jobs may be in flight: as many as may wait, and with many zeropipe peers more.
    fn most_in_flight(&self) -> usize {
        let max_jobs = self.pipe.config.max_waiting_jobs;
        max_jobs.max(max_jobs.saturating_mul(self.links.len() - self.plain) / PART_OF_EACH)
    }

    /// What may be in flight, by the number of peers.
    fn share(&self) -> usize {
        self.most_in_flight() / self.links.len().max(1)
    }

    /// Whether as much is in flight as may be.
    pub(super) fn is_full(&self) -> bool {
        let port = self.port();
        port.in_flight() >= self.most_in_flight()
            || port.in_flight_cost() >= self.pipe.config.max_waiting_bytes
    }

    /// Whether a peer, one of many, has half of its share of what may be in flight, while half of all that is. It is listed again
    /// when it has settled some, or when the time has come.
    fn has_enough(&self, link: &Link) -> bool {
        if !self.is_patient || self.links.len() < MANY {
            return false;
        }
        let share = self.share();
        WORTH_WAITING.contains(&share)
            && link.flight.borrow().jobs() >= share / 2
            && self.port().in_flight() >= self.most_in_flight() / 2
    }

    /// Lists those that had enough too.
    pub(super) fn end_patience(&mut self) {
        (self.is_patient, self.patient_until) = (false, None);
        self.list_all();
    }

    /// Whether a peer holds a quarter of what may wait: then others come first.
    fn is_heavy(&self, link: &Link) -> bool {
        let (config, flight) = (&self.pipe.config, link.flight.borrow());
        flight.jobs() >= (config.max_waiting_jobs / 4).max(1)
            || flight.cost() >= (config.max_waiting_bytes / 4).max(1)
    }

    /// If a peer is idle, takes back what plain ones are too stalled to be sent; whether that was anything.
    fn reclaim(&mut self) -> bool {
        let is_idle = |link: &Rc<Link>| self.can_take(link) && link.outbox.borrow().unwritten() == 0;
        let is_stalled = |link: &&Rc<Link>| link.is_blocked.get() && !link.is_flow();
        if self.plain == 0
            || !self.links.iter().any(|link| is_stalled(&link))
            || !self.round.iter().any(is_idle)
        {
            return false;
        }
        let stalled: Vec<_> = self.links.iter().filter(is_stalled).cloned().collect();
        for link in stalled {
            let lots = link.outbox.borrow_mut().take_back();
            lots.into_iter().for_each(|lot| self.untaken(lot));
        }
        self.queue.jobs() > 0
    }

    pub(super) fn list(&mut self, link: &Rc<Link>) {
        if wants(link) && !link.listed.replace(true) {
            self.round.push_back(Rc::clone(link));
        }
    }

    /// Lists all that can take something: after what keeps more than one from it has changed.
    pub(super) fn list_all(&mut self) {
        for link in self.links.clone() {
            self.list(&link);
        }
    }
}

/// Whether a peer could be given a job as far as it is up to it.
fn wants(link: &Link) -> bool {
    let is_ready =
        !link.is_blocked.get() && !link.is_ending() && link.outbox.borrow().unwritten() < ROOM_PER_PEER;
    let is_free = || link.flight.borrow().credit() > 0 && !link.is_reserved.get() && !link.has_lone_job.get();
    is_ready && (!link.is_flow() || is_free())
}

/// Frames a job; a large one travels from its own slab.
fn put(outbox: &mut Outbox, lot: &Lot, job: Job<'_>, sent: Option<Sent>) {
    match lot.alone() {
        Some(batch) => outbox.put_large(batch.clone(), sent),
        None => outbox.put(job, sent),
    }
}
