//! ZMTP 3.1 (RFC 37), without any I/O: bytes in, values out, and the other way round.
//!
//! [`greeting`] and [`handshake`] open a connection, [`frame`] and [`decoder`] carry jobs over it, [`command`] and
//! [`properties`] carry everything else, [`flow`] what only two zeropipe ends tell each other. Every length is checked before memory is taken for it.

pub mod command;
pub mod decoder;
pub mod flow;
pub mod frame;
pub mod greeting;
pub mod handshake;
pub mod properties;

use crate::error::{Error, code};

/// A peer broke ZMTP, and how.
fn violation(what: impl Into<String>) -> Error {
    Error::new(code::PROTOCOL, what)
}
