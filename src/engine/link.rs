//! One connection: handshake, then writing what is in its outbox, reading into its inbox, and heartbeats.
//!
//! A link knows nothing of queues or of who gets which job: that is its [`End`]'s affair, which it calls whenever
//! something has moved.

use std::{
    cell::{Cell, RefCell, RefMut},
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::BufMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::oneshot,
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};

use super::{
    arrival::Progress,
    event::{Event, Side},
    grant::Grant,
    heartbeat::{Beat, Heartbeat},
    inbox::Inbox,
    peer::Peer,
    pipe::Pipe,
    stream::{BoxStream, Sending, Writer},
    tap::{Read, Taker, Tap},
    throttle::Throttle,
    trickle::{LATELY, Trickle},
};
use crate::{
    batch::{Batch, Place},
    config::Config,
    error::{Error, code},
    flow::{PeerId, outbox::Outbox, sender::Written},
    wire::{
        command::{self, Command, FlowCommand},
        decoder::Decoder,
        flow::Instance,
        handshake::{self, Handshake, Hello, SocketType},
    },
};

/// A peer that has not shaken hands by then is refused.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// A peer that has sent nothing by then may be waiting for what is withheld from it.
const HANDSHAKE_WAIT: Duration = Duration::from_millis(100);

/// How long a connection that was ended in order is still read, so that what was written last arrives: closed with
/// bytes unread, TCP would throw away what it has not sent yet.
const GOODBYE: Duration = Duration::from_secs(2);

/// A connection that lasted so long was of use, even if no job has moved.
const USEFUL: Duration = Duration::from_secs(5);

/// No peer is believed to be farther away: jobs on their way are held by nobody.
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(1);

/// What is read at once; where large frames come, only enough for the header of the next and what comes with it: the rest of it is read
/// straight into its place.
const READ_BUFFER: usize = 128 * 1024;
const READ_HEADER: usize = 4 * 1024;

/// So much is read before it is dealt: then consumers are woken for several large jobs at a time.
const READ_AT_ONCE: usize = 256 * 1024;

/// The most slices of a write.
const MAX_SLICES: usize = 64;

/// The context of a PING that is only a sign of life: how long its PONG takes says nothing.
const ALIVE: &[u8] = b"alive";

/// The most PONGs that wait to be written; PINGs beyond go unanswered, or a peer could fill our memory with them.
const MAX_PONGS: usize = 16;

thread_local! {
    /// One for all links: what was read is turned into batches before anything else happens.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BUFFER]);
    static NEXT_ID: Cell<u64> = const { Cell::new(0) };
}

/// Whom a link belongs to. All calls are made on the I/O thread, from within the link's task.
pub trait End {
    /// Which end it is.
    fn side(&self) -> Side;
    /// The pipe it is an end of.
    fn pipe(&self) -> &Pipe;
    /// The pipe's options.
    fn config(&self) -> &Config {
        &self.pipe().config
    }
    /// Who it is.
    fn instance(&self) -> Instance;
    /// So many bytes were read or written.
    fn passed(&self, bytes: usize) {
        self.pipe().traffic.note(bytes);
    }
    /// Tells the outside.
    fn tell(&self, event: Event) {
        self.pipe().tell(&event);
    }
    /// A peer has shaken hands.
    fn joined(&self, link: &Rc<Link>);
    /// What is to be written on a link that has joined.
    fn outbox<'a>(&'a self, link: &'a Link) -> RefMut<'a, Outbox>;
    /// So many bytes of that were written, and there may be room for more.
    fn wrote(&self, link: &Rc<Link>, bytes: usize) -> Written;
    /// The connection takes no more for now.
    fn blocked(&self, link: &Rc<Link>);
    /// The link is about to write, so nobody else may ([`Link::lent`]).
    fn take_back(&self, link: &Rc<Link>);
    /// Whether there is memory for what the link would read. If not, it is woken when there is.
    fn may_read(&self, link: &Link) -> bool;
    /// Whether links are not read for want of memory.
    fn is_short_of_memory(&self) -> bool {
        false
    }
    /// How many jobs of a batch, the first ones, the peer may have sent when so many that count so much have come before them.
    fn admits(&self, _link: &Link, _received: (u64, u64), batch: &Batch) -> usize {
        batch.jobs()
    }
    /// A message over the limit has come, which began with that frame and was left out.
    fn left_out(&self, _link: &Rc<Link>, _first_frame: &[u8]) {}
    /// There are jobs in the inbox, or some of a large one has arrived.
    fn received(&self, link: &Rc<Link>) -> Result<(), Error>;
    /// That was all for now: it is time to deal what was received.
    fn has_read(&self);
    /// The peer, with whom we share flow, has given a command.
    fn obey(&self, link: &Rc<Link>, command: FlowCommand) -> Result<(), Error>;
    /// The peer has answered [`Link::ask`].
    fn answered(&self, link: &Rc<Link>);
    /// Whether others may be left to write on one more link, while there is nothing to be written.
    fn lends(&self) -> bool;
    /// Who alone waits for what comes on the link, and could read it by itself.
    fn taker(&self, link: &Rc<Link>) -> Option<Taker>;
    /// The connection has ended; the outbox holds what was not written.
    fn left(&self, link: &Rc<Link>);
}

