//! Jobs that one peer has sent and nobody was given yet.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::{
    batch::{Batch, Job, Place},
    wire::flow::Mark,
};

/// What is known of a job from its place on the link. In a row of jobs, numbers and ids count on from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its number on the link, from 1.
    pub number: u64,
    /// Its sequence number, if its pusher has told.
    pub id: Option<u64>,
    /// How often it has been sent.
    pub attempt: u32,
}

impl Row {
    /// What is known of the job so many behind.
    pub fn behind(self, jobs: usize) -> Self {
        // A peer may tell any id.
        Self { number: self.number + jobs as u64, id: self.id.map(|id| id.wrapping_add(jobs as u64)), ..self }
    }
}

/// Jobs that came in one batch, as far as they are left.
#[derive(Debug)]
pub struct Parcel {
    /// The jobs,
    pub batch: Batch,
    /// the first of them that is left,
    pub at: Place,
    /// what is known of it,
    pub row: Row,
    /// how many are left,
    pub jobs: usize,
    /// and when they came.
    pub arrived: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Inbox {
    parcels: VecDeque<Parcel>,
    jobs: usize,
    bytes: usize,
    /// Since the beginning: jobs, and what they count.
    received: u64,
    received_cost: u64,
    next_id: Option<u64>,
}

impl Inbox {
    /// An empty one that counts on from where this one is.
    pub fn following(&self) -> Self {
        Self {
            received: self.received,
            received_cost: self.received_cost,
            next_id: self.next_id,
            ..Self::default()
        }
    }

    /// Takes in what was read.
    pub fn add(&mut self, batch: Batch, mark: Option<Mark>) {
        let jobs = batch.jobs();
        let id = mark.and_then(|mark| mark.id).or(self.next_id);
        self.next_id = id.map(|id| id.wrapping_add(jobs as u64));
        let row = Row { number: self.received + 1, id, attempt: mark.map_or(1, |mark| mark.attempt) };
        self.received += jobs as u64;
        self.received_cost += batch.cost() as u64;
        self.jobs += jobs;
        self.bytes += batch.slab().len();
        self.parcels.push_back(Parcel { batch, at: Place::default(), row, jobs, arrived: Instant::now() });
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// How many jobs are left.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// How many bytes the batches take up.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many jobs have come since the beginning.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// What they count.
    pub fn received_cost(&self) -> u64 {
        self.received_cost
    }

    /// When the first that is left came.
    pub fn oldest(&self) -> Option<Instant> {
        self.parcels.front().map(|parcel| parcel.arrived)
    }

    /// The first job that is left.
    pub fn first(&self) -> Option<(Job<'_>, Row)> {
        let parcel = self.parcels.front()?;
        Some((parcel.batch.job(parcel.at)?.0, parcel.row))
    }

    /// Leaves the first job behind.
    pub fn advance(&mut self) {
        let Some(parcel) = self.parcels.front_mut() else { return };
        if let Some((_, next)) = parcel.batch.job(parcel.at) {
            (parcel.at, parcel.row) = (next, parcel.row.behind(1));
            parcel.jobs -= 1;
            self.jobs -= 1;
        }
        if parcel.jobs == 0 {
            self.pop();
        }
    }

    /// Takes at most so many jobs that came together. A part of what came together is copied.
    pub fn take(&mut self, most: usize) -> Option<Parcel> {
        let parcel = self.parcels.front_mut()?;
        if parcel.jobs <= most {
            return self.pop();
        }
        let batch = parcel.batch.copy(parcel.at, most)?;
        let (next, _) = parcel.batch.span(parcel.at, most);
        let part =
            Parcel { batch, at: Place::default(), row: parcel.row, jobs: most, arrived: parcel.arrived };
        (parcel.at, parcel.row) = (next, parcel.row.behind(most));
        parcel.jobs -= most;
        self.jobs -= most;
        Some(part)
    }

    /// Leaves so many behind.
    pub fn skip(&mut self, mut jobs: u64) {
        while jobs > 0
            && let Some(parcel) = self.take(jobs as usize)
        {
            jobs -= parcel.jobs as u64;
        }
    }

    fn pop(&mut self) -> Option<Parcel> {
        let parcel = self.parcels.pop_front()?;
        self.jobs -= parcel.jobs;
        self.bytes -= parcel.batch.slab().len();
        Some(parcel)
    }
}
