//! The 64 bytes that each side sends first (RFC 37, section "The Greeting").

use crate::error::{Error, code};

/// Its length.
pub const LENGTH: usize = 64;

/// How much of it is sent before anything of the peer's is in: the signature and the version.
pub const FIRST: usize = 12;

const MECHANISM: std::ops::Range<usize> = 12..32;

/// What a peer's greeting says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// The minor version; the major one is 3 or more. PING and PONG exist from 3.1 on.
    pub minor: u8,
}

/// Our greeting: version 3.1, mechanism NULL.
pub fn encode() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[0] = 0xff;
    bytes[8] = 1;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    bytes[11] = 1;
    bytes[MECHANISM][..4].copy_from_slice(b"NULL");
    bytes
}

/// Reads a greeting from what has arrived of it so far; `None` asks for more.
///
/// What can't become one is refused at its first wrong byte: a stranger may never send 64.
pub fn decode(bytes: &[u8]) -> Result<Option<Greeting>, Error> {
    let stranger = |what: &str| Err(Error::new(code::NOT_ZMTP, format!("the peer speaks no ZMTP 3: {what}")));
    if bytes.first().is_some_and(|&first| first != 0xff) || bytes.get(9).is_some_and(|&tenth| tenth & 1 == 0)
    {
        return stranger("its first bytes are no greeting");
    }
    if let Some(major) = bytes.get(10).filter(|&&major| major < 3) {
        // The revisions 0 and 1 are those of ZMTP 1.0 and 2.0 (RFC 15, "Version Negotiation").
        let version = if *major == 0 { "1.0" } else { "2.0" };
        return Err(Error::new(
            code::INCOMPATIBLE,
            format!("the peer speaks version {version} of ZMTP, we speak version 3"),
        ));
    }
    if bytes.len() < LENGTH {
        return Ok(None);
    }
    let mechanism = &bytes[MECHANISM];
    let name = mechanism.split(|&byte| byte == 0).next().unwrap_or_default();
    if name != b"NULL" || mechanism[4..].iter().any(|&byte| byte != 0) {
        let name = String::from_utf8_lossy(name);
        return Err(Error::new(
            code::INCOMPATIBLE,
            format!("the peer wants mechanism {name:?}, we use \"NULL\""),
        ));
    }
    Ok(Some(Greeting { minor: if bytes[10] > 3 { u8::MAX } else { bytes[11] } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_greeting_is_understood() {
        assert_eq!(decode(&encode()), Ok(Some(Greeting { minor: 1 })));
        for length in 0..LENGTH {
            assert_eq!(decode(&encode()[..length]), Ok(None));
        }
    }

    #[test]
    fn strangers_are_refused_at_their_first_wrong_byte() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"\x01\x00", b"\xff\0\0\0\0\0\0\0\x01\x7e"] {
            assert_eq!(decode(bytes).map_err(|error| error.code), Err(code::NOT_ZMTP));
        }
        for (major, version) in [(0, "version 1.0"), (1, "version 2.0")] {
            let bytes = [&b"\xff\0\0\0\0\0\0\0\x01\x7f"[..], &[major]].concat();
            let error = decode(&bytes).expect_err("it is older");
            assert!(error.code == code::INCOMPATIBLE && error.text.contains(version), "{error}");
        }
        let mut curve = encode();
        curve[12..17].copy_from_slice(b"CURVE");
        assert_eq!(decode(&curve).map_err(|error| error.code), Err(code::INCOMPATIBLE));
    }
}
