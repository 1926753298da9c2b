//! Commands: everything on a connection that is no message (RFC 37, section "Commands").

use super::{
    flow::{self, Instance, MAX_CODE, MAX_REASON, Mark, Range},
    frame,
    properties::Properties,
    violation,
};
use crate::error::Error;

/// The longest command that is read; RFC 37 sets no limit, and what we understand stays far below.
pub const MAX_COMMAND: usize = 64 * 1024;

/// The longest context of a PING (RFC 37, section "Connection Heartbeating").
const MAX_CONTEXT: usize = 16;

/// A command, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The handshake is over; what the peer tells of itself.
    Ready(Properties),
    /// The peer gives up, and why.
    Error(String),
    /// To be answered with a PONG of the same context; silence longer than `ttl` tenths of a second afterwards
    /// means that the peer is gone (0: no such promise).
    Ping {
        /// Tenths of a second.
        ttl: u16,
        /// At most 16 bytes.
        context: Vec<u8>,
    },
    /// The answer to a PING.
    Pong {
        /// That of the PING.
        context: Vec<u8>,
    },
    /// One of ours: see [`flow`].
    Flow(FlowCommand),
    /// One we don't know, to be ignored.
    Unknown,
}

/// A command of [`flow`], understood. All but the last go from PULL to PUSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowCommand {
    /// Send no job numbered above `jobs`, nor once `cost` is reached.
    Credit {
        /// Counted from the start of the link.
        jobs: u64,
        /// What jobs count ([`crate::batch::cost`]), from the start of the link.
        cost: u64,
    },
    /// These jobs are done.
    Ack(Vec<Range>),
    /// These jobs were not started: back to the front with them.
    Return(Vec<Range>),
    /// This job has failed, and why.
    Nack {
        /// The job.
        number: u64,
        /// For people; empty if nothing is known.
        reason: String,
    },
    /// This request is refused for good: the answer to it is an error.
    Reject {
        /// The job.
        number: u64,
        /// For programs; empty if there is none.
        code: String,
        /// For people.
        text: String,
    },
    /// What is to be known of the job that follows.
    Job(Mark),
}

impl Command {
    /// Reads a command from the body of its frame. Without `knows_flow` those of [`flow`] are unknown.
    pub fn decode(body: &[u8], knows_flow: bool) -> Result<Self, Error> {
        let short = || violation("a command that is cut off");
        let (&length, rest) = body.split_first().ok_or_else(short)?;
        let (name, data) = rest.split_at_checked(length.into()).ok_or_else(short)?;
        Ok(match name {
            b"READY" => Self::Ready(Properties::decode(data)?),
            b"ERROR" => {
                let (&length, reason) = data.split_first().ok_or_else(short)?;
                let reason = reason.get(..length.into()).ok_or_else(short)?;
                Self::Error(String::from_utf8_lossy(reason).into_owned())
            }
            b"PING" => {
                let (ttl, context) = data.split_first_chunk().ok_or_else(short)?;
                if context.len() > MAX_CONTEXT {
                    return Err(violation("a PING with a context over 16 bytes"));
                }
                Self::Ping { ttl: u16::from_be_bytes(*ttl), context: context.to_vec() }
            }
            b"PONG" => Self::Pong { context: data[..data.len().min(MAX_CONTEXT)].to_vec() },
            _ if knows_flow => {
                return FlowCommand::decode(name, data).map(|known| known.map_or(Self::Unknown, Self::Flow));
            }
            _ => Self::Unknown,
        })
    }
}

