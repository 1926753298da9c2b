//! Jobs from JavaScript to the engine.

use napi::{Env, Error, Result, bindgen_prelude::Uint32ArraySlice};
use napi_derive::napi;

use super::{native_pipe::NativePipe, shared_word};
use crate::batch::{Batch, LARGE, MORE};

/// What `room` answers in one number, so that asking costs no more than a call.
mod room {
    /// So many jobs fit into a slab, and into the bits that tell of them.
    pub(super) const MAX_JOBS: usize = 4096;
    /// Where the number of jobs stands; what they may count stands below.
    pub(super) const JOBS: u32 = 18;
    /// Nothing waits.
    pub(super) const IS_EMPTY: u32 = 1 << 31;
}

#[napi]
impl NativePipe {
    /// 1 while a job that is sent now is written at once, else 0.
    #[napi(catch_unwind)]
    pub fn idle_word(&self, env: Env) -> Result<Uint32ArraySlice<'static>> {
        shared_word::view(&env, &self.seat.pipe.push.idle_word())
    }

    /// Sends the jobs in a slab: its bytes, then from `ends_at` on the ends of its frames, in this machine's order.
    /// Returns the room that is left, or nothing if the end is closed: then nothing was taken.
    #[napi(catch_unwind)]
    pub fn send(&self, slab: &[u8], bytes: u32, ends_at: u32, frames: u32) -> Result<Option<u32>> {
        let own = slab.get(..bytes as usize).ok_or_else(out_of_bounds)?.to_vec();
        let ends = slab.get(ends_at as usize..).and_then(|ends| ends.get(..4 * frames as usize));
        let ends = ends
            .ok_or_else(out_of_bounds)?
            .as_chunks()
            .0
            .iter()
            .map(|four| u32::from_ne_bytes(*four))
            .collect();
        self.accept(own, ends)
    }

    /// Sends one large job, whose bytes are taken before this returns. Returns what `send` does.
    #[napi(catch_unwind)]
    pub fn send_large(&self, frames: Vec<&[u8]>) -> Result<Option<u32>> {
        let mut slab = Vec::with_capacity(frames.iter().map(|frame| frame.len()).sum());
        let last = frames.len().saturating_sub(1);
        let mut ends = Vec::with_capacity(frames.len());
        for (index, frame) in frames.into_iter().enumerate() {
            slab.extend_from_slice(frame);
            ends.push(slab.len() as u32 | if index < last { MORE } else { 0 });
        }
        self.accept(slab, ends)
    }

    /// What the queue can take: jobs << 18 | bytes, each as far as it has bits; the top bit if nothing waits.
    #[napi(catch_unwind)]
    pub fn room(&self) -> u32 {
        let room = self.seat.pipe.push.room(&self.seat.pipe.config);
        let jobs = room.jobs.min(room::MAX_JOBS) as u32;
        let cost = room.cost.min(LARGE) as u32;
        let is_empty = if room.is_empty { room::IS_EMPTY } else { 0 };
        (jobs << room::JOBS) | cost | is_empty
    }

    /// Asks to be woken when jobs have left. Look once more after asking.
    #[napi(catch_unwind)]
    pub fn await_room(&self) {
        self.seat.pipe.push.await_room();
    }

    /// Whether one more job that counts so much can be taken.
    #[napi(catch_unwind)]
    pub fn fits(&self, cost: f64) -> bool {
        let room = self.seat.pipe.push.room(&self.seat.pipe.config);
        room.is_empty || room.jobs > 0 && cost <= room.cost as f64
    }

    /// Whether what waits can only go to this pipe's own consumers, all of whom are busy: then how far things have come, else
    /// nothing.
    #[napi(catch_unwind)]
    pub fn own_progress(&self) -> Option<f64> {
        let pipe = &self.seat.pipe;
        pipe.depends_on_itself().then(|| (pipe.push.done() + pipe.pull.received()) as f64)
    }

    /// Jobs that are accepted and not delivered.
    #[napi(catch_unwind)]
    pub fn undelivered(&self) -> f64 {
        self.seat.pipe.push.undelivered() as f64
    }

    fn accept(&self, slab: Vec<u8>, ends: Vec<u32>) -> Result<Option<u32>> {
        let batch = Batch::new(slab, ends).map_err(|error| Error::from_reason(error.text))?;
        Ok(self.seat.pipe.push.send(batch).ok().map(|()| self.room()))
    }
}

fn out_of_bounds() -> Error {
    Error::from_reason("the slab is shorter than what it is said to hold")
}
