//! Requests whose askers come and go while the engine is at work on them.

#[allow(dead_code, reason = "what other tests use of it")]
#[path = "support/user.rs"]
mod user;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::timeout;
use user::User;
use zeropipe::{
    batch::{Batch, Builder},
    config::{Config, Sites},
    engine::{event::Side, push_port::PushPort},
    flow::sender::requests::Tag,
};

/// Only catches what hangs.
const LONG: Duration = Duration::from_secs(60);

fn config(request: bool, address: &str) -> Config {
    let endpoint = vec![address.parse().expect("an endpoint")];
    if request {
        Config { request: Sites { bind: endpoint, connect: vec![] }, ..Config::default() }
    } else {
        Config { reply: Sites { bind: vec![], connect: endpoint }, ..Config::default() }
    }
}

fn requests(tags: &[Tag]) -> Batch {
    let mut builder = Builder::default();
    for tag in tags {
        for (frame, more) in [(&tag[..], true), (b"", true), (b"x", false)] {
            builder.slab().extend_from_slice(frame);
            builder.end_frame(more);
        }
    }
    builder.take().expect("requests")
}

async fn until_nobody_is_waited_for(port: &PushPort) {
    timeout(LONG, async {
        while port.undelivered() > 0 {
            port.look();
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{} requests that nobody waits for are waited for", port.undelivered()));
    assert_eq!((port.waiting(), port.waiting_cost()), (0, 0));
}

/// What is abandoned as soon as it was sent may reach the engine in the middle of its work.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_request_that_is_abandoned_at_once_keeps_no_close_waiting() {
    let user = User::new(config(true, "tcp://127.0.0.1:0"));
    user.open(Side::Request).await;
    let (port, askers) = (&user.pipe.requests.push, &user.pipe.requests.askers);
    let mut last = 0;
    let mut tags = |count: u32| {
        last += count;
        (last - count..last).map(|number| user.tag(number)).collect::<Vec<_>>()
    };
    for round in 0..300 {
        let (many, one) = (tags(500), tags(1));
        port.send(requests(&many), true).expect("the end is open");
        // The engine begins somewhere in here.
        for _ in 0..(round % 100) * 50 {
            std::hint::spin_loop();
        }
        port.send(requests(&one), true).expect("the end is open");
        askers.abandon(&one);
        port.look();
        askers.abandon(&many);
        port.look();
    }
    until_nobody_is_waited_for(port).await;
    user.close().await;
}

/// The same of an asker that leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn requests_of_an_asker_that_leaves_at_once_keep_no_close_waiting() {
    let user = User::new(config(true, "tcp://127.0.0.1:0"));
    user.open(Side::Request).await;
    let port = &user.pipe.requests.push;
    port.send(requests(&(0..5_000).map(|number| user.tag(number)).collect::<Vec<_>>()), true)
        .expect("it is open");
    user.pipe.requests.askers.leave(&user.asker);
    port.look();
    until_nobody_is_waited_for(port).await;
    user.close().await;
}

/// Whoever has a reply in hand and looks at the counts finds it there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_counts_as_answered_by_the_time_its_reply_is_here() {
    let ours = User::new(config(true, "tcp://127.0.0.1:0"));
    let address = ours.open(Side::Request).await.expect("it is bound");
    let worker = Arc::new(User::new(config(false, &address)));
    worker.open(Side::Reply).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let serving = tokio::spawn({
        let (worker, is_over) = (Arc::clone(&worker), Arc::clone(&is_over));
        async move {
            while !is_over.load(SeqCst) {
                let serve = worker.serve(|request| request.into_iter().map(Vec::from).collect());
                let _ = timeout(Duration::from_millis(100), serve).await;
            }
        }
    });
    timeout(LONG, async {
        for number in 0..5_000 {
            let tag = ours.tag(number);
            ours.request(tag, &[number.to_string()]);
            let reply = ours.answer(tag).await;
            assert_eq!(reply, Ok(vec![number.to_string().into_bytes()]));
            let port = &ours.pipe.requests.push;
            assert_eq!((port.undelivered(), port.done()), (0, u64::from(number) + 1));
        }
    })
    .await
    .expect("every request is answered");
    is_over.store(true, SeqCst);
    serving.await.expect("it served");
    worker.close().await;
    ours.close().await;
}
