//! Opening a connection: greetings, then READY from both sides (RFC 37, NULL mechanism; RFC 30 for who may talk).

use super::{
    command::{self, Command, MAX_COMMAND},
    flow::{self, Instance},
    frame, greeting,
    properties::Properties,
    violation,
};
use crate::error::{Error, code};

/// The longest name a peer may give itself (RFC 37: "an identity is 0 to 255 octets").
const MAX_IDENTITY: usize = 255;

/// The socket types that we are: those of a pipeline (RFC 30), and of requests with their replies (RFC 28).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketType {
    /// Sends jobs.
    Push,
    /// Receives jobs.
    Pull,
    /// Sends requests.
    Dealer,
    /// Receives requests, and replies.
    Router,
}

impl SocketType {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Push => "PUSH",
            Self::Pull => "PULL",
            Self::Dealer => "DEALER",
            Self::Router => "ROUTER",
        }
    }

    /// The types it talks to. (A DEALER could talk to another, and a ROUTER too: but neither replies to requests.)
    pub fn peers(self) -> &'static [&'static str] {
        match self {
            Self::Push => &["PULL"],
            Self::Pull => &["PUSH"],
            Self::Dealer => &["REP", "ROUTER"],
            Self::Router => &["REQ", "DEALER"],
        }
    }
}

/// What we tell of ourselves.
#[derive(Debug, Clone)]
pub struct Hello {
    /// What we are.
    pub socket_type: SocketType,
    /// Our name, if any.
    pub identity: Vec<u8>,
    /// Who we are, if we offer flow.
    pub instance: Option<Instance>,
}

/// What the peer told of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name; empty if it gave none.
    pub identity: Vec<u8>,
    /// Whether it knows PING and PONG (ZMTP 3.1 or later).
    pub heartbeats: bool,
    /// Who it is, if both of us know flow.
    pub instance: Option<Instance>,
}

/// The state of a handshake. Bytes go in by [`Handshake::feed`]; what is to be sent is in [`Handshake::output`].
///
/// libzmq sends ten octets and waits for the version of the other side, and leaves at once when it reads a mechanism or a socket
/// type that does not fit: what it wants itself it would never say. So each step of ours is withheld until the same step of the
/// peer's begins to come, or has not come for long ([`Handshake::proceed`]): the rest of the greeting until its version is known, and
/// READY, of the side that was dialled and toward a peer that has shown that it waits, until its own READY comes.
#[derive(Debug)]
pub struct Handshake {
    hello: Hello,
    /// What has arrived of the step at hand; never more than one greeting or one command.
    input: Vec<u8>,
    output: Vec<u8>,
    /// The steps of ours that are withheld, in order.
    withheld: Vec<Step>,
    /// Our READY waits for that of the peer.
    is_waiting: bool,
    /// Set once the peer's greeting is in.
    minor: Option<u8>,
}

/// A part of the handshake that is sent at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// What is left of the greeting behind the version.
    Greeting,
    /// Who we are.
    Ready,
}

impl Handshake {
    /// A handshake that is about to greet.
    pub fn new(hello: Hello) -> Self {
        let output = greeting::encode()[..greeting::FIRST].to_vec();
        let withheld = vec![Step::Greeting, Step::Ready];
        Self { hello, input: Vec::new(), output, withheld, is_waiting: false, minor: None }
    }

    /// The same of the side that was dialled: it says who it is once the other side has, or has waited long.
    pub fn of_the_dialled(hello: Hello) -> Self {
        Self { is_waiting: true, ..Self::new(hello) }
    }

    /// Whether something is withheld that could be sent now, should the peer wait for it.
    pub fn may_proceed(&self) -> bool {
        match self.withheld.first() {
            Some(Step::Greeting) => true,
            Some(Step::Ready) => self.minor.is_some(),
            None => false,
        }
    }

    /// Sends the next step that is withheld.
    pub fn proceed(&mut self) {
        if self.may_proceed() {
            match self.withheld.remove(0) {
                Step::Greeting => self.output.extend_from_slice(&greeting::encode()[greeting::FIRST..]),
                Step::Ready => self.output.extend_from_slice(&command::ready(&self.properties())),
            }
        }
    }

