//! Streams of events: how many come, and how late.

use std::io::{self, Read, Write};
use std::time::Duration;

use clap::Args;
use cloakroom_peers::clock;
use cloakroom_peers::decoder::{Decoder, Piece};
use cloakroom_peers::head::Answer;
use cloakroom_peers::poll::{Event, Poll};
use cloakroom_peers::text::number_after;
use serde_json::Value;

use crate::Target;
use crate::process;
use crate::report::Window;
use crate::transport::Transport;

/// What to open.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    pub target: Target,
    /// How many streams.
    #[arg(long, default_value_t = 1000)]
    pub streams: usize,
    /// How many are opened a second.
    #[arg(long, default_value_t = 1000)]
    pub ramp: u64,
}

/// One stream, and the line that has not ended yet.
struct Stream {
    transport: Transport,
    decoder: Decoder,
    line: Vec<u8>,
    status: u16,
}

struct Streams {
    poll: Poll,
    streams: Vec<Option<Stream>>,
    buffer: Vec<u8>,
}

/// Opens, counts, and reports.
pub fn run(options: &Options) -> io::Result<Value> {
    let target = &options.target;
    let before = process::memory(&target.pids);
    let ramp = options.streams as f64 / options.ramp as f64;
    let mut window = Window::new(&target.pids, ramp + target.warmup, target.seconds)?;
    let mut streams = Streams {
        poll: Poll::new()?,
        streams: Vec::with_capacity(options.streams),
        buffer: vec![0; 64 * 1024],
    };
    let keys = target.keys()?;
    let pause = clock::nanos(Duration::from_secs(1)) / options.ramp;
    let mut next = clock::now();
    loop {
        let mut wait = window.look(clock::now());
        if window.is_over() {
            break;
        }
        if streams.streams.len() < options.streams && clock::now() >= next {
            let user = streams.streams.len() % keys.len();
            streams.open(target, &keys[user])?;
            next += pause;
        }
        if streams.streams.len() < options.streams {
            wait = Some(next.saturating_sub(clock::now()));
        }
        for index in 0..streams.poll.wait(wait)? {
            let event = streams.poll.event(index);
            streams.serve(event, &mut window);
        }
    }
    let open =
        |stream: &&Option<Stream>| stream.as_ref().is_some_and(|stream| stream.status == 200);
    let mut report = window.report();
    report["memory_before"] = before;
    report["open"] = streams.streams.iter().filter(open).count().into();
    Ok(report)
}

impl Streams {
    fn open(&mut self, target: &Target, key: &str) -> io::Result<()> {
        let mut transport = Transport::open(target.to, target.tls)?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {key}\r\n\
             Accept: text/event-stream\r\nMCP-Protocol-Version: 2025-06-18\r\n\r\n",
            target.path, target.to
        );
        transport.write_all(request.as_bytes())?;
        self.poll.add(&transport, self.streams.len() as u64)?;
        self.streams.push(Some(Stream {
            transport,
            decoder: Decoder::default(),
            line: Vec::new(),
            status: 0,
        }));
        Ok(())
    }

    fn serve(&mut self, event: Event, window: &mut Window) {
        let place = &mut self.streams[event.token as usize];
        let Some(stream) = place else {
            return;
        };
        if let Err(error) = stream.read(&mut self.buffer, window) {
            window.ended += 1;
            window.wrong(format!("{} and the stream ended: {error}", stream.status));
            *place = None;
        }
    }
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8], window: &mut Window) -> io::Result<()> {
        loop {
            match self.transport.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.take(&buffer[..count], window)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if !self.transport.holds_back() {
                return Ok(());
            }
        }
    }

    fn take(&mut self, mut input: &[u8], window: &mut Window) -> io::Result<()> {
        while let Some(piece) = self.decoder.next::<Answer>(&mut input)? {
            match piece {
                Piece::Head(answer) => self.status = answer.status,
                Piece::Data(data) => self.lines(data, window),
                Piece::End => return Err(io::Error::other("the answer is complete")),
            }
        }
        Ok(())
    }

    fn lines(&mut self, data: &[u8], window: &mut Window) {
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if !part.ends_with(b"\n") {
                return;
            }
            if let Some(sent) = number_after(&self.line, b"\"at\":") {
                let now = clock::now();
                if window.contains(now) {
                    window.completed += 1;
                    window.record(now.saturating_sub(sent));
                }
            }
            self.line.clear();
        }
    }
}
