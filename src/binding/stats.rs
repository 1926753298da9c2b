//! What `stats()` tells.

use std::sync::Arc;

use napi_derive::napi;

use crate::engine::{peer::Peer, pipe::Pipe};

/// A snapshot of a pipe.
#[napi(object, object_from_js = false)]
pub struct NativeStats {
    pub push_bound: Vec<String>,
    pub push_peers: Vec<PeerStats>,
    pub waiting: f64,
    pub waiting_bytes: f64,
    pub delivered: f64,
    pub pull_bound: Vec<String>,
    pub pull_peers: Vec<PeerStats>,
    pub received: f64,
}

/// A connected peer.
#[napi(object, object_from_js = false)]
pub struct PeerStats {
    pub address: String,
    pub identity: String,
    pub jobs: f64,
}

impl NativeStats {
    /// As things stand.
    pub fn of(pipe: &Pipe) -> Self {
        let (push, pull) = (&pipe.push, &pipe.pull);
        Self {
            push_bound: push.bound.read(),
            push_peers: peers(push.peers.read()),
            waiting: push.waiting() as f64,
            waiting_bytes: push.waiting_cost() as f64,
            delivered: push.delivered() as f64,
            pull_bound: pull.bound.read(),
            pull_peers: peers(pull.peers.read()),
            received: pull.received() as f64,
        }
    }
}

fn peers(peers: Vec<Arc<Peer>>) -> Vec<PeerStats> {
    let one = |peer: Arc<Peer>| PeerStats {
        address: peer.address.clone(),
        identity: peer.identity.clone(),
        jobs: peer.jobs() as f64,
    };
    peers.into_iter().map(one).collect()
}
