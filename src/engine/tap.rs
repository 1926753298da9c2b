//! The way in past the I/O thread: while little comes on a connection, and one thread alone waits for it, that thread reads it by itself,
//! which saves a wake-up. The I/O thread reads the same bytes once more, a little later, for its books; it takes the way back as soon as
//! there is more to it than that.

use std::{
    cell::RefCell,
    fmt::{self, Debug},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use super::{
    event::Handle,
    inbox::{Inbox, Parcel},
    stream::Reader,
};
use crate::wire::{
    command::{Command, FlowCommand},
    decoder::Decoder,
};

/// What is read at once: one that brings more is the I/O thread's work.
const READ_BUFFER: usize = 16 * 1024;

/// So many bytes are kept for the I/O thread before it is woken for them, and so many at most.
const MANY_KEPT: usize = 64 * 1024;
const MOST_KEPT: usize = 4 * MANY_KEPT;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BUFFER]);
}

/// Who can read for itself.
pub struct Taker {
    /// The thread,
    pub handle: Arc<dyn Handle>,
    /// where what it reads goes,
    pub sink: Arc<dyn Sink>,
    /// and when the I/O thread must look.
    pub terms: Terms,
}

/// When the I/O thread must look at what others have read.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// After so many jobs,
    pub budget: u64,
    /// and as soon as its peer has settled or granted something, because it waits for that.
    pub wants_credit: bool,
}

/// Where a thread puts what it has read.
pub trait Sink: Send + Sync {
    /// Takes jobs, or replies; false if they are not for this thread, or not now.
    fn take(&self, parcel: Parcel) -> bool;
}

/// See the module.
pub struct Tap {
    /// What is read from.
    pub reader: Reader,
    sink: Arc<dyn Sink>,
    state: Mutex<State>,
}

struct State {
    /// Gone when the I/O thread reads by itself.
    own: Option<Own>,
    read: Read,
    /// Wakes the task of the connection.
    waker: Waker,
}

/// What the thread needs to understand what it reads: the I/O thread's, from where that was, goes over the same bytes later.
struct Own {
    decoder: Decoder,
    inbox: Inbox,
    terms: Terms,
}

/// What was read past the I/O thread.
#[derive(Debug, Default)]
pub struct Read {
    /// All of it.
    pub bytes: Vec<u8>,
    /// How many of the jobs in it were handed over, the first ones.
    pub handed: u64,
    /// No more will be.
    pub is_over: bool,
}

impl Debug for Tap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tap({:?})", self.reader)
    }
}

impl Tap {
    /// Lends the way. `decoder` and `inbox` go on from where the I/O thread's are.
    pub fn new(reader: Reader, taker: &Taker, decoder: Decoder, inbox: Inbox, waker: Waker) -> Arc<Self> {
        let own = Own { decoder, inbox, terms: taker.terms };
        let state = State { own: Some(own), read: Read::default(), waker };
        Arc::new(Self { reader, sink: Arc::clone(&taker.sink), state: Mutex::new(state) })
    }

    /// Reads what is there. Whether the way is still lent: if not, stop watching it.
    pub fn read(&self) -> bool {
        let mut state = self.state();
        if state.own.is_none() {
            return false;
        }
        let is_sound = BUFFER.with_borrow_mut(|buffer| match self.reader.try_read(buffer) {
            Ok(length) if length > 0 => {
                state.take_in(&buffer[..length], &*self.sink) && length < buffer.len()
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            Ok(_) => false,
        });
        if !is_sound {
            self.close_in(&mut state);
        }
        is_sound
    }

    /// Nobody reads here any more.
    pub fn close(&self) {
        self.close_in(&mut self.state());
    }

    /// What was read since it was asked before.
    pub fn take(&self) -> Read {
        let mut state = self.state();
        let is_over = state.own.is_none();
        Read { is_over, ..std::mem::take(&mut state.read) }
    }

    /// Sets new terms, now that what was read has been looked at. What was read since may be what the I/O thread waits for.
    pub fn renew(&self, terms: Terms) {
        let mut state = self.state();
        if let Some(own) = &mut state.own {
            own.terms = terms;
        }
        if terms.wants_credit && !state.read.bytes.is_empty() {
            state.waker.wake_by_ref();
        }
    }

    /// Whether somebody may still read here.
    pub fn is_lent(&self) -> bool {
        self.state().own.is_some()
    }

    /// Whether something was read that the I/O thread has not looked at.
    pub fn is_ahead(&self) -> bool {
        !self.state().read.bytes.is_empty()
    }

    /// Takes the way back: what was read last.
    pub fn take_back(&self) -> Read {
        self.state().own = None;
        self.take()
    }

    fn close_in(&self, state: &mut State) {
        if state.own.take().is_some() {
            state.waker.wake_by_ref();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Hands over what it can; whether that was all, and nothing that is the I/O thread's affair.
    fn take_in(&mut self, bytes: &[u8], sink: &dyn Sink) -> bool {
        let Some(own) = &mut self.own else { return false };
        self.read.bytes.extend_from_slice(bytes);
        let mut is_sound = own.decoder.feed(bytes).is_ok();
        while let Some((batch, mark)) = own.decoder.batch() {
            own.inbox.add(batch, mark);
        }
        while let (true, Some(parcel)) = (is_sound, own.inbox.take(usize::MAX)) {
            let jobs = parcel.jobs as u64;
            is_sound = sink.take(parcel);
            if is_sound {
                self.read.handed += jobs;
                own.terms.budget = own.terms.budget.saturating_sub(jobs);
            }
        }
        let mut is_urgent = own.terms.budget == 0 || self.read.bytes.len() > MANY_KEPT;
        while let Some(command) = own.decoder.command() {
            match command {
                Command::Flow(FlowCommand::Job(_)) => {}
                Command::Flow(FlowCommand::Ack(_) | FlowCommand::Credit { .. }) => {
                    is_urgent |= own.terms.wants_credit
                }
                _ => is_sound = false,
            }
        }
        if is_urgent {
            self.waker.wake_by_ref();
        }
        is_sound && own.decoder.open_job() == 0 && self.read.bytes.len() <= MOST_KEPT
    }
}
