//! Why an address is in use, as far as this process can know, and what to do about it.

use std::{
    cell::RefCell,
    sync::{Arc, Weak},
};

use super::{event::Side, pipe::Pipe, transport};
use crate::{endpoint::Endpoint, error::Error};

thread_local! {
    /// The pipes of this process, all of which live on this thread.
    static PIPES: RefCell<Vec<Weak<Pipe>>> = RefCell::default();
}

/// A pipe begins.
pub fn register(pipe: &Arc<Pipe>) {
    PIPES.with_borrow_mut(|pipes| {
        pipes.retain(|pipe| pipe.strong_count() > 0);
        pipes.push(Arc::downgrade(pipe));
    });
}

/// Adds what helps to an error of binding one of the endpoints of an end.
pub fn explain(error: Error, endpoint: &Endpoint, pipe: &Arc<Pipe>, side: Side) -> Error {
    if error.code != "EADDRINUSE" {
        return error;
    }
    let is_twice = pipe.sites(side).bind.iter().filter(|other| other.overlaps(endpoint)).count() > 1;
    let own = if is_twice { Some(side) } else { listening(pipe, endpoint) };
    let is_of_another = || {
        let pipes = PIPES.with_borrow(|pipes| pipes.iter().filter_map(Weak::upgrade).collect::<Vec<_>>());
        pipes.iter().any(|other| listening(other, endpoint).is_some())
    };
    let cure = if let Some(own) = own {
        format!(
            "this pipe listens there itself, with its {} end: give each end an address of its own",
            own.name()
        )
    } else if is_of_another() {
        format!("another pipe of this process listens there: use that one, or {}", other_way(side))
    } else if transport::is_taken_by_a_file(endpoint) {
        "a file or folder that is no socket is at that path: remove it, or choose another path".into()
    } else {
        format!("another process listens there; {}", other_way(side))
    };
    Error { text: format!("{} ({cure})", error.text), ..error }
}

/// The end of a pipe that listens where the endpoint would be bound.
fn listening(pipe: &Pipe, endpoint: &Endpoint) -> Option<Side> {
    let ends = [Side::Push, Side::Pull, Side::Request, Side::Reply];
    ends.into_iter().find(|&side| {
        let ports = pipe.ports(side.pattern());
        let bound = if side.is_out() { ports.push.bound.read() } else { ports.pull.bound.read() };
        bound.iter().any(|text| text.parse::<Endpoint>().is_ok_and(|other| other.overlaps(endpoint)))
    })
}

/// Who else could bind, so that several of this side can share an address.
fn other_way(side: Side) -> &'static str {
    match side {
        Side::Push => "let the worker bind: pipe({ push: { connect }, pull: { bind } })",
        Side::Pull => "let the pusher bind: pipe({ push: { bind }, pull: { connect } })",
        Side::Request => "let the worker bind: pipe({ request: { connect }, reply: { bind } })",
        Side::Reply => "let the requester bind: pipe({ request: { bind }, reply: { connect } })",
    }
}
