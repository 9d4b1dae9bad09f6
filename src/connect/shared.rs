//! What all tasks share: the connections, the session, the requests under way, and the client.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderValue;
use tokio::sync::{mpsc, watch};

use super::flights::{Answered, Flight, Flights};
use super::headers::Learned;
use super::message::{self, Id, Incoming, Outgoing, incoming};
use super::session::Session;
use super::sse::Sse;
use super::trouble::Problem;
use super::wire::Wire;
use crate::cli::Output;

/// One bridge between a client and a server.
pub(super) struct Shared {
    /// The connections to the server.
    pub(super) wire: Arc<Wire>,
    /// The stream that brings all answers, of a server that speaks HTTP+SSE.
    pub(super) sse: Option<Sse>,
    /// The requests under way.
    pub(super) flights: Flights,
    /// Held while a session is begun anew, which one task does for all.
    pub(super) renewing: tokio::sync::Mutex<()>,
    /// Which session it is, counted.
    pub(super) generation: watch::Sender<u64>,
    to_client: mpsc::Sender<Bytes>,
    session: Mutex<Session>,
    learned: Mutex<Learned>,
    noted: Mutex<String>,
}

impl Shared {
    /// A new bridge. Each text put into `to_client` is a line.
    pub(super) fn new(wire: Wire, sse: Option<Sse>, to_client: mpsc::Sender<Bytes>) -> Self {
        Self {
            wire: Arc::new(wire),
            sse,
            flights: Flights::default(),
            renewing: tokio::sync::Mutex::default(),
            generation: watch::Sender::new(0),
            to_client,
            session: Mutex::default(),
            learned: Mutex::default(),
            noted: Mutex::default(),
        }
    }

    /// The session.
    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The arguments that are mirrored.
    pub(super) fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the client a line.
    pub(super) async fn tell(&self, line: Bytes) {
        // If nobody reads any more, the process is about to end.
        let _ = self.to_client.send(line).await;
    }

    /// Answers a request with an error of our own.
    pub(super) async fn refuse(&self, id: Option<&Id>, problem: &Problem) {
        let text = format!("cloakroom connect: {problem}");
        self.tell(message::error(id, problem.code(), &text)).await;
    }

    /// Says something on standard error, once in a row: many clients keep all of it, and some read none.
    pub(super) fn note(&self, text: &str) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if *noted != text {
            Output::new(false).note(text);
            text.clone_into(&mut noted);
        }
    }

    /// Takes in the data of an event, or a body, which came in the session `session`.
    pub(super) async fn hear(&self, sent: Bytes, session: Option<&HeaderValue>) {
        match incoming(sent) {
            Some(incoming) => self.deliver(incoming, session).await,
            None => self.note("the server sent what is no message of JSON-RPC; it was dropped"),
        }
    }

    /// Gives the client what the server sent, unless it answers what was asked here.
    pub(super) async fn deliver(&self, incoming: Incoming, session: Option<&HeaderValue>) {
        let mut quiet = false;
        for id in incoming.answers.iter().flatten() {
            match self.flights.answered(id, &incoming.line, session) {
                Answered::Client => {}
                Answered::Quiet => quiet = true,
                Answered::Tools => {
                    if let Some(result) = message::result(&incoming.line) {
                        self.learned().learn(&result);
                    }
                }
            }
        }
        if !quiet {
            self.tell(incoming.line).await;
        }
    }

    /// A message of the client's is over: whatever of it is not answered is answered by an error.
    pub(super) async fn settle(
        &self,
        message: &Outgoing,
        flight: &Arc<Flight>,
        done: Result<(), Problem>,
    ) {
        let left = self.flights.end(flight);
        let problem = match done {
            Err(problem) => problem,
            Ok(()) if left.is_empty() => return,
            Ok(()) => Problem::NotMcp,
        };
        if message.ids.is_empty() {
            let what = message.method.as_deref().unwrap_or("an answer");
            self.note(&format!("{what} did not arrive: {problem}"));
        }
        for id in &left {
            self.refuse(Some(id), &problem).await;
        }
    }
}
