//! What `stats()` tells.

use std::sync::Arc;

use napi_derive::napi;

use crate::engine::{peer::Peer, pipe::Pipe};

/// A snapshot of a pipe.
#[napi(object, object_from_js = false)]
pub struct NativeStats {
    pub push_bound: Vec<String>,
    pub push_peers: Vec<PeerStats>,
    pub queued: f64,
    pub queued_bytes: f64,
    pub in_flight: f64,
    pub in_flight_bytes: f64,
    pub done: f64,
    pub redelivered: f64,
    pub dead: f64,
    pub pull_bound: Vec<String>,
    pub pull_peers: Vec<PeerStats>,
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
        let (push, pull) = (&pipe.push, &pipe.pull);
        Self {
            push_bound: push.bound.read(),
            push_peers: peers(push.peers.read()),
            queued: push.waiting() as f64,
            queued_bytes: push.waiting_cost() as f64,
            in_flight: push.in_flight() as f64,
            in_flight_bytes: push.in_flight_cost() as f64,
            done: push.done() as f64,
            redelivered: push.redelivered() as f64,
            dead: push.dead() as f64,
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
        flow: peer.instance.is_some(),
        credit: peer.credit() as f64,
        in_flight: peer.in_flight() as f64,
        done: peer.done() as f64,
        redelivered: peer.redelivered() as f64,
        jobs: peer.jobs() as f64,
    };
    peers.into_iter().map(one).collect()
}
