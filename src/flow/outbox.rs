//! What one peer is about to be sent: framed jobs and commands, in order, until the connection has taken them.
//!
//! For a plain peer the bytes of a job stay until all of them are written, so that a job cut off by the end of a
//! connection can go whole to another peer. What a zeropipe peer was sent is kept by [`super::sender`] until it is acknowledged.

use std::{collections::VecDeque, io::IoSlice};

use super::sender::queue::{JobRange, JobState};
use crate::{
    batch::{Batch, Job, LARGE, Place},
    wire::{decoder::Decoder, frame},
};

/// What is gathered for one write.
const CHUNK: usize = LARGE;

/// The most bytes of a write. Loopback's segments have 65,483: a write of a little more than that ends with a segment of a few bytes, which
/// costs as much as a full one and a wake-up of its own (docs/performance.md).
const WRITE: usize = 60 * 1024;

/// A job on its way to a plain peer, as the end that sent it knows it.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// What is known of it.
    pub state: JobState,
    /// What it counts against the mark.
    pub cost: usize,
}

#[derive(Debug)]
enum Chunk {
    Packed(Packed),
    Large(Large),
    Command(Command),
}

/// A command, framed.
#[derive(Debug)]
struct Command {
    bytes: Vec<u8>,
    is_ping: bool,
    is_pong: bool,
}

/// Small jobs, framed back to back.
#[derive(Debug, Default)]
struct Packed {
    bytes: Vec<u8>,
    /// Each job and where it stops, if the peer is plain.
    jobs: Vec<(usize, Sent)>,
    /// How many of them are written.
    gone: usize,
}

/// A job that is written from its own slab, with the headers of its frames beside it.
#[derive(Debug)]
struct Large {
    batch: Batch,
    headers: Vec<u8>,
    /// If the peer is plain.
    sent: Option<Sent>,
}

impl Large {
    fn length(&self) -> usize {
        self.headers.len() + self.batch.slab().len()
    }

    /// Header and body of each frame in turn.
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut headers = &self.headers[..];
        let job = self.batch.job(Place::default()).map(|(job, _)| job);
        job.into_iter().flat_map(Job::frames).flat_map(move |(body, _)| {
            let length = if body.len() <= u8::MAX.into() { 2 } else { frame::MAX_HEADER };
            let (header, rest) = headers.split_at(length);
            headers = rest;
            [header, body]
        })
    }
}

