//! Randomness, for what must not happen in step.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// Any number.
pub fn random() -> u64 {
    // Freshly keyed each time: the standard library's one source of randomness.
    RandomState::new().build_hasher().finish()
}

/// Half to all of a pause, so that a thousand workers don't come back in step.
pub fn jittered(pause: Duration) -> Duration {
    pause / 2 + pause.mul_f64((random() % 1024) as f64 / 2048.0)
}
