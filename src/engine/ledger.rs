//! What a pull end owes one pusher: for every job that it was sent, one word in the end if it is a zeropipe end, and a reply if jobs
//! are requests.

use super::shortcut::Shortcut;
use crate::{
    batch::Batch,
    wire::flow::{self, MAX_REASON, Range},
};

/// Settled and not yet told. Any thread settles, the I/O thread tells.
#[derive(Debug, Default)]
pub struct Ledger {
    acks: Vec<Range>,
    returns: Vec<Range>,
    nacks: Vec<(u64, String)>,
    rejects: Vec<Reject>,
    replies: Vec<Batch>,
    returning: Returning,
    /// Replies were made since somebody asked.
    has_replied: bool,
    /// The way for replies when nothing else is on its way.
    pub(super) shortcut: Shortcut,
    /// Received and not settled.
    open: u64,
}

/// How far it is with giving jobs back. As long as it is not over, whatever else comes from the pusher is given back too: it belongs
/// behind what was given back before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Returning {
    /// It gives nothing back.
    #[default]
    No,
    /// The pusher was not told yet.
    Untold,
    /// It was told, and has not said yet that it heard.
    Told,
}

/// An error that is the answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The job.
    pub number: u64,
    /// For programs; empty if there is none.
    pub code: String,
    /// For people.
    pub text: String,
}

/// What is to be told, each kind by rising numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Done.
    pub acks: Vec<Range>,
    /// Not started.
    pub returns: Vec<Range>,
    /// Failed, and why.
    pub nacks: Vec<(u64, String)>,
    /// Refused for good.
    pub rejects: Vec<Reject>,
    /// The pusher is to say when it has heard that something comes back.
    pub asks: bool,
}

impl Ledger {
    /// So many jobs were received.
    pub fn receive(&mut self, jobs: u64) {
        self.open += jobs;
    }

    /// These are done.
    pub fn ack(&mut self, first: u64, jobs: u64) {
        settle(&mut self.acks, &mut self.open, first, jobs);
    }

    /// These were not started.
    pub fn give_back(&mut self, first: u64, jobs: u64) {
        settle(&mut self.returns, &mut self.open, first, jobs);
        if self.returning == Returning::No && jobs > 0 {
            self.returning = Returning::Untold;
        }
    }

    /// Whether what comes from the pusher is to be given back, because others were that came before it.
    pub fn is_returning(&self) -> bool {
        self.returning != Returning::No
    }

    /// The pusher has heard all it was told; whether that it had to take something back was new to it.
    pub fn end_return(&mut self) -> bool {
        let was_told = self.returning == Returning::Told;
        if was_told {
            self.returning = if self.returns.is_empty() { Returning::No } else { Returning::Untold };
        }
        was_told
    }

    /// This one has failed.
    pub fn nack(&mut self, number: u64, reason: &str) {
        self.open -= 1;
        self.nacks.push((number, flow::cut(reason, MAX_REASON).into()));
    }

    /// This one is refused for good.
    pub fn reject(&mut self, reject: Reject) {
        self.open -= 1;
        self.rejects.push(reject);
    }

    /// These replies are to be sent, before anything is told of what they answer. Whether they are on their way.
    pub fn reply(&mut self, replies: Batch) -> bool {
        self.has_replied = true;
        // Not past those that wait.
        if self.replies.is_empty() && self.shortcut.is_open(&replies) {
            return self.shortcut.write(&replies);
        }
        self.replies.push(replies);
        false
    }

    /// Whether replies were made since this was asked before.
    pub fn has_replied(&mut self) -> bool {
        std::mem::take(&mut self.has_replied)
    }

    /// Whether there are replies that are not on their way.
    pub fn has_replies(&self) -> bool {
        !self.replies.is_empty() || self.shortcut.has_rest()
    }

    /// Takes out the replies.
    pub fn take_replies(&mut self) -> Vec<Batch> {
        std::mem::take(&mut self.replies)
    }

    /// So many of a pusher who is told nothing are settled.
    pub fn close(&mut self, jobs: u64) {
        self.open -= jobs;
    }

    /// How many were received and are not settled.
    pub fn open(&self) -> u64 {
        self.open
    }

    /// Whether there is nothing to tell.
    pub fn is_told(&self) -> bool {
        self.acks.is_empty() && self.returns.is_empty() && self.nacks.is_empty() && self.rejects.is_empty()
    }

    /// Whether some were not started, and that is to be told.
    pub fn has_returns(&self) -> bool {
        !self.returns.is_empty()
    }

    /// Whether some are refused for good, and that is to be told.
    pub fn has_rejects(&self) -> bool {
        !self.rejects.is_empty()
    }

    /// Whether nothing is open, and nothing is to be told or sent.
    pub fn is_closed(&self) -> bool {
        self.open == 0 && self.is_told() && !self.has_replies()
    }

    /// Takes out the replies, and what is to be told.
    pub fn take(&mut self) -> (Vec<Batch>, Settlement) {
        let mut settlement = Settlement {
            acks: std::mem::take(&mut self.acks),
            returns: std::mem::take(&mut self.returns),
            nacks: std::mem::take(&mut self.nacks),
            rejects: std::mem::take(&mut self.rejects),
            // One question is enough: with no credit, nothing is sent after it.
            asks: self.returning == Returning::Untold,
        };
        if settlement.asks {
            self.returning = Returning::Told;
        }
        flow::sort(&mut settlement.acks);
        flow::sort(&mut settlement.returns);
        (self.take_replies(), settlement)
    }
}

fn settle(ranges: &mut Vec<Range>, open: &mut u64, first: u64, jobs: u64) {
    if jobs > 0 {
        *open -= jobs;
        flow::add(ranges, first, first + jobs - 1);
    }
}
