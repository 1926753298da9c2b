//! A function of JavaScript that libuv calls: what Node-API's thread-safe function is, without the lock that it holds while it
//! wakes a thread which takes that lock first (docs/performance.md).

use std::{
    ffi::c_void,
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use napi::{Env, JsValue, Result, bindgen_prelude::Function, check_status, sys};

use super::event_loop::{Block, EventLoop};

/// See the module.
pub struct LoopBell {
    uv: &'static EventLoop,
    /// libuv's from when it was made until `closed`.
    handle: *mut Block,
    is_open: Mutex<bool>,
    _memory: Box<[Block]>,
    env: sys::napi_env,
    function: sys::napi_ref,
    /// What Node waits for before it ends the thread's environment.
    hook: OnceLock<sys::napi_async_cleanup_hook_handle>,
    bits: Arc<AtomicU32>,
}

// SAFETY: `handle` is only used under the lock of `is_open`, and by other threads only to send, which any thread may. All else
// that is not `Send` is used on the thread of `env` alone.
unsafe impl Send for LoopBell {}
// SAFETY: the same.
unsafe impl Sync for LoopBell {}

impl LoopBell {
    /// Will call `function` with what `bits` hold then, which is cleared by that. `None` where there is no libuv.
    pub fn new(
        env: &Env,
        function: &Function<'_, u32, ()>,
        bits: Arc<AtomicU32>,
    ) -> Result<Option<Arc<Self>>> {
        let Some(uv) = EventLoop::find() else { return Ok(None) };
        let env = env.raw();
        let (mut uv_loop, mut reference) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: `env` is that of the thread that runs this, and `function` is one of its values.
        check_status!(unsafe { sys::napi_get_uv_event_loop(env, &mut uv_loop) })?;
        // SAFETY: the same.
        check_status!(unsafe { sys::napi_create_reference(env, function.raw(), 1, &mut reference) })?;
        let mut memory = uv.memory();
        let bell = Arc::new(Self {
            uv,
            handle: memory.as_mut_ptr(),
            is_open: Mutex::new(true),
            _memory: memory,
            env,
            function: reference,
            hook: OnceLock::new(),
            bits,
        });
        // SAFETY: the loop is that of this thread, and the memory is large enough, and stays where it is until the handle is
        // closed: libuv holds a reference to all of this.
        unsafe {
            let failed = (uv.init)(uv_loop, bell.handle, rung) != 0;
            if failed {
                sys::napi_delete_reference(env, reference);
                return Ok(None);
            }
            (uv.set_data)(bell.handle, Arc::into_raw(Arc::clone(&bell)).cast_mut().cast());
            (uv.release)(bell.handle);
        }
        let mut hook = ptr::null_mut();
        let own = Arc::as_ptr(&bell).cast_mut().cast();
        // SAFETY: what the hook is given lives until the handle is closed, and with that the hook is removed.
        check_status!(unsafe { sys::napi_add_async_cleanup_hook(env, Some(ended), own, &mut hook) })?;
        let _ = bell.hook.set(hook);
        Ok(Some(bell))
    }

    /// Has the function called soon.
    pub fn ring(&self) {
        let is_open = self.is_open();
        if *is_open {
            // SAFETY: it is open, and stays so while it is locked. It fails only if it is not a handle for this.
            unsafe { (self.uv.send)(self.handle) };
        }
    }

    /// Whether it keeps its thread's loop running. For that thread alone.
    pub fn hold(&self, hold: bool) {
        if *self.is_open() {
            let change = if hold { self.uv.hold } else { self.uv.release };
            // SAFETY: it is open, and this is its thread.
            unsafe { change(self.handle) }
        }
    }

    /// Calls no more. For its own thread alone.
    pub fn close(&self) {
        if std::mem::take(&mut *self.is_open()) {
            // SAFETY: it was open, no thread will use it any more, and this is its thread.
            unsafe {
                sys::napi_delete_reference(self.env, self.function);
                (self.uv.close)(self.handle, closed);
            }
        }
    }

    fn is_open(&self) -> MutexGuard<'_, bool> {
        self.is_open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the function. An error that it throws is one that nobody catches, as if the loop had called it.
    fn call(&self) {
        let env = self.env;
        let (mut scope, mut function, mut global, mut bits) =
            (ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        let (mut has_thrown, mut error) = (false, ptr::null_mut());
        // SAFETY: this runs on the thread of `env`, and the reference is there until the handle is closed. An environment that is
        // being ended refuses to call; then there is no error to be had either.
        unsafe {
            if sys::napi_open_handle_scope(env, &mut scope) != sys::Status::napi_ok {
                return;
            }
            sys::napi_get_reference_value(env, self.function, &mut function);
            sys::napi_get_global(env, &mut global);
            sys::napi_create_uint32(env, self.bits.swap(0, SeqCst), &mut bits);
            sys::napi_make_callback(env, ptr::null_mut(), global, function, 1, &bits, ptr::null_mut());
            sys::napi_is_exception_pending(env, &mut has_thrown);
            if has_thrown && sys::napi_get_and_clear_last_exception(env, &mut error) == sys::Status::napi_ok {
                sys::napi_fatal_exception(env, error);
            }
            sys::napi_close_handle_scope(env, scope);
        }
    }

    /// # Safety
    ///
    /// The handle must be one of ours that is not closed.
    unsafe fn of(handle: *mut Block) -> *const Self {
        // SAFETY: as the caller says. There is a handle, so there is a libuv.
        EventLoop::find().map_or(ptr::null(), |uv| unsafe { (uv.data)(handle) }.cast_const().cast())
    }
}

/// The handle was rung.
unsafe extern "C" fn rung(handle: *mut Block) {
    // SAFETY: libuv calls this with the handle it was made with; what was noted in that lives until it is closed.
    if let Some(bell) = unsafe { LoopBell::of(handle).as_ref() } {
        bell.call();
    }
}

/// The environment ends: Node waits until the hook is removed.
unsafe extern "C" fn ended(_: sys::napi_async_cleanup_hook_handle, bell: *mut c_void) {
    // SAFETY: the hook is removed before the bell is gone.
    if let Some(bell) = unsafe { bell.cast::<LoopBell>().as_ref() } {
        bell.close();
    }
}

/// The handle is not used any more.
unsafe extern "C" fn closed(handle: *mut Block) {
    // SAFETY: that is what was given to libuv when the handle was made, and is used for the last time.
    let bell = unsafe { Arc::from_raw(LoopBell::of(handle)) };
    if let Some(hook) = bell.hook.get() {
        // SAFETY: it is there until it is removed, which happens here alone.
        unsafe { sys::napi_remove_async_cleanup_hook(*hook) };
    }
}
