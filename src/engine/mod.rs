//! Everything that happens behind `push` and `pull`, on one I/O thread: the only floor that knows tokio.
//!
//! Out: [`push_port`] -> [`push_end`] (dispatch) -> [`queue`] -> [`outbox`] -> [`link`]. In: [`link`] -> [`pull_end`]
//! (fair queue) -> [`pull_port`]. [`listener`] and [`dialer`] make links on [`transport`]s; [`keeper`] opens and closes all
//! of it for a [`pipe`].

mod dialer;
pub mod event;
mod heartbeat;
mod io_thread;
pub mod keeper;
mod link;
mod listener;
mod nudge;
mod outbox;
pub mod peer;
pub mod pipe;
mod pull_end;
pub mod pull_port;
mod push_end;
pub mod push_port;
mod queue;
mod transport;
