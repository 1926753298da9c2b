//! A peer of the sender: what it was granted, what it has received and holds.

use std::collections::BTreeMap;

use zeropipe::{
    batch::{Batch, Place},
    flow::PeerId,
    wire::{
        command::{Command, FlowCommand},
        decoder::Decoder,
        flow::{Mark, Range},
    },
};

use super::job;

/// A job that has arrived.
pub struct Arrived {
    pub frames: Vec<Vec<u8>>,
    /// Its sequence number and attempt, where the peer is told.
    pub told: Option<(u64, u32)>,
}

pub struct Worker {
    pub id: PeerId,
    pub is_flow: bool,
    pub is_blocked: bool,
    decoder: Decoder,
    /// Counted from the start, as CREDIT does.
    pub granted: (u64, u64),
    received: (u64, u64),
    next_id: Option<u64>,
    /// By their numbers on the connection, the jobs that it holds.
    pub held: BTreeMap<u64, usize>,
}

impl Worker {
    pub fn new(id: PeerId, is_flow: bool) -> Self {
        Self {
            id,
            is_flow,
            is_blocked: false,
            decoder: Decoder::new(usize::MAX, is_flow),
            granted: (0, 0),
            received: (0, 0),
            next_id: None,
            held: BTreeMap::new(),
        }
    }

    /// The CREDIT that grants so much more than it has received.
    pub fn grant(&mut self, jobs: u64, cost: u64) -> FlowCommand {
        let (received, received_cost) = self.received;
        let granted = (received + jobs, received_cost + cost);
        // What was granted before may be on its way, so it holds whatever is granted now.
        self.granted = (self.granted.0.max(granted.0), self.granted.1.max(granted.1));
        FlowCommand::Credit { jobs: granted.0, cost: granted.1 }
    }

    /// Takes bytes in; the jobs that are whole with them.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<Arrived>, String> {
        self.decoder.feed(bytes).map_err(|error| format!("unsound bytes: {error}"))?;
        let mut arrived = Vec::new();
        while let Some((batch, mark)) = self.decoder.batch() {
            self.take(&batch, mark, &mut arrived)?;
        }
        match self.decoder.command() {
            None | Some(Command::Flow(FlowCommand::Job(_))) => Ok(arrived),
            Some(other) => Err(format!("a command that nobody sends: {other:?}")),
        }
    }

    fn take(&mut self, batch: &Batch, mark: Option<Mark>, arrived: &mut Vec<Arrived>) -> Result<(), String> {
        let (mut at, mut attempt) = (Place::default(), 1);
        if let Some(mark) = mark {
            self.next_id = mark.id;
            attempt = mark.attempt;
        }
        while let Some((job, next)) = batch.job(at) {
            at = next;
            let (jobs, cost) = self.received;
            if self.is_flow && (jobs >= self.granted.0 || cost >= self.granted.1) {
                return Err(format!("more than was granted: {:?} of {:?}", self.received, self.granted));
            }
            self.received = (jobs + 1, cost + job.cost() as u64);
            let told = match self.next_id {
                Some(id) if self.is_flow => Some((id, attempt)),
                None if self.is_flow => return Err("a job without a sequence number".into()),
                _ => None,
            };
            self.next_id = told.map(|(id, _)| id + 1);
            attempt = 1;
            arrived.push(Arrived { frames: job::owned(job), told });
        }
        Ok(())
    }

    /// The number that the next job of a connection gets, before it is received; the last is `received`.
    pub fn last_number(&self) -> u64 {
        self.received.0
    }

    /// Lets go of so many jobs, not the first so many: their numbers as ranges, and the jobs.
    pub fn let_go(&mut self, skip: usize, jobs: usize) -> (Vec<Range>, Vec<usize>) {
        let numbers: Vec<_> = self.held.keys().copied().skip(skip).take(jobs).collect();
        let mut ranges = Vec::new();
        numbers.iter().for_each(|&number| zeropipe::wire::flow::add(&mut ranges, number, number));
        let jobs = numbers.iter().filter_map(|number| self.held.remove(number)).collect();
        (ranges, jobs)
    }
}
