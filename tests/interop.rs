//! The engine and the `zeromq` crate at the two ends of a connection.

#[path = "support/mix.rs"]
mod mix;
#[path = "support/random.rs"]
mod random;
#[path = "support/user.rs"]
mod user;

use std::{future::Future, time::Duration};

use bytes::Bytes;
use mix::Mix;
use tokio::time::timeout;
use user::User;
use zeromq::{
    DealerSocket, PullSocket, PushSocket, RepSocket, ReqSocket, RouterSocket, Socket, SocketEvent,
    SocketRecv, SocketSend, ZmqMessage,
};
use zeropipe::{
    config::{Config, Sites},
    engine::event::{Event, Side},
};

const MANY: usize = 100_000;
const SOME: usize = 2_000;

/// Only catches what hangs.
async fn within(test: impl Future<Output = ()>) {
    timeout(Duration::from_secs(120), test).await.expect("the test hangs");
}

/// Who binds; the other side connects.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Binder {
    Ours,
    Theirs,
}

fn sites(binder: Binder, address: &str) -> Sites {
    let endpoint = vec![address.parse().expect("an endpoint")];
    match binder {
        Binder::Ours => Sites { bind: endpoint, connect: vec![] },
        Binder::Theirs => Sites { bind: vec![], connect: endpoint },
    }
}

/// Our push end, opened, and a PULL of the crate that is connected to it.
async fn push_to_crate(binder: Binder, address: &str, config: Config) -> (User, PullSocket) {
    let mut socket = PullSocket::new();
    let address = bind_theirs(&mut socket, binder, address).await;
    let ours = User::new(Config { push: sites(binder, &address), ..config });
    connect_theirs(&mut socket, ours.open(Side::Push).await).await;
    ours.event(|event| matches!(event, Event::Join { side: Side::Push, .. }).then_some(())).await;
    (ours, socket)
}

/// Our pull end, opened, and a PUSH of the crate that is connected to it.
async fn pull_from_crate(binder: Binder, address: &str, config: Config) -> (User, PushSocket) {
    let mut socket = PushSocket::new();
    let mut monitor = socket.monitor();
    let address = bind_theirs(&mut socket, binder, address).await;
    let ours = User::new(Config { pull: sites(binder, &address), ..config });
    connect_theirs(&mut socket, ours.open(Side::Pull).await).await;
    // Until then the crate refuses to send.
    let is_connected = |event| matches!(event, SocketEvent::Accepted(..) | SocketEvent::Connected(..));
    while !is_connected(monitor.recv().await.expect("the socket lives")) {}
    (ours, socket)
}

async fn bind_theirs(socket: &mut impl Socket, binder: Binder, address: &str) -> String {
    match binder {
        Binder::Ours => address.into(),
        Binder::Theirs => socket.bind(address).await.expect("the crate binds").to_string(),
    }
}

async fn connect_theirs(socket: &mut impl Socket, bound: Option<String>) {
    if let Some(bound) = bound {
        socket.connect(&bound).await.expect("the crate connects");
    }
}

async fn hand_over_to_crate(binder: Binder, address: &str, mix: &Mix, count: usize) {
    let (ours, mut theirs) = push_to_crate(binder, address, Config::default()).await;
    let push = async {
        for batch in mix.batches(0, count) {
            ours.push(batch).await;
        }
        ours.drain().await;
    };
    let pull = async {
        for index in 0..count {
            let job = theirs.recv().await.expect("a job");
            // Not assert_eq: it would print megabytes.
            assert!(job.into_vec() == mix.job(index), "job {index} of {count}, {binder:?}, {address}");
        }
    };
    tokio::join!(push, pull);
    assert_eq!((ours.pipe.pipeline.push.done(), ours.pipe.pipeline.push.waiting()), (count as u64, 0));
    theirs.close().await;
    ours.close().await;
}