/// The part of a connection that its end works with.
#[derive(Debug)]
pub struct Link {
    /// Tells it apart from every other of this process, gone or to come.
    pub id: u64,
    /// Who is at the other side.
    pub peer: Arc<Peer>,
    /// Which peer it is to the sender of a push end.
    pub sender_peer: Cell<PeerId>,
    /// What is to be written for a pull end.
    pub outbox: RefCell<Outbox>,
    /// What was read. While it holds anything, nothing more is read from a plain peer.
    pub inbox: RefCell<Inbox>,
    /// What a pusher may send.
    pub grant: RefCell<Grant>,
    /// How many jobs the end has counted as received; the end's own note.
    pub counted: Cell<u64>,
    /// Set while the connection takes no more bytes.
    pub is_blocked: Cell<bool>,
    /// How long a question and its answer take, once that was measured.
    pub round_trip: Cell<Duration>,
    /// The last question that was asked by [`Link::ask`], and the last that was answered.
    asked: Cell<u64>,
    answered: Cell<u64>,
    /// What other threads may be lent to write with while there is nothing to be written.
    pub writer: RefCell<Option<Writer>>,
    /// Whether it is lent: then the end is told before the link writes.
    pub lent: Cell<bool>,
    /// Where somebody else reads, if anybody does.
    pub tap: RefCell<Option<Arc<Tap>>>,
    /// How many of the jobs that were read last, the first ones, somebody has who read them by himself.
    pub handed: Cell<u64>,
    /// How much is here of a large job that is arriving, if one is.
    pub arriving: Cell<Option<usize>>,
    /// Bytes for which the link counts in its end's memory; the end's own note.
    pub charged: Cell<usize>,
    /// Messages of the peer that are ignored.
    pub strays: RefCell<Throttle>,
    ending: Cell<bool>,
    /// Those who wait for the system to have sent everything: this is dropped when it has.
    awaiting_sent: RefCell<Vec<oneshot::Sender<()>>>,
    waker: RefCell<Option<Waker>>,
    /// Set while its task runs, which then needs no waking.
    running: Cell<bool>,
}

impl Link {
    fn new(peer: Peer, writer: Option<Writer>) -> Self {
        Self {
            id: NEXT_ID.replace(NEXT_ID.get() + 1),
            writer: RefCell::new(writer),
            lent: Cell::new(false),
            tap: RefCell::default(),
            handed: Cell::new(0),
            peer: Arc::new(peer),
            sender_peer: Cell::new(PeerId::NONE),
            outbox: RefCell::default(),
            inbox: RefCell::default(),
            grant: RefCell::default(),
            counted: Cell::new(0),
            is_blocked: Cell::new(false),
            round_trip: Cell::new(Duration::ZERO),
            asked: Cell::new(0),
            answered: Cell::new(0),
            arriving: Cell::new(None),
            charged: Cell::new(0),
            strays: RefCell::default(),
            ending: Cell::new(false),
            awaiting_sent: RefCell::default(),
            waker: RefCell::default(),
            running: Cell::new(false),
        }
    }

