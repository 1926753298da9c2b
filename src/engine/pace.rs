//! How fast a consumer works, and how much it may have ahead of it (docs/flow.md, "Grant").

use std::time::Duration;

/// What counts as being ahead, besides the way from the pusher.
pub const AHEAD: Duration = Duration::from_millis(20);

/// The past counts for so much less at each new measurement.
const FADING: f64 = 0.75;

/// What no consumer needs more of.
const MOST: u64 = 1 << 20;

/// The pace of one consumer, and how far it is trusted.
#[derive(Debug)]
pub struct Pace {
    /// Jobs, and the seconds they took, the recent ones counting most.
    jobs: f64,
    seconds: f64,
    /// What it may have ahead at most: grows each time it has done that many.
    trust: u64,
    /// How many it has done since.
    kept_up: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { jobs: 0.0, seconds: 0.0, trust: 1, kept_up: 0 }
    }
}

impl Pace {
    /// It has done so many jobs in that time, waiting not counted.
    pub fn measure(&mut self, jobs: u64, took: Duration) {
        self.jobs = self.jobs * FADING + jobs as f64;
        self.seconds = self.seconds * FADING + took.as_secs_f64().max(1e-7);
        self.kept_up += jobs;
        if self.kept_up >= self.trust {
            self.kept_up = 0;
            self.trust = (self.trust * self.growth()).min(MOST);
        }
    }

    /// Trust doubles, or grows fourfold in one whose pace allows for as many.
    fn growth(&self) -> u64 {
        if self.at_pace(AHEAD) >= 4 * self.trust { 4 } else { 2 }
    }

    fn at_pace(&self, time: Duration) -> u64 {
        (self.jobs / self.seconds * time.as_secs_f64()) as u64
    }

    /// It has stopped: all that was learnt is forgotten.
    pub fn stall(&mut self) {
        *self = Self::default();
    }

    /// How many jobs it does within that time, as far as it is trusted.
    pub fn within(&self, time: Duration) -> u64 {
        if self.seconds == 0.0 {
            return 0;
        }
        self.at_pace(time).min(self.trust)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn a_slow_consumer_has_nothing_ahead_and_a_fast_one_as_much_as_it_does_meanwhile() {
        for (took, ahead) in [(2000, 0), (100, 0), (21, 0), (19, 1), (3, 6)] {
            let mut pace = Pace::default();
            (0..100).for_each(|_| pace.measure(1, took * MILLISECOND));
            assert_eq!(pace.within(AHEAD), ahead, "{took} ms a job");
        }
    }

    /// How many jobs a consumer has ahead, time after time, that does each in so long and all that it has.
    fn ahead_of(took: Duration) -> Vec<u64> {
        let mut pace = Pace::default();
        assert_eq!(pace.within(AHEAD), 0);
        let keep_up = |_| {
            let jobs = pace.within(AHEAD).max(1);
            pace.measure(jobs, took * jobs as u32);
            pace.within(AHEAD)
        };
        (0..5).map(keep_up).collect()
    }

    #[test]
    fn trust_starts_at_one_and_grows_while_the_consumer_keeps_up_faster_if_its_pace_allows_for_it() {
        assert_eq!(ahead_of(MILLISECOND / 1000), [4, 16, 64, 256, 1024]);
        assert_eq!(ahead_of(MILLISECOND * 95 / 100), [4, 16, 21, 21, 21]);
        assert_eq!(ahead_of(6 * MILLISECOND), [2, 3, 3, 3, 3]);
    }

    #[test]
    fn a_long_job_weighs_as_much_as_it_takes() {
        let mut pace = Pace::default();
        (0..100).for_each(|_| pace.measure(1000, MILLISECOND));
        assert!(pace.within(AHEAD) > 10_000);
        pace.measure(1, 2000 * MILLISECOND);
        assert!(pace.within(AHEAD) < 100);
        pace.stall();
        assert_eq!(pace.within(AHEAD), 0);
    }
}
