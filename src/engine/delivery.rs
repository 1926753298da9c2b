//! Jobs on their way to a consumer, with who sent them and what they are called there.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    inbox::{Parcel, Row},
    ledger::Reject,
    peer::Peer,
};
use crate::batch::{Batch, Builder, Place};

/// Jobs on their way to a consumer.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The jobs,
    pub batch: Batch,
    /// of which those before this place are done with;
    pub at: Place,
    /// so many are left;
    pub jobs: usize,
    /// who sent them;
    pub sources: Sources,
    /// when the first came;
    pub arrived: Instant,
    /// and its place in the order in which jobs were dealt: that of the whole, and how many were cut off before it.
    pub place: (u64, usize),
}

/// Where jobs come from.
#[derive(Debug, Clone)]
pub enum Sources {
    /// One peer sent them all, in a row.
    One(Source),
    /// Each job's own, in order.
    Each(Vec<Source>),
}

/// Where a job comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Who sent it,
    pub peer: Arc<Peer>,
    /// and what it is called there.
    pub row: Row,
}

/// What became of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate<'a> {
    /// Done.
    Done,
    /// Never started.
    Unstarted,
    /// Failed, and why.
    Failed(&'a str),
    /// A request that is answered by an error: its code and its text.
    Rejected(&'a str, &'a str),
}

impl Source {
    /// That of the job so many behind.
    pub fn behind(&self, jobs: usize) -> Self {
        Self { peer: Arc::clone(&self.peer), row: self.row.behind(jobs) }
    }

    /// Whether two jobs come from the same peer, of which the same is known but for their numbers there.
    pub fn is_like(&self, other: &Self) -> bool {
        let (row, others) = (self.row, other.row);
        Arc::ptr_eq(&self.peer, &other.peer) && row.id == others.id && row.attempt == others.attempt
    }

    /// Whether it is to be told what becomes of the job.
    pub fn is_flow(&self) -> bool {
        self.peer.instance.is_some()
    }

    /// Notes what became of so many jobs from this one on.
    pub fn settle(&self, jobs: usize, fate: Fate<'_>) {
        let (mut ledger, first) = (self.peer.ledger(), self.row.number);
        match fate {
            _ if !self.is_flow() => ledger.close(jobs as u64),
            Fate::Done => {
                ledger.ack(first, jobs as u64);
                self.peer.count_done(jobs as u64);
            }
            Fate::Unstarted => ledger.give_back(first, jobs as u64),
            Fate::Failed(reason) => (0..jobs as u64).for_each(|behind| ledger.nack(first + behind, reason)),
            Fate::Rejected(code, text) => (0..jobs as u64).for_each(|behind| {
                ledger.reject(Reject { number: first + behind, code: code.into(), text: text.into() });
            }),
        }
    }
}

impl Delivery {
    /// What one peer has sent.
    pub fn new(parcel: Parcel, peer: Arc<Peer>) -> Self {
        let Parcel { batch, at, row, jobs, arrived } = parcel;
        Self { batch, at, jobs, sources: Sources::One(Source { peer, row }), arrived, place: (0, 0) }
    }

    /// Where the job with that index among those that are left comes from.
    pub fn source(&self, index: usize) -> Option<Source> {
        match &self.sources {
            Sources::One(source) => (index < self.jobs).then(|| source.behind(index)),
            Sources::Each(sources) => sources.get(index).cloned(),
        }
    }

    /// Notes what became of the jobs from one index up to another.
    pub fn settle(&self, from: usize, to: usize, fate: Fate<'_>) {
        match &self.sources {
            Sources::One(source) if from < to => source.behind(from).settle(to - from, fate),
            Sources::One(_) => {}
            Sources::Each(sources) => {
                sources[from.min(to)..to].iter().for_each(|source| source.settle(1, fate));
            }
        }
    }

    /// Calls `see` with each job's source, and its index.
    pub fn each(&self, mut see: impl FnMut(&Source, usize)) {
        (0..self.jobs)
            .filter_map(|index| Some((self.source(index)?, index)))
            .for_each(|(source, index)| see(&source, index));
    }

    /// Cuts off the jobs behind the first so many, copied, because the slab may be lent to JavaScript.
    pub fn split_off(&mut self, jobs: usize) -> Option<Self> {
        if jobs >= self.jobs {
            return None;
        }
        let (next, _) = self.batch.span(self.at, jobs);
        let batch = self.batch.copy(next, self.jobs - jobs)?;
        let sources = match &mut self.sources {
            Sources::One(source) => Sources::One(source.behind(jobs)),
            Sources::Each(sources) => Sources::Each(sources.split_off(jobs)),
        };
        let rest = Self {
            batch,
            at: Place::default(),
            jobs: self.jobs - jobs,
            sources,
            arrived: self.arrived,
            place: (self.place.0, self.place.1 + jobs),
        };
        self.jobs = jobs;
        Some(rest)
    }

    /// Those whose source is wanted, and how many are not.
    pub fn filter(self, is_wanted: impl Fn(&Source) -> bool) -> (Option<Self>, usize) {
        if let Sources::One(source) = &self.sources {
            let jobs = self.jobs;
            return if is_wanted(source) { (Some(self), 0) } else { (None, jobs) };
        }
        if let Sources::Each(sources) = &self.sources
            && sources.iter().all(&is_wanted)
        {
            return (Some(self), 0);
        }
        let (mut builder, mut sources, mut at) = (Builder::default(), Vec::new(), self.at);
        for index in 0..self.jobs {
            let (Some((job, next)), Some(source)) = (self.batch.job(at), self.source(index)) else { break };
            if is_wanted(&source) {
                builder.put(job);
                sources.push(source);
            }
            at = next;
        }
        let dropped = self.jobs - sources.len();
        let kept = builder.take().map(|batch| Self {
            at: Place::default(),
            jobs: batch.jobs(),
            batch,
            sources: Sources::Each(sources),
            arrived: self.arrived,
            place: self.place,
        });
        (kept, dropped)
    }
}
