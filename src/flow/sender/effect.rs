//! What a sender wants done.

use crate::{
    batch::Batch,
    error::Error,
    flow::{PeerId, sender::requests::Failure},
};

/// See the module.
#[derive(Debug)]
pub enum Effect {
    /// Something waits in the outbox of a peer, which was empty.
    Write(PeerId),
    /// What [`super::Sender::drain`] was asked for under that number is delivered.
    Drained(u64),
    /// A job was given up because peers failed on it too often.
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
    /// A job waits because every peer has held it for longer than `ack_timeout`, and holds it still.
    Withheld,
    /// Something is wrong with a peer that users are to know.
    Refused(PeerId, Error),
    /// So many messages of a peer were ignored. They may come in floods.
    Ignored(PeerId, usize, Error),
    /// Replies for one of those who request.
    Replies(u32, Batch),
    /// A request that will have no reply.
    Failed(Failure),
}
