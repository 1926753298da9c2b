//! Everything that happens behind `push` and `pull`, on one I/O thread: the only floor that knows tokio.
//!
//! Out: [`pipe`] -> [`push_end`] (dispatch) -> [`queue`] -> [`outbox`] -> [`link`]. In: [`link`] -> [`pull_end`]
//! (fair queue) -> a consumer's deliveries. [`listener`] and [`dialer`] make links on [`transport`]s.

mod dialer;
pub mod event;
mod heartbeat;
pub mod io_thread;
mod link;
mod listener;
mod nudge;
mod outbox;
pub mod peer;
pub mod pipe;
pub mod pull_end;
pub mod push_end;
mod queue;
mod transport;
