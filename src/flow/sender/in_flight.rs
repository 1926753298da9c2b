//! Jobs that a zeropipe peer was sent and has not settled, and its credit (docs/flow.md).

use std::{collections::VecDeque, time::Instant};

use super::queue::{JobRange, JobState};
use crate::{
    error::{Error, code},
    wire::flow::{Mark, Range},
};

/// How many sequence numbers a link is given at once: few enough for all links of a lifetime to stay below 2^53, which
/// JavaScript can still count to.
pub const IDS: u64 = 1 << 24;

/// As many as are left when it asks for more: what is sent at a time stays far below.
const FEW_IDS: u64 = 1 << 18;

/// The jobs in flight toward one zeropipe peer. They are numbered from 1, in the order in which they are sent.
#[derive(Debug, Default)]
pub struct InFlight {
    /// What is not settled, by rising numbers.
    rows: VecDeque<Row>,
    /// Jobs that were sent, and what they count, from the start of the link.
    sent: u64,
    sent_cost: u64,
    /// What the peer has granted, counted like that.
    credit: u64,
    credit_cost: u64,
    /// Of `rows`, without those that have lapsed.
    jobs: usize,
    cost: usize,
    /// Of `rows`, those that have lapsed.
    lapsed: usize,
    /// When the peer has last been done with one.
    progress: Option<Instant>,
    /// The sequence number that the peer expects of the next job, unless it is told another.
    expected_id: Option<u64>,
    /// The next of its own sequence numbers, and how many are left.
    next_id: u64,
    ids: u64,
}

/// Jobs that were sent in a row.
#[derive(Debug)]
struct Row {
    first: u64,
    /// When they were sent.
    since: Instant,
    /// By when the peer has begun with them, as far as it has shown.
    begun: Option<Instant>,
    range: JobRange,
    /// Held for too long: they are somebody else's by now.
    lapsed: bool,
}

impl Row {
    fn last(&self) -> u64 {
        self.first + self.range.jobs() as u64 - 1
    }

    /// Cuts off the jobs below that number, of which there must be some on both sides.
    fn split_front(&mut self, number: u64) -> Self {
        let range = self.range.split_front((number - self.first) as usize);
        let front = Self { range, ..*self };
        self.first = number;
        front
    }
}

/// Jobs that a peer is done with, in one way or the other.
#[derive(Debug)]
pub enum Settled {
    /// They were its own until now.
    Own(JobRange),
    /// They had lapsed, and are somebody else's by now or wait for somebody.
    Lapsed(JobRange),
}

impl Settled {
    /// The jobs.
    pub fn range(&self) -> &JobRange {
        match self {
            Self::Own(range) | Self::Lapsed(range) => range,
        }
    }
}

impl InFlight {
    /// How many jobs it holds.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// How many it has settled.
    pub fn settled(&self) -> u64 {
        self.sent - self.jobs as u64
    }

    /// What they count.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// How many more jobs it may be sent, the last of which may pass what is granted in bytes.
    pub fn credit(&self) -> u64 {
        if self.sent_cost < self.credit_cost { self.credit.saturating_sub(self.sent) } else { 0 }
    }

    /// What may be sent before the bytes that are granted are reached.
    pub fn credit_cost(&self) -> u64 {
        self.credit_cost.saturating_sub(self.sent_cost)
    }

    /// The peer grants so much, from the start of the link; it may be less than before.
    pub fn grant(&mut self, jobs: u64, cost: u64) {
        (self.credit, self.credit_cost) = (jobs, cost);
    }

    /// The sequence number of the next job, and what the peer must be told of it if it could not know that by itself.
    /// `fresh` gives the first of [`IDS`] new numbers.
    pub fn mark(&mut self, state: JobState, fresh: impl FnOnce() -> u64) -> (u64, Option<Mark>) {
        if state.id.is_none() && self.ids < FEW_IDS {
            (self.next_id, self.ids) = (fresh(), IDS);
        }
        let id = state.id.unwrap_or(self.next_id);
        let is_expected = self.expected_id == Some(id) && state.failures == 0;
        (id, (!is_expected).then_some(Mark { id: Some(id), attempt: state.failures + 1 }))
    }

