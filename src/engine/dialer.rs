//! Keeps one connection to an endpoint, for ever: whatever ends it, it is dialled again.

use std::{io, rc::Rc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
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

/// A failure that lasts is told again after so long.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Dials until `stop`.
pub async fn dial(endpoint: Endpoint, end: Rc<dyn End>, mut stop: watch::Receiver<bool>) {
    let mut pause = PAUSE;
    let mut failures = Failures::default();
    loop {
        let connection = tokio::select! {
            connection = round(&endpoint, &end, &mut failures) => connection,
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
async fn round(endpoint: &Endpoint, end: &Rc<dyn End>, failures: &mut Failures) -> Option<Connection> {
    let mut failed = |error: Error| {
        if failures.is_new(error.code, Instant::now()) {
            end.tell(Event::Unreachable { side: end.side(), address: endpoint.to_string(), error });
        }
    };
    let targets = transport::resolve(endpoint).await.unwrap_or_else(|error| {
        failed(error);
        Vec::new()
    });
    for target in targets {
        let address = target.address(endpoint);
        match connect(&target).await {
            Ok(stream) => {
                let connection = Connection::open(stream, end, address, Origin::Dialled).await;
                if connection.is_some() {
                    failures.forget();
                    return connection;
                }
            }
            Err(error) => failed(Error::system(&error, &address)),
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

/// The failures of one endpoint that were told, by their codes, and when. An endpoint is dialled every few seconds
/// for as long as nobody is there, which is worth an event when it begins and once a minute, not every time.
#[derive(Default)]
struct Failures(Vec<(&'static str, Instant)>);

impl Failures {
    /// Whether a failure with this code is to be told now.
    fn is_new(&mut self, code: &'static str, now: Instant) -> bool {
        let Some((_, told)) = self.0.iter_mut().find(|(other, _)| *other == code) else {
            self.0.push((code, now));
            return true;
        };
        let is_due = now - *told >= TOLD_AGAIN;
        if is_due {
            *told = now;
        }
        is_due
    }

    /// There was a connection: whatever fails after it is new.
    fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_a_minute_and_after_a_connection() {
        let mut failures = Failures::default();
        let start = Instant::now();
        let mut told = |code, seconds| failures.is_new(code, start + Duration::from_secs(seconds));
        assert!(told("ENOTFOUND", 0) && !told("ENOTFOUND", 1));
        assert!(told("ECONNREFUSED", 2) && !told("ENOTFOUND", 3) && !told("ECONNREFUSED", 59));
        assert!(told("ENOTFOUND", 60) && !told("ENOTFOUND", 61) && !told("ECONNREFUSED", 61));
        assert!(told("ECONNREFUSED", 62));
        failures.forget();
        assert!(failures.is_new("ECONNREFUSED", start + Duration::from_secs(63)));
    }
}
