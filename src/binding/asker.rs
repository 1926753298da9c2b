//! Replies from the engine to JavaScript.

use std::sync::Arc;

use napi::{
    Env, Result,
    bindgen_prelude::{BufferSlice, Uint8ArraySlice},
};
use napi_derive::napi;

use super::{native_pipe::NativePipe, slab};
use crate::{
    batch::Place,
    engine::asker::Asker,
    flow::sender::requests::{Failure, Tag},
};

/// A request that will have no reply, and why.
#[napi(object, object_from_js = false)]
pub struct NativeFailure {
    /// Which: the rest of its tag.
    pub number: u32,
    pub secret: u32,
    /// Empty if there is none.
    pub code: String,
    pub text: String,
}

#[napi]
impl NativePipe {
    /// What the tags of this thread's requests begin with.
    #[napi(catch_unwind)]
    pub fn asker_number(&self) -> u32 {
        self.asker().number
    }

    /// Where [`NativePipe::replies`] puts what it takes.
    #[napi(catch_unwind)]
    pub fn replies_tray(&self, env: Env) -> Result<Uint8ArraySlice<'static>> {
        self.replies_tray.lend(&env)
    }

    /// Takes the next replies to this thread's requests, each its request's tag, an empty frame, and the reply: see `slab::lend`; the
    /// flag says that there are more. If there are none, no frames are told.
    #[napi(catch_unwind)]
    pub fn replies<'env>(&self, env: &'env Env) -> Result<Option<BufferSlice<'env>>> {
        let Some((batch, has_more)) = self.asker().take() else {
            slab::lend_nothing(&self.replies_tray);
            return Ok(None);
        };
        slab::lend(env, (&batch, Place::default(), batch.jobs()), has_more, &self.replies_tray)
    }

    /// Takes what else has become of them.
    #[napi(catch_unwind)]
    pub fn failures(&self) -> Vec<NativeFailure> {
        let word =
            |tag: &Tag, at: usize| u32::from_be_bytes([tag[at], tag[at + 1], tag[at + 2], tag[at + 3]]);
        let failure = |Failure { tag, code, text }| NativeFailure {
            number: word(&tag, 4),
            secret: word(&tag, 8),
            code,
            text,
        };
        self.asker().take_failures().into_iter().map(failure).collect()
    }

    /// Nobody waits any more for the replies to the requests with these tags, back to back.
    #[napi(catch_unwind)]
    pub fn abandon(&self, tags: &[u8]) {
        let requests = &self.seat.pipe.requests;
        requests.askers.abandon(tags.as_chunks().0);
        requests.push.look();
    }

    fn asker(&self) -> &Arc<Asker> {
        self.seat.asker.get_or_init(|| self.seat.pipe.requests.askers.join(self.seat.wake.clone()))
    }
}
