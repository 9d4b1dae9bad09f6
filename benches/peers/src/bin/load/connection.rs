//! One keep-alive connection: a request out, its answer in and checked.

use std::io::{self, Read};

use cloakroom_peers::decoder::{Decoder, Piece};
use cloakroom_peers::head::Answer;
use cloakroom_peers::outbox::Outbox;
use cloakroom_peers::poll::{Event, Poll};
use cloakroom_peers::text::number_after;

use crate::request::Request;
use crate::transport::Transport;

/// How much of an answer is kept to be looked at.
const START: usize = 1024;

/// What became of a request.
pub enum Outcome {
    /// 200, with the request's own id.
    Right,
    /// Anything else, and what.
    Wrong(String),
}

/// A connection to the proxy.
pub struct Connection {
    transport: Transport,
    token: u64,
    decoder: Decoder,
    outbox: Outbox,
    /// What it sends.
    pub request: Request,
    status: u16,
    start: Vec<u8>,
    /// When the request under way was sent, or should have been; none is under way without.
    pub since: Option<u64>,
}

impl Connection {
    /// A connection over `transport`, known to `poll` as `token`.
    pub fn new(transport: Transport, poll: &Poll, token: u64) -> io::Result<Self> {
        poll.add(&transport, token)?;
        Ok(Self {
            transport,
            token,
            decoder: Decoder::default(),
            outbox: Outbox::default(),
            request: Request::new(),
            status: 0,
            start: Vec::with_capacity(START),
            since: None,
        })
    }

    /// Replaces a connection that has ended.
    pub fn replace(&mut self, transport: Transport, poll: &Poll) -> io::Result<()> {
        poll.add(&transport, self.token)?;
        self.transport = transport;
        self.decoder = Decoder::default();
        self.outbox = Outbox::default();
        self.since = None;
        Ok(())
    }

    /// Sends the next request.
    pub fn send(&mut self, poll: &Poll, since: u64) -> io::Result<()> {
        self.since = Some(since);
        self.start.clear();
        self.outbox.send(&mut self.transport, self.request.next())?;
        if !self.outbox.is_empty() {
            poll.set(&self.transport, self.token, true, true)?;
        }
        Ok(())
    }

    /// Goes on; the outcome, once the answer is complete.
    pub fn serve(
        &mut self,
        event: Event,
        poll: &Poll,
        buffer: &mut [u8],
    ) -> io::Result<Option<Outcome>> {
        if event.writable && !self.outbox.is_empty() {
            self.outbox.flush(&mut self.transport)?;
            if self.outbox.is_empty() {
                poll.set(&self.transport, self.token, true, false)?;
            }
        }
        if event.readable {
            self.read(buffer)
        } else {
            Ok(None)
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<Outcome>> {
        let mut outcome = None;
        loop {
            match self.transport.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => outcome = self.take(&buffer[..count])?.or(outcome),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            if !self.transport.holds_back() {
                break;
            }
        }
        Ok(outcome)
    }

    fn take(&mut self, mut input: &[u8]) -> io::Result<Option<Outcome>> {
        let mut outcome = None;
        while let Some(piece) = self.decoder.next::<Answer>(&mut input)? {
            match piece {
                Piece::Head(answer) => self.status = answer.status,
                Piece::Data(data) => {
                    let room = (START - self.start.len()).min(data.len());
                    self.start.extend_from_slice(&data[..room]);
                }
                Piece::End => outcome = Some(self.outcome()),
            }
        }
        Ok(outcome)
    }

    fn outcome(&self) -> Outcome {
        let right = self.since.is_some()
            && number_after(&self.start, b"\"id\":") == Some(self.request.id());
        if self.status == 200 && right {
            return Outcome::Right;
        }
        let text = String::from_utf8_lossy(&self.start[..self.start.len().min(200)]);
        Outcome::Wrong(format!("{}: {text}", self.status))
    }
}
