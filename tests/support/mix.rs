//! Jobs of every size, the same at every run.

use bytes::Bytes;
use zeropipe::batch::{Batch, Builder, LARGE, MAX_FRAMES};

use super::random::Random;

const LARGEST: usize = 8 << 20;

/// Jobs that both sides know. All of them are cut from the same noise, so that making and comparing them costs little.
#[derive(Clone)]
pub struct Mix(Bytes);

impl Mix {
    /// Makes the noise.
    pub fn new() -> Self {
        Self(Random::new(1).bytes(LARGEST + (1 << 20)).into())
    }

    /// The frames of a job.
    pub fn job(&self, index: usize) -> Vec<Bytes> {
        let mut random = Random::new(index as u64);
        let frames = match index {
            _ if index % 25_000 == 12_345 => MAX_FRAMES,
            _ if index.is_multiple_of(8) => 2 + random.below(4),
            _ => 1,
        };
        (0..frames).map(|frame| self.frame(&mut random, if frame == 0 { index } else { 1 })).collect()
    }

    fn frame(&self, random: &mut Random, index: usize) -> Bytes {
        let length = match index {
            _ if index % 20_000 == 9_999 => LARGEST - random.below(2) * random.below(LARGEST / 2),
            _ if index % 1_000 == 333 => random.below(1 << 20),
            _ if index % 50 == 17 => random.below(LARGE + 2),
            // Around where a frame's length takes eight octets.
            _ if index % 10 == 9 => 254 + random.below(4),
            _ => random.below(400).saturating_sub(50),
        };
        let start = random.below(self.0.len() - length);
        self.0.slice(start..start + length)
    }

    /// The jobs `from..to` as a pusher would hand them over: small ones together, a large one alone.
    pub fn batches(&self, from: usize, to: usize) -> impl Iterator<Item = Batch> {
        let (mut next, mut builder) = (from, Builder::default());
        std::iter::from_fn(move || {
            while next < to {
                let frames = self.job(next);
                let bytes: usize = frames.iter().map(Bytes::len).sum();
                if builder.whole_frames() > 0 && builder.slab().len() + bytes > LARGE {
                    break;
                }
                for (index, frame) in frames.iter().enumerate() {
                    builder.slab().extend_from_slice(frame);
                    builder.end_frame(index + 1 < frames.len());
                }
                next += 1;
            }
            builder.take()
        })
    }
}