    /// Sends a step unless it was sent before.
    fn send(&mut self, step: Step) {
        if self.withheld.first() == Some(&step) {
            self.proceed();
        }
    }

    /// Takes what is to be sent now.
    pub fn output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Takes bytes in. When the handshake is over, says who the peer is; what is left in `bytes` follows it.
    ///
    /// After an error the output may hold an ERROR command for the peer.
    pub fn feed(&mut self, bytes: &mut &[u8]) -> Result<Option<Peer>, Error> {
        if self.minor.is_none() {
            self.fill(bytes, greeting::LENGTH);
            if let Some(first) = self.input.first_chunk::<{ greeting::FIRST }>() {
                if greeting::decode(first).is_ok() {
                    self.send(Step::Greeting);
                }
            } else {
                // It sends its version only once it has ours.
                self.is_waiting = true;
            }
            let Some(greeting) = greeting::decode(&self.input)? else { return Ok(None) };
            self.minor = Some(greeting.minor);
            self.input.clear();
            if !self.is_waiting {
                self.send(Step::Ready);
            }
        }
        if !bytes.is_empty() {
            self.send(Step::Ready);
        }
        let Some(body) = self.command(bytes)? else { return Ok(None) };
        match Command::decode(&body, false)? {
            Command::Ready(properties) => self.peer(&properties).map(Some),
            Command::Error(reason) => {
                Err(Error::new(code::INCOMPATIBLE, format!("the peer refuses us: {reason:?}")))
            }
            _ => Err(violation("a command before READY")),
        }
    }

    fn properties(&self) -> Properties {
        let mut properties = Properties::default();
        properties.set("Socket-Type", self.hello.socket_type.name().as_bytes());
        if !self.hello.identity.is_empty() {
            properties.set("Identity", &self.hello.identity);
        }
        if let Some(instance) = self.hello.instance {
            properties.set(flow::PROPERTY, flow::offer(instance).as_bytes());
        }
        properties
    }

