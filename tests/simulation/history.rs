//! Runs the history of a seed, makes one that fails shorter, and tells it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use super::{
    step::{Choice, Step, generate},
    world::World,
};

/// Runs the history of a seed; how many steps it has.
pub fn run_seed(seed: u64) -> Result<usize, String> {
    let (choice, steps) = generate(seed);
    run(choice, &steps, None).0.map(|()| steps.len())
}

/// All that happens under a seed, as text.
pub fn trace(seed: u64) -> String {
    let (choice, steps) = generate(seed);
    run(choice, &steps, Some(String::new())).1
}

/// Runs steps, and then without faults to the end: whether all held, and what happened if that is
/// asked for. A panic of the sender is a failure like another.
fn run(choice: Choice, steps: &[Step], log: Option<String>) -> (Result<(), String>, String) {
    let mut world = World::new(choice, Instant::now(), log);
    let result = catch_unwind(AssertUnwindSafe(|| {
        steps.iter().try_for_each(|&step| world.step(step))?;
        world.quiesce()
    }));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into())).unwrap_or_default())
    });
    (result, world.log.take().unwrap_or_default())
}

/// No history is worth more time.
const SHRINKING: Duration = Duration::from_secs(20);

/// Leaves out as many steps as can be without the failure going away.
fn shrink(choice: Choice, mut steps: Vec<Step>) -> Vec<Step> {
    let (began, mut length) = (Instant::now(), steps.len().div_ceil(2));
    loop {
        let mut at = 0;
        while at < steps.len() && began.elapsed() < SHRINKING {
            let end = (at + length).min(steps.len());
            let fewer: Vec<_> = steps[..at].iter().chain(&steps[end..]).copied().collect();
            if run(choice, &fewer, None).0.is_err() {
                steps = fewer;
            } else {
                at = end;
            }
        }
        if length <= 1 {
            return steps;
        }
        length = length.div_ceil(2);
    }
}

/// The shortest history that was found to fail under a seed, for people.
pub fn explain(seed: u64, failure: &str) -> String {
    let hook = std::panic::take_hook();
    // Panics are failures here, and were printed once.
    std::panic::set_hook(Box::new(|_| {}));
    let (choice, steps) = generate(seed);
    let steps = shrink(choice, steps);
    let (result, log) = run(choice, &steps, Some(String::new()));
    std::panic::set_hook(hook);
    let shrunk = result.err().unwrap_or_default();
    format!("{failure}\n\n{choice:?}\n{log}\n{shrunk}\n\nsteps: {steps:?}\n")
}
