//! The way past the I/O thread for a push end: to whom it is lent, and what was sent on it (docs/architecture.md).

use std::{rc::Rc, sync::Arc};

use tokio::time::Instant;

use super::{
    books::Books,
    push_port::{Incoming, Way},
    shortcut::Shortcut,
};

impl Books {
    /// Gives what was handed over its place. The way to the link that had lent it is closed by that.
    pub(super) fn take_in(&mut self, incoming: Incoming) {
        let lent = self.lent.take();
        if let (Some(link), Some(mut way)) = (&lent, incoming.way) {
            link.lent.set(false);
            if way.shortcut.has_rest() {
                link.outbox.borrow_mut().put_first(way.shortcut.take_back());
                link.wake();
            }
        }
        for batch in incoming.written {
            let lot = self.accept(batch);
            // The end of a link takes back what it has lent: so there is one.
            let Some(link) = &lent else { continue };
            let mut flight = link.flight.borrow_mut();
            let id = flight.next_id();
            flight.push(lot, id, Instant::now());
        }
        for batch in incoming.batches {
            let lot = self.accept(batch);
            self.queue.push_back(lot);
        }
    }

    /// The way to a peer that threads may write to by themselves: the only one there is, with nothing on its way to it.
    pub(super) fn way(&mut self) -> Option<Way> {
        let [link] = &self.links[..] else { return None };
        let is_idle = self.waiting() == 0 && link.outbox.borrow().unwritten() == 0;
        let is_fit = link.is_flow() && self.pipe.config.ack_timeout.is_none();
        if !(is_idle && is_fit && self.can_take(link)) {
            return None;
        }
        let flight = link.flight.borrow();
        let writer = link.writer.borrow().clone()?;
        let room = self.pipe.config.max_waiting_jobs.saturating_sub(self.port().in_flight()) as u64;
        let room_cost =
            self.pipe.config.max_waiting_bytes.saturating_sub(self.port().in_flight_cost()) as u64;
        let mut shortcut = Shortcut::default();
        shortcut.lend(writer);
        link.lent.set(true);
        self.lent = Some(Rc::clone(link));
        Some(Way {
            shortcut,
            peer: Arc::clone(&link.peer),
            jobs: flight.credit().min(room).min(flight.in_a_row()),
            cost: flight.credit_cost().min(room_cost),
        })
    }
}
