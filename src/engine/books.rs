//! The books of a push end: where each accepted job is, until it is delivered or dead (docs/flow.md, "The pusher").

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    chance::jittered,
    event::{Callback, Event, Pattern, ROOM, Tally},
    flight::Settled,
    link::Link,
    pipe::Pipe,
    plain_turns::PlainTurns,
    push_port::PushPort,
    queue::{Lot, Queue, Ticket},
    requests::Requests,
};
use crate::{
    batch::{Batch, Job},
    error::{Error, code},
    wire::flow::Instance,
};

/// After so many failures a job travels alone, to a peer that has nothing else: then it takes no neighbours with it.
const FAILURES_OF_A_LONE_JOB: u32 = 2;

/// The pause before another attempt of a job that a handler has failed on; each one is twice as long as the one before, up to
/// the last of these.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// So many connections to plain peers that end in the middle of one job are no chance.
const CUTS_TOLD: u8 = 3;

/// See the module. What other threads see of it is in the port.
pub struct Books {
    pub(super) pipe: Arc<Pipe>,
    pub(super) pattern: Pattern,
    pub(super) instance: Instance,
    /// Of a request end: the jobs that somebody waits for the reply to. They are delivered when it has come.
    pub(super) requests: Requests,
    /// Those whose turn it is as soon as a peer has room.
    pub(super) queue: Queue,
    /// Those that may only travel alone.
    pub(super) lone: Queue,
    /// Those that a peer has held for too long and still holds: they may go to any other.
    pub(super) withheld: Queue,
    /// Users were told that all peers hold one of them.
    pub(super) has_told_withheld: bool,
    /// Those that wait for another attempt, by when that is, and their order.
    pub(super) delayed: BTreeMap<(Instant, u64), Lot>,
    pub(super) next_order: u64,
    pub(super) next_id: u64,
    /// How many jobs were taken in and are not delivered.
    pub(super) undelivered: usize,
    pub(super) links: Vec<Rc<Link>>,
    /// How many of them lead to plain peers.
    pub(super) plain: usize,
    /// What those are given beside zeropipe peers.
    pub(super) plain_turns: PlainTurns,
    /// The one that threads may write to by themselves.
    pub(super) lent: Option<Rc<Link>>,
    /// The peers that can take a job as far as it is up to them, the one whose turn it is first.
    pub(super) round: VecDeque<Rc<Link>>,
    /// Peers that have enough for now get no more before they have less, or it is time.
    pub(super) is_patient: bool,
    pub(super) patient_until: Option<Instant>,
    /// Until then jobs come so fast that those for a whole turn of one of many peers are soon there; and whether they are waited for.
    pub(super) gathers_until: Option<Instant>,
    pub(super) is_gathering: bool,
    /// Some of the links are reserved.
    pub(super) has_reserved: bool,
    pub(super) drains: Vec<Drain>,
    /// Those who need not wait any more, to be answered once all counts are right.
    pub(super) drained: Vec<Callback>,
    /// Some have left the waiting line since users were told that there may be room.
    pub(super) has_moved: bool,
    /// When to look at `delayed`, and at what is held for too long.
    pub(super) alarm: Option<Instant>,
}

/// Somebody who waits until all jobs with lower orders are delivered.
pub struct Drain {
    pub(super) before: u64,
    pub(super) left: usize,
    pub(super) callback: Callback,
}

impl Books {
    pub(super) fn new(pipe: Arc<Pipe>, pattern: Pattern, instance: Instance) -> Self {
        Self {
            pipe,
            pattern,
            instance,
            requests: Requests::default(),
            queue: Queue::default(),
            lone: Queue::default(),
            withheld: Queue::default(),
            has_told_withheld: false,
            delayed: BTreeMap::new(),
            next_order: 0,
            next_id: 1,
            undelivered: 0,
            links: Vec::new(),
            plain: 0,
            plain_turns: PlainTurns::default(),
            lent: None,
            round: VecDeque::new(),
            is_patient: true,
            patient_until: None,
            gathers_until: None,
            is_gathering: false,
            has_reserved: false,
            drains: Vec::new(),
            drained: Vec::new(),
            has_moved: false,
            alarm: None,
        }
    }

