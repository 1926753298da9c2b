//! A function of JavaScript that libuv calls: what Node-API's thread-safe function is, without the lock that it holds while it
//! wakes a thread which takes that lock first (docs/performance.md). And connections that the thread reads by itself (`tap.rs`), after
//! which it calls the same function.

use std::{
    cell::{Cell, RefCell},
    ffi::{c_int, c_void},
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
};

use napi::{Env, JsValue, Result, bindgen_prelude::Function, check_status, sys};

use super::event_loop::{ASYNC, Block, EventLoop, POLL, READABLE};
use crate::engine::tap::Tap;

/// See the module.
pub struct LoopBell {
    uv: &'static EventLoop,
    /// libuv's from when it was made until it is closed.
    handle: *mut Block,
    _memory: Box<[Block]>,
    shared: Mutex<Shared>,
    /// The thread is reading, and will call the function after that: to ring would be in vain.
    is_reading: AtomicBool,
    bits: Arc<AtomicU32>,
    uv_loop: *mut sys::uv_loop_s,
    env: sys::napi_env,
    function: sys::napi_ref,
    watches: RefCell<Vec<*mut Watch>>,
    /// How many handles libuv has.
    handles: Cell<usize>,
    /// What Node waits for before it ends the thread's environment.
    hook: OnceLock<sys::napi_async_cleanup_hook_handle>,
}

/// What other threads use.
struct Shared {
    is_open: bool,
    /// What is to be watched from now on.
    taps: Vec<Arc<Tap>>,
}

/// A connection that libuv watches.
struct Watch {
    memory: Box<[Block]>,
    tap: Arc<Tap>,
    bell: Arc<LoopBell>,
}

// SAFETY: other threads use what is under the lock, the atomics, and `handle`, that only while it is open, which stays so under
// the lock, and only to send, which any thread may. All else is used on the thread of `env` alone.
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
        let mut memory = uv.memory(ASYNC);
        let bell = Arc::new(Self {
            uv,
            handle: memory.as_mut_ptr(),
            _memory: memory,
            shared: Mutex::new(Shared { is_open: true, taps: Vec::new() }),
            is_reading: AtomicBool::new(false),
            bits,
            uv_loop,
            env,
            function: reference,
            watches: RefCell::default(),
            handles: Cell::new(1),
            hook: OnceLock::new(),
        });
        // SAFETY: the loop is that of this thread, and the memory is large enough, and stays where it is until the handle is
        // closed: libuv holds a reference to all of this.
        unsafe {
            if (uv.async_init)(uv_loop, bell.handle, rung) != 0 {
                sys::napi_delete_reference(env, reference);
                return Ok(None);
            }
            (uv.set_data)(bell.handle, Arc::into_raw(Arc::clone(&bell)).cast_mut().cast());
            (uv.release)(bell.handle);
        }
        let mut hook = ptr::null_mut();
        let own = Arc::as_ptr(&bell).cast_mut().cast();
        // SAFETY: what the hook is given lives until the last handle is closed, and with that the hook is removed.
        let status = unsafe { sys::napi_add_async_cleanup_hook(env, Some(ended), own, &mut hook) };
        let _ = bell.hook.set(hook);
        check_status!(status).inspect_err(|_| bell.close())?;
        Ok(Some(bell))
    }

    /// Has the function called soon.
    pub fn ring(&self) {
        if !self.is_reading.load(SeqCst) {
            self.send(&self.shared());
        }
    }

    /// Reads a connection on its thread until that is over.
    pub fn watch(&self, tap: &Arc<Tap>) {
        let mut shared = self.shared();
        if !shared.is_open {
            return tap.close();
        }
        // A thread that is busy for long gets no longer a list by that.
        shared.taps.retain(|tap| tap.is_lent());
        shared.taps.push(Arc::clone(tap));
        self.send(&shared);
    }

    /// Whether it keeps its thread's loop running. For that thread alone.
    pub fn hold(&self, hold: bool) {
        if self.shared().is_open {
            let change = if hold { self.uv.hold } else { self.uv.release };
            // SAFETY: it is open, and this is its thread, which alone closes it.
            unsafe { change(self.handle) }
        }
    }

    /// Calls no more, and reads no more. For its own thread alone.
    pub fn close(&self) {
        let mut shared = self.shared();
        if !std::mem::take(&mut shared.is_open) {
            return;
        }
        shared.taps.drain(..).for_each(|tap| tap.close());
        drop(shared);
        for watch in self.watches.take() {
            // SAFETY: what is in the list is open, and lives until it is closed.
            unsafe { Watch::close(watch) }
        }
        // SAFETY: it was open, no thread will use it any more, and this is its thread.
        unsafe {
            sys::napi_delete_reference(self.env, self.function);
            (self.uv.close)(self.handle, closed);
        }
    }

    fn send(&self, shared: &Shared) {
        if shared.is_open {
            // SAFETY: it is open, and stays so while it is locked. It fails only if it is not a handle for this.
            unsafe { (self.uv.send)(self.handle) };
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the function, if there is a reason. An error that it throws is one that nobody catches, as if the loop had called it.
    fn call(&self) {
        let given = self.bits.swap(0, SeqCst);
        if given == 0 || !self.shared().is_open {
            return;
        }
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
            sys::napi_create_uint32(env, given, &mut bits);
            sys::napi_make_callback(env, ptr::null_mut(), global, function, 1, &bits, ptr::null_mut());
            sys::napi_is_exception_pending(env, &mut has_thrown);
            if has_thrown && sys::napi_get_and_clear_last_exception(env, &mut error) == sys::Status::napi_ok {
                sys::napi_fatal_exception(env, error);
            }
            sys::napi_close_handle_scope(env, scope);
        }
    }

    /// One handle less.
    fn note_closed(&self) {
        self.handles.set(self.handles.get() - 1);
        let hook = self.hook.get().filter(|hook| !hook.is_null());
        if let (0, Some(hook)) = (self.handles.get(), hook) {
            // SAFETY: it is there until it is removed, which happens here alone.
            unsafe { sys::napi_remove_async_cleanup_hook(*hook) };
        }
    }
}

