//! One side of a measurement without JavaScript: libzmq's own loop, as its local_thr and remote_thr have it, or the `zeromq` crate. Says and
//! hears what programs/producer.mjs and programs/consumer.mjs do, a line of JSON each.

use std::{
    env,
    error::Error,
    io::{BufRead, stdin},
    time::{SystemTime, UNIX_EPOCH},
};

use zeromq::{Socket, SocketEvent, SocketRecv, SocketSend, ZmqMessage};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["libzmq", "producer", address, count, size] => push(address, count.parse()?, size.parse()?),
        ["libzmq", "consumer", address, count, _] => pull(address, count.parse()?),
        ["crate", "producer", address, count, size] => {
            runtime()?.block_on(push_by_crate(address, count.parse()?, size.parse()?))
        }
        ["crate", "consumer", address, count, _] => {
            runtime()?.block_on(pull_by_crate(address, count.parse()?))
        }
        _ => Err("usage: native-sides libzmq|crate producer|consumer ADDRESS COUNT SIZE".into()),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Binds, and sends to whoever connects.
fn push(address: &str, count: usize, size: usize) -> Result<()> {
    let socket = zmq::Context::new().socket(zmq::PUSH)?;
    socket.bind(address)?;
    say(&format!("{:?}", socket.get_last_endpoint()?.map_err(|_| "an endpoint that is no text")?));
    let job = vec![b'x'; size];
    for _ in 0..count {
        socket.send(&job[..], 0)?;
    }
    hear();
    say("0");
    Ok(())
}

/// Connects, and takes as many.
fn pull(address: &str, count: usize) -> Result<()> {
    let socket = zmq::Context::new().socket(zmq::PULL)?;
    socket.connect(address)?;
    say("null");
    let mut job = zmq::Message::new();
    socket.recv(&mut job, 0)?;
    let began = now();
    for _ in 1..count {
        socket.recv(&mut job, 0)?;
    }
    tell(count, began);
    Ok(())
}

async fn push_by_crate(address: &str, count: usize, size: usize) -> Result<()> {
    let mut socket = zeromq::PushSocket::new();
    let mut monitor = socket.monitor();
    say(&format!("{:?}", socket.bind(&address.replace(":*", ":0")).await?.to_string()));
    // Until somebody is there it refuses to send.
    while !matches!(monitor.recv().await?, SocketEvent::Accepted(..)) {}
    let job = vec![b'x'; size];
    for _ in 0..count {
        socket.send(ZmqMessage::from(job.clone())).await?;
    }
    hear();
    say("0");
    Ok(())
}

async fn pull_by_crate(address: &str, count: usize) -> Result<()> {
    let mut socket = zeromq::PullSocket::new();
    socket.connect(address).await?;
    say("null");
    socket.recv().await?;
    let began = now();
    for _ in 1..count {
        socket.recv().await?;
    }
    tell(count, began);
    Ok(())
}

/// How many came, from when to now.
fn tell(count: usize, began: f64) {
    say(&format!(r#"{{ "came": {count}, "began": {began}, "ended": {}, "cpu": 0 }}"#, now()));
    hear();
}

/// In milliseconds, for all processes of the machine.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}

fn say(line: &str) {
    println!("{line}");
}

/// What is said to this program next; or the end of whoever started it.
fn hear() {
    let _ = stdin().lock().lines().next();
}
