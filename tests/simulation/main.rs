//! The sender under a seed: jobs, peers that work, fail, stall and leave, and time, all chosen by
//! chance, and after every step what must hold (docs/architecture.md, "The simulation").
//!
//! `cargo test` runs some thousand seeds. `npm run simulate -- SEEDS [FIRST]` runs as many as asked
//! for, shrinks the history of the first that fails, and prints it.

mod history;
mod job;
#[allow(dead_code, reason = "what other tests use of it")]
#[path = "../support/random.rs"]
mod random;
mod step;
mod worker;
mod world;

use std::{env, time::Instant};

/// How many seeds `cargo test` runs, and the first of them.
const SEEDS: u64 = 3_000;
const FIRST: u64 = 1;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_happens_each_job_is_delivered_once_or_accounted_for() {
    let (seeds, first) =
        (number("SIMULATION_SEEDS").unwrap_or(SEEDS), number("SIMULATION_FIRST").unwrap_or(FIRST));
    let began = Instant::now();
    let mut steps = 0;
    for seed in first..first + seeds {
        match history::run_seed(seed) {
            Ok(taken) => steps += taken,
            Err(failure) => panic!("seed {seed}: {}", history::explain(seed, &failure)),
        }
    }
    println!(
        "{seeds} seeds from {first} on, {steps} steps, {:.0} seeds/s",
        seeds as f64 / began.elapsed().as_secs_f64()
    );
}

#[test]
fn one_seed_is_one_history_to_the_byte() {
    for seed in [1, 2, 3, 50, 51, 52] {
        let [one, two] = [(); 2].map(|()| history::trace(seed));
        assert!(one == two && one.len() > 20, "seed {seed}");
    }
}