    /// Has its task look at the outbox and the inbox again.
    pub fn wake(&self) {
        if !self.running.get()
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Has its task look what others have read, and whether they still may.
    pub fn rouse(&self) {
        if self.tap.borrow().is_some() {
            self.wake();
        }
    }

    /// Whether others have read what its task has not looked at.
    pub fn is_behind(&self) -> bool {
        self.tap.borrow().as_ref().is_some_and(|tap| tap.is_ahead())
    }

    /// Ends the connection once the outbox is written.
    pub fn end(&self) {
        self.ending.set(true);
        self.wake();
    }

    /// Resolves, perhaps with an error, once the system has sent what was written before, or the connection has ended.
    pub fn sent(&self) -> oneshot::Receiver<()> {
        let (waits, sent) = oneshot::channel();
        self.awaiting_sent.borrow_mut().push(waits);
        self.wake();
        sent
    }

    /// Asks a question, by a PING of its own: what comes before the answer was sent before the peer had heard what it was
    /// told before.
    pub fn ask(&self) {
        self.asked.set(self.asked.get() + 1);
        self.outbox.borrow_mut().put_command(command::ping(0, &self.asked.get().to_be_bytes()));
    }

    /// Whether no question is open.
    pub fn is_answered(&self) -> bool {
        self.answered.get() == self.asked.get()
    }

    /// A question and its answer took so long. What counts is the way, not how much was in it: the shortest of late.
    fn measured(&self, took: Duration) {
        let (took, before) = (took.min(LONGEST_ROUND_TRIP), self.round_trip.get());
        let drawn = if before.is_zero() || took < before { took } else { before + (took - before) / 8 };
        self.round_trip.set(drawn);
    }

    /// Whether jobs are acknowledged on it.
    pub fn is_flow(&self) -> bool {
        self.peer.instance.is_some()
    }

    /// Whether it can be given a job.
    pub fn is_ending(&self) -> bool {
        self.ending.get()
    }
}

/// How a connection went.
#[derive(Debug)]
pub enum Outcome {
    /// It was of some use: jobs moved, or it lasted.
    Useful,
    /// It was not, or the peer broke a rule.
    Useless,
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// We dialled.
    Dialled,
    /// The peer did.
    Accepted,
}

/// Shakes hands; returns what was read beyond the handshake.
async fn shake_hands(
    stream: &mut BoxStream,
    end: &dyn End,
    origin: Origin,
) -> Result<(handshake::Peer, Vec<u8>), Error> {
    let socket_type = match end.side() {
        Side::Push => SocketType::Push,
        Side::Pull => SocketType::Pull,
        Side::Request => SocketType::Dealer,
        Side::Reply => SocketType::Router,
    };
    let hello = Hello {
        socket_type,
        identity: end.config().identity.clone(),
        instance: end.config().flow.then(|| end.instance()),
    };
    let mut handshake = match origin {
        Origin::Dialled => Handshake::new(hello),
        Origin::Accepted => Handshake::of_the_dialled(hello),
    };
    let lost = |error: io::Error| Error::system(&error, &"during the handshake");
    let mut buffer = vec![0; 4096];
    loop {
        stream.write_all(&handshake.output()).await.map_err(lost)?;
        let read = stream.read(&mut buffer);
        let read = if handshake.may_proceed() { timeout(HANDSHAKE_WAIT, read).await } else { Ok(read.await) };
        let Ok(length) = read else {
            handshake.proceed();
            continue;
        };
        let length = length.map_err(lost)?;
        if length == 0 {
            return Err(Error::new(code::DISCONNECTED, "the peer left during the handshake"));
        }
        let mut bytes = &buffer[..length];
        match handshake.feed(&mut bytes) {
            Ok(None) => {}
            Ok(Some(peer)) => {
                stream.write_all(&handshake.output()).await.map_err(lost)?;
                return Ok((peer, bytes.to_vec()));
            }
            Err(error) => {
                // It may not want to hear it, and we don't insist.
                let _ = stream.write_all(&handshake.output()).await;
                let _ = stream.shutdown().await;
                return Err(error);
            }
        }
    }
}

/// A connection that has shaken hands; what only its own task sees of it.
pub struct Connection {
    stream: BoxStream,
    link: Rc<Link>,
    end: Rc<dyn End>,
    decoder: Decoder,
    heartbeat: Heartbeat,
    /// Of the large job that is arriving.
    progress: Progress,
    /// The end has no memory for what it would read.
    is_held_back: bool,
    /// Of the heartbeat and the progress.
    timer: Pin<Box<Sleep>>,
    /// Jobs or replies were written that the peer may not have read yet: then it may be full, and its silence is no death. Only the
    /// PONG to a PING behind the last of them shows that it has; other bytes it may send without reading.
    unread: bool,
    /// Jobs were written since the last PING left.
    unasked: bool,
    /// When a PING was made that is not answered.
    pinged: Option<Instant>,
    /// While somebody waits for the system to have sent everything.
    sending: Option<Sending>,
    /// How much has come lately.
    trickle: Trickle,
    /// When to see whether whoever reads has read anything, and whether he has.
    tap_timer: Pin<Box<Sleep>>,
    has_read: bool,
    /// What was read with the end of the handshake.
    first: Vec<u8>,
    /// Runs once the connection is to end: a peer that takes nothing any more must not keep it.
    farewell: Option<Pin<Box<Sleep>>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Only after a panic is it still there.
        self.link.tap.take().map(|tap| tap.take_back());
    }
}

