//! The way in past the I/O thread: while little comes on a connection, and one thread alone waits for it, that thread reads it by itself,
//! which saves a wake-up. The I/O thread reads the same bytes once more, a little later, for its books; it takes the way back as soon as
//! there is more to it than that.

use std::{
    cell::RefCell,
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

/// So many bytes are kept for the I/O thread at most before it is woken for them.
const MOST_KEPT: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BUFFER]);
}

/// Who can read for itself.
pub struct Taker {
    /// The thread,
    pub handle: Arc<dyn Handle>,
    /// where what it reads goes,
    pub sink: Arc<dyn Sink>,
    /// and after how many jobs the I/O thread must look.
    pub budget: u64,
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
    budget: u64,
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

impl Tap {
    /// Lends the way. `decoder` and `inbox` go on from where the I/O thread's are.
    pub fn new(reader: Reader, taker: &Taker, decoder: Decoder, inbox: Inbox, waker: Waker) -> Arc<Self> {
        let own = Own { decoder, inbox, budget: taker.budget };
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

    /// So many more jobs may come until the I/O thread must look.
    pub fn renew(&self, budget: u64) {
        if let Some(own) = &mut self.state().own {
            own.budget = budget;
        }
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
    /// Hands over what it can; whether that was all, and all in order.
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
                own.budget = own.budget.saturating_sub(jobs);
            }
        }
        let mut is_urgent = own.budget == 0 || self.read.bytes.len() > MOST_KEPT;
        while let Some(command) = own.decoder.command() {
            is_urgent |= !matches!(
                command,
                Command::Flow(FlowCommand::Ack(_) | FlowCommand::Credit { .. } | FlowCommand::Job(_))
            );
        }
        if is_urgent {
            self.waker.wake_by_ref();
        }
        is_sound && own.decoder.open_job() == 0
    }
}
