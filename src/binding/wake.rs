//! How the engine reaches a JavaScript thread: one function, called once however much there is to look at.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use napi::{
    Env, Result,
    bindgen_prelude::{Buffer, Function},
};
use napi_derive::napi;

use super::{allocator, bell::Bell};
use crate::{
    engine::{
        event::{Callback, Event, Handle, MAIL, Side},
        tap::Tap,
    },
    error::{Error, code},
};

/// How many events wait for a busy JavaScript thread at most; then the oldest go. Answers are never dropped.
const MAX_EVENTS: usize = 1024;

/// A JavaScript thread that uses a pipe.
pub struct Wake {
    /// What it has been asked to look at and has not yet.
    bits: Arc<AtomicU32>,
    bell: Bell,
    mail: Mutex<Mailbox>,
}

#[derive(Default)]
struct Mailbox {
    events: VecDeque<Mail>,
    /// Never dropped, as answers are not.
    dead: Vec<Mail>,
    answers: Vec<Mail>,
}

/// An event or an answer.
#[napi(object, object_from_js = false)]
#[derive(Default)]
pub struct Mail {
    /// Which event, or `answer`.
    pub kind: &'static str,
    /// Of an answer: which question. Of an event: 0.
    pub id: u32,
    /// Of the end: jobs that push gave up, and jobs that pull had received from plain peers and nobody began with.
    pub given_up: f64,
    pub dropped: f64,
    /// Of the end: to how many plain peers the system had delivered jobs yet to send.
    pub sending: f64,
    pub side: &'static str,
    pub address: String,
    pub identity: String,
    pub flow: bool,
    /// Of a job that is dead.
    pub job: Vec<Buffer>,
    pub job_id: String,
    pub attempt: u32,
    /// Empty if nothing went wrong.
    pub code: &'static str,
    pub text: String,
}

impl Wake {
    /// Will call `function` on its own thread, by libuv if the runtime has one that works.
    pub fn new(env: &Env, function: &Function<'_, u32, ()>, has_libuv: bool) -> Result<Arc<Self>> {
        let bits = Arc::<AtomicU32>::default();
        let bell = Bell::new(env, function, &bits, has_libuv)?;
        Ok(Arc::new(Self { bits, bell, mail: Mutex::default() }))
    }

    /// What the engine calls with the answer to question `id`, which arrives as mail.
    pub fn answer(self: &Arc<Self>, id: u32) -> Callback {
        let own = Arc::clone(self);
        Callback::new(move |result| {
            let answer = match result {
                Ok(_) => Mail::default(),
                Err(error) => Mail { code: error.code, text: error.text, ..Mail::default() },
            };
            own.mail().answers.push(Mail { kind: "answer", id, ..answer });
            own.raise(MAIL);
        })
    }

    /// Takes what has arrived, events first: what an answer speaks of has been told before.
    pub fn take_mail(&self) -> Vec<Mail> {
        let mut mail = self.mail();
        let (events, dead) = (std::mem::take(&mut mail.events), std::mem::take(&mut mail.dead));
        dead.into_iter().chain(events).chain(mail.answers.drain(..)).collect()
    }

    /// Whether the function keeps the process alive. For the thread of the function alone.
    pub fn hold(&self, env: &Env, hold: bool) -> Result<()> {
        self.bell.hold(env, hold)
    }

    /// Calls nobody any more. For the thread of the function alone.
    pub fn leave(&self) {
        self.bell.close();
    }

    fn mail(&self) -> std::sync::MutexGuard<'_, Mailbox> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle for Wake {
    fn raise(&self, bits: u32) {
        if self.bits.fetch_or(bits, SeqCst) == 0 {
            self.bell.ring();
        }
    }

    fn tell(&self, event: &Event) {
        let mut mail = self.mail();
        if let Event::Dead { .. } = event {
            mail.dead.push(event.into());
        } else {
            if mail.events.len() == MAX_EVENTS {
                mail.events.pop_front();
            }
            mail.events.push_back(event.into());
        }
        drop(mail);
        self.raise(MAIL);
    }

    fn tidy(&self) {
        allocator::give_back();
    }

    fn can_read(&self) -> bool {
        self.bell.can_read()
    }

    fn watch(&self, tap: &Arc<Tap>) {
        self.bell.watch(tap);
    }
}

impl From<&Event> for Mail {
    fn from(event: &Event) -> Self {
        let mail = |kind, side: &Side, address: &str, identity: &str| Self {
            kind,
            side: side.name(),
            address: address.into(),
            identity: identity.into(),
            ..Self::default()
        };
        let because = |mail, error: &Error| Self { code: error.code, text: error.text.clone(), ..mail };
        match event {
            Event::Listening { side, address } => mail("listening", side, address, ""),
            Event::Join { side, address, identity, flow } => {
                Self { flow: *flow, ..mail("join", side, address, identity) }
            }
            Event::Leave { side, address, identity, flow, reason } => {
                because(Self { flow: *flow, ..mail("leave", side, address, identity) }, reason)
            }
            Event::Dead { job, id, attempt, reason } => Self {
                kind: "dead",
                job: job.iter().cloned().map(Buffer::from).collect(),
                job_id: id.clone(),
                attempt: *attempt,
                code: code::JOB_FAILED,
                text: reason.clone(),
                ..Self::default()
            },
            Event::Refused { side, address, error } => because(mail("refused", side, address, ""), error),
            Event::Withheld => Self { kind: "withheld", ..Self::default() },
            Event::Unreachable { side, address, error } => {
                because(mail("unreachable", side, address, ""), error)
            }
            Event::Closing => Self { kind: "closing", ..Self::default() },
            Event::Parted => Self { kind: "parted", ..Self::default() },
            Event::Closed(tally) => Self {
                kind: "closed",
                given_up: tally.given_up as f64,
                dropped: tally.dropped as f64,
                sending: tally.sending as f64,
                ..Self::default()
            },
        }
    }
}