    /// How many new jobs the peer expects as they come, so that it need not be told anything of them.
    pub fn in_a_row(&self) -> u64 {
        if self.expected_id == Some(self.next_id) { self.ids } else { 0 }
    }

    /// The sequence number of the next of those.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Notes jobs that are sent now, the first of which has that sequence number.
    pub fn push(&mut self, mut range: JobRange, id: u64, since: Instant) {
        let (jobs, cost) = (range.jobs(), range.cost());
        if range.state.id.is_none() {
            self.next_id += jobs as u64;
            self.ids -= jobs as u64;
        }
        range.state.id = Some(id);
        self.expected_id = Some(id + jobs as u64);
        self.jobs += jobs;
        self.cost += cost;
        self.sent_cost += cost as u64;
        self.rows.push_back(Row { first: self.sent + 1, since, begun: None, range, lapsed: false });
        self.sent += jobs as u64;
    }

    /// Whether it holds a job, by its order, lapsed or not. Orders rise with the numbers but for jobs that were sent before.
    pub fn holds(&self, order: u64) -> bool {
        let has = |row: &Row| row.range.has(order);
        let near = self.rows.partition_point(|row| row.range.state.order <= order).saturating_sub(1);
        self.rows.get(near).is_some_and(has) || self.rows.iter().any(has)
    }

    /// How many of those that it holds have a lower order.
    pub fn jobs_before(&self, order: u64) -> usize {
        self.rows.iter().filter(|row| !row.lapsed).map(|row| row.range.jobs_before(order)).sum()
    }

    /// Whether all these jobs are in flight: no others can be settled.
    pub fn check(&self, ranges: &[Range]) -> Result<(), Error> {
        let is_in_flight = |range: &&Range| {
            let mut next = range.first;
            let from = self.rows.partition_point(|row| row.last() < range.first);
            for row in self.rows.range(from..) {
                if row.first > next || row.last() >= range.last {
                    return row.first <= next;
                }
                next = row.last() + 1;
            }
            false
        };
        match ranges.iter().find(|range| !is_in_flight(range)) {
            Some(Range { first, last }) => Err(Error::new(
                code::PROTOCOL,
                format!("jobs {first} to {last} were settled, not all of which are in flight"),
            )),
            None => Ok(()),
        }
    }

    /// Takes out jobs that the peer has settled. Before anything of a command is, [`InFlight::check`] all of it.
    pub fn settle(&mut self, range: Range, mut take: impl FnMut(Settled)) {
        let Range { first, last } = range;
        let mut index = self.rows.partition_point(|row| row.last() < first);
        while let Some(row) = self.rows.get_mut(index).filter(|row| row.first <= last) {
            if row.first < first {
                let before = row.split_front(first);
                self.rows.insert(index, before);
                index += 1;
                continue;
            }
            let settled =
                if row.last() > last { Some(row.split_front(last + 1)) } else { self.rows.remove(index) };
            let Some(Row { range, lapsed, .. }) = settled else { break };
            if lapsed {
                self.lapsed -= range.jobs();
                take(Settled::Lapsed(range));
            } else {
                self.jobs -= range.jobs();
                self.cost -= range.cost();
                take(Settled::Own(range));
            }
            if self.rows.get(index).is_some_and(|row| row.first > last) {
                break;
            }
        }
    }

    /// Everything that was not settled, because the link has ended.
    pub fn take_all(&mut self) -> Vec<JobRange> {
        (self.jobs, self.cost, self.lapsed) = (0, 0, 0);
        self.rows.drain(..).filter(|row| !row.lapsed).map(|row| row.range).collect()
    }

    /// When the job that it has held longest was sent.
    pub fn oldest(&self) -> Option<Instant> {
        self.rows.iter().find(|row| !row.lapsed).map(|row| row.since)
    }

