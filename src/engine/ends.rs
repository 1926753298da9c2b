//! The two ends of one pattern of a pipe, as far as they are open.

use std::{env::consts::OS, rc::Rc, sync::Arc};

use tokio::{
    sync::{oneshot, watch},
    task::{JoinHandle, spawn_local},
};

use super::{
    dialer::dial,
    event::{Callback, Event, Pattern, Side, Tally},
    in_use,
    link::End,
    listener::listen,
    peer::Board,
    pipe::Pipe,
    ports::Ports,
    pull_end::PullEnd,
    push_end::PushEnd,
    transport::{self, Listener},
};
use crate::{
    config::Sites,
    endpoint::Endpoint,
    error::{Error, code},
};

/// See the module.
pub struct Ends {
    pipe: Arc<Pipe>,
    pattern: Pattern,
    push: Option<Rc<PushEnd>>,
    pull: Option<Rc<PullEnd>>,
    /// End listeners, dialers and handshakes.
    stop_push: watch::Sender<bool>,
    stop_pull: watch::Sender<bool>,
    /// They own what is bound.
    listeners: Vec<JoinHandle<()>>,
}

impl Ends {
    /// None open yet.
    pub fn new(pipe: Arc<Pipe>, pattern: Pattern) -> Self {
        Self {
            pipe,
            pattern,
            push: None,
            pull: None,
            stop_push: watch::Sender::new(false),
            stop_pull: watch::Sender::new(false),
            listeners: Vec::new(),
        }
    }

    fn ports(&self) -> &Ports {
        self.pipe.ports(self.pattern)
    }

    /// Opens one, if it isn't open: all or nothing.
    pub async fn open(&mut self, side: Side) -> Result<(), Error> {
        let is_open = if side.is_out() { self.push.is_some() } else { self.pull.is_some() };
        if is_open {
            return Ok(());
        }
        let sites = self.pipe.sites(side);
        sites.bind.iter().chain(&sites.connect).try_for_each(|endpoint| transport::check(endpoint, OS))?;
        let listeners = self.bind(side).await?;
        let sites = self.reach_own(side).await?;
        let pipe = Arc::clone(&self.pipe);
        let stop = if side.is_out() { &self.stop_push } else { &self.stop_pull }.subscribe();
        let end: Rc<dyn End> = if side.is_out() {
            Rc::clone(self.push.insert(PushEnd::start(pipe, side, stop.clone()))) as _
        } else {
            Rc::clone(self.pull.insert(PullEnd::start(pipe, side, stop.clone()))) as _
        };
        let bound = self.run_sites(&sites, listeners, &end, &stop);
        self.bound(side).write(|list| *list = bound);
        Ok(())
    }

    /// Starts to listen and to dial; returns where it listens.
    fn run_sites(
        &mut self,
        sites: &Sites,
        listeners: Vec<(Listener, Endpoint)>,
        end: &Rc<dyn End>,
        stop: &watch::Receiver<bool>,
    ) -> Vec<String> {
        let mut bound = Vec::new();
        for (listener, endpoint) in listeners {
            let address = listener.address(&endpoint);
            end.tell(Event::Listening { side: end.side(), address: address.clone() });
            bound.push(address);
            self.listeners.push(spawn_local(listen(listener, endpoint, Rc::clone(end), stop.clone())));
        }
        for endpoint in &sites.connect {
            spawn_local(dial(endpoint.clone(), Rc::clone(end), stop.clone()));
        }
        bound
    }

    fn bound(&self, side: Side) -> &Board<Vec<String>> {
        if side.is_out() { &self.ports().push.bound } else { &self.ports().pull.bound }
    }

    /// A port that the system chooses can only be meant as the one that our own other end got: so that opens too.
    async fn reach_own(&mut self, side: Side) -> Result<Sites, Error> {
        let mut sites = self.pipe.sites(side).clone();
        for endpoint in &mut sites.connect {
            *endpoint = transport::resolve_path(endpoint)?;
            let Some(problem) = endpoint.connect_problem(&endpoint.to_string()) else { continue };
            Box::pin(self.open(side.opposite())).await?;
            let bound = self.bound(side.opposite()).read();
            let unreachable = || Error::new(code::INVALID_ENDPOINT, problem);
            *endpoint = bound.first().ok_or_else(unreachable)?.parse()?;
        }
        Ok(sites)
    }

