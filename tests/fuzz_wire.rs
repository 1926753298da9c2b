//! Whatever a peer sends, in whatever pieces it comes: no panic, no memory beyond the limit, and the same outcome as
//! when all of it comes at once.

#[path = "support/random.rs"]
mod random;

use random::Random;
use zeropipe::{
    batch::{LARGE, MAX_FRAMES, Place},
    error::Error,
    wire::{
        command::{self, Command, FlowCommand, MAX_COMMAND},
        decoder::Decoder,
        flow::{self, Instance, Mark, Range},
        frame,
        handshake::{Handshake, Hello, Peer, SocketType},
        properties::Properties,
    },
};

const LIMIT: usize = 3 * LARGE;

/// Frames and commands as a peer may send them; most are sound.
fn traffic(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(24) {
        match random.below(10) {
            0 => bytes.extend(command::ping(random.word() as u16, b"context")),
            1 => {
                let context = random.below(24);
                bytes.extend(command::pong(&random.bytes(context)));
            }
            2 => bytes.extend(command::error("not today")),
            3 => put_frame(&mut bytes, random, LARGE / 2 + 9_000),
            4 => put_frame(&mut bytes, random, LIMIT + 200),
            5 => (0..random.below(40)).for_each(|_| put_frame(&mut bytes, random, 3)),
            6 => {
                // Where it may stand: behind the last frame of a message.
                frame::put_header(&mut bytes, 0, 3);
                bytes.extend(random.bytes(3));
                bytes.extend(flow_command(random));
            }
            _ => put_frame(&mut bytes, random, 400),
        }
    }
    bytes
}

/// A sound command of flow.
fn flow_command(random: &mut Random) -> Vec<u8> {
    let (number, length) = (1 + random.below(9) as u64, random.below(1_200));
    let text = String::from_utf8_lossy(&random.bytes(length)).into_owned();
    let ranges = [Range { first: number, last: number + 2 }, Range::one(number + 9)];
    match random.below(6) {
        0 => command::credit(number, random.word()),
        1 => command::ack(&ranges),
        2 => command::giving_back(&ranges),
        3 => command::nack(number, &text),
        4 => command::job(Mark { id: Some(random.word()), attempt: 1 + number as u32 }, Instance(7)),
        _ => command::reject(number, flow::cut(&text, text.len() / 4), &text),
    }
}

fn put_frame(bytes: &mut Vec<u8>, random: &mut Random, most: usize) {
    let length = random.below(most);
    let flags = if random.below(3) == 0 { frame::MORE } else { 0 };
    frame::put_header(bytes, flags, length);
    bytes.extend(random.bytes(length));
}

/// What a peer may send to open a connection; most of it is sound.
fn opening(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    (bytes[0], bytes[9], bytes[10], bytes[11]) = (0xff, 0x7f, 3, random.below(3) as u8);
    bytes[12..16].copy_from_slice(b"NULL");
    let mut properties = Properties::default();
    for _ in 0..random.below(4) {
        let length = random.below(300);
        properties.set("X-Noise", &random.bytes(length));
    }
    let socket_type: &[u8] = if random.below(8) == 0 { b"PULL" } else { b"PUSH" };
    properties.set("socket-type", socket_type);
    properties.set("Identity", b"somebody");
    bytes.extend(command::ready(&properties));
    bytes
}

/// Does what a broken peer, or one that means harm, might: changes, repeats, drops and cuts bytes.
fn spoil(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(4) {
        if bytes.is_empty() {
            return;
        }
        // Headers are where the interesting bytes are, and the first of them are always there.
        let end = if random.below(2) == 0 { bytes.len().min(80) } else { bytes.len() };
        let at = random.below(end);
        match random.below(5) {
            0 => bytes[at] = random.word() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes.truncate(at),
            3 => {
                bytes.remove(at);
            }
            _ => {
                let length = random.below(12);
                let noise = random.bytes(length);
                bytes.splice(at..at, noise);
            }
        }
    }
}

/// How long the next piece is: often tiny, sometimes all.
fn piece(random: &mut Random, left: usize) -> usize {
    let most = [1, 2, 12, 300, LARGE, usize::MAX][random.below(6)];
    (1 + random.below(most)).min(left)
}

