//! Jobs on their way, many at a time: the one shape that data has on every floor of the house.

use std::sync::Arc;

use crate::error::{Error, code};

/// Set in an end when more frames of the same job follow.
pub const MORE: u32 = 1 << 31;

/// What a frame beyond a job's first counts, besides its bytes: frames cost memory even when empty.
pub const FRAME_COST: usize = 64;

/// The most frames a job may have.
pub const MAX_FRAMES: usize = 1024;

/// The most bytes a slab may hold, because the top bit of an end is taken.
pub const MAX_SLAB: usize = (MORE - 1) as usize;

/// From this size on a job travels alone, so that its bytes need not be copied.
pub const LARGE: usize = 64 * 1024;

/// What a job of so many bytes and frames counts against limits and marks.
pub fn cost(bytes: usize, frames: usize) -> usize {
    bytes.saturating_add(frames.saturating_sub(1).saturating_mul(FRAME_COST))
}

/// Whole jobs: all their frame bytes back to back, and where each frame stops.
///
/// Cloning shares the slab.
#[derive(Debug, Clone)]
pub struct Batch(Arc<Whole>);

#[derive(Debug)]
struct Whole {
    slab: Vec<u8>,
    ends: Vec<u32>,
    jobs: usize,
    cost: usize,
}

impl Batch {
    /// Takes a slab and its ends, after checking that they fit each other: ends never fall, none lies beyond the
    /// slab, the last job is whole and no job has more than [`MAX_FRAMES`].
    pub fn new(slab: Vec<u8>, ends: Vec<u32>) -> Result<Self, Error> {
        let invalid = |what: &str| Err(Error::new(code::INVALID_JOB, format!("a batch whose {what}")));
        let (mut last, mut jobs, mut frames) = (0, 0, 0);
        for &end in &ends {
            let stop = end & !MORE;
            if stop < last {
                return invalid("ends fall");
            }
            last = stop;
            frames += 1;
            if frames > MAX_FRAMES {
                return invalid("job has too many frames");
            }
            if end & MORE == 0 {
                jobs += 1;
                frames = 0;
            }
        }
        if frames != 0 || jobs == 0 {
            return invalid("last job lacks its end");
        }
        if last as usize != slab.len() {
            return invalid("ends and slab differ");
        }
        Ok(Self::whole(slab, ends, jobs))
    }

    fn whole(slab: Vec<u8>, ends: Vec<u32>, jobs: usize) -> Self {
        let cost = slab.len() + (ends.len() - jobs) * FRAME_COST;
        Self(Arc::new(Whole { slab, ends, jobs, cost }))
    }

    /// Jobs of these frames.
    #[cfg(test)]
    pub fn of(jobs: &[&[&[u8]]]) -> Self {
        let mut builder = Builder::default();
        for frames in jobs {
            for (index, bytes) in frames.iter().enumerate() {
                builder.slab().extend_from_slice(bytes);
                builder.end_frame(index + 1 < frames.len());
            }
        }
        builder.take().expect("jobs")
    }

    /// How many jobs.
    pub fn jobs(&self) -> usize {
        self.0.jobs
    }

    /// What they count against a mark, all together: [`cost`] of each, added up.
    pub fn cost(&self) -> usize {
        self.0.cost
    }

    /// All frame bytes; a `Vec`, so that tests can see what it takes up.
    pub fn slab(&self) -> &Vec<u8> {
        &self.0.slab
    }

    /// Where each frame stops in the slab; [`MORE`] tells that its job goes on.
    pub fn ends(&self) -> &[u32] {
        &self.0.ends
    }

    /// Where so many jobs from a place on end, and what they count.
    pub fn span(&self, at: Place, jobs: usize) -> (Place, usize) {
        let rest = &self.ends()[at.frame..];
        // Where every job has one frame there is nothing to look for.
        let frames = if self.ends().len() == self.jobs() {
            jobs.min(rest.len())
        } else {
            let last =
                rest.iter().enumerate().filter(|(_, end)| *end & MORE == 0).nth(jobs.saturating_sub(1));
            if jobs == 0 { 0 } else { last.map_or(rest.len(), |(index, _)| index + 1) }
        };
        let byte = frames.checked_sub(1).map_or(at.byte, |last| (rest[last] & !MORE) as usize);
        (Place { frame: at.frame + frames, byte }, byte - at.byte + frames.saturating_sub(jobs) * FRAME_COST)
    }

