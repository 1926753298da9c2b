//! A word of memory that JavaScript and the I/O thread both see, for what is asked too often to cross for it.

use std::sync::{Arc, atomic::AtomicU32};

use napi::{Env, Result, bindgen_prelude::Uint32ArraySlice};

/// A view of the word, to be read and written as `view[0]`. It keeps the word alive.
///
/// Lend each word once: V8 takes the same memory no second time. A runtime without external memory (Electron) gets a
/// copy that never changes, which is wrong for our purposes: such runtimes are not supported yet.
pub fn view(env: &Env, word: &Arc<AtomicU32>) -> Result<Uint32ArraySlice<'static>> {
    let (pointer, owner) = (word.as_ptr(), Arc::clone(word));
    // SAFETY: the pointer is that of a live, aligned u32 which `owner`, dropped by the finalizer, keeps alive for as
    // long as the view. Both sides only ever load and store the whole word; on Rust's side these are atomic.
    unsafe { Uint32ArraySlice::from_external(env, pointer, 1, owner, |_, owner| drop(owner)) }
}
