//! Jobs from JavaScript to the engine.

use std::sync::Arc;

use napi::{
    Env, Result,
    bindgen_prelude::{Uint8ArraySlice, Uint32ArraySlice},
};
use napi_derive::napi;

use super::{
    native_pipe::{NativePipe, Seat, side},
    shared_word,
    slab::{Slab, gather},
};
use crate::{
    batch::{Batch, LARGE},
    engine::{event::Pattern, push_port::PushPort},
};

/// What `room` answers in one number, so that asking costs no more than a call.
mod room {
    /// So many jobs fit into a slab, and into the bits that tell of them.
    pub(super) const MAX_JOBS: usize = 4096;
    /// Where the number of jobs stands; what they may count stands below.
    pub(super) const JOBS: u32 = 18;
    /// Nothing waits.
    pub(super) const IS_EMPTY: u32 = 1 << 31;
}

/// Where jobs go out, or requests.
#[napi]
pub struct NativePushEnd {
    seat: Arc<Seat>,
    pattern: Pattern,
    slab: Slab,
}

#[napi]
impl NativePipe {
    /// An end that is open, or is to be.
    #[napi(catch_unwind)]
    pub fn push_end(&self, end: String) -> Result<NativePushEnd> {
        Ok(NativePushEnd { seat: Arc::clone(&self.seat), pattern: side(&end)?.pattern(), slab: Slab::new() })
    }
}

#[napi]
impl NativePushEnd {
    /// 1 while a job that is sent now is written at once, 2 while this thread can do so itself, else 0.
    #[napi(catch_unwind)]
    pub fn idle_word(&self, env: Env) -> Result<Uint32ArraySlice<'static>> {
        shared_word::view(&env, &self.port().idle_word())
    }

    /// Where JavaScript packs jobs: see `Slab`.
    #[napi(catch_unwind)]
    pub fn slab(&self, env: Env) -> Result<Uint8ArraySlice<'static>> {
        self.slab.memory().lend(&env)
    }

    /// Sends the jobs in the slab: so many bytes, and frames; `directly` if this thread may write them. Returns the room that is left,
    /// or nothing if the end is closed: then nothing was taken.
    #[napi(catch_unwind)]
    pub fn send(&self, bytes: u32, frames: u32, directly: bool) -> Result<Option<u32>> {
        Ok(self.accept(self.slab.unpack(bytes, frames)?, directly))
    }

    /// Sends one large job, whose bytes are taken before this returns. Returns what `send` does.
    #[napi(catch_unwind)]
    pub fn send_large(&self, frames: Vec<&[u8]>) -> Result<Option<u32>> {
        Ok(self.accept(gather(frames)?, false))
    }

    /// What the queue can take: jobs << 18 | bytes, each as far as it has bits; the top bit if nothing waits.
    #[napi(catch_unwind)]
    pub fn room(&self) -> u32 {
        let room = self.port().room(&self.seat.pipe.config);
        let jobs = room.jobs.min(room::MAX_JOBS) as u32;
        let cost = room.cost.min(LARGE) as u32;
        let is_empty = if room.is_empty { room::IS_EMPTY } else { 0 };
        (jobs << room::JOBS) | cost | is_empty
    }

    /// Asks to be woken when jobs have left. Look once more after asking.
    #[napi(catch_unwind)]
    pub fn await_room(&self) {
        self.port().await_room();
    }

    /// Whether one more job that counts so much can be taken.
    #[napi(catch_unwind)]
    pub fn fits(&self, cost: f64) -> bool {
        let room = self.port().room(&self.seat.pipe.config);
        room.is_empty || room.jobs > 0 && cost <= room.cost as f64
    }

    /// Whether what waits can only go to this pipe's own consumers, all of whom are busy: then how far things have come, else
    /// nothing.
    #[napi(catch_unwind)]
    pub fn own_progress(&self) -> Option<f64> {
        let ports = self.seat.pipe.ports(self.pattern);
        ports.depend_on_themselves().then(|| (ports.push.done() + ports.pull.received()) as f64)
    }

    /// Counts of which one changes with every job that is accepted, dealt, settled or given up, and the bytes that have
    /// passed through the pipe, either way, heartbeats among them.
    #[napi(catch_unwind)]
    pub fn counts(&self) -> Vec<f64> {
        let port = self.port();
        let counts =
            [port.waiting() as u64, port.in_flight() as u64, port.done(), port.redelivered(), port.dead()];
        counts.into_iter().chain([self.seat.pipe.passed()]).map(|count| count as f64).collect()
    }

    /// Jobs that are accepted and not delivered.
    #[napi(catch_unwind)]
    pub fn undelivered(&self) -> f64 {
        self.port().undelivered() as f64
    }

    fn accept(&self, batch: Batch, directly: bool) -> Option<u32> {
        self.port().send(batch, directly).ok().map(|()| self.room())
    }

    fn port(&self) -> &PushPort {
        &self.seat.pipe.ports(self.pattern).push
    }
}
