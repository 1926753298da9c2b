//! Connections of every kind behind one type. What comes and goes on those of the system may be left to another thread while it is
//! little (`shortcut.rs`, `tap.rs`).

use std::{fmt::Debug, io, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};

/// A connection of any kind.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// What another thread can write with, if there is such a thing.
    fn writer(&self) -> Option<Writer> {
        None
    }

    /// What another thread can read with, if there is such a thing. Until it is taken back, nothing here notices what comes.
    fn lend_reader(&mut self) -> Option<Reader> {
        None
    }

    /// Notices again what comes.
    fn take_back_reader(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for DuplexStream {}

/// A connection of any kind, owned.
pub type BoxStream = Box<dyn Stream>;

/// The write half of a connection, for any thread.
pub type Writer = Arc<dyn TryWrite>;

/// The read half of a connection, for any thread.
pub type Reader = Arc<dyn TryRead>;

/// See [`Writer`].
pub trait TryWrite: Send + Sync + Debug {
    /// Writes what the system takes at once.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}

/// See [`Reader`].
pub trait TryRead: Send + Sync + Debug {
    /// Reads what is there.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// What the system calls it, for whoever is to be told when something is there.
    fn descriptor(&self) -> i32;
}

#[cfg(unix)]
pub use shared::SharedStream;

/// Nothing of it is left to others.
#[cfg(not(unix))]
impl Stream for tokio::net::TcpStream {}

#[cfg(unix)]
mod shared {
    use std::{
        cell::OnceCell,
        io::{self, IoSlice, Read, Write},
        net::Shutdown,
        os::fd::{AsFd, AsRawFd},
        pin::Pin,
        sync::Arc,
        task::{Context, Poll},
    };

    use socket2::{SockRef, Socket};
    use tokio::{
        io::{AsyncRead, AsyncWrite, ReadBuf},
        net::{TcpStream, UnixStream},
    };

    use super::{Reader, Stream, TryRead, TryWrite, Writer};

    /// A connection of the system's.
    pub struct SharedStream<S> {
        /// What the I/O thread uses. Gone while others read: the system would wake it for everything that comes.
        stream: Option<S>,
        /// The same connection once more, for other threads, and meanwhile for us.
        twin: OnceCell<Arc<Socket>>,
    }

    /// A stream of tokio's.
    pub trait Watched: AsyncRead + AsyncWrite + Unpin + AsFd + Sized {
        /// One that the I/O thread is woken for.
        fn watch(socket: Socket) -> io::Result<Self>;
    }

    impl Watched for TcpStream {
        fn watch(socket: Socket) -> io::Result<Self> {
            Self::from_std(socket.into())
        }
    }

    impl Watched for UnixStream {
        fn watch(socket: Socket) -> io::Result<Self> {
            Self::from_std(socket.into())
        }
    }

    impl TryWrite for Socket {
        fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
            self.send(bytes)
        }
    }

    impl TryRead for Socket {
        fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut socket = self;
            socket.read(buffer)
        }

        fn descriptor(&self) -> i32 {
            self.as_raw_fd()
        }
    }

    impl<S: Watched> SharedStream<S> {
        /// A connection that nobody else uses yet.
        pub fn new(stream: S) -> Self {
            Self { stream: Some(stream), twin: OnceCell::new() }
        }

        fn twin(&self) -> Option<Arc<Socket>> {
            if let (None, Some(stream)) = (self.twin.get(), &self.stream) {
                // With no descriptor left for it, the I/O thread does all there is to do.
                let twin = SockRef::from(stream).try_clone().ok()?;
                return Some(Arc::clone(self.twin.get_or_init(|| Arc::new(twin))));
            }
            self.twin.get().cloned()
        }

        /// The stream, watched: something is to be waited for.
        fn watched(&mut self) -> io::Result<Pin<&mut S>> {
            let stream = match (self.stream.take(), self.twin.get()) {
                (Some(stream), _) => stream,
                (None, Some(twin)) => S::watch(twin.try_clone()?)?,
                (None, None) => return Err(io::ErrorKind::NotConnected.into()),
            };
            Ok(Pin::new(self.stream.insert(stream)))
        }

        fn poll_send(
            &mut self,
            send: impl FnOnce(&Socket) -> io::Result<usize>,
            poll: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<usize>>,
        ) -> Poll<io::Result<usize>> {
            if let (None, Some(twin)) = (&self.stream, self.twin.get()) {
                match send(twin) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    sent => return Poll::Ready(sent),
                }
            }
            poll(self.watched()?)
        }
    }

    impl<S> Drop for SharedStream<S> {
        fn drop(&mut self) {
            // Others may hold the twin for a while yet, and the peer is not to wait for them.
            if let Some(twin) = self.twin.take().filter(|twin| Arc::strong_count(twin) > 1) {
                // If it fails, the connection has ended already.
                let _ = twin.shutdown(Shutdown::Both);
            }
        }
    }

    impl<S: Watched> Stream for SharedStream<S> {
        fn writer(&self) -> Option<Writer> {
            let writer: Writer = self.twin()?;
            Some(writer)
        }

        fn lend_reader(&mut self) -> Option<Reader> {
            let reader: Reader = self.twin()?;
            self.stream = None;
            Some(reader)
        }

        fn take_back_reader(&mut self) -> io::Result<()> {
            self.watched().map(drop)
        }
    }

    impl<S: Watched> AsyncRead for SharedStream<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.watched()?.poll_read(cx, buffer)
        }
    }

    impl<S: Watched> AsyncWrite for SharedStream<S> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_send(|socket| socket.send(bytes), |stream| stream.poll_write(cx, bytes))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.poll_send(
                |mut socket| socket.write_vectored(slices),
                |stream| stream.poll_write_vectored(cx, slices),
            )
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.watched()?.poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.watched()?.poll_shutdown(cx)
        }
    }
}