/// Takes a link out of its end however its task ends, by a panic too.
struct Membership<'a>(&'a Rc<dyn End>, &'a Rc<Link>);

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        self.1.ending.set(true);
        self.0.take_back(self.1);
        self.1.writer.take();
        self.1.awaiting_sent.take();
        self.0.left(self.1);
    }
}

/// Why a connection ended.
enum Why {
    /// We wanted it to.
    Ended,
    /// The peer, or the network, did.
    Lost(Error),
    /// The peer broke a rule.
    Violation(Error),
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self::Lost(Error::system(&error, &"the connection was lost"))
    }
}

impl Connection {
    /// Shakes hands on a fresh connection. If that fails, it has been told.
    pub async fn open(
        mut stream: BoxStream,
        end: &Rc<dyn End>,
        address: String,
        origin: Origin,
    ) -> Option<Self> {
        let shaken = timeout(HANDSHAKE_DEADLINE, shake_hands(&mut stream, &**end, origin)).await;
        let silent =
            Err(Error::new(code::TIMEOUT, format!("no handshake within {} s", HANDSHAKE_DEADLINE.as_secs())));
        match shaken.unwrap_or(silent) {
            Ok((peer, first)) => Some(Self::new(stream, Rc::clone(end), address, &peer, first)),
            Err(error) => {
                end.tell(Event::Refused { side: end.side(), address, error });
                None
            }
        }
    }

    fn new(
        stream: BoxStream,
        end: Rc<dyn End>,
        address: String,
        peer: &handshake::Peer,
        first: Vec<u8>,
    ) -> Self {
        let config = end.config();
        let interval =
            (peer.heartbeats && !config.heartbeat_interval.is_zero()).then_some(config.heartbeat_interval);
        let heartbeat = Heartbeat::new(interval, config.heartbeat_timeout, Instant::now());
        let writer = if end.lends() { stream.writer() } else { None };
        Self {
            link: Rc::new(Link::new(Peer::new(address, &peer.identity, peer.instance), writer)),
            trickle: Trickle::default(),
            tap_timer: Box::pin(sleep(Duration::ZERO)),
            has_read: false,
            stream,
            decoder: if end.side() == Side::Request {
                Decoder::leaving_out(config.max_message_size, peer.instance.is_some())
            } else {
                Decoder::new(config.max_message_size, peer.instance.is_some())
            },
            timer: Box::pin(sleep_until(heartbeat.due())),
            heartbeat,
            progress: Progress::new(config.heartbeat_timeout),
            is_held_back: false,
            end,
            unread: false,
            unasked: false,
            pinged: None,
            sending: None,
            first,
            farewell: None,
        }
    }

