//! What the threads of this process have said to users, so that each thing is said once.

use std::sync::{Mutex, PoisonError};

/// A process that has said so many things has said enough.
const MOST: usize = 16;

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Whether this is to be said now: it was not, and not too much was.
pub fn is_first(text: &str) -> bool {
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    let is_first = said.len() < MOST && !said.iter().any(|other| other == text);
    if is_first {
        said.push(text.into());
    }
    is_first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_said_once_and_not_too_many() {
        assert!(is_first("0") && !is_first("0") && is_first("1") && !is_first("0"));
        assert_eq!((0..100).filter(|number| is_first(&number.to_string())).count(), MOST - 2);
    }
}
