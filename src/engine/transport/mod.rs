//! Sockets of every kind behind one pair of calls: listen and connect.

mod inproc;
#[cfg(unix)]
mod ipc;
mod tcp;

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

use super::stream::BoxStream;
#[cfg(unix)]
use super::stream::SharedStream;
use crate::{
    endpoint::Endpoint,
    error::{Error, code},
};

/// A socket that listens. Dropping it closes it, and removes the file of an ipc socket.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix socket, with or without a file.
    #[cfg(unix)]
    Unix(ipc::Listener),
    /// A name inside this process.
    Inproc(inproc::Listener),
}

/// Whether the system of that name ([`std::env::consts::OS`]) has such sockets.
pub fn check(endpoint: &Endpoint, system: &str) -> Result<(), Error> {
    let is_there = match endpoint {
        Endpoint::Ipc(_) => system != "windows",
        Endpoint::Abstract(_) => ["linux", "android"].contains(&system),
        Endpoint::Tcp { .. } | Endpoint::Inproc(_) => true,
    };
    if is_there {
        return Ok(());
    }
    Err(Error::new(code::UNSUPPORTED, format!("{system} has no sockets like {endpoint}: use tcp://")))
}

/// An endpoint as it is meant now: a relative path by the folder that the process is in, which may be another one later.
pub fn resolve_path(endpoint: &Endpoint) -> Result<Endpoint, Error> {
    match endpoint {
        #[cfg(unix)]
        Endpoint::Ipc(path) => {
            ipc::resolve(path).map(Endpoint::Ipc).map_err(|error| Error::system(&error, endpoint))
        }
        other => Ok(other.clone()),
    }
}

/// Whether something other than a socket is where an endpoint would be bound.
pub fn is_taken_by_a_file(endpoint: &Endpoint) -> bool {
    match endpoint {
        #[cfg(unix)]
        Endpoint::Ipc(path) => ipc::is_no_socket(path),
        _ => false,
    }
}

impl Listener {
    /// Starts to listen.
    pub async fn bind(endpoint: &Endpoint) -> Result<Self, Error> {
        let system = |error: io::Error| Error::system(&error, endpoint);
        match endpoint {
            Endpoint::Tcp { host, port } => tcp::bind(host, *port).await.map(Self::Tcp).map_err(system),
            #[cfg(unix)]
            Endpoint::Ipc(_) | Endpoint::Abstract(_) => {
                ipc::Listener::bind(endpoint).await.map(Self::Unix).map_err(system)
            }
            #[cfg(not(unix))]
            Endpoint::Ipc(_) | Endpoint::Abstract(_) => Err(system(io::ErrorKind::Unsupported.into())),
            Endpoint::Inproc(name) => inproc::Listener::bind(name).map(Self::Inproc).map_err(system),
        }
    }

    /// The endpoint it really listens on, with the port or the path that was left to the system.
    pub fn address(&self, endpoint: &Endpoint) -> String {
        match self {
            Self::Tcp(listener) => tcp::bound_address(listener).unwrap_or_else(|_| endpoint.to_string()),
            #[cfg(unix)]
            Self::Unix(listener) => listener.address(endpoint),
            Self::Inproc(_) => endpoint.to_string(),
        }
    }

    /// The next connection, and where it comes from.
    pub async fn accept(&mut self, endpoint: &Endpoint) -> io::Result<(BoxStream, String)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = tcp::accept(listener).await?;
                Ok((stream, format!("tcp://{address}")))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                Ok((Box::new(SharedStream::new(listener.accept().await?)), endpoint.to_string()))
            }
            Self::Inproc(listener) => Ok((Box::new(listener.accept().await), endpoint.to_string())),
        }
    }
}

/// Resolves to every address that is to be tried, in order.
pub async fn resolve(endpoint: &Endpoint) -> Result<Vec<Target>, Error> {
    Ok(match endpoint.dialable() {
        Endpoint::Tcp { host, port } => tcp::addresses(&host, port)
            .await
            .map_err(|error| Error::system(&error, endpoint))?
            .into_iter()
            .map(Target::Tcp)
            .collect(),
        Endpoint::Ipc(path) => vec![Target::Unix(path)],
        Endpoint::Abstract(name) => vec![Target::Unix(format!("\0{name}"))],
        Endpoint::Inproc(name) => vec![Target::Inproc(name)],
    })
}

/// One address to dial.
#[derive(Debug, Clone)]
pub enum Target {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A path, or a name after a zero byte.
    Unix(String),
    /// A name inside this process.
    Inproc(String),
}

impl Target {
    /// Connects. An inproc name is waited for until it is bound.
    pub async fn connect(&self) -> io::Result<BoxStream> {
        match self {
            Self::Tcp(address) => tcp::connect(*address).await,
            #[cfg(unix)]
            Self::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await?;
                Ok(Box::new(SharedStream::new(stream)))
            }
            #[cfg(not(unix))]
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            Self::Inproc(name) => Ok(Box::new(inproc::connect(name).await)),
        }
    }

    /// As peers are told about in events; the endpoint itself where there is only one address.
    pub fn address(&self, endpoint: &Endpoint) -> String {
        match self {
            Self::Tcp(address) => format!("tcp://{address}"),
            _ => endpoint.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_systems_that_have_such_sockets_take_ipc() {
        let takes = |endpoint: &str, system| match check(&endpoint.parse().expect("an endpoint"), system) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.code, code::UNSUPPORTED);
                assert!(error.to_string().contains(endpoint) && error.to_string().contains(system));
                false
            }
        };
        for (system, ipc, names) in [("linux", true, true), ("macos", true, false), ("windows", false, false)]
        {
            assert_eq!((takes("ipc:///tmp/a", system), takes("ipc://@a", system)), (ipc, names), "{system}");
            assert!(takes("tcp://*:1", system) && takes("inproc://a", system));
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn inproc_connects_before_it_is_bound() {
        let dial = Target::Inproc("early".into());
        let endpoint = Endpoint::Inproc("early".into());
        let accept = async {
            tokio::task::yield_now().await;
            Listener::bind(&endpoint).await.expect("free").accept(&endpoint).await.expect("accepted").1
        };
        assert!(
            matches!(tokio::join!(dial.connect(), accept), (Ok(_), address) if address == "inproc://early")
        );
    }
}
