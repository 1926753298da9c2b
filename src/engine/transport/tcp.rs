//! TCP sockets: names and interfaces resolved, both families, options set.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, lookup_host};

use super::super::stream::BoxStream;
#[cfg(unix)]
use super::super::stream::SharedStream;
use crate::endpoint::Host;

/// How many connections the system may hold before we accept them: a thousand workers may start at once.
const BACKLOG: i32 = 1024;

/// A host that vanished without a word is noticed by TCP itself after this long idle, then this often asked: also
/// behind a peer that has stopped reading, where heartbeats can't ask. (With bytes on their way that nobody confirms,
/// TCP goes by its retransmissions instead, which takes about 15 minutes on Linux.)
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));

/// Both loopbacks, the older first: it is what other ZeroMQ programs dial by default.
const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// The next connection, and where it comes from.
pub async fn accept(listener: &TcpListener) -> io::Result<(BoxStream, SocketAddr)> {
    let (stream, address) = listener.accept().await?;
    // A socket for both families tells of IPv4 peers as if they were of the other.
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    Ok((prepare(stream)?, address))
}

/// Connects.
pub async fn connect(address: SocketAddr) -> io::Result<BoxStream> {
    let stream = TcpStream::connect(address).await?;
    // A dial to a dead port of this very machine can, now and then, reach itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    prepare(stream)
}

fn prepare(stream: TcpStream) -> io::Result<BoxStream> {
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
    #[cfg(unix)]
    let stream = SharedStream::new(stream);
    Ok(Box::new(stream))
}

/// Every address of a host, in the order in which they are to be tried. Loopback by name is both loopbacks, without asking a
/// resolver (RFC 6761, section 6.3): a hosts file that has only one of them must not keep two ends of one machine apart.
pub async fn addresses(host: &Host, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = match host {
        Host::Any => vec![(Ipv4Addr::UNSPECIFIED, port).into()],
        Host::Address(address) => vec![(*address, port).into()],
        Host::Name(_) if host.is_loopback() => LOOPBACKS.map(|ip| (ip, port).into()).into(),
        Host::Name(name) => lookup_host((name.as_str(), port)).await?.collect(),
    };
    if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
}

/// Listens on a host: an address, a name, or an interface (`eth0`), which comes before a name as in libzmq.
pub async fn bind(host: &Host, port: u16) -> io::Result<TcpListener> {
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
    let mut found = match host {
        Host::Name(name) => interface(name, port),
        _ => Vec::new(),
    };
    if found.is_empty() {
        found = addresses(host, port).await?;
    }
    // Where a name has both, the older family: it is what other ZeroMQ programs dial by default.
    found.sort_by_key(SocketAddr::is_ipv6);
    found.dedup();
    let mut failed = None;
    for address in found {
        match listen(address) {
            // A machine without this family.
            Err(error) if is_lacking(&error) => failed = failed.or(Some(error)),
            bound => return bound,
        }
    }
    Err(failed.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

/// Whether the machine does not have such an address.
fn is_lacking(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}

/// The addresses of an interface of this machine; none if there is none of that name, or the system does not say. Those that mean
/// something on their link alone are left out.
fn interface(name: &str, port: u16) -> Vec<SocketAddr> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let is_meant = |own: &&if_addrs::Interface| own.name == name && !own.is_link_local();
    all.iter().filter(is_meant).map(|own| (own.ip(), port).into()).collect()
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

/// Where a socket listens. One for every address of both families is told as `*`.
pub fn bound_address(listener: &TcpListener) -> io::Result<String> {
    let address = listener.local_addr()?;
    let is_of_both = address.is_ipv6() && address.ip().is_unspecified();
    Ok(if is_of_both { format!("tcp://*:{}", address.port()) } else { format!("tcp://{address}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn loopback_by_name_is_both_loopbacks() {
        for name in ["localhost", "LocalHost", "localhost.", "jobs.localhost"] {
            let found = addresses(&Host::Name(name.into()), 7).await.expect("resolved");
            assert_eq!(found, LOOPBACKS.map(|ip| SocketAddr::new(ip, 7)), "{name}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_told_is_what_is_bound() {
        for (host, told) in [
            (Host::Any, "tcp://*:"),
            (Host::Address(Ipv6Addr::UNSPECIFIED.into()), "tcp://*:"),
            (Host::Address(Ipv4Addr::UNSPECIFIED.into()), "tcp://0.0.0.0:"),
            (Host::Name("localhost".into()), "tcp://127.0.0.1:"),
            #[cfg(target_os = "linux")]
            (Host::Name("lo".into()), "tcp://127.0.0.1:"),
        ] {
            let listener = bind(&host, 0).await.expect("free");
            let address = bound_address(&listener).expect("bound");
            assert!(address.starts_with(told), "{address} for {host:?}");
        }
    }
}