    pub(super) fn port(&self) -> &PushPort {
        &self.pipe.ports(self.pattern).push
    }

    /// After links have come or gone.
    pub(super) fn count_plain(&mut self) {
        self.plain = self.links.iter().filter(|link| !link.is_flow()).count();
    }

    /// Gives jobs that were handed over their place.
    pub(super) fn accept(&mut self, batch: Batch) -> Lot {
        let ticket = Ticket { order: self.next_order, id: None, failures: 0, cuts: 0 };
        if self.pattern == Pattern::Requests {
            self.requests.open(&batch, ticket.order);
        }
        self.next_order += batch.jobs() as u64;
        self.undelivered += batch.jobs();
        Lot::new(batch, ticket)
    }

    /// How many jobs could be sent at once, were there a peer for them.
    pub(super) fn waiting(&self) -> usize {
        self.queue.jobs() + self.lone.jobs() + self.withheld.jobs()
    }

    /// How many jobs of lower order are not delivered.
    pub(super) fn undelivered_before(&self, order: u64) -> usize {
        let waiting: usize =
            [&self.queue, &self.lone, &self.withheld].map(|queue| queue.jobs_before(order)).iter().sum();
        let delayed: usize = self.delayed.values().map(|lot| lot.jobs_before(order)).sum();
        let with = |link: &Rc<Link>| {
            link.flight.borrow().jobs_before(order) + link.outbox.borrow().jobs_before(order)
        };
        waiting + delayed + self.links.iter().map(with).sum::<usize>()
    }

    /// Jobs are on their way to a zeropipe peer.
    pub(super) fn take_off(&mut self, jobs: usize, cost: usize) {
        let port = self.port();
        port.in_flight.fetch_add(jobs, SeqCst);
        port.in_flight_cost.fetch_add(cost, SeqCst);
        port.waiting_cost.fetch_sub(cost, SeqCst);
        port.waiting.fetch_sub(jobs, SeqCst);
        self.has_moved = true;
    }

    /// They are no more: settled, or lost with the link.
    pub(super) fn land(&self, jobs: usize, cost: usize) {
        let port = self.port();
        port.in_flight.fetch_sub(jobs, SeqCst);
        port.in_flight_cost.fetch_sub(cost, SeqCst);
    }

    /// They wait again.
    fn wait_again(&self, lot: &Lot) {
        let port = self.port();
        port.waiting_cost.fetch_add(lot.cost(), SeqCst);
        port.waiting.fetch_add(lot.jobs(), SeqCst);
    }

    /// They no longer wait, and were sent to nobody.
    pub(super) fn leave_line(&mut self, jobs: usize, cost: usize) {
        let port = self.port();
        port.waiting_cost.fetch_sub(cost, SeqCst);
        port.waiting.fetch_sub(jobs, SeqCst);
        self.has_moved = true;
    }

    /// They are done with their peers, and so delivered; `before` tells how many of them have a lower order. A request is not
    /// before its reply has come.
    pub(super) fn forget(&mut self, jobs: usize, before: impl Fn(u64) -> usize) {
        if self.pattern == Pattern::Pipeline {
            self.deliver(jobs, before);
        }
    }

    /// Nobody needs to care for them any more.
    pub(super) fn deliver(&mut self, jobs: usize, before: impl Fn(u64) -> usize) {
        self.undelivered -= jobs;
        self.port().undelivered.fetch_sub(jobs, SeqCst);
        self.drains.iter_mut().for_each(|drain| drain.left -= before(drain.before));
        self.drained.extend(self.drains.extract_if(.., |drain| drain.left == 0).map(|drain| drain.callback));
    }

    /// A peer has acknowledged jobs.
    pub(super) fn done(&mut self, link: &Link, settled: Settled) {
        match settled {
            Settled::Own(lot) => {
                self.land(lot.jobs(), lot.cost());
                self.count_done(link, lot.jobs());
                self.forget(lot.jobs(), |order| lot.jobs_before(order));
                if self.pattern == Pattern::Requests {
                    self.fail(&lot, "a worker is done with it and has not replied");
                }
            }
            // Without a reply it is no answer: the request goes on waiting for one.
            Settled::Lapsed(_) if self.pattern == Pattern::Requests => {}
            Settled::Lapsed(lot) => lot.singles().for_each(|lot| self.done_late(link, lot.ticket.order)),
        }
    }

