//! A sender, the peers around it, and what must hold after every step.

use std::{
    collections::HashMap,
    fmt::Write,
    io::IoSlice,
    time::{Duration, Instant},
};

use fastrand::Rng;
use zeropipe::{
    batch::Place,
    flow::{
        Pattern,
        sender::{Effect, Options, Sender, Totals, requests::Abandoned},
    },
    wire::{command::FlowCommand, flow::Instance},
};

use super::{
    job::{self, Fate, Known},
    step::{Choice, Step},
    worker::{Arrived, Worker},
};

/// What a sender may do with many peers: see docs/flow.md, "Windows".
const PART_OF_EACH: usize = 50;

/// So many rounds without faults deliver everything, and so many more for each job that is open.
const ROUNDS: usize = 1_000;
const ROUNDS_OF_EACH: usize = 20;

pub struct World {
    pub(super) choice: Choice,
    pub(super) sender: Sender,
    start: Instant,
    pub(super) now: Instant,
    pub(super) workers: Vec<Worker>,
    pub(super) jobs: Vec<Known>,
    open: usize,
    drains: HashMap<u64, usize>,
    totals: Totals,
    most_flow_peers: usize,
    had_plain: bool,
    /// What happened, if that is asked for.
    pub log: Option<String>,
}

type Checked = Result<(), String>;

impl World {
    pub fn new(choice: Choice, start: Instant, log: Option<String>) -> Self {
        let options = Options {
            pattern: if choice.is_requests { Pattern::Requests } else { Pattern::Pipeline },
            instance: Instance(choice.seed),
            max_jobs: choice.max_jobs,
            max_cost: choice.max_cost,
            max_message_size: 1 << 20,
            max_attempts: choice.max_attempts,
            ack_timeout: choice.ack_timeout.map(Duration::from_millis),
        };
        Self {
            choice,
            sender: Sender::new(options, Rng::with_seed(choice.seed)),
            start,
            now: start,
            workers: Vec::new(),
            jobs: Vec::new(),
            open: 0,
            drains: HashMap::new(),
            totals: Totals::default(),
            most_flow_peers: 0,
            had_plain: false,
            log,
        }
    }

    pub fn note(&mut self, text: impl FnOnce() -> String) {
        let at = self.now.duration_since(self.start).as_millis();
        if let Some(log) = &mut self.log {
            let _ = writeln!(log, "{at:>8} ms  {}", text());
        }
    }

    /// Does a step, and checks what must hold after it.
    pub fn step(&mut self, step: Step) -> Checked {
        self.note(|| format!("{step:?}"));
        match step {
            Step::Push { jobs, size, frames } => self.push(jobs, Known::new(size, frames)),
            Step::Join { is_flow } => self.join(is_flow),
            Step::Wait { milliseconds } => self.wait(Duration::from_millis(milliseconds)),
            Step::Drain { but } => {
                let before = (self.jobs.len() as u64).saturating_sub(but);
                let number = self.drains.len() as u64;
                self.drains.insert(number, before as usize);
                self.sender.drain(before, number);
            }
            Step::Abandon { job } if self.choice.is_requests && !self.jobs.is_empty() => {
                self.abandon(job % self.jobs.len());
            }
            Step::Abandon { .. } => {}
            Step::Grant { peer, .. }
            | Step::Write { peer, .. }
            | Step::Block { peer }
            | Step::Ack { peer, .. }
            | Step::Return { peer, .. }
            | Step::Nack { peer, .. }
            | Step::Reject { peer, .. }
            | Step::Leave { peer }
            | Step::Intrude { peer, .. } => {
                if !self.workers.is_empty() {
                    self.step_of(peer % self.workers.len(), step)?;
                }
            }
        }
        self.settle()
    }

    fn step_of(&mut self, peer: usize, step: Step) -> Checked {
        match step {
            Step::Grant { jobs, cost, .. } => self.grant(peer, jobs, cost),
            Step::Write { bytes, .. } => self.write(peer, bytes),
            Step::Block { .. } => {
                self.workers[peer].is_blocked = true;
                self.sender.handle_blocked(self.workers[peer].id);
                Ok(())
            }
            Step::Ack { skip, jobs, .. } => self.finish(peer, skip, jobs, skip < 3),
            Step::Return { skip, jobs, .. } => self.give_back(peer, skip, jobs),
            Step::Nack { skip, .. } => {
                let command = |number| FlowCommand::Nack { number, reason: "no".into() };
                self.refuse(peer, skip, command)
            }
            Step::Reject { skip, .. } if self.choice.is_requests => {
                let command = |number| FlowCommand::Reject { number, code: "NO".into(), text: "no".into() };
                self.refuse(peer, skip, command)
            }
            Step::Leave { .. } => {
                self.leave(peer);
                Ok(())
            }
            Step::Intrude { job, .. } if self.choice.is_requests && !self.jobs.is_empty() => {
                self.reply(peer, &[job % self.jobs.len()])
            }
            _ => Ok(()),
        }
    }

