//! What a zeropipe peer was sent and has not settled, and how much more it may be sent (docs/flow.md).

use std::collections::VecDeque;

use tokio::time::Instant;

use super::queue::{Lot, Ticket};
use crate::{
    error::{Error, code},
    wire::flow::{Mark, Range},
};

/// How many sequence numbers a link is given at once: few enough for all links of a lifetime to stay below 2^53, which
/// JavaScript can still count to.
pub const IDS: u64 = 1 << 24;

/// As many as are left when it asks for more: what is sent at a time stays far below.
const FEW_IDS: u64 = 1 << 18;

/// The books of one flow link, on the side of the push end. Jobs are numbered from 1, in the order they are sent.
#[derive(Debug, Default)]
pub struct Flight {
    /// What is not settled, by rising numbers.
    runs: VecDeque<Run>,
    /// Jobs that were sent, and what they count, from the start of the link.
    sent: u64,
    sent_cost: u64,
    /// What the peer has granted, counted like that.
    credit: u64,
    credit_cost: u64,
    /// Of `runs`, without those that have lapsed.
    jobs: usize,
    cost: usize,
    /// Of `runs`, those that have lapsed.
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
struct Run {
    first: u64,
    /// When they were sent.
    since: Instant,
    /// By when the peer has begun with them, as far as it has shown.
    begun: Option<Instant>,
    lot: Lot,
    /// Held for too long: they are somebody else's by now.
    lapsed: bool,
}

impl Run {
    fn last(&self) -> u64 {
        self.first + self.lot.jobs() as u64 - 1
    }

