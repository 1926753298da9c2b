//! A pipe as one JavaScript thread holds it.

use std::{
    rc::Rc,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use napi::{CleanupEnvHook, Env, Error, Result, bindgen_prelude::Function};
use napi_derive::napi;

use super::{
    allocator,
    memory::Memory,
    options::{NativeOptions, milliseconds},
    slab,
    stats::NativeStats,
    wake::{Mail, Wake},
};
use crate::{
    config::Config,
    engine::{
        asker::Asker,
        event::{Callback, Handle, Side},
        keeper,
        pipe::Pipe,
        said,
    },
    error,
};

/// A pipe as one JavaScript thread holds it. Its other halves are in `push_end` and `pull_end`.
#[napi]
pub struct NativePipe {
    pub(super) seat: Arc<Seat>,
    pub(super) replies_tray: Rc<Memory>,
    /// The end of a worker thread runs no finalizer soon enough.
    at_end_of_thread: Option<CleanupEnvHook<Weak<Seat>>>,
}

/// What is given up when the thread, or its last reference to the pipe, goes.
pub(super) struct Seat {
    pub(super) pipe: Arc<Pipe>,
    pub(super) wake: Arc<Wake>,
    /// Once this thread has asked for something.
    pub(super) asker: OnceLock<Arc<Asker>>,
    is_left: AtomicBool,
}

impl Seat {
    fn leave(&self) {
        if !self.is_left.swap(true, SeqCst) {
            if let Some(asker) = self.asker.get() {
                self.pipe.requests.askers.leave(asker);
                self.pipe.requests.push.look();
            }
            let handle: Arc<dyn Handle> = self.wake.clone();
            self.pipe.detach(&handle);
            self.wake.leave();
        }
    }
}

/// Makes a pipe, or joins one.
type Open = fn(Config, Arc<dyn Handle>) -> std::result::Result<Arc<Pipe>, error::Error>;

impl Drop for NativePipe {
    fn drop(&mut self) {
        self.seat.leave();
    }
}

#[napi]
impl NativePipe {
    /// A pipe of its own. `wake` is called with bits of what there is to look at: 1 room, 2 jobs, 4 mail, 8 jobs wanted back,
    /// 16 replies, 32 requests that failed, 64 memory to be given back. `has_libuv` tells whether the runtime's event loop is libuv's.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        env: Env,
        options: NativeOptions,
        wake: Function<'_, u32, ()>,
        has_libuv: bool,
    ) -> Result<Self> {
        Self::sit(env, options, wake, has_libuv, keeper::open)
    }

    /// The pipe that all threads of the process share; `options` count only for whoever is the first.
    #[napi(factory, catch_unwind)]
    pub fn shared(
        env: Env,
        options: NativeOptions,
        wake: Function<'_, u32, ()>,
        has_libuv: bool,
    ) -> Result<Self> {
        Self::sit(env, options, wake, has_libuv, keeper::shared)
    }

    fn sit(
        env: Env,
        options: NativeOptions,
        wake: Function<'_, u32, ()>,
        has_libuv: bool,
        open: Open,
    ) -> Result<Self> {
        allocator::set_up();
        let config = options.config().map_err(to_napi)?;
        let wake = Wake::new(&env, &wake, has_libuv)?;
        let pipe = open(config, wake.clone()).inspect_err(|_| wake.leave()).map_err(to_napi)?;
        let seat = Arc::new(Seat { pipe, wake, asker: OnceLock::new(), is_left: AtomicBool::new(false) });
        let at_end_of_thread = env.add_env_cleanup_hook(Arc::downgrade(&seat), |seat| {
            if let Some(seat) = seat.upgrade() {
                seat.leave();
            }
        })?;
        Ok(Self { seat, replies_tray: slab::tray(), at_end_of_thread: Some(at_end_of_thread) })
    }

    /// Leaves the pipe, which is closed: nothing is told or asked any more, and all of it can be freed.
    #[napi(catch_unwind)]
    pub fn leave(&mut self, env: Env) -> Result<()> {
        self.seat.leave();
        self.at_end_of_thread.take().map_or(Ok(()), |hook| env.remove_env_cleanup_hook(hook))
    }

    /// Opens an end, by its name; the answer to `id` comes when it listens, or can't.
    #[napi(catch_unwind)]
    pub fn open(&self, end: String, id: u32) -> Result<()> {
        self.seat.pipe.open(side(&end)?, self.seat.wake.answer(id));
        Ok(())
    }

    /// The answer to `id` comes when everything sent so far is delivered.
    #[napi(catch_unwind)]
    pub fn drain(&self, id: u32) {
        self.seat.pipe.drain(self.seat.wake.answer(id));
    }

    /// Closes after at most `linger` milliseconds; the answer to `id` says how many jobs were given up.
    #[napi(catch_unwind)]
    pub fn close(&self, linger: f64, id: u32) {
        self.seat.pipe.close(Some(milliseconds(linger)), self.seat.wake.answer(id));
    }

    /// Takes events and answers that have arrived.
    #[napi(catch_unwind)]
    pub fn mail(&self) -> Vec<Mail> {
        self.seat.wake.take_mail()
    }

    /// Whether the pipe keeps the process alive.
    #[napi(catch_unwind)]
    pub fn hold(&self, env: Env, hold: bool) -> Result<()> {
        self.seat.wake.hold(&env, hold)
    }

    /// Blocks until all jobs are with a peer, nobody is connected (but this process itself) or so many milliseconds have passed; how many jobs are
    /// with nobody then. For the very end of a process only.
    #[napi(catch_unwind)]
    pub fn flush(&self, limit: f64) -> f64 {
        let ports = &self.seat.pipe.pipeline;
        let push = &ports.push;
        let is_in_vain = || push.peers.read().is_empty() || ports.talk_to_themselves();
        let is_written = wait_until(limit, || push.is_written() || is_in_vain());
        if is_written && push.waiting() == 0 { 0.0 } else { push.undelivered() as f64 }
    }

    /// The answer to `id` comes when the system has sent what was delivered to plain peers.
    #[napi(catch_unwind)]
    pub fn await_sent(&self, id: u32) {
        self.seat.pipe.await_sent(self.seat.wake.answer(id));
    }

    /// To how many plain peers the system may have yet to send what was delivered.
    #[napi(catch_unwind)]
    pub fn sending(&self) -> f64 {
        self.seat.pipe.pipeline.push.sending() as f64
    }

    /// Blocks until that is 0 or so many milliseconds have passed; how many it is then. For the very end of a process only.
    #[napi(catch_unwind)]
    pub fn flush_sending(&self, limit: f64) -> f64 {
        let pipe = &self.seat.pipe;
        // It is seen in what the peers say.
        pipe.await_sent(Callback::new(drop));
        wait_until(limit, || pipe.pipeline.push.sending() == 0);
        self.sending()
    }

    /// Blocks until all pushers have been told what became of their jobs, none is connected or so many milliseconds have
    /// passed. For the very end of a process only.
    #[napi(catch_unwind)]
    pub fn tell_pushers(&self, limit: f64) {
        let pipe = &self.seat.pipe;
        pipe.requests.pull.settle();
        wait_until(limit, || pipe.pipeline.pull.is_told() && pipe.requests.pull.is_told());
    }

    /// Gives back memory of this thread that is not used any more.
    #[napi(catch_unwind)]
    pub fn tidy(&self) {
        allocator::give_back();
    }

    /// Whether no other thread uses the pipe.
    #[napi(catch_unwind)]
    pub fn is_alone(&self) -> bool {
        self.seat.pipe.users() == 1
    }

    /// For how many milliseconds nobody has been connected to an end, by its name; -1 if somebody is.
    #[napi(catch_unwind)]
    pub fn alone(&self, end: String) -> Result<f64> {
        let alone = self.seat.pipe.alone_for(side(&end)?);
        Ok(alone.map_or(-1.0, |alone| alone.as_secs_f64() * 1000.0))
    }

    /// A snapshot.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> NativeStats {
        NativeStats::of(&self.seat.pipe)
    }
}

/// Whether this is to be said to users now, by whichever thread of the process: it was not yet.
#[napi(catch_unwind)]
#[cfg_attr(test, allow(dead_code, reason = "only JavaScript calls it, and there is none in unit tests"))]
pub fn is_first_to_say(text: String) -> bool {
    said::is_first(&text)
}

/// The end of that name.
pub(super) fn side(name: &str) -> Result<Side> {
    Side::named(name).ok_or_else(|| Error::from_reason(format!("there is no end {name:?}")))
}

/// Blocks until something is so, or for so many milliseconds; whether it is.
fn wait_until(limit: f64, is_so: impl Fn() -> bool) -> bool {
    let until = Instant::now().checked_add(milliseconds(limit));
    loop {
        if is_so() {
            return true;
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return false;
        }
        sleep(Duration::from_millis(1));
    }
}

/// For what can't go wrong unless `lib/options.js` is wrong, or the system has no more threads.
fn to_napi(error: error::Error) -> Error {
    Error::from_reason(format!("{}: {}", error.code, error.text))
}
