//! The Rust end of a pipe whose other end is zeropipe in Node.js: plain `zeromq`, nothing of zeropipe's.

use std::{env, error::Error, process::ExitCode, time::Duration};

use tokio::{runtime::Handle, time::sleep};
use zeromq::{PullSocket, PushSocket, Socket, SocketRecv, SocketSend};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let outcome = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["pull", address, count] => pull(address, count).await,
        ["push", address, count] => push(address, count).await,
        _ => Err("usage: rust-worker pull|push tcp://HOST:PORT COUNT".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rust-worker: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Takes `count` jobs from the pusher at `address` and prints each.
async fn pull(address: &str, count: &str) -> Result<()> {
    let count: usize = count.parse()?;
    let mut socket = PullSocket::new();
    socket.connect(address).await?;
    for _ in 0..count {
        let job = socket.recv().await?;
        let text: Vec<_> = job.iter().map(|frame| String::from_utf8_lossy(frame)).collect();
        println!("Received Job {}", text.join(" "));
    }
    Ok(())
}

/// Hands the jobs `ok 1` to `ok <count>` to the puller at `address`.
async fn push(address: &str, count: &str) -> Result<()> {
    let count: usize = count.parse()?;
    let mut socket = PushSocket::new();
    socket.connect(address).await?;
    for i in 1..=count {
        socket.send(format!("ok {i}").into()).await?;
    }
    socket.close().await;
    written().await;
    Ok(())
}

/// Waits until everything sent is with the operating system. `send` only queues, and a program that ends at once
/// loses its queue: a closed socket's writer task lives until its queue is written, and nothing else tells.
async fn written() {
    while Handle::current().metrics().num_alive_tasks() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
}
