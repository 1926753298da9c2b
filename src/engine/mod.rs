//! Everything that happens behind `push` and `pull`, on one I/O thread: the only floor that knows tokio.
//!
//! Out: [`push_port`] -> [`push_end`] -> [`queue`] -> [`dispatch`] -> [`outbox`] -> [`link`]; what was sent to a zeropipe peer stays
//! in its [`flight`], what plain peers get beside those is in [`plain_turns`], and all of it in the [`books`], until it is acknowledged (or, by [`answers`], replied to). In: [`link`] -> [`inbox`] -> [`fair_queue`] -> [`pull_end`] ->
//! [`consumer`]; and back, from the [`ledger`] by [`telling`]. What a pusher may send is in [`grant`], how that is found in [`pace`];
//! whether a consumer that does not come is stuck, or in [`line`] for its thread.
//! Requests go the same ways ([`requests`]), and their replies back: from the [`ledger`] through the pusher's link to the [`asker`].
//! An idle link may be written to by others: [`lease`] of a [`shortcut`] on a [`stream`]; and read by them, while there is only a [`trickle`]: [`tap`].
//! [`listener`] and [`dialer`] make links on [`transport`]s; [`keeper`] opens and closes the [`ends`] of both patterns for a [`pipe`]; why one of them
//! can't listen is told by [`in_use`]. What users were told once by any thread is in [`said`].

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
