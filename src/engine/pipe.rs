//! A pipe as every thread sees it: its ports, who uses it, and what can be asked of it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::sync::{Notify, mpsc};

use super::{
    event::{Callback, Event, Handle, Pattern, Side, Tally},
    ports::Ports,
    traffic::Traffic,
};
use crate::{
    config::{Config, Sites},
    error::{Error, code},
};

/// A pipe as every thread sees it.
pub struct Pipe {
    /// What it was asked to be.
    pub config: Config,
    /// Where jobs go out and come in.
    pub pipeline: Ports,
    /// Where requests do.
    pub requests: Ports,
    /// How much has passed through it.
    pub(super) traffic: Traffic,
    handles: Mutex<Vec<Arc<dyn Handle>>>,
    calls: mpsc::UnboundedSender<Call>,
    is_closed: AtomicBool,
    /// How many connections there are that users were told of, and who waits for the end of the last.
    connections: AtomicUsize,
    parted: Notify,
}

/// What is asked of a pipe, in order: see the methods of [`Pipe`].
pub(super) enum Call {
    Open(Side, Callback),
    /// Of all that was accepted before so many were.
    Drain(u64, Callback),
    /// The system has sent what is delivered.
    AwaitSent(Callback),
    Close(Option<Duration>, Callback),
    /// The last user is gone.
    Orphaned,
    /// Everything is delivered that was there when the last user went.
    Drained,
}

impl Call {
    /// It comes too late.
    pub(super) fn refuse(self) {
        let closed = Err(Error::new(code::CLOSED, "the pipe is closed"));
        match self {
            // Closing what is closed is no mistake.
            Self::Close(_, callback) => callback.send(Ok(Tally::default())),
            Self::Open(_, callback) | Self::Drain(_, callback) | Self::AwaitSent(callback) => {
                callback.send(closed);
            }
            Self::Orphaned | Self::Drained => {}
        }
    }
}

impl Pipe {
    /// A pipe with its first user, and what will be asked of it.
    pub(super) fn new(config: Config, handle: Arc<dyn Handle>) -> (Arc<Self>, mpsc::UnboundedReceiver<Call>) {
        let (calls, receiver) = mpsc::unbounded_channel();
        let pipe = Self {
            config,
            pipeline: Ports::default(),
            requests: Ports::default(),
            traffic: Traffic::default(),
            handles: Mutex::new(vec![handle]),
            calls,
            is_closed: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            parted: Notify::new(),
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
            self.call(Call::Orphaned);
        }
    }

    /// Where an end binds and connects.
    pub(super) fn sites(&self, side: Side) -> &Sites {
        match side {
            Side::Push => &self.config.push,
            Side::Pull => &self.config.pull,
            Side::Request => &self.config.request,
            Side::Reply => &self.config.reply,
        }
    }

    /// What there is of a pattern.
    pub fn ports(&self, pattern: Pattern) -> &Ports {
        match pattern {
            Pattern::Pipeline => &self.pipeline,
            Pattern::Requests => &self.requests,
        }
    }

    /// How many jobs are accepted and not delivered, and requests not answered.
    pub fn undelivered(&self) -> usize {
        self.pipeline.push.undelivered() + self.requests.push.undelivered()
    }

    /// How many bytes have passed through it, either way.
    pub fn passed(&self) -> u64 {
        self.traffic.bytes()
    }

    /// For how long nobody has been connected to an end; `None` if somebody is.
    pub fn alone_for(&self, side: Side) -> Option<Duration> {
        let Ports { push, pull, .. } = self.ports(side.pattern());
        if side.is_out() { &push.peers } else { &pull.peers }.alone_for()
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
    pub fn open(&self, side: Side, callback: Callback) {
        self.call(Call::Open(side, callback));
    }

    /// Answers when every job that was sent so far is delivered.
    pub fn drain(&self, callback: Callback) {
        self.call(Call::Drain(self.pipeline.push.accepted.load(SeqCst), callback));
    }

    /// Answers when the system has sent every job that is delivered, and not acknowledged by anybody.
    pub fn await_sent(&self, callback: Callback) {
        self.call(Call::AwaitSent(callback));
    }

    /// Closes both ends, after delivering for at most `linger` (`None`: for as long as it takes). Answers with
    /// what became of the rest.
    pub fn close(&self, linger: Option<Duration>, callback: Callback) {
        let handles = self.handles();
        self.is_closed.store(true, SeqCst);
        drop(handles);
        self.call(Call::Close(linger, callback));
    }

    /// Whether it is closed, or about to be.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(SeqCst)
    }

    /// Tells all users.
    pub(super) fn tell(&self, event: &Event) {
        self.handles().iter().for_each(|handle| handle.tell(event));
        match event {
            Event::Join { .. } => drop(self.connections.fetch_add(1, SeqCst)),
            Event::Leave { .. } => {
                self.connections.fetch_sub(1, SeqCst);
                self.parted.notify_waiters();
            }
            _ => {}
        }
    }

    /// Resolves when users were told of the end of every connection.
    pub(super) async fn parted(&self) {
        loop {
            let parted = self.parted.notified();
            if self.connections.load(SeqCst) == 0 {
                return;
            }
            parted.await;
        }
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

    pub(super) fn call(&self, call: Call) {
        if let Err(too_late) = self.calls.send(call) {
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
