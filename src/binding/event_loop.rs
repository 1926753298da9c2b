//! The part of libuv that wakes a thread, or has it watch a connection. Node has it in its own program, where it is found at run time: other runtimes have none that
//! works.

use std::ffi::{c_int, c_void};

use napi::sys::uv_loop_s as Loop;
use once_cell::sync::OnceCell;

/// `UV_ASYNC` and `UV_POLL`: kinds of handles.
pub const ASYNC: c_int = 1;
pub const POLL: c_int = 8;

/// `UV_READABLE`.
pub const READABLE: c_int = 1;

/// A piece of the memory of a handle, which only libuv looks into.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(16))]
pub struct Block([u8; 16]);

/// What libuv calls on the thread that a handle belongs to.
pub type Callback = unsafe extern "C" fn(*mut Block);

/// The same, with what has gone wrong and what has happened.
pub type PollCallback = unsafe extern "C" fn(*mut Block, c_int, c_int);

/// Functions of libuv. <https://docs.libuv.org/en/v1.x/async.html>, <https://docs.libuv.org/en/v1.x/poll.html>
#[derive(Debug, Clone, Copy)]
pub struct EventLoop {
    handle_size: unsafe extern "C" fn(c_int) -> usize,
    /// Puts a handle into a loop, which it keeps running. For the thread of the loop, as all but the last of these.
    pub async_init: unsafe extern "C" fn(*mut Loop, *mut Block, Callback) -> c_int,
    /// The same for one that watches a descriptor.
    pub poll_init: unsafe extern "C" fn(*mut Loop, *mut Block, c_int) -> c_int,
    /// Has the callback called whenever something can be done.
    pub poll_start: unsafe extern "C" fn(*mut Block, c_int, PollCallback) -> c_int,
    /// Notes something of one's own in a handle.
    pub set_data: unsafe extern "C" fn(*mut Block, *mut c_void),
    /// What was noted.
    pub data: unsafe extern "C" fn(*const Block) -> *mut c_void,
    /// The handle keeps its loop running.
    pub hold: unsafe extern "C" fn(*mut Block),
    /// It does not.
    pub release: unsafe extern "C" fn(*mut Block),
    /// Takes the handle out of its loop, and calls back once its memory is not used any more.
    pub close: unsafe extern "C" fn(*mut Block, Callback),
    /// Has the callback called, once for many calls. For any thread, until the handle is closed.
    pub send: unsafe extern "C" fn(*mut Block) -> c_int,
}

impl EventLoop {
    /// What the program that runs has of it.
    pub fn find() -> Option<&'static Self> {
        static FOUND: OnceCell<Option<EventLoop>> = OnceCell::new();
        FOUND.get_or_init(Self::search).as_ref()
    }

    fn search() -> Option<Self> {
        #[cfg(unix)]
        let program = libloading::os::unix::Library::this();
        #[cfg(windows)]
        let program = libloading::os::windows::Library::this().ok()?;
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: by these names libuv has functions of these types, in all of its version 1; and the program that
                // they are a part of is never unloaded.
                *unsafe { program.get($name) }.ok()?
            };
        }
        Some(Self {
            handle_size: function!(b"uv_handle_size\0"),
            async_init: function!(b"uv_async_init\0"),
            poll_init: function!(b"uv_poll_init\0"),
            poll_start: function!(b"uv_poll_start\0"),
            set_data: function!(b"uv_handle_set_data\0"),
            data: function!(b"uv_handle_get_data\0"),
            hold: function!(b"uv_ref\0"),
            release: function!(b"uv_unref\0"),
            close: function!(b"uv_close\0"),
            send: function!(b"uv_async_send\0"),
        })
    }

    /// Memory for a handle of a kind.
    pub fn memory(&self, kind: c_int) -> Box<[Block]> {
        // SAFETY: it only tells a number.
        let size = unsafe { (self.handle_size)(kind) };
        vec![Block::default(); size.div_ceil(size_of::<Block>())].into()
    }
}
