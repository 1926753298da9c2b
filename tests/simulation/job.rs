//! A job of the simulation: its bytes follow from its number, which is also its order.

use zeropipe::batch::{Batch, Builder, Job};

/// What has become of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Neither of the others.
    Open,
    /// Delivered, or answered.
    Done,
    /// Given up, and reported.
    Dead,
    /// A request whose reply nobody waits for.
    Abandoned,
}

/// What is known of a job.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    pub fate: Fate,
    pub size: usize,
    pub frames: usize,
    /// Its sequence number, and the highest attempt, once a peer was told.
    pub id: Option<u64>,
    pub attempt: u32,
    /// How many peers hold it.
    pub holders: usize,
    /// A peer is done with it, or a plain one has it.
    pub was_done: bool,
}

impl Known {
    pub fn new(size: usize, frames: usize) -> Self {
        Self { fate: Fate::Open, size, frames, id: None, attempt: 0, holders: 0, was_done: false }
    }
}

/// The envelope of a request: its asker, and its number twice.
pub fn tag(number: usize) -> [u8; 12] {
    let number = (number as u32).to_be_bytes();
    let mut tag = [0; 12];
    tag[3] = 1 + number[3] % 2;
    tag[4..8].copy_from_slice(&number);
    tag[8..].copy_from_slice(&number);
    tag
}

/// The number in a tag.
pub fn of_tag(tag: &[u8]) -> usize {
    u32::from_be_bytes([tag[4], tag[5], tag[6], tag[7]]) as usize
}

/// The frames of a job.
pub fn frames(number: usize, known: Known, is_request: bool) -> Vec<Vec<u8>> {
    let mut frames = if is_request { vec![tag(number).to_vec(), Vec::new()] } else { Vec::new() };
    frames.push((number as u64).to_be_bytes().to_vec());
    frames.extend((0..known.frames).map(|index| vec![index as u8; (number + index) % 7]));
    frames.push(vec![number as u8; known.size]);
    frames
}

/// A batch of such jobs.
pub fn batch<'a>(jobs: impl Iterator<Item = &'a Vec<Vec<u8>>>) -> Option<Batch> {
    let mut builder = Builder::default();
    for frames in jobs {
        for (index, bytes) in frames.iter().enumerate() {
            builder.slab().extend_from_slice(bytes);
            builder.end_frame(index + 1 < frames.len());
        }
    }
    builder.take()
}

/// The number of a job, if its frames say one.
pub fn number(frames: &[Vec<u8>], is_request: bool) -> Option<usize> {
    let number = frames.get(if is_request { 2 } else { 0 })?;
    Some(u64::from_be_bytes(number.as_slice().try_into().ok()?) as usize)
}

/// The frames of a job that has arrived.
pub fn owned(job: Job<'_>) -> Vec<Vec<u8>> {
    job.frames().map(|(bytes, _)| bytes.to_vec()).collect()
}
