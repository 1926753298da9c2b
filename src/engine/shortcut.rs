//! The way past the I/O thread: while a connection is idle, a thread that has something for it writes that itself, which saves a
//! wake-up. The I/O thread lends the way, and takes it back before it writes anything of its own.

use crate::{
    batch::{Batch, Place},
    wire::frame,
};

use super::stream::Writer;

/// More than this is the I/O thread's work: the socket might not take it at once.
const MOST: usize = 16 * 1024;

/// See the module. It is kept where both sides look under a lock.
#[derive(Debug, Default)]
pub struct Shortcut {
    writer: Option<Writer>,
    /// What of the last message the connection did not take: it goes before everything else.
    rest: Vec<u8>,
}

impl Shortcut {
    /// Lends the way to the connection.
    pub fn lend(&mut self, writer: Writer) {
        self.writer = Some(writer);
    }

    /// Takes it back; returns what is to be written before anything else.
    pub fn take_back(&mut self) -> Vec<u8> {
        self.writer = None;
        std::mem::take(&mut self.rest)
    }

    /// Whether something is to be written before anything else.
    pub fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Whether the way is open for something of that size.
    pub fn is_open(&self, batch: &Batch) -> bool {
        self.writer.is_some() && batch.slab().len() + frame::MAX_HEADER * batch.ends().len() <= MOST
    }

    /// Writes all that is in a batch. Whether the I/O thread has nothing to do with it for now; if it has, it must be nudged.
    pub fn write(&mut self, batch: &Batch) -> bool {
        let Some(writer) = &self.writer else { return false };
        let mut bytes = Vec::with_capacity(batch.slab().len() + frame::MAX_HEADER * batch.ends().len());
        let mut at = Place::default();
        while let Some((job, next)) = batch.job(at) {
            frame::put_job(&mut bytes, job);
            at = next;
        }
        // A connection that is lost is the I/O thread's affair too, which finds out when it writes the rest.
        let written = writer.try_write(&bytes).unwrap_or(0);
        if written < bytes.len() {
            self.writer = None;
            self.rest = bytes.split_off(written);
        }
        self.rest.is_empty()
    }
}
