//! A function of a JavaScript thread that any thread can have called, once for many times that it is rung.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, Ordering::SeqCst},
};

use napi::{
    Env, Result, Status,
    bindgen_prelude::Function,
    check_status, sys,
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};

use super::loop_bell::LoopBell;
use crate::engine::tap::Tap;

/// Weak: alone it keeps no process alive.
type Weak = ThreadsafeFunction<(), (), u32, Status, false, true>;

/// See the module.
pub enum Bell {
    /// Where libuv works.
    Loop(Arc<LoopBell>),
    /// Elsewhere. Gone once it is closed: it would keep everything that the function refers to.
    Function(Mutex<Option<Weak>>),
}

impl Bell {
    /// Will call `function` with what `bits` hold then, which is cleared by that.
    pub fn new(
        env: &Env,
        function: &Function<'_, u32, ()>,
        bits: &Arc<AtomicU32>,
        has_libuv: bool,
    ) -> Result<Self> {
        if has_libuv && let Some(bell) = LoopBell::new(env, function, Arc::clone(bits))? {
            return Ok(Self::Loop(bell));
        }
        let own = Arc::clone(bits);
        let function = function
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .callee_handled::<false>()
            .build_callback(move |_| Ok(own.swap(0, SeqCst)))?;
        Ok(Self::Function(Mutex::new(Some(function))))
    }

    /// Has the function called soon.
    pub fn ring(&self) {
        match self {
            Self::Loop(bell) => bell.ring(),
            Self::Function(function) => {
                if let Some(function) = &*lock(function) {
                    // Refused only while the thread ends, and then nobody is left to look.
                    let _ = function.call((), ThreadsafeFunctionCallMode::NonBlocking);
                }
            }
        }
    }

    /// Reads a connection on the thread of the function until that is over.
    pub fn watch(&self, tap: &Arc<Tap>) {
        match self {
            Self::Loop(bell) => bell.watch(tap),
            Self::Function(_) => tap.close(),
        }
    }

    /// Whether it can do that.
    pub fn can_read(&self) -> bool {
        matches!(self, Self::Loop(_))
    }

    /// Whether it keeps the process alive. For the thread of the function alone.
    pub fn hold(&self, env: &Env, hold: bool) -> Result<()> {
        match self {
            Self::Loop(bell) => bell.hold(hold),
            Self::Function(function) => {
                let function = lock(function);
                let Some(function) = &*function else { return Ok(()) };
                let change = if hold {
                    sys::napi_ref_threadsafe_function
                } else {
                    sys::napi_unref_threadsafe_function
                };
                // SAFETY: `env` is the one of the calling JavaScript thread, which is the one the function was made on,
                // and the function is live for as long as it stands here.
                check_status!(unsafe { change(env.raw(), function.raw()) })?;
            }
        }
        Ok(())
    }

    /// Calls the function no more. For the thread of the function alone.
    pub fn close(&self) {
        match self {
            Self::Loop(bell) => bell.close(),
            Self::Function(function) => drop(lock(function).take()),
        }
    }
}

fn lock(function: &Mutex<Option<Weak>>) -> MutexGuard<'_, Option<Weak>> {
    function.lock().unwrap_or_else(PoisonError::into_inner)
}
