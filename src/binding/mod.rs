//! The boundary to JavaScript: converts and forwards, decides nothing. The only floor that knows Node, and the only
//! one that may be unsafe.
//!
//! Jobs cross in batches, never one by one; promises are made in JavaScript. What crosses back unasked is one
//! coalesced nudge ([`wake`]), upon which JavaScript comes and takes what is there.

mod allocator;
mod asker;
mod bell;
mod event_loop;
mod loop_bell;
mod memory;
mod native_pipe;
mod options;
mod pull_end;
mod push_end;
mod shared_word;
mod slab;
mod stats;
mod wake;
