//! Somebody who uses a pipe as the JavaScript half does, with futures in place of promises.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use tokio::sync::{oneshot, watch};
use zeropipe::{
    batch::{Batch, Builder, Place},
    config::Config,
    engine::{
        asker::Asker,
        consumer::{Consumer, Taken, word},
        event::{Callback, Event, Handle, Side, Tally},
        keeper,
        pipe::Pipe,
    },
    error::Error,
    flow::sender::requests::{Failure, Tag},
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
    /// Who asks, and what has come for it; who answers, and how many requests it has taken.
    pub asker: Arc<Asker>,
    answers: Mutex<HashMap<Tag, Answer>>,
    replier: Arc<Consumer>,
    taken: AtomicU64,
}

/// What became of a request: the frames of the reply, or why there is none.
pub type Answer = Result<Vec<Vec<u8>>, Failure>;

impl User {
    pub fn new(config: Config) -> Self {
        let ear = Arc::new(Ear::default());
        let pipe = keeper::open(config, ear.clone()).expect("the I/O thread runs");
        let consumer = pipe.pipeline.pull.join(ear.clone(), None, true);
        let asker = pipe.requests.askers.join(ear.clone());
        let replier = pipe.requests.pull.join(ear.clone(), None, false);
        let (answers, taken) = (Mutex::default(), AtomicU64::new(0));
        Self { pipe, ear, consumer, asker, answers, replier, taken }
    }

    /// Opens an end; returns where it listens, if it does.
    pub async fn open(&self, side: Side) -> Option<String> {
        self.ask(|reply| self.pipe.open(side, reply)).await.expect("it opens");
        let bound = match side {
            Side::Push => self.pipe.pipeline.push.bound.read(),
            Side::Pull => self.pipe.pipeline.pull.bound.read(),
            Side::Request => self.pipe.requests.push.bound.read(),
            Side::Reply => self.pipe.requests.pull.bound.read(),
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
        self.pipe.pipeline.push.send(batch, true).expect("the end is open");
    }

    /// The next jobs; it is done with all before them, and begins with all of them.
    pub async fn pull(&self) -> Taken {
        let words = &self.consumer.words;
        words[word::DONE].store(words[word::BEGUN].load(SeqCst), SeqCst);
        let taken = self.until(|| self.pipe.pipeline.pull.take(&self.consumer, 1)).await;
        words[word::BEGUN].fetch_add(taken.jobs as u32, SeqCst);
        taken
    }

    /// The envelope of a request of ours.
    pub fn tag(&self, number: u32) -> Tag {
        let mut tag = [0; 12];
        tag[..4].copy_from_slice(&self.asker.number.to_be_bytes());
        tag[4..8].copy_from_slice(&number.to_be_bytes());
        tag[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
        tag
    }

    /// Sends a request.
    pub fn request(&self, tag: Tag, body: &[impl AsRef<[u8]>]) {
        let envelope = [&tag[..], b""];
        let request = message(envelope.into_iter().chain(body.iter().map(AsRef::as_ref)));
        self.pipe.requests.push.send(request, true).expect("the end is open");
    }

    /// What became of a request.
    pub async fn answer(&self, tag: Tag) -> Answer {
        self.until(|| {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            while let Some((replies, _)) = self.asker.take() {
                let mut at = Place::default();
                while let Some((reply, next)) = replies.job(at) {
                    let mut frames = reply.frames().map(|(bytes, _)| bytes.to_vec());
                    let tag = frames.next().and_then(|tag| tag.try_into().ok()).expect("a tag");
                    assert_eq!(frames.next(), Some(vec![]));
                    assert!(answers.insert(tag, Ok(frames.collect())).is_none(), "two replies");
                    at = next;
                }
            }
            for failure in self.asker.take_failures() {
                assert!(answers.insert(failure.tag, Err(failure)).is_none(), "two answers");
            }
            answers.remove(&tag)
        })
        .await
    }

    /// Takes the next requests, at least one, and replies to each: the envelope, and what `reply` makes of the body. How many.
    pub async fn serve(&self, mut reply: impl FnMut(Vec<&[u8]>) -> Vec<Vec<u8>>) -> usize {
        let taken = self.until(|| self.pipe.requests.pull.take(&self.replier, 1)).await;
        self.replier.words[word::BEGUN].fetch_add(taken.jobs as u32, SeqCst);
        for request in taken.iter() {
            let frames: Vec<&[u8]> = request.frames().map(|(bytes, _)| bytes).collect();
            let delimiter = frames.iter().position(|frame| frame.is_empty()).expect("an envelope");
            let (envelope, body) = frames.split_at(delimiter + 1);
            let body = reply(body.to_vec());
            let reply = message(envelope.iter().copied().chain(body.iter().map(Vec::as_slice)));
            let number = self.taken.fetch_add(1, SeqCst);
            self.pipe.requests.pull.reply(&self.replier, &[number], reply);
        }
        self.pipe.requests.pull.told(&self.replier);
        taken.jobs
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

/// A batch of one message.
fn message<'a>(frames: impl Iterator<Item = &'a [u8]>) -> Batch {
    let mut builder = Builder::default();
    let mut frames = frames.peekable();
    while let Some(frame) = frames.next() {
        builder.slab().extend_from_slice(frame);
        builder.end_frame(frames.peek().is_some());
    }
    builder.take().expect("a message has frames")
}