impl Chunk {
    fn length(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.bytes.len(),
            Self::Large(large) => large.length(),
            Self::Command(command) => command.bytes.len(),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Outbox {
    chunks: VecDeque<Chunk>,
    /// How much of the first chunk is written.
    written: usize,
    /// How many bytes are not written, of all chunks.
    unwritten: usize,
    /// How many PONGs are among them.
    pongs: usize,
    /// A chunk that is used up, kept for its memory.
    spare: Option<Packed>,
}

impl Outbox {
    /// How many bytes wait to be written.
    pub fn unwritten(&self) -> usize {
        self.unwritten
    }

    /// How many jobs of a plain peer have a lower order.
    pub fn jobs_before(&self, order: u64) -> usize {
        let is_before = |sent: &Sent| sent.state.order < order;
        self.chunks
            .iter()
            .map(|chunk| match chunk {
                Chunk::Packed(packed) => {
                    packed.jobs[packed.gone..].iter().filter(|(_, sent)| is_before(sent)).count()
                }
                Chunk::Large(large) => large.sent.iter().filter(|sent| is_before(sent)).count(),
                Chunk::Command(_) => 0,
            })
            .sum()
    }

    /// Appends a job; with `sent`, [`Outbox::advance`] tells when it has left, and it can be taken back.
    pub fn put(&mut self, job: Job<'_>, sent: Option<Sent>) {
        if !matches!(self.chunks.back(), Some(Chunk::Packed(packed)) if packed.bytes.len() < CHUNK) {
            self.chunks.push_back(Chunk::Packed(self.spare.take().unwrap_or_default()));
        }
        if let Some(Chunk::Packed(packed)) = self.chunks.back_mut() {
            let before = packed.bytes.len();
            frame::put_job(&mut packed.bytes, job);
            packed.jobs.extend(sent.map(|sent| (packed.bytes.len(), sent)));
            self.unwritten += packed.bytes.len() - before;
        }
    }

    /// Appends a large job that is a batch of its own, without copying its bytes.
    pub fn put_large(&mut self, batch: Batch, sent: Option<Sent>) {
        let mut headers = Vec::new();
        for (body, more) in batch.job(Place::default()).into_iter().flat_map(|(job, _)| job.frames()) {
            frame::put_header(&mut headers, u8::from(more) * frame::MORE, body.len());
        }
        let large = Large { batch, headers, sent };
        self.unwritten += large.length();
        self.chunks.push_back(Chunk::Large(large));
    }

    /// Appends a command, framed.
    pub fn put_command(&mut self, bytes: Vec<u8>) {
        self.unwritten += bytes.len();
        self.chunks.push_back(Chunk::Command(Command { bytes, is_ping: false, is_pong: false }));
    }

    /// Puts bytes before everything else, of which nothing may have been written yet.
    pub fn put_first(&mut self, bytes: Vec<u8>) {
        debug_assert_eq!(self.written, 0);
        if !bytes.is_empty() {
            self.unwritten += bytes.len();
            self.chunks.push_front(Chunk::Command(Command { bytes, is_ping: false, is_pong: false }));
        }
    }

    /// Appends a PONG, framed. [`Outbox::pongs`] counts them.
    pub fn put_pong(&mut self, bytes: Vec<u8>) {
        self.unwritten += bytes.len();
        self.pongs += 1;
        self.chunks.push_back(Chunk::Command(Command { bytes, is_ping: false, is_pong: true }));
    }

    /// How many PONGs are not written.
    pub fn pongs(&self) -> usize {
        self.pongs
    }

    /// Appends a PING, framed. [`Outbox::advance`] tells when it leaves.
    pub fn put_ping(&mut self, bytes: Vec<u8>) {
        self.unwritten += bytes.len();
        self.chunks.push_back(Chunk::Command(Command { bytes, is_ping: true, is_pong: false }));
    }

    /// What is to be written next, as far as `slices` has room, and as much as should be at once; returns how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (most, mut filled, mut skip, mut left) = (slices.len(), 0, self.written, WRITE);
        let mut add = |part: &'a [u8]| {
            let skipped = skip.min(part.len());
            skip -= skipped;
            let part = &part[skipped..];
            let part = &part[..part.len().min(left)];
            if !part.is_empty()
                && let Some(slot) = slices.get_mut(filled)
            {
                *slot = IoSlice::new(part);
                left -= part.len();
                filled += 1;
            }
        };
        for chunk in self.chunks.iter().take(most) {
            match chunk {
                Chunk::Packed(packed) => add(&packed.bytes),
                Chunk::Command(command) => add(&command.bytes),
                Chunk::Large(large) => large.parts().for_each(&mut add),
            }
        }
        filled
    }

    /// Notes that so many bytes were written. Tells each job that is on its way now, and returns whether a PING is.
    pub fn advance(&mut self, mut length: usize, mut left: impl FnMut(Sent)) -> bool {
        let mut ping_left = false;
        self.unwritten -= length;
        while let Some(chunk) = self.chunks.front_mut() {
            let rest = chunk.length() - self.written;
            if let Chunk::Packed(packed) = chunk {
                let written = self.written + length.min(rest);
                while let Some(&(_, sent)) = packed.jobs.get(packed.gone).filter(|(stop, _)| *stop <= written)
                {
                    packed.gone += 1;
                    left(sent);
                }
            }
            if length < rest {
                self.written += length;
                break;
            }
            length -= rest;
            self.written = 0;
            match self.chunks.pop_front() {
                Some(Chunk::Packed(mut packed)) => {
                    packed.bytes.clear();
                    packed.jobs.clear();
                    packed.gone = 0;
                    self.spare = Some(packed);
                }
                Some(Chunk::Large(large)) => large.sent.into_iter().for_each(&mut left),
                Some(Chunk::Command(command)) => {
                    ping_left |= command.is_ping;
                    self.pongs -= usize::from(command.is_pong);
                }
                None => {}
            }
        }
        ping_left
    }

