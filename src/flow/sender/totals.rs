//! How many jobs a sender has, by where they are.

use crate::flow::sender::queue::JobRange;

/// See the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Accepted, and not in flight, delivered or dead.
    pub waiting: usize,
    /// What those count ([`crate::batch::cost`]).
    pub waiting_cost: usize,
    /// With peers that acknowledge jobs, and not settled.
    pub in_flight: usize,
    /// What those count.
    pub in_flight_cost: usize,
    /// Accepted, and neither delivered nor dead.
    pub undelivered: usize,
    /// Delivered; modulo 2^64, as what was counted in vain is taken off again.
    pub done: u64,
    /// How often a job was sent that had been sent before.
    pub redelivered: u64,
    /// Given up after too many failures.
    pub dead: u64,
}

impl Totals {
    /// Jobs wait, for the first time or again.
    pub fn add_waiting(&mut self, range: &JobRange) {
        self.waiting += range.jobs();
        self.waiting_cost += range.cost();
    }

    /// Jobs wait no more.
    pub fn remove_waiting(&mut self, jobs: usize, cost: usize) {
        self.waiting -= jobs;
        self.waiting_cost -= cost;
    }

    /// Jobs that waited were sent to a peer that acknowledges them.
    pub fn add_in_flight(&mut self, jobs: usize, cost: usize) {
        self.remove_waiting(jobs, cost);
        self.in_flight += jobs;
        self.in_flight_cost += cost;
    }

    /// Jobs were settled, or their peer has left.
    pub fn remove_in_flight(&mut self, range: &JobRange) {
        self.in_flight -= range.jobs();
        self.in_flight_cost -= range.cost();
    }
}
