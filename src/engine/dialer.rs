//! Keeps one connection to an endpoint, for ever: whatever ends it, it is dialled again.

use std::{io, rc::Rc, time::Duration};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    chance::jittered,
    event::Event,
    link::{Connection, End, Origin, Outcome},
    stream::BoxStream,
    transport::{self, Target},
};
use crate::{endpoint::Endpoint, error::Error};

/// Pauses double from the first of these to the second.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A host that doesn't answer at all is given up for this round; the system itself would try for minutes.
const DIAL_DEADLINE: Duration = Duration::from_secs(10);

/// Dials until `stop`.
pub async fn dial(endpoint: Endpoint, end: Rc<dyn End>, mut stop: watch::Receiver<bool>) {
    let mut pause = PAUSE;
    loop {
        let connection = tokio::select! {
            connection = round(&endpoint, &end) => connection,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        if let Some(connection) = connection
            && matches!(connection.run().await, Outcome::Useful)
        {
            pause = PAUSE;
        }
        tokio::select! {
            () = sleep(jittered(pause)) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Tries every address of the endpoint once; the first that shakes hands wins.
async fn round(endpoint: &Endpoint, end: &Rc<dyn End>) -> Option<Connection> {
    let tell = |address: String, error: Error| end.tell(Event::Refused { side: end.side(), address, error });
    let targets = transport::resolve(endpoint).await.unwrap_or_else(|error| {
        tell(endpoint.to_string(), error);
        Vec::new()
    });
    for target in targets {
        let address = target.address(endpoint);
        match connect(&target).await {
            Ok(stream) => {
                let connection = Connection::open(stream, end, address, Origin::Dialled).await;
                if connection.is_some() {
                    return connection;
                }
            }
            Err(error) if is_nobody_there(&error) => {}
            Err(error) => tell(address.clone(), Error::system(&error, &address)),
        }
    }
    None
}

async fn connect(target: &Target) -> io::Result<BoxStream> {
    match target {
        // Whoever is to bind the name may come at any time, and waiting costs nothing.
        Target::Inproc(_) => target.connect().await,
        _ => timeout(DIAL_DEADLINE, target.connect())
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
    }
}

/// Whether this is what dialling looks like before the other side is up: nothing to be told about.
fn is_nobody_there(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, NotFound,
        TimedOut, WouldBlock,
    };
    matches!(
        error.kind(),
        ConnectionRefused
            | ConnectionReset
            | ConnectionAborted
            | TimedOut
            | NotFound
            | HostUnreachable
            | NetworkUnreachable
            | WouldBlock
    )
}
