//! What other threads see of the two ends of a pattern.

use super::{asker::Askers, pull_port::PullPort, push_port::PushPort};

/// See the module.
#[derive(Default)]
pub struct Ports {
    /// Where jobs go out.
    pub push: PushPort,
    /// Where jobs come in.
    pub pull: PullPort,
    /// Who waits for replies, if jobs are requests.
    pub askers: Askers,
}

impl Ports {
    /// Whether nobody but this pipe's own pull end is connected to push.
    pub fn talk_to_themselves(&self) -> bool {
        let (peers, own) = (self.push.peers.read(), self.pull.instance.read());
        own.is_some() && !peers.is_empty() && peers.iter().all(|peer| peer.instance == own)
    }

    /// Whether what waits in push can only go to this pipe's own consumers, all of whom are busy.
    pub fn depend_on_themselves(&self) -> bool {
        self.talk_to_themselves() && self.pull.is_busy()
    }
}
