//! Consumers that come and go while jobs are dealt lose none: what they had not begun with goes to others.

#[allow(dead_code, reason = "other tests need the rest")]
#[path = "support/random.rs"]
mod random;

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use zeropipe::{
    batch::{Batch, Builder},
    config::{Config, Sites},
    endpoint::Endpoint,
    engine::{
        consumer::{Taken, word},
        delivery::Fate,
        event::{Callback, Event, Handle, Side},
        keeper,
        pipe::Pipe,
    },
};

const JOBS: u32 = 3_000_000;

/// Wakes a thread.
#[derive(Default)]
struct Bell(Mutex<bool>, Condvar);

impl Bell {
    fn wait(&self, at_most: Duration) {
        let rung = self.0.lock().expect("no panic");
        let (mut rung, _) = self.1.wait_timeout_while(rung, at_most, |rung| !*rung).expect("no panic");
        *rung = false;
    }
}

impl Handle for Bell {
    fn raise(&self, _: u32) {
        *self.0.lock().expect("no panic") = true;
        self.1.notify_all();
    }

    fn tell(&self, _: &Event) {}
}

fn open(config: Config, side: Side) -> Arc<Pipe> {
    let pipe = keeper::open(config, Arc::new(Bell::default())).expect("the I/O thread runs");
    let (sender, receiver) = std::sync::mpsc::channel();
    pipe.open(side, Callback::new(move |answer| sender.send(answer).expect("somebody waits")));
    receiver.recv().expect("answered").expect("it opens");
    pipe
}

fn numbers(range: std::ops::Range<u32>) -> Batch {
    let mut builder = Builder::default();
    for number in range {
        builder.slab().extend_from_slice(&number.to_le_bytes());
        builder.end_frame(false);
    }
    builder.take().expect("some")
}

fn read(taken: &Taken) -> Vec<u32> {
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    taken.iter().map(|job| number(job.frames().next().expect("a frame").0)).collect()
}

#[test]
fn consumers_that_leave_while_jobs_are_dealt_lose_none() {
    let inproc = |name: &str| format!("inproc://{name}").parse().expect("an endpoint");
    let bind = |name| Sites { bind: vec![inproc(name)], ..Sites::default() };
    let pushers: Vec<_> =
        ["one", "two"].map(|name| open(Config { push: bind(name), ..Config::default() }, Side::Push)).into();
    let connect = Sites { connect: vec![inproc("one"), inproc("two")], ..Sites::default() };
    let puller = open(Config { pull: connect, ..Config::default() }, Side::Pull);
    for (index, pusher) in pushers.iter().enumerate() {
        let first = JOBS / 2 * index as u32;
        for start in (first..first + JOBS / 2).step_by(1000) {
            pusher.pipeline.push.send(numbers(start..start + 1000), true).expect("open");
        }
    }

    // Some stay, and some take a little, begin with a part of it, and leave, again and again.
    let (over, seen) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for seed in 0..2 {
            let (over, seen, puller) = (&over, &seen, &puller);
            scope.spawn(move || {
                let mut random = random::Random::new(seed);
                while !over.load(SeqCst) {
                    let bell = Arc::new(Bell::default());
                    let consumer = puller.pipeline.pull.join(bell.clone(), None, true);
                    if let Some(taken) = puller.pipeline.pull.take(&consumer, 1) {
                        let begun = random.below(taken.jobs + 1);
                        consumer.words[word::BEGUN].store(begun as u32, SeqCst);
                        seen.lock().expect("no panic").extend(&read(&taken)[..begun]);
                    }
                    puller.pipeline.pull.leave(&consumer, Fate::Done);
                }
            });
        }
        let bell = Arc::new(Bell::default());
        let consumer = puller.pipeline.pull.join(bell.clone(), None, true);
        let deadline = Instant::now() + Duration::from_secs(60);
        while seen.lock().expect("no panic").len() < JOBS as usize && Instant::now() < deadline {
            let words = &consumer.words;
            words[word::DONE].store(words[word::BEGUN].load(SeqCst), SeqCst);
            match puller.pipeline.pull.take(&consumer, 1) {
                Some(taken) => {
                    words[word::BEGUN].fetch_add(taken.jobs as u32, SeqCst);
                    seen.lock().expect("no panic").extend(read(&taken));
                }
                None => bell.wait(Duration::from_millis(100)),
            }
        }
        over.store(true, SeqCst);
    });

    let mut seen = seen.into_inner().expect("no panic");
    seen.sort_unstable();
    assert_eq!(seen.len(), JOBS as usize, "each job once");
    assert!(seen.into_iter().eq(0..JOBS), "each job once");
}

