//! One loop or pool of handlers of one thread: what lies ready for it, what it has in hand, and how fast it works.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    delivery::{Delivery, Fate, Source, Sources},
    event::{Handle, JOBS, RECALL},
    line::Line,
    pace::{AHEAD, Pace},
    peer::Peer,
};
use crate::{
    batch::{Batch, Job, LARGE, Place},
    wire::flow::Instance,
};

/// How many batches are made ready for a consumer while it works on one, and how many bytes.
const READY: usize = 8;

/// A consumer that has not moved for so long has stalled: what it has not begun with is better off elsewhere.
pub const STALLED: Duration = Duration::from_millis(100);

/// What JavaScript and the I/O thread tell each other of a consumer without a call (`lib/unpacker.js`). All counts are of
/// jobs since the beginning, as far as they fit.
pub mod word {
    /// How many jobs it has begun with. JavaScript writes it.
    pub const BEGUN: usize = 0;
    /// How many jobs it is done with, if it is so in order. JavaScript writes it.
    pub const DONE: usize = 1;
    /// Not 0: the next progress is to be told by a call. The I/O thread writes it; what tells clears it.
    pub const ARMED: usize = 2;
    /// How many words there are.
    pub const COUNT: usize = 3;
}

/// See the module.
pub struct Consumer {
    tray: Mutex<Tray>,
    /// See [`word`].
    pub words: Arc<[AtomicU32; word::COUNT]>,
    handle: Arc<dyn Handle>,
    /// It was given what it waits for, and is to be woken.
    is_called: AtomicBool,
    prefetch: Option<u64>,
    in_order: bool,
}

/// What lies before a consumer.
struct Tray {
    mood: Mood,
    ready: VecDeque<Delivery>,
    /// What was taken and is not settled, in order; only of the last may some not have been begun with.
    hand: VecDeque<Held>,
    /// How many jobs were taken since the beginning.
    taken: u64,
    pace: Pace,
    /// Since when its pace was not measured, and how many jobs it had done by then.
    since: Instant,
    done_before: u64,
    /// How many it has settled one by one.
    settled: u64,
    /// How far it was when it was looked at, and since when it has been there.
    seen: (u64, u64),
    still_since: Instant,
    has_stalled: bool,
    line: Line,
    /// How many jobs it will have begun with since the beginning as soon as it has come for what it was called for; 0 if it was not, or all
    /// is different now.
    begins: u64,
    /// What lay before it was taken away, and what it has in hand asked for.
    is_called_back: bool,
    /// The source of the job that would go on the row of those that were taken last.
    row: Option<Source>,
}

/// What a consumer takes: the rest is kept here.
#[derive(Debug)]
pub struct Taken {
    /// The jobs,
    pub batch: Batch,
    /// of which those before this place are not for it;
    pub at: Place,
    /// so many are.
    pub jobs: usize,
    /// They come from where the jobs come from that were taken before, and their ids count on from there.
    pub goes_on: bool,
    /// Plenty lies ready behind them.
    pub has_plenty: bool,
}

impl Taken {
    /// The jobs that are for it.
    pub fn iter(&self) -> impl Iterator<Item = Job<'_>> {
        let mut at = self.at;
        (0..self.jobs).map_while(move |_| {
            let (job, next) = self.batch.job(at)?;
            at = next;
            Some(job)
        })
    }
}

/// Jobs in hand.
struct Held {
    /// The consumer's own number of the first.
    first: u64,
    delivery: Delivery,
    /// How many of the first are settled, and which of the others.
    done: usize,
    done_beyond: BTreeSet<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// It wants no jobs.
    Away,
    /// It works, and will come for more; or it was given some of what it waits for, and is free for that many more.
    Busy(u32),
    /// It waits for that many, and is to be woken.
    Waiting(u32),
}

/// What a consumer could do with, at a glance.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demand {
    /// It waits for that many.
    pub slots: u64,
    /// It has that many before it which it has not begun with, nor is called for.
    pub stock: u64,
}

impl Consumer {
    pub(super) fn new(handle: Arc<dyn Handle>, prefetch: Option<u32>, in_order: bool) -> Self {
        let now = Instant::now();
        let tray = Tray {
            mood: Mood::Away,
            ready: VecDeque::new(),
            hand: VecDeque::new(),
            taken: 0,
            pace: Pace::default(),
            since: now,
            done_before: 0,
            settled: 0,
            seen: (0, 0),
            still_since: now,
            has_stalled: false,
            line: Line::new(now),
            begins: 0,
            is_called_back: false,
            row: None,
        };
        Self {
            tray: Mutex::new(tray),
            words: Arc::default(),
            is_called: AtomicBool::new(false),
            handle,
            prefetch: prefetch.map(u64::from),
            in_order,
        }
    }

