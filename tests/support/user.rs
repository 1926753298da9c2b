//! Somebody who uses a pipe as the JavaScript half does, with futures in place of promises.

use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering::SeqCst};

use tokio::sync::{oneshot, watch};
use zeropipe::{
    batch::Batch,
    config::Config,
    engine::{
        consumer::{Consumer, Taken, word},
        event::{Callback, Event, Handle, Side, Tally},
        keeper,
        pipe::Pipe,
    },
    error::Error,
};

/// What the engine has told, and a bell that rings when it tells or asks anything.
#[derive(Default)]
struct Ear {
    events: Mutex<Vec<Event>>,
    bell: watch::Sender<()>,
}

impl Handle for Ear {
    fn raise(&self, _: u32) {
        self.bell.send_replace(());
    }

    fn tell(&self, event: &Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
        self.bell.send_replace(());
    }
}

/// A pipe and its only user.
pub struct User {
    pub pipe: Arc<Pipe>,
    ear: Arc<Ear>,
    consumer: Arc<Consumer>,
}

impl User {
    pub fn new(config: Config) -> Self {
        let ear = Arc::new(Ear::default());
        let pipe = keeper::open(config, ear.clone()).expect("the I/O thread runs");
        let consumer = pipe.pipeline.pull.join(ear.clone(), None, true);
        Self { pipe, ear, consumer }
    }

    /// Opens an end; returns where it listens, if it does.
    pub async fn open(&self, side: Side) -> Option<String> {
        self.ask(|reply| self.pipe.open(side, reply)).await.expect("it opens");
        let bound = match side {
            Side::Push => self.pipe.pipeline.push.bound.read(),
            Side::Pull => self.pipe.pipeline.pull.bound.read(),
            Side::Request | Side::Reply => unimplemented!("no test of requests needs it"),
        };
        bound.into_iter().next()
    }

    /// Sends jobs as soon as there is room for them.
    pub async fn push(&self, batch: Batch) {
        let fits = || {
            let room = self.pipe.pipeline.push.room(&self.pipe.config);
            room.is_empty || room.jobs >= batch.jobs() && room.cost >= batch.cost()
        };
        self.until(|| {
            let fits = fits() || {
                self.pipe.pipeline.push.await_room();
                fits()
            };
            fits.then_some(())
        })
        .await;
        self.pipe.pipeline.push.send(batch).expect("the end is open");
    }

    /// The next jobs; it is done with all before them, and begins with all of them.
    pub async fn pull(&self) -> Taken {
        let words = &self.consumer.words;
        words[word::DONE].store(words[word::BEGUN].load(SeqCst), SeqCst);
        let taken = self.until(|| self.pipe.pipeline.pull.take(&self.consumer, 1)).await;
        words[word::BEGUN].fetch_add(taken.jobs as u32, SeqCst);
        taken
    }

    /// The first event that `select` takes, of all that were told.
    pub async fn event<T>(&self, mut select: impl FnMut(&Event) -> Option<T>) -> T {
        self.until(|| self.events().iter().find_map(&mut select)).await
    }

    /// All that was told.
    pub fn events(&self) -> Vec<Event> {
        self.ear.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until everything sent is delivered.
    pub async fn drain(&self) {
        self.ask(|reply| self.pipe.drain(reply)).await.expect("it drains");
    }

    /// Delivers and closes; nothing may be given up.
    pub async fn close(&self) {
        assert_eq!(self.ask(|reply| self.pipe.close(None, reply)).await, Ok(Tally::default()));
    }

    async fn ask(&self, question: impl FnOnce(Callback)) -> Result<Tally, Error> {
        let (sender, receiver) = oneshot::channel();
        question(Callback::new(move |answer| sender.send(answer).expect("somebody waits for the answer")));
        receiver.await.expect("every question is answered")
    }

    async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        let mut bell = self.ear.bell.subscribe();
        loop {
            if let Some(found) = look() {
                return found;
            }
            bell.changed().await.expect("the ear holds the sender");
        }
    }
}
