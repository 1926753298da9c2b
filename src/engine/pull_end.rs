//! The pull end: deals jobs fairly from all peers (RFC 30; libzmq's `fq`) to the consumers that want some.
//!
//! From plain peers nothing is read ahead of what is wanted but one inbox each: everything else stays with them. What
//! zeropipe peers may send is granted beforehand, and given back when it can't be begun with soon (docs/flow.md).

use std::{
    cell::{Cell, RefCell, RefMut},
    rc::{Rc, Weak},
    sync::{
        Arc,
        atomic::{Ordering::Relaxed, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{sync::watch, task::spawn_local, time::Instant};

use super::{
    chance::random,
    consumer::{Consumer, STALLED},
    delivery::{Delivery, Fate, Source},
    event::{Event, Side},
    fair_queue::{FairQueue, WINDOW},
    inbox::Parcel,
    link::{End, Link},
    peer::Peer,
    pipe::{Alarm, Pipe},
    pull_port::{PullPort, give_back},
    tap::{Sink, Taker, Terms},
    telling::{lend, reply, take_back, tell},
};
use crate::{
    batch::Batch,
    error::{Error, code},
    flow::{outbox::Outbox, sender::Written},
    wire::{command::FlowCommand, flow::Instance},
};

/// How long settlements and credit that nobody waits for may be kept, so that they go together.
const SOON: Duration = Duration::from_millis(2);

/// After so many looks that saw nothing move, nobody looks until asked.
const QUIET: u32 = 3;

/// How long a pusher may take to answer that it has heard of a close.
const GOODBYE: Duration = Duration::from_secs(2);

/// How much of our replies a peer may leave unread.
const MOST_UNREAD: usize = 1 << 20;

/// More than so many links are not left to others: each costs a descriptor.
const MOST_LENT: usize = 16;

/// How much less a peer's jobs of the past count at each look.
const FADING: f64 = 0.9;

/// The part of a pull end that lives on the I/O thread.
pub struct PullEnd {
    pipe: Arc<Pipe>,
    side: Side,
    instance: Instance,
    state: RefCell<FairQueue>,
    /// When to look again without being asked.
    alarm: Cell<Option<Instant>>,
    /// The alarm has rung, and somebody was not told then.
    is_late: Cell<bool>,
    /// Jobs have come since it was looked last because of that.
    has_received: Cell<bool>,
    stop: watch::Receiver<bool>,
}

/// Why to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Asked,
    Received,
    Alarm,
}

impl PullEnd {
    /// A pull end without connections, which serves the port's consumers until `stop`.
    pub fn start(pipe: Arc<Pipe>, side: Side, stop: watch::Receiver<bool>) -> Rc<Self> {
        let (instance, max_message_size) = (Instance(random()), pipe.config.max_message_size);
        let port = &pipe.ports(side.pattern()).pull;
        port.is_closed.store(false, SeqCst);
        port.is_running.store(true, SeqCst);
        port.instance.write(|own| *own = Some(instance));
        let end = Rc::new(Self {
            pipe,
            side,
            instance,
            state: RefCell::new(FairQueue::new(max_message_size)),
            alarm: Cell::default(),
            is_late: Cell::default(),
            has_received: Cell::default(),
            stop,
        });
        spawn_local(Self::watch(Rc::downgrade(&end), Arc::clone(&end.pipe), side, end.stop.clone()));
        end
    }

    /// Looks whenever a consumer asks for it, or the time has come for something.
    async fn watch(end: Weak<Self>, pipe: Arc<Pipe>, side: Side, mut stop: watch::Receiver<bool>) {
        let port = &pipe.ports(side.pattern()).pull;
        let _alarm = Alarm(Arc::clone(&pipe));
        let alarm = || end.upgrade().and_then(|end| end.alarm.get());
        while end.strong_count() > 0 {
            let cause = tokio::select! {
                cause = Self::cause(port, alarm) => cause,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            if let Some(end) = end.upgrade() {
                end.look(cause);
            }
        }
    }

    async fn cause(port: &PullPort, alarm: impl Fn() -> Option<Instant>) -> Cause {
        if port.nudge.rung_before(alarm).await { Cause::Asked } else { Cause::Alarm }
    }

    /// Takes no more jobs, and ends every connection as soon as its jobs that somebody has begun with are settled. How many
    /// jobs of plain peers had arrived that nobody has begun with.
    pub fn close(self: &Rc<Self>) -> u64 {
        let port = self.port();
        port.is_closed.store(true, SeqCst);
        let mut lost = give_back(port.returned().drain(..).collect());
        for consumer in port.consumers().iter() {
            lost += give_back(consumer.clear());
        }
        let mut state = self.state.borrow_mut();
        (state.is_closing, state.closing_since) = (true, Instant::now());
        for (peer, left) in state.count_plain() {
            peer.ledger().close(left);
            lost += left;
        }
        // One that waits for replies gets those that are being worked on.
        let is_owed = |link: &Rc<Link>| self.replies() && link.peer.ledger().open() > 0;
        state.links.iter().filter(|link| !link.is_flow() && !is_owed(link)).for_each(|link| link.end());
        let flow: Vec<_> = state.links.iter().filter(|link| link.is_flow()).cloned().collect();
        drop(state);
        self.look(Cause::Asked);
        // Behind what takes back their credit: the answer shows that this was heard.
        for link in flow {
            link.ask();
            link.wake();
        }
        self.state.borrow_mut().has_asked = true;
        let end = Rc::clone(self);
        spawn_local(async move {
            let pipe = Arc::clone(&end.pipe);
            let port = &pipe.ports(end.side.pattern()).pull;
            let _alarm = Alarm(Arc::clone(&pipe));
            while !end.state.borrow().links.is_empty() {
                let cause = Self::cause(port, || end.alarm.get()).await;
                end.look(cause);
                if cause == Cause::Asked && !port.is_closed.load(SeqCst) {
                    // It has been opened again, and this may have been for that.
                    port.nudge.ring();
                }
            }
            port.is_running.store(!port.is_closed.load(SeqCst), SeqCst);
        });
        lost
    }

    fn port(&self) -> &PullPort {
        &self.pipe.ports(self.side.pattern()).pull
    }

    /// Whether jobs are requests.
    fn replies(&self) -> bool {
        self.side == Side::Reply
    }

    /// Looks how far consumers have come, deals, gives back what can't be begun with soon, and tells pushers.
    fn look(&self, cause: Cause) {
        // After this nobody may look for long: whoever begins to wait meanwhile must say so.
        if cause == Cause::Alarm {
            self.port().is_calm.store(false, SeqCst);
        }
        let consumers = self.port().consumers().clone();
        let now = Instant::now();
        let settled = self.port().settled.load(SeqCst);
        let has_moved = consumers.iter().filter(|consumer| consumer.look(now)).count() > 0;
        for consumer in consumers.iter().filter(|consumer| consumer.stalls_at().is_some_and(|at| at <= now)) {
            // Nobody could begin sooner with what waits for a thread that makes its rounds, as far as we know.
            let is_needed = consumers.iter().any(|other| other.waits());
            if is_needed || !consumer.is_in_line(now) {
                self.port().put_back(consumer.stall(&self.port().is_dealing));
            }
        }
        // What has come behind something that was given back must go back too.
        self.give_back(&mut self.state.borrow_mut(), |_| false);
        if !self.state.borrow().is_closing {
            self.deal(&consumers);
        }
        let mut state = self.state.borrow_mut();
        // Who reads by himself may have to stop.
        if cause != Cause::Received {
            state.links.iter().for_each(|link| link.rouse());
        }
        self.give_back_late(&mut state, &consumers, now);
        let is_untold = self.tell(&mut state, &consumers, now, cause);
        if !is_untold {
            state.telling = settled;
        }
        self.note_told(&state);
        let is_lively = is_untold || !consumers.is_empty() && (has_moved || cause == Cause::Received);
        self.set_alarm(&mut state, &consumers, now, is_lively, cause);
        // While we look anyway, and every pusher may go on meanwhile, nobody need wake us; but one of several loops that waits may have
        // what others have before them.
        let may_go_on = |link: &Rc<Link>| {
            let grant = link.grant.borrow();
            grant.left(link.inbox.borrow().received()) > 0 && !grant.is_eager() || !link.is_flow()
        };
        let is_alone = self.replies() || consumers.len() == 1;
        let is_calm = is_alone && is_lively && state.links.iter().all(may_go_on);
        self.port().is_calm.store(is_calm, SeqCst);
        drop(state);
        consumers.iter().for_each(|consumer| consumer.wake());
    }

    /// Deals jobs to consumers until there are no more of the one or the other.
    #[inline(never)]
    fn deal(&self, consumers: &[Arc<Consumer>]) {
        let port = self.port();
        let most_unread = self.replies().then_some(MOST_UNREAD);
        loop {
            let mut state = self.state.borrow_mut();
            while let Some((consumer, most)) = next_consumer(consumers) {
                let returned = self.returned(&state, most);
                let fresh = || state.next_delivery(most, most_unread).map(|delivery| port.stamp(delivery));
                let Some(delivery) = returned.or_else(fresh) else { break };
                // Not what belongs behind something that has been given back just now.
                let place = delivery.place;
                let is_next = || port.returned().front().is_none_or(|before| place <= before.place);
                if let Err(refused) = consumer.give_if_wanted(is_next, delivery) {
                    port.put_back(vec![refused]);
                }
            }
            let has_more = state.has_jobs(|link| self.replies() && is_glutted(link));
            drop(state);
            if !has_more && port.returned().is_empty() {
                self.level_out(consumers);
            }
            let is_stocked = has_more || !port.returned().is_empty();
            // Said first and looked at afterwards, so that a consumer that takes its last batch meanwhile is seen.
            port.is_stocked.store(is_stocked, SeqCst);
            if !is_stocked || next_consumer(consumers).is_none() {
                port.is_dealing.store(false, SeqCst);
                return;
            }
        }
    }

    /// At most so many jobs that a consumer gave back.
    #[inline(never)]
    fn returned(&self, state: &FairQueue, most: usize) -> Option<Delivery> {
        loop {
            let mut returned = self.port().returned();
            // Said before it is gone from there: whoever reads by himself looks at both, the other way round.
            self.port().is_dealing.fetch_or(!returned.is_empty(), SeqCst);
            let delivery = returned.pop_front()?;
            drop(returned);
            let (kept, dropped) = delivery.filter(|source| !state.is_elsewhere(source));
            self.port().received.fetch_sub(dropped as u64, Relaxed);
            let Some(mut kept) = kept else { continue };
            if let Some(rest) = kept.split_off(most) {
                self.port().put_back(vec![rest]);
            }
            return Some(kept);
        }
    }

    /// Gives a consumer that waits what was made ready for one that is busy.
    #[inline(never)]
    fn level_out(&self, consumers: &[Arc<Consumer>]) {
        for idle in consumers.iter().filter(|consumer| consumer.waits()) {
            let others = consumers.iter().filter(|other| !Arc::ptr_eq(idle, other));
            let Some(mut spare) = others.into_iter().find_map(|busy| busy.spare(&self.port().is_dealing))
            else {
                continue;
            };
            let rest = idle.wants().and_then(|most| spare.split_off(most));
            let refused = idle.give(spare).err();
            self.port().put_back(refused.into_iter().chain(rest).collect());
        }
    }

    /// Gives back what nobody can begin with, or nobody has begun with for long.
    #[inline(never)]
    fn give_back_late(&self, state: &mut FairQueue, consumers: &[Arc<Consumer>], now: Instant) {
        let farthest = state.links.iter().map(|link| link.round_trip.get()).max().unwrap_or_default();
        let can_begin =
            consumers.iter().any(|consumer| consumer.demand().slots > 0 || consumer.ahead(farthest) > 0);
        let is_patient = consumers.iter().any(|consumer| consumer.is_fixed());
        let is_closing = state.is_closing;
        self.give_back(state, |arrived| is_closing || !can_begin || !is_patient && arrived + STALLED <= now);
    }

    /// Gives back what is late, and what has come from the same pusher behind that.
    #[inline(never)]
    fn give_back(&self, state: &mut FairQueue, is_late: impl Fn(Instant) -> bool) {
        let mut back = self.give_back_returned(state, &is_late);
        back += state.give_back(|link| {
            link.peer.ledger().is_returning() || link.inbox.borrow().oldest().is_some_and(&is_late)
        });
        self.port().received.fetch_sub(back as u64, Relaxed);
    }

    /// The same of what consumers gave back; how many jobs.
    #[inline(never)]
    fn give_back_returned(&self, state: &FairQueue, is_late: impl Fn(Instant) -> bool) -> usize {
        let mut returned = self.port().returned();
        if returned.is_empty() {
            return 0;
        }
        let peers = state.links.iter().map(|link| &link.peer);
        let mut returning: Vec<_> = peers.filter(|peer| peer.ledger().is_returning()).cloned().collect();
        let mut back = 0;
        for delivery in std::mem::take(&mut *returned) {
            let is_late = is_late(delivery.arrived);
            if !is_late && returning.is_empty() {
                returned.push_back(delivery);
                continue;
            }
            delivery.each(|source, _| {
                if is_late && !is_among(&returning, source) {
                    returning.push(Arc::clone(&source.peer));
                }
            });
            // What nobody can be told of is kept.
            let is_kept =
                |source: &Source| !source.is_flow() || source.peer.is_gone() || !is_among(&returning, source);
            delivery.each(|source, _| {
                if !is_kept(source) {
                    source.settle(1, Fate::Unstarted);
                }
            });
            let (kept, dropped) = delivery.filter(is_kept);
            back += dropped;
            returned.extend(kept);
        }
        back
    }

    /// Tells pushers what became of their jobs, and how many more they may send. Whether something was left for later.
    #[inline(never)]
    fn tell(&self, state: &mut FairQueue, consumers: &[Arc<Consumer>], now: Instant, cause: Cause) -> bool {
        let pooled: usize = state.round.iter().map(|link| link.inbox.borrow().jobs()).sum();
        let returned: usize = self.port().returned().iter().map(|delivery| delivery.jobs).sum();
        let pooled = (pooled + returned) as u64;
        let links: Vec<Rc<Link>> = state.links.iter().filter(|link| link.is_flow()).cloned().collect();
        let recent: f64 = links.iter().map(|link| link.grant.borrow().recent).sum();
        let mut is_untold = false;
        let is_late = cause == Cause::Alarm || self.is_late.take();
        for link in &links {
            if link.is_behind() {
                // As soon as what others have read is counted.
                is_untold = true;
                self.is_late.set(is_late);
                continue;
            }
            let needs = consumers.iter().map(|consumer| consumer.needs(link.round_trip.get()));
            let (slots, ahead) = needs.fold((0, 0), |sum, need| (sum.0 + need.0, sum.1 + need.1));
            let free = if state.is_closing { 0 } else { (slots + ahead).saturating_sub(pooled) };
            let for_slots = free.min(slots);
            let share = (link.grant.borrow().recent + 1.0) / (recent + links.len() as f64);
            let bytes = state.window(link, links.len());
            let window = for_slots + ((free - for_slots) as f64 * share).ceil() as u64;
            let received = link.inbox.borrow().received();
            let (has_kept, is_waited_for) = (!link.peer.ledger().is_told(), slots > 0);
            let mut grant = link.grant.borrow_mut();
            grant.notice(received, now, link.round_trip.get());
            if is_late && is_waited_for && has_kept {
                grant.suspect(now);
            }
            let is_eager = !is_late && is_waited_for && has_kept && grant.tells_at_once(now);
            drop(grant);
            let is_due = is_late || consumers.is_empty() || is_eager;
            // In this order: a request whose reply is lost with the link must be sent again.
            let has_replied = reply(link);
            is_untold |= tell(link, (window, bytes as u64), has_replied, is_due);
            if is_late {
                link.grant.borrow_mut().recent *= FADING;
            }
            let ledger = link.peer.ledger();
            link.peer
                .set_flow(link.grant.borrow().left(link.inbox.borrow().received()), ledger.open() as usize);
            // What was on its way when it heard that nothing more is wanted has arrived before it answers.
            let has_all = state.has_asked && link.is_answered() || now >= state.closing_since + GOODBYE;
            if state.is_closing && ledger.is_closed() && has_all {
                link.end();
            }
        }
        for link in state.links.iter().filter(|link| !link.is_flow() && self.replies()) {
            reply(link);
            if state.is_closing && link.peer.ledger().is_closed() {
                link.end();
            }
        }
        is_untold
    }

    /// Lets those who wait for it know that everything settled so far has been written.
    fn note_told(&self, state: &FairQueue) {
        let is_told = |link: &Rc<Link>| link.outbox.borrow().unwritten() == 0;
        if state.links.iter().all(|link| is_told(link) || !link.is_flow() && !self.replies()) {
            self.port().told.store(state.telling, SeqCst);
        }
    }

    /// Looks again soon while things move; once they don't, a consumer is asked to say when they do again.
    fn set_alarm(
        &self,
        state: &mut FairQueue,
        consumers: &[Arc<Consumer>],
        now: Instant,
        is_lively: bool,
        cause: Cause,
    ) {
        let before = self.alarm.get().filter(|alarm| *alarm > now);
        state.quiet = if is_lively { 0 } else { state.quiet + u32::from(cause == Cause::Alarm) };
        // Asked at the first quiet look, and looked at twice more after that: by then no progress can have been missed. One that rested
        // already and rests still, now that it was asked, will tell.
        consumers.iter().for_each(|consumer| consumer.arm(state.quiet >= 1));
        if state.quiet >= 1 && consumers.iter().all(|consumer| consumer.is_at_rest()) {
            state.quiet = QUIET;
        }
        let soon = (state.quiet < QUIET).then_some(now + SOON);
        let stalls = consumers.iter().filter_map(|consumer| consumer.stalls_at());
        let oldest =
            state.round.iter().filter_map(|link| link.inbox.borrow().oldest()).map(|at| at + STALLED);
        let late = oldest.filter(|at| *at > now);
        let goodbye = (state.is_closing && !state.links.is_empty()).then_some(state.closing_since + GOODBYE);
        // An alarm that is set already stays: otherwise a steady stream would put it off for ever.
        let next = soon
            .map(|soon| before.map_or(soon, |before| before.min(soon)))
            .into_iter()
            .chain(stalls)
            .chain(late)
            .chain(goodbye.filter(|at| *at > now))
            .min();
        if next.is_some_and(|next| before.is_none_or(|before| next < before)) && cause != Cause::Alarm {
            // The watch may sleep until another time, or for ever.
            self.port().nudge.reset();
        }
        self.alarm.set(next);
    }
}

/// Hands what a consumer's own thread has read to the consumer.
struct Jobs {
    pipe: Arc<Pipe>,
    side: Side,
    consumer: Arc<Consumer>,
    peer: Arc<Peer>,
}

impl Sink for Jobs {
    fn take(&self, parcel: Parcel) -> bool {
        let (port, jobs) = (&self.pipe.ports(self.side.pattern()).pull, parcel.jobs);
        // What was given back goes first. In this order: what is dealt, or goes on to its pusher, was among that before.
        let is_first = || {
            port.returned().is_empty() && !port.is_dealing.load(SeqCst) && !self.peer.ledger().is_returning()
        };
        // Before anybody can settle them.
        count(port, &self.peer, jobs as u64);
        let delivery = port.stamp(Delivery::new(parcel, Arc::clone(&self.peer)));
        let is_given = self.consumer.give_if_wanted(is_first, delivery).is_ok();
        if is_given {
            self.consumer.wake()
        } else {
            uncount(port, &self.peer, jobs as u64)
        }
        is_given
    }
}

/// Whether one of these peers sent it.
fn is_among(peers: &[Arc<Peer>], source: &Source) -> bool {
    peers.iter().any(|peer| Arc::ptr_eq(peer, &source.peer))
}

/// So many jobs have come.
fn count(port: &PullPort, peer: &Peer, jobs: u64) {
    peer.count(jobs as usize);
    port.received.fetch_add(jobs, Relaxed);
    peer.ledger().receive(jobs);
}

/// They have not, yet.
fn uncount(port: &PullPort, peer: &Peer, jobs: u64) {
    peer.uncount(jobs as usize);
    port.received.fetch_sub(jobs, Relaxed);
    peer.ledger().close(jobs);
}

/// Whether a peer leaves too much of what it has asked for unread.
fn is_glutted(link: &Link) -> bool {
    link.outbox.borrow().unwritten() > MOST_UNREAD
}

/// Whoever waits comes first, then whoever has room; and how many jobs it may be given at a time.
fn next_consumer(consumers: &[Arc<Consumer>]) -> Option<(&Arc<Consumer>, usize)> {
    let wants = |consumer: &&Arc<Consumer>| consumer.wants().is_some();
    let waits = |consumer: &&Arc<Consumer>| consumer.waits();
    let next = consumers.iter().find(waits).or_else(|| consumers.iter().find(wants))?;
    next.wants().map(|most| (next, most))
}

impl End for PullEnd {
    fn side(&self) -> Side {
        self.side
    }

    fn pipe(&self) -> &Pipe {
        &self.pipe
    }

    fn instance(&self) -> Instance {
        self.instance
    }

    fn joined(&self, link: &Rc<Link>) {
        if *self.stop.borrow() {
            link.end();
        }
        self.port().peers.write(|peers| peers.push(Arc::clone(&link.peer)));
        let mut state = self.state.borrow_mut();
        state.links.iter().for_each(|other| other.rouse());
        state.links.push(Rc::clone(link));
        if self.replies() {
            lend(link);
        }
        if link.is_flow() {
            self.forget_what_came_before(&mut state);
            drop(state);
            self.look(Cause::Asked);
        }
    }

    fn outbox<'a>(&'a self, link: &'a Link) -> RefMut<'a, Outbox> {
        link.outbox.borrow_mut()
    }

    fn wrote(&self, link: &Rc<Link>, bytes: usize) -> Written {
        let has_ping = link.outbox.borrow_mut().advance(bytes, |_| {});
        self.note_told(&self.state.borrow());
        if self.replies() {
            lend(link);
            // It may have been passed over.
            if !link.inbox.borrow().is_empty() && !is_glutted(link) {
                self.port().nudge.ring();
            }
        }
        Written { has_ping, has_jobs: false }
    }

    fn take_back(&self, link: &Rc<Link>) {
        take_back(link);
    }

    fn blocked(&self, _: &Rc<Link>) {}

    fn may_read(&self, link: &Link) -> bool {
        // A plain peer that asks and does not listen is heard no more, or its replies would fill our memory. A zeropipe peer is given no more
        // credit meanwhile, and must be heard: else it would be taken for dead.
        let is_refused = self.replies() && !link.is_flow() && is_glutted(link);
        !is_refused && self.state.borrow_mut().may_read(link)
    }

    fn is_short_of_memory(&self) -> bool {
        self.state.borrow().is_short_of_memory()
    }

    fn admits(&self, link: &Link, received: (u64, u64), batch: &Batch) -> usize {
        if link.is_flow() { link.grant.borrow().covers(received, batch) } else { batch.jobs() }
    }

    fn received(&self, link: &Rc<Link>) -> Result<(), Error> {
        let mut inbox = link.inbox.borrow_mut();
        // Those are with the consumer, and counted.
        let handed = link.handed.take();
        inbox.skip(handed);
        let (received, received_cost) = (inbox.received(), inbox.received_cost());
        let (jobs, has_jobs) = (received - link.counted.replace(received), !inbox.is_empty());
        drop(inbox);
        // Of a large job that has only begun to arrive, memory is at stake already.
        let is_large_covered = || link.grant.borrow().covers_next((received, received_cost));
        let is_covered = !link.is_flow() || link.arriving.get().is_none() || is_large_covered();
        let mut state = self.state.borrow_mut();
        state.charge(link);
        if jobs > 0 {
            count(self.port(), &link.peer, jobs - handed);
            if link.is_flow() {
                link.grant.borrow_mut().recent += jobs as f64;
            }
        }
        // One that asks on while it is waited for the last of its replies would be waited for for ever.
        let is_too_late = state.is_closing && !link.is_flow();
        if is_too_late {
            while let Some(parcel) = link.inbox.borrow_mut().take(usize::MAX) {
                link.peer.ledger().close(parcel.jobs as u64);
            }
            state.charge(link);
        }
        if has_jobs && !is_too_late && !state.round.iter().any(|other| Rc::ptr_eq(other, link)) {
            state.round.push_back(Rc::clone(link));
        }
        if jobs > 0 {
            self.has_received.set(true);
        }
        if is_covered {
            Ok(())
        } else {
            Err(Error::new(code::PROTOCOL, "a PUSH that sends more than it was granted"))
        }
    }

    fn has_read(&self) {
        if self.has_received.take() {
            self.look(Cause::Received);
        }
    }

    fn obey(&self, _: &Rc<Link>, command: FlowCommand) -> Result<(), Error> {
        match command {
            // The decoder has noted it with the job that follows.
            FlowCommand::Job(_) => Ok(()),
            _ => Err(Error::new(code::PROTOCOL, "a PUSH that grants or settles")),
        }
    }

    fn answered(&self, link: &Rc<Link>) {
        if !link.is_answered() {
            return;
        }
        // What came before the answer is looked at before: it may have to go back.
        self.has_read();
        let was_returning = link.peer.ledger().end_return();
        if was_returning || self.state.borrow().is_closing {
            self.look(Cause::Asked);
        }
    }

    fn lends(&self) -> bool {
        self.replies() && self.state.borrow().links.len() < MOST_LENT
    }

    fn taker(&self, link: &Rc<Link>) -> Option<Taker> {
        let (state, port) = (self.state.borrow(), self.port());
        let consumers = port.consumers();
        // The order of jobs, and whose turn it is, are ours to see to once there is more than one of anything.
        let ([_], [consumer]) = (&state.links[..], &consumers[..]) else { return None };
        let is_plain =
            !state.has_jobs(|_| false) && port.returned().is_empty() && !link.peer.ledger().is_returning();
        let left = link.grant.borrow().left(link.inbox.borrow().received());
        let is_glutted = self.replies() && is_glutted(link);
        if state.is_closing || !is_plain || is_glutted || left == 0 || !consumer.handle().can_read() {
            return None;
        }
        let sink = Jobs {
            pipe: Arc::clone(&self.pipe),
            side: self.side,
            consumer: Arc::clone(consumer),
            peer: Arc::clone(&link.peer),
        };
        // With half of what was granted left, it is time to grant more.
        Some(Taker {
            handle: consumer.handle(),
            sink: Arc::new(sink),
            terms: Terms { budget: left.div_ceil(2), wants_credit: false },
        })
    }

    fn left(&self, link: &Rc<Link>) {
        link.peer.set_gone();
        self.port().peers.write(|peers| peers.retain(|peer| !Arc::ptr_eq(peer, &link.peer)));
        let mut state = self.state.borrow_mut();
        let dropped = state.end(link) as u64;
        self.port().received.fetch_sub(dropped, Relaxed);
        // It may have come back before we have noticed that it was gone.
        self.forget_what_came_before(&mut state);
        drop(state);
        if dropped > 0 {
            let text = format!("dropped {dropped} of its jobs: those of peers that left fill {WINDOW} bytes");
            let error = Error::new(code::DISCONNECTED, text);
            let event = Event::Refused { side: self.side, address: link.peer.address.clone(), error };
            self.pipe.tell(&event);
        }
        self.port().nudge.ring();
    }
}

impl PullEnd {
    /// A pusher that comes back has queued again what it did not hear of: what was not begun with is dropped here.
    #[inline(never)]
    fn forget_what_came_before(&self, state: &mut FairQueue) {
        let dropped = state.drop_requeued();
        // What is with a consumer comes back, and is sorted out when it is dealt again.
        for consumer in self.port().consumers().iter() {
            let back = consumer.call_back(&self.port().is_dealing, |source| !state.is_elsewhere(source));
            self.port().put_back(back);
        }
        self.port().received.fetch_sub(dropped as u64, Relaxed);
    }
}
