//! Jobs from the engine to JavaScript.

use std::{
    cell::OnceCell,
    rc::Rc,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use napi::{
    CleanupEnvHook, Env, Result,
    bindgen_prelude::{BufferSlice, Float64ArraySlice, Uint8ArraySlice, Uint32ArraySlice},
};
use napi_derive::napi;

use super::{
    memory::Memory,
    native_pipe::{NativePipe, Seat, side},
    shared_word,
    slab::{self, Slab},
};
use crate::{
    batch::Batch,
    engine::{consumer::Consumer, delivery::Fate, event::Pattern, pull_port::PullPort},
};

/// Where a job comes from.
#[napi(object, object_from_js = false)]
pub struct NativeSource {
    pub address: String,
    pub identity: String,
    /// The peer is told what becomes of the job.
    pub flow: bool,
    /// Of its push end; empty if the peer has told no sequence numbers.
    pub instance: String,
    /// In decimal: it may be more than a number holds.
    pub id: String,
    pub attempt: u32,
    /// The jobs behind it in the same slab come from there too, and count on from its id.
    pub is_row: bool,
}

/// One loop or pool of handlers.
#[napi]
pub struct NativeConsumer {
    place: Arc<Place>,
    tray: Rc<Memory>,
    /// Once it has replied.
    replies: OnceCell<Slab>,
    /// The end of a worker thread runs no finalizer soon enough.
    at_end_of_thread: Option<CleanupEnvHook<Weak<Place>>>,
}

/// What is given up when the consumer, or its thread, goes.
struct Place {
    seat: Arc<Seat>,
    pattern: Pattern,
    consumer: Arc<Consumer>,
    is_left: AtomicBool,
}

impl Place {
    fn port(&self) -> &PullPort {
        &self.seat.pipe.ports(self.pattern).pull
    }

    fn leave(&self, fate: Fate<'_>) {
        if !self.is_left.swap(true, SeqCst) {
            self.port().leave(&self.consumer, fate);
        }
    }
}

impl Drop for NativeConsumer {
    fn drop(&mut self) {
        // An iterator that nobody holds any more has been left, if quietly.
        self.place.leave(Fate::Done);
    }
}

#[napi]
impl NativePipe {
    /// A new consumer of jobs, or of requests. `prefetch` fixes how many jobs it has ahead, unless it is negative; `in_order` says
    /// that it is done with its jobs in the order in which it got them.
    #[napi(catch_unwind)]
    pub fn consumer(&self, env: Env, end: String, prefetch: f64, in_order: bool) -> Result<NativeConsumer> {
        let (seat, pattern) = (Arc::clone(&self.seat), side(&end)?.pattern());
        let prefetch = (prefetch >= 0.0).then_some(prefetch as u32);
        let consumer = seat.pipe.ports(pattern).pull.join(seat.wake.clone(), prefetch, in_order);
        let place = Arc::new(Place { seat, pattern, consumer, is_left: AtomicBool::new(false) });
        let at_end_of_thread = env.add_env_cleanup_hook(Arc::downgrade(&place), |place| {
            if let Some(place) = place.upgrade() {
                place.leave(Fate::Failed("its thread has ended"));
            }
        })?;
        Ok(NativeConsumer {
            place,
            tray: slab::tray(),
            replies: OnceCell::new(),
            at_end_of_thread: Some(at_end_of_thread),
        })
    }
}

#[napi]
impl NativeConsumer {
    /// What JavaScript and the engine tell each other without a call: how many jobs it has begun with, with how many it is
    /// done, and whether to call `told` after the next change of these.
    #[napi(catch_unwind)]
    pub fn words(&self, env: Env) -> Result<Uint32ArraySlice<'static>> {
        shared_word::view(&env, &self.place.consumer.words)
    }

    /// Where [`NativeConsumer::take`] puts what it takes.
    #[napi(catch_unwind)]
    pub fn tray(&self, env: Env) -> Result<Uint8ArraySlice<'static>> {
        self.tray.lend(&env)
    }

    /// Takes the next jobs: see `slab::lend`; the flag says that they go on the row of those before (one source, ids in order). If there
    /// are none, no frames are told, and if it has free slots, its thread is woken when there are.
    #[napi(catch_unwind)]
    pub fn take<'env>(&self, env: &'env Env, slots: u32) -> Result<Option<BufferSlice<'env>>> {
        let Some(taken) = self.place.port().take(&self.place.consumer, slots) else {
            slab::lend_nothing(&self.tray);
            return Ok(None);
        };
        slab::lend(env, (&taken.batch, taken.at, taken.jobs), taken.goes_on, &self.tray)
    }

    /// Where a job comes from, by the consumer's own number, as long as it is not settled.
    #[napi(catch_unwind)]
    pub fn source(&self, number: f64) -> Option<NativeSource> {
        let (source, is_row) = self.place.consumer.source(number as u64)?;
        let (peer, row) = (&source.peer, source.row);
        let instance = peer.instance.filter(|_| row.id.is_some()).map(|instance| instance.to_string());
        Some(NativeSource {
            address: peer.address.clone(),
            identity: peer.identity.clone(),
            flow: source.is_flow(),
            instance: instance.unwrap_or_default(),
            id: row.id.unwrap_or_default().to_string(),
            attempt: row.attempt,
            is_row,
        })
    }

    /// Tells of the progress that the words show.
    #[napi(catch_unwind)]
    pub fn told(&self) {
        self.place.port().told(&self.place.consumer);
    }

    /// These jobs are done.
    #[napi(catch_unwind)]
    pub fn done(&self, numbers: Float64ArraySlice<'_>) {
        let numbers: Vec<u64> = numbers.iter().map(|&number| number as u64).collect();
        self.place.port().settle_each(&self.place.consumer, &numbers, Fate::Done);
    }

    /// This job has failed; whether its pusher will have it tried again. If not, that is up to the caller.
    #[napi(catch_unwind)]
    pub fn fail(&self, number: f64, reason: String) -> bool {
        let port = self.place.port();
        let is_flow = self.place.consumer.source(number as u64).is_some_and(|(source, _)| source.is_flow());
        port.settle_each(&self.place.consumer, &[number as u64], Fate::Failed(&reason));
        is_flow
    }

    /// Where JavaScript packs replies: see `Slab`.
    #[napi(catch_unwind)]
    pub fn replies(&self, env: Env) -> Result<Uint8ArraySlice<'static>> {
        self.replies.get_or_init(Slab::new).memory().lend(&env)
    }

    /// The replies in that slab, so many bytes and frames, each in its envelope, to the first so many of the jobs whose numbers stand there:
    /// with that they are done.
    #[napi(catch_unwind)]
    pub fn reply(&self, bytes: u32, frames: u32, count: u32) -> Result<()> {
        let slab = self.replies.get_or_init(Slab::new);
        self.answer(&slab.numbers(count)?, slab.unpack(bytes, frames)?);
        Ok(())
    }

    /// The same for one large reply.
    #[napi(catch_unwind)]
    pub fn reply_large(&self, number: f64, frames: Vec<&[u8]>) -> Result<()> {
        self.answer(&[number as u64], slab::gather(frames)?);
        Ok(())
    }

    fn answer(&self, numbers: &[u64], replies: Batch) {
        self.place.port().reply(&self.place.consumer, numbers, replies);
    }

    /// This request is answered by an error; whether whoever asked is told.
    #[napi(catch_unwind)]
    pub fn reject(&self, number: f64, code: String, text: String) -> bool {
        let is_flow = self.place.consumer.source(number as u64).is_some_and(|(source, _)| source.is_flow());
        let fate = Fate::Rejected(&code, &text);
        self.place.port().settle_each(&self.place.consumer, &[number as u64], fate);
        self.place.port().settle();
        is_flow
    }

    /// The consumer wants no more jobs for now; what it has not begun with goes back. How many of those are lost, because the
    /// pipe is closed and their pusher won't hear of it.
    #[napi(catch_unwind)]
    pub fn release(&self) -> f64 {
        self.place.port().release(&self.place.consumer) as f64
    }

    /// What it has not begun with goes back; it still wants jobs.
    #[napi(catch_unwind)]
    pub fn recall(&self) {
        self.place.port().recall(&self.place.consumer);
    }

    /// Everything it has begun with is done.
    #[napi(catch_unwind)]
    pub fn finish(&self) {
        self.place.port().finish(&self.place.consumer);
    }

    /// The process ends: what it has begun with is its pushers' again when the connections are gone, and not before.
    #[napi(catch_unwind)]
    pub fn abandon(&self) {
        self.place.is_left.store(true, SeqCst);
    }

    /// It is over, and settled.
    #[napi(catch_unwind)]
    pub fn leave(&mut self, env: Env) -> Result<()> {
        self.place.leave(Fate::Done);
        self.at_end_of_thread.take().map_or(Ok(()), |hook| env.remove_env_cleanup_hook(hook))
    }
}
