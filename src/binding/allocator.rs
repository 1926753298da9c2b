//! The allocator of all that is Rust's here: what it is told, and asked.

use std::{cell::Cell, ffi::c_long, sync::Once};

use libmimalloc_sys::{mi_collect, mi_option_set_default, mi_option_t};

/// 1.2 to 1.9 times the throughput of the system's allocator on the job path (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// After so many milliseconds memory that is not used is given back: `purge_delay` in mimalloc's list of options (`options.c`), which is
/// the same in all releases of version 2. Its own 10 ms have slabs given back and fetched again all the time; what is left over when
/// things are quiet goes back by [`give_back`].
const PURGE_DELAY: (mi_option_t, c_long) = (15, 1000);

/// Tells it what it is to know before there is much to do.
pub(super) fn set_up() {
    static ONCE: Once = Once::new();
    // SAFETY: not thread safe, says the documentation: two threads must not set options at once, which `Once` sees to. Those that
    // read one at the same time read an int that is the old one or the new one.
    ONCE.call_once(|| unsafe { mi_option_set_default(PURGE_DELAY.0, PURGE_DELAY.1) });
}

/// Gives back what this thread does not use any more: what others have freed that was allocated here as well.
pub(super) fn give_back() {
    // SAFETY: it may be called at any time, by any thread.
    unsafe { mi_collect(true) };
}

/// So much of what closed pipes leave behind is worth giving back.
const MUCH: usize = 8 << 20;

/// So many bytes of a pipe's own were freed on this thread, by its garbage collector: long after anything passed, so that nothing else
/// would give them back.
pub(super) fn note_freed(bytes: usize) {
    thread_local!(static FREED: Cell<usize> = const { Cell::new(0) });
    let freed = FREED.get() + bytes;
    FREED.set(freed % MUCH);
    if freed >= MUCH {
        give_back();
    }
}
