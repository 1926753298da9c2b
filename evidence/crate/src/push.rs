//! The sender: numbered jobs as fast as they are taken, then one a millisecond for as long as it lives, so that
//! the driver can see whether it goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, channel::mpsc::Receiver};
use tokio::time::sleep;
use zeromq::{PushSocket, Socket, SocketEvent, SocketSend, ZmqMessage, ZmqResult};

const PAUSE: Duration = Duration::from_millis(1);
const REPORT: Duration = Duration::from_millis(100);

pub async fn push(jobs: &str, size: &str, peers: &str) -> ZmqResult<()> {
    let (jobs, size, peers) = (parse(jobs), parse(size), parse(peers));
    let mut socket = PushSocket::new();
    let mut events = socket.monitor();
    let endpoint = socket.bind("tcp://127.0.0.1:0").await?;
    println!("listening {endpoint}");
    wait_for(peers, &mut events).await;

    let sent = Arc::new(AtomicU32::new(0));
    tokio::spawn(report(sent.clone()));
    loop {
        let number = sent.load(Ordering::Relaxed);
        send(&mut socket, number, size).await;
        sent.store(number + 1, Ordering::Relaxed);
        if number >= jobs {
            sleep(PAUSE).await;
        }
    }
}

async fn wait_for(peers: u32, events: &mut Receiver<SocketEvent>) {
    let mut accepted = 0;
    while accepted < peers {
        if let SocketEvent::Accepted(..) = events.next().await.expect("the socket lives") {
            accepted += 1;
        }
    }
}

/// A refused job is sent again: only what was accepted may count as lost.
async fn send(socket: &mut PushSocket, number: u32, size: u32) {
    let mut job = vec![0; size as usize];
    job[..4].copy_from_slice(&number.to_le_bytes());
    let job = ZmqMessage::from(job);
    while let Err(error) = socket.send(job.clone()).await {
        eprintln!("{error}");
        sleep(PAUSE).await;
    }
}

/// Runs beside the sender, so that its silence means that the runtime, not only the sender, stands still.
async fn report(sent: Arc<AtomicU32>) {
    loop {
        println!("sent {}", sent.load(Ordering::Relaxed));
        sleep(REPORT).await;
    }
}

fn parse(number: &str) -> u32 {
    number.parse().expect("a number")
}
