//! tools/call after tools/call.

use std::io;
use std::time::Duration;

use clap::Args;
use cloakroom_peers::clock;
use cloakroom_peers::poll::{Event, Poll};
use serde_json::Value;

use crate::Target;
use crate::connection::{Connection, Outcome};
use crate::pace::{Pace, Turn};
use crate::process;
use crate::report::Window;
use crate::transport::Transport;

/// How long answers that are under way when the window ends are waited for.
const GRACE: Duration = Duration::from_secs(3);
/// More connections than this that end, and something is wrong with the proxy.
const ENDED: u64 = 10_000;

/// What to send.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    pub target: Target,
    /// How many connections.
    #[arg(long, default_value_t = 32)]
    pub connections: usize,
    /// Requests a second over all of them, sent whether or not earlier ones were answered.
    #[arg(long)]
    pub rate: Option<f64>,
    /// One request for each key in the file, as fast as it goes, and no more; without a warm-up.
    #[arg(long, conflicts_with = "rate")]
    pub each_user: bool,
    /// The bytes of a request's body.
    #[arg(long, default_value_t = 350)]
    pub body_size: usize,
    /// Asks the origin for an answer of so many bytes.
    #[arg(long)]
    pub answer_size: Option<u64>,
}

struct Calls<'a> {
    options: &'a Options,
    keys: Vec<String>,
    poll: Poll,
    connections: Vec<Connection>,
    turn: Turn,
    window: Window,
    buffer: Vec<u8>,
}

/// Sends, and reports.
pub fn run(options: &Options) -> io::Result<Value> {
    let before = process::memory(&options.target.pids);
    let mut calls = Calls::open(options)?;
    let grace = clock::nanos(GRACE);
    loop {
        let now = clock::now();
        let mut wait = calls.window.look(now);
        if calls.window.is_over() {
            // Those that were due within the window and found no connection free still count.
            if options.rate.is_some() {
                calls.send(calls.window.end)?;
            }
            if calls.is_done() || now > calls.window.end + grace {
                break;
            }
            wait = Some(grace);
        } else {
            calls.send(now)?;
            wait = wait.into_iter().chain(calls.turn.wait(clock::now())).min();
        }
        for index in 0..calls.poll.wait(wait)? {
            let event = calls.poll.event(index);
            calls.serve(event)?;
        }
        if calls.turn.is_over() && calls.is_done() {
            calls.window.close(clock::now());
        }
    }
    let mut report = calls.window.report();
    report["memory_before"] = before;
    report["unfinished"] = calls
        .connections
        .iter()
        .filter(|one| one.since.is_some())
        .count()
        .into();
    Ok(report)
}

impl<'a> Calls<'a> {
    fn open(options: &'a Options) -> io::Result<Self> {
        let (target, keys, poll) = (&options.target, options.target.keys()?, Poll::new()?);
        let mut connections = Vec::with_capacity(options.connections);
        for index in 0..options.connections {
            let transport = Transport::open(target.to, target.tls)?;
            let mut connection = Connection::new(transport, &poll, index as u64)?;
            let user = index % keys.len();
            connection.request.render(options, user, &keys[user]);
            connections.push(connection);
        }
        let (warmup, seconds) = match options.each_user {
            true => (0.0, 3600.0),
            false => (target.warmup, target.seconds),
        };
        let pace = match options.rate {
            None if options.each_user => Pace::EachUser {
                next: 0,
                count: keys.len(),
            },
            None => Pace::Closed,
            Some(rate) => Pace::Rate {
                interval: (1e9 / rate) as u64,
                next: clock::now(),
            },
        };
        Ok(Self {
            turn: Turn::new(pace, connections.len()),
            window: Window::new(&target.pids, warmup, seconds)?,
            buffer: vec![0; 256 * 1024],
            options,
            keys,
            poll,
            connections,
        })
    }

    fn send(&mut self, now: u64) -> io::Result<()> {
        while let Some((index, since, user)) = self.turn.next(now) {
            let connection = &mut self.connections[index];
            if let Some(user) = user {
                connection
                    .request
                    .render(self.options, user, &self.keys[user]);
            }
            if connection.send(&self.poll, since).is_err() {
                self.reopen(index)?;
            }
        }
        Ok(())
    }

    fn serve(&mut self, event: Event) -> io::Result<()> {
        let index = event.token as usize;
        let connection = &mut self.connections[index];
        match connection.serve(event, &self.poll, &mut self.buffer) {
            Ok(None) => Ok(()),
            Ok(Some(outcome)) => {
                let since = connection.since.take();
                self.count(outcome, since);
                self.turn.release(index);
                Ok(())
            }
            Err(_) => self.reopen(index),
        }
    }

    fn count(&mut self, outcome: Outcome, since: Option<u64>) {
        let now = clock::now();
        let since = since.unwrap_or(now);
        match outcome {
            Outcome::Wrong(what) => self.window.wrong(what),
            Outcome::Right => {
                let in_time = self.window.contains(now);
                self.window.completed += u64::from(in_time);
                let counts = if self.options.rate.is_some() {
                    self.window.contains(since)
                } else {
                    in_time
                };
                if counts {
                    self.window.record(now.saturating_sub(since));
                }
            }
        }
    }

    /// A connection has ended: that of a request under way is counted, and a new one takes its place.
    fn reopen(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        self.window.ended += 1;
        if self.window.ended > ENDED {
            return Err(io::Error::other("connections keep ending"));
        }
        let target = &self.options.target;
        let busy = connection.since.is_some();
        connection.replace(Transport::open(target.to, target.tls)?, &self.poll)?;
        if busy {
            self.window.wrong("the connection ended".to_owned());
            self.turn.release(index);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.connections
            .iter()
            .all(|connection| connection.since.is_none())
    }
}