    /// Cuts off the jobs below that number, of which there must be some on both sides.
    fn split_front(&mut self, number: u64) -> Self {
        let lot = self.lot.split_front((number - self.first) as usize);
        let front = Self { lot, ..*self };
        self.first = number;
        front
    }
}

/// Jobs that a peer is done with, in one way or the other.
#[derive(Debug)]
pub enum Settled {
    /// They were its own until now.
    Own(Lot),
    /// They had lapsed, and are somebody else's by now or wait for somebody.
    Lapsed(Lot),
}

impl Settled {
    /// The jobs.
    pub fn lot(&self) -> &Lot {
        match self {
            Self::Own(lot) | Self::Lapsed(lot) => lot,
        }
    }
}

impl Flight {
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
    pub fn mark(&mut self, ticket: Ticket, fresh: impl FnOnce() -> u64) -> (u64, Option<Mark>) {
        if ticket.id.is_none() && self.ids < FEW_IDS {
            (self.next_id, self.ids) = (fresh(), IDS);
        }
        let id = ticket.id.unwrap_or(self.next_id);
        let is_expected = self.expected_id == Some(id) && ticket.failures == 0;
        (id, (!is_expected).then_some(Mark { id: Some(id), attempt: ticket.failures + 1 }))
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
    pub fn push(&mut self, mut lot: Lot, id: u64, since: Instant) {
        let (jobs, cost) = (lot.jobs(), lot.cost());
        if lot.ticket.id.is_none() {
            self.next_id += jobs as u64;
            self.ids -= jobs as u64;
        }
        lot.ticket.id = Some(id);
        self.expected_id = Some(id + jobs as u64);
        self.jobs += jobs;
        self.cost += cost;
        self.sent_cost += cost as u64;
        self.runs.push_back(Run { first: self.sent + 1, since, begun: None, lot, lapsed: false });
        self.sent += jobs as u64;
    }

    /// Whether it holds a job, by its order, lapsed or not. Orders rise with the numbers but for jobs that were sent before.
    pub fn holds(&self, order: u64) -> bool {
        let has = |run: &Run| run.lot.has(order);
        let near = self.runs.partition_point(|run| run.lot.ticket.order <= order).saturating_sub(1);
        self.runs.get(near).is_some_and(has) || self.runs.iter().any(has)
    }

    /// How many of those that it holds have a lower order.
    pub fn jobs_before(&self, order: u64) -> usize {
        self.runs.iter().filter(|run| !run.lapsed).map(|run| run.lot.jobs_before(order)).sum()
    }

    /// Whether all these jobs are in flight: no others can be settled.
    pub fn check(&self, ranges: &[Range]) -> Result<(), Error> {
        let is_in_flight = |range: &&Range| {
            let mut next = range.first;
            let from = self.runs.partition_point(|run| run.last() < range.first);
            for run in self.runs.range(from..) {
                if run.first > next || run.last() >= range.last {
                    return run.first <= next;
                }
                next = run.last() + 1;
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

    /// Takes out jobs that the peer has settled. Before anything of a command is, [`Flight::check`] all of it.
    pub fn settle(&mut self, range: Range, mut take: impl FnMut(Settled)) {
        let Range { first, last } = range;
        let mut index = self.runs.partition_point(|run| run.last() < first);
        while let Some(run) = self.runs.get_mut(index).filter(|run| run.first <= last) {
            if run.first < first {
                let before = run.split_front(first);
                self.runs.insert(index, before);
                index += 1;
                continue;
            }
            let settled =
                if run.last() > last { Some(run.split_front(last + 1)) } else { self.runs.remove(index) };
            let Some(Run { lot, lapsed, .. }) = settled else { break };
            if lapsed {
                self.lapsed -= lot.jobs();
                take(Settled::Lapsed(lot));
            } else {
                self.jobs -= lot.jobs();
                self.cost -= lot.cost();
                take(Settled::Own(lot));
            }
            if self.runs.get(index).is_some_and(|run| run.first > last) {
                break;
            }
        }
    }

    /// Everything that was not settled, because the link has ended.
    pub fn take_all(&mut self) -> Vec<Lot> {
        (self.jobs, self.cost, self.lapsed) = (0, 0, 0);
        self.runs.drain(..).filter(|run| !run.lapsed).map(|run| run.lot).collect()
    }

    /// When the job that it has held longest was sent.
    pub fn oldest(&self) -> Option<Instant> {
        self.runs.iter().find(|run| !run.lapsed).map(|run| run.since)
    }

    /// The peer is done with jobs, the first of which has that number. A peer begins with jobs in the order in which it got them, so
    /// it has begun with all that came before.
    pub fn note_progress(&mut self, first: u64, now: Instant) {
        self.progress = Some(now);
        let before = self.runs.partition_point(|run| run.last() < first);
        for run in self.runs.range_mut(..before).rev().take_while(|run| run.begun.is_none()) {
            run.begun = Some(now);
        }
    }

    /// Since when the peer has worked on the first job that it holds, as far as it has shown: one that has yet to begin with a job may
    /// be busy with others, until it has been done with none for as long.
    pub fn held_since(&self) -> Option<Instant> {
        self.runs.iter().find(|run| !run.lapsed).map(|run| self.worked_on_since(run))
    }

    fn worked_on_since(&self, run: &Run) -> Instant {
        run.begun.unwrap_or_else(|| self.progress.map_or(run.since, |progress| progress.max(run.since)))
    }

    /// The jobs that the peer has worked on since then or before: they are not the peer's any more, though it may still settle them.
    pub fn lapse(&mut self, before: Instant) -> Vec<Lot> {
        let mut lots = Vec::new();
        for index in 0..self.runs.len() {
            let run = &self.runs[index];
            if run.lapsed {
                continue;
            }
            if self.worked_on_since(run) > before {
                break;
            }
            lots.push(run.lot.clone());
            self.runs[index].lapsed = true;
        }
        let jobs = lots.iter().map(Lot::jobs).sum::<usize>();
        (self.jobs, self.lapsed) = (self.jobs - jobs, self.lapsed + jobs);
        self.cost -= lots.iter().map(Lot::cost).sum::<usize>();
        lots
    }

    /// Whether the peer still has a job, by its order, that has lapsed.
    pub fn has_lapsed(&self, order: u64) -> bool {
        self.lapsed > 0 && self.runs.iter().any(|run| run.lapsed && run.lot.has(order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Builder;

    fn lot(jobs: usize, order: u64) -> Lot {
        let mut builder = Builder::default();
        for _ in 0..jobs {
            builder.slab().extend_from_slice(b"job");
            builder.end_frame(false);
        }
        Lot::new(builder.take().expect("jobs"), Ticket { order, id: Some(order), failures: 0, cuts: 0 })
    }

    fn filled() -> Flight {
        let mut flight = Flight::default();
        flight.grant(100, 100);
        flight.push(lot(5, 0), 0, Instant::now());
        flight.push(lot(1, 5), 5, Instant::now());
        flight.push(lot(4, 6), 6, Instant::now());
        flight
    }

    fn settle(flight: &mut Flight, first: u64, last: u64) -> Option<Vec<u64>> {
        let mut orders = Vec::new();
        let taken = |settled| match settled {
            Settled::Own(lot) | Settled::Lapsed(lot) => {
                orders.extend(lot.singles().map(|lot| lot.ticket.order))
            }
        };
        flight.check(&[Range { first, last }]).ok()?;
        flight.settle(Range { first, last }, taken);
        Some(orders)
    }

    #[test]
    fn any_range_that_is_in_flight_can_be_settled_once() {
        for first in 1..=10 {
            for last in first..=10 {
                let mut flight = filled();
                assert_eq!(settle(&mut flight, first, last), Some((first - 1..last).collect()));
                assert_eq!(flight.jobs() as u64, 10 - (last - first + 1));
                assert_eq!(flight.cost(), 3 * flight.jobs());
                assert_eq!(settle(&mut flight, last, last), None);
                let rest: Vec<_> = flight
                    .take_all()
                    .into_iter()
                    .flat_map(Lot::singles)
                    .map(|lot| lot.ticket.order)
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
        let mut flight = filled();
        assert_eq!((flight.credit(), flight.credit_cost()), (90, 70));
        flight.grant(12, 100);
        assert_eq!(flight.credit(), 2);
        flight.grant(12, 30);
        assert_eq!(flight.credit(), 0);
        flight.grant(3, 100);
        assert_eq!(flight.credit(), 0);
    }

    #[test]
    fn the_peer_is_told_of_ids_only_when_it_could_not_know() {
        let mut flight = Flight::default();
        let fresh = Ticket { order: 0, id: None, failures: 0, cuts: 0 };
        assert_eq!(flight.mark(fresh, || 50), (50, Some(Mark { id: Some(50), attempt: 1 })));
        flight.push(lot(3, 0).with(fresh), 50, Instant::now());
        assert_eq!(flight.mark(fresh, || 99), (53, None));
        let again = Ticket { order: 0, id: Some(7), failures: 1, cuts: 0 };
        assert_eq!(flight.mark(again, || 99), (7, Some(Mark { id: Some(7), attempt: 2 })));
        flight.push(lot(1, 0).with(again), 7, Instant::now());
        assert_eq!(flight.mark(Ticket { failures: 0, id: Some(8), ..again }, || 99), (8, None));
        assert_eq!(flight.mark(fresh, || 99), (53, Some(Mark { id: Some(53), attempt: 1 })));
        flight.ids = 0;
        assert_eq!(flight.mark(fresh, || 99), (99, Some(Mark { id: Some(99), attempt: 1 })));
    }

    #[test]
    fn what_has_lapsed_can_still_be_settled_but_is_not_held() {
        let mut flight = filled();
        assert_eq!(flight.lapse(Instant::now()).len(), 3);
        assert_eq!((flight.jobs(), flight.oldest()), (0, None));
        assert_eq!(settle(&mut flight, 2, 9), Some((1..9).collect()));
        assert!(flight.take_all().is_empty());
    }

    #[test]
    fn a_job_that_waits_in_line_at_a_busy_peer_does_not_lapse_and_one_that_others_pass_does() {
        let start = Instant::now();
        let at = |seconds| start + std::time::Duration::from_secs(seconds);
        let mut flight = Flight::default();
        flight.push(lot(1, 0), 0, start);
        flight.push(lot(9, 1), 1, start);
        // Done one by one, in order: none of those behind has begun.
        for number in 1..=4 {
            settle(&mut flight, number, number);
            flight.note_progress(number, at(number));
        }
        assert_eq!(flight.held_since(), Some(at(4)));
        assert!(flight.lapse(at(3)).is_empty());
        // The sixth is done before the fifth: that has begun, and is now the only one to lapse.
        settle(&mut flight, 6, 6);
        flight.note_progress(6, at(5));
        settle(&mut flight, 7, 8);
        flight.note_progress(7, at(7));
        let late: Vec<_> = flight.lapse(at(5)).into_iter().flat_map(Lot::singles).collect();
        assert_eq!(late.iter().map(|lot| lot.ticket.order).collect::<Vec<_>>(), [4]);
        assert!(flight.has_lapsed(4) && !flight.has_lapsed(8));
        // Once none is done for as long, all of them may be in hand.
        assert_eq!(flight.held_since(), Some(at(7)));
        assert_eq!(flight.lapse(at(7)).iter().map(Lot::jobs).sum::<usize>(), 2);
        assert_eq!((flight.jobs(), flight.held_since()), (0, None));
        settle(&mut flight, 5, 5);
        assert!(!flight.has_lapsed(4) && flight.has_lapsed(8));
    }
}
