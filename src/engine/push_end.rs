//! The push end: drives a [`Sender`], which decides who gets which job. It takes jobs in from its port,
//! and tells the sender what its connections do; what the sender wants done it does.

use std::{
    cell::{Cell, RefCell, RefMut},
    collections::HashMap,
    rc::{Rc, Weak},
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Instant,
};

use fastrand::Rng;
use tokio::{
    sync::{oneshot, watch},
    task::spawn_local,
};

use super::{
    asker::Asker,
    chance::random,
    event::{Callback, Event, ROOM, Side, Tally},
    inbox::Parcel,
    link::{End, Link},
    peer::Peer,
    pipe::{Alarm, Pipe},
    push_port::{Idle, Incoming, PushPort, Way},
    shortcut::Shortcut,
    tap::{Sink, Taker, Terms},
};
use crate::{
    error::{Error, code},
    flow::{
        PeerId,
        outbox::Outbox,
        sender::{Effect, Options, Sender, Written, requests::are_replies_to},
    },
    wire::{command::FlowCommand, flow::Instance},
};

/// The part of a push end that lives on the I/O thread.
pub struct PushEnd {
    pipe: Arc<Pipe>,
    side: Side,
    instance: Instance,
    sender: RefCell<Sender>,
    /// The connections of the sender's peers, by [`PeerId::slot`].
    links: RefCell<Vec<Option<Rc<Link>>>>,
    /// The link that threads may write to by themselves.
    lent: RefCell<Option<Rc<Link>>>,
    /// Who waits for jobs to be delivered, by the numbers that the sender knows.
    drains: RefCell<HashMap<u64, Callback>>,
    last_drain: Cell<u64>,
    /// When the sender wants to be called.
    timeout: Cell<Option<Instant>>,
    stop: watch::Receiver<bool>,
}

impl PushEnd {
    /// A push end without connections, which takes in what the port is sent until `stop`.
    pub fn start(pipe: Arc<Pipe>, side: Side, stop: watch::Receiver<bool>) -> Rc<Self> {
        let instance = Instance(random());
        let options = Options {
            pattern: side.pattern(),
            instance,
            max_jobs: pipe.config.max_waiting_jobs,
            max_cost: pipe.config.max_waiting_bytes,
            max_message_size: pipe.config.max_message_size,
            max_attempts: pipe.config.max_attempts,
            ack_timeout: pipe.config.ack_timeout,
        };
        let end = Rc::new(Self {
            pipe,
            side,
            instance,
            sender: RefCell::new(Sender::new(options, Rng::with_seed(random()))),
            links: RefCell::default(),
            lent: RefCell::default(),
            drains: RefCell::default(),
            last_drain: Cell::new(0),
            timeout: Cell::new(None),
            stop,
        });
        spawn_local(Self::watch(Rc::downgrade(&end), Arc::clone(&end.pipe), side, end.stop.clone()));
        end
    }

