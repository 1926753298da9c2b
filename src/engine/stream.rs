//! Connections of every kind behind one type; the write half of those of the system may be used by other threads while the I/O thread does
//! not (`shortcut.rs`).

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

#[cfg(unix)]
use tokio::net::{UnixStream, unix};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::{TcpStream, tcp},
};

/// A connection of any kind.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// What another thread can write with, if there is such a thing.
    fn writer(&self) -> Option<Writer> {
        None
    }
}

impl Stream for DuplexStream {}

/// The write half of a connection, for any thread.
pub type Writer = Arc<dyn TryWrite>;

/// See [`Writer`].
pub trait TryWrite: Send + Sync + std::fmt::Debug {
    /// Writes what the system takes at once.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}

/// A connection of any kind, owned.
pub type BoxStream = Box<dyn Stream>;

/// A connection of the system's.
pub struct SharedStream<R, W> {
    read: R,
    write: Arc<Half<W>>,
}

/// The write half.
#[derive(Debug)]
struct Half<W>(Mutex<W>);

impl<W> Half<W> {
    fn lock(&self) -> MutexGuard<'_, W> {
        // A socket has no state of ours that a panic could have left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedStream<tcp::OwnedReadHalf, tcp::OwnedWriteHalf> {
    /// Of TCP.
    pub fn tcp(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        Self { read, write: Arc::new(Half(Mutex::new(write))) }
    }
}

#[cfg(unix)]
impl SharedStream<unix::OwnedReadHalf, unix::OwnedWriteHalf> {
    /// Of a Unix socket.
    pub fn unix(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        Self { read, write: Arc::new(Half(Mutex::new(write))) }
    }
}

impl TryWrite for Half<tcp::OwnedWriteHalf> {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().try_write(bytes)
    }
}

#[cfg(unix)]
impl TryWrite for Half<unix::OwnedWriteHalf> {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().try_write(bytes)
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Stream for SharedStream<R, W>
where
    Half<W>: TryWrite + 'static,
{
    fn writer(&self) -> Option<Writer> {
        let writer: Writer = self.write.clone();
        Some(writer)
    }
}

impl<R: AsyncRead + Unpin, W> AsyncRead for SharedStream<R, W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buffer)
    }
}

impl<R: Unpin, W: AsyncWrite + Unpin> AsyncWrite for SharedStream<R, W> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.write.lock()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.write.lock()).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.write.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.write.lock()).poll_shutdown(cx)
    }
}
