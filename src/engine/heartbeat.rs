//! Whether a peer that is silent is still there (RFC 37, section "Connection Heartbeating").

use std::time::Duration;

use tokio::time::Instant;

/// What is to be done when time has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Nothing.
    Wait,
    /// Send a PING.
    Ping,
    /// The peer is gone.
    Gone,
}

/// Far enough away to mean never, near enough for the clock to count to.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The clock of one connection.
#[derive(Debug)]
pub struct Heartbeat {
    /// How often we ask; `None` asks never.
    interval: Option<Duration>,
    timeout: Duration,
    next_ping: Instant,
    /// A PING is on its way or unanswered.
    asked: bool,
    /// When an unanswered PING means that the peer is gone; runs from when it has left for the kernel.
    deadline: Option<Instant>,
    /// The peer's own promise, made in its last PING: it speaks at least this often.
    promise: Option<(Duration, Instant)>,
    /// How long the peer may hear nothing of us while it sends, and since when it has heard nothing.
    signs: Option<(Duration, Instant)>,
}

/// A peer's silence_timeout is taken for no shorter than this, or it could have us send a sign for each of its bytes.
const SHORTEST_SIGN: Duration = Duration::from_millis(10);

/// So many signs of life fit into what a peer waits for one.
const SIGNS_IN_TIME: u32 = 3;

impl Heartbeat {
    /// A clock that starts now. `silence_timeout` is how long the peer, by its own word, waits for a sign of life.
    pub fn new(
        interval: Option<Duration>,
        timeout: Duration,
        silence_timeout: Option<Duration>,
        now: Instant,
    ) -> Self {
        let next_ping = now + interval.unwrap_or(NEVER);
        let signs = silence_timeout
            .map(|silence_timeout| ((silence_timeout / SIGNS_IN_TIME).max(SHORTEST_SIGN), now));
        Self { interval, timeout, next_ping, asked: false, deadline: None, promise: None, signs }
    }

    /// Something was received: any byte is life.
    pub fn received(&mut self, now: Instant) {
        self.asked = false;
        self.deadline = None;
        if let Some((ttl, until)) = &mut self.promise {
            *until = now + *ttl;
        }
    }

    /// Something was written, so the peer will hear of us.
    pub fn spoke(&mut self, now: Instant) {
        if let Some((_, since)) = &mut self.signs {
            *since = now;
        }
    }

    /// Whether the peer, which has just been heard, should be sent a sign of life: its PING may be far behind what it has sent
    /// before, and it counts us as gone if it hears nothing meanwhile.
    pub fn owes_sign(&self, now: Instant) -> bool {
        self.signs.is_some_and(|(interval, since)| since + interval <= now)
    }

    /// The PING has left for the kernel.
    pub fn ping_left(&mut self, now: Instant) {
        if self.asked && self.deadline.is_none() {
            self.deadline = Some(now + self.timeout);
        }
    }

    /// The peer promises to speak at least every `ttl` tenths of a second; 0 takes the promise back.
    pub fn promised(&mut self, ttl: u16, now: Instant) {
        let ttl = Duration::from_millis(u64::from(ttl) * 100);
        self.promise = (!ttl.is_zero()).then(|| (ttl, now + ttl));
    }

    /// When to look again.
    pub fn due(&self) -> Instant {
        let promise = self.promise.map(|(_, until)| until);
        [self.deadline, promise].into_iter().flatten().fold(self.next_ping, Instant::min)
    }

    /// What is due. `excused` says that the peer may have a reason for its silence: then no deadline counts. `deaf` says that we don't
    /// listen for now, and nothing is asked.
    pub fn tick(&mut self, now: Instant, excused: bool, deaf: bool) -> Beat {
        let excused = excused || deaf;
        if let Some((ttl, until)) = &mut self.promise
            && *until <= now
        {
            if !excused {
                return Beat::Gone;
            }
            *until = now + *ttl;
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            if !excused {
                return Beat::Gone;
            }
            self.deadline = Some(now + self.timeout);
        }
        if self.next_ping > now {
            return Beat::Wait;
        }
        self.next_ping = now + self.interval.unwrap_or(NEVER);
        if self.asked || deaf || self.interval.is_none() {
            return Beat::Wait;
        }
        self.asked = true;
        Beat::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_silent_peer_is_gone_after_the_timeout_and_one_that_speaks_is_not() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(Some(SECOND), 3 * SECOND, None, start);
        assert_eq!(beat.tick(start, false, false), Beat::Wait);
        assert_eq!(beat.tick(start + SECOND, false, false), Beat::Ping);
        // The deadline runs only once the PING has left.
        assert_eq!(beat.tick(start + 9 * SECOND, false, false), Beat::Wait);
        beat.ping_left(start + 9 * SECOND);
        beat.received(start + 11 * SECOND);
        assert_eq!(beat.tick(start + 12 * SECOND, false, false), Beat::Ping);
        beat.ping_left(start + 12 * SECOND);
        assert_eq!(beat.tick(start + 15 * SECOND, true, false), Beat::Wait);
        assert_eq!(beat.tick(start + 17 * SECOND, false, false), Beat::Wait);
        assert_eq!(beat.tick(start + 18 * SECOND, false, false), Beat::Gone);
    }

    #[test]
    fn nothing_is_asked_of_a_peer_that_is_not_read() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(Some(SECOND), SECOND, None, start);
        assert_eq!(beat.tick(start + SECOND, false, true), Beat::Wait);
        assert_eq!(beat.tick(start + 2 * SECOND, false, false), Beat::Ping);
    }

    #[test]
    fn a_promise_of_the_peer_is_held_against_it() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(None, SECOND, None, start);
        beat.promised(10, start);
        assert_eq!(beat.due(), start + SECOND);
        beat.received(start + SECOND / 2);
        assert_eq!(beat.tick(start + SECOND, false, false), Beat::Wait);
        assert_eq!(beat.tick(start + 2 * SECOND, false, false), Beat::Gone);
        beat.promised(0, start);
        assert_eq!(beat.tick(start + 9 * SECOND, false, false), Beat::Wait);
    }

    #[test]
    fn what_we_write_does_not_put_the_deadline_off() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(Some(SECOND), 3 * SECOND, Some(SECOND), start);
        assert_eq!(beat.tick(start + SECOND, false, false), Beat::Ping);
        beat.ping_left(start + SECOND);
        (10..40).for_each(|tenth| beat.spoke(start + tenth * SECOND / 10));
        assert_eq!(beat.due(), start + 2 * SECOND);
        assert_eq!(beat.tick(start + 4 * SECOND, false, false), Beat::Gone);
    }

    #[test]
    fn a_peer_that_waits_for_a_sign_of_life_is_owed_three_in_that_time() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(None, SECOND, Some(3 * SECOND), start);
        assert!(!beat.owes_sign(start + SECOND - SECOND / 10));
        assert!(beat.owes_sign(start + SECOND));
        beat.spoke(start + SECOND);
        assert!(!beat.owes_sign(start + 2 * SECOND - SECOND / 10));
        // However impatient it says it is, it can't have an answer to each of its bytes.
        let beat = Heartbeat::new(None, SECOND, Some(Duration::ZERO), start);
        assert!(!beat.owes_sign(start + SHORTEST_SIGN / 2) && beat.owes_sign(start + SHORTEST_SIGN));
        assert!(!Heartbeat::new(None, SECOND, None, start).owes_sign(start + 9 * SECOND));
    }
}