impl FlowCommand {
    fn decode(name: &[u8], data: &[u8]) -> Result<Option<Self>, Error> {
        let short = || violation("a command that is cut off");
        Ok(Some(match name {
            b"CREDIT" => {
                let (jobs, rest) = data.split_first_chunk().ok_or_else(short)?;
                let cost = rest.try_into().map_err(|_| short())?;
                Self::Credit { jobs: u64::from_be_bytes(*jobs), cost: u64::from_be_bytes(cost) }
            }
            b"ACK" => Self::Ack(flow::decode_ranges(data)?),
            b"RETURN" => Self::Return(flow::decode_ranges(data)?),
            b"NACK" => {
                let (number, reason) = data.split_first_chunk().ok_or_else(short)?;
                if reason.len() > MAX_REASON {
                    return Err(violation(format!("a NACK with a reason of {} bytes", reason.len())));
                }
                Self::Nack {
                    number: u64::from_be_bytes(*number),
                    reason: String::from_utf8_lossy(reason).into_owned(),
                }
            }
            b"REJECT" => {
                let (number, rest) = data.split_first_chunk().ok_or_else(short)?;
                let (&length, rest) = rest.split_first().ok_or_else(short)?;
                let (code, text) = rest.split_at_checked(length.into()).ok_or_else(short)?;
                if text.len() > MAX_REASON {
                    return Err(violation(format!("a REJECT with a text of {} bytes", text.len())));
                }
                Self::Reject {
                    number: u64::from_be_bytes(*number),
                    code: String::from_utf8_lossy(code).into_owned(),
                    text: String::from_utf8_lossy(text).into_owned(),
                }
            }
            b"JOB" => Self::Job(Mark::decode(&Properties::decode(data)?)?),
            _ => return Ok(None),
        }))
    }
}

/// A CREDIT command, framed.
pub fn credit(jobs: u64, cost: u64) -> Vec<u8> {
    encode(b"CREDIT", &[jobs.to_be_bytes(), cost.to_be_bytes()].concat())
}

/// As many ACK commands as it takes, framed.
pub fn ack(ranges: &[Range]) -> Vec<u8> {
    in_ranges(b"ACK", ranges)
}

/// As many RETURN commands as it takes, framed.
pub fn giving_back(ranges: &[Range]) -> Vec<u8> {
    in_ranges(b"RETURN", ranges)
}

/// A NACK command, framed; the reason is cut to what a peer reads.
pub fn nack(number: u64, reason: &str) -> Vec<u8> {
    encode(b"NACK", &[&number.to_be_bytes(), flow::cut(reason, MAX_REASON).as_bytes()].concat())
}

/// A REJECT command, framed; code and text are cut to what a peer reads.
pub fn reject(number: u64, code: &str, text: &str) -> Vec<u8> {
    let (code, text) = (flow::cut(code, MAX_CODE), flow::cut(text, MAX_REASON));
    encode(
        b"REJECT",
        &[&number.to_be_bytes()[..], &[code.len() as u8], code.as_bytes(), text.as_bytes()].concat(),
    )
}

/// A JOB command, framed.
pub fn job(mark: Mark, instance: Instance) -> Vec<u8> {
    encode(b"JOB", &mark.encode(instance))
}

fn in_ranges(name: &[u8], ranges: &[Range]) -> Vec<u8> {
    ranges.chunks(flow::MAX_RANGES).flat_map(|some| encode(name, &flow::encode_ranges(some))).collect()
}

/// A READY command, framed.
pub fn ready(properties: &Properties) -> Vec<u8> {
    let mut data = Vec::new();
    properties.encode(&mut data);
    encode(b"READY", &data)
}

/// An ERROR command, framed; the reason is cut after 255 bytes.
pub fn error(reason: &str) -> Vec<u8> {
    let reason = &reason.as_bytes()[..reason.len().min(255)];
    encode(b"ERROR", &[&[reason.len() as u8], reason].concat())
}

/// A PING command, framed; `ttl` in tenths of a second, `context` at most 16 bytes.
pub fn ping(ttl: u16, context: &[u8]) -> Vec<u8> {
    encode(b"PING", &[&ttl.to_be_bytes(), context].concat())
}

/// A PONG command, framed.
pub fn pong(context: &[u8]) -> Vec<u8> {
    encode(b"PONG", context)
}

