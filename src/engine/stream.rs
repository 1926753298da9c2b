//! Connections of every kind behind one type. What comes and goes on those of the system may be left to another thread while it is
//! little (`shortcut.rs`, `tap.rs`).

use std::{
    fmt::Debug,
    future::{Future, ready},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};

/// A connection of any kind.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// What another thread can write with, if there is such a thing.
    fn writer(&self) -> Option<Writer> {
        None
    }

    /// What another thread can read with, if there is such a thing. Until it is taken back, nothing here notices what comes.
    fn lend_reader(&mut self) -> io::Result<Option<Reader>> {
        Ok(None)
    }

    /// Notices again what comes.
    fn take_back_reader(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Resolves once the system has sent all that was written, as far as it can tell.
    fn sent(&self) -> Sending {
        Box::pin(ready(()))
    }
}

/// See [`Stream::sent`].
pub type Sending = Pin<Box<dyn Future<Output = ()>>>;

impl Stream for DuplexStream {}

/// A connection of any kind, owned.
pub type BoxStream = Box<dyn Stream>;

/// The write half of a connection, for any thread.
#[derive(Debug, Clone)]
pub struct Writer {
    socket: Arc<dyn TryWrite>,
    has_written: Arc<AtomicBool>,
}

impl Writer {
    /// That of a socket.
    pub fn new(socket: Arc<dyn TryWrite>) -> Self {
        Self { socket, has_written: Arc::default() }
    }

    /// Writes what the system takes at once.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.has_written.store(true, Relaxed);
        self.socket.try_write(bytes)
    }

    /// Whether anything was written with it since this was asked before.
    pub fn has_written(&self) -> bool {
        self.has_written.swap(false, Relaxed)
    }
}

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
        net,
        os::{
            fd::{AsFd, AsRawFd, OwnedFd},
            unix,
        },
        pin::Pin,
        sync::Arc,
        task::{Context, Poll},
    };

    use tokio::{
        io::{AsyncRead, AsyncWrite, ReadBuf},
        net::{TcpStream, UnixStream},
    };

    use super::{Reader, Sending, Stream, TryRead, TryWrite, Writer};
    use crate::engine::sent::sent;

    /// A connection of the system's.
    pub struct SharedStream<S: Watched> {
        state: State<S>,
        /// The same connection once more, for other threads.
        twin: OnceCell<Arc<S::Resting>>,
    }

    enum State<S: Watched> {
        /// The I/O thread is woken for it.
        Watched(S),
        /// Not while others read, or it would be for everything that comes.
        Resting(S::Resting),
        /// The system would not have it watched again.
        Lost,
    }

    /// A stream of tokio's.
    pub trait Watched: AsyncRead + AsyncWrite + AsFd + Unpin + Sized {
        /// The same as the system has it.
        type Resting: Socket;

        /// Has the I/O thread woken for it.
        fn watch(resting: Self::Resting) -> io::Result<Self>;

        /// No more.
        fn rest(self) -> io::Result<Self::Resting>;
    }

    /// A connection as the system has it.
    pub trait Socket: TryRead + TryWrite + From<OwnedFd> + Unpin + 'static {
        /// Writes what the system takes at once.
        fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

        /// Ends it, whoever else has it.
        fn end(&self) -> io::Result<()>;
    }

    macro_rules! system_stream {
        ($watched:ty, $resting:ty) => {
            impl Watched for $watched {
                type Resting = $resting;

                fn watch(resting: $resting) -> io::Result<Self> {
                    Self::from_std(resting)
                }

                fn rest(self) -> io::Result<$resting> {
                    self.into_std()
                }
            }

            impl Socket for $resting {
                fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
                    let mut own = self;
                    own.write_vectored(slices)
                }

                fn end(&self) -> io::Result<()> {
                    self.shutdown(net::Shutdown::Both)
                }
            }

            impl TryWrite for $resting {
                fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
                    let mut own = self;
                    own.write(bytes)
                }
            }

            impl TryRead for $resting {
                fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
                    let mut own = self;
                    own.read(buffer)
                }

                fn descriptor(&self) -> i32 {
                    self.as_raw_fd()
                }
            }
        };
    }

    system_stream!(TcpStream, net::TcpStream);
    system_stream!(UnixStream, unix::net::UnixStream);

    impl<S: Watched> SharedStream<S> {
        /// A connection that nobody else uses yet.
        pub fn new(stream: S) -> Self {
            Self { state: State::Watched(stream), twin: OnceCell::new() }
        }

        fn twin(&self) -> Option<Arc<S::Resting>> {
            if let (None, State::Watched(stream)) = (self.twin.get(), &self.state) {
                // With no descriptor left for it, the I/O thread does all there is to do.
                let twin = stream.as_fd().try_clone_to_owned().ok()?;
                return Some(Arc::clone(self.twin.get_or_init(|| Arc::new(twin.into()))));
            }
            self.twin.get().cloned()
        }

        /// The stream, watched: something is to be waited for.
        fn watched(&mut self) -> io::Result<Pin<&mut S>> {
            if let State::Resting(_) = self.state
                && let State::Resting(resting) = std::mem::replace(&mut self.state, State::Lost)
            {
                self.state = State::Watched(S::watch(resting)?);
            }
            match &mut self.state {
                State::Watched(stream) => Ok(Pin::new(stream)),
                State::Resting(_) | State::Lost => Err(io::ErrorKind::NotConnected.into()),
            }
        }

        fn poll_send(
            &mut self,
            send: impl FnOnce(&S::Resting) -> io::Result<usize>,
            poll: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<usize>>,
        ) -> Poll<io::Result<usize>> {
            if let State::Resting(resting) = &self.state {
                match send(resting) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    sent => return Poll::Ready(sent),
                }
            }
            poll(self.watched()?)
        }
    }

    impl<S: Watched> Drop for SharedStream<S> {
        fn drop(&mut self) {
            // Others may hold the twin for a while yet, and the peer is not to wait for them.
            if let Some(twin) = self.twin.take().filter(|twin| Arc::strong_count(twin) > 1) {
                // If it fails, the connection has ended already.
                let _ = twin.end();
            }
        }
    }

    impl<S: Watched> Stream for SharedStream<S> {
        fn writer(&self) -> Option<Writer> {
            Some(Writer::new(self.twin()?))
        }

        fn lend_reader(&mut self) -> io::Result<Option<Reader>> {
            let Some(twin) = self.twin() else { return Ok(None) };
            let reader: Reader = twin;
            self.state = match std::mem::replace(&mut self.state, State::Lost) {
                State::Watched(stream) => State::Resting(stream.rest()?),
                other => other,
            };
            Ok(Some(reader))
        }

        fn take_back_reader(&mut self) -> io::Result<()> {
            self.watched().map(drop)
        }

        fn sent(&self) -> Sending {
            let descriptor = match &self.state {
                State::Watched(stream) => stream.as_fd().try_clone_to_owned(),
                State::Resting(_) | State::Lost => Err(io::ErrorKind::Unsupported.into()),
            };
            Box::pin(async move {
                if let Ok(descriptor) = descriptor {
                    // One that can't tell keeps nobody waiting.
                    let _ = sent(descriptor).await;
                }
            })
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
            self.poll_send(|socket| socket.try_write(bytes), |stream| stream.poll_write(cx, bytes))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.poll_send(
                |socket| socket.try_write_vectored(slices),
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
