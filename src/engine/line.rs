//! A consumer's place in line: a thread comes to its consumers, once they were given what they wait for, one after the other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// A thread that has come for jobs so often meanwhile makes its rounds: it will soon come for those of this consumer too,
const ROUNDS: u64 = 32;

/// but is waited for no longer than this.
const LONGEST: Duration = Duration::from_secs(1);

thread_local! {
    /// How often this thread has come for jobs, of any consumer.
    static VISITS: Arc<AtomicU64> = Arc::default();
}

/// See the module.
#[derive(Debug)]
pub struct Line {
    since: Instant,
    /// Those of its thread, once it has come for jobs of this one, and how many there were when this was looked at last.
    visits: Option<Arc<AtomicU64>>,
    before: u64,
}

impl Line {
    /// Nobody waits in it yet.
    pub fn new(now: Instant) -> Self {
        Self { since: now, visits: None, before: 0 }
    }

    /// Its thread, which is this one, has come for jobs.
    pub fn visit(&mut self) {
        let visits = self.visits.get_or_insert_with(|| VISITS.with(Arc::clone));
        // No other thread writes it.
        visits.store(visits.load(Relaxed) + 1, Relaxed);
    }

    /// The consumer was given what it waits for.
    pub fn join(&mut self, now: Instant) {
        (self.since, self.before) = (now, self.visits());
    }

    /// Whether its thread has made its rounds since this was asked last, and is still worth waiting for.
    pub fn moves(&mut self, now: Instant) -> bool {
        let visits = self.visits();
        let meanwhile = visits - std::mem::replace(&mut self.before, visits);
        meanwhile >= ROUNDS && now < self.since + LONGEST
    }

    fn visits(&self) -> u64 {
        self.visits.as_ref().map_or(0, |visits| visits.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit_often(line: &mut Line) {
        (0..ROUNDS).for_each(|_| line.visit());
    }

    #[test]
    fn a_line_moves_while_its_thread_comes_for_jobs_of_others() {
        let now = Instant::now();
        let (mut line, mut other) = (Line::new(now), Line::new(now));
        line.visit();
        line.join(now);
        assert!(!line.moves(now), "nobody has come");
        visit_often(&mut other);
        assert!(line.moves(now));
        assert!(!line.moves(now), "and nobody since");
        (1..ROUNDS).for_each(|_| other.visit());
        assert!(!line.moves(now), "too seldom");
        visit_often(&mut other);
        assert!(!line.moves(now + LONGEST), "for too long");
        line.join(now + LONGEST);
        visit_often(&mut other);
        assert!(line.moves(now + LONGEST), "it has joined again");
    }

    #[test]
    fn a_line_does_not_move_for_what_another_thread_does() {
        let now = Instant::now();
        let mut line = Line::new(now);
        line.visit();
        line.join(now);
        std::thread::scope(|scope| {
            scope.spawn(|| visit_often(&mut Line::new(now))).join().expect("no panic")
        });
        assert!(!line.moves(now));
    }
}
