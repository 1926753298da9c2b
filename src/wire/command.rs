//! Commands: everything on a connection that is no message (RFC 37, section "Commands").

use super::{frame, properties::Properties, violation};
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
    Pong,
    /// One we don't know, to be ignored.
    Unknown,
}

impl Command {
    /// Reads a command from the body of its frame.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
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
            b"PONG" => Self::Pong,
            _ => Self::Unknown,
        })
    }
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

/// A PING command, framed; `ttl` in tenths of a second.
pub fn ping(ttl: u16) -> Vec<u8> {
    encode(b"PING", &ttl.to_be_bytes())
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
        assert_eq!(Command::decode(body(&ready(&properties))), Ok(Command::Ready(properties)));
        assert_eq!(Command::decode(body(&error("no"))), Ok(Command::Error("no".into())));
        assert_eq!(Command::decode(body(&ping(300))), Ok(Command::Ping { ttl: 300, context: vec![] }));
        assert_eq!(Command::decode(body(&pong(b"x"))), Ok(Command::Pong));
        assert_eq!(Command::decode(b"\x09SUBSCRIBEabc"), Ok(Command::Unknown));
    }

    #[test]
    fn commands_that_are_cut_off_are_violations() {
        for bytes in
            [&b""[..], b"\x05REA", b"\x05READY\x05", b"\x05ERROR", b"\x05ERROR\x09x", b"\x04PING\x01"]
        {
            assert!(Command::decode(bytes).is_err(), "{bytes:?}");
        }
        assert!(Command::decode(&[b"\x04PING\0\0".as_slice(), &[0; 17]].concat()).is_err());
    }
}
