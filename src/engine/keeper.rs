//! What of a pipe lives on the I/O thread: opens, drains and closes its ends, one request after the other.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::spawn_local,
    time::{Instant, sleep, sleep_until},
};

use super::{
    ends::Ends,
    event::{Callback, Event, Handle, Pattern, Side, TIDY, Tally},
    in_use, io_thread,
    pipe::{Alarm, Call, Pipe},
};
use crate::{config::Config, error::Error};

/// For the clock; it overflows on much more.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// How often a pipe that closes looks how far its own consumers are with what it has sent to itself.
const OWN_LOOK: Duration = Duration::from_millis(10);

/// How long it may take the system to say that it has sent everything.
const SENT_LOOK: Duration = Duration::from_millis(20);

/// The pipe that all threads of the process share, while there is one.
static DEFAULT: Mutex<Option<Arc<Pipe>>> = Mutex::new(None);

/// A pipe of its own with its first user; its ends are opened by [`Pipe::open`].
pub fn open(config: Config, handle: Arc<dyn Handle>) -> Result<Arc<Pipe>, Error> {
    let (pipe, calls) = Pipe::new(config, handle);
    let own = Arc::clone(&pipe);
    io_thread::run(move || {
        in_use::register(&own);
        spawn_local(Keeper::new(own).keep(calls));
    })?;
    Ok(pipe)
}

/// The pipe that all threads share, with one more user; made by the first who asks, and again after it was closed.
pub fn shared(config: Config, handle: Arc<dyn Handle>) -> Result<Arc<Pipe>, Error> {
    let mut shared = DEFAULT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pipe) = shared.as_ref().filter(|pipe| pipe.attach(&handle)) {
        return Ok(Arc::clone(pipe));
    }
    Ok(Arc::clone(shared.insert(open(config, handle)?)))
}

/// What of a pipe lives on the I/O thread: does what is asked, one thing after the other.
struct Keeper {
    pipe: Arc<Pipe>,
    pipeline: Ends,
    requests: Ends,
}

impl Keeper {
    fn new(pipe: Arc<Pipe>) -> Self {
        Self {
            pipeline: Ends::new(Arc::clone(&pipe), Pattern::Pipeline),
            requests: Ends::new(Arc::clone(&pipe), Pattern::Requests),
            pipe,
        }
    }

    async fn keep(mut self, mut calls: mpsc::UnboundedReceiver<Call>) {
        let _alarm = Alarm(Arc::clone(&self.pipe));
        let tidying = spawn_local(tidy(Arc::clone(&self.pipe)));
        let (mut tally, mut closers) = (Tally::default(), Vec::new());
        while let Some(call) = calls.recv().await {
            match call {
                Call::Open(side, callback) => {
                    callback.send(self.ends(side).open(side).await.map(|()| Tally::default()));
                }
                Call::Drain(before, callback) => self.pipeline.drain(before, callback),
                Call::AwaitSent(callback) => self.await_sent(callback),
                Call::Orphaned if self.pipe.handles().is_empty() => self.orphan(),
                Call::Drained if self.pipe.undelivered() == 0 && self.pipe.give_away() => {
                    tally = self.close(None, &mut calls, &mut closers).await;
                    break;
                }
                // Somebody has taken it over meanwhile.
                Call::Orphaned | Call::Drained => {}
                Call::Close(linger, callback) => {
                    self.pipe.tell(&Event::Closing);
                    closers.push(callback);
                    tally = self.close(linger, &mut calls, &mut closers).await;
                    break;
                }
            }
        }
        calls.close();
        while let Some(call) = calls.recv().await {
            call.refuse();
        }
        // Whoever is answered finds the end in the mail before.
        self.pipe.end(tally);
        closers.into_iter().for_each(|callback| callback.send(Ok(tally)));
        // Nobody waits for connections to end in order, but who listens hears of it.
        self.pipe.parted().await;
        tidying.abort();
        // No more passes, and users are out of reach once they know that.
        if self.pipe.traffic.is_untidied() {
            give_memory_back(&self.pipe);
        }
        self.pipe.tell(&Event::Parted);
    }

    fn ends(&mut self, side: Side) -> &mut Ends {
        match side.pattern() {
            Pattern::Pipeline => &mut self.pipeline,
            Pattern::Requests => &mut self.requests,
        }
    }

    /// Nobody is left to take jobs, so pull ends go at once; push ends first deliver what they have.
    fn orphan(&mut self) {
        self.pipeline.leave_pull();
        self.requests.leave_pull();
        let drained = |ends: &Ends| {
            let pipe = Arc::clone(&self.pipe);
            ends.drain(u64::MAX, Callback::new(move |_| pipe.call(Call::Drained)));
        };
        drained(&self.pipeline);
        drained(&self.requests);
    }

