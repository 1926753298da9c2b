//! Sockets of every kind behind one pair of calls: listen and connect.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpStream, lookup_host},
    sync::{Notify, mpsc},
};

use super::stream::BoxStream;
#[cfg(unix)]
use super::stream::SharedStream;
use crate::{
    endpoint::{Endpoint, Host},
    error::{Error, code},
};

/// How many connections the system may hold before we accept them: a thousand workers may start at once.
const BACKLOG: i32 = 1024;

/// A host that vanished without a word is noticed by TCP itself after this long idle, then this often asked: also
/// behind a peer that has stopped reading, where heartbeats can't ask. (With bytes on their way that nobody confirms,
/// TCP goes by its retransmissions instead, which takes about 15 minutes on Linux.)
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));

/// What an inproc connection holds in each direction.
const INPROC_BUFFER: usize = 256 * 1024;

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

impl Listener {
    /// Starts to listen.
    pub async fn bind(endpoint: &Endpoint) -> Result<Self, Error> {
        let system = |error: io::Error| Error::system(&error, endpoint);
        match endpoint {
            Endpoint::Tcp { host, port } => bind_tcp(host, *port).await.map(Self::Tcp).map_err(system),
            #[cfg(unix)]
            Endpoint::Ipc(_) | Endpoint::Abstract(_) => {
                ipc::Listener::bind(endpoint).await.map(Self::Unix).map_err(system)
            }
            #[cfg(not(unix))]
            Endpoint::Ipc(_) | Endpoint::Abstract(_) => Err(system(io::ErrorKind::Unsupported.into())),
            Endpoint::Inproc(name) => inproc::Listener::bind(name).map(Self::Inproc).map_err(system),
        }
    }

    /// The endpoint it really listens on, with the port that the system chose. A wildcard host is told as
    /// `0.0.0.0`, which programs on any ZeroMQ can dial.
    pub fn address(&self, endpoint: &Endpoint) -> String {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) if address.ip().is_unspecified() => format!("tcp://0.0.0.0:{}", address.port()),
                Ok(address) => format!("tcp://{address}"),
                Err(_) => endpoint.to_string(),
            },
            _ => endpoint.to_string(),
        }
    }

    /// The next connection, and where it comes from.
    pub async fn accept(&mut self, endpoint: &Endpoint) -> io::Result<(BoxStream, String)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                prepare(&stream)?;
                // A socket for both families tells of IPv4 peers as if they were of the other.
                let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                Ok((tcp(stream), format!("tcp://{address}")))
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
        Endpoint::Tcp { host, port } => addresses(&host, port)
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
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                // A dial to a dead port of this very machine can, now and then, reach itself.
                if stream.local_addr()? == stream.peer_addr()? {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                prepare(&stream)?;
                Ok(tcp(stream))
            }
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

fn tcp(stream: TcpStream) -> BoxStream {
    #[cfg(unix)]
    let stream = SharedStream::new(stream);
    Box::new(stream)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&KEEPALIVE)
}

async fn addresses(host: &Host, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = match host {
        Host::Any => vec![(Ipv4Addr::UNSPECIFIED, port).into()],
        Host::Address(address) => vec![(*address, port).into()],
        Host::Name(name) => lookup_host((name.as_str(), port)).await?.collect(),
    };
    if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
}

