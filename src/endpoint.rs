//! Where an end binds or connects: `tcp://host:port`, `ipc://path`, `ipc://@abstract`, `inproc://name`.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use crate::error::{Error, code};

/// An endpoint, understood. Its `Display` gives it back as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// TCP on a host and a port; port 0 lets the system choose (binding only).
    Tcp {
        /// Which host.
        host: Host,
        /// Which port.
        port: u16,
    },
    /// A Unix socket at a path.
    Ipc(String),
    /// A Unix socket without a file (Linux), by its name.
    Abstract(String),
    /// Inside this process, across its threads.
    Inproc(String),
}

/// The host of a TCP endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// `*`: every address of this machine. To the connecting side it means localhost.
    Any,
    /// An address.
    Address(IpAddr),
    /// A name to be resolved.
    Name(String),
}

impl Endpoint {
    /// The endpoint to dial in order to reach what is bound here: a wildcard host means localhost.
    pub fn dialable(&self) -> Self {
        match self {
            Self::Tcp { host, port } if host.is_any() => {
                Self::Tcp { host: Host::Name("localhost".into()), port: *port }
            }
            other => other.clone(),
        }
    }

    /// Whether the port, or the path, is left to the system.
    pub fn is_ephemeral(&self) -> bool {
        match self {
            Self::Tcp { port, .. } => *port == 0,
            Self::Ipc(path) => path == "*",
            Self::Abstract(_) | Self::Inproc(_) => false,
        }
    }

    /// Why nobody can connect to it, which was given as `text`; `None` if somebody can.
    pub fn connect_problem(&self, text: &str) -> Option<String> {
        let needs = if matches!(self, Self::Ipc(_)) { "path" } else { "port" };
        self.is_ephemeral().then(|| format!("{text:?} is no endpoint to connect to: it needs a {needs}"))
    }

    /// Whether both can't be bound at the same time.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp { host, port }, Self::Tcp { host: others, port: others_port }) => {
                port == others_port && host.overlaps(others)
            }
            _ => self == other,
        }
    }
}

impl Host {
    fn is_any(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Address(address) => address.is_unspecified(),
            Self::Name(_) => false,
        }
    }

    /// Whether it is this machine by a name that no resolver is asked for (RFC 6761, section 6.3).
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Any => false,
            Self::Address(address) => address.is_loopback(),
            Self::Name(name) => {
                let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
                name == "localhost" || name.ends_with(".localhost")
            }
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        let is_named = matches!(self, Self::Name(_)) || matches!(other, Self::Name(_));
        self == other
            || self.is_any()
            || other.is_any()
            || is_named && self.is_loopback() && other.is_loopback()
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid =
            |why: &str| Error::new(code::INVALID_ENDPOINT, format!("{text:?} is no endpoint: {why}"));
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| invalid("it starts with none of tcp://, ipc://, inproc://"))?;
        if rest.contains('\0') {
            return Err(invalid("it holds a zero byte"));
        }
        match scheme {
            _ if rest.contains(',') && rest.contains("://") => {
                Err(invalid("several addresses are given as an array of strings"))
            }
            "tcp" => parse_tcp(rest).map_err(invalid),
            "ipc" => parse_ipc(rest).map_err(invalid),
            "inproc" if rest.is_empty() => Err(invalid("the name is missing")),
            "inproc" if rest.len() > 255 => Err(invalid("the name is longer than 255 bytes")),
            "inproc" => Ok(Self::Inproc(rest.into())),
            _ => Err(invalid("its transport is none of tcp, ipc, inproc")),
        }
    }
}

fn parse_tcp(rest: &str) -> Result<Endpoint, &'static str> {
    if rest.contains(',') {
        return Err(
            "a comma: several addresses are given as an array of strings, each with tcp:// before it",
        );
    }
    if rest.contains(';') {
        return Err("a source address (before the semicolon) can't be chosen: leave it out");
    }
    let (host, port) = rest.rsplit_once(':').ok_or("the port is missing")?;
    let port = match port {
        "*" => 0,
        digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map_err(|_| "the port is none of 0 to 65535")?
        }
        _ => return Err("the port is no number"),
    };
    let host = match host {
        "" => return Err("the host is missing"),
        "*" => Host::Any,
        _ => match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(Some(inner)) => match inner.parse::<Ipv6Addr>() {
                Ok(address) => Host::Address(address.into()),
                // With a zone, as in fe80::1%eth0, only the resolver knows it.
                Err(_) if inner.split_once('%').is_some_and(|(ip, _)| ip.parse::<Ipv6Addr>().is_ok()) => {
                    Host::Name(inner.into())
                }
                Err(_) => return Err("what stands in brackets is no IPv6 address"),
            },
            Some(None) => return Err("a bracket is not closed"),
            None if host.contains(':') => return Err("an IPv6 address must stand in brackets"),
            None if host.contains(|c: char| c.is_whitespace() || "/;@\\?#".contains(c)) => {
                return Err("the host holds a character that no host has");
            }
            None => host.parse().map_or_else(|_| Host::Name(host.into()), Host::Address),
        },
    };
    Ok(Endpoint::Tcp { host, port })
}