fn encode(name: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(frame::MAX_HEADER + 1 + name.len() + data.len());
    frame::put_header(&mut out, frame::COMMAND, 1 + name.len() + data.len());
    out.push(name.len() as u8);
    out.extend_from_slice(name);
    out.extend_from_slice(data);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(framed: &[u8]) -> &[u8] {
        &framed[2..]
    }

    #[test]
    fn commands_are_understood_as_they_were_written() {
        let mut properties = Properties::default();
        properties.set("Socket-Type", b"PULL");
        assert_eq!(Command::decode(body(&ready(&properties)), true), Ok(Command::Ready(properties)));
        assert_eq!(Command::decode(body(&error("no")), true), Ok(Command::Error("no".into())));
        assert_eq!(
            Command::decode(body(&ping(300, b"")), true),
            Ok(Command::Ping { ttl: 300, context: vec![] })
        );
        assert_eq!(Command::decode(body(&pong(b"x")), true), Ok(Command::Pong { context: b"x".to_vec() }));
        assert_eq!(Command::decode(b"\x09SUBSCRIBEabc", true), Ok(Command::Unknown));
    }

    #[test]
    fn commands_of_flow_are_understood_as_they_were_written_and_unknown_to_others() {
        let ranges = vec![Range { first: 1, last: 9 }, Range { first: 11, last: 11 }];
        for (framed, command) in [
            (credit(7, 1 << 40), FlowCommand::Credit { jobs: 7, cost: 1 << 40 }),
            (ack(&ranges), FlowCommand::Ack(ranges.clone())),
            (giving_back(&ranges), FlowCommand::Return(ranges.clone())),
            (nack(3, "no"), FlowCommand::Nack { number: 3, reason: "no".into() }),
            (
                reject(4, "E_NO", "never"),
                FlowCommand::Reject { number: 4, code: "E_NO".into(), text: "never".into() },
            ),
            (
                job(Mark { id: Some(5), attempt: 2 }, Instance(1)),
                FlowCommand::Job(Mark { id: Some(5), attempt: 2 }),
            ),
        ] {
            assert_eq!(Command::decode(body(&framed), true), Ok(Command::Flow(command)));
            assert_eq!(Command::decode(body(&framed), false), Ok(Command::Unknown));
            assert!(Command::decode(&body(&framed)[..8], true).is_err());
        }
        let long = nack(1, &"\u{e9}".repeat(MAX_REASON));
        assert!(
            matches!(Command::decode(&long[9..], true), Ok(Command::Flow(FlowCommand::Nack { reason, .. })) if reason.len() == MAX_REASON)
        );
    }

    /// Those of docs/flow.md.
    #[test]
    fn the_test_vectors_hold() {
        let page = include_str!("../../docs/flow.md");
        let vectors = &page[page.find("## Test vectors").expect("a section")..];
        let instance = Instance::parse("0123456789abcdef").expect("16 digits");
        let mut properties = Properties::default();
        properties.set("Socket-Type", b"PUSH");
        properties.set(flow::PROPERTY, flow::offer(instance).as_bytes());
        let range = |first, last| Range { first, last };
        for bytes in [
            ready(&properties),
            credit(7, 4096),
            ack(&[range(1, 3), range(5, 5)]),
            giving_back(&[range(4, 4)]),
            nack(2, "no"),
            reject(3, "E_NO", "never"),
            job(Mark { id: Some(9), attempt: 2 }, instance),
        ] {
            let is_digit = |letter: &char| letter.is_ascii_hexdigit();
            let lines = vectors.lines().filter_map(|line| line.strip_prefix("    "));
            let digits: String = lines
                .flat_map(|line| line.split("  ").next())
                .flat_map(str::chars)
                .filter(is_digit)
                .collect();
            let wanted: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(digits.contains(&wanted), "{wanted}");
        }
    }

    #[test]
    fn commands_that_are_cut_off_are_violations() {
        for bytes in
            [&b""[..], b"\x05REA", b"\x05READY\x05", b"\x05ERROR", b"\x05ERROR\x09x", b"\x04PING\x01"]
        {
            assert!(Command::decode(bytes, true).is_err(), "{bytes:?}");
        }
        assert!(Command::decode(&[b"\x04PING\0\0".as_slice(), &[0; 17]].concat(), true).is_err());
    }
}