    /// The peer is done with jobs, the first of which has that number. A peer begins with jobs in the order in which it got them, so
    /// it has begun with all that came before.
    pub fn note_progress(&mut self, first: u64, now: Instant) {
        self.progress = Some(now);
        let before = self.rows.partition_point(|row| row.last() < first);
        for row in self.rows.range_mut(..before).rev().take_while(|row| row.begun.is_none()) {
            row.begun = Some(now);
        }
    }

    /// Since when the peer has worked on the first job that it holds, as far as it has shown: one that has yet to begin with a job may
    /// be busy with others, until it has been done with none for as long.
    pub fn held_since(&self) -> Option<Instant> {
        self.rows.iter().find(|row| !row.lapsed).map(|row| self.worked_on_since(row))
    }

    fn worked_on_since(&self, row: &Row) -> Instant {
        row.begun.unwrap_or_else(|| self.progress.map_or(row.since, |progress| progress.max(row.since)))
    }

    /// The jobs that the peer has worked on since then or before: they are not the peer's any more, though it may still settle them.
    pub fn lapse(&mut self, before: Instant) -> Vec<JobRange> {
        let mut ranges = Vec::new();
        for index in 0..self.rows.len() {
            let row = &self.rows[index];
            if row.lapsed {
                continue;
            }
            if self.worked_on_since(row) > before {
                break;
            }
            ranges.push(row.range.clone());
            self.rows[index].lapsed = true;
        }
        let jobs = ranges.iter().map(JobRange::jobs).sum::<usize>();
        (self.jobs, self.lapsed) = (self.jobs - jobs, self.lapsed + jobs);
        self.cost -= ranges.iter().map(JobRange::cost).sum::<usize>();
        ranges
    }

