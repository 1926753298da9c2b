//! What the engine tells, and whom: events, answers, and a nudge to look.

use crate::error::Error;

/// Which end of a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where jobs go out.
    Push,
    /// Where jobs come in.
    Pull,
}

/// Something that happened in the background.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A bind listens.
    Listening {
        /// Which end.
        side: Side,
        /// With the port that the system chose.
        address: String,
    },
    /// A peer has shaken hands.
    Join {
        /// Which end.
        side: Side,
        /// Where the peer is.
        address: String,
        /// Its name, empty if it gave none.
        identity: String,
        /// Whether jobs are acknowledged between us.
        flow: bool,
    },
    /// A peer is gone.
    Leave {
        /// Which end.
        side: Side,
        /// Where the peer was.
        address: String,
        /// Its name, empty if it gave none.
        identity: String,
        /// Whether jobs were acknowledged between us.
        flow: bool,
        /// Why.
        reason: Error,
    },
    /// A connection that was ended because of what the peer did or is.
    Refused {
        /// Which end.
        side: Side,
        /// Where the peer is.
        address: String,
        /// Why.
        error: Error,
    },
    /// A job was given up because zeropipe peers failed on it too often.
    Dead {
        /// All its frames.
        job: Vec<Vec<u8>>,
        /// The same at every attempt; empty if it was never told to anybody.
        id: String,
        /// How often it was sent.
        attempt: u32,
        /// How the last attempt failed.
        reason: String,
    },
    /// The pipe is being closed, by whichever thread: it takes no more jobs.
    Closing,
    /// The pipe is closed, and what became of the jobs that were left.
    Closed(Tally),
}

/// There may be room in the push end.
pub const ROOM: u32 = 1;
/// There are jobs for a consumer that waits.
pub const JOBS: u32 = 2;
/// There are events or answers.
pub const MAIL: u32 = 4;
/// What a consumer has in hand and has not begun with is wanted back.
pub const RECALL: u32 = 8;

/// Somebody outside who uses a pipe: a JavaScript thread, or a test. Called on the I/O thread, so it must not wait.
pub trait Handle: Send + Sync {
    /// Asks it to look at what the bits name ([`ROOM`], [`JOBS`], [`MAIL`], [`RECALL`]).
    fn raise(&self, bits: u32);
    /// Tells an event.
    fn tell(&self, event: &Event);
}

/// What became of the jobs that were left at a close.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accepted by push and not delivered.
    pub given_up: u64,
    /// Received by pull and not begun with.
    pub dropped: u64,
}

/// The one who asked, waiting for an answer. Dropped unanswered, it answers with an error: nobody waits for ever.
pub struct Reply(Option<Answer>);

type Answer = Box<dyn FnOnce(Result<Tally, Error>) + Send>;

impl Reply {
    /// Will call `answer` exactly once.
    pub fn new(answer: impl FnOnce(Result<Tally, Error>) + Send + 'static) -> Self {
        Self(Some(Box::new(answer)))
    }

    /// Answers.
    pub fn send(mut self, result: Result<Tally, Error>) {
        if let Some(answer) = self.0.take() {
            answer(result);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(answer) = self.0.take() {
            answer(Err(Error::new(
                crate::error::code::INTERNAL,
                "the engine dropped a question (a bug of zeropipe)",
            )));
        }
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Reply")
    }
}
