//! Jobs that come back: another attempt at once, after a pause or in isolation, and the end of it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Effect, Sender, queue::JobRange};
use crate::{
    batch::Job,
    error::{Error, code},
    flow::{Pattern, PeerId},
};

/// After so many failures a job is isolated: it goes to a peer that has nothing else, so that it takes
/// no other job with it.
const FAILURES_OF_ISOLATED: u32 = 2;

/// The pause before another attempt of a job that a handler has failed on; each one is twice as long as
/// the one before, up to the last of these.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// So many connections to plain peers that end in the middle of one job are no chance.
const CUTS_TOLD: u8 = 3;

/// Jobs that wait for another attempt, by when that is due and their order.
#[derive(Debug, Default)]
pub struct Paused(BTreeMap<(Instant, u64), JobRange>);

impl Paused {
    /// Takes jobs whose attempt is due.
    pub fn take_due(&mut self, now: Instant) -> Option<JobRange> {
        self.0.first_entry().filter(|entry| entry.key().0 <= now).map(|entry| entry.remove())
    }

    /// When the next attempt is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.0.first_key_value().map(|(key, _)| key.0)
    }

    /// How many jobs have a lower order.
    pub fn jobs_before(&self, order: u64) -> usize {
        self.0.values().map(|range| range.jobs_before(order)).sum()
    }

    /// Takes out the job of that order.
    pub fn remove(&mut self, order: u64) -> Option<JobRange> {
        let key = self.0.keys().find(|(_, other)| *other == order).copied()?;
        self.0.remove(&key)
    }

    fn add(&mut self, due: Instant, range: JobRange) {
        for job in range.singles() {
            self.0.insert((due, job.state.order), job);
        }
    }
}

impl Sender {
    /// A plain peer has left, or is too slow, without having taken jobs.
    #[inline(never)]
    pub(super) fn untaken(&mut self, range: JobRange) {
        self.totals.remove_waiting(range.jobs(), range.cost());
        for range in self.wanted(range) {
            self.totals.add_waiting(&range);
            self.ready.put_back(range);
        }
    }

    /// The connection of a plain peer has ended in the middle of a job, which goes to another. After
    /// several of those users are told, once: it may be larger than these peers take, and go round for
    /// ever.
    #[inline(never)]
    pub(super) fn cut(&mut self, id: PeerId, mut range: JobRange) {
        range.state.cuts = range.state.cuts.saturating_add(1);
        if range.state.cuts == CUTS_TOLD {
            let bytes = range.first().map_or(0, Job::bytes);
            let text = format!(
                "{CUTS_TOLD} connections have ended in the middle of the same message of {bytes} \
                 bytes: a peer may refuse messages of that size (libzmq: ZMQ_MAXMSGSIZE); it is \
                 tried again whenever one connects"
            );
            let error = Error::new(code::MESSAGE_TOO_LARGE, text);
            self.effects.push_back(Effect::Refused(id, error));
        }
        self.untaken(range);
    }

    /// A peer has failed on jobs, was lost with them, or holds them for too long.
    #[inline(never)]
    pub(super) fn failed(&mut self, mut range: JobRange, reason: &str, pauses: bool, now: Instant) {
        self.totals.remove_in_flight(&range);
        range.state.failures += 1;
        if range.state.failures >= self.options.max_attempts {
            return self.dead_letter(&range, reason);
        }
        let doublings = (range.state.failures - 1).min(20);
        let pause = PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
        for range in self.wanted(range) {
            self.totals.add_waiting(&range);
            if pauses {
                // Half to all of the pause, so that jobs that failed together don't come back together.
                let due = now + pause.mul_f64(0.5 + self.rng.f64() / 2.0);
                self.paused.add(due, range);
            } else {
                self.line_up(range);
            }
        }
    }

    /// Puts jobs that came back into the queue that fits them, at the place of their order.
    #[inline(never)]
    pub(super) fn line_up(&mut self, range: JobRange) {
        if range.state.failures >= FAILURES_OF_ISOLATED {
            range.singles().for_each(|job| self.isolated.put_back(job));
        } else if range.state.failures == 0 || self.options.ack_timeout.is_none() {
            self.ready.put_back(range);
        } else {
            for job in range.singles() {
                let is_held = self.peers.iter().any(|(_, peer)| peer.in_flight.has_lapsed(job.state.order));
                if is_held { &mut self.withheld } else { &mut self.ready }.put_back(job);
            }
        }
    }

    /// Gives jobs up, and says so.
    fn dead_letter(&mut self, range: &JobRange, reason: &str) {
        if self.options.pattern == Pattern::Requests {
            return self.fail(range, reason);
        }
        self.totals.dead += range.jobs() as u64;
        for job in range.clone().singles() {
            let frames = job.first().into_iter().flat_map(Job::frames);
            let id = job.state.id.map(|id| format!("{}-{id}", self.options.instance));
            self.effects.push_back(Effect::Dead {
                job: frames.map(|(bytes, _)| bytes.to_vec()).collect(),
                id: id.unwrap_or_default(),
                attempt: job.state.failures,
                reason: reason.into(),
            });
        }
        self.deliver(range.jobs(), |order| range.jobs_before(order));
    }

    /// Takes jobs from peers that have held them for too long.
    #[inline(never)]
    pub(super) fn lapse(&mut self, now: Instant) {
        let Some(before) = self.options.ack_timeout.and_then(|limit| now.checked_sub(limit)) else {
            return;
        };
        let ids: Vec<_> = self.peers.iter().map(|(id, _)| id).collect();
        for id in ids {
            let late = self.peers[id].in_flight.lapse(before);
            if late.is_empty() {
                continue;
            }
            self.peers[id].has_isolated_job = false;
            self.peers.change(id, |_| {});
            for range in late {
                self.failed(range, "held for longer than ackTimeout", false, now);
            }
        }
        self.list_all();
    }
}
