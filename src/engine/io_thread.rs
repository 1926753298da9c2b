//! The one thread that does all I/O of the process. Everything that lives on it needs no locks.

use std::thread;

use once_cell::sync::OnceCell;
use tokio::{
    runtime::Builder,
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::{LocalSet, spawn_local},
};

use crate::error::{Error, code};

/// Work to be done on the thread: it builds what must not leave it.
type Work = Box<dyn FnOnce() + Send>;

static THREAD: OnceCell<UnboundedSender<Work>> = OnceCell::new();

/// Runs `work` on the I/O thread, which is started if it isn't there yet.
pub fn run(work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let gone = |_| Error::new(code::INTERNAL, "the I/O thread is gone (a bug of zeropipe)");
    THREAD.get_or_try_init(start)?.send(Box::new(work)).map_err(gone)
}

fn start() -> Result<UnboundedSender<Work>, Error> {
    let cannot = |error| Error::system(&error, &"the I/O thread can't be started");
    let runtime = Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let (sender, mut receiver) = unbounded_channel::<Work>();
    let main = async move {
        while let Some(work) = receiver.recv().await {
            // In a task of its own: should it panic, the thread lives on.
            spawn_local(async { work() });
        }
    };
    thread::Builder::new()
        .name("zeropipe-io".into())
        .spawn(move || LocalSet::new().block_on(&runtime, main))
        .map_err(cannot)?;
    Ok(sender)
}
