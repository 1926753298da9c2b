//! Who gets which job, and when it is over, as plain data.
//!
//! A state machine here owns all of its state and does no I/O. Whoever drives it passes in what
//! happened (`handle_*`) and the time, and takes out what is to be done (`poll_effect`) and when to
//! come back (`next_timeout`). Time and chance come from the caller, so that the same inputs give
//! the same effects, byte for byte.
//!
//! | input | who calls it |
//! | --- | --- |
//! | jobs from JavaScript | the push end, after it was woken |
//! | a peer joins, leaves, has taken bytes, takes no more | the connection |
//! | commands and replies of a peer | the connection, after decoding |
//! | a timeout | the push end, when [`sender::Sender::next_timeout`] has come |
//!
//! | effect | what the driver does |
//! | --- | --- |
//! | [`sender::Effect::Write`] | wakes the connection, which writes from the peer's [`outbox`] |
//! | [`sender::Effect::Drained`] | answers who waits for it |
//! | the others | tells them to users, or to the threads that wait for replies |

pub mod outbox;
pub mod sender;

/// What two ends are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Jobs are pushed and pulled (RFC 30).
    Pipeline,
    /// Requests are jobs that are answered (RFC 28).
    Requests,
}

/// A peer of one state machine, never used for another again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    slot: u32,
    serial: u32,
}

impl PeerId {
    /// No peer.
    pub const NONE: Self = Self { slot: u32::MAX, serial: u32::MAX };

    /// An index below the greatest number of peers that there were at a time; of the peers that are
    /// there, no two have the same.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}
