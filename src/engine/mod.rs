//! Everything that happens behind `push` and `pull`, on one I/O thread: the only layer that knows tokio.
//!
//! Out: [`push_port`] -> [`push_end`], which drives a [`crate::flow::sender`] -> [`link`]. Replies to
//! requests go from there to an [`asker`].
//!
//! In: [`link`] -> [`inbox`] -> [`fair_queue`] -> [`pull_end`] -> [`consumer`]; and back, from the
//! [`ledger`] by [`telling`]. What a pusher may send is in [`grant`], how that is found in [`pace`];
//! whether a consumer that does not come is stuck, or in [`line`] for its thread.
//!
//! An idle link may be written to by other threads: [`shortcut`] on a [`stream`]; and read by them, while
//! there is only a [`trickle`]: [`tap`].
//!
//! [`listener`] and [`dialer`] make links on [`transport`]s; [`keeper`] opens and closes the [`ends`] of
//! both patterns for a [`pipe`]; why one of them can't listen is told by [`in_use`]. What users were told
//! once by any thread is in [`said`]; whether the system has sent what it took, in [`sent`].

mod arrival;
pub mod asker;
mod chance;
pub mod consumer;
pub mod delivery;
mod dialer;
mod ends;
pub mod event;
mod fair_queue;
mod grant;
mod heartbeat;
mod in_use;
mod inbox;
mod io_thread;
pub mod keeper;
mod ledger;
mod line;
mod link;
mod listener;
mod nudge;
mod pace;
pub mod peer;
pub mod pipe;
pub mod ports;
mod pull_end;
pub mod pull_port;
mod push_end;
pub mod push_port;
pub mod said;
#[cfg(unix)]
mod sent;
mod shortcut;
mod stream;
pub mod tap;
mod telling;
mod throttle;
mod traffic;
mod transport;
mod trickle;