    /// Looks whenever something was handed over, or the sender's timeout has come.
    async fn watch(end: Weak<Self>, pipe: Arc<Pipe>, side: Side, mut stop: watch::Receiver<bool>) {
        let port = &pipe.ports(side.pattern()).push;
        let _alarm = Alarm(Arc::clone(&pipe));
        let timeout = || end.upgrade().and_then(|end| end.timeout.get()).map(Into::into);
        while end.strong_count() > 0 {
            tokio::select! {
                _ = port.nudge.rung_before(timeout) => {}
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
        let number = self.last_drain.get() + 1;
        self.last_drain.set(number);
        self.drains.borrow_mut().insert(number, callback);
        let mut sender = self.sender.borrow_mut();
        sender.drain(before, number);
        self.act(&mut sender);
    }

    /// For each connection that may have delivered jobs yet to send: resolves when it has none, or is gone.
    pub fn sent(&self) -> Vec<oneshot::Receiver<()>> {
        let links = self.links.borrow();
        links.iter().flatten().filter(|link| link.peer.is_sending()).map(|link| link.sent()).collect()
    }

    /// Ends every connection and gives up what was not delivered: how many jobs that is.
    pub fn close(&self) -> u64 {
        self.up_to_date(now()).close();
        self.port().incoming().take();
        self.links.borrow().iter().flatten().for_each(|link| link.end());
        for (_, callback) in self.drains.take() {
            let text = "the pipe was closed before everything was delivered";
            callback.send(Err(Error::new(code::CLOSED, text)));
        }
        self.port().clear() as u64
    }

    fn port(&self) -> &PushPort {
        &self.pipe.ports(self.side.pattern()).push
    }

    fn is_closed(&self) -> bool {
        *self.stop.borrow()
    }

    fn link(&self, id: PeerId) -> Option<Rc<Link>> {
        self.links.borrow().get(id.slot())?.clone()
    }

    /// Accepts what was handed over, and calls the sender if it wants to be.
    fn take_in(&self) {
        let now = now();
        let mut sender = self.up_to_date(now);
        // What others have read, which is so only of a link that is the only one, may be the credit that is needed.
        if sender.peers() == 1 {
            self.links.borrow().iter().flatten().for_each(|link| link.rouse());
        }
        if self.timeout.get().is_some_and(|timeout| timeout <= now) {
            sender.handle_timeout(now);
        }
        self.dispatch(sender, now);
    }

    /// The sender, which knows all that threads have written by themselves, handed over or given up.
    fn up_to_date(&self, now: Instant) -> RefMut<'_, Sender> {
        let mut sender = self.sender.borrow_mut();
        // In this order: what is abandoned by now was handed over before.
        let abandoned = (self.side == Side::Request).then(|| self.pipe.requests.askers.take_abandoned());
        let incoming = self.port().incoming().as_mut().map(std::mem::take).unwrap_or_default();
        self.accept(&mut sender, incoming, now);
        if let Some(abandoned) = abandoned {
            sender.handle_abandoned(abandoned);
        }
        sender
    }

    /// Accepts what was handed over. The way to the link that had lent it is closed by that.
    fn accept(&self, sender: &mut Sender, incoming: Incoming, now: Instant) {
        let lent = self.lent.take();
        if let (Some(link), Some(mut way)) = (&lent, incoming.way) {
            link.lent.set(false);
            if way.shortcut.has_rest() {
                sender.outbox(link.sender_peer.get()).put_first(way.shortcut.take_back());
                link.wake();
            }
        }
        // The end of a link takes back what it has lent: so there is one if anything was written.
        if let Some(link) = lent {
            for batch in incoming.written {
                sender.handle_leased_write(link.sender_peer.get(), batch, now);
            }
        }
        incoming.batches.into_iter().for_each(|batch| sender.handle_jobs(batch));
    }

    /// Has the sender send what it can, and does what it wants.
    fn dispatch(&self, mut sender: RefMut<'_, Sender>, now: Instant) {
        sender.dispatch(now);
        self.act(&mut sender);
        let (timeout, before) = (sender.next_timeout(), self.timeout.get());
        self.timeout.set(timeout);
        if timeout.is_some_and(|timeout| before.is_none_or(|before| timeout < before)) {
            self.port().nudge.reset();
        }
        let idle = match (self.lend(&sender), sender.is_idle()) {
            (true, _) => Idle::Lent,
            (false, true) => Idle::Yes,
            (false, false) => Idle::No,
        };
        self.port().set_idle(idle);
    }

    /// Publishes what the sender has counted, and then does what it wants: who is told finds the counts right.
    fn act(&self, sender: &mut Sender) {
        while let Some((id, changes, credit, in_flight)) = sender.take_change() {
            if let Some(link) = self.link(id) {
                link.peer.add(changes);
                link.peer.set_flow(credit, in_flight);
            }
        }
        let (before, now) = sender.take_totals();
        let has_room = self.port().publish(before, now);
        while let Some(effect) = sender.poll_effect() {
            self.apply(effect);
        }
        if has_room && self.port().is_full.swap(false, SeqCst) {
            self.pipe.raise(ROOM);
        }
        if self.port().is_flushing.load(SeqCst) {
            self.port().unwritten.store(sender.unwritten_peers(), SeqCst);
        }
    }

    fn apply(&self, effect: Effect) {
        let askers = &self.pipe.ports(self.side.pattern()).askers;
        match effect {
            Effect::Write(id) => self.link(id).into_iter().for_each(|link| link.wake()),
            Effect::Drained(number) => {
                let callback = self.drains.borrow_mut().remove(&number);
                callback.into_iter().for_each(|callback| callback.send(Ok(Tally::default())));
            }
            Effect::Dead { job, id, attempt, reason } => {
                self.pipe.tell(&Event::Dead { job, id, attempt, reason });
            }
            Effect::Withheld => self.pipe.tell(&Event::Withheld),
            Effect::Refused(id, error) => self.tell_refused(id, error),
            Effect::Ignored(id, messages, error) => self.tell_ignored(id, messages, error),
            Effect::Replies(asker, replies) => askers.deliver(asker, replies),
            Effect::Failed(failure) => askers.fail(failure),
        }
    }

    fn tell_refused(&self, id: PeerId, error: Error) {
        let Some(link) = self.link(id) else { return };
        self.pipe.tell(&Event::Refused { side: self.side, address: link.peer.address.clone(), error });
    }

    /// Users are told of messages that were ignored, but not of each.
    fn tell_ignored(&self, id: PeerId, messages: usize, Error { code, text }: Error) {
        let Some(link) = self.link(id) else { return };
        let Some(count) = link.strays.borrow_mut().count(messages, now().into()) else { return };
        let text = if count == 1 { text } else { format!("{text}, {count} of them") };
        self.tell_refused(id, Error { code, text });
    }

    /// Lends the way to the only peer, if it is idle and nothing was handed over meanwhile.
    fn lend(&self, sender: &Sender) -> bool {
        let mut incoming = self.port().incoming();
        let Some(incoming) = incoming.as_mut().filter(|incoming| incoming.batches.is_empty()) else {
            return false;
        };
        incoming.way = self.way(sender);
        incoming.way.is_some()
    }

    fn way(&self, sender: &Sender) -> Option<Way> {
        let lease = sender.lease()?;
        let link = self.link(lease.peer)?;
        let writer = link.writer.borrow().clone()?;
        let mut shortcut = Shortcut::default();
        shortcut.lend(writer);
        link.lent.set(true);
        let peer = Arc::clone(&link.peer);
        self.lent.replace(Some(link));
        Some(Way { shortcut, peer, jobs: lease.jobs, cost: lease.cost })
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
        let now = now();
        self.port().peers.write(|peers| peers.push(Arc::clone(&link.peer)));
        let mut sender = self.up_to_date(now);
        let mut links = self.links.borrow_mut();
        links.iter().flatten().for_each(|other| other.rouse());
        let id = sender.handle_join(link.is_flow(), now);
        link.sender_peer.set(id);
        let slots = links.len().max(id.slot() + 1);
        links.resize_with(slots, || None);
        links[id.slot()] = Some(Rc::clone(link));
        drop(links);
        if self.is_closed() {
            link.end();
        }
        self.dispatch(sender, now);
    }

    fn outbox<'a>(&'a self, link: &'a Link) -> RefMut<'a, Outbox> {
        RefMut::map(self.sender.borrow_mut(), |sender| sender.outbox(link.sender_peer.get()))
    }

    fn wrote(&self, link: &Rc<Link>, bytes: usize) -> Written {
        let now = now();
        let mut sender = self.up_to_date(now);
        let written = sender.handle_written(link.sender_peer.get(), bytes);
        self.dispatch(sender, now);
        written
    }

    fn blocked(&self, link: &Rc<Link>) {
        let now = now();
        let mut sender = self.up_to_date(now);
        sender.handle_blocked(link.sender_peer.get());
        self.dispatch(sender, now);
    }

    fn take_back(&self, _: &Rc<Link>) {
        drop(self.up_to_date(now()));
    }

    fn may_read(&self, _: &Link) -> bool {
        true
    }

    fn received(&self, link: &Rc<Link>) -> Result<(), Error> {
        if self.side == Side::Push {
            return Err(Error::new(code::PROTOCOL, "a PULL that sends messages"));
        }
        let now = now();
        let mut sender = self.up_to_date(now);
        let mut inbox = link.inbox.borrow_mut();
        let (mut taken, mut handed) = (Ok(()), link.handed.take() as usize);
        while let (Ok(()), Some(replies)) = (&taken, inbox.take(usize::MAX)) {
            taken = sender.handle_replies(link.sender_peer.get(), &replies.batch, handed.min(replies.jobs));
            handed = handed.saturating_sub(replies.jobs);
        }
        drop(inbox);
        self.dispatch(sender, now);
        taken
    }

    fn left_out(&self, link: &Rc<Link>, first_frame: &[u8]) {
        if let Ok(tag) = first_frame.try_into() {
            let now = now();
            let mut sender = self.up_to_date(now);
            sender.handle_oversized_reply(link.sender_peer.get(), tag);
            self.dispatch(sender, now);
        }
    }

    fn has_read(&self) {}

    fn obey(&self, link: &Rc<Link>, command: FlowCommand) -> Result<(), Error> {
        let now = now();
        let mut sender = self.up_to_date(now);
        let obeyed = sender.handle_command(link.sender_peer.get(), command, now);
        self.dispatch(sender, now);
        obeyed
    }

    fn answered(&self, _: &Rc<Link>) {}

    fn lends(&self) -> bool {
        self.sender.borrow().peers() == 0
    }

    fn taker(&self, link: &Rc<Link>) -> Option<Taker> {
        let sender = self.sender.borrow();
        let is_timed = self.config().ack_timeout.is_some();
        if self.side != Side::Request || sender.peers() != 1 || is_timed || self.is_closed() {
            return None;
        }
        let asker = self.pipe.requests.askers.only().filter(|asker| asker.handle().can_read())?;
        let handle = asker.handle();
        let sink = Replies { pipe: Arc::clone(&self.pipe), asker, peer: Arc::clone(&link.peer) };
        let terms = Terms { budget: u64::MAX, wants_credit: sender.sendable() > 0 };
        Some(Taker { handle, sink: Arc::new(sink), terms })
    }

    fn left(&self, link: &Rc<Link>) {
        let (now, id) = (now(), link.sender_peer.get());
        self.port().peers.write(|peers| peers.retain(|peer| !Arc::ptr_eq(peer, &link.peer)));
        let mut sender = self.up_to_date(now);
        sender.handle_leave(id, now);
        self.dispatch(sender, now);
        // Only now, as effects may name it.
        self.links.borrow_mut()[id.slot()] = None;
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
        // Before whoever waits is told. What nobody waits for is taken off again by the sender.
        self.peer.count_done(jobs as u64);
        self.pipe.requests.push.done.fetch_add(jobs as u64, Relaxed);
        self.asker.put(batch);
        true
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