impl Watch {
    /// Has a connection watched; the same one again takes the place of what was watched there.
    fn start(bell: &Arc<LoopBell>, tap: Arc<Tap>) {
        let (uv, descriptor) = (bell.uv, tap.reader.descriptor());
        let is_same = |watch: &*mut Self| {
            // SAFETY: what is in the list lives until it is closed, and nobody writes to it meanwhile.
            unsafe { &**watch }.tap.reader.descriptor() == descriptor
        };
        let other = bell.watches.borrow().iter().copied().find(is_same);
        let watch = match other {
            Some(watch) => {
                // SAFETY: the same.
                unsafe { (*watch).tap = tap };
                watch
            }
            None => {
                let mut memory = uv.memory(POLL);
                let handle = memory.as_mut_ptr();
                // SAFETY: the loop is that of this thread, the memory is large enough, and stays until the handle is closed; the
                // descriptor is that of a socket which the tap keeps open.
                if unsafe { (uv.poll_init)(bell.uv_loop, handle, descriptor) } != 0 {
                    return tap.close();
                }
                bell.handles.set(bell.handles.get() + 1);
                let watch = Box::into_raw(Box::new(Self { memory, tap, bell: Arc::clone(bell) }));
                // SAFETY: it is a handle now.
                unsafe {
                    (uv.set_data)(handle, watch.cast());
                    (uv.release)(handle);
                }
                bell.watches.borrow_mut().push(watch);
                watch
            }
        };
        // SAFETY: it is open.
        if unsafe { (uv.poll_start)((*watch).memory.as_mut_ptr(), READABLE, readable) } != 0 {
            // SAFETY: it is open.
            unsafe { Self::stop(watch) };
        }
    }

    /// Watches no more.
    ///
    /// # Safety
    ///
    /// It must be open, and the thread its own.
    unsafe fn stop(watch: *mut Self) {
        // SAFETY: as the caller says.
        let bell = Arc::clone(unsafe { &(*watch).bell });
        bell.watches.borrow_mut().retain(|other| *other != watch);
        // SAFETY: the same.
        unsafe { Self::close(watch) };
    }

    /// # Safety
    ///
    /// As for `stop`; and it must not be in the list.
    unsafe fn close(watch: *mut Self) {
        // SAFETY: as the caller says; libuv has its own pointer, and does not use it before this is over.
        let watch = unsafe { &mut *watch };
        watch.tap.close();
        // SAFETY: the handle is open.
        unsafe { (watch.bell.uv.close)(watch.memory.as_mut_ptr(), unwatched) };
    }
}

/// What was noted in a handle.
///
/// # Safety
///
/// It must be a handle of ours that is not closed, and `T` what was noted there.
unsafe fn noted<T>(handle: *mut Block) -> *mut T {
    // There is a handle, so there is a libuv.
    // SAFETY: as the caller says.
    EventLoop::find().map_or(ptr::null_mut(), |uv| unsafe { (uv.data)(handle) }.cast())
}

/// The handle was rung.
unsafe extern "C" fn rung(handle: *mut Block) {
    // SAFETY: libuv calls this with the handle it was made with. Counted once more, for what is called may close it.
    let bell = unsafe {
        let bell = noted::<LoopBell>(handle).cast_const();
        Arc::increment_strong_count(bell);
        Arc::from_raw(bell)
    };
    let taps = std::mem::take(&mut bell.shared().taps);
    taps.into_iter().filter(|tap| tap.is_lent()).for_each(|tap| Watch::start(&bell, tap));
    bell.call();
}

/// There is something to read.
unsafe extern "C" fn readable(handle: *mut Block, status: c_int, _: c_int) {
    // SAFETY: libuv calls this with a handle that is open.
    let watch = unsafe { noted::<Watch>(handle) };
    // SAFETY: the same. Both are counted once more, for what is called may close it.
    let (tap, bell) = unsafe { (Arc::clone(&(*watch).tap), Arc::clone(&(*watch).bell)) };
    bell.is_reading.store(true, SeqCst);
    let is_lent = status == 0 && tap.read();
    bell.is_reading.store(false, SeqCst);
    if !is_lent {
        // SAFETY: nothing was called that could have closed it.
        unsafe { Watch::stop(watch) };
    }
    bell.call();
}

/// The environment ends: Node waits until the hook is removed.
unsafe extern "C" fn ended(_: sys::napi_async_cleanup_hook_handle, bell: *mut c_void) {
    // SAFETY: the hook is removed before the bell is gone.
    if let Some(bell) = unsafe { bell.cast::<LoopBell>().as_ref() } {
        bell.close();
    }
}

/// The bell's handle is not used any more.
unsafe extern "C" fn closed(handle: *mut Block) {
    // SAFETY: that is what was noted when the handle was made, and is used for the last time.
    unsafe { Arc::from_raw(noted::<LoopBell>(handle).cast_const()) }.note_closed();
}

/// A watch's handle is not used any more.
unsafe extern "C" fn unwatched(handle: *mut Block) {
    // SAFETY: that is what was noted when the handle was made, and is used for the last time.
    unsafe { Box::from_raw(noted::<Watch>(handle)) }.bell.note_closed();
}
