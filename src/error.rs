//! What goes wrong, as a value: a stable code for programs and a text for people.

use std::io;

/// Codes that are ours. Where the system refused, its own code (`EADDRINUSE`, ...) is used instead.
pub mod code {
    /// The pipe, or this end of it, is closed.
    pub const CLOSED: &str = "ERR_ZEROPIPE_CLOSED";
    /// An endpoint that can't be understood, or can't be used that way.
    pub const INVALID_ENDPOINT: &str = "ERR_ZEROPIPE_INVALID_ENDPOINT";
    /// A batch that is no batch: a bug of the caller, since JavaScript checks jobs one by one.
    pub const INVALID_JOB: &str = "ERR_ZEROPIPE_INVALID_JOB";
    /// A job of more bytes or frames than the pipe allows.
    pub const MESSAGE_TOO_LARGE: &str = "ERR_ZEROPIPE_MESSAGE_TOO_LARGE";
    /// A peer broke ZMTP.
    pub const PROTOCOL: &str = "ERR_ZEROPIPE_PROTOCOL";
    /// A peer that speaks something other than ZMTP 3.
    pub const NOT_ZMTP: &str = "ERR_ZEROPIPE_NOT_ZMTP";
    /// A peer of the wrong socket type or security mechanism.
    pub const INCOMPATIBLE: &str = "ERR_ZEROPIPE_INCOMPATIBLE_PEER";
    /// A peer, or a handshake, that went silent.
    pub const TIMEOUT: &str = "ERR_ZEROPIPE_TIMEOUT";
    /// A job was given up after too many attempts.
    pub const JOB_FAILED: &str = "ERR_ZEROPIPE_JOB_FAILED";
    /// The peer ended the connection.
    pub const DISCONNECTED: &str = "ERR_ZEROPIPE_DISCONNECTED";
    /// The other end is inside this process and gone, or a transport this system lacks.
    pub const UNSUPPORTED: &str = "ERR_ZEROPIPE_UNSUPPORTED";
    /// A bug of ours that was caught before it could do harm.
    pub const INTERNAL: &str = "ERR_ZEROPIPE_INTERNAL";
}

/// A failure with a stable code. Its text names the endpoint wherever there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    /// One of [`code`], or a system code such as `EADDRINUSE`.
    pub code: &'static str,
    /// For people.
    pub text: String,
}

impl Error {
    /// An error with one of our codes.
    pub fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// What the system said, about `endpoint`.
    pub fn system(error: &io::Error, endpoint: &dyn std::fmt::Display) -> Self {
        Self { code: system_code(error), text: format!("{endpoint}: {error}") }
    }
}

/// The system's own name for an error; `kind()` and not the number, which differs between systems.
fn system_code(error: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::AddrInUse => "EADDRINUSE",
        Kind::AddrNotAvailable => "EADDRNOTAVAIL",
        Kind::PermissionDenied => "EACCES",
        Kind::NotFound => "ENOENT",
        Kind::NotADirectory => "ENOTDIR",
        Kind::ReadOnlyFilesystem => "EROFS",
        Kind::ConnectionRefused => "ECONNREFUSED",
        Kind::ConnectionReset => "ECONNRESET",
        Kind::ConnectionAborted => "ECONNABORTED",
        Kind::BrokenPipe => "EPIPE",
        Kind::TimedOut => "ETIMEDOUT",
        Kind::HostUnreachable => "EHOSTUNREACH",
        Kind::NetworkUnreachable => "ENETUNREACH",
        Kind::NetworkDown => "ENETDOWN",
        Kind::WouldBlock => "EAGAIN",
        Kind::UnexpectedEof => code::DISCONNECTED,
        Kind::Unsupported => code::UNSUPPORTED,
        _ => match error.raw_os_error() {
            Some(23 | 24) if cfg!(unix) => "EMFILE",
            Some(_) => "EIO",
            // The resolver's failures carry no number.
            None => "ENOTFOUND",
        },
    }
}
