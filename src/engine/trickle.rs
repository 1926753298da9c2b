//! Whether so little comes on a connection, and so often, that whoever waits for it should read it by himself (`tap.rs`).

use std::time::Duration;

use tokio::time::Instant;

/// What is so long ago does not count; and whoever reads by himself must have read something since then.
pub const LATELY: Duration = Duration::from_millis(10);

/// How often something must have come.
const OFTEN: u32 = 8;

/// What is more at once is not little.
const LITTLE: usize = 8 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub struct Trickle {
    since: Option<Instant>,
    reads: u32,
}

impl Trickle {
    /// So much was read.
    pub fn note(&mut self, length: usize) {
        // Where much comes, nobody looks at the clock for this.
        if length > LITTLE {
            *self = Self::default();
            return;
        }
        let now = Instant::now();
        if self.since.is_none_or(|since| now - since > LATELY) {
            *self = Self { since: Some(now), reads: 0 };
        }
        self.reads += 1;
    }

    /// Whether that has been so.
    pub fn is_steady(&self) -> bool {
        self.reads >= OFTEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn it_is_steady_while_little_comes_often() {
        let mut trickle = Trickle::default();
        (1..OFTEN).for_each(|_| trickle.note(1));
        assert!(!trickle.is_steady());
        trickle.note(LITTLE);
        assert!(trickle.is_steady());
        trickle.note(LITTLE + 1);
        assert!(!trickle.is_steady());
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn what_was_long_ago_does_not_count() {
        let mut trickle = Trickle::default();
        (1..OFTEN).for_each(|_| trickle.note(1));
        tokio::time::advance(2 * LATELY).await;
        trickle.note(1);
        assert!(!trickle.is_steady());
    }
}