    fn push(&mut self, jobs: usize, known: Known) {
        let is_request = self.choice.is_requests;
        let first = self.jobs.len();
        let frames: Vec<_> =
            (first..first + jobs).map(|number| job::frames(number, known, is_request)).collect();
        // A large job travels alone.
        let at_once = if known.size > 65_536 { 1 } else { jobs };
        for batch in frames.chunks(at_once).filter_map(|jobs| job::batch(jobs.iter())) {
            self.sender.handle_jobs(batch);
        }
        self.jobs.extend(std::iter::repeat_n(known, jobs));
        self.open += jobs;
    }

    pub(super) fn join(&mut self, is_flow: bool) {
        let id = self.sender.handle_join(is_flow, self.now);
        self.workers.push(Worker::new(id, is_flow));
        self.had_plain |= !is_flow;
        let flow_peers = self.workers.iter().filter(|worker| worker.is_flow).count();
        self.most_flow_peers = self.most_flow_peers.max(flow_peers);
    }

    fn leave(&mut self, peer: usize) {
        let worker = self.workers.remove(peer);
        for job in worker.held.values() {
            self.jobs[*job].holders -= 1;
        }
        self.sender.handle_leave(worker.id, self.now);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        if self.sender.next_timeout().is_some_and(|timeout| timeout <= self.now) {
            self.sender.handle_timeout(self.now);
        }
    }

    /// Goes to the next timeout; whether there was one.
    pub(super) fn wait_for_timeout(&mut self) -> bool {
        let timeout = self.sender.next_timeout();
        timeout.is_some_and(|timeout| {
            self.wait(timeout.saturating_duration_since(self.now));
            true
        })
    }

    fn abandon(&mut self, job: usize) {
        let tags = vec![job::tag(job)];
        self.sender.handle_abandoned(Abandoned { tags, askers: Vec::new() });
        if self.jobs[job].fate == Fate::Open {
            self.close(job, Fate::Abandoned);
        }
    }

    pub(super) fn abandon_all(&mut self) {
        (0..self.jobs.len()).for_each(|job| self.abandon(job));
    }

    fn close(&mut self, job: usize, fate: Fate) {
        self.jobs[job].fate = fate;
        self.open -= 1;
    }

    fn command(&mut self, peer: usize, command: FlowCommand) -> Checked {
        let id = self.workers[peer].id;
        let handled = self.sender.handle_command(id, command, self.now);
        handled.map_err(|error| format!("an honest peer was refused: {error}"))
    }

    pub(super) fn grant(&mut self, peer: usize, jobs: u64, cost: u64) -> Checked {
        if !self.workers[peer].is_flow {
            return Ok(());
        }
        let command = self.workers[peer].grant(jobs, cost);
        self.command(peer, command)
    }

    /// A peer lets go of jobs: their numbers as ranges, and the jobs.
    fn let_go(
        &mut self,
        peer: usize,
        skip: usize,
        jobs: usize,
    ) -> (Vec<zeropipe::wire::flow::Range>, Vec<usize>) {
        let (ranges, jobs) = self.workers[peer].let_go(skip, jobs);
        jobs.iter().for_each(|&job| self.jobs[job].holders -= 1);
        (ranges, jobs)
    }

    pub(super) fn finish(&mut self, peer: usize, skip: usize, jobs: usize, replies: bool) -> Checked {
        let is_flow = self.workers[peer].is_flow;
        let (ranges, jobs) = self.let_go(peer, skip, jobs);
        if jobs.is_empty() {
            return Ok(());
        }
        if self.choice.is_requests && (replies || !is_flow) {
            self.reply(peer, &jobs)?;
        }
        let is_delivered = is_flow && !self.choice.is_requests;
        for &job in jobs.iter().filter(|_| is_delivered) {
            self.jobs[job].was_done = true;
            if self.choice.ack_timeout.is_none() {
                self.close_once(job, Fate::Done)?;
            }
        }
        if is_flow { self.command(peer, FlowCommand::Ack(ranges)) } else { Ok(()) }
    }

