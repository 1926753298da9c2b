//! A frame's header: flags and a length (RFC 37, section "Framing").

use super::violation;
use crate::{batch::Job, error::Error};

/// More frames of the same message follow.
pub const MORE: u8 = 1;
/// The length takes eight octets.
const LONG: u8 = 2;
/// The frame is a command.
pub const COMMAND: u8 = 4;

/// The longest header.
pub const MAX_HEADER: usize = 9;

/// A frame's header, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// More frames of the same message follow.
    pub more: bool,
    /// The frame is a command.
    pub command: bool,
    /// Octets of its body. A peer may announce anything here: check before taking memory.
    pub length: u64,
}

/// Reads a header from the first bytes of a frame: the header and its own length, or `None` for more bytes.
pub fn decode(bytes: &[u8]) -> Result<Option<(Header, usize)>, Error> {
    let Some(&flags) = bytes.first() else { return Ok(None) };
    if flags & !(MORE | LONG | COMMAND) != 0 {
        return Err(violation(format!("a frame with reserved flags {flags:#04x}")));
    }
    let (more, command) = (flags & MORE != 0, flags & COMMAND != 0);
    if more && command {
        return Err(violation("a command of more than one frame"));
    }
    let (length, header) = if flags & LONG == 0 {
        let Some(&length) = bytes.get(1) else { return Ok(None) };
        (u64::from(length), 2)
    } else {
        let Some(length) = bytes.get(1..MAX_HEADER).and_then(|eight| eight.try_into().ok()) else {
            return Ok(None);
        };
        (u64::from_be_bytes(length), MAX_HEADER)
    };
    Ok(Some((Header { more, command, length }, header)))
}

/// Appends the header of a frame of that length.
pub fn put_header(out: &mut Vec<u8>, flags: u8, length: usize) {
    if let Ok(length) = u8::try_from(length) {
        out.extend_from_slice(&[flags, length]);
    } else {
        let mut header = [flags | LONG; MAX_HEADER];
        header[1..].copy_from_slice(&(length as u64).to_be_bytes());
        out.extend_from_slice(&header);
    }
}

/// Appends a whole job, framed.
pub fn put_job(out: &mut Vec<u8>, job: Job<'_>) {
    for (bytes, more) in job.frames() {
        put_header(out, u8::from(more) * MORE, bytes.len());
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_understood_as_they_were_written() {
        for (flags, length) in [(0, 0), (MORE, 255), (0, 256), (COMMAND, 5), (MORE, 1 << 33)] {
            let mut bytes = Vec::new();
            put_header(&mut bytes, flags, length);
            let header = Header { more: flags == MORE, command: flags == COMMAND, length: length as u64 };
            assert_eq!(decode(&bytes), Ok(Some((header, bytes.len()))));
            for short in 0..bytes.len() {
                assert_eq!(decode(&bytes[..short]), Ok(None));
            }
        }
    }

    #[test]
    fn reserved_flags_and_commands_in_parts_are_violations() {
        assert!(decode(&[8, 0]).is_err());
        assert!(decode(&[MORE | COMMAND, 0]).is_err());
    }
}
