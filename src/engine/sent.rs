//! Whether the system has sent what a connection took.

use std::{io, os::fd::OwnedFd};

/// Resolves once it keeps nothing that it has yet to send. Nothing more is to be written meanwhile.
///
/// A connection of TCP counts as writable while no more than so many bytes of it are yet to be sent
/// (`TCP_NOTSENT_LOWAT`). It is an error where the system knows no such option, and for local connections: what is
/// written to those lies with the peer at once.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub async fn sent(connection: OwnedFd) -> io::Result<()> {
    use socket2::SockRef;
    use tokio::net::TcpStream;

    SockRef::from(&connection).set_tcp_notsent_lowat(1)?;
    // Watched anew, it is looked at anew.
    let connection = TcpStream::from_std(connection.into())?;
    connection.writable().await?;
    // 0 is for as many bytes as the system sees fit.
    SockRef::from(&connection).set_tcp_notsent_lowat(0)
}

/// The system can't tell.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub async fn sent(_: OwnedFd) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{io::Read, net, os::fd::AsFd, time::Duration};

    use tokio::{net::TcpStream, time::timeout};

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn what_a_peer_does_not_read_is_not_sent_until_it_does() {
        let listener = net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream =
            TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        let (mut peer, _) = listener.accept().expect("a connection");
        let again = || stream.as_fd().try_clone_to_owned().expect("a descriptor");
        sent(again()).await.expect("nothing to send");

        let mut taken = 0;
        while let Ok(length) = stream.try_write(&[0; 1 << 16]) {
            taken += length;
        }
        assert!(timeout(Duration::from_millis(50), sent(again())).await.is_err());
        let reading = std::thread::spawn(move || peer.read_exact(&mut vec![0; taken]));
        sent(again()).await.expect("all sent");
        reading.join().expect("a reader").expect("all read");
        stream.try_write(&[0; 1 << 16]).expect("as writable as before");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_connection_that_is_none_of_tcp_can_not_tell() {
        let (stream, _peer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert!(sent(stream.into()).await.is_err());
    }
}
