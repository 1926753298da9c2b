//! From the bytes of a connection after its handshake to jobs and commands.
//!
//! A frame's bytes are appended to the slab as they arrive, whatever its size, so that a large one can be read
//! straight into its place ([`Decoder::rest`]) and only a header ever waits for its missing bytes.

use std::collections::VecDeque;

use super::{
    command::{Command, FlowCommand, MAX_COMMAND},
    flow::Mark,
    frame::{self, MAX_HEADER},
    violation,
};
use crate::{
    batch::{Batch, Builder, FRAME_COST, LARGE, MAX_FRAMES},
    error::{Error, code},
};

/// The most frames a batch gathers: what JavaScript has room for (`lib/slicer.js`).
pub const MAX_BATCH_FRAMES: usize = 4096;

/// The state of the incoming half of a connection.
#[derive(Debug)]
pub struct Decoder {
    max_message_size: usize,
    knows_flow: bool,
    header: [u8; MAX_HEADER],
    header_length: usize,
    /// The frame whose body is arriving, and how much of it is missing.
    body: Option<(Body, usize)>,
    open: Builder,
    /// What a JOB command said of the first job in `open`.
    mark: Option<Mark>,
    command: Vec<u8>,
    /// The last frame that has begun.
    was_large: bool,
    /// Of the job that is arriving.
    job_cost: usize,
    job_frames: usize,
    batches: VecDeque<(Batch, Option<Mark>)>,
    commands: VecDeque<Command>,
    /// Messages over the limit are left out, if what they are can be told from their first frame.
    leaves_out: bool,
    /// The first frame of the message that is being left out, and how many bytes of it have been announced.
    leaving_out: Option<(Vec<u8>, usize)>,
    left_out: VecDeque<Vec<u8>>,
}

#[derive(Debug, Clone, Copy)]
enum Body {
    Frame { more: bool },
    LeftOut { more: bool },
    Command,
}

/// A message of more than so many bytes is not read to its end, whatever becomes of it.
const MOST_LEFT_OUT: usize = (1 << 31) - 1;

impl Decoder {
    /// A decoder that refuses jobs that count more than `max_message_size`; `knows_flow` if the peer does, too.
    pub fn new(max_message_size: usize, knows_flow: bool) -> Self {
        Self {
            max_message_size,
            knows_flow,
            header: [0; MAX_HEADER],
            header_length: 0,
            body: None,
            open: Builder::default(),
            mark: None,
            command: Vec::new(),
            was_large: false,
            job_cost: 0,
            job_frames: 0,
            batches: VecDeque::new(),
            commands: VecDeque::new(),
            leaves_out: false,
            leaving_out: None,
            left_out: VecDeque::new(),
        }
    }

    /// A decoder that leaves such jobs out, if their first frame and the second are within the limit, and goes on: for replies, which
    /// can be told from their envelope to be none of whoever waits for others.
    pub fn leaving_out(max_message_size: usize, knows_flow: bool) -> Self {
        Self { leaves_out: true, ..Self::new(max_message_size, knows_flow) }
    }

    /// The first frame of the next message that was left out.
    pub fn left_out(&mut self) -> Option<Vec<u8>> {
        self.left_out.pop_front()
    }

