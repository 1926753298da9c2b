//! Jobs from the engine to JavaScript.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use napi::{
    Env, Result,
    bindgen_prelude::{BufferSlice, Uint32ArraySlice},
};
use napi_derive::napi;

use super::{native_pipe::NativePipe, shared_word};
use crate::engine::pull_port::Sources;

/// Up to here copying a slab is cheaper than lending it.
const COPIED: usize = 4096;

/// What stands in the array of ends before the ends.
const HEADER: usize = 4;

/// Who sent a job.
#[napi(object, object_from_js = false)]
pub struct Source {
    pub address: String,
    pub identity: String,
}

#[napi]
impl NativePipe {
    /// How many frames of the slab at hand JavaScript has begun with; JavaScript writes it. What it has not begun
    /// with can be given to others.
    #[napi(catch_unwind)]
    pub fn begun_word(&self, env: Env) -> Result<Uint32ArraySlice<'static>> {
        shared_word::view(&env, &self.seat.consumer.begun)
    }

    /// Takes the next jobs: their slab, and into `ends` the number of frames, how many of them are done with, where
    /// in the slab the first of the others begins, whether they come from several peers, and then where each frame
    /// stops. With `wait`, if there are none,
    /// the thread is woken when there are.
    #[napi(catch_unwind)]
    pub fn take<'env>(
        &self,
        env: &'env Env,
        mut ends: Uint32ArraySlice<'_>,
        wait: bool,
    ) -> Result<Option<BufferSlice<'env>>> {
        let Some(delivery) = self.seat.pipe.pull.take(&self.seat.consumer, wait) else { return Ok(None) };
        let all = delivery.batch.ends();
        // SAFETY: the array is JavaScript's own, no other view of it is alive in Rust, and JavaScript, on whose thread
        // this runs, can't touch it before this returns.
        let out = unsafe { ends.as_mut() };
        out[0] = all.len() as u32;
        out[1] = delivery.at.frame() as u32;
        out[2] = delivery.at.byte() as u32;
        out[3] = matches!(delivery.sources, Sources::Each(_)).into();
        out[HEADER..HEADER + all.len()].copy_from_slice(all);
        self.seat.consumer.begun.store(out[1], SeqCst);
        let slab = delivery.batch.slab();
        if slab.len() <= COPIED {
            return BufferSlice::copy_from(env, &slab[..]).map(Some);
        }
        let owner = Arc::clone(slab);
        // SAFETY: the bytes are those of a Vec that nobody resizes and that `owner`, dropped by the finalizer, keeps
        // alive for as long as the buffer. JavaScript may write into the frames it was given. Rust reads the slab
        // again only if the consumer leaves, and then only frames that were never given out; whoever scribbles over
        // those through `frame.buffer` changes what a job says, which is any bytes at all.
        unsafe {
            BufferSlice::from_external(env, slab.as_ptr().cast_mut(), slab.len(), owner, |_, owner| {
                drop(owner)
            })
        }
        .map(Some)
    }

    /// Who sent the job with that index in the slab taken last.
    #[napi(catch_unwind)]
    pub fn source(&self, job: u32) -> Option<Source> {
        let peer = self.seat.consumer.source(job as usize)?;
        Some(Source { address: peer.address.clone(), identity: peer.identity.clone() })
    }

    /// No loop wants jobs any more; what was not begun with goes to other threads, or waits.
    #[napi(catch_unwind)]
    pub fn release(&self) {
        self.seat.pipe.pull.release(&self.seat.consumer);
    }
}