/// Pushes from several ends, begins with a part of what it takes, then gives the rest back in one way or another, again and again: what it
/// gets of each pusher is in order.
fn give_back_again_and_again(name: &str, pushers: u32) {
    const JOBS: u32 = 12_000;
    let sites: Vec<_> =
        (0..pushers).map(|index| format!("inproc://{name}-{index}").parse().expect("an endpoint")).collect();
    let open_push = |site: &Endpoint| {
        let push = Sites { bind: vec![site.clone()], ..Sites::default() };
        open(Config { push, ..Config::default() }, Side::Push)
    };
    let ends: Vec<_> = sites.iter().map(open_push).collect();
    let pull = Sites { connect: sites, ..Sites::default() };
    let puller = open(Config { pull, ..Config::default() }, Side::Pull);
    let pull = &puller.pipeline.pull;
    let mut random = random::Random::new(1);
    let (mut pushed, mut seen) = (vec![0; ends.len()], vec![Vec::<u32>::new(); ends.len()]);
    let all = |seen: &[Vec<u32>]| seen.iter().map(Vec::len).sum::<usize>() as u32;
    let bell = Arc::new(Bell::default());
    let mut consumer = pull.join(bell.clone(), None, true);
    let deadline = Instant::now() + Duration::from_secs(60);
    while all(&seen) < JOBS * pushers && Instant::now() < deadline {
        // Now few, now many are on their way; not as many from each.
        while pushed.iter().sum::<u32>() < all(&seen) + 1 + random.below(2000) as u32
            && let Some(index) =
                (0..ends.len()).filter(|&index| pushed[index] < JOBS).min_by_key(|_| random.word())
        {
            let next = JOBS.min(pushed[index] + 1 + random.below(9) as u32);
            let own = index as u32 * JOBS;
            ends[index].pipeline.push.send(numbers(own + pushed[index]..own + next), true).expect("open");
            pushed[index] = next;
        }
        let Some(taken) = pull.take(&consumer, 1 + random.below(5) as u32) else {
            bell.wait(Duration::from_millis(100));
            continue;
        };
        let begun = random.below(taken.jobs + 1);
        consumer.words[word::BEGUN].fetch_add(begun as u32, SeqCst);
        for number in &read(&taken)[..begun] {
            seen[(number / JOBS) as usize].push(number % JOBS);
        }
        match random.below(1000) {
            0 => thread::sleep(Duration::from_millis(120)),
            1..100 => thread::sleep(Duration::from_micros(50)),
            _ => {}
        }
        consumer.words[word::DONE].store(consumer.words[word::BEGUN].load(SeqCst), SeqCst);
        if random.below(2) == 0 {
            pull.recall(&consumer);
        } else {
            pull.leave(&consumer, Fate::Done);
            consumer = pull.join(bell.clone(), None, true);
        }
    }
    for seen in seen {
        let wrong = seen.iter().zip(0..).position(|(&seen, expected)| seen != expected);
        let around = wrong.map(|at| &seen[at.saturating_sub(3)..seen.len().min(at + 8)]);
        assert_eq!((seen.len(), wrong, around), (JOBS as usize, None, None));
    }
}

#[test]
fn whatever_is_given_back_comes_again_before_what_its_pusher_pushed_behind_it() {
    give_back_again_and_again("one-in-order", 1);
}

#[test]
fn so_it_does_when_the_jobs_of_several_pushers_come_together() {
    give_back_again_and_again("three-in-order", 3);
}
