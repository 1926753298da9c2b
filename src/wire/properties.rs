//! Names and values as READY carries them (RFC 37, section "The NULL Security Mechanism").

use super::violation;
use crate::error::Error;

/// Properties in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(Vec<(String, Vec<u8>)>);

impl Properties {
    /// Adds one. Names are ASCII and at most 255 bytes.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        debug_assert!(name.is_ascii() && (1..=255).contains(&name.len()));
        self.0.push((name.into(), value.into()));
    }

    /// The value of a name; names are compared without case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    /// Appends all of them: name length (1), name, value length (4), value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.0 {
            out.push(name.len() as u8);
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&(value.len() as u32).to_be_bytes());
            out.extend_from_slice(value);
        }
    }

    /// Reads all of `bytes` as properties.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, Error> {
        let mut properties = Vec::new();
        while !bytes.is_empty() {
            let (name, value);
            (name, bytes) = split(bytes, 1)?;
            (value, bytes) = split(bytes, 4)?;
            let name = std::str::from_utf8(name).ok().filter(|name| name.is_ascii() && !name.is_empty());
            let name = name.ok_or_else(|| violation("a property whose name is no ASCII"))?;
            properties.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self(properties))
    }
}

/// Cuts off what `octets` octets of length announce.
fn split(bytes: &[u8], octets: usize) -> Result<(&[u8], &[u8]), Error> {
    let short = || violation("a property that is cut off");
    let (length, rest) = bytes.split_at_checked(octets).ok_or_else(short)?;
    let length = length.iter().fold(0, |sum, &octet| sum << 8 | usize::from(octet));
    rest.split_at_checked(length).ok_or_else(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_survive_the_wire_and_names_ignore_case() {
        let mut properties = Properties::default();
        properties.set("Socket-Type", b"PUSH");
        properties.set("X-Empty", b"");
        let mut bytes = Vec::new();
        properties.encode(&mut bytes);
        assert_eq!(Properties::decode(&bytes).as_ref(), Ok(&properties));
        assert_eq!(properties.get("socket-TYPE"), Some(&b"PUSH"[..]));
        for short in 1..bytes.len() {
            // Cut between two properties it is a shorter list; cut anywhere else it is a violation.
            assert_eq!(Properties::decode(&bytes[..short]).is_ok(), short == 20, "{short}");
        }
    }
}
