//! Slabs on their way to JavaScript and from there, in memory that both sides know.

use std::rc::Rc;

use napi::{Env, Error, Result, bindgen_prelude::BufferSlice};

use super::memory::Memory;
use crate::{
    batch::{Batch, LARGE, MORE, Place},
    wire::decoder::MAX_BATCH_FRAMES,
};

/// Up to here copying a slab is cheaper than lending it; it goes behind the ends (`lib/slicer.js`), which makes no object.
const COPIED: usize = 4096;

/// What stands before the ends, and where those begin and end.
const HEADER: usize = 5;
const ENDS: usize = 4 * HEADER;
const BEHIND_ENDS: usize = ENDS + 4 * MAX_BATCH_FRAMES;

/// Memory for what [`lend`] puts there.
pub(super) fn tray() -> Rc<Memory> {
    Memory::new(BEHIND_ENDS + COPIED)
}

/// Lends the slab of so many jobs from a place on, or copies it. Into the tray go the number of frames, how many of them come before that
/// place, where in the slab it is, a flag, how much of the slab is copied, then where each frame stops; and behind the room for those the
/// slab, if it is copied.
pub(super) fn lend<'env>(
    env: &'env Env,
    (batch, at, jobs): (&Batch, Place, usize),
    flag: bool,
    tray: &Memory,
) -> Result<Option<BufferSlice<'env>>> {
    let (stop, _) = batch.span(at, jobs);
    let own = &batch.ends()[..stop.frame()];
    let slab = batch.slab();
    let copied = if slab.len() <= COPIED { &slab[..] } else { &[] };
    let header = [own.len(), at.frame(), at.byte(), flag.into(), copied.len()];
    tray.put_words(0, &header.map(|word| word as u32));
    tray.put_words(ENDS, own);
    tray.put(BEHIND_ENDS, copied);
    if copied.len() == slab.len() {
        return Ok(None);
    }
    let owner = batch.clone();
    // SAFETY: the bytes are those of a Vec that nobody resizes and that `owner`, dropped by the finalizer, keeps
    // alive for as long as the buffer. JavaScript may write into the frames it was given. Rust reads the slab
    // again only if jobs are given back, and then only frames that were never given out; whoever scribbles over
    // those through `frame.buffer` changes what a job says, which is any bytes at all.
    let lent = unsafe {
        BufferSlice::from_external(env, slab.as_ptr().cast_mut(), slab.len(), owner, |_, owner| drop(owner))
    };
    lent.map(Some)
}

/// There is nothing to lend.
pub(super) fn lend_nothing(tray: &Memory) {
    tray.put_words(0, &[0]);
}

/// Memory for a slab of JavaScript's (`lib/packer.js`): its bytes, then the ends of its frames, then a number for each job in it.
pub(super) struct Slab(Rc<Memory>);

impl Slab {
    const ENDS: usize = LARGE;
    const NUMBERS: usize = Self::ENDS + 4 * MAX_BATCH_FRAMES;

    pub(super) fn new() -> Self {
        Self(Memory::new(Self::NUMBERS + 8 * MAX_BATCH_FRAMES))
    }

    pub(super) fn memory(&self) -> &Rc<Memory> {
        &self.0
    }

    /// The jobs in it, copied.
    pub(super) fn unpack(&self, bytes: u32, frames: u32) -> Result<Batch> {
        let slab = self.0.copy(0, bytes as usize).ok_or_else(out_of_bounds)?;
        batch(slab, self.0.words(Self::ENDS, frames as usize).ok_or_else(out_of_bounds)?)
    }

    /// So many of the numbers.
    pub(super) fn numbers(&self, count: u32) -> Result<Vec<u64>> {
        self.0.numbers(Self::NUMBERS, count as usize).ok_or_else(out_of_bounds)
    }
}

/// One large job, copied.
pub(super) fn gather(frames: Vec<&[u8]>) -> Result<Batch> {
    let mut slab = Vec::with_capacity(frames.iter().map(|frame| frame.len()).sum());
    let last = frames.len().saturating_sub(1);
    let mut ends = Vec::with_capacity(frames.len());
    for (index, frame) in frames.into_iter().enumerate() {
        slab.extend_from_slice(frame);
        ends.push(slab.len() as u32 | if index < last { MORE } else { 0 });
    }
    batch(slab, ends)
}

fn batch(slab: Vec<u8>, ends: Vec<u32>) -> Result<Batch> {
    Batch::new(slab, ends).map_err(|error| Error::from_reason(error.text))
}

fn out_of_bounds() -> Error {
    Error::from_reason("the slab is shorter than what it is said to hold")
}