    fn close_once(&mut self, job: usize, fate: Fate) -> Checked {
        if self.jobs[job].fate != Fate::Open {
            return Err(format!("job {job} is {fate:?}, and was {:?}", self.jobs[job].fate));
        }
        self.close(job, fate);
        Ok(())
    }

    fn reply(&mut self, peer: usize, jobs: &[usize]) -> Checked {
        let reply = |&job: &usize| vec![job::tag(job).to_vec(), Vec::new(), b"reply".to_vec()];
        let frames: Vec<_> = jobs.iter().map(reply).collect();
        let Some(batch) = job::batch(frames.iter()) else { return Ok(()) };
        let handled = self.sender.handle_replies(self.workers[peer].id, &batch, 0);
        handled.map_err(|error| format!("an honest reply was refused: {error}"))
    }

    fn give_back(&mut self, peer: usize, skip: usize, jobs: usize) -> Checked {
        if !self.workers[peer].is_flow {
            return Ok(());
        }
        let (ranges, jobs) = self.let_go(peer, skip, jobs);
        if jobs.is_empty() { Ok(()) } else { self.command(peer, FlowCommand::Return(ranges)) }
    }

    fn refuse(&mut self, peer: usize, skip: usize, command: impl Fn(u64) -> FlowCommand) -> Checked {
        if !self.workers[peer].is_flow {
            return Ok(());
        }
        let (ranges, _) = self.let_go(peer, skip, 1);
        ranges.first().map_or(Ok(()), |range| self.command(peer, command(range.first)))
    }

    /// The connection of a peer takes some of its outbox, and the peer reads it.
    pub(super) fn write(&mut self, peer: usize, most: usize) -> Checked {
        let id = self.workers[peer].id;
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = self.sender.outbox(id).slices(&mut slices);
        let bytes: Vec<u8> =
            slices[..filled].iter().flat_map(|slice| slice.iter().copied()).take(most).collect();
        self.workers[peer].is_blocked = false;
        self.sender.handle_written(id, bytes.len());
        let first = self.workers[peer].last_number() + 1;
        let arrived = self.workers[peer].read(&bytes)?;
        for (number, arrived) in (first..).zip(arrived) {
            self.arrive(peer, number, arrived)?;
        }
        Ok(())
    }

    fn arrive(&mut self, peer: usize, number: u64, Arrived { frames, told }: Arrived) -> Checked {
        let is_request = self.choice.is_requests;
        let job = job::number(&frames, is_request).filter(|job| *job < self.jobs.len());
        let job = job.ok_or_else(|| format!("no job: {frames:?}"))?;
        self.note(|| format!("    job {job} arrives at peer {peer}, {told:?}"));
        let known = self.jobs[job];
        if frames != job::frames(job, known, is_request) {
            return Err(format!("job {job} has changed on its way"));
        }
        let may_lapse = self.choice.ack_timeout.is_some();
        if !is_request && !may_lapse && (known.fate != Fate::Open || known.holders > 0) {
            return Err(format!("job {job} arrives again: {known:?}"));
        }
        if let Some((id, attempt)) = told {
            if known.id.is_some_and(|known| known != id) {
                return Err(format!("job {job} has id {id}, and had {known:?}"));
            }
            // A peer that has yet to read a job may have lost it meanwhile.
            if attempt < known.attempt && !may_lapse || attempt > self.choice.max_attempts {
                return Err(format!("job {job} is attempted {attempt} times, after {known:?}"));
            }
            (self.jobs[job].id, self.jobs[job].attempt) = (Some(id), attempt.max(known.attempt));
        }
        if self.workers[peer].is_flow || is_request {
            self.jobs[job].holders += 1;
            self.workers[peer].held.insert(number, job);
            return Ok(());
        }
        self.jobs[job].was_done = true;
        if may_lapse { Ok(()) } else { self.close_once(job, Fate::Done) }
    }

    /// Has the sender send what it can, does what it wants, and checks what must hold.
    pub(super) fn settle(&mut self) -> Checked {
        self.sender.dispatch(self.now);
        while let Some(effect) = self.sender.poll_effect() {
            self.note(|| format!("    {effect:?}"));
            self.apply(effect)?;
        }
        while self.sender.take_change().is_some() {}
        self.totals = self.sender.take_totals().1;
        self.check()
    }

