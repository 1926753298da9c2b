//! A pipe: its two ends, who uses it, and the order in which things are done to it.

use std::{
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::spawn_local,
    time::{Instant, sleep_until},
};

use super::{
    dialer::dial,
    event::{Event, Handle, Reply, Side, Tally},
    io_thread,
    link::End,
    listener::listen,
    pull_end::{PullEnd, PullPort},
    push_end::{PushEnd, PushPort},
    transport::Listener,
};
use crate::{
    config::{Config, Sites},
    endpoint::Endpoint,
    error::{Error, code},
};

/// A pipe as every thread sees it.
pub struct Pipe {
    /// What it was asked to be.
    pub config: Config,
    /// Where jobs go out.
    pub push: PushPort,
    /// Where jobs come in.
    pub pull: PullPort,
    handles: Mutex<Vec<Arc<dyn Handle>>>,
    requests: mpsc::UnboundedSender<Request>,
    is_closed: AtomicBool,
}

enum Request {
    Open(Side, Reply),
    Drain(Reply),
    Close(Option<Duration>, Reply),
    /// The last user is gone.
    Orphaned,
    /// Everything is delivered that was there when the last user went.
    Drained,
}

/// For the clock; it overflows on much more.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The pipe that all threads of the process share, while there is one.
static DEFAULT: Mutex<Option<Arc<Pipe>>> = Mutex::new(None);

impl Pipe {
    /// A pipe of its own with its first user, not opened yet.
    pub fn new(config: Config, handle: Arc<dyn Handle>) -> Result<Arc<Self>, Error> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let pipe = Arc::new(Self {
            config,
            push: PushPort::default(),
            pull: PullPort::default(),
            handles: Mutex::new(vec![handle]),
            requests,
            is_closed: AtomicBool::new(false),
        });
        let own = Arc::clone(&pipe);
        io_thread::run(move || {
            spawn_local(Keeper::new(own).keep(receiver));
        })?;
        Ok(pipe)
    }

    /// The pipe that all threads share, with one more user; made by the first who asks, and again after it was closed.
    pub fn shared(config: Config, handle: Arc<dyn Handle>) -> Result<Arc<Self>, Error> {
        let mut shared = DEFAULT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipe) = shared.as_ref().filter(|pipe| pipe.attach(&handle)) {
            return Ok(Arc::clone(pipe));
        }
        Ok(Arc::clone(shared.insert(Self::new(config, handle)?)))
    }

    /// One more user, who is told events from now on; false if the pipe is closed, or about to be.
    fn attach(&self, handle: &Arc<dyn Handle>) -> bool {
        let mut handles = self.handles();
        if self.is_closed() {
            return false;
        }
        handles.push(Arc::clone(handle));
        true
    }

    /// A user is gone. A pipe without users delivers what it has accepted, and closes.
    pub fn detach(&self, handle: &Arc<dyn Handle>) {
        let mut handles = self.handles();
        handles.retain(|other| !Arc::ptr_eq(other, handle));
        if handles.is_empty() {
            self.request(Request::Orphaned);
        }
    }

    /// Whether nobody uses it; then nobody will any more.
    fn give_away(&self) -> bool {
        let handles = self.handles();
        if handles.is_empty() {
            self.is_closed.store(true, SeqCst);
        }
        handles.is_empty()
    }

    /// Opens an end, if it isn't open: answers when every bind listens. After a failure it can be tried again.
    pub fn open(&self, side: Side, reply: Reply) {
        self.request(Request::Open(side, reply));
    }

    /// Answers when everything that was sent so far is delivered.
    pub fn drain(&self, reply: Reply) {
        self.request(Request::Drain(reply));
    }

    /// Closes both ends, after delivering for at most `linger` (`None`: for as long as it takes). Answers with
    /// what became of the rest.
    pub fn close(&self, linger: Option<Duration>, reply: Reply) {
        let handles = self.handles();
        self.is_closed.store(true, SeqCst);
        drop(handles);
        self.request(Request::Close(linger, reply));
    }

    /// Whether it is closed, or about to be.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(SeqCst)
    }

    /// Tells all users.
    pub(super) fn tell(&self, event: &Event) {
        self.handles().iter().for_each(|handle| handle.tell(event));
    }

    /// Asks all users to look.
    pub(super) fn raise(&self, bits: u32) {
        self.handles().iter().for_each(|handle| handle.raise(bits));
    }

    fn request(&self, request: Request) {
        if let Err(too_late) = self.requests.send(request) {
            refuse(too_late.0);
        }
    }

    fn handles(&self) -> std::sync::MutexGuard<'_, Vec<Arc<dyn Handle>>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by the tasks that a pipe can't live without. If one of them panics, which is a bug of ours, users are told that
