//! Memory that a JavaScript thread shares with what it calls. To say with each call where the bytes are would cost more than most calls.

use std::{cell::UnsafeCell, rc::Rc, slice};

use napi::{Env, Result, bindgen_prelude::Uint8ArraySlice};

use super::allocator;

/// See the module. It never leaves the thread it was made on.
pub struct Memory(UnsafeCell<Box<[u64]>>);

impl Memory {
    /// So many bytes, or a few more.
    pub fn new(bytes: usize) -> Rc<Self> {
        Rc::new(Self(UnsafeCell::new(vec![0; bytes.div_ceil(size_of::<u64>())].into())))
    }

    /// A view of it, which keeps it alive. Lend it once: V8 takes the same memory no second time. A runtime without external memory
    /// (Electron) gets a copy that nobody reads: such runtimes are not supported yet.
    pub fn lend(self: &Rc<Self>, env: &Env) -> Result<Uint8ArraySlice<'static>> {
        let (start, bytes) = self.all();
        let owner = Rc::clone(self);
        // SAFETY: the bytes are those of a Box that is never replaced, which `owner`, dropped on this thread by the finalizer, keeps
        // alive for as long as the view.
        unsafe { Uint8ArraySlice::from_external(env, start, bytes, owner, |_, owner| drop(owner)) }
    }

    /// A copy of so many bytes from a place on, if there are as many.
    pub fn copy(&self, at: usize, bytes: usize) -> Option<Vec<u8>> {
        self.read(at, bytes, <[u8]>::to_vec)
    }

    /// So many words from a place on, if there are as many, in this machine's order.
    pub fn words(&self, at: usize, words: usize) -> Option<Vec<u32>> {
        self.read(at, words.checked_mul(4)?, |bytes| {
            bytes.as_chunks().0.iter().map(|word| u32::from_ne_bytes(*word)).collect()
        })
    }

    /// So many of JavaScript's numbers from a place on, which are whole, if there are as many.
    pub fn numbers(&self, at: usize, numbers: usize) -> Option<Vec<u64>> {
        self.read(at, numbers.checked_mul(8)?, |bytes| {
            bytes.as_chunks().0.iter().map(|number| f64::from_ne_bytes(*number) as u64).collect()
        })
    }

    /// Writes words to a place, as far as there is memory for them.
    pub fn put_words(&self, at: usize, words: &[u32]) {
        self.write(at, |memory| {
            memory.as_chunks_mut().0.iter_mut().zip(words).for_each(|(own, word)| *own = word.to_ne_bytes())
        });
    }

    /// Writes bytes to a place, as far as there is memory for them.
    pub fn put(&self, at: usize, bytes: &[u8]) {
        self.write(at, |memory| memory.iter_mut().zip(bytes).for_each(|(own, byte)| *own = *byte));
    }

    fn read<T>(&self, at: usize, bytes: usize, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let (start, all) = self.all();
        // SAFETY: the bytes are live, and nobody writes to them while `read` runs: JavaScript runs on this very thread, and none of our
        // own closures calls anything that writes.
        at.checked_add(bytes)
            .filter(|end| *end <= all)
            .map(|_| read(unsafe { slice::from_raw_parts(start.add(at), bytes) }))
    }

    fn write(&self, at: usize, write: impl FnOnce(&mut [u8])) {
        let (start, all) = self.all();
        let at = at.min(all);
        // SAFETY: the same; nobody else reads or writes meanwhile.
        write(unsafe { slice::from_raw_parts_mut(start.add(at), all - at) });
    }

    /// Where it begins, and how many bytes it has.
    fn all(&self) -> (*mut u8, usize) {
        // SAFETY: nobody has a reference to it now, and this one ends before anybody can have another.
        let words = unsafe { &mut *self.0.get() };
        (words.as_mut_ptr().cast(), size_of_val(&**words))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        allocator::note_freed(self.all().1);
    }
}
