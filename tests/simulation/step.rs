//! What can happen, as data: a history is a list of these, and can be made shorter.

use super::random::Random;

/// What happens in one step. Peers are named by their place among those that are there.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// Jobs are handed over: so many, of that size, with so many frames more.
    Push { jobs: usize, size: usize, frames: usize },
    /// A peer joins.
    Join { is_flow: bool },
    /// A peer may be sent so many jobs more, that count so much.
    Grant { peer: usize, jobs: u64, cost: u64 },
    /// A peer's connection takes so many bytes.
    Write { peer: usize, bytes: usize },
    /// It takes no more.
    Block { peer: usize },
    /// A peer is done with so many jobs, not the first so many.
    Ack { peer: usize, skip: usize, jobs: usize },
    /// It has not started with them.
    Return { peer: usize, skip: usize, jobs: usize },
    /// Its handler has failed on one.
    Nack { peer: usize, skip: usize },
    /// It refuses one for good; a request only.
    Reject { peer: usize, skip: usize },
    /// Its connection ends.
    Leave { peer: usize },
    /// Time passes.
    Wait { milliseconds: u64 },
    /// Somebody waits until the first jobs are delivered: all but so many.
    Drain { but: u64 },
    /// Nobody waits for the reply to a request any more.
    Abandon { job: usize },
    /// A peer answers a request that it does not hold.
    Intrude { peer: usize, job: usize },
}

/// What a sender is asked to be.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    pub is_requests: bool,
    pub max_jobs: usize,
    pub max_cost: usize,
    pub max_attempts: u32,
    pub ack_timeout: Option<u64>,
    pub seed: u64,
}

fn pick<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[random.below(of.len())]
}

/// The options of a seed, and its steps.
pub fn generate(seed: u64) -> (Choice, Vec<Step>) {
    let mut random = Random::new(seed);
    let random = &mut random;
    let choice = Choice {
        is_requests: random.below(3) == 0,
        max_jobs: pick(random, &[1, 2, 5, 40, 1_000, 100_000]),
        max_cost: pick(random, &[1, 200, 5_000, 1 << 20, 64 << 20]),
        max_attempts: pick(random, &[1, 2, 3, 5, 20]),
        ack_timeout: pick(random, &[None, None, None, Some(20), Some(1_000)]),
        seed,
    };
    let most_peers = pick(random, &[1, 2, 3, 8, 8, 40]);
    let is_mixed = random.below(3) == 0;
    let (large, jobs_at_once) = (pick(random, &[0, 0, 0, 8]), pick(random, &[1, 3, 20, 300]));
    let mut steps = Vec::new();
    for _ in 0..1 + random.below(most_peers) {
        steps.push(Step::Join { is_flow: !(is_mixed && random.below(2) == 0) });
    }
    let most = pick(random, &[20, 100, 400]);
    for _ in 0..20 + random.below(most) {
        steps.push(step(random, is_mixed, large, jobs_at_once));
    }
    (choice, steps)
}

fn step(random: &mut Random, is_mixed: bool, large: usize, jobs_at_once: usize) -> Step {
    let (peer, skip) = (random.below(64), pick(random, &[0, 0, 0, 1, 3]));
    let most = pick(random, &[1, 4, 40]);
    let jobs = 1 + random.below(most);
    match random.below(100) {
        0..18 => Step::Push {
            jobs: 1 + random.below(jobs_at_once),
            size: if random.below(100) < large { 70_000 } else { random.below(40) },
            frames: pick(random, &[0, 0, 0, 1, 5]),
        },
        18..22 => Step::Join { is_flow: !(is_mixed && random.below(2) == 0) },
        22..38 => {
            let (few, many) = (random.below(5) as u64, random.below(2_000) as u64);
            let cost = pick(random, &[0, 10, 1_000, 1 << 20]);
            Step::Grant { peer, jobs: pick(random, &[1, few, few, many]), cost }
        }
        38..60 => {
            let (few, many) = (1 + random.below(40), 1 + random.below(4_000));
            Step::Write { peer, bytes: pick(random, &[few, many, 1 << 20, 1 << 20]) }
        }
        60..64 => Step::Block { peer },
        64..78 => Step::Ack { peer, skip, jobs },
        78..82 => Step::Return { peer, skip, jobs },
        82..86 => Step::Nack { peer, skip },
        86..87 => Step::Reject { peer, skip },
        87..90 => Step::Leave { peer },
        90..96 => Step::Wait { milliseconds: pick(random, &[1, 3, 30, 600, 40_000]) },
        96..98 => Step::Drain { but: random.below(3) as u64 },
        98..99 => Step::Abandon { job: random.below(1 << 20) },
        _ => Step::Intrude { peer, job: random.below(1 << 20) },
    }
}