    /// A job that was taken from a peer is done by it after all. If it still waits for another, it does so no more.
    fn done_late(&mut self, link: &Link, order: u64) {
        let Some(lot) = self.withdraw(order) else { return };
        self.count_done(link, lot.jobs());
        self.forget(lot.jobs(), |order| lot.jobs_before(order));
    }

    /// Takes a job out of the line, if it waits there.
    pub(super) fn withdraw(&mut self, order: u64) -> Option<Lot> {
        let delayed = self.delayed.keys().find(|(_, other)| *other == order).copied();
        let lot = match delayed.and_then(|key| self.delayed.remove(&key)) {
            Some(lot) => lot,
            None => {
                let queues = [&mut self.withheld, &mut self.lone, &mut self.queue];
                queues.into_iter().find_map(|queue| queue.remove(order))?
            }
        };
        self.leave_line(lot.jobs(), lot.cost());
        Some(lot)
    }

    /// Before those who wait for it are told. A request is not done before its reply has come.
    pub(super) fn count_done(&self, link: &Link, jobs: usize) {
        if self.pattern == Pattern::Requests {
            return;
        }
        link.peer.count_done(jobs as u64);
        self.port().done.fetch_add(jobs as u64, Relaxed);
    }

    /// A peer has not started with jobs.
    pub(super) fn unstarted(&mut self, settled: Settled) {
        if let Settled::Own(lot) = settled {
            if self.plain > 0 {
                self.plain_turns.returned(lot.jobs(), self.links.len() - self.plain);
            }
            self.land(lot.jobs(), lot.cost());
            for lot in self.wanted(lot) {
                self.wait_again(&lot);
                self.line_up(lot);
            }
        }
    }

    /// A plain peer has left without having taken jobs.
    pub(super) fn untaken(&mut self, lot: Lot) {
        self.leave_line(lot.jobs(), lot.cost());
        for lot in self.wanted(lot) {
            self.wait_again(&lot);
            self.queue.put_back(lot);
        }
    }

    /// The connection of a plain peer has ended in the middle of a job, which goes to another. After several of
    /// those users are told, once: it may be larger than these peers take, and go round for ever.
    pub(super) fn cut(&mut self, link: &Link, mut lot: Lot) {
        lot.ticket.cuts = lot.ticket.cuts.saturating_add(1);
        if lot.ticket.cuts == CUTS_TOLD {
            let bytes = lot.first().map_or(0, Job::bytes);
            let text = format!(
                "{CUTS_TOLD} connections have ended in the middle of the same message of {bytes} \
                 bytes: a peer may refuse messages of that size (libzmq: ZMQ_MAXMSGSIZE); it is \
                 tried again whenever one connects"
            );
            let (side, address) = (self.pattern.side_out(), link.peer.address.clone());
            self.pipe.tell(&Event::Refused {
                side,
                address,
                error: Error::new(code::MESSAGE_TOO_LARGE, text),
            });
        }
        self.untaken(lot);
    }

    /// A peer has failed on jobs, was lost with them, or holds them for too long.
    pub(super) fn failed(&mut self, mut lot: Lot, reason: &str, pauses: bool) {
        self.land(lot.jobs(), lot.cost());
        lot.ticket.failures += 1;
        if lot.ticket.failures >= self.pipe.config.max_attempts {
            return self.bury(&lot, reason);
        }
        let pause = PAUSE.saturating_mul(1 << (lot.ticket.failures - 1).min(20)).min(LONGEST_PAUSE);
        for lot in self.wanted(lot) {
            self.wait_again(&lot);
            if pauses {
                self.delayed.insert((Instant::now() + jittered(pause), lot.ticket.order), lot);
            } else {
                self.line_up(lot);
            }
        }
    }

