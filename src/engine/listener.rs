//! Takes connections in, for ever, and keeps strangers from filling the house.

use std::{cell::RefCell, collections::VecDeque, io, rc::Rc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    task::spawn_local,
    time::sleep,
};

use super::{
    event::Event,
    link::{Connection, End, Origin},
    stream::BoxStream,
    transport,
};
use crate::{endpoint::Endpoint, error::Error};

/// How many connections may be open without having shaken hands; one more, and the oldest of them goes.
const MAX_STRANGERS: usize = 1024;

/// How long to wait when the system has no more file descriptors or memory.
const BREATHER: Duration = Duration::from_millis(100);

/// Connections that have not shaken hands yet, the oldest first. Dropping the sender ends one.
type Strangers = Rc<RefCell<VecDeque<(u64, oneshot::Sender<()>)>>>;

/// Serves every connection that comes in, until `stop`.
pub async fn listen(
    mut listener: transport::Listener,
    endpoint: Endpoint,
    end: Rc<dyn End>,
    mut stop: watch::Receiver<bool>,
) {
    let strangers = Strangers::default();
    let mut next = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(&endpoint) => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, address)) => {
                next += 1;
                admit(&strangers, next, stream, address, Rc::clone(&end), stop.clone());
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                let address = endpoint.to_string();
                let error = Error::system(&error, &address);
                end.tell(Event::Refused { side: end.side(), address, error });
                tokio::select! {
                    () = sleep(BREATHER) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
        }
    }
}

/// Serves one connection in a task of its own. Until it has shaken hands, `stop` or too many newer ones end it.
fn admit(
    strangers: &Strangers,
    number: u64,
    stream: BoxStream,
    address: String,
    end: Rc<dyn End>,
    mut stop: watch::Receiver<bool>,
) {
    let (keep, crowded_out) = oneshot::channel();
    let mut list = strangers.borrow_mut();
    list.push_back((number, keep));
    if list.len() > MAX_STRANGERS {
        list.pop_front();
    }
    let strangers = Rc::clone(strangers);
    spawn_local(async move {
        let connection = tokio::select! {
            connection = Connection::open(stream, &end, address, Origin::Accepted) => connection,
            _ = crowded_out => None,
            _ = stop.wait_for(|stop| *stop) => None,
        };
        strangers.borrow_mut().retain(|(other, _)| *other != number);
        if let Some(connection) = connection {
            connection.run().await;
        }
    });
}

/// Whether accepting failed because of the peer, not because of us.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | TimedOut)
}
