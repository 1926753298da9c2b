//! What a sender knows of each of its peers.

use std::{
    ops::{Index, IndexMut},
    time::Instant,
};

use super::in_flight::InFlight;
use crate::{
    batch::LARGE,
    flow::{PeerId, outbox::Outbox},
};

/// How much is framed for a peer before the next write; beyond it the peer is skipped.
pub const ROOM_PER_PEER: usize = 2 * LARGE;

/// A peer that has joined.
#[derive(Debug)]
pub struct Peer {
    /// Whether it acknowledges jobs.
    pub is_flow: bool,
    /// When it joined.
    pub joined: Instant,
    /// What is framed for it and not yet written.
    pub outbox: Outbox,
    /// What it was sent and has not settled, if it acknowledges jobs.
    pub in_flight: InFlight,
    /// Its connection takes no more bytes for now.
    pub is_blocked: bool,
    /// It is in the scheduler's rotation.
    pub is_listed: bool,
    /// It gets nothing until it has nothing, for the sake of an isolated job.
    pub is_reserved: bool,
    /// It has an isolated job, and gets no other.
    pub has_isolated_job: bool,
    changes: Changes,
    has_changed: bool,
}

/// What has changed in what users see of a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// So many jobs more were sent.
    pub sent: u64,
    /// So many more are done; modulo 2^64, as what was counted in vain is taken off again.
    pub done: u64,
    /// So many more had been sent before.
    pub redelivered: u64,
}

impl Peer {
    /// Whether it acknowledges jobs, and has or wants some.
    pub fn works(&self) -> bool {
        self.is_flow && (self.in_flight.credit() > 0 || self.in_flight.jobs() > 0)
    }

    /// Whether it could be given a job as far as it is up to it.
    pub fn wants(&self) -> bool {
        let is_ready = !self.is_blocked && self.outbox.unwritten() < ROOM_PER_PEER;
        let is_free = || self.in_flight.credit() > 0 && !self.is_reserved && !self.has_isolated_job;
        is_ready && (!self.is_flow || is_free())
    }
}

/// All peers of a sender.
#[derive(Debug, Default)]
pub struct Peers {
    slots: Vec<Option<(PeerId, Peer)>>,
    vacant: Vec<u32>,
    serial: u32,
    plain: usize,
    /// Those whose figures have changed since [`Peers::take_change`].
    changed: Vec<PeerId>,
}

impl Peers {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    /// How many of them acknowledge no jobs.
    pub fn plain(&self) -> usize {
        self.plain
    }

    /// How many of them do.
    pub fn flow(&self) -> usize {
        self.len() - self.plain
    }

    /// One more.
    pub fn join(&mut self, is_flow: bool, now: Instant) -> PeerId {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        let id = PeerId { slot, serial: self.serial };
        self.serial += 1;
        self.plain += usize::from(!is_flow);
        self.slots[id.slot()] = Some((
            id,
            Peer {
                is_flow,
                joined: now,
                outbox: Outbox::default(),
                in_flight: InFlight::default(),
                is_blocked: false,
                is_listed: false,
                is_reserved: false,
                has_isolated_job: false,
                changes: Changes::default(),
                has_changed: false,
            },
        ));
        id
    }

    /// One less.
    pub fn leave(&mut self, id: PeerId) -> Option<Peer> {
        let slot = self.slots.get_mut(id.slot())?;
        let (_, peer) = slot.take_if(|(own, _)| *own == id)?;
        self.vacant.push(id.slot);
        self.plain -= usize::from(!peer.is_flow);
        Some(peer)
    }

    /// One that may have left.
    pub fn get(&self, id: PeerId) -> Option<&Peer> {
        self.slots.get(id.slot())?.as_ref().filter(|(own, _)| *own == id).map(|(_, peer)| peer)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.slots.iter().flatten().map(|(id, peer)| (*id, peer))
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (PeerId, &mut Peer)> {
        self.slots.iter_mut().flatten().map(|(id, peer)| (*id, peer))
    }

    /// The one that there is, if there is only one.
    pub fn only(&self) -> Option<PeerId> {
        if self.len() == 1 { self.iter().next().map(|(id, _)| id) } else { None }
    }

    /// Notes what has changed for users, be it only the credit.
    pub fn change(&mut self, id: PeerId, change: impl FnOnce(&mut Changes)) {
        let peer = &mut self[id];
        change(&mut peer.changes);
        if !std::mem::replace(&mut peer.has_changed, true) {
            self.changed.push(id);
        }
    }

    /// What has changed for users, of one peer after the other.
    pub fn take_change(&mut self) -> Option<(PeerId, Changes, &InFlight)> {
        while let Some(id) = self.changed.pop() {
            if self.get(id).is_some() {
                let peer = &mut self[id];
                peer.has_changed = false;
                return Some((id, std::mem::take(&mut peer.changes), &self[id].in_flight));
            }
        }
        None
    }
}

/// A peer that has left is nobody's: to ask for it is a bug.
impl Index<PeerId> for Peers {
    type Output = Peer;

    fn index(&self, id: PeerId) -> &Peer {
        self.get(id).expect("a peer that has joined and not left")
    }
}

impl IndexMut<PeerId> for Peers {
    fn index_mut(&mut self, id: PeerId) -> &mut Peer {
        let slot = self.slots.get_mut(id.slot()).and_then(Option::as_mut);
        let peer = slot.filter(|(own, _)| *own == id).map(|(_, peer)| peer);
        peer.expect("a peer that has joined and not left")
    }
}