    /// Back to the front.
    fn line_up(&mut self, lot: Lot) {
        if lot.ticket.failures >= FAILURES_OF_A_LONE_JOB {
            lot.singles().for_each(|lot| self.lone.put_back(lot));
        } else if lot.ticket.failures == 0 || self.pipe.config.ack_timeout.is_none() {
            self.queue.put_back(lot);
        } else {
            for lot in lot.singles() {
                let is_held = self.links.iter().any(|link| has_lapsed(link, lot.ticket.order));
                if is_held { &mut self.withheld } else { &mut self.queue }.put_back(lot);
            }
        }
    }

    /// Gives jobs up, and says so.
    fn bury(&mut self, lot: &Lot, reason: &str) {
        if self.pattern == Pattern::Requests {
            return self.fail(lot, reason);
        }
        self.port().dead.fetch_add(lot.jobs() as u64, Relaxed);
        for lot in lot.clone().singles() {
            let job =
                lot.first().into_iter().flat_map(Job::frames).map(|(bytes, _)| bytes.to_vec()).collect();
            let id = lot.ticket.id.map(|id| format!("{}-{id}", self.instance)).unwrap_or_default();
            self.pipe.tell(&Event::Dead { job, id, attempt: lot.ticket.failures, reason: reason.into() });
        }
        self.deliver(lot.jobs(), |order| lot.jobs_before(order));
    }

    /// What has paused long enough lines up; what was held too long goes to another peer.
    pub(super) fn look_at_the_clock(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry().filter(|entry| entry.key().0 <= now) {
            let lot = entry.remove();
            self.line_up(lot);
        }
        if self.patient_until.is_some_and(|until| until <= now) {
            self.end_patience();
        }
        self.plain_turns.handle_timeout(now);
        let Some(before) = self.pipe.config.ack_timeout.and_then(|limit| now.checked_sub(limit)) else {
            return;
        };
        for link in self.links.clone() {
            let late = link.flight.borrow_mut().lapse(before);
            let flight = link.flight.borrow();
            link.peer.set_flow(flight.credit(), flight.jobs());
            drop(flight);
            link.has_lone_job.set(link.has_lone_job.get() && late.is_empty());
            for lot in late {
                self.failed(lot, "held for longer than ackTimeout", false);
            }
        }
        self.list_all();
    }

    /// Sets the alarm; whether it is to ring earlier than before.
    pub(super) fn set_alarm(&mut self) -> bool {
        let held = |limit| {
            self.links
                .iter()
                .filter_map(|link| link.flight.borrow().held_since())
                .min()
                .and_then(|since| since.checked_add(limit))
        };
        let late = self.pipe.config.ack_timeout.and_then(held);
        let gathered = self.gathers_until.filter(|_| self.is_gathering);
        let delayed = self.delayed.first_key_value().map(|(key, _)| key.0);
        let turns = self.plain_turns.next_timeout();
        let next =
            delayed.into_iter().chain(late).chain(self.patient_until).chain(gathered).chain(turns).min();
        let is_earlier = next.is_some_and(|next| self.alarm.is_none_or(|alarm| next < alarm));
        self.alarm = next;
        is_earlier
    }

    /// Lets users know what they wait for.
    pub(super) fn tell_port(&mut self) {
        std::mem::take(&mut self.drained)
            .into_iter()
            .for_each(|callback| callback.send(Ok(Tally::default())));
        let has_moved = std::mem::take(&mut self.has_moved);
        let port = self.port();
        if has_moved && port.is_full.swap(false, SeqCst) {
            self.pipe.raise(ROOM);
        }
        if port.is_flushing.load(SeqCst) {
            let is_unwritten = |link: &&Rc<Link>| link.outbox.borrow().unwritten() > 0;
            port.unwritten.store(self.links.iter().filter(is_unwritten).count(), SeqCst);
        }
    }
}

/// Whether a peer still holds a job, by its order, that it has held for too long.
pub(super) fn has_lapsed(link: &Link, order: u64) -> bool {
    // One that is just settling a job, and is in use for that, does not hold it.
    link.flight.try_borrow().is_ok_and(|flight| flight.has_lapsed(order))
}
