//! A message on its way and its answers: a POST, answered by JSON or a stream (Streamable HTTP, MCP 2025-03-26
//! and later), or on the stream that brings everything (HTTP+SSE).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::time::{Instant, sleep, timeout};

use super::flights::Flight;
use super::headers::{is_stream, of_message, of_stream};
use super::line::LONGEST;
use super::listing::list;
use super::message::{Outgoing, answer_to, failed, incoming};
use super::renew::renew;
use super::session::Standing;
use super::shared::Shared;
use super::trouble::Problem;
use super::wire::{Answer, PATIENCE, Sent};
use crate::mcp::events::Events;
use crate::mcp::headers::MCP_SESSION_ID;

/// How long a stream may take to end after all is answered, for its connection to be used again.
const LEAVE: Duration = Duration::from_millis(100);
/// How long to wait before asking for the rest of a stream, where the server does not say.
const RETRY: u64 = 1000;
/// The longest such wait, whatever the server says.
const RETRY_MOST: u64 = 60_000;
/// Attempts to get the rest of a stream that fail in a row.
const ATTEMPTS: u32 = 3;

/// A message that was posted, and the session it was posted in.
pub(super) struct Posted {
    sent: Sent,
    standing: Standing,
}

/// Posts a message of the client's: when this comes back it is on its way. In HTTP+SSE a session ends with
/// its stream, and is begun anew here.
///
/// # Errors
/// There is no connection, until then, or no session.
pub(super) async fn post(
    shared: &Arc<Shared>,
    message: &Outgoing,
    flight: &Flight,
    until: Instant,
) -> Result<Posted, Problem> {
    if let Some(sse) = &shared.sse
        && !message.opens()
    {
        let generation = shared.session().standing().generation;
        if generation > 0 && !sse.is_live().await {
            renew(shared, generation).await?;
            // It was not on its way yet when all that was got lost.
            flight.again();
        }
    }
    sent(shared, message, until).await
}

async fn sent(shared: &Arc<Shared>, message: &Outgoing, until: Instant) -> Result<Posted, Problem> {
    let url = match &shared.sse {
        None => shared.wire.url().clone(),
        Some(sse) => sse.endpoint(shared, until).await?,
    };
    let (headers, standing) = {
        let session = shared.session();
        let headers = of_message(message, &session, &shared.learned());
        (headers, session.standing())
    };
    let to = (Method::POST, &url);
    let sent = shared.wire.send(to, headers, message.text.clone(), until);
    let sent = sent.await?;
    Ok(Posted { sent, standing })
}

/// Waits for the answers to a message, and gives them to whom they are for.
pub(super) async fn follow(
    shared: Arc<Shared>,
    message: Arc<Outgoing>,
    flight: Arc<Flight>,
    posted: Posted,
) {
    tokio::select! {
        // The connection is closed with what is dropped: of 2026-07-28 that cancels the request.
        () = flight.stopped() => {
            shared.flights.end(&flight);
        }
        done = exchanged(&shared, &message, &flight, posted) => {
            shared.settle(&message, &flight, done).await;
        }
    }
}

/// Waits for the answers, and posts the message once more in a new session if the server lost the one it
/// was posted in.
async fn exchanged(
    shared: &Arc<Shared>,
    message: &Outgoing,
    flight: &Flight,
    posted: Posted,
) -> Result<(), Problem> {
    let standing = posted.standing.clone();
    let Err(refusal) = answered(shared, message, flight, posted).await? else {
        return Ok(());
    };
    if message.modern.is_some() {
        if !refusal.is_of_headers(message) || !list(shared, message).await {
            return refused(shared, message, refusal).await;
        }
        // It was refused before anything was done.
        return asked(shared, message, flight).await;
    }
    let carried = standing.id.is_some() || shared.sse.is_some();
    if !carried || message.opens() || !refusal.is_of_session() {
        return refused(shared, message, refusal).await;
    }
    renew(shared, standing.generation).await?;
    if message.ids.is_empty() {
        // It is about something of the lost session.
        return Ok(());
    }
    // Nothing of it was answered: a server does nothing in a session it does not know.
    flight.again();
    asked(shared, message, flight).await
}

/// Posts a message, one of our own or one that the server refused for a reason that is no more, and waits
/// for the answers.
///
/// # Errors
/// There is no answer, or a refusal without one.
pub(super) async fn asked(
    shared: &Arc<Shared>,
    message: &Outgoing,
    flight: &Flight,
) -> Result<(), Problem> {
    let posted = sent(shared, message, Instant::now() + PATIENCE).await?;
    match answered(shared, message, flight, posted).await? {
        Ok(()) => Ok(()),
        Err(refusal) => refused(shared, message, refusal).await,
    }
}

/// An answer with an error's status.
struct Refusal {
    status: StatusCode,
    location: Option<String>,
    body: Bytes,
}

impl Refusal {
    /// Whether a call lacks a header that the server wants (MCP 2026-07-28).
    fn is_of_headers(&self, message: &Outgoing) -> bool {
        let call = message.method.as_deref() == Some("tools/call");
        call && failed(&self.body).is_some_and(|failed| failed.code == -32020)
    }

    /// Whether the server says that it does not know the session, and not that it does not know the method.
    fn is_of_session(&self) -> bool {
        let no_method = failed(&self.body).is_some_and(|failed| failed.code == -32601);
        self.status == StatusCode::NOT_FOUND && !no_method
    }
}

