//! Jobs that wait for a peer, in order, each with its number.

use std::collections::VecDeque;

use crate::batch::{Batch, Job, LARGE, Place};

/// A batch of jobs with their numbers. Numbers are given once, when a job is taken in, and stay with it.
#[derive(Debug, Clone)]
pub struct Lot {
    batch: Batch,
    numbers: Numbers,
    /// The first job that still waits, and how many no longer do.
    at: Place,
    gone: usize,
}

#[derive(Debug, Clone)]
enum Numbers {
    From(u64),
    /// Of jobs that came back from a peer that had only some of a row.
    Each(Vec<u64>),
}

impl Lot {
    /// Jobs that are numbered in a row.
    pub fn new(batch: Batch, first: u64) -> Self {
        Self { batch, numbers: Numbers::From(first), at: Place::default(), gone: 0 }
    }

    /// Jobs with a number each.
    pub fn numbered(batch: Batch, numbers: Vec<u64>) -> Self {
        debug_assert_eq!(batch.jobs(), numbers.len());
        Self { batch, numbers: Numbers::Each(numbers), at: Place::default(), gone: 0 }
    }

    /// How many of its jobs still wait.
    pub fn jobs(&self) -> usize {
        self.batch.jobs() - self.gone
    }

    fn number(&self) -> u64 {
        match &self.numbers {
            Numbers::From(first) => first + self.gone as u64,
            Numbers::Each(numbers) => numbers[self.gone],
        }
    }
}

/// The waiting line of a push end.
#[derive(Debug, Default)]
pub struct Queue {
    lots: VecDeque<Lot>,
    jobs: usize,
}

/// The job whose turn it is.
#[derive(Debug)]
pub struct Front<'a> {
    /// The job.
    pub job: Job<'a>,
    /// Its number.
    pub number: u64,
    /// Where the next one begins, for [`Queue::advance`].
    pub next: Place,
    /// The whole batch, if the job is a large one that travels alone.
    pub alone: Option<&'a Batch>,
}

impl Queue {
    /// How many jobs wait.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// Puts jobs behind all others.
    pub fn push_back(&mut self, lot: Lot) {
        self.jobs += lot.jobs();
        self.lots.push_back(lot);
    }

    /// Puts jobs that came back before all others.
    pub fn push_front(&mut self, lot: Lot) {
        self.jobs += lot.jobs();
        self.lots.push_front(lot);
    }

    /// The job whose turn it is.
    pub fn front(&self) -> Option<Front<'_>> {
        let lot = self.lots.front()?;
        let (job, next) = lot.batch.job(lot.at)?;
        let alone = (lot.batch.jobs() == 1 && lot.batch.slab().len() >= LARGE).then_some(&lot.batch);
        Some(Front { job, number: lot.number(), next, alone })
    }

    /// Leaves the front job behind.
    pub fn advance(&mut self, next: Place) {
        if let Some(lot) = self.lots.front_mut() {
            lot.at = next;
            lot.gone += 1;
            self.jobs -= 1;
            if lot.jobs() == 0 {
                self.lots.pop_front();
            }
        }
    }
}
