//! What the engine tells, and whom: events, answers, and a nudge to look.

use std::sync::Arc;

use super::tap::Tap;
use crate::error::Error;
pub use crate::flow::Pattern;

/// Which end of a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where jobs go out.
    Push,
    /// Where jobs come in.
    Pull,
    /// Where requests go out: a push end whose jobs are answered.
    Request,
    /// Where requests come in: a pull end that answers its jobs.
    Reply,
}

impl Side {
    /// What it is for.
    pub fn pattern(self) -> Pattern {
        match self {
            Self::Push | Self::Pull => Pattern::Pipeline,
            Self::Request | Self::Reply => Pattern::Requests,
        }
    }

    /// Whether jobs go out of it.
    pub fn is_out(self) -> bool {
        matches!(self, Self::Push | Self::Request)
    }

    /// The other end of the same pattern.
    pub fn opposite(self) -> Self {
        match self {
            Self::Push => Self::Pull,
            Self::Pull => Self::Push,
            Self::Request => Self::Reply,
            Self::Reply => Self::Request,
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Push, Self::Pull, Self::Request, Self::Reply].into_iter().find(|side| side.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Request => "request",
            Self::Reply => "reply",
        }
    }
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
    /// Nobody could be reached at an address that is dialled, which goes on.
    Unreachable {
        /// Which end.
        side: Side,
        /// The address, as it was given.
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
    /// A job waits because every worker has held it for longer than `ackTimeout`, and holds it still.
    Withheld,
    /// The pipe is being closed, by whichever thread: it takes no more jobs.
    Closing,
    /// The pipe is closed, and what became of the jobs that were left.
    Closed(Tally),
    /// And its last connection has ended: there is nothing more to tell.
    Parted,
}

/// There may be room in the push end.
pub const ROOM: u32 = 1;
/// There are jobs for a consumer that waits.
pub const JOBS: u32 = 2;
/// There are events or answers.
pub const MAIL: u32 = 4;
/// What a consumer has in hand and has not begun with is wanted back.
pub const RECALL: u32 = 8;
/// Requests have been answered.
pub const REPLIES: u32 = 16;
/// Requests have failed.
pub const FAILURES: u32 = 32;
/// Memory that is not used any more could be given back.
pub const TIDY: u32 = 64;

/// Somebody outside who uses a pipe: a JavaScript thread, or a test. Called on the I/O thread, so it must not wait.
pub trait Handle: Send + Sync {
    /// Asks it to look at what the bits name ([`ROOM`], [`JOBS`], [`MAIL`], [`RECALL`], [`REPLIES`], [`FAILURES`],
    /// [`TIDY`]).
    fn raise(&self, bits: u32);
    /// Tells an event.
    fn tell(&self, event: &Event);
    /// Whether it can read connections by itself.
    fn can_read(&self) -> bool {
        false
    }
    /// Gives back memory of the calling thread that is not used any more; [`TIDY`] asks for that of its own.
    fn tidy(&self) {}
    /// Asks it to read one, until [`Tap::read`] says that this is over.
    fn watch(&self, _tap: &Arc<Tap>) {}
}

/// What became of the jobs that were left at a close.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accepted by push and not delivered.
    pub given_up: u64,
    /// Received by pull and not begun with.
    pub dropped: u64,
    /// To how many plain peers the system had delivered jobs yet to send.
    pub sending: u64,
}

/// The one who asked, waiting for an answer. Dropped unanswered, it answers with an error: nobody waits for ever.
pub struct Callback(Option<Answer>);

type Answer = Box<dyn FnOnce(Result<Tally, Error>) + Send>;

impl Callback {
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

impl Drop for Callback {
    fn drop(&mut self) {
        if let Some(answer) = self.0.take() {
            answer(Err(Error::new(
                crate::error::code::INTERNAL,
                "the engine dropped a question (a bug of zeropipe)",
            )));
        }
    }
}

impl std::fmt::Debug for Callback {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Callback")
    }
}
