//! What of a pipe lives on the I/O thread: opens, drains and closes its ends, one request after the other.

use std::{
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::spawn_local,
    time::{Instant, sleep, sleep_until},
};

use super::{
    dialer::dial,
    event::{Event, Handle, Reply, Side, Tally},
    io_thread,
    link::End,
    listener::listen,
    pipe::{Alarm, Pipe, Request},
    pull_end::PullEnd,
    push_end::PushEnd,
    transport::Listener,
};
use crate::{
    config::{Config, Sites},
    endpoint::Endpoint,
    error::{Error, code},
};

/// For the clock; it overflows on much more.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// How often a pipe that closes looks how far its own consumers are with what it has sent to itself.
const OWN_LOOK: Duration = Duration::from_millis(10);

/// The pipe that all threads of the process share, while there is one.
static DEFAULT: Mutex<Option<Arc<Pipe>>> = Mutex::new(None);

/// A pipe of its own with its first user; its ends are opened by [`Pipe::open`].
pub fn open(config: Config, handle: Arc<dyn Handle>) -> Result<Arc<Pipe>, Error> {
    let (pipe, requests) = Pipe::new(config, handle);
    let own = Arc::clone(&pipe);
    io_thread::run(move || {
        spawn_local(Keeper::new(own).keep(requests));
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
    push: Option<Rc<PushEnd>>,
    pull: Option<Rc<PullEnd>>,
    /// Ends listeners, dialers and handshakes.
    stop_push: watch::Sender<bool>,
    stop_pull: watch::Sender<bool>,
}

impl Keeper {
    fn new(pipe: Arc<Pipe>) -> Self {
        Self {
            pipe,
            push: None,
            pull: None,
            stop_push: watch::Sender::new(false),
            stop_pull: watch::Sender::new(false),
        }
    }

    async fn keep(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let _alarm = Alarm(Arc::clone(&self.pipe));
        let (mut tally, mut replies) = (Tally::default(), Vec::new());
        while let Some(request) = requests.recv().await {
            match request {
                Request::Open(side, reply) => reply.send(self.open(side).await.map(|()| Tally::default())),
                Request::Drain(before, reply) => match &self.push {
                    Some(push) => push.drain(before, reply),
                    None => reply.send(Ok(Tally::default())),
                },
                Request::Orphaned if self.pipe.handles().is_empty() => self.orphan(),
                Request::Drained if self.pipe.push.undelivered() == 0 && self.pipe.give_away() => {
                    tally = self.close(None, &mut requests, &mut replies).await;
                    break;
                }
                // Somebody has taken it over meanwhile.
                Request::Orphaned | Request::Drained => {}
                Request::Close(linger, reply) => {
                    self.pipe.tell(&Event::Closing);
                    replies.push(reply);
                    tally = self.close(linger, &mut requests, &mut replies).await;
                    break;
                }
            }
        }
        requests.close();
        while let Some(request) = requests.recv().await {
            request.refuse();
        }
        // Whoever is answered finds the end in the mail before.
        self.pipe.end(tally);
        replies.into_iter().for_each(|reply| reply.send(Ok(tally)));
    }

    async fn open(&mut self, side: Side) -> Result<(), Error> {
        let pipe = Arc::clone(&self.pipe);
        match side {
            Side::Push if self.push.is_none() => {
                let stop = self.stop_push.subscribe();
                let listeners = bind(&pipe.config.push).await?;
                let end = PushEnd::start(Arc::clone(&pipe), stop.clone());
                self.push = Some(Rc::clone(&end));
                let bound = run_sites(&pipe.config.push, listeners, end, &stop);
                pipe.push.bound.write(|list| *list = bound);
            }
            Side::Pull if self.pull.is_none() => {
                let stop = self.stop_pull.subscribe();
                let listeners = bind(&pipe.config.pull).await?;
                let sites = self.reach_own_push(&pipe.config.pull).await?;
                let end = PullEnd::start(Arc::clone(&pipe), stop.clone());
                self.pull = Some(Rc::clone(&end));
                let bound = run_sites(&sites, listeners, end, &stop);
                pipe.pull.bound.write(|list| *list = bound);
            }
            _ => {}
        }
        Ok(())
    }

    /// Nobody is left to take jobs, so the pull end goes at once; the push end first delivers what it has.
    fn orphan(&mut self) {
        if let Some(pull) = self.pull.take() {
            self.stop_pull.send_replace(true);
            pull.close();
            self.stop_pull = watch::Sender::new(false);
            self.pipe.pull.bound.write(Vec::clear);
        }
        let pipe = Arc::clone(&self.pipe);
        let drained = Reply::new(move |_| pipe.request(Request::Drained));
        match &self.push {
            Some(push) => push.drain(u64::MAX, drained),
            None => drained.send(Ok(Tally::default())),
        }
    }

    /// A port that the system chooses can only be meant as the one that our own push end got: so that end opens too.
    async fn reach_own_push(&mut self, sites: &Sites) -> Result<Sites, Error> {
        let mut sites = sites.clone();
        for endpoint in sites.connect.iter_mut().filter(|endpoint| endpoint.is_ephemeral()) {
            Box::pin(self.open(Side::Push)).await?;
            let bound = self.pipe.push.bound.read();
            *endpoint = bound.first().ok_or_else(|| unreachable_port(endpoint))?.parse()?;
        }
        Ok(sites)
    }

    /// Delivers for at most `linger`, which a later request may shorten, and closes. Those who asked are to be answered then;
    /// they are answered here as soon as nothing but this pipe's own consumers can go on with it: one of them may be who waits for the answer.
    async fn close(
        &mut self,
        linger: Option<Duration>,
        requests: &mut mpsc::UnboundedReceiver<Request>,
        replies: &mut Vec<Reply>,
    ) -> Tally {
        let mut until = deadline(linger);
        if let Some(push) = self.push.clone() {
            // In rounds: threads that have not heard of the close yet may still be sending.
            let mut drained = None;
            while self.pipe.push.undelivered() > self.own_jobs_in_hand() {
                let drained = drained.get_or_insert_with(|| until_drained(&push));
                if self.pipe.depends_on_itself() {
                    replies.drain(..).for_each(|reply| reply.send(Ok(Tally::default())));
                }
                tokio::select! {
                    _ = &mut *drained => *drained = until_drained(&push),
                    () = sleep(OWN_LOOK), if self.pull.is_some() => {}
                    () = sleep_until(until) => break,
                    request = requests.recv() => match request {
                        Some(Request::Close(shorter, reply)) => {
                            until = until.min(deadline(shorter));
                            replies.push(reply);
                        }
                        Some(Request::Drain(before, reply)) => push.drain(before, reply),
                        Some(request) => request.refuse(),
                        None => break,
                    },
                }
            }
        }
        // Links that are about to join see that it is over.
        self.stop_push.send_replace(true);
        self.stop_pull.send_replace(true);
        let own = self.own_jobs_in_hand() as u64;
        let given_up = self.push.as_ref().map_or(0, |push| push.close()).saturating_sub(own);
        let dropped = self.pull.as_ref().map_or(0, |pull| pull.close());
        self.pipe.push.bound.write(Vec::clear);
        self.pipe.pull.bound.write(Vec::clear);
        self.pipe.push.peers.write(Vec::clear);
        self.pipe.pull.peers.write(Vec::clear);
        Tally { given_up, dropped }
    }

    /// How many jobs that this pipe has sent to itself somebody has begun with: they need it no more.
    fn own_jobs_in_hand(&self) -> usize {
        let (Some(push), Some(_)) = (&self.push, &self.pull) else { return 0 };
        let consumers = self.pipe.pull.consumers();
        let held: usize = consumers.iter().map(|consumer| consumer.in_hand(push.instance())).sum();
        // Two may hold the same job, if it was taken from one of them.
        held.min(self.pipe.push.in_flight())
    }
}

/// Resolves, with an error, when everything sent so far is delivered.
fn until_drained(push: &PushEnd) -> oneshot::Receiver<()> {
    let (waits, drained) = oneshot::channel::<()>();
    push.drain(u64::MAX, Reply::new(move |_| drop(waits)));
    drained
}

/// When a linger that begins now is over.
fn deadline(linger: Option<Duration>) -> Instant {
    let now = Instant::now();
    // Decades from now is for ever.
    linger.and_then(|linger| now.checked_add(linger)).unwrap_or(now + FOR_EVER).min(now + FOR_EVER)
}

fn unreachable_port(endpoint: &Endpoint) -> Error {
    Error::new(code::INVALID_ENDPOINT, format!("{endpoint} is no endpoint to connect to: it needs a port"))
}

/// Binds all or nothing.
async fn bind(sites: &Sites) -> Result<Vec<(Listener, Endpoint)>, Error> {
    let mut listeners = Vec::new();
    for endpoint in &sites.bind {
        listeners.push((Listener::bind(endpoint).await?, endpoint.clone()));
    }
    Ok(listeners)
}

/// Starts to listen and to dial; returns where it listens.
fn run_sites(
    sites: &Sites,
    listeners: Vec<(Listener, Endpoint)>,
    end: Rc<dyn End>,
    stop: &watch::Receiver<bool>,
) -> Vec<String> {
    let mut bound = Vec::new();
    for (listener, endpoint) in listeners {
        let address = listener.address(&endpoint);
        end.tell(Event::Listening { side: end.side(), address: address.clone() });
        bound.push(address);
        spawn_local(listen(listener, endpoint, Rc::clone(&end), stop.clone()));
    }
    for endpoint in &sites.connect {
        spawn_local(dial(endpoint.clone(), Rc::clone(&end), stop.clone()));
    }
    bound
}