    /// Takes back the jobs of which no byte is written, in order, if the peer is plain. Commands stay, and so does a
    /// job that was cut.
    pub fn take_back(&mut self) -> Vec<JobRange> {
        let mut ranges = Vec::new();
        let chunks = std::mem::take(&mut self.chunks);
        for (index, chunk) in chunks.into_iter().enumerate() {
            let written = if index == 0 { self.written } else { 0 };
            match chunk {
                Chunk::Packed(mut packed) if !packed.jobs.is_empty() => {
                    let begun = packed.gone + usize::from(packed.is_cut(written));
                    ranges.extend(packed.split_off(begun));
                    if packed.bytes.len() > written {
                        self.chunks.push_back(Chunk::Packed(packed));
                    } else if index == 0 {
                        self.written = 0;
                    }
                }
                Chunk::Large(Large { batch, sent: Some(sent), .. }) if written == 0 => {
                    ranges.push(JobRange::new(batch, sent.state));
                }
                kept => self.chunks.push_back(kept),
            }
        }
        self.unwritten = self.chunks.iter().map(Chunk::length).sum::<usize>() - self.written;
        ranges
    }

    /// Takes back every job that is not wholly written, because the connection has ended: the one that was cut, if
    /// one was, and the others.
    pub fn take_all(&mut self) -> (Option<JobRange>, Vec<JobRange>) {
        let (is_cut, begun) = match self.chunks.front_mut() {
            Some(Chunk::Packed(packed)) => (packed.is_cut(self.written), packed.split_off(packed.gone)),
            Some(Chunk::Large(large)) => (large.sent.is_some() && self.written > 0, Vec::new()),
            _ => (false, Vec::new()),
        };
        // What was cut goes whole to another peer, so nothing counts as begun.
        self.written = 0;
        let mut ranges = begun.into_iter().chain(self.take_back());
        let cut = if is_cut { ranges.next() } else { None };
        (cut, ranges.collect())
    }
}

impl Packed {
    /// Whether some bytes, but not all, of the first job that is not gone are written.
    fn is_cut(&self, written: usize) -> bool {
        self.gone < self.jobs.len() && written > self.start(self.gone)
    }

    fn start(&self, job: usize) -> usize {
        job.checked_sub(1).map_or(0, |before| self.jobs[before].0)
    }

