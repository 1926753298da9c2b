//! Jobs that wait for a peer, in order, each with what stays with it whatever happens to it.

use std::collections::{BTreeMap, VecDeque};

use crate::batch::{Batch, Job, LARGE, Place};

/// What is known of a job. In a row of jobs, the orders (and the ids) count on from those of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobState {
    /// The place that it was given when it was taken in.
    pub order: u64,
    /// Its sequence number toward zeropipe peers, once it was sent to one.
    pub id: Option<u64>,
    /// How often it was sent to a zeropipe peer that did not acknowledge it.
    pub failures: u32,
    /// How often the connection of a plain peer has ended in the middle of it.
    pub cuts: u8,
}

impl JobState {
    /// That of a job that was just accepted.
    pub fn new(order: u64) -> Self {
        Self { order, id: None, failures: 0, cuts: 0 }
    }

    /// That of the job so many behind.
    pub fn behind(self, jobs: usize) -> Self {
        Self { order: self.order + jobs as u64, id: self.id.map(|id| id + jobs as u64), ..self }
    }
}

/// A row of jobs in a batch, with the state of the first.
#[derive(Debug, Clone)]
pub struct JobRange {
    batch: Batch,
    at: Place,
    jobs: usize,
    cost: usize,
    /// That of the first job.
    pub state: JobState,
}

impl JobRange {
    /// All jobs of a batch.
    pub fn new(batch: Batch, state: JobState) -> Self {
        let (jobs, cost) = (batch.jobs(), batch.cost());
        Self { batch, at: Place::default(), jobs, cost, state }
    }

    /// The same jobs with another state.
    pub fn with(self, state: JobState) -> Self {
        Self { state, ..self }
    }

    /// How many jobs.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// What they count, all together.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// How many of them were taken in before the one with that order.
    pub fn jobs_before(&self, order: u64) -> usize {
        order.saturating_sub(self.state.order).min(self.jobs as u64) as usize
    }

    /// Whether the one with that order is among them.
    pub fn has(&self, order: u64) -> bool {
        (self.state.order..self.state.order + self.jobs as u64).contains(&order)
    }

    /// The first job.
    pub fn first(&self) -> Option<Job<'_>> {
        (self.jobs > 0).then(|| self.batch.job(self.at).map(|(job, _)| job)).flatten()
    }

    /// Its jobs, each with the place behind it.
    pub fn iter(&self) -> impl Iterator<Item = (Job<'_>, Place)> {
        let mut at = self.at;
        (0..self.jobs).map_while(move |_| {
            let (job, next) = self.batch.job(at)?;
            at = next;
            Some((job, next))
        })
    }

    /// The whole batch, if it is one large job that travels alone.
    pub fn alone(&self) -> Option<&Batch> {
        (self.batch.jobs() == 1 && self.batch.slab().len() >= LARGE).then_some(&self.batch)
    }

    /// Cuts off so many jobs from its front.
    pub fn split_front(&mut self, jobs: usize) -> Self {
        if jobs >= self.jobs {
            let rest = Self { jobs: 0, cost: 0, state: self.state.behind(self.jobs), ..self.clone() };
            return std::mem::replace(self, rest);
        }
        let (next, cost) = self.batch.span(self.at, jobs);
        self.cut(jobs, next, cost)
    }

    /// The same for somebody who has just gone through them and knows where they end and what they count.
    pub fn cut(&mut self, jobs: usize, next: Place, cost: usize) -> Self {
        let front = Self { jobs, cost, ..self.clone() };
        (self.at, self.state) = (next, self.state.behind(jobs));
        self.jobs -= jobs;
        self.cost -= cost;
        front
    }

    /// Each of its jobs as a range of its own.
    pub fn singles(mut self) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || (self.jobs > 0).then(|| self.split_front(1)))
    }
}

/// The waiting line of a push end.
#[derive(Debug, Default)]
pub struct Queue {
    /// What came back, by its order: all of it was taken in before what never left.
    returned: BTreeMap<u64, JobRange>,
    ranges: VecDeque<JobRange>,
    jobs: usize,
}

impl Queue {
    /// How many jobs wait.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// How many of them have a lower order.
    pub fn jobs_before(&self, order: u64) -> usize {
        let newer = self.ranges.partition_point(|range| range.state.order < order);
        let older = self.returned.range(..order).map(|(_, range)| range);
        older.chain(self.ranges.range(..newer)).map(|range| range.jobs_before(order)).sum()
    }

    /// Puts jobs behind all others.
    pub fn push_back(&mut self, range: JobRange) {
        self.jobs += range.jobs();
        self.ranges.push_back(range);
    }

