//! What a pull end has allowed one zeropipe pusher to send (docs/flow.md, "Credit").

use std::time::Duration;

use tokio::time::Instant;

use crate::batch::{Batch, Place};

/// After so many times of telling at once it is tried again whether the pusher really waits for it. Of one that does not, so many silences mean nothing.
const TIMES_EAGER: u32 = 64;

/// A pusher that sends nothing for so long may be waiting.
const SILENCE: Duration = Duration::from_millis(1);

/// One that was waiting has sent the next job within a round trip and so long, unless that is large.
const ANSWER: Duration = Duration::from_millis(5);

/// One that sends so many jobs after that, when it was told at once, did not wait for room.
const MANY: u64 = 32;

/// The books of one flow link, on the side of the pull end; all counts are from the start of the link.
#[derive(Debug, Default)]
pub struct Grant {
    /// What holds now: jobs, and what they count.
    jobs: u64,
    cost: u64,
    /// The most that ever held: what was sent under it is no breach.
    highest: u64,
    highest_cost: u64,
    /// How many jobs were to come when this was granted, and what they were to count.
    window: u64,
    window_cost: u64,
    /// What had come when it was looked last, and since when nothing more has.
    came: u64,
    since: Option<Instant>,
    /// How many more times to tell at once, because the pusher seems to wait for that.
    eager: u32,
    /// When it was told at once, first, since something has come.
    told_at: Option<Instant>,
    /// How many more times its silence means nothing: it did not wait for us.
    spared: u32,
    /// Jobs that came lately, the latest counting most: who sends more is granted more.
    pub recent: f64,
}

/// How soon a change is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nothing has changed.
    None,
    /// It can wait for others.
    Soon,
    /// Now.
    Now,
}

impl Grant {
    /// How many more jobs may come.
    pub fn left(&self, received: u64) -> u64 {
        self.jobs.saturating_sub(received)
    }

    /// How many jobs of a batch were allowed at some time, when so many that count so much have come before them.
    pub fn covers(&self, (jobs, cost): (u64, u64), batch: &Batch) -> usize {
        let most = usize::try_from(self.highest.saturating_sub(jobs)).unwrap_or(usize::MAX).min(batch.jobs());
        let left = self.highest_cost.saturating_sub(cost);
        if batch.cost() as u64 <= left {
            return most;
        }
        let (mut covered, mut counted, mut at) = (0, 0, Place::default());
        while covered < most
            && counted < left
            && let Some((job, next)) = batch.job(at)
        {
            (covered, counted, at) = (covered + 1, counted + job.cost() as u64, next);
        }
        covered
    }

    /// Whether one more job was allowed to begin at some time, when so many that count so much have come.
    pub fn covers_next(&self, (jobs, cost): (u64, u64)) -> bool {
        jobs < self.highest && cost < self.highest_cost
    }

    /// So many jobs have come by now, from a pusher that is so far away. One that takes longer to go on after it was told at once, and does so
    /// with many, was silent because it serves others, and only pays for being told so often.
    pub fn notice(&mut self, received: u64, now: Instant, round_trip: Duration) {
        if self.came == received && self.since.is_some() {
            return;
        }
        let came = received - self.came;
        (self.came, self.since) = (received, Some(now));
        let is_late = self.told_at.take().is_some_and(|told| told + round_trip + ANSWER < now);
        if is_late && came >= MANY {
            (self.eager, self.spared) = (0, TIMES_EAGER);
        }
    }

    /// It is waited for, and has not been told all there is. It may send nothing more before it hears of that, for reasons of its own:
    /// if nothing has come for long, it is told at once from now on, unless its silence has proved to mean nothing.
    pub fn suspect(&mut self, now: Instant) {
        if self.since.is_none_or(|since| now < since + SILENCE) {
            return;
        }
        if self.spared == 0 {
            self.eager = TIMES_EAGER;
        }
        self.spared = self.spared.saturating_sub(1);
    }

    /// Whether to tell it at once this time.
    pub fn tells_at_once(&mut self, now: Instant) -> bool {
        if !self.is_eager() {
            return false;
        }
        self.eager -= 1;
        self.told_at.get_or_insert(now);
        true
    }

    /// Whether whoever waits for this pusher should say so at once.
    pub fn is_eager(&self) -> bool {
        self.eager > 0
    }

    /// How soon it should be told that from now on so much may come.
    pub fn urgency(&self, received: (u64, u64), may_come: (u64, u64)) -> Urgency {
        let ((jobs, cost), (window, window_cost)) = (received, may_come);
        let (left, left_cost) = (self.jobs.saturating_sub(jobs), self.cost.saturating_sub(cost));
        if jobs + window == self.jobs && (window == 0 || left_cost >= window_cost / 2) {
            Urgency::None
        } else if window == 0
            || 2 * left <= self.window.min(window)
            || 2 * left_cost <= self.window_cost.min(window_cost)
        {
            Urgency::Now
        } else {
            Urgency::Soon
        }
    }