    /// A batch of its own with so many jobs from a place on, copied.
    pub fn copy(&self, at: Place, jobs: usize) -> Option<Self> {
        let (next, _) = self.span(at, jobs);
        let slab = self.slab()[at.byte..next.byte].to_vec();
        let ends: Vec<u32> =
            self.ends()[at.frame..next.frame].iter().map(|end| end - at.byte as u32).collect();
        (!ends.is_empty()).then(|| Self::whole(slab, ends, jobs))
    }

    /// The jobs of each owner, in order. Those of nobody, and those beyond the owners that are told, are left out. Copied, unless one owns all.
    pub fn divide<'a, K>(
        &self,
        owners: &'a [Option<K>],
        is_same: impl Fn(&K, &K) -> bool,
    ) -> Vec<(&'a K, Self)> {
        if let [Some(first), others @ ..] = owners
            && owners.len() == self.jobs()
            && others.iter().all(|other| other.as_ref().is_some_and(|other| is_same(first, other)))
        {
            return vec![(first, self.clone())];
        }
        let mut builders = Vec::<(&K, Builder)>::new();
        let (mut at, mut owners) = (Place::default(), owners.iter());
        while let (Some((job, next)), Some(owner)) = (self.job(at), owners.next()) {
            at = next;
            let Some(owner) = owner else { continue };
            match builders.iter_mut().find(|(other, _)| is_same(owner, other)) {
                Some((_, builder)) => builder.put(job),
                None => {
                    let mut builder = Builder::default();
                    builder.put(job);
                    builders.push((owner, builder));
                }
            }
        }
        let take = |(owner, mut builder): (_, Builder)| Some((owner, builder.take()?));
        builders.into_iter().filter_map(take).collect()
    }

    /// The job at a place, and the place behind it; `None` behind the last.
    pub fn job(&self, at: Place) -> Option<(Job<'_>, Place)> {
        let rest = self.ends().get(at.frame..)?;
        let frames = rest.iter().position(|end| end & MORE == 0)? + 1;
        let ends = &rest[..frames];
        let next = Place { frame: at.frame + frames, byte: (ends[frames - 1] & !MORE) as usize };
        Some((Job { slab: self.slab(), start: at.byte, ends }, next))
    }
}

/// A place between two jobs of a batch. The default is before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    frame: usize,
    byte: usize,
}

impl Place {
    /// How many frames lie before it.
    pub fn frame(self) -> usize {
        self.frame
    }

    /// How many bytes of the slab lie before it.
    pub fn byte(self) -> usize {
        self.byte
    }
}

/// One job, borrowed from its batch.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    slab: &'a [u8],
    start: usize,
    ends: &'a [u32],
}

impl<'a> Job<'a> {
    /// Its frames in order, each with whether more follow.
    pub fn frames(self) -> impl Iterator<Item = (&'a [u8], bool)> {
        let mut start = self.start;
        self.ends.iter().map(move |&end| {
            let stop = (end & !MORE) as usize;
            let bytes = &self.slab[start..stop];
            start = stop;
            (bytes, end & MORE != 0)
        })
    }

    /// What it counts against a mark.
    pub fn cost(self) -> usize {
        cost(self.bytes(), self.ends.len())
    }

    /// Bytes of all its frames.
    pub fn bytes(self) -> usize {
        (self.ends[self.ends.len() - 1] & !MORE) as usize - self.start
    }
}

/// A batch in the making. Frames are appended; what holds only whole jobs can be taken at any time.
#[derive(Debug, Default)]
pub struct Builder {
    slab: Vec<u8>,
    ends: Vec<u32>,
    /// Where the whole jobs stop: bytes, ends, jobs.
    whole: (usize, usize, usize),
}

impl Builder {
    /// Makes room for at least that many more bytes.
    pub fn reserve(&mut self, bytes: usize) -> Result<(), Error> {
        self.slab.try_reserve(bytes).map_err(|_| no_memory(bytes))
    }

