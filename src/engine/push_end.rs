//! The push end: takes jobs in from its port, keeps them in order, and deals them round robin to the peers that
//! can take one now (RFC 30; libzmq's `lb`).
//!
//! A job leaves for good when a plain peer's connection has taken all of it, or when a zeropipe peer has acknowledged
//! it (docs/flow.md). What sits unwritten or unacknowledged with a peer that goes away comes back to the front.

use std::{
    cell::{RefCell, RefMut},
    rc::{Rc, Weak},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use tokio::{
    sync::{oneshot, watch},
    task::spawn_local,
    time::Instant,
};

use super::{
    asker::Asker,
    books::{Books, Drain},
    chance::random,
    event::{Callback, Pattern, Side, Tally},
    flight::{Flight, Settled},
    inbox::Parcel,
    link::{End, Link},
    outbox::Sent,
    peer::Peer,
    pipe::{Alarm, Pipe},
    push_port::{Idle, PushPort},
    requests::{ANYBODY, are_replies_to},
    tap::{Sink, Taker, Terms},
};
use crate::{
    error::{Error, code},
    wire::{
        command::FlowCommand,
        flow::{Instance, Range},
    },
};

/// The part of a push end that lives on the I/O thread.
pub struct PushEnd {
    pipe: Arc<Pipe>,
    side: Side,
    instance: Instance,
    books: RefCell<Books>,
    stop: watch::Receiver<bool>,
}

impl PushEnd {
    /// A push end without connections, which takes in what the port is sent until `stop`.
    pub fn start(pipe: Arc<Pipe>, side: Side, stop: watch::Receiver<bool>) -> Rc<Self> {
        let instance = Instance(random());
        let books = RefCell::new(Books::new(Arc::clone(&pipe), side.pattern(), instance));
        let end = Rc::new(Self { pipe, side, instance, books, stop });
        spawn_local(Self::watch(Rc::downgrade(&end), Arc::clone(&end.pipe), side, end.stop.clone()));
        end
    }

    /// Looks whenever something was handed over, or the time has come for something.
    async fn watch(end: Weak<Self>, pipe: Arc<Pipe>, side: Side, mut stop: watch::Receiver<bool>) {
        let port = &pipe.ports(side.pattern()).push;
        let _alarm = Alarm(Arc::clone(&pipe));
        let alarm = || end.upgrade().and_then(|end| end.books.borrow().alarm);
        while end.strong_count() > 0 {
            tokio::select! {
                _ = port.nudge.rung_before(alarm) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            if let Some(end) = end.upgrade() {
                end.take_in();
            }
        }
    }

    /// Answers when all of the first `before` jobs, or as many as there are, are delivered.
    pub fn drain(&self, before: u64, callback: Callback) {
        self.take_in();
        let mut books = self.books.borrow_mut();
        let before = before.min(books.next_order);
        let left =
            if before == books.next_order { books.undelivered } else { books.undelivered_before(before) };
        if left == 0 {
            callback.send(Ok(Tally::default()));
        } else {
            books.drains.push(Drain { before, left, callback });
        }
    }

    /// For each connection that may have delivered jobs yet to send: resolves when it has none, or is gone.
    pub fn sent(&self) -> Vec<oneshot::Receiver<()>> {
        let books = self.books.borrow();
        books.links.iter().filter(|link| link.peer.is_sending()).map(|link| link.sent()).collect()
    }

    /// Ends every connection and gives up what was not delivered: how many jobs that is.
    pub fn close(&self) -> u64 {
        drop(self.open_books());
        self.port().incoming().take();
        let empty = Books::new(Arc::clone(&self.pipe), self.side.pattern(), self.instance);
        let books = self.books.replace(empty);
        books.links.iter().for_each(|link| {
            // What is not written by now was given up, but a job that is cut should still end.
            link.outbox.borrow_mut().take_back();
            link.end();
        });
        for drain in books.drains {
            drain
                .callback
                .send(Err(Error::new(code::CLOSED, "the pipe was closed before everything was delivered")));
        }
        self.port().clear() as u64
    }

    fn port(&self) -> &PushPort {
        &self.pipe.ports(self.side.pattern()).push
    }

    fn is_closed(&self) -> bool {
        *self.stop.borrow()
    }

    /// Gives what was handed over its place, and deals.
    fn take_in(&self) {
        let mut books = self.open_books();
        // What others have read, which is so only of a link that is the only one, may be the credit that is needed.
        if let [link] = &books.links[..] {
            link.rouse();
        }
        if books.alarm.is_some_and(|alarm| alarm <= Instant::now()) {
            books.look_at_the_clock(Instant::now());
        }
        self.deal(books);
    }

    /// The books, with all in them that threads have written by themselves, handed over, or given up.
    fn open_books(&self) -> RefMut<'_, Books> {
        let mut books = self.books.borrow_mut();
        // In this order: what is abandoned by now was handed over before.
        let abandoned = (self.side == Side::Request).then(|| self.pipe.requests.askers.take_abandoned());
        let incoming = self.port().incoming().as_mut().map(std::mem::take).unwrap_or_default();
        books.take_in(incoming);
        if let Some(abandoned) = abandoned {
            books.drop_abandoned(abandoned);
        }
        books
    }

    /// Deals jobs to peers until there are no more of the one or the other.
    fn deal(&self, mut books: RefMut<'_, Books>) {
        let touched = books.deal();
        let is_idle = books.queue.jobs() == 0
            && !books.is_full()
            && books.round.front().is_some_and(|link| link.outbox.borrow().unwritten() == 0);
        if books.set_alarm() {
            self.port().nudge.reset();
        }
        books.tell_port();
        let is_lent = self.lend(&mut books);
        drop(books);
        touched.iter().for_each(|link| link.wake());
        self.port().set_idle(if is_lent {
            Idle::Lent
        } else if is_idle {
            Idle::Yes
        } else {
            Idle::No
        });
    }

    /// Lends the way to the peer, if there is one to lend.
    fn lend(&self, books: &mut Books) -> bool {
        let mut incoming = self.port().incoming();
        let Some(incoming) = incoming.as_mut().filter(|incoming| incoming.batches.is_empty()) else {
            return false;
        };
        incoming.way = books.way();
        incoming.way.is_some()
    }
}

impl End for PushEnd {
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
        if self.is_closed() {
            link.end();
        }
        self.port().peers.write(|peers| peers.push(Arc::clone(&link.peer)));
        let mut books = self.open_books();
        books.links.iter().for_each(|other| other.rouse());
        books.links.push(Rc::clone(link));
        books.count_plain();
        books.list(link);
        self.deal(books);
    }

    fn wrote(&self, link: &Rc<Link>, sent: &[Sent]) {
        let mut books = self.open_books();
        if !sent.is_empty() && !self.is_closed() {
            link.peer.count(sent.len());
            books.count_done(link, sent.len());
            books.leave_line(sent.len(), sent.iter().map(|sent| sent.cost).sum());
            books.forget(sent.len(), |before| sent.iter().filter(|sent| sent.ticket.order < before).count());
        }
        books.list(link);
        self.deal(books);
    }

    fn blocked(&self, _: &Rc<Link>) {
        self.deal(self.open_books());
    }

    fn take_back(&self, _: &Rc<Link>) {
        drop(self.open_books());
    }

    fn may_read(&self, _: &Link) -> bool {
        true
    }

    fn received(&self, link: &Rc<Link>) -> Result<(), Error> {
        if self.side.pattern() == Pattern::Pipeline {
            return Err(Error::new(code::PROTOCOL, "a PULL that sends messages"));
        }
        if self.is_closed() {
            return Ok(());
        }
        let mut books = self.open_books();
        let mut inbox = link.inbox.borrow_mut();
        let (mut answered, mut handed) = (Ok(()), link.handed.take() as usize);
        while let (Ok(()), Some(replies)) = (&answered, inbox.take(usize::MAX)) {
            answered = books.answer(link, &replies.batch, handed.min(replies.jobs));
            handed = handed.saturating_sub(replies.jobs);
        }
        drop(inbox);
        self.deal(books);
        answered
    }

    fn left_out(&self, link: &Rc<Link>, first_frame: &[u8]) {
        if let Ok(tag) = first_frame.try_into()
            && !self.is_closed()
        {
            let mut books = self.open_books();
            books.too_large(link, tag);
            self.deal(books);
        }
    }

    fn has_read(&self) {}

    fn obey(&self, link: &Rc<Link>, command: FlowCommand) -> Result<(), Error> {
        if self.is_closed() {
            return Ok(());
        }
        let mut books = self.open_books();
        let mut flight = link.flight.borrow_mut();
        if books.plain > 0 && !matches!(command, FlowCommand::Credit { .. } | FlowCommand::Return(_)) {
            books.plain_turns.settled();
        }
        // What a peer that is done with jobs has shown of others is needed where those can lapse.
        let timed = self.config().ack_timeout.map(|_| Instant::now());
        let note_progress = |flight: &mut Flight, range: Range| {
            timed.into_iter().for_each(|now| flight.note_progress(range.first, now));
        };
        // Nothing of what breaks a rule counts.
        match &command {
            FlowCommand::Ack(ranges) | FlowCommand::Return(ranges) => flight.check(ranges),
            FlowCommand::Nack { number, .. } => flight.check(&[Range::one(*number)]),
            FlowCommand::Reject { number, .. } if self.side == Side::Request => {
                flight.check(&[Range::one(*number)])
            }
            FlowCommand::Reject { .. } => Err(Error::new(code::PROTOCOL, "a PULL that answers")),
            FlowCommand::Credit { .. } => Ok(()),
            FlowCommand::Job(_) => Err(Error::new(code::PROTOCOL, "a PULL that sends JOB")),
        }?;
        match command {
            FlowCommand::Credit { jobs, cost } => flight.grant(jobs, cost),
            FlowCommand::Ack(ranges) => ranges.into_iter().for_each(|range| {
                flight.settle(range, |settled| books.done(link, settled));
                note_progress(&mut flight, range);
            }),
            FlowCommand::Return(ranges) => {
                ranges.into_iter().for_each(|range| {
                    flight.settle(range, |settled| {
                        books.let_answer(link.id, settled.lot());
                        books.unstarted(settled);
                    });
                });
            }
            FlowCommand::Nack { number, reason } => {
                flight.settle(Range::one(number), |settled| {
                    books.let_answer(link.id, settled.lot());
                    if let Settled::Own(lot) = settled {
                        books.failed(lot, &reason, true);
                    }
                });
                note_progress(&mut flight, Range::one(number));
            }
            FlowCommand::Reject { number, code, text } => {
                flight.settle(Range::one(number), |settled| books.rejected(link, settled, &code, &text));
                note_progress(&mut flight, Range::one(number));
            }
            FlowCommand::Job(_) => {}
        }
        link.peer.set_flow(flight.credit(), flight.jobs());
        link.has_lone_job.set(link.has_lone_job.get() && flight.jobs() > 0);
        drop(flight);
        books.list(link);
        self.deal(books);
        Ok(())
    }

    fn answered(&self, _: &Rc<Link>) {}

    fn lends(&self) -> bool {
        self.books.borrow().links.is_empty()
    }

    fn taker(&self, link: &Rc<Link>) -> Option<Taker> {
        let books = self.books.borrow();
        let is_only = matches!(&books.links[..], [only] if Rc::ptr_eq(only, link));
        let is_timed = self.config().ack_timeout.is_some();
        if self.side != Side::Request || !is_only || is_timed || self.is_closed() {
            return None;
        }
        let asker = self.pipe.requests.askers.only().filter(|asker| asker.handle().can_read())?;
        let handle = asker.handle();
        let sink = Replies { pipe: Arc::clone(&self.pipe), asker, peer: Arc::clone(&link.peer) };
        let terms = Terms { budget: u64::MAX, wants_credit: books.waiting() > 0 };
        Some(Taker { handle, sink: Arc::new(sink), terms })
    }

    fn left(&self, link: &Rc<Link>) {
        self.port().peers.write(|peers| peers.retain(|peer| !Arc::ptr_eq(peer, &link.peer)));
        let mut books = self.open_books();
        books.links.retain(|other| !Rc::ptr_eq(other, link));
        books.plain_turns.leave(link.id);
        books.count_plain();
        books.round.retain(|other| !Rc::ptr_eq(other, link));
        if !self.is_closed() {
            if !link.is_flow() {
                let (cut, untouched) = link.outbox.borrow_mut().take_all();
                cut.into_iter().for_each(|lot| books.cut(link, lot));
                untouched.into_iter().for_each(|lot| books.untaken(lot));
            }
            let unsettled = link.flight.borrow_mut().take_all();
            for lot in unsettled {
                // It may come back with a reply, on another link.
                books.let_answer(ANYBODY, &lot);
                books.failed(lot, "the worker left with it", false);
            }
        }
        books.list_all();
        self.deal(books);
    }
}

/// Hands replies that an asker's own thread has read to the asker.
struct Replies {
    pipe: Arc<Pipe>,
    asker: Arc<Asker>,
    peer: Arc<Peer>,
}

impl Sink for Replies {
    fn take(&self, Parcel { batch, jobs, .. }: Parcel) -> bool {
        if !are_replies_to(&batch, self.asker.number) {
            return false;
        }
        // Before whoever waits is told. What nobody waits for is taken off again when the books are kept.
        self.peer.count_done(jobs as u64);
        self.pipe.requests.push.done.fetch_add(jobs as u64, Relaxed);
        self.asker.put(batch);
        true
    }
}