async fn take_over_from_crate(binder: Binder, address: &str, mix: &Mix, count: usize) {
    let (ours, mut theirs) = pull_from_crate(binder, address, Config::default()).await;
    let own = mix.clone();
    let push = tokio::spawn(async move {
        for index in 0..count {
            let job = ZmqMessage::try_from(own.job(index)).expect("a job has frames");
            theirs.send(job).await.expect("the crate sends");
        }
        theirs
    });
    let mut index = 0;
    while index < count {
        for job in ours.pull().await.iter() {
            let frames: Vec<&[u8]> = job.frames().map(|(bytes, _)| bytes).collect();
            assert!(frames == mix.job(index), "job {index} of {count}, {binder:?}, {address}");
            index += 1;
        }
    }
    assert_eq!((index, ours.pipe.pipeline.pull.received()), (count, count as u64));
    push.await.expect("the crate's task ends").close().await;
    ours.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_hundred_thousand_jobs_reach_the_crate_in_order_and_byte_for_byte() {
    within(hand_over_to_crate(Binder::Ours, "tcp://127.0.0.1:0", &Mix::new(), MANY)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_hundred_thousand_jobs_of_the_crate_arrive_in_order_and_byte_for_byte() {
    within(take_over_from_crate(Binder::Ours, "tcp://127.0.0.1:0", &Mix::new(), MANY)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn either_side_may_bind_in_both_directions() {
    within(async {
        let mix = Mix::new();
        for binder in [Binder::Ours, Binder::Theirs] {
            hand_over_to_crate(binder, "tcp://127.0.0.1:0", &mix, SOME).await;
            take_over_from_crate(binder, "tcp://127.0.0.1:0", &mix, SOME).await;
            let path = |way| {
                let name = format!("zeropipe-interop-{}-{binder:?}-{way}", std::process::id());
                format!("ipc://{}", std::env::temp_dir().join(name).display())
            };
            hand_over_to_crate(binder, &path("out"), &mix, SOME).await;
            take_over_from_crate(binder, &path("in"), &mix, SOME).await;
        }
    })
    .await;
}

/// The crate greets as ZMTP 3.0 and drops whoever sends it a PING.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_idle_link_to_the_crate_outlives_the_heartbeat_timeout() {
    within(async {
        let timeout = Duration::from_millis(100);
        let config =
            Config { heartbeat_interval: timeout / 4, heartbeat_timeout: timeout, ..Config::default() };
        let (push, mut their_pull) = push_to_crate(Binder::Ours, "tcp://127.0.0.1:0", config.clone()).await;
        let (pull, mut their_push) = pull_from_crate(Binder::Ours, "tcp://127.0.0.1:0", config).await;
        let (first, second) = (Bytes::from_static(b"before"), Bytes::from_static(b"after"));
        for job in [first, second] {
            push.push(zeropipe::batch::Batch::new(job.to_vec(), vec![job.len() as u32]).expect("sound"))
                .await;
            // One that waits reads: it would see a PING, and its connection end.
            let received = their_pull.recv().await.expect("the link lives");
            assert!(received.iter().eq([&job]));
            their_push.send(job.clone().into()).await.expect("the link lives");
            assert_eq!(*pull.pull().await.batch.slab(), job);
            // The passing of time is what is tested here.
            let _ =
                tokio::time::timeout(10 * timeout, their_pull.recv()).await.expect_err("nothing was sent");
        }
        for user in [push, pull] {
            let left = user
                .events()
                .into_iter()
                .find(|event| matches!(event, Event::Leave { .. } | Event::Refused { .. }));
            assert_eq!(left, None);
            user.close().await;
        }
    })
    .await;
}

/// What is asked and answered: a body of each kind.
fn body(mix: &Mix, index: usize) -> Vec<Bytes> {
    match index % 7 {
        3 => vec![Bytes::new()],
        5 => vec![Bytes::new(), Bytes::from_static(b"behind an empty frame"), Bytes::new()],
        // With the envelope it must stay below the limit of frames.
        _ => mix.job(index).into_iter().take(1_000).collect(),
    }
}

fn owned(frames: &[Bytes]) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| frame.to_vec()).collect()
}

/// Our request end, opened, and a socket of the crate that is connected to it.
async fn request_to_crate<S: Socket>(binder: Binder, address: &str) -> (User, S) {
    let mut socket = S::new();
    let address = bind_theirs(&mut socket, binder, address).await;
    let ours = User::new(Config { request: sites(binder, &address), ..Config::default() });
    connect_theirs(&mut socket, ours.open(Side::Request).await).await;
    ours.event(|event| matches!(event, Event::Join { side: Side::Request, .. }).then_some(())).await;
    (ours, socket)
}

/// Our reply end, opened, and a socket of the crate that is connected to it.
async fn reply_to_crate<S: Socket>(binder: Binder, address: &str) -> (User, S) {
    let mut socket = S::new();
    let mut monitor = socket.monitor();
    let address = bind_theirs(&mut socket, binder, address).await;
    let ours = User::new(Config { reply: sites(binder, &address), ..Config::default() });
    connect_theirs(&mut socket, ours.open(Side::Reply).await).await;
    // Until then the crate refuses to send.
    let is_connected = |event| matches!(event, SocketEvent::Accepted(..) | SocketEvent::Connected(..));
    while !is_connected(monitor.recv().await.expect("the socket lives")) {}
    (ours, socket)
}

/// A port and a path.
fn places(binder: Binder, way: &str) -> [String; 2] {
    let name = format!("zeropipe-interop-{}-{binder:?}-{way}", std::process::id());
    ["tcp://127.0.0.1:0".into(), format!("ipc://{}", std::env::temp_dir().join(name).display())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_rep_of_the_crate_answers_our_requests_byte_for_byte() {
    within(async {
        let mix = Mix::new();
        for binder in [Binder::Ours, Binder::Theirs] {
            for address in places(binder, "rep") {
                let (ours, mut theirs) = request_to_crate::<RepSocket>(binder, &address).await;
                let ask = async {
                    (0..SOME).for_each(|index| ours.request(ours.tag(index as u32), &body(&mix, index)));
                    for index in 0..SOME {
                        let reply = ours.answer(ours.tag(index as u32)).await;
                        assert!(reply == Ok(owned(&body(&mix, index + 1))), "reply {index}, {binder:?}");
                    }
                };
                let answer = async {
                    for index in 0..SOME {
                        let request = theirs.recv().await.expect("a request");
                        assert!(request.into_vec() == body(&mix, index), "request {index}, {binder:?}");
                        let reply = ZmqMessage::try_from(body(&mix, index + 1)).expect("it has frames");
                        theirs.send(reply).await.expect("the crate replies");
                    }
                };
                tokio::join!(ask, answer);
                assert_eq!(ours.pipe.requests.push.done(), SOME as u64);
                assert_eq!(ours.pipe.requests.push.undelivered(), 0);
                theirs.close().await;
                ours.close().await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_router_of_the_crate_answers_our_requests_in_any_order() {
    within(async {
        let mix = Mix::new();
        for binder in [Binder::Ours, Binder::Theirs] {
            for address in places(binder, "router") {
                let (ours, mut theirs) = request_to_crate::<RouterSocket>(binder, &address).await;
                let ask = async {
                    (0..SOME).for_each(|index| ours.request(ours.tag(index as u32), &body(&mix, index)));
                    for index in 0..SOME {
                        let reply = ours.answer(ours.tag(index as u32)).await;
                        assert!(reply == Ok(owned(&body(&mix, index))), "reply {index}, {binder:?}");
                    }
                };
                let answer = async {
                    // Always a few behind, and the latest first.
                    let mut held = Vec::new();
                    for index in 0..SOME {
                        let request = theirs.recv().await.expect("a request").into_vec();
                        assert_eq!((&request[1][..], request[2].len()), (&ours.tag(index as u32)[..], 0));
                        assert!(request[3..] == body(&mix, index), "request {index}, {binder:?}");
                        held.push(request);
                        while held.len() > if index + 1 < SOME { index % 9 } else { 0 } {
                            let reply = ZmqMessage::try_from(held.pop().expect("one")).expect("frames");
                            theirs.send(reply).await.expect("the crate replies");
                        }
                    }
                };
                tokio::join!(ask, answer);
                assert_eq!(ours.pipe.requests.push.undelivered(), 0);
                theirs.close().await;
                ours.close().await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_req_of_the_crate_gets_its_replies_byte_for_byte() {
    within(async {
        let mix = Mix::new();
        for binder in [Binder::Ours, Binder::Theirs] {
            for address in places(binder, "req") {
                let (ours, mut theirs) = reply_to_crate::<ReqSocket>(binder, &address).await;
                let answer = async {
                    for index in 0..SOME {
                        let served = ours
                            .serve(|request| {
                                assert!(request == body(&mix, index), "request {index}, {binder:?}");
                                owned(&body(&mix, index + 1))
                            })
                            .await;
                        assert_eq!(served, 1);
                    }
                };
                let ask = async {
                    for index in 0..SOME {
                        let request = ZmqMessage::try_from(body(&mix, index)).expect("it has frames");
                        theirs.send(request).await.expect("the crate asks");
                        let reply = theirs.recv().await.expect("a reply").into_vec();
                        assert!(reply == body(&mix, index + 1), "reply {index}, {binder:?}");
                    }
                };
                tokio::join!(answer, ask);
                theirs.close().await;
                ours.close().await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_dealer_of_the_crate_gets_the_replies_to_all_that_it_asks_at_once() {
    within(async {
        let mix = Mix::new();
        for binder in [Binder::Ours, Binder::Theirs] {
            for address in places(binder, "dealer") {
                let (ours, mut theirs) = reply_to_crate::<DealerSocket>(binder, &address).await;
                let answer = async {
                    let mut served = 0;
                    while served < SOME {
                        served += ours.serve(|request| request.into_iter().map(Vec::from).collect()).await;
                    }
                };
                let envelope = |index: usize| {
                    let addresses = (0..index % 4).map(|address| Bytes::from(format!("{index}-{address}")));
                    addresses.chain([Bytes::new()]).collect::<Vec<_>>()
                };
                let whole = |index: usize| [envelope(index), body(&mix, index)].concat();
                let ask = async {
                    for chunk in 0..SOME / 100 {
                        let indexes = 100 * chunk..100 * (chunk + 1);
                        for index in indexes.clone() {
                            let request = ZmqMessage::try_from(whole(index)).expect("it has frames");
                            theirs.send(request).await.expect("the crate asks");
                        }
                        for index in indexes {
                            let reply = theirs.recv().await.expect("a reply").into_vec();
                            assert!(reply == whole(index), "reply {index}, {binder:?}");
                        }
                    }
                };
                tokio::join!(answer, ask);
                theirs.close().await;
                ours.close().await;
            }
        }
    })
    .await;
}
