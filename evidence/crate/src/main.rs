//! A PUSH or a PULL of the `zeromq` crate in a process of its own, for `npm run evidence`.
//!
//! ```text
//! zeromq-evidence pull bind                         print the number of every job
//! zeromq-evidence pull connect <endpoint> [hold]    the same; `hold` never finishes the first job
//! zeromq-evidence push <jobs> <size> <peers> [one-thread]
//! ```
//!
//! Every line goes to stdout: `listening <endpoint>`, `sent <jobs>` ten times a second, or the number of a job.

mod pull;
mod push;

use std::{io, process, thread};

use tokio::runtime::{Builder, Runtime};
use zeromq::ZmqResult;

fn main() {
    thread::spawn(die_with_the_driver);
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let Err(error) = run(&args) {
        eprintln!("{error}");
        process::exit(1);
    }
}

fn run(args: &[&str]) -> ZmqResult<()> {
    match args {
        ["pull", "bind"] => two_threads().block_on(pull::bind()),
        ["pull", "connect", endpoint] => two_threads().block_on(pull::connect(endpoint, false)),
        ["pull", "connect", endpoint, "hold"] => two_threads().block_on(pull::connect(endpoint, true)),
        ["push", jobs, size, peers] => two_threads().block_on(push::push(jobs, size, peers)),
        ["push", jobs, size, peers, "one-thread"] => one_thread().block_on(push::push(jobs, size, peers)),
        _ => panic!("unknown arguments: {args:?}"),
    }
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn two_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A thread of its own, because the runtime may be frozen: that is one of the things we measure.
fn die_with_the_driver() {
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    process::exit(0);
}
