//! What `stats()` tells.

use std::sync::Arc;

use napi_derive::napi;

use crate::engine::{peer::Peer, pipe::Pipe, pull_port::PullPort, push_port::PushPort};

/// A snapshot of a pipe.
#[napi(object, object_from_js = false)]
pub struct NativeStats {
    pub push: PushStats,
    pub pull: PullStats,
    pub request: PushStats,
    pub reply: PullStats,
}

/// A snapshot of an end where jobs go out.
#[napi(object, object_from_js = false)]
pub struct PushStats {
    pub bound: Vec<String>,
    pub peers: Vec<PeerStats>,
    pub queued: f64,
    pub queued_bytes: f64,
    pub in_flight: f64,
    pub in_flight_bytes: f64,
    pub done: f64,
    pub redelivered: f64,
    pub dead: f64,
}

/// A snapshot of an end where jobs come in.
#[napi(object, object_from_js = false)]
pub struct PullStats {
    pub bound: Vec<String>,
    pub peers: Vec<PeerStats>,
    pub received: f64,
}

/// A connected peer.
#[napi(object, object_from_js = false)]
pub struct PeerStats {
    pub address: String,
    pub identity: String,
    pub flow: bool,
    pub credit: f64,
    pub in_flight: f64,
    pub done: f64,
    pub redelivered: f64,
    pub jobs: f64,
}

impl NativeStats {
    /// As things stand.
    pub fn of(pipe: &Pipe) -> Self {
        let (pipeline, requests) = (&pipe.pipeline, &pipe.requests);
        Self {
            push: push(&pipeline.push),
            pull: pull(&pipeline.pull),
            request: push(&requests.push),
            reply: pull(&requests.pull),
        }
    }
}

fn push(port: &PushPort) -> PushStats {
    PushStats {
        bound: port.bound.read(),
        peers: peers(port.peers.read()),
        queued: port.waiting() as f64,
        queued_bytes: port.waiting_cost() as f64,
        in_flight: port.in_flight() as f64,
        in_flight_bytes: port.in_flight_cost() as f64,
        done: port.done() as f64,
        redelivered: port.redelivered() as f64,
        dead: port.dead() as f64,
    }
}

fn pull(port: &PullPort) -> PullStats {
    PullStats { bound: port.bound.read(), peers: peers(port.peers.read()), received: port.received() as f64 }
}

fn peers(peers: Vec<Arc<Peer>>) -> Vec<PeerStats> {
    let one = |peer: Arc<Peer>| PeerStats {
        address: peer.address.clone(),
        identity: peer.identity.clone(),
        flow: peer.instance.is_some(),
        credit: peer.credit() as f64,
        in_flight: peer.in_flight() as f64,
        done: peer.done() as f64,
        redelivered: peer.redelivered() as f64,
        jobs: peer.jobs() as f64,
    };
    peers.into_iter().map(one).collect()
}