/// Everything that comes out of a connection's incoming half.
#[derive(Debug, Default, PartialEq)]
struct Incoming {
    jobs: Vec<Vec<Vec<u8>>>,
    commands: Vec<Command>,
    error: Option<Error>,
}

impl Incoming {
    /// All at once.
    fn whole(bytes: &[u8]) -> Self {
        let (mut incoming, mut decoder) = (Self::default(), Decoder::new(LIMIT, true));
        incoming.error = decoder.feed(bytes).err();
        incoming.collect(&mut decoder, bytes.len());
        incoming
    }

    /// Piece by piece, and large frames straight into their place, as a link reads them.
    fn in_pieces(mut bytes: &[u8], random: &mut Random) -> Self {
        let (mut incoming, mut decoder) = (Self::default(), Decoder::new(LIMIT, true));
        while !bytes.is_empty() && incoming.error.is_none() {
            let mut length = piece(random, bytes.len());
            match decoder.rest().filter(|_| random.below(2) == 0) {
                Some((missing, slab)) => {
                    assert!(
                        missing <= LIMIT && slab.capacity() <= 2 * LIMIT,
                        "{missing} of {}",
                        slab.capacity()
                    );
                    length = length.min(missing);
                    slab.extend_from_slice(&bytes[..length]);
                    decoder.appended(length);
                }
                None => incoming.error = decoder.feed(&bytes[..length]).err(),
            }
            bytes = &bytes[length..];
            incoming.collect(&mut decoder, length);
        }
        incoming
    }

    fn collect(&mut self, decoder: &mut Decoder, fed: usize) {
        while let Some(command) = decoder.command() {
            self.commands.push(command);
        }
        while let Some((batch, _)) = decoder.batch() {
            assert!(batch.jobs() > 0);
            assert!(batch.slab().capacity() <= 2 * (LIMIT + fed), "{} bytes", batch.slab().capacity());
            let mut at = Place::default();
            while let Some((job, next)) = batch.job(at) {
                let frames: Vec<Vec<u8>> = job.frames().map(|(bytes, _)| bytes.to_vec()).collect();
                assert!(job.cost() <= LIMIT && (1..=MAX_FRAMES).contains(&frames.len()));
                self.jobs.push(frames);
                at = next;
            }
        }
    }
}

/// How a handshake went: what it said, what it answered, and how much it took.
#[derive(Debug, PartialEq)]
struct Opened {
    outcome: Option<Result<Peer, Error>>,
    output: Vec<u8>,
    taken: usize,
}

fn open(bytes: &[u8], mut pieces: impl FnMut(usize) -> usize) -> Opened {
    let hello = Hello { socket_type: SocketType::Pull, identity: b"me".to_vec(), instance: None };
    let (mut handshake, mut opened) =
        (Handshake::new(hello), Opened { outcome: None, output: vec![], taken: 0 });
    while opened.taken < bytes.len() && opened.outcome.is_none() {
        let length = pieces(bytes.len() - opened.taken);
        let mut rest = &bytes[opened.taken..][..length];
        opened.outcome = handshake.feed(&mut rest).transpose();
        // How far it read a piece that it refused is nobody's business.
        let unread = if matches!(opened.outcome, Some(Ok(_))) { rest.len() } else { 0 };
        opened.taken += length - unread;
        opened.output.extend(handshake.output());
    }
    // A peer that sends no more is sent what was withheld from it.
    while opened.outcome.is_none() && handshake.may_proceed() {
        handshake.proceed();
        opened.output.extend(handshake.output());
    }
    if matches!(opened.outcome, Some(Err(_))) {
        opened.taken = bytes.len();
    }
    opened
}

/// The largest address space that this process has had.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn most_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).expect("the peak is in it");
    let kibibytes: usize = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes << 10
}

#[test]
fn jobs_commands_and_errors_do_not_depend_on_how_the_bytes_come() {
    let (mut sound, mut jobs) = (0, 0);
    for seed in 0..4_000 {
        let random = &mut Random::new(seed);
        let mut bytes = traffic(random);
        if seed % 4 > 0 {
            spoil(&mut bytes, random);
        }
        let whole = Incoming::whole(&bytes);
        assert!(Incoming::in_pieces(&bytes, random) == whole, "seed {seed}");
        sound += usize::from(whole.error.is_none());
        jobs += whole.jobs.len();
    }
    // What is tested is neither all garbage nor all sound.
    assert!((1_000..3_500).contains(&sound) && jobs > 10_000, "{sound} sound streams, {jobs} jobs");
}

