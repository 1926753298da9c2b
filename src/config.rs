//! What a pipe was asked to be.

use std::time::Duration;

use crate::endpoint::Endpoint;

/// Where one end binds and connects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sites {
    /// Endpoints to listen on.
    pub bind: Vec<Endpoint>,
    /// Endpoints to dial, for ever.
    pub connect: Vec<Endpoint>,
}

/// Everything that can be chosen about a pipe.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where jobs go out.
    pub push: Sites,
    /// Where jobs come in.
    pub pull: Sites,
    /// Jobs that may wait in push.
    pub max_waiting_jobs: usize,
    /// What the jobs that wait in push may count ([`crate::batch::cost`]).
    pub max_waiting_bytes: usize,
    /// What a whole job may count, in both directions.
    pub max_message_size: usize,
    /// A PING is sent this often; zero turns heartbeats off.
    pub heartbeat_interval: Duration,
    /// A peer that has been silent this long after a PING is gone.
    pub heartbeat_timeout: Duration,
    /// Told to peers, at most 255 bytes.
    pub identity: Vec<u8>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            push: Sites::default(),
            pull: Sites::default(),
            max_waiting_jobs: 100_000,
            max_waiting_bytes: 64 << 20,
            max_message_size: 64 << 20,
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(15),
            identity: Vec::new(),
        }
    }
}