    /// The body of the next command, as soon as all of it is there.
    fn command(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let (header, start) = loop {
            if let Some(header) = frame::decode(&self.input)? {
                break header;
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            self.fill(bytes, self.input.len() + 1);
        };
        if !header.command {
            return Err(violation("a message before READY"));
        }
        if header.length > MAX_COMMAND as u64 {
            return Err(violation(format!("a command of {} bytes", header.length)));
        }
        let stop = start + header.length as usize;
        self.fill(bytes, stop);
        Ok((self.input.len() == stop).then(|| self.input.split_off(start)))
    }

    fn fill(&mut self, bytes: &mut &[u8], length: usize) {
        let missing = length.saturating_sub(self.input.len()).min(bytes.len());
        let (taken, rest) = bytes.split_at(missing);
        self.input.extend_from_slice(taken);
        *bytes = rest;
    }

    fn peer(&mut self, properties: &Properties) -> Result<Peer, Error> {
        let wanted = self.hello.socket_type.peers();
        let told = properties.get("Socket-Type").unwrap_or_default();
        if !wanted.iter().any(|name| name.as_bytes() == told) {
            let reason = format!(
                "a {} talks to a {}, not to {:?}",
                self.hello.socket_type.name(),
                wanted.join(" or "),
                String::from_utf8_lossy(&told[..told.len().min(MAX_IDENTITY)])
            );
            self.output.extend_from_slice(&command::error(&reason));
            return Err(Error::new(code::INCOMPATIBLE, reason));
        }
        let identity = properties.get("Identity").unwrap_or_default().to_vec();
        if identity.len() > MAX_IDENTITY {
            return Err(violation(format!("an identity of {} bytes", identity.len())));
        }
        let instance = self.hello.instance.and_then(|_| flow::accept(properties));
        Ok(Peer { identity, heartbeats: self.minor.is_some_and(|minor| minor >= 1), instance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(socket_type: SocketType) -> Hello {
        Hello { socket_type, identity: b"me".to_vec(), instance: Some(Instance(9)) }
    }

    #[test]
    fn two_ends_agree_byte_by_byte_and_leave_what_follows() {
        let mut push = Handshake::new(hello(SocketType::Push));
        let mut pull = Handshake::new(hello(SocketType::Pull));
        let mut to_pull = push.output();
        let first = pull.output();
        assert_eq!(push.feed(&mut &first[..]), Ok(None));
        to_pull.extend(push.output());
        assert_eq!(to_pull, greeting::encode());
        pull.proceed();
        assert_eq!([first, pull.output()].concat(), greeting::encode());
        assert_eq!(push.feed(&mut &greeting::encode()[greeting::FIRST..]), Ok(None));
        to_pull.extend(push.output());
        to_pull.extend(b"job");
        let (mut peer, mut bytes) = (None, &to_pull[..]);
        while peer.is_none() {
            let (mut first, rest) = bytes.split_at(1);
            peer = pull.feed(&mut first).expect("a sound handshake");
            bytes = rest;
        }
        assert_eq!(
            peer,
            Some(Peer { identity: b"me".to_vec(), heartbeats: true, instance: Some(Instance(9)) })
        );
        assert_eq!(bytes, b"job");
        assert!(matches!(push.feed(&mut &pull.output()[..]), Ok(Some(_))));
    }

    #[test]
    fn the_wrong_socket_type_is_refused_and_told() {
        let mut one = Handshake::new(hello(SocketType::Push));
        let mut other = Handshake::new(hello(SocketType::Push));
        assert_eq!(one.feed(&mut &greeting::encode()[..]), Ok(None));
        let _ = other.feed(&mut &one.output()[..]);
        let refused = one.feed(&mut &other.output()[greeting::LENGTH..]);
        assert_eq!(refused.map_err(|error| error.code), Err(code::INCOMPATIBLE));
        assert!(one.output().ends_with(b"a PUSH talks to a PULL, not to \"PUSH\""));
    }

    #[test]
    fn a_huge_command_or_a_message_before_ready_is_refused_unread() {
        for frame in
            [&[6, 0, 0, 4, 0, 0, 0, 0, 0][..], &[2, 0, 0, 4, 0, 0, 0, 0, 0], &[0, 0], &[4, 5, 4, b'P', b'O']]
        {
            let mut handshake = Handshake::new(hello(SocketType::Pull));
            let bytes = [&greeting::encode()[..], frame].concat();
            let fed = handshake.feed(&mut &bytes[..]);
            assert!(frame.len() == 5 && fed == Ok(None) || fed.is_err(), "{frame:?}: {fed:?}");
        }
    }

    #[test]
    fn steps_are_withheld_from_a_peer_that_waits_until_its_own_are_in_or_it_has_waited_long() {
        let ready = command::ready(&Handshake::new(hello(SocketType::Push)).properties());
        let (first, rest) = (..greeting::FIRST - 2, greeting::FIRST - 2..);
        for has_waited_long in [false, true] {
            let mut handshake = Handshake::new(hello(SocketType::Pull));
            assert_eq!(handshake.output(), greeting::encode()[..greeting::FIRST]);
            assert_eq!(handshake.feed(&mut &greeting::encode()[first]), Ok(None));
            assert!(handshake.output().is_empty() && handshake.may_proceed());
            if has_waited_long {
                handshake.proceed();
                handshake.proceed();
            }
            assert_eq!(handshake.feed(&mut &greeting::encode()[rest.clone()]), Ok(None));
            assert_eq!(handshake.output(), greeting::encode()[greeting::FIRST..]);
            assert!(handshake.may_proceed());
            if has_waited_long {
                handshake.proceed();
                assert!(!handshake.output().is_empty());
            }
            assert!(matches!(handshake.feed(&mut &ready[..]), Ok(Some(_))));
            assert_eq!(handshake.output().is_empty(), has_waited_long);
            assert!(!handshake.may_proceed());
        }
    }
}