    /// Whoever is told of its jobs.
    pub(super) fn handle(&self) -> Arc<dyn Handle> {
        Arc::clone(&self.handle)
    }

    /// The next jobs; all that it took before have been begun with.
    pub(super) fn take(&self, slots: u32) -> Option<Taken> {
        let mut tray = self.tray();
        tray.line.visit();
        tray.settle_in_order(self);
        let now = Instant::now();
        tray.measure(self, now);
        (tray.still_since, tray.has_stalled, tray.is_called_back) = (now, false, false);
        let delivery = tray.ready.pop_front();
        tray.mood = match &delivery {
            None if slots > 0 => Mood::Waiting(slots),
            None => Mood::Busy(0),
            Some(delivery) => Mood::Busy(slots.saturating_sub(delivery.jobs as u32)),
        };
        delivery.map(|delivery| {
            let goes_on = tray.go_on(&delivery);
            let taken = Taken {
                batch: delivery.batch.clone(),
                at: delivery.at,
                jobs: delivery.jobs,
                goes_on,
                has_plenty: tray.ready.len() >= READY / 2,
            };
            let first = tray.taken;
            tray.taken += delivery.jobs as u64;
            tray.hand.push_back(Held { first, delivery, done: 0, done_beyond: BTreeSet::new() });
            taken
        })
    }

    /// Where the job with that number comes from, and whether those behind it in the same batch are a row with it.
    pub fn source(&self, number: u64) -> Option<(Source, bool)> {
        let tray = self.tray();
        let held = tray.held(number)?;
        let is_row = matches!(held.delivery.sources, Sources::One(_));
        Some((held.delivery.source((number - held.first) as usize)?, is_row))
    }

    /// It wants no more: what it has not begun with.
    pub(super) fn release(&self) -> Vec<Delivery> {
        let mut tray = self.tray();
        tray.mood = Mood::Away;
        tray.settle_in_order(self);
        tray.take_away(self)
    }

    /// What it has before it and has not begun with. Until [`Consumer::recalled`] it is given nothing: that would come before this.
    pub(super) fn recall(&self) -> Vec<Delivery> {
        let mut tray = self.tray();
        // It may have come for more since it was called back.
        tray.is_called_back = true;
        tray.take_away(self)
    }

    /// What was called back is back.
    pub(super) fn recalled(&self) {
        self.tray().is_called_back = false;
    }

    /// What it has in hand has ended like that.
    pub(super) fn finish(&self, fate: Fate<'_>) {
        let mut tray = self.tray();
        tray.settle_in_order(self);
        for held in std::mem::take(&mut tray.hand) {
            held.settle_rest(fate);
        }
    }

    pub(super) fn settle_each(&self, numbers: &[u64], fate: Fate<'_>) {
        let mut tray = self.tray();
        numbers.iter().for_each(|&number| tray.settle_one(number, fate));
    }

    /// Whether all of the replies are on their way.
    pub(super) fn reply(&self, numbers: &[u64], replies: &Batch) -> bool {
        let mut tray = self.tray();
        let peers: Vec<_> = numbers.iter().map(|&number| tray.peer(number)).collect();
        let own = replies.divide(&peers, Arc::ptr_eq).into_iter();
        let unsent = own.map(|(peer, replies)| peer.ledger().reply(replies)).filter(|is_sent| !is_sent);
        let are_sent = unsent.count() == 0;
        numbers.iter().for_each(|&number| tray.settle_one(number, Fate::Done));
        are_sent
    }

    /// Whether the I/O thread wants to be told of progress.
    pub fn is_armed(&self) -> bool {
        self.words[word::ARMED].load(SeqCst) != 0
    }

    pub(super) fn arm(&self, is_armed: bool) {
        self.words[word::ARMED].store(is_armed.into(), SeqCst);
    }

    /// Takes away what was made ready for it. What it has in hand it counts itself.
    pub(super) fn clear(&self) -> Vec<Delivery> {
        self.tray().ready.drain(..).collect()
    }

    /// Takes back what was made ready last, but not what it was woken for. Sets `is_dealing` as [`Consumer::stall`] does.
    pub(super) fn spare(&self, is_dealing: &AtomicBool) -> Option<Delivery> {
        let mut tray = self.tray();
        if tray.hand.is_empty() && tray.ready.len() < 2 {
            return None;
        }
        is_dealing.store(true, SeqCst);
        tray.begins = 0;
        tray.ready.pop_back()
    }

