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
    /// When an unanswered PING means that the peer is gone; runs from when it has left for the kernel, or, on a link with flow, from when
    /// it was made.
    deadline: Option<Instant>,
    /// The peer's own promise, made in its last PING: it speaks at least this often.
    promise: Option<(Duration, Instant)>,
    /// Since when, and how much, the peer has sent while it heard nothing of us.
    unanswered: Option<(Instant, usize)>,
    /// When a peer that is not read was sent a sign of life.
    alive: Instant,
}

/// A peer that has sent so much, for so long, and heard nothing of us meanwhile is sent a sign of life. With less on its way
/// a PING of its own is not far behind.
const ALIVE_BYTES: usize = 16 << 10;
const ALIVE_DELAY: Duration = Duration::from_millis(100);

impl Heartbeat {
    /// A clock that starts now.
    pub fn new(interval: Option<Duration>, timeout: Duration, now: Instant) -> Self {
        let next_ping = now + interval.unwrap_or(NEVER);
        Self {
            interval,
            timeout,
            next_ping,
            asked: false,
            deadline: None,
            promise: None,
            unanswered: None,
            alive: now,
        }
    }

    /// So many bytes were received: any byte is life.
    pub fn received(&mut self, bytes: usize, now: Instant) {
        self.asked = false;
        self.deadline = None;
        if let Some((ttl, until)) = &mut self.promise {
            *until = now + *ttl;
        }
        self.unanswered.get_or_insert((now, 0)).1 += bytes;
    }

    /// Something was written, so the peer will hear of us.
    pub fn sent(&mut self) {
        self.unanswered = None;
    }

    /// Whether the peer, which has just been heard, should hear of us: its PING may be far behind what it has sent before.
    pub fn is_alive_due(&self, now: Instant) -> bool {
        self.unanswered.is_some_and(|(since, bytes)| bytes >= ALIVE_BYTES && since + ALIVE_DELAY <= now)
    }

    /// When a peer that is not read should hear of us again.
    pub fn alive_due(&self) -> Instant {
        self.alive + ALIVE_DELAY
    }

    /// It will.
    pub fn alive_sent(&mut self, now: Instant) {
        self.alive = now;
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
        let mut beat = Heartbeat::new(Some(SECOND), 3 * SECOND, start);
        assert_eq!(beat.tick(start, false, false), Beat::Wait);
        assert_eq!(beat.tick(start + SECOND, false, false), Beat::Ping);
        // The deadline runs only once the PING has left.
        assert_eq!(beat.tick(start + 9 * SECOND, false, false), Beat::Wait);
        beat.ping_left(start + 9 * SECOND);
        beat.received(1, start + 11 * SECOND);
        assert_eq!(beat.tick(start + 12 * SECOND, false, false), Beat::Ping);
        beat.ping_left(start + 12 * SECOND);
        assert_eq!(beat.tick(start + 15 * SECOND, true, false), Beat::Wait);
        assert_eq!(beat.tick(start + 17 * SECOND, false, false), Beat::Wait);
        assert_eq!(beat.tick(start + 18 * SECOND, false, false), Beat::Gone);
    }

    #[test]
    fn nothing_is_asked_of_a_peer_that_is_not_read() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(Some(SECOND), SECOND, start);
        assert_eq!(beat.tick(start + SECOND, false, true), Beat::Wait);
        assert_eq!(beat.tick(start + 2 * SECOND, false, false), Beat::Ping);
    }

    #[test]
    fn a_promise_of_the_peer_is_held_against_it() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(None, SECOND, start);
        beat.promised(10, start);
        assert_eq!(beat.due(), start + SECOND);
        beat.received(1, start + SECOND / 2);
        assert_eq!(beat.tick(start + SECOND, false, false), Beat::Wait);
        assert_eq!(beat.tick(start + 2 * SECOND, false, false), Beat::Gone);
        beat.promised(0, start);
        assert_eq!(beat.tick(start + 9 * SECOND, false, false), Beat::Wait);
    }

    #[test]
    fn what_we_write_does_not_put_the_deadline_off() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(Some(SECOND), 3 * SECOND, start);
        assert_eq!(beat.tick(start + SECOND, false, false), Beat::Ping);
        beat.ping_left(start + SECOND);
        (10..40).for_each(|_| beat.sent());
        assert_eq!(beat.due(), start + 2 * SECOND);
        assert_eq!(beat.tick(start + 4 * SECOND, false, false), Beat::Gone);
    }

    #[test]
    fn a_peer_that_sends_much_for_long_and_hears_nothing_is_owed_a_sign_of_life() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(None, SECOND, start);
        assert!(!beat.is_alive_due(start + SECOND));
        beat.received(ALIVE_BYTES, start);
        assert!(!beat.is_alive_due(start + ALIVE_DELAY / 2) && beat.is_alive_due(start + ALIVE_DELAY));
        beat.sent();
        assert!(!beat.is_alive_due(start + SECOND));
        beat.received(ALIVE_BYTES - 1, start + SECOND);
        assert!(!beat.is_alive_due(start + 9 * SECOND));
        beat.received(1, start + 9 * SECOND);
        assert!(beat.is_alive_due(start + 9 * SECOND));
    }
}
