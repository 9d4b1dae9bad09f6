//! The bytes of one connection, judged in order.

use super::chunked::Chunked;
use super::fault::Fault;
use super::head::{Framing, Head};
use crate::proxy::last_head::LastHead;

/// What all requests of a connection are judged by. Knows nothing of sockets and of time. No `Debug`: it knows a
/// head with its key.
pub struct Judge {
    head_max: usize,
    requests: u64,
    state: State,
    /// The head that passed last, of which another length alone is judged.
    last: LastHead,
}

#[derive(Debug, Clone)]
enum State {
    Head(Head),
    Length(u64),
    Chunked(Chunked),
}

/// How much of what was shown may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// So many bytes from the first. Those behind them are the beginning of a head, to be shown again
    /// together with what follows them; after a fault nothing goes on any more.
    pub pass: usize,
    /// Why what is behind them must not go on.
    pub fault: Option<Fault>,
}

impl Judge {
    /// Before the first byte of a connection. `head_max` is the size of the largest head, in bytes.
    #[must_use]
    pub fn new(head_max: usize) -> Self {
        Self {
            head_max,
            requests: 0,
            state: State::Head(Head::default()),
            last: LastHead::default(),
        }
    }

    /// How many heads were let pass.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Whether the next byte belongs to a body.
    #[must_use]
    pub fn in_body(&self) -> bool {
        !matches!(self.state, State::Head(_))
    }

    /// Judges the bytes that come next. The verdict on a connection does not depend on how its bytes
    /// are cut. After a fault there is nothing left to judge.
    #[must_use]
    pub fn judge(&mut self, bytes: &[u8]) -> Verdict {
        let mut pass = 0;
        while pass < bytes.len() {
            let rest = &bytes[pass..];
            let here = match &mut self.state {
                State::Head(head) => {
                    match head.read_or_again(rest, self.head_max, &mut self.last) {
                        Ok(None) => break,
                        Ok(Some((length, framing))) => {
                            self.requests += 1;
                            self.state = match framing {
                                Framing::Length(0) => State::Head(Head::default()),
                                Framing::Length(length) => State::Length(length),
                                Framing::Chunked => State::Chunked(Chunked::START),
                            };
                            Ok(length)
                        }
                        Err(fault) => Err((0, fault)),
                    }
                }
                State::Length(left) => {
                    let here = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::Head(Head::default());
                    }
                    Ok(here)
                }
                State::Chunked(chunked) => match chunked.follow(rest) {
                    (here, Ok(ends)) => {
                        if ends {
                            self.state = State::Head(Head::default());
                        }
                        Ok(here)
                    }
                    (here, Err(fault)) => Err((here, fault)),
                },
            };
            match here {
                Ok(here) => pass += here,
                Err((here, fault)) => {
                    return Verdict {
                        pass: pass + here,
                        fault: Some(fault),
                    };
                }
            }
        }
        Verdict { pass, fault: None }
    }
}
