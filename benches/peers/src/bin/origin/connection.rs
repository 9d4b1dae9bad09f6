//! One connection: requests in, answers out, one after another.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};

use cloakroom_peers::decoder::{Decoder, Piece};
use cloakroom_peers::head::{Credential, Request};
use cloakroom_peers::outbox::Outbox;
use cloakroom_peers::poll::{Event, Poll};

use crate::answer::{CLOSING, answer, event};

static SERIAL: AtomicU64 = AtomicU64::new(0);
static FILLING: [u8; 64 * 1024] = [b'.'; 64 * 1024];

/// Buffers that all connections use in turn.
pub struct Scratch {
    input: Vec<u8>,
    text: Vec<u8>,
    output: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            input: vec![0; 256 * 1024],
            text: Vec::new(),
            output: Vec::new(),
        }
    }
}

/// A client's connection.
pub struct Connection {
    stream: TcpStream,
    token: u64,
    serial: u64,
    decoder: Decoder,
    request: Request,
    body: Vec<u8>,
    outbox: Outbox,
    /// Of a large answer, what is left of its filling.
    filling: Option<u64>,
    streaming: bool,
}

impl Connection {
    /// A connection that was accepted.
    pub fn new(stream: TcpStream, token: u64) -> Self {
        Self {
            stream,
            token,
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            decoder: Decoder::default(),
            request: Request::default(),
            body: Vec::new(),
            outbox: Outbox::default(),
            filling: None,
            streaming: false,
        }
    }

    /// Whether events are sent on it.
    pub fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// Its number among all there have been.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Goes on with what can go on; false when the client has ended.
    pub fn serve(&mut self, event: Event, poll: &Poll, scratch: &mut Scratch) -> io::Result<bool> {
        if event.writable && self.is_blocked() {
            self.outbox.flush(&self.stream)?;
            self.fill()?;
            if !self.is_blocked() {
                poll.set(&self.stream, self.token, true, false)?;
            }
        }
        if !event.readable || self.is_blocked() {
            return Ok(true);
        }
        let mut input = std::mem::take(&mut scratch.input);
        let read = (&self.stream).read(&mut input);
        let taken = match read {
            Ok(0) => Ok(false),
            Ok(count) => self.take(&input[..count], scratch).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        };
        scratch.input = input;
        if self.is_blocked() {
            poll.set(&self.stream, self.token, false, true)?;
        }
        taken
    }

    /// Sends an event, unless the client has not taken those before.
    pub fn send_event(&mut self, poll: &Poll, scratch: &mut Scratch) -> io::Result<()> {
        if self.is_blocked() {
            return Ok(());
        }
        event(&mut scratch.output);
        self.outbox.send(&self.stream, &scratch.output)?;
        if self.is_blocked() {
            poll.set(&self.stream, self.token, false, true)?;
        }
        Ok(())
    }

    fn is_blocked(&self) -> bool {
        !self.outbox.is_empty() || self.filling.is_some()
    }

    fn take(&mut self, mut input: &[u8], scratch: &mut Scratch) -> io::Result<()> {
        while let Some(piece) = self.decoder.next::<Request>(&mut input)? {
            match piece {
                Piece::Head(request) => {
                    self.request = request;
                    self.body.clear();
                }
                Piece::Data(data) => self.body.extend_from_slice(data),
                Piece::End if self.request.stream => self.begin_stream()?,
                Piece::End => self.answer(scratch)?,
            }
        }
        Ok(())
    }

    fn begin_stream(&mut self) -> io::Result<()> {
        if self.request.credential == Credential::None {
            return self.outbox.send(
                &self.stream,
                b"HTTP/1.1 500 No Secret\r\nContent-Length: 0\r\n\r\n",
            );
        }
        self.streaming = true;
        self.outbox.send(
            &self.stream,
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
              Transfer-Encoding: chunked\r\n\r\n",
        )
    }

    fn answer(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        let answer = answer(&self.request, &self.body, &mut scratch.text);
        let length = scratch.text.len() as u64
            + answer
                .filling
                .map_or(0, |filling| filling + CLOSING.len() as u64);
        scratch.output.clear();
        write!(
            scratch.output,
            "HTTP/1.1 {} Answer\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n",
            answer.status
        )?;
        scratch.output.extend_from_slice(&scratch.text);
        self.outbox.send(&self.stream, &scratch.output)?;
        self.filling = answer.filling;
        self.fill()
    }

    /// Sends of a large answer what the connection takes.
    fn fill(&mut self) -> io::Result<()> {
        while let Some(left) = self.filling
            && self.outbox.is_empty()
        {
            if left == 0 {
                self.filling = None;
                return self.outbox.send(&self.stream, CLOSING);
            }
            let count = left.min(FILLING.len() as u64);
            self.filling = Some(left - count);
            self.outbox.send(&self.stream, &FILLING[..count as usize])?;
        }
        Ok(())
    }
}
