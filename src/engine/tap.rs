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
        is_sound && own.decoder.open_job().is_none() && self.read.bytes.len() <= MOST_KEPT
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        task::Wake,
    };

    use super::{super::stream::TryRead, *};
    use crate::wire::{command, frame};

    /// What comes on a connection, a piece at a time.
    #[derive(Debug, Default)]
    struct Pieces(Mutex<Vec<Vec<u8>>>);

    impl TryRead for Pieces {
        fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut pieces = self.0.lock().expect("nobody panics");
            let piece = pieces.pop().ok_or(io::ErrorKind::WouldBlock)?;
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }

        fn descriptor(&self) -> i32 {
            -1
        }
    }

    /// Takes so many jobs.
    struct Room(AtomicUsize);

    impl Sink for Room {
        fn take(&self, parcel: Parcel) -> bool {
            self.0.fetch_update(SeqCst, SeqCst, |room| room.checked_sub(parcel.jobs)).is_ok()
        }
    }

    struct Nobody;

    impl Handle for Nobody {
        fn raise(&self, _: u32) {}
        fn tell(&self, _: &super::super::event::Event) {}
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn job(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame::put_header(&mut out, 0, bytes.len());
        out.extend_from_slice(bytes);
        out
    }

    /// A tap whose thread has room for so many jobs, where these pieces come; and how often it has woken the I/O thread.
    fn tap(room: usize, terms: Terms, pieces: &[&[u8]]) -> (Arc<Tap>, Arc<Woken>) {
        let reader = Arc::new(Pieces(Mutex::new(pieces.iter().rev().map(|piece| piece.to_vec()).collect())));
        let sink = Arc::new(Room(AtomicUsize::new(room)));
        let taker = Taker { handle: Arc::new(Nobody), sink, terms };
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        (Tap::new(reader, &taker, Decoder::new(1 << 20, true), Inbox::default(), waker), woken)
    }

    const EASY: Terms = Terms { budget: 100, wants_credit: false };

    #[test]
    fn what_was_read_is_kept_with_how_much_of_it_was_handed_over() {
        let (one, two) = (job(b"one"), job(b"two"));
        let (first, second) = two.split_at(3);
        let (tap, woken) = tap(9, EASY, &[&one, first, second]);
        assert!(tap.read() && tap.read() && tap.is_ahead());
        let read = tap.take();
        assert_eq!((read.bytes, read.handed, read.is_over), ([&one[..], first].concat(), 1, false));
        assert!(tap.read() && tap.read());
        let read = tap.take_back();
        assert_eq!((&read.bytes[..], read.handed, read.is_over), (second, 1, true));
        assert!(!tap.read() && !tap.is_lent());
        assert_eq!(woken.0.load(SeqCst), 0);
    }

    #[test]
    fn what_finds_no_room_or_is_no_job_is_left_to_the_io_thread() {
        let ping = command::ping(0, b"");
        let breach = [9; 9];
        for (room, piece, handed) in [
            (1, job(b"x").repeat(2), 0),
            (9, [job(b"x"), ping].concat(), 1),
            (9, [&job(b"x")[..], &breach].concat(), 0),
        ] {
            let (tap, woken) = tap(room, EASY, &[&piece]);
            assert!(!tap.read());
            let read = tap.take();
            assert_eq!((read.bytes, read.handed, read.is_over), (piece, handed, true));
            assert_eq!(woken.0.load(SeqCst), 1);
        }
    }

    #[test]
    fn the_io_thread_is_woken_when_the_budget_is_used_up_or_credit_comes_that_it_wants() {
        let (credit, two) = (command::credit(5, 5), job(b"x").repeat(2));
        for (terms, piece, wakes) in [
            (EASY, &two, 0),
            (EASY, &credit, 0),
            (Terms { budget: 2, ..EASY }, &two, 1),
            (Terms { wants_credit: true, ..EASY }, &credit, 1),
        ] {
            let (tap, woken) = tap(9, terms, &[piece]);
            assert!(tap.read() && tap.is_lent());
            assert_eq!(woken.0.load(SeqCst), wakes);
        }
    }

    #[test]
    fn credit_that_came_before_it_was_wanted_is_looked_at() {
        let (tap, woken) = tap(9, EASY, &[&command::credit(5, 5)]);
        assert!(tap.read());
        tap.renew(Terms { wants_credit: true, ..EASY });
        assert_eq!(woken.0.load(SeqCst), 1);
    }

    #[test]
    fn the_end_of_the_connection_ends_it() {
        let (tap, woken) = tap(9, EASY, &[&[]]);
        assert!(!tap.read());
        assert!(tap.take().is_over);
        assert_eq!(woken.0.load(SeqCst), 1);
    }
}