    /// Runs the connection until it ends. It never fails: what goes wrong is told as events.
    pub async fn run(mut self) -> Outcome {
        let (end, link) = (Rc::clone(&self.end), Rc::clone(&self.link));
        let (side, address, identity) = (end.side(), link.peer.address.clone(), link.peer.identity.clone());
        let began = Instant::now();
        end.joined(&link);
        let membership = Membership(&end, &link);
        let flow = link.is_flow();
        end.tell(Event::Join { side, address: address.clone(), identity: identity.clone(), flow });
        if flow && !side.is_out() {
            // How much to grant depends on how far away the peer is.
            self.ping();
        }
        let first = std::mem::take(&mut self.first);
        let taken = self.take_in(first.len(), |decoder| decoder.feed(&first));
        end.has_read();
        let why = match taken {
            Ok(()) => poll_fn(|cx| self.poll(cx)).await,
            Err(why) => why,
        };
        // What came before whatever is wrong.
        end.has_read();
        drop(membership);
        let was_useful = link.peer.jobs() > 0 || began.elapsed() > USEFUL;
        let by_its_use = if was_useful { Outcome::Useful } else { Outcome::Useless };
        let (reason, outcome) = match why {
            Why::Ended => (Error::new(code::CLOSED, "closed by this side"), by_its_use),
            Why::Lost(error) => (error, by_its_use),
            Why::Violation(error) => {
                end.tell(Event::Refused { side, address: address.clone(), error: error.clone() });
                (error, Outcome::Useless)
            }
        };
        let is_ours = reason.code == code::CLOSED;
        end.tell(Event::Leave { side, address, identity, flow, reason });
        if is_ours && side != Side::Pull {
            // Nobody waits for this. A pull end, which has sent nothing but commands, doesn't do it: it would only read jobs that nobody takes.
            let _ = timeout(GOODBYE, say_goodbye(&mut self.stream)).await;
        }
        outcome
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Why> {
        self.link.running.set(true);
        let polled = self.step(cx);
        self.link.running.set(false);
        match polled {
            Ok(()) => {
                let mut waker = self.link.waker.borrow_mut();
                if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    *waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            Err(why) => {
                // What others have read counts, even if it ends with the same.
                let _ = self.take_back_reader();
                Poll::Ready(why)
            }
        }
    }

    /// Does all that can be done without waiting.
    fn step(&mut self, cx: &mut Context<'_>) -> Result<(), Why> {
        self.read_after_others(cx)?;
        loop {
            if let Err(why) = self.write(cx) {
                self.take_back_reader()?;
                // A peer that has just ended in order has told before what it owes us: words, or replies.
                while (self.link.is_flow() || self.end.side() == Side::Request) && self.read(cx)? {}
                return Err(why);
            }
            let read = self.read(cx)?;
            self.beat(cx)?;
            // Reading and the clock may have put a PONG or a PING into the outbox.
            if !read && (self.link.is_blocked.get() || self.outbox().unwritten() == 0) {
                break;
            }
        }
        self.lend_reader(cx)?;
        self.look_what_is_sent(cx);
        if self.link.ending.get() {
            let is_written = self.outbox().unwritten() == 0;
            let farewell = self.farewell.get_or_insert_with(|| Box::pin(sleep(GOODBYE)));
            if is_written || farewell.as_mut().poll(cx).is_ready() {
                return Err(Why::Ended);
            }
        }
        Ok(())
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Why> {
        loop {
            if self.link.lent.get() && self.outbox().unwritten() > 0 {
                self.end.take_back(&self.link);
            }
            let outbox = self.end.outbox(&self.link);
            // A blocked link whose jobs went to others still wants to know when it can write again: nothing asks that.
            if outbox.unwritten() == 0 && !self.link.is_blocked.get() {
                return Ok(());
            }
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let filled = outbox.slices(&mut slices);
            let wanted = outbox.unwritten();
            let polled = match filled {
                0 => Pin::new(&mut self.stream).poll_write(cx, &[]),
                _ => Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..filled]),
            };
            drop(outbox);
            let Poll::Ready(written) = polled else {
                if !self.link.is_blocked.replace(true) {
                    self.end.blocked(&self.link);
                }
                return Ok(());
            };
            let written = written?;
            if written == 0 && wanted > 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            self.written(written);
        }
    }

    fn written(&mut self, length: usize) {
        self.link.is_blocked.set(false);
        self.end.passed(length);
        let Written { has_ping, has_jobs } = self.end.wrote(&self.link, length);
        if has_ping {
            self.heartbeat.ping_left(Instant::now());
            self.unasked = false;
        }
        if length > 0 {
            self.heartbeat.sent();
        }
        if has_jobs {
            (self.unread, self.unasked) = (true, true);
            self.link.peer.set_sending(!self.link.is_flow());
        }
    }

    fn outbox(&self) -> RefMut<'_, Outbox> {
        self.end.outbox(&self.link)
    }

