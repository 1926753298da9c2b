//! Connections to plain peers that this side has ended and the peers have not.
//!
//! A plain peer acknowledges nothing: what its connection has taken may still lie in the buffers of
//! either system, and is lost with them. So this side ends its half of the connection (TCP: FIN)
//! and waits for the peer to end the other: a peer does so once it has read all that came before.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use tokio::sync::Notify;

use super::peer::Peer;

/// All of them that belong to one pipe.
#[derive(Debug, Default)]
pub struct HalfClosed {
    peers: Mutex<Vec<Arc<Peer>>>,
    /// Messages on connections that broke before the peers had ended them.
    lost: AtomicU64,
    /// A connection has ended.
    ended: Notify,
    /// Nobody waits any more.
    given_up: Notify,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Guard {
    all: Arc<HalfClosed>,
    peer: Arc<Peer>,
}

impl HalfClosed {
    /// This side is about to end a connection.
    pub fn enter(self: &Arc<Self>, peer: &Arc<Peer>) -> Guard {
        self.peers().push(Arc::clone(peer));
        Guard { all: Arc::clone(self), peer: Arc::clone(peer) }
    }

    /// How many messages may not have been read, those on connections that broke among them.
    pub fn unread(&self) -> u64 {
        self.lost.load(SeqCst) + self.peers().iter().map(|peer| peer.unread()).sum::<u64>()
    }

    /// Whether every peer has ended its half.
    pub fn is_empty(&self) -> bool {
        self.peers().is_empty()
    }

    /// Resolves when every peer has ended its half, or nobody waits for that any more.
    pub async fn emptied(&self) {
        self.wait(&self.ended, || self.is_empty()).await;
    }

    /// Says once how many messages may not have been read. Nobody waits for more.
    pub fn give_up(&self) -> u64 {
        let unread = self.unread();
        self.lost.store(0, SeqCst);
        self.peers().clear();
        self.given_up.notify_waiters();
        self.ended.notify_waiters();
        unread
    }

    fn peers(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Peer>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait(&self, notify: &Notify, is_over: impl Fn() -> bool) {
        loop {
            let notified = notify.notified();
            if is_over() {
                return;
            }
            notified.await;
        }
    }

    fn has(&self, peer: &Arc<Peer>) -> bool {
        self.peers().iter().any(|other| Arc::ptr_eq(other, peer))
    }
}

impl Guard {
    /// Resolves when nobody waits for the peer any more.
    pub fn given_up(&self) -> impl Future<Output = ()> + use<> {
        let (all, peer) = (Arc::clone(&self.all), Arc::clone(&self.peer));
        async move { all.wait(&all.given_up, || !all.has(&peer)).await }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut peers = self.all.peers();
        if let Some(index) = peers.iter().position(|other| Arc::ptr_eq(other, &self.peer)) {
            peers.swap_remove(index);
            self.all.lost.fetch_add(self.peer.unread(), SeqCst);
        }
        drop(peers);
        self.all.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(unread: u64) -> Arc<Peer> {
        let peer = Arc::<Peer>::default();
        peer.set_unread(unread);
        peer
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_a_peer_had_not_read_when_its_connection_broke_stays_counted() {
        let all = Arc::<HalfClosed>::default();
        let (read, broken) = (peer(3), peer(4));
        let guards = (all.enter(&read), all.enter(&broken));
        assert_eq!(all.unread(), 7);
        read.set_unread(0);
        drop(guards);
        all.emptied().await;
        assert_eq!((all.unread(), all.give_up(), all.unread()), (4, 4, 0));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn once_given_up_nobody_waits_and_nothing_is_counted_twice() {
        let all = Arc::<HalfClosed>::default();
        let guard = all.enter(&peer(5));
        let given_up = guard.given_up();
        let (unread, (), ()) = tokio::join!(async { all.give_up() }, async { all.emptied().await }, given_up);
        drop(guard);
        assert_eq!((unread, all.unread()), (5, 0));
    }
}