    fn apply(&mut self, effect: Effect) -> Checked {
        match effect {
            Effect::Drained(number) => {
                let before = self.drains.get(&number).copied().unwrap_or(usize::MAX);
                let is_open = |job: &Known| job.fate == Fate::Open;
                let knows_fates = self.choice.ack_timeout.is_none() || self.choice.is_requests;
                if knows_fates && self.jobs[..before].iter().any(is_open) {
                    return Err(format!("drained too early: {before} jobs"));
                }
                Ok(())
            }
            Effect::Dead { job, attempt, .. } => {
                let number = job::number(&job, false).ok_or("a dead job that is none")?;
                if attempt != self.choice.max_attempts {
                    return Err(format!("job {number} is dead after {attempt} attempts"));
                }
                self.close_once(number, Fate::Dead)
            }
            Effect::Replies(_, batch) => {
                let mut at = Place::default();
                while let Some((reply, next)) = batch.job(at) {
                    at = next;
                    self.close_once(job::of_tag(&job::owned(reply)[0]), Fate::Done)?;
                }
                Ok(())
            }
            Effect::Failed(failure) => self.close_once(job::of_tag(&failure.tag), Fate::Dead),
            Effect::Write(_) | Effect::Withheld | Effect::Refused(..) | Effect::Ignored(..) => Ok(()),
        }
    }

    /// Conservation, and the bounds.
    fn check(&self) -> Checked {
        let totals = &self.totals;
        let knows_fates = self.choice.ack_timeout.is_none() || self.choice.is_requests;
        if knows_fates && totals.undelivered != self.open {
            return Err(format!("{} jobs are open: {totals:?}", self.open));
        }
        let is_pipeline = !self.choice.is_requests;
        let accounted = totals.done as usize + totals.dead as usize + totals.undelivered;
        if is_pipeline && accounted != self.jobs.len() {
            return Err(format!("{} jobs were accepted: {totals:?}", self.jobs.len()));
        }
        if is_pipeline && totals.waiting + totals.in_flight != totals.undelivered {
            return Err(format!("jobs are nowhere: {totals:?}"));
        }
        let most = self.choice.max_jobs.max(self.choice.max_jobs * self.most_flow_peers / PART_OF_EACH);
        if totals.in_flight > most {
            return Err(format!("more than {most} jobs are in flight: {totals:?}"));
        }
        Ok(())
    }

    /// Without more faults, everything is delivered soon, and nothing is left to be done.
    pub fn quiesce(&mut self) -> Checked {
        self.note(|| "no more faults".into());
        if !self.workers.iter().any(|worker| worker.is_flow) {
            self.join(true);
        }
        if self.choice.is_requests && self.had_plain {
            // What a plain peer had when it left, nobody can answer.
            self.abandon_all();
        }
        let rounds = ROUNDS + ROUNDS_OF_EACH * self.open;
        for _ in 0..rounds {
            self.settle()?;
            if self.totals.undelivered == 0 {
                return self.check_end();
            }
            let before = self.totals;
            for peer in 0..self.workers.len() {
                self.grant(peer, 1_000, 64 << 20)?;
                self.write(peer, usize::MAX)?;
                self.finish(peer, 0, usize::MAX, true)?;
            }
            self.settle()?;
            if self.totals == before && !self.wait_for_timeout() && self.is_written() {
                return Err(format!("nothing moves: {:?}", self.totals));
            }
        }
        Err(format!("not delivered after {rounds} rounds: {:?}", self.totals))
    }

    fn is_written(&self) -> bool {
        self.sender.unwritten_peers() == 0 && self.workers.iter().all(|worker| worker.held.is_empty())
    }

    fn check_end(&mut self) -> Checked {
        for peer in 0..self.workers.len() {
            while self.sender.unwritten_peers() > 0
                && self.sender.outbox(self.workers[peer].id).unwritten() > 0
            {
                self.write(peer, usize::MAX)?;
            }
            self.finish(peer, 0, usize::MAX, false)?;
        }
        self.settle()?;
        let Totals { waiting, waiting_cost, in_flight, in_flight_cost, undelivered, .. } = self.totals;
        if [waiting, waiting_cost, in_flight, in_flight_cost, undelivered] != [0; 5] {
            return Err(format!("something is left: {:?}", self.totals));
        }
        // The delays of coalescing and of plain peers' share may have begun.
        for _ in 0..4 {
            self.wait_for_timeout();
        }
        self.settle()?;
        if let Some(timeout) = self.sender.next_timeout() {
            return Err(format!("a timeout is left: in {:?}", timeout.duration_since(self.now)));
        }
        let is_lost = |job: &Known| job.fate == Fate::Open && !job.was_done;
        match self.jobs.iter().position(is_lost) {
            Some(job) => Err(format!("job {job} is lost")),
            None => Ok(()),
        }
    }
}