    /// Cuts off the jobs from that one on and turns them back into what they were before they were framed.
    fn split_off(&mut self, job: usize) -> Vec<JobRange> {
        let bytes = self.bytes.split_off(self.start(job));
        let mut tickets = self.jobs.split_off(job).into_iter().map(|(_, sent)| sent.state);
        let mut decoder = Decoder::new(usize::MAX, false);
        let fed = decoder.feed(&bytes);
        debug_assert!(fed.is_ok(), "what we framed ourselves is sound");
        let singles = std::iter::from_fn(|| decoder.batch()).flat_map(|(batch, _)| {
            // The decoder knows no tickets: each job gets its own.
            JobRange::new(batch, JobState::new(0)).singles()
        });
        singles.zip(&mut tickets).map(|(range, state)| range.with(state)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(order: u64, cost: usize) -> Sent {
        Sent { state: JobState::new(order), cost }
    }

    fn filled() -> (Outbox, Vec<u8>) {
        let large = vec![9; 2 * LARGE];
        let small = Batch::of(&[&[b"one"], &[b"two", b"parts"], &[b""]]);
        let mut outbox = Outbox::default();
        let mut at = Place::default();
        let mut number = 0;
        while let Some((job, next)) = small.job(at) {
            outbox.put(job, Some(sent(number, job.cost())));
            (at, number) = (next, number + 1);
        }
        outbox.put_ping(b"\x04\x05\x04PING".to_vec());
        outbox.put_large(Batch::of(&[&[b"head", &large]]), Some(sent(number, 1)));
        outbox.put(small.job(Place::default()).expect("one").0, Some(sent(number + 1, 3)));
        let mut wire =
            b"\x00\x03one\x01\x03two\x00\x05parts\x00\x00\x04\x05\x04PING\x01\x04head\x02".to_vec();
        wire.extend((large.len() as u64).to_be_bytes());
        wire.extend(&large);
        wire.extend(b"\x00\x03one");
        (outbox, wire)
    }

    fn next_bytes(outbox: &Outbox, most: usize) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = outbox.slices(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.iter().copied()).take(most).collect()
    }

    fn numbers(ranges: Vec<JobRange>) -> Vec<u64> {
        ranges.into_iter().flat_map(JobRange::singles).map(|range| range.state.order).collect()
    }

    #[test]
    fn bytes_leave_in_order_whatever_each_write_takes() {
        for step in [1, 3, 5, 17, 70_000, 1 << 20] {
            let (mut outbox, wire) = filled();
            assert_eq!(outbox.unwritten(), wire.len());
            let (mut written, mut left, mut pings) = (Vec::new(), Vec::new(), 0);
            while outbox.unwritten() > 0 {
                let bytes = next_bytes(&outbox, step);
                pings += usize::from(outbox.advance(bytes.len(), |sent| left.push(sent.state.order)));
                written.extend(bytes);
            }
            assert!(written == wire && left == [0, 1, 2, 3, 4] && pings == 1, "in steps of {step}");
        }
    }

    #[test]
    fn no_write_is_more_than_a_segment() {
        let (outbox, _) = filled();
        assert_eq!(next_bytes(&outbox, usize::MAX).len(), WRITE);
    }

    #[test]
    fn what_was_not_begun_can_be_taken_back_and_the_rest_still_leaves() {
        let (command, wire_end) = (19..26, filled().1.len() - 5);
        // Where the write stopped, how many jobs were begun by then, and where those end.
        for (cut, begun, end) in [(0, 0, 0), (2, 1, 5), (5, 1, 5), (7, 2, 17), (19, 3, 19), (30, 4, wire_end)]
        {
            let (mut outbox, wire) = filled();
            outbox.advance(cut, |_| {});
            assert_eq!(numbers(outbox.take_back()), (begun..5).collect::<Vec<_>>(), "cut at {cut}");
            let mut expected = wire[cut..end].to_vec();
            if cut <= command.start {
                expected.extend(&wire[command.clone()]);
            }
            assert_eq!(outbox.unwritten(), expected.len());
            let mut rest = Vec::new();
            while outbox.unwritten() > 0 {
                let bytes = next_bytes(&outbox, usize::MAX);
                outbox.advance(bytes.len(), |_| {});
                rest.extend(bytes);
            }
            assert!(rest == expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_cut_job_goes_whole_to_the_next_peer_when_the_connection_ends() {
        for (cut, gone) in [(0, 0), (2, 0), (5, 1), (7, 1), (17, 2), (19, 3), (30, 3), (200_000, 4)] {
            let (mut outbox, _) = filled();
            outbox.advance(cut.min(outbox.unwritten() - 1), |_| {});
            let is_cut = [2, 7, 30, 200_000].contains(&cut);
            let (cut_job, others) = outbox.take_all();
            assert_eq!(cut_job.is_some(), is_cut, "cut at {cut}");
            let all = cut_job.into_iter().chain(others).collect();
            assert_eq!(numbers(all), (gone..5).collect::<Vec<_>>(), "cut at {cut}");
        }
    }
}
