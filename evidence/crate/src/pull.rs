//! The worker: prints the number of each job as soon as it has it, so that a kill can't take the record along.

use std::future;

use zeromq::{PullSocket, Socket, SocketRecv, ZmqMessage, ZmqResult};

pub async fn bind() -> ZmqResult<()> {
    let mut socket = PullSocket::new();
    let endpoint = socket.bind("tcp://127.0.0.1:0").await?;
    println!("listening {endpoint}");
    work(socket, false).await
}

pub async fn connect(endpoint: &str, hold: bool) -> ZmqResult<()> {
    let mut socket = PullSocket::new();
    socket.connect(endpoint).await?;
    work(socket, hold).await
}

async fn work(mut socket: PullSocket, hold: bool) -> ZmqResult<()> {
    loop {
        // An error is about one peer; the others are still there.
        match socket.recv().await {
            Ok(job) => println!("{}", number(&job)),
            Err(error) => eprintln!("{error}"),
        }
        if hold {
            future::pending::<()>().await;
        }
    }
}

fn number(job: &ZmqMessage) -> u32 {
    let frame = job.get(0).expect("a frame");
    u32::from_le_bytes(frame[..4].try_into().expect("four bytes"))
}