async fn bind_tcp(host: &Host, port: u16) -> io::Result<TcpListener> {
    if *host == Host::Any {
        // One socket for both families, where the system has IPv6.
        let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        match listen(address) {
            Err(error)
                if error.kind() != io::ErrorKind::AddrInUse
                    && error.kind() != io::ErrorKind::PermissionDenied => {}
            bound => return bound,
        }
    }
    let mut found = addresses(host, port).await?;
    // Where a name has both, the older family: it is what other ZeroMQ programs dial by default.
    found.sort_by_key(SocketAddr::is_ipv6);
    listen(found[0])
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // So that a program can start again while its last connections are still being closed. On Windows the option
    // means something else: that two programs may share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if let IpAddr::V6(ip) = address.ip() {
        socket.set_only_v6(!ip.is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(unix)]
mod ipc {
    use std::{fs, io, os::unix::fs::FileTypeExt, path::Path};

    use tokio::net::{UnixListener, UnixStream};

    use crate::endpoint::Endpoint;

    /// A Unix socket that listens, and the file to remove with it.
    #[derive(Debug)]
    pub struct Listener {
        socket: UnixListener,
        file: Option<String>,
    }

    impl Listener {
        /// Binds; a socket file that nobody listens on any more is replaced, a live one is `EADDRINUSE`.
        pub async fn bind(endpoint: &Endpoint) -> io::Result<Self> {
            let Endpoint::Ipc(path) = endpoint else {
                let Endpoint::Abstract(name) = endpoint else {
                    return Err(io::ErrorKind::InvalidInput.into());
                };
                return Ok(Self { socket: UnixListener::bind(format!("\0{name}"))?, file: None });
            };
            let socket = match UnixListener::bind(path) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path).await => {
                    fs::remove_file(path)?;
                    UnixListener::bind(path)?
                }
                bound => bound?,
            };
            Ok(Self { socket, file: Some(path.clone()) })
        }

        pub async fn accept(&self) -> io::Result<UnixStream> {
            Ok(self.socket.accept().await?.0)
        }
    }

    /// Whether a path is a socket that refuses connections: its owner died without removing it.
    async fn is_stale(path: &str) -> bool {
        fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
            && UnixStream::connect(Path::new(path))
                .await
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    impl Drop for Listener {
        fn drop(&mut self) {
            if let Some(file) = &self.file {
                // If it is gone already, somebody has cleaned up for us.
                let _ = fs::remove_file(file);
            }
        }
    }
}

mod inproc {
    use super::*;

    #[derive(Debug, Default)]
    struct Name {
        listener: RefCell<Option<mpsc::UnboundedSender<DuplexStream>>>,
        bound: Notify,
    }

    thread_local! {
        /// The names of this process: all of them live on the one I/O thread.
        static NAMES: RefCell<HashMap<String, Rc<Name>>> = RefCell::default();
    }

    fn name(name: &str) -> Rc<Name> {
        NAMES.with_borrow_mut(|names| Rc::clone(names.entry(name.to_owned()).or_default()))
    }

    /// A name that is bound.
    #[derive(Debug)]
    pub struct Listener {
        name: Rc<Name>,
        incoming: mpsc::UnboundedReceiver<DuplexStream>,
    }

    impl Listener {
        pub fn bind(text: &str) -> io::Result<Self> {
            let name = name(text);
            let (sender, incoming) = mpsc::unbounded_channel();
            if name.listener.borrow().is_some() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            name.listener.replace(Some(sender));
            name.bound.notify_waiters();
            Ok(Self { name, incoming })
        }

        pub async fn accept(&mut self) -> DuplexStream {
            match self.incoming.recv().await {
                Some(stream) => stream,
                // We hold the name, and with it the sender, for as long as we listen.
                None => std::future::pending().await,
            }
        }
    }

    impl Drop for Listener {
        fn drop(&mut self) {
            self.name.listener.replace(None);
        }
    }

    /// Connects to a name, now or as soon as it is bound.
    pub async fn connect(text: &str) -> DuplexStream {
        let name = name(text);
        loop {
            let bound = name.bound.notified();
            let (ours, theirs) = tokio::io::duplex(INPROC_BUFFER);
            let sent = name.listener.borrow().as_ref().is_some_and(|listener| listener.send(theirs).is_ok());
            if sent {
                return ours;
            }
            bound.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_stale_ipc_file_is_replaced_and_a_live_one_is_in_use() {
        let path = std::env::temp_dir().join(format!("zeropipe-stale-{}", std::process::id()));
        let endpoint = Endpoint::Ipc(path.to_string_lossy().into_owned());
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a fresh path"));
        let live = Listener::bind(&endpoint).await.expect("the stale file is replaced");
        assert_eq!(Listener::bind(&endpoint).await.expect_err("live").code, "EADDRINUSE");
        drop(live);
        assert!(!path.exists());
        std::fs::write(&path, "no socket").expect("a file");
        assert_eq!(Listener::bind(&endpoint).await.expect_err("a plain file").code, "EADDRINUSE");
        assert_eq!(std::fs::read_to_string(&path).expect("untouched"), "no socket");
        std::fs::remove_file(&path).expect("clean up");
    }

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
