//! Names inside this process, which its threads meet by.

use std::{cell::RefCell, collections::HashMap, io, rc::Rc};

use tokio::{
    io::DuplexStream,
    sync::{Notify, mpsc},
};

/// What a connection holds in each direction.
const BUFFER: usize = 256 * 1024;

#[derive(Debug, Default)]
struct Name {
    listener: RefCell<Option<mpsc::UnboundedSender<DuplexStream>>>,
    bound: Notify,
}

thread_local! {
    /// The names of this process that somebody listens on or waits for: all of them live on the one I/O thread.
    static NAMES: RefCell<HashMap<String, Rc<Name>>> = RefCell::default();
}

/// One who uses a name. The last of them takes it out of the list.
#[derive(Debug)]
struct User {
    text: String,
    name: Rc<Name>,
}

impl User {
    fn of(text: &str) -> Self {
        let name = NAMES.with_borrow_mut(|names| Rc::clone(names.entry(text.to_owned()).or_default()));
        Self { text: text.to_owned(), name }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        NAMES.with_borrow_mut(|names| {
            // The list has one more.
            if Rc::strong_count(&self.name) == 2 {
                names.remove(&self.text);
            }
        });
    }
}

/// A name that is bound.
#[derive(Debug)]
pub struct Listener {
    user: User,
    incoming: mpsc::UnboundedReceiver<DuplexStream>,
}

impl Listener {
    pub fn bind(text: &str) -> io::Result<Self> {
        let user = User::of(text);
        let (sender, incoming) = mpsc::unbounded_channel();
        if user.name.listener.borrow().is_some() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        user.name.listener.replace(Some(sender));
        user.name.bound.notify_waiters();
        Ok(Self { user, incoming })
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
        self.user.name.listener.replace(None);
    }
}

/// Connects to a name, now or as soon as it is bound.
pub async fn connect(text: &str) -> DuplexStream {
    let User { name, .. } = &User::of(text);
    loop {
        let bound = name.bound.notified();
        let (ours, theirs) = tokio::io::duplex(BUFFER);
        let sent = name.listener.borrow().as_ref().is_some_and(|listener| listener.send(theirs).is_ok());
        if sent {
            return ours;
        }
        bound.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> usize {
        NAMES.with_borrow(HashMap::len)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_name_is_forgotten_when_nobody_uses_it_any_more() {
        let listener = Listener::bind("one").expect("free");
        assert!(Listener::bind("one").is_err());
        assert_eq!(names(), 1);
        let stream = connect("one").await;
        drop(listener);
        assert_eq!(names(), 0);
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(1), connect("one"));
        assert!(waiting.await.is_err());
        assert_eq!(names(), 0);
        drop(stream);
        for number in 0..100 {
            drop(Listener::bind(&format!("name {number}")).expect("free"));
        }
        assert_eq!(names(), 0);
    }
}