    /// Wakes it, if it was given what it waits for. A thread that is woken comes for its jobs at once: nothing it needs should be
    /// locked any more.
    pub(super) fn wake(&self) {
        if self.is_called.swap(false, SeqCst) {
            self.handle.raise(JOBS);
        }
    }

    /// Gives it jobs, unless it has gone away meanwhile. See to it that it is woken.
    pub(super) fn give(&self, delivery: Delivery) -> Result<(), Delivery> {
        self.tray().give(self, delivery)
    }

    /// The same if it can be given as many, and `may` says so, now that nothing can be taken away from it meanwhile.
    pub(super) fn give_if_wanted(
        &self,
        may: impl FnOnce() -> bool,
        delivery: Delivery,
    ) -> Result<(), Delivery> {
        let mut tray = self.tray();
        let is_wanted = tray.wants(self).is_some_and(|most| delivery.jobs <= most);
        if is_wanted && may() { tray.give(self, delivery) } else { Err(delivery) }
    }

    /// How many jobs of that pusher it has begun with and is not done with.
    pub(super) fn in_hand(&self, pusher: Instance) -> usize {
        let mut tray = self.tray();
        tray.settle_in_order(self);
        let begun = tray.begun(self);
        let is_open = |held: &Held, job: usize| {
            held.first + (job as u64) < begun && job >= held.done && !held.done_beyond.contains(&job)
        };
        let mut jobs = 0;
        for held in &tray.hand {
            held.delivery.each(|source, job| {
                jobs += usize::from(source.peer.instance == Some(pusher) && is_open(held, job));
            });
        }
        jobs
    }

    /// Whether it has nothing, and waits.
    pub(super) fn waits(&self) -> bool {
        matches!(self.tray().mood, Mood::Waiting(_))
    }

    /// Whether it was done with all that it has taken when it was looked at last: it has to take more before it makes progress.
    pub(super) fn is_at_rest(&self) -> bool {
        let tray = self.tray();
        tray.hand.is_empty() && tray.seen == (tray.taken, 0)
    }

    /// Whether it can be given more, and how many at a time at most: what has crossed to a thread that is busy can't be had
    /// back.
    pub(super) fn wants(&self) -> Option<usize> {
        self.tray().wants(self)
    }

    /// What it could do with.
    pub(super) fn demand(&self) -> Demand {
        let tray = self.tray();
        let slots = match tray.mood {
            Mood::Waiting(slots) | Mood::Busy(slots) if !tray.has_stalled => slots.into(),
            _ => 0,
        };
        Demand { slots, stock: tray.stock_told(self) }
    }

    /// What it may have before it besides that, toward a pusher that is so far away.
    pub(super) fn ahead(&self, round_trip: Duration) -> u64 {
        let tray = self.tray();
        match (tray.mood, self.prefetch) {
            (Mood::Away, _) => 0,
            (Mood::Waiting(slots) | Mood::Busy(slots), Some(fixed)) => fixed.saturating_sub(slots.into()),
            (_, None) => tray.pace.within(round_trip + AHEAD),
        }
    }

    /// How many more it could do with: for its slots, and ahead of those.
    pub(super) fn needs(&self, round_trip: Duration) -> (u64, u64) {
        let (demand, ahead) = (self.demand(), self.ahead(round_trip));
        (demand.slots, ahead.saturating_sub(demand.stock))
    }

    /// Whether what it has ahead is fixed.
    pub(super) fn is_fixed(&self) -> bool {
        self.prefetch.is_some()
    }

    /// Looks how far it has come; whether that is any further than at the last look.
    pub(super) fn look(&self, now: Instant) -> bool {
        let mut tray = self.tray();
        tray.settle_in_order(self);
        let at = (tray.begun(self), tray.unsettled());
        let has_moved = std::mem::replace(&mut tray.seen, at) != at;
        if has_moved {
            (tray.still_since, tray.has_stalled) = (now, false);
        }
        has_moved
    }

    /// When it will have stalled unless it moves before.
    pub(super) fn stalls_at(&self) -> Option<Instant> {
        let tray = self.tray();
        let has_jobs = !tray.hand.is_empty() || !tray.ready.is_empty();
        let is_at_work = matches!(tray.mood, Mood::Busy(_)) && has_jobs && !tray.has_stalled;
        (is_at_work && self.prefetch.is_none()).then(|| tray.still_since + STALLED)
    }