    /// Whether the peer still has a job, by its order, that has lapsed.
    pub fn has_lapsed(&self, order: u64) -> bool {
        self.lapsed > 0 && self.rows.iter().any(|row| row.lapsed && row.range.has(order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Builder;

    fn range(jobs: usize, order: u64) -> JobRange {
        let mut builder = Builder::default();
        for _ in 0..jobs {
            builder.slab().extend_from_slice(b"job");
            builder.end_frame(false);
        }
        JobRange::new(
            builder.take().expect("jobs"),
            JobState { order, id: Some(order), failures: 0, cuts: 0 },
        )
    }

    fn filled() -> InFlight {
        let mut in_flight = InFlight::default();
        in_flight.grant(100, 100);
        in_flight.push(range(5, 0), 0, Instant::now());
        in_flight.push(range(1, 5), 5, Instant::now());
        in_flight.push(range(4, 6), 6, Instant::now());
        in_flight
    }

    fn settle(in_flight: &mut InFlight, first: u64, last: u64) -> Option<Vec<u64>> {
        let mut orders = Vec::new();
        let taken = |settled| match settled {
            Settled::Own(range) | Settled::Lapsed(range) => {
                orders.extend(range.singles().map(|range| range.state.order))
            }
        };
        in_flight.check(&[Range { first, last }]).ok()?;
        in_flight.settle(Range { first, last }, taken);
        Some(orders)
    }

    #[test]
    fn any_range_that_is_in_flight_can_be_settled_once() {
        for first in 1..=10 {
            for last in first..=10 {
                let mut in_flight = filled();
                assert_eq!(settle(&mut in_flight, first, last), Some((first - 1..last).collect()));
                assert_eq!(in_flight.jobs() as u64, 10 - (last - first + 1));
                assert_eq!(in_flight.cost(), 3 * in_flight.jobs());
                assert_eq!(settle(&mut in_flight, last, last), None);
                let rest: Vec<_> = in_flight
                    .take_all()
                    .into_iter()
                    .flat_map(JobRange::singles)
                    .map(|range| range.state.order)
                    .collect();
                assert_eq!(
                    rest,
                    (0..10).filter(|order| !(first - 1..last).contains(order)).collect::<Vec<_>>()
                );
            }
        }
    }

    #[test]
    fn what_was_never_sent_can_not_be_settled() {
        assert_eq!(settle(&mut filled(), 10, 11), None);
        assert_eq!(settle(&mut filled(), 11, 11), None);
        assert_eq!(settle(&mut filled(), 1, u64::MAX), None);
    }

    #[test]
    fn credit_counts_from_the_start_and_may_go_down() {
        let mut in_flight = filled();
        assert_eq!((in_flight.credit(), in_flight.credit_cost()), (90, 70));
        in_flight.grant(12, 100);
        assert_eq!(in_flight.credit(), 2);
        in_flight.grant(12, 30);
        assert_eq!(in_flight.credit(), 0);
        in_flight.grant(3, 100);
        assert_eq!(in_flight.credit(), 0);
    }

    #[test]
    fn the_peer_is_told_of_ids_only_when_it_could_not_know() {
        let mut in_flight = InFlight::default();
        let fresh = JobState::new(0);
        assert_eq!(in_flight.mark(fresh, || 50), (50, Some(Mark { id: Some(50), attempt: 1 })));
        in_flight.push(range(3, 0).with(fresh), 50, Instant::now());
        assert_eq!(in_flight.mark(fresh, || 99), (53, None));
        let again = JobState { order: 0, id: Some(7), failures: 1, cuts: 0 };
        assert_eq!(in_flight.mark(again, || 99), (7, Some(Mark { id: Some(7), attempt: 2 })));
        in_flight.push(range(1, 0).with(again), 7, Instant::now());
        assert_eq!(in_flight.mark(JobState { failures: 0, id: Some(8), ..again }, || 99), (8, None));
        assert_eq!(in_flight.mark(fresh, || 99), (53, Some(Mark { id: Some(53), attempt: 1 })));
        in_flight.ids = 0;
        assert_eq!(in_flight.mark(fresh, || 99), (99, Some(Mark { id: Some(99), attempt: 1 })));
    }

    #[test]
    fn what_has_lapsed_can_still_be_settled_but_is_not_held() {
        let mut in_flight = filled();
        assert_eq!(in_flight.lapse(Instant::now()).len(), 3);
        assert_eq!((in_flight.jobs(), in_flight.oldest()), (0, None));
        assert_eq!(settle(&mut in_flight, 2, 9), Some((1..9).collect()));
        assert!(in_flight.take_all().is_empty());
    }

    #[test]
    fn a_job_that_waits_in_line_at_a_busy_peer_does_not_lapse_and_one_that_others_pass_does() {
        let start = Instant::now();
        let at = |seconds| start + std::time::Duration::from_secs(seconds);
        let mut in_flight = InFlight::default();
        in_flight.push(range(1, 0), 0, start);
        in_flight.push(range(9, 1), 1, start);
        // Done one by one, in order: none of those behind has begun.
        for number in 1..=4 {
            settle(&mut in_flight, number, number);
            in_flight.note_progress(number, at(number));
        }
        assert_eq!(in_flight.held_since(), Some(at(4)));
        assert!(in_flight.lapse(at(3)).is_empty());
        // The sixth is done before the fifth: that has begun, and is now the only one to lapse.
        settle(&mut in_flight, 6, 6);
        in_flight.note_progress(6, at(5));
        settle(&mut in_flight, 7, 8);
        in_flight.note_progress(7, at(7));
        let late: Vec<_> = in_flight.lapse(at(5)).into_iter().flat_map(JobRange::singles).collect();
        assert_eq!(late.iter().map(|range| range.state.order).collect::<Vec<_>>(), [4]);
        assert!(in_flight.has_lapsed(4) && !in_flight.has_lapsed(8));
        // Once none is done for as long, all of them may be in hand.
        assert_eq!(in_flight.held_since(), Some(at(7)));
        assert_eq!(in_flight.lapse(at(7)).iter().map(JobRange::jobs).sum::<usize>(), 2);
        assert_eq!((in_flight.jobs(), in_flight.held_since()), (0, None));
        settle(&mut in_flight, 5, 5);
        assert!(!in_flight.has_lapsed(4) && in_flight.has_lapsed(8));
    }
}
