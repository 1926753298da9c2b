//! Who waits for replies: the JavaScript threads that request, and what has come for each of them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::event::{FAILURES, Handle, REPLIES};
use crate::{
    batch::Batch,
    flow::sender::requests::{Abandoned, Failure, Tag, asker_of},
};

/// A JavaScript thread that requests.
pub struct Asker {
    /// Which one: its tags begin with it.
    pub number: u32,
    handle: Arc<dyn Handle>,
    tray: Mutex<Tray>,
}

/// What has come.
#[derive(Default)]
struct Tray {
    replies: VecDeque<Batch>,
    failures: Vec<Failure>,
}

impl Asker {
    /// The next replies, each with its envelope: a tag, and an empty frame. And whether there are more.
    pub fn take(&self) -> Option<(Batch, bool)> {
        let mut tray = self.tray();
        let replies = tray.replies.pop_front()?;
        Some((replies, !tray.replies.is_empty()))
    }

    /// Whoever is told of its replies.
    pub(super) fn handle(&self) -> Arc<dyn Handle> {
        Arc::clone(&self.handle)
    }

    /// Replies to it have come.
    pub(super) fn put(&self, replies: Batch) {
        self.tray().replies.push_back(replies);
        self.handle.raise(REPLIES);
    }

    /// What has failed.
    pub fn take_failures(&self) -> Vec<Failure> {
        std::mem::take(&mut self.tray().failures)
    }

    fn tray(&self) -> MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them that share a pipe.
#[derive(Default)]
pub struct Askers(Mutex<Book>);

#[derive(Default)]
struct Book {
    last: u32,
    askers: HashMap<u32, Arc<Asker>>,
    abandoned: Abandoned,
}

impl Askers {
    /// One more, who is told by `handle`.
    pub fn join(&self, handle: Arc<dyn Handle>) -> Arc<Asker> {
        let mut book = self.book();
        book.last += 1;
        let asker = Arc::new(Asker { number: book.last, handle, tray: Mutex::default() });
        book.askers.insert(asker.number, Arc::clone(&asker));
        asker
    }

    /// The one that there is, if there is only one.
    pub(super) fn only(&self) -> Option<Arc<Asker>> {
        let book = self.book();
        let mut askers = book.askers.values();
        askers.next().filter(|_| askers.next().is_none()).cloned()
    }

    /// It waits for nothing any more. The push end is to be nudged.
    pub fn leave(&self, asker: &Asker) {
        let mut book = self.book();
        book.askers.remove(&asker.number);
        book.abandoned.askers.push(asker.number);
    }

    /// Nobody waits for the replies to these any more. The push end is to be nudged.
    pub fn abandon(&self, tags: &[Tag]) {
        self.book().abandoned.tags.extend(tags);
    }

    /// Takes what was abandoned: requests, and all requests of some askers.
    pub(super) fn take_abandoned(&self) -> Abandoned {
        std::mem::take(&mut self.book().abandoned)
    }

    /// Replies for one of them.
    pub(super) fn deliver(&self, asker: u32, replies: Batch) {
        self.tell(asker, REPLIES, |tray| tray.replies.push_back(replies));
    }

    /// There will be no reply.
    pub(super) fn fail(&self, failure: Failure) {
        self.tell(asker_of(&failure.tag), FAILURES, |tray| tray.failures.push(failure));
    }

    fn tell(&self, asker: u32, bit: u32, put: impl FnOnce(&mut Tray)) {
        let asker = self.book().askers.get(&asker).cloned();
        // One that has left waits for nothing.
        if let Some(asker) = asker {
            put(&mut asker.tray());
            asker.handle.raise(bit);
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