    /// Whether it is only in line, as one can be that is done with all it has come for: then it has not stalled yet.
    pub(super) fn is_in_line(&self, now: Instant) -> bool {
        let mut tray = self.tray();
        let is_in_line = tray.hand.is_empty() && tray.line.moves(now);
        if is_in_line {
            tray.still_since = now;
        }
        is_in_line
    }

    /// It has stalled: what lies before it is wanted back. Sets `is_dealing` first, for what is taken away is nowhere to be seen for a moment.
    pub(super) fn stall(&self, is_dealing: &AtomicBool) -> Vec<Delivery> {
        let mut tray = self.tray();
        tray.has_stalled = true;
        tray.pace.stall();
        tray.call_back(self, is_dealing)
    }

    /// If something lies before it that is not wanted any more, all of it is wanted back, and `is_dealing` set for the same reason.
    pub(super) fn call_back(
        &self,
        is_dealing: &AtomicBool,
        is_wanted: impl Fn(&Source) -> bool,
    ) -> Vec<Delivery> {
        let mut tray = self.tray();
        let mut is_clean = true;
        let before_it = tray.ready.iter().chain(tray.hand.back().map(|held| &held.delivery));
        before_it.for_each(|delivery| delivery.each(|source, _| is_clean &= is_wanted(source)));
        if is_clean { Vec::new() } else { tray.call_back(self, is_dealing) }
    }