    /// Makes room for exactly that many more bytes: for a large frame, whose slab won't grow any further.
    pub fn reserve_exact(&mut self, bytes: usize) -> Result<(), Error> {
        self.slab.try_reserve_exact(bytes).map_err(|_| no_memory(bytes))
    }

    /// The slab, to append a frame's bytes to.
    pub fn slab(&mut self) -> &mut Vec<u8> {
        &mut self.slab
    }

    /// Ends the frame that was appended last.
    pub fn end_frame(&mut self, more: bool) {
        let stop = self.slab.len() as u32;
        if more {
            self.ends.push(stop | MORE);
        } else {
            self.ends.push(stop);
            self.whole = (self.slab.len(), self.ends.len(), self.whole.2 + 1);
        }
    }

    /// Appends a whole job.
    pub fn put(&mut self, job: Job<'_>) {
        for (bytes, more) in job.frames() {
            self.slab.extend_from_slice(bytes);
            self.end_frame(more);
        }
    }

    /// Gives up the job that is unfinished, but for its first frame, if that is whole.
    pub fn abandon(&mut self) -> Option<Vec<u8>> {
        let (bytes, frames, _) = self.whole;
        let first = self.ends.get(frames).map(|end| self.slab[bytes..(end & !MORE) as usize].to_vec());
        self.slab.truncate(bytes);
        self.ends.truncate(frames);
        first
    }

    /// Frames of the whole jobs in it.
    pub fn whole_frames(&self) -> usize {
        self.whole.1
    }

    /// Takes the whole jobs out as a batch and keeps the beginning of an unfinished one.
    pub fn take(&mut self) -> Option<Batch> {
        let (bytes, frames, jobs) = self.whole;
        if jobs == 0 {
            return None;
        }
        self.whole = (0, 0, 0);
        let rest = self.slab.split_off(bytes);
        let slab = std::mem::replace(&mut self.slab, rest);
        // What comes next is likely to be as much.
        let mut ends = std::mem::replace(&mut self.ends, Vec::with_capacity(frames));
        self.ends.extend(ends.drain(frames..).map(|end| end - bytes as u32));
        Some(Batch::whole(slab, ends, jobs))
    }
}

fn no_memory(bytes: usize) -> Error {
    Error::new(code::MESSAGE_TOO_LARGE, format!("no memory for {bytes} more bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(batch: &Batch) -> Vec<Vec<Vec<u8>>> {
        let (mut at, mut jobs) = (Place::default(), Vec::new());
        while let Some((job, next)) = batch.job(at) {
            jobs.push(job.frames().map(|(bytes, _)| bytes.to_vec()).collect());
            at = next;
        }
        jobs
    }

    #[test]
    fn a_builder_keeps_the_unfinished_job_when_the_whole_ones_are_taken() {
        let mut builder = Builder::default();
        builder.slab().extend_from_slice(b"one");
        builder.end_frame(false);
        builder.slab().extend_from_slice(b"tw");
        builder.end_frame(true);
        builder.slab().extend_from_slice(b"o");
        let first = builder.take().expect("one job is whole");
        assert_eq!(frames(&first), [[b"one".to_vec()]]);
        assert!(builder.take().is_none());
        builder.end_frame(false);
        let second = builder.take().expect("the other is whole now");
        assert_eq!(frames(&second), [[b"tw".to_vec(), b"o".to_vec()]]);
        assert_eq!(second.cost(), 3 + FRAME_COST);
    }

    #[test]
    fn ends_that_do_not_fit_their_slab_are_refused() {
        assert!(Batch::new(vec![0; 4], vec![2, 4]).is_ok());
        for (slab, ends) in
            [(4, vec![2]), (4, vec![3, 2]), (4, vec![4 | MORE]), (4, vec![5]), (1, vec![]), (0, vec![])]
        {
            assert!(Batch::new(vec![0; slab], ends).is_err());
        }
        assert!(Batch::new(vec![], vec![MORE; MAX_FRAMES].into_iter().chain([0]).collect()).is_err());
    }
}