    /// Tells those who wait for it when the system has sent everything.
    fn look_what_is_sent(&mut self, cx: &mut Context<'_>) {
        if self.link.awaiting_sent.borrow().is_empty() || self.outbox().unwritten() > 0 {
            return;
        }
        if self.sending.get_or_insert_with(|| self.stream.sent()).as_mut().poll(cx).is_ready() {
            self.sending = None;
            self.link.peer.set_sending(false);
            self.link.awaiting_sent.take();
        }
    }

    /// Takes in what others have read, and the way back if they don't read any more, or should not.
    fn read_after_others(&mut self, cx: &mut Context<'_>) -> Result<(), Why> {
        let Some(tap) = self.link.tap.borrow().clone() else { return Ok(()) };
        let read = tap.take();
        self.has_read |= !read.bytes.is_empty();
        self.take_in_read(&read)?;
        let mut is_idle = false;
        while self.tap_timer.as_mut().poll(cx).is_ready() {
            // Whoever it is waits for nothing more, or is busy: what comes next is for us to read.
            is_idle |= !std::mem::take(&mut self.has_read);
            self.tap_timer.as_mut().reset(Instant::now() + LATELY);
        }
        let is_over = read.is_over || is_idle || self.link.ending.get();
        match self.end.taker(&self.link).filter(|_| !is_over) {
            Some(taker) => tap.renew(taker.terms),
            None => self.take_back_reader()?,
        }
        Ok(())
    }

    fn take_back_reader(&mut self) -> Result<(), Why> {
        let Some(tap) = self.link.tap.take() else { return Ok(()) };
        self.trickle = Trickle::default();
        self.take_in_read(&tap.take_back())?;
        self.stream.take_back_reader().map_err(Why::from)
    }

    fn take_in_read(&mut self, read: &Read) -> Result<(), Why> {
        if read.bytes.is_empty() {
            return Ok(());
        }
        self.link.handed.set(read.handed);
        self.take_in(read.bytes.len(), |decoder| decoder.feed(&read.bytes))?;
        self.end.has_read();
        Ok(())
    }

    /// While little comes, and often, one who alone waits for it may read it.
    fn lend_reader(&mut self, cx: &mut Context<'_>) -> Result<(), Why> {
        let link = &self.link;
        let is_calm = self.trickle.is_steady()
            && link.is_flow()
            && !link.ending.get()
            && !link.is_blocked.get()
            && link.inbox.borrow().is_empty()
            && self.decoder.is_between_jobs();
        if link.tap.borrow().is_some() || !is_calm {
            return Ok(());
        }
        self.trickle = Trickle::default();
        let Some(taker) = self.end.taker(link) else { return Ok(()) };
        let Some(reader) = self.stream.lend_reader()? else { return Ok(()) };
        let decoder = Decoder::new(self.end.config().max_message_size, true);
        let tap = Tap::new(reader, &taker, decoder, link.inbox.borrow().following(), cx.waker().clone());
        taker.handle.watch(&tap);
        link.tap.replace(Some(tap));
        self.has_read = false;
        self.tap_timer.as_mut().reset(Instant::now() + LATELY);
        // So that it rings.
        let _ = self.tap_timer.as_mut().poll(cx);
        Ok(())
    }

