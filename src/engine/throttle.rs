//! Events of one kind that come in floods: users are told of the first, and then, now and then, of how many there were.

use std::time::Duration;

use tokio::time::Instant;

/// Users are told no more often.
const PERIOD: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub struct Throttle {
    untold: u64,
    told: Option<Instant>,
}

impl Throttle {
    /// So many more. How many there were since users were told last, if it is time to tell them.
    pub fn count(&mut self, more: usize, now: Instant) -> Option<u64> {
        self.untold += more as u64;
        if self.told.is_some_and(|told| now < told + PERIOD) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        assert_eq!(throttle.count(1, start), Some(1));
        for step in 1..10 {
            assert_eq!(throttle.count(2, start + step * PERIOD / 10), None);
        }
        assert_eq!(throttle.count(1, start + PERIOD), Some(19));
    }
}