    fn tray(&self) -> std::sync::MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tray {
    fn give(&mut self, consumer: &Consumer, delivery: Delivery) -> Result<(), Delivery> {
        match self.mood {
            Mood::Away => return Err(delivery),
            Mood::Busy(_) if self.is_called_back => return Err(delivery),
            Mood::Busy(slots) => self.fill(slots, delivery.jobs),
            Mood::Waiting(slots) => {
                self.fill(slots, delivery.jobs);
                let now = Instant::now();
                self.line.join(now);
                (self.still_since, self.has_stalled) = (now, false);
                consumer.is_called.store(true, SeqCst);
            }
        }
        self.ready.push_back(delivery);
        Ok(())
    }

    /// So many jobs, for that many slots.
    fn fill(&mut self, slots: u32, jobs: usize) {
        let filled = slots.min(jobs as u32);
        if filled > 0 {
            self.begins = self.given() + u64::from(filled);
        }
        self.mood = Mood::Busy(slots - filled);
    }

    fn wants(&self, consumer: &Consumer) -> Option<usize> {
        let ahead = consumer.prefetch.unwrap_or_else(|| self.pace.within(AHEAD));
        let most = match self.mood {
            Mood::Away => 0,
            // It would never be found to stall again, and keep them.
            _ if self.has_stalled => 0,
            // As much as it is granted, if it is fast: what it waits for as well.
            Mood::Waiting(slots) if consumer.prefetch.is_none() => {
                let slots = u64::from(slots);
                ahead.max(slots) + slots.min(ahead / 8)
            }
            Mood::Waiting(slots) => ahead.max(slots.into()),
            Mood::Busy(_) if self.is_called_back => 0,
            Mood::Busy(slots) => {
                let bytes: usize = self.ready.iter().map(|delivery| delivery.batch.slab().len()).sum();
                let has_room = self.ready.len() < READY && bytes < READY * LARGE;
                if has_room { ahead.saturating_sub(self.stock(consumer)).max(slots.into()) } else { 0 }
            }
        };
        (most > 0).then_some(most as usize)
    }

    /// What a word says, in full: it is never ahead of what was taken.
    fn count(&self, consumer: &Consumer, word: usize) -> u64 {
        let behind = (self.taken as u32).wrapping_sub(consumer.words[word].load(SeqCst));
        self.taken.saturating_sub(behind.into())
    }

    fn begun(&self, consumer: &Consumer) -> u64 {
        self.count(consumer, word::BEGUN)
    }

    /// What it has before it and has not begun with.
    fn stock(&self, consumer: &Consumer) -> u64 {
        self.given() - self.begun(consumer)
    }

    /// How many jobs it was given since the beginning.
    fn given(&self) -> u64 {
        let ready: usize = self.ready.iter().map(|delivery| delivery.jobs).sum();
        self.taken + ready as u64
    }

    /// That for its pushers. Where it is not fixed, what it is called for is as good as begun with: else they would be told of fewer jobs for as long as
    /// it takes to come for them.
    fn stock_told(&self, consumer: &Consumer) -> u64 {
        let begins = if consumer.prefetch.is_none() { self.begins } else { 0 };
        self.given().saturating_sub(self.begun(consumer).max(begins))
    }

    fn unsettled(&self) -> u64 {
        self.hand.iter().map(|held| (held.delivery.jobs - held.done - held.done_beyond.len()) as u64).sum()
    }

    /// Whether jobs go on the row of those that were taken before them.
    fn go_on(&mut self, delivery: &Delivery) -> bool {
        let before = self.row.take();
        if let Sources::One(source) = &delivery.sources {
            self.row = Some(source.behind(delivery.jobs));
            return before.is_some_and(|row| row.is_like(source));
        }
        false
    }

    /// Measures the pace since the last time by what it has done since.
    fn measure(&mut self, consumer: &Consumer, now: Instant) {
        let done = if consumer.in_order { self.count(consumer, word::DONE) } else { self.settled };
        let has_waited = matches!(self.mood, Mood::Waiting(_) | Mood::Away);
        if !has_waited && done > self.done_before {
            self.pace.measure(done - self.done_before, now - self.since);
        }
        if has_waited || done > self.done_before || self.hand.is_empty() {
            (self.since, self.done_before) = (now, done);
        }
    }

    /// Who has sent the job with that number.
    fn peer(&self, number: u64) -> Option<Arc<Peer>> {
        let held = self.held(number)?;
        Some(held.delivery.source((number - held.first) as usize)?.peer)
    }

    fn held(&self, number: u64) -> Option<&Held> {
        let index = self.hand.partition_point(|held| held.first + held.delivery.jobs as u64 <= number);
        self.hand.get(index).filter(|held| held.first <= number)
    }

    /// Settles what a consumer that works in order says it is done with.
    fn settle_in_order(&mut self, consumer: &Consumer) {
        if !consumer.in_order {
            return;
        }
        let done = self.count(consumer, word::DONE);
        while let Some(held) = self.hand.front_mut() {
            let upto = done.saturating_sub(held.first).min(held.delivery.jobs as u64) as usize;
            if upto > held.done {
                held.delivery.settle(held.done, upto, Fate::Done);
                held.done = upto;
            }
            if held.done < held.delivery.jobs {
                break;
            }
            self.hand.pop_front();
        }
    }

    fn settle_one(&mut self, number: u64, fate: Fate<'_>) {
        let index = self.hand.partition_point(|held| held.first + held.delivery.jobs as u64 <= number);
        let Some(held) = self.hand.get_mut(index).filter(|held| held.first <= number) else { return };
        let job = (number - held.first) as usize;
        if job < held.done || !held.done_beyond.insert(job) {
            return;
        }
        held.delivery.settle(job, job + 1, fate);
        self.settled += 1;
        while held.done_beyond.remove(&held.done) {
            held.done += 1;
        }
        if held.done == held.delivery.jobs {
            self.hand.remove(index);
        }
    }

    /// Takes away what was made ready, and asks for what else was not begun with.
    fn call_back(&mut self, consumer: &Consumer, is_dealing: &AtomicBool) -> Vec<Delivery> {
        is_dealing.store(true, SeqCst);
        self.begins = 0;
        if self.taken > self.begun(consumer) {
            self.is_called_back = true;
            consumer.handle.raise(RECALL);
        }
        self.ready.drain(..).collect()
    }

    /// Takes away all that it has before it and has not begun with, in order.
    fn take_away(&mut self, consumer: &Consumer) -> Vec<Delivery> {
        self.begins = 0;
        self.unstarted(consumer).into_iter().chain(std::mem::take(&mut self.ready)).collect()
    }

    /// Takes back what it has in hand and has not begun with.
    fn unstarted(&mut self, consumer: &Consumer) -> Option<Delivery> {
        let left = (self.taken - self.begun(consumer)) as usize;
        let last = self.hand.back_mut().filter(|_| left > 0)?;
        let begun = last.delivery.jobs.saturating_sub(left);
        let back = if begun == 0 {
            // Lent to JavaScript all the same, so it is copied like any part.
            let mut all = self.hand.pop_back()?.delivery;
            all.batch = all.batch.copy(all.at, all.jobs)?;
            all.at = Place::default();
            Some(all)
        } else {
            let back = last.delivery.split_off(begun);
            if last.done == last.delivery.jobs {
                self.hand.pop_back();
            }
            back
        };
        self.taken -= back.as_ref().map_or(0, |back| back.jobs as u64);
        self.row = None;
        back
    }
}

impl Held {
    /// Settles what is not settled yet.
    fn settle_rest(&self, fate: Fate<'_>) {
        for job in (self.done..self.delivery.jobs).filter(|job| !self.done_beyond.contains(job)) {
            self.delivery.settle(job, job + 1, fate);
        }
    }
}
