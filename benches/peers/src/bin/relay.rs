//! A bare TCP relay: what two sockets cost, and nothing else. The floor that proxies are compared with.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};

use clap::Parser;
use cloakroom_peers::outbox::Outbox;
use cloakroom_peers::poll::{Event, Poll};

/// Relays every connection to another address.
#[derive(Parser)]
struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where to relay to.
    #[arg(long)]
    to: SocketAddr,
}

const LISTENER: u64 = u64::MAX;

/// A client's connection (0) and ours to the origin (1), and what waits to be written to each.
struct Pair {
    streams: [TcpStream; 2],
    waiting: [Outbox; 2],
}

struct Relay {
    poll: Poll,
    to: SocketAddr,
    pairs: Vec<Option<Pair>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen)?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());
    let mut relay = Relay {
        poll: Poll::new()?,
        to: args.to,
        pairs: Vec::new(),
        free: Vec::new(),
        buffer: vec![0; 64 * 1024],
    };
    relay.poll.add(&listener, LISTENER)?;
    loop {
        for index in 0..relay.poll.wait(None)? {
            let event = relay.poll.event(index);
            if event.token == LISTENER {
                relay.accept(&listener)?;
            } else {
                relay.pass(event);
            }
        }
    }
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        let Ok((client, _)) = listener.accept() else {
            return Ok(());
        };
        let streams = [client, TcpStream::connect(self.to)?];
        let slot = self.free.pop().unwrap_or_else(|| {
            self.pairs.push(None);
            self.pairs.len() - 1
        });
        for (side, stream) in streams.iter().enumerate() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            self.poll.add(stream, token(slot, side))?;
        }
        let waiting = [Outbox::default(), Outbox::default()];
        self.pairs[slot] = Some(Pair { streams, waiting });
        Ok(())
    }

    /// An end or an error of either side ends both.
    fn pass(&mut self, event: Event) {
        let (slot, side) = ((event.token / 2) as usize, (event.token % 2) as usize);
        let Some(pair) = &mut self.pairs[slot] else {
            return;
        };
        let passed = pair.pass(&self.poll, slot, side, event, &mut self.buffer);
        if !matches!(passed, Ok(true)) {
            self.pairs[slot] = None;
            self.free.push(slot);
        }
    }
}

impl Pair {
    fn pass(
        &mut self,
        poll: &Poll,
        slot: usize,
        side: usize,
        event: Event,
        buffer: &mut [u8],
    ) -> io::Result<bool> {
        let other = 1 - side;
        if event.writable && !self.waiting[side].is_empty() {
            self.waiting[side].flush(&self.streams[side])?;
            if self.waiting[side].is_empty() {
                self.watch(poll, slot)?;
            }
        }
        if event.readable && self.waiting[other].is_empty() {
            let count = match (&self.streams[side]).read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            };
            self.waiting[other].send(&self.streams[other], &buffer[..count])?;
            if !self.waiting[other].is_empty() {
                self.watch(poll, slot)?;
            }
        }
        Ok(true)
    }

    /// Reads from a side only while the other takes what came from it.
    fn watch(&self, poll: &Poll, slot: usize) -> io::Result<()> {
        for side in 0..2 {
            let (read, write) = (
                self.waiting[1 - side].is_empty(),
                !self.waiting[side].is_empty(),
            );
            poll.set(&self.streams[side], token(slot, side), read, write)?;
        }
        Ok(())
    }
}

fn token(slot: usize, side: usize) -> u64 {
    (slot * 2 + side) as u64
}