    /// Delivers for at most `linger`, which a later call may shorten, and closes. Those who asked are to be answered then;
    /// they are answered here as soon as nothing but this pipe's own consumers can go on with it: one of them may be who waits for the answer.
    async fn close(
        &mut self,
        linger: Option<Duration>,
        calls: &mut mpsc::UnboundedReceiver<Call>,
        closers: &mut Vec<Callback>,
    ) -> Tally {
        let mut until = deadline(linger);
        self.deliver(&mut until, calls, closers).await;
        let sending = self.send(until, calls, closers).await;
        let (jobs, requests) = (self.pipeline.close(), self.requests.close());
        // Whoever is told of the close may bind the same addresses.
        self.pipeline.unbound().await;
        self.requests.unbound().await;
        Tally {
            given_up: jobs.given_up + requests.given_up,
            dropped: jobs.dropped + requests.dropped,
            sending,
        }
    }

    /// Resolves when everything is delivered, or it is time to give up.
    async fn deliver(
        &self,
        until: &mut Instant,
        calls: &mut mpsc::UnboundedReceiver<Call>,
        closers: &mut Vec<Callback>,
    ) {
        // In rounds: threads that have not heard of the close yet may still be sending.
        let mut drained = None;
        while !(self.pipeline.are_finished() && self.requests.are_finished()) {
            let drained = drained.get_or_insert_with(|| Box::pin(self.drained()));
            if self.pipeline.depend_on_themselves() && self.requests.depend_on_themselves() {
                closers.drain(..).for_each(|callback| callback.send(Ok(Tally::default())));
            }
            let are_both_open = self.pipeline.are_both_open() || self.requests.are_both_open();
            tokio::select! {
                () = &mut *drained => *drained = Box::pin(self.drained()),
                () = sleep(OWN_LOOK), if are_both_open => {}
                () = sleep_until(*until) => break,
                call = calls.recv() => match call {
                    Some(call) => self.obey_closing(call, until, closers),
                    None => break,
                },
            }
        }
    }

    /// Resolves when the system has sent what is delivered, or it is time to give up: to how many peers it has not.
    async fn send(
        &self,
        mut until: Instant,
        calls: &mut mpsc::UnboundedReceiver<Call>,
        closers: &mut Vec<Callback>,
    ) -> u64 {
        let mut sent = pin!(self.pipeline.sent());
        loop {
            tokio::select! {
                () = &mut sent => return 0,
                // Nobody waits so briefly that it can't be asked.
                () = sleep_until(until.max(Instant::now() + SENT_LOOK)) => break,
                call = calls.recv() => match call {
                    Some(call) => self.obey_closing(call, &mut until, closers),
                    None => break,
                },
            }
        }
        self.pipe.pipeline.push.sending() as u64
    }

    /// What may still be asked of a pipe that closes.
    fn obey_closing(&self, call: Call, until: &mut Instant, closers: &mut Vec<Callback>) {
        match call {
            Call::Close(shorter, callback) => {
                *until = (*until).min(deadline(shorter));
                closers.push(callback);
            }
            Call::Drain(before, callback) => self.pipeline.drain(before, callback),
            Call::AwaitSent(callback) => self.await_sent(callback),
            call => call.refuse(),
        }
    }

    /// Answers when the system has sent what is delivered.
    fn await_sent(&self, callback: Callback) {
        let sent = self.pipeline.sent();
        spawn_local(async move {
            sent.await;
            callback.send(Ok(Tally::default()));
        });
    }

    /// Resolves when all that was sent so far is delivered, and answered.
    async fn drained(&self) {
        tokio::join!(self.pipeline.drained(), self.requests.drained());
    }
}

/// Has this thread and those of all users give memory back whenever it has become quiet.
async fn tidy(pipe: Arc<Pipe>) {
    loop {
        pipe.traffic.quiet().await;
        give_memory_back(&pipe);
    }
}

fn give_memory_back(pipe: &Pipe) {
    pipe.traffic.note_tidied();
    let any = pipe.handles().first().cloned();
    if let Some(handle) = any {
        handle.tidy();
    }
    pipe.raise(TIDY);
}

/// When a linger that begins now is over.
fn deadline(linger: Option<Duration>) -> Instant {
    let now = Instant::now();
    // Decades from now is for ever.
    linger.and_then(|linger| now.checked_add(linger)).unwrap_or(now + FOR_EVER).min(now + FOR_EVER)
}