    /// Puts jobs that came back where they belong: before all that were taken in later.
    pub fn put_back(&mut self, range: JobRange) {
        if range.jobs > 0 {
            self.jobs += range.jobs();
            self.returned.insert(range.state.order, range);
        }
    }

    /// The jobs whose turn it is.
    pub fn front(&self) -> Option<&JobRange> {
        self.returned.values().next().or_else(|| self.ranges.front())
    }

    /// Takes jobs from the front range: so many, which end there and count so much.
    pub fn take_front(&mut self, jobs: usize, next: Place, cost: usize) -> Option<JobRange> {
        let Some(mut first) = self.returned.first_entry() else {
            self.jobs -= jobs;
            let range = self.ranges.front_mut()?;
            return if jobs == range.jobs {
                self.ranges.pop_front()
            } else {
                Some(range.cut(jobs, next, cost))
            };
        };
        self.jobs -= jobs;
        if jobs == first.get().jobs {
            return Some(first.remove());
        }
        let front = first.get_mut().cut(jobs, next, cost);
        let rest = first.remove();
        self.returned.insert(rest.state.order, rest);
        Some(front)
    }

    /// The order of the first job that came back for which `is_wanted`.
    pub fn find_returned(&self, is_wanted: impl Fn(u64) -> bool) -> Option<u64> {
        self.returned.values().map(|range| range.state.order).find(|&order| is_wanted(order))
    }

    /// Takes the whole range at the front.
    pub fn pop_front(&mut self) -> Option<JobRange> {
        let range = self.returned.pop_first().map(|(_, range)| range).or_else(|| self.ranges.pop_front())?;
        self.jobs -= range.jobs;
        Some(range)
    }

    /// Takes out a job, by its order, if it waits. All that were taken in before it count as having come back from then on: each
    /// is moved only once, however many are taken out.
    #[inline(never)]
    pub fn remove(&mut self, order: u64) -> Option<JobRange> {
        while self.ranges.front().is_some_and(|range| range.state.order <= order) {
            let range = self.ranges.pop_front()?;
            self.returned.insert(range.state.order, range);
        }
        let (&first, _) = self.returned.range(..=order).next_back()?;
        let mut rest = self.returned.remove(&first)?;
        self.jobs -= rest.jobs;
        let before = rest.split_front((order - first).min(rest.jobs as u64) as usize);
        let found = rest.split_front(1);
        self.put_back(before);
        self.put_back(rest);
        (found.jobs > 0).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Builder;

    fn range(jobs: usize, order: u64) -> JobRange {
        let mut builder = Builder::default();
        for job in 0..jobs {
            builder.slab().extend(vec![0; job]);
            builder.end_frame(job % 2 == 1);
            if job % 2 == 1 {
                builder.end_frame(false);
            }
        }
        JobRange::new(
            builder.take().expect("jobs"),
            JobState { order, id: Some(100 + order), failures: 0, cuts: 0 },
        )
    }

    fn orders(queue: &mut Queue) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop_front())
            .flat_map(JobRange::singles)
            .map(|range| range.state.order)
            .collect()
    }

    #[test]
    fn a_lot_can_be_cut_anywhere_and_keeps_its_books() {
        for cut in 0..=6 {
            let mut rest = range(6, 10);
            let whole = rest.cost();
            let front = rest.split_front(cut);
            assert_eq!((front.jobs(), rest.jobs(), front.cost() + rest.cost()), (cut, 6 - cut, whole));
            let each: Vec<_> = front.singles().chain(rest.singles()).collect();
            for (index, single) in each.iter().enumerate() {
                let order = 10 + index as u64;
                assert_eq!(single.state, JobState { order, id: Some(100 + order), failures: 0, cuts: 0 });
                assert_eq!(single.first().map(Job::bytes), Some(index));
                assert_eq!(single.cost(), single.first().map_or(0, Job::cost));
            }
        }
    }

    #[test]
    fn what_comes_back_stands_in_its_old_place() {
        let mut queue = Queue::default();
        queue.push_back(range(2, 7));
        for order in [5, 1, 3] {
            queue.put_back(range(2, order));
        }
        assert_eq!(queue.jobs(), 8);
        assert_eq!(orders(&mut queue), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn one_job_can_be_taken_out_of_the_middle() {
        for order in 0..6 {
            let mut queue = Queue::default();
            queue.put_back(range(3, 0));
            queue.put_back(range(3, 3));
            assert_eq!(queue.remove(order).map(|range| range.state.order), Some(order));
            assert!(queue.remove(order).is_none());
            assert_eq!(queue.jobs(), 5);
            assert!(queue.remove(9).is_none());
            assert_eq!(orders(&mut queue), (0..6).filter(|&other| other != order).collect::<Vec<_>>());
        }
    }
}
