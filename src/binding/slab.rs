//! Slabs on their way to JavaScript and from there.

use std::sync::Arc;

use napi::{
    Env, Error, Result,
    bindgen_prelude::{BufferSlice, Uint32ArraySlice},
};

use crate::{
    batch::{Batch, MORE, Place},
    wire::decoder::MAX_BATCH_FRAMES,
};

/// Up to here copying a slab is cheaper than lending it; it goes behind the ends (`lib/slicer.js`), which makes no object.
const COPIED: usize = 4096;

/// What stands in the array before the ends.
const HEADER: usize = 5;

/// Lends the slab of so many jobs from a place on, or copies it. Into the array go the number of frames, how many of them come before that
/// place, where in the slab it is, a flag, how much of the slab is copied, then where each frame stops; and behind the room for those the
/// slab, if it is copied.
pub(super) fn lend<'env>(
    env: &'env Env,
    (batch, at, jobs): (&Batch, Place, usize),
    flag: bool,
    array: &mut Uint32ArraySlice<'_>,
) -> Result<Option<BufferSlice<'env>>> {
    let (stop, _) = batch.span(at, jobs);
    let own = &batch.ends()[..stop.frame()];
    let slab = batch.slab();
    let is_copied = slab.len() <= COPIED;
    // SAFETY: the array is JavaScript's own, no other view of it is alive in Rust, and JavaScript, on whose thread
    // this runs, can't touch it before this returns.
    let out = unsafe { array.as_mut() };
    out[0] = own.len() as u32;
    out[1] = at.frame() as u32;
    out[2] = at.byte() as u32;
    out[3] = flag.into();
    out[4] = if is_copied { slab.len() as u32 } else { 0 };
    out[HEADER..HEADER + own.len()].copy_from_slice(own);
    if is_copied {
        for (word, four) in out[HEADER + MAX_BATCH_FRAMES..].iter_mut().zip(slab.chunks(4)) {
            let mut bytes = [0; 4];
            bytes[..four.len()].copy_from_slice(four);
            *word = u32::from_ne_bytes(bytes);
        }
        return Ok(None);
    }
    let owner = Arc::clone(slab);
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
pub(super) fn lend_nothing(array: &mut Uint32ArraySlice<'_>) {
    // SAFETY: as in `lend`.
    let out = unsafe { array.as_mut() };
    out[0] = 0;
}

/// The jobs in a slab of JavaScript's, copied: its bytes, then from `ends_at` on the ends of its frames, in this machine's order.
pub(super) fn unpack(slab: &[u8], bytes: u32, ends_at: u32, frames: u32) -> Result<Batch> {
    let own = slab.get(..bytes as usize).ok_or_else(out_of_bounds)?.to_vec();
    let ends = slab.get(ends_at as usize..).and_then(|ends| ends.get(..4 * frames as usize));
    let ends = ends.ok_or_else(out_of_bounds)?.as_chunks().0.iter().map(|four| u32::from_ne_bytes(*four));
    batch(own, ends.collect())
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
