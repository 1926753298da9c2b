//! Words of memory that JavaScript and the I/O thread both see, for what is asked too often to cross for it.

use std::sync::{Arc, atomic::AtomicU32};

use napi::{Env, Result, bindgen_prelude::Uint32ArraySlice};

/// A view of the words, to be read and written as `view[0]` and so on. It keeps them alive.
///
/// Lend them once: V8 takes the same memory no second time. A runtime without external memory (Electron) gets a
/// copy that never changes, which is wrong for our purposes: such runtimes are not supported yet.
pub fn view<const COUNT: usize>(
    env: &Env,
    words: &Arc<[AtomicU32; COUNT]>,
) -> Result<Uint32ArraySlice<'static>> {
    let (pointer, owner) = (words[0].as_ptr(), Arc::clone(words));
    // SAFETY: the pointer is that of the first of `COUNT` live, aligned u32 in a row, which `owner`, dropped by the finalizer,
    // keeps alive for as long as the view. Both sides only ever load and store whole words; on Rust's side these are
    // atomic.
    unsafe { Uint32ArraySlice::from_external(env, pointer, COUNT, owner, |_, owner| drop(owner)) }
}