#[test]
fn commands_of_flow_that_are_spoilt_are_violations_or_understood_and_nothing_to_plain_peers() {
    let (mut understood, mut violations) = (0, 0);
    for seed in 0..50_000 {
        let random = &mut Random::new(seed);
        let framed = flow_command(random);
        let mut body = framed[if framed[0] == frame::COMMAND { 2 } else { 9 }..].to_vec();
        let sound = Command::decode(&body, true);
        assert!(matches!(sound, Ok(Command::Flow(_))), "seed {seed}: {sound:?}");
        assert_eq!(Command::decode(&body, false), Ok(Command::Unknown), "seed {seed}");
        spoil(&mut body, random);
        match Command::decode(&body, true) {
            Ok(Command::Flow(FlowCommand::Reject { code, text, .. })) => {
                // An octet that is no UTF-8 becomes three.
                assert!(code.len() <= 3 * 255 && text.len() <= 3 * 1024, "seed {seed}");
                understood += 1;
            }
            Ok(_) => understood += 1,
            Err(_) => violations += 1,
        }
    }
    assert!(understood > 10_000 && violations > 5_000, "{understood} understood, {violations} violations");
}

#[test]
fn pure_noise_is_survived() {
    for seed in 0..20_000 {
        let random = &mut Random::new(seed);
        let length = random.below(600);
        let bytes = random.bytes(length);
        assert_eq!(Incoming::in_pieces(&bytes, random), Incoming::whole(&bytes), "seed {seed}");
        assert_eq!(open(&bytes, |left| piece(random, left)), open(&bytes, |left| left), "seed {seed}");
        // Behind a sound greeting noise gets further.
        let bytes = [&opening(random)[..64], &bytes].concat();
        assert_eq!(open(&bytes, |left| piece(random, left)), open(&bytes, |left| left), "seed {seed}");
    }
}

#[test]
fn a_handshake_does_not_depend_on_how_the_bytes_come_and_leaves_what_follows() {
    let (mut opened, mut refused) = (0, 0);
    for seed in 0..20_000 {
        let random = &mut Random::new(seed);
        let mut bytes = opening(random);
        let length = bytes.len();
        bytes.extend(traffic(random).iter().take(1_000));
        if seed % 4 > 0 {
            spoil(&mut bytes, random);
        }
        let whole = open(&bytes, |left| left);
        assert_eq!(open(&bytes, |left| piece(random, left)), whole, "seed {seed}");
        match whole.outcome {
            Some(Ok(_)) => {
                opened += 1;
                assert!(seed % 4 > 0 || whole.taken == length, "seed {seed}");
            }
            Some(Err(_)) => refused += 1,
            None => {}
        }
    }
    assert!(opened > 5_000 && refused > 3_000, "{opened} opened, {refused} refused");
}

#[test]
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn no_memory_is_taken_for_what_is_only_announced() {
    let before = most_memory();
    for seed in 0..10_000 {
        let random = &mut Random::new(seed);
        // More than the limit, and as much as a system might really grant.
        let magnitude = 20 + random.below(17);
        let length = LIMIT + 1 + random.below(1 << magnitude);
        let mut job = Vec::new();
        frame::put_header(&mut job, 0, length);
        assert!(Incoming::whole(&job).error.is_some(), "a frame of {length} bytes");
        let mut order = Vec::new();
        frame::put_header(&mut order, frame::COMMAND, length.max(MAX_COMMAND + 1));
        assert!(Incoming::whole(&order).error.is_some(), "a command of {length} bytes");
        let mut greeting = opening(random);
        greeting.truncate(64);
        greeting.extend(order);
        assert!(matches!(open(&greeting, |left| left).outcome, Some(Err(_))), "a READY of {length} bytes");
    }
    let taken = most_memory() - before;
    assert!(taken < 4 << 30, "{taken} bytes");
}