    /// Reads until nothing is there, the inbox holds something or that was much; whether anything was read.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Why> {
        let mut all = 0;
        while self.wants_more(all) {
            self.is_held_back = !self.end.may_read(&self.link);
            if self.is_held_back {
                break;
            }
            let Some(length) = self.read_once(cx)? else { break };
            all += length;
        }
        if all > 0 {
            self.end.passed(all);
            self.end.has_read();
        }
        Ok(all > 0)
    }

    /// Whether to read on when so much was read at once.
    fn wants_more(&self, read: usize) -> bool {
        self.link.tap.borrow().is_none()
            && (self.link.is_flow() || self.link.inbox.borrow().is_empty())
            && !self.link.ending.get()
            && (read == 0 || self.outbox().unwritten() == 0)
            && read < READ_AT_ONCE
    }

    /// How many bytes were there, if any.
    fn read_once(&mut self, cx: &mut Context<'_>) -> Result<Option<usize>, Why> {
        if let Some((missing, slab)) = self.decoder.rest() {
            let mut place = slab.limit(missing);
            let Poll::Ready(length) = pin!(self.stream.read_buf(&mut place)).poll(cx) else {
                return Ok(None);
            };
            let length = some(length?)?;
            self.trickle = Trickle::default();
            self.take_in(length, |decoder| {
                decoder.appended(length);
                Ok(())
            })?;
            return Ok(Some(length));
        }
        let most = if self.decoder.was_large() { READ_HEADER } else { READ_BUFFER };
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(&mut buffer[..most]);
            let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, &mut buffer) else {
                return Ok(None);
            };
            read?;
            let length = some(buffer.filled().len())?;
            self.trickle.note(length);
            self.take_in(length, |decoder| decoder.feed(buffer.filled()))?;
            Ok(Some(length))
        })
    }

    /// Turns bytes into jobs and commands, and acts on them. What came before a violation still counts.
    fn take_in(
        &mut self,
        bytes: usize,
        decode: impl FnOnce(&mut Decoder) -> Result<(), Error>,
    ) -> Result<(), Why> {
        let now = Instant::now();
        let decoded = decode(&mut self.decoder);
        self.heartbeat.received(bytes, now);
        self.show_life(now);
        let before = self.link.inbox.borrow().received();
        let admitted = self.fill_inbox();
        let any = self.link.inbox.borrow().received() > before;
        let arriving = self.decoder.open_job();
        self.progress.note(arriving, now, self.end.is_short_of_memory());
        let mut received = Ok(());
        if self.link.arriving.replace(arriving) != arriving || any {
            received = self.end.received(&self.link);
        }
        let received = received.and(admitted);
        while let Some(first_frame) = self.decoder.left_out() {
            self.end.left_out(&self.link, &first_frame);
        }
        // Commands that came with what is wrong may have come before it.
        while let Some(command) = self.decoder.command() {
            self.obey(command)?;
        }
        received.and(decoded).map_err(Why::Violation)
    }

    /// Lets a peer hear of us that has sent much for long, unless another thread has written to it by itself.
    fn show_life(&mut self, now: Instant) {
        if !self.link.is_flow() || !self.heartbeat.is_alive_due(now) {
            return;
        }
        if !self.link.writer.borrow().as_ref().is_some_and(Writer::has_written) {
            self.send_alive();
        }
        self.heartbeat.sent();
    }

    /// Shows that we are there, unless something else that waits to be written will.
    fn send_alive(&self) {
        let mut outbox = self.outbox();
        if outbox.unwritten() == 0 {
            outbox.put_command(command::ping(0, ALIVE));
        }
    }

    /// Puts what was decoded into the inbox, but for jobs that the peer may not send.
    fn fill_inbox(&mut self) -> Result<(), Error> {
        let mut inbox = self.link.inbox.borrow_mut();
        // Whoever has read these by himself has them already.
        let mut handed = self.link.handed.get() as usize;
        while let Some((batch, mark)) = self.decoder.batch() {
            let jobs = batch.jobs();
            let received = (inbox.received(), inbox.received_cost());
            let admitted = self.end.admits(&self.link, received, &batch).max(handed.min(jobs));
            handed = handed.saturating_sub(jobs);
            if admitted == jobs {
                inbox.add(batch, mark);
                continue;
            }
            if let Some(admitted) = batch.copy(Place::default(), admitted) {
                inbox.add(admitted, mark);
            }
            return Err(Error::new(code::PROTOCOL, "a peer that sends more than it was granted"));
        }
        Ok(())
    }

    fn obey(&mut self, command: Command) -> Result<(), Why> {
        match command {
            Command::Ping { ttl, context } => {
                self.heartbeat.promised(ttl, Instant::now());
                let mut outbox = self.outbox();
                if outbox.pongs() < MAX_PONGS {
                    outbox.put_pong(command::pong(&context));
                }
            }
            Command::Error(reason) => {
                return Err(Why::Violation(Error::new(
                    code::INCOMPATIBLE,
                    format!("the peer gave up: {reason:?}"),
                )));
            }
            Command::Pong { context } if context == ALIVE => {}
            Command::Pong { context } => match context.try_into().map(u64::from_be_bytes) {
                Ok(question) if question <= self.link.asked.get() => {
                    self.link.answered.set(self.link.answered.get().max(question));
                    self.end.answered(&self.link);
                }
                _ => {
                    self.unread &= self.unasked;
                    if let Some(pinged) = self.pinged.take() {
                        self.link.measured(pinged.elapsed());
                    }
                }
            },
            Command::Flow(command) => self.end.obey(&self.link, command).map_err(Why::Violation)?,
            Command::Ready(_) | Command::Unknown => {}
        }
        Ok(())
    }

    fn ping(&mut self) {
        self.pinged.get_or_insert(Instant::now());
        self.outbox().put_ping(command::ping(0, &[]));
        if self.link.is_flow() {
            // It need not leave first: that it can't is as bad a sign as no answer.
            self.heartbeat.ping_left(Instant::now());
        }
    }

    fn beat(&mut self, cx: &mut Context<'_>) -> Result<(), Why> {
        if !self.link.is_flow() && self.link.peer.ledger().has_replied() {
            (self.unread, self.unasked) = (true, true);
        }
        loop {
            let is_unheard = self.is_held_back && self.link.is_flow();
            let alive = is_unheard.then(|| self.heartbeat.alive_due());
            let due =
                [self.progress.due(), alive].into_iter().flatten().fold(self.heartbeat.due(), Instant::min);
            if due != self.timer.deadline() {
                self.timer.as_mut().reset(due);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            let now = Instant::now();
            let is_full = !self.link.is_flow() && !self.link.inbox.borrow().is_empty();
            let reads_paused = is_full || self.is_held_back;
            if reads_paused {
                self.progress.restart(now);
            } else if self.progress.is_late(now) {
                return Err(Why::Violation(Error::new(code::TIMEOUT, "a large job has stopped arriving")));
            }
            // A plain puller that is full stops reading and can't answer. One that we don't read we can't hear; and to send
            // it anything, should it have left, would have its system throw away what it has sent and we have yet to read. On a
            // flow link both sides read, but for a large job that finds no memory.
            let excused = !self.link.is_flow() && (self.unread || self.link.is_blocked.get());
            if alive.is_some_and(|due| due <= now) {
                // Its own PINGs are not read, and it must hear of us all the same.
                self.send_alive();
                self.heartbeat.alive_sent(now);
            }
            match self.heartbeat.tick(now, excused, reads_paused) {
                Beat::Wait => {}
                // No promise (TTL 0): a libzmq puller that is full would drop us for not hearing from us.
                Beat::Ping => self.ping(),
                // It may have been heard by others who did not get to read it.
                Beat::Gone if self.link.tap.borrow().is_some() => {
                    self.take_back_reader()?;
                    while self.read(cx)? {}
                }
                Beat::Gone => return Err(Why::Lost(Error::new(code::TIMEOUT, "the peer went silent"))),
            }
        }
    }
}

/// An orderly end of the stream is an end all the same.
fn some(length: usize) -> Result<usize, Why> {
    if length == 0 {
        Err(Why::Lost(Error::new(code::DISCONNECTED, "the peer closed the connection")))
    } else {
        Ok(length)
    }
}

/// Says that nothing more comes, and waits until the peer has heard it.
async fn say_goodbye(stream: &mut BoxStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