    /// Binds all or nothing.
    async fn bind(&self, side: Side) -> Result<Vec<(Listener, Endpoint)>, Error> {
        let mut listeners = Vec::new();
        for endpoint in &self.pipe.sites(side).bind {
            let endpoint = transport::resolve_path(endpoint)?;
            let bound = Listener::bind(&endpoint).await;
            let listener = bound.map_err(|error| in_use::explain(error, &endpoint, &self.pipe, side))?;
            listeners.push((listener, endpoint));
        }
        Ok(listeners)
    }

    /// Nobody is left to take jobs: the pull end goes.
    pub fn leave_pull(&mut self) {
        if let Some(pull) = self.pull.take() {
            self.stop_pull.send_replace(true);
            pull.close();
            self.stop_pull = watch::Sender::new(false);
            self.ports().pull.bound.write(Vec::clear);
        }
    }

    /// Answers when the first `before` jobs are delivered.
    pub fn drain(&self, before: u64, callback: Callback) {
        match &self.push {
            Some(push) => push.drain(before, callback),
            None => callback.send(Ok(Tally::default())),
        }
    }

    /// Resolves when everything sent so far is delivered, or the end is closed.
    pub async fn drained(&self) {
        let (waits, drained) = oneshot::channel::<()>();
        self.drain(u64::MAX, Callback::new(move |_| drop(waits)));
        // The sender is dropped, never used.
        let _ = drained.await;
    }

    /// Resolves when the system has sent all jobs that count as delivered with that. (Whoever asks waits for a reply anyway.)
    pub fn sent(&self) -> impl Future<Output = ()> + use<> {
        let push = self.push.as_ref().filter(|_| self.pattern == Pattern::Pipeline);
        let sending = push.map_or_else(Vec::new, |push| push.sent());
        async {
            for sent in sending {
                // The sender is dropped, never used.
                let _ = sent.await;
            }
        }
    }

    /// Whether a pull end may yet work off what the push end has.
    pub fn are_both_open(&self) -> bool {
        self.push.is_some() && self.pull.is_some()
    }

    /// Whether everything is delivered, or begun with by our own consumers, who need the pipe no more for that. A request is
    /// not: its reply has yet to come.
    pub fn are_finished(&self) -> bool {
        let undelivered = self.ports().push.undelivered();
        match self.pattern {
            Pattern::Pipeline => undelivered <= self.own_jobs_in_hand(),
            Pattern::Requests => undelivered == 0,
        }
    }

    /// Whether nothing but our own consumers can go on with what is left: one of them may be who waits for the close.
    pub fn depend_on_themselves(&self) -> bool {
        let has_all = || self.ports().push.undelivered() <= self.own_jobs_in_hand();
        self.are_finished() || self.ports().depend_on_themselves() || has_all()
    }

    /// Ends every connection; what became of the jobs that were left.
    pub fn close(&mut self) -> Tally {
        // Links that are about to join see that it is over.
        self.stop_push.send_replace(true);
        self.stop_pull.send_replace(true);
        let own = self.own_jobs_in_hand() as u64;
        let given_up = self.push.as_ref().map_or(0, |push| push.close()).saturating_sub(own);
        let dropped = self.pull.as_ref().map_or(0, |pull| pull.close());
        let Ports { push, pull, .. } = self.ports();
        for board in [&push.bound, &pull.bound] {
            board.write(Vec::clear);
        }
        for board in [&push.peers, &pull.peers] {
            board.write(Vec::clear);
        }
        // Whoever waits for a reply is told that there will be none.
        let given_up = if self.pattern == Pattern::Pipeline { given_up } else { 0 };
        Tally { given_up, dropped, sending: 0 }
    }

    /// Resolves when nothing of a closed end is bound any more.
    pub async fn unbound(&mut self) {
        for listener in self.listeners.drain(..) {
            // One that has panicked is gone as well.
            let _ = listener.await;
        }
    }

    /// How many jobs that this pipe has sent to itself somebody has begun with: they need it no more.
    fn own_jobs_in_hand(&self) -> usize {
        let (Some(push), Some(_)) = (&self.push, &self.pull) else { return 0 };
        let consumers = self.ports().pull.consumers();
        let held: usize = consumers.iter().map(|consumer| consumer.in_hand(push.instance())).sum();
        // Two may hold the same job, if it was taken from one of them.
        held.min(self.ports().push.in_flight())
    }
}
