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
    /// Where requests go out.
    pub request: Sites,
    /// Where requests come in, to be answered.
    pub reply: Sites,
    /// Jobs that may wait in push.
    pub max_waiting_jobs: usize,
    /// What the jobs that wait in push may count ([`crate::batch::cost`]).
    pub max_waiting_bytes: usize,
    /// What a whole job may count, in both directions.
    pub max_message_size: usize,
    /// How often a zeropipe peer may fail on a job before it is dead.
    pub max_attempts: u32,
    /// How long a zeropipe peer may hold a job before it goes to another; `None` for ever.
    pub ack_timeout: Option<Duration>,
    /// Whether jobs are acknowledged between us and peers that know how.
    pub flow: bool,
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
            request: Sites::default(),
            reply: Sites::default(),
            max_waiting_jobs: 100_000,
            max_waiting_bytes: 64 << 20,
            max_message_size: 64 << 20,
            max_attempts: 20,
            ack_timeout: None,
            flow: true,
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(15),
            identity: Vec::new(),
        }
    }
}
