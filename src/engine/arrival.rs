//! Large jobs that have begun to arrive: how much memory they may take together, and how slow each may be.
//!
//! A header announces any size, so nothing is charged before it is there. What has arrived of a large job can't be given back,
//! and can't be begun with before the rest is there.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// What all large jobs of an end that are arriving may take up together, unless one alone may be larger: beyond it only the
/// oldest of them is read on.
pub const MAX_ARRIVING: usize = 64 << 20;

/// A large job that brings less than so much within [`PROGRESS_PERIOD`] has stopped arriving.
const PROGRESS: usize = 16 << 10;

/// The same while others are not read for want of memory: a line of 64 KiB/s brings twice as much.
const PROGRESS_IN_SHORTAGE: usize = 512 << 10;

/// See [`PROGRESS`]; a longer heartbeat timeout lengthens it.
const PROGRESS_PERIOD: Duration = Duration::from_secs(15);

/// The large jobs of an end that are arriving, by their links, the oldest first.
#[derive(Debug)]
pub struct Arrivals {
    limit: usize,
    links: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl Arrivals {
    /// None yet, of jobs that have at most so many bytes.
    pub fn new(max_message_size: usize) -> Self {
        Self { limit: max_message_size.max(MAX_ARRIVING), links: VecDeque::new(), bytes: 0 }
    }

    /// How much of all of them is there.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// So much is there of the large job that arrives on a link; `None` if none does. Whether others may grow by that that could not.
    pub fn note(&mut self, link: u64, arrived: Option<usize>) -> bool {
        let (bytes, oldest) = (self.bytes, self.oldest());
        let index = self.links.iter().position(|(other, _)| *other == link);
        match (index, arrived) {
            (Some(index), Some(arrived)) => {
                let before = std::mem::replace(&mut self.links[index].1, arrived);
                self.bytes = self.bytes + arrived - before;
            }
            (None, Some(arrived)) => {
                self.links.push_back((link, arrived));
                self.bytes += arrived;
            }
            (Some(index), None) => {
                self.bytes -= self.links.remove(index).map_or(0, |(_, arrived)| arrived);
            }
            (None, None) => {}
        }
        self.bytes < bytes || self.oldest() != oldest
    }

    fn oldest(&self) -> Option<u64> {
        self.links.front().map(|(link, _)| *link)
    }

    /// Whether there is memory for more of the large job on a link, if one is arriving there. There is always for the oldest:
    /// what makes room again is that jobs become whole.
    pub fn may_grow(&self, link: u64) -> bool {
        self.bytes < self.limit || self.oldest() == Some(link)
    }
}

/// Whether the large job that arrives on a connection makes progress.
#[derive(Debug)]
pub struct Progress {
    period: Duration,
    /// How much was there when it was looked at, and by when there has to be more.
    mark: Option<(usize, Instant)>,
}

impl Progress {
    /// Of a connection that is given up after such a silence.
    pub fn new(heartbeat_timeout: Duration) -> Self {
        Self { period: heartbeat_timeout.max(PROGRESS_PERIOD), mark: None }
    }

    /// So much is there; `None` if no large job is arriving. With `in_shortage`, others are kept waiting for it.
    pub fn note(&mut self, arrived: Option<usize>, now: Instant, in_shortage: bool) {
        let Some(arrived) = arrived else { return self.mark = None };
        let least = if in_shortage { PROGRESS_IN_SHORTAGE } else { PROGRESS };
        let is_enough = |before: usize| arrived < before || arrived - before >= least;
        if self.mark.is_none_or(|(before, _)| is_enough(before)) {
            self.mark = Some((arrived, now + self.period));
        }
    }

    /// We did not read meanwhile, so it could not make any.
    pub fn restart(&mut self, now: Instant) {
        if let Some((_, until)) = &mut self.mark {
            *until = now + self.period;
        }
    }

    /// By when there has to be some.
    pub fn due(&self) -> Option<Instant> {
        self.mark.map(|(_, until)| until)
    }

    /// Whether there was too little.
    pub fn is_late(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_only_the_oldest_goes_on_until_there_is_room_again() {
        let mut arrivals = Arrivals::new(0);
        let half = MAX_ARRIVING / 2;
        assert!(arrivals.note(1, Some(0)));
        assert!(!arrivals.note(2, Some(half)));
        assert!(!arrivals.note(1, Some(half - 1)));
        assert!(arrivals.may_grow(2) && arrivals.may_grow(3));
        arrivals.note(1, Some(half));
        assert_eq!(arrivals.bytes(), MAX_ARRIVING);
        assert!(arrivals.may_grow(1) && !arrivals.may_grow(2) && !arrivals.may_grow(3));
        assert!(arrivals.note(1, None) && !arrivals.note(1, None));
        assert_eq!(arrivals.bytes(), half);
        assert!(arrivals.may_grow(2) && arrivals.may_grow(1));
    }

    #[test]
    fn a_single_job_may_be_as_large_as_any() {
        let mut arrivals = Arrivals::new(4 * MAX_ARRIVING);
        arrivals.note(1, Some(3 * MAX_ARRIVING));
        assert!(arrivals.may_grow(2));
    }

    #[test]
    fn the_end_of_one_that_has_brought_nothing_lets_the_next_go_on() {
        let mut arrivals = Arrivals::new(0);
        arrivals.note(1, Some(0));
        arrivals.note(2, Some(MAX_ARRIVING));
        assert!(!arrivals.may_grow(2));
        assert!(arrivals.note(1, None) && arrivals.may_grow(2));
    }

    /// Whether a job that brings so much each second arrives.
    fn arrives(rate: usize, timeout: Duration, in_shortage: bool) -> bool {
        let (mut progress, start) = (Progress::new(timeout), Instant::now());
        (0..100).all(|second| {
            let now = start + second * Duration::from_secs(1);
            progress.note(Some(second as usize * rate), now, in_shortage);
            !progress.is_late(now)
        })
    }

    #[test]
    fn a_job_that_hardly_arrives_is_given_up_and_a_slow_one_is_not() {
        let second = Duration::from_secs(1);
        for rate in [0, 1, 1 << 10] {
            assert!(!arrives(rate, second, false) && !arrives(rate, second, true));
        }
        assert!(arrives(2 << 10, second, false) && !arrives(2 << 10, second, true));
        assert!(arrives(64 << 10, second, false) && arrives(64 << 10, second, true));
        assert!(arrives(1 << 10, 60 * second, false) && !arrives(1, 60 * second, false));
    }

    #[test]
    fn the_time_begins_anew_with_each_job_and_while_nobody_reads() {
        let (mut progress, start) = (Progress::new(Duration::ZERO), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(progress.due(), None);
        progress.note(Some(1 << 20), start, false);
        progress.note(Some(5), at(10), false);
        assert_eq!(progress.due(), Some(at(25)));
        progress.restart(at(20));
        assert!(!progress.is_late(at(34)) && progress.is_late(at(35)));
        progress.note(None, at(35), false);
        assert_eq!(progress.due(), None);
    }
}