async fn answered(
    shared: &Arc<Shared>,
    message: &Outgoing,
    flight: &Flight,
    posted: Posted,
) -> Result<Result<(), Refusal>, Problem> {
    let Posted { sent, standing } = posted;
    let mut answer = sent.answer().await?;
    if !answer.status.is_success() {
        return Ok(Err(Refusal {
            status: answer.status,
            location: answer.location(),
            body: answer.refusal().await,
        }));
    }
    if message.ids.is_empty() {
        // Read to its end, so that the connection serves others.
        answer.refusal().await;
        return Ok(Ok(()));
    }
    if shared.sse.is_some() {
        answer.refusal().await;
        let lost = flight.settled_or_lost().await;
        return if lost { Err(Problem::Cut) } else { Ok(Ok(())) };
    }
    passed(shared, message, flight, answer, &standing)
        .await
        .map(Ok)
}

/// What is made of a refusal: an error of JSON-RPC in it is the client's, with the id of its request,
/// since a client that asks `server/discover` goes by it.
async fn refused(shared: &Shared, message: &Outgoing, refusal: Refusal) -> Result<(), Problem> {
    let Refusal {
        status,
        location,
        body,
    } = refusal;
    let words = failed(&body).map(|failed| failed.message);
    if words.is_none() || message.ids.is_empty() {
        return Err(Problem::Status(status, location, words));
    }
    for id in &message.ids {
        if let Some(error) = answer_to(id, body.clone()) {
            shared.deliver(error, None).await;
        }
    }
    Ok(())
}

async fn passed(
    shared: &Arc<Shared>,
    message: &Outgoing,
    flight: &Flight,
    mut answer: Answer,
    standing: &Standing,
) -> Result<(), Problem> {
    let session = answer.headers.get(MCP_SESSION_ID).cloned();
    match is_stream(&answer.headers) {
        Some(true) => stream(shared, message, flight, answer, standing).await,
        Some(false) => {
            let body = answer.whole(LONGEST).await?;
            let read = match message.ids.as_slice() {
                [id] => answer_to(id, body),
                _ => incoming(body),
            };
            let incoming = read.ok_or(Problem::NotMcp)?;
            shared.deliver(incoming, session.as_ref()).await;
            Ok(())
        }
        None if answer.status == StatusCode::ACCEPTED => Err(Problem::Unanswered),
        None => Err(Problem::NotMcp),
    }
}

/// The stream that answers a message, and what goes on where it was cut: a server may close it, and send
/// the rest to who asks for what came after the last event (MCP 2025-11-25, basic/transports "Resumability
/// and Redelivery").
async fn stream(
    shared: &Arc<Shared>,
    message: &Outgoing,
    flight: &Flight,
    mut answer: Answer,
    standing: &Standing,
) -> Result<(), Problem> {
    let (mut last, mut retry) = (None, RETRY);
    loop {
        let mut events = Events::new(LONGEST);
        let read = read(shared, flight, &mut answer, &mut events).await;
        if flight.is_settled() {
            return Ok(());
        }
        if let Err(Problem::TooLong) = read {
            return Err(Problem::TooLong);
        }
        last = events.last_id().map(str::to_owned).or(last);
        retry = events.retry().unwrap_or(retry).min(RETRY_MOST);
        let resumable = message.modern.is_none();
        let from = last.as_deref().filter(|_| resumable).ok_or(Problem::Cut)?;
        answer = resumed(shared, standing, from, Duration::from_millis(retry)).await?;
    }
}

/// Reads events to the end of the stream, or a little longer than until all is answered.
async fn read(
    shared: &Shared,
    flight: &Flight,
    answer: &mut Answer,
    events: &mut Events,
) -> Result<(), Problem> {
    let session = answer.headers.get(MCP_SESSION_ID).cloned();
    loop {
        let part = if flight.is_settled() {
            timeout(LEAVE, answer.next()).await.unwrap_or(Ok(None))?
        } else {
            answer.next().await?
        };
        let Some(part) = part else {
            return Ok(());
        };
        let mut found = Vec::new();
        let pushed = events.push(&part, &mut found);
        for event in found.into_iter().filter(|event| !event.data.is_empty()) {
            shared.hear(event.data, session.as_ref()).await;
        }
        pushed.map_err(|_| Problem::TooLong)?;
    }
}

/// The rest of a stream.
async fn resumed(
    shared: &Shared,
    standing: &Standing,
    last: &str,
    wait: Duration,
) -> Result<Answer, Problem> {
    for _ in 0..ATTEMPTS {
        sleep(wait).await;
        let to = (Method::GET, shared.wire.url());
        let headers = of_stream(standing, Some(last));
        let until = Instant::now() + PATIENCE;
        let sent = match shared.wire.send(to, headers, Bytes::new(), until).await {
            Ok(sent) => sent,
            Err(_) => return Err(Problem::Cut),
        };
        match sent.answer().await {
            Ok(answer)
                if answer.status.is_success() && is_stream(&answer.headers) == Some(true) =>
            {
                return Ok(answer);
            }
            Ok(answer) if !answer.status.is_server_error() => break,
            // It may be starting anew.
            _ => {}
        }
    }
    Err(Problem::Cut)
}