/// What a Unix socket address has room for on Linux, its closing zero counted off.
pub const MAX_PATH: usize = 107;

fn parse_ipc(rest: &str) -> Result<Endpoint, &'static str> {
    match rest.strip_prefix('@') {
        _ if rest.is_empty() || rest == "@" => Err("the path is missing"),
        _ if rest.len() > MAX_PATH => Err("the path is longer than 107 bytes"),
        Some(name) => Ok(Endpoint::Abstract(name.into())),
        None => Ok(Endpoint::Ipc(rest.into())),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => match host {
                Host::Any => write!(out, "tcp://*:{port}"),
                Host::Address(IpAddr::V6(address)) => write!(out, "tcp://[{address}]:{port}"),
                Host::Address(address) => write!(out, "tcp://{address}:{port}"),
                Host::Name(name) if name.contains(':') => write!(out, "tcp://[{name}]:{port}"),
                Host::Name(name) => write!(out, "tcp://{name}:{port}"),
            },
            Self::Ipc(path) => write!(out, "ipc://{path}"),
            Self::Abstract(name) => write!(out, "ipc://@{name}"),
            Self::Inproc(name) => write!(out, "inproc://{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_given_back_as_they_were_written() {
        for text in [
            "tcp://127.0.0.1:7777",
            "tcp://localhost:1",
            "tcp://[::1]:65535",
            "tcp://[fe80::1%eth0]:80",
            "tcp://*:0",
            "ipc:///tmp/jobs",
            "ipc://relative",
            "ipc://@jobs",
            "inproc://jobs",
        ] {
            assert_eq!(text.parse::<Endpoint>().map(|e| e.to_string()), Ok(text.into()));
        }
        assert!("tcp://*:*".parse::<Endpoint>().is_ok_and(|e| e.is_ephemeral()));
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_its_text() {
        for text in [
            "",
            "tcp",
            "tcp://",
            "tcp://:1",
            "tcp://host",
            "tcp://host:",
            "tcp://host:65536",
            "tcp://host:-1",
            "tcp://host:1x",
            "tcp://::1:5",
            "tcp://[::1:5",
            "tcp://[nonsense]:5",
            "tcp://a b:5",
            "udp://host:5",
            "tcp://host/path:5",
            "ipc://",
            "ipc://@",
            "inproc://",
            "http://host:80",
            "tcp://a\0b:1",
            "tcp://a:1,tcp://b:2",
            "tcp://a:1,b:2",
            "ipc:///a,ipc:///b",
            "tcp://eth0:0;10.0.0.1:5",
        ] {
            let error = text.parse::<Endpoint>().expect_err(text);
            assert_eq!(error.code, code::INVALID_ENDPOINT);
            assert!(error.text.contains(&format!("{text:?}")), "{error}");
        }
        assert!(format!("ipc://{}", "x".repeat(108)).parse::<Endpoint>().is_err());
    }

    #[test]
    fn a_wildcard_host_means_localhost_to_the_connecting_side() {
        for text in ["tcp://*:7", "tcp://0.0.0.0:7", "tcp://[::]:7"] {
            assert_eq!(
                text.parse::<Endpoint>().map(|e| e.dialable().to_string()),
                Ok("tcp://localhost:7".into())
            );
        }
    }

    #[test]
    fn endpoints_overlap_where_only_one_of_them_can_be_bound() {
        let overlap = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|text| text.parse::<Endpoint>().expect("an endpoint"));
            assert_eq!(one.overlaps(&other), other.overlaps(&one));
            one.overlaps(&other)
        };
        for (one, other) in [
            ("tcp://127.0.0.1:7", "tcp://127.0.0.1:7"),
            ("tcp://*:7", "tcp://127.0.0.1:7"),
            ("tcp://0.0.0.0:7", "tcp://host:7"),
            ("tcp://localhost:7", "tcp://127.0.0.1:7"),
            ("ipc:///a", "ipc:///a"),
            ("inproc://a", "inproc://a"),
        ] {
            assert!(overlap(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("tcp://127.0.0.1:7", "tcp://127.0.0.1:8"),
            ("tcp://127.0.0.1:7", "tcp://127.0.0.2:7"),
            ("tcp://127.0.0.1:7", "tcp://host:7"),
            ("ipc:///a", "ipc://@/a"),
            ("ipc://a", "inproc://a"),
        ] {
            assert!(!overlap(one, other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_left_to_the_system_can_not_be_connected_to() {
        for (text, needs) in [("tcp://*:*", "port"), ("tcp://host:0", "port"), ("ipc://*", "path")] {
            let problem = text.parse::<Endpoint>().expect("an endpoint").connect_problem(text);
            assert!(problem.is_some_and(|problem| problem.ends_with(needs)), "{text}");
        }
        assert_eq!("tcp://host:1".parse::<Endpoint>().map(|endpoint| endpoint.connect_problem("")), Ok(None));
    }
}