/// the pipe is closed instead of waiting for ever.
pub(super) struct Alarm(pub(super) Arc<Pipe>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = Error::new(
                code::INTERNAL,
                "a task of the engine failed (a bug of zeropipe): the pipe is closed",
            );
            self.0.is_closed.store(true, SeqCst);
            self.0.tell(&Event::Refused { side: Side::Push, address: String::new(), error });
            self.0.tell(&Event::Closed);
        }
    }
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
        while let Some(request) = requests.recv().await {
            match request {
                Request::Open(side, reply) => reply.send(self.open(side).await.map(|()| Tally::default())),
                Request::Drain(reply) => match &self.push {
                    Some(push) => push.drain(reply),
                    None => reply.send(Ok(Tally::default())),
                },
                Request::Orphaned if self.pipe.handles().is_empty() => self.orphan(),
                Request::Drained if self.pipe.push.waiting() == 0 && self.pipe.give_away() => {
                    self.close(None, &mut requests).await;
                    break;
                }
                // Somebody has taken it over meanwhile.
                Request::Orphaned | Request::Drained => {}
                Request::Close(linger, reply) => {
                    self.pipe.tell(&Event::Closing);
                    let tally = self.close(linger, &mut requests).await;
                    reply.send(Ok(tally));
                    break;
                }
            }
        }
        requests.close();
        while let Some(request) = requests.recv().await {
            refuse(request);
        }
        self.pipe.tell(&Event::Closed);
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
            Some(push) => push.drain(drained),
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

    /// Delivers for at most `linger`, which a later request may shorten, and closes.
    async fn close(
        &mut self,
        linger: Option<Duration>,
        requests: &mut mpsc::UnboundedReceiver<Request>,
    ) -> Tally {
        let mut others = Vec::new();
        let mut until = deadline(linger);
        if let Some(push) = &self.push {
            // In rounds: threads that have not heard of the close yet may still be sending.
            while self.pipe.push.waiting() > 0 {
                let (waits, drained) = oneshot::channel::<()>();
                push.drain(Reply::new(move |_| drop(waits)));
                tokio::select! {
                    _ = drained => {}
                    () = sleep_until(until) => break,
                    request = requests.recv() => match request {
                        Some(Request::Close(shorter, reply)) => {
                            until = until.min(deadline(shorter));
                            others.push(reply);
                        }
                        Some(Request::Drain(reply)) => push.drain(reply),
                        Some(request) => refuse(request),
                        None => break,
                    },
                }
            }
        }
        // Links that are about to join see that it is over.
        self.stop_push.send_replace(true);
        self.stop_pull.send_replace(true);
        let given_up = self.push.as_ref().map_or(0, |push| push.close());
        let dropped = self.pull.as_ref().map_or(0, |pull| pull.close());
        self.pipe.push.bound.write(Vec::clear);
        self.pipe.pull.bound.write(Vec::clear);
        let tally = Tally { given_up, dropped };
        others.into_iter().for_each(|reply| reply.send(Ok(tally)));
        tally
    }
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

fn refuse(request: Request) {
    let closed = Err(Error::new(code::CLOSED, "the pipe is closed"));
    match request {
        // Closing what is closed is no mistake.
        Request::Close(_, reply) => reply.send(Ok(Tally::default())),
        Request::Open(_, reply) | Request::Drain(reply) => reply.send(closed),
        Request::Orphaned | Request::Drained => {}
    }
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
