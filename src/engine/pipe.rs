//! A pipe as every thread sees it: its ports, who uses it, and what can be asked of it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use super::{
    event::{Event, Handle, Reply, Side, Tally},
    pull_port::PullPort,
    push_port::PushPort,
};
use crate::{
    config::Config,
    error::{Error, code},
};

/// A pipe as every thread sees it.
pub struct Pipe {
    /// What it was asked to be.
    pub config: Config,
    /// Where jobs go out.
    pub push: PushPort,
    /// Where jobs come in.
    pub pull: PullPort,
    handles: Mutex<Vec<Arc<dyn Handle>>>,
    requests: mpsc::UnboundedSender<Request>,
    is_closed: AtomicBool,
}

/// What a pipe can be asked, in order: see the calls of [`Pipe`].
pub(super) enum Request {
    Open(Side, Reply),
    /// Of all that was accepted before so many were.
    Drain(u64, Reply),
    Close(Option<Duration>, Reply),
    /// The last user is gone.
    Orphaned,
    /// Everything is delivered that was there when the last user went.
    Drained,
}

impl Request {
    /// It comes too late.
    pub(super) fn refuse(self) {
        let closed = Err(Error::new(code::CLOSED, "the pipe is closed"));
        match self {
            // Closing what is closed is no mistake.
            Self::Close(_, reply) => reply.send(Ok(Tally::default())),
            Self::Open(_, reply) | Self::Drain(_, reply) => reply.send(closed),
            Self::Orphaned | Self::Drained => {}
        }
    }
}

impl Pipe {
    /// A pipe with its first user, and what will be asked of it.
    pub(super) fn new(
        config: Config,
        handle: Arc<dyn Handle>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Request>) {
        let (requests, receiver) = mpsc::unbounded_channel();
        let pipe = Self {
            config,
            push: PushPort::default(),
            pull: PullPort::default(),
            handles: Mutex::new(vec![handle]),
            requests,
            is_closed: AtomicBool::new(false),
        };
        (Arc::new(pipe), receiver)
    }

    /// One more user, who is told events from now on; false if the pipe is closed, or about to be.
    pub(super) fn attach(&self, handle: &Arc<dyn Handle>) -> bool {
        let mut handles = self.handles();
        if self.is_closed() {
            return false;
        }
        handles.push(Arc::clone(handle));
        true
    }

    /// A user is gone. A pipe without users delivers what it has accepted, and closes.
    pub fn detach(&self, handle: &Arc<dyn Handle>) {
        let mut handles = self.handles();
        handles.retain(|other| !Arc::ptr_eq(other, handle));
        if handles.is_empty() {
            self.request(Request::Orphaned);
        }
    }

    /// Whether what waits in push can only go to this pipe's own consumers, all of whom are busy.
    pub fn depends_on_itself(&self) -> bool {
        let (peers, own) = (self.push.peers.read(), self.pull.instance.read());
        own.is_some()
            && !peers.is_empty()
            && peers.iter().all(|peer| peer.instance == own)
            && self.pull.is_busy()
    }

    /// How many users it has.
    pub fn users(&self) -> usize {
        self.handles().len()
    }

    /// Whether nobody uses it; then nobody will any more.
    pub(super) fn give_away(&self) -> bool {
        let handles = self.handles();
        if handles.is_empty() {
            self.is_closed.store(true, SeqCst);
        }
        handles.is_empty()
    }

    /// Opens an end, if it isn't open: answers when every bind listens. After a failure it can be tried again.
    pub fn open(&self, side: Side, reply: Reply) {
        self.request(Request::Open(side, reply));
    }

    /// Answers when everything that was sent so far is delivered.
    pub fn drain(&self, reply: Reply) {
        self.request(Request::Drain(self.push.accepted.load(SeqCst), reply));
    }

    /// Closes both ends, after delivering for at most `linger` (`None`: for as long as it takes). Answers with
    /// what became of the rest.
    pub fn close(&self, linger: Option<Duration>, reply: Reply) {
        let handles = self.handles();
        self.is_closed.store(true, SeqCst);
        drop(handles);
        self.request(Request::Close(linger, reply));
    }

    /// Whether it is closed, or about to be.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(SeqCst)
    }

    /// Tells all users.
    pub(super) fn tell(&self, event: &Event) {
        self.handles().iter().for_each(|handle| handle.tell(event));
    }

    /// Asks all users to look.
    pub(super) fn raise(&self, bits: u32) {
        self.handles().iter().for_each(|handle| handle.raise(bits));
    }

    /// Tells all users that it is over.
    pub(super) fn end(&self, tally: Tally) {
        self.is_closed.store(true, SeqCst);
        self.tell(&Event::Closed(tally));
    }

    pub(super) fn request(&self, request: Request) {
        if let Err(too_late) = self.requests.send(request) {
            too_late.0.refuse();
        }
    }

    pub(super) fn handles(&self) -> std::sync::MutexGuard<'_, Vec<Arc<dyn Handle>>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by the tasks that a pipe can't live without. If one of them panics, which is a bug of ours, users are told that
/// the pipe is closed instead of waiting for ever.
pub(super) struct Alarm(pub(super) Arc<Pipe>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = Error::new(
                code::INTERNAL,
                "a task of the engine failed (a bug of zeropipe): the pipe is closed",
            );
            self.0.tell(&Event::Refused { side: Side::Push, address: String::new(), error });
            self.0.end(Tally::default());
        }
    }
}
