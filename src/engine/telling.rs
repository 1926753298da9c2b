//! What a pusher is told: what became of its jobs, and how many more it may send, in one write.

use std::rc::Rc;

use super::{grant::Urgency, ledger::Reject, link::Link};
use crate::{
    batch::{Batch, LARGE, Place},
    flow::outbox::Outbox,
    wire::command,
};

/// A pusher that does not read what it is told is told no more than this.
const MOST_UNREAD: usize = LARGE;

/// Lends the threads that reply the way to the connection, if nothing else is to be written.
pub fn lend(link: &Link) {
    let is_idle = link.outbox.borrow().unwritten() == 0 && !link.is_blocked.get() && !link.is_ending();
    if let Some(writer) = link.writer.borrow().clone().filter(|_| is_idle) {
        link.peer.ledger().shortcut.lend(writer);
        link.lent.set(true);
    }
}

/// Takes it back, and whatever was begun with on it.
pub fn take_back(link: &Link) {
    if link.lent.replace(false) {
        let rest = link.peer.ledger().shortcut.take_back();
        link.outbox.borrow_mut().put_first(rest);
    }
}

/// Sends one pusher the replies that there are for it; whether there were any.
pub fn reply(link: &Rc<Link>) -> bool {
    if !link.peer.ledger().has_replies() {
        return false;
    }
    take_back(link);
    let replies = link.peer.ledger().take_replies();
    put(&mut link.outbox.borrow_mut(), replies);
    link.wake();
    true
}

fn put(outbox: &mut Outbox, replies: Vec<Batch>) {
    for batch in replies {
        if batch.jobs() == 1 && batch.slab().len() >= LARGE {
            outbox.put_large(batch, None);
            continue;
        }
        let mut at = Place::default();
        while let Some((job, next)) = batch.job(at) {
            outbox.put(job, None);
            at = next;
        }
    }
}

/// Tells one pusher what became of its jobs; `has_replied` if it was just sent replies. Whether something was left for later.
pub fn tell(link: &Rc<Link>, window: (u64, u64), has_replied: bool, is_due: bool) -> bool {
    let (mut grant, mut outbox) = (link.grant.borrow_mut(), link.outbox.borrow_mut());
    let inbox = link.inbox.borrow();
    let received = (inbox.received(), inbox.received_cost());
    let gives_back = link.peer.ledger().has_returns();
    // Whoever waits for a reply waits for an error too.
    let is_awaited = has_replied || link.peer.ledger().has_rejects();
    // What is given back comes again before anything else, or the order would be lost: so until all that is on its way has
    // been given back too, nothing is granted.
    let window = if link.peer.ledger().is_returning() { (0, window.1) } else { window };
    let urgency = grant.urgency(received, window);
    if urgency == Urgency::None && link.peer.ledger().is_told() {
        return false;
    }
    let is_urgent = gives_back || is_awaited || is_due || urgency == Urgency::Now;
    if !is_urgent || outbox.unwritten() > MOST_UNREAD {
        return true;
    }
    // Together, and replies first: if the link is lost between the two, a request that was not answered must be sent again.
    let (replies, settlement) = link.peer.ledger().take();
    put(&mut outbox, replies);
    let mut bytes = command::ack(&settlement.acks);
    for (number, reason) in settlement.nacks {
        bytes.extend(command::nack(number, &reason));
    }
    for Reject { number, code, text } in settlement.rejects {
        bytes.extend(command::reject(number, &code, &text));
    }
    if urgency != Urgency::None {
        let (jobs, cost) = grant.set(received, window);
        bytes.extend(command::credit(jobs, cost));
    }
    // The last, or the pusher would send it again under the old credit.
    bytes.extend(command::giving_back(&settlement.returns));
    outbox.put_command(bytes);
    drop((grant, outbox));
    if settlement.asks {
        // Whatever comes before the answer was sent before this was heard.
        link.ask();
    }
    link.wake();
    false
}