    /// So much may come from now on; returns what is to be told.
    pub fn set(&mut self, received: (u64, u64), may_come: (u64, u64)) -> (u64, u64) {
        (self.window, self.window_cost) = may_come;
        (self.jobs, self.cost) = (received.0 + may_come.0, received.1 + may_come.1);
        self.highest = self.highest.max(self.jobs);
        self.highest_cost = self.highest_cost.max(self.cost);
        (self.jobs, self.cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_once_granted_may_come_even_after_the_grant_went_down() {
        let mut grant = Grant::default();
        let job: &[&[u8]] = &[b"ten bytes."];
        let (ten, twelve) = (Batch::of(&[job; 10]), Batch::of(&[job; 12]));
        assert_eq!((grant.covers((0, 0), &ten), grant.covers_next((0, 0))), (0, false));
        assert_eq!(grant.set((0, 0), (10, 100)), (10, 100));
        assert_eq!(grant.set((2, 20), (0, 100)), (2, 120));
        assert_eq!((grant.covers((0, 0), &ten), grant.covers((0, 0), &twelve)), (10, 10));
        assert!(grant.covers_next((9, 119)) && !grant.covers_next((10, 0)) && !grant.covers_next((0, 120)));
        // The last one may pass what is granted in bytes, none may begin beyond it.
        for (cost, covered) in [(19, 10), (20, 10), (21, 10), (29, 10), (31, 9), (119, 1), (120, 0), (900, 0)]
        {
            assert_eq!(grant.covers((0, cost), &ten), covered, "{cost}");
        }
        assert_eq!(grant.left(1), 1);
    }

    const NEAR: Duration = Duration::ZERO;

    /// One that has just been found silent, after a job.
    fn silent(start: Instant) -> Grant {
        let mut grant = Grant::default();
        grant.notice(1, start, NEAR);
        grant.suspect(start + SILENCE);
        assert!(grant.is_eager());
        grant
    }

    #[test]
    fn a_pusher_that_sends_nothing_while_it_is_waited_for_is_told_at_once_from_then_on() {
        let (mut grant, start) = (Grant::default(), Instant::now());
        grant.notice(1, start, NEAR);
        grant.suspect(start);
        assert!(!grant.is_eager());
        // More comes meanwhile: it does not wait.
        grant.notice(2, start + SILENCE, NEAR);
        grant.suspect(start + SILENCE);
        assert!(!grant.is_eager());
        grant.notice(2, start + 2 * SILENCE, NEAR);
        grant.suspect(start + 2 * SILENCE);
        assert!(grant.is_eager());
        let times = (0..1000).take_while(|_| grant.tells_at_once(start)).count();
        assert_eq!(times as u32, TIMES_EAGER);
    }

    #[test]
    fn one_that_goes_on_soon_after_it_was_told_at_once_is_told_so_again() {
        for round_trip in [NEAR, 50 * SILENCE] {
            let start = Instant::now();
            let mut grant = silent(start);
            for jobs in 2..10 {
                let told = start + jobs as u32 * 100 * SILENCE;
                assert!(grant.tells_at_once(told));
                grant.notice(jobs, told + round_trip + ANSWER, round_trip);
            }
            assert!(grant.is_eager());
        }
    }

    #[test]
    fn one_that_goes_on_late_with_a_few_may_have_waited() {
        let start = Instant::now();
        let mut grant = silent(start);
        assert!(grant.tells_at_once(start));
        grant.notice(MANY, start + 2 * ANSWER, NEAR);
        assert!(grant.is_eager());
    }

    #[test]
    fn one_that_goes_on_late_with_many_was_not_waiting_and_its_silence_means_nothing_for_a_while() {
        let start = Instant::now();
        let mut grant = silent(start);
        assert!(grant.tells_at_once(start));
        let late = start + 2 * ANSWER;
        grant.notice(1 + MANY, late, NEAR);
        let silences = (0..1000).take_while(|_| {
            grant.suspect(late + SILENCE);
            !grant.is_eager()
        });
        assert_eq!(silences.count() as u32, TIMES_EAGER);
    }

    #[test]
    fn half_of_a_grant_may_be_used_up_before_more_is_urgent() {
        let mut grant = Grant::default();
        assert_eq!(grant.urgency((0, 0), (1, 100)), Urgency::Now);
        grant.set((0, 0), (10, 1000));
        assert_eq!(grant.urgency((0, 0), (10, 1000)), Urgency::None);
        assert_eq!(grant.urgency((4, 40), (10, 1000)), Urgency::Soon);
        assert_eq!(grant.urgency((5, 50), (10, 1000)), Urgency::Now);
        assert_eq!(grant.urgency((1, 600), (10, 1000)), Urgency::Now);
        assert_eq!(grant.urgency((1, 1), (0, 1000)), Urgency::Now);
        grant.set((1, 1), (0, 1000));
        assert_eq!(grant.urgency((1, 1), (0, 1000)), Urgency::None);
        assert_eq!(grant.urgency((1, 1), (1, 1000)), Urgency::Now);
    }
}
