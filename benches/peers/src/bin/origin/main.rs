//! The backend of the bench: answers tools/call, streams events and large answers, and refuses what a
//! proxy did not inject the right secret into.

mod answer;
mod connection;
mod events;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use clap::Parser;
use cloakroom_peers::clock;
use cloakroom_peers::poll::Poll;

use connection::{Connection, Scratch};
use events::Schedule;

/// An MCP server that checks whose secret it gets.
///
/// POST …/header and POST …/arguments are answered with 300 bytes; a GET is answered with a stream of events.
#[derive(Parser)]
struct Args {
    /// Where to listen; the port is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Milliseconds between two events of a stream.
    #[arg(long, default_value_t = 1000)]
    event_interval: u64,
    /// All streams get their events at the same moments, instead of each from its own beginning on.
    #[arg(long)]
    events_together: bool,
}

const LISTENER: u64 = u64::MAX;

struct Origin {
    poll: Poll,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    schedule: Schedule,
    scratch: Scratch,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen)?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());
    let mut origin = Origin {
        poll: Poll::new()?,
        connections: Vec::new(),
        free: Vec::new(),
        schedule: Schedule::new(
            Duration::from_millis(args.event_interval),
            args.events_together,
        ),
        scratch: Scratch::default(),
    };
    origin.poll.add(&listener, LISTENER)?;
    loop {
        let count = origin.poll.wait(origin.schedule.wait(clock::now()))?;
        for index in 0..count {
            let event = origin.poll.event(index);
            if event.token == LISTENER {
                origin.accept(&listener)?;
            } else {
                origin.serve(event);
            }
        }
        origin.send_events();
    }
}

impl Origin {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        let Ok((stream, _)) = listener.accept() else {
            return Ok(());
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.poll.add(&stream, slot as u64)?;
        self.connections[slot] = Some(Connection::new(stream, slot as u64));
        Ok(())
    }

    fn serve(&mut self, event: cloakroom_peers::poll::Event) {
        let slot = event.token as usize;
        let Some(connection) = &mut self.connections[slot] else {
            return;
        };
        let streamed = connection.is_streaming();
        let served = connection.serve(event, &self.poll, &mut self.scratch);
        if !matches!(served, Ok(true)) {
            self.close(slot);
        } else if !streamed && connection.is_streaming() {
            let serial = connection.serial();
            self.schedule.begin(slot, serial, clock::now());
        }
    }

    fn send_events(&mut self) {
        let now = clock::now();
        while let Some(due) = self.schedule.due(now) {
            let Some(connection) = &mut self.connections[due.slot] else {
                continue;
            };
            if !connection.is_streaming() || connection.serial() != due.serial {
                continue;
            }
            if connection.send_event(&self.poll, &mut self.scratch).is_ok() {
                self.schedule.again(due);
            } else {
                self.close(due.slot);
            }
        }
    }

    fn close(&mut self, slot: usize) {
        self.connections[slot] = None;
        self.free.push(slot);
    }
}