    /// Takes bytes in. What became whole is in [`Decoder::batch`] and [`Decoder::command`], also after an error.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        self.expect(bytes.len())?;
        let fed = self.frames(&mut bytes);
        self.gather();
        fed
    }

    /// Whether nothing has begun to arrive that is not whole.
    pub fn is_between_jobs(&self) -> bool {
        let is_whole = self.body.is_none() && self.header_length == 0 && self.job_frames == 0;
        is_whole && self.mark.is_none()
    }

    /// How many bytes of a large frame are missing, and the slab to append them to: read there directly, at most
    /// that many, then call [`Decoder::appended`].
    pub fn rest(&mut self) -> Option<(usize, &mut Vec<u8>)> {
        match self.body {
            Some((Body::Frame { .. }, missing)) if self.was_large => Some((missing, self.open.slab())),
            _ => None,
        }
    }

    /// Whether the frame before was a large one.
    pub fn was_large(&self) -> bool {
        self.was_large
    }

    /// Tells how many bytes were appended to the slab.
    pub fn appended(&mut self, length: usize) {
        if let Some((body, missing)) = self.body {
            debug_assert!(length <= missing);
            // Only a frame is read directly, and its end can't fail.
            let _ = self.advance(body, missing - length);
            self.gather();
        }
    }

    /// How much is here of the job that is arriving, if it is a large one.
    pub fn open_job(&self) -> Option<usize> {
        let missing = match self.body {
            Some((Body::Frame { .. }, missing)) => missing,
            _ => 0,
        };
        (self.job_cost > LARGE && self.leaving_out.is_none()).then(|| self.job_cost - missing)
    }

    /// The next whole jobs, and what was said of the first of them. A job that was sent before comes alone.
    pub fn batch(&mut self) -> Option<(Batch, Option<Mark>)> {
        self.batches.pop_front()
    }

    /// The next command.
    pub fn command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// So many bytes follow. Most of them are small frames, so most end up in the slab: one allocation for all that it can hold.
    fn expect(&mut self, bytes: usize) -> Result<(), Error> {
        let room = LARGE.saturating_sub(self.open.slab().len());
        self.open.reserve(bytes.min(room))
    }

    fn frames(&mut self, bytes: &mut &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let Some((body, missing)) = self.body else {
                self.start(bytes)?;
                continue;
            };
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            match body {
                Body::Frame { .. } => self.open.slab().extend_from_slice(taken),
                Body::LeftOut { .. } => {}
                Body::Command => self.command.extend_from_slice(taken),
            }
            *bytes = rest;
            self.advance(body, missing - taken.len())?;
        }
        Ok(())
    }

    /// Reads a header, from the bytes alone where they hold all of it.
    fn start(&mut self, bytes: &mut &[u8]) -> Result<(), Error> {
        if self.header_length == 0
            && let Some((header, length)) = frame::decode(bytes)?
        {
            *bytes = &bytes[length..];
            return self.begin(header, bytes.len());
        }
        while let Some((&byte, rest)) = bytes.split_first() {
            self.header[self.header_length] = byte;
            self.header_length += 1;
            *bytes = rest;
            if let Some((header, _)) = frame::decode(&self.header[..self.header_length])? {
                self.header_length = 0;
                return self.begin(header, bytes.len());
            }
        }
        Ok(())
    }

    /// Checks what a header announces, before any memory is taken for it. So many bytes are there that follow.
    fn begin(&mut self, header: frame::Header, following: usize) -> Result<(), Error> {
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if header.command {
            // Also between two frames of a message, where RFC 37 has none: libzmq answers a PING as soon as it can.
            if length > MAX_COMMAND {
                return Err(violation(format!("a command of {length} bytes")));
            }
            // Settled at once if it is empty, as below: no byte will come to say so.
            return self.advance(Body::Command, length);
        }
        if let Some((_, bytes)) = &mut self.leaving_out {
            *bytes = bytes.saturating_add(length);
            self.job_frames += 1;
            if *bytes > MOST_LEFT_OUT || self.job_frames > MAX_FRAMES {
                let cost = *bytes;
                return Err(self.too_large(cost));
            }
            return self.advance(Body::LeftOut { more: header.more }, length);
        }
        let frame_cost = if self.job_frames == 0 { length } else { length.saturating_add(FRAME_COST) };
        let cost = self.job_cost.saturating_add(frame_cost);
        if cost > self.max_message_size || self.job_frames == MAX_FRAMES {
            let is_known = self.leaves_out && (2..MAX_FRAMES).contains(&self.job_frames);
            if !is_known || cost > MOST_LEFT_OUT {
                return Err(self.too_large(cost));
            }
            self.job_frames += 1;
            self.leaving_out = self.open.abandon().map(|first| (first, cost));
            return self.advance(Body::LeftOut { more: header.more }, length);
        }
        if self.open.slab().len() + length > LARGE
            || self.open.whole_frames() >= MAX_BATCH_FRAMES - MAX_FRAMES
        {
            self.gather();
            self.expect(following)?;
        }
        self.was_large = length >= LARGE / 2;
        if self.was_large {
            self.open.reserve_exact(length)?;
        }
        self.job_cost = cost;
        self.job_frames += 1;
        self.advance(Body::Frame { more: header.more }, length)
    }

    fn too_large(&self, cost: usize) -> Error {
        let limit = self.max_message_size;
        Error::new(
            code::MESSAGE_TOO_LARGE,
            format!(
                "a message over the limit of {limit} bytes and {MAX_FRAMES} frames (this one: {cost} bytes so far)"
            ),
        )
    }

    /// Notes how much of the body is missing; what is whole is settled.
    fn advance(&mut self, body: Body, missing: usize) -> Result<(), Error> {
        if missing > 0 {
            self.body = Some((body, missing));
            return Ok(());
        }
        self.body = None;
        match body {
            Body::Frame { more } => {
                self.open.end_frame(more);
                if !more {
                    (self.job_cost, self.job_frames) = (0, 0);
                    if self.mark.is_some_and(|mark| mark.attempt > 1) {
                        self.gather();
                    }
                }
            }
            Body::LeftOut { more } => {
                if !more {
                    self.left_out.extend(self.leaving_out.take().map(|(first, _)| first));
                    (self.job_cost, self.job_frames, self.mark) = (0, 0, None);
                }
            }
            Body::Command => self.command_ended()?,
        }
        Ok(())
    }

    fn command_ended(&mut self) -> Result<(), Error> {
        let command = Command::decode(&std::mem::take(&mut self.command), self.knows_flow)?;
        if matches!(command, Command::Flow(_)) && self.job_frames > 0 {
            return Err(violation("a command of flow within a message"));
        }
        if let Command::Flow(FlowCommand::Job(mark)) = command {
            self.gather();
            self.mark = Some(mark);
        }
        self.commands.push_back(command);
        Ok(())
    }

    fn gather(&mut self) {
        if let Some(batch) = self.open.take() {
            self.batches.push_back((batch, self.mark.take()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        batch::Place,
        wire::{command, flow::Instance},
    };

    fn framed(flags: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame::put_header(&mut out, flags, bytes.len());
        out.extend_from_slice(bytes);
        out
    }

    fn jobs(decoder: &mut Decoder) -> Vec<Vec<Vec<u8>>> {
        let mut jobs = Vec::new();
        while let Some((batch, _)) = decoder.batch() {
            let mut at = Place::default();
            while let Some((job, next)) = batch.job(at) {
                jobs.push(job.frames().map(|(bytes, _)| bytes.to_vec()).collect());
                at = next;
            }
        }
        jobs
    }

    #[test]
    fn jobs_are_the_same_however_the_bytes_are_cut() {
        let (large, small) = (vec![7; 3 * LARGE], vec![1; 300]);
        let mut bytes = framed(0, b"");
        bytes.extend(framed(frame::MORE, &small));
        bytes.extend(framed(frame::MORE, &large));
        bytes.extend(framed(0, b"end"));
        bytes.extend(framed(frame::COMMAND, b"\x04PONG"));
        bytes.extend(framed(0, &large));
        bytes.extend(framed(0, b"last"));
        let expected = vec![
            vec![vec![]],
            vec![small, large.clone(), b"end".to_vec()],
            vec![large],
            vec![b"last".to_vec()],
        ];
        for step in [1, 2, 7, 8, 9, 10, 4096, 65_537, bytes.len()] {
            let mut decoder = Decoder::new(1 << 20, true);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, behind) = match decoder.rest() {
                    // Every other size goes the direct way, as the link does.
                    Some((missing, slab)) if step % 2 == 0 => {
                        let (piece, behind) = rest.split_at(missing.min(step).min(rest.len()));
                        slab.extend_from_slice(piece);
                        decoder.appended(piece.len());
                        (&[][..], behind)
                    }
                    _ => rest.split_at(step.min(rest.len())),
                };
                decoder.feed(piece).expect("sound bytes");
                rest = behind;
            }
            assert_eq!(jobs(&mut decoder), expected, "in steps of {step}");
            assert_eq!(decoder.command(), Some(Command::Pong { context: vec![] }));
        }
    }

    #[test]
    fn limits_hold_before_memory_is_taken() {
        let mut announced = vec![2];
        announced.extend((4_u64 << 40).to_be_bytes());
        let mut three = [framed(frame::MORE, &[0; 500]), framed(frame::MORE, &[0; 400])].concat();
        three.extend(framed(0, &[0; 100]));
        for bytes in [announced, framed(0, &[0; 1001]), three, framed(frame::MORE, b"").repeat(1025)] {
            let mut decoder = Decoder::new(1000, true);
            let error = decoder.feed(&bytes).expect_err("over the limit");
            assert_eq!(error.code, code::MESSAGE_TOO_LARGE);
            assert_eq!(jobs(&mut decoder), Vec::<Vec<Vec<u8>>>::new());
        }
        assert!(Decoder::new(1000, true).feed(&framed(0, &[0; 1000])).is_ok());
    }

    #[test]
    fn jobs_before_a_violation_are_not_lost() {
        let mut decoder = Decoder::new(1000, true);
        let bytes = [framed(0, b"good"), framed(frame::MORE, b"half"), vec![8, 0]].concat();
        assert!(decoder.feed(&bytes).is_err());
        assert_eq!(jobs(&mut decoder), [[b"good".to_vec()]]);
    }

    #[test]
    fn a_command_between_two_frames_of_a_message_disturbs_nothing() {
        let mut decoder = Decoder::new(1000, true);
        let bytes =
            [framed(frame::MORE, b"one"), framed(frame::COMMAND, b"\x04PONG"), framed(0, b"two")].concat();
        decoder.feed(&bytes).expect("libzmq does it");
        assert_eq!(jobs(&mut decoder), [[b"one".to_vec(), b"two".to_vec()]]);
        assert_eq!(decoder.command(), Some(Command::Pong { context: vec![] }));
    }

    #[test]
    fn what_is_said_of_a_job_stays_with_it() {
        let mut decoder = Decoder::new(1000, true);
        let mark = |id, attempt| command::job(Mark { id: Some(id), attempt }, Instance(1));
        let one = framed(0, b"1");
        let bytes = [
            one.clone(),
            mark(7, 1),
            one.clone(),
            one.clone(),
            mark(3, 2),
            one.clone(),
            one.clone(),
            mark(9, 1),
            framed(frame::MORE, b"a"),
            framed(0, b"b"),
        ];
        decoder.feed(&bytes.concat()).expect("sound bytes");
        let batches: Vec<_> = std::iter::from_fn(|| decoder.batch())
            .map(|(batch, mark)| (batch.jobs(), mark.and_then(|mark| mark.id)))
            .collect();
        assert_eq!(batches, [(1, None), (2, Some(7)), (1, Some(3)), (1, None), (1, Some(9))]);
    }

    #[test]
    fn a_command_of_flow_within_a_message_is_a_violation_and_unknown_to_plain_peers() {
        let bytes = [framed(frame::MORE, b"one"), command::credit(1, 1), framed(0, b"two")].concat();
        assert!(Decoder::new(1000, true).feed(&bytes).is_err());
        let mut plain = Decoder::new(1000, false);
        plain.feed(&bytes).expect("it means nothing");
        assert_eq!(plain.command(), Some(Command::Unknown));
    }

    #[test]
    fn batches_stay_small_enough_for_javascript() {
        let mut decoder = Decoder::new(1 << 20, true);
        let bytes = [framed(0, b"").repeat(20_000), framed(0, &[1; 1000]).repeat(200)].concat();
        decoder.feed(&bytes).expect("sound bytes");
        let mut count = 0;
        while let Some((batch, _)) = decoder.batch() {
            assert!(batch.ends().len() <= MAX_BATCH_FRAMES && batch.slab().len() <= LARGE);
            count += batch.jobs();
        }
        assert_eq!(count, 20_200);
    }

    #[test]
    fn a_reply_over_the_limit_is_left_out_and_what_is_around_it_is_not() {
        let large = vec![7; 3 * LARGE];
        let reply =
            |body: &[u8]| [framed(frame::MORE, b"tag"), framed(frame::MORE, b""), framed(0, body)].concat();
        let parts = [
            framed(frame::MORE, b"parts"),
            framed(frame::MORE, b""),
            framed(frame::MORE, &large),
            framed(frame::COMMAND, b"\x04PONG"),
            framed(0, &large),
        ];
        let bytes =
            [reply(b"before"), reply(&large), reply(b"between"), parts.concat(), reply(b"behind")].concat();
        for step in [1, 7, 4096, bytes.len()] {
            let mut decoder = Decoder::leaving_out(2 * LARGE, true);
            for piece in bytes.chunks(step) {
                decoder.feed(piece).expect("sound bytes");
            }
            let bodies: Vec<_> = jobs(&mut decoder).into_iter().map(|mut job| job.pop()).collect();
            assert_eq!(bodies, [b"before".to_vec(), b"between".to_vec(), b"behind".to_vec()].map(Some));
            assert_eq!(decoder.left_out(), Some(b"tag".to_vec()));
            assert_eq!(decoder.left_out(), Some(b"parts".to_vec()));
            assert_eq!(decoder.left_out(), None);
            assert_eq!(decoder.command(), Some(Command::Pong { context: vec![] }));
            assert!(decoder.is_between_jobs() && decoder.open_job().is_none());
        }
    }

    #[test]
    fn what_can_not_be_told_or_has_no_end_is_not_left_out() {
        let mut announced = [framed(frame::MORE, b"tag"), framed(frame::MORE, b"")].concat();
        announced.push(2);
        announced.extend((1_u64 << 40).to_be_bytes());
        let many = [framed(frame::MORE, b"tag"), framed(frame::MORE, b"").repeat(1024)].concat();
        for bytes in [framed(0, &[0; 1001]), announced, many] {
            let mut decoder = Decoder::leaving_out(1000, true);
            assert_eq!(decoder.feed(&bytes).map_err(|error| error.code), Err(code::MESSAGE_TOO_LARGE));
        }
    }
}
